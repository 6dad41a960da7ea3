"""A client repeats refused requests at once, although the server asked it to wait.

What it means
    The server refuses requests with 429 (Too Many Requests) or 503 (Service Unavailable) because it has too many. The client
    sends the same requests again at once, so the server gets even more.

Why it hurts
    The repetitions take the place of other requests, and the server refuses these, too. If several services in a row repeat
    their requests, a single request of a user may become dozens. The overload lasts although its cause is long gone.

How it is proved
    A server refused ten or more requests of a client with 429 or 503. The client sent at least half of them again, with the same
    method and target: within 100 ms after the response, or within 1 s if that has a Retry-After field. Such a field asks for a
    whole number of seconds, so it is not observed either.

What it is not
    A client that waits longer before each repetition is not reported, nor is one that Retry-After: 0 allows to repeat at once.
    Many users behind one address, a load test, and a program that sends its data at a regular interval send equal requests
    whatever the response is. So the client is not reported either if it does the same after other responses: at least half of
    them are followed by the same request within a second, after at most twice the time that passes after a refusal.

What to do
    Have the client wait before it repeats a request: for the time in Retry-After, otherwise for a time that doubles with each
    attempt and is partly random. Limit the repetitions to a small share of all requests, and have only one service in a row
    repeat them.

References
    RFC 6585 section 4 (429), RFC 9110 section 10.2.3 (Retry-After). The SRE book, chapter 22 (cascading failures).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import of_connections, of_exchanges
from wiredoctor.text import redact
from wiredoctor.text.durations import duration_text
from wiredoctor.world.numbers import DURATION

c = pl.col

RULE = Rule(
    symptom="429 Too Many Requests; an overload that does not end",
    severity="warning",
    title="The client repeats refused requests at once: {repeated:,} of {refused:,}",
    message="{server} refused {refused:,} of {requests:,} requests of {client} with {statuses}. The client sent {repeated:,} "
    "of these again, {median} after the response (median), for example {what}.{asked}",
    remedy="Have the client wait before it repeats a request: as long as Retry-After says, otherwise longer after each attempt "
    "and partly at random (exponential backoff with jitter). Limit repetitions to a small share of all requests. If several "
    "services in a row repeat requests, have only one of them do so.",
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference("RFC 6585 section 4, 429 Too Many Requests", "https://www.rfc-editor.org/rfc/rfc6585.html#section-4"),
        Reference("RFC 9110 section 10.2.3, Retry-After", "https://www.rfc-editor.org/rfc/rfc9110.html#section-10.2.3"),
        Reference("Google, Addressing Cascading Failures", "https://sre.google/sre-book/addressing-cascading-failures/"),
    ),
    summary=True,
    any_order=True,
)

ENOUGH = Threshold("10 requests", "the minimum number of refused requests")
SHARE = Threshold("50 %", "the minimum share of refused requests that the client repeats too soon")
SOON = Threshold("1 s", "the time after a refusal with Retry-After within which a repetition is too soon; it counts in seconds")
AT_ONCE = Threshold("100 ms", "the same time without Retry-After; many clients that wait longer each time begin with no more")
OTHERS = Threshold(
    "3 responses", "the minimum number of other responses that show whether the client sends the same again anyway"
)
ALIKE = Threshold("200 %", "the maximum time until it does so (median), relative to the time after a refusal")
SHOWN = Threshold("3 requests", "the maximum number of repeated requests shown as evidence")

_REFUSED = (429, 503)


def may_match() -> pl.Expr:
    """Return a cheap condition on all rows together: if it is false, there are no candidate findings."""
    return c("response_status").is_in(_REFUSED).sum() >= ENOUGH.value


class Facts(NamedTuple):
    """What is known of a client that repeats refused requests. Times are in ns.

    `sent`: the statuses of the refusals. `waits`: the number of refusals with Retry-After. `shown`: the first repeated requests,
    with the fields _SHOWN.
    """

    method: str
    target: str
    sent: list[int]
    waits: int
    shown: list[dict[str, Any]]


_SHOWN = ("frame", "time", "status", "again_frame", "again_time")


def find(exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each client and server between which refused requests are repeated too soon."""
    pair = pl.struct("client_host", "server").hash().alias("pair")
    known = connections.select("connection", "client_host", "server", pair)
    refused = exchanges.filter(c("has_request") & c("response_status").is_in(_REFUSED)).join(known, on="connection")
    refused = refused.select(
        *("connection", "exchange", "pair", _key()),
        c("response_status").alias("status"),
        c("response_frame").alias("frame"),
        c("response_start").alias("time"),
        c("request_start").alias("asked"),
        c("response_has_retry_after").fill_null(value=False).alias("says_when"),
        c("response_retry_after").eq_missing(0).alias("says_now"),
    ).collect(engine="streaming")
    asking = known.join(refused.lazy().select("pair").unique(), on="pair", how="semi").collect(engine="streaming")
    asked = of_connections(exchanges.filter("has_request"), asking).join(asking.lazy(), on="connection")
    again = asked.select(
        *("pair", _key()),
        c("request_start").alias("again_time"),
        c("request_frame").alias("again_frame"),
        pl.when(~c("response_status").is_in(_REFUSED)).then("response_start").alias("time"),
    )
    again = again.join(refused.lazy().select("key").unique(), on="key", how="semi").collect(engine="streaming")
    found = _repeated(refused, again)
    counts = asked.group_by("pair", "client_host", "server").agg(pl.len().cast(pl.Int64).alias("requests"))
    example = of_exchanges(exchanges, found).select("connection", "exchange", "request_method", "request_target")
    found = found.lazy().join(counts, on="pair").join(example, on=["connection", "exchange"])
    return found.sort("frame", "client_host", "server").select(
        *candidate("client", "high", "frame", "start", "end", of="server"),
        *("server", c("client_host").alias("client"), "refused", "repeated", "requests"),
        c("median").cast(DURATION),
        c("request_method").alias("method"),
        c("request_target").alias("target"),
        *("sent", "waits", "shown"),
    )


def _key() -> pl.Expr:
    """Return a hash of the client host, the server, the method and the target."""
    return pl.struct("pair", "request_method", "request_target").hash().alias("key")


def _repeated(refused: pl.DataFrame, again: pl.DataFrame) -> pl.DataFrame:
    """Return what is known of each client and server (`pair`) with repetitions that came too soon.

    `again`: the requests that may repeat one of the requests in `refused`. `connection` and `exchange` are those of the first.
    """
    soon = _next_after(refused.sort("time", "frame"), again)
    too_soon = c("wait") < pl.when("says_when").then(SOON.value).otherwise(AT_ONCE.value)
    # one request repeats only one of several refused ones
    repeats = too_soon & ~c("says_now") & c("again_frame").is_last_distinct()
    soon = soon.with_columns(repeats.fill_null(value=False).alias("repeats"))
    groups = soon.group_by("pair").agg(
        pl.len().cast(pl.Int64).alias("refused"), c("repeats").sum().cast(pl.Int64).alias("repeated"),
        c("says_when").sum().cast(pl.Int64).alias("waits"), c("status").unique().sort().alias("sent"),
        c("wait").filter("repeats").median().cast(pl.Int64).alias("median"),
    )  # fmt: skip
    groups = groups.filter((c("refused") >= ENOUGH.value) & (100 * c("repeated") >= SHARE.value * c("refused")))
    others = _next_after(again.select("pair", "key", "time").drop_nulls().sort("time"), again)
    anyway = others.group_by("pair").agg(
        pl.len().alias("others"), c("wait").count().alias("followed"), c("wait").median().alias("usual")
    )
    alike = (c("others") >= OTHERS.value) & (100 * c("followed") >= SHARE.value * c("others"))
    alike &= 100 * c("usual") <= ALIKE.value * c("median")
    groups = groups.join(groups.join(anyway, on="pair").filter(alike), on="pair", how="anti")
    mine = soon.filter("repeats").join(groups.select("pair"), on="pair", how="semi").sort("frame")
    facts = mine.group_by("pair").agg(
        *(c(name).first() for name in ("frame", "connection", "exchange")),
        c("asked").min().alias("start"),
        c("again_time").max().alias("end"),
        pl.struct(_SHOWN).head(SHOWN.value).alias("shown"),
    )
    return groups.join(facts, on="pair")


def _next_after(answered: pl.DataFrame, again: pl.DataFrame) -> pl.DataFrame:
    """Add the next request (`again_time`, `again_frame`) with the same `key` within SOON after `time`, and the `wait` for it."""
    sent = again.select("key", "again_time", "again_frame", c("again_time").alias("sent")).sort("again_time", "again_frame")
    return answered.join_asof(
        sent, left_on="time", right_on="sent", by="key", strategy="forward", tolerance=SOON.value - 1, check_sortedness=False
    ).with_columns((c("again_time") - c("time")).alias("wait"))


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the statuses and Retry-After, and the packets of the first repetitions."""
    evidence = [
        packet
        for one in x.shown
        for packet in (
            (one["frame"], one["time"], f"the {one['status']}"),
            (one["again_frame"], one["again_time"], f"the same request, {duration_text(one['again_time'] - one['time'])} later"),
        )
    ]
    return {
        "statuses": " and ".join(map(str, x.sent)),
        "what": f"{redact.method(x.method)} {redact.target(x.target)}",
        "asked": f" {x.waits:,} of the responses said with Retry-After how long to wait." if x.waits else "",
        "evidence": packets(*evidence),
    }

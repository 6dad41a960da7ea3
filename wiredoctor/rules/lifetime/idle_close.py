"""The server closes idle connections.

What it means
    A server keeps a connection open for the next request, but not forever. The finding shows the observed idle timeout and the
    announced one. If the server announces none, the finding names the software whose default matches.

    Kind inverted: a client keeps idle connections for longer than the server's timeout. The client's pool will hand out a
    connection that the server has closed or is about to close. Kind stop: no timeout closed the connections. A process of the
    server ended (a reload, a restart, a deployment, a recycled worker), and all its idle connections ended with it at one moment.

Why it hurts
    The close itself does no harm: every server has such a timeout, and every process ends. But a client, proxy or balancer
    that keeps idle connections longer than the server does may lose a request now and then (keep-alive-race).

How it is proved
    The server sent the first FIN or RST more than a second after a complete response that had left the connection open, and
    no request came in between. If the server announced 1 s, a close after one second counts, too.

    Kind inverted: a client used another connection to this server again after that connection had been idle for longer than the
    timeout. The timeout was observed at two moments, or matches the announcement or a common default. A client that does not
    react to the server's FIN is not evidence: many pools check a connection only before they use it.

    Kind stop: within 50 ms the server closed connections without a request in progress, and one of these facts shows a stop:

    1. There are three or more such connections, and the longest idle time is more than twice the shortest.

    2. There are two or more, and a SYN was refused within a second.

    3. At the same moment the server cut off a response or a tunnel, or left a request unanswered, and no idle timeout
    explains it.

    4. The server refused the next SYN, whenever it came.

    5. There are three or more, no older connection was used again, and a later connection stayed idle for as long as these and
    was not closed.

    6. There are two or more, their responses had ended at different times, the server closed no other connections, and no
    older connection was used again. In addition, one of these is true: they were idle for less than a second; they were closed
    more than a second before the announced timeout; another connection was idle for more than twice as long and stayed open.

    If the server refuses every SYN from then on, closes up to 10 s later also belong to the stop: the process then answers
    its last requests and closes their connections.

    It is not a stop if an announced or otherwise known idle timeout had expired on all these connections. A stop is not
    reported as premature-close or as a broken promise, and no timeout is learned from it.

What it is not
    premature-close reports a close right after a response. idle-timeout-broken-promise reports a close before the announced
    time (Keep-Alive: timeout). A close by the client does not count, nor does a reset after two or more keep-alive probes that
    the client did not answer: the client, or the path to it, was gone.

What to do
    Nothing has to change if all clients close idle connections sooner than the server. Kind inverted: shorten the idle timeout of
    that client's pool, or lengthen the server's. Kind stop: if requests were lost, start the new process first, and have the old
    one finish its requests.

References
    RFC 9112 sections 9.3 and 9.5, AWS on the idle timeout of application load balancers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold, cached_for_thresholds
from wiredoctor.rules.shared.evidence import candidate, grade
from wiredoctor.rules.shared.lost_requests import candidates
from wiredoctor.rules.shared.words import fin_or_rst, packets, sender_of_close, with_doubt
from wiredoctor.tables import NOTHING, SECOND
from wiredoctor.text.durations import duration_text
from wiredoctor.world import World
from wiredoctor.world.connection_close import (
    IDLE,
    POOLS,
    SELF_FRAMED,
    UPSTREAM_KEPT,
    closed_as_announced,
    is_complete,
    may_have_closed_first,
    server_closed_first,
)
from wiredoctor.world.idle_defaults import is_default
from wiredoctor.world.numbers import DURATION
from wiredoctor.world.products import default
from wiredoctor.world.server import LATE as TIMERS_LATE
from wiredoctor.world.server import Servers, Stop

c = pl.col

_OBSERVED = (
    "{server} closed {closes:,} idle {connection_word}, {limit} after the last response"
    "{from_}{shortest}{to}{longest}{closing}{announced}{usual}. "
)

_SPREAD = {"from_": " (median; shortest ", "to": ", longest ", "closing": ")"}
"""The words of the message around the shortest and the longest idle time, used if there was more than one close."""

_ALB = default("AWS application load balancers", "idle_timeout.timeout_seconds")

RULE = Rule(
    symptom="nothing yet; requests that will fail (kind *inverted*)",
    severity={None: "note", "inverted": "warning", "stop": "note"},
    title={
        None: "The server closes idle connections after {limit}",
        "inverted": "The server closes idle connections after {limit}; a client keeps them longer",
        "stop": "A server process ended, and {closes:,} idle {connection_word} with it",
    },
    message={
        None: _OBSERVED + "{nothing_lost} client that keeps idle connections longer may lose a request.",
        "inverted": _OBSERVED + "{inverted_clients} longer than that: {how} A request that the client sends as the server closes "
        "is lost.",
        "stop": "A process of {server} ended: {closes:,} idle {connection_word} {within}{ended_how}.{met_by} The cause was a "
        "stop, a reload, a restart, a deployment or a recycled worker, and not an idle timeout.",
    },
    remedy={
        None: "Nothing has to change if every client, proxy and balancer closes idle connections after less than {least}.",
        "inverted": "Make the idle timeout of the client's pool shorter than {least}, or the server's longer than the "
        "client's: nginx keepalive_timeout, Apache httpd KeepAliveTimeout, Node server.keepAliveTimeout, gunicorn --keep-alive, "
        "uvicorn --timeout-keep-alive, IIS connectionTimeout. If the client is a balancer or a proxy (AWS application load "
        f"balancer: {_ALB}, nginx upstream keepalive_timeout: {UPSTREAM_KEPT}), the server behind it needs the longer timeout.",
        "stop": "Nothing has to change if no request was lost. Otherwise have the new process accept connections first, have the "
        "old process answer its remaining requests with Connection: close before it closes (nginx -s quit, apachectl "
        "graceful-stop, Node server.close, Go Server.Shutdown, haproxy's soft stop, gunicorn's SIGTERM), and have clients repeat "
        "requests that are safe to repeat.",
    },
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9112 section 9.3, persistence", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.3"),
        Reference("RFC 9112 section 9.5, failures and timeouts", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.5"),
        Reference(
            "AWS, application load balancer attributes: idle timeout",
            "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html",
        ),
    ),
    explained_by=(("keep-alive-race", "endpoint"), ("idle-timeout-broken-promise", "endpoint")),
    advice=POOLS,
    summary=True,
    absence=True,
    unexplained=("stop",),
)

SPREAD = Threshold(
    "20 %",
    "if idle times differ by more than this, no timeout closed the connections: the server was stopped, or closed "
    "them to free resources",
)
APART = Threshold(
    "100 ms",
    "if the first and the last close are further apart than this, a timer expired more than once; otherwise, the closes may "
    "have a common cause",
)
SHOWN = Threshold("3 connections", "the maximum number of connections shown as evidence; the message has the totals")


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    closed = c("last_on_connection") & c("persistent") & c("server_close_frame").is_not_null()
    return closed.any() & (may_have_closed_first() | (_rested() > IDLE.value))


class Facts(NamedTuple):
    """What is known of a server's idle timeout, or (kind stop) of the end of a process. Times and durations are in ns.

    `shown`: the first closes. `promise`, `longest_promise`: the announced timeouts (s); the server may close a second later.
    `clients`: how many keep idle connections longer; one used connection `survivor` again after `survived`. `lost`: requests that
    were lost; of a timeout, 1 if there are any. `form`, `cut`, `refused`: see Stop.
    """

    kind: str | None
    start: int
    end: int
    client: str | None
    closes: int
    shortest: int | None
    longest: int | None
    close_origin: str | None
    shown: list[dict[str, Any]]
    promise: int | None
    longest_promise: int | None
    second_later: bool | None
    lost: int
    clients: int | None
    survived: int | None
    survivor: int | None
    request_frame: int | None
    request_start: int | None
    form: str | None
    cut: int | None
    refusals: int | None
    refused: list[dict[str, int]] | None


def find(closes: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each idle connection that the server closed, and for each request on a connection that had been idle.

    `closed_after`: the idle time before the close (ns; null if it is too short for an idle timeout). `used_after`: the idle time
    before the request (ns).
    """
    possible, wanted, facts = _wanted_rows()
    known = connections.select("connection", "client_host", "server", "history")
    # as a column, because Polars would apply such a filter to all rows that it reads
    some = closes.filter(possible).select(*facts, wanted.alias("wanted")).filter("wanted").drop("wanted")
    rows = some.join(known, on="connection", how="left")
    return rows.with_columns(frame=c("request_frame"))


@cached_for_thresholds
def _wanted_rows() -> tuple[pl.Expr, pl.Expr, list[pl.Expr | str]]:
    """Return a cheap filter of `closes`, a filter of the rows that pass it, and the columns that `find` returns for the rest."""
    left_open = c("persistent") & ~c("upgraded") & c("response_framing").is_in(SELF_FRAMED)
    after = c("server_close_time") - c("response_end")
    both = c("has_request") & c("has_response")
    idle = (after > IDLE.value) | (closed_as_announced() & (c("response_keep_alive_timeout") > 0))
    ended = (c("last_on_connection") & left_open & is_complete() & server_closed_first()).fill_null(False)
    closing = (ended & idle).fill_null(False)
    rested = _rested()
    lost = (candidates() & (c("request_arrived") > NOTHING) & server_closed_first()).fill_null(False)
    used = (rested > IDLE.value).fill_null(False)
    # one row may have both: a use after one idle time, and a close after another
    facts = [
        *("connection", "endpoint", "final_at"),
        pl.when(closing).then(after).alias("closed_after"),
        pl.when(used & ~lost).then(rested).alias("used_after"),
        c("request_frame", "request_start", "response_last_frame", "response_end"),
        c("server_close_frame", "server_close_time", "server_close_rst", "server_close_origin"),
        lost.alias("lost"),
        c("response_keep_alive_timeout").cast(pl.Int64).alias("promise"),
        (~c("handshake")).alias("guessed"),
        c("gap_before").alias("doubtful"),
    ]
    return used | c("server_close_frame").is_not_null(), (both & (ended | used)) | lost, facts


def _rested() -> pl.Expr:
    """Return the idle time (ns) before a request as the server saw it, at any capture point."""
    return c("request_start") - c("previous_end") + c("rtt_server").fill_null(0)


ASKS = (Servers,)


def group(rows: pl.DataFrame, world: World) -> pl.DataFrame:
    """Return one candidate for each server with an idle timeout, and one for each end of a server process."""
    stopped = world.of(Servers).all_stops()
    ended = [number for stops in stopped.values() for number in stops.connections]
    limits = _limits(rows.with_columns(pl.when(~c("connection").is_in(ended)).then("closed_after")))
    servers = rows.select("endpoint", "server").unique().sort("server").iter_rows()
    stops = [_of_stop(server, stop) for endpoint, server in servers if endpoint in stopped for stop in stopped[endpoint].stops]
    return pl.concat([limits, pl.DataFrame(stops, schema=limits.schema).sort("frame")])


def _limits(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the observed idle timeouts, one row for each server."""
    closes = rows.filter(c("closed_after").is_not_null())
    doubted = (c("server_close_origin") == "doubtful").fill_null(value=False)
    shown = pl.struct(c(column).alias(name) for name, column in _SHOWN.items()).sort_by("server_close_frame").head(SHOWN.value)
    servers = closes.group_by("server").agg(
        c("closed_after").median().cast(pl.Int64).alias("limit"),
        c("closed_after").min().alias("shortest"),
        c("closed_after").max().alias("longest"),
        pl.len().cast(pl.Int64).alias("closes"),
        c("server_close_frame").min().alias("frame"),
        c("response_end").min().alias("start"),
        c("server_close_time").max().alias("end"),
        c("server_close_time").min().alias("first_close"),
        c("promise").min(),
        c("promise").max().alias("longest_promise"),
        (c("guessed") | doubted).all().alias("guessed"),
        pl.when(c("server_close_origin").n_unique() == 1).then(c("server_close_origin").first()).alias("close_origin"),
        c("doubtful").all(),
        shown.alias("shown"),
    )
    servers = servers.join(_inverted_timeouts(rows, closes, servers), on="server", how="left")
    lost = rows.filter("lost").select("server", lost=pl.lit(value=True)).unique()
    servers = servers.join(lost, on="server", how="left").with_columns(c("lost").fill_null(value=False))
    return _candidate_columns(servers).sort("frame")


_SHOWN = {
    **{"connection": "connection", "rest": "closed_after", "frame": "server_close_frame", "time": "server_close_time"},
    **{"rst": "server_close_rst", "origin": "server_close_origin", "response_frame": "response_last_frame"},
    "response_end": "response_end",
}
"""What is kept of the closes that are shown, with the columns that it comes from."""


def _inverted_timeouts(rows: pl.DataFrame, closes: pl.DataFrame, servers: pl.DataFrame) -> pl.DataFrame:
    """Return for each server how many of its clients keep idle connections open longer than the server does.

    `survived`: the longest idle time (ns) after which such a client used a connection again. The other columns describe that use.
    """
    pair = ["server", "client_host"]
    closed = closes.group_by(pair).agg(pl.len().alias("pair_closes"), c("connection").alias("closed"))
    survivals = (
        rows.filter(c("used_after").is_not_null())
        .join(servers.filter(_is_limit()).select("server", "limit"), on="server")
        .filter(c("used_after") > c("limit"))
        .join(closed, on=pair)
        .filter((c("pair_closes") > 1) | ~c("connection").is_in(c("closed")))
        .group_by(pair)
        .agg(
            c("used_after").max().alias("survived"),
            c("connection", "request_frame", "request_start").sort_by("used_after").last(),
        )
    )
    return survivals.group_by("server").agg(
        pl.len().alias("clients"),
        c("client_host").sort().first().alias("client_host"),
        c("survived").max(),
        c("connection").sort_by("survived").last().alias("survivor"),
        c("request_frame", "request_start").sort_by("survived").last(),
    )


def _is_limit() -> pl.Expr:
    """Return whether the idle times show a timeout.

    They must be similar to each other. In addition, they must be seen at two moments, or be near a common default or the
    announced time.
    """
    alike = (c("longest") - c("shortest")) * 100 <= c("limit") * SPREAD.value
    known = is_default(c("limit")) | _closed_after(0) | _closed_after(1)
    return alike & ((c("end") - c("first_close") > APART.value) | known.fill_null(value=False))


def _closed_after(beyond: int) -> pl.Expr:
    """Return whether the median idle time is about `beyond` seconds longer than the timeout that the server announces."""
    limit = (c("longest_promise") + beyond) * SECOND
    return (c("limit") - limit).abs() <= TIMERS_LATE + limit // 100


def _candidate_columns(servers: pl.DataFrame) -> pl.DataFrame:
    """Return a candidate for each row of `servers`."""
    inverted = c("clients").is_not_null()
    several = c("closes") > 1
    side, kind = pl.when(inverted).then(pl.lit("client")).otherwise(pl.lit("server")), pl.when(inverted).then(pl.lit("inverted"))
    return servers.select(
        *candidate(side, grade("doubtful", "guessed"), "frame", "start", "end", kind=kind, of="server"),
        pl.when(c("clients") == 1).then("client_host").alias("client"),
        "server",
        c("limit").cast(DURATION),
        c("shortest").cast(DURATION).alias("least"),
        *(pl.when(several).then(name).cast(DURATION).alias(name) for name in ("shortest", "longest")),
        *("closes", "close_origin", "shown", "promise", "longest_promise"),
        (_closed_after(1) & ~_closed_after(0)).alias("second_later"),
        c("lost").cast(pl.Int64),
        pl.when(c("promise").is_null()).then("limit").alias("idle_limit"),
        pl.lit(value=True).alias("pool_limit"),
        *("clients", "survived", "survivor", "request_frame", "request_start"),
        *(pl.lit(None, dtype).alias(name) for name, dtype in _OF_STOPS.items()),
    )


_OF_STOPS = {
    **{"form": pl.String(), "cut": pl.Int64(), "refusals": pl.Int64()},
    "refused": pl.List(pl.Struct({"frame": pl.Int64, "time": pl.Int64})),
}
"""The types of the columns that only candidates of kind stop have."""


def _of_stop(server: str, stop: Stop) -> dict[str, Any]:
    """Return a candidate for the end of a process of this server; the other columns are null."""
    rests = sorted(end.rest for end in stop.resting if end.rest is not None)
    return {
        "kind": "stop", "side": "server", "confidence": "medium" if stop.form in ("e", "f") else "high",
        "frame": min(end.frame for end in stop.resting), "start": stop.start, "end": stop.end, "server": server,
        "closes": len(stop.resting), "shortest": rests[0], "longest": rests[-1],
        "shown": [end._asdict() for end in stop.resting[: SHOWN.value]], "lost": stop.lost, "pool_limit": False,
        "form": stop.form, "cut": stop.cut, "refusals": len(stop.refused),
        "refused": [{"frame": syn.frame, "time": syn.answered} for syn in stop.refused[: SHOWN.value]],
    }  # fmt: skip


def words(x: Facts) -> dict[str, Any]:
    """Return the words about an idle timeout, or about the end of a process."""
    several = x.closes > 1
    found = {"connection_word": "connections" if several else "connection"}
    if x.kind == "stop":
        return found | _words_of_stop(x)
    whose = f"The client {x.client} keeps" if x.clients == 1 else f"{x.clients} clients keep"
    survived = duration_text(x.survived or 0)
    again = (x.request_frame, x.request_start, f"connection {x.survivor} is used again after {survived} idle")
    return {
        **found,
        **{name: text if several else "" for name, text in _SPREAD.items()},
        "announced": _announced(x),
        "nothing_lost": "A" if x.lost else "No request was lost in this capture, but a",
        "inverted_clients": f"{whose} idle connections",
        "how": f"it reused one that had been idle for {survived}, and that the server had not closed in time.",
        "origin": sender_of_close(x.close_origin),
        "evidence": packets(*_closes_shown(x), again),
    }


def _closes_shown(x: Facts) -> Iterator[tuple[int, int, str]]:
    """Yield the packets of the first closes: the ends of their last responses, then the closes."""
    for one in x.shown:
        yield one["response_frame"], one["response_end"], f"connection {one['connection']}: a response ends and leaves it open"
    for one in x.shown:
        close = f"connection {one['connection']}: the server's {fin_or_rst(one['rst'])}, {duration_text(one['rest'])} later"
        yield one["frame"], one["time"], with_doubt(one["origin"], close)


def _announced(x: Facts) -> str:
    """Return the text about the announced idle timeout; "" if there is none."""
    if x.promise is None:
        return ""
    if x.promise == x.longest_promise:
        said = f"; it announces {x.promise} s (Keep-Alive: timeout={x.promise})"
    else:
        said = f"; it announces {x.promise} s to {x.longest_promise} s (Keep-Alive: timeout)"
    return f"{said}, and closes a second after that, as Node does" if x.second_later else said


def _words_of_stop(x: Facts) -> dict[str, Any]:
    low, high = duration_text(x.shortest or 0), duration_text(x.longest or 0)
    rested = f" after {low} idle" if x.closes == 1 or low == high else f", after idle times of {low} to {high}"
    within = f"were closed within {duration_text(x.end - x.start)}" if x.closes > 1 else "was closed"
    lost = "A request was" if x.lost == 1 else f"{x.lost:,} requests were"
    refused = [(syn["frame"], syn["time"], "the server refuses a SYN") for syn in x.refused or ()]
    return {
        "within": within + rested,
        "ended_how": "".join(f"; {one}" for one in _proofs_of_stop(x)),
        "met_by": f" {lost} lost; other findings report this." if x.lost else " No request was lost.",
        "evidence": packets(*((end["frame"], end["time"], _close_of_stop(end)) for end in x.shown), *refused),
    }


def _close_of_stop(end: Mapping[str, Any]) -> str:
    rest = "" if end["rest"] is None else f" after {duration_text(end['rest'])} idle"
    return f"the server closes connection {end['connection']}{rest}"


def _proofs_of_stop(x: Facts) -> Iterator[str]:
    """Yield the facts that show that a process ended, except the idle times."""
    if x.cut:
        cut = "a response or a tunnel was" if x.cut == 1 else f"{x.cut:,} responses or tunnels were"
        yield f"{cut} cut off at the same time"
    if x.refusals:
        yield f"{x.refusals:,} SYNs were refused after that" if x.refusals > 1 else "a SYN was refused after that"
    if x.form == "e":
        yield "no older connection was used again, and a later connection stayed idle for as long without being closed"
    if x.form == "f":
        yield "their responses had ended at different times, and no older connection was used again"

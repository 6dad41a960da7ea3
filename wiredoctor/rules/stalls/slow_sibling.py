"""One of several servers that answer the same requests is slow.

What it means
    A client sends the same requests to several servers, for example through a balancer or a name with several addresses. One
    of them takes at least five times as long as the others to answer.

Why it hurts
    Some requests are slow, seemingly at random. Averages hide the slow server, and a test that reaches another server finds
    nothing. A round-robin balancer sends the slow server as many requests as the others.

How it is proved
    Two or more servers (addresses or ports) each sent the same client ten or more responses for the same method, site and path.
    Paths that differ only in digits count as the same. Only responses with the same status are compared; all 2xx count as the
    same. What counts is the time from the end of a request to the beginning of its response, less the round trip. The median of
    the slow server is at least five times that of the others, and at least 100 ms longer. At least 75 % of its
    responses are slower than 90 % of the others' responses.
    If at least half of the slow server's requests were sent to each of the other servers within 10 ms, too, with the same
    target, the servers do not share the work: they are different services, and the client needs all of them (fan-out). The kind
    fan-out reports the slow one.

What it is not
    Servers of different sites, or with responses of very different sizes, do different work. A server that rejects
    requests (503, 404) or redirects them is not compared either: it is quick because it does no work. Monitoring programs
    (Prometheus, kube-probe) and health checks send the same requests to servers that do different work, so these are excluded,
    as is the path /metrics. Long polls that declare themselves (Socket.IO, SignalR) are excluded because they wait for the next
    event. If the Host field is an address, only servers with the same port are compared. If a server is slow only at times,
    slow-response reports it. Time lost in TCP is reported by the other rules about stalls.

What to do
    Take that server out of rotation and compare it with the others: its load, disk, caches, neighbors, and its path to the
    database. Have the balancer choose the server with the fewest connections instead of taking turns. If the client needs the
    responses of all servers, no balancer helps: make that service faster, cache its responses, or limit the wait for it.

References
    The Tail at Scale (Dean and Barroso), nginx's least_conn, HAProxy's balance leastconn.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate
from wiredoctor.rules.shared.long_polls import is_long_poll
from wiredoctor.rules.shared.siblings import LISTED, comparable_path, comparable_site, is_monitoring
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import of_connections
from wiredoctor.text import redact
from wiredoctor.text.durations import duration_text
from wiredoctor.text.phrases import join_words
from wiredoctor.world.numbers import DURATION

c = pl.col

_MEDIAN = "{server} took {median} (the median of {requests:,} responses) to answer {what}. For the same requests {others}. "

RULE = Rule(
    symptom="slow pages now and then",
    severity="warning",
    title={
        None: "One of {servers} servers is slow: it takes {median}, the others {usual_time}",
        "fan-out": "The slowest of {servers} services asked at the same time takes {median}, the others {usual_time}",
    },
    message={
        None: _MEDIAN
        + "{server} got {requests:,} of the {all_requests:,} requests ({share} %), and these took {delay} longer in "
        "total than they would have at the median of the others.",
        "fan-out": _MEDIAN + "The client sent each request to all of these services at the same time, so it waited for {server}: "
        "{delay} longer in total than it would have at the median of the others.",
    },
    remedy={
        None: "Take {server} out of rotation, and find the difference from the others: load, disk, caches, "
        "memory, neighbors on the same machine, its path to the database. Have the balancer prefer servers with few open "
        "requests (nginx least_conn, HAProxy balance leastconn), so that a slow server gets fewer.",
        "fan-out": "Find out why {server} needs so long (its log, its database, the services that it calls). If the client can "
        "do without this response, limit how long it waits for it; otherwise cache it, or request it earlier.",
    },
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference("Dean and Barroso, The Tail at Scale", "https://research.google/pubs/the-tail-at-scale/"),
        Reference("nginx, least_conn", "https://nginx.org/en/docs/http/ngx_http_upstream_module.html#least_conn"),
        Reference("HAProxy, balance", "https://docs.haproxy.org/2.6/configuration.html#4.2-balance"),
    ),
    explained_by=(("nagle-delayed-ack", "endpoint"), ("delayed-ack-stall", "endpoint")),
    summary=True,
    any_order=True,
)

ENOUGH = Threshold("10 exchanges", "the minimum number of exchanges of each server; a median of fewer means little")
TIMES = Threshold(
    "5 times", "the minimum ratio of the medians; servers that share a load differ by less, even if one has an older processor"
)
BEYOND = Threshold(
    "100 ms",
    "the minimum difference of the medians, because users notice no smaller one; one of two fast servers may well take five "
    "times as long as the other",
)
ABOVE = Threshold(
    "75 %",
    "the minimum share of slow responses among all responses of the server; if their share is lower, the server is slow only at "
    "times",
)
USUAL = Threshold(
    "90 %", "a response is slow if it is slower than this share of the other servers' responses; some of these may be slow, too"
)
SIZES = Threshold("4 times", "the maximum ratio of the sizes of responses; a larger ratio means different work")
AT_ONCE = Threshold(
    "10 ms", "the maximum time between requests with the same target that a client sends to several services together"
)
EVERY = Threshold(
    "50 %", "the minimum share of requests that the client sent to all servers together if they do not share the work"
)
SHOWN = Threshold("3 exchanges", "the maximum number of exchanges shown as evidence; the message has the medians")

_SMALL = 4096
"""The number of bytes added to all sizes before they are compared: the ratio of two small sizes is often large by chance."""


def _slow() -> pl.Expr:
    return pl.col("server_time") - pl.col("rtt_server") >= BEYOND.value


def _least() -> int:
    """Return the minimum number of slow responses of a slow server."""
    return ENOUGH.value * ABOVE.value // 100


def may_match() -> pl.Expr:
    """Return a cheap condition on all rows together: if it is false, there are no candidate findings."""
    several = pl.col("endpoint").min() != pl.col("endpoint").max()
    return several & (_slow().sum() >= _least())


class Facts(NamedTuple):
    """What is known of a slow server. Times are in ns.

    `path`: the path of the requests, with 0 in place of each digit. `listed`: the fastest of the other servers, with the columns
    `server_other`, `median` and `requests`. `shown`: the first exchanges with the slow server, with the columns _SHOWN.
    """

    server: str
    method: str
    path: str
    servers: int
    listed: list[dict[str, Any]]
    shown: list[dict[str, Any]]


def find(exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each slow server and path."""
    known = connections.select("connection", "client_host", "server")
    slow = _with_keys(exchanges.filter(_slow()), known).group_by("key", "server").agg(pl.len(), c("client_host").first())
    slow = slow.filter(c("len") >= _least()).collect(engine="streaming").lazy()
    # only clients that ask a slow server and another one matter, so most requests are never examined
    asking = known.join(slow, on="client_host", how="semi").collect(engine="streaming")
    asking = asking.filter(c("server").n_unique().over("client_host") > 1)
    compared = _with_keys(of_connections(exchanges, asking), asking.lazy()).join(slow, on="key", how="semi")
    return _slow_servers(compared.collect(engine="streaming")).lazy()


def _with_keys(rows: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return the needed columns of each response that is compared, with `key`: a hash of client host, method, site, path and
    status.
    """
    answered = c("has_request") & (c("response_status") >= 200) & ~c("upgraded") & ~(is_monitoring() | is_long_poll())
    asked = rows.join(connections, on="connection").select(
        *("connection", "client_host", "server", "request_method"),
        comparable_site(),
        comparable_path(),
        pl.when(c("response_status") < 300).then(200).otherwise("response_status").alias("status"),
        c("request_target").hash().alias("target"),
        (c("server_time") - c("rtt_server")).clip(0).alias("time"),
        c("response_body_bytes").fill_null(0).alias("size"),
        c("gap_before").alias("doubtful"),
        *("request_frame", "request_start", "response_frame", "response_start"),
        # as a column, because Polars would apply such a filter to all rows that it reads
        (answered & c("server_time").is_not_null() & c("rtt_server").is_not_null()).alias("compared"),
    )
    return asked.filter("compared").select(
        pl.struct("client_host", "request_method", "site", "path", "status").hash().alias("key"),
        pl.exclude("site", "status", "compared"),
    )


_PLACE = ["key", "server"]


def _slow_servers(rows: pl.DataFrame) -> pl.DataFrame:
    """Return a candidate for each slow server and path. `rows`: the responses to requests that a server often answers slowly."""
    groups = rows.group_by(_PLACE).agg(
        pl.len().cast(pl.Int64).alias("requests"), c("time").median().alias("median"), c("size").median().alias("size")
    )
    groups = groups.filter(c("requests") >= ENOUGH.value)
    slow = _slower(groups)
    slow = slow.join(_above(rows.join(groups.select(_PLACE), on=_PLACE, how="semi"), slow), on=_PLACE)
    slow = slow.filter(c("share_above") * 100 >= ABOVE.value)
    slow = slow.join(_sent_to_all(rows, groups, slow), on=_PLACE, how="left")
    return _candidate_columns(rows, slow, groups)


def _pairs(groups: pl.DataFrame, slow: pl.DataFrame) -> pl.DataFrame:
    """Pair each row of `slow` with each other server that got the same requests. The other server's columns end with `_other`."""
    return slow.join(groups, on="key", suffix="_other").filter(pl.col("server") != pl.col("server_other"))


def _slower(groups: pl.DataFrame) -> pl.DataFrame:
    """Return the servers whose median time is far above that of other servers whose responses have a similar size."""
    others = (
        _pairs(groups, groups.filter(c("median") >= BEYOND.value))
        .group_by("key", "server", "requests", "median", "size")
        .agg(
            c("median_other").median().alias("others_median"),
            c("size_other").median().alias("others_size"),
            c("requests_other").sum().alias("others_requests"),
            pl.len().cast(pl.Int64).alias("others"),
        )
    )
    sizes = [name + _SMALL for name in (c("size"), c("others_size"))]
    alike = pl.max_horizontal(sizes) <= SIZES.value * pl.min_horizontal(sizes)
    far = (c("median") >= TIMES.value * c("others_median")) & (c("median") - c("others_median") >= BEYOND.value)
    return others.filter(alike & far)


def _above(rows: pl.DataFrame, slow: pl.DataFrame) -> pl.DataFrame:
    """Compare the responses of each slow server with those of the other servers.

    `share_above`: the fraction (0 to 1) of the slow server's responses that took longer than nearly all responses of the other
    servers. `cost`: the time lost (ns).
    """
    some = rows.select("key", "server", "time")
    theirs = _pairs(some, slow.select("key", "server", "others_median"))
    usual = theirs.group_by("key", "server").agg(c("time").quantile(USUAL.value / 100, "higher").alias("usual"))
    own = some.join(slow.select("key", "server", "others_median"), on=["key", "server"]).join(usual, on=["key", "server"])
    return own.group_by("key", "server").agg(
        (c("time") > c("usual")).mean().alias("share_above"),
        (c("time") - c("others_median")).clip(0).sum().cast(pl.Int64).alias("cost"),
    )


def _sent_to_all(rows: pl.DataFrame, groups: pl.DataFrame, slow: pl.DataFrame) -> pl.DataFrame:
    """Return for each slow server whether the client sent most of its requests to all other servers at the same time, too."""
    sent = rows.select(*_PLACE, "target", "request_start", c("request_start").alias("sent")).sort("request_start")
    own = _pairs(groups, sent.join(slow.select(_PLACE), on=_PLACE, how="semi")).sort("request_start")
    beside = own.join_asof(
        sent.rename({"server": "server_other", "sent": "sent_other"}), on="request_start", by=["key", "target", "server_other"],
        strategy="nearest", tolerance=AT_ONCE.value, check_sortedness=False,
    )  # fmt: skip
    of_request = beside.group_by(*_PLACE, "target", "sent").agg(c("sent_other").is_not_null().all().alias("at_all"))
    return of_request.group_by(_PLACE).agg((c("at_all").mean() * 100 >= EVERY.value).alias("fan_out"))


def _candidate_columns(rows: pl.DataFrame, slow: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
    """Return a candidate for each slow server, method and path.

    If several clients requested the path, the texts are about the client with the most requests.
    """
    own = rows.join(slow.select(_PLACE), on=_PLACE, how="semi").sort("request_frame", "connection")
    facts = own.group_by(_PLACE).agg(
        c("client_host", "request_method", "path").first(),
        c("request_frame").first().alias("frame"),
        c("request_start").min().alias("start"),
        c("response_start").max().alias("end"),
        c("doubtful").any(),
        pl.struct(_SHOWN).head(SHOWN.value).alias("shown"),
    )
    pairs = _pairs(groups, slow.select(_PLACE)).sort("median", "server_other")
    other = pl.struct("server_other", c("median").cast(pl.Int64), "requests")
    listed = pairs.group_by(_PLACE, maintain_order=True).agg(other.head(LISTED.value).alias("listed"))
    path = ["server", "request_method", "path"]
    several = (
        slow.join(facts, on=_PLACE)
        .join(listed, on=_PLACE)
        .sort("requests", "frame", descending=[True, False])
        .group_by(path, maintain_order=True)
        .agg(
            c("client_host").n_unique().alias("clients"),
            c("client_host").first(),
            c("frame", "start").min(),
            c("end").max(),
            c("cost", "requests", "others_requests").sum(),
            c("doubtful").any(),
            c("median", "others_median", "others", "listed", "shown", "fan_out").first(),
        )
    )
    every = c("requests") + c("others_requests")
    sure = pl.when("doubtful").then(pl.lit("low")).otherwise(pl.lit("high"))
    return several.sort("frame", *path).select(
        *candidate("server", sure, "frame", "start", "end", kind=_kind(), delay=c("cost"), of="server"),
        *("server", "requests", c("request_method").alias("method"), "path"),
        pl.when(c("clients") == 1).then("client_host").alias("client"),
        (c("others") + 1).alias("servers"),
        c("median").cast(pl.Int64).cast(DURATION),
        c("others_median").cast(pl.Int64).cast(DURATION).alias("usual_time"),
        (c("requests") * 100 / every).round().cast(pl.Int64).alias("share"),
        every.alias("all_requests"),
        *("listed", "shown"),
    )


def _kind() -> pl.Expr:
    return pl.when("fan_out").then(pl.lit("fan-out"))


_SHOWN = ("request_frame", "request_start", "response_frame", "response_start", "time")


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the requests, the other servers, and the first exchanges."""
    requests = [(one["request_frame"], one["request_start"], f"the request to {x.server}") for one in x.shown]
    responses = [
        (one["response_frame"], one["response_start"], f"its response, {duration_text(one['time'])} later") for one in x.shown
    ]
    return {
        "what": _any_number(f"{redact.method(x.method)} {redact.target(x.path)}"),
        "others": _list_medians(x),
        "evidence": packets(*requests, *responses),
    }


def _any_number(request: str) -> str:
    """Return the text of a request line with # in place of each digit, and with an explanation of the #.

    `request` has 0 in place of each digit.
    """
    return f"{request.replace('0', '#')} (# is any digit)" if "0" in request else request


def _list_medians(x: Facts) -> str:
    """Return a text that lists the medians of the other servers."""
    texts = [f"{one['server_other']} took {duration_text(one['median'])} ({one['requests']} responses)" for one in x.listed]
    if beyond := x.servers - 1 - len(texts):
        texts.append(f"{beyond} more took about as long")
    return join_words(texts)

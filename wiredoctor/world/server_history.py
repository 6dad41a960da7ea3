"""Select what shows the idle times of servers (server.py), and remember it of a live capture's exchanges, in bounded memory.

The oldest is forgotten first, so that what is known equals that of a capture that began later.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from wiredoctor import limits
from wiredoctor.tables import MILLISECOND, NOTHING
from wiredoctor.world.connection_close import ENDLESS, SELF_FRAMED, is_client_gone, is_reset_without_ack, server_closed_first
from wiredoctor.world.learned_limits import EARLIEST, Use

c = pl.col

ENDS = {
    **dict.fromkeys(("endpoint", "time", "rest", "connection", "known"), pl.Int64()),
    **dict.fromkeys(("teaches", "reset"), pl.Boolean()),
    "sort": pl.String(),
    **dict.fromkeys(("waited", "said", "frame", "begun"), pl.Int64()),
}
"""The types of the column `endpoint`, and of the columns of ServerClose."""

SYNS = {**dict.fromkeys(("endpoint", "time", "answered"), pl.Int64()), "refused": pl.Boolean(), "frame": pl.Int64()}
"""The types of the column `endpoint`, and of the columns of Syn."""


def answered_syns(
    connections: pl.LazyFrame, wanted: pl.DataFrame, names: pl.LazyFrame | None = None
) -> pl.LazyFrame:  # fmt: skip
    """Return the answered SYNs to each endpoint in `wanted` that refused at least one SYN, with the columns SYNS.

    `names`: the servers of the connections in `wanted`, if `connections` may not have these connections.
    """
    answered = pl.coalesce("refused_time", "newest_answer_time")
    syns = connections.filter(c("syn_time").is_not_null() & answered.is_not_null())
    own = connections if names is None else names
    named = own.select("connection", "server").join(wanted.lazy(), on="connection").select("server", "endpoint").unique()
    refused = syns.filter(c("refused_time").is_not_null()).select("server").unique()
    return (
        syns.select(
            "server",
            c("syn_time").alias("time"),
            answered.alias("answered"),
            c("refused_time").is_not_null().alias("refused"),
            pl.coalesce("refused_frame", "newest_answer_frame").alias("frame"),
        )
        .join(refused, on="server", how="semi")
        .join(named, on="server")
        .select(*SYNS)
    )


def server_closes(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return the columns ENDS for each connection that the server closed first.

    Closes that a message had announced are left out, unless they cut off a response or ended a tunnel or an endless stream.
    """
    rows = closes.filter(c("server_close_frame").is_not_null() & ~is_reset_without_ack("server") & c("has_request"))
    asked = c("request_end_reason") == "complete"
    final = c("has_response") & (c("response_status") >= 200) & ~c("upgraded")
    whole = final & asked & (c("response_end_reason") == "complete") & c("response_framing").is_in(SELF_FRAMED)
    idle = whole & c("persistent") & c("last_on_connection") & (c("server_close_time") >= c("response_start"))
    open_before = ~final & ~c("previous_announced_close") & ~c("upgraded")
    met = open_before & (c("request_arrived") > NOTHING)
    unaware = open_before & (c("request_arrived") <= NOTHING) & c("previous_end").is_not_null()
    broken = final & c("response_end_reason").is_in(["fin", "rst"]) & c("response_framing").is_in(["content-length", "chunked"])
    stream = final & (c("response_framing") == "close-delimited") & c("response_content_type").is_in(ENDLESS)
    tunnel = c("upgraded") | stream
    since = pl.when(idle).then("response_end").otherwise("previous_end")
    rest = c("server_close_time") - since
    # how long a connection was unused before its first request began
    unused = pl.when(met & c("handshake")).then(c("request_start") + c("rtt_server").fill_null(0) - c("accepted_time"))
    itself = ~c("server_close_contradicted") & (c("server_close_origin") != "between") & ~is_client_gone()
    first = server_closed_first() | (unaware & itself)
    sort = pl.when(idle).then(pl.lit("idle")).when(unaware).then(pl.lit("unaware")).when(met).then(pl.lit("met"))
    return (
        rows.filter((idle | met | unaware | broken | tunnel).fill_null(value=False) & first)
        .select(
            "endpoint",
            c("server_close_time").alias("time"),
            # an unfinished response or pipeline has no idle time
            pl.when((rest >= 0) | idle).then(rest.clip(0)).when(rest.is_null()).then(unused.clip(0)).alias("rest"),
            "connection",
            c("final_at").alias("known"),
            (idle | unaware).fill_null(value=False).alias("teaches"),
            (met & (c("server_close_rst") == 1) & c("previous_end").is_not_null()).fill_null(value=False).alias("reset"),
            sort.when(tunnel).then(pl.lit("open")).otherwise(pl.lit("broken")).alias("sort"),
            pl.when(met).then(c("server_close_time") - c("request_start") - c("rtt_server").fill_null(0)).alias("waited"),
            pl.when(idle).then(c("response_keep_alive_timeout").cast(pl.Int64)).alias("said"),
            c("server_close_frame").alias("frame"),
            pl.when(idle).then(c("response_start")).alias("begun"),
            "exchange",
        )
        .sort("connection", "exchange")
        .unique("connection", keep="first", maintain_order=True)
        .drop("exchange")
    )


def used_idle_times(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return the requests that were answered after an idle time, with `endpoint` and the columns of Use."""
    arrived = c("request_start") + c("rtt_server").fill_null(0)
    rest = arrived - c("previous_end")
    rows = closes.filter(c("has_request") & c("has_response") & (c("response_status") >= 200) & (rest >= EARLIEST))
    return rows.select("endpoint", rest.alias("rest"), arrived.alias("time"), c("final_at").alias("known"))


def request_arrivals(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return when requests arrived at each `endpoint`: `time`, and `known`, the time at which the row became final (ns)."""
    arrived = c("request_start") + c("rtt_server").fill_null(0)
    rows = closes.filter(c("has_request") & c("request_start").is_not_null())
    return rows.select("endpoint", arrived.alias("time"), c("final_at").alias("known"))


def announcements(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return for each connection the timeout (s) that the last response announced, and the last nonempty Server field."""
    rows = closes.filter(c("has_response") & (c("response_status") >= 200)).sort("connection", "exchange")
    server = c("response_server").cast(pl.String)
    return rows.group_by("connection").agg(
        c("response_keep_alive_timeout").last().alias("said"), server.filter(server != "").last().alias("software")
    )


_APART = 10 * MILLISECOND
"""Of the requests to an endpoint within so many ns, the first is remembered. Idle times are compared less exactly."""

_OF_EACH = 512
"""The number of closes of a server, and of requests to it after idle times, that are remembered: each decision examines all."""

_SPARE = 1.25
"""The factor by which rows may exceed their limit before the oldest are dropped, because dropping copies all."""

_CHUNKS = 64
"""The number of parts above which the parts of a data frame are joined, because each takes time and memory."""

_SYN_TIMES = ("syn_time", "refused_time", "newest_answer_time", "refused_frame", "newest_answer_frame")
_SYNS = pl.Schema({"connection": pl.Int64(), "server": pl.String(), **dict.fromkeys(_SYN_TIMES, pl.Int64())})
_USES = pl.Schema(dict.fromkeys(("endpoint", *Use._fields), pl.Int64()))
_REQUESTS = pl.Schema(dict.fromkeys(("endpoint", "time", "known"), pl.Int64()))
_REUSED = pl.Schema(dict.fromkeys(("endpoint", "known"), pl.Int64()))


class ServerHistory(NamedTuple):
    """The closes by servers (`ends`) and answered requests after idle times (`uses`).

    `requests`: when requests arrived (see `request_arrivals`). `syns`: answered SYNs, with columns of tables.CONNECTIONS.
    `reused`: for each endpoint, when it was known (ns) that it answered a second request on a connection.
    """

    ends: pl.DataFrame = pl.DataFrame(schema=ENDS)
    uses: pl.DataFrame = pl.DataFrame(schema=_USES)
    requests: pl.DataFrame = pl.DataFrame(schema=_REQUESTS)
    syns: pl.DataFrame = pl.DataFrame(schema=_SYNS)
    reused: pl.DataFrame = pl.DataFrame(schema=_REUSED)


def add_to_history(known: ServerHistory, closes: pl.LazyFrame, connections: pl.LazyFrame) -> ServerHistory:
    """Return what is known with these further exchanges, and with connections, some of which may be known already."""
    answered = pl.any_horizontal(c(name).is_not_null() for name in ("refused_time", "newest_answer_time"))
    again = c("has_request") & c("previous_end").is_not_null() & c("has_response") & (c("response_status") >= 200)
    queries = (
        server_closes(closes),
        used_idle_times(closes),
        request_arrivals(closes),
        connections.filter(c("syn_time").is_not_null() & answered).select(*_SYNS),
        closes.filter(again).group_by("endpoint").agg(c("final_at").min().alias("known")),
    )
    fresh = [rows.cast(old.schema) for rows, old in zip(pl.collect_all(queries), known, strict=True)]
    slots = fresh[2].with_columns((c("time") // _APART).alias("slot"))
    fresh[2] = slots.unique(["endpoint", "slot"], keep="first", maintain_order=True).drop("slot")
    both = zip(known, fresh, strict=True)
    ends, uses, requests, syns, reused = (pl.concat([old, new]) if new.height else old for old, new in both)
    ends, uses = _newest_of_each(ends.unique("connection", keep="first", maintain_order=True), uses)
    return ServerHistory(
        ends,
        _in_few_chunks(uses),
        _newest(requests, limits.SERVER_REQUESTS.value),
        _newest(syns.unique("connection", keep="last", maintain_order=True), limits.SERVER_CLOSES.value),
        _newest(reused.unique("endpoint", keep="first", maintain_order=True), limits.SERVER_CLOSES.value),
    )


def _newest(rows: pl.DataFrame, most: int) -> pl.DataFrame:
    """Return the rows that were added last, at most _SPARE times `most`."""
    return _in_few_chunks(rows.tail(most) if rows.height > most * _SPARE else rows)


def _in_few_chunks(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows, joined if they are in many parts; not every time, because that copies all of them."""
    return rows.rechunk() if rows.n_chunks() > _CHUNKS else rows


def _newest_of_each(ends: pl.DataFrame, uses: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the newest closes and uses. Both of an endpoint begin at the same time, as their numbers are compared."""
    most = limits.SERVER_CLOSES.value
    busiest = max((rows["endpoint"].value_counts(sort=True)["count"].head(1).sum() for rows in (ends, uses)), default=0)
    if max(ends.height, uses.height) <= most * _SPARE and busiest <= _OF_EACH * _SPARE:
        return ends, uses
    since: list[pl.DataFrame] = []
    for rows in (ends, uses):
        left = rows.sort("time").group_by("endpoint").tail(_OF_EACH).sort("time").tail(most)
        some = left.group_by("endpoint").agg(c("time").min().alias("since"), pl.len().alias("left"))
        every = rows.group_by("endpoint").agg(pl.len().alias("all"))
        cut = every.join(some, on="endpoint", how="left").filter(c("left").fill_null(0) < c("all"))
        since.append(cut.select("endpoint", c("since").fill_null(pl.lit(rows["time"].max(), pl.Int64))))
    from_then = pl.concat(since).group_by("endpoint").agg(c("since").max())
    kept = (
        rows.join(from_then, on="endpoint", how="left", maintain_order="left")
        .filter(c("since").is_null() | (c("time") >= c("since")))
        .drop("since")
        for rows in (ends, uses)
    )
    ends, uses = kept
    return ends, uses

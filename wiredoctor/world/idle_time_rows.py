"""Select the closes, SYNs, requests and announcements from which idle times are learned (server.py)."""

from __future__ import annotations

import polars as pl

from wiredoctor.tables import NOTHING
from wiredoctor.world.connection_close import ENDLESS, SELF_FRAMED, is_client_gone, is_reset_without_ack, server_closed_first
from wiredoctor.world.learned_limits import EARLIEST

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

"""Remember what the exchanges of a live capture have shown about the idle times of servers, in bounded memory.

The oldest is forgotten first, so that what is known equals that of a capture that began later.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from wiredoctor import limits
from wiredoctor.tables import MILLISECOND
from wiredoctor.world.idle_time_rows import ENDS, request_arrivals, server_closes, used_idle_times
from wiredoctor.world.learned_limits import Use

c = pl.col

_APART = 10 * MILLISECOND
"""Of the requests to an endpoint within so many ns, the first is remembered. Idle times are compared less exactly."""

_OF_EACH = 2048
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
    """The closes by servers (`ends`) and answered requests after idle times (`uses`), as in idle_time_rows.py.

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

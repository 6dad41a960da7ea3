"""Find the timeout after which a client always closes streams that answer its calls.

A single close shows nothing: users stop answers, too, and programs stop after a number of tokens.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import attrgetter
from statistics import median_low
from typing import ClassVar, NamedTuple

import polars as pl

from wiredoctor import limits
from wiredoctor.findings import Threshold
from wiredoctor.tables import MILLISECOND, SECOND, of_connections
from wiredoctor.world.client_rows import one_host, server_host
from wiredoctor.world.connection_close import answer_due, streams
from wiredoctor.world.equal_waits import limit_of
from wiredoctor.world.world import CaptureTables, Index

c = pl.col

NEAR = Threshold("60 s", "the time before and after the close of a stream within which others show the timeout of the client")
READ = Threshold("1 s", "the minimum silence that may be a timeout of a client for the next data of a stream")
SILENT_PAUSES = Threshold(
    "3 pauses", "such a silence is as long as this many times the longest pause before it, and so not one of them"
)
SHARE = Threshold("75 %", "the minimum share of such closes among all streams that the client closed before their ends")
READS = Threshold("2 closes", "the minimum number of equal silences, at different moments, that show a timeout for the next data")
TOTALS = Threshold(
    "3 closes", "the minimum number of equal durations, at different moments, that show a limit for complete answers"
)
HEDGED = Threshold(
    "50 ms", "the time before the close of a stream within which another answer to the same request may replace it"
)
LEGS = Threshold("50 ms", "the maximum time between the closes of a gateway towards its client and towards the server behind it")
_KEY = ("connection", "exchange")
_MOMENT = 4
"""The number of values of each packet in `response_moments`; the second is its time."""
_STEP = SECOND // 2
"""The limit for complete answers is a multiple of this time (ns): people choose it."""
_LATE = 20 * MILLISECOND
"""The maximum difference (ns) between such a limit and a stream's duration."""
_ROW_WAIT = 5 * SECOND
"""The time (ns) after which the row of a close is written."""


class StreamLimit(NamedTuple):
    """A timeout of a client: its length (ns), and since when it counts: the last "byte", the "request", or the "syn"."""

    length: int
    since: str


class _Close(NamedTuple):
    """A client's close of a stream. All but `connection` and `events` are in ns; `silence`: the time without data before it."""

    time: int
    connection: int
    silence: int
    longest_pause: int
    since_request: int
    since_syn: int | None
    events: int | None

    def is_read_timeout(self) -> bool:
        """Return whether the silence may be a timeout for the next data."""
        return self.silence >= max(READ.value, SILENT_PAUSES.value * self.longest_pause)


class StreamCloses(Index):
    """The streams that the candidates' clients closed before their ends."""

    NEEDS: ClassVar[tuple[str, ...]] = ("connection", "is_answer")
    HELD: ClassVar[bool] = True

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> StreamCloses:
        """Return the closes of the clients whose streams are candidates (see world.Index)."""
        own = pl.concat([rows.filter("is_answer").select("connection") for rows in wanted])
        if own.is_empty():
            return cls(_NO_ROWS)
        rows = _rows(tables.closes, tables.connections) if tables.remembered is None else tables.remembered[cls]
        return cls(rows)

    @classmethod
    def remember(cls, kept: pl.DataFrame | None, tables: CaptureTables) -> pl.DataFrame:
        """Return the newest closes of streams."""
        rows = _rows(tables.closes, tables.connections)
        return (rows if kept is None else pl.concat([kept, rows])).tail(limits.CLIENT_REQUESTS.value)

    def __init__(self, rows: pl.DataFrame) -> None:
        self._of: dict[tuple[str, str, int], list[_Close]] = {}
        self._programs: dict[int, tuple[str, str, int]] = {}
        for host, server, agent, *close in rows.sort("time", "connection").iter_rows():
            self._of.setdefault((host, server, agent), []).append(_Close(*close))
            self._programs[close[1]] = host, server, agent

    def limit(self, connection: int) -> StreamLimit | None:
        """Return the timeout that ended the stream on a connection; None if nothing shows one."""
        program = self._programs.get(connection)
        every = [] if program is None else self._of[program]
        own = next((one for one in every if one.connection == connection), None)
        if own is None:
            return None
        first = bisect_left(every, own.time - NEAR.value, key=attrgetter("time"))
        near = every[first : bisect_right(every, own.time + NEAR.value, key=attrgetter("time"))]
        return _read_timeout(own, near) or _total_limit(own, near)


def until(close: pl.Expr) -> pl.Expr:
    """Return until when (ns) other closes may show the timeout behind a close at the time `close`."""
    return close + NEAR.value + _ROW_WAIT


def _read_timeout(own: _Close, near: Sequence[_Close]) -> StreamLimit | None:
    if not own.is_read_timeout():
        return None
    waits = [(one.time, one.silence if one.is_read_timeout() else 0) for one in near]
    limit = limit_of(waits, moments=READS.value, most=SHARE.value)
    return StreamLimit(limit, "byte") if limit is not None and abs(own.silence - limit) <= limit // 100 + _LATE else None


def _total_limit(own: _Close, near: Sequence[_Close]) -> StreamLimit | None:
    for since in ("syn", "request"):
        ages = {one: one.since_syn if since == "syn" else one.since_request for one in near if one.silence < READ.value}
        known = {one: age for one, age in ages.items() if age is not None}
        if not known or own not in known:
            continue
        limit = round(median_low(known.values()) / _STEP) * _STEP
        alike = [one for one, age in known.items() if limit and abs(age - limit) <= _LATE]
        waits = [(one.time, limit if one in alike else 0) for one in near]
        varies = own in alike and len({one.events for one in alike}) > 1  # a program may stop after a number of tokens
        if varies and limit_of(waits, moments=TOTALS.value, most=SHARE.value) is not None:
            return StreamLimit(limit, since)
    return None


def left_answer() -> pl.Expr:
    """Return, for rows of `closes`, whether the client closed a stream for whose end it waited, before that end."""
    begun = c("has_response") & (c("response_status") >= 200) & (c("response_status") < 300)
    cut = c("response_end_reason").is_in(["fin", "rst", "capture-end"]) & ~c("response_has_gap")
    due = streams() & answer_due() & begun & cut & (c("closed_first") == "client")
    return (due & (c("client_close_time") >= c("response_start"))).fill_null(value=False)


def _before_close(left: pl.LazyFrame) -> pl.LazyFrame:
    """Return the closes `left` with `byte`, when the last data before the client's close came, and `longest_pause` before it.

    A server that goes on sends data after the close, too. If the first packets of the body reach beyond the close, they show what
    came before it. All times are in ns.
    """
    last = pl.max_horizontal("response_last_body_time", "response_start")
    rows = left.with_columns(last.alias("byte"), c("response_longest_pause").fill_null(0).alias("longest_pause"))
    went_on = rows.filter(c("byte") > c("client_close_time"))
    moments = c("response_moments").list.gather_every(_MOMENT, 1)
    times = went_on.select(*_KEY, "client_close_time", moments.alias("time")).explode("time")
    early = c("time") <= c("client_close_time")
    known = times.group_by(_KEY).agg(
        early.all().alias("cut"),
        c("time").filter(early).max().alias("byte_before"),
        c("time").filter(early).sort().diff().max().fill_null(0).alias("pause_before"),
    )
    found = rows.join(known.filter(~c("cut") & c("byte_before").is_not_null()), on=_KEY, how="left")
    return found.with_columns(
        pl.coalesce("byte_before", "byte").alias("byte"), pl.coalesce("pause_before", "longest_pause").alias("longest_pause")
    )


def _rows(closes: pl.LazyFrame, connections: pl.LazyFrame) -> pl.DataFrame:
    """Return the closes of streams, with the client's host, the server, and a hash of the User-Agent field."""
    opened = pl.when((c("exchange") == 0) & c("handshake")).then(c("accepted_time") - c("rtt_server"))
    rows = _before_close(closes.filter(left_answer())).select(
        "connection",
        c("request_user_agent").fill_null("").hash().alias("agent"),
        c("client_close_time").alias("time"),
        (c("client_close_time") - c("byte")).alias("silence"),
        "longest_pause",
        (c("client_close_time") - c("request_start")).alias("since_request"),
        (c("client_close_time") - opened).alias("since_syn"),
        c("response_events").alias("events"),
    )
    places = of_connections(
        connections.select("connection", one_host().alias("host"), "server"), rows.select("connection").collect()
    )
    found = rows.join(places, on="connection").select("host", "server", "agent", *_Close._fields)
    kept = found.sort("time", "connection").tail(limits.CLIENT_REQUESTS.value).collect(engine="streaming")
    if kept.is_empty():
        return kept
    # a gateway that also ended the stream of its own client is no client that left
    cut = (c("closed_first") == "server") & streams() & c("response_end_reason").is_in(["fin", "rst"])
    ours = closes.filter(cut).select("connection", c("server_close_time").alias("cut_at")).collect(engine="streaming")
    hosts = of_connections(connections.select("connection", server_host().alias("host")), ours)
    fronts = hosts.join(ours.lazy(), on="connection").select("host", "cut_at").sort("cut_at").collect(engine="streaming")
    near = kept.join_asof(
        fronts, left_on="time", right_on="cut_at", by="host", strategy="nearest", tolerance=LEGS.value, check_sortedness=False
    )
    return near.filter(c("cut_at").is_null()).select(kept.columns)


_NO_ROWS = pl.DataFrame(schema=["host", "server", "agent", *_Close._fields])

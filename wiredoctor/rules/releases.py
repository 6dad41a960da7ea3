"""What an ACK released: the measures that rules about held-back segments share.

In a row S of `segments`, D is the data segment of the same side before it and K the pure ACK that answered D.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

import polars as pl

from wiredoctor.rules.memory import Recent
from wiredoctor.tables import MILLISECOND

_TIMERS = (
    (8, 12, "10 ms is the timer of Windows' datacenter profile"),
    (39, 51, "40 to 50 ms is the timer of Linux, FreeBSD, and Windows 10 and later"),
    (98, 190, "100 to 200 ms is the timer of macOS and Solaris"),
    (190, 215, "200 ms is the timer of older Windows, and the longest of macOS"),
    (215, 511, "RFC 9293 allows any delay below 500 ms"),
)
"""Classes of delayed-ACK timers: from, to (ms), and whose they are."""

_UNKNOWN_TIMER = "whose timer that is, is unknown; Linux' own grows to as much as 200 ms"


def next_after_ack() -> pl.Expr:
    """S is the next thing that its side says after K, which acknowledged all that was in flight after D.

    S brings only new data, its side had more to say, and between D and S there was neither data from the other
    side nor a retransmission.
    """
    c = pl.col
    new = (c("new_bytes") > 0) & ~c("retransmission") & ~c("overlap") & ~c("fills_hole") & ~c("keep_alive_probe")
    answered = c("data_before_last_in_flight") & (c("ack_before_ack") >= c("data_before_end")) & c("quiet_since_ack")
    undisturbed = ~c("other_data_since") & ~c("retransmission_since")
    return new & answered & undisturbed & (c("owes") | ~c("http"))


def after_ack() -> pl.Expr:
    """Nanoseconds from K's arrival at the sender to S's departure; null where the sender's round trip is unknown."""
    return pl.col("time") - pl.col("ack_before_time") - pl.col("rtt_own")


def narrow() -> pl.Expr:
    """S is released by K: the kernel sent it when K came. Without a handshake the round trip may hold thinking time,
    so that S may seem to come before K did."""
    rtt = pl.col("rtt_own")
    earliest = pl.when(pl.col("handshake")).then(-pl.max_horizontal(pl.lit(MILLISECOND), rtt // 10)).otherwise(-rtt)
    latest = pl.max_horizontal(pl.lit(3 * MILLISECOND // 2), rtt // 10)
    return after_ack().is_between(earliest, latest).fill_null(False)


def wide() -> pl.Expr:
    """S came so soon after K that it counts as released where an earlier one of the same side was inside `narrow`."""
    rtt = pl.col("rtt_own")
    latest = pl.max_horizontal(pl.lit(5 * MILLISECOND), pl.min_horizontal(rtt * 3 // 10, pl.lit(15 * MILLISECOND)))
    return after_ack().is_between(0, latest).fill_null(False)


def timer(ack_delay: pl.Expr) -> pl.Expr:
    """Whose delayed-ACK timer it is likely to be, in words."""
    words = pl.lit(_UNKNOWN_TIMER)
    for first, last, text in reversed(_TIMERS):
        inside = (ack_delay >= first * MILLISECOND) & (ack_delay < last * MILLISECOND)
        words = pl.when(inside).then(pl.lit(text)).otherwise(words)
    return words


class Row(NamedTuple):
    """What judging looks at in a row; times in nanoseconds. `held`: all of a stall but the release."""

    connection: int
    direction: int
    exchange: int | None
    endpoint: int | None
    role: int | None
    kind: str | None
    confidence: str
    delay: int
    quick: bool
    held: bool
    narrow: bool
    wide: bool
    lateness: int
    http: bool


@dataclass
class _Side:
    """What is remembered of a side of a connection."""

    narrow: bool = False
    short: deque[int] = field(default_factory=lambda: deque[int](maxlen=64))


@dataclass
class _Endpoint:
    """What is remembered of a side of an endpoint: how late it is by itself, how often it stalled."""

    late: dict[str | None, list[tuple[tuple[int, int | None], int]]] = field(
        default_factory=dict[str | None, list[tuple[tuple[int, int | None], int]]]
    )
    stalls: int = 0
    opportunities: int = 0


class Memory:
    """What earlier rows say of a later one, bounded; rows must come in the order of frames."""

    def __init__(self, exchanges: int, endpoints: int, sides: int, shortest: int) -> None:
        self._exchanges = exchanges
        self._shortest = shortest
        self._endpoints = Recent(_Endpoint, endpoints)
        self._sides = Recent(_Side, sides)

    def judge(self, row: Row) -> tuple[int, str] | None:
        """(delay in ns, confidence) of a stall; None for a row that is none, which is remembered all the same."""
        endpoint = self._endpoints[(row.endpoint, row.role)]
        if row.quick:
            self._remember(endpoint, row)
            return None
        usual = self._usual(endpoint, row)
        short = row.delay < self._shortest
        stalled = self._released(row) and 2 * usual < row.delay
        if stalled:
            stalled = self._counts(row, short)
        if stalled or not short:
            endpoint.opportunities += 1
        if not stalled:
            return None
        endpoint.stalls += 1
        sure = endpoint.stalls > 1 and 2 * endpoint.stalls >= endpoint.opportunities
        return max(0, row.delay - usual), row.confidence if sure or row.confidence == "low" else "medium"

    def _released(self, row: Row) -> bool:
        return row.held and (row.narrow or (row.wide and self._sides[(row.connection, row.direction)].narrow))

    def _counts(self, row: Row, short: bool) -> bool:
        """A delay too short for most timers counts from the fifth on, when five or more are alike."""
        side = self._sides[(row.connection, row.direction)]
        side.narrow |= row.narrow
        if not short:
            return True
        side.short.append(row.delay)
        middle = median(side.short)
        return sum(abs(delay - middle) <= middle / 10 for delay in side.short) >= 5

    def _remember(self, endpoint: _Endpoint, row: Row) -> None:
        """An exchange counts once, with the latest of its segments."""
        late = endpoint.late.setdefault(row.kind, [])
        exchange = (row.connection, row.exchange)
        for i, (known, lateness) in enumerate(late):
            if known == exchange:
                late[i] = (known, max(lateness, row.lateness))
                return
        late.append((exchange, row.lateness))
        del late[: -self._exchanges]

    def _usual(self, endpoint: _Endpoint, row: Row) -> int:
        """How late this kind of segment is when nothing is delayed: the median in nanoseconds, 0 where nothing is known."""
        late = endpoint.late.get(row.kind) if row.http else None
        return int(median(lateness for _, lateness in late)) if late else 0

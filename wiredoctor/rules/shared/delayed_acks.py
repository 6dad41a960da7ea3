"""Find segments that an ACK released, with the columns and words that the rules about held-back segments share.

In a row of `releases`, S is the held-back segment, D is the previous data segment of the same side (the first write), and K is
the pure ACK of D.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.tables import MILLISECOND
from wiredoctor.text.durations import duration_text

MIN_ACK_DELAY = Threshold(
    "30 ms",
    "the minimum delay of an ACK; it is below every common delayed-ACK timer (40 ms on Linux, FreeBSD and Windows 10) "
    "and above scheduling noise",
)
MAX_ACK_DELAY = Threshold(
    "510 ms",
    "the maximum delay of an ACK; RFC 9293 section 3.8.6.3 allows less than 500 ms, and 10 ms are added for the "
    "clock of the capture",
)
MIN_SHORT_ACK_DELAY = Threshold(
    "8 ms",
    "the minimum delay of ACKs if five or more have similar delays; it is below the shortest common timer (10 ms, "
    "Windows' datacenter profile), and shorter delays may come from a busy host",
)
QUICK_ACK = Threshold(
    "5 ms",
    "the maximum delay of an ACK that was sent without a timer; if data comes late after such an ACK, the application is the "
    "cause",
)
ENDPOINTS = Threshold(
    "4096 endpoint sides",
    "the maximum number of endpoint sides for which stalls are stored, which bounds the memory; the server at an endpoint is one "
    "side, its clients together are the other; the least recently seen side is dropped",
)
SIDES = Threshold(
    "16384 connection sides",
    "the maximum number of connection sides for which candidates are stored, which bounds the memory; the least recently seen "
    "side is dropped",
)

MAX_KERNEL_RESPONSE = 3 * MILLISECOND // 2
"""The maximum time in ns in which a kernel reacts to an ACK without waiting for an application."""

_TOLERANCE = 10
"""The time from an ACK to the segment that it released may be off by 1 / _TOLERANCE of a round trip, because round trips vary."""

_EARLY = MILLISECOND
"""The minimum tolerance in ns for a released segment that seems to precede its ACK, because the capture's clock may be coarse."""

_WIDE_SHARE, _WIDE_LEAST, _WIDE_MOST = 30, 5 * MILLISECOND, 15 * MILLISECOND
"""The wide tolerance for the time from an ACK to the segment that it released.

The first value is a percentage of the round trip. The others are the minimum and maximum of the tolerance in ns. The wide
tolerance is used once an ACK has released an earlier segment of the same side within the strict tolerance.
"""

_TIMERS = (
    (8, 12, "10 ms is the timer of Windows' datacenter profile"),
    (35, 51, "40 to 50 ms is the timer of Linux, FreeBSD, and Windows 10 and later"),
    (98, 190, "100 to 200 ms is the timer of macOS and Solaris; Windows before 10 waits up to 200 ms"),
    (190, 220, "200 ms is the timer of Windows before 10, and the longest timer of macOS"),
    (220, 511, "RFC 9293 allows any delay below 500 ms"),
)
"""Classes of delayed-ACK timers: shortest and longest delay (ms), and the systems that use them.

The 200 ms clock of older Windows also runs while no data is unacknowledged, so an ACK may be delayed for less. The resolution of
that clock is 16 ms, so an ACK may also be delayed for more.
"""

USUAL_TIMERS = ((35 * MILLISECOND, 51 * MILLISECOND), (190 * MILLISECOND, 220 * MILLISECOND))
"""The delays (ns) of the commonest delayed-ACK timers: 40 ms and 200 ms."""

LARGEST_PATH = 9_000
"""The size in bytes of a jumbo frame: a host that announces a larger MSS is not on a physical network."""

_WINDOWS = " If the receiver runs Windows, setting TcpAckFrequency to 1 there (registry, per interface) ends the delay too."

_UNREAD = (
    " The payload is not readable HTTP, so the ends of messages are unknown. That these bytes were already waiting is concluded "
    "from the time at which they left."
)

_AT_MOST = " If the program wrote the held-back bytes some time after the first write, the wait was shorter."
"""The text that is used if the held-back segment may have been written later than the first write.

This is possible in event streams, for small writes, and if the ends of messages are unknown.
"""

_USUAL = " If an ACK comes at once, the program writes again {} after it (median); that time is not counted."
"""The text that is used if the usual time from an ACK to the next write was subtracted, and the payload is not HTTP."""

_UNKNOWN_TIMER = "it is unknown which system has this timer; the timer of Linux can grow to 200 ms"


def candidates(releases: pl.LazyFrame, shortest: int, longest: int, quick: int) -> pl.LazyFrame:
    """Return a row for each segment S that may have been held back until an ACK arrived.

    The ACK is a delayed one (`shortest` to `longest` ns) or a prompt one (up to `quick` ns). Also return a row for each S that
    may be a tail loss probe, for each ACK that proves such a probe, and for each S that a cork (TCP_CORK) held back.
    """
    wanted, columns = _wanted_rows(shortest, longest, quick)
    return releases.filter(wanted).select(columns)


@lru_cache(maxsize=16)
def _wanted_rows(shortest: int, longest: int, quick: int) -> tuple[pl.Expr, list[pl.Expr | str]]:
    """Return a filter of `releases`, and the columns that `candidates` returns for the remaining rows."""
    c = pl.col
    late = c("previous_ack_delay").is_between(shortest, longest)
    prompt = c("previous_ack_delay") <= quick
    lateness = c("time") - c("previous_data_time") - c("rtt_own") - c("rtt_peer")
    # after a full D, only a late S shows how late such a segment usually is; an S before D means that the clock was set back
    kept = c("time") >= c("previous_data_time")
    shows = c("sort").is_in(["prompt", "corked"]) & kept & (_head_only() | c("previous_data_small") | (lateness >= quick))
    waited = (c("sort").is_in(["waited", "prompt", "corked"]) & (late | (prompt & shows))).fill_null(False)
    probe, corked = c("sort") == "probe", c("sort") == "corked"
    return waited | probe | corked | (c("probe_frame") > 0), [
        *("connection", "exchange", "direction", "endpoint", "role", "http", "unread", "message", "handshake", "mss"),
        pl.lit(None, pl.String).alias("side"),
        _max_confidence().alias("confidence"),
        c("previous_data_frame").alias("frame"),
        c("final_frame").alias("last_frame"),
        c("frame").alias("held_frame"),
        *("final_frame", c("first_frame").alias("since_frame")),
        c("previous_data_time").alias("start"),
        c("time").alias("end"),
        c("previous_ack_delay").alias("delay"),
        *("previous_ack_frame", "previous_ack_time"),
        c("previous_ack_bytes").alias("in_flight"),
        (c("previous_ack_interval") >= shortest).fill_null(True).alias("lone_ack"),
        waited.alias("waited"),
        prompt.fill_null(False).alias("prompt"),
        probe.alias("probe"),
        corked.alias("corked"),
        *("event_stream", "nagle_seen", "pace_seen"),
        c("probe_frame").alias("answers"),
        _part().alias("part"),
        c("ends_message").alias("ends"),
        c("previous_data_ends_message").alias("begins"),
        c("small_start").alias("small"),
        c("full"),
        had_room().alias("room"),
        (~c("nagle_disabled") & (c("http") | c("mss_announced"))).alias("nagle"),
        _after_ack().alias("release"),
        (c("time") - c("previous_ack_time")).alias("after"),
        (c("time") - c("previous_data_time")).alias("gap"),
        _is_released().alias("narrow"),
        _after_ack().is_between(-_EARLY, MAX_KERNEL_RESPONSE).fill_null(False).alias("sharp"),
        _wide().alias("wide"),
        lateness.clip(0).alias("lateness"),
        (c("usual_gap") - c("rtt_own") - c("rtt_peer")).clip(0).alias("usual"),
        c("previous_data_length").alias("sent_bytes"),
        c("length").alias("held_bytes"),
    ]


class Facts(NamedTuple):
    """What is known of a stall, for the words about it. Times and durations are in ns, `in_flight` and sizes in bytes.

    `delay`: how long the segment waited. `ack_delay`: by how much the receiver delayed the ACK. `release`: the time from the
    arrival of the ACK to the segment. `answer_frame`, `answer_time`: the ACK of a tail loss probe. `is_doubtful`: the confidence
    was low when the stall was found. `prompt_before`: an earlier segment did not have to wait.
    """

    kind: str | None
    frame: int
    start: int
    end: int
    delay: int
    role: int | None
    http: bool
    event_stream: bool
    part: str | None
    begins: bool
    room: bool
    sent_bytes: int
    held_bytes: int
    in_flight: int | None
    ack_delay: int | None
    release: int | None
    previous_ack_frame: int | None
    previous_ack_time: int | None
    held_frame: int
    answer_frame: int | None
    answer_time: int | None
    is_doubtful: bool
    prompt_before: bool


def common_words(x: Facts) -> dict[str, Any]:
    """Return the words that the rules about held-back segments share.

    `timer`: the operating systems whose delayed-ACK timer matches the delay. `receiver`: advice for the receiving system.
    `inferred`: what the finding has to assume because the ends of messages are unknown, or because the program may have written
    the held-back segment late. `left`: how long after the ACK the segment was sent.
    """
    timer = delayed_ack_timer_name(x.ack_delay or 0)
    return {
        "timer": timer,
        "receiver": _WINDOWS if "Windows" in timer else "",
        "inferred": _late(x) + ("" if x.http else _UNREAD),
        "left": "as soon as" if (x.release or 0) <= 0 else f"{duration_text(x.release or 0)} after",
    }


def _late(x: Facts) -> str:
    """Return the sentence about a segment that the program may have written some time after the first write, or ""."""
    usual = (x.ack_delay or 0) - x.delay
    if not x.http and usual > 0:
        return _USUAL.format(duration_text(usual))
    paused = x.event_stream or (x.part == "small" and x.delay == x.ack_delay)
    return "" if x.http and not paused else _AT_MOST


def first_write(x: Facts, told: str) -> tuple[int, int, str]:
    """Return the packet of the first write, with the note `told`, followed by ", more data pending" for HTTP."""
    return x.frame, x.start, told + (", more data pending" if x.http else "")


def delayed_ack(x: Facts) -> tuple[int | None, int | None, str]:
    """Return the packet of the ACK. Its note has the delay, and the round trip if it is at least 1 % of the delay."""
    if x.ack_delay is None or x.previous_ack_time is None:
        return None, None, ""
    way = x.previous_ack_time - x.start - x.ack_delay
    far = f", plus a round trip of {duration_text(way)}" if 100 * way >= x.ack_delay else ""
    return x.previous_ack_frame, x.previous_ack_time, f"its ACK, delayed by {duration_text(x.ack_delay)}{far}"


def delayed_ack_timer_name(ack_delay: int) -> str:
    """Return the text that names the systems whose delayed-ACK timer is near `ack_delay` (ns)."""
    near = (text for first, last, text in _TIMERS if first * MILLISECOND <= ack_delay < last * MILLISECOND)
    return next(near, _UNKNOWN_TIMER)


def _head_only() -> pl.Expr:
    return pl.col("previous_data_ends_head") & ~pl.col("previous_data_ends_message")


def _part() -> pl.Expr:
    """Return what the first write was: a "head", or a "small" or "full" segment; null if it filled the receiver's window."""
    parts = {"head": _head_only(), "small": pl.col("previous_data_small"), "full": pl.col("previous_data_full")}
    named = [pl.when(is_one).then(pl.lit(name)) for name, is_one in parts.items()]
    return pl.coalesce(*named, pl.lit(None, pl.String))


def had_room() -> pl.Expr:
    """Return whether the receiver's window had room for the held-back segment when the first write was sent.

    True if the window is unknown.
    """
    return (pl.col("previous_data_room") >= pl.col("length")).fill_null(True)


def _max_confidence() -> pl.Expr:
    """Return the maximum confidence of a finding: "medium" if something had to be inferred, otherwise "high"."""
    inferred = ~pl.col("http") | ~pl.col("handshake") | pl.col("previous_data_room").is_null()
    return pl.when(inferred).then(pl.lit("medium")).otherwise(pl.lit("high"))


def _after_ack() -> pl.Expr:
    """Return the time (ns) from the arrival of the ACK at the sender to S, the segment that the ACK may have released.

    Null if the round trip between capture point and sender is unknown.
    """
    return pl.col("time") - pl.col("previous_ack_time") - pl.col("rtt_own")


def _is_released() -> pl.Expr:
    """Return whether the ACK released the held-back segment S: whether the kernel sent S when the ACK arrived.

    Without a captured handshake, the measured round trip may include the server's computing time. Then S may seem to precede the
    ACK.
    """
    rtt = pl.col("rtt_own")
    earliest = pl.when(pl.col("handshake")).then(-pl.max_horizontal(pl.lit(_EARLY), rtt // _TOLERANCE)).otherwise(-rtt)
    latest = pl.max_horizontal(pl.lit(MAX_KERNEL_RESPONSE), rtt // _TOLERANCE)
    return _after_ack().is_between(earliest, latest).fill_null(False)


def _wide() -> pl.Expr:
    """Return whether the held-back segment S followed the ACK within the wide tolerance.

    The wide tolerance suffices only if an earlier segment of the same side met the strict limit of `_is_released`.
    """
    rtt = pl.col("rtt_own")
    latest = pl.max_horizontal(pl.lit(_WIDE_LEAST), pl.min_horizontal(rtt * _WIDE_SHARE // 100, pl.lit(_WIDE_MOST)))
    return _after_ack().is_between(0, latest).fill_null(False)

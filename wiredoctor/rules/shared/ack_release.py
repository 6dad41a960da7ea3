"""What an ACK released: the rows and measures that the rules about held-back segments share.

In a row S of `releases`, D is the data segment of the same side before it and K the pure ACK of D.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.rules.shared.numbers import DURATION, duration
from wiredoctor.tables import MILLISECOND

AT_ONCE = 3 * MILLISECOND // 2
"""A kernel that is asked by no application answers an ACK within this."""

_TIMERS = (
    (8, 12, "10 ms is the timer of Windows' datacenter profile"),
    (35, 51, "40 to 50 ms is the timer of Linux, FreeBSD, and Windows 10 and later"),
    (98, 190, "100 to 200 ms is the timer of macOS and Solaris; Windows before 10 waits up to 200 ms"),
    (190, 220, "200 ms is the timer of Windows before 10, and the longest of macOS"),
    (220, 511, "RFC 9293 allows any delay below 500 ms"),
)
"""Classes of delayed-ACK timers: from, to (ms), and whose they are. The clock that older Windows counts its 200 ms with
ticks whether or not data waits, so that a segment may wait for less; and in steps of 16 ms, so that it may wait for more."""

_WINDOWS = " If the receiver runs Windows, setting TcpAckFrequency to 1 there (registry, per interface) ends the delay too."

_UNREAD = (
    " The payload is not HTTP that can be read: where a message ends is not known, and that there was more to send is inferred "
    "from what left as the ACK came."
)

_UNKNOWN_TIMER = "whose timer that is, is unknown; Linux' own grows to as much as 200 ms"


def candidates(releases: pl.LazyFrame, shortest: int, longest: int, quick: int) -> pl.LazyFrame:
    """Return a row for each S that came next after K, where K was delayed (`shortest` to `longest` ns) or prompt (up to `quick`),
    for each S that may have been sent by a probe, and for each ACK that shows that it was.
    """
    c = pl.col
    late = c("previous_ack_delay").is_between(shortest, longest)
    prompt = c("previous_ack_delay") <= quick
    lateness = c("time") - c("previous_data_time") - c("rtt_own") - c("rtt_peer")
    # after a full D only a late S shows how late such a segment is by itself; one before D, that the clock was set back
    kept = c("time") >= c("previous_data_time")
    shows = c("sort").is_in(["prompt", "corked"]) & kept & (_head_only() | c("previous_data_small") | (lateness >= quick))
    waited = (c("sort").is_in(["waited", "prompt", "corked"]) & (late | (prompt & shows))).fill_null(False)
    probe, corked = c("sort") == "probe", c("sort") == "corked"
    return releases.filter(waited | probe | corked | (c("probe_frame") > 0)).select(
        *("connection", "exchange", "direction", "endpoint", "role", "http", "unread", "message", "handshake", "mss"),
        pl.lit(None, pl.String).alias("side"),
        _cap().alias("confidence"),
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
        c("small_start").alias("small"),
        c("full"),
        _had_room().alias("room"),
        (~c("nagle_disabled") & (c("http") | c("mss_announced"))).alias("nagle"),
        _after_ack().alias("release"),
        (c("time") - c("previous_ack_time")).alias("after"),
        (c("time") - c("previous_data_time")).alias("gap"),
        _narrow().alias("narrow"),
        _after_ack().is_between(-MILLISECOND, AT_ONCE).fill_null(False).alias("sharp"),
        _wide().alias("wide"),
        lateness.clip(0).alias("lateness"),
        c("previous_data_length").alias("sent_bytes"),
        c("length").alias("held_bytes"),
    )


def texts() -> list[pl.Expr]:
    """Columns that the texts of these rules share, for candidates that stay: `timer`, `receiver` (what helps there), `inferred`
    (what is not known of payload that is not HTTP) and times."""
    whose = timer(pl.col("ack_delay"))
    windows = pl.when(whose.str.contains("Windows", literal=True)).then(pl.lit(_WINDOWS)).otherwise(pl.lit(""))
    return [
        whose.alias("timer"),
        windows.alias("receiver"),
        pl.when(pl.col("http")).then(pl.lit("")).otherwise(pl.lit(_UNREAD)).alias("inferred"),
        pl.col("ack_delay").cast(DURATION),
        pl.col("release").clip(0).cast(DURATION),
    ]


def data_note(told: pl.Expr) -> pl.Expr:
    """The note of D: `told`, and that there was more to say, where that is known."""
    return told + pl.when(pl.col("http")).then(pl.lit(", more data pending")).otherwise(pl.lit(""))


def ack_note() -> pl.Expr:
    """The note of K: how long it was delayed, and what else lies between D and K where the capture was not taken at the
    receiver."""
    delay = pl.col("ack_delay")
    way = pl.col("previous_ack_time") - pl.col("start") - delay
    note = pl.format("its ACK, delayed by {}", duration(delay))
    far = pl.format(", and {} for the way to the receiver and back", duration(way))
    return note + pl.when(100 * way >= delay).then(far).otherwise(pl.lit("")).fill_null("")


def timer(ack_delay: pl.Expr) -> pl.Expr:
    """Whose delayed-ACK timer it is likely to be, in words."""
    words = pl.lit(_UNKNOWN_TIMER)
    for first, last, text in reversed(_TIMERS):
        inside = (ack_delay >= first * MILLISECOND) & (ack_delay < last * MILLISECOND)
        words = pl.when(inside).then(pl.lit(text)).otherwise(words)
    return words


def _head_only() -> pl.Expr:
    return pl.col("previous_data_ends_head") & ~pl.col("previous_data_ends_message")


def _part() -> pl.Expr:
    """What D was: head, small or full; null for one that filled the receiver's window."""
    parts = {"head": _head_only(), "small": pl.col("previous_data_small"), "full": pl.col("previous_data_full")}
    named = [pl.when(is_one).then(pl.lit(name)) for name, is_one in parts.items()]
    return pl.coalesce(*named, pl.lit(None, pl.String))


def _had_room() -> pl.Expr:
    """The receiver's window had room for S when D left; where the window is unknown that is assumed."""
    return (pl.col("previous_data_room") >= pl.col("length")).fill_null(True)


def _cap() -> pl.Expr:
    """How sure a finding can be at most: what was not observed had to be inferred."""
    inferred = ~pl.col("http") | ~pl.col("handshake") | pl.col("previous_data_room").is_null()
    return pl.when(inferred).then(pl.lit("medium")).otherwise(pl.lit("high"))


def _after_ack() -> pl.Expr:
    """Nanoseconds from K's arrival at the sender to S's departure; null where the sender's round trip is unknown."""
    return pl.col("time") - pl.col("previous_ack_time") - pl.col("rtt_own")


def _narrow() -> pl.Expr:
    """S is released by K: the kernel sent it when K came. Without a handshake the round trip may hold thinking time,
    so that S may seem to come before K did."""
    rtt = pl.col("rtt_own")
    earliest = pl.when(pl.col("handshake")).then(-pl.max_horizontal(pl.lit(MILLISECOND), rtt // 10)).otherwise(-rtt)
    latest = pl.max_horizontal(pl.lit(AT_ONCE), rtt // 10)
    return _after_ack().is_between(earliest, latest).fill_null(False)


def _wide() -> pl.Expr:
    """S came so soon after K that it counts as released where an earlier one of the same side was inside `_narrow`."""
    rtt = pl.col("rtt_own")
    latest = pl.max_horizontal(pl.lit(5 * MILLISECOND), pl.min_horizontal(rtt * 3 // 10, pl.lit(15 * MILLISECOND)))
    return _after_ack().is_between(0, latest).fill_null(False)

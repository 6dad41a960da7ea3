"""A message was written in crumbs.

What it means
    A program writes its message in many small pieces, and, with Nagle's algorithm off (TCP_NODELAY), each piece leaves as a
    packet of its own.

Why it hurts
    Each packet costs headers, an interrupt and a system call on both sides, and more where packets are filtered, encrypted or
    counted. Ten crumbs of 30 bytes take ten times the packets of one buffer, and a lossy path loses ten times as many.

How it is proved
    Eight small segments or more of one message follow each other, each within 20 ms of the one before, with less than a quarter
    of the MSS on average, from a side that is proved to have Nagle's algorithm turned off: what it had sent was not acknowledged
    yet, or it sent faster than ACKs can come back. The numbers are those of the run up to the packet that proves it; it may
    go on.

What it is not
    Segments that an offload put together or that fill a window, the odd segment at the end of a message, events of an event
    stream that are meant to leave one by one, other endless media (the column endless of the table exchanges), pieces that come
    more slowly.

What to do
    Collect what belongs together, and write it once. TCP_NODELAY is right for programs that do so.

References
    RFC 9293 section 3.7.4, RFC 896.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.memory import Recent
from wiredoctor.rules.proof import evidence
from wiredoctor.rules.words import DURATION
from wiredoctor.tables import SERVER

RULE = Rule(
    severity="warning",
    title="The {side} writes its {what} in crumbs: {average} bytes per packet",
    message="{segments} small packets of one {what} followed each other within {lasted}, with {average} bytes each on average "
    "where {mss:,} fit. Nagle's algorithm, which would have put them together, is turned off.",
    remedy="Let the {side} collect its {what} in a buffer and hand it to TCP in one write (a buffered stream that is flushed "
    "once, writev, TCP_CORK or MSG_MORE); TCP_NODELAY can then stay on.",
    display_filter="tcp.stream == {connection} && frame.number >= {first_frame} && frame.number <= {last_frame} && tcp.len > 0",
    references=(
        Reference("RFC 9293 section 3.7.4, Nagle algorithm", "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.7.4"),
        Reference("RFC 896, Congestion Control in IP/TCP Internetworks", "https://www.rfc-editor.org/rfc/rfc896.html"),
    ),
    advice=(
        Advice("server", "Python/", "Python's http.server: wbufsize = -1 on the request handler's class buffers its writes."),
    ),
)

SURE_WAY = Threshold("5 ms", "a shorter round trip varies too much to tell how many of them a run took")
MAX_INTERVAL = Threshold("20 ms", "between two segments of a run; slower writes are separate events")
MIN_SEGMENTS = Threshold("8 segments", "so many small writes are a habit of the program, fewer an accident")
LARGEST_SHARE = Threshold("25 %", "of the MSS, on average: below it, a quarter of the packets would do")
LONGEST_LOOK = Threshold("64 segments", "a run that has not shown itself by then is not looked at further")
SIDES = Threshold("16384 connection sides", "bounds the memory for runs that hold several messages")

_JUDGED_ONLY = ("run", "run_bytes", "run_frame", "run_time", "boundary", "length")


def cutoffs() -> dict[str, int]:
    """Return the limits beyond which no row of `runs` is needed."""
    return {"min_run": MIN_SEGMENTS.value, "max_run": LONGEST_LOOK.value, "max_run_interval": MAX_INTERVAL.value}


def find(runs: pl.LazyFrame) -> pl.LazyFrame:
    """A row per small segment that may prove a run (see `judge`), and per one that begins another message within a run."""
    c = pl.col
    run = c("small_run")
    boundary = c("message") != c("previous_data_message")
    return runs.filter((run <= LONGEST_LOOK.value) & ((run >= MIN_SEGMENTS.value) | boundary.fill_null(True))).select(
        "connection",
        "exchange",
        pl.lit(None, pl.String).alias("kind"),
        pl.lit(None, pl.String).alias("side"),
        "direction",
        _confidence().alias("confidence"),
        "frame",
        c("frame").alias("last_frame"),
        c("time").alias("start"),
        c("time").alias("end"),
        pl.lit(None, pl.Int64).alias("delay"),
        (_nagle_off() & ~c("event_stream")).alias("proved"),
        boundary.fill_null(True).alias("boundary"),
        run.alias("run"),
        c("small_run_bytes").alias("run_bytes"),
        c("small_run_frame").alias("run_frame"),
        c("small_run_time").alias("run_time"),
        "length",
        "mss",
        pl.when(c("role") == SERVER).then(pl.lit("response")).otherwise(pl.lit("request")).alias("what"),
    )


@dataclass
class _Message:
    """The part of a run that belongs to one message: how many segments and bytes of the run were before it, and its first
    packet. `said`: there is a finding."""

    run: int = 0
    segments: int = 0
    size: int = 0
    frame: int = 0
    time: int = 0
    said: bool = False


def judge(candidates: pl.DataFrame, state: Recent[_Message] | None) -> tuple[pl.DataFrame, Recent[_Message]]:
    """The first row of each message at which its run is long and small enough."""
    memory = Recent(_Message, SIDES.value) if state is None else state
    least, share = MIN_SEGMENTS.value, LARGEST_SHARE.value
    kept: list[int] = []
    told: list[tuple[int, int, int, int]] = []
    columns = ("connection", "direction", "frame", "start", "proved", "boundary", *_JUDGED_ONLY[:4], "length", "mss")
    for i, row in enumerate(candidates.select(columns).iter_rows()):
        connection, direction, frame, time, proved, boundary, run, run_bytes, run_frame, run_time, length, mss = row
        message = memory[(connection, direction)]
        if message.run != run_frame:
            message.run, message.segments, message.size, message.said = run_frame, 0, 0, False
            message.frame, message.time = run_frame, run_time
        if boundary:
            message.segments, message.size, message.said = run - 1, run_bytes - length, False
            message.frame, message.time = frame, time
        segments, size = run - message.segments, run_bytes - message.size
        if proved and not message.said and segments >= least and 100 * size < share * segments * mss:
            message.said = True
            kept.append(i)
            told.append((message.frame, message.time, segments, size))
    found = candidates[kept].with_columns(
        *(
            pl.Series(name, [row[n] for row in told], dtype=pl.Int64)
            for n, name in enumerate(("frame", "start", "segments", "size"))
        )
    )
    return found.with_columns(
        (pl.col("size") // pl.col("segments")).alias("average"),
        (pl.col("end") - pl.col("start")).cast(DURATION).alias("lasted"),
        evidence(
            ("frame", "start", "the first of them"),
            ("last_frame", "end", pl.format("number {}: {} bytes so far", "segments", "size")),
        ),
    ).drop(*_JUDGED_ONLY, "proved", "size"), memory


def _nagle_off() -> pl.Expr:
    """Proved by earlier packets; or half of the run is not acknowledged yet, where Nagle's algorithm allows one segment; or the
    run took less than half of a round trip per segment, which each would have had to wait for. The last holds at the
    receiver, too, where every segment may be acknowledged as soon as it is captured."""
    c = pl.col
    earlier = c("small_run_bytes") - c("length")
    rtt = c("rtt_own") + c("rtt_peer")
    quick = 2 * (c("time") - c("small_run_time")) < (c("small_run") - 1) * rtt
    faster = c("handshake") & (quick & (rtt >= SURE_WAY.value)).fill_null(False)
    answers = c("rtt_peer").is_not_null()  # else the receiver's ACKs may not be in the capture
    return c("nagle_disabled") | ((2 * c("in_flight_before") >= earlier) & answers) | faster


def _confidence() -> pl.Expr:
    return pl.when(pl.col("handshake")).then(pl.lit("high")).otherwise(pl.lit("medium"))

"""A message was sent in many tiny segments.

What it means
    A program writes its message in many small pieces. With Nagle's algorithm off (TCP_NODELAY), each piece leaves in its own
    packet.

Why it hurts
    Each packet costs headers, an interrupt and a system call on both sides, and more if packets are filtered, encrypted or
    counted. Ten writes of 30 bytes need ten times as many packets as one write of 300, and a lossy path loses ten times as
    many.

How it is proved
    Eight or more small segments of one message follow one another, each within 20 ms of the previous one. Their average size is
    less than a quarter of the MSS. If the MSS is larger than 1,460 bytes, as on loopback, 1,460 bytes count instead. Their sender
    is proved to have turned off Nagle's algorithm: earlier data was not yet acknowledged, or the sender sent faster than ACKs can
    come back. The reported numbers count the segments up to the packet that proves it; more may follow.

What it is not
    Segments that an offload merged or that fill a window do not count. Neither does a single small segment at the end of a
    message. The events of an event stream and the parts of other endless media (column endless of the table exchanges) are
    meant to leave one by one. Slower pieces are separate events. If half or more of the pieces come 5 ms or more after the
    previous one, as the tokens of a language model do, each was flushed on purpose, to be read at once.

What to do
    Collect related data, and write it once. TCP_NODELAY can stay on in programs that do so.

References
    RFC 9293 section 3.7.4, RFC 896.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.bounded_memory import BoundedMap
from wiredoctor.rules.shared.evidence import candidate, evidence, request_or_response
from wiredoctor.world.numbers import DURATION

c = pl.col

RULE = Rule(
    symptom="many packets for few bytes",
    severity="warning",
    title="The {side} sends its {what} in tiny segments: {average} bytes per packet",
    message="{segments} small packets of one {what} were sent within {lasted}, with {average} bytes each on average, although "
    "{mss:,} bytes fit into a packet. Nagle's algorithm, which would have merged them, is turned off.",
    remedy="Have the {side} collect its {what} in a buffer and hand it to TCP in one write (a buffered stream that is flushed "
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

SURE_WAY = Threshold(
    "5 ms",
    "the minimum round trip for the proof that segments came faster than ACKs can come back; shorter round trips vary too much",
)
MAX_INTERVAL = Threshold("20 ms", "the maximum time between two segments of a run; slower writes are separate events")
FLUSHED = Threshold("5 ms", "the minimum median time between pieces that a program flushes on purpose")
MIN_SEGMENTS = Threshold(
    "8 segments",
    "the minimum number of small segments; a program that sends this many does so regularly, and fewer may be chance",
)
LARGEST_SHARE = Threshold(
    "25 %", "the maximum average segment size as a share of the MSS; with full segments, a quarter of the packets would be enough"
)
ETHERNET = Threshold("1460 bytes", "the MSS of Ethernet; it replaces the larger MSS of loopback and some other paths")
LONGEST_LOOK = Threshold(
    "64 segments",
    "the maximum number of segments of a run that are examined; if they do not prove that "
    "Nagle's algorithm is off, the run is ignored",
)
SIDES = Threshold(
    "16384 connection sides",
    "the number of connection sides that are remembered, which bounds the memory for runs that contain several messages",
)

_JUDGED_ONLY = ("run", "run_bytes", "run_frame", "run_time", "run_flushes", "boundary", "length")


def cutoffs() -> dict[str, int]:
    """Return the thresholds by which the core (wiredoctor.core) selects the rows of `runs` for this rule."""
    return {
        "min_run": MIN_SEGMENTS.value,
        "max_run": LONGEST_LOOK.value,
        "max_run_interval": MAX_INTERVAL.value,
        "min_flush_gap": FLUSHED.value,
    }


def find(runs: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each segment at which a run of small segments is long enough, or another message begins within a run."""
    run = c("small_run")
    boundary = c("message") != c("previous_data_message")
    sure = pl.when("handshake").then(pl.lit("high")).otherwise(pl.lit("medium"))
    return runs.filter((run <= LONGEST_LOOK.value) & ((run >= MIN_SEGMENTS.value) | boundary.fill_null(True))).select(
        *candidate(None, sure, "frame", "time", "time"),
        "direction",
        c("frame").alias("last_frame"),
        (_nagle_off() & ~c("event_stream")).alias("proved"),
        boundary.fill_null(True).alias("boundary"),
        run.alias("run"),
        c("small_run_bytes").alias("run_bytes"),
        c("small_run_frame").alias("run_frame"),
        c("small_run_time").alias("run_time"),
        c("small_run_flushes").alias("run_flushes"),
        "length",
        "mss",
        request_or_response().alias("what"),
    )


@dataclass(eq=False, repr=False)
class _Message:
    """The message to which the newest part of a run of small segments belongs.

    `run`: the first frame of the run. `segments`, `size`, `flushes`: the numbers of segments, bytes and flushes (segments
    followed by a pause) in the run before this message. `frame`, `time` (ns): the first packet of the message. `said`: whether a
    finding about the message was reported.
    """

    run: int = 0
    segments: int = 0
    size: int = 0
    flushes: int = 0
    frame: int = 0
    time: int = 0
    said: bool = False


def judge(candidates: pl.DataFrame, state: BoundedMap[_Message] | None) -> tuple[pl.DataFrame, BoundedMap[_Message]]:
    """Return for each message the first row that proves the finding.

    Up to this row there are enough small segments, most pauses between them are short, and Nagle's algorithm is off.
    """
    memory = BoundedMap(_Message, SIDES.value) if state is None else state
    least, share = MIN_SEGMENTS.value, LARGEST_SHARE.value
    kept: list[int] = []
    told: list[tuple[int, int, int, int]] = []
    columns = ("connection", "direction", "frame", "start", "proved", "boundary", *_JUDGED_ONLY[:5], "length", "mss")
    for i, row in enumerate(candidates.select(columns).iter_rows()):
        connection, direction, frame, time, proved, boundary, run, run_bytes, run_frame, run_time, run_flushes, length, mss = row
        message = memory[(connection, direction)]
        if message.run != run_frame:
            message.run, message.segments, message.size, message.flushes, message.said = run_frame, 0, 0, 0, False
            message.frame, message.time = run_frame, run_time
        if boundary:
            message.segments, message.size, message.flushes, message.said = run - 1, run_bytes - length, run_flushes, False
            message.frame, message.time = frame, time
        segments, size = run - message.segments, run_bytes - message.size
        in_crumbs = segments >= least and 100 * size < share * segments * min(mss, ETHERNET.value)
        on_purpose = 2 * (run_flushes - message.flushes) >= segments - 1
        if proved and not message.said and in_crumbs and not on_purpose:
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
            ("frame", "start", "the first of these small segments"),
            ("last_frame", "end", pl.format("small segment number {}: {} bytes so far", "segments", "size")),
        ),
    ).drop(*_JUDGED_ONLY, "proved", "size"), memory


def _nagle_off() -> pl.Expr:
    """Return whether Nagle's algorithm is proved to be off.

    Any of three facts proves it:

    1. Earlier packets of the connection proved it already.

    2. Half of the run is unacknowledged, although Nagle's algorithm allows only one small segment in flight.

    3. The run took less than half a round trip per segment. With Nagle's algorithm, each segment would have waited for a whole
    round trip. This is a proof even in captures at the receiver, where every segment may be acknowledged at once.
    """
    earlier = c("small_run_bytes") - c("length")
    rtt = c("rtt_own") + c("rtt_peer")
    quick = 2 * (c("time") - c("small_run_time")) < (c("small_run") - 1) * rtt
    faster = c("handshake") & (quick & (rtt >= SURE_WAY.value)).fill_null(False)
    answers = c("rtt_peer").is_not_null()  # otherwise the receiver's ACKs may be missing
    return c("nagle_disabled") | ((2 * c("in_flight_before") >= earlier) & answers) | faster

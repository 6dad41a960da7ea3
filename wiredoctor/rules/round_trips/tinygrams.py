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
    previous one, as the tokens of a language model do, each was flushed on purpose, to be read at once. Fast models generate a
    token every 2 ms. So in a chunked body that is not an HTML page, 1.5 ms are enough: templates of pages may take as long for a
    line.

What to do
    Collect related data, and write it once. TCP_NODELAY can stay on in programs that do so.

References
    RFC 9293 section 3.7.4, RFC 896.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.bounded_memory import BoundedMap
from wiredoctor.rules.shared.evidence import candidate
from wiredoctor.rules.shared.words import Nanoseconds, packets, request_or_response
from wiredoctor.tables import PROTOCOLS
from wiredoctor.world import World

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
    protocols=PROTOCOLS,
)

SURE_WAY = Threshold(
    "5 ms",
    "the minimum round trip for the proof that segments came faster than ACKs can come back; shorter round trips vary too much",
)
MAX_INTERVAL = Threshold("20 ms", "the maximum time between two segments of a run; slower writes are separate events")
FLUSHED = Threshold("5 ms", "the minimum median time between pieces that a program flushes on purpose")
CHUNK_FLUSHED = Threshold(
    "1500 us",
    "the same for a chunked body that is not an HTML page: fast language models generate a token every 2 ms, and programs that "
    "write without a buffer take about 1 ms or less for each write",
)
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


def cutoffs() -> dict[str, int]:
    """Return the thresholds by which the core (wiredoctor.core) selects the rows of `runs` for this rule."""
    return {
        "min_run": MIN_SEGMENTS.value,
        "max_run": LONGEST_LOOK.value,
        "max_run_interval": MAX_INTERVAL.value,
        "min_flush_gap": FLUSHED.value,
        "min_chunk_gap": CHUNK_FLUSHED.value,
    }


class Facts(NamedTuple):
    """What is known of a run of small segments at one of them. Times are in ns, sizes in bytes.

    `segments`, `size`: of the run so far, or, once decided, of the message so far. `frame`, `start`: this segment, or, once
    decided, the first one of the message. `run_frame`, `run_time`: the first one of the run. `run_flushes`: the number of
    segments that were followed by a pause. `proved`: Nagle's algorithm is off. `boundary`: another message begins.
    """

    connection: int
    direction: int
    role: int | None
    frame: int
    start: int
    last_frame: int
    end: int
    segments: int
    size: int
    run_frame: int
    run_time: int
    run_flushes: int
    length: int
    mss: int
    proved: bool
    boundary: bool


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
        run.alias("segments"),
        c("small_run_bytes").alias("size"),
        c("small_run_frame").alias("run_frame"),
        c("small_run_time").alias("run_time"),
        c("small_run_flushes").alias("run_flushes"),
        *("length", "mss", "role"),
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


def decide(x: Facts, world: World) -> Facts | None:
    """Keep the first row of each message that proves the finding.

    Up to this row there are enough small segments, most pauses between them are short, and Nagle's algorithm is off.
    """
    sides: BoundedMap[_Message] = world.memory.setdefault("tinygrams", BoundedMap(_Message, SIDES.value))
    message = sides[x.connection, x.direction]
    if message.run != x.run_frame:
        message.run, message.segments, message.size, message.flushes, message.said = x.run_frame, 0, 0, 0, False
        message.frame, message.time = x.run_frame, x.run_time
    if x.boundary:
        message.segments, message.size, message.said = x.segments - 1, x.size - x.length, False
        message.frame, message.time, message.flushes = x.frame, x.start, x.run_flushes
    if not x.proved or message.said:
        return None
    segments, size = x.segments - message.segments, x.size - message.size
    is_tiny = 100 * size < LARGEST_SHARE.value * segments * min(x.mss, ETHERNET.value)
    on_purpose = 2 * (x.run_flushes - message.flushes) >= segments - 1
    if segments < MIN_SEGMENTS.value or not is_tiny or on_purpose:
        return None
    message.said = True
    return x._replace(frame=message.frame, start=message.time, segments=segments, size=size)


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the segments."""
    return {
        "what": request_or_response(x.role),
        "average": x.size // x.segments,
        "lasted": Nanoseconds(x.end - x.start),
        "evidence": packets(
            (x.frame, x.start, "the first of these small segments"),
            (x.last_frame, x.end, f"small segment number {x.segments}: {x.size} bytes so far"),
        ),
    }


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

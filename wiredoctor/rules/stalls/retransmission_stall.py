"""Nothing moved until a lost segment was sent again.

What it means
    A segment or its acknowledgement was lost, and the connection stood still until the sender noticed. Its
    retransmission timer told it (kind timeout): 200 ms at the least on Linux, and doubled with each try
    (RFC 6298). Or three duplicate ACKs did (kind fast, RFC 5681), which takes a round trip, or a few when queues are full.

Why it hurts
    A lost packet costs an exchange that would have taken a few milliseconds the whole timer. Short exchanges suffer
    most: after the last segment of a message nothing follows that could bring duplicate ACKs.

How it is proved
    From the last forward progress (new data, a FIN, or an ACK that advances) to the retransmission that was then acknowledged
    nothing new was seen for at least 150 ms. Several tries are one stall. A first copy that comes late counts like a
    retransmission when the other side's ACK was waiting for it: the loss lies before the capture point.

What it is not
    A retransmission for which nobody waited: the receiver had the data, as a D-SACK or an ACK shows that came too early
    to answer it, and no answer was outstanding. A segment that was late and not lost, because it lay in a full queue for longer
    than the timer: the ACK that ends the time echoes the time stamp of the first copy (RFC 3522; without time stamps nothing
    tells it from a loss). An idle connection and its keep-alive probes. A server that thinks: it has acknowledged the request. A
    copy into a closed window, or the first one after it opened: the receiver had thrown the data away, which zero-window-stall
    reports. A last segment that was lost before the capture point looks like a pause, and is none here.

What to do
    Find where packets are lost: look at the counters of interfaces and queues along the path, capture on both sides of
    a suspect.

References
    RFC 6298, RFC 5681 section 3.2, RFC 8985, RFC 3522.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.proof import evidence
from wiredoctor.rules.words import DURATION, duration
from wiredoctor.tables import MILLISECOND, SERVER

_REMEDY = (
    "Find where packets are lost between client and server: error and drop counters of the interfaces (ip -s link, ethtool -S), "
    "of queues (tc -s qdisc) and of switches, traffic policing, overloaded wireless links. Captures from both sides of a "
    "suspect show whether the loss lies between them."
)

RULE = Rule(
    severity="warning",
    title={
        "timeout": "Nothing moved for {gap} until a retransmission timer ran out",
        "fast": "Nothing moved for {gap} until a segment that was reported missing was sent again",
    },
    message={
        "timeout": "For {gap} there was neither new data nor an ACK that advanced: {lost}. The sender noticed when its "
        "retransmission timer ran out (at least 200 ms on Linux, and longer with each try); {again}.",
        "fast": "For {gap} there was neither new data nor an ACK that advanced: {lost}. {duplicates} duplicate ACKs told the "
        "sender that a segment was missing; {again}.",
    },
    remedy={
        "timeout": _REMEDY
        + " Selective acknowledgements and tail loss probes (RFC 2018, RFC 8985; on by default in Linux) spare "
        "many of these timeouts: see that neither a sysctl nor a middlebox turns them off.",
        "fast": _REMEDY,
    },
    display_filter="tcp.stream == {connection} && frame.number >= {first_frame} && frame.number <= {last_frame}",
    references=(
        Reference("RFC 6298, Computing TCP's Retransmission Timer", "https://www.rfc-editor.org/rfc/rfc6298.html"),
        Reference("RFC 5681 section 3.2, fast retransmit", "https://www.rfc-editor.org/rfc/rfc5681.html#section-3.2"),
        Reference("RFC 8985, RACK-TLP loss detection", "https://www.rfc-editor.org/rfc/rfc8985.html"),
        Reference("RFC 3522, the Eifel detection algorithm", "https://www.rfc-editor.org/rfc/rfc3522.html"),
    ),
    explained_by=(("zero-window-stall", "time"), ("unanswered", "time")),
    absence=True,
)

MIN_GAP = Threshold("150 ms", "below the shortest common retransmission timers (200 ms Linux)")
EARLIEST_RETRANSMISSION = Threshold(
    "50 ms",
    "without progress before a retransmission that counts; reordering, tail loss probes and round trips cause sooner ones",
)
MAX_ANSWER = Threshold(
    "5 s",
    "an ACK takes a round trip and a timer below 500 ms; what comes later than the slowest paths allow answers something else",
)
DUPLICATE_ACKS = Threshold("3 ACKs", "so many make a sender retransmit before its timer (RFC 5681 section 3.2)")
FAST = Threshold("4 round trips", "duplicate ACKs mend a loss in one, or in some more with full queues; later it was the timer")


def cutoffs() -> dict[str, int]:
    """Return the limits beyond which no row of `recoveries` is needed."""
    return {"min_stall": MIN_GAP.value, "min_retransmission_delay": min(MIN_GAP.value, EARLIEST_RETRANSMISSION.value)}


def find(recoveries: pl.LazyFrame) -> pl.LazyFrame:
    """A row per ACK that shows that a retransmission ended a time without forward progress."""
    c = pl.col
    gap = c("retransmitted_time") - c("stall_time")
    # a second try comes by the timer, and so does one that is much later than the duplicate ACKs
    soon = (gap <= FAST.value * (c("rtt_own") + c("rtt_peer"))).fill_null(True)
    told = (c("stall_duplicate_acks") >= DUPLICATE_ACKS.value) & (c("retransmission_count") == 1) & soon
    kind = pl.when(told).then(pl.lit("fast")).otherwise(pl.lit("timeout"))
    answered = c("time") - c("retransmitted_time") <= MAX_ANSWER.value
    earlier = c("first_retransmission_frame") != c("retransmitted_frame")
    return (
        recoveries.filter((gap >= MIN_GAP.value) & answered & ~c("spurious") & _somebody_waited())
        .with_columns(pl.when(earlier).then("first_retransmission_frame").alias("first_retransmission_frame"))
        .select(
            "connection",
            # the ACK may be a request: settling finds what had waited
            pl.lit(None, pl.Int32).alias("exchange"),
            kind.alias("kind"),
            pl.lit(None, pl.String).alias("side"),
            _confidence().alias("confidence"),
            c("stall_frame").alias("frame"),
            c("frame").alias("last_frame"),
            c("stall_time").alias("start"),
            c("retransmitted_time").alias("end"),
            gap.alias("delay"),
            gap.cast(DURATION).alias("gap"),
            _lost().alias("lost"),
            _again().alias("again"),
            c("stall_duplicate_acks").alias("duplicates"),
            c("retransmission_count").alias("tries"),
            evidence(
                ("stall_frame", "stall_time", "the last forward progress"),
                ("first_retransmission_frame", "first_retransmission_time", "sent again, in vain"),
                ("retransmitted_frame", "retransmitted_time", _recovery_note(gap)),
                ("frame", "time", "its acknowledgement"),
            ),
        )
    )


def _early() -> pl.Expr:
    """The ACK came before one could have answered the retransmission: the receiver had the data without it."""
    rtt = pl.col("rtt_own")
    earliest = rtt - pl.max_horizontal(pl.lit(MILLISECOND), rtt // 10)
    return (pl.col("time") - pl.col("retransmitted_time") < earliest).fill_null(False)


def _somebody_waited() -> pl.Expr:
    """The receiver lacked the data; or it had them, and an answer to them was due (an early one has come with this ACK)."""
    answer_due = pl.col("http") & pl.col("message_incomplete")
    had = pl.col("dsack") | _early()
    return ~had | (answer_due & (~_early() | (pl.col("new_bytes") > 0)))


def _confidence() -> pl.Expr:
    c = pl.col
    hole = c("opens_gap") | (c("acked_unseen") > 0)
    inferred = ~c("handshake") | c("rtt_own").is_null() | _early()
    return pl.when(hole).then(pl.lit("low")).when(inferred).then(pl.lit("medium")).otherwise(pl.lit("high"))


def _lost() -> pl.Expr:
    """What was lost, as far as the capture can tell; this row is the receiver's."""
    message = pl.when(pl.col("role") == SERVER).then(pl.lit("request")).otherwise(pl.lit("response"))
    what = pl.when(pl.col("http")).then(message).otherwise(pl.lit("data"))
    return (
        pl.when(pl.col("retransmitted_late"))
        .then(pl.format("a segment of the {} was lost before it came to the capture point", what))
        .when(pl.col("http") & (pl.col("role") == SERVER))
        .then(pl.lit("the request or its answer was lost"))
        .otherwise(pl.format("a segment of the {}, or its acknowledgement, was lost", what))
    )


def _again() -> pl.Expr:
    tries = pl.col("retransmission_count")
    what = pl.format("{} bytes", "retransmitted_bytes")
    return (
        pl.when(pl.col("retransmitted_late"))
        .then(pl.format("the missing {} then came, and were acknowledged", what))
        .when(tries > 1)
        .then(pl.format("it sent the {} again, {} times until they were acknowledged", what, tries))
        .otherwise(pl.format("it sent the {} again, and they were acknowledged", what))
    )


def _recovery_note(gap: pl.Expr) -> pl.Expr:
    copy = pl.when(pl.col("retransmitted_late")).then(pl.lit("what was missing comes")).otherwise(pl.lit("sent again"))
    return pl.format("{} after {} without progress", copy, duration(gap))

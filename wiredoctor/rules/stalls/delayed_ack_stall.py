"""A sender with only one write in flight waited for a delayed ACK.

What it means
    One side had more to send, enough for full segments, but sent only one or two before it stopped to wait for their
    acknowledgment. The other side's TCP delays an ACK until it has data to send with it, or until a second full segment comes
    (RFC 9293 section 3.8.6.3). Even after two segments it may wait: if the first of them completes an earlier pair, the
    second is alone. So both sides waited until the delayed-ACK timer expired.

    Nagle's algorithm is not the reason: it never holds back a full segment. The segments wait because the
    sender's send buffer, its congestion window, or the receiver's window has room for only one write.

Why it hurts
    The transfer carries one write per 40 or 200 ms, whatever the network could carry: two full segments (2.9 kB) per 200
    ms are 15 kB/s.

How it is proved
    At most two full segments are in flight. A pure ACK acknowledges the last of them after a delay that only a timer
    explains. The sender had not finished its message, and its next full segment leaves as soon as that ACK arrives.
    Meanwhile the receiver sent no data, and nothing was retransmitted. A stall before the last, smaller segment of a
    message counts too if another stall came before a full segment of that message. It does not matter whether Nagle's
    algorithm is off.

    If the receiver's window had no room for the next segment, the window is the reason. Otherwise the packets do not show
    whether it is the send buffer or the congestion window. A small send buffer delays the sender through the whole transfer. A
    congestion window grows, and the stalls soon end.

What it is not
    Slow start waits for one round trip after a burst, not for a timer. A busy server sends its next segment some time after
    the ACK, not at its arrival. A program that is busy between head and body may happen to write the body just as the ACK
    arrives. So one stall between head and body is reported only if the endpoint has another stall. Two such stalls are reported
    only if the body followed the ACK within 0.6 ms (or a tenth of the round trip) in one of the two. If the payload cannot be
    read as HTTP (it is cut off or encrypted, or it is another protocol), any stall may lie between head and body. So these
    conditions then apply to all stalls except those that the receiver's window explains. With pipelined requests, a response
    may begin late because the server computes it, so the ACK of the previous response does not count. If the delayed ACK
    announces a window without room for a full segment, the next segment waits for the window update, not for that ACK. If the
    window had no room, an ACK that opens it may have waited for the receiving application to read, not for a timer. So that ACK
    counts only if its delay is typical of a timer and the acknowledged segment is full. On loopback, where one segment fills
    the window, it never counts. It does not count either if the receiver's window has been smaller than before: such a receiver
    does not always read at once. After a retransmission timeout the sender repeats earlier data. nagle-delayed-ack reports a
    small segment that waits after another small one.

What to do
    Give the sender a larger send buffer, or have it write more before it waits: with several overlapped sends on Windows,
    with one large write elsewhere. If the receiver's window was the reason, enlarge the receive buffer.

References
    RFC 9293 sections 3.8.6.2 and 3.8.6.3, RFC 5681 sections 3.1 and 4.2, Microsoft Q214397.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.shared import delayed_acks
from wiredoctor.rules.shared.delayed_acks import (
    ENDPOINTS,
    MAX_ACK_DELAY,
    MIN_ACK_DELAY,
    MIN_SHORT_ACK_DELAY,
    QUICK_ACK,
    SIDES,
    Facts,
)
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import PROTOCOLS
from wiredoctor.world import World

c = pl.col

RULE = Rule(
    symptom="40 to 200 ms more for an upload or a download",
    severity="warning",
    title="The {side} stopped until its last write was acknowledged, and waited {delay} for a delayed ACK",
    message="The {side} had {in_flight:,} bytes in flight and stopped{more}, until the {peer} acknowledged them. The {peer}'s "
    "TCP delayed that ACK for {ack_delay} ({timer}). Until that ACK neither side sent anything. The next {held_bytes:,} bytes "
    "left {left} the ACK had reached the sender. Nagle's algorithm does not hold back full segments: "
    "{reason}{inferred}",
    remedy="{first} On Linux leave SO_SNDBUF alone, so that the kernel sizes the buffer (even the smallest buffer that it "
    "chooses holds three segments and does not stall); on Windows keep several overlapped sends outstanding, or set SO_SNDBUF "
    "above the size of a write.{receiver}",
    references=(
        Reference("RFC 9293 section 3.8.6.3, delayed ACKs", "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.8.6.3"),
        Reference(
            "RFC 5681 section 3.1, slow start and the initial window", "https://www.rfc-editor.org/rfc/rfc5681.html#section-3.1"
        ),
        Reference(
            "Windows Sockets: design issues when sending small data segments over TCP",
            "https://learn.microsoft.com/en-us/troubleshoot/windows/win32/data-segment-tcp-winsock",
        ),
    ),
    advice=(
        Advice(
            "server",
            "IIS|Microsoft",
            "IIS, ISAPI and .NET: write responses in large buffers, asynchronously, and begin a write before the previous one "
            "ends.",
        ),
        Advice("client", r"MSIE|\.NET|Microsoft", ".NET: send the body in large buffers, or with asynchronous writes."),
    ),
    absence=True,
    protocols=PROTOCOLS,
)


def cutoffs() -> dict[str, int]:
    """Return the thresholds by which the core (wiredoctor.core) selects the rows of `releases` for this rule."""
    return {"min_ack_delay": _shortest_delay(), "max_ack_delay": MAX_ACK_DELAY.value}


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return c("previous_ack_delay") >= _shortest_delay()


def _shortest_delay() -> int:
    return min(MIN_ACK_DELAY.value, MIN_SHORT_ACK_DELAY.value)


def find(releases: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each segment that its sender may have held back until a delayed pure ACK arrived."""
    timed = delayed_acks.had_room() | _by_timer()
    rows = delayed_acks.candidates(releases.filter(timed), _shortest_delay(), MAX_ACK_DELAY.value, QUICK_ACK.value)
    return rows.filter(c("waited") & ~c("prompt"))


def _by_timer() -> pl.Expr:
    """Return whether a timer delayed the ACK of the segment that filled the receiver's window.

    A receiver acknowledges at once when its application has read enough of a full window. So most late ACKs of full windows come
    when the application reads. But if an application reads everything at once, its window does not shrink, except by the rounding
    of window scaling.
    """
    delay = c("previous_ack_delay")
    usual = pl.any_horizontal(delay.is_between(*ends, closed="left") for ends in delayed_acks.USUAL_TIMERS)
    reads = ~c("window_shrank")
    return (usual & reads & c("previous_data_full") & (c("mss") <= delayed_acks.LARGEST_PATH)).fill_null(value=False)


def group(candidates: pl.DataFrame, world: World) -> pl.DataFrame:
    """Return the stalls that small writes do not explain, based on the rows so far."""
    # few captures have candidates, and this module takes a while to load
    from wiredoctor.rules.shared import held_segments

    limits = held_segments.Limits(MIN_ACK_DELAY.value, (0, 0), 1, ENDPOINTS.value, SIDES.value)
    memory = world.memory.setdefault("delayed-ack-stall", held_segments.Stalls("whole", limits))
    return memory.judge(candidates)


def words(x: Facts) -> dict[str, Any]:
    """Return the words about what held the sender back, and about the ACK for which it waited."""
    return {
        **delayed_acks.common_words(x),
        "reason": _SENDER if x.room else "the receiver's window had no room for more.",
        "more": ", though it had more to send" if x.http else "",
        "first": _WRITE if x.room else _ENLARGE,
        "evidence": packets(
            delayed_acks.first_write(x, f"first write: {x.sent_bytes} bytes sent, {x.in_flight} in flight"),
            delayed_acks.delayed_ack(x),
            (x.held_frame, x.end, f"the {x.held_bytes} bytes that had to wait, sent when the ACK arrives"),
        ),
    }


_SENDER = "the sender's send buffer or its congestion window has room for one write only."
_ENLARGE = "Have the receiver announce a larger window (a larger SO_RCVBUF, or none, so that its kernel sizes the buffer)."
_WRITE = "Give the sender's sockets a larger send buffer, or have it write before its last write is acknowledged."

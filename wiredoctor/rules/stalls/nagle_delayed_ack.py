"""A small segment waited for a delayed ACK.

What it means
    One side wrote a message in two pieces (two writes, two segments). Its TCP sent the first and held back the second,
    because Nagle's algorithm (RFC 9293 section 3.7.4) sends a small segment only when all earlier data has been
    acknowledged. The other side's TCP delays its ACK in the hope of data to send with it (RFC 9293 section 3.8.6.3). So both
    waited until the delayed-ACK timer expired: 40 ms on Linux, 200 ms on older Windows.

    Kind head-body-split: the first write was the head of a message and the second its body. Kind tail: full segments were
    sent at once, and the small end of the message waited. Kind write-write-read: the first write was any other small piece, or
    the end of a message, and the next message waited (pipelining).
    Kind probe-released: no ACK came, and the second piece was sent when a timer of the sender's own TCP expired. Kind
    corked: TCP_CORK (or MSG_MORE, or TCP_NOPUSH) held back the small end of a message until a timer of the sender expired,
    although all earlier data had been acknowledged.

Why it hurts
    Every such exchange loses the timer's time while server, network and client are all idle. It is a common reason why users
    blame "the network" or "a slow server" for 40 or 200 ms per request. The first exchange of a connection is often fast,
    because Linux acknowledges the first segments at once.

How it is proved
    A pure ACK acknowledges the first write, the last data in flight, after a delay that only a timer explains. The sender
    had not finished its message, and its next segment, small and new, leaves as soon as the ACK arrives. A kernel does that;
    applications are rarely that punctual. Between the first write and the ACK the receiver sent no data, nothing was
    retransmitted, and the window had room for the held-back segment. A sender that sent small segments without waiting has
    turned Nagle's algorithm off and is never reported. Nor is a sender that pauses for as long when the ACK comes at once,
    or one whose next segment echoes a timestamp older than that of the ACK: that segment was sent before the ACK arrived (RFC
    7323). If the handshake was not captured, the round trip is only estimated: then one such segment is not proof, but two
    similar ones are.

    A first exchange that is fast while later ones stall supports the proof: Linux acknowledges at once in the beginning. For
    kind tail, confidence is low unless a small segment was in flight, too. After full segments alone, Linux does not
    hold back the end of a message, so a full send buffer may be the reason.

    Kind probe-released: the first write has no ACK of its own. The second piece left 200 ms or more after the first, as a
    tail loss probe of the sender, and a single ACK of both came only then. If that ACK carries data, confidence is low: a
    capture filter may have left out a pure ACK of the first write.

    Kind corked: three messages in a row must show it. In each of them the small end leaves one round trip plus 198 to 216 ms
    after the last full segment was acknowledged. That is Linux's retransmission timeout, after which it sends what a cork
    holds back. The timeout contains the smoothed round trip, so delayed ACKs of these messages lengthen it by up to their
    delay (50 ms at most).

    A program may write at regular times, such as 24 pictures a second. Its next write may then coincide with the arrival of
    a delayed ACK. If both programs run on one host, that happens again and again: the processor that wakes for the program
    first sends the overdue ACK. So the pause before the held-back segment is compared with up to 32 earlier and 8 later
    pauses of the same sender. A pause counts if the segment before it was acknowledged within 5 ms and the receiver sent no
    data during the pause. If three of them are equally long (within 10 % and 1 ms), there is no finding. A finding therefore
    waits up to 2 s for these later pauses.

    These pauses do not count if the sender clearly uses Nagle's algorithm: at least three of its small segments, and at least
    one in eight, left just as prompt ACKs of other small segments arrived. In an event stream of such a sender, pauses
    between events do not count either. A segment was not held back, however, if it left clearly later after its ACK than those
    small segments: later than 0.1 ms plus twice their mean time.

    A program may have written the held-back piece some time after the first write, so the wait was shorter than the delay of the
    ACK. Pieces whose ACK came at once show how long the program usually takes. This time is subtracted. For payload that is not
    HTTP, three such pauses of the same sender are needed, and only those that are shorter than the time between both pieces
    count.

    Payload that is not HTTP does not show whether a message was finished, so it needs more proof. A single segment that
    leaves as the ACK arrives may be a coincidence. So one segment of this sender (on any connection to the same endpoint)
    must leave within 0.6 ms of the ACK's arrival, or within a tenth of the round trip. Otherwise three must leave as an ACK
    arrives. If the capture's clock counts milliseconds, 1 ms is added. If the sender wrote eight times before without being
    held back, its first two stalls are not reported. Nor is there a finding if the receiver's host sent data on another
    connection within 1.5 ms of the ACK: that may be the response for which the sender waited. Nor is there a finding if the
    sender's host sent an equally long segment on another connection within 0.5 ms of the held-back one, and the receiver of that
    segment had sent nothing for 5 ms: then a program wrote the same data to several receivers, at a time of its own choice. The
    first two findings have low confidence if the snap length cut the payload, if bytes of the sender are missing from the
    capture, or if the capture ends before the connection closes.

    If the handshake was not captured, the held-back segments may mostly leave more than 1.5 ms after their ACKs. Then
    nothing is reported before the fourth of them. Nothing is reported either if the time from the first write to the
    held-back segment varies less than half as much as the time from the ACK to it: then the program may have chosen that
    time.

What it is not
    A server that computes between head and body sends its next segment some time after the ACK, not as it arrives. A program
    that writes at regular times (a video stream, a game, a ticker) does not wait for ACKs. A delayed ACK of a message's last
    segment delays nothing. If the round trip is long, every ACK arrives late although no receiver delays it. Nagle's
    algorithm then holds back a small write for a round trip. That is not reported here: the sender's TCP merges all that is
    written meanwhile, so a message waits for one round trip at most, and a live stream is never delayed by more than that.
    nagle-round-trip is a note about such streams.
    After a retransmission timeout the sender repeats earlier data. If the sender has to wait for the ACK even with a full
    segment, delayed-ack-stall reports it.

What to do
    Fix the sender: write head and body with one call, or turn Nagle's algorithm off (TCP_NODELAY). If the sender cannot be
    changed, turn off delayed ACKs at the receiver. Kind tail: a send buffer that holds a complete message also helps. Kind
    corked: take the cork off after the last write of each message (TCP_CORK 0, or no MSG_MORE on the last send).

References
    RFC 9293 sections 3.7.4 and 3.8.6.3, RFC 896, Microsoft Q240146.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
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
from wiredoctor.rules.shared.words import packets, request_or_response
from wiredoctor.tables import PROTOCOLS
from wiredoctor.world import World

_WHY = (
    " Nagle's algorithm in the {side}'s TCP sends a small segment only when all earlier data is acknowledged, and the "
    "{peer}'s TCP delayed that ACK for {ack_delay} ({timer}). Until that ACK neither side sent anything. The held-back "
    "{held_bytes:,} bytes left {left} the ACK had reached the sender: they had waited {delay} for it.{before}{inferred}"
)
_TAIL = (
    "The {side} sent full segments of its {what} and held back the end. The end is small, and Nagle's algorithm in the "
    "{side}'s TCP sends a small segment only when all earlier data is acknowledged. The {peer}'s TCP delayed that ACK for "
    "{ack_delay} ({timer}). Until that ACK neither side sent anything. The held-back {held_bytes:,} bytes left {left} "
    "the ACK had reached the sender: they were ready, and waited for {delay}.{before}{doubt}{inferred}"
)
_PROBE = (
    "The {side} sent a small piece of its {what} ({sent_bytes:,} bytes), and the {peer} did not acknowledge it. Nagle's "
    "algorithm in the {side}'s TCP sends a small segment only when all earlier data is acknowledged. So the next "
    "{held_bytes:,} bytes of the same message waited for {delay}, until a timer of the {side}'s TCP expired (on Linux the "
    "timer of the tail loss probe, 200 ms and two round trips after the last segment). Only then did the {peer} acknowledge "
    "both writes. An application that writes this late would look the same."
)
_CORKED = (
    "The {side} sent full segments of its {what} and held back the last {held_bytes:,} bytes, although the {peer} had "
    "acknowledged everything in flight. They left {delay} after the last full segment, when a timer of the {side}'s TCP "
    "expired. Nagle's algorithm and the {peer} are not the cause. TCP_CORK, or MSG_MORE on the last write, holds back the end of "
    "a message for 200 ms and more. This happened in three or more messages in a row."
)
_OR = " or set TCP_NODELAY on its sockets.{receiver}"

RULE = Rule(
    symptom="40 ms, or 200 ms, more per request",
    severity="warning",
    title={
        "head-body-split": "The {side} held back the body of its {what} for {delay}: Nagle's algorithm met a delayed ACK",
        "tail": "The {side} held back the end of its {what} for {delay}: Nagle's algorithm met a delayed ACK",
        "write-write-read": "The {side} held back a small write for {delay}: Nagle's algorithm met a delayed ACK",
        "probe-released": "The {side} held back a small write for {delay} until a timer expired: Nagle's algorithm got no ACK",
        "corked": "The {side} held back the end of its {what} for {delay}: TCP_CORK was not cleared",
    },
    message={
        "head-body-split": "The {side} sent the head of its {what} ({sent_bytes:,} bytes) alone and held back the body." + _WHY,
        "tail": _TAIL,
        "write-write-read": "The {side} sent {first_write} ({sent_bytes:,} bytes) and held back the next one." + _WHY,
        "probe-released": _PROBE,
        "corked": _CORKED,
    },
    remedy={
        "head-body-split": "Have the {side} hand head and body to TCP in one write (one buffer, writev, or a buffered stream "
        "that is flushed once)," + _OR,
        "tail": "Have the {side} set TCP_NODELAY on its sockets, or give them a send buffer that holds a whole "
        "message.{receiver}",
        "write-write-read": "Have the {side} collect what belongs together and write it once (a buffer, writev, TCP_CORK),"
        + _OR
        + "{proxy}",
        "probe-released": "Have the {side} collect what belongs together and write it once (a buffer, writev, TCP_CORK)," + _OR,
        "corked": "Have the {side} clear TCP_CORK (TCP_NOPUSH on BSD and macOS) with setsockopt after the last write of a "
        "message, or leave out MSG_MORE on the last send. Setting TCP_NODELAY does not send the held data while the socket is "
        "corked.",
    },
    references=(
        Reference("RFC 9293 section 3.7.4, Nagle algorithm", "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.7.4"),
        Reference("RFC 9293 section 3.8.6.3, delayed ACKs", "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.8.6.3"),
        Reference("RFC 896, Congestion Control in IP/TCP Internetworks", "https://www.rfc-editor.org/rfc/rfc896.html"),
        Reference(
            "Microsoft Q240146, Delay Between TCP Response Packets Generated by ISAPI on IIS",
            "https://ftp.zx.net.nz/pub/archive/ftp.microsoft.com/MISC/KB/en-us/240/146.HTM",
        ),
    ),
    explained_by=(("expect-continue-stall", "time"),),
    advice=(
        Advice(
            "server",
            "Python/",
            "Python's http.server: set wbufsize = -1 and disable_nagle_algorithm = True on the request handler's class.",
            "by_nagle",
        ),
        Advice(
            "server",
            "IIS|Microsoft",
            "ISAPI: send head and body from one buffer; on IIS 5.0, HSE_IO_NODELAY with every WriteClient turns Nagle off.",
            "by_nagle",
        ),
        Advice(
            "server",
            "uvicorn",
            "uvicorn, if no proxy is between: use uvloop; asyncio leaves Nagle on for sockets that it did not create itself "
            "(--workers).",
            "by_nagle",
        ),
        Advice("server", "nginx", "nginx: tcp_nodelay is on by default; look for where it is switched off.", "by_nagle"),
        Advice(
            "server",
            "^$",
            "If the server is Java's com.sun.net.httpserver, start it with -Dsun.net.httpserver.nodelay=true.",
            "by_nagle",
        ),
        Advice("client", r"MSIE|\.NET|Microsoft", ".NET Framework: ServicePointManager.UseNagleAlgorithm = false.", "by_nagle"),
        Advice(
            "client",
            "^$",
            "If the client uses the .NET Framework, set ServicePointManager.UseNagleAlgorithm = false.",
            "by_nagle",
        ),
    ),
    absence=True,
    protocols=PROTOCOLS,
)

TAIL_LOSS_PROBE = Threshold(
    "200 ms",
    "the minimum time (plus round trips) after which Linux sends a tail loss probe if one segment is in flight (TCP_RTO_MIN)",
)
MIN_CORK = Threshold(
    "198 ms",
    "the minimum wait of corked data; Linux sends it after the minimum retransmission timeout of 200 ms, and 2 ms "
    "are allowed for an inexact clock",
)
MAX_CORK = Threshold(
    "216 ms",
    "the maximum wait of corked data: the same timeout plus four ticks of a kernel at 250 Hz; 204 to 215 ms were measured. "
    "Delayed ACKs lengthen the timeout by up to 50 ms",
)
COUNTER_EVIDENCE = Threshold(
    "16 exchanges",
    "the number of exchanges without a delayed ACK that show how late the program usually writes: enough for a median, few "
    "enough to follow a change of load",
)


def cutoffs() -> dict[str, int]:
    """Return the thresholds by which the core (wiredoctor.core) selects the rows of `releases` for this rule."""
    return {
        "min_ack_delay": min(MIN_ACK_DELAY.value, MIN_SHORT_ACK_DELAY.value),
        "max_ack_delay": MAX_ACK_DELAY.value,
        "max_quick_ack": QUICK_ACK.value,
        "min_lateness": QUICK_ACK.value,
        "min_probe_wait": TAIL_LOSS_PROBE.value,
        "min_cork_wait": MIN_CORK.value,
        "max_cork_wait": MAX_CORK.value,
    }


def find(releases: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each segment that may have been held back, with the ACK of the first write.

    If that pure ACK came late, the segment may have stalled. If it came promptly, the row is evidence against stalls. A row may
    have no ACK.
    """
    shortest = min(MIN_ACK_DELAY.value, MIN_SHORT_ACK_DELAY.value)
    rows = delayed_acks.candidates(releases, shortest, MAX_ACK_DELAY.value, QUICK_ACK.value)
    long = pl.col("end") - pl.col("start") >= TAIL_LOSS_PROBE.value
    return rows.with_columns((pl.col("probe") & long).fill_null(False).alias("probe"))


def group(candidates: pl.DataFrame, world: World) -> pl.DataFrame:
    """Return the stalls with kind, delay and confidence, based on the rows so far."""
    # few captures have candidates, and this module takes a while to load
    from wiredoctor.rules.shared import held_segments

    probe = TAIL_LOSS_PROBE.value, MAX_ACK_DELAY.value
    limits = held_segments.Limits(MIN_ACK_DELAY.value, probe, COUNTER_EVIDENCE.value, ENDPOINTS.value, SIDES.value)
    memory = world.memory.setdefault("nagle-delayed-ack", held_segments.Stalls("nagle", limits))
    return memory.judge(candidates)


def words(x: Facts) -> dict[str, Any]:
    """Return the words about both writes, and about the ACK between them."""
    what = request_or_response(x.role) if x.http else "data"
    by_timer = x.kind in ("corked", "probe-released")
    arrived = (x.previous_ack_frame, x.previous_ack_time, "its ACK: nothing is left in flight")
    sent = "when a timer expired" if by_timer else "when the ACK arrives"
    return {
        **delayed_acks.common_words(x),
        "what": what,
        # with pipelining, the first write may be the end of a message
        "first_write": f"the end of a {what}" if x.begins else f"a small piece of its {what}",
        "before": _PROMPT_BEFORE if x.prompt_before else "",
        "doubt": _DOUBT if x.is_doubtful else "",
        "by_nagle": x.kind != "corked",
        "proxy": _PROXY if x.event_stream else "",
        "evidence": packets(
            delayed_acks.first_write(x, f"first write: {x.sent_bytes} bytes sent"),
            arrived if x.kind == "corked" else delayed_acks.delayed_ack(x),
            (x.held_frame, x.end, f"the held-back {x.held_bytes} bytes, sent {sent}"),
            (x.answer_frame, x.answer_time, "the first ACK that covers both writes"),
        ),
    }


_PROMPT_BEFORE = " Earlier on this connection, the ACK of such a segment came at once, and the next segment left right after it."
_PROXY = (
    " If a proxy sends this stream, it may be the one that holds back the events, because it sends them with MSG_MORE (haproxy: "
    "option http-no-delay)."
)
_DOUBT = " The send buffer may also have been full: Linux holds back the end of a message only after a small segment."

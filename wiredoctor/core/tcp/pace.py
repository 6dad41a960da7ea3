"""Decide whether a segment sent at the arrival of a delayed ACK had waited for that ACK, or was only written at that time.

A gap is the time between two segments with new data of one side. If a pure ACK promptly acknowledged the first segment, nothing
held the second one back, so the program chose the length of the gap. If a program chose several equally long gaps, it writes at
regular times. Then a segment after a gap of the same length had not waited, even if it was sent when a delayed ACK arrived.
Within one host, the ACK and the write often coincide: when a processor wakes up for the program, it first sends the overdue ACK.

A side uses Nagle's algorithm if its small segments are sent as soon as prompt ACKs of other small segments arrive. Then the gaps
of this side do not matter, because data that it writes during a delayed ACK waits.

Nor did a segment wait for the ACK if the receiving program had responded to the previous data on another connection, as with
queues and control channels. The program's read triggered the ACK, and the response let the sender continue.

Until the gaps are known, rows about such segments (table `releases`) are held back.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import WORD, Packet
from wiredoctor.core.tcp.acks import whole_round_trip
from wiredoctor.core.tcp.connection import Side, waits_of
from wiredoctor.core.tcp.segment import MILLISECOND, NEVER, Segment
from wiredoctor.core.tcp.waits import HeldRelease, Pace, Watch

BEFORE: Final = 32
AFTER: Final = 8
"""The number of later gaps between segments that are compared with the gap before the examined segment.

BEFORE: the number of earlier gaps that are compared.
"""
ALIKE: Final = 3
"""A program writes at regular times if at least this many gaps are as long as the gap before the examined segment."""
ALL_ALIKE: Final = 2
"""A program also writes at regular times if all later gaps (at least this many) are as long as the gap before the segment.

The number is lower than ALIKE, because the stream may end soon after the segment.
"""
RELEASED: Final = 3
"""A side uses Nagle's algorithm only if prompt ACKs triggered at least this many of its segments."""
SHARE: Final = 8
"""A side uses Nagle's algorithm only if prompt ACKs triggered at least 1/SHARE of its segments.

A few segments may follow prompt ACKs by chance. The fraction comes from the recordings described at OFTEN.
"""
OFTEN: Final = 8
"""If a side has written this many times without waiting for an ACK, its next write may coincide with an ACK by chance.

The number comes from 368 recordings of programs that write at regular times (captures/lab/paces.py).
"""
FEW: Final = 2
"""The number of times that a side may write just after a delayed ACK by chance.

The number comes from the recordings described at OFTEN.
"""
AT_ONCE: Final = MILLISECOND // 4
"""The maximum time in ns from an ACK's arrival to a segment that the kernel sends at once.

A tenth of the round trip between the capture point and the sender is added. The number comes from the same recordings as OFTEN.
"""
QUICKEST: Final = MILLISECOND // 10
"""The fixed part, in ns, of the maximum time from an ACK to the held-back data that the kernel then sends.

Twice the mean of the earlier times from prompt ACKs to data is added, and the sum is limited to AT_ONCE. Before a program that is
woken up can run, its processor sends an overdue ACK; the program then writes at least 0.13 ms later. Segments that waited for the
ACK followed it within 0.1 ms. Both numbers come from the same recordings as OFTEN.
"""
MAX_LATE: Final = 3 * MILLISECOND // 2
"""The upper bound in ns of AT_ONCE plus a tenth of the round trip between the capture point and the sender."""
SHORTEST: Final = 5 * MILLISECOND
"""The shortest gap between segments, in ns, that is stored: no ACK is delayed for a shorter time."""
TOLERANCE: Final = MILLISECOND
"""The maximum difference in ns between gaps that count as equally long; a tenth of the gap is added."""
LONGEST: Final = 2_000 * MILLISECOND
"""The maximum time in ns for which the row of a segment is held until later gaps between segments are known."""
MAX_HELD: Final = 64
"""The maximum number of held rows of `releases` per side.

If there are more, the oldest is written or dropped according to the gaps known so far.
"""

ANSWERED_WITHIN: Final = 3 * MILLISECOND // 2
"""The maximum time in ns from a delayed ACK to a response to the same data on another connection.

If the response comes within this time, the application's read triggered the ACK.
"""


def pace_of(own: Side) -> Pace:
    """Return the `Pace` state of a side; create it if there is none."""
    waits = waits_of(own)
    pace = waits.pace
    if pace is None:
        waits.pace = pace = Pace()
    return pace


def note_gap(own: Side, gap: i64, after_ack: i64, segment: Segment) -> None:
    """Record the gap between two segments of a side, the first of which was acknowledged promptly.

    `gap`: the time in ns between the segments. `after_ack`: the time in ns from the arrival of the ACK to the second segment. If
    the gap is short and the second segment came just after the ACK, the ACK triggered that segment; otherwise the program chose
    the gap.
    """
    if gap - whole_round_trip(segment) < SHORTEST and leaves_at_once(after_ack, segment):
        if own.previous is not None and own.previous.small:
            pace = pace_of(own)
            pace.released += 1
            pace.release_time += max(after_ack, 0)
            pace.count += 1
        return
    if gap < SHORTEST:
        return
    pace = pace_of(own)
    pace.count += 1
    if len(pace.gaps) < BEFORE:
        pace.gaps.append(gap)
    else:
        pace.gaps[pace.next] = gap
        pace.next = (pace.next + 1) % BEFORE
    if own.previous is None or own.previous.frame != pace.waited_frame:
        if len(pace.written) >= BEFORE:
            del pace.written[0]
        pace.written.append(gap)
    for held in pace.held:
        held.later += 1
        if are_alike(held.gap, gap) and not uses_nagle(pace):
            held.alike += 1


def count_alike(own: Side, gap: i64) -> i64:
    """Return how many of the recent gaps whose length the program chose are about as long as `gap` (ns).

    Return 0 if the side uses Nagle's algorithm: then prompt ACKs ended its shortest gaps.
    """
    count: i64 = 0
    if own.waits is not None and own.waits.pace is not None and not uses_nagle(own.waits.pace):
        for one in own.waits.pace.gaps:
            if are_alike(gap, one):
                count += 1
    return count


def usual_gap(own: Side, gap: i64) -> i64:
    """Return the median of the recent gaps whose length the program chose and that are shorter than `gap` (ns).

    A program probably wrote a held-back segment this long after the previous data, although the segment was sent only after
    `gap`. Gaps after held-back segments do not count, because those segments were written before they were sent. Return NEVER if
    there are fewer than ALIKE gaps, or if the side uses Nagle's algorithm: then prompt ACKs ended its shortest gaps.
    """
    if own.waits is None or own.waits.pace is None or uses_nagle(own.waits.pace):
        return NEVER
    shorter = sorted([one for one in own.waits.pace.written if one < gap])
    count = len(shorter)
    return i64(shorter[count // 2]) if count >= ALIKE else i64(NEVER)


def uses_nagle(pace: Pace) -> bool:
    """Return whether a side seems to use Nagle's algorithm: prompt ACKs often triggered its segments."""
    return pace.released >= RELEASED and SHARE * pace.released >= pace.count


def is_nagle_seen(own: Side) -> bool:
    """Return True if a side seems to use Nagle's algorithm, and no bytes are missing that might contradict this."""
    pace = own.waits.pace if own.waits is not None else None
    return pace is not None and uses_nagle(pace) and not pace.is_torn


def note_slow_ack(own: Side, delay: i64) -> i64:
    """Return the longest recent delay of an ACK (ns), including `delay`. Earlier delays count less with each call.

    The smoothed round trip of the sender cannot be much longer: it forgets an eighth with each ACK (RFC 6298 section 2.3).
    """
    pace = pace_of(own)
    pace.slow_ack = longest = max(delay, pace.slow_ack - pace.slow_ack // 8)
    return longest


def note_loss(own: Side) -> None:
    """Record that bytes of a side's stream were not captured, which makes held rows less certain."""
    pace = pace_of(own)
    pace.is_torn = True
    for held in pace.held:
        held.is_sure = False


def note_end(own: Side) -> None:
    """Record that no more packets of a side were captured although its connection was not closed."""
    if own.waits is not None and own.waits.pace is not None:
        for held in own.waits.pace.held:
            held.is_sure = held.is_sure and held.is_message


def leaves_at_once(after_ack: i64, segment: Segment) -> bool:
    """Return whether an ACK probably triggered a segment that was sent `after_ack` ns after the ACK had arrived."""
    return -MILLISECOND <= after_ack <= min(AT_ONCE + segment.rtt_own // 10, MAX_LATE)


def leaves_as_usual(pace: Pace, after_ack: i64, segment: Segment) -> bool:
    """Return whether a segment followed an ACK about as quickly as other segments of the side followed prompt ACKs.

    `after_ack`: the time in ns from the arrival of the ACK to the segment.
    """
    usual = QUICKEST + 2 * pace.release_time // pace.released
    return leaves_at_once(after_ack, segment) and after_ack <= usual + segment.rtt_own // 10


def may_be_chance(own: Side, after_ack: i64, segment: Segment) -> bool:
    """Return whether a segment may have followed a delayed ACK only by chance.

    `after_ack`: the time in ns from the arrival of the ACK to the segment. If the sender uses Nagle's algorithm, its kernel sends
    held-back data at once, so a later segment came by chance. Otherwise, if the sender has often written without waiting for an
    ACK, the first FEW segments just after a delayed ACK count as chance.
    """
    pace = pace_of(own)
    if uses_nagle(pace):
        return not leaves_as_usual(pace, after_ack, segment)
    if not -MILLISECOND <= after_ack <= MAX_LATE:
        return False
    pace.chances += 1
    return pace.count >= OFTEN and pace.chances <= FEW


def are_alike(gap: i64, other: i64) -> bool:
    """Return whether two gaps (ns) are about equally long."""
    tolerance = gap // 10 + TOLERANCE
    return -tolerance <= gap - other <= tolerance


def is_decided(held: HeldRelease) -> bool:
    """Return whether enough gaps are known to decide whether a held row of `releases` is written."""
    return held.alike >= ALIKE or held.later >= AFTER


def is_paced(held: HeldRelease) -> bool:
    """Return whether the gaps known so far show that the program wrote the segment of a held row at regular times."""
    return held.alike >= ALIKE or (held.later >= ALL_ALIKE and held.alike - held.alike_before == held.later)


def watch(sender: Side, packet: Packet) -> Watch:
    """Begin to watch for data on another connection that may be a reaction to the newest data of `sender`.

    `packet`: the delayed ACK of that data.
    """
    pace = pace_of(sender)
    pace.watch = made = Watch(packet.addresses, packet.ports, packet.is_turned, packet.time + ANSWERED_WITHIN)
    return made


def is_answer(watch: Watch, packet: Packet) -> bool:
    """Return whether a packet with payload may be the response on another connection for which `watch` waits.

    The packet must go in the direction of the delayed ACK: from the host that acknowledged to the host that had sent the data.
    """
    if packet.addresses != watch.addresses or packet.ports == watch.ports or packet.time > watch.until:
        return False
    # if both addresses are equal, only the ports show the direction
    is_one_host = watch.addresses >> 32 == watch.addresses & WORD
    return is_one_host or packet.is_turned == watch.is_turned


def was_answered(sender: Side) -> bool:
    """Return whether the receiver of a side's data sent data on another connection just after the receiver's newest delayed ACK.

    The data on the other connection may be the response.
    """
    return (
        sender.waits is not None
        and sender.waits.pace is not None
        and (sender.waits.pace.watch is not None and sender.waits.pace.watch.is_answered)
    )

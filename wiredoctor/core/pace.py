"""Does a program write on a clock of its own? Then a segment that leaves as a delayed ACK comes need not have waited for it.

A gap is the time between two segments with new data of one side. If the first was acknowledged at once, and by a pure ACK,
nothing held the second back: the program chose the gap. A segment that may have waited for an ACK has a gap before it, too. If
several of the gaps that the program chose are as long, it chose that one as well. On one host this is common: a processor that
wakes for the program first sends the ACK that is overdue.

A side uses Nagle's algorithm if its small segments leave just as prompt ACKs of other small segments come. Then its gaps excuse
nothing: what it writes while an ACK is delayed does wait.

A segment did not wait for an ACK either if the program that read the data before it answered on another connection. Its read sent
the ACK, and its answer let the sender go on (queues, control channels).
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.acks import whole_round_trip
from wiredoctor.core.connection import HeldRelease, Pace, Side, Watch, waits_of
from wiredoctor.core.packet import WORD, Packet
from wiredoctor.core.segment import MILLISECOND, Segment

BEFORE: Final = 32
AFTER: Final = 8
"""So many gaps before a segment, and after it, are compared with its own."""
ALIKE: Final = 3
"""If so many of them are as long, the program writes on a clock."""
ALL_ALIKE: Final = 2
"""If only so many gaps follow, and all are as long, they are enough: the stream was cut off after its first pieces."""
RELEASED: Final = 3
"""If prompt ACKs released so many segments, their side uses Nagle's algorithm."""
SHARE: Final = 8
"""And one in so many: a program may write twice at once now and then."""
OFTEN: Final = 8
"""A side that wrote so often when it liked may write as an ACK comes by chance."""
FEW: Final = 2
"""So many times."""
AT_ONCE: Final = MILLISECOND // 4
"""From the arrival of an ACK to the segment that the kernel sends then, besides a tenth of the way from the capture point."""
MOST_LATE: Final = 3 * MILLISECOND // 2
"""The same, however long that way is."""
SHORTEST: Final = 5 * MILLISECOND
"""Shorter gaps are not kept: no ACK is delayed for so short a time."""
TOLERANCE: Final = MILLISECOND
"""Gaps that differ by this and a tenth of the gap are as long."""
LONGEST: Final = 2_000 * MILLISECOND
"""The row of a segment waits this long for later gaps."""
MOST_HELD: Final = 64
"""So many rows of a side wait. When another one comes, the oldest is decided by the gaps that are known."""

ANSWERED_WITHIN: Final = 3 * MILLISECOND // 2
"""An answer on another connection follows the ACK of what it answers this soon, if a read sent that ACK."""


def pace_of(own: Side) -> Pace:
    """Return what is known of the pace of a side; make it at first."""
    waits = waits_of(own)
    pace = waits.pace
    if pace is None:
        waits.pace = pace = Pace()
    return pace


def note_gap(own: Side, gap: i64, after_ack: i64, segment: Segment) -> None:
    """Take note of a segment that left `gap` after the one before, which was acknowledged at once, and `after_ack` after the ACK:
    that released it, or its program chose the gap."""
    if gap - whole_round_trip(segment) < SHORTEST and leaves_at_once(after_ack, segment):
        if own.previous is not None and own.previous.small:
            pace = pace_of(own)
            pace.released += 1
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
    for held in pace.held:
        held.later += 1
        if are_alike(held.gap, gap) and not uses_nagle(pace):
            held.alike += 1


def count_alike(own: Side, gap: i64) -> i64:
    """Return how many of the gaps that a program chose lately are as long as this one."""
    count: i64 = 0
    if own.waits is not None and own.waits.pace is not None and not uses_nagle(own.waits.pace):
        for one in own.waits.pace.gaps:
            if are_alike(gap, one):
                count += 1
    return count


def uses_nagle(pace: Pace) -> bool:
    """Return whether prompt ACKs released segments of this side, time and again."""
    return pace.released >= RELEASED and SHARE * pace.released >= pace.count


def is_nagle_seen(own: Side) -> bool:
    """Return whether prompt ACKs released segments of a side, time and again, and no segment that may say otherwise is lost."""
    pace = own.waits.pace if own.waits is not None else None
    return pace is not None and uses_nagle(pace) and not pace.is_torn


def note_loss(own: Side) -> None:
    """Take note of a gap in what a side sent."""
    pace = pace_of(own)
    pace.is_torn = True
    for held in pace.held:
        held.is_sure = False


def note_end(own: Side) -> None:
    """Take note that no more of a side was captured, although its connection was not closed."""
    if own.waits is not None and own.waits.pace is not None:
        for held in own.waits.pace.held:
            held.is_sure = held.is_sure and held.is_message


def leaves_at_once(after_ack: i64, segment: Segment) -> bool:
    """Return whether a segment that leaves so long after an ACK arrived is sent by the kernel, because of that ACK."""
    return -MILLISECOND <= after_ack <= min(AT_ONCE + segment.rtt_own // 10, MOST_LATE)


def may_be_chance(own: Side, after_ack: i64, segment: Segment) -> bool:
    """Return whether a segment that left so long after a delayed ACK may have done so by chance.

    Of a side that uses Nagle's algorithm the kernel sends what is held at once. Of a side that often wrote when it liked, and of
    which prompt ACKs released nothing, the first few are chance; take note of them.
    """
    pace = pace_of(own)
    if uses_nagle(pace):
        return not leaves_at_once(after_ack, segment)
    if not -MILLISECOND <= after_ack <= MOST_LATE:
        return False
    pace.chances += 1
    return pace.count >= OFTEN and pace.chances <= FEW


def are_alike(gap: i64, other: i64) -> bool:
    """Return whether another gap is as long as this one."""
    tolerance = gap // 10 + TOLERANCE
    return -tolerance <= gap - other <= tolerance


def is_decided(held: HeldRelease) -> bool:
    """Return whether later gaps cannot change what a segment is, or need not be waited for."""
    return held.alike >= ALIKE or held.later >= AFTER


def is_paced(held: HeldRelease) -> bool:
    """Return whether the gaps that are known show that a segment came on its program's clock."""
    return held.alike >= ALIKE or (held.later >= ALL_ALIKE and held.alike - held.alike_before == held.later)


def watch(sender: Side, packet: Packet) -> Watch:
    """Watch for an answer on another connection after a delayed ACK of what `sender` sent."""
    pace = pace_of(sender)
    pace.watch = made = Watch(packet.addresses, packet.ports, packet.is_turned, packet.time + ANSWERED_WITHIN)
    return made


def is_answer(watch: Watch, packet: Packet) -> bool:
    """Return whether a packet with payload is one of the watched host to the other, on another connection."""
    if packet.addresses != watch.addresses or packet.ports == watch.ports or packet.time > watch.until:
        return False
    # the ports say which way a packet goes where both addresses are the same
    is_one_host = watch.addresses >> 32 == watch.addresses & WORD
    return is_one_host or packet.is_turned == watch.is_turned


def was_answered(sender: Side) -> bool:
    """Return whether the receiver of this side's newest data answered it on another connection, as it acknowledged it."""
    return (
        sender.waits is not None
        and sender.waits.pace is not None
        and (sender.waits.pace.watch is not None and sender.waits.pace.watch.is_answered)
    )

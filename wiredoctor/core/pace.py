"""Does a program write on a clock of its own? Then what leaves as a delayed ACK comes need not have waited for it.

A gap of a side lies between two segments with new data, the first of which was acknowledged at once and by a pure ACK: nothing
held the second back, so the program chose its time. If several of these gaps are as long as the one before a segment that may
have waited for an ACK, the program chose the time of that one, too. On one host this is common: a processor that wakes for the
program first sends the ACK that is overdue.

A side whose small writes leave as prompt ACKs come uses Nagle's algorithm, whatever its clock: its gaps excuse nothing.

Nor did a segment wait for an ACK if the program that read the data before it answered on another connection: its read sent the
ACK, and the answer is what let the sender go on (queues, control channels).
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.connection import HeldRelease, Pace, Side, Waits, Watch
from wiredoctor.core.packet import WORD, Packet
from wiredoctor.core.segment import MILLISECOND

BEFORE: Final = 32
AFTER: Final = 8
"""Gaps that are compared."""
ALIKE: Final = 3
"""Of these, so many show a clock."""
ALL_ALIKE: Final = 2
"""If so many follow and no more, and none is unlike, they are enough: a stream that was cut off after its first pieces."""
RELEASED: Final = 3
"""So many writes that a prompt ACK released show Nagle's algorithm at work."""
AT_ONCE: Final = 3 * MILLISECOND // 2
SHORTEST: Final = 5 * MILLISECOND
"""Shorter gaps are no pace: no ACK is delayed for so short a time."""
TOLERANCE: Final = MILLISECOND
"""Besides a tenth of the gap."""
LONGEST: Final = 2_000 * MILLISECOND
"""A segment waits this long for later gaps."""
MOST_HELD: Final = 64
"""Of a side; more are decided by the gaps that are known."""

ANSWERED_WITHIN: Final = 3 * MILLISECOND // 2
"""An answer on another connection follows the ACK of what it answers this soon, if a read sent that ACK."""


def pace_of(own: Side) -> Pace:
    """Return what is known of the pace of a side; make it at first."""
    waits = own.waits
    if waits is None:
        own.waits = waits = Waits()
    pace = waits.pace
    if pace is None:
        waits.pace = pace = Pace()
    return pace


def note_gap(own: Side, gap: i64, after_ack: i64) -> None:
    """Take note of a gap that the program chose; if it is short, of what left so long after a prompt ACK came."""
    if gap < SHORTEST:
        if -MILLISECOND <= after_ack <= AT_ONCE and own.previous is not None and own.previous.small:
            pace_of(own).released += 1
        return
    pace = pace_of(own)
    if len(pace.gaps) < BEFORE:
        pace.gaps.append(gap)
    else:
        pace.gaps[pace.next] = gap
        pace.next = (pace.next + 1) % BEFORE
    for held in pace.held:
        held.later += 1
        if pace.released < RELEASED and are_alike(held.gap, gap):
            held.alike += 1


def count_alike(own: Side, gap: i64) -> i64:
    """Return how many of the gaps that a program chose lately are as long as this one."""
    count: i64 = 0
    if own.waits is not None and own.waits.pace is not None and own.waits.pace.released < RELEASED:
        for one in own.waits.pace.gaps:
            if are_alike(gap, one):
                count += 1
    return count


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

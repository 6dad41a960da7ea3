"""Determine why timestamps of a file go backward: either its packets are not in time order, or a clock was set back.

If a connection has packets before and after the place where the timestamps go backward, its sequence numbers show the cause.
Without such a connection, the ranges of times before and after this place are compared. If the ranges overlap, a clock may have
been set back. Otherwise, the cause makes no difference, and the packets can be sorted by time.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.datagrams import Datagrams
from wiredoctor.core.capture.layers import SEGMENT
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.capture.packet_headers import Headers
from wiredoctor.core.capture.records import ACROSS, AHEAD, LATEST, LEAST, SHUFFLED, Records
from wiredoctor.core.tcp.numbers import wrap
from wiredoctor.core.tcp.segment import ACK, FIN, SYN

FEW: Final = 5
"""If at least this many consecutive packets are earlier than a packet before them, a clock may have been set back.

Fewer packets are assumed to have arrived late.
"""
OFTEN: Final = 8
"""If timestamps go backward at more places than this, only sequence numbers can show that a clock was set back."""
MAX_PARTS: Final = 1 << 16
"""The maximum number of places in a file that are examined because timestamps go backward there."""
FLOWS: Final = 1 << 16
"""The maximum number of connections whose newest packets are kept."""
NEAR: Final = 1 << 24
"""The maximum difference of sequence numbers in one connection.

A larger difference shows another connection on the same ports.
"""


class Part:
    """The packets of an interface between two places where its timestamps go backward by more than 50 ms."""

    def __init__(self, first_frame: i64, time: i64, before: Part | None) -> None:
        self.first_frame: i64 = first_frame
        self.earliest: i64 = time
        self.latest: i64 = time
        self.newest: i64 = time
        """The time of the newest packet."""
        self.earliest_before: i64 = LATEST if before is None else before.earliest
        self.latest_before: i64 = -LATEST if before is None else before.latest
        self.behind: i64 = 0
        """The number of packets at the beginning of this part that are all earlier than `latest_before`."""
        self.is_behind: bool = before is not None
        self.for_order: i64 = 0
        self.for_clock: i64 = 0
        """The number of packet pairs whose order in the file is right although their times are wrong: a clock was set back.

        `for_order`: the number of packet pairs whose times are right although their order in the file is wrong.
        """

    def add(self, time: i64) -> None:
        """Add the time of the next packet."""
        self.newest = time
        self.earliest = min(self.earliest, time)
        self.latest = max(self.latest, time)
        if self.is_behind:
            if time < self.latest_before:
                self.behind += 1
            else:
                self.is_behind = False

    def may_be_clock(self) -> bool:
        """Return whether a clock seems to have been set back between the previous and this part, judged by their times alone.

        The result is only used if no connection has packets in both parts.
        """
        overlap = min(self.latest, self.latest_before) - max(self.earliest, self.earliest_before)
        longer = max(self.latest - self.earliest, self.latest_before - self.earliest_before)
        is_late = not self.is_behind and self.behind < FEW
        return overlap > 0 and 2 * overlap < longer and not is_late


class NewestOfSide:
    """The newest packet from one side of a connection."""

    def __init__(self) -> None:
        self.frame: i64 = 0
        """The frame number; 0 before the first packet."""
        self.time: i64 = 0
        self.interface: i64 = 0
        self.sequence: i64 = 0
        self.acknowledgment: i64 = -1
        """The acknowledgment number; -1 without the ACK flag."""
        self.size: i64 = 0
        """The length in sequence space, in bytes."""


class Flow:
    """The newest packets from both sides of a connection."""

    def __init__(self) -> None:
        self.first: NewestOfSide = NewestOfSide()
        self.second: NewestOfSide = NewestOfSide()


class Disorder:
    """Reads a file in its order, and examines each place where its timestamps go backward."""

    def __init__(self, records: Records) -> None:
        self.records: Records = records
        self.packet: Packet = Packet()
        self.headers: Headers = Headers(Datagrams())
        self.flows: dict[tuple[int, int], Flow] = {}
        self.earliest: i64 = LATEST
        """The time of the earliest packet, in ns since the first packet of the file. Timestamps that seem damaged are ignored."""
        self.is_slight: bool = False
        """True if some packets are out of order by at most 50 ms on one interface, or by at most 500 ms between interfaces."""
        self.is_across: bool = False
        """True if packets of different interfaces are more than 500 ms out of order."""
        self.across_order: i64 = 0
        self.across_clock: i64 = 0
        """Like `Part.for_clock`, but for packets on different interfaces; `across_order` is like `Part.for_order`."""
        self.slight_order: i64 = 0
        self.slight_clock: i64 = 0
        """Like `Part.for_clock`, but for packets in the same part; `slight_order` is like `Part.for_order`."""
        self.little_order: i64 = 0
        self.little_clock: i64 = 0
        """Like `Part.for_clock`, for packets that are out of order by at most 1 ms; `little_order` is like `Part.for_order`."""
        self.newest: dict[int, Part] = {}
        """The newest `Part` of each interface."""
        self.parts: list[Part] = []
        """The parts that begin where timestamps go backward, in file order; at most MAX_PARTS."""
        self.has_more: bool = False
        """True if timestamps go backward at more than MAX_PARTS places."""
        self.highest: i64 = -LATEST
        """The latest time since timestamps last went backward far enough to begin a new part."""
        self.highest_interface: i64 = -1
        self.was_old: bool = False
        """True if the timestamp of the previous packet was more than a day before the latest time."""
        self.old_frame: i64 = 0
        self.old_time: i64 = 0
        """The time of the newest packet for which `was_old` became true; `old_frame` is its frame number."""

    def read(self, most: i64) -> i64:
        """Read at most `most` packets; return how many were read."""
        records, packet = self.records, self.packet
        count: i64 = 0
        while count < most and records.next(packet):
            count += 1
            if not records.times.is_stamped:
                continue
            # a single packet that is much older than those around it may have a damaged timestamp
            is_old = packet.clock - packet.time > AHEAD
            if is_old and not self.was_old:
                self.was_old, self.old_frame, self.old_time = True, packet.frame, packet.time
                continue
            self.was_old = is_old
            self.add(packet)
        return count

    def add(self, packet: Packet) -> None:
        """Compare a packet with the previous packets of its interface and connection, to notice timestamps that go backward."""
        time = min(packet.time, packet.clock)
        self.earliest = min(self.earliest, time)
        part = self.newest.get(packet.interface)
        if part is None:
            part = self.newest[packet.interface] = Part(packet.frame, time, None)
        elif part.newest - time > SHUFFLED:
            part = self.newest[packet.interface] = Part(packet.frame, time, part)
            if self.old_frame == packet.frame - 1:
                part.first_frame = self.old_frame
                self.earliest = min(self.earliest, self.old_time)
            self.highest = -LATEST
            if len(self.parts) < MAX_PARTS:
                self.parts.append(part)
            else:
                self.has_more = True
        elif part.newest - time > LEAST:
            self.is_slight = True
        part.add(time)
        behind = self.highest - time
        if behind <= 0:
            self.highest, self.highest_interface = time, packet.interface
        elif packet.interface != self.highest_interface:
            if behind > ACROSS:
                self.is_across = True
            elif behind > LEAST:
                self.is_slight = True
        if self.headers.read(packet) == SEGMENT and not packet.is_quoted:
            self.compare(packet, time, part)

    def compare(self, packet: Packet, time: i64, part: Part) -> None:
        """Compare a packet with the newest packets of its connection. Then store it as the newest packet of its side."""
        key = (int(packet.addresses), int(packet.ports))
        flow = self.flows.get(key)
        if flow is None:
            if len(self.flows) >= FLOWS:
                self.forget()
            flow = self.flows[key] = Flow()
        own, other = (flow.second, flow.first) if packet.is_turned else (flow.first, flow.second)
        acknowledgment = packet.acknowledgment if packet.flags & ACK else i64(-1)
        size = packet.length + (i64(1) if packet.flags & (SYN | FIN) else i64(0))
        is_other = False
        if packet.flags & (SYN | ACK) == SYN and own.frame > 0:
            apart = wrap(packet.sequence - own.sequence)
            is_other = apart > 0 or apart <= -NEAR  # another connection on the same ports
        if is_other:
            other.frame = 0
        else:
            for seen in (own, other):
                if seen.frame > 0 and seen.time > time:
                    order = order_after(seen, seen is own, packet.sequence, acknowledgment, size)
                    if order != 0 and seen.time > time + LEAST:
                        self.vote(seen, packet, part, order > 0)
                    elif order > 0:
                        self.little_clock += 1
                    elif order < 0:
                        self.little_order += 1
        own.frame, own.time, own.interface = packet.frame, time, packet.interface
        own.sequence, own.acknowledgment, own.size = packet.sequence, acknowledgment, size

    def vote(self, seen: NewestOfSide, packet: Packet, part: Part, is_clock: bool) -> None:
        """Count a packet that comes after `seen` in the file but has an earlier time, as evidence about the order of the file.

        `is_clock`: true if sequence and acknowledgment numbers show that the order of the file is right, so a clock was set back.
        """
        newest = self.parts[len(self.parts) - 1] if self.parts else None
        if part.first_frame > seen.frame and part.latest_before > -LATEST:
            newest = part
        if newest is not None and newest.first_frame > seen.frame:
            if is_clock:
                newest.for_clock += 1
            else:
                newest.for_order += 1
        elif seen.interface != packet.interface:
            if is_clock:
                self.across_clock += 1
            else:
                self.across_order += 1
        elif is_clock:
            self.slight_clock += 1
        else:
            self.slight_order += 1

    def forget(self) -> None:
        """Forget the least recently active half of the connections."""
        newest = {key: max(flow.first.frame, flow.second.frame) for key, flow in self.flows.items()}
        limit = sorted(newest.values())[len(newest) // 2]
        self.flows = {key: flow for key, flow in self.flows.items() if newest[key] > limit}

    def set_back(self) -> list[int]:
        """Return the numbers of the frames before which a clock was set back, in ascending order."""
        order = [part for part in self.parts if part.for_order > 0 and part.for_order >= part.for_clock]
        clock = [part for part in self.parts if part.for_clock > part.for_order]
        if not (self.has_more or len(self.parts) > OFTEN or (order and not clock)):
            clock += [p for p in self.parts if p.for_order == p.for_clock == 0 and p.may_be_clock()]
        return sorted(int(part.first_frame) for part in clock)

    def is_shuffled(self) -> bool:
        """Return whether some packets must be sorted, although the file need not be."""
        return self.is_slight or self.little_order > self.little_clock

    def is_proved(self) -> bool:
        """Return whether connections show that packets are slightly out of order, and none shows that a clock was set back."""
        if not self.is_slight:
            return self.is_shuffled()
        return self.across_order + self.slight_order > 0 and self.across_clock + self.slight_clock == 0

    def is_unsorted(self) -> bool:
        """Return whether packets are so far out of order that the file must be sorted."""
        if self.is_across and self.across_clock > self.across_order:
            return False  # the clocks of several interfaces differ
        return self.is_across or self.has_more or len(self.parts) > len(self.set_back())


def order_after(first: NewestOfSide, is_own: bool, sequence: i64, acknowledgment: i64, size: i64) -> i64:
    """Return 1 if a packet was sent after `first`, -1 if before, 0 if unknown, judged by sequence and acknowledgment numbers.

    `is_own`: both packets come from the same side.
    """
    apart: i64 = 0
    if is_own:
        if first.acknowledgment >= 0 and acknowledgment >= 0 and first.acknowledgment != acknowledgment:
            apart = wrap(acknowledgment - first.acknowledgment)
        elif first.size > 0 and size > 0:
            apart = wrap(sequence - first.sequence)
    elif acknowledgment >= 0 and first.size > 0 and wrap(acknowledgment - first.sequence) > 0:
        apart = wrap(acknowledgment - first.sequence)
    elif first.acknowledgment >= 0 and size > 0 and wrap(first.acknowledgment - sequence) > 0:
        apart = -1
    if apart < 0:
        return -1
    return 1 if 0 < apart <= NEAR else 0

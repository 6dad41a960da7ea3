"""Sort records that are out of order: capturing programs with several threads or processors may write packets late.

Packets are held for 50 ms of capture time, or for 500 ms if the capture has several interfaces. If a packet has an earlier
timestamp than a previous one, either the packet is out of order, or the clock was set back and the file order is right. A packet
that is out of order is moved to the place of its timestamp. Connections with packets before and after a backward step show which
of the two happened: an ACK comes after the segment that it acknowledges, whatever the timestamps are.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.capture.clock_steps import Step
from wiredoctor.core.capture.chain import copy_record
from wiredoctor.core.capture.datagrams import Datagrams
from wiredoctor.core.capture.layers import SEGMENT
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.capture.packet_headers import Headers
from wiredoctor.core.capture.records import ACROSS, LATEST, LEAST, SHUFFLED, Records
from wiredoctor.core.tcp.connection import NO_BASE, Connection
from wiredoctor.core.tcp.copies import Copies, is_after
from wiredoctor.core.tcp.flows import Flows, Share
from wiredoctor.core.tcp.segment import ACK, FIN, SYN

FEW: Final = 5
"""If at least this many packets in a row are earlier than a packet before them, the clock was set back.

Connections may show otherwise.
"""
LONG: Final = 10_000_000
"""If times stay below an earlier maximum for this many ns, the clock was set back, unless connections show otherwise."""
COMPARED: Final = 256
"""The maximum number of packets with later timestamps that one packet is compared with."""


class HeldPacket:
    """A packet that is held until later records have been read, with its sequence numbers if its headers were read."""

    def __init__(self) -> None:
        self.packet: Packet = Packet()
        self.step: Step | None = None
        """The step by which the clock of the packet's interface went backward at this packet; None if it did not go backward."""
        self.is_read: bool = False
        """True if the headers of the packet were read. Then the fields `addresses` to `is_syn` describe its TCP segment.

        `addresses` is 0 if the packet has no TCP header.
        """
        self.addresses: i64 = 0
        self.ports: i64 = 0
        self.is_turned: bool = False
        self.sequence: i64 = 0
        self.acknowledgment: i64 = -1
        """The acknowledgment number; -1 without the ACK flag."""
        self.size: i64 = 0
        """The length in sequence space, in bytes."""
        self.is_syn: bool = False
        """True if the packet is a SYN without the ACK flag."""


class Ordering:
    """Reads records ahead, and returns them sorted by time.

    `is_growing`: true if the file is still being written. To avoid a delay, packets are then returned at once until one is out of
    order.
    """

    def __init__(self, records: Records, flows: Flows, copies: Copies, share: Share | None, is_growing: bool) -> None:
        self.records: Records = records
        self.flows: Flows = flows
        self.copies: Copies = copies
        self.share: Share | None = share
        self.is_growing: bool = is_growing
        self.sleeps: bool = is_growing
        self.headers: Headers = Headers(Datagrams())
        self.scratch: Packet = Packet()
        self.most: i64 = limits.REORDERED.value
        self.queue: list[HeldPacket] = []
        """The held packets in output order; the first `gone` were already returned."""
        self.gone: i64 = 0
        self.free: list[HeldPacket] = []
        self.due: i64 = 0
        """The number of queued packets that are returned first, whatever their times are.

        They came before the clock was set back, or no more records follow.
        """
        self.highest: i64 = -LATEST
        """The latest time since the clock was set back."""
        self.highest_frame: i64 = 0
        """The frame number of the packet with the time `highest`."""
        self.highest_interface: i64 = 0
        self.clock: i64 = -LATEST
        """The watermark of the packets returned so far."""
        self.silent_until: i64 = -LATEST
        """The time up to which no more packets will come."""
        self.late: list[HeldPacket] = []
        """Packets with earlier times than the packets before them. It is not known yet whether the clock or the order is wrong.
        """
        self.for_order: i64 = 0
        self.for_clock: i64 = 0
        """The number of packet pairs that show that a clock was set back: their order in the file is right, but their times
        are wrong.

        `for_order` counts the pairs that show the opposite: their times are right, but their order in the file is wrong.
        """
        self.sorts: bool = False
        """True after a packet was out of order: from then on, headers are read in file order."""
        self.is_known: bool = False
        """True if it is proved, and not merely assumed, that packets were out of order."""

    def next(self, packet: Packet) -> bool:
        """Fill the packet from the record that comes next in time order. Return False if there is none."""
        if self.sleeps:
            if not self.records.next(packet):
                return False
            step = self.records.times.newest_step
            if step is None or not self.wake(packet, step):
                return True
        while True:
            if self.gone < len(self.queue) and self.may_go():
                self.hand_out(packet)
                return True
            if self.take():
                continue
            if self.is_growing and not self.late and self.gone == len(self.queue):
                return False
            if self.is_growing and self.silent_until < self.highest + self.longest():
                return False
            if self.late:
                self.sort_held()
            elif self.gone < len(self.queue):
                self.due = len(self.queue) - self.gone
            else:
                return False

    def wake(self, packet: Packet, step: Step) -> bool:
        """Start holding packets, because the clock went backward at this packet by `step`.

        If the step is too large for mere disorder, do not start, and return False.
        """
        times = self.records.times
        times.newest_step = None
        if step.time_before - step.time > SHUFFLED:
            times.steps.add(step)
            return False
        self.sleeps, self.sorts = False, True
        self.highest, self.highest_frame, self.highest_interface = step.time_before, step.frame_before, packet.interface
        self.clock = times.latest
        held = HeldPacket()
        copy_record(packet, held.packet)
        held.packet.frame, held.packet.clock, held.step = packet.frame, packet.clock, step
        self.read(held)
        self.for_order = self.for_clock = 0
        connection = self.flows.look_up(self.scratch) if held.addresses else None
        if connection is not None:
            self.compare_past(held, connection.first.recent_packet, connection.is_turned)
            self.compare_past(held, connection.second.recent_packet, not connection.is_turned)
        self.add_late(held)
        return True

    def compare_past(self, held: HeldPacket, newest: i64, is_turned: bool) -> None:
        """Compare a held packet with recently returned packets that one side of its connection sent (see `weigh`).

        `newest`: the number of that side's newest packet in `Copies.ring`. `is_turned`: the value of Packet.is_turned for that
        side.
        """
        copies = self.copies
        while newest >= copies.oldest:
            recent = copies.ring[newest & copies.mask]
            if not copies.is_recent(recent, held.packet):
                return
            if recent.time > held.packet.time:
                other = HeldPacket()
                other.addresses, other.is_turned = held.addresses, is_turned
                flags = recent.shape & 0xFF
                other.sequence = recent.sequence
                other.acknowledgment = recent.acknowledgment if flags & ACK else i64(-1)
                other.size = (recent.shape >> 24) + (i64(1) if flags & (SYN | FIN) else i64(0))
                self.weigh(other, held)
            newest = recent.before

    def may_go(self) -> bool:
        """Return whether the first packet in the queue can be returned, because no other packet can come before it."""
        if self.due > 0:
            return True
        if self.late:
            return False
        waited = max(self.highest, self.silent_until) - self.queue[self.gone].packet.time
        return waited >= self.longest() or len(self.queue) - self.gone >= self.most

    def hand_out(self, packet: Packet) -> None:
        """Remove the first packet from the queue, and copy its record into `packet`."""
        first = self.queue[self.gone]
        self.gone += 1
        if self.due > 0:
            self.due -= 1
        copy_record(first.packet, packet)
        packet.frame = first.packet.frame
        self.clock = max(self.clock, min(packet.time, self.records.times.latest))
        packet.clock = self.clock
        first.packet.block = b""
        self.free.append(first)
        if 2 * self.gone > len(self.queue) and self.gone > FEW:
            del self.queue[: self.gone]
            self.gone = 0

    def take(self) -> bool:
        """Read a record, and put its packet into the queue. If its time shows disorder, put it among the late packets instead.

        Return False if there is no record.
        """
        held = self.free.pop() if self.free else HeldPacket()
        packet, times = held.packet, self.records.times
        if not self.records.next(packet):
            self.free.append(held)
            return False
        held.step, times.newest_step = times.newest_step, None
        held.is_read = False
        if self.sorts:
            self.read(held)
        behind = self.highest - packet.time
        is_own = packet.interface == self.highest_interface or held.step is not None
        reach = i64(SHUFFLED) if is_own else i64(ACROSS)
        if self.late and behind > 0 and behind <= reach and len(self.late) < self.most:
            self.add_late(held)
            return True
        if self.late:
            self.sort_held()
            behind = self.highest - packet.time
        if behind <= 0:
            self.raise_highest(packet)
            self.queue.append(held)
        elif behind <= LEAST:
            self.insert(held)
        elif behind > reach:
            self.set_back(held)
        else:
            self.begin(held)
        return True

    def begin(self, held: HeldPacket) -> None:
        """Start collecting packets with earlier times than the packets before them. `held` is the first one."""
        if not self.sorts:
            self.sorts = True
            for one in self.queue[self.gone :]:
                self.read(one)
            self.sort()
            self.read(held)
        self.for_order = self.for_clock = 0
        self.add_late(held)

    def add_late(self, held: HeldPacket) -> None:
        """Collect a packet with an earlier time. Sort the collected packets once there are enough to judge why their times are
        earlier.
        """
        self.late.append(held)
        self.compare(held)
        goes_on = held.packet.time - self.late[0].packet.time >= LONG or len(self.late) >= FEW
        if goes_on and (self.for_order != self.for_clock or not self.is_known):
            self.sort_held()

    def sort_held(self) -> None:
        """Insert the collected packets into the queue, each before the packets with later times.

        If the clock was set back, or if the clocks of interfaces differ, append them to the queue instead.
        """
        late = self.late
        self.late = []
        goes_on = len(late) >= FEW or late[len(late) - 1].packet.time - late[0].packet.time >= LONG
        has_step = False
        for held in late:
            has_step = has_step or held.step is not None or held.packet.interface == self.highest_interface
        if self.for_order == self.for_clock:
            is_shuffled = self.is_known or (has_step and not goes_on)
        else:
            is_shuffled = self.for_order > self.for_clock
            if is_shuffled and not self.is_known:
                self.is_known = True
                self.sort()
        if is_shuffled:
            for held in late:
                if self.highest - held.packet.time > LEAST:
                    self.records.times.shuffled.add(Step(held.packet.frame, held.packet.time, self.highest_frame, self.highest))
                self.insert(held)
        elif has_step:
            for held in late:
                self.set_back(held)
        else:  # no clock went backward: the clocks of the interfaces differ
            self.queue += late

    def set_back(self, held: HeldPacket) -> None:
        """Append a collected packet to the queue, because the clock of its interface or of another one was set back."""
        step = held.step
        if step is not None:
            self.records.times.steps.add(step)
        if held.packet.time < self.highest - LEAST:
            self.due = len(self.queue) - self.gone
            self.highest = -LATEST
        if held.packet.time > self.highest:
            self.raise_highest(held.packet)
        self.queue.append(held)

    def raise_highest(self, packet: Packet) -> None:
        """Store the time of a packet as the latest one since the clock was set back."""
        self.highest, self.highest_frame, self.highest_interface = packet.time, packet.frame, packet.interface

    def insert(self, held: HeldPacket) -> None:
        """Insert a packet before all packets with later times."""
        queue, time = self.queue, held.packet.time
        at: i64 = len(queue)
        if self.sorts:
            while at > self.gone + self.due and queue[at - 1].packet.time > time:
                at -= 1
        queue.insert(at, held)

    def sort(self) -> None:
        """Sort the held packets by time. Some were left in file order, because it was not known why their times were earlier."""
        first = self.gone + self.due
        rest = self.queue[first:]
        rest.sort(key=time_of)
        self.queue[first:] = rest

    def read(self, held: HeldPacket) -> None:
        """Read the headers of a packet. If it may open a connection, reserve the connection id now: ids follow the file order."""
        scratch = self.scratch
        copy_record(held.packet, scratch)
        scratch.frame, scratch.clock = held.packet.frame, held.packet.clock
        held.is_read = True
        held.addresses = held.ports = 0
        held.is_syn = False
        if self.headers.read(scratch) != SEGMENT or not (self.share is None or self.share.has(scratch)):
            return
        connection = self.flows.look_up(scratch)
        if connection is None:
            self.flows.open(scratch)
        if scratch.is_quoted:
            return
        held.is_syn = scratch.flags & (SYN | ACK) == SYN
        if held.is_syn and connection is not None and self.is_reuse(connection, scratch):
            self.flows.promise(scratch)
        held.addresses, held.ports, held.is_turned = scratch.addresses, scratch.ports, scratch.is_turned
        held.sequence = scratch.sequence
        held.acknowledgment = scratch.acknowledgment if scratch.flags & ACK else i64(-1)
        held.size = scratch.length + (i64(1) if scratch.flags & (SYN | FIN) else i64(0))

    def is_reuse(self, connection: Connection, packet: Packet) -> bool:
        """Return whether a SYN opens a later connection on the ports of `connection`.

        If so, its sequence number differs from that of the previous SYN of this side, which may still be among the held packets.
        """
        base = (connection.first if packet.is_turned == connection.is_turned else connection.second).base
        frame: i64 = -1
        for held in (self.queue[max(self.gone, len(self.queue) - COMPARED) :], self.late[-COMPARED:]):
            for other in held:
                if not (other.is_read and other.is_syn and other.packet.frame > frame and other.is_turned == packet.is_turned):
                    continue
                if other.ports == packet.ports and other.addresses == packet.addresses:
                    base, frame = other.sequence, other.packet.frame
        return base != NO_BASE and base != packet.sequence

    def compare(self, held: HeldPacket) -> None:
        """Compare a packet with earlier packets of its connection that have later timestamps (see `weigh`)."""
        at: i64 = len(self.queue)
        least = max(self.gone + self.due, at - COMPARED)
        while at > least:
            at -= 1
            other = self.queue[at]
            if other.packet.time > held.packet.time and other.ports == held.ports and other.addresses == held.addresses:
                self.weigh(other, held)

    def weigh(self, first: HeldPacket, second: HeldPacket) -> None:
        """Count two packets of a connection as evidence that the order of the file is right, or that the timestamps are.

        Their sequence and acknowledgment numbers show which. `first` comes first in the file, but `second` has the earlier
        timestamp.
        """
        order = order_of(first, second)
        if order > 0:
            self.for_clock += 1
        elif order < 0:
            self.for_order += 1

    def due_at(self) -> i64:
        """Return the time at which the first packet in the queue is returned if no more packets come.

        Return the constant LATEST if no packet is held.
        """
        if self.gone == len(self.queue) and not self.late:
            return LATEST
        return self.highest + self.longest()

    def longest(self) -> i64:
        """Return the time for which packets are held, in ns of capture time."""
        return i64(SHUFFLED) if len(self.records.interfaces) == 1 else i64(ACROSS)

    def first_place(self) -> i64:
        """Return the lowest position of a held record in the capture, or the constant LATEST if no packet is held."""
        place: i64 = LATEST
        for held in self.queue[self.gone :] + self.late:
            place = min(place, held.packet.block_place + held.packet.at)
        return place

    def first_frame(self) -> i64:
        """Return the lowest frame number that was not returned yet. If no packet is held, it is the number of the next record."""
        frame: i64 = self.records.frame + 1
        for held in self.queue[self.gone :] + self.late:
            frame = min(frame, held.packet.frame)
        return frame


def time_of(held: HeldPacket) -> int:
    """Return the time of a held packet, as a sort key."""
    return held.packet.time


def order_of(first: HeldPacket, second: HeldPacket) -> i64:
    """Return 1 if `second` was sent after `first`, -1 if before, 0 if sequence and acknowledgment numbers do not show it.

    Both packets belong to one connection.
    """
    if first.addresses == 0:
        return 0
    if first.is_turned == second.is_turned:
        if first.acknowledgment >= 0 and second.acknowledgment >= 0 and first.acknowledgment != second.acknowledgment:
            return 1 if is_after(second.acknowledgment, first.acknowledgment) else -1
        if first.size > 0 and second.size > 0 and first.sequence != second.sequence:
            return 1 if is_after(second.sequence, first.sequence) else -1
        return 0
    if second.acknowledgment >= 0 and first.size > 0 and is_after(second.acknowledgment, first.sequence):
        return 1
    if first.acknowledgment >= 0 and second.size > 0 and is_after(first.acknowledgment, second.sequence):
        return -1
    return 0

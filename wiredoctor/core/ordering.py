"""Records out of order: several threads or processors of one capture write what they have stamped a little later than others.

Packets are held for 50 ms of their own time before they go on, those of several interfaces for 500 ms. One that is stamped
earlier than a packet before it is put where its time says, unless the clock was set back: then the order of the file is right.
Which of the two it was, the connections show that have packets on both sides: whoever acknowledges a segment came after it,
whatever the stamps say.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.capture.clock_steps import Step
from wiredoctor.core.chain import copy_record
from wiredoctor.core.connection import NO_BASE, Connection
from wiredoctor.core.copies import Copies, is_after
from wiredoctor.core.datagrams import Datagrams
from wiredoctor.core.flows import Flows, Share
from wiredoctor.core.headers import Headers
from wiredoctor.core.layers import SEGMENT
from wiredoctor.core.packet import Packet
from wiredoctor.core.records import ACROSS, LATEST, LEAST, SHUFFLED, Records
from wiredoctor.core.segment import ACK, FIN, SYN

FEW: Final = 5
"""Packets: so many that go on from a lower time, and no connection that shows anything, are a clock that was set back."""
LONG: Final = 10_000_000
"""ns. So do packets that go on from it for so long."""
COMPARED: Final = 256
"""Packets with later stamps that one is compared with."""


class Held:
    """A packet that waits for others, and what it says of its connection once that is of interest."""

    def __init__(self) -> None:
        self.packet: Packet = Packet()
        self.step: Step | None = None
        """How far the clock of its interface went back with it."""
        self.is_read: bool = False
        """Whether its headers were read: the numbers below are those of a TCP segment if `addresses` is not 0."""
        self.addresses: i64 = 0
        self.ports: i64 = 0
        self.is_turned: bool = False
        self.sequence: i64 = 0
        self.acknowledgment: i64 = -1
        """-1 without ACK flag."""
        self.size: i64 = 0
        """Bytes in sequence space."""
        self.is_syn: bool = False
        """Whether it is a SYN without ACK flag."""


class Ordering:
    """Reads records ahead and hands them on in the order of their times. `is_growing`: more may come after the last one, and
    nothing is held before the first packet that is out of order."""

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
        self.queue: list[Held] = []
        """What is held, in the order in which it goes on; the first `gone` are over."""
        self.gone: i64 = 0
        self.free: list[Held] = []
        self.due: i64 = 0
        """So many of the queue go on whatever their times are: the clock was set back behind them."""
        self.highest: i64 = -LATEST
        """The latest time since then."""
        self.highest_frame: i64 = 0
        """Its packet."""
        self.highest_interface: i64 = 0
        self.clock: i64 = -LATEST
        """The watermark of what has gone on."""
        self.silent_until: i64 = -LATEST
        """Up to this time nothing will come any more."""
        self.late: list[Held] = []
        """Packets with lower times, of which it is not known yet what they mean."""
        self.for_order: i64 = 0
        self.for_clock: i64 = 0
        """Pairs of packets by which their times are right, and by which the order of the file is."""
        self.sorts: bool = False
        """Some were out of order: from then on headers are read in the order of the file."""
        self.is_known: bool = False
        """It was shown, and not only assumed, that some were."""

    def next(self, packet: Packet) -> bool:
        """Fill the packet with the one that goes on next; return False if none does."""
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
                self.settle()
            elif self.gone < len(self.queue):
                self.due = len(self.queue) - self.gone
            else:
                return False

    def wake(self, packet: Packet, step: Step) -> bool:
        """Begin to hold packets with the one in hand, with which the clock went back; return False if it is not held: it was set
        back by far."""
        times = self.records.times
        times.newest_step = None
        if step.time_before - step.time > SHUFFLED:
            times.steps.add(step)
            return False
        self.sleeps, self.sorts = False, True
        self.highest, self.highest_frame, self.highest_interface = step.time_before, step.frame_before, packet.interface
        self.clock = times.latest
        held = Held()
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

    def compare_past(self, held: Held, newest: i64, is_turned: bool) -> None:
        """Compare a packet with those of a side of its connection that have gone on within 100 ms."""
        copies = self.copies
        while newest >= copies.oldest:
            recent = copies.ring[newest & copies.mask]
            if recent.time > held.packet.time:
                other = Held()
                other.addresses, other.is_turned = held.addresses, is_turned
                flags = recent.shape & 0xFF
                other.sequence = recent.sequence
                other.acknowledgment = recent.acknowledgment if flags & ACK else i64(-1)
                other.size = (recent.shape >> 24) + (i64(1) if flags & (SYN | FIN) else i64(0))
                self.weigh(other, held)
            newest = recent.before

    def may_go(self) -> bool:
        """Return whether nothing can come that goes before the first of the queue."""
        if self.due > 0:
            return True
        if self.late:
            return False
        waited = max(self.highest, self.silent_until) - self.queue[self.gone].packet.time
        return waited >= self.longest() or len(self.queue) - self.gone >= self.most

    def hand_out(self, packet: Packet) -> None:
        """Fill the packet with the first of the queue."""
        first = self.queue[self.gone]
        self.gone += 1
        if self.due > 0:
            self.due -= 1
        copy_record(first.packet, packet)
        packet.frame = first.packet.frame
        self.clock = max(self.clock, packet.time)
        packet.clock = self.clock
        first.packet.block = b""
        self.free.append(first)
        if 2 * self.gone > len(self.queue) and self.gone > FEW:
            del self.queue[: self.gone]
            self.gone = 0

    def take(self) -> bool:
        """Read a record; return False if none is there."""
        held = self.free.pop() if self.free else Held()
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
            self.settle()
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

    def begin(self, held: Held) -> None:
        """Begin with the first packet of a lower time."""
        if not self.sorts:
            self.sorts = True
            for one in self.queue[self.gone :]:
                self.read(one)
            self.sort()
            self.read(held)
        self.for_order = self.for_clock = 0
        self.add_late(held)

    def add_late(self, held: Held) -> None:
        """Add a packet of a lower time, and decide what they mean as soon as that is known."""
        self.late.append(held)
        self.compare(held)
        goes_on = held.packet.time - self.late[0].packet.time >= LONG or len(self.late) >= FEW
        if goes_on and (self.for_order != self.for_clock or not self.is_known):
            self.settle()

    def settle(self) -> None:
        """Put the packets of lower times where their times say, or behind the others if the clock was set back."""
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
        else:  # clocks of several interfaces
            self.queue += late

    def set_back(self, held: Held) -> None:
        """Go on behind a clock that was set back: on the packet's own interface, or it is another interface's clock."""
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
        """Note the latest packet since the clock was set back."""
        self.highest, self.highest_frame, self.highest_interface = packet.time, packet.frame, packet.interface

    def insert(self, held: Held) -> None:
        """Put a packet before all of later times."""
        queue, time = self.queue, held.packet.time
        at: i64 = len(queue)
        if self.sorts:
            while at > self.gone + self.due and queue[at - 1].packet.time > time:
                at -= 1
        queue.insert(at, held)

    def sort(self) -> None:
        """Put what is held in order: a little of it was left as it came, and what nothing was known of."""
        first = self.gone + self.due
        rest = self.queue[first:]
        rest.sort(key=time_of)
        self.queue[first:] = rest

    def read(self, held: Held) -> None:
        """Read the headers of a packet, and number its connection if it is the first of it in the file, as far as a SYN shows."""
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
        """Return whether a SYN opens a later connection on the same ports: by the newest SYN of its side, which may be held."""
        base = (connection.first if packet.is_turned == connection.is_turned else connection.second).base
        frame: i64 = -1
        for held in (self.queue[max(self.gone, len(self.queue) - COMPARED) :], self.late[-COMPARED:]):
            for other in held:
                if not (other.is_read and other.is_syn and other.packet.frame > frame and other.is_turned == packet.is_turned):
                    continue
                if other.ports == packet.ports and other.addresses == packet.addresses:
                    base, frame = other.sequence, other.packet.frame
        return base != NO_BASE and base != packet.sequence

    def compare(self, held: Held) -> None:
        """Count by how many packets with later stamps, which stand before it in the file, it comes after them or before."""
        at: i64 = len(self.queue)
        least = max(self.gone + self.due, at - COMPARED)
        while at > least:
            at -= 1
            other = self.queue[at]
            if other.packet.time > held.packet.time and other.ports == held.ports and other.addresses == held.addresses:
                self.weigh(other, held)

    def weigh(self, first: Held, second: Held) -> None:
        """Count what two packets of a connection show."""
        order = order_of(first, second)
        if order > 0:
            self.for_clock += 1
        elif order < 0:
            self.for_order += 1

    def due_at(self) -> i64:
        """Return when the first of the queue goes on if nothing comes any more; LATEST without one."""
        if self.gone == len(self.queue) and not self.late:
            return LATEST
        return self.highest + self.longest()

    def longest(self) -> i64:
        """Return how long a packet is held."""
        return i64(SHUFFLED) if len(self.records.interfaces) == 1 else i64(ACROSS)

    def first_place(self) -> i64:
        """Return the place in the capture of the first byte of what is held; LATEST if nothing is."""
        place: i64 = LATEST
        at = self.gone
        while at < len(self.queue):
            packet = self.queue[at].packet
            place = min(place, packet.block_place + packet.at)
            at += 1
        for held in self.late:
            place = min(place, held.packet.block_place + held.packet.at)
        return place

    def first_frame(self) -> i64:
        """Return the lowest frame that has not gone on: that of the next record if nothing is held."""
        frame: i64 = self.records.frame + 1
        at = self.gone
        while at < len(self.queue):
            frame = min(frame, self.queue[at].packet.frame)
            at += 1
        for held in self.late:
            frame = min(frame, held.packet.frame)
        return frame


def time_of(held: Held) -> int:
    """Return the time of a packet."""
    return held.packet.time


def order_of(first: Held, second: Held) -> i64:
    """Return 1 if the numbers of two packets of a connection show that the second came later, -1 if they show that it came
    earlier, 0 if they show nothing."""
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

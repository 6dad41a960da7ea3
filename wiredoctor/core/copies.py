"""Packets that were captured twice: the second copy keeps its frame number and goes no further.

A mirror port that sees both directions of a switch, or two interfaces, record a packet twice; rules.md, `duplicate-packets`,
says what counts as the same packet. A packet that brings anything beyond what its side sent within the last 100 ms is none:
this is almost every packet, and only two numbers are compared for it. For the others the packets of the side are
searched, newest first; only if one has equal numbers, both are looked at as a whole.

A capture on all interfaces of a router has a packet before and behind its queue, where it may lie for seconds. Once a connection
has shown a second copy with another time to live, those of the packets after it are looked for during 10 s. Identification and
time stamps must be the same then: what is sent again so late has others.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.clocks import stamp_of
from wiredoctor.core.connection import Connection, SecondCopies, Side, Syn
from wiredoctor.core.identity import Identity
from wiredoctor.core.packet import Packet
from wiredoctor.core.places import Places
from wiredoctor.core.recent import IP_ID_AND_OPTIONS, Recent
from wiredoctor.core.segment import ACK, FIN, NEVER, RST, SYN
from wiredoctor.tables import SCRATCH

WITHIN: Final = 100_000_000
"""ns. Two records of one packet lie no further apart; a sender's own timeout is at least 200 ms on common systems."""
QUEUED: Final = 10_000_000_000
"""ns. The same of a packet before and behind a queue: longer ones are not known."""
TTL_AT: Final = 17
ID: Final = (1 << TTL_AT) - 1
"""Identification + 1 in Side.ip, and where the time to live begins in it."""
AT_ONCE: Final = 1_000_000
"""ns. Copies that look alike in every layer must follow each other within this: a mirror port's delay, no retransmission."""
SEARCHED: Final = 1_024
"""Packets of a side that are compared with one: 1 ms of a link with 10 Gbit/s."""
UNEQUAL: Final = 16
"""A packet with equal numbers and other options counts for so many: reading it takes as long."""
HALF: Final = 1 << 31


class Copies:
    """Finds second copies. `places` reads bytes of packets that are not in hand any more."""

    def __init__(self, places: Places) -> None:
        self.places: Places = places
        self.ring: list[Recent] = [Recent()]
        """The packets that are remembered: packet n is ring[n & mask] if oldest <= n < next."""
        self.mask: i64 = 0
        self.oldest: i64 = 0
        self.next: i64 = 0
        self.most: i64 = limits.COPIES.value
        self.within: i64 = WITHIN
        """How long packets are remembered: QUEUED, once a connection has packets from both sides of a router."""
        self.identity: Identity = Identity()

    def is_second(self, connection: Connection, packet: Packet) -> bool:
        """Return whether the packet is a second copy of one before it, note that in its connection, and remember the packet."""
        side = connection.first if packet.is_turned == connection.is_turned else connection.second
        self.forget(packet)
        newest = side.recent_packet
        is_alone = newest < self.oldest
        if is_alone:  # nothing of this side is remembered
            side.recent_reached = end_of(packet)
            side.recent_claimed = -1
        is_new = raise_highest(side, packet) or is_alone
        recent = self.next_recent()
        recent.fill(packet, packet.flags | packet.window << 8 | packet.length << 24)
        recent.before = newest
        recent.reached, recent.claimed = side.recent_reached, side.recent_claimed
        side.recent_packet = self.next - 1
        if not is_new:
            first = self.alike(newest, recent, packet)
            if first is not None and self.judge(first, connection, packet):
                return True
        return packet.flags & SYN != 0 and self.is_queued_syn(side.syn, side.ip, connection, packet)

    def forget(self, packet: Packet) -> None:
        """Forget packets that the packet in hand can be no copy of."""
        while self.oldest < self.next:
            recent = self.ring[self.oldest & self.mask]
            if packet.clock - recent.clock <= self.within and packet.frame - recent.frame <= self.most:
                return
            self.oldest += 1

    def first_place(self) -> i64:
        """Return the place in the capture of the first byte that may be compared; SCRATCH if there is none."""
        at = self.oldest
        while at < self.next:
            recent = self.ring[at & self.mask]
            if recent.place < SCRATCH:
                return recent.place - recent.payload()
            at += 1
        return SCRATCH

    def next_recent(self) -> Recent:
        """Return an object for the newest packet."""
        if self.next - self.oldest > self.mask:
            self.grow()
        self.next += 1
        return self.ring[(self.next - 1) & self.mask]

    def grow(self) -> None:
        """Make room for twice as many packets."""
        ring, mask = self.ring, 2 * self.mask + 1
        while len(ring) <= mask:
            ring.append(Recent())
        at = self.oldest
        while at < self.next:
            old, new = at & self.mask, at & mask
            ring[old], ring[new] = ring[new], ring[old]
            at += 1
        self.mask = mask

    def alike(self, newest: i64, wanted: Recent, packet: Packet) -> Recent | None:
        """Return the newest packet of the side, from `newest` back, with the same numbers and options as the wanted one."""
        steps: i64 = 0
        while newest >= self.oldest and steps < SEARCHED:
            recent = self.ring[newest & self.mask]
            if brings_new(recent.reached, recent.claimed, packet):
                return None
            if (
                recent.sequence == wanted.sequence
                and recent.acknowledgment == wanted.acknowledgment
                and recent.shape == wanted.shape
                and recent.ip & IP_ID_AND_OPTIONS == wanted.ip & IP_ID_AND_OPTIONS
            ):
                if self.options(recent, packet) == self.identity.options(packet):
                    return recent
                steps += UNEQUAL
            newest = recent.before
            steps += 1
        return None

    def options(self, recent: Recent, packet: Packet) -> bytes:
        """Return the option bytes of an earlier packet that were captured."""
        record, at = recent.place - recent.payload(), recent.tcp() + 20
        return self.read(record + at, max(min(recent.payload(), recent.size()) - at, i64(0)), packet)

    def read(self, place: i64, size: i64, packet: Packet) -> bytes:
        """Return bytes of the capture, from the block in hand if they are in it."""
        at = place - packet.block_place
        if at >= 0 and at + size <= len(packet.block):
            return packet.block[at : at + size]
        return self.places.read(place, size)

    def judge(self, first: Recent, connection: Connection, packet: Packet) -> bool:
        """Return whether a packet with equal numbers is a second copy of the first, and note it."""
        apart = packet.time - first.time
        copies = connection.copies
        if apart < 0 or apart > QUEUED or (apart > WITHIN and not may_be_queued(copies, first, packet)):
            return False
        difference = self.difference(first, packet)
        is_bare = packet.length == 0 and packet.flags & (FIN | SYN | RST | ACK) == ACK and not packet.has_timestamps
        if is_bare and difference == 0:
            if packet.ip_id <= 0 or copies is None or not copies.has_data or apart > AT_ONCE:
                return False
        elif (difference == 0 and (apart > AT_ONCE or may_be_repeated(packet))) or not self.same_payload(first, packet):
            return False
        if packet.flags & SYN and answers_another_syn(connection, first, packet):
            return False
        self.note(connection, packet, first.frame, difference, first.ttl() != packet.ttl)
        return True

    def note(self, connection: Connection, packet: Packet, first_frame: i64, difference: i64, is_routed: bool) -> None:
        """Note a second copy of the packet with this frame number."""
        copies = connection.copies
        if copies is None:
            copies = connection.copies = SecondCopies()
            copies.frame, copies.time, copies.first_frame = packet.frame, packet.time, first_frame
            copies.difference = difference
        if is_routed and copies.routed_frame == NEVER:
            copies.routed_frame = packet.frame
            self.within = QUEUED
        copies.count += 1
        if packet.length > 0:
            copies.has_data = True

    def is_queued_syn(self, syn: Syn | None, ip: i64, connection: Connection, packet: Packet) -> bool:
        """Return whether a SYN is the newest one of its side behind a queue, and note that. `ip` is Side.ip."""
        if syn is None or syn.stamp == NEVER or packet.ip_id <= 0 or not WITHIN < packet.time - syn.time <= QUEUED:
            return False
        if ip & ID != packet.ip_id + 1 or ip >> TTL_AT == packet.ttl or stamp_of(packet) != syn.stamp:
            return False
        self.note(connection, packet, syn.frame, 3, True)
        return True

    def difference(self, first: Recent, packet: Packet) -> i64:
        """Return what tells the two apart, as in SecondCopies."""
        if first.interface != packet.interface:
            return 1
        link, encapsulation = self.identity.of_packet(packet)
        if first.outer is not None:
            first_link, first_encapsulation = first.outer.link_hash, first.outer.encapsulation
        else:
            record = self.read(first.place - first.payload(), first.size(), packet)
            first_link, first_encapsulation = self.identity.of_record(record, 0, len(record), first.link_type())
        if first_link != link:
            return 2
        if first.ttl() != packet.ttl:
            return 3
        if first_encapsulation != encapsulation:
            return 4
        return 0

    def same_payload(self, first: Recent, packet: Packet) -> bool:
        """Return whether the payload of both is the same, as far as it was captured."""
        size = min(first.captured(), packet.captured)
        return self.read(first.place, size, packet) == packet.block[packet.payload : packet.payload + size]


def may_be_queued(copies: SecondCopies | None, first: Recent, packet: Packet) -> bool:
    """Return whether the same packet may have come so late: behind a router that its connection had shown before the first of
    the two. Both have an identification and time stamps (the same ones, as they are alike)."""
    if copies is None or not NEVER < copies.routed_frame < first.frame or first.ttl() == packet.ttl:
        return False
    return packet.ip_id > 0 and packet.has_timestamps


def brings_new(reached: i64, claimed: i64, packet: Packet) -> bool:
    """Return whether a packet has what its side had not sent by then: nothing sent until then is its first copy."""
    if packet.flags & RST:
        return False
    if is_after(end_of(packet), reached):
        return True
    return packet.flags & ACK != 0 and (claimed < 0 or is_after(packet.acknowledgment, claimed))


def raise_highest(side: Side, packet: Packet) -> bool:
    """Note what the side has sent by this packet; return whether it had not sent that before. An RST is no progress."""
    if packet.flags & RST:
        return False
    end, is_new = end_of(packet), False
    if is_after(end, side.recent_reached):
        side.recent_reached = end
        is_new = True
    if packet.flags & ACK and (side.recent_claimed < 0 or is_after(packet.acknowledgment, side.recent_claimed)):
        side.recent_claimed = packet.acknowledgment
        is_new = True
    return is_new


def end_of(packet: Packet) -> i64:
    """Return the sequence number after the packet's payload."""
    end = packet.sequence + packet.length
    if packet.flags & SYN:
        end += 1
    return end & 0xFFFFFFFF


def is_after(first: i64, second: i64) -> bool:
    """Return whether first > second in sequence space (RFC 9293 section 3.4)."""
    return 0 < (first - second) & 0xFFFFFFFF < HALF


def answers_another_syn(connection: Connection, first: Recent, packet: Packet) -> bool:
    """Return whether a SYN came between two SYN-ACKs: kernels repeat theirs by a timer, and answer a repeated SYN besides."""
    repeated = None if connection.handshake is None else connection.handshake.repeated
    return packet.flags & ACK != 0 and repeated is not None and repeated.last_frame > first.frame


def may_be_repeated(packet: Packet) -> bool:
    """Return whether it is an RST without identification: a closed host sends the same one for each packet that still comes."""
    return packet.length == 0 and packet.flags & RST != 0 and packet.ip_id <= 0

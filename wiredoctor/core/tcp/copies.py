"""Recognize packets that were captured twice. The second copy keeps its frame number and is not analyzed further.

A switch that mirrors both received and sent packets, or a capture on two interfaces, records a packet twice. The rule
`duplicate-packets` defines which packets are equal. A packet is not a copy if its data or its acknowledgment goes beyond all that
its side sent within the last 100 ms. For almost every packet, two comparisons suffice to show this. For any other packet, the
earlier packets of the side are searched, newest first. Those with the same sequence and acknowledgment numbers are compared
completely.

A capture on all interfaces of a router contains each packet before and after a queue, in which it may wait for seconds. After a
connection has shown a copy with a different time to live, its later packets are compared with its packets of the last 10 s. Then
the IP identification and the timestamps must also be equal, because they differ in a retransmission.

If captures of several hosts were merged, the copies are as far apart as the clocks (see host_clocks.py). Once a connection has
shown this, its packets are compared in the same way, whatever their time to live is.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.capture.places import Places
from wiredoctor.core.tcp.connection import Connection, SecondCopies, Side, Syn, oddities_of
from wiredoctor.core.tcp.host_clocks import HostClocks
from wiredoctor.core.tcp.identity import Identity
from wiredoctor.core.tcp.origins import path_of
from wiredoctor.core.tcp.recent import IP_ID_AND_OPTIONS, RecentPacket
from wiredoctor.core.tcp.segment import ACK, FIN, NEVER, RST, SYN
from wiredoctor.tables import SCRATCH

WITHIN: Final = 100_000_000
"""The maximum time in ns between a packet and its duplicate; common systems retransmit after at least 200 ms."""
QUEUED: Final = 10_000_000_000
"""The maximum time in ns between a packet and its duplicate if one was captured before a queue and the other after it.

Longer queueing delays are not known.
"""
TTL_AT: Final = 17
ID: Final = (1 << TTL_AT) - 1
"""A bit mask for Side.ip that selects identification + 1; the time to live is in the bits above it."""
AT_ONCE: Final = 1_000_000
"""The maximum time in ns between duplicates that are equal in every layer.

These duplicates come from a mirror port; equal packets further apart may be retransmissions.
"""
SEARCHED: Final = 1_024
"""The maximum number of a side's packets that are compared with one packet. A link with 10 Gbit/s carries this many in 1 ms."""
UNEQUAL: Final = 16
"""Comparing TCP options counts as this many comparisons of packets, because reading the options takes that long."""
FORGOTTEN: Final = 64
"""Old packets are dropped each time this many new packets have been stored.

Dropping many at a time is faster, because the processor prefetches memory.
"""
FIRST: Final = 1 << 13
"""The number of the first frames of a capture that are kept for the time QUEUED, to find clocks that are far apart."""
ANOTHER_CLOCK: Final = 5
"""The value of SecondCopies.difference for packets that another host captured, whose clock is ahead."""
HALF: Final = 1 << 31


class Copies:
    """Finds duplicates: packets that were captured twice, for example on both sides of a router or through a mirror port.

    `places` reads bytes of earlier packets.
    """

    def __init__(self, places: Places) -> None:
        self.places: Places = places
        self.ring: list[RecentPacket] = [RecentPacket()]
        """A ring buffer of recent packets: packet n is ring[n & mask] if oldest <= n < next."""
        self.mask: i64 = 0
        self.oldest: i64 = 0
        self.next: i64 = 0
        self.forgets_at: i64 = 0
        """Old packets are dropped again before the packet with this number is added."""
        self.most: i64 = limits.COPIES.value
        self.within: i64 = QUEUED
        """Packets are kept for this time (ns): WITHIN, or QUEUED in the first FIRST frames, and once a connection was captured on
        both sides of a router, or by two clocks that are so far apart.
        """
        self.keeps: bool = False
        """True if packets are also kept for the time QUEUED after the first frames."""
        self.clocks: HostClocks = HostClocks()
        self.identity: Identity = Identity()

    def is_second(self, connection: Connection, packet: Packet) -> bool:
        """Return whether a packet is a duplicate of an earlier packet. If so, count it as a duplicate.

        Store the packet, to compare later packets with it.
        """
        side = side_of(connection, packet)
        if self.next >= self.forgets_at:
            self.forget(packet)
        newest = side.recent_packet
        is_new = (newest >= 0 and raise_highest(side, packet)) or self.begins_again(side, packet)
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
        """Drop packets that are so old that the current packet cannot be a duplicate of them."""
        self.forgets_at = self.next + FORGOTTEN
        if packet.frame > FIRST and not self.keeps:
            self.within = WITHIN
        while self.oldest < self.next and not self.is_recent(self.ring[self.oldest & self.mask], packet):
            self.oldest += 1

    def is_recent(self, recent: RecentPacket, packet: Packet) -> bool:
        """Return whether an earlier packet is recent enough that the current one may be a duplicate of it."""
        return packet.clock - recent.clock <= self.within and packet.frame - recent.frame <= self.most

    def begins_again(self, side: Side, packet: Packet) -> bool:
        """Return whether a side has sent no recent packet before this one.

        If so, store this packet's sequence and acknowledgment numbers as the highest of the side.
        """
        newest = side.recent_packet
        if newest >= self.oldest and self.is_recent(self.ring[newest & self.mask], packet):
            return False
        side.recent_reached = end_of(packet)
        side.recent_claimed = packet.acknowledgment if packet.flags & (ACK | RST) == ACK else i64(-1)
        return True

    def first_place(self, packet: Packet) -> i64:
        """Return the lowest position in the capture that may have to be read again to compare later packets with recent ones.

        Return the constant SCRATCH if no bytes have to be read again.
        """
        self.forget(packet)
        at = self.oldest
        while at < self.next:
            recent = self.ring[at & self.mask]
            if recent.place < SCRATCH:
                return recent.place - recent.payload()
            at += 1
        return SCRATCH

    def next_recent(self) -> RecentPacket:
        """Return the entry of the ring buffer in which the newest packet is to be stored."""
        if self.next - self.oldest > self.mask:
            self.grow()
        self.next += 1
        return self.ring[(self.next - 1) & self.mask]

    def grow(self) -> None:
        """Double the capacity of the ring buffer."""
        ring, mask = self.ring, 2 * self.mask + 1
        while len(ring) <= mask:
            ring.append(RecentPacket())
        at = self.oldest
        while at < self.next:
            old, new = at & self.mask, at & mask
            ring[old], ring[new] = ring[new], ring[old]
            at += 1
        self.mask = mask

    def alike(self, newest: i64, wanted: RecentPacket, packet: Packet) -> RecentPacket | None:
        """Return a side's most recent packet before `packet` that seems equal to it, or None.

        Compared are the sequence and acknowledgment numbers, flags, window, length, TCP options and IP identification.

        `wanted`: the entry of the ring buffer that describes `packet`. The search goes backward from packet number `newest` of
        the ring buffer.
        """
        steps: i64 = 0
        while newest >= self.oldest and steps < SEARCHED:
            recent = self.ring[newest & self.mask]
            if not self.is_recent(recent, packet) or brings_new(recent.reached, recent.claimed, packet):
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

    def options(self, recent: RecentPacket, packet: Packet) -> bytes:
        """Return the captured TCP option bytes of an earlier packet."""
        record, at = recent.place - recent.payload(), recent.tcp() + 20
        return self.read(record + at, max(min(recent.payload(), recent.size()) - at, i64(0)), packet)

    def read(self, place: i64, size: i64, packet: Packet) -> bytes:
        """Return `size` bytes of the capture at position `place`, from the current block if it contains them."""
        at = place - packet.block_place
        if at >= 0 and at + size <= len(packet.block):
            return packet.block[at : at + size]
        return self.places.read(place, size)

    def judge(self, first: RecentPacket, connection: Connection, packet: Packet) -> bool:
        """Return whether a packet is a duplicate of `first`. If so, count it as a duplicate.

        `first`: an earlier packet with the same sequence and acknowledgment numbers.
        """
        apart = packet.time - first.time
        copies = None if connection.oddities is None else connection.oddities.copies
        if apart < 0 or apart > QUEUED:
            return False
        own, peer = connection.sides(0 if packet.is_turned == connection.is_turned else 1)
        is_answered = self.is_answered_between(first, packet, peer)
        is_elsewhere = apart > AT_ONCE and is_by_another_clock(copies, apart, packet, is_answered)
        if apart > WITHIN and not is_elsewhere and not may_be_queued(copies, first, packet):
            return False
        difference = self.difference(first, packet)
        if difference > 0 and packet.flags & RST and own.ip != NEVER:
            path_of(own).has_second_rst = True
        is_bare = packet.length == 0 and packet.flags & (FIN | SYN | RST | ACK) == ACK and not packet.has_timestamps
        if is_elsewhere:
            if not self.same_payload(first, packet):
                return False
        elif is_bare and difference == 0:
            if packet.ip_id <= 0 or copies is None or not copies.has_data or apart > AT_ONCE:
                return False
        elif difference == 0 and (apart > AT_ONCE or may_be_repeated(packet)):
            return False
        elif difference == 3 and apart > AT_ONCE and may_be_repeated(packet):
            return False  # a device on the path may have sent one RST, and the host the other
        elif not self.same_payload(first, packet):
            return False
        if packet.flags & SYN and answers_another_syn(connection, first, packet):
            return False
        self.note(connection, packet, first.frame, difference, first.ttl() != packet.ttl)
        if is_answered:
            self.compare_clocks(connection, first, packet)
        return True

    def is_answered_between(self, first: RecentPacket, packet: Packet, peer: Side) -> bool:
        """Return whether `peer` acknowledged data or a SYN after `first` was captured, but before its duplicate `packet` was."""
        end = end_of(packet)
        if end == packet.sequence:
            return False
        newest, steps, is_answered = peer.recent_packet, i64(0), False
        while newest >= self.oldest and steps < SEARCHED:
            recent = self.ring[newest & self.mask]
            has_all = recent.shape & (ACK | RST) == ACK and not is_after(end, recent.acknowledgment)
            if recent.frame < first.frame:
                return is_answered and not has_all
            is_answered = is_answered or has_all
            newest = recent.before
            steps += 1
        return is_answered

    def compare_clocks(self, connection: Connection, first: RecentPacket, packet: Packet) -> None:
        """Measure how far the clocks of both copies of a packet are apart, which was acknowledged between them.

        Only the first such packet of each side is measured.
        """
        copies = oddities_of(connection).copies
        assert copies is not None
        apart = packet.time - first.time
        if side_of(connection, packet) is connection.first:
            if copies.first_apart != NEVER:
                return
            copies.first_apart = apart
        else:
            if copies.second_apart != NEVER:
                return
            copies.second_apart = apart
        if 2 * apart > self.within:
            self.keep()
        if copies.first_apart != NEVER and copies.second_apart != NEVER:
            copies.difference = ANOTHER_CLOCK
            self.clocks.add(connection.key, copies.first_apart, copies.second_apart, packet.time)
            is_first_behind = copies.first_apart > copies.second_apart
            self.clocks.place(connection.key, is_first_behind, first.interface, packet.interface)

    def keep(self) -> None:
        """Keep packets for the time QUEUED from now on."""
        self.keeps, self.within = True, QUEUED

    def note(self, connection: Connection, packet: Packet, first_frame: i64, difference: i64, is_routed: bool) -> None:
        """Count a packet as a duplicate of the packet with frame number `first_frame`.

        `difference` is as in SecondCopies. `is_routed`: the two packets have different times to live.
        """
        oddities = oddities_of(connection)
        copies = oddities.copies
        if copies is None:
            copies = oddities.copies = SecondCopies()
            copies.frame, copies.time, copies.first_frame = packet.frame, packet.time, first_frame
            copies.difference = difference
        own = side_of(connection, packet)
        if is_routed and own.ip != NEVER:
            path_of(own).routed += 1
        if is_routed and copies.routed_frame == NEVER:
            copies.routed_frame = packet.frame
            self.keep()
        copies.count += 1
        if packet.length > 0:
            copies.has_data = True

    def is_queued_syn(self, syn: Syn | None, ip: i64, connection: Connection, packet: Packet) -> bool:
        """Return whether a SYN is a duplicate of the last SYN from its side, delayed in a router's queue or by another clock.

        If so, count it as a duplicate. `ip` is as in Side.ip.
        """
        if syn is None or syn.stamp == NEVER or not WITHIN < packet.time - syn.time <= QUEUED or packet.stamp != syn.stamp:
            return False
        is_routed = ip >> TTL_AT != packet.ttl
        if is_routed and (packet.ip_id <= 0 or ip & ID != packet.ip_id + 1):
            return False
        if not is_routed and (packet.flags & ACK or not connection.has_both_syns):
            return False  # only a client that is not answered sends its SYN again
        self.note(connection, packet, syn.frame, 3 if is_routed else ANOTHER_CLOCK, is_routed)
        self.keep()
        return True

    def difference(self, first: RecentPacket, packet: Packet) -> i64:
        """Return how two duplicates differ, as a value of SecondCopies.difference; 0 if they do not differ."""
        if first.interface != packet.interface:
            return 1
        link, encapsulation = self.identity.of_packet(packet)
        if first.outer is not None:
            first_link, first_encapsulation = first.outer.link_hash, first.outer.encapsulation
        else:
            record = self.read(first.place - first.payload(), first.size(), packet)
            first_link, first_encapsulation = self.identity.of_record(record, 0, len(record), first.link_type())
        if first_encapsulation != encapsulation and first.ttl() == packet.ttl:
            return 4  # inside and outside of a tunnel, where the link layer differs, too
        if first_link != link:
            return 2
        if first.ttl() != packet.ttl:
            return 3
        if first_encapsulation != encapsulation:
            return 4
        return 0

    def same_payload(self, first: RecentPacket, packet: Packet) -> bool:
        """Return whether the captured payloads of two packets are equal."""
        size = min(first.captured_length(), packet.captured)
        return self.read(first.place, size, packet) == packet.block[packet.payload : packet.payload + size]


def side_of(connection: Connection, packet: Packet) -> Side:
    """Return the side of a connection that sent a packet."""
    return connection.first if packet.is_turned == connection.is_turned else connection.second


def is_by_another_clock(copies: SecondCopies | None, apart: i64, packet: Packet, is_answered: bool) -> bool:
    """Return whether a packet that equals one captured `apart` ns before was captured by another host, whose clock is ahead.

    The caller has compared the IP identification and the timestamps. A packet without them must be as late as earlier duplicates.
    `is_answered`: the packet was acknowledged before it was captured again.
    """
    is_same = packet.ip_id > 0 and packet.has_timestamps
    known = NEVER if copies is None else max(copies.first_apart, copies.second_apart)
    if known == NEVER:
        return is_same and is_answered
    return is_same or 3 * known <= 4 * apart <= 5 * known


def may_be_queued(copies: SecondCopies | None, first: RecentPacket, packet: Packet) -> bool:
    """Return whether a packet that comes long after `first` may be a duplicate of `first` that was delayed in a router's queue.

    An earlier packet of the connection must have been captured on both sides of a router, and the two packets must have different
    times to live. The packet must have an IP identification and timestamps; the caller has compared both with those of `first`.
    """
    if copies is None or not NEVER < copies.routed_frame < first.frame or first.ttl() == packet.ttl:
        return False
    return packet.ip_id > 0 and packet.has_timestamps


def brings_new(reached: i64, claimed: i64, packet: Packet) -> bool:
    """Return whether a packet has data or an acknowledgment beyond what its side had sent, so it cannot be a duplicate.

    `reached` and `claimed`: the highest sequence and acknowledgment numbers before this packet.
    """
    if packet.flags & RST:
        return False
    if is_after(end_of(packet), reached):
        return True
    return packet.flags & ACK != 0 and (claimed < 0 or is_after(packet.acknowledgment, claimed))


def raise_highest(side: Side, packet: Packet) -> bool:
    """Update the highest sequence and acknowledgment numbers of a side. Return whether the packet raised one of them.

    An RST never raises them.
    """
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
    """Return the sequence number after the packet's payload and SYN, modulo 2**32."""
    end = packet.sequence + packet.length
    if packet.flags & SYN:
        end += 1
    return end & 0xFFFFFFFF


def is_after(first: i64, second: i64) -> bool:
    """Return whether first > second in sequence space (RFC 9293 section 3.4)."""
    return 0 < (first - second) & 0xFFFFFFFF < HALF


def answers_another_syn(connection: Connection, first: RecentPacket, packet: Packet) -> bool:
    """Return True if the client sent another SYN between two SYN-ACKs, so the second SYN-ACK is not a duplicate of the first.

    Kernels repeat a SYN-ACK on a timer, and also in reply to a repeated SYN.
    """
    repeated = None if connection.handshake is None else connection.handshake.repeated
    return packet.flags & ACK != 0 and repeated is not None and repeated.last_frame > first.frame


def may_be_repeated(packet: Packet) -> bool:
    """Return whether the packet is an RST without IP identification.

    Two RSTs of this kind may be identical without being duplicates. A host, or a device that impersonates it, may send an RST in
    reply to each of several packets.
    """
    return packet.length == 0 and packet.flags & RST != 0 and packet.ip_id <= 0

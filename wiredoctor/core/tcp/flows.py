"""Assign packets to connections, numbered like Wireshark's `tcp.stream`, and drop connections that are over.

Packets between the same two endpoints belong to one connection until another connection begins. It begins with one of these
packets:

- a SYN whose sequence number differs from the initial sequence number known for its side (tshark 4.0, packet-tcp.c)
- a packet long after the last packet of a closed connection
- a packet whose sequence numbers show that a SYN was not captured (reuse.py)
"""

from __future__ import annotations

import os
from collections import OrderedDict
from heapq import heappop, heappush
from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.capture.file_order import FileOrder, canonical
from wiredoctor.core.capture.packet import IPV6, WORD, Packet, key_of, reverse
from wiredoctor.core.octets import BytesWriter, write_i64_le
from wiredoctor.core.tcp.connection import NO_BASE, Connection
from wiredoctor.core.tcp.reuse import is_another, is_near, note_former
from wiredoctor.core.tcp.segment import ACK, SYN
from wiredoctor.core.unsigned import u16, u32
from wiredoctor.limits import LimitsReached

NEVER_DUE: Final = 1 << 62

BUCKETS: Final = 64
"""The number of buckets of connections. Each process analyzes complete buckets, and open connections are limited per bucket."""
FACTOR_LOW: Final = 0x9E3779B97F4A7C15 & 0x7FFFFF
FACTOR_HIGH: Final = 0x9E3779B97F4A7C15 >> 23 & 0x7FFFFF
"""Bits 23 to 45 of the factor in `spread`. FACTOR_LOW has bits 0 to 22."""
BITS_23: Final = 0x7FFFFF
CLOSED_FIRST: Final = 1 << 61
FEWEST_CHAINS: Final = 1024
HASHED: Final = 62
MASK: Final = (1 << HASHED) - 1


class Share:
    """The connections that one of `count` processes analyzes: those in the hash buckets with bucket % `count` == `number`."""

    def __init__(self, number: i64, count: i64) -> None:
        self.number: i64 = number
        self.count: i64 = count
        self.opened: BytesWriter = BytesWriter()
        """The number of the first frame of each connection, in the order of connection ids, as little-endian 64-bit integers."""

    def has(self, packet: Packet) -> bool:
        """Return whether this process analyzes the connection of a packet."""
        return bucket_of(packet) % self.count == self.number

    def has_key(self, key: bytes) -> bool:
        """Return whether this process analyzes the connection with this key."""
        return bucket(key) % self.count == self.number


class Flows:
    """The tracked connections. `retired` collects connections that are over, until the caller ends them and empties the list."""

    def __init__(self, met: LimitsReached, share: Share | None = None) -> None:
        self.share: Share | None = share
        self.chains: list[Connection | None] = [None] * FEWEST_CHAINS
        """A hash table: the first connection for each hash. `Connection.next` leads to the others with the same hash."""
        self.shift: i64 = HASHED - FEWEST_CHAINS.bit_length() + 1
        """The number of low bits that `hash` drops from the product of addresses, ports and factors."""
        self.factors: tuple[i64, i64, i64] = (secret_factor(), secret_factor(), secret_factor())
        self.next_id: i64 = 0
        self.promised: OrderedDict[bytes, list[int]] = OrderedDict()
        """The ids reserved for later connections on reused ports, by key. ordering.py has read their first packets in advance.

        An OrderedDict finds its first key at once; a dict first skips the slots of all keys that were deleted.
        """
        self.promises: i64 = 0
        """The number of reserved ids in `promised`."""
        self.in_file: dict[bytes, OrderedDict[int, int]] | None = None
        """The ids of connections of a sorted file, by key (as in FileOrder) and by the sequence number of the first packet."""
        self.after: i64 = 0
        """The number added to the first frame number of a connection that has no id in `in_file`.

        The connection then sorts after all connections that have an id there.
        """
        self.held: list[int] = [0] * BUCKETS
        """The number of connections in each bucket."""
        self.count: i64 = 0
        self.closed: i64 = 0
        """The number of closed connections that are only kept for late packets."""
        self.retired: list[Connection] = []
        self.touched: set[Connection] | None = None
        """The connections that had a packet since a live capture took them last; None for a file, of which nobody takes them."""
        self.closing: list[Connection] = []
        """A queue of closed connections that are kept for late packets."""
        self.closing_first: i64 = 0
        """The index in `closing` of the first connection that is still kept."""
        self.most_closing: i64 = FEWEST_CHAINS
        """Retired connections are removed from `closing` as soon as `closing` has this length."""
        self.closed_before: list[tuple[int, int, Connection]] = []
        """A heap of closed connections that had more packets after they were queued: (last frame, watermark, connection)."""
        self.due: i64 = NEVER_DUE
        """The watermark at which the first closed connection may be dropped."""
        self.met: LimitsReached = met
        self.retention: i64 = limits.RETENTION.value
        self.retained_packets: i64 = limits.RETAINED_PACKETS.value
        self.crowd_check: i64 = limits.CROWD_CHECK.value
        self.next_check: i64 = self.crowd_check
        """The number of the frame after which connections are counted again."""
        self.most: i64 = max(limits.OPEN.value // BUCKETS, 1)
        """The maximum number of connections in a bucket."""

    def find(self, packet: Packet) -> Connection:
        """Return the connection of a packet. If the packet is the first of a connection, create the connection."""
        connection = self.find_or_open(packet)
        if self.touched is not None:
            self.touched.add(connection)
        return connection

    def find_or_open(self, packet: Packet) -> Connection:
        """Return the connection of a packet as `find` does, without adding it to `touched`."""
        connection = self.look_up(packet)
        if connection is None:
            return self.open(packet)
        if packet.is_quoted or (is_near(connection, packet) and packet.flags & (SYN | ACK) != SYN and not connection.closed):
            return connection
        is_reuse = self.is_reuse(connection, packet)
        if not (is_reuse or self.is_late(connection, packet)):
            return connection
        self.retire(connection)
        later = self.open(packet)
        if is_reuse:
            note_former(later, connection, packet)
        return later

    def look_up(self, packet: Packet) -> Connection | None:
        """Return the newest connection between the endpoints of a packet; None if there is none."""
        addresses, ports = packet.addresses, packet.ports
        connection = self.chains[self.hash(addresses, ports)]
        while connection is not None:
            if connection.addresses == addresses and connection.ports == ports and (ports < IPV6 or is_of(packet, connection)):
                break
            connection = connection.next
        return connection

    def hash(self, addresses: i64, ports: i64) -> i64:
        """Return the index in `chains` for a connection. Multiplication with secret factors distributes any input evenly.

        Source: Dietzfelbinger, Universal hashing and k-wise independent random variables via integer arithmetic, 1996.
        """
        high, low, last = self.factors
        return (((addresses >> 32) * high + (addresses & WORD) * low + ports * last) & MASK) >> self.shift

    def is_reuse(self, connection: Connection, packet: Packet) -> bool:
        """Return whether a packet shows that a later connection uses the ports of `connection`."""
        if packet.flags & (SYN | ACK) != SYN:
            return is_another(connection, packet)
        side = connection.first if packet.is_turned == connection.is_turned else connection.second
        return side.base != NO_BASE and side.base != packet.sequence

    def is_late(self, connection: Connection, packet: Packet) -> bool:
        """Return whether a packet comes so long after a connection's close that the packet belongs to a later connection."""
        if not connection.closed:
            return False
        late = packet.clock - connection.last_clock >= self.retention
        return late and packet.frame - connection.last_frame >= self.retained_packets

    def open(self, packet: Packet) -> Connection:
        """Return a new connection that begins with this packet."""
        if 2 * self.count == len(self.chains):
            self.grow()
        key = key_of(packet)
        is_promised = self.promises > 0 and key in self.promised
        number: i64 = self.promised_id(key) if is_promised else self.number_in_file(packet, key)
        connection = Connection(number, key)
        connection.addresses, connection.ports, connection.is_turned = packet.addresses, packet.ports, packet.is_turned
        self.count += 1
        self.held[bucket_of(packet)] += 1
        self.insert(connection)
        return connection

    def number(self, frame: i64) -> i64:
        """Return a new id for a connection that begins with this frame."""
        if self.share is not None:
            write_i64_le(self.share.opened, frame)
        self.next_id += 1
        return self.next_id - 1

    def follow_file(self, order: FileOrder) -> None:
        """Number connections in the order of the file from now on, although packets are read in time order."""
        self.in_file = {}
        self.after = order.packets
        for key, sequence, frame in order.opened:
            if self.share is None or self.share.has_key(key):
                ids = self.in_file.setdefault(key, OrderedDict())
                if sequence not in ids:
                    ids[sequence] = self.number(frame)

    def number_in_file(self, packet: Packet, key: bytes) -> i64:
        """Return the id of a connection that begins with this packet, according to the order of the file.

        If that order does not contain the connection, return a new id.
        """
        ids = None if self.in_file is None else self.in_file.get(canonical(key, packet))
        if not ids:
            return self.number(packet.frame + self.after)
        number: i64 = ids.pop(packet.sequence) if packet.sequence in ids else ids.popitem(last=False)[1]
        return number

    def promise(self, packet: Packet) -> None:
        """Reserve the next id for a connection that this packet will open after the present connection on its ports is over."""
        if self.promises >= limits.PROMISED.value:
            self.promised_id(next(iter(self.promised)))
            self.met.add(limits.PROMISED)
        self.promises += 1
        self.promised.setdefault(key_of(packet), []).append(self.number(packet.frame))

    def promised_id(self, key: bytes) -> i64:
        """Remove and return the first id that was reserved for a later connection between these endpoints."""
        ids = self.promised[key]
        number: i64 = ids.pop(0)
        self.promises -= 1
        if not ids:
            del self.promised[key]
        return number

    def insert(self, connection: Connection) -> None:
        """Add a connection to the chain of connections with the same hash."""
        chain = self.hash(connection.addresses, connection.ports)
        connection.next = self.chains[chain]
        self.chains[chain] = connection

    def grow(self) -> None:
        """Double the number of chains."""
        connections = self.open_connections()
        self.chains = [None] * (2 * len(self.chains))
        self.shift -= 1
        for connection in connections:
            self.insert(connection)

    def retire(self, connection: Connection) -> None:
        """Stop tracking a connection; a later packet between its endpoints opens a new connection."""
        self.count -= 1
        if connection.closed:
            self.closed -= 1
        self.held[bucket(connection.key)] -= 1
        chain = self.hash(connection.addresses, connection.ports)
        before = self.chains[chain]
        if before is connection:
            self.chains[chain] = connection.next
        while before is not None:
            if before.next is connection:
                before.next = connection.next
            before = before.next
        connection.next = None
        connection.is_followed = False
        self.retired.append(connection)

    def clear(self) -> None:
        """Drop all connections, after the end of the capture."""
        self.chains = [None] * FEWEST_CHAINS
        self.shift = HASHED - FEWEST_CHAINS.bit_length() + 1
        self.closing, self.closed_before = [], []
        self.closing_first = self.count = self.closed = 0

    def open_connections(self) -> list[Connection]:
        """Return the tracked connections, in the order of their ids."""
        found: list[Connection] = []
        for first in self.chains:
            connection = first
            while connection is not None:
                found.append(connection)
                connection = connection.next
        found.sort(key=connection_id)
        return found

    def keep_closed(self, connection: Connection) -> None:
        """Keep tracking a connection that has just closed, because packets may follow until its retention time is over."""
        self.closed += 1
        connection.queued_frame, connection.queued_clock = connection.last_frame, connection.last_clock
        if len(self.closing) >= self.most_closing:
            self.drop_retired()
        self.closing.append(connection)
        if self.due == NEVER_DUE:
            self.due = connection.last_clock + self.retention

    def drop_retired(self) -> None:
        """Remove retired connections from the queue of closed connections.

        A connection may be retired while it is still in this queue, because its ports are used again.
        """
        self.closing = [connection for connection in self.closing[self.closing_first :] if connection.is_followed]
        self.closing_first = 0
        self.most_closing = max(FEWEST_CHAINS, 2 * len(self.closing))

    def pass_time(self, frame: i64, clock: i64) -> None:
        """Retire closed connections whose retention time is over. Retire more connections if a hash bucket has too many.

        `frame` and `clock`: the frame number of the record that was read, and the latest time (ns) so far.
        """
        if clock >= self.due:
            self.expire(frame, clock)
        if frame == self.next_check:
            self.next_check += self.crowd_check
            if self.count > self.most:
                self.make_room()

    def expire(self, frame: i64, clock: i64) -> None:
        """Retire the closed connections whose retention time is over.

        The time at which a connection is retired does not depend on other connections.
        """
        closing, at, late = self.closing, self.closing_first, self.closed_before
        self.due = NEVER_DUE
        while at < len(closing):
            oldest = closing[at]
            if not self.is_over(oldest.queued_frame, oldest.queued_clock, frame, clock):
                break
            at += 1
            self.retire_closed(oldest, oldest.queued_frame)
        while late:
            last_frame, last_clock, connection = late[0]
            if not self.is_over(last_frame, last_clock, frame, clock):
                break
            heappop(late)
            self.retire_closed(connection, last_frame)
        if 2 * at > len(closing):
            del closing[:at]
            at = 0
        self.closing_first = at

    def is_over(self, last_frame: i64, last_clock: i64, frame: i64, clock: i64) -> bool:
        """Return whether a closed connection can be retired: enough time and frames have passed since its last packet.

        If not, ensure that the connection is checked again later.
        """
        if clock - last_clock >= self.retention and frame - last_frame >= self.retained_packets:
            return True
        self.due = min(self.due, max(last_clock + self.retention, clock))
        return False

    def retire_closed(self, connection: Connection, last_frame: i64) -> None:
        """Retire a closed connection; if it has had packets after frame `last_frame`, check it again later instead."""
        if not connection.closed or not connection.is_followed:
            return
        if connection.last_frame > last_frame:
            heappush(self.closed_before, (connection.last_frame, connection.last_clock, connection))
        else:
            self.retire(connection)

    def make_room(self) -> None:
        """If a hash bucket has too many connections, retire some: first closed connections, then those idle for longest."""
        crowded: dict[int, list[Connection]] = {number: [] for number, held in enumerate(self.held) if held > self.most}
        if not crowded:
            return
        for connection in self.open_connections():
            number = bucket(connection.key)
            if number in crowded:
                crowded[number].append(connection)
        over: list[Connection] = []
        for members in crowded.values():  # order the connections of each bucket by id
            members.sort(key=eviction_rank)
            over += members[: len(members) - self.most]
        over.sort(key=connection_id)
        for connection in over:
            self.retire(connection)
            if not connection.closed:
                self.met.add(limits.OPEN)


def connection_id(connection: Connection) -> int:
    """Return the id of a connection, to sort by it."""
    return connection.id


def eviction_rank(connection: Connection) -> int:
    """Return a sort key: if a hash bucket has too many connections, those with the smallest keys are dropped.

    Closed connections come first, then those idle for longest.
    """
    rank = max(connection.last_frame, 0)
    return rank if connection.closed else rank + CLOSED_FIRST


def is_of(packet: Packet, connection: Connection) -> bool:
    """Return whether an IPv6 packet has the addresses and ports of a connection, given that their hashes are equal."""
    key = key_of(packet)
    return connection.key == (key if packet.is_turned == connection.is_turned else reverse(key))


def secret_factor() -> i64:
    """Return a random odd number of 62 bits that an attacker cannot guess."""
    return int.from_bytes(os.urandom(8), "little") & MASK | 1


def bucket(key: bytes) -> i64:
    """Return the hash bucket of a connection, from 0 to BUCKETS - 1; the same for both directions."""
    size = len(key) - 4
    ports = u16(key, size) * u16(key, size + 2)
    if size == 8:
        mixed = u32(key, 0) ^ u32(key, 4) ^ ports
    else:
        mixed = ports
        at: i64 = 2
        while at < size:
            mixed ^= u16(key, at) << 32 | u32(key, at + 2)
            at += 8
    return spread(mixed)


def bucket_of(packet: Packet) -> i64:
    """Return the hash bucket of a packet's connection."""
    if packet.ports >= IPV6:
        return bucket(key_of(packet))
    addresses, ports = packet.addresses, packet.ports
    return spread((addresses >> 32 ^ addresses) & WORD ^ (ports >> 16) * (ports & 0xFFFF))


def spread(mixed: i64) -> i64:
    """Return the hash bucket for a number that combines the addresses and ports."""
    low, high = mixed & BITS_23, mixed >> 23 & BITS_23
    cross = (low * FACTOR_HIGH + high * FACTOR_LOW) & BITS_23
    return (low * FACTOR_LOW + (cross << 23)) >> 40 & (BUCKETS - 1)

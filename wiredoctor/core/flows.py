"""Which connection a packet belongs to, numbered as Wireshark numbers `tcp.stream`; and when a connection is forgotten.

A connection is a pair of endpoints. A SYN with another initial sequence number than its side is known to have opens a new one
(tshark 4.0, packet-tcp.c), and so does a packet that comes long after the last one of a closed connection.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.connection import Connection
from wiredoctor.core.octets import BytesWriter, write_i64_le
from wiredoctor.core.packet import Packet
from wiredoctor.core.segment import NEVER
from wiredoctor.core.unsigned import u16, u32
from wiredoctor.limits import Met

SYN: Final = 0x02
SYN_AND_ACK: Final = 0x12
NEVER_DUE: Final = 1 << 62

BUCKETS: Final = 64
"""Parts of the connections, as in scan.BUCKETS: a process has whole ones, and open connections are counted in each."""
FACTOR_LOW: Final = 0x9E3779B97F4A7C15 & 0x7FFFFF
FACTOR_HIGH: Final = 0x9E3779B97F4A7C15 >> 23 & 0x7FFFFF
"""Bits 0 to 22 and 23 to 45 of the factor of scan.bucket."""
BITS_23: Final = 0x7FFFFF
CLOSED_FIRST: Final = 1 << 61


class Closing:
    """A closed connection that is kept for late packets, and its last packet when it was queued."""

    def __init__(self, connection: Connection) -> None:
        self.connection: Connection = connection
        self.frame: i64 = connection.last_frame
        self.clock: i64 = connection.last_clock


class Share:
    """The connections that one of several processes follows: those of every `count`th bucket."""

    def __init__(self, number: i64, count: i64) -> None:
        self.number: i64 = number
        self.count: i64 = count
        self.opened: BytesWriter = BytesWriter()
        """The frame in which each connection began, by id, as little-endian 64-bit integers."""

    def has(self, key: bytes) -> bool:
        """Return whether the connection with this packet.key belongs to the share."""
        return bucket(key) % self.count == self.number


class Flows:
    """The connections that are followed. `retired` collects those that are over; the loop empties it."""

    def __init__(self, met: Met, share: Share | None = None) -> None:
        self.share: Share | None = share
        self.connections: dict[bytes, Connection] = {}
        """By packet.key; the key of a direction is entered when its first packet comes."""
        self.next_id: i64 = 0
        self.held: list[int] = [0] * BUCKETS
        """Connections of each bucket."""
        self.count: i64 = 0
        self.closed: i64 = 0
        """How many of the connections are closed, and only kept for late packets."""
        self.retired: list[Connection] = []
        self.closing: list[Closing] = []
        self.closing_first: i64 = 0
        """Index of the first of them that is still kept."""
        self.closed_before: list[tuple[int, int, Connection]] = []
        """Closed connections with later packets than when they were queued: last frame, its clock, a heap."""
        self.due: i64 = NEVER_DUE
        """The watermark at which it may be forgotten."""
        self.met: Met = met
        self.retention: i64 = limits.RETENTION.value
        self.retained_packets: i64 = limits.RETAINED_PACKETS.value
        self.crowd_check: i64 = limits.CROWD_CHECK.value
        self.next_check: i64 = self.crowd_check
        """The frame after which connections are counted."""
        self.most: i64 = max(limits.OPEN.value // BUCKETS, 1)
        """Connections that a bucket may hold."""

    def find(self, packet: Packet) -> Connection:
        """Return the connection of a packet; open it if the packet is its first."""
        connection = self.connections.get(packet.key)
        if connection is None:
            connection = self.connections.get(reverse(packet.key))
            if connection is None:
                return self.open(packet)
            self.connections[packet.key] = connection
        if packet.is_quoted or not (packet.flags & SYN_AND_ACK == SYN or connection.closed):
            return connection
        if self.begins_again(connection, packet):
            self.retire(connection)
            return self.open(packet)
        return connection

    def begins_again(self, connection: Connection, packet: Packet) -> bool:
        """Return whether a packet opens a new connection on the ports of this one."""
        if packet.flags & SYN_AND_ACK == SYN:
            side = connection.first if packet.key == connection.key else connection.second
            if side.has_base and side.base != packet.sequence:
                return True
        if not connection.closed:
            return False
        late = packet.clock - connection.last_clock >= self.retention
        return late and packet.frame - connection.last_frame >= self.retained_packets

    def open(self, packet: Packet) -> Connection:
        """Return a new connection, which begins with this packet."""
        connection = Connection(self.next_id, packet.key)
        connection.bucket = bucket(packet.key)
        if self.share is not None:
            write_i64_le(self.share.opened, packet.frame)
        self.next_id += 1
        self.count += 1
        self.held[connection.bucket] += 1
        self.connections[packet.key] = connection
        return connection

    def retire(self, connection: Connection) -> None:
        """Forget a connection; its next packet opens a new one."""
        self.count -= 1
        if connection.closed:
            self.closed -= 1
        self.held[connection.bucket] -= 1
        del self.connections[connection.key]
        backward = reverse(connection.key)
        if backward != connection.key and backward in self.connections:
            del self.connections[backward]
        self.retired.append(connection)

    def open_connections(self) -> list[Connection]:
        """Return the connections that are followed, in the order of their ids."""
        found = [connection for key, connection in self.connections.items() if key == connection.key]
        found.sort(key=connection_id)
        return found

    def of_ids(self, ids: set[int]) -> list[Connection]:
        """Return the connections with these ids, as far as they are followed."""
        found: list[Connection] = []
        for key, connection in self.connections.items():
            if connection.id in ids and key == connection.key:
                found.append(connection)
        return found

    def is_followed(self, connection: Connection) -> bool:
        """Return whether the connection is not retired."""
        return self.connections.get(connection.key) is connection

    def keep_closed(self, connection: Connection) -> None:
        """Keep a connection that has just closed for late packets; it is forgotten when its retention is over."""
        self.closed += 1
        self.closing.append(Closing(connection))
        if self.due == NEVER_DUE:
            self.due = connection.last_clock + self.retention

    def pass_time(self, frame: i64, clock: i64) -> None:
        """Forget connections after a record: those whose retention is over, and the longest silent ones if too many are open."""
        if clock >= self.due:
            self.expire(frame, clock)
        if frame == self.next_check:
            self.next_check += self.crowd_check
            if self.count > self.most:
                self.make_room()

    def expire(self, frame: i64, clock: i64) -> None:
        """Retire closed connections whose retention is over: each at the same record, whatever other connections there are."""
        closing, at, late = self.closing, self.closing_first, self.closed_before
        self.due = NEVER_DUE
        while at < len(closing):
            oldest = closing[at]
            if not self.is_over(oldest.frame, oldest.clock, frame, clock):
                break
            at += 1
            self.retire_closed(oldest.connection, oldest.frame)
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
        """Return whether the retention of a closed connection with this last packet is over; note when it is, if it is not."""
        if clock - last_clock >= self.retention and frame - last_frame >= self.retained_packets:
            return True
        self.due = min(self.due, max(last_clock + self.retention, clock))
        return False

    def retire_closed(self, connection: Connection, last_frame: i64) -> None:
        """Retire a closed connection unless it has had later packets than this one."""
        if not connection.closed or not self.is_followed(connection):
            return
        if connection.last_frame > last_frame:
            heappush(self.closed_before, (connection.last_frame, connection.last_clock, connection))
        else:
            self.retire(connection)

    def make_room(self) -> None:
        """Retire the longest silent connections of buckets that hold too many, closed ones first."""
        crowded: dict[int, list[Connection]] = {}
        for number, held in enumerate(self.held):
            if held > self.most:
                crowded[number] = []
        if not crowded:
            return
        for key, connection in self.connections.items():
            if connection.bucket in crowded and key == connection.key:
                crowded[connection.bucket].append(connection)
        over: list[Connection] = []
        for members in crowded.values():  # each in order of ids
            members.sort(key=eviction_rank)
            over += members[: len(members) - self.most]
        over.sort(key=connection_id)
        for connection in over:
            self.retire(connection)
            if not connection.closed:
                self.met.add(limits.OPEN)


def connection_id(connection: Connection) -> int:
    """Return the id by which connections are ordered."""
    return connection.id


def eviction_rank(connection: Connection) -> int:
    """Return the rank by which connections of a crowded bucket are given up."""
    rank: i64 = 0
    if connection.last_frame != NEVER:
        rank = connection.last_frame
    return rank if connection.closed else rank + CLOSED_FIRST


def reverse(key: bytes) -> bytes:
    """Return the key of the other direction."""
    if len(key) == 12:
        return key[4:8] + key[:4] + key[10:] + key[8:10]
    return key[16:32] + key[:16] + key[34:] + key[32:34]


def bucket(key: bytes) -> i64:
    """Return the bucket of a connection, which both directions have in common: scan.bucket in 64-bit arithmetic.

    That is bits 40 to 45 of a product modulo 2**64, which depend on the low 46 bits of both factors.
    """
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
    low, high = mixed & BITS_23, mixed >> 23 & BITS_23
    cross = (low * FACTOR_HIGH + high * FACTOR_LOW) & BITS_23
    return (low * FACTOR_LOW + (cross << 23)) >> 40 & (BUCKETS - 1)

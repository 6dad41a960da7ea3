"""Recognize connections that were captured before and after address translation (NAT). The second capture (leg) is not analyzed.

A capture on all interfaces of a router or of a host with containers has each packet of such a connection twice, with different
addresses. NAT in a kernel keeps the initial sequence number, the window, the timestamps and the IPv4 identification. A proxy
opens a connection of its own, with other random numbers, and only after it has answered the client's SYN.

So a connection is the second leg of an earlier connection (the first leg) if its SYN equals the earlier SYN, has a lower TTL, and
follows within 100 ms, before a SYN-ACK of the first leg. Equal timestamps prove this at once: two connections have the same
sequence number and TSval only by chance. Without timestamps, both SYN-ACKs must also have the same sequence number. The SYN-ACK
of the second leg is captured first, because it is translated on its way back.

The first leg is kept, because its client is the host whose logs and users report the problem. In the second leg, all clients of a
masquerading router have the same address. Nothing is lost without the second leg: both legs have the same packets, and the
router usually adds less than a millisecond.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.capture.packet import WORD, Packet, key_of, reverse
from wiredoctor.core.tcp.connection import Close, Connection, oddities_of
from wiredoctor.core.tcp.segment import ACK, FIN, NEVER, RST

WITHIN: Final = 100_000_000
"""The maximum time in ns between the SYNs of both legs."""
ANSWERED: Final = 1_000_000_000
"""The maximum time in ns from the second leg's SYN to its proof. In this time, no SYN is repeated and no rule judges the leg."""
SLOTS: Final = 4096
"""The number of recent SYNs that are kept, by the sequence numbers of the SYN and of the last byte of its data.

If several SYNs share a slot, the newest is kept.
"""
MOST_PENDING: Final = 1024
"""The maximum number of SYNs without timestamps for which equal SYN-ACKs are awaited."""
MOST_LEGS: Final = 8
"""The maximum number of legs of one SYN; two translations are common, and each SYN may itself be captured several times."""
MOST_NAMED: Final = 64
"""The maximum number of servers whose translation is counted by name."""


@mypyc_attr(acyclic=True)
class SeenSyn:
    """A recent SYN. `key`: its addresses and ports (packet.key_of).

    `connection`: the connection that the SYN opened, or None if another process analyzes that connection.
    """

    def __init__(self) -> None:
        self.sequence: i64 = -1
        self.end: i64 = -1
        """The sequence number of the last byte of the SYN's data, or of the SYN if it has no data."""
        self.time: i64 = 0
        self.stamp: i64 = NEVER
        self.window: i64 = 0
        self.window_shift: i64 = 0
        self.ttl: i64 = 0
        self.ip_id: i64 = -1
        self.key: bytes = b""
        self.connection: Connection | None = None

    def fill(self, packet: Packet, key: bytes) -> None:
        """Copy the properties of a SYN, with `key` as its addresses and ports."""
        self.sequence, self.time, self.stamp = packet.sequence, packet.time, packet.stamp
        self.window, self.window_shift, self.ip_id = packet.window, packet.window_shift, packet.ip_id
        self.end = packet.sequence + packet.length & WORD
        self.ttl = packet.ttl
        self.key = key
        self.connection = None

    def is_alike(self, packet: Packet) -> bool:
        """Return whether a packet may be this SYN after address translation. The MSS is not compared: routers reduce it.

        A router that translates also forwards, so the TTL must be lower. In generated traffic, all other numbers are often equal.
        """
        if self.sequence != packet.sequence or self.stamp != packet.stamp or self.window != packet.window:
            return False
        if self.window_shift != packet.window_shift or not -WITHIN <= packet.time - self.time <= WITHIN:
            return False
        has_same_id = self.ip_id == packet.ip_id or self.ip_id < 0 or packet.ip_id < 0  # IPv6 has none
        return packet.ttl < self.ttl and has_same_id


@mypyc_attr(acyclic=True)
class Leg:
    """A connection that may be the second leg of another one. `first_key`, `key`: the addresses and ports of the first and the
    second leg, as in their SYNs. `first`, `second`: the connections of both legs; None if another process analyzes them.
    """

    def __init__(self, first: SeenSyn, key: bytes, time: i64) -> None:
        self.first_key: bytes = first.key
        self.first: Connection | None = first.connection
        self.key: bytes = key
        self.second: Connection | None = None
        self.time: i64 = time
        self.first_answer: i64 = -1
        """The sequence number of the SYN-ACK of the first leg; -1 until it comes."""
        self.answer: i64 = -1
        self.is_proved: bool = False


class Translation:
    """Finds second legs. Each process reads all SYNs, because the two legs may belong to the shares of two processes."""

    def __init__(self) -> None:
        self.syns: list[SeenSyn | None] = [None] * SLOTS
        self.pending: OrderedDict[int, list[Leg]] = OrderedDict()
        """Legs that are not proved yet. The key is the number that their SYN-ACKs acknowledge, minus 1."""
        self.syn: SeenSyn | None = None
        """The current SYN, unless it may open a second leg."""
        self.leg: Leg | None = None
        """The leg that the current SYN may open."""
        self.servers: dict[tuple[bytes, bytes], int] = {}
        """The number of second legs, by the server's endpoints before and after NAT (`end_of`).

        Servers beyond the first MOST_NAMED are counted together, with empty endpoints.
        """

    def read(self, packet: Packet) -> None:
        """Read a SYN or SYN-ACK of any connection. If this process analyzes the connection, the caller must call `enter` next."""
        self.syn = self.leg = None
        if packet.flags & ACK:
            self.read_answer(packet)
            return
        slot = packet.sequence & (SLOTS - 1)
        syn, key = self.syns[slot], key_of(packet)
        if syn is None or syn.key == key or not syn.is_alike(packet):
            if syn is None or packet.length > 0 or syn.end != syn.sequence:  # a SYN with data has two slots
                syn = SeenSyn()
            syn.fill(packet, key)
            self.syn = self.syns[slot] = self.syns[syn.end & (SLOTS - 1)] = syn
            return
        self.leg = leg = Leg(syn, key, packet.time)
        if packet.stamp > 0:
            prove(leg, packet.time)
        else:
            self.wait(leg, packet.sequence)
            if syn.end != syn.sequence:
                self.wait(leg, syn.end)  # a SYN-ACK may acknowledge data of the SYN (RFC 7413)

    def wait(self, leg: Leg, sequence: i64) -> None:
        """Wait for the SYN-ACKs of a leg without timestamps. Their acknowledgment number is `sequence` + 1."""
        if sequence not in self.pending and len(self.pending) >= MOST_PENDING:
            self.pending.popitem(last=False)
        legs = [one for one in self.pending.get(sequence, []) if not one.is_proved and leg.time - one.time <= ANSWERED]
        if len(legs) < MOST_LEGS:
            legs.append(leg)
        self.pending[sequence] = legs

    def read_answer(self, packet: Packet) -> None:
        """Read a SYN-ACK. A SYN that is captured later opens no second leg of the SYN-ACK's connection."""
        sequence = packet.acknowledgment - 1 & WORD
        syn = self.syns[sequence & (SLOTS - 1)]
        if syn is not None and (syn.sequence == sequence or syn.end == sequence):
            syn.sequence = -1
            syn.connection = None
        if not self.pending or sequence not in self.pending:
            return
        key = reverse(key_of(packet))
        for leg in self.pending[sequence]:
            if leg.first_key == key:
                leg.first_answer = packet.sequence
            if leg.key == key and leg.first_answer < 0:
                leg.answer = packet.sequence
            if leg.answer >= 0 and leg.answer == leg.first_answer and packet.time - leg.time <= ANSWERED and not leg.is_proved:
                prove(leg, NEVER)  # an earlier SYN, which was not answered, may have been captured after translation, too
                self.leave_out(leg)

    def enter(self, connection: Connection, packet: Packet) -> None:
        """Store the connection of the current SYN. If the SYN is proved to open a second leg, mark the connection as such."""
        if self.syn is not None:
            self.syn.connection = connection
        leg = self.leg
        if leg is None:
            return
        leg.second = connection
        if leg.is_proved:
            own = connection.first if packet.is_turned == connection.is_turned else connection.second
            own.base = packet.sequence  # shows later that the ports are used again
            self.leave_out(leg)

    def leave_out(self, leg: Leg) -> None:
        """Mark and count the connection of a proved second leg, unless another process analyzes it."""
        if leg.second is None or is_second_leg(leg.second):
            return
        oddities_of(leg.second).is_second_leg = True
        servers = end_of(leg.first_key), end_of(leg.key)
        if servers not in self.servers and len(self.servers) >= MOST_NAMED:
            servers = b"", b""
        self.add({servers: 1})

    def add(self, servers: dict[tuple[bytes, bytes], int]) -> None:
        """Add, for each pair of servers, the number of connections that were captured after address translation, too."""
        for pair, count in servers.items():
            self.servers[pair] = self.servers.get(pair, 0) + count


def prove(leg: Leg, time: i64) -> None:
    """Record that a leg is proved, and store its addresses and ports in the connection of the first leg.

    `time`: the time of the SYN of the second leg if no earlier one can have been captured, otherwise NEVER.
    """
    leg.is_proved = True
    if leg.first is not None:
        oddities = oddities_of(leg.first)
        if oddities.translated is None:
            oddities.translated_time = time
        oddities.translated = leg.key


def is_second_leg(connection: Connection) -> bool:
    """Return whether a connection is the second leg of another one: the same connection, captured after address translation."""
    return connection.oddities is not None and connection.oddities.is_second_leg


def end_of(key: bytes) -> bytes:
    """Return the address and port of the destination in `key`."""
    size = (len(key) - 4) // 2
    return key[size : 2 * size] + key[-2:]


def follow_close(connection: Connection, packet: Packet) -> bool:
    """Note a packet of a second leg. Return whether it closes the leg: it is an RST, or both sides have now sent a FIN."""
    connection.last_frame, connection.last_clock = packet.frame, packet.clock
    own, peer = connection.sides(0 if packet.is_turned == connection.is_turned else 1)
    if packet.flags & FIN and own.close is None:
        own.close = Close()
    is_closed = packet.flags & RST != 0 or (own.close is not None and peer.close is not None)
    if connection.closed or not is_closed:
        return False
    connection.closed = True
    return True

"""Parse ICMP and ICMPv6 errors that quote a TCP header, and find the connections to which the quoted packets belong."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.capture.icmp_message import Message
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.capture.packet_readers import PacketReader
from wiredoctor.core.rows.cells import pack_cells
from wiredoctor.core.tcp.connection import NO_BASE, Connection, Side, SynError, waits_of
from wiredoctor.core.tcp.flows import Flows
from wiredoctor.core.tcp.numbers import wrap
from wiredoctor.core.tcp.segment import NEVER, SYN
from wiredoctor.core.tcp.translation import is_second_leg
from wiredoctor.core.tcp.waits import DataError
from wiredoctor.limits import LimitsReached

ICMP_ERRORS: Final = (
    *("frame", "time", "address_bytes", "router_high", "router_low", "ip_version", "type", "code", "mtu", "connection"),
    *("direction", "offset", "syn"),
)
"""The column names of `icmp_errors`, in the order in which they are written."""

UNKNOWN: Final = "ICMP error about a connection that is not in the capture"
"""The reason why an ICMP error is not analyzed if the quoted packet belongs to no captured connection.

The quoted packet took another path, or a NAT changed its addresses before it reached the sender of the error.
"""

SOURCE_QUENCH: Final = 4
"""The ICMP type Source Quench, which does not report a failure (RFC 6633)."""


class IcmpErrors(PacketReader):
    """Writes the table `icmp_errors`. The rows about a connection are written when the connection ends.

    `message`: the current ICMP error, as `Headers` has read it.
    """

    def __init__(self, met: LimitsReached, flows: Flows, message: Message) -> None:
        super().__init__(len(ICMP_ERRORS))
        self.flows: Flows = flows
        self.message: Message = message
        self.met: LimitsReached = met
        self.waiting: dict[int, list[bytes]] = {}
        """The rows of open connections, by connection id."""
        self.most: i64 = limits.ICMP_ERRORS.value
        self.unknown: i64 = 0
        """The number of errors that quote no captured connection."""

    def read(self, packet: Packet) -> i64:
        """Record an ICMP error that quotes only a part of a TCP header. Return the connection's id, or NEVER if unknown."""
        connection = self.flows.look_up(packet)
        if connection is None or not is_second_leg(connection):
            self.add(packet, connection, False)
        return i64(NEVER) if connection is None else connection.id

    def add(self, packet: Packet, connection: Connection | None, flags_known: bool) -> None:
        """Add an error that quotes the TCP header in `packet`.

        `connection` is None if no connection has the quoted addresses and ports. `flags_known` is false if the quote ends before
        the flags of the TCP header.
        """
        message = self.message
        direction: i64 = -1
        offset: i64 = NEVER
        syn = False
        if connection is not None and connection.first_frame != NEVER:
            direction = i64(0) if packet.is_turned == connection.is_turned else i64(1)
            own = connection.first if direction == 0 else connection.second
            syn = is_syn(own, packet, flags_known)
            offset = i64(0) if syn else offset_of(own, packet)
            if syn:
                note_syn(connection, direction, packet, message)
            elif offset != NEVER:
                peer = connection.second if direction == 0 else connection.first
                note_error(own, peer.acknowledged, offset, packet, message)
        cells = pack_cells(
            [
                *(packet.frame, packet.time, message.address_bytes, message.high, message.low),
                *(4 if message.address_bytes == 4 else 6, message.type, message.code, message.mtu),
                *(i64(NEVER) if connection is None else connection.id, direction, offset, int(syn)),
            ]
        )
        if connection is None:
            self.unknown += 1
            self.rows.begin().write(cells)
            return
        waiting = self.waiting.setdefault(connection.id, [])
        if len(waiting) >= self.most:
            self.met.add(limits.ICMP_ERRORS)
        else:
            waiting.append(cells)

    def end(self, connection: Connection) -> None:
        """Write the ICMP errors about a connection that has ended."""
        waiting = self.waiting.pop(connection.id, [])
        if connection.first_frame == NEVER:
            self.unknown += len(waiting)
        for cells in waiting:
            self.rows.begin().write(cells)


def is_syn(own: Side, packet: Packet, flags_known: bool) -> bool:
    """Return whether a quoted TCP header is a side's SYN. If the flags are not quoted, the sequence number decides."""
    if own.syn is None or packet.sequence != own.base:
        return False
    return packet.flags & SYN != 0 or not flags_known


def note_syn(connection: Connection, direction: i64, packet: Packet, message: Message) -> None:
    """Keep the first ICMP error about the client's SYN."""
    handshake = connection.handshake
    if handshake is None or handshake.error is not None or direction != connection.client:
        return
    if message.address_bytes == 4 and message.type == SOURCE_QUENCH:
        return
    handshake.error = SynError(packet.frame, packet.time, message.type, message.code, message.high, message.low)


def note_error(own: Side, acknowledged: i64, offset: i64, packet: Packet, message: Message) -> None:
    """Keep an ICMP error about unacknowledged data of a side if it is the first error, or the first with an MTU.

    `offset`: the stream offset of that data. `acknowledged`: the offset up to which the peer has acknowledged.
    """
    if message.address_bytes == 4 and message.type == SOURCE_QUENCH:
        return
    waits = waits_of(own)
    before = waits.error
    if before is not None and before.offset >= acknowledged and (before.mtu != NEVER or message.mtu == NEVER):
        return
    error = waits.error = DataError(packet.frame, packet.time, offset)
    error.type, error.code, error.mtu = message.type, message.code, message.mtu
    error.address_bytes, error.high, error.low = message.address_bytes, message.high, message.low


def offset_of(own: Side, packet: Packet) -> i64:
    """Return the stream offset of the sequence number that an ICMP error quotes, or NEVER if the stream's beginning is unknown.

    Sequence numbers repeat every 4 GiB, so the result is the possible offset that is nearest to the side's newest data.
    """
    if own.base == NO_BASE:
        return NEVER
    return own.sequence + wrap(packet.sequence - own.base - 1 - own.sequence)

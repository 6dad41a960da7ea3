"""Find segments that a program wrote to several receivers at the same time, such as the audio chunks of a conference.

The program chose when to write, so a segment of this kind did not wait for an ACK, even if it follows a delayed ACK by chance.
The evidence is a segment of the same length that the same host sent to another receiver at the same time. No ACK released that
other segment, because its receiver had sent nothing for a while.

Different processes may analyze the two connections, so each process watches the packets of all connections. It watches them only
while the ACK of a small segment is due, because only then may a later segment have waited for an ACK.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import IPV6, NAMED, WORD, Packet
from wiredoctor.core.octets import read_i64_be
from wiredoctor.core.tcp.acks import add_round_trips
from wiredoctor.core.tcp.segment import FOREVER, MILLISECOND, NEVER, Segment
from wiredoctor.core.tcp.waits import HeldRelease, Write

TOGETHER: Final = MILLISECOND // 2
"""The maximum time in ns between segments that a program wrote at the same time; it is long enough for many receivers."""
QUIET: Final = 5 * MILLISECOND
"""If a segment follows the peer's last packet by at least this many ns, no ACK released it (kernels react within 0.5 ms)."""
MARGIN: Final = 4 * MILLISECOND
"""The time in ns for which packets are watched after the last possible arrival of a delayed ACK."""
SLOTS: Final = 1 << 15
"""The number of entries in Broadcasts.newest.

Several directions may share an entry. A segment may then seem to follow a packet of its peer, and does not count as evidence.
"""
STEP: Final = MILLISECOND // 2
"""Recorded packet times are rounded up by this many ns, so later packets within this time need not be recorded."""
KINDS: Final = 256
"""The number of entries in Broadcasts.writes. If several segments share an entry, the newest is kept."""
MAX_HELD: Final = 64
"""The maximum number of segments with a held row of `releases` (HeldRelease) that are compared with later segments."""


class Broadcasts:
    """Watches the packets of all connections while the ACK of a small segment is due (`expect_ack`)."""

    def __init__(self) -> None:
        self.until: i64 = NEVER
        """The watermark up to which `note` must be called for each segment."""
        self.newest: list[int] = []
        """For each direction of a connection (`slot`), the time of its newest packet, rounded up by at most STEP.

        The list is empty until a packet is watched.
        """
        self.writes: list[Write | None] = [None] * KINDS
        """The newest segments that no ACK released, each at the index `kind_of`."""
        self.held: list[Write] = []
        """The segments of the last TOGETHER ns whose rows of `releases` are held (HeldRelease)."""

    def expect_ack(self, packet: Packet, segment: Segment, longest: i64) -> None:
        """Watch packets until the delayed ACK of a small segment must have arrived. `longest`: the maximum ACK delay in ns."""
        if segment.rtt_own == NEVER or segment.rtt_peer == NEVER:
            return
        until = packet.clock + longest + add_round_trips(segment.rtt_own, segment.rtt_peer) + MARGIN
        if until > self.until:
            self.until = until
            if not self.newest:
                self.newest = [NEVER] * SLOTS

    def note(self, packet: Packet) -> None:
        """Record a packet. If no ACK released its data, drop held rows about equal segments to other receivers (`is_copy`)."""
        at = slot(packet)
        known: i64 = self.newest[at]
        if not known - STEP <= packet.time <= known:  # record the time also if the clock was set back
            self.newest[at] = packet.time + STEP
        if packet.length == 0:
            return
        answered: i64 = self.newest[at ^ 1]
        quiet: i64 = FOREVER if answered == NEVER else packet.time - answered
        if quiet < QUIET:
            return
        write = write_of(packet, quiet)
        self.writes[kind_of(write)] = write
        if not self.held:
            return
        self.held = [one for one in self.held if is_near(one, write)]
        for one in self.held:
            if one.held is not None and is_copy(write, one):
                one.held.is_over = True

    def has_copy(self, packet: Packet, segment: Segment) -> bool:
        """Return whether a segment's sender just sent the same number of bytes to another receiver without waiting for an ACK."""
        written = write_of(packet, QUIET + segment.rtt_own)
        one = self.writes[kind_of(written)]
        return one is not None and is_near(one, written) and is_copy(one, written)

    def watch(self, held: HeldRelease, packet: Packet, segment: Segment) -> None:
        """Let `note` drop the held row about a segment if its sender soon sends the same number of bytes to another receiver."""
        written = write_of(packet, QUIET + segment.rtt_own)
        written.held = held
        self.held = [*self.held[1 - MAX_HELD :], written]


def slot(packet: Packet) -> i64:
    """Return the index of a packet's direction in Broadcasts.newest; the other direction has the index `slot ^ 1`."""
    addresses = packet.addresses
    if packet.ports & IPV6:  # `Packet.addresses` differs in each run, but a report must not
        addresses = xor_pair(packet.block, packet.key_at) ^ xor_pair(packet.block, packet.key_at + 16)
    mixed = addresses ^ addresses >> 29 ^ packet.ports ^ packet.ports >> 16
    return (mixed << 1 & SLOTS - 2) + (1 if packet.is_turned else 0)


def host_of(packet: Packet) -> i64:
    """Return a number for the address of a packet's sender."""
    if packet.ports & IPV6 == 0:
        return (packet.addresses if packet.is_turned else packet.addresses >> 32) & WORD
    return xor_pair(packet.block, packet.key_at) & NAMED


def xor_pair(block: bytes, at: i64) -> i64:
    """Return the exclusive or of both halves of the IPv6 address at block[at:]."""
    return read_i64_be(block, at) ^ read_i64_be(block, at + 8)


def write_of(packet: Packet, quiet: i64) -> Write:
    """Return the description of a segment with data. `quiet`: the value of Write.quiet in ns."""
    return Write(host_of(packet), packet.addresses, packet.ports, packet.length, packet.time, quiet)


def kind_of(write: Write) -> i64:
    """Return a segment's index in Broadcasts.writes, computed from its host and length."""
    mixed = write.host ^ write.host >> 16 ^ write.host >> 8 ^ write.length ^ write.length >> 8
    return mixed & KINDS - 1


def is_near(one: Write, other: Write) -> bool:
    """Return whether two segments were captured at most TOGETHER ns apart."""
    return -TOGETHER <= other.time - one.time <= TOGETHER


def is_copy(one: Write, written: Write) -> bool:
    """Return whether `one`, which no ACK released, has the same host and length as `written`, but is on another connection."""
    is_other = one.addresses != written.addresses or one.ports != written.ports
    return is_other and one.host == written.host and one.length == written.length and one.quiet >= written.quiet

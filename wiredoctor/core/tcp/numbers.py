"""Convert sequence and acknowledgment numbers to 64-bit stream offsets; all other modules use offsets."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.tcp.connection import NO_BASE, Side
from wiredoctor.core.tcp.segment import ACK, NEVER, RST, SYN, Segment

JUMP: Final = 1 << 30
"""The maximum distance in bytes between valid sequence numbers: no window is larger (RFC 7323 section 2.2)."""


def number(own: Side, peer: Side, packet: Packet, segment: Segment) -> None:
    """Set the stream offset of a segment and the offset that it acknowledges.

    An RST does not change the newest numbers of its side, because the host that sends it may have lost the state of the
    connection. If a side has sent only RSTs before its SYN, the SYN shows where its stream begins.
    """
    syn: i64 = 0
    if packet.flags & SYN:
        syn = 1
    leads = packet.flags & RST == 0
    if own.base == NO_BASE or (syn == 1 and own.reached == NEVER):
        own.base = (packet.sequence - 1 + syn) & 0xFFFFFFFF
    offset, own.sequence, own.sequence_jump = unwrap(packet.sequence, own.base, own.sequence, own.sequence_jump, leads)
    segment.offset = offset + syn
    segment.ack = NEVER
    if packet.flags & ACK:
        if peer.base == NO_BASE:
            peer.base = (packet.acknowledgment - 1) & 0xFFFFFFFF
        segment.ack, own.acknowledgment, own.acknowledgment_jump = unwrap(
            packet.acknowledgment, peer.base, own.acknowledgment, own.acknowledgment_jump, leads
        )


def unwrap(number: i64, base: i64, newest: i64, jump: i64, leads: bool) -> tuple[i64, i64, i64]:
    """Return the stream offset of a sequence or acknowledgment number, and the next values of `newest` and `jump`.

    Numbers are modulo 2**32 (RFC 9293 section 3.4); of the possible offsets, the one nearest to `newest` is returned. An offset
    far from `newest` is first only stored as `jump`. If the next offset is near `jump`, `jump` replaces `newest`.

    `base`: the number before offset 0. `jump`: NEVER if no offset is stored. `leads`: the packet may change `newest`.
    """
    step = wrap(number - base - 1 - newest)
    offset = newest + step
    is_far = step > JUMP or step < -JUMP
    if leads and not is_far:
        return offset, offset, NEVER
    if is_far and jump != NEVER:
        step = wrap(number - base - 1 - jump)
        if -JUMP <= step <= JUMP:
            newest, offset, is_far = jump, jump + step, False
    if not leads:
        return offset, newest, jump
    if is_far:
        return offset, newest, offset
    return offset, offset, NEVER


def wrap(difference: i64) -> i64:
    """Return the difference of two 32-bit numbers as a signed 32-bit number, from -2**31 to 2**31 - 1."""
    return ((difference + 0x80000000) & 0xFFFFFFFF) - 0x80000000

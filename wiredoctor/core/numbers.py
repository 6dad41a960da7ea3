"""Sequence and acknowledgment numbers as 64-bit stream offsets. No other module sees 32 bits."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.connection import NO_BASE, Side
from wiredoctor.core.packet import Packet
from wiredoctor.core.segment import ACK, NEVER, RST, SYN, Segment

JUMP: Final = 1 << 30
"""Bytes. No window is larger (RFC 7323 section 2.2), so no honest sender gets further ahead."""


def number(own: Side, peer: Side, packet: Packet, segment: Segment) -> None:
    """Set the offsets of a segment. An RST does not move its side: whoever sends it may have forgotten the connection."""
    syn: i64 = 0
    if packet.flags & SYN:
        syn = 1
    leads = packet.flags & RST == 0
    if own.base == NO_BASE:
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
    """Return the offset of a number nearest to the newest one (RFC 9293 section 3.4: modulo 2**32), and `newest` and `jump`
    after it. A jump far away is not followed until a second number agrees with it."""
    step = wrapped(number - base - 1 - newest)
    offset = newest + step
    is_far = step > JUMP or step < -JUMP
    if leads and not is_far:
        return offset, offset, NEVER
    if is_far and jump != NEVER:
        step = wrapped(number - base - 1 - jump)
        if -JUMP <= step <= JUMP:
            newest, offset, is_far = jump, jump + step, False
    if not leads:
        return offset, newest, jump
    if is_far:
        return offset, newest, offset
    return offset, offset, NEVER


def wrapped(difference: i64) -> i64:
    """Return a difference of 32-bit numbers, between -2**31 and 2**31 - 1."""
    return ((difference + 0x80000000) & 0xFFFFFFFF) - 0x80000000

"""GRE and what its protocol types lead to, one packet at a time."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from wiredoctor.decode.general_dpkt import gre_base
from wiredoctor.decode.general_ethernet import ether_type, ethernet
from wiredoctor.decode.general_network import ipv4
from wiredoctor.decode.general_wifi import wifi
from wiredoctor.decode.protocol_numbers import ARUBA, ERSPAN_MIRROR
from wiredoctor.decode.reasons import CUT_IP, type_reason

if TYPE_CHECKING:
    from wiredoctor.decode.packet import Packet, Step

_CHECKSUM, _ROUTING, _KEY, _SEQUENCE, _ACK, _VERSION = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080, 0x0007


def gre(packet: Packet) -> Step | str:
    """RFC 2784, RFC 2890, and version 1 of RFC 2637 (PPTP)."""
    header = gre_base(packet)
    if header is None:
        return CUT_IP
    flags, type_ = header
    packet.passed(type_)
    if flags & (_CHECKSUM | _ROUTING):
        packet.at += 4
    if flags & _KEY:
        if not flags & _VERSION and packet.has(4):  # in version 1 it has the length of the payload
            packet.passed(int.from_bytes(packet.peek(4)))
        packet.at += 4
    packet.at += 4 * bool(flags & _SEQUENCE) + 4 * bool(flags & _ACK)
    if flags & _ROUTING and not _routes(packet):
        return "GRE"
    if not packet.has(1):
        return "GRE"
    return _inside(packet, type_, flags)


def _routes(packet: Packet) -> bool:
    """RFC 1701: source routes, of which the last is empty. Whether they end."""
    while packet.has(4):
        family, _, size = struct.unpack(">HBB", packet.take(4))
        packet.at += size
        if not family and not size:
            return True
    return False


def _inside(packet: Packet, type_: int, flags: int) -> Step | str:
    if type_ == 0x88BE:  # type I has no header and no sequence number, type II has both
        return erspan2 if flags & _SEQUENCE else erspan1
    if type_ == 0x22EB:
        return erspan3
    if type_ in (0x6558, 0x6400):
        return _mirrored(packet)
    if type_ == 0x883E:  # WCCP: version 2 has a redirect header, whose first half byte is no IP version
        packet.at += 0 if packet.peek(1)[:1].hex()[:1] == "4" else 4
        return ipv4
    if type_ in ARUBA:
        return wifi
    following = ether_type(type_)
    return "GRE" if following == type_reason(type_) or type_ < 0x0600 else following


def erspan1(packet: Packet) -> Step | str:
    """The frame, without a header."""
    return _mirrored(packet)


def erspan2(packet: Packet) -> Step | str:
    """draft-foschiano-erspan section 4.2."""
    return _erspan(packet, 8)


def erspan3(packet: Packet) -> Step | str:
    """Section 4.3: perhaps with a sub-header."""
    head = packet.peek(12)
    return _erspan(packet, 20 if head[11:] and head[11] & 1 else 12)


def _erspan(packet: Packet, size: int) -> Step | str:
    """VLAN and session tell mirrors apart; class and whether the frame was cut do not."""
    if not packet.has(size):
        return CUT_IP
    packet.passed(int.from_bytes(packet.take(size)[:4]) & ERSPAN_MIRROR)
    return _mirrored(packet)


def _mirrored(packet: Packet) -> Step:
    packet.mirrored = True
    return ethernet

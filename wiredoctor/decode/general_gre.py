"""GRE and what its protocol types lead to, one packet at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wiredoctor.decode.general_dpkt import gre_base
from wiredoctor.decode.general_ethernet import ether_type, ethernet
from wiredoctor.decode.general_network import ipv4
from wiredoctor.decode.general_wifi import wifi
from wiredoctor.decode.reasons import CUT_IP, type_reason

if TYPE_CHECKING:
    from wiredoctor.decode.packet import Packet, Step

_CHECKSUM, _ROUTING, _KEY, _SEQUENCE, _ACK = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080

ARUBA = (*range(0x8200, 0x8380, 0x10), 0x9000)
"""Protocol types of Aruba's access points, a queue each: 802.11 frames."""


def gre(packet: Packet) -> Step | str:
    """RFC 2784, RFC 2890, and version 1 of RFC 2637 (PPTP)."""
    header = gre_base(packet)
    if header is None:
        return CUT_IP
    flags, type_ = header
    size = 4 * bool(flags & (_CHECKSUM | _ROUTING))
    size += 4 * bool(flags & _KEY) + 4 * bool(flags & _SEQUENCE) + 4 * bool(flags & _ACK)
    if flags & _ROUTING or not packet.has(size):
        return "GRE"
    packet.passed(type_)
    packet.at += size
    if type_ == 0x88BE:  # ERSPAN type I has no header and no sequence number, type II has both
        packet.at += 8 if flags & _SEQUENCE else 0
        return ethernet
    if type_ == 0x22EB:
        return _erspan3(packet)
    if type_ == 0x883E:  # WCCP: version 2 has a redirect header, whose first half byte is no IP version
        packet.at += 0 if packet.peek(1)[:1].hex()[:1] == "4" else 4
        return ipv4
    if type_ in ARUBA:
        return wifi
    following = ether_type(type_)
    return "GRE" if following == type_reason(type_) or type_ < 0x0600 else following


def _erspan3(packet: Packet) -> Step | str:
    head = packet.peek(12)
    if len(head) < 12:
        return CUT_IP
    packet.at += 20 if head[11] & 1 else 12
    return ethernet

"""Rare link layers, one packet at a time: ARCnet, IP over InfiniBand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wiredoctor.decode.general_ethernet import ether_type
from wiredoctor.decode.reasons import CUT_LINK

if TYPE_CHECKING:
    from wiredoctor.decode.packet import Packet, Step

_RFC1051_TYPES = {0xF0: 0x0800, 0xF1: 0x0806}
_RFC1201_TYPES = {0xD4: 0x0800, 0xD5: 0x0806, 0xC4: 0x86DD}


def arcnet_linux(packet: Packet) -> Step | str:
    """LINKTYPE_ARCNET_LINUX: addresses, offset, protocol number; in RFC 1201 also flag and number of a fragment.

    Linux hands up packets that it has put together, whatever the flag says.
    """
    head = packet.peek(5)
    if len(head) < 5:
        return CUT_LINK
    if head[4] in _RFC1051_TYPES:
        packet.at += 5
        return ether_type(_RFC1051_TYPES[head[4]])
    if head[4] not in _RFC1201_TYPES:
        return "ARCnet"
    if not packet.has(8):
        return CUT_LINK
    packet.at += 8
    return ether_type(_RFC1201_TYPES[head[4]])


def ip_over_infiniband(packet: Packet) -> Step | str:
    """LINKTYPE_IPOIB: two addresses of 20 bytes (RFC 4391 section 9.1.1), EtherType, 2 reserved bytes (section 6)."""
    if not packet.has(44):
        return CUT_LINK
    return ether_type(int.from_bytes(packet.take(44)[40:42]))

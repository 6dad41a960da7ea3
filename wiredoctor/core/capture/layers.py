"""Track how far the headers of a packet were read, and which header comes next."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.hashes import mix

QUOTE: Final = -1
"""The result for an ICMP error that quotes only a part of a TCP header, with ports and sequence number but without flags.

QUOTE to MOVED are special results of reading a header. Any greater result is the internal number of the next header.
"""
NOT_TCP: Final = 0
SEGMENT: Final = 1
AGAIN: Final = 2
"""The result if the packet must be read a second time, to hash its outer headers."""
MOVED: Final = 3
"""The result if the next header is in another block of bytes than the previous headers."""

IPV4: Final = 4
IPV6: Final = 5
TCP: Final = 6
INSIDE_IP: Final = 7
"""The header number of an IPv6 extension header or of the header inside an IP packet; `Headers.inside` has its protocol."""
AUTHENTICATION: Final = 8
ETHERNET: Final = 9
VLAN: Final = 10
TAG: Final = 11
"""The header number that all headers read by tags.py share; their EtherType (`Layers.type`) distinguishes them."""
LLC: Final = 12
MPLS: Final = 13
PPPOE: Final = 14
PPP: Final = 15
RAW: Final = 16
GRE: Final = 17
UDP: Final = 18
RADIOTAP: Final = 19
WIFI: Final = 20
PFLOG: Final = 21
NFLOG: Final = 22
COOKED: Final = 23
COOKED_2: Final = 24
LOOPBACK: Final = 25
CISCO_HDLC: Final = 26
RARE_LINK: Final = 27
"""The header number that all headers read by rare_links.py share; their link type (`Layers.type`) distinguishes them."""

CUT_LINK: Final = 0x100
CUT_IP: Final = 0x101
BAD_IP: Final = 0x102
CUT_TCP: Final = 0x103
NOT_LLC: Final = 0x104
NOT_MPLS: Final = 0x105
NOT_PPP: Final = 0x106
NOT_GRE: Final = 0x107
NO_NFLOG_PACKET: Final = 0x108
MANAGEMENT: Final = 0x109
CONTROL: Final = 0x10A
EXTENSION: Final = 0x10B
OTHER_VERSION: Final = 0x10C
WITHOUT_DATA: Final = 0x10D
ENCRYPTED: Final = 0x10E
WIFI_FRAGMENT: Final = 0x10F
NOT_ARCNET: Final = 0x110
NOT_FRAME_RELAY: Final = 0x111
NO_TOKEN_RING_DATA: Final = 0x112
NO_FDDI_DATA: Final = 0x113
NO_JUNIPER_FRAME: Final = 0x114
NO_IP_IN_NSH: Final = 0x115
PPP_FRAGMENT: Final = 0x116
CUT_FRAGMENT: Final = 0x117
WAITING: Final = 0x118
NO_ROOM: Final = 0x119
QUOTED_FRAGMENT: Final = 0x11A
QUOTED_TOO_LITTLE: Final = 0x11B
NO_ERF_FRAME: Final = 0x11C
TOO_MANY_HEADERS: Final = 0x11D
"""The reason why a packet with too many headers is not analyzed.

CUT_LINK to TOO_MANY_HEADERS are reasons of this kind, with texts in reasons.py. A reason below CUT_LINK is an unsupported IP
protocol number.
"""
OF_TYPE: Final = 0x10000
"""The reason for an unsupported EtherType is OF_TYPE plus this EtherType."""
OF_LINK: Final = 0x20001
"""The reason for an unsupported link type is OF_LINK plus this link type, which may be NO_PACKET."""

FIRST_TYPE: Final = 0x0600
NOT_IP: Final = 0xFFFF

NAMED_PPPOE: Final = 1 << 0
NAMED_PPP: Final = 1 << 1
NAMED_MPLS: Final = 1 << 2
NAMED_802_1AH: Final = 1 << 3
NAMED_802_1BR: Final = 1 << 4
NAMED_VN_TAG: Final = 1 << 5
NAMED_FABRICPATH: Final = 1 << 6
NAMED_TRILL: Final = 1 << 7
NAMED_HSR: Final = 1 << 8
NAMED_NSH: Final = 1 << 9
NAMED_MACSEC: Final = 1 << 10
NAMED_IP_IN_IP: Final = 1 << 11
NAMED_AH: Final = 1 << 12
NAMED_GRE: Final = 1 << 13
NAMED_ERSPAN: Final = 1 << 14
NAMED_ETHERNET_IN_IP: Final = 1 << 15
NAMED_VXLAN: Final = 1 << 16
NAMED_GENEVE: Final = 1 << 17
NAMED_GTP_U: Final = 1 << 18
NAMED_TEREDO: Final = 1 << 19
NAMED_L2TP: Final = 1 << 20
NAMED_LISP: Final = 1 << 21
NAMED_TZSP: Final = 1 << 22
NAMED_CAPWAP: Final = 1 << 23
NAMED_AYIYA: Final = 1 << 24
"""The bit for AYIYA. NAMED_PPPOE to NAMED_AYIYA are in the order of NAMES in protocols/ip/encapsulations.py."""

UDP_PROTOCOL: Final = 17


class Layers:
    """The state while the headers of a packet are read: how far they were read, and what the headers announced."""

    def __init__(self) -> None:
        self.at: i64 = 0
        self.end: i64 = 0
        """The offset in the block at which the captured bytes of the packet end."""
        self.limit: i64 = 0
        """The offset at which the packet ends according to the headers read so far; beyond `end` if the packet was truncated."""
        self.stop: i64 = 0
        """The smaller of `end` and `limit`."""
        self.captured: i64 = 0
        self.type: i64 = 0
        """The current EtherType or link type."""
        self.reason: i64 = 0
        """The reason why the packet is not analyzed."""
        self.names: i64 = 0
        """The encapsulations of the packet, as bits."""
        self.ip_headers: i64 = 0
        self.ip_version: i64 = 0
        """The version of the innermost IP header so far."""
        self.udp: i64 = -1
        """The offset in the block of the innermost UDP header, which belongs to a tunnel; -1 if there is none."""
        self.udp_addresses: i64 = 0
        """The offset of the addresses in the IP header before `udp`. `udp_ip`: the version of this IP header."""
        self.udp_ip: i64 = 0
        self.is_quoted: bool = False
        """True if the current header is quoted in an ICMP error."""
        self.is_mirrored: bool = False
        """True if the packet is in a tunnel from a mirror port. If the port truncated the packet, its IP header has the original
        length.
        """
        self.longest_cut: i64 = -1
        """The largest captured length in bytes of a packet that a mirror port truncated; -1 if there is none."""
        self.has_aggregates: bool = False
        """True if a Wi-Fi aggregate of several frames was captured. Only the first frame of an aggregate is read."""
        self.hashing: bool = False
        """True if `link_hash` and `encapsulation` are to be computed while the headers are read."""
        self.link_hash: int = 0
        self.encapsulation: int = 0

    def begin(self, packet: Packet) -> None:
        """Reset the state to the beginning of a packet, at its first header."""
        self.at = packet.at
        self.end = packet.end
        self.limit = packet.at + packet.wire_length
        self.stop = packet.end
        self.captured = packet.end - packet.at
        self.names = 0
        self.ip_headers = 0
        self.udp = -1
        self.is_mirrored = False
        self.is_quoted = False
        if self.hashing:
            self.link_hash = self.encapsulation = 0

    def has(self, size: i64) -> bool:
        """Return whether the next `size` bytes were captured and belong to the packet."""
        return self.at + size <= self.stop

    def past(self, size: i64, header: i64) -> i64:
        """Skip a link header of `size` bytes. Return NOT_TCP if this header was cut off, otherwise `header`.

        `header`: the internal number of the next header.
        """
        if not self.has(size):
            return self.refuse(CUT_LINK)
        self.at += size
        return header

    def refuse(self, reason: i64) -> i64:
        """Record why the packet contains no readable TCP header, and return NOT_TCP."""
        self.reason = reason
        return NOT_TCP

    def ip_by_version(self, block: bytes, reason: i64) -> i64:
        """Return IPV4 or IPV6, by the version field of the IP header at the current position.

        For other versions, refuse the packet: record `reason`, and return NOT_TCP.
        """
        version = i64(block[self.at]) >> 4
        if version == 4:
            return IPV4
        return IPV6 if version == 6 else self.refuse(reason)

    def restrict(self, size: i64) -> None:
        """Limit the packet to the next `size` bytes, as announced by a header, unless the packet ends earlier."""
        if self.at + size < self.limit:
            self.limit = self.at + size
            if self.limit < self.stop:
                self.stop = self.limit

    def measure(self, size: i64) -> None:
        """Set the end of the packet to `size` bytes from here, as announced by the IP header.

        The captured part may be shorter, because a mirror port may have truncated the packet.
        """
        if self.is_mirrored and self.at + size > self.limit:
            self.end = self.stop
            self.limit = self.at + size
            if self.captured > self.longest_cut:
                self.longest_cut = self.captured
        self.restrict(size)

    def add_to_hash(self, word: i64) -> None:
        """Add a field of an outer header to the hash `encapsulation`, if hashes are requested."""
        if self.hashing:
            self.encapsulation = mix(self.encapsulation, word)

    def hash_outer(self, block: bytes, at: i64) -> None:
        """Add the addresses of the outer IP header at block[at:] to the hash `encapsulation`."""
        size: i64 = 4 if self.ip_version == 4 else 16
        low: i64 = 4 if self.ip_version == 4 else 8
        for end in (at + size, at + 2 * size):
            self.encapsulation = mix(self.encapsulation, int.from_bytes(block[end - low : end], "big"))

    def hash_addresses(self, block: bytes, at: i64) -> None:
        """Hash the 12 bytes of MAC addresses at block[at:] into `link_hash`, unless an outer header has already set it."""
        if self.link_hash == 0:
            self.link_hash = mix(int.from_bytes(block[at : at + 8], "little"), int.from_bytes(block[at + 8 : at + 12], "little"))

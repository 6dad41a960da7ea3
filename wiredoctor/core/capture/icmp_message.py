"""Read the fields of an ICMP or ICMPv6 error (RFC 792, RFC 4443)."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.octets import read_i64_be
from wiredoctor.core.tcp.segment import NEVER
from wiredoctor.core.unsigned import u16, u32

UNREACHABLE: Final = 3
FRAGMENTATION_NEEDED: Final = 4
PACKET_TOO_BIG: Final = 2
"""The type of the ICMPv6 error that contains an MTU (RFC 4443 section 3.2).

The corresponding ICMP error has the type UNREACHABLE and the code FRAGMENTATION_NEEDED (RFC 1191 section 4).
"""


class Message:
    """The fields of the current ICMP error."""

    def __init__(self) -> None:
        self.type: i64 = 0
        self.code: i64 = 0
        self.mtu: i64 = NEVER
        self.address_bytes: i64 = 4
        """The size of an address in bytes: 4 for IPv4, 16 for IPv6."""
        self.high: i64 = 0
        self.low: i64 = 0
        """The low 64 bits of the address of the error's sender; `high` has the high 64 bits."""

    def read(self, block: bytes, at: i64, addresses: i64, ip_version: i64) -> None:
        """Read the type, code and MTU from the 8 bytes at block[at:], and the sender's address at block[addresses:]."""
        self.type, self.code, self.mtu = i64(block[at]), i64(block[at + 1]), NEVER
        mtu: i64 = 0
        if ip_version == 6:
            self.address_bytes = 16
            self.high, self.low = i64(read_i64_be(block, addresses)), i64(read_i64_be(block, addresses + 8))
            if self.type == PACKET_TOO_BIG:
                mtu = u32(block, at + 4)
        else:
            self.address_bytes = 4
            self.high, self.low = 0, u32(block, addresses)
            if self.type == UNREACHABLE and self.code == FRAGMENTATION_NEEDED:
                mtu = u16(block, at + 6)
        if mtu > 0:  # RFC 1191 section 5: routers that do not report an MTU leave the field 0
            self.mtu = mtu

"""Numbers by which headers say what follows them, and sizes of headers."""

from __future__ import annotations

VLAN_TYPES = (0x8100, 0x88A8, 0x9100)
FRAMES = (0x0800, 0x86DD, *VLAN_TYPES)
"""EtherTypes by which an Ethernet frame is known where nothing announces one."""

FIRST_TYPE = 0x0600
"""A smaller number in the place of the EtherType is a length, and LLC follows (IEEE 802.3)."""

CUT_SHORT, BAD_VERSION = -2, -4
"""Instead of an EtherType: too little was captured; raw, but not IP."""

UDP = 17
EXTENSIONS = (0, 43, 44, 60)
"""IPv6 hop-by-hop options, routing, fragment, destination options."""

ICMP_ERRORS = (3, 4, 11, 12)
"""Types that quote a packet, RFC 792. Redirect (5) quotes one too, but it was delivered: no error, and no stream in Wireshark."""

ICMPV6_ERRORS = (1, 2, 3, 4)
"""RFC 4443 section 2.1."""

JUMBO = 65_535
"""Bytes. A longer IPv6 packet cannot say its length (segmentation offload writes 0)."""

SOURCE_ROUTES = (131, 137)
"""IPv4 options: loose and strict source route."""

MORE_FRAGMENTS, FRAGMENT_OFFSET = 0x2000, 0x1FFF

UDP_HEADER = 8
L2TP, GTP_U, TEREDO, GRE_IN_UDP, VXLAN, VXLAN_GPE, AYIYA, GENEVE = 1701, 2152, 3544, 4754, 4789, 4790, 5072, 6081
LISP, CAPWAP, MPLS_IN_UDP = 4341, 5247, 6635
"""IANA "Service Name and Transport Protocol Port Number Registry"."""

LINUX_VXLAN, TZSP = 8472, 37008
"""Where Linux, and with it flannel and others, has VXLAN by default; where MikroTik's sniffer sends its packets."""

TUNNEL_PORTS = (
    L2TP, GTP_U, TEREDO, LISP, GRE_IN_UDP, VXLAN, VXLAN_GPE, AYIYA, CAPWAP, GENEVE, MPLS_IN_UDP, LINUX_VXLAN, TZSP,
)  # fmt: skip

ARUBA = (*range(0x8200, 0x8380, 0x10), 0x9000)
"""GRE protocol types of Aruba's access points, a queue each: 802.11 frames."""

ERSPAN_MIRROR = 0x0FFF03FF
"""Of the first 4 bytes of ERSPAN's header: VLAN and session."""

END, NOP, MSS, WINDOW_SCALE, SACK, TIMESTAMPS = 0, 1, 2, 3, 5, 8
"""Option kinds, IANA "TCP Option Kind Numbers"."""

STAMPED = 32
"""Bytes of a TCP header with the time-stamp option, RFC 7323 appendix A."""

MAX_SHIFT = 14
"""RFC 7323 section 2.3."""

TCP_HEADER = 20
LEAST = 16
"""Bytes of a TCP header, up to the window: a segment with fewer has no stream in Wireshark, one with as many has."""

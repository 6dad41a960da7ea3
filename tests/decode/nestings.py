"""Encapsulations that are put around each other as far as they fit."""

from __future__ import annotations

import struct
from collections.abc import Callable

from hypothesis import strategies as st

from tests.decode import udp as udps
from tests.decode.packets import ethernet, ipv4, ipv6, tcp, vlan
from tests.decode.rare import ERSPAN2, capwap, gre, macsec, service, tzsp
from tests.decode.udp import geneve, gtp, l2tp, udp, vxlan
from tests.decode.wifi import frame, radiotap

Wrap = tuple[str, str, Callable[[bytes], bytes]]

OPTIONS = struct.pack(">BB6x", 4, 0)
LABELS = struct.pack(">II", 17 << 12, 18 << 12 | 0x1FF)
WRAPS: list[Wrap] = [
    ("4", "frame", ethernet),
    ("6", "frame", lambda p: ethernet(p, 0x86DD)),
    ("4", "frame", lambda p: ethernet(vlan(p, 5), 0x8100)),
    ("4", "frame", lambda p: ethernet(vlan(vlan(vlan(p, 5), 6, 0x8100), 7, 0x8100), 0x88A8)),
    ("4", "frame", lambda p: ethernet(b"\xaa\xaa\x03\0\0\0\x08\0" + p, 8 + len(p))),
    ("4", "frame", lambda p: ethernet(LABELS + p, 0x8847)),
    ("frame", "frame", lambda p: ethernet(LABELS + bytes(4) + p, 0x8847)),
    ("frame", "frame", lambda p: ethernet(bytes(4) + p, 0x88E7)),
    ("4", "ppp", lambda p: b"\xff\x03\0\x21" + p),
    ("6", "ppp", lambda p: b"\x57" + p),
    ("ppp", "frame", lambda p: ethernet(struct.pack(">BBHH", 0x11, 0, 3, len(p)) + p, 0x8864)),
    ("4", "4", lambda p: ipv4(p, 4)),
    ("6", "4", lambda p: ipv4(p, 41)),
    ("4", "6", lambda p: ipv6(p, 4)),
    ("4", "6", lambda p: ipv6(OPTIONS + p, 60)),
    ("6", "6", lambda p: ipv6(struct.pack(">BBHI", 41, 0, 0, 5) + p, 44)),
    ("4", "4", lambda p: ipv4(gre(p, 0, b""), 47)),
    ("frame", "4", lambda p: ipv4(gre(p, 0x3000, bytes(8), 0x6558), 47)),
    ("ppp", "4", lambda p: ipv4(gre(p, 0x3001, bytes(8), 0x880B), 47)),
    ("frame", "6", lambda p: ipv6(gre(ERSPAN2 + p, 0x1000, bytes(4), 0x88BE), 47)),
    ("frame", "4", lambda p: ipv4(udp(vxlan(p), udps.VXLAN), 17)),
    ("frame", "6", lambda p: ipv6(udp(vxlan(p, 43), udps.VXLAN), 17)),
    ("frame", "4", lambda p: ipv4(udp(vxlan(p), 8472), 17)),
    ("frame", "4", lambda p: ipv4(udp(geneve(p, options=bytes(8)), udps.GENEVE), 17)),
    ("4", "4", lambda p: ipv4(udp(gtp(p, 0x34, udps.SESSION_CONTAINER), udps.GTP_U), 17)),
    ("6", "4", lambda p: ipv4(udp(gtp(p), udps.GTP_U), 17)),
    ("ppp", "4", lambda p: ipv4(udp(l2tp(p), udps.L2TP), 17)),
    ("6", "4", lambda p: ipv4(udp(p, udps.TEREDO), 17)),
    ("4", "wifi", lambda p: frame(b"\xaa\xaa\x03\0\0\0\x08\0" + p, 0x88, extra=bytes(2))),
    ("wifi", "radiotap", lambda p: radiotap(p, 3, bytes(9))),
    ("wifi", "4", lambda p: ipv4(udp(capwap(p, 0x100), 5247), 17)),
    ("wifi", "4", lambda p: ipv4(b"\0\0\x82\x40" + p, 47)),
    ("frame", "4", lambda p: ipv4(udp(tzsp(p), 37008), 17)),
    ("4", "frame", lambda p: ethernet(service(p), 0x894F)),
    ("4", "frame", lambda p: ethernet(macsec(b"\x08\0" + p), 0x88E5)),
]
LINKS = {"frame": 1, "4": 101, "6": 229, "ppp": 9, "wifi": 105, "radiotap": 127}
CONTENT = b"what was said"


@st.composite
def nestings(draw: st.DrawFn) -> tuple[int, bytes]:
    """A link type and a packet with CONTENT in up to seven headers."""
    six = draw(st.booleans())
    kind, packet = ("6", ipv6(tcp(CONTENT))) if six else ("4", ipv4(tcp(CONTENT, seq=draw(st.integers(0, 99)))))
    for _ in range(draw(st.integers(1, 7))):
        fitting = [w for w in WRAPS if w[0] == kind]
        if not fitting:
            break
        _, kind, wrap = draw(st.sampled_from(fitting))
        packet = wrap(packet)
    return LINKS[kind], packet

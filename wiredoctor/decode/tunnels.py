"""Which UDP datagrams may be tunnels, all packets at once: by port, so that the rest stays one decline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.decode.hashing import mix
from wiredoctor.decode.layouts import PORTS, gather

if TYPE_CHECKING:
    from wiredoctor.tables import Array

UDP = 17
UDP_HEADER = 8

L2TP, GTP_U, TEREDO, GRE_IN_UDP, VXLAN, VXLAN_GPE, AYIYA, GENEVE = 1701, 2152, 3544, 4754, 4789, 4790, 5072, 6081
LISP, CAPWAP, MPLS_IN_UDP = 4341, 5247, 6635
"""IANA "Service Name and Transport Protocol Port Number Registry"."""

LINUX_VXLAN, TZSP = 8472, 37008
"""Where Linux, and with it flannel and others, has VXLAN unless told otherwise; where MikroTik's sniffer sends its packets."""

TUNNEL_PORTS = (
    L2TP, GTP_U, TEREDO, LISP, GRE_IN_UDP, VXLAN, VXLAN_GPE, AYIYA, CAPWAP, GENEVE, MPLS_IN_UDP, LINUX_VXLAN, TZSP,
)  # fmt: skip

ARUBA = (*range(0x8200, 0x8380, 0x10), 0x9000)
"""GRE protocol types of Aruba's access points, a queue each: 802.11 frames."""

ERSPAN_MIRROR = 0x0FFF03FF
"""Of the first 4 bytes of ERSPAN's header: VLAN and session."""

_FRAGMENT_OFFSET = 0x1FFF

IS_TUNNEL = np.zeros(1 << 16, bool)
IS_TUNNEL[list(TUNNEL_PORTS)] = True


def tunnelled(data: Array, protocol: Array, at: Array, end: Array) -> Array:
    """Which packets have a UDP header at `at` with a tunnel's port on either side: the general path looks inside."""
    found = np.zeros(len(protocol), bool)
    rows = np.flatnonzero((protocol == UDP) & (at + UDP_HEADER <= end))
    if len(rows):
        ports = gather(data, at[rows], PORTS)
        found[rows] = IS_TUNNEL[ports["source"]] | IS_TUNNEL[ports["destination"]]
    return found


def tunnel_fragments(data: Array, header: Array, at: Array, end: Array, known: dict[int, None]) -> Array:
    """Of IPv4 fragments (headers, in layouts.IPV4) of UDP, which may belong to a tunnel, by the port in the first of them.

    known: such datagrams (hash of addresses and identification) of which the first fragment was seen before.
    Fragments that overtook their first one are no part of this: nothing says what they are.
    """
    datagram = mix(
        header["source"].astype(np.uint64) << np.uint64(32) | header["destination"], header["identification"].astype(np.uint64)
    )
    first = ((header["fragment"] & _FRAGMENT_OFFSET) == 0) & tunnelled(data, header["protocol"], at, end)
    return first | np.isin(datagram, np.concatenate([datagram[first], np.array(list(known), np.uint64)]))

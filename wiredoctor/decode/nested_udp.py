"""Tunnels in UDP: readers of nested.Walk. Only a valid header of the tunnel whose port it is leads on: all else is UDP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.decode import nested as n
from wiredoctor.decode import tunnels
from wiredoctor.decode.layouts import GENEVE, GTP, GTP_OPTIONAL, PORTS, UDP, VXLAN, WORD, gather
from wiredoctor.decode.link import IPV4_TYPE, IPV6_TYPE
from wiredoctor.decode.network import protocol_reason

if TYPE_CHECKING:
    from wiredoctor.decode.nested import Reader, Walk
    from wiredoctor.tables import Array

_NOT_A_TUNNEL = protocol_reason(tunnels.UDP)
_GTP_PACKET = 255
_GRE_FLAGS = 0xB000
_L2TP_CONTROL, _L2TP_LENGTH, _L2TP_SEQUENCE, _L2TP_OFFSET, _L2TP_VERSION = 0x8000, 0x4000, 0x0800, 0x0200, 0x000F
_L2TP_RESERVED = 0x34F0


def udp(w: Walk, i: Array) -> None:
    """RFC 768. The lower port is asked first, as in Wireshark."""
    i, header = w.take(i, UDP, _NOT_A_TUNNEL)
    source, destination = header["source"].astype(np.int32), header["destination"].astype(np.int32)
    low, high = np.minimum(source, destination), np.maximum(source, destination)
    port = np.where(tunnels.IS_TUNNEL[low], low, high)
    size = header["length"].astype(np.int64)
    good = tunnels.IS_TUNNEL[port] & (size >= tunnels.UDP_HEADER)
    i = w.only(i, good, _NOT_A_TUNNEL)
    w.restrict(i, size[good] - tunnels.UDP_HEADER)
    w.kind[i] = n.PORT + port[good]


def _vxlan(w: Walk, i: Array) -> None:
    """RFC 7348."""
    i, header = w.take(i, VXLAN, _NOT_A_TUNNEL)
    good = header["flags"] & 0x08 != 0
    i = w.only(i, good, _NOT_A_TUNNEL)
    w.passed(i, header["network"][good] >> 8)
    w.mirrored[i] = True
    w.kind[i] = n.ETHERNET


def _linux_vxlan(w: Walk, i: Array) -> None:
    """RFC 7348 on a port that is not its own: every byte has to be as the standard says."""
    header, whole = w.peek(i, VXLAN), w.has(i, VXLAN.itemsize)
    rest = header["reserved"].astype(np.int64) | header["protocol"] | header["network"] & 0xFF
    _vxlan(w, w.only(i, whole & (header["flags"] == 0x08) & (rest == 0), _NOT_A_TUNNEL))


def _vxlan_gpe(w: Walk, i: Array) -> None:
    """draft-ietf-nvo3-vxlan-gpe: VXLAN with a protocol number."""
    i, header = w.take(i, VXLAN, _NOT_A_TUNNEL)
    protocol = header["protocol"]
    good = (header["flags"] & 0x0C == 0x0C) & (protocol > 0) & (protocol < len(_GPE_PROTOCOLS))
    i = w.only(i, good, _NOT_A_TUNNEL)
    w.passed(i, header["network"][good] >> 8)
    w.kind[i] = inside = np.array(_GPE_PROTOCOLS)[protocol[good]]
    w.mirrored[i] |= inside == n.ETHERNET


def _geneve(w: Walk, i: Array) -> None:
    """RFC 8926."""
    i = w.only(i, w.has(i, GENEVE.itemsize), _NOT_A_TUNNEL)
    header = w.peek(i, GENEVE)
    size = GENEVE.itemsize + (header["version_length"] & 0x3F).astype(np.int64) * 4
    good = (header["version_length"] >> 6 == 0) & w.has(i, size)
    i, header, size = w.only(i, good, _NOT_A_TUNNEL), header[good], size[good]
    w.passed(i, header["network"] >> 8)
    w.at[i] += size
    w.kind[i] = header["type"]
    w.mirrored[i] |= header["type"] == 0x6558


def _gtp(w: Walk, i: Array) -> None:
    """3GPP TS 29.281 section 5: user packets, the tunnel's own messages not."""
    i, header = w.take(i, GTP, _NOT_A_TUNNEL)
    more = header["flags"] & 0x07 != 0
    good = (header["flags"] >> 4 == 3) & (header["kind"] == _GTP_PACKET) & (~more | w.has(i, GTP_OPTIONAL.itemsize))
    i, header, more = w.only(i, good, _NOT_A_TUNNEL), header[good], more[good]
    w.passed(i, header["tunnel"])
    extended = (header["flags"] & 0x04 != 0) & (w.peek(i, GTP_OPTIONAL)["next"] != 0)
    size = header["length"].astype(np.int64)
    sized = size > 0  # 0: segmentation offload
    w.restrict(i[sized], size[sized])
    w.at[i] += GTP_OPTIONAL.itemsize * more
    w.kind[i] = np.where(extended, n.GTP_EXTENSION, n.BY_VERSION)


def _gtp_extension(w: Walk, i: Array) -> None:
    """Section 5.2: a length in words of 4 bytes, the content, the type of the next one."""
    size = 4 * w.byte(i).astype(np.int64)
    good = (size > 0) & w.has(i, size)
    i, size = w.only(i, good, _NOT_A_TUNNEL), size[good]
    following = w.byte(i, size - 1)
    w.at[i] += size
    w.kind[i] = np.where(following != 0, n.GTP_EXTENSION, n.BY_VERSION)


def _by_version(w: Walk, i: Array) -> None:
    version = w.byte(i) >> 4
    w.kind[i] = np.where(version == 4, IPV4_TYPE, IPV6_TYPE)
    w.only(i, (version == 4) | (version == 6), _NOT_A_TUNNEL)


def _gre_in_udp(w: Walk, i: Array) -> None:
    """RFC 8086: version 0, with no more than checksum, key and sequence number."""
    i = w.only(i, w.has(i, 2), _NOT_A_TUNNEL)
    flags = w.byte(i).astype(np.int32) << 8 | w.byte(i, 1)
    w.kind[i] = n.PROTOCOL + 47
    w.only(i, flags & ~_GRE_FLAGS == 0, _NOT_A_TUNNEL)


def _l2tp(w: Walk, i: Array) -> None:
    """RFC 2661 section 3.1: data messages, which carry PPP."""
    i = w.only(i, w.has(i, 2), _NOT_A_TUNNEL)
    flags = w.byte(i).astype(np.int32) << 8 | w.byte(i, 1)
    length, offset = flags & _L2TP_LENGTH != 0, flags & _L2TP_OFFSET != 0
    size = 6 + 2 * length + 4 * (flags & _L2TP_SEQUENCE != 0)
    good = (flags & _L2TP_VERSION == 2) & (flags & (_L2TP_CONTROL | _L2TP_RESERVED) == 0) & w.has(i, size + 2 * offset)
    i, length, offset, size = w.only(i, good, _NOT_A_TUNNEL), length[good], offset[good], size[good]
    start = w.at[i]
    said, padding = (gather(w.data, at, PORTS)["source"].astype(np.int64) for at in (start + 2, start + size))
    w.passed(i, gather(w.data, start + 2 + 2 * length, WORD)["value"])
    w.restrict(i[length], said[length])
    w.at[i] = start + size + np.where(offset, 2 + padding, 0)
    w.kind[i] = n.PPP


_GPE_PROTOCOLS = (0, IPV4_TYPE, IPV6_TYPE, n.ETHERNET, 0x894F, 0x8847)
"""RFC 8300 has the same numbers."""

READERS: tuple[tuple[tuple[int, ...], Reader], ...] = (
    ((n.PROTOCOL + tunnels.UDP,), udp),
    ((n.PORT + tunnels.VXLAN,), _vxlan),
    ((n.PORT + tunnels.VXLAN_GPE,), _vxlan_gpe),
    ((n.PORT + tunnels.GENEVE,), _geneve),
    ((n.PORT + tunnels.GTP_U,), _gtp),
    ((n.GTP_EXTENSION,), _gtp_extension),
    ((n.BY_VERSION,), _by_version),
    ((n.PORT + tunnels.GRE_IN_UDP,), _gre_in_udp),
    ((n.PORT + tunnels.L2TP,), _l2tp),
    ((n.PORT + tunnels.LINUX_VXLAN,), _linux_vxlan),
)

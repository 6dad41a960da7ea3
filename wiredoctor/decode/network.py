"""Network layer, all packets at once: IPv4 with options, IPv6 without extension headers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.decode.layouts import BYTE, IPV4, IPV6, gather
from wiredoctor.decode.tunnels import UDP, tunnel_fragments, tunnelled
from wiredoctor.tables import NONE

if TYPE_CHECKING:
    from wiredoctor.tables import Array, Columns

ICMP, IPIP, TCP, IPV6_IN_IP, GRE, AH, ICMPV6 = 1, 4, 6, 41, 47, 51, 58

ETHER_IP, MPLS_IN_IP, FRAME = 97, 137, 143
"""Ethernet in IP (RFC 3378), MPLS in IP (RFC 4023), Ethernet as it is (RFC 8986)."""

TUNNELS = (IPIP, IPV6_IN_IP, GRE, AH, ETHER_IP, MPLS_IN_IP, FRAME)
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


@dataclass
class Network:
    """A row per packet that goes on to TCP. `row` counts packet records; the other names as in tables.PACKETS."""

    row: Array
    transport: Array
    """Offset of the TCP header."""
    limit: Array
    """Offset of the end of the IP packet on the wire: what lies behind is padding."""
    end: Array
    """Offset of the end of the packet in the file."""
    ip_version: Array
    source_high: Array
    source_low: Array
    destination_high: Array
    destination_low: Array
    ip_id: Array
    ttl: Array


@dataclass
class Split:
    """What became of some packets: on to TCP, to the general path, or to no analysis."""

    tcp: Network
    general: Array
    """Rows."""
    refused: list[tuple[str, int]]
    """Reason and number of packets."""


def ipv4(data: Array, row: Array, at: Array, records: Columns, tunnels: dict[int, None]) -> Split:
    """Reads the IPv4 headers at the offsets `at`, of the packet records `row`. tunnels: see DecodeState."""
    end, wire = _ends(row, records)
    refused: list[tuple[str, int]] = []
    whole = at + IPV4.itemsize <= end
    row, at, end, wire = _keep(whole, "IP header cut short", refused, row, at, end, wire)
    header = gather(data, at, IPV4)
    size = (header["version_ihl"] & 15).astype(np.int64) * 4
    total = header["total_length"].astype(np.int64)
    sound = (header["version_ihl"] >> 4 == 4) & (size >= IPV4.itemsize) & ((total >= size) | (total == 0))
    if not sound.all():
        row, at, end, wire, size, total = _keep(sound, "IP header not valid", refused, row, at, end, wire, size, total)
        header = header[sound]
    protocol = header["protocol"]
    fragment = (header["fragment"] & (MORE_FRAGMENTS | FRAGMENT_OFFSET)) != 0
    error = _quotes(data, protocol, at + size, end)
    general = error | _among(protocol, TUNNELS) | (fragment & _among(protocol, (TCP, ICMP, ICMPV6)))
    general |= tunnelled(data, protocol, at + size, end) & ~fragment
    pieces = np.flatnonzero(fragment & (protocol == UDP))
    if len(pieces):
        general[pieces] = tunnel_fragments(data, header[pieces], at[pieces] + size[pieces], end[pieces], tunnels)
    general |= (protocol == TCP) & source_routed(data, at, size, end)
    tcp = (protocol == TCP) & ~general
    refused += _by_protocol(protocol[~tcp & ~general])
    at, wire, total, h = at[tcp], wire[tcp], total[tcp], header[tcp]
    zero = np.zeros(len(at), np.uint64)
    network = Network(
        row=row[tcp],
        transport=at + size[tcp],
        limit=np.where(total == 0, wire, np.minimum(at + total, wire)),  # 0: segmentation offload left it to the hardware
        end=end[tcp],
        ip_version=np.full(len(at), 4, np.uint8),
        source_high=zero,
        source_low=h["source"].astype(np.uint64),
        destination_high=zero,
        destination_low=h["destination"].astype(np.uint64),
        ip_id=h["identification"].astype(np.int32),
        ttl=h["ttl"],
    )
    return Split(network, row[general], refused)


def ipv6(data: Array, row: Array, at: Array, records: Columns) -> Split:
    """Reads the IPv6 headers at the offsets `at`, of the packet records `row`."""
    end, wire = _ends(row, records)
    refused: list[tuple[str, int]] = []
    whole = at + IPV6.itemsize <= end
    row, at, end, wire = _keep(whole, "IP header cut short", refused, row, at, end, wire)
    header = gather(data, at, IPV6)
    sound = header["version_class_flow"] >> 28 == 6
    if not sound.all():
        row, at, end, wire = _keep(sound, "IP header not valid", refused, row, at, end, wire)
        header = header[sound]
    protocol = header["next_header"]
    error = _quotes(data, protocol, at + IPV6.itemsize, end)
    general = error | _among(protocol, TUNNELS + EXTENSIONS) | tunnelled(data, protocol, at + IPV6.itemsize, end)
    tcp = protocol == TCP
    refused += _by_protocol(protocol[~tcp & ~general])
    at, wire, h = at[tcp], wire[tcp], header[tcp]
    payload = h["payload_length"].astype(np.int64)
    start = at + IPV6.itemsize
    jumbo = (payload == 0) & (wire - start > JUMBO)
    network = Network(
        row=row[tcp],
        transport=start,
        limit=np.where(jumbo, wire, np.minimum(start + payload, wire)),
        end=end[tcp],
        ip_version=np.full(len(at), 6, np.uint8),
        source_high=h["source_high"].astype(np.uint64),
        source_low=h["source_low"].astype(np.uint64),
        destination_high=h["destination_high"].astype(np.uint64),
        destination_low=h["destination_low"].astype(np.uint64),
        ip_id=np.full(len(at), NONE, np.int32),
        ttl=h["hop_limit"],
    )
    return Split(network, row[general], refused)


def join(first: Network, second: Network) -> Network:
    """The rows of both, in order of the records."""
    if not len(second.row):
        return first
    if not len(first.row):
        return second
    order = np.argsort(np.concatenate([first.row, second.row]), kind="stable")
    columns = {f.name: np.concatenate([getattr(first, f.name), getattr(second, f.name)])[order] for f in fields(Network)}
    return Network(**columns)


def protocol_reason(protocol: int) -> str:
    """What to call packets of this protocol that are not analysed."""
    return _NAMES.get(protocol, f"IP protocol {protocol}")


_NAMES = {
    1: "ICMP", 2: "IGMP", 17: "UDP", 33: "DCCP", 46: "RSVP", 50: "ESP (encrypted)", 58: "ICMPv6", 59: "IPv6 without TCP",
    88: "EIGRP", 89: "OSPF", 103: "PIM", 112: "VRRP", 115: "L2TP", 132: "SCTP", 136: "UDP-Lite",
}  # fmt: skip


def _ends(row: Array, records: Columns) -> tuple[Array, Array]:
    """Where each packet ends in the file, and where it would end had all of it been captured."""
    offset = records["offset"][row]
    captured, length = records["captured"][row], records["length"][row]
    return offset + captured, offset + np.maximum(captured, length)


def _keep(good: Array, reason: str, refused: list[tuple[str, int]], *columns: Array) -> tuple[Array, ...]:
    if good.all():
        return columns
    refused.append((reason, int(len(good) - good.sum())))
    return tuple(column[good] for column in columns)


def _among(protocol: Array, numbers: tuple[int, ...]) -> Array:
    """Which are one of a few. np.isin sorts, takes longer, and of no packets it loads numpy.ma."""
    found = protocol == numbers[0]
    for number in numbers[1:]:
        found |= protocol == number
    return found


def _quotes(data: Array, protocol: Array, at: Array, end: Array) -> Array:
    """Which packets are ICMP or ICMPv6 errors."""
    found = np.zeros(len(protocol), bool)
    rows = np.flatnonzero(((protocol == ICMP) | (protocol == ICMPV6)) & (at < end))
    if len(rows):
        kind = gather(data, at[rows], BYTE)["value"]
        found[rows] = np.where(protocol[rows] == ICMP, np.isin(kind, ICMP_ERRORS), np.isin(kind, ICMPV6_ERRORS))
    return found


def source_routed(data: Array, at: Array, size: Array, end: Array) -> Array:
    """Which IPv4 headers at `at`, of this size, may have a source route: the general path looks for it."""
    found = np.zeros(len(at), bool)
    rows = np.flatnonzero(size > IPV4.itemsize)
    for byte in range(IPV4.itemsize, 60 if len(rows) else 0):
        rows = rows[(byte < size[rows]) & (at[rows] + byte < end[rows])]
        found[rows] |= np.isin(gather(data, at[rows] + byte, BYTE)["value"], SOURCE_ROUTES)
    return found


def _by_protocol(protocol: Array) -> list[tuple[str, int]]:
    counts = np.bincount(protocol, minlength=256)
    return [(protocol_reason(p), int(counts[p])) for p in np.flatnonzero(counts).tolist()]

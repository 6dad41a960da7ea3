"""Headers inside each other, all packets at once: from a tunnel's header to the next one, until TCP or the end is reached.

What the fast path declines goes around here: each round reads one header of every packet that is still on its way, all
packets with the same kind of header together. What is rarer still (fragments, ICMP errors, headers without a layout) is
declined once more and goes to the general path, which is this one's twin and starts from the packet's beginning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wiredoctor.decode import link as links
from wiredoctor.decode.hashing import mix
from wiredoctor.decode.layouts import TCP as TCP_HEADER
from wiredoctor.decode.layouts import gather
from wiredoctor.decode.names import BIT, names_of
from wiredoctor.decode.network import (
    AH,
    ETHER_IP,
    FRAME,
    GRE,
    IPIP,
    IPV6_IN_IP,
    MPLS_IN_IP,
    TCP,
    TUNNELS,
    Network,
    protocol_reason,
)
from wiredoctor.decode.reasons import link_reason, type_reason
from wiredoctor.decode.tunnels import GENEVE, GTP_U, L2TP, LINUX_VXLAN, MPLS_IN_UDP, TUNNEL_PORTS, UDP, VXLAN, VXLAN_GPE

if TYPE_CHECKING:
    from wiredoctor.tables import Array, Columns

MAX_ROUNDS = 32
"""Headers read of one packet. Real ones have a dozen; the general path follows more."""

PROTOCOL, NEXT_HEADER, OTHER, LINK, PORT = 0x10000, 0x10100, 0x10200, 0x20000, 0x30000
"""What comes next is a number: an EtherType, or from here on an IP protocol, an IPv6 extension header, one of the constants
below, a link type, the UDP port of a tunnel."""

KINDS = 0x40000

LLC = 4
"""Any number below link.FIRST_TYPE."""

ETHERNET, PPP, CISCO_HDLC, ERSPAN1, ERSPAN2, ERSPAN3, WCCP, GTP_EXTENSION, BY_VERSION, PADDED_WIFI = range(OTHER, OTHER + 10)

DONE, DECLINED, REFUSED = -1, -2, -3
"""TCP is reached; the general path has to look; there is nothing to analyse."""

_NAMED: dict[str, tuple[int, ...]] = {
    "PPPoE": (0x8864, LINK + 51), "PPP": (0x880B, PPP, LINK + 9, LINK + 50),
    "MPLS": (0x8847, 0x8848, PROTOCOL + MPLS_IN_IP, PORT + MPLS_IN_UDP),
    "802.1ah": (0x88E7,), "802.1BR": (0x893F,), "VN-tag": (0x8926,), "FabricPath": (0x8903,), "HSR": (0x892F,),
    "IP in IP": (PROTOCOL + IPIP, PROTOCOL + IPV6_IN_IP), "AH": (PROTOCOL + AH,), "GRE": (PROTOCOL + GRE,),
    "ERSPAN": (ERSPAN1, ERSPAN2, ERSPAN3), "Ethernet in IP": (PROTOCOL + ETHER_IP, PROTOCOL + FRAME),
    "VXLAN": (PORT + VXLAN, PORT + VXLAN_GPE, PORT + LINUX_VXLAN), "GENEVE": (PORT + GENEVE,), "GTP-U": (PORT + GTP_U,),
    "L2TP": (PORT + L2TP,),
}  # fmt: skip
"""By what the report calls them, where readers of this path know them."""

Reader = Callable[["Walk", "Array"], None]
"""Reads the next header of the packets with these indices: moves `at` behind it and says what comes next in `kind`."""


class Nested(NamedTuple):
    """What became of packet records."""

    tcp: Network
    """Those that lead to TCP, in order; their link.link_hash and link.encapsulation are set."""
    general: Array
    """Those that the general path has to look at."""
    refused: Counter[str]
    """Reason -> packets of the others."""
    encapsulations: Counter[str]
    """Name -> packets with TCP in it."""
    longest_cut: int
    """As in state.DecodeState."""


@dataclass
class Walk:
    """Packets on their way: a row each, names as in packet.Packet. `row` counts packet records."""

    data: Array
    row: Array
    at: Array
    stop: Array
    """Where reading ends: what lies behind was not captured, or is not the packet's."""
    limit: Array
    """Where the packet ended on the wire."""
    kind: Array
    link_hash: Array
    encapsulation: Array
    refused: Counter[str] = field(default_factory=Counter[str])
    encapsulations: Counter[str] = field(default_factory=Counter[str])

    def __post_init__(self) -> None:
        rows = len(self.row)
        self.routed, self.ip_version, self.ttl = (np.zeros(rows, np.uint8) for _ in range(3))
        self.source_high, self.source_low = np.zeros(rows, np.uint64), np.zeros(rows, np.uint64)
        self.destination_high, self.destination_low = np.zeros(rows, np.uint64), np.zeros(rows, np.uint64)
        self.ip_id = np.zeros(rows, np.int32)
        self.names = np.zeros(rows, np.uint32)
        self.mirrored, self.cut = np.zeros(rows, bool), np.zeros(rows, bool)

    def has(self, i: Array, size: Array | int) -> Array:
        """Which of these packets have so many more bytes."""
        return self.at[i] + size <= self.stop[i]

    def only(self, i: Array, good: Array, reason: str) -> Array:
        """The good ones of these; the others end here."""
        if good.all():
            return i
        self.refuse(i[~good], reason)
        return i[good]

    def take(self, i: Array, layout: np.dtype[np.void], reason: str) -> tuple[Array, Array]:
        """Those of these packets that hold a whole header of this layout, and the headers; reading goes on behind them."""
        i = self.only(i, self.has(i, layout.itemsize), reason)
        header = self.peek(i, layout)
        self.at[i] += layout.itemsize
        return i, header

    def peek(self, i: Array, layout: np.dtype[np.void]) -> Array:
        """The headers of these packets, which must be there, or must not be used."""
        return gather(self.data, self.at[i], layout)

    def byte(self, i: Array, ahead: Array | int = 0) -> Array:
        """The byte so far ahead; 0 where there is none."""
        at = self.at[i] + ahead
        return np.where(at < self.stop[i], self.data[np.clip(at, 0, self.data.size - 1)], 0)

    def refuse(self, i: Array, reason: str) -> None:
        """There is nothing to analyse in these packets."""
        self.kind[i] = REFUSED
        self.refused[reason] += len(i)

    def passed(self, i: Array, word: Array) -> None:
        """Remembers encapsulating headers."""
        self.encapsulation[i] = mix(self.encapsulation[i], word.astype(np.uint64))

    def restrict(self, i: Array, size: Array) -> None:
        """The headers before say that the packets end `size` bytes from here, unless they end earlier."""
        self.limit[i] = limit = np.minimum(self.limit[i], self.at[i] + size)
        self.stop[i] = np.minimum(self.stop[i], limit)

    def measure(self, i: Array, size: Array) -> None:
        """The IP headers say that the packets end `size` bytes from here: of mirrored ones that may have been cut off."""
        end = self.at[i] + size
        cut = self.mirrored[i] & (end > self.limit[i])
        self.restrict(i[~cut], size[~cut])
        self.limit[i[cut]] = end[cut]
        self.cut[i[cut]] = True


def nested(data: Array, rows: Array, link: links.Link, records: Columns) -> Nested:
    """Follows the packet records `rows`, which the fast path declined."""
    walk = _begin(data, rows, link, records)
    readers, table = _readers()
    bits = _bits()
    active = np.arange(len(rows))
    for _ in range(MAX_ROUNDS):
        kind = walk.kind[active]
        which = table[kind]
        walk.names[active] |= bits[kind]
        present = np.flatnonzero(np.bincount(which, minlength=len(readers))).tolist()
        for number in present:
            readers[number](walk, active if len(present) == 1 else active[which == number])
        active = active[walk.kind[active] >= 0]
        if not len(active):
            break
    walk.kind[active] = DECLINED
    done = np.flatnonzero(walk.kind == DONE)
    _count(walk, done)
    link.link_hash[rows[done]], link.encapsulation[rows[done]] = walk.link_hash[done], walk.encapsulation[done]
    cut = rows[walk.cut & (walk.kind != DECLINED)]
    longest = int(records["captured"][cut].max()) if len(cut) else -1
    return Nested(_network(walk, done), rows[walk.kind == DECLINED], walk.refused, walk.encapsulations, longest)


def _begin(data: Array, rows: Array, link: links.Link, records: Columns) -> Walk:
    """The packets behind their link headers, as far as those were read."""
    offset, kind, link_type = records["offset"][rows], link.type[rows].copy(), records["link_type"][rows]
    at, end = link.network[rows].copy(), offset + records["captured"][rows]
    limit = offset + np.maximum(records["captured"][rows], records["length"][rows])
    unread = kind == links.GENERAL
    at[unread] = offset[unread]
    kind[unread] = LINK + link_type[unread]
    link_hash, passed = (np.where(unread, np.uint64(0), h[rows]) for h in (link.link_hash, link.encapsulation))
    return Walk(data, rows, at, end, limit, kind, link_hash, passed)


def _network(walk: Walk, done: Array) -> Network:
    own = {name: getattr(walk, name)[done] for name in ("row", "limit", *_OF_IP)}
    return Network(transport=walk.at[done], end=walk.stop[done], **own)


_OF_IP = ("ip_version", "source_high", "source_low", "destination_high", "destination_low", "ip_id", "ttl")


def _count(walk: Walk, done: Array) -> None:
    """Counts the encapsulations of those that have a whole TCP header; the others come to the general path, or to nothing."""
    whole = walk.names[done[walk.has(done, TCP_HEADER.itemsize) & (walk.names[done] > 0)]]
    for bits, packets in zip(*(found.tolist() for found in np.unique(whole, return_counts=True)), strict=True):
        for name in names_of(bits):
            walk.encapsulations[name] += packets


@cache
def _bits() -> Array:
    """For each kind the bit of its encapsulation, 0 for the usual headers."""
    bits = np.zeros(KINDS, np.uint32)
    for name, kinds in _NAMED.items():
        bits[list(kinds)] = BIT[name]
    return bits


@cache
def _readers() -> tuple[list[Reader], Array]:
    """All readers, and for each kind which of them reads it."""
    from wiredoctor.decode import nested_ip, nested_link, nested_udp, nested_wifi

    readers: list[Reader] = [_unknown, _tcp, decline]
    table = np.zeros(KINDS, np.int16)
    for module in (nested_link, nested_ip, nested_udp, nested_wifi):
        for kinds, reader in module.READERS:
            table[list(kinds)] = len(readers)
            readers.append(reader)
    table[PROTOCOL + TCP] = 1
    known = [LINK + number for number in links.LINK_TYPES] + [PORT + number for number in TUNNEL_PORTS]
    known += [PROTOCOL + number for number in TUNNELS] + [*range(NEXT_HEADER, OTHER), *links.GENERAL_TYPES]
    table[[kind for kind in known if not table[kind]]] = 2  # to the general path
    return readers, table


def _tcp(walk: Walk, i: Array) -> None:
    walk.kind[i] = DONE


def decline(walk: Walk, i: Array) -> None:
    """For the general path."""
    walk.kind[i] = DECLINED


def _unknown(walk: Walk, i: Array) -> None:
    """What leads nowhere, under the words of its registry."""
    kinds, counts = np.unique(walk.kind[i], return_counts=True)
    walk.kind[i] = REFUSED
    for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
        walk.refused[_reason(kind)] += count


def _reason(kind: int) -> str:
    if kind < PROTOCOL:
        return type_reason(kind)
    if kind < NEXT_HEADER:
        return protocol_reason(kind - PROTOCOL)
    return link_reason(kind - LINK) if kind < PORT else protocol_reason(UDP)

"""IP, its extension headers and the tunnels that are IP protocols of their own: readers of nested.Walk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.decode import nested as n
from wiredoctor.decode.layouts import AUTHENTICATION, EXTENSION, GRE, IPV4, IPV6, WORD, gather
from wiredoctor.decode.link import GENERAL_TYPES, IPV4_TYPE, IPV6_TYPE, VLAN_TYPES
from wiredoctor.decode.network import (
    AH,
    ETHER_IP,
    EXTENSIONS,
    FRAGMENT_OFFSET,
    ICMP,
    ICMP_ERRORS,
    ICMPV6,
    ICMPV6_ERRORS,
    IPIP,
    IPV6_IN_IP,
    JUMBO,
    MORE_FRAGMENTS,
    protocol_reason,
    source_routed,
)
from wiredoctor.decode.network import GRE as GRE_PROTOCOL
from wiredoctor.decode.reasons import BAD_IP, CUT_IP
from wiredoctor.decode.tunnels import ARUBA, ERSPAN_MIRROR
from wiredoctor.tables import NONE

if TYPE_CHECKING:
    from wiredoctor.decode.nested import Reader, Walk
    from wiredoctor.tables import Array

_FRAGMENTED = (1, 4, 6, 17, 41, 47, 51, 58, 97, 137, 143)
"""Protocols whose fragments the general path puts together."""

_HOP_BY_HOP, _ROUTING, _FRAGMENT, _NO_NEXT_HEADER, _DESTINATION = 0, 43, 44, 59, 60
_CHECKSUM, _ROUTE, _KEY, _SEQUENCE, _ACK, _VERSION = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080, 0x0007
_INSIDE_GRE = (IPV4_TYPE, IPV6_TYPE, *VLAN_TYPES, *GENERAL_TYPES)


def ipv4(w: Walk, i: Array) -> None:
    """RFC 791."""
    start = w.at[i]
    whole = w.has(i, IPV4.itemsize)
    i, start = w.only(i, whole, CUT_IP), start[whole]
    header = gather(w.data, start, IPV4)
    size, total = (header["version_ihl"] & 15).astype(np.int64) * 4, header["total_length"].astype(np.int64)
    sound = (header["version_ihl"] >> 4 == 4) & (size >= IPV4.itemsize) & ((total >= size) | (total == 0))
    if not sound.all():
        i, start, header, size, total = w.only(i, sound, BAD_IP), start[sound], header[sound], size[sound], total[sound]
    zero = np.zeros(len(i), np.uint64)
    _enter(w, i, 4, (zero, header["source"], zero, header["destination"]))
    w.ip_id[i], w.ttl[i] = header["identification"], header["ttl"]
    limited = total > 0
    w.measure(i[limited], total[limited])
    w.at[i] = start + size
    w.kind[i] = n.PROTOCOL + header["protocol"].astype(np.int32)
    pieces = (header["fragment"] & (MORE_FRAGMENTS | FRAGMENT_OFFSET)) != 0
    if pieces.any():
        w.kind[i[pieces & np.isin(header["protocol"], _FRAGMENTED)]] = n.DECLINED
    if (size > IPV4.itemsize).any():
        w.kind[i[source_routed(w.data, start, size, w.stop[i])]] = n.DECLINED


def ipv6(w: Walk, i: Array) -> None:
    """RFC 8200."""
    i, header = w.take(i, IPV6, CUT_IP)
    sound = header["version_class_flow"] >> 28 == 6
    if not sound.all():
        i, header = w.only(i, sound, BAD_IP), header[sound]
    names = ("source_high", "source_low", "destination_high", "destination_low")
    _enter(w, i, 6, tuple(header[name] for name in names))
    w.ip_id[i], w.ttl[i] = NONE, header["hop_limit"]
    size, following = header["payload_length"].astype(np.int64), header["next_header"]
    jumbo = (size == 0) & ((following == _HOP_BY_HOP) | (w.limit[i] - w.at[i] > JUMBO))
    w.measure(i[~jumbo], size[~jumbo])
    w.kind[i] = _next_header(following)


def _enter(w: Walk, i: Array, version: int, addresses: tuple[Array, ...]) -> None:
    """An IP header inside another one makes the outer one an encapsulation."""
    inner = i[w.routed[i] > 0]
    if len(inner):
        w.passed(inner, w.source_low[inner])
        w.passed(inner, w.destination_low[inner])
    w.routed[i] = 1
    w.ip_version[i] = version
    w.source_high[i], w.source_low[i], w.destination_high[i], w.destination_low[i] = addresses


def _next_header(number: Array) -> Array:
    number = number.astype(np.int32)
    extension = (number == EXTENSIONS[0]) | (number == EXTENSIONS[1]) | (number == EXTENSIONS[2]) | (number == EXTENSIONS[3])
    return np.where(extension, n.NEXT_HEADER, n.PROTOCOL) + number


def _extension(w: Walk, i: Array) -> None:
    """RFC 8200 section 4: options and routing."""
    i, header = w.take(i, EXTENSION, CUT_IP)
    w.at[i] += header["length"].astype(np.int64) * 8
    w.kind[i] = _next_header(header["next"])


def _fragment(w: Walk, i: Array) -> None:
    """RFC 6946: a fragment that is the whole datagram needs nothing put together."""
    i, header = w.take(i, EXTENSION, CUT_IP)
    w.kind[i] = np.where(header["rest"] & ~np.uint16(6) != 0, n.DECLINED, _next_header(header["next"]))


def _authentication(w: Walk, i: Array) -> None:
    """RFC 4302: the header authenticates what follows and leaves it readable."""
    i, header = w.take(i, AUTHENTICATION, CUT_IP)
    w.at[i] += (header["length"].astype(np.int64) - 1) * 4
    following = _next_header(header["next"])
    w.kind[i] = following
    w.only(i, following < n.NEXT_HEADER, protocol_reason(_NO_NEXT_HEADER))


def _icmp(w: Walk, i: Array) -> None:
    """RFC 792, RFC 4443: errors quote the packet that caused them."""
    there = w.has(i, 1)
    kind, protocol = w.byte(i), w.kind[i] - n.PROTOCOL
    error = there & np.where(protocol == ICMP, np.isin(kind, ICMP_ERRORS), np.isin(kind, ICMPV6_ERRORS))
    w.kind[i[error]] = n.DECLINED
    for number in (ICMP, ICMPV6):
        w.only(i[protocol == number], error[protocol == number], protocol_reason(number))


def _gre(w: Walk, i: Array) -> None:
    """RFC 2784, RFC 2890, and version 1 of RFC 2637 (PPTP)."""
    i, header = w.take(i, GRE, CUT_IP)
    routed = header["flags"] & _ROUTE != 0
    w.kind[i[routed]] = n.DECLINED
    i, flags, type_ = i[~routed], header["flags"][~routed], header["type"][~routed].astype(np.int32)
    w.passed(i, type_)
    w.at[i] += 4 * (flags & _CHECKSUM != 0)
    key = flags & _KEY != 0
    network = i[key & (flags & _VERSION == 0) & w.has(i, WORD.itemsize)]  # in version 1 it has the length of the payload
    w.passed(network, w.peek(network, WORD)["value"])
    numbered = flags & _SEQUENCE != 0
    w.at[i] += 4 * key + 4 * numbered + 4 * (flags & _ACK != 0)
    whole = w.has(i, 1)
    _inside_gre(w, w.only(i, whole, "GRE"), type_[whole], numbered[whole])


def _inside_gre(w: Walk, i: Array, type_: Array, numbered: Array) -> None:
    known = np.isin(type_, _INSIDE_GRE)
    w.kind[i] = np.where(known, type_, n.REFUSED)
    mirror = type_ == 0x88BE
    w.mirrored[i] |= mirror | (type_ == 0x22EB) | (type_ == 0x6558) | (type_ == 0x6400)
    for what, kind in (
        (type_ == 0x6400, n.ETHERNET),
        (mirror & ~numbered, n.ERSPAN1),  # which has no header and no sequence number
        (mirror & numbered, n.ERSPAN2),
        (type_ == 0x22EB, n.ERSPAN3),
        (type_ == 0x883E, n.WCCP),
        (np.isin(type_, ARUBA), n.LINK + 105),
    ):
        w.kind[i[what]] = kind
        known |= what
    w.only(i, known, "GRE")


def _erspan(w: Walk, i: Array) -> None:
    """draft-foschiano-erspan: VLAN and session tell mirrors apart; class and whether the frame was cut do not."""
    size = np.where(w.kind[i] == n.ERSPAN2, 8, 12 + 8 * (w.byte(i, 11).astype(np.int64) & 1))
    whole = w.has(i, size)
    i = w.only(i, whole, CUT_IP)
    w.passed(i, w.peek(i, WORD)["value"] & ERSPAN_MIRROR)
    w.at[i] += size[whole]
    w.kind[i] = n.ETHERNET


def _ether_ip(w: Walk, i: Array) -> None:
    """RFC 3378: a version, then the frame."""
    w.at[i] += 2
    w.kind[i] = n.ETHERNET


def _wccp(w: Walk, i: Array) -> None:
    """Version 2 has a redirect header, whose first half byte is no IP version."""
    w.at[i] += 4 * (w.byte(i) >> 4 != 4)
    w.kind[i] = 0x0800


READERS: tuple[tuple[tuple[int, ...], Reader], ...] = (
    ((0x0800, n.PROTOCOL + IPIP, n.LINK + 228), ipv4),
    ((0x86DD, n.PROTOCOL + IPV6_IN_IP, n.LINK + 229), ipv6),
    (tuple(n.NEXT_HEADER + number for number in (_HOP_BY_HOP, _ROUTING, _DESTINATION)), _extension),
    ((n.NEXT_HEADER + _FRAGMENT,), _fragment),
    ((n.PROTOCOL + AH,), _authentication),
    ((n.PROTOCOL + ICMP, n.PROTOCOL + ICMPV6), _icmp),
    ((n.PROTOCOL + GRE_PROTOCOL,), _gre),
    ((n.ERSPAN2, n.ERSPAN3), _erspan),
    ((n.WCCP,), _wccp),
    ((n.PROTOCOL + ETHER_IP,), _ether_ip),
)

"""Ethernet, what its types lead to on the way to IP, and the headers of other links: readers of nested.Walk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.decode import nested as n
from wiredoctor.decode.hashing import mix
from wiredoctor.decode.layouts import ATTRIBUTE, LLC, MPLS, PPPOE, SNAP, TYPE, VLAN, WORD, gather
from wiredoctor.decode.layouts import ETHERNET as ETHERNET_HEADER
from wiredoctor.decode.link import BAD_VERSION, FIRST_TYPE, FRAMES, IPV4_TYPE, IPV6_TYPE, VLAN_TYPES
from wiredoctor.decode.network import FRAME, MPLS_IN_IP
from wiredoctor.decode.reasons import CUT_LINK, type_reason
from wiredoctor.decode.tunnels import MPLS_IN_UDP

if TYPE_CHECKING:
    from wiredoctor.decode.nested import Reader, Walk
    from wiredoctor.tables import Array

_PPP_TYPES = {0x0021: IPV4_TYPE, 0x0057: IPV6_TYPE, 0x0281: 0x8847, 0x0283: 0x8848}
"""PPP protocol numbers (IANA "PPP Numbers") -> EtherTypes."""

_MULTILINK = 0x003D

_FAMILIES = {2: IPV4_TYPE, 10: IPV6_TYPE, 24: IPV6_TYPE, 28: IPV6_TYPE, 30: IPV6_TYPE}

_NFLOG_PAYLOAD = 9
_MAX_ATTRIBUTES = 40
"""Of one packet of the netfilter log; the general path follows more."""


def ethernet(w: Walk, i: Array) -> None:
    """IEEE 802.3 with EtherType or length."""
    i, header = w.take(i, ETHERNET_HEADER, CUT_LINK)
    hashed, before = mix(header["addresses"], header["addresses_end"].astype(np.uint64)), w.link_hash[i]
    w.link_hash[i] = np.where(before == 0, hashed, before)
    w.kind[i] = type_ = header["type"].astype(np.int32)
    short = type_ < FIRST_TYPE
    w.restrict(i[short], type_[short].astype(np.int64))


def _vlan(w: Walk, i: Array) -> None:
    i, header = w.take(i, VLAN, CUT_LINK)
    w.passed(i, header["tag"] & 0x0FFF)
    w.kind[i] = header["type"]


def _llc(w: Walk, i: Array) -> None:
    """IEEE 802.2, and SNAP (RFC 1042) behind it."""
    i, header = w.take(i, LLC, CUT_LINK)
    points, unnumbered = header["access_points"], header["control"] == 3
    ip = (points == 0x0606) & unnumbered
    w.kind[i[ip]] = IPV4_TYPE
    i = i[~ip]
    i = w.only(i, ((points == 0xAAAA) & unnumbered)[~ip], "LLC")
    i, snap = w.take(i, SNAP, CUT_LINK)
    known = (snap["organization"] == 0) & ((snap["organization_end"] == 0) | (snap["organization_end"] == 0xF8))
    w.kind[w.only(i, known, "LLC")] = snap["type"][known]


def _mpls(w: Walk, i: Array) -> None:
    """RFC 3032, one label. Behind the last one nothing says what follows; the first half byte does, as in Wireshark."""
    i, header = w.take(i, MPLS, CUT_LINK)
    entry = header["label_class_bottom_ttl"].astype(np.int64)
    w.passed(i, entry >> 12)
    i = i[entry & 0x100 != 0]
    version = np.where(w.has(i, 1), w.byte(i) >> 4, 15)
    w.kind[i[version == 4]], w.kind[i[version == 6]] = IPV4_TYPE, IPV6_TYPE
    frame = i[(version != 4) & (version != 6)]
    if len(frame):
        _pseudowire(w, frame)


def _pseudowire(w: Walk, i: Array) -> None:
    """RFC 4385: a control word and then Ethernet, or without it, which the EtherType shows."""
    framed, framed_behind = (w.has(i, at + 2) & np.isin(gather(w.data, w.at[i] + at, TYPE)["type"], FRAMES) for at in (12, 16))
    alone = framed & ~framed_behind
    word = ~alone & w.has(i, 4) & (w.byte(i) >> 4 == 0)
    w.at[i[word]] += 4
    w.kind[i] = n.ETHERNET
    w.only(i, alone | word, "MPLS")


def _pppoe(w: Walk, i: Array) -> None:
    """RFC 2516: session stage."""
    i, header = w.take(i, PPPOE, CUT_LINK)
    w.passed(i, header["session"])
    w.restrict(i, header["length"].astype(np.int64))
    w.kind[i] = n.PPP


def _ppp(w: Walk, i: Array) -> None:
    """RFC 1661, with or without the bytes of RFC 1662 in front, the protocol number perhaps compressed; or Cisco's framing."""
    first = w.byte(i)
    cisco = (first == 0x0F) | (first == 0x8F)
    w.kind[i[cisco]] = n.CISCO_HDLC
    i, first = i[~cisco], first[~cisco]
    w.at[i] += 2 * ((first == 0xFF) & (w.byte(i, 1) == 0x03))
    i = w.only(i, w.has(i, 1), CUT_LINK)
    size = 2 - (w.byte(i) & 1).astype(np.int64)
    whole = w.has(i, size)
    i, size = w.only(i, whole, CUT_LINK), size[whole]
    number = np.where(size == 1, w.byte(i), w.byte(i).astype(np.int32) << 8 | w.byte(i, 1))
    w.at[i] += size
    type_ = np.full(len(i), -1, np.int32)
    for protocol, ether_type in _PPP_TYPES.items():
        type_[number == protocol] = ether_type
    several = number == _MULTILINK
    w.kind[i] = np.where(several, n.DECLINED, type_)
    w.only(i, several | (type_ >= 0), "PPP")


def _cisco_hdlc(w: Walk, i: Array) -> None:
    i, header = w.take(i, VLAN, CUT_LINK)
    w.kind[i] = header["type"]


def _e_tag(w: Walk, i: Array) -> None:
    """IEEE 802.1BR: the tag of a port extender."""
    i = w.only(i, w.has(i, 8), CUT_LINK)
    tag = w.peek(i, WORD)["value"].astype(np.int64) << 16
    w.at[i] += 4
    rest = w.peek(i, VLAN)
    w.passed(i, tag | rest["tag"])
    w.at[i] += 4
    w.kind[i] = rest["type"]


def _four_bytes(w: Walk, i: Array) -> None:
    """VN-tag, HSR (IEC 62439-3), R-tag (IEEE 802.1CB): 4 bytes, then the next EtherType."""
    i = w.only(i, w.has(i, 6), CUT_LINK)
    w.kind[i] = gather(w.data, w.at[i] + 4, TYPE)["type"]
    w.at[i] += 6


def _backbone(w: Walk, i: Array) -> None:
    """IEEE 802.1ah: a service tag, then the customer's frame."""
    i, header = w.take(i, WORD, CUT_LINK)
    w.passed(i, header["value"] & 0xFFFFFF)
    w.kind[i] = n.ETHERNET


def _fabric_path(w: Walk, i: Array) -> None:
    """Cisco FabricPath: tree and hop count, then the frame."""
    i = w.only(i, w.has(i, 2), CUT_LINK)
    w.at[i] += 2
    w.kind[i] = n.ETHERNET


def _raw(w: Walk, i: Array) -> None:
    """IP of the version that its first half byte says."""
    i = w.only(i, w.has(i, 1), CUT_LINK)
    version = w.byte(i) >> 4
    w.kind[i] = np.where(version == 4, IPV4_TYPE, IPV6_TYPE)
    w.only(i, (version == 4) | (version == 6), type_reason(BAD_VERSION))


def _enc(w: Walk, i: Array) -> None:
    """OpenBSD's enc interface: family (in host byte order), SPI and flags."""
    i = w.only(i, w.has(i, 12), CUT_LINK)
    w.at[i] += 12
    _raw(w, i)


def _pflog(w: Walk, i: Array) -> None:
    """OpenBSD's packet filter log: a header of a length that its first byte says, padded to 4 bytes."""
    i = w.only(i, w.has(i, 1), CUT_LINK)
    size = w.byte(i).astype(np.int64) + 3 & ~3
    whole = w.has(i, size)
    i = w.only(i, whole, CUT_LINK)
    w.at[i] += size[whole]
    _raw(w, i)


def _nflog(w: Walk, i: Array) -> None:
    """Linux netfilter log (tcpdump.org/linktypes/LINKTYPE_NFLOG.html): attributes, one of which is the packet."""
    i, header = w.take(i, ATTRIBUTE, CUT_LINK)
    family = header["length"] & 0xFF  # the first byte
    for _ in range(_MAX_ATTRIBUTES):
        if not len(i):
            return
        head, whole = w.peek(i, ATTRIBUTE), w.has(i, ATTRIBUTE.itemsize)
        size = head["length"].astype(np.int64)
        whole &= size >= ATTRIBUTE.itemsize
        found = whole & (head["type"] & 0x7FFF == _NFLOG_PAYLOAD)
        _packet_of_the_log(w, i[found], size[found], family[found])
        w.refuse(i[~whole], "NFLOG without a packet")
        on = whole & ~found
        i, family = i[on], family[on]
        w.at[i] += size[on] + 3 & ~3
    w.kind[i] = n.DECLINED


def _packet_of_the_log(w: Walk, i: Array, size: Array, family: Array) -> None:
    w.restrict(i, size)
    w.at[i] += ATTRIBUTE.itemsize
    w.kind[i] = 0xFFFF
    for number, ether_type in _FAMILIES.items():
        w.kind[i[family == number]] = ether_type


def _ppi(w: Walk, i: Array) -> None:
    """Per-Packet Information (LINKTYPE_PPI): a header that says which link type follows."""
    i = w.only(i, w.has(i, 8), CUT_LINK)
    size = gather(w.data, w.at[i] + 2, ATTRIBUTE)["length"].astype(np.int64)
    whole = (size >= 8) & w.has(i, size)
    i, size = w.only(i, whole, CUT_LINK), size[whole]
    number = gather(w.data, w.at[i] + 4, ATTRIBUTE)
    w.at[i] += size
    w.kind[i] = n.LINK + number["length"].astype(np.int32)
    w.kind[i[number["type"] > 0]] = n.DECLINED


READERS: tuple[tuple[tuple[int, ...], Reader], ...] = (
    ((*range(FIRST_TYPE), 0x8870, n.LINK + 100), _llc),
    (VLAN_TYPES, _vlan),
    ((n.ETHERNET, n.ERSPAN1, 0x6558, n.LINK + 1, n.PROTOCOL + FRAME), ethernet),
    ((0x8847, 0x8848, n.PROTOCOL + MPLS_IN_IP, n.PORT + MPLS_IN_UDP), _mpls),
    ((0x8864, n.LINK + 51), _pppoe),
    ((0x880B, n.PPP, n.LINK + 9, n.LINK + 50), _ppp),
    ((n.CISCO_HDLC, n.LINK + 104), _cisco_hdlc),
    ((0x8903,), _fabric_path),
    ((0x88E7,), _backbone),
    ((0x893F,), _e_tag),
    ((0x8926, 0x892F, 0xF1C1), _four_bytes),
    ((n.LINK + 12, n.LINK + 14, n.LINK + 101), _raw),
    ((n.LINK + 109,), _enc),
    ((n.LINK + 117,), _pflog),
    ((n.LINK + 192,), _ppi),
    ((n.LINK + 239,), _nflog),
)

"""IEEE 802.11 data frames that are not encrypted, and the headers that capture puts in front of them, one packet at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wiredoctor.decode.general_ethernet import llc
from wiredoctor.decode.hashing import mix_one
from wiredoctor.decode.reasons import CUT_LINK
from wiredoctor.decode.wifi import (
    AGGREGATE,
    DATA,
    ENCRYPTED,
    FROM_DS,
    HT_CONTROL,
    MORE_FRAGMENTS,
    NO_DATA,
    OTHER_VERSION,
    PADDED,
    PART,
    PROTECTED,
    QOS,
    RADIOTAP_FLAGS,
    RADIOTAP_MORE,
    RADIOTAP_TIME,
    REASONS,
    TO_DS,
    WITHOUT_DATA,
    WITHOUT_IP,
)

if TYPE_CHECKING:
    from wiredoctor.decode.packet import Packet, Step


def wifi(packet: Packet) -> Step | str:
    """IEEE 802.11-2020 section 9.3.2."""
    return _frame(packet, padded=False)


def swapped_wifi(packet: Packet) -> Step | str:
    """The same from an access point that swaps the first two bytes, as Cisco's do, or from one that does not."""
    first = packet.peek(2)
    return _frame(packet, padded=False, swapped=len(first) == 2 and first[0] & 0x0F != DATA and first[1] & 0x0F == DATA)


def _frame(packet: Packet, *, padded: bool, swapped: bool = False) -> Step | str:
    """padded: the driver put bytes behind the header so that what follows is aligned to 4."""
    if not packet.has(2):
        return CUT_LINK
    kind, flags = packet.peek(2)[:: -1 if swapped else 1]
    if kind & 0x0F != DATA:
        return WITHOUT_IP.get(kind & 0x0F, OTHER_VERSION)
    stopped = _unreadable(kind, flags)
    if stopped is not None:
        return stopped
    size = 24 + 6 * (flags & (TO_DS | FROM_DS) == (TO_DS | FROM_DS))
    qos = size if kind & QOS else None
    if qos is not None:
        size += 6 if flags & HT_CONTROL else 2
    if not packet.has(size):
        return CUT_LINK
    start = packet.at
    header = packet.take(size)
    if header[22] & 0x0F:
        return PART
    if packet.link_hash == 0:
        packet.link_hash = mix_one(int.from_bytes(header[4:12], "little"), int.from_bytes(header[12:16], "little"))
    if padded:
        packet.at = start + (size + 3 & ~3)
    return _aggregate if qos is not None and header[qos] & AGGREGATE else llc


def _unreadable(kind: int, flags: int) -> str | None:
    if kind & NO_DATA:
        return REASONS[WITHOUT_DATA]
    if flags & PROTECTED:
        return REASONS[ENCRYPTED]
    return PART if flags & MORE_FRAGMENTS else None


def _aggregate(packet: Packet) -> Step | str:
    """IEEE 802.11-2020 section 9.3.2.2.2. Of several frames in one only the first is read: a record gives one row."""
    if not packet.has(14):
        return CUT_LINK
    size = int.from_bytes(packet.take(14)[12:])
    if (size + 3 & ~3) + 14 <= packet.limit - packet.at:
        packet.state.limits["aggregate"] = "Of several frames that Wi-Fi sent in one (A-MSDU) only the first was read"
    packet.restrict(size)
    return llc


def radiotap(packet: Packet) -> Step | str:
    """radiotap.org: fields in little-endian, of which the header says which are there."""
    head = packet.peek(8)
    if len(head) < 8:
        return CUT_LINK
    size, present = int.from_bytes(head[2:4], "little"), int.from_bytes(head[4:], "little")
    if size < 8 or not packet.has(size):
        return CUT_LINK
    header = packet.take(size)
    at, more = 8, present
    while more & RADIOTAP_MORE and at + 4 <= size:
        more = int.from_bytes(header[at : at + 4], "little")
        at += 4
    if present & RADIOTAP_TIME:
        at = (at + 7 & ~7) + 8
    return _frame(packet, padded=bool(present & RADIOTAP_FLAGS and at < size and header[at] & PADDED))


def prism(packet: Packet) -> Step | str:
    """Prism and AVS headers (LINKTYPE_IEEE802_11_PRISM, _AVS): their length is in the second word, in either byte order."""
    head = packet.peek(8)
    if len(head) < 8:
        return CUT_LINK
    size = min(int.from_bytes(head[4:]), int.from_bytes(head[4:], "little"))
    if size < 8 or not packet.has(size):
        return CUT_LINK
    packet.at += size
    return wifi

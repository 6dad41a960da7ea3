"""IEEE 802.11 data frames that are not encrypted, and what capture puts in front of them: readers of nested.Walk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.decode import nested as n
from wiredoctor.decode.hashing import mix
from wiredoctor.decode.layouts import ADDRESSES, PRISM, RADIOTAP_FIELDS, gather
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
    from wiredoctor.decode.nested import Reader, Walk
    from wiredoctor.tables import Array

_MAX_WORDS = 8
"""Words of a radiotap header that say which fields are there; the general path reads more."""


def _wifi(w: Walk, i: Array) -> None:
    """IEEE 802.11-2020 section 9.3.2."""
    i = w.only(i, w.has(i, 2), CUT_LINK)
    padded = w.kind[i] == n.PADDED_WIFI
    kind, flags = w.byte(i), w.byte(i, 1)
    good = _readable(w, i, kind, flags)
    i, padded, kind, flags = i[good], padded[good], kind[good], flags[good]
    plain = 24 + 6 * (flags & (TO_DS | FROM_DS) == (TO_DS | FROM_DS)).astype(np.int64)
    quality = kind & QOS != 0
    size = plain + np.where(quality, np.where(flags & HT_CONTROL != 0, 6, 2), 0)
    whole = w.has(i, size)
    i, padded, plain, quality, size = w.only(i, whole, CUT_LINK), padded[whole], plain[whole], quality[whole], size[whole]
    first = w.byte(i, 22) & 0x0F == 0
    i, padded, plain, quality, size = w.only(i, first, PART), padded[first], plain[first], quality[first], size[first]
    addresses, before = gather(w.data, w.at[i] + 4, ADDRESSES), w.link_hash[i]
    hashed = mix(addresses["addresses"], addresses["addresses_end"].astype(np.uint64))
    w.link_hash[i] = np.where(before == 0, hashed, before)
    several = quality & (w.byte(i, plain) & AGGREGATE != 0)
    w.at[i] += np.where(padded, size + 3 & ~3, size)
    w.kind[i] = np.where(several, n.DECLINED, n.LLC)


def _readable(w: Walk, i: Array, kind: Array, flags: Array) -> Array:
    """Which are data frames, whole and not encrypted; the others end here."""
    what = kind & 0x0F
    good = what == DATA
    for number, reason in WITHOUT_IP.items():
        w.refuse(i[what == number], reason)
    known = good | np.isin(what, list(WITHOUT_IP))
    w.refuse(i[~known], OTHER_VERSION)
    for reason, stopped in (
        (REASONS[WITHOUT_DATA], kind & NO_DATA != 0),
        (REASONS[ENCRYPTED], flags & PROTECTED != 0),
        (PART, flags & MORE_FRAGMENTS != 0),
    ):
        w.refuse(i[good & stopped], reason)
        good &= ~stopped
    return good


def _radiotap(w: Walk, i: Array) -> None:
    """radiotap.org: fields in little-endian, of which the header says which are there."""
    i = w.only(i, w.has(i, RADIOTAP_FIELDS.itemsize), CUT_LINK)
    header = w.peek(i, RADIOTAP_FIELDS)
    size = header["length"].astype(np.int64)
    whole = (size >= RADIOTAP_FIELDS.itemsize) & w.has(i, size)
    i, size, present = w.only(i, whole, CUT_LINK), size[whole], header["present"][whole]
    field, more = np.full(len(i), RADIOTAP_FIELDS.itemsize), present
    for _ in range(_MAX_WORDS):
        going = (more & RADIOTAP_MORE != 0) & (field + 4 <= size)
        if not going.any():
            break
        more = np.where(going, gather(w.data, w.at[i] + field, PRISM)["kind"], 0)
        field = field + 4 * going
    else:
        going = (more & RADIOTAP_MORE != 0) & (field + 4 <= size)
        w.kind[i[going]] = n.DECLINED
        i, size, present, field = i[~going], size[~going], present[~going], field[~going]
    field = np.where(present & RADIOTAP_TIME != 0, (field + 7 & ~7) + 8, field)
    padded = (present & RADIOTAP_FLAGS != 0) & (field < size) & (w.byte(i, field) & PADDED != 0)
    w.at[i] += size
    w.kind[i] = np.where(padded, n.PADDED_WIFI, n.LINK + 105)


def _prism(w: Walk, i: Array) -> None:
    """Prism and AVS headers (LINKTYPE_IEEE802_11_PRISM, _AVS): their length is in the second word, in either byte order."""
    i = w.only(i, w.has(i, PRISM.itemsize), CUT_LINK)
    length = w.peek(i, PRISM)["length"]
    size = np.minimum(length, length.byteswap()).astype(np.int64)
    whole = (size >= PRISM.itemsize) & w.has(i, size)
    i = w.only(i, whole, CUT_LINK)
    w.at[i] += size[whole]
    w.kind[i] = n.LINK + 105


READERS: tuple[tuple[tuple[int, ...], Reader], ...] = (
    ((n.LINK + 105, n.PADDED_WIFI), _wifi),
    ((n.LINK + 127,), _radiotap),
    ((n.LINK + 119, n.LINK + 163), _prism),
)

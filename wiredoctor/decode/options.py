"""TCP options (RFC 9293 section 3.1), of all packets at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.decode.hashing import mix
from wiredoctor.decode.layouts import OPTIONS, gather
from wiredoctor.tables import NONE

if TYPE_CHECKING:
    from wiredoctor.tables import Array, Columns

END, NOP, MSS, WINDOW_SCALE, SACK, TIMESTAMPS = 0, 1, 2, 3, 5, 8
"""Option kinds, IANA "TCP Option Kind Numbers"."""

STAMPED = 32
"""Bytes of a TCP header with the time-stamp option, RFC 7323 appendix A."""

MAX_SHIFT = 14
"""RFC 7323 section 2.3."""

_SPACE = 40
_NOP_NOP_TIMESTAMPS = int.from_bytes(bytes((NOP, NOP, TIMESTAMPS, 10)), "little")
_MASKS = np.array([int.from_bytes(b"\xff" * n + b"\0" * (8 - n), "little") for n in range(9)], np.uint64)


def empty_options(rows: int) -> Columns:
    """The option columns of packets without options."""
    return {
        "options_hash": np.zeros(rows, np.uint64),
        "mss": np.full(rows, NONE, np.int32),
        "window_shift": np.full(rows, NONE, np.int8),
        "has_timestamps": np.zeros(rows, bool),
        "sack": np.zeros(rows, bool),
        "dsack": np.zeros(rows, bool),
    }


def parse_options(data: Array, at: Array, size: Array, ack: Array) -> Columns:
    """Option columns of tables.PACKETS. at: where the options of each packet begin; size: bytes of them that were captured."""
    columns = empty_options(len(at))
    rows = np.flatnonzero(size > 0)
    if not len(rows):
        return columns
    words = gather_options(data, at[rows], size[rows])
    columns["options_hash"][rows] = hash_options(words, size[rows])
    plain = ((words[:, 0] & np.uint64(0xFFFFFFFF)) == _NOP_NOP_TIMESTAMPS) & (size[rows] == 12)
    columns["has_timestamps"][rows] = plain
    other = np.flatnonzero(~plain)
    if len(other):
        _walk(columns, rows[other], words[other], size[rows[other]], ack[rows[other]])
    return columns


def gather_options(data: Array, at: Array, size: Array) -> Array:
    """(rows, 5) words of 8 option bytes each, zero beyond `size`."""
    if data.size < _SPACE:
        data = np.concatenate([data, np.zeros(_SPACE, np.uint8)])
    # At the end of the data the 40 bytes reach beyond it: those few are copied one by one.
    words: Array = gather(data, at, OPTIONS)["words"]
    for row in np.flatnonzero(at > data.size - _SPACE).tolist():
        piece = np.zeros(_SPACE, np.uint8)
        rest = data[int(at[row]) :]
        piece[: rest.size] = rest
        words[row] = piece.view(np.uint64)
    for word in range(5):
        words[:, word] &= _MASKS[np.clip(size - 8 * word, 0, 8)]
    return words


def hash_options(words: Array, size: Array) -> Array:
    """A hash of the option bytes, never 0. Words of zeros beyond the options do not count, so that most rows need two."""
    state = mix(size.astype(np.uint64), words[:, 0])
    state = mix(state, words[:, 1])
    longer = np.flatnonzero(size > 16)
    for word in (2, 3, 4):
        state[longer] = mix(state[longer], words[longer, word])
    return np.maximum(state, np.uint64(1))


def _walk(columns: Columns, rows: Array, words: Array, size: Array, ack: Array) -> None:
    """Steps through the options of all rows in lockstep: the n-th option of each, then the next."""
    option = words.view(np.uint8).reshape(len(rows), _SPACE)
    active, at = np.arange(len(rows)), np.zeros(len(rows), np.int64)
    while len(active):
        kind = option[active, at]
        going = kind != END
        active, at, kind = active[going], at[going], kind[going]
        limit = size[active]
        nop = kind == NOP
        length = np.where(nop, 1, option[active, np.minimum(at + 1, _SPACE - 1)].astype(np.int64))
        sound = nop | ((length >= 2) & (at + length <= limit))
        active, at, kind, length = active[sound], at[sound], kind[sound], length[sound]
        _read(columns, rows, option, active, at, kind, length, ack)
        at = at + length
        going = at < size[active]
        active, at = active[going], at[going]


def _read(columns: Columns, rows: Array, option: Array, active: Array, at: Array, kind: Array, length: Array, ack: Array) -> None:
    """Takes over the option at `at` of each active row, where it is one that matters and has the right length."""
    hit = np.flatnonzero((kind == MSS) & (length == 4))
    if len(hit):
        columns["mss"][rows[active[hit]]] = _number(option, active[hit], at[hit] + 2, 2)
    hit = np.flatnonzero((kind == WINDOW_SCALE) & (length == 3))
    if len(hit):
        columns["window_shift"][rows[active[hit]]] = np.minimum(option[active[hit], at[hit] + 2], MAX_SHIFT)
    hit = np.flatnonzero((kind == TIMESTAMPS) & (length == 10))
    columns["has_timestamps"][rows[active[hit]]] = True
    hit = np.flatnonzero((kind == SACK) & (length >= 10))
    if len(hit):
        row = active[hit]
        columns["sack"][rows[row]] = True
        columns["dsack"][rows[row]] = _duplicate(option, row, at[hit], length[hit], ack[row].astype(np.int64))


def _duplicate(option: Array, row: Array, at: Array, length: Array, ack: Array) -> Array:
    """RFC 2883 section 4: the first block lies below the ACK number, or within the second block."""
    left, right = _number(option, row, at + 2, 4), _number(option, row, at + 6, 4)
    two = length >= 18
    second = np.where(two, at + 10, at + 2)
    outer_left, outer_right = _number(option, row, second, 4), _number(option, row, second + 4, 4)
    inside = two & (_signed(left - outer_left) >= 0) & (_signed(outer_right - right) >= 0)
    return (_signed(ack - right) >= 0) | inside


def _number(option: Array, row: Array, at: Array, size: int) -> Array:
    number = np.zeros(len(row), np.int64)
    for byte in range(size):
        number = (number << 8) | option[row, at + byte]
    return number


def _signed(difference: Array) -> Array:
    """A difference of sequence numbers, modulo 2**32, as a signed number (RFC 9293 section 3.4)."""
    return ((difference + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)

"""Segmented scans: what came before a row in its own group, without a Python loop.

Rows are sorted by group (a connection) and, inside a group, by frame. Every function looks back only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wiredoctor.tables import NEVER, Array

_HALF = 1 << 44
"""Packed running maxima carry a value relative to its group in 45 bits and the group above them."""

BUCKETS = 64
"""Parts of the connections: a process has whole ones, and what is counted in a part does not depend on the processes."""


def bucket(addresses: tuple[Array, Array, Array, Array], ports: tuple[Array, Array]) -> Array:
    """Part (n,) of the connection of each packet: a hash that both directions have in common, below BUCKETS.

    Addresses: source high, low, destination high, low, as uint64.
    """
    mixed = addresses[0] ^ addresses[1] ^ addresses[2] ^ addresses[3]
    mixed = mixed ^ (ports[0].astype(np.uint64) * ports[1].astype(np.uint64))
    with np.errstate(over="ignore"):
        mixed *= np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(40)) % np.uint64(BUCKETS)


@dataclass(frozen=True)
class Groups:
    """Sorted rows and their groups: number of the group of each row (n,), first row of each group (k,), of each row's (n,)."""

    number: Array
    first: Array
    start: Array

    @property
    def count(self) -> int:
        """Number of groups, k."""
        return len(self.first)

    @property
    def last(self) -> Array:
        """Last row of each group (k,)."""
        return np.append(self.first[1:], len(self.number)) - 1


def group_rows(keys: Array) -> Groups:
    """Groups of equal neighbours in `keys` (n,), which must be sorted."""
    change = np.ones(len(keys), dtype=bool)
    change[1:] = keys[1:] != keys[:-1]
    number = np.cumsum(change) - 1
    first = np.flatnonzero(change)
    return Groups(number, first, first[number] if len(keys) else number)


def last_where(mask: Array, groups: Groups) -> Array:
    """Index of the newest row of the group, up to and including each row, where the mask holds; -1 without one."""
    index = np.where(mask, np.arange(len(mask)), -1)
    np.maximum.accumulate(index, out=index)
    index[index < groups.start] = -1
    return index


def before(index: Array, groups: Groups, none: int = -1) -> Array:
    """A scan's result as of the row before in the group; `none` at the group's first row."""
    shifted = np.empty_like(index)
    shifted[1:] = index[:-1]
    shifted[groups.first] = none
    return shifted


def fill(values: Array, index: Array, initial: Array) -> Array:
    """values[index], and `initial` (n,) where the index is -1."""
    if not len(values):
        return initial
    return np.where(index >= 0, values[index], initial)


def running_max(values: Array, mask: Array, groups: Groups, initial: Array) -> Array:
    """Largest value of the group so far (this row included) where the mask holds; `initial` (k,) goes before the first row.

    NEVER stands for "none yet", in `initial` and in the result.
    """
    reference = initial.copy()
    unset = reference == NEVER
    if unset.any():
        index = np.flatnonzero(mask)[::-1]
        first = np.full(groups.count, -1)
        first[groups.number[index]] = index
        use = unset & (first >= 0)
        reference[use] = values[first[use]]
    relative = values - reference[groups.number]
    inside = np.abs(relative) < _HALF
    if not bool(np.all(inside | ~mask)) or groups.count >= 1 << 17:
        return _running_max_slowly(values, mask, groups, initial)
    packed = np.where(mask, relative + _HALF, 0)
    np.maximum(packed, np.where(unset, 0, _HALF)[groups.number], out=packed)
    packed += groups.number << 45
    np.maximum.accumulate(packed, out=packed)
    packed -= groups.number << 45
    return np.where(packed == 0, NEVER, packed - _HALF + reference[groups.number])


def running_min(values: Array, mask: Array, groups: Groups, initial: Array) -> Array:
    """Smallest value of the group so far, as `running_max`."""
    largest = running_max(-values, mask, groups, np.where(initial == NEVER, NEVER, -initial))
    return np.where(largest == NEVER, NEVER, -largest)


def _running_max_slowly(values: Array, mask: Array, groups: Groups, initial: Array) -> Array:
    """The same for hostile offsets that do not fit 45 bits: a loop over the rows."""
    result = np.empty(len(values), dtype=np.int64)
    best, group = NEVER, -1
    for i, (value, use, number) in enumerate(zip(values.tolist(), mask.tolist(), groups.number.tolist(), strict=True)):
        if number != group:
            group, best = number, int(initial[number])
        if use and value > best:
            best = value
        result[i] = best
    return result

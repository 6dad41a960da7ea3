"""Columns that say something in a few rows and nothing in all others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wiredoctor.tables import Array, Columns

_BLANK: dict[tuple[str, int], Array] = {}


def blank(n: int, kind: str, value: int) -> Array:
    """A column (n,) of one value that nobody may write to: most epochs need no other, and it is made once."""
    known = _BLANK.get((kind, value))
    if known is None or len(known) < n:
        known = np.full(max(n, 1024), value, dtype=kind)
        known.setflags(write=False)
        _BLANK[kind, value] = known
    return known[:n]


def columns(n: int, kinds: Mapping[str, tuple[str, int]], rows: Mapping[int, tuple[int, ...]]) -> Columns:
    """The columns `kinds` (name -> dtype, value of all other rows); `rows` has a value for each of them, by row."""
    if not rows:
        return {name: blank(n, kind, value) for name, (kind, value) in kinds.items()}
    at = np.fromiter(rows, dtype=np.int64, count=len(rows))
    made: Columns = {}
    for (name, (kind, value)), values in zip(kinds.items(), zip(*rows.values(), strict=True), strict=True):
        made[name] = np.full(n, value, dtype=kind)
        made[name][at] = values
    return made

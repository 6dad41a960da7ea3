"""A cheap hash that is the same in every run: for arrays of 64-bit words, and for Python integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from wiredoctor.tables import Array

_WORD = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""Steele, Lea and Flood: Fast splittable pseudorandom number generators (SplitMix64), 2014."""


def mix(state: Array, word: Array) -> Array:
    """The hash of what `state` stands for, followed by `word` (both uint64)."""
    x = (state ^ word) + np.uint64(_STEP)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(_FIRST)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(_SECOND)
    return x ^ (x >> np.uint64(31))


def mix_one(state: int, word: int) -> int:
    """As `mix`, for one pair of integers."""
    x = ((state ^ word) + _STEP) & _WORD
    x = ((x ^ (x >> 30)) * _FIRST) & _WORD
    x = ((x ^ (x >> 27)) * _SECOND) & _WORD
    return x ^ (x >> 31)

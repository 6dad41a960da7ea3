"""A cheap hash that is the same in every run, of 64-bit words. It is only computed for packets that may be second copies."""

from __future__ import annotations

from typing import Final

WORD: Final = (1 << 64) - 1
STEP: Final = 0x9E3779B97F4A7C15
FIRST: Final = 0xBF58476D1CE4E5B9
SECOND: Final = 0x94D049BB133111EB
"""Steele, Lea and Flood: Fast splittable pseudorandom number generators (SplitMix64), 2014."""


def mix(state: int, word: int) -> int:
    """Return the hash of what `state` is the hash of, followed by `word`."""
    x = ((state ^ word) + STEP) & WORD
    x = ((x ^ (x >> 30)) * FIRST) & WORD
    x = ((x ^ (x >> 27)) * SECOND) & WORD
    return x ^ (x >> 31)

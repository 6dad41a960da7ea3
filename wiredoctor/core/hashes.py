"""Compute a fast hash of 64-bit words that is the same in every run, to compare packets that may be duplicate copies."""

from __future__ import annotations

from typing import Final

WORD: Final = (1 << 64) - 1
STEP: Final = 0x9E3779B97F4A7C15
FIRST: Final = 0xBF58476D1CE4E5B9
SECOND: Final = 0x94D049BB133111EB
"""The second of two multipliers. STEP, FIRST and SECOND are the constants of SplitMix64.

Source: Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014.
"""


def mix(state: int, word: int) -> int:
    """Return the hash of a sequence that ends with `word`; `state` is the hash of the words before it."""
    x = ((state ^ word) + STEP) & WORD
    x = ((x ^ (x >> 30)) * FIRST) & WORD
    x = ((x ^ (x >> 27)) * SECOND) & WORD
    return x ^ (x >> 31)

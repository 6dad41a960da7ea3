"""A cheap hash that is the same in every run, of 64-bit words."""

from __future__ import annotations

_WORD = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""Steele, Lea and Flood: Fast splittable pseudorandom number generators (SplitMix64), 2014."""


def mix_one(state: int, word: int) -> int:
    """Return the hash of what `state` stands for, followed by `word` (both of 64 bits)."""
    x = ((state ^ word) + _STEP) & _WORD
    x = ((x ^ (x >> 30)) * _FIRST) & _WORD
    x = ((x ^ (x >> 27)) * _SECOND) & _WORD
    return x ^ (x >> 31)

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


def hash_options(options: bytes) -> int:
    """Return the hash of the option bytes of a TCP header; 0 without options."""
    if not options:
        return 0
    padded = options.ljust(40, b"\0")
    state = mix(mix(len(options), int.from_bytes(padded[:8], "little")), int.from_bytes(padded[8:16], "little"))
    if len(options) > 16:
        for at in range(16, 40, 8):
            state = mix(state, int.from_bytes(padded[at : at + 8], "little"))
    return max(state, 1)

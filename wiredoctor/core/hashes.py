"""Compute fast hashes that are the same in every run: of 64-bit words, to compare packets, and of endpoints."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from wiredoctor.core.unsigned import u16, u32

WORD: Final = (1 << 64) - 1
STEP: Final = 0x9E3779B97F4A7C15
FIRST: Final = 0xBF58476D1CE4E5B9
SECOND: Final = 0x94D049BB133111EB
"""The second of two multipliers. STEP, FIRST and SECOND are the constants of SplitMix64.

Source: Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014.
"""

MULTIPLIER: Final = 0x1E3779B97F4A7C15
LOW_BITS: Final = (1 << 62) - 1


def mix(state: int, word: int) -> int:
    """Return the hash of a sequence that ends with `word`; `state` is the hash of the words before it."""
    x = ((state ^ word) + STEP) & WORD
    x = ((x ^ (x >> 30)) * FIRST) & WORD
    x = ((x ^ (x >> 27)) * SECOND) & WORD
    return x ^ (x >> 31)


def hash_endpoint(key: bytes, is_source: bool) -> i64:
    """Return a hash of the source or destination in `key`. The hash of an endpoint is the same in all processes."""
    size: i64 = (len(key) - 4) // 2
    at: i64 = 0 if is_source else size
    port = u16(key, 2 * size if is_source else 2 * size + 2)
    if size == 4:
        return u32(key, at) << 16 | port
    mixed = port
    for _ in range(4):
        # compiled code may overflow here; the low bits are the same with and without overflow
        mixed = (mixed ^ u32(key, at)) * MULTIPLIER & LOW_BITS
        mixed ^= mixed >> 32
        at += 4
    return mixed

"""Build parts of sentences."""

from __future__ import annotations

from collections.abc import Sequence


def join_words(parts: Sequence[str], last: str = "and") -> str:
    """Join words as in a sentence: "a", "a and b", "a, b and c". `last`: the conjunction, "and" or "or"."""
    return f" {last} ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)

"""Bytes read as decisions, in the manner of libFuzzer's FuzzedDataProvider: any bytes are a valid list of decisions, and a
small change of the bytes is a small change of what is decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Decisions from the front to the back of `data`; where it ends, all that follows is 0."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        """Whether anything is left to decide with."""
        return self._at < len(self._data)

    def byte(self) -> int:
        """0 to 255."""
        at = self._at
        self._at += 1
        return self._data[at] if at < len(self._data) else 0

    def whole(self, size: int) -> int:
        """An unsigned number of so many bytes."""
        return int.from_bytes(self.bytes(size).ljust(size, b"\0"))

    def below(self, limit: int) -> int:
        """0 to limit - 1, of as few bytes as that needs."""
        return self.whole((max(limit - 1, 1).bit_length() + 7) // 8) % limit if limit > 1 else 0

    def one(self, values: Sequence[T]) -> T:
        """One of these."""
        return values[self.below(len(values))]

    def chance(self, of: int) -> bool:
        """True once in `of` times."""
        return self.below(of) == 1

    def bytes(self, size: int) -> bytes:
        """At most so many bytes; fewer where the data ends."""
        part = self._data[self._at : self._at + size]
        self._at += size
        return part

    def rest(self) -> bytes:
        """All that is left."""
        return self.bytes(len(self._data))

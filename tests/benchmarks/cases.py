"""Registers hostile captures: each is written by a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

Write = Callable[[Any, int], None]
"""Writes a case into a capture, so many times."""


class Case(NamedTuple):
    """A hostile capture: what it has `size` of at least, and the function that writes it."""

    name: str
    what: str
    size: int
    write: Write


class Cases(list[Case]):
    """The cases in the order of their definition."""

    def add(self, what: str, size: int) -> Callable[[Write], Write]:
        """Register the decorated function as a case of this smallest size, under its name."""

        def register(write: Write) -> Write:
            self.append(Case(write.__name__.replace("_", "-"), what, size, write))
            return write

        return register

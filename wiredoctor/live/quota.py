"""Bound what one look of a live capture decides, by the processor time that it took before."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Stages = Generator[None, None, T]
"""Work with a result. At each `yield`, a look may end; the next one continues, and until then no packet is read."""

LOOK = 0.05
"""The processor time (s) after which a look leaves what else is due to the next one."""

PART = 0.1
"""The processor time (s) that one part of a look should take at most."""


cpu_time = time.process_time
"""Return the processor time (s) of this process."""


class Quota:
    """How many things a look decides at a time: fewer after it has taken more than `seconds`, and more again after less.

    What is left is decided by the next looks. `least`, `most`: the bounds of the number, which begins at the lower one.
    """

    def __init__(self, least: int, most: int, seconds: float = PART) -> None:
        self.size = self._least = min(least, most)
        self._most, self._seconds = most, seconds

    def learn(self, count: int, begun: float) -> None:
        """Adapt to what deciding `count` things took since `begun`, a value of `cpu_time`."""
        took = cpu_time() - begun
        if took > self._seconds:
            self.size = max(self._least, min(self.size, int(count * self._seconds / took)))
        elif 2 * took < self._seconds and 2 * count > self.size:
            self.size = min(self._most, 2 * self.size)

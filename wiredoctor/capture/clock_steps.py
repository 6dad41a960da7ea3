"""Record timestamps that go backwards: the capturing host's clock was set back, or files were concatenated."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import NamedTuple

SHOWN = 5
"""The maximum number of steps that are described."""
MAX_KEPT = 1 << 16
"""The maximum number of steps whose frames are stored: if two captures are mixed, every other packet may step back."""


class Step(NamedTuple):
    """A packet with an earlier timestamp than the previous packet on its interface, and the previous packet's frame and time."""

    frame: int
    time: int
    frame_before: int
    time_before: int


@dataclass(eq=False, repr=False)
class ClockSteps:
    """The backward steps of the clock seen so far: their number, the largest (ns), and the first SHOWN of them.

    `frames`: the numbers of the first MAX_KEPT frames whose timestamp is earlier than the previous one.
    """

    count: int = 0
    worst: int = 0
    first: list[Step] = field(default_factory=list[Step])
    frames: array[int] = field(default_factory=lambda: array("q"))

    def add(self, step: Step) -> None:
        """Count the next step. Steps are added in frame order."""
        self.count += 1
        self.worst = max(self.worst, step.time_before - step.time)
        self.keep(step)

    def keep(self, step: Step) -> None:
        """Store a step that is already counted."""
        if len(self.first) < SHOWN:
            self.first.append(step)
        if len(self.frames) < MAX_KEPT:
            self.frames.append(step.frame)

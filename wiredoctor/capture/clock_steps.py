"""Time stamps that go backwards: the clock of the capturing host was set back, or files were joined one after the other."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

SHOWN = 5
"""Steps that are described."""
MOST = 1 << 16
"""Steps whose frames are kept: two captures shuffled into one may step back with every other packet."""


@dataclass(frozen=True)
class Step:
    """A packet that is stamped earlier than the packet before it on its interface."""

    frame: int
    time: int
    frame_before: int
    time_before: int


@dataclass
class ClockSteps:
    """Steps of the clock so far: how many, the largest (ns), the first of them, and in which frames (at most MOST)."""

    count: int = 0
    worst: int = 0
    first: list[Step] = field(default_factory=list[Step])
    frames: array[int] = field(default_factory=lambda: array("q"))

    def add(self, step: Step) -> None:
        """Count the next step, in order of frames."""
        self.count += 1
        self.worst = max(self.worst, step.time_before - step.time)
        if len(self.first) < SHOWN:
            self.first.append(step)
        if len(self.frames) < MOST:
            self.frames.append(step.frame)

"""Record where timestamps go backward, because the capturing host's clock was set back or files were concatenated."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import NamedTuple

SHOWN = 5
"""The maximum number of clock steps that a report describes."""
MAX_KEPT = 1 << 16
"""The maximum number of clock steps whose frames are stored. If two captures are mixed, every second packet may be a step."""


class Step(NamedTuple):
    """A packet whose timestamp is earlier than that of the previous packet on its interface.

    `frame_before` and `time_before` are the frame and the time of that previous packet.
    """

    frame: int
    time: int
    frame_before: int
    time_before: int


@dataclass(eq=False, repr=False)
class ClockSteps:
    """The backward steps of the clock seen so far: their number, the largest (ns), and the first SHOWN of them.

    `frames`: the numbers of the first MAX_KEPT frames whose timestamp is earlier than that of the previous frame.
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
        """Store the frame of a step, and the step itself if fewer than SHOWN are stored. Do not count the step."""
        if len(self.first) < SHOWN:
            self.first.append(step)
        if len(self.frames) < MAX_KEPT:
            self.frames.append(step.frame)

"""Time stamps that go backwards: the clock of the capturing host was set back, or files were joined one after the other."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np

from wiredoctor.capture.model import NO_PACKET, Records
from wiredoctor.tables import MILLISECOND, Array

LEAST = MILLISECOND
"""Packets of several processors or queues are recorded a little out of order; no clock is set for so little."""
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
    """Steps of the clock so far: how many, the largest (ns), the first of them, and in which frames (not in order where
    there are several interfaces; at most MOST)."""

    count: int = 0
    worst: int = 0
    first: list[Step] = field(default_factory=list[Step])
    frames: array[int] = field(default_factory=lambda: array("q"))
    _newest: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])

    def watch(self, records: Records) -> None:
        """Goes on with an epoch."""
        interface, link_type = records.columns["interface"], records.columns["link_type"]
        low, high = int(interface.min()), int(interface.max())
        if low == high and link_type.min() != NO_PACKET:
            self._follow(low, np.arange(len(interface)), records)
            return
        stamped = link_type != NO_PACKET
        for number in np.unique(interface[stamped]).tolist():
            self._follow(number, np.flatnonzero(stamped & (interface == number)), records)

    def _follow(self, interface: int, rows: Array, records: Records) -> None:
        """The packets of one interface."""
        if not len(rows):
            return
        time, frame = records.columns["time"][rows], records.first_frame + rows
        frame_before, time_before = self._newest.get(interface, (int(frame[0]), int(time[0])))
        self._newest[interface] = int(frame[-1]), int(time[-1])
        before = np.append(time_before, time[:-1])
        steps = np.flatnonzero(before - time > LEAST)
        if not len(steps):
            return
        frames = np.append(frame_before, frame[:-1])
        self.count += len(steps)
        self.worst = max(self.worst, int((before - time)[steps].max()))
        told = [Step(*(int(column[i]) for column in (frame, time, frames, before))) for i in steps[:SHOWN].tolist()]
        self.first = sorted([*self.first, *told], key=lambda step: step.frame)[:SHOWN]
        room = MOST - len(self.frames)
        self.frames.extend(frame[steps[:room]].tolist())

"""Time stamps that go backwards: the clock of the capturing host was set back, or files were joined one after the other."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np

from wiredoctor.capture.model import NO_PACKET, UNSTAMPED, Records
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
    """Steps of the clock so far: how many, the largest (ns), the first of them, and in which frames (at most
    MOST)."""

    count: int = 0
    worst: int = 0
    first: list[Step] = field(default_factory=list[Step])
    frames: array[int] = field(default_factory=lambda: array("q"))
    _newest: Array = field(default_factory=lambda: np.zeros((2, 1), np.int64))

    def watch(self, records: Records) -> None:
        """Goes on with an epoch."""
        interface, link_type = records.columns["interface"], records.columns["link_type"]
        low, high = int(interface.min()), int(interface.max())
        unstamped = records.columns.get(UNSTAMPED)
        if (missing := high + 1 - int(self._newest.shape[1])) > 0:
            more = np.zeros((2, missing + high // 2), np.int64)
            self._newest = np.concatenate((self._newest, more), axis=1)
        if low == high and link_type.min() != NO_PACKET and unstamped is None:
            self._follow(np.arange(len(interface)), records)
            return
        rows = np.flatnonzero(link_type != NO_PACKET if unstamped is None else ~unstamped)
        self._follow(rows[np.argsort(interface[rows], kind="stable")], records)

    def add(self, step: Step) -> None:
        """Count the next step, in order of frames."""
        self.count += 1
        self.worst = max(self.worst, step.time_before - step.time)
        if len(self.first) < SHOWN:
            self.first.append(step)
        if len(self.frames) < MOST:
            self.frames.append(step.frame)

    def _follow(self, rows: Array, records: Records) -> None:
        """Packets in order of their interface, and of their frames on each."""
        if not len(rows):
            return
        time, frame, interface = records.columns["time"][rows], records.first_frame + rows, records.columns["interface"][rows]
        before, frames = np.append(0, time[:-1]), np.append(0, frame[:-1])
        first = np.flatnonzero(np.append(True, interface[1:] != interface[:-1]))
        frames[first], before[first] = self._newest[:, interface[first]]
        last = np.append(first[1:], len(rows)) - 1
        self._newest[:, interface[last]] = frame[last], time[last]
        steps = np.flatnonzero((before - time > LEAST) & (frames > 0))
        if not len(steps):
            return
        steps = steps[np.argsort(frame[steps])]
        self.count += len(steps)
        self.worst = max(self.worst, int((before - time)[steps].max()))
        told = [Step(*(int(column[i]) for column in (frame, time, frames, before))) for i in steps[:SHOWN].tolist()]
        self.first = sorted([*self.first, *told], key=lambda step: step.frame)[:SHOWN]
        room = MOST - len(self.frames)
        self.frames.extend(frame[steps[:room]].tolist())

"""Which file of a rotation a frame lies in, and the number that it has there."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wiredoctor import limits

if TYPE_CHECKING:
    from wiredoctor.tables import Array


class FramePlace(NamedTuple):
    """A file, by its position among those of the capture, and a frame number in it, from 1."""

    file: int
    frame: int


class FrameFiles:
    """Runs of consecutive frames that come from one file: one run per file of a rotation, more if files overlap in time."""

    def __init__(self, files: int) -> None:
        self._first_frames = array("q")
        self._files = array("q")
        self._first_own_frames = array("q")
        self._read = [0] * files
        self._frames = 0
        self._full = False

    def add(self, files: Array) -> None:
        """Append frames; `files` (n,) has the file of each."""
        if self._full or not len(files):
            return
        bounds = [0, *(np.flatnonzero(np.diff(files)) + 1).tolist(), len(files)]
        for start, end in pairwise(bounds):
            file = int(files[start])
            if not self._files or self._files[-1] != file:
                if len(self._files) == limits.FRAME_RUNS.value:
                    self._full = True
                    return
                self._first_frames.append(self._frames + 1)
                self._files.append(file)
                self._first_own_frames.append(self._read[file] + 1)
            self._read[file] += end - start
            self._frames += end - start

    def locate(self, frame: int) -> FramePlace | None:
        """Return where a frame lies; None if the files alternate too often for that to be remembered."""
        if not 1 <= frame <= self._frames:
            return None
        run = bisect_right(self._first_frames, frame) - 1
        return FramePlace(self._files[run], self._first_own_frames[run] + frame - self._first_frames[run])

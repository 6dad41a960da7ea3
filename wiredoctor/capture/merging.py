"""Several capture files as one: packets in order of time, interfaces kept apart, as mergecap(1) does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from wiredoctor.capture.frame_files import FrameFiles
from wiredoctor.capture.model import MAX_TIME, NO_PACKET, Interface, Reader, together
from wiredoctor.capture.timestamps import of_each
from wiredoctor.tables import RECORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wiredoctor.tables import Array, Columns

LEAST_AHEAD = 1024
"""Packets that are read of a file at a time, at least: of many files each is read in small pieces."""


class Part(NamedTuple):
    """A file among others: its reader, where it begins in the buffer of all, its name, and what is missing at its end."""

    reader: Reader
    begin: int
    name: str
    lost: str | None = None

    @property
    def damage(self) -> str | None:
        """What could not be read and where."""
        return self.lost if self.lost is not None and self.reader.done else self.reader.damage


class MergedReader:
    """Reads the packets of several files in runs.

    At each step the file goes on whose next packet is the earliest; of equals, the one named last. What a file holds
    out of order stays behind the later packet that stands before it there. mergecap does the same, so that frame numbers
    and connection ids are those of the file that it writes from the same files in the same order. With `one_interface`,
    interfaces of several files with the same number and description are one.
    """

    def __init__(self, parts: Sequence[Part], *, one_interface: bool = False) -> None:
        self._files = [_File(part) for part in reversed(parts)]
        self._one_interface = one_interface
        self._numbers: dict[tuple[int, int], int] = {}
        self._alike: dict[tuple[int, Interface], int] = {}
        self.interfaces: list[Interface] = []
        self.frame_files = FrameFiles(len(parts))
        self.packets = 0
        firsts = [part.reader.first_time for part in parts if part.reader.first_time is not None]
        self.first_time: int | None = min(firsts, default=None)
        for file in self._files:
            file.count_from(self.first_time or 0)

    @property
    def format(self) -> Literal["pcap", "pcapng"]:
        """pcapng as soon as one of the files is."""
        return "pcapng" if any(file.part.reader.format == "pcapng" for file in self._files) else "pcap"

    @property
    def damage(self) -> str | None:
        """What could not be read, of which file."""
        said = [f"{file.part.name}: {file.part.damage}" for file in self._files[::-1] if file.part.damage is not None]
        return "; ".join(said) or None

    @property
    def done(self) -> bool:
        """Nothing more can be read of any file."""
        return all(not file.waiting and file.part.reader.done for file in self._files)

    @property
    def position(self) -> int:
        """Bytes read, of all files."""
        return sum(file.part.reader.position for file in self._files)

    def read(self, packets: int) -> Columns:
        """tables.RECORDS columns of at most so many next packets, at least one unless all files end."""
        size = max(packets // len(self._files), LEAST_AHEAD)
        for file in self._files:
            file.fill(size)
        # a file that goes on may go on with a packet as early as the last one known of it
        limits = [(file.last, place) for place, file in enumerate(self._files) if file.waiting and not file.part.reader.done]
        limit, before = min(limits, default=(MAX_TIME + 1, 0))
        counts = [file.up_to(limit, including=place <= before) for place, file in enumerate(self._files)]
        keys = [file.keys[file.at : file.at + count] for file, count in zip(self._files, counts, strict=True)]
        order = np.argsort(np.concatenate(keys), kind="stable")[:packets]
        whose = np.repeat(np.arange(len(counts)), counts)[order]
        runs = [file.rows(count) for file, count in zip(self._files, counts, strict=True)]
        for place, run in enumerate(runs):
            run["interface"] = self._interfaces(place, run["interface"])
        for file, count in zip(self._files, np.bincount(whose, minlength=len(counts)).tolist(), strict=True):
            file.at += count
        self.packets += len(order)
        self.frame_files.add(len(self._files) - 1 - whose)
        return {name: column[order] for name, column in together(runs).items()}

    def _interfaces(self, place: int, numbers: Array) -> Array:
        """Numbers among all interfaces, for those of one file."""
        described = self._files[place].part.reader.interfaces

        def among_all(number: int) -> int:
            if (place, number) not in self._numbers:
                one = described[number] if number < len(described) else Interface(NO_PACKET)
                known = self._alike.get((number, one)) if self._one_interface else None
                self._numbers[place, number] = self._alike[number, one] = len(self.interfaces) if known is None else known
                if known is None:
                    self.interfaces.append(one)
            return self._numbers[place, number]

        return of_each(numbers, among_all).astype(numbers.dtype) if len(numbers) else numbers


class _File:
    """A file and the packets that were read of it and not handed out. `keys`: the latest time up to each of them."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.at = 0
        self.keys: Array = np.empty(0, np.int64)
        self._shift = 0
        self._columns: Columns = self._more(1)

    @property
    def waiting(self) -> int:
        """Packets that were not handed out."""
        return len(self.keys) - self.at

    @property
    def last(self) -> int:
        """The latest time of the packets known."""
        return int(self.keys[-1])

    def count_from(self, first: int) -> None:
        """Times are those since the first packet of all files from now on."""
        own = self.part.reader.first_time
        self._shift = 0 if own is None else min(own - first, MAX_TIME)
        self._take(self._columns)

    def fill(self, size: int) -> None:
        """Reads on when there is nothing left to hand out."""
        if not self.waiting and not self.part.reader.done:
            self._take(self._more(size))

    def up_to(self, limit: int, *, including: bool) -> int:
        """How many of the packets waiting come before a packet at `limit`."""
        return max(int(np.searchsorted(self.keys, limit, "right" if including else "left")) - self.at, 0)

    def rows(self, count: int) -> Columns:
        """The next packets."""
        return {name: column[self.at : self.at + count] for name, column in self._columns.items()}

    def _more(self, size: int) -> Columns:
        if self.part.reader.done:
            # there may be records behind a header that says of them what nobody can read
            return {column.name: np.empty(0, str(column.dtype).lower()) for column in RECORDS.columns}
        columns = self.part.reader.read(size)
        while not len(columns["time"]) and not self.part.reader.done:
            columns = self.part.reader.read(size)
        return columns

    def _take(self, columns: Columns) -> None:
        latest = self.keys[-1:]
        columns["time"] = np.clip(columns["time"] + self._shift, -MAX_TIME, MAX_TIME)
        columns["offset"] = columns["offset"] + self.part.begin
        self._columns = columns
        self.keys, self.at = np.maximum.accumulate(np.concatenate((latest, columns["time"])))[len(latest) :], 0

"""Between processes that share a capture: one walks through its records, one decodes them, each analyses its connections.

Columns go through memory that the processes have in common since they were forked, words about them through pipes.
"""

from __future__ import annotations

import mmap
import os
import pickle
from collections import deque
from collections.abc import Generator
from typing import Any

import numpy as np

from wiredoctor.analysis import Analysis, Epoch
from wiredoctor.capture import Records
from wiredoctor.decode import Shares
from wiredoctor.tables import PACKETS, RECORDS, Array, Columns

AHEAD = 2
"""Epochs that are walked through, and decoded, before they are analysed: as many rest in memory, in either form."""

ALIGNED = 64

Place = list[tuple[str, str, int, int]]
"""Name, dtype, offset and rows of columns in shared memory."""


class Lost(Exception):
    """The process at the other end is gone."""


class Pipe:
    """Objects from one process to another. Both ends are open until each process keeps its own."""

    def __init__(self) -> None:
        reader, writer = os.pipe()
        self._reader, self._writer = os.fdopen(reader, "rb"), os.fdopen(writer, "wb")

    def keep(self, *, receives: bool = False, sends: bool = False) -> None:
        """Closes what this process does not use, so that the end of the other one is seen."""
        if not receives:
            self._reader.close()
        if not sends:
            self._writer.close()

    def send(self, what: Any) -> None:
        """Raises Lost when nobody will receive it."""
        try:
            pickle.dump(what, self._writer, pickle.HIGHEST_PROTOCOL)
            self._writer.flush()
        except OSError as error:
            raise Lost from error

    def receive(self) -> Any:
        """Waits for the next object. Raises Lost when none can come."""
        try:
            return pickle.load(self._reader)  # from a process of our own
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise Lost from error


class Slots:
    """Shared memory for the columns of AHEAD epochs, used in turn."""

    def __init__(self, rows: int, columns: int) -> None:
        self._size = -(-(rows * 8 + ALIGNED) * columns // mmap.PAGESIZE) * mmap.PAGESIZE
        self._memory = np.frombuffer(mmap.mmap(-1, AHEAD * self._size), np.uint8)

    def put(self, turn: int, parts: list[tuple[Columns, Array | None]]) -> list[Place]:
        """Writes some rows (None: all) of these columns; together they must not be more than there is room for."""
        at = turn % AHEAD * self._size
        places: list[Place] = []
        for columns, rows in parts:
            place: Place = []
            for name, column in columns.items():
                count = len(column) if rows is None else len(rows)
                target = self._at(column.dtype.str, at, count)
                if rows is None:
                    target[:] = column
                else:
                    column.take(rows, out=target, mode="clip")  # "raise" would write to another place first
                place.append((name, column.dtype.str, at, count))
                at += -(-target.nbytes // ALIGNED) * ALIGNED
            places.append(place)
        return places

    def get(self, place: Place) -> Columns:
        """The columns where they lie: good until their turn comes again."""
        return {name: self._at(dtype, at, rows) for name, dtype, at, rows in place}

    def _at(self, dtype: str, at: int, rows: int) -> Array:
        kind = np.dtype(dtype)
        return self._memory[at : at + rows * kind.itemsize].view(kind)


class Handover:
    """What `jobs` processes have in common, made before they are forked: the first one walks, the last one decodes."""

    def __init__(self, jobs: int, epoch_packets: int) -> None:
        self._last = jobs - 1
        self._records = Slots(epoch_packets, len(RECORDS.columns))
        self._packets = Slots(epoch_packets, len(PACKETS.columns) + 1 + jobs)
        self._walked = Pipe()
        self._decoded = [Pipe() for _ in range(self._last)]
        self._taken = [Pipe() for _ in range(self._last)]

    def become(self, number: int) -> None:
        """This process is that one from now on."""
        last = number == self._last
        self._walked.keep(receives=last, sends=number == 0)
        for other in range(self._last):
            self._decoded[other].keep(receives=number == other, sends=last)
            self._taken[other].keep(receives=last, sends=number == other)

    def epochs(self, number: int, analysis: Analysis, epoch_packets: int) -> Generator[Epoch]:
        """The epochs of process `number`, with the packets of its share. Raises Lost when another process is gone."""
        if number == 0:
            return self._walk(analysis, epoch_packets)
        return self._decode(analysis) if number == self._last else self._follow(number, analysis)

    def _walk(self, analysis: Analysis, epoch_packets: int) -> Generator[Epoch]:
        """Sends the records on their way, AHEAD epochs before what comes back is analysed."""
        source, turn, ahead, ends = analysis.records(epoch_packets), 0, 0, ()
        received = self._follow(0, analysis)
        while True:
            while ahead < AHEAD and (records := next(source, None)) is not None:
                [place] = self._records.put(turn, [(records.columns, None)])
                ends = records.ends
                self._walked.send((records.first_frame, ends, place))
                # it is analysed when AHEAD others have been, whose pages would be kept as well
                analysis.capture.release(ends, for_good=False)
                turn, ahead = turn + 1, ahead + 1
            if not ahead:
                self._walked.send(None)
                return
            yield next(received)
            ahead -= 1
            analysis.capture.release(ends, for_good=False)

    def _follow(self, number: int, analysis: Analysis) -> Generator[Epoch]:
        """What the decoding process sends."""
        while (message := self._decoded[number].receive()) is not None:
            place, oddities, first_frame, clock, ends, scratch = message
            # what is analysed may keep its columns, and their place is wanted for others
            packets = {name: column.copy() for name, column in self._packets.get(place).items()}
            epoch = Epoch(packets, oddities, first_frame, self._packets.get(clock)["clock"].copy())
            self._taken[number].send(None)
            if scratch:
                analysis.decoding.keep(scratch)
            yield epoch
            del packets, epoch
            analysis.capture.release(ends)

    def _decode(self, analysis: Analysis) -> Generator[Epoch]:
        """Decodes for all, an epoch before what is analysed here."""
        waiting: deque[tuple[Epoch, tuple[int, ...]]] = deque()
        shares, turn, told = Shares(self._last + 1), 0, 0
        while (message := self._walked.receive()) is not None:
            first_frame, ends, place = message
            epoch = analysis.decode(Records(first_frame, self._records.get(place), ends))
            *others, own = shares.rows(epoch.packets)
            for pipe in self._taken if turn >= AHEAD else []:
                pipe.receive()
            *places, clock = self._packets.put(
                turn, [*((epoch.packets, rows) for rows in others), ({"clock": epoch.clock}, None)]
            )
            scratch = bytes(analysis.decoding.scratch[told:])
            told += len(scratch)
            for number, pipe in enumerate(self._decoded):
                # what is odd is told by the first process alone
                odd = epoch.oddities if number == 0 else []
                pipe.send((places[number], odd, first_frame, clock, ends, scratch))
            turn += 1
            packets = {name: column.take(own) for name, column in epoch.packets.items()}
            waiting.append((Epoch(packets, [], first_frame, epoch.clock), ends))
            del epoch, packets
            if len(waiting) == AHEAD:
                yield from self._analysed(waiting, analysis)
        for pipe in self._decoded:
            pipe.send(None)
        while waiting:
            yield from self._analysed(waiting, analysis)

    @staticmethod
    def _analysed(waiting: deque[tuple[Epoch, tuple[int, ...]]], analysis: Analysis) -> Generator[Epoch]:
        epoch, ends = waiting.popleft()
        yield epoch
        analysis.capture.release(ends)

"""A recording that is played as if it were captured now: the stream of a file, so many packets at a time."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast
from unittest.mock import patch

from tests.pipeline import recording
from wiredoctor import rule_engine
from wiredoctor.engine.growing import GrowingCapture
from wiredoctor.findings import Finding, Report
from wiredoctor.live import Order, Ring, Session
from wiredoctor.live.recorder_client import Event, Progress
from wiredoctor.settings import Settings
from wiredoctor.tables import SECOND


class Stop(NamedTuple):
    """A place in the stream up to which it is written, and when the packet there was captured (ns since 1970). `until`: when the
    next packet is; None: when that of the next stop is."""

    end: int
    time: int
    until: int | None = None


@dataclass
class Player:
    """Stands for a recorder. `files`: path of each part of the stream, and where it begins; `removed`: up to where the stream is
    removed when the next stop after `removed_after` bytes comes. Between two packets the time passes that their stamps say."""

    files: list[tuple[Path, int]]
    stops: list[Stop]
    removed: Sequence[int] = ()
    progress: Progress = field(default_factory=Progress)
    order: Order = field(default_factory=lambda: Order((), ""))
    now: int = 0
    removed_after: int = 0
    is_paused: bool = False
    """Whether no packet comes and no time passes: the next look follows at once."""

    def __post_init__(self) -> None:
        times = [stop.time for stop in self.stops]
        self._coming = [
            (stop, later if stop.until is None else stop.until)
            for stop, later in zip(self.stops, [*times[1:], times[-1]], strict=True)
        ]
        self._files = list(self.files)
        self._before = 0
        self._asked = False

    @property
    def over(self) -> bool:
        return self.progress.ended is not None

    def clock(self) -> int:
        return self.now

    def events(self, timeout: float) -> list[Event]:
        del timeout
        if self.is_paused:
            return []
        if not self._coming:
            self.progress.ended = "stopped"
            return []
        stop, self.now = self._coming.pop(0)
        found: list[Event] = []
        while self._files and self._files[0][1] < stop.end:
            path, begin = self._files.pop(0)
            descriptor = os.open(path, os.O_RDONLY)
            found.append({"event": "file", "path": str(path), "begin": begin, "packets": self._before, "descriptor": descriptor})
            self._before += len(block_ends(path.read_bytes())) if self.order.ring else 0
        found += [
            {"event": "removed", "path": "", "end": end} for end in self.removed if self.progress.bytes == self.removed_after
        ]
        self.progress.bytes, self.progress.packets = stop.end, self.progress.packets + 1
        if self._asked:  # a recorder answers at once, long before the next packet
            self.progress.delivered = self.now
        return found

    def refresh(self) -> None:
        """Nothing arrives between two looks."""

    def ask_delivered(self) -> None:
        """All packets up to now have been passed on."""
        self._asked = True
        self.progress.delivered = self.now

    def stop(self) -> None:
        self.progress.ended = "stopped"


@dataclass
class Played:
    """What a live capture told, each with the number of packets that had been analysed by then, and its report. `times`: when
    each was told, `begun`: when the first packet came (ns since 1970)."""

    told: list[tuple[int, Finding]]
    report: Report
    notes: list[str]
    times: list[int]
    begun: int


def pcapng(source: Path, to: Path) -> list[Stop]:
    """Writes a capture as pcapng; returns where each packet ends in it."""
    packets = recording.read(source)
    recording.write(to, packets)
    until = [*(packet.time for packet in packets[1:]), None]
    ends = block_ends(to.read_bytes())
    return [Stop(end, packet.time, later) for end, packet, later in zip(ends, packets, until, strict=True)]


def with_silence(path: Path, stops: list[Stop], seconds: float) -> list[Stop]:
    """The capture went on for so long behind its last packet, and its file says so."""
    until = stops[-1].time + round(seconds * SECOND)
    comment = b"captured until %d ns since 1970: %d packets" % (until, len(stops))
    options = struct.pack("<HH", 1, len(comment)) + comment + bytes(-len(comment) % 4) + bytes(4)
    length = struct.pack("<I", 24 + len(options))
    with path.open("ab") as file:
        file.write(struct.pack("<I", 5) + length + bytes(12) + options + length)
    return [*stops, Stop(stops[-1].end, until - 1), Stop(path.stat().st_size, until)]


def block_ends(data: bytes) -> list[int]:
    """Where each Enhanced Packet Block ends."""
    ends: list[int] = []
    at = 0
    while at < len(data):
        kind, size = (int.from_bytes(data[at + i : at + i + 4], "little") for i in (0, 4))
        at += size
        if kind == 6:
            ends.append(at)
    return ends


def play(
    files: list[tuple[Path, int]],
    stops: list[Stop],
    *,
    removed: Sequence[int] = (),
    removed_after: int = 0,
    ring: Ring | None = None,
    looks: int = 0,
    settings: Settings = Settings(),  # noqa: B008 - frozen
) -> Played:
    """Analyses a stream as it comes, up to one of these places after the other; with more `looks` if it needs them."""
    rules = rule_engine.load(settings)
    player = Player(files, stops, removed, order=Order((), "", ring=ring), removed_after=removed_after)
    told: list[tuple[int, Finding]] = []
    notes: list[str] = []
    times: list[int] = []
    at_once = patch.multiple("wiredoctor.live.session", TICK=0.0, LONGEST_TICK=0.0)
    with at_once, GrowingCapture(str(files[0][0])) as capture:
        session = Session(capture, cast("Any", player), rules, secrets=False, clock=player.clock)
        for _ in range(10 * (len(stops) + looks) + 100):  # more than it can take
            if session.over:
                break
            news = session.look(0.0)
            player.is_paused = session.is_in_work
            notes += news.notes
            told += [(news.status.analysed, one) for one in news.findings]
            times += [player.now] * len(news.findings)
        assert session.over
        return Played(told, session.report(), notes, times, stops[0].time)

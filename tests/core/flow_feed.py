"""Reads a capture by the core up to the connection of each packet, and compares that with the NumPy stages."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from tests.core.front import Front
from wiredoctor import decode, limits, tcp
from wiredoctor.analysis import Analysis
from wiredoctor.capture import Capture, open_capture
from wiredoctor.core.connection import Connection
from wiredoctor.core.copies import Copies
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.flows import Flows
from wiredoctor.core.formats import open_records
from wiredoctor.core.general import CapturePlaces
from wiredoctor.core.packet import Packet
from wiredoctor.core.records import Records, Source
from wiredoctor.core.story import Story
from wiredoctor.cutoffs import ALL_SEGMENTS
from wiredoctor.limits import Met
from wiredoctor.spill import Folder
from wiredoctor.tables import Columns

OF_COPIES = ("duplicates", "duplicate_frame", "duplicate_time", "duplicate_first_frame", "duplicate_way")


class Core(Front):
    """The core's way from a record to the connection of its packet, with the story that closes connections."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.met = Met()
        self.flows = Flows(self.met)
        self.copies = Copies(CapturePlaces(source, self.general))
        self.story = Story(Cutoffs(), self.met)
        self.packet = Packet()
        self.owners: list[int] = []
        self.retired: list[int] = []
        self.of_copies: dict[int, tuple[int, ...]] = {}

    def step(self, records: Records, most: int) -> bool:
        """Read at most so many records; return whether there may be more."""
        for _ in range(most):
            if not records.next(self.packet):
                return False
            self.follow(self.packet)
            self.flows.pass_time(records.frame, records.times.latest)
            self.retired += [each.id for each in self.flows.retired]
            self.flows.retired.clear()
        return True

    def follow(self, packet: Packet) -> None:
        """Read a packet and follow its connection."""
        if not self.read(packet):
            return
        connection = self.flows.find(packet)
        self.recorder.write(packet, connection.id)
        self.owners.append(connection.id)
        if packet.is_quoted:
            return
        if self.copies.is_second(connection, packet):
            self.note_copies(connection)
            return
        was_closed = connection.closed
        self.story.follow(connection, packet)
        if connection.closed and not was_closed:
            self.flows.keep_closed(connection)

    def note_copies(self, connection: Connection) -> None:
        """Keep what is known of the second copies of a connection."""
        c = connection.copies
        assert c is not None
        self.of_copies[connection.id] = (c.count, c.frame, c.time, c.first_frame, c.difference)


class Numpy(Analysis):
    """The NumPy stages without rules, which keep packets and their connections."""

    def __init__(self, capture: Capture) -> None:
        super().__init__(capture, {}, Folder(), ALL_SEGMENTS)
        self.watcher = self.watch
        self.listener = lambda exchanges, connections: self.rows.extend(connections.to_dicts())
        self.rows: list[dict[str, Any]] = []
        self.oddities: list[decode.Oddity] = []
        self.kept: list[tuple[Columns, list[int]]] = []

    def watch(self, part: tcp.Part, analysed: tcp.Analysed, said: tcp.Analysed) -> None:
        self.kept.append((part.packets, analysed.belonging.tolist()))

    def decode(self, records: Any) -> Any:
        epoch = super().decode(records)
        self.oddities += epoch.oddities
        return epoch


def differences(path: Path, steps: int = 1_000, epoch: int = 100_000) -> list[str]:
    """What the two say differently, in words."""
    with open_capture(path) as capture, path.open("rb") as file:
        stages = Numpy(capture)
        stages.run(epoch, lambda done: None, lambda found: found)
        records = open_records(Source(file.fileno(), 0), "x")
        core = Core(records.source)
        while core.step(records, steps):
            pass
        return compared(core, stages)


def compared(core: Core, stages: Numpy) -> list[str]:
    """The differences of everything that both know."""
    found: list[str] = []
    rows = core.columns()
    for name, column in rows.items():
        theirs = [value for packets, _ in stages.kept if packets for value in packets[name].tolist()]
        found += difference(name, column.tolist(), theirs)
    found += difference("owners", core.owners, [owner for _, owners in stages.kept for owner in owners])
    facts = core.facts()
    found += difference("not analyzed", facts["not analyzed"], +Counter(stages.decoding.not_analysed))
    found += difference("encapsulations", facts["encapsulations"], +Counter(stages.decoding.encapsulations))
    found += difference("longest cut", facts["longest cut"], stages.decoding.longest_cut)
    found += difference("oddities", facts["oddities"], stages.oddities[: limits.ODDITIES.value])
    copied = {row["connection"]: tuple(row[name] for name in OF_COPIES) for row in stages.rows if row["duplicates"]}
    found += difference("copies", core.of_copies, copied)
    met = core.met.counts.get(limits.OPEN.name, 0)
    found += difference("open", met, stages.met.counts.get(limits.OPEN.name, 0))
    return found


def difference(name: str, ours: Any, theirs: Any) -> list[str]:
    """One line if the two differ."""
    if ours == theirs:
        return []
    if isinstance(ours, list) and len(ours) == len(theirs):
        at = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
        return [f"{name}: row {at}: core {ours[at]}, numpy {theirs[at]}"]
    if isinstance(ours, dict):
        both = ours.keys() | theirs.keys()
        return [
            f"{name}: {key}: core {ours.get(key)}, numpy {theirs.get(key)}" for key in both if ours.get(key) != theirs.get(key)
        ]
    return [f"{name}: core {str(ours)[:200]}, numpy {str(theirs)[:200]}"]

"""Feeds the TCP story of the core with what the NumPy stages decoded, and compares its rows with theirs.

Second copies are left out and connection ids are those of the NumPy stages, as is what HTTP says about each segment.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wiredoctor import limits, tcp
from wiredoctor.analysis import Analysis
from wiredoctor.capture import open_capture
from wiredoctor.core.connection import Connection
from wiredoctor.core.connections import CONTENT, ENDS, NUMBERS, ConnectionRows
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.packet import Packet
from wiredoctor.core.places import Places
from wiredoctor.core.segment import NEVER
from wiredoctor.core.segments import COLUMNS, SegmentRecorder
from wiredoctor.core.stalls import CLOSURES, RECOVERIES, RELEASES, RUNS, SORTS
from wiredoctor.core.story import Story
from wiredoctor.cutoffs import ALL_SEGMENTS
from wiredoctor.engine.batch import View
from wiredoctor.engine.tables import connection_batch
from wiredoctor.events import event_tables
from wiredoctor.limits import Met
from wiredoctor.spill import Folder
from wiredoctor.tables import CONNECTIONS, EVENT_TABLES, MILLISECOND, Columns

EPOCH = 1_000_000

CUTOFFS = ALL_SEGMENTS.widened([{
    "min_ack_delay": 0, "max_quick_ack": 20 * MILLISECOND, "min_lateness": 0, "min_run": 3, "max_run": 100, "min_stall": 0,
}])  # fmt: skip
"""Wider than those of any rule, so that there are rows to compare."""

EVENTS = {"releases": RELEASES, "recoveries": RECOVERIES, "closures": CLOSURES, "runs": RUNS}

_OF_PACKET = ("frame", "time", "interface", "ip_version", "ip_id", "ttl", "seq", "ack", "flags", "window", "length", "captured",
              "payload", "mss", "window_shift", "has_timestamps", "sack", "dsack", "clock")  # fmt: skip
_OF_HTTP = ("http", "message", "exchange", "in_body", "event_stream", "ends_head", "ends_message", "owes", "role")


class Reading(Places):
    """Bytes of the capture by place."""

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        self.bytes = read

    def read(self, place: int, length: int) -> bytes:
        return self.bytes(place, length)


@dataclass
class Compared:
    """Rows of both engines: of segments by column, of connections by id."""

    core: dict[str, list[int]]
    numpy: dict[str, list[int]]
    core_connections: list[dict[str, Any]]
    numpy_connections: list[dict[str, Any]]
    core_events: dict[str, list[dict[str, Any]]]
    numpy_events: dict[str, list[dict[str, Any]]]
    forgotten_gaps: tuple[int, int]

    def differences(self) -> list[str]:
        """The first difference of each column, in words."""
        found: list[str] = []
        if self.forgotten_gaps[0] != self.forgotten_gaps[1]:
            found.append(f"forgotten gaps: core {self.forgotten_gaps[0]}, numpy {self.forgotten_gaps[1]}")
        for name in COLUMNS:
            ours, theirs = self.core[name], self.numpy[name]
            if ours != theirs:
                rows = [i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]
                i = rows[0]
                frame = self.numpy["frame"][i]
                found.append(f"{name}: {len(rows)} rows, frame {frame}: core {ours[i]}, numpy {theirs[i]}")
        for table in EVENTS:
            ours, theirs = self.core_events[table], self.numpy_events[table]
            if ours != theirs:
                found.append(f"{table}: {_first_difference(ours, theirs)}")
        for one, other in zip(self.core_connections, self.numpy_connections, strict=True):
            for name, value in one.items():
                if value != other[name]:
                    found.append(f"connections.{name}: {one['connection']}: core {value!r}, numpy {other[name]!r}")
        return found


class _Numpy(Analysis):
    """The NumPy stages without rules, which keep packets, segments and connections."""

    def __init__(self, capture: Any) -> None:
        super().__init__(capture, {}, Folder(), CUTOFFS)
        self.watcher = self.watch
        self.listener = lambda exchanges, connections: self.rows.extend(connections.to_dicts())
        self.rows: list[dict[str, Any]] = []
        self.kept: list[tuple[Columns, Columns, Any]] = []

    def watch(self, part: tcp.Part, analysed: tcp.Analysed, said: tcp.Analysed) -> None:
        order = np.argsort(said.segments["frame"], kind="stable") if said.segments else np.empty(0, dtype=np.int64)
        segments = {name: column[order] for name, column in said.segments.items()}
        self.kept.append((part.packets, segments, analysed.belonging))


def compare(path: Path) -> Compared:
    """Both engines' rows of a capture."""
    with open_capture(path) as capture:
        stages = _Numpy(capture)
        stages.run(EPOCH, lambda done: None, lambda found: found)
        kept = [(packets, s, belonging) for packets, s, belonging in stages.kept if s]
        segments = {n: np.concatenate([s[n] for _, s, _ in kept]) for n in kept[0][1]} if kept else {}
        story = Story(_cutoffs(), Met())
        story.recorder = SegmentRecorder(None, [*COLUMNS], False)
        story.places = Reading(stages.payload)
        connections: dict[int, Connection] = {}
        if kept:
            _tell(story, connections, kept, segments, stages.payload)
        core = segment_rows(story)
        numpy = {name: segments[name].astype(np.int64).tolist() if kept else [] for name in COLUMNS}
        theirs = sorted(stages.rows, key=lambda row: row["connection"])
    clients = {row["connection"]: row["client_direction"] for row in theirs}
    ours: list[dict[str, Any]] = []
    for number in sorted(connections):
        connection = connections[number]
        ours.append(connection_row(connection, clients[number] if connection.client_certainty == 0 else -1))
    forgotten = story.met.counts.get(limits.HOLES.name, 0), stages.met.counts.get(limits.HOLES.name, 0)
    theirs_of = {name: _dicts(table) for name, table in event_tables(segments, CUTOFFS).items()}
    return Compared(core, numpy, ours, theirs, _events(story), theirs_of, forgotten)


def segment_rows(story: Story) -> dict[str, list[int]]:
    """Take the rows of segments, by column."""
    recorder = story.recorder
    values = memoryview(recorder.rows.take()).cast("q").tolist() if recorder is not None and recorder.rows is not None else []
    return {name: values[i :: len(COLUMNS)] for i, name in enumerate(COLUMNS)}


def connection_row(connection: Connection, speaker: int) -> dict[str, Any]:
    """Return what TCP knows of a connection, as columns of tables.CONNECTIONS."""
    rows = ConnectionRows()
    rows.write(connection, speaker, None, 0)
    made = View([connection_batch(rows)], CONNECTIONS).whole().to_dicts()[0]
    known = {"client", "server", "client_host", *NUMBERS} - {"more_history", "said_at", *ENDS, *CONTENT}
    return {name: value for name, value in made.items() if name in known and not name.startswith("duplicate")}


def _dicts(events: pl.DataFrame) -> list[dict[str, Any]]:
    """Return events in their order. Each engine has a hash of endpoints of its own: what counts is which rows have the same."""
    events = events.sort("frame")
    if "endpoint" in events.columns:
        events = events.with_columns(endpoint=pl.int_range(pl.len()).first().over("endpoint"))
    return events.to_dicts()


def _first_difference(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> str:
    for one, other in zip(ours, theirs, strict=False):
        if one != other:
            names = [name for name in other if one[name] != other[name]]
            return f"core {[one[n] for n in names]}, numpy {[other[n] for n in names]} in {names} of {other['frame']}"
    return f"{len(ours)} rows in the core, {len(theirs)} in numpy"


def _cutoffs() -> Cutoffs:
    cutoffs = Cutoffs()
    for name in vars(cutoffs) if hasattr(cutoffs, "__dict__") else dir(cutoffs):
        if name.startswith(("min_", "max_")):
            setattr(cutoffs, name, getattr(CUTOFFS, name))
    return cutoffs


def _events(story: Story) -> dict[str, list[dict[str, Any]]]:
    """Rows of the core as Polars has them: with null for no value, and truth values."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, columns in EVENTS.items():
        cells = memoryview(getattr(story.stalls, name).take()).cast("q")
        rows = [dict(zip(columns, cells[i : i + len(columns)], strict=True)) for i in range(0, len(cells), len(columns))]
        frame = EVENT_TABLES[name].frame({
            column: [SORTS[row[column]] if column == "sort" else row[column] for row in rows] for column in columns
        })  # fmt: skip
        found[name] = _dicts(frame)
    return found


def _tell(story: Story, connections: dict[int, Connection], kept: list[Any], segments: Columns, read: Any) -> None:
    heard = _heard(segments)
    packet, part = Packet(), story.segment.part
    for connection, is_copy, values in _packets(kept):
        fill(packet, values, read)
        if connection not in connections:
            connections[connection] = open_connection(connection, packet, values)
        here = connections[connection]
        if is_copy:
            continue
        story.follow(here, packet)
        said = next(heard)
        part.http, part.message, part.exchange, part.in_body, part.event_stream = said[:5]
        part.ends_head, part.ends_message, part.is_incomplete, role, part.last_message = said[5:]
        if here.client_certainty < 2 and part.http and role >= 0:
            here.client, here.client_certainty = (story.segment.direction ^ role), 1
        story.settle(here, packet)


def _packets(kept: list[Any]) -> Iterator[tuple[int, bool, dict[str, Any]]]:
    for packets, segments, belonging in kept:
        frames = set(segments["frame"].tolist())
        first = [packets[name].tolist() for name in _OF_PACKET]
        sides = [packets[f"{side}_{what}"].tolist() for side in ("source", "destination") for what in ("high", "low", "port")]
        quoted = packets["quoted"].tolist()
        for i, connection in enumerate(belonging.tolist()):
            if quoted[i]:
                continue
            values = {name: column[i] for name, column in zip(_OF_PACKET, first, strict=True)}
            values["sides"] = [column[i] for column in sides]
            yield connection, values["frame"] not in frames, values


def _heard(segments: Columns) -> Iterator[tuple[Any, ...]]:
    """What HTTP says about each segment, and the message of its last byte: that is what the next one of its side remembers."""
    columns = [segments[name].tolist() for name in _OF_HTTP]
    last = [NEVER] * len(columns[0])
    after: dict[tuple[int, int], int] = {}
    before = segments["data_before_message"].tolist()
    sides = list(zip(segments["connection"].tolist(), segments["direction"].tolist(), strict=True))
    for i in range(len(last) - 1, -1, -1):
        last[i] = after.get(sides[i], NEVER)
        after[sides[i]] = before[i]
    return zip(*columns, last, strict=True)


def open_connection(number: int, packet: Packet, values: dict[str, Any]) -> Connection:
    """A connection that begins with the packet."""
    sh, sl, sp, dh, dl, dp = values["sides"]
    key = struct.pack(">QQQQHH", sh, sl, dh, dl, sp, dp) if values["ip_version"] == 6 else struct.pack(">IIHH", sl, dl, sp, dp)
    connection = Connection(number, key)
    connection.is_turned = packet.is_turned
    return connection


def fill(packet: Packet, values: dict[str, Any], read: Callable[[int, int], bytes]) -> None:
    """Fills the packet with a row of tables.PACKETS, and the bytes of its TCP header."""
    for name in ("frame", "time", "interface", "ip_id", "ttl", "flags", "window", "length", "captured", "mss",
                 "window_shift", "has_timestamps", "sack", "dsack", "clock"):  # fmt: skip
        setattr(packet, name, values[name])
    packet.sequence, packet.acknowledgment, packet.place = values["seq"], values["ack"], values["payload"]
    sh, sl, sp, dh, dl, dp = values["sides"]
    packet.is_turned = (sh, sl, sp) > (dh, dl, dp)
    place = values["payload"]
    before = read(place - 60, 60) if place >= 60 else b""
    size = next((s for s in range(20, len(before) + 1, 4) if _is_header(before[-s:], sp, dp)), 0)
    packet.block = before[len(before) - size :] + read(place, packet.captured)
    packet.tcp, packet.payload, packet.at, packet.end = 0, size, 0, len(packet.block)


def _is_header(header: bytes, source: int, destination: int) -> bool:
    return header.startswith(struct.pack(">HH", source, destination)) and header[12] >> 4 == len(header) // 4

"""Reads a capture whole, for tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wiredoctor.capture import Budget, Input
from wiredoctor.capture.files import OpenFiles
from wiredoctor.capture.link_types import link_type_name
from wiredoctor.core.capture.packet import Packet
from wiredoctor.engine.opening import open_capture_files, open_capture_records
from wiredoctor.tables import RECORDS, Columns


class Opened:
    """A capture that is open, of one file or of several, and the core's records of it. `block`: bytes that are read at a time."""

    def __init__(
        self,
        *paths: str | Path,
        max_spool: int | None = None,
        on_error: Callable[[str], None] = pytest.fail,
        name: str = "all",
        block: int | None = None,
    ) -> None:
        names = tuple(os.fspath(path) for path in paths)
        self.files = open_capture_files(Input(name, names), OpenFiles(Budget(max_spool)), on_error)
        self.records = open_capture_records(self.files)
        if block is not None:
            self.records.block_size = block

    @property
    def packets(self) -> int:
        """How many were read so far."""
        return self.records.frame

    @property
    def damage(self) -> str | None:
        """What could not be read, as reports say it."""
        return self.files.lost or self.records.damage

    @property
    def first_time(self) -> int | None:
        """Nanoseconds since 1970 of the first packet with a time stamp."""
        return self.records.times.first

    @property
    def link_types(self) -> list[str]:
        """Names of the link types of all interfaces."""
        return list(dict.fromkeys(link_type_name(one.link_type) for one in self.records.interfaces))

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *error: object) -> None:
        self.files.close()


def whole(capture: Opened) -> Columns:
    """tables.RECORDS columns of all packets; checks frame numbers, the watermark, and that each packet is found by its place."""
    records, packet = capture.records, Packet()
    names = ("time", "interface", "link_type", "offset", "captured", "length")
    assert set(names) == {c.name for c in RECORDS.columns}
    rows: list[tuple[int, ...]] = []
    latest = records.times.latest
    while records.next(packet):
        place, captured = packet.block_place + packet.at, packet.end - packet.at
        rows.append((packet.time, packet.interface, packet.link_type, place, captured, packet.wire_length))
        latest, before = records.times.latest, latest
        assert before <= latest <= max(before, packet.time)
        assert (packet.frame, packet.clock, records.frame) == (len(rows), latest, len(rows))
        assert records.source.read(place, captured) == packet.block[packet.at : packet.end]
    assert not records.next(packet)
    records.end()
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return {name: np.array(column, np.int64) for name, column in zip(names, columns, strict=True)}


def read(path: Path, content: bytes, **options: Any) -> tuple[Opened, Columns]:
    """Writes `content` to `path` and reads it."""
    path.write_bytes(content)
    capture = Opened(path, **options)
    with capture:
        return capture, whole(capture)


def contents(capture: Opened, columns: Columns) -> list[bytes]:
    """The bytes of each packet."""
    spans = zip(columns["offset"].tolist(), columns["captured"].tolist(), strict=True)
    return [capture.records.source.read(at, size) for at, size in spans]

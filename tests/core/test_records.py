"""The core's records are those of the readers of capture/: every column and the damage, on whole and on growing files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.capture import files
from tests.capture.test_fuzz import MUTATION, mutated
from tests.capture.test_fuzz import SEEDS as FUZZED
from tests.capture.test_snoop import CONTENT as SNOOP
from wiredoctor.capture import CaptureError, ClockSteps, longest_cut, open_capture
from wiredoctor.capture.formats import is_capture
from wiredoctor.core.formats import open_records
from wiredoctor.core.packet import Packet
from wiredoctor.core.records import LATEST, Records, Source
from wiredoctor.tables import NEVER

ROOT = Path(__file__).parents[2]
RECORDINGS = sorted((ROOT / "captures").glob("*.pcap*"))
CORPUS = sorted(path for path in (Path(__file__).parents[3] / "shared" / "corpus" / "files").rglob("*") if path.is_file())
"""Captures of others, where they are."""

SEEDS = [*FUZZED, SNOOP]
FIELDS = ("time", "interface", "link_type", "offset", "captured", "length")

Rows = list[tuple[int, ...]]


class Memory(Source):
    """A file of which at first only some bytes are written."""

    def __init__(self, content: bytes, written: int) -> None:
        super().__init__(-1, 0)
        self.content = content
        self.written = written

    def read(self, offset: int, size: int) -> bytes:
        return self.content[: self.written][offset : offset + size]


def by_capture(path: Path) -> tuple[Rows, dict[str, Any]]:
    """The records as the readers of capture/ read them; on the wire a packet is not shorter than what was captured of it."""
    rows: Rows = []
    steps, snap = ClockSteps(), NEVER
    with open_capture(path) as capture:
        for part in capture.epochs(1_000):
            steps.watch(part)
            snap = max(snap, longest_cut(part))
            rows += zip(*(part.columns[name].tolist() for name in FIELDS), strict=True)
        facts = {"damage": capture.damage, "interfaces": capture.interfaces, "first": capture.first_time, "snap": snap}
    return [(*r[:5], max(r[4:])) for r in rows], facts | {"steps": (steps.count, steps.worst, steps.first, [*steps.frames])}


def by_core(source: Source, grow: int = 0) -> tuple[Rows, dict[str, Any]]:
    """The same by the core; `grow`: so many bytes are written at a time."""
    records = open_records(source, "x")
    packet, rows = Packet(), Rows()
    while True:
        while records.next(packet):
            at = packet.block_place + packet.at
            rows.append((packet.time, packet.interface, packet.link_type, at, packet.end - packet.at, packet.wire_length))
            assert packet.frame == len(rows)
        if not grow or not isinstance(source, Memory) or source.written >= len(source.content):
            break
        source.written += grow
    records.end()
    return rows, facts_of(records)


def facts_of(records: Records) -> dict[str, Any]:
    steps, first = records.times.steps, records.times.first
    facts = {"damage": records.damage, "interfaces": records.interfaces, "first": first, "snap": records.snap_length}
    return facts | {"steps": (steps.count, steps.worst, steps.first, [*steps.frames])}


def failure(source: Source) -> str:
    """Why not one packet can be read."""
    try:
        rows, facts = by_core(source)
    except CaptureError as error:
        return str(error)
    assert not rows
    return f"x: not one packet can be read: {facts['damage']}"


def check(content: bytes, start: int = 0, grow: int = 0) -> None:
    """Hold the core against capture/; `start`: so many bytes are written when the file is opened."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        expected: Any = None
        try:
            expected = by_capture(Path(file.name))
        except CaptureError as error:
            failed = str(error).replace(file.name, "x")
            assert failure(Source(file.fileno(), 0)) == failed
        else:
            assert by_core(Source(file.fileno(), 0)) == expected
            if grow:
                assert by_core(Memory(content, start), grow) == expected


@pytest.mark.parametrize("path", RECORDINGS[::9], ids=lambda path: path.stem)
def test_recordings(path: Path) -> None:
    check(path.read_bytes())


@pytest.mark.parametrize("path", CORPUS[::40], ids=lambda path: path.stem)
def test_corpus(path: Path) -> None:
    with path.open("rb") as file:
        if is_capture(file.read(64)) and path.stat().st_size < 5_000_000:
            check(path.read_bytes())


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_every_truncation(seed: int) -> None:
    for size in range(1, len(SEEDS[seed])):
        check(SEEDS[seed][:size])


@pytest.mark.parametrize("grow", [1, 7, 100])
def test_growing_files(grow: int) -> None:
    for content in (SEEDS[0], SEEDS[-1], SEEDS[-2], SEEDS[-3]):
        check(content, 200, grow)


def times_of(content: bytes) -> list[int]:
    """The times of all packets by the core."""
    rows, _ = by_core(Memory(content, len(content)))
    return [row[0] for row in rows]


def test_times_are_clipped_so_that_sums_of_three_fit() -> None:
    years = 100 * 365 * 86_400 * 1_000_000
    late = files.pcap([files.Packet(ticks, b"", 0) for ticks in (0, years, 5)])
    early = files.pcap([files.Packet(ticks, b"", 0) for ticks in (years, 0)])
    assert times_of(late) == [0, LATEST, 5_000]
    assert times_of(early) == [0, -LATEST]
    assert 3 * LATEST < 1 << 63


def test_clocks_of_interfaces_that_lie_ages_apart() -> None:
    # in seconds: the second clock counts from the far future, and its first number of 63 bits lies beyond that
    out = files.section("<") + files.interface("<", resolution=0) + files.interface("<", resolution=0, offset=1 << 62)
    out += files.enhanced("<", files.Packet(0, b"", 0)) + files.enhanced("<", files.Packet((1 << 63) - 1, b"", 0, 1))
    assert times_of(out) == [0, LATEST]


@settings(deadline=2_000, max_examples=400)
@given(seed=st.sampled_from(SEEDS), mutations=st.lists(MUTATION, max_size=6), cut=st.integers(0, 300))
def test_mutated_files(seed: bytes, mutations: list[tuple[int, int, int]], cut: int) -> None:
    check(mutated(seed, mutations, cut))

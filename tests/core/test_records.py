"""Records of whole, cut, growing and broken files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.capture import files
from tests.capture.test_fuzz import MUTATION, mutated
from tests.capture.test_fuzz import SEEDS as FUZZED
from tests.capture.test_snoop import CONTENT as SNOOP
from tests.core.feeding import CORPUS, Memory
from tests.support.recordings import PATHS
from tests.support.sweeps import examples
from wiredoctor.capture import CaptureError
from wiredoctor.capture.formats import is_capture
from wiredoctor.core.capture.file_formats import open_records
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.capture.records import LATEST, Records, Source

SEEDS = [*FUZZED, SNOOP]

BEHIND = 8
"""Bytes: padding and the length of a block follow a packet."""

Rows = list[tuple[int, ...]]


def by_core(source: Source, grow: int = 0) -> tuple[Rows, dict[str, Any]]:
    """Return the records of a file, and what else it says; `grow`: so many bytes are written at a time."""
    records = open_records(source, "x")
    packet, rows = Packet(), Rows()
    while True:
        while records.next(packet):
            at = packet.block_place + packet.at
            rows.append((packet.time, packet.interface, packet.link_type, at, packet.end - packet.at, packet.wire_length))
            assert packet.frame == len(rows)
            assert source.read(at, packet.end - packet.at) == packet.block[packet.at : packet.end]
        if not grow or not isinstance(source, Memory) or source.written >= len(source.content):
            break
        source.written += grow
    records.end()
    return rows, facts_of(records)


def facts_of(records: Records) -> dict[str, Any]:
    steps, first = records.times.steps, records.times.first
    facts = {"damage": records.damage, "interfaces": records.interfaces, "first": first, "snap": records.snap_length}
    return facts | {"steps": (steps.count, steps.worst, steps.first, [*steps.frames])}


def outcome(source: Source, grow: int = 0) -> tuple[Rows, dict[str, Any]] | str:
    """Return the records of a file, or why it cannot be read."""
    try:
        return by_core(source, grow)
    except CaptureError as error:
        return str(error)


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_every_truncation(seed: int) -> None:
    """The records before the cut are read, and that something is missing is said. By three records each variant is known."""
    content = SEEDS[seed]
    whole, _ = by_core(Memory(content, len(content)))
    ends = [row[3] + row[4] for row in whole]
    damaged = 0
    for size in range(ends[2] + BEHIND, len(content)):
        rows, facts = by_core(Memory(content[:size], size))
        assert rows == whole[: len(rows)]
        assert sum(end + BEHIND <= size for end in ends) <= len(rows) <= sum(end <= size for end in ends)
        damaged += facts["damage"] is not None
    assert damaged > (len(content) - ends[2]) // 2


@pytest.mark.parametrize("grow", [1, 7, 100])
@pytest.mark.parametrize("content", [SEEDS[0], *SEEDS[-3:]], ids=["pcap", "pcapng", "pcapng, big-endian", "snoop"])
def test_growing_files(content: bytes, grow: int) -> None:
    assert by_core(Memory(content, 200), grow) == by_core(Memory(content, len(content)))


@pytest.mark.parametrize("path", [*PATHS[::40], *CORPUS[::400]], ids=lambda path: path.stem)
def test_captures_that_grow(path: Path) -> None:
    content = path.read_bytes()[:200_000]
    if is_capture(content[:64]):
        assert outcome(Memory(content, 2_000), 997) == outcome(Memory(content, len(content)))


def times_of(content: bytes) -> list[int]:
    """The times of all packets by the core."""
    rows, _ = by_core(Memory(content, len(content)))
    return [row[0] for row in rows]


def test_times_are_clipped_so_that_sums_of_three_fit() -> None:
    years = 100 * 365 * 86_400 * 1_000_000
    late = files.pcap([files.Packet(ticks, b"", 0) for ticks in (0, years, 5)])
    early = files.pcap([files.Packet(ticks, b"x", 1) for ticks in (years, 0)])
    assert times_of(late) == [0, LATEST, 5_000]
    assert times_of(early) == [0, -LATEST]
    assert 3 * LATEST < 1 << 63


def test_clocks_of_interfaces_that_lie_ages_apart() -> None:
    # in seconds: the second clock counts from the far future, and its first number of 63 bits lies beyond that
    out = files.section("<") + files.interface("<", resolution=0) + files.interface("<", resolution=0, offset=1 << 62)
    out += files.enhanced("<", files.Packet(0, b"", 0)) + files.enhanced("<", files.Packet((1 << 63) - 1, b"", 0, 1))
    assert times_of(out) == [0, LATEST]


@settings(deadline=2_000, max_examples=examples(400))
@given(seed=st.sampled_from(SEEDS), mutations=st.lists(MUTATION, max_size=6), cut=st.integers(0, 300))
def test_mutated_files(seed: bytes, mutations: list[tuple[int, int, int]], cut: int) -> None:
    """They are read, or refused; a packet lies within the file, and it does not matter when it was written."""
    content = mutated(seed, mutations, cut)
    found = outcome(Memory(content, len(content)))
    if not isinstance(found, str):
        assert all(row[3] > 0 and row[3] + row[4] <= len(content) for row in found[0] if row[2] >= 0)
        assert all(row[4] <= row[5] for row in found[0])
        assert by_core(Memory(content, 200), 50) == found

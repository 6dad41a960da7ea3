"""Test a growing capture: every record is read once, and its bytes can be read again as long as their file exists."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.capture import files
from tests.capture.files import Packet
from tests.support.sweeps import examples
from wiredoctor.capture import CaptureError
from wiredoctor.capture.drops import Overwritten
from wiredoctor.core.capture.packet import Packet as RecordPacket
from wiredoctor.engine.growing import GrowingCapture

HEAD = files.section("<") + files.interface("<", resolution=9)


def packet(number: int, size: int) -> Packet:
    return Packet(1_000_000 * number, bytes((number + i) % 256 for i in range(size)), size)


def stream(folder: Path, parts: Sequence[Sequence[Packet]]) -> tuple[list[tuple[Path, int]], list[int]]:
    """Files one behind the other, each with its headers: (path, where it begins), and where in the stream each packet ends."""
    written: list[tuple[Path, int]] = []
    ends: list[int] = []
    begin = 0
    for number, packets in enumerate(parts):
        blocks = [HEAD, *(files.enhanced("<", p) for p in packets)]
        path = folder / f"{number}.pcapng"
        path.write_bytes(b"".join(blocks))
        written.append((path, begin))
        at = begin + len(HEAD)
        for one in blocks[1:]:
            ends.append(at := at + len(one))
        begin += path.stat().st_size
    return written, ends


def read(capture: GrowingCapture) -> Iterator[bytes]:
    """Yield the content of the packets that have come."""
    packet = RecordPacket()
    while capture.records.next(packet):
        yield packet.block[packet.at : packet.end]


@contextmanager
def opened(paths: Sequence[tuple[Path, int]], *, packets: int = 0) -> Generator[GrowingCapture]:
    """Open a capture of files that are there, but for what is written of them, each with so many packets."""
    with GrowingCapture("trace.pcapng") as capture:
        for number, (path, begin) in enumerate(paths):
            capture.add(os.open(path, os.O_RDONLY), begin, number * packets)
        yield capture


SIZES = st.lists(st.integers(0, 30_000), min_size=1, max_size=30)


@settings(max_examples=examples(60))
@given(st.lists(SIZES, min_size=1, max_size=4), st.lists(st.integers(0, 119), max_size=10))
def test_every_packet_comes_once_however_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[list[int]], cuts: list[int]
) -> None:
    number = iter(range(1000))
    parts = [[packet(next(number), size) for size in part] for part in sizes]
    paths, ends = stream(tmp_path_factory.mktemp("stream"), parts)
    found: list[bytes] = []
    with opened(paths) as capture:
        for stop in [*sorted(ends[i % len(ends)] for i in cuts), ends[-1]]:
            capture.extend(stop)
            found += read(capture)
            assert (capture.unread_bytes, capture.records.position) == (0, stop)
        assert found == [p.data for part in parts for p in part]
        assert (capture.records.frame, capture.records.damage, capture.size) == (len(found), None, ends[-1])


def test_bytes_are_read_again_by_their_place(tmp_path: Path) -> None:
    paths, ends = stream(tmp_path, [[packet(50 * k + i, 20_000) for i in range(20)] for k in range(3)])
    joined = b"".join(path.read_bytes() for path, _ in paths)
    with opened(paths) as capture:
        capture.extend(ends[-1])
        assert len(list(read(capture))) == 60
        again = capture.records.source.read
        for at in (0, 500_000, paths[1][1] - 7, paths[2][1] - 3, ends[-1] - 5):
            assert again(at, 20) == joined[at : at + 20]
        # the first file has been removed: what nobody can read is zeros, and the rest is there
        capture.close_before(paths[1][1], needed=1 << 62)
        first = paths[1][1]
        assert again(first - 4, 8) == bytes(4) + joined[first : first + 4]
        assert again(5, 4) == bytes(4)


def test_a_file_is_kept_as_long_as_something_of_it_is_needed(tmp_path: Path) -> None:
    paths, ends = stream(tmp_path, [[packet(1, 500)], [packet(2, 500)], [packet(3, 500)]])
    with opened(paths) as capture:
        capture.extend(ends[-1])
        for path, _ in paths[:2]:
            path.unlink()
        capture.close_before(paths[2][1], needed=1 << 62)  # nothing of it is read yet
        assert len(list(read(capture))) == 3
        capture.close_before(paths[2][1], needed=ends[0] - 100)
        assert capture.records.source.read(ends[0] - 100, 90) == packet(1, 500).data[-96:-6]
        capture.close_before(paths[2][1], needed=1 << 62)
        assert capture.records.source.read(ends[0] - 100, 90) == bytes(90)


def test_reading_goes_on_with_a_later_file(tmp_path: Path) -> None:
    paths, ends = stream(tmp_path, [[packet(i, 500), packet(i + 1, 500)] for i in (1, 3, 5, 7)])
    with opened(paths, packets=2) as capture:
        capture.extend(ends[0])
        found = list(read(capture))
        capture.extend(ends[-1])
        capture.skip(ends[0] + 1)
        capture.skip(paths[1][1])  # it is there already
        assert (capture.records.position, capture.end_skip()) == (paths[1][1], False)
        capture.skip(paths[1][1] + 1)  # further, before anything was read
        assert [*found, *read(capture)] == [packet(i, 500).data for i in (1, 5, 6, 7, 8)]
        assert (capture.unread_bytes, capture.records.damage, capture.end_skip()) == (0, None, True)
        assert capture.records.drops.overwritten == [Overwritten(2, 0, 7_000_000, 3, paths[2][1] - ends[0])]


def test_the_files_of_a_stream_have_the_same_interfaces(tmp_path: Path) -> None:
    """Each describes them again: a ring of days has one interface. Another one is a new one."""
    paths, ends = stream(tmp_path, [[packet(i, 50)] for i in range(4)])
    other = files.section("<") + files.interface("<", resolution=6)
    third = paths[2][0]
    third.write_bytes(other + third.read_bytes()[len(HEAD) :])
    with opened(paths) as capture:
        capture.extend(ends[-1])
        packets, found = RecordPacket(), list[int]()
        while capture.records.next(packets):
            found.append(packets.interface)
        assert found == [0, 0, 1, 2]
        assert [one.ticks for one in capture.records.interfaces] == [10**9, 10**6, 10**9]


def test_a_file_that_shrinks_is_reported_in_a_line_and_kills_nobody(tmp_path: Path) -> None:
    paths, ends = stream(tmp_path, [[packet(i, 1400) for i in range(50)]])
    with opened(paths) as capture:
        capture.extend(ends[9])
        assert len(list(read(capture))) == 10
        os.truncate(paths[0][0], ends[20] - 3)
        capture.extend(ends[40])
        with pytest.raises(CaptureError, match=re.escape("trace.pcapng: the file became shorter while it was read (offset")):
            list(read(capture))

"""Several files as one capture: the order of packets, places, damage, interfaces, and how many files are open at a time."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.capture import files
from tests.capture.files import Packet as Content
from tests.support.needs import needs
from tests.support.sweeps import examples
from wiredoctor import limits
from wiredoctor.capture import Budget, CaptureError, Input
from wiredoctor.capture import files as capture_files
from wiredoctor.capture.files import OpenFiles
from wiredoctor.core.capture.chain import FrameRuns
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.capture.records import Records
from wiredoctor.engine.opening import CaptureFiles, open_capture_files, open_capture_records

TIMES = st.lists(st.integers(0, 40), max_size=30)
MB = 1_000_000


class Row(NamedTuple):
    """A packet that was read."""

    content: bytes
    time: int
    interface: int


def never(line: str) -> None:
    raise AssertionError(line)


def opened(paths: list[str], *, rotation: bool = False, budget: int | None = None) -> CaptureFiles:
    return open_capture_files(Input("all", tuple(paths), rotation), OpenFiles(Budget(budget)), never)


def rows_of(records: Records) -> list[Row]:
    """Read to the end; checks frame numbers, the watermark, and that each packet is found by its place."""
    rows: list[Row] = []
    packet, latest = Packet(), records.times.latest
    while records.next(packet):
        content = packet.block[packet.at : packet.end]
        rows.append(Row(content, packet.time, packet.interface))
        latest, before = records.times.latest, latest
        assert before <= latest <= max(before, packet.time)
        assert (packet.frame, packet.clock) == (len(rows), latest)
        assert records.source.read(packet.block_place + packet.at, len(content)) == content
    assert not records.next(packet)
    records.end()
    return rows


def written(folder: Path, times: list[list[int]]) -> list[str]:
    """A file per list of times; each packet of all files has bytes of its own."""
    number = count()
    paths: list[str] = []
    for i, own in enumerate(times):
        path = folder / f"{i}.pcap"
        path.write_bytes(files.pcap([Content(time * 1_000, b"%08d" % next(number), 8) for time in own]))
        paths.append(str(path))
    return paths


def step_by_step(times: list[list[int]]) -> list[tuple[bytes, int, int]]:
    """Content, file and number in it of each packet: the file goes on whose next packet is the earliest, of equals the last."""
    number = count()
    waiting = [[(time, b"%08d" % next(number)) for time in own] for own in times]
    read = [0] * len(times)
    found: list[tuple[bytes, int, int]] = []
    while heads := [(own[0][0], -i) for i, own in enumerate(waiting) if own]:
        file = -min(heads)[1]
        read[file] += 1
        found.append((waiting[file].pop(0)[1], file, read[file]))
    return found


@settings(deadline=None, max_examples=examples(100))
@given(times=st.lists(TIMES, min_size=2, max_size=6))
def test_the_earliest_goes_first(times: list[list[int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("chain")
    paths = written(folder, times)
    with opened(paths) as capture:
        rows = rows_of(open_capture_records(capture))
        expected = step_by_step(times)
        assert [row.content for row in rows] == [content for content, _, _ in expected]
        places = [capture.locate(frame) for frame in range(1, len(rows) + 1)]
        assert places == [(paths[file], own) for _, file, own in expected]
        assert capture.locate(len(rows) + 1) is None
        assert rows_of(open_capture_records(capture)) == rows


@needs("mergecap")
@pytest.mark.parametrize("times", [[[1, 5, 9], [2, 5, 8]], [[5, 1, 9, 3], [2, 5, 5], [5]], [[10, 11], [1, 2], [5, 30, 4]]])
def test_as_mergecap_does(times: list[list[int]], tmp_path: Path) -> None:
    paths, out = written(tmp_path, times), str(tmp_path / "out.pcapng")
    subprocess.run(["mergecap", "-I", "none", "-w", out, *paths], check=True, capture_output=True)
    theirs, ours = (rows_of(open_capture_records(opened(some))) for some in ([out], paths))
    assert [row[:2] for row in ours] == [row[:2] for row in theirs]
    # each file has an interface of its own, whatever its number
    assert len({(own.interface, other.interface) for own, other in zip(ours, theirs, strict=True)}) == len(times)


@pytest.mark.parametrize("rotation", [True, False])
def test_equal_interfaces_of_a_rotation_are_one(rotation: bool, tmp_path: Path) -> None:
    with opened(written(tmp_path, [[1, 2], [3], [4]]), rotation=rotation) as capture:
        rows = rows_of(open_capture_records(capture))
    assert [row.interface for row in rows] == ([0, 0, 0, 0] if rotation else [0, 0, 1, 2])


def test_a_clock_that_was_set_back_in_a_rotation(tmp_path: Path) -> None:
    """Within a file it is a step of the clock; a file that begins earlier than the one before it is put before it."""
    with opened(written(tmp_path, [[50_000, 60_000, 20_000], [1_000]]), rotation=True) as capture:
        records = open_capture_records(capture)
        rows_of(records)
    steps = [(step.frame_before, step.frame) for step in records.times.steps.first]
    assert steps == [(3, 4)]


def test_damage_ends_its_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_files, "OPEN", 1)
    first, cut, gone, last = written(tmp_path, [[1], [2, 3, 30], [10], [20, 40]])
    content = Path(cut).read_bytes()
    Path(cut).write_bytes(content[:-3])
    with opened([first, cut, gone, last], rotation=True) as capture:
        Path(gone).unlink()
        records = open_capture_records(capture)
        rows = rows_of(records)
        assert capture.files == (first, cut, gone, last)
    assert [row.time // 1_000_000 for row in rows] == [0, 1, 2, 19, 39]
    assert records.damage is not None
    of_cut, of_gone = records.damage.split("; ")
    assert of_cut.startswith(f"{cut}: the file ends inside packet 3 ")
    assert of_gone == f"{gone}: no such file"


def test_a_file_that_was_replaced_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_files, "OPEN", 1)
    second, first = written(tmp_path, [[2], [1]])
    with opened([second, first]) as capture:
        other = tmp_path / "other"
        other.write_bytes(Path(second).read_bytes())
        other.replace(second)
        records = open_capture_records(capture)
        assert len(rows_of(records)) == 1
    assert records.damage == f"{second}: the file was replaced or truncated while it was read"


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    good = written(tmp_path, [[1, 2], [3]])
    (tmp_path / "text").write_text("nothing of the kind")
    said: list[str] = []
    names = (good[0], str(tmp_path / "text"), good[1], str(tmp_path / "none"))
    with open_capture_files(Input("all", names), OpenFiles(Budget()), said.append) as capture:
        assert len(rows_of(open_capture_records(capture))) == 3
        assert capture.files == (good[0], good[1])
    assert [line.split(": ", 1)[0] for line in said] == [names[1], names[3]]
    with pytest.raises(CaptureError, match="all: none of these files can be read"):
        open_capture_files(Input("all", (names[1], names[3])), OpenFiles(Budget()), said.append)


def test_records_of_an_unknown_link_type_are_no_damage(tmp_path: Path) -> None:
    """They have their place among those of the other file: the packets count as not analyzed, one by one."""
    good, strange = written(tmp_path, [[1, 3], [2]])
    content = bytearray(Path(strange).read_bytes())
    content[20:24] = (0x15F15).to_bytes(4, "little")
    Path(strange).write_bytes(content)
    with opened([good, strange]) as capture:
        records = open_capture_records(capture)
        assert [row.time for row in rows_of(records)] == [0, 1_000_000, 2_000_000]
    assert records.damage is None


def test_times_far_apart(tmp_path: Path) -> None:
    """Nothing overflows if one file is of 1970 and the other of the last second that 32 bits can name."""
    paths: list[str] = []
    for name, time in (("late", (1 << 32) - 1), ("early", 0)):
        (tmp_path / name).write_bytes(files.pcap([Content(time * 1_000_000, name.encode(), len(name))]))
        paths.append(str(tmp_path / name))
    assert [row.content for row in rows_of(open_capture_records(opened(paths)))] == [b"early", b"late"]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
@pytest.mark.parametrize("overlap", [False, True])
def test_few_files_are_open(overlap: bool, tmp_path: Path) -> None:
    """Also while all files overlap, and when bytes of all of them are read again."""
    times = [[i, i + 100 if overlap else i] for i in range(60)]
    before, most, packet = descriptors(), 0, Packet()
    with opened(written(tmp_path, times)) as capture:
        records = open_capture_records(capture)
        places: list[tuple[int, bytes]] = []
        while records.next(packet):
            places.append((packet.block_place + packet.at, packet.block[packet.at : packet.end]))
            most = max(most, descriptors() - before)
        assert len(places) == 120
        assert all(records.source.read(place, 8) == content for place, content in places)
        assert max(most, descriptors() - before) <= 8
    assert descriptors() <= before


def spooled() -> list[int]:
    """Sizes of the temporary files that are open."""
    names = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    links = [name for name in names if os.path.islink(name) and os.readlink(name).endswith("(deleted)")]
    return [os.stat(name).st_size for name in links]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_unpacked_files_never_take_more_than_the_bound(tmp_path: Path) -> None:
    """20 files of 1 MB, and room for one and a half: all are read, and again in a second pass."""
    paths: list[str] = []
    for number in range(20):
        content = files.pcap([Content(number * 1_000 + i, bytes([number]) * 50_000, 50_000) for i in range(20)])
        (tmp_path / f"{number}.pcap.gz").write_bytes(gzip.compress(content))
        paths.append(str(tmp_path / f"{number}.pcap.gz"))
    packet = Packet()
    with opened(paths, rotation=True, budget=1_600_000) as capture:
        for _ in range(2):
            records, most, frames = open_capture_records(capture), 0, 0
            while records.next(packet):
                frames += 1
                assert packet.block[packet.at] == (frames - 1) // 20
                most = max(most, sum(spooled()))
            assert (frames, records.damage, capture.incomplete) == (400, None, [])
            assert MB <= most <= 1_600_000
            assert records.source.read(0, 4) == struct.pack("<I", 0xA1B2C3D4)


def test_a_file_that_is_larger_than_the_bound_is_cut_and_the_next_goes_on(tmp_path: Path) -> None:
    paths: list[str] = []
    for number, packets in enumerate((5, 40, 5)):
        content = files.pcap([Content(number * 1_000 + i, bytes(50_000), 50_000) for i in range(packets)])
        (tmp_path / f"{number}.gz").write_bytes(gzip.compress(content))
        paths.append(str(tmp_path / f"{number}.gz"))
    with opened(paths, rotation=True, budget=MB) as capture:
        records = open_capture_records(capture)
        rows = rows_of(records)
        counts = [sum(row.time // 1_000_000 == number for row in rows) for number in range(3)]
        assert counts == [5, 19, 5]
        [sentence] = capture.incomplete
        assert sentence.startswith(f"Only the first 1 MB of {paths[1]} were read: unpacked captures may use 1 MB at most")
    assert records.damage is not None
    assert records.damage.startswith(f"{paths[1]}: only the first 1,000,000 bytes were stored on disk")


@given(alternate=st.lists(st.integers(0, 3), max_size=60), most=st.integers(1, 9))
def test_frames_are_located(alternate: list[int], most: int) -> None:
    """As long as there are at most so many runs, each frame is found; those after them are not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits.FRAME_RUNS, "value", most)
        found = FrameRuns()
    runs = 0
    expected: list[tuple[int, int] | None] = []
    for at, file in enumerate(alternate):
        own = alternate[: at + 1].count(file)
        if at == 0 or alternate[at - 1] != file:
            runs += 1
            found.add(at + 1, file, own)
        expected.append((file, own) if runs <= most else None)
    assert [found.locate(at + 1) for at in range(len(alternate))] == expected
    assert found.locate(0) is None

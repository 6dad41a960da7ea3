"""A capture that grows: read in blocks, at places that stay the same, in memory that does not grow with it."""

from __future__ import annotations

import gc
import os
import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.capture import files
from tests.capture.files import Packet
from wiredoctor.capture import CaptureError
from wiredoctor.capture import growing as module
from wiredoctor.capture.ending import Ending, ending
from wiredoctor.capture.growing import GrowingCapture
from wiredoctor.capture.reserve import CHUNK, Reserve

pytestmark = pytest.mark.skipif(os.name != "posix", reason="no range of addresses can be reserved on this system")

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


def read(capture: GrowingCapture, packets: int) -> Iterator[bytes]:
    """The content of the packets that have come; what is read is given back."""
    for records in capture.epochs(packets):
        for at, size in zip(records.columns["offset"].tolist(), records.columns["captured"].tolist(), strict=True):
            yield capture.data[at : at + size].tobytes()
        capture.release(records.ends)


SIZES = st.lists(st.integers(0, 3000), min_size=1, max_size=30)


@settings(max_examples=60)
@given(
    st.lists(SIZES, min_size=1, max_size=4),
    st.integers(1, 40),
    st.lists(st.integers(0, 119), max_size=10),
    st.integers(100, 9000),
)
def test_every_packet_comes_once_however_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[list[int]], epoch: int, cuts: list[int], at_once: int
) -> None:
    number = iter(range(1000))
    parts = [[packet(next(number), size) for size in part] for part in sizes]
    paths, ends = stream(tmp_path_factory.mktemp("stream"), parts)
    found: list[bytes] = []
    with pytest.MonkeyPatch.context() as patch, GrowingCapture("live") as capture:
        patch.setattr(module, "AT_ONCE", at_once)
        patch.setattr(module, "KEPT", 0)
        for path, begin in paths:
            capture.add(os.open(path, os.O_RDONLY), begin)
        for stop in [*sorted(ends[i % len(ends)] for i in cuts), ends[-1]]:
            capture.extend(stop)
            found += read(capture, epoch)
        assert found == [p.data for part in parts for p in part]
        assert (capture.packets, capture.behind, capture.damage, capture.size) == (len(found), 0, None, ends[-1])


def test_bytes_that_are_not_in_memory_are_read_again(tmp_path: Path) -> None:
    parts = [[packet(50 * k + i, 200_000) for i in range(40)] for k in range(3)]
    paths, ends = stream(tmp_path, parts)
    joined = b"".join(path.read_bytes() for path, _ in paths)
    with pytest.MonkeyPatch.context() as patch, GrowingCapture("live") as capture:
        patch.setattr(module, "KEPT", 0)
        for path, begin in paths:
            capture.add(os.open(path, os.O_RDONLY), begin)
        capture.extend(ends[-1])
        assert list(read(capture, 2)) == [p.data for part in parts for p in part]
        assert capture.left_behind >= ends[-1] - 3 * CHUNK
        for at in (0, 5_000_000, paths[1][1] - 7, paths[2][1] - 3, capture.left_behind - 5):
            assert capture[at : at + 20] == joined[at : at + 20]
            assert capture.reread(at, 20) == joined[at : at + 20]
        # the first file has been removed: what nobody can read is zeros, and the rest is there
        capture.removed(paths[1][1], needed=1 << 62)
        first = paths[1][1]
        assert capture.reread(first - 4, 8) == bytes(4) + joined[first : first + 4]
        assert capture[5:9] == bytes(4)


def test_a_file_is_kept_as_long_as_something_of_it_is_needed(tmp_path: Path) -> None:
    paths, ends = stream(tmp_path, [[packet(1, 500)], [packet(2, 500)], [packet(3, 500)]])
    with GrowingCapture("live") as capture:
        for path, begin in paths:
            capture.add(os.open(path, os.O_RDONLY), begin)
        capture.extend(ends[-1])
        assert len(list(read(capture, 10))) == 3
        for path, _ in paths[:2]:
            path.unlink()
        capture.removed(paths[2][1], needed=ends[0] - 100)
        assert capture.reread(ends[0] - 100, 90) == packet(1, 500).data[-96:-6]
        capture.removed(paths[2][1], needed=1 << 62)
        assert capture.reread(ends[0] - 100, 90) == bytes(90)


def test_a_file_that_shrinks_is_told_in_a_line_and_kills_nobody(tmp_path: Path) -> None:
    paths, ends = stream(tmp_path, [[packet(i, 1400) for i in range(50)]])
    with GrowingCapture("trace.pcapng") as capture:
        capture.add(os.open(paths[0][0], os.O_RDONLY), 0)
        capture.extend(ends[9])
        assert len(list(read(capture, 100))) == 10
        os.truncate(paths[0][0], ends[20] - 3)
        capture.extend(ends[40])
        with pytest.raises(CaptureError, match=re.escape("trace.pcapng: the file has become shorter while it was read (offset")):
            list(read(capture, 100))


def test_the_memory_of_what_was_read_is_given_back(tmp_path: Path) -> None:
    block = np.full(CHUNK, 7, np.uint8).tobytes()
    (tmp_path / "long").write_bytes(block)
    reserve = Reserve()
    with (tmp_path / "long").open("rb") as file:
        before = _resident()
        for number in range(100):
            assert reserve.read(file.fileno(), 0, number * CHUNK, CHUNK) == CHUNK
            assert reserve.data[(number + 1) * CHUNK - 1] == 7
            reserve.forget((number + 1) * CHUNK)
    assert reserve.forgotten == 100 * CHUNK
    assert not reserve.data[0]
    if before:
        assert _resident() - before < 8 * CHUNK  # of 100


def test_reading_leaves_no_garbage(tmp_path: Path) -> None:
    """The collector is off while a capture is analysed, and a live one may go on for days: each read is of another size."""
    (tmp_path / "long").write_bytes(bytes(100_000))
    reserve, at = Reserve(), 0
    enabled = gc.isenabled()
    gc.disable()
    try:
        with (tmp_path / "long").open("rb") as file:
            gc.collect()
            for size in range(1000, 1100):
                at += reserve.read(file.fileno(), 0, at, size)
            assert gc.collect() < 100
    finally:
        if enabled:
            gc.enable()
    assert at == sum(range(1000, 1100))


def _resident() -> int:
    """Bytes; 0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def statistics(comment: bytes, order: str = "<") -> bytes:
    return files.block(order, 5, bytes(12) + files.option(order, 1, comment) + bytes(4))


SAID = b"captured until 1795223636594000000 ns since 1970: 157 packets"


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_last_block_says_until_when_it_was_captured(order: str) -> None:
    data = files.section(order) + files.interface(order) + statistics(SAID, order)
    assert ending(np.frombuffer(data, np.uint8)) == Ending(1795223636594000000, 157)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD,
        HEAD + statistics(b"captured until tomorrow: 157 packets"),
        HEAD + statistics(SAID + b" or so"),
        HEAD + statistics(SAID) + files.enhanced("<", packet(1, 60)),
        HEAD + files.block("<", 6, statistics(SAID)),
        HEAD + statistics(SAID)[:-1],
        struct.pack("<I", 40) * 20,
    ],
)
def test_no_other_block_does(data: bytes) -> None:
    assert ending(np.frombuffer(data, np.uint8)) is None


@given(st.binary(max_size=200))
def test_any_bytes_may_stand_at_the_end(data: bytes) -> None:
    assert ending(np.frombuffer(data, np.uint8)) is None
    assert ending(np.frombuffer(statistics(SAID) + data, np.uint8)) is None or not data

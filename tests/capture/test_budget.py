"""Test the limit on the disk space that unpacked captures use, for one capture and for all captures together."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest

from tests.capture import files
from tests.capture.files import Packet
from tests.capture.reading import Opened, whole
from tests.capture.test_opening import COMPRESS
from wiredoctor import analyze
from wiredoctor.capture import Budget, CaptureError

GB, MB = 10**9, 10**6


def content(first: int, count: int) -> bytes:
    return files.pcap([Packet(first + i, bytes(1_000), 1_000) for i in range(count)])


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The free space of the temporary folder."""
    told, usage = {"bytes": 100 * GB}, namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1_000 * GB, 0, told["bytes"]))
    return told


@pytest.mark.parametrize(
    ("most", "space", "compressed", "pipe"),
    [
        (None, 100 * GB, 2 * GB, 90 * GB),
        (None, 4 * GB, 2 * GB, 3_600 * MB),
        (None, 3 * GB, 1_500 * MB, 2_700 * MB),
        (None, 0, 0, 0),
        (20 * GB, 100 * GB, 20 * GB, 20 * GB),
        (20 * GB, 10 * GB, 9 * GB, 9 * GB),
        (0, 100 * GB, 0, 0),
    ],
)
def test_the_bound(free: dict[str, int], most: int | None, space: int, compressed: int, pipe: int) -> None:
    """2 GB or half of what is free; what was requested instead; and never more than nine tenths of what is free."""
    free["bytes"] = space
    budget = Budget(most)
    assert budget.room(compressed=True).bytes == compressed
    assert budget.room(compressed=False).bytes == pipe


@pytest.mark.parametrize(
    ("most", "space", "left"), [(None, 100 * GB, 1_500 * MB), (None, 3 * GB, 1_250 * MB), (GB, 9 * GB, 500 * MB)]
)
def test_what_is_there_already_counts(free: dict[str, int], most: int | None, space: int, left: int) -> None:
    """With 500 MB of one file there and 3 GB free, 3.5 GB were free: half of these less 500 MB."""
    budget = Budget(most)
    with tempfile.TemporaryFile() as file:
        budget.hold(file, 500 * MB)
        free["bytes"] = space
        assert budget.room(compressed=True).bytes == left
        pipe = budget.room(compressed=False).bytes
        assert pipe == (left if most else int(0.9 * space))
    del file
    free["bytes"] = 100 * GB
    assert budget.room(compressed=True).bytes == (most or 2 * GB)


@pytest.mark.parametrize(
    ("most", "space", "said"),
    [
        (None, 100 * GB, "unpacked captures may use 2 GB at most. --max-spool 20GB raises this limit."),
        (100_000, 100 * GB, "unpacked captures may use 100 kB at most. --max-spool 1MB raises this limit."),
        (None, 3 * GB, f"unpacked captures may use 1.5 GB at most, half of the free space in {tempfile.gettempdir()}. "
         "Set TMPDIR to use another folder. --max-spool 15GB raises this limit."),
        (20 * GB, 3 * GB, f"there is no more space in {tempfile.gettempdir()}. Set TMPDIR to use another folder."),
    ],
)  # fmt: skip
def test_the_sentence(free: dict[str, int], most: int | None, space: int, said: str) -> None:
    free["bytes"] = space
    room = Budget(most).room(compressed=True)
    assert room.sentence("a\udcff.gz", 1_999_999_999) == f"Only the first 1.999 GB of a\\xff.gz were read: {said}"
    assert room.sentence("-", 0) == f"Nothing of standard input was read: {said}"


@pytest.mark.parametrize("method", COMPRESS)
def test_a_bomb_is_cut_off(method: str, tmp_path: Path) -> None:
    """Thirty-two megabytes of zeros behind a packet, in a file of some kilobytes."""
    bomb = COMPRESS[method](content(0, 1) + bytes(32 * MB))
    assert len(bomb) < MB
    (tmp_path / "bomb").write_bytes(bomb)
    with Opened(tmp_path / "bomb", max_spool=MB) as capture:
        assert capture.files.members[0].open().size == MB
        [said] = capture.files.incomplete
    assert said.startswith(f"Only the first 1 MB of {tmp_path / 'bomb'} were read: unpacked captures may use 1 MB at most. ")


def test_what_fits_is_complete(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(content(0, 5)))
    with Opened(tmp_path / "a", max_spool=len(content(0, 5))) as capture:
        assert (capture.files.incomplete, len(whole(capture)["time"])) == ([], 5)
    with Opened(tmp_path / "a", max_spool=len(content(0, 5)) - 1) as capture:
        assert (len(capture.files.incomplete), len(whole(capture)["time"])) == (1, 4)


def rotation(folder: Path, count: int) -> list[str]:
    """Compressed files of 100 packets each, and one that is not compressed."""
    paths = [folder / f"set.pcap{number}" for number in range(count + 1)]
    for number, path in enumerate(paths[:-1]):
        path.write_bytes(gzip.compress(content(100 * number, 100)))
    paths[-1].write_bytes(content(100 * count, 100))
    return [str(path) for path in paths]


def test_the_files_of_a_rotation_are_unpacked_one_after_the_other(tmp_path: Path) -> None:
    """There is room for one of five; what is not compressed takes none."""
    with Opened(*rotation(tmp_path, 5), max_spool=len(content(0, 100))) as capture:
        assert len(whole(capture)["time"]) == 600
        assert (capture.damage, capture.files.incomplete) == (None, [])


def test_packets_of_merged_files_are_found_again_where_only_one_of_the_files_fits(tmp_path: Path) -> None:
    """`whole` looks up each packet by its place. Both files are read at once, and the second is cut."""
    for name in "ab":
        (tmp_path / name).write_bytes(gzip.compress(content(0, 100)))
    with Opened(tmp_path / "a", tmp_path / "b", max_spool=len(content(0, 100)) + 5_000) as capture:
        assert len(whole(capture)["time"]) == 104
        assert len(capture.files.incomplete) == 1


def test_none_of_the_files_fits(tmp_path: Path) -> None:
    paths = rotation(tmp_path, 3)[:3]
    with Opened(*paths, max_spool=10) as capture:
        assert len(whole(capture)["time"]) == 0
        assert [line.partition(" were read")[0] for line in capture.files.incomplete] == [
            f"Only the first 10 bytes of {path}" for path in paths
        ]


def test_captures_one_after_the_other_have_the_bound_each(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"{number}.pcap.gz").write_bytes(gzip.compress(content(0, 100)))
    most = len(content(0, 100)) * 3 // 2
    report = analyze(tmp_path, max_spool=most)
    assert ([c.packets for c in report.captures], report.incomplete) == ([100] * 6, [])
    kept = analyze(tmp_path, max_spool=most, keep=True, on_error=pytest.fail)
    assert [c.packets for c in kept.captures] == [100, 49]
    assert len(kept.incomplete) == 5
    with pytest.raises(CaptureError):
        analyze(tmp_path, max_spool=most, keep=True)


def test_a_budget_is_shared_by_analyses_while_their_captures_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(content(0, 100)))
    budget = Budget(len(content(0, 100)) * 3 // 2)
    first = analyze(tmp_path / "a.gz", max_spool=budget, keep=True)
    second = analyze(tmp_path / "a.gz", max_spool=budget)
    assert (len(first.incomplete), len(second.incomplete)) == (0, 1)
    del first
    assert (budget.held, analyze(tmp_path / "a.gz", max_spool=budget).incomplete) == (0, [])

"""More captures than a process may have open: a rotation needs all of its files at once, other captures one after the other."""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.sweeps import SLOW, sweep

resource = pytest.importorskip("resource", reason="no limits of resources")

HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
LIMIT = 256
ROOM = LIMIT - 32 - 10
"""Files that fit: some descriptors are left for the tables, and some are open already."""


def rotation(folder: Path, count: int, pack: Callable[[bytes], bytes] = bytes) -> None:
    """Files of one packet each, as dumpcap names them."""
    for number in range(count):
        record = struct.pack("<IIII", 1_700_000_000 + number, 0, 60, 60) + bytes(60)
        (folder / f"set_{number:05}_{20240131000000 + number}.pcap").write_bytes(pack(HEADER + record))


def singles(folder: Path, count: int) -> None:
    rotation(folder, count)
    for path in folder.iterdir():
        path.rename(folder / f"{path.name[5:9]}-alone.pcap")


def analyze(folder: Path, *words: str | Path, hard: int) -> tuple[list[int], str, int]:
    """Packets of each capture in the report, what went to standard error, and the exit code."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, hard))

    command = [sys.executable, "-m", "wiredoctor", "analyze", folder, "--format", "json", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, preexec_fn=limit)
    captures = json.loads(done.stdout)["captures"] if done.stdout else []
    return [one["packets"] for one in captures], done.stderr, done.returncode


PACKED = pytest.mark.parametrize("pack", sweep([bytes, gzip.compress], {gzip.compress}.__contains__), ids=["plain", "gzip"])


@SLOW
@PACKED
def test_a_rotation_of_more_files_than_the_soft_limit(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 3 * LIMIT:
        pytest.skip("the hard limit is too low")
    rotation(tmp_path, 2 * LIMIT, pack)
    assert analyze(tmp_path, hard=hard) == ([2 * LIMIT], "", 0)


@SLOW
@PACKED
def test_a_rotation_that_fits_into_the_hard_limit(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """Also with reports that read it again."""
    (tmp_path / "set").mkdir()
    rotation(tmp_path / "set", ROOM, pack)
    outputs = (f"-o{tmp_path / 'out.html'}", f"-o{tmp_path / 'out.har'}", f"-o{tmp_path / 'tables'}/")
    packets, errors, code = analyze(tmp_path / "set", *outputs, hard=LIMIT)
    assert (packets, code) == ([ROOM], 0)
    assert "open" not in errors


@SLOW
@PACKED
@pytest.mark.parametrize("words", sweep([[], ["--merge"]], ["--merge"].__eq__), ids=["rotation", "merge"])
def test_any_number_of_files_is_read(pack: Callable[[bytes], bytes], words: list[str], tmp_path: Path) -> None:
    rotation(tmp_path, 2 * LIMIT, pack)
    assert analyze(tmp_path, *words, hard=LIMIT) == ([2 * LIMIT], "", 0)


@SLOW
def test_captures_that_are_read_one_after_the_other_are_not_bounded(tmp_path: Path) -> None:
    singles(tmp_path, LIMIT)
    assert analyze(tmp_path, hard=LIMIT) == ([1] * LIMIT, "", 0)


@SLOW
def test_captures_that_are_kept_are_not_bounded_either(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    singles(tmp_path / "all", LIMIT)
    assert analyze(tmp_path / "all", "-o", tmp_path / "out.html", hard=LIMIT) == ([1] * LIMIT, "", 0)
    assert (tmp_path / "out.html").exists()

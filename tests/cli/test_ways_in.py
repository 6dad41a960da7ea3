"""Captures that come compressed or through a pipe, with the whole program behind them."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.recordings import find_recording
from tests.support.sweeps import SLOW, sweep

HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
RECORD = struct.pack("<IIII", 1_700_000_000, 0, 60, 60) + bytes(60)
ANALYZE = [sys.executable, "-m", "wiredoctor", "analyze", "--format", "json"]


def analyze(*words: str | Path, stdin: bytes = b"") -> tuple[dict[str, Any], str, int]:
    """The capture in the report, what went to standard error, and the exit code."""
    done = subprocess.run([*ANALYZE, *map(str, words)], input=stdin, capture_output=True, timeout=60, check=False)
    report = json.loads(done.stdout) if done.stdout else {"captures": [{}]}
    return report["captures"][0], done.stderr.decode(), done.returncode


def test_a_bomb_is_stopped(tmp_path: Path) -> None:
    """More than a gigabyte of records in less than 2 MiB: concatenated gzip members."""
    record = struct.pack("<IIII", 1_700_000_000, 0, 4080, 4080) + bytes(4080)
    bomb = gzip.compress(HEADER) + gzip.compress(record * ((1 << 24) // len(record))) * 65
    assert len(bomb) < 2 << 20
    (tmp_path / "bomb.pcap.gz").write_bytes(bomb)
    capture, errors, code = analyze(tmp_path / "bomb.pcap.gz", "--max-spool", "100k")
    bound = "unpacked captures may use 100 kB at most. --max-spool 1MB raises this limit."
    assert (errors, code) == (f"wiredoctor: Only the first 100 kB of {tmp_path / 'bomb.pcap.gz'} were read: {bound}\n", 2)
    most = int(str(capture["damage"]).removeprefix("only the first ").partition(" ")[0].replace(",", ""))
    assert capture["damage"] == f"only the first {most:,} bytes were stored on disk: the limit (--max-spool) allows no more"
    assert 99_000 < most <= 102_400
    assert capture["packets"] == (most - len(HEADER)) // len(record)


@SLOW
def test_max_spool_bounds_standard_input_and_no_plain_file(tmp_path: Path) -> None:
    content = HEADER + RECORD * 100
    capture, _, code = analyze("-", "--max-spool", str(len(HEADER + RECORD * 10)), stdin=content)
    assert (capture["packets"], code) == (10, 2)
    (tmp_path / "plain.pcap").write_bytes(content)
    capture, _, _ = analyze(tmp_path / "plain.pcap", "--max-spool", "10")
    assert (capture["packets"], capture["damage"]) == (100, None)


@pytest.mark.parametrize("words", sweep(["-1", "many", "1x"], "many".__eq__))
def test_a_max_spool_that_is_none(words: str) -> None:
    _, errors, code = analyze("-", "--max-spool", words, stdin=HEADER)
    assert (code, errors.startswith("wiredoctor: --max-spool"), errors.count("\n")) == (2, True, 1)


@pytest.mark.parametrize("most", sweep([0, 3, 23], (3).__eq__))
def test_a_max_spool_that_holds_no_packet(most: int) -> None:
    capture, errors, code = analyze("-", "--max-spool", str(most), stdin=HEADER + RECORD)
    read = f"Only the first {most} bytes of standard input were read" if most else "Nothing of standard input was read"
    why = f"captures from a pipe may use {most} bytes at most. --max-spool 1MB raises this limit."
    assert (capture, errors, code) == ({}, f"wiredoctor: {read}: {why}\n", 2)


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture with findings, and zeros behind it; with room for 100 kB, all of it is read but most of the zeros."""
    path = tmp_path_factory.mktemp("cut") / "cut.pcap.gz"
    path.write_bytes(gzip.compress(find_recording("client-split-200-ms-client.pcap").read_bytes() + bytes(1 << 22)))
    return path


@pytest.mark.parametrize(
    "line",
    sweep(
        [
            "analyze --fail-on note",
            "analyze --quiet --format markdown",
            "show --finding 1",
            "exchanges",
            "connections --format csv",
            "extract --connection 0 --quiet",
            "compare",
            "compare --both-sides",
        ],
        "analyze --fail-on note".__eq__,
    ),
)
def test_every_command_says_what_was_cut_off_and_ends_with_2(cut: Path, tmp_path: Path, line: str) -> None:
    words = line.split()
    other = [find_recording("client-split-200-ms-client.pcap")] if words[0] == "compare" else []
    written = ["-o", tmp_path / "out.pcapng"] if words[0] == "extract" else []
    said = (
        f"Only the first 100 kB of {cut} were read: unpacked captures may use 100 kB at most. --max-spool 1MB raises this limit."
    )
    command = [sys.executable, "-m", "wiredoctor", words[0], *other, cut, *words[1:], *written, "--max-spool", "100kB"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "500"})
    assert (done.returncode, done.stderr) == (2, f"wiredoctor: {said}\n")
    assert bool(done.stdout) == (words[0] not in ("compare", "extract"))
    if words[0] == "analyze":
        first = done.stdout.splitlines()[0]
        assert first.removeprefix("## wiredoctor: ").strip("*").replace("\\", "").replace("&#8203;", "")[:60] == said[:60]
    if written:
        assert (tmp_path / "out.pcapng").stat().st_size


def test_a_full_disk_is_said_and_ends_with_2(cut: Path) -> None:
    """No file may be longer than 100,000 bytes: to the one who writes, that is a full disk."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); "
        "from wiredoctor.cli import main; sys.argv = ['wiredoctor', 'analyze', sys.argv[1], '--quiet']; main()"
    )
    done = subprocess.run([sys.executable, "-B", "-c", code, cut], capture_output=True, text=True, check=False)
    folder = tempfile.gettempdir()
    said = f"Only the first 100 kB of {cut} were read: there is no more space in {folder}. Set TMPDIR to use another folder."
    assert (done.returncode, done.stderr) == (2, f"wiredoctor: {said}\n")


def test_an_empty_pipe() -> None:
    assert analyze("-") == ({}, "wiredoctor: -: empty\n", 2)


def test_a_pipe_that_ends_inside_a_packet() -> None:
    capture, errors, code = analyze("-", stdin=HEADER + RECORD * 3 + RECORD[:40])
    assert (capture["packets"], errors, code) == (3, "", 0)
    assert capture["damage"] == f"the file ends inside packet 4 (offset {24 + 3 * 76}: 60 bytes announced, 24 found)"


@pytest.mark.skipif(os.name != "posix", reason="needs pipes")
def test_a_slow_pipe() -> None:
    """Every few bytes on their own, the first of them less than a magic number; then nothing for a while."""
    process = subprocess.Popen([*ANALYZE, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    source = io.BytesIO(HEADER + RECORD * 2)
    for size in (1, 2, 30, 7, 60, 1, 1, 500):
        process.stdin.write(source.read(size))
        process.stdin.flush()
        time.sleep(0.02)
    output, errors = process.communicate(timeout=60)
    capture = json.loads(output)["captures"][0]
    assert (capture["packets"], capture["damage"], errors, process.returncode) == (2, None, b"", 0)

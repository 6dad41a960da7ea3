"""Which files are one capture, and which captures a folder holds."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from tests.capture import files
from tests.capture.files import Packet
from wiredoctor.capture import Input, find_inputs

CONTENT = files.pcap([Packet(0, b"x" * 60, 60)])


def never(line: str) -> None:
    raise AssertionError(line)


def read_as(*paths: str, merge: bool = False) -> list[tuple[str, ...]]:
    return [capture.files for capture in find_inputs(paths, never, merge=merge)]


@pytest.mark.parametrize(
    "names",
    [
        ["trace.pcap", "trace.pcap1", "trace.pcap2"],
        ["trace.pcap0", "trace.pcap1"],
        ["trace.pcap00", "trace.pcap01", "trace.pcap10"],
        ["trace.pcap1.gz", "trace.pcap2.gz", "trace.pcap3"],
        ["a/out_00001_20240131235959.pcapng", "a/out_00002_20240201000000.pcapng"],
        ["out_00001_20240131235959", "out_00002_20240201000000"],
        ["out_99999_20240131235959.pcap", "out_00001_20240131235959.pcap", "out_00001_20240201235959.pcap"],
        ["out_00001_20240131235959.pcap.zst", "out_00002_20240201000000.pcap.zst"],
        ["web-20260301-000000.pcap", "web-20260301-010000.pcap"],
        ["web_2026-03-01_00:00:00.pcap", "web_2026-03-01_01:00:00.pcap", "web_2026-03-02_00:00:00.pcap"],
        ["a/2026-03-01.pcap", "a/2026-03-02.pcap"],
        ["dump-1772323200.pcap.gz", "dump-1772326800.pcap.gz"],
        ["web-20260301000000.pcap", "web-20260301000000.pcap1", "web-20260301010000.pcap"],
        ["trace00001.pcap", "trace00002.pcap"],
        ["part_00009.pcapng", "part_00010.pcapng"],
    ],
)
def test_a_rotation_is_one_capture(names: list[str]) -> None:
    assert read_as(*names) == [tuple(names)]


@pytest.mark.parametrize(
    "names",
    [
        ["client.pcap", "server.pcap"],
        ["run1.pcap", "run2.pcap"],
        ["run-1.pcap", "run-2.pcap"],
        ["eth0-20260301.pcap", "eth1-20260301.pcap"],
        ["host17-20260301-000000.pcap", "host18-20260301-010000.pcap"],
        ["case-48213.pcap", "case-48377.pcap"],
        ["web-20260301-000000.pcap", "web-20260301-000000.pcap.gz"],
        ["port-8080.pcap", "port-8081.pcap"],
        ["20260301", "20260301.pcap"],
        ["a/trace.pcap0", "b/trace.pcap1"],
        ["front.pcap0", "back.pcap1"],
        ["a_00001_20240131235959.pcapng", "b_00002_20240201000000.pcapng"],
        ["trace.pcap", "trace.pcapng1"],
        ["7", "8"],
        ["-", "trace.pcap"],
        ["trace.pcap", "trace.pcap"],
        ["trace.pcap", "trace.pcap.gz"],
        ["trace.pcap1", "trace.pcap1.zst"],
    ],
)
def test_others_are_captures_of_their_own(names: list[str]) -> None:
    assert read_as(*names) == [(name,) for name in names]


def test_merge_makes_one_of_all() -> None:
    assert read_as("client.pcap", "server.pcap", "trace.pcap0", merge=True) == [("client.pcap", "server.pcap", "trace.pcap0")]
    assert read_as("client.pcap", merge=True) == [("client.pcap",)]


def test_names() -> None:
    assert find_inputs(["a.pcap"], never) == [Input("a.pcap", ("a.pcap",))]
    assert find_inputs(["a.pcap", "b.pcap"], never, merge=True)[0].name == "a.pcap + b.pcap"
    assert find_inputs(["a.pcap", "b.pcap", "c.pcap"], never, merge=True)[0].name == "a.pcap ... c.pcap (3 files)"


def test_a_folder(tmp_path: Path) -> None:
    """Captures by content, numbers in order; the rest of the folder is passed over."""
    for name in ("trace.pcap10", "trace.pcap9", "other.cap", "no-suffix"):
        (tmp_path / name).write_bytes(CONTENT)
    (tmp_path / "packed").write_bytes(gzip.compress(CONTENT))
    (tmp_path / "text.txt").write_text("notes")
    (tmp_path / "notes.gz").write_bytes(gzip.compress(b"notes" * 100))
    (tmp_path / "empty.pcap").write_bytes(b"")
    (tmp_path / ".hidden.pcap").write_bytes(CONTENT)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "deep.pcap").write_bytes(CONTENT)
    found = [tuple(os.path.basename(file) for file in capture.files) for capture in find_inputs([tmp_path], never)]
    assert sorted(found) == [("no-suffix",), ("other.cap",), ("packed",), ("trace.pcap9", "trace.pcap10")]


def test_a_folder_without_captures(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "text.txt").write_text("notes")
    assert find_inputs([tmp_path], said.append) == []
    assert said == [f"{tmp_path}: no capture file in this folder"]

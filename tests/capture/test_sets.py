"""Which files are one capture, and which captures a folder holds."""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.capture import files
from tests.capture.files import Packet
from wiredoctor import limits
from wiredoctor.capture import Input, find, find_inputs

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
    said: list[str] = []
    inputs = find_inputs([tmp_path], never, on_note=said.append)
    found = [tuple(os.path.basename(file) for file in capture.files) for capture in inputs]
    assert sorted(found) == [("no-suffix",), ("other.cap",), ("packed",), ("trace.pcap9", "trace.pcap10")]
    assert said == [f"{tmp_path}: skipped 3 files that are not captures"]


def _names(top: Path, on_error: Callable[[str], None] = never) -> list[str]:
    found = find_inputs([top], on_error)
    return [str(Path(file).relative_to(top)) for capture in found for file in capture.files]


def test_subfolders(tmp_path: Path) -> None:
    """Those of a folder come before those below it, and each folder has rotations of its own."""
    names = ["z.pcap", "a/z.pcap", "a/b/c/deep.pcap", "b/trace.pcap", "b/trace.pcap1", "c/trace.pcap2"]
    for name in [*names, ".git/hidden.pcap"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(CONTENT)
    assert _names(tmp_path) == names
    assert [len(one.files) for one in find_inputs([tmp_path], never)] == [1, 1, 1, 2, 1]


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_links_in_a_folder(tmp_path: Path) -> None:
    """A file counts once, whatever links lead to it; a folder is entered by its own name only."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside / "below", outside):
        folder.mkdir(parents=True)
        (folder / "one.pcap").write_bytes(CONTENT)
    for name, target in {
        "a-latest.pcap": inside / "below" / "one.pcap",
        "another.pcap": outside / "one.pcap",
        "below/up": inside,
        "elsewhere": outside,
        "itself": inside / "itself",
        "nowhere": outside / "gone",
    }.items():
        (inside / name).symlink_to(target)
    assert _names(inside) == ["another.pcap", "below/one.pcap"]


def test_a_folder_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.pcap").write_bytes(CONTENT)
    monkeypatch.setattr(limits.FOLDER_ENTRIES, "value", 5)
    assert _names(tmp_path, said.append) == ["a/one.pcap", "b/one.pcap"]
    assert said == [f"{tmp_path / 'c'}: not searched, like all folders after it: {tmp_path} has more than 5 files and folders"]


def test_a_file_that_a_ring_removes_meanwhile_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one.pcap", "two.pcap"):
        (tmp_path / name).write_bytes(CONTENT)
    order = find._order

    def remove(name: str) -> object:
        (tmp_path / "one.pcap").unlink(missing_ok=True)
        return order(name)

    monkeypatch.setattr(find, "_order", remove)
    assert _names(tmp_path, never) == ["two.pcap"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that even root cannot read")
def test_a_file_that_cannot_be_read_is_not_skipped_silently(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "one.pcap").write_bytes(CONTENT)
    (tmp_path / "two.pcap").symlink_to("/proc/self/mem")
    assert _names(tmp_path, said.append) == ["one.pcap"]
    assert said == [f"{tmp_path / 'two.pcap'}: input/output error"]


def test_a_folder_without_captures(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "text.txt").write_text("notes")
    assert find_inputs([tmp_path], said.append) == []
    assert said == [f"{tmp_path}: no capture file in this folder or its subfolders"]

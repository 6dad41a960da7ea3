"""-o FILE: a report is complete or not there, one that fails does not keep others from being written, and both are said."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pytest
from typer.testing import CliRunner, Result

import wiredoctor
from tests.cli.conftest import FakeAnalysis, Run
from tests.support.recordings import find_recording
from tests.support.sweeps import SLOW, sweep
from tests.test_replacement import as_root, mounted, names
from wiredoctor.cli import folders
from wiredoctor.cli.app import application
from wiredoctor.cli.outputs import FileAccess, Output, spool
from wiredoctor.cli.writing import write_files
from wiredoctor.report.data import sarif
from wiredoctor.report.data import table_folder as exported
from wiredoctor.report.formats import Options

CAPTURE = find_recording("server-head-body-split.pcap")
PYTHON = [sys.executable, "-m", "wiredoctor"]


def real(*words: str | Path) -> Result:
    """A command with its real analysis."""
    line = [str(word) for word in words]
    return CliRunner().invoke(application(line), line)


def fill(folder: Path, pages: int) -> None:
    """Leave no room on a disk but for so many pages."""
    disk = os.statvfs(folder)
    (folder / "rest").write_bytes(bytes((disk.f_bavail - pages) * disk.f_bsize))


@pytest.fixture
def disk(tmp_path: Path) -> Generator[Path]:
    """A disk of 16 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=16k", "none", at=folder):
        yield folder


@as_root
def test_a_full_disk_leaves_the_earlier_report(disk: Path, tmp_path: Path) -> None:
    (disk / "r.sarif").write_bytes(b"of before")
    other = tmp_path / "r.json"
    done = real("analyze", CAPTURE, "-o", disk / "r.sarif", "-o", other, "--fail-on", "note", "-f", "json", "-q")
    assert done.exit_code == 2
    assert done.stderr == f"wiredoctor: -o {disk}/r.sarif: no space left on device\n"
    assert (disk / "r.sarif").read_bytes() == b"of before"
    assert names(disk) == ["r.sarif"]
    assert json.loads(other.read_text()) == json.loads(done.stdout)


@as_root
def test_a_full_disk_leaves_the_earlier_tables(disk: Path) -> None:
    (disk / "tables").mkdir()
    (disk / "tables" / "packets.parquet").write_bytes(b"of before")
    fill(disk, 1)
    done = real("analyze", CAPTURE, "-o", f"{disk}/tables/", "-q")
    assert done.exit_code == 2
    said = f"wiredoctor: -o {disk}/tables/: no space left on device: {disk}/tables/"
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
    assert names(disk / "tables") == ["packets.parquet"]
    assert (disk / "tables" / "packets.parquet").read_bytes() == b"of before"


@SLOW
@as_root
def test_a_full_temporary_folder_is_named_as_such(disk: Path, tmp_path: Path) -> None:
    fill(disk, 1)  # without any Python would take another temporary folder
    environment = {**os.environ, "TMPDIR": str(disk)}
    for words in (["-o", f"{tmp_path}/tables/"], ["-f", "json", "--full"]):
        done = subprocess.run(
            [*PYTHON, "analyze", str(CAPTURE), *words, "-q"], capture_output=True, text=True, check=False, env=environment
        )
        said = f"no room for temporary files (set TMPDIR to use another folder): {disk}\n"
        option = f"{words[0]} {words[1]}: " if words[0] == "-o" else ""
        assert (done.returncode, done.stderr) == (2, f"wiredoctor: {option}{said}")


def test_an_extract_that_finds_no_room_in_the_temporary_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from wiredoctor.extract import minimize

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(minimize, "write", full)
    done = real("extract", CAPTURE, "--finding", "1", "-o", tmp_path / "x.pcapng")
    assert done.exit_code == 2
    assert "no room for temporary files (set TMPDIR to use another folder): " in done.stderr
    assert names(tmp_path) == []


@pytest.mark.parametrize("words", [["compare", "{}", "{}"], ["extract", "{}", "--connection", "0"]], ids=lambda w: w[0])
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_other_commands_name_file_and_option(words: list[str], tmp_path: Path) -> None:
    suffix = "txt" if words[0] == "compare" else "pcapng"
    out = tmp_path / f"x.{suffix}"
    out.symlink_to("/dev/full")
    done = real(*(word.format(CAPTURE) for word in words), "-o", out)
    assert (done.exit_code, done.stderr) == (2, f"wiredoctor: -o {out}: no space left on device\n")
    assert bool(done.stdout) == (words[0] == "compare")


@as_root
@pytest.mark.parametrize(
    "words", [["analyze", "x"], ["compare", "x", "y"], ["extract", "x", "--finding", "1"]], ids=lambda w: w[0]
)
def test_what_cannot_be_written_is_refused_before_anything_is_read(words: list[str], tmp_path: Path) -> None:
    """The captures do not exist, which nobody notices."""
    (tmp_path / "link").symlink_to(".")
    os.lchown(tmp_path / "link", 54_321, 54_321)
    (tmp_path / "fixed").mkdir()
    suffix = "pcapng" if words[0] == "extract" else "txt"
    with mounted("-t", "tmpfs", "-o", "size=16k,ro", "none", at=tmp_path / "fixed"):
        for place, said in (
            ("link", f"{tmp_path}/link is a symbolic link of another user (uid 54321)"),
            ("no", f"there is no folder {tmp_path}/no"),
            ("fixed", "no permission to write"),
        ):
            path = tmp_path / place / f"r.{suffix}"
            done = real(*words, "-o", path)
            assert (done.exit_code, done.stderr) == (2, f"wiredoctor: -o {path}: {said}\n")


@as_root
def test_a_folder_for_tables_is_checked_too(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(".")
    os.lchown(tmp_path / "link", 54_321, 54_321)
    said = f"{tmp_path}/link is a symbolic link of another user (uid 54321)"
    for path in (tmp_path / "link", tmp_path / "link" / "new"):
        done = real("analyze", "x", "-o", f"{path}/")
        assert (done.exit_code, done.stderr) == (2, f"wiredoctor: -o {path}: {said}\n")


def test_an_interrupt_leaves_the_earlier_report(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r.sarif").write_bytes(b"of before")

    def interrupted(_: object, out: BinaryIO, *__: object, **___: object) -> None:
        out.write(b"half" * 100_000)
        raise KeyboardInterrupt

    monkeypatch.setattr(sarif, "write", interrupted)
    assert run("analyze", "x", "-o", tmp_path / "r.sarif").exit_code == 130
    assert names(tmp_path) == ["r.sarif"]
    assert (tmp_path / "r.sarif").read_bytes() == b"of before"


@pytest.mark.parametrize(
    "failing", sweep(sorted({*exported.TABLES} - {"connections"}), {"captures", "exchanges", "segments"}.__contains__)
)
def test_tables_are_moved_when_all_are_complete(failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report, metadata = wiredoctor.analyze(CAPTURE, keep=True), exported.metadata

    def fails(name: str, *rest: Any) -> dict[str, str]:
        if name == failing:
            raise OSError(errno.EIO, "broken")
        return metadata(name, *rest)

    monkeypatch.setattr(exported, "metadata", fails)
    with pytest.raises(OSError, match="broken"):
        folders.write_tables(report, tmp_path / "t", "parquet")
    assert names(tmp_path / "t") == []


def test_files_are_opened_by_what_is_given(tmp_path: Path) -> None:
    """`live` has no right to do it itself."""
    done: list[str] = []

    @contextmanager
    def replacing(path: Path) -> Generator[BinaryIO]:
        done.append(f"begin {path}")
        with (tmp_path / path.name).open("wb") as out:
            yield out
        done.append(f"end {path}")

    access = FileAccess(replacing, lambda path: done.append(f"remove {path}"), lambda path: done.append(f"make {path}"))
    files = [Output(Path("/no/where/x.json"), "json"), Output(Path("/no/where/t"), "tables")]
    report = wiredoctor.analyze(CAPTURE)
    assert write_files(report, files, Options(), access)
    assert done[:3] == ["begin /no/where/x.json", "end /no/where/x.json", "make /no/where/t"]
    tables = ["captures", "connections", "exchanges", "findings"]
    begun = [f"begin /no/where/t/{name}.parquet" for name in tables]
    assert sorted(done[3:7]) == begun
    assert sorted(done[7:11]) == [line.replace("begin", "end") for line in begun]
    assert {line.partition(" ")[0] for line in done[11:]} == {"remove"}
    assert json.loads((tmp_path / "x.json").read_text())["summary"]
    assert pl.read_parquet(tmp_path / "exchanges.parquet").height == report.exchange_count


def test_a_failure_of_one_is_reported(tmp_path: Path, analysis: FakeAnalysis, capsys: pytest.CaptureFixture[str]) -> None:
    files = [Output(tmp_path / "no" / "x.json", "json"), Output(tmp_path / "y.json", "json")]
    assert not write_files(analysis.report, files, Options())
    assert capsys.readouterr().err == f"wiredoctor: -o {tmp_path}/no/x.json: there is no folder {tmp_path}/no\n"
    assert names(tmp_path) == ["y.json"]


def test_a_spool_is_a_file_that_is_written_and_read() -> None:
    with spool() as file:
        file.write(b"abc" * 100_000)
        file.seek(3)
        assert file.read(3) == b"abc"

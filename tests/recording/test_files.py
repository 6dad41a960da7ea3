"""Test the files of a recording: names, sizes, removal, and a full disk."""

from __future__ import annotations

import gc
import json
import os
import re
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recording.running import ROOT, kinds, packets
from tests.recording.streams import BEGIN, enhanced
from tests.support.sweeps import SLOW
from wiredoctor.capture.find import find_inputs
from wiredoctor.recording.blocks import Blocks
from wiredoctor.recording.events import Events
from wiredoctor.recording.files import FullError, open_output
from wiredoctor.recording.request import Request, read_request
from wiredoctor.recording.writing import Writing


class Told(Events):
    """Keeps what is told, and the descriptors that would be handed over."""

    def __init__(self) -> None:
        self.all: list[tuple[str, dict[str, Any]]] = []
        self.descriptors: list[int] = []

    def send_event(self, event: str, *, descriptor: int | None = None, **what: object) -> None:
        self.all.append((event, what))
        self.descriptors += [] if descriptor is None else [descriptor]
        if event == "removed":
            self.gone(self.descriptors.pop(0))

    def gone(self, descriptor: int) -> None:
        """The analysis closes a file that was removed."""
        os.close(descriptor)

    def send(self) -> None:
        """Everything was sent at once."""

    def close(self) -> None:
        while self.descriptors:
            os.close(self.descriptors.pop())

    __del__ = close

    def progress(self, **what: object) -> None:
        self.send_event("progress", **what)

    def of(self, event: str) -> list[dict[str, Any]]:
        return [what for name, what in self.all if name == event]


def request(**asked: Any) -> Request:
    return read_request(json.dumps({"interfaces": ["lo"], **asked}))


def writing(asked: Request, told: Events) -> Writing:
    made = Writing(Blocks(), told, asked.packets)
    made.output = open_output(asked, told)
    made.output.begin()
    return made


def fed(asked: Request, bodies: list[bytes]) -> tuple[Writing, Told]:
    told = Told()
    made = writing(asked, told)
    for body in [BEGIN, *bodies]:
        made.blocks.add(body)
        made.write()
    made.output.close(used=True)
    return made, told


def test_one_file_has_exactly_its_name_and_the_permissions_of_any_file(tmp_path: Path) -> None:
    file = tmp_path / "a.pcapng"
    file.write_bytes(b"x" * 10_000)
    file.chmod(0o640)
    _, told = fed(request(file=str(file)), [enhanced(b"1")])
    assert file.read_bytes() == BEGIN + enhanced(b"1")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert told.of("file") == [{"path": str(file), "begin": 0}]
    other = tmp_path / "b.pcapng"
    before = os.umask(0o027)
    try:
        fed(request(file=str(other)), [])
    finally:
        os.umask(before)
    assert stat.S_IMODE(other.stat().st_mode) == 0o640


def test_a_file_that_was_there_is_kept_until_there_is_something_to_write(tmp_path: Path) -> None:
    old, new = tmp_path / "old.pcapng", tmp_path / "new.pcapng"
    old.write_bytes(b"kept")
    for file in (old, new):
        open_output(request(file=str(file)), Told()).close(used=False)
    assert old.read_bytes() == b"kept"
    assert not new.exists()


def test_the_ring_is_named_as_dumpcap_names_it_and_read_as_one_set(tmp_path: Path) -> None:
    bodies = [enhanced(bytes(200))] * 10
    made, told = fed(request(file=str(tmp_path / "trace.pcapng"), ring={"files": 50, "bytes": 700}), bodies)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert all(re.fullmatch(r"trace_0000\d_20\d{12}\.pcapng", name) for name in names)
    assert len(names) == 5
    (together,) = find_inputs([str(tmp_path)], pytest.fail)
    assert [os.path.basename(f) for f in together.files] == names
    assert packets(*tmp_path.iterdir()) == 10
    joined = b"".join(Path(what["path"]).read_bytes() for what in told.of("file"))
    assert len(joined) == made.output.written


@given(st.lists(st.integers(0, 500), max_size=25), st.integers(1, 5), st.integers(1, 2000))
def test_a_ring_of_any_size(sizes: list[int], files: int, limit: int) -> None:
    """Files hold whole blocks of whole sections, are no larger than allowed, and lie where the events say."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        bodies = [enhanced(bytes(size)) for size in sizes]
        made, told = fed(request(file=f"{folder}/trace.pcapng", ring={"files": files, "bytes": limit}), bodies)
        there = sorted(Path(folder).iterdir())
        assert 1 <= len(there) <= files
        for path in there:
            data = path.read_bytes()
            assert data.startswith(BEGIN)
            found = kinds(data)
            assert len(data) <= limit or found.count(6) <= 1
        begins = {what["path"]: what["begin"] for what in told.of("file")}
        ends = {what["path"]: what["end"] for what in told.of("removed")}
        assert set(begins) - set(ends) == {str(path) for path in there}
        assert made.packets == len(sizes)
        at = 0
        for path, begin in begins.items():
            assert begin == at
            at = ends.get(path) or at + Path(path).stat().st_size
        assert at == made.output.written


def test_the_files_of_a_temporary_ring_have_no_name_and_are_handed_over_for_reading(tmp_path: Path) -> None:
    bodies = [enhanced(bytes(200))] * 10
    made, told = fed(request(folder=str(tmp_path), ring={"files": 50, "bytes": 700}), bodies)
    assert not list(tmp_path.iterdir())
    assert len(told.descriptors) == len(told.of("file")) == 5
    contents = [os.pread(descriptor, 10_000, 0) for descriptor in told.descriptors]
    assert sum(kinds(content).count(6) for content in contents) == 10
    assert [what["begin"] for what in told.of("file")] == [sum(map(len, contents[:n])) for n in range(5)]
    assert [what["packets"] for what in told.of("file")] == [
        sum(kinds(content).count(6) for content in contents[:n]) for n in range(5)
    ]
    assert made.output.written == sum(map(len, contents))
    assert {stat.S_IMODE(os.fstat(descriptor).st_mode) for descriptor in told.descriptors} == {0o600}
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(told.descriptors[0], b"x")


@pytest.mark.parametrize("ring", [None, {"files": 2, "bytes": 1_000_000}])
def test_a_named_file_is_handed_over_for_reading_too(tmp_path: Path, ring: dict[str, int] | None) -> None:
    """The analysis opens no name: it may not be allowed to, and something else may be there by then."""
    _, told = fed(request(file=str(tmp_path / "a.pcapng"), ring=ring), [enhanced(b"1")])
    (path,) = tmp_path.iterdir()
    (descriptor,) = told.descriptors
    assert os.pread(descriptor, 10_000, 0) == path.read_bytes() == BEGIN + enhanced(b"1")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(descriptor, b"x")


@pytest.mark.skipif(not ROOT, reason="needs root, to be another user")
@pytest.mark.parametrize("ring", [None, {"files": 2, "bytes": 1_000_000}])
def test_no_link_of_another_user_is_followed(tmp_path: Path, ring: dict[str, int] | None) -> None:
    (tmp_path / "folder").mkdir()
    for name, target in (("a.pcapng", "target"), ("link", "folder")):
        (tmp_path / name).symlink_to(tmp_path / target)
        os.chown(tmp_path / name, 65534, 65534, follow_symlinks=False)
    if ring is None:
        with pytest.raises(PermissionError, match=r"a\.pcapng is a symbolic link of another user"):
            open_output(request(file=str(tmp_path / "a.pcapng")), Told())
    with pytest.raises(PermissionError, match="link is a symbolic link of another user"):
        open_output(request(file=str(tmp_path / "link" / "a.pcapng"), ring=ring), Told())
    assert not (tmp_path / "target").exists()
    assert not list((tmp_path / "folder").iterdir())


def test_a_ring_follows_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.strftime", lambda form: "20240131235959")
    for number in (1, 2):
        (tmp_path / f"t_0000{number}_20240131235959.pcapng").symlink_to(tmp_path / "target")
    told = Told()
    writing(request(file=str(tmp_path / "t.pcapng"), ring={"files": 2, "bytes": 1000}), told).output.close(used=False)
    assert [what["path"] for what in told.of("file")] == [f"{tmp_path}/t_00003_20240131235959.pcapng"]
    assert not (tmp_path / "target").exists()


@pytest.mark.skipif(not ROOT, reason="needs root, to be another user")
def test_a_file_that_another_user_put_into_a_folder_of_all_gets_no_packets(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    trap = tmp_path / "a.pcapng"
    trap.write_bytes(b"")
    trap.chmod(0o666)
    os.chown(trap, 1234, 1234)
    with pytest.raises(PermissionError, match="belongs to another user"):
        open_output(request(file=str(trap)), Told())
    assert trap.read_bytes() == b""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if not ROOT or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield folder
    gc.collect()  # descriptors that were handed over
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_a_whole_file(small: Path) -> None:
    file = small / "a.pcapng"
    told = Told()
    made = writing(request(file=str(file)), told)
    made.blocks.add(BEGIN + enhanced(bytes(1000)) * 100)
    made.write()
    made.blocks.add(enhanced(bytes(1000)) * 3)
    made.write()
    made.output.close(used=True)
    kept = small / "a.incomplete.pcapng"
    assert made.full == f"no space left for -w {file}; the packets up to then are in {kept}"
    assert [*small.iterdir()] == [kept]
    assert [what["path"] for what in told.of("renamed")] == [str(kept)]
    assert 60_000 < made.output.written == kept.stat().st_size
    assert kinds(kept.read_bytes()).count(6) == made.packets > 50


def test_what_was_kept_of_an_earlier_full_disk_stays(small: Path) -> None:
    for number in (1, 2, 3):
        made = writing(request(file=str(small / "a.pcapng")), Told())
        made.blocks.add(BEGIN + enhanced(bytes(1000)) * (20 if number < 3 else 100))
        made.write()
        if number < 3:
            with pytest.raises(FullError):
                made.output.free_space()
        made.output.close(used=True)
    kept = ["a.incomplete-2.pcapng", "a.incomplete-3.pcapng", "a.incomplete.pcapng"]
    assert sorted(path.name for path in small.iterdir()) == kept
    assert [kinds((small / name).read_bytes()).count(6) for name in (kept[0], kept[2])] == [20, 20]


def test_a_ring_on_a_full_disk_gives_up_its_oldest(small: Path) -> None:
    told = Told()
    made = writing(request(file=str(small / "a.pcapng"), ring={"files": 100, "bytes": 10_000}), told)
    made.blocks.add(BEGIN)
    for number in range(300):
        made.blocks.add(enhanced(number.to_bytes(4, "big") + bytes(996)))
        made.write()
    made.output.close(used=True)
    assert (made.full, made.packets) == ("", 300)
    assert [what["text"] for what in told.of("note")] == [
        f"no space left in {small}: removing the oldest files of the ring early"
    ]
    there = sorted(small.iterdir())
    assert packets(*there) > 30
    assert (299).to_bytes(4, "big") in there[-1].read_bytes()


def test_an_analysis_that_closes_a_removed_file_late_is_waited_for(small: Path) -> None:
    class Late(Told):
        def gone(self, descriptor: int) -> None:
            threading.Timer(0.1, os.close, [descriptor]).start()

    told = Late()
    made = writing(request(file=str(small / "a.pcapng"), ring={"files": 100, "bytes": 10_000}), told)
    made.blocks.add(BEGIN)
    for number in range(80):
        made.blocks.add(enhanced(number.to_bytes(4, "big") + bytes(996)))
        made.write()
    made.output.close(used=True)
    assert (made.full, made.packets) == ("", 80)
    assert len(told.of("removed")) < 6
    time.sleep(0.3)


def test_a_ring_of_one_file_on_a_full_disk_ends(small: Path) -> None:
    told = Told()
    made = writing(request(file=str(small / "a.pcapng"), ring={"files": 2, "bytes": 1_000_000}), told)
    made.blocks.add(BEGIN + enhanced(bytes(1000)) * 100)
    made.write()
    made.output.close(used=True)
    assert "and no older file of the ring to remove" in made.full
    (path,) = small.iterdir()
    assert kinds(path.read_bytes()).count(6) == made.packets > 50


def test_after_99999_files_the_numbers_begin_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    made = writing(request(file=str(tmp_path / "t.pcapng"), ring={"files": 2, "bytes": 100}), told)
    made.output._number = 99_997  # type: ignore[attr-defined]
    made.blocks.add(BEGIN + enhanced(b"") * 2)
    made.write()
    monkeypatch.setattr("time.strftime", lambda form: "20340131235959")
    made.blocks.add(enhanced(b"") * 3)
    made.write()
    made.output.close(used=True)
    numbers = [os.path.basename(what["path"])[2:7] for what in told.of("file")]
    assert numbers == ["00001", "99998", "99999", "00001", "00002"]


def test_progress_is_told_at_once_but_not_more_often_than_every_40_ms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    told = Told()
    made = writing(request(file=str(tmp_path / "t.pcapng")), told)
    made.blocks.add(BEGIN + enhanced(b""))
    made.write()
    made.report_progress()
    for n in range(1, 8):
        now[0] = 100 + n / 100
        made.blocks.add(enhanced(b""))
        made.write()
        made.report_progress()
    assert [what["packets"] for what in told.of("progress")] == [1, 5]
    now[0] = 100.081
    assert made.report_progress() > 1000
    assert told.of("progress")[-1] == {"bytes": len(BEGIN) + 8 * 32, "packets": 8, "dropped": None, "delivered": 0}
    made.output.close(used=True)


@SLOW
def test_a_pipe_that_nobody_reads_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.pcapng"
    os.mkfifo(pipe)
    code = f"""
from tests.recording.test_files import Told, open_output, request
try:
    open_output(request(file={str(pipe)!r}), Told())
except OSError as error:
    print(type(error).__name__)
"""
    folder = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "OSError\n"

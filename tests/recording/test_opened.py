"""Test that the recorder opens only files that were named at the beginning, and replaces each completely or not at all."""

from __future__ import annotations

import array
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recording.running import ROOT
from wiredoctor.recording.control import STOP, Control
from wiredoctor.recording.events import Events
from wiredoctor.recording.opened import Outputs
from wiredoctor.recording.privileges import CHOWN, DAC_OVERRIDE, FOWNER
from wiredoctor.recording.request import OutputFile

TABLES = ["exchanges.parquet", "connections.parquet"]


class Asking:
    """The analysis and the recorder in one process."""

    def __init__(self, files: list[OutputFile]) -> None:
        self.mine, theirs = socket.socketpair()
        self._theirs = theirs
        self.events = Events(theirs.fileno())
        self.outputs = Outputs(files)

    def ask(self, do: str, output: object = 0, name: object = "") -> tuple[dict[str, Any], int | None]:
        self.outputs.answer({"do": do, "output": output, "name": name}, self.events)
        data, descriptors, _, _ = socket.recv_fds(self.mine, 65_536, 4)
        (line,) = data.splitlines()
        return json.loads(line), descriptors[0] if descriptors else None

    def write(self, content: bytes, output: int = 0, name: str = "") -> None:
        answer, descriptor = self.ask("open", output, name)
        assert answer == {"event": "output", "has_descriptor": True}
        assert descriptor is not None
        os.write(descriptor, content)
        os.close(descriptor)

    def close(self) -> None:
        self.outputs.close()
        self.mine.close()
        self._theirs.close()


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    made = Asking([OutputFile(str(tmp_path / "r.json"), []), OutputFile(str(tmp_path / "tables"), TABLES)])
    yield made
    made.close()


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_file_is_there_once_it_is_committed(asking: Asking, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_bytes(b"earlier")
    asking.write(b"new")
    assert (tmp_path / "r.json").read_bytes() == b"earlier"
    assert asking.ask("commit") == ({"event": "output"}, None)
    assert (tmp_path / "r.json").read_bytes() == b"new"
    asking.write(b"newer")
    asking.ask("discard")
    assert names(tmp_path) == {"r.json"}
    assert (tmp_path / "r.json").read_bytes() == b"new"


def test_what_was_not_committed_is_removed_at_the_end(asking: Asking, tmp_path: Path) -> None:
    asking.write(b"half")
    asking.write(b"half", 1, "exchanges.parquet")
    asking.outputs.close()
    assert names(tmp_path) == set()
    asking.outputs = Outputs([])


def test_tables_are_files_of_a_folder(asking: Asking, tmp_path: Path) -> None:
    for name in TABLES:
        asking.write(name.encode(), 1, name)
    for name in TABLES:
        asking.ask("commit", 1, name)
    assert names(tmp_path) == {f"tables/{name}" for name in TABLES}
    assert asking.ask("remove", 1, "exchanges.parquet") == ({"event": "output"}, None)
    assert asking.ask("remove", 1, "exchanges.parquet") == ({"event": "output"}, None)
    assert names(tmp_path) == {"tables/connections.parquet"}


@pytest.mark.parametrize("do", ["open", "commit", "discard", "remove"])
@pytest.mark.parametrize(
    ("output", "name"),
    [
        (2, ""), (-3, ""), (99, "x"), ("a", ""), (None, ""), ([], ""), ({}, ""),
        (0, "other"), (0, "../x"), (1, ""), (1, "../r.json"), (1, "/etc/passwd"), (1, "secrets.parquet"), (1, ["x"]),
        (1, "exchanges.parquet\0"), (True, "x"),
    ],
)  # fmt: skip
def test_nothing_else_is_opened_or_removed(asking: Asking, tmp_path: Path, do: str, output: object, name: object) -> None:
    (tmp_path / "r.json").write_bytes(b"kept")
    (tmp_path / "tables" / "secrets.parquet").write_bytes(b"kept")
    answer, descriptor = asking.ask(do, output, name)
    assert answer["errno"] == 1
    assert descriptor is None
    assert names(tmp_path) == {"r.json", "tables/secrets.parquet"}


def test_a_file_itself_is_not_removed(asking: Asking, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_bytes(b"kept")
    asking.ask("remove")
    assert names(tmp_path) == {"r.json"}


def test_what_the_system_refuses_is_reported(asking: Asking, tmp_path: Path) -> None:
    (tmp_path / "r.json").mkdir()  # after the recorder began
    answer, _ = asking.ask("open")
    assert answer["errno"] == 21
    assert "directory" in answer["text"]


def test_pipes_and_devices_are_refused_before_anything_is_captured(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "link.json").symlink_to("/dev/stdout")
    for name in ("pipe.json", "link.json"):
        with pytest.raises(OSError, match="is a pipe or a device"):
            Outputs([OutputFile(str(tmp_path / name), [])])


@pytest.mark.skipif(not ROOT, reason="needs root, to be another user")
def test_rights_are_kept_only_for_what_belongs_to_another_user(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for folder in (mine, theirs):
        folder.mkdir()
    os.chown(theirs, 1234, 1234)
    (mine / "theirs.json").write_bytes(b"x")
    os.chown(mine / "theirs.json", 1234, 1234)

    def needed(*paths: Path, folders: list[str] | None = None) -> set[int]:
        outputs = Outputs([OutputFile(str(path), []) for path in paths])
        found = outputs.capabilities((), folders or [])
        outputs.close()
        return found

    assert needed(mine / "r.json") == set()
    assert needed(theirs / "r.json") == {DAC_OVERRIDE}
    assert needed(mine / "theirs.json") == {CHOWN, DAC_OVERRIDE, FOWNER}
    assert needed(folders=[str(mine)]) == set()
    assert needed(folders=[str(mine), str(theirs)]) == {DAC_OVERRIDE}
    # and what was in effect before is again
    assert needed(theirs / "r.json") == {DAC_OVERRIDE}


@given(st.lists(st.tuples(st.integers(1, 300), st.booleans()), max_size=40), st.integers(1, 90))
def test_descriptors_come_with_their_events_however_little_is_read(events: list[tuple[int, bool]], size: int) -> None:
    mine, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sending = Events(theirs.fileno())
    handed: list[int] = []
    for number, (length, with_descriptor) in enumerate(events):
        descriptor = None
        if with_descriptor:
            descriptor, other = os.pipe()
            handed.append(os.fstat(descriptor).st_ino)
            os.close(other)
        sending.send_event("file", descriptor=descriptor, number=number, text="x" * length)
    data, found = b"", list[int]()
    mine.setblocking(False)
    while True:
        sending.send()
        try:
            piece, ancillary, flags, _ = mine.recvmsg(size, socket.CMSG_SPACE(4 * 8))
        except BlockingIOError:
            if not sending.waiting:
                break
            continue
        assert not flags & socket.MSG_CTRUNC
        data += piece
        for _, _, raw in ancillary:
            numbers = array.array("i", raw[: len(raw) - len(raw) % 4])
            # no descriptor comes later than the line that announces it
            assert data.count(b"has_descriptor") <= len(found) + len(numbers)
            for descriptor in numbers:
                found.append(os.fstat(descriptor).st_ino)
                os.close(descriptor)
    mine.close()
    theirs.close()
    lines = [json.loads(line) for line in data.splitlines()]
    assert [line["number"] for line in lines] == list(range(len(events)))
    assert [line.get("has_descriptor", False) for line in lines] == [with_descriptor for _, with_descriptor in events]
    assert found == handed


@given(st.lists(st.binary(max_size=60), max_size=8), st.integers(1, 20))
def test_whatever_is_no_message_means_to_stop(lines: list[bytes], size: int) -> None:
    reader, writer = os.pipe()
    woken, _ = pair = os.pipe()
    control = Control(reader, woken)
    stream = b"".join(line.replace(b"\n", b"") + b"\n" for line in lines) + b'{"do":"begin"}\n'
    found: list[dict[str, Any]] = []
    for at in range(0, len(stream), size):
        os.write(writer, stream[at : at + size])
        found += control.messages({reader})
    assert len(found) == len(lines) + 1
    assert found[-1] == {"do": "begin"}
    for line, message in zip(lines, found, strict=False):
        if b'"do"' not in line:
            assert message == STOP
    assert not control.closed
    os.close(writer)
    assert control.messages({reader}) == []
    assert control.closed
    assert control.open_files == [woken]
    for file in (reader, *pair):
        os.close(file)

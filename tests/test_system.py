"""What differs on Windows: its names, limits and habits, tried with a module that lacks what Windows lacks.

The expected values are those of Microsoft's documentation ("Naming Files, Paths, and Namespaces").
"""

from __future__ import annotations

import io
import mmap
import os
import platform
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support import lacking
from tests.support.recordings import ROOT, find_recording
from tests.support.sweeps import sweep
from wiredoctor import system

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a stand-in for Windows on Linux")


@pytest.fixture(name="windows", scope="module")
def _windows() -> Any:
    return lacking.load(Path(system.__file__))


DEVICE = "the name of a device"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("NUL", DEVICE),
        ("nul.json", DEVICE),
        (r"C:\captures\COM1", DEVICE),
        ("lpt9.pcap.gz", DEVICE),
        (r"aux\report.html", DEVICE),
        (r"..\CONIN$", DEVICE),
        ("*.pcap", "no file fits this pattern"),
        (r"C:\a?.pcap", "no file fits this pattern"),
        ("a:b.pcap:stream", "no file name can contain :"),
        ("report:x.json", "no file name can contain :"),
        ('a"b', 'no file name can contain "'),
        ("a|b", "no file name can contain |"),
    ],
)
def test_names_of_no_file_are_refused(name: str, reason: str, windows: Any) -> None:
    with pytest.raises(OSError, match=re.escape(reason)) as caught:
        windows.check_name(name)
    assert caught.value.filename == name
    system.check_name(name)  # other systems have such files


@pytest.mark.parametrize(
    "name",
    [
        *("trace.pcap", r"C:\a b\Prüfung.pcap", "C:trace.pcap", "c:/a/b.pcap", r"\\server\share\a.pcap", "-", ".", r"..\x"),
        *(r"\\?\C:\long\NUL", r"\\.\pipe\capture", "common.pcap", "nullable", "com10.pcap", "console.log", "\N{GRINNING FACE}"),
    ],
)
def test_other_names_are_not(name: str, windows: Any) -> None:
    windows.check_name(name)


def test_long_names_are_explained(windows: Any) -> None:
    assert windows.explain_missing("trace.pcap") == system.explain_missing("x" * 300) == "no such file"
    assert "260 characters only with LongPathsEnabled" in windows.explain_missing(f"/{'x' * 259}")
    assert windows.explain_missing(f"/{'x' * 258}") == "no such file"


def test_patterns_are_expanded(windows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.pcap", "a.pcap", "a[1].pcap", "a1.pcap", "c.log"):
        Path(name).touch()
    assert windows.expand_patterns(["*.pcap", "c.log"]) == ["a.pcap", "a1.pcap", "a[1].pcap", "b.pcap", "c.log"]
    assert windows.expand_patterns(["a[1]*.pcap", "?.pcap"]) == ["a[1].pcap", "a.pcap", "b.pcap"]
    assert windows.expand_patterns(["*.pcapng", "-"]) == ["*.pcapng", "-"]
    assert system.expand_patterns(["*.pcap"]) == ["*.pcap"]


def test_quotes_are_those_of_cmd(windows: Any) -> None:
    assert windows.quote(r"C:\captures\trace.pcap") == r"C:\captures\trace.pcap"
    assert windows.quote(r"C:\a b\c&d.pcap") == r'"C:\a b\c&d.pcap"'
    assert windows.quote("Prüfung.pcap") == "Prüfung.pcap"
    assert system.quote("a b") == shlex.quote("a b")


def test_reads_at_offsets_do_not_disturb_each_other(windows: Any, tmp_path: Path) -> None:
    """Several threads read through copies of a descriptor, which share a position."""
    content = bytes(range(256)) * 4096
    path = tmp_path / "content"
    path.write_bytes(content)
    wrong: list[int] = []
    with path.open("rb", buffering=0) as file:

        def read(descriptor: int, step: int) -> None:
            for offset in range(0, len(content), step):
                if windows.read_at(descriptor, 300, offset) != content[offset : offset + 300]:
                    wrong.append(offset)

        copies = [os.dup(file.fileno()) for _ in range(4)]
        threads = [threading.Thread(target=read, args=(one, 997 + number)) for number, one in enumerate(copies)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for one in copies:
            os.close(one)
        assert not wrong
        assert windows.read_at(file.fileno(), 10, len(content) - 4) == content[-4:]
        assert windows.read_at(file.fileno(), 10, len(content)) == b""


@pytest.mark.parametrize("buffering", [-1, 0])
@pytest.mark.parametrize("is_pipe", [True, False])
def test_a_write_to_a_closed_pipe_is_an_invalid_argument(
    buffering: int, is_pipe: bool, windows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The C library of Windows returns EINVAL then; so does Linux for an eventfd and less than eight bytes."""
    monkeypatch.setattr("stat.S_ISFIFO", lambda mode: is_pipe)
    for one, error in ((windows, BrokenPipeError if is_pipe else OSError), (system, OSError)):
        stream = io.TextIOWrapper(open(os.eventfd(0), "wb", buffering))  # noqa: SIM115 - the wrapper closes it
        out = one.output_stream(stream)
        with pytest.raises(OSError, match=r"Invalid|closed") as raised:
            out.buffer.raw.write(b"x")
        assert type(raised.value) is error


def test_other_invalid_arguments_are_reported(tmp_path: Path) -> None:
    """Windows has no error number of its own for a full paging file, for example (1455)."""
    program = (
        "import errno, sys; from tests.support import lacking; lacking.install(); from wiredoctor.cli import exit_codes\n"
        "def fail(): raise OSError(errno.EINVAL, 'The paging file is too small')\n"
        "sys.exit(exit_codes.exit_code(fail))"
    )
    environment = {**os.environ, "WIREDOCTOR_CORE": "python"}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "wiredoctor: the paging file is too small\n")


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii", "utf-8"])
def test_output_has_line_feeds_and_never_fails_to_be_encoded(encoding: str, windows: Any) -> None:
    written = io.BytesIO()
    out = windows.output_stream(io.TextIOWrapper(written, encoding, newline="\r\n"))
    out.write("frame 11 │━━ 48 ms\n\N{GRINNING FACE} ü \udc80\n")
    out.flush()
    text = written.getvalue()
    assert text.count(b"\n") == 2
    assert b"\r" not in text
    assert "frame 11" in text.decode(encoding)


def test_systems_without_numbers_for_users_and_timers(windows: Any) -> None:
    assert windows.effective_user() == -1
    assert windows.open_file_limit() == 8192
    assert windows.STOPPING == (windows.signal.SIGINT, windows.signal.SIGTERM)
    assert windows.CAPTURING == ()
    assert not windows.FORKS
    windows.call_soon(lambda number, frame: None)
    windows.raise_open_file_limit(1 << 20)
    assert windows.without_echo() is None
    assert "another program" in windows.explain_refused()
    assert "another program" not in system.explain_refused()


def test_the_stand_in_lacks_what_windows_lacks(windows: Any) -> None:
    """A trial that hides nothing would always succeed."""
    assert (windows.os.name, windows.sys.platform) == ("nt", "win32")
    for module, name in (("os", "pread"), ("os", "geteuid"), ("signal", "SIGHUP"), ("os", "O_NOFOLLOW")):
        assert not hasattr(getattr(windows, module), name)
        assert hasattr(sys.modules[module], name)
    for name in lacking.MODULES:
        with pytest.raises(ModuleNotFoundError):
            windows.__builtins__["__import__"](name)


REPLACING = """
import os, sys, threading
from pathlib import Path
from tests.support import lacking
lacking.install()
from wiredoctor import system
from wiredoctor.storage.replacement import is_full, remove, replacing, resolve

def error(call):
    try:
        call()
    except OSError as error:
        return f"{error.filename}: {error.strerror}"

def replace(name):
    with replacing(name) as out:
        out.write(b"new")

def fail(name):
    with replacing(name) as out:
        out.write(b"half")
        raise OSError(28, "full", name)

Path("old.json").write_bytes(b"old")
replace("old.json")
replace("fresh.json")
os.symlink("fresh.json", "link.json")
replace("link.json")
print(Path("old.json").read_text(), Path("fresh.json").read_text(), os.path.islink("link.json"))
print(error(lambda: fail("old.json")), Path("old.json").read_text())
print(error(lambda: replace("NUL.json")))
print(error(lambda: replace("no/such/x.html")))
print([is_full(ValueError(f"no space (os error {number})")) for number in (39, 112, 1295, 28)])
Path("open.json").write_bytes(b"old")
scanned = open("open.json")
threading.Timer(0.05, scanned.close).start()
replace("open.json")
print(Path("open.json").read_text(), scanned.closed)
system._ATTEMPTS = 2
Path("open.json").write_bytes(b"old")
with open("open.json") as held:
    print(error(resolve("open.json").check_writable))
    print(error(lambda: replace("open.json")))
    print(error(lambda: remove("open.json")))
    print(held.read(), Path("open.new.json").read_text())
    Path("open.new.json").write_bytes(b"of the user")
    name = error(lambda: replace("open.json")).rpartition(" ")[2]
    print(name.rpartition(".")[2], Path(name).read_text(), Path("open.new.json").read_text())
    os.unlink(name)
remove("open.json")
print(sorted(os.listdir()))
"""


def test_files_are_replaced_or_nothing_is_lost(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", REPLACING]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    in_use = "open.json: The file is being used by another process"
    assert done.stdout.splitlines() == [
        "new new True",
        "old.json: full new",
        "NUL.json: the name of a device, not of a file",
        "no/such/x.html: there is no folder no",
        "[True, True, True, False]",
        "new True",
        in_use,
        "open.json: may be open in another program; the new content is in open.new.json",
        in_use,
        "old new",
        "tmp new of the user",
        "['fresh.json', 'link.json', 'old.json', 'open.new.json']",
    ], done.stderr


@pytest.mark.parametrize("encoding", sweep(["cp1252", "cp437", "ascii", "utf-8"], lambda encoding: encoding == "cp1252"))
def test_a_report_on_standard_input_in_any_encoding(encoding: str) -> None:
    capture = find_recording("server-head-body-split.pcap")
    environment = {**os.environ, "WIREDOCTOR_CORE": "python", "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "tests.support.lacking", "analyze", "-"]
    done = subprocess.run(command, input=capture.read_bytes(), cwd=ROOT, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode(encoding)
    assert "its ACK, delayed by 48 ms" in text
    assert ("│━━━" if encoding == "utf-8" else "|===") in text
    assert "\r" not in text


EXTRACTING = """
import os, sys
from tests.support import lacking
lacking.install()
from tests.support.command_line import run_command

for number, more in ((1, []), (1, ["--anonymize"]), (2, [])):
    done = run_command("extract", sys.argv[number], "--finding", 1, "-o", "small.pcapng", *more)
    print(done.exit_code, os.listdir(os.environ["TMPDIR"]))
"""


def test_extracts_leave_no_packets_in_temporary_folders(tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "WIREDOCTOR_CORE": "python", "TMPDIR": str(tmp_path / "temporary")}
    captures = [str(find_recording(name)) for name in ("server-head-body-split.pcap", "cut-off.pcap")]
    command = [sys.executable, "-c", EXTRACTING, *captures]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["0 []", "0 []", "2 []"], done.stderr  # the last finding concerns the complete file


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not that of GNU")
def test_unused_memory_between_used_memory_is_returned() -> None:
    some = [b"x" * (20_000 + i % 2) for i in range(2_000)]
    del some[1::2]  # what is freed lies between what is kept
    before = _resident()
    system.return_memory()
    assert _resident() < before - (8 << 20)
    assert len(some) == 1_000


def _resident() -> int:
    """Return the resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE

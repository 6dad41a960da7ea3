"""Test that the analyzing process has no privileges, and the capturing process only the needed ones, thread by thread."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.capturing import PROMPTLY, capturing
from tests.live.processes import (
    KILL,
    NET_ADMIN,
    NET_RAW,
    SETGID,
    SETUID,
    Python,
    closed_python,
    processes,
    readable_python,
    said,
    threads,
)
from tests.recording.conftest import everybodys
from tests.recording.namespaces import Cable, cable
from tests.support.needs import needs
from tests.support.sweeps import SLOW, sweep
from wiredoctor.interfaces.capabilities import required_capabilities
from wiredoctor.live.rights import User, target_user

__all__ = ["cable", "everybodys"]

REAL = capturing()

SUDO = [{}, {"SUDO_UID": "1234", "SUDO_GID": "1235"}, {"SUDO_UID": "0", "SUDO_GID": "0"}]
"""What sudo says of the user in the environment; without it, root itself has started the program."""
BACKENDS = ["raw", *(pytest.param(name, marks=needs(name)) for name in ("dumpcap", "tcpdump"))]

FORMATS = ("r.txt", "r.json", "r.md", "r.html", "r.sarif", "r.xml", "r.csv", "r.har", "r.pcapng", "tables/")


def of_recorder(backend: str) -> int:
    """What a recorder may keep while this backend runs."""
    admin = NET_ADMIN if required_capabilities(shutil.which("dumpcap") or "/") & NET_ADMIN else 0
    return {"raw": NET_RAW | NET_ADMIN, "dumpcap": NET_RAW | admin, "tcpdump": NET_RAW | SETGID | SETUID | KILL}[backend]


class Run:
    """`wiredoctor live` on wire1 of a cable, with each format as an output, and an interface that goes and comes again."""

    def __init__(self, python: Python, backend: str, cable: Cable, folder: Path, before: tuple[str, ...] = ()) -> None:
        self.backend, self.cable, self.folder = backend, cable, folder
        outputs = [word for name in FORMATS for word in ("-o", f"{folder}/{name}")]
        words = python.words(
            "live", *PROMPTLY, "-v", "-i", "wire1", "--backend", backend, "--write", f"{folder}/trace.pcapng", *outputs
        )
        self.process = subprocess.Popen(
            [*cable.inside(cable.there), *before, *words], cwd="/", env={**python.environment, "TMPDIR": str(folder)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.lines = list(said(self.process, ["capturing on"]))
        self.found = processes(self.process.pid, backend)

    def plug_out_and_in(self) -> None:
        self.cable.unplug()
        self.lines += said(self.process, ["wire1 is gone"])
        self.cable.plug()
        self.lines += said(self.process, ["wire1 is up"])
        for _ in range(100):
            self.cable.flood(0.05).wait()
            if self.backend != "raw" and self.process.poll() is None:
                now = processes(self.process.pid, self.backend)
                if now.backend not in (None, self.found.backend):
                    self.found = now
                    break
            elif self.backend == "raw":
                break
        self.cable.flood(1.5).wait()

    def end(self) -> None:
        self.process.terminate()
        out, err = self.process.communicate(timeout=60)
        self.lines += err.splitlines(keepends=True)
        assert self.process.returncode == 0, (out, self.lines)
        there = {path.name for path in self.folder.iterdir()}
        assert there == {name.rstrip("/") for name in FORMATS} | {"trace.pcapng"}, self.lines
        assert len(list((self.folder / "tables").iterdir())) == 13
        assert json.loads((self.folder / "r.json").read_text("utf-8"))["captures"][0]["packets"] > 20


@pytest.fixture(scope="module")
def readable() -> Iterator[Python]:
    with readable_python() as python:
        yield python


@pytest.fixture(params=sweep(["readable", "closed"], "closed".__eq__))
def python(request: pytest.FixtureRequest, tmp_path: Path) -> Python:
    if request.param == "closed":
        return closed_python(tmp_path / "closed")
    python: Python = request.getfixturevalue("readable")
    return python._replace(environment=dict(python.environment))


def check_analysis(run: Run, uid: int, gid: int) -> None:
    pid = run.found.analysis
    for thread in threads(pid):
        assert thread.uids == {uid}, run.lines
        assert thread.gids == {gid}
        assert (thread.inheritable, thread.permitted, thread.effective, thread.bounding, thread.ambient) == (0, 0, 0, 0, 0)
        assert thread.no_new_privileges == 1
        assert thread.seccomp == 2
        assert thread.groups <= {gid}
    assert len(threads(pid)) > 1  # Polars has begun


def check_recorder(run: Run) -> None:
    """Of root, with exactly what its backend needs."""
    kept = of_recorder(run.backend)
    for thread in threads(run.found.recorder):
        assert thread.uids == {0}
        assert (thread.permitted, thread.effective, thread.bounding) == (kept, kept, kept)
        assert (thread.inheritable, thread.ambient, thread.no_new_privileges) == (0, 0, 1)
    if run.found.backend is not None:
        for thread in threads(run.found.backend):
            assert thread.bounding & ~kept == 0
            assert thread.permitted & ~kept == 0
            assert thread.no_new_privileges == 1


@SLOW
@REAL
@needs("setpriv")
@pytest.mark.parametrize(
    ("backend", "sudo"),
    [*(("raw", sudo) for sudo in SUDO), *(pytest.param(name, SUDO[1], marks=needs(name)) for name in ("dumpcap", "tcpdump"))],
)
def test_root(python: Python, sudo: dict[str, str], backend: str, cable: Cable, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir(mode=0o700)
    cable.sink()
    for name in ("SUDO_UID", "SUDO_GID"):
        python.environment.pop(name, None)
    run = Run(python._replace(environment=python.environment | sudo), backend, cable, folder)
    closed = "PYTHONPATH" in python.environment
    uid, gid = (0, 0) if closed else (1234, 1235) if sudo.get("SUDO_UID") == "1234" else (65534, 65534)
    for _ in range(2):
        check_analysis(run, uid, gid)
        check_recorder(run)
        if not any("is gone" in line for line in run.lines):
            run.plug_out_and_in()
    run.end()
    user = "1234" if sudo.get("SUDO_UID") == "1234" else "nobody"
    notes = [line for line in run.lines if "without capabilities" in line]
    way = [*reversed((tmp_path / "closed").parents), tmp_path / "closed"]
    shut = next(folder for folder in way if not folder.exists() or not folder.stat().st_mode & 0o001)
    expected = f"as root without capabilities, because the user {user} cannot read {shut}\n"
    assert [note.endswith(expected) for note in notes] == ([True] if closed else [])


@SLOW
@REAL
@needs("setpriv")
# tcpdump changes its user, and may not here
@pytest.mark.parametrize("backend", BACKENDS[:2])
def test_a_container_with_one_capability(readable: Python, backend: str, cable: Cable, tmp_path: Path) -> None:
    """It may neither become another user nor drop its bounding set."""
    folder = tmp_path / "out"
    folder.mkdir()
    cable.sink()
    before = ("setpriv", "--bounding-set", "-all,+net_raw", "--inh-caps", "-all")
    run = Run(readable, backend, cable, folder, before)
    for thread in threads(run.found.analysis):
        assert thread.uids == {0}
        assert (thread.inheritable, thread.permitted, thread.effective, thread.ambient) == (0, 0, 0, 0)
        assert (thread.no_new_privileges, thread.seccomp) == (1, 2)
    assert {thread.effective for thread in threads(run.found.recorder)} == {NET_RAW}
    run.plug_out_and_in()
    run.end()
    said_once = [line for line in run.lines if "it may not become the user nobody here (operation not permitted)" in line]
    assert len(said_once) == 1
    assert "could not drop the bounding set of capabilities" in said_once[0]


@SLOW
@REAL
@needs("setpriv")
@pytest.mark.parametrize(
    "backend", [BACKENDS[0], *(pytest.param(name, marks=[needs(name), SLOW]) for name in ("dumpcap", "tcpdump"))]
)
def test_a_service_with_ambient_capabilities(readable: Python, backend: str, cable: Cable, everybodys: Path) -> None:
    """As systemd starts it: another user than root, with capabilities that all threads of the analysis would have."""
    cable.sink()
    before = (
        "setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups", "--inh-caps", "+net_raw,+net_admin",
        "--ambient-caps", "+net_raw,+net_admin", "--bounding-set", "-all,+net_raw,+net_admin",
    )  # fmt: skip
    run = Run(readable, backend, cable, everybodys, before)
    for thread in threads(run.found.analysis):
        assert thread.uids == {1234}
        assert (thread.inheritable, thread.permitted, thread.effective, thread.ambient) == (0, 0, 0, 0)
        assert thread.no_new_privileges == 1
    kept = of_recorder(backend) & (NET_RAW | NET_ADMIN)
    for thread in threads(run.found.recorder):
        assert (thread.uids, thread.permitted, thread.effective, thread.ambient) == ({1234}, kept, kept, kept)
    run.plug_out_and_in()
    run.end()
    assert not [line for line in run.lines if "could not drop" in line or "without capabilities" in line]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SUDO_UID": "54321", "SUDO_GID": "4321"}, User(54321, 4321, "54321")),
        ({"SUDO_UID": "54321"}, User(54321, 65534, "54321")),
        ({"SUDO_UID": "54321", "SUDO_GID": "0"}, User(54321, 65534, "54321")),
        *(
            ({"SUDO_UID": uid, "SUDO_GID": "7"}, User(65534, 65534, "nobody"))
            for uid in ("0", "", "-1", "4294967295", "99999999999", "1e3", "٣", " 7", "root")
        ),
        ({}, User(65534, 65534, "nobody")),
    ],
)
def test_who_an_analysis_of_root_becomes(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: User) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert target_user(environment) == expected
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert target_user(environment) is None


CONFINED = """
import ctypes, fcntl, os, resource, socket, subprocess, sys, tempfile
from wiredoctor.live.rights import drop, target_user
allowed = os.open({allowed!r}, os.O_RDONLY)
print(drop(target_user(), allowed).text(verbose=True))
inside = f"/proc/self/fd/{{allowed}}"
here = {outside!r}

def attempt(name, function):
    try:
        function()
    except OSError as error:
        print(name, "refused")
    else:
        print(name, "done")

def make(path):
    with open(path, "w") as file:
        file.write("x")

attempt("write inside", lambda: make(inside + "/file"))
attempt("read inside", lambda: open(inside + "/file").read())
attempt("make a folder inside", lambda: os.mkdir(inside + "/folder"))
attempt("a nameless file inside", lambda: tempfile.TemporaryFile(dir=inside).close())
attempt("write outside", lambda: make(here + "/new"))
attempt("read outside", lambda: open(here + "/secret").read())
attempt("change a mode", lambda: os.chmod(here + "/secret", 0o4755))
attempt("change an owner", lambda: os.chown(here + "/secret", -1, -1))
attempt("change times", lambda: os.utime(here + "/secret"))
attempt("remove", lambda: os.unlink(here + "/secret"))
attempt("open a socket", lambda: socket.socket(socket.AF_UNIX))
attempt("signal another process", lambda: os.kill(os.getppid(), 0))
attempt("leave a child behind", lambda: os.fork() or os._exit(0))
attempt("run a program", lambda: subprocess.run(["true"]))
attempt("type into the terminal", lambda: fcntl.ioctl(0, 0x5412, b"x"))
attempt("limit another process", lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1)))
attempt("reach sockets without a connection", lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
attempt("have the kernel send signals", lambda: fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid()))
attempt("change attributes", lambda: fcntl.ioctl(allowed, 0x40086602, bytes(8)))
attempt("slow others down", lambda: os.sched_setaffinity(os.getppid(), {{0}}))
attempt("execute", lambda: os.execv("/bin/true", ["true"]))
attempt("become root", lambda: os.setresuid(0, 0, 0) if os.getuid() else (_ for _ in ()).throw(OSError()))
import polars
print(polars.DataFrame({{"a": [1]}}).lazy().collect().height, "row")
"""


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs Linux and root")
def test_what_an_analysis_can_still_do(python: Python, tmp_path: Path) -> None:
    """As root without capabilities it still owns the files of root: Landlock and seccomp keep it from them."""
    allowed, outside = tmp_path / "allowed", tmp_path / "outside"
    for folder in (allowed, outside):
        folder.mkdir()
        folder.chmod(0o777)
    (outside / "secret").write_text("x")
    code = CONFINED.format(allowed=str(allowed), outside=str(outside))
    done = subprocess.run(
        [python.program, "-c", code], cwd="/", env=python.environment, capture_output=True, text=True, check=False
    )
    note, *lines = done.stdout.splitlines()
    assert ("without capabilities" in note) == ("PYTHONPATH" in python.environment), done
    if "no Landlock" in note or "no seccomp" in note:
        pytest.skip(note)
    inside = ["write inside", "read inside", "make a folder inside", "a nameless file inside"]
    assert lines[:4] == [f"{name} done" for name in inside]
    assert [line for line in lines[4:-1] if not line.endswith(" refused")] == []
    assert lines[-1] == "1 row"
    assert (outside / "secret").stat().st_mode & 0o7777 == 0o644

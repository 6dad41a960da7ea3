"""Provide Python installations that other users can or cannot read, and return the privileges of the processes of `wiredoctor
live`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.live.capturing import ROOT, descendants

CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID, NET_ADMIN, NET_RAW = (1 << n for n in (0, 1, 3, 5, 6, 7, 12, 13))
"""Capabilities as bits (linux/capability.h)."""

_TRY = "import os, wiredoctor.live.session, wiredoctor.report.html, scapy.arch.linux; print(os.__file__)"


class Python(NamedTuple):
    """An interpreter that runs this project, and the environment that it needs for that."""

    program: str
    environment: dict[str, str]

    def words(self, *words: str) -> list[str]:
        return [self.program, "-m", "wiredoctor", *words]


@contextmanager
def readable_python() -> Generator[Python]:
    """A virtual environment that any user can run; skips where there is none."""
    minor = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    with tempfile.TemporaryDirectory(prefix="readable-") as folder:
        os.chmod(folder, 0o755)
        for number, program in enumerate(dict.fromkeys((os.path.realpath(sys.executable), minor))):
            place = Path(folder, str(number))
            words = [program, "-m", "venv", "--without-pip", str(place)]
            if not os.path.exists(program) or subprocess.run(words, capture_output=True, check=False).returncode:
                continue
            packages = place / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
            (packages / "project.pth").write_text(f"{ROOT}\n{sysconfig.get_paths()['purelib']}\n")
            inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            python = Python(str(place / "bin" / "python"), inherited)
            words = [python.program, "-c", _TRY]
            as_other = ["setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups", *words]
            # a Python that cannot read its own library may take that of another one
            if _output(words, python.environment) == _output(as_other, python.environment) != "":
                yield python
                return
        pytest.skip("no other user can run this project here")


def _output(words: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(words, env=environment, cwd="/", capture_output=True, text=True, check=False).stdout


def closed_python(folder: Path) -> Python:
    """One whose package nobody but root can read."""
    folder.mkdir(mode=0o700)
    shutil.copytree(ROOT / "wiredoctor", folder / "wiredoctor", ignore=shutil.ignore_patterns("__pycache__"))
    return Python(sys.executable, {**os.environ, "PYTHONPATH": str(folder)})


class Rights(NamedTuple):
    """What the kernel says of a thread."""

    uids: frozenset[int]
    gids: frozenset[int]
    groups: frozenset[int]
    inheritable: int
    permitted: int
    effective: int
    bounding: int
    ambient: int
    no_new_privileges: int
    seccomp: int


def threads(pid: int) -> list[Rights]:
    """The rights of each thread of a process."""
    found: list[Rights] = []
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            text = Path(f"/proc/{pid}/task/{task}/status").read_text("utf-8")
        except FileNotFoundError:
            continue
        status = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        numbers = [frozenset(map(int, status[name].split())) for name in ("Uid", "Gid", "Groups")]
        sets = [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")]
        found.append(Rights(*numbers, *sets, int(status["NoNewPrivs"]), int(status["Seccomp"])))
    return found


class Processes(NamedTuple):
    """Those of a live capture. `backend` is None for raw sockets, which the recorder reads itself."""

    analysis: int
    recorder: int
    backend: int | None


def processes(analysis: int, backend: str) -> Processes:
    """Those that an analysis has started."""
    # a backend has the command line of its recorder until it runs its own program; its process is the younger one
    recorder = next(pid for pid in descendants(analysis) if b"recording/isolated.py" in _command(pid))
    found = descendants(analysis, backend)
    return Processes(analysis, recorder, found[0] if found else None)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def wait_for(condition: object, seconds: float = 15) -> None:
    """Return once it holds."""
    end = time.monotonic() + seconds
    assert callable(condition)
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def said(process: subprocess.Popen[str], words: Sequence[str], seconds: float = 20) -> Iterator[str]:
    """The lines on standard error up to one that holds these words."""
    assert process.stderr is not None
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        line = process.stderr.readline()
        if not line:
            break
        yield line
        if all(word in line for word in words):
            return
    raise AssertionError(f"nothing was said of {words}")

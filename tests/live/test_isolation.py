"""Nothing of the current folder or of the user's environment is imported or executed by who captures as root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.capturing import PROMPTLY, ROOT, capturing
from tests.support.needs import needs
from tests.support.sweeps import SLOW

MODULES = ("sitecustomize", "usercustomize", "json", "contextlib", "signal", "select", "scapy", "wiredoctor", "socket")

PROGRAMS = ("dumpcap", "tcpdump", "gcc", "cc", "ld", "objdump", "ldconfig", "sh", "uname", "lscpu", "python3", "kill")

TRAP = """
import os
with open({marks!r} + "/" + {name!r} + "." + str(os.getpid()), "w") as mark:
    mark.write(open("/proc/self/cmdline").read())
"""

MAIN = "import sys; sys.path.insert(0, {root!r}); from wiredoctor.cli import main; main()"
"""As the console script does: its own interpreter is isolated here, so that a mark is one of another process."""


@pytest.fixture
def trapped(tmp_path: Path) -> tuple[Path, Path]:
    """A folder full of traps, and one where those that were sprung leave a mark."""
    folder, marks = tmp_path / "folder", tmp_path / "marks"
    folder.mkdir()
    marks.mkdir()
    for name in MODULES:
        (folder / f"{name}.py").write_text(TRAP.format(marks=str(marks), name=name))
    for name in PROGRAMS:
        program = folder / name
        program.write_text(f'#!/bin/sh\necho "$0" > {marks}/{name}.$$\n')
        program.chmod(0o755)
    (folder / "startup.py").write_text(TRAP.format(marks=str(marks), name="startup"))
    return folder, marks


def run(trapped: tuple[Path, Path], backend: str, *words: str) -> subprocess.CompletedProcess[str]:
    folder, _ = trapped
    environment = {
        **os.environ, "PYTHONPATH": f"{folder}{os.pathsep}", "PYTHONSTARTUP": str(folder / "startup.py"), "PATH": f".:{folder}",
        "HOME": str(folder), "PYTHONUSERBASE": str(folder),
    }  # fmt: skip
    live = [sys.executable, "-I", "-c", MAIN.format(root=str(ROOT)), "live", *PROMPTLY, "-i", "lo", "--backend", backend, *words]
    return subprocess.run(live, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@capturing()
@pytest.mark.parametrize("backend", ["raw", *(pytest.param(name, marks=[needs(name), SLOW]) for name in ("dumpcap", "tcpdump"))])
def test_no_trap_is_sprung(trapped: tuple[Path, Path], backend: str) -> None:
    done = run(trapped, backend, "--duration", "1")
    assert done.returncode == 0, done.stderr
    assert "capturing on lo" in done.stderr
    assert [path.name for path in trapped[1].iterdir()] == []


def test_the_traps_work(trapped: tuple[Path, Path]) -> None:
    folder, marks = trapped
    environment = {**os.environ, "PYTHONPATH": str(folder), "PATH": f".:{os.environ['PATH']}"}
    subprocess.run([sys.executable, "-c", "import json"], cwd=folder, env=environment, check=False, capture_output=True)
    subprocess.run(["dumpcap"], cwd=folder, env=environment, check=False, executable=None)
    assert {path.name.partition(".")[0] for path in marks.iterdir()} >= {"sitecustomize", "dumpcap"}


def test_a_backend_that_is_in_no_system_folder_is_not_there(trapped: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is the only one of its name."""
    from wiredoctor.recording import process

    monkeypatch.chdir(trapped[0])
    monkeypatch.setenv("PATH", f".:{trapped[0]}")
    monkeypatch.setattr("wiredoctor.interfaces.backends.FOLDERS", ("/nowhere",))
    assert process.program("dumpcap") is None

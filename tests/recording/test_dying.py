"""Whoever dies, at whatever moment: the file is whole, and no process is left behind."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.recording.namespaces import Cable
from tests.recording.running import Recording, kinds, needs_root, nobody, packets, send
from tests.support.needs import needs
from wiredoctor.recording.process import Process

pytestmark = needs_root

BACKENDS = ["raw", *(pytest.param(name, marks=needs(name)) for name in ("dumpcap", "tcpdump"))]
PROCESSES = [pytest.param(name, marks=needs(name)) for name in ("dumpcap", "tcpdump")]

PARENT = """
import subprocess, sys, time
subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
print(flush=True)
time.sleep(60)
"""


def naming(text: str) -> list[int]:
    """The processes, living ones, that have this text among their words."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and text.encode() in (folder / "cmdline").read_bytes() and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def children(process: int) -> dict[str, int]:
    """Name -> process id of those that a process has started and that live."""
    found: dict[str, int] = {}
    for folder in Path("/proc").iterdir():
        try:
            text = (folder / "status").read_text() if folder.name.isdigit() else ""
        except OSError:
            continue
        status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        if status.get("PPid") == str(process) and not status["State"].startswith("Z"):
            found[status["Name"]] = int(folder.name)
    return found


def gone(process: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_parent_is_killed_at_any_moment_under_load(backend: str, cable: Cable, tmp_path: Path) -> None:
    """Its end of the pipes closes; nobody else tells."""
    cable.sink()
    flood = cable.flood(9)
    chance = random.Random(backend)
    for turn in range(3):
        file = tmp_path / f"{turn}.pcapng"
        asked = json.dumps({"interfaces": ["wire1"], "file": str(file), "backend": backend})
        words = [*cable.inside(cable.there), sys.executable, "-m", "wiredoctor.recording", asked]
        parent = subprocess.Popen([sys.executable, "-c", PARENT, *words], stdout=subprocess.PIPE)
        assert parent.stdout is not None
        parent.stdout.readline()
        end = time.monotonic() + 5
        while not (file.exists() and file.stat().st_size > 500) and time.monotonic() < end:
            time.sleep(0.01)
        (recording,) = [p for p in naming(str(file)) if p != parent.pid]
        mine = [recording, *children(recording).values()]
        time.sleep(chance.random() * 0.4)
        parent.kill()
        parent.wait()
        parent.stdout.close()
        assert gone(recording, 3)
        assert all(gone(process, 0.5) for process in mine)
        assert packets(file) > 0
    flood.kill()


@pytest.mark.parametrize("backend", PROCESSES)
def test_the_recording_itself_is_killed_and_no_backend_is_left(backend: str, tmp_path: Path) -> None:
    """There is no traffic by which it would notice a closed pipe."""
    with Recording(interfaces=["lo"], filter="port 1", file=str(tmp_path / "a.pcapng"), backend=backend) as recording:
        recording.until("file")
        mine = children(recording.process.pid)
        assert set(mine) == {backend, "sh"}
        recording.process.kill()
        assert all(gone(process, 2) for process in mine.values())


@pytest.mark.slow
@needs("setcap")
@pytest.mark.parametrize("backend", PROCESSES)
def test_a_backend_with_capabilities_in_its_file_is_not_left_either(
    backend: str, everybodys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a program forgets that it is to get a signal when its parent dies."""
    folder = everybodys / "bin"
    folder.mkdir()
    folder.chmod(0o755)
    mine = Path(shutil.copy(shutil.which(backend) or "", folder))
    mine.chmod(0o755)
    if subprocess.run(["setcap", "cap_net_raw+eip", str(mine)], check=False).returncode:
        pytest.skip("this file system has no capabilities")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    asked = {"interfaces": ["lo"], "filter": "udp", "backend": backend}
    with Recording(nobody(), file=str(everybodys / "b.pcapng"), **asked) as recording:
        recording.until("started")
        assert recording.stop()["reason"] == "stopped"
    with Recording(nobody(), file=str(everybodys / "a.pcapng"), **asked) as recording:
        recording.until("started")
        send(20)
        recording.until("progress", packets=20)
        started = children(recording.process.pid)
        recording.process.kill()
        assert all(gone(process, 2) for process in started.values())
    assert packets(everybodys / "a.pcapng") >= 20


@pytest.mark.parametrize("backend", PROCESSES)
def test_a_backend_that_is_killed_is_started_again(backend: str, tmp_path: Path) -> None:
    file = tmp_path / "a.pcapng"
    with Recording(interfaces=["lo"], filter="udp", file=str(file), backend=backend) as recording:
        recording.until("file")
        send(20)
        recording.until("progress", packets=20)
        os.kill(children(recording.process.pid)[backend], signal.SIGKILL)
        assert recording.until("note")["text"] == f"{backend} has ended: killed by signal 9; restarting it"
        recording.until("progress")
        send(30)
        recording.until("progress", packets=50)
        ended = recording.stop()
        assert (ended["reason"], ended["restarts"]) == ("stopped", 1)
    found = kinds(file.read_bytes())
    assert found.count(0x0A0D0D0A) == 2
    assert found.count(6) >= 50


@needs("dumpcap")
def test_a_backend_that_dies_again_and_again_is_given_up(tmp_path: Path) -> None:
    with Recording(interfaces=["lo"], file=str(tmp_path / "a.pcapng"), backend="dumpcap") as recording:
        recording.until("file")
        for _ in range(4):
            end = time.monotonic() + 3
            while "dumpcap" not in (now := children(recording.process.pid)) and time.monotonic() < end:
                time.sleep(0.01)
            os.kill(now["dumpcap"], signal.SIGKILL)
            assert gone(now["dumpcap"], 1)
        ended = recording.until("ended")
        assert recording.process.wait(2) == 0
    assert ended["reason"] == "backend"
    assert ended["text"].endswith(": killed by signal 9 (this happened repeatedly)")
    assert kinds((tmp_path / "a.pcapng").read_bytes())


@pytest.mark.parametrize("backend", PROCESSES)
def test_a_backend_that_does_not_react_is_killed(backend: str, tmp_path: Path) -> None:
    with Recording(interfaces=["lo"], filter="udp", file=str(tmp_path / "a.pcapng"), backend=backend) as recording:
        recording.until("progress")
        process = children(recording.process.pid)[backend]
        os.kill(process, signal.SIGSTOP)
        began = time.monotonic()
        ended = recording.stop()
        assert ended["reason"] == "backend"
        assert ended["text"] == "the capturing program did not react and was killed; its last packets are lost"
        assert time.monotonic() - began < 3
        assert gone(process, 0.5)
    assert kinds((tmp_path / "a.pcapng").read_bytes())


@needs("dumpcap")
def test_a_full_disk_ends_a_capture(cable: Cable, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    file = folder / "a.pcapng"
    cable.sink()
    try:
        with Recording(cable.inside(cable.there), interfaces=["wire1"], file=str(file)) as recording:
            recording.until("file")
            cable.flood(5)
            ended = recording.until("ended")
            assert recording.process.wait(2) == 0
        kept = folder / "a.incomplete.pcapng"
        sentence = f"no space left for -w {file}; the packets up to then are in {kept}"
        assert (ended["reason"], ended["text"]) == ("full", sentence)
        assert [*folder.iterdir()] == [kept]
        assert ended["bytes"] == kept.stat().st_size > 250_000
        assert packets(kept) == ended["packets"]
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(("says", "left"), [("a line\\nhalf a", "a line"), ("half a", "")])
def test_what_a_backend_was_saying_when_it_was_killed_is_no_reason(says: str, left: str) -> None:
    backend = Process(["sh", "-c", f"printf '{says}' >&2; kill -9 $$"], ())
    backend.end()
    assert backend.complaint() == f"{left}\nkilled by signal 9"

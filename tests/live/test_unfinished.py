"""A capture that did not reach its end: exit code 2, and the report begins with it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.capturing import PROMPTLY, ROOT, ask, begun, capturing, descendants, live, server
from tests.live.processes import processes, wait_for
from tests.recording.namespaces import Cable, cable
from tests.support.sweeps import SLOW, sweep
from wiredoctor.recording import folder as private
from wiredoctor.recording.folder import PrivateFolder, remove_abandoned, remove_tree

__all__ = ["cable"]

REAL = capturing("dumpcap")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@SLOW
@REAL
def test_a_full_disk(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "500")  # the paths may be longer than 80 columns
    with server() as port:
        trace, report = small / "trace.pcapng", tmp_path / "report.json"
        words = ("--filter", f"tcp port {port}", "--write", str(trace), "-o", str(report), "--fail-on", "note")
        process = live("-i", "lo", *words)
        begun(process)
        for _ in range(20):
            ask(port, 20)
            if process.poll() is not None:
                break
        out, err = process.communicate(timeout=30)
    assert process.returncode == 2, err  # and not 1, though there are findings
    kept = small / "trace.incomplete.pcapng"
    sentence = f"The capture ended early: no space left for -w {trace}; the packets up to then are in {kept}."
    _, _, text = " ".join(out.split()).partition(sentence)
    assert re.search(r" 1 (error|warning|note)[.,]", text)  # the number of problems comes after it
    written = json.loads(report.read_text("utf-8"))
    assert written["summary"]["incomplete"] == [sentence]
    assert [*small.iterdir()] == [kept]
    assert {one["capture"] for one in written["findings"]} == {written["captures"][0]["file"]} == {str(kept)}


@REAL
def test_a_recorder_that_is_killed(tmp_path: Path) -> None:
    with server() as port:
        process = live("-i", "lo", "--filter", f"tcp port {port}", "--fail-on", "note", "-o", str(tmp_path / "r.json"))
        begun(process)
        ask(port, 20)
        time.sleep(1)
        os.kill(processes(process.pid, "dumpcap").recorder, signal.SIGKILL)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 2
    sentence = "The capture ended early: the recorder ended unexpectedly (killed by signal 9)."
    text = " ".join(out.split())
    assert sentence in text
    assert "The server held back the body of its response" in text.partition(sentence)[2]  # what came before is not lost
    # nobody is left who could make a file in this folder: that is said, with the file and the option
    assert f"wiredoctor: -o {tmp_path}/r.json: the recorder" in err


@SLOW
@REAL
def test_a_backend_that_dies_again_and_again() -> None:
    process = live("-i", "lo", "--filter", "tcp port 1", "--backend", "dumpcap", "-f", "jsonl")
    begun(process)
    killed: set[int] = set()
    for _ in range(4):
        wait_for(lambda: set(descendants(process.pid, "dumpcap")) - killed)
        time.sleep(0.3)
        (backend,) = set(descendants(process.pid, "dumpcap")) - killed
        os.kill(backend, signal.SIGKILL)
        killed.add(backend)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 2
    (sentence,) = json.loads(out.splitlines()[-1])["summary"]["incomplete"]
    assert sentence.startswith("The capture ended early: dumpcap has ended: killed by signal 9")


@pytest.mark.slow
@REAL
@pytest.mark.parametrize(
    ("who", "number", "why"),
    sweep(
        [
            ("recorder", signal.SIGTERM, "a signal ended the recorder"),
            ("dumpcap", signal.SIGSTOP, "the capturing program did not react and was killed; its last packets are lost"),
        ],
        lambda case: case[0] == "dumpcap",
    ),
)
def test_a_process_that_ends_too_early_or_not_at_all(who: str, number: signal.Signals, why: str) -> None:
    process = live("-i", "lo", "--filter", "tcp port 1", "--backend", "dumpcap", "-f", "jsonl", "--duration", "3")
    begun(process)
    found = processes(process.pid, "dumpcap")
    victim = found.recorder if who == "recorder" else found.backend
    assert victim is not None
    os.kill(victim, number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 2, err
    assert json.loads(out.splitlines()[-1])["summary"]["incomplete"] == [f"The capture ended early: {why}."]


@SLOW
@REAL
def test_one_signal_for_all_processes_ends_in_order() -> None:
    """As systemd sends it: the analysis asks for the end, too, however the two cross."""
    process = live("-i", "lo", "--filter", "tcp port 1", "--backend", "dumpcap", "-f", "jsonl")
    begun(process)
    for pid in [*descendants(process.pid), process.pid]:
        os.kill(pid, signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["summary"]["incomplete"] == []


@SLOW
@REAL
def test_an_interface_that_does_not_come_back(cable: Cable) -> None:
    words = [sys.executable, "-m", "wiredoctor", "live", *PROMPTLY, "-i", "wire1", "-f", "jsonl", "--duration", "3"]
    process = subprocess.Popen(
        [*cable.inside(cable.there), *words], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    begun(process)
    cable.unplug()
    out, err = process.communicate(timeout=30)
    assert process.returncode == 2, err
    (sentence,) = json.loads(out.splitlines()[-1])["summary"]["incomplete"]
    assert sentence == "The capture ended early: wire1 disappeared or was brought down and did not come back."


@pytest.mark.slow
@REAL
def test_a_backend_that_was_started_again_is_in_the_report() -> None:
    process = live("-i", "lo", "--filter", "tcp port 1", "--backend", "dumpcap", "-f", "jsonl")
    begun(process)
    (backend,) = descendants(process.pid, "dumpcap")
    os.kill(backend, signal.SIGKILL)
    wait_for(lambda: set(descendants(process.pid, "dumpcap")) - {backend})
    time.sleep(0.5)
    process.terminate()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    summary = json.loads(out.splitlines()[-1])
    assert summary["limits"] == ["the capturing program ended unexpectedly once: packets may be missing until it was restarted"]


@SLOW
@REAL
def test_a_file_that_somebody_cuts_off(tmp_path: Path) -> None:
    trace = tmp_path / "trace.pcapng"
    with server() as port:
        process = live("-i", "lo", "--filter", f"tcp port {port}", "--write", str(trace), "-f", "jsonl")
        begun(process)
        ask(port, 20)
        time.sleep(1)
        recorder = processes(process.pid, "dumpcap").recorder
        os.kill(process.pid, signal.SIGSTOP)
        size = trace.stat().st_size
        ask(port, 20)
        wait_for(lambda: trace.stat().st_size > size)
        os.kill(recorder, signal.SIGSTOP)
        os.truncate(trace, size)
        os.kill(process.pid, signal.SIGCONT)
        time.sleep(1)
        os.kill(recorder, signal.SIGCONT)
        process.terminate()
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 2
    (sentence,) = json.loads(out.splitlines()[-1])["summary"]["incomplete"]
    assert sentence.startswith("The capture was read only in part: ")


@SLOW
@REAL
@pytest.mark.parametrize("first", sweep(["analysis", "recorder"], {"recorder"}.__contains__))
def test_when_both_are_killed_no_packet_stays_and_the_next_start_removes_the_rest(tmp_path: Path, first: str) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    words = ["-m", "wiredoctor", "live", *PROMPTLY, "-i", "lo", "--filter"]
    with server() as port:
        process = subprocess.Popen(
            [sys.executable, *words, f"tcp port {port}"], cwd=ROOT, env=environment, text=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        begun(process)
        ask(port, 20)
        time.sleep(1)
        found = processes(process.pid, "dumpcap")
        both = [found.analysis, found.recorder]
        for pid in both if first == "analysis" else reversed(both):
            os.kill(pid, signal.SIGSTOP)  # so that neither hears of the end of the other
        for pid in both:
            os.kill(pid, signal.SIGKILL)
        process.wait()
        process.communicate()
        wait_for(lambda: found.backend is None or not os.path.exists(f"/proc/{found.backend}"), 5)
        left = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert left == []  # folders of no content, at the most
        (folder,) = tmp_path.iterdir()
        assert folder.name.startswith(private.PREFIX)
        done = subprocess.run(
            [sys.executable, *words, "tcp port 1", "--duration", "300ms"], cwd=ROOT, env=environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    yield tmp_path
    signal.signal(signal.SIGIO, before)


def ring_of_an_older_version(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    ring = folder / "live_00001_20260101000000.pcapng"
    ring.write_bytes(b"packets")
    return ring


def test_rings_of_older_versions_are_removed_when_nobody_uses_them(temporary: Path) -> None:
    abandoned = ring_of_an_older_version(temporary / "wiredoctor-abandone")
    in_use = ring_of_an_older_version(temporary / "wiredoctor-in_use_0")
    locked = ring_of_an_older_version(temporary / "wiredoctor-locked00")
    open_to_others = ring_of_an_older_version(temporary / "wiredoctor-open0000")
    open_to_others.parent.chmod(0o755)
    other_name = ring_of_an_older_version(temporary / "doctor-wire")
    rows = temporary / "wiredoctor-rows0000"
    rows.mkdir(mode=0o700)
    (rows / "exchanges-1-1.arrow").write_bytes(b"rows")
    target = ring_of_an_older_version(temporary / "elsewhere")
    (temporary / "wiredoctor-link0000").symlink_to(target.parent)
    lock = os.open(locked.parent, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with in_use.open("rb"):
        remove_abandoned(str(temporary))
    os.close(lock)
    assert not abandoned.parent.exists()
    for kept in (
        in_use,
        locked,
        open_to_others,
        other_name,
        target,
        rows / "exchanges-1-1.arrow",
        temporary / "wiredoctor-link0000",
    ):
        assert kept.exists(), kept


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
def test_a_ring_of_another_user_is_not_touched(temporary: Path) -> None:
    ring = ring_of_an_older_version(temporary / "wiredoctor-another0")
    os.chown(ring.parent, 1234, 1234)
    abandoned = temporary / f"{private.PREFIX}another0"
    abandoned.mkdir(mode=0o700)
    os.chown(abandoned, 1234, 1234)
    remove_abandoned(str(temporary))
    assert ring.exists()
    assert abandoned.exists()


def test_a_private_folder_is_kept_as_long_as_it_is_locked(temporary: Path) -> None:
    folder = PrivateFolder()
    assert os.stat(folder.path).st_mode & 0o777 == 0o700
    remove_abandoned(str(temporary))
    assert os.path.isdir(folder.rows_path)
    with open(f"{folder.rows_path}/rows.arrow", "wb"):
        pass
    fcntl.flock(folder.lock, fcntl.LOCK_UN)  # one that was taken over may do that
    keeper = os.open(folder.path, os.O_RDONLY)
    fcntl.flock(keeper, fcntl.LOCK_SH)  # as the recorder has it
    remove_abandoned(str(temporary))
    assert os.path.isdir(folder.rows_path)
    os.close(keeper)
    path = folder.path
    del folder
    assert not os.path.exists(path)
    abandoned = temporary / f"{private.PREFIX}abandone"
    (abandoned / "rows").mkdir(parents=True)
    abandoned.chmod(0o700)
    remove_abandoned(str(temporary))
    assert not abandoned.exists()


@pytest.mark.parametrize("depth", sweep([1, 2, 3000], (2).__eq__))
def test_folders_that_are_nested_without_end_are_removed_and_no_link_is_followed(
    tmp_path: Path, depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private, "_AT_MOST", 300.0)  # a loaded machine is slow
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    top = tmp_path / "top"
    top.mkdir()
    at = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        for name in ("d", "e"):
            os.mkdir(name, dir_fd=at)
        os.symlink(kept, "link", dir_fd=at)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=at))
        inner = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(at)
    remove_tree(str(top))
    assert not top.exists()
    assert (kept / "file").read_text() == "x"
    (tmp_path / "link").symlink_to(kept)
    remove_tree(str(tmp_path / "link"))
    assert (kept / "file").exists()


def test_what_somebody_made_under_such_a_name_is_not_removed(temporary: Path) -> None:
    for name in (f"{private.PREFIX}captures", "wiredoctor-work0000", f"{private.PREFIX}abcdefgh"):
        (temporary / name).mkdir(mode=0o700)
        (temporary / name / "thesis.txt").write_text("x")
        (temporary / name / "live_00001_20260101000000.pcapng").write_bytes(b"x")
    (temporary / f"{private.PREFIX}my-captures").mkdir(mode=0o700)
    before = sorted(temporary.rglob("*"))
    remove_abandoned(str(temporary))
    assert sorted(temporary.rglob("*")) == before


def test_nothing_is_removed_where_others_could_rename_it(temporary: Path) -> None:
    abandoned = temporary / f"{private.PREFIX}abandone"
    abandoned.mkdir(mode=0o700)
    temporary.chmod(0o777)
    remove_abandoned(str(temporary))
    assert abandoned.exists()
    temporary.chmod(0o1777)
    remove_abandoned(str(temporary))
    assert not abandoned.exists()

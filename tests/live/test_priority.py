"""Test that only the analysis of `live` and `run` has a lower priority: what captures, and the program that runs, keep theirs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.capturing import ROOT, capturing, descendants, next_line
from tests.support.recordings import find_recording
from tests.support.sweeps import SLOW

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

CAPTURE = find_recording("server-head-body-split.pcap")

STREAM = f"""#!/bin/sh
cat {CAPTURE}
sleep 60
"""
"""Stands for a program that captures elsewhere: it writes a capture, and then no packet comes for a while."""

FASTEST = -5
"""The nice value of a recorder that may raise its priority (recording/__main__.py)."""


def nice_values(pid: int) -> set[int]:
    """The nice value of each thread of a process: field 19 of /proc/PID/task/TID/stat."""
    files = Path(f"/proc/{pid}/task").glob("*/stat")
    return {int(file.read_text("utf-8").rpartition(")")[2].split()[16]) for file in files}


def polars_threads(pid: int) -> set[str]:
    """The names of the threads that Polars runs queries on."""
    names = {file.read_text("utf-8").strip() for file in Path(f"/proc/{pid}/task").glob("*/comm")}
    return {name for name in names if re.fullmatch(r"polars-\d+", name)}


def own() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


@LINUX
@pytest.mark.parametrize(
    ("words", "added"),
    [
        (["-"], 10),
        pytest.param(["-", "--nice", "0"], 0, marks=SLOW),
        pytest.param(["--ssh", "app1", "--nice", "3"], 3, marks=SLOW),
        pytest.param(["--kubectl", "shop/web-1"], 10, marks=SLOW),
    ],
)
def test_the_analysis_alone_waits_for_others(words: list[str], added: int, tmp_path: Path) -> None:
    for name in ("ssh", "kubectl"):
        (tmp_path / name).write_text(STREAM, "utf-8")
        (tmp_path / name).chmod(0o755)
    command = [sys.executable, "-m", "wiredoctor", "live", *words, "--format", "jsonl"]
    environment, pipe = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, subprocess.PIPE
    environment.pop("POLARS_MAX_THREADS", None)
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, bufsize=0
    ) as process:
        assert process.stdin is not None
        process.stdin.write(CAPTURE.read_bytes() if "-" in words else b"")
        next_line(process, 120)  # type: ignore[arg-type] - a finding: the analysis, with all of its threads, has begun
        analysis, others = nice_values(process.pid), {pid: nice_values(pid) for pid in descendants(process.pid)}
        of_polars = polars_threads(process.pid)
        process.terminate()
        process.communicate(timeout=60)
    assert analysis == {min(own() + added, 19)}
    assert of_polars == {"polars-0"}
    assert len(others) >= (1 if "-" in words else 3)  # the recorder; ssh or kubectl, and its child
    assert set().union(*others.values()) <= {own(), min(own(), FASTEST)}


@capturing()
@SLOW
def test_the_program_of_run_keeps_its_priority() -> None:
    script = "import os, time; print(os.nice(0), os.getppid(), flush=True); time.sleep(3)"
    command = [sys.executable, "-m", "wiredoctor", "run", "-i", "lo", "--", sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0) as process:
        of_program, supervisor = next_line(process, 120).split()  # type: ignore[arg-type]
        analysis, others = nice_values(process.pid), {pid: nice_values(pid) for pid in descendants(process.pid)}
        process.communicate(timeout=60)
    assert int(of_program) == own()
    assert analysis == {min(own() + 10, 19)}
    assert others[int(supervisor)] == {own()}
    assert set().union(*others.values()) <= {own(), min(own(), FASTEST)}
    assert len(others) >= 3  # the program, its supervisor, the recorder

"""Run a command, and measure what it takes."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ANALYZE = (sys.executable, "-m", "wiredoctor", "analyze")


@dataclass(frozen=True)
class Run:
    """What one process took: seconds of wall time, seconds of CPU, peak resident memory in MB."""

    wall: float
    cpu: float
    memory: float


_MEASURED = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
took = time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
print(json.dumps([process.returncode, *took]))
"""
"""A small process that runs a command: `ru_maxrss` of a new process begins with the memory of the one that started it."""


def run(*words: str, environment: dict[str, str] | None = None) -> Run:
    """Run a command, its output thrown away; raise RuntimeError if it fails."""
    done = subprocess.run((sys.executable, "-S", "-c", _MEASURED, *words), capture_output=True, env=environment, check=True)
    code, wall, cpu, memory = json.loads(done.stdout)
    if code:
        raise RuntimeError(f"{' '.join(words)} ended with {code}: {done.stderr.decode(errors='replace')}")
    return Run(wall, cpu, memory)


def analyze(path: Path, *more: str, environment: dict[str, str] | None = None) -> Run:
    """Run one analysis with JSON as its output, as installed: with bytecode, which pip makes."""
    return run(*ANALYZE, str(path), "--format", "json", *more, environment=as_installed() | (environment or {}))


@cache
def as_installed() -> dict[str, str]:
    """Return an environment in which Python finds the bytecode of its modules, also where it may not write any beside them."""
    folder = tempfile.mkdtemp(prefix="wiredoctor-bytecode-")
    atexit.register(shutil.rmtree, folder)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = folder
    return environment


def peaks(path: Path, *more: str, field: str = "VmHWM") -> list[float]:
    """Return the peak memory in MB of each process of an analysis, the largest first: a field of /proc/PID/status.

    The default is the peak resident memory; RssAnon is without mapped files.
    """
    words = [*ANALYZE, str(path), "--format", "json", *more]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, env=as_installed())
    seen: dict[int, float] = {}
    while process.poll() is None:
        for pid in _family(process.pid):
            with contextlib.suppress(OSError, IndexError):
                status = Path(f"/proc/{pid}/status").read_text().split(f"{field}:")
                seen[pid] = max(seen.get(pid, 0), int(status[1].split()[0]) / 1024)
        time.sleep(0.02)
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}")
    return sorted(seen.values(), reverse=True)


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        return [pid, *(int(child) for child in children.read_text().split())]
    except OSError:
        return []

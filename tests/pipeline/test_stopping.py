"""Test that the report of stopped reading equals that of a capture that ends there, for any number of processes."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import INTERRUPTIBLE
from tests.pipeline.processes import environment
from tests.support.recordings import find_recording
from wiredoctor import analyze

CAPTURE = find_recording("server-head-body-split.pcap")
PACKETS = 57
"""As capinfos counts them."""

HEADER, RECORD = 24, 16

# stops when its own process has read so many packets of the batch of 5 in which it is asked
STOPPED = """
import json, sys
from wiredoctor import pipeline
from wiredoctor.engine import run
from wiredoctor.settings import Settings
pipeline.SHARED_FROM, run.STEP = 0, 5
path, asked, jobs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def is_stopped():
    global asked
    asked -= 1
    return asked < 0
report = pipeline.run([path] * 2, Settings(jobs=jobs, batch_packets=5), is_stopped=is_stopped)
print(json.dumps([report.captures[0].packets, len(report.captures), report.incomplete]))
print(sorted((f.rule, [e.frame for e in f.evidence], f.delay) for f in report.findings))
"""


def run(code: str, *words: str) -> list[str]:
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(), timeout=60)
    return done.stdout.splitlines()


def first(packets: int) -> bytes:
    """The capture with its first packets only (a pcap file of little-endian records)."""
    data, at = CAPTURE.read_bytes(), HEADER
    for _ in range(packets):
        at += RECORD + struct.unpack_from("<I", data, at + 8)[0]
    return data[:at]


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.skipif(sys.platform != "linux", reason="forks"))])
def test_a_stopped_capture_ends_there(jobs: int, tmp_path: Path) -> None:
    told, found = run(STOPPED, str(CAPTURE), "6", str(jobs))
    packets, captures, incomplete = json.loads(told)
    if jobs == 1:
        assert packets == 6 * 5
    assert packets <= PACKETS
    assert captures == 1
    reasons = [f"Reading was stopped: only the first {packets} packets of {CAPTURE} were analyzed ("] * (packets < PACKETS)
    assert [line[: len(reasons[0])] for line in incomplete[:-1]] == reasons
    assert incomplete[-1] == "1 more capture was not read."
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(first(packets))
    assert str(sorted((f.rule, [e.frame for e in f.evidence], f.delay) for f in analyze(cut).findings)) == found
    assert "nagle-delayed-ack" in found


def interrupted(path: Path, *words: str) -> subprocess.Popen[bytes]:
    """An analysis of a large file, once it has read a part of it."""
    command = [*INTERRUPTIBLE, sys.executable, "-m", "wiredoctor", "analyze", str(path), "--jobs", "1", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    place = Path(f"/proc/{process.pid}/io")
    deadline = time.monotonic() + 60
    while int(place.read_text().split("rchar: ")[1].split()[0]) < 100 << 20:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    return process


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A capture followed by 800 MB of packets without content."""
    path = tmp_path / "endless.pcap"
    data = CAPTURE.read_bytes()
    seconds, nanoseconds = struct.unpack_from("<II", data, len(first(PACKETS - 1)))
    record = struct.pack("<IIII", seconds, nanoseconds, 1 << 16, 1 << 16) + bytes(1 << 16)
    with path.open("wb") as file:
        file.write(data)
        for _ in range(12_000):
            file.write(record)
    return path


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="needs /proc")
def test_ctrl_c_prints_the_report_so_far(endless: Path, tmp_path: Path) -> None:
    process = interrupted(endless, "--format", "json", "-o", str(tmp_path / "report.html"), "--fail-on", "warning")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    report: dict[str, Any] = json.loads(output)
    assert {finding["rule"] for finding in report["findings"]} >= {"nagle-delayed-ack"}
    assert report["summary"]["incomplete"][0].startswith("Reading was stopped: only the first ")
    assert errors.decode().splitlines()[-1] == "wiredoctor: interrupted by SIGINT"
    assert (tmp_path / "report.html").stat().st_size > 0

"""Two processes that share the connections give the report of one. Forked in a process of its own: Polars must not have run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CAPTURES = Path(__file__).parents[2] / "captures"

ALONE = "import wiredoctor.pipeline as pipeline; pipeline.SHARED_FROM = 0; import wiredoctor.cli; wiredoctor.cli.main()"


def report(capture: Path, jobs: int) -> dict[str, object]:
    command = [sys.executable, "-c", ALONE, "analyze", str(capture), "--format", "json", "--full", "--jobs", str(jobs)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "name",
    [
        "apache-ab.pcap",
        "unauthorized-closes.pcap",
        "java-httpserver.pcapng",
        "unchunked-stream.pcapng",
        "gunicorn-sync-closes.pcap",
        "requests-without-session.pcap",
    ],
)
@pytest.mark.parametrize("jobs", [2, 3])
def test_several_processes_give_the_report_of_one(name: str, jobs: int) -> None:
    assert report(CAPTURES / name, jobs) == report(CAPTURES / name, 1)


def test_a_worker_that_fails_is_told(tmp_path: Path) -> None:
    """An error of ours in the other process is exit code 3 with a line, as it would be in this one."""
    broken = ALONE.replace(
        "import wiredoctor.cli;",
        "import os; me = os.getpid(); import wiredoctor.tcp as tcp; real = tcp.analyse\n"
        "def analyse(*a):\n    if os.getpid() != me: raise ZeroDivisionError('planted')\n    return real(*a)\n"
        "tcp.analyse = analyse\nimport wiredoctor.cli;",
    )
    command = [sys.executable, "-c", broken, "analyze", str(CAPTURES / "apache-ab.pcap"), "--jobs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path)
    assert done.returncode == 3
    assert "Traceback" not in done.stdout

"""Reports by any number of processes, which are forked in a program of their own: Polars must not have run before."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.cli.test_process import clean_environment
from wiredoctor.pipeline import BATCH_PACKETS

ROOT = Path(__file__).parents[2]

COMPARED = """
import json, sys
from tests.benchmarks.answers_driver import answer_in_fork
from wiredoctor import limits
from wiredoctor.storage import spill
{before}
ways, paths = json.loads(sys.argv[1]), sys.argv[2:]
for path in paths:
    for options in ways:
        print(answer_in_fork(path, options))
"""

WRITTEN = "limits.BYTES_HELD.value = limits.CANDIDATES_HELD.value = 1; limits.SUMMARIES_TOGETHER.value = 0"
"""As of a capture that is too long for memory: rows become files at once, and are read piece by piece."""


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a program that analyzes captures."""
    return clean_environment(PYTHONPATH=str(ROOT), **more)


def reports(
    paths: list[Path], jobs: list[int], before: str = "", steps: Sequence[int] = (BATCH_PACKETS,), **options: object
) -> list[list[str]]:
    """Return, for each capture, its whole JSON reports by so many processes each, in steps of so many packets each."""
    ways = [{**options, "epoch_packets": step, "jobs": count} for step in steps for count in jobs]
    command = [sys.executable, "-c", COMPARED.format(before=before), json.dumps(ways), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300, cwd=ROOT, env=environment())
    lines = done.stdout.splitlines()
    assert len(lines) == len(paths) * len(ways)
    return [lines[i : i + len(ways)] for i in range(0, len(lines), len(ways))]


def report(line: str) -> dict[str, Any]:
    """Return the report in an answer."""
    answer = json.loads(line)
    assert "error" not in answer, answer["error"]
    return answer["report"]


def is_same(answers: list[list[str]]) -> bool:
    """Return whether the answers about each capture are one report."""
    return all(report(answer[0]) and answer == answer[:1] * len(answer) for answer in answers)

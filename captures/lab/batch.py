"""Many recordings at once: each is made in a process of its own, and they are analyzed in a few."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence
    from pathlib import Path

REPORT = """
import sys, tempfile, wiredoctor
from wiredoctor.report import json
for path in sys.argv[1:]:
    with tempfile.TemporaryFile() as out:
        json.write(wiredoctor.analyze(path), out, full=True)
        out.seek(0)
        print(out.read().decode().replace("\\n", " "), flush=True)
"""


def make_missing(script: str, names: Sequence[str], words: Namespace, within: float) -> int:
    """Runs `script one FOLDER --only NAME --seed SEED` for each name without a NAME.json in the folder, `words.jobs` at a time.
    Returns how many failed, or took longer than `within` seconds."""

    def make(name: str) -> bool:
        command = [sys.executable, script, "one", str(words.folder), "--only", name, "--seed", str(words.seed)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=within, check=False, text=True)
        except subprocess.TimeoutExpired:
            print(f"{name}: not over in {within} s", file=sys.stderr, flush=True)
            return False
        if done.returncode:
            print(f"{name}: {done.stderr[-600:]}", file=sys.stderr, flush=True)
        elif done.stdout:
            print(f"{name}: {done.stdout.strip()}", flush=True)
        return not done.returncode

    with ThreadPoolExecutor(words.jobs) as pool:
        return list(pool.map(make, [name for name in names if not (words.folder / f"{name}.json").exists()])).count(False)


def reports(python: str, paths: Sequence[Path], jobs: int) -> list[dict[str, Any]]:
    """Returns what `analyze --format json --full` says of each path, in their order, by the wiredoctor that the interpreter
    `python` imports. Raises RuntimeError where it fails."""

    def analyze(some: Sequence[Path]) -> list[dict[str, Any]]:
        done = subprocess.run([python, "-P", "-c", REPORT, *map(str, some)], capture_output=True, check=False, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[-1_000:])
        return [json.loads(line) for line in done.stdout.splitlines()]

    with ThreadPoolExecutor(jobs) as pool:
        parts = list(pool.map(analyze, [paths[first::jobs] for first in range(jobs)]))
    return [parts[number % jobs][number // jobs] for number in range(len(paths))]

"""The command line of scripts that make many recordings, each in its own process, and analyze them in a few processes."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

REPORT = """
import sys, tempfile, wiredoctor
from wiredoctor.report.data import json
for path in sys.argv[1:]:
    with tempfile.TemporaryFile() as out:
        json.write(wiredoctor.analyze(path), out, full=True)
        out.seek(0)
        print(out.read().decode().replace("\\n", " "), flush=True)
"""


def parser_of(doc: str | None, *actions: str, jobs: int, only: str, seeded: bool = True) -> ArgumentParser:
    """Return a parser with the arguments that all these scripts share.

    `doc`: the description. `actions`: the actions besides make, one and score. `jobs`: the default of --jobs. `only`: the help of
    --only. `seeded`: true if there is --seed.
    """
    parser = ArgumentParser(description=doc, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("make", "one", "score", *actions))
    parser.add_argument("folder", type=Path)
    if seeded:
        parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=jobs)
    parser.add_argument("--only", default="", metavar="NAME,...", help=only)
    parser.add_argument("--python", default=sys.executable, help="an interpreter that can import wiredoctor")
    return parser


def is_wanted(words: Namespace, *names: str) -> bool:
    """Return whether --only is missing, or contains one of `names`."""
    wanted = set(filter(None, words.only.split(",")))
    return not wanted or bool(wanted & set(names))


def make_missing(script: str, names: Sequence[str], words: Namespace, within: float) -> int:
    """Run `script one FOLDER --only NAME` for each name without a NAME.json in the folder, `words.jobs` at a time.

    Pass --seed on if `words` has it. Return the number of runs that failed, or took longer than `within` seconds.
    """
    seed = ["--seed", str(words.seed)] if "seed" in words else []

    def make(name: str) -> bool:
        command = [sys.executable, script, "one", str(words.folder), "--only", name, *seed]
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
    """Return the JSON report (`--full`) of each path, in the order of `paths`.

    The reports come from the wiredoctor that the interpreter `python` imports. Raise RuntimeError if an analysis fails.
    """

    def analyze(some: Sequence[Path]) -> list[dict[str, Any]]:
        done = subprocess.run([python, "-P", "-c", REPORT, *map(str, some)], capture_output=True, check=False, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[-1_000:])
        return [json.loads(line) for line in done.stdout.splitlines()]

    with ThreadPoolExecutor(jobs) as pool:
        parts = list(pool.map(analyze, [paths[first::jobs] for first in range(jobs)]))
    return [parts[number % jobs][number // jobs] for number in range(len(paths))]

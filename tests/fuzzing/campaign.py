"""Fuzz for a limited time: run the harnesses in turn, each in its own process, with an engine and a growing corpus."""

from __future__ import annotations

import importlib.util
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.fuzzing import corpora, found
from tests.fuzzing.places import ROOT, short

SPELL = 300.0
"""Seconds of CPU after which a process gives way to a new one: what leaks is seen in its peak, and seeds are dealt anew."""


@dataclass(frozen=True)
class Spell:
    """A process that fuzzes for a while: harness, engine, seconds of CPU, seed."""

    harness: str
    engine: str
    seconds: float
    seed: int


def run(harnesses: Sequence[str], minutes: float, jobs: int, seed: int, engine: str | None) -> bool:
    """Fuzzes for so many minutes of CPU in all, and prints the figures; whether nothing new was found."""
    engine = engine or ("atheris" if importlib.util.find_spec("atheris") else "hypothesis")
    print(f"engine: {engine}; {minutes:g} minutes of CPU for {', '.join(harnesses)}, seed {seed}, {jobs} at a time", flush=True)
    for harness in harnesses:
        print(f"corpus of {harness}: {corpora.grow(harness)} inputs in {short(corpora.folder(harness))}", flush=True)
    begin, known = time.monotonic(), _files()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with ThreadPoolExecutor(jobs) as pool:
        good = list(pool.map(_process, _spells(harnesses, minutes, seed, engine)))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    fresh = sorted(_files() - known)
    print(f"{cpu / 60:.1f} minutes of CPU in {(time.monotonic() - begin) / 60:.1f} minutes; new troubles: {len(fresh)}")
    for name in fresh:
        print(f"  {short(found.FOLDER / name)}")
    return not fresh and all(good)


def _files() -> set[str]:
    return {path.name for path in found.FOLDER.glob("*.bin")}


def _spells(harnesses: Sequence[str], minutes: float, seed: int, engine: str) -> list[Spell]:
    """So many per harness that none is longer than SPELL, the harnesses in turn."""
    share = minutes * 60 / len(harnesses)
    number = max(round(share / SPELL), 1)
    return [Spell(h, engine, share / number, seed + n) for n in range(number) for h in harnesses]


def _process(spell: Spell) -> bool:
    command = [sys.executable, "-m", "tests.fuzzing.engine", spell.harness, spell.engine, str(spell.seconds), str(spell.seed)]
    # a thread of Polars for each processor only gets into the way of the other processes
    environment = os.environ | {"POLARS_MAX_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, errors="backslashreplace", check=False
    )
    told = [line for line in done.stdout.splitlines() if line.startswith(spell.harness)]
    print("\n".join(told or [f"{spell.harness}: the process ended with {done.returncode}", done.stderr[-3_000:]]), flush=True)
    return bool(told)

"""Read many mutants of captures with a harness; report failures, costs and seeds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.fuzzing import found, mutators
from tests.fuzzing.guard import MEGABYTES, SECONDS, Trouble, cpu_seconds, peak_megabytes, tried
from tests.fuzzing.harnesses import HARNESSES
from tests.fuzzing.places import captures, short
from tests.fuzzing.workers import Measured, work

LARGEST = 3 << 20
"""Bytes of a capture that is changed."""


class Answer(NamedTuple):
    """What came of a mutant: which capture it was, what was changed, what went wrong, its CPU (s) and the process's peak (MB)."""

    base: str
    changes: Sequence[str]
    trouble: Trouble | None
    seconds: float
    megabytes: float


def mutant(seed: int, number: int) -> tuple[bytes, Path, list[str]]:
    """The bytes of a mutant, the capture that it was made of, and the changes."""
    random = Random(f"{seed}:{number}")
    files = captures(LARGEST)
    base, other = random.choice(files), random.choice(files)
    data, changes = mutators.mutate(base.read_bytes(), random, other.read_bytes())
    return data, base, changes


def attempt(task: tuple[str, int, int]) -> Answer:
    """Makes a mutant, reads it by a harness, and writes down what goes wrong."""
    harness, seed, number = task
    data, base, changes = mutant(seed, number)
    begin = cpu_seconds()
    trouble = tried(HARNESSES[harness](), data)
    if trouble is not None:
        found.keep(harness, data, trouble, _made(seed, number, base, changes))
    return Answer(short(base), changes, trouble, cpu_seconds() - begin, peak_megabytes())


def _made(seed: int, number: int, base: Path, changes: Sequence[str]) -> str:
    return f"mutant {number} of seed {seed}, of {short(base)} by {', '.join(changes)}"


def run(count: int, seed: int, jobs: int, first: int = 0, harness: str = "whole") -> bool:
    """Reads `count` mutants and prints what came of them; whether nothing went wrong."""
    begin, measured = time.monotonic(), Measured()
    troubles: Counter[str] = Counter()
    slowest, largest, most = (0.0, -1), (0.0, -1), MEGABYTES
    tasks: Iterator[tuple[str, int, int]] = ((harness, seed, number) for number in range(first, first + count))
    for done, ((_, _, number), answer) in enumerate(work(attempt, tasks, jobs, measured), start=1):
        trouble = answer if isinstance(answer, Trouble) else answer.trouble
        if isinstance(answer, Trouble):
            data, base, changes = mutant(seed, number)
            found.keep(harness, data, answer, _made(seed, number, base, changes))
        else:
            slowest, largest = max(slowest, (answer.seconds, number)), max(largest, (answer.megabytes, number))
            if answer.megabytes > most:
                print(f"mutant {number}: {answer.megabytes:.0f} MB")
                most = answer.megabytes * 1.1
        if trouble is not None:
            troubles[f"{trouble.kind}: {trouble.where}"] += 1
            if troubles[f"{trouble.kind}: {trouble.where}"] == 1:
                print(f"mutant {number}: {trouble.kind}: {trouble.where}", flush=True)
        if done % 500 == 0:
            print(f"{done} mutants in {time.monotonic() - begin:.0f} s", flush=True)
    _tell(count, seed, troubles, measured, time.monotonic() - begin, slowest, largest)
    return not troubles and max(measured.megabytes, default=0) <= MEGABYTES


def _tell(
    count: int, seed: int, troubles: Counter[str], measured: Measured, took: float,
    slowest: tuple[float, int], largest: tuple[float, int],
) -> None:  # fmt: skip
    kinds = Counter({kind: sum(n for name, n in troubles.items() if name.startswith(kind)) for kind in KINDS})
    print(f"{count} mutants of seed {seed} in {took:.0f} s ({measured.cpu:.0f} s of CPU), {measured.replaced} processes replaced")
    print(", ".join(f"{kinds[kind]} {plural}" for kind, plural in KINDS.items()))
    print(f"slowest: {slowest[0]:.2f} s of CPU (mutant {slowest[1]}; allowed are {SECONDS:.0f} s)")
    peaks = ", ".join(f"{m:.0f} MB" for m in measured.megabytes)
    print(f"peak of resident memory (VmHWM) of each process: {peaks} (most at mutant {largest[1]}; allowed are {MEGABYTES} MB)")
    for name, number in troubles.most_common():
        print(f"{number:6} x {name}")
    if troubles:
        print(f"The inputs are in {short(found.FOLDER)}; python -m tests.fuzzing replay FILE reads one again.")


KINDS = {"crash": "tracebacks", "hang": "hangs", "invariant": "broken invariants"}

"""Hostile HTTP: time and memory at n, 2n and 4n, and whether the work stays in proportion.

python tests/benchmarks/hostile.py [CASE ...]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import reference
from cases import Case
from hostile_cases import CASES
from hostile_wire import Capture

DATA = Path(__file__).parent / "data"
MEMORY_AT_MOST = 600.0
GROWTH_AT_MOST = 2.3
"""MB of any process; CPU per doubling of n."""

UNMEASURABLE = 0.3
"""Seconds of CPU by which runs of the same work differ on a busy machine."""


@dataclass(frozen=True)
class Run:
    """Seconds of CPU of all processes; MB of the largest of them and of all, at their peaks; the size of the report."""

    cpu: float
    largest: float
    all: float
    report: int
    error: str


def analyze(path: Path, report: Path, interpreter: tuple[str, ...] = (sys.executable,)) -> Run:
    """One analysis with JSON as its output."""
    peaks: dict[int, float] = {}
    words = (*interpreter, "-m", "wiredoctor", "analyze", str(path), "-o", str(report), "--quiet", "--color", "never")
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=errors)
        watcher = threading.Thread(target=_watch, args=(process.pid, peaks))
        watcher.start()
        before = _children()
        code = process.wait()
        cpu = _children() - before
        watcher.join()
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    failed = f"exit code {code}: {said[-600:]}" if code else ""
    size = report.stat().st_size if report.exists() else 0
    return Run(cpu, max(peaks.values(), default=0.0), sum(peaks.values()), size, failed)


def _children() -> float:
    import resource

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _watch(parent: int, peaks: dict[int, float]) -> None:
    """Reads VmHWM of a process and its children until it is gone."""
    while True:
        try:
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        except OSError:
            return
        for pid in (parent, *map(int, children)):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            if "VmHWM:" in status:
                peaks[pid] = int(status.split("VmHWM:")[1].split()[0]) / 1024
            elif pid == parent:
                return
        time.sleep(0.02)


def measure(case: Case, new: type[Any], doublings: int, keep: bool, earlier: Path | None) -> bool:
    """Runs a case at n, 2n, 4n, written to a `new` capture, also by an `earlier` product; whether its promises are kept."""
    DATA.mkdir(exist_ok=True)
    runs: list[Run] = []
    print(f"{case.name}: {case.what}", flush=True)
    for step in range(doublings + 1):
        path, n = DATA / f"hostile-{case.name}.pcap", case.size << step
        began = time.perf_counter()
        with new(path) as capture:
            case.write(capture, n)
        made = time.perf_counter() - began
        run = analyze(path, path.with_suffix(".json"))
        runs.append(run)
        print(
            f"  {n:>14,} {capture.packets:>10,} packets {path.stat().st_size / 1e6:>7,.0f} MB (made in {made:4.1f} s) "
            f"{run.cpu:6.2f} s CPU {run.largest:6.0f} MB {run.all:6.0f} MB all {run.report / 1e6:6.2f} MB report",
            flush=True,
        )
        if earlier:
            old = analyze(path, path.with_suffix(".json"), (str(earlier), "-I"))
            compared = f"{run.cpu / old.cpu:.2f} of its CPU, {run.largest / old.largest:.2f} of its memory"
            print(f"  {'reference':>14} {old.cpu:6.2f} s CPU {old.largest:6.0f} MB: {compared} {old.error}", flush=True)
        if not keep:
            path.unlink()
        path.with_suffix(".json").unlink(missing_ok=True)
        if run.error:
            print(f"  {run.error}")
            break
    growth = max((b.cpu - UNMEASURABLE) / a.cpu for a, b in pairwise(runs)) if runs[1:] else 0.0
    most = max(run.largest for run in runs)
    kept = [not any(run.error for run in runs), growth <= GROWTH_AT_MOST, most <= MEMORY_AT_MOST]
    print(f"  {'kept' if all(kept) else 'BROKEN'}: {growth:.2f} times the CPU for twice as much, {most:.0f} MB", flush=True)
    return all(kept)


def main(cases: list[Any], new: type[Any], about: str | None) -> int:
    """Entry point; 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="all of them unless named")
    parser.add_argument("--doublings", type=int, default=2, help="how often n is doubled (default 2)")
    parser.add_argument("--keep", action="store_true", help="leave the largest capture of each case in data/")
    parser.add_argument("--reference", action="store_true", help="also run the product of reference.py on each capture")
    options = parser.parse_args()
    python = reference.python() if options.reference else None
    known = {case.name: case for case in cases}
    if unknown := [name for name in options.cases if name not in known]:
        parser.error(f"no case is called {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = [known[name] for name in options.cases] or cases
    broken = [case.name for case in chosen if not measure(case, new, options.doublings, options.keep, python)]
    print(f"{len(chosen) - len(broken)} kept, {len(broken)} BROKEN{': ' if broken else ''}{', '.join(broken)}")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main(CASES, Capture, __doc__))

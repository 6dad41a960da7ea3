"""Measures what wiredoctor promises of itself, as ratios in one run, and says which promises it keeps.

    python tests/benchmarks/run.py [speed] [full] [memory] [small] [long]

Without a word: the first four. What has not been recorded yet is recorded first (record_http.py: root, nginx, wrk, tcpdump).
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median

import dpkt
import long_captures
from record_http import DATA, record

MILLION = 1_000_000
ANALYZE = (sys.executable, "-m", "wiredoctor", "analyze")
IMPORTS = (sys.executable, "-c", "import numpy, polars, typer, rich")
TSHARK = ("tshark", "-n", "-2", "-Y", "http.response || tcp.analysis.flags", "-T", "fields")
FIELDS = ("frame.number", "http.response.code", "http.time", "tcp.analysis.flags")

FASTER_AT_LEAST = 15.0
MEMORY_AT_MOST = 400.0
GROWTH_AT_MOST = 1.10
SMALL_AT_MOST = 0.15
LONG_AT_MOST = 600.0
LONG_GROWTH_AT_MOST = 1.25
"""Times as fast as tshark; MB of the larger process; memory for 6 GB over that for 2 GB; seconds of CPU above the imports;
MB, and memory for four times the length, of captures of an odd shape."""

SPEED = (1, 3)
"""Million packets."""

GIGABYTES = {2: 2_235_000, 6: 6_700_000}
"""Of recorded traffic -> packets; the shorter recording is the beginning of the longer one."""

FEW_CONNECTIONS = 10
"""Of a small capture: a hundred packets hold exchanges then."""


@dataclass(frozen=True)
class Run:
    """What one process took: seconds of wall time, seconds of CPU, peak resident memory in MB."""

    wall: float
    cpu: float
    memory: float


def run(*words: str, environment: dict[str, str] | None = None) -> Run:
    """Runs a command, its output thrown away; raises RuntimeError when it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    assert process.stderr
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}: {said.decode(errors='replace')}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def recording(millions: int) -> Path:
    """The recording of so many million packets, made now if there is none, and read once so that no disk is measured."""
    path = DATA / f"http-{millions}m.pcap"
    if not path.exists():
        print(f"recording {millions},000,000 packets ...", flush=True)
        record(path, millions * MILLION)
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 24):
            pass
    return path


def large(gigabytes: int) -> Path:
    """The recording of so many GB, made now if there is none."""
    path = DATA / f"http-{gigabytes}gb.pcap"
    if not path.exists():
        longest = DATA / f"http-{max(GIGABYTES)}gb.pcap"
        if not longest.exists():
            print(f"recording {max(GIGABYTES)} GB ...", flush=True)
            record(longest, max(GIGABYTES.values()))
        if not path.exists():
            words = ("tcpdump", "-r", str(longest), "-c", str(GIGABYTES[gigabytes]), "-w", str(path))
            subprocess.run(words, check=True, capture_output=True)
    return path


def peaks(path: Path, *more: str) -> list[float]:
    """Peak resident memory (VmHWM of /proc/PID/status) in MB of each process of an analysis, the largest first."""
    words = [*ANALYZE, str(path), "--format", "json", *more]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, env=as_installed())
    seen: dict[int, float] = {}
    while process.poll() is None:
        for pid in _family(process.pid):
            with contextlib.suppress(OSError, IndexError):
                status = Path(f"/proc/{pid}/status").read_text().split("VmHWM:")
                seen[pid] = int(status[1].split()[0]) / 1024
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


def verdict(what: str, measured: str, kept: bool, promise: str) -> bool:
    """Prints a line of the result."""
    print(f"{what:44} {measured:>12}   {'kept' if kept else 'BROKEN'}: {promise}", flush=True)
    return kept


def analyze(path: Path, *more: str) -> Run:
    """One analysis with JSON as its output, as installed: with bytecode, which pip makes."""
    return run(*ANALYZE, str(path), "--format", "json", *more, environment=as_installed())


@cache
def as_installed() -> dict[str, str]:
    """An environment in which Python finds the bytecode of its modules, also where it may not write any beside them."""
    folder = tempfile.mkdtemp(prefix="wiredoctor-bytecode-")
    atexit.register(shutil.rmtree, folder)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = folder
    return environment


def speed(repeat: int) -> bool:
    """Wall time against tshark's for the same, start-up included, which weighs less in the longer recording: that counts."""
    fields = [word for field in FIELDS for word in ("-e", field)]
    ratio = 0.0
    for millions in SPEED:
        path = recording(millions)
        theirs = run(*TSHARK, *fields, "-r", str(path)).wall
        analyze(path)  # makes bytecode, where there is none
        ours = median(analyze(path).wall for _ in range(repeat))
        ratio = theirs / ours
        print(f"{millions},000,000 packets: wiredoctor {ours:.2f} s (median of {repeat}), tshark {theirs:.2f} s: {ratio:.1f}")
    return verdict("tshark / wiredoctor, wall time", f"{ratio:.1f}", ratio >= FASTER_AT_LEAST, f"at least {FASTER_AT_LEAST:.0f}")


def full(repeat: int) -> bool:
    """What --full adds to the wall time for 1,000,000 packets; nothing is promised of it."""
    path = recording(1)
    pairs = [(analyze(path).wall, analyze(path, "--full").wall) for _ in range(repeat)]
    plain, whole = (median(column) for column in zip(*pairs, strict=True))
    print(f"{'with --full / without, wall time':44} {whole / plain:>12.2f}   {whole - plain:+.2f} s")
    return True


def memory(_repeat: int) -> bool:
    """Peak memory for 2 and for 6 GB of recorded traffic, of each process; what counts is the larger one."""
    found = {gigabytes: peaks(large(gigabytes)) for gigabytes in GIGABYTES}
    return _bounded({f"{gigabytes} GB": peak for gigabytes, peak in found.items()}, MEMORY_AT_MOST, GROWTH_AT_MOST)


def _bounded(found: dict[str, list[float]], at_most: float, growth_at_most: float) -> bool:
    for what, peak in found.items():
        each = " and ".join(f"{one:.0f}" for one in peak)
        print(f"{what}: {each} MB, {sum(peak):.0f} MB in all")
    largest = [peak[0] for peak in found.values()]
    bounded = verdict("peak memory of a process, MB", f"{max(largest):.0f}", max(largest) <= at_most, f"at most {at_most:.0f}")
    growth = largest[-1] / largest[0]
    steady = verdict("the longer / the shorter", f"{growth:.2f}", growth <= growth_at_most, f"at most {growth_at_most}")
    return bounded and steady


def long(_repeat: int) -> bool:
    """Peak memory of captures that are long in another way (long_captures.py), and of four times as long ones."""
    kept = True
    for make, count in (
        (long_captures.connections, 250_000),
        (long_captures.exchanges, 250_000),
        (long_captures.message, 500_000),
    ):
        found: dict[str, list[float]] = {}
        for times in (1, 4):
            with tempfile.NamedTemporaryFile(suffix=".pcap", dir=DATA) as file:
                make(Path(file.name), times * count)
                found[f"{make.__name__}, {times * count:,}"] = peaks(Path(file.name))
        kept &= _bounded(found, LONG_AT_MOST, LONG_GROWTH_AT_MOST)
    return kept


def small(_repeat: int) -> bool:
    """CPU for 100 packets above the imports that everybody pays, in turns, median of seven.

    As installed, that is with bytecode, which pip makes; a source tree that may not write any (PYTHONDONTWRITEBYTECODE)
    compiles itself at each start.
    """
    path = DATA / "http-100.pcap"
    _first(recording(1), path, 100)
    installed, source = as_installed(), os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    words = (*ANALYZE, str(path), "--format", "json")
    for once in (IMPORTS, words):
        run(*once, environment=installed)
    rounds = [(run(*IMPORTS).cpu, run(*words, environment=installed).cpu, run(*words, environment=source).cpu) for _ in range(7)]
    imports, whole, _ = (median(column) for column in zip(*rounds, strict=True))
    above, compiling = (median(one[i] - one[0] for one in rounds) for i in (1, 2))
    print(f"100 packets: {whole:.3f} s of CPU, the imports alone {imports:.3f} s; without bytecode {compiling:.3f} s above them")
    return verdict("100 packets, CPU above the imports, s", f"{above:.3f}", above < SMALL_AT_MOST, f"below {SMALL_AT_MOST}")


def _first(source: Path, target: Path, count: int) -> None:
    """Copies the first packets of the first connections: the first of all are handshakes only."""
    with source.open("rb") as incoming, target.open("wb") as outgoing:
        writer = dpkt.pcap.Writer(outgoing)
        connections: set[frozenset[int]] = set()
        for time_stamp, packet in dpkt.pcap.Reader(incoming):
            segment = dpkt.ethernet.Ethernet(packet).data.data
            connection = frozenset((segment.sport, segment.dport))
            if len(connections) < FEW_CONNECTIONS:
                connections.add(connection)
            if connection in connections:
                writer.writepkt(packet, time_stamp)
                count -= 1
            if not count:
                return


PARTS = {"speed": speed, "full": full, "memory": memory, "small": small}
MORE = {"long": long}


def main() -> int:
    """Entry point; 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS | MORE)}")
    parser.add_argument("--repeat", type=int, default=3, help="how often wiredoctor is timed (default 3); the median counts")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS | MORE)
    if unknown:
        parser.error(f"no part is called {', '.join(sorted(unknown))}")
    kept = [(PARTS | MORE)[part](options.repeat) for part in options.parts or PARTS]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())

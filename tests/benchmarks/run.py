"""Measure what wiredoctor must reach (marks.py), as ratios in one run, and exit with 1 if a mark is missed.

    python tests/benchmarks/run.py [PART ...] [--repeat 5]

Without a PART, all of them except `memory`, `long`, `alike` and `servers`, which take many gigabytes or minutes.
What has not been recorded yet is recorded first (record_http.py: root, nginx, wrk, tcpdump).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import alike_failures
import dpkt
import encapsulated
import flood_cases
import flood_wire
import long_captures
import many_files
import marks
import seven_servers
import speed
from marks import judge
from processes import ANALYZE, analyze, as_installed, peaks, run
from record_http import DATA, record

IMPORTS = (sys.executable, "-c", "import numpy, polars")
GIGABYTES = {2: 2_235_000, 6: 6_700_000}
"""Of recorded traffic -> packets; the shorter recording is the beginning of the longer one."""
FEW_CONNECTIONS = 10
"""The connections of a small capture: a hundred packets contain exchanges then."""

RAISED = """
import re, sys
from wiredoctor import cli, limits
limits.OPEN.value = 1 << 20
try:
    cli.main()
except SystemExit:
    print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
"""
"""An analysis with a limit for more than a million open connections, which prints its peak memory in kB.

Not `ru_maxrss`, which begins with the memory of the process that started it.
"""


def faster(repeat: int) -> bool:
    """Compare CPU time with that of the earlier version and of other programs."""
    kept = True
    for name in speed.CAPTURES:
        seconds = speed.measure(name, repeat, [])
        for program, theirs in seconds.items():
            if mark := marks.FASTER.get((name, program)):
                kept &= judge(f"{name}: {program} / wiredoctor, CPU", theirs / seconds["wiredoctor"], mark)
    return kept


def interpreted(repeat: int) -> bool:
    """Compare CPU time of the interpreted core with that of the compiled one, for the beginnings of two captures."""
    kept = True
    with tempfile.TemporaryDirectory(dir=DATA) as folder:
        for name in ("dense", "short"):
            path = Path(folder, f"{name}.pcap")
            subprocess.run(["editcap", "-r", str(speed.capture(name)), str(path), "1-100000"], check=True, capture_output=True)
            pairs = [
                [analyze(path, "--jobs", "1", environment={"WIREDOCTOR_CORE": core}).cpu for core in ("python", "compiled")]
                for _ in range(min(repeat, 3))
            ]
            slow, quick = (median(column) for column in zip(*pairs, strict=True))
            kept &= judge(f"{name}: interpreted / compiled, CPU", slow / quick, marks.INTERPRETED)
    return kept


def full(repeat: int) -> bool:
    """Measure the CPU time that `--full` adds for each exchange of a million packets."""
    path = speed.capture("dense")
    words = [*ANALYZE, str(path), "--format", "json", "--jobs", "1"]
    report = subprocess.run(words, check=True, capture_output=True, env=as_installed()).stdout
    exchanges = json.loads(report)["summary"]["exchanges"]
    pairs = [[analyze(path, "--jobs", "1", *more).cpu for more in ((), ("--full",))] for _ in range(repeat)]
    plain, whole = (median(column) for column in zip(*pairs, strict=True))
    return judge("--full, us of CPU an exchange", (whole - plain) / exchanges * 1e6, marks.FULL)


def growth(repeat: int) -> bool:
    """Compare CPU time for eight million packets with that for a million."""
    kept = True
    for make, count in ((long_captures.connections, 111_000), (long_captures.exchanges, 250_000)):
        with tempfile.TemporaryDirectory(dir=DATA) as folder:
            paths = {times: Path(folder, f"{times}.pcap") for times in (1, 8)}
            for times, path in paths.items():
                make(path, times * count)
            pairs = [[analyze(path, "--jobs", "1").cpu for path in paths.values()] for _ in range(min(repeat, 3))]
        one, eight = (median(column) for column in zip(*pairs, strict=True))
        kept &= judge(f"{make.__name__}, 8 million packets / 8 x a million", eight / one / 8, marks.GROWTH)
    return kept


def files(repeat: int) -> bool:
    """Compare CPU time for 1,500 files with that for one."""
    each = many_files.measure(speed.capture("dense"), 1_500, 300_000, min(repeat, 3))
    kept = [judge(f"{label}, ms of CPU a file", each[label], marks.A_FILE) for label in ("rotation", "rotation, gzip")]
    return all(kept)


def wrapped(repeat: int) -> bool:
    """Compare packets inside encapsulations with the same packets without them."""
    return encapsulated.measure([*encapsulated.WAYS], 300_000, min(repeat, 3))


def small(_repeat: int) -> bool:
    """Measure CPU time for 100 packets above the imports that everybody pays; alternating, median of seven."""
    path = DATA / "http-100.pcap"
    _first(speed.capture("dense"), path, 100)
    words = (*ANALYZE, str(path), "--format", "json")
    for once in (IMPORTS, words):
        run(*once, environment=as_installed())
    rounds = [[run(*once, environment=as_installed()).cpu for once in (IMPORTS, words)] for _ in range(7)]
    above = median(whole - imports for imports, whole in rounds)
    return judge("100 packets, s of CPU above the imports", above, marks.SMALL)


def memory(_repeat: int) -> bool:
    """Measure peak memory for 2 and for 6 GB of recorded traffic; what counts is the larger process."""
    found = {f"{gigabytes} GB": peaks(_large(gigabytes), "--jobs", "1") for gigabytes in GIGABYTES}
    return _bounded(found, marks.MEMORY, marks.MEMORY_GROWTH)


def flood(_repeat: int) -> bool:
    """Measure the memory of each half-open connection, and that for a million of them, of which the report names the limit."""
    with tempfile.TemporaryDirectory(dir=DATA) as folder:
        path = Path(folder, "flood.pcap")
        bytes_at: list[float] = []
        for number in (100_000, 200_000):
            _half_open(path, number)
            words = [sys.executable, "-c", RAISED, "analyze", str(path), "--format", "json", "--jobs", "1"]
            done = subprocess.run(words, check=True, capture_output=True, text=True, env=as_installed())
            bytes_at.append(int(done.stderr) * 1024)
        each = judge("a half-open connection, bytes", (bytes_at[1] - bytes_at[0]) / 100_000, marks.HALF_OPEN)
        _half_open(path, 1_000_000)
        words = [*ANALYZE, str(path), "--format", "json", "--jobs", "1"]
        told = subprocess.run(words, check=True, capture_output=True, text=True, env=as_installed()).stdout
        named = marks.verdict("a million half-open connections", "report", "131,072" in told, "names the limit")
        return judge("the same, peak memory, MB", peaks(path, "--jobs", "1")[0], marks.FLOOD) and each and named


def long(_repeat: int) -> bool:
    """Measure peak memory of captures that are long in another way (long_captures.py), and of four times as long ones."""
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
        kept &= _bounded(found, marks.LONG, marks.LONG_GROWTH)
    return kept


def alike(_repeat: int) -> bool:
    """Measure captures in which everything fails alike, of one client and of many."""
    shapes = [*alike_failures.SHAPES, alike_failures.GATEWAY]
    kept = [alike_failures.measure(shape, alike_failures.SIZES, clients) for shape in shapes for clients in ("one", "many")]
    return all(kept)


def servers(_repeat: int) -> bool:
    """Measure the memory for long captures of seven servers."""
    return seven_servers.measure([0.5, 2, 6], 0.02)


def _bounded(found: dict[str, list[float]], most: marks.Mark, growth_most: marks.Mark) -> bool:
    for what, peak in found.items():
        each = " and ".join(f"{one:.0f}" for one in peak)
        print(f"{what}: {each} MB, {sum(peak):.0f} MB in all")
    largest = [peak[0] for peak in found.values()]
    bounded = judge("peak memory of a process, MB", max(largest), most)
    return judge("peak of the longer / the shorter", largest[-1] / largest[0], growth_most) and bounded


def _large(gigabytes: int) -> Path:
    """Return the recording of so many GB, made now if there is none."""
    path, longest = (DATA / f"http-{size}gb.pcap" for size in (gigabytes, max(GIGABYTES)))
    if not longest.exists():
        record(longest, max(GIGABYTES.values()))
    if not path.exists():
        words = ("tcpdump", "-r", str(longest), "-c", str(GIGABYTES[gigabytes]), "-w", str(path))
        subprocess.run(words, check=True, capture_output=True)
    return path


def _half_open(path: Path, number: int) -> None:
    with flood_wire.Capture(path) as capture:
        flood_cases.half_open(capture, number)


def _first(source: Path, target: Path, count: int) -> None:
    """Copy the first packets of the first connections: the first of all are handshakes only."""
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


PARTS: dict[str, Callable[[int], bool]] = {
    part.__name__: part for part in (faster, interpreted, full, growth, files, wrapped, small, flood)
}
MORE: dict[str, Callable[[int], bool]] = {part.__name__: part for part in (memory, long, alike, servers)}


def main() -> int:
    """Entry point; 1 when a mark is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS | MORE)}")
    parser.add_argument("--repeat", type=int, default=5, help="how often wiredoctor is timed (default 5); the median counts")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS | MORE)
    if unknown:
        parser.error(f"no part is called {', '.join(sorted(unknown))}")
    kept = [(PARTS | MORE)[part](options.repeat) for part in options.parts or PARTS]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Time `wiredoctor analyze FILE --format json` beside the reference product, tshark, tcptrace and capinfos, in CPU seconds.

    python tests/benchmarks/speed.py [dense] [short] [bulk] [cut] [--repeat 5] [--without tshark]

Each capture is read by every program in turn, `--repeat` rounds; the table shows medians of user and system time of the whole
process (start-up included), and how many times the time of wiredoctor each takes. Needs what record_http.py needs, tshark,
tcptrace and editcap.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import median

import reference
from processes import as_installed, run
from record_http import DATA, missing, record

TSHARK = ("tshark", "-n", "-2", "-Y", "http.response || tcp.analysis.flags", "-T", "fields")
FIELDS = ("frame.number", "http.response.code", "http.time", "tcp.analysis.flags")

CAPTURES = {
    "dense": ("http-1m.pcap", "dense", 1_000_000),
    "short": ("short.pcap", "short", 1_000_000),
    "bulk": ("bulk.pcap", "bulk", 750_000),
    "cut": ("bulk-128.pcap", "", 750_000),
}
"""Name -> file, traffic and packets of record_http.py; `cut` is bulk with a snap length of 128 bytes."""


def capture(name: str) -> Path:
    """Return the recording, made now if it is missing, and read once so that no disk is measured."""
    file, traffic, packets = CAPTURES[name]
    path = DATA / file
    if not path.exists() and traffic:
        record(path, packets, traffic)
    elif not path.exists():
        subprocess.run(["editcap", "-s", "128", str(capture("bulk")), str(path)], check=True)
    with path.open("rb", buffering=0) as opened:
        while opened.read(1 << 24):
            pass
    return path


def commands(path: Path) -> dict[str, list[str]]:
    """Return the command line of each program for a capture."""
    analyze = ["-m", "wiredoctor", "analyze", str(path), "--format", "json", "--jobs", "1"]
    fields = [word for field in FIELDS for word in ("-e", field)]
    return {
        "wiredoctor": [sys.executable, *analyze],
        reference.COMMIT: [str(reference.python()), "-P", *analyze],  # not what is in the current folder
        "tcptrace": ["tcptrace", "-n", str(path)],
        "capinfos": ["capinfos", str(path)],
        "tshark": [*TSHARK, *fields, "-r", str(path)],
    }


def measure(name: str, repeat: int, without: list[str]) -> dict[str, float]:
    """Print a line per program for one capture, and return the median of the CPU seconds of each."""
    programs = {program: words for program, words in commands(capture(name)).items() if program not in without}
    for program in ("wiredoctor", reference.COMMIT):
        if program in programs:
            run(*programs[program], environment=as_installed())
    seconds: dict[str, list[float]] = {program: [] for program in programs}
    for _ in range(repeat):
        for program, words in programs.items():
            seconds[program].append(run(*words, environment=as_installed()).cpu)
    medians = {program: median(taken) for program, taken in seconds.items()}
    for program, taken in seconds.items():
        spread = f"{min(taken):.2f} - {max(taken):.2f}"
        ratio = medians[program] / medians["wiredoctor"]
        print(f"{name:6} {program:12} {medians[program]:8.2f} s  ({spread})  {ratio:7.2f}", flush=True)
    return medians


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", nargs="*", metavar="CAPTURE", help=f"one of {', '.join(CAPTURES)} (default: all)")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--without", action="append", default=[], metavar="PROGRAM")
    options = parser.parse_args()
    if unknown := set(options.captures) - set(CAPTURES):
        parser.error(f"no capture is called {', '.join(sorted(unknown))}")
    if absent := missing("nginx", "wrk", "tcpdump", "ethtool", "ip", "ss", "tshark", "tcptrace", "editcap"):
        print(absent, file=sys.stderr)
        return 1
    for name in options.captures or CAPTURES:
        measure(name, options.repeat, options.without)
    return 0


if __name__ == "__main__":
    sys.exit(main())

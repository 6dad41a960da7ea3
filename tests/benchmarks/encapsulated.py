"""Measures captures that are wholly inside one encapsulation against the same packets without it.

    python tests/benchmarks/encapsulated.py [ENCAPSULATION ...] [--packets N] [--repeat N]

Without a word: all of wrapping.WAYS. The packets are the first ones of the recording `dense` of speed.py.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from marks import ENCAPSULATED, verdict
from processes import analyze
from speed import capture
from wrapping import WAYS, wrap


def main() -> int:
    """Entry point; 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="*", metavar="ENCAPSULATION", help="its name, or how it begins")
    parser.add_argument("--packets", type=int, default=300_000, help="of each capture (default 300000)")
    parser.add_argument("--repeat", type=int, default=3, help="how often each is timed, in turns; the quickest run counts")
    options = parser.parse_args()
    chosen = [way for way in WAYS if not options.ways or any(way.startswith(word) for word in options.ways)]
    return 0 if measure(chosen, options.packets, options.repeat) else 1


def measure(ways: list[str], packets: int, repeat: int) -> bool:
    """Print packets per second of CPU in each encapsulation, and return whether all are at least half as many as without it."""
    with TemporaryDirectory() as folder:
        plain, wrapped = Path(folder, "plain.pcap"), Path(folder, "wrapped.pcap")
        source = capture("dense")
        wrap(source, plain, packets, None)
        analyze(plain)  # makes bytecode, where there is none
        kept = [_compare(source, plain, wrapped, way, packets, repeat) for way in ways]
    return all(kept)


def _compare(source: Path, plain: Path, wrapped: Path, way: str, packets: int, repeat: int) -> bool:
    wrap(source, wrapped, packets, way)
    pairs = [(analyze(plain), analyze(wrapped)) for _ in range(repeat)]
    without, within = (min(run.cpu for run in runs) for runs in zip(*pairs, strict=True))
    ratio = without / within
    measured = f"{ratio:.2f} ({packets / within / 1000:,.0f} / {packets / without / 1000:,.0f} k)"
    return verdict(f"{way}, packets per second of CPU", measured, ENCAPSULATED.is_kept(ratio), f"at least {ENCAPSULATED.bound}")


if __name__ == "__main__":
    sys.exit(main())

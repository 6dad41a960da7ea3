"""Measures captures that are wholly inside one encapsulation against the same packets without it.

    python tests/benchmarks/encapsulated.py [ENCAPSULATION ...] [--packets N] [--repeat N]

Without a word: all of wrapping.WAYS. The packets are the first ones of the recording of run.py, made when it is missing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from run import analyze, recording, verdict
from wrapping import WAYS, wrap

HALF = 0.5
"""At least this part of the packets per second of the plain capture, `wiredoctor analyze` as a whole. Counted in CPU time of
all its processes, which says the same on a machine that has other things to do."""


def main() -> int:
    """Entry point; 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="*", metavar="ENCAPSULATION", help="its name, or how it begins")
    parser.add_argument("--packets", type=int, default=300_000, help="of each capture (default 300000)")
    parser.add_argument("--repeat", type=int, default=3, help="how often each is timed, in turns; the quickest run counts")
    options = parser.parse_args()
    chosen = [way for way in WAYS if not options.ways or any(way.startswith(word) for word in options.ways)]
    with TemporaryDirectory() as folder:
        plain, wrapped = Path(folder, "plain.pcap"), Path(folder, "wrapped.pcap")
        source = recording(1)
        wrap(source, plain, options.packets, None)
        analyze(plain)  # makes bytecode, where there is none
        kept = [_compare(source, plain, wrapped, way, options.packets, options.repeat) for way in chosen]
    return 0 if all(kept) else 1


def _compare(source: Path, plain: Path, wrapped: Path, way: str, packets: int, repeat: int) -> bool:
    wrap(source, wrapped, packets, way)
    pairs = [(analyze(plain), analyze(wrapped)) for _ in range(repeat)]
    without, within = (min(run.cpu for run in runs) for runs in zip(*pairs, strict=True))
    ratio = without / within
    measured = f"{ratio:.2f} ({packets / within / 1000:,.0f} / {packets / without / 1000:,.0f} k)"
    return verdict(f"{way}, packets per second of CPU", measured, ratio >= HALF, f"at least {HALF}")


if __name__ == "__main__":
    sys.exit(main())

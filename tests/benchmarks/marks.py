"""What wiredoctor must reach, in one table."""

from __future__ import annotations

from typing import NamedTuple

import reference


class Mark(NamedTuple):
    """What a measured figure must reach: at most `bound`, or at least `bound` if `more_is_better`. `aim` is what is wanted."""

    bound: float
    aim: float
    more_is_better: bool

    def is_kept(self, measured: float) -> bool:
        """Return whether a figure is on the right side of the bound."""
        return measured >= self.bound if self.more_is_better else measured <= self.bound


def _least(bound: float, aim: float | None = None) -> Mark:
    return Mark(bound, bound if aim is None else aim, more_is_better=True)


def _most(bound: float) -> Mark:
    return Mark(bound, bound, more_is_better=False)


OLD = reference.COMMIT
FASTER = {
    ("dense", OLD): _least(2, 3),
    ("dense", "tshark"): _least(25),
    ("short", OLD): _least(7, 10),
    ("short", "tshark"): _least(15),
    ("short", "tcptrace"): _least(1 / 1.5),
    ("bulk", OLD): _least(2.5, 4),
    ("bulk", "tshark"): _least(40),
    ("bulk", "capinfos"): _least(1),
    ("cut", OLD): _least(6, 10),
    ("cut", "tshark"): _least(25),
}
"""(capture of speed.py, program) -> its CPU time / that of `wiredoctor analyze FILE --format json --jobs 1`, medians."""

INTERPRETED = _most(30)
"""CPU time interpreted / compiled."""
FULL = _most(5)
"""Microseconds of CPU that `--full` takes for each exchange."""
GROWTH = _most(1.10)
"""CPU time for 8 million packets / 8 times that for a million."""
A_FILE = _most(1)
"""Milliseconds of CPU for each file of a rotation, above those for one file."""
ENCAPSULATED = _least(0.5)
"""Packets per second of CPU inside an encapsulation / without it."""
SMALL = _most(0.10)
"""Seconds of CPU for 100 packets, above `import numpy, polars`."""
MEMORY = _most(250)
"""Peak of a process in MB for 6 GB of traffic."""
MEMORY_GROWTH = _most(1.10)
"""The same for 6 GB / for 2 GB."""
HALF_OPEN = _most(1250)
"""Bytes for each half-open connection."""
FLOOD = _most(450)
"""Peak in MB for a flood of a million half-open connections."""
LONG = _most(600)
LONG_GROWTH = _most(1.25)
"""Peak in MB for long captures of an odd shape, and that for four times the length / for the quarter."""

ALIKE_MEMORY = {16_000: _most(300), 64_000: _most(600)}
ALIKE_SECONDS = {16_000: _most(10)}
"""Number of alike failures -> peak in MB, and CPU seconds."""
ALIKE_GROWTH = _most(4.6)
"""CPU time for four times as many alike failures."""
SERVERS = _most(300)
"""Peak of RssAnon in MB for long captures of seven servers."""

LIVE_TOLD, LIVE_TOLD_OF_CLOSES = _most(1), _most(2)
"""Seconds from the last packet of a finding to its line in `live`, and those for findings that depend on a close."""
LIVE_LOOK = _most(0.3)
"""CPU seconds of the longest look of `live`."""
LIVE_MEMORY, LIVE_MEMORY_GROWTH = _most(300), _most(20)
"""Peak of the analysis in MB until the report begins; mean RssAnon of the last minute less that of the fifth."""
LIVE_CPU = _most(40)
"""CPU of all processes of `live` beside a gateway with 200 requests a second, in % of a core."""
LIVE_END = _most(10)
"""Seconds from SIGTERM to the end of `live`, whose report is then written."""


def verdict(what: str, measured: str, kept: bool, promise: str) -> bool:
    """Print a line of the result, and return whether the promise is kept."""
    print(f"{what:44} {measured:>12}   {'kept' if kept else 'BROKEN'}: {promise}", flush=True)
    return kept


def judge(what: str, measured: float, mark: Mark) -> bool:
    """Print a measured figure beside its mark, and return whether the mark is kept."""
    promise = f"at {'least' if mark.more_is_better else 'most'} {mark.bound:.4g}"
    if mark.aim != mark.bound:
        promise += f", aim {mark.aim:g}"
    return verdict(what, f"{measured:.3g}" if measured < 100 else f"{measured:,.0f}", mark.is_kept(measured), promise)

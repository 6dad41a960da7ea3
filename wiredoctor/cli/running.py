"""The one call into the analysis that the commands share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wiredoctor.cli.exits import say
from wiredoctor.cli.progress import Bar

if TYPE_CHECKING:
    from wiredoctor import Report
    from wiredoctor.report.narrow import Wanted

MOST_JOBS = 4
"""Each process reads the whole file and decodes every packet: more of them gain little."""


def run(
    captures: Sequence[str],
    wanted: Wanted,
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    jobs: int | None = None,
    quiet: bool = False,
    verbose: bool = False,
) -> tuple[Report, bool]:
    """The report on the readable captures, narrowed to what is wanted, and whether all were readable.

    What cannot be read gets its line on standard error.
    """
    from wiredoctor.pipeline import analyze
    from wiredoctor.report.narrow import narrow
    from wiredoctor.report.words import count, duration

    unreadable: list[str] = []
    jobs = jobs or min(os.cpu_count() or 1, MOST_JOBS)
    with Bar(quiet=quiet) as bar:

        def on_error(line: str) -> None:
            unreadable.append(line)
            bar.say(line)

        report = analyze(*captures, select=select, ignore=ignore, jobs=jobs, progress=bar, on_error=on_error)
        took = bar.seconds
    if verbose:
        packets = sum(c.packets for c in report.captures)
        say(f"{count(packets, 'packet')} in {duration(took)}")
    return narrow(report, wanted), not unreadable

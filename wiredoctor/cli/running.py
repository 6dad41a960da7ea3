"""The one call into the analysis that the commands share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from wiredoctor.cli.baselines import fingerprints
from wiredoctor.cli.config_file import Configuration, check_thresholds
from wiredoctor.cli.exit_codes import say
from wiredoctor.cli.options import names
from wiredoctor.cli.progress import Bar

if TYPE_CHECKING:
    from wiredoctor import Report
    from wiredoctor.pipeline import Budget
    from wiredoctor.report.filter import Wanted

MOST_JOBS = 8
"""Every process reads all records and headers, so that more of them gain little, and each takes memory."""

SLOW_FROM = 50_000
"""Packets from which on an interpreted core takes seconds more than a compiled one."""

MOST_FILES = 65_536


class Request(NamedTuple):
    """What command line and configuration ask for together. `selected` is what either has named."""

    wanted: Wanted
    configuration: Configuration
    selected: Sequence[str]
    ignored: Sequence[str]
    baseline: str
    known: frozenset[str]


def requested(
    catalogue: Mapping[str, Any],
    configuration: Configuration,
    wanted: Wanted,
    select: Sequence[str] | None = None,
    ignore: Sequence[str] | None = None,
    baseline: str | None = None,
    known: frozenset[str] | None = None,
) -> Request:
    """Command line before configuration; what is ignored is ignored by both. Raises UsageError on whatever is wrong.

    `known`: the fingerprints of the baseline, if they were read before.
    """
    check_thresholds(configuration, catalogue)
    selected = names("--select", select, catalogue) or [*configuration.select]
    ignored = [*names("--ignore", ignore, catalogue), *configuration.ignore]
    file = baseline if baseline is not None else configuration.baseline
    return Request(wanted, configuration, selected, ignored, file, fingerprints(file) if known is None else known)


def run(
    captures: Sequence[str],
    request: Request,
    *,
    jobs: int | None = None,
    merge: bool = False,
    keep: bool = False,
    show_secrets: bool = False,
    max_spool: int | Budget | None = None,
    quiet: bool = False,
    verbose: bool = False,
    unread: list[str] | None = None,
) -> tuple[Report, bool]:
    """Return the report on the readable captures, reduced to what is wanted and not known, and whether it covers all of them.

    Each input that cannot be read gets a line on standard error and in `unread`; each reason why the report is incomplete gets a
    line on standard error.
    """
    from wiredoctor import core
    from wiredoctor.pipeline import analyze
    from wiredoctor.report.terminal.sentences import incomplete
    from wiredoctor.report.words import count, duration

    unreadable: list[str] = [] if unread is None else unread
    allow_many_files()
    jobs = jobs or min(os.cpu_count() or 1, MOST_JOBS)
    with Bar(quiet=quiet) as bar:

        def on_error(line: str) -> None:
            unreadable.append(line)
            bar.say(line)

        report = analyze(
            *captures, select=request.selected, ignore=request.ignored, thresholds=request.configuration.thresholds,
            jobs=jobs, merge=merge, keep=keep, max_spool=max_spool, show_secrets=show_secrets, progress=bar, on_error=on_error,
        )  # fmt: skip
        took = bar.seconds
    for line in incomplete(report):
        say(line)
    packets = sum(c.packets for c in report.captures)
    if core.reason and packets > SLOW_FROM and not quiet:
        say(f"slow, because the core of wiredoctor is not compiled: {core.reason}")
    if show_secrets and not quiet:
        say("the output holds secrets (--show-secrets): think before you pass it on")
    if verbose:
        say(f"{count(packets, 'packet')} in {duration(took)}")
    return reduced(report, request), not (unreadable or report.incomplete)


def allow_many_files() -> None:
    """Raise the soft limit: the files of a rotation or a ring are open together, and so are captures that are kept."""
    try:
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < MOST_FILES:
            most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    except (ImportError, OSError, ValueError):  # no such limit on this system, or none that may be raised
        return


def reduced(report: Report, request: Request) -> Report:
    """The report with what is wanted and not known."""
    from wiredoctor.report.exclude import without_ignored, without_known
    from wiredoctor.report.filter import narrow

    report = without_ignored(narrow(report, request.wanted), request.configuration.entries)
    return without_known(report, request.known, request.baseline)

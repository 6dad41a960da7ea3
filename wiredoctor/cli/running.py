"""Run the analysis, for all commands."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from wiredoctor import Report, system
from wiredoctor.cli import signals
from wiredoctor.cli.baselines import fingerprints
from wiredoctor.cli.config_file import Configuration, check_thresholds
from wiredoctor.cli.exit_codes import Exit, print_message
from wiredoctor.cli.options import Failing, LiveOptions, parse_confidence, parse_filter, parse_rule_names
from wiredoctor.cli.progress import Bar
from wiredoctor.report.exclude import Ignore, without_ignored, without_known
from wiredoctor.report.filter import Filter
from wiredoctor.report.words import count, duration
from wiredoctor.settings import Settings

if TYPE_CHECKING:
    from wiredoctor.pipeline import Budget

SLOW_FROM = 50_000
"""Above this number of packets, a warning is printed if the core is not compiled: the analysis then takes seconds longer."""

MAX_FILES = 65_536
"""The number of files that may be open, if the system allows it.

Many files may be open at the same time, such as all files of a ring, or the temporary files of captures from pipes.
"""

LARGE_BLOCK = 1 << 20
"""The minimum size in bytes of memory blocks that are returned to the system when they are freed.

By default, glibc raises this minimum to the size of the largest freed block (mallopt(3)), and the gaps between arrays then add up
to 30 MB.
"""


class Request(NamedTuple):
    """The settings of an analysis and the filters of its report, from the command line and the configuration file.

    `wanted`: the filter of the report. `entries`: the [[ignore]] tables. `baseline`: the path of the baseline. `known`: the
    fingerprints in the baseline, whose findings are not reported.
    """

    settings: Settings
    wanted: Filter
    entries: Sequence[Ignore]
    baseline: str
    known: frozenset[str]


def combine_request(
    catalogue: Mapping[str, Any],
    configuration: Configuration,
    settings: Settings,
    wanted: Filter,
    select: Sequence[str] | None = None,
    ignore: Sequence[str] | None = None,
    baseline: str | None = None,
    known: frozenset[str] | None = None,
) -> Request:
    """Combine the command line with the configuration. The command line takes precedence, but both can exclude rules.

    `settings`: all settings except the rules and their thresholds. `known`: the fingerprints of the baseline, if they were
    already read. Raise UsageError if a rule, a threshold or the baseline is invalid.
    """
    check_thresholds(configuration, catalogue)
    settings = settings._replace(
        select=parse_rule_names("--select", select, catalogue) or [*configuration.select],
        ignore=[*parse_rule_names("--ignore", ignore, catalogue), *configuration.ignore],
        thresholds=configuration.thresholds,
    )
    file = baseline if baseline is not None else configuration.baseline
    return Request(settings, wanted, configuration.entries, file, fingerprints(file) if known is None else known)


def combine_live_request(
    catalogue: Mapping[str, Any], configuration: Configuration, options: LiveOptions, known: frozenset[str]
) -> Request:  # fmt: skip
    """Return the request that the options of `live` or `run` describe. `known`: as in combine_request."""
    confidence = parse_confidence(options.min_confidence, configuration.min_confidence)
    settings, wanted = Settings(show_secrets=options.show_secrets), parse_filter(confidence=confidence)
    return combine_request(catalogue, configuration, settings, wanted, options.select, options.ignore, known=known)


def run(
    captures: Sequence[str],
    request: Request,
    *,
    budget: Budget | None = None,
    quiet: bool = False,
    verbose: bool = False,
    unread: list[str] | None = None,
    can_stop: bool = False,
) -> tuple[Report, bool]:
    """Analyze captures. Return the filtered report on the readable captures, and whether all captures were read completely.

    Each unreadable input gets a line on standard error and in `unread`. Each reason why the report is incomplete gets a line on
    standard error. `budget`: disk space that is shared with other runs. `can_stop`: SIGINT only ends the reading of packets, and
    the report covers the packets read so far (`signals.stopped_reading`).
    """
    from wiredoctor import core
    from wiredoctor.pipeline import run as analyze
    from wiredoctor.report.terminal.capture_sentences import incomplete

    unreadable: list[str] = [] if unread is None else unread
    prepare_process()
    with Bar(quiet=quiet) as bar, ExitStack() as stack:
        options: dict[str, Any] = {"is_stopped": stack.enter_context(signals.StopReading())} if can_stop else {}

        def on_error(line: str) -> None:
            unreadable.append(line)
            bar.print_line(line)

        def on_note(line: str) -> None:
            if not quiet:
                bar.print_line(line)

        report = analyze(captures, request.settings, budget=budget, progress=bar, on_error=on_error, on_note=on_note, **options)
        took = bar.seconds
    for line in incomplete(report):
        print_message(line)
    packets = sum(c.packets for c in report.captures)
    if core.reason and packets > SLOW_FROM and not quiet:
        print_message(f"running slowly because the core of wiredoctor is not compiled: {core.reason}")
    if request.settings.show_secrets and not quiet:
        print_message("the output contains secrets (--show-secrets): share it with care")
    if verbose:
        print_message(f"{count(packets, 'packet')} in {duration(took)}")
    if request.wanted.connections and report.captures:
        from wiredoctor.cli.choosing import check_connections

        check_connections(report, request.wanted.connections)
    return apply_filter(report, request), not (unreadable or report.incomplete)


@contextmanager
def handling_signals(handler: Callable[[int, Any], None]) -> Generator[None]:
    """Let `handler` handle the signals in `signals.STOPPING` within the context, except signals that are ignored."""
    before: dict[int, Any] = {}
    for one in signals.STOPPING:
        if signal.getsignal(one) is not signal.SIG_IGN:
            before[one] = signal.signal(one, handler)
    try:
        yield
    finally:
        for one, earlier in before.items():
            signal.signal(one, earlier)


def prepare_process() -> None:
    """Prepare this process for an analysis: raise its limit of open files, and let it return large blocks of freed memory."""
    system.raise_open_file_limit(MAX_FILES)
    _return_large_blocks()


def _return_large_blocks() -> None:
    import ctypes  # costs no time, because NumPy imports ctypes, too

    mmap_threshold = -3  # M_MMAP_THRESHOLD in malloc.h of glibc
    with suppress(AttributeError, OSError, TypeError):  # other C libraries have no mallopt
        ctypes.CDLL(None).mallopt(mmap_threshold, LARGE_BLOCK)


def apply_filter(report: Report, request: Request) -> Report:
    """Return the report without findings that a filter or an [[ignore]] table excludes, or that the baseline contains."""
    if request.wanted != Filter():
        from wiredoctor.report.filtered_report import filter_report

        report = filter_report(report, request.wanted)
    return without_known(without_ignored(report, request.entries), request.known, request.baseline)


def report_exit(report: Report, fail_on: Failing | None, selected: Sequence[str], *, complete: bool) -> int:
    """Return the exit code for a report. `complete`: all captures were read completely.

    `selected`: the rules and families of --select. Findings about the capture itself count only if `selected` contains their rule
    or family.
    """
    from wiredoctor.report.fail_on import reaches_level

    if not complete:
        return Exit.BAD_INPUT
    return Exit.FINDINGS if fail_on and reaches_level(report, fail_on.value, selected) else Exit.OK

"""wiredoctor live: the diagnosis while it happens."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Generator, Sequence
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, cast

import typer

from wiredoctor.cli import signals
from wiredoctor.cli.baselines import fingerprints
from wiredoctor.cli.completion import interfaces
from wiredoctor.cli.config_file import checked, read_file
from wiredoctor.cli.copies import check_copies
from wiredoctor.cli.exit_codes import Exit, UsageError, say
from wiredoctor.cli.options import (
    Color,
    Colors,
    Confidence,
    Configurations,
    Failing,
    FailOn,
    Format,
    Ignores,
    MinConfidence,
    OnlyFindings,
    Outputs,
    Quiet,
    Secrets,
    Selects,
    Verbose,
    wanted,
)
from wiredoctor.cli.orders import Backend, ordered
from wiredoctor.cli.outputs import DIRECT, FileAccess, Output, outputs, write_stdout
from wiredoctor.cli.rulebook import every_rule
from wiredoctor.cli.running import allow_many_files, reduced, requested
from wiredoctor.cli.writing import How, needs_packets, write_files, write_report

if TYPE_CHECKING:
    from wiredoctor import Report
    from wiredoctor.cli.running import Request
    from wiredoctor.cli.screen import View
    from wiredoctor.live import News, Recorder, Session, Started
    from wiredoctor.report.terminal.terminal import Paper

LOOK = 1.0
"""Seconds that are waited for packets before it is shown that there are none."""


class LiveFormat(StrEnum):
    """What goes to standard output while it runs, and at the end."""

    text = "text"
    jsonl = "jsonl"


def live(
    interface: Annotated[
        list[str],
        typer.Option(
            "--interface",
            "-i",
            metavar="IFACE",
            help="Where to capture: an interface, lo, or any (repeatable).",
            autocompletion=interfaces,
            show_default=False,
        ),
    ],
    filter: Annotated[
        str | None, typer.Option("--filter", metavar="BPF", help="Capture only packets that match this BPF filter.")
    ] = None,
    write: Annotated[
        str | None,
        typer.Option("--write", "-w", metavar="FILE", help="Keep the packets, as pcapng; else a temporary ring holds them."),
    ] = None,
    ring: Annotated[
        str | None,
        typer.Option(
            "--ring", metavar="FILES:SIZE", help="Keep at most this many files of this size (10:200MB); the oldest is deleted."
        ),
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--duration", metavar="TIME", help="End after this time (90, 30s, 10m, 2h).")
    ] = None,
    packets: Annotated[int | None, typer.Option("--packets", metavar="N", min=1, help="End after so many packets.")] = None,
    snaplen: Annotated[
        int | None, typer.Option("--snaplen", metavar="BYTES", min=64, max=262144, help="Keep so much of each packet.")
    ] = None,
    buffer: Annotated[
        int | None, typer.Option("--buffer", metavar="MIB", min=1, max=2047, help="Room in the kernel for packets that wait.")
    ] = None,
    backend: Annotated[
        Backend | None,
        typer.Option("--backend", help="What captures; default: the first of these that works.", show_default=False),
    ] = None,
    output: Outputs = None,
    format: Annotated[LiveFormat, typer.Option("--format", "-f", help="What to print on standard output.")] = LiveFormat.text,
    select: Selects = None,
    ignore: Ignores = None,
    min_confidence: MinConfidence = None,
    fail_on: FailOn = None,
    only_findings: OnlyFindings = False,
    config: Configurations = None,
    show_secrets: Secrets = False,
    quiet: Quiet = False,
    verbose: Verbose = False,  # noqa: ARG001 - of use where a fault is told
    color: Colors = Color.auto,
) -> int:
    """Capture on an interface and say what is wrong while it happens; at the end, the whole diagnosis.

    Ctrl-C or SIGTERM ends it in order, a second one at once. Exit codes: 0 done; 1 --fail-on was reached; 2 the command line was
    wrong, capturing was not possible or did not reach its end, or some output could not be written; 3 a fault of wiredoctor.
    """
    if os.name != "posix":
        raise UsageError("live needs Linux or macOS: capture with Wireshark, and analyze the file")
    from wiredoctor.live import start

    files = outputs(output, [write] if write else [])
    if needs_packets(file.format for file in files) and (write is None or ring is not None):
        raise UsageError("-o: a report that copies packets needs them all: add --write FILE, without --ring")
    check_copies(files, [], merge=False, only_findings=only_findings)
    order = ordered(interface, filter, write, ring, duration, packets, snaplen, buffer, backend, files)
    source = read_file(config)
    known = fingerprints(source.baseline)
    allow_many_files()
    name = write or "live: " + ", ".join(interface)
    with start(order) as started, _view(name, format, color, quiet=quiet) as view:
        rules = every_rule()
        read = checked(source, rules)
        sure = min_confidence or Confidence(read.min_confidence or Confidence.low)
        request = requested(rules, read, wanted(None, None, None, None, None, sure), select, ignore, known=known)
        if show_secrets and not quiet:
            say("the output holds secrets (--show-secrets): think before you pass it on")
        report = _run(started, name, request, view, show_secrets=show_secrets, quiet=quiet)
        least = fail_on or (Failing(read.fail_on) if read.fail_on else None)
        code = _exit(report, least, request.selected)
        how = How(quiet=quiet, only_findings=only_findings, fail_on=least, selected=request.selected, code=code)
        access = _delegated(started.recorder, files) if started.was_root else DIRECT
        return code if _write(report, files, format, view, color, how, access) else Exit.BAD_INPUT


@contextlib.contextmanager
def _view(name: str, format: LiveFormat, color: Color, *, quiet: bool) -> Generator[View]:
    from wiredoctor.cli import screen

    if format == LiveFormat.jsonl:
        view: View = screen.JsonLines(quiet=quiet)
    elif sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        view = screen.Screen(name, color)
    else:
        view = screen.Lines(quiet=quiet)
    try:
        yield view
    finally:
        view.close()


def _run(started: Started, name: str, request: Request, view: View, *, show_secrets: bool, quiet: bool) -> Report:
    """Capture until it is over or somebody ends it; return the report, reduced to what is wanted."""
    from wiredoctor.live import RecorderError, watch
    from wiredoctor.pipeline import CaptureError

    try:
        with watch(
            started.recorder.order, name, select=request.selected, ignore=request.ignored,
            thresholds=request.configuration.thresholds, show_secrets=show_secrets, recorder=started.recorder, rows=started.rows,
        ) as session, _ended_by_signals(session):  # fmt: skip
            note, over = started.rights.note, False
            while not over:
                news = session.look(LOOK)
                _show(news, request, view)
                over = session.over
                # never in silence, but not beside the line that says why nothing can be captured
                if note and (news.status.backend or over):
                    (say if quiet else view.note)(note)
                    note = ""
            reason, text = session.ended
            if text and (reason not in ("stopped", "duration", "packets") or not quiet):
                view.note(text)
            _drops(session, view)
            view.close()
            return reduced(session.report(), request)
    except (RecorderError, CaptureError) as error:
        raise UsageError(str(error)) from None


def _show(news: News, request: Request, view: View) -> None:
    from wiredoctor import Report, __version__

    for line in news.notes:
        view.note(line)
    findings = reduced(Report(version=__version__, findings=news.findings), request).findings if news.findings else []
    view.show(findings, news.status)


def _drops(session: Session, view: View) -> None:
    """What the kernel had no room for is nobody's fault but the buffer's."""
    status = session.status()
    if status.dropped:
        share = status.dropped / max(status.dropped + status.captured, 1)
        view.note(
            f"the kernel dropped {status.dropped:,} packets ({share:.1%}), which were not fetched in time: a larger --buffer, "
            "a --filter or a --snaplen helps"
        )


@contextlib.contextmanager
def _ended_by_signals(session: Session) -> Generator[None]:
    """The first signal that asks for an end ends capturing; the second everything."""
    before: dict[int, Any] = {}
    asked = False

    def end(number: int, _: FrameType | None) -> None:
        nonlocal asked
        if asked:
            signals.stop(number)
        asked = True
        session.stop()

    for one in signals.STOPPING:
        if signal.getsignal(one) is not signal.SIG_IGN:
            before[one] = signal.signal(one, end)
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _delegated(recorder: Recorder, files: Sequence[Output]) -> FileAccess:
    """Return access to the files of -o by way of the recorder, as this process has no rights any more."""
    numbers = {file.path: number for number, file in enumerate(files)}

    def place(path: Path) -> tuple[int, str]:
        return (numbers[path], "") if path in numbers else (numbers[path.parent], path.name)

    @contextlib.contextmanager
    def replacing(path: Path) -> Generator[BinaryIO]:
        descriptor = recorder.open_output(*place(path))
        try:
            with os.fdopen(descriptor, "wb") as out:
                yield out
        except BaseException:
            with contextlib.suppress(OSError):
                recorder.discard_output(*place(path))
            raise
        recorder.commit_output(*place(path))

    def remove(path: Path) -> None:
        recorder.remove_output(*place(path))

    def make_folder(_: Path) -> None:
        """Do nothing: the recorder made it when it began."""

    return FileAccess(replacing, remove, make_folder)


def _write(
    report: Report, files: Sequence[Output], format: LiveFormat, view: View, color: Color, how: How, access: FileAccess
) -> bool:
    """Write the report. Return whether all files of -o were written."""
    from wiredoctor.cli.screen import JsonLines

    def write(form: Format, out: BinaryIO, paper: Paper) -> None:
        write_report(report, form, out, paper, how)

    complete = write_files(report, files, how, access)
    if format == LiveFormat.jsonl:
        cast("JsonLines", view).finish(report)
    else:
        write_stdout(Format.text, write, color)
    return complete


def _exit(report: Report, fail_on: Failing | None, selected: Sequence[str]) -> int:
    from wiredoctor.report.fail_on import reached

    if report.incomplete:
        return Exit.BAD_INPUT
    return Exit.FAILED_ON if fail_on and reached(report, fail_on.value, selected) else Exit.DONE

"""wiredoctor live: diagnose while capturing."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Annotated, cast

import typer

from wiredoctor import Report, __version__
from wiredoctor.cli import options, signals
from wiredoctor.cli.baselines import fingerprints
from wiredoctor.cli.capture_order import Backend, CaptureFilter, capture_order, check_filter
from wiredoctor.cli.config_file import check_configuration, read_file
from wiredoctor.cli.copies import check_copies
from wiredoctor.cli.exit_codes import Exit, UsageError, check_captures, print_message
from wiredoctor.cli.interface_choice import choose_interface
from wiredoctor.cli.live_source import IMAGE, find_source
from wiredoctor.cli.outputs import DIRECT, FileAccess, Output, outputs, write_stdout
from wiredoctor.cli.recorder_access import file_access
from wiredoctor.cli.rulebook import every_rule
from wiredoctor.cli.running import Request, apply_filter, combine_live_request, handling_signals, prepare_process, report_exit
from wiredoctor.cli.writing import write_files, write_report
from wiredoctor.report.formats import Options, needs_packets
from wiredoctor.text.time_of_day import use_utc

if TYPE_CHECKING:
    from wiredoctor.cli.screen import View
    from wiredoctor.live import News, Session, Started

LOOK = 1.0
"""The number of seconds without a packet after which the display is updated, to show that no packets arrive."""


_ENDS = ("stopped", "duration", "packets", "end")
"""The values of Session.ended that are not failures: the reasons for a normal end of the capture."""


class LiveFormat(StrEnum):
    """Formats of the output during the capture and at its end."""

    text = "text"
    jsonl = "jsonl"


Source = Annotated[
    str | None,
    typer.Argument(metavar="-", help="Read a capture from standard input while another program writes it.", show_default=False),
]
InterfaceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--interface",
        "-i",
        metavar="IFACE",
        help="Interface to capture on, such as lo or any (repeatable). If it is omitted, you can choose from a "
        "list; --ssh and --kubectl capture on all interfaces (any).",
        show_default=False,
    ),
]
Ssh = Annotated[
    str | None,
    typer.Option("--ssh", metavar="HOST", help="Capture on HOST over SSH, with the tcpdump of that host.", show_default=False),
]
Kubectl = Annotated[
    str | None,
    typer.Option(
        "--kubectl", metavar="NAMESPACE/POD", help="Capture in this pod, from an ephemeral container.", show_default=False
    ),
]
Image = Annotated[
    str | None,
    typer.Option(
        "--image",
        metavar="IMAGE",
        help=f"With --kubectl: the container image, which must contain tcpdump (default: {IMAGE}).",
        show_default=False,
    ),
]
WrittenFile = Annotated[
    str | None,
    typer.Option("--write", "-w", metavar="FILE", help="Keep the packets in this pcapng file instead of a temporary ring."),
]
Ring = Annotated[
    str | None,
    typer.Option(
        "--ring", metavar="FILES:SIZE", help="Keep at most this many files of this size (10:200MB); the oldest is deleted."
    ),
]
Duration = Annotated[str | None, typer.Option("--duration", metavar="TIME", help="Stop after this time (90, 30s, 10m, 2h).")]
Packets = Annotated[int | None, typer.Option("--packets", metavar="N", min=1, help="Stop after this number of packets.")]
Snaplen = Annotated[
    int | None, typer.Option("--snaplen", metavar="BYTES", min=64, max=262144, help="Keep only this many bytes of each packet.")
]
Buffer = Annotated[
    int | None, typer.Option("--buffer", metavar="MIB", min=1, max=2047, help="Size of the kernel buffer for packets.")
]
BackendOption = Annotated[
    Backend | None, typer.Option("--backend", help="Capture program (default: the first that works).", show_default=False)
]


@options.with_shared_options
def live(
    shared: options.LiveOptions,
    source: Source = None,
    interface: InterfaceOption = None,
    ssh: Ssh = None,
    sudo: Annotated[
        bool, typer.Option("--sudo", help="With --ssh: run tcpdump there with sudo, which must not ask for a password.")
    ] = False,
    kubectl: Kubectl = None,
    image: Image = None,
    filter: options.CaptureFilter = None,
    port: options.CapturedPorts = None,
    write: WrittenFile = None,
    ring: Ring = None,
    duration: Duration = None,
    packets: Packets = None,
    snaplen: Snaplen = None,
    buffer: Buffer = None,
    backend: BackendOption = None,
    format: Annotated[LiveFormat, typer.Option("--format", "-f", help="What to print on standard output.")] = LiveFormat.text,
    only_findings: options.OnlyFindings = False,
) -> int:
    """Capture, or read a capture that is being written; report problems as they happen, and everything at the end.

    Ctrl-C or SIGTERM stops the capture and prints the report; a second one exits at once. Exit codes: 0 success; 1 --fail-on
    matched; 2 usage error, capturing failed or ended early, or an output could not be written; 3 internal error; 130 stopped by
    Ctrl-C, unless 1, 2 or 3 applies.
    """
    check_captures("live")
    from wiredoctor.live import start

    use_utc(shared.utc)
    if port and source is not None:
        raise UsageError("--port: standard input is already a capture; give a filter to the program that captures")
    wanted = CaptureFilter.of(filter, port)
    files = outputs(shared.output, [write] if write else [])
    if needs_packets(file.format for file in files) and (write is None or ring is not None):
        raise UsageError("-o: a report that copies packets needs every packet: add --write FILE without --ring")
    check_copies(files, [], merge=False, only_findings=only_findings)
    local = [option for option, value in (("--buffer", buffer), ("--backend", backend)) if value is not None]
    if source is None and ssh is None and kubectl is None:
        check_filter(wanted, backend)
    order = capture_order(
        interface or (), wanted, write, files,
        ring=ring, duration=duration, packets=packets, snaplen=snaplen, buffer=buffer, backend=backend,
    )  # fmt: skip
    configuration = read_file(shared.config)
    known = fingerprints(configuration.baseline)
    if source is None and not interface and ssh is None and kubectl is None:
        interface = [choose_interface()]
    prepare_process()
    with contextlib.ExitStack() as stack:
        seconds = order.duration
        found = find_source(source, interface, ssh, kubectl, image, wanted.expression or None, snaplen, seconds, local, sudo=sudo)
        stack.callback(found.end)
        order = replace(order, interfaces=tuple(found.interfaces), stream=found.stream, stream_name=found.name)
        name = write or "live: " + (found.name or ", ".join(found.interfaces))
        started = stack.enter_context(start(order, shared.nice))
        found.hand_over()
        view = stack.enter_context(_view(name, format, shared.color, quiet=shared.quiet))
        rules = every_rule()
        read = check_configuration(configuration, rules)
        request = combine_live_request(rules, read, shared, known)
        if shared.show_secrets and not shared.quiet:
            print_message("the output contains secrets (--show-secrets): share it with care")
        report, interrupted = _run(started, name, request, view, quiet=shared.quiet, verbose=shared.verbose)
        least = options.parse_level(shared.fail_on, read.fail_on)
        selected = request.settings.select
        code = report_exit(report, least, selected, complete=not report.incomplete) or (
            Exit.INTERRUPTED if interrupted else Exit.OK
        )
        write_options = Options(
            quiet=shared.quiet,
            only_findings=only_findings,
            fail_on=least and least.value,
            rules=rules,
            selected=selected,
            code=code,
        )
        access = file_access(started.recorder, files) if started.was_root else DIRECT
        return code if _write(report, files, format, view, shared.color, write_options, access) else Exit.BAD_INPUT


@contextlib.contextmanager
def _view(name: str, format: LiveFormat, color: options.Color, *, quiet: bool) -> Generator[View]:
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


def _run(
    started: Started, name: str, request: Request, view: View, *, quiet: bool, verbose: bool
) -> tuple[Report, bool]:  # fmt: skip
    """Run the capture to its end; return the report, filtered as requested, and whether SIGINT ended the capture."""
    from wiredoctor.live import RecorderError, watch
    from wiredoctor.pipeline import CaptureError

    try:
        with watch(
            started.recorder.order, name, request.settings, recorder=started.recorder, rows=started.rows
        ) as session, _ended_by_signals(session) as ended_by:  # fmt: skip
            note, over = started.rights.text(verbose=verbose), False
            while not over:
                news = session.look(LOOK)
                _show(news, request, view)
                over = session.over
                # show the note even with --quiet, but not beside an error that prevents capturing
                if note and (news.status.backend or over):
                    (print_message if quiet else view.note)(note)
                    note = ""
            reason, text = session.ended
            if text and (reason not in _ENDS or not quiet):
                view.note(text)
            _drops(session, view)
            if not session.status().captured and reason in _ENDS:
                view.note("no packet was captured: check --interface, --port and --filter")
            view.close()
            return apply_filter(session.report(), request), signal.SIGINT in ended_by
    except (RecorderError, CaptureError) as error:
        raise UsageError(str(error)) from None


def _show(news: News, request: Request, view: View) -> None:
    for line in filter(None, (news.started, *news.notes)):
        view.note(line)
    findings = apply_filter(Report(version=__version__, findings=news.findings), request).findings if news.findings else []
    view.show(findings, news.status)


def _drops(session: Session, view: View) -> None:
    """Show a note if the kernel dropped packets because its buffer was full."""
    status = session.status()
    if status.dropped:
        share = status.dropped / max(status.dropped + status.captured, 1)
        view.note(
            f"the kernel dropped {status.dropped:,} packets ({share:.1%}) because its buffer was full: use a larger --buffer, "
            "a --filter or a --snaplen"
        )


@contextlib.contextmanager
def _ended_by_signals(session: Session) -> Generator[list[int]]:
    """Stop the capture at the first signal in `signals.STOPPING`; end the process at the second one.

    Yield a list to which the number of the first signal is added.
    """
    first: list[int] = []
    came = 0.0

    def end(number: int, _: FrameType | None) -> None:
        nonlocal came
        if first and time.monotonic() - came < signals.SAME_SIGNAL:
            return
        if first:
            signals.stop(number)
        came = time.monotonic()
        first.append(number)
        session.stop()

    with handling_signals(end):
        yield first


def _write(
    report: Report,
    files: Sequence[Output],
    format: LiveFormat,
    view: View,
    color: options.Color,
    write_options: Options,
    access: FileAccess,
) -> bool:
    """Write the report to standard output and to the files of -o. Return whether all of these files could be written."""
    from wiredoctor.cli.screen import JsonLines

    complete = write_files(report, files, write_options, access)
    if format == LiveFormat.jsonl:
        cast("JsonLines", view).finish(report)
    else:
        # this process may no longer start other processes, such as a pager
        write_stdout("text", partial(write_report, report, options=write_options), color, pages=False)
    return complete

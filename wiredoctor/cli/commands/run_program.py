"""wiredoctor run: diagnose the connections of a program while it runs."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
import time
from collections import deque
from collections.abc import Generator
from types import FrameType
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from wiredoctor import Report
from wiredoctor.cli import added_variables, options, signals
from wiredoctor.cli.baselines import fingerprints
from wiredoctor.cli.capture_order import CaptureFilter, capture_order, check_filter, parse_time_limit
from wiredoctor.cli.config_file import check_configuration, read_file
from wiredoctor.cli.exit_codes import Exit, UsageError, apology, check_captures, print_message
from wiredoctor.cli.outputs import DIRECT, outputs, stderr_paper
from wiredoctor.cli.recorder_access import file_access
from wiredoctor.cli.rulebook import every_rule
from wiredoctor.cli.running import apply_filter, combine_live_request, handling_signals, prepare_process, report_exit
from wiredoctor.cli.writing import write_files, write_report
from wiredoctor.report.filter import Filter
from wiredoctor.report.formats import Options, needs_packets
from wiredoctor.report.terminal.terminal import Terminal, TerminalWriter, TextOutput
from wiredoctor.settings import Settings
from wiredoctor.text.time_of_day import nanoseconds, use_utc

if TYPE_CHECKING:
    from wiredoctor.live import Session, Started
    from wiredoctor.live.supervisor import Supervisor

LEAST_LOOK, LOOK = 0.01, 0.1
"""The minimum and maximum time in seconds between two checks of whether the program has ended; the interval grows over time."""

LAST_PACKETS = 0.3
"""Seconds to continue capturing after the program has ended, because its connections may still be closing."""

ATTEMPT_BEFORE, ATTEMPT_WITHIN = 1_000_000, 250_000_000
"""The maximum time in ns by which a SYN may precede its connect(2) call, and the maximum time by which it may follow the call.

Clocks differ, and a busy machine delays packets.
"""

GRACE = 5
"""The time in seconds that the program has to end after SIGTERM, which it gets when --duration is over. Then it gets SIGKILL."""

_NONE = (-1,)
"""Connection ids that match no connection. An empty tuple would match every connection."""

FILTER = "tcp or icmp or icmp6"
"""The default capture filter: TCP, and ICMP errors, which explain why a connection fails."""


InterfaceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--interface", "-i", metavar="IFACE", help="Interface to capture on (repeatable; default: any).", show_default=False
    ),
]
Isolate = Annotated[
    bool,
    typer.Option("--isolate", help="Run COMMAND in its own network namespace, where it can reach only servers that it starts."),
]
Duration = Annotated[
    str | None,
    typer.Option(
        "--duration",
        metavar="TIME",
        help=f"End COMMAND after this time (90, 30s, 10m, 2h): with SIGTERM, and with SIGKILL {GRACE} s later.",
    ),
]
WrittenFile = Annotated[
    str | None,
    typer.Option(
        "--write", "-w", metavar="FILE", help="Keep all packets, including those of other programs, in this pcapng file."
    ),
]


@options.with_shared_options
def run(
    shared: options.LiveOptions,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="The program to run, with its arguments.")],
    interface: InterfaceOption = None,
    isolate: Isolate = False,
    filter: options.CaptureFilter = None,
    port: options.CapturedPorts = None,
    duration: Duration = None,
    write: WrittenFile = None,
) -> int:
    """Capture while a program runs, and report on the connections that it or its child processes open or accept.

    The report goes to standard error. The exit code is that of the program, or 1 if the program returned 0 and --fail-on matches.
    """  # fmt: skip
    check_captures("run")
    from wiredoctor.live import start
    from wiredoctor.live.supervisor import Supervisor

    use_utc(shared.utc)
    files = outputs(shared.output, [write] if write else [])
    if needs_packets(file.format for file in files) and write is None:
        raise UsageError("-o: a report that copies packets needs every packet: add --write FILE")
    if isolate and interface and {*interface} != {"lo"}:
        raise UsageError("--isolate: the program's network namespace has only the interface lo; omit --interface")
    interfaces = ["lo"] if isolate else interface or ["any"]
    seconds = parse_time_limit(duration)
    limits = [] if seconds is None else [(seconds, signal.SIGTERM), (seconds + GRACE, signal.SIGKILL)]
    wanted = CaptureFilter.of(filter, port, default=FILTER)
    check_filter(wanted)
    order = capture_order(interfaces, wanted, write, files)
    configuration = read_file(shared.config)
    known = fingerprints(configuration.baseline)
    prepare_process()
    if isolate:
        _isolate(quiet=shared.quiet)
    with (
        contextlib.closing(Supervisor(command, limits, without=added_variables)) as program,
        _forwarded(program),
        start(order, shared.nice) as started,
        _keeping_code(program) as kept,
    ):
        rules = every_rule()
        read = check_configuration(configuration, rules)
        request = combine_live_request(rules, read, shared, known)
        # arguments may be secret, such as curl's --user
        name = write or f"run: {shlex.join(command if shared.show_secrets else command[:1])}"
        whole = _watch(started, program, name, request.settings, verbose=shared.verbose, quiet=shared.quiet)
        if program.failure:
            print_message(f"{command[0]}: {program.failure[:1].lower()}{program.failure[1:]}")
            return program.ended or 0
        if program.is_overdue:
            print_message(f"{command[0]} was still running at its time limit, so it was ended (--duration {duration})")
        report = whole if isolate else _of_program(whole, program)
        is_empty = report.connection_count == 0
        if is_empty:
            print_message(_no_connection(program, isolate=isolate))
        report = apply_filter(report, request)
        least = options.parse_level(shared.fail_on, read.fail_on)
        selected = request.settings.select
        code = program.ended or report_exit(report, least, selected, complete=not report.incomplete)
        write_options = Options(quiet=shared.quiet, fail_on=least and least.value, rules=rules, selected=selected, code=code)
        access = file_access(started.recorder, files) if started.was_root else DIRECT
        if not write_files(report, files, write_options, access):
            code = program.ended or Exit.BAD_INPUT
        if not is_empty or report.incomplete:
            out: BinaryIO = sys.stderr.buffer
            write_report(report, "text", out, stderr_paper(shared.color), write_options)
            if not shared.quiet:
                _write_requests(report, out, stderr_paper(shared.color), write)
            out.flush()
        return code
    return kept[0]


def _write_requests(report: Report, out: BinaryIO, paper: Terminal, file: str | None) -> None:
    """Write how the time of the slowest request was spent, and which command shows all requests."""
    from wiredoctor.report.commands import shell_word
    from wiredoctor.report.terminal.slowest_request import slowest_request

    with TextOutput(out, paper) as stream:
        writer = TerminalWriter(stream, paper)
        writer.blank()
        if line := slowest_request(report):
            writer.paragraph(line)
        if file is None:
            writer.paragraph("The packets were not kept. To see each request, add -w FILE.pcapng, and then run this command:")
        writer.unbroken(("Next: ", "bold"), f"wiredoctor exchanges {shell_word(file or 'FILE.pcapng')}")


@contextlib.contextmanager
def _keeping_code(program: Supervisor) -> Generator[list[int]]:
    """If capturing or the analysis fails while the program runs, let the program finish, then raise the error.

    If the program failed as well, print the error instead of raising it. The yielded list receives the program's exit code.
    """
    kept: list[int] = []
    try:
        yield kept
    except Exception as error:
        if not program.has_begun:
            raise
        program.wait()
        if not program.ended:
            raise
        kept.append(program.ended)
        print_message(str(error) if isinstance(error, UsageError) else apology(error))


@contextlib.contextmanager
def _forwarded(program: Supervisor) -> Generator[None]:
    """Forward the signals in `signals.STOPPING` to the program while it runs.

    The first SIGINT is not forwarded, because Ctrl-C in the terminal reaches the program directly. Later ones are forwarded,
    because they may come from kill -INT.
    """
    interrupted: list[bool] = []

    def forward(number: int, _: FrameType | None) -> None:
        if program.ended is not None or not program.has_begun:
            signals.stop(number)
        elif number != signal.SIGINT or interrupted:
            program.forward(number)
        else:
            interrupted.append(True)

    with handling_signals(forward):
        yield


def _watch(started: Started, program: Supervisor, name: str, settings: Settings, *, quiet: bool, verbose: bool) -> Report:
    """Capture, run the program, and stop capturing shortly after it has ended. Return the report on all captured packets."""
    from wiredoctor.live import RecorderError, watch
    from wiredoctor.pipeline import CaptureError

    try:
        with watch(
            started.recorder.order, name, settings, recorder=started.recorder, rows=started.rows
        ) as session:  # fmt: skip
            _begin(session)
            if (note := started.rights.text(verbose=verbose)) and not quiet:
                print_message(note)
            program.begin()
            begun, end = time.monotonic(), float("inf")
            while not session.over:
                now = time.monotonic()
                # check more often at first, so the report on a short program is not delayed
                patience = min(LOOK, max((now - begun) / 10, LEAST_LOOK))
                for note in session.look(max(min(patience, end - now), 0.0)).notes:
                    print_message(note)
                program.look()
                if program.ended is not None and end == float("inf"):
                    end = time.monotonic() + LAST_PACKETS
                if time.monotonic() >= end:
                    session.stop()
                    end = float("inf") if session.over else time.monotonic() + 3600
            program.wait()  # the program still runs if capturing ended early
            return session.report()
    except (RecorderError, CaptureError) as error:
        raise UsageError(str(error)) from None


def _begin(session: Session) -> None:
    """Wait until capturing has started, and print notes about it."""
    has_started = False
    while not session.over and not has_started:
        news = session.look(LOOK)
        has_started = bool(news.status.backend)
        for note in news.notes:
            print_message(note)


def _of_program(report: Report, program: Supervisor) -> Report:
    """Return the report without the connections of other programs.

    If the system does not show which connections belong to the program, print that and return the report unchanged.
    """
    from wiredoctor.report.filtered_report import filter_report

    if not program.is_supported:
        print_message("this system does not show which connections are the program's: the report covers all captured connections")
        return report
    return filter_report(report, Filter(connections=_own_connections(report, program) or _NONE))


def _isolate(*, quiet: bool) -> None:
    """Move this process into a network namespace of its own; raise UsageError if that is impossible."""
    from wiredoctor.live.namespace import enter_own_network, refusal

    try:
        enter_own_network()
    except OSError as error:
        raise UsageError(f"--isolate: {refusal(error)}") from None
    if not quiet:
        print_message(
            "--isolate: over TCP, the program reaches only servers that it starts itself, on loopback. Other hosts, DNS and "
            "servers of this host cannot be reached; Unix sockets still connect to this host"
        )


def _no_connection(program: Supervisor, *, isolate: bool) -> str:
    if not program.is_supported:
        return "no TCP connection was captured"
    if not program.clients and not program.attempts:
        return "the program had no TCP connection"
    ends = {(f"[{one.address}]" if ":" in one.address else one.address, one.port) for one in program.attempts}
    places = [f"{address}:{port}" for address, port in sorted(ends)[:3]]
    where = f" (to {', '.join(places)})" if places else ""
    why = "with --isolate, the program has only a loopback interface" if isolate else "check --interface, --port and --filter"
    return f"the program called connect{where}, but none of its packets were captured: {why}"


def _own_connections(report: Report, program: Supervisor) -> tuple[int, ...]:
    """Return the ids of the program's connections.

    If the local port of a connect(2) call is unknown, the call is matched to the next connection to the same destination. No
    connection is matched to two calls.
    """
    columns = ("connection", "client", "server", "start")
    rows = report.scan_connections().select(*columns).sort("start").collect().rows()
    own = {number for number, client, server, _ in rows if _is_own(client, server, program)}
    first = nanoseconds(report.captures[0].first_time) if report.captures else None
    if first is None:
        return tuple(sorted(own))
    left: dict[tuple[str, int], deque[tuple[int, int]]] = {}
    for number, _, server, start in rows:
        if number not in own:
            left.setdefault(_parts(server), deque()).append((first + start, number))
    for attempt in sorted(program.attempts, key=lambda one: one.time):
        others = left.get((attempt.address, attempt.port), deque())
        while others and others[0][0] < attempt.time - ATTEMPT_BEFORE:
            others.popleft()
        if others and others[0][0] <= attempt.time + ATTEMPT_WITHIN:
            own.add(others.popleft()[1])
    return tuple(sorted(own))


def _is_own(client: str, server: str, program: Supervisor) -> bool:
    """Return whether the program opened the connection between these endpoints, or listened on a port of one of them."""
    return any(_parts(end) in program.clients for end in (client, server)) or any(
        _parts(end)[1] in program.servers for end in (client, server)
    )


def _parts(endpoint: str) -> tuple[str, int]:
    address, _, port = endpoint.rpartition(":")
    return address.strip("[]"), int(port)

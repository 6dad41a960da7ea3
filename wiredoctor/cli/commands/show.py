"""wiredoctor show: show one finding or one connection, packet by packet."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from wiredoctor import Report
from wiredoctor.cli import options
from wiredoctor.cli.choosing import Findings, check_connection, chosen_finding, connection_at
from wiredoctor.cli.config_file import configuration
from wiredoctor.cli.exit_codes import Exit, UsageError
from wiredoctor.cli.outputs import stdout_paper
from wiredoctor.cli.pager import paged
from wiredoctor.cli.rulebook import every_rule
from wiredoctor.cli.running import combine_request, run
from wiredoctor.report.filter import Filter
from wiredoctor.report.terminal.terminal import TerminalWriter, TextOutput
from wiredoctor.settings import Settings
from wiredoctor.text.redact import showing_secrets
from wiredoctor.text.time_of_day import use_utc

if TYPE_CHECKING:
    from wiredoctor.report.terminal.show import ShowRequest


class FollowedSide(StrEnum):
    """The values of --side: whose bytes --follow prints."""

    client = "client"
    server = "server"
    both = "both"


Place = Annotated[
    str | None,
    typer.Option(
        "--connection",
        metavar="ID",
        help="Show this connection (tcp.stream); 8#3 is exchange 3 of connection 8.",
        show_default=False,
    ),
]
Exchange = Annotated[
    int | None,
    typer.Option("--exchange", metavar="N", min=0, help="Show only this exchange of the connection.", show_default=False),
]
Frames = Annotated[
    str | None, typer.Option("--frames", metavar="A-B", help="Show only these frames of the connection.", show_default=False)
]
Everything = Annotated[bool, typer.Option("--all", help="Show all packets (at most 20,000) and header sections (at most 1,000).")]
Follow = Annotated[
    bool, typer.Option("--follow", help="Print the bytes of the connection, or of the finding's exchange, unmasked.")
]
Raw = Annotated[bool, typer.Option("--raw", help="With --follow and --side: write the bytes unchanged to a pipe or file.")]


def show(
    captures: options.Captures,
    finding: Findings = None,
    place: Place = None,
    exchange: Exchange = None,
    frames: Frames = None,
    begin: options.Begin = None,
    end: options.End = None,
    at: options.At = None,
    utc: options.Utc = False,
    everything: Everything = False,
    follow: Follow = False,
    side: Annotated[FollowedSide, typer.Option("--side", help="The side whose bytes --follow prints.")] = FollowedSide.both,
    raw: Raw = False,
    format: Annotated[options.TextOrJson, typer.Option("--format", "-f", help="What to print.")] = options.TextOrJson.text,
    merge: options.Merge = False,
    max_spool: options.MaxSpool = None,
    select: options.Selects = None,
    ignore: options.Ignores = None,
    config: options.Configurations = None,
    show_secrets: options.Secrets = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    color: options.Colors = options.Color.auto,
) -> int:
    """Show a finding or a connection: its packets as a ladder, with the waits drawn to scale, and its header sections.

    A finding has the same number as in the report of `wiredoctor analyze` with the same rules and captures, even if that report
    was filtered.
    """
    use_utc(utc)
    connection, exchange = _connection_and_exchange(place, exchange)
    _check(finding, connection, exchange, at, follow=follow, raw=raw, side=side, form=format)
    span, between = options.parse_filter(begin=begin, end=end, at=at), _frames(frames)
    if finding is not None and (between or begin or end or at):
        raise UsageError("--frames, --from, --to and --at need --connection; with --finding, the frames are those of the finding")
    rules = every_rule()
    request = combine_request(
        rules,
        configuration(config, rules)._replace(entries=(), baseline=""),
        Settings(
            merge=merge, keep=True, show_secrets=show_secrets, max_spool=options.parse_size("--max-spool", max_spool), jobs=0
        ),
        options.parse_filter(),
        select,
        ignore,
    )
    report, complete = run(captures, request, quiet=quiet, verbose=verbose)
    if not report.captures:
        return Exit.BAD_INPUT
    if finding is None and connection is None:
        connection = connection_at(report, span, f"--at {at}")
    asked = _show_request(report, finding, connection, exchange, between, span, follow=follow)._replace(everything=everything)
    with showing_secrets(show_secrets):
        if follow:
            _follow(report, asked, side, color, raw=raw)
        else:
            _show(report, asked, format, color)
    return Exit.OK if complete else Exit.BAD_INPUT


def _connection_and_exchange(place: str | None, exchange: int | None) -> tuple[int | None, int | None]:
    """Return the numbers of the connection and the exchange to show; None for a number that is not given.

    `place`: the value of --connection, such as 8, or 8#3 for exchange 3 of connection 8. `exchange`: the value of --exchange.
    """
    if place is None:
        return None, exchange
    parts = place.split("#")
    if len(parts) == 2 and exchange is not None:
        raise UsageError(f"--connection {place} names an exchange already: omit --exchange")
    if len(parts) > 2 or not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in parts):
        raise UsageError(f"--connection: must be a number such as 8, or 8#3 for exchange 3 of connection 8, not {place!r}")
    return int(parts[0]), int(parts[1]) if len(parts) == 2 else exchange


def _check(
    finding: str | None, connection: int | None, exchange: int | None, at: str | None, *, follow: bool, raw: bool,
    side: FollowedSide, form: options.TextOrJson,
) -> None:  # fmt: skip
    """Raise UsageError if options contradict each other, or if an option that another one needs is missing."""
    if finding is not None and connection is not None:
        raise UsageError("--finding and --connection cannot be combined")
    if finding is None and connection is None and at is None:
        raise UsageError(
            "specify --finding N (see wiredoctor analyze), --connection ID (see wiredoctor connections) or --at TIME"
        )
    if exchange is not None and connection is None:
        raise UsageError("--exchange needs --connection")
    if not follow and (raw or side != FollowedSide.both):
        raise UsageError("--side and --raw need --follow")
    if follow and form != options.TextOrJson.text:
        raise UsageError("--follow prints text, or bytes with --raw: omit --format")
    if raw and side == FollowedSide.both:
        raise UsageError("--raw writes the bytes of one side: add --side client or --side server")
    if raw and sys.stdout.isatty():
        raise UsageError("--raw: raw bytes could control this terminal; write them to a file or a pipe")


_FRAMES = re.compile(r"\s*(\d{1,18})\s*(?:-\s*(\d{1,18})?\s*)?")


def _frames(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = _FRAMES.fullmatch(text)
    if match is None:
        raise UsageError(f"--frames: {text!r} is not a frame or a range of frames like 10-40")
    first = int(match[1])
    last = int(match[2]) if match[2] else 1 << 60 if "-" in text else first
    if last < first:
        raise UsageError(f"--frames: {text} is a reversed range")
    return first, last


def _show_request(
    report: Report,
    finding: str | None,
    connection: int | None,
    exchange: int | None,
    frames: tuple[int, int] | None,
    span: Filter,
    *,
    follow: bool,
) -> ShowRequest:
    """Return what to show; raise UsageError if the command line names something that does not exist.

    With `follow`, only the exchange of a finding is shown, if the finding has one.
    """
    from wiredoctor.report.filtered_report import seconds_in
    from wiredoctor.report.terminal.show import ShowRequest, exchange_frames

    if finding is not None:
        found = chosen_finding(report, finding)
        asked = ShowRequest(found, found.capture, found.connection)
        if not follow or found.connection is None or found.exchange is None:
            return asked
        frames = exchange_frames(report, found.capture, found.connection, found.exchange)
        return asked._replace(exchange=found.exchange, frames=frames)
    assert connection is not None
    if len(report.captures) > 1:
        raise UsageError(
            f"--connection {connection}: each of the {len(report.captures)} captures has its own connections; name one capture"
        )
    capture = report.captures[0]
    check_connection(report, capture.file, connection)
    if exchange is not None:
        frames = exchange_frames(report, capture.file, connection, exchange)
        if frames is None:
            raise UsageError(f"--exchange {exchange}: connection {connection} has no exchange with this number (they start at 0)")
    return ShowRequest(None, capture.file, connection, exchange, frames, seconds_in(capture, span))


def _show(report: Report, asked: ShowRequest, form: options.TextOrJson, color: options.Color) -> None:
    from wiredoctor.report.terminal.show import as_json, look

    if form == options.TextOrJson.json:
        from wiredoctor.report.data.json import ascii_text

        sys.stdout.write(ascii_text(as_json(look(report, asked), report)) + "\n")
        return
    from wiredoctor.report.terminal.show_text import write

    shown = look(report, asked)  # errors must be reported before a pager starts
    paper = stdout_paper(color)
    with paged() as page, TextOutput(page, paper) as out:
        write(shown, TerminalWriter(out, paper), secrets=report.secrets)


def _follow(report: Report, asked: ShowRequest, side: FollowedSide, color: options.Color, *, raw: bool) -> None:
    from wiredoctor.cli.following import print_stream, write_raw

    if asked.connection is None:
        raise UsageError("--follow: the finding is not about a single connection; choose a connection with --connection")
    if raw:
        write_raw(report, asked, side.value)
    else:
        print_stream(report, asked, side.value, stdout_paper(color))

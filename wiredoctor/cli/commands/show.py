"""wiredoctor show: one finding or one connection, packet by packet."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from wiredoctor.cli.choosing import check_connection, chosen_finding
from wiredoctor.cli.config_file import configuration
from wiredoctor.cli.exit_codes import Exit, UsageError
from wiredoctor.cli.options import (
    Captures,
    Color,
    Colors,
    Configurations,
    Ignores,
    MaxSpool,
    Merge,
    Quiet,
    Secrets,
    Selects,
    Verbose,
    size,
    wanted,
)
from wiredoctor.cli.outputs import Text, stdout_paper
from wiredoctor.cli.rulebook import every_rule
from wiredoctor.cli.running import requested, run
from wiredoctor.text.redact import showing

if TYPE_CHECKING:
    from wiredoctor import Report
    from wiredoctor.report.filter import Wanted
    from wiredoctor.report.terminal.show import Asked


class ShowFormat(StrEnum):
    """What goes to standard output."""

    text = "text"
    json = "json"


class FollowedSide(StrEnum):
    """Whose bytes are followed."""

    client = "client"
    server = "server"
    both = "both"


def show(
    captures: Captures,
    finding: Annotated[
        int | None,
        typer.Option("--finding", metavar="N", min=1, help="The finding that analyze gives this number.", show_default=False),
    ] = None,
    connection: Annotated[
        int | None, typer.Option("--connection", metavar="ID", min=0, help="This tcp.stream.", show_default=False)
    ] = None,
    exchange: Annotated[
        int | None,
        typer.Option("--exchange", metavar="N", min=0, help="Of the connection, only this exchange.", show_default=False),
    ] = None,
    frames: Annotated[
        str | None, typer.Option("--frames", metavar="A-B", help="Of the connection, only these frames.", show_default=False)
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="From here on: seconds since the first packet, or RFC 3339."),
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Up to here.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All packets and all heads (20,000 and 1,000 at most).")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Instead: what both sides sent, reassembled and escaped. Nothing of it is masked.")
    ] = False,
    side: Annotated[FollowedSide, typer.Option("--side", help="Whose bytes --follow prints.")] = FollowedSide.both,
    raw: Annotated[
        bool, typer.Option("--raw", help="With --follow and one side: the bytes as they were sent, into a pipe or a file.")
    ] = False,
    format: Annotated[ShowFormat, typer.Option("--format", "-f", help="What to print.")] = ShowFormat.text,
    merge: Merge = False,
    max_spool: MaxSpool = None,
    select: Selects = None,
    ignore: Ignores = None,
    config: Configurations = None,
    show_secrets: Secrets = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    color: Colors = Color.auto,
) -> int:
    """Show a finding or a connection: its packets as a ladder, with the waits drawn to scale, and its decoded heads.

    Numbers of findings are those of analyze with the same rules and the same captures, whatever else it was asked to leave out.
    """
    _check(finding, connection, exchange, follow=follow, raw=raw, side=side, form=format)
    span, between = wanted(None, None, None, begin, end), _frames(frames)
    if finding is not None and (between or begin or end):
        raise UsageError("--frames, --from and --to go with --connection: a finding has its own frames")
    rules = every_rule()
    request = requested(
        rules,
        configuration(config, rules)._replace(entries=(), baseline=""),
        wanted(None, None, None, None, None),
        select,
        ignore,
    )
    report, complete = run(
        captures, request, merge=merge, keep=True, max_spool=size("--max-spool", max_spool), show_secrets=show_secrets,
        quiet=quiet, verbose=verbose,
    )  # fmt: skip
    if not report.captures:
        return Exit.BAD_INPUT
    asked = _asked(report, finding, connection, exchange, between, span)._replace(everything=everything)
    with showing(show_secrets):
        if follow:
            _follow(report, asked, side, color, raw=raw)
        else:
            _show(report, asked, format, color)
    return Exit.DONE if complete else Exit.BAD_INPUT


def _check(
    finding: int | None, connection: int | None, exchange: int | None, *, follow: bool, raw: bool, side: FollowedSide,
    form: ShowFormat,
) -> None:  # fmt: skip
    """Raises UsageError for what does not go together."""
    if finding is not None and connection is not None:
        raise UsageError("--finding and --connection: one of them at a time")
    if finding is None and connection is None:
        raise UsageError("say what to show, --finding N (analyze numbers them) or --connection ID (connections lists them)")
    if exchange is not None and connection is None:
        raise UsageError("--exchange goes with --connection")
    if not follow and (raw or side != FollowedSide.both):
        raise UsageError("--side and --raw go with --follow")
    if follow and form != ShowFormat.text:
        raise UsageError("--follow prints text, or with --raw bytes")
    if raw and side == FollowedSide.both:
        raise UsageError("--raw writes the bytes of one side: add --side client or --side server")
    if raw and sys.stdout.isatty():
        raise UsageError("--raw: bytes as they were sent could give orders to this terminal; write them to a file or a pipe")


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
        raise UsageError(f"--frames: {text} ends before it begins")
    return first, last


def _asked(
    report: Report,
    finding: int | None,
    connection: int | None,
    exchange: int | None,
    frames: tuple[int, int] | None,
    span: Wanted,
) -> Asked:
    """What is to be shown; raises UsageError for what does not exist."""
    from wiredoctor.report.filter import seconds_in
    from wiredoctor.report.terminal.show import Asked, exchange_frames

    if finding is not None:
        found = chosen_finding(report, finding)
        return Asked(found, found.capture, found.connection)
    assert connection is not None
    if len(report.captures) > 1:
        raise UsageError(
            f"--connection {connection}: each of the {len(report.captures)} captures has connections of its own; name one capture"
        )
    capture = report.captures[0]
    check_connection(report, capture.file, connection)
    if exchange is not None:
        frames = exchange_frames(report, capture.file, connection, exchange)
        if frames is None:
            raise UsageError(f"--exchange {exchange}: connection {connection} has no exchange of this number (they count from 0)")
    return Asked(None, capture.file, connection, exchange, frames, seconds_in(capture, span))


def _show(report: Report, asked: Asked, form: ShowFormat, color: Color) -> None:
    from wiredoctor.report.terminal.show import as_json, look

    shown = look(report, asked)
    if form == ShowFormat.json:
        import json

        sys.stdout.write(json.dumps(as_json(shown, report), ensure_ascii=True, allow_nan=False).replace("\x7f", "\\u007f") + "\n")
        return
    from wiredoctor.report.terminal.show_text import write
    from wiredoctor.report.terminal.terminal import Writer

    paper = stdout_paper(color)
    with Text(sys.stdout.buffer, paper) as out:
        write(shown, Writer(out, paper), secrets=report.secrets)


def _follow(report: Report, asked: Asked, side: FollowedSide, color: Color, *, raw: bool) -> None:
    from wiredoctor.cli.following import print_stream, write_raw

    if asked.connection is None:
        raise UsageError("--follow: the finding is about no connection; take one of its connections with --connection")
    if raw:
        write_raw(report, asked, side.value)
    else:
        print_stream(report, asked, side.value, stdout_paper(color))

"""Print the bytes that the client, the server or both sent on a connection (show --follow)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from wiredoctor import Report
from wiredoctor.cli.exit_codes import print_message
from wiredoctor.cli.pager import paged
from wiredoctor.report.terminal.terminal import Terminal, TextOutput
from wiredoctor.report.words import count
from wiredoctor.text.durations import SECOND

if TYPE_CHECKING:
    from wiredoctor.report.packets.follow import Window
    from wiredoctor.report.packets.streams import Hole, Run
    from wiredoctor.report.terminal.show import ShowRequest


def print_stream(report: Report, asked: ShowRequest, side: str, paper: Terminal) -> None:
    """Print what one or both sides sent, reassembled and escaped, line by line. `side`: client, server or both."""
    from wiredoctor.report.fields import paint
    from wiredoctor.report.packets.follow import UNMASKED, text

    ends, window = _ends(report, asked), _window(report, asked, side)
    with paged() as page, TextOutput(page, paper) as out:
        for line in (UNMASKED, *_about(report, asked)):
            out.write(paint(f"# {line}", "bold", color=paper.color) + "\n")
        for line, style in text(_events(report, asked, window), ends, window):
            out.write(paint(line, style, color=paper.color) + "\n")


def _about(report: Report, asked: ShowRequest) -> Iterator[str]:
    """Yield lines about a finding: which part of its connection is printed, and which options print other parts."""
    from wiredoctor.report.ladder.build import places_behind

    if asked.finding is None:
        return
    finding = f"finding {asked.finding.number}"
    if asked.exchange is None:
        yield f"{finding}: all of connection {asked.connection}, because the finding is not about a single exchange"
        return
    yield f"{finding}: exchange {asked.exchange} of connection {asked.connection} (all of it: --connection {asked.connection})"
    for connection, exchange in places_behind(report, asked.finding):
        if exchange is not None:
            yield f"the request that the gateway sent for this exchange: --connection {connection} --exchange {exchange}"


def write_raw(report: Report, asked: ShowRequest, side: str) -> None:
    """Write the bytes of one side unchanged to standard output.

    Report on standard error how many bytes were written, and how many are missing.
    """
    from wiredoctor.report.packets.follow import raw

    window = _window(report, asked, side)
    sys.stdout.flush()
    written, missing, late = raw(_events(report, asked, window), sys.stdout.buffer, window)
    sys.stdout.buffer.flush()
    left = [f"{count(missing, 'byte')} missing in the capture and left out"] if missing else []
    left += [f"{count(late, 'byte')} captured too late to be put in order, and left out"] if late else []
    of_finding = asked.finding is not None and asked.exchange is not None
    where = f" in exchange {asked.exchange} of connection {asked.connection}" if of_finding else ""
    print_message("; ".join([f"{count(written, 'byte')} of the {side}{where} as sent, without masking", *left]))


def _events(report: Report, asked: ShowRequest, window: Window) -> Iterator[Run | Hole]:
    from wiredoctor.report.packets.streams import follow

    assert asked.connection is not None
    return _until(follow(report.packets[asked.capture], asked.connection), window)


def _until(events: Iterable[Run | Hole], window: Window) -> Iterator[Run | Hole]:
    for event in events:
        if window.over(event):
            return
        yield event


def _ends(report: Report, asked: ShowRequest) -> dict[int, tuple[str, str]]:
    from wiredoctor.report.terminal.show import connection_row

    row = connection_row(report, asked)
    assert row is not None
    client = row["client_direction"]
    return {client: ("client", row["client"]), 1 - client: ("server", row["server"])}


def _window(report: Report, asked: ShowRequest, side: str) -> Window:
    from wiredoctor.report.packets.follow import Window

    direction = next((d for d, (name, _) in _ends(report, asked).items() if name == side), None)
    span = asked.span and (round(asked.span[0] * SECOND), round(asked.span[1] * SECOND))
    return Window(asked.frames, span, direction)

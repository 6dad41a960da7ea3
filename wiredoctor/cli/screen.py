"""Where a live capture is shown while it runs: on a terminal in place, elsewhere line by line, or as JSON lines."""

from __future__ import annotations

import os
import sys
import time
from array import array
from typing import TYPE_CHECKING, Protocol

from wiredoctor.cli.exit_codes import say
from wiredoctor.cli.outputs import stdout_paper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console
    from rich.live import Live

    from wiredoctor import Finding, Report
    from wiredoctor.cli.options import Color
    from wiredoctor.report.terminal.live_view import Standing

REFRESH = 1.0
"""Seconds after which a screen is drawn anew though nothing happened: its clock goes on."""


LONG, SELDOM = 5.0, 60.0
"""Seconds of lag that are said, and so long not again."""

REMEMBERED = 1_000_000
"""Findings that are not told again at the end, at 8 bytes each."""


class View(Protocol):
    """Is shown what comes."""

    def note(self, line: str) -> None:
        """Something that is said once."""
        ...

    def show(self, findings: Sequence[Finding], status: Standing) -> None:
        """What has become certain, and how it stands."""
        ...

    def close(self) -> None:
        """Makes room for the report."""
        ...


class Lines:
    """A line for each finding, as soon as it is certain."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._next_word = 0.0

    def _say_lag(self, status: Standing) -> None:
        """Now and then, how far the analysis is behind: nothing is lost by that, but nobody should wonder."""
        now = time.monotonic()
        if status.lag >= LONG and now >= self._next_word:
            from wiredoctor.report.terminal.live_view import behind

            self._next_word = now + SELDOM
            self.note(f"the analysis is {behind(status)}; no packets are lost by that")

    def note(self, line: str) -> None:
        """To standard error."""
        if not self._quiet:
            say(line)

    def show(self, findings: Sequence[Finding], status: Standing) -> None:
        """A line each."""
        from wiredoctor.report.terminal.live_view import plain

        self._say_lag(status)
        for finding in findings:
            sys.stdout.write(plain(finding) + "\n")
        if findings:
            sys.stdout.flush()

    def close(self) -> None:
        """Nothing is in the way of the report."""
        return


class JsonLines(Lines):
    """A JSON object for each finding, and at the end for those that only the end could tell, and for the summary."""

    def __init__(self, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self._told = array("q")  # of days, the newest: older findings are not in the report of the end either

    def show(self, findings: Sequence[Finding], status: Standing) -> None:
        """An object each."""
        from wiredoctor.report.data import json

        self._say_lag(status)
        for finding in findings:
            sys.stdout.buffer.write(json.line(finding))
            self._told.append(_sign(finding))
        if len(self._told) > 2 * REMEMBERED:
            del self._told[:REMEMBERED]
        if findings:
            sys.stdout.buffer.flush()

    def finish(self, report: Report) -> None:
        """The rest of the report."""
        from wiredoctor.report.data import json

        told = set(self._told)
        for finding in report.findings:
            if _sign(finding) not in told:
                sys.stdout.buffer.write(json.line(finding))
        sys.stdout.buffer.write(json.summary_line(report))
        sys.stdout.buffer.flush()


def _sign(finding: Finding) -> int:
    """By this a finding is known again; a cause that only the end can tell may have been added to it."""
    return hash((finding.place, finding.connection, finding.kind, finding.client, finding.server))


class Screen:
    """A part of the terminal that is drawn again and again."""

    def __init__(self, title: str, color: Color) -> None:
        from rich.console import Console
        from rich.live import Live

        from wiredoctor.report.terminal.live_view import Rates, Tally

        self._title, self._color = title, color
        self._tally, self._rates = Tally(), Rates()
        self._begun, self._drawn = time.monotonic(), 0.0
        paper = stdout_paper(color)
        self._console: Console = Console(
            color_system="standard" if paper.color else None, no_color=not paper.color, markup=False, highlight=False, emoji=False
        )
        self._live: Live = Live(console=self._console, auto_refresh=False, transient=True, vertical_overflow="crop")
        self._echo = _without_echo()
        self._live.start()

    def note(self, line: str) -> None:
        """Above what is drawn."""
        from rich.text import Text

        from wiredoctor.report.words import clean

        self._console.print(Text(clean(line)), soft_wrap=True)

    def show(self, findings: Sequence[Finding], status: Standing) -> None:
        """Draws what has changed; at least every second."""
        from rich.console import Group

        from wiredoctor.report.terminal.live_view import lines

        for finding in findings:
            self._tally.add(finding)
        now = time.monotonic()
        self._rates.look(now, status)
        if findings or now - self._drawn >= REFRESH:
            self._drawn = now
            size = self._console.size
            paper = stdout_paper(self._color)._replace(width=size.width)
            drawn = lines(self._title, now - self._begun, status, self._rates, self._tally, paper, size.height)
            self._live.update(Group(*drawn), refresh=True)

    def close(self) -> None:
        """Takes it away."""
        self._live.stop()
        if self._echo is not None:
            self._echo, echo = None, self._echo
            echo()


def _without_echo() -> Callable[[], None] | None:
    """Keys that are pressed, as Ctrl-C, are not written into what is drawn. Returns what undoes it; None where there is none."""
    if os.name != "posix":
        return None
    import termios

    try:
        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)
    except (OSError, ValueError, AttributeError, termios.error):  # no terminal
        return None
    silent = [*before]
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, silent)
    return lambda: termios.tcsetattr(terminal, termios.TCSANOW, before)

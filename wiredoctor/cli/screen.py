"""Show findings during a live capture: on a terminal as a screen that is redrawn, otherwise as lines or JSON Lines."""

from __future__ import annotations

import sys
import time
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from wiredoctor import Finding, Report
from wiredoctor.cli.exit_codes import print_message
from wiredoctor.cli.options import Color
from wiredoctor.cli.outputs import stdout_paper
from wiredoctor.report.words import clean
from wiredoctor.system import without_echo

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

    from wiredoctor.report.groups import ProblemKey
    from wiredoctor.report.terminal.live_view import LiveStatus

REFRESH = 1.0
"""Seconds after which the screen is redrawn even if nothing changed, because the screen shows the time."""


LONG, SELDOM = 5.0, 60.0
"""The minimum lag of the analysis (s) for a note to be printed, and the minimum time (s) between two of these notes."""

CAUGHT_UP = 2.5
"""The lag of the analysis (s) below which it has caught up. Capturing programs deliver packets up to this much late."""

LINE_INTERVAL = 5.0
"""The minimum number of seconds between two lines about one problem."""

REMEMBERED = 1_000_000
"""The minimum number of printed findings to remember, so they are not printed again at the end. Each takes 8 bytes."""


class View(Protocol):
    """A display that shows findings while a capture runs."""

    def note(self, line: str) -> None:
        """Show a line about the capture."""
        ...

    def show(self, findings: Sequence[Finding], status: LiveStatus) -> None:
        """Show the findings that have become final, and the state of the capture."""
        ...

    def close(self) -> None:
        """Clear the display, to make room for the report."""
        ...


class LagNotes:
    """Decides when to report the lag of the analysis: if it is long, then once a minute, and when the analysis has caught up."""

    def __init__(self) -> None:
        self._is_reported = False
        self._next = -SELDOM

    def is_due(self, status: LiveStatus) -> bool:
        """Return whether to report the lag in `status` now."""
        now, is_reported = time.monotonic(), self._is_reported
        if status.lag < CAUGHT_UP:
            self._is_reported = False
            return is_reported
        if now < self._next or not (is_reported or status.lag >= LONG):
            return False
        self._is_reported, self._next = True, now + SELDOM
        return True


class Lines:
    """Prints one line for each problem, as soon as its first finding is final.

    Further occurrences of the problem are counted in another line from time to time.
    """

    def __init__(self, *, quiet: bool) -> None:
        from wiredoctor.report.terminal.live_view import Tally

        self._quiet = quiet
        self._lag = LagNotes()
        self._begun = time.time_ns()
        self._tally = Tally()
        self._printed: dict[ProblemKey, float] = {}
        self._again: dict[ProblemKey, Finding] = {}

    def _report_lag(self, status: LiveStatus) -> None:
        """Print a note if the analysis lags far behind the capture, but at most one note per minute; or if it caught up."""
        if not self._lag.is_due(status):
            return
        from wiredoctor.report.terminal.live_view import lag_note

        self._print_lag(status)
        self.note(lag_note(status, is_behind=status.lag >= CAUGHT_UP))

    def _print_lag(self, status: LiveStatus) -> None:
        """Do nothing: the note is enough."""

    def note(self, line: str) -> None:
        """Print a line to standard error, unless the output is quiet."""
        if not self._quiet:
            print_message(line)

    def show(self, findings: Sequence[Finding], status: LiveStatus) -> None:
        """Print one line for each new problem.

        A problem that occurs again gets another line, but at most one every LINE_INTERVAL seconds.
        """
        from wiredoctor.report.capture_clocks import other_day
        from wiredoctor.report.groups import problem_key
        from wiredoctor.report.terminal.live_view import plain, recurrence

        self._report_lag(status)
        now = time.monotonic()
        lines: list[str] = []
        for finding in findings:
            key = problem_key(finding)
            if key in self._tally.groups:
                self._again[key] = finding
            else:
                lines.append(plain(finding, date=other_day(finding, self._begun)))
                self._printed[key] = now
            self._tally.add(finding)
        for key in [key for key in self._again if now - self._printed.get(key, 0.0) >= LINE_INTERVAL]:
            finding = self._again.pop(key)
            if (group := self._tally.groups.get(key)) is not None:
                lines.append(recurrence(finding, group, date=other_day(finding, self._begun)))
                self._printed[key] = now
        if len(self._printed) > len(self._tally.groups):
            self._printed = {key: at for key, at in self._printed.items() if key in self._tally.groups}
        if lines:
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()

    def close(self) -> None:
        """Do nothing; the lines stay."""
        return


class JsonLines(Lines):
    """Prints each finding as a JSON object when the finding becomes final, and at the end the other findings and the summary."""

    def __init__(self, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self._told = array("q")  # only the newest are kept: the final report of a long run lacks older findings, too

    def show(self, findings: Sequence[Finding], status: LiveStatus) -> None:
        """Print one JSON object per finding."""
        from wiredoctor.report.data import json

        self._report_lag(status)
        for finding in findings:
            sys.stdout.buffer.write(json.line(finding))
            self._told.append(_identity(finding))
        if len(self._told) > 2 * REMEMBERED:
            del self._told[:REMEMBERED]
        if findings:
            sys.stdout.buffer.flush()

    def _print_lag(self, status: LiveStatus) -> None:
        from wiredoctor.report.data import json

        sys.stdout.buffer.write(json.behind_line(status.lag if status.lag >= CAUGHT_UP else 0.0))
        sys.stdout.buffer.flush()

    def finish(self, report: Report) -> None:
        """Print the findings that have not been printed yet, and the summary."""
        from wiredoctor.report.data import json

        told = set(self._told)
        for finding in report.findings:
            if _identity(finding) not in told:
                sys.stdout.buffer.write(json.line(finding))
        sys.stdout.buffer.write(json.summary_line(report))
        sys.stdout.buffer.flush()


def _identity(finding: Finding) -> int:
    """Return a hash that identifies a finding. The hash excludes `caused_by`, which may change at the end."""
    return hash((finding.place, finding.connection, finding.kind, finding.client, finding.server))


class Screen:
    """A terminal screen that is redrawn repeatedly."""

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
        self._echo = without_echo()
        self._live.start()

    def note(self, line: str) -> None:
        """Print a note above the screen."""
        from rich.text import Text

        self._console.print(Text(clean(line)), soft_wrap=True)

    def show(self, findings: Sequence[Finding], status: LiveStatus) -> None:
        """Redraw the screen: at once if there are findings, otherwise once per REFRESH seconds."""
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
        """Remove the screen."""
        self._live.stop()
        if self._echo is not None:
            self._echo, echo = None, self._echo
            echo()

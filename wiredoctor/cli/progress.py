"""Show a progress bar on standard error after one second."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from wiredoctor.cli.exit_codes import print_message

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE = 1.0
"""Seconds before a progress bar appears."""


class Bar:
    """A progress bar. Call it with the fraction done. It appears after PATIENCE seconds, and only on a terminal."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._wanted = not quiet and sys.stderr.isatty()
        self._start = time.monotonic()
        self._shown: tuple[Progress, TaskID] | None = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._shown:
            self._shown[0].stop()

    @property
    def seconds(self) -> float:
        """The time in seconds since this object was created."""
        return time.monotonic() - self._start

    def __call__(self, fraction: float) -> None:
        if self._wanted and self._shown is None and self.seconds > PATIENCE:
            self._shown = _begin()
        if self._shown:
            progress, task = self._shown
            progress.update(task, completed=fraction)

    def print_line(self, line: str) -> None:
        """Print a message. A progress bar is removed first, and appears again below the message."""
        if self._shown:
            self._shown[0].stop()
            self._shown = None
        print_message(line)


def _begin() -> tuple[Progress, TaskID]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    progress.start()
    return progress, progress.add_task("reading", total=1.0)

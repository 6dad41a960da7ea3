"""What compare is given: captures, folders of them, or reports that were written as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wiredoctor.cli.exit_codes import UsageError
from wiredoctor.cli.running import Request, run

if TYPE_CHECKING:
    from wiredoctor import Report
    from wiredoctor.compare import Seen
    from wiredoctor.pipeline import Budget


class Asked(NamedTuple):
    """How captures are read."""

    request: Request
    jobs: int | None
    max_spool: Budget
    show_secrets: bool
    quiet: bool
    verbose: bool


def kept(name: str, asked: Asked) -> Report | None:
    """A capture that can be read again; None where it could not be read completely, which has been said."""
    if _is_report(name):
        raise UsageError(f"{name}: --both-sides compares packets, and needs the capture")
    from wiredoctor.pipeline import inputs

    # what cannot be read is told when it is read
    if (number := len(inputs([name], lambda _: None, merge=False))) > 1:
        raise UsageError(f"{name} holds {number} captures; --both-sides takes one for each point")
    report, complete = _analysed(name, asked, keep=True)
    return report if complete and report.captures else None


def seen(name: str, asked: Asked) -> Seen | None:
    """A side; None where a capture of it could not be read completely, which has been said."""
    from wiredoctor.compare import NoReport, of_json, of_report
    from wiredoctor.report.coverage import reach

    if _is_report(name):
        try:
            return of_json(name, partial(_lines, name))
        except NoReport as error:
            raise UsageError(f"{name}: {error}") from None
    report, complete = _analysed(name, asked)
    return of_report(report, name, reach(report).healthy) if complete else None


def _analysed(name: str, asked: Asked, *, keep: bool = False) -> tuple[Report, bool]:
    return run(
        [name], asked.request, jobs=asked.jobs, keep=keep, max_spool=asked.max_spool, show_secrets=asked.show_secrets,
        quiet=asked.quiet, verbose=asked.verbose,
    )  # fmt: skip


def _is_report(name: str) -> bool:
    """Whether a file begins as JSON does, and no capture."""
    path = Path(name)
    if name == "-" or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(64).lstrip().startswith(b"{")


def _lines(name: str) -> Iterator[bytes]:
    with open(name, "rb") as file:
        yield from file

"""Read the inputs of compare: captures, folders of captures, or JSON reports."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wiredoctor import Report
from wiredoctor.cli.exit_codes import UsageError
from wiredoctor.cli.running import Request, run

if TYPE_CHECKING:
    from wiredoctor.compare import ComparedSide
    from wiredoctor.pipeline import Budget


class CompareInput(NamedTuple):
    """The settings for reading captures to compare. `budget`: the disk space that temporary copies of all captures may use."""

    request: Request
    budget: Budget
    quiet: bool
    verbose: bool


def open_capture(name: str, asked: CompareInput) -> Report | None:
    """Analyze a capture and return the report, through which its packets can be read again.

    Return None, after printing an error message, if the capture could not be read completely. Raise UsageError if `name` is a
    JSON report, or a folder with several captures.
    """
    if _is_report(name):
        raise UsageError(f"{name}: --both-sides compares packets, so it needs a capture")
    from wiredoctor.pipeline import find_inputs

    # unreadable captures are reported when they are read
    if (number := len(find_inputs([name], lambda _: None, merge=False))) > 1:
        raise UsageError(f"{name} contains {number} captures; --both-sides takes one per point")
    report, complete = _analyze(name, asked, keep=True)
    return report if complete and report.captures else None


def read_side(name: str, asked: CompareInput) -> ComparedSide | None:
    """Return the data of one side of a before-after comparison, from a JSON report, a capture or a folder of captures.

    Return None, after printing an error message, if a capture could not be read completely. Raise UsageError for an invalid
    report.
    """
    from wiredoctor.compare import NoReport, from_json, from_report
    from wiredoctor.report.coverage import find_coverage

    if _is_report(name):
        try:
            return from_json(name, partial(_lines, name))
        except NoReport as error:
            raise UsageError(f"{name}: {error}") from None
    report, complete = _analyze(name, asked)
    return from_report(report, name, find_coverage(report).healthy) if complete else None


def _analyze(name: str, asked: CompareInput, *, keep: bool = False) -> tuple[Report, bool]:
    request = asked.request._replace(settings=asked.request.settings._replace(keep=keep))
    return run([name], request, budget=asked.budget, quiet=asked.quiet, verbose=asked.verbose)


def _is_report(name: str) -> bool:
    """Return whether a file begins with a JSON object, as reports do."""
    path = Path(name)
    if name == "-" or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(64).removeprefix(BOM_UTF8).lstrip().startswith(b"{")


def _lines(name: str) -> Iterator[bytes]:
    with open(name, "rb") as file:
        file.seek(len(BOM_UTF8) if file.read(len(BOM_UTF8)) == BOM_UTF8 else 0)
        yield from file

"""Skip tests for which this machine lacks a program, a library or a Python package, and count them at the end of a run."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import pytest

from wiredoctor.interfaces import load_libpcap

_REASON = "not installed: "
_PACKAGE = "package "


def needs(*names: str) -> pytest.MarkDecorator:
    """Return a mark that skips a test unless all of these are installed.

    A name is that of a program, `libpcap`, or `package NAME` for a Python package.
    """
    missing = _missing(names)
    return pytest.mark.skipif(bool(missing), reason=_REASON + ", ".join(missing))


def skip_without(*names: str) -> None:
    """Skip the current test, or the module that is being imported, unless all of these are installed (see `needs`)."""
    if missing := _missing(names):
        pytest.skip(_REASON + ", ".join(missing), allow_module_level=True)


def _missing(names: Iterable[str]) -> list[str]:
    return [name for name in names if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    if name.startswith(_PACKAGE):
        return find_spec(name.removeprefix(_PACKAGE)) is not None
    return load_libpcap() is not None if name == "libpcap" else shutil.which(name) is not None


def add_option(parser: pytest.Parser) -> None:
    """Add the option with which a later run can repeat the tests that this run skips."""
    parser.addoption(
        "--list-skipped", metavar="FILE", help="write the tests that were skipped because something is not installed to FILE"
    )


def summarize(reporter: pytest.TerminalReporter, file: str | None) -> None:
    """Print what was missing and how many tests were skipped for it; write the names of these tests to `file`."""
    skipped: dict[str, list[str]] = {}
    for report in reporter.stats.get("skipped", ()):
        text = str(report.longrepr[2]).removeprefix("Skipped: ")
        if text.startswith(_REASON):
            skipped[report.nodeid] = text.removeprefix(_REASON).split(", ")
    if skipped:
        counts = Counter(name for missing in skipped.values() for name in missing).most_common()
        costs = ", ".join(f"{name} ({count})" for name, count in counts)
        modules = sum("::" not in test for test in skipped)
        what = [f"{n} {word}{'s' * (n != 1)}" for n, word in ((len(skipped) - modules, "test"), (modules, "module")) if n]
        reporter.write_line(f"Skipped {' and '.join(what)}, because these are not installed here: {costs}")
    if file is not None:
        Path(file).write_text("".join(f"{name}\n" for name in skipped))

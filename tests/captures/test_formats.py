"""Every form of a report, written from every capture and opened by another program: findings, counts and delays are the same.

Reports are of a batch of captures each, which hold all captures, and of some captures alone. Annotated copies are of one capture
each. Only the nightly run writes captures that show no kind of finding that others do not show.
"""

from __future__ import annotations

import dataclasses
import io
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import wiredoctor
from tests.captures.papers import BATCHES, EACH_KIND, EACH_RULE, NIGHTLY_BATCHES, ONE_EACH, PATHS, QUICK_BATCHES, is_nightly
from tests.captures.reports import report_of, together
from tests.report.agreeing import check_for_programs, whole_json
from tests.report.annotated import check_annotated
from tests.report.commented import check_markdown
from tests.report.counted import check_counts
from tests.report.drawn import check_drawn
from tests.report.pages import check_page, page_of
from tests.report.tabled import check_tables
from tests.support.needs import needs
from tests.support.sweeps import FORMS, WHOLE, sweep
from wiredoctor.report.html import graphs, proof_pictures
from wiredoctor.report.row_choice import Grouping
from wiredoctor.report.server_statistics import server_statistics
from wiredoctor.report.terminal import connections, exchanges, servers, show_text, text
from wiredoctor.report.terminal.show import ShowRequest, look
from wiredoctor.report.terminal.terminal import Terminal, TerminalWriter

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from wiredoctor.findings import Report

COPIED = re.compile(rf" *(Wireshark: |https?://|(Next: )?wiredoctor |{re.escape(str(PATHS[0].parents[1]))})")
"""Lines that may be wider than a terminal: a filter, an address, a command, a file."""

ALONE = sorted({*ONE_EACH[::3], *EACH_KIND})
"""For what is also checked of all captures in their batches."""
PAINTED = re.compile(r"\x1b\[[0-9;]*m|\x1b]8;[^\x1b]*\x1b\\\\")
"""Colours and hyperlinks."""

WIDTHS = (80, 120, 80, 200)
"""Columns of the terminals on which captures are shown in turn: most overflows are seen on narrow ones."""

EACH_BATCH = pytest.mark.parametrize(
    "batch", sweep(range(len(BATCHES)), QUICK_BATCHES.__contains__, NIGHTLY_BATCHES.__contains__)
)


@lru_cache(maxsize=1)
def _told(batch: int) -> tuple[Report, dict[str, Any]]:
    """The report of a batch, and its whole JSON."""
    report = together([report_of(path) for path in BATCHES[batch]])
    return report, whole_json(report)


@lru_cache(maxsize=1)
def _written(path: Path) -> tuple[dict[str, Any], str]:
    """The whole JSON and the page of a capture: its tests run one after the other (conftest.py)."""
    return whole_json(report_of(path)), page_of(report_of(path))


def test_all_captures_are_in_batches() -> None:
    assert sorted(path for batch in BATCHES for path in batch) == sorted(PATHS)


@pytest.mark.slow
def test_reports_put_together_are_one_of_several_captures() -> None:
    """Else what follows would be about other reports than those that people get."""
    paths = sorted(EACH_RULE, key=lambda path: path.stat().st_size)[:4]
    at_once = wiredoctor.analyze(*map(str, paths), show_secrets=True)
    assert len(at_once.findings) > 2
    assert whole_json(together([report_of(path) for path in paths])) == whole_json(at_once)


@FORMS
@WHOLE
@pytest.mark.parametrize("path", sweep(ALONE, EACH_RULE[::6].__contains__, is_nightly), ids=lambda path: path.stem)
def test_formats_of_one_capture(path: Path) -> None:
    parsed, page = _written(path)
    check_for_programs(report_of(path), parsed, bodies=True)
    check_page(page, parsed)


@FORMS
@WHOLE
@pytest.mark.parametrize("path", sweep(ALONE, EACH_RULE[1::4].__contains__, is_nightly), ids=lambda path: path.stem)
def test_first_lines_are_the_same_in_all_formats(path: Path) -> None:
    check_counts(report_of(path), *_written(path))


@EACH_BATCH
def test_formats_for_other_programs(batch: int) -> None:
    report, parsed = _told(batch)
    assert len(parsed["captures"]) == len(BATCHES[batch])
    check_for_programs(report, parsed, bodies=True)


@EACH_BATCH
def test_markdown(batch: int) -> None:
    for path in BATCHES[batch]:
        if path in ONE_EACH:
            check_markdown(report_of(path))


@WHOLE
@EACH_BATCH
def test_tables(batch: int, tmp_path: Path) -> None:
    check_tables(*_told(batch), tmp_path / "tables")


@EACH_BATCH
def test_pages_in_chromium(batch: int, tmp_path: Path, chromium: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many graphs and pictures as the pages of each capture would have, so that what is drawn is drawn of all."""
    report, parsed = _told(batch)
    for module, name in ((graphs, "MAX_GRAPHS"), (proof_pictures, "MAX_PICTURES"), (proof_pictures, "MAX_SECTIONS")):
        monkeypatch.setattr(module, name, getattr(module, name) * len(BATCHES[batch]))
    page = tmp_path / "page.html"
    page.write_text(page_of(report), "utf-8")
    check_page(page.read_text("utf-8"), parsed)
    check_drawn(chromium, page, parsed)


@EACH_BATCH
@needs("tshark")
def test_annotated_copies_in_tshark(batch: int, tmp_path: Path) -> None:
    check_annotated([report_of(path) for path in BATCHES[batch]], tmp_path / "copies.pcapng")


@FORMS
@pytest.mark.parametrize("path", sweep(ONE_EACH, EACH_RULE[2::4].__contains__, is_nightly), ids=lambda path: path.stem)
def test_text_keeps_to_the_width(path: Path) -> None:
    """Colour and encoding change no width; only what is copied (filters, addresses, commands) may be wider.

    Of the 18 combinations each capture tries two, one with everything, and the next captures others.
    """
    report = report_of(path)
    first, width = ONE_EACH.index(path), WIDTHS[ONE_EACH.index(path) % len(WIDTHS)]
    papers = (Terminal(width), Terminal(width, color=True), Terminal(width, unicode=True))
    for everything in (False, True):
        out = io.StringIO()
        text.write(report, out, papers[(first // len(WIDTHS) + everything) % 3], everything=everything)
        lines = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()
        wide = [line for line in lines if len(line) > width and not COPIED.match(line)]
        assert wide == []


@FORMS
@pytest.mark.parametrize("path", sweep(ONE_EACH, EACH_RULE[3::24].__contains__, is_nightly), ids=lambda path: path.stem)
def test_lists_and_ladders_keep_to_the_width(path: Path) -> None:
    """Of exchanges, connections, servers and findings, with secrets and without, which are longer.

    Each capture is shown at one width, on one of two papers, and with half of the groups of servers; the next ones are shown at
    other widths, on the other paper, with the other half.
    """
    report = report_of(path)
    masked = dataclasses.replace(report, secrets=False, scan_exchanges=_masked(report.scan_exchanges))
    shown = [look(report, ShowRequest(f, f.capture, f.connection)) for f in report.findings[:2]]
    turn, place = divmod(ONE_EACH.index(path), len(WIDTHS))
    width = WIDTHS[place]
    paper = Terminal(width) if turn % 2 else Terminal(width, color=True, unicode=True, links=True)
    out = io.StringIO()
    exchanges.write(masked if turn // 2 % 2 else report, out, paper, relative=bool(turn // 4 % 2))
    connections.write(masked if turn // 4 % 2 else report, out, paper)
    for by in [*Grouping][turn // 2 % 2 :: 2]:
        servers.write(masked, server_statistics(masked, by), out, paper, by=by)
    for one_look in shown:
        show_text.write(one_look, TerminalWriter(out, paper), secrets=True)
    lines = PAINTED.sub("", out.getvalue()).splitlines()
    wide = [line for line in lines if len(line) > width and not COPIED.match(line)]
    assert wide == []


def _masked(scan: Any) -> Any:
    return scan and scan._replace(secrets=False)


@pytest.mark.slow
def test_the_text_of_hundreds_of_recordings_at_once_fits_a_screen_or_two() -> None:
    # each capture with a count of dropped packets has a line of its own above all others
    reports = [one for one in map(report_of, sorted({*ONE_EACH[::3], *EACH_RULE})) if not one.captures[0].dropped]
    report = dataclasses.replace(together(reports), secrets=False)
    out = io.StringIO()
    text.write(report, out, Terminal(80, unicode=True))
    lines = out.getvalue().splitlines()
    assert len(lines) <= 60
    # every rule that found something is named before the first problem is told in full
    overview = " ".join(out.getvalue().partition("\n\nERROR ")[0].split())
    assert [rule for rule in {f.rule for f in report.findings} if not re.search(rf"\b{rule}\b", overview)] == []

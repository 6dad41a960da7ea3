"""Every form of a report, written from every capture and opened by another program: findings, counts and delays are the same.

Reports are of a batch of captures each, and of a capture alone for every kind of finding (of all with WIREDOCTOR_SWEEPS=full).
Annotated copies are of one capture each.
"""

from __future__ import annotations

import shutil
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import wiredoctor
from tests.captures.papers import BATCHES, EACH_KIND, PATHS
from tests.captures.reports import report_of, together
from tests.report.agreeing import check_for_programs, check_formats, whole_json
from tests.report.annotated import check_annotated
from tests.report.commented import check_markdown
from tests.report.drawn import check_drawn
from tests.report.pages import check_page
from tests.report.tabled import check_tables
from tests.sweeps import some
from wiredoctor.report.html import graphs, proof_pictures

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from wiredoctor.findings import Report

EACH_BATCH = pytest.mark.parametrize("batch", range(len(BATCHES)))
ALONE = [*some(EACH_KIND, PATHS)]


@lru_cache(maxsize=1)
def _told(batch: int) -> tuple[Report, dict[str, Any]]:
    """The report of a batch, and its whole JSON."""
    report = together([report_of(path) for path in BATCHES[batch]])
    return report, whole_json(report)


def test_all_captures_are_in_batches() -> None:
    assert sorted(path for batch in BATCHES for path in batch) == PATHS


def test_reports_put_together_are_one_of_several_captures() -> None:
    """Else what follows would be about other reports than those that people get."""
    paths = sorted(ALONE, key=lambda path: path.stat().st_size)[:4]
    at_once = wiredoctor.analyze(*map(str, paths), show_secrets=True)
    assert len(at_once.findings) > 2
    assert whole_json(together([report_of(path) for path in paths])) == whole_json(at_once)


@pytest.mark.parametrize("path", ALONE, ids=lambda path: path.stem)
def test_formats_of_one_capture(path: Path) -> None:
    check_formats(report_of(path), whole_json(report_of(path)), bodies=True)


@EACH_BATCH
def test_formats_for_other_programs(batch: int) -> None:
    report, parsed = _told(batch)
    assert len(parsed["captures"]) == len(BATCHES[batch])
    check_for_programs(report, parsed, bodies=True)


@EACH_BATCH
def test_markdown(batch: int) -> None:
    for path in BATCHES[batch]:
        check_markdown(report_of(path))


@EACH_BATCH
def test_tables(batch: int, tmp_path: Path) -> None:
    check_tables(*_told(batch), tmp_path / "tables")


@EACH_BATCH
def test_pages_in_chromium(batch: int, tmp_path: Path, chromium: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many graphs and pictures as the pages of each capture would have, so that what is drawn is drawn of all."""
    report, parsed = _told(batch)
    for module, name in ((graphs, "MOST_GRAPHS"), (proof_pictures, "MOST_PICTURES"), (proof_pictures, "MOST_SECTIONS")):
        monkeypatch.setattr(module, name, getattr(module, name) * len(BATCHES[batch]))
    page = tmp_path / "page.html"
    page.write_text(check_page(report, parsed), "utf-8")
    check_drawn(chromium, page, parsed)


@EACH_BATCH
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_annotated_copies_in_tshark(batch: int, tmp_path: Path) -> None:
    check_annotated([report_of(path) for path in BATCHES[batch]], tmp_path / "copies.pcapng")

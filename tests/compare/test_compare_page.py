"""The page of a comparison: before and after side by side, in a browser, and on a narrow screen."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from tests.compare.test_before_after import one, seen
from tests.compare.test_hostile_names import BEFORE_AFTER
from tests.report.chromium import browser, opened
from tests.report.pages import Page
from tests.report.test_html import check_policy, check_requests
from tests.support.recordings import find_recording
from tests.support.sweeps import SLOW, sweep
from wiredoctor.cli.app import application
from wiredoctor.compare import compare
from wiredoctor.compare.before_after.result import Changes
from wiredoctor.report.html import compare_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def page_of(changes: Changes) -> str:
    out = io.BytesIO()
    compare_page.write(changes, out)
    return out.getvalue().decode()


def changes() -> Changes:
    """slow-response in 9 of 40 exchanges before, and in none of 40 after; idle-close in 20 after; 10 ms became 30 ms."""
    before = seen([one() for _ in range(9)], [10, 11, 9, 10] * 10)
    after = seen([one("idle-close") for _ in range(20)], [30, 31, 29, 30] * 10)
    return compare(before, after, "0")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compared") / "compare.html"
    path.write_text(page_of(changes()), "utf-8")
    return path


def test_it_says_what_was_fixed_what_is_new_and_what_got_slower() -> None:
    said = Page(page_of(changes())).text
    assert "1 new problem, 1 fixed; 1 endpoint slower." in said
    assert "9 in 40 exchanges" in said
    assert "20 in 40 exchanges" in said
    # the medians of what was put in, and their difference
    assert "from 10 ms to 30 ms" in said
    assert "+20 ms" in said


def test_bars_compare_rates_not_numbers() -> None:
    """10 in 10 exchanges, then 20 in 40: half as often, although there are more."""
    told = compare(seen([one() for _ in range(10)], 10), seen([one() for _ in range(20)], 40), "0")
    widths = [
        a.get("width")
        for tag, a in Page(page_of(told)).elements
        if tag == "rect" and a.get("class") in ("before", "after faster")
    ]
    assert widths[:2] == ["100.00", "50.00"]


def test_it_is_closed_to_the_network_and_to_scripts_of_others() -> None:
    for text in (page_of(changes()), page_of(BEFORE_AFTER)):
        check_requests(Page(text))
        check_policy(Page(text))


def test_names_are_text() -> None:
    name = "<img src=x onerror=alert(1)>\u202e"
    hostile = replace(BEFORE_AFTER, notes=[name], before=replace(BEFORE_AFTER.before, name=name, first_time=name))
    read = Page(page_of(hostile))
    assert "img" not in {tag for tag, _ in read.elements}
    assert "\u202e" not in page_of(hostile)


SHOWN = "[...document.querySelectorAll('article.finding')].filter((one) => one.checkVisibility()).map((one) => one.dataset.rule)"
ROWS = "[...document.querySelectorAll('.endpoints tbody tr')].filter((one) => one.checkVisibility()).length"


@pytest.mark.slow
def test_changes_are_filtered_and_the_address_says_so(chromium: Browser, page: Path) -> None:
    with opened(chromium, page) as tab:
        assert tab.eval(SHOWN) == ["idle-close", "slow-response"]
        tab.tab.select_option("select[aria-label=Change]", "Fixed")
        assert tab.eval(SHOWN) == ["slow-response"]
        # the heading of the others goes with them
        headings = (
            "[...document.querySelectorAll('.changes > h2')].filter((one) => one.checkVisibility()).map((one) => one.textContent)"
        )
        assert tab.eval(headings) == ["Fixed"]
        address = tab.tab.url
        tab.tab.goto("about:blank")
        tab.tab.goto(address)
        tab.tab.wait_for_selector("html[data-ready]")
        assert tab.eval(SHOWN) == ["slow-response"]
        assert tab.complaints == []
        assert len(tab.requests) == 2


@SLOW
def test_endpoints_are_filtered(chromium: Browser, tmp_path: Path) -> None:
    """One of two endpoints got slower."""
    both = [seen([], [10, 11, 9, 10] * 10), seen([], [30, 31, 29, 30] * 10)]
    for side in both:
        other = seen([], [10, 11, 9, 10] * 10, target="/other").exchanges
        assert side.exchanges is not None
        assert other is not None
        side.exchanges = side.exchanges.vstack(other)
    path = tmp_path / "two.html"
    path.write_text(page_of(compare(*both, "0")), "utf-8")
    with opened(chromium, path) as tab:
        assert tab.eval(ROWS) == 2
        tab.tab.check("#endpoints-filter input[type=checkbox]")
        assert tab.eval(ROWS) == 1
        assert "slower" in tab.eval("document.querySelector('.endpoints tbody tr:not([hidden])').textContent")
        tab.tab.uncheck("#endpoints-filter input[type=checkbox]")
        tab.tab.fill("#endpoints-filter input[type=search]", "/other")
        assert tab.eval(ROWS) == 1


@SLOW
@pytest.mark.parametrize("theme", sweep(["light", "dark"], "light".__eq__))
def test_on_a_narrow_screen_nothing_sticks_out(chromium: Browser, page: Path, theme: str) -> None:
    with opened(chromium, page, viewport={"width": 400, "height": 800}, color_scheme=theme) as tab:
        assert tab.eval("document.documentElement.scrollWidth") == 400
        # the table is wider, and scrolls in its frame
        assert tab.eval("document.querySelector('#endpoints .table-scroll').scrollWidth") > 400


@SLOW
def test_the_command_writes_it(tmp_path: Path) -> None:
    """Of before and after, and of two points."""
    for words in (
        (find_recording("client-body-pieces.pcap"), find_recording("client-two-sends-nodelay.pcap"), "--any-server"),
        (*(find_recording(f"lost-response-{point}.pcap") for point in ("client", "server")), "--both-sides"),
    ):
        path = tmp_path / "compare.html"
        result = CliRunner().invoke(application(["compare"]), ["compare", *map(str, words), "-o", str(path)])
        assert result.exit_code == 0
        read = Page(path.read_text("utf-8"))
        check_requests(read)
        assert ("1 problem fixed" if "--any-server" in words else "1 packet was lost between the points") in read.text

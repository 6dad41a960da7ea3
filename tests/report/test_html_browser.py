"""The HTML report in Chromium: it works, by keyboard too, can be read, and lets nobody in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

import wiredoctor
from tests.report.chromium import browser, opened
from tests.report.examples import MS, capture, connection, exchange, finding, report
from tests.report.pages import page_of
from tests.report.test_hostile_names import ORDERS, encodable
from tests.support.recordings import find_recording
from tests.support.sweeps import SLOW, sweep
from wiredoctor.findings import Evidence, Reference, Report, printable, shorten
from wiredoctor.report.groups import group_findings
from wiredoctor.text.durations import duration_text

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MANY = 100_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as one:
        yield one


@pytest.fixture(scope="module")
def blank(chromium: Browser) -> Page:
    """A tab for scripts that need no page."""
    return chromium.new_page()


@pytest.fixture(scope="module")
def real() -> Report:
    names = ("lazy-server-snapped-client.pcap", "chunked-stream.pcap", "server-head-body-split.pcap")
    return wiredoctor.analyze(*(str(find_recording(name)) for name in names), keep=True)


@pytest.fixture(scope="module")
def truncated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _written(tmp_path_factory, wiredoctor.analyze(str(find_recording("truncated-chunks.pcap")), keep=True))


@pytest.fixture(scope="module")
def page(real: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _written(tmp_path_factory, real)


def _written(folders: pytest.TempPathFactory, one: Report) -> Path:
    path = folders.mktemp("page") / "r\u00e9port #1 %20.html"
    path.write_text(page_of(one), "utf-8")
    return path


CELLS = """(title) => {
  const heads = [...document.querySelectorAll('#exchanges-table thead th')];
  const at = heads.findIndex((head) => (head.textContent || head.getAttribute('aria-label')) === title);
  return [...document.querySelectorAll('#exchanges-table tbody tr[aria-rowindex]')].map((row) => row.cells[at].textContent);
}"""


def test_it_opens_without_a_word_and_asks_for_nothing(chromium: Browser, page: Path) -> None:
    with opened(chromium, page) as one:
        # as far down as it goes, so that all is drawn
        one.eval("document.querySelector('#sequence').scrollIntoView()")
        one.tab.wait_for_selector("#sequence-graph canvas[tabindex]")
        assert one.complaints == []
        assert [url for url in one.requests if not url.startswith(("file:", "data:"))] == []
        assert len([url for url in one.requests if url.startswith("file:")]) == 1
        inked = """(canvas) => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((one) => one)"""
        for canvas in one.tab.query_selector_all("#exchanges-table canvas, #connections-table canvas, #sequence-graph canvas"):
            assert canvas.evaluate(inked)
        unnamed = """() => [...document.querySelectorAll('button, input, select, canvas[tabindex], [role=region], nav, figure')]
          .filter((e) => !e.hidden && !(e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label')))
          .map((e) => e.outerHTML)"""
        assert one.eval(unnamed) == []
        levels = one.eval("[...document.querySelectorAll('h1, h2, h3')].map((e) => Number(e.tagName[1]))")
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))


@SLOW
def test_it_says_the_same_times_as_the_other_reports(chromium: Browser, page: Path, real: Report) -> None:
    begin, end = ([f"{side}_{name}" for side in ("request", "response")] for name in ("start", "end"))
    lasts = (pl.max_horizontal(end) - pl.min_horizontal(begin)).alias("lasts")
    rows = real.exchanges.select(pl.min_horizontal(begin).alias("start"), lasts, "response_status").sort("start").rows()
    with opened(chromium, page) as one:
        shown = rows[: len(one.eval(CELLS, "Time"))]
        assert len(shown) > 10
        assert one.eval(CELLS, "Time") == [duration_text(row[1]) for row in shown]
        assert one.eval(CELLS, "Status") == [str(row[2]) for row in shown]
        assert one.eval(CELLS, "Start") == [f"{row[0] / 1e9:.6f}" for row in shown]


def test_by_keyboard(chromium: Browser, page: Path, real: Report) -> None:
    times = real.exchanges.select(pl.col("response_end") - pl.col("request_start")).to_series().to_list()
    with opened(chromium, page) as one:
        press = one.tab.keyboard.press
        press("Tab")
        assert one.eval("document.activeElement.className") == "skip"
        assert one.eval("document.activeElement.getBoundingClientRect().left >= 0")
        press("Enter")
        assert one.eval("location.hash") == "#diagnosis"
        # headings sort
        head = "[...document.querySelectorAll('#exchanges-table th')].find((e) => e.textContent === 'Time')"
        one.eval(f"{head}.firstChild.focus()")
        press("Enter")
        assert one.eval(f"{head}.getAttribute('aria-sort')") == "descending"
        assert one.eval(CELLS, "Time")[0] == duration_text(max(times))
        press("Enter")
        assert one.eval(f"{head}.getAttribute('aria-sort')") == "ascending"
        assert one.eval(CELLS, "Time")[0] == duration_text(min(times))
        # rows are gone through with arrows, one of them is in the order of tabs, and Enter tells about it
        rows = "document.querySelectorAll('#exchanges-table tbody tr[tabindex=\"0\"]')"
        assert one.eval(f"{rows}.length") == 1
        one.eval(f"{rows}[0].focus()")
        assert one.eval("getComputedStyle(document.activeElement.cells[0]).boxShadow") != "none"
        for key, row in (
            ("ArrowDown", 3),
            ("End", len(times) + 1),
            ("Home", 2),
            ("PageDown", len(times) + 1),
            ("ArrowUp", None),
        ):
            press(key)
            at = int(one.eval("document.activeElement.getAttribute('aria-rowindex')"))
            assert at == (row or len(times))
        assert one.eval("!document.querySelector('.tip').hidden")
        press("Escape")
        assert one.eval("document.querySelector('.tip').hidden")
        press("Enter")
        assert one.eval("document.activeElement.getAttribute('aria-selected')") == "true"
        assert "frames" in one.eval("document.querySelector('#exchanges-table .details').textContent")
        # a row that has the focus keeps it while the time is looked at more closely
        at = "document.activeElement.cells[0].textContent"
        before = one.eval(at)
        for key in ("+", "ArrowRight", "0"):
            press(key)
        assert one.eval(at) == before
        # the strip: closer, so that less is in sight, and back
        one.eval("document.querySelector('.overview').focus()")
        said = "document.querySelector('#exchanges-table .said').textContent"
        assert one.eval(said) == f"{len(times)} exchanges"
        for _ in range(4):
            press("+")
        assert re.match(r"\d+ of \d+ exchanges in [-\d.]+ to [-\d.]+ s", one.eval(said))
        press("0")
        assert one.eval(said) == f"{len(times)} exchanges"
        # a finding leads to its graph
        one.eval("document.querySelector('a[data-graph]').focus()")
        press("Enter")
        one.tab.wait_for_selector("#sequence-graph canvas[tabindex]")
        before = one.eval("document.querySelector('#sequence-graph .said').textContent")
        one.eval("document.querySelector('#sequence-graph canvas[tabindex]').focus()")
        press("+")
        one.wait_for("(before) => document.querySelector('#sequence-graph .said').textContent !== before", before)
        assert one.complaints == []


CONTRAST = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest('script, title, desc, noscript')) continue;
    const style = getComputedStyle(element);
    const drawn = element.namespaceURI.endsWith('svg');
    let back = behind(element);
    if (drawn && /until|waited/.test(element.textContent) && element.classList.contains('lost')) {
      const shade = [...element.parentElement.querySelectorAll('.shade')].find((one) => {
        const [a, b] = [one.getBoundingClientRect(), element.getBoundingClientRect()];
        return a.top <= b.top && a.bottom >= b.bottom && a.left <= b.left && a.right >= b.right;
      });
      if (shade) back = parse(getComputedStyle(shade).fill);
    }
    const [a, b] = [light(parse(drawn ? style.fill : style.color)), light(back)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    seen++;
    if (ratio < (large ? 3 : 4.5)) bad.push([element.textContent.slice(0, 40), ratio]);
  }
  return [seen, bad];
}"""
"""WCAG 2.2, success criterion 1.4.3: 4.5 to 1, and 3 to 1 for large text."""

DRAWN = """(names) => {
  const canvas = document.createElement('canvas').getContext('2d');
  const style = getComputedStyle(document.documentElement);
  const light = (name) => {
    canvas.fillStyle = style.getPropertyValue('--' + name);
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)
      .map((v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
      .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  };
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  return Object.fromEntries(names.map((name) => [name, ratio(light(name), light('paper'))]));
}"""
LINES = [
    *("connect", "request", "server", "response", "stall", "ack", "window", "sack", "resent", "late"),
    *("ladder-line", "ladder-wait", "focus", "rule-strong"),
]
"""WCAG 2.2, success criterion 1.4.11: what is drawn, 3 to 1."""


@pytest.mark.parametrize("theme", sweep(["light", "dark"], {"light"}.__contains__))
def test_contrast(chromium: Browser, page: Path, theme: str) -> None:
    other = "dark" if theme == "light" else "light"
    # by the system, and by the switch against it
    for scheme, choice in ((theme, None), (other, theme)):
        with opened(chromium, page, color_scheme=scheme) as one:
            if choice:
                one.tab.click(f"[data-theme-choice={choice}]")
            one.eval("document.querySelectorAll('details').forEach((one) => (one.open = true))")
            seen, bad = one.eval(CONTRAST)
            assert seen > 200
            assert bad == []
            assert one.eval("getComputedStyle(document.documentElement).colorScheme") == theme
            assert {name: ratio for name, ratio in one.eval(DRAWN, LINES).items() if ratio < 3} == {}


OPEN = "[...document.querySelectorAll('article.finding')].filter((one) => one.querySelector('.card').open).map((one) => one.id)"
SHOWN = "[...document.querySelectorAll('article.finding')].filter((one) => one.checkVisibility()).map((one) => one.id)"


@SLOW
def test_cards_open_and_the_address_says_which(chromium: Browser, page: Path, real: Report) -> None:
    other = f"finding-{len(group_findings(real.findings))}"
    with opened(chromium, page) as one:
        assert one.eval(OPEN) == ["finding-1"]
        # the picture of the worst finding begins on the first screen
        box = one.tab.locator("svg.ladder").first.bounding_box()
        assert box is not None
        assert box["y"] + 120 < 900
        one.tab.click(f"#{other} .card > summary")
        assert one.eval(OPEN) == ["finding-1", other]
        address = one.tab.url
        assert address.endswith(f"#{other}")
        one.tab.click(f"#{other} .card > summary")
        assert one.eval(OPEN) == ["finding-1"]
        one.tab.goto("about:blank")
        one.tab.goto(address)
        one.tab.wait_for_selector("html[data-ready]")
        assert other in one.eval(OPEN)
        assert one.eval(f"document.getElementById('{other}').getBoundingClientRect().top < innerHeight")
        assert one.complaints == []


ROWS = """[...document.querySelectorAll('.problems tbody tr')].filter((one) => one.checkVisibility())
  .map((one) => one.dataset.finding)"""


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """21 servers with stalls, the first of which began last and cost most, and two notes."""
    stalls = [
        finding(server=f"10.0.1.{n}:80", delay=30.0 - n, elapsed=60.0 - n, time=f"2026-01-31T23:30:{59 - n}.000000000Z")
        for n in range(1, 22)
    ]
    note = {"kind": None, "rule": "idle-close", "severity": "note", "title": "An idle connection was closed"}
    notes = [finding(server=f"10.0.2.{n}:80", **note) for n in (1, 2)]
    return _written(tmp_path_factory, report(stalls + notes, [connection(3)], [exchange(3, 2)]))


@SLOW
def test_a_row_of_the_table_of_problems_leads_to_its_card(chromium: Browser, crowded: Path) -> None:
    with opened(chromium, crowded) as one:
        assert one.eval(ROWS) == [str(n) for n in range(1, 7)]
        one.tab.click(".problems tbody tr:nth-child(5) td.place")
        assert one.tab.url.endswith("#finding-5")
        one.wait_for(f"() => {OPEN}.includes('finding-5')")
        assert one.eval(OPEN) == ["finding-1", "finding-5"]
        assert one.eval("document.getElementById('finding-5').getBoundingClientRect().top < innerHeight")
        one.eval("document.querySelector('.problems tbody tr:nth-child(2) a').focus()")
        assert one.eval("getComputedStyle(document.activeElement.closest('tr')).outlineStyle") == "solid"
        one.tab.keyboard.press("Enter")
        one.wait_for(f"() => {OPEN}.includes('finding-2')")
        assert one.complaints == []


@SLOW
def test_the_table_of_problems_unfolds_and_names_the_other_rules(chromium: Browser, crowded: Path) -> None:
    with opened(chromium, crowded) as one:
        others = one.tab.locator(".others-by-rule")
        assert not others.is_visible()
        one.tab.click("text=Show 20 problems, and the rules of 3 others")
        assert one.eval(ROWS) == [str(n) for n in range(1, 21)]
        one.tab.click(".others-by-rule a:has-text('idle-close')")
        one.wait_for(f"() => {SHOWN}.length < 23")
        assert one.eval(SHOWN) == ["finding-22", "finding-23"]
        assert one.eval("document.getElementById('finding-22').getBoundingClientRect().bottom <= innerHeight")
        one.tab.click("text=Show the first 6")
        assert len(one.eval(ROWS)) == 6
        one.tab.emulate_media(media="print")
        assert len(one.eval(ROWS)) == 20
        assert others.is_visible()


@SLOW
def test_the_table_of_problems_is_sorted_by_its_headings(chromium: Browser, crowded: Path) -> None:
    """In the order of time the last one comes first; of 21 stalls the table has 20."""
    with opened(chromium, crowded) as one:
        head = "document.querySelector('.problems th:nth-child({})').getAttribute('aria-sort')"
        assert one.eval(head.format(1)) == "ascending"
        one.tab.click(".problems th button:has-text('First seen')")
        assert one.eval(ROWS) == [str(n) for n in range(20, 14, -1)]
        assert [one.eval(head.format(n)) for n in (1, 7)] == ["none", "ascending"]
        one.tab.click(".problems th button:has-text('Time lost')")
        assert one.eval(ROWS) == [str(n) for n in range(1, 7)]
        one.tab.click(".problems th button:has-text('Time lost')")
        assert one.eval(ROWS) == [str(n) for n in range(20, 14, -1)]


@SLOW
def test_times_of_the_table_have_dates_if_there_are_several(chromium: Browser, crowded: Path) -> None:
    """The capture begins at 12:00 UTC and the stalls at 23:30 UTC, which in Dubai is the next day."""
    cell = ".problems tbody tr:first-child .first"
    with opened(chromium, crowded, timezone_id="Asia/Dubai") as one:
        assert one.tab.inner_text(cell) == "2026-02-01 03:30:58"
        assert one.tab.inner_text("#zone") == "Asia/Dubai (UTC+04:00)"
        assert one.eval(CELLS, "Time of day") == ["16:00:00.420"]
        one.tab.click("text=Show UTC")
        assert one.tab.inner_text(cell) == "23:30:58"
        assert one.tab.inner_text("#zone") == "UTC"
        assert one.eval(CELLS, "Time of day") == ["12:00:00.420"]
        one.tab.click("text=Show Asia/Dubai")
        assert one.tab.inner_text(cell) == "2026-02-01 03:30:58"
    with opened(chromium, crowded, timezone_id="UTC") as one:
        assert not one.tab.locator("button.inline").count()


def test_findings_are_filtered(chromium: Browser, page: Path, real: Report) -> None:
    groups = group_findings(real.findings)
    with opened(chromium, page) as one:
        for label, values in (
            ("Severity", [group.worst.severity for group in groups]),
            ("Rule", [group.worst.rule for group in groups]),
            ("Server", [group.worst.server for group in groups]),
        ):
            if len({*values}) < 2:
                continue
            for value in {*values}:
                if value is None:
                    continue
                one.tab.select_option(f"#findings-filter select[aria-label={label}]", value)
                expected = [f"finding-{number}" for number, each in enumerate(values, 1) if each == value]
                assert one.eval(SHOWN) == expected
                said = one.eval("document.querySelector('#findings-filter .said').textContent")
                assert said == f"{len(expected)} of {len(groups)} problems"
            one.tab.select_option(f"#findings-filter select[aria-label={label}]", "")
        assert len(one.eval(SHOWN)) == len(groups)
        one.tab.fill("#findings-filter input", groups[-1].worst.title.lower())
        assert f"finding-{len(groups)}" in one.eval(SHOWN)
        address = one.tab.url
        kept = one.eval(SHOWN)
        one.tab.goto("about:blank")
        one.tab.goto(address)
        one.tab.wait_for_selector("html[data-ready]")
        assert one.eval(SHOWN) == kept
        one.tab.fill("#findings-filter input", "no such text at all")
        assert one.eval(SHOWN) == []
        assert one.tab.locator(".none", has_text="No finding matches").is_visible()


@SLOW
def test_brushing_filters_by_time_and_says_so(chromium: Browser, page: Path, real: Report) -> None:
    with opened(chromium, page) as one:
        one.tab.locator(".overview").scroll_into_view_if_needed()
        box = one.tab.locator(".overview").bounding_box()
        assert box is not None
        caption, button = "document.querySelector('.caption').textContent", one.tab.locator(".caption button")
        assert "Drag over a part" in one.eval(caption)
        assert not button.is_visible()
        mouse = one.tab.mouse
        mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
        mouse.down()
        mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 40, steps=5)
        mouse.up()
        assert "The tables show" in one.eval(caption)
        said = one.eval("document.querySelector('#exchanges-table .said').textContent")
        begin, end = map(float, re.findall(r"in ([-\d.]+) to ([-\d.]+) s", said)[0])
        starts = [f"{side}_start" for side in ("request", "response")]
        ends = [f"{side}_end" for side in ("request", "response")]
        rows = real.exchanges.select(pl.min_horizontal(starts).alias("a"), pl.max_horizontal(ends).alias("b"))
        inside = rows.filter((pl.col("a") <= end * 1e9) & (pl.col("b") >= begin * 1e9)).height
        assert said.startswith(f"{inside} of {real.exchange_count} exchanges")
        # a slow drag writes addresses of its own: the last one has the end that the page names
        one.wait_for("(end) => location.hash.startsWith('#exchanges?') && location.hash.includes(`to=${end}`)", f"{end:.6f}")
        address = one.tab.url
        one.tab.goto("about:blank")
        one.tab.goto(address)
        one.tab.wait_for_selector("html[data-ready]")
        assert one.eval("document.querySelector('#exchanges-table .said').textContent") == said
        button.click()
        assert one.eval("document.querySelector('#exchanges-table .said').textContent") == f"{real.exchange_count} exchanges"


@SLOW
def test_times_of_day_are_those_of_the_reader(chromium: Browser, page: Path, real: Report) -> None:
    """Dubai is 4 hours ahead of UTC all year."""
    first = {c.file: datetime.fromisoformat(c.first_time[:26]) for c in real.captures if c.first_time}
    start = pl.min_horizontal("request_start", "response_start").alias("start")
    rows = real.exchanges.select("capture", start).sort("start").rows()
    ahead = timedelta(hours=4)
    times = [first[name] + ahead + timedelta(microseconds=start / 1000) for name, start in rows]
    with opened(chromium, page, timezone_id="Asia/Dubai") as one:
        shown = one.eval(CELLS, "Time of day")
        assert len(shown) > 10
        for text, time in zip(shown, times, strict=False):
            assert abs(datetime.combine(time.date(), datetime.strptime(text, "%H:%M:%S.%f").time()) - time) <= timedelta(
                milliseconds=1.1
            )
        assert one.tab.inner_text("#zone") == "Asia/Dubai (UTC+04:00)"
        worst = group_findings(real.findings)[0].worst
        expected = (datetime.fromisoformat(worst.time[:26]) + ahead).strftime("%Y-%m-%d %H:%M:%S")
        assert one.tab.inner_text("#finding-1 time").startswith(expected)


@SLOW
def test_times_of_day_have_dates_if_exchanges_began_on_several_days(
    chromium: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """At noon UTC of two days; the second exchange begins 100 ms and a day after the first."""
    day = 86_400_000 * MS
    names = ("request_start", "request_end", "response_start", "response_end")
    later = {name: time + day for name, time in exchange(1).items() if name in names}
    path = _written(tmp_path_factory, report([], [], [exchange(0), exchange(1, **later)]))
    with opened(chromium, path, viewport={"width": 1400, "height": 900}, timezone_id="UTC") as one:
        assert one.eval(CELLS, "Time of day") == ["2026-01-31 12:00:00.000", "2026-02-01 12:00:00.100"]


@pytest.mark.parametrize(
    ("begin", "end", "width", "labels"),
    [
        (-0.05, 0.25, 300, ["0.0 s", "0.1 s", "0.2 s"]),
        (0, 0.0015, 300, ["0.0 ms", "0.5 ms", "1.0 ms", "1.5 ms"]),
        (178_694, 178_720, 300, ["178,700 s", "178,710 s", "178,720 s"]),
        (0, 150, 450, ["0 s", "30 s", "60 s", "90 s", "120 s", "150 s"]),
        (0, 1_000, 450, ["0 s", "5 min", "10 min", "15 min"]),
        (
            3_600,
            65 * 3_600,
            1_200,
            ["6 h", "12 h", "18 h", "1 d", "1 d 6 h", "1 d 12 h", "1 d 18 h", "2 d", "2 d 6 h", "2 d 12 h"],
        ),
        (0, 40 * 86_400, 400, ["0 s", "10 d", "20 d", "30 d", "40 d"]),
    ],
)
def test_labels_of_a_time_axis(blank: Page, begin: float, end: float, width: int, labels: list[str]) -> None:
    """Labels are at least 90 pixels apart; from one minute on a step is a part of an hour, of a day, or days."""
    folder = files("wiredoctor.report.html") / "page"
    script = "\n".join((folder / f"{name}.js").read_text("utf-8") for name in ("base", "axis"))
    told = blank.evaluate(
        f"""([begin, end, width]) => {{ {script}
        const axis = new Axis(begin * SECOND, end * SECOND);
        const {{ step, made }} = axis.ticks(width);
        return made.map((time) => axis.label(time, step));
        }}""",
        [begin, end, width],
    )
    assert told == labels


@SLOW
@pytest.mark.parametrize("width", [400, 1600])
def test_nothing_vanishes_when_the_theme_changes(chromium: Browser, page: Path, width: int) -> None:
    inked = """() => [...document.querySelectorAll('canvas')].filter((one) => one.checkVisibility()).map((one) =>
      one.getContext('2d').getImageData(0, 0, one.width, one.height).data.some((byte) => byte))"""
    with opened(chromium, page, viewport={"width": width, "height": 900}) as one:
        one.eval("document.querySelector('#sequence').scrollIntoView()")
        one.tab.wait_for_selector("#sequence-graph canvas[tabindex]")
        before = one.eval(inked)
        assert len(before) > 20
        for choice in ("dark", "light", "auto"):
            one.eval(f"document.querySelector('[data-theme-choice={choice}]').click()")
            assert one.eval(inked) == before
        one.tab.emulate_media(color_scheme="dark")
        one.wait_for("() => getComputedStyle(document.body).backgroundColor === 'rgb(20, 23, 26)'")
        assert one.eval(inked) == before
        assert [text for text in one.complaints if not text.startswith("Canvas2D")] == []


@SLOW
def test_requests_of_a_gateway_stand_below_those_of_its_client(
    chromium: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The recording has two gateways in a row: each passes on every request of its client to the next."""
    path = _written(tmp_path_factory, wiredoctor.analyze(str(find_recording("behind-two-gateways.pcap")), keep=True))
    with opened(chromium, path, viewport={"width": 1600, "height": 900}) as one:
        depths = [len(text) - len(text.lstrip("\u00a0\u2514 ")) for text in one.eval(CELLS, "Request")]
        assert depths == [0, 2, 5] * 2
        assert [text.strip("\u00a0\u2514 ") for text in one.eval(CELLS, "Request")] == ["GET /a/list"] * 3 + ["GET /a/order"] * 3
        assert one.eval(CELLS, "Host")[0] == "www.example"
        # requests of the client only
        assert one.tab.inner_text(".tile").split() == ["Requests", "2"]
        [row] = [line for line in one.tab.inner_text(".servers").splitlines() if line.startswith("127.0.0.1:8081")]
        # the 502 in between is an error that this gateway made
        assert row.split("\t")[2:5] == ["2", "1", "1"]
        assert one.complaints == []


VISIBLE_LADDERS = """() => [...document.querySelectorAll('svg.ladder')].filter((one) => one.checkVisibility())
  .map((one) => one.getBoundingClientRect()).map((box) => [box.left, box.right, box.width])"""

SIDES_IN_SIGHT = """(width) => [...document.querySelectorAll('svg.ladder line.life')].filter((one) => one.checkVisibility())
  .every((one) => one.getBoundingClientRect().right < width)"""

OVERLAPS = """() => {
  document.querySelectorAll('details').forEach((one) => (one.open = true));
  const made = [];
  for (const ladder of document.querySelectorAll('svg.ladder')) {
    if (!ladder.checkVisibility()) continue;
    const texts = [...ladder.querySelectorAll('text')].map((one) => [one.getBBox(), one.textContent]);
    texts.forEach(([a, text], at) => {
      if (a.x < -1 || a.x + a.width > ladder.viewBox.baseVal.width + 1) made.push(['outside', text]);
      for (const [b, other] of texts.slice(at + 1)) {
        const wide = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
        const high = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
        // boxes are as high as the longest letters of the font
        if (wide > 0 && high > 2.5) made.push([text, other]);
      }
    });
  }
  return made;
}"""


@pytest.mark.parametrize(("width", "least"), sweep([(400, 300), (1000, 700), (1400, 700)], lambda case: case[0] != 1000))
def test_a_ladder_shows_both_sides_at_once(chromium: Browser, page: Path, width: int, least: int) -> None:
    with opened(chromium, page, viewport={"width": width, "height": 900}) as one:
        [(left, right, wide)] = one.eval(VISIBLE_LADDERS)
        assert left >= 0
        assert right <= width
        assert wide >= least
        assert one.eval(SIDES_IN_SIGHT, width)


@SLOW
@pytest.mark.parametrize("width", [400, 1400])
def test_texts_of_ladders_do_not_overlap(chromium: Browser, tmp_path_factory: pytest.TempPathFactory, width: int) -> None:
    """These have waits of a few pixels below notes, and long endpoints."""
    names = ("not-continued-rtt-20-middle.pcap", "gone-ipv6.pcap", "gone-middle.pcap", "gives-up-rtt-120-middle.pcap")
    path = _written(tmp_path_factory, wiredoctor.analyze(*(str(find_recording(name)) for name in names), keep=True))
    with opened(chromium, path, viewport={"width": width, "height": 900}) as one:
        assert one.eval(OVERLAPS) == []


@SLOW
def test_a_ladder_says_the_time_of_day_in_the_zone_that_is_shown(chromium: Browser, truncated: Path) -> None:
    """tshark -t ud: frame 4 is from 2026-11-20 12:48:14.174."""
    with opened(chromium, truncated, timezone_id="Europe/Berlin") as one:
        clock = "[...document.querySelectorAll('svg.wide .clock')][0].textContent"
        assert one.eval(clock) == "13:48:14.174"
        one.tab.hover("svg.wide [data-time] .number >> nth=0")
        assert one.tab.inner_text(".tip") == "2026-11-20 13:48:14.174 Europe/Berlin"
        one.tab.click("text=Show UTC")
        assert one.eval(clock) == "12:48:14.174"


@SLOW
def test_the_rest_of_a_response_is_waited_for_until_the_close(chromium: Browser, truncated: Path) -> None:
    """The server of the recording sends pieces of a response for 114 ms, and its FIN 19.4 ms later (frames 10 and 12)."""
    with opened(chromium, truncated, viewport={"width": 1400, "height": 900}) as one:
        assert one.eval(CELLS, "Time") == ["136 ms"]
        one.tab.click("#exchanges-table tbody tr[aria-rowindex]")
        assert "response 114 ms, waiting for the rest 19.4 ms, then closed" in one.tab.inner_text("#exchanges-table .details")
        assert "Waiting for the rest of a response" in one.tab.inner_text("#exchanges-table .legend")
        # it failed, although its status is 200
        one.tab.fill("#exchanges input[type=search]", "is:failed")
        assert one.eval(CELLS, "Status") == ["200"]


LABELS = """() => {
  const [made, before] = [[], CanvasRenderingContext2D.prototype.fillText];
  CanvasRenderingContext2D.prototype.fillText = function (text, x, ...rest) {
    if (this.canvas.matches('.overview')) made.push([x, x + this.measureText(text).width, this.canvas.clientWidth]);
    return before.call(this, text, x, ...rest);
  };
  document.querySelector('[data-theme-choice=dark]').click();
  CanvasRenderingContext2D.prototype.fillText = before;
  return made;
}"""


@pytest.mark.parametrize("width", sweep([400, 700, 1000, 1400], {400}.__contains__))
def test_labels_of_the_time_axis_do_not_overlap(chromium: Browser, truncated: Path, width: int) -> None:
    with opened(chromium, truncated, viewport={"width": width, "height": 900}) as one:
        labels = one.eval(LABELS)
        assert len(labels) > 1
        assert all(left >= 0 and right <= wide for left, right, wide in labels)
        assert all(before[1] < after[0] for before, after in pairwise(labels))


@SLOW
def test_a_time_of_day_finds_the_exchanges_that_were_under_way(
    chromium: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Requests begin at 14:16:02.707, 14:16:10.354, 14:16:10.650 and 14:16:12.674 UTC, three each."""
    path = _written(tmp_path_factory, wiredoctor.analyze(str(find_recording("apache-met.pcap")), keep=True))
    with opened(chromium, path, timezone_id="Europe/Berlin", viewport={"width": 1400, "height": 900}) as one:
        for text, number in (("15:16:10", 6), ("15:16:02.707", 3), ("15:16", 12), ("14:16", 0), ("15:16:11", 0)):
            one.tab.fill("#exchanges input[type=search]", text)
            assert len(one.eval(CELLS, "Time")) == number


@SLOW
def test_a_finding_leads_to_its_exchange_and_the_address_to_both(
    chromium: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    names = ("apache-met.pcap", "truncated-chunks.pcap")
    path = _written(tmp_path_factory, wiredoctor.analyze(*(str(find_recording(name)) for name in names), keep=True))
    with opened(chromium, path) as one:
        one.tab.click("#finding-1 a[data-exchange] >> nth=0")
        title = "document.querySelector('#exchanges-table .details h3').textContent"
        one.wait_for(f"{title.replace('.textContent', '')} !== null")
        shown, address = one.eval(title), one.eval("location.hash")
        assert address.startswith("#exchanges?exchange=")
    with opened(chromium, path) as other:
        other.eval("(hash) => (location.hash = hash)", address)
        other.wait_for("document.querySelector('#exchanges-table .details h3') !== null")
        assert other.eval(title) == shown
        other.tab.select_option("#exchanges select", "1")
        other.wait_for("location.hash.includes('capture=1')")


def test_on_a_narrow_screen_nothing_sticks_out(chromium: Browser, page: Path) -> None:
    with opened(chromium, page, viewport={"width": 360, "height": 740}) as one:
        assert one.eval("document.documentElement.scrollWidth") <= 360
        out = """() => [...document.querySelectorAll('h1, h2, h3, p, code, button, select, input, dd')]
          .filter((e) => e.checkVisibility() && !e.closest('.scroll, .proof, .skip') && e.getBoundingClientRect().right > 361)
          .map((e) => e.outerHTML.slice(0, 80))"""
        assert one.eval(out) == []


@pytest.mark.slow
def test_without_a_script_the_diagnosis_is_there(chromium: Browser, page: Path, real: Report) -> None:
    with opened(chromium, page, ready=False, java_script_enabled=False) as one:
        said = one.tab.inner_text("#diagnosis")
        for group_title in {f.title for f in real.findings}:
            assert group_title in said or group_title in one.tab.content()
        assert one.tab.locator("svg.ladder").first.is_visible()
        assert "does not run here" in one.tab.inner_text("#exchanges")
        assert not one.tab.locator(".theme").is_visible()


@SLOW
def test_in_the_sandbox_of_a_mail_reader(chromium: Browser, page: Path, tmp_path: Path) -> None:
    frame = tmp_path / "mail.html"
    frame.write_text(f'<iframe sandbox="allow-scripts" src="{page.as_uri()}" width="1000" height="700"></iframe>', "utf-8")
    with opened(chromium, frame, ready=False) as one:
        inner = next(frame for frame in one.tab.frames if frame.parent_frame)
        inner.wait_for_selector("html[data-ready]")
        assert inner.locator("#exchanges-table tbody tr[aria-rowindex]").count() > 5
        assert one.complaints == []


@SLOW
def test_printed_all_proofs_are_open(chromium: Browser, page: Path, real: Report) -> None:
    with opened(chromium, page) as one:
        opened_before = "[...document.querySelectorAll('details')].filter((one) => one.open).length"
        before = one.eval(opened_before)
        one.eval("dispatchEvent(new Event('beforeprint'))")
        assert one.eval("[...document.querySelectorAll('details')].every((one) => one.open)")
        one.tab.emulate_media(media="print")
        all_of_them = "document.querySelectorAll('#exchanges-table tbody tr[aria-rowindex]').length"
        one.wait_for(f"{all_of_them} === {real.exchange_count}")
        assert one.eval("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not one.tab.locator(".top").is_visible()
        one.eval("dispatchEvent(new Event('afterprint'))")
        assert one.eval(opened_before) == before == 1


OWNED = ["<script>window.owned=1</script>", "</script><script>window.owned=1</script>", "<img src=x onerror=window.owned=1>"]


@SLOW
def test_hostile_names_do_nothing(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> None:
    evil = [*OWNED, '"onfocus="window.owned=1" autofocus x="', "javascript:window.owned=1", "{{7*7}}", "<!--", "]]>", *ORDERS]
    text = encodable("".join(evil))
    files = [capture(file=text, format=text, damage=text), capture(file="b")]
    texts = dict.fromkeys(("request_method", "request_target", "request_host", "response_reason", "response_content_type"), text)
    made = [
        finding(
            **dict.fromkeys(("title", "message", "client", "server", "request", "remedy", "display_filter", "rule", "kind"), one),
            capture=text, connection=1, exchange=0, references=(Reference(one, one), Reference("x", "javascript:window.owned=1")),
            evidence=(Evidence(1, 0.1, one), Evidence(2, 0.3, one)),
        )
        for one in ("".join(evil), *evil)
    ]  # fmt: skip
    made_of = report(made, [connection(1, capture=text)], [exchange(1, capture=text, **texts)], files)
    path = _written(tmp_path_factory, made_of)
    with opened(chromium, path) as one:
        one.eval("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        one.eval("document.querySelector('#exchanges-table tbody tr[aria-rowindex]').click()")
        one.eval("document.querySelector('#connections-table tbody tr[aria-rowindex]').click()")
        assert one.eval("window.owned") is None
        assert one.complaints == []
        assert len([url for url in one.requests if not url.startswith("data:")]) == 1
        assert one.eval("document.querySelectorAll('img, iframe, [onerror], [onfocus], [href^=javascript]').length") == 0
        assert one.eval("document.querySelectorAll('script').length") == 2
        [shown] = one.eval(CELLS, "Request")
        told = made_of.exchanges.row(0, named=True)
        assert shown == f"{shorten(printable(told['request_method']), 80)} {shorten(printable(told['request_target']), 500)}"


def many() -> Report:
    """A hundred thousand exchanges on a thousand connections, of which some are slow."""
    number = pl.int_range(MANY, dtype=pl.Int64)
    base = pl.DataFrame([exchange(0)], schema_overrides={"response_end": pl.Int64}, infer_schema_length=None)
    one = report([], [], [exchange(0)]).scan_exchanges
    assert one is not None
    schema = one().collect_schema()
    start = number * (2 * MS)
    rows = base.select(pl.all().repeat_by(MANY).explode()).with_columns(
        connection=number % 1_000, exchange=number // 1_000, request_start=start, request_end=start + 1_000,
        response_start=start + MS, response_end=start + MS + (number * 7919 % MANY) * 1_000,
        response_time=(number * 7919 % MANY) * 1_000, server_time=pl.lit(MS - 1_000), request_time=pl.lit(1_000),
        request_target=pl.format("/items/{}/of/{}", number, number % 97),
        response_status=pl.when(number % 50 == 0).then(503).otherwise(200),
    ).select(pl.col(name).cast(dtype) for name, dtype in schema.items())  # fmt: skip
    made = report([], [connection(n) for n in range(1_000)], [])
    made.scan_exchanges = rows.lazy
    made.exchange_count = MANY
    return made


@SLOW
def test_a_hundred_thousand_exchanges(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = _written(tmp_path_factory, many())
    assert path.stat().st_size < 20_000_000
    with opened(chromium, path) as one:
        rows = "document.querySelectorAll('#exchanges-table tbody tr[aria-rowindex]')"
        scroll = "document.querySelector('#exchanges-table .scroll')"
        assert one.eval("document.querySelector('#exchanges-table table').getAttribute('aria-rowcount')") == str(MANY + 1)
        assert one.eval(f"{rows}.length") < 100
        assert one.eval(f"{scroll}.scrollHeight") > MANY * 27
        one.eval(f"{scroll}.scrollTop = {scroll}.scrollHeight")
        one.wait_for(f"{rows}[{rows}.length - 1].getAttribute('aria-rowindex') === '{MANY + 1}'")
        assert one.eval(f"{rows}.length") < 100
        assert one.eval(CELLS, "Request")[-1] == f"GET /items/{MANY - 1}/of/{(MANY - 1) % 97}"
        # by time, the slowest first: what was made so
        one.eval("[...document.querySelectorAll('#exchanges-table th button')].find((e) => e.textContent === 'Time').click()")
        slowest = sorted(((n * 7919 % MANY) * 1_000 + MS for n in range(MANY)), reverse=True)[:10]
        assert one.eval(CELLS, "Time")[:10] == [duration_text(time) for time in slowest]
        one.tab.fill("#exchanges-table input[type=search]", "status:5xx /of/3")
        expected = sum(n % 50 == 0 and "/of/3" in f"/items/{n}/of/{n % 97}" for n in range(MANY))
        said = f"{expected:,} of {MANY:,} exchanges"
        one.wait_for("(said) => document.querySelector('#exchanges-table .said').textContent === said", said)
        assert {*one.eval(CELLS, "Status")} == {"503"}
        assert one.complaints == []

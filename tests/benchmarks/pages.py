"""Measures the HTML report in Chromium: its size, first paint, filters, and whether a hundred thousand rows scroll.

    python tests/benchmarks/pages.py [CAPTURE | --connections 1000000] [--repeat 3]

CAPTURE is by default the recording `dense` of speed.py, made when it is missing; --connections makes a capture of
so many connections (long_captures.py) for the time being. The median of the repetitions counts; exits with 1 when a promise is
broken. Needs Playwright (the extra `test`) and Chromium.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from long_captures import connections
from speed import capture as recording

LARGEST = 20_000_000
FIRST_PAINT = 2_000.0
FRAME = 1_000 / 60
FILTER = 100.0
"""Bytes; milliseconds."""

AT_MOST = 2.0
"""Times the CPU of an analysis without the page."""

WATCH = """
window.worked = [];
const before = requestAnimationFrame;
window.requestAnimationFrame = (act) => before((now) => {
  const start = performance.now();
  act(now);
  window.worked.push(performance.now() - start);
});
"""

SCROLL = """async (selector) => {
  const box = document.querySelector(selector);
  box.scrollIntoView();
  await new Promise((go) => setTimeout(go, 300));
  const [frames, waits] = [[], 200];
  window.worked.length = 0;
  let last = performance.now();
  for (let i = 0; i < waits; i++) {
    // a wheel mostly, and now and then the bar is pulled
    box.scrollTop += i % 20 === 19 ? box.scrollHeight / 20 : 240;
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    frames.push(now - last);
    last = now;
  }
  return { frames, worked: window.worked.filter((time) => time > 0.1) };
}"""

FILTERS = ("1", "/item", "status:5xx", "host:shop get", "frame:1000", "nothing has this", "")

TYPE = """(text) => {
  const field = document.querySelector('#exchanges-table input[type=search]');
  field.value = text;
  field.dispatchEvent(new Event('input'));
}"""

BLANK = (
    "<!doctype html><div id=box><div id=long></div></div><style>#box{height:500px;overflow:auto}#long{height:2800000px}</style>"
)


def main() -> int:
    """Prints the figures; 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description="The HTML report in Chromium.")
    parser.add_argument("capture", nargs="?", type=Path)
    parser.add_argument("--connections", type=int, metavar="N")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page, made = Path(folder) / "report.html", Path(folder) / "connections.pcap"
        if options.connections:
            connections(made, options.connections)
        capture = made if options.connections else options.capture or recording("dense")
        (plain, _), (whole, peak) = _cost(capture), _cost(capture, "-o", str(page))
        print(f"analyze {plain:.1f} s of CPU, with -o report.html {whole:.1f} s, {whole / plain:.2f} times, promised {AT_MOST}")
        print(f"peak {peak} MB")
        paints, drawn, scrolled, empty, filters = _opened(page, Path(folder), options.repeat)
        kept = [_judged(page.stat().st_size, paints, drawn, scrolled, empty), _filtered(filters), whole < AT_MOST * plain]
        print("all promises are kept" if all(kept) else "A PROMISE IS BROKEN")
        return 0 if all(kept) else 1


def _cost(capture: Path, *words: str) -> tuple[float, int]:
    """CPU seconds and peak resident memory (MB) of an analysis in one process."""
    command = [sys.executable, "-m", "wiredoctor", "analyze", str(capture), "--quiet", "--jobs", "1", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"wiredoctor analyze {' '.join(words)}: {os.waitstatus_to_exitcode(status)}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss >> 10


def _opened(
    page: Path, folder: Path, repeat: int
) -> tuple[list[float], list[float], dict[str, Any], dict[str, Any], list[float]]:
    """Return first paints and times until everything is drawn (ms), frames of the report and of an empty page that scrolls,
    and what each of FILTERS takes (ms of the page's thread).
    """
    from playwright.sync_api import sync_playwright

    blank = folder / "blank.html"
    blank.write_text(BLANK, "utf-8")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    words = ["--no-sandbox"] if os.geteuid() == 0 else []
    paints: list[float] = []
    filters: list[float] = []
    drawn: list[float] = []
    scrolled: dict[str, Any] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=words)
        for _ in range(repeat):
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            tab.add_init_script(WATCH)
            begin = time.monotonic()
            tab.goto(page.as_uri())
            tab.wait_for_selector("html[data-ready]", timeout=120_000)
            drawn.append((time.monotonic() - begin) * 1_000)
            paints.append(tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
            scrolled = tab.evaluate(SCROLL, "#exchanges-table .scroll")
            filters = [_cpu(tab, text) for text in FILTERS]
            tab.close()
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.add_init_script(WATCH)
        tab.goto(blank.as_uri())
        empty = tab.evaluate(SCROLL, "#box")
        browser.close()
    return paints, drawn, scrolled, empty, filters


def _cpu(tab: Any, text: str) -> float:
    """Return what the page's thread works (ms) to filter by a text and to draw the result: other processes do not count."""
    session = tab.context.new_cdp_session(tab)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def worked() -> float:
        return next(m["value"] for m in session.send("Performance.getMetrics")["metrics"] if m["name"] == "TaskDuration")

    before = worked()
    tab.evaluate(TYPE, text)
    tab.wait_for_timeout(500)
    return (worked() - before) * 1_000


def _filtered(filters: list[float]) -> bool:
    print(f"a filter is applied and drawn in at most {max(filters):.0f} ms of CPU, promised {FILTER:.0f} ms")
    return max(filters) < FILTER


def _judged(size: int, paints: list[float], drawn: list[float], scrolled: dict[str, Any], empty: dict[str, Any]) -> bool:
    paint, ready = statistics.median(paints), statistics.median(drawn)
    typical, work = (_share(scrolled["worked"], share) for share in (0.5, 0.95))
    print(f"file {size / 1e6:.1f} MB, promised below {LARGEST / 1e6:.0f} MB")
    print(f"first paint {paint:.0f} ms, promised below {FIRST_PAINT:.0f} ms; everything drawn after {ready:.0f} ms")
    print(f"script per frame while it scrolls: {typical:.1f} ms, of 95 % below {work:.1f} ms, promised {FRAME:.1f} ms")
    for name, one in (("the report", scrolled), ("an empty page", empty)):
        frames = [_share(one["frames"], share) for share in (0.5, 0.95)]
        print(f"from frame to frame, {name}: {frames[0]:.1f} ms, of 95 % below {frames[1]:.1f} ms")
    return size < LARGEST and paint < FIRST_PAINT and work < FRAME


def _share(times: list[float], share: float) -> float:
    return sorted(times)[int((len(times) - 1) * share)]


if __name__ == "__main__":
    sys.exit(main())

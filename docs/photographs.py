"""Take the photographs of the documents: pages of wiredoctor in Chromium, as PNG files.

    python docs/photographs.py

Needs Chromium and Playwright.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal, NamedTuple

from rule_pages import recording_named

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pages" / "pictures"
MAX_BYTES = 600_000
"""The size of all photographs together."""


class Photograph(NamedTuple):
    """A part of a page. `recordings`: what it reports on; two are before and after. `below`: an element at the top edge."""

    name: str
    recordings: tuple[str, ...]
    width: int
    height: int
    below: str = ""
    scheme: Literal["light", "dark"] = "light"


PHOTOGRAPHS = (
    Photograph("report", ("server-head-body-split.pcap",), 1200, 800),
    Photograph("waterfall", ("server-head-body-split.pcap",), 1200, 590, below="#exchanges-title"),
    Photograph("dark", ("behind-two-gateways.pcap",), 1200, 540, below="#exchanges-title", scheme="dark"),
    Photograph("narrow", ("server-head-body-split.pcap",), 400, 800),
    Photograph("compare", ("client-body-pieces.pcap", "client-two-sends-nodelay.pcap"), 1200, 560),
)


def main() -> None:
    """Take all photographs."""
    from playwright.sync_api import sync_playwright

    # the sandbox of Chromium does not start as root
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=options
        )
        for one in PHOTOGRAPHS:
            (PICTURES / f"{one.name}.png").write_bytes(_take(browser, one, _write_page(one, Path(folder))))
        browser.close()
    sizes = {one.name: (PICTURES / f"{one.name}.png").stat().st_size for one in PHOTOGRAPHS}
    assert sum(sizes.values()) < MAX_BYTES, sizes


def _write_page(one: Photograph, folder: Path) -> Path:
    page = folder / f"{one.name}.html"
    recordings = [recording_named(name).relative_to(ROOT).as_posix() for name in one.recordings]
    command = ["compare", *recordings, "--any-server"] if len(recordings) == 2 else ["analyze", *recordings]
    subprocess.run(
        [sys.executable, "-m", "wiredoctor", *command, "--quiet", "-o", str(page)],
        cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return page


def _take(browser: Browser, one: Photograph, page: Path) -> bytes:
    window = browser.new_context(
        viewport={"width": one.width, "height": one.height},
        color_scheme=one.scheme,
        timezone_id="UTC",
    )
    tab = window.new_page()
    tab.goto(page.as_uri())
    tab.wait_for_selector("html[data-ready]")
    if one.below:
        tab.evaluate("(name) => document.querySelector(name).scrollIntoView()", one.below)
    tab.wait_for_timeout(500)
    picture = tab.screenshot()
    window.close()
    return picture


if __name__ == "__main__":
    main()

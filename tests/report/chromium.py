"""The distribution's Chromium, driven by Playwright, on pages from a folder."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.needs import skip_without

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE = 120.0
"""Seconds that a page may take on a busy machine."""

LAUNCHERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser, for all tests of a module; skips where there is none."""
    skip_without("package playwright")
    from playwright import sync_api as playwright

    path = next(filter(None, map(shutil.which, LAUNCHERS)), None)
    if path is None:
        skip_without(LAUNCHERS[0])
    # as root it refuses to start in its sandbox
    words = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as one:
        started = one.chromium.launch(executable_path=path, args=[*words, "--disable-dev-shm-usage", "--in-process-gpu"])
        yield started
        _IDLE.pop(started, None)
        started.close()


_IDLE: dict[Browser, Page] = {}
"""A tab of each browser that shows no page now. A new one starts a process, which takes longer than to show a page."""


class Opened:
    """A page in a tab: what it complained of, and what it asked for."""

    def __init__(self, tab: Page) -> None:
        self.tab = tab
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._listeners: dict[Any, Callable[[Any], object]] = {
            "console": lambda message: self.complaints.append(message.text),
            "pageerror": lambda error: self.complaints.append(str(error)),
            "dialog": lambda dialog: (self.complaints.append(f"dialog {dialog.message}"), dialog.dismiss()),
            "request": lambda request: self.requests.append(request.url),
        }
        for event, listener in self._listeners.items():
            tab.on(event, listener)

    def leave(self) -> None:
        """Leave the tab to the next page."""
        for event, listener in self._listeners.items():
            self.tab.remove_listener(event, listener)
        self.tab.emulate_media(media="null", color_scheme="null")
        self.tab.mouse.move(0, 0)
        self.tab.goto("about:blank")

    def eval(self, script: str, *words: Any) -> Any:
        """What a script in the page says."""
        return self.tab.evaluate(script, *words)

    def wait_for(self, script: str, *words: Any) -> None:
        """Wait until a script says so. Playwright's own waiting evaluates text in the page, which the page forbids."""
        end = time.monotonic() + PATIENCE
        while not self.eval(script, *words):
            assert time.monotonic() < end, script
            time.sleep(0.02)


@contextmanager
def opened(chromium: Browser, path: Path, *, ready: bool = True, **context: Any) -> Iterator[Opened]:
    """The page in a tab that no other page is in. `ready`: once its script is done."""
    size = context.pop("viewport", {"width": 1280, "height": 900})
    tab = None if context else _IDLE.pop(chromium, None)
    if tab is None:
        tab = chromium.new_context(**context).new_page()
        tab.context.set_default_timeout(PATIENCE * 1000)
    one = Opened(tab)
    try:
        tab.set_viewport_size(size)
        tab.goto(path.as_uri())
        if ready:
            tab.wait_for_selector("html[data-ready]")
        yield one
    except BaseException:
        tab.context.close()
        raise
    if context or chromium in _IDLE:
        tab.context.close()
    else:
        one.leave()
        _IDLE[chromium] = tab

"""Code that the tests of the captures share."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.captures.papers import BATCHES, CONVERSATIONS
from tests.report.chromium import browser
from tests.support.recordings import CAPTURES

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FOLDER = Path(__file__).parent
_BATCH = {path: number for number, batch in enumerate(BATCHES) for path in batch}
_PLACE = {path: place for place, path in enumerate(_BATCH)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of a batch of captures run behind each other, whatever module they are in: so one process analyses each capture
    once for all of them, and need not keep the reports of all."""
    places = [place for place, item in enumerate(items) if FOLDER in item.path.parents]
    for place, item in zip(places, sorted((items[place] for place in places), key=_turn), strict=True):
        items[place] = item


def _turn(item: pytest.Item) -> tuple[int, int]:
    """First what is about no capture, then batch by batch what is about each capture, and at last about all of them."""
    about: dict[str, Any] = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    if "batch" in about:
        return about["batch"], len(_BATCH)
    path = about.get("path") or next(iter(CONVERSATIONS.get(about.get("name", ""), {}).values()), None)
    return (_BATCH[path], _PLACE[path]) if path else (-1, 0)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """One browser for all pages; skips where there is none."""
    with browser() as one:
        yield one


class Lab:
    """Modules of captures/lab, imported when they are used."""

    def __getattr__(self, name: str) -> Any:
        return importlib.import_module(name)


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import modules of captures/lab, which import each other by their bare names, for one test."""
    folder = CAPTURES / "lab"
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield Lab()
    for name in set(sys.modules) - before:
        if folder in Path(getattr(sys.modules[name], "__file__", None) or "/").parents:
            del sys.modules[name]

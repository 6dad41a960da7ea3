"""Test that a deferred module is imported with the first use of it, once, and is then the module itself."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import ModuleType

import pytest

from wiredoctor.cli.deferred_imports import DeferredModule, defer

THREADS = 8


@pytest.fixture(autouse=True)
def _modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package `outer` with a module `inner`, which takes a while to import and counts its imports in `outer.imports`."""
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "__init__.py").write_text("imports = 0\n")
    (tmp_path / "outer" / "inner.py").write_text("import outer, time\nouter.imports += 1\ntime.sleep(0.05)\nvalue = 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("outer.inner", "outer"):
        sys.modules.pop(name, None)


def imports() -> int:
    return importlib.import_module("outer").imports


def test_an_import_statement_does_not_import_a_deferred_module() -> None:
    defer("outer.inner")
    module = importlib.import_module("outer.inner")
    assert isinstance(module, DeferredModule)
    assert imports() == 0


def test_the_first_use_imports_it() -> None:
    defer("outer.inner")
    module = importlib.import_module("outer.inner")
    assert module.value == module.value == 7
    assert imports() == 1
    assert type(importlib.import_module("outer.inner")) is type(importlib.import_module("outer").inner) is ModuleType


def test_names_can_be_imported_from_it() -> None:
    defer("outer.inner")
    space: dict[str, object] = {}
    exec("from outer.inner import value", space)
    assert space["value"] == 7


def test_all_its_names_can_be_imported() -> None:
    defer("outer.inner")
    space: dict[str, object] = {}
    exec("from outer.inner import *", space)
    assert space["value"] == 7


def test_several_threads_may_use_it_first() -> None:
    defer("outer.inner")
    module, barrier = importlib.import_module("outer.inner"), Barrier(THREADS)

    def use() -> int:
        barrier.wait()
        return module.value

    with ThreadPoolExecutor(THREADS) as pool:
        assert [one.result() for one in [pool.submit(use) for _ in range(THREADS)]] == [7] * THREADS
    assert imports() == 1


def test_a_name_that_it_does_not_have_is_an_error_of_the_module() -> None:
    defer("outer.inner")
    with pytest.raises(AttributeError, match=r"module 'outer\.inner' has no attribute 'other'"):
        _ = importlib.import_module("outer.inner").other


def test_a_module_that_is_imported_already_stays() -> None:
    module = importlib.import_module("outer.inner")
    defer("outer.inner")
    assert sys.modules["outer.inner"] is module

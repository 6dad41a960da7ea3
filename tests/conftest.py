"""Fixtures for all tests."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings

from tests.support import needs, thinning
from tests.support.thinning import Extent

# a busy machine is no fault of what is tested
settings.register_profile("patient", deadline=None)
# a test that names a number of examples takes it from tests.support.sweeps.examples
settings.register_profile("quick", deadline=None, max_examples=10)
settings.load_profile("patient")

EXTENT = pytest.StashKey[Extent]()

BYTECODE = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")


def pytest_addoption(parser: pytest.Parser) -> None:
    needs.add_option(parser)
    thinning.add_option(parser)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Start one worker more than there are cores: many tests wait for a process or for time to pass."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ or not hasattr(os, "sched_getaffinity"):
        return None
    return len(os.sched_getaffinity(0)) + 1


def pytest_configure(config: pytest.Config) -> None:
    """Where no bytecode may be written beside the sources, it goes to a temporary folder: the many processes that the tests
    start would each compile the whole package, which takes longer than what they are to do."""
    config.stash[EXTENT] = Extent.of(config)
    if config.stash[EXTENT].quick:
        settings.load_profile("quick")
    os.environ["TZ"] = "UTC"  # reports show the local time of day
    # as the command sets it: the streaming engine, the default of Polars, takes longer to start than most queries take
    os.environ.setdefault("POLARS_ENGINE_AFFINITY", "in-memory")
    if hasattr(time, "tzset"):
        time.tzset()
    if os.environ.get(BYTECODE[0]) and BYTECODE[1] not in os.environ:
        del os.environ[BYTECODE[0]]
        os.environ[BYTECODE[1]] = tempfile.mkdtemp(prefix="bytecode-")
        os.chmod(os.environ[BYTECODE[1]], 0o755)  # also for processes of other users, which would compile all by themselves
        config.add_cleanup(_forget_bytecode)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print which tests were skipped because something is not installed, and which ones this run left out."""
    needs.summarize(terminalreporter, config.option.list_skipped)
    if left_out := config.stash[EXTENT].describe():
        terminalreporter.write_line(left_out)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """Collect no garbage while tests are collected: nearly all of it stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class) -> Iterator[object]:
    """Leave out cases as soon as they exist: each later step of collecting would take time for every one of them."""
    made = yield
    return collector.config.stash[EXTENT].choose(made) if isinstance(made, list) else made


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let a test that was named run in any case.

    With the slow tests, repeat those of hypothesis: a quick run tries only some of their examples.
    """
    if config.stash[EXTENT].quick and config.stash[EXTENT].named:
        config.option.markexpr = ""
    if config.option.markexpr == "slow":
        for item in items:
            if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
                item.add_marker(pytest.mark.slow)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Exclude what stays until the end from garbage collection: thousands of tests."""
    gc.freeze()


def _forget_bytecode() -> None:
    os.environ[BYTECODE[0]] = "1"
    shutil.rmtree(os.environ.pop(BYTECODE[1]), ignore_errors=True)


@pytest.fixture(scope="session")
def validate_report() -> Callable[[dict[str, Any]], None]:
    """Fails unless a parsed JSON report keeps to the schema that `wiredoctor schema` prints."""
    from jsonschema import Draft202012Validator

    from wiredoctor.report.data.json_schema import schema

    validator = Draft202012Validator(schema())

    def validate(report: dict[str, Any]) -> None:
        errors = sorted(validator.iter_errors(report), key=lambda e: list(map(str, e.absolute_path)))
        assert not errors, "\n".join(f"{e.json_path}: {e.message[:300]}" for e in errors[:10])

    return validate

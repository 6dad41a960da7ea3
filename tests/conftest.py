"""Fixtures for all tests."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings

# a busy machine is no fault of what is tested
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

BYTECODE = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")


def pytest_configure(config: pytest.Config) -> None:
    """Where no bytecode may be written beside the sources, it goes to a temporary folder: the many processes that the tests
    start would each compile the whole package, which takes longer than what they are to do."""
    if os.environ.get(BYTECODE[0]) and BYTECODE[1] not in os.environ:
        del os.environ[BYTECODE[0]]
        os.environ[BYTECODE[1]] = tempfile.mkdtemp(prefix="bytecode-")
        config.add_cleanup(_forget_bytecode)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What stands until the end need not be looked through each time that garbage is collected: some 15,000 tests."""
    gc.collect()
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

"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings

# a busy machine is no fault of what is tested
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def validate_report() -> Callable[[dict[str, Any]], None]:
    """Fails unless a parsed JSON report keeps to the schema that `wiredoctor schema` prints."""
    from jsonschema import Draft202012Validator

    from wiredoctor.report.schema import schema

    validator = Draft202012Validator(schema())

    def validate(report: dict[str, Any]) -> None:
        errors = sorted(validator.iter_errors(report), key=lambda e: list(map(str, e.absolute_path)))
        assert not errors, "\n".join(f"{e.json_path}: {e.message[:300]}" for e in errors[:10])

    return validate

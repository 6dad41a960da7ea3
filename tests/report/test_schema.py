"""The schema is one, and strict."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.report.examples import connection, exchange, finding, report
from wiredoctor.report.data.json import write
from wiredoctor.report.data.json_schema import schema

DOCS = Path(__file__).resolve().parents[2] / "docs" / "pages" / "json.md"


def sample() -> dict[str, Any]:
    out = BytesIO()
    write(report([finding()], [connection(3)], [exchange(3)]), out, full=True)
    return json.loads(out.getvalue())


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())
    Draft202012Validator(schema()).validate(sample())


def objects(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Paths of all objects in a JSON value."""
    if isinstance(value, dict):
        yield path
        for key, inner in value.items():
            yield from objects(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from objects(inner, (*path, index))


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


OPEN = ("measures", "classes", "own", "passed_on", "time_lost_by_rule")
"""Objects whose keys are data."""
PATHS = [p for p in objects(sample()) if p[-1:] not in [(name,) for name in OPEN]]


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_no_key_too_many(path: tuple[str | int, ...]) -> None:
    changed = sample()
    at(changed, path)["surprise"] = 1
    assert not Draft202012Validator(schema()).is_valid(changed)


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_no_key_too_few(path: tuple[str | int, ...]) -> None:
    validator = Draft202012Validator(schema())
    whole = sample()
    for key in at(whole, path):
        changed = copy.deepcopy(whole)
        del at(changed, path)[key]
        assert validator.is_valid(changed) == (key in ("connections", "exchanges") and not path), key


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("findings", 0, "severity"), "fatal"),
        (("findings", 0, "time"), "2026-01-31 12:00:00"),
        (("findings", 0, "request"), "GET /\x1b"),
        (("findings", 0, "fingerprint"), "xyz"),
        (("findings", 0, "delay"), -1),
        (("findings", 0, "measures", "delay"), "200 ms"),
        (("exchanges", 0, "request", "target"), "/é"),
        (("exchanges", 0, "response", "framing"), "guess"),
        (("connections", 0, "closed_by"), ""),
        (("captures", 0, "packets"), 1.5),
    ],
)
def test_wrong_values_are_refused(path: tuple[str | int, ...], value: Any) -> None:
    changed = sample()
    at(changed, path[:-1])[path[-1]] = value
    assert not Draft202012Validator(schema()).is_valid(changed)


def test_every_property_is_described() -> None:
    def undescribed(node: Any, path: str) -> Iterator[str]:
        if isinstance(node, dict):
            for name, inner in node.get("properties", {}).items():
                if not {"description", "const"} & set(inner) and not all(
                    "description" in o for o in inner.get("anyOf", [{}])[:1]
                ):
                    yield f"{path}.{name}"
                yield from undescribed(inner, f"{path}.{name}")
            for key in ("items", "anyOf"):
                for inner in node[key] if isinstance(node.get(key), list) else [node.get(key)]:
                    yield from undescribed(inner, path)

    assert not list(undescribed(schema(), ""))


def test_the_example_in_the_docs_keeps_to_it() -> None:
    text = DOCS.read_text("utf-8")
    examples = [block.partition("```")[0] for block in text.split("```json\n")[1:]]
    assert examples
    Draft202012Validator(schema()).validate(json.loads(examples[0]))


def test_the_docs_explain_every_key() -> None:
    text = DOCS.read_text("utf-8")

    def keys(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from node.get("properties", {})
            for inner in (*node.get("properties", {}).values(), node.get("items"), *node.get("anyOf", [])):
                yield from keys(inner)

    assert not [key for key in keys(schema()) if f"`{key}`" not in text]

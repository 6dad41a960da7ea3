"""Limits can be configured: they are read while the analysis runs, and nothing else decides in their place."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import wiredoctor
from tests.captures.papers import CAPTURES
from wiredoctor.findings import Threshold, configured
from wiredoctor.rule_engine import catalogue, set_thresholds

RULES = Path(sys.modules["wiredoctor.rules"].__file__ or "").parent


@pytest.mark.parametrize(
    ("default", "given", "text", "value"),
    [
        ("30 ms", "46ms", "46 ms", 46_000_000),
        ("30 ms", " 2 s ", "2 s", 2_000_000_000),
        ("30 ms", "1.5 us", "1.5 us", 1_500),
        ("8 segments", "9", "9 segments", 9),
        ("8 segments", "1 segment", "1 segments", 1),
        ("25 %", "30 %", "30 %", 30),
        ("25 %", "30", "30 %", 30),
        ("3", "4", "4", 4),
    ],
)
def test_what_a_user_may_write(default: str, given: str, text: str, value: int) -> None:
    threshold = Threshold(default, "")
    assert threshold.parse(given) == text
    with configured({id(threshold): text}):
        assert (threshold.current, threshold.value) == (text, value)
    assert threshold.current == threshold.text == default


@pytest.mark.parametrize(
    "given",
    ["", "30", "ms", "30 m", "-30 ms", "30 ms ago", "1e3 ms", "nan ms", "inf s", "３０ ms", "30 ms\n30 ms", "1" * 10 + " ms"],
)
def test_what_is_no_time(given: str) -> None:
    with pytest.raises(ValueError, match='is not a time such as "30 ms"'):
        Threshold("30 ms", "").parse(given)


@pytest.mark.parametrize("given", ["", "x", "-1", "1.5", "8 s", "8 ms", "8 packets", "1_000", "８"])
def test_what_is_no_number(given: str) -> None:
    with pytest.raises(ValueError, match='is not a whole number such as "8 segments"'):
        Threshold("8 segments", "").parse(given)


def test_every_threshold_takes_its_own_default() -> None:
    for rule in catalogue().values():
        for name, threshold in rule.thresholds.items():
            assert threshold.parse(threshold.text) == threshold.text, f"{rule.name}: {name}"
            assert set_thresholds(catalogue(), {rule.name: {name: threshold.text}}) == {id(threshold): threshold.text}


def test_one_analysis_is_configured_and_the_next_is_not() -> None:
    capture = CAPTURES / "server-head-body-split.pcap"
    usual = wiredoctor.analyze(capture).findings
    limit = sorted(f.delay or 0 for f in usual)[4]
    strict = {"nagle-delayed-ack": {"min-ack-delay": f"{round(limit * 1e6)} us"}}
    fewer = wiredoctor.analyze(capture, thresholds=strict).findings
    assert 0 < len(fewer) < len(usual)
    assert all((f.delay or 0) >= limit - 0.001 for f in fewer)
    assert len(wiredoctor.analyze(capture).findings) == len(usual)


def readings(tree: ast.Module) -> list[str]:
    """Thresholds whose value is read while a module is imported."""
    inside = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.Lambda) for n in ast.walk(f) if n is not f}
    return [
        n.value.id
        for n in ast.walk(tree)
        if isinstance(n, ast.Attribute) and n.attr in ("value", "current") and isinstance(n.value, ast.Name)
        if n.value.id.isupper() and id(n) not in inside
    ]


@pytest.mark.parametrize("path", sorted(RULES.rglob("*.py")), ids=lambda p: p.name)
def test_no_rule_remembers_a_limit(path: Path) -> None:
    assert readings(ast.parse(path.read_text("utf-8"))) == []


def test_a_remembered_limit_is_seen() -> None:
    assert readings(ast.parse("A = Threshold('1 s', '')\nB = A.value\ndef f():\n    return A.value\n")) == ["A"]


def test_a_limit_that_polars_asks_for_in_a_thread_of_its_own_would_be_the_default() -> None:
    """So that no function that Polars calls may read one: none does."""
    for path in RULES.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        functions = {f.name: f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef)}
        for call in ast.walk(tree):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr in ("map_batches", "map_elements")
            ):
                for argument in call.args:
                    called = functions.get(argument.id) if isinstance(argument, ast.Name) else argument
                    read = [n for n in ast.walk(called or tree) if isinstance(n, ast.Attribute) and n.attr == "value"]
                    assert not read, f"{path.name}, line {call.lineno}"


@pytest.mark.parametrize("shown", [0, 1, 2])
def test_a_finding_of_which_less_is_shown_is_still_told(shown: int) -> None:
    """keep-alive-disabled fetches its names with its evidence."""
    limits = {"keep-alive-disabled": {"shown": f"{shown} connections"}}
    path = CAPTURES / "gunicorn-sync-closes.pcap"
    usual = wiredoctor.analyze(path, select=["keep-alive-disabled"]).findings
    [finding] = wiredoctor.analyze(path, select=["keep-alive-disabled"], thresholds=limits).findings
    assert (finding.message, finding.client, finding.server) == (usual[0].message, usual[0].client, usual[0].server)
    assert finding.evidence == usual[0].evidence[:shown]

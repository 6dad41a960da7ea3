"""exchanges, connections, rules, explain, schema, and the top."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import wiredoctor
from tests.cli.conftest import FakeAnalysis, Run
from wiredoctor import core


@pytest.mark.parametrize("table", ["exchanges", "connections"])
def test_tables(run: Run, analysis: FakeAnalysis, table: str) -> None:
    text, whole, lines = (run(table, "trace.pcap", "--format", form) for form in ("text", "json", "jsonl"))
    assert text.exit_code == whole.exit_code == lines.exit_code == 0
    assert f"\n4 {'HTTP exchanges' if table == 'exchanges' else 'TCP connections'}" in text.stdout
    assert len(json.loads(whole.stdout)[table]) == 4
    assert [json.loads(line) for line in lines.stdout.splitlines()] == json.loads(whole.stdout)[table]
    narrowed = run(table, "trace.pcap", "--connection", 2, "--format", "jsonl").stdout.splitlines()
    assert len(narrowed) == 1
    analysis.unreadable = ["x: is empty"]
    assert run(table, "trace.pcap", "x").exit_code == 2


def test_rules(run: Run) -> None:
    result = run("rules")
    assert result.exit_code == 0
    assert "stalls\n" in result.stdout
    assert "  nagle-delayed-ack " in result.stdout


def test_explain(run: Run) -> None:
    result = run("explain", "nagle-delayed-ack")
    assert result.exit_code == 0
    assert result.stdout.startswith("nagle-delayed-ack (family stalls)\n")
    assert all(part in result.stdout for part in ("How it is proved\n", "Thresholds\n", "min-ack-delay = 30 ms"))


def test_explain_finds_what_people_search_for(run: Run) -> None:
    assert run("explain", "nagle").stdout.startswith("nagle-delayed-ack (family stalls)\n")
    several = run("explain", "expected", "to", "be", "kept", "alive").stdout
    assert several.startswith('2 rules for "expected to be kept alive", the nearest first:\n\n  premature-close ')


def test_explain_an_unknown_rule(run: Run) -> None:
    result = run("explain", "nagle-delayed-akc")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "wiredoctor: no rule is called 'nagle-delayed-akc' or speaks of it; did you mean nagle-delayed-ack?\n"


def test_every_rule_can_be_explained(run: Run) -> None:
    from wiredoctor.rule_engine import catalogue

    for name in catalogue():
        assert run("explain", name).stdout.startswith(f"{name} (family ")


def test_configured_thresholds_stand_beside_the_default(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "w.toml"
    file.write_text('ignore = ["capture"]\n[thresholds.nagle-delayed-ack]\nmin-ack-delay = "46ms"\n')
    page, listed = run("explain", "nagle-delayed-ack", "--config", file), run("rules", "--config", file)
    assert "min-ack-delay = 46 ms (default 30 ms)" in page.stdout
    assert "min-ack-delay = 46 ms (default 30 ms)" in listed.stdout
    assert listed.stdout.count("left out by the configuration") >= 2
    assert "(default " not in run("rules").stdout


def test_schema(run: Run) -> None:
    result = run("schema")
    assert result.exit_code == 0
    Draft202012Validator.check_schema(json.loads(result.stdout))


def test_version(run: Run) -> None:
    how = f"interpreted ({core.reason})" if core.reason else "compiled"
    assert run("--version").stdout == f"wiredoctor {wiredoctor.__version__}, core {how}\n"


def test_help_names_every_command_whole(run: Run) -> None:
    text = run("--help").stdout
    commands = ("analyze", "exchanges", "connections", "interfaces", "rules", "explain", "schema")
    assert all(f"\n  {name} " in text for name in commands)
    assert "..." not in text.partition("Commands:")[2]

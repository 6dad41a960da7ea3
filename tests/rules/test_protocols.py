"""Test that a rule gets only connections of the protocols that it declares, and does not run without them."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

import wiredoctor
from tests.support.recordings import CAPTURES
from wiredoctor.findings import Rule
from wiredoctor.rule_engine import RuleModule, catalogue, find_candidates, find_summaries, run
from wiredoctor.tables import PROTOCOLS, RULE_TABLES

HTTP = ("http",)
MIXED = pl.DataFrame({"connection": [1, 2, 3], "protocol": ["tls", "http", "none"]})


def _module(protocols: tuple[str, ...], table: str = "connections", *, summary: bool = False) -> RuleModule:
    def find(rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.select("connection", seen=True)

    rule = Rule(severity="note", title="", message="", remedy="", summary=summary, protocols=protocols)
    return RuleModule("found", "other", rule, "", {}, find, (table,))


def _found(protocols: tuple[str, ...], rows: pl.DataFrame, table: str = "connections") -> list[int]:
    """Return the connections that a rule gets, the same as an event rule and as a summary rule."""
    event = find_candidates({"found": _module(protocols, table)}, {table: rows})
    [summary] = find_summaries({"found": _module(protocols, table, summary=True)}, {table: rows.lazy()}, few=True)
    numbers = [found["found"]["connection"].to_list() if found else [] for found in (event, summary)]
    assert numbers[0] == numbers[1]
    return numbers[0]


def test_a_rule_gets_the_connections_of_its_protocols() -> None:
    assert _found(HTTP, MIXED) == [2]
    assert _found(("tls", "none"), MIXED) == [1, 3]
    assert _found(PROTOCOLS, MIXED) == [1, 2, 3]


def test_a_segment_does_not_tell_what_its_connection_carries_later() -> None:
    releases = pl.DataFrame({"connection": [1, 2], "http": [False, True]})
    assert _found(HTTP, releases, "releases") == [1, 2]


def test_exchanges_are_http() -> None:
    exchanges = pl.DataFrame({"connection": [1, 2]})
    assert _found(HTTP, exchanges, "exchanges") == [1, 2]
    assert _found(("tls",), exchanges, "exchanges") == []


@pytest.mark.parametrize("summary", [False, True])
def test_a_rule_without_connections_of_its_protocols_is_not_run(summary: bool) -> None:
    asked: list[str] = []

    def find(connections: pl.LazyFrame) -> pl.LazyFrame:
        asked.append("asked")
        return connections.select("connection")

    module = _module(HTTP, summary=summary)._replace(find=find)
    for protocol in ("tls", "http"):
        rows = MIXED.filter(protocol=protocol)
        find_candidates({"found": module}, {"connections": rows})
        [*_] = find_summaries({"found": module}, {"connections": rows.lazy()})
        assert asked == ["asked"] * (protocol == "http")


def test_in_a_capture_without_http_no_rule_about_http_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    running: set[str] = set()
    promising: Any = vars(run)["_promising"]

    def recorded(modules: list[RuleModule], *args: Any, **how: Any) -> list[RuleModule]:
        running.update(module.name for module in modules)
        return promising(modules, *args, **how)

    monkeypatch.setattr(run, "_promising", recorded)
    about_http = {name for name, module in catalogue().items() if module.rule.protocols == HTTP}
    report = wiredoctor.analyze(CAPTURES / "capture-faults" / "encrypted.pcap", jobs=1)
    assert {finding.rule for finding in report.findings} == {"encrypted"}
    assert "encrypted" in running
    assert not running & about_http
    wiredoctor.analyze(CAPTURES / "healthy" / "apache-curl.pcap", jobs=1)
    assert running & about_http


def test_the_declared_protocols_exist() -> None:
    assert all({*PROTOCOLS} >= {*module.rule.protocols} != set() for module in catalogue().values())


def test_rules_about_tcp_alone_read_connections_of_any_protocol() -> None:
    segments = {name for name, table in RULE_TABLES.items() if table.subject == "segments"}
    of_http = [name for name, module in catalogue().items() if module.rule.protocols == HTTP and segments & {*module.tables}]
    assert of_http == []

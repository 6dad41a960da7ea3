"""A rule that is not run for want of a promising row would have found nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

import wiredoctor
from tests.captures.papers import EACH_KIND
from tests.rules.frames import without_tables
from tests.support.sweeps import SLOW
from wiredoctor.findings import configured
from wiredoctor.rule_engine import RuleModule, catalogue, run
from wiredoctor.tables import SECOND

SCREENED = {name for name, module in catalogue().items() if module.may_match is not None}


def test_rules_over_exchanges_are_screened() -> None:
    """So that what they cost does not grow with their number."""
    rules = [n for n, m in catalogue().items() if m.tables[0] in ("exchanges", "closes") and not m.rule.summary]
    unscreened = [n for n in rules if n not in SCREENED]
    assert unscreened == []


def test_summaries_over_connections_are_screened() -> None:
    """So that a million connections are fetched only where one of them has something to say."""
    unscreened = [n for n, m in catalogue().items() if m.tables[0] == "connections" and m.rule.summary and n not in SCREENED]
    assert unscreened == []


def found(module: RuleModule, *tables: pl.LazyFrame) -> pl.DataFrame:
    """The candidates of a rule: of a summary, which sees the whole tables at once, what its `group` makes of them."""
    rows = module.find(*tables).collect(optimizations=pl.QueryOptFlags.none())  # quicker for so few rows
    return module.group(rows, without_tables()) if module.rule.summary and module.group else rows


@SLOW
def test_no_candidate_of_any_kind_behind_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(speaking_rules(EACH_KIND, monkeypatch)) > len(SCREENED) // 2


def speaking_rules(paths: Sequence[Path], monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Check that no rule finds anything in the rows that its screen leaves out; return the rules that find something in all."""
    speaking: set[str] = set()

    def all_of_them(running: list[RuleModule], asked: object, given: run._Given, **sizes: bool) -> list[RuleModule]:
        del asked, sizes
        for module in running:
            if module.may_match is None:
                continue
            tables = [given.of(module, table) for table in module.tables]
            screens = run._screens(module, given)
            hopeless = [
                rows.filter(~screens[name].fill_null(value=False)) if name in screens else rows
                for name, rows in zip(module.tables, tables, strict=True)
            ]
            assert found(module, *hopeless).height == 0, module.name
            if module.name not in speaking and found(module, *tables).height:
                speaking.add(module.name)
        return running

    monkeypatch.setattr(run, "_promising", all_of_them)
    for path in paths:
        wiredoctor.analyze(path)
    return speaking


def test_screens_follow_the_configured_thresholds() -> None:
    module = catalogue()["idle-cut"]
    key = module.thresholds["REST"].key
    assert key is not None
    [usual] = run._screens(module, run._Given({})).values()
    with configured({key: "9 s"}):
        [longer] = run._screens(module, run._Given({})).values()
    [again] = run._screens(module, run._Given({})).values()
    seven_seconds = {
        **{"last_payload_time": 0, "server_close_time": 7 * SECOND, "client_close_time": None},
        **{"upgraded": False, "says_goodbye": False, "last_on_connection": True},
    }
    rest = pl.DataFrame([seven_seconds])
    assert [rest.select(one).item() for one in (usual, longer, again)] == [True, False, True]

"""Test properties of each rule that need no traffic: its texts, its page and its query."""

from __future__ import annotations

from typing import Any, get_args

import polars as pl
import pytest

from tests.rules.frames import without_tables
from wiredoctor.findings import CANDIDATE_COLUMNS, Severity
from wiredoctor.rule_engine import RuleModule, catalogue
from wiredoctor.rule_engine.catalogue import HEADINGS
from wiredoctor.rule_engine.plugins import EXPLAINING, SCOPES
from wiredoctor.rule_engine.render import GIVEN_NAMES, names_in
from wiredoctor.tables import RULE_TABLES

RULES = list(catalogue().values())


def by_name(module: RuleModule) -> str:
    return module.name


def texts_of(template: Any) -> list[str]:
    return [template] if isinstance(template, str) else list(template.values())


def on_empty_tables(module: RuleModule) -> pl.DataFrame:
    found = module.find(*(RULE_TABLES[t].empty().lazy() for t in module.tables)).collect()
    return module.group(found, without_tables()) if module.group else found


@pytest.mark.parametrize("module", RULES, ids=by_name)
def test_candidates_have_all_names_of_the_texts(module: RuleModule) -> None:
    found = on_empty_tables(module)
    rule = module.rule
    templates = [t for text in (rule.title, rule.message, rule.remedy, rule.display_filter) for t in texts_of(text)]
    asked = set().union(*(names_in(t) for t in templates))
    if module.words is None:
        assert not asked - set(found.columns) - set(GIVEN_NAMES)
    assert not set(CANDIDATE_COLUMNS) - set(found.columns)
    assert not set(module.fact_names) - set(found.columns)
    assert not asked & {"origin", "front", "addition"}  # fields of the finding itself, which a text would fill
    assert found.height == 0


@pytest.mark.parametrize("module", RULES, ids=by_name)
def test_texts_are_ascii_and_speak_of_the_same_kinds(module: RuleModule) -> None:
    rule = module.rule
    texts = [t for text in (rule.title, rule.message, rule.remedy, rule.display_filter) for t in texts_of(text)]
    texts += [a.text for a in rule.advice] + [r.title for r in rule.references] + [module.doc]
    assert [t for t in texts if not t.isascii()] == []
    kinds = [set(text) for text in (rule.severity, rule.title, rule.message, rule.remedy) if not isinstance(text, str)]
    assert all(k == kinds[0] for k in kinds)
    assert set(texts_of(rule.severity)) <= set(get_args(Severity))


@pytest.mark.parametrize("module", RULES, ids=by_name)
def test_the_manual_page_is_whole(module: RuleModule) -> None:
    first, *lines = module.doc.splitlines()
    assert first.endswith(".")
    places = [lines.index(heading) for heading in HEADINGS]
    assert places == sorted(places)
    assert all(lines[place + 1].startswith("    ") for place in places)
    assert all(t.value > 0 and t.reason for t in module.thresholds.values())
    assert all(r.url.startswith("http") for r in module.rule.references)
    assert module.rule.references


@pytest.mark.parametrize("module", [m for m in RULES if any(RULE_TABLES[t].at_packet for t in m.tables)], ids=by_name)
def test_rules_over_packets_neither_sort_nor_open_windows(module: RuleModule) -> None:
    plan = module.find(*(RULE_TABLES[t].empty().lazy() for t in module.tables)).explain()
    assert "SORT" not in plan.upper().replace('"SORT"', "")  # a column of releases and window_stalls
    assert "OVER" not in plan.upper().replace("OVERLAP", "").replace("LISTENOVERFLOWS", "")
    assert "ROLLING" not in plan.upper()


@pytest.mark.parametrize("module", RULES, ids=by_name)
def test_what_explains_is_scoped(module: RuleModule) -> None:
    assert {scope for _, scope in module.rule.explained_by} <= {*EXPLAINING}
    assert {scope for _, scope in module.rule.caused_by} <= {*SCOPES}
    elsewhere = {"front", "tries"}  # scopes of other exchanges
    named = {name for name, scope in (*module.rule.explained_by, *module.rule.caused_by) if scope not in elsewhere}
    assert module.name not in named
    assert not set(module.rule.explained_by) & set(module.rule.caused_by)

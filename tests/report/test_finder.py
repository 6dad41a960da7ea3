"""Test that rules are found by their names and by words of their titles and symptoms."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from tests.report.test_manual import RULE, Page
from wiredoctor.report.terminal.rule_search import MAX_RULES, at_once, find
from wiredoctor.rule_engine import catalogue

PAGES = MappingProxyType(
    {
        page.name: page
        for page in (
            Page(),
            Page(name="premature-close", family="lifetime", doc="The server closed a connection.\n\nWhat it means\n    Widgets."),
            Page(
                name="acme-lateness", family="acme", rule=RULE._replace(symptom="a 7 ms pause, *EFROB*"), doc="Late frobnication."
            ),
        )
    }
)


def names(words: str) -> list[str]:
    return [entry.name for entry in find(PAGES, words).entries]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("nagle-delayed-ack", "nagle-delayed-ack"),
        ("Nagle Delayed_ACK", "nagle-delayed-ack"),
        ("nagle", "nagle-delayed-ack"),
        ("the delayed", "nagle-delayed-ack"),
        ("nagledelayed", "nagle-delayed-ack"),
        ("server closed", "premature-close"),
        ("close server connect", "premature-close"),
        ("acme frobnic", "acme-lateness"),
        ("7ms", "acme-lateness"),
        ("7 ms", "acme-lateness"),
        ("efrob", "acme-lateness"),
    ],
)
def test_one_rule_is_meant(words: str, name: str) -> None:
    found = find(PAGES, words)
    assert [entry.name for entry in found.entries] == [name]
    assert found.sure


@pytest.mark.parametrize("words", ["", "  ", "xyzzy", "the", "?!", "widgets", "server xyzzy", "robnication", "7 s"])
def test_nothing(words: str) -> None:
    assert find(PAGES, words) == ([], False)


def test_a_name_is_that_rule_and_no_other() -> None:
    assert find({"close": Page(name="close"), "close-2": Page(name="close-2")}, "close").sure


def test_rules_with_the_words_in_their_names_come_first() -> None:
    docs = {"a": "A slow host.", "b": "Fast.", "slow-c": "x", "slow-d": "x"}
    pages = {name: Page(name=name, doc=doc) for name, doc in docs.items()}
    found = find(pages, "slow")
    assert [entry.name for entry in found.entries] == ["slow-c", "slow-d", "a"]
    assert not found.sure


def test_a_family_is_listed_completely() -> None:
    pages = {f"rule-{number}": Page(name=f"rule-{number}", family="acme", doc="x") for number in range(MAX_RULES + 2)}
    assert len(at_once(find(pages, "Acme").entries, "Acme")) == MAX_RULES + 2
    assert len(at_once(find(pages, "rule").entries, "rule")) == MAX_RULES


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("nagle", {"nagle-delayed-ack"}),
        ("retransmission", {"retransmission-stall"}),
        ("keepalive", {"keep-alive-race", "keep-alive-disabled"}),
        ("40 ms", {"nagle-delayed-ack"}),
        ("503 service unavailable", {"gateway-error"}),
        ("499", {"client-abort"}),
        ("slow", {"slow-response", "slow-sibling", "zero-window-stall"}),
        ("server-sent events", {"buffered-stream"}),
    ],
)
def test_the_rules_that_there_are(words: str, found: set[str]) -> None:
    assert found <= {entry.name for entry in find(catalogue(), words).entries}


def test_every_rule_is_found_by_its_name() -> None:
    rules = catalogue()
    for name, rule in rules.items():
        assert find(rules, name) == ([rule], True)

"""A name that does not exist is answered with the name that was meant, or with none."""

from __future__ import annotations

import pytest

from wiredoctor.rule_engine.catalogue import catalogue
from wiredoctor.text.suggestion import similar_names, suggestion


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("nagle", "nagle-delayed-ack"),
        ("nagel", "nagle-delayed-ack"),
        ("NAGLE-DELAYED-ACK", "nagle-delayed-ack"),
        ("zero_window", "zero-window-stall"),
        ("keepalive", "keep-alive-race"),
        ("race", "keep-alive-race"),
        ("asdfqwer", ""),
        ("ack", ""),
        ("502", ""),
        ("", ""),
    ],
)
def test_a_part_of_a_name_leads_to_its_rule(typed: str, meant: str) -> None:
    assert suggestion(typed, catalogue()) == (f"; did you mean {meant}?" if meant else "")


def test_each_word_of_a_text_leads_to_rules() -> None:
    names = ["slow-sibling", "no-response", "slow-response", "idle-cut", "websocket-failed"]
    assert similar_names("slow respnse", names, 2) == ["slow-response", "no-response"]
    assert similar_names("websockets disconnect", names, 5) == ["websocket-failed"]
    assert similar_names("", names, 5) == []

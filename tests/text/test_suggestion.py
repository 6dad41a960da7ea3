"""A name that does not exist is answered with the name that was meant, or with none."""

from __future__ import annotations

import pytest

from wiredoctor.rule_engine.catalogue import catalogue
from wiredoctor.text.suggestion import suggestion


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

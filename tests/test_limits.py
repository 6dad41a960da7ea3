"""All limits stand in one place, and a report says which of them were met."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.http.talk import HANDSHAKE, analyzed
from tests.ladders import ladder_packets
from wiredoctor import limits
from wiredoctor.limits import LimitsReached

LONG_HEAD = """
0.020 > P. "GET /a HTTP/1.1\\r\\nX: 0123456789012345678901234567890123456789"
0.021 > P. "0123456789\\r\\n\\r\\n"
"""


OF_A_CAPTURE = (limits.SORTED_RUNS, limits.SORTED_LANES)
"""Limits that concern a capture as a whole, so there is nothing to count."""


def test_every_limit_is_told_with_its_number() -> None:
    for limit in limits.all_limits().values():
        if limit.sentence:
            assert limit.text in limit.describe(1)
            assert "1,234" in limit.describe(1_234) or limit in OF_A_CAPTURE
        assert limit.reason
        assert limit.value > 0


def test_names_are_not_given_twice() -> None:
    declared = Path(limits.__file__).read_text("utf-8").count("= Limit(")
    assert len(limits.all_limits()) == declared


@pytest.mark.parametrize(
    ("limit", "text"),
    [(limits.HEAD, "256 KiB"), (limits.AHEAD, "16 MiB"), (limits.RETENTION, "120 s"), (limits.BEHIND, "8,192 packets")],
)
def test_a_value_is_written_with_its_unit(limit: limits.Limit, text: str) -> None:
    assert text in limit.text


def test_one_and_several() -> None:
    assert limits.HEAD.describe(1) == "1 header section was longer than 256 KiB and not read"
    assert limits.HEAD.describe(2) == "2 header sections were longer than 256 KiB and not read"


def test_counts_of_processes_are_added_up() -> None:
    met = LimitsReached()
    met.add(limits.HEAD, 2)
    met.add(limits.SCRATCH, 5)
    met.join([{limits.HEAD.name: 3, limits.AHEAD.name: 1}])
    assert met.counts == {limits.HEAD.name: 5, limits.SCRATCH.name: 5, limits.AHEAD.name: 1}
    assert met.messages() == [limits.SCRATCH.describe(5), limits.HEAD.describe(5), limits.AHEAD.describe(1)]


def test_the_report_says_which_limit_was_met(monkeypatch: pytest.MonkeyPatch) -> None:
    packets = ladder_packets(HANDSHAKE + LONG_HEAD)
    assert analyzed(packets).limits == []
    monkeypatch.setattr(limits.HEAD, "value", 50)
    assert analyzed(packets).limits == ["1 header section was longer than 50 bytes and not read"]

"""Test that the cause in the remedy of conflicting-framing does not become the finding's origin."""

from __future__ import annotations

from tests.captures.reports import report_of
from tests.support.recordings import find_recording


def test_the_usual_cause_is_in_the_remedy_only() -> None:
    told = [one for one in report_of(find_recording("length-and-chunks.pcap")).findings if one.rule == "conflicting-framing"]
    assert {one.origin for one in told} == {None}
    assert all("Both fields together come from programs" in one.remedy for one in told)

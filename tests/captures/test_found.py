"""Test that captures of faults that people reported in public are told rightly, and that their healthy twins are."""

from __future__ import annotations

from pathlib import Path

import pytest

import wiredoctor
from tests.support.sweeps import SLOW

FOUND = Path(__file__).parents[3] / "shared" / "found"
LINES = [line.split() for line in Path(__file__).with_name("found.txt").read_text().splitlines() if line and line[0] != "#"]
TRUE = {("30-reset-ends-body-fin-healthy.pcap", "keep-alive-disabled")}
"""The warnings about a healthy twin that are true."""

pytestmark = [SLOW, pytest.mark.skipif(not FOUND.is_dir(), reason="the captures are not there")]


@pytest.mark.parametrize("name", sorted({line[0] for line in LINES}))
def test_what_people_reported_is_found(name: str) -> None:
    found = {(one.rule, one.kind or "-", one.side or "-") for one in wiredoctor.analyze(FOUND / name).findings}
    assert {tuple(line[1:]) for line in LINES if line[0] == name} <= found


@pytest.mark.parametrize("twin", sorted(path.name for path in (FOUND / "healthy").glob("*.pcap")))
def test_nothing_is_wrong_with_the_healthy_twin(twin: str) -> None:
    worse = [one for one in wiredoctor.analyze(FOUND / "healthy" / twin).findings if one.severity != "note"]
    assert {(twin, one.rule) for one in worse} <= TRUE

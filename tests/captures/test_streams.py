"""Test that streams that answer calls are told rightly where something cut them, and that healthy ones are silent."""

from __future__ import annotations

from pathlib import Path

import pytest

import wiredoctor
from tests.support.sweeps import SLOW

STREAMS = Path(__file__).parents[3] / "shared" / "streams"
LINES = [line.split() for line in Path(__file__).with_name("streams.txt").read_text().splitlines() if line and line[0] != "#"]

pytestmark = [SLOW, pytest.mark.skipif(not STREAMS.is_dir(), reason="the captures are not there")]


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line[0]}: {line[1]}")
def test_what_cut_a_stream_is_told(line: list[str]) -> None:
    name, *expected = line
    found = wiredoctor.analyze(STREAMS / name).findings
    if expected == ["-"]:
        assert [one for one in found if one.severity != "note"] == []
        return
    rule, kind, severity, side, count = expected
    same = [one for one in found if one.rule == rule]
    assert [(one.kind or "-", one.severity, one.side or "-") for one in same] == [(kind, severity, side)] * int(count)


@pytest.mark.parametrize("twin", sorted(path.name for path in (STREAMS / "healthy").glob("*.pcap")))
def test_nothing_is_wrong_with_a_healthy_stream(twin: str) -> None:
    assert [one for one in wiredoctor.analyze(STREAMS / "healthy" / twin).findings if one.severity != "note"] == []

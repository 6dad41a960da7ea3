"""Test that what a live capture has told is kept for its report as it was told, the newest in bounded room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import wiredoctor
from tests.support.recordings import find_recording
from wiredoctor import limits, rule_engine
from wiredoctor.rule_engine.told_findings import ToldFinding, ToldFindings
from wiredoctor.storage.spill import Folder

STALL = "nagle-delayed-ack"


def test_the_newest_findings_are_kept_as_they_were_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = wiredoctor.analyze(find_recording("server-head-body-split.pcap"))
    monkeypatch.setattr(limits.FINDINGS, "value", 2)
    findings = [one for one in report.findings if one.rule == STALL]
    rows = pl.DataFrame({
        "connection": [one.connection for one in findings], "frame": [one.evidence[-1].frame for one in findings],
        "client": [one.client for one in findings], "server": [one.server for one in findings],
    })  # fmt: skip
    kept, made = ToldFindings(Folder(str(tmp_path))), list[int]()

    def make(some: pl.DataFrame) -> Iterator[ToldFinding]:
        for frame in some["frame"]:
            made.append(frame)
            [one] = [one for one in findings if one.evidence[-1].frame == frame]
            yield ToldFinding(one, frame)

    def told(some: pl.DataFrame) -> list[ToldFinding]:
        return [*kept.with_others(rule_engine.catalogue()[STALL], some, report.captures[0].file, make)]

    expected = [ToldFinding(one, one.evidence[-1].frame) for one in findings]
    assert len(expected) > 4
    assert told(rows) == expected
    assert told(rows.tail(2)) == expected[-2:]
    assert made == rows["frame"].to_list()
    assert told(rows.head(2)) == expected[:2]
    assert len(made) == len(expected) + 2
    assert len([*tmp_path.glob("*/told-*")]) <= 2

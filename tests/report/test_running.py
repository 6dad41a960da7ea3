"""Test the screen of a live capture: similar findings are grouped, it fits the terminal, and has no control characters."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.report import examples
from wiredoctor.cli.screen import JsonLines, Lines
from wiredoctor.findings import Finding
from wiredoctor.report.groups import group_findings
from wiredoctor.report.terminal import live_view
from wiredoctor.report.terminal.live_view import Rates, Tally, lines, plain
from wiredoctor.report.terminal.terminal import Terminal

FINDING = examples.finding()


@dataclass
class Standing:
    backend: str = "dumpcap"
    captured: int = 1234
    dropped: int | None = None
    connections: int = 3
    open: int = 2
    exchanges: int = 40
    lag: float = 0.0
    unread_bytes: int = 0
    overwritten: int = 0
    waiting: int = 0


def shown(tally: Tally, width: int = 80, height: int = 24, status: Standing | None = None) -> list[str]:
    drawn = lines("live: eth0", 3725.4, status or Standing(), Rates(packets=12.0), tally, Terminal(width=width), height)
    return [line.plain for line in drawn]


def test_like_findings_are_one_line_with_their_number_and_their_time() -> None:
    tally = Tally()
    for number in range(38):
        tally.add(replace(FINDING, delay=0.2 + number / 1000, elapsed=float(number)))
    tally.add(replace(FINDING, server="10.0.0.9:80", delay=None, severity="note"))
    text = "\n".join(shown(tally, width=160))
    # 38 * 0.2 s, and 0 + 1 + ... + 37 ms
    assert "  38 times, 8.3 s lost" in text
    assert text.index(FINDING.severity.upper()) < text.index("NOTE")
    assert text.startswith("live: eth0  1:02:05  Ctrl-C")
    assert "1,234 packets (12/s)  3 connections, 2 open  40 exchanges (0/s)" in text


def test_the_groups_are_those_of_the_report() -> None:
    findings = [
        examples.finding(severity=severity, delay=delay, server=f"10.0.0.{i % 3}:80", elapsed=float(i))
        for i, (severity, delay) in enumerate([("warning", 0.1), ("error", None), ("note", 2.0), ("warning", 0.5)] * 6)
    ]
    tally = Tally()
    for finding in findings:
        tally.add(finding)
    expected = [(g.worst, g.count, g.delay) for g in group_findings(findings)]
    found = [(g.worst, g.count, g.delay) for g in tally.worst_first()]
    assert [(w, n) for w, n, _ in found] == [(w, n) for w, n, _ in expected]
    assert [d for *_, d in found] == pytest.approx([d for *_, d in expected])


@given(st.integers(20, 200), st.integers(6, 60), st.integers(0, 30), st.text(max_size=300))
def test_it_fits_the_terminal_and_says_what_is_left_out(width: int, height: int, groups: int, title: str) -> None:
    tally = Tally()
    for i in range(groups):
        tally.add(replace(FINDING, server=f"10.0.0.{i}:80", title=title))
    text = shown(tally, width, height)
    assert max(map(cell_len, text)) <= width
    assert all(line.isprintable() for line in text)
    labels = sum(line.startswith(FINDING.severity.upper()) for line in text)
    left = [line for line in text if line.endswith(" more")]
    assert labels + sum(int(line.split()[0]) for line in left) == groups
    alone = Tally()
    alone.add(replace(FINDING, title=title))
    assert len(text) <= max(height, len(shown(alone, width, height)) + 1)  # one is shown, however small the terminal


def test_of_very_many_the_least_bad_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_view, "MAX_GROUPS", 10)
    tally = Tally()
    for i in range(30):
        tally.add(replace(FINDING, server=f"10.0.0.{i}:80", delay=float(i)))
    assert [group.delay for group in tally.worst_first()] == [float(i) for i in range(29, 19, -1)]


def test_drops_and_lag_are_told() -> None:
    assert "kernel drops: known at the end  analysis: up to date" in shown(Tally())
    busy = shown(Tally(), status=Standing(dropped=5120, lag=2.5, unread_bytes=34_000_000, waiting=7))
    assert "kernel drops: 5,120  analysis: 2.5 s behind (34 MB)  7 not final yet" in busy


def test_a_line_where_there_is_no_terminal() -> None:
    finding = replace(FINDING, time="2026-01-31T12:34:56.123456789Z", title="It \x1b[31mwaited", request="GET /\x07", delay=None)
    line = plain(finding)
    assert line.startswith(f"12:34:56.123Z {FINDING.severity.upper():7} It \\x1b[31mwaited; {FINDING.rule}")
    assert line.endswith("GET /\\x07")
    assert line.isprintable()


def test_a_problem_that_comes_again_is_one_short_line_from_time_to_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three at second 0, two at second 1, none at second 6: the first has a line of its own, the others one together."""
    now = 100.0
    monkeypatch.setattr("wiredoctor.cli.screen.time.monotonic", lambda: now)
    view = Lines(quiet=True)

    def show(at: float, *findings: Finding) -> list[str]:
        nonlocal now
        now = 100.0 + at
        view.show(findings, Standing())
        return capsys.readouterr().out.splitlines()

    [first] = show(0.0, *(replace(FINDING, connection=n) for n in range(3)))
    assert "Nagle's algorithm met a delayed ACK (200 ms); nagle-delayed-ack (head-body-split), 10.0.0.1" in first
    assert show(1.0, *(replace(FINDING, connection=n, time="2026-01-31T12:00:09.5Z") for n in range(3, 5))) == []
    [again] = show(6.0)
    assert "12:00:09.500" in again
    assert again.endswith(" WARNING again: nagle-delayed-ack (head-body-split), 10.0.0.2:80; 5 times so far, 1 s lost")
    assert show(20.0) == []
    [other] = show(21.0, replace(FINDING, rule="tinygrams", severity="note", delay=None))
    assert " NOTE " in other
    assert "again" not in other


LAGS = [
    *((0.0, 0.4), (1.0, 4.9), (2.0, 5.0), (50.0, 70.0), (61.0, 66.0), (62.0, 70.0)),
    *((63.0, 3.0), (64.0, 2.4), (65.0, 6.0), (122.0, 4.0), (123.0, 5.5)),
]
"""Times and lags in seconds: 5 s late, for more than a minute, then caught up, and late again."""


def test_a_lag_is_reported_at_once_then_every_minute_and_at_its_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr("wiredoctor.cli.screen.time.monotonic", lambda: now)
    lines = [json.dumps({"behind": lag}) for lag in (5.0, 70.0, 0.0, 5.5)]
    behind = "wiredoctor: the analysis is {} behind (34 MB); {}"
    for view, out in ((Lines(quiet=False), []), (JsonLines(quiet=False), lines)):
        for now, lag in LAGS:
            view.show([], Standing(lag=lag, unread_bytes=34_000_000, overwritten=1200 if now > 100 else 0))
        printed = capsys.readouterr()
        assert printed.out.splitlines() == out
        assert printed.err.splitlines() == [
            behind.format("5 s", "no packets are lost"),
            behind.format("70 s", "no packets are lost"),
            "wiredoctor: the analysis has caught up",
            behind.format("5.5 s", "the ring overwrote 1,200 packets before"),
        ]

"""Rules that look across connections see the end of a long capture, as a live one of days does, and the report says so."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import wiredoctor
from tests.ladders import ladder_packets, set_back, to_pcap
from tests.pipeline import feeding
from tests.pipeline.processes import WRITTEN, report, reports
from tests.support.sweeps import sweep
from wiredoctor import Report, limits, rule_engine
from wiredoctor.rule_engine.summaries import SummaryWindow
from wiredoctor.tables import SECOND, SMALL

HOUR = 3_600


def told(count: int, limit: limits.Limit = limits.COMPARED_TIME) -> list[str]:
    return [limit.describe(count)]


def connection(number: int, start: float, *lines: str, server: str = "10.0.0.2:80") -> str:
    """A handshake at `start` (s), and what follows; times of lines count from there."""
    opened = f"connection {number}, start {start}, client 10.0.0.1:{40_000 + number}, server {server}"
    return "\n".join([opened, "0.000 > S mss 1460", "0.010 < S. mss 1460", "0.010 > .", *lines])


def exchange(at: float, close: bool) -> list[str]:
    """One at so many seconds of its connection; with `close` the server says Connection: close, and does."""
    field = "Connection: close\\r\\n" if close else ""
    lines = [
        f'{at + 0.1:.3f} > P. "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"',
        f'{at + 0.2:.3f} < P. "HTTP/1.1 200 OK\\r\\n{field}Content-Length: 2\\r\\n\\r\\nok"',
        f"{at + 0.21:.3f} > .",
    ]
    return [*lines, f"{at + 0.22:.3f} < F.", f"{at + 0.23:.3f} > F.", f"{at + 0.24:.3f} < ."] if close else lines


def closing(first: int, start: float, count: int = 3) -> str:
    """Connections, ten seconds apart, of which each is closed after one exchange: keep-alive-disabled."""
    return "\n".join(connection(first + n, start + 10 * n, *exchange(0, close=True)) for n in range(count))


def last_packet(at: float, number: int = 99) -> str:
    """A connection of another server whose last packet is at `at` (s)."""
    return connection(number, at - 1, "1.000 > R.", server="10.0.0.9:80")


STALL = connection(
    50, 0,
    '0.011 > P. "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"',
    '0.022 < P. "HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\n"',
    "0.222 > .",
    '0.232 < P. "hello"',
    server="10.0.0.3:80",
)  # fmt: skip
"""nagle-delayed-ack, an event."""


def written(folder: Path, text: str) -> Path:
    path = folder / "long.pcap"
    path.write_bytes(to_pcap(ladder_packets(text)))
    return path


def analysed(folder: Path, *texts: str, **how: Any) -> Report:
    return wiredoctor.analyze(written(folder, "\n".join(texts)), **how)


def rules_of(report: Report) -> list[str]:
    return [finding.rule for finding in report.findings]


def test_what_was_compared_an_hour_before_the_end_is_not_said(tmp_path: Path) -> None:
    report = analysed(tmp_path, closing(1, 0), last_packet(2 * HOUR), select=["keep-alive-disabled"])
    assert rules_of(report) == []
    assert report.limits == told(3)
    assert report.limits == [
        "rules that compare connections see the last 1 h of a capture: 3 connections that began earlier were not compared"
    ]


@pytest.mark.parametrize("engine", ["auto", "streaming"])
def test_more_exchanges_than_are_looked_at_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    """They are read from their batches while queries run, and a query for them is not run like one over a table."""
    monkeypatch.setattr(limits.SUMMARIES_TOGETHER, "value", 0 if engine == "streaming" else 1 << 30)
    text = "\n".join([closing(1, 0), closing(10, HOUR, SMALL + 1), last_packet(2 * HOUR, 900)])
    report = analysed(tmp_path, text, select=["keep-alive-disabled", "no-connection-reuse"])
    assert rules_of(report) == ["keep-alive-disabled"]
    assert report.findings[0].measures["exchanges"] == SMALL + 1
    assert report.limits == told(3)


def test_what_was_compared_in_the_last_hour_is_said(tmp_path: Path) -> None:
    report = analysed(tmp_path, closing(1, 0, 2), closing(10, 1.5 * HOUR), last_packet(2 * HOUR), select=["keep-alive-disabled"])
    assert rules_of(report) == ["keep-alive-disabled"]
    assert report.findings[0].measures["exchanges"] == 3
    assert report.limits == told(2)


def test_an_hour_is_compared_as_a_whole(tmp_path: Path) -> None:
    """The first packet is in the window when it lies exactly an hour before the last one."""
    report = analysed(tmp_path, closing(1, 0), last_packet(HOUR), select=["keep-alive-disabled"])
    assert rules_of(report) == ["keep-alive-disabled"]
    assert report.limits == []
    report = analysed(tmp_path, closing(1, 0), last_packet(HOUR + 0.001), select=["keep-alive-disabled"])
    assert rules_of(report) == []  # one is left out, and two are a coincidence
    assert report.limits == told(1)


def test_what_comes_after_the_clock_was_set_back_is_compared(tmp_path: Path) -> None:
    """Their time stamps are two hours older, but they are the newest. Of what was before, the last hour counts by its stamps."""
    text = "\n".join([closing(1, 0), closing(20, 2 * HOUR), last_packet(2 * HOUR + 60)])
    path = tmp_path / "back.pcap"
    early = set_back(ladder_packets(closing(40, 2 * HOUR + 120)), 0, round(2 * HOUR * SECOND))
    path.write_bytes(to_pcap([*ladder_packets(text), *early]))
    report = wiredoctor.analyze(path, select=["keep-alive-disabled"])
    assert rules_of(report) == ["keep-alive-disabled"]
    assert report.findings[0].measures["exchanges"] == 6
    assert report.limits == told(3)


def test_an_hour_is_compared_after_the_clock_was_set_back(tmp_path: Path) -> None:
    """The clock was set back by five hours, and went on for two: the first of these is left out, and what was before."""
    packets = ladder_packets("\n".join([closing(1, 0), last_packet(6 * HOUR)]))
    later = "\n".join([closing(20, 6 * HOUR + 60), closing(40, 7.9 * HOUR), last_packet(8 * HOUR, 98)])
    path = tmp_path / "back.pcap"
    path.write_bytes(to_pcap([*packets, *set_back(ladder_packets(later), 0, round(5 * HOUR * SECOND))]))
    report = wiredoctor.analyze(path, select=["keep-alive-disabled"])
    assert rules_of(report) == ["keep-alive-disabled"]
    assert report.findings[0].measures["exchanges"] == 3
    assert report.limits == told(6)


STRADDLING = "\n".join(connection(n, 10 * n, *exchange(0, close=False), *exchange(1.5 * HOUR, close=True)) for n in range(21, 24))
"""Connections of two exchanges, of which the window has one."""


def test_a_connection_is_seen_from_its_first_packet_on_or_not_at_all(tmp_path: Path) -> None:
    """Of the last exchange alone it would look as if each were closed after its first."""
    wanted = ["keep-alive-disabled", "no-connection-reuse", "idle-close"]
    report = analysed(tmp_path, STRADDLING, last_packet(2 * HOUR), select=wanted)
    assert rules_of(report) == []
    assert report.limits == told(3)
    assert rules_of(analysed(tmp_path, closing(1, 1.5 * HOUR), last_packet(2 * HOUR), select=wanted)) == ["keep-alive-disabled"]


ENCRYPTED = ['0.100 > P. "\\x16\\x03\\x01\\x00\\x04\\x01\\x00\\x00\\x00"', "0.200 < ."]


def test_rules_about_the_capture_see_what_lasted_until_the_window(tmp_path: Path) -> None:
    lasting = connection(1, 0, *ENCRYPTED, f"{1.5 * HOUR} > .")
    over = connection(2, 0, *ENCRYPTED)
    report = analysed(tmp_path, lasting, last_packet(2 * HOUR), select=["encrypted"])
    assert rules_of(report) == ["encrypted"]
    assert report.limits == []
    report = analysed(tmp_path, over, last_packet(2 * HOUR), select=["encrypted"])
    assert rules_of(report) == []
    assert report.limits == told(1)
    report = analysed(tmp_path, over, lasting, last_packet(2 * HOUR))
    assert report.limits == told(2)  # others do not see the lasting one either


def test_events_are_told_whenever_they_were(tmp_path: Path) -> None:
    report = analysed(tmp_path, STALL, last_packet(2 * HOUR), select=["nagle-delayed-ack"])
    assert rules_of(report) == ["nagle-delayed-ack"]
    assert report.limits == []  # no rule that compares was asked


def test_rules_about_the_file_are_not_limited(tmp_path: Path) -> None:
    assert analysed(tmp_path, closing(1, 0), last_packet(2 * HOUR), select=["clock-step", "damaged-file"]).limits == []


@pytest.mark.parametrize(
    ("chosen", "count"), [("keep-alive-disabled", 2), ("encrypted", 1), ("damaged-file", 0), ("nagle-delayed-ack", 0)]
)
def test_what_a_live_capture_has_forgotten_counts_as_left_out(chosen: str, count: int) -> None:
    """By the rules that would have looked at it: the report of the file says the same."""
    rows = {"connection": [0, 1], "start": [3, 6], "end": [6, 9]}
    tables = {"connections": pl.LazyFrame(rows), "exchanges": pl.LazyFrame({"connection": [0, 1]})}
    met = limits.LimitsReached()
    rule_engine.restrict_to_window(
        tables, {chosen: rule_engine.catalogue()[chosen]}, SummaryWindow(5, limits.COMPARED_TIME), met, forgotten=1
    )
    assert met.counts == ({limits.COMPARED_TIME.name: count} if count else {})


LONG = "\n".join([STALL, closing(1, 0), STRADDLING, closing(60, 1.6 * HOUR),
                  connection(70, 5, *ENCRYPTED), last_packet(2 * HOUR)])  # fmt: skip


@pytest.mark.parametrize("step", [1, 2, 7, 31])
def test_steps_do_not_matter(tmp_path: Path, step: int) -> None:
    path = written(tmp_path, LONG)
    whole = feeding.report(path)
    assert json.loads(whole)["limits"] == told(8)
    assert {"keep-alive-disabled", "nagle-delayed-ack"} <= {f["rule"] for f in json.loads(whole)["findings"]}
    assert feeding.report(path, step) == whole


@pytest.mark.skipif(sys.platform != "linux", reason="captures are shared by processes on Linux only")
@pytest.mark.parametrize("before", sweep(["", WRITTEN], "".__eq__), ids=["held", "written"])
def test_processes_do_not_matter(tmp_path: Path, before: str) -> None:
    path = written(tmp_path, LONG)
    expected = json.loads(feeding.report(path, show_secrets=True))
    [answers] = reports([path], [1, 2], before=before, steps=(11, 1_000))
    assert [report(answer) for answer in answers] == [expected] * 4


def test_so_many_exchanges_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection of the first of them began before it, with its handshake."""
    monkeypatch.setattr(limits.COMPARED_EXCHANGES, "value", 5)
    report = analysed(tmp_path, closing(1, 0, 5), select=["keep-alive-disabled"])
    assert report.findings[0].measures["exchanges"] == 5
    assert report.limits == []
    monkeypatch.setattr(limits.COMPARED_EXCHANGES, "value", 4)
    report = analysed(tmp_path, closing(1, 0, 5), select=["keep-alive-disabled"])
    assert report.findings[0].measures["exchanges"] == 3
    assert report.limits == told(2, limits.COMPARED_EXCHANGES)
    assert "the last 4 exchanges" in report.limits[0]


def test_the_closer_limit_is_the_one_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = (closing(1, 0), closing(10, 1.5 * HOUR, 5), last_packet(2 * HOUR))
    monkeypatch.setattr(limits.COMPARED_EXCHANGES, "value", 6)
    assert analysed(tmp_path, *texts, select=["keep-alive-disabled"]).limits == told(3)
    monkeypatch.setattr(limits.COMPARED_EXCHANGES, "value", 4)
    report = analysed(tmp_path, *texts, select=["keep-alive-disabled"])
    assert report.limits == told(5, limits.COMPARED_EXCHANGES)
    assert report.findings[0].measures["exchanges"] == 3


@pytest.mark.parametrize("seed", range(20))
def test_the_start_of_the_last_exchanges_is_that_of_sorting_them(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    starts = [chance.choice([None, chance.randrange(-5 * SECOND, 40 * SECOND), 7 * SECOND]) for _ in range(200)]
    answered = [start if start is None or chance.random() < 0.5 else None for start in starts]
    asked = [start if late is None else None for start, late in zip(starts, answered, strict=True)]
    rows = pl.LazyFrame({"request_start": asked, "response_start": answered}, schema_overrides={
        "request_start": pl.Int64, "response_start": pl.Int64,
    })  # fmt: skip
    latest = 40 * SECOND
    for count in (1, 3, 50, 100, 199):
        monkeypatch.setattr(limits.COMPARED_EXCHANGES, "value", count)
        known = sorted((start for start in starts if start is not None), reverse=True)
        found = rule_engine.window(rows, len(starts), -5 * SECOND, latest)
        assert (found and found.since) == (known[count - 1] if count <= len(known) else None)


def test_a_capture_that_is_short_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one query is spent on it."""
    asked = pl.LazyFrame({"request_start": [0]}).select(pl.col("request_start").map_batches(_never))
    assert rule_engine.window(asked, 1_000_000, 0, HOUR * SECOND) is None
    with pytest.raises(pl.exceptions.PolarsError):
        asked.collect()


def _never(_: pl.Series) -> pl.Series:
    raise AssertionError

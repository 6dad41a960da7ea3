"""Captures whose times are not those of the hosts: TCP timestamps that advance too slowly show it, and no finding needs times."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from tests.ladders import ladder_packets, to_pcap
from tests.support.analysis import analyze_bytes
from wiredoctor.rule_engine.unreliable_times import replay_rate

SECOND = 1_000_000_000
STALLED = r"""
  0.000  >  S    win 64240 mss 1460 ts
  0.010  <  S.   win 64240 mss 1460 ts
  0.010  >  .    ts
  0.011  >  P.   "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n" ts
  0.031  <  .    ts
  0.051  >  P.   "abc" ts
  0.300  >  P.   49:52 "abc" ts
  0.311  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" ts
  0.311  >  .    ts
  0.330  >  P.   "GET /b HTTP/1.1\r\nHost: a\r\n\r\n" ts
  0.341  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" ts
  0.341  >  .    ts
"""
Row = tuple[str, str, int | None, int | None, int | None, int | None]


def slowed(factor: float) -> bytes:
    packets = ladder_packets(STALLED)
    start = packets[0].time
    return to_pcap([replace(packet, time=start + int((packet.time - start) * factor)) for packet in packets])


def test_a_stall_at_the_original_speed_is_reported(tmp_path: Path) -> None:
    report = analyze_bytes(tmp_path / "a.pcap", slowed(1))
    assert [finding.rule for finding in report.findings] == ["retransmission-stall"]
    assert not report.limits


def test_a_replay_gets_no_finding_about_times_and_a_line_that_says_why(tmp_path: Path) -> None:
    report = analyze_bytes(tmp_path / "a.pcap", slowed(16))
    assert not report.findings
    [limit] = report.limits
    assert "62 ticks in a second" in limit or "63 ticks in a second" in limit


def connections(*rows: Row) -> pl.LazyFrame:
    names = ("client", "server", "client_ticks", "client_tick_time", "server_ticks", "server_tick_time")
    types = (pl.String, pl.String, pl.Int64, pl.Int64, pl.Int64, pl.Int64)
    return pl.LazyFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


def at(rate_client: float, rate_server: float, seconds: int = 10) -> Row:
    time = seconds * SECOND
    return "10.0.0.1:999", "10.0.0.2:80", round(rate_client * seconds), time, round(rate_server * seconds), time


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([at(88.4, 87.8)], id="two hosts with equally slow clocks"),
        pytest.param([at(4, 4.4)], id="very slow"),
        pytest.param([at(60, 60, 1), at(60, 60, 1)], id="several connections of the same hosts"),
        pytest.param([at(60, 60), ("10.0.0.3:9", "10.0.0.2:80", 6, SECOND // 10, None, None)], id="a third host with few ticks"),
    ],
)
def test_a_replay_is_recognized(rows: list[Row]) -> None:
    assert replay_rate(connections(*rows)) is not None


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([at(1000, 1000)], id="clocks with 1,000 ticks per second"),
        pytest.param([at(60, 1000)], id="one host with a slow clock"),
        pytest.param([at(60, 75)], id="two slow clocks that differ by a quarter"),
        pytest.param([at(2.05, 2.05)], id="two ticks per second"),
        pytest.param([at(10.2, 9.9)], id="ten ticks per second"),
        pytest.param([at(97, 97)], id="nearly a hundred ticks per second"),
        pytest.param([at(60, 1)], id="only one host has enough ticks"),
        pytest.param([at(60, 60), ("10.0.0.3:9", "10.0.0.2:80", 19, SECOND // 50, None, None)], id="a third host that is fast"),
        pytest.param([("[fe80::1]:9", "[fe80::1]:80", 600, 10 * SECOND, 600, 10 * SECOND)], id="a single host"),
        pytest.param([("10.0.0.1:9", "10.0.0.2:80", None, None, None, None)], id="no timestamps"),
        pytest.param([], id="no connections"),
    ],
)
def test_no_replay(rows: list[Row]) -> None:
    assert replay_rate(connections(*rows)) is None

"""Rules that look across connections see the end of a long capture, as a live one of days does, and the report says so."""

from __future__ import annotations

import io
import json
import random
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import wiredoctor
from tests.ladders import ladder_packets, ladders_in, set_back, to_pcap
from tests.pipeline import feeding, processes
from tests.pipeline.processes import WRITTEN
from tests.support.analysis import analyze_bytes
from tests.support.sweeps import sweep
from wiredoctor import Report, limits, rule_engine
from wiredoctor.findings import UNJUDGED
from wiredoctor.report import formats
from wiredoctor.report.data import json as report_json
from wiredoctor.report.fail_on import reaches_level
from wiredoctor.report.terminal.terminal import Terminal
from wiredoctor.rule_engine import summaries
from wiredoctor.tables import SECOND, SMALL

HOUR = 3_600


def connection(number: int, start: float, *lines: str, server: str = "10.0.0.2:80") -> str:
    """Return a connection that begins at `start` (s) with a handshake; the times of its lines count from there."""
    opened = f"connection {number}, start {start}, client 10.0.0.1:{40_000 + number}, server {server}"
    return "\n".join([opened, "0.000 > S mss 1460", "0.010 < S. mss 1460", "0.010 > .", *lines])


def exchange(at: float, close: bool) -> list[str]:
    """Return an exchange this many seconds after its connection began; with `close`, the server announces a close and closes."""
    field = "Connection: close\\r\\n" if close else ""
    lines = [
        f'{at + 0.1:.3f} > P. "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"',
        f'{at + 0.2:.3f} < P. "HTTP/1.1 200 OK\\r\\n{field}Content-Length: 2\\r\\n\\r\\nok"',
        f"{at + 0.21:.3f} > .",
    ]
    return [*lines, f"{at + 0.22:.3f} < F.", f"{at + 0.23:.3f} > F.", f"{at + 0.24:.3f} < ."] if close else lines


def closing(first: int, start: float, count: int = 3) -> str:
    """Return connections ten seconds apart, each closed after one exchange: keep-alive-disabled."""
    return "\n".join(connection(first + n, start + 10 * n, *exchange(0, close=True)) for n in range(count))


def last_packet(at: float, number: int = 99) -> str:
    """Return a connection to another server whose last packet is at `at` (s)."""
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


GATEWAY_ERRORS = ladders_in(Path(__file__).parents[1] / "rules" / "gateways" / "gateway_error.txt")
REASON = UNJUDGED["not-compared"].reason


def written(folder: Path, text: str) -> Path:
    path = folder / "long.pcap"
    path.write_bytes(to_pcap(ladder_packets(text)))
    return path


def analysed(folder: Path, *texts: str, **how: Any) -> Report:
    return wiredoctor.analyze(written(folder, "\n".join(texts)), **how)


def rules_of(report: Report) -> list[str]:
    return [finding.rule for finding in report.findings]


def limited(patch: pytest.MonkeyPatch, most: int) -> None:
    """Let rules compare only the last `most` exchanges and the last `most` connections."""
    patch.setattr(limits.COMPARED_ROWS, "value", most)


def uncompared(report: Report) -> int:
    """Return the number of connections that were not compared, according to the text and the JSON report."""
    [number] = [n for (_, reason), n in report.not_judged_counts.items() if reason == "not-compared"] or [0]
    assert not_compared(as_json(report)) == ([number] if number else [])
    assert (f"{number} of {report.connection_count} connections: {REASON}" in as_text(report)) == bool(number)
    return number


def not_compared(text: str) -> list[int]:
    return [one["count"] for one in json.loads(text)["summary"]["not_judged"] if one["reason"] == REASON]


def as_json(report: Report) -> str:
    out = io.BytesIO()
    report_json.write(report, out)
    return out.getvalue().decode()


def as_text(report: Report) -> str:
    """Return the complete text report as one line."""
    out = io.BytesIO()
    formats.write(report, "text", out, formats.Options(everything=True, paper=Terminal(width=200)))
    return " ".join(out.getvalue().decode().split())


def test_days_are_compared_as_a_whole(tmp_path: Path) -> None:
    """Only the number of rows bounds the memory: four connections, three of them 100 hours after the first."""
    report = analysed(
        tmp_path, closing(1, 0, 1), closing(10, 100 * HOUR, 3), last_packet(101 * HOUR), select=["keep-alive-disabled"]
    )
    assert rules_of(report) == ["keep-alive-disabled"]
    assert report.findings[0].measures["exchanges"] == 4
    assert uncompared(report) == 0


def test_a_gateway_error_early_in_a_long_capture_is_explained(tmp_path: Path) -> None:
    """The server behind the gateway closes at the start of the capture, whose last packet comes a day later."""
    [text] = [text for title, text in GATEWAY_ERRORS if "closed, and 502 in front" in title]
    report = analysed(tmp_path, text, last_packet(24 * HOUR))
    assert "gateway-error" in rules_of(report)


def test_connections_before_the_last_exchanges_are_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The handshake of the fifth exchange from the end is before the window, so its connection is left out, too."""
    limited(monkeypatch, 5)
    report = analysed(tmp_path, closing(1, 0, 3), closing(10, 50, 4), select=["keep-alive-disabled"])
    assert rules_of(report) == ["keep-alive-disabled"]
    assert report.findings[0].measures["exchanges"] == 4
    assert uncompared(report) == 3
    assert reaches_level(report, "any")


def test_it_is_the_first_thing_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 5)
    report = analysed(tmp_path, "\n".join(connection(n, 10 * n, *exchange(0, close=False)) for n in range(7)))
    assert "3 of 7 connections were not compared with the others" in as_text(report).partition(".")[0]
    assert reaches_level(report, "any")
    assert not reaches_level(report, "note")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["auto", "streaming"])
def test_more_exchanges_than_are_looked_at_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    """Rows are read from their batches while queries run; such a query is not run like one over a table."""
    monkeypatch.setattr(limits.SUMMARIES_TOGETHER, "value", 0 if engine == "streaming" else 1 << 30)
    limited(monkeypatch, SMALL + 2)
    text = "\n".join([closing(1, 0), closing(10, HOUR, SMALL + 1), last_packet(2 * HOUR, 900)])
    report = analysed(tmp_path, text, select=["keep-alive-disabled", "no-connection-reuse"])
    assert rules_of(report) == ["keep-alive-disabled"]
    assert report.findings[0].measures["exchanges"] == SMALL + 1
    assert uncompared(report) == 3


def test_so_many_connections_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without an exchange counts, too: the first of six connections is left out."""
    limited(monkeypatch, 5)
    report = analysed(tmp_path, closing(1, 0, 5), last_packet(2 * HOUR), select=["keep-alive-disabled"])
    assert report.findings[0].measures["exchanges"] == 4
    assert uncompared(report) == 1


def test_what_comes_after_the_clock_was_set_back_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their time stamps are two hours older, but they are the newest."""
    limited(monkeypatch, 4)
    path = tmp_path / "back.pcap"
    early = set_back(ladder_packets(closing(40, 2 * HOUR + 120)), 0, round(2 * HOUR * SECOND))
    packets = [*ladder_packets("\n".join([closing(1, 0), last_packet(2 * HOUR)])), *early]
    report = analyze_bytes(path, to_pcap(packets), select=["keep-alive-disabled"])
    assert rules_of(report) == ["keep-alive-disabled"]
    assert report.findings[0].measures["exchanges"] == 3
    assert uncompared(report) == 3


STRADDLING = "\n".join(connection(n, 10 * n, *exchange(0, close=False), *exchange(1.5 * HOUR, close=True)) for n in range(21, 24))
"""Connections of two exchanges, of which the window has one."""


def test_a_connection_is_seen_from_its_first_packet_on_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the last exchange alone, each connection would seem to be closed after its first exchange."""
    limited(monkeypatch, 3)
    wanted = ["keep-alive-disabled", "no-connection-reuse", "idle-close"]
    report = analysed(tmp_path, STRADDLING, select=wanted)
    assert rules_of(report) == []
    assert uncompared(report) == 3
    assert rules_of(analysed(tmp_path, closing(1, 1.5 * HOUR), select=wanted)) == ["keep-alive-disabled"]


ENCRYPTED = ['0.100 > P. "\\x16\\x03\\x01\\x00\\x04\\x01\\x00\\x00\\x00"', "0.200 < ."]


def test_rules_about_the_capture_see_what_lasted_until_the_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The window begins with the second of two connections."""
    limited(monkeypatch, 1)
    lasting = connection(1, 0, *ENCRYPTED, f"{1.5 * HOUR} > .")
    over = connection(2, 0, *ENCRYPTED)
    report = analysed(tmp_path, lasting, last_packet(HOUR), select=["encrypted"])
    assert rules_of(report) == ["encrypted"]
    assert uncompared(report) == 0
    report = analysed(tmp_path, over, last_packet(HOUR), select=["encrypted"])
    assert rules_of(report) == []
    assert uncompared(report) == 1
    report = analysed(tmp_path, over, lasting, last_packet(HOUR))
    assert uncompared(report) == 2  # others do not see the lasting one either


def test_events_are_told_whenever_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 1)
    report = analysed(tmp_path, STALL, last_packet(2 * HOUR), select=["nagle-delayed-ack"])
    assert rules_of(report) == ["nagle-delayed-ack"]
    assert uncompared(report) == 0  # no rule that compares was asked


def test_rules_about_the_file_are_not_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 1)
    assert uncompared(analysed(tmp_path, closing(1, 0), last_packet(2 * HOUR), select=["clock-step", "damaged-file"])) == 0


@pytest.mark.parametrize(
    ("chosen", "count"), [("keep-alive-disabled", 2), ("encrypted", 1), ("damaged-file", 0), ("nagle-delayed-ack", 0)]
)
def test_what_a_live_capture_has_forgotten_counts_as_left_out(chosen: str, count: int) -> None:
    """By the rules that would have looked at it: the report of the file says the same."""
    rows = {"connection": [0, 1], "first_frame": [3, 6], "last_frame": [6, 9]}
    tables = {"connections": pl.LazyFrame(rows), "exchanges": pl.LazyFrame({"connection": [0, 1]})}
    _, left_out = rule_engine.restrict_to_window(tables, {chosen: rule_engine.catalogue()[chosen]}, 5, forgotten=1)
    assert left_out == count


LONG = "\n".join([STALL, closing(1, 0), STRADDLING, closing(60, 1.6 * HOUR),
                  connection(70, 5, *ENCRYPTED), last_packet(2 * HOUR)])  # fmt: skip


@pytest.mark.parametrize("step", [1, 2, 7, 31])
def test_steps_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The window contains the last four of twelve connections."""
    limited(monkeypatch, 4)
    path = written(tmp_path, LONG)
    whole = feeding.report(path)
    assert not_compared(whole) == [8]
    assert {"keep-alive-disabled", "nagle-delayed-ack"} <= {f["rule"] for f in json.loads(whole)["findings"]}
    assert feeding.report(path, step) == whole


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="captures are shared by processes on Linux only")
@pytest.mark.parametrize("before", sweep(["", WRITTEN], "".__eq__), ids=["held", "written"])
def test_processes_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    limited(monkeypatch, 4)
    path = written(tmp_path, LONG)
    whole = feeding.report(path, show_secrets=True)
    assert not_compared(whole) == [8]
    [answers] = processes.reports([path], [1, 2], before=f"{before}\nlimits.COMPARED_ROWS.value = 4", steps=(11, 1_000))
    assert [processes.report(answer) for answer in answers] == [json.loads(whole)] * 4


@pytest.mark.parametrize("seed", range(20))
def test_the_window_starts_at_the_earliest_of_the_last_rows(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frame numbers are those of sorting them; ranges of 8 frames are counted together."""
    monkeypatch.setattr(summaries, "_FRAMES", 8)
    chance = random.Random(seed)
    frames = chance.sample(range(1, 400), 200)
    asked = [frame if chance.random() < 0.8 else None for frame in frames]
    answered = [frame + chance.randrange(3) if ask else frame for ask, frame in zip(asked, frames, strict=True)]
    rows = pl.LazyFrame(
        {"request_frame": asked, "response_frame": answered}, schema_overrides={"request_frame": pl.Int64},
    )  # fmt: skip
    opened = sorted(chance.sample(range(1, 400), 60))
    connections = pl.LazyFrame({"first_frame": opened})
    for most in (1, 3, 50, 100, 199, 200):
        limited(monkeypatch, most)
        starts = [sorted(some)[-most] for some in (frames, opened) if len(some) > most]
        assert rule_engine.window_start(connections, rows, (60, 200)) == max(starts, default=None)


def test_a_capture_that_is_short_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No query is run for it."""
    asked = pl.LazyFrame({"first_frame": [0]}).select(pl.col("first_frame").map_batches(_never))
    assert rule_engine.window_start(asked, asked, (1_000_000, 1_000_000)) is None
    with pytest.raises(pl.exceptions.PolarsError):
        asked.collect()


def _never(_: pl.Series) -> pl.Series:
    raise AssertionError

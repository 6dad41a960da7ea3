"""The statistics of servers, against conversations whose times are written down, in every format."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

import wiredoctor
from tests.report.test_by_status import GET, connection
from tests.support.recordings import find_recording
from tests.support.sweeps import sweep
from wiredoctor.findings import Report
from wiredoctor.report.data import json as report_json
from wiredoctor.report.data import servers_json
from wiredoctor.report.html import tiles
from wiredoctor.report.server_statistics import Grouping, overall_statistics, server_statistics
from wiredoctor.report.terminal import servers
from wiredoctor.report.terminal.terminal import Terminal
from wiredoctor.testing import capture


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """One server with a status of 5xx for three of five requests, one that answers in 1.501 s, one that closes instead."""
    lost = [
        "connection 4, start 9, client 10.0.0.9:4004, server 10.0.0.4:80",
        "  0.000  >  S",
        "  0.001  <  S.",
        "  0.001  >  .",
        f"  0.002  >  P.  {GET.format('lost/17')}",
        "  0.500  <  F.",
        "  0.501  >  F.",
        "  0.502  <  .",
    ]
    text = [
        connection(1, "10.0.0.2:80", 200, 503, 404, 503),
        connection(2, "10.0.0.2:80", 500, client="10.0.0.9", start=1),
        connection(3, "10.0.0.3:8080", 200, 301, start=2, slow=1.5),
        "\n".join(lost),
    ]
    path = tmp_path / "some.pcap"
    path.write_bytes(capture("\n".join(text) + "\n"))
    return wiredoctor.analyze(path)


def test_failures_of_each_server(report: Report) -> None:
    rows = {one.key: one for one in server_statistics(report)}
    failing, healthy, silent = (rows[f"10.0.0.{server}"] for server in ("2:80", "3:8080", "4:80"))
    assert (failing.requests, failing.failed, failing.client_errors, failing.server_errors) == (5, 0, 1, 3)
    assert (healthy.requests, healthy.failed) == (2, 0)
    assert (silent.requests, silent.failed, silent.unanswered, silent.server_errors) == (1, 1, 1, 0)
    assert [one.connections for one in (failing, healthy, silent)] == [2, 1, 1]
    assert failing.requests_per_connection == 2.5
    assert failing.names == ("a",)


@pytest.mark.parametrize(("rule", "failed"), [("keep-alive-race", "≥ 1"), ("tinygrams", "-")])
def test_the_page_counts_no_failures_that_were_not_looked_for(rule: str, failed: str) -> None:
    shown = tiles.find_tiles(wiredoctor.analyze(find_recording("stale-pool.pcap"), select=[rule]))
    assert shown is not None
    assert shown.failed == failed


def test_each_side_of_a_gateway_counts_its_failure() -> None:
    """nginx retried nothing: its client saw the 502 for the one request that the server behind it lost."""
    report = wiredoctor.analyze(find_recording("behind-nginx-race.pcap"))
    assert sorted(one.failed for one in server_statistics(report) if one.failed) == [1, 1]
    whole = overall_statistics(report)
    assert whole is not None
    assert whole.failed == 1


def test_responses_that_were_not_captured_are_no_failures() -> None:
    """The label of this recording says so: the server's direction is missing."""
    [one] = server_statistics(wiredoctor.analyze(find_recording("one-sided-requests.pcap")))
    assert (one.requests, one.failed) == (4, 0)


def test_the_worst_server_comes_first(report: Report) -> None:
    assert [one.key for one in server_statistics(report)] == ["10.0.0.4:80", "10.0.0.2:80", "10.0.0.3:8080"]


def test_server_times(report: Report) -> None:
    rows = {one.key: one for one in server_statistics(report)}
    assert rows["10.0.0.3:8080"].p50 == pytest.approx(1.501)
    assert rows["10.0.0.2:80"].longest == pytest.approx(0.001)
    assert rows["10.0.0.4:80"].p99 is None


def test_quantiles_are_of_the_nearest_rank(tmp_path: Path) -> None:
    """One of twenty responses takes a second: the median and the 95th of the hundred do not know of it, the 99th does."""
    text = [connection(number, "10.0.0.2:80", 200, start=number, slow=1.0 if number == 20 else 0.01) for number in range(1, 21)]
    path = tmp_path / "some.pcap"
    path.write_bytes(capture("\n".join(text) + "\n"))
    [one] = server_statistics(wiredoctor.analyze(path))
    assert [one.p50, one.p95, one.p99, one.longest] == pytest.approx([0.011, 0.011, 1.001, 1.001])


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (Grouping.client, {"10.0.0.1": 6, "10.0.0.9": 2}),
        (Grouping.host, {"a": 8}),
        (Grouping.path, {"GET /#": 7, "GET /lost/#": 1}),
    ],
)
def test_requests_by_client_host_and_path(report: Report, by: Grouping, expected: dict[str, int]) -> None:
    assert {one.key: one.requests for one in server_statistics(report, by)} == expected


def test_the_time_lost_is_that_of_the_findings(report: Report) -> None:
    for by in Grouping:
        lost: dict[str, float] = {}
        for one in server_statistics(report, by):
            for rule, seconds in one.lost.items():
                lost[rule] = lost.get(rule, 0.0) + seconds
        costly = [one for one in report.findings if one.delay]
        assert costly
        rules = {one.rule for one in costly}
        assert lost == pytest.approx({rule: sum(one.delay or 0 for one in costly if one.rule == rule) for rule in rules})


def test_json_and_csv_have_the_same_numbers(report: Report) -> None:
    statistics = server_statistics(report)
    whole, lines, table = io.BytesIO(), io.BytesIO(), io.BytesIO()
    servers_json.write(report, statistics, whole, Grouping.server)
    servers_json.write_lines(statistics, lines, Grouping.server)
    servers_json.write_csv(statistics, table, Grouping.server)
    elements = json.loads(whole.getvalue())["servers"]
    assert [json.loads(line) for line in lines.getvalue().splitlines()] == elements
    cells = list(csv.DictReader(io.StringIO(table.getvalue().decode())))
    assert [row["name"] for row in cells] == [one["name"] for one in elements]
    assert [int(row["failed"]) for row in cells] == [one["failed"] for one in elements]


def test_the_whole_report_has_the_same_servers(report: Report) -> None:
    alone, whole, lines = io.BytesIO(), io.BytesIO(), io.BytesIO()
    servers_json.write(report, server_statistics(report), alone, Grouping.server)
    report_json.write(report, whole)
    report_json.write_lines(report, lines)
    expected = json.loads(alone.getvalue())["servers"]
    assert [one["name"] for one in expected] == ["10.0.0.4:80", "10.0.0.2:80", "10.0.0.3:8080"]
    assert json.loads(whole.getvalue())["servers"] == expected
    assert json.loads(lines.getvalue().splitlines()[-1])["servers"] == expected


@pytest.mark.parametrize("width", sweep([80, 100, 130, 200], {80}.__contains__))
@pytest.mark.parametrize("by", Grouping)
def test_no_line_is_wider_than_the_terminal(report: Report, width: int, by: Grouping) -> None:
    out = io.StringIO()
    servers.write(report, server_statistics(report, by), out, Terminal(width=width, color=False, unicode=False), by=by)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width


def test_lines_that_are_not_shown_are_counted(report: Report) -> None:
    out = io.StringIO()
    servers.write(
        report, server_statistics(report), out, Terminal(width=80, color=False, unicode=False), by=Grouping.server, top=1
    )
    assert "3 servers, 2 not shown; 8 requests, 1 failed; 3 responses with 5xx\n" in out.getvalue()
    assert "10.0.0.3:8080" not in out.getvalue()


def test_a_server_that_refuses_every_connection_is_listed() -> None:
    """Two connections to a port where nothing listens, recorded on a real kernel: no request, and yet users wait for it."""
    refused = wiredoctor.analyze(find_recording("refused.pcap"))
    [one] = server_statistics(refused)
    assert (one.key, one.requests, one.failed, one.failed_connections) == ("10.9.0.2:81", 0, 0, 2)
    out = io.StringIO()
    servers.write(refused, [one], out, Terminal(width=80, color=False, unicode=False), by=Grouping.server)
    heading, line, *_ = out.getvalue().splitlines()
    assert line[: heading.index("no conn") + len("no conn")].split() == ["10.9.0.2:81", "0", "-", "-", "2"]


def test_forwarded_requests_are_named() -> None:
    """haproxy answers 504 for the one request of its client, which it sent on to the server behind."""
    proxied = wiredoctor.analyze(find_recording("behind-haproxy-timeout.pcap"))
    out = io.StringIO()
    servers.write(proxied, server_statistics(proxied), out, Terminal(width=120, color=False, unicode=False), by=Grouping.server)
    assert "2 requests (1 of them forwarded by a gateway, so counted twice), " in out.getvalue()


@pytest.mark.parametrize("slow", [1, 2])
def test_the_percentile_of_32_is_the_31st(tmp_path: Path, slow: int) -> None:
    """Nearest rank: ceil(0.95 * 32) = 31, ceil(0.99 * 32) = 32, ceil(0.5 * 32) = 16, in order of time."""
    path = tmp_path / "some.pcap"
    fast, late = (
        connection(1, "10.0.0.2:80", *[200] * (32 - slow)),
        connection(2, "10.0.0.2:80", *[200] * slow, start=60, slow=1.0),
    )
    path.write_bytes(capture(f"{fast}\n{late}\n"))
    [one] = server_statistics(wiredoctor.analyze(path))
    assert one.requests == 32
    assert [one.p50, one.p95, one.p99] == pytest.approx([0.001, 1.001 if slow == 2 else 0.001, 1.001], abs=0.011)

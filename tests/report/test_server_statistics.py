"""The statistics of servers, against conversations whose times are written down, in every format."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

import wiredoctor
from tests.report.examples import report as example_report
from tests.report.test_by_status import GET, connection
from tests.support.analysis import analyze_bytes
from tests.support.recordings import find_recording
from tests.support.sweeps import sweep
from wiredoctor.findings import Report
from wiredoctor.report import server_statistics as report_statistics
from wiredoctor.report.data import json as report_json
from wiredoctor.report.data import servers_json
from wiredoctor.report.html import tiles
from wiredoctor.report.row_choice import Grouping, ServerOrder
from wiredoctor.report.server_statistics import (
    FEWEST,
    ServerStatistics,
    overall_statistics,
    server_statistics,
    sort_servers,
    worth_listing,
)
from wiredoctor.report.terminal import servers
from wiredoctor.report.terminal.terminal import Terminal
from wiredoctor.testing import capture, ladders_in


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """One server responds to three of five requests with 5xx, one takes 1.501 s, and one closes instead."""
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
    return analyze_bytes(tmp_path_factory.mktemp("servers") / "some.pcap", capture("\n".join(text) + "\n"))


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
    shown = tiles.find_tiles(wiredoctor.analyze(find_recording("stale-pool.pcap"), select=[rule]), [])
    assert shown is not None
    assert shown.failed == failed


def test_the_page_counts_connections_that_failed_by_server() -> None:
    """Both connections of the capture were refused."""
    made = wiredoctor.analyze(find_recording("refused.pcap"))
    servers = tiles.find_servers(made, server_statistics(made))
    assert servers is not None
    assert [row.cells[tiles.NOT_USABLE] for row in servers.rows] == ["2"]
    healthy = wiredoctor.analyze(find_recording("nginx-curl.pcap"))
    servers = tiles.find_servers(healthy, server_statistics(healthy))
    assert servers is not None
    assert tiles.NOT_USABLE not in servers.headings


def test_each_side_of_a_gateway_counts_its_failure() -> None:
    """nginx did not retry: its client got a 502 for the one request that the server behind nginx lost."""
    report = wiredoctor.analyze(find_recording("behind-nginx-race.pcap"))
    assert sorted(one.failed for one in server_statistics(report) if one.failed) == [1, 1]
    whole = overall_statistics(report)
    assert whole is not None
    assert whole.failed == 1


def test_a_try_fails_with_the_request_for_which_the_gateway_sent_it() -> None:
    """haproxy gave up on the server behind it, whose exchange has no finding of its own: one request, one response, 504."""
    report = wiredoctor.analyze(find_recording("behind-haproxy-timeout.pcap"))
    assert {one.key: (one.requests, one.failed) for one in server_statistics(report)} == {
        "10.9.1.2:80": (1, 1), "10.9.0.2:8001": (1, 1),
    }  # fmt: skip
    whole = overall_statistics(report)
    assert whole is not None
    assert (whole.requests, whole.failed) == (1, 1)


def test_a_gateway_behind_a_gateway_failed_with_its_error(tmp_path: Path) -> None:
    """The inner gateway made the 502 that the outer one passed on; each of the three servers lost one request."""
    gateways = dict(ladders_in(Path(__file__).parents[1] / "rules" / "gateways" / "gateway_error.txt"))
    [text] = [text for title, text in gateways.items() if "two gateways in a row" in title]
    (tmp_path / "l.pcap").write_bytes(capture(text))
    report = wiredoctor.analyze(tmp_path / "l.pcap")
    assert {one.key: (one.requests, one.failed) for one in server_statistics(report)} == {
        "10.0.0.2:80": (1, 1), "10.0.0.5:8081": (1, 1), "10.0.0.3:8001": (1, 1),
    }  # fmt: skip
    out = io.StringIO()
    servers.write(report, server_statistics(report), out, Terminal(width=200, color=False, unicode=False), by=Grouping.server)
    assert "3 failed; 2 responses with 5xx; 1 of 1 request failed if each request counts once, as in analyze" in " ".join(
        out.getvalue().split()
    )


def test_time_lost_without_a_request_is_its_clients(tmp_path: Path) -> None:
    """A client sends SYNs for 3 s and gets no answer, so there is no exchange that this time could belong to."""
    text = "connection 1\n0.0  >  S    mss 1460\n1.0  >  S    mss 1460\n3.0  >  S    mss 1460\n7.0  >  S    mss 1460\n"
    (tmp_path / "l.pcap").write_bytes(capture(text))
    [row] = server_statistics(wiredoctor.analyze(tmp_path / "l.pcap"), Grouping.client)
    assert row.time_lost == pytest.approx(7.0)


@pytest.mark.parametrize(("lost", "listed"), [({"a": 5.0, "b": 22e-6}, ["a"]), ({"b": 22e-6, "c": 50e-6}, ["b", "c"])])
def test_times_that_are_nothing_beside_others_are_not_listed(lost: dict[str, float], listed: list[str]) -> None:
    assert [*worth_listing(lost, sum(lost.values()))] == listed


def test_a_try_that_was_answered_has_not_failed() -> None:
    """nginx answered 200 after it had repeated the request, so no request of a client failed."""
    report = wiredoctor.analyze(find_recording("behind-nginx-repeated.pcap"))
    failed = {one.key: one.failed for one in server_statistics(report)}
    assert failed["10.9.0.2:8002"] == 0


def test_responses_that_were_not_captured_are_no_failures() -> None:
    """According to its label, this capture lacks the server's direction."""
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
    """One of twenty responses takes a second: it changes the 99th percentile, but not the median or the 95th."""
    text = [connection(number, "10.0.0.2:80", 200, start=number, slow=1.0 if number == 20 else 0.01) for number in range(1, 21)]
    [one] = server_statistics(analyze_bytes(tmp_path / "some.pcap", capture("\n".join(text) + "\n")))
    assert [one.p50, one.p95, one.p99, one.longest] == pytest.approx([0.011, 0.011, 1.001, 1.001])


def test_quantiles_of_many_exchanges_are_rounded_down_a_little(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = {one.key: one for one in server_statistics(report)}
    monkeypatch.setattr(report_statistics, "EXACT_TIMES", 1)
    rounded = {one.key: one for one in server_statistics(report)}
    assert {key: one.longest for key, one in rounded.items()} == {key: one.longest for key, one in exact.items()}
    assert rounded["10.0.0.3:8080"].p50 != (p50 := exact["10.0.0.3:8080"].p50)
    assert p50 is not None
    assert 0.996 * p50 <= (rounded["10.0.0.3:8080"].p50 or 0.0) < p50


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


def test_versions_in_paths_are_no_numbers_of_resources(tmp_path: Path) -> None:
    targets = ("/v1/users/7", "/v1/users/8", "/v2/users/7", "/v2.1/users/7", "/v3", "/v3d/1", "http://a:80/v1/users/9?v2")
    path = tmp_path / "some.pcap"
    lines = [
        "connection 1, start 0, client 10.0.0.1:4001, server 10.0.0.2:80",
        "  0.000  >  S",
        "  0.001  <  S.",
        "  0.001  >  .",
        *(
            rf'  {number}.0  >  P.  "GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"' + "\n"
            rf'  {number}.1  <  P.  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"'
            for number, target in enumerate(targets, start=1)
        ),
    ]
    path.write_bytes(capture("\n".join(lines) + "\n"))
    assert {one.key: one.requests for one in server_statistics(wiredoctor.analyze(path), Grouping.path)} == {
        "GET /v1/users/#": 2,
        "GET /v2/users/#": 1,
        "GET /v2.1/users/#": 1,
        "GET /v3": 1,
        "GET /v#d/#": 1,
        "GET http://a:#/v1/users/#": 1,
    }


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
    text = " ".join(out.getvalue().split())
    assert "3 servers, most failures first, 2 not shown; 8 requests, 1 failed; 3 responses with 5xx" in text
    assert "10.0.0.3:8080" not in out.getvalue()


def test_a_server_that_refuses_every_connection_is_listed() -> None:
    """Two connections to a closed port, captured on a real kernel: there is no request, but users wait."""
    refused = wiredoctor.analyze(find_recording("refused.pcap"))
    [one] = server_statistics(refused)
    assert (one.key, one.requests, one.failed, one.failed_connections) == ("10.9.0.2:81", 0, 0, 2)
    out = io.StringIO()
    servers.write(refused, [one], out, Terminal(width=80, color=False, unicode=False), by=Grouping.server)
    heading, line, *_ = out.getvalue().splitlines()
    assert line[: heading.index("no conn") + len("no conn")].split() == ["10.9.0.2:81", "0", "-", "2"]


def test_connections_that_no_finding_explains_count_as_well(tmp_path: Path) -> None:
    """Seven connections with a single SYN each, 50 ms apart, are no finding; the last SYN of all came when the capture ended."""
    silent = [
        f"connection {n}, start {0.05 * n}, client 10.0.0.1:{4000 + n}, server 10.0.0.9:443\n  0.000  >  S" for n in range(1, 8)
    ]
    refused = "connection 8, start 20, client 10.0.0.1:5000, server 10.0.0.8:80\n  0.000  >  S\n  0.001  <  R."
    answered = connection(9, "10.0.0.2:80", 200, start=21)
    last = "connection 10, start 40, client 10.0.0.1:5001, server 10.0.0.7:80\n  0.000  >  S"
    path = tmp_path / "some.pcap"
    one = analyze_bytes(path, capture("\n".join((*silent, refused, answered, last)) + "\n"))
    rows = {row.key: row for row in server_statistics(one)}
    assert {key: row.unusable_connections for key, row in rows.items()} == {"10.0.0.9:443": 7, "10.0.0.8:80": 1, "10.0.0.2:80": 0}
    assert rows["10.0.0.9:443"].failed_connections == 0
    by_client = {row.key: row.unusable_connections for row in server_statistics(one, Grouping.client)}
    assert by_client == {"10.0.0.1": 8}
    for by in (Grouping.host, Grouping.path):
        assert "; 8 connections failed before a request (for the servers, see wiredoctor" in printed(one, 200, by)
    text = printed(one)
    heading = text.splitlines()[0]
    (line,) = (line for line in text.splitlines() if line.startswith("10.0.0.9:443"))
    assert line[: heading.index("no conn") + len("no conn")].split()[-1] == "7"
    assert "no conn: connections that were never established" in text


def test_a_connection_without_requests_counts_at_its_server_only(tmp_path: Path) -> None:
    one = analyze_bytes(tmp_path / "unused.pcap", capture("  0.000  >  S\n  0.001  <  S.\n  0.002  >  .\n"))
    [row] = server_statistics(one)
    assert (row.requests, row.connections, row.unusable_connections) == (0, 1, 0)
    assert server_statistics(one, Grouping.client) == []


@pytest.mark.parametrize(
    ("name", "number"),
    [("unanswered-syns-client.pcap", 1), ("refused.pcap", 2), ("outlived-error.pcap", 0), ("one-sided.pcap", 0)],
)
def test_connections_of_recordings_that_were_never_established(name: str, number: int) -> None:
    """Counted with tshark: a SYN, and no SYN-ACK; in one-sided.pcap only the answers are missing."""
    rows = server_statistics(wiredoctor.analyze(find_recording(name)))
    assert sum(row.unusable_connections for row in rows) == number


def printed(one: Report, width: int = 80, by: Grouping = Grouping.server, order: ServerOrder = ServerOrder.failed) -> str:
    out = io.StringIO()
    rows = sort_servers(server_statistics(one, by), order)
    servers.write(one, rows, out, Terminal(width=width, color=False, unicode=False), by=by, order=order)
    return out.getvalue()


def test_the_columns_that_are_needed_first_fit_in_80(report: Report) -> None:
    heading, first, *_ = printed(report).splitlines()
    assert heading.split()[:4] == ["server", "host", "requests", "failed"]
    assert {"p50", "max", "lost"} <= {*heading.split()}
    assert {"p95", "p99"}.isdisjoint(heading.split())
    assert first.split()[:4] == ["10.0.0.4:80", "a", "1", "1"]


def test_a_space_is_before_each_unit(report: Report) -> None:
    assert re.search(r" 1\.5 s ", printed(report, 120))
    for by in Grouping:
        assert not re.search(r"\d(?:ns|us|ms|s|min|h)\b", printed(report, 120, by))


def test_columns_without_any_value_are_left_out(tmp_path: Path) -> None:
    text = printed(analyze_bytes(tmp_path / "some.pcap", capture(connection(1, "10.0.0.2:80", 200, 200) + "\n")), 200)
    assert {"4xx", "5xx", "fail%", "no", "conn"}.isdisjoint(text.splitlines()[0].split())
    assert "failed:" not in text
    assert "No room" not in text


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (ServerOrder.failed, ["4:80", "2:80", "3:8080"]),
        (ServerOrder.requests, ["2:80", "3:8080", "4:80"]),
        (ServerOrder.p50, ["2:80", "3:8080", "4:80"]),
        (ServerOrder.p99, ["3:8080", "2:80", "4:80"]),
        (ServerOrder.max, ["3:8080", "2:80", "4:80"]),
        (ServerOrder.names, ["2:80", "3:8080", "4:80"]),
    ],
)
def test_orders(report: Report, order: ServerOrder, expected: list[str]) -> None:
    """10.0.0.3 takes 1.5 s twice, 10.0.0.2 a millisecond five times; 10.0.0.4 sends no response, so it has no times."""
    rows = sort_servers(server_statistics(report), order)
    assert [row.key for row in rows] == [f"10.0.0.{end}" for end in expected]
    words = {ServerOrder.failed: "most failures first", ServerOrder.requests: "most requests first", ServerOrder.names: "by name"}
    words[ServerOrder.p99] = "longest max first (too few responses for p99)"
    assert f"3 servers, {words.get(order, f'longest {order} first')}" in printed(report, order=order)


@pytest.mark.parametrize(
    ("number", "names"), [(2, []), (3, ["p50"]), (19, ["p50"]), (20, ["p50", "p95"]), (100, ["p50", "p95", "p99"])]
)
def test_a_percentile_needs_enough_responses(tmp_path: Path, number: int, names: list[str]) -> None:
    one = analyze_bytes(tmp_path / "some.pcap", capture(connection(1, "10.0.0.2:80", *[200] * number) + "\n"))
    assert [name for name in printed(one, 200).splitlines()[0].split() if name in FEWEST] == names
    assert ("p50, p95 and p99 need 3, 20 and 100 responses" in printed(one, 200)) == (number < 100)
    [row] = server_statistics(one)
    assert row.p99 is not None


@pytest.mark.parametrize("order", ServerOrder)
def test_the_column_of_the_order_is_shown_in_80_columns(order: ServerOrder) -> None:
    """The rows have every column, and 100 responses; names and numbers are long."""
    rows = [
        ServerStatistics(
            f"192.168.100.20{n}:50123", ("api.shop.example", f"host{n}.example"), 54_321, 1_234, 0, 0, 12_345, 1_234,
            0.0123, 0.123, 1.23, 12.3, 12_345, {"slow-response": 71.5}, 3, 13, timed=54_321,
        )
        for n in range(3)
    ]  # fmt: skip
    out = io.StringIO()
    terminal = Terminal(width=80, color=False, unicode=False)
    servers.write(example_report(), rows, out, terminal, by=Grouping.server, order=order)
    heading = out.getvalue().splitlines()[0]
    assert {ServerOrder.lost: "time lost", ServerOrder.names: "server"}.get(order, order.value) in heading
    assert max(map(len, out.getvalue().splitlines())) <= 80


def test_names_are_complete_where_there_is_room() -> None:
    """The name 10.9.1.2 only repeats the address; the third name fits only in 160 columns."""
    names = ("shop.example", "10.9.1.2", "a-rather-long-name.example", "other.example")
    row = ServerStatistics("10.9.1.2:80", names, 4, 0, 0, 0, 0, 0, 0.1, 0.1, 0.1, 0.2, 1, timed=4)
    for width, shown in ((80, "shop.example +2 "), (160, "shop.example, a-rather-long-name.example, other.example ")):
        out = io.StringIO()
        terminal = Terminal(width=width, color=False, unicode=False)
        servers.write(example_report(), [row], out, terminal, by=Grouping.server)
        assert f"10.9.1.2:80 {shown}" in out.getvalue()
        assert ("+2: 2 more names" in out.getvalue()) == (width == 80)


@pytest.mark.parametrize("name", ["shop +bar", "shop +5"])
def test_a_captured_name_is_no_number_of_names(name: str) -> None:
    row = ServerStatistics("10.9.1.2:80", (name,), 4, 0, 0, 0, 0, 0, 0.1, 0.1, 0.1, 0.2, 1, timed=4)
    out = io.StringIO()
    servers.write(example_report(), [row], out, Terminal(width=80, color=False, unicode=False), by=Grouping.server)
    assert name in out.getvalue()
    assert "more name" not in out.getvalue()


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
    [one] = server_statistics(analyze_bytes(path, capture(f"{fast}\n{late}\n")))
    assert one.requests == 32
    assert [one.p50, one.p95, one.p99] == pytest.approx([0.001, 1.001 if slow == 2 else 0.001, 1.001], abs=0.011)

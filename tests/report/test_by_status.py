"""Test the responses of each server by status class, and the causes of failures, in every format."""

from __future__ import annotations

import io
import json
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from tests.report.examples import report_of
from wiredoctor.findings import Report
from wiredoctor.gateways import TRIES, Doubt, Gateways
from wiredoctor.report import by_status
from wiredoctor.report.coverage import find_coverage
from wiredoctor.report.data import json as report_json
from wiredoctor.report.data import junit, sarif
from wiredoctor.report.fail_on import reaches_level
from wiredoctor.report.headline import headline
from wiredoctor.report.html import page
from wiredoctor.report.terminal import markdown, sentences, text
from wiredoctor.report.terminal.terminal import Terminal
from wiredoctor.report.unexplained import unexplained
from wiredoctor.rule_engine import catalogue

GET = r'"GET /{} HTTP/1.1\r\nHost: a\r\n\r\n"'


def connection(number: int, server: str, *statuses: int, client: str = "10.0.0.1", start: float = 0.0, slow: float = 0.0) -> str:
    """A connection that is closed in order by its client, with a request for each status; `slow` seconds until each response."""
    lines = [
        f"connection {number}, start {start}, client {client}:{4000 + number}, server {server}",
        "  0.000  >  S",
        "  0.001  <  S.",
    ]
    lines.append("  0.001  >  .")
    time = 0.002
    for index, status in enumerate(statuses):
        lines.append(f"  {time:.3f}  >  P.  {GET.format(index)}")
        lines.append(rf'  {time + slow + 0.001:.3f}  <  P.  "HTTP/1.1 {status} A\r\nContent-Length: 2\r\n\r\nok"')
        time += slow + 0.01
        lines.append(f"  {time - 0.005:.3f}  >  .")
    lines += [f"  {time:.3f}  >  F.", f"  {time + 0.001:.3f}  <  F.", f"  {time + 0.001:.3f}  >  ."]
    return "\n".join(lines)


CHAIN = r"""
  connection 1, client 10.0.0.1:4001, server 10.0.0.2:80
  0.0000  >  S    mss 1460
  0.0004  <  S.   mss 1460
  0.0004  >  .
  0.0010  >  P.   "GET /35/a HTTP/1.1\r\nHost: a\r\n\r\n"
  2.0200  <  P.   "HTTP/1.1 502 A\r\nContent-Length: 3\r\n\r\nbad"
  2.0205  >  F.
  2.0210  <  F.
  connection 2, client 10.0.0.2:50002, server 10.0.0.4:81
  0.0020  >  S    mss 1460
  0.0024  <  S.   mss 1460
  0.0024  >  .
  0.0026  >  P.   "GET /35/a HTTP/1.1\r\nHost: a\r\n\r\n"
  2.0190  <  P.   "HTTP/1.1 502 A\r\nContent-Length: 3\r\n\r\nbad"
  2.0194  >  .
  connection 3, client 10.0.0.4:50003, server 10.0.0.3:8001
  0.0030  >  S    mss 1460
  0.0034  <  S.   mss 1460
  0.0034  >  .
  0.0036  >  P.   "GET /35/a HTTP/1.1\r\nHost: a\r\n\r\n"
  0.0040  <  .
  2.0180  >  F.
  2.0184  <  .
"""
"""A gateway behind a gateway: the inner one gives up its server, and the outer one passes its 502 on."""


def analyzed(folder: Path, *connections: str) -> Report:
    return report_of("\n".join(connections) + "\n", folder)


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """One server with failures on two connections, one without any."""
    return analyzed(
        tmp_path,
        connection(1, "10.0.0.2:80", 200, 503, 404, 503),
        connection(2, "10.0.0.2:80", 204, 500, start=1),
        connection(3, "10.0.0.3:8080", 200, 301, start=2),
    )


def test_the_classes_of_each_server(report: Report) -> None:
    first, second = find_coverage(report).servers
    assert (first.server, first.classes) == ("10.0.0.2:80", {"2xx": 2, "4xx": 1, "5xx": 3})
    assert [(one.status, one.count, one.unexplained) for one in first.failures] == [(500, 1, 1), (503, 2, 2)]
    assert (second.server, second.classes, second.failures) == ("10.0.0.3:8080", {"2xx": 1, "3xx": 1}, ())


def test_an_upgrade_counts_and_an_interim_response_does_not(tmp_path: Path) -> None:
    upgrade = r"Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    text = (
        connection(1, "10.0.0.2:80", 101)
        .replace(r"Host: a\r\n", upgrade)
        .replace(r"Content-Length: 2\r\n\r\nok", upgrade + r"\r\n")
    )
    assert find_coverage(analyzed(tmp_path, text)).servers[0].classes == {"1xx": 1}
    text = connection(1, "10.0.0.2:80", 200).replace('"HTTP/1.1 200', r'"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200')
    assert find_coverage(analyzed(tmp_path, text)).servers[0].classes == {"2xx": 1}


SAID = "10.0.0.2:80: 3 of 6 responses have status 500 or above: 2 x 503 (not explained), 1 x 500 (not explained)"


def test_every_format_names_the_failures(report: Report) -> None:
    assert sentences.failing(find_coverage(report)) == [SAID]
    printed = io.StringIO()
    text.write(report, printed, Terminal(width=200, unicode=True))
    assert f"  {SAID}\n" in printed.getvalue()
    for write in (markdown.write, junit.write, partial(sarif.write, rules=catalogue()), page.write):
        out = io.BytesIO()
        write(report, out)
        assert "2 x 503 (not explained)" in out.getvalue().decode().replace("\\", "")


def test_json_has_an_object_per_server(report: Report) -> None:
    out, lines = io.BytesIO(), io.BytesIO()
    report_json.write(report, out)
    report_json.write_lines(report, lines)
    answers = json.loads(out.getvalue())["answers"]
    assert json.loads(lines.getvalue().splitlines()[-1])["answers"] == answers
    nobody: dict[str, object] = {"own": {}, "passed_on": {}, "repeated": 0}
    assert answers == [
        {
            "server": "10.0.0.2:80",
            "classes": {"2xx": 2, "4xx": 1, "5xx": 3},
            "failures": [
                {"status": 500, "count": 1, **nobody, "unexplained": 1},
                {"status": 503, "count": 2, **nobody, "unexplained": 2},
            ],
        },
        {"server": "10.0.0.3:8080", "classes": {"2xx": 1, "3xx": 1}, "failures": []},
    ]


def test_most_servers_are_named_and_the_others_counted(tmp_path: Path) -> None:
    some = [connection(number, f"10.0.1.{number}:80", 503, start=number) for number in range(1, 14)]
    lines = sentences.failing(find_coverage(analyzed(tmp_path, *some)))
    assert len(lines) == 11
    assert lines[-1] == "and 3 other servers: 3 responses"


def test_a_status_that_came_from_one_of_two_requests_behind_counts_once(tmp_path: Path) -> None:
    """Two requests at the front wait at once, and each gets 503 from behind: which belongs to which does not matter."""
    report = analyzed(
        tmp_path,
        connection(1, "10.0.0.2:80", 503, slow=0.2),
        connection(2, "10.0.0.2:80", 503, slow=0.2, start=0.01),
        connection(3, "10.0.9.1:8001", 503, client="10.0.0.2", start=0.05),
        connection(4, "10.0.9.1:8001", 503, client="10.0.0.2", start=0.06),
    )
    rows = [(0, 0, 2, 0, False, 1), (1, 0, 3, 0, False, 2)]
    doubt = Doubt(((0, 0), (1, 0)), ((2, 0), (3, 0)))
    known = Gateways(pl.DataFrame(rows, TRIES, orient="row"), doubtful=(doubt,), clients=frozenset({2, 3}))
    report.gateways = {report.captures[0].file: known}
    servers = {one.server: one for one in find_coverage(report).servers}
    assert servers["10.0.0.2:80"].failures == (by_status.Failures(503, 2, {}, {"10.0.9.1:8001": 2}),)
    assert find_coverage(report).answers.statuses == {503: 2}


def test_a_gateway_that_passes_on_the_error_of_another_gateway_did_not_make_it(tmp_path: Path) -> None:
    report = analyzed(tmp_path, CHAIN)
    servers = {one.server: one for one in find_coverage(report).servers}
    assert servers["10.0.0.2:80"].failures == (by_status.Failures(502, 1, {}, {"10.0.0.4:81": 1}),)
    assert servers["10.0.0.4:81"].failures == (by_status.Failures(502, 1, {"timed-out": 1}),)


def test_a_forwarded_request_that_broke_off_counts_once(tmp_path: Path) -> None:
    """The client leaves in the middle of its body, and the gateway ends the request that it had forwarded in part."""
    post = r'"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + b*1000'
    report = analyzed(
        tmp_path,
        "connection 1, client 10.0.0.1:4001, server 10.0.0.2:80",
        *("  0.0000  >  S", "  0.0004  <  S.", "  0.0004  >  .", f"  0.0010  >  P.  {post}", "  0.0014  <  .", "  2.0000  >  F."),
        *("  2.0020  <  F.", "  2.0024  >  ."),
        "connection 2, client 10.0.0.2:50002, server 10.0.0.3:8001",
        *("  0.0020  >  S", "  0.0024  <  S.", "  0.0024  >  .", f"  0.0026  >  P.  {post}", "  0.0030  <  .", "  2.0010  >  R."),
    )
    said = unexplained(find_coverage(report))
    assert said == ["the only request broke off"]


def test_what_a_gateway_passed_on_and_what_it_repeated(tmp_path: Path) -> None:
    """The front (connection 0) gets a 503 that came from the server behind, then a 200 after a first server behind gave 500."""
    report = analyzed(
        tmp_path,
        connection(1, "10.0.0.2:80", 503, 200, slow=0.2),
        connection(2, "10.0.9.1:8001", 503, client="10.0.0.2", start=0.05),
        connection(3, "10.0.9.1:8001", 500, client="10.0.0.2", start=0.25),
        connection(4, "10.0.9.2:8001", 200, client="10.0.0.2", start=0.3),
    )
    rows = [(0, 0, 1, 0, True, 1), (0, 1, 2, 0, True, 2), (0, 1, 3, 0, True, 3)]
    report.gateways = {report.captures[0].file: Gateways(pl.DataFrame(rows, TRIES, orient="row"))}
    servers = {one.server: one for one in find_coverage(report).servers}
    assert servers["10.0.0.2:80"].failures == (by_status.Failures(503, 1, {}, {"10.0.9.1:8001": 1}),)
    assert servers["10.0.9.1:8001"].failures == (by_status.Failures(500, 1, {}, {}, 1), by_status.Failures(503, 1))
    # what its client saw counts once
    assert find_coverage(report).answers.statuses == {299: 1, 503: 1}
    assert "1 passed on from 10.0.9.1:8001" in sentences.failing(find_coverage(report))[1]


HIDDEN = r"""
  connection 1, client 10.0.0.1:4001, server 10.0.0.2:80
  0.0000  >  S    mss 1460
  0.0004  <  S.   mss 1460
  0.0004  >  .
  0.0010  >  P.   "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
  0.0500  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"
  0.0910  >  F.
  0.0914  <  F.
  0.0914  >  .
  connection 2, client 10.0.0.2:50002, server 10.0.0.3:8001
  0.0030  >  S    mss 1460
  0.0034  <  S.   mss 1460
  0.0034  >  .
  0.0040  >  P.   "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
  0.0130  <  P.   "HTTP/1.1 503 A\r\nContent-Length: 4\r\n\r\ndown"
  0.0930  >  F.
  0.0934  <  F.
  0.0934  >  .
"""
"""The server behind an application fails, and the application tells its client so in a 200."""


def test_a_failure_behind_a_gateway_that_its_client_did_not_get_is_not_nothing(tmp_path: Path) -> None:
    report = analyzed(tmp_path, HIDDEN)
    far = find_coverage(report)
    said = "1 response with status 503 from behind a gateway was not forwarded"
    assert (report.findings, far.hidden, unexplained(far)) == ([], {503: 1}, [said])
    assert headline(report, [], far) == f"No known fault, but {said}."
    assert sentences.checked_heading(report, far) == "Checked"
    assert reaches_level(report, "any")


def test_failures_behind_a_gateway_are_counted_by_status(tmp_path: Path) -> None:
    report = analyzed(
        tmp_path,
        connection(1, "10.0.0.2:80", 200, 404, 200, slow=0.2),
        connection(2, "10.0.9.1:8001", 503, 500, 500, client="10.0.0.2", slow=0.1),
    )
    rows = [(0, number, 1, number, True, number + 1) for number in range(3)]
    report.gateways = {report.captures[0].file: Gateways(pl.DataFrame(rows, TRIES, orient="row"))}
    [said] = unexplained(find_coverage(report))
    assert said == "3 responses with status 500 or above (500: 2, 503: 1) from behind a gateway were not forwarded"


@pytest.mark.parametrize("status", ["502", "503"])
def test_a_failure_behind_a_gateway_counts_once_if_its_client_got_one(tmp_path: Path, status: str) -> None:
    """The gateway forwards the 503, or answers 502 because of it."""
    far = find_coverage(analyzed(tmp_path, HIDDEN.replace("200 OK", f"{status} A")))
    assert far.answers.failures == {int(status): 1}
    assert far.hidden == {}

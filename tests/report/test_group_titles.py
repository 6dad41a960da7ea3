"""The title of a problem that occurred several times, in headline and heading: true of every occurrence."""

from __future__ import annotations

from pathlib import Path

import pytest

import wiredoctor
from tests.report.counted import written
from tests.report.examples import finding, report_of
from tests.support.recordings import find_recording
from wiredoctor.findings import Report
from wiredoctor.report.coverage import find_coverage
from wiredoctor.report.groups import group_findings
from wiredoctor.report.headline import headline

REQUEST = """
connection {number}, start {start}, client 10.0.0.1:{port}
  0.000  >  S    mss 1460
  0.000  <  S.   mss 1460
  0.000  >  .
  0.001  >  P.   "GET /p{number} HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"
  0.001  <  .
"""
CLOSED = (
    REQUEST
    + """  {wait:.3f}  <  F.
  {wait:.3f}  >  F.
  {wait:.3f}  <  .
"""
)
ANSWERED = (
    REQUEST
    + """  {wait:.3f}  <  P.   "HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n"
  {wait:.3f}  >  .
"""
)


def analyze(folder: Path, each: str, seconds: list[float]) -> Report:
    """Analyze one request on each of several connections, which the server answers or closes so much later."""
    lines = (each.format(number=n, start=20 * n, port=4000 + n, wait=wait + 0.001) for n, wait in enumerate(seconds, 1))
    return report_of("".join(lines), folder)


def first_line(report: Report) -> str:
    return headline(report, group_findings(report.findings), find_coverage(report))


@pytest.mark.parametrize(
    ("seconds", "title"),
    [
        ([5, 6, 7, 8], "closed the connection without an answer"),
        ([5, 5, 5, 5], "closed the connection without an answer, 5 s after the request"),
    ],
)
def test_headline_and_heading_agree_on_when_a_server_closed(tmp_path: Path, seconds: list[float], title: str) -> None:
    report = analyze(tmp_path, CLOSED, seconds)
    assert first_line(report) == f"4 of 4 requests failed because 10.0.0.2:80 {title}."
    assert f"ERROR    The server {title}  4 times\n" in written(report, "text")
    assert f"### ERROR: The server {title} (4 times)\n" in written(report, "markdown")
    assert f"The server {title}</h2>" in written(report, "html")


@pytest.mark.parametrize(
    ("seconds", "title"),
    [
        ([1.1, 1.1, 9, 1.1], "took up to 9 s to start answering requests such as GET /p3"),
        ([2, 2, 2, 2], "took 2 s to start answering requests such as GET /p1"),
        ([9], "took 9 s to start answering GET /p1"),
    ],
)
def test_one_slow_request_does_not_stand_for_all(tmp_path: Path, seconds: list[float], title: str) -> None:
    report = analyze(tmp_path, ANSWERED, seconds)
    assert f"the server {title} (10.0.0.2:80" in first_line(report)
    assert f"### NOTE: The server {title}" in written(report, "markdown").replace("\\", "")
    assert f"The server {title}</h2>" in written(report, "html")


PAGE = "The page {} was sent only when complete, after {} s: its style sheets, scripts and images had to wait"


@pytest.mark.parametrize(
    ("title", "values", "expected"),
    [
        ("held back for {} ms: x", [(40,), (40,)], "held back for 40 ms: x"),
        ("stalled for {} until", [("900 ms",), ("3 min 20 s",), ("1.2 s",)], "stalled for up to 3 min 20 s until"),
        ("The user left {} s after the request, before it", [(2,), (3,)], "The user left before it"),
        ("closed after {} s, although it had announced 5 s", [(2,), (3,)], "closed, although it had announced 5 s"),
        ("After {} s idle the data was lost", [(7,), (9,)], "After up to 9 s idle the data was lost"),
        ("It took {} s longer because {}", [(1, "it was lost"), (3, "it was late")], "It took up to 3 s longer"),
        (
            "It took {} s longer because {}",
            [(1, "it was lost"), (3, "it was lost")],
            "It took up to 3 s longer because it was lost",
        ),
        ("another one after {}", [("2 s",), ("30 ms",)], "another one"),
        (
            "A WebSocket was closed after being idle for {} s",
            [(3,), (6,)],
            "A WebSocket was closed after being idle for up to 6 s",
        ),
        ("The client gave up: a timeout of about {} s", [(3,), (2,)], "The client gave up"),
        ("The server rejected the head of a request ({})", [(414,), (400,)], "The server rejected the head of a request"),
        ("It took {} s to start answering GET /a", [(1,), (2,)], "It took up to 2 s to start answering GET /a"),
        ("Chunks came together: GET {}", [("/a",), ("/b",)], "Chunks came together, for requests such as GET /a"),
        (
            "The response to GET {} came in tiny chunks",
            [("/a",), ("/b",)],
            "Responses to requests such as GET /a came in tiny chunks",
        ),
        (
            PAGE,
            [("/a", 1), ("/b", 2)],
            "Pages such as /a were sent only when complete, after up to 2 s: their style sheets, scripts and images had to wait",
        ),
    ],
)
def test_what_differs_is_not_said_of_all(title: str, values: list[tuple[object, ...]], expected: str) -> None:
    findings = [finding(title=title.format(*each), delay=None, elapsed=n) for n, each in enumerate(values)]
    assert [group.title for group in group_findings(findings)] == [expected]


def test_of_equally_costly_occurrences_the_first_of_all_captures_is_shown() -> None:
    """The capture that began at 11:59:50 saw it 10 s after its first packet, the one of 12:00 after 22 ms."""
    later, first = finding(), finding(capture="b.pcap", elapsed=10.0, time="2026-01-31T12:00:00.000000000Z")
    [group] = group_findings([later, first])
    assert group.worst is first
    costly = finding(delay=0.3, elapsed=20.0, time="2026-01-31T12:00:20.000000000Z")
    assert group_findings([later, first, costly])[0].worst is costly


def test_two_servers_that_are_slow_differently_share_no_time() -> None:
    paths = [find_recording(f"slow-sibling-ipv6-{point}.pcap") for point in ("client", "server")]
    report = wiredoctor.analyze(*paths, select=["slow-sibling"])
    assert len({finding.title for finding in report.findings}) == 2
    assert [group.title for group in group_findings(report.findings)] == ["One of 3 servers is slow"]

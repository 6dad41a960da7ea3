"""The table of problems, of conversations written as ladders."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from tests.report.examples import finding, report, report_of
from wiredoctor.findings import Evidence, total_delay
from wiredoctor.report.filter import Filter, Moment
from wiredoctor.report.filtered_report import filter_report
from wiredoctor.report.formats import Options, write
from wiredoctor.report.groups import Group, group_findings
from wiredoctor.report.html.problem_table import problem_table
from wiredoctor.report.overview import CAUSES_FIRST, OVERLAP, Row, notes_on_times, split_rows

RACE = r"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  0.022  >  .
  5.022  <  F.
  5.030  >  P.   "GET /b HTTP/1.1\r\nHost: a\r\n\r\n" ack 41
  5.041  <  R    41:41(0)
"""
"""The request, which a log names, was sent at 5.030 s; the FIN, the first packet of the proof, at 5.022 s."""


def test_a_problem_was_first_seen_when_its_request_began(tmp_path: Path) -> None:
    one = report_of(RACE, tmp_path)
    [race] = [f for f in one.findings if f.rule == "keep-alive-race"]
    assert (race.elapsed, race.evidence[0].elapsed) == (5.022, 5.022)
    assert race.first_seen == 5.03
    assert race.first_seen_time.endswith(":25.030000000Z")  # ladders begin at second 20 of a minute
    groups = group_findings([race, *(f for f in one.findings if f is not race)])
    [row] = [row for row in split_rows(one, [*groups, *groups])[0] if row.group.worst is race][:1]
    assert row.first_seen.endswith(":25.030")
    table = problem_table(one, [*groups, *groups])
    assert table is not None
    assert table.rows[0].first_seen == 5.03


def test_a_capture_without_times_of_day_does_not_hide_the_times_of_others() -> None:
    dated = finding(number=1, time="2026-01-31T10:42:16.123000000Z")
    undated = finding(number=2, time="1970-01-01T00:00:01.000000000Z", elapsed=-1e9)
    one = report([dated, undated])
    rows = split_rows(one, [*group_findings(one.findings)] * 2)[0]
    assert {row.first_seen for row in rows} == {"10:42:16.123"}


def test_a_finding_concerns_the_time_of_its_request(tmp_path: Path) -> None:
    """Here the request begins 5 s before the stall that is the proof."""
    slow = RACE.partition("  5.022")[0].replace("0.022", "5.022")
    one = report_of(slow, tmp_path)
    assert one.findings[0].rule == "slow-response"
    late = replace(one.findings[0], elapsed=5.0, evidence=(Evidence(5, 5.022, "the response"),))
    at_request = Filter(begin=Moment.parse("0.005"), end=Moment.parse("0.1"))
    assert filter_report(replace(one, findings=[late]), at_request).findings == [late]


def test_rows_with_the_same_rule_and_place_name_what_tells_them_apart() -> None:
    kinds = [
        finding(number=1, kind="head-body-split", server="10.0.0.9:80"),
        finding(number=2, kind="write-write-read", server="10.0.0.9:80"),
    ]
    sides = [finding(number=3, kind="crossed"), finding(number=4, kind="crossed", side="client")]
    clients = [
        finding(number=n, rule="no-connection-reuse", kind=None, server=None, capture=name)
        for n, name in ((5, "a.pcap"), (6, "b.pcap"))
    ]
    alone = finding(number=7, rule="slow-response")
    worse = finding(number=8, rule="slow-response", kind="other", severity="error")
    findings = [*kinds, *sides, *clients, alone, worse]
    rows = {int(row.cells[-1]): row.place for row in split_rows(report(findings, [], []), group_findings(findings))[0]}
    assert rows == {
        1: "10.0.0.9:80 /items (head-body-split)",
        2: "10.0.0.9:80 /items (write-write-read)",
        3: "10.0.0.2:80 /items (crossed, server)",
        4: "10.0.0.2:80 /items (crossed, client)",
        5: "10.0.0.1:51234 /items (a.pcap)",
        6: "10.0.0.1:51234 /items (b.pcap)",
        7: "10.0.0.2:80 /items",
        8: "10.0.0.2:80 /items",
    }


@pytest.mark.parametrize("name", ["text", "markdown"])
def test_times_that_overlap_behind_a_gateway_are_noted(name: str) -> None:
    """The client waits 0.2 s on connection 3, while the gateway waits 0.2 s for it on connection 9."""
    both = [finding(number=1), finding(number=2, rule="slow-response", connection=9, front=3, server="10.0.0.3:80")]
    for findings, noted in ((both, True), ([both[0], replace(both[1], front=None)], False)):
        out = io.BytesIO()
        write(report(findings, [], [], delay=total_delay(findings)), name, out, Options())
        assert (OVERLAP.encode() in out.getvalue()) == noted


@pytest.mark.parametrize(
    ("width", "place"),
    [
        (32, "10.0.0.9:80 /items (mid-message)"),
        (31, "10.0.0.9:80 (mid-message)"),
        (25, "10.0.0.9:80 (mid-message)"),
        (24, "10.0.0.9:80 /items"),
        (8, "10....80"),
    ],
)
def test_a_path_gives_way_to_what_tells_rows_apart(width: int, place: str) -> None:
    group = Group((finding(kind="mid-message", server="10.0.0.9:80"),))
    row = Row(group, "10.0.0.9:80", "/items", 0, "", "", "(mid-message)")
    assert row.shortened_place(width, "...") == place


@pytest.mark.parametrize(("errors", "warnings", "shown"), [(20, 3, 20), (21, 3, 21), (25, 0, 25), (26, 3, 20), (3, 30, 20)])
def test_no_list_hides_only_a_few_errors(errors: int, warnings: int, shown: int) -> None:
    severities = ["error"] * errors + ["warning"] * warnings
    findings = [finding(number=n, severity=s, server=f"10.0.0.9:{n}") for n, s in enumerate(severities, 1)]
    rows, left = split_rows(report(findings, [], []), group_findings(findings))
    assert (len(rows), len(left)) == (shown, len(findings) - shown)


def test_an_order_that_is_not_that_of_the_time_lost_is_explained() -> None:
    cheap, costly = (Group((finding(number=n, server=f"10.0.0.{n}:80", delay=float(n)),)) for n in (1, 2))
    whole = report([*cheap.findings, *costly.findings], [], [], delay=3.0)
    assert CAUSES_FIRST in notes_on_times(whole, [cheap, costly])
    assert CAUSES_FIRST not in notes_on_times(whole, [costly, cheap])

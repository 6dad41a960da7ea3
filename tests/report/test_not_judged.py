"""Test failures that no finding explains, in every format: only a report without any says "Nothing wrong was found"."""

from __future__ import annotations

import io
import json
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.report.examples import capture, connection, exchange, finding, report, without_response
from tests.report.test_text import page
from wiredoctor.findings import Checked, LeftOut, Report, Unjudged
from wiredoctor.mcp import answers
from wiredoctor.mcp.answers import Page
from wiredoctor.report import html
from wiredoctor.report.coverage import find_coverage
from wiredoctor.report.data import json as report_json
from wiredoctor.report.data import junit, sarif
from wiredoctor.report.fail_on import reaches_level
from wiredoctor.report.filter import Filter
from wiredoctor.report.filtered_report import filter_report
from wiredoctor.report.headline import headline
from wiredoctor.report.terminal import markdown
from wiredoctor.report.terminal.sentences import MAX_EXAMPLES, reasons
from wiredoctor.rule_engine import catalogue


def unjudged(reason: str = "no-answer", number: int = 1, **changes: Any) -> Unjudged:
    values: dict[str, Any] = {
        "capture": "trace.pcap", "connection": number, "exchange": 0, "client": f"10.0.0.1:{51000 + number}",
        "server": "10.0.0.2:80", "request": f"GET /items/{number}", "reason": reason, "message": "as it was", "frame": 4 + number,
        "time": "2026-01-31T12:00:00.022000000Z", "elapsed": 0.022, "waited": 3.2 if reason == "no-answer" else None,
    }  # fmt: skip
    return Unjudged(**{**values, **changes})


def of(*left: Unjudged, findings: int = 0, exchanges: int = 5, **changes: Any) -> Report:
    """A report with five connections, of which these did not end as they should."""
    counts: dict[tuple[str, str], int] = {}
    for one in left:
        counts[one.capture, one.reason] = counts.get((one.capture, one.reason), 0) + 1
    values: dict[str, Any] = {"not_judged": [*left], "not_judged_counts": counts} | changes
    rows = [
        exchange(number, **(without_response() if number in {one.connection for one in left} else {}))
        for number in range(exchanges)
    ]
    return report([finding()] * findings, [connection(number) for number in range(5)], rows, **values)


def said(one: Report) -> str:
    return headline(one, [], find_coverage(one))


VERDICTS = [
    (of(), "Nothing wrong was found."),
    (of(unjudged("closed", 1), unjudged("closed", 2)), "No known fault, but 2 of 5 requests were never answered."),
    (of(unjudged("closed")), "No known fault, but 1 of 5 requests was never answered."),
    (of(unjudged()), "No known fault, but 1 of 5 requests had no answer yet when the capture ended."),
    (of(unjudged("closed"), unjudged(number=2)), "No known fault, but 2 of 5 requests were never answered."),
    (of(unjudged("request-unfinished")), "No known fault, but 1 of 5 requests was still incomplete when the capture ended."),
    (of(unjudged("request-cut-short")), "No known fault, but 1 of 5 requests broke off."),
    (of(unjudged("head-unfinished")), "No known fault, but 1 of 5 requests broke off."),
    (of(unjudged("unreadable")), "No known fault, but 1 of 5 requests got bytes that are not an HTTP response."),
    (of(unjudged("reset-doubted")), "No known fault, but 1 of 5 exchanges was reset."),
    (of(unjudged("websocket-cut", 9)), "No known fault, but 1 of 5 exchanges is a WebSocket that was cut."),
    (
        of(unjudged("tunnel-unanswered", 9)),
        "No known fault, but 1 of 5 exchanges is a tunnel through which nothing came back.",
    ),
    (of(unjudged("tunnel-reset", 9)), "No known fault, but 1 of 5 exchanges is a tunnel that was reset."),
    (of(unjudged("cut-short", 9)), "No known fault, but 1 of 5 responses broke off."),
    (of(unjudged("response-unfinished", 9)), "No known fault, but 1 of 5 responses was still incomplete when the capture ended."),
    (of(unjudged("one-sided"), unjudged("gap", 2)), "No known fault, but 2 of 5 exchanges were captured only in part."),
    (
        of(unjudged("silence", 2, exchange=None, request=None)),
        "No known fault, but 1 of 5 connections failed for an unknown reason.",
    ),
    (
        of(unjudged("server-reset", 2, exchange=None, request=None)),
        "No known fault, but 1 of 5 connections was reset by the server.",
    ),
    (
        of(unjudged("breaks-off", 2, exchange=None, request=None)),
        "No known fault, but 1 of 5 connections ended with unacknowledged data.",
    ),
    (
        of(unjudged("reset", 2, exchange=None, request=None), unjudged("closed", 3)),
        "No known fault, but 1 of 5 requests was never answered and 1 of 5 connections failed for an unknown reason.",
    ),
    (
        of(captures=[capture(dropped=5, dropped_of=1239)]),
        "5 of 1,239 packets were dropped while capturing. No known fault was found in what was captured.",
    ),
    (
        of(unjudged(), captures=[capture(dropped=5, dropped_of=1239)]),
        "5 of 1,239 packets were dropped while capturing. No known fault was found in what was captured, but 1 of 5 requests "
        "had no answer yet when the capture ended.",
    ),
    (
        of(unjudged("closed"), left_out=[LeftOut("baseline", "b.json", 3, ("tinygrams",))]),
        "No new findings (3 known), but 1 of 5 requests was never answered.",
    ),
]


@pytest.mark.parametrize(("one", "sentence"), VERDICTS, ids=[sentence for _, sentence in VERDICTS])
def test_the_verdict(one: Report, sentence: str) -> None:
    assert said(one) == sentence
    assert reaches_level(one, "any") == (sentence != "Nothing wrong was found." and not (one.left_out and not one.not_judged))
    assert not reaches_level(one, "note")


@pytest.mark.parametrize(
    ("statuses", "sentence"),
    [
        ([200, 404], "Nothing wrong was found."),
        ([200, 503, 503], "No known fault, but 2 of 3 responses have status 503."),
        ([200, 500], "No known fault, but 1 of 2 responses has status 500."),
        ([502, 503, 503, 200], "No known fault, but 3 of 4 responses have status 500 or above (503: 2, 502: 1)."),
        ([101], "Nothing wrong was found."),
    ],
)
def test_statuses(statuses: list[int], sentence: str) -> None:
    rows = [exchange(number, response_status=status, upgraded=status == 101) for number, status in enumerate(statuses)]
    one = report([], [connection(1)], rows)
    assert said(one) == sentence
    assert reaches_level(one, "any") == (max(statuses) >= 500)
    summary = json.loads(written(one))["summary"]
    assert summary["requests"] == {"count": len(statuses), "answered": len(statuses)}
    assert {each["status_class"]: each["count"] for each in summary["responses"]} == {
        f"{status // 100}xx": sum(other // 100 == status // 100 for other in statuses) for status in statuses
    }
    assert {each["status"]: each["count"] for each in summary["server_errors"]} == {
        status: statuses.count(status) for status in statuses if status >= 500
    }


def test_an_interim_response_is_no_answer() -> None:
    one = report([], [connection(1)], [exchange(1, response_status=100)])
    assert (find_coverage(one).answers.requests, find_coverage(one).answers.answered, find_coverage(one).answers.responses) == (
        1,
        0,
        0,
    )


def written(one: Report) -> str:
    out = io.BytesIO()
    report_json.write(one, out)
    return out.getvalue().decode()


MANY = of(*(unjudged(number=number) for number in range(1, 4)), *(unjudged("reset", 4, exchange=None, request=None),))
LINES = [
    "1 of 5 connections: reset while something was in progress, and no rule explains why: to 10.0.0.2:80 (frame 8)",
    "3 of 5 exchanges: no answer yet when the capture ended: GET /items/1 (frame 5, 3.2 s before the end), GET /items/2 "
    "(frame 6, 3.2 s before the end) and GET /items/3 (frame 7, 3.2 s before the end)",
]


def test_the_lines() -> None:
    assert reasons(MANY, find_coverage(MANY)) == LINES


@pytest.mark.parametrize(
    ("idle", "said"),
    [
        ((2.794, 2.893, 3.001), " (each after 2.79 s to 3 s without data)"),
        ((3.0, 3.0, 3.0), " (each after 3 s without data)"),
        ((30.0, 30.3), " (each after 30 s to 30.3 s without data)"),
        ((2.794, 3.001), ""),
        ((2.6, 2.893, 3.001), ""),
        ((0.9, 0.9, 0.9), ""),
        ((3.0, 3.0, None), ""),
        ((3.0,), ""),
    ],
)
def test_cut_streams_that_were_idle_for_the_same_time(idle: tuple[float | None, ...], said: str) -> None:
    cut = of(*(unjudged("websocket-cut", number, idle=one) for number, one in enumerate(idle)))
    [line] = reasons(cut, find_coverage(cut))
    assert f"no rule explains why{said}: GET /items/0 (frame 4)" in line


def test_of_many_the_first_are_shown() -> None:
    some = of(*(unjudged(number=number) for number in range(1, 4)), not_judged_counts={("trace.pcap", "no-answer"): 41})
    [line] = reasons(some, find_coverage(some))
    assert line.startswith("41 of 5 exchanges: ")
    assert line.count("frame") == MAX_EXAMPLES
    assert line.endswith(" and 38 more")


def test_with_a_selection_other_rules_might_have_known() -> None:
    one = of(unjudged("closed"), unasked={"no-response": next(iter(MANY.checked.values()))})
    assert "and no rule that was requested explains why" in reasons(one, find_coverage(one))[0]


def test_it_stands_in_the_text() -> None:
    text = page(MANY, 200)
    assert text.startswith("No known fault, but 3 of 5 requests had no answer yet when the capture ended and 1 of 5 connections")
    assert "Checked and healthy" not in text
    assert all(line in " ".join(text.split()) for line in LINES)
    assert "Not judged\n  1 of 5 connections: reset" in page(of(*MANY.not_judged, findings=1), 200)


def test_it_stands_in_markdown_and_html() -> None:
    out = io.BytesIO()
    markdown.write(MANY, out)
    assert b"## wiredoctor: No known fault, but 3 of 5 requests" in out.getvalue()
    assert out.getvalue().count(b"- Not judged: ") == len(LINES)
    out = io.BytesIO()
    html.write(MANY, out)
    assert b"No known fault, but 3 of 5 requests" in out.getvalue()
    assert b"no answer yet when the capture ended: GET /items/1 (frame 5" in out.getvalue()


def test_it_stands_in_json(validate_report: Any) -> None:
    whole = json.loads(written(MANY))
    validate_report(whole)
    assert [(one["reason"], one["frame"], one["waited"]) for one in whole["not_judged"]] == [
        ("no-answer", 5, 3.2), ("no-answer", 6, 3.2), ("no-answer", 7, 3.2), ("reset", 8, None)
    ]  # fmt: skip
    assert [(one["what"], one["count"]) for one in whole["summary"]["not_judged"]] == [("connections", 1), ("exchanges", 3)]
    out = io.BytesIO()
    report_json.write_lines(MANY, out)
    assert len(json.loads(out.getvalue().splitlines()[-1])["not_judged"]) == 4


def test_it_stands_in_sarif() -> None:
    out = io.BytesIO()
    sarif.write(MANY, out, catalogue())
    [run] = json.loads(out.getvalue())["runs"]
    said = [one["message"]["text"] for one in run["invocations"][0]["toolExecutionNotifications"]]
    assert all(line in said for line in LINES)


def test_a_model_is_told() -> None:
    answer = answers.diagnosis(MANY, Page(0, 50))
    assert answer["verdict"].startswith("No known fault, but 3 of 5 requests")
    assert answer["not_judged"] == LINES


@pytest.mark.parametrize("fail_on", ["note", "any"])
def test_a_case_of_junit_says_it_and_fails_where_that_was_asked_for(fail_on: Any) -> None:
    out = io.BytesIO()
    junit.write(MANY, out, fail_on=fail_on)
    [case] = [case for case in ElementTree.fromstring(out.getvalue()).iter("testcase") if case.attrib["name"] == "not-judged"]
    told = case.find("failure" if fail_on == "any" else "system-out")
    assert told is not None
    assert (told.text or "").startswith("3 of 5 requests had no answer yet when the capture ended.\n")
    assert f"not judged: {LINES[0]}" in (told.text or "")
    assert (case.find("failure") is not None) == (fail_on == "any")


def test_junit_has_no_such_case_where_all_is_well() -> None:
    out = io.BytesIO()
    junit.write(of(), out, fail_on="any")
    assert b"not-judged" not in out.getvalue()


def test_a_narrowed_report_has_its_own() -> None:
    some = filter_report(MANY, Filter(connections=(2, 4)))
    assert [one.connection for one in some.not_judged] == [2, 4]
    assert some.not_judged_counts == {("trace.pcap", "no-answer"): 1, ("trace.pcap", "reset"): 1}
    assert said(some).startswith("No known fault, but 1 of 2 requests had no answer yet")
    assert filter_report(MANY, Filter(hosts=("10.9.9.9",))).not_judged == []


def test_of_several_captures_each_has_its_own() -> None:
    both = of(unjudged("closed"), unjudged("closed", 2, capture="b.pcap"), captures=[capture(), capture(file="b.pcap")])
    out = io.BytesIO()
    junit.write(both, out)
    suites = ElementTree.fromstring(out.getvalue()).findall("testsuite")
    assert [sum(case.attrib["name"] == "not-judged" for case in suite.iter("testcase")) for suite in suites] == [1, 1]
    assert "GET /items/1 (frame 5 of trace.pcap)" in reasons(both, find_coverage(both))[0]


def test_what_deselected_rules_may_explain_is_counted_once_and_not_called_unknown() -> None:
    """Two requests without a response and a refused connection: with all rules, each is counted of its own whole."""
    left = [unjudged("closed"), unjudged("cut-short", 2), unjudged("refused", 3, exchange=None, request=None)]
    assert "1 of 5 connections failed for an unknown reason" in said(of(*left))
    some = {"checked": {"idle-close": Checked("lifetime", "closes")}}
    some["unasked"] = {"no-response": Checked("lifetime", "exchanges", ends=True)}
    why = "(rules that did not run may explain why)"
    assert said(of(*left, **some)) == f"The selected rule found nothing, but 2 of 5 requests were not answered completely {why}."
    assert said(of(*left[2:], **some)) == f"The selected rule found nothing, but 1 of 5 connections failed {why}."

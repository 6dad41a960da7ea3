"""Test JUnit XML as Jenkins and GitLab read it, with another parser."""

from __future__ import annotations

import io
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.report.examples import capture, capture_loss, connection, exchange, finding, report
from wiredoctor.findings import Report
from wiredoctor.report.data import junit
from wiredoctor.report.fail_on import reaches_level

ATTRIBUTES = {
    "testsuites": {"name", "tests", "failures", "errors", "skipped", "time"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
    "properties": set[str](),
    "property": {"name", "value"},
    "testcase": {"classname", "name", "time", "file"},
    "failure": {"message", "type"},
    "error": {"message", "type"},
    "skipped": {"message"},
    "system-out": set[str](),
}
"""Elements that Jenkins' xUnit schema has, and their attributes."""


def written(one: Report, **how: Any) -> ElementTree.Element:
    out = io.BytesIO()
    junit.write(one, out, **how)
    root = ElementTree.fromstring(out.getvalue())
    for element in root.iter():
        assert set(element.attrib) <= ATTRIBUTES[element.tag]
    for suite in [root, *root.iter("testsuite")]:
        cases = [*suite.iter("testcase")]
        numbers = [len(cases), *(sum(c.find(tag) is not None for c in cases) for tag in ("failure", "error", "skipped"))]
        assert [int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")] == numbers
        assert float(suite.attrib["time"]) == pytest.approx(sum(float(c.attrib["time"]) for c in cases))
    return root


def cases(root: ElementTree.Element) -> dict[str, ElementTree.Element]:
    return {c.attrib["name"]: c for c in root.iter("testcase")}


def test_a_suite_per_capture_and_a_case_per_rule() -> None:
    one = report(
        [finding(), finding(evidence=(), delay=0.1, exchange=3)], [connection(1)], [exchange(1)], [capture(), capture(file="b")]
    )
    root = written(one)
    first, second = root.findall("testsuite")
    assert [s.attrib["name"] for s in (first, second)] == ["trace.pcap", "b"]
    assert first.attrib["timestamp"] == "2026-01-31T12:00:00"
    case = cases(first)["nagle-delayed-ack"]
    assert (case.attrib["classname"], float(case.attrib["time"])) == ("wiredoctor.stalls", pytest.approx(0.3))
    failure = case.find("failure")
    assert failure is not None
    assert failure.attrib == {"type": "warning", "message": "Nagle's algorithm met a delayed ACK (2 times, 300 ms lost)"}
    assert "frame 6  0.222000 s  the client acknowledges it" in (failure.text or "")
    # nothing in the second capture that a rule could look at
    assert {name for name, c in cases(second).items() if c.find("skipped") is not None} == {
        "nagle-delayed-ack",
        "premature-close",
    }


@pytest.mark.parametrize("fail_on", ["error", "warning", "note"])
@pytest.mark.parametrize("selected", [(), ("capture",), ("capture-loss",)])
@pytest.mark.parametrize("severity", ["error", "warning", "note"])
def test_a_case_fails_where_the_command_does(fail_on: Any, selected: tuple[str, ...], severity: Any) -> None:
    for made in (finding(severity=severity), capture_loss(severity=severity)):
        one = report([made], [connection(1)], [exchange(1)])
        root = written(one, fail_on=fail_on, selected=selected)
        case = cases(root)[made.rule]
        assert (case.find("failure") is not None) == reaches_level(one, fail_on, selected) == (root.attrib["failures"] != "0")
        assert (case.find("system-out") is None) == (case.find("failure") is not None)


def test_inputs_that_could_not_be_read_are_errors() -> None:
    root = written(report(incomplete=["Cut off."]), unread=["c.pcap: no such file"])
    assert [e.attrib["message"] for e in root.iter("error")] == ["c.pcap: no such file", "Cut off."]
    assert root.attrib["errors"] == "2"


def test_an_empty_report() -> None:
    assert written(Report(version="0.1.0")).attrib["tests"] == "0"


def test_what_xml_cannot_hold_is_escaped() -> None:
    evil = "\x00\x1b[2J]]>\ufffe\ud800\u202e</failure><x a='\"&"
    root = written(report([finding(title=evil, message=evil, rule=evil)], captures=[capture(file=evil)]))
    [failure] = root.iter("failure")
    assert failure.attrib["message"] == "\\x00\\x1b[2J]]>\\ufffe\\ud800\\u202e</failure><x a='\"&"
    assert "</failure><x" in "".join((failure.text or "").split("\n"))

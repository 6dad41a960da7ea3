"""Lines for grep, annotations for GitHub, and a line per rule."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from tests.report.examples import HOSTILE, capture, finding, hostile_finding, report
from tests.report.test_text import busy
from wiredoctor.findings import Evidence, Report
from wiredoctor.report import formats
from wiredoctor.report.data.github import command
from wiredoctor.report.terminal.concise import finding_line


def written(name: str, one: Report, **options: Any) -> list[str]:
    out = io.BytesIO()
    formats.write(one, name, out, formats.Options(**options))
    return out.getvalue().decode().splitlines()


def test_a_line_per_finding() -> None:
    one = busy([finding(evidence=(Evidence(53, 1.0, "x"),)), hostile_finding(), finding(evidence=(), request=None, server=None)])
    lines = written("concise", one)
    assert lines[0] == (
        "trace.pcap:53: warning[nagle-delayed-ack] Nagle's algorithm met a delayed ACK "
        "(GET /items?id=(masked), 10.0.0.2:80, 8800bc00)"
    )
    assert lines[2].startswith("trace.pcap: warning[nagle-delayed-ack] ")
    assert [line.startswith("wiredoctor: ") for line in lines[3:]] == [True, True]
    assert lines[4] == "wiredoctor: 3 warnings. Time lost: 400 ms."
    assert len(written("concise", one, quiet=True)) == 3


def test_a_line_is_a_line_whatever_packets_contain() -> None:
    line = finding_line(finding(title=HOSTILE, request=HOSTILE, server=HOSTILE, capture=HOSTILE))
    assert line.isprintable()


def test_an_annotation_per_problem() -> None:
    like = [finding(connection=n, elapsed=float(n), delay=None) for n in range(3)]
    bad = finding(rule="keep-alive-race", severity="error", title="Lost: a, b", message="50 %\nof it", delay=None)
    note = finding(rule="offload", severity="note", delay=None)
    first, *lines = written("github", busy([*like, bad, note]))
    assert first.startswith("::notice title=wiredoctor::")
    assert first.endswith(" 1 error, 1 warning, 1 note; 5 occurrences.")
    assert lines[0].startswith("::error file=trace.pcap,line=5,title=keep-alive-race%3A Lost%3A a%2C b::50 %25%0Aof it%0A")
    assert [re.match(r"::(\w+) ", line)[1] for line in lines] == ["error", "warning", "notice"]  # type: ignore[index]
    assert "(3 times)::" in lines[1]
    assert "%0Awiredoctor show trace.pcap --finding 8800bc00%0Awiredoctor explain nagle-delayed-ack" in lines[1]


@pytest.mark.parametrize(
    ("properties", "text", "line"),
    [
        ({"title": "a:b,c%\r\nd"}, "x::y,z%0A", "::error title=a%3Ab%2Cc%25\\x0d\\x0ad::x::y,z%250A"),
        ({"file": "a b.pcap"}, "one\ntwo", "::error file=a b.pcap::one%0Atwo"),
        ({"file": "a"}, "\r::error::no", "::error file=a::\\x0d::error::no"),
    ],
)
def test_escaping_as_the_toolkit_of_github(properties: dict[str, str], text: str, line: str) -> None:
    # https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts: % first, then line ends; in properties : and ,
    assert command("error", properties, text) == line


def test_a_line_per_rule() -> None:
    like = [finding(connection=n, elapsed=float(n), delay=0.1) for n in range(12)]
    elsewhere = finding(server="10.0.0.9:80", delay=0.3, connection=None)
    lost = finding(rule="keep-alive-race", severity="error", delay=None)
    assert written("statistics", busy([*like, elsewhere, lost]))[-3:] == [
        "occurrences  problems  severity  rule               time lost",
        "          1         1  error     keep-alive-race",
        "         13         2  warning   nagle-delayed-ack  1.5 s",
    ]
    assert written("statistics", report([], captures=[capture()]))[0].startswith("Nothing to diagnose")

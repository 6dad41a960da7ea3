"""Test that every capture yields the findings in its papers, and no others."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.captures.papers import EACH, PATHS, QUICK, key, read
from tests.captures.reports import report_of
from tests.pipeline.agreement import disagreements
from tests.support.figures import absurd_figures
from tests.support.sweeps import WHOLE, sweep

if TYPE_CHECKING:
    from pathlib import Path

    from tests.captures.papers import Key, Papers
    from wiredoctor.findings import Finding, Report

ABSENT = {"method": "", "target": "", "response_framing": "none"}
"""What the columns of `exchanges` hold where the papers say nothing: no request, or no response, in the capture."""

EXACT_TO = {"abs": 0.005, "rel": 0.05}
"""Seconds, or share, that a delay may differ from the papers'."""


def in_order(report: Report) -> list[Finding]:
    """What was found, in order of time."""
    return sorted(report.findings, key=lambda f: f.elapsed)


def of_finding(finding: Finding) -> Key:
    """The same parts of a finding as `papers.key` has."""
    return finding.rule, finding.kind, finding.side, finding.connection, finding.severity == "note"


def check_exchanges(report: Report, papers: Papers) -> None:
    """Each exchange is understood, with its interim responses and the sizes of its bodies."""
    columns = {
        "connection": "connection",
        "exchange": "exchange",
        "method": "request_method",
        "target": "request_target",
        "status": "response_status",
        "response_framing": "response_framing",
    }
    frame, written = report.exchanges.sort("connection", "exchange"), papers.exchanges
    seen = frame.select(**columns).to_dicts()
    assert seen == [{name: exchange.get(name, ABSENT.get(name)) for name in columns} for exchange in written]
    assert [list(codes) for codes in frame["interim"]] == [e.get("interim", []) for e in written]
    meant = [e.get("request_body", 0 if "method" in e else None) for e in written]
    assert frame["request_body_bytes"].to_list() == meant
    # papers without a size are of bodies that the capture has only in part, of unknown size
    sizes = zip(frame["response_body_bytes"].to_list(), written, strict=True)
    known = [(size, exchange["response_body"]) for size, exchange in sizes if "response_body" in exchange]
    assert [size for size, _ in known] == [meant for _, meant in known]


def check_connections(report: Report, papers: Papers) -> None:
    """Who closed first."""
    frame = report.connections.sort("connection")
    assert frame["closed_by"].to_list() == [c.get("closed_by", "") for c in papers.connections]


def check_findings(report: Report, papers: Papers) -> None:
    """They are those of the papers, agree with each other, and say nothing that must not be said."""
    assert Counter(map(of_finding, report.findings)) == papers.findings
    assert disagreements(report) == []
    assert absurd_figures(report.findings) == []
    assert not {f.rule for f in report.findings} & papers.must_not


_BEHIND = {
    "apache": ("crash", "no-websocket"),
    "caddy": ("traceback",),
    "haproxy": ("announced", "crash", "page-unchunked", "timeout", "unauthorized"),
    "nginx": (
        *(
            "events-held",
            "events-passed",
            "events-unbuffered",
            "lines-held",
            "page-chunked",
            "page-unchunked",
            "race",
            "rate-limit",
            "retired",
        ),
        *(
            "auth",
            "auth-fine",
            "siblings",
            "slow-sibling",
            "unauthorized",
            "deaf",
            "late",
            "no-websocket",
            "out-of-service",
            "repeated",
            "slow",
            "unreachable",
            "websocket",
        ),
    ),
    "tcp-balancer": ("unauthorized",),
    "varnish": ("events-held", "events-passed"),
}
BOTH_SIDES = {f"behind-{proxy}-{what}" for proxy, some in _BEHIND.items() for what in some} | {
    *("haproxy-download-rtt-20", "haproxy-uvicorn-rtt-20-client", "haproxy-uvicorn-rtt-20-middle"),
    *("haproxy-uvicorn-rtt-20-server", "haproxy-waitress", "nginx-uvicorn", "nginx-uvicorn-kept", "squid-forward"),
    *("varnish-lighttpd", "behind-two-gateways", "behind-nginx-traceback"),
    *("two-sockets-to-the-server", "enough-sockets-to-the-server"),
}
"""Recordings of both sides of a proxy."""


def check_gateways(report: Report, path: Path) -> None:
    """They are seen where there are some."""
    [known] = report.gateways.values()
    assert bool(known.fronts) == (path.stem in BOTH_SIDES)
    assert known.tries["certain"].all()
    # a proxy answers at one address
    assert len(known.fronts) <= 1 + (path.stem == "behind-two-gateways")


@WHOLE
@EACH
def test_a_capture_is_what_its_papers_say(path: Path) -> None:
    """One test for all that they say: there are thousands of tests of captures, and each costs some time of its own."""
    report, papers = report_of(path), read(path)
    [capture] = report.captures
    assert capture.packets == papers.packets
    check_exchanges(report, papers)
    check_connections(report, papers)
    check_findings(report, papers)
    check_gateways(report, path)


def of_quick(case: tuple[Path, object]) -> bool:
    return case[0] in QUICK


MEASURED = [(path, find) for path in PATHS for find in read(path).finds if "delays" in find]


@WHOLE
@pytest.mark.parametrize(("path", "find"), sweep(MEASURED, of_quick), ids=lambda value: getattr(value, "stem", ""))
def test_delays(path: Path, find: dict[str, list[float]]) -> None:
    """The papers have the delays from tshark's time stamps."""
    delays = [f.delay for f in in_order(report_of(path)) if of_finding(f) == key(find)]
    assert delays == pytest.approx(find["delays"], **EXACT_TO)


UNSURE = [(path, find) for path in PATHS for find in read(path).finds if "confidence" in find]
SURENESS = ("low", "medium", "high")


@WHOLE
@pytest.mark.parametrize(("path", "find"), sweep(UNSURE, of_quick), ids=lambda value: getattr(value, "stem", ""))
def test_what_cannot_be_seen_is_said_less_surely(path: Path, find: dict[str, str]) -> None:
    allowed = SURENESS[: SURENESS.index(find["confidence"]) + 1]
    assert {f.confidence for f in report_of(path).findings if of_finding(f) == key(find)} <= set(allowed)

"""Test that every capture yields the findings in its papers, and no others."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.captures.papers import EACH, EACH_RULE, PATHS, key, read
from tests.captures.reports import report_of
from tests.pipeline.agreement import disagreements
from tests.support.sweeps import sweep

if TYPE_CHECKING:
    from pathlib import Path

    from tests.captures.papers import Key
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


@EACH
def test_packets(path: Path) -> None:
    [capture] = report_of(path).captures
    assert capture.packets == read(path).packets


@EACH
def test_every_exchange_is_understood(path: Path) -> None:
    columns = {
        "connection": "connection",
        "exchange": "exchange",
        "method": "request_method",
        "target": "request_target",
        "status": "response_status",
        "response_framing": "response_framing",
    }
    frame = report_of(path).exchanges.sort("connection", "exchange")
    seen = frame.select(**columns).to_dicts()
    assert seen == [{name: exchange.get(name, ABSENT.get(name)) for name in columns} for exchange in read(path).exchanges]


@EACH
def test_interim_responses(path: Path) -> None:
    frame = report_of(path).exchanges.sort("connection", "exchange")
    assert [list(codes) for codes in frame["interim"]] == [e.get("interim", []) for e in read(path).exchanges]


@EACH
def test_every_request_body_has_its_size(path: Path) -> None:
    frame = report_of(path).exchanges.sort("connection", "exchange")
    meant = [e.get("request_body", 0 if "method" in e else None) for e in read(path).exchanges]
    assert frame["request_body_bytes"].to_list() == meant


@EACH
def test_every_response_body_has_its_size(path: Path) -> None:
    """Papers without a size are of bodies that the capture has only in part, of unknown size."""
    frame = report_of(path).exchanges.sort("connection", "exchange")
    sizes = zip(frame["response_body_bytes"].to_list(), read(path).exchanges, strict=True)
    known = [(size, exchange["response_body"]) for size, exchange in sizes if "response_body" in exchange]
    assert [size for size, _ in known] == [meant for _, meant in known]


@EACH
def test_who_closed_first(path: Path) -> None:
    frame = report_of(path).connections.sort("connection")
    assert frame["closed_by"].to_list() == [c.get("closed_by", "") for c in read(path).connections]


@EACH
def test_findings_are_those_of_the_papers(path: Path) -> None:
    assert Counter(map(of_finding, report_of(path).findings)) == read(path).findings


@EACH
def test_findings_agree(path: Path) -> None:
    assert disagreements(report_of(path)) == []


@EACH
def test_what_must_not_be_said_is_not_said(path: Path) -> None:
    assert not {f.rule for f in report_of(path).findings} & read(path).must_not


_BEHIND = {
    "apache": ("crash", "no-websocket"),
    "caddy": ("traceback",),
    "haproxy": ("announced", "crash", "page-unchunked", "timeout", "unauthorized"),
    "nginx": (
        *("events-held", "events-passed", "events-unbuffered", "lines-held", "page-chunked", "page-unchunked", "race", "retired"),
        *("siblings", "slow-sibling", "unauthorized", "deaf", "no-websocket", "repeated", "slow", "unreachable", "websocket"),
    ),
    "tcp-balancer": ("unauthorized",),
    "varnish": ("events-held", "events-passed"),
}
BOTH_SIDES = {f"behind-{proxy}-{what}" for proxy, some in _BEHIND.items() for what in some} | {
    *("haproxy-download-rtt-20", "haproxy-uvicorn-rtt-20-client", "haproxy-uvicorn-rtt-20-middle"),
    *("haproxy-uvicorn-rtt-20-server", "haproxy-waitress", "nginx-uvicorn", "nginx-uvicorn-kept", "squid-forward"),
    *("varnish-lighttpd", "behind-two-gateways"),
}
"""Recordings of both sides of a proxy."""


@EACH
def test_gateways_are_seen_where_there_are_some(path: Path) -> None:
    [known] = report_of(path).gateways.values()
    assert bool(known.fronts) == (path.stem in BOTH_SIDES)
    assert known.tries["certain"].all()
    # a proxy answers at one address
    assert len(known.fronts) <= 1 + (path.stem == "behind-two-gateways")


def _is_quick(case: tuple[Path, dict[str, Any]]) -> bool:
    return case[0] in EACH_RULE


MEASURED = [(path, find) for path in PATHS for find in read(path).finds if "delays" in find]


@pytest.mark.parametrize(("path", "find"), sweep(MEASURED, _is_quick), ids=lambda value: getattr(value, "stem", ""))
def test_delays(path: Path, find: dict[str, list[float]]) -> None:
    """The papers have the delays from tshark's time stamps."""
    delays = [f.delay for f in in_order(report_of(path)) if of_finding(f) == key(find)]
    assert delays == pytest.approx(find["delays"], **EXACT_TO)


UNSURE = [(path, find) for path in PATHS for find in read(path).finds if "confidence" in find]
SURENESS = ("low", "medium", "high")


@pytest.mark.parametrize(("path", "find"), sweep(UNSURE, _is_quick), ids=lambda value: getattr(value, "stem", ""))
def test_what_cannot_be_seen_is_said_less_surely(path: Path, find: dict[str, str]) -> None:
    allowed = SURENESS[: SURENESS.index(find["confidence"]) + 1]
    assert {f.confidence for f in report_of(path).findings if of_finding(f) == key(find)} <= set(allowed)

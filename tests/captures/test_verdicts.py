"""No failure ends in "Nothing wrong was found": over all recordings, and the corpus where it is there.

Each exchange without a final response, each message that was cut short and each reset or silent connection must be in a finding
or among what was not judged. What counts as such is asked here of each row by itself, in Python, and not by the queries of
`wiredoctor.rule_engine.unjudged`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import wiredoctor
from tests.captures.papers import PATHS
from tests.captures.reports import report_of
from wiredoctor.findings import Report, host
from wiredoctor.pipeline import CaptureError
from wiredoctor.report.coverage import reach
from wiredoctor.report.fail_on import reached
from wiredoctor.report.terminal.sentences import nothing
from wiredoctor.rule_engine import catalogue

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"
EVERY = 16
"""Of so many captures of the corpus one is looked at."""

ENDS = {name for name, module in catalogue().items() if module.rule.ends}
ENDLESS = ("text/event-stream", "application/x-ndjson", "multipart/x-mixed-replace")
LONG = 3_000_000_000


def failed(exchange: dict[str, Any]) -> bool:
    """Whether an exchange has no final response, or lacks the end of a message that has one."""
    if exchange["upgraded"] or exchange["response_framing"] == "tunnel":
        return False
    final = exchange["has_response"] and exchange["response_status"] >= 200
    if exchange["has_request"] and (not final or exchange["request_end_reason"] != "complete"):
        return True
    endless = exchange["response_content_type"] in ENDLESS
    return final and exchange["response_end_reason"] != "complete" and not endless


def broken(connection: dict[str, Any], latest: int) -> bool:
    """Whether a connection was refused, reset before or while the server sent anything, or fell silent while data waited."""
    pending = connection["client_unacknowledged"] + connection["server_unacknowledged"]
    both = connection["client_packets"] > 0 and connection["server_packets"] > 0
    if (
        connection["syns"]
        and not connection["connected"]
        and connection["refused_frame"]
        and not connection["first_answer_frame"]
    ):
        return True
    if connection["syns"] >= 2 and not connection["server_packets"] and connection["protocol"] == "none":
        return not connection["one_sided"] and connection["client_packets"] == connection["syns"] and gone(connection, latest)
    if connection["protocol"] not in ("unknown", "tls", "http2") or not both:
        return False
    if connection["close"] == "rst" and connection["closed_by"] == "server":
        return pending > 0 or (connection["client_bytes"] > 0 and connection["server_bytes"] == 0)
    repeated, reset = ({*connection["history"]} & {*letters} for letters in ("Tt", "Rr"))
    return pending > 0 and bool(repeated) and not reset and gone(connection, latest)


def gone(connection: dict[str, Any], latest: int) -> bool:
    return latest - connection["end"] >= LONG


def unexplained(report: Report) -> Iterator[tuple[str, int, int | None]]:
    """What failed and is neither in a finding nor among what was not judged."""
    told = [f for f in report.findings if f.rule in ENDS]
    connections = {f.connection for f in told if f.connection is not None}
    # of a gateway the finding in front speaks of what it tried
    fronts = {(f.connection, f.exchange) for f in told if f.rule == "gateway-error"}
    for known in report.gateways.values():
        connections |= {back for a, b, back, *_ in known.tries.iter_rows() if (a, b) in fronts}
    endpoints = [(f.client, f.server) for f in told if f.connection is None and (f.client or f.server)]
    listed = {(one.connection, one.exchange) for one in report.not_judged}
    cut = len(report.not_judged) < sum(report.not_judged_counts.values())
    for exchange in report.exchanges.iter_rows(named=True):
        place = exchange["connection"], exchange["exchange"]
        if failed(exchange) and place[0] not in connections and place not in listed and not cut:
            yield "exchange", *place
    rows = report.connections
    latest = max(rows["end"], default=0)
    for row in rows.iter_rows(named=True):
        number = row["connection"]
        summed = any(
            client in (None, row["client"], row["client_host"], host(row["client"])) and server in (None, row["server"])
            for client, server in endpoints
        )
        if broken(row, latest) and number not in connections | {one for one, _ in listed} and not summed and not cut:
            yield "connection", number, None


def wrong_verdict(report: Report) -> str:
    """What a report says that it must not; empty where it is right."""
    if report.findings:
        return ""
    failures = sum(status is not None and status >= 500 for status in report.exchanges["response_status"])
    doubtful = bool(report.not_judged_counts or failures or any(capture.dropped for capture in report.captures))
    said = nothing(report, reach(report))
    fine = "Nothing wrong was found" in said or said.startswith("Nothing to diagnose")
    return said if fine == doubtful or reached(report, "any") != doubtful else ""


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_failure_of_a_recording_is_explained_or_listed(path: Path) -> None:
    report = report_of(path)
    assert [*unexplained(report)] == []
    assert wrong_verdict(report) == ""


def _foreign() -> list[Path]:
    if not (CORPUS / "oracle.jsonl").exists():
        return []
    lines = (CORPUS / "oracle.jsonl").read_text("utf-8").splitlines()
    return [CORPUS / "files" / json.loads(line)["path"] for line in lines[::EVERY]]


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not here")
def test_every_failure_of_a_foreign_capture_is_explained_or_listed() -> None:
    wrong: dict[str, object] = {}
    for path in _foreign():
        try:
            report = wiredoctor.analyze(path)
        except CaptureError:
            continue
        if left := [*unexplained(report)] or wrong_verdict(report):
            wrong[str(path.relative_to(CORPUS))] = left
    assert wrong == {}

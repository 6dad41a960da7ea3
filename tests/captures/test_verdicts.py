"""No failure ends in "Nothing wrong was found": over all recordings, and the corpus where it is there.

Each exchange without a final response, each message that was cut short and each reset or silent connection must be in a finding
or among what was not judged. What counts as such is asked here of each row by itself, in Python, and not by the queries of
`wiredoctor.rule_engine.unjudged`.
"""

from __future__ import annotations

import io
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import wiredoctor
from tests.captures.papers import EACH, EACH_RULE, ONE_EACH, PATHS
from tests.captures.reports import report_of
from tests.support.analysis import analyze_bytes
from tests.support.recordings import find_recording
from tests.support.sweeps import FORMS, SLOW, WHOLE, sweep
from wiredoctor.findings import Report, host
from wiredoctor.pipeline import CaptureError
from wiredoctor.report.coverage import find_coverage
from wiredoctor.report.fail_on import reaches_level
from wiredoctor.report.formats import Options, write
from wiredoctor.report.groups import group_findings
from wiredoctor.report.headline import headline
from wiredoctor.report.overview import OVERLAP
from wiredoctor.rule_engine import catalogue
from wiredoctor.text.time_of_day import nanoseconds

SOME = {*EACH_RULE}
"""Captures that a quick run also writes as text and Markdown, which takes longer than all other verdicts together."""

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"
PARTS = 16
"""The captures of the corpus are read in so many parts."""

ENDS = {name for name, module in catalogue().items() if module.rule.ends}
ENDLESS = ("text/event-stream", "application/x-ndjson", "multipart/x-mixed-replace")
SECOND = 1_000_000_000
LONG = 3 * SECOND


def failed(exchange: dict[str, Any]) -> bool:
    """Whether an exchange has no final response, lacks the end of a message that has one, or is a WebSocket that was cut or a
    tunnel that was reset."""
    if exchange["upgraded"] and exchange["response_upgrade"] == "websocket":
        server, client = exchange["server_close_frame"], exchange["client_close_frame"]
        return server is not None and (client is None or server < client) and not exchange["says_goodbye"]
    if exchange["upgraded"] or exchange["response_framing"] == "tunnel":
        server, client = exchange["server_close_frame"], exchange["client_close_frame"]
        return server is not None and exchange["server_close_rst"] == 1 and (client is None or server < client)
    final = exchange["has_response"] and exchange["response_status"] >= 200
    if exchange["has_request"] and (not final or exchange["request_end_reason"] != "complete"):
        return True
    endless = exchange["response_content_type"] in ENDLESS
    return final and exchange["response_end_reason"] != "complete" and not endless


def broken(connection: dict[str, Any], latest: int) -> bool:
    """Whether a connection was refused or never came about, was reset with data that was not acknowledged or without a byte of an
    answer, or fell silent while data waited, and none of EXCEPTIONS says why that is not known to be a failure.

    Or whether the first message of TLS or HTTP/2 was acknowledged and not answered for a second until the client left, or to the
    end; or whether the server reset a connection whose protocol is not read.
    """
    pending = connection["client_unacknowledged"] + connection["server_unacknowledged"]
    silent, history = gone(connection, latest), {*connection["history"]}
    unanswered = connection["client_bytes"] > 0 and connection["server_bytes"] == 0
    refused = bool(connection["refused_frame"]) and not connection["first_answer_frame"]
    never_up = connection["syns"] > 0 and not connection["connected"] and (refused or silent)
    reset = bool(history & {*"Rr"}) and (pending > 0 or unanswered)
    silence = not history & {*"FfRr"} and pending > 0 and silent
    hello = connection["protocol"] in ("tls", "http2") and unanswered and connection["first_answer_frame"] is not None
    whole = not pending and not connection["server_unseen_bytes"]
    left = connection["closed_by"] == "client" and connection["end"] - (connection["first_answer_time"] or 0) >= SECOND
    unheard = hello and whole and (left or (not history & {*"FfRr"} and silent))
    silent_protocol = connection["protocol"] != "none" and not connection["exchanges"]
    reset_unread = silent_protocol and (connection["closed_by"], connection["close"]) == ("server", "rst")
    return unheard or reset_unread or ((never_up or reset or silence) and not any(one(connection) for one in EXCEPTIONS.values()))


EXCEPTIONS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "exchanges tell what was lost": lambda row: row["protocol"] == "http" and row["exchanges"] > 0,
    "it has an answer, its client closed first, and whether that still waited is not in the packets": lambda row: (
        row["closed_by"] in ("client", "both") and row["server_bytes"] > 0
    ),
    "the client closed, and everything that it had sent was acknowledged": lambda row: (
        row["closed_by"] == "client" and row["close"] == "fin" and row["client_unacknowledged"] == 0
    ),
    "the client did not use its connection, and reset it": lambda row: (
        row["protocol"] == "none" and row["closed_by"] == "client" and row["server_packets"] > 0
    ),
    "the server closed when it had acknowledged everything": lambda row: (
        row["closed_by"] == "server" and row["close"] == "fin" and row["client_unacknowledged"] == 0
    ),
    "a goodbye crossed the server's close: a TLS alert has at most 85 bytes": lambda row: (
        row["protocol"] in ("tls", "http2") and row["close"] == "fin" and row["client_unacknowledged"] <= 85
    ),
    "only one direction was captured": lambda row: row["one_sided"] or (not row["server_packets"] and not row["syns"]),
}
"""What may look like a failure and need not be one, and why."""


def gone(connection: dict[str, Any], latest: int) -> bool:
    return latest - connection["end"] >= LONG


def end_of_capture(report: Report) -> int:
    """The time of the last packet (ns since the first one), unless its stamp is far ahead of all others."""
    [capture] = report.captures
    return (nanoseconds(capture.last_time) or 0) - (nanoseconds(capture.first_time) or 0)


def unexplained(report: Report) -> Iterator[tuple[str, int, int | None]]:
    """What failed and is neither in a finding nor among what was not judged."""
    told = [f for f in report.findings if f.rule in ENDS]
    connections = {f.connection for f in told if f.connection is not None}
    # the end of a connection explains all of its requests without a response, but a message that broke off only its own finding
    places = {(f.connection, f.exchange) for f in told}
    # of a gateway the finding in front speaks of what it tried
    fronts = {(f.connection, f.exchange) for f in told if f.rule == "gateway-error"}
    for known in report.gateways.values():
        backs = {(back, exchange) for a, b, back, exchange, *_ in known.tries.iter_rows() if (a, b) in fronts}
        connections |= {back for back, _ in backs}
        places |= backs
    endpoints = [(f.client, f.server) for f in told if f.connection is None and (f.client or f.server)]
    listed = {(one.connection, one.exchange) for one in report.not_judged}
    cut = len(report.not_judged) < sum(report.not_judged_counts.values())
    for exchange in report.exchanges.iter_rows(named=True):
        place = exchange["connection"], exchange["exchange"]
        answered = exchange["has_response"] and exchange["response_status"] >= 200
        told_of = {place, (place[0], None)} & places if answered else place[0] in connections
        if failed(exchange) and not told_of and place not in listed and not cut:
            yield "exchange", *place
    latest = end_of_capture(report)
    for row in report.connections.iter_rows(named=True):
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
    said = headline(report, [], find_coverage(report))
    nothing = said.startswith(("Nothing to diagnose", "Nothing could be judged")) and "; " not in said  # what failed follows it
    fine = "nothing wrong was found" in said.lower() or nothing
    return said if fine == doubtful or reaches_level(report, "any") != doubtful else ""


HEALTHY = re.compile(r"nothing wrong was found|^No errors or warnings|^No request failed|No known fault was found", re.IGNORECASE)


def denied(report: Report, said: str) -> list[tuple[str, int, int | None]]:
    """Failures that a headline denies: requests without a whole response, broken connections and statuses of 500 or above.

    A doubt in the headline ("..., but 1 of 2 requests ...") names them, and "only 1 note" counts a note that is about them.
    """
    if not HEALTHY.search(said) or ", but " in said.removeprefix("No request failed, but "):
        return []
    backs = {(a, b) for known in report.gateways.values() for a, b in known.tries.select("connection", "exchange").iter_rows()}
    notes = {(f.connection, f.exchange) for f in report.findings if f.rule in ENDS and f.severity != "error"}
    latest = end_of_capture(report)
    bad: list[tuple[str, int, int | None]] = [
        ("exchange", row["connection"], row["exchange"])
        for row in report.exchanges.iter_rows(named=True)
        if failed(row) or (row["response_status"] or 0) >= 500
    ]
    bad += [("connection", row["connection"], None) for row in report.connections.iter_rows(named=True) if broken(row, latest)]
    summed = [f for f in report.findings if f.rule in ENDS and f.connection is None and f.severity != "error"]
    return [one for one in bad if one[1:] not in notes | backs and not summed]


def test_a_headline_that_denied_failures_would_be_noticed() -> None:
    """A connection was refused, a request was not answered, and a gateway answered 504."""
    for name in ("refused.pcap", "not-answered-rtt-20-client.pcap", "behind-haproxy-timeout.pcap"):
        report = report_of(find_recording(name))
        for said in ("Nothing wrong was found.", "No errors or warnings, only 1 note."):
            assert denied(report, said) != []


@WHOLE
@FORMS
@pytest.mark.parametrize("path", sweep(PATHS, SOME.__contains__), ids=lambda path: path.stem, scope="module")
def test_times_lost_add_up_to_the_total_or_a_note_says_why_not(path: Path) -> None:
    report = report_of(path)
    whole = sum(f.delay or 0.0 for f in report.findings)
    several = len(group_findings(report.findings)) > 1
    for name in ("text", "markdown"):
        out = io.BytesIO()
        write(report, name, out, Options())
        assert (OVERLAP in " ".join(out.getvalue().decode().split())) == (several and whole > report.delay * 1.01 + 0.001)


def contradictions(report: Report) -> list[str]:
    """Connections under "Not judged" as carrying no data, or not closed, although an error says how they ended."""
    ends = [f for f in report.findings if f.severity == "error" and f.rule in ("connect-failed", "unanswered", "foreign-reset")]
    explained = {f.connection for f in ends} - {None}
    explained |= {
        row["connection"]
        for row in report.connections.iter_rows(named=True)
        for f in ends
        if f.connection is None and f.rule == "connect-failed"
        if f.server in (None, row["server"]) and host(f.client) in (None, row["client_host"]) and not row["connected"]
    }
    rows = [row for row in report.connections.iter_rows(named=True) if row["connection"] not in explained]
    both = [row for row in rows if row["client_packets"] and row["server_packets"] and row["protocol"] == "http"]
    most = {
        "carried no data": sum(row["protocol"] == "none" for row in rows),
        "no close was captured: the connection may still have been open when the capture ended": sum(
            row["closed_by"] == "" for row in both
        ),
    }
    listed = {one.reason: one.count for one in find_coverage(report).not_judged}
    return [reason for reason, number in most.items() if listed.get(reason, 0) > number]


CLOSES_OF_HTTP = {
    *("auth-connection-closed", "client-abort", "close-delimited", "idle-timeout-broken-promise", "idle-cut", "keep-alive-race"),
    *("lingering-close", "missing-framing", "no-response", "premature-close", "reset-destroys-response", "truncated-response"),
}
"""Rules whose findings name the FIN or RST of one connection as evidence, if it was captured."""


@WHOLE
@EACH
def test_verdict(path: Path) -> None:
    """One test for all questions: pytest takes as long for a test as each of them."""
    report = report_of(path)
    found = report.findings
    assert [*unexplained(report)] == []
    assert wrong_verdict(report) == ""
    assert denied(report, headline(report, group_findings(found), find_coverage(report))) == []
    assert contradictions(report) == []  # what an error explains is not listed as not judged
    assert {one.origin for one in found} <= {None, "endpoint", "between"}
    closes = [one for one in found if any(re.search(r"'s (FIN|RST)\b", packet.note) for packet in one.evidence)]
    assert [one.rule for one in closes if one.rule in CLOSES_OF_HTTP and one.origin is None] == []


def _foreign() -> list[Path]:
    if not (CORPUS / "oracle.jsonl").exists():
        return []
    lines = (CORPUS / "oracle.jsonl").read_text("utf-8").splitlines()
    return [CORPUS / "files" / json.loads(line)["path"] for line in lines]


@SLOW
@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not here")
@pytest.mark.parametrize("part", range(PARTS))
def test_every_failure_of_a_foreign_capture_is_explained_or_listed(part: int) -> None:
    wrong: dict[str, object] = {}
    for path in _foreign()[part::PARTS]:
        try:
            report = wiredoctor.analyze(path)
        except CaptureError:
            continue
        if left := [*unexplained(report)] or wrong_verdict(report):
            wrong[str(path.relative_to(CORPUS))] = left
    assert wrong == {}


def _records(content: bytes) -> list[bytes]:
    """The records of a pcap file in this machine's byte order."""
    found: list[bytes] = []
    at = 24
    while at + 16 <= len(content):
        end = at + 16 + int.from_bytes(content[at + 8 : at + 12], "little")
        found.append(content[at:end])
        at = end
    return found


def _part_of(path: Path, chance: random.Random) -> bytes:
    """A capture that begins later, ends earlier, or has only what one network interface sent (Ethernet)."""
    content = path.read_bytes()
    records = _records(content)
    start, end = sorted(chance.sample(range(len(records) + 1), 2))
    kept = {"start": records[start:], "end": records[:end], "middle": records[start:end]}
    sender = chance.choice(records)[22:28]
    kept["sender"] = [record for record in records if record[22:28] == sender]
    return content[:24] + b"".join(kept[chance.choice(sorted(kept))])


@SLOW
@pytest.mark.parametrize("part", range(PARTS))
def test_no_failure_is_lost_in_a_part_of_a_recording(part: int, tmp_path: Path) -> None:
    chance = random.Random(part)
    cut = tmp_path / "part.pcap"
    wrong: dict[str, object] = {}
    for path in [path for path in PATHS if path.suffix == ".pcap" and path.stat().st_size < 100_000][part::PARTS]:
        content = _part_of(path, chance)
        if path not in ONE_EACH:
            continue
        report = analyze_bytes(cut, content)
        said = headline(report, group_findings(report.findings), find_coverage(report))
        if left := [*unexplained(report), *denied(report, said)] or wrong_verdict(report):
            wrong[path.name] = left
    assert wrong == {}

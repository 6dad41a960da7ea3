"""JSON, schema_version 1."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from io import BytesIO
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.examples import (
    HOSTILE,
    MS,
    capture,
    capture_loss,
    connection,
    exchange,
    finding,
    hostile_finding,
    report,
    without_request,
    without_response,
)
from wiredoctor.findings import Finding, Report, printable
from wiredoctor.report.data.json import write, write_lines, write_one_table, write_table_lines
from wiredoctor.text.redact import masked_host, masked_method, masked_reason, masked_target

Validate = Callable[[dict[str, Any]], None]


def written(one: Report, *, full: bool = False) -> dict[str, Any]:
    out = BytesIO()
    write(one, out, full=full)
    return json.loads(out.getvalue())


def rows(one: Report, table: str) -> list[dict[str, Any]]:
    return written(one, full=True)[table]


def test_a_report_without_anything(validate_report: Validate) -> None:
    empty = report(captures=[capture(packets=0, first_time=None, last_time=None, not_analysed={}, link_types=[])])
    validate_report(written(empty))
    validate_report(whole := written(empty, full=True))
    assert whole["connections"] == whole["exchanges"] == whole["findings"] == []


def test_a_full_report_keeps_to_its_schema(validate_report: Validate) -> None:
    one = report(
        [finding(), hostile_finding(), capture_loss()],
        [connection(3), connection(4, closed_by="", close="", rtt_client=None, protocol="none")],
        [exchange(3), exchange(4, **without_response()), exchange(5, **without_request()), exchange(6, interim=[100, 103])],
        limits=["state of 1,000,000 connections: the oldest 3 were given up"],
    )
    validate_report(written(one, full=True))


def test_without_full_there_are_no_tables() -> None:
    assert not {"connections", "exchanges"} & set(written(report([finding()], [connection(1)], [exchange(1)])))


def test_top_and_captures() -> None:
    one = written(
        report([finding(), finding(severity="error"), capture_loss()], [connection(1)], [], limits=["spool"], incomplete=["Cut."])
    )
    assert one["schema_version"] == 1
    assert one["tool"] == {"name": "wiredoctor", "version": "0.1.0"}
    assert one["limits"] == ["spool"]
    assert one["summary"] == {
        "headline": "Cut. The capture lacks packets. Nagle's algorithm met a delayed ACK (10.0.0.2:80).",
        "connections": 1,
        "exchanges": 0,
        "problems": {"error": 1, "warning": 2, "note": 0},
        "findings": {"error": 1, "warning": 2, "note": 0},
        "delay": 0.4,
        "checked": [
            {"what": "http", "connections": 1, "exchanges": 0, "families": ["stalls", "lifetime"], "rules": []},
        ],
        "healthy": [],
        "not_judged": [{"what": "rules", "count": 1, "reason": "no HTTP exchange was seen, so there was nothing to check"}],
        "requests": {"count": 0, "answered": 0},
        "responses": [],
        "server_errors": [],
        "left_out": [],
        "rules": [],
        "incomplete": ["Cut."],
        "shared_conversations": 0,
    }
    assert one["captures"][0]["not_analysed"] == [{"reason": "ARP", "packets": 3}, {"reason": "UDP", "packets": 12}]


def test_encapsulations_stand_by_name() -> None:
    (one,) = written(report(captures=[capture(encapsulations={"VXLAN": 3, "GRE": 5})]))["captures"]
    assert one["encapsulations"] == [{"name": "GRE", "packets": 5}, {"name": "VXLAN", "packets": 3}]


def test_a_finding_has_every_field_of_its_noun() -> None:
    (one,) = written(report([finding()]))["findings"]
    assert list(one) == [f.name for f in fields(Finding) if not f.metadata.get("private")]
    third = {"frame": 7, "elapsed": 0.232123456, "note": "the body follows at once, 5 bytes", "file": None, "file_frame": None}
    assert one["evidence"][2] == third
    assert one["references"] == [
        {"title": "RFC 1122 section 4.2.3.4", "url": "https://www.rfc-editor.org/rfc/rfc1122#section-4.2.3.4"}
    ]


def test_a_measure_that_is_no_number_is_left_out() -> None:
    (one,) = written(report([finding(measures={"share": float("nan"), "bytes": 5, "rate": float("inf")})]))["findings"]
    assert one["measures"] == {"bytes": 5}


def test_output_is_ascii_and_a_line_per_element() -> None:
    out = BytesIO()
    write(report([finding(capture="é\x7f.pcap"), finding()], [connection(1), connection(2)], [exchange(1)]), out, full=True)
    text = out.getvalue().decode("ascii")
    assert text.isprintable() or set(text) - {c for c in text if c.isprintable()} == {"\n"}
    assert sum(line.lstrip().startswith('{"capture"') for line in text.splitlines()) == 3
    assert sum(line.lstrip().startswith('{"rule"') for line in text.splitlines()) == 2


def test_connection() -> None:
    (one,) = rows(report([], [connection(3)]), "connections")
    assert one == {
        "capture": "trace.pcap",
        "id": 3,
        "client": "10.0.0.1:51003",
        "server": "10.0.0.2:80",
        "packets": 10,
        "client_bytes": 120,
        "server_bytes": 4321,
        "first_frame": 31,
        "last_frame": 40,
        "start": 0.3,
        "end": 0.344123456,
        "rtt_client": 0.00001,
        "rtt_server": 0.01,
        "protocol": "http",
        "history": "ShADadFf",
        "closed_by": "server",
        "close": "fin",
        "connection": 3,
        "duration": 0.044123456,
    }


def test_open_connection() -> None:
    (one,) = rows(report([], [connection(3, closed_by="", close="", rtt_server=None)]), "connections")
    assert one["closed_by"] is one["close"] is one["rtt_server"] is None


def test_exchange() -> None:
    (one,) = rows(report([], [connection(3)], [exchange(3, 1, interim=[100])]), "exchanges")
    assert one == {
        "capture": "trace.pcap",
        "connection": 3,
        "index": 1,
        "request_id": None,
        "request": {
            "method": "GET",
            "target": "/items/3?id=(masked)&token=(masked)",
            "host": "www.example.com",
            "version": "HTTP/1.1",
            "frame": 34,
            "last_frame": 34,
            "start": 0.36,
            "end": 0.361,
            "head_bytes": 120,
            "body_bytes": 0,
            "framing": "none",
        },
        "response": {
            "status": 200,
            "reason": "OK",
            "version": "HTTP/1.1",
            "frame": 36,
            "last_frame": 38,
            "start": 0.391,
            "end": 0.404123456,
            "head_bytes": 321,
            "body_bytes": 4000,
            "framing": "content-length",
            "end_reason": "complete",
            "persistent": True,
            "interim": [100],
        },
        "timing": {"request": 0.001, "server": 0.03, "response": 0.013123456, "stalled": [], "limited": []},
        "gateway": None,
        "exchange": 1,
        "client": "10.0.0.1:51003",
        "server": "10.0.0.2:80",
        "request_time": 0.001,
        "server_time": 0.03,
        "response_time": 0.013123456,
        "duration": 0.044123456,
        "response_wait": None,
        "stream": None,
    }


def test_halves_of_exchanges() -> None:
    late, cut = rows(report([], [], [exchange(1, **without_request()), exchange(2, **without_response())]), "exchanges")
    assert late["request"] is None
    assert late["response"]["status"] == 200
    assert late["timing"] == {"request": None, "server": None, "response": 0.013123456, "stalled": [], "limited": []}
    assert cut["response"] is None
    assert cut["timing"]["request"] == 0.001


def test_limited_says_what_limited_a_long_response() -> None:
    times = {"receive_window": 2_100_000_000, "send_buffer": 0, "loss": 0, "application": 0, "path": 460_000_000}
    long = {f"response_{name}_time": time for name, time in times.items()}
    (one,) = rows(report([], [], [exchange(3, 1, **long)]), "exchanges")
    assert one["timing"]["limited"] == [{"by": "receive-window", "time": 2.1}, {"by": "path", "time": 0.46}]


def test_stalled_names_the_findings_that_cost_time_in_order() -> None:
    findings = [
        finding(rule="retransmission-stall", elapsed=0.5, delay=0.3),
        finding(elapsed=0.022, delay=0.2),
        finding(rule="premature-close", delay=None),
        finding(exchange=1),
        finding(connection=4),
        finding(capture="other.pcap"),
    ]
    (one,) = rows(report(findings, [], [exchange(3, 2)]), "exchanges")
    assert one["timing"]["stalled"] == [
        {"rule": "nagle-delayed-ack", "delay": 0.2},
        {"rule": "retransmission-stall", "delay": 0.3},
    ]


def test_tables_are_sorted_by_capture_as_given_and_id() -> None:
    captures = [capture(file="b.pcap"), capture(file="a.pcap")]
    places = [("a.pcap", 1), ("b.pcap", 20), ("a.pcap", 0), ("b.pcap", 3)]
    one = report(
        [],
        [connection(n, capture=c) for c, n in places],
        [exchange(n, i, capture=c) for i in (1, 0) for c, n in places],
        captures,
    )
    expected = [("b.pcap", 3), ("b.pcap", 20), ("a.pcap", 0), ("a.pcap", 1)]
    assert [(c["capture"], c["id"]) for c in rows(one, "connections")] == expected
    assert [(e["capture"], e["connection"], e["index"]) for e in rows(one, "exchanges")] == [
        (c, n, i) for c, n in expected for i in (0, 1)
    ]


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_text_from_packets_is_escaped_and_masked(target: str, other: str) -> None:
    hostile = exchange(1, request_target=target, request_method=other, response_reason=other, request_host="h" + other)
    (one,) = rows(report([], [], [hostile]), "exchanges")
    assert one["request"]["target"] == printable(masked_target(target))
    assert one["request"]["method"] == printable(masked_method(other))
    assert one["response"]["reason"] == printable(masked_reason(other))
    assert one["request"]["host"] == printable(masked_host("h" + other))


def test_a_request_is_escaped_even_where_the_pipeline_forgot() -> None:
    (one,) = written(report([finding(request=HOSTILE)]))["findings"]
    assert one["request"] == printable(HOSTILE)


def test_many_batches_come_out_as_one_table(validate_report: Validate) -> None:
    """More rows than a batch, from scans of several frames, each in a random order."""
    few = [connection(0)]
    frame = report([], few).connections
    alike = frame.select(pl.all().repeat_by(40_000).explode())
    many = alike.with_columns(connection=pl.int_range(40_000)).sample(fraction=1, shuffle=True, seed=1)
    one = report(captures=[capture()])
    one.scan_connections = lambda: pl.concat([many[:20_000].lazy(), many[20_000:].lazy()])
    whole = written(one, full=True)
    assert [c["id"] for c in whole["connections"]] == list(range(40_000))
    validate_report({**whole, "connections": whole["connections"][:10]})


def test_lines_are_findings_and_a_summary() -> None:
    out = BytesIO()
    one = report([finding(), hostile_finding()])
    write_lines(one, out)
    *lines, last = (json.loads(line) for line in out.getvalue().splitlines())
    whole = written(one)
    assert lines == whole.pop("findings")
    assert last == whole
    assert next(iter(last)) == "summary"


@pytest.mark.parametrize("table", ["connections", "exchanges"])
def test_one_table_alone(table: str) -> None:
    one = report([finding(connection=1, exchange=0)], [connection(1), connection(2)], [exchange(1), exchange(2)])
    whole, lines = BytesIO(), BytesIO()
    write_one_table(one, whole, table)
    write_table_lines(one, lines, table)
    assert json.loads(whole.getvalue())[table] == rows(one, table)
    assert [json.loads(line) for line in lines.getvalue().splitlines()] == rows(one, table)


def test_delays_keep_their_nanoseconds() -> None:
    late = exchange(1, request_start=10**15 + 44_123_456 * MS, request_end=1)
    (one,) = rows(report([], [], [late]), "exchanges")
    assert one["request"]["start"] == (10**15 + 44_123_456 * MS) / 1e9
    assert one["request"]["end"] == 1e-9

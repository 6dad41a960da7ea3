"""Every form of a report for other programs, read by another reader: the same findings, counts and delays as its JSON has."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from decimal import Decimal
from functools import cache
from typing import Any
from xml.etree import ElementTree

from tests.report.har_schema import HAR, faults
from tests.report.pages import check_page, page_of
from tests.report.sarif_schema import SARIF, unresolved
from wiredoctor.findings import Report
from wiredoctor.report.data import csv as report_csv
from wiredoctor.report.data import csv_rows, har, junit, sarif
from wiredoctor.report.data import json as report_json
from wiredoctor.report.words import clean
from wiredoctor.rule_engine import catalogue

Parsed = dict[str, Any]


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(SARIF)


@cache
def _validator_of_har() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(HAR)


def whole_json(report: Report) -> Parsed:
    """The JSON of a report, with every connection and exchange."""
    out = io.BytesIO()
    report_json.write(report, out, full=True)
    return json.loads(out.getvalue())


def check_formats(report: Report, parsed: Parsed) -> None:
    """Asserts it. `parsed`: the whole JSON of the report."""
    check_for_programs(report, parsed)
    check_page(page_of(report), parsed)


def check_for_programs(report: Report, parsed: Parsed, *, bodies: bool = False) -> None:
    """All but the page. `bodies`: HAR has them."""
    check_lines(report, parsed)
    check_sarif(report, parsed["findings"])
    check_junit(report, parsed["findings"])
    check_csv(report, parsed)
    check_har(report, parsed, bodies=bodies)


def check_lines(report: Report, parsed: Parsed) -> None:
    out = io.BytesIO()
    report_json.write_lines(report, out)
    *findings, rest = map(json.loads, out.getvalue().splitlines())
    assert findings == parsed["findings"]
    assert rest["summary"] == parsed["summary"]


def check_sarif(report: Report, findings: list[Parsed]) -> None:
    out = io.BytesIO()
    sarif.write(report, out, catalogue())
    log = json.loads(out.getvalue().decode("ascii"))
    assert [f"{e.json_path}: {e.message[:200]}" for e in _validator().iter_errors(log)] == []
    assert unresolved(log) == []
    results = log["runs"][0]["results"]
    assert [(r["ruleId"], r["level"], r["occurrenceCount"]) for r in results] == [
        (f["rule"], f["severity"], f["count"]) for f in findings
    ]
    for result, finding in zip(results, findings, strict=True):
        assert {key: finding[key] for key in result["properties"]} == result["properties"]
        flows = result.get("codeFlows", [])
        steps = [step for flow in flows for step in flow["threadFlows"][0]["locations"]]
        assert [s["location"]["physicalLocation"]["region"]["startLine"] for s in steps] == [
            e["frame"] for e in finding["evidence"]
        ]


def check_junit(report: Report, findings: list[Parsed]) -> None:
    out = io.BytesIO()
    junit.write(report, out, fail_on="note", selected=["capture"])
    root = ElementTree.fromstring(out.getvalue())
    delays: Counter[tuple[str, str]] = Counter()
    for finding in findings:
        delays[clean(finding["capture"]), finding["rule"]] += finding["delay"] or 0.0
    failed: dict[tuple[str, str], float] = {}
    for suite in root.iter("testsuite"):
        for case in suite.iter("testcase"):
            assert case.find("skipped") is None or case.find("failure") is None
            if case.find("failure") is not None:
                failed[suite.attrib["name"], case.attrib["name"]] = float(case.attrib["time"])
    assert failed.keys() == delays.keys()
    assert all(abs(failed[key] - delays[key]) < 1e-8 for key in delays)
    assert int(root.attrib["failures"]) == len(delays)


def check_csv(report: Report, parsed: Parsed) -> None:
    out = io.BytesIO()
    report_csv.write(report, out)
    lines = _read(out)
    assert len(lines) == len(parsed["findings"])
    for line, finding in zip(lines, parsed["findings"], strict=True):
        for key in ("rule", "severity", "confidence", "fingerprint", "time", "side", "kind", "client", "server"):
            assert line[key] == (finding[key] or "")
        for key in ("delay", "elapsed", "count", "connection", "exchange", "status"):
            assert (float(line[key]) if line[key] else None) == finding[key]
        assert line["frames"] == " ".join(str(e["frame"]) for e in finding["evidence"])
    for table in ("connections", "exchanges"):
        out = io.BytesIO()
        csv_rows.write(report, out, table)
        rows = [_unmarked(line) for line in _read(out)]
        assert [_flat_cells(row) for row in rows] == [_wanted(row) for row in parsed[table]]


def _read(out: io.BytesIO) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(out.getvalue().decode(), newline=""), strict=True))


def _unmarked(line: dict[str, str]) -> dict[str, str]:
    return {name: text[1:] if text.startswith("'") else text for name, text in line.items()}


_NUMBERS = ("request_start", "request_end", "response_start", "response_end", "timing_server", "start", "end", "rtt_client")
_TEXTS = ("request_method", "request_target", "response_status", "response_framing", "client", "server", "protocol", "history")


def _flat_cells(row: dict[str, str]) -> dict[str, Any]:
    return {
        **{name: float(row[name]) if row[name] else None for name in _NUMBERS if name in row},
        **{name: row[name] for name in _TEXTS if name in row},
    }


def _wanted(row: Parsed) -> dict[str, Any]:
    flat = dict(row)
    for part in ("request", "response", "timing"):
        flat |= {f"{part}_{name}": value for name, value in (row.get(part) or {}).items()}
    keys = [*_NUMBERS, *_TEXTS]
    known = [key for key in keys if key in row or (key.partition("_")[0] in row and "_" in key and key not in ("rtt_client",))]
    made: dict[str, Any] = {}
    for key in known:
        value = flat.get(key)
        text = "" if value is None else str(value)
        made[key] = value if key in _NUMBERS else text[1:] if text.startswith("'") else text
    return made


def check_har(report: Report, parsed: Parsed, *, bodies: bool = False) -> None:
    """An entry per exchange with a request, whose times are those of JSON. With `bodies`, of captures that have whole heads."""
    out = io.BytesIO()
    har.write(report, out, bodies=bodies)
    archive = json.loads(out.getvalue().decode("ascii"), parse_float=Decimal)
    assert [f"{e.json_path}: {e.message[:200]}" for e in _validator_of_har().iter_errors(archive)] == []
    assert faults(archive["log"]) == []
    assert not bodies or b"header section was not captured completely" not in out.getvalue()
    log = json.loads(out.getvalue())["log"]
    assert log["_wiredoctor"]["findings"] == parsed["findings"]
    entries = {_place(entry["_wiredoctor"]): entry for entry in log["entries"]}
    asked = {(e["capture"], e["connection"], e["index"]): e for e in parsed["exchanges"] if e["request"]}
    assert len(entries) == len(log["entries"])
    assert entries.keys() == asked.keys()
    for place, exchange in asked.items():
        _check_entry(entries[place], exchange)


def _same_time(milliseconds: float, seconds: float) -> bool:
    """HAR has no time below 0, which JSON has where the clock was set back; a double of 73 years has no nanoseconds."""
    return math.isclose(milliseconds, max(0, seconds) * 1000, rel_tol=1e-15, abs_tol=1e-5)


def _place(own: Parsed) -> tuple[str, int, int]:
    return own["capture"], own["connection"], own["exchange"]


def _check_entry(entry: Parsed, exchange: Parsed) -> None:
    request, response = exchange["request"], exchange["response"]
    assert entry["request"]["method"] == request["method"]
    assert entry["response"]["status"] == ((response["status"] or 0) if response else 0)
    assert entry["_wiredoctor"]["request_frames"] == [request["frame"], request["last_frame"]]
    timing = exchange["timing"]
    for phase, name in (("send", "request"), ("wait", "server")):
        if timing[name] is not None and (response is None or timing["server"] is not None):
            assert _same_time(entry["timings"][phase], timing[name])
    # a response that begins before its request is over is received from then on
    if response and response["end"] is not None and request["end"] is not None and response["start"] >= request["end"]:
        assert _same_time(entry["timings"]["receive"], timing["response"])
    stalled = [(f["rule"], f["delay"]) for f in entry["_wiredoctor"]["findings"] if f["delay"] is not None]
    assert sorted(stalled) == sorted((s["rule"], s["delay"]) for s in timing["stalled"])

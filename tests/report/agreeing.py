"""Every form of a report for other programs, read by another reader: the same findings, counts and delays as its JSON has."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from functools import cache
from typing import Any
from xml.etree import ElementTree

from tests.report.sarif_schema import SARIF, unresolved
from wiredoctor.findings import Report
from wiredoctor.report import csv as report_csv
from wiredoctor.report import junit, sarif
from wiredoctor.report.words import clean
from wiredoctor.rules import catalogue

Parsed = dict[str, Any]


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(SARIF)


def check_formats(report: Report, parsed: Parsed) -> None:
    """Asserts it. `parsed`: the whole JSON of the report."""
    check_sarif(report, parsed["findings"])
    check_junit(report, parsed["findings"])
    check_csv(report, parsed)


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
        report_csv.write_table(report, out, table)
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

"""CSV: read by another reader, a line per finding or row, and no cell is a formula."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from tests.report.examples import capture, capture_loss, connection, exchange, finding, report, without_request, without_response
from wiredoctor.findings import Report
from wiredoctor.report.data import csv as report_csv
from wiredoctor.report.data import csv_rows
from wiredoctor.report.data import json as report_json
from wiredoctor.report.data.table_folder import portions


def read(out: io.BytesIO) -> list[dict[str, str]]:
    text = out.getvalue().decode()
    assert text.endswith("\r\n")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def findings(one: Report) -> list[dict[str, str]]:
    out = io.BytesIO()
    report_csv.write(one, out)
    return read(out)


def test_a_finding_is_a_line() -> None:
    first, second = findings(report([finding(message='He said "no",\nand left'), capture_loss()]))
    assert first["message"] == 'He said "no",\\x0aand left'
    assert (first["frames"], first["delay"], first["measures"]) == ("5 6 7", "0.2", "delay=0.2; held_bytes=5")
    assert first["evidence"].startswith("frame 5 (0.022000 s): the head of the response")
    assert (second["connection"], second["delay"], second["request"]) == ("", "", "")


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0"])
def test_no_cell_is_a_formula(cell: str) -> None:
    row = exchange(1, request_method=cell, request_target=cell, request_host=cell, capture=cell)
    one = report([finding(title=cell, capture=cell, client=cell)], [connection(1, capture=cell)], [row], [capture(file=cell)])
    rows = findings(one)
    for table in ("exchanges", "connections"):
        out = io.BytesIO()
        csv_rows.write(one, out, table)
        rows += read(out)
    texts = [text for line in rows for text in line.values()]
    assert sum(text.startswith("'") for text in texts) >= 5
    for text in texts:
        assert not text.startswith(("=", "+", "@", "\t", "\r"))
        assert not text.startswith("-") or float(text)


def test_standard_input_keeps_its_name() -> None:
    one = report([finding(capture="-")], [connection(1, capture="-")], [], [capture(file="-")])
    out = io.BytesIO()
    csv_rows.write(one, out, "connections")
    assert [line["capture"] for line in findings(one) + read(out)] == ["-", "-"]


def test_numbers_stay_numbers() -> None:
    [line] = findings(report([finding(elapsed=-0.5)]))
    assert line["elapsed"] == "-0.5"


@pytest.mark.parametrize("table", ["exchanges", "connections"])
def test_a_table_has_the_values_of_json(table: str) -> None:
    rows = [exchange(1), exchange(1, exchange=1, **without_response()), exchange(0, **without_request())]
    one = report([finding(connection=1, exchange=0)], [connection(1), connection(0, closed_by="", close="")], rows)
    out, lines = io.BytesIO(), io.BytesIO()
    csv_rows.write(one, out, table)
    report_json.write_table_lines(one, lines, table)
    wanted = [flat(json.loads(line)) for line in lines.getvalue().splitlines()]
    got = read(out)
    assert len(got) == len(wanted)
    for line, values in zip(got, wanted, strict=True):
        for name, value in values.items():
            assert line[name] == value or float(line[name]) == float(value), name


def flat(row: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """The cells of a JSON object."""
    cells: dict[str, str] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            cells |= flat(value, f"{prefix}{name}_")
        elif isinstance(value, list):
            cells[prefix + name] = "; ".join(
                ": ".join(map(str, one.values())) if isinstance(one, dict) else str(one) for one in value
            )
        elif value is not None:
            cells[prefix + name] = str(value).lower() if isinstance(value, bool) else str(value)
    return cells


@pytest.mark.parametrize("table", ["exchanges", "connections"])
def test_an_empty_table_has_its_columns(table: str) -> None:
    full, none = io.BytesIO(), io.BytesIO()
    csv_rows.write(report([], [connection(1)], [exchange(1)]), full, table)
    csv_rows.write(Report(version="0.1.0"), none, table)
    assert none.getvalue() == full.getvalue().partition(b"\r\n")[0] + b"\r\n"
    assert findings(Report(version="0.1.0")) == []


def test_one_thing_has_one_name_in_csv_json_and_tables() -> None:
    one = report([], [connection(3)], [exchange(3, 1), exchange(3, 2, **without_response())])
    out, lines = io.BytesIO(), io.BytesIO()
    csv_rows.write(one, out, "exchanges")
    report_json.write_table_lines(one, lines, "exchanges")
    [exported] = [rows for name, rows in portions(one) if name == "exchanges"]
    names = ("exchange", "client", "server", "duration", "request_time", "server_time", "response_time")
    for line, text, row in zip(read(out), lines.getvalue().splitlines(), exported.iter_rows(named=True), strict=True):
        values = json.loads(text)
        for name in names:
            value = row[name] / 1e9 if name.endswith("time") and row[name] is not None else row[name]
            value = value / 1e9 if name == "duration" else value
            assert values[name] == value
            assert line[name] == ("" if value is None else str(value))

"""Read a wiredoctor report in JSON or JSON Lines as one side of a comparison."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import polars as pl

from wiredoctor.compare.before_after.from_report import TIMES, ComparedSide, left_out_notes
from wiredoctor.compare.before_after.result import FAILURES, Source
from wiredoctor.findings import SEVERITIES, Finding, Side
from wiredoctor.tables import SECOND

MAX_TEXT = 256 << 20
"""The maximum size in bytes of a JSON report, not counting rows of tables that are on lines of their own."""

MAX_SECONDS = 4e9
"""The longest accepted delay in seconds (126 years)."""


class NoReport(ValueError):
    """The input is not a wiredoctor report. The error text says why, and continues a sentence that begins with the file name."""


def from_json(name: str, lines: Callable[[], Iterator[bytes]]) -> ComparedSide:
    """Read a JSON report or JSON Lines. `lines`: a function that returns the lines of the input from the beginning at each call.

    The result has exchanges only if the report was written with --full. Raise NoReport if the input is not a report.
    """
    try:
        top, connections, exchanges = _parts(lines)
        return _read_side(name, top, connections, exchanges)
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError, pl.exceptions.PolarsError):
        raise NoReport("is JSON, but not a wiredoctor report") from None
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, NoReport) else NoReport("is not JSON") from None


Rows = list[tuple[Any, ...]]


def _parts(lines: Callable[[], Iterator[bytes]]) -> tuple[dict[str, Any], Rows | None, Rows | None]:
    """Return three values: the top-level object of a report without its tables, and the rows of its connections and exchanges.

    The rows are None if the report does not have the table. The row of a connection is (capture, id, server). The row of an
    exchange is the result of `_exchange`. wiredoctor writes one row per line, so a report with a million exchanges is read line
    by line.
    """
    try:
        taken, rest = _by_line(lines)
    except ValueError:
        taken, rest = {}, lines()
    kept: list[bytes] = []
    size = 0
    for line in rest:
        kept.append(line)
        if (size := size + len(line)) > MAX_TEXT:
            raise NoReport("is too large to be read: it was reformatted after wiredoctor wrote it")
    top = _read_document(b"".join(kept))
    for name, made in _TABLES.items():
        if name not in taken and name in top:
            taken[name] = [made(one) for one in top.pop(name)]
    return top, taken.get("connections"), taken.get("exchanges")


def _by_line(lines: Callable[[], Iterator[bytes]]) -> tuple[dict[str, Rows], Iterator[bytes]]:
    """Return the rows of each table by its name, and the lines outside of the tables. Raise ValueError if a row spans several
    lines.
    """
    taken: dict[str, Rows] = {}
    rest: list[bytes] = []
    table: str | None = None
    for line in lines():
        text = line.strip()
        if table is None:
            head = next((n for n in _TABLES if text == f'"{n}": ['.encode()), None)
            rest.append(line if head is None else f'"{head}": ['.encode())
            if head is not None:
                table, taken[head] = head, []
        elif text.startswith(b"]"):
            table = None
            rest.append(line)
        else:
            taken[table].append(_TABLES[table](json.loads(text.removesuffix(b","), parse_constant=_no_number)))
    return taken, iter(rest)


def _read_document(text: bytes) -> dict[str, Any]:
    """Parse a JSON report, or combine the lines of JSON Lines into one report.

    Raise JSONDecodeError, IndexError or TypeError for other input.
    """
    try:
        report: Any = json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError:
        lines: list[dict[str, Any]] = [json.loads(line, parse_constant=_no_number) for line in text.splitlines() if line.strip()]
        if not lines:
            raise
        rest = [one for one in lines if "summary" in one]
        return {**rest[-1], "findings": [one for one in lines if "summary" not in one]}
    if "findings" not in report and "captures" in report:  # JSON Lines without any finding
        report["findings"] = []
    return {**report}


def _connection(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return one["capture"], one["id"], one["server"]


def _exchange(one: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the capture and the connection of an exchange, followed by the columns of TIMES except `server`."""
    request, response = one["request"], one["response"]
    if request is None:
        return one["capture"], one["connection"], None, None, None, None, None
    begun: float | None = request["start"]
    ended: float | None = response["end"] if response is not None and response["end_reason"] == "complete" else None
    total = None if begun is None or ended is None else _ns(ended - begun)
    upgraded = response is not None and response["status"] == 101
    times = total, _ns(one["timing"]["server"])
    return one["capture"], one["connection"], _text(request["method"]), _text(request["target"]), *times, upgraded


_TABLES = {"connections": _connection, "exchanges": _exchange}


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else round(_seconds(seconds) * SECOND)


def _read_side(name: str, top: dict[str, Any], connections: Rows | None, exchanges: Rows | None) -> ComparedSide:
    summary = cast("dict[str, Any]", top["summary"])
    findings = [_finding(one) for one in top["findings"]]
    captures = cast("list[dict[str, Any]]", top["captures"])
    healthy = {str(rule) for rule in summary.get("healthy", ())}
    left = {str(rule) for one in summary.get("left_out", ()) for rule in one["rules"]}
    judged = frozenset({f.rule for f in findings} | healthy | left)
    times = [[_text(one[key]) for one in captures if one[key]] for key in ("first_time", "last_time")]
    source = Source(
        name, "report", [_text(one["file"]) for one in captures], _count(summary["connections"]), _count(summary["exchanges"]),
        len(findings), _seconds(summary["delay"]), min(times[0], default=None), max(times[1], default=None),
        exchanges is not None,
    )  # fmt: skip
    servers = {(capture, number): str(server) for capture, number, server in connections or ()}
    rows = None
    if exchanges is not None:
        named = [(servers.get((row[0], row[1])), *row[2:]) for row in exchanges if row[2] is not None]
        rows = pl.DataFrame(named, schema=TIMES, orient="row")
    notes = left_out_notes(one["findings"] for one in summary.get("left_out", ()))
    notes += [_text(line) for line in summary.get("incomplete", ())]
    counts = None if connections is None else Counter(servers.values())
    return ComparedSide(source, findings, rows, counts, judged, judged, notes)


def _finding(one: dict[str, Any]) -> Finding:
    """Build a finding from the keys that a comparison uses. Keys that an older version of wiredoctor did not write stay empty."""
    if one["severity"] not in SEVERITIES:
        raise NoReport("has findings of an unknown severity")
    return Finding(
        rule=_text(one["rule"]), family=_text(one["family"]), kind=_maybe(one.get("kind")), side=_side(one.get("side")),
        severity=one["severity"], confidence="low", title=_text(one["title"]), message="", client=None,
        server=_maybe(one.get("server")), capture=_text(one["capture"]),
        connection=None if one.get("connection") is None else _count(one["connection"]), exchange=None,
        request=_maybe(one.get("request")), status=None, time="", elapsed=0.0,
        delay=None if one.get("delay") is None else _seconds(one["delay"]), count=_count(one.get("count", 1)),
        measures=_failures(one), evidence=(), remedy="", references=(), display_filter="", fingerprint=_text(one["fingerprint"]),
    )  # fmt: skip


def _failures(one: dict[str, Any]) -> dict[str, int | float]:
    """Return the name and value of the measure that counts the failures of this finding; empty if there is no such measure."""
    name = FAILURES.get(one["rule"])
    measures = cast("dict[str, Any]", one.get("measures") or {})
    return {name: _count(measures[name])} if name in measures else {}


def _side(value: Any) -> Side | None:
    if value not in ("client", "server", None):
        raise TypeError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _maybe(value: Any) -> str | None:
    return None if value is None else _text(value)


def _count(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 53:
        raise TypeError
    return int(value)


def _seconds(value: Any) -> float:
    """Return `value`, a duration in seconds; raise TypeError if it is not a number or is above MAX_SECONDS."""
    if not isinstance(value, int | float) or abs(value) > MAX_SECONDS:
        raise TypeError
    return float(value)


def _no_number(name: str) -> None:
    raise ValueError(name)

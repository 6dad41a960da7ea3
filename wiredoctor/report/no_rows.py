"""Explain why a table has no rows: the capture has none, or a condition of the filter excludes all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from wiredoctor.findings import Report
from wiredoctor.report.chosen_rows import matches
from wiredoctor.report.columns import Filtered, Scan
from wiredoctor.report.exchange_times import capture_ends, time_taken
from wiredoctor.report.filter import Filter, Moment
from wiredoctor.report.filtered_report import filter_report
from wiredoctor.report.row_choice import RowChoice, TableName
from wiredoctor.report.words import PROTOCOL_NAMES, SECOND, clean, count, duration, shorten
from wiredoctor.text.time_of_day import DAY, HOUR, local, nanoseconds, offset, offset_text, time_text, zone_name

_NOUNS: dict[TableName, str] = {"exchanges": "HTTP exchange", "connections": "TCP connection"}
_MAX_VALUES = 5
_HALF_HOUR = HOUR // 2
_OFFSETS = range(-24, 29)
"""The UTC offsets of time zones in half hours, from -12:00 to +14:00."""
_MAX_TEXT = 40


def explain_no_rows(report: Report, table: TableName, wanted: Filter, choice: RowChoice) -> str:
    """Return sentences that explain why no row of a table meets the conditions in `wanted` and `choice`."""
    whole = _unfiltered(report)
    rows = _scan(whole, table)
    total = _height(rows())
    noun = _NOUNS[table]
    if not total:
        return f"No {noun} was seen.{_protocols(whole) if table == 'exchanges' else ''}"
    conditions = [*_conditions(whole, table, wanted, choice)]
    alone = [(option, reason) for option, number, reason in conditions if not number]
    none = f"None of {total:,} {noun}s matches" if total > 1 else f"The only {noun} does not match"
    if alone:
        options = " or ".join(option for option, _ in alone)
        reasons = "".join(f" {reason}" for _, reason in alone if reason)
        return f"{none} {options}.{reasons}"
    numbers = ", ".join(f"{option} ({number:,})" for option, number, _ in conditions)
    return f"{none} all conditions: {numbers}."


def _unfiltered(report: Report) -> Report:
    scans = {
        name: scan.base for name in ("scan_exchanges", "scan_connections") if isinstance(scan := getattr(report, name), Filtered)
    }
    return replace(report, **scans)


def _scan(report: Report, table: TableName) -> Scan:
    return report.scan_exchanges if table == "exchanges" else report.scan_connections


def _height(rows: pl.LazyFrame) -> int:
    return int(rows.select(pl.len()).collect().item())


def _conditions(report: Report, table: TableName, wanted: Filter, choice: RowChoice) -> Iterator[tuple[str, int, str]]:
    """Yield, for each condition: its option, the number of rows that meet it, and a sentence about the values in the rows."""
    if wanted.hosts or wanted.names:
        hosts = [*wanted.hosts, *(name for name in wanted.names if name not in wanted.hosts)]
        part = Filter(hosts=wanted.hosts, names=wanted.names)
        yield f"--host {', '.join(hosts)}", _number(report, table, part), _hosts(report)
    if wanted.ports:
        yield f"--port {_join(wanted.ports)}", _number(report, table, Filter(ports=wanted.ports)), _ports(report)
    if wanted.connections:
        yield f"--connection {_join(wanted.connections)}", _number(report, table, Filter(connections=wanted.connections)), ""
    if wanted.begin or wanted.end:
        number = _number(report, table, Filter(begin=wanted.begin, end=wanted.end))
        zone = "" if number else _other_zone(report, table, wanted)
        yield "the time span", number, f"{packet_times(report)}{zone}"
    if wanted.request_id:
        option = f"--request-id {clean(wanted.request_id)}"
        yield option, _number(report, table, Filter(request_id=wanted.request_id)), _request_ids(report)
    scan, ends = _scan(report, table), capture_ends(report)
    if choice.statuses:
        number = _height(scan().filter(matches(table, RowChoice(choice.statuses), ends)))
        yield f"--status {','.join(choice.statuses)}", number, _statuses(report)
    if choice.slow is not None:
        number = _height(scan().filter(matches(table, RowChoice(slow=choice.slow), ends)))
        longest = scan().select(time_taken(table, ends).max()).collect().item()
        yield f"--slow {duration(choice.slow / SECOND)}", number, _longest(longest)
    if choice.streams:
        number = _height(scan().filter(matches(table, RowChoice(streams=True), ends)))
        media = pl.col("response_content_type")
        yield "--streams", number, "" if number else _listed("Media types", _most_frequent(scan, media))


def _number(report: Report, table: TableName, part: Filter) -> int:
    return _height(_scan(filter_report(report, part), table)())


def _join(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


def _longest(nanoseconds: int | None) -> str:
    return "" if nanoseconds is None else f"The longest took {duration(nanoseconds / SECOND)}."


def _most_frequent(scan: Scan, value: pl.Expr) -> list[str]:
    """Return the most frequent values of a column. If some values are omitted, the last text counts them, as in "3 more"."""
    rows = scan().select(value.alias("value")).drop_nulls().filter(pl.col("value") != "")
    counted = rows.group_by("value").agg(pl.len()).sort("len", "value", descending=[True, False]).collect()
    shown = [shorten(clean(one), _MAX_TEXT) for one in counted["value"].head(_MAX_VALUES)]
    more = counted.height - len(shown)
    return [*shown, *([f"{more:,} more"] if more else [])]


def _listed(what: str, values: list[str]) -> str:
    return f"{what}: {', '.join(values)}." if values else ""


def _hosts(report: Report) -> str:
    servers = _listed("Servers", _most_frequent(report.scan_connections, pl.col("server")))
    hosts = _listed("Hosts", _most_frequent(report.scan_exchanges, pl.col("request_host")))
    return " ".join(part for part in (servers, hosts) if part)


def _ports(report: Report) -> str:
    return _listed("Ports of servers", _most_frequent(report.scan_connections, pl.col("server").str.extract(r":(\d+)$")))


def _statuses(report: Report) -> str:
    status = pl.when(pl.col("has_response")).then(pl.col("response_status").cast(pl.String))
    return _listed("Statuses", _most_frequent(report.scan_exchanges, status))


def _request_ids(report: Report) -> str:
    return _listed("Request ids", _most_frequent(report.scan_exchanges, pl.col("request_id"))) or "No request has an id."


def packet_times(report: Report) -> str:
    """Return a sentence that says when the packets were captured; "" if there are no timestamps.

    The sentence names the time zone. If the packets have no times of day, it contains only the duration.
    """
    span = _first_and_last(report)
    if span is None:
        return ""
    first, last = span
    if first < DAY:
        return f"The packets span {duration((last - first) / SECOND)}."
    has_dates = local(first).date() != local(last).date()
    return f"The packets are from {time_text(first, date=True)} to {time_text(last, date=has_dates)} {zone_name(first)}."


def _first_and_last(report: Report) -> tuple[int, int] | None:
    """Return the earliest and the latest time of all captures, in ns since 1970; None if no capture has timestamps."""
    moments = [
        moment for c in report.captures for time in (c.first_time, c.last_time) if (moment := nanoseconds(time)) is not None
    ]
    return (min(moments), max(moments)) if moments else None


def _other_zone(report: Report, table: TableName, wanted: Filter) -> str:
    """Return a sentence that names the time zone in which the requested times of day would match rows.

    Return "" if the times name a zone, or if no zone or more than one would match. Zones with offsets in half hours are tried.
    """
    span = _first_and_last(report)
    named = any(bound is not None and bound.offset is not None for bound in (wanted.begin, wanted.end))
    if named or not wanted.by_clock or span is None or span[0] < DAY:
        return ""
    zone = offset(span[0])
    shifts = [ahead for half in _OFFSETS if (ahead := half * _HALF_HOUR - zone)]
    moved = ((shift, Filter(begin=_earlier(wanted.begin, shift), end=_earlier(wanted.end, shift))) for shift in shifts)
    matching = [(shift, number) for shift, part in moved if (number := _number(report, table, part))]
    if len(matching) != 1:
        return ""
    [(ahead, number)] = matching
    rows = f"{count(number, _NOUNS[table])} {'matches' if number == 1 else 'match'}"
    return f" In the time zone {offset_text(zone + ahead)}, {rows}. If you mean that zone, write it after the time."


def _earlier(bound: Moment | None, shift: int) -> Moment | None:
    return None if bound is None else bound._replace(nanoseconds=bound.nanoseconds - shift)


def _protocols(report: Report) -> str:
    """Return a sentence with the number of connections by protocol."""
    counted = report.scan_connections().group_by("protocol").agg(pl.len()).sort("len", "protocol", descending=[True, False])
    numbers = [f"{PROTOCOL_NAMES.get(name, name)} ({number:,})" for name, number in counted.collect().iter_rows()]
    return f" TCP connections by protocol: {', '.join(numbers)}." if numbers else ""

"""Describe the slowest request of a report in a sentence."""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Report
from wiredoctor.report.chosen_rows import rank
from wiredoctor.report.exchange_times import EXCHANGE_COLUMNS, capture_ends, time_taken
from wiredoctor.report.row_choice import Order
from wiredoctor.report.words import SECOND, clean, count, duration, shorten

_PHASES = ("request", "server", "response")

_LONGEST_REQUEST = 60
"""The maximum length in characters of the method and target."""


def slowest_request(report: Report) -> str:
    """Return a sentence with the number of requests, and the phases and total time of the slowest one.

    The result is "" if there are no requests.
    """
    ends = capture_ends(report)
    keys = ["capture", "connection"]
    columns = {*EXCHANGE_COLUMNS, *keys, "exchange", "request_method", "request_target", *(f"{name}_time" for name in _PHASES)}
    requests = report.scan_exchanges().select(sorted(columns)).filter("has_request")
    number = requests.select(pl.len()).collect().item()
    if not number:
        return ""
    took, order = time_taken("exchanges", ends).alias("took"), rank("exchanges", Order.duration, ends).alias("rank")
    [row] = requests.with_columns(took, order).sort("rank", "request_start").head(1).collect().to_dicts()
    opened = report.scan_connections().filter(capture=row["capture"], connection=row["connection"])
    connection = opened.select("server", "start", "handshake").collect().to_dicts()[0]
    phases = ((name, row[f"{name}_time"]) for name in _PHASES)
    split = ", ".join(f"{name} {duration(time / SECOND)}" for name, time in phases if time)
    if connection["handshake"] and row["exchange"] == 0:
        before = duration((row["request_start"] - connection["start"]) / SECOND)
        split += f"{'; ' if split else ''}its connection was opened {before} earlier"
    answer = row["response_status"] if row["has_response"] else "no response"
    request = clean(shorten(f"{row['request_method']} {row['request_target']}", _LONGEST_REQUEST))
    which = f"{request} ({answer}), {clean(connection['server'])}"
    if row["took"] is None:
        return f"{count(number, 'request')}; {which}: its end was not captured."
    subject = "it" if number == 1 else "the slowest"
    return (
        f"{count(number, 'request')}; {subject} took {duration(row['took'] / SECOND)}{f' ({split})' if split else ''}: {which}."
    )

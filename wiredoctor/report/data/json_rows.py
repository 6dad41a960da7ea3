"""Write connections and exchanges as JSON lines with Polars, in batches because there may be a million rows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import IO, cast

import numpy as np
import polars as pl

from wiredoctor.findings import Finding, Report
from wiredoctor.report import gateway_roles, stream_times, transfer_limits
from wiredoctor.report.columns import batches, endpoints, escape_column, seconds, with_divisor
from wiredoctor.report.exchange_times import EXCHANGE_COLUMNS, CaptureEnds, capture_ends, duration, response_wait
from wiredoctor.report.row_order import Ordered, Sink, Spool, in_memory
from wiredoctor.tables import TABLES

_ROWS_AT_ONCE = 1 << 11
"""The number of rows that are converted to text at once.

A call of Polars takes as long as the conversion of 200 rows. Larger blocks take more memory: the text of a row has about 1,000
bytes.
"""

_KEY = ["capture", "connection", "exchange"]
_STALLED = pl.List(pl.Struct({"rule": pl.String, "delay": pl.Float64}))

_CONNECTION_COLUMNS = [
    *("capture", "connection", "client", "server", "packets", "client_bytes", "server_bytes", "first_frame", "last_frame"),
    *("start", "end", "rtt_client", "rtt_server", "protocol", "history", "closed_by", "close"),
]
_COUNTS = ["frame", "last_frame", "head_bytes", "body_bytes"]
_TEXTS = {
    "request": ["method", "target", "host", "version", "framing"],
    "response": ["version", "reason", "framing", "end_reason"],
}


Text = Callable[[pl.DataFrame], "bytes | memoryview"]
"""A function that converts a batch of rows to lines of text."""


def write_as(report: Report, out: Sink, table: str, text: Text, spool: Spool = in_memory) -> None:
    """Write "connections" or "exchanges" with the columns of the JSON report.

    Rows are sorted by capture and ids. `text` converts a batch of rows to lines.
    """
    lines = Ordered(spool)
    if table == "connections":
        for batch in batches(report.scan_connections, _CONNECTION_COLUMNS):
            _add(lines, report, batch, ["connection"], _connection(), text)
    else:
        stalled, roles, ends = _stall_findings(report.findings), gateway_roles.Roles(report), endpoints(report)
        columns = _exchange(capture_ends(report))
        for batch in batches(report.scan_exchanges, _exchange_columns()):
            placed = batch.join(ends, on=_KEY[:2], how="left", maintain_order="left")
            joined = roles.add(placed.join(stalled, on=_KEY, how="left", maintain_order="left"))
            _add(lines, report, joined, ["connection", "exchange"], columns, text)
    lines.write(out)


def schema(table: str) -> pl.Schema:
    """Return the columns of the rows that `write_as` passes to its argument `text`."""
    empty = pl.DataFrame(schema={"capture": pl.String(), **TABLES[table].schema})
    if table == "connections":
        return with_divisor(empty.select(_CONNECTION_COLUMNS)).select(_connection()).schema
    ends = empty.select(*_KEY[:2], client=pl.lit(""), server=pl.lit(""))
    joined = empty.select(_exchange_columns()).join(ends, on=_KEY[:2], how="left").join(_stall_findings([]), on=_KEY, how="left")
    joined = joined.with_columns(pl.lit(None, gateway_roles.DTYPE).alias("gateway"))
    return with_divisor(joined).select(_exchange({})).schema


def _add(lines: Ordered, report: Report, batch: pl.DataFrame, keys: list[str], columns: list[pl.Expr], text: Text) -> None:
    """Sort the rows of a batch and add them to `lines`.

    Rows of a batch are sorted first, so most rows can later be read from the spool in long sequential runs.
    """
    place = pl.Series("capture", [c.file for c in report.captures], dtype=pl.String).unique(maintain_order=True).to_frame()
    if place.height == 1:
        first = np.zeros(batch.height, np.int64)
    else:
        placed = batch.select("capture").join(place.with_row_index(), on="capture", how="left", maintain_order="left")
        first = placed.get_column("index").cast(pl.Int64).fill_null(place.height).to_numpy()
    places = (first, *(batch.get_column(key).cast(pl.Int64).to_numpy() for key in keys))
    order = np.lexsort(places[::-1])
    ordered = batch[pl.Series(order)].select(columns)
    for start in range(0, batch.height, _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        lines.add(tuple(values[order[some]] for values in places), text(ordered[some]))


class _Pieces:
    """A file in memory that keeps all written pieces. Unlike BytesIO, it does not copy earlier pieces as it grows."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self.pieces.append(piece)
        return len(piece)

    def flush(self) -> None:
        pass


def ndjson(rows: pl.DataFrame) -> bytes:
    """Return the rows as JSON Lines in ASCII, because names of captures may contain control characters."""
    file = _Pieces()
    rows.write_ndjson(cast("IO[bytes]", file))
    text = b"".join(file.pieces)
    if not text.isascii() or b"\x7f" in text:
        text = _BEYOND.sub(_escape, text.decode()).encode()
    return text


_BEYOND = re.compile("[\x7f-\U0010ffff]")


def _escape(sign: re.Match[str]) -> str:
    return f"\\u{ord(sign[0]):04x}" if sign[0] == "\x7f" else json.dumps(sign[0])[1:-1]


def _connection() -> list[pl.Expr]:
    times = {"start", "end", "rtt_client", "rtt_server"}
    made = {
        "connection": pl.col("connection").alias("id"),
        "closed_by": _null_if_empty("closed_by"),
        "close": _null_if_empty("close"),
        **{name: seconds(name).alias(name) for name in times},
    }
    return [
        *(made.get(name, pl.col(name)) for name in _CONNECTION_COLUMNS),
        pl.col("connection"),
        seconds(duration("connections")).alias("duration"),
    ]


def _null_if_empty(column: str) -> pl.Expr:
    return pl.when(pl.col(column) != "").then(pl.col(column)).alias(column)


def _exchange_columns() -> list[str]:
    sides = [f"{side}_{name}" for side, texts in _TEXTS.items() for name in (*_COUNTS, *texts, "start", "end")]
    needed = [
        *(*_KEY, "request_id", "has_request", "has_response", "response_status", "persistent", "interim"),
        *sides,
        *("request_time", "server_time", "response_time"),
        *transfer_limits.COLUMNS,
        *stream_times.COLUMNS,
    ]
    return [*dict.fromkeys((*needed, *EXCHANGE_COLUMNS))]


def _exchange(ends: CaptureEnds) -> list[pl.Expr]:
    """Return the columns of an exchange in JSON schema 1, with all times in seconds.

    The columns `request_time`, `server_time` and `response_time` have the same names in the table `exchanges`, but are in ns
    there.
    """
    return [
        pl.col("capture"),
        pl.col("connection"),
        pl.col("exchange").alias("index"),
        _null_if_empty("request_id"),
        pl.when("has_request").then(_request()).alias("request"),
        pl.when("has_response").then(_response()).alias("response"),
        pl.struct(
            seconds("request_time").alias("request"),
            seconds("server_time").alias("server"),
            seconds("response_time").alias("response"),
            pl.col("stalled").fill_null(pl.lit([], dtype=_STALLED)),
            transfer_limits.parts().alias("limited"),
        ).alias("timing"),
        pl.col("gateway"),
        pl.col("exchange", "client", "server"),
        *(seconds(name).alias(name) for name in ("request_time", "server_time", "response_time")),
        seconds(duration("exchanges")).alias("duration"),
        seconds(response_wait(ends)).alias("response_wait"),
        stream_times.stream().alias("stream"),
    ]


def _request() -> pl.Expr:
    return pl.struct(
        escape_column("request_method").alias("method"),
        escape_column("request_target").alias("target"),
        escape_column("request_host").alias("host"),
        escape_column("request_version").alias("version"),
        *_extent("request"),
    )


def _response() -> pl.Expr:
    return pl.struct(
        pl.col("response_status").alias("status"),
        escape_column("response_reason").alias("reason"),
        escape_column("response_version").alias("version"),
        *_extent("response"),
        pl.col("response_end_reason").alias("end_reason"),
        pl.col("persistent"),
        pl.col("interim"),
    )


def _extent(side: str) -> list[pl.Expr]:
    """Return the columns of a message: first and last frame, start and end (s), lengths (bytes) and framing.

    `side`: "request" or "response".
    """
    return [
        *(pl.col(f"{side}_{name}").alias(name) for name in ("frame", "last_frame")),
        *(seconds(f"{side}_{name}").alias(name) for name in ("start", "end")),
        *(pl.col(f"{side}_{name}").alias(name) for name in ("head_bytes", "body_bytes", "framing")),
    ]


def _stall_findings(findings: list[Finding]) -> pl.DataFrame:
    """Return a row for each exchange that lost time. `stalled` lists the rule and delay (s) of its findings in time order."""
    costly = [f for f in findings if f.delay is not None and f.connection is not None and f.exchange is not None]
    costly.sort(key=lambda f: (f.elapsed, f.rule))
    frame = pl.DataFrame(
        {
            "capture": [f.capture for f in costly],
            "connection": [f.connection for f in costly],
            "exchange": [f.exchange for f in costly],
            "stalled": [{"rule": f.rule, "delay": f.delay} for f in costly],
        },
        schema={"capture": pl.String, "connection": pl.Int64, "exchange": pl.Int32, "stalled": _STALLED.inner},
    )
    return frame.group_by(_KEY, maintain_order=True).agg("stalled")

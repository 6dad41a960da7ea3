"""Rows of HTTP that the core wrote as Polars frames with the columns of wiredoctor.tables, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from wiredoctor.core.bursts import APPLICATION
from wiredoctor.core.bursts import COLUMNS as BURST
from wiredoctor.core.exchanges import CLOSE, EXCHANGE, MESSAGE_ROW, ExchangeRows, Extra, MessageRows
from wiredoctor.core.heads import Head
from wiredoctor.core.rows import Rows
from wiredoctor.http.framing import is_persistent
from wiredoctor.tables import BURSTS, END_REASONS, FAULTS, FRAMINGS, MESSAGES, NEVER, NONE, Array, Table

_TEXTS = ("content_type", "content_encoding", "upgrade", "via")
_FLAGS = ("connection_close", "connection_keep_alive", "has_content_length")
_REQUEST_TEXTS = ("host", "user_agent", "referer", "credentials_scheme")
_REQUEST_FLAGS = ("expect_continue", "has_credentials")
_RESPONSE_TEXTS, _RESPONSE_FLAGS = ("server", "auth_scheme", "accel_buffering"), ("auth_token", "auth_stale")
_RESPONSE_NUMBERS = ("keep_alive_timeout", "keep_alive_max")
_PIECES = (
    *("median_chunk", "chunk_lines_alone", "chunks_end_lines", "early_chunks", "body_frame", "body_time", "events"),
    *("first_events", "held_bursts"),
)
_NO_PIECES = (NONE, 0, False, 0, NEVER, NEVER, NEVER, 0, 0)
_REASONS = ("pause_acknowledged", "pause_window_open", "pause_clean", "pause_emptied")

Columns = dict[str, Any]
"""Arrays or Series of one length by column name; arrays hold the sentinels of wiredoctor.tables."""


class HeadColumns:
    """What the distinct heads of a batch say, a Series per field, from which the columns of messages are gathered."""

    def __init__(self, heads: Sequence[Head]) -> None:
        self.heads = heads
        self._fields: dict[str, pl.Series] = {}

    def add(self, columns: Columns, prefix: str, codes: Array, is_request: bool) -> None:
        """Add the columns of requests, or of responses, with these heads; codes below 0 stand for none."""
        places = np.where(codes < 0, len(self.heads), codes)

        def put(name: str, read: Callable[[Head], Any], absent: Any) -> None:
            if name not in self._fields:
                self._fields[name] = pl.Series([*map(read, self.heads), absent], strict=False)
            columns[f"{prefix}{name}"] = self._fields[name].gather(places)

        own_texts = _REQUEST_TEXTS if is_request else _RESPONSE_TEXTS
        own_flags = _REQUEST_FLAGS if is_request else _RESPONSE_FLAGS
        for name in (*_TEXTS, *own_texts):
            put(name, _field(name), "")
        for name in (*_FLAGS, *own_flags):
            put(name, _field(name), False)
        put("has_transfer_encoding", lambda head: bool(head.fields.transfer_codings), False)
        put("version", lambda head: head.version, "")
        if is_request:
            put("method", lambda head: head.method, "")
            put("credentials_user", lambda head: head.fields.credentials_user, NEVER)
        else:
            put("status", lambda head: head.status, NONE)
            put("reason", lambda head: head.reason, "")
            for name in _RESPONSE_NUMBERS:
                put(name, _field(name), NONE)


def _field(name: str) -> Callable[[Head], Any]:
    """Return a function that reads a field of a head."""
    return lambda head: getattr(head.fields, name)


def exchange_frame(table: Table, rows: ExchangeRows, heads: HeadColumns) -> pl.DataFrame:
    """Take the rows of `exchanges`, or of `closes`, with the columns of `table`."""
    names = EXCHANGE if rows.rows.width == len(EXCHANGE) else (*EXCHANGE, *CLOSE)
    columns = cells_of(rows.rows, names)
    targets, extras = rows.take_texts()
    request, response = columns["request_head"], columns["response_head"]
    columns["has_request"], columns["has_response"] = request >= 0, response >= 0
    columns["persistent"] = _persistent(heads.heads, columns)
    for side, codes in (("request", request), ("response", response)):
        heads.add(columns, f"{side}_", codes, side == "request")
        _name_framing(columns, f"{side}_")
    columns["request_target"] = _texts(targets)
    _add_times(columns)
    _add_extras(columns, extras)
    return make_frame(table, columns)


def message_frame(table: MessageRows, heads: HeadColumns) -> pl.DataFrame:
    """Take the rows of `messages`, requests before responses."""
    cells = cells_of(table.rows, MESSAGE_ROW)
    targets = _texts(table.take_targets())
    frames: list[pl.DataFrame] = []
    for role in (0, 1):
        rows = np.flatnonzero(cells["role"] == role)
        some: Columns = {name: values[rows] for name, values in cells.items()}
        heads.add(some, "", some["head"], role == 0)
        _name_framing(some, "")
        some["target"] = targets.gather(some["target"])
        for column in MESSAGES.columns:
            if column.name not in some:
                # what only the messages of the peer have
                empty = "" if column.dtype == pl.String else False if column.dtype == pl.Boolean else column.sentinel or NONE
                some[column.name] = np.full(len(rows), empty)
        frames.append(make_frame(MESSAGES, some))
    return pl.concat(frames)


def fault_frame(rows: Sequence[tuple[object, ...]]) -> pl.DataFrame:
    """Return the rows of `faults` as a frame."""
    names = [column.name for column in FAULTS.columns]
    return FAULTS.frame({name: [row[i] for row in rows] for i, name in enumerate(names)})


def burst_frame(rows: Rows) -> pl.DataFrame:
    """Take the rows of `bursts`."""
    columns = cells_of(rows, BURST)
    for bit, name in enumerate(_REASONS):
        columns[name] = columns["reasons"] & (1 << bit) != 0
    columns["pause_application"] = columns["reasons"] == APPLICATION
    return make_frame(BURSTS, columns)


def make_frame(table: Table, columns: Columns) -> pl.DataFrame:
    """Return a frame with the columns of a table; sentinels become null."""
    series: list[pl.Series] = []
    nulls: list[pl.Expr] = []
    for column in table.columns:
        values = columns[column.name]
        one = values.alias(column.name) if isinstance(values, pl.Series) else pl.Series(column.name, values)
        sentinel = column.sentinel
        value = pl.col(column.name)
        if sentinel is not None and one.len() and (one == sentinel).any():
            value = pl.when(value != sentinel).then(value)
        if one.dtype != column.dtype:
            value = value != 0 if column.dtype == pl.Boolean else value.cast(column.dtype, strict=False)
        series.append(one)
        nulls.append(value.alias(column.name))
    return pl.DataFrame(series).select(nulls)


def cells_of(rows: Rows, names: Sequence[str]) -> Columns:
    """Take the rows of a table as columns of integers."""
    cells = np.ascontiguousarray(np.frombuffer(rows.take(), dtype="<i8").reshape(-1, len(names)).T)
    return dict(zip(names, cells, strict=True))


def _texts(values: Sequence[bytes]) -> pl.Series:
    """Return octets as text, of which bytes beyond ASCII are those of Latin-1."""
    if all(map(bytes.isascii, values)):
        return pl.Series(values, dtype=pl.Binary).cast(pl.String)
    return pl.Series([value.decode("latin-1") for value in values], dtype=pl.String)


def _name_framing(columns: Columns, prefix: str) -> None:
    """Replace the numbers of framings and of reasons for the end by their names."""
    for name, names in (("framing", FRAMINGS), ("end_reason", END_REASONS)):
        columns[f"{prefix}{name}"] = pl.Series(names).gather(columns[f"{prefix}{name}"])


def _persistent(heads: Sequence[Head], columns: Columns) -> Array:
    """Return whether both messages leave the connection open; a head that was cut may say that it does not."""
    request, response = columns["request_head"], columns["response_head"]
    width = len(heads) + 1
    pairs, place = np.unique((request + 1) * width + response + 1, return_inverse=True)
    known = [_leaves_open(heads, pair // width - 1, pair % width - 1) for pair in pairs.tolist()]
    found = np.array(known, dtype=bool)[place]
    for side in ("request", "response"):
        found &= (columns[f"{side}_has_hole"] == 0) | (columns[f"{side}_framing"] != 0)
    return found


def _leaves_open(heads: Sequence[Head], request_code: int, response_code: int) -> bool:
    """Return whether a request and a response leave the connection open."""
    if response_code < 0:
        return False
    request, response = heads[request_code] if request_code >= 0 else None, heads[response_code]
    version, fields = ("", None) if request is None else (request.version, request.fields)
    return is_persistent(version, fields, response.version, response.fields)


def _add_times(columns: Columns) -> None:
    """Add how long messages took."""
    request, response = columns["has_request"], columns["has_response"]
    columns["request_time"] = np.where(request, columns["request_end"] - columns["request_start"], NEVER)
    wait = np.maximum(columns["response_start"] - columns["request_end"], 0)
    columns["server_time"] = np.where(request & response, wait, NEVER)
    columns["response_time"] = np.where(response, columns["response_end"] - columns["response_start"], NEVER)


def _add_extras(columns: Columns, extras: Sequence[Extra]) -> None:
    """Add interim responses, pauses, and the pieces of streamed responses: most rows have none."""
    place = columns["extra"] + 1

    def put(name: str, dtype: pl.DataType, absent: Any, values: Sequence[Any]) -> None:
        columns[name] = pl.Series([absent, *values], dtype=dtype).gather(place)

    whole, lists = pl.Int64(), pl.List(pl.Int64())
    put("interim", lists, [], [x.interim.statuses if x.interim else [] for x in extras])
    put("interim_times", lists, [], [x.interim.times if x.interim else [] for x in extras])
    pauses = [x.pauses for x in extras]
    bursts = np.array([-1, *(p.bursts if p else -1 for p in pauses)])[place]
    columns["response_bursts"] = np.where(bursts < 0, columns["response_body_bytes"] > 0, bursts)
    put("response_application_pauses", whole, 0, [p.application if p else 0 for p in pauses])
    put("response_paused", whole, 0, [p.total if p else 0 for p in pauses])
    put("response_pause_frames", lists, [], [p.frames if p else [] for p in pauses])
    put("response_pause_times", lists, [], [p.times if p else [] for p in pauses])
    numbers = [_piece_numbers(x) for x in extras]
    for k, name in enumerate(_PIECES):
        columns[f"response_{name}"] = np.array([_NO_PIECES[k], *(row[k] for row in numbers)])[place]
    held = [x.pieces.shown if x.pieces else [] for x in extras]
    put("response_held_frames", lists, [], [[n for f in some if f.pause for n in (f.pause[0], f.frame)] for some in held])
    put("response_held_times", lists, [], [[n for f in some if f.pause for n in (f.pause[1], f.time)] for some in held])


def _piece_numbers(extra: Extra) -> tuple[Any, ...]:
    """Return the values of _PIECES."""
    pieces = extra.pieces
    if pieces is None:
        return _NO_PIECES
    first, counted = pieces.first, pieces.counter is not None
    return (
        pieces.median, pieces.alone, pieces.lines and bool(pieces.sizes), pieces.early,
        NEVER if first is None else first.frame, NEVER if first is None else first.time,
        pieces.events if counted else NEVER, first.events if counted and first is not None else 0, pieces.held if counted else 0,
    )  # fmt: skip

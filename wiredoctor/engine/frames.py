"""Convert the core's rows about HTTP, batch by batch, to the columns of wiredoctor.tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from wiredoctor.core.http1.bursts import APPLICATION
from wiredoctor.core.http1.heads import Head
from wiredoctor.core.http1.message import IN_TRAILER
from wiredoctor.core.rows.close_rows import CLOSE, CloseRows
from wiredoctor.core.rows.exchange_rows import EXCHANGE, MESSAGE_ROW, Extra, MessageRows
from wiredoctor.core.tcp.origins import ORIGINS
from wiredoctor.engine import ends
from wiredoctor.protocols.http1.event_streams import Counter
from wiredoctor.protocols.http1.pieces import LEAST_EVENTS, Pieces
from wiredoctor.protocols.http1.request_ids import WELL_FORMED
from wiredoctor.storage.batches import Batch, Kind, Maker, View, series, take_cells, to_cells
from wiredoctor.tables import (
    BURSTS,
    END_REASONS,
    EXCHANGES,
    FRAMINGS,
    MESSAGES,
    NEVER,
    NO_EVENT,
    NONE,
    SMALL,
    STORED_EXCHANGES,
    Array,
    Column,
    Table,
)

_TEXTS = ("content_type", "content_encoding", "upgrade", "via")
_FLAGS = ("connection_close", "connection_keep_alive", "has_content_length", "endless")
_OF_LINE = ("version", "method", "status", "reason")
_OF_REQUESTS = (
    *("host", "user_agent", "referer", "credentials_scheme", "expect_continue", "has_credentials"),
    *("credentials_user", "method", "forwarded", "forwarded_for", "forwarded_server", "has_websocket_key"),
    *("navigation", "accepts_events", "event_source", "last_event_id", "range_start", "retry_count"),
)
_OF_RESPONSES = (
    *("server", "auth_scheme", "accel_buffering", "auth_token", "auth_stale", "keep_alive_timeout", "keep_alive_max"),
    *("status", "reason", "location", "has_retry_after", "retry_after"),
)
_OF_HEADS = (*_TEXTS, *_FLAGS, "has_transfer_encoding", "version", "websocket_version")
"""The columns of MESSAGES that are determined by the head of the message, for requests and responses alike."""

_PIECES = (
    *("median_chunk", "chunk_lines_sent_separately", "chunks_apart", "chunks_ending_in_newline", "early_chunks"),
    *("body_frame", "body_time", "events", "first_event_frame", "first_event_time"),
    *("first_events", "held_bursts", "held_events", "large_lumps", "large_events", "cut_lumps", "first_cut", "one_flight"),
    *("flights", "first_late", "end_mark", "api_format", "last_event", "first_shape", "first_hash", "longest_pause"),
    "event_lines",
    *("data_events", "first_data_frame", "first_data_time", "median_gap", "p95_gap", "longest_gap", "longest_gap_frame"),
    "longest_gap_time",
)
_LIMITED = ("receive_window", "send_buffer", "loss", "application", "not_read", "path")
_NO_GAPS = (NEVER,) * 8
_NO_PIECES = (
    *(NONE, 0, 0, False, 0, *(NEVER,) * 5, *(0,) * 6, False, False, 0, NEVER, False, False, NO_EVENT, 0, 0, NEVER, False),
    *_NO_GAPS,
)
_REASONS = ("pause_acknowledged", "pause_window_open", "pause_clean", "pause_emptied", "pause_waited")
_ORIGINS = pl.Series(ORIGINS)
_NAMES = {"framing": pl.Series(FRAMINGS), "end_reason": pl.Series(END_REASONS)}

Columns = dict[str, Any]
"""Arrays or Series of equal length by column name. Arrays contain the sentinels of wiredoctor.tables."""


def head_part(heads: Sequence[Head]) -> pl.DataFrame:
    """Return a data frame with one row per header section, and the columns of MESSAGES that depend only on that section.

    The first row is for messages without a header section.
    """
    return _make_head_part(heads) if heads else _NO_HEADS


def _make_head_part(heads: Sequence[Head]) -> pl.DataFrame:
    columns: dict[str, list[Any]] = {}
    for name in (*_OF_HEADS, *_OF_REQUESTS, *_OF_RESPONSES):
        if name == "has_transfer_encoding":
            columns[name] = [bool(head.fields.transfer_codings) for head in heads]
        elif name in _OF_LINE:
            columns[name] = [getattr(head, name) for head in heads]
        else:
            columns[name] = [getattr(head.fields, name) for head in heads]
    return _part(_HEADS, columns)


def _part(table: Table, columns: Mapping[str, Sequence[Any]]) -> pl.DataFrame:
    """Return a data frame with these columns of a table; the sentinel value of a column becomes null.

    The first row is for rows that have none of the values. It has the values of _NOT_COUNTED, or empty ones.
    """
    lists = {column.name: [_NOT_COUNTED.get(column.name, _empty(column)), *columns[column.name]] for column in table.columns}
    if len(lists[table.columns[0].name]) <= SMALL:
        return table.frame(lists)
    return pl.DataFrame([_part_column(column, lists[column.name]) for column in table.columns])


def _empty(column: Column) -> Any:
    """Return the empty value of a column's type."""
    dtype = column.dtype
    return "" if dtype == pl.String else [] if dtype == pl.List else False if dtype == pl.Boolean else column.sentinel or 0


def _part_column(column: Column, values: Sequence[Any]) -> pl.Series:
    series = pl.Series(column.name, values, dtype=column.dtype, strict=False)
    return series if column.sentinel is None else series.set(series == column.sentinel, None)


_NOT_COUNTED = {"response_bursts": -1}
"""The values of columns in _EXTRAS for exchanges without an Extra object. `_bursts` replaces -1 by 0 or 1."""
_HEADS = MESSAGES.only({*_OF_HEADS, *_OF_REQUESTS, *_OF_RESPONSES})
_NO_HEADS = _make_head_part(())


def exchange_batches(closes: CloseRows, heads: pl.DataFrame) -> tuple[Batch, Batch]:
    """Take the rows of the tables `exchanges` and `closes` from the core, and return each table's rows as a batch.

    The batch of `closes` has all columns of STORED_EXCHANGES. The batch of `exchanges` lacks the columns about the close.
    """
    finished, closed = int(closes.exchanges.rows.count), int(closes.rows.count)
    written, targets = closes.exchanges.take()
    if not targets:
        return Batch("exchanges", 0, {}, {}, {}), Batch("exchanges", 0, {}, {}, {})
    extras, request_ids = closes.exchanges.take_shared()
    parts = {"heads": heads, "extras": _extra_part(extras), "request_ids": _request_id_part(request_ids)}
    cells, texts = to_cells(written, EXCHANGE), {"request_target": _texts(targets)}
    exchanges = Batch("exchanges", len(targets), cells, texts, parts)
    of_close = take_cells(closes.rows, CLOSE)
    row = np.broadcast_to(of_close.pop("row").astype(np.int64), closed)
    places = np.where(row < 0, finished - 1 - row, row)
    # copied at once, not on demand as in Batch.pick, because these rows are stored with all cells
    of_exchange = {name: values[places] if len(values) > 1 else values for name, values in cells.items()}
    targets_in_order = texts["request_target"][series(places).cast(pl.UInt32)]
    stored = Batch("exchanges", closed, of_exchange | of_close, {"request_target": targets_in_order}, parts)
    return exchanges.slice(0, finished), stored


def _request_id_part(values: Sequence[bytes]) -> pl.DataFrame:
    """Return a data frame with the request ids as they were sent. The first row is empty, for exchanges without a request id."""
    return pl.DataFrame([_texts([b"", *values]).alias("request_id")]) if values else _NO_REQUEST_IDS


_NO_REQUEST_IDS = pl.DataFrame([pl.Series("request_id", [""], dtype=pl.String)])


def _request_id(batch: Batch) -> pl.Series:
    """Return the request id of each exchange; empty if it is not well-formed.

    The column is computed only on demand, because the check takes time and the column is seldom used.
    """
    if len(batch.parts["request_ids"]) == 1:
        return batch.of_part("request_ids", "request_id", "request_id")
    texts = batch.of_part("request_ids", "request_id", "request_id").str.strip_chars(" \t")
    return texts.set(~texts.str.contains(WELL_FORMED), "")


def _texts(values: Sequence[bytes]) -> pl.Series:
    """Return a column of text, decoded as Latin-1."""
    if b"".join(values).isascii():
        return pl.Series(values, dtype=pl.Binary).cast(pl.String)
    return pl.Series([value.decode("latin-1") for value in values], dtype=pl.String)


def _persistent(batch: Batch) -> Array:
    """Return, for each exchange, whether both messages leave the connection open (RFC 9112 section 9.3).

    The result is False if a header section was truncated, because the missing part may announce a close. A request that was not
    captured is assumed to announce no close.
    """
    heads = batch.parts["heads"]
    is_old = (heads["version"] < "HTTP/1.1").to_numpy(writable=True)
    keeps = heads["connection_keep_alive"].to_numpy(writable=True)
    is_old[0], keeps[0] = False, True
    request, response = (batch.cells[f"{side}_head"] for side in ("request", "response"))

    def of_both_heads(flag: Array) -> Array:
        last_is_none = np.roll(flag, -1)  # index -1 refers to the first row, 0 to the second
        return last_is_none[request] & last_is_none[response]

    found = (response >= 0) & of_both_heads(~heads["connection_close"].to_numpy())
    if is_old.any():
        found = found & of_both_heads(~is_old | keeps)
    for side in ("request", "response"):
        if batch.cells[f"{side}_has_gap"].any():
            found = found & ((batch.cell(f"{side}_has_gap") == 0) | (batch.cell(f"{side}_framing") != 0))
    return found


def _between(first: str, second: str, needed: Sequence[str], least: int | None = None) -> Maker:
    """Return a function that computes, for each row of a batch, the time in ns from column `first` to column `second`.

    If `least` is given, smaller results are raised to it. A result is null if the exchange lacks one of the header sections
    named in `needed`.
    """

    def make(batch: Batch) -> Array:
        values = batch.cell(second) - batch.cell(first)
        if least is not None:
            np.maximum(values, least, out=values)
        for head in needed:
            if (lacks := batch.cells[head] < 0).any():
                values[np.broadcast_to(lacks, len(values))] = NEVER
        return values

    return make


def _bursts(batch: Batch) -> Array:
    """Return the number of bursts in each response body: 1 if no pause divides the body, 0 if there is no body."""
    if len(batch.parts["extras"]) == 1:
        return batch.cell("response_body_bytes") > 0
    noted = batch.of_part("extras", "response_bursts", "extra").to_numpy()
    return np.where(noted < 0, batch.cell("response_body_bytes") > 0, noted)


def _has(head: str) -> Maker:
    return lambda batch: batch.cells[head] >= 0


def _makers() -> dict[str, Maker]:
    """Return, by column name, functions that compute the columns of STORED_EXCHANGES that the core does not write."""
    makers: dict[str, Maker] = {
        **ends.MAKERS,
        "request_target": lambda batch: batch.texts["request_target"],
        "request_id": _request_id,
        "persistent": _persistent,
        "response_in_trailer": lambda batch: batch.cells["response_end_reason"] == IN_TRAILER,
        "response_bursts": _bursts,
        "request_time": _between("request_start", "request_end", ["request_head"]),
        "server_time": _between("request_end", "response_start", ["request_head", "response_head"], 0),
        "response_time": _between("response_start", "response_end", ["response_head"]),
    }
    for side, own in (("request", _OF_REQUESTS), ("response", _OF_RESPONSES)):
        makers[f"has_{side}"] = _has(f"{side}_head")
        for name in (*_OF_HEADS, *own):
            makers[f"{side}_{name}"] = partial(Batch.of_part, part="heads", name=name, cell=f"{side}_head")
        for name, names in _NAMES.items():
            makers[f"{side}_{name}"] = partial(Batch.gather, values=names, cell=f"{side}_{name}")
    for side in ("client", "server"):
        makers[f"{side}_close_origin"] = partial(Batch.gather, values=_ORIGINS, cell=f"{side}_close_origin")
    for name in _EXTRAS:
        makers.setdefault(name, partial(Batch.of_part, part="extras", name=name, cell="extra"))
    return makers


_EXTRAS = (
    *("interim", "interim_times", "response_bursts", "response_application_pauses", "response_pause_total"),
    *("response_pause_frames", "response_pause_times", "response_pause_by_clock", *(f"response_{name}" for name in _PIECES)),
    *("response_held_frames", "response_held_times", "response_held_by_clock", "response_moments"),
    *(f"response_{name}_time" for name in _LIMITED),
    *("request_not_read_time", "request_stops"),
)
"""The columns that are computed from objects of class Extra (core/rows/exchange_rows.py)."""

_OF_EXTRAS = EXCHANGES.only(_EXTRAS)


def _extra_part(extras: Sequence[Extra]) -> pl.DataFrame:
    """Return a data frame with one row per Extra: interim responses, pauses, streamed events, and what limited a body's speed.

    The first row is for exchanges without any of these.
    """
    return _make_extra_part(extras) if extras else _NO_EXTRAS


def _make_extra_part(extras: Sequence[Extra]) -> pl.DataFrame:
    pauses = [extra.pauses for extra in extras]
    held = [extra.pieces.shown if extra.pieces else [] for extra in extras]
    numbers = [_piece_numbers(extra) for extra in extras]
    columns: Columns = {
        "interim": [x.interim.statuses if x.interim else [] for x in extras],
        "interim_times": [x.interim.times if x.interim else [] for x in extras],
        "response_bursts": [p.bursts if p else -1 for p in pauses],
        "response_application_pauses": [p.application if p else 0 for p in pauses],
        "response_pause_total": [p.total if p else 0 for p in pauses],
        "response_pause_frames": [p.frames if p else [] for p in pauses],
        "response_pause_times": [p.times if p else [] for p in pauses],
        "response_pause_by_clock": [[None if n == NEVER else n for n in p.by_clock] if p else [] for p in pauses],
        **{f"response_{name}": [row[k] for row in numbers] for k, name in enumerate(_PIECES)},
        "response_held_frames": [[n for f in some if f.pause for n in (f.pause[0], f.frame)] for some in held],
        "response_held_times": [[n for f in some if f.pause for n in (f.pause[1], f.time)] for some in held],
        "response_held_by_clock": [x.pieces.held_by_clock() if x.pieces else [] for x in extras],
        "response_moments": [np.frombuffer(x.moments, "<i8").tolist() for x in extras],
        **{
            f"response_{name}_time": [NEVER if x.transfer is None else getattr(x.transfer, name) for x in extras]
            for name in _LIMITED
        },
        "request_not_read_time": [NEVER if x.upload is None else x.upload.not_read for x in extras],
        "request_stops": [x.stops for x in extras],
    }
    return _part(_OF_EXTRAS, columns)


_NO_EXTRAS = _make_extra_part(())


def _piece_numbers(extra: Extra) -> tuple[Any, ...]:
    """Return the values of the columns _PIECES, which describe how the response body of an exchange arrived."""
    pieces = extra.pieces
    if pieces is None:
        return _NO_PIECES
    first, counted = pieces.first, pieces.counter is not None and (not pieces.by_lines or pieces.events >= LEAST_EVENTS)
    timed = pieces.is_timed and (counted or not pieces.by_lines)
    gaps = pieces.gaps if counted else None
    return (
        pieces.median, pieces.alone, pieces.apart, pieces.lines and bool(pieces.sizes), pieces.early,
        NEVER if first is None else first.frame, NEVER if first is None else first.time,
        *((pieces.events, *pieces.first_event) if counted else (NEVER,) * 3),
        *(_held_event_numbers(pieces) if counted and timed else (0,) * 6 + (False,)),
        timed and pieces.full == 1 and first is not None and first.is_quick(pieces.tick),
        pieces.full if timed else 0,
        pieces.first_late,
        *_last_event(pieces.counter if counted else None),
        pieces.longest_pause if pieces.is_timed else NEVER,
        counted and pieces.by_lines,
        *(_NO_GAPS if gaps is None else (
            gaps.events, *gaps.first, *gaps.percentiles((50, 95)), gaps.longest, gaps.longest_frame, gaps.longest_end)
        ),
    )  # fmt: skip


def _last_event(counter: Counter | None) -> tuple[bool, bool, int, int, int]:
    """Return the values of the columns about the API of a stream, and about its last event."""
    if counter is None:
        return False, False, NO_EVENT, 0, 0
    return counter.has_end_mark, counter.has_format, counter.last_event, counter.first_shape, counter.first_hash


def _held_event_numbers(pieces: Pieces) -> tuple[Any, ...]:
    """Return the values of the columns about events that a buffer held back and then released together."""
    first = pieces.first.events if pieces.first is not None and pieces.first.is_lump(1, pieces.tick) else 0
    large = pieces.large, pieces.large_events
    return (first, pieces.held, pieces.held_events, *large, pieces.cut, pieces.first_cut)


def message_batch(table: MessageRows, heads: pl.DataFrame) -> Batch:
    """Take the rows of the table `messages` from the core, and return them with the requests before the responses."""
    targets = _texts(table.take_targets())
    height = len(targets)
    cells = {name: np.broadcast_to(values, height) for name, values in take_cells(table.rows, MESSAGE_ROW).items()}
    order = np.argsort(cells["role"], kind="stable")
    cells = {name: values[order] for name, values in cells.items()}
    for role, name in enumerate(("request_head", "response_head")):
        cells[name] = np.where(cells["role"] == role, cells["head"].astype(np.int64), -1)
    return Batch("messages", height, cells, {"target": targets[series(cells["target"]).cast(pl.UInt32)]}, {"heads": heads})


def _has_reason(bit: int) -> Maker:
    return lambda batch: batch.cell("reasons") & bit != 0


def event_frame(table: Table, rows: Sequence[tuple[object, ...]]) -> pl.DataFrame | View:
    """Return rows of `table`, whose rows are tuples, as a data frame; an empty View if there are no rows."""
    return table.frame({name: [row[i] for row in rows] for i, name in enumerate(table.schema)}) if rows else View([], table)


def _message_makers() -> dict[str, Maker]:
    """Return, by column name, functions that compute the columns of MESSAGES that the core does not write."""
    makers: dict[str, Maker] = {"target": lambda batch: batch.texts["target"]}
    for cell, names in (("head", _OF_HEADS), ("request_head", _OF_REQUESTS), ("response_head", _OF_RESPONSES)):
        for name in names:
            makers[name] = partial(Batch.of_part, part="heads", name=name, cell=cell)
    for name, names in _NAMES.items():
        makers[name] = partial(Batch.gather, values=names, cell=name)
    return makers


Kind.of(
    STORED_EXCHANGES,
    _makers(),
    {"request_head": "heads", "response_head": "heads", "extra": "extras", "request_id": "request_ids"},
)
Kind.of(MESSAGES, _message_makers(), {})
Kind.of(
    BURSTS,
    {
        **{name: _has_reason(1 << bit) for bit, name in enumerate(_REASONS)},
        "pause_application": lambda batch: batch.cell("reasons") == APPLICATION,
    },
    {},
)

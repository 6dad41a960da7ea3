"""Exchanges that are over, as rows of tables.EXCHANGES."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from wiredoctor.http.bursts import BurstState, Pauses
from wiredoctor.http.conversation import Conversation
from wiredoctor.http.framing import is_persistent
from wiredoctor.http.head import HeadParser
from wiredoctor.http.message import ABSENT, RECORD, Exchange
from wiredoctor.tables import END_REASONS, EXCHANGES, FRAMINGS, NEVER, SECOND, Array

Said = list[tuple[Conversation, Exchange, bool, int]]

_TEXTS = ("content_type", "content_encoding", "upgrade", "via")
_FLAGS = ("connection_close", "connection_keep_alive", "has_content_length")
_REQUEST_TEXTS, _REQUEST_FLAGS = ("host", "user_agent", "referer"), ("expect_continue", "has_credentials")
_RESPONSE_TEXTS, _RESPONSE_FLAGS = ("server", "auth_scheme", "accel_buffering"), ("auth_token",)
_RESPONSE_NUMBERS = ("keep_alive_timeout", "keep_alive_max")


class FieldTable:
    """Columns of the Fields that were met, by their number: looked up for whole epochs at once. Grows with the catalogue."""

    def __init__(self, parser: HeadParser) -> None:
        self._parser = parser
        self._done = 0
        self._texts: dict[str, pl.Series] = {}
        self._numbers: dict[str, Array] = {}

    def refresh(self) -> None:
        """Takes in Fields that are new since the last time."""
        fresh = self._parser.catalogue[self._done :]
        if not fresh:
            return
        self._done += len(fresh)
        for name in (*_TEXTS, *_REQUEST_TEXTS, *_RESPONSE_TEXTS):
            more = pl.Series(name, [getattr(f, name) for f in fresh], dtype=pl.String)
            self._texts[name] = self._texts[name].append(more) if name in self._texts else more
        for name in (*_FLAGS, *_REQUEST_FLAGS, *_RESPONSE_FLAGS):
            self._add(name, np.array([getattr(f, name) for f in fresh], dtype=bool))
        self._add("has_transfer_encoding", np.array([bool(f.transfer_codings) for f in fresh], dtype=bool))
        for name in _RESPONSE_NUMBERS:
            self._add(name, np.array([getattr(f, name) for f in fresh], dtype=np.int32))

    def _add(self, name: str, values: Array) -> None:
        self._numbers[name] = np.concatenate((self._numbers[name], values)) if name in self._numbers else values

    def text(self, name: str, numbers: pl.Series) -> pl.Series:
        """A text column for these Fields."""
        return self._texts[name].gather(numbers)

    def values(self, name: str, numbers: Array) -> Array:
        """A flag or number column for these Fields."""
        return self._numbers[name][numbers]


def exchange_table(
    said: Said, facts: dict[str, Array], clock: int, table: FieldTable, parser: HeadParser, bursts: BurstState
) -> pl.DataFrame:
    """One row per exchange, with the connection's facts as of when it was said."""
    if not said:
        return EXCHANGES.empty()
    if not parser.catalogue:
        parser.fields([])
    table.refresh()
    columns: dict[str, Any] = {}
    conversations = [x[0] for x in said]
    slot = np.array([c.slot for c in conversations], dtype=np.int64)
    columns["connection"] = np.array([c.connection for c in conversations], dtype=np.int64)
    columns["exchange"] = np.array([x[1].index for x in said], dtype=np.int32)
    requests = [x[1].request for x in said]
    responses = [x[1].response for x in said]
    columns["has_request"] = np.array([m is not None for m in requests], dtype=bool)
    columns["has_response"] = np.array([m is not None for m in responses], dtype=bool)
    message_columns(columns, "request", requests, table)
    message_columns(columns, "response", responses, table)
    columns["interim"] = _lists({i: x[1].interim for i, x in enumerate(said) if x[1].interim}, len(said), pl.UInt16())
    columns["persistent"] = np.array([_persistent(x[1]) for x in said], dtype=bool)
    columns["upgraded"] = np.array([x[1].upgraded for x in said], dtype=bool)
    _bursts(columns, responses, bursts)
    _timing(columns)
    client = np.array([c.client for c in conversations], dtype=np.int64)
    _connection(columns, said, slot, 2 * slot + client, facts, clock)
    return EXCHANGES.frame(columns)


def message_columns(columns: dict[str, Any], side: str, messages: list[Any], table: FieldTable) -> None:
    numbers = np.array([ABSENT if m is None else m.record() for m in messages], dtype=np.int64)
    record = dict(zip(RECORD, numbers.T, strict=True))
    fields = record.pop("fields")
    there = np.array([m is not None for m in messages], dtype=bool)
    for name in ("framing", "end_reason"):
        labels = pl.Series(FRAMINGS if name == "framing" else END_REASONS, dtype=pl.String)
        columns[f"{side}_{name}"] = labels.gather(pl.Series(record.pop(name)))
    record["has_hole"] = record["has_hole"] == 1
    for name, values in record.items():
        columns[f"{side}_{name}"] = values
    index = pl.Series(fields)
    request = side == "request"
    for name in (*_TEXTS, *(_REQUEST_TEXTS if request else _RESPONSE_TEXTS)):
        columns[f"{side}_{name}"] = table.text(name, index) if bool(there.all()) else _blank(table.text(name, index), there)
    for name in (*_FLAGS, "has_transfer_encoding", *(_REQUEST_FLAGS if request else _RESPONSE_FLAGS)):
        columns[f"{side}_{name}"] = table.values(name, fields) & there
    lines = [m.line if m is not None else ("", "", "") if request else ("", -1, "") for m in messages]
    first, second, third = zip(*lines, strict=True)
    if request:
        columns["request_method"], columns["request_target"], columns["request_version"] = list(first), list(second), list(third)
        return
    columns["response_version"], columns["response_reason"] = list(first), list(third)
    columns["response_status"] = np.array(second, dtype=np.int32)
    for name in _RESPONSE_NUMBERS:
        columns[f"response_{name}"] = np.where(there, table.values(name, fields), -1)


def _blank(text: pl.Series, there: Array) -> pl.Series:
    return text.zip_with(pl.Series(there), pl.Series([""], dtype=pl.String).new_from_index(0, len(text)))


def _persistent(exchange: Exchange) -> bool:
    response = exchange.response
    if response is None:
        return False
    request = exchange.request
    version: str = "" if request is None else request.line[2]  # type: ignore[assignment]
    answered: str = response.line[0]  # type: ignore[assignment]
    return is_persistent(version, None if request is None else request.fields, answered, response.fields)


def _bursts(columns: dict[str, Any], responses: list[Any], bursts: BurstState) -> None:
    n = len(responses)
    columns["response_bursts"] = (columns["response_body_bytes"] > 0).astype(np.int32)
    application, paused = np.zeros(n, dtype=np.int32), np.zeros(n, dtype=np.int64)
    frames: dict[int, list[int]] = {}
    times: dict[int, list[int]] = {}
    if bursts.pauses:
        none = Pauses()
        for i, message in enumerate(responses):
            found = none if message is None else bursts.pauses.pop(message.id, none)
            if found is not none:
                columns["response_bursts"][i], application[i], paused[i] = found.bursts, found.application, found.paused
                frames[i], times[i] = found.frames, found.times
    columns["response_application_pauses"], columns["response_paused"] = application, paused
    columns["response_pause_frames"] = _lists(frames, n, pl.Int64())
    columns["response_pause_times"] = _lists(times, n, pl.Int64())


def _lists(some: dict[int, list[int]], rows: int, inner: pl.DataType) -> pl.Series:
    """A column of lists that are empty but for some rows: Polars makes lists from Python objects one by one, at 10 us each."""
    distinct = pl.Series([[], *some.values()], dtype=pl.List(inner))
    index = np.zeros(rows, dtype=np.int64)
    index[list(some)] = np.arange(1, len(some) + 1)
    return distinct.gather(pl.Series(index))


def _timing(columns: dict[str, Any]) -> None:
    request, response = columns["has_request"], columns["has_response"]
    columns["request_time"] = np.where(request, columns["request_end"] - columns["request_start"], NEVER)
    wait = np.maximum(columns["response_start"] - columns["request_end"], 0)
    columns["server_time"] = np.where(request & response, wait, NEVER)
    columns["response_time"] = np.where(response, columns["response_end"] - columns["response_start"], NEVER)


def _connection(columns: dict[str, Any], said: Said, slot: Array, client: Array, facts: dict[str, Array], clock: int) -> None:
    """The connection as of when nothing more could change the exchange: its close, but nothing later than the patience."""
    server = client ^ 1
    rtt = {"client": facts["side_rtt"][client], "server": facts["side_rtt"][server]}
    patience = np.maximum(SECOND, 2 * (np.maximum(rtt["client"], 0) + np.maximum(rtt["server"], 0)))
    close: dict[str, dict[str, Array]] = {}
    for name, side in (("client", client), ("server", server)):
        fin = facts["side_fin_frame"][side] != NEVER
        close[name] = {
            field: np.where(fin, facts[f"side_fin_{field}"][side], facts[f"side_rst_{field}"][side])
            for field in ("frame", "time", "ack", "offset")
        }
        close[name]["rst"] = np.where(close[name]["frame"] == NEVER, -1, np.where(fin, 0, 1))
    closed = close["server"]["time"]
    following = np.array([x[3] for x in said], dtype=np.int64)
    deadline = np.where(closed == NEVER, NEVER, closed + patience)
    for name in ("client", "server"):
        later = (deadline != NEVER) & (close[name]["time"] > deadline)
        before_next = (following != NEVER) & (close[name]["time"] > following)
        for field, values in close[name].items():
            if name == "server" and field == "offset" or field != "offset":
                columns[f"{name}_close_{field}"] = np.where(later | before_next, -1 if field == "rst" else NEVER, values)
    columns["last"] = (following == NEVER) | ((deadline != NEVER) & (following > deadline))
    columns["handshake"] = facts["side_syn_seen"][client] & facts["side_syn_seen"][server]
    columns["both_directions"] = (facts["side_packets"][client] > 0) & (facts["side_packets"][server] > 0)
    columns["hole_before"] = facts["unseen_places"][slot] > 0
    columns["rtt_client"], columns["rtt_server"] = rtt["client"], rtt["server"]
    columns["at_capture_end"] = np.array([x[2] for x in said], dtype=bool)
    columns["said_at"] = np.full(len(said), clock, dtype=np.int64)

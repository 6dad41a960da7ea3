"""Exchanges that are over, as rows of tables.EXCHANGES."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import polars as pl

from wiredoctor.http.bursts import BurstState
from wiredoctor.http.conversation import Said
from wiredoctor.http.fields import Fields
from wiredoctor.http.framing import is_persistent
from wiredoctor.http.head import RequestLine, StatusLine
from wiredoctor.http.message import ABSENT, RECORD, Exchange, Record
from wiredoctor.scan import Groups
from wiredoctor.tables import END_REASONS, EXCHANGES, FRAMINGS, NEVER, SECOND, Array, Columns

_TEXTS = ("content_type", "content_encoding", "upgrade", "via")
_FLAGS = ("connection_close", "connection_keep_alive", "has_content_length")
_REQUEST_TEXTS, _REQUEST_FLAGS = ("host", "user_agent", "referer"), ("expect_continue", "has_credentials")
_RESPONSE_TEXTS, _RESPONSE_FLAGS = ("server", "auth_scheme", "accel_buffering"), ("auth_token",)
_RESPONSE_NUMBERS = ("keep_alive_timeout", "keep_alive_max")


class FieldTable:
    """The Fields of some messages as columns: each different one once, and which one each message has."""

    def __init__(self, fields: list[Fields | None], none: Fields) -> None:
        different = {f.number: f for f in fields if f is not None} or {none.number: none}
        numbers = np.array(sorted(different), dtype=np.int64)
        self._distinct = [different[n] for n in numbers.tolist()]
        wanted = np.array([numbers[0] if f is None else f.number for f in fields], dtype=np.int64)
        self._index: Array = np.searchsorted(numbers, wanted)
        self._series = pl.Series(self._index)

    def text(self, name: str) -> pl.Series:
        """A text column."""
        return pl.Series(name, [getattr(f, name) for f in self._distinct], dtype=pl.String).gather(self._series)

    def values(self, name: str, dtype: type) -> Array:
        """A flag or number column."""
        distinct: Array = np.array([getattr(f, name) for f in self._distinct], dtype=dtype)
        return distinct[self._index]

    def codings(self) -> Array:
        """Whether a transfer coding other than identity is applied."""
        return np.array([bool(f.transfer_codings) for f in self._distinct], dtype=bool)[self._index]


def exchange_table(
    said: list[Said], facts: dict[str, Array], clock: int, bursts: BurstState, epoch: tuple[Columns, Groups] | None = None
) -> pl.DataFrame:
    """One row per exchange, with the connection's facts as of when it was said. `epoch`: its segments, if it has any."""
    if not said:
        return EXCHANGES.empty()
    columns: dict[str, Any] = {}
    conversations, exchanges, at_end, following, previous_end = zip(*said, strict=True)
    slot = np.array([c.slot for c in conversations], dtype=np.int64)
    columns["connection"] = np.array([c.connection for c in conversations], dtype=np.int64)
    columns["exchange"] = np.array([x.index for x in exchanges], dtype=np.int32)
    columns["has_request"] = np.array([x.request is not ABSENT for x in exchanges], dtype=bool)
    columns["has_response"] = np.array([x.response is not ABSENT for x in exchanges], dtype=bool)
    request_fields, response_fields = [x.request_fields for x in exchanges], [x.response_fields for x in exchanges]
    message_columns(columns, "request", [x.request for x in exchanges], [x.request_line for x in exchanges], request_fields)
    message_columns(columns, "response", [x.response for x in exchanges], [x.response_line for x in exchanges], response_fields)
    interim = {i: x.interim for i, x in enumerate(exchanges) if x.interim}
    columns["interim"] = _lists(interim, len(said), pl.UInt16())
    columns["persistent"] = np.array([_persistent(x) for x in exchanges], dtype=bool)
    columns["upgraded"] = np.array([x.upgraded for x in exchanges], dtype=bool)
    _bursts(columns, bursts)
    _timing(columns)
    client = np.array([c.client for c in conversations], dtype=np.int64)
    columns["at_capture_end"] = np.array(at_end, dtype=bool)
    columns["previous_end"] = np.array(previous_end, dtype=np.int64)
    columns["rtt_client"], columns["rtt_server"] = facts["side_rtt"][2 * slot + client], facts["side_rtt"][2 * slot + 1 - client]
    frame = np.array([f[1] for f in following], dtype=np.int64)
    if epoch is not None:
        ended = np.maximum(columns["request_last_frame"], columns["response_last_frame"])
        _round_trips(columns, np.where(frame == NEVER, NEVER, np.maximum(frame, ended)), slot, client, *epoch)
    start = np.array([f[3] for f in following], dtype=np.int64)
    further = np.array([f[0] & 1 for f in following]) == client
    _connection(columns, (frame, start, further), slot, 2 * slot + client, facts, clock)
    return EXCHANGES.frame(columns)


def _round_trips(columns: dict[str, Any], frame: Array, slot: Array, client: Array, s: Columns, groups: Groups) -> None:
    """Round trips known before these frames, in which exchanges were over: those of the facts may be of later packets."""
    lowest = int(s["frame"].min())
    group = np.minimum(np.searchsorted(s["slot"][groups.first], slot), groups.count - 1)
    place = (groups.number << 34) + s["frame"] - lowest
    row = np.searchsorted(place, (group << 34) + np.clip(frame - lowest, 0, 1 << 33))
    use = (frame != NEVER) & (s["slot"][groups.first[group]] == slot) & (row <= groups.last[group])
    row = row[use]
    own = s["direction"][row] == client[use]
    columns["rtt_client"][use] = np.where(own, s["rtt_own"][row], s["rtt_other"][row])
    columns["rtt_server"][use] = np.where(own, s["rtt_other"][row], s["rtt_own"][row])


def message_columns(
    columns: dict[str, Any], side: str, records: list[Record], lines: list[Any], fields: list[Fields | None]
) -> None:
    """Adds the columns of the messages of one side; ABSENT records are messages that were not captured."""
    flat = np.fromiter(chain.from_iterable(records), np.int64, len(RECORD) * len(records))
    numbers = flat.reshape(-1, len(RECORD))
    there = numbers[:, 0] != NEVER
    whole = bool(there.all())
    for i, name in enumerate(RECORD):
        columns[f"{side}_{name}"] = np.ascontiguousarray(numbers[:, i])
    for name, labels in (("framing", FRAMINGS), ("end_reason", END_REASONS)):
        columns[f"{side}_{name}"] = pl.Series(labels, dtype=pl.String).gather(pl.Series(columns[f"{side}_{name}"]))
    columns[f"{side}_has_hole"] = columns[f"{side}_has_hole"] == 1
    request = side == "request"
    table = FieldTable(fields, Fields(NEVER))
    for name in (*_TEXTS, *(_REQUEST_TEXTS if request else _RESPONSE_TEXTS)):
        columns[f"{side}_{name}"] = table.text(name) if whole else _blank(table.text(name), there)
    for name in (*_FLAGS, *(_REQUEST_FLAGS if request else _RESPONSE_FLAGS)):
        columns[f"{side}_{name}"] = table.values(name, bool) & there
    columns[f"{side}_has_transfer_encoding"] = table.codings() & there
    nothing = RequestLine("", "", "") if request else StatusLine("", -1, "")
    first, second, third = zip(*[nothing if line is None else line for line in lines], strict=True)
    if request:
        columns["request_method"], columns["request_target"], columns["request_version"] = list(first), list(second), list(third)
        return
    columns["response_version"], columns["response_reason"] = list(first), list(third)
    columns["response_status"] = np.array(second, dtype=np.int32)
    for name in _RESPONSE_NUMBERS:
        columns[f"response_{name}"] = np.where(there, table.values(name, int), -1)


def _blank(text: pl.Series, there: Array) -> pl.Series:
    return text.zip_with(pl.Series(there), pl.Series([""], dtype=pl.String).new_from_index(0, len(text)))


def _persistent(exchange: Exchange) -> bool:
    response, answered = exchange.response_fields, exchange.response_line
    if response is None or answered is None:
        return False
    version = "" if exchange.request_line is None else exchange.request_line.version
    return is_persistent(version, exchange.request_fields, answered.version, response)


def _bursts(columns: dict[str, Any], bursts: BurstState) -> None:
    ids = columns["response_message"]
    n = len(ids)
    columns["response_bursts"] = (columns["response_body_bytes"] > 0).astype(np.int32)
    application, paused = np.zeros(n, dtype=np.int32), np.zeros(n, dtype=np.int64)
    frames: dict[int, list[int]] = {}
    times: dict[int, list[int]] = {}
    if bursts.pauses:
        for i in np.flatnonzero(np.isin(ids, list(bursts.pauses))).tolist():
            found = bursts.pauses.pop(int(ids[i]), None)
            if found is not None:
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


def _connection(
    columns: dict[str, Any], following: tuple[Array, Array, Array], slot: Array, client: Array,
    facts: dict[str, Array], clock: int,
) -> None:  # fmt: skip
    """The connection as of when nothing more could change the exchange: its close, but nothing later than the patience.

    `following`: frame and start of the next exchange, and whether that begins with a request.
    """
    frame, start, further = following
    server = client ^ 1
    patience = np.maximum(SECOND, 2 * (np.maximum(columns["rtt_client"], 0) + np.maximum(columns["rtt_server"], 0)))
    close: dict[str, dict[str, Array]] = {}
    for name, side in (("client", client), ("server", server)):
        fin = facts["side_fin_frame"][side] != NEVER
        close[name] = {
            field: np.where(fin, facts[f"side_fin_{field}"][side], facts[f"side_rst_{field}"][side])
            for field in ("frame", "time", "ack", "offset")
        }
        close[name]["rst"] = np.where(close[name]["frame"] == NEVER, -1, np.where(fin, 0, 1))
    closed = close["server"]["time"]
    deadline = np.where(closed == NEVER, NEVER, closed + patience)
    for name in ("client", "server"):
        later = (deadline != NEVER) & (close[name]["time"] > deadline)
        before_next = (frame != NEVER) & (close[name]["frame"] > frame)
        for field, values in close[name].items():
            if (name == "server" and field == "offset") or field != "offset":
                columns[f"{name}_close_{field}"] = np.where(later | before_next, -1 if field == "rst" else NEVER, values)
    goes_on = facts["side_high"][server] > facts["side_fin_offset"][server] + 1
    columns["server_close_contradicted"] = (columns["server_close_rst"] == 0) & goes_on
    # an RST that answers a request from after the deadline is not in time: such a row may be said before it comes
    rst_frame, rst_time = facts["side_rst_frame"][server], facts["side_rst_time"][server]
    of_this = (deadline != NEVER) & (rst_time <= deadline) & ((frame == NEVER) | (rst_frame < frame))
    columns["server_rst_frame"] = np.where(of_this, rst_frame, NEVER)
    columns["server_rst_time"] = np.where(of_this, rst_time, NEVER)
    rst_frame, rst_time = facts["side_rst_frame"][client], facts["side_rst_time"][client]
    of_this = ((deadline == NEVER) | (rst_time <= deadline)) & ((frame == NEVER) | (rst_frame < frame))
    for name in ("frame", "time", "ack"):
        columns[f"client_rst_{name}"] = np.where(of_this, facts[f"side_rst_{name}"][client], NEVER)
    columns["last"] = (start == NEVER) | ~further | ((deadline != NEVER) & (start > deadline))
    columns["handshake"] = facts["side_syn_seen"][client] & facts["side_syn_seen"][server]
    columns["both_directions"] = (facts["side_packets"][client] > 0) & (facts["side_packets"][server] > 0)
    known = np.maximum(columns["request_end"], columns["response_end"])
    for name in ("client_close_time", "server_close_time"):
        known = np.maximum(known, columns[name])
    columns["hole_before"] = (facts["unseen_frame"][slot] != NEVER) & (facts["unseen_time"][slot] <= known)
    over = np.where((deadline != NEVER) & (deadline <= clock), deadline, facts["last_time"][slot])
    over = np.where(start != NEVER, np.maximum(start, known), over)
    columns["said_at"] = np.where(columns["at_capture_end"], clock, over)

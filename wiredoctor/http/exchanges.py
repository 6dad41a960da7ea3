"""Exchanges that are over, as rows of tables.STORED_EXCHANGES.

A row of `exchanges` is final when the response is, a row of `closes` when it is known what followed; both are made here, of the
same Exchange. Of most exchanges both are known in one epoch, so that each of their columns is made once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from wiredoctor.http.arrivals import add_arrivals, lists
from wiredoctor.http.bursts import BurstState
from wiredoctor.http.conversation import FOREVER
from wiredoctor.http.endpoints import endpoint_hash
from wiredoctor.http.framing import NO_BODY, is_persistent
from wiredoctor.http.message import RECORD, Exchange
from wiredoctor.http.rows import Answer, Asked, Coded, Rows
from wiredoctor.scan import Groups
from wiredoctor.tables import (
    AS_OF,
    AT_CLOSE,
    END_REASONS,
    FINISHED_EXCHANGES,
    FRAMINGS,
    NEVER,
    SECOND,
    STORED_EXCHANGES,
    Array,
    Columns,
    finished_exchanges,
)

_TEXTS = ("content_type", "content_encoding", "upgrade", "via")
_FLAGS = ("connection_close", "connection_keep_alive", "has_content_length")
_REQUEST_TEXTS = ("host", "user_agent", "referer", "credentials_scheme")
_REQUEST_FLAGS = ("expect_continue", "has_credentials")
_RESPONSE_TEXTS, _RESPONSE_FLAGS = ("server", "auth_scheme", "accel_buffering"), ("auth_token", "auth_stale")
_PARTS = ("head_last_frame", "head_time", "body_frame", "body_time")
"""Of requests with a body, in the order of message.Parts."""
_RESPONSE_NUMBERS = ("keep_alive_timeout", "keep_alive_max")


class Exchanges(NamedTuple):
    """Rows of tables.FINISHED_EXCHANGES, and of STORED_EXCHANGES for those of which it is known what followed."""

    finished: pl.DataFrame
    followed: pl.DataFrame


def exchange_tables(
    rows: Rows, some: dict[int, Exchange], begins: int, ends: int, facts: dict[str, Array], clock: int, bursts: BurstState,
    epoch: tuple[Columns, Groups] | None = None,
) -> Exchanges:  # fmt: skip
    """Make a row per exchange in each table to which it belongs.

    Of the first `begins` it is not known what follows them, of those from `ends` on `exchanges` has a row already.
    `some`: by row, the exchanges with interim responses or a body in the request, and those whose rows are made at two times.
    `epoch`: its segments, if it has any.
    """
    if not len(rows.slot):
        return Exchanges(FINISHED_EXCHANGES.empty(), STORED_EXCHANGES.empty())
    columns = _columns(rows, some, begins, facts, clock, bursts, epoch)
    for i in range(begins):
        some[i].written = tuple(int(columns[name][i]) for name in AS_OF)
    frame = STORED_EXCHANGES.frame(columns)
    return Exchanges(finished_exchanges(frame.head(ends)), frame.slice(begins))


def _columns(
    rows: Rows, some: dict[int, Exchange], begins: int, facts: dict[str, Array], clock: int, bursts: BurstState,
    epoch: tuple[Columns, Groups] | None,
) -> dict[str, Any]:  # fmt: skip
    n = len(rows.slot)
    columns: dict[str, Any] = {}
    slot, client, following = rows.slot, rows.client, rows.following
    columns["connection"], columns["exchange"] = rows.connection, rows.index.astype(np.int32)
    columns["has_request"], columns["has_response"] = rows.request[:, 0] != NEVER, rows.response[:, 0] != NEVER
    columns["previous_end"], columns["previous_end_offset"] = rows.previous[:, 0].copy(), rows.previous[:, 2].copy()
    columns["previous_close"] = rows.previous[:, 1] == 1
    columns["upgraded"] = rows.upgraded
    columns["endpoint"] = endpoint_hash(2 * slot + 1 - client, facts)
    columns["at_capture_end"] = rows.at_capture_end
    request_columns(columns, rows.request, rows.targets, rows.asked)
    response_columns(columns, rows.response, rows.answered)
    columns["interim"] = lists({i: x.interim for i, x in some.items() if x.interim}, n, pl.UInt16())
    columns["interim_times"] = lists({i: x.interim_times for i, x in some.items() if x.interim_times}, n, pl.Int64())
    parts = np.full((n, len(_PARTS)), NEVER, dtype=np.int64)
    for i, exchange in some.items():
        parts[i] = exchange.parts or NEVER
    columns |= {f"request_{name}": parts[:, k].copy() for k, name in enumerate(_PARTS)}
    columns["persistent"] = _persistent(rows) & ~_cut_head(rows.request) & ~_cut_head(rows.response)
    add_arrivals(columns, bursts, begins)
    _timing(columns)
    frame = following[:, 1]
    ended = np.maximum(np.maximum(columns["request_last_frame"], columns["response_last_frame"]), rows.over)
    at = np.where(frame == NEVER, NEVER, np.maximum(frame, ended))
    if epoch is not None:
        for i in np.flatnonzero(rows.decided != NEVER).tolist():
            at[i] = _frame_behind(int(rows.decided[i]), int(slot[i]), *epoch)
    _round_trips(columns, at, slot, client, facts, epoch)
    further = (following[:, 0] & 1) == client
    _connection(columns, (frame, following[:, 3], further), rows.decided, slot, 2 * slot + client, facts, clock)
    _seen(columns, np.where(at == NEVER, FOREVER, at - (rows.decided != NEVER)), 2 * slot + client, facts)
    columns["hole_before"] = _hole_before(rows, facts, _last_known(columns))
    _as_of_end(columns, rows, ended, some, facts, epoch)
    return columns


def _as_of_end(
    columns: dict[str, Any], rows: Rows, ended: Array, some: dict[int, Exchange], facts: dict[str, Array],
    epoch: tuple[Columns, Groups] | None,
) -> None:  # fmt: skip
    """Put what was known of the connection at the close under names of its own, and in its place what was known in the frame
    in which the exchange `ended`, where it ended by itself."""
    columns |= {f"{AT_CLOSE}{name}": columns[name] for name in AS_OF}
    then: dict[str, Any] = {}
    _round_trips(then, np.where(rows.final, ended, NEVER), rows.slot, rows.client, facts, epoch)
    _seen(then, ended, 2 * rows.slot + rows.client, facts)
    end = np.maximum(columns["request_end"], columns["response_end"])
    then["hole_before"] = _hole_before(rows, facts, end)
    for i, exchange in some.items():
        if exchange.written is not None:
            for name, value in zip(AS_OF, exchange.written, strict=True):
                then[name][i] = value
    for name in AS_OF:
        columns[name] = np.where(rows.final, then[name], columns[name])
    columns["final_at"] = np.where(rows.final, end, columns["said_at"])


def _hole_before(rows: Rows, facts: dict[str, Array], until: Array) -> Array:
    """Whether it was known by these times that bytes of the connection are missing."""
    missing = (facts["unseen_frame"][rows.slot] != NEVER) & (facts["unseen_time"][rows.slot] <= until)
    return missing | ((rows.gap != NEVER) & (rows.gap <= until))


def _cut_head(records: Array) -> Array:
    """Messages of whose head a part is not in the capture: it may say what the rest does not."""
    return (records[:, RECORD.index("has_hole")] == 1) & (records[:, RECORD.index("framing")] == NO_BODY)


def _last_known(columns: dict[str, Any]) -> Array:
    """Time of the last packet of an exchange, its connection's close included."""
    known = np.maximum(columns["request_end"], columns["response_end"])
    for name in ("client_close_time", "server_close_time"):
        known = np.maximum(known, columns[name])
    return known


def _frame_behind(deadline: int, slot: int, s: Columns, groups: Groups) -> int:
    """The first frame of an epoch behind a deadline, of one connection; NEVER where there is none."""
    group = int(np.searchsorted(s["slot"][groups.first], slot))
    if group == groups.count or int(s["slot"][groups.first[group]]) != slot:
        return NEVER
    first, stop = int(groups.first[group]), int(groups.last[group]) + 1
    row = first + int(np.searchsorted(s["clock"][first:stop], deadline, side="right"))
    return int(s["frame"][row]) if row < stop else NEVER


def _round_trips(
    columns: dict[str, Any], frame: Array, slot: Array, client: Array, facts: dict[str, Array],
    epoch: tuple[Columns, Groups] | None,
) -> None:  # fmt: skip
    """Round trips known in these frames, in which exchanges were over: those of the facts may be of later packets."""
    columns["rtt_client"], columns["rtt_server"] = facts["side_rtt"][2 * slot + client], facts["side_rtt"][2 * slot + 1 - client]
    if epoch is None:
        return
    s, groups = epoch
    lowest = int(s["frame"].min())
    group = np.minimum(np.searchsorted(s["slot"][groups.first], slot), groups.count - 1)
    place = (groups.number << 34) + s["frame"] - lowest
    row = np.searchsorted(place, (group << 34) + np.clip(frame - lowest, 0, 1 << 33))
    use = (frame != NEVER) & (s["slot"][groups.first[group]] == slot) & (row <= groups.last[group])
    row = row[use]
    own = s["direction"][row] == client[use]
    columns["rtt_client"][use] = np.where(own, s["rtt_own"][row], s["rtt_other"][row])
    columns["rtt_server"][use] = np.where(own, s["rtt_other"][row], s["rtt_own"][row])


def request_columns(columns: dict[str, Any], records: Array, targets: list[str], asked: Coded[Asked]) -> None:
    """Adds the columns of requests. `records` (n, 16) in the order of RECORD; ABSENT ones were not captured."""
    _message_columns(columns, "request", records, asked)
    columns["request_method"], columns["request_target"] = asked.text(lambda kind: kind[0]), targets
    columns["request_version"] = asked.text(lambda kind: kind[1])
    user = asked.values(_reading("credentials_user", NEVER), np.int64)
    columns["request_credentials_user"] = np.where(records[:, 0] != NEVER, user, NEVER)


def response_columns(columns: dict[str, Any], records: Array, answered: Coded[Answer]) -> None:
    """Adds the columns of responses, likewise."""
    _message_columns(columns, "response", records, answered)
    there = records[:, 0] != NEVER
    for name in _RESPONSE_NUMBERS:
        columns[f"response_{name}"] = np.where(there, answered.values(_reading(name, -1), int), -1)
    columns["response_version"] = answered.text(lambda kind: kind[0].version if kind[0] else "")
    columns["response_reason"] = answered.text(lambda kind: kind[0].reason if kind[0] else "")
    columns["response_status"] = answered.values(lambda kind: kind[0].status if kind[0] else -1, np.int32)


def _message_columns(columns: dict[str, Any], side: str, records: Array, heads: Coded[Any]) -> None:
    there = records[:, 0] != NEVER
    whole = bool(there.all())
    for i, name in enumerate(RECORD):
        columns[f"{side}_{name}"] = np.ascontiguousarray(records[:, i])
    for name, labels in (("framing", FRAMINGS), ("end_reason", END_REASONS)):
        columns[f"{side}_{name}"] = Coded(list(labels), columns[f"{side}_{name}"]).text(str)
    columns[f"{side}_has_hole"] = columns[f"{side}_has_hole"] == 1
    request = side == "request"
    for name in (*_TEXTS, *(_REQUEST_TEXTS if request else _RESPONSE_TEXTS)):
        text = heads.text(_reading(name, ""))
        columns[f"{side}_{name}"] = text if whole else _blank(text, there)
    for name in (*_FLAGS, *(_REQUEST_FLAGS if request else _RESPONSE_FLAGS)):
        columns[f"{side}_{name}"] = heads.values(_reading(name, empty=False), bool) & there
    coded = _reading("transfer_codings", ())
    columns[f"{side}_has_transfer_encoding"] = heads.values(lambda kind: bool(coded(kind)), bool) & there


def _reading(name: str, empty: object) -> Callable[[Any], Any]:
    """What the fields of a head say under a name."""

    def read(kind: tuple[Any, ...]) -> Any:
        return empty if kind[-1] is None else getattr(kind[-1], name)

    return read


def _blank(text: pl.Series, there: Array) -> pl.Series:
    return text.zip_with(pl.Series(there), pl.Series([""], dtype=pl.String).new_from_index(0, len(text)))


def _persistent(rows: Rows) -> Array:
    """RFC 9112 section 9.3; False where there is no response."""
    asked, answered = rows.asked, rows.answered
    pairs, which = np.unique(asked.which * len(answered.kinds) + answered.which, return_inverse=True)
    places: list[tuple[int, int]] = [divmod(pair, len(answered.kinds)) for pair in pairs.tolist()]
    return np.array([_persists(asked.kinds[i], answered.kinds[j]) for i, j in places], dtype=bool)[which]


def _persists(asked: Asked, answered: Answer) -> bool:
    line, fields = answered
    return line is not None and fields is not None and is_persistent(asked[1], asked[2], line.version, fields)


def _timing(columns: dict[str, Any]) -> None:
    request, response = columns["has_request"], columns["has_response"]
    columns["request_time"] = np.where(request, columns["request_end"] - columns["request_start"], NEVER)
    wait = np.maximum(columns["response_start"] - columns["request_end"], 0)
    columns["server_time"] = np.where(request & response, wait, NEVER)
    columns["response_time"] = np.where(response, columns["response_end"] - columns["response_start"], NEVER)


def _seen(columns: dict[str, Any], at: Array, client: Array, facts: dict[str, Array]) -> None:
    """What had been captured of both sides when exchanges were over, in these frames."""
    for column, first in (("handshake", facts["side_syn_frame"]), ("both_directions", facts["side_first_frame"])):
        frames = first[client], first[client ^ 1]
        columns[column] = (np.minimum(*frames) != NEVER) & (np.maximum(*frames) <= at)


def _connection(
    columns: dict[str, Any], following: tuple[Array, Array, Array], decided: Array, slot: Array, client: Array,
    facts: dict[str, Array], clock: int,
) -> None:  # fmt: skip
    """The connection as of when nothing more could change the exchange: its close, but nothing later than the patience.

    `following`: frame and start of the next exchange, and whether that begins with a request. `decided` as in Rows.
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
    known_then = (frame == NEVER) | (close["server"]["frame"] < frame)
    closed = np.where(known_then, close["server"]["time"], NEVER)
    deadline = np.where(closed == NEVER, NEVER, closed + patience)
    last = (start == NEVER) | ~further | ((deadline != NEVER) & (start > deadline))
    # what began when all was over has a deadline of its own: that of the FIN or RST that answered it
    unasked: Array = ~columns["has_request"]
    began: Array = columns["request_start"].copy()
    began[unasked] = columns["response_start"][unasked]
    deadline = np.where((deadline != NEVER) & (began > deadline), decided, deadline)
    for name in ("client", "server"):
        later = (deadline != NEVER) & (close[name]["time"] > deadline)
        before_next = (frame != NEVER) & (close[name]["frame"] > frame)
        for field, values in close[name].items():
            if (name == "server" and field == "offset") or field != "offset":
                columns[f"{name}_close_{field}"] = np.where(later | before_next, -1 if field == "rst" else NEVER, values)
    goes_on = facts["side_high"][server] > facts["side_fin_offset"][server] + 1
    columns["server_close_contradicted"] = (columns["server_close_rst"] == 0) & goes_on
    rst_frame, rst_time = facts["side_rst_frame"][server], facts["side_rst_time"][server]
    of_this = ((deadline == NEVER) | (rst_time <= deadline)) & ((frame == NEVER) | (rst_frame < frame))
    columns["server_rst_frame"] = np.where(of_this, rst_frame, NEVER)
    columns["server_rst_time"] = np.where(of_this, rst_time, NEVER)
    rst_frame, rst_time = facts["side_rst_frame"][client], facts["side_rst_time"][client]
    of_this = ((deadline == NEVER) | (rst_time <= deadline)) & ((frame == NEVER) | (rst_frame < frame))
    for name in ("frame", "time", "ack"):
        columns[f"client_rst_{name}"] = np.where(of_this, facts[f"side_rst_{name}"][client], NEVER)
    columns["last"] = last
    over = np.where((deadline != NEVER) & (deadline <= clock), deadline, facts["last_time"][slot])
    over = np.where(start != NEVER, np.maximum(start, _last_known(columns)), over)
    columns["said_at"] = np.where(columns["at_capture_end"], clock, over)

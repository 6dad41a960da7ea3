"""Plain exchanges as columns: numbered, kept as far as they are plain, and each connection left as if it had been read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from wiredoctor.http.conversation import Conversation
from wiredoctor.http.faults import Behind
from wiredoctor.http.fields import Fields
from wiredoctor.http.framing import LENGTH, NO_BODY, announces_close
from wiredoctor.http.head import RequestLine, StatusLine
from wiredoctor.http.message import COMPLETE, RECORD, Exchange, Record, message_id
from wiredoctor.http.modes import REQUEST
from wiredoctor.http.rows import Answer, Asked, Coded, Rows
from wiredoctor.http.spoken import Previous
from wiredoctor.http.templates import PlainRequest
from wiredoctor.http.walk import Walk
from wiredoctor.tables import NEVER, Array

_LAST, _END, _HEAD = RECORD.index("last_frame"), RECORD.index("end"), RECORD.index("head_bytes")
_OFFSET, _BEHIND = RECORD.index("offset"), RECORD.index("end_offset")

T = TypeVar("T")


@dataclass
class Plain:
    """Plain exchanges that are over, connection by connection; `intervals` (m, 7) as in Spoken."""

    rows: Rows
    intervals: Array


@dataclass
class Run:
    """Exchanges of one connection that may be plain: the first row of both sides, and their place among all pairs."""

    conversation: Conversation
    group: int
    client: int
    begin: int
    stop: int = 0


@dataclass
class Pairs:
    """Requests and responses that may be plain: their rows in the flow, and the row behind each response's body."""

    kinds: list[Asked]
    asked: list[PlainRequest] = field(default_factory=list[PlainRequest])
    answers: list[tuple[StatusLine, Fields]] = field(default_factory=list[tuple[StatusLine, Fields]])
    head_bytes: list[int] = field(default_factory=list[int])
    request: list[int] = field(default_factory=list[int])
    response: list[int] = field(default_factory=list[int])
    behind: list[int] = field(default_factory=list[int])
    runs: list[Run] = field(default_factory=list[Run])


def _distinct(some: Sequence[T]) -> tuple[list[T], Array]:
    """The different objects among some, in the order of their first places, and which of them each is (n,)."""
    places: dict[int, int] = {}
    which = np.array([places.setdefault(id(one), len(places)) for one in some])
    first = np.unique(which, return_index=True)[1]
    return [some[i] for i in first.tolist()], which


def plain_rows(walk: Walk, pairs: Pairs) -> Plain | None:
    """Keeps the pairs of each connection up to the first that is not plain."""
    flow = walk.flow
    request, response, behind = (np.array(rows, dtype=np.int64) for rows in (pairs.request, pairs.response, pairs.behind))
    some, which = _distinct(pairs.answers)
    status = np.array([line.status for line, _ in some])[which]
    length = np.array([NEVER if fields.plain_length is None else fields.plain_length for _, fields in some])[which]
    asked = Coded(pairs.kinds, np.array([kind for kind, _ in pairs.asked]))
    bodiless = (status == 204) | (status == 304) | asked.values(lambda kind: kind[0] == "HEAD", bool)
    body = np.where(bodiless, 0, length)
    head = np.array(pairs.head_bytes, dtype=np.int64)
    last = behind - 1
    plain = (status >= 200) & (body >= 0) & (flow.start[response] + head + body == flow.end[last])
    plain &= (flow.ack[response] > flow.start[request]) & (flow.frame[response] > flow.frame[request])
    begin = np.array([run.begin for run in pairs.runs])
    run = np.repeat(np.arange(len(begin)), [run.stop - run.begin for run in pairs.runs])
    faults = np.cumsum(~plain)
    kept = np.flatnonzero(faults == (faults - ~plain)[begin][run])
    if not len(kept):
        return None
    closes = np.array([announces_close(line.version, fields) for line, fields in some])[which]
    columns = (run, request, response, last, head, body, bodiless, closes)
    answers: Coded[Answer] = Coded(list(some), which)
    chosen = _Chosen(asked, answers, kept, *(column[kept] for column in columns))
    return _settle(walk, pairs, chosen)


@dataclass
class _Chosen:
    """The pairs (p,) that are plain: their place among all pairs, their run, and their rows in the flow."""

    asked: Coded[Asked]
    answered: Coded[Answer]
    pair: Array
    run: Array
    request: Array
    response: Array
    last: Array
    head: Array
    body: Array
    bodiless: Array
    closes: Array

    def records(self, walk: Walk, request_id: Array, response_id: Array) -> tuple[Array, Array]:
        """Requests and responses (p, 16), in the order of RECORD."""
        flow, q, r, last = walk.flow, self.request, self.response, self.last
        size = flow.end[q] - flow.start[q]
        asked = (
            request_id, flow.frame[q], flow.frame[q], flow.time[q], flow.time[q], size, 0, NEVER, NO_BODY, COMPLETE, NEVER,
            0, -1, flow.start[q], flow.end[q], flow.ack[q],
        )  # fmt: skip
        end = flow.time[last]
        answered = (
            response_id, flow.frame[r], flow.frame[last], flow.time[r], end, self.head, self.body,
            np.where(self.bodiless, NEVER, self.body), np.where(self.bodiless, NO_BODY, LENGTH), COMPLETE,
            np.where(self.body > 0, end, NEVER), 0, -1, flow.start[r], flow.end[last], flow.ack[r],
        )  # fmt: skip
        return _table(len(q), asked), _table(len(q), answered)


def _table(rows: int, columns: tuple[Array | int, ...]) -> Array:
    table = np.empty((len(columns), rows), dtype=np.int64)
    for i, column in enumerate(columns):
        table[i] = column
    return table.T


def _settle(walk: Walk, pairs: Pairs, chosen: _Chosen) -> Plain:
    """Numbers what was chosen, and leaves each connection as if its readers had read it."""
    n = len(chosen.run)
    first = np.flatnonzero(np.append(True, chosen.run[1:] != chosen.run[:-1]))
    final = np.append(first[1:], n) - 1
    chosen_runs: list[int] = chosen.run[first].tolist()
    runs = [pairs.runs[i] for i in chosen_runs]
    group = np.repeat(np.arange(len(first)), final - first + 1)
    rank = np.arange(n) - first[group]
    facts = np.array([_facts(run) for run in runs], dtype=np.int64)[group]
    connection, slot, client, index, asked, answered, gap = facts.T
    index = index + rank
    request_id = message_id(connection, asked + rank, client)
    response_id = message_id(connection, answered + rank, 1 - client)
    request, response = chosen.records(walk, request_id, response_id)
    intervals = _intervals(request, response, 2 * slot + client, index)
    ended = np.maximum(request[:, _END], response[:, _END])
    before = _table(n, (ended, chosen.closes, response[:, _BEHIND]))
    previous = np.roll(before, 1, axis=0)
    for run, a, z, asking, answering in zip(
        runs, first.tolist(), final.tolist(), request[first].tolist(), request[final].tolist(), strict=True
    ):
        previous[a] = _hand_over(run, z - a + 1, tuple(asking))
        last = _exchange(pairs, int(chosen.pair[z]), int(index[z]), tuple(answering), tuple(response[z].tolist()))
        run.conversation.open.append(last)
        if z > a:
            end, close, offset = before[z - 1].tolist()
            run.conversation.previous = end, close, offset
        _leave(walk, run, last, z - a + 1, int(chosen.last[z]) + 1)
    # the last one of each connection is said when another follows it
    said = np.flatnonzero(np.isin(np.arange(n), final, invert=True))
    pair = chosen.pair[said]
    places: list[int] = pair.tolist()
    no = np.zeros(len(said), dtype=bool)
    rows = Rows(
        request[said], response[said],
        [pairs.asked[i][1] for i in places], chosen.asked.only(pair), chosen.answered.only(pair),
        slot[said], connection[said], client[said], index[said], request[said + 1, :4], previous[said],
        np.full(len(said), NEVER), gap[said], np.full(len(said), NEVER), ~no, no, no,
    )  # fmt: skip
    return Plain(rows, intervals)


def _facts(run: Run) -> tuple[int, ...]:
    c, client = run.conversation, run.client
    return c.connection, c.slot, client, c.next_index, c.readers[client].count, c.readers[1 - client].count, c.gap


def _intervals(request: Array, response: Array, side: Array, index: Array) -> Array:
    """Where the messages lie, (2 p, 7) as in Spoken."""
    asked = (side, request[:, _OFFSET], request[:, _BEHIND], request[:, _BEHIND], request[:, 0], index, request[:, _LAST])
    head_end = response[:, _OFFSET] + response[:, _HEAD]
    answered = (side ^ 1, response[:, _OFFSET], head_end, response[:, _BEHIND], response[:, 0], index, response[:, _LAST])
    return np.concatenate((_table(len(index), asked), _table(len(index), answered)))


def _hand_over(run: Run, count: int, following: Record) -> Previous:
    """Says the exchange before the plain ones, which the first of these follows; returns what was before that."""
    conversation = run.conversation
    if conversation.client < 0:
        conversation.take_kind(run.client, REQUEST, following[1])
    if conversation.open:
        conversation.say(conversation.open.popleft(), False, following)
    conversation.next_index += count
    return conversation.previous


def _exchange(pairs: Pairs, pair: int, index: int, request: Record, response: Record) -> Exchange:
    kind, target = pairs.asked[pair]
    method, _, fields = pairs.kinds[kind]
    exchange = Exchange(index, RequestLine(method, target, "HTTP/1.1"), fields, request[_OFFSET])
    exchange.response_line, exchange.response_fields = pairs.answers[pair]
    exchange.request, exchange.response = request, response
    exchange.request_done = exchange.response_done = exchange.final = True
    return exchange


def _leave(walk: Walk, run: Run, last: Exchange, count: int, behind: int) -> None:
    """The readers stand behind the last plain exchange; `behind` is the row of the server's flow that comes next."""
    for direction, record in ((run.client, last.request), (1 - run.client, last.response)):
        reader = run.conversation.readers[direction]
        reader.pos = reader.assembler.reached = record[_BEHIND]
        reader.behind, reader.unsure = Behind(last, record[_BEHIND]), False
        reader.count += count
    walk.done[run.client][run.group] += count
    walk.done[1 - run.client][run.group] = behind

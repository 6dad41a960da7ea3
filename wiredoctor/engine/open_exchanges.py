"""Examine connections that are still open: what may change on them, and which of their exchanges are open.

Here, an exchange is open until it has a row in the table `closes`. That row is written once it is known how the connection
continued or closed after the exchange.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator
from itertools import accumulate, count

import polars as pl

from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.http1.message import AT_CAPTURE_END, OFF, SEEK, TLS, Exchange
from wiredoctor.core.http1.reader import Reader
from wiredoctor.core.rows.close_rows import CloseRows
from wiredoctor.core.rows.connection_rows import ConnectionRows
from wiredoctor.core.rows.exchange_rows import ExchangeRows, Extra, HeadCodes
from wiredoctor.core.tcp.connection import Connection, Side
from wiredoctor.core.tcp.segment import FOREVER, NEVER
from wiredoctor.core.tcp.translation import is_second_leg
from wiredoctor.core.tcp.waits import ClosedWindow, Waits, WindowStall
from wiredoctor.engine.frames import exchange_batches, head_part
from wiredoctor.engine.row_tables import connection_batch
from wiredoctor.storage.batches import View
from wiredoctor.tables import CLIENT_COLUMNS, CONNECTIONS, END_REASONS, EXCHANGES, STORED_EXCHANGES

ANSWERED = (
    *("connection", "exchange", "request_method", "request_target", "request_user_agent", "response_status"),
    *("response_server", "request_start", "response_start", "response_end", "response_end_reason"),
    *("request_forwarded_server", "request_forwarded", "response_content_type", "response_offset"),
)
"""The columns of tables.EXCHANGES that findings use to describe an exchange and when it took place."""

_SCHEMA = EXCHANGES.empty().select(ANSWERED).schema
_ASKED_SCHEMA = EXCHANGES.empty().select(CLIENT_COLUMNS).schema


def http_of(connection: Connection) -> Conversation | None:
    """Return the HTTP state of a connection; None if no payload was captured."""
    http = connection.http
    assert http is None or isinstance(http, Conversation)
    return http


def undecided_since(connection: Connection) -> tuple[int, int]:
    """Return the start (ns) of the oldest exchange that is not final, and of the oldest exchange without a response.

    Findings on earlier exchanges cannot change. A time is the constant FOREVER if there is no such exchange. Bytes that cannot be
    parsed yet (an incomplete header section, or bytes after a gap) count as an exchange of both kinds.
    """
    http = http_of(connection)
    if http is None:
        return FOREVER, FOREVER
    lacking = [time for reader in _readers(http) for time in _lacking(http, reader)]
    unfinished = [exchange.began for exchange in _open(http) if not exchange.is_final()]
    unknown = [exchange.began for exchange in _open(http) if not _is_answered(exchange)]
    return min([*lacking, *unfinished], default=FOREVER), min([*lacking, *unknown], default=FOREVER)


def unread_since(connection: Connection, *, from_gateway: bool) -> int:
    """Return the capture time (ns) of the oldest bytes that cannot be parsed yet and may change how earlier exchanges are paired.

    Return the constant FOREVER if there are no such bytes, and -FOREVER if their time is unknown. `from_gateway`: whether the
    client of the connection may be a gateway.

    An incomplete head of a response is ignored, because its exchange is known (see `is_in_response_head`). An incomplete head of
    a request counts only if a gateway may have sent it: a gateway forwards a client's request when the head is complete, not
    earlier.
    """
    http = http_of(connection)
    if http is None:
        return FOREVER
    client = connection.client if http.client < 0 and has_begun(connection) else http.client
    ignored = {1 - client, *(() if from_gateway else (client,))} if client >= 0 else set[int]()
    lacking = (_lacking(http, reader, without_partial=side in ignored) for side, reader in enumerate(_readers(http)))
    return min((time for times in lacking for time in times), default=FOREVER)


def unfinished(connections: Iterable[Connection]) -> list[Connection]:
    """Return the connections that have exchanges that are not over, or bytes that are not parsed."""
    return [one for one in connections if _is_unfinished(one)]


def _is_unfinished(connection: Connection) -> bool:
    http = http_of(connection)
    if http is None or http.queue.oldest is not None:
        return http is not None
    return not connection.closed and undecided_since(connection)[0] != FOREVER


def is_busy(connection: Connection) -> bool:
    """Return whether a connection is unfinished (see `unfinished`), or its attempt to connect has not succeeded yet."""
    return _is_unfinished(connection) or (connection.http is None and bool(_attempted_at(connection)))


def at_endpoints(connections: Iterable[Connection], endpoints: Collection[int]) -> list[Connection]:
    """Return the connections to these servers, which are numbers as in the column `endpoint` of tables.EXCHANGES."""
    return [one for one in connections if (http := http_of(one)) is not None and http.endpoint in endpoints]


def is_in_response_head(connection: Connection) -> bool:
    """Return whether only a part of a response's head was captured so far."""
    http = http_of(connection)
    return http is not None and http.client >= 0 and _readers(http)[1 - http.client].partial is not None


def window_closed_since(connection: Connection) -> int:
    """Return the start (ns) of the earliest stall whose row in an event table is not written yet; FOREVER if there is none.

    A stall has one of two causes: a receive window that is closed or too small, or a segment that was held back until an ACK
    arrived.
    """
    since = [held.start for waits in _waits(connection) if waits.pace is not None for held in waits.pace.held]
    closures: list[ClosedWindow | None] = []
    stalls: list[WindowStall | None] = []
    for waits in _waits(connection):
        closures += [waits.zero_window, waits.short_window]
        stalls.append(waits.window_stall)
    since += [closure.closed_time for closure in closures if closure is not None]
    return min([*since, *(stall.start_time for stall in stalls if stall is not None)], default=FOREVER)


def stalled_since(connection: Connection) -> int:
    """Return the start (ns) of the earliest stall that a later ACK may confirm.

    Return the constant FOREVER if there is no stall of this kind, and the constant NEVER if its start is unknown. The later ACK
    may show that a retransmission ended the stall, or that the held-back segment was a tail loss probe.
    """
    if any(waits.nagle is not None and waits.nagle.probe_frame != NEVER for waits in _waits(connection)):
        return NEVER
    return min((waits.stall.progress_time for waits in _waits(connection) if waits.stall is not None), default=FOREVER)


def syn_repeated_since(connection: Connection) -> int:
    """Return the time (ns) of a first SYN that was repeated and had data or requested ECN; FOREVER for other connections.

    Such a SYN may have been dropped because of these extras (connect-retry), and its data then waited for the repeated SYN.
    """
    handshake = connection.handshake
    if handshake is None or handshake.syns < 2 or not handshake.has_extras:
        return FOREVER
    return handshake.syn_time


def client_is_known(connection: Connection) -> bool:
    """Return whether a SYN or a header section shows which side is the client."""
    http = http_of(connection)
    return has_begun(connection) or (http is not None and http.client >= 0)


def has_begun(connection: Connection) -> bool:
    """Return whether the SYN of a connection was captured, from either side."""
    return connection.first.syn is not None or connection.second.syn is not None


def is_not_http(connection: Connection) -> bool:
    """Return whether a connection probably carries no HTTP: its first bytes were not HTTP, or parsing was given up."""
    http = http_of(connection)
    if http is None or http.queue.next_index:
        return False
    silent = (OFF, TLS, SEEK) if has_begun(connection) and http.client < 0 else (OFF, TLS)
    return all(reader.mode in silent for reader in _readers(http))


def is_over(connection: Connection) -> bool:
    """Return True if a connection is closed, none of its exchanges is open, and the grace period for late packets has passed."""
    http = http_of(connection)
    if not connection.closed or undecided_since(connection)[0] != FOREVER:
        return False
    return http is None or (http.queue.oldest is None and http.deadline == NEVER)


def has_rows(connection: Connection) -> bool:
    """Return whether any exchange of a connection already has a row in the table `closes`."""
    http = http_of(connection)
    return http is not None and http.queue.next_index > sum(1 for _ in _open(http))


def answered_exchanges(connections: Iterable[Connection]) -> pl.DataFrame:
    """Return the open exchanges of these connections whose response has begun (see `_is_answered`), with the columns ANSWERED."""
    rows = [
        _row(http, exchange)
        for connection in connections
        if (http := http_of(connection)) is not None
        for exchange in _open(http)
        if _is_answered(exchange)
    ]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def open_requests(connections: Iterable[Connection]) -> pl.DataFrame:
    """Return the requests of the open exchanges of these connections, with the columns CLIENT_COLUMNS."""
    rows = [
        _request_row(http, exchange)
        for connection in connections
        if (http := http_of(connection)) is not None
        for exchange in _open(http)
        if exchange.request is not None
    ]
    return pl.DataFrame(rows, schema=_ASKED_SCHEMA, orient="row")


def closed_by_client(connections: Iterable[Connection]) -> list[Connection]:
    """Return the connections that have open exchanges and whose client has sent a FIN or RST."""
    return [
        connection
        for connection in connections
        if (http := http_of(connection)) is not None and http.queue.oldest is not None and http.side_of(max(http.client, 0)).close
    ]


class Owing:
    """The open exchanges of some connections, and the attempts to connect that have not succeeded, by server and time."""

    def __init__(self, connections: Iterable[Connection]) -> None:
        self._attempts: list[int] = []
        spans: dict[int, list[tuple[int, int]]] = {}
        for connection in connections:
            http = http_of(connection)
            if http is None:
                self._attempts += _attempted_at(connection)
                continue
            for exchange in _open(http):
                response = exchange.response
                over = FOREVER if response is None or response.start == NEVER else response.start
                spans.setdefault(http.endpoint, []).append((exchange.began, over))
        self._attempts.sort()
        self._of: dict[int, tuple[list[int], list[int]]] = {}
        """For each server the starts of its open exchanges, in order, and by when all up to each of them are answered (ns)."""
        for endpoint, some in spans.items():
            began, over = zip(*sorted(some), strict=True)
            self._of[endpoint] = [*began], [*accumulate(over, max)]

    def asked_between(self, start: int, end: int, of: Connection | None) -> bool:
        """Return whether, between `start` and `end` (ns), another server owed a response or a failed attempt to connect began.

        `of`: a connection; all servers except its own count as other servers. If `of` is None, every server counts. An attempt
        that has not succeeded yet counts as failed.
        """
        if bisect_left(self._attempts, start) < bisect_right(self._attempts, end):
            return True
        mine = None if of is None else http_of(of)
        others = (some for endpoint, some in self._of.items() if mine is None or endpoint != mine.endpoint)
        return any(over[place - 1] >= start for began, over in others if (place := bisect_right(began, end)))


def _attempted_at(connection: Connection) -> list[int]:
    """Return when an attempt to connect began (ns), if it has not succeeded; otherwise nothing."""
    handshake = connection.handshake
    if handshake is None or (handshake.first_answer_frame != NEVER and handshake.refused_frame == NEVER):
        return []
    return [handshake.syn_time]


def rows_as_of(connections: Iterable[Connection], clock: int) -> pl.DataFrame:
    """Return the rows of tables.CONNECTIONS for open connections as if they ended at `clock`."""
    rows = ConnectionRows()
    for connection in connections:
        if not is_second_leg(connection):
            http = http_of(connection)
            rows.write(connection, -1 if http is None else http.client, http, clock)
    return View([connection_batch(rows)], CONNECTIONS).all_columns()


def exchanges_as_of(connections: Iterable[Connection]) -> pl.DataFrame:
    """Return the rows of tables.STORED_EXCHANGES for the open exchanges of connections, as if the capture ended now.

    Exchanges without a request are not included.
    """
    codes = HeadCodes()
    codes.batch = next(_BATCHES)
    undone: list[tuple[bool, bool]] = []
    rows = CloseRows(ExchangeRows(codes))
    extras = rows.exchanges.extras
    for connection in connections:
        http = http_of(connection)
        if http is None or http.queue.oldest is None:
            continue
        client = max(http.client, 0)
        trips = http.side_of(client).rtt, http.side_of(1 - client).rtt
        for exchange in _open(http):
            if exchange.request is not None:
                before = len(extras)
                rows.close(http, exchange, exchange.next, *trips, NEVER, True)
                undone.append((not exchange.request_done, not exchange.response_done))
                if not exchange.is_final():  # the counts of a body are not complete yet
                    extras[before:] = [Extra(None, None, None, None, None, b"", one.stops) for one in extras[before:]]
    _, batch = exchange_batches(rows, head_part(codes.take()))
    if not batch.height:
        return STORED_EXCHANGES.empty()
    is_open = pl.DataFrame(undone, ["request_end_reason", "response_end_reason"], orient="row")
    at_end = pl.lit(END_REASONS[AT_CAPTURE_END])
    ends = [pl.when(is_open[name]).then(at_end).otherwise(name).alias(name) for name in is_open.columns]
    return View([batch], STORED_EXCHANGES).all_columns().with_columns(ends).cast(STORED_EXCHANGES.schema)


_BATCHES = count(-(1 << 62))
"""Values of HeadCodes.batch for `exchanges_as_of`. They are negative, so they differ from the batch numbers of the core."""


def _readers(http: Conversation) -> tuple[Reader, Reader]:
    return http.first, http.second


def _waits(connection: Connection) -> list[Waits]:
    sides: tuple[Side, Side] = (connection.first, connection.second)
    return [side.waits for side in sides if side.waits is not None]


def _open(http: Conversation) -> Iterator[Exchange]:
    """Yield the exchanges of a connection that have no row in the table `closes` yet."""
    exchange = http.queue.oldest
    while exchange is not None:
        yield exchange
        exchange = exchange.next


def _lacking(http: Conversation, reader: Reader, *, without_partial: bool = False) -> Iterator[int]:
    """Yield the capture times (ns) of the bytes that a reader cannot parse yet; `without_partial`: ignore incomplete heads.

    Yield -FOREVER if the reader waits for the other direction of the connection and has not buffered any bytes meanwhile.
    """
    if reader.partial is not None and not without_partial:
        yield reader.partial.time
    stream = http.stream_of(reader.direction)
    if stream.waiting is not None:
        yield stream.waiting.pieces[0].time
    if stream.held:
        yield stream.held[0].time
    elif reader.waits:
        yield -FOREVER


def _is_answered(exchange: Exchange) -> bool:
    """Return True if an exchange is final, or if its request is complete and its response has begun.

    If the request has Expect: 100-continue, the exchange only counts as answered when it is final.
    """
    if exchange.is_final():
        return True
    request, response = exchange.request, exchange.response
    expects = request is not None and request.head.fields.expect_continue
    return exchange.request_done and not expects and response is not None and response.start != NEVER


def _row(http: Conversation, exchange: Exchange) -> tuple[object, ...]:
    request, response = exchange.request, exchange.response
    done = response is not None and exchange.response_done
    return (
        http.number,
        exchange.index,
        request.head.method if request else "",
        request.target.decode("latin-1") if request else "",
        request.head.fields.user_agent if request else "",
        response.head.status if response else None,
        response.head.fields.server if response else "",
        request.start if request else None,
        response.start if response else None,
        response.end_time if response else None,
        END_REASONS[response.reason if response is not None and done else AT_CAPTURE_END],
        request.head.fields.forwarded_server if request else False,
        request.head.fields.forwarded if request else False,
        response.head.fields.content_type if response else "",
        response.offset if response else None,
    )


def _request_row(http: Conversation, exchange: Exchange) -> tuple[object, ...]:
    request, response = exchange.request, exchange.response
    assert request is not None
    fields = request.head.fields
    began = None if response is None or response.start == NEVER else response.start
    done = response if exchange.response_done else None
    return (
        http.number, exchange.index, request.frame, request.start, request.head.method, fields.host,
        request.target.decode("latin-1"), fields.user_agent, fields.forwarded, fields.forwarded_for, fields.navigation,
        None if fields.range_start == NEVER else fields.range_start, fields.event_source, fields.last_event_id,
        request.asks_to_stop(),
        fields.has_credentials, began,
        response.head.status if response else None,
        None if done is None else done.end_time,
        None if done is None else END_REASONS[done.reason],
        None if response is None or response.due == NEVER else response.due,
    )  # fmt: skip

"""Answer how much of each message and of each close had arrived when a side closed or sent a message.

A host acknowledges only what has arrived, so the ACK numbers of its packets show this (RFC 9293 section 3.4). The columns are
computed on demand, and rules read only these answers, because a protocol with several streams on a connection has other evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial, reduce

import numpy as np
import polars as pl

from wiredoctor.core.tcp.origins import BETWEEN
from wiredoctor.core.tcp.segment import FOREVER
from wiredoctor.storage.batches import Batch, Maker, series
from wiredoctor.tables import (
    ALL_DATA,
    AT_THE_CLOSE,
    BEFORE,
    MORE,
    NEVER,
    NONE,
    NOTHING,
    PART_OF_DATA,
    UNANSWERED_PROBES,
    WITH_FIN,
    Array,
)


def _cell(batch: Batch, name: str) -> Array:
    """Return a number for each row of the batch, or a single number if it is the same for all rows."""
    return batch.cells[name].astype(np.int64, copy=False)


def _extent(batch: Batch, ack: str, message: str) -> Array:
    """Return how much of a message had arrived, such as HEAD; NONE if that is unknown.

    `ack`: the cell with the ACK number of the receiver. `message`: "request" or "response".
    """
    taken, start, end = _cell(batch, ack), _cell(batch, f"{message}_offset"), _cell(batch, f"{message}_end_offset")
    head = start + np.maximum(_cell(batch, f"{message}_head_bytes"), 1)
    whole = np.where(end == NEVER, FOREVER, np.maximum(head, end))
    steps = (taken >= start, taken > start, taken >= head, taken >= np.maximum(head, whole - 1), taken >= whole, taken > whole)
    extents: Array = reduce(np.add, [step.astype(np.int8) for step in steps])
    return _or_unknown(extents, taken, start)


def _when_answered(batch: Batch) -> Array:
    """Return how much of the request had arrived when the server responded. Without a captured request, all bytes are MORE."""
    taken, close = _cell(batch, "response_ack"), _cell(batch, "client_close_frame")
    closed = (_cell(batch, "client_close_rst") == 0) & (close != NEVER) & (close < _cell(batch, "response_frame"))
    # a FIN takes a sequence number, too
    unparsed = _or_unknown(np.where(taken > closed, MORE, NOTHING), taken)
    return np.where(batch.cells["request_head"] >= 0, _extent(batch, "response_ack", "request"), unparsed)


def _since_request(batch: Batch) -> Array:
    """Return how much the client's close acknowledges beyond its request: NOTHING, MORE, or BEFORE if it acknowledges less."""
    taken, before = _cell(batch, "client_close_ack"), _cell(batch, "request_ack")
    return _or_unknown(np.select([taken < before, taken == before], [BEFORE, NOTHING], MORE), taken, before)


def _server_end(batch: Batch) -> Array:
    """Return how much the client's close acknowledges of the server's data and FIN; NONE if the server sent no FIN."""
    taken, end = _cell(batch, "client_close_ack"), _cell(batch, "server_close_offset")
    known = _or_unknown(np.select([taken < end, taken == end], [PART_OF_DATA, ALL_DATA], WITH_FIN), taken, end)
    return np.where(_cell(batch, "server_close_rst") == 0, known, NONE)


def _fin_before_request(batch: Batch) -> Array:
    """Return whether the request acknowledges the FIN of the server."""
    taken, end = _cell(batch, "request_ack"), _cell(batch, "server_close_offset")
    return (_cell(batch, "server_close_rst") == 0) & (end != NEVER) & (taken > end)


def _answers(batch: Batch, ack: str) -> Array:
    """Return whether the server's close is an RST without ACK flag that answers the packet with this ACK number.

    Such an RST takes its sequence number from the ACK number of the packet that it answers (RFC 9293 section 3.10.7.1).
    """
    bare = (_cell(batch, "server_close_rst") == 1) & (_cell(batch, "server_close_ack") == NEVER)
    answered = _cell(batch, ack)
    return bare & (answered != NEVER) & (answered == _cell(batch, "server_close_offset"))


def _parsed(batch: Batch) -> Array:
    """Return the offset in the server's stream after all messages up to the end of the exchange; NEVER if it is unknown."""
    # a request in the SYN (RFC 7413) acknowledges nothing
    begin = np.where(_cell(batch, AT_THE_CLOSE.columns["handshake"]) != 0, 0, NEVER)
    before = np.maximum(np.maximum(_cell(batch, "request_ack"), _cell(batch, "previous_end_offset")), begin)
    return np.where(batch.cells["response_head"] >= 0, _cell(batch, "response_end_offset"), before)


def _goes_beyond(batch: Batch, offset: str) -> Array:
    """Return 1 if this offset in the server's stream lies after all messages that were parsed, otherwise 0; NONE if unknown."""
    place, parsed = _cell(batch, offset), _parsed(batch)
    return _or_unknown(place > parsed, place, parsed)


def _goes_on(batch: Batch) -> Array:
    """Return whether the response has bytes beyond the server's close."""
    place = _cell(batch, "server_close_offset")
    return (place != NEVER) & (_cell(batch, "response_end_offset") > place)


def _previous(batch: Batch) -> Array:
    """Return whether the request acknowledges all of the previous response; NONE if there was none."""
    taken, end = _cell(batch, "request_ack"), _cell(batch, "previous_end_offset")
    return _or_unknown(taken >= end, taken, end)


def _closed_first(batch: Batch) -> pl.Series:
    """Return which side closed before it knew of the other's close; "" if neither did, or if that is uncertain.

    ACK numbers decide, not timestamps. RSTs are never acknowledged, so nobody counts as first if the client closed after an RST
    of the server. The server did not close first if a device on the path closed in its name, or if the client or the path was
    already gone, because its keep-alive probes were not answered. A single probe may have been lost.
    """
    server, client = _cell(batch, "server_close_frame"), _cell(batch, "client_close_frame")
    knew, arrived = _server_end(batch) == WITH_FIN, _extent(batch, "server_close_ack", "request")
    forged = _cell(batch, "server_close_contradicted") != 0
    # after a gap, the server may acknowledge a FIN that followed the request but was not captured
    unseen = (_cell(batch, AT_THE_CLOSE.columns["gap_before"]) != 0) & (arrived == MORE)
    gone = _cell(batch, "server_unanswered_probes") >= UNANSWERED_PROBES
    own = ~forged & (_cell(batch, "server_close_origin") != BETWEEN) & ~gone
    by_server = (server != NEVER) & ((client == NEVER) | knew) & ~unseen & own
    against = (arrived != NONE) & (arrived <= NOTHING) & ~forged
    after_rst = (_cell(batch, "server_close_rst") == 1) & (server > NEVER) & (server < client)
    by_client = (client != NEVER) & ~knew & ~against & ~after_rst
    sides = np.where(by_server, 2, np.where(by_client, 1, 0))
    return _SIDES[series(sides.astype(np.uint32))] if len(sides) > 1 else _SIDES.new_from_index(sides.item(), batch.height)


_SIDES = pl.Series(["", "client", "server"])


def _or_unknown(values: Array, *offsets: Array) -> Array:
    """Return the values, but NONE where one of the offsets that they depend on is unknown."""
    unknown = reduce(np.logical_or, (offset == NEVER for offset in offsets))
    return np.where(unknown, NONE, values)


MAKERS: Mapping[str, Maker] = {
    "request_arrived": partial(_extent, ack="server_close_ack", message="request"),
    "request_arrived_at_response": _when_answered,
    "response_arrived": partial(_extent, ack="client_close_ack", message="response"),
    "response_arrived_at_rst": partial(_extent, ack="client_rst_ack", message="response"),
    "arrived_since_request": _since_request,
    "previous_response_arrived": _previous,
    "server_end_arrived": _server_end,
    "server_fin_before_request": _fin_before_request,
    "server_rst_answers_request": partial(_answers, ack="request_ack"),
    "server_rst_answers_close": partial(_answers, ack="client_close_ack"),
    "server_sent_more": partial(_goes_beyond, offset="server_close_offset"),
    "client_received_more": partial(_goes_beyond, offset="client_close_ack"),
    "response_goes_on": _goes_on,
    "closed_first": _closed_first,
}
"""The functions that compute the columns of tables.EXCHANGES about what had arrived, by column name."""

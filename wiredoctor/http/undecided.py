"""What of a conversation may still change, and what of it is answered though it is not said yet."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from wiredoctor.http.conversation import FOREVER, Conversation
from wiredoctor.http.message import AT_CAPTURE_END, Exchange
from wiredoctor.http.modes import OFF, SEEK, TLS
from wiredoctor.http.state import HttpState
from wiredoctor.tables import END_REASONS, EXCHANGES, NEVER

ANSWERED = (
    *("connection", "exchange", "request_method", "request_target", "request_user_agent", "response_status"),
    *("response_server", "request_start", "response_start", "response_end", "response_end_reason"),
)
"""Columns of tables.EXCHANGES: what findings say of an exchange, and when it was."""


def undecided_since(slot: int, state: HttpState) -> tuple[int, int]:
    """The times from which on something may change what is said of a connection: when the first request began whose answer is
    not over, and the first of which it is not even known what the answer is; or when a head began that is not all there, or
    bytes came behind a hole. FOREVER where there is no such."""
    conversation = state.conversations.get(slot)
    if conversation is None:
        return FOREVER, FOREVER
    lacking: list[int] = []
    for reader in conversation.readers:
        lacking += [reader.partial.time] if reader.partial is not None else []
        lacking += [item[3] for item in reader.assembler.waiting[:1]]
        if reader.leftover is not None:
            lacking += reader.leftover.time[:1]
        elif reader.paused:
            lacking.append(0)
    unfinished = [_began(exchange) for exchange in conversation.open if not _is_over(exchange)]
    unknown = [_began(exchange) for exchange in conversation.open if not _is_answered(exchange)]
    return min(lacking + unfinished, default=FOREVER), min(lacking + unknown, default=FOREVER)


def client_is_known(slot: int, state: HttpState) -> bool:
    """Whether a head told who the client is."""
    conversation = state.conversations.get(slot)
    return conversation is not None and conversation.client >= 0


def is_not_http(slot: int, state: HttpState, *, begun: bool) -> bool:
    """Whether no exchange will be read on a connection. `begun`: its beginning was captured; what was no message from there on
    will hardly become one."""
    conversation = state.conversations.get(slot)
    if conversation is None:
        return False
    silent = (OFF, TLS, SEEK) if begun and conversation.client < 0 else (OFF, TLS)
    return all(reader.mode in silent for reader in conversation.readers) and not conversation.next_index


def all_said(slot: int, state: HttpState) -> bool:
    """Whether nothing is open on a connection, nor waits for the time behind a close."""
    conversation = state.conversations.get(slot)
    return slot not in state.deadlines and (conversation is None or not conversation.open)


def has_said(slot: int, state: HttpState) -> bool:
    """Whether rows of its exchanges were told."""
    conversation = state.conversations.get(slot)
    return conversation is not None and conversation.next_index > len(conversation.open)


def answered(slots: Iterable[int], state: HttpState) -> pl.DataFrame:
    """The exchanges of these connections of which it is known what was answered, and that are not said: columns ANSWERED."""
    rows = [
        _row(conversation, exchange)
        for slot in slots
        if (conversation := state.conversations.get(slot)) is not None
        for exchange in conversation.open
        if _is_answered(exchange)
    ]
    schema = {name: EXCHANGES.schema[name] for name in ANSWERED}
    return pl.DataFrame(rows, schema=schema, orient="row")


def oldest_place(state: HttpState) -> int:
    """The first place (as in packets.payload) of bytes that wait for others, or of a head that is not all there; FOREVER
    without such."""
    places: list[int] = []
    for conversation in state.conversations.values():
        for reader in conversation.readers:
            places += [at for _, _, at, *_ in reader.assembler.waiting]
            places += reader.partial.places if reader.partial is not None else ()
            places += reader.leftover.at if reader.leftover is not None else ()
    return min((at for at in places if at >= 0), default=FOREVER)


def _is_over(exchange: Exchange) -> bool:
    return exchange.final or (exchange.response_done and _is_answered(exchange))


def _is_answered(exchange: Exchange) -> bool:
    """The request is over, and its answer has begun; where a 100 was waited for, only the whole exchange tells of that."""
    if exchange.final:
        return True
    fields = exchange.request_fields
    asked = exchange.request_done and not (fields is not None and fields.expect_continue)
    return asked and exchange.response_line is not None and exchange.response[3] != NEVER


def _began(exchange: Exchange) -> int:
    begun = exchange.first()[3]
    return 0 if begun == NEVER else begun


def _row(conversation: Conversation, exchange: Exchange) -> tuple[object, ...]:
    request, response = exchange.request, exchange.response
    asked, fields, said = exchange.request_line, exchange.request_fields, exchange.response_fields
    return (
        conversation.connection,
        exchange.index,
        asked.method if asked else "",
        asked.target if asked else "",
        fields.user_agent if fields else "",
        exchange.response_line.status if exchange.response_line else None,
        said.server if said else "",
        None if request[3] == NEVER else request[3],
        None if response[3] == NEVER else response[3],
        None if response[4] == NEVER else response[4],
        END_REASONS[response[9] if exchange.response_done else AT_CAPTURE_END],
    )

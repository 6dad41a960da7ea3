"""What of a conversation may still change, and what of it is answered though it is not said yet."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from wiredoctor.http.conversation import FOREVER, Conversation
from wiredoctor.http.message import COMPLETE, Exchange
from wiredoctor.http.modes import OFF, SEEK, TLS
from wiredoctor.http.state import HttpState
from wiredoctor.tables import END_REASONS, EXCHANGES, NEVER

ANSWERED = (
    *("connection", "exchange", "request_method", "request_target", "request_user_agent", "response_status"),
    *("response_server", "request_start", "response_start", "response_end", "response_end_reason"),
)
"""Columns of tables.EXCHANGES: what findings say of an exchange, and when it was."""


def undecided_since(slot: int, state: HttpState) -> int:
    """The time from which on something may change what is said of a connection: when the first request began that is not
    answered, or a head that is not all there, or when bytes came behind a hole. FOREVER where there is no such."""
    conversation = state.conversations.get(slot)
    if conversation is None:
        return FOREVER
    times = [_began(exchange) for exchange in conversation.open if _may_change(exchange)]
    for reader in conversation.readers:
        times += [reader.partial.time] if reader.partial is not None else []
        times += [item[3] for item in reader.assembler.waiting[:1]]
        if reader.leftover is not None:
            times += reader.leftover.time[:1]
        elif reader.paused:
            times.append(0)
    return min(times, default=FOREVER)


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
    """The exchanges of these connections that are answered and wait to be said: columns ANSWERED."""
    rows = [
        _row(conversation, exchange)
        for slot in slots
        if (conversation := state.conversations.get(slot)) is not None
        for exchange in conversation.open
        if not _may_change(exchange)
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


def _may_change(exchange: Exchange) -> bool:
    """Not answered; or the answer may have been waited for with a 100, of which only the whole exchange tells."""
    expects = exchange.request_fields is not None and exchange.request_fields.expect_continue
    return not (exchange.request_done and exchange.response_done) or expects


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
        END_REASONS[response[9] if exchange.response_done else COMPLETE],
    )

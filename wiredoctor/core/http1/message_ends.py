"""End messages: record how a message ended, and what follows for its exchange and for the protocol of the connection."""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.http1 import faults, recognition, transfers
from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.http1.message import COMPLETE, ERROR, HEAD, REQUEST, TUNNEL, Exchange, Interim, Message
from wiredoctor.core.http1.reader import Reader


def finish(conversation: Conversation, reader: Reader, reason: i64) -> None:
    """End the current message with the end reason `reason`, which may be COMPLETE. This is called once for every message."""
    message = reader.message
    exchange = reader.exchange
    if message is None or exchange is None:
        return
    message.reason = reason
    message.end = reader.pos
    message.end_offset = reader.pos + reader.beyond
    if reason != COMPLETE and message.head.status == 206:
        faults.check_range(conversation, reader, message, exchange)
    if reader.content is not None:
        faults.check_content_end(conversation, reader, message, exchange)
    elif message.pieces is not None:
        faults.check_members(conversation, reader, message, exchange)
    reader.message = None
    reader.exchange = None
    reader.mode = HEAD
    reader.partial = None
    reader.previous = exchange
    reader.previous_end = reader.pos
    reader.previous_interim = message if message.head.is_interim() and exchange.response is not message else None
    end_message(conversation, reader, exchange, message)


def end_message(conversation: Conversation, reader: Reader, exchange: Exchange, message: Message) -> None:
    """Update the exchange of a message that has ended, and write the rows about the message."""
    queue = conversation.queue
    if conversation.http.messages is not None:
        conversation.http.messages.write(conversation, message)
    if message.transfer is not None:
        transfers.write(
            conversation.http.transfers,
            conversation.connection,
            message,
            reader.direction,
            conversation.http.cutoffs.min_transfer,
        )
    if reader.kind == REQUEST:
        exchange.request_done = True
        if not exchange.response_done:
            queue.outstanding += 1
        if exchange.upgraded:
            conversation.switch_off(reader)
        elif message.head.switches and not conversation.is_forced and not exchange.response_done:
            reader.waits = True
    elif exchange.response is not message:
        interim = exchange.interim
        if interim is None:
            interim = exchange.interim = Interim(message)
        interim.newest = message
        if len(interim.statuses) < limits.INTERIM.value:
            interim.statuses.append(message.head.status)
            interim.times.append(message.start)
        else:
            conversation.http.met.add(limits.INTERIM)
    else:
        exchange.response_done = True
        if reader.empty_line is not None and message.reason == COMPLETE:
            faults.note_response(reader.empty_line, exchange, message)
        if exchange.request_done and exchange.request is not None:
            queue.outstanding -= 1
        end_response(conversation, exchange, message)


def end_response(conversation: Conversation, exchange: Exchange, message: Message) -> None:
    """Handle the end of a final response. The connection may change its protocol, or a waiting client may continue."""
    asking = conversation.reader_of(conversation.client)
    request = exchange.request
    if message.framing == TUNNEL or (message.head.status == 101 and (request is None or request.head.switches)):
        exchange.upgraded = True
        if request is None:
            # without the request, it is unknown where the new protocol begins, so read the client's bytes while they are HTTP
            conversation.switch_off(conversation.reader_of(1 - conversation.client))
            return
        if asking.message is not None and asking.exchange is not exchange:
            finish(conversation, asking, ERROR)
        conversation.stop(exchange)
        if message.framing == TUNNEL:
            recognition.expect_tls(conversation)
    elif asking.waits and conversation.queue.waiting is None:
        asking.waits = False

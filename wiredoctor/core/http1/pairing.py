"""Pair the requests and responses of a connection in the order of HTTP/1.

A response answers the oldest unanswered request that the server had received when it sent the response (`begin_response`). If
messages may be missing, the ACK numbers of request and response decide, or the pair is marked as assumed (`find_request`).
"""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor.core.http1 import faults
from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.http1.exchange_queue import ExchangeQueue
from wiredoctor.core.http1.heads import Head, HeadReader
from wiredoctor.core.http1.message import COMPLETE, OFF, Exchange, Message, message_id
from wiredoctor.core.http1.partial import Partial
from wiredoctor.core.http1.reader import Reader
from wiredoctor.core.http1.stream import GRACE_PERIOD
from wiredoctor.core.tcp.segment import NEVER


def begin_request(conversation: Conversation, reader: Reader, message: Message) -> Exchange:
    """Return the exchange of a request whose head is complete.

    It is a new exchange, unless the server already responded to the incomplete head.
    """
    announced = reader.announced
    if announced is not None:
        announced.request = message
        reader.announced = None
        return announced
    return add_request(conversation, reader, message, conversation.rtt_own, conversation.rtt_peer)


def add_request(conversation: Conversation, reader: Reader, message: Message, rtt_own: i64, rtt_peer: i64) -> Exchange:
    """Create the exchange of a request, and record the facts that `find_request` uses."""
    queue = conversation.queue
    exchange = queue.add_exchange(message, rtt_own, rtt_peer)
    exchange.follows_gap = reader.is_lost
    reader.is_lost = False
    if conversation.peer_of(reader).empty_line is not None:
        faults.settle_empty_line(conversation, conversation.peer_of(reader), False)
    before = None if reader.previous is None else reader.previous.request
    exchange.is_next = before is None or before.ack < message.ack
    asked = queue.waiting
    if asked is not None and asked.request is not None and asked.request.ack < message.ack:
        server = conversation.peer_of(reader)
        # all bytes that the client had received were read, so an earlier request has no response yet
        if message.ack <= server.pos + server.beyond and not server.is_lost:
            queue.is_sliding = True
    queue.append_waiting(exchange)
    return exchange


def announce(conversation: Conversation, reader: Reader, ack: i64) -> None:
    """Begin the exchange of a request with an incomplete head if the server already responds to it, for example with 408.

    `ack`: the acknowledgment number of the response, as a stream offset.
    """
    partial = reader.partial
    if partial is None or not partial.has_line or reader.announced is not None or partial.wire_offset >= ack:
        return
    line, newline, _ = partial.join().partition(b"\n")
    head = conversation.http.heads.parse(line + newline, False)
    if head is None:
        return
    message = message_of(
        conversation.http.heads,
        partial,
        head,
        conversation.http.heads.target,
        message_id(conversation.number, reader.count, reader.direction),
    )
    reader.announced = add_request(conversation, reader, message, partial.rtt_own, partial.rtt_peer)


def message_of(heads: HeadReader, partial: Partial, head: Head, target: bytes, number: i64) -> Message:
    """Return a message for an incomplete head. `number`: the id of the message."""
    message = Message(number, head, target, heads.length)
    message.request_id = heads.request_id
    message.begin, message.offset, message.ack = partial.offset, partial.wire_offset, partial.ack
    message.frame = message.last_frame = partial.frame
    message.start = message.end_time = partial.time
    return message


def begin_response(conversation: Conversation, message: Message) -> Exchange:
    """Return the exchange of a response that begins; a new exchange if its request was not captured."""
    queue = conversation.queue
    ack = message.ack
    client, server = conversation.reader_of(conversation.client), conversation.reader_of(1 - conversation.client)
    faults.report_held_faults(conversation)
    conversation.is_doubtful = False
    exchange = queue.waiting
    if exchange is None or not exchange.has_seen(ack):
        announce(conversation, client, ack)
        exchange = queue.waiting
    if server.previous is None and conversation.side_of(server.direction).syn is None:
        # the capture may begin after earlier responses and after the waiting request
        server.is_lost = True
    if server.is_lost or (exchange is not None and exchange.follows_gap):
        following = None if exchange is None else exchange.next_waiting
        faults.settle_answer(conversation, server, exchange, following is not None and following.has_seen(ack))
        exchange = find_request(queue, client, server, message)
    if exchange is None or not exchange.has_seen(ack):
        later = queue.waiting
        exchange = queue.add_exchange(message, conversation.rtt_own, conversation.rtt_peer)
        queue.prepend_waiting(exchange)
        if client.is_lost or client.pos + client.beyond + 1 < ack or (later is not None and later.follows_gap):
            # the request was not captured, or is read later; without its method the end of the response is not certain
            server.is_lost = True
    if not message.head.is_interim():
        exchange.response = message
        queue.take_waiting()
    return exchange


def find_request(queue: ExchangeQueue, client: Reader, server: Reader, message: Message) -> Exchange | None:
    """Find the request of a response if messages may be missing. Return its exchange, or None if the request is missing.

    The server must have received the request before it sent the response (`message.ack`). The client must have sent the
    request before it received the response (`request.ack`). The match is certain if all earlier requests had been answered
    when the request was sent (`is_fresh`), and the response begins at the request's ACK number, so no response in between is
    missing. The exchange becomes the first in the list of waiting exchanges.
    """
    ack, offset = message.ack, message.offset
    newest: Exchange | None = None
    found: Exchange | None = None
    exchange = queue.waiting
    while exchange is not None and exchange.has_seen(ack) and exchange.is_asked_by(offset):
        newest = exchange
        if is_fresh(queue, exchange, server):
            found = exchange
        exchange = exchange.next_waiting
    if newest is None:
        return None
    request = None if found is None else found.request
    is_certain = request is not None and request.ack == offset
    if not is_certain:
        found = newest if server.is_lost else queue.waiting
        if server.is_lost and answers_missing(newest, client, ack):
            queue.pass_over(newest.next_waiting, message.last_frame)
            return None
    queue.pass_over(found, message.last_frame)
    server.is_lost = not is_certain
    if found is not None:
        found.is_assumed = not is_certain and found.request is not None
        if is_certain:
            # the final response after a 1xx answers the same request, but does not begin at its ACK number
            found.follows_gap = False
    return found


def is_fresh(queue: ExchangeQueue, exchange: Exchange, server: Reader) -> bool:
    """Return whether all earlier requests had been answered when the request of this exchange was sent.

    A client is assumed to send a request, or a pipeline of requests, only after it has received all responses, unless it is
    known to do otherwise. After a gap in the client's stream, a response must confirm this: the server sent that response
    after receiving the bytes of the gap, and the client received that response before it sent the request.
    """
    request = exchange.request
    if request is None or queue.is_sliding:
        return False
    if not exchange.follows_gap:
        return exchange.is_next
    before = None if server.previous is None else server.previous.response
    return before is not None and before.ack >= request.offset and before.offset < request.ack


def answers_missing(newest: Exchange, client: Reader, ack: i64) -> bool:
    """Return whether a response answers a request that was not captured and that followed the newest captured request.

    The response must acknowledge more bytes than the captured request, and some of these additional bytes must be missing.
    """
    request, following = newest.request, newest.next_waiting
    if request is None or request.reason != COMPLETE or request.end_offset == NEVER or ack <= request.end_offset + 1:
        return False
    return client.is_lost or client.pos + client.beyond + 1 < ack or (following is not None and following.follows_gap)


def may_answer(conversation: Conversation, ack: i64, time: i64) -> bool:
    """Return whether a response with this ACK number, captured at `time`, can be read now.

    This is possible if the server had received the first waiting request and no earlier request can be missing. Otherwise,
    the bytes that the response acknowledges must have been read, or skipped after the grace period. Until then, the request
    of the response may still be captured late.
    """
    if conversation.is_forced or ack == NEVER:
        return True
    waiting = conversation.queue.waiting
    asking = conversation.reader_of(conversation.client)
    if waiting is not None and waiting.has_seen(ack) and not (waiting.follows_gap or conversation.peer_of(asking).is_lost):
        return True
    reached = conversation.reached_offset(conversation.client)
    if reached == NEVER:
        return True
    if conversation.clock - time >= GRACE_PERIOD:
        return not conversation.stream_of(conversation.client).has_before(ack)
    if conversation.stream_of(conversation.client).held is not None and asking.pos + asking.beyond < ack:
        return False
    # a FIN adds one to the ACK number
    return asking.mode == OFF or ack <= reached + 1

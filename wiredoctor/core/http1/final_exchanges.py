"""Decide when an exchange is final, and write its rows.

An exchange is final when both its messages have ended. Its row in the table `closes` follows when the next exchange begins, or
some time after the connection was closed.
"""

from __future__ import annotations

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.http1.bursts import settle_pauses
from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.http1.exchange_queue import CLOSE, CLOSE_OF_REJECTION, NO_CLOSE, REQUESTED_CLOSE
from wiredoctor.core.http1.heads import Head
from wiredoctor.core.http1.message import UNTIL_CLOSE, Exchange
from wiredoctor.core.rows.exchange_rows import find_known
from wiredoctor.core.tcp import clocks
from wiredoctor.core.tcp.segment import NEVER, Segment


def write_finished(conversation: Conversation, segment: Segment) -> None:
    """Write the rows of `exchanges` that this segment made final, and the rows of `closes` for exchanges that another
    exchange follows.
    """
    queue = conversation.queue
    oldest, exchange = queue.oldest, queue.unwritten
    is_final = exchange is not None and exchange.is_final()
    if oldest is None or not (is_final or (oldest is not exchange and oldest.next is not None)):
        return
    is_client = segment.direction == conversation.client
    rtt_client = segment.rtt_own if is_client else segment.rtt_peer
    rtt_server = segment.rtt_peer if is_client else segment.rtt_own
    write_final(conversation, rtt_client, rtt_server)
    write_closes(conversation, rtt_client, rtt_server, False)


def write_final(conversation: Conversation, rtt_client: i64, rtt_server: i64) -> None:
    """Write the rows of `exchanges`, in order, up to the first exchange that is not final. The round trips are in ns."""
    queue = conversation.queue
    exchange = queue.unwritten
    while exchange is not None and exchange.is_final():
        write_exchange(conversation, exchange, exchange.last_frame(), rtt_client, rtt_server)
        exchange = exchange.next
    queue.unwritten = exchange


def write_closes(conversation: Conversation, rtt_client: i64, rtt_server: i64, with_last: bool) -> None:
    """Write the rows of `closes` for exchanges that have a row of `exchanges` and are followed by another exchange.

    `with_last`: also write the row for the last exchange. The round trips are in ns.
    """
    queue = conversation.queue
    exchange = queue.oldest
    while exchange is not None and exchange is not queue.unwritten:
        following = exchange.next
        if following is None and not with_last:
            return
        if following is not None and following.began_frame >= exchange.last_frame():
            client, server = following.rtt_client, following.rtt_server
        else:
            client, server = rtt_client, rtt_server
        conversation.http.closes.close(conversation, exchange, following, client, server, NEVER, False)
        queue.drop(exchange)
        exchange = following


def write_exchange(conversation: Conversation, exchange: Exchange, frame: i64, rtt_client: i64, rtt_server: i64) -> None:
    """Write a row of `exchanges`, and keep the facts that the next row refers to.

    `frame`: the frame number of the last packet of the exchange. The round trips are in ns.
    """
    queue = conversation.queue
    exchange.previous_end = queue.previous_end
    exchange.previous_end_offset = queue.previous_end_offset
    request, announced = exchange.request, queue.previous_close
    # if a response rejected bytes before the first request, its announced close does not affect this request
    is_unaffected = announced == CLOSE_OF_REJECTION and request is not None and request.offset > 0
    if announced == REQUESTED_CLOSE:
        # the server may close after a response to such a request; only a request sent before that response cannot know it
        is_unaffected = request is None or queue.previous_end_offset == NEVER or request.ack >= queue.previous_end_offset
    exchange.previous_close = announced != NO_CLOSE and not is_unaffected
    over = exchange.last_time()
    exchange.known = find_known(conversation, frame, over)
    exchange.known_rtt_client, exchange.known_rtt_server = rtt_client, rtt_server
    exchange.final_at = over
    response = exchange.response
    if response is not None and response.pieces is not None:
        tick = clocks.unit_of(conversation.side_of(1 - conversation.client))
        response.pieces.count_lumps(conversation.http.cutoffs.min_held_events, tick, over=True)
    if response is not None and response.pauses is not None:
        settle_pauses(response.pauses, conversation.side_of(1 - conversation.client))
    conversation.http.exchanges.write(conversation, exchange)
    if response is None:
        queue.previous_end = max(queue.previous_end, over)
        return
    queue.previous_end = over
    queue.previous_close = NO_CLOSE
    if response.head.announces_close or response.framing == UNTIL_CLOSE:
        rejects = exchange.request is None and exchange.index == 0 and conversation.side_of(conversation.client).syn is not None
        queue.previous_close = CLOSE_OF_REJECTION if rejects else CLOSE
    elif request is not None and asks_for_close(request.head):
        queue.previous_close = REQUESTED_CLOSE
    queue.previous_end_offset = response.end_offset


def asks_for_close(head: Head) -> bool:
    """Return whether a request head asks the server to close after the response (RFC 9112 section 9.3)."""
    return head.fields.connection_close or (head.is_http10 and not head.fields.connection_keep_alive)


def has_too_many_requests(conversation: Conversation) -> bool:
    """Return whether the number of requests that wait for a response exceeds the limit."""
    return conversation.queue.unanswered > conversation.http.most_requests


def stop_reading(conversation: Conversation, last: Exchange) -> None:
    """Stop reading the connection after the request head of exchange `last`: too many requests wait for a response."""
    queue = conversation.queue
    conversation.http.met.add(limits.PIPELINED)
    conversation.stop(None)
    queue.next_index = last.index + 1
    queue.waiting = queue.last_waiting = None
    queue.unanswered = 0
    exchange = queue.oldest
    while exchange is not None:
        if exchange.request is None:
            exchange.settle_for_interim()
        elif not exchange.response_done:
            exchange.leave_unanswered()
        exchange.request_done = exchange.response_done = True
        exchange = exchange.next
    write_final(conversation, last.rtt_client, last.rtt_server)
    write_closes(conversation, last.rtt_client, last.rtt_server, True)

"""Pair the requests and responses of a connection in the order of HTTP/1, and decide when an exchange is final.

A response answers the oldest unanswered request that the server had received when it sent the response (`begin_response`). If
messages may be missing, the ACK numbers of request and response decide, or the pair is marked as assumed (`find_request`). An
exchange is final when both its messages have ended. Its row in the table `closes` follows when the next exchange begins, or some
time after the connection was closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor import limits
from wiredoctor.core import clocks, faults, incomplete_heads, transfers
from wiredoctor.core.bursts import settle_pauses
from wiredoctor.core.exchange_rows import find_known
from wiredoctor.core.http1 import Reader
from wiredoctor.core.message import COMPLETE, ERROR, OFF, REQUEST, TUNNEL, UNTIL_CLOSE, Exchange, Interim, Message
from wiredoctor.core.segment import NEVER, Segment
from wiredoctor.core.stream import GRACE_PERIOD

if TYPE_CHECKING:
    from wiredoctor.core.conversation import Conversation

NO_CLOSE: Final = 0
CLOSE: Final = 1
CLOSE_OF_REJECTION: Final = 2
"""A value of Pairing.previous_close: the first response announced the close, and no request was found before it.

The other values: the response announced no close (NO_CLOSE), or any other response announced the close (CLOSE).
"""


@mypyc_attr(acyclic=True)
class Pairing:
    """The exchanges of one connection, whose responses come in the order of their requests (RFC 9112 section 9.3.2)."""

    def __init__(self, owner: Conversation | None) -> None:
        self.owner: Conversation | None = owner
        self.oldest: Exchange | None = None
        """The first exchange without a row of `closes`. Its `next` leads to the later exchanges."""
        self.newest: Exchange | None = None
        self.unwritten: Exchange | None = None
        """The first exchange without a row of `exchanges`."""
        self.waiting: Exchange | None = None
        """The first exchange without a final response."""
        self.last_waiting: Exchange | None = None
        """The last exchange without a final response."""
        self.is_sliding: bool = False
        """True if the client sent a request after some, but not all, responses to earlier requests."""
        self.next_index: i64 = 0
        self.previous_close: i64 = NO_CLOSE
        """What the newest response in the table `exchanges` announced: NO_CLOSE, CLOSE or CLOSE_OF_REJECTION."""
        self.previous_end: i64 = NEVER
        """The time at which all exchanges that are already in the table `exchanges` had ended."""
        self.previous_end_offset: i64 = NEVER
        """The offset in the server's stream at which the newest response in the table `exchanges` ended."""
        self.unanswered: i64 = 0
        """The number of exchanges without a final response. The first of them is `waiting`."""
        self.outstanding: i64 = 0
        """The number of requests that have ended while their responses have not."""

    def conversation(self) -> Conversation:
        """Return the HTTP state of the connection."""
        owner = self.owner
        assert owner is not None
        return owner

    def add_exchange(self, message: Message, rtt_own: i64, rtt_peer: i64) -> Exchange:
        """Return a new exchange that begins with this message, a request or a response.

        `rtt_own`, `rtt_peer`: the round trips (ns) to the message's sender and receiver.
        """
        exchange = Exchange(self.next_index)
        self.next_index += 1
        exchange.began_frame, exchange.began = message.frame, message.start
        if message.head.status < 0:
            exchange.request = message
            exchange.rtt_client, exchange.rtt_server = rtt_own, rtt_peer
        else:
            exchange.request_done = True
            exchange.rtt_client, exchange.rtt_server = rtt_peer, rtt_own
        if self.newest is None:
            self.oldest = exchange
        else:
            self.newest.next = exchange
        self.newest = exchange
        if self.unwritten is None:
            self.unwritten = exchange
        return exchange

    def append_waiting(self, exchange: Exchange) -> None:
        """Append an exchange to the list of exchanges that wait for a response."""
        last = self.last_waiting
        if last is None:
            self.waiting = exchange
        else:
            last.next_waiting = exchange
        self.last_waiting = exchange
        self.unanswered += 1

    def prepend_waiting(self, exchange: Exchange) -> None:
        """Insert an exchange at the beginning of the list of exchanges that wait for a response."""
        exchange.next_waiting = self.waiting
        self.waiting = exchange
        if self.last_waiting is None:
            self.last_waiting = exchange
        self.unanswered += 1

    def take_waiting(self) -> None:
        """Remove the first exchange from the list of exchanges that wait for a response."""
        exchange = self.waiting
        if exchange is not None:
            self.waiting = exchange.next_waiting
            exchange.next_waiting = None
            if self.waiting is None:
                self.last_waiting = None
            self.unanswered -= 1

    def has_too_many_requests(self) -> bool:
        """Return whether the number of requests that wait for a response exceeds the limit."""
        conversation = self.conversation()
        return self.unanswered > conversation.http.most_requests

    def begin_request(self, reader: Reader, message: Message) -> Exchange:
        """Return the exchange of a request whose head is complete.

        It is a new exchange, unless the server already responded to the incomplete head.
        """
        conversation = self.conversation()
        announced = reader.announced
        if announced is not None:
            announced.request = message
            reader.announced = None
            return announced
        return self.add_request(reader, message, conversation.rtt_own, conversation.rtt_peer)

    def add_request(self, reader: Reader, message: Message, rtt_own: i64, rtt_peer: i64) -> Exchange:
        """Create the exchange of a request, and record the facts that `find_request` uses."""
        conversation = self.conversation()
        exchange = self.add_exchange(message, rtt_own, rtt_peer)
        exchange.follows_gap = reader.is_lost
        reader.is_lost = False
        before = None if reader.previous is None else reader.previous.request
        exchange.is_next = before is None or before.ack < message.ack
        asked = self.waiting
        if asked is not None and asked.request is not None and asked.request.ack < message.ack:
            server = conversation.peer_of(reader)
            # all bytes that the client had received were read, so an earlier request has no response yet
            if message.ack <= server.pos + server.beyond and not server.is_lost:
                self.is_sliding = True
        self.append_waiting(exchange)
        return exchange

    def begin_response(self, message: Message) -> Exchange:
        """Return the exchange of a response that begins; a new exchange if its request was not captured."""
        conversation = self.conversation()
        ack = message.ack
        client, server = conversation.reader_of(conversation.client), conversation.reader_of(1 - conversation.client)
        conversation.report_held_faults()
        conversation.is_doubtful = False
        exchange = self.waiting
        if exchange is None or not exchange.has_seen(ack):
            incomplete_heads.announce(client, ack)
            exchange = self.waiting
        if server.previous is None and conversation.side_of(server.direction).syn is None:
            # the capture may begin after earlier responses and after the waiting request
            server.is_lost = True
        if server.is_lost or (exchange is not None and exchange.follows_gap):
            following = None if exchange is None else exchange.next_waiting
            faults.settle_answer(server, exchange, following is not None and following.has_seen(ack))
            exchange = self.find_request(client, server, message)
        if exchange is None or not exchange.has_seen(ack):
            later = self.waiting
            exchange = self.add_exchange(message, conversation.rtt_own, conversation.rtt_peer)
            self.prepend_waiting(exchange)
            if client.is_lost or client.pos + client.beyond + 1 < ack or (later is not None and later.follows_gap):
                # the request was not captured, or is read later; without its method the end of the response is not certain
                server.is_lost = True
        if not message.head.is_interim():
            exchange.response = message
            self.take_waiting()
        return exchange

    def find_request(self, client: Reader, server: Reader, message: Message) -> Exchange | None:
        """Find the request of a response if messages may be missing. Return its exchange, or None if the request is missing.

        The server must have received the request before it sent the response (`message.ack`). The client must have sent the
        request before it received the response (`request.ack`). The match is certain if all earlier requests had been answered
        when the request was sent (`is_fresh`), and the response begins at the request's ACK number, so no response in between is
        missing. The exchange becomes the first in the list of waiting exchanges.
        """
        ack, offset = message.ack, message.offset
        newest: Exchange | None = None
        found: Exchange | None = None
        exchange = self.waiting
        while exchange is not None and exchange.has_seen(ack) and exchange.is_asked_by(offset):
            newest = exchange
            if self.is_fresh(exchange, server):
                found = exchange
            exchange = exchange.next_waiting
        if newest is None:
            return None
        request = None if found is None else found.request
        is_certain = request is not None and request.ack == offset
        if not is_certain:
            found = newest if server.is_lost else self.waiting
            if server.is_lost and answers_missing(newest, client, ack):
                self.pass_over(newest.next_waiting, message.last_frame)
                return None
        self.pass_over(found, message.last_frame)
        server.is_lost = not is_certain
        if found is not None:
            found.is_assumed = not is_certain and found.request is not None
            if is_certain:
                # the final response after a 1xx answers the same request, but does not begin at its ACK number
                found.follows_gap = False
        return found

    def is_fresh(self, exchange: Exchange, server: Reader) -> bool:
        """Return whether all earlier requests had been answered when the request of this exchange was sent.

        A client is assumed to send a request, or a pipeline of requests, only after it has received all responses, unless it is
        known to do otherwise. After a gap in the client's stream, a response must confirm this: the server sent that response
        after receiving the bytes of the gap, and the client received that response before it sent the request.
        """
        request = exchange.request
        if request is None or self.is_sliding:
            return False
        if not exchange.follows_gap:
            return exchange.is_next
        before = None if server.previous is None else server.previous.response
        return before is not None and before.ack >= request.offset and before.offset < request.ack

    def pass_over(self, until: Exchange | None, frame: i64) -> None:
        """Mark the waiting exchanges before `until` as done, because their responses were probably not captured.

        If `until` is None, mark all waiting exchanges. `frame`: the number of the packet that shows this.
        """
        exchange = self.waiting
        while exchange is not None and exchange is not until:
            self.take_waiting()
            exchange.settle_for_interim()
            exchange.response_done = True
            exchange.is_assumed = True
            exchange.final_frame = max(exchange.final_frame, frame)
            if exchange.request_done and exchange.request is not None:
                self.outstanding -= 1
            exchange = self.waiting

    def may_answer(self, ack: i64, time: i64) -> bool:
        """Return whether a response with this ACK number, captured at `time`, can be read now.

        This is possible if the server had received the first waiting request and no earlier request can be missing. Otherwise,
        the bytes that the response acknowledges must have been read, or skipped after the grace period. Until then, the request
        of the response may still be captured late.
        """
        conversation = self.conversation()
        if conversation.is_forced or ack == NEVER:
            return True
        waiting = self.waiting
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

    def end_message(self, reader: Reader, exchange: Exchange, message: Message) -> None:
        """Update the exchange of a message that has ended, and write the rows about the message."""
        conversation = self.conversation()
        if conversation.http.messages is not None:
            conversation.http.messages.write(conversation, message)
        if message.transfer is not None:
            transfers.write(
                conversation.http.transfers, conversation, message, reader.direction, conversation.http.cutoffs.min_transfer
            )
        if reader.kind == REQUEST:
            exchange.request_done = True
            if not exchange.response_done:
                self.outstanding += 1
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
            if exchange.request_done and exchange.request is not None:
                self.outstanding -= 1
            self.end_response(exchange, message)

    def end_response(self, exchange: Exchange, message: Message) -> None:
        """Handle the end of a final response. The connection may change its protocol, or a waiting client may continue."""
        conversation = self.conversation()
        asking = conversation.reader_of(conversation.client)
        request = exchange.request
        if message.framing == TUNNEL or (message.head.status == 101 and (request is None or request.head.switches)):
            exchange.upgraded = True
            if request is None:
                # without the request, it is unknown where the new protocol begins, so read the client's bytes while they are HTTP
                conversation.switch_off(conversation.reader_of(1 - conversation.client))
                return
            if asking.message is not None and asking.exchange is not exchange:
                asking.finish(ERROR)
            conversation.stop(exchange)
        elif asking.waits and self.waiting is None:
            asking.waits = False

    def stop_reading(self, last: Exchange) -> None:
        """Stop reading the connection after the request head of exchange `last`: too many requests wait for a response."""
        conversation = self.conversation()
        conversation.http.met.add(limits.PIPELINED)
        conversation.stop(None)
        self.next_index = last.index + 1
        self.waiting = self.last_waiting = None
        self.unanswered = 0
        exchange = self.oldest
        while exchange is not None:
            if exchange.request is None:
                exchange.settle_for_interim()
            elif not exchange.response_done:
                exchange.leave_unanswered()
            exchange.request_done = exchange.response_done = True
            exchange = exchange.next
        self.write_final(last.rtt_client, last.rtt_server)
        self.write_closes(last.rtt_client, last.rtt_server, True)

    def write_finished(self, segment: Segment) -> None:
        """Write the rows of `exchanges` that this segment made final, and the rows of `closes` for exchanges that another
        exchange follows.
        """
        oldest, exchange = self.oldest, self.unwritten
        is_final = exchange is not None and exchange.is_final()
        if oldest is None or not (is_final or (oldest is not exchange and oldest.next is not None)):
            return
        is_client = segment.direction == self.conversation().client
        rtt_client = segment.rtt_own if is_client else segment.rtt_peer
        rtt_server = segment.rtt_peer if is_client else segment.rtt_own
        self.write_final(rtt_client, rtt_server)
        self.write_closes(rtt_client, rtt_server, False)

    def write_final(self, rtt_client: i64, rtt_server: i64) -> None:
        """Write the rows of `exchanges`, in order, up to the first exchange that is not final. The round trips are in ns."""
        exchange = self.unwritten
        while exchange is not None and exchange.is_final():
            self.write_exchange(exchange, exchange.last_frame(), rtt_client, rtt_server)
            exchange = exchange.next
        self.unwritten = exchange

    def write_closes(self, rtt_client: i64, rtt_server: i64, with_last: bool) -> None:
        """Write the rows of `closes` for exchanges that have a row of `exchanges` and are followed by another exchange.

        `with_last`: also write the row for the last exchange. The round trips are in ns.
        """
        exchange = self.oldest
        while exchange is not None and exchange is not self.unwritten:
            following = exchange.next
            if following is None and not with_last:
                return
            if following is not None and following.began_frame >= exchange.last_frame():
                client, server = following.rtt_client, following.rtt_server
            else:
                client, server = rtt_client, rtt_server
            conversation = self.conversation()
            conversation.http.closes.close(conversation, exchange, following, client, server, NEVER, False)
            self.drop(exchange)
            exchange = following

    def write_exchange(self, exchange: Exchange, frame: i64, rtt_client: i64, rtt_server: i64) -> None:
        """Write a row of `exchanges`, and keep the facts that the next row refers to.

        `frame`: the frame number of the last packet of the exchange. The round trips are in ns.
        """
        conversation = self.conversation()
        exchange.previous_end = self.previous_end
        exchange.previous_end_offset = self.previous_end_offset
        request, announced = exchange.request, self.previous_close
        # if a response rejected bytes before the first request, its announced close does not affect this request
        is_unaffected = announced == CLOSE_OF_REJECTION and request is not None and request.offset > 0
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
            self.previous_end = max(self.previous_end, over)
            return
        self.previous_end = over
        self.previous_close = NO_CLOSE
        if response.head.announces_close or response.framing == UNTIL_CLOSE:
            rejects = (
                exchange.request is None and exchange.index == 0 and conversation.side_of(conversation.client).syn is not None
            )
            self.previous_close = CLOSE_OF_REJECTION if rejects else CLOSE
        self.previous_end_offset = response.end_offset

    def drop(self, exchange: Exchange) -> None:
        """Remove the oldest exchange, whose rows of `exchanges` and `closes` were both written."""
        self.oldest = exchange.next
        exchange.next = None
        if self.oldest is None:
            self.newest = None

    def take_apart(self) -> None:
        """Break the reference cycles of this object, and free the exchanges; `next_index` stays."""
        self.owner = None
        self.oldest = self.newest = self.unwritten = self.waiting = self.last_waiting = None


def answers_missing(newest: Exchange, client: Reader, ack: i64) -> bool:
    """Return whether a response answers a request that was not captured and that followed the newest captured request.

    The response must acknowledge more bytes than the captured request, and some of these additional bytes must be missing.
    """
    request, following = newest.request, newest.next_waiting
    if request is None or request.reason != COMPLETE or request.end_offset == NEVER or ack <= request.end_offset + 1:
        return False
    return client.is_lost or client.pos + client.beyond + 1 < ack or (following is not None and following.follows_gap)

"""The exchanges of a connection that are not final or not written yet, in the order of HTTP/1."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from wiredoctor.core.http1.message import Exchange, Message
from wiredoctor.core.tcp.segment import NEVER

NO_CLOSE: Final = 0
CLOSE: Final = 1
CLOSE_OF_REJECTION: Final = 2
REQUESTED_CLOSE: Final = 3
"""Values of ExchangeQueue.previous_close.

The response announced no close (NO_CLOSE). The first response announced the close, and no request was found before it
(CLOSE_OF_REJECTION). Any other response announced the close (CLOSE). Only its request asked for the close (REQUESTED_CLOSE).
"""


@mypyc_attr(acyclic=True)
class ExchangeQueue:
    """The exchanges of one connection, whose responses come in the order of their requests (RFC 9112 section 9.3.2)."""

    def __init__(self) -> None:
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
        """What the newest exchange in the table `exchanges` announced, such as NO_CLOSE."""
        self.previous_end: i64 = NEVER
        """The time at which all exchanges that are already in the table `exchanges` had ended."""
        self.previous_end_offset: i64 = NEVER
        """The offset in the server's stream at which the newest response in the table `exchanges` ended."""
        self.unanswered: i64 = 0
        """The number of exchanges without a final response. The first of them is `waiting`."""
        self.outstanding: i64 = 0
        """The number of requests that have ended while their responses have not."""

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

    def drop(self, exchange: Exchange) -> None:
        """Remove the oldest exchange, whose rows of `exchanges` and `closes` were both written."""
        self.oldest = exchange.next
        exchange.next = None
        if self.oldest is None:
            self.newest = None

    def take_apart(self) -> None:
        """Free the exchanges; `next_index` stays."""
        self.oldest = self.newest = self.unwritten = self.waiting = self.last_waiting = None

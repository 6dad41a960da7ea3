"""The two directions of a connection together: which response answers which request, and when an exchange is over."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from wiredoctor import limits
from wiredoctor.http.fields import Fields
from wiredoctor.http.framing import TUNNEL, UNTIL_CLOSE, announces_close
from wiredoctor.http.head import HeadParser, RequestLine, StatusLine
from wiredoctor.http.heads import announce
from wiredoctor.http.items import FAR, Moment
from wiredoctor.http.message import ABSENT, BY_FIN, BY_RST, ERROR, Exchange, Message, Record
from wiredoctor.http.modes import HEAD, NO_END, OFF, REQUEST, RESPONSE, TLS
from wiredoctor.http.reader import Reader
from wiredoctor.http.spoken import NOTHING_BEFORE, NUMBERS, Previous, Spoken
from wiredoctor.http.tls import HANDSHAKE, Handshake
from wiredoctor.limits import Met
from wiredoctor.tables import NEVER, NONE, Array

if TYPE_CHECKING:
    from wiredoctor.http.answering import Reading
    from wiredoctor.http.faults import Fault
    from wiredoctor.http.templates import RequestTemplates

FOREVER = 1 << 62
"""Later than any time."""


NEVER_CUT = (0, NEVER, NEVER)
"""Packets that the snap length cut inside heads or chunk framing: how many, frame and time of the first."""


_NOTHING = Spoken()
"""Nobody listens yet."""

_NOTHING_OPEN: deque[Exchange] = deque()
"""Stands for the empty ones of all connections that rest: one takes 760 bytes. Nobody changes it."""


class Conversation:
    """HTTP on one connection. `client` is the direction of the requests, -1 until a head was read."""

    __slots__ = (
        "awaiting",
        "client",
        "connection",
        "cut",
        "doubted",
        "forced",
        "gap",
        "heard_frame",
        "met",
        "next_index",
        "open",
        "previous",
        "protocol",
        "readers",
        "reading",
        "slot",
        "spoken",
        "templates",
        "tls",
        "unasked",
        "unread",
    )  # fmt: skip

    def __init__(self, connection: int, slot: int, templates: RequestTemplates, met: Met | None = None) -> None:
        self.connection, self.slot, self.templates = connection, slot, templates
        self.met = Met() if met is None else met
        self.readers = (Reader(self, 0), Reader(self, 1))
        self.open: deque[Exchange] = deque()
        self.awaiting: deque[Exchange] = deque()
        self.next_index = 0
        self.previous: Previous = NOTHING_BEFORE
        self.client = -1
        self.heard_frame = NEVER
        self.protocol = "unknown"
        self.spoken = _NOTHING
        self.forced = self.unread = False
        self.unasked: dict[int, int] | None = None
        self.doubted: list[Fault] | None = None
        self.cut: tuple[int, int, int] = NEVER_CUT
        self.tls: Handshake | None = None
        self.gap = NEVER
        self.reading: Reading | None = None

    def listen(self, spoken: Spoken) -> None:
        """What is said from now on goes there."""
        self.spoken = spoken
        if self.open is _NOTHING_OPEN:
            self.open = deque()
        if self.awaiting is _NOTHING_OPEN:
            self.awaiting = deque()

    def rest(self, spoken: Spoken) -> None:
        """Nothing more is said in this epoch: what holds nothing takes no memory while a connection stays open for long."""
        self.spoken = spoken
        if not self.open:
            self.open = _NOTHING_OPEN
        if not self.awaiting:
            self.awaiting = _NOTHING_OPEN

    @property
    def parser(self) -> HeadParser:
        """What reads heads that are not plain."""
        return self.templates.parser

    def cut_short(self, frame: int, time: int) -> None:
        """The snap length cut this packet where a head or chunk framing was."""
        count, first, since = self.cut
        earlier = not count or frame < first
        self.cut = (count + 1, frame, time) if earlier else (count + 1, first, since)

    def lacks(self, time: int) -> None:
        """From this time on it is known that a head, or chunk framing, is not in the capture."""
        self.gap = time if self.gap == NEVER else min(time, self.gap)

    def take_kind(self, direction: int, kind: int, frame: int) -> bool:
        """The first head decides which side is the client; False when that contradicts what the other side sent."""
        if self.client >= 0 and (self.client == direction) != (kind == REQUEST):
            return False
        if self.client < 0:
            self.client = direction if kind == REQUEST else 1 - direction
            self.heard(frame)
            self.protocol = "http"
            self.readers[direction].kind, self.readers[1 - direction].kind = kind, 1 - kind
        return True

    def heard(self, frame: int) -> None:
        """A head was seen in this frame: the first one counts, in whatever order the directions are read."""
        self.heard_frame = frame if self.heard_frame == NEVER else min(frame, self.heard_frame)

    def other_protocol(self, direction: int, data: bytes) -> None:
        """The first payload of a direction is no HTTP/1.x."""
        if self.client >= 0:
            return
        if data[:3] == b"PRI" or data[:3] in (b"\x00\x00\x12", b"\x00\x00\x18"):
            self.protocol = "http2"
        elif len(data) > 2 and 0x14 <= data[0] <= 0x17 and data[1] == 3:
            self.protocol = "tls"
            if self._hears(direction, data):
                return
        else:
            return
        # only this side: a server may answer in clear text, with a 400
        self.readers[direction].mode = OFF

    def _hears(self, direction: int, data: bytes) -> bool:
        """The next bytes of a TLS handshake; whether more are wanted."""
        if self.tls is None:
            if data[0] != HANDSHAKE:
                return False
            self.tls = Handshake()
        more = self.tls.sides[direction].add(data)
        self.readers[direction].mode = TLS if more else OFF
        return more

    def go_on_with_tls(self, direction: int, data: bytes) -> None:
        """Bytes behind those that began a TLS handshake; none where they are not in the capture."""
        if self.tls is None or not data or not self.tls.sides[direction].add(data):
            self.readers[direction].mode = OFF

    def stop(self, upgraded: Exchange | None = None) -> None:
        """From here on it is no HTTP/1.x: TLS, HTTP/2, a tunnel, or what an upgrade agreed on; but for the rest of the request
        that asked for that (RFC 9110 section 7.8)."""
        for reader in self.readers:
            if upgraded is not None and reader.message is not None and reader.message.exchange is upgraded:
                continue
            self.stop_reading(reader)

    def stop_reading(self, reader: Reader) -> None:
        """One side says no HTTP/1.x from here on."""
        if reader.mode == HEAD and reader.partial is not None:
            self.head_so_far(reader, reader.pos)
        reader.mode, reader.paused, reader.partial, reader.message = OFF, False, None, None

    def take_apart(self) -> None:
        """Undoes the cycles, so that memory goes back without the garbage collector."""
        self.doubted, self.spoken = None, _NOTHING
        for reader in self.readers:
            del reader.conversation

    def request_before(self, ack: int) -> Exchange | None:
        """The exchange of the next request that has no answer, if the server had seen it when it acknowledged `ack`."""
        return self.awaiting[0] if self.awaiting and _asked(self.awaiting[0], ack) else None

    def request_begins(self, line: RequestLine, fields: Fields, offset: int) -> Exchange:
        """A request head was read."""
        exchange = Exchange(self.next_index, line, fields, offset)
        self.next_index += 1
        self.open.append(exchange)
        self.awaiting.append(exchange)
        return exchange

    def response_begins(self, line: StatusLine, fields: Fields, ack: int, frame: int, until: Moment = FAR) -> Exchange:
        """A response head was read; returns the exchange that it belongs to, a new one where the request was not captured
        (or, as far as it was known, not before `until`)."""
        awaiting = self.awaiting
        reader = self.readers[1 - self.client]
        self.heard(frame)
        self.believe()
        if reader.lost:
            # behind a hole answers are missing: this one belongs to the newest request that the server had seen
            reader.lost = False
            while len(awaiting) > 1 and _asked(awaiting[1], ack, until):
                passed = awaiting.popleft()
                passed.settle_for_interim()
                passed.response_done, passed.over = True, max(passed.over, frame)
                passed.final = passed.request_done and not self.forced
                side = 2 * self.slot + reader.direction
                settled = passed.settled(frame) if passed.request_done else NEVER
                self.spoken.intervals.extend((side, NO_END, NO_END, NO_END, NEVER, NONE, settled))
        if not (awaiting and _asked(awaiting[0], ack, until)):
            announce(self.readers[self.client], ack)
        if awaiting and _asked(awaiting[0], ack, until):
            exchange = awaiting[0]
        else:
            exchange = Exchange(self.next_index, None, None, NEVER)
            if awaiting:
                if self.unasked is None:
                    self.unasked = {}
                self.unasked[exchange.index] = frame
            self.next_index += 1
            self.open.append(exchange)
            awaiting.appendleft(exchange)
        if line.status == 101 or not 100 <= line.status < 200:
            exchange.response_line, exchange.response_fields = line, fields
            awaiting.popleft()
        return exchange

    def believe(self) -> None:
        """Nothing speaks against it that what is wrong with the requests is wrong with HTTP."""
        if self.doubted:
            self.spoken.faults += self.doubted
            self.doubted = None

    def message_ends(self, reader: Reader, message: Message, end: int) -> None:
        """A message is whole, or will never be."""
        exchange = message.exchange
        message.end_offset = end
        if exchange is None:
            return
        spoken = self.spoken
        side = 2 * self.slot + reader.direction
        # a request that ends behind its response is never outstanding
        last = max(message.last_frame, reader.resumed)
        if last > message.last_frame:
            exchange.over = max(exchange.over, last)
        if reader.kind == REQUEST:
            ended = NEVER if exchange.response_done else last
        elif exchange.response_line is message.line and exchange.request_done:
            ended = exchange.settled(last)
        else:
            ended = NEVER
        spoken.intervals.extend((side, message.offset, message.head_end, end, message.id, exchange.index, ended))
        if message.fields.event_stream:
            spoken.event_streams.append(message.id)
        if spoken.messages is not None:
            spoken.messages.append((self, message))
        line = message.line
        if isinstance(line, RequestLine):
            exchange.request, exchange.request_done = message.record(), True
            if message.body_bytes:
                exchange.parts = message.head_last_frame, message.head_time, message.body_frame, message.body_time
            if exchange.upgraded:
                reader.mode = OFF
            elif switches(line, message.fields) and not self.forced and not exchange.response_done:
                reader.paused = True
        elif exchange.response_line is not line:
            if exchange.interim is None:
                exchange.interim = []
            if len(exchange.interim) < limits.INTERIM.value:
                exchange.interim.append(line.status)
                exchange.interim_times.append(message.start)
            else:
                self.met.add(limits.INTERIM)
            exchange.interim_end = message
        else:
            exchange.response, exchange.response_done = message.record(), True
            self.answered(exchange, message.framing == TUNNEL)
        exchange.final = exchange.request_done and exchange.response_done and not self.forced

    def answered(self, exchange: Exchange, tunnel: bool) -> None:
        """A final response has ended: the protocol may change, or a client that waited for that may go on."""
        if tunnel or _switched(exchange):
            exchange.upgraded = True
            if exchange.request_line is None:
                # which of the client's bytes came after it is not known: these are read as far as they are HTTP
                self.stop_reading(self.readers[1 - self.client])
                return
            asking = self.readers[self.client]
            if asking.message is not None and asking.message.exchange is not exchange:
                self._cut_off(asking, exchange.response[2])
            self.stop(exchange)
        elif self.readers[self.client].paused and not self.awaiting:
            asking = self.readers[self.client]
            asking.paused = False
            asking.goes_on((exchange.response[2], NEVER), asking.pos)

    def _cut_off(self, asking: Reader, frame: int) -> None:
        """What this frame says is the end of a request that is not whole; no packet ended it."""
        asking.resumed = max(asking.resumed, frame)
        asking.finish(ERROR)
        self.spoken.intervals[3 - NUMBERS] = NO_END

    def settle(self, known: int, mark: int) -> None:
        """Responses that nobody had asked for yet go before the requests that were captured after them.

        The first `known` open exchanges and the intervals before `mark` are of earlier epochs and stay as they are.
        """
        unasked, self.unasked = self.unasked or {}, None
        fresh = [self.open.pop() for _ in range(len(self.open) - known)][::-1]
        latest, order = NEVER, list[int]()
        for exchange in fresh:
            latest = max(latest, exchange.asked())
            order.append(unasked.get(exchange.index, latest))
        first = min((exchange.index for exchange in fresh), default=0)
        places: dict[int, int] = {}
        for place, i in enumerate(sorted(range(len(fresh)), key=order.__getitem__), start=first):
            places[fresh[i].index], fresh[i].index = place, place
            self.open.append(fresh[i])
        intervals = self.spoken.intervals
        for i in range(mark + 5, len(intervals), 7):
            intervals[i] = places.get(intervals[i], intervals[i])

    def say_finished(self) -> None:
        """Exchanges that nothing can change any more: whole, and followed by another."""
        open_ = self.open
        if len(open_) < 2:
            return
        exchange = open_.popleft()
        while open_ and exchange.request_done and exchange.response_done:
            following = open_.popleft()
            self.say(exchange, False, following.first())
            exchange = following
        open_.appendleft(exchange)

    def relieve(self, mark: int) -> None:
        """Much was read: says what is over, and gives the connection up when more requests wait than are kept.

        `mark`: where the intervals begin that are new.
        """
        most = limits.PIPELINED.value
        if len(self.open) > most and (last := _too_many(self.open, most)) is not None:
            self._give_up(last, mark)
        else:
            self.say_finished()
        self.spoken.tell_early()

    def _give_up(self, last: Exchange, mark: int) -> None:
        """Nothing behind the head of `last` is read: neither the requests behind it nor the answers to any that wait."""
        self.met.add(limits.PIPELINED)
        self.stop()
        while self.open[-1] is not last:
            self.open.pop()
        self.next_index = last.index + 1
        waiting = {exchange.index for exchange in self.open if not exchange.answered_by(last.first()[1])}
        self._forget_intervals(mark, waiting, last.index)
        while self.open:
            exchange = self.open.popleft()
            if exchange.request_line is None:
                exchange.settle_for_interim()
            elif exchange.index in waiting:
                exchange.leave_unanswered()
            self.say(exchange, False, self.open[0].first() if self.open else ABSENT)
        self.awaiting.clear()

    def _forget_intervals(self, mark: int, waiting: set[int], last: int) -> None:
        """Takes back, from `mark` on, what was said of answers to these exchanges, and of all exchanges behind the last."""
        intervals, server = self.spoken.intervals, 2 * self.slot + 1 - self.client
        kept: list[int] = []
        for i in range(mark, len(intervals), NUMBERS):
            side, index = intervals[i], intervals[i + 5]
            if index <= last and (side != server or index not in waiting):
                kept.extend(intervals[i : i + NUMBERS])
        del intervals[mark:]
        intervals.extend(kept)

    def say(self, exchange: Exchange, at_capture_end: bool, following: Record, decided: int = NEVER) -> None:
        """Nothing can change an exchange any more; `following` is the first record of the one behind it, `decided` the end
        of the time after a close in which something could have."""
        self.spoken.said.append((self, exchange, at_capture_end, following, self.previous, decided))
        over = max(exchange.request[4], exchange.response[4])
        if exchange.response_fields is None or exchange.response_line is None:
            self.previous = max(self.previous[0], over), *self.previous[1:]
            return
        closes = announces_close(exchange.response_line.version, exchange.response_fields)
        self.previous = over, int(closes or exchange.response[8] == UNTIL_CLOSE), exchange.response[14]

    def end(self, reasons: tuple[int | None, int | None], at_capture_end: bool, deadline: int = FOREVER) -> None:
        """The connection, or the capture, is over, as far as it had begun by the `deadline`.

        `reasons`: why each direction ended, an index of tables.END_REASONS; None where it has not.
        """
        for direction in (self.client, 1 - self.client) if self.client >= 0 else (0, 1):
            reader, reason = self.readers[direction], reasons[direction]
            if reason is not None and reader.began() <= deadline:
                reader.close(reason)
        while self.open and self.open[0].over_by(deadline):
            exchange = self.open.popleft()
            exchange.settle_for_interim()
            if deadline == FOREVER:
                exchange.over = FOREVER
            behind = self.open[0].first() if self.open else ABSENT
            following = behind if behind[3] <= deadline else ABSENT
            self.say(exchange, at_capture_end, following, NEVER if deadline == FOREVER else deadline)
        if deadline == FOREVER and self.doubted and self.readers[1 - self.client].pos == NEVER:
            self.believe()
        if not self.open:
            self.awaiting.clear()
        else:
            still = {id(exchange) for exchange in self.open}
            self.awaiting = deque(exchange for exchange in self.awaiting if id(exchange) in still)

    def tentative(self) -> None:
        """Tells where messages that are not at their end lie, a head that is not all there included."""
        intervals = self.spoken.intervals
        for reader in self.readers:
            message = reader.message
            side = 2 * self.slot + reader.direction
            if message is not None and message.exchange is not None:
                intervals.extend((side, message.offset, message.head_end, NO_END, message.id, message.exchange.index, NEVER))
                if message.fields.event_stream:
                    self.spoken.event_streams.append(message.id)
            elif reader.mode == HEAD and reader.partial is not None:
                # what waits for the other side is not known yet
                self.head_so_far(reader, reader.pos if reader.paused else NO_END)

    def head_so_far(self, reader: Reader, end: int) -> None:
        """Tells where a head lies that is not all there (and will never be, when another `end` than NO_END is known)."""
        begin = reader.pos if reader.partial is None else reader.partial.offset
        known = reader.announced or (self.awaiting[0] if reader.kind == RESPONSE and self.awaiting else None)
        index = self.next_index if known is None else known.index
        if reader.partial is not None and reader.partial.frame < self.heard_frame:
            index = 0  # it began before any head was heard
        side = 2 * self.slot + reader.direction
        self.spoken.intervals.extend((side, begin, NO_END, end, reader.upcoming_id(), index, NEVER))


def switches(line: RequestLine, fields: Fields) -> bool:
    """Whether a request asks for another protocol, so that what follows it may be no HTTP."""
    return line.method == "CONNECT" or (fields.connection_upgrade and bool(fields.upgrade))


def _switched(exchange: Exchange) -> bool:
    """Whether a response is 101 and answers a request that asked for that (RFC 9110 section 15.2.2), as far as it is known."""
    if exchange.response_line is None or exchange.response_line.status != 101:
        return False
    line, fields = exchange.request_line, exchange.request_fields
    return line is None or fields is None or switches(line, fields)


def _asked(exchange: Exchange, ack: int, until: Moment = FAR) -> bool:
    """Whether the server had seen this request when it acknowledged `ack` (NEVER: not known, taken for yes), and it was known
    by the moment `until`."""
    return (ack == NEVER or exchange.request_offset < ack) and (until is FAR or exchange.told() <= until)


def _too_many(waiting: deque[Exchange], most: int) -> Exchange | None:
    """The first exchange that began when so many others had no response yet; None where there is none."""
    answered = [exchange.response[2] for exchange in waiting if exchange.response_done]
    done = 0
    for place, exchange in enumerate(waiting):
        frame = exchange.first()[1]
        while done < len(answered) and answered[done] <= frame:
            done += 1
        if place - done >= most:
            return exchange
    return None


def close_reason(facts: Mapping[str, Array], slot: int, direction: int, deadline: int = FOREVER) -> int | None:
    """Why a direction ended: its own FIN, or an RST of either side; None while it has not, or not by the `deadline`."""
    side = 2 * slot + direction
    fin, rst = facts["side_fin_time"], facts["side_rst_time"]
    if NEVER < fin[side] <= deadline:
        return BY_FIN
    if NEVER < rst[side] <= deadline or NEVER < rst[side ^ 1] <= deadline:
        return BY_RST
    return None

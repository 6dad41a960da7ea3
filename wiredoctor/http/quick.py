"""The plain case, which is most of the traffic, without the general reader's steps: one request without a body in one
packet; a response whose head lies in one packet and whose body has a length. Anything else is left to the reader."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from wiredoctor.http.faults import Behind
from wiredoctor.http.framing import LENGTH, NO_BODY
from wiredoctor.http.head import HeadParser, RequestLine
from wiredoctor.http.items import Items
from wiredoctor.http.message import COMPLETE, Exchange, message_id
from wiredoctor.http.payload import FIRST_LOOK, SupportsSlices
from wiredoctor.tables import NEVER

if TYPE_CHECKING:
    from wiredoctor.http.reader import Reader


def requests(reader: Reader, items: Items, i: int, stop: int, file: SupportsSlices) -> int:
    """Reads plain requests from item `i` on; returns the first item that is none."""
    conversation = reader.conversation
    intervals, open_, awaiting = conversation.spoken.intervals, conversation.open, conversation.awaiting
    side, connection, templates = 2 * conversation.slot + reader.direction, conversation.connection, conversation.templates
    starts, ends, places, frames, times, acks = items.start, items.end, items.at, items.frame, items.time, items.ack
    pos, index, count = reader.pos, conversation.next_index, reader.count
    while i < stop:
        start, end, at = starts[i], ends[i], places[i]
        size = end - start
        plain = templates.read(file[at : at + size]) if start == pos and at >= 0 and size <= FIRST_LOOK else None
        if plain is None:
            break
        method, version, fields = templates.kinds[plain[0]]
        frame, time = frames[i], times[i]
        number = message_id(connection, count, reader.direction)
        exchange = Exchange(index, RequestLine(method, plain[1], version), fields, start)
        exchange.request = (
            number, frame, frame, time, time, size, 0, NEVER, NO_BODY, COMPLETE, NEVER, 0, -1, start, end, acks[i],
        )  # fmt: skip
        exchange.request_done = True
        open_.append(exchange)
        awaiting.append(exchange)
        intervals.extend((side, start, end, end, number, index, frame))
        pos = end
        index += 1
        count += 1
        i += 1
    if count != reader.count:
        reader.behind, reader.unsure = Behind(open_[-1], pos), False
    reader.pos, conversation.next_index, reader.count = pos, index, count
    return i


def responses(reader: Reader, items: Items, i: int, stop: int, file: SupportsSlices, parser: HeadParser) -> int:
    """Reads plain responses from item `i` on; returns the first item that is none."""
    conversation = reader.conversation
    intervals, awaiting, known_response = conversation.spoken.intervals, conversation.awaiting, parser.known_response
    side, connection = 2 * conversation.slot + reader.direction, conversation.connection
    starts, ends, places, frames, times, acks = items.start, items.end, items.at, items.frame, items.time, items.ack
    pos, count, answered = reader.pos, reader.count, None
    while i < stop and awaiting:
        start, at = starts[i], places[i]
        exchange = awaiting[0]
        asked = exchange.request_line
        if start != pos or at < 0 or exchange.request_offset >= acks[i] or asked is None or not exchange.request_done:
            break
        if exchange.request[2] > frames[i]:
            break
        size = ends[i] - start
        data = file[at : at + (size if size < FIRST_LOOK else FIRST_LOOK)]
        head_end = data.find(b"\r\n\r\n") + 4
        known = known_response(data[:head_end])
        if known is None:
            break
        line, fields = known
        if asked.method == "HEAD" or line.status in (204, 304):
            due, how, body = NEVER, NO_BODY, 0
        elif fields.plain_length is not None:
            due = body = fields.plain_length
            how = LENGTH
        else:
            break
        until = start + head_end + body
        k = i if ends[i] >= until else bisect_left(ends, until, i + 1, stop)
        if k == stop or line.status < 200:
            break
        last, end = frames[k], times[k]
        number = message_id(connection, count, reader.direction)
        exchange.response_line, exchange.response_fields = line, fields
        exchange.response = (
            number, frames[i], last, times[i], end, head_end, body, due, how, COMPLETE, end if body else NEVER, 0, -1,
            start, until, acks[i],
        )  # fmt: skip
        exchange.response_done, exchange.final = True, not conversation.forced
        answered = exchange
        awaiting.popleft()
        intervals.extend((side, start, start + head_end, until, number, exchange.index, max(last, exchange.request[2])))
        count += 1
        pos = until
        i = k + (ends[k] == until)
    if answered is not None:
        reader.behind, reader.unsure = Behind(answered, pos), False
    reader.pos, reader.count = pos, count
    return i

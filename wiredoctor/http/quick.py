"""The plain case, which is most of the traffic, without the general reader's steps: one request without a body in one
packet; a response whose head lies in one packet and whose body has a length. Anything else is left to the reader."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import TYPE_CHECKING

from wiredoctor.http.framing import LENGTH, NO_BODY
from wiredoctor.http.head import KNOWN_METHODS, HeadParser, RequestLine
from wiredoctor.http.items import Items
from wiredoctor.http.message import COMPLETE, INDEX_BITS, Exchange
from wiredoctor.tables import NEVER

if TYPE_CHECKING:
    from wiredoctor.http.reader import Reader

FIRST_LOOK = 2048
"""Bytes read in search of a head's end; more are read only when it is not there."""

_METHODS = {method: method.decode("ascii") for method in KNOWN_METHODS if method != b"CONNECT"}


def requests(reader: Reader, items: Items, i: int, stop: int, read: Callable[[int, int], bytes], parser: HeadParser) -> int:
    """Reads plain requests from item `i` on; returns the first item that is none."""
    conversation = reader.conversation
    spoken = conversation.spoken
    ended, intervals, open_, awaiting = spoken.ended, spoken.intervals, conversation.open, conversation.awaiting
    side, identity = 2 * conversation.slot + reader.direction, conversation.connection << INDEX_BITS | reader.direction
    pos = reader.pos
    while i < stop:
        start, end, at = items.start[i], items.end[i], items.at[i]
        size = end - start
        if start != pos or at < 0 or size > FIRST_LOOK:
            break
        data = read(at, size)
        if data.find(b"\r\n\r\n") != size - 4:
            break
        lines = data.split(b"\r\n")
        parts = lines[0].split(b" ")
        method = _METHODS.get(parts[0])
        if method is None or len(parts) != 3 or parts[2] != b"HTTP/1.1" or data.count(b"\n") != len(lines) - 1 or not parts[1]:
            break
        fields = parser.fields(lines[1:-2])
        if not fields.plain:
            break
        frame, time, index = items.frame[i], items.time[i], conversation.next_index
        number = identity | (reader.count & 0x1FFFFFF) << 1
        exchange = Exchange(index, RequestLine(method, parts[1].decode("latin-1"), "HTTP/1.1"), fields, start)
        exchange.request = (number, frame, frame, time, time, size, 0, NEVER, NO_BODY, COMPLETE, NEVER, 0, -1)
        exchange.request_done = True
        conversation.next_index = index + 1
        reader.count += 1
        open_.append(exchange)
        awaiting.append(exchange)
        intervals.extend((side, start, end, end, number, index))
        ended.extend((side, frame))
        pos = end
        i += 1
    reader.pos = pos
    return i


def responses(reader: Reader, items: Items, i: int, stop: int, read: Callable[[int, int], bytes], parser: HeadParser) -> int:
    """Reads plain responses from item `i` on; returns the first item that is none."""
    conversation = reader.conversation
    spoken = conversation.spoken
    ended, intervals, awaiting = spoken.ended, spoken.intervals, conversation.awaiting
    side, identity = 2 * conversation.slot + reader.direction, conversation.connection << INDEX_BITS | reader.direction
    pos, ends = reader.pos, items.end
    while i < stop and awaiting:
        start, at = items.start[i], items.at[i]
        exchange = awaiting[0]
        if start != pos or at < 0 or exchange.request_offset >= items.ack[i] or exchange.request_line is None:
            break
        data = read(at, min(ends[i] - start, FIRST_LOOK))
        head_end = data.find(b"\r\n\r\n") + 4
        known = parser.known_response(data[:head_end])
        if known is None:
            break
        line, fields = known
        if exchange.request_line.method == "HEAD" or line.status in (204, 304):
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
        frame, last, end = items.frame[i], items.frame[k], items.time[k]
        number = identity | (reader.count & 0x1FFFFFF) << 1
        exchange.response_line, exchange.response_fields = line, fields
        exchange.response = (
            number, frame, last, items.time[i], end, head_end, body, due, how, COMPLETE, end if body else NEVER, 0, -1,
        )  # fmt: skip
        exchange.response_done = True
        awaiting.popleft()
        reader.count += 1
        intervals.extend((side, start, start + head_end, until, number, exchange.index))
        ended.extend((side, last))
        pos = until
        i = k + (ends[k] == until)
    reader.pos = pos
    return i

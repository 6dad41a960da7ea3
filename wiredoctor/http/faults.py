"""What breaks the framing of a message or the grammar of its head: told when it is seen, judged by rules.

Behind such a fault the end of a message is unknown, so of each side only the first is told. Nothing is told of a message
that was found by looking for a head in the middle of a stream: it may be part of a body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from wiredoctor.http import framing
from wiredoctor.http.fault_words import HTTP2_PREFACE, KINDS, MOST_SHOWN, find_place, framing_lines, is_method
from wiredoctor.http.head import RequestLine, StatusLine
from wiredoctor.http.message import COMPLETE, RECORD, Exchange, Message, Record
from wiredoctor.http.modes import NO_END, REQUEST, RESPONSE
from wiredoctor.masking import method, payload
from wiredoctor.tables import CLIENT, FAULTS, NEVER, NONE, SERVER, Array

if TYPE_CHECKING:
    from wiredoctor.http.conversation import Conversation
    from wiredoctor.http.reader import Reader

_FRAME, _START, _DUE = RECORD.index("frame"), RECORD.index("start"), RECORD.index("body_due")
_FRAMING, _REASON, _HOLE = RECORD.index("framing"), RECORD.index("end_reason"), RECORD.index("has_hole")
_ACK = RECORD.index("ack")


class Behind(NamedTuple):
    """What lies in front of `end`, where the next message of a side is to begin: a message of an exchange, `interim` where
    that was an interim response."""

    exchange: Exchange
    end: int
    interim: Message | None = None


class Fault(NamedTuple):
    """A fault of a message, whose record and version stand beside it; `frame` and `time` of the packet that shows it,
    `offset` of the bytes that do, and these."""

    name: str
    conversation: Conversation
    role: int
    exchange: Exchange
    record: Record
    version: str
    status: int
    frame: int
    time: int
    offset: int
    shown: str


def in_head(reader: Reader, message: Message, head: bytes, how: int) -> None:
    """What the head of a message that has just begun says of its framing and of its grammar; `how`: its framing."""
    fields, exchange = message.fields, message.exchange
    if reader.faulted or reader.unsure or exchange is None:
        return
    name = _contradiction(reader, message, exchange, how)
    if name:
        _tell(reader, exchange, message, name, message.head_last_frame, message.head_time, message.offset, framing_lines(head))
    elif fields.malformed & ~reader.malformed:
        fresh = fields.malformed & ~reader.malformed
        reader.malformed |= fresh
        for bit, kind in KINDS.items():
            if fresh & bit:
                place = message.head_last_frame, message.head_time, message.offset
                _say(reader, _fault(reader, exchange, message, kind, *place, find_place(head, bit)))
    reader.faulted |= how == framing.BROKEN


def _contradiction(reader: Reader, message: Message, exchange: Exchange, how: int) -> str:
    """The error in the fields that frame a message; of a response that has no body they frame nothing."""
    fields, asked = message.fields, exchange.request_line
    response = isinstance(message.line, StatusLine)
    if response and (how in (framing.NO_BODY, framing.TUNNEL) or (asked is not None and asked.method == "CONNECT")):
        return ""
    codings = fields.transfer_codings
    if fields.lengths_differ or (fields.has_content_length and codings):
        return "conflicting-framing"
    if codings and (codings[-1] != "chunked" or codings.count("chunked") > 1):
        return "unfinished-transfer-coding"
    if response and codings and asked is not None and asked.version < "HTTP/1.1" and _asked_for(reader, exchange):
        return "chunked-to-http10"
    return ""


def in_chunks(reader: Reader, line: bytes, frame: int, time: int, offset: int) -> None:
    """A line that is no chunk size, or bytes behind a chunk that are no CRLF.

    The answer to a HEAD that was not captured says how it would be framed, and another response follows it.
    """
    message = reader.message
    if message is None or message.exchange is None or reader.faulted or reader.unsure:
        return
    if reader.kind == RESPONSE and (not _asked_for(reader, message.exchange) or line[:5] == b"HTTP/"):
        return
    _tell(reader, message.exchange, message, "invalid-chunk", frame, time, offset, payload(line[:MOST_SHOWN]))


def behind(reader: Reader, data: bytes, frame: int, time: int, offset: int, ack: int) -> None:
    """Bytes at `offset` begin no message: are they of the message that ended there? `ack`: what their packet acknowledges."""
    last = reader.behind
    if last is None or last.end != offset or reader.faulted or reader.unsure or _begins(reader, data):
        return
    exchange, asked = last.exchange, last.exchange.request_line
    switching = exchange.upgraded or (asked is not None and asked.method == "CONNECT")
    if last.interim is not None:
        message, name = last.interim, "body-not-allowed"
    elif reader.kind == RESPONSE:
        message, name = exchange.response, _behind_response(reader, exchange)
    else:
        message, name = exchange.request, _behind_request(exchange, ack)
        switching |= exchange.request_fields is not None and bool(exchange.request_fields.upgrade)
    if name and not switching:
        _tell(reader, exchange, message, name, frame, time, offset, payload(data[:MOST_SHOWN]))


def _behind_response(reader: Reader, exchange: Exchange) -> str:
    line, record = exchange.response_line, exchange.response
    if line is None or record[_REASON] != COMPLETE:
        return ""
    if record[_FRAMING] == framing.NO_BODY:
        return "body-not-allowed" if line.status in (204, 304) or _asked_for(reader, exchange) else ""
    # it may be the answer to HEAD, which the next response follows
    return "excess-body" if record[_FRAMING] == framing.LENGTH and _asked_for(reader, exchange) else ""


def _asked_for(reader: Reader, exchange: Exchange) -> bool:
    """Whether a response is surely that to the request of its exchange: all messages before both were read."""
    asking = reader.conversation.readers[1 - reader.direction]
    return NEVER < exchange.request_offset <= asking.strayed and reader.strayed == NO_END


def _behind_request(exchange: Exchange, ack: int) -> str:
    fields, record = exchange.request_fields, exchange.request
    if fields is None or record[_REASON] != COMPLETE:
        return ""
    if record[_FRAMING] == framing.NO_BODY:
        # what a client sends when it has seen bytes of an answer is no body of that request
        return "" if NEVER < record[_ACK] < ack else "unframed-request-body"
    return "excess-body" if record[_FRAMING] == framing.LENGTH else ""


def _begins(reader: Reader, data: bytes) -> bool:
    """Whether bytes look like the beginning of a message after all: of another version, say, or one that is cut off."""
    if reader.kind == RESPONSE:
        return data[:5] == b"HTTP/"[: len(data)]
    return is_method(data) or data[:10] == HTTP2_PREFACE[: len(data)]


def _tell(
    reader: Reader, exchange: Exchange, message: Message | Record, name: str, frame: int, time: int, offset: int, shown: str
) -> None:
    """An error: nothing more is told of this side."""
    reader.faulted = True
    _say(reader, _fault(reader, exchange, message, name, frame, time, offset, shown))


def _fault(
    reader: Reader, exchange: Exchange, message: Message | Record, name: str, frame: int, time: int, offset: int, shown: str
) -> Fault:
    if isinstance(message, Message):
        line, record = message.line, message.record()
    else:
        line, record = exchange.response_line if reader.kind == RESPONSE else exchange.request_line, message
    role = CLIENT if reader.kind == REQUEST else SERVER
    status = line.status if isinstance(line, StatusLine) else NONE
    version = "" if line is None else line.version
    return Fault(name, reader.conversation, role, exchange, record, version, status, frame, time, offset, shown)


def _say(reader: Reader, fault: Fault) -> None:
    """Bytes behind a request may be of a protocol that only begins like HTTP: the other side has to say that it is none."""
    conversation = reader.conversation
    answering = conversation.readers[1 - reader.direction]
    if reader.kind == REQUEST and answering.count == answering.abandoned:
        if conversation.doubted is None:
            conversation.doubted = []
        conversation.doubted.append(fault)
    else:
        conversation.spoken.faults.append(fault)


def fault_table(faults: list[Fault], facts: dict[str, Array]) -> pl.DataFrame:
    """One row per fault, with the connection's facts as of then."""
    if not faults:
        return FAULTS.empty()
    rows: list[dict[str, Any]] = []
    for fault in faults:
        conversation, record, exchange = fault.conversation, fault.record, fault.exchange
        slot, side = conversation.slot, 2 * conversation.slot
        unseen = int(facts["unseen_frame"][slot]) != NEVER and int(facts["unseen_time"][slot]) <= fault.time
        asked: RequestLine | None = exchange.request_line
        name, version = ("", "") if asked is None else (method(asked.method), asked.version)
        rows.append({
            "connection": conversation.connection, "exchange": exchange.index, "role": fault.role, "fault": fault.name,
            "frame": fault.frame, "time": fault.time, "offset": fault.offset, "shown": fault.shown,
            "message_frame": record[_FRAME], "message_time": record[_START], "version": fault.version,
            "status": fault.status, "body_due": record[_DUE],
            "request_frame": exchange.request[_FRAME], "request_time": exchange.request[_START],
            "request_method": name, "request_version": version,
            "handshake": bool(facts["side_syn_seen"][side] and facts["side_syn_seen"][side + 1]),
            "both_spoke": asked is not None and (fault.role == SERVER or conversation.readers[1 - conversation.client].count > 0),
            "behind_hole": unseen or bool(record[_HOLE]),
        })  # fmt: skip
    return FAULTS.frame({column.name: [row[column.name] for row in rows] for column in FAULTS.columns})

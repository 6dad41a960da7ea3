"""What the packets of a ladder are and carry, in words."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from wiredoctor.findings import printable, shorten
from wiredoctor.report.words import count
from wiredoctor.tables import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG

if TYPE_CHECKING:
    from wiredoctor.findings import Side
    from wiredoctor.report.ladder.load import Rows

MOST_TARGET = 120
"""Characters of a request target."""

_FLAGS = ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (PSH, "PSH"), (URG, "URG"), (ECE, "ECE"), (CWR, "CWR"), (ACK, "ACK"))

MARKS = {
    "retransmission": "retransmission",
    "fills_hole": "out of order",
    "opens_hole": "bytes before it are missing",
    "overlap": "overlaps what came before",
    "keep_alive_probe": "keep-alive probe",
    "duplicate_ack": "duplicate ACK",
    "zero_window": "window closed",
    "window_update": "window update",
    "dsack": "reports a duplicate",
    "acks_unseen": "acknowledges what was not captured",
}
"""Column of `segments` -> the mark of a step in which it is true, or not 0."""

PROTOCOLS = {"tls": "TLS", "http2": "HTTP/2"}


def flags(bits: int) -> str:
    """ "SYN ACK" of the control bits of a TCP header (RFC 9293 section 3.1)."""
    return " ".join(name for bit, name in _FLAGS if bits & bit) or "no flags"


class Told(NamedTuple):
    """What packets of the ladder before a segment say of it: the frame that it repeats, whether it acknowledges a FIN first, and
    whether its window is wider than the one before."""

    repeats: int | None
    closes: bool
    wider: bool


def marks(row: dict[str, Any], told: Told) -> tuple[str, ...]:
    """What the past of its connection says of a segment."""
    return tuple(mark for name, mark in MARKS.items() if row[name] and (told.wider or name != "window_update"))


def kind(row: dict[str, Any], told: Told) -> str:
    """What a segment is that brings no payload for the first time; "" of others."""
    bits, length = row["flags"], row["length"]
    if row["keep_alive_probe"]:
        return "keep-alive probe"
    if row["retransmission"]:
        what = count(length, "byte") if length else flags(bits & ~ACK)
        return f"retransmission{f' of frame {told.repeats}' if told.repeats else ''}, {what}"
    if bits & RST:
        return "RST"
    if length:
        return ""
    if bits & SYN:
        return flags(bits & (SYN | ACK))
    return _ack(row, told)


def _ack(row: dict[str, Any], told: Told) -> str:
    acked = row["acked_bytes"] - told.closes
    of = [*([count(acked, "byte")] if acked > 0 else []), *(["the FIN"] if told.closes else [])]
    said = f"ACK of {' and '.join(of)}" if of else "ACK" if row["flags"] & ACK else "empty"
    if row["flags"] & FIN:
        return f"FIN, {said}" if of else "FIN"
    if row["zero_window"]:
        return f"{said}, window closed"
    opens = row["window_update"] and told.wider
    return f"{said}, window update: {count(row['window'], 'byte')}" if opens else said


class Message(NamedTuple):
    """Where a request or a response lies in its side's stream: offsets of its first byte, behind its head, and behind its end
    (None while that is not known). `title`: its start line, in words."""

    start: int
    head_end: int
    end: int | None
    title: str
    chunked: bool
    complete: bool


class Spoken:
    """The messages of a ladder, by connection and side; `told`: by frame and connection, what is told of its segments."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._messages: dict[tuple[int, Side], list[Message]] = {}
        self._open: dict[int, list[tuple[int, int]]] = {}
        self._interim: dict[tuple[int, int], int] = {}
        self.told = _told(rows.segments)
        for exchange in rows.exchanges:
            self._add(exchange)
        for messages in self._messages.values():
            messages.sort()
        self._starts = {place: [message.start for message in messages] for place, messages in self._messages.items()}
        for spans in self._open.values():
            spans.sort()
        # of all that began so far, the one that is open longest decides
        self._ends = {c: [*accumulate((end for _, end in spans), max)] for c, spans in self._open.items()}

    def _add(self, exchange: dict[str, Any]) -> None:
        connection = exchange["connection"]
        titles = {"request": _request(exchange), "response": _response(exchange)}
        sides: tuple[tuple[str, Side], ...] = (("request", "client"), ("response", "server"))
        for name, side in sides:
            start = exchange[f"{name}_offset"]
            if start is not None:
                head_end = start + (exchange[f"{name}_head_bytes"] or 0)
                end, complete = exchange[f"{name}_end_offset"], exchange[f"{name}_end_reason"] == "complete"
                message = Message(start, head_end, end, titles[name], exchange[f"{name}_framing"] == "chunked", complete)
                self._messages.setdefault((connection, side), []).append(message)
        for status, time in zip(exchange["interim"] or (), exchange["interim_times"] or (), strict=False):
            self._interim[connection, time] = status
        frames = [exchange[f"{name}_{end}"] for name in titles for end in ("frame", "last_frame")]
        known = [frame for frame in frames if frame is not None]
        over = exchange["response_last_frame"] is not None and exchange["response_end_offset"] is not None
        self._open.setdefault(connection, []).append((min(known, default=0), max(known) if known and over else 1 << 62))

    def open_between(self, connection: int, first: int, last: int) -> bool:
        """Whether an exchange was open from one frame to another."""
        begun = bisect_right(self._open.get(connection, []), (first, 1 << 62))
        return begun > 0 and last <= self._ends[connection][begun - 1]

    def text(self, row: dict[str, Any], side: Side) -> str:
        """The payload of a segment."""
        connection, begin, end = row["connection"], row["offset"], row["offset"] + row["length"]
        messages = self._messages.get((connection, side), [])
        parts: list[str] = []
        at = begin
        first = max(bisect_right(self._starts.get((connection, side), []), begin) - 1, 0)
        for message in islice(messages, first, None):
            if message.start >= end:
                break
            over = end if message.end is None else min(end, message.end)
            if over <= at:
                continue
            if at < message.start:
                parts.append(self._foreign(row, message.start - at))
                at = message.start
            parts.extend(_of(message, at, over))
            at = over
        if at < end:
            parts.append(self._foreign(row, end - at))
        return "; ".join([*parts, *(["FIN"] if row["flags"] & FIN else [])])

    def _foreign(self, row: dict[str, Any], length: int) -> str:
        """Payload that is of no message known here."""
        status = self._interim.get((row["connection"], row["time"]))
        what = count(length, "byte")
        if status is not None:
            return f"interim response {status}, {what}"
        protocol = PROTOCOLS.get(self._rows.protocols.get(row["connection"], ""))
        return f"{protocol}, {what}" if protocol else what


def _told(segments: list[dict[str, Any]]) -> dict[tuple[int, int], Told]:
    """By frame and connection: what the packets before each segment say of it."""
    told: dict[tuple[int, int], Told] = {}
    windows: dict[tuple[int, int], int] = {}
    sent: dict[tuple[int, int, int], tuple[int, int, int]] = {}
    fins: set[tuple[int, int, int]] = set()
    for row in segments:
        connection, direction, bits, window = row["connection"], row["direction"], row["flags"], row["window"]
        side, place = (connection, direction), (connection, direction, row["offset"])
        extent = (row["length"], bits & (SYN | FIN))
        length, closing, frame = sent.get(place, (-1, 0, 0))
        repeats = frame if row["retransmission"] and extent <= (length, closing) else None
        closes = row["acked_bytes"] > 0 and (connection, 1 - direction, row["ack"]) in fins
        told[row["frame"], connection] = Told(repeats, closes, window is not None and window > windows.get(side, window))
        if window is not None and not bits & SYN:
            windows[side] = window
        if extent > (length, closing):
            sent[place] = (*extent, row["frame"])
        if bits & FIN:
            fins.add((connection, direction, row["offset"] + row["length"] + 1))
    return told


def _request(exchange: dict[str, Any]) -> str:
    return shorten(printable(f"{exchange['request_method']} {exchange['request_target']}"), MOST_TARGET)


def _response(exchange: dict[str, Any]) -> str:
    status, reason = exchange["response_status"], exchange["response_reason"]
    return shorten(printable(f"{'response' if status is None else status} {reason or ''}".strip()), MOST_TARGET)


def _of(message: Message, begin: int, end: int) -> Iterator[str]:
    """What a segment brings of a message: bytes `begin` to `end` of the stream."""
    if begin < message.head_end:
        head = min(end, message.head_end) - begin
        whole = begin == message.start and end >= message.head_end
        size = (
            f"head ({count(head, 'byte')})"
            if whole
            else f"{_part(begin == message.start, end >= message.head_end)} of the head, {count(head, 'byte')}"
        )
        yield f"{message.title}, {size}" if begin == message.start else size
    if end > message.head_end:
        body = end - max(begin, message.head_end)
        over = message.complete and message.end is not None and end >= message.end
        ending = ", its end" if over and begin > message.head_end else ""
        yield f"{'chunked body' if message.chunked else 'body'}, {count(body, 'byte')}{ending}"


def _part(first: bool, last: bool) -> str:
    return "beginning" if first else "end" if last else "part"

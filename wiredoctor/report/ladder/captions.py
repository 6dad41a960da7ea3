"""Describe the packets of a ladder and their contents in words."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate, groupby, islice, takewhile
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from wiredoctor.findings import Side, printable, shorten
from wiredoctor.report.ladder.tls_records import UNNAMED, Part
from wiredoctor.report.words import count
from wiredoctor.tables import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG

if TYPE_CHECKING:
    from wiredoctor.report.ladder.load import Rows

MAX_TARGET = 120
"""The maximum length of a request target in characters."""

MAX_RECORDS = 4
"""The maximum number of TLS records of a segment that are named. Equal records in sequence count as one."""

_FLAGS = ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (PSH, "PSH"), (URG, "URG"), (ECE, "ECE"), (CWR, "CWR"), (ACK, "ACK"))

MARKS = {
    "retransmission": "retransmission",
    "fills_gap": "out of order",
    "opens_gap": "previous bytes are missing",
    "overlap": "overlaps earlier data",
    "keep_alive_probe": "keep-alive probe",
    "duplicate_ack": "duplicate ACK",
    "zero_window": "zero window",
    "window_update": "window update",
    "dsack": "reports a duplicate",
    "acked_unseen": "ACKed unseen segment",
}
"""The marks of steps by column of the table `segments`. A step gets a mark if the value of the column is true or nonzero."""

_BROKE_OFF = ("fin", "rst")

PROTOCOLS = {"tls": "TLS", "http2": "HTTP/2"}


def flags(bits: int) -> str:
    """Return the names of the control bits that are set in a TCP header (RFC 9293 section 3.1), such as "SYN ACK"."""
    return " ".join(name for bit, name in _FLAGS if bits & bit) or "no flags"


class PacketCaption(NamedTuple):
    """Facts about a segment that follow from earlier packets of the ladder.

    `repeats`: the frame that the segment retransmits, or None. `closes`: whether the segment is the first to acknowledge a FIN.
    `wider`: whether the receive window is larger than in the previous segment of the same side.
    """

    repeats: int | None
    closes: bool
    wider: bool


def marks(row: dict[str, Any], caption: PacketCaption) -> tuple[str, ...]:
    """Return the marks of a segment, from MARKS. A window update is marked only if it makes the window larger."""
    return tuple(mark for name, mark in MARKS.items() if row[name] and (caption.wider or name != "window_update"))


def kind(row: dict[str, Any], caption: PacketCaption) -> str:
    """Return the text for a segment without new payload, such as "keep-alive probe" or "SYN"; "" for other segments."""
    bits, length = row["flags"], row["length"]
    if row["keep_alive_probe"]:
        return "keep-alive probe"
    if row["retransmission"]:
        what = count(length, "byte") if length else flags(bits & ~ACK)
        return f"retransmission{f' of frame {caption.repeats}' if caption.repeats else ''}, {what}"
    if bits & RST:
        return "RST"
    if length:
        return ""
    if bits & SYN:
        return flags(bits & (SYN | ACK))
    return _ack(row, caption)


def _ack(row: dict[str, Any], caption: PacketCaption) -> str:
    acked = row["acked_bytes"] - caption.closes
    of = [*([count(acked, "byte")] if acked > 0 else []), *(["the FIN"] if caption.closes else [])]
    said = f"ACK of {' and '.join(of)}" if of else "ACK" if row["flags"] & ACK else "empty"
    if row["flags"] & FIN:
        return f"FIN, {said}" if of else "FIN"
    if row["zero_window"]:
        return f"{said}, window closed"
    opens = row["window_update"] and caption.wider
    return f"{said}, window update: {count(row['window'], 'byte')}" if opens else said


class Message(NamedTuple):
    """The position of a message in its stream, as offsets in bytes.

    `start`: its first byte. `head_end`: the end of its header section. `end`: its end, or None if unknown. `title`: a
    description of its start line.
    """

    start: int
    head_end: int
    end: int | None
    title: str
    chunked: bool
    complete: bool


class LadderMessages:
    """Describes segments by the HTTP messages that they carry. `captions`: the PacketCaption of each segment, by frame and
    connection.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._messages: dict[tuple[int, Side], list[Message]] = {}
        self._open: dict[int, list[tuple[int, int]]] = {}
        self._interim: dict[tuple[int, int], int] = {}
        self.captions = _packet_captions(rows.segments)
        for exchange in rows.exchanges:
            self._add(exchange)
        for messages in self._messages.values():
            messages.sort()
        self._starts = {place: [message.start for message in messages] for place, messages in self._messages.items()}
        for spans in self._open.values():
            spans.sort()
        # for each exchange, the latest end among this exchange and all that began before it
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
        end = max(known) if known and over else 1 << 62
        if over and exchange["response_end_reason"] in _BROKE_OFF:
            end = self._close_after(connection, end)
        self._open.setdefault(connection, []).append((min(known, default=0), end))

    def _close_after(self, connection: int, frame: int) -> int:
        """Return the frame of the first FIN or RST after `frame`, or `frame` itself if there is none.

        If a response broke off, the client waited until the FIN or RST.
        """
        closes = (
            row["frame"]
            for row in self._rows.segments
            if row["connection"] == connection and row["frame"] > frame and row["flags"] & (FIN | RST)
        )
        return next(closes, frame)

    def open_between(self, connection: int, first: int, last: int) -> bool:
        """Return whether at least one exchange was open for the whole time from frame `first` to frame `last`."""
        begun = bisect_right(self._open.get(connection, []), (first, 1 << 62))
        return begun > 0 and last <= self._ends[connection][begun - 1]

    def text(self, row: dict[str, Any], side: Side) -> str:
        """Describe the content of a segment that `side` sent: its payload and its FIN."""
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
                parts.append(self._foreign(row, at, message.start))
                at = message.start
            parts.extend(_message_parts(message, at, over))
            at = over
        if at < end:
            parts.append(self._foreign(row, at, end))
        return "; ".join([*parts, *(["FIN"] if row["flags"] & FIN else [])])

    def _foreign(self, row: dict[str, Any], begin: int, end: int) -> str:
        """Describe bytes `begin` to `end` of a stream, which belong to no exchange: an interim response or another protocol."""
        status = self._interim.get((row["connection"], row["time"]))
        what = count(end - begin, "byte")
        if status is not None:
            return f"interim response {status}, {what}"
        protocol = PROTOCOLS.get(self._rows.protocols.get(row["connection"], ""))
        records = _name_records(self._rows.records.get((row["connection"], row["direction"]), []), begin, end)
        return f"{protocol}, {what}{records}" if protocol else what


def _name_records(records: list[Part], begin: int, end: int) -> str:
    """Return the names of the TLS records in bytes `begin` to `end` of a stream: ": ServerHello, beginning of Certificate"."""
    first = bisect_right(records, begin, key=attrgetter("end"))
    found = [*takewhile(lambda record: record.start < end, islice(records, first, None))]
    if not found or found[0].start > begin or all(record.name == UNNAMED for record in found):
        return ""
    if found[-1].end < end:
        found.append(Part(found[-1].end, end, UNNAMED))
    names: list[str] = []
    for name, same in groupby(found, key=lambda record: _name_record(record, begin, end)):
        number = len([*same])
        names.append(f"{number} x {name}" if number > 1 else name)
    if len(names) > MAX_RECORDS:
        names[MAX_RECORDS:] = [UNNAMED]
    return f": {', '.join(names)}"


def _name_record(record: Part, begin: int, end: int) -> str:
    first, last = begin <= record.start, record.end <= end
    return record.name if (first and last) or record.name == UNNAMED else f"{_part(first, last)} of {record.name}"


def _packet_captions(segments: list[dict[str, Any]]) -> dict[tuple[int, int], PacketCaption]:
    """Return the facts about each segment that depend on earlier segments; the keys are frame and connection."""
    captions: dict[tuple[int, int], PacketCaption] = {}
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
        captions[row["frame"], connection] = PacketCaption(
            repeats, closes, window is not None and window > windows.get(side, window)
        )
        if window is not None and not bits & SYN:
            windows[side] = window
        if extent > (length, closing):
            sent[place] = (*extent, row["frame"])
        if bits & FIN:
            fins.add((connection, direction, row["offset"] + row["length"] + 1))
    return captions


def _request(exchange: dict[str, Any]) -> str:
    return shorten(printable(f"{exchange['request_method']} {exchange['request_target']}"), MAX_TARGET)


def _response(exchange: dict[str, Any]) -> str:
    status, reason = exchange["response_status"], exchange["response_reason"]
    return shorten(printable(f"{'response' if status is None else status} {reason or ''}".strip()), MAX_TARGET)


def _message_parts(message: Message, begin: int, end: int) -> Iterator[str]:
    """Yield texts that describe which parts of a message are in bytes `begin` to `end` of its stream."""
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

"""Read a small capture into memory and replace its contents."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.extract.anonymize import bodies, encrypted
from wiredoctor.extract.anonymize.frames import RAW, Frame, frame_of, inside
from wiredoctor.extract.anonymize.message_heads import Heads
from wiredoctor.extract.anonymize.names import Addresses, Tokens
from wiredoctor.extract.anonymize.packets import rewritten
from wiredoctor.extract.anonymize.streams import KEEP, Stream
from wiredoctor.findings import PacketAccess
from wiredoctor.limits import ANONYMIZED_STREAMS
from wiredoctor.protocols.http1.head import KNOWN_METHODS
from wiredoctor.tables import SCRATCH

NAMES = ("records", "packets", "pieces", "messages", "connections")

Side = tuple[int, int]
"""One direction of a connection: the connection id, and the direction (0 or 1)."""

_STARTS = [*sorted(KNOWN_METHODS), b"HTTP"]
_BEGINNING = re.compile(rb"(?:%b)[ /][^\r\n]*" % b"|".join(_STARTS))
"""A pattern that matches the beginning of a start line, or a complete start line."""

_LIMIT = 8192
"""The maximum size in bytes of a start line that `_beginnings` replaces."""


class Packet(NamedTuple):
    """A packet of the capture, without the outer headers if it was tunneled.

    `frame`: the frame number. `time`: ns since the first packet. `length`: the length on the network in bytes. `data`: the
    captured bytes. `parts`: the positions of the headers and the payload.
    """

    frame: int
    time: int
    length: int
    data: bytes
    parts: Frame


@dataclass
class Original:
    """The contents of a capture in memory.

    `left_out`: the number of packets left out, by reason. `base`: the offset in the stream that corresponds to sequence number 0,
    for each direction of each connection. `sender`: the connection and direction of each frame.
    """

    tables: dict[str, pl.DataFrame]
    packets: list[Packet]
    streams: dict[Side, Stream]
    left_out: Counter[str]
    base: dict[Side, int] = field(default_factory=dict[Side, int])
    sender: dict[int, Side] = field(default_factory=dict[int, Side])


def read_original(access: PacketAccess) -> Original:
    """Read a complete capture into memory."""
    parts: dict[str, list[pl.DataFrame]] = defaultdict(list)
    packets: list[Packet] = []
    pieces: dict[Side, list[tuple[int, bytes]]] = defaultdict(list)
    others: list[tuple[dict[str, Any], bytes, str]] = []
    for portion in access.portions(NAMES):
        for name, rows in portion.tables.items():
            parts[name].append(rows)
        for row in portion.tables["records"].iter_rows(named=True):
            data = portion.read(row["offset"], row["captured"])
            found = frame_of(data, row["link_type"]) if row["link_type"] >= 0 else "no packet"
            if isinstance(found, str):
                others.append((row, data, found))
            else:
                packets.append(Packet(row["frame"], row["time"], row["length"], data, found))
        for row in portion.tables["pieces"].iter_rows(named=True):
            if row["captured"] > 0:
                pieces[row["connection"], row["direction"]].append((row["offset"], portion.read(row["payload"], row["captured"])))
    tables = {name: pl.concat(rows) for name, rows in parts.items()}
    left_out = Counter[str]()
    for found in _unwrap(tables["packets"], others):
        if isinstance(found, str):
            left_out[found] += 1
        else:
            packets.append(found)
    packets.sort(key=lambda packet: packet.frame)
    streams: dict[Side, Stream] = {}
    room = ANONYMIZED_STREAMS.value
    for side, given in pieces.items():
        streams[side] = Stream(given, room)
        room -= len(streams[side].before)
    made = Original(tables, packets, streams, left_out)
    _find_senders(made)
    return made


def _unwrap(decoded: pl.DataFrame, others: list[tuple[dict[str, Any], bytes, str]]) -> Iterator[Packet | str]:
    """Yield, for each packet in `others`, the packet inside its tunnel or, if that cannot be parsed, the reason in `others`.

    `others`: for each packet, its row of the table `records`, its data, and the reason why it was not parsed. `decoded`: the
    table `packets`.
    """
    columns = ("frame", "payload", "source_port", "destination_port", "seq")
    frames = [row["frame"] for row, _, _ in others]
    rows = decoded.filter(pl.col("frame").is_in(frames) & ~pl.col("quoted") & (pl.col("payload") < SCRATCH)).select(columns)
    known = {row["frame"]: row for row in rows.iter_rows(named=True)}
    for row, data, reason in others:
        packet = known.get(row["frame"])
        if packet is None:
            yield reason
            continue
        begin = inside(
            data, packet["payload"] - row["offset"], (packet["source_port"], packet["destination_port"]), packet["seq"]
        )
        found = frame_of(data[begin:], RAW) if isinstance(begin, int) else begin
        if isinstance(found, str) or not isinstance(begin, int):
            yield reason
        else:
            yield Packet(row["frame"], row["time"], row["length"] - begin, data[begin:], found)


def _find_senders(original: Original) -> None:
    """Fill the attributes `base` and `sender` of `original`."""
    tables, headers = original.tables, {p.frame: p for p in original.packets}
    of_side: dict[tuple[int, bytes], int] = {}
    owners = dict(
        tables["packets"].filter(~pl.col("quoted") & pl.col("connection").is_not_null()).select("frame", "connection").iter_rows()
    )
    places = {row["frame"]: row["payload"] for row in tables["packets"].select("frame", "payload").iter_rows(named=True)}
    for row in tables["pieces"].iter_rows(named=True):
        packet = headers.get(row["frame"])
        if packet is None:
            continue
        side = row["connection"], row["direction"]
        of_side[row["connection"], _ends(packet)] = row["direction"]
        offset = row["offset"] - (row["payload"] - places[row["frame"]])
        original.base.setdefault(side, offset - _sequence(packet))
    for frame, connection in owners.items():
        if frame in headers:
            direction = of_side.get((connection, _ends(headers[frame])))
            if direction is not None:
                original.sender[frame] = connection, direction


def _ends(packet: Packet) -> bytes:
    """Return the addresses and ports of a packet as bytes: source address, destination address, source port, destination port."""
    (begin, _), (_, end) = packet.parts.addresses
    return packet.data[begin:end] + packet.data[packet.parts.tcp : packet.parts.tcp + 4]


def _sequence(packet: Packet) -> int:
    """Return the sequence number of the first payload byte."""
    at = packet.parts.tcp
    return int.from_bytes(packet.data[at + 4 : at + 8], "big") + (packet.data[at + 13] >> 1 & 1)


def addresses_of(original: Original, seed: bytes) -> Addresses:
    """Return a mapping from the addresses of the packets to replacements, none of which occurs in the packets."""
    given = {packet.data[a:b] for packet in original.packets for a, b in (*packet.parts.all_addresses, *packet.parts.macs)}
    return Addresses(seed, given | {address[:6] for address in given})


def replace(original: Original, seed: bytes, said: Collection[bytes], addresses: Addresses) -> Heads:
    """Write replacements into all streams. Return the Heads used for header sections; its `words` are those that were kept.

    `said`: the original words in lower case. They are not used as replacements.
    """
    tokens = Tokens(seed, said)
    heads = Heads(tokens, addresses)
    protocols = dict(original.tables["connections"].select("connection", "protocol").iter_rows())
    spoken: dict[Side, list[dict[str, Any]]] = defaultdict(list)
    for row in original.tables["messages"].filter(pl.col("offset").is_not_null()).sort("offset").iter_rows(named=True):
        spoken[row["connection"], row["direction"]].append(row)
    for side, stream in original.streams.items():
        if protocols.get(side[0]) == "tls":
            encrypted.tls(stream, tokens)
        elif protocols.get(side[0]) == "http2":
            encrypted.http2(stream)
        else:
            _beginnings(stream, spoken.get(side, []), heads)
        _messages(stream, spoken.get(side, []), heads, tokens)
    return heads


def _beginnings(stream: Stream, messages: list[dict[str, Any]], heads: Heads) -> None:
    """Replace start lines that do not belong to any of `messages`, for example because the header section is incomplete.

    The replacements still look like start lines. Rules need this to check whether a packet was cut off inside a header section,
    and whether a message begins after a body.
    """
    begins = [message["offset"] for message in messages]
    ends = [message["end_offset"] for message in messages if message["end_offset"] is not None]
    for begin in sorted({*ends, *(begin for begin, _ in stream.runs())}):
        place = bisect_left(begins, begin)
        data = stream.part(begin, min(begin + _LIMIT, begins[place] if place < len(begins) else stream.high))
        if found := _BEGINNING.match(data):
            stream.overwrite(begin, heads.head(found[0]))
        elif any(start.startswith(data) for start in _STARTS):
            stream.overwrite(begin, data)


def _messages(stream: Stream, messages: list[dict[str, Any]], heads: Heads, tokens: Tokens) -> None:
    for message, following in zip(messages, [*messages, None][1:], strict=True):
        begin = message["offset"]
        limit = following["offset"] if following else stream.high
        size = message["head_bytes"]
        if size is None:
            # cut off by a gap, or by the end of the capture
            stream.overwrite(begin, heads.head(stream.part(begin, limit)))
            continue
        stream.overwrite(begin, heads.head(stream.part(begin, begin + size)))
        end = min(message["end_offset"] if message["end_offset"] is not None else limit, limit)
        _body(stream, message, begin + size, end, heads, tokens)


def _body(stream: Stream, message: dict[str, Any], begin: int, end: int, heads: Heads, tokens: Tokens) -> None:
    if message["framing"] == "chunked":
        parts = bodies.anonymize_chunked(stream, begin, end, heads, tokens)
    elif message["framing"] in ("content-length", "close-delimited"):
        stream.body(begin, end)
        parts = [(begin, end)]
    else:
        return
    if message["content_type"].startswith("multipart/"):
        bodies.delimiters(stream, parts, tokens)


def anonymized_packets(original: Original, seed: bytes, addresses: Addresses) -> Iterator[Packet]:
    """Yield the anonymized packets."""
    last: dict[Side, int] = {}
    for packet in original.packets:
        payload = packet.data[packet.parts.payload : packet.parts.end]
        side = original.sender.get(packet.frame)
        made = payload.translate(KEEP)
        if payload and side is not None:
            offset = _offset(_sequence(packet) + original.base[side], last.get(side, 0))
            last[side] = offset
            made = original.streams[side].packet(offset, payload) if side in original.streams else made
        yield packet._replace(data=rewritten(packet.data, packet.parts, made, addresses, seed))


def _offset(number: int, near: int) -> int:
    """Return the stream offset of a sequence number: of all possible offsets (mod 2^32), the nearest to `near`."""
    return near + ((number - near + (1 << 31)) % (1 << 32)) - (1 << 31)

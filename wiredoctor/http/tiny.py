"""Many chunks in one packet, without the general reader's steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wiredoctor.http.items import Items
from wiredoctor.http.modes import CHUNK_SIZE
from wiredoctor.http.payload import Payload
from wiredoctor.tables import NEVER

if TYPE_CHECKING:
    from wiredoctor.http.reader import Reader

MANY = 8
"""Chunks like the first that a packet must have room for: fewer are not worth it."""

_DIGITS = b"0123456789abcdefABCDEF"


def chunks(reader: Reader, items: Items, i: int, read: Payload) -> None:
    """Reads the chunks that lie wholly in the rest of this packet, from the one on whose content begins at `pos`.

    The reader stands at the beginning of a chunk-size line then; at what is not plain it stops.
    """
    message = reader.message
    begin, end = reader.pos, items.end[i]
    if message is None or (reader.until - begin) * MANY > end - begin:
        return
    pieces = message.pieces
    if pieces is not None and pieces.watching:
        return
    data = read(items.at[i] + begin - items.start[i], end - begin)
    found: dict[bytes, int] = {}
    count = body = done = 0
    size, at, lines = reader.until - begin, 0, True
    sizes: list[int] = []
    while data[at + size : at + size + 2] == b"\r\n":
        lines = lines and data[at + size - 1] == 10
        body += size
        count += 1
        sizes.append(size)
        done = at + size + 2
        newline = data.find(b"\n", done)
        line = data[done:newline] if newline >= 0 else b""
        size = found.get(line) or _plain_size(line, found)
        if not size:
            break
        at = newline + 1
    if not count:
        return
    reader.pos, reader.until, reader.mode = begin + done, begin + done - 2, CHUNK_SIZE
    if pieces is not None:
        pieces.lines = pieces.lines and lines
        for one in sizes[1:]:
            pieces.chunk(one, alone=False)
    message.chunks += count - 1
    message.body_bytes += body
    message.last_body_time = max(message.last_body_time, items.time[i])
    if message.body_frame == NEVER:
        message.body_frame, message.body_time = items.frame[i], items.time[i]


def _plain_size(line: bytes, found: dict[bytes, int]) -> int:
    """What a line of one to six hexadecimal digits says; 0 for any other."""
    digits = line.removesuffix(b"\r")
    size = 0 if not 0 < len(digits) < 7 or digits.strip(_DIGITS) else int(digits, 16)
    if size:
        found[line] = size
    return size

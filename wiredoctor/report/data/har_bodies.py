"""Decode bodies for HAR: remove chunk framing, decompress the content, and convert it to text or base64."""

from __future__ import annotations

import base64
import re
import zlib
from typing import NamedTuple

from wiredoctor import limits

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?\r?\n")
_PLAIN = frozenset(("", "identity"))


class Body(NamedTuple):
    """A body, or the reason why it is omitted.

    `content`: None for an omitted body. `comment`: the reason for the omission, or which part could not be decoded; empty if
    there is nothing to say.
    """

    content: bytes | None
    comment: str = ""


def decode(raw: bytes, *, chunked: bool, coding: str) -> Body:
    """Return a body without chunk framing and content codings, as far as they can be decoded.

    `coding`: the value of Content-Encoding in lower case.
    """
    data, comment = raw, ""
    if chunked:
        data, whole = without_chunks(raw)
        comment = "" if whole else "incomplete: the last chunk is missing"
        if not whole and not data:
            return Body(None, "its chunks are malformed")
    most = limits.HAR_BODY.value
    for name in reversed([part.strip() for part in coding.split(",")]):
        if name in _PLAIN:
            continue
        if name not in _CODINGS:
            return Body(data, "as it was sent: this Content-Encoding is not supported")
        plain = _inflate(data, _CODINGS[name], most, whole=not comment)
        if plain is None:
            return Body(data, "as it was sent: it cannot be decompressed")
        if len(plain) > most:
            return Body(None, f"left out: its decompressed size exceeds {limits.HAR_BODY.text}")
        data = plain
    return Body(data, comment)


def content_text(content: bytes) -> dict[str, str]:
    """Return the HAR keys for a body: `text` and, unless the body is UTF-8, `encoding` (base64)."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        return {"text": base64.b64encode(content).decode("ascii"), "encoding": "base64"}
    return {"text": text}


def without_chunks(raw: bytes) -> tuple[bytes, bool]:
    """Remove chunk framing (RFC 9112 section 7.1) up to the first invalid chunk.

    Return the content, and whether it is complete.
    """
    parts: list[bytes] = []
    place = 0
    while (line := _SIZE.match(raw, place)) is not None:
        size, begin = int(line[1], 16), line.end()
        if not size:
            return b"".join(parts), True
        end = begin + size
        parts.append(raw[begin:end])
        behind = 2 if raw[end : end + 2] == b"\r\n" else 1 if raw[end : end + 1] == b"\n" else 0
        if end > len(raw) or not behind:
            break
        place = end + behind
    return b"".join(parts), False


_CODINGS = {"gzip": (47,), "x-gzip": (47,), "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS)}
"""The zlib window sizes with which each content coding is decoded.

deflate has two: its format is zlib's, but many servers send raw deflate data (RFC 9110 section 8.4.1.2).
"""


def _inflate(data: bytes, windows: tuple[int, ...], most: int, *, whole: bool) -> bytes | None:
    """Decompress data with the first zlib window size in `windows` that works; stop after `most` + 1 bytes of output.

    Return None if no window size works. If `whole` is true, a window size also fails if the compressed data is cut off.
    """
    for window in windows:
        out: list[bytes] = []
        rest, room = data, most + 1
        try:
            while rest and room > 0:
                inflate = zlib.decompressobj(window)
                out.append(inflate.decompress(rest, room))
                room -= len(out[-1])
                if not inflate.eof and room > 0 and whole:
                    raise zlib.error
                rest = inflate.unused_data
        except zlib.error:
            continue
        return b"".join(out)
    return None

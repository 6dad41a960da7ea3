"""Replace message bodies but keep their structure: lengths, chunks, line breaks and multipart delimiters.

See RFC 9112 section 7.1 and RFC 2046 section 5.1.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate

from wiredoctor.extract.anonymize.message_heads import Heads
from wiredoctor.extract.anonymize.names import Tokens
from wiredoctor.extract.anonymize.streams import Stream

_SIZE = re.compile(rb"[ \t]*(0*[0-9A-Fa-f]{1,16})([ \t]*(?:;[^\n]*)?)(\r?\n)")
_USUAL_LINE, _LONGEST_LINE = 64, 1 << 16
_LONGEST_DELIMITER = 72
"""The maximum size of a delimiter in bytes: two hyphens and a boundary of 70 characters (RFC 2046 section 5.1.1)."""


def anonymize_chunked(stream: Stream, begin: int, end: int, heads: Heads, tokens: Tokens) -> list[tuple[int, int]]:
    """Replace the data of chunks from `begin` on, but keep their sizes. Return the start and end of each chunk's data."""
    parts: list[tuple[int, int]] = []
    at = begin
    while at < end:
        line = _SIZE.match(stream.part(at, min(end, at + _USUAL_LINE))) or _SIZE.match(
            stream.part(at, min(end, at + _LONGEST_LINE))
        )
        if line is None:
            stream.body(at, end)
            return parts
        size = int(line[1], 16)
        shown = _safe_chunk_size(stream, line[1], at + line.end())
        heads.words.add(shown.lower())
        stream.overwrite(at, line[0][: line.start(1)] + shown + tokens.plain(line[2]) + line[3])
        at += line.end()
        if not size:
            stream.overwrite(at, heads.fields(stream.part(at, end)))
            return parts
        parts.append((at, min(at + size, end)))
        stream.body(at, min(at + size, end))
        at += size
        # keep a line end; other bytes violate the framing, and so do their replacements
        stream.body(at, min(at + 2, end))
        at += 2 if stream.part(at, at + 1) != b"\n" else 1
    return parts


def _safe_chunk_size(stream: Stream, digits: bytes, begin: int) -> bytes:
    """Return a chunk size that does not reveal content. `begin`: the stream offset of the chunk's data.

    Some servers announce the chunked coding but do not use it, so the "chunk size" may be the beginning of a body. Therefore, if
    something other than a line break or a gap follows the data, all digits but the first become 0. The first digit is chosen so
    that the result of `_ends` stays the same.
    """
    number = digits.lstrip(b"0")
    end = _ends(stream, begin + int(digits, 16))
    if not number or end in (b"\r", b"\n", b"a hole"):
        return digits
    others = (first + b"0" * (len(number) - 1) for first in (number[:1], *(b"%x" % digit for digit in range(1, 16))))
    like = next((other for other in others if _ends(stream, begin + int(other, 16)) == end), number)
    return digits[: len(digits) - len(number)] + like


def _ends(stream: Stream, end: int) -> bytes:
    """Return the byte at the end of a chunk's data if it is CR or LF, otherwise a description of what follows the data.

    `end`: the stream offset of that byte.
    """
    if end >= stream.high:
        return b"the end of the capture"
    there = stream.part(end, end + 1)
    return b"a hole" if not there else there if there in b"\r\n" else b"something else"


def delimiters(stream: Stream, parts: list[tuple[int, int]], tokens: Tokens) -> None:
    """Replace the boundary in all delimiters of a multipart body.

    `parts`: the start and end of the body or, if it is chunked, of each chunk's data. A delimiter may span several chunks.
    """
    content = b"".join(stream.part(*part) for part in parts)
    line = content.lstrip(b"\r\n").partition(b"\n")[0].rstrip(b"\r \t")
    if line[:2] != b"--" or not 2 < len(line) <= _LONGEST_DELIMITER:
        return
    made = tokens.text(line)
    begins = [0, *accumulate(len(stream.part(*part)) for part in parts)]
    at = content.find(line)
    while at >= 0:
        done, k = 0, bisect_right(begins, at) - 1
        while done < len(line):
            size = min(len(line) - done, begins[k + 1] - at - done)
            stream.overwrite(parts[k][0] + at + done - begins[k], made[done : done + size])
            done, k = done + size, k + 1
        at = content.find(line, at + len(line))

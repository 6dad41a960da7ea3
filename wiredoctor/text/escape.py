"""Escape text from packets so it can be printed."""

from __future__ import annotations

import re

from wiredoctor.text.redact import MASKED
from wiredoctor.text.regex import Regex

_ESCAPED = Regex(r"[^\x20-\x7e]")


def printable(text: str) -> str:
    r"""Return text from packets as printable ASCII, with other bytes as \xNN and other characters as \uNNNN.

    Text from packets is decoded as Latin-1, one character per byte.
    """
    if text.isascii() and text.isprintable():
        return text
    return _ESCAPED.sub(_escape, text)


def _escape(sign: re.Match[str]) -> str:
    code = ord(sign[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


REQUEST_LENGTH = 100
"""The maximum length of a request in a sentence or a line; longer requests are shortened in the middle."""

SHORT_REQUEST_LENGTH = 60
"""The maximum length of a request in a line that also names other things."""


def shorten(text: str, width: int, mark: str = "...") -> str:
    """Shorten a text to `width` characters by cutting out its middle.

    Both ends are kept, because they distinguish targets and addresses. A mask is cut out as a whole.
    """
    if len(text) <= width:
        return text
    if width <= len(mark) + 1:
        return text[:width]
    tail = (width - len(mark)) // 2
    head, end = width - len(mark) - tail, len(text) - tail
    if (at := text.rfind(MASKED, 0, head + len(MASKED) - 1)) >= 0 and head < at + len(MASKED):
        head = at
    if (at := text.rfind(MASKED, 0, end + len(MASKED) - 1)) >= 0 and end < at + len(MASKED):
        end = at + len(MASKED)
    return text[:head] + mark + text[end:]

"""Texts from packets, as they may be shown."""

from __future__ import annotations

import re

_ESCAPED = re.compile(r"[^\x20-\x7e]")


def printable(text: str) -> str:
    r"""Packet text as safe ASCII: everything else becomes \xNN (text from packets is Latin-1 decoded, a byte a sign), and what
    is no byte \uNNNN."""
    if text.isascii() and text.isprintable():
        return text
    return _ESCAPED.sub(_escape, text)


def _escape(sign: re.Match[str]) -> str:
    code = ord(sign[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shorten(text: str, width: int, mark: str = "...") -> str:
    """At most `width` characters: the middle gives way, because both ends of a target or an address tell it apart."""
    if len(text) <= width:
        return text
    if width <= len(mark) + 1:
        return text[:width]
    tail = (width - len(mark)) // 2
    head = width - len(mark) - tail
    return text[:head] + mark + text[len(text) - tail :]

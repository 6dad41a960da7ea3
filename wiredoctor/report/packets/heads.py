"""Heads of messages as people read them: the start line, and the fields, whose values are shown from a list and else masked."""

from __future__ import annotations

import re
from typing import NamedTuple

from wiredoctor.findings import printable
from wiredoctor.text import redact

MOST_LINES = 100
MOST_LINE = 1000
"""Fields of a head, and characters of a line, that are shown."""

WHOLE = frozenset(("server", "via", "user-agent"))
"""Fields whose value is shown as it was sent."""

_NUMBER = re.compile(r"[0-9]{1,20}")
_PARAMETER = re.compile(r"(?:timeout|max) ?= ?[0-9]{1,10}", re.IGNORECASE)
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+-]{1,64}")
_SCHEME_OF = frozenset(("authorization", "www-authenticate", "proxy-authorization", "proxy-authenticate", "authentication-info"))
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Head(NamedTuple):
    """A head: "request" or "response", the frame with its first byte, its bytes, its lines (None: not whole in the capture), and
    how many more lines it has."""

    message: str
    exchange: int
    frame: int
    bytes: int
    lines: tuple[str, ...] | None
    more: int = 0


def lines_of(data: bytes, start_line: str) -> tuple[list[str], int]:
    """The lines of a head as they may be told, and how many are left out; `start_line` is masked already."""
    said = [start_line]
    lines = [line.removesuffix(b"\r") for line in data.split(b"\n")][1:]
    while lines and not lines[-1]:
        lines.pop()
    for line in lines[:MOST_LINES]:
        text = line.decode("latin-1")
        said.append(_cut(printable(text if redact.shown() else masked_field(text))))
    return said, max(len(lines) - MOST_LINES, 0)


def masked_field(line: str) -> str:
    """A field line of which the name is shown where it is one, and the value where a list says so; `*` for the rest."""
    if line.startswith((" ", "\t")):
        return "  *"
    name, colon, value = line.partition(":")
    known = redact.field_name(name)
    if not colon or not known:
        return "*: *" if colon else "*"
    said = masked_value(known.lower(), value.strip(" \t"))
    return f"{known}: {said}"


def masked_value(name: str, value: str) -> str:
    """The value of a field (name in lower case) as it may be told."""
    cut = _CONTROL.search(value)
    if cut is not None:
        return f"{masked_value(name, value[: cut.start()])} *"
    if name in WHOLE:
        return value
    if name == "host":
        return redact.masked_host(value)
    if name == "content-length":
        return value if _NUMBER.fullmatch(value) else "*"
    if name == "content-type":
        media, semicolon, _ = value.partition(";")
        return f"{media.strip() if _MEDIA_TYPE.fullmatch(media.strip()) else '*'}{'; *' if semicolon else ''}"
    if name in _SCHEME_OF:
        scheme, space, _ = value.partition(" ")
        return f"{scheme if scheme.lower() in redact.SCHEMES else '*'}{' *' if space else ''}"
    if name == "keep-alive":
        return ", ".join(part if _PARAMETER.fullmatch(part) else "*" for part in _listed(value))
    if name in redact.WORDS:
        return redact.masked_words(name, value[:MOST_LINE])
    return "*"


def _listed(value: str) -> list[str]:
    return [part.strip(" \t") for part in value[:MOST_LINE].split(",")]


def _cut(line: str) -> str:
    return line if len(line) <= MOST_LINE else f"{line[:MOST_LINE]}... ({len(line) - MOST_LINE:,} more)"

"""Format header sections for people: the start line and the fields. All values are redacted unless they are on the allow-list."""

from __future__ import annotations

import re
from typing import NamedTuple

from wiredoctor.findings import printable
from wiredoctor.text import redact
from wiredoctor.text.plain_fields import plain_value
from wiredoctor.text.redact import MASKED

MAX_LINES = 100
"""The maximum number of lines of a header section that are shown."""
MAX_LINE = 1000
"""The maximum number of characters of a line that are shown."""

WHOLE = frozenset(("server", "via", "user-agent"))
"""Fields whose value is shown unchanged."""

_NUMBER = re.compile(r"[0-9]{1,20}")
_PARAMETER = re.compile(r"(?:timeout|max) ?= ?[0-9]{1,10}", re.IGNORECASE)
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+-]{1,64}")
_SCHEME_OF = frozenset(("authorization", "www-authenticate", "proxy-authorization", "proxy-authenticate", "authentication-info"))
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Head(NamedTuple):
    """A header section, as shown to people.

    `message`: "request" or "response". `exchange`: the index of the exchange. `frame`: the packet with the first byte. `bytes`:
    the length of the header section. `lines`: the redacted lines, or None if the header section was not captured completely.
    `more`: the number of omitted lines.
    """

    message: str
    exchange: int
    frame: int
    bytes: int
    lines: tuple[str, ...] | None
    more: int = 0


def head_lines(data: bytes, start_line: str) -> tuple[list[str], int]:
    """Return the redacted lines of a header section, and the number of lines omitted at its end.

    `start_line` must already be redacted.
    """
    said = [start_line]
    lines = [line.removesuffix(b"\r") for line in data.split(b"\n")][1:]
    while lines and not lines[-1]:
        lines.pop()
    for line in lines[:MAX_LINES]:
        text = line.decode("latin-1")
        said.append(_shorten_line(printable(text if redact.secrets_are_shown() else masked_field(text))))
    return said, max(len(lines) - MAX_LINES, 0)


def masked_field(line: str) -> str:
    """Redact a field line: keep the name if it is valid, and the value if the field is on the allow-list."""
    if line.startswith((" ", "\t")):
        return f"  {MASKED}"
    name, colon, value = line.partition(":")
    known = redact.field_name(name)
    if not colon or not known:
        return f"{MASKED}: {MASKED}" if colon else MASKED
    said = masked_value(known.lower(), value.strip(" \t"))
    return f"{known}: {said}"


def masked_value(name: str, value: str) -> str:
    """Return the redacted value of the field `name` (in lower case)."""
    cut = _CONTROL.search(value)
    if cut is not None:
        return f"{masked_value(name, value[: cut.start()])} {MASKED}"
    if name in WHOLE:
        return value
    if name == "host":
        return redact.masked_host(value)
    if name == "content-length":
        return value if _NUMBER.fullmatch(value) else MASKED
    if name == "content-type":
        media, semicolon, _ = value.partition(";")
        shown = media.strip() if _MEDIA_TYPE.fullmatch(media.strip()) else MASKED
        return f"{shown}; {MASKED}" if semicolon else shown
    if name in _SCHEME_OF:
        scheme, space, _ = value.partition(" ")
        shown = scheme if scheme.lower() in redact.SCHEMES else MASKED
        return f"{shown} {MASKED}" if space else shown
    if name == "keep-alive":
        return ", ".join(part if _PARAMETER.fullmatch(part) else MASKED for part in _split_list(value))
    if name in redact.WORDS:
        return redact.redact_words(name, value[:MAX_LINE])
    return plain_value(name, value[:MAX_LINE]) or MASKED


def _split_list(value: str) -> list[str]:
    return [part.strip(" \t") for part in value[:MAX_LINE].split(",")]


def _shorten_line(line: str) -> str:
    return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}... ({len(line) - MAX_LINE:,} more)"

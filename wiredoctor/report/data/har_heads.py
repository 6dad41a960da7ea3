"""Write header sections for HAR: name and value of each field, redacted (docs/pages/secrets.md)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from wiredoctor.findings import printable
from wiredoctor.text.plain_fields import plain_value
from wiredoctor.text.redact import MASKED, SCHEMES, WORDS, field_name, masked_host, redact_words

Header = dict[str, str]

_SHOWN = frozenset(("server", "via", "user-agent"))
"""The fields whose value is shown unchanged."""

_PARAMETER = re.compile(r"(?:timeout|max)=\d{1,9}", re.IGNORECASE)
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+*-]{1,64}")
_AUTHENTICATION = frozenset(("authorization", "proxy-authorization", "www-authenticate", "proxy-authenticate"))
_SHORT = 256
"""The maximum length of a cached field in characters. The limit bounds the size of the cache, because a capture may have
thousands of different fields.
"""

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def fields(head: bytes, *, secrets: bool) -> list[Header]:
    """Return the field lines of a header section in order (RFC 9112 section 5), without lines that have no colon.

    The values are redacted unless `secrets` is true. Names and values are decoded as Latin-1.
    """
    lines: list[tuple[str, str]] = []
    for raw in head.decode("latin-1").split("\n")[1:]:
        line = raw.removesuffix("\r")
        if line[:1] in (" ", "\t") and lines:
            if secrets:
                lines[-1] = (lines[-1][0], f"{lines[-1][1]} {line.strip()}")
            continue
        name, colon, value = line.partition(":")
        if colon:
            lines.append((name, value.strip(" \t")))
    if secrets:
        return [{"name": name, "value": value} for name, value in lines]
    told = [_redact_repeated(*line) if len(line[0]) + len(line[1]) <= _SHORT else _redact_field(*line) for line in lines]
    return [{"name": name, "value": value} for name, value in told]


def value_of(headers: list[Header], name: str) -> str:
    """Return the first value of a field, or "" if there is none."""
    return next((header["value"] for header in headers if header["name"].lower() == name), "")


def _redact_field(name: str, value: str) -> tuple[str, str]:
    return printable(field_name(name.strip())) or MASKED, printable(_redact_value(name.strip().lower(), value))


_redact_repeated = lru_cache(4_096)(_redact_field)
"""Redacts a field line. Results are cached, because most field lines occur in many messages."""


def _redact_value(name: str, value: str) -> str:
    value = _CONTROL.split(value)[0]
    if name in _SHOWN:
        return value
    if name in WORDS:
        return redact_words(name, value)
    if name == "keep-alive":
        return ", ".join(part if _PARAMETER.fullmatch(part) else MASKED for part in map(str.strip, value.split(",")))
    if name == "content-length":
        return value if re.fullmatch(r"\d{1,20}", value) else MASKED
    if name == "content-type":
        media = value.partition(";")[0].strip()
        return (media if _MEDIA_TYPE.fullmatch(media) else MASKED) + (f"; {MASKED}" if ";" in value else "")
    if name == "host":
        return masked_host(value)
    if name in _AUTHENTICATION:
        scheme, space, _ = value.partition(" ")
        return (scheme if scheme.lower() in SCHEMES else MASKED) + (f" {MASKED}" if space else "")
    return plain_value(name, value) or MASKED


def query(target: str) -> list[Header]:
    """Return the names and values in the query of a redacted target, without percent-decoding them."""
    _, mark, text = target.partition("?")
    pairs = [pair.partition("=") for pair in text.split("&")] if mark else []
    return [{"name": name, "value": value} for name, equals, value in pairs if name or equals]


def cookies(headers: list[Header], name: str) -> list[dict[str, Any]]:
    """Return the names and values of the cookies in a field; empty if the field is redacted.

    `name`: "cookie" or "set-cookie".
    """
    found = [header["value"] for header in headers if header["name"].lower() == name and header["value"] != MASKED]
    pairs = [one for value in found for one in (value.split(";")[:1] if name == "set-cookie" else value.split(";"))]
    split = [pair.strip().partition("=") for pair in pairs]
    return [{"name": key, "value": value} for key, equals, value in split if equals]

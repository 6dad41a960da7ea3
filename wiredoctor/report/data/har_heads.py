"""The head of a message as HAR tells it: a name and a value per field, without the secrets (docs/pages/secrets.md)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from wiredoctor.findings import printable
from wiredoctor.text.redact import SCHEMES, WORDS, field_name, masked_host, masked_words

Header = dict[str, str]

_SHOWN = frozenset(("server", "via", "user-agent"))
"""Fields whose value is shown as it is."""

_PARAMETER = re.compile(r"(?:timeout|max)=\d{1,9}", re.IGNORECASE)
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+*-]{1,64}")
_AUTHENTICATION = frozenset(("authorization", "proxy-authorization", "www-authenticate", "proxy-authenticate"))
_SHORT = 256
"""The longest field (characters) that is cached, because there may be thousands."""

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def fields(head: bytes, *, secrets: bool) -> list[Header]:
    """The field lines of a head (RFC 9112 section 5), in their order; a line that has no colon is left out.

    `secrets`: names and values are as they were sent, in Latin-1.
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
    told = [_repeated(*line) if len(line[0]) + len(line[1]) <= _SHORT else _told(*line) for line in lines]
    return [{"name": name, "value": value} for name, value in told]


def value_of(headers: list[Header], name: str) -> str:
    """The first value of a field; empty without it."""
    return next((header["value"] for header in headers if header["name"].lower() == name), "")


def _told(name: str, value: str) -> tuple[str, str]:
    return printable(field_name(name.strip())) or "*", printable(_masked(name.strip().lower(), value))


@lru_cache(4_096)
def _repeated(name: str, value: str) -> tuple[str, str]:
    """Most fields are those of the message before."""
    return _told(name, value)


def _masked(name: str, value: str) -> str:
    value = _CONTROL.split(value)[0]
    if name in _SHOWN:
        return value
    if name in WORDS:
        return masked_words(name, value)
    if name == "keep-alive":
        return ", ".join(part if _PARAMETER.fullmatch(part) else "*" for part in map(str.strip, value.split(",")))
    if name == "content-length":
        return value if re.fullmatch(r"\d{1,20}", value) else "*"
    if name == "content-type":
        media = value.partition(";")[0].strip()
        return (media if _MEDIA_TYPE.fullmatch(media) else "*") + ("; *" if ";" in value else "")
    if name == "host":
        return masked_host(value)
    if name in _AUTHENTICATION:
        scheme, space, _ = value.partition(" ")
        return (scheme if scheme.lower() in SCHEMES else "*") + (" *" if space else "")
    return "*"


def query(target: str) -> list[Header]:
    """The query of a target that is masked already, pair by pair, as it was sent: nothing is decoded."""
    _, mark, text = target.partition("?")
    pairs = [pair.partition("=") for pair in text.split("&")] if mark else []
    return [{"name": name, "value": value} for name, equals, value in pairs if name or equals]


def cookies(headers: list[Header], name: str) -> list[dict[str, Any]]:
    """Names and values of Cookie or Set-Cookie, where they are shown at all."""
    found = [header["value"] for header in headers if header["name"].lower() == name and header["value"] != "*"]
    pairs = [one for value in found for one in (value.split(";")[:1] if name == "set-cookie" else value.split(";"))]
    split = [pair.strip().partition("=") for pair in pairs]
    return [{"name": key, "value": value} for key, equals, value in split if equals]

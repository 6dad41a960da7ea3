"""Recognize values of header fields that cannot contain a secret, by the grammar of each field (RFC 9110, 9111)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from wiredoctor.text.redact import MASKED
from wiredoctor.text.regex import Regex

_QUALITY = r"(?:[ \t]*;[ \t]*q=[01](?:\.[0-9]{0,3})?)?"
_TYPE = r"(?:\*|application|audio|font|image|message|model|multipart|text|video)"
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DATE = Regex(rf"{_DAY}, [0-9]{{2}} {_MONTH} [0-9]{{4}} [0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}} GMT")
_NUMBER = Regex(r"[0-9]{1,10}")
_DIRECTIVES = (
    r"no-cache|no-store|no-transform|must-revalidate|must-understand|proxy-revalidate|public|private|immutable|only-if-cached"
    r"|(?:max-age|s-maxage|max-stale|min-fresh|stale-while-revalidate|stale-if-error)(?:=[0-9]{1,10})?"
)

LISTS: Mapping[str, Regex[str]] = {
    "accept": Regex(rf"{_TYPE}/(?:\*|[A-Za-z][A-Za-z0-9.+-]{{0,39}}){_QUALITY}"),
    "accept-charset": Regex(rf"(?:\*|utf-8|us-ascii|iso-8859-[0-9]{{1,2}}){_QUALITY}", re.IGNORECASE),
    "accept-encoding": Regex(rf"(?:\*|identity|gzip|x-gzip|deflate|compress|br|zstd){_QUALITY}"),
    "accept-language": Regex(rf"(?:\*|[a-z]{{2,3}}(?:-[A-Z][a-z]{{3}})?(?:-(?:[A-Z]{{2}}|[0-9]{{3}}))?){_QUALITY}"),
    "accept-ranges": Regex("bytes|none"),
    "allow": Regex("GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH"),
    "cache-control": Regex(_DIRECTIVES),
    "pragma": Regex("no-cache"),
    "range": Regex(r"(?:bytes=)?(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})"),
}
"""For each field whose value is a list: the pattern of the items that may be shown."""

VALUES: Mapping[str, Regex[str]] = {
    **dict.fromkeys(("date", "last-modified", "expires", "if-modified-since", "if-unmodified-since"), _DATE),
    **dict.fromkeys(("age", "max-forwards", "sec-websocket-version", "upgrade-insecure-requests"), _NUMBER),
    "content-range": Regex(r"bytes (?:[0-9]{1,18}-[0-9]{1,18}|\*)/(?:[0-9]{1,18}|\*)"),
    "retry-after": _NUMBER,
}
"""For each field with a single value: the pattern of the values that may be shown."""


def plain_value(name: str, value: str) -> str | None:
    """Return the value of a field with MASKED for each part that may be a secret; None if this module does not know the field.

    `name`: the field name in lower case.
    """
    if name in VALUES:
        return value if VALUES[name].fullmatch(value) else MASKED
    if name not in LISTS:
        return None
    parts = [part.strip(" \t") for part in value.split(",")]
    return ", ".join(part if LISTS[name].fullmatch(part) else MASKED for part in parts)

"""Decide which numbers in field values are kept: plausible lengths, limits and versions, in fields that HTTP defines for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from wiredoctor.extract.anonymize.vocabulary import GENERIC

Number = Callable[[bytes, bytes, Collection[bytes]], bytes]
"""A function that returns the part of a word that is kept; the part may be empty.

The arguments are the word, the text before the word, and the words that are kept.
"""

_LENGTH = re.compile(rb"0*([0-9]{0,20})")
_LENGTHS = re.compile(rb"(?:[ \t]*[0-9]+[ \t]*,)*[ \t]*")
_SURE = 12
"""A length is kept if it has at most this many digits."""

_LIMIT = re.compile(rb"[0-9]{1,5}")
_LIMITED = re.compile(rb"(?:timeout|max)[ \t]*=[ \t]*\Z", re.IGNORECASE)
_VERSION = re.compile(rb"[0-9]{1,3}(?:\.[0-9]{1,3}){0,2}")
_PRODUCT = re.compile(rb"([A-Za-z0-9+._-]+)/\Z")
_RECEIVED = re.compile(rb"[0-9]\.[0-9]")
_ELEMENT = re.compile(rb"(?:\A|,)[ \t]*\Z")
NEAR = 64
"""The number of examined bytes that precede a word."""


def length(word: bytes, before: bytes, _stays: Collection[bytes]) -> bytes:
    """Return the word if it is a plausible length in Content-Length (RFC 9110 section 8.6). `before`: the text before the word.

    For an implausible length, return another number with as many digits; for other words, return nothing.
    """
    found = _LENGTH.fullmatch(word) if _LENGTHS.fullmatch(before) else None
    if found is None or len(found[1]) <= _SURE:
        return word if found else b""
    return word[: found.start(1)] + b"1" + b"0" * (len(found[1]) - 1)


def limit(word: bytes, before: bytes, _stays: Collection[bytes]) -> bytes:
    """Return the word if the text `before` ends with the timeout or max parameter of Keep-Alive; otherwise, return nothing."""
    return word if _LIMIT.fullmatch(word) and _LIMITED.search(before) else b""


def version(word: bytes, before: bytes, stays: Collection[bytes]) -> bytes:
    """Return the word if it is the version of a common product, or the HTTP version in Via.

    `before`: the text before the word. `stays`: the words that are kept, among them product names. See RFC 9110 sections 7.6.3,
    7.8 and 10.1.5.
    """
    product = _PRODUCT.search(before)
    if product is not None:
        name = product[1].lower()
        return word if name in stays and name not in GENERIC and _VERSION.fullmatch(word) else b""
    return word if _RECEIVED.fullmatch(word) and _ELEMENT.search(before) else b""


NUMBERS: dict[bytes, Number] = {
    b"content-length": length,
    b"keep-alive": limit,
    b"user-agent": version,
    b"server": version,
    b"via": version,
    b"upgrade": version,
}
"""The functions that keep numbers in the values of a field, by lower-case field name."""

"""Anonymize header sections word by word: words for framing and for rules are kept, and all others are replaced.

Lengths do not change, and violations of the grammar of RFC 9112 are kept.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

from wiredoctor.extract.anonymize.kept_numbers import NEAR, NUMBERS, Number
from wiredoctor.extract.anonymize.names import Addresses, Tokens
from wiredoctor.extract.anonymize.vocabulary import FIELD_NAMES, KEPT
from wiredoctor.protocols.http1.head import KNOWN_METHODS
from wiredoctor.text.redact import masked_reason

_LINE = re.compile(rb"[^\n]*\n|[^\n]+\Z")
_HTTP = re.compile(rb"HTTP/[0-9]\.[0-9][ \t\r]{0,9}\n?")
_STATUS = re.compile(rb"(HTTP/[0-9]\.[0-9] *[0-9]{0,3})(?![0-9])(.*)\Z", re.DOTALL)
_FIELD = re.compile(rb"([^:]*)(:)(.*)\Z", re.DOTALL)
_WORD = re.compile(rb"[A-Za-z0-9][A-Za-z0-9+._-]*")
_DAYS = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTHS = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DATE = re.compile(rb"(%b, [0-9]{2}[ -]%b[ -][0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT)" % (_DAYS, _MONTHS))
_SCHEME = re.compile(rb"\A(https?|wss?)(?=://)", re.IGNORECASE)
_AUTHORITY = re.compile(rb"://[^/?#]*")
_PORT = re.compile(rb":([0-9]{1,5})[ \t\r\n]*\Z")
_LAST_PORT = 65535
_BASIC = re.compile(rb"(\s*basic +)([A-Za-z0-9+/=]+)(\s*)\Z", re.DOTALL | re.IGNORECASE)

_DAY = b"Sun, 09 Sep 2001 01:46:40 GMT"
"""The date that replaces every date (RFC 9110 section 5.6.7).

If two-digit numbers were replaced individually, the seconds of successive dates would reveal all replacements.
"""


_OF_CLIENTS = (b"x-forwarded-for", b"x-real-ip", b"forwarded")


_ADDRESS = re.compile(rb"(?<![\w.:])(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:]*)(?![\w.])")
"""A pattern for text that may be an IPv4 or IPv6 address."""

_NAMED = re.compile(rb"(?i)\b(?:for|by|host|proto)(?==)|([^\W_]+)")
"""A pattern for a parameter name of Forwarded (RFC 7239 section 4), or for any other word."""


def _without_words(value: bytes) -> bytes:
    return _NAMED.sub(lambda found: b"x" * len(found[1]) if found[1] else found[0], value)


class Heads:
    """Anonymizes header sections. `words` collects the words that were kept, in lower case."""

    def __init__(self, tokens: Tokens, addresses: Addresses) -> None:
        self._tokens, self._addresses = tokens, addresses
        self.words: set[bytes] = set()

    def head(self, data: bytes) -> bytes:
        """Replace a start line and the field lines after it. The header section may be incomplete."""
        made: list[bytes] = []
        name, started = b"", False
        for line in _LINE.findall(data):
            if not started:
                # empty lines before the start line are allowed (RFC 9112 section 2.2)
                made.append(self.start(line))
                started = bool(line.strip(b"\r\n"))
                continue
            if not line.startswith((b" ", b"\t")):
                name = line.partition(b":")[0].strip(b" \t").lower()
            made.append(self.field(line, name))
        return b"".join(made)

    def fields(self, data: bytes) -> bytes:
        """Replace field lines, for example those of a trailer section."""
        return b"".join(self.field(line, line.partition(b":")[0].strip(b" \t").lower()) for line in _LINE.findall(data))

    def start(self, line: bytes) -> bytes:
        """Replace a request line or a status line."""
        if found := _STATUS.match(line):
            shown = masked_reason(found[2].decode("latin-1")).split(" ")
            parts = found[2].split(b" ")
            if len(shown) != len(parts):
                return found[1] + self._tokens.plain(found[2])
            same = [word == part.decode("latin-1") for word, part in zip(shown, parts, strict=True)]
            kept = [self._keep_word(part) if usual else self._tokens.plain(part) for usual, part in zip(same, parts, strict=True)]
            return found[1] + b" ".join(kept)
        method, space, rest = line.partition(b" ")
        if not space:
            return self._tokens.plain(line)
        target, blank, version = rest.rpartition(b" ")
        if not _HTTP.fullmatch(version):
            target, blank, version = rest, b"", b""
        said = self._keep_word(method) if method in KNOWN_METHODS else self._tokens.plain(method)
        return said + space + self.uri(target) + blank + version

    def uri(self, target: bytes) -> bytes:
        """Replace a request target or URI reference, but keep its scheme and port."""
        scheme = _SCHEME.match(target)
        if scheme is None:
            return self._authority(target) if _PORT.search(target) else self._tokens.plain(target)
        authority = _AUTHORITY.match(target, scheme.end())
        end = authority.end() if authority else scheme.end()
        return scheme[0] + self._authority(target[scheme.end() : end]) + self._tokens.plain(target[end:])

    def _authority(self, text: bytes) -> bytes:
        """Replace a host but keep its port, which is also in the TCP header and which rules compare."""
        port = _PORT.search(text)
        if port is None or int(port[1]) > _LAST_PORT or b"/" in text.removeprefix(b"://"):
            return self._with_addresses(text, self._tokens.text)
        return self._with_addresses(text[: port.start()], self._tokens.text) + text[port.start() :]

    def _with_addresses(self, text: bytes, replace: Callable[[bytes], bytes]) -> bytes:
        """Replace each IP address in a text with the replacement used in packet headers, if both have the same length as text.

        All other text is passed to the function `replace`.
        """
        made, at = b"", 0
        for found in _ADDRESS.finditer(text):
            if address := self._addresses.text(found[0]):
                made += replace(text[at : found.start()]) + address
                at = found.end()
        return made + replace(text[at:])

    def field(self, line: bytes, name: bytes) -> bytes:
        """Replace a field line, or a continuation line of a folded field. `name`: the field name in lower case."""
        if line.startswith((b" ", b"\t")):
            return self._value(line, name)
        found = _FIELD.match(line)
        if found is None:
            return self._tokens.plain(line)
        known = name in FIELD_NAMES
        said = self._keep_word(found[1]) if known else self._tokens.plain(found[1])
        return said + found[2] + (self._value(found[3], name) if known else self._replace_value(found[3]))

    def _replace_value(self, value: bytes) -> bytes:
        """Replace each word of a field value, and each date by another date."""
        return b"".join(_DAY if _DATE.fullmatch(part) else self._tokens.plain(part) for part in _DATE.split(value))

    def _value(self, value: bytes, name: bytes) -> bytes:
        if name.endswith(b"authorization") and (basic := _BASIC.match(value)):
            return self._keep_word(basic[1]) + self._basic(basic[2]) + basic[3]
        if name.endswith(b"authenticate") or name.endswith(b"authorization"):
            return self._authentication(value)
        if name in (b"referer", b"location", b"origin", b"content-location"):
            blank = value[: len(value) - len(value.lstrip(b" \t"))]
            return blank + self.uri(value[len(blank) :])
        if name == b"host":
            return self._authority(value)
        if name in KEPT:
            return self._replace_words(value, KEPT[name], NUMBERS.get(name))
        if name in _OF_CLIENTS:
            return self._with_addresses(value, _without_words)
        return self._replace_value(value)

    def _replace_words(self, value: bytes, stays: frozenset[bytes], number: Number | None = None) -> bytes:
        made: list[bytes] = []
        at = 0
        for found in _WORD.finditer(value):
            left = number(found[0], value[max(found.start() - NEAR, 0) : found.start()], stays) if number else b""
            made += (
                self._tokens.plain(value[at : found.start()]),
                self._keep_word(left) if left else self._replace_word(found[0], stays),
            )
            at = found.end()
        return b"".join((*made, self._tokens.plain(value[at:])))

    def _replace_word(self, word: bytes, stays: frozenset[bytes]) -> bytes:
        if word.lower() in stays:
            return self._keep_word(word)
        # decide for each word in text like "nginx-1.2" or "Python-urllib.x"
        if stays:
            return b"".join(
                self._keep_word(part) if part.lower() in stays else self._tokens.text(part)
                for part in re.split(rb"([._+-])", word)
            )
        return self._tokens.text(word)

    def _authentication(self, value: bytes) -> bytes:
        """Replace credentials or a challenge. Keep the scheme, parameter names, and quoted true and false (values of `stale`)."""
        stays = KEPT[b"authorization"]
        parts = re.split(rb'("[^"]*"?)', value)
        return b"".join(self._replace_quoted(part) if part[:1] == b'"' else self._replace_words(part, stays) for part in parts)

    def _replace_quoted(self, text: bytes) -> bytes:
        return text if text.strip(b'"').lower() in (b"true", b"false") else self._tokens.plain(text)

    def _basic(self, text: bytes) -> bytes:
        """Replace Basic credentials (RFC 7617): the user name word by word, the password with filler of the same length.

        Text that cannot be decoded is replaced with the same filler for all users.
        """
        nobody = (base64.b64encode(b"xxx") * len(text))[: len(text)]
        try:
            said = binascii.a2b_base64(text)
        except binascii.Error:
            return nobody
        user, colon, password = said.partition(b":")
        made = base64.b64encode(self._tokens.plain(user) + colon + b"x" * len(password))
        return made if len(made) == len(text) else nobody

    def _keep_word(self, text: bytes) -> bytes:
        self.words.update(re.findall(rb"[a-z0-9]+", text.lower()))
        return text

"""Heads of messages, word by word: names and values that frame a message or that rules need stay, all else is replaced.

Nothing is longer or shorter than it was, and what breaks the grammar of RFC 9112 goes on to break it in the same way.
"""

from __future__ import annotations

import base64
import binascii
import re

from wiredoctor.extract.anonymize.names import Tokens
from wiredoctor.extract.anonymize.numbers import NEAR, NUMBERS, Number
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
"""In the place of each date (RFC 9110 section 5.6.7): if numbers of two digits had others in their place, who counts the seconds
that pass would know all of them."""


_OF_CLIENTS = (b"x-forwarded-for", b"x-real-ip", b"forwarded")


_NAMED = re.compile(rb"(?i)\b(?:for|by|host|proto)(?==)|([^\W_]+)")
"""Parameters of Forwarded (RFC 7239 section 4), or what else is said."""


def _unnamed(value: bytes) -> bytes:
    """The same without addresses: another one would contradict those of the packets, which have other lengths as text."""
    return _NAMED.sub(lambda found: b"x" * len(found[1]) if found[1] else found[0], value)


class Heads:
    """Replaces heads; `words`: what stays of them is noted there, in lower case."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self.words: set[bytes] = set()

    def head(self, data: bytes) -> bytes:
        """A start line and fields, with or without their end."""
        made: list[bytes] = []
        name, started = b"", False
        for line in _LINE.findall(data):
            if not started:
                # empty lines before it are allowed, RFC 9112 section 2.2
                made.append(self.start(line))
                started = bool(line.strip(b"\r\n"))
                continue
            if not line.startswith((b" ", b"\t")):
                name = line.partition(b":")[0].strip(b" \t").lower()
            made.append(self.field(line, name))
        return b"".join(made)

    def fields(self, data: bytes) -> bytes:
        """Lines of fields, as in trailers."""
        return b"".join(self.field(line, line.partition(b":")[0].strip(b" \t").lower()) for line in _LINE.findall(data))

    def start(self, line: bytes) -> bytes:
        """A request line or a status line."""
        if found := _STATUS.match(line):
            shown = masked_reason(found[2].decode("latin-1")).split(" ")
            parts = found[2].split(b" ")
            if len(shown) != len(parts):
                return found[1] + self._tokens.plain(found[2])
            same = [word == part.decode("latin-1") for word, part in zip(shown, parts, strict=True)]
            kept = [self._usual(part) if usual else self._tokens.plain(part) for usual, part in zip(same, parts, strict=True)]
            return found[1] + b" ".join(kept)
        method, space, rest = line.partition(b" ")
        if not space:
            return self._tokens.plain(line)
        target, blank, version = rest.rpartition(b" ")
        if not _HTTP.fullmatch(version):
            target, blank, version = rest, b"", b""
        said = self._usual(method) if method in KNOWN_METHODS else self._tokens.plain(method)
        return said + space + self.uri(target) + blank + version

    def uri(self, target: bytes) -> bytes:
        """A target, or a reference: its scheme and its port stay."""
        scheme = _SCHEME.match(target)
        if scheme is None:
            return self._authority(target) if _PORT.search(target) else self._tokens.plain(target)
        authority = _AUTHORITY.match(target, scheme.end())
        end = authority.end() if authority else scheme.end()
        return scheme[0] + self._authority(target[scheme.end() : end]) + self._tokens.plain(target[end:])

    def _authority(self, text: bytes) -> bytes:
        """A host without its port, which TCP says, too, and which rules compare."""
        port = _PORT.search(text)
        if port is None or int(port[1]) > _LAST_PORT or b"/" in text.removeprefix(b"://"):
            return self._tokens.text(text)
        return self._tokens.text(text[: port.start()]) + text[port.start() :]

    def field(self, line: bytes, name: bytes) -> bytes:
        """One line of a field of this name (in lower case), which may be folded."""
        if line.startswith((b" ", b"\t")):
            return self._value(line, name)
        found = _FIELD.match(line)
        if found is None:
            return self._tokens.plain(line)
        known = name in FIELD_NAMES
        said = self._usual(found[1]) if known else self._tokens.plain(found[1])
        return said + found[2] + (self._value(found[3], name) if known else self._other(found[3]))

    def _other(self, value: bytes) -> bytes:
        """A value of which nothing stays; a date becomes another one."""
        return b"".join(_DAY if _DATE.fullmatch(part) else self._tokens.plain(part) for part in _DATE.split(value))

    def _value(self, value: bytes, name: bytes) -> bytes:
        if name.endswith(b"authorization") and (basic := _BASIC.match(value)):
            return self._usual(basic[1]) + self._basic(basic[2]) + basic[3]
        if name.endswith(b"authenticate") or name.endswith(b"authorization"):
            return self._authentication(value)
        if name in (b"referer", b"location", b"origin", b"content-location"):
            blank = value[: len(value) - len(value.lstrip(b" \t"))]
            return blank + self.uri(value[len(blank) :])
        if name == b"host":
            return self._authority(value)
        if name in KEPT:
            return self._words(value, KEPT[name], NUMBERS.get(name))
        if name in _OF_CLIENTS:
            return _unnamed(value)
        return self._other(value)

    def _words(self, value: bytes, stays: frozenset[bytes], number: Number | None = None) -> bytes:
        made: list[bytes] = []
        at = 0
        for found in _WORD.finditer(value):
            left = number(found[0], value[max(found.start() - NEAR, 0) : found.start()], stays) if number else b""
            made += (self._tokens.plain(value[at : found.start()]), self._usual(left) if left else self._word(found[0], stays))
            at = found.end()
        return b"".join((*made, self._tokens.plain(value[at:])))

    def _word(self, word: bytes, stays: frozenset[bytes]) -> bytes:
        if word.lower() in stays:
            return self._usual(word)
        # "nginx-1.2", "Python-urllib.x": word by word
        if stays:
            return b"".join(
                self._usual(part) if part.lower() in stays else self._tokens.text(part) for part in re.split(rb"([._+-])", word)
            )
        return self._tokens.text(word)

    def _authentication(self, value: bytes) -> bytes:
        """The scheme, and of parameters their names; quoted texts are replaced, but for stale."""
        stays = KEPT[b"authorization"]
        parts = re.split(rb'("[^"]*"?)', value)
        return b"".join(self._quoted(part) if part[:1] == b'"' else self._words(part, stays) for part in parts)

    def _quoted(self, text: bytes) -> bytes:
        return text if text.strip(b'"').lower() in (b"true", b"false") else self._tokens.plain(text)

    def _basic(self, text: bytes) -> bytes:
        """Credentials of RFC 7617: a user is another one, and always the same; of the password the length is left."""
        nobody = (base64.b64encode(b"xxx") * len(text))[: len(text)]
        try:
            said = binascii.a2b_base64(text)
        except binascii.Error:
            return nobody
        user, colon, password = said.partition(b":")
        made = base64.b64encode(self._tokens.plain(user) + colon + b"x" * len(password))
        return made if len(made) == len(text) else nobody

    def _usual(self, text: bytes) -> bytes:
        self.words.update(re.findall(rb"[a-z0-9]+", text.lower()))
        return text

"""Parse the names and protocols in the ClientHello, and the server's choices in the ServerHello.

See RFC 8446 sections 4.1 and 5.1, RFC 6066 section 3 (server_name), and RFC 7301 (ALPN). A hello may span records and segments; a
hello with inconsistent lengths is ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from wiredoctor import limits

MAX_NAME = 255
"""The maximum size of a host name in bytes (RFC 1035 section 3.1)."""

HANDSHAKE, _CLIENT, _SERVER = 22, 1, 2
_SERVER_NAME, _PROTOCOLS, _EARLY_DATA, _VERSIONS = 0, 16, 42, 43
_HIDING = frozenset({0xFE0D, 0xFFCE})
"""The extensions encrypted_client_hello (RFC 9849), and encrypted_server_name of its earlier drafts."""
_VERSION = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}

_NO_RECORD = -1


class Hello(NamedTuple):
    """The content of a hello, as text with one character per byte.

    version: the TLS version that the server chose, or the highest one that the client offers. name: the server name (SNI).
    protocols: the ALPN protocols, such as "h2,http/1.1". hides: a part of the ClientHello is encrypted, so the true name may
    differ. versions: the versions that the client offers, such as "TLS 1.3, TLS 1.2". suites: the number of cipher suites that it
    offers. is_1_3: the server chose TLS 1.3, or a draft of it. early_data: the client offers early data.
    """

    version: str = ""
    name: str = ""
    protocols: str = ""
    hides: bool = False
    versions: str = ""
    suites: int = 0
    is_1_3: bool = False
    early_data: bool = False


NOTHING = Hello()

TlsFacts = tuple[str, str, str, str, bool]
"""The version, the server name, the protocols that the client offers, the chosen one, and whether the true name may differ."""
SILENT: TlsFacts = ("", "", "", "", False)


@dataclass(slots=True, eq=False, repr=False)
class Side:
    """The TLS records that one side has sent, until its hello is complete.

    `record`: the number of missing bytes of the current record. `kind`: 1 ClientHello, 2 ServerHello, 0 unknown.
    `rest`: the bytes after the hello in its record, as far as they were added with it.
    """

    head: bytes = b""
    record: int = _NO_RECORD
    message: bytearray = field(default_factory=bytearray)
    seen: int = 0
    kind: int = 0
    hello: Hello = NOTHING
    rest: bytes = b""

    def add(self, data: bytes) -> bool:
        """Add bytes of the stream; return False when no more are needed."""
        self.seen += len(data)
        if self.seen > limits.TLS_HELLO.value:
            return self._over()
        at = 0
        while at < len(data):
            if self.record <= 0:
                at += self._record_head(data, at)
                if len(self.head) == 5 and not self._begin_record():
                    return self._over()
                continue
            taken = min(self.record, len(data) - at)
            self.message += data[at : at + taken]
            self.record -= taken
            at += taken
            if self._is_complete():
                return self._over()
        return True

    def _record_head(self, data: bytes, at: int) -> int:
        """Read missing bytes of the five-byte record header from data[at:]. Return the number of bytes read."""
        if self.record == 0:
            self.head, self.record = b"", _NO_RECORD
        part = data[at : at + 5 - len(self.head)]
        self.head += part
        return len(part)

    def _begin_record(self) -> bool:
        """Return whether the record may contain a hello, according to its header."""
        self.record = int.from_bytes(self.head[3:], "big")
        return self.head[0] == HANDSHAKE and self.head[1] == 3 and 0 < self.record <= limits.TLS_HELLO.value

    def _is_complete(self) -> bool:
        """Parse the hello if it is complete. Return whether no more bytes are needed, because it is complete or not a hello."""
        message = self.message
        if len(message) < 4:
            return False
        end = 4 + int.from_bytes(message[1:4], "big")
        if message[0] not in (_CLIENT, _SERVER) or end > limits.TLS_HELLO.value:
            return True
        if len(message) < end:
            return False
        self.kind = message[0]
        self.hello = _read(bytes(message[4:end]), self.kind)
        self.rest = bytes(message[end:])
        return True

    def _over(self) -> bool:
        self.message, self.head = bytearray(), b""
        return False


def may_begin(data: bytes) -> bool:
    """Return whether these bytes, at most two, may be the beginning of a handshake record."""
    return data in (b"\x16", b"\x16\x03")


def _read(body: bytes, kind: int) -> Hello:
    """Parse the body of a hello message; `kind` is _CLIENT or _SERVER. Return NOTHING if its lengths are inconsistent."""
    try:
        extensions = dict(_extensions(body, kind))
        name, protocols = extensions.get(_SERVER_NAME, b""), extensions.get(_PROTOCOLS, b"")
        supported = extensions.get(_VERSIONS)
        return Hello(
            _version(int.from_bytes(body[:2], "big"), supported, kind),
            _name(name) if kind == _CLIENT else "",
            ",".join(_text(p) for p in _vectors(_vector(protocols, 2))) if protocols else "",
            not _HIDING.isdisjoint(extensions),
            _versions(int.from_bytes(body[:2], "big"), supported) if kind == _CLIENT else "",
            _number(body, 35 + body[34], 2) // 2 if kind == _CLIENT else 0,
            kind == _SERVER and supported is not None,
            _EARLY_DATA in extensions,
        )
    except ValueError:
        return NOTHING


def _extensions(body: bytes, kind: int) -> Iterator[tuple[int, bytes]]:
    """Yield the number and content of each extension, without repetitions of a number. Raise ValueError if lengths are
    inconsistent.

    tshark shows repetitions too, but servers reject a hello that has any.
    """
    at = 2 + 32
    at += 1 + _number(body, at, 1)
    if kind == _CLIENT:
        at += 2 + _number(body, at, 2)
        at += 1 + _number(body, at, 1)
    else:
        at += 3
    if at > len(body):
        raise ValueError
    block = _vector(body[at:], 2) if at < len(body) else b""
    at, known = 0, set[int]()
    while at < len(block):
        number, size = _number(block, at, 2), _number(block, at + 2, 2)
        at += 4
        if at + size > len(block):
            raise ValueError
        if number not in known:
            yield number, block[at : at + size]
        known.add(number)
        at += size


def _number(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise ValueError
    return int.from_bytes(data[at : at + size], "big")


def _vector(data: bytes, size: int) -> bytes:
    """Return the content of a TLS vector. The vector begins with a length field of `size` bytes.

    Raise ValueError unless the length field equals the number of bytes after it.
    """
    if size + _number(data, 0, size) != len(data):
        raise ValueError
    return data[size:]


def _vectors(data: bytes) -> Iterator[bytes]:
    """Yield the strings of a sequence in which a one-byte length field precedes each string.

    Raise ValueError if the lengths are inconsistent.
    """
    at = 0
    while at < len(data):
        length = data[at]
        at += 1
        if at + length > len(data):
            raise ValueError
        yield data[at : at + length]
        at += length


def _name(content: bytes) -> str:
    """Return the host name in a server_name extension; empty if it contains none."""
    if not content:
        return ""
    names = _vector(content, 2)
    at = 0
    while at < len(names):
        kind, size = names[at], _number(names, at + 1, 2)
        at += 3
        if at + size > len(names):
            raise ValueError
        if kind == 0:
            return _text(names[at : at + size]) if size <= MAX_NAME else ""
        at += size
    return ""


def _version(legacy: int, supported: bytes | None, kind: int) -> str:
    if supported is None:
        return _VERSION.get(legacy, "")
    if kind == _SERVER:
        return _VERSION.get(int.from_bytes(supported, "big"), "") if len(supported) == 2 else ""
    known = _known_versions(supported)
    return _VERSION[max(known)] if known else ""


def _versions(legacy: int, supported: bytes | None) -> str:
    """Return the versions that a ClientHello offers, newest first. Without the extension, it offers all up to `legacy`."""
    known = [legacy] if supported is None else _known_versions(supported)
    return ", ".join(_VERSION[number] for number in sorted(known, reverse=True) if number in _VERSION)


def _known_versions(supported: bytes) -> list[int]:
    offered = _vector(supported, 1)
    return [number for at in range(0, len(offered) - 1, 2) if (number := int.from_bytes(offered[at : at + 2], "big")) in _VERSION]


def _text(data: bytes) -> str:
    return data.decode("latin-1")

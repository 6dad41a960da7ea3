"""Anonymize TLS and HTTP/2 streams. Framing is kept, and so are the TLS versions and protocol names that rules need."""

from __future__ import annotations

from wiredoctor.extract.anonymize.names import Tokens
from wiredoctor.extract.anonymize.streams import NEUTRAL, Stream

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The HTTP/2 connection preface (RFC 9113 section 3.4)."""

_CHANGE, _ALERT, _HANDSHAKE, _DATA = 20, 21, 22, 23
_PROTOCOLS = frozenset((b"h2", b"http/1.1", b"http/1.0", b"http/0.9", b"h3"))
_LONGEST = 18432
_VERSIONS = 43
"""The number of the TLS extension supported_versions (RFC 8446 section 4.2.1)."""

_SETTINGS = b"\x04\x00\x00\x00\x00\x00"
"""The type, flags and stream id of a SETTINGS frame, with which each side begins (RFC 9113 section 3.4)."""


def tls(stream: Stream, tokens: Tokens) -> None:
    """Replace a TLS stream, but keep record headers, unencrypted alerts and the structure of hellos (RFC 8446 section 5.1)."""
    at, first = stream.low, True
    while at < stream.high:
        head = stream.part(at, at + 5)
        size = int.from_bytes(head[3:], "big")
        if len(head) < 5 or not _CHANGE <= head[0] <= _DATA or head[1] != 3 or head[2] > 4 or size > _LONGEST:
            return
        stream.overwrite(at, head)
        if head[0] == _CHANGE or (head[0] == _ALERT and size == 2):
            stream.overwrite(at + 5, stream.part(at + 5, at + 5 + min(size, 2)))
        elif head[0] == _HANDSHAKE and first:
            stream.overwrite(at + 5, hello(stream.part(at + 5, at + 5 + size), tokens))
        first = False
        at += 5 + size


def hello(data: bytes, tokens: Tokens) -> bytes:
    """Return a ClientHello or ServerHello (RFC 8446 section 4.1) with the same structure, but with most content replaced.

    Lengths, types, versions, cipher suites, compression methods and known protocol names are kept. Each word of the host name is
    replaced.
    """
    made = bytearray([NEUTRAL]) * len(data)
    if len(data) < 39 or data[0] not in (1, 2):
        return bytes(made)
    # bytes after the hello in the same record do not belong to it
    end = min(4 + int.from_bytes(data[1:4], "big"), len(data))
    made[:6] = data[:6]
    if end < 39:
        return bytes(made)
    at = 38
    at = _opaque(data, made, at, 1, end)
    if data[0] == 1:
        for length in (2, 1):
            begin, at = at, _opaque(data, made, at, length, end)
            made[begin:at] = data[begin:at]
    else:
        made[at : min(at + 3, end)] = data[at : min(at + 3, end)]
        at += 3
    made[at : min(at + 2, end)] = data[at : min(at + 2, end)]
    at += 2
    while at + 4 <= end:
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        made[at : at + 4] = data[at : at + 4]
        number, content = int.from_bytes(data[at : at + 2], "big"), data[at + 4 : min(at + 4 + size, end)]
        made[at + 4 : at + 4 + len(content)] = _extension(number, content, tokens)
        at += 4 + size
    return bytes(made[: len(data)])


def _opaque(data: bytes, made: bytearray, at: int, length: int, end: int) -> int:
    """Copy only the length of a TLS vector to `made`, and return the offset after the vector.

    `length` is the size in bytes of the vector's length field, which is at offset `at`. The result is at most `end`.
    """
    made[at : min(at + length, end)] = data[at : min(at + length, end)]
    return min(at + length + int.from_bytes(data[at : at + length], "big"), end)


def _extension(number: int, content: bytes, tokens: Tokens) -> bytes:
    if number == _VERSIONS:
        first = len(content) % 2
        return content[:first] + b"".join(_version(content[at : at + 2]) for at in range(first, len(content), 2))
    if number == 0 and len(content) >= 5:
        return content[:5] + tokens.text(content[5:])
    if number == 16:
        return _replace_names(content, tokens)
    return bytes([NEUTRAL]) * len(content)


def _version(number: bytes) -> bytes:
    """Return a version number unchanged if it is a TLS version or a GREASE value (RFC 8701), otherwise replace it with filler."""
    greased = number[0] == number[1] and number[0] & 15 == 10
    return number if greased or (number[0] == 3 and number[1] <= 4) else bytes([NEUTRAL, NEUTRAL])


def _replace_names(content: bytes, tokens: Tokens) -> bytes:
    made, at = content[:2], 2
    while at < len(content):
        name = content[at + 1 : at + 1 + content[at]]
        made += content[at : at + 1] + (name if name in _PROTOCOLS else tokens.text(name))
        at += 1 + content[at]
    return made[: len(content)]


def http2(stream: Stream) -> None:
    """Replace an HTTP/2 stream, but keep the preface and the frame headers (RFC 9113 section 4.1)."""
    at = stream.low
    if stream.part(at, at + len(PREFACE)) == PREFACE:
        stream.overwrite(at, PREFACE)
        at += len(PREFACE)
    if stream.part(at + 3, at + 9) != _SETTINGS:
        # without the beginning, the frame boundaries are unknown, and 9 arbitrary bytes would be kept
        return
    while len(head := stream.part(at, at + 9)) == 9 and head[3] <= 16:
        stream.overwrite(at, head)
        at += 9 + int.from_bytes(head[:3], "big")

"""Describe where faults of framing and grammar are, and quote the faulty bytes without secrets."""

from __future__ import annotations

import re

from wiredoctor.protocols.http1.fields import (
    BARE_LF,
    CONTROL_BYTE,
    CONTROLS,
    EIGHT_BIT_NAME,
    EMPTY_NAME,
    FOLDING,
    IDENTITY_CODING,
    LENGTH_LIST,
    LENGTH_TWICE,
    MAJOR_VERSION,
    MINOR_VERSION,
    NAME_CHARACTER,
    NO_COLON,
    NO_NUMBER,
    SPACE_BEFORE_COLON,
    SPACE_IN_NAME,
    STATUS_CASE,
    STATUS_DIGITS,
    STATUS_SPACING,
    TOKEN,
    find_name_faults,
)
from wiredoctor.protocols.http1.head import KNOWN_METHODS, STATUS_LINE
from wiredoctor.text.redact import MASKED, cut, field_name, payload, secrets_are_shown, without_tokens
from wiredoctor.text.regex import Regex

KINDS = {
    BARE_LF: "bare-lf",
    SPACE_BEFORE_COLON: "space-before-colon",
    FOLDING: "folding",
    CONTROL_BYTE: "control-byte",
    NO_NUMBER: "content-length",
    NO_COLON: "no-colon",
    EMPTY_NAME: "empty-name",
    SPACE_IN_NAME: "space-in-name",
    EIGHT_BIT_NAME: "eight-bit-name",
    NAME_CHARACTER: "name-character",
    LENGTH_TWICE: "length-twice",
    LENGTH_LIST: "length-list",
    IDENTITY_CODING: "identity-coding",
    STATUS_DIGITS: "status-digits",
    STATUS_SPACING: "status-spacing",
    STATUS_CASE: "status-case",
    MINOR_VERSION: "minor-version",
    MAJOR_VERSION: "major-version",
}
"""The name of each grammar fault, by bit of Fields.malformed, in the order in which faults of a header section are reported."""

_OF_FRAMING = NO_NUMBER | LENGTH_TWICE | LENGTH_LIST | IDENTITY_CODING
_OF_STATUS_LINE = STATUS_DIGITS | STATUS_SPACING | STATUS_CASE | MINOR_VERSION | MAJOR_VERSION
_OF_NAME = EMPTY_NAME | SPACE_IN_NAME | EIGHT_BIT_NAME | NAME_CHARACTER

MAX_SHOWN = 32
"""The maximum number of captured bytes that are shown for a fault."""

HTTP2_PREFACE = b"PRI * HTTP"
"""The first bytes of an HTTP/2 connection (RFC 9113 section 3.4)."""

MAX_LINES = 8
"""The maximum number of fields of a header section that are shown for a fault."""

MAX_OF_A_FIELD = 4096
"""The maximum number of bytes of an invalid field that are shown with --show-secrets."""


_BEGINNINGS = frozenset(known[:size] for known in KNOWN_METHODS for size in range(len(known) + 1))


def is_method(data: bytes) -> bool:
    """Return whether bytes begin with a known method, or are the beginning of one."""
    method, space, _ = data[:41].partition(b" ")
    return method in KNOWN_METHODS if space else method in _BEGINNINGS


def is_odd_status_line(data: bytes) -> bool:
    """Return whether bytes begin with a complete line that was meant as a status line but has no valid version or no status.

    Gnutella sends status lines without a version ("HTTP 200 OK"), which its clients read.
    """
    line, newline, _ = data.partition(b"\n")
    return bool(newline) and line[:5].upper() == b"HTTP/" and STATUS_LINE.match(line.removesuffix(b"\r")) is None


def is_other_status_line(data: bytes) -> bool:
    """Return whether bytes begin with a complete status line of SHOUTcast or Gnutella: "ICY 200 OK" or "HTTP 200 OK".

    Their own clients read it. Clients of HTTP refuse it (`refuses_other_status_lines`).
    """
    return b"\n" in data and data[:5].upper().startswith((b"ICY ", b"HTTP "))


_OF_HTTP = Regex(
    r"(curl|Wget|Go-http-client|python-(urllib|requests|httpx)|Python/[\d.]+ aiohttp|Java(-http-client)?|axios|okhttp)/", re.I
)


def refuses_other_status_lines(user_agent: str) -> bool:
    """Return whether a client is known to refuse the status lines of `is_other_status_line` (tried with ICY, see refusals.py)."""
    return user_agent in ("node", "undici") or _OF_HTTP.match(user_agent) is not None


_CONTROL = Regex(rb"[\x00-\x08\x0a-\x1f\x7f]")


def _as_text(data: bytes, most: int = MAX_SHOWN) -> str:
    """Return at most `most` bytes as text, up to the first control byte, because another field may begin there."""
    return _CONTROL.split(data[:most], maxsplit=1)[0].decode("latin-1")


def framing_lines(head: bytes) -> str:
    """Return the fields of a header section that determine the body length, as text for reports."""
    lines = [line.strip(b"\r") for line in head.split(b"\n")[1:]]
    names = (b"content-length", b"transfer-encoding")
    some = [line for line in lines if line.partition(b":")[0].strip(b" \t").lower() in names]
    more = [f"{len(some) - MAX_LINES} more"] if len(some) > MAX_LINES else []
    return "; ".join([*(cut(without_tokens(_as_text(line, MAX_OF_A_FIELD)), MAX_SHOWN) for line in some[:MAX_LINES]), *more])


def find_size_line_fault(line: bytes) -> str:
    """Return the name of the fault of a chunk size line that is valid for some recipients only. `line`: without its LF."""
    if not line.endswith(b"\r"):
        return "chunk-bare-lf"
    if line.startswith((b" ", b"\t")):
        return "chunk-leading-space"
    return "chunk-empty-extension" if line[:-1].endswith(b";") else "chunk-trailing-space"


def find_trailer_fault(line: bytes) -> str:
    """Return the name of the fault of a line in a trailer section, "" if it has none. `line`: without its line end.

    Lines that begin with white space continue the previous one.
    """
    name, colon, _ = line.partition(b":")
    if line.startswith((b" ", b"\t")) or (colon and TOKEN.match(name)):
        return ""
    return "trailer-name" if colon else "trailer-no-colon"


def find_place(head: bytes, kind: int) -> str:
    """Return where a grammar fault is, as text: a field name, the start line or a line number.

    If the fault is in the framing fields, return these fields; if it is in the status line, return the version and the status.
    `kind`: the bit of the fault.
    """
    start, *lines = head.removesuffix(b"\n").split(b"\n")
    if kind & _OF_FRAMING:
        return framing_lines(head)
    if kind & _OF_STATUS_LINE:
        line = STATUS_LINE.match(start)
        if line is None:
            return "the start line"
        # reports write several spaces as one
        return line[0][: line.end(5)].decode("latin-1").replace("  ", " \\x20")
    if kind == CONTROL_BYTE and start.removesuffix(b"\r").translate(None, CONTROLS) != start.removesuffix(b"\r"):
        return "the start line"
    if kind == BARE_LF and not start.endswith(b"\r"):
        return "the start line"
    if kind & _OF_NAME:
        names = (line.partition(b":") for line in lines if not line.startswith((b" ", b"\t")))
        odd = next((name for name, colon, _ in names if colon and find_name_faults(name) & kind), b"")
        return f"{payload(odd[:MAX_SHOWN])}:"
    name, first = b"", 0
    for number, line in enumerate(lines):
        folded = line.startswith((b" ", b"\t"))
        if not folded:
            name, first = line.partition(b":")[0], number
        text = line.removesuffix(b"\r")
        wrong = {
            BARE_LF: not line.endswith(b"\r"),
            FOLDING: folded,
            SPACE_BEFORE_COLON: line.strip().startswith(b":") if folded else b":" in line and name.endswith((b" ", b"\t")),
            CONTROL_BYTE: text.translate(None, CONTROLS) != text,
            NO_COLON: not folded and bool(text) and b":" not in text,
        }
        if wrong[kind]:
            if kind == NO_COLON:
                return f"line {number + 2}"
            return _field(name.rstrip(b" \t\r"), b"\n".join(lines[first : number + 1]))
    return "the empty line"


def _field(name: bytes, line: bytes) -> str:
    """Return the text by which reports identify an invalid field. This is its name, because the value may contain secrets.

    If `name` may contain secrets too, return a replacement. If secrets are shown, return the complete field.
    """
    if secrets_are_shown():
        return line[:MAX_OF_A_FIELD].removesuffix(b"\r").decode("latin-1")
    if not name:
        return "the empty line"
    if not TOKEN.match(name.translate(None, CONTROLS)):
        return "a line without a name"
    return field_name(_as_text(name)) or MASKED

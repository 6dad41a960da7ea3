"""Describe where faults of framing and grammar are, and quote the faulty bytes without secrets."""

from __future__ import annotations

from wiredoctor.protocols.http1.fields import BARE_LF, CONTROL_BYTE, CONTROLS, FOLDING, NO_COLON, NO_NUMBER, SPACE_BEFORE_COLON
from wiredoctor.protocols.http1.head import KNOWN_METHODS
from wiredoctor.text.redact import MASKED, cut, field_name, secrets_are_shown, without_tokens
from wiredoctor.text.regex import Regex

KINDS = {
    BARE_LF: "bare-lf",
    SPACE_BEFORE_COLON: "space-before-colon",
    FOLDING: "folding",
    CONTROL_BYTE: "control-byte",
    NO_NUMBER: "content-length",
    NO_COLON: "no-colon",
}
"""The name of each grammar fault, by bit of Fields.malformed, in the order in which faults of a header section are reported."""

MAX_SHOWN = 32
"""The maximum number of captured bytes that are shown for a fault."""

HTTP2_PREFACE = b"PRI * HTTP"
"""The first bytes of an HTTP/2 connection (RFC 9113 section 3.4)."""

_NAME = Regex(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")

MAX_LINES = 8
"""The maximum number of fields of a header section that are shown for a fault."""

MAX_OF_A_FIELD = 4096
"""The maximum number of bytes of an invalid field that are shown with --show-secrets."""


def is_method(data: bytes) -> bool:
    """Return whether bytes begin with a known method, or are the beginning of one."""
    method, space, _ = data[:41].partition(b" ")
    return method in KNOWN_METHODS if space else any(known.startswith(method) for known in KNOWN_METHODS)


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


def find_place(head: bytes, kind: int) -> str:
    """Return where a grammar fault is, as text: a field name, the start line or a line number.

    For an invalid Content-Length, return the whole field. `kind`: the bit of the fault.
    """
    start, *lines = head.removesuffix(b"\n").split(b"\n")
    if kind == NO_NUMBER:
        return framing_lines(head)
    if kind == CONTROL_BYTE and start.removesuffix(b"\r").translate(None, CONTROLS) != start.removesuffix(b"\r"):
        return "the start line"
    if kind == BARE_LF and not start.endswith(b"\r"):
        return "the start line"
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
    if not _NAME.match(name.translate(None, CONTROLS)):
        return "a line without a name"
    return field_name(_as_text(name)) or MASKED

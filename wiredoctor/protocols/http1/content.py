"""Check the content of a message body: whether it decodes to its end, and whether its JSON document is complete.

Bounds are bytes, never time, so the result does not depend on the machine.
"""

from __future__ import annotations

import json
import re
from encodings.aliases import aliases
from weakref import WeakSet

from wiredoctor import limits
from wiredoctor.protocols.http1.fields import TOKEN, Fields
from wiredoctor.protocols.http1.inflate import CODINGS, CodedError, Decoder, TooLargeError, has_brotli
from wiredoctor.text.redact import payload

FIRST_BYTES: dict[str, bytes] = {"gzip": b"\x1f", "x-gzip": b"\x1f", "zstd": b"\x28" + bytes(range(0x50, 0x60))}
"""The bytes with which content may begin, by content coding.

Sources: RFC 1952 section 2.3.1 for gzip; RFC 8878 sections 3.1.1 and 3.1.2 for frames and skippable frames of Zstandard. Content
in other codings may begin with any byte.
"""

_NO_CODINGS = frozenset(
    (
        *("none", "null", "undefined", "false", "true", "text", "plain", "html", "json", "xml"),
        *("binary", "base64", "quoted-printable", "7bit", "8bit"),
    )
)
"""Words that programs send as a content coding although they are none: unset values, types, and the encodings of mail (RFC 2045).

Other words may be private codings, on which client and server have agreed.
"""

_CHARSETS = frozenset(name for pair in aliases.items() if not pair[1].endswith("_codec") for name in pair)
"""The names of charsets, as Python spells them: with underscores."""

DECODED = (*CODINGS, "zstd", "br")
"""The codings that are decoded; br only if the package brotli is installed."""

GZIP = ("gzip", "x-gzip")
SEVERAL_MEMBERS = "several-members"
"""The fault of a body that consists of several gzip members with content (RFC 1952 section 2.2). Some clients read one."""

_IDENTITY = ("", "identity")

MAX_SHOWN = 32
"""The maximum number of bytes that are shown of a document's end."""

_CHECKSUMS = ("incorrect data check", "incorrect length check", "Restored data doesn't match checksum")
"""The messages of zlib and zstd for complete data whose checksum or length is wrong."""

_JSON = json.JSONDecoder(strict=False)
_CLOSING = {b"{": b"}", b"[": b"]"}
_CUT_VALUE = re.compile(r"t|tr|tru|f|fa|fal|fals|n|nu|nul|N|Na|-?|-?I\w*|\.|[eE][+-]?")
"""What is left of a value in which a document ends, at the position where the parser fails."""

_LONGEST_ESCAPE = len("\\u0000")


class Content:
    """The content of a body so far: what it decodes to, and the JSON document in it.

    `may_end`: false if only the first byte is checked. `is_done`: nothing more is checked. `is_left_out`: nothing is checked
    because too many bodies are being checked.
    """

    __slots__ = ("__weakref__", "_coding", "_decoder", "_json", "_kept", "_may_end", "_read", "is_done", "is_left_out")

    def __init__(self, coding: str, *, is_json: bool, may_end: bool = True) -> None:
        self._coding, self._may_end = coding, may_end
        self._decoder = Decoder(coding) if may_end and is_decoded(coding) else None
        self._json: list[bytes] | None = [] if is_json else None
        self._kept = self._read = 0
        self.is_done = self.is_left_out = False

    def close(self) -> None:
        """Free the memory."""
        self._decoder = self._json = None
        self.is_done = True
        _OPEN.discard(self)

    def add(self, data: bytes) -> str:
        """Read bytes of the body. Return the name of the fault that they show; "" if they show none."""
        fault = "" if self._read else self._begin(data)
        self._read += len(data)
        if fault or self.is_done:
            return fault
        if self._decoder is None:
            self._keep(data)
            return ""
        try:
            for made in self._decoder.decode(data):
                self._keep(made)
                if self._decoder.made > limits.DECODED.value:
                    raise TooLargeError
        except TooLargeError:
            self.close()
        except CodedError as error:
            self.close()
            return "wrong-checksum" if str(error) in _CHECKSUMS else "broken-coding"
        return ""

    def _begin(self, data: bytes) -> str:
        first = FIRST_BYTES.get(self._coding)
        fault = "unknown-coding" if is_no_coding(self._coding) else ""
        if first is not None and data[0] not in first:
            fault = "body-not-zstd" if self._coding == "zstd" else "body-not-gzip"
        self.is_left_out = self._may_end and not fault and len(_OPEN) >= limits.BODIES.value
        if fault or self.is_left_out or not self._may_end:
            self.close()
        else:
            _OPEN.add(self)
        return fault

    def _keep(self, made: bytes) -> None:
        """Keep bytes of a JSON document, unless it is too large."""
        if self._json is not None:
            self._kept += len(made)
            self._json.append(made)
            if self._kept > limits.JSON_BYTES.value:
                self._json = None
                if self._decoder is None:
                    self.close()

    def find_end(self) -> tuple[str, str]:
        """Return the fault of a body that is complete by its framing, and what shows it; two empty texts if it has none."""
        if self._decoder is not None and self._read and not self._decoder.ended_at:
            return "unfinished-coding", self._coding
        document = b"".join(self._json or ())
        if is_cut_json(document):
            return "cut-json", payload(document.rstrip()[-MAX_SHOWN:])
        members = 0 if self._decoder is None or self._coding not in GZIP else self._decoder.members
        return (SEVERAL_MEMBERS, f"{members:,} members") if members > 1 else ("", "")

    def find_length(self, due: int) -> tuple[str, str]:
        """Return the fault of a body of which less came than Content-Length (`due`), but whose content is complete.

        Return what shows it, too; two empty texts if the content is not complete.
        """
        decoder = self._decoder
        if decoder is not None:
            if not self._read or decoder.ended_at != self._read:
                return "", ""
            shown = f"{self._read:,} bytes of {self._coding} that decode to {decoder.made:,} bytes"
            return "length-before-coding" if decoder.made == due else "length-too-long", shown
        is_whole = is_whole_json(b"".join(self._json or ()))
        return ("length-too-long", f"a complete JSON document of {self._read:,} bytes") if is_whole else ("", "")


_OPEN: WeakSet[Content] = WeakSet()
"""The bodies that are being checked."""


def is_decoded(coding: str) -> bool:
    """Return whether content with this coding can be decoded."""
    return coding in DECODED and (coding != "br" or has_brotli())


def is_no_coding(coding: str) -> bool:
    """Return whether a word, in lower case, cannot be a content coding: a charset, a media type, or no token. Lists may be."""
    if coding in _IDENTITY or "," in coding:
        return False
    is_known = coding in _NO_CODINGS or coding.replace("-", "_") in _CHARSETS
    return is_known or TOKEN.match(coding.encode("latin-1")) is None


def coding_text(coding: str) -> str:
    """Return a content coding for reports. What is no token may be anything, so it is redacted."""
    data = coding.encode("latin-1")
    return coding if TOKEN.match(data) else payload(data[:MAX_SHOWN])


def needs_check(fields: Fields, status: int) -> bool:
    """Return whether the content of a message is checked. `status`: of a response; -1 for a request."""
    coding = fields.content_encoding
    is_coded = is_decoded(coding) or (status >= 0 and is_no_coding(coding))
    return status != 206 and (is_coded or (status == 200 and coding in _IDENTITY and _is_json(fields) and _may_end(fields)))


def make_content(fields: Fields, status: int) -> Content:
    """Return a new Content for a message for which `needs_check` is true."""
    return Content(fields.content_encoding, is_json=status == 200 and _is_json(fields), may_end=_may_end(fields))


def _may_end(fields: Fields) -> bool:
    """Return whether the body has an end that can be checked: it is no stream, and has no transfer coding but chunked."""
    return not (fields.event_stream or fields.endless) and fields.transfer_codings in ((), ("chunked",))


def _is_json(fields: Fields) -> bool:
    return fields.content_type in ("application/json", "text/json") or fields.content_type.endswith("+json")


def is_cut_json(data: bytes) -> bool:
    """Return whether bytes are the beginning of a JSON document: a parser fails, but only at their end."""
    if _has_both_ends(data):
        return False
    text = _text(data)
    try:
        if text.startswith(("{", "[")):
            _JSON.raw_decode(text)
    except json.JSONDecodeError as error:
        # a parser names the start of a string that does not end
        in_string = error.msg.startswith("Unterminated string")
        in_escape = error.msg.startswith("Invalid \\uXXXX") and len(text) - error.pos <= _LONGEST_ESCAPE
        return in_string or in_escape or _CUT_VALUE.fullmatch(text, error.pos) is not None
    except (RecursionError, ValueError):  # too deep, or a number with too many digits
        return False
    return False


def is_whole_json(data: bytes) -> bool:
    """Return whether bytes are exactly one JSON object or array."""
    text = _text(data)
    try:
        return text.startswith(("{", "[")) and _JSON.raw_decode(text)[1] == len(text)
    except (RecursionError, ValueError):
        return False


def _text(data: bytes) -> str:
    return data.decode(json.detect_encoding(data), "replace").lstrip("\ufeff").strip()


def _has_both_ends(data: bytes) -> bool:
    """Return whether a document is quickly seen to be complete: its last bracket closes the first, and all are in pairs."""
    data = data.strip()
    is_closed = _CLOSING.get(data[:1]) == data[-1:] and data.count(b'"') % 2 == 0
    return is_closed and all(data.count(one) == data.count(other) for one, other in _CLOSING.items())

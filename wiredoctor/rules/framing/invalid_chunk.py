"""A chunked body has an invalid chunk.

What it means
    A chunked body is a sequence of chunks: a line with the size in hexadecimal digits, that many bytes, and CRLF (RFC 9112
    section 7.1). Here the line contains no such number, or one that is too large for any program, or the bytes of a chunk are
    not followed by CRLF. Kind size-line, a warning: the line has the number, but also white space before it or at its end, a
    semicolon without an extension, or LF without CR. Kind trailer, a warning: the last chunk may be followed by trailer fields
    (name: value) and is followed by an empty line. Here a line before that empty line is no such field: it has no colon, or its
    name is empty or contains characters that a token cannot have.

Why it hurts
    After that a recipient cannot tell the body from its framing. It gives up ("invalid chunk size", "Malformed encoding
    found in chunked-encoding", ERR_INVALID_CHUNKED_ENCODING, IncompleteRead) and closes the connection. It often discards the
    valid part of the body, too. Some recipients continue, each in its own way, so attackers can make two of them see different
    messages. Kinds size-line and trailer: many recipients read the message, and the finding says which of them refuse it.

How it is proved
    The head says Transfer-Encoding: chunked, all earlier chunks are valid, and the following bytes do not match the grammar.
    Kinds size-line and trailer: only the first such line on each side of a connection is reported.

What it is not
    Chunk extensions, white space before their semicolon (RFC 9112 section 7.1.1), trailer fields, leading zeros and uppercase
    digits are all allowed. If
    a body ends before its last chunk, truncated-response reports it. But if the server then writes another response (a 500,
    after the program had failed), the head of that response is the invalid chunk. Bytes that are missing from the capture, or
    cut off in it, do not count.

What to do
    Leave the chunks to the server, the framework or the HTTP library.

References
    RFC 9112 sections 7.1 and 8. RFC 9110 sections 5.1 and 6.5.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.shared.framing_faults import SMUGGLING, Facts, candidates, message_label, words_of_fault
from wiredoctor.rules.shared.refusals import FORMS, refusal_words
from wiredoctor.tables import SERVER

_SIZE_LINE, _TRAILER = "size-line", "trailer"

RULE = Rule(
    symptom="*ERR_INVALID_CHUNKED_ENCODING*, *invalid chunk size*",
    severity={None: "error", _SIZE_LINE: "warning", _TRAILER: "warning"},
    title={
        None: "The {what} has an invalid chunk",
        _SIZE_LINE: "A chunk size line of the {what} is malformed",
        _TRAILER: "A line in the trailer section of the {what} is not a field",
    },
    message={
        None: "The {what} is sent in chunks (Transfer-Encoding: chunked), but it has other bytes where a chunk size, or the CRLF "
        "after a chunk, must be. From there on, body and framing cannot be distinguished: the {peer} has to give up, and "
        "closes the connection.",
        _SIZE_LINE: 'The {what} is sent in chunks, and a chunk size line {odd} ("{excerpt}"). Many recipients read '
        "it.{refused} Only the first such line on each side of a connection is reported.",
        _TRAILER: 'The {what} is sent in chunks, and a line after its last chunk {odd} ("{excerpt}"): it is not a trailer '
        "field. Some recipients ignore such lines.{refused} Only the first such line on each side of a connection is reported.",
    },
    remedy={
        None: "Leave the chunks to the server, the framework or the HTTP library. Programs that set Transfer-Encoding: "
        "chunked by themselves have to write for each piece its length in hexadecimal digits, CRLF, the piece, CRLF, and at the "
        "end 0, CRLF, CRLF. Common mistakes are setting the field without writing chunks, a body that is chunked twice, a length "
        "in characters instead of bytes, and LF alone. A proxy that decodes a response but copies its Transfer-Encoding has the "
        "same effect.",
        _SIZE_LINE: "Have the program write the size in hexadecimal digits, without padding, and CRLF directly after it. A "
        "format such as %-4x pads the number with spaces.",
        _TRAILER: "Have the program end the body with 0, CRLF, CRLF. Only fields (name: value) may come between these line ends. "
        "If another message begins there, the empty line before it is missing.",
    },
    references=(
        Reference("RFC 9112 section 7.1, chunked", "https://www.rfc-editor.org/rfc/rfc9112.html#section-7.1"),
        Reference("RFC 9112 section 8, incomplete messages", "https://www.rfc-editor.org/rfc/rfc9112.html#section-8"),
    ),
    advice=(
        Advice("client", "", SMUGGLING),
        Advice(
            "server",
            "",
            "Here another response begins in the middle of the body: the program failed after the head had been sent. Find its "
            "exception in the server's log, and have the server close the connection in such a case, without a second response.",
            "begins_response",
        ),
        Advice("server", "IIS|Microsoft", "IIS: a module or ISAPI extension that sets the field must write the chunks, too."),
        Advice("server", "Python/", "Python's http.server writes no chunks: a handler that sets the field must write them."),
    ),
    ends=True,
)


def find(faults: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each message with an invalid chunk, or with a chunk line or trailer line that some recipients refuse."""
    # of several candidates in a packet, the first is reported: the error
    return pl.concat([candidates(faults, ["invalid-chunk"]), *(_candidates_of(faults, kind) for kind in (_SIZE_LINE, _TRAILER))])


def _candidates_of(faults: pl.LazyFrame, kind: str) -> pl.LazyFrame:
    return candidates(faults, [name for name, form in FORMS.items() if form.kind == kind], kind=pl.lit(kind))


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the bytes that are no chunk; `begins_response` if they are the head of another response."""
    proof = f'neither a chunk size nor the end of a chunk: "{x.excerpt}"'
    begins_response = x.role == SERVER and x.excerpt.startswith("HTTP/")
    head = f"the {message_label(x)}: Transfer-Encoding chunked"
    if x.fault != "invalid-chunk":
        odd = {"odd": FORMS[x.fault].what, "refused": refusal_words(x.fault, x.role), "begins_response": False}
        line = "trailer line" if FORMS[x.fault].kind == _TRAILER else "chunk size line"
        return odd | words_of_fault(x, f'its {line}: "{x.excerpt}"', head)
    return {"begins_response": begins_response, **words_of_fault(x, proof, head)}

"""A chunked body has an invalid chunk.

What it means
    A chunked body is a sequence of chunks: a line with the size in hexadecimal digits, that many bytes, and CRLF (RFC 9112
    section 7.1). Here the line contains no such number, or one that is too large for any program, or the bytes of a chunk are
    not followed by CRLF.

Why it hurts
    After that a recipient cannot tell the body from its framing. It gives up ("invalid chunk size", "Malformed encoding
    found in chunked-encoding", ERR_INVALID_CHUNKED_ENCODING, IncompleteRead) and closes the connection. It often discards the
    valid part of the body, too. Some recipients continue, each in its own way, so attackers can make two of them see different
    messages.

How it is proved
    The head says Transfer-Encoding: chunked, all earlier chunks are valid, and the following bytes do not match the grammar.

What it is not
    Chunk extensions, trailer fields, leading zeros, uppercase digits and spaces after the size are all allowed or harmless. If
    a body ends before its last chunk, truncated-response reports it. But if the server then writes another response (a 500,
    after the program had failed), the head of that response is the invalid chunk. Bytes that are missing from the capture, or
    cut off in it, do not count.

What to do
    Leave the chunks to the server, the framework or the HTTP library.

References
    RFC 9112 sections 7.1 and 8.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.shared.framing_faults import SMUGGLING, Facts, candidates, message_label, words_of_fault
from wiredoctor.tables import SERVER

RULE = Rule(
    symptom="*ERR_INVALID_CHUNKED_ENCODING*, *invalid chunk size*",
    severity="error",
    title="The {what} has an invalid chunk",
    message=(
        "The {what} is sent in chunks (Transfer-Encoding: chunked), but it has other bytes where a chunk size, or the CRLF "
        "after a chunk, must be. From there on, body and framing cannot be distinguished: the {peer} has to give up, and "
        "closes the connection."
    ),
    remedy="Leave the chunks to the server, the framework or the HTTP library. Programs that set Transfer-Encoding: chunked by "
    "themselves have to write for each piece its length in hexadecimal digits, CRLF, the piece, CRLF, and at the end 0, "
    "CRLF, CRLF. Common mistakes are setting the field without writing chunks, a body that is chunked twice, a length "
    "in characters instead of bytes, and LF alone. A proxy that decodes a response but copies its Transfer-Encoding has the "
    "same effect.",
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
    """Return a row for each message with an invalid chunk."""
    return candidates(faults, ["invalid-chunk"])


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the bytes that are no chunk; `begins_response` if they are the head of another response."""
    proof = f'neither a chunk size nor the end of a chunk: "{x.excerpt}"'
    begins_response = x.role == SERVER and x.excerpt.startswith("HTTP/")
    head = f"the {message_label(x)}: Transfer-Encoding chunked"
    return {"begins_response": begins_response, **words_of_fault(x, proof, head)}

"""A chunked body has something else where the size of a chunk or the end of one must be.

What it means
    A chunked body is a row of chunks: a line with the size in hexadecimal digits, that many bytes, CRLF (RFC 9112 section 7.1).
    Here the line holds no such number, or one that no reader can count to, or the bytes are followed by something else than CRLF.

Why it hurts
    From here on nobody can tell the body from its framing. The reader gives up ("invalid chunk size", "Malformed encoding found
    in chunked-encoding", ERR_INVALID_CHUNKED_ENCODING, IncompleteRead), closes the connection, and what was right of the body is
    often thrown away, too. Readers that go on each in their own way can be made to see different messages.

How it is proved
    The head says Transfer-Encoding: chunked, all chunks before it were read, and these bytes are not what the grammar has there.

What it is not
    Chunk extensions, trailer fields, leading zeros, capital digits and blanks behind the size, which are all allowed or harmless.
    A body that ends before its last chunk: truncated-response. Bytes that the capture lacks, or cut off.

What to do
    Leave the chunks to the server, the framework or the HTTP library.

References
    RFC 9112 sections 7.1 and 8.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.faulty import SMUGGLING, faulty, quoted, whose

RULE = Rule(
    severity="error",
    title="The chunks of the {what} are broken: what stands there is no chunk",
    message="The {what} is sent in chunks (Transfer-Encoding: chunked), but where the size of a chunk, or the CRLF behind one, "
    "has to be, stands something else. From there on the body cannot be told from its framing: the {peer} has to give up, and "
    "closes the connection.",
    remedy="Leave the chunks to the server, the framework or the HTTP library. Programs that set Transfer-Encoding: chunked by "
    "themselves have to write, for each piece, its length in hexadecimal digits, CRLF, the piece, CRLF, and at the end 0, CRLF, "
    "CRLF; common mistakes are a field without chunks, chunks of a body that is chunked again, a length of characters and not of "
    "bytes, and LF alone. A proxy that copies Transfer-Encoding from a response that it has unpacked does the same.",
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9112 section 7.1, chunked", "https://www.rfc-editor.org/rfc/rfc9112.html#section-7.1"),
        Reference("RFC 9112 section 8, incomplete messages", "https://www.rfc-editor.org/rfc/rfc9112.html#section-8"),
    ),
    advice=(
        Advice("client", "", SMUGGLING),
        Advice("server", "IIS|Microsoft", "IIS: a module or ISAPI extension that sets the field has to write the chunks, too."),
        Advice("server", "Python/", "Python's http.server does not chunk by itself: a handler that sets the field has to."),
    ),
    ends=True,
)


def find(faults: pl.LazyFrame) -> pl.LazyFrame:
    """A row per message whose chunks break off."""
    head = pl.format("the {}: Transfer-Encoding chunked", whose())
    return faulty(faults, "invalid-chunk", head, pl.format("neither a chunk size nor the end of a chunk: {}", quoted()))

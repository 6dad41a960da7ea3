"""More bytes follow a body than its Content-Length announced.

What it means
    A message says how long its body is (Content-Length). Behind that many bytes its sender goes on with bytes that do not
    begin another message: the body is longer than it was said to be.

Why it hurts
    The reader stops where Content-Length says: the end of the body is lost. What is left lies in front of the next message, and
    is read as its beginning: good clients close the connection ("excess found in a read"), others report a malformed response to
    the next request, and servers answer a request that nobody sent with 400. Between a proxy and a server it is a way to smuggle
    requests.

How it is proved
    The head of the message and its Content-Length, and the first bytes behind the body, which are neither a status line nor a
    request line. Of a response the request was captured, too, so that it is known not to be the answer to HEAD.

What it is not
    Another message that begins exactly there, asked for or not (a 408, say). Empty lines behind the body of a request, which
    old browsers send. Bytes behind a message that has no body at all: body-not-allowed, and of a request unframed-request-body.
    What follows 101 Switching Protocols, or CONNECT.

What to do
    Let the program that states Content-Length count the bytes that it sends: after encoding and compression.

References
    RFC 9110 section 8.6. RFC 9112 sections 6.2, 6.3 and 11.2.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.faulty import faulty, quoted, whose

RULE = Rule(
    severity="error",
    title="The {side} sent more than the Content-Length of its {what} announced",
    message="The {what} announced {due:,} bytes of body (Content-Length), but more bytes of the {side} follow them that do not "
    "begin another message. The {peer} stops reading where Content-Length says: the end of the body is lost, and the rest stands "
    "in front of the next {what} on this connection and spoils it.",
    remedy="Let the program that states Content-Length count what it sends: bytes and not characters, after compression, "
    "templates and filters and not before, line ends included; or leave the field to the server, the framework or the HTTP "
    "library, which count by themselves. A proxy that changes bodies must change the length, too.",
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9110 section 8.6, Content-Length", "https://www.rfc-editor.org/rfc/rfc9110.html#section-8.6"),
        Reference("RFC 9112 section 6.3, message body length", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.3"),
        Reference("RFC 9112 section 11.2, request smuggling", "https://www.rfc-editor.org/rfc/rfc9112.html#section-11.2"),
    ),
    advice=(
        Advice("server", "Python/", "Python's http.server: len(text.encode()), not len(text)."),
        Advice("server", "IIS|Microsoft", "ISAPI: the length of what all calls of WriteClient write together."),
        Advice("client", "python-requests|urllib3", "requests: leave Content-Length out of headers; it is counted."),
    ),
    ends=True,
)


def find(faults: pl.LazyFrame) -> pl.LazyFrame:
    """A row per message that is longer than it says."""
    head = pl.format("the {}: Content-Length {}", whose(), "body_due")
    proof = pl.format("behind the body: {}, which begins no message", quoted())
    return faulty(faults, "excess-body", head, proof, pl.col("body_due").alias("due"))

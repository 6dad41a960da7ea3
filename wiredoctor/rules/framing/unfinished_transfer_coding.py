"""Transfer-Encoding does not say where the message ends.

What it means
    Transfer-Encoding marks the end of a message only when chunked is its final coding, and is there once (RFC 9112 section 6.1).
    Here it ends with another coding, or names chunked twice.

Why it hurts
    Of a request nobody can tell where it ends: servers must answer with 400 and close. A response ends with its connection, as
    far as its reader thinks so; others look for chunks that are not there, or take the coding for content: browsers know no
    coding but chunked.

How it is proved
    The field stands in the head.

What it is not
    Transfer-Encoding: identity, which counts as if it were not there. gzip, chunked, which is legal. Content-Encoding: gzip,
    which is about the content and not about its way. The answers to HEAD and CONNECT, 1xx, 204 and 304, which have no body.

What to do
    Send Transfer-Encoding: chunked alone, and say compression in Content-Encoding.

References
    RFC 9112 sections 6.1, 6.3 and 7.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.faulty import SMUGGLING, faulty, whose

RULE = Rule(
    severity="error",
    title="The Transfer-Encoding of the {what} does not mark its end",
    message='The head of the {what} says "{shown}". Only chunked, once and as the final coding, marks the end of a message: '
    "readers differ in what they make of anything else, and careful ones refuse it.",
    remedy="Let the {side} send Transfer-Encoding: chunked, and nothing else in that field; compression is said in "
    "Content-Encoding: gzip. chunked twice comes from programs that set the field by hand on what the server or the library "
    "frames already, and from proxies that copy it from the message that they received: it belongs to one connection and must "
    "not be copied.",
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9112 section 6.1, Transfer-Encoding", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.1"),
        Reference("RFC 9112 section 6.3, message body length", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.3"),
        Reference("RFC 9112 section 7, transfer codings", "https://www.rfc-editor.org/rfc/rfc9112.html#section-7"),
    ),
    advice=(Advice("client", "", SMUGGLING),),
    ends=True,
)


def find(faults: pl.LazyFrame) -> pl.LazyFrame:
    """A row per message whose transfer codings do not end with chunked, or have it twice."""
    head = pl.format("the head of the {}: {}", whose(), "shown")
    return faulty(faults, "unfinished-transfer-coding", pl.format("the {} begins", whose()), head, pl.col("shown"))

"""Transfer-Encoding does not mark the end of the message.

What it means
    Transfer-Encoding marks the end of a message only if chunked is its final coding and occurs once (RFC 9112 section 6.1).
    Here it ends with another coding, or has chunked twice.

Why it hurts
    The end of such a request is unknown: servers must answer with 400 and close. Such a response ends with its connection, but
    not all clients know that. Some clients look for chunks that are not there. Others, such as browsers, which support no coding
    except chunked, take the coded bytes for content.

How it is proved
    The head contains this Transfer-Encoding.

What it is not
    Transfer-Encoding: identity is treated as if the field were missing. The value "gzip, chunked" is legal. Content-Encoding:
    gzip is a property of the content and not of the transfer. Responses to HEAD and CONNECT, and 1xx, 204 and 304, have no body.

What to do
    Send Transfer-Encoding: chunked alone, and announce compression in Content-Encoding.

References
    RFC 9112 sections 6.1, 6.3 and 7.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.shared.framing_faults import SMUGGLING, Facts, candidates, words_of_fault

RULE = Rule(
    symptom="400 or 501, unreadable pages",
    severity="error",
    title="The Transfer-Encoding of the {what} does not mark its end",
    message='The head of the {what} says "{excerpt}". The end of a message is marked only if chunked is the final '
    "coding and occurs once. Recipients disagree about any other value, and careful recipients reject it.",
    remedy="Have the {side} send Transfer-Encoding: chunked, and nothing else in that field. Announce compression in "
    "Content-Encoding: gzip. If chunked occurs twice, a program has set the field by hand although the server or the library "
    "frames the message, or a proxy has copied the field from the message that it received. The field belongs to one "
    "connection and must not be copied.",
    references=(
        Reference("RFC 9112 section 6.1, Transfer-Encoding", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.1"),
        Reference("RFC 9112 section 6.3, message body length", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.3"),
        Reference("RFC 9112 section 7, transfer codings", "https://www.rfc-editor.org/rfc/rfc9112.html#section-7"),
    ),
    advice=(Advice("client", "", SMUGGLING),),
    ends=True,
)


def find(faults: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each message whose transfer codings do not end with chunked, or contain it twice."""
    return candidates(faults, ["unfinished-transfer-coding"])


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the message."""
    return words_of_fault(x, f"its head: {x.excerpt}")

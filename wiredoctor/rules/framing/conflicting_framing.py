"""A message has header fields that disagree on where its body ends.

What it means
    A head has both Content-Length and Transfer-Encoding, or several different values of Content-Length. A message has one end,
    but these fields name two. Kind range: the Content-Length of a 206 is larger than the range of bytes in its Content-Range.
    Kind before-compression: Content-Length was counted before the body was compressed. Kind too-long: the compressed data or the
    JSON document is complete, but Content-Length announces more. Kind identity, a warning: there is a Content-Length, and
    Transfer-Encoding: identity, which HTTP/1.1 no longer has.

Why it hurts
    Each recipient decides which field it uses, and two recipients in a row may decide differently: a proxy sees one request, the
    server behind it sees two. Attackers use this to smuggle requests past access rules or into the connections of other users.
    Careful servers answer with 400, careful clients report an invalid response, and both close the connection. Kinds range,
    before-compression and too-long: the recipient waits for bytes that are never sent, until one side gives up. Kind identity:
    some recipients ignore the coding, others refuse the message, and curl waits for the close. The message names them.

How it is proved
    The head contains the conflicting fields. Kind range: the body also ended exactly with the last byte of the range. Kind
    before-compression: the compressed data is complete, less than Content-Length announces came, and the data decodes to exactly
    that many bytes. Kind too-long: the compressed data, or the JSON document of a 200, ends exactly with the last byte that came.
    Then the sender closed, or the recipient closed after it had waited for 500 ms or longer.

What it is not
    The same length may occur twice, as two fields or as a list: malformed-head reports that. Without Content-Length,
    Transfer-Encoding: identity is treated as if the field were missing. In responses to HEAD and CONNECT, and in 1xx, 204 and
    304, the fields do not frame a body. A response whose request was not captured may answer HEAD, so it is left out unless its
    first chunk was captured. Kind range: if as many bytes came as Content-Length says, Content-Range may be the wrong field, and
    no client waits. If fewer bytes came than the range has, the response broke off. So did a compressed body that is shorter
    than announced and whose data has no end.

What to do
    Send only one framing field: Transfer-Encoding: chunked, or one Content-Length. Kind range: in a 206, Content-Length is the
    length of the range, not that of the file. Kinds before-compression and too-long: count the bytes that are sent, after
    compression, or send the body in chunks.

References
    RFC 9112 sections 6.1, 6.2, 6.3 and 11.2. RFC 9110 sections 8.6 and 14.4.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.shared.framing_faults import SMUGGLING, Facts, candidates, words_of_fault
from wiredoctor.rules.shared.refusals import refusal_words

_WAITS = "The recipient waits for the rest until its timeout, or until the {side} closes the connection."

RULE = Rule(
    symptom="400, 502, requests that nobody sent",
    severity={**dict.fromkeys((None, "range", "before-compression", "too-long"), "error"), "identity": "warning"},
    title={
        None: "The framing fields of the {what} contradict each other",
        "range": "The 206 announces more bytes than its range has",
        "before-compression": "The Content-Length of a {what} was counted before its body was compressed",
        "too-long": "The Content-Length of a {what} is larger than its content",
        "identity": "The {what} has both Content-Length and Transfer-Encoding: identity",
    },
    message={
        None: 'The head of the {what} has the fields "{excerpt}", but a message can have only one end. {valid} '
        "Recipients that use different fields disagree on where the next {what} begins. Careful recipients reject the message "
        "and close the connection.",
        "range": 'The head of the 206 has the fields "{excerpt}". The body ended with the range, but Content-Length says that '
        "more bytes follow. The client waits for them until its timeout, or until the server closes the connection.",
        "before-compression": "Content-Length announces {body_due:,} bytes, but the body has {excerpt}: the length is that of "
        "the content before compression. " + _WAITS,
        "too-long": "Content-Length announces {body_due:,} bytes, but the body has {excerpt}, and nothing more. " + _WAITS,
        "identity": 'The head of the {what} has the fields "{excerpt}". The coding identity was removed from HTTP/1.1. Some '
        "recipients ignore it and use the length.{refused}",
    },
    remedy={
        None: "Have only one component frame the message: the server, the framework or the HTTP library. {usual_cause}",
        "range": "Have the server send the length of the range in Content-Length: last byte - first byte + 1. Programs that "
        "serve ranges by themselves often send the length of the whole file, or forget that the last byte is part of the range.",
        "before-compression": "Have the {side} remove Content-Length when it compresses a body, or count the compressed bytes. "
        "Look for middleware that compresses after the length was set (a framework's compression, a filter of a proxy).",
        "too-long": "Have the {side} count the bytes that it sends: after compression, after the conversion to UTF-8, and after "
        "the last change to the body.",
        "identity": "Send Content-Length alone: remove Transfer-Encoding: identity, which programs and frameworks set to prevent "
        "chunks.",
    },
    references=(
        Reference("RFC 9112 section 6.3, message body length", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.3"),
        Reference("RFC 9112 section 6.1, Transfer-Encoding", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.1"),
        Reference("RFC 9110 section 14.4, Content-Range", "https://www.rfc-editor.org/rfc/rfc9110.html#section-14.4"),
        Reference("RFC 9112 section 11.2, request smuggling", "https://www.rfc-editor.org/rfc/rfc9112.html#section-11.2"),
    ),
    advice=(
        Advice("client", "", SMUGGLING),
        Advice("client", r"\.NET|MS Web Services", ".NET: set either ContentLength or SendChunked."),
        Advice(
            "client",
            "python-requests|urllib3",
            "requests: a generator passed as data is sent in chunks; leave Content-Length out.",
        ),
        Advice(
            "client",
            "^node|axios|undici",
            "Node: if the headers that you pass with a body stream have Content-Length, set no other framing field.",
        ),
    ),
    ends=True,
)


_BOTH = (
    "Both fields together come from programs that set Content-Length by hand on a chunked message, and from proxies and gateways "
    "that copy Transfer-Encoding or Content-Length from the message that they received: Transfer-Encoding belongs to one "
    "connection and must not be copied."
)
_TWO_LENGTHS = (
    "Two lengths come from programs that set Content-Length by hand although the library adds its own, and from filters that "
    "change the body (compression, inserted text) and add a field instead of replacing it."
)


_KINDS = {
    "conflicting-framing": None,
    "range-ends-early": "range",
    "length-before-coding": "before-compression",
    "length-too-long": "too-long",
    "identity-coding": "identity",
}
"""The kind of each fault."""


def find(faults: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each message whose framing fields contradict each other, its Content-Range, or its content."""
    return candidates(faults, [*_KINDS], kind=pl.col("fault").replace_strict(_KINDS, return_dtype=pl.String))


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the fields and where they come from."""
    if x.fault.startswith("length-"):
        return words_of_fault(x, f"the last packet of the body: {x.excerpt}")
    texts = {"valid": "RFC 9112 calls different lengths invalid.", "usual_cause": _TWO_LENGTHS}
    if x.fault == "identity-coding":
        texts = {"refused": refusal_words(x.fault, x.role)}
    elif "transfer-encoding" in x.excerpt.lower():
        texts = {"valid": "In RFC 9112 Transfer-Encoding takes precedence.", "usual_cause": _BOTH}
    return texts | words_of_fault(x, f"its head: {x.excerpt}")

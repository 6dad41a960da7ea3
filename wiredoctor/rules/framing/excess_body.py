"""A body is longer than its Content-Length.

What it means
    A message announces the length of its body (Content-Length). After that many bytes its sender continues with bytes that do
    not begin another message. Kind empty-line, a warning: these bytes are only an empty line (CRLF).

Why it hurts
    The recipient stops after Content-Length bytes, so the end of the body is lost. If the connection stays open, the recipient
    takes the remaining bytes for the beginning of the next message. Good clients close the connection ("excess found in a read").
    Others report a malformed response to the next request, and servers answer the leftover bytes with 400. Attackers can use the
    fault to smuggle requests through a proxy.

How it is proved
    The proof is the head of the message with its Content-Length, and the first bytes after the body, which are neither a
    status line nor a request line (whose target has none of the forms of RFC 9112 section 3.2, if its method is unknown). If the
    message is a response, its request was captured too and is not HEAD.

What it is not
    Another message may begin right after the body, requested or not (such as a 408). Old browsers send empty lines after the
    body of a request. Kind empty-line is a note if the client accepted the line: the response to its next request is complete,
    and then it sent another request, or did not close at once.
    If a response must not have a body at all, body-not-allowed reports it. If a request announces no body,
    unframed-request-body reports it. Bytes after 101 Switching Protocols or CONNECT belong to another protocol.

What to do
    Have the program that sets Content-Length count the bytes that it sends, after encoding and compression. If an error page
    follows the response to a chunked request, the server took the chunks for its next request: have it decode them.

References
    RFC 9110 section 8.6. RFC 9112 sections 6.2, 6.3 and 11.2.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.shared.framing_faults import Facts, candidates, message_label, words_of_fault
from wiredoctor.rules.shared.words import request_or_response
from wiredoctor.tables import SERVER

_EMPTY_LINE = "empty-line"

RULE = Rule(
    symptom="the next request fails, *excess found in a read*",
    severity={None: "error", _EMPTY_LINE: "warning"},
    title={
        None: "The {side} sent more bytes than the Content-Length of its {what} announced",
        _EMPTY_LINE: "The {side} sent an empty line after the body of its {what}",
    },
    message={
        None: "The {what} announced {due:,} bytes of body (Content-Length), but the {side} then sent more bytes, and these do "
        "not begin another message. {loss}",
        _EMPTY_LINE: "The {what} announced {due:,} bytes of body (Content-Length), but the {side} then sent an empty line. "
        "{loss}",
    },
    remedy="Have the program that sets Content-Length count bytes, not characters: all bytes of the body, with its line ends, "
    "after templates, filters and compression. Or leave the field to the server, the framework or the HTTP library, "
    "which count correctly. A proxy that changes bodies must change the length, too.",
    references=(
        Reference("RFC 9110 section 8.6, Content-Length", "https://www.rfc-editor.org/rfc/rfc9110.html#section-8.6"),
        Reference("RFC 9112 section 6.3, message body length", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.3"),
        Reference("RFC 9112 section 11.2, request smuggling", "https://www.rfc-editor.org/rfc/rfc9112.html#section-11.2"),
    ),
    advice=(
        Advice(
            "server",
            "",
            "Here an HTML page follows the response to a request with a body. If the body of the request was chunked, the "
            "server may have taken the chunks for its next request and rejected them: have it decode chunks, or have the client "
            "send Content-Length.",
            "page_follows",
        ),
        Advice("server", "Python/", "Python's http.server: len(text.encode()), not len(text)."),
        Advice("server", "IIS|Microsoft", "ISAPI: set Content-Length to the total length of all WriteClient calls."),
        Advice("client", "python-requests|urllib3", "requests: do not pass Content-Length in headers; the library sets it."),
    ),
    ends=True,
)

LOSS = "The {} stops after Content-Length bytes: the end of the body is lost{}."
TAKEN = ", and the {} takes the extra bytes for the beginning of the next {} on this connection"
_REFUSED = (
    "Node, fetch and aiohttp skip such a line. curl and Go close the connection and open another one for the next request; "
    "http.client reports BadStatusLine, and requests, httpx and Java fail if the line comes in the same packet as the body."
)
_ACCEPTED = (
    "The client accepted it: it went on with the next exchange on this connection. Other clients close: curl and Go, for example."
)
_LAST = "The server closes the connection after this response, so most clients do not notice the line."


def find(faults: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each message that is longer than its Content-Length."""
    fault = pl.col("fault")
    severity = pl.when(fault == "empty-line-accepted").then(pl.lit("note"))
    kind = pl.when(fault != "excess-body").then(pl.lit(_EMPTY_LINE))
    return candidates(faults, ["excess-body", "empty-line-after-body", "empty-line-accepted"], kind=kind, severity=severity)


def words(x: Facts) -> dict[str, Any]:
    """Return the words about what becomes of the extra bytes."""
    by_server = x.role == SERVER
    peer = "client" if by_server else "server"
    taken = "" if x.announces_close else TAKEN.format(peer, request_or_response(x.role))
    loss = LOSS.format(peer, taken)
    if x.fault != "excess-body":
        loss = _ACCEPTED if x.fault == "empty-line-accepted" else _LAST if x.announces_close else _REFUSED
    proof = f'after the body: "{x.excerpt}", which is not the start of a message'
    return {
        "due": x.body_due,
        "page_follows": by_server and x.request_method in {"POST", "PUT", "PATCH"} and x.excerpt.startswith("<"),
        "loss": loss,
        **words_of_fault(x, proof, f"the {message_label(x)}: Content-Length {x.body_due}"),
    }

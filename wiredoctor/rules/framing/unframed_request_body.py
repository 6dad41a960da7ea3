"""A request has a body but neither Content-Length nor Transfer-Encoding.

What it means
    A request with neither Content-Length nor Transfer-Encoding has no body: it ends with its head (RFC 9112 section 6.3, rule
    7). Here bytes follow that do not begin another request.

Why it hurts
    The server treats the request as complete without a body, so the data is lost, often without any error. Then it reads the
    bytes as the next request, answers with 400, and closes the connection. Behind a proxy these bytes may become the beginning of
    another user's request.

How it is proved
    The head of the request has neither field, and the bytes after it are not a request line.

What it is not
    Empty lines between requests and pipelined requests are allowed. After CONNECT or a request to upgrade, a client sends
    another protocol. If a request has a Content-Length that is too small, excess-body reports it.

What to do
    Have the client send Content-Length or Transfer-Encoding: chunked.

References
    RFC 9112 sections 6.3 and 2.2.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.shared.framing_faults import SMUGGLING, Facts, candidates, words_of_fault

RULE = Rule(
    symptom="data that never arrives, and a 400",
    severity="error",
    title="The request has a body, but neither Content-Length nor Transfer-Encoding",
    message="The request {request} ({version}) has neither Content-Length nor Transfer-Encoding, so it ends with its head. But "
    "the client sent more bytes after the head, and these do not begin another request. The server does not accept them as a "
    "body: the data is lost, and the server reads it as an invalid next request.",
    remedy="Have the client send Content-Length with the body, or Transfer-Encoding: chunked if the length is not known in "
    "advance. HTTP libraries frame a body that is passed to them; programs without a library must do it themselves.",
    references=(
        Reference("RFC 9112 section 6.3, message body length", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.3"),
        Reference("RFC 9112 section 11.2, request smuggling", "https://www.rfc-editor.org/rfc/rfc9112.html#section-11.2"),
    ),
    advice=(
        Advice("client", "", SMUGGLING),
        Advice(
            "client", "^node", "Node: http.request() frames data from write() and end(), unless the headers were sent before."
        ),
        Advice("client", "curl", "curl: --data and --upload-file frame the body; -X alone does not."),
    ),
    ends=True,
)


def find(faults: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each request that is followed by bytes that do not begin another request."""
    return candidates(faults, ["unframed-request-body"], "version")


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the request and the bytes after it."""
    head = f"the request, {x.request_method}: neither Content-Length nor Transfer-Encoding"
    return words_of_fault(x, f'after the head: "{x.excerpt}", which is not the start of a request', head)

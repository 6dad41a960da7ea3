"""A request has a body, but says nothing of it.

What it means
    A request with neither Content-Length nor Transfer-Encoding has no body: it ends with its head (RFC 9112 section 6.3, rule 7).
    Here bytes follow that do not begin another request.

Why it hurts
    The server answers a request without a body: the data never arrives, often without any error. Then it reads the bytes as the
    next request, answers with 400, and closes the connection; behind a proxy they may end up in front of another user's request.

How it is proved
    The head of the request, which has neither field, and the bytes behind it, which are no request line.

What it is not
    Empty lines between requests. A pipelined request. What a client sends behind CONNECT or a request to upgrade, which is
    another protocol. A request whose length is said and wrong: excess-body.

What to do
    Let the client send Content-Length, or Transfer-Encoding: chunked.

References
    RFC 9112 sections 6.3 and 2.2.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.faulty import SMUGGLING, faulty, quoted

RULE = Rule(
    severity="error",
    title="The request has a body, but neither Content-Length nor Transfer-Encoding",
    message="The request {request} ({version}) has neither Content-Length nor Transfer-Encoding, so that it ends with its head; "
    "yet bytes of the client follow that do not begin another request. The server does not take them for a body: the data is "
    "lost, and what the server reads as the next request is none.",
    remedy="Let the client send Content-Length with the body, or Transfer-Encoding: chunked where the length is not known in "
    "advance; HTTP libraries do so when the body is handed to them, and programs that write requests by themselves have to.  "
    "",
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9112 section 6.3, message body length", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.3"),
        Reference("RFC 9112 section 11.2, request smuggling", "https://www.rfc-editor.org/rfc/rfc9112.html#section-11.2"),
    ),
    advice=(
        Advice("client", "", SMUGGLING),
        Advice(
            "client",
            "^node",
            "Node: http.request() frames what is written with write() and end(), unless headers were sent before.",
        ),
        Advice("client", "curl", "curl: --data and --upload-file frame the body; -X alone does not."),
    ),
    ends=True,
)


def find(faults: pl.LazyFrame) -> pl.LazyFrame:
    """A row per request with bytes behind it that are none."""
    head = pl.format("the request, {}: neither Content-Length nor Transfer-Encoding", "request_method")
    proof = pl.format("behind the head: {}, which begins no request", quoted())
    return faulty(faults, "unframed-request-body", head, proof)

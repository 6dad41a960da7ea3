"""A response to an HTTP/1.0 request is chunked, which HTTP/1.0 does not support.

What it means
    Transfer-Encoding was introduced in HTTP/1.1. A server must not send it to an HTTP/1.0 client (RFC 9112 section 6.1).

Why it hurts
    An HTTP/1.0 client treats chunk sizes as content: pages contain stray numbers, and images and archives cannot be opened.
    The client also waits for the connection to close, because in HTTP/1.0 only the close marks the end of this response.

How it is proved
    The request line says HTTP/1.0, and the response says Transfer-Encoding: chunked.

    If the request also says Connection: close, which HTTP/1.0 implies, the client is probably nginx, which sends HTTP/1.0 and
    this field to the servers behind it. nginx decodes chunks in spite of the version that it announces, so the finding is a note.

What it is not
    A proxy may answer an HTTP/1.1 request with HTTP/1.0. A response to HEAD, a 204 or a 304 has no body.

What to do
    Have the server check the version of the request, or have the client, which is often a proxy, use HTTP/1.1.

References
    RFC 9112 sections 6.1 and 7.1.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.shared.framing_faults import Facts, candidates, words_of_fault

RULE = Rule(
    symptom="stray numbers in pages and downloads",
    severity="error",
    title="The {status} is chunked, which {reader}",
    message="{request} used {request_version}, and the {status} in response says Transfer-Encoding: chunked, which was "
    "introduced in HTTP/1.1. An {request_version} client treats chunk sizes as content, and waits for the connection to "
    "close.{known}",
    remedy="Have the program that writes the chunks check the version of the request, or leave the framing to the server, which "
    "checks it. A response to an HTTP/1.0 client needs Content-Length, or ends with its connection. If a proxy sends HTTP/1.0 "
    "requests, configure it for HTTP/1.1.",
    references=(
        Reference("RFC 9112 section 6.1, Transfer-Encoding", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.1"),
        Reference("RFC 9112 section 7.1, chunked", "https://www.rfc-editor.org/rfc/rfc9112.html#section-7.1"),
    ),
    advice=(
        Advice("server", "nginx|^$", "If the client is nginx: proxy_http_version 1.1 (the default of older releases is 1.0)."),
    ),
    ends=True,
)

_LIKE_NGINX = (
    " But this request also says Connection: close, like nginx's requests to the servers behind it. nginx decodes chunks in "
    "spite of the version that it announces."
)


def find(faults: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each chunked response to an HTTP/1.0 request."""
    note = pl.when("request_connection_close").then(pl.lit("note"))
    return candidates(faults, ["chunked-to-http10"], severity=note)


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the client, which may be nginx."""
    texts = {"reader": f"the {x.request_version} client cannot read", "known": ""}
    if x.request_connection_close:
        texts = {"reader": f"{x.request_version} does not support", "known": _LIKE_NGINX}
    return texts | words_of_fault(x, f"its head: {x.excerpt}")

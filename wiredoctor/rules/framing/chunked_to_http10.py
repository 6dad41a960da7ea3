"""A response in chunks answers a request of HTTP/1.0, which does not know them.

What it means
    Transfer-Encoding came with HTTP/1.1. A server must not use it towards a client that says HTTP/1.0 (RFC 9112 section 6.1).

Why it hurts
    A client of HTTP/1.0 takes the sizes of the chunks for content: pages with stray numbers, images and archives that cannot be
    opened. It waits for the close of the connection, which marks the end for it.

How it is proved
    The request line says HTTP/1.0, the response says Transfer-Encoding: chunked.

What it is not
    A request of HTTP/1.1 through a proxy that answers it in HTTP/1.0. A response to HEAD, a 204 or a 304, which have no body.

What to do
    Let the server look at the version of the request; or let the client, which is often a proxy, speak HTTP/1.1.

References
    RFC 9112 sections 6.1 and 7.1.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule
from wiredoctor.rules.faulty import faulty, whose

RULE = Rule(
    severity="error",
    title="The {status} comes in chunks, which the {request_version} client cannot read",
    message="The request {request} is of {request_version}, and the {status} to it says Transfer-Encoding: chunked, which came "
    "with HTTP/1.1. A client of {request_version} takes the chunk sizes for content, and waits for the end of the connection.",
    remedy="Let the program that writes the chunks look at the version of the request, or leave the framing to the server, which "
    "does; to HTTP/1.0 it has to send Content-Length, or end the body by closing. Where a proxy asks in HTTP/1.0, let it speak "
    "HTTP/1.1.",
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9112 section 6.1, Transfer-Encoding", "https://www.rfc-editor.org/rfc/rfc9112.html#section-6.1"),
        Reference("RFC 9112 section 7.1, chunked", "https://www.rfc-editor.org/rfc/rfc9112.html#section-7.1"),
    ),
    advice=(
        Advice("server", "nginx|^$", "If nginx asks the server: proxy_http_version 1.1 (its default was 1.0 for a long time)."),
    ),
    ends=True,
)


def find(faults: pl.LazyFrame) -> pl.LazyFrame:
    """A row per response in chunks that answers HTTP/1.0."""
    begins, proof = pl.format("the {} begins", whose()), pl.format("its head: {}", "shown")
    return faulty(faults, "chunked-to-http10", begins, proof, pl.col("request_version"))

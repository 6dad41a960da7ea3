"""Connections are encrypted and were not decrypted.

What it means
    The connections carry TLS. What was said on them is not readable in the capture.

Why it hurts
    HTTP on them is not judged: neither framing, nor closing, nor streaming. What TCP shows still is: connects, losses, closed
    windows, data that waited for an acknowledgement (of which it is then not known what it was, so that confidence is medium at
    most). A server that thinks for long cannot be told from a client that waits.

How it is proved
    The first bytes of the connection are a TLS handshake record.

What it is not
    Payload of another kind that is not HTTP.

What to do
    To have HTTP judged as well, capture behind the point where TLS ends, or between a proxy and its application.

References
    RFC 8446 section 5.1.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.proof import counts, of_the_capture, packet

RULE = Rule(
    severity="note",
    title="TLS on {encrypted:,} of {connections:,} connections was not decrypted",
    message="TLS on {encrypted:,} of {connections:,} connections was not decrypted. Connects and stalls are judged there all the "
    "same, with medium confidence at most where it matters what was sent. Slow responses, closes, framing and streaming are not.",
    remedy="To have HTTP judged, capture where it is not encrypted: behind the proxy or balancer at which TLS ends, or on the "
    "loopback device of the host where it does.",
    display_filter="tls && tcp.stream == {first_connection}",
    references=(Reference("RFC 8446 section 5.1, TLS records", "https://www.rfc-editor.org/rfc/rfc8446.html#section-5.1"),),
    summary=True,
)

SHOWN = Threshold("5 connections", "enough to look at; the counts say the rest")


def find(connections: pl.LazyFrame) -> pl.LazyFrame:
    """One row with the counts, where any connection carries TLS."""
    c = pl.col
    touched = c("protocol") == "tls"
    place = packet("first_frame", "start", pl.format("connection {}, to {}", "connection", "server"))
    return connections.select(
        *of_the_capture(),
        *counts(touched, place, "first_frame", "start", SHOWN.value),
        c("connection").filter(touched).min().alias("first_connection"),
        touched.sum().cast(pl.Int64).alias("encrypted"),
    ).filter(c("encrypted") > 0)

"""Connections are encrypted and were not decrypted.

What it means
    The connections carry TLS. What was said on them is not readable in the capture, but for the beginning: the client's hello
    names the server that it wants (SNI) and the protocols that it speaks (ALPN). In TLS 1.2 and before, the server's hello
    says which of these it chose.

Why it hurts
    HTTP on them is not judged: neither framing, nor closing, nor streaming. What TCP shows still is: connects, losses, closed
    windows, data that waited for an acknowledgement (of which it is then not known what it was, so that confidence is medium at
    most). A server that thinks for long cannot be told from a client that waits.

How it is proved
    The first bytes of the connection are a TLS handshake record.

What it is not
    Payload of another kind that is not HTTP. A hello with an encrypted part (Encrypted Client Hello) may show the name of a
    front instead of the server's, and browsers send a part like that to servers that do not know it.

What to do
    To have HTTP judged as well, capture behind the point where TLS ends, or between a proxy and its application.

References
    RFC 8446 section 5.1, RFC 6066 section 3, RFC 7301.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.proof import packet, told_once

RULE = Rule(
    severity="note",
    title="TLS on {encrypted:,} of {connections:,} connections was not decrypted",
    message="TLS on {encrypted:,} of {connections:,} connections was not decrypted.{names}{offered}{chosen}{hidden} "
    "Connects and stalls are judged there all the same, with medium confidence at most where it matters what was sent. "
    "Slow responses, closes, framing and streaming are not.",
    remedy="To have HTTP judged, capture where it is not encrypted: behind the proxy or balancer at which TLS ends, or on the "
    "loopback device of the host where it does.",
    display_filter="tls && tcp.stream == {first_connection}",
    references=(
        Reference("RFC 8446 section 5.1, TLS records", "https://www.rfc-editor.org/rfc/rfc8446.html#section-5.1"),
        Reference("RFC 6066 section 3, server name indication", "https://www.rfc-editor.org/rfc/rfc6066.html#section-3"),
        Reference("RFC 7301, application-layer protocol negotiation", "https://www.rfc-editor.org/rfc/rfc7301.html"),
    ),
    summary=True,
)

SHOWN = Threshold("5 connections", "shown as evidence; the message has the totals")
NAMED = Threshold("3 names", "the most frequent ones; connections tell the rest")


def screen() -> pl.Expr:
    """Return an expression that is true on at least one row if there is a candidate."""
    return pl.col("protocol") == "tls"


def find(connections: pl.LazyFrame) -> pl.LazyFrame:
    """One row with the counts, where any connection carries TLS."""
    c = pl.col
    place = packet("first_frame", "start", pl.format("connection {}, to {}{}", "connection", "server", _hello()))
    unsure = c("encrypted_hello").sum().cast(pl.Int64)
    hidden = pl.format(" On {} of them a part of the client's hello is encrypted (ECH), so that the name may be another.", unsure)
    return told_once(
        connections, c("protocol") == "tls", place, "first_frame", "start", SHOWN.value,
        c("connection").min().alias("first_connection"),
        pl.len().cast(pl.Int64).alias("encrypted"),
        _most(" Names asked for (SNI): {}.", "server_name").alias("names"),
        _most(" Protocols offered (ALPN): {}.", "alpn_offered").alias("offered"),
        _most(" Protocols chosen: {}.", "alpn_chosen").alias("chosen"),
        pl.when(unsure > 0).then(hidden).otherwise(pl.lit("")).alias("hidden"),
    )  # fmt: skip


def _hello() -> pl.Expr:
    """What the hellos of a connection say, as far as there is something."""
    parts = {" ({})": "tls_version", ", name {}": "server_name", ", offers {}": "alpn_offered", ", chosen {}": "alpn_chosen"}
    return pl.concat_str([_if_any(text, name) for text, name in parts.items()])


def _if_any(text: str, name: str) -> pl.Expr:
    return pl.when(pl.col(name) != "").then(pl.format(text, name)).otherwise(pl.lit(""))


def _most(text: str, name: str) -> pl.Expr:
    """The most frequent values, with the number of their connections where that is not one; "" where there is none."""
    values = pl.col(name).filter(pl.col(name) != "")
    value, count = values.unique(maintain_order=True), values.unique_counts()
    told = pl.when(count > 1).then(pl.format("{} ({})", value, count)).otherwise(value)
    most = told.sort_by(count, descending=True, maintain_order=True).head(NAMED.value).implode().list.join(", ")
    rest = values.n_unique().cast(pl.Int64) - NAMED.value
    more = pl.when(rest > 0).then(pl.format(" and {} more", rest)).otherwise(pl.lit(""))
    return pl.when(values.len() > 0).then(pl.format(text, most + more)).otherwise(pl.lit(""))

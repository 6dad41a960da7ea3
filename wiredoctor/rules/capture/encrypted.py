"""Connections are encrypted and were not decrypted.

What it means
    The connections carry TLS. Only the beginning of the handshake is readable in the capture. The ClientHello names the
    requested server (SNI) and the supported protocols (ALPN). In TLS 1.2 and earlier, the ServerHello names the chosen
    protocol.

Why it hurts
    wiredoctor cannot judge HTTP on them: neither framing, nor closing, nor streaming. It still judges TCP: connection
    attempts, losses, zero windows, and data that waited for an acknowledgment. A finding about TCP has medium confidence at
    most if its conclusion depends on the contents of the encrypted data. A server that works on a response for a long time
    looks the same as a client that has sent no request.

How it is proved
    The first bytes of the connection are a TLS handshake record.

What it is not
    Payload that is neither TLS nor HTTP is not reported here. A ClientHello with an encrypted part (Encrypted Client Hello) may
    name a public server of the provider instead of the requested one. Browsers also send such a part to servers that do not
    support it.

What to do
    To have HTTP judged as well, capture where the traffic is not encrypted: behind the host that terminates TLS, such as
    between a proxy and its application.

References
    RFC 8446 section 5.1, RFC 6066 section 3, RFC 7301.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import one_capture_candidate, packet

RULE = Rule(
    symptom="nothing (the rule shows what cannot be judged)",
    severity="note",
    title="TLS on {encrypted:,} of {connections:,} connections was not decrypted",
    message="TLS on {encrypted:,} of {connections:,} connections was not decrypted.{names}{offered}{chosen}{hidden} Connection "
    "attempts and stalls are still judged, with at most medium confidence if the conclusion depends on the contents of "
    "the encrypted data. Slow responses, closes, framing and streaming are not judged.",
    remedy="To have HTTP judged, capture it unencrypted: behind the proxy or balancer that terminates TLS, or on the loopback "
    "device of that host.",
    display_filter="tls && tcp.stream == {first_connection}",
    references=(
        Reference("RFC 8446 section 5.1, TLS records", "https://www.rfc-editor.org/rfc/rfc8446.html#section-5.1"),
        Reference("RFC 6066 section 3, server name indication", "https://www.rfc-editor.org/rfc/rfc6066.html#section-3"),
        Reference("RFC 7301, application-layer protocol negotiation", "https://www.rfc-editor.org/rfc/rfc7301.html"),
    ),
    summary=True,
)

SHOWN = Threshold("5 connections", "the maximum number of connections shown as evidence; the message has the totals")
NAMED = Threshold(
    "3 names",
    "the maximum number of server names, and of protocols, in the message, most frequent first; the command wiredoctor "
    "connections lists all",
)


def screen() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return pl.col("protocol") == "tls"


def find(connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row with the number of connections that carry TLS, and their most frequent server names and protocols.

    Return no row if there are no such connections.
    """
    c = pl.col
    place = packet("first_frame", "start", pl.format("connection {}, to {}{}", "connection", "server", _hello()))
    unsure = c("encrypted_hello").sum().cast(pl.Int64)
    hidden = pl.format(
        " Encrypted Client Hello (ECH) is used on {} of these connections; the name shown may not be the server's.", unsure
    )
    return one_capture_candidate(
        connections, c("protocol") == "tls", place, "first_frame", "start", SHOWN.value,
        c("connection").min().alias("first_connection"),
        pl.len().cast(pl.Int64).alias("encrypted"),
        _most(" Requested server names (SNI): {}.", "server_name").alias("names"),
        _most(" Protocols offered (ALPN): {}.", "alpn_offered").alias("offered"),
        _most(" Protocols selected (ALPN): {}.", "alpn_chosen").alias("chosen"),
        pl.when(unsure > 0).then(hidden).otherwise(pl.lit("")).alias("hidden"),
    )  # fmt: skip


def _hello() -> pl.Expr:
    """Return a text with the known facts from a connection's ClientHello and ServerHello."""
    parts = {" ({})": "tls_version", ", name {}": "server_name", ", offers {}": "alpn_offered", ", selected {}": "alpn_chosen"}
    return pl.concat_str([_if_any(text, name) for text, name in parts.items()])


def _if_any(text: str, name: str) -> pl.Expr:
    return pl.when(pl.col(name) != "").then(pl.format(text, name)).otherwise(pl.lit(""))


def _most(text: str, name: str) -> pl.Expr:
    """Return `text`, filled with the most frequent values of the column `name`; "" if the column has no values."""
    values = pl.col(name).filter(pl.col(name) != "")
    # in a list, because Polars 2.1 panics otherwise: it mixes up the lengths of shared subexpressions in a select
    value, count = pl.element().unique(maintain_order=True), pl.element().unique_counts()
    told = pl.when(count > 1).then(pl.format("{} (on {} connections)", value, count)).otherwise(value)
    told = told.sort_by(count, descending=True, maintain_order=True).head(NAMED.value)
    most = values.implode().list.eval(told).list.join(", ")
    rest = values.n_unique().cast(pl.Int64) - NAMED.value
    more = pl.when(rest > 0).then(pl.format(" and {} more", rest)).otherwise(pl.lit(""))
    return pl.when(values.len() > 0).then(pl.format(text, most + more)).otherwise(pl.lit(""))

"""Connections are encrypted and were not decrypted.

What it means
    The connections carry TLS. Only the beginning of the handshake is readable in the capture. The ClientHello names the
    requested server (SNI) and the supported protocols (ALPN). In TLS 1.2 and earlier, the ServerHello names the chosen
    protocol.

Why it hurts
    wiredoctor cannot judge HTTP on them: neither framing, nor closing, nor streaming. It still judges TLS handshakes and TCP:
    connection attempts, losses, zero windows, and data that waited for an acknowledgment. A finding about TCP has medium
    confidence at most if its conclusion depends on the contents of the encrypted data. A server that works on a response for a
    long time looks the same as a client that has sent no request.

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

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import one_capture_candidate
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import PROTOCOLS

RULE = Rule(
    symptom="nothing (the rule shows what cannot be judged)",
    severity="note",
    title="TLS on {encrypted:,} of {connections:,} connections was not decrypted",
    message="TLS on {encrypted:,} of {connections:,} connections was not decrypted.{names}{offered}{chosen}{hidden} "
    "Handshakes, connection attempts and stalls are still judged, stalls with at most medium confidence if the conclusion "
    "depends on the contents of the encrypted data. Slow responses, closes, framing and streaming are not judged.",
    remedy="To have HTTP judged, capture it unencrypted: behind the proxy or balancer that terminates TLS, or on the loopback "
    "device of that host.",
    display_filter="tls && tcp.stream == {first_connection}",
    references=(
        Reference("RFC 8446 section 5.1, TLS records", "https://www.rfc-editor.org/rfc/rfc8446.html#section-5.1"),
        Reference("RFC 6066 section 3, server name indication", "https://www.rfc-editor.org/rfc/rfc6066.html#section-3"),
        Reference("RFC 7301, application-layer protocol negotiation", "https://www.rfc-editor.org/rfc/rfc7301.html"),
    ),
    summary=True,
    protocols=PROTOCOLS,
)

SHOWN = Threshold("5 connections", "the maximum number of connections shown as evidence; the message has the totals")
NAMED = Threshold(
    "3 names",
    "the maximum number of server names, and of protocols, in the message, most frequent first; the command wiredoctor "
    "connections lists all",
)


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    # a server that answers with a page in clear text speaks no TLS
    return (pl.col("protocol") == "tls") & (pl.col("server_opening") != "html")


class Facts(NamedTuple):
    """What the capture shows of TLS connections. For the lists of names and protocols see `_most_frequent`."""

    encrypted_hellos: int
    server_name: list[dict[str, Any]]
    alpn_offered: list[dict[str, Any]]
    alpn_chosen: list[dict[str, Any]]
    shown: list[dict[str, Any]]


def find(connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row with the number of connections that carry TLS, and their most frequent server names and protocols.

    Return no row if there are no such connections.
    """
    c = pl.col
    return one_capture_candidate(
        connections, may_match(), ["server", *_HELLO], "first_frame", "start", SHOWN.value,
        c("connection").min().alias("first_connection"),
        pl.len().cast(pl.Int64).alias("encrypted"),
        c("encrypted_hello").sum().cast(pl.Int64).alias("encrypted_hellos"),
        *(_most_frequent(name) for name in ("server_name", "alpn_offered", "alpn_chosen")),
    )  # fmt: skip


def _most_frequent(name: str) -> pl.Expr:
    """Return the most frequent values of a column, as structs of `value`, its `count`, and the `number` of different values."""
    values = pl.col(name).filter(pl.col(name) != "")
    # in a list, because Polars 2.1 panics otherwise: it mixes up the lengths of shared subexpressions in a select
    value, count = pl.element().unique(maintain_order=True), pl.element().unique_counts()
    most = pl.struct(value=value, count=count, number=value.len())
    return values.implode().list.eval(most.sort_by(count, descending=True, maintain_order=True).head(NAMED.value))


_HELLO = {"tls_version": " ({})", "server_name": ", name {}", "alpn_offered": ", offers {}", "alpn_chosen": ", selected {}"}
"""The facts from a connection's ClientHello and ServerHello, each with its text."""


def words(x: Facts) -> dict[str, Any]:
    """Return the words about names and protocols, and the evidence: the first packet of some connections."""
    hidden = " Encrypted Client Hello (ECH) is used on {} of these connections; the name shown may not be the server's."
    return {
        "names": _listed(" Requested server names (SNI): {}.", x.server_name),
        "offered": _listed(" Protocols offered (ALPN): {}.", x.alpn_offered),
        "chosen": _listed(" Protocols selected (ALPN): {}.", x.alpn_chosen),
        "hidden": hidden.format(x.encrypted_hellos) if x.encrypted_hellos else "",
        "evidence": packets(*((one["frame"], one["time"], _note(one)) for one in x.shown)),
    }


def _listed(text: str, most: list[dict[str, Any]]) -> str:
    """Return `text`, filled with the most frequent values and how many others there are; "" if there are no values."""
    if not most:
        return ""
    values = [f"{one['value']} (on {one['count']} connections)" if one["count"] > 1 else one["value"] for one in most]
    others = most[0]["number"] - len(most)
    return text.format(", ".join(values) + (f" and {others} more" if others else ""))


def _note(one: dict[str, Any]) -> str:
    """Return the note about a connection, with the known facts from its ClientHello and ServerHello."""
    hello = "".join(text.format(one[name]) for name, text in _HELLO.items() if one[name])
    return f"connection {one['connection']}, to {one['server']}{hello}"

"""The server's certificate does not name the server that the client asked for.

What it means
    The client asked for a name (SNI), and the server sent a certificate that does not cover this name. If the client then closed
    without a request (kind closed), it rejected the certificate for that reason. Otherwise it does not check names (kind
    accepted), or the capture ended.

Why it hurts
    Clients that check names report that the host name does not match the certificate, and send no request. A client that does
    not check names would also talk to any other server that has a certificate.

How it is proved
    In TLS 1.2 and older, the certificates are not encrypted. None of the DNS names in the server's certificate equals the name in
    the ClientHello or covers it with `*` for one label. A certificate without such names has its common name instead. Kind
    closed: the handshake was complete, and the client closed before it sent application data.

What it is not
    Without a name in the ClientHello, nothing is reported. If the client sent an alert instead, handshake-failed reports it. In
    TLS 1.3, certificates are encrypted, and a resumed session has none.

What to do
    Have the client use a name of the certificate, or issue a certificate for the name. If the server has several certificates,
    this one may be its default: check that the name is configured there (server_name in nginx), and that a proxy passes the name
    on (proxy_ssl_server_name on in nginx).

References
    RFC 9525 section 6.3, RFC 6066 section 3, RFC 5246 section 7.4.2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule
from wiredoctor.rules.shared.evidence import candidate
from wiredoctor.rules.shared.words import packets

c = pl.col

_REMEDY = (
    "Have the client use a name of the certificate, or have the server use a certificate for the name: it may have sent its "
    "default one because the name is not configured."
)

RULE = Rule(
    symptom="*no alternative certificate subject name matches*, *hostname mismatch*",
    severity={"closed": "warning", "accepted": "note"},
    title={
        "closed": "The client closed after a certificate for another name",
        "accepted": "The server's certificate is for another name",
    },
    message={
        "closed": "The client asked for {server_name}. The certificate is for {names}. The client closed after the handshake, "
        "and sent no request.",
        "accepted": "The client asked for {server_name}. The certificate is for {names}. {reaction}",
    },
    remedy={"closed": _REMEDY, "accepted": _REMEDY},
    display_filter="tcp.stream == {connection} && tls.handshake",
    references=(
        Reference("RFC 9525 section 6.3, matching DNS names", "https://www.rfc-editor.org/rfc/rfc9525.html#section-6.3"),
        Reference("RFC 6066 section 3, server name indication", "https://www.rfc-editor.org/rfc/rfc6066.html#section-3"),
    ),
    explained_by=(("handshake-failed", "connection"),),
    protocols=("tls",),
)


class Facts(NamedTuple):
    """What is known of the handshake: columns of `handshakes`; times in ns."""

    kind: str
    server_name: str
    certificate_names: str
    certificate_name_count: int
    client_content: bool
    client_hello_frame: int
    client_hello_time: int
    answered_frame: int | None
    answered_time: int | None
    ended_frame: int | None
    ended_time: int | None


def find(handshakes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each complete handshake with a certificate that does not cover the requested name."""
    rows = handshakes.filter((c("names_match") == 0) & c("complete") & ~c("lost"))
    closed = (c("ended_by") == "client") & ~c("client_content") & ~c("server_content")
    kind = pl.when(closed).then(pl.lit("closed")).otherwise(pl.lit("accepted"))
    return rows.select(
        *candidate("server", "high", "server_hello_frame", "client_hello_time", "server_hello_time", kind=kind, of="connection"),
        *(name for name in Facts._fields if name != "kind"),
    )


def words(x: Facts) -> dict[str, Any]:
    """Return the names in the certificate, what the client did then, and the packets of the handshake."""
    more = x.certificate_name_count - x.certificate_names.count(", ") - 1
    is_closed = x.kind == "closed"
    accepted = "The client sent application data, so it does not check names."
    return {
        "names": f"{x.certificate_names}{f' and {more} more' if more > 0 else ''}" if x.certificate_names else "no name",
        "reaction": accepted if x.client_content else "The capture does not show whether the client accepted it.",
        "evidence": packets(
            (x.client_hello_frame, x.client_hello_time, f"the ClientHello for {x.server_name}"),
            (x.answered_frame, x.answered_time, "the end of the server's messages, with its certificate"),
            (x.ended_frame if is_closed else None, x.ended_time, "the client closes"),
        ),
    }

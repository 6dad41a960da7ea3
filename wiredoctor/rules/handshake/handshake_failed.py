"""A TLS handshake failed.

What it means
    Client and server could not agree on an encrypted connection, so no request was sent. One of them gave up: it sent a fatal
    alert (a message that names the reason), or closed the connection. The kind names the reason.

    Kinds of the server's alerts: protocol-version, no-shared-parameters (no cipher suite, group or signature algorithm in
    common), no-application-protocol, unrecognized-name, internal. Kinds of the client's alerts: unknown-authority,
    certificate-expired, certificate-rejected. Kind client-certificate: the server wanted a certificate of the client, and got
    none, or rejected it. Kind bad-record: a side could not decrypt or verify a record. Kind other: any other alert. Kind
    unknown-alert: an encrypted alert, whose reason only a key log would show. Kind closed: no alert at all.

Why it hurts
    Nothing works over this connection. The program that did not give up often reports something else than the reason, such as
    "connection reset by peer" or "unexpected eof while reading".

How it is proved
    The capture has the ClientHello, and a fatal alert, FIN or RST before the handshake was complete. The first of them decides
    the kind. What the other side sends afterwards is a consequence. If two of them crossed on the wire, an alert goes before a
    FIN or RST. A warning directly before the close of the same side counts as fatal, unless it is close_notify, user_canceled or
    no_renegotiation.

    Alerts are readable until encryption begins. In TLS 1.3, many clients also send the alert about the server's certificate
    unencrypted. Otherwise, the length of the last record before the close shows that it is an alert, but not which one (kind
    unknown-alert). In TLS 1.3, the server rejects a client's certificate only after the handshake is complete for the client:
    then the record must come before any other record of the server, and a record of the client must show that the server had
    asked for a certificate (kind client-certificate).

    Kind closed by the server: its FIN or RST acknowledges the ClientHello, or came less than a second after its SYN-ACK and
    before any byte of its own, as from a relay with nothing behind it. Kind closed by the client: it closed after the server's
    messages, and had sent its ChangeCipherSpec, but no Finished.

What it is not
    A client that closes before the server has answered, or after the server's messages without a sign that it went on, may only
    have probed. handshake-timeout reports clients that waited. Once the handshake is complete, a close is the end of a connection
    that was not needed. A ClientHello that offers only SSL 3.0 is a health check (haproxy: option ssl-hello-chk), and its
    rejection is a note. wrong-protocol reports a server that does not speak TLS on this port, and foreign-reset a
    device that closed in the name of another host. Nothing is reported if only one direction was captured, or if bytes are
    missing. In TLS 1.3, nothing is reported either if no record of the client has the length of a Finished: some clients send
    other messages in the same record.

What to do
    Kind protocol-version: allow a common version, usually TLS 1.2 or 1.3, on the older side. Kind no-shared-parameters: allow a
    common cipher suite, group or signature algorithm; a server with only an RSA or only an ECDSA certificate has only the cipher
    suites for it. Kind unrecognized-name: have the client use a name that the server knows, or add it there. Kind
    unknown-authority: have the server send the intermediate certificates, or add the issuer to the authorities that the client
    trusts. Kind certificate-expired: renew the certificate and reload the server; check the client's clock. Kind
    client-certificate: give the client a certificate of an authority that the server accepts. Kind closed: read the
    server's log.

References
    RFC 8446 sections 4.4.2, 6 and 6.2, RFC 5246 section 7.2, RFC 6066 section 3, RFC 7301 section 3.2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared import large_hellos
from wiredoctor.rules.shared.evidence import candidate, grade
from wiredoctor.rules.shared.large_hellos import large_hello_text
from wiredoctor.rules.shared.tls_alerts import ABOUT_CLIENT_CERTIFICATE, BY_CLIENT, BY_EITHER, BY_SERVER
from wiredoctor.rules.shared.words import packets
from wiredoctor.text.durations import duration_text
from wiredoctor.text.tls_alerts import describe_alert

c = pl.col

_KINDS = (
    *("protocol-version", "no-shared-parameters", "no-application-protocol", "unrecognized-name", "unknown-authority"),
    *("certificate-expired", "certificate-rejected", "client-certificate", "bad-record", "internal", "other", "unknown-alert"),
    "closed",
)
_READ_LOG = "The {sender} knows the reason: read its log. "

RULE = Rule(
    symptom="*handshake failure*, *certificate verify failed*, *unexpected eof while reading*",
    severity=dict.fromkeys(_KINDS, "error"),
    title={
        "protocol-version": "TLS handshake failed: no TLS version in common",
        "no-shared-parameters": "TLS handshake failed: no cipher suite, group or signature algorithm in common",
        "no-application-protocol": "TLS handshake failed: no application protocol (ALPN) in common",
        "unrecognized-name": "TLS handshake failed: the server does not know the requested name",
        "unknown-authority": "TLS handshake failed: the client does not trust the issuer of the server's certificate",
        "certificate-expired": "TLS handshake failed: the server's certificate is expired for the client",
        "certificate-rejected": "TLS handshake failed: the client rejected the server's certificate",
        "client-certificate": "TLS handshake failed: the server rejected the client's certificate, or got none",
        "bad-record": "TLS handshake failed: the {sender} could not decrypt or verify a record",
        "internal": "TLS handshake failed: internal error of the server",
        "other": "TLS handshake failed: the {sender} sent the alert {alert_name}",
        "unknown-alert": "TLS handshake failed: the {sender} sent an encrypted alert",
        "closed": "TLS handshake failed: the {sender} closed the connection without an alert",
    },
    message="{failure}{details}",
    remedy={
        "protocol-version": "Have both sides allow a common TLS version: usually the older side has to allow TLS 1.2 or 1.3.",
        "no-shared-parameters": "Have both sides allow a common cipher suite, group and signature algorithm. A server that has "
        "only an RSA or only an ECDSA certificate has only the cipher suites for it.",
        "no-application-protocol": "Have the server allow one of the protocols that the client offers, or the client offer "
        "another one, such as http/1.1.",
        "unrecognized-name": "Have the client connect to a name that the server knows, or add the name and its certificate at "
        "the server. Behind a proxy, check which name the proxy sends.",
        "unknown-authority": "Have the server send its certificate with all intermediate certificates. If the certificate is "
        "from a private authority, add the root certificate of that authority to those that the client trusts.",
        "certificate-expired": "Renew the server's certificate, and reload the server: a running process keeps the old one. If "
        "the certificate is valid, check the clock of the client.",
        "certificate-rejected": "The client's log says what it did not accept: usually the certificate's issuer, its names or "
        "its validity. Check that the server sends the right certificate for this name, with all intermediate certificates.",
        "client-certificate": "Give the client a certificate and key of an authority that the server accepts, with the "
        "intermediate certificates. The server's log says why it rejected the client.",
        "bad-record": "Look for a device that changes the packets, and for two servers with different keys behind one address. "
        "A capture on the other side shows whether the bytes arrive as they were sent.",
        "internal": "Read the server's log: it met an error of its own, such as a key that does not belong to its certificate.",
        "other": _READ_LOG,
        "unknown-alert": _READ_LOG + "If neither side logs it, record a key log (SSLKEYLOGFILE) with the capture, and open both "
        "in Wireshark.",
        "closed": "Read the log of the {sender}. If the server closed, check whether it speaks TLS on this port, whether a relay "
        "before it has a server to forward to, and whether a firewall or proxy on the path rejects this name.",
    },
    display_filter="tcp.stream == {connection}",
    references=(
        Reference("RFC 8446 section 6.2, error alerts", "https://www.rfc-editor.org/rfc/rfc8446.html#section-6.2"),
        Reference("RFC 5246 section 7.2, alert protocol", "https://www.rfc-editor.org/rfc/rfc5246.html#section-7.2"),
        Reference("RFC 6066 section 3, server name indication", "https://www.rfc-editor.org/rfc/rfc6066.html#section-3"),
        Reference("RFC 7301 section 3.2, protocol selection", "https://www.rfc-editor.org/rfc/rfc7301.html#section-3.2"),
        Reference("TLS Alerts", "https://www.iana.org/assignments/tls-parameters/tls-parameters.xhtml#tls-parameters-6"),
    ),
    explained_by=(("wrong-protocol", "connection"), ("foreign-reset", "connection")),
    timeless=True,
    ends=True,
    protocols=("tls",),
)

SOON = Threshold(
    "1 s", "a server that closes within this time after its SYN-ACK, without a byte, does not wait for a ClientHello"
)
REJECTED = Threshold(
    "1 s",
    "the maximum time, if two round trips are shorter, from the client's Finished to the alert of a server that rejects its "
    "certificate; a later one ends a connection that was idle",
)
SHARED_THRESHOLDS = (large_hellos,)


class Facts(NamedTuple):
    """What is known of a failed handshake: columns of `handshakes`; `frame` and `end` are those of what ended it."""

    kind: str
    ended_by: str
    ended_how: str
    alert: int | None
    server_name: str
    versions_offered: str
    suites_offered: int
    alpn_offered: str
    hello_bytes: int
    client_hello_frame: int
    client_hello_time: int
    server_hello_frame: int | None
    server_hello_time: int | None
    flight_frame: int | None
    flight_time: int | None
    client_finished_frame: int | None
    client_finished_time: int | None
    frame: int
    end: int


_FACTS = [name for name in Facts._fields if name not in ("kind", "frame", "end")]


def find(handshakes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each handshake that a side ended before it was complete."""
    rows = handshakes.filter(_is_failed()).with_columns(_kind().alias("kind"))
    unsure = c("alert").is_null() & (c("ended_how") == "alert")
    severity = pl.when(c("versions_offered") == "SSL 3.0").then(pl.lit("note")).otherwise(pl.lit("error"))
    confidence = grade(pl.lit(value=False), unsure)
    return rows.select(
        *candidate(_side(), confidence, "ended_frame", "client_hello_time", "ended_time", kind=c("kind"), of="connection"),
        severity.alias("severity"),
        *_FACTS,
    )


def _is_failed() -> pl.Expr:
    """Return whether a side ended the handshake before it was complete, unless it may have been a probe."""
    both = (c("versions_offered") != "") & c("accepted_time").is_not_null() & c("connected") & ~c("one_sided")
    usable = both & ~c("lost") & ~c("complete") & (c("ended_by") != "")
    by_client, alert = c("ended_by") == "client", c("ended_how") == "alert"
    answered = c("server_hello_frame").is_not_null()
    # in TLS 1.3, the handshake is complete for the client: only an alert shows that the server rejects its certificate
    over = c("client_finished_frame").is_not_null() & (c("tls_version") == "TLS 1.3")
    trips = 2 * (c("rtt_client").fill_null(0) + c("rtt_server").fill_null(0))
    soon = c("ended_time") - c("client_finished_time") <= pl.max_horizontal(pl.lit(REJECTED.value), trips)
    gave_up = answered & c("client_changed") & c("client_finished_frame").is_null()
    read = (c("ended_ack") >= c("hello_bytes")).fill_null(value=False)
    at_once = (c("server_bytes") == 0) & (c("ended_time") - c("accepted_time") < SOON.value)
    by_alert = pl.when(by_client).then(answered & ~over).otherwise(~over | soon)
    by_close = pl.when(by_client).then(gave_up).otherwise(~over & (answered | read | at_once))
    return usable & pl.when(alert).then(by_alert).otherwise(by_close)


def _kind() -> pl.Expr:
    """Return the kind of each failed handshake."""
    number, server = c("alert"), c("ended_by") == "server"
    asked = server & c("certificate_asked")
    own = number.is_in([*ABOUT_CLIENT_CERTIFICATE]).fill_null(value=True)
    by_server = number.replace_strict(BY_SERVER | BY_EITHER, default="other", return_dtype=pl.String)
    by_client = number.replace_strict(BY_CLIENT | BY_EITHER, default="other", return_dtype=pl.String)
    return (
        pl.when(c("ended_how") != "alert")
        .then(pl.lit("closed"))
        .when((asked & own) | (server & (number == 116)).fill_null(value=False))
        .then(pl.lit("client-certificate"))
        .when(number.is_null())
        .then(pl.lit("unknown-alert"))
        .when(server)
        .then(by_server)
        .otherwise(by_client)
    )


def _side() -> pl.Expr:
    """Return the side that has to change something."""
    of_client = (c("kind") == "client-certificate") | ((c("kind") == "closed") & (c("ended_by") == "client"))
    return pl.when(c("kind") == "bad-record").then(None).when(of_client).then(pl.lit("client")).otherwise(pl.lit("server"))


def words(x: Facts) -> dict[str, Any]:
    """Return the words about what ended the handshake and what the client had offered, and the packets of the handshake."""
    alert = "" if x.alert is None else describe_alert(x.alert)
    evidence = packets(
        (x.client_hello_frame, x.client_hello_time, f"the ClientHello{_to_name(x)}"),
        (x.server_hello_frame, x.server_hello_time, "the ServerHello"),
        (x.flight_frame, x.flight_time, "the end of the server's messages"),
        (x.client_finished_frame, x.client_finished_time, "the client's Finished"),
        (x.frame, x.end, f"the {x.ended_by}'s {_end(x)}"),
    )
    return {"sender": x.ended_by, "alert_name": alert, "failure": _failure(x), "details": _details(x), "evidence": evidence}


def _to_name(x: Facts) -> str:
    return f" for {x.server_name}" if x.server_name else " without a server name"


def _end(x: Facts) -> str:
    """Return what ended the handshake, without its sender."""
    if x.ended_how == "alert":
        return "encrypted alert" if x.alert is None else f"alert {describe_alert(x.alert)}"
    return {"close-notify": "close_notify", "fin": "FIN", "rst": "RST"}[x.ended_how]


def _progress(x: Facts) -> str:
    """Return how far the handshake had come."""
    if x.end < x.client_hello_time:
        return "before the ClientHello arrived"
    after = f"{duration_text(x.end - x.client_hello_time)} after the ClientHello{_to_name(x)}"
    if x.server_hello_frame is None:
        return f"{after}, and before a ServerHello"
    place = "before" if x.client_finished_frame is None else "after"
    return f"{after}, {place} the client's Finished"


def _failure(x: Facts) -> str:
    """Return the sentences about what ended the handshake."""
    if x.ended_how != "alert":
        return f"The {x.ended_by} closed the connection ({_end(x)}) {_progress(x)}. It sent no alert."
    if x.alert is None:
        shown = "The length of the record shows that it is an alert. Which one it is, only the keys would show."
        return f"The {x.ended_by} sent an encrypted alert {_progress(x)}. {shown}"
    return f"The {x.ended_by} sent the alert {describe_alert(x.alert)} {_progress(x)}."


def _details(x: Facts) -> str:
    """Return the sentences about the reason, as far as the handshake shows it."""
    if x.kind == "protocol-version":
        return f" The client offered {x.versions_offered}."
    if x.kind == "no-shared-parameters":
        return f" The client offered {x.suites_offered} cipher suites, and {x.versions_offered}."
    if x.kind == "no-application-protocol":
        return f" The client offered {x.alpn_offered}."
    if x.kind == "client-certificate":
        return " The server had asked for a certificate of the client."
    if x.kind == "closed" and x.server_hello_frame is None:
        return large_hello_text(x.hello_bytes)
    if x.kind == "closed" and x.ended_by == "client":
        return " It had got the server's certificate, and may have rejected it."
    return ""

"""A certificate of the server is not valid at the time of the handshake, or expires soon.

What it means
    The server sent a certificate whose validity is over (kind expired), has not begun (kind not-yet-valid), or ends soon (kind
    soon). The certificate may be the server's own, or an intermediate one.

Why it hurts
    Clients that check certificates reject this one, and report that it has expired. Other clients, and old ones, go on, so only
    some users notice. When a certificate expires that works today, all of its users notice at once.

How it is proved
    In TLS 1.2 and older, the certificates are not encrypted. Their validity is compared with the time of the ServerHello, as the
    clock of the capture shows it. Self-signed certificates behind the first one do not count, because clients have their own
    copy.
    Kind soon: less than 14 days are left, or less than a third of the validity of the server's certificate, if that is shorter.

What it is not
    If the client sent application data although the certificate is not valid, it does not check it, and the finding is a
    warning. If the client rejected the certificate with an alert, handshake-failed reports it. If the validity ended more than
    398 days ago, or begins in more than 398 days, nothing is reported: the clock of the capture is probably wrong, because public
    certificates are valid for 398 days at most, and authorities do not issue them so long before.
    In TLS 1.3, certificates are encrypted, and a resumed session has none.

What to do
    Renew the certificate, and reload the server: a running process keeps the old one. Check that the renewal runs by itself and
    reloads the server (certbot renew, cert-manager, ACME in the server). Kind not-yet-valid: compare the clocks of the hosts.

References
    RFC 5280 section 4.1.2.5, RFC 5246 section 7.4.2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate
from wiredoctor.rules.shared.words import packets
from wiredoctor.text.durations import duration_text

c = pl.col

_RENEW = "Renew the certificate, and reload the server: a running process keeps the old one."

RULE = Rule(
    symptom="*certificate has expired*, *certificate is not yet valid*",
    severity={"expired": "error", "not-yet-valid": "error", "soon": "warning"},
    title={
        "expired": "The server's certificate has expired",
        "not-yet-valid": "The server's certificate is not valid yet",
        "soon": "The server's certificate expires soon",
    },
    message={
        "expired": "The server sent a certificate{names} that had expired {apart} before the handshake.{reaction}",
        "not-yet-valid": "The server sent a certificate{names} that becomes valid only {apart} after the handshake.{reaction}",
        "soon": "The server sent a certificate{names} that expires {apart} after the handshake.",
    },
    remedy={
        "expired": _RENEW + " If the certificate is valid, check the clock of the host that captured.",
        "not-yet-valid": "Compare the clocks of the authority, the server and the host that captured (timedatectl, chronyc "
        "tracking). If they are right, install the new certificate when it is valid.",
        "soon": _RENEW + " Check that the renewal runs by itself (certbot renew --dry-run).",
    },
    display_filter="tcp.stream == {connection} && tls.handshake.certificate",
    references=(
        Reference("RFC 5280 section 4.1.2.5, validity", "https://www.rfc-editor.org/rfc/rfc5280.html#section-4.1.2.5"),
        Reference("RFC 5246 section 7.4.2, server certificate", "https://www.rfc-editor.org/rfc/rfc5246.html#section-7.4.2"),
    ),
    explained_by=(("handshake-failed/certificate-expired", "connection"),),
    protocols=("tls",),
)

SOON = Threshold("1209600 s", "14 days: authorities and monitors warn two weeks before the end, when a renewal has failed")
SHARE = Threshold("33 %", "the share of a validity of less than six weeks: programs renew such a certificate when this is left")
FAR = Threshold(
    "34387200 s",
    "398 days: the longest validity of public certificates; if one is further away, the clock of the capture is probably wrong",
)


class Facts(NamedTuple):
    """What is known of a certificate: columns of `handshakes`. `end`: the time of the ServerHello; times in ns."""

    kind: str
    frame: int
    end: int
    valid_from: int
    valid_until: int
    certificate_names: str
    certificate_name_count: int
    client_content: bool
    client_hello_frame: int
    client_hello_time: int
    answered_frame: int | None
    answered_time: int | None


def find(handshakes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each handshake with a certificate that is not valid then, or not much longer."""
    at = c("server_hello_time")
    left = c("valid_until") - at
    validity = c("valid_until") - c("certificate_issued")
    # divided first, because a validity in nanoseconds may nearly fill 64 bits
    enough = pl.min_horizontal(pl.lit(SOON.value), validity // 100 * SHARE.value)
    early = (c("valid_from") > at) & (c("valid_from") - at <= FAR.value)
    expired = (left < 0) & (left >= -FAR.value)
    kind = (
        pl.when(expired).then(pl.lit("expired"))
        .when(early).then(pl.lit("not-yet-valid"))
        .when((left >= 0) & (left < enough) & (c("valid_from") <= at)).then(pl.lit("soon"))
    )  # fmt: skip
    rows = (
        handshakes.filter(c("certificate_sha256").is_not_null()).with_columns(kind.alias("kind")).filter(c("kind").is_not_null())
    )
    accepted = c("client_content") & (c("kind") != "soon")
    severity = pl.when(accepted | (c("kind") == "soon")).then(pl.lit("warning")).otherwise(pl.lit("error"))
    return rows.select(
        *candidate("server", "high", "server_hello_frame", "client_hello_time", at, kind=c("kind"), of="connection"),
        severity.alias("severity"),
        *(name for name in Facts._fields if name not in ("kind", "frame", "end")),
    )


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the certificate, and the packets of the handshake."""
    reaction = " The client sent application data, so it does not check the validity." if x.client_content else ""
    more = x.certificate_name_count - x.certificate_names.count(", ") - 1
    names = f" for {x.certificate_names}{f' and {more} more' if more > 0 else ''}" if x.certificate_names else ""
    limit = x.valid_from if x.kind == "not-yet-valid" else x.valid_until
    return {
        "names": names,
        "apart": duration_text(abs(limit - x.end)),
        "reaction": reaction,
        "evidence": packets(
            (x.client_hello_frame, x.client_hello_time, "the ClientHello"),
            (x.frame, x.end, "the ServerHello"),
            (x.answered_frame, x.answered_time, "the end of the server's messages, with its certificate"),
        ),
    }

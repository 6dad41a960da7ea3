"""The server closed a connection in the middle of an NTLM or Negotiate handshake.

What it means
    NTLM and Negotiate authenticate the connection, not the request: the challenge and its answer must travel on the same
    connection. The server sent a challenge and closed the connection before the answer could come.

Why it hurts
    The client cannot log in, even with the right credentials. It starts again on another connection, gets another challenge,
    and loses that connection, too. Users see the password prompt again and again.

How it is proved
    A 401 or 407 has an NTLM or Negotiate challenge with a token. Such a token is only sent in the middle of a handshake. The
    server's FIN or RST follows within a second, before any FIN or RST of the client.

What it is not
    The first 401 names the schemes without a token, and the server may close after it. It may also close after a token that
    rejects the client (RFC 4178, negState reject): there is nothing left to answer. If the server closes more than a
    second after the challenge, the client had not continued, so the connection was idle. A close by the client does not
    count.

What to do
    Keep the connection open between the challenge and its answer, on the server and on every proxy and balancer in front of
    it.

References
    RFC 4559 section 6, Microsoft MS-NTHT, RFC 9112 section 9.3.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate, confidence, has_doubtful_close
from wiredoctor.rules.shared.words import close_after_response, fin_or_rst, packets, sender_of_close, with_doubt
from wiredoctor.world.connection_close import server_closed_first
from wiredoctor.world.numbers import DURATION

c = pl.col

RULE = Rule(
    symptom="a login that never succeeds",
    severity="error",
    title="The server closed the connection in the middle of an authentication handshake ({scheme})",
    message="The {status} to {request} carries a challenge ({scheme}) that the client has to answer on the same connection. "
    "But the server closed that connection ({close}) {gap} after the end of the response{announced}. The challenge is valid "
    "only on that connection, so no login succeeds.",
    remedy="Keep the connection open between the challenge and its answer. On the server, turn HTTP keep-alive on, and remove "
    "any filter or module that ends the request on its own. On every proxy and balancer in front of it, use one "
    "connection to the server per client connection.",
    references=(
        Reference("RFC 4559 section 6, on connections behind a proxy", "https://www.rfc-editor.org/rfc/rfc4559.html#section-6"),
        Reference(
            "Microsoft MS-NTHT, NTLM over HTTP",
            "https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-ntht/f09cf6e1-529e-403b-a8a5-7368ee096a6a",
        ),
        Reference("RFC 9112 section 9.3, persistence", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.3"),
    ),
    advice=(
        Advice(
            "server",
            "IIS|Microsoft",
            'IIS: turn "Enable HTTP keep-alive" on (HTTP response headers, common headers), and look for ISAPI filters that '
            "send their own responses.",
        ),
        Advice(
            "server",
            "nginx",
            'nginx as a proxy: proxy_http_version 1.1 with proxy_set_header Connection ""; but upstream connections are '
            "shared between clients, and NTLM needs a separate connection for each client.",
        ),
        Advice("server", "Apache", "Apache httpd: KeepAlive On."),
    ),
    timeless=True,
    ends=True,
)

IMMEDIATE = Threshold(
    "1 s",
    "the maximum time from the challenge to the close; clients answer at once, so a connection that is closed later was "
    "no longer in use",
)


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    soon = c("server_close_time") - c("response_end") <= IMMEDIATE.value
    return c("response_status").is_in([401, 407]) & c("response_auth_token") & soon


def _is_closed() -> pl.Expr:
    """Return an expression that is true for the rows that become candidates."""
    after = c("server_close_time") >= c("response_start")
    return may_match() & after & c("has_request") & server_closed_first() & ~c("upgraded")


class Facts(NamedTuple):
    """What is known of a close in the middle of a handshake. Times and durations are in ns."""

    frame: int
    start: int
    end: int
    scheme: str
    gap: int
    response_status: int
    response_frame: int
    response_start: int
    response_connection_close: bool
    server_close_frame: int
    server_close_rst: int
    server_close_origin: str | None


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each challenge after which the server closed the connection."""
    return closes.filter(_is_closed()).select(
        *candidate("server", confidence(has_doubtful_close("server")), "request_frame", "request_start", "server_close_time"),
        c("response_auth_scheme").alias("scheme"),
        (c("server_close_time") - c("response_end")).clip(0).cast(DURATION).alias("gap"),
        *("response_status", "response_frame", "response_start", "response_connection_close"),
        *("server_close_frame", "server_close_rst", "server_close_origin"),
    )


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the close."""
    challenge = f"the {x.response_status}: a challenge ({x.scheme}) with a token, to be answered on this connection"
    note = with_doubt(x.server_close_origin, close_after_response(x.server_close_rst, x.gap))
    return {
        "close": fin_or_rst(x.server_close_rst),
        "origin": sender_of_close(x.server_close_origin),
        "announced": ", as announced (Connection: close)" if x.response_connection_close else "",
        "evidence": packets(
            (x.frame, x.start, "the request"),
            (x.response_frame, x.response_start, challenge),
            (x.server_close_frame, x.end, note),
        ),
    }

"""A head is larger than many clients, servers or proxies accept.

What it means
    Servers, proxies and clients limit the size of heads (start line and header fields). Kind request: the server rejected a
    request because of the size of its head. Kind response: the head of a response exceeds the limits of common clients and
    proxies. Cookies that grow are the usual cause, then long query strings, tokens, and policies such as Content-Security-
    Policy.

Why it hurts
    request: only some users fail, those with many cookies, and only until they delete them. The status does not always name
    the cause: haproxy and nginx answer 400. response: the request fails at a client or proxy with a lower limit, although it
    works in a browser: "Header overflow" (Node), "upstream sent too big header" and a 502 (nginx).

How it is proved
    request: the status is 431 or 414. Or it is 400, the response announces the close of the connection, and the head has at
    least 8,000 bytes. response: the head has more than 16 kB, which is Node's limit for a head.

What it is not
    A 400 without an announced close is from an application. A large head that was accepted is not reported for requests. If a
    gateway rejected a response and answered with an error, gateway-error reports it.

What to do
    Find out which fields are large, in the browser's developer tools or in Wireshark. Store the data in a session on the
    server, and only its key in a cookie. Send long parameters in a body. Otherwise raise the limit, at every proxy on the way.

References
    RFC 6585 section 5. RFC 9110 sections 5.4 and 15.5.15.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import confidence, evidence

RULE = Rule(
    symptom="*431 Request Header Fields Too Large*, *Request Header Or Cookie Too Large*, *Header overflow*",
    severity={"request": "warning", "response": "note"},
    title={
        "request": "The server rejected a request with a large head ({code})",
        "response": "The head of a response is larger than some clients and proxies accept",
    },
    message={
        "request": "{server} answered {request} with {code}{reason}. The head of the request has {size:,} bytes{doubt}.",
        "response": "The head of the {code} to {request} has {size:,} bytes. Node's clients (http, undici, axios) reject heads "
        "of more than 16 kB. Proxies also reject such heads by default: the limit of nginx is 4 or 8 kB, that of haproxy 16 kB.",
    },
    remedy={
        "request": "Find out which fields of the request are large: cookies that grow, a long query, tokens. Let the server set "
        "fewer or smaller cookies, and let the client send long parameters in a body. Or raise the limit of the server and of "
        "every proxy in front of it.",
        "response": "Find out which fields of the response are large, such as Set-Cookie and Content-Security-Policy, and "
        "shorten them. If a client must accept them, raise its limit (Node: --max-http-header-size).",
    },
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
    references=(
        Reference("RFC 6585 section 5, 431", "https://www.rfc-editor.org/rfc/rfc6585.html#section-5"),
        Reference("RFC 9110 section 5.4, field limits", "https://www.rfc-editor.org/rfc/rfc9110.html#section-5.4"),
        Reference("RFC 9110 section 15.5.15, 414", "https://www.rfc-editor.org/rfc/rfc9110.html#section-15.5.15"),
    ),
    explained_by=(("gateway-error", "exchange"), ("gateway-error", "front")),
    advice=(
        Advice("server", "nginx", "nginx: large_client_header_buffers (4 of 8 kB by default).", "rejected"),
        Advice("server", "Apache", "Apache httpd: LimitRequestFieldSize and LimitRequestLine (8190 bytes).", "rejected"),
        Advice("server", "envoy", "Envoy: max_request_headers_kb (60 by default).", "rejected"),
        Advice("server", "lighttpd", "lighttpd: server.max-request-field-size (8 kB by default).", "rejected"),
        Advice("server", "gunicorn", "gunicorn: --limit-request-field_size and --limit-request-line.", "rejected"),
        Advice("server", "Jetty", "Jetty: requestHeaderSize (8 kB by default).", "rejected"),
        Advice("server", "Kestrel", "Kestrel: MaxRequestHeadersTotalSize (32 kB by default).", "rejected"),
        Advice("server", "Microsoft-HTTPAPI", "http.sys: MaxFieldLength and MaxRequestBytes (16 kB by default).", "rejected"),
        Advice(
            "server",
            "^$",
            "If it is haproxy: tune.bufsize (16 kB by default). Node: --max-http-header-size (16 kB). Tomcat: "
            "maxHttpRequestHeaderSize (8 kB).",
            "rejected",
        ),
    ),
)

LARGE_REQUEST = Threshold("8000 bytes", "a 400 may be due to a head of this size: most limits are 8 kB or more")
LARGE_RESPONSE = Threshold("16384 bytes", "Node's clients reject larger heads; limits of other clients are higher")

_TOO_LARGE = (414, 431)
_BAD_REQUEST = 400
_REASONS = {414: " (URI Too Long)", 431: " (Request Header Fields Too Large)"}
_DOUBT = ", which is the probable cause: servers limit heads to 8 kB or more, and then close the connection"


def _rejected() -> pl.Expr:
    c = pl.col
    status, large = c("response_status"), c("request_head_bytes") >= LARGE_REQUEST.value
    perhaps = (status == _BAD_REQUEST) & c("response_connection_close") & large
    known = c("has_request") & c("request_head_bytes").is_not_null()
    return (known & (status.is_in(_TOO_LARGE) | perhaps)).fill_null(value=False)


def screen() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return _rejected() | (pl.col("response_head_bytes") > LARGE_RESPONSE.value)


def find(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each request that was rejected because of its head, and for each response with a large head."""
    c = pl.col
    rejected, status = _rejected(), c("response_status")
    reason = status.replace_strict(_REASONS, default="", return_dtype=pl.String)
    doubt = pl.when(status == _BAD_REQUEST).then(pl.lit(_DOUBT)).otherwise(pl.lit(""))
    return exchanges.filter(screen() & c("has_request")).select(
        "connection",
        "exchange",
        pl.when(rejected).then(pl.lit("request")).otherwise(pl.lit("response")).alias("kind"),
        pl.lit("server").alias("side"),
        confidence(rejected & (status == _BAD_REQUEST)).alias("confidence"),
        c("request_frame").alias("frame"),
        c("request_start").alias("start"),
        c("response_start").alias("end"),
        pl.lit(None, pl.Int64).alias("delay"),
        status.cast(pl.Int64).alias("code"),
        pl.when(rejected).then("request_head_bytes").otherwise("response_head_bytes").alias("size"),
        reason.alias("reason"),
        doubt.alias("doubt"),
        rejected.alias("rejected"),
        evidence(
            ("request_frame", "request_start", pl.format("the request: a head of {} bytes", "request_head_bytes")),
            (
                "response_frame",
                "response_start",
                pl.format("the response: {}, a head of {} bytes", status, "response_head_bytes"),
            ),
        ),
    )

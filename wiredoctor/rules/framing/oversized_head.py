"""A head is larger than many clients, servers or proxies accept.

What it means
    Servers, proxies and clients limit the size of heads (start line and header fields). Kind request: the server rejected a
    request because of the size of its head. Kind response: the head of a response exceeds the limits of common clients and
    proxies. The usual cause is cookies that grow. Others are long query strings, tokens, and policies such as
    Content-Security-Policy.

Why it hurts
    Kind request: requests fail only for some users, those with many cookies, and only until these users delete them. The status
    does not always name the cause: haproxy and nginx answer 400. Kind response: the request fails at a client or proxy with a
    lower limit, although it works in a browser: "Header overflow" (Node), "upstream sent too big header" and a 502 (nginx).

How it is proved
    Kind request: the status is 431 or 414. Or the status is 400, the server announces a close that the client did not ask for,
    and the size of the head is the probable cause: the head has at least 8,000 bytes, or the response is as long as nginx's
    page "Request Header Or Cookie Too Large" (then the limit may be lower). Kind response: the head has more than 16 KiB, which
    is Node's limit.

What it is not
    A 400 without an announced close usually comes from an application and is not reported. If the server has accepted a head of
    the same size before, a 400 is reported only if it is as long as nginx's page. If the server announced a close when it
    accepted a large head, other 400s are reported only if the head is more than 10 % larger. A large request head that was
    accepted is not reported, and neither is a large response head that a browser received. If a gateway rejected a response and
    answered with an error, gateway-error reports it.

What to do
    Find out which fields are large, in the browser's developer tools or in Wireshark. Store the data in a session on the
    server, and only its key in a cookie. Send long parameters in a body. Otherwise raise the limit, at every proxy on the way.

References
    RFC 6585 section 5. RFC 9110 sections 5.4 and 15.5.15.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.bounded_memory import BoundedMap
from wiredoctor.rules.shared.evidence import candidate, confidence
from wiredoctor.rules.shared.words import packets
from wiredoctor.world import World
from wiredoctor.world.products import advice, default, find_setting

c = pl.col

_NODE = find_setting("Node", "--max-http-header-size")

RULE = Rule(
    symptom="*431 Request Header Fields Too Large*, *Request Header Or Cookie Too Large*, *Header overflow*",
    severity={"request": "warning", "response": "note"},
    title={
        "request": "The server rejected the head of a request ({code})",
        "response": "The head of a response is larger than some clients and proxies accept",
    },
    message={
        "request": "{server} answered {request} with {code}{reason}. The head of the request has {size:,} bytes{doubt}.",
        "response": "The head of the {code} to {request} has {size:,} bytes. Node's clients (http, undici, axios) reject heads "
        f"of more than {_NODE.amount}. Proxies also reject such heads by default: the limit of nginx is "
        f"{default('nginx', 'proxy_buffer_size')} KiB, that of haproxy "
        f"{default('haproxy', 'tune.bufsize less tune.maxrewrite')}.",
    },
    remedy={
        "request": "Find out which fields of the request are large: cookies that grow, a long query, tokens. Have the server set "
        "fewer or smaller cookies, and have the client send long parameters in a body. Or raise the limit of the server and of "
        "every proxy in front of it.",
        "response": "Find out which fields of the response are large, such as Set-Cookie and Content-Security-Policy, and "
        "shorten them. If a client must accept such heads, raise its limit (Node: --max-http-header-size).",
    },
    references=(
        Reference("RFC 6585 section 5, 431", "https://www.rfc-editor.org/rfc/rfc6585.html#section-5"),
        Reference("RFC 9110 section 5.4, field limits", "https://www.rfc-editor.org/rfc/rfc9110.html#section-5.4"),
        Reference("RFC 9110 section 15.5.15, 414", "https://www.rfc-editor.org/rfc/rfc9110.html#section-15.5.15"),
    ),
    explained_by=(
        ("gateway-error", "exchange"),
        ("gateway-error", "front"),
        ("conflicting-framing", "exchange"),
        ("malformed-head", "exchange"),
    ),
    advice=(
        *advice("head", "server", "rejected"),
        Advice(
            "server",
            "^$",
            f"If the server is haproxy: tune.bufsize ({default('haproxy', 'tune.bufsize')} by default); Node: "
            f"--max-http-header-size ({_NODE.amount}); Tomcat: maxHttpRequestHeaderSize "
            f"({default('Tomcat', 'maxHttpRequestHeaderSize')}).",
            "rejected",
        ),
    ),
)

LARGE_REQUEST = Threshold(
    "8000 bytes", "the minimum size of a request head that may have caused a 400; most limits are 8 KiB or more"
)
LARGE_RESPONSE = Threshold(
    f"{_NODE.default} bytes",
    "the size above which a response head is reported; Node's clients reject larger heads, and other clients have higher limits",
)

CLEARLY = Threshold(
    "10 %",
    "if a server announces a close even when it accepts large heads, a 400 is reported only if the head of its request exceeds "
    "the largest accepted head by more than this",
)
ENDPOINTS = Threshold(
    "10000 endpoints", "the number of servers whose largest accepted head is remembered, which bounds the memory"
)

_TOO_LARGE = (414, 431)
_BAD_REQUEST = 400
_REASONS = {414: " (URI Too Long)", 431: " (Request Header Fields Too Large)"}
_NGINX_PAGES = (221, 237, 623, 639)
"""The lengths in bytes of nginx's page "Request Header Or Cookie Too Large" without the server's name.

The page of older versions also has bgcolor="white" (16 bytes), and the page for Chrome also has padding (402 bytes).
"""
_PAGE = ', and the response is as long as nginx\'s page "Request Header Or Cookie Too Large"'
_DOUBT = ", which is the probable cause: many servers reject heads of more than 8 KiB and close the connection"


def _closes() -> pl.Expr:
    """Return whether the server announced a close although the client did not ask for it."""
    asked = c("request_connection_close") | (c("request_version") != "HTTP/1.1")
    return (c("response_connection_close") & ~asked).fill_null(value=False)


def _is_nginx_page() -> pl.Expr:
    """Return whether the body of a response is as long as nginx's page about a head that is too large."""
    name = c("response_server").cast(pl.String)
    ends = c("response_body_due") - name.str.len_bytes()
    html = c("response_content_type").cast(pl.String) == "text/html"
    return (name.str.contains("^(nginx|openresty)") & html & ends.is_in(_NGINX_PAGES)).fill_null(value=False)


def _rejected() -> pl.Expr:
    status, large = c("response_status"), c("request_head_bytes") >= LARGE_REQUEST.value
    perhaps = (status == _BAD_REQUEST) & _closes() & (large | _is_nginx_page())
    known = c("has_request") & c("request_head_bytes").is_not_null()
    return (known & (status.is_in(_TOO_LARGE) | perhaps)).fill_null(value=False)


def _accepted() -> pl.Expr:
    """Return whether a server accepted a large request head. A later 400 to a head of that size then has another cause."""
    large = c("request_head_bytes") >= LARGE_REQUEST.value
    return (c("has_request") & large & (c("response_status") < _BAD_REQUEST)).fill_null(value=False)


def _too_large_for_programs() -> pl.Expr:
    return (c("has_request") & (c("response_head_bytes") > LARGE_RESPONSE.value)).fill_null(value=False)


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    large = (c("request_head_bytes") >= LARGE_REQUEST.value) | (c("response_head_bytes") > LARGE_RESPONSE.value)
    return large | c("response_status").is_in([*_TOO_LARGE, _BAD_REQUEST])


class Facts(NamedTuple):
    """What is known of a large head. Times are in ns, sizes in bytes. `reported`: false if it only shows what is accepted."""

    kind: str
    frame: int
    start: int
    end: int
    endpoint: int
    code: int
    request_head_bytes: int
    response_frame: int
    response_head_bytes: int
    accepted: bool
    closes: bool
    reported: bool
    named: bool


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each request that was rejected because of its head, for each large request head that was accepted, and
    for each response with a large head.

    The accepted heads are not reported: `decide` learns the limits of servers from them.
    """
    rejected, status = _rejected(), c("response_status")
    browser = c("request_user_agent").cast(pl.String).str.starts_with("Mozilla/").fill_null(value=False)
    reported = rejected | (_too_large_for_programs() & ~browser)
    kind = pl.when(rejected).then(pl.lit("request")).otherwise(pl.lit("response"))
    sure = confidence(rejected & (status == _BAD_REQUEST))
    return closes.filter(reported | _accepted()).select(
        *candidate("server", sure, "request_frame", "request_start", "response_start", kind=kind),
        *("endpoint", "request_head_bytes", "response_frame", "response_head_bytes"),
        status.cast(pl.Int64).alias("code"),
        _accepted().alias("accepted"),
        _closes().alias("closes"),
        reported.alias("reported"),
        _is_nginx_page().alias("named"),
    )


@dataclass(eq=False, repr=False)
class _Accepted:
    """The request heads that a server has accepted.

    `size`: the size (bytes) of the largest head. `closes`: the server announced a close although it accepted one of these
    heads, so an announced close does not show that it rejected a head.
    """

    size: int = 0
    closes: bool = False


def decide(x: Facts, world: World) -> Facts | None:
    """Drop accepted heads, and a 400 if the server has accepted a request head of at least the same size before.

    If the server announced a close when it accepted a large head, the accepted head may be smaller by CLEARLY. nginx's page is
    never dropped.
    """
    server = world.memory.setdefault("oversized-head", BoundedMap(_Accepted, ENDPOINTS.value))[x.endpoint]
    most = server.size * (100 + CLEARLY.value) // 100 if server.closes else server.size
    other_cause = x.code == _BAD_REQUEST and not x.named and x.request_head_bytes <= most
    if x.accepted:
        server.size = max(server.size, x.request_head_bytes)
        server.closes |= x.closes
    return x if x.reported and not other_cause else None


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the head, and why it is the probable cause of a 400."""
    rejected = x.kind == "request"
    doubt = (_PAGE if x.named else _DOUBT) if x.code == _BAD_REQUEST else ""
    return {
        "size": x.request_head_bytes if rejected else x.response_head_bytes,
        "reason": _REASONS.get(x.code, ""),
        "doubt": doubt,
        "rejected": rejected,
        "evidence": packets(
            (x.frame, x.start, f"the request: a head of {x.request_head_bytes} bytes"),
            (x.response_frame, x.end, f"the response: {x.code}, a head of {x.response_head_bytes} bytes"),
        ),
    }

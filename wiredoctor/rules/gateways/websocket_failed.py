"""A client asked for a WebSocket and did not get one.

What it means
    A browser opens a WebSocket with a GET that says Upgrade: websocket, and a server that supports WebSocket on this path
    responds with 101. Here another response came. The usual reason is a proxy in front of the server. The fields Upgrade and
    Connection apply to one connection only, so a proxy drops both unless it is configured to forward them. Or the proxy uses
    HTTP/1.0, which does not support upgrades.

Why it hurts
    The page has no live data, or falls back to polling. The application's log shows an ordinary GET, or nothing, and the
    browser only reports "WebSocket connection failed".

How it is proved
    A GET with Upgrade: websocket and Sec-WebSocket-Key got a final response. The response is not a 101, not a redirection, and
    not a refusal by authentication or access rules (401, 403, 407).

    A redirection (301, 302, 307, 308) counts, too, if a browser made the request and the redirection leads to the same host and
    path: only the scheme, the port, "www." or a slash at the end of the path differ. Browsers do not follow redirections of the
    handshake. Confidence is medium then, because only User-Agent shows the browser.

    Kind dropped: both sides of a gateway are in the capture, and its forwarded request has no Upgrade: websocket, or is HTTP/1.0.
    Kind version: the response names a version of the protocol (Sec-WebSocket-Version) other than the requested one. Kind
    unsupported: everything else.

What it is not
    Other redirections, for example to a login page, and refusals by authentication or access rules are regular responses of a
    WebSocket server. Programs other than browsers may follow a redirection (RFC 6455 section 4.1). A 502 or 504 says that the
    gateway got no valid response, and gateway-error reports that. Nothing is reported if the client tries again at once and gets
    its WebSocket, or if there is no response at all. A 429 or 503 with Retry-After is not reported if another request for the
    same path got a WebSocket: the server supports WebSocket there, but is overloaded. A 426, or a response that names the very
    version that was requested, does not count as kind version: servers also send these if the field Upgrade is missing.

What to do
    Kind dropped: have the proxy forward the upgrade, and use HTTP/1.1 to the server. Kind version: have both sides use version
    13 of the protocol. Kind unsupported: check whether the server supports WebSocket on this path; if a proxy is in front of
    the server, check its configuration too. If the response is a redirection, open the WebSocket at the URL to which it leads, or
    have the server answer the handshake without a redirection.

References
    WHATWG WebSockets, opening handshake. RFC 6455 sections 4.1, 4.2.2 and 4.4, RFC 9110 section 7.8, nginx's WebSocket
    proxying, Apache's mod_proxy_http.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate, grade
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import of_exchanges
from wiredoctor.text import redact

c = pl.col

_ANSWERED = "{server} answered {requests:,} of {all_requests:,} requests for a WebSocket on {path} with {answer}. "

_NGINX = (
    'nginx: proxy_http_version 1.1, proxy_set_header Upgrade $http_upgrade and proxy_set_header Connection "upgrade", in the '
    "location of this path."
)
_HTTPD = "Apache httpd: upgrade=websocket in ProxyPass (2.4.47 and later, with mod_proxy_http), or mod_proxy_wstunnel."

_CHECK = (
    "Check whether the server supports WebSocket on this path, and check its log for what it rejects. If a proxy is in front "
    "of it, have it forward the upgrade: nginx needs proxy_http_version 1.1, proxy_set_header Upgrade $http_upgrade and "
    'Connection "upgrade"; Apache httpd upgrade=websocket with mod_proxy_http (2.4.47 and later), or mod_proxy_wstunnel; '
    "HAProxy and Caddy need no setting."
)
_CHECK_REDIRECTION = (
    "Open the WebSocket at the URL to which the redirection leads (wss:// in place of https://), or have the server answer the "
    "handshake at this URL without a redirection (nginx: a location with exactly this path; Django: APPEND_SLASH)."
)
_CHECK_REQUEST = "Find out why the server refused this request but not the others: see the response's body and the server's log."

RULE = Rule(
    symptom="*unexpected response code*, WebSocket close code 1006 at once",
    severity={"dropped": "error", "version": "warning", "unsupported": "warning"},
    title={
        "dropped": "No WebSocket: the gateway does not forward the upgrade",
        "version": "No WebSocket: the server does not support the requested version of the protocol",
        "unsupported": "No WebSocket: the response to the upgrade request was {answer}",
    },
    message={
        "dropped": _ANSWERED + "The gateway had forwarded the request to {behind} {how}: that server got an ordinary GET, and "
        "could not know that the client wanted a WebSocket.",
        "version": _ANSWERED + "The client requests version {asked} of the protocol, but the server supports {spoken}.",
        "unsupported": _ANSWERED + "{guess}",
    },
    remedy={
        "dropped": "Have the gateway forward the upgrade. {setting}",
        "version": "Have both sides use version 13 (RFC 6455), the only version in use. Replace the library on the side that "
        "uses another version.",
        "unsupported": "{check}",
    },
    display_filter="frame.number in {{{frames}}}",
    references=(
        Reference("WHATWG WebSockets, opening handshake", "https://websockets.spec.whatwg.org/#websocket-opening-handshake"),
        Reference("RFC 6455 section 4.2.2, the server's handshake", "https://www.rfc-editor.org/rfc/rfc6455.html#section-4.2.2"),
        Reference("RFC 6455 section 4.4, several versions", "https://www.rfc-editor.org/rfc/rfc6455.html#section-4.4"),
        Reference("RFC 9110 section 7.8, Upgrade", "https://www.rfc-editor.org/rfc/rfc9110.html#section-7.8"),
        Reference("nginx, WebSocket proxying", "https://nginx.org/en/docs/http/websocket.html"),
        Reference("Apache, mod_proxy_http", "https://httpd.apache.org/docs/2.4/mod/mod_proxy_http.html"),
    ),
    summary=True,
)

AGAIN = Threshold(
    "5 s", "a failed attempt is not reported if the client gets its WebSocket on another connection within this time"
)
SHOWN = Threshold("3 requests", "the maximum number of requests shown as evidence; the message has the totals")

_REPORTED_ELSEWHERE = (401, 403, 407, 502, 504)
"""The statuses that depend on the user, or that a gateway sends because it got no response (see gateway-error)."""

_REDIRECTIONS = (301, 302, 307, 308)
"""The statuses with which a server redirects a handshake to another URL."""

_BROWSER = "Mozilla/"
"""The beginning of every browser's User-Agent."""

_BUSY = (429, 503)
"""The statuses with which a server refuses a request temporarily, if it also sends Retry-After."""

_UPGRADE_REQUIRED = 426
_EITHER = (
    "Either the server does not support WebSocket on this path, or a proxy in between dropped the field Upgrade, so the server "
    "got an ordinary GET. A capture behind the proxy shows whether the request still has the field."
)
_REJECTED = (
    "With 400, a server usually rejects the handshake itself. Either the handshake has a field that the server does not accept "
    "(Origin, Sec-WebSocket-Protocol), or a proxy in between dropped Upgrade or Connection. The body of the response may name "
    "the field. A capture behind the proxy shows whether the request still has these fields."
)
_OLD = (
    "The request uses HTTP/1.0, so the server has to ignore the field Upgrade (RFC 9110 section 7.8). Browsers use "
    "HTTP/1.1, so a proxy probably sent this request."
)
_HAS_ONE = (
    "A server that supports WebSocket on this path sends this response if the field Upgrade is missing. So a proxy in between "
    "has dropped the field; a capture behind that proxy would show this."
)

_REDIRECTED = (
    "The redirection leads to the same path{}. Browsers do not follow redirections of a WebSocket handshake, so the WebSocket "
    "failed."
)

_GAVE_OTHERS = (
    "Other requests for a WebSocket on this path succeeded, so the server supports it there. The body of the response may say "
    "why the server refused this request."
)


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return pl.col("request_has_websocket_key") & (pl.col("response_status") >= 200)


def _is_handshake() -> pl.Expr:
    return c("has_request") & (c("request_method") == "GET") & c("request_has_websocket_key") & _names_websocket()


def _names_websocket() -> pl.Expr:
    return pl.col("request_upgrade").str.contains(r"(^|[,\s])websocket($|[,\s/])")


def _is_refusal() -> pl.Expr:
    return _refuses() | _is_redirected()


def _refuses() -> pl.Expr:
    status = pl.col("response_status")
    refusal = (status >= 200) & ((status < 300) | (status >= 400)) & ~status.is_in(_REPORTED_ELSEWHERE)
    return refusal.fill_null(value=False)


_URL = r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//([^/?#]*)"


def _is_redirected() -> pl.Expr:
    """Return whether a browser's request was redirected to its own URL, apart from scheme, port, "www." and a final slash.

    A login page has another path, or, if it is the root of its site, another host.
    """
    location = pl.col("response_location")
    host = pl.coalesce(pl.col("request_target").str.extract(_URL), pl.col("request_host"))
    same_host = (_bare_host(location.str.extract(_URL)) == _bare_host(host)).fill_null(value=~location.str.contains(_URL))
    same = same_host & (_bare_path(_path(location)) == _bare_path(_path(pl.col("request_target")))) & (location != "")
    browser = pl.col("request_user_agent").cast(pl.String).str.starts_with(_BROWSER)
    return (pl.col("response_status").is_in(_REDIRECTIONS) & browser & same).fill_null(value=False)


def _path(url: pl.Expr) -> pl.Expr:
    return url.str.extract(r"^(?:(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*)?([^?#]*)").fill_null("")


def _bare_path(path: pl.Expr) -> pl.Expr:
    return path.str.strip_chars_end("/")


def _bare_host(host: pl.Expr) -> pl.Expr:
    return host.str.to_lowercase().str.replace(r":[0-9]*$", "").str.replace(r"^www\.", "")


class Facts(NamedTuple):
    """What is known of refused requests for a WebSocket. `shown`: structs with the columns _SHOWN of some of the requests.

    If there are several requests, the other facts are those of the first. The facts `behind...` are about the request that a
    gateway forwarded because of it; None if there is none.
    """

    old: bool
    given: bool | None
    redirected: bool
    to_https: bool
    to_slash: bool
    path: str
    status: int
    statuses: int
    reason: str
    spoken: int | None
    software: str
    behind_can: bool | None
    behind_asks: bool | None
    behind_httpd: bool | None
    behind_software: str | None
    shown: list[dict[str, Any]]


def find(exchanges: pl.LazyFrame, connections: pl.LazyFrame, tries: pl.LazyFrame, fronts: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each server, path and kind with refused requests."""
    got = _is_handshake() & c("upgraded")
    rows = exchanges.filter((_is_handshake() & _is_refusal()) | got).select(
        *("connection", "exchange", "upgraded"),
        (c("request_version") == "HTTP/1.0").alias("old"),
        _path(c("request_target")).alias("path"),
        _is_redirected().alias("redirected"),
        c("response_location").str.to_lowercase().str.starts_with("https:").fill_null(value=False).alias("to_https"),
        _path(c("response_location")).str.ends_with("/").alias("to_slash"),
        c("request_user_agent").alias("agent"),
        c("request_websocket_version").alias("asked"),
        c("response_websocket_version").alias("spoken"),
        c("response_status").alias("status"),
        c("response_reason").alias("reason"),
        c("response_has_retry_after").alias("later"),
        c("response_server").alias("software"),
        *("request_frame", "request_start", "response_frame", "response_start"),
        c("gap_before").alias("doubtful"),
        c("request_frame").alias("frame"),
    )
    known = connections.select("connection", c("client_host").replace("::1", "127.0.0.1"), "server")
    endpoints = fronts.select("server", pl.lit(value=True).alias("is_front")).unique()
    backs = tries.filter("certain").select("connection", "exchange", pl.lit(value=True).alias("is_back"))
    return _candidates(
        rows.join(known, on="connection")
        .join(endpoints, on="server", how="left")
        .join(backs, on=["connection", "exchange"], how="left")
        .join(_requests_behind(exchanges, connections, tries), on=["connection", "exchange"], how="left")
        .cache()
    )


def _requests_behind(exchanges: pl.LazyFrame, connections: pl.LazyFrame, tries: pl.LazyFrame) -> pl.LazyFrame:
    """For each request to a gateway, return the last request that the gateway forwarded because of it, if the pairing is
    certain.
    """
    certain = tries.filter("certain").collect()
    sent = of_exchanges(exchanges, certain).select(
        *("connection", "exchange"),
        (c("request_version") != "HTTP/1.0").alias("behind_can"),
        _names_websocket().alias("behind_asks"),
        c("request_forwarded_server").alias("behind_httpd"),
        c("response_server").alias("behind_software"),
        c("response_status").alias("behind_status"),
        c("request_frame").alias("behind_frame"),
        c("request_start").alias("behind_start"),
    )
    place = ["front_connection", "front_exchange"]
    return (
        certain.lazy()
        .join(sent, on=["connection", "exchange"])
        .join(connections.select("connection", c("server").alias("behind")), on="connection")
        .sort("started", "behind_frame")
        .group_by(place)
        .agg(c("^behind.*$").last())
        .rename({"front_connection": "connection", "front_exchange": "exchange"})
    )


def _candidates(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the candidates. `rows`: the requests for a WebSocket, successful or not."""
    refused = _without_success_elsewhere(rows).filter(~_covered_by_another())
    kind = (
        pl.when(c("behind_frame").is_not_null())
        .then(pl.lit("dropped"))
        .when((c("spoken") != c("asked")).fill_null(value=False))
        .then(pl.lit("version"))
        .otherwise(pl.lit("unsupported"))
    )
    place = ["server", "path", "kind"]
    given = rows.filter("upgraded").select(*place[:2], pl.lit(value=True).alias("given")).unique()
    refused = refused.with_columns(kind.alias("kind")).join(given, on=place[:2], how="left")
    busy = c("given") & c("later") & c("status").is_in(_BUSY) & (c("kind") == "unsupported")
    refused = refused.filter(~busy.fill_null(value=False)).sort("request_frame", "connection")
    every = rows.group_by(place[:2]).agg(pl.len().cast(pl.Int64).alias("all_requests"))
    told = refused.group_by(place).agg(
        pl.len().cast(pl.Int64).alias("requests"),
        c("client_host").n_unique().alias("clients"),
        c("old", "given", "redirected", "to_https", "to_slash", "client_host", "status", "reason", "asked", "spoken").first(),
        c("software", "^behind.*$").first(),
        c("status").n_unique().alias("statuses"),
        c("request_frame").first().alias("frame"),
        c("request_start").min().alias("start"),
        c("response_start").max().alias("end"),
        c("doubtful").any(),
        pl.struct(_SHOWN).head(SHOWN.value).alias("shown"),
    )
    unsupported = c("kind") == "unsupported"
    side = pl.when(c("old") & unsupported).then(pl.lit("client")).otherwise(pl.lit("server"))
    sure = grade("doubtful", c("redirected") & unsupported)
    return (
        told.join(every, on=place[:2])
        .select(
            *candidate(side, sure, "frame", "start", "end", kind=c("kind"), of="server"),
            *("server", "requests", "all_requests", "asked", "behind", *Facts._fields),
            pl.when(c("clients") == 1).then("client_host").alias("client"),
        )
        .sort("frame", "server", "path")
    )


_SHOWN = (
    *("client_host", "request_frame", "request_start", "behind", "behind_frame", "behind_start", "behind_can", "behind_asks"),
    *("status", "response_frame", "response_start"),
)


def _without_success_elsewhere(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the refused requests, except those whose client got the WebSocket on another connection at about the same time.

    After a redirection, a WebSocket on the same connection, on another server, or on the path with its final slash added or
    removed counts, too.
    """
    rows = rows.with_columns(_bare_path(c("path")).alias("bare"))
    place = ["client_host", "agent", "bare"]
    got = rows.filter("upgraded").select(*place, "connection", "server", "path", "response_start")
    refused = rows.filter(~c("upgraded"))
    near = (c("response_start_got") - c("response_start")).abs() <= AGAIN.value
    other = (c("connection_got") != c("connection")) & (c("server_got") == c("server")) & (c("path_got") == c("path"))
    found = refused.join(got, on=place, suffix="_got").filter(near & (other | c("redirected")))
    healed = found.select("connection", "exchange").unique()
    return refused.join(healed, on=["connection", "exchange"], how="anti")


def _covered_by_another() -> pl.Expr:
    """Return whether another finding covers the request.

    If a gateway forwarded the request unchanged, the finding is about the server behind the gateway. If a gateway sent this
    request as HTTP/1.0, the finding is about the gateway. If the gateway created the status itself, gateway-error reports it.
    """
    passed_on = c("behind_asks") & c("behind_can")
    own = c("is_front") & (c("status") >= 500) & (c("behind_status").is_null() | (c("behind_status") != c("status")))
    return (passed_on | (c("is_back") & c("old"))).fill_null(value=False) | own.fill_null(value=False)


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the response, and about what a gateway or a redirection did."""
    answer = f"{x.status} {redact.reason(x.reason)}".strip()
    supports = x.given and not x.old and x.status != _UPGRADE_REQUIRED
    return {
        "path": redact.target(x.path),
        "answer": f"{answer} and others" if x.statuses > 1 else answer,
        "guess": _guess(x, supports=bool(supports)),
        "check": _CHECK_REDIRECTION if x.redirected else _CHECK_REQUEST if supports else _CHECK,
        "how": _how_forwarded(x.behind_can, x.behind_asks),
        "setting": _setting(x),
        "evidence": packets(*chain.from_iterable(map(_packets_of, x.shown))),
    }


def _packets_of(one: Mapping[str, Any]) -> list[tuple[int | None, int | None, str]]:
    """Return a request, the request that a gateway forwarded because of it, and the response. `one`: the columns _SHOWN."""
    how = _how_forwarded(one["behind_can"], one["behind_asks"])
    return [
        (one["request_frame"], one["request_start"], f"{one['client_host']} asks for a WebSocket"),
        (one["behind_frame"], one["behind_start"], f"the gateway forwards the request to {one['behind']} {how}"),
        (one["response_frame"], one["response_start"], f"the response: {one['status']}"),
    ]


def _how_forwarded(can: bool | None, asks: bool | None) -> str:
    """Return the text about how a gateway forwarded the request: as HTTP/1.0, without Upgrade, or both."""
    return "without Upgrade" if can else "as HTTP/1.0" if asks else "as HTTP/1.0 and without Upgrade"


def _setting(x: Facts) -> str:
    """Return advice on the setting to change in the gateway, depending on the gateway's software.

    The packets show the software: Apache httpd adds X-Forwarded-Server; only nginx uses HTTP/1.0 by default, and it replaces
    the Server field of responses.
    """
    if x.behind_httpd:
        return _HTTPD
    replaced = x.software.startswith("nginx") and x.behind_software != x.software
    return _NGINX if not x.behind_can or replaced else f"{_NGINX} {_HTTPD} HAProxy and Caddy forward the upgrade by default."


def _guess(x: Facts, *, supports: bool) -> str:
    """Return what the response says about the reason. `supports`: the server supports WebSocket on this path."""
    if x.redirected:
        return _REDIRECTED.format(_difference(x))
    if x.old or supports:
        return _OLD if x.old else _GAVE_OTHERS
    if x.status == _UPGRADE_REQUIRED or x.spoken is not None:
        return _HAS_ONE
    return _REJECTED if x.status == 400 else _EITHER


def _difference(x: Facts) -> str:
    """Return the text about how the URL of a redirection differs from the requested URL."""
    secure, has_slash = " over https" if x.to_https else "", x.path.endswith("/")
    if x.to_slash == has_slash or x.path == "/":
        return secure
    return f"{' with a slash' if x.to_slash else ' without the slash'} at its end{secure}"

"""A start line or header field is malformed, or the response has no head.

What it means
    A head is a start line and fields (name: value), each ended by CRLF. Kind bare-lf: a line ends with LF alone. Kind
    space-before-colon: there is white space between a field's name and its colon. Kind folding: a line begins with white
    space and therefore continues the previous field (obsolete line folding). Kind control-byte: a line contains a NUL, a CR
    without LF or another control character. Kind content-length: the value of Content-Length is not a number. Kind no-colon:
    a line of the head is not a field. Kind field-name: the name of a field is empty, or contains white space, bytes above 127 or
    other characters that a token cannot have. Kind repeated-length: Content-Length occurs twice with the same value, or is a list
    of equal values. Kind status-line: the status is not a number of three digits, the parts of the line are not separated by
    single spaces, or its version does not exist. Kind empty-line: an empty line comes before the first response.

    Kind no-status-line, an error: the response to a request begins with bytes that are not HTTP. An example is the traceback of a
    program that failed before it had written a head. Another is an HTTP/2 frame. A TLS alert as the first bytes of a server is
    reported by wrong-protocol.

    Kind speaks-first, an error: the server sent bytes before the request came, and they are not HTTP/1.x. Another program listens
    on that port: a server for SSH, SMTP, FTP or MySQL, or one that expects HTTP/2 from the first byte.

Why it hurts
    Recipients treat such heads differently: some reject the message (400, "invalid header"), some skip the field, some correct
    it. If one recipient skips a field and the next recipient uses it, requests can be smuggled and responses split. If
    Content-Length is not a number, the end of the message is unknown, too. A request whose response has no status line has
    failed. Each message says which clients refuse such a response, and with which words (measured with curl, Node, Go, Python and
    Java). Some clients do not refuse it but lose the fields after it, Content-Length among them, and wait until their timeout.
    Clients report an invalid response, and most proxies answer 502. nginx forwards such bytes unchanged, and Apache httpd
    sends them as the body of a 200. If the server speaks first, clients report a bad status line, or HTTP/0.9.

How it is proved
    The bytes of the head prove it.

    Kind no-status-line: the server acknowledged the request and had not answered it when it sent bytes that do not begin with
    HTTP/. No data is missing before them, and no head followed them. A status line of SHOUTcast or Gnutella (ICY 200 OK, HTTP
    200 OK) is reported if the client is known to refuse it by its User-Agent (such as curl, Go, requests or Java), and closed
    at once.

    Kind speaks-first: the connection was captured from its SYN. Its first request acknowledges bytes of the server, no response
    followed, and the client or the server closed the connection. The request is one packet, so the client had these bytes before
    it sent the request. The request is HTTP/1.1 or has a User-Agent, because simple port scanners send GET / HTTP/1.0 and nothing
    else to every port.

What it is not
    If the bytes are the rest of a body that is longer than announced, excess-body reports them. This is assumed if they are in
    the packet in which the body ends, or directly before the head of the next response. Other protocols may follow 101 Switching
    Protocols or CONNECT. A connection may look like HTTP only at its beginning. Before its first response, it is taken for
    another protocol if an HTTP/1.1 request has no Host, or if the client sends bytes after its request that are not HTTP either.
    Bytes above 127, tabs and spaces around a value, empty values and unknown fields are allowed. An incomplete head is not
    judged. If a head has two different lengths, or Transfer-Encoding: identity beside a length, conflicting-framing reports it. A
    status line without a reason phrase, or without the space before it, is not reported, because all clients read it. Empty lines
    are allowed before a request. After the body of a response, excess-body reports them.

What to do
    Build heads with an HTTP library, and check values for line ends and control characters before they go into a field. Write
    everything to the connection, or to the standard output of a CGI program, through that library. Kind speaks-first: send the
    request to the port of the HTTP server.

References
    RFC 9112 sections 2.2, 2.3, 4, 5.1, 5.2 and 11.1. RFC 9110 sections 2.5, 5.1, 5.5, 8.6 and 15.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.bounded_memory import BoundedMap
from wiredoctor.rules.shared.evidence import candidate
from wiredoctor.rules.shared.framing_faults import SMUGGLING, candidates, message_begins
from wiredoctor.rules.shared.refusals import FORMS, refusal_words
from wiredoctor.rules.shared.words import packets, request_or_response
from wiredoctor.tables import SERVER
from wiredoctor.world import World

c = pl.col

_NO_STATUS, _SPEAKS_FIRST = "no-status-line", "speaks-first"

_TITLES: dict[str | None, str] = {
    "bare-lf": "A line in the head of a {what} ends with LF alone",
    "space-before-colon": "A field in a {what} has white space before its colon",
    "folding": "A field in a {what} is folded over two lines",
    "control-byte": "The head of a {what} contains a control character",
    "content-length": "The Content-Length of a {what} is not a number",
    "no-colon": "A line in the head of a {what} is not a header field",
    "field-name": "A field in a {what} has an invalid name",
    "repeated-length": "The Content-Length of a {what} is repeated",
    "status-line": "The status line of a {what} is malformed",
    "empty-line": "An empty line comes before the first {what}",
    _NO_STATUS: "The response to a request is not HTTP",
    _SPEAKS_FIRST: "The server sent data before the first request: it does not speak HTTP/1.1",
}
_WHAT: dict[str | None, str] = {
    "bare-lf": "a line ends with LF and not with CRLF ({place}). Many parsers accept that, others reject the {what}, and some do "
    "not see the line's end at all.",
    "space-before-colon": "there is white space between the name {place} and its colon. Servers must reject such a request, "
    "proxies must remove the white space from such a response, and other recipients treat the name with the white space as a "
    "different field.",
    "folding": "the field {place} continues in a line that begins with white space. That has been obsolete since RFC 7230: "
    "servers may reject it, and some recipients take the second line for a field of its own.",
    "control-byte": "there is a byte that is forbidden in a head ({place}): a control character, or a CR without LF. "
    "Recipients reject the message, drop the byte, or end the line there.",
    "content-length": 'there is "{place}", which is not a number. The end of the message is unknown: a server has to answer '
    "such a request with 400 and close, and a client has to discard such a response.",
    "no-colon": "a line is not a field: it has no colon ({place}). Some recipients reject the {what}, others skip the line, "
    "or take it for the end of the head.",
    "field-name": 'the name of a field is not a token ("{place}"): {odd}.',
    "repeated-length": 'there is "{place}": {odd}. A sender must send one length, and recipients may reject the {what}.',
    "status-line": 'the status line begins with "{place}": {odd}.',
    "empty-line": "there is an empty line before the status line. It is allowed before requests only.",
}
_REMEDIES: dict[str | None, str] = {
    "bare-lf": "End every line with CRLF: programs, scripts and devices that write heads without a library often print only a "
    "newline.",
    "space-before-colon": "Put the colon right after the name.",
    "folding": "Write each field on one line. Folded fields come from programs that follow the rules for email. A value with a "
    "line end, such as a certificate that is forwarded in a field, has the same effect.",
    "control-byte": "Check every value for control characters and line ends before it goes into a field. Such characters come "
    "from user input, from binary data, and from strings with their terminating NUL.",
    "content-length": "Have the HTTP library set Content-Length. Common mistakes are an empty or unset variable, a plus or "
    "minus sign, a unit, and a number in another base, such as hexadecimal.",
    "no-colon": "Find out what else writes into the head besides the HTTP library: a program that prints a message or a warning "
    "before its head is complete, or a value that contains a line end.",
    "field-name": "Write field names with letters, digits and hyphens only: programs that take names from a configuration, from "
    "user input or from a translated text have to check them.",
    "repeated-length": "Have only one component set Content-Length: the server, the framework or the HTTP library. Two equal "
    "fields come from programs that set the field by hand although the library adds it, and from proxies that join or add "
    "fields.",
    "status-line": "Have an HTTP library write the status line: HTTP/1.1, one space, three digits, one space, and the reason "
    "phrase.",
    "empty-line": "Write nothing before the status line. Such lines come from programs that print an empty line before their "
    "head, and from the end of an earlier message that is written late.",
    _NO_STATUS: "{look}",
    _SPEAKS_FIRST: "Send the request to the port of the HTTP/1.1 server: check the host and the port in the client's "
    "configuration, and which program listens on this port (ss -ltnp on the server).",
}
_LOOK = (
    "Check the server's log for that time: a program failed before it had written the head of its response, and its output (a "
    "traceback, a message) went to the client. Have it print to standard error, and have the server answer 500. If another "
    "program listens on that port, send the request elsewhere."
)
_SPEAK_TLS = "Have the client use TLS (https) on this port, or send the request to a port of the server without TLS."
_SPEAK_HTTP2 = (
    "Have the client speak HTTP/2 on this port, or send the request to a port with HTTP/1. curl: --http2-prior-knowledge; "
    "haproxy: proto h2 on the server line; nginx: proxy_http_version 2 (1.29.4 and later), or grpc_pass for gRPC; Apache "
    "httpd: mod_proxy_http2 with h2c://; Caddy: h2c:// in reverse_proxy."
)
_ONCE = "{refused}{also} Only the first such fault on each connection is reported."
_ANSWER = (
    "The server acknowledged {request}, but the first bytes that it sent after that, {place}, are not a status line. The "
    "client cannot read them as a response, so the request has failed. No head followed them on this connection.{spoken}"
)
_GREETING = (
    "The server had sent {greeting} bytes before {request} came. An HTTP/1.1 server sends nothing before the first request, so "
    "this port belongs to another protocol: SSH, SMTP, FTP, MySQL and others begin with a greeting, and HTTP/2 (gRPC) with "
    "SETTINGS. The request got no response."
)
_ALERT = r"^\x15\x03[\x00-\x04]"
_TLS, _HTTP2 = r"^[\x15\x16]\x03[\x00-\x04]", r"(?s)^\x00\x00.\x04\x00\x00{4}"
"""Patterns for the first bytes that a TLS endpoint and an HTTP/2 server send.

TLS: a record with an alert or a handshake (RFC 8446 section 5.1). HTTP/2: the SETTINGS frame with which a server begins (RFC 9113
section 3.4).
"""

RULE = Rule(
    symptom="400 from one server and none from another, fields that get lost",
    severity={kind: "error" if kind in (_NO_STATUS, _SPEAKS_FIRST) else "warning" for kind in _TITLES},
    title=_TITLES,
    message={_NO_STATUS: _ANSWER, _SPEAKS_FIRST: _GREETING}
    | {kind: "In the head of the {what} " + text + _ONCE for kind, text in _WHAT.items()},
    remedy=_REMEDIES,
    caused_by=(("malformed-head", "tries"),),
    references=(
        Reference("RFC 9112 section 2.2, message parsing", "https://www.rfc-editor.org/rfc/rfc9112.html#section-2.2"),
        Reference("RFC 9112 section 4, status line", "https://www.rfc-editor.org/rfc/rfc9112.html#section-4"),
        Reference("RFC 9112 section 5.1, field line parsing", "https://www.rfc-editor.org/rfc/rfc9112.html#section-5.1"),
        Reference("RFC 9112 section 5.2, obsolete line folding", "https://www.rfc-editor.org/rfc/rfc9112.html#section-5.2"),
        Reference("RFC 9110 section 5.5, field values", "https://www.rfc-editor.org/rfc/rfc9110.html#section-5.5"),
    ),
    timeless=True,
    advice=(Advice("client", "", SMUGGLING, "ambiguous"),),
    ends=True,
)

CONNECTIONS = Threshold(
    "16384 connections",
    "the number of connections that are remembered, so that each kind of fault is reported once per connection; the least "
    "recently used connection is forgotten first",
)


def may_match() -> Mapping[str, pl.Expr]:
    """Return a cheap condition for each table.

    If no row of a batch meets the condition for its table, the batch has no candidate findings.
    """
    return {"faults": c("fault").is_in(_FAULTS), "closes": _is_first() & ~c("has_response")}


_FAULTS = [*(name for name, form in FORMS.items() if form.kind in _TITLES), _NO_STATUS]
_KIND_OF = {name: FORMS[name].kind for name in _FAULTS if name in FORMS}
"""The faults that are reported, and their kinds."""


class Facts(NamedTuple):
    """What is known of a fault in a head, or (kind speaks-first) of a request to a server that had spoken first.

    The facts of a fault are those of framing_faults.Facts. `kinds`: all kinds of fault in that head. `also`: those besides `kind`
    that are reported for the first time on the connection. `greeting_bytes`: what the server had sent before the request.
    """

    connection: int
    fault: str | None
    kind: str
    kinds: list[str] | None
    also: list[str] | None
    role: int
    frame: int
    start: int
    end: int
    excerpt: str
    message_frame: int
    status: int | None
    request_frame: int | None
    request_time: int | None
    request_method: str
    request_version: str
    greeting_bytes: int
    client_close_frame: int | None
    client_close_time: int | None
    server_close_frame: int | None
    server_close_time: int | None


def find(faults: pl.LazyFrame, closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each grammar fault in a head, and for each request to a server that had spoken first.

    Of several rows with the same kind on a connection, `decide` keeps the first.
    """
    also = pl.lit(None, pl.List(pl.String)).alias("also")
    return pl.concat([_malformed(faults), _greeted(closes)], how="diagonal").with_columns(also)


def _malformed(faults: pl.LazyFrame) -> pl.LazyFrame:
    # the first bytes of a server show that it expects TLS: wrong-protocol reports them
    alert = (c("fault") == _NO_STATUS) & (c("exchange") == 0) & c("excerpt").str.contains(_ALERT)
    rows = candidates(faults, _FAULTS, kind=c("fault").replace(_KIND_OF)).filter(~alert)
    heads = rows.group_by("connection", "frame").agg(c("kind").unique(maintain_order=True).alias("kinds"))
    return rows.join(heads, on=["connection", "frame"], maintain_order="left")


def _is_first() -> pl.Expr:
    """Return whether a request is the first on its connection, and the server had already sent something."""
    return (c("exchange") == 0) & (c("request_offset") == 0) & (c("request_ack") > 0)


def _is_greeted() -> pl.Expr:
    """Return whether the server sent bytes before the first request on the connection, but did not respond to that request."""
    # `request_ack` is that of the request's last packet, so only a request of one packet shows what had come before it
    alone = c("request_frame") == c("request_last_frame")
    first = _is_first() & alone & (_greeting() > 0)
    seen = c("handshake") & c("both_directions") & ~c("gap_before")
    # a port scanner sends "GET / HTTP/1.0" and nothing else to every port
    client = (c("request_version") == "HTTP/1.1") | (c("request_user_agent") != "")
    over = c("client_close_frame").is_not_null() | c("server_close_frame").is_not_null()
    return (first & client & c("has_request") & ~c("has_response") & seen & over).fill_null(value=False)


def _greeting() -> pl.Expr:
    """Return how many bytes of the server the client acknowledged with its request. A FIN does not count as a byte."""
    return pl.min_horizontal("request_ack", "server_close_offset")


def _greeted(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each request on a connection on which the server had spoken first."""
    end = pl.max_horizontal("request_start", pl.min_horizontal("client_close_time", "server_close_time"))
    return closes.filter(_is_greeted()).select(
        *candidate("client", "high", "request_frame", "request_start", end, kind=_SPEAKS_FIRST),
        _greeting().alias("greeting_bytes"),
        *("client_close_frame", "client_close_time", "server_close_frame", "server_close_time"),
    )


def decide(x: Facts, world: World) -> Facts | None:
    """Keep the first fault per connection and kind. Of several kinds in one head, keep the first, which names the others."""
    reported = world.memory.setdefault("malformed-head", BoundedMap[set[str]](set, CONNECTIONS.value))[x.connection]
    if x.kind in reported:
        return None
    also = [kind for kind in x.kinds or () if kind != x.kind and kind not in reported]
    reported.update([x.kind, *also])
    return x._replace(also=also)


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the fault, or about what the server had sent."""
    if x.kind == _SPEAKS_FIRST:
        return _words_of_greeting(x)
    asked = f"the request: {x.request_method}, {x.request_version}"
    texts = {"ambiguous": True, "what": request_or_response(x.role)}
    if x.kind == _NO_STATUS:
        came = f'the response begins: "{x.excerpt}", which is not a status line'
        evidence = packets((x.message_frame, x.start, asked), (x.frame, x.end, came))
        return texts | {"place": f'"{x.excerpt}"', **_protocol(x.excerpt), "evidence": evidence}
    evidence = packets(
        (x.request_frame if x.role == SERVER else None, x.request_time, asked),
        (x.message_frame, x.start, message_begins(x.role, x.status)),
        (x.frame, x.end, f"the fault in its head: {x.excerpt}"),
    )
    also = f" The same head also has: {', '.join(x.also)}." if x.also else ""
    name = x.fault or ""
    texts |= {"odd": FORMS[name].what, "refused": refusal_words(name, x.role), "also": also}
    return texts | {"place": x.excerpt, "evidence": evidence}


def _protocol(excerpt: str) -> dict[str, str]:
    """Return the words about the protocol to which the first bytes of a response belong."""
    if re.search(_TLS, excerpt):
        tls = " These bytes begin a TLS record: the server expects TLS on this port, so the URL must begin with https://."
        return {"spoken": tls, "look": _SPEAK_TLS}
    if re.search(_HTTP2, excerpt):
        http2 = " These bytes begin an HTTP/2 frame: the server expects HTTP/2 on this port."
        return {"spoken": http2, "look": _SPEAK_HTTP2}
    return {"spoken": "", "look": _LOOK}


def _words_of_greeting(x: Facts) -> dict[str, Any]:
    greeting = f"{x.greeting_bytes:,}"
    evidence = packets(
        (x.frame, x.start, f"the request, which acknowledges {greeting} bytes of the server"),
        (x.client_close_frame, x.client_close_time, "the client closes, without a response"),
        (x.server_close_frame, x.server_close_time, "the server closes, without a response"),
    )
    return {"greeting": greeting, "ambiguous": False, "evidence": evidence}

"""The client speaks another protocol than the port of the server.

What it means
    The first bytes of the client belong to a protocol that the server does not expect on this port. Kind tls-to-plain: the client
    begins a TLS handshake, and the server speaks plain HTTP. Kind plain-to-tls: the client sends plain HTTP, and the server
    expects TLS. Kind h2-to-http1: the client begins HTTP/2 without TLS, and the server speaks only HTTP/1.x. Kind proxy-header:
    the client, usually a balancer, sends a PROXY protocol header, and the server does not expect it.

Why it hurts
    No request succeeds. Clients report "wrong version number", "server gave HTTP response to HTTPS client", "400 The plain HTTP
    request was sent to HTTPS port", "Empty reply from server" or "PROTOCOL_ERROR". A health check of this kind marks a healthy
    server as down.

How it is proved
    The first bytes of both sides prove it: a ClientHello, an HTTP/2 preface or a PROXY protocol header that an HTTP/1.x
    response answers, or an HTTP request that gets the 400 with which nginx, AWS balancers, Go, Apache httpd, Tomcat or cheroot
    say that the port expects TLS, or a TLS alert. A response to a PROXY protocol header counts if it has status 400, 501 or
    505, or is a TLS alert, and if the server accepted no such header on another connection. A page of HTML without a status
    line counts as a response, because some servers, such as Python's http.server, send it if they cannot read the request line.

    If the server sent no byte before it closed, or before the client closed after a second or more, its other connections prove
    it: there it answered the other protocol, and never the one of this client. The confidence is medium then, because a server
    may close, or be silent, for other reasons.

What it is not
    A client that goes on in the right protocol within a second has only probed, and is not reported: clients of registries, for
    example, try TLS first. malformed-head reports a server that answers HTTP with other bytes that are not HTTP, such as an
    HTTP/2 frame. A server behind which a PROXY protocol header is missing closes like many others: no-response names it.

What to do
    Check the URL, the port and the protocol in the client's configuration, or in the health check of the balancer. Kind
    tls-to-plain: use http:// or the port for TLS, or turn TLS on at the server. Kind plain-to-tls: use https://. Kind
    h2-to-http1: have the client speak HTTP/1.1, or turn h2c on at the server. Kind proxy-header: have the server accept the
    header, or have the client stop sending it.

References
    RFC 8446 section 5.1, RFC 9113 section 3.4, the PROXY protocol (haproxy.org).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate
from wiredoctor.rules.shared.words import packets
from wiredoctor.tables import PROTOCOLS
from wiredoctor.text.durations import duration_text

c = pl.col

_RESPONSES = ["http", "http-rejects", "https-expected", "html"]
_KINDS = {"tls": "tls-to-plain", "http": "plain-to-tls", "http2": "h2-to-http1", "proxy-header": "proxy-header"}
"""The kinds of this rule by the protocol of the client."""
_SENT = "The first bytes of {client} are {sent}. {answer}"

RULE = Rule(
    symptom="*wrong version number*, *server gave HTTP response to HTTPS client*, a 400 for each request",
    severity="error",
    title={
        "tls-to-plain": "The client speaks TLS to a port for plain HTTP",
        "plain-to-tls": "The client speaks plain HTTP to a port for TLS",
        "h2-to-http1": "The client speaks HTTP/2 to a port for HTTP/1.x",
        "proxy-header": "The client sends a PROXY protocol header that the server does not expect",
    },
    message=_SENT,
    protocols=PROTOCOLS,
    remedy={
        "tls-to-plain": "Have the client use http:// on this port, or the server's port for TLS. If the port should speak "
        "TLS, turn TLS on at the server (nginx: listen 443 ssl). Check health checks of balancers, too.",
        "plain-to-tls": "Have the client use https:// on this port, or the server's port for plain HTTP. Check health checks, "
        "and proxies that connect to this port (nginx: proxy_pass https://; haproxy: ssl on the server line).",
        "h2-to-http1": "Have the client speak HTTP/1.1 on this port, or turn HTTP/2 without TLS on at the server (nginx: http2 "
        "on; haproxy: proto h2 on the bind line). gRPC needs HTTP/2.",
        "proxy-header": "Have the server accept the header (nginx: listen ... proxy_protocol; haproxy: accept-proxy on the bind "
        "line; Apache httpd: RemoteIPProxyProtocol On). Or have the client stop sending it (haproxy: send-proxy, nginx: "
        "proxy_protocol on, AWS NLB: proxy protocol v2).",
    },
    display_filter="tcp.stream == {connection}",
    references=(
        Reference("RFC 8446 section 5.1, record layer", "https://www.rfc-editor.org/rfc/rfc8446.html#section-5.1"),
        Reference("RFC 9113 section 3.4, HTTP/2 connection preface", "https://www.rfc-editor.org/rfc/rfc9113.html#section-3.4"),
        Reference("The PROXY protocol", "https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt"),
    ),
    summary=True,
    timeless=True,
    ends=True,
)

SILENCE = Threshold("1 s", "the minimum time from the client's first bytes to its close for which a silent server counts")
PROBE = Threshold(
    "1 s", "a client that goes on in the right protocol within this time has only probed; some clients try two protocols"
)


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return _is_rejected() | _is_closed()


class Facts(NamedTuple):
    """What is known of a connection in the wrong protocol. Times are in ns.

    `answered`: how the server's first bytes begin (see the column `server_opening`); "" if it sent none. `closed_by`: the side
    that closed the connection. `proof`, `proof_frame`,
    `proof_time`: another connection of the server, and the packet in which the server answered the other protocol.
    """

    kind: str
    frame: int
    start: int
    answered: str
    answer_frame: int | None
    answer_time: int | None
    last_frame: int
    end: int
    closed_by: str | None
    proof: int | None
    proof_frame: int | None
    proof_time: int | None


def _is_rejected() -> pl.Expr:
    """Return whether the server's first bytes belong to another protocol than the client's."""
    client, server = c("client_opening"), c("server_opening")
    responds = server.is_in(_RESPONSES)
    proxied = (client == "proxy-header") & server.is_in(["http-rejects", "https-expected", "tls-alert", "html"])
    return (
        ((client == "http") & server.is_in(["https-expected", "tls-alert"]))
        | (client.is_in(["tls", "http2"]) & responds)
        | proxied
    )


def _is_closed() -> pl.Expr:
    """Return whether the server sent no byte until it closed, or the client did, when the client's first bytes had arrived."""
    # what a client sends after the server's FIN, such as a TLS alert, is never acknowledged
    arrived = (c("client_bytes") > 0) & ((c("client_unacknowledged") < c("client_bytes")) | (c("close") == "rst"))
    waited = (c("closed_by") == "client") & (c("end") - c("client_opening_time") >= SILENCE.value)
    silent = (c("server_bytes") == 0) & ((c("closed_by") == "server") | waited)
    return c("client_opening").is_in([*_KINDS]) & silent & arrived


def find(connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each connection in a protocol that the server does not speak on this port."""
    usable = c("handshake") & ~c("one_sided")
    rows = connections.filter(usable).select(
        *("connection", "client", "client_host", "server", "client_opening", "client_opening_frame", "client_opening_time"),
        *("server_opening", "server_opening_frame", "server_opening_time", "start", "end", "last_frame", "closed_by"),
        _is_rejected().alias("rejected"),
        _is_closed().alias("closed"),
    )
    suspects = rows.filter(c("rejected") | c("closed")).collect(engine="streaming")
    others = rows.join(suspects.lazy().select("server").unique(), on="server", how="semi").filter(_is_accepted())
    accepted = others.collect(engine="streaming").sort("connection")
    found = _without_probes(_proved(suspects, accepted), accepted).sort("client_opening_frame")
    start, end = c("client_opening_time"), pl.coalesce("server_opening_time", "end")
    return found.lazy().select(
        *candidate("client", _confidence(), "client_opening_frame", start, end, kind=_kind(), of="connection"),
        c("server_opening").alias("answered"),
        c("server_opening_frame").alias("answer_frame"),
        c("server_opening_time").alias("answer_time"),
        *("last_frame", "closed_by", "proof", "proof_frame", "proof_time"),
    )


def _is_accepted() -> pl.Expr:
    """Return whether the server answered the client in a protocol that both speak. The status of a response may be an error."""
    client, server = c("client_opening"), c("server_opening")
    tls, http2 = (client == "tls") & (server == "tls"), (client == "http2") & (server == "http2")
    proxied = (client == "proxy-header") & server.is_in(["http", "tls", "http2"])
    return tls | http2 | proxied | ((client == "http") & (server == "http"))


def _proved(suspects: pl.DataFrame, accepted: pl.DataFrame) -> pl.DataFrame:
    """Keep the suspects that the bytes, or other connections of their server, prove. Add the first of these connections."""
    spoken = accepted.group_by("server").agg(c("client_opening").unique().alias("spoken"))
    http = _first(accepted.filter(c("client_opening") == "http")).with_columns(pl.lit(value=False).alias("plain"))
    tls = _first(accepted.filter(c("client_opening") == "tls")).with_columns(pl.lit(value=True).alias("plain"))
    proofs = pl.concat([http, tls])
    rows = suspects.with_columns((c("client_opening") == "http").alias("plain"))
    rows = rows.join(spoken, on="server", how="left").join(proofs, on=["server", "plain"], how="left")
    speaks = c("spoken").list.contains(c("client_opening")).fill_null(value=False)
    decided = c("rejected") & (c("client_opening") != "proxy-header")
    # of HTTP after a PROXY protocol header, only the header can be what the server rejects
    return rows.filter(decided | (~speaks & (c("rejected") | c("proof").is_not_null())))


def _first(accepted: pl.DataFrame) -> pl.DataFrame:
    """Return the first packet with which each server answered, and its connection."""
    names = {"connection": "proof", "server_opening_frame": "proof_frame", "server_opening_time": "proof_time"}
    return accepted.unique("server", keep="first", maintain_order=True).select("server", *names).rename(names)


def _without_probes(rows: pl.DataFrame, accepted: pl.DataFrame) -> pl.DataFrame:
    """Drop the connections after which the client went on in the right protocol within PROBE."""
    place = ["client_host", "server"]
    later = accepted.select(*place, c("start").alias("next_start"))
    probes = rows.join(later, on=place).filter(
        (c("next_start") > c("start")) & (c("next_start") - pl.coalesce("server_opening_time", "end") <= PROBE.value)
    )
    return rows.join(probes.select("connection").unique(), on="connection", how="anti")


def _kind() -> pl.Expr:
    return c("client_opening").replace_strict(_KINDS, return_dtype=pl.String)


def _confidence() -> pl.Expr:
    """Return high if bytes of the server show its protocol; a 400 for a PROXY protocol header needs another connection, too."""
    by_bytes = c("rejected") & ((c("client_opening") != "proxy-header") | c("proof").is_not_null())
    return pl.when(by_bytes).then(pl.lit("high")).otherwise(pl.lit("medium"))


_SENDS = {
    "tls-to-plain": "a TLS handshake record (ClientHello)",
    "plain-to-tls": "an HTTP request without TLS",
    "h2-to-http1": "the preface of HTTP/2",
    "proxy-header": "a PROXY protocol header",
}
_ANSWERS = {
    "http": "The server answered with an HTTP/1.x response: it speaks plain HTTP/1.x on this port.",
    "http-rejects": "The server rejected them with an HTTP/1.x response: it speaks plain HTTP/1.x on this port.",
    "html": "The server answered with a page of HTML and without a status line, as Python's http.server does if it cannot read a "
    "request line: it speaks plain HTTP on this port.",
    "https-expected": "The server rejected them with a 400 whose text says that this port expects TLS.",
    "tls-alert": "The server rejected them with a TLS alert: it expects a ClientHello as the first bytes.",
}
_FIRST = {"tls-alert": "a TLS alert", "html": "a page of HTML"}
_CLOSED = "The server closed the connection without sending a byte."
_SILENT = "The server acknowledged them and sent nothing until the client closed the connection, {} later."
_ELSEWHERE = " On connection {}, it answered {}."
_SPEAKS = {
    "tls-to-plain": "a plain HTTP request",
    "plain-to-tls": "a TLS handshake",
    "h2-to-http1": "an HTTP/1.x request",
    "proxy-header": "an HTTP request without such a header",
}


def words(x: Facts) -> dict[str, Any]:
    """Return the words about what the client sent, and what the server answered."""
    silent = _SILENT.format(duration_text(x.end - x.start)) if x.closed_by == "client" else _CLOSED
    answer = _ANSWERS.get(x.answered, silent)
    if x.proof is not None:
        answer += _ELSEWHERE.format(x.proof, _SPEAKS[x.kind])
    close = (x.last_frame, x.end, "the end of the connection: the server sent no data")
    evidence = packets(
        (x.frame, x.start, f"the client's first bytes: {_SENDS[x.kind]}"),
        (
            x.answer_frame,
            x.answer_time,
            f"the server's first bytes: {_FIRST.get(x.answered, 'an HTTP response')}",
        ),
        close if x.answer_frame is None else (None, None, ""),
        (x.proof_frame, x.proof_time, f"connection {x.proof}: the server answers {_SPEAKS[x.kind]}"),
    )
    return {"sent": _SENDS[x.kind], "answer": answer, "evidence": evidence}

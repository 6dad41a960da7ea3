"""A gateway failed its client, and its connection to the server behind it shows why.

What it means
    A gateway is a reverse proxy: nginx, haproxy, Apache httpd, Caddy, an ingress. Its client got an error that the gateway
    made itself (502, 503, 504), no response, or a response that broke off. The capture also contains the connection from the
    gateway to the server behind it, which shows the cause. That server refused the connection, did not answer the SYN, or
    closed without a response. Or it was too slow, did not read the request, sent something that the gateway rejected, or
    broke off its response. Or the gateway tried no server.

Why it hurts
    The user sees "502 Bad Gateway", and most people have only the log of the gateway. haproxy and httpd may close a reused
    connection without a response, which looks as if the gateway had crashed.

How it is proved
    A request of the client and a request of the gateway are paired if method, target, fields, lengths and time leave only
    one choice. The gateway failed in one of three ways. Its response has a status of 500 or above, and the server behind it
    had not sent that status on the last try. Or there is no response, and the gateway closed first. Or its response broke
    off because the server's response did.

    A try is one attempt of the gateway to get the response from a server. The last try decides the kind. refused: an RST
    answers the SYN. unreachable: nothing answers it, or only an ICMP error does. closed: a FIN or RST came before any byte of
    a response, and before the gateway's own close. timed-out: before the server responded or closed, the gateway closed its
    connection to the server or answered its client. unsent: as timed-out, but the server had closed its receive window before
    it had the complete request. rejected-response: the server had sent a complete or partial response, or bytes that are not
    HTTP, and the gateway did not forward them. truncated: the server's response broke off, and the gateway's response broke
    off too or never began. not-passed-on: there was no try.

    unseen: the client got a 502 or 504 (or a 503 from Varnish or Squid, or in response to CONNECT), but the capture does not
    contain the other side of the gateway. There is one finding per gateway and status. It names servers that may be behind
    the gateway, because hosts other than its clients speak TLS to them, or could not connect to them while a response was
    due.

What it is not
    Not reported: a gateway that forwards an error of the server, a client that leaves while the try is still open, an event
    stream that ends, and a request whose head or body never arrived completely (a gateway does not forward it). If a request
    arrived as the gateway itself closed an idle connection, and was never forwarded, keep-alive-race reports it. If a try
    failed and a later one succeeded, the client noticed nothing, and the finding of the failed try becomes a warning.

What to do
    If the finding names its cause, a finding on the connection behind the gateway, follow that one. refused, unreachable:
    check whether the server is up and listens on the address that the gateway uses. closed, truncated: look into the
    server's log. closed: also let the gateway's pool keep idle connections for less time than the server does. timed-out:
    make the server faster, or raise the gateway's timeout. unsent: find out why the server does not read. rejected-response:
    correct the response, or raise the gateway's limits. not-passed-on: check the limits and health checks of the gateway.
    unseen: capture on the gateway, and look into its log.

References
    RFC 9110 sections 3.7 and 15.6. The manuals of nginx, haproxy and httpd.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from wiredoctor.findings import CANDIDATE_COLUMNS, Advice, Reference, Rule, Severity, Threshold
from wiredoctor.rules.shared.evidence import EVIDENCE
from wiredoctor.rules.shared.gateway_kinds import (
    AT_ONCE,
    COLUMNS,
    LATE,
    LONG_HEAD,
    OF_CONNECTION,
    SLACK,
    Attempt,
    Exchange,
    Failure,
    Front,
    Key,
    Route,
    assign_attempts,
    failures,
)
from wiredoctor.rules.shared.numbers import DURATION
from wiredoctor.tables import MESSAGE_BITS, SECOND
from wiredoctor.text.durations import duration_text

_KINDS = (*("refused", "unreachable", "closed", "timed-out", "unsent", "rejected-response", "truncated", "not-passed-on"),)
_ERROR: Severity = "error"
_LIMITS = (
    "nginx proxy_read_timeout, haproxy timeout server, httpd ProxyTimeout, Caddy response_header_timeout, "
    "Go ResponseHeaderTimeout"
)
_RECORD = (
    "Capture both sides on the gateway: tcpdump -i any -s 0 -w both.pcap 'tcp port 80 or tcp port 8001', with its own port "
    "and the ports of the servers behind it."
)

RULE = Rule(
    symptom="502, 503 or 504 from a proxy, or a connection that it closes without an answer",
    severity={**dict.fromkeys(_KINDS, _ERROR), "unseen": "warning"},
    title={
        **dict.fromkeys(_KINDS, "{outcome}: {reason}"),
        "unseen": "The server answered {code}, which may be a gateway's own answer: {responses} of {total} responses",
    },
    message={
        **dict.fromkeys(_KINDS, "{request} {got} after {wait}{why}.{more}"),
        "unseen": "Status {code} was returned in {responses} of {total} responses of {server}; the median wait was "
        "{wait}.{looks}{limit} With this status a gateway reports the failure of a server behind it. The capture has no "
        "readable connection to such a server{behind}, so it is unknown whether the gateway or a server behind it sent the "
        "status, and why.",
    },
    remedy={
        "refused": "Start the server behind the gateway, or check whether it listens on this address and port (ss -ltn "
        "there). A recreated container or pod has another address, and nginx resolves the names of proxy_pass and upstream only "
        "when it starts: reload it, or use resolver with a variable in proxy_pass.",
        "unreachable": "Check whether the server behind the gateway is up and has this address (ip neigh and ip route get on "
        "the gateway), and which firewall or security group on the path drops or rejects the packets.",
        "closed": "The cause is behind the gateway: look into the log of the server behind it at that second. If the gateway "
        "used a connection that this server was closing, change the pool of the gateway. Let it keep idle connections for "
        "less time than the server does (nginx: keepalive_timeout in upstream; haproxy: pool-purge-delay; httpd: "
        "ttl of ProxyPass; Caddy: keepalive), or let it repeat idempotent requests.",
        "timed-out": "Make the server behind the gateway answer sooner, or raise the timeout of the gateway, which was {waited} "
        "here ({setting}).",
        "unsent": "The server behind the gateway does not read the request: its process is stopped, busy, or waiting for "
        "something else. Examine it (a stack trace, its CPU time), and limit the size of requests to it.",
        "rejected-response": "Examine what the server behind the gateway sent: {what}. If the head is too long for the "
        "gateway: nginx proxy_buffer_size, haproxy tune.bufsize less tune.maxrewrite, Node --max-http-header-size, Go "
        "Transport.MaxResponseHeaderBytes, Caddy max_response_header.",
        "truncated": "Look into the log of the server behind the gateway at that second: a crash, a worker that was killed for "
        "taking too long, or a wrong Content-Length.",
        "not-passed-on": "Check the limits and health checks of the gateway, and its log at that second (nginx: no "
        "live upstreams, limit_conn, limit_req; haproxy: maxconn, timeout queue, the state of its servers; httpd: status=+H and "
        "retry of ProxyPass; Caddy: health checks, fail_duration).",
        "unseen": _RECORD + " Until then look into the gateway's log at that second.",
    },
    display_filter="{filter}",
    references=(
        Reference("RFC 9110 section 15.6, server errors", "https://www.rfc-editor.org/rfc/rfc9110.html#section-15.6"),
        Reference("RFC 9110 section 3.7, gateways", "https://www.rfc-editor.org/rfc/rfc9110.html#section-3.7"),
        Reference("nginx, ngx_http_proxy_module", "https://nginx.org/en/docs/http/ngx_http_proxy_module.html"),
        Reference("Apache httpd, mod_proxy", "https://httpd.apache.org/docs/2.4/mod/mod_proxy.html"),
    ),
    explained_by=(("idle-cut", "exchange"), ("gateway-error", "front")),
    caused_by=tuple(
        (name, "tries")
        for name in (
            *("no-response", "keep-alive-race", "foreign-reset", "reset-destroys-response", "connect-failed", "unanswered"),
            *("zero-window-stall", "truncated-response", "malformed-head", "invalid-chunk", "conflicting-framing"),
            "body-not-allowed",
        )
    ),
    advice=(
        Advice("server", "nginx", "nginx: its error log names the server behind it and the reason (upstream ...).", "own"),
        Advice("server", "Apache", "Apache httpd: its error log has the reason (AH01102, AH00957 and the like).", "own"),
    ),
    summary=True,
    absence=True,
    ends=True,
)

WAITED = Threshold("1 s", "users do not notice a shorter wait, so an error that came sooner cost them no time")
MEMORY = Threshold(
    "10 s", "a gateway may skip a server for this long after the server did not answer; at most 1.4 s were measured"
)
NO_NEIGHBOR = Threshold(
    "3060 ms", "Linux asks for a neighbor's address (ARP) for this long, and then gives up without having sent a SYN"
)
NEAR = Threshold("2 %", "the tolerance for a wait that matches a timeout of whole seconds; timers are late by less")

_UNSEEN = (502, 504)
_SETTINGS = {
    "nginx": "nginx: proxy_read_timeout, 60 s by default",
    "haproxy": "haproxy: timeout server",
    "httpd": "httpd: ProxyTimeout, or timeout of ProxyPass",
    "Caddy": "Caddy: response_header_timeout",
}


def screen() -> Mapping[str, pl.Expr]:
    """Return a cheap condition for each table: if no row of a batch meets it, the batch has no candidate findings."""
    c = pl.col
    return {"closes": _may_have_failed(), "exchanges": c("response_status") >= 500}


def _may_have_failed() -> pl.Expr:
    c = pl.col
    answered = c("has_response") & (c("response_end_reason") == "complete") & (c("response_status") >= 200)
    # if only the client's packets were captured, the gateway may have answered
    seen = c("has_response") | c("both_directions")
    closed = seen & (c("server_close_frame").is_not_null() | c("client_close_frame").is_not_null())
    return c("has_request") & ((c("response_status") >= 500).fill_null(value=False) | (~answered.fill_null(value=False) & closed))


def find(
    closes: pl.LazyFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame, tries: pl.LazyFrame, fronts: pl.LazyFrame
) -> pl.LazyFrame:
    """Return a row for each exchange of a client with a gateway that may have failed, and each try of the gateway for it.

    Other rows contain facts for `judge`: connection attempts that may have been made for such an exchange (`loose_of`), and the
    servers to which a gateway forwarded other requests with the same `route` (`leads_to`). If the capture contains no
    connection of a gateway to a server, return a row for each server and error status that suggests a gateway.
    """
    failed = closes.filter(_may_have_failed()).select(COLUMNS)
    ends = connections.select("connection", *OF_CONNECTION)
    said = exchanges.select("connection", "exchange", "response_reason", "response_server", _route().alias("route"))
    at_front = (
        failed.join(ends, on="connection")
        .join(said, on=["connection", "exchange"], how="left")
        .join(fronts.select("server", known=pl.lit(value=True)).unique(), on="server", how="left")
    )
    of_try = {name: f"try_{name}" for name in (*COLUMNS, *OF_CONNECTION)}
    given = _status_passed_on(tries, closes)
    behind = (
        tries.join(given, on=["connection", "exchange"], how="left")
        .rename({"front_connection": "of", "front_exchange": "of_exchange"})
        .join(ends, on="connection", how="left")
        .join(closes.select(COLUMNS), on=["connection", "exchange"], how="left")
        .rename(of_try)
    )
    told = at_front.join(behind, left_on=["connection", "exchange"], right_on=["of", "of_exchange"], how="left")
    seen = told.filter(pl.col("known") | pl.col("try_connection").is_not_null())
    seen = _with_last_contacts(seen, tries, closes, connections)
    vain = _failed_connections(tries, connections)
    likely = _likely_fronts(told, vain)
    loose = _unassigned_attempts(tries, connections, vain, likely)
    known = _known_routes(tries, exchanges, connections).join(
        at_front.select("server", "route"), on=["server", "route"], how="semi"
    )
    unseen = _unseen(exchanges, connections, tries, fronts)
    return pl.concat([seen, likely.drop("client_host"), loose, known, unseen], how="diagonal").with_columns(
        pl.coalesce("response_frame", "server_close_frame", "request_frame").alias("frame")
    )


_AUTHORITY = r"^[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)"


def _route() -> pl.Expr:
    """Return the part of a request by which gateways usually choose a server.

    That is the host of an absolute target, which is sent to a proxy; otherwise the Host field and the first segment of the path.
    """
    target = pl.col("request_target").fill_null("")
    first = target.str.extract(r"^([^?]?[^/?]*)").fill_null("")
    return pl.coalesce(target.str.extract(_AUTHORITY), pl.concat_str(pl.col("request_host").fill_null(""), first))


def _known_routes(tries: pl.LazyFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each server (`leads_to`) to which a gateway (`server`) forwarded requests with a `route`."""
    asked = exchanges.select("connection", "exchange", "request_target", "request_host")
    at = connections.select("connection", "server")
    return (
        tries.filter("certain")
        .select("connection", "front_connection", "front_exchange")
        .join(asked, left_on=["front_connection", "front_exchange"], right_on=["connection", "exchange"])
        .join(at.rename({"server": "leads_to"}), on="connection")
        .join(at, left_on="front_connection", right_on="connection")
        .select("server", _route().alias("route"), "leads_to")
        .unique()
    )


def _with_last_contacts(
    told: pl.LazyFrame, tries: pl.LazyFrame, closes: pl.LazyFrame, connections: pl.LazyFrame
) -> pl.LazyFrame:  # fmt: skip
    """Add the last server that the gateway had failed to reach before the request, and the time at which a server last answered
    the gateway.

    Columns: `lost_server`, `lost_frame`, `lost_time` and `good_time` (ns).
    """
    c = pl.col
    at = connections.select(c("connection").alias("front_connection"), c("server").alias("server"))
    failed = connections.filter(c("first_answer_time").is_null()).select(
        "connection", c("server").alias("lost_server"), c("syn_frame").alias("lost_frame"), c("syn_time").alias("lost_time")
    )
    attempts = tries.filter(c("exchange").is_null()).join(failed, on="connection").join(at, on="front_connection")
    good = closes.filter(c("response_status") < 500).select("connection", "exchange", c("response_start").alias("good_time"))
    answers = tries.join(good, on=["connection", "exchange"]).join(at, on="front_connection")
    lost = attempts.select("server", "lost_server", "lost_frame", "lost_time").sort("lost_time")
    answered = answers.select("server", "good_time").drop_nulls().sort("good_time")
    told = told.sort("request_start")
    for one, time in ((lost, "lost_time"), (answered, "good_time")):
        told = told.join_asof(one, left_on="request_start", right_on=time, by="server", check_sortedness=False, coalesce=False)
    return told


def _status_passed_on(tries: pl.LazyFrame, closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return the gateways' own exchanges that cannot be paired with client requests for certain.

    `given`: true if clients received the status of this exchange at least as often as servers sent it. Then the gateway forwarded
    all responses with this status.
    """
    c = pl.col
    whole = c("response_end_reason") == "complete"
    status = closes.filter("has_response").select("connection", "exchange", "response_status", "response_end_reason")
    of_front = status.drop("response_end_reason").rename(
        {"connection": "front_connection", "exchange": "front_exchange", "response_status": "front_status"}
    )
    front = c("front_connection") * (1 << MESSAGE_BITS) + c("front_exchange")
    back = c("connection") * (1 << MESSAGE_BITS) + c("exchange")
    some = (
        tries.filter(~c("certain"))
        .join(status.filter(whole), on=["connection", "exchange"])
        .join(of_front, on=["front_connection", "front_exchange"])
        .with_columns(front.min().over("connection", "exchange").alias("group"))
    )
    fronts = some.group_by("group", c("front_status").alias("response_status")).agg(front.n_unique().alias("fronts"))
    backs = some.group_by("group", "response_status").agg(back.n_unique().alias("backs"))
    return (
        some.select("connection", "exchange", "group", "response_status")
        .unique()
        .join(fronts.join(backs, on=["group", "response_status"]), on=["group", "response_status"])
        .select("connection", "exchange", (c("backs") <= c("fronts")).alias("given"))
    )


def _likely_fronts(told: pl.LazyFrame, vain: pl.LazyFrame) -> pl.LazyFrame:
    """Return exchanges that suggest that their server is a gateway.

    The server responded with a status that gateways use, and its host failed to open a connection.
    """
    c = pl.col
    host = c("server").str.replace(r":\d+$", "").str.strip_chars("[]")
    unknown = told.filter(c("known").is_null(), c("try_connection").is_null(), c("response_status").is_in((*_UNSEEN, 503)))
    return unknown.with_columns(host.alias("client_host"), likely=pl.lit(value=True)).join(vain, on="client_host", how="semi")


def _failed_connections(tries: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    c = pl.col
    failed = (c("exchanges") == 0, c("client_bytes") == 0, c("syn_time").is_not_null(), c("first_answer_time").is_null())
    return connections.filter(*failed).join(tries, on="connection", how="anti")


def _unassigned_attempts(
    tries: pl.LazyFrame, connections: pl.LazyFrame, vain: pl.LazyFrame, likely: pl.LazyFrame
) -> pl.LazyFrame:  # fmt: skip
    """Return a row for each failed connection (`vain`) of a host that is probably a gateway.

    It is unknown for which request the gateway opened it. `loose_of`: the gateway's address and port as a server. `likely`:
    exchanges with servers that are probably gateways.
    """
    c = pl.col
    sides = connections.select("connection", "client_host", "server")
    hosts = (
        tries.filter("certain")
        .join(sides.select("connection", "client_host"), on="connection")
        .join(sides.select(c("connection").alias("front_connection"), c("server").alias("loose_of")), on="front_connection")
        .select("client_host", "loose_of")
    )
    hosts = pl.concat([hosts, likely.select("client_host", c("server").alias("loose_of"))]).unique()
    named = {name: f"try_{name}" for name in ("connection", *OF_CONNECTION)}
    return (
        vain.join(hosts, on="client_host")
        .filter(c("server") != c("loose_of"))
        .select("loose_of", *named)
        .rename(named)
        .sort("try_syn_time")
        .head(MAX_LOOSE)
    )


MAX_LOOSE = 10_000
"""The maximum number of connections that are examined because a gateway may have opened them."""


def _unseen(
    exchanges: pl.LazyFrame, connections: pl.LazyFrame, tries: pl.LazyFrame, fronts: pl.LazyFrame
) -> pl.LazyFrame:  # fmt: skip
    """Return a row for each server and error status that suggests a gateway. Return no rows if the capture shows connections of
    gateways.
    """
    c = pl.col
    status = c("response_status")
    server = c("response_server").cast(pl.String)
    varnish = (server == "Varnish") & (c("response_reason") == "Backend fetch failed")
    squid = server.str.to_lowercase().str.starts_with("squid")
    made = (status == 503) & pl.any_horizontal(
        said.fill_null(value=False) for said in (varnish, squid, c("request_method") == "CONNECT")
    )
    given = exchanges.filter(c("has_response"), c("has_request"), status >= 200).join(
        connections.select("connection", "server"), on="connection"
    )
    totals = given.group_by("server").agg(pl.len().cast(pl.Int64).alias("total"))
    wait = (c("response_start") - c("request_end")).clip(0)
    some = given.filter(status.is_in(_UNSEEN) | made)
    many = some.group_by("server", status.cast(pl.Int64).alias("code")).agg(
        pl.len().cast(pl.Int64).alias("responses"),
        wait.median().cast(pl.Int64).alias("median"),
        c("response_frame", "response_start", "response_server", "response_reason", "request_frame", "request_start")
        .sort_by("response_frame")
        .first(),
    )
    nothing = pl.concat([tries.select(pl.len()), fronts.select(pl.len())]).select(c("len").sum().alias("gateways"))
    unseen = many.join(totals, on="server").join(nothing, how="cross").filter(c("gateways") == 0).drop("gateways")
    return unseen.join(_servers_of_other_hosts(some, connections), on=["server", "code"], how="left")


def _servers_of_other_hosts(some: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return for each gateway and status the servers that may be behind the gateway.

    They are servers to which hosts other than the gateway's clients connected, because such a host may be another address of the
    gateway. `failed`: servers to which a connection failed while a response with this status was due. `encrypted`: servers with a
    TLS connection that was open at such a time.
    """
    c = pl.col
    key = ["server", c("response_status").cast(pl.Int64).alias("code")]
    asking = connections.join(some.select("connection"), on="connection", how="semi").select("client_host").unique()
    others = connections.join(asking, on="client_host", how="anti")
    vain = others.filter(c("syn_time").is_not_null(), c("first_answer_time").is_null()).head(MAX_LOOSE)
    waits = some.drop_nulls("request_end").sort("request_end")
    during = (
        vain.select(c("server").alias("failed"), "syn_time")
        .sort("syn_time")
        .join_asof(waits, left_on="syn_time", right_on="request_end", check_sortedness=False)
        .filter(c("syn_time") <= c("response_start"))
        .group_by(key)
        .agg(c("failed").unique())
    )
    tls = others.filter(c("protocol") == "tls").select(c("server").alias("encrypted"), "start", "end").head(MAX_LOOSE)
    encrypted = (
        tls.sort("end")
        .join_asof(waits, left_on="end", right_on="request_end", check_sortedness=False)
        .filter(c("start") <= c("response_start"))
        .group_by(key)
        .agg(c("encrypted").unique())
    )
    return encrypted.join(during, on=["server", "code"], how="full", coalesce=True)


def judge(rows: pl.DataFrame, _: object) -> tuple[pl.DataFrame, None]:
    """Return the candidates. All exchanges are judged together, because the server behind a gateway may be another gateway."""
    by_front: dict[Key, list[dict[str, Any]]] = {}
    loose: dict[str, list[Attempt]] = {}
    told: list[dict[str, Any]] = []
    known: dict[Route, set[str]] = {}
    for row in rows.sort("frame", maintain_order=True).iter_rows(named=True):
        if row["loose_of"] is not None:
            loose.setdefault(row["loose_of"], []).append(Attempt(row, "try_"))
        elif row["leads_to"] is not None:
            known.setdefault((row["server"], row["route"]), set()).add(row["leads_to"])
        elif row["code"] is None:
            by_front.setdefault((row["connection"], row["exchange"]), []).append(row)
        else:
            told.append(_endpoint_candidate(row))
    routes = {key: str(some[0]["route"]) for key, some in by_front.items()}
    fronts = assign_attempts({key: _front(some) for key, some in by_front.items()}, loose, routes, known)
    # nothing else shows that the server of a `likely` exchange is a gateway
    fronts = {key: front for key, front in fronts.items() if not by_front[key][0]["likely"] or _failed_at_once(front)}
    found = failures(fronts)
    told = [one for one in told if not any(fronts[key].exchange.server == one["server"] for key in found)]
    until = _outermost(fronts, found)
    told += [_candidate(by_front[key][0], fronts[key].exchange, one, until.get(key, 0)) for key, one in found.items()]
    return pl.DataFrame(told, schema=_SCHEMA, orient="row"), None


_TEXTS = ("outcome", "reason", "got", "why", "more", "setting", "what", "looks", "limit", "behind", "filter")
_SCHEMA = pl.Schema({
    **{name: pl.Int64() for name in CANDIDATE_COLUMNS},
    "exchange": pl.Int32(),
    **{name: pl.String() for name in ("kind", "side", "confidence")},
    "evidence": EVIDENCE,
    **{name: pl.String() for name in (*_TEXTS, "server")},
    "wait": DURATION, "waited": DURATION, "code": pl.Int64(), "responses": pl.Int64(), "total": pl.Int64(), "own": pl.Boolean(),
})  # fmt: skip


def _failed_at_once(front: Front) -> bool:
    """Return whether one of the gateway's attempts to connect was never answered, or the gateway responded right after a refusal.

    If a response comes later, the server is an application that did something else in between.
    """
    refused = [one.refused for one in front.tries if isinstance(one, Attempt)]
    return bool(refused) and (max(refused) == LATE or front.exchange.answered - max(refused) <= AT_ONCE)


def _front(rows: list[dict[str, Any]]) -> Front:
    own = Exchange(rows[0])
    tried = sorted((row for row in rows if row["try_connection"] is not None), key=_order)
    if any(row["try_server"] is None or (row["try_exchange"] is not None and row["try_request_start"] is None) for row in tried):
        return Front(own, (), certain=False)  # tried on a connection that is too old to be examined
    tries = tuple(Attempt(row, "try_") if row["try_exchange"] is None else Exchange(row, "try_") for row in tried)
    certain = all(row["certain"] for row in tried)
    if not certain:
        # a response whose status is `given` was forwarded, so it does not belong to an exchange with another status
        tries = tuple(one for one, row in zip(tries, tried, strict=True) if not row["given"] or _same_status(one, own))
    return Front(own, tries, certain)


def _order(row: Mapping[str, Any]) -> tuple[int, ...]:
    attempt = row["try_exchange"] is None
    return row["started"], row["try_connection"], -1 if attempt else row["try_exchange"]


def _same_status(one: Attempt | Exchange, front: Exchange) -> bool:
    return isinstance(one, Exchange) and one.status == front.status


def _outermost(fronts: Mapping[Key, Front], found: Mapping[Key, Failure]) -> dict[Key, int]:
    """Return the exchanges that failed because of a failure at a gateway nearer to the client.

    For each of them, the value is the time (ns) of that failure. Only the failure at the gateway nearest to the client is
    reported.
    """
    until: dict[Key, int] = {}
    for key, failure in found.items():
        tries = fronts[key].tries if fronts[key].certain else ()
        for one in (*failure.through, *(one for one in tries if isinstance(one, Exchange))):
            until[one.key] = max(until.get(one.key, 0), _failed_at(fronts[key].exchange, failure))
    return until


# words


def _candidate(row: Mapping[str, Any], front: Exchange, failure: Failure, until: int) -> dict[str, Any]:
    end = _failed_at(front, failure)
    wait = max(end - front.asked, 0)
    lost = _recent_refusal(row, front) if failure.kind == "not-passed-on" else None
    no_neighbor = failure.kind == "not-passed-on" and _waits_for_a_neighbor(wait)
    waited = wait if failure.last is None else max(_gave_up_at(front, failure) - _begun(failure), 0)
    got, outcome = _client_result(front)
    why, reason, what = _reasons(front, failure, lost, no_neighbor)
    return {
        "connection": front.key[0], "exchange": front.key[1], "kind": failure.kind,
        "side": None if failure.kind == "unreachable" else "server",
        "confidence": "low" if no_neighbor else _confidence(front, failure),
        "frame": front.values["request_frame"], "start": front.asked, "end": max(end, until),
        "delay": wait if wait >= WAITED.value else None,
        "evidence": sorted(_evidence(front, failure, lost), key=lambda e: e["frame"]),
        "outcome": outcome, "reason": reason, "got": got, "wait": wait, "waited": waited, "why": f": {why}",
        "more": _tries_text(failure), "setting": _SETTINGS.get(_software(row), _LIMITS), "what": what, "looks": "", "limit": "",
        "behind": "", "filter": _filter(front, failure), "own": front.begun and failure.kind != "truncated",
    }  # fmt: skip


def _failed_at(front: Exchange, failure: Failure) -> int:
    """Return the time (ns) at which the client learned that its request had failed."""
    whole = front.begun and (failure.kind != "truncated" or (front.status or 0) >= 500)
    return front.began if whole else min(front.dropped, front.left)


def _begun(failure: Failure) -> int:
    last = failure.last
    if last is None:
        return 0
    time = last.asked if isinstance(last, Exchange) else last.values["syn_time"]
    return time or 0


def _gave_up_at(front: Exchange, failure: Failure) -> int:
    """Return the time (ns) at which the gateway closed its last try or answered its client, whichever came first."""
    last = failure.last
    return min(front.answered, last.left) if isinstance(last, Exchange) else front.answered


def _client_result(front: Exchange) -> tuple[str, str]:
    """Return what the client received, for the message and for the title."""
    gateway = f"the gateway {front.server}"
    if front.begun and (front.status or 0) >= 500:
        return f"got {front.status} from {gateway}", f"The gateway answered {front.status}"
    gone = not front.server_first
    if front.begun:
        left = ", and the client left" if gone else ", which closed the connection"
        return f"got only part of the {front.status} from {gateway}{left}", f"The gateway broke off its {front.status}"
    left = ", and the client left" if gone else ", which closed the connection"
    return f"got no response from {gateway}{left}", "The gateway sent no response"


def _reasons(front: Exchange, failure: Failure, lost: Mapping[str, Any] | None, no_neighbor: bool) -> tuple[str, str, str]:
    """Return the reason for the message, the reason for the title, and what was wrong with the server's response."""
    last = failure.last
    if last is None:
        return (*_not_passed_on(front, lost, no_neighbor), "")
    one = len({tried.server for tried in failure.tries}) == 1
    behind = f"the server behind it ({last.server})" if failure.whole or one else "a server behind it"
    if isinstance(last, Attempt):
        if failure.kind == "refused":
            return f"{behind} refused the connection", "the server behind it refused the connection", ""
        if last.rejected <= front.answered + SLACK:
            said = "an ICMP error answered its SYN"
            return f"the gateway could not connect to {behind}: {said}", f"{said} to the server behind it", ""
        syns = last.values["syns"]
        times = f" (SYN sent {syns} times)" if syns > 1 else ""
        return f"{behind} did not answer{times}", "the server behind it did not answer the SYN", ""
    close = "RST" if last.values["server_close_rst"] == 1 else "FIN"
    if failure.kind == "closed":
        after = duration_text(max(last.dropped - last.asked, 0))
        why = f"{behind} closed the connection ({close}) {after} after the request, without a response"
        return why, "the server behind it closed the connection without a response", ""
    if failure.kind == "timed-out":
        part = "had sent only part of a head" if last.begun and not _is_late(last) else "had not answered"
        after = duration_text(max(_gave_up_at(front, failure) - last.asked, 0))
        return f"{behind} {part} after {after}, and the gateway gave up", "the server behind it did not answer in time", ""
    if failure.kind == "unsent":
        why = f"{behind} did not read the request: its window stayed closed until the gateway gave up"
        return why, "the server behind it did not read the request", ""
    if failure.kind == "rejected-response":
        what = _fault_text(last)
        return f"{behind} sent {what}, and the gateway rejected it", "it rejected the response of the server behind it", what
    if last.server_first:
        why = f"{behind} broke off its response ({close})"
    else:
        why = f"{behind} had sent only part of its response, and the gateway gave up"
    return why, "the response of the server behind it broke off", ""


def _fault_text(last: Exchange) -> str:
    """Return the text about the fault in a response that the gateway rejected."""
    if last.garbage:
        return "a response that is not HTTP"
    head = last.values["response_head_bytes"]
    if not last.has_head:
        if last.server_first:
            return "a response that broke off inside its head"
        return (
            f"a response whose head has more than {head:,} bytes"
            if (head or 0) >= LONG_HEAD
            else ("a response whose head the gateway did not read to its end")
        )
    of = "" if head is None else f" with a head of {head:,} bytes"
    fault = "a" if last.whole else "an invalid" if last.invalid else "an incomplete"
    return f"{fault} {last.status}{of}"


def _not_passed_on(front: Exchange, lost: Mapping[str, Any] | None, no_neighbor: bool) -> tuple[str, str]:
    reason = "it sent the request to no server"
    if no_neighbor:
        times = "for that long, a host sends ARP requests instead of a SYN to a neighbor that does not answer"
        return f"the gateway sent the request to no server; {times}", reason
    if lost is not None:
        before = duration_text(max(front.values["request_start"] - lost["lost_time"], 0))
        return f"the gateway sent the request to no server; it could not reach {lost['lost_server']} {before} earlier", reason
    return "the gateway sent the request to no server", reason


def _recent_refusal(row: Mapping[str, Any], front: Exchange) -> Mapping[str, Any] | None:
    """Return `row` if its `lost_server` could not be reached shortly before the request, and no server has answered since."""
    lost, good = row["lost_time"], row["good_time"]
    if lost is None or front.values["request_start"] - lost > MEMORY.value or (good is not None and good > lost):
        return None
    return row


def _waits_for_a_neighbor(wait: int) -> bool:
    times = round(wait / NO_NEIGHBOR.value)
    return 1 <= times <= 4 and abs(wait - times * NO_NEIGHBOR.value) <= times * NO_NEIGHBOR.value * NEAR.value // 100


def _tries_text(failure: Failure) -> str:
    """Return sentences about the gateway's other tries, gateways in between, and doubts about which try belongs to which
    request.
    """
    said: list[str] = []
    if failure.whole and len(failure.tries) > 1:
        others = [one.server for one in failure.tries if one is not failure.last]
        rest = "the other" if len(others) == 1 else "the others"
        said.append(f"It was one of {len(failure.tries)} tries; {rest} went to {_list_servers(others)}")
    if failure.through:
        said.append(f"The request was forwarded by {_list_servers([one.server for one in failure.through])}")
    if failure.guessed:
        whose = "other requests" if failure.last is None else "this request"
        said.append(f"Several requests waited at that time, and the failed tries probably belonged to {whose}")
    elif not failure.whole:
        said.append(
            "Several requests waited at that time, and it is unknown which try belongs to which of them; all tries "
            "failed like this"
        )
    return "".join(f" {one}." for one in said)


def _list_servers(servers: list[str]) -> str:
    different = [*dict.fromkeys(servers)]
    return ", ".join(different[:_SHOWN]) + (f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else "")


_SHOWN = 4
"""The maximum number of servers in a sentence, and of tries in the evidence."""


def _confidence(front: Exchange, failure: Failure) -> str:
    seen = [front, *(one for one in failure.tries if isinstance(one, Exchange)), *failure.through]
    if any(one.values[name] for one in seen for name in ("gap_before", "request_has_gap", "response_has_gap")):
        return "low"
    inferred = failure.kind == "not-passed-on" or not failure.whole or not all(one.values["handshake"] for one in seen)
    # a server also says 503 on purpose, and another program of its host may have tried to connect meanwhile
    on_purpose = front.status == 503 and all(isinstance(one, Attempt) for one in failure.tries)
    return "medium" if inferred or on_purpose else "high"


def _evidence(front: Exchange, failure: Failure, lost: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    yield from _frames(front.values, ("request_last_frame", "request_end", "the client's request"))
    if lost is not None:
        yield _frame(
            lost["lost_frame"], lost["lost_time"], f"the SYN to {lost['lost_server']}, which the gateway could not reach"
        )
    for one in [*failure.through, *(failure.tries if failure.whole else ())][: 2 * _SHOWN]:
        yield from _try_evidence(one, one in failure.through, front.answered + SLACK)
    yield from _end_evidence(front, "the gateway's", "the client's")


def _try_evidence(one: Attempt | Exchange, passed_on: bool, until: int) -> Iterator[dict[str, Any]]:
    """Yield the evidence of a try. An ICMP error is left out if it came after the time `until` (ns), because the gateway did not
    wait for it.
    """
    v = one.values
    if isinstance(one, Attempt):
        rejected = one.rejected <= until
        yield from _frames(v, ("syn_frame", "syn_time", f"the gateway's SYN to {one.server}"))
        if v["last_syn_frame"] != v["syn_frame"] and one.refused == LATE and not rejected:
            yield from _frames(v, ("last_syn_frame", "last_syn_time", f"the last of {v['syns']} SYNs, never answered"))
        yield from _frames(v, ("refused_frame", "refused_time", "an RST refuses it"))
        if rejected:
            yield from _frames(v, ("syn_error_frame", "syn_error_time", "an ICMP error rejects it"))
        return
    if passed_on:
        yield from _frames(v, ("request_frame", "request_start", f"the request is forwarded to {one.server}"))
        yield from _end_evidence(one, f"{one.server}'s", "the gateway's")
        return
    yield from _frames(v, ("request_frame", "request_start", f"the gateway's request to {one.server}"))
    if _is_late(one):
        close = "RST" if v["client_close_rst"] == 1 else "FIN"
        yield from _frames(
            v, ("client_close_frame", "client_close_time", f"the gateway's {close}, without having received a response")
        )
        return
    yield from _end_evidence(one, "the server's", "the gateway's")


def _is_late(one: Exchange) -> bool:
    """Return whether the gateway had closed before the response began."""
    return one.begun and one.left < one.began


def _end_evidence(one: Exchange, server: str, client: str) -> Iterator[dict[str, Any]]:
    """Yield evidence for how an exchange ended: its response, and the first close if the response is missing or incomplete."""
    v = one.values
    if one.begun:
        yield from _frames(v, ("response_frame", "response_start", f"{server} response: {one.status}"))
    if one.whole or one.end_is_unknown:
        return
    who, whose = ("server", server) if one.server_first else ("client", client)
    close = "RST" if v[f"{who}_close_rst"] == 1 else "FIN"
    waited = ", without a response" if one.server_first else ", without having received a response"
    before = ", before the response was complete" if one.begun else waited
    yield from _frames(v, (f"{who}_close_frame", f"{who}_close_time", f"{whose} {close}{before}"))


def _frames(values: Mapping[str, Any], *packets: tuple[str, str, str]) -> Iterator[dict[str, Any]]:
    for frame, time, note in packets:
        if values[frame] is not None:
            yield _frame(values[frame], values[time], note)


def _frame(frame: int, time: int, note: str) -> dict[str, Any]:
    return {"frame": frame, "time": time, "note": note}


def _filter(front: Exchange, failure: Failure) -> str:
    behind = [one.values["connection"] for one in [*failure.through, *(failure.tries if failure.whole else ())]]
    some = [*dict.fromkeys([front.key[0], *behind])][: 2 * _SHOWN]
    return f"tcp.stream == {some[0]}" if len(some) == 1 else f"tcp.stream in {{{', '.join(map(str, some))}}}"


def _software(row: Mapping[str, Any]) -> str:
    """Return the software that created the error page, from fields that only the gateway can have sent; "" if unknown."""
    server, reason = row["response_server"] or "", row["response_reason"] or ""
    if row["response_frame"] is None:
        return ""
    if server.startswith("nginx"):
        return "nginx"
    if reason == "Proxy Error" or (server.startswith("Apache") and reason):
        return "httpd"
    for name in ("Caddy", "Varnish", "squid"):
        if server.startswith(name):
            return name.capitalize()
    return "haproxy" if not server and reason == "Gateway Time-out" else ""


def _servers_of_other_hosts_text(row: Mapping[str, Any]) -> str:
    """Return the text about connections of other hosts, which may be the gateway's connections to the servers behind it."""
    said = [
        f"but {text} {_list_servers(sorted(row[name]))}"
        for name, text in (("failed", "connection attempts failed meanwhile:"), ("encrypted", "there is TLS with"))
        if row[name]
    ]
    return "".join(f" ({one})" for one in said)


def _endpoint_candidate(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the candidate for a server and a status in a capture that has no connections of gateways to servers."""
    software = _software(row)
    median = row["median"] or 0
    seconds = round(median / SECOND)
    round_number = seconds > 0 and abs(median - seconds * SECOND) * 100 <= seconds * SECOND * NEAR.value
    limit = f" That is close to {seconds} s: a timeout of the gateway ({_SETTINGS.get(software, _LIMITS)})."
    note = f"the first {row['code']}"
    return {
        "connection": None, "exchange": None, "kind": "unseen", "side": "server", "confidence": "medium",
        "frame": row["response_frame"], "start": row["request_start"], "end": row["response_start"], "delay": None,
        "evidence": [_frame(row["response_frame"], row["response_start"], note)],
        **dict.fromkeys(_TEXTS, ""), "server": row["server"],
        "looks": f" The response looks like one of {software}." if software else "",
        "limit": limit if row["code"] == 504 and round_number else "",
        "behind": _servers_of_other_hosts_text(row),
        "filter": f"http.response.code == {row['code']}",
        "wait": median, "waited": median, "code": row["code"], "responses": row["responses"], "total": row["total"], "own": False,
    }  # fmt: skip

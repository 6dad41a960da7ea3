"""A gateway failed its client, and the gateway's connection to the server behind it shows why.

What it means
    A gateway is a reverse proxy: nginx, haproxy, Apache httpd, Caddy, an ingress. Its client got an error that the gateway
    created itself (502, 503, 504), no response, or a response that broke off. The capture also contains the connection from the
    gateway to the server behind it, which shows the cause. That server refused the connection, did not answer the SYN, or closed
    without a response, or a device on the path closed in its name. Or the server was too slow, did not read the request, sent
    something that the gateway rejected, or broke off its response. Or the gateway's own client did not read the response. Or the
    gateway contacted no server.

Why it hurts
    The user sees "502 Bad Gateway", and most people have only the log of the gateway. haproxy and httpd may close a reused
    connection without a response, which looks as if the gateway had crashed.

How it is proved
    A request of the client and a request of the gateway are paired if method, target, fields, lengths and time leave only one
    choice. The gateway failed in one of three ways. Its response has a status of 500 or above (or 408, although the request was
    complete), and the server behind it had not sent that status in the last attempt. Or there is no response, and the gateway
    closed first. Or its response broke off because the server's response did.

    A TCP relay whose server refuses each connection is recognized by its timing: it connects to the server within 50 ms after its
    client connected, and closes the client's connection without a response within 50 ms after the refusal.

    The gateway may have made several attempts to get the response from a server. The last attempt decides the kind. A complete
    response without a server error is ignored if its attempt began before an earlier attempt had ended: it answers a copy of the
    request (nginx mirror), and the gateway discards it.

    Kind refused: an RST answers the SYN. Kind unreachable: nothing answers the SYN, or only an ICMP error does. Kind closed: a
    FIN or RST with the server's address came before any byte of a response, and before the gateway's own close. If foreign-reset
    proves that a device on the path sent the FIN or RST, the finding names that device. The same holds for kind truncated.

    Kind timed-out: before the server responded or closed, the gateway closed its connection to the server or answered its client.
    If the client had not sent its complete request by then, the finding says so, because the server was still waiting for it. If
    the server's response did not arrive, the finding says that, too: the gateway acknowledged no byte of that response. Both
    sides also retransmitted data, or only later bytes of the response were captured.

    Kind unsent: as timed-out, but the server had closed its receive window, and it had not acknowledged the complete request when
    the gateway gave up. If the window was still closed then (zero-window-stall), the server did not read; otherwise it read too
    slowly. If the gateway was waiting for more data from its client, the kind is timed-out.

    Kind rejected-response: the server had sent a complete or partial response, or bytes that are not HTTP, and the gateway did
    not forward them. If the response was complete and not an error, the gateway must have answered 502 or 503 within 100 ms after
    it. If the head of the response has 4 KiB or more, any failure within that time counts, except 504. If the server answered and
    closed before it had received the complete request, the gateway could not send the rest: the finding says so, and the gateway
    may have answered later.

    Kind truncated: the server's response broke off, or the gateway stopped waiting for it. The gateway's response broke off, too,
    or never began. If part of the server's response did not arrive, the finding says so: the gateway waited for 1 s or longer,
    and still had not acknowledged all captured bytes when it closed. Kind client-stalled: as truncated, but the gateway gave up
    while its client's receive window had been closed for 1 s or longer, and the gateway had closed its receive window towards
    the server, too.

    Kind stream-timed-out, a warning: the gateway closed both sides of an event stream or another endless response before the
    client or the server did, a whole number of seconds (and at most 20 ms more) after the last data from the server.

    Kind not-passed-on: the gateway made no attempt, and answered 502, 503 or 504, or did not answer. This kind does not apply
    if the gateway's host made another request or connection that began within 25 ms after the client's request, or ended within
    25 ms before the failure. The capture may show no server to which the gateway forwards requests like this one (with the same
    host and the same first segment of the path). Then the gateway may have asked a server that the capture does not show: on
    another port, on a Unix socket or behind TLS. In this case confidence is low, and the finding says so. If the gateway did
    not answer, and a request with the same method and path left it by 1 ms after its close, without an answer, then it
    forwarded the request and dropped both connections: the finding says so.

    A 503 is a server's own, and not reported, if the server also answers similar requests (same host, same first segment of the
    path) well without forwarding them, as a peer does that owns a part of the keys. These must be 10 % or more of the good
    responses to such requests, and three or more. The exceptions are a known gateway's own page, a target that was forwarded at
    another time (a cache), and a server that the gateway could not reach shortly before.

    Kind rate-limit, a warning, replaces not-passed-on if the gateway refused ten or more requests with 503, with a median time
    of 1 ms or less, and forwarded ten or more meanwhile. 90 % of the forwarded ones got good responses. 95 % of the refusals
    came within 1.5 average intervals after a forwarded request. The gateway does not limit open requests: a quarter of the
    requests were refused while fewer requests were open than at other times. A tenth of the refusals has Retry-After, or a
    target that is forwarded, too.

    Kind failed-call: the server is a gateway or any other service, and a request that it sent itself had failed before it
    answered 500 or above. That request began while the client waited. It has the same request ID, or the same last path segment
    while no other request with that segment was open at the server. It got 500 or above, or no response. The server did not
    repeat it with success, and did not just forward that error. An endpoint whose good responses a gateway never forwards serves
    such requests only (nginx: auth_request). The other calls of the server may have succeeded, also later ones.

    Kind unseen: the client got a status that gateways create themselves, but the capture does not contain the other side of the
    gateway. Such a status is 502 or 504, a 503 from Varnish, Squid, Envoy or AWS ALB, the own page of haproxy or lighttpd for
    503, a 503 in response to CONNECT, or 520 to 526 from Cloudflare. There is one finding per gateway and status. It names
    servers that may be behind the gateway: while a response was due, another host contacted them. That host is not a client of
    the gateway, so it may be the gateway itself under another address. It failed to connect, did not acknowledge the server's
    SYN-ACK, sent nothing on the connection, or used TLS or a protocol other than HTTP (such as FastCGI). If such a host sent
    only one kind of complete request to a server, at least twice, and the last one before the first error failed, the finding
    names these requests as a health check that may explain the status. The same holds if its last two attempts to connect to a
    server failed.

What it is not
    Not reported: a gateway that forwards an error of the server, a peer that answers 503 for its own keys, a client that
    closes while the attempt is still open, a device on the path that resets the client's connection in the gateway's name
    (foreign-reset reports it), an event stream that its server ends, and a request that never arrived completely and that the
    gateway did not forward. If a request arrived as the gateway itself closed an idle connection, and was never forwarded,
    keep-alive-race reports it. If one attempt failed and a later one succeeded, the client noticed nothing, and the finding
    about the failed attempt becomes a warning.

What to do
    If the finding names another finding as its cause, on the connection behind the gateway, start with that finding. Kinds
    refused, unreachable: check whether the server is up and listens on the address that the gateway uses. Kinds closed,
    truncated: check the server's log. Kind closed: also have the gateway's pool keep idle connections for less time than the
    server does. Kind timed-out: make the server faster, or raise the gateway's timeout; if the response did not arrive, find
    out what drops it. Kind unsent: find out why the server does not read, or reads slowly. Kind rejected-response: correct the
    response, or raise the gateway's limits. Kind client-stalled: find out why the client does not read, or raise the gateway's
    timeout for clients (nginx send_timeout, haproxy timeout client). Kind stream-timed-out: have the server send something
    more often, or raise the gateway's timeout. Kind not-passed-on: check the limits and health checks of the gateway. Kind
    rate-limit: raise the limit, or have the clients wait as Retry-After says. Kind failed-call: check the log of the server
    that failed the call. Kind unseen: capture on the gateway, and check its log.

References
    RFC 9110 sections 3.7 and 15.6. The manuals of nginx, haproxy and httpd. The lists of errors of Cloudflare and AWS ALB.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import polars as pl

from wiredoctor import limits
from wiredoctor.findings import Advice, Reference, Rule, Severity, Threshold
from wiredoctor.gateways.calls import NO_CALLS, failed_calls
from wiredoctor.gateways.context import known_routes, repeated, route, status_passed_on, with_last_contacts
from wiredoctor.gateways.kinds import CLIENT_STALLED, FAILED_CALL, Failure, failures, is_cut_short, is_lost
from wiredoctor.gateways.known import GATEWAY_ERRORS, SLACK, UNAVAILABLE, Place
from wiredoctor.gateways.loose_attempts import (
    asked_others,
    assign_attempts,
    failed_at_once,
    failed_connections,
    likely_fronts,
    unassigned_attempts,
)
from wiredoctor.gateways.own_answers import own_answers
from wiredoctor.gateways.tries import RETRY, Front, Route
from wiredoctor.rules.shared import rate_limits
from wiredoctor.rules.shared.call_words import call_words
from wiredoctor.rules.shared.evidence import candidate
from wiredoctor.rules.shared.gateway_words import (
    BODY_LIMITS,
    BROKEN_OFF,
    SETTINGS,
    USUAL_LIMITS,
    Lost,
    blocked_until,
    broken_text,
    client_result,
    closer_text,
    failure_evidence,
    failure_filter,
    failure_origin,
    fault_text,
    gateway_software,
    is_close_doubtful,
    is_cut_by_device,
    is_starved,
    may_be_too_long,
    message_reason,
    time_stalled,
    time_waited,
    tries_text,
    unread_reason,
)
from wiredoctor.rules.shared.unseen_gateways import UNSEEN, unseen_gateways, unseen_words
from wiredoctor.rules.shared.words import MADE_WHOLE, packets, retry_sentence
from wiredoctor.tables import PLAN_OF_FEW, PROTOCOLS, SECOND, SMALL, of_connections, of_exchanges
from wiredoctor.text.durations import duration_text
from wiredoctor.world.attempts import host_of
from wiredoctor.world.exchange import (
    REQUEST_TIMEOUT,
    STALLED,
    TRY,
    Attempt,
    Connection,
    Exchange,
    ExchangeRow,
    Try,
    as_struct,
    exchange_of,
    read,
    try_of,
)
from wiredoctor.world.learned_limits import EARLIEST
from wiredoctor.world.numbers import DURATION

c = pl.col

RATE_LIMIT = "rate-limit"
_KINDS = (
    "refused",
    "unreachable",
    "closed",
    "timed-out",
    "unsent",
    "rejected-response",
    "truncated",
    CLIENT_STALLED,
    "stream-timed-out",
    "not-passed-on",
    RATE_LIMIT,
    FAILED_CALL,
)
_ERROR: Severity = "error"

RULE = Rule(
    symptom="*502 Bad Gateway*, *503 Service Unavailable* or *504 Gateway Timeout*, or a close without an answer",
    severity={**dict.fromkeys(_KINDS, _ERROR), "stream-timed-out": "warning", RATE_LIMIT: "warning", "unseen": "warning"},
    title={
        "refused": "{outcome}: the server behind it refused the connection",
        "unreachable": "{outcome}: {unreached}",
        "closed": "{outcome}: {closer} closed the connection without a response",
        "timed-out": "{outcome}: {late}",
        "unsent": "{outcome}: {late}",
        "rejected-response": "{outcome}: {rejected}",
        "truncated": "{outcome}: {broke}",
        "client-stalled": "{outcome}: its client did not read",
        "stream-timed-out": "The gateway ended a stream while the server behind it was silent",
        "not-passed-on": "{outcome}: {unasked}",
        RATE_LIMIT: "{outcome}: it limits the rate of requests",
        FAILED_CALL: "{outcome}: {whose} to {culprit} failed",
        "unseen": "The server answered {code}, which may be a gateway's own answer: {responses} of {total} responses",
    },
    message={
        **dict.fromkeys(_KINDS, "{request} {got} after {wait}{why}.{more}"),
        "client-stalled": "{request} {got} after {wait}. When the gateway gave up its request to the server behind it, the "
        "client's receive window had been closed for {unread}. The gateway could forward nothing, so it had stopped reading, "
        "too, and the server behind it had to wait.{more}",
        "stream-timed-out": "{request} {got} after {wait}{why}. A gateway that is stopped ends its streams, too, but seldom a "
        "whole number of seconds after the last data.{more}",
        "unseen": "{server} returned status {code} in {responses} of {total} responses; the median wait was "
        "{wait}.{looks}{limit} With this status {means}. The capture has no readable connection to a server behind the "
        "gateway{behind}, so it is unknown {unknown}.",
    },
    remedy={
        "refused": "Start the server behind the gateway, or check whether it listens on this address and port (ss -ltn "
        "there). A recreated container or pod has another address, and nginx resolves the names of proxy_pass and upstream only "
        "when it starts: reload it, or use resolver with a variable in proxy_pass.",
        "unreachable": "Check whether the server behind the gateway is up and has this address (ip neigh and ip route get on the "
        "gateway). If so, find out which firewall or security group on the path drops or rejects the packets.",
        "closed": "The cause is behind the gateway: {examine}.{look}",
        "timed-out": "{in_time}",
        "unsent": "{in_time}",
        "rejected-response": "{examine}{look}",
        "truncated": "{look}",
        "client-stalled": "Find out why the client did not read for so long. If such pauses are normal, have the gateway wait "
        "longer for its clients (nginx: send_timeout; haproxy: timeout client; httpd: TimeOut; Envoy: stream_idle_timeout), or "
        "have it store the response of the server (nginx: proxy_buffering, proxy_max_temp_file_size).",
        "stream-timed-out": "Have the server send something at intervals shorter than {silence} (in an event stream, a comment "
        "line), or raise the timeout of the gateway, which was {silence} here ({limits}).",
        "not-passed-on": "{elsewhere}Check the limits and health checks of the gateway, and its log at that second (nginx: no "
        "live upstreams, limit_conn, limit_req; haproxy: maxconn, timeout queue, the state of its servers; httpd: status=+H and "
        "retry of ProxyPass; Caddy: health checks, fail_duration).",
        RATE_LIMIT: "If this limit is too low, raise it (nginx: limit_req; haproxy: a stick-table with http_req_rate; Envoy: "
        "local_ratelimit; Traefik: RateLimit). Otherwise have the clients send fewer requests. They should repeat a refused one "
        "only after the time in Retry-After, or after a time that doubles with each attempt.",
        FAILED_CALL: "Check the log of {culprit} for the time of this finding. If the response can do without that request, have "
        "the server answer without it, or repeat it.{auth}",
        "unseen": "{record}",
    },
    display_filter="{filter}",
    references=(
        Reference("RFC 9110 section 15.6, server errors", "https://www.rfc-editor.org/rfc/rfc9110.html#section-15.6"),
        Reference("RFC 9110 section 3.7, gateways", "https://www.rfc-editor.org/rfc/rfc9110.html#section-3.7"),
        Reference("nginx, ngx_http_proxy_module", "https://nginx.org/en/docs/http/ngx_http_proxy_module.html"),
        Reference(
            "Cloudflare, 5xx errors",
            "https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/",
        ),
        Reference(
            "AWS, errors of Application Load Balancers",
            "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html",
        ),
        Reference("Apache httpd, mod_proxy", "https://httpd.apache.org/docs/2.4/mod/mod_proxy.html"),
    ),
    explained_by=(("idle-cut", "exchange"), ("gateway-error", "front")),
    caused_by=(
        ("zero-window-stall", "until"),
        *(
            (name, "tries")
            for name in (
                *("no-response", "keep-alive-race", "foreign-reset", "reset-destroys-response", "connect-failed", "unanswered"),
                *("truncated-response", "malformed-head", "invalid-chunk", "conflicting-framing", "body-not-allowed"),
            )
        ),
        ("zero-window-stall", "wait-behind"),
    ),
    advice=(
        Advice("server", "nginx", "nginx: its error log names the server behind it and the reason (upstream ...).", "own"),
        Advice("server", "Apache", "Apache httpd: its error log has the reason (AH01102, AH00957 and the like).", "own"),
    ),
    summary=True,
    absence=True,
    ends=True,
    protocols=PROTOCOLS,
)

SHARED_THRESHOLDS = (rate_limits,)

WAITED = Threshold("1 s", "the minimum wait that counts as lost time; users do not notice a shorter wait")
MEMORY = Threshold(
    "10 s", "the maximum time for which a gateway may skip a server that did not answer; the longest measured time was 1.4 s"
)
SERVES = Threshold("10 %", "the minimum share of similar requests that a gateway answers itself if it is a server, too")
OWN_ANSWERS = Threshold(
    "3 responses", "the minimum number of such responses; fewer may be forwarded requests whose pair was not found"
)
NO_NEIGHBOR = Threshold(
    "3060 ms", "the time after which Linux gives up requesting a neighbor's address (ARP), without having sent a SYN"
)
LEFT_LATE = Threshold(
    "1 ms",
    "the maximum time after a gateway's close within which it sends the request that it had begun to forward; threads of one "
    "program differ by less",
)
NEAR = Threshold("2 %", "the tolerance within which a wait matches a timeout of whole seconds; timers are late by less")


def may_match() -> Mapping[str, pl.Expr]:
    """Return a cheap condition for each table. If no row of a batch meets its condition, the batch has no candidate findings."""
    answered = ((c("response_end_reason") == "complete") & (c("response_status") >= 200)).fill_null(value=False)
    # a low snap length cuts every head; what follows such a head is unknown, so these responses alone prove no failure
    partial = (c("response_end_reason") == "hole") & (c("response_framing") == "none")
    failed = _is_error() | (~answered & ~partial.fill_null(value=False) & _is_closed())
    return {"closes": c("has_request") & failed, "exchanges": c("response_status") >= 500}


def _is_error() -> pl.Expr:
    return (c("response_status") >= 500) | (c("response_status") == REQUEST_TIMEOUT)


def _is_closed() -> pl.Expr:
    return c("server_close_frame").is_not_null() | c("client_close_frame").is_not_null()


def _may_have_failed() -> pl.Expr:
    answered = c("has_response") & (c("response_end_reason") == "complete") & (c("response_status") >= 200)
    # if only the client's packets were captured, the gateway may have answered
    seen = c("has_response") | c("both_directions")
    closed = seen & _is_closed()
    # foreign-reset reports a device between the client and the gateway
    closed &= (c("server_close_origin") != "between") & (c("client_close_origin") != "between")
    return c("has_request") & (_is_error().fill_null(value=False) | (~answered.fill_null(value=False) & closed))


class Facts(NamedTuple):
    """What is known of a failure of a gateway. Times and durations are in ns.

    `front`, `tries` and `through` are structs of type TRY: the client's exchange, the tries, and the gateways that forwarded the
    failure. `last`: the number of the try that decides. `closed_time`: when the window closed of a client that did not read
    (kind client-stalled), or of a server (kind unsent). `retry`: a struct of type RETRY if a gateway nearer to the client
    repeated the request. `own_share`: the percentage of the good responses to similar requests that the server made itself
    (kind not-passed-on). `interval`: the time between two forwarded requests (kind rate-limit).
    `late_frame`: the gateway sent the request to `late_server`, `late_after` its own close, and dropped it.
    `made_whole`: that gateway forwarded the response as if it were complete. `unseen`: a struct of type
    UNSEEN, for that kind only.
    """

    kind: str | None
    end: int | None
    wait: int
    front: dict[str, Any] | None
    tries: list[dict[str, Any]]
    through: list[dict[str, Any]]
    last: int | None
    whole: bool
    guessed: bool
    software: str
    no_neighbor: bool
    hidden: bool
    lost_server: str | None
    lost_frame: int | None
    lost_time: int | None
    blocked_until: int | None
    closed_frame: int | None
    closed_time: int | None
    retry: dict[str, Any] | None
    made_whole: bool | None
    unseen: dict[str, Any] | None
    late_frame: int | None
    late_time: int | None
    late_after: int | None
    late_server: str | None
    own_share: int | None
    interval: int | None


_OF_FAILURE: dict[str, pl.DataType] = {
    **dict.fromkeys(("connection", "frame", "start", "end", "delay", "last", "lost_frame", "lost_time"), pl.Int64()),
    **dict.fromkeys(("blocked_until", "unread_on"), pl.Int64()),
    **dict.fromkeys(("kind", "side", "confidence", "software", "lost_server"), pl.String()),
    **dict.fromkeys(("whole", "guessed", "no_neighbor", "hidden"), pl.Boolean()),
    **{"exchange": pl.Int32(), "wait": DURATION, "front": pl.Int64()},
    **dict.fromkeys(("tries", "through"), pl.List(pl.Int64())),
}
"""The columns of `_facts_of`. `front`, `tries`, `through`: numbers of rows. `unread_on`: for kind unsent, the connection."""
_SCHEMA = pl.Schema({
    **_OF_FAILURE,
    **{"front": TRY, "tries": pl.List(TRY), "through": pl.List(TRY), "unseen": UNSEEN, "server": pl.String()},
    **{"retry": RETRY, "made_whole": pl.Boolean(), "own_share": pl.Int64(), "interval": pl.Int64()},
    **dict.fromkeys(("closed_frame", "closed_time", "code", "responses", "total"), pl.Int64()),
    **dict.fromkeys(("late_frame", "late_time", "late_after"), pl.Int64()),
    "late_server": pl.String(),
})  # fmt: skip


def find(
    closes: pl.LazyFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame, tries: pl.LazyFrame, fronts: pl.LazyFrame
) -> pl.LazyFrame:
    """Return a row for each failure of a gateway.

    All exchanges are examined together, because the server behind a gateway may be another gateway. If the capture contains no
    connection of a gateway to a server, also return a row for each server and error status that suggests a gateway.
    """
    # a filter, because a join would first create all columns of all exchanges
    places = pl.concat([tries.select("connection"), tries.select(connection="front_connection")]).unique().collect()
    are_known = places.height > 0 or bool(fronts.select(pl.len()).collect().item())
    errors, count = exchanges.select((c("response_status") >= 500).any(), pl.len()).collect().row(0)
    if not are_known and not errors:
        return pl.LazyFrame(schema=_SCHEMA)  # planning the queries below takes 20 ms
    vain = failed_connections(tries, connections).cache()
    # of all exchanges, only these and their tries are read whole; where no gateway is known, see likely_fronts
    at_fronts = connections.join(fronts.select("server").unique(), on="server", how="semi").select("connection")
    at_fronts = pl.concat([at_fronts, tries.select(connection="front_connection")]).unique().collect()
    suspect = c("response_status").is_in([*GATEWAY_ERRORS]) & (vain.head(1).collect().height > 0)
    if are_known:
        suspect |= c("connection").is_in(at_fronts["connection"].implode())
    calls = failed_calls(tries, closes, exchanges, connections, limits.GATEWAY_FAILURES.value) if errors else NO_CALLS
    of_calls = calls.select(connection="of", exchange="of_exchange")
    lost = _newest(closes.filter(_may_have_failed() & suspect.fill_null(value=False)))
    lost = pl.concat([lost.select(_KEY), of_calls]).unique(maintain_order=True)
    ends, of_exchange = connections.select(Connection._fields), ("connection", *ExchangeRow._fields)
    said = of_exchanges(exchanges, lost).select(*_KEY, "response_reason", "response_server", route().alias("route"))
    at_front = (  # cached, like other frames of this function: without the optimizer, each use would compute a frame again
        of_exchanges(closes, lost)
        .select(of_exchange)
        .join(of_connections(ends, lost), on="connection")
        .join(said, on=_KEY, how="left")
        .join(fronts.select("server", known=pl.lit(value=True)).unique(), on="server", how="left")
        .cache()
    )
    of_gateways = of_connections(closes, places)
    mine = tries.join(lost.lazy(), left_on=["front_connection", "front_exchange"], right_on=_KEY, how="semi").collect()
    made = mine.lazy().join(status_passed_on(tries, of_gateways), on=_KEY, how="left")
    behind, called = (
        rows.join(of_connections(ends, frame), on="connection", how="left")
        .join(of_exchanges(closes, frame).select(of_exchange), on=_KEY, how="left")
        .rename({name: f"try_{name}" for name in (*of_exchange, *Connection._fields)})
        for rows, frame in (
            (made.rename({"front_connection": "of", "front_exchange": "of_exchange"}), mine),
            (calls.lazy(), calls),
        )
    )
    told = at_front.join(behind, left_on=_KEY, right_on=_OF, how="left").cache()
    likely = likely_fronts(told, vain, repeated(tries, of_gateways)).cache()
    seen = told.filter(pl.col("known") | pl.col("try_connection").is_not_null())
    seen = with_last_contacts(seen, tries, of_gateways, connections)
    lone = told.filter(c("known") & c("try_connection").is_null())
    seen = seen.join(asked_others(lone, tries, closes, connections), on=_KEY, how="left")
    known = known_routes(tries, of_connections(exchanges, places), connections)
    left = closes.filter(c("client_close_time") < c("response_start")).select(_KEY)
    queries = [
        pl.concat([seen, likely.drop("client_host"), at_front.join(called, left_on=_KEY, right_on=_OF)], how="diagonal"),
        unassigned_attempts(tries, connections, vain, likely),
        known.join(at_front.select("server", "route"), on=["server", "route"], how="semi"),
        *([] if are_known else [unseen_gateways(exchanges, left, connections)]),
    ]
    few = count + connections.select(pl.len()).collect().item() <= SMALL
    rows, *others = pl.collect_all(queries, optimizations=PLAN_OF_FEW if few else pl.QueryOptFlags())
    first = pl.coalesce("response_frame", "server_close_frame", "request_frame")
    made = _candidates(rows.sort(first, maintain_order=True), *others)
    made = _judge_alone(made, tries, closes, exchanges, connections)
    return _with_late_requests(made, closes, exchanges, connections).lazy()


def _with_late_requests(
    found: pl.DataFrame, closes: pl.LazyFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame
) -> pl.DataFrame:  # fmt: skip
    """Add to candidates of kind not-passed-on the request that the gateway sent nevertheless: `late_frame`, `late_time` (ns) and
    `late_server`.

    It has the same method and path, was not answered, and left after the client's request, at most LEFT_LATE after the gateway
    had closed.
    """
    lone = found.filter((c("kind") == "not-passed-on") & c("exchange").is_not_null()).select(_KEY)
    if lone.is_empty():
        return found
    asks = ("request_method", c("request_target").cast(pl.String).str.replace(r"^https?://[^/]+", "").alias("path"))
    failed = (
        of_exchanges(closes, lone)
        .filter(~c("has_response"))
        .select(*_KEY, c("server_close_time").alias("until"), c("request_start").alias("since"))
        .join(of_exchanges(exchanges, lone).select(*_KEY, *asks), on=_KEY)
        .join(connections.select("connection", host_of("server").alias("host")), on="connection")
        .drop_nulls()
        .collect()
    )
    if failed.is_empty():
        return found
    sent = (
        exchanges.filter(c("has_request") & ~c("has_response"))
        .select("connection", *asks, c("request_frame").alias("late_frame"), c("request_start").alias("late_time"))
        .join(connections.select("connection", c("client_host").alias("host"), c("server").alias("late_server")), on="connection")
        .drop("connection")
        .join(failed.lazy(), on=["request_method", "path", "host"])
        .filter(c("late_time").is_between("since", c("until") + LEFT_LATE.value))
        .select(*_KEY, "late_frame", "late_time", "late_server", "until")
        .collect()
    )
    sent = sent.with_columns((c("late_time") - c("until")).clip(0).alias("late_after")).drop("until")
    first = sent.sort("late_time").unique(_KEY, keep="first")
    known = found.drop("late_frame", "late_time", "late_after", "late_server")
    return known.join(first, on=_KEY, how="left", maintain_order="left").select(found.columns)


_KEY, _OF = ["connection", "exchange"], ["of", "of_exchange"]


def _judge_alone(
    made: pl.DataFrame, tries: pl.LazyFrame, closes: pl.LazyFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame
) -> pl.DataFrame:
    """Judge requests that a gateway sent to no server: set `own_share`, `interval` and kind rate-limit.

    Drop the 503s of a server that answers similar requests itself, as a peer with its own keys does.

    A gateway that creates a 503 has its own page, failed to reach a server before, or forwards that target, too (a cache).
    """
    # the gateway that made the response: the last one that the request passed through
    answering = pl.coalesce(c("through").list.last(), c("front")).struct
    place = [answering.field(name).alias(f"at_{name}") for name in (*_KEY, "server", "response_status")]
    made = made.with_columns(place)
    alone = made.filter(c("kind") == "not-passed-on").select("at_connection", "at_exchange", "at_server").unique()
    if alone.is_empty():
        return made.select(_SCHEMA.names())
    tables = tries, closes, exchanges, connections
    own = own_answers(alone.rename(lambda name: name.removeprefix("at_")), *tables)
    own = own.rename({"connection": "at_connection", "exchange": "at_exchange"})
    made = made.drop("own_share").join(own, on=["at_connection", "at_exchange"], how="left", maintain_order="left")
    of_server = (c("own") >= OWN_ANSWERS.value) & (c("own_share") >= SERVES.value) & c("forwards").is_null()
    failed = (c("lost_server").is_not_null() | c("no_neighbor") | c("hidden")).fill_null(value=False)
    refused = (c("kind") == "not-passed-on") & (c("at_response_status") == UNAVAILABLE) & ~failed
    is_own = refused & (c("software") == "") & of_server
    made = made.filter(~is_own.fill_null(value=False))
    own = made.filter(refused).select(*(c(f"at_{name}").alias(name) for name in (*_KEY, "server")), "forwards").unique()
    limited = rate_limits.find_limits(own, *tables).rename({"connection": "at_connection", "exchange": "at_exchange"})
    made = made.drop("interval").join(limited, on=["at_connection", "at_exchange"], how="left", maintain_order="left")
    kind = pl.when(refused & c("interval").is_not_null()).then(pl.lit(RATE_LIMIT)).otherwise("kind").alias("kind")
    return made.with_columns(kind).select(_SCHEMA.names())


def _newest(failed: pl.LazyFrame) -> pl.DataFrame:
    """Return the connection and exchange of the newest failed exchanges, at most limits.GATEWAY_FAILURES."""
    most = limits.GATEWAY_FAILURES.value
    rows = failed.select("connection", "exchange", pl.coalesce("request_frame", "response_frame").alias("frame")).collect()
    limits.leave_out(limits.GATEWAY_FAILURES, rows.height - most)
    return rows.sort("frame").tail(most)


class _Row(NamedTuple):
    """What else is known of a client's exchange with a gateway, and how a try was assigned to it; see `find`."""

    route: str | None
    likely: bool | None
    asked_others: bool | None
    lost_server: str | None
    lost_frame: int | None
    lost_time: int | None
    good_time: int | None
    response_server: str | None
    response_reason: str | None
    started: int | None
    certain: bool | None
    given: bool | None
    called: bool | None
    try_exchange: int | None
    try_server: str | None
    try_request_start: int | None


class _AtFront(NamedTuple):
    """A client's exchange with a gateway, and the rows about it, each with its try.

    The try is None if the gateway made none, or if its connection is too old to be examined.
    """

    exchange: Exchange
    rows: list[tuple[_Row, Try | None]]


def _candidates(
    rows: pl.DataFrame, loose: pl.DataFrame, leads: pl.DataFrame, unseen: pl.DataFrame | None = None
) -> pl.DataFrame:  # fmt: skip
    """Return the candidates.

    `rows`: a row for each try, or one row if there was no try. `loose`: attempts that may have been made for one of these
    requests (`loose_of`: the gateway). `leads`: the servers to which gateways forwarded other requests (`leads_to`).
    """
    asked = _exchanges_at_front(rows)
    attempts: dict[str, list[Attempt]] = {}
    for number, (of, ends) in enumerate(zip(loose["loose_of"], read(Connection, loose, "try_"), strict=True), rows.height):
        attempts.setdefault(of, []).append(Attempt(ends, number))
    known: dict[Route, set[str]] = {}
    for server, path, to in leads.select("server", "route", "leads_to").iter_rows():
        known.setdefault((server, path), set()).add(to)
    routes = {key: str(one.rows[0][0].route) for key, one in asked.items()}
    fronts = assign_attempts({key: _front(one) for key, one in asked.items()}, attempts, routes, known)
    # drop a `likely` exchange that did not fail at once: nothing else shows that its server is a gateway
    fronts = {key: one for key, one in fronts.items() if one.call or not asked[key].rows[0][0].likely or failed_at_once(one)}
    found = failures(fronts)
    # the table of tries does not connect a call with its exchange, so the failure of a call is left out here
    inner = {
        one.key for key, failure in found.items() if fronts[key].call for one in failure.through[:1] if one is fronts[key].call
    }
    until, made = _outermost(fronts, found), list[dict[str, Any]]()
    for key, one in found.items():
        if key in inner:
            continue
        # the gateway nearest to the server made the error, and the others forwarded it
        software = _software(asked[one.through[-1].key if one.through else key])
        leads_on = (asked[key].exchange.server, routes[key]) in known
        made.append(_facts_of(asked[key], one, until.get(key, 0), leads=leads_on) | {"software": software})
    failed = _with_structs(pl.DataFrame(made, _OF_FAILURE), rows, loose)
    parts = [] if unseen is None else [_unseen(unseen, {asked[key].exchange.server for key in found})]
    return pl.concat([_SCHEMA.to_frame(), *parts, failed], how="diagonal")


def _exchanges_at_front(rows: pl.DataFrame) -> dict[Place, _AtFront]:
    made: dict[Place, _AtFront] = {}
    of_tries = read(ExchangeRow, rows, "try_"), read(Connection, rows, "try_")
    columns = zip(read(ExchangeRow, rows), read(Connection, rows), read(_Row, rows), *of_tries, strict=True)
    for number, (values, ends, row, of_try, at) in enumerate(columns):
        key = ends.connection, values.exchange
        if key not in made:
            made[key] = _AtFront(Exchange(values, ends, number), [])
        attempt = row.try_exchange is None
        is_seen = row.try_server is not None and (attempt or row.try_request_start is not None)
        made[key].rows.append((row, None if not is_seen else Attempt(at, number) if attempt else Exchange(of_try, at, number)))
    return made


def _front(asked: _AtFront) -> Front:
    calls = [(row, one) for row, one in asked.rows if row.called is not None]
    front = _front_of_tries(asked.exchange, [one for one in asked.rows if one[0].called is None])
    for row, call in calls:
        if isinstance(call, Exchange):
            return front._replace(call=call, called=bool(row.called))
    return front


def _front_of_tries(own: Exchange, rows: list[tuple[_Row, Try | None]]) -> Front:
    tried = sorted((one for one in rows if one[0].started is not None), key=_order)
    if any(one is None for _, one in tried) or (not tried and (not rows or rows[0][0].asked_others)):
        return Front(own, (), certain=False)
    certain = all(row.certain for row, _ in tried)
    # a response whose status is `given` was forwarded, so it does not belong to an exchange with another status
    fits = (certain or not row.given or (isinstance(one, Exchange) and one.status == own.status) for row, one in tried)
    return Front(own, tuple(one for (_, one), fit in zip(tried, fits, strict=True) if one is not None and fit), certain)


def _order(tried: tuple[_Row, Try | None]) -> tuple[int, ...]:
    row, one = tried
    return row.started or 0, 0 if one is None else one.ends.connection, -1 if row.try_exchange is None else row.try_exchange


def _with_structs(made: pl.DataFrame, rows: pl.DataFrame, loose: pl.DataFrame) -> pl.DataFrame:
    """Return the candidates with structs of type TRY in place of the numbers of rows."""
    names = [f"try_{name}" for name in TRY.to_schema()]
    every = pl.concat([rows.select(names), loose.select(name for name in names if name in loose.columns)], how="diagonal")
    fronts, tries = rows.select(as_struct()).to_series(), every.select(as_struct("try_")).to_series()
    lists = [_rows_of(tries, made[name]) for name in ("tries", "through")]
    return made.with_columns(fronts.gather(made["front"]).alias("front"), *lists)


def _rows_of(structs: pl.Series, numbers: pl.Series) -> pl.Series:
    """Return lists of the structs with these numbers of rows."""
    # with a null each, because `explode` drops empty lists in some versions of Polars
    ended = numbers.to_frame("number").select(pl.concat_list("number", pl.lit(None, pl.Int64)))
    flat = ended.with_row_index().explode("number")
    made = flat.select("index", structs.gather(flat["number"]).alias(numbers.name))
    return made.group_by("index", maintain_order=True).agg(pl.last().drop_nulls())[numbers.name]


def _unseen(rows: pl.DataFrame, explained: Collection[str]) -> pl.DataFrame:
    """Return the candidates of kind unseen, except those of the servers `explained`."""
    return rows.filter(~c("server").is_in([*explained])).sort("response_frame", maintain_order=True).select(
        *candidate("server", "medium", "response_frame", "request_start", "response_start", kind=pl.lit("unseen"), of="server"),
        c("median").fill_null(0).cast(DURATION).alias("wait"),
        pl.struct(name for name in UNSEEN.to_schema()).alias("unseen"),
        *("server", "code", "responses", "total"),
    )  # fmt: skip


def _software(asked: _AtFront) -> str:
    v, row = asked.exchange.values, asked.rows[0][0]
    about_body = v.response_content_type, v.response_body_bytes
    page = row.response_server, row.response_reason, v.response_status
    return "" if v.response_frame is None else gateway_software(*page, *about_body)


def _outermost(fronts: Mapping[Place, Front], found: Mapping[Place, Failure]) -> dict[Place, int]:
    """Return the requests whose failure is a part of the failure of a gateway nearer to the client, with the time (ns) of the
    latter. All of them were sent by gateways.

    Only the failure at the gateway nearest to the client is reported.
    """
    until: dict[Place, int] = {}
    for key, failure in found.items():
        tries = fronts[key].tries if fronts[key].certain else ()
        for one in (*failure.through, *(one for one in tries if isinstance(one, Exchange))):
            until[one.key] = max(until.get(one.key, 0), _failed_at(fronts[key].exchange, failure))
    return until


_UNANSWERED = "the server behind it did not answer the SYN"
_LATE = "the server behind it did not answer in time"
_STARVED = "the client had not sent its complete request"
_LOST = "the response of the server behind it did not arrive"
_DID_NOT_READ = "the server behind it did not read the request"
_TOO_SLOWLY = "the server behind it read the request too slowly"
_READ_FASTER = (
    "Find out why the server behind the gateway reads slowly (a full disk, a slow downstream, a lock, a garbage collection, a "
    "full thread pool). Limit the size of requests to it, or raise the limits of the gateway (nginx: proxy_send_timeout; "
    "haproxy: timeout server; httpd: ProxyTimeout; Envoy: timeout of the route; Go: ResponseHeaderTimeout)."
)
_READ_AT_ALL = (
    "The server behind the gateway does not read the request: its process is stopped, busy, or waiting for something else. "
    "Examine it (a stack trace, its CPU time), and limit the size of requests to it."
)
_FIND_LOSS = (
    "Find out what drops the packets of the server behind the gateway: a firewall on the gateway or on the path to it. Capture "
    "on both sides of each suspected device, and look at its counters and logs."
)
_SOONER = "Make the server behind the gateway answer sooner, or "
_FEED = (
    "Find out what the client was waiting for in the middle of its body (a slow source, a suspended program, an interrupted "
    "path). If such pauses are normal, have the gateway read requests completely before it forwards them (nginx "
    "proxy_request_buffering on, haproxy option http-buffer-request), or "
)
_POOL = (
    " If the gateway used a connection that this server was closing, change the pool of the gateway. Have it keep idle "
    "connections for less time than the server does (nginx: keepalive_timeout in upstream; haproxy: pool-purge-delay; httpd: ttl "
    "of ProxyPass; Caddy: keepalive), or have it repeat idempotent requests."
)
_REPEAT = " If the request arrived while the server was closing that connection, have the gateway repeat idempotent requests."
_LONG = (
    " If the head is too long for the gateway, raise the gateway's limit: nginx proxy_buffer_size, haproxy tune.bufsize less "
    "tune.maxrewrite, Node --max-http-header-size, Go Transport.MaxResponseHeaderBytes, Caddy max_response_header."
)
_LOOK_BEHIND = (
    "Check the log of the server behind the gateway at that second for a crash, a worker that was killed for taking too long, or "
    "a wrong Content-Length."
)
_REJECTED = "it rejected the response of the server behind it"
_CUT_SHORT = "the server behind it closed before it had received the complete request"
_READ_ALL = (
    "Have the server behind the gateway read the rest of a request that it refuses before it closes, up to a limit, or raise its "
    "limit for the size of requests. If a gateway cannot send the complete request, it may report an error of its own."
)
_EXAMINE_SERVER = "check the log of the server behind it for the time of this finding"
_EXAMINE_PATH = (
    "look for the device that ended the connection in the name of the server behind it; the finding foreign-reset about that "
    "connection says how far away it is"
)
_LOOK_AT_GATEWAY = (
    "Check the gateway's log at that second: the gateway itself closed its connection to the server behind it (a timeout, a "
    "limit, a restart)."
)
_UNASKED = "it sent the request to no server"
_UNREACHED_BEFORE = "it sent the request to no server after it could not reach {}"
_LEFT_LATE = "it forwarded the request, and then dropped both connections"
_DROPPED = "the gateway sent the request to {}{}, and dropped that connection, too, without waiting for an answer"
_NOT_SHOWN = "the capture shows no request to a server behind it"
_ELSEWHERE = (
    "Find out to which server the gateway sends requests for this path, and capture the traffic between them, too (tcpdump -i "
    "any, without a port filter). If a capture cannot show this traffic (a Unix socket, TLS), check the log of that server. "
)
_ITS_LOG = "This server also answers requests itself, as a peer that owns a part of the data does: check its own log first. "
_BY_ICMP = "an ICMP error answered its SYN to the server behind it"


def _facts_of(asked: _AtFront, failure: Failure, until: int, *, leads: bool) -> dict[str, Any]:
    """Return the candidate of a failure, with the columns _OF_FAILURE except `software`.

    `until`: the time (ns) of the same failure at a gateway nearer to the client; 0 if there is none. `leads`: whether the capture
    shows a server to which the gateway forwarded requests like this one.
    """
    front, last, kind = asked.exchange, failure.last, failure.kind
    end = _failed_at(front, failure)
    # the client may still have been sending its body
    in_part = front.asked_in_part and (kind == "closed" or _is_cut_short(front, failure))
    start = front.values.request_start if front.asked > end or in_part else front.asked
    wait = end - start
    lost = _recent_refusal(asked) if kind == "not-passed-on" else None
    no_neighbor = kind == "not-passed-on" and 1 <= _periods(wait, NO_NEIGHBOR.value) <= 4
    # the gateway may have contacted a server that the capture does not show, unless another fact explains why it contacted none
    hidden = kind == "not-passed-on" and not leads and lost is None and not no_neighbor
    blameless = kind == "unreachable" or is_cut_by_device(failure)
    return {
        "connection": front.key[0], "exchange": front.key[1], "kind": kind,
        "side": None if blameless else "client" if is_starved(front, failure) else "server",
        "confidence": "low" if no_neighbor or hidden else _confidence(front, failure),
        "frame": front.values.request_frame, "start": start, "end": max(end, until), "wait": wait,
        "delay": wait if wait >= WAITED.value and kind != "stream-timed-out" else None,
        "front": front.row, "tries": [one.row for one in failure.tries], "through": [one.row for one in failure.through],
        "last": next((number for number, one in enumerate(failure.tries) if one is last), None),
        "whole": failure.whole, "guessed": failure.guessed, "no_neighbor": no_neighbor, "hidden": hidden,
        **({} if lost is None else {f"lost_{name}": value for name, value in lost._asdict().items()}),
        "blocked_until": blocked_until(front, failure),
        "unread_on": last.ends.connection if isinstance(last, Exchange) and kind == "unsent" else None,
    }  # fmt: skip


def _is_cut_short(front: Exchange, failure: Failure) -> bool:
    return failure.kind == "rejected-response" and is_cut_short(front, failure.last)


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the failure: who did what on both sides of the gateway."""
    if x.front is None:
        return unseen_words(x.unseen or {}, _periods(x.wait, SECOND))
    front, tries = exchange_of(x.front), tuple(map(try_of, x.tries))
    kind, last = _LIKE_KIND.get(x.kind or "", str(x.kind)), None if x.last is None else tries[x.last]
    failure = Failure(kind, last, tries, tuple(map(exchange_of, x.through)), x.whole, x.guessed)
    lost = None if x.lost_server is None else Lost(x.lost_server, x.lost_frame or 0, x.lost_time or 0)
    if kind == FAILED_CALL:
        return call_words(front, failure, x.software)
    got, outcome = client_result(front)
    closed = None if x.closed_time is None or x.end is None else (x.blocked_until or x.end) - x.closed_time
    reason = message_reason(front, failure, lost, x.no_neighbor, hidden=x.hidden)
    side = "client" if x.kind == CLIENT_STALLED else "server"
    serves = kind == "not-passed-on" and not x.hidden and (x.own_share or 0) >= SERVES.value
    also = f"; it also answers {x.own_share} % of such requests itself" if serves else ""
    not_read = (x.closed_frame, x.closed_time, f"the {side}'s window is closed: the {side} does not read")
    late = (x.late_frame, x.late_time, f"the gateway sends the request to {x.late_server}, and drops it")
    return {
        "evidence": [*failure_evidence(front, failure, lost), *packets(not_read, late)],
        "addition": retry_sentence(x.retry) or (MADE_WHOLE if x.made_whole else None),
        "origin": failure_origin(front, failure),
        "outcome": outcome, "got": got,
        "why": f": {reason if closed is None else unread_reason(failure, closed)}{also}{_rate(x)}",
        "more": tries_text(failure), "unread": "" if closed is None else duration_text(closed),
        "closer": closer_text(failure), "examine": _examine(front, failure),
        "rejected": _CUT_SHORT if _is_cut_short(front, failure) else _REJECTED,
        "unreached": _BY_ICMP if isinstance(last, Attempt) and last.rejected <= front.answered + SLACK else _UNANSWERED,
        **_of_unasked(x, serves=serves),
        **_late_words(front, failure, x, unread=closed is not None),
        "broke": broken_text(front, failure), "look": _look(front, failure),
        "silence": duration_text(time_stalled(front, failure) or 0), "limits": BODY_LIMITS,
        "filter": failure_filter(front, failure),
        "own": front.begun and failure.kind not in BROKEN_OFF and not failure.through,
    }  # fmt: skip


_LIKE_KIND = {CLIENT_STALLED: "truncated", RATE_LIMIT: "not-passed-on"}
"""The kinds that share the words of another kind."""


def _rate(x: Facts) -> str:
    """Return the words about a limit of the rate, if there is one."""
    if x.interval is None or x.kind != RATE_LIMIT:
        return ""
    pace = f"one request every {duration_text(x.interval)} on average"
    return f", because it limits the rate: it forwards {pace}, and refuses the others at once"


def _first_step(x: Facts, *, serves: bool) -> str:
    """Return the first part of the remedy for a gateway that contacted no server."""
    if x.lost_server is not None:
        return (
            f"Start with {x.lost_server}: the gateway could not reach it, and skips such a server for a while (a circuit "
            "breaker, a failed health check). "
        )
    return _ITS_LOG if serves else ""


def _of_unasked(x: Facts, *, serves: bool) -> dict[str, str]:
    """Return the words about a gateway that made no attempt, or whose request left only when it had closed to the client."""
    if x.late_server is not None:
        after = f" {duration_text(x.late_after)} after its own close" if x.late_after else ""
        return {"unasked": _LEFT_LATE, "why": f": {_DROPPED.format(x.late_server, after)}", "elsewhere": ""}
    unasked = _UNASKED if x.lost_server is None else _UNREACHED_BEFORE.format(x.lost_server)
    return {
        "unasked": _NOT_SHOWN if x.hidden else unasked,
        "elsewhere": _ELSEWHERE if x.hidden else _first_step(x, serves=serves),
    }


def _late_words(front: Exchange, failure: Failure, x: Facts, *, unread: bool) -> dict[str, str]:
    """Return the words about a server that did not answer, or did not read, in time."""
    last, starved = failure.last, is_starved(front, failure)
    if failure.kind == "unsent":
        return {"late": _DID_NOT_READ, "in_time": _READ_AT_ALL} if unread else {"late": _TOO_SLOWLY, "in_time": _READ_FASTER}
    waited = duration_text(x.wait if last is None else time_waited(front, last))
    raised = f"raise the timeout of the gateway, which was {waited} here ({SETTINGS.get(x.software, USUAL_LIMITS)})."
    late, in_time = (_STARVED, f"{_FEED}{raised}") if starved else (_LATE, f"{_SOONER}{raised}")
    if failure.kind == "timed-out" and is_lost(front, last):
        part = "part of " if isinstance(last, Exchange) and last.holed else ""
        late, in_time = late if starved else f"{part}{_LOST}", _FIND_LOSS
    return {"late": late, "in_time": in_time}


def _examine(front: Exchange, failure: Failure) -> str:
    """Return the part of the remedy about what the server behind the gateway, or a device in its name, did."""
    if _is_cut_short(front, failure):
        return _READ_ALL
    if failure.kind == "rejected-response" and isinstance(failure.last, Exchange):
        return f"Examine what the server behind the gateway sent: {fault_text(failure.last)}."
    return _EXAMINE_PATH if is_cut_by_device(failure) else _EXAMINE_SERVER


def _look(front: Exchange, failure: Failure) -> str:
    """Return the part of the remedy that depends on the connection to the server.

    If the server closed a reused connection without a response, the advice is about the pool of the gateway. If that connection
    had been idle for a shorter time than any idle timeout, the advice is to repeat requests. If it was new, the result is "". If
    the gateway rejected a response whose head may be too long, the advice is about limits. If a response broke off, the advice
    depends on which side ended it.
    """
    last = failure.last
    if is_cut_by_device(failure):
        # the remedy of kind closed already names the device
        return f"{_EXAMINE_PATH[0].upper()}{_EXAMINE_PATH[1:]}." if failure.kind == "truncated" else ""
    if failure.kind == "closed" and isinstance(last, Exchange):
        if last.values.handshake and last.key[1] == 0 and not last.met_a_close:
            return ""
        before = last.values.previous_end
        return _POOL if before is None or last.dropped - before >= EARLIEST else _REPEAT
    if failure.kind == "rejected-response" and isinstance(last, Exchange):
        return _LONG if may_be_too_long(last) and not is_cut_short(front, last) else ""
    if not isinstance(last, Exchange) or last.server_first:
        return _LOOK_BEHIND
    if last.holed:
        return _FIND_LOSS
    if (stalled := time_stalled(front, failure)) is None:
        return _LOOK_AT_GATEWAY
    return (
        "Find out why nothing more came from the server behind the gateway: look at its log at that time, or at a stack trace. "
        "Possible causes are a wrong Content-Length and packets that were lost on the path. If such pauses are normal, raise "
        f"the timeout of the gateway, which was {duration_text(stalled)} here ({BODY_LIMITS})."
    )


def _failed_at(front: Exchange, failure: Failure) -> int:
    """Return the time (ns) at which the client learned that its request had failed."""
    whole = front.begun and (failure.kind not in BROKEN_OFF or front.is_error)
    return front.began if whole else min(front.dropped, front.left)


def _recent_refusal(asked: _AtFront) -> Lost | None:
    """Return the server that the gateway failed to reach shortly before the request, if no server has answered since."""
    row, _ = asked.rows[0]
    if row.lost_server is None or row.lost_frame is None or row.lost_time is None:
        return None
    since = asked.exchange.values.request_start - row.lost_time
    answered = row.good_time is not None and row.good_time > row.lost_time
    return None if since > MEMORY.value or answered else Lost(row.lost_server, row.lost_frame, row.lost_time)


def _periods(wait: int, period: int) -> int:
    """Return how many periods (ns) fit into a wait (ns) if the wait is close to a whole number of periods; otherwise 0."""
    times = round(wait / period) if period else 0
    return times if abs(wait - times * period) * 100 <= times * period * NEAR.value else 0


def _confidence(front: Exchange, failure: Failure) -> str:
    seen = [front, *(one for one in failure.tries if isinstance(one, Exchange)), *failure.through]
    # a gap that was never acknowledged is part of the failure
    given = [one.values for one in seen if not (one.headless or one.holed)]
    if any(v.gap_before or v.request_has_gap or v.response_has_gap for v in given):
        return "low"
    inferred = (
        failure.kind in ("not-passed-on", FAILED_CALL) or not failure.whole or not all(one.values.handshake for one in seen)
    )
    # a server also sends 503 or closes on purpose, and another program on the same host may have tried to connect meanwhile
    on_purpose = front.status in {503, None} and all(isinstance(one, Attempt) for one in failure.tries)
    on_purpose |= failure.kind == "stream-timed-out"
    # the gateway may have been waiting for its client
    on_purpose |= failure.kind == "unsent" and front.asked_in_part and _failed_at(front, failure) - front.asked >= STALLED
    return "medium" if inferred or on_purpose or is_close_doubtful(front, failure) else "high"

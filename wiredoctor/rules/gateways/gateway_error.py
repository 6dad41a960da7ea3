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
    it. If the head of the response has 4 KiB or more, any failure within that time counts, except 504; so does a gateway that
    closes both connections within that time, and sends its client no byte of a response. If the server answered and
    closed before it had received the complete request, the gateway could not send the rest: the finding says so, and the gateway
    may have answered later.

    Kind truncated: the server's response broke off, or the gateway stopped waiting for it. The gateway's response broke off, too,
    or never began. If part of the server's response did not arrive, the finding says so: the gateway waited for 1 s or longer,
    and still had not acknowledged all captured bytes when it closed. Kind client-stalled: as truncated, but the gateway gave up
    while its client's receive window had been closed for 1 s or longer, and the gateway had closed its receive window towards
    the server, too.

    Kind stream-timed-out, a warning: the gateway closed both sides of an event stream or another endless response before the
    client or the server did, a whole number of seconds (and at most 20 ms more) after the last data from the server. If the
    stream answers a POST and none of its last events says that the answer is complete, any silence of 1 s or longer counts, and
    the finding is an error: the call failed, whether a timeout ended it or the gateway was stopped. Instead of closing, a gateway
    may then end the body as if it were complete, or with an invalid chunk, within 100 ms of its close towards the server.

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
    came within 1.5 average intervals after a forwarded request, or the gateway forwarded equally many requests, two or more,
    between refusals (in 95 % of five or more periods; Envoy: local_ratelimit). The gateway does not limit open requests: a
    quarter of the requests were refused while fewer requests were open than at other times. A tenth of the refusals has
    Retry-After, or a target that is forwarded, too.

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

from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Severity
from wiredoctor.gateways.kinds import CLIENT_STALLED, FAILED_CALL, Failure, is_answer_due, is_discarded
from wiredoctor.gateways.known import SLACK
from wiredoctor.rules.shared import gateway_candidates, rate_limits, unforwarded_requests
from wiredoctor.rules.shared.call_words import call_words
from wiredoctor.rules.shared.failed_at_gateways import failed_exchanges, is_closed, is_error
from wiredoctor.rules.shared.gateway_remedies import BODY_LIMITS, late_words, what_to_examine, where_to_look
from wiredoctor.rules.shared.gateway_words import (
    BROKEN_OFF,
    Lost,
    broken_text,
    client_result,
    closer_text,
    failure_evidence,
    failure_filter,
    failure_origin,
    is_refused_early,
    message_reason,
    time_stalled,
    tries_text,
    unread_reason,
)
from wiredoctor.rules.shared.unforwarded_requests import RATE_LIMIT, UNFORWARDED
from wiredoctor.rules.shared.unseen_gateways import unseen_words
from wiredoctor.rules.shared.words import MADE_WHOLE, packets, retry_sentence
from wiredoctor.tables import PROTOCOLS, SECOND
from wiredoctor.text.durations import duration_text
from wiredoctor.world.exchange import Attempt, exchange_of, try_of

c = pl.col

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
        "stream-timed-out": "{request} {got} after {wait}{why}. A gateway that is stopped ends its streams, too{seldom}.{more}",
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
        "line), or raise the timeout of the gateway, {which} ({limits}).",
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

SHARED_THRESHOLDS = (gateway_candidates, unforwarded_requests, rate_limits)


def may_match() -> Mapping[str, pl.Expr]:
    """Return a cheap condition for each table. If no row of a batch meets its condition, the batch has no candidate findings."""
    answered = ((c("response_end_reason") == "complete") & (c("response_status") >= 200)).fill_null(value=False)
    # a low snap length cuts every head; what follows such a head is unknown, so these responses alone prove no failure
    partial = (c("response_end_reason") == "hole") & (c("response_framing") == "none")
    failed = is_error() | (~answered & ~partial.fill_null(value=False) & is_closed())
    return {"closes": c("has_request") & failed, "exchanges": c("response_status") >= 500}


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


def find(
    closes: pl.LazyFrame, exchanges: pl.LazyFrame, connections: pl.LazyFrame, tries: pl.LazyFrame, fronts: pl.LazyFrame
) -> pl.LazyFrame:
    """Return a row for each failure of a gateway.

    All exchanges are examined together, because the server behind a gateway may be another gateway. If the capture contains no
    connection of a gateway to a server, also return a row for each server and error status that suggests a gateway.
    """
    failed = failed_exchanges(closes, exchanges, connections, tries, fronts)
    if failed is None:
        return pl.LazyFrame(schema=gateway_candidates.SCHEMA)
    made = gateway_candidates.candidates(failed)
    made = unforwarded_requests.judge_unforwarded(made, tries, closes, exchanges, connections)
    return unforwarded_requests.with_late_requests(made, closes, exchanges, connections).lazy()


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the failure: who did what on both sides of the gateway."""
    if x.front is None:
        return unseen_words(x.unseen or {}, unforwarded_requests.periods(x.wait, SECOND))
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
    serves = kind == UNFORWARDED and not x.hidden and (x.own_share or 0) >= unforwarded_requests.SERVES.value
    also = f"; it also answers {x.own_share} % of such requests itself" if serves else ""
    not_read = (x.closed_frame, x.closed_time, f"the {side}'s window is closed: the {side} does not read")
    late = (x.late_frame, x.late_time, f"the gateway sends the request to {x.late_server}, and drops it")
    silence = duration_text(time_stalled(front, failure) or 0)
    made_whole = failure.kind in BROKEN_OFF and front.whole
    return {
        "evidence": [*failure_evidence(front, failure, lost), *packets(not_read, late)],
        "addition": retry_sentence(x.retry) or (MADE_WHOLE if x.made_whole or made_whole else None),
        "origin": failure_origin(front, failure),
        "outcome": outcome, "got": got,
        "why": f": {reason if closed is None else unread_reason(failure, closed)}{also}{_rate(x)}",
        "more": tries_text(failure), "unread": "" if closed is None else duration_text(closed),
        "closer": closer_text(failure), "examine": what_to_examine(front, failure),
        "rejected": _CUT_SHORT if is_refused_early(front, failure) else _DISCARDED if is_discarded(front, last) else _REJECTED,
        "unreached": _BY_ICMP if isinstance(last, Attempt) and last.rejected <= front.answered + SLACK else _UNANSWERED,
        **_of_unasked(x, serves=serves),
        **late_words(front, failure, x.wait, x.software, unread=closed is not None),
        "broke": broken_text(front, failure), "look": where_to_look(front, failure),
        "silence": silence, "limits": BODY_LIMITS,
        "seldom": "" if is_answer_due(front) else ", but seldom a whole number of seconds after the last data",
        "which": "if one expired" if is_answer_due(front) else f"which was {silence} here",
        "filter": failure_filter(front, failure),
        "own": front.begun and failure.kind not in BROKEN_OFF and not failure.through,
    }  # fmt: skip


_LIKE_KIND = {CLIENT_STALLED: "truncated", RATE_LIMIT: UNFORWARDED}
"""The kinds that share the words of another kind."""

_UNANSWERED = "the server behind it did not answer the SYN"
_BY_ICMP = "an ICMP error answered its SYN to the server behind it"
_REJECTED = "it rejected the response of the server behind it"
_CUT_SHORT = "the server behind it closed before it had received the complete request"
_DISCARDED = "it had the response of the server behind it, and closed both connections"
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

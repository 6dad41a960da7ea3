"""The server closed a connection without answering a request.

What it means
    The server, or a device in front of it, ended the connection without a single byte of a response while the client was
    waiting. Packets do not show the reason: a process that ended or was killed looks like one that decided to close. But
    they show how much of the request had arrived. Some servers close like this after a request that they do not expect: a
    request in clear text on a port for TLS, a request without the expected PROXY protocol header (or with an unexpected one),
    or a head that exceeds their limit. A gateway may close like this because a server behind it failed: HAProxy and Apache
    httpd do so on connections that had been used before, so that the client repeats the request.

    Kind on-arrival: the server closed a fresh connection as soon as it had accepted it, before the request came. Kind
    mid-request: the server closed in the middle of an upload, when part of the request had arrived. Kind unread: the server
    sent an RST which shows that no process had read the request. Kind at-once: the server closed within milliseconds of the
    request. Kind later: the server closed some time after the request. Kind half-closed: the client had closed its sending
    side right after the request, which the server took to mean that the client had left. The client may indeed have left:
    packets look the same then.

Why it hurts
    A browser shows an empty page ("ERR_EMPTY_RESPONSE"), curl reports "Empty reply from server" or "Connection reset by peer",
    and a proxy answers 502. Unless the request is known to be unread, the client cannot know whether it was carried out. It
    cannot safely repeat a request that is not idempotent.

How it is proved
    The server sent no data after the request, and the client had not closed before. In all kinds but on-arrival and
    mid-request, the server's FIN or RST acknowledges the last byte of the request. A system sends an RST instead of a FIN if a
    process closes, or ends, with unread data (RFC 1122): in this case the request was not read. An RST without the ACK flag
    comes from a host that does not know the connection, or from a firewall. If the TTL of the close differs from that of the
    server's other packets, a device on the path may have sent it: the finding says so and blames no side. If the RST came from
    another MAC address than the SYN-ACK, another machine answers for the server's address now (under the conditions that
    keep-alive-race names), and the finding says that.

    Kind on-arrival: the close acknowledges no byte of the first request and came less than a second after the SYN-ACK. If a SYN
    to the same port is refused within a second of the close, the process that listened there has ended. Otherwise a relay may
    have accepted the connection, unless the server responded on another connection within a second. Kind mid-request: the close
    acknowledges the beginning of the request. The body was not complete at that time, even if the client sent more afterwards. If
    no byte of the body had come for a while, the client or the path had stopped, unless the server's receive window was closed:
    then the server had stopped reading.

    The finding says that a server process ended if the server closed other connections at the same moment, and no idle timeout
    explains these closes. It does not say so if the server ever answers on a connection that was open at such a close.

What it is not
    If a request on a reused connection crossed the server's close, keep-alive-race reports it. truncated-response reports a
    response that broke off, and client-abort a client that gave up first. If the client sends a POST or PATCH again at once,
    the finding says so, because such a request is not idempotent. If the client repeats a GET at once and gets its response,
    the finding is only a warning, unless the client sends the same request concurrently anyway, or has many users with equal
    requests and repeats few of those that it lost. The finding is a note if the request is `OPTIONS *`, which asks what the
    server supports, and the client goes on with another request that is answered. Requests that the client sent after a
    response that announced the close are not counted, even if they were pipelined before it arrived. Neither is an upload that
    the client itself broke off. If the client did not answer two or more keep-alive probes before the server reset the
    connection, the client or the path was gone, and the request is not reported. reset-destroys-response reports an upload that
    was answered and then reset before its body was complete.

What to do
    Check the server's log at that time, and find out what ends or restarts its processes. Kind on-arrival: find out what
    listens on the port. Kind mid-request: if no byte of the body had come for a while, find out what the client was waiting
    for, and check the server's timeout for bodies; if the server had stopped reading, find out why. Kind half-closed: have the
    client close its sending side only after it has the response. If the server is a gateway, capture both sides on it:
    gateway-error then names the cause.

References
    RFC 9110 section 15.6, RFC 9112 section 9.6, RFC 1122 section 4.2.2.13, nginx client_body_timeout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold, cached_for_thresholds
from wiredoctor.rules.shared import lost_requests
from wiredoctor.rules.shared.abort_reasons import decide as reason_of
from wiredoctor.rules.shared.evidence import candidate, confidence, has_doubtful_close
from wiredoctor.rules.shared.left_early import FACTS, early
from wiredoctor.rules.shared.left_early import may_match as may_be_early
from wiredoctor.rules.shared.lost_requests import (
    AFTER_A_WHILE,
    HALF_CLOSED,
    IMMEDIATE,
    IN_PART,
    NOT_READ,
    ON_ARRIVAL,
    also_lost,
    find_lost,
    fresh,
    only_interim,
    repetition_columns,
    repetition_words,
)
from wiredoctor.rules.shared.words import (
    FIND_MACHINES,
    another_machine,
    doubt_words,
    fin_or_rst,
    packets,
    retry_sentence,
    sender_of_close,
    with_doubt,
)
from wiredoctor.tables import CLIENT, PART_OF_HEAD, SECOND
from wiredoctor.text.durations import duration_text
from wiredoctor.world import Wait, World, clients
from wiredoctor.world.aborts import Aborts
from wiredoctor.world.clients import Clients
from wiredoctor.world.connection_close import BROKEN_BEFORE, closed_against_request, is_reset_without_ack
from wiredoctor.world.learned_limits import NO_IDLE_TIME
from wiredoctor.world.numbers import DURATION, other_connections
from wiredoctor.world.products import Setting, advice, default, names, settings
from wiredoctor.world.responses import Responses
from wiredoctor.world.server import NEAR, TOGETHER, Server, Servers

c = pl.col

_TAKEN = "{request} arrived (the server's {close} acknowledges its last byte), and "
_RELAYS = (
    "A TCP relay behind which nothing listens closes like this (docker-proxy, ssh -L, kubectl port-forward, a layer 4 "
    "balancer), and so does a server at its connection limit"
)
_LIMITED = (
    " Within a second after that close, the server responded on another connection. A server at its connection limit closes like "
    "this."
)
_AT_LIMIT = "Check whether the server is at its connection limit. "
_SUPPORTED = "Check whether the server supports this kind of request. "
_LISTEN = (
    "Check whether a program listens at the target of the relay, on that address and not only on 127.0.0.1. Check whether the "
    "server is at its connection limit. "
)
_RESTART = "Find out why the server's process ended. If it was restarted, have the new process listen before the old one stops. "
_EXPECTS_TLS = " So does a server that expects TLS, or a PROXY protocol header, on this port."
_TLS = "If the port expects TLS, have the client use https. "
_FOREIGN = (
    " Before the request, the client had sent {:,} bytes that are not HTTP/1.x, such as a PROXY protocol header. A server that "
    "does not expect them may close like this."
)
_FOREIGN_REMEDY = (
    "Find out what the client sends before its request. If it is a PROXY protocol header (haproxy: send-proxy, nginx: "
    "proxy_protocol on, AWS NLB: proxy protocol v2), have the server accept it, or have the client stop sending it. "
)
_PROXY_HEADER = 15
"""The length in bytes of the shortest PROXY protocol header, "PROXY UNKNOWN" (haproxy.org, proxy-protocol.txt section 2.1)."""
_LARGE_HEAD = " The request has a head of {} bytes; some servers close like this if a head exceeds their limit."
_SMALLEST = default("uWSGI", "buffer-size")
_LARGE_HEAD_REMEDY = (
    f"Compare the size of the head with the limits of the server (uWSGI buffer-size: {_SMALLEST} by default; Varnish "
    f"http_req_size: {default('Varnish', 'http_req_size')}), and have the client send fewer or smaller cookies. "
)
_LOG = "Check the logs of the server and of the program behind it at that time for "
_FIND_PROCESS = (
    _LOG + "what ends or restarts its processes (a limit of requests per worker, a reload, memory exhaustion). Have a process "
    "answer all accepted requests before it ends. "
)
_BEHIND_GATEWAY = {
    "at-once": " If the server is a gateway (HAProxy, Apache httpd), perhaps a server behind it failed.",
    "later": "; or, if the server is a gateway (HAProxy, Apache httpd), a server behind it failed",
}
_CAPTURE_BOTH = "If the server is a gateway, capture both sides on it (tcpdump -i any): that shows which server behind it failed."
_SAY = "A server that cannot answer should send a status (500, 503, 504) before it closes."

RULE = Rule(
    symptom="*empty reply from server*, a 502",
    severity={**dict.fromkeys(("on-arrival", "mid-request", "unread", "at-once", "later"), "error"), "half-closed": "warning"},
    title={
        "on-arrival": "The server{or_device} closed a fresh connection as soon as it had accepted it, without a response",
        "mid-request": "The server{or_device} closed the connection in the middle of a request, without a response",
        "unread": "The server{or_device} reset the connection instead of responding",
        "at-once": "The server{or_device} closed the connection at once, without an answer",
        "later": "The server{or_device} closed the connection without an answer, {wait} after the request",
        "half-closed": "The server closed the connection without an answer after the client's FIN",
    },
    message={
        "on-arrival": "The server's {close} came {accepted} after its SYN-ACK, before the server had sent any data, and "
        "acknowledges nothing of {request}, the first request of the connection.{behind}{doubt}{ended}{relays}"
        "{repeatable}",
        "mid-request": "When the server{or_device} closed the connection ({close}), {came:,} {of_due} of {request} had arrived. "
        "The server sent no byte of a response{interim_only}.{behind}{doubt}{paused}{ended}{body_limit}",
        "unread": "{lead}{request}{unread_how}{interim_only}.{behind}{first_use}{doubt}{relays}{large_head}{ended} {happens} "
        "if {unread_why} looks the same. A request that no process has read can be repeated, whatever its method. The server's "
        "log shows whether this request was read.",
        "at-once": _TAKEN + "the server{or_device} closed the connection {wait}{moment} without a byte of a "
        "response{interim_only}.{behind}{first_use}{doubt}{relays}{large_head}{ended} {a_close} this soon {means} that the "
        "server closed on purpose (nginx: return 444; a firewall rule; an aborted handler), or that a process ended as "
        "it took the request.{used_before}{behind_gateway} The client cannot know whether the request was carried out.",
        "later": _TAKEN + "the server{or_device} closed the connection {wait}{moment} without a byte of a "
        "response{interim_only}.{behind}{doubt}{ended} {a_process} had the request, and ended or gave "
        "up{behind_gateway}.{worker_limit} The client cannot know whether the request was carried out.",
        "half-closed": (
            "The client sent its FIN {closed_after} after {request}. A client may half-close like this and wait for the "
            "response; a client that has closed and wants no response looks the same. {wait} after the request the server "
            "closed the connection ({close}) without a byte of a response: it took the FIN to mean that the client had left."
        ),
    },
    remedy={
        "on-arrival": "{find_sender}{listen}" + _SAY,
        "mid-request": "{find_sender}{body_remedy}",
        "unread": "{find_sender}{listen}{head_remedy}{unread_remedy}Have the client repeat a request if the server's log shows "
        "that it was not read.",
        "at-once": "{find_sender}{listen}{head_remedy}"
        + _LOG
        + "a rule that drops requests on purpose, or a process that ended. "
        + _SAY,
        "half-closed": "If the client wants the response, have it keep its side of the connection open until the response has "
        "come (nc without -N; no shutdown(SHUT_WR) after a request). Or have the server go on when the client half-closes: "
        "nginx proxy_ignore_client_abort on, haproxy no option abortonclose.",
        "later": "{find_sender}"
        + _LOG
        + "a process that ended, a worker that was killed for taking too long or too much memory, or a handler "
        "that closed the connection. " + _SAY,
    },
    references=(
        Reference("RFC 9110 section 15.6, server errors", "https://www.rfc-editor.org/rfc/rfc9110.html#section-15.6"),
        Reference("RFC 9112 section 9.6, tear-down", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.6"),
        Reference("RFC 1122 section 4.2.2.13, closing a connection", "https://www.rfc-editor.org/rfc/rfc1122.html#page-87"),
        Reference("nginx, client_body_timeout", "https://nginx.org/en/docs/http/ngx_http_core_module.html#client_body_timeout"),
    ),
    explained_by=(
        ("reset-destroys-response", "connection"),
        ("unanswered", "exchange"),
        ("gateway-error", "exchange"),
        ("keep-alive-race", "exchange"),
        ("malformed-head/speaks-first", "exchange"),
        ("wrong-protocol", "connection"),
        *BROKEN_BEFORE,
    ),
    caused_by=(("framing", "exchange"), ("truncated-response", "connection")),
    advice=(
        Advice("server", "", _CAPTURE_BOTH, "behind_gateway"),
        Advice("server", "nginx", "nginx: the directive return 444 closes without an answer on purpose."),
        *advice("work", "server"),
        Advice("server", "gunicorn", "gunicorn: --max-requests ends a worker after that many requests.", "not_read"),
        Advice("server", "IIS|Microsoft", "IIS: http.sys logs dropped requests in %SystemRoot%\\System32\\LogFiles\\HTTPERR."),
        Advice("server", "Apache", 'Apache httpd: if a signal killed a child process, the error log contains "exit signal".'),
    ),
    timeless=("mid-request", "unread", "at-once", "later"),
    absence=True,
    ends=True,
)

PAUSE = Threshold(
    "1 s",
    "the minimum pause in a body after which the client or the path counts as stopped; pauses in a body that is still being "
    "sent are shorter",
)
TIME_LIMIT = Threshold(
    "1 s",
    "a time limit for receiving requests may explain a close at least this long after the beginning of an unfinished request; "
    "such limits are seldom shorter",
)
LARGE_HEAD = Threshold(
    "4000 bytes",
    "the minimum size of a request head that may be the reason for a close; uWSGI's default "
    f"limit is {_SMALLEST}, that of most servers 8 to 60 kB",
)
SHARED_THRESHOLDS = (lost_requests, clients)

_KINDS = {
    **{ON_ARRIVAL: "on-arrival", IN_PART: "mid-request", NOT_READ: "unread", IMMEDIATE: "at-once", AFTER_A_WHILE: "later"},
    HALF_CLOSED: "half-closed",
}


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    # a close that came before a later request is a race
    return _may_be_lost() & (_may_be_lost() & (~closed_against_request() | (c("exchange") == 0))).any()


def _may_be_lost() -> pl.Expr:
    """Return an expression that is true for all rows that may become candidates."""
    answered = c("has_response") & (c("upgraded") | ~((c("response_status") < 200) | c("response_status").is_in([400, 408])))
    return c("server_close_frame").is_not_null() & c("has_request") & ~answered


class Facts(NamedTuple):
    """What is known of a request without a response. Times and durations are in ns.

    `wait`: from the end of the request to the close; None if that is 0. `quiet`: from the last byte of the request to the close.
    `stood_still`: the client had paused in the middle of the request. `cut_head`: the close acknowledges only a part of the head.
    `idle`: how long the connection had been idle when the request came, if it had been used before. `left_early`: the columns of
    left_early.early for kind half-closed. `foreign_bytes`: sent before the first request. `other_mac`: the MAC address of the
    RST, if it shows that another machine than the server sent it.

    `again`: a Repetition. `closed_others`, `refused_syns`: how many other connections the server closed, and how many SYNs it
    refused, if that shows the end of a process. `limited`, `relayed`: the server seems to be at its connection limit, or to be a
    relay. `stalled_frame`, `stalled_time`: the packet with which the server closed its receive window, if the client paused
    because of that. `retry`: a gateway repeated the request (gateways.tries.RETRY).
    """

    connection: int
    exchange: int
    kind: str
    frame: int
    start: int
    endpoint: int
    final_at: int
    wait: int | None
    quiet: int
    stood_still: bool
    awaits_continue: bool
    no_ack: bool
    other_mac: int | None
    first_use: bool
    interim_status: int | None
    came: int
    cut_head: bool
    foreign_bytes: int | None
    requests: int
    idle: int | None
    left_early: Mapping[str, Any]
    request_last_frame: int
    request_end: int
    request_framing: str
    request_head_bytes: int | None
    request_body_due: int | None
    accepted_frame: int | None
    accepted_time: int | None
    client_close_frame: int | None
    client_close_time: int | None
    server_close_frame: int
    server_close_time: int
    server_close_rst: int
    server_close_origin: str | None
    ended_at: int
    round_trip: int
    to_client: int
    severity: str | None
    again: Mapping[str, Any] | None
    retry: Mapping[str, Any] | None
    closed_others: int
    refused_syns: int
    limited: bool
    relayed: bool
    stalled_frame: int | None
    stalled_time: int | None


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each unanswered request, unless it was lost at the close of an idle connection."""
    # the other conditions need many more columns
    return _unanswered(closes.filter(_may_be_lost()).collect().lazy()).select(_columns())


@cached_for_thresholds
def _columns() -> list[pl.Expr | str]:
    """Return the columns of a candidate."""
    half = c("took") == HALF_CLOSED
    wait = (c("server_close_time") - c("request_end")).clip(0)
    no_ack = is_reset_without_ack("server")
    doubted = has_doubtful_close("server")
    # whether the request was read is only inferred, and so is the delay if the round trip is unknown
    inferred = half | (c("took") == NOT_READ) | ((c("took") == AFTER_A_WHILE) & c("later").is_null())
    # such an RST shows only that its sender does not know the connection
    inferred |= (c("took") == IN_PART) & no_ack
    # only the RST of a machine that does not know the connection shows another MAC address
    elsewhere = no_ack & c("server_rst_mac").is_not_null()
    unsure = no_ack & ~c("server_rst_answers_request") & ~elsewhere
    sure = pl.when(unsure).then(pl.lit("low")).otherwise(confidence((inferred & ~elsewhere) | doubted))
    quiet = _time_without_request_bytes()
    stood_still = (c("took") == IN_PART) & (quiet >= PAUSE.value) & ~_awaits_continue()
    side = pl.when(stood_still | elsewhere | (doubted & ~half)).then(None).otherwise(pl.lit("server"))
    end = pl.max_horizontal("request_end", "server_close_time")
    kind = c("took").replace_strict(_KINDS, return_dtype=pl.String)
    nothing = {"closed_others": 0, "refused_syns": 0, "limited": False, "relayed": False}
    return [
        *candidate(side, sure, "request_frame", "request_start", end, kind=kind),
        pl.when(wait > 0).then(wait).cast(DURATION).alias("wait"),
        pl.when(fresh()).then(c("server_close_time") - c("accepted_time")).clip(0).cast(DURATION).alias("accepted"),
        pl.when(half).then((c("client_close_time") - c("request_end")).clip(0)).cast(DURATION).alias("closed_after"),
        quiet.alias("quiet"),
        stood_still.alias("stood_still"),
        _awaits_continue().alias("awaits_continue"),
        no_ack.alias("no_ack"),
        pl.when(elsewhere).then("server_rst_mac").alias("other_mac"),
        fresh().alias("first_use"),
        pl.when(only_interim()).then("response_status").alias("interim_status"),
        _arrived_bytes().alias("came"),
        _cut_head().alias("cut_head"),
        pl.when(_follows_other_bytes()).then("request_offset").alias("foreign_bytes"),
        pl.when(c("rested") > 0).then("idle").alias("idle"),
        pl.struct(FACTS).alias("left_early"),
        *("endpoint", "final_at", "requests", "request_last_frame", "request_end"),
        *("request_framing", "request_head_bytes", "request_body_due", "accepted_frame", "accepted_time"),
        *("client_close_frame", "client_close_time", "server_close_frame", "server_close_time", "server_close_rst"),
        *("server_close_origin", "ended_at", "round_trip", "to_client", "due", "waited", "severity", "again", "retry"),
        *(pl.lit(value).alias(name) for name, value in nothing.items()),
        *(pl.lit(None, pl.Int64).alias(name) for name in ("stalled_frame", "stalled_time")),
    ]


def _follows_other_bytes() -> pl.Expr:
    """Return whether the connection began with bytes that are not HTTP/1.x, at least as many as in a PROXY protocol header."""
    begins = (c("exchange") == 0) & c("handshake") & c("both_directions") & ~c("gap_before")
    return (begins & (c("request_offset") >= _PROXY_HEADER)).fill_null(value=False)


def _unanswered(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows of `closes` whose request was left without a response."""
    lost = find_lost(closes).filter(c("took").is_in([*_KINDS])).with_columns(*repetition_columns())
    return pl.concat([lost, _half_closed(closes)], how="diagonal_relaxed")


def _half_closed(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows of `closes` whose client half-closed and got no response.

    Add the columns of `find_lost` (lost_requests.py) and FACTS (left_early.py).
    """
    nothing = [pl.lit(None, pl.Int64).alias(name) for name in ("idle", "rested", "later")]
    rows = early(closes.filter(may_be_early() & ~pl.col("has_response"))).filter("half_closed")
    return rows.with_columns(
        pl.lit(HALF_CLOSED).alias("took"), pl.lit(1, pl.Int64).alias("requests"), pl.lit(value=False).alias("at_limit"), *nothing
    )


# in the middle of a request


def _time_without_request_bytes() -> pl.Expr:
    """Return the time (ns) from the last byte of the request to the server's close."""
    newest = pl.when(c("last_payload_role") == CLIENT).then("last_payload_time")
    last = pl.when(c("request_end") <= c("server_close_time")).then("request_end").otherwise(newest)
    return (c("server_close_time") - last).fill_null(0).clip(0)


def _awaits_continue() -> pl.Expr:
    """Return whether the client was waiting for a 100 Continue that did not come."""
    return c("request_expect_continue") & ~c("has_response") & (c("request_body_bytes") == 0).fill_null(value=True)


def _arrived_bytes() -> pl.Expr:
    """Return how many bytes of the body the close acknowledges; if the head is incomplete, bytes of the head.

    For chunked bodies, and for a close without ACK number, return how many bytes were captured.
    """
    taken = pl.coalesce("server_close_ack", "request_end_offset") - c("request_offset")
    body = (taken - c("request_head_bytes")).clip(0)
    seen = c("request_body_bytes").fill_null(0)
    sized = c("request_framing") == "content-length"
    return pl.when(_cut_head()).then(taken).when(sized).then(pl.min_horizontal(body, "request_body_due")).otherwise(seen)


def _cut_head() -> pl.Expr:
    """Return whether the close acknowledges only a part of the head."""
    return (c("request_arrived") <= PART_OF_HEAD).fill_null(value=False)


# the decision

ASKS = (Servers, Clients, Aborts, Responses)
ORDER = ("ended_at", "connection")


def decide(x: Facts, world: World) -> Facts | Wait | None:
    """Add what the server's other connections show about the close, and how the client repeated the request.

    Drop half-closed candidates that client-abort reports with another kind.
    """
    known = world.of(Clients)
    if x.kind == "half-closed":
        row = {**x.left_early, "connection": x.connection, "exchange": x.exchange}
        if reason_of(row, world).kind != "half-closed":
            return None
    again = known.repetition(x.connection, x.exchange, x.ended_at, x.round_trip, x.to_client)
    if (wait := again.wait(world)) is not None:
        return wait
    return _with_facts_of_server(x._replace(severity=again.severity, again=again._asdict()), world)


def _with_facts_of_server(x: Facts, world: World) -> Facts:
    """Add whether a server process ended, and whether the server is a relay or at its connection limit."""
    until = world.until(x.final_at + TOGETHER)
    server = world.of(Servers).at(x.endpoint, until)
    # a relay would accept the SYN, so no process listens any more
    refused = server.is_refused(x.server_close_time)
    responses = world.of(Responses)
    before, after = responses.near(x.endpoint, x.server_close_time, until)
    lives = responses.goes_on(x.endpoint, x.server_close_time, until)
    closed_others, refused_syns = (0, 0) if lives else _signs_of_end(x, server, refused=refused, answers_on=after)
    is_first = x.kind == "on-arrival" or (x.first_use and x.kind != "half-closed")
    return x._replace(
        closed_others=closed_others,
        refused_syns=refused_syns,
        # a server that answers no more may have ended with this close
        limited=is_first and not refused and after,
        relayed=is_first and not refused and not (before or after),
    )


def _signs_of_end(x: Facts, server: Server, *, refused: bool, answers_on: bool) -> tuple[int, int]:
    """Return two signs of the end of a server process: how many other connections it closed, and how many SYNs it refused.

    Connections count if they were closed at the same moment, and no idle timeout explains these closes. But a server that answers
    on may close each connection right after a response. `refused`: a SYN was refused soon after the close. `answers_on`: the
    server sent a response on another connection soon after the close.
    """
    if x.kind == "on-arrival":
        return 0, int(refused)
    since = x.start if x.exchange == 0 else 0
    together = server.closed_together(x.connection, x.server_close_time, since)
    limits = server.limits(x.connection) if together else []
    due = any(limit.how in ("sharp", "coarse", "announced") and all(map(limit.has, together)) for limit in limits)
    if due or (together and answers_on and all(0 < rest <= NO_IDLE_TIME for rest in together)):
        return 0, 0
    if together:
        return len(together), 0
    stop = server.stops.stop_at(x.server_close_time)
    return 0, int(refused) if stop is None else len(stop.refused)


# words


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the close and about its possible reasons."""
    close, doubted = fin_or_rst(x.server_close_rst), x.server_close_origin == "doubtful"
    itself = "If the server itself closed, a" if doubted else "A"
    reset = (_REJECTED if doubted else _UNKNOWN, _MOVED, _FIND_HOST) if x.no_ack else (_NOT_READ, _RECYCLED, _FIND_PROCESS)
    addition, repetition = repetition_words(x.again, x.ended_at)
    return {
        "close": close,
        "origin": sender_of_close(x.server_close_origin),
        **doubt_words(x.server_close_origin, x.server_close_rst),
        "moment": " later" if x.wait else "at the same moment",
        "interim_only": "" if x.interim_status is None else f" (except an interim {x.interim_status})",
        "behind": also_lost(x.requests),
        "repeatable": "" if doubted else _REPEATABLE,
        "a_close": f"{itself} close",
        "a_process": f"{itself} process",
        "lead": "" if x.no_ack else "The RST acknowledges the last byte of ",
        **dict(zip(("unread_how", "unread_why", "unread_remedy"), reset, strict=True)),
        "first_use": " It was the first request of a fresh connection." if x.first_use else "",
        "not_read": x.kind == "unread",
        "used_before": _CLOSING.format(duration_text(x.idle)) if x.idle is not None and x.idle > 0 else "",
        # gateways close silently only if the client can take the close for the end of an idle connection
        "behind_gateway": _BEHIND_GATEWAY.get(x.kind, "") if x.exchange > 0 else "",
        "worker_limit": _worker_limit(x.wait or 0),
        "ended": _process_end(x),
        **_refused(x),
        **_unfinished(x),
        **({} if x.other_mac is None else _elsewhere(x.other_mac)),
        "addition": retry_sentence(x.retry) or addition,
        "evidence": packets(*_packets(x, close), repetition, (x.stalled_frame, x.stalled_time, _CLOSED_WINDOW)),
    }


def _elsewhere(mac: int) -> dict[str, str]:
    """Return the words about an RST of another machine than the server; `mac`: its address."""
    doubt = f" No FIN was captured: {another_machine(mac)}."
    nothing = dict.fromkeys(("paused", "ended", "relays", "body_limit", "listen"), "")
    remedies = dict.fromkeys(("unread_remedy", "body_remedy"), FIND_MACHINES)
    return {**nothing, **remedies, "title": _ELSEWHERE, "doubt": doubt, "unread_why": _TAKEN_OVER}


def _process_end(x: Facts) -> str:
    """Return a sentence saying that a server process ended; "" if nothing shows this."""
    if x.kind == "on-arrival":
        text = " Less than a second later, a SYN to the same port was refused: the process that listened there had ended."
        return text if x.refused_syns else ""
    if x.closed_others:
        return (
            f" Within {duration_text(TOGETHER)} the server closed {other_connections(x.closed_others)}: a server process ended."
        )
    syns = "A SYN was" if x.refused_syns == 1 else f"{x.refused_syns:,} SYNs were"
    return f" {syns} refused after that: a server process ended." if x.refused_syns else ""


def _refused(x: Facts) -> dict[str, str]:
    """Return the words about a server that accepts no such request: a relay, a limit, bytes that it does not expect, a head."""
    came, large = x.kind != "on-arrival", (x.request_head_bytes or 0) >= LARGE_HEAD.value
    relays = listen = ""
    if x.foreign_bytes:
        relays, listen = _FOREIGN.format(x.foreign_bytes), _FOREIGN_REMEDY
    elif x.relayed:
        relays, listen = f" {_RELAYS}.{_EXPECTS_TLS if came else ''}", f"{_LISTEN}{_TLS if came else ''}"
    elif x.limited:
        relays, listen = _LIMITED, f"{_AT_LIMIT}{_SUPPORTED if came else ''}"
    elif x.refused_syns and not came:
        listen = _RESTART
    head = (_LARGE_HEAD.format(x.request_head_bytes), _LARGE_HEAD_REMEDY) if large else ("", "")
    phrases = ("can also mean", "It also happens") if relays or large else ("means", "This happens")
    keys = ("relays", "listen", "large_head", "head_remedy", "means", "happens")
    return dict(zip(keys, (relays, listen, *head, *phrases), strict=True))


def _unfinished(x: Facts) -> dict[str, str]:
    """Return why the request was incomplete: a closed window, a missing 100 Continue, a pause, a time limit, or the process."""
    sending = x.server_close_time - x.start
    if x.stalled_time is not None:
        paused, remedy = _SERVER_STOPPED.format(duration_text(x.server_close_time - x.stalled_time)), _READ_BODY
    elif x.awaits_continue:
        paused, remedy = f" The client had sent Expect: 100-continue, and no 100 came within {duration_text(x.quiet)}.", _CONTINUE
    elif x.quiet >= PAUSE.value:
        paused = f" No byte had come for {duration_text(x.quiet)}: the client or the path had stopped, and the server gave up."
        remedy = _STILL
    elif sending >= TIME_LIMIT.value:
        paused, remedy = _SLOW.format(duration_text(sending)), _LOG_OF_BODY
    else:
        paused, remedy = " The client was still sending: a process of the server ended, or gave up the request.", _LOG_OF_BODY
    limit = _body_limit(x.quiet) if x.stood_still and x.stalled_time is None else ""
    return {"of_due": _of_due(x), "paused": paused, "body_remedy": remedy, "body_limit": limit}


def _of_due(x: Facts) -> str:
    if x.cut_head:
        return f"of the {x.request_head_bytes} bytes of the head"
    sized = x.request_framing == "content-length"
    return f"of the {x.request_body_due} bytes of the body" if sized else "bytes of the chunked body"


def _packets(x: Facts, close: str) -> list[tuple[int | None, int | None, str]]:
    """Return the packets of the request and of the closes."""
    in_part = x.kind == "mid-request"
    # data that the client sent after the close is not evidence
    in_time = not in_part or x.request_end <= x.server_close_time
    end = "the last captured bytes of the request" if in_part else "the request ends"
    note = with_doubt(x.server_close_origin, _close_note(x, close))
    return [
        (x.accepted_frame if x.kind == "on-arrival" else None, x.accepted_time, "the server's SYN-ACK"),
        (x.frame if in_part else None, x.start, "the request begins"),
        (x.request_last_frame if in_time else None, x.request_end, end),
        (x.client_close_frame if x.kind == "half-closed" else None, x.client_close_time, _CLIENT_FIN),
        (x.server_close_frame, x.server_close_time, note),
    ]


def _close_note(x: Facts, close: str) -> str:
    wait = duration_text(x.wait or 0)
    if x.kind == "on-arrival":
        return f"the server's {close}, which acknowledges no byte of the request"
    if x.kind == "mid-request":
        return f"the server's {close}: {x.came:,} {_of_due(x)} had arrived"
    if x.kind == "half-closed":
        return f"the server's {close}, {wait} after the request: no byte of a response came"
    if x.no_ack:
        return f"the server's RST without ACK flag, {wait} after the end of the request"
    return f"the server's {close}, which acknowledges the request, {wait} after its end; no response came before"


_SEEN_LATE = 2 * SECOND
"""The tolerance in ns for default times: the servers check their workers about once a second."""


def _expired(limits: str, waited: int) -> list[Setting]:
    """Return the settings of servers whose default had expired shortly before the end of a wait (ns)."""
    return [one for one in settings(limits, "server") if 0 <= waited - one.time <= _SEEN_LATE]


def _worker_limit(wait: int) -> str:
    """Return the sentence that names the servers whose worker timeout matches the wait (ns); "" if there are none."""
    whose = _expired("work", wait)
    return f" {whose[0].amount} is the default timeout for busy workers of {names(whose, '')}." if whose else ""


def _body_limit(quiet: int) -> str:
    """Return the sentence naming the servers whose timeout for the request body matches the pause (ns); "" if there are none."""
    whose = _expired("body", quiet + NEAR)
    return f" {whose[0].amount} is the default of {names(whose, '')}." if whose else ""


_UNKNOWN = " got an RST without ACK flag: the host did not know the connection. There was no response"
_ELSEWHERE = "No response: another machine answers for the server's address now"
_TAKEN_OVER = (
    "an address moves to another machine, or if two machines have it. A device in the same network that distributes connections"
)
_REPEATABLE = " The server never accepted the request, so it can be repeated."
_REJECTED = (
    " got an RST without ACK flag. A system that does not know the connection sends such an RST, and so does a firewall that "
    "rejects a packet. There was no response"
)
_MOVED = (
    "the host was restarted, or if a NAT or a balancer gives the packets of a connection another port, or sends them to another "
    "server. A device that resets on purpose"
)
_FIND_HOST = (
    "Find out whether the host was restarted at that time. If a NAT or a balancer is on the path, capture on both sides of it: "
    "the connection may have had another port or another server before. "
)
_RECYCLED = (
    "a worker is recycled, restarted, stopped or killed, or closes without having read the request. An application or a firewall "
    "that resets on purpose"
)
_NOT_READ = (
    ", so the server's kernel had received it. But a system sends an RST instead of a FIN if data is left unread (RFC 1122), so "
    "probably no process had read the request. There was no response"
)
_SLOW = (
    " The client was still sending, {} after the beginning of the request: a time limit of the server for receiving a request "
    "expired, or a process of the server ended, or gave up the request."
)
_SERVER_STOPPED = (
    " For {}, the server's receive window had been closed: the server no longer read the request, so the client waited."
)
_READ_BODY = (
    "Find out why the server stopped reading, and why it then closed. Check the server's log of that time for a process that "
    "hung, or that was stopped or killed. If the server is a proxy, the server behind it may not have read."
)
_CLOSED_WINDOW = "the server's window is closed: the server does not read"
_CLIENT_FIN = "the client's FIN: it has nothing more to send"
_CLOSING = " Or the process was already closing the connection, which had been idle for {}, when the request came."
_STILL = (
    "Find out why the client paused in the middle of the request body (a slow source, a suspended program, an interrupted path). "
    "If such pauses are normal, make the server's body timeout longer than these pauses (nginx client_body_timeout, Apache httpd "
    "RequestReadTimeout, haproxy timeout client, Node server.requestTimeout)."
)
_CONTINUE = (
    "Have the server answer Expect: 100-continue at once, with 100 or with a final status. Have the client send its body if no "
    "response comes within a second."
)
_LOG_OF_BODY = (
    _LOG + "a process that ended, was restarted or killed, a limit on memory or on the size of bodies, a time limit for "
    "receiving a request (Node server.requestTimeout, Tornado body_timeout, Go http.Server.ReadTimeout), or a handler that "
    "closed before it had read everything. " + _SAY
)

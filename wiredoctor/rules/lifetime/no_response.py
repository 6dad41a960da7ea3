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
    server's other packets, a device on the path may have sent it: the finding says so and blames no side.

    Kind on-arrival: the close acknowledges no byte of the first request and came less than a second after the SYN-ACK. If a SYN
    to the same port is refused within a second of the close, the process that listened there has ended. Otherwise a relay may
    have accepted the connection, unless the server responded on another connection within a second. Kind mid-request: the close
    acknowledges the beginning of the request. The body was not complete at that time, even if the client sent more afterwards. If
    no byte of the body had come for a while, the client or the path had stopped, unless the server's receive window was closed:
    then the server had stopped reading.

What it is not
    If a request on a reused connection crossed the server's close, keep-alive-race reports it. truncated-response reports a
    response that broke off, and client-abort a client that gave up first. If the client repeats a GET at once and gets its
    response, the finding is only a warning, unless the client sends the same request concurrently anyway. The finding is a note
    if the request is `OPTIONS *`, which asks what the server supports, and the client goes on with another request that is
    answered. Requests that the client sent after a response that announced the close are not counted, even if they were pipelined
    before it arrived. Neither is an upload that the client itself broke off. If the client did not answer two or more keep-alive
    probes before the server reset the connection, the client or the path was gone, and the request is not reported.
    reset-destroys-response reports an upload that was answered and then reset before its body was complete.

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
from typing import Any

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold, cached_for_thresholds
from wiredoctor.rules.shared import lost_requests
from wiredoctor.rules.shared.abort_reasons import decide
from wiredoctor.rules.shared.evidence import (
    candidate,
    close_origin,
    confidence,
    doubt_texts,
    evidence,
    fin_or_rst,
    has_doubtful_close,
    with_doubt,
)
from wiredoctor.rules.shared.left_early import FACTS, early
from wiredoctor.rules.shared.left_early import screen as may_be_early
from wiredoctor.rules.shared.lost_requests import (
    AFTER_A_WHILE,
    HALF_CLOSED,
    IMMEDIATE,
    IN_PART,
    NOT_READ,
    ON_ARRIVAL,
    also_lost_text,
    find_lost,
    fresh,
    only_interim,
    repetition_columns,
)
from wiredoctor.tables import CLIENT, PART_OF_HEAD, SECOND
from wiredoctor.text.durations import duration_text
from wiredoctor.world import clients
from wiredoctor.world.clients import Clients, beside_repetitions
from wiredoctor.world.connection_close import BROKEN_BEFORE, closed_against_request, is_reset_without_ack
from wiredoctor.world.idle_times import NEAR, TOGETHER, IdleTimes
from wiredoctor.world.learned_limits import NO_IDLE_TIME
from wiredoctor.world.numbers import DURATION, duration, grouped, other_connections
from wiredoctor.world.products import Setting, advice, default, names, settings

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
_BEHIND_GATEWAY_AT_ONCE = " If the server is a gateway (HAProxy, Apache httpd), perhaps a server behind it failed."
_BEHIND_GATEWAY = "; or, if the server is a gateway (HAProxy, Apache httpd), a server behind it failed"
_CAPTURE_BOTH = "If the server is a gateway, capture both sides on it (tcpdump -i any): that shows which server behind it failed."
_SAY = "A server that cannot answer should send a status (500, 503, 504) before it closes."

RULE = Rule(
    symptom="*empty reply from server*, a 502",
    severity={
        **dict.fromkeys(("on-arrival", "mid-request", "unread", "at-once", "later"), "error"),
        "half-closed": "warning",
    },
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


def screen() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    # a close that came before a later request is a race
    return _may_be_lost() & (_may_be_lost() & (~closed_against_request() | (c("exchange") == 0))).any()


def _may_be_lost() -> pl.Expr:
    """Return an expression that is true for all rows that may become candidates."""
    answered = c("has_response") & (c("upgraded") | ~((c("response_status") < 200) | c("response_status").is_in([400, 408])))
    return c("server_close_frame").is_not_null() & c("has_request") & ~answered


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
    kind = c("took").replace_strict(_KINDS, return_dtype=pl.String)
    # whether the request was read is only inferred, and so is the delay if the round trip is unknown
    inferred = half | (c("took") == NOT_READ) | ((c("took") == AFTER_A_WHILE) & c("later").is_null())
    sure = pl.when(no_ack & ~c("server_rst_answers_request")).then(pl.lit("low")).otherwise(confidence(inferred | doubted))
    said = pl.when(only_interim()).then(pl.format(" (except an interim {})", "response_status")).otherwise(pl.lit(""))
    early = fresh()
    large_head = (c("request_head_bytes") >= LARGE_HEAD.value).fill_null(value=False)
    quiet = _time_without_request_bytes()
    stood_still = (c("took") == IN_PART) & (quiet >= PAUSE.value) & ~_awaits_continue()
    side = pl.when(stood_still | (doubted & ~half)).then(None).otherwise(pl.lit("server"))
    end = pl.max_horizontal("request_end", "server_close_time")
    return [
        *candidate(side, sure, "request_frame", "request_start", end, kind=kind),
        pl.when(wait > 0).then(wait).cast(DURATION).alias("wait"),
        pl.when(wait > 0).then(pl.lit(" later")).otherwise(pl.lit("at the same moment")).alias("moment"),
        pl.when(early).then(c("server_close_time") - c("accepted_time")).clip(0).cast(DURATION).alias("accepted"),
        fin_or_rst("server_close_rst").alias("close"),
        close_origin("server"),
        said.alias("interim_only"),
        also_lost_text(),
        "requests",
        pl.when(no_ack).then(pl.lit("")).otherwise(pl.lit("The RST acknowledges the last byte of ")).alias("lead"),
        *doubt_texts(),
        pl.when(doubted).then(pl.lit("")).otherwise(pl.lit(_REPEATABLE)).alias("repeatable"),
        *(
            pl.when(doubted).then(pl.lit(f"If the server itself closed, a {it}")).otherwise(pl.lit(f"A {it}")).alias(f"a_{it}")
            for it in ("close", "process")
        ),
        pl.when(no_ack & doubted).then(pl.lit(_REJECTED)).when(no_ack).then(pl.lit(_UNKNOWN)).otherwise(pl.lit(_NOT_READ))
        .alias("unread_how"),
        pl.when(no_ack).then(pl.lit(_MOVED)).otherwise(pl.lit(_RECYCLED)).alias("unread_why"),
        pl.when(no_ack).then(pl.lit(_FIND_HOST)).otherwise(pl.lit(_FIND_PROCESS)).alias("unread_remedy"),
        pl.when(early).then(pl.lit(" It was the first request of a fresh connection.")).otherwise(pl.lit("")).alias("first_use"),
        ((early | (c("took") == ON_ARRIVAL)) & ~half).alias("on_fresh"),
        pl.when(_follows_other_bytes()).then("request_offset").alias("foreign_bytes"),
        pl.when(large_head).then(pl.format(_LARGE_HEAD, "request_head_bytes")).otherwise(pl.lit("")).alias("large_head"),
        pl.when(large_head).then(pl.lit(_LARGE_HEAD_REMEDY)).otherwise(pl.lit("")).alias("head_remedy"),
        pl.when(c("rested") > 0).then(_race_text(c("idle"))).otherwise(pl.lit("")).alias("used_before"),
        # gateways close silently only if the client can take the close for the end of an idle connection
        pl.when((c("exchange") > 0) & ~half).then(_behind_gateway()).otherwise(pl.lit("")).alias("behind_gateway"),
        (c("took") == NOT_READ).alias("not_read"),
        pl.when(half).then((c("client_close_time") - c("request_end")).clip(0)).cast(DURATION).alias("closed_after"),
        _arrived_bytes().alias("came"),
        _of_due().alias("of_due"),
        _pause_text(quiet).alias("paused"),
        pl.when(stood_still).then(pl.lit(_STILL)).when(_awaits_continue()).then(pl.lit(_CONTINUE)).otherwise(pl.lit(_LOG_OF_BODY))
        .alias("body_remedy"),
        pl.when(stood_still).then(quiet).alias("quiet_ns"),
        evidence(
            ("syn_ack_frame", "accepted_time", "the server's SYN-ACK"),
            ("begun_frame", "request_start", "the request begins"),
            ("ended_frame", "request_end", _end_note()),
            ("half_frame", "client_close_time", "the client's FIN: it has nothing more to send"),
            ("server_close_frame", "server_close_time", with_doubt(doubted, _close_note(wait, no_ack))),
        ),
        *("endpoint", "server_close_time", "final_at"),
        wait.alias("wait_ns"),
        *FACTS,
    ]  # fmt: skip


def _follows_other_bytes() -> pl.Expr:
    """Return whether the connection began with bytes that are not HTTP/1.x, at least as many as in a PROXY protocol header."""
    begins = (c("exchange") == 0) & c("handshake") & c("both_directions") & ~c("gap_before")
    return (begins & (c("request_offset") >= _PROXY_HEADER)).fill_null(value=False)


def _unanswered(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows of `closes` whose request was left without a response, with the frames of the evidence."""
    lost = (
        find_lost(closes)
        .filter(c("took").is_in([*_KINDS]))
        .with_columns(*repetition_columns(), pl.lit(None, pl.Int64).alias("waited"))
    )
    # data that the client sent after the close is not evidence
    in_time = (c("took") != IN_PART) | (c("request_end") <= c("server_close_time"))
    return pl.concat([lost, _half_closed(closes)], how="diagonal_relaxed").with_columns(
        pl.when(c("took") == ON_ARRIVAL).then("accepted_frame").alias("syn_ack_frame"),
        pl.when(c("took") == IN_PART).then("request_frame").alias("begun_frame"),
        pl.when(in_time).then("request_last_frame").alias("ended_frame"),
        pl.when(c("took") == HALF_CLOSED).then("client_close_frame").alias("half_frame"),
    )


def _half_closed(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows of `closes` whose client half-closed and got no response.

    Add the columns of `find_lost` (lost_requests.py) and FACTS (left_early.py).
    """
    nothing = [pl.lit(None, pl.Int64).alias(name) for name in ("idle", "rested", "later")]
    rows = early(closes.filter(may_be_early() & ~pl.col("has_response"))).filter("half_closed")
    return rows.with_columns(
        pl.lit(HALF_CLOSED).alias("took"), pl.lit(1, pl.Int64).alias("requests"), pl.lit(value=False).alias("at_limit"), *nothing
    )


def by_clients(rows: pl.DataFrame, clients: Clients) -> pl.DataFrame:
    """Reduce the severity of the candidates whose request the client repeated successfully.

    Drop half-closed candidates that client-abort reports with another kind.
    """
    kept = [row["kind"] != "half-closed" or decide(row, clients).kind == "half-closed" for row in rows.iter_rows(named=True)]
    return beside_repetitions(rows.filter(pl.Series(kept, dtype=pl.Boolean)), clients)


def by_limits(rows: pl.DataFrame, rests: IdleTimes, *, live: bool) -> pl.DataFrame:
    """Add the texts about the reason for the close: a server process that ended, a relay, or a default timeout that matches.

    `live`: use only what was known when the candidate became final.
    """
    untils = [row["final_at"] + TOGETHER if live else None for row in rows.iter_rows(named=True)]
    refused = [
        # a relay would accept the SYN, so no process listens any more
        rests.is_refused(row["endpoint"], row["server_close_time"], until)
        for row, until in zip(rows.iter_rows(named=True), untils, strict=True)
    ]
    answers = rests.answered_near(rows["endpoint"], rows["server_close_time"], untils)
    fresh_ones = [first and not down for first, down in zip(rows["on_fresh"], refused, strict=True)]
    # a server that answers no more may have ended with this close
    limited = [first and after for first, (_, after) in zip(fresh_ones, answers, strict=True)]
    relays = [first and not (before or after) for first, (before, after) in zip(fresh_ones, answers, strict=True)]
    restarts = [down and kind == "on-arrival" for kind, down in zip(rows["kind"], refused, strict=True)]
    ended = [
        _process_end_text(row, rests, until, refused=down, answers_on=after)
        for row, until, down, (_, after) in zip(rows.iter_rows(named=True), untils, refused, answers, strict=True)
    ]
    workers = [_worker_limit(wait) for wait in rows["wait_ns"]]
    bodies = [_body_limit(quiet) for quiet in rows["quiet_ns"]]
    arrived = rows["kind"] != "on-arrival"
    others = [bool(relay or down or foreign) for relay, down, foreign in zip(relays, limited, rows["foreign_bytes"], strict=True)]
    others = [other or bool(head) for other, head in zip(others, rows["large_head"], strict=True)]
    said = {
        "means": ["can also mean" if other else "means" for other in others],
        "happens": ["It also happens" if other else "This happens" for other in others],
        **{"ended": ended, "worker_limit": workers, "body_limit": bodies},
        "relays": [
            _FOREIGN.format(foreign)
            if foreign
            else f" {_RELAYS}.{_EXPECTS_TLS if came else ''}"
            if relay
            else _LIMITED
            if answer
            else ""
            for foreign, relay, answer, came in zip(rows["foreign_bytes"], relays, limited, arrived, strict=True)
        ],
        "listen": [
            _FOREIGN_REMEDY
            if foreign
            else f"{_LISTEN}{_TLS if came else ''}"
            if relay
            else f"{_AT_LIMIT}{_SUPPORTED if came else ''}"
            if answer
            else _RESTART
            if down
            else ""
            for foreign, relay, answer, down, came in zip(rows["foreign_bytes"], relays, limited, restarts, arrived, strict=True)
        ],
    }
    return rows.with_columns(pl.Series(name, texts, pl.String) for name, texts in said.items())


def _process_end_text(
    row: Mapping[str, Any], rests: IdleTimes, until: int | None, *, refused: bool, answers_on: bool
) -> str:  # fmt: skip
    """Return a sentence saying that a server process ended; "" if nothing shows this.

    The evidence: at the same moment, the server closed other connections although no idle timeout explains these closes, or it
    refused SYNs after that. But a server that answers on may close each connection right after a response. `until`: use only what
    was known at this time (ns); None for everything. `refused`: a SYN was refused soon after the close. `answers_on`: the server
    sent a response on another connection soon after the close.
    """
    if row["kind"] == "on-arrival":
        text = " Less than a second later, a SYN to the same port was refused: the process that listened there had ended."
        return text if refused else ""
    since = row["start"] if row["exchange"] == 0 else 0
    together = rests.closed_together(row["endpoint"], row["connection"], row["server_close_time"], until, since)
    limits = rests.limits(row["endpoint"], row["connection"], until) if together else []
    due = any(limit.how in ("sharp", "coarse", "announced") and all(map(limit.has, together)) for limit in limits)
    if due or (together and answers_on and all(0 < rest <= NO_IDLE_TIME for rest in together)):
        return ""
    others = len(together)
    if not others:
        stop = rests.stops(row["endpoint"], until).stop_at(row["server_close_time"])
        number = len(stop.refused) if stop is not None else int(refused)
        return (
            f" {'A SYN was' if number == 1 else f'{number:,} SYNs were'} refused after that: a server process ended."
            if number
            else ""
        )
    return f" Within {duration_text(TOGETHER)} the server closed {other_connections(others)}: a server process ended."


_SEEN_LATE = 2 * SECOND
"""The tolerance in ns for default times: the servers check their workers about once a second."""


def _expired(limits: str, waited: int) -> list[Setting]:
    """Return the settings of servers whose default had expired shortly before the end of a wait (ns)."""
    return [one for one in settings(limits, "server") if 0 <= waited - one.time <= _SEEN_LATE]


def _worker_limit(wait: int) -> str:
    """Return the sentence that names the servers whose worker timeout matches the wait (ns); "" if there are none."""
    whose = _expired("work", wait)
    return f" {whose[0].amount} is the default timeout for busy workers of {names(whose, '')}." if whose else ""


def _body_limit(quiet: int | None) -> str:
    """Return the sentence naming the servers whose timeout for the request body matches the pause (ns); "" if there are none."""
    whose = _expired("body", quiet + NEAR) if quiet is not None else []
    return f" {whose[0].amount} is the default of {names(whose, '')}." if whose else ""


_UNKNOWN = " got an RST without ACK flag: the host did not know the connection. There was no response"
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


def _behind_gateway() -> pl.Expr:
    """Return the text about another possible cause: a gateway closed because a server behind it had failed; otherwise ""."""
    text = pl.when(c("took") == IMMEDIATE).then(pl.lit(_BEHIND_GATEWAY_AT_ONCE)).when(c("took") == AFTER_A_WHILE)
    return text.then(pl.lit(_BEHIND_GATEWAY)).otherwise(pl.lit(""))


def _race_text(rest: pl.Expr) -> pl.Expr:
    closing = " Or the process was already closing the connection, which had been idle for {}, when the request came."
    return pl.format(closing, duration(rest))


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


def _of_due() -> pl.Expr:
    sized = c("request_framing") == "content-length"
    return (
        pl.when(_cut_head())
        .then(pl.format("of the {} bytes of the head", "request_head_bytes"))
        .when(sized)
        .then(pl.format("of the {} bytes of the body", "request_body_due"))
        .otherwise(pl.lit("bytes of the chunked body"))
    )


def _pause_text(quiet: pl.Expr) -> pl.Expr:
    """Return the text that says why the request was incomplete: a missing 100 Continue, a pause, a time limit, or the server's
    process.
    """
    still = pl.format(" No byte had come for {}: the client or the path had stopped, and the server gave up.", duration(quiet))
    waits = pl.format(" The client had sent Expect: 100-continue, and no 100 came within {}.", duration(quiet))
    sending = c("server_close_time") - c("request_start")
    slow = pl.format(
        " The client was still sending, {} after the beginning of the request: a time limit of the server for receiving a "
        "request expired, or a process of the server ended, or gave up the request.",
        duration(sending),
    )
    busy = pl.lit(" The client was still sending: a process of the server ended, or gave up the request.")
    reason = pl.when(_awaits_continue()).then(waits).when(quiet >= PAUSE.value).then(still)
    return reason.when(sending >= TIME_LIMIT.value).then(slow).otherwise(busy)


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


def _end_note() -> pl.Expr:
    part = pl.col("took") == IN_PART
    return pl.when(part).then(pl.lit("the last captured bytes of the request")).otherwise(pl.lit("the request ends"))


def _close_note(wait: pl.Expr, no_ack: pl.Expr) -> pl.Expr:
    half = pl.format(
        "the server's {}, {} after the request: no byte of a response came", fin_or_rst("server_close_rst"), duration(wait)
    )
    part = pl.format("the server's {}: {} {} had arrived", fin_or_rst("server_close_rst"), grouped(_arrived_bytes()), _of_due())
    closer = fin_or_rst("server_close_rst")
    taken = pl.format(
        "the server's {}, which acknowledges the request, {} after its end; no response came before", closer, duration(wait)
    )
    nothing = pl.format("the server's {}, which acknowledges no byte of the request", closer)
    without = pl.format("the server's RST without ACK flag, {} after the end of the request", duration(wait))
    first = pl.when(c("took") == ON_ARRIVAL).then(nothing).when(c("took") == IN_PART).then(part)
    first = first.when(c("took") == HALF_CLOSED).then(half)
    return first.when(no_ack).then(without).otherwise(taken)

"""The client closed the connection before it had received its response.

What it means
    The client closed or reset the connection while the response was due or incomplete. Often no timeout was involved: a
    program ended, a user left a page, or the next request replaced this one. The packets around the close show the reason.

    The first kind that fits is reported:

    - stopped: the client closed several connections at once: a program, a test or a browser tab ended, or canceled all its
      requests.
    - unread: the client did not want the response. It closed right after its request, or as soon as it had the head of the
      response.
    - repeated: the client closed as soon as it had the head of the response, and requested the same range again and again.
    - superseded: the next request replaced this one (as in a search field that queries at every keystroke), or the client
      had sent the request twice and the other copy got the response.
    - left: the user left while a page was loading, or ended the request in another way. That is assumed, for example, if the
      client had once waited longer for the response to such a request, so no timeout can have expired now.
    - seek: the client requested another part of the same resource, as players and download managers do.
    - stream: the response came in pieces without an announced end.
    - timeout: a timeout of the client expired.
    - gave-up: anything else.

Why it hurts
    The work of the server was wasted. The client often repeats the request, so the load grows just when the server is slow.
    The server's log shows a 499 (nginx), a "broken pipe", or a "client prematurely closed connection".

How it is proved
    The client sent an RST that does not acknowledge the end of the response, or a FIN after which the response was not
    completed. If the client closed its socket completely, its TCP sends a FIN and answers later data with an RST. That data
    does not count as received. The response may have been sent completely: if a segment was lost, and the FIN comes before
    its retransmission, the client did not receive the rest.

    Kind stopped: within 50 ms, the same host closed several connections while it was waiting for responses. One of these
    must be true:

    - It closed three or more connections, to any servers, after clearly different waits. Waits that match a usual timeout (such
      as 1, 5, 10, 30 or 60 s) do not count.
    - It closed two or more connections to one server. No wait matches a usual timeout, and the same client requested nothing
      more from that server. Connections on which it sent nothing do not matter. Nor do further requests if it had waited for less
      than 20 ms, which is shorter than any timeout: another run of a program may follow at once.
    - It closed three or more connections to one server, and no wait matches a usual timeout. Further requests do not matter. But
      for each of the requests, the client had earlier waited at least as long for the response to a similar one.

    The first two conditions do not apply if each connection had its own timeout: the closes are spread over 4 ms or more, each of
    the requests was the first on its connection, and the times from the SYNs to the closes differ by at most a quarter of that
    spread. Nor does the second apply if the waits for one server differ by at most a quarter of the spread. None of the three
    applies if one time limit for three or more requests together may have expired: the oldest request waited for a usual timeout,
    or for a multiple of half a second up to 10 s, and the client contacts the server again within 5 s. Each request is then of
    kind timeout or gave-up.

    Kind unread, if one of these is true:

    - The close acknowledges the head of the response, and came as soon as the client could have received the head. If the
      head has 4,000 bytes or more, and no byte of the body had come, the client may have rejected it: the head may exceed its
      limit. An RST that does not fit the client's other packets (TTL, IP identification, time) is not reported: a device on
      the path may have sent it, and the report lists the exchange under "Not judged".
    - The close came later than that, but within 1 s, and data was coming without a pause. Within 5 s before and after it, the
      same client closed three or more times as soon as it had the head of the response to the same request. So this close was
      only delayed on the path. This does not apply if the wait matches a usual timeout.
    - The FIN came with the end of the request, and the client had never waited for the response to such a request before.

    Kind repeated: the conditions of kind unread apply to the close. The request has a Range field. Within 5 s before and after
    the close, the same client closed two or more other connections as soon as it had the head of the response to the same request
    (for bytes from the same position on, and with a body of the same announced size). Players of media, which look at a file
    several times, are excluded.

    Kind superseded, if one of these is true:

    - At the time of the close, the same client (host and User-Agent) requested the same path with another query, by GET or HEAD,
      and the wait matches no usual timeout. This does not apply if the client ended several waits within 5 s, and all of them
      were about as long as this one: that is a timeout.
    - The client had sent the same request on another connection, and the response to that copy had just come. If more than
      one copy got its response during this wait, this does not apply.

    Kind left, if one of these is true:

    - The client had waited less than 4 s, and within half a second of the close it requested a page or received one. If the wait
      matches a usual timeout, it must have requested the page before the close.
    - The client had requested a page at most 4 s before this request, waited less than 4 s, and then requested nothing for
      5 s.
    - The client had once waited longer for the response to such a request, which a client with a shorter timeout does not do.
    - The client plays audio or video (media type, User-Agent), and data was coming.
    - The client closed within a round trip of the end of its request, before any response could have come, or shortly after
      that, while a response was on its way.

    Two restrictions apply to the longer waits of the third condition. If the present wait matches a usual timeout, only longer
    waits on the same connection or for the same target count, because several programs of a host may have one User-Agent. If the
    response to the present request had begun, an earlier wait is measured until the end of its response. Such waits count only if
    the present response has no Content-Length, as in some long polls, and the present wait matches no usual timeout.

    Kind seek: within five seconds, the client requested another range of the same resource, or all of it instead of a range.
    Or it canceled a range within 50 ms of closing another connection, which had delivered another part, or all, of the resource.
    But a client did not seek if nothing had come for 1.5 s, and it then requested the rest from exactly the byte where the
    data had stopped: it resumed a download that had stalled.

    Kind stream: the response has no Content-Length. In addition, one of these is true:

    - The application paused between the parts of the response.
    - The media type is that of a stream.
    - Small chunks (20 or more, 1,000 bytes at most) came for 2 s or longer until the client closed, with less than 1,000
      bytes per round trip.

    Kind timeout: the time since the request, since the SYN, or since the last byte is a usual timeout. If the SYN had to be
    repeated, any whole number of seconds since the first SYN counts as a timeout. The named timeout is approximate, because
    timers may be late: those of fetch and undici in Node by up to 1 s. If the client closed idle connections to the same server
    within 1 ms, its program may have ended instead, and the finding says so.

    A client that had sent only a head with Expect: 100-continue, and got neither 100 nor another response for 1 s or longer,
    also counts as waiting, although its request is not complete.

    If the client is a gateway, its own timeout expired, not one of the program in User-Agent, and the finding says so. A relay
    for TCP or TLS (stunnel) counts as one if another host's connection, encrypted or not HTTP/1, was opened right before this one
    and closed, not first by that host, at the same moment.

    If an RST without ACK flag answers the client's FIN, its sender did not know the connection. The finding then says that the
    connection had ended before, at the server, or at a firewall or NAT in front of it.

    If the client gave up before it had sent its complete request, and the response came only after that, the finding says how
    much of the body the client had sent. In this case, the client was not waiting for the server.

What it is not
    A client may half-close: it sends a FIN and still waits for the response, which then comes and is acknowledged. If the
    server takes such a FIN for an abort and closes, no-response reports it as half-closed. If a response is shorter than
    announced, a client that closes after the last byte is not to blame. Closes that the server began do not count. If an
    RST has no ACK flag and follows no FIN, it answers a segment of a connection that the sender of the RST does not know.
    It may come from a router, or from a restarted host that received a keep-alive probe, so the exchange is not judged.
    Event streams, other endless media, live sources (a PUT or POST of media without an announced end) and tunnels always
    end like this, so they are not reported. If the server reset the connection first, or had closed it before the request
    came, keep-alive-race reports it. If the client's keep-alive probes got no answers, its kernel ended the connection:
    unanswered reports that.

What to do
    Kinds timeout, gave-up: find out why the server needs longer than the client waited, and only then raise the client's
    timeout. If part of the response came, and the client had acknowledged all of it: check whether Content-Length announces
    more than the program writes, or whether the server leaves the connection open although only its close ends the response.
    Otherwise a segment was lost, and the client was waiting for its retransmission. Kind unread: a health check that does not
    read the body can use HEAD or request a smaller page. Kind stopped: if the responses matter, have the program wait for them
    before it ends. Kind repeated: find out why the client does not accept the response: it may not understand
    multipart/byteranges, or Content-Range may differ from what it asked for. Kind superseded: have the client wait for a pause
    in typing, or send a second copy later. Kinds left, seek, stream: nothing has to change.

References
    RFC 9112 section 9.6, RFC 9293 section 3.6.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared import abort_reasons, left_early
from wiredoctor.rules.shared.abort_reasons import Ended, Reasons
from wiredoctor.rules.shared.abort_texts import REASON_TEXTS, reason_columns, timeout_texts_beside, timeout_texts_from_syn
from wiredoctor.rules.shared.bounded_memory import in_parts
from wiredoctor.rules.shared.evidence import (
    candidate,
    close_origin,
    confidence,
    evidence,
    fin_or_rst,
    has_doubtful_close,
    with_doubt,
)
from wiredoctor.rules.shared.left_early import FACTS, awaits_continue, begun, early, ended_early, whole_response
from wiredoctor.rules.shared.left_early import screen as may_be_early
from wiredoctor.tables import ALL_BUT_A_BYTE, MILLISECOND, SECOND, SERVER
from wiredoctor.world.clients import Clients, with_more_evidence
from wiredoctor.world.connection_close import BROKEN_BEFORE, FRAMING_ERRORS, is_delimited_by_close
from wiredoctor.world.numbers import DURATION, duration
from wiredoctor.world.products import advice, default

c = pl.col

_CLOSED = "The client closed the connection ({close}) {wait} after its request {request}. By then {had}."
_NOTHING = "Nothing has to change: no user was kept waiting. "
_NOTICE = "Have the server notice that the client is gone, and stop working on the request."
_PATIENCE = (
    "Find out first why the response took longer than the client waited; only then raise the client's timeout. "
    + _NOTICE
    + " Have clients wait longer before each retry."
)
_SLOW_UPLOAD = (
    "Find out why the client had not sent its complete request by then: a slow source, a rate limit, a slow or interrupted path. "
    "Only then raise the client's timeout. "
)

_LATE_TIMERS = "{} timers of Node's fetch and undici are up to 1 s late: the timeout may be between {} s and {} s."
_TIMEOUTS = (
    *advice("answer", "client"),
    Advice(
        "gateway",
        "^$",
        f"This client is a gateway. nginx: proxy_read_timeout ({default('nginx', 'proxy_read_timeout')} by default); haproxy: "
        "timeout server; Apache httpd: ProxyTimeout; Varnish: first_byte_timeout and between_bytes_timeout; Squid: "
        "read_timeout; stunnel: TIMEOUTidle.",
    ),
    Advice("gateway", "^httpd$", "This client is a gateway (Apache httpd): ProxyTimeout."),
)
"""Advice on where to set the timeouts of clients."""

RULE = Rule(
    symptom="timeouts, canceled requests; *broken pipe* or a 499 in the server's log",
    severity={
        **dict.fromkeys(("stopped", "unread", "superseded", "left", "seek", "stream"), "note"),
        "repeated": "warning",
        "timeout": "warning",
        "gave-up": "warning",
    },
    title={
        "stopped": "The client closed {closed} connections at once while it was waiting for responses",
        "unread": "The client closed the connection {unread}",
        "repeated": "The client requested the same range again and again, and read none of the responses to its end",
        "superseded": "The client {superseded} after {wait}",
        "left": "{who_left} {wait} after the request, before the response was complete",
        "seek": "The client requested another part of the resource, and canceled this request",
        "stream": "The client ended a stream after {wait}",
        "timeout": "The client gave up {wait} after its request{progress}{timeout_named}",
        "gave-up": "The client gave up {wait} after its request{progress}",
    },
    message={
        "stopped": _CLOSED + " Within {within} it closed {closed} connections{waits}: a program, a test or a browser tab "
        "ended, or canceled all its requests.",
        "unread": _CLOSED + "{unread_means}",
        "repeated": _CLOSED
        + " It had received the head of the {response_status} response. Within 5 s before or after this close, it closed at "
        "least two other connections in the same way, for the same range. So it wants these bytes, but "
        "does not accept the response.",
        "superseded": _CLOSED + "{superseded_means}",
        "left": _CLOSED + "{left_means}",
        "seek": _CLOSED + " It also requested {instead}.",
        "stream": _CLOSED
        + " The response announces no length and came piece by piece: a client can end it only by closing the connection."
        "{timeout_means}",
        "timeout": _CLOSED + "{timeout_means}{unknown_there}",
        "gave-up": _CLOSED + "{unknown_there}",
    },
    remedy={
        "stopped": _NOTHING + "If the responses matter, have the program wait for them before it ends. " + _NOTICE,
        "unread": "{unread_remedy}",
        "repeated": "Find out from the client's log, or its verbose output, why it does not accept the response. Compare "
        "Content-Range with the Range that the client sent. If it requested several ranges at once, check whether it can read "
        "multipart/byteranges. Limit the number of its retries.",
        "superseded": _NOTHING + "{superseded_remedy}",
        "left": _NOTHING + _NOTICE,
        "seek": _NOTHING,
        "stream": "Nothing has to change if the client had all that it wanted. If the response would have ended by itself, a "
        "limit on the complete transfer was too short for it (curl: --max-time).",
        "timeout": "{look_there}{look_for_end}{patience}{timeout_where}",
        "gave-up": "{look_there}{look_for_end}{patience}",
    },
    display_filter="{filter}frame.number in {{{frames}}}",
    references=(
        Reference("RFC 9112 section 9.6, tear-down", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.6"),
        Reference("RFC 9293 section 3.6, half-closed connections", "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.6"),
    ),
    explained_by=(
        ("reset-destroys-response", "connection"),
        ("unsolicited-response", "connection"),  # the client took it for the response to its request
        ("unanswered", "exchange"),
        ("idle-cut", "exchange"),
        ("gateway-error", "exchange"),
        ("gateway-error", "front"),
        ("client-abort", "front"),
        *((name, "exchange") for name in FRAMING_ERRORS),
        *BROKEN_BEFORE,
    ),
    caused_by=(
        ("slow-response", "wait"),
        ("retransmission-stall", "exchange"),
        ("zero-window-stall/", "exchange"),
        ("zero-window-stall/server-behind", "exchange"),
        ("expect-continue-stall/no-body", "exchange"),
    ),
    advice=tuple(one._replace(where="awaiting" if one.side == "gateway" else "impatient") for one in _TIMEOUTS),
    absence=True,
    ends=True,
)


QUIET = Threshold(
    "1 s",
    "the message mentions a time without data before the close if it is at least this long: the server had stopped in the "
    "middle of its response",
)
LARGE_HEAD = Threshold(
    "4000 bytes",
    "the minimum size of a response head that the client may have rejected; nginx's default limit is "
    f"{default('nginx', 'proxy_buffer_size')} kB",
)
SHARED_THRESHOLDS = (left_early, abort_reasons)


def screen() -> pl.Expr:
    """Return an expression that is true for all rows that may become candidates."""
    return may_be_early()


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each exchange whose client closed before it had acknowledged the complete response.

    Most of these closes are harmless; `judge` and `by_clients` find out which are not.
    """
    return closes.filter(screen()).with_columns(pl.col("request_frame").alias("frame"))


def judge(rows: pl.DataFrame, _: object) -> tuple[pl.DataFrame, None]:
    """Return the exchanges that the client ended early, judged by the packets of their own connection only."""
    ended = rows.filter(ended_early())
    if ended.is_empty() and rows.height:  # most clients that closed early had what they wanted; planning the texts takes 10 ms
        return ended, None
    return in_parts(ended, _early_ends), None


def _early_ends(ended: pl.DataFrame) -> pl.DataFrame:
    late = c("client_rst_frame") != c("client_close_frame")
    sure = confidence(_sent_only_fin() | has_doubtful_close("client"))
    return (
        early(ended.lazy())
        .collect()
        .with_columns(
            pl.when(late).then("client_rst_frame").alias("late_frame"),
            pl.when("unknown").then("server_close_frame").alias("unknown_frame"),
            c("waited").alias("wait"),
            _received_text().alias("had"),
        )
        .select(
            *candidate("client", sure, "frame", "request_start", "client_close_time"),
            c("wait").cast(DURATION),
            fin_or_rst("client_close_rst").alias("close"),
            close_origin("client"),
            "had",
            _has_paused().alias("paused"),
            "response_status",
            (c("client_close_time") - c("response_start")).clip(0).alias("read"),
            pl.when((c("response_head_bytes") >= LARGE_HEAD.value) & (c("response_body_bytes").fill_null(0) == 0))
            .then("response_head_bytes")
            .alias("large_head"),
            *_timeout_texts(),
            pl.when("unknown").then(_unknown_there_text()).otherwise(pl.lit("")).alias("unknown_there"),
            pl.when("unknown").then(pl.lit(_LOOK_THERE)).otherwise(pl.lit("")).alias("look_there"),
            _look_for_end().alias("look_for_end"),
            pl.when("sending")
            .then(pl.lit(_STILL_SENDING))
            .when(_has_paused() & is_delimited_by_close())
            .then(pl.lit(_NO_END))
            .otherwise(pl.lit(_NO_RESPONSE))
            .alias("progress"),
            pl.when("sending").then(pl.lit(_SLOW_UPLOAD)).otherwise(pl.lit(_PATIENCE)).alias("patience"),
            evidence(
                ("request_frame", "request_start", "the request"),
                ("response_frame", "response_start", pl.format("the response begins: {}", "response_status")),
                ("client_close_frame", "client_close_time", with_doubt(has_doubtful_close("client"), _close_note())),
                ("late_frame", "client_rst_time", "the client's RST: its socket is closed and accepts no response"),
                ("unknown_frame", "server_close_time", with_doubt(has_doubtful_close("server"), pl.lit(_UNKNOWN_RST))),
            ),
            *FACTS,
        )
    )


def by_clients(rows: pl.DataFrame, clients: Clients) -> pl.DataFrame:
    """Return the candidates with their kinds, which also depend on the other connections of the same clients.

    Drop candidates to which no kind applies, and candidates whose client has only half-closed.
    """
    reasons = Reasons(clients)
    ended: list[Ended] = []
    told: list[dict[str, Any]] = []
    for row in rows.select("connection", "exchange", "response_status", "read", "large_head", *FACTS).iter_rows(named=True):
        ended.append(reasons.decide(row))
        told.append(reason_columns(ended[-1], row))
    impatient = [one.kind in ("timeout", "gave-up") for one in ended]
    made = rows.with_columns(
        pl.Series("kind", [one.kind for one in ended], pl.String),
        pl.Series("silent", [one.silent for one in ended], pl.Boolean),
        pl.Series("closed", [len(one.others) for one in ended], pl.Int64),
        with_more_evidence([one["more"] for one in told]),
        pl.Series("impatient", impatient, pl.Boolean),
        pl.Series("awaiting", impatient, pl.Boolean) & ~c("sending"),
        pl.lit(abort_reasons.TOGETHER.value).cast(DURATION).alias("within"),
        *(pl.Series(name, [one[name] for one in told], pl.String) for name in REASON_TEXTS),
        *timeout_texts_from_syn([one.from_syn for one in ended]),
    ).with_columns(*timeout_texts_beside([one.beside for one in ended]))
    return made.filter(pl.col("kind").is_not_null() & (pl.col("kind") != "half-closed"))


def _sent_only_fin() -> pl.Expr:
    """Return True if the client sent only a FIN and the server never closed.

    Then nothing shows that the client stopped reading.
    """
    return (c("client_close_rst") == 0) & c("server_close_frame").is_null() & c("client_rst_frame").is_null()


# texts

_UNKNOWN_RST = "an RST without ACK flag from the server's address: its sender does not know the connection"
_UNKNOWN_THERE = (
    " An RST without ACK flag answered that FIN: {} no longer knew the connection.{} So the connection had already ended there, "
    "for a reason that this capture does not show."
)
_OTHER_TTL = " The TTL of the RST differs from that of the server's other packets."
_LOOK_THERE = (
    "Capture at the server: a device on the path may have reset only the server's side of the connection, or the server's host "
    "was restarted. "
)

_NO_RESPONSE, _STILL_SENDING = ", before it had the response", ", while it was still sending the request"
_NO_END = ", while it waited for the close that ends the response"

_TOO_LONG = (
    "Check whether the server's program had written its complete response: if Content-Length announces more than that, and the "
    "connection stays open, the client waits for bytes that never come. "
)
_CONTINUE = (
    "Have the server, or the proxy in front of it, answer 100 (Continue), or have the client send its body without waiting for "
    "it (Java's HttpClient waits without limit, so do not set expectContinue). "
)
_UNCLOSED = (
    "Check whether the server had written its complete response: the response announces neither Content-Length nor chunks, so "
    "the client waits until the connection closes. A child process that has inherited the socket keeps it open (close-on-exec). "
)
_UNFINISHED = "Check whether the server's program ends its response: until the last chunk (size 0) comes, the client waits. "


def _unknown_there_text() -> pl.Expr:
    """Return the text about an RST that answered the client's FIN because its sender did not know the connection."""
    who = pl.when(c("server_close_origin") == "endpoint").then(pl.lit("the server"))
    doubt = pl.when(has_doubtful_close("server")).then(pl.lit(_OTHER_TTL)).otherwise(pl.lit(""))
    return pl.format(_UNKNOWN_THERE, who.otherwise(pl.lit("the server, or a firewall or NAT in front of it,")), doubt)


def _received_nothing() -> pl.Expr:
    """Return whether the client had received no part of the response when it closed."""
    return ~begun() | (pl.col("response_start") > pl.col("client_close_time"))


def _received_text() -> pl.Expr:
    """Return the text that describes the part of the response that the client had received when it closed."""
    announced = pl.coalesce(pl.when(_sized()).then(pl.format(" of {}", "response_body_due")), pl.lit(""))
    part = pl.format(
        "the client had received {} of the {} (the capture has {}{} bytes of the body{}){}",
        pl.when(is_delimited_by_close()).then(pl.lit("some or all")).otherwise(pl.lit("only part")),
        "response_status",
        "response_body_bytes",
        announced,
        pl.when(is_delimited_by_close()).then(pl.lit(", which ends when the connection closes")).otherwise(pl.lit("")),
        pl.when(_has_stopped()).then(pl.format(", and nothing had come for {}", duration(_quiet()))).otherwise(pl.lit("")),
    )
    return (
        pl.when(awaits_continue())
        .then(pl.lit("the client had sent only the head, with Expect: 100-continue, and no 100 (Continue) had come"))
        .when("sending")
        .then(pl.format("the client had sent only {}{} bytes of the body", c("request_body_bytes").fill_null(0), _of_body()))
        .when(_received_nothing())
        .then(pl.lit("no part of the response had come"))
        .when(whole_response())
        .then(pl.format("the client had not acknowledged the complete {}, and never did", "response_status"))
        .otherwise(part)
    )


def _of_body() -> pl.Expr:
    """Return " of N", where N is the announced length of the request's body in bytes; "" if the request announces no length."""
    sized = (pl.col("request_framing") == "content-length") & pl.col("request_body_due").is_not_null()
    return pl.when(sized).then(pl.format(" of {}", "request_body_due")).otherwise(pl.lit(""))


def _quiet() -> pl.Expr:
    """Return the time (ns) before the client's close in which no byte of the response came, not even in a retransmission."""
    repaired = pl.when(c("last_payload_role") == SERVER).then("last_payload_time")
    return c("client_close_time") - pl.max_horizontal("response_end", repaired)


def _has_stopped() -> pl.Expr:
    """Return whether no byte of the response came for at least QUIET, and the client had acknowledged all that was sent.

    If the client had not acknowledged everything, a segment was lost, and the server had not stopped. A single unacknowledged
    byte does not count, because it may be a probe of a closed window.
    """
    outstanding = (c("response_arrived") < ALL_BUT_A_BYTE).fill_null(value=False)
    return ~outstanding & (_quiet() >= QUIET.value)


def _has_paused() -> pl.Expr:
    """Return whether part of the response came, and then no byte for at least QUIET."""
    paused = begun() & ~_received_nothing() & ~whole_response() & _has_stopped()
    return paused.fill_null(value=False) & ~awaits_continue() & ~pl.col("sending")


def _sized() -> pl.Expr:
    return pl.col("response_framing") == "content-length"


def _look_for_end() -> pl.Expr:
    """Return the advice for a client that waited for a 100 (Continue), or for the end of a response that had stopped; otherwise
    "".
    """
    return (
        pl.when(awaits_continue())
        .then(pl.lit(_CONTINUE))
        .when(_has_paused() & _sized())
        .then(pl.lit(_TOO_LONG))
        .when(_has_paused() & (pl.col("response_framing") == "chunked"))
        .then(pl.lit(_UNFINISHED))
        .when(_has_paused() & is_delimited_by_close())
        .then(pl.lit(_UNCLOSED))
        .otherwise(pl.lit(""))
    )


WHOLE_SECOND = 50 * MILLISECOND
"""The tolerance (ns) for a limit of whole seconds on a complete transfer.

Such a limit begins somewhat before the request: with the start of the program, or with the SYN.
"""


def _timeout_texts() -> list[pl.Expr]:
    timeout = pl.col("timeout")
    nothing = pl.lit("")
    known = pl.when(timeout.is_not_null())
    # a limit on the complete transfer, in whole seconds, is as likely as a timeout that begins with the end of the request
    beyond = (c("waited") + SECOND // 2) % SECOND - SECOND // 2
    of_transfer = (c("since") == left_early.AFTER_REQUEST) & (beyond.abs() <= WHOLE_SECOND)
    # after the response has begun, the time may match a usual timeout by chance
    sure = pl.when(timeout.is_not_null() & _received_nothing() & ~of_transfer)
    agent = c("request_user_agent").fill_null("")
    timers = (
        pl.when(agent.is_in(["node", "undici"]))
        .then(pl.lit(" The"))
        .when(agent == "")
        .then(pl.lit(" If the client is Node, the"))
    )
    late = pl.when(timeout > 1).then(pl.format(_LATE_TIMERS, timers.otherwise(None), timeout - 1, timeout)).fill_null("")
    return [
        sure.then(pl.format(": a timeout of about {} s", timeout)).otherwise(nothing).alias("timeout_named"),
        sure.then(pl.format(" A client timeout of about {} s{} expired.", timeout, "since"))
        .when(timeout.is_not_null())
        .then(pl.format(" A client timeout of about {} s{} may have expired.", timeout, "since"))
        .otherwise(nothing)
        .alias("timeout_means"),
        known.then(pl.format(" Look for a timeout of about {} s in the client.", timeout) + late)
        .otherwise(nothing)
        .alias("timeout_where"),
    ]


def _close_note() -> pl.Expr:
    closer = fin_or_rst("client_close_rst")
    return pl.format("the client's {}, {} after the request began: {}", closer, duration(pl.col("wait")), "had")

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
      had sent the request twice and the other copy got the response, perhaps from another server.
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
    - The client sends its requests to several servers and uses the first responses (hedged requests, a quorum of replicas).
      Before it closed, another server had completely answered the same method and target. Of its closes at this server during a
      wait, at least 90 %, and three or more, came within 50 ms of such an answer. One finding covers all of them.

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

    A client also has a timeout if it gives up at three or more moments after the same time (within 1 % and 20 ms, 100 ms or
    longer). At least 80 % of its waits for this server that it gave up without any response must be as long. Others may use the
    same address meanwhile. If they have another User-Agent field, 80 % of the waits of the client's own program suffice. Once
    such a timeout is known, it also explains equal waits of other clients of that server. This is asked after all other kinds,
    and it decides instead of stopped, superseded (unless the wait is shorter than 300 ms), left and gave-up.

    A client that had sent only a head with Expect: 100-continue, and got neither 100 nor another response for 1 s or longer,
    also counts as waiting, although its request is not complete.

    A stream that answers a POST (text/event-stream, application/x-ndjson) also counts if its client waited for its end: its
    events have the format of an API that ends its answers with an event of its own, or the server ended another answer for the
    same path within 60 s after it, or at any time before. One of these must be true for the closes of this program (host and
    User-Agent) within 60 s:

    - Two or more closes, at different moments, came after silences that are equal (1 % and 20 ms), 1 s or longer, and three times
      as long as any pause before: a timeout for the next data.
    - Three or more closes, at different moments, came while data was coming, at the same multiple of 0.5 s (within 20 ms) since
      the SYN or the request, and after different numbers of events: a limit for complete answers, or a test that stops after that
      time. This is a note.

    These must be 75 % of the streams that the program left early. Not reported: a stream that its client had just asked the
    server to stop, and one that the client left within 50 ms after the complete response to another copy of its request.

    If the client is a gateway, its own timeout expired, not one of the program in User-Agent, and the finding says so. A relay
    for TCP or TLS (stunnel) counts as one if another host's connection, encrypted or not HTTP/1, was opened right before this one
    and closed, not first by that host, at the same moment.

    If an RST without ACK flag answers the client's FIN, its sender did not know the connection. The finding then says that the
    connection had ended before, at the server, or at a firewall or NAT in front of it. If that RST came from another MAC address
    than the SYN-ACK, another machine answers for the server's address now, and no side is named.

    If the client gave up without any response, and then sends a POST or PATCH again at once, the finding says so, because such a
    request is not idempotent.

    If the client gave up before it had sent its complete request, and the response came only after that, the finding says how
    much of the body the client had sent. In this case, the client was not waiting for the server.

What it is not
    A client may half-close: it sends a FIN and still waits for the response, which then comes and is acknowledged. If the
    server takes such a FIN for an abort and closes, no-response reports it as half-closed. If a response is shorter than
    announced, a client that closes after the last byte is not to blame. Closes that the server began do not count. If an RST
    has no ACK flag and follows no FIN, it answers a segment of a connection that the sender of the RST does not know. It may
    come from a router, or from a restarted host that received a keep-alive probe, so the exchange is not judged. Event streams,
    other endless media, live sources (a PUT or POST of media without an announced end) and tunnels always end like this, so
    they are not reported, except for the timeouts of streams that answer calls. If the server reset the connection first, or
    had closed it before the request came, keep-alive-race reports it. If the client's keep-alive probes got no answers, its
    kernel ended the connection: unanswered reports that.

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

from wiredoctor.findings import Advice, Reference, Rule, Threshold, cached_for_thresholds
from wiredoctor.gateways.tries import RETRY, WAITED_FOR
from wiredoctor.rules.shared import abort_reasons, left_early
from wiredoctor.rules.shared.abort_facts import Facts
from wiredoctor.rules.shared.abort_reasons import Ended
from wiredoctor.rules.shared.abort_words import gateway_words, other_packets, progress, reason_words, timeout_words
from wiredoctor.rules.shared.evidence import candidate, confidence, has_doubtful_close
from wiredoctor.rules.shared.left_early import EarlyClose, awaits_continue, begun, early, ended_early, whole_response
from wiredoctor.rules.shared.left_early import may_match as may_be_early
from wiredoctor.rules.shared.lost_requests import repetition_words
from wiredoctor.rules.shared.words import (
    FIND_MACHINES,
    Nanoseconds,
    another_machine,
    fin_or_rst,
    packets,
    sender_of_close,
    with_doubt,
)
from wiredoctor.tables import ALL_BUT_A_BYTE, SERVER
from wiredoctor.text.durations import duration_text
from wiredoctor.world import Wait, World, aborts, equal_waits, stream_answers, stream_closes, stream_requests
from wiredoctor.world.clients import REPETITION, Clients, Repetition
from wiredoctor.world.connection_close import BROKEN_BEFORE, FRAMING_ERRORS, is_delimited_by_close
from wiredoctor.world.numbers import DURATION
from wiredoctor.world.products import advice, default
from wiredoctor.world.stream_answers import StreamAnswers
from wiredoctor.world.stream_closes import StreamCloses, left_answer
from wiredoctor.world.stream_requests import StreamRequests

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
        ("wrong-protocol", "connection"),
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
        ("zero-window-stall/both-closed", "exchange"),
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
SHARED_THRESHOLDS = (left_early, abort_reasons, aborts, equal_waits, stream_answers, stream_closes, stream_requests)


def may_match() -> pl.Expr:
    """Return an expression that is true for all rows that may become candidates."""
    return may_be_early()


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each exchange whose client closed before it had acknowledged the complete response.

    Most of these closes are harmless; `decide` finds out which are not.
    """
    return early(closes.filter(may_be_early()), answers=True).select(_columns())


@cached_for_thresholds
def _columns() -> list[pl.Expr | str]:
    """Return the columns of a candidate."""
    sure = confidence(_sent_only_fin() | has_doubtful_close("client"))
    return [
        *candidate("client", sure, "request_frame", "request_start", "client_close_time"),
        c("waited").cast(DURATION).alias("wait"),
        pl.struct(EarlyClose._fields[2:]).alias("early"),
        _pause().alias("quiet"),
        _received_nothing().alias("nothing"),
        is_delimited_by_close().alias("until_close"),
        awaits_continue().alias("awaits_continue"),
        whole_response().alias("whole"),
        pl.lit(value=False).alias("window_closed"),
        c("request_user_agent").cast(pl.String),
        pl.when((c("response_head_bytes") >= LARGE_HEAD.value) & (c("response_body_bytes").fill_null(0) == 0))
        .then("response_head_bytes")
        .alias("large_head"),
        pl.max_horizontal("due", pl.when(left_answer()).then(stream_closes.until(c("client_close_time")))).alias("due"),
        left_answer().alias("is_answer"),
        (left_answer() & ~ended_early()).alias("is_stream"),
        c("response_api_format").alias("by_format"),
        pl.lit(None, pl.String).alias("severity"),
        *("endpoint", "ended_at", "waited", "sending", "since", "request_framing", "request_body_bytes", "request_body_due"),
        *("response_frame", "response_start", "response_status", "response_framing", "response_body_bytes"),
        *("response_body_due", "client_close_frame", "client_close_rst", "client_close_origin"),
        *("client_rst_frame", "client_rst_time", "server_close_frame", "server_close_time", "server_close_origin"),
        "server_rst_mac",
        pl.lit(value=False).alias("silent"),
        *(pl.lit(None, dtype).alias(name) for name, dtype in (_REASON | _AT_GATEWAY).items()),
        pl.lit(value=False).alias("is_gateway"),
    ]


_OTHER = {
    **{name: pl.Int64() for name in ("frame", "start", "connection", "range_start", "status")},
    **{name: pl.String() for name in ("method", "target")},
}
_ELSEWHERE = {**{name: pl.Int64() for name in ("start", "frame", "connection", "status")}, "server": pl.String()}
_REASON = {
    **{name: pl.Int64() for name in ("span", "from_syn", "beside", "closed", "waiting")},
    **{
        "how": pl.String(),
        "other": pl.Struct(_OTHER),
        "elsewhere": pl.Struct(_ELSEWHERE),
        "waits": pl.List(pl.Int64()),
        "shown": pl.List(pl.List(pl.Int64())),
    },
}
"""The types of the columns that only `decide` fills."""
_AT_GATEWAY: dict[str, pl.DataType] = {"waited_for": WAITED_FOR, "retry": RETRY, "relayed": pl.Int64(), "again": REPETITION}

ASKS = (*abort_reasons.ASKS, StreamCloses, StreamAnswers, StreamRequests)


def decide(x: Facts, world: World) -> Facts | Wait | None:
    """Find the kind, which also depends on the other connections of the same client.

    Drop candidates to which no kind applies, and candidates whose client has only half-closed.
    """
    if x.is_answer and ((limited := _with_stream_limit(x, world)) is not None or x.is_stream):
        return limited
    ended = abort_reasons.decide({**x.early, "connection": x.connection, "exchange": x.exchange}, world)
    if ended.kind in (None, "half-closed"):
        return None
    others = {
        name: None if one is None else one._asdict() for name, one in (("other", ended.other), ("elsewhere", ended.elsewhere))
    }
    again = _repetition(x, ended.kind, world)
    if (wait := again.wait(world)) is not None:
        return wait
    side = None if _is_elsewhere(x) else x.side
    return x._replace(**ended._asdict() | others, again=again._asdict(), side=side)


def _is_elsewhere(x: Facts) -> bool:
    """Return whether another machine, which answers for the server's address now, answered the client's FIN."""
    return x.early["unknown"] and x.server_rst_mac is not None


def _with_stream_limit(x: Facts, world: World) -> Facts | None:
    """Return the facts of a client whose timeout ended a stream; None if nothing shows one, or if it had no reason to wait."""
    limit = world.of(StreamCloses).limit(x.connection)
    if limit is None or world.of(StreamRequests).stopped(x.connection, x.exchange, x.ended_at):
        return None
    of = x.endpoint, x.connection, x.exchange
    if not x.by_format and not world.of(StreamAnswers).is_ended(*of, until=x.due):
        return None
    if _is_replaced(x, world.of(Clients)):
        return None
    read = limit.since == "byte"
    ended = Ended("timeout", "stream-read" if read else f"stream-{limit.since}", span=limit.length)
    return x._replace(**ended._asdict(), severity=None if read else "note", again=Repetition()._asdict())


def _is_replaced(x: Facts, clients: Clients) -> bool:
    """Return whether the client closed because it had just got the complete response to another copy of its request."""
    own, since = clients.request(x.connection, x.exchange), x.ended_at - stream_closes.HEDGED.value
    copies = () if own is None else clients.other_requests(own, own.start - aborts.BUSY.value, x.ended_at)
    return own is not None and any(
        (one.method, one.target) == (own.method, own.target) and since <= (one.completed or 0) <= x.ended_at for one in copies
    )


def _repetition(x: Facts, kind: str | None, world: World) -> Repetition:
    """Return how a client that gave up without any response sent the same POST or PATCH again."""
    if kind not in ("timeout", "gave-up") or x.sending or not x.nothing:
        return Repetition()
    return world.of(Clients).unsafe_repetition(x.connection, x.exchange, x.ended_at, x.early["round_trip"])


def _sent_only_fin() -> pl.Expr:
    """Return True if the client sent only a FIN and the server never closed.

    Then nothing shows that the client stopped reading.
    """
    return (c("client_close_rst") == 0) & c("server_close_frame").is_null() & c("client_rst_frame").is_null()


def _received_nothing() -> pl.Expr:
    """Return whether the client had received no part of the response when it closed."""
    return ~begun() | (pl.col("response_start") > pl.col("client_close_time"))


def _pause() -> pl.Expr:
    """Return how long (ns) no byte of the response had come when the client closed, not even in a retransmission.

    Return null if less than QUIET, or if no part of the response had come. Also return null if the client had not acknowledged
    everything: then a segment was lost, and the server had not stopped.
    """
    repaired = pl.when(c("last_payload_role") == SERVER).then("last_payload_time")
    quiet = c("client_close_time") - pl.max_horizontal("response_end", repaired)
    # a single unacknowledged byte may be a probe of a closed window
    outstanding = (c("response_arrived") < ALL_BUT_A_BYTE).fill_null(value=False)
    in_part = begun() & ~_received_nothing() & ~whole_response() & ~awaits_continue() & ~c("sending")
    return pl.when(in_part & ~outstanding & (quiet >= QUIET.value)).then(quiet)


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the close, about what the client had received, and about the reason."""
    close, had, impatient = fin_or_rst(x.client_close_rst), _received(x), x.kind in ("timeout", "gave-up")
    late = None if x.client_rst_frame == x.client_close_frame else x.client_rst_frame
    unknown = x.server_close_frame if x.early["unknown"] else None
    said_again, repetition = repetition_words(x.again, x.ended_at)
    note = f"the client's {close}, {duration_text(x.wait)} after the request began: {had}"
    return {
        "close": close,
        "had": had,
        "origin": sender_of_close(x.client_close_origin),
        "impatient": impatient,
        "awaiting": impatient and not x.sending,
        "within": Nanoseconds(abort_reasons.TOGETHER.value),
        "progress": progress(x.sending, x.quiet, x.until_close),
        "unknown_there": "" if unknown is None else _unknown_there(x),
        "look_there": "" if unknown is None else _LOOK_THERE,
        "look_for_end": _look_for_end(x),
        "patience": _SLOW_UPLOAD if x.sending else _ONLY_THEN if x.window_closed else _PATIENCE,
        **timeout_words(x),
        **gateway_words(x, said_again),
        **reason_words(x),
        **(_elsewhere_words(x) if _is_elsewhere(x) else {}),
        "evidence": packets(
            (x.frame, x.start, "the request"),
            (x.response_frame, x.response_start, f"the response begins: {x.response_status}"),
            (x.client_close_frame, x.ended_at, with_doubt(x.client_close_origin, note)),
            (late, x.client_rst_time, "the client's RST: its socket is closed and accepts no response"),
            (unknown, x.server_close_time, with_doubt(x.server_close_origin, _UNKNOWN_RST)),
            repetition,
            *other_packets(x),
        ),
    }


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
_READ = (
    "Find out why the client did not read: while its window is closed, the server cannot send. If the client is a proxy, its own "
    "client may not have read, until a timeout of the proxy expired (nginx: send_timeout; haproxy: timeout client). "
)
_ONLY_THEN = "Only then raise a timeout."


def _unknown_there(x: Facts) -> str:
    """Return the text about an RST that answered the client's FIN because its sender did not know the connection."""
    if x.server_rst_mac is not None:
        return f" An RST without ACK flag answered that FIN: {another_machine(x.server_rst_mac)}."
    who = "the server" if x.server_close_origin == "endpoint" else "the server, or a firewall or NAT in front of it,"
    return _UNKNOWN_THERE.format(who, _OTHER_TTL if x.server_close_origin == "doubtful" else "")


def _elsewhere_words(x: Facts) -> dict[str, str]:
    """Return the title and the remedy if another machine answered the client's FIN: the server had not been slow."""
    after = duration_text(x.ended_at - x.start)
    remedy = {"look_there": FIND_MACHINES} | dict.fromkeys(("look_for_end", "patience", "timeout_where"), "")
    return {"title": f"The client gave up {after} after its request: another machine has the server's address now", **remedy}


def _received(x: Facts) -> str:
    """Return the text that describes the part of the response that the client had received when it closed."""
    if x.awaits_continue:
        return "the client had sent only the head, with Expect: 100-continue, and no 100 (Continue) had come"
    if x.sending:
        due = _of_announced(x.request_framing, x.request_body_due)
        return f"the client had sent only {x.request_body_bytes or 0}{due} bytes of the body"
    if x.nothing:
        return "no part of the response had come"
    if x.whole:
        return f"the client had not acknowledged the complete {x.response_status}, and never did"
    amount, end = ("some or all", ", which ends when the connection closes") if x.until_close else ("only part", "")
    body = f"{x.response_body_bytes}{_of_announced(x.response_framing, x.response_body_due)} bytes of the body"
    quiet = "" if x.quiet is None else f", and nothing had come for {duration_text(x.quiet)}"
    why = ", because the client's receive window was closed" if x.window_closed else ""
    return f"the client had received {amount} of the {x.response_status} (the capture has {body}{end}){quiet}{why}"


def _of_announced(framing: str | None, due: int | None) -> str:
    """Return " of N", where N is the announced length of a body in bytes; "" if none is announced."""
    return f" of {due}" if framing == "content-length" and due is not None else ""


def _look_for_end(x: Facts) -> str:
    """Return the advice for a client that waited for a 100 (Continue), or for the end of a response that had stopped; otherwise
    "".
    """
    if x.awaits_continue or x.window_closed:
        return _CONTINUE if x.awaits_continue else _READ
    if x.quiet is None:
        return ""
    return _UNCLOSED if x.until_close else {"content-length": _TOO_LONG, "chunked": _UNFINISHED}.get(x.response_framing or "", "")

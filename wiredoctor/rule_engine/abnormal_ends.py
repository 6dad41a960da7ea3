"""Polars expressions that determine why exchanges and connections did not end normally.

Normal ends are: a reset after all responses; an idle connection at the end of the capture; an endless stream (event stream or
tunnel) that the client leaves, unless it is doubtful that the client's host sent the RST; and a tunnel, other than a WebSocket,
that the server closes by a FIN. In protocols that cannot be read (TLS and others), it is also normal that a client closes or
resets the connection after the server has sent data: the packets do not show whether the client was still waiting. A reset by the
server is not normal there.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import UNJUDGED, cached_for_thresholds
from wiredoctor.rules.shared.left_early import unknown_to_server
from wiredoctor.tables import CLIENT, MILLISECOND, MORE, SECOND, UNANSWERED_PROBES, WHOLE
from wiredoctor.world.connection_close import is_reset_without_ack, streams
from wiredoctor.world.exchange import REQUEST_TIMEOUT

FIRST_REPETITION = SECOND
"""The maximum time in ns until a SYN is retransmitted for the first time (RFC 6298 section 2)."""

SILENCE = 3 * SECOND
"""The minimum time in ns from the last packet to the end of the capture, after which unacknowledged data or an incomplete request
is an abnormal end.

A sender would have retransmitted by then (RFC 6298). If it has not, packets are missing from the capture, or the sender is gone.
"""

GOODBYE = 85
"""The length of the longest TLS alert record in bytes (5 header, 16 IV, 64 encrypted).

A client responds to the server's close with an alert (close_notify, RFC 8446 section 6.1), or in HTTP/2 with an even shorter
GOAWAY frame. Nothing is lost if the server does not read it.
"""

REPLY = 50 * MILLISECOND
"""The maximum time in ns, not counting the round trip, within which a host answers a segment of a connection it does not know."""
CLOSED_WITHIN = SECOND
"""The maximum time in ns from the SYN-ACK until a host closes an unused connection, if it did not wait for a request.

In a tunnel, the time counts from the response. A client that closes sooner after its data may not have waited for an answer.
"""

CLIENT_ERROR = 400
"""The lowest status of a response that rejects its request (RFC 9110 section 15.5)."""

WAITED_FOR_HEAD = SECOND
"""A server that waits for the end of a request head rejects the request at least this long (ns) after its SYN-ACK."""

REASONS = pl.Enum([*UNJUDGED])
"""The reasons for an abnormal end, worst first."""

c = pl.col


@cached_for_thresholds
def suspect_exchanges() -> pl.Expr:
    """Return a cheap filter that is true for every row of `exchanges` with a reason from `abnormal_exchange_columns`."""
    unread = ~c("has_response") | (c("response_end_reason") != "complete") | (c("request_end_reason") != "complete")
    cut = c("upgraded") & c("server_close_frame").is_not_null()  # may be a WebSocket: comparing texts is slow
    lost = _met_no_connection() | _is_reset_unread()  # `client_close_origin` is not compared: a text, too
    closed = c("server_close_frame").is_not_null() | c("client_close_frame").is_not_null()
    tunnel = (c("upgraded") | (c("response_framing") == "tunnel")) & closed
    return unread | ~c("has_request") | ((c("response_status") < 200) & ~c("upgraded")) | lost | cut | tunnel


def _met_no_connection() -> pl.Expr:
    """Return an expression that is true if the client's host answered a response with an RST without ACK flag.

    This RST means that the host no longer knew the connection. The client may have acknowledged the response before the RST; only
    the connection's row in `connections` shows that. The RST may answer the first segments of a long response while the server is
    still sending the last ones.
    """
    flagless = is_reset_without_ack("client") & c("server_close_frame").is_null()
    answer = c("client_close_time") - c("response_end")
    after = c("client_close_time") >= c("response_start")
    return (flagless & after & (answer <= c("rtt_client") + REPLY)).fill_null(value=False)


def _is_reset_unread() -> pl.Expr:
    """Return an expression that is true if an RST with the client's address acknowledges only a part of the response."""
    unread = (c("response_arrived") < WHOLE) & (c("client_close_time") >= c("response_start"))
    return ((c("client_close_rst") == 1) & unread).fill_null(value=False)


def _may_be_foreign_rst() -> pl.Expr:
    """Return an expression that is true if the client closed first, by an RST whose TTL, IP identification or time suggests
    another sender.
    """
    # a later close of the server does not count: the server answers packets that come after the RST with RSTs
    first = c("server_close_frame").is_null() | (c("client_close_time") < c("server_close_time"))
    return (c("client_close_rst") == 1) & c("client_close_origin").is_in(["doubtful", ""]) & first


def _is_cut_websocket() -> pl.Expr:
    """Return an expression that is true if the server was the first to close a WebSocket and did so abnormally.

    That is, it sent no Close frame, or it sent an RST right after its own Close frame.
    """
    is_websocket = c("upgraded") & (c("response_upgrade") == "websocket")
    by_server = c("client_close_frame").is_null() | (c("server_close_frame") < c("client_close_frame"))
    return (is_websocket & c("server_close_frame").is_not_null() & by_server & ~c("says_goodbye")).fill_null(value=False)


def _is_unanswered_tunnel() -> pl.Expr:
    """Return an expression that is true if no data from the server came through a tunnel or upgraded connection before its close.

    In addition, the server must have closed first within CLOSED_WITHIN after its response, or the client must have sent data
    after the response. In the second case, the server closed first, or the client waited for CLOSED_WITHIN and closed. A
    WebSocket does not count, because its Close frames are better evidence (`_is_cut_websocket`).
    """
    tunnel = (c("response_framing") == "tunnel") | (c("upgraded") & (c("response_upgrade") != "websocket"))
    nothing = c("has_response") & (c("server_sent_more") == 0)  # no data from the server after its response
    unheard = c("server_close_frame").is_null() & (c("response_arrived") <= WHOLE)
    sent = (c("last_payload_role") == CLIENT) & (c("last_payload_time") > c("response_end"))
    client_first = (c("client_close_time") < c("server_close_time")).fill_null(value=False)
    at_once = c("server_close_time") - c("response_end") < CLOSED_WITHIN
    waited = (c("client_close_time") - c("last_payload_time") >= CLOSED_WITHIN).fill_null(value=False)
    by_server = nothing & ~client_first & (sent | at_once)
    return (tunnel & (by_server | ((nothing | unheard) & sent & waited))).fill_null(value=False)


def _is_reset_tunnel() -> pl.Expr:
    """Return an expression that is true if the server was the first to close a tunnel or an upgraded connection, by an RST.

    A WebSocket does not count, because its Close frames are better evidence (`_is_cut_websocket`).
    """
    tunnel = (c("response_framing") == "tunnel") | (c("upgraded") & (c("response_upgrade") != "websocket"))
    first = c("client_close_frame").is_null() | (c("server_close_frame") < c("client_close_frame"))
    return (tunnel & (c("server_close_rst") == 1) & first).fill_null(value=False)


@cached_for_thresholds
def suspect_connections() -> pl.Expr:
    """Return a cheap filter that is true for every row of `connections` with a reason from `abnormal_connection_columns`."""
    pending = (c("client_unacknowledged") > 0) | (c("server_unacknowledged") > 0)
    one_way = (c("client_bytes") > 0) & (c("server_bytes") == 0)
    reset = (c("close") == "rst") & (c("closed_by") == "server") & (c("exchanges") == 0)
    unused = (c("protocol") == "none") & ((c("syns") > 0) | (c("close") != ""))
    return pending | one_way | unused | reset


@cached_for_thresholds
def exchange_facts() -> list[pl.Expr]:
    """Return the columns that `abnormal_exchange_columns` reads in addition to those of `exchanges`.

    Each of them is computed once, as a column, because the expressions for the reasons of an abnormal end use most of them
    several times.
    """
    # a client that waited for 100 (Continue) and was refused need not send its body (RFC 9110 section 10.1.1)
    unsent = c("request_expect_continue") & (c("request_body_bytes").fill_null(0) == 0)
    ended = c("response_end_reason") == "complete"
    asked = (c("request_end_reason") == "complete") | (unsent & _is_answered() & ended).fill_null(value=False)
    return [
        _is_answered().alias("is_answered"),
        asked.alias("is_asked"),
        _is_closed().alias("is_closed"),
        _is_left().alias("is_left"),
        _has_gap().alias("has_gap"),
        _may_be_lost().alias("may_be_lost"),
        _is_doubted().alias("is_doubted"),
        _is_cut_websocket().alias("is_cut_websocket"),
        _is_unanswered_tunnel().alias("is_unanswered_tunnel"),
        _is_reset_tunnel().alias("is_reset_tunnel"),
    ]


def abnormal_exchange_columns(latest: int) -> list[pl.Expr]:
    """Return the columns to report for a suspect exchange, with the `reason` why it did not end normally; null if it did.

    `latest`: the end of the capture (ns). The columns of `exchange_facts` are needed, too.
    """
    last = pl.coalesce("response_end", "response_start", "request_end", "request_start")
    return [
        c("connection"),
        c("exchange").cast(pl.Int64),
        _reason(pl.lit(latest, pl.Int64) - last).cast(REASONS).alias("reason"),
        pl.coalesce("request_frame", "response_frame").alias("frame"),
        pl.coalesce("request_start", "response_start").alias("time"),
        (~c("is_answered")).alias("unanswered"),
        (pl.lit(latest, pl.Int64) - last).alias("waited"),
        pl.max_horizontal("request_start", "previous_end").alias("over"),
        pl.lit(0, pl.Int64).alias("bytes"),
        _idle_before_close().alias("idle"),
        c("request_method"),
        c("request_target"),
        c("may_be_lost").alias("if_unacknowledged"),
    ]


def _is_answered() -> pl.Expr:
    """Return an expression that is true if an exchange has a final response or an upgrade (101)."""
    interim = (c("has_response") & (c("response_status") < 200) & ~c("upgraded")).fill_null(value=False)
    return c("has_response") & ~interim


def _is_closed() -> pl.Expr:
    """Return an expression that is true if the server closed the connection, or the client reset it."""
    reset = c("client_close_rst").eq(1).fill_null(value=False) | c("client_rst_frame").is_not_null()
    return c("server_close_frame").is_not_null() | reset


def _idle_before_close() -> pl.Expr:
    """Return an expression for the time in ns without payload before the server closed; null unless the server closed first.

    If the client sent the last payload, the time counts from its arrival at the server.
    """
    to_server = pl.when(c("last_payload_role") == CLIENT).then(c("rtt_server").fill_null(0)).otherwise(0)
    idle = c("server_close_time") - c("last_payload_time") - to_server
    first = c("client_close_time").is_null() | (c("server_close_time") <= c("client_close_time"))
    return pl.when(first & (idle >= 0)).then(idle)


def _is_left() -> pl.Expr:
    """Return an expression that is true for a tunnel or an endless stream that the server was not the first to close."""
    client, server = c("client_close_frame").is_not_null(), c("server_close_frame").is_not_null()
    client_first = client & (~server | (c("client_close_time") <= c("server_close_time")).fill_null(value=True))
    return (c("upgraded") | (c("response_framing") == "tunnel") | streams()) & (client_first | ~_is_closed())


def _has_gap() -> pl.Expr:
    """Return an expression that is true if packets of the exchange, or earlier packets of its connection, were not captured."""
    return c("gap_before") | c("request_has_gap") | c("response_has_gap") | (c("response_end_reason") == "hole")


def _may_be_lost() -> pl.Expr:
    """Return an expression that is true if a complete response came when the client's host no longer knew the connection, or was
    ended by an RST that perhaps another host sent.

    The response was lost unless the client had acknowledged it before; only the connection's row in `connections` shows that.
    """
    ends = (c("response_end_reason") == "complete") & (c("request_end_reason") == "complete")
    lost = _met_no_connection() | (_is_reset_unread() & _may_be_foreign_rst()).fill_null(value=False)
    return _is_answered() & ends & ~_is_left() & c("both_directions") & ~_has_gap() & lost


def _needs_no_rest() -> pl.Expr:
    """Return an expression that is true if the server does not need the rest of the request, so the client may stop sending it.

    This is so if the response announces the close or rejects the request (RFC 9112 section 9.6) and came before the client
    closed.
    """
    needs_none = c("response_connection_close") | (c("response_status") >= 400)
    came_first = c("client_close_time").is_null() | (c("response_end") < c("client_close_time"))
    return (needs_none & came_first).fill_null(value=False)


def _reason(waited: pl.Expr) -> pl.Expr:
    """Return an expression for the reason why an exchange did not end normally; null if it did.

    `waited`: the time in ns from the last byte of the exchange to the end of the capture.
    """
    answered, asked, closed = c("is_answered"), c("is_asked"), c("is_closed")
    ended = c("response_end_reason") == "complete"
    left = answered & c("is_left")
    cut_tunnel = c("is_cut_websocket") | c("is_unanswered_tunnel") | c("is_reset_tunnel")
    # a tunnel or stream that perhaps ended before the client left it
    doubted = (c("is_left") & c("is_doubted") & ~(streams() & ended)).fill_null(value=False)
    # data from the server after everything that was parsed
    unread = ~answered & (c("server_sent_more") == 1).fill_null(value=False)
    return (
        pl.when(_rejects_unread_bytes())
        .then(pl.when(_waited_for_head()).then(pl.lit("head-awaited")).otherwise(pl.lit("request-not-http")))
        .when(((answered & ended & asked) | (left & asked)) & ~c("may_be_lost") & ~cut_tunnel & ~doubted)
        .then(None)
        .when(~c("both_directions"))
        .then(pl.lit("one-sided"))
        .when("has_gap")
        .then(pl.lit("gap"))
        .when("is_cut_websocket")
        .then(pl.lit("websocket-cut"))
        .when("is_unanswered_tunnel")
        .then(pl.lit("tunnel-unanswered"))
        .when("is_reset_tunnel")
        .then(pl.lit("tunnel-reset"))
        .when(c("request_end_reason") == "error")
        .then(pl.lit("request-unreadable"))
        .when(unread)
        .then(pl.lit("unreadable"))
        .when(~asked & closed & (c("request_framing") == "none"))
        .then(pl.lit("head-unfinished"))
        .when(~asked & closed & answered & ended & _needs_no_rest())
        .then(pl.when(c("at_capture_end") & c("client_close_time").is_null()).then(pl.lit("request-unfinished")))
        .when(~asked & closed)
        .then(pl.lit("request-cut-short"))
        .when(~asked & (waited >= SILENCE) & ~answered)
        .then(pl.lit("request-stopped"))
        .when(~asked)
        .then(pl.lit("request-unfinished"))
        .when("is_doubted")
        .then(pl.lit("reset-doubted"))
        .when(answered & (closed | (c("response_end_reason") != "capture-end")))
        .then(pl.lit("cut-short"))
        .when(answered)
        .then(pl.lit("response-unfinished"))
        .when(~closed)
        .then(pl.lit("no-answer"))
        .when(c("previous_announced_close"))
        .then(pl.lit("after-close-announced"))
        .otherwise(pl.lit("closed"))
    )


def _rejects_unread_bytes() -> pl.Expr:
    """Return an expression that is true if the server rejected bytes from the client that contain no complete request head.

    The first response of the connection is then an error that acknowledges bytes, but no request was found in these bytes,
    although the capture has all of them.
    """
    first = ~c("has_request") & (c("exchange") == 0) & c("handshake") & c("both_directions") & ~c("has_gap")
    return (first & (c("response_status") >= CLIENT_ERROR) & (c("request_arrived_at_response") == MORE)).fill_null(value=False)


def _waited_for_head() -> pl.Expr:
    """Return an expression that is true if the server rejected the client's bytes because it waited too long for the head.

    This is assumed if the server waited: a server that gets bytes of another protocol rejects them at once.
    """
    late = c("response_start") - c("accepted_time") >= WAITED_FOR_HEAD
    return ((c("response_status") == REQUEST_TIMEOUT) | late).fill_null(value=False)


def _is_doubted() -> pl.Expr:
    """Return an expression that is true if an RST ended the exchange, but the host in its source address may not have sent it.

    One of four signs is enough. The server continues the response after an RST with its address. The client's first close is an
    RST that does not fit the client's other packets. Or that close is an RST without the ACK flag: a host sends such an RST if it
    does not know the connection, but not if a program closes it. Or the server's address answers the client's FIN with such an
    RST.
    """
    later = c("response_goes_on") & (c("response_end") > c("server_close_time"))
    goes_on = _is_answered() & (c("server_close_rst") == 1) & later
    unknown = is_reset_without_ack("client") & c("server_close_frame").is_null()
    return (goes_on | unknown | _may_be_foreign_rst() | unknown_to_server()).fill_null(value=False)


def abnormal_connection_columns(latest: int) -> list[pl.Expr]:
    """Return the columns to report for a suspect connection, with the `reason` why it did not end normally; null if it did.

    `latest`: the end of the capture (ns).
    """
    pending = c("client_unacknowledged") + c("server_unacknowledged")
    quiet = pl.lit(latest, pl.Int64) - c("end")
    silent = quiet >= SILENCE
    both = (c("client_packets") > 0) & (c("server_packets") > 0)
    http = (c("protocol") == "http") & (c("exchanges") > 0)
    one_way = (c("client_bytes") > 0) & (c("server_bytes") == 0)
    reset, by_server = c("close") == "rst", c("closed_by") == "server"
    nothing = c("protocol") == "none"
    at_once = (c("end") - c("first_answer_time") < CLOSED_WITHIN).fill_null(value=False)
    refused = c("refused_frame").is_not_null() & c("first_answer_frame").is_null() & ~c("connected")
    only_syns = (c("client_packets") == c("syns")) | (c("history") == "STR")
    unanswered = (c("server_packets") == 0) & only_syns & ~c("one_sided")
    never_up = ~c("connected") & (c("closed_by") == "")
    unheard_syn_acks = (c("syns") > 1) & never_up & (c("client_packets") == c("syns")) & (c("server_packets") > 1)
    # a client that had sent the RST itself would not repeat its SYN; a single repetition may be a late copy
    rejected = ~c("connected") & (c("syns") > 2) & c("history").str.starts_with("ShRT")
    says_goodbye = (c("protocol") == "tls") | (c("protocol") == "http2")
    late = c("client_unacknowledged") > pl.when(says_goodbye).then(GOODBYE).otherwise(0)
    refused_data = (by_server | one_way) & ~reset & late & c("history").str.contains("[Rr]")
    unfinished = silent & (pending > 0) & ~c("history").str.contains("[FfRr]")
    # a client that closes sooner may have opened the connection in reserve
    waited = (c("end") - c("first_answer_time") >= CLOSED_WITHIN).fill_null(value=False)
    given_up = (c("closed_by") == "client") & ~reset & waited
    unheard = says_goodbye & one_way & (c("server_unseen_bytes") == 0) & (given_up | ((c("close") == "") & silent))
    # the client answers each packet of the server at most once; its other packets after the SYNs are probes
    probed = c("client_packets") - c("syns") - c("server_packets") >= UNANSWERED_PROBES
    reason = (
        pl.when((c("syns") > 0) & refused)
        .then(pl.lit("refused"))
        .when(nothing & (unheard_syn_acks | rejected))
        .then(pl.lit("syn-ack-lost"))
        .when((c("syns") > 0) & (unanswered | (nothing & never_up & both)) & ((quiet >= FIRST_REPETITION) | (c("syns") > 1)))
        .then(pl.lit("no-connection"))
        .when(nothing & c("handshake") & (c("close") == "") & probed)
        .then(pl.lit("probes-unanswered"))
        .when(nothing)
        .then(pl.when(c("handshake") & by_server & at_once).then(pl.lit("closed-unused")))
        .when(~both)
        .then(None)
        .when(~http & one_way & by_server & (reset | (c("protocol") == "tls") | refused_data))
        .then(pl.lit("closed-unanswered"))
        .when(~http & ((reset & (one_way | (by_server & (pending > 0)))) | refused_data))
        .then(pl.lit("reset"))
        .when(~http & unheard & (pending == 0))
        .then(pl.lit("hello-unanswered"))
        .when(silent & (pending > 0) & c("history").str.contains("[Tt]") & ~c("history").str.contains("[Rr]"))
        .then(pl.lit("silence"))
        .when(~http & reset & by_server)
        .then(pl.lit("server-reset"))
        .when(~http & unfinished)
        .then(pl.lit("breaks-off"))
    )
    return [
        c("connection"),
        pl.lit(None, pl.Int64).alias("exchange"),
        reason.cast(REASONS).alias("reason"),
        c("last_frame").alias("frame"),
        c("end").alias("time"),
        pl.lit(value=False).alias("unanswered"),
        quiet.alias("waited"),
        c("end").alias("over"),
        pending.alias("bytes"),
        pl.lit(None, pl.Int64).alias("idle"),
        pl.lit("").alias("request_method"),
        pl.lit("").alias("request_target"),
        c("client_host"),
        c("server"),
    ]

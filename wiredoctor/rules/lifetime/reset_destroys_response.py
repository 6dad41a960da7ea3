"""The server answered an upload before reading all of it, and its reset may have destroyed the response.

What it means
    The server responded before it had read the complete request, for example with a 413 or a 401, or because its program
    ignores the body. Then it closed its socket. If data is unread or still arriving, the kernel sends an RST instead of a
    FIN. An RST makes the receiver discard what it has not read yet, such as the response.

Why it hurts
    The client sees "connection reset by peer" or "broken pipe" instead of the status that names the problem, and tries again.
    Whether the response gets through depends on chance, on the client's system and on the distance. No wrong setting is needed:
    Python's http.server resets like this, and gunicorn's sync worker did so for a long time.

How it is proved
    The packet with the head of the response does not acknowledge the complete request, or the request never became complete.
    The server's RST follows at once, before any FIN or RST of the client. The RST does not acknowledge the complete request
    either.

What it is not
    A server may answer early and go on reading, or send its FIN and wait for the client's (a lingering close). A client may
    stop its upload when it has seen the response. A client that sends the request again with credentials before the RST
    arrives, on another connection, has read the 401 or 407. If a reset cuts off the response to a complete request,
    truncated-response reports it.

What to do
    Have the server read the rest, up to a limit, before it closes. Have clients announce large uploads with Expect: 100-continue.

References
    RFC 9112 section 9.6, RFC 9110 section 10.1.1, RFC 9293 section 3.6, nginx's lingering_close.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.auth_challenges import REFUSED
from wiredoctor.rules.shared.evidence import candidate, confidence, has_doubtful_close
from wiredoctor.rules.shared.words import packets, sender_of_close, with_doubt
from wiredoctor.tables import WHOLE
from wiredoctor.text.durations import duration_text
from wiredoctor.world import World
from wiredoctor.world.clients import Clients
from wiredoctor.world.connection_close import RECEIVED, grace_period, time_to_receive
from wiredoctor.world.exchange import REQUEST_TIMEOUT
from wiredoctor.world.numbers import DURATION

c = pl.col

RULE = Rule(
    symptom="*connection reset by peer* or *broken pipe* on an upload, instead of the status that says why",
    severity="error",
    title="The {status} to an upload may have been lost: the server reset the connection before it had read the request",
    message="The server answered {request} with {status} when it had received {received}{of_due} bytes of the body, and reset "
    "the connection {gap} later, while the client was still sending. A reset makes the client's system discard data that "
    'the client has not read yet, so the client may see "connection reset by peer" or "broken pipe" instead of the '
    "{status}.",
    remedy="{expired}Have the server read and discard the rest of the request, up to a limit in bytes and seconds, before it "
    "closes: shut down its sending side first, read, then close (RFC 9112 section 9.6). A reverse proxy that buffers complete "
    "requests does this for the server. Have clients send Expect: 100-continue with large bodies, so that the server can refuse "
    "a body before it is sent. Have clients read while they send.",
    references=(
        Reference("RFC 9112 section 9.6, tear-down", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.6"),
        Reference("RFC 9110 section 10.1.1, Expect", "https://www.rfc-editor.org/rfc/rfc9110.html#section-10.1.1"),
        Reference("RFC 9293 section 3.6, closing a connection", "https://www.rfc-editor.org/rfc/rfc9293.html#section-3.6"),
        Reference("nginx, lingering_close", "https://nginx.org/en/docs/http/ngx_http_core_module.html#lingering_close"),
    ),
    advice=(
        Advice(
            "server",
            "gunicorn",
            "gunicorn: the sync worker closes when the application has answered (recent releases read up to 64 kB first); have "
            "the application read wsgi.input, or put nginx in front of it, which buffers requests.",
        ),
        Advice(
            "server", "nginx", "nginx: lingering_close on (the default), with a longer lingering_time where uploads are slow."
        ),
        Advice("server", "Werkzeug|Python/", "Python: read the body (rfile, or wsgi.input) before sending the response."),
    ),
    ends=True,
)

AT_ONCE = Threshold(
    "1 s",
    "the maximum time from the response to the RST (or two round trips, if they take longer); a server that resets later has "
    "gone on reading, as it should",
)


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    return pl.col("server_rst_frame").is_not_null() & (pl.col("request_body_bytes") > 0)


class Facts(NamedTuple):
    """What is known of a response that was followed by a reset. Times and durations are in ns.

    `challenged`: the time from which a packet at the capture point may be an answer to a challenge; None if there is none.
    `ended_at`: the time from which such a packet may be a reaction to the RST.
    """

    connection: int
    exchange: int
    challenged: int | None
    ended_at: int
    gap: int
    response_status: int
    response_frame: int
    response_start: int
    request_frame: int
    request_start: int
    request_end_reason: str
    request_body_due: int | None
    server_close_frame: int | None
    server_close_time: int | None
    server_close_rst: int | None
    server_close_origin: str | None
    server_rst_frame: int
    server_rst_time: int


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each response that was followed by a reset while the request was still arriving."""
    answered = c("has_request") & c("has_response") & (c("response_status") >= 200) & ~c("upgraded")
    body = (
        (c("request_body_bytes") > 0) & c("server_rst_frame").is_not_null() & c("request_end_reason").is_in(["complete", "rst"])
    )
    gap = c("server_rst_time") - pl.max_horizontal("response_end", c("server_close_time").fill_null(0))
    at_once = (c("server_rst_frame") >= c("response_frame")) & (gap <= grace_period(AT_ONCE.value))
    # a client that has sent a FIN has no upload left; a later RST of the client only answers data that it no longer expects
    alone = c("client_close_frame").is_null() | ((c("client_close_rst") == 1) & (c("client_close_frame") > c("server_rst_frame")))
    itself = c("server_close_origin") != "between"
    unread = _unread("request_arrived_at_response") & _unread("request_arrived")
    received = pl.min_horizontal(
        (c("response_ack") - c("request_offset") - c("request_head_bytes")).clip(0), "request_body_bytes"
    )
    doubted = has_doubtful_close("server") & (c("server_close_rst") == 1)
    to_client = time_to_receive(RECEIVED.value)
    arrival = c("server_rst_time") + to_client
    return closes.filter(answered & body & at_once & alone & itself & unread).select(
        *candidate("server", confidence(doubted), "request_frame", "request_start", "server_rst_time"),
        received.fill_null(0).alias("received"),
        (c("server_rst_time") - c("response_start")).clip(0).cast(DURATION).alias("gap"),
        pl.when(c("response_status").is_in(REFUSED)).then(c("response_end") + to_client).alias("challenged"),
        arrival.alias("ended_at"),
        pl.lit(None, pl.Int64).alias("waited"),
        pl.max_horizontal(arrival, "final_at").alias("due"),
        *("response_status", "response_frame", "response_start", "request_frame", "request_start", "request_end_reason"),
        *("request_body_due", "server_close_frame", "server_close_time", "server_close_rst", "server_close_origin"),
        *("server_rst_frame", "server_rst_time"),
    )


def _unread(arrived: str) -> pl.Expr:
    """Return True if the request never became complete, or if not all of it had arrived according to the column `arrived`."""
    return (c("request_end_reason") == "rst") | (c(arrived) < WHOLE).fill_null(False)


ASKS = (Clients,)


def decide(x: Facts, world: World) -> Facts | None:
    """Drop the candidate if its client had read the response before the RST arrived.

    Such a client answered a challenge: it sent the request again, with credentials, on another connection.
    """
    clients = world.of(Clients)
    own = clients.request(x.connection, x.exchange)
    if own is None or own.has_credentials or x.challenged is None:
        return x
    later = clients.same_requests(own, x.challenged, x.ended_at - 1)
    return None if any(other.has_credentials and other.connection != x.connection for other in later) else x


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the response and the reset."""
    never = "; the request is not complete, and never will be"
    unread = ", which does not acknowledge the complete request" if x.request_end_reason == "complete" else never
    reset = f"the server's RST, {duration_text(x.gap)} after the beginning of the response"
    after_fin, expired = x.server_close_rst == 0, x.response_status == REQUEST_TIMEOUT
    return {
        "origin": sender_of_close(x.server_close_origin),
        "of_due": "" if x.request_body_due is None else f" of {x.request_body_due}",
        "expired": _EXPIRED.format(duration_text(x.response_start - x.request_start)) if expired else "",
        "evidence": packets(
            (x.request_frame, x.request_start, "the request"),
            (x.response_frame, x.response_start, f"the response, {x.response_status}{unread}"),
            (x.server_close_frame if after_fin else None, x.server_close_time, _FIN),
            (x.server_rst_frame, x.server_rst_time, reset if after_fin else with_doubt(x.server_close_origin, reset)),
        ),
    }


_FIN = "the server's FIN, which does not acknowledge the complete request"

_EXPIRED = (
    "The server's time limit for receiving a request had probably expired, {} after the request began: raise it (nginx "
    "client_body_timeout; Apache httpd RequestReadTimeout; HAProxy timeout http-request; Node server.requestTimeout), or find "
    "out why the upload is slow. "
)

"""The server closed a connection that it had left open for the next request.

What it means
    Neither the request nor the response announced a close, so the connection was persistent (RFC 9112 section 9.3), but the
    server closed it right after the response. It should have sent `Connection: close`. In the words of the .NET Framework:
    "The underlying connection was closed: A connection that was expected to be kept alive was closed by the server."

Why it hurts
    A client may send its next request before it sees the close. That request is lost. The error comes and goes, and it is
    more frequent with fast clients. Clients that notice the close in time need a new handshake for each request.

How it is proved
    The request is complete. The response is complete and marks its own end (Content-Length or chunked). Neither announces
    the close, and the server's FIN or RST follows within a second. Acknowledgment numbers show, at any capture point, that
    the client had not closed before.

    A close within 20 ms of the response belongs to that response. A later close may have another reason, such as a restart. It
    counts as a habit if the server also closed at another moment after a similar time, or closed too early at three moments:
    within a second of a response, or more than a second before the announced time. Otherwise the kind is once. The kind is also
    once if the response lasted for a second or more, and the server did not close like this after any response that began later.
    When a server stops or reloads, it first completes the responses that have begun. Their heads are already sent, so they cannot
    announce the close.

What it is not
    A close more than a second after the response ends an idle connection and is not reported. Nor is a close after one second
    if the server announced this timeout (Keep-Alive: timeout=1). Not reported either: a response that says `Connection:
    close` or `Keep-Alive: max=0`, a body that ends with the connection, and a close that the client began or that both sides
    began at once. Closes after an upgrade, of a tunnel, or after a refused tunnel (a response to CONNECT other than 407) are
    not judged. If a line in the head of the response is not a field, malformed-head explains the close: the line may be its
    announcement. If a process of the server ended with all its idle connections, idle-close reports it as kind stop. The same
    holds if the next SYN is refused within a second, unless the server also closes right after other responses.

What to do
    Send `Connection: close` in the response that ends a connection, or keep the connection open. Kind once: check whether
    the server was restarted or reloaded at that time; then nothing has to change.

References
    RFC 9112 sections 9.3 and 9.6, Microsoft HttpWebRequest.KeepAlive, Microsoft HttpFilterProc.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.evidence import candidate, confidence, has_doubtful_close
from wiredoctor.rules.shared.words import close_after_response, fin_or_rst, packets, sender_of_close, with_doubt
from wiredoctor.world import World
from wiredoctor.world.connection_close import (
    DECIDED,
    FRAMING_ERRORS,
    SELF_FRAMED,
    closed_as_announced,
    ended_within_grace_period,
    is_complete,
    may_have_closed_first,
    server_closed_first,
)
from wiredoctor.world.connection_close import IDLE as IMMEDIATE
from wiredoctor.world.learned_limits import NO_IDLE_TIME
from wiredoctor.world.numbers import DURATION
from wiredoctor.world.server import TOGETHER, Servers

c = pl.col

_CLOSED = (
    "The server answered {request} with {status} and closed the connection ({close}) {gap}{moment} the end of that response. "
    "Nothing had announced the close: request ({request_version}) and response ({response_version}) leave the connection open, "
    "and the response has no header field Connection: close."
)

RULE = Rule(
    symptom="*expected to be kept alive was closed by the server*",
    severity={None: "warning", "once": "note"},
    title="The server closed a connection that was expected to be kept alive, after a {status}",
    message={
        None: _CLOSED + " A client that sends its next request at that "
        'moment loses it: "A connection that was expected to be kept alive was closed by the server."{hint}',
        "once": _CLOSED + "{once}",
    },
    remedy={
        None: "Have the server send Connection: close in the response after which it closes, or keep the connection open. "
        "{cure}Until that is done, have clients repeat requests that are safe to repeat; turning keep-alive off in the client is "
        "the last resort.",
        "once": "If the server was restarted or reloaded at this time, nothing has to change. Otherwise capture for longer, and "
        "if the server closes like this again, have it send Connection: close in the response after which it closes.",
    },
    references=(
        Reference("RFC 9112 section 9.3, persistence", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.3"),
        Reference("RFC 9112 section 9.6, tear-down", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.6"),
        Reference(
            "Microsoft, HttpWebRequest.KeepAlive",
            "https://learn.microsoft.com/en-us/dotnet/api/system.net.httpwebrequest.keepalive",
        ),
        Reference(
            "Microsoft, HttpFilterProc: SF_STATUS_REQ_FINISHED_KEEP_CONN",
            "http://msdn.microsoft.com/en-us/library/2a1c97b3-4f89-4c2e-a8da-165fe6d3e20b",
        ),
    ),
    explained_by=(
        ("auth-connection-closed", "connection"),
        ("reset-destroys-response", "connection"),
        ("malformed-head/no-colon", "connection"),
        *((name, "connection") for name in FRAMING_ERRORS),
    ),
    advice=(
        Advice("server", "IIS|Microsoft", "IIS: look for ISAPI filters and modules that end the request on their own."),
        Advice(
            "server",
            "nginx",
            "nginx announces its own closes: look for a device in front of nginx, and for a reload at that time.",
        ),
        Advice(
            "server",
            "gunicorn",
            "gunicorn: use --worker-class gthread with --keep-alive; its sync worker keeps no connection open.",
        ),
        Advice("server", "Python/", "Python's http.server: a handler that sets close_connection has to send Connection: close."),
    ),
    absence=True,
    ends=True,
)


LONG = Threshold("1 s", "a server may be told to stop during a response that takes this long; it then sends the rest and closes")


def may_match() -> pl.Expr:
    """Return a cheap condition: if no row of a batch meets it, the batch has no candidate findings."""
    soon = c("server_close_time") - c("response_end") <= IMMEDIATE.value
    return soon & c("last_on_connection") & c("persistent") & may_have_closed_first()


def _is_premature() -> pl.Expr:
    """Return an expression that is true for the rows that become candidates."""
    self_framed = c("response_framing").is_in(SELF_FRAMED)
    gap = c("server_close_time") - c("response_end")
    # a FIN or RST that came before the response is forged, or belongs to an earlier connection
    closed = (gap <= IMMEDIATE.value) & (c("server_close_time") >= c("response_start")) & c("last_on_connection")
    closed &= ~closed_as_announced()
    # a client whose tunnel was refused sends its next request elsewhere
    refused = (c("request_method") == "CONNECT") & (c("response_status") != 407)
    no_more = (c("response_keep_alive_max") == 0).fill_null(value=False)  # the server accepts no further request
    promised = ~refused & ~no_more & c("has_request") & c("has_response") & c("persistent") & ~c("upgraded")
    return promised & is_complete() & self_framed & closed & server_closed_first()


class Facts(NamedTuple):
    """What is known of a close without an announcement. Times and durations are in ns."""

    connection: int
    endpoint: int
    kind: str | None
    confidence: str
    final_at: int
    end: int
    response_status: int
    lasted: int
    after: int
    request_frame: int
    request_start: int
    response_frame: int
    response_start: int
    server_close_frame: int
    server_close_rst: int
    server_close_origin: str | None
    finished: bool


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each exchange after which the server closed without announcing it."""
    sure = confidence(ended_within_grace_period(DECIDED.value) | has_doubtful_close("server"))
    after = c("server_close_time") - c("response_end")
    return closes.filter(_is_premature()).select(
        *candidate("server", sure, "request_frame", "request_start", "server_close_time"),
        *("endpoint", "final_at", "response_status", "request_version", "response_version"),
        pl.when(after > 0).then(after).cast(DURATION).alias("gap"),
        after.alias("after"),
        (c("response_end") - c("response_start")).cast(DURATION).alias("lasted"),
        *("request_frame", "request_start", "response_frame", "response_start"),
        *("server_close_frame", "server_close_rst", "server_close_origin"),
        pl.lit(value=False).alias("finished"),
    )


ASKS = (Servers,)


def decide(x: Facts, world: World) -> Facts | None:
    """Drop closes that happened when a server process ended.

    If all closes of an endpoint happened at one moment, more than NO_IDLE_TIME after the responses, a process may have ended
    then. These closes are kept, but with the kind "once" and at most medium confidence. The same holds for closes after long
    responses, if the server may have been told to stop during these responses.
    """
    server = world.of(Servers).at(x.endpoint, world.until(x.final_at + TOGETHER))
    if server.is_stopped(x.connection):
        return None
    single = x.after > NO_IDLE_TIME and not server.is_repeated(x.connection, x.end)
    finished = not single and x.lasted >= LONG.value and server.may_have_stopped
    if not single and not finished:
        return x
    return x._replace(kind="once", confidence="medium" if x.confidence == "high" else x.confidence, finished=finished)


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the close."""
    close = fin_or_rst(x.server_close_rst)
    unauthorized = x.response_status == UNAUTHORIZED
    together = f"the server's {close}, together with the end of the response"
    note = close_after_response(x.server_close_rst, x.after) if x.after > 0 else together
    return {
        "moment": " after" if x.after > 0 else "together with",
        "close": close,
        "origin": sender_of_close(x.server_close_origin),
        "once": _FINISHED if x.finished else _SINGLE,
        "hint": _UNAUTHORIZED if unauthorized else "",
        "cure": _UNAUTHORIZED_CURE if unauthorized else "",
        "evidence": packets(
            (x.request_frame, x.request_start, "the request, without Connection: close"),
            (x.response_frame, x.response_start, f"the response, {x.response_status}, also without Connection: close"),
            (x.server_close_frame, x.end, with_doubt(x.server_close_origin, note)),
        ),
    }


UNAUTHORIZED = 401

_SINGLE = (
    " The capture shows no second close of this kind, so the cause may be a restart or a reload of the server: both close idle "
    "connections without an announcement."
)
_FINISHED = (
    " The head of that response had been sent at least a second earlier. If the server was told to stop or to reload in between, "
    "it completed the response and closed. The head could no longer announce the close."
)

_UNAUTHORIZED = (
    " A 401 is the classic case: the part of the server that checks credentials answers on its own and ends the connection, "
    "although the client will repeat the request with credentials on the same connection."
)
_UNAUTHORIZED_CURE = (
    "If an ISAPI filter answers from OnPreprocHeaders: SF_STATUS_REQ_FINISHED_KEEP_CONN closes like SF_STATUS_REQ_FINISHED, so "
    "add Connection: close to that 401 (which helps behind a reverse proxy, too), or authenticate in an HTTP module (integrated "
    "mode). "
)

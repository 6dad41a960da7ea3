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
    not judged. If a process of the server ended with all its idle connections, idle-close reports it as kind stop. The same
    holds if the next SYN is refused within a second, unless the server also closes right after other responses.

What to do
    Send `Connection: close` in the response that ends a connection, or keep the connection open. Kind once: check whether
    the server was restarted or reloaded at that time; then nothing has to change.

References
    RFC 9112 sections 9.3 and 9.6, Microsoft HttpWebRequest.KeepAlive, Microsoft HttpFilterProc.
"""

from __future__ import annotations

import polars as pl

from wiredoctor.findings import Advice, Reference, Rule, Threshold
from wiredoctor.rules.shared.connection_close import (
    DECIDED,
    FRAMING_ERRORS,
    SELF_FRAMED,
    closed_as_announced,
    ended_within_grace_period,
    is_complete,
)
from wiredoctor.rules.shared.connection_close import IDLE as IMMEDIATE
from wiredoctor.rules.shared.evidence import (
    candidate,
    close_after_response,
    close_origin,
    confidence,
    evidence,
    fin_or_rst,
    has_doubtful_close,
    may_have_closed_first,
    server_closed_first,
    with_doubt,
)
from wiredoctor.rules.shared.idle_times import IdleTimes
from wiredoctor.rules.shared.learned_limits import NO_IDLE_TIME
from wiredoctor.rules.shared.numbers import DURATION

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


def screen() -> pl.Expr:
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


def find(closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each exchange after which the server closed without announcing it."""
    gap = c("server_close_time") - c("response_end")
    lasted = c("response_end") - c("response_start")
    unauthorized = c("response_status") == 401
    sure = confidence(ended_within_grace_period(DECIDED.value) | has_doubtful_close("server"))
    return closes.filter(_is_premature()).select(
        *candidate("server", sure, "request_frame", "request_start", "server_close_time"),
        pl.when(gap > 0).then(gap).cast(DURATION).alias("gap"),
        pl.when(gap > 0).then(pl.lit(" after")).otherwise(pl.lit("together with")).alias("moment"),
        fin_or_rst("server_close_rst").alias("close"),
        close_origin("server"),
        *("endpoint", "final_at"),
        lasted.cast(DURATION).alias("lasted"),
        pl.lit(_SINGLE).alias("once"),
        c("request_version", "response_version"),
        pl.when(unauthorized).then(pl.lit(_UNAUTHORIZED)).otherwise(pl.lit("")).alias("hint"),
        pl.when(unauthorized).then(pl.lit(_UNAUTHORIZED_CURE)).otherwise(pl.lit("")).alias("cure"),
        evidence(
            ("request_frame", "request_start", "the request, without Connection: close"),
            (
                "response_frame",
                "response_start",
                pl.format("the response, {}, also without Connection: close", "response_status"),
            ),
            ("server_close_frame", "server_close_time", with_doubt(has_doubtful_close("server"), _close_note(gap))),
        ),
    )


def by_limits(rows: pl.DataFrame, rests: IdleTimes, *, live: bool) -> pl.DataFrame:
    """Drop closes that happened when a server process ended.

    If all closes of an endpoint happened at one moment, more than NO_IDLE_TIME after the responses, a process may have ended
    then. These closes are kept, but with the kind "once" and at most medium confidence. The same holds for closes after long
    responses, if the server may have been told to stop during these responses.
    """
    later = c("gap").cast(pl.Int64).fill_null(0) > NO_IDLE_TIME
    kept = rests.with_single_closes(rests.without_stopped(rows, live=live), later, live=live)
    lasting = c("kind").is_null() & (c("lasted").cast(pl.Int64) >= LONG.value)
    judged = rests.with_finished_responses(kept, lasting, live=live)
    finished = kept["kind"].is_null() & judged["kind"].is_not_null()
    return judged.with_columns(pl.when(finished).then(pl.lit(_FINISHED)).otherwise("once").alias("once"))


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


def _close_note(gap: pl.Expr) -> pl.Expr:
    together = pl.format("the server's {}, together with the end of the response", fin_or_rst("server_close_rst"))
    return pl.when(gap > 0).then(close_after_response(gap)).otherwise(together)

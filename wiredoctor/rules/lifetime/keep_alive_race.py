"""A request was sent on a connection that the server had closed.

What it means
    Client and server keep a connection open, and either may close it after some idle time. Here the server closed it,
    and the client still sent its next request on it. That request was never answered.

    Kind race: the FIN was still on its way when the request left, so the client could not know. Kind stale-pool: the FIN had
    arrived, but the client's pool did not check the connection before reuse. Kind forgotten: the server, or a balancer, NAT or
    firewall in front of it, had dropped the connection without a FIN and answered the request with an RST. Kind at-limit: the
    server's kernel had acknowledged the request, but its process was already closing the connection and never read the request.
    Kind early-answer: the server had answered the previous request before that was complete, and then closed without having
    announced it.

Why it hurts
    The request is lost. The client reports "connection reset by peer", "the server closed the connection unexpectedly", or "a
    connection that was expected to be kept alive was closed by the server". If the client is a proxy, the proxy answers 502. The
    error comes and goes. It is most frequent if the time between requests is close to the server's idle timeout.

How it is proved
    The server's FIN (or RST with ACK flag) acknowledges no byte of the request, and the request was never answered. The
    acknowledgment number of the request shows whether the client had received the FIN. Both facts are the same at every capture
    point.

    Kind forgotten: the first request after at least a second of idle time is answered by an RST without ACK flag. The RST's
    sequence number is the request's acknowledgment number, no ACK of the request came before it, and no FIN came before it or
    soon after. If the RST has another TTL (hop limit) than the server's packets, or was captured only once although most of the
    server's packets were captured on both sides of a router, a NAT or firewall in front of the server probably sent it. If the
    RST came from another MAC address than the SYN-ACK, another machine answers for the server's address now: a failover, or an
    address that is used twice. That holds only on Ethernet, if the server's packets had an unchanged time to live that is a
    start value (32, 64, 128 or 255), so no router was between, and if no packet was captured at two places. Gratuitous ARP
    alone proves nothing.

    Kind early-answer: the server's FIN came before the last bytes of the previous request, such as its last chunk, although that
    request was answered. The answer did not announce a close. The client sent the rest of that request, and only then the next
    one. The rest must be shorter than a request, because a longer one could be another request that was lost.

    Kind at-limit: the close does acknowledge the request, because kernels acknowledge data that no process has read. The idle
    time is the proof: the server closed right after the request, when its idle timeout expired. That timeout is learned from its
    other closes, announced by the server, or a common default. If the timeout is known only from closes that lost a request, each
    RST must have come within 100 ms of its request, and these RSTs must outnumber the requests that were answered after longer
    idle times. Otherwise the server resets some requests on purpose. An RST instead of a FIN shows that data was left unread (RFC
    1122). With a FIN, stricter limits apply, because a process that has read the request also sends a FIN. Nothing is reported if
    within 50 ms the server also closed connections whose idle time was shorter than the timeout: then a process ended. Nothing is
    reported either if a SYN was refused within a second after the close, unless the timeout is learned from other closes. An
    announced timeout, or one that is a common default, does not count if the server answered at least two requests, and more than
    it lost, after idle times of that length.

    Some servers close within 20 ms after their responses without announcing it. If an RST shows that the request was not read,
    the request must have come within these 20 ms, and the close up to 500 ms later: the process was busy. If the server has
    closed in this way at least 10 times and never answered a second request on a connection, the request may also have come up to
    300 ms after the response.

    Closes after similar idle times may also have another reason: a client sends a request every two seconds, say, and processes
    of the server end at these moments. So no timeout is learned if the server answered other requests after similar idle times,
    unless the shortest idle time before a close is a whole number of seconds, as timeouts are. If the server answered too few
    such requests, but a request came at nearly every close, more than half of the idle times must lie within 5 ms or 0.5 % of one
    another, as with a timer. A busy server's timer is later than that. If each of at least five resets came within 100 ms of its
    request, the idle times before the closes must vary less than the idle times before the requests, and less than the times
    from request to reset: what a client's interval or a handler causes varies as much as that. Otherwise kind at-limit is not
    reported (no-response reports the request), and a finding of kind race names both causes, because packets do not show which of
    them is true.

    A process may be paused (a suspended machine, a frozen container, a debugger). When it resumes, it closes connections that
    were idle for too long before it reads from them. Three facts show this. For more than a second before the close the server
    sent nothing on any connection. Requests were waiting on two or more connections. The idle time at the close was at least the
    timeout. Nothing is reported if a SYN was refused at that time. If the process was paused, the server has to change: no idle
    timeout of the client's pool would have helped.

What it is not
    If the server received the request and closed without answering, although no timeout had expired, no-response reports it.
    no-response also reports the first request of a new connection. idle-close reports a connection that was closed while idle
    and not used again. A client may pipeline a request before it knows that an earlier response announces the close. That
    request is not reported: the client has to repeat it on another connection. A request that the client sent after that
    response is reported. If the client sends a POST or PATCH again at once, the finding says so, because such a request is not
    idempotent. If the client repeats a GET at once and gets its response, the finding is only a warning. A request counts as
    the repetition of at most one lost request. If a client often sends the same request several times at once, a copy does not
    count as a repetition.

What to do
    Make the idle timeout of the client's pool shorter than the server's, and have the client repeat idempotent requests. Kind
    stale-pool: have the pool check a connection before it reuses it. Kind forgotten: stay below the timeouts of balancers, NATs
    and firewalls too, or send TCP keep-alive probes. Kind at-limit: if the server was paused, find out what paused it. If a
    process of the server ended, have it answer the requests that have arrived before it closes. If the server closes without an
    announcement, have the server send `Connection: close`. Kind early-answer: have the server read the request to its end.

References
    RFC 9112 sections 9.3.1 and 9.6, RFC 9110 section 9.2.2, RFC 1122 section 4.2.2.13, Microsoft WebExceptionStatus.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from wiredoctor.findings import Reference, Rule, cached_for_thresholds
from wiredoctor.rules.shared import lost_requests, race_explanations
from wiredoctor.rules.shared.evidence import candidate, confidence, has_doubtful_close
from wiredoctor.rules.shared.lost_requests import (
    FORGOTTEN,
    MET,
    WARNED,
    also_lost,
    find_lost,
    repetition_columns,
    repetition_words,
)
from wiredoctor.rules.shared.lost_requests import may_match as may_be_lost
from wiredoctor.rules.shared.race_explanations import EXPLANATION, explain
from wiredoctor.rules.shared.race_facts import Facts
from wiredoctor.rules.shared.race_words import HEED, explanation_words
from wiredoctor.rules.shared.words import (
    FIND_MACHINES,
    another_machine,
    fin_or_rst,
    packets,
    retry_sentence,
    sender_of_close,
    with_doubt,
)
from wiredoctor.tables import SECOND
from wiredoctor.text.durations import duration_text
from wiredoctor.world import Wait, World, clients
from wiredoctor.world.clients import Clients
from wiredoctor.world.connection_close import DECIDED, POOLS, client_idle_time, closed_against_request, ended_within_grace_period
from wiredoctor.world.numbers import DURATION
from wiredoctor.world.server import TOGETHER, Servers

c = pl.col

_CLOSED = " {closed_after}{limit}{limit_means}"
_IDLE = "When the client sent the request, the client's end of the connection had been idle for {idle}{idle_unknown}." + _CLOSED
_REPEAT = "Have the client repeat idempotent requests if a reused connection is closed without an answer."

_KEEP_KNOWN = (
    "Make the idle timeout of the client's pool shorter than those of the server and of every device between them (balancer, "
    "NAT, firewall), or have the client send TCP keep-alive probes (SO_KEEPALIVE with TCP_KEEPIDLE; the default of two hours is "
    "too long). "
)

RULE = Rule(
    symptom="*socket hang up*, `ECONNRESET`, a 502 now and then",
    severity="error",
    title={
        "race": "A request was lost: the server closed the connection while the request was on its way",
        "stale-pool": "A request was lost: the client used a connection after the server's close had arrived",
        "forgotten": "A request was lost: {forgetful} no longer knew the idle connection",
        "at-limit": "A request was lost: it came as the server was closing the idle connection",
        "early-answer": "A request was lost: the server had answered an incomplete request and closed",
    },
    message={
        "race": "{request} {crossed}: the {close} acknowledges no byte of the request, {unaware}. The request was "
        "never answered.{behind} " + _IDLE,
        "stale-pool": "{request} was sent {known_for} after {what_was_known}. The request was never answered.{behind} " + _IDLE,
        "forgotten": "{request} got an RST that belongs to no connection (it has no ACK flag, and its sequence number is the "
        "request's acknowledgment number). No FIN was captured: {dropped}. The connection had been idle for {idle}"
        "{idle_unknown}.{at_most}{elsewhere}{behind}",
        "at-limit": "{request} came {before_close}{moment} the server closed the connection ({close}) without a response. The "
        "server's kernel had acknowledged the request, but {taken}{unread}.{behind} When the client sent the request, the "
        "client's end of the connection had been idle for {idle}." + _CLOSED,
        "early-answer": "The server answered the previous request before that was complete, and then closed the connection "
        "({close}) without having announced it. {request} was sent on the same connection {known_for} after that close, and was "
        "never answered.{behind}",
    },
    remedy={
        "race": "{shorter}" + _REPEAT,
        "stale-pool": "{look}{shorter}" + _REPEAT,
        "forgotten": "{keep_known}" + _REPEAT,
        "at-limit": "{shorter}" + _REPEAT,
        "early-answer": "Have the server read a request to its end before it closes, or send Connection: close with an answer "
        "that comes earlier. " + _REPEAT,
    },
    references=(
        Reference("RFC 9112 section 9.3.1, retrying requests", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.3.1"),
        Reference("RFC 9112 section 9.6, tear-down", "https://www.rfc-editor.org/rfc/rfc9112.html#section-9.6"),
        Reference("RFC 9110 section 9.2.2, idempotent methods", "https://www.rfc-editor.org/rfc/rfc9110.html#section-9.2.2"),
        Reference("RFC 1122 section 4.2.2.13, closing a connection", "https://www.rfc-editor.org/rfc/rfc1122.html#page-87"),
        Reference(
            "Microsoft, WebExceptionStatus: KeepAliveFailure",
            "https://learn.microsoft.com/en-us/dotnet/api/system.net.webexceptionstatus",
        ),
    ),
    explained_by=(("auth-connection-closed", "connection"), ("unanswered", "exchange"), ("gateway-error", "exchange")),
    caused_by=(("premature-close", "connection"), ("idle-timeout-broken-promise", "connection")),
    advice=POOLS,
    timeless=True,
    absence=True,
    ends=True,
)
SHARED_THRESHOLDS = (race_explanations, lost_requests, clients)


def may_match() -> pl.Expr:
    """Return an expression that is true for all rows that may become candidates."""
    return may_be_lost()


def find(closes: pl.LazyFrame, foreign_closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each request that arrived after a close, or just when an idle timeout may have expired.

    `decide` finds out whether the timeout had expired.
    """
    return _lost_by_kind(closes, foreign_closes).select(_columns())


@cached_for_thresholds
def _columns() -> list[pl.Expr | str]:
    """Return the columns of a candidate."""
    before = c("server_close_time") - c("request_end")
    forgotten = c("kind") == "forgotten"
    sure = confidence(pl.when(forgotten).then(ended_within_grace_period(DECIDED.value)).otherwise(has_doubtful_close("server")))
    end = pl.max_horizontal("request_end", "server_close_time")
    return [
        *candidate("client", sure, "request_frame", "request_start", end, kind=c("kind")),
        client_idle_time().clip(0).cast(DURATION).alias("idle"),
        c("idle").alias("idle_at_server"),
        (c("request_start") - pl.when("warned").then("previous_end").otherwise("server_close_time"))
        .clip(0)
        .cast(DURATION)
        .alias("known_for"),
        pl.when(before > 0).then(before).cast(DURATION).alias("before_close"),
        (c("server_close_rst") == 1).alias("by_rst"),
        pl.when(c("server_rst_frame") != c("server_close_frame")).then("server_rst_frame").alias("reset_frame"),
        *("endpoint", "final_at", "rested", "later", "handshake", "warned", "previous_announced_close", "request_end"),
        *("requests", "server_close_frame", "server_close_time", "server_close_ack", "server_close_origin", "server_rst_time"),
        "server_rst_mac",
        *("ttl", "lowest_ttl", "highest_ttl"),
        pl.lit(None, EXPLANATION).alias("explanation"),
        *repetition_columns(),
    ]


def _lost_by_kind(closes: pl.LazyFrame, foreign_closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows of `closes` whose request was lost, with the kind.

    If another device sent the RST, add the TTLs that show this.
    """
    # a close that was announced, but acknowledges the request, may have come after the request
    warned = (c("took") == WARNED) & ~closed_against_request()
    kind = (
        pl.when("at_limit")
        .then(pl.lit("at-limit"))
        .when(c("took") == FORGOTTEN)
        .then(pl.lit("forgotten"))
        .when(_was_answered_early())
        .then(pl.lit("early-answer"))
        .when(c("server_fin_before_request") | warned)
        .then(pl.lit("stale-pool"))
        .otherwise(pl.lit("race"))
    )
    ttls = foreign_closes.filter(c("sender") == "server").select("connection", "exchange", "ttl", "lowest_ttl", "highest_ttl")
    return (
        find_lost(closes)
        .filter(c("took").is_in([FORGOTTEN, MET, WARNED]) | c("at_limit"))
        .with_columns(kind.alias("kind"), warned.alias("warned"))
        .join(ttls, on=["connection", "exchange"], how="left", maintain_order="left")
    )


_SHORTEST = len("GET / HTTP/1.0\r\n\r\n")
"""The size in bytes of the shortest request."""


def _was_answered_early() -> pl.Expr:
    """Return whether the server answered the previous request, and sent its FIN, before the last bytes of that request.

    What the FIN does not acknowledge before this request is shorter than a request, so it is the end of the answered one, such as
    its last chunk, and not another lost request.
    """
    rest = c("request_offset") - c("server_close_ack")
    by_fin = (c("server_close_rst") == 0) & ~c("previous_announced_close")
    return by_fin & (c("server_close_time") < c("previous_end")) & (rest > 0) & (rest < _SHORTEST)


ASKS = (Servers, Clients)
ORDER = ("ended_at", "connection")


def decide(x: Facts, world: World) -> Facts | Wait | None:
    """Add what the server's idle times show, and how the client repeated the request.

    Drop candidates of kind at-limit whose close matches no timeout.
    """
    explanation = explain(x, world.of(Servers).at(x.endpoint, world.until(x.final_at + TOGETHER)))
    if explanation is None:
        return None
    again = world.of(Clients).repetition(x.connection, x.exchange, x.ended_at, x.round_trip, x.to_client)
    if (wait := again.wait(world)) is not None:
        return wait
    return x._replace(
        explanation=explanation._asdict(),
        side=_side(x, explanation.reason),
        confidence=min(x.confidence, explanation.confidence, key=("low", "medium", "high").index),
        severity=again.severity,
        again=again._asdict(),
    )


def _side(x: Facts, reason: str) -> str | None:
    """Return the side that has to change; None if another machine answers. `reason`: see race_explanations.Explanation."""
    if reason == "paused" or x.kind == "early-answer":
        return "server"
    return None if _is_elsewhere(x) else "client"


def _is_elsewhere(x: Facts) -> bool:
    """Return whether another machine than before answers for the server's address."""
    return x.kind == "forgotten" and x.server_rst_mac is not None


def words(x: Facts) -> dict[str, Any]:
    """Return the words about the request, the close, and the reason for the close."""
    close = fin_or_rst(x.by_rst)
    addition, repetition = repetition_words(x.again, x.ended_at)
    forgetful = {"endpoint": "the server", "between": "a device in front of the server"}
    unknown = f"an unknown time: {'it had not been used before' if x.handshake else 'the capture began later'}"
    return {
        "close": close,
        "origin": sender_of_close(x.server_close_origin),
        "what_was_known": _SAID if x.warned else _FIN_KNOWN,
        "look": HEED if x.warned else _LOOK,
        "moment": " before" if x.server_close_time > x.request_end else "just before",
        "unread": ", as the RST instead of a FIN shows" if x.by_rst else "",
        "idle_unknown": unknown if x.idle is None else "",
        "crossed": _crossed(x, close),
        "unaware": (_RST_UNSEEN if x.by_rst else _FIN_UNSEEN) + (_WARNED if x.previous_announced_close else _UNAWARE),
        "behind": also_lost(x.requests),
        "elsewhere": _elsewhere(x),
        "forgetful": forgetful.get(x.server_close_origin or "", "a device in front of the server probably"),
        **explanation_words(x),
        **_of_forgotten(x),
        "addition": retry_sentence(x.retry) or addition,
        "evidence": packets(
            (x.server_close_frame, x.server_close_time, _close_note(x, close)),
            (x.frame, x.start, _request_note(x)),
            (x.reset_frame, x.server_rst_time, "the server's RST: the request arrived after the close"),
            repetition,
        ),
    }


def _of_forgotten(x: Facts) -> dict[str, Any]:
    """Return the words about the host that no longer knew the connection (kind forgotten)."""
    if _is_elsewhere(x):
        dropped = another_machine(x.server_rst_mac or 0)
        return {"title": _MOVED, "dropped": dropped, "at_most": "", "keep_known": FIND_MACHINES}
    restarted = "; a restarted host would look the same" if x.server_close_origin == "endpoint" else ""
    return {"dropped": _DROPPED, "at_most": _AT_MOST.format(restarted), "keep_known": _KEEP_KNOWN}


_DROPPED = "the server, or a balancer, NAT or firewall in front of it, had dropped the connection silently"
_AT_MOST = " If an idle timeout is the cause, it is at most that long{}."
_MOVED = "A request was lost: another machine answers for the server's address now"
_CROSSING = SECOND
"""If a FIN was captured at least this long (ns) before the request, the two did not cross: round trips are shorter."""


def _crossed(x: Facts, close: str) -> str:
    """Return how the request met the close. A FIN that the client had not received after _CROSSING was lost."""
    before = x.start - x.server_close_time
    if before >= _CROSSING and not x.by_rst:
        return f"came {duration_text(before)} after the server's FIN, which was lost or dropped on its way to the client"
    return f"and the server's {close} crossed on the way"


_FIN_UNSEEN = "and the request does not acknowledge the FIN"
_RST_UNSEEN = "and a client that has received an RST sends no request"
_WARNED = ". But the client had the previous response, which announced the close"
_UNAWARE = ", so the client could not know that the server was closing"
_LOOK = "Have the pool check each connection before reuse: an idle connection that is readable has been closed by the server. "
_FIN_KNOWN = (
    "the server's FIN on the same connection, and acknowledges that FIN: the client's kernel had received it, but the client's "
    "pool did not check the connection before using it again"
)
_SAID = (
    "a response on the same connection that announced the close: the client had that response and ignored the announcement. The "
    "server closed as announced"
)


def _elsewhere(x: Facts) -> str:
    """Return a sentence saying that another device sent the RST; "" if packets neither show nor suggest this."""
    if x.server_close_origin != "between":
        return "" if x.server_close_origin == "endpoint" else _PROBABLY_NOT
    if x.ttl is None or x.lowest_ttl is None or x.highest_ttl is None:
        return " The server did not send this RST: the server's own packets look different."
    usual = f"{x.lowest_ttl}" if x.lowest_ttl == x.highest_ttl else f"{x.lowest_ttl} to {x.highest_ttl}"
    return f" The server did not send this RST: the RST has TTL {x.ttl}, and the server's packets have {usual}."


_PROBABLY_NOT = (
    " The RST does not look like the server's own packets: its TTL or its time differs, or it was captured once, but "
    "they were captured twice. Probably a NAT, firewall or balancer in front of the server sent it, and the request did not "
    "reach the server."
)


def _close_note(x: Facts, close: str) -> str:
    if x.kind == "forgotten":
        if x.server_rst_mac is not None:
            return "an RST without ACK flag, from another machine; its sequence number is the request's acknowledgment number"
        whose = "the server's RST" if x.server_close_origin == "endpoint" else "an RST in the server's name"
        return f"{whose} without ACK flag; its sequence number is the request's acknowledgment number"
    note = f"the server's {close}, which acknowledges no byte of the request"
    if x.warned and x.server_close_ack is None:
        note = "the server's RST without ACK flag"
    elif x.kind == "at-limit" or x.warned:
        rested = duration_text(x.rested or 0)
        note = f"the server's {close}, which acknowledges the request, {rested} after the previous response"
    return with_doubt(x.server_close_origin, note)


def _request_note(x: Facts) -> str:
    note = "the request" if x.idle is None else f"the request, after {duration_text(x.idle)} idle"
    if x.kind == "race" and not x.by_rst:
        return f"{note}; it does not acknowledge the FIN"
    return f"{note}; it acknowledges the FIN" if x.kind == "stale-pool" and not x.warned else note

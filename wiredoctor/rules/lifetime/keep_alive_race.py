"""A request was sent on a connection that the server had closed.

What it means
    Client and server share a kept-alive connection, and either may close it after some idle time. Here the server closed it,
    and the client still sent its next request on it. That request was never answered.

    Kind race: the FIN was still on its way when the request left, so the client could not know. Kind stale-pool: the FIN had
    arrived, but the client's pool did not check the connection before it used it again. Kind forgotten: the server, or a
    balancer, NAT or firewall in front of it, had dropped the connection without a FIN and answered the request with an RST.
    Kind at-limit: the server's kernel had acknowledged the request, but its process was already closing the connection and
    never read the request.

Why it hurts
    The request is lost. The client reports "connection reset by peer", "the server closed the connection unexpectedly", or "a
    connection that was expected to be kept alive was closed by the server". A proxy in this role answers 502. The error comes
    and goes. It is most frequent if the time between requests is close to the server's idle timeout.

How it is proved
    The server's FIN (or RST with ACK flag) acknowledges no byte of the request, and the request was never answered. The
    acknowledgment number of the request shows whether the client had received the FIN. Both facts look the same at every
    capture point.

    forgotten: the first request after at least a second of idle time is answered by an RST without ACK flag. The RST's
    sequence number is the request's acknowledgment number, and no FIN came before it or soon after.

    at-limit: the close does acknowledge the request, because kernels acknowledge data that no process has read. The idle
    time is the proof: the server closed right after the request, when its idle timeout expired. That timeout is learned from
    its other closes, announced by the server, or a common default. An RST instead of a FIN shows that data was left unread
    (RFC 1122). With a FIN stricter limits apply, because a process that has read the request also sends a FIN. Nothing is
    reported if within 50 ms the server also closed connections whose idle time was shorter than the timeout: then a process
    ended.

    A process may be paused (a suspended machine, a frozen container, a debugger). When it resumes, it closes connections
    that were idle for too long before it reads from them. Three facts show this. For more than a second before the close the
    server sent nothing on any connection. Requests were waiting on two or more connections. The idle time at the close was
    at least the timeout. Nothing is reported if a SYN was refused at that time. In this case the server has to change: no
    idle timeout of the client's pool would have helped.

What it is not
    If the server received the request and closed without answering, although no timeout had expired, no-response reports it.
    no-response also reports the first request of a new connection. A connection that was closed while idle and not used
    again is idle-close. A client may pipeline a request before it knows that an earlier response announces the close. That
    request is not reported: the client has to repeat it on another connection. A request that the client sent after that
    response is reported.

What to do
    Make the idle timeout of the client's pool shorter than the server's, and let the client repeat idempotent requests.
    stale-pool: let the pool check a connection before it reuses it. forgotten: stay below the timeouts of balancers, NATs
    and firewalls too, or send TCP keep-alive probes. at-limit: if the server was paused, find out what paused it. If a
    process of the server ended, let it answer the requests that have arrived before it closes. If it closes without
    announcing it, let it send `Connection: close`.

References
    RFC 9112 sections 9.3.1 and 9.6, RFC 9110 section 9.2.2, RFC 1122 section 4.2.2.13, Microsoft WebExceptionStatus.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.shared.connection_close import (
    DECIDED,
    POOLS,
    client_idle_time,
    closed_against_request,
    ended_within_grace_period,
)
from wiredoctor.rules.shared.connection_close import IDLE as IMMEDIATE
from wiredoctor.rules.shared.evidence import close_confidence, close_origin, evidence, fin_or_rst
from wiredoctor.rules.shared.idle_defaults import default_of_server
from wiredoctor.rules.shared.idle_times import LATE, NEAR, TOGETHER, IdleTimes, Limit, Stop
from wiredoctor.rules.shared.lost_requests import FORGOTTEN, MET, WARNED, also_lost_text, find_lost, repetition_columns
from wiredoctor.rules.shared.lost_requests import screen as may_be_lost
from wiredoctor.rules.shared.numbers import DURATION, duration
from wiredoctor.rules.shared.same_client import Clients, beside_repetitions
from wiredoctor.tables import SECOND
from wiredoctor.text.durations import duration_text

_CLOSED = " {closed_after}{limit}{limit_means}"
_IDLE = "When the client sent the request, its end of the connection had been idle for {idle}{idle_unknown}." + _CLOSED
_SHORTER = (
    "Make the idle timeout of the client's pool shorter than the server's{}. If the client is a proxy or a "
    "balancer, make the timeout of the server behind it the longer one (AWS application load balancers and nginx's upstream "
    "keepalive_timeout keep connections for 60 s). "
)
_REPEAT = "Let the client repeat idempotent requests if a reused connection is closed without an answer."

RULE = Rule(
    symptom="*socket hang up*, `ECONNRESET`, a 502 now and then",
    severity="error",
    title={
        "race": "A request was lost: the server closed the connection while the request was on its way",
        "stale-pool": "A request was lost: the client used a connection whose close it had received",
        "forgotten": "A request was lost: the server no longer knew the idle connection",
        "at-limit": "A request was lost: it came as the server was closing the idle connection",
    },
    message={
        "race": "{request} and the server's {close} crossed on the way: the {close} acknowledges no byte of the request, "
        "{unaware}. The request was never answered.{behind} " + _IDLE,
        "stale-pool": "{request} was sent {known_for} after {what_was_known}. The request was never answered.{behind} " + _IDLE,
        "forgotten": "{request} got an RST that belongs to no connection (it has no ACK flag, and its sequence number is the "
        "request's acknowledgment number). No FIN was captured: the server, or a balancer, NAT or firewall in "
        "front of it, had dropped the connection silently. The connection had been idle for {idle}{idle_unknown}. "
        "If an idle timeout is the cause, it is at most that long; a restarted host would look the "
        "same.{elsewhere}{behind}",
        "at-limit": "{request} came {before_close}{moment} the server closed the connection with {close}, without an answer. "
        "The server's kernel had acknowledged the request, but {taken}{unread}.{behind} When the client sent the "
        "request, its end of the connection had been idle for {idle}." + _CLOSED,
    },
    remedy={
        "race": "{shorter}" + _REPEAT,
        "stale-pool": "{look}{shorter}" + _REPEAT,
        "forgotten": "Make the idle timeout of the client's pool shorter than those of the server and of everything between "
        "them (balancer, NAT, firewall). Or let the client send TCP keep-alive probes (SO_KEEPALIVE with TCP_KEEPIDLE; the "
        "default of two hours is too long). " + _REPEAT,
        "at-limit": "{shorter}" + _REPEAT,
    },
    display_filter="tcp.stream == {connection} && frame.number in {{{frames}}}",
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

QUICK_RST = Threshold(
    "100 ms",
    "the server's RST may come at most this long after a request that arrived when the idle timeout expired; nine in ten "
    "servers are this quick",
)
SLOW_RST = Threshold(
    "1500 ms",
    "the server's RST may come at most this long after a request that arrived later than the timeout; the slowest of 359 "
    "recorded ones took 1.1 s",
)
BUSY_RST = Threshold(
    "500 ms",
    "an RST that the server sends when the idle timeout expires may come at most this long after a request that arrived "
    "earlier; the process was busy and had not read the request",
)
QUICK_FIN = Threshold(
    "50 ms",
    "the server's FIN may come at most this long after a request that arrived when the idle timeout expired; less than for "
    "an RST, because a process that has read the request also sends a FIN",
)
SLOW_FIN = Threshold("500 ms", "the server's FIN may come at most this long after a request that arrived later than the timeout")
UNSURE_FIN = Threshold(
    "10 ms",
    "the server's FIN may come at most this long after the request if the timeout is not learned from several closes; a "
    "later FIN may be a reaction to the request",
)
LATE_RST = Threshold(
    "100 ms", "an RST may come at most this long after a timeout that is not learned from several closes; timers may be late"
)
LATE_FIN = Threshold(
    "20 ms",
    "a FIN may come at most this long after a timeout that is not learned from several closes; less than for an RST, because "
    "a FIN proves less",
)
STILL = Threshold(
    "1 s",
    "a server counts as paused if it sent nothing for longer than this; in a shorter time it may just be busy, which "
    "the other thresholds allow for",
)
LAY = Threshold(
    "2 connections",
    "a server counts as paused if requests were waiting on at least this many connections; on a single one, a slow "
    "handler may have given up",
)
COMPANY = Threshold(
    "2 connections",
    "a server that checks for idle connections periodically must have closed at least this many others at the same moment",
)

YOUNGER = Threshold("90 %", "a connection that was idle for less than this share of the timeout was closed for another reason")
UNLIKE = Threshold("5 %", "if idle times differ by more than this, no single timeout closed the connections")


def screen() -> pl.Expr:
    """Return whether a row may become a candidate."""
    return may_be_lost()


def find(closes: pl.LazyFrame, foreign_closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return a row for each request that arrived after a close, or when the idle timeout may have expired (`by_limits`
    decides).
    """
    c = pl.col
    before = c("server_close_time") - c("request_end")
    forgotten = c("kind") == "forgotten"
    return _lost_by_kind(closes, foreign_closes).select(
        "connection",
        "exchange",
        "kind",
        pl.lit("client").alias("side"),
        close_confidence(forgotten & ended_within_grace_period("server_close_time", DECIDED.value)).alias("confidence"),
        c("request_frame").alias("frame"),
        c("request_start").alias("start"),
        pl.max_horizontal("request_end", "server_close_time").alias("end"),
        pl.lit(None, pl.Int64).alias("delay"),
        "close",
        close_origin("server"),
        c("idle").cast(DURATION),
        (c("request_start") - pl.when("warned").then("previous_end").otherwise("server_close_time"))
        .clip(0)
        .cast(DURATION)
        .alias("known_for"),
        pl.when("warned").then(pl.lit(_SAID)).otherwise(pl.lit(_FIN_KNOWN)).alias("what_was_known"),
        pl.when("warned").then(pl.lit(_HEED)).otherwise(pl.lit(_LOOK)).alias("look"),
        pl.when(before > 0).then(before).cast(DURATION).alias("before_close"),
        pl.when(before > 0).then(pl.lit(" before")).otherwise(pl.lit("just before")).alias("moment"),
        pl.when(c("server_close_rst") == 1).then(pl.lit(_UNREAD)).otherwise(pl.lit("")).alias("unread"),
        _unknown_idle_time().alias("idle_unknown"),
        _unaware().alias("unaware"),
        also_lost_text(),
        _elsewhere().alias("elsewhere"),
        evidence(
            ("server_close_frame", "server_close_time", _close_note()),
            ("request_frame", "request_start", _request_note()),
            ("reset_frame", "server_rst_time", "the server's RST: the request arrived after the close"),
        ),
        *("endpoint", "rested", "later", "warned", "previous_announced_close", "server_close_time", "final_at"),
        "rest_ns",
        (c("server_close_rst") == 1).alias("by_rst"),
        *repetition_columns(),
        pl.lit(None, pl.Int64).alias("waited"),
    )


def _lost_by_kind(closes: pl.LazyFrame, foreign_closes: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows of `closes` at which a request was lost, with the kind. If the RST is foreign, its TTLs are added."""
    c = pl.col
    covers = ((c("request_ack") > c("server_close_offset")) & (c("server_close_rst") == 0)).fill_null(value=False)
    # the close was announced, but it acknowledges the request: the FIN may have come later
    warned = (c("took") == WARNED) & ~closed_against_request()
    kind = (
        pl.when("at_limit")
        .then(pl.lit("at-limit"))
        .when(c("took") == FORGOTTEN)
        .then(pl.lit("forgotten"))
        .when(covers | warned)
        .then(pl.lit("stale-pool"))
        .otherwise(pl.lit("race"))
    )
    reset = pl.when(c("server_rst_frame") != c("server_close_frame")).then("server_rst_frame")
    ttls = foreign_closes.filter(c("sender") == "server").select("connection", "exchange", "ttl", "lowest_ttl", "highest_ttl")
    return (
        find_lost(closes)
        .filter(c("took").is_in([FORGOTTEN, MET, WARNED]) | c("at_limit"))
        .with_columns(
            kind.alias("kind"),
            warned.alias("warned"),
            fin_or_rst("server_close_rst").alias("close"),
            c("idle").alias("rest_ns"),
            reset.alias("reset_frame"),
        )
        .with_columns(client_idle_time().clip(0).alias("idle"))
        .join(ttls, on=["connection", "exchange"], how="left", maintain_order="left")
    )


class _Explanation(NamedTuple):
    """The columns that the idle times of the server add to a candidate: the confidence, texts, and the idle timeout (`limit` and
    `idle_limit`, in ns).
    """

    confidence: str | None
    closed_after: str
    limit: int | None
    limit_means: str
    shorter: str
    idle_limit: int | None = None
    pool_limit: bool = False
    side: str = "client"
    title: str = ""
    taken: str = "the process was already closing the connection and never read the request"


_TOLD = pl.Schema(
    {
        **dict.fromkeys(_Explanation._fields, pl.String()),
        **dict.fromkeys(("limit", "idle_limit"), pl.Int64()),
        "pool_limit": pl.Boolean(),
    }
)


def by_limits(rows: pl.DataFrame, rests: IdleTimes, *, live: bool) -> pl.DataFrame:
    """Add the texts about the server's idle timeout. Drop candidates of kind at-limit whose close matches no timeout.

    `live`: use only what was known when the candidate became final.
    """
    told = [_judge(row, rests, live=live) for row in rows.iter_rows(named=True)]
    kept = rows.filter(pl.Series([one is not None for one in told], dtype=pl.Boolean))
    said = pl.DataFrame([one for one in told if one is not None], schema=_TOLD, orient="row")
    whole = kept.drop("side").with_columns(said.rename({"confidence": "surely"}))
    c = pl.col
    order = pl.Enum(["low", "medium", "high"])
    least = pl.min_horizontal(c("confidence").cast(order).to_physical(), c("surely").cast(order).to_physical())
    names = {0: "low", 1: "medium", 2: "high"}
    return whole.with_columns(
        least.replace_strict(names, return_dtype=pl.String).alias("confidence"), c("limit").cast(DURATION)
    ).drop("surely")


def by_clients(rows: pl.DataFrame, clients: Clients) -> pl.DataFrame:
    """Reduce the severity of requests that the client repeated successfully."""
    return beside_repetitions(rows, clients)


def _judge(row: Mapping[str, Any], rests: IdleTimes, *, live: bool) -> _Explanation | None:
    """Return how the idle times of the server explain a candidate; None if the candidate is not a finding."""
    until = row["final_at"] + TOGETHER if live else None
    limits = rests.limits(row["endpoint"], row["connection"], until)
    others = rests.closed_together(row["endpoint"], row["connection"], row["server_close_time"], until)
    stop = rests.stops(row["endpoint"], until).stop_at(row["server_close_time"])
    if row["kind"] == "at-limit":
        if stop is not None and stop.form in ("a", "b", "c"):
            limits = [limit for limit in limits if limit.how == "soon"]
        met = next((limit for limit in limits if _is_at(limit, row, others)), None)
        return _explain_suspension(row, rests, limits, others, until) if met is None else _at_limit(row, met, rests)
    return _explain_close(row, rests, limits, others, stop)


# at the limit


def _is_at(limit: Limit, row: Mapping[str, Any], others: list[int]) -> bool:
    """Return whether a close that acknowledges the request was due to this idle timeout and not to the request.

    `others`: the idle times (ns) of connections that the server closed at the same moment.
    """
    rested, idle, later, slack = row["rested"], row["rest_ns"], row["later"], limit.tolerance
    if limit.how == "soon":
        return rested <= limit.high
    if later is None or any(_is_younger(rest, limit) for rest in others):
        return False
    due = idle >= limit.low - slack
    if limit.how == "met":
        return row["by_rst"] and limit.low - slack <= rested <= limit.high + slack and later <= BUSY_RST.value
    if limit.how not in ("sharp", "coarse"):
        late = LATE_RST.value if row["by_rst"] else LATE_FIN.value
        return due and rested <= limit.high + slack + late and (row["by_rst"] or later <= UNSURE_FIN.value)
    if limit.how == "coarse" and not row["by_rst"]:
        return limit.has(idle) and later <= SLOW_FIN.value and len(others) >= COMPANY.value
    quick, slow = (QUICK_RST, SLOW_RST) if row["by_rst"] else (QUICK_FIN, SLOW_FIN)
    reached = rested >= limit.low - slack and idle <= limit.high + slack + LATE
    # a busy process reads no request, but its timer still expires on time
    on_time = row["by_rst"] and rested <= limit.high + slack and later <= BUSY_RST.value
    return reached and (later <= quick.value or (later <= slow.value and due) or on_time)


def _is_younger(rest: int, limit: Limit) -> bool:
    """Return whether a close after this idle time (ns) was too early for this timeout, so there was another reason."""
    return rest < limit.low * YOUNGER.value // 100 - limit.tolerance


_SURE = {"sharp": "high", "coarse": "high", "soon": "high", "single": "medium", "announced": "medium", "met": "medium"}
"""The confidence that an idle timeout gives, by its source (`Limit.how`). It is low for sources that are not listed."""


def _at_limit(row: Mapping[str, Any], limit: Limit, rests: IdleTimes) -> _Explanation:
    if limit.how == "soon":
        times = f"{limit.closes:,} of its closes came within {duration_text(limit.high)} of the previous response"
        means = f" after the previous response, as it often does without announcing it ({times})."
        return _Explanation(_SURE[limit.how], "The server closed its end ", row["rested"] or None, means, _ANNOUNCE)
    means = f" after the previous response: its idle timeout is {_timeout_text(limit, row, rests)}."
    shorter = _SHORTER.format(f" (here {limit.as_text()})")
    return _Explanation(_SURE.get(limit.how, "low"), "The server closed its end ", row["rested"], means, shorter, limit.low, True)


def _timeout_text(limit: Limit, row: Mapping[str, Any], rests: IdleTimes) -> str:
    """Return the text about an idle timeout: its length and its source.

    If the server announces no timeout, the text also names the products with this default timeout.
    """
    said = limit.how == "announced" or rests.announced_timeout(row["connection"]) is not None
    whose = "" if said else default_of_server(limit.low, rests.server(row["connection"]))
    return f"{limit.as_text()}, {limit.origin()}{whose}"


# on resuming


def _explain_suspension(
    row: Mapping[str, Any], rests: IdleTimes, limits: list[Limit], others: list[int], until: int | None
) -> _Explanation | None:  # fmt: skip
    """Return the explanation of a request that waited while the server's process was suspended; None if the suspension is not
    proved.
    """
    rested, later, closed = row["rested"], row["later"], row["server_close_time"]
    if later is None or later <= STILL.value or rests.is_refused(row["endpoint"], closed):
        return None
    fitting = (limit for limit in limits if limit.how != "soon" and rested >= limit.low - limit.tolerance)
    limit = next((one for one in fitting if row["by_rst"] or one.how == "sharp"), None)
    if limit is None or any(_is_younger(rest, limit) for rest in others):
        return None
    c = pl.col
    uses = rests.uses(row["endpoint"]).rows
    if until is not None:
        uses = uses.filter(c("final_at") <= until)
    begun = closed - later
    sent = c("response_start").is_not_null() & (c("response_start") < closed) & (c("response_end").fill_null(closed) > begun)
    lay = uses.filter((c("request_start") < closed) & (c("response_start").is_null() | (c("response_start") > closed)))
    lay = lay.filter(c("server_close_time").is_null() | (c("server_close_time") >= closed))
    connections = lay["connection"].n_unique()
    if connections < LAY.value or uses.filter(sent).height:
        return None
    lives = lay.filter(c("answered") & (c("request_end") < closed) & (c("connection") != row["connection"])).height > 0
    if limit.how == "usual" and not lives:
        return None
    means = (
        f" idle: its idle timeout is {_timeout_text(limit, row, rests)}. But the process was paused: for {duration_text(later)} "
        f"it sent nothing on any connection, while requests were waiting on {connections:,}."
    )
    return _Explanation(
        "high" if lives else "medium", "The server closed its end ", rested, means, _AWAKE, limit.low, False, "server",
        "A request was lost: the server was paused and closed the idle connection when it resumed",
        "the process was paused, and when it resumed, it closed the connection before reading",
    )  # fmt: skip


_AWAKE = (
    "Find out what paused the process: a suspended machine, a frozen or throttled container, a debugger, garbage collection. "
)


# a close that acknowledges nothing of the request


def _explain_close(
    row: Mapping[str, Any], rests: IdleTimes, limits: list[Limit], others: list[int], stop: Stop | None
) -> _Explanation:
    """Return the explanation of a close, with the idle timeout that it matches, if any."""
    rested, announced = row["rested"], row["previous_announced_close"]
    if row["kind"] == "forgotten" or rested is None:
        return _Explanation("high", "", None, "", _SHORTER.format(""), None, pool_limit=True)
    if announced or row["warned"]:
        shorter = "" if row["kind"] == "stale-pool" and row["warned"] else _HEED
        return _Explanation(
            "high", "The server closed its end ", rested or None, _after_previous_response(rested) + _WITH_WARNING, shorter
        )
    if stop is not None:
        return _Explanation(
            "high", "The server closed its end ", rested or None, _stop_text(rested, row["connection"], stop), _DRAIN
        )
    if together := _closed_together_text(limits, rested, others):
        within = duration_text(TOGETHER)
        means = (
            f" after the previous response, and within {within} it also closed {together}: a process of the server ended then."
        )
        return _Explanation("high", "The server closed its end ", rested, means, _DRAIN)
    if rested <= IMMEDIATE.value and not any(limit.how == "announced" and limit.has(rested) for limit in limits):
        return _Explanation(
            "high", "The server closed its end ", rested or None, _after_previous_response(rested) + _UNANNOUNCED, _ANNOUNCE
        )
    limit = next((one for one in limits if one.has(rested)), None)
    known = limits[0] if limits and limits[0].how != "usual" else None
    if limit is None and known is not None:
        means = f" after the previous response. That is not its idle timeout, which is {_timeout_text(known, row, rests)}."
        return _Explanation("high", "The server closed its end ", rested, means, _SHORTER.format(""), pool_limit=True)
    if limit is None or limit.how in ("single", "usual"):
        return _single(row, rests, others)
    means = f" after the previous response: its idle timeout is {_timeout_text(limit, row, rests)}."
    shorter = _SHORTER.format(f" (here {limit.as_text()})")
    return _Explanation("high", "The server closed its end ", rested, means, shorter, rested, pool_limit=True)


def _stop_text(rested: int, connection: int, stop: Stop) -> str:
    """Return the text that a process ended, with the facts that show it."""
    others = [end for end in stop.resting if end.connection != connection]
    said = [f"it also closed {_connections([end.rest or 0 for end in others])}, all idle"] if len(others) > 1 else []
    said += ["it also closed another idle connection"] if len(others) == 1 else []
    cut = "a response or a tunnel" if stop.cut == 1 else f"{stop.cut:,} responses or tunnels"
    said += [f"it cut off {cut}"] if stop.cut else []
    refused = len(stop.refused)
    said += [f"it refused {'a SYN' if refused == 1 else f'{refused:,} SYNs'} after that"] if refused else []
    how = f" ({', '.join(said)})" if said else ""
    return f"{_after_previous_response(rested)}: a process of the server ended then{how}."


def _single(row: Mapping[str, Any], rests: IdleTimes, others: list[int]) -> _Explanation:
    """Return the explanation of a close if the server's closes at other moments do not show an idle timeout."""
    rested, said, server = row["rested"], rests.announced_timeout(row["connection"]), rests.server(row["connection"])
    whose = default_of_server(rested, server)
    means = f" after the previous response, which is probably its idle timeout{whose}."
    if said is None and others and not (server and whose):
        count = f"{_connections(others)} after the same idle time"
        means = (
            f" after the previous response. It also closed {count}: a process of the server ended then, or the same idle "
            "timeout expired on all of them."
        )
        return _Explanation("high", "The server closed its end ", rested, means, _DRAIN + _SHORTER.format(""))
    if said is not None:
        promised = [Limit("announced", n * SECOND, n * SECOND, said=said) for n in (said, said + 1)]
        kept = next((one for one in promised if one.has(rested)), None)
        after = " after the previous response"
        means = f"{after}, its idle timeout, {kept.origin()}." if kept else f"{after}, although it had announced {said} s."
    shorter = _SHORTER.format(f" (here {duration_text(rested)})")
    return _Explanation("high", "The server closed its end ", rested, means, shorter, rested, pool_limit=True)


def _closed_together_text(limits: list[Limit], rested: int, others: list[int]) -> str:
    """Return the text about connections closed at the same moment; "" if one idle timeout explains all of them."""
    known = next((one for one in limits if one.how in ("sharp", "coarse", "met", "announced")), None)
    if known is not None:
        unlike = [rest for rest in others if _is_younger(rest, known)]
    else:
        unlike = [rest for rest in others if abs(rest - rested) > max(rest, rested) * UNLIKE.value // 100 + NEAR]
    if not unlike:
        return ""
    low, high = duration_text(min(others)), duration_text(max(others))
    span = low if low == high else f"{low} to {high}"
    return f"{_connections(others)} after {span} idle"


def _connections(others: list[int]) -> str:
    return "another connection" if len(others) == 1 else f"{len(others):,} other connections"


def _after_previous_response(rested: int) -> str:
    return "together with the previous response" if rested == 0 else " after the previous response"


_WITH_WARNING = ", which had announced the close (Connection: close or an equivalent)."
_UNANNOUNCED = ": that is not an idle timeout but an unannounced close (premature-close)."

# words


def _unknown_idle_time() -> pl.Expr:
    """Return the text on why the idle time is unknown; null if it is known."""
    first = pl.when("handshake").then(pl.lit("it had not been used before")).otherwise(pl.lit("the capture began later"))
    return pl.when(pl.col("idle").is_null()).then(pl.format("an unknown time: {}", first))


def _unaware() -> pl.Expr:
    c = pl.col
    how = pl.when(c("server_close_rst") == 0).then(pl.lit(_FIN_UNSEEN)).otherwise(pl.lit(_RST_UNSEEN))
    return how + pl.when("previous_announced_close").then(pl.lit(_WARNED)).otherwise(
        pl.lit(", so the client could not know that the server was closing")
    )


_FIN_UNSEEN = "and the request does not acknowledge the FIN"
_RST_UNSEEN = "and a client that has received an RST sends no request"
_WARNED = ". But the client had the previous response, which announced the close"
_ANNOUNCE = "Let the server say Connection: close with the response after which it closes. "
_HEED = "Let the client give up a connection whose response says Connection: close. "
_LOOK = (
    "Let the pool check a connection before it uses it again: an idle connection that is readable has been closed by the server. "
)
_DRAIN = "Before a server process ends, let it stop accepting requests, answer those that it has, and then close. "
_UNREAD = ", as the RST instead of a FIN shows"
_FIN_KNOWN = (
    "the server's FIN on the same connection, and acknowledges that FIN: the client's kernel had received it, but its pool did "
    "not check the connection before using it again"
)
_SAID = (
    "a response on the same connection that announced the close: the client had that response and ignored the announcement. The "
    "server closed as announced"
)


def _elsewhere() -> pl.Expr:
    """Return a sentence saying that another device sent the RST, if packets show this; otherwise ""."""
    c = pl.col
    ttl = pl.format(
        " It was not the server: the RST has TTL {}, and the server's packets have {}.",
        "ttl",
        _range("lowest_ttl", "highest_ttl"),
    )
    other = pl.lit(" It was not the server that sent the RST: its packets look different.")
    return pl.when(c("server_close_origin") == "between").then(pl.coalesce(ttl, other)).otherwise(pl.lit(""))


def _range(lowest: str, highest: str) -> pl.Expr:
    one = pl.format("{}", lowest)
    return pl.when(pl.col(lowest) == pl.col(highest)).then(one).otherwise(pl.format("{} to {}", lowest, highest))


def _close_note() -> pl.Expr:
    c = pl.col
    asked = pl.lit("the server's RST without ACK flag; its sequence number is the request's acknowledgment number")
    closed = pl.format("the server's {}, which acknowledges no byte of the request", "close")
    rested = duration(c("rested"))
    taken = pl.format("the server's {}, which acknowledges the request, {} after the previous response", "close", rested)
    return (
        pl.when(c("kind") == "forgotten")
        .then(asked)
        .when(c("warned") & c("server_close_ack").is_null())
        .then(pl.lit("the server's RST without ACK flag"))
        .when((c("kind") == "at-limit") | c("warned"))
        .then(taken)
        .otherwise(closed)
    )


def _request_note() -> pl.Expr:
    c = pl.col
    rested = pl.format("the request, after {} idle", duration(c("idle")))
    return (
        pl.coalesce(rested, pl.lit("the request"))
        + pl.when((c("kind") == "race") & (c("server_close_rst") == 0))
        .then(pl.lit("; it does not acknowledge the FIN"))
        .otherwise(pl.lit(""))
        + pl.when((c("kind") == "stale-pool") & ~c("warned")).then(pl.lit("; it acknowledges the FIN")).otherwise(pl.lit(""))
    )

"""A request was sent on a connection that the server had closed.

What it means
    A kept-alive connection has two owners, and either may close it when it has been idle for long enough. Here the server did,
    and the client sent its next request on it all the same. The server never took that request; nobody answers it.

    Kinds: race, the FIN was still on its way when the request left, so that the client could not know; stale-pool, the FIN
    had arrived, but the client's pool did not look before it used the connection again; forgotten, the server, or a balancer,
    NAT or firewall before it, had dropped the connection without a FIN, and answered the request with an RST; at-limit, the
    server's kernel had acknowledged the request, but its process was closing the connection by then and never read it.

Why it hurts
    The request is lost: "connection reset by peer", "the server closed the connection unexpectedly", "a connection that was
    expected to be kept alive was closed by the server", or a 502 from a proxy whose upstream it was. It comes and goes, most
    often where requests are about as far apart as the server's idle limit.

How it is proved
    The server's FIN (or RST with ACK flag) acknowledges nothing of the request, and the request was never answered. The
    acknowledgement number of the request says what the client knew: whether it covers the FIN. Both hold wherever the capture
    was taken. A forgotten connection: the first request after a second or more of rest is answered by an RST without
    ACK flag, with the sequence number that the request asked for, and no FIN came before or soon after.

    At the limit the close does acknowledge the request, because kernels acknowledge what processes have not read. It is proved
    by the rest: the server closed when the connection had rested as long as it lets others rest (learned from its other closes,
    else announced, else usual), milliseconds after the request. An RST in place of a FIN says that something was left unread
    (RFC 1122); a FIN needs a limit that is sharply known. Not where younger connections of the server closed within 50 ms: then
    a process ended.

    A process that stood still (a suspended machine, a frozen container, a debugger) closes on waking what rested too long, before
    it reads: for more than a second, from the request to the close, the server sent nothing on any connection while requests lay
    on two or more, and the rest at the close is its limit or more. Not where a SYN was refused then. Here the server has to
    change: no limit of the client's pool would have helped.

What it is not
    A server that had received the request and closed without an answer, at no limit: no-response. The first request of a fresh
    connection: no-response, too. A connection that was closed while idle and not used again: idle-close. A request that was
    pipelined before the client could know that the response before it announced the close: it has to be repeated on another
    connection. (A request sent by a client that had that response is reported.)

What to do
    Let the client's pool give up idle connections sooner than the server does, and repeat requests that are safe to repeat.

References
    RFC 9112 sections 9.3.1 and 9.6, RFC 9110 section 9.2.2, RFC 1122 section 4.2.2.13, Microsoft WebExceptionStatus.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.durations import duration_text
from wiredoctor.findings import Reference, Rule, Threshold
from wiredoctor.rules.closes import POOLS, closed_against_request, rest, undecided
from wiredoctor.rules.defaults import usual
from wiredoctor.rules.lost import FORGOTTEN, MET, WARNED, behind, beside, lost
from wiredoctor.rules.lost import screen as may_be_lost
from wiredoctor.rules.proof import close_confidence, close_origin, close_word, evidence
from wiredoctor.rules.rests import LATE, NEAR, TOGETHER, Limit, Rests, Stop
from wiredoctor.rules.same_client import Clients, beside_repetitions
from wiredoctor.rules.words import DURATION, duration
from wiredoctor.tables import SECOND

_CLOSED = " {closed_after}{limit}{limit_means}"
_IDLE = "The connection had been idle for {idle}{idle_unknown}." + _CLOSED
_SHORTER = (
    "Make the idle limit of the client's pool shorter than that of the server{}; where the client is a proxy or a "
    "balancer, make the limit of the server behind it the longer one (AWS application load balancers and nginx's upstream "
    "keepalive_timeout keep connections for 60 s). "
)
_REPEAT = "Let the client repeat requests that are idempotent when a connection that it used again is closed without an answer."

RULE = Rule(
    severity="error",
    title={
        "race": "A request was lost: the server had closed the connection while it was on its way",
        "stale-pool": "A request was lost: the client used a connection that it knew to be closed",
        "forgotten": "A request was lost: the server no longer knew the idle connection",
        "at-limit": "A request was lost: it came as the server was closing the idle connection",
    },
    message={
        "race": "{request} was sent on a connection that the server had closed: its {close} acknowledges nothing of that "
        "request, {unaware}. Nobody answered it.{behind} " + _IDLE,
        "stale-pool": "{request} was sent {known_for} after {what_was_known}. Nobody answered it.{behind} " + _IDLE,
        "forgotten": "{request} was answered by an RST that belongs to no connection (it has no ACK flag, and the sequence "
        "number that the request asked for). No FIN was seen: the server, or a balancer, NAT or firewall before it, had "
        "forgotten the connection without saying so. The connection had been idle for {idle}{idle_unknown}. The limit that it "
        "met is at most that long.{elsewhere}{behind}",
        "at-limit": "{request} came {before_close}{moment} the server closed the connection with {close}, without an answer. Its "
        "kernel had acknowledged the request, but {taken}{unread}."
        "{behind} The connection had been idle for {idle}." + _CLOSED,
    },
    remedy={
        "race": "{shorter}" + _REPEAT,
        "stale-pool": "{look}{shorter}" + _REPEAT,
        "forgotten": "Make the idle limit of the client's pool shorter than that of the server and of everything between them "
        "(balancer, NAT, firewall), or let the client send TCP keep-alive probes (SO_KEEPALIVE with TCP_KEEPIDLE; the "
        "system's default of two hours is too long). " + _REPEAT,
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

DECIDED = Threshold("1 s", "so long (or two round trips) a FIN may be captured after the RST that makes it a race")
IMMEDIATE = Threshold("1 s", "no common server has an idle limit so short; what closes sooner was decided with the response")
QUICK_RST = Threshold("100 ms", "nine in ten servers closed so soon after a request that had met their limit, by an RST")
SLOW_RST = Threshold("1500 ms", "of 359 recorded ones the slowest took 1.1 s; for a request that came when the limit had passed")
QUICK_FIN = Threshold("50 ms", "a FIN is also what a process sends that had read the request, so it has to come sooner")
SLOW_FIN = Threshold("500 ms", "the same for a request that came when the limit had passed")
UNSURE_FIN = Threshold("10 ms", "where the limit is not learned from several closes, only a FIN that is no answer to the request")
LATE_RST = Threshold("100 ms", "timers fire so late; where the limit is not learned from several closes")
LATE_FIN = Threshold("20 ms", "the same for a FIN, which proves less")
STILL = Threshold("1 s", "shorter ones are a busy process, which the limits above allow for")
LAY = Threshold("2 connections", "with a request; one alone may have been given up by a handler that took too long")
COMPANY = Threshold("2 connections", "that a server closes with this one, as those do that look for idle ones now and then")

YOUNGER = Threshold("90 %", "of the limit: what is closed at the same moment after a shorter rest was closed for another reason")
UNLIKE = Threshold("5 %", "rests that differ by more were not ended by one limit")


def screen() -> pl.Expr:
    """Return an expression that is true on the rows that are candidates."""
    return may_be_lost()


def find(closes: pl.LazyFrame, foreign_closes: pl.LazyFrame) -> pl.LazyFrame:
    """A row per request that met a closed connection, or may have met the idle limit of the server (`by_limits` decides)."""
    c = pl.col
    covers = ((c("request_ack") > c("server_close_offset")) & (c("server_close_rst") == 0)).fill_null(value=False)
    # announced, and acknowledged all the same: the FIN may have come later
    warned = (c("took") == WARNED) & ~closed_against_request()
    rows = lost(closes).filter(c("took").is_in([FORGOTTEN, MET, WARNED]) | c("at_limit"))
    kind = (
        pl.when("at_limit")
        .then(pl.lit("at-limit"))
        .when(c("took") == FORGOTTEN)
        .then(pl.lit("forgotten"))
        .when(covers | warned)
        .then(pl.lit("stale-pool"))
        .otherwise(pl.lit("race"))
    )
    ttls = foreign_closes.filter(c("sender") == "server").select("connection", "exchange", "ttl", "lowest_ttl", "highest_ttl")
    rows = (
        rows.with_columns(
            kind.alias("kind"), warned.alias("warned"), close_word("server_close_rst").alias("close"), c("idle").alias("rest_ns")
        )
        .with_columns(rest().clip(0).alias("idle"))
        .join(ttls, on=["connection", "exchange"], how="left", maintain_order="left")
    )
    before = c("server_close_time") - c("request_end")
    reset = pl.when(c("server_rst_frame") != c("server_close_frame")).then("server_rst_frame").alias("reset_frame")
    forgotten = c("kind") == "forgotten"
    return rows.with_columns(reset).select(
        "connection",
        "exchange",
        "kind",
        pl.lit("client").alias("side"),
        close_confidence(forgotten & undecided("server_close_time", DECIDED.value)).alias("confidence"),
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
        _unknown().alias("idle_unknown"),
        _unaware().alias("unaware"),
        behind(),
        _elsewhere().alias("elsewhere"),
        evidence(
            ("server_close_frame", "server_close_time", _close_note()),
            ("request_frame", "request_start", _request_note()),
            ("reset_frame", "server_rst_time", "the server's RST: the request came to a connection that was gone"),
        ),
        *("endpoint", "rested", "later", "warned", "previous_announced_close", "server_close_time", "final_at"),
        "rest_ns",
        (c("server_close_rst") == 1).alias("by_rst"),
        *beside(),
        pl.lit(None, pl.Int64).alias("waited"),
    )


class _Told(NamedTuple):
    """What the rests of a server add to a candidate: how sure they make it, words, and what limit is named (ns)."""

    confidence: str | None
    closed_after: str
    limit: int | None
    limit_means: str
    shorter: str
    idle_limit: int | None = None
    pool_limit: bool = False
    side: str = "client"
    title: str = ""
    taken: str = "the process was closing the connection by then and never took it"


_TOLD = pl.Schema(
    {
        **dict.fromkeys(_Told._fields, pl.String()),
        **dict.fromkeys(("limit", "idle_limit"), pl.Int64()),
        "pool_limit": pl.Boolean(),
    }
)


def by_limits(rows: pl.DataFrame, rests: Rests, *, live: bool) -> pl.DataFrame:
    """The requests that met a close, with what is known of the limit that it kept; at-limit only where it kept one."""
    told = [_tell(row, rests, live=live) for row in rows.iter_rows(named=True)]
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
    """The requests that met a close, and which of them came again."""
    return beside_repetitions(rows, clients)


def _tell(row: Mapping[str, Any], rests: Rests, *, live: bool) -> _Told | None:
    """What the rests of the server tell of a candidate; None where it is none."""
    until = row["final_at"] + TOGETHER if live else None
    limits = rests.limits(row["endpoint"], row["connection"], until)
    others = rests.others(row["endpoint"], row["connection"], row["server_close_time"], until)
    stop = rests.stops(row["endpoint"], until).at(row["server_close_time"])
    if row["kind"] == "at-limit":
        if stop is not None and stop.form in ("a", "b", "c"):
            limits = [limit for limit in limits if limit.how == "soon"]
        met = next((limit for limit in limits if _is_at(limit, row, others)), None)
        return _on_waking(row, rests, limits, others, until) if met is None else _at_limit(row, met, rests)
    return _raced(row, rests, limits, others, stop)


# at the limit


def _is_at(limit: Limit, row: Mapping[str, Any], others: list[int]) -> bool:
    """Whether a close that acknowledges the request kept this limit, and was no answer to the request."""
    rested, idle, later, slack = row["rested"], row["rest_ns"], row["later"], limit.tolerance
    if limit.how == "soon":
        return rested <= limit.high
    if later is None or any(_is_younger(rest, limit) for rest in others):
        return False
    due = idle >= limit.low - slack
    if limit.how == "met":
        return row["by_rst"] and limit.low - slack <= rested <= limit.high + slack and later <= SLOW_FIN.value
    if limit.how not in ("sharp", "coarse"):
        late = LATE_RST.value if row["by_rst"] else LATE_FIN.value
        return due and rested <= limit.high + slack + late and (row["by_rst"] or later <= UNSURE_FIN.value)
    if limit.how == "coarse" and not row["by_rst"]:
        return limit.has(idle) and later <= SLOW_FIN.value and len(others) >= COMPANY.value
    quick, slow = (QUICK_RST, SLOW_RST) if row["by_rst"] else (QUICK_FIN, SLOW_FIN)
    reached = rested >= limit.low - slack and idle <= limit.high + slack + LATE
    return reached and (later <= quick.value or (later <= slow.value and due))


def _is_younger(rest: int, limit: Limit) -> bool:
    """Whether a connection was closed too early for this limit: for another reason."""
    return rest < limit.low * YOUNGER.value // 100 - limit.tolerance


_SURE = {"sharp": "high", "coarse": "high", "soon": "high", "single": "medium", "announced": "medium", "met": "medium"}
"""How sure a limit makes it; else low."""


def _at_limit(row: Mapping[str, Any], limit: Limit, rests: Rests) -> _Told:
    if limit.how == "soon":
        times = f"{limit.closes:,} of its closes came within {duration_text(limit.high)} of the response before"
        means = f" after the response before, as it does after its answers without announcing it ({times})."
        return _Told(_SURE[limit.how], "The server closed it ", row["rested"] or None, means, _ANNOUNCE)
    means = f" of rest: its idle limit is {_named(limit, row, rests)}."
    shorter = _SHORTER.format(f" (here {limit.words()})")
    return _Told(_SURE.get(limit.how, "low"), "The server closed it after ", row["rested"], means, shorter, limit.low, True)


def _named(limit: Limit, row: Mapping[str, Any], rests: Rests) -> str:
    """A limit, how it is known, and whose default it is: of what was announced that says nothing."""
    said = limit.how == "announced" or rests.announced(row["connection"]) is not None
    whose = "" if said else usual(limit.low, rests.server(row["connection"]))
    return f"{limit.words()}, {limit.origin()}{whose}"


# on waking


def _on_waking(
    row: Mapping[str, Any], rests: Rests, limits: list[Limit], others: list[int], until: int | None
) -> _Told | None:  # fmt: skip
    """What a request met that lay there while the process stood still; None where it may be another matter."""
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
        f" of rest: its idle limit is {_named(limit, row, rests)}. But the process stood still: for {duration_text(later)} it "
        f"sent nothing on any connection, while requests lay on {connections:,}."
    )
    return _Told(
        "high" if lives else "medium", "The server closed it after ", rested, means, _AWAKE, limit.low, False, "server",
        "A request was lost: it lay there while the server stood still, which closed the idle connection on waking",
        "the process stood still, and closed the connection on waking before it read",
    )  # fmt: skip


_AWAKE = (
    "Find out what made the process stand still: a machine that was suspended, a container that was frozen or throttled, a "
    "debugger, a collection of garbage. "
)


# a close that acknowledges nothing of the request


def _raced(row: Mapping[str, Any], rests: Rests, limits: list[Limit], others: list[int], stop: Stop | None) -> _Told:
    """What is known of the limit that the close kept, if it kept one."""
    rested, announced = row["rested"], row["previous_announced_close"]
    if row["kind"] == "forgotten" or rested is None:
        return _Told("high", "", None, "", _SHORTER.format(""), None, pool_limit=True)
    if announced or row["warned"]:
        shorter = "" if row["kind"] == "stale-pool" and row["warned"] else _HEED
        return _Told("high", "The server closed it ", rested or None, _behind(rested) + _WITH_WARNING, shorter)
    if stop is not None:
        return _Told("high", "The server closed it ", rested or None, _stopped(rested, row["connection"], stop), _DRAIN)
    if together := _ended_with(limits, rested, others):
        means = f" of rest, and with it, within {duration_text(TOGETHER)}, {together}: a process of the server ended then."
        return _Told("high", "The server closed it after ", rested, means, _DRAIN)
    if rested <= IMMEDIATE.value and not any(limit.how == "announced" and limit.has(rested) for limit in limits):
        return _Told("high", "The server closed it ", rested or None, _behind(rested) + _UNANNOUNCED, _ANNOUNCE)
    limit = next((one for one in limits if one.has(rested)), None)
    known = limits[0] if limits and limits[0].how != "usual" else None
    if limit is None and known is not None:
        means = f" of rest; that is not its idle limit, which is {_named(known, row, rests)}."
        return _Told("high", "The server closed it after ", rested, means, _SHORTER.format(""), pool_limit=True)
    if limit is None or limit.how in ("single", "usual"):
        return _single(row, rests, others)
    means = f" of rest: its idle limit is {_named(limit, row, rests)}."
    shorter = _SHORTER.format(f" (here {limit.words()})")
    return _Told("high", "The server closed it after ", rested, means, shorter, rested, pool_limit=True)


def _stopped(rested: int, connection: int, stop: Stop) -> str:
    """That a process ended, and what shows it."""
    others = [end for end in stop.resting if end.connection != connection]
    said = [f"with it {_connections([end.rest or 0 for end in others])} that rested"] if others else []
    said += [f"{'a response or a tunnel' if stop.cut == 1 else f'{stop.cut:,} responses or tunnels'} cut off"] if stop.cut else []
    refused = len(stop.refused)
    said += [f"{'a SYN' if refused == 1 else f'{refused:,} SYNs'} refused after that"] if refused else []
    how = f" ({', '.join(said)})" if said else ""
    return f"{_behind(rested)}: a process of the server ended then{how}."


def _single(row: Mapping[str, Any], rests: Rests, others: list[int]) -> _Told:
    """No close shows a limit but this one, and those of the same moment."""
    rested, said, server = row["rested"], rests.announced(row["connection"]), rests.server(row["connection"])
    whose = usual(rested, server)
    means = f" of rest, which seems to be its idle limit{whose}."
    if said is None and others and not (server and whose):
        count = f"{_connections(others)} that had rested as long"
        means = f" of rest, and with it {count}: a process of the server ended then, or all met one limit."
        return _Told("high", "The server closed it after ", rested, means, _DRAIN + _SHORTER.format(""))
    if said is not None:
        promised = [Limit("announced", n * SECOND, n * SECOND, said=said) for n in (said, said + 1)]
        kept = next((one for one in promised if one.has(rested)), None)
        means = f" of rest, its idle limit, {kept.origin()}." if kept else f" of rest, though it had announced {said} s."
    shorter = _SHORTER.format(f" (here {duration_text(rested)})")
    return _Told("high", "The server closed it after ", rested, means, shorter, rested, pool_limit=True)


def _ended_with(limits: list[Limit], rested: int, others: list[int]) -> str:
    """The connections that the server closed at the same moment, where no idle limit explains that; else ""."""
    known = next((one for one in limits if one.how in ("sharp", "coarse", "met", "announced")), None)
    if known is not None:
        unlike = [rest for rest in others if _is_younger(rest, known)]
    else:
        unlike = [rest for rest in others if abs(rest - rested) > max(rest, rested) * UNLIKE.value // 100 + NEAR]
    if not unlike:
        return ""
    low, high = duration_text(min(others)), duration_text(max(others))
    span = low if low == high else f"{low} to {high}"
    return f"{_connections(others)} that had rested for {span}"


def _connections(others: list[int]) -> str:
    return "another connection" if len(others) == 1 else f"{len(others):,} other connections"


def _behind(rested: int) -> str:
    return "together with the response before" if rested == 0 else " after the response before"


_WITH_WARNING = ", which had announced that (Connection: close, or what means the same)."
_UNANNOUNCED = ": that is no idle limit, but a close that nothing announced (premature-close)."

# words


def _unknown() -> pl.Expr:
    """Why it is not known how long the connection had rested."""
    first = pl.when("handshake").then(pl.lit("it had not been used before")).otherwise(pl.lit("the capture began later"))
    return pl.when(pl.col("idle").is_null()).then(pl.format("a time that is not known: {}", first))


def _unaware() -> pl.Expr:
    c = pl.col
    how = pl.when(c("server_close_rst") == 0).then(pl.lit(_FIN_UNSEEN)).otherwise(pl.lit(_RST_UNSEEN))
    return how + pl.when("previous_announced_close").then(pl.lit(_WARNED)).otherwise(pl.lit(", so the client could not know"))


_FIN_UNSEEN = "and the request does not acknowledge the FIN"
_RST_UNSEEN = "and where an RST has arrived, no request is sent any more"
_WARNED = "; but the response before it, which the client had, announced the close"
_ANNOUNCE = "Let the server say Connection: close with the response after which it closes. "
_HEED = "Let the client give up a connection whose response says Connection: close. "
_LOOK = "Let the pool look at a connection before it uses it again: one that is readable while idle has ended. "
_DRAIN = "Let a server process that ends finish first: take no more requests, answer those that came, then close. "
_UNREAD = ", as the RST in place of a FIN says"
_FIN_KNOWN = (
    "the server's FIN, on the same connection, and acknowledges that FIN: the client's kernel had received it, but its pool did "
    "not look before it used the connection again"
)
_SAID = (
    "a response that had announced the close, on the same connection: the client had that response, and did not heed it. The "
    "server closed as it had said"
)


def _elsewhere() -> pl.Expr:
    """That the reset did not come from the server, where packets show it."""
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
    asked = pl.lit("the server's RST without ACK flag, with the sequence number that the request asks for")
    closed = pl.format("the server's {}: acknowledges nothing of the request", "close")
    rested = duration(c("rested"))
    taken = pl.format("the server's {}: acknowledges the request, {} after the response before", "close", rested)
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
    rested = pl.format("the request, after a rest of {}", duration(c("idle")))
    return (
        pl.coalesce(rested, pl.lit("the request"))
        + pl.when((c("kind") == "race") & (c("server_close_rst") == 0))
        .then(pl.lit(": does not acknowledge the FIN"))
        .otherwise(pl.lit(""))
        + pl.when((c("kind") == "stale-pool") & ~c("warned")).then(pl.lit(": acknowledges the FIN")).otherwise(pl.lit(""))
    )

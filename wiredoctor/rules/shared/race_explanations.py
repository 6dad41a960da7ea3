"""Explain closes that lost a request (keep-alive-race): by an idle timeout, a suspended process, or the end of a process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.tables import SECOND
from wiredoctor.text.durations import duration_text
from wiredoctor.world.connection_close import IDLE as IMMEDIATE
from wiredoctor.world.connection_close import UPSTREAM_KEPT
from wiredoctor.world.idle_defaults import default_of_server
from wiredoctor.world.idle_times import LATE, NEAR, TOGETHER, IdleTimes, Limit, Stop
from wiredoctor.world.numbers import other_connections

_SHORTER = (
    "Make the idle timeout of the client's pool shorter than the server's{}; if the client is a proxy or a balancer, make the "
    "server's idle timeout longer than the client's ("
    f"{UPSTREAM_KEPT} for AWS application load balancers and nginx's upstream "
    "keepalive_timeout). "
)


QUICK_RST = Threshold(
    "100 ms",
    "the maximum time from a request to the server's RST, if the request arrived when the idle timeout expired; nine in ten "
    "servers take no longer",
)
SLOW_RST = Threshold(
    "1500 ms",
    "the maximum time from a request to the server's RST, if the request arrived later than the timeout; the slowest of 359 "
    "recorded RSTs took 1.1 s",
)
BUSY_RST = Threshold(
    "500 ms",
    "the maximum time from a request to an RST that was due when the idle timeout expired, or right after a response; the "
    "process was busy and had not read the request, which arrived before the RST was due",
)
QUICK_FIN = Threshold(
    "50 ms",
    "the maximum time from a request to the server's FIN, if the request arrived when the idle timeout expired; less than for an "
    "RST, because a process that has read the request also sends a FIN",
)
SLOW_FIN = Threshold(
    "500 ms", "the maximum time from a request to the server's FIN, if the request arrived later than the timeout"
)
UNSURE_FIN = Threshold(
    "10 ms",
    "the maximum time from a request to the server's FIN, if the timeout is not learned from several closes; a later FIN may "
    "be a reaction to the request",
)
LATE_RST = Threshold(
    "100 ms",
    "the maximum time from the idle timeout to an RST, if the timeout is not learned from several closes; timers may be late",
)
LATE_FIN = Threshold(
    "20 ms",
    "the maximum time from the idle timeout to a FIN, if the timeout is not learned from several closes; less than for an RST, "
    "because a FIN proves less",
)
STILL = Threshold(
    "1 s",
    "a server counts as paused if it sent nothing for longer than this; in a shorter time it may just be busy, which "
    "the other thresholds allow for",
)
LAY = Threshold(
    "2 connections",
    "a server counts as paused if requests were waiting on at least this many connections; on a single "
    "connection, a slow handler may have given up",
)
ALWAYS = Threshold(
    "10 closes",
    "the minimum number of closes right after a response that show that a server closes after every response, if it never "
    "answered a second request on a connection",
)
COMPANY = Threshold(
    "2 connections",
    "a server that checks for idle connections periodically must have closed at least this many other connections at the same "
    "moment",
)

YOUNGER = Threshold("90 %", "a connection that was idle for less than this share of the timeout was closed for another reason")
UNLIKE = Threshold("5 %", "if idle times differ by more than this, no single timeout closed the connections")


_ASSUMED = ("announced", "usual")
"""The sources of idle timeouts (`Limit.how`) that no close has shown.

If the server refuses a SYN soon after a close, its process has ended, and such a timeout does not explain the close.
"""


class Explanation(NamedTuple):
    """The columns that the idle times of the server add to a candidate: the confidence, texts, and the idle timeout (`limit` and
    `idle_limit`, in ns).
    """

    limit: int | None
    limit_means: str
    shorter: str
    idle_limit: int | None = None
    pool_limit: bool = False
    confidence: str = "high"
    closed_after: str = "The server closed its end "
    side: str = "client"
    title: str = ""
    taken: str = "the process was already closing the connection and never read the request"


def explain(row: Mapping[str, Any], rests: IdleTimes, *, live: bool) -> Explanation | None:
    """Return how the idle times of the server explain a lost request; None if the candidate is not a finding.

    `live`: use only what was known when the candidate became final.
    """
    until = row["final_at"] + TOGETHER if live else None
    limits = rests.limits(row["endpoint"], row["connection"], until)
    others = rests.closed_together(row["endpoint"], row["connection"], row["server_close_time"], until)
    stop = rests.stops(row["endpoint"], until).stop_at(row["server_close_time"])
    if row["kind"] == "at-limit":
        if stop is not None and stop.form in ("a", "b", "c"):
            limits = [limit for limit in limits if limit.how == "soon"]
        if rests.is_refused(row["endpoint"], row["server_close_time"], until):
            limits = [limit for limit in limits if limit.how not in _ASSUMED]
        endpoint, rest = row["endpoint"], row["rest_ns"]
        limits = [one for one in limits if one.how not in _ASSUMED or not rests.is_survived(one, endpoint, rest, until)]
        met = next((limit for limit in limits if _is_at(limit, row, others) or _is_doomed(limit, row, rests, until)), None)
        return _explain_suspension(row, rests, limits, others, until) if met is None else _at_limit(row, met, rests)
    return _explain_close(row, rests, limits, others, stop, until)


def _is_at(limit: Limit, row: Mapping[str, Any], others: list[int]) -> bool:
    """Return whether a close that acknowledges the request was due to this idle timeout and not to the request.

    `others`: the idle times (ns) of connections that the server closed at the same moment.
    """
    rested, idle, later, slack = row["rested"], row["rest_ns"], row["later"], limit.tolerance
    # a busy process has not read the request, but was going to close right after its response
    busy = row["by_rst"] and later is not None and later <= BUSY_RST.value
    if limit.how == "soon":
        return rested <= limit.high or (busy and idle <= limit.high)
    if later is None or any(_is_younger(rest, limit) for rest in others):
        return False
    due = idle >= limit.low - slack
    if limit.how == "met":
        as_it_expired = row["by_rst"] and later <= QUICK_RST.value
        return as_it_expired and limit.low - slack <= rested <= limit.high + slack
    if limit.how not in ("sharp", "coarse"):
        late = LATE_RST.value if row["by_rst"] else LATE_FIN.value
        return due and rested <= limit.high + slack + late and (row["by_rst"] or later <= UNSURE_FIN.value)
    if limit.how == "coarse" and not row["by_rst"]:
        return limit.has(idle) and later <= SLOW_FIN.value and len(others) >= COMPANY.value
    quick, slow = (QUICK_RST, SLOW_RST) if row["by_rst"] else (QUICK_FIN, SLOW_FIN)
    reached = rested >= limit.low - slack and idle <= limit.high + slack + LATE
    # a busy process reads no request, but its timer still expires on time
    on_time = busy and rested <= limit.high + slack
    return reached and (later <= quick.value or (later <= slow.value and due) or on_time)


def _is_doomed(limit: Limit, row: Mapping[str, Any], rests: IdleTimes, until: int | None) -> bool:
    """Return whether the server closes after every response, so it was going to close the connection of an unread request.

    On a busy machine, the process may take longer than usual before it closes. `until`: as in `IdleTimes.limits`.
    """
    if limit.how != "soon" or limit.closes < ALWAYS.value or not row["by_rst"] or row["later"] is None:
        return False
    late = row["rest_ns"] <= limit.high + LATE and row["later"] <= BUSY_RST.value
    return late and not rests.answers_again(row["endpoint"], until)


def _is_younger(rest: int, limit: Limit) -> bool:
    """Return whether a close after this idle time (ns) came too early for this timeout, so it had another reason."""
    return rest < limit.low * YOUNGER.value // 100 - limit.tolerance


_SURE = {"sharp": "high", "coarse": "high", "soon": "high", "single": "medium", "announced": "medium", "met": "medium"}
"""The confidence that an idle timeout gives, by its source (`Limit.how`). It is low for sources that are not listed."""


def _at_limit(row: Mapping[str, Any], limit: Limit, rests: IdleTimes) -> Explanation:
    if limit.how == "soon":
        times = f"{limit.closes:,} of its closes came within {duration_text(limit.high)} of the previous response"
        if row["rest_ns"] > limit.high:
            times += ", and it never answered a second request on a connection"
        means = f" after the previous response, as it often does without announcing it ({times})."
        return Explanation(row["rested"] or None, means, _ANNOUNCE, confidence=_SURE[limit.how])
    means = f" after the previous response. Its idle timeout is {_timeout_text(limit, row, rests)}."
    shorter = _SHORTER.format(f" (here {limit.as_text()})")
    return Explanation(row["rested"], means, shorter, limit.low, True, _SURE.get(limit.how, "low"))


def _timeout_text(limit: Limit, row: Mapping[str, Any], rests: IdleTimes) -> str:
    """Return the text about an idle timeout: its length and its source.

    If the server announces no timeout, the text also names the products with this default timeout.
    """
    said = limit.how == "announced" or rests.announced_timeout(row["connection"]) is not None
    whose = "" if said else default_of_server(limit.low, rests.server(row["connection"]))
    return f"{limit.as_text()}, {limit.origin()}{whose}"


def _explain_suspension(
    row: Mapping[str, Any], rests: IdleTimes, limits: list[Limit], others: list[int], until: int | None
) -> Explanation | None:  # fmt: skip
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
    uses = rests.uses(row["endpoint"])
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
        f" after the previous response: its idle timeout is {_timeout_text(limit, row, rests)}. But the process was paused: "
        f"for {duration_text(later)} "
        f"it sent nothing on any connection, while requests were waiting on {connections:,} connections."
    )
    return Explanation(
        *(rested, means, _AWAKE, limit.low),
        confidence="high" if lives else "medium",
        side="server",
        title="A request was lost: the server was paused and closed the idle connection when it resumed",
        taken="the process was paused, and when it resumed, it closed the connection before it read the request",
    )


_AWAKE = (
    "Find out what paused the process: a suspended machine, a frozen or throttled container, a debugger, garbage collection. "
)


def _explain_close(
    row: Mapping[str, Any], rests: IdleTimes, limits: list[Limit], others: list[int], stop: Stop | None, until: int | None
) -> Explanation:
    """Return the explanation of a close, with the idle timeout that it matches, if any. `until`: as in `IdleTimes.limits`."""
    rested, announced = row["rested"], row["previous_announced_close"]
    if row["kind"] == "forgotten" or rested is None:
        return Explanation(None, "", _SHORTER.format(""), pool_limit=True, closed_after="")
    if announced or row["warned"]:
        shorter = "" if row["kind"] == "stale-pool" and row["warned"] else HEED
        return Explanation(rested or None, _after_previous_response(rested) + _WITH_WARNING, shorter)
    if stop is not None:
        return Explanation(rested or None, _stop_text(rested, row["connection"], stop), _DRAIN)
    if together := _closed_together_text(limits, rested, others):
        within = duration_text(TOGETHER)
        means = (
            f" after the previous response, and within {within} it also closed {together}: a process of the server ended then."
        )
        return Explanation(rested, means, _DRAIN)
    if rested <= IMMEDIATE.value and not any(limit.how == "announced" and limit.has(rested) for limit in limits):
        return Explanation(rested or None, _after_previous_response(rested) + _UNANNOUNCED, _ANNOUNCE)
    limit = next((one for one in limits if one.has(rested)), None)
    known = limits[0] if limits and limits[0].how != "usual" else None
    if limit is None and known is not None:
        means = f" after the previous response. That is not its idle timeout, which is {_timeout_text(known, row, rests)}."
        return Explanation(rested, means, _SHORTER.format(""), pool_limit=True)
    if limit is None and (doubted := _without_timeout(row, rests, until)):
        return doubted
    if limit is None or limit.how in ("single", "usual"):
        return _single(row, rests, others)
    means = f" after the previous response. Its idle timeout is {_timeout_text(limit, row, rests)}."
    shorter = _SHORTER.format(f" (here {limit.as_text()})")
    return Explanation(rested, means, shorter, rested, pool_limit=True)


def _without_timeout(row: Mapping[str, Any], rests: IdleTimes, until: int | None) -> Explanation | None:
    """Return the explanation of a close that is probably not due to an idle timeout; None if an idle timeout is likely.

    Two facts speak against a timeout: requests were answered after longer idle times, or all idle times may be equal because a
    client sends its requests at regular intervals. `until`: as in `IdleTimes.limits`.
    """
    rested, endpoint, connection = row["rested"], row["endpoint"], row["connection"]
    doubt = rests.doubt(endpoint, connection, until)
    after = " after the previous response. "
    if doubt is not None and doubt.has(rested):
        if doubt.answered:
            means = f"{after}That is not an idle timeout: {_requests_were(doubt.answered)} answered after similar idle times. "
            return Explanation(rested, means + _PROBABLY_ENDED, _DRAIN)
        means = (
            f"{after}Its closes came after similar idle times ({duration_text(doubt.low)} to {duration_text(doubt.high)}), but "
            "nearly always as a client sent its next request, so the idle times may be the interval between its requests: "
            "either the server's idle timeout expired, or a process of the server ended then. The packets cannot tell which."
        )
        return Explanation(rested, means, _DRAIN + _SHORTER.format(""))
    longer = 0 if rests.announced_timeout(connection) is not None else rests.outlived(endpoint, rested, until)
    if not longer:
        return None
    means = f"{after}That is not an idle timeout: {_requests_were(longer)} answered after longer idle times. "
    return Explanation(rested, means + _PROBABLY_ENDED, _DRAIN)


def _requests_were(answered: int) -> str:
    return "a request was" if answered == 1 else f"{answered:,} requests were"


_PROBABLY_ENDED = "A process of the server probably ended then."


def _stop_text(rested: int, connection: int, stop: Stop) -> str:
    """Return a sentence saying that a process ended, with the facts that show it."""
    others = [end for end in stop.resting if end.connection != connection]
    said = [f"it also closed {other_connections(len(others))}, all idle"] if len(others) > 1 else []
    said += ["it also closed another idle connection"] if len(others) == 1 else []
    cut = "a response or a tunnel" if stop.cut == 1 else f"{stop.cut:,} responses or tunnels"
    said += [f"it cut off {cut}"] if stop.cut else []
    refused = len(stop.refused)
    said += [f"it refused {'a SYN' if refused == 1 else f'{refused:,} SYNs'} after that"] if refused else []
    how = f" ({'; '.join(said)})" if said else ""
    return f"{_after_previous_response(rested)}: a process of the server ended then{how}."


def _single(row: Mapping[str, Any], rests: IdleTimes, others: list[int]) -> Explanation:
    """Return the explanation of a close if the server's closes at other moments do not show an idle timeout."""
    rested, said, server = row["rested"], rests.announced_timeout(row["connection"]), rests.server(row["connection"])
    whose = default_of_server(rested, server)
    means = f" after the previous response, which is probably its idle timeout{whose}."
    if said is None and others and not (server and whose):
        count = f"{other_connections(len(others))} after the same idle time"
        means = (
            f" after the previous response. It also closed {count}: a process of the server ended then, or the same idle "
            "timeout expired on all of them."
        )
        return Explanation(rested, means, _DRAIN + _SHORTER.format(""))
    if said is not None:
        promised = [Limit("announced", n * SECOND, n * SECOND, said=said) for n in (said, said + 1)]
        kept = next((one for one in promised if one.has(rested)), None)
        after = " after the previous response"
        means = f"{after}, its idle timeout, {kept.origin()}." if kept else f"{after}, although it had announced {said} s."
    shorter = _SHORTER.format(f" (here {duration_text(rested)})")
    return Explanation(rested, means, shorter, rested, pool_limit=True)


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
    return f"{other_connections(len(others))} after {span} idle"


def _after_previous_response(rested: int) -> str:
    return "together with the previous response" if rested == 0 else " after the previous response"


_WITH_WARNING = ", which had announced the close (Connection: close or an equivalent)."
_UNANNOUNCED = ". That is not an idle timeout, but an unannounced close soon after a response (see the rule premature-close)."
_ANNOUNCE = "Have the server send Connection: close with the last response before it closes. "
HEED = "Have the client stop using a connection once a response says Connection: close. "


_DRAIN = "Before a server process ends, have it stop accepting requests, answer those that it has received, and then close. "

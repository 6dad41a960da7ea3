"""Explain closes that lost a request (keep-alive-race): by an idle timeout, a suspended process, or the end of a process."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.rules.shared.race_facts import Facts
from wiredoctor.world.connection_close import IDLE as IMMEDIATE
from wiredoctor.world.idle_defaults import default_of_server
from wiredoctor.world.server import LATE, NEAR, Limit, Server, Stop

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
    """What the idle times of the server show about a close. Race_words has the words for each `reason`.

    `limit`: the idle time (ns) after which the server closed, if that was measured. `how`, `low`, `high`, `closes`: an idle
    timeout, as in Limit; for the reasons "together" and "intervals", the range of other idle times. `number`: how many other
    connections were closed or had requests, or how many requests refute a timeout. `cut`, `refused`: as in Stop, but counted.
    `announced` (s), `software`: what the server said on the connection.
    """

    reason: str
    limit: int | None = None
    how: str = ""
    low: int = 0
    high: int = 0
    closes: int = 0
    number: int = 0
    cut: int = 0
    refused: int = 0
    confidence: str = "high"
    announced: int | None = None
    software: str = ""

    @property
    def timeout(self) -> Limit:
        """The idle timeout."""
        return Limit(self.how, self.low, self.high, self.closes, self.announced)


EXPLANATION = pl.Struct(
    {name: pl.String if name in ("reason", "how", "confidence", "software") else pl.Int64 for name in Explanation._fields}
)


def explain(x: Facts, server: Server) -> Explanation | None:
    """Return how the idle times of the server explain a lost request; None if the candidate is not a finding."""
    limits = server.limits(x.connection)
    others = server.closed_together(x.connection, x.server_close_time)
    stop = server.stops.stop_at(x.server_close_time)
    if x.kind == "at-limit":
        if stop is not None and stop.form in ("a", "b", "c"):
            limits = [limit for limit in limits if limit.how == "soon"]
        if server.is_refused(x.server_close_time):
            limits = [limit for limit in limits if limit.how not in _ASSUMED]
        idle = x.idle_at_server or 0
        limits = [one for one in limits if one.how not in _ASSUMED or not server.is_survived(one, idle)]
        met = next((limit for limit in limits if _is_at(limit, x, others) or _is_doomed(limit, x, server)), None)
        found = _explain_suspension(x, server, limits, others) if met is None else _at_limit(x, met)
    else:
        found = _explain_close(x, server, limits, others, stop)
    if found is None:
        return None
    return found._replace(announced=server.announced_timeout(x.connection), software=server.software(x.connection))


def _is_at(limit: Limit, x: Facts, others: list[int]) -> bool:
    """Return whether a close that acknowledges the request was due to this idle timeout and not to the request.

    `others`: the idle times (ns) of connections that the server closed at the same moment.
    """
    rested, idle, later, slack = x.rested or 0, x.idle_at_server or 0, x.later, limit.tolerance
    # a busy process has not read the request, but was going to close right after its response
    busy = x.by_rst and later is not None and later <= BUSY_RST.value
    if limit.how == "soon":
        return rested <= limit.high or (busy and idle <= limit.high)
    if later is None or any(_is_younger(rest, limit) for rest in others):
        return False
    due = idle >= limit.low - slack
    if limit.how == "met":
        as_it_expired = x.by_rst and later <= QUICK_RST.value
        return as_it_expired and limit.low - slack <= rested <= limit.high + slack
    if limit.how not in ("sharp", "coarse"):
        late = LATE_RST.value if x.by_rst else LATE_FIN.value
        return due and rested <= limit.high + slack + late and (x.by_rst or later <= UNSURE_FIN.value)
    if limit.how == "coarse" and not x.by_rst:
        return limit.has(idle) and later <= SLOW_FIN.value and len(others) >= COMPANY.value
    quick, slow = (QUICK_RST, SLOW_RST) if x.by_rst else (QUICK_FIN, SLOW_FIN)
    reached = rested >= limit.low - slack and idle <= limit.high + slack + LATE
    # a busy process reads no request, but its timer still expires on time
    on_time = busy and rested <= limit.high + slack
    return reached and (later <= quick.value or (later <= slow.value and due) or on_time)


def _is_doomed(limit: Limit, x: Facts, server: Server) -> bool:
    """Return whether the server closes after every response, so it was going to close the connection of an unread request.

    On a busy machine, the process may take longer than usual before it closes.
    """
    if limit.how != "soon" or limit.closes < ALWAYS.value or not x.by_rst or x.later is None:
        return False
    late = (x.idle_at_server or 0) <= limit.high + LATE and x.later <= BUSY_RST.value
    return late and not server.answers_again


def _is_younger(rest: int, limit: Limit) -> bool:
    """Return whether a close after this idle time (ns) came too early for this timeout, so it had another reason."""
    return rest < limit.low * YOUNGER.value // 100 - limit.tolerance


_SURE = {"sharp": "high", "coarse": "high", "soon": "high", "single": "medium", "announced": "medium", "met": "medium"}
"""The confidence that an idle timeout gives, by its source (`Limit.how`). It is low for sources that are not listed."""


def _with_timeout(reason: str, idle: int | None, limit: Limit, confidence: str = "high", number: int = 0) -> Explanation:
    return Explanation(reason, idle, limit.how, limit.low, limit.high, limit.closes, number, confidence=confidence)


def _at_limit(x: Facts, limit: Limit) -> Explanation:
    soon = limit.how == "soon"
    return _with_timeout(
        "soon" if soon else "timeout", x.rested or None if soon else x.rested, limit, _SURE.get(limit.how, "low")
    )


def _explain_suspension(
    x: Facts, server: Server, limits: list[Limit], others: list[int]
) -> Explanation | None:  # fmt: skip
    """Return the explanation of a request that waited while the server's process was suspended; None if the suspension is not
    proved.
    """
    rested, later, closed = x.rested or 0, x.later, x.server_close_time
    if later is None or later <= STILL.value or server.is_refused(closed):
        return None
    fitting = (limit for limit in limits if limit.how != "soon" and rested >= limit.low - limit.tolerance)
    limit = next((one for one in fitting if x.by_rst or one.how == "sharp"), None)
    if limit is None or any(_is_younger(rest, limit) for rest in others):
        return None
    c = pl.col
    exchanges = server.exchanges()
    begun = closed - later
    sent = c("response_start").is_not_null() & (c("response_start") < closed) & (c("response_end").fill_null(closed) > begun)
    lay = exchanges.filter((c("request_start") < closed) & (c("response_start").is_null() | (c("response_start") > closed)))
    lay = lay.filter(c("server_close_time").is_null() | (c("server_close_time") >= closed))
    connections = lay["connection"].n_unique()
    if connections < LAY.value or exchanges.filter(sent).height:
        return None
    lives = lay.filter(c("answered") & (c("request_end") < closed) & (c("connection") != x.connection)).height > 0
    if limit.how == "usual" and not lives:
        return None
    return _with_timeout("paused", rested, limit, "high" if lives else "medium", connections)


def _explain_close(x: Facts, server: Server, limits: list[Limit], others: list[int], stop: Stop | None) -> Explanation:
    """Return the explanation of a close, with the idle timeout that it matches, if any."""
    rested = x.rested
    if x.kind == "forgotten" or rested is None:
        return Explanation("unknown")
    if x.previous_announced_close or x.warned:
        return Explanation("announced", rested or None)
    if stop is not None:
        resting = sum(end.connection != x.connection for end in stop.resting)
        return Explanation("stopped", rested or None, number=resting, cut=stop.cut, refused=len(stop.refused))
    if _are_unlike(limits, rested, others):
        return Explanation("together", rested, low=min(others), high=max(others), number=len(others))
    if rested <= IMMEDIATE.value and not any(limit.how == "announced" and limit.has(rested) for limit in limits):
        return Explanation("unannounced", rested or None)
    limit = next((one for one in limits if one.has(rested)), None)
    known = limits[0] if limits and limits[0].how != "usual" else None
    if limit is None and known is not None:
        return _with_timeout("another", rested, known)
    if limit is None and (doubted := _without_timeout(x, rested, server)):
        return doubted
    if limit is None or limit.how in ("single", "usual"):
        return _single(x, rested, server, others)
    return _with_timeout("timeout", rested, limit)


def _without_timeout(x: Facts, rested: int, server: Server) -> Explanation | None:
    """Return the explanation of a close that is probably not due to an idle timeout; None if an idle timeout is likely.

    Two facts speak against a timeout: requests were answered after longer idle times, or all idle times may be equal because a
    client sends its requests at regular intervals.
    """
    doubt = server.doubt(x.connection)
    if doubt is not None and doubt.has(rested):
        if doubt.answered:
            return Explanation("similar", rested, number=doubt.answered)
        return Explanation("intervals", rested, low=doubt.low, high=doubt.high)
    announced = server.announced_timeout(x.connection) is not None
    longer = 0 if announced else server.outlived(rested)
    return Explanation("longer", rested, number=longer) if longer else None


def _single(x: Facts, rested: int, server: Server, others: list[int]) -> Explanation:
    """Return the explanation of a close if the server's closes at other moments do not show an idle timeout."""
    software = server.software(x.connection)
    likely = server.announced_timeout(x.connection) is not None or (software and default_of_server(rested, software))
    return Explanation("several" if others and not likely else "single", rested, number=len(others))


def _are_unlike(limits: list[Limit], rested: int, others: list[int]) -> bool:
    """Return whether connections were closed at the same moment (after `others`, ns) that no single idle timeout explains."""
    known = next((one for one in limits if one.how in ("sharp", "coarse", "met", "announced")), None)
    if known is not None:
        return any(_is_younger(rest, known) for rest in others)
    return any(abs(rest - rested) > max(rest, rested) * UNLIKE.value // 100 + NEAR for rest in others)

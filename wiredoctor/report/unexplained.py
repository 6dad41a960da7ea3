"""Clauses about failures that no finding explains: for the headline, for JUnit, and for the exit code."""

from __future__ import annotations

from collections.abc import Mapping

from wiredoctor.findings import UNJUDGED
from wiredoctor.report.coverage import Answers, Coverage
from wiredoctor.report.words import count, join_words, part_of

MAX_STATUSES = 3
"""The maximum number of statuses that a clause names. The others are counted together."""

_LOST = ("closed", "after-close-announced")
_BROKEN_OFF = ("request-cut-short", "head-unfinished")
_WAITING = ("no-answer", "request-stopped")
_NOT_BROKEN = ("breaks-off", "not-compared", "server-reset")


def unexplained(reach: Coverage) -> list[str]:
    """Return clauses about failures that no finding explains, and about exchanges whose result is unknown.

    Examples are "2 of 5 requests were never answered" and "6 of 40 responses have status 503". If there are failures, but some
    rules that might explain them did not run, return only one clause, which counts the failures.
    """
    if not reach.knows_failures and (clause := _not_checked(reach)):
        return [clause]
    answers, endings = reach.answers, reach.endings
    unended, uncompared, reset = (endings.get(reason, 0) for reason in _NOT_BROKEN)
    broken = _broken_connections(endings)
    lost, waiting, off = (sum(endings.get(reason, 0) for reason in some) for some in (_LOST, _WAITING, _BROKEN_OFF))
    partly = sum(endings.get(reason, 0) for reason in ("gap", "snap-length", "one-sided"))
    clauses = [
        (lost + waiting if lost else 0, answers.requests, "request", "was never answered", "were never answered"),
        (0 if lost else waiting, answers.requests, "request", *(["had no answer yet when the capture ended"] * 2)),
        (
            endings.get("request-unfinished", 0),
            answers.requests,
            "request",
            "was still incomplete when the capture ended",
            "were still incomplete when the capture ended",
        ),
        (off, answers.requests, "request", *(["broke off"] * 2)),
        (endings.get("cut-short", 0), answers.responses, "response", *(["broke off"] * 2)),
        (
            endings.get("websocket-cut", 0),
            reach.exchanges,
            "exchange",
            "is a WebSocket that was cut",
            "are WebSockets that were cut",
        ),
        (
            endings.get("tunnel-unanswered", 0),
            reach.exchanges,
            "exchange",
            "is a tunnel through which nothing came back",
            "are tunnels through which nothing came back",
        ),
        (
            endings.get("tunnel-reset", 0),
            reach.exchanges,
            "exchange",
            "is a tunnel that was reset",
            "are tunnels that were reset",
        ),
        (endings.get("reset-doubted", 0), reach.exchanges, "exchange", "was reset", "were reset"),
        (
            endings.get("response-unfinished", 0),
            answers.responses,
            "response",
            "was still incomplete when the capture ended",
            "were still incomplete when the capture ended",
        ),
        (partly, reach.exchanges, "exchange", "was captured only in part", "were captured only in part"),
        (endings.get("unreadable", 0), answers.requests, "request", *(["got bytes that are not an HTTP response"] * 2)),
        (endings.get("request-unreadable", 0), answers.requests, "request", *(["cannot be read"] * 2)),
        (
            endings.get("request-not-http", 0),
            answers.responses,
            "response",
            "rejects bytes that are not an HTTP request",
            "reject bytes that are not an HTTP request",
        ),
        (
            endings.get("head-awaited", 0),
            answers.responses,
            "response",
            "rejects a request whose head did not arrive in time",
            "reject requests whose heads did not arrive in time",
        ),
        (broken, reach.connections, "connection", *(["failed for an unknown reason"] * 2)),
        (reset, reach.connections, "connection", "was reset by the server", "were reset by the server"),
        (unended, reach.connections, "connection", *(["ended with unacknowledged data"] * 2)),
        (uncompared, reach.connections, "connection", "was not compared with the others", "were not compared with the others"),
    ]
    # the endings count a forwarded request on both sides of its gateway, but requests and responses count once
    said = [
        f"{part_of(number, whole, noun)} {one if number == 1 else many}"
        for number, whole, noun, one, many in ((min(number, whole or number), whole, *rest) for number, whole, *rest in clauses)
        if number
    ]
    if failures := answers.unexplained:
        which = str(next(iter(failures))) if len(failures) == 1 else f"500 or above ({_count_by_status(failures)})"
        said.append(_have_status(sum(failures.values()), answers, which))
    if hidden := reach.hidden:
        number = sum(hidden.values())
        which = str(next(iter(hidden))) if len(hidden) == 1 else f"500 or above ({_count_by_status(hidden)})"
        verb = "was" if number == 1 else "were"
        said.append(f"{count(number, 'response')} with status {which} from behind a gateway {verb} not forwarded")
    return said


def rejections(answers: Answers) -> list[str]:
    """Return a list with a clause about responses that reject their request: "2 of 5 responses have status 400 or 413".

    The list is empty if no response rejects its request. Other statuses of the class 4xx, such as 401 and 404, are part of normal
    use unless all responses have a status of this class.
    """
    found = answers.rejections
    if answers.responses and answers.classes == {"4xx": answers.responses} and sum(found.values()) < answers.responses:
        return [_have_status(answers.responses, answers, "4xx")]
    return [_have_status(sum(found.values()), answers, join_words([*map(str, found)], "or"))] if found else []


def _have_status(number: int, answers: Answers, status: str) -> str:
    return f"{part_of(number, answers.responses, 'response')} {'has' if number == 1 else 'have'} status {status}"


def _broken_connections(endings: Mapping[str, int]) -> int:
    """Return the number of connections that failed for a reason that no finding explains."""
    return sum(number for name, number in endings.items() if UNJUDGED[name].what == "connections" and name not in _NOT_BROKEN)


def _not_checked(reach: Coverage) -> str:
    """Return a clause that counts the failed requests or, if no request failed, the failed connections; "" if nothing failed."""
    answers, endings = reach.answers, reach.endings
    unanswered = sum(endings.get(reason, 0) for reason in (*_LOST, *_BROKEN_OFF, "cut-short", "reset-doubted", "unreadable"))
    errors = sum(answers.unexplained.values())
    why = "(rules that did not run may explain why)"
    if failed := min(unanswered + errors, answers.requests):
        parts = ["not answered completely"] * bool(unanswered) + ["answered with status 500 or above"] * bool(errors)
        return f"{part_of(failed, answers.requests, 'request')} {'was' if failed == 1 else 'were'} {' or '.join(parts)} {why}"
    broken = _broken_connections(endings)
    return f"{part_of(broken, reach.connections, 'connection')} failed {why}" if broken else ""


def _count_by_status(failures: Mapping[int, int]) -> str:
    most = sorted(failures.items(), key=lambda one: (-one[1], one[0]))
    shown = [f"{status}: {number:,}" for status, number in most[:MAX_STATUSES]]
    rest = sum(number for _, number in most[MAX_STATUSES:])
    return ", ".join([*shown, *([f"others: {rest:,}"] if rest else [])])

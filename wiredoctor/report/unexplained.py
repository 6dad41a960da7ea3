"""Clauses about failures that no finding explains: for the headline, for JUnit, and for the exit code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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
    answers = reach.answers
    of = {
        "request": answers.requests,
        "response": answers.responses,
        "exchange": reach.exchanges,
        "connection": reach.connections,
    }
    # the endings count a forwarded request on both sides of its gateway, but requests and responses count once
    clauses = ((min(number, of[noun] or number), noun, *verbs) for number, noun, *verbs in _clauses(reach.endings) if number)
    said = [f"{part_of(number, of[noun], noun)} {one if number == 1 else many or one}" for number, noun, one, many in clauses]
    if failures := answers.unexplained:
        said.append(_have_status(sum(failures.values()), answers, _count_by_status(failures)))
        said += [clause for status in failures for clause in reach.refusals.get(status, ())]
    if hidden := reach.hidden:
        number = sum(hidden.values())
        which, verb = _count_by_status(hidden), "was" if number == 1 else "were"
        said.append(f"{count(number, 'response')} with status {which} from behind a gateway {verb} not forwarded")
    return said


def _clauses(endings: Mapping[str, int]) -> Iterator[tuple[int, str, str, str]]:
    """Yield the number of things that ended in some way, their noun, and the verb for one and for several ("": the same)."""

    def number(*reasons: str) -> int:
        return sum(endings.get(reason, 0) for reason in reasons)

    lost, waiting, at_end = number(*_LOST), number(*_WAITING), "when the capture ended"
    yield lost + waiting if lost else 0, "request", "was never answered", "were never answered"
    yield 0 if lost else waiting, "request", f"had no answer yet {at_end}", ""
    yield number("request-unfinished"), "request", f"was still incomplete {at_end}", f"were still incomplete {at_end}"
    yield number(*_BROKEN_OFF), "request", "broke off", ""
    yield number("cut-short"), "response", "broke off", ""
    yield number("websocket-cut"), "exchange", "is a WebSocket that was cut", "are WebSockets that were cut"
    through = "through which nothing came back"
    yield number("tunnel-unanswered"), "exchange", f"is a tunnel {through}", f"are tunnels {through}"
    yield number("tunnel-reset"), "exchange", "is a tunnel that was reset", "are tunnels that were reset"
    yield number("reset-doubted"), "exchange", "was reset", "were reset"
    yield number("response-unfinished"), "response", f"was still incomplete {at_end}", f"were still incomplete {at_end}"
    partly = number("gap", "snap-length", "altered", "one-sided")
    yield partly, "exchange", "was captured only in part", "were captured only in part"
    yield number("unreadable"), "request", "got bytes that are not an HTTP response", ""
    yield number("request-unreadable"), "request", "cannot be read", ""
    no_request = "bytes that are not an HTTP request"
    yield number("request-not-http"), "response", f"rejects {no_request}", f"reject {no_request}"
    late = "rejects a request whose head did not arrive in time", "reject requests whose heads did not arrive in time"
    yield number("head-awaited"), "response", *late
    yield _broken_connections(endings), "connection", "failed for an unknown reason", ""
    yield number("server-reset"), "connection", "was reset by the server", "were reset by the server"
    yield number("breaks-off"), "connection", "ended with unacknowledged data", ""
    uncompared = number("not-compared")
    yield uncompared, "connection", "was not compared with the others", "were not compared with the others"


def rejections(reach: Coverage) -> list[str]:
    """Return clauses about responses that reject their request: "2 of 5 responses have status 400 or 413", and what that cost.

    The list is empty if no response rejects its request. Other statuses of the class 4xx, such as 401 and 404, are part of normal
    use unless all responses have a status of this class.
    """
    answers = reach.answers
    found = answers.rejections
    if answers.responses and answers.classes == {"4xx": answers.responses} and sum(found.values()) < answers.responses:
        return [_have_status(answers.responses, answers, "4xx")]
    costs = [clause for status in found for clause in reach.refusals.get(status, ())]
    return [_have_status(sum(found.values()), answers, join_words([*map(str, found)], "or")), *costs] if found else []


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
    if len(failures) == 1:
        return str(*failures)
    most = sorted(failures.items(), key=lambda one: (-one[1], one[0]))
    shown = [f"{status}: {number:,}" for status, number in most[:MAX_STATUSES]]
    rest = sum(number for _, number in most[MAX_STATUSES:])
    return f"500 or above ({', '.join([*shown, *([f'others: {rest:,}'] if rest else [])])})"

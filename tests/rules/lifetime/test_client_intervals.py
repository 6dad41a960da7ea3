"""Test servers whose processes end as a client asks at regular intervals, so that all closes come after the same idle time, and
real idle timeouts that are as long as the interval.
"""

from __future__ import annotations

import pytest

from tests.rules.lifetime.test_at_limit import ROUND_TRIPS, THINK, Server, points
from tests.support.sweeps import in_turn
from wiredoctor.findings import Finding
from wiredoctor.testing import POINTS, findings

INTERVAL = 2.0
"""How long the client waits after a response, in seconds."""

ENDED = (1.86, 1.9, 1.93, 1.955, 1.98)
"""Idle times at which processes ended, just before the client asked."""

TIMER = (2.0004, 2.001, 2.0012, 2.0018, 2.021)
"""Idle times at which a timer of two seconds closed."""

UNREAD = [("no-response", "unread", "medium")]
AT_LIMIT = [("keep-alive-race", "at-limit", "high")]
GUNICORN = "Server: gunicorn\\r\\n"


def polled(round_trip: float, rests: tuple[float, ...], *, again: float | None = INTERVAL, fields: str = "") -> Server:
    """A server that closes after each of these idle times.

    `again`: how long after its response the client asks again, on a new connection; None if it does so much later.
    """
    server = Server(round_trip, fields)
    at = 10.0
    for rest in rests:
        server.idle(at, rest)
        at += 20.0 if again is None else again + THINK
    if again is not None:
        server.connection(at)
    return server


def answered(server: Server, rest: float, times: int) -> None:
    """Requests that are answered after an idle time."""
    for number in range(times):
        server.used_again(200 + 10 * number, rest)


def crossed(server: Server, rest: float, answered_at: float = 100) -> None:
    """A connection whose next request crosses the FIN of the server, after an idle time."""
    server.connection(answered_at)
    server.ask(rest + 0.001, acknowledges=len(server.response.replace("\\r\\n", "##")) - 2 + 1)
    server.close(rest, "F.", "ack 1")


def lost(server: Server, at: str) -> list[tuple[str, str | None, str]]:
    """Rule, kind and confidence of the findings about lost requests."""
    return [(one.rule, one.kind, one.confidence) for one in findings(server.text(), at) if one.severity == "error"]


def race(server: Server, at: str = "client") -> Finding:
    [finding] = [one for one in findings(server.text(), at) if one.rule == "keep-alive-race"]
    return finding


@pytest.mark.parametrize(("wait", "round_trip"), in_turn([0.0005, 0.004, 0.03], ROUND_TRIPS))
def test_a_process_that_ends_as_a_client_asks_is_no_timeout(wait: float, round_trip: float) -> None:
    """The server answers other requests after as long an idle time."""
    server = polled(round_trip, ENDED)
    answered(server, INTERVAL, 4)
    server.met(1.99, wait, "R.", 100)
    for at in points(round_trip):
        assert lost(server, at) == UNREAD


@pytest.mark.parametrize("times", [0, 2])
def test_every_process_ends_as_a_client_asks(times: int) -> None:
    """No request, or few, were answered after as long an idle time: the packets do not tell a timeout from a process."""
    server = polled(0.001, ENDED)
    answered(server, INTERVAL, times)
    server.met(1.99, 0.004, "R.", 100)
    for at in POINTS:
        assert lost(server, at) == UNREAD


EXACT = [pytest.param(1.995, False, id="requests are answered after it"), pytest.param(1.985, True, id="and before it")]


@pytest.mark.parametrize("at", POINTS)
@pytest.mark.parametrize(("answered_after", "speaks"), EXACT)
def test_exact_closes_do_not_outweigh_answered_requests(answered_after: float, speaks: bool, at: str) -> None:
    server = polled(0.001, (1.989, 1.99, 1.991, 1.992, 1.993))
    answered(server, answered_after, 4)
    server.met(1.991, 0.0005, "R.", 100)
    assert lost(server, at) == (AT_LIMIT if speaks else UNREAD)


TIMERS = [
    pytest.param(TIMER, INTERVAL, 0, id="a timer closes exactly"),
    pytest.param(TIMER, INTERVAL, 4, id="and the server answers requests that come before it"),
    pytest.param((2.0004, 2.02, 2.04, 2.06, 2.08), INTERVAL, 0, id="late timers begin at a whole number of seconds"),
    pytest.param((1.86, 1.9, 1.93, 1.955, 1.98), None, 0, id="nobody asks as the server closes"),
]


@pytest.mark.parametrize(("rests", "again", "times", "round_trip"), in_turn([one.values for one in TIMERS], ROUND_TRIPS))
def test_a_timeout_as_long_as_the_interval_of_a_client(
    rests: tuple[float, ...], again: float | None, times: int, round_trip: float
) -> None:
    server = polled(round_trip, rests, again=again)
    answered(server, rests[0] - 0.003, times)
    server.met(rests[2], 0.0005, "R.", 100)
    for at in points(round_trip):
        assert lost(server, at) == AT_LIMIT


@pytest.mark.parametrize(("delayed", "speaks", "at"), in_turn([(1, True), (2, False)], POINTS))
def test_a_few_responses_that_were_delayed_do_not_hide_a_timer(delayed: int, speaks: bool, at: str) -> None:
    """A response that is late on its way makes the idle time after it shorter."""
    rests = [1.95] * delayed + [2.0004 + 0.004 * number for number in range(24 - delayed)]
    server = polled(0.001, tuple(rests))
    answered(server, 2.11, 6)
    server.met(2.05, 0.0005, "R.", 100)
    assert lost(server, at) == (AT_LIMIT if speaks else UNREAD)


@pytest.mark.parametrize(("answered_after", "speaks", "at"), in_turn([(2.3, False), (1.9, True)], POINTS))
def test_a_server_that_checks_its_connections_now_and_then(answered_after: float, speaks: bool, at: str) -> None:
    """Requests that come before its timeout are answered, so it exists. If the idle time does not matter, it does not."""
    server = polled(0.001, (1.75, 2.0, 2.6, 2.3, 2.1), again=None)
    answered(server, answered_after, 4)
    server.met(2.2, 0.0005, "R.", 100)
    assert lost(server, at) == (AT_LIMIT if speaks else UNREAD)


LATE_TIMER = ((1.003, 4), (0.994, 24), (0.995, 20), (0.983, 42), (0.976, 33), (0.979, 40), (0.998, 7))
"""Requests after so many seconds of idle time, and the milliseconds until the RST: a busy server's timer of a second."""

WAITS = [
    pytest.param(LATE_TIMER, 0, "keep-alive-race", id="a timer"),
    pytest.param(LATE_TIMER[:5], 0, "keep-alive-race", id="five requests"),
    pytest.param(LATE_TIMER[:4], 0, "no-response", id="only four"),
    pytest.param(LATE_TIMER, 3, "no-response", id="a request after a longer idle time was answered"),
    pytest.param(tuple((1, wait) for _, wait in LATE_TIMER), 0, "no-response", id="a client at equal intervals"),
    pytest.param(tuple((rest, 20) for rest, _ in LATE_TIMER), 0, "no-response", id="a handler that gives up"),
]


@pytest.mark.parametrize("at", POINTS)
@pytest.mark.parametrize(("lost_after", "times", "rule"), WAITS)
def test_a_late_timer_is_shown_by_idle_times_that_vary_least(
    lost_after: tuple[tuple[float, float], ...], times: int, rule: str, at: str
) -> None:
    server = Server(0.001)
    for number, (rest, wait) in enumerate(lost_after):
        server.met(rest, wait / 1000, "R.", 10 + 2 * number)
    answered(server, 1.0205, times)
    found = lost(server, at)
    assert len(found) == len(lost_after)
    assert {(name, sure) for name, _, sure in found} == {(rule, "medium")}


@pytest.mark.parametrize("at", POINTS)
@pytest.mark.parametrize("announced", [False, True])
def test_an_announced_timeout_is_not_doubted(announced: bool, at: str) -> None:
    rests = (1.965, 1.972, 1.979, 1.986, 1.993)
    server = polled(0.001, rests, fields="Keep-Alive: timeout=2\\r\\n" if announced else "")
    server.met(1.99, 0.0005, "R.", 100)
    assert lost(server, at) == (AT_LIMIT if announced else UNREAD)


@pytest.mark.parametrize("at", POINTS)
@pytest.mark.parametrize(
    ("times", "says"),
    [(0, "The packets cannot tell which."), (4, "not an idle timeout: 4 requests were answered after similar idle times.")],
)
def test_the_cause_of_a_race_with_a_process_that_ends(times: int, says: str, at: str) -> None:
    server = polled(0.03, ENDED)
    answered(server, INTERVAL, times)
    crossed(server, 1.97)
    finding = race(server, at)
    assert says in finding.message
    assert "idle timeout is" not in finding.message
    assert "Before a server process ends" in finding.remedy


@pytest.mark.parametrize("at", POINTS)
def test_the_cause_of_a_race_with_a_timer(at: str) -> None:
    server = polled(0.03, TIMER)
    answered(server, 1.995, 4)
    crossed(server, 2.001)
    assert "Its idle timeout is 2 s" in race(server, at).message


@pytest.mark.parametrize(("times", "says"), [(1, "is probably its idle timeout"), (2, "answered after longer idle times")])
def test_a_single_close_that_requests_outlived(times: int, says: str) -> None:
    server = Server(0.03)
    crossed(server, 1.3)
    answered(server, 6.0, times)
    assert says in race(server).message


@pytest.mark.parametrize(("closes", "speaks"), [(2, True), (3, False)])
def test_earlier_closes_speak_against_a_common_default(closes: int, speaks: bool) -> None:
    """The default timeout of gunicorn is 2 s."""
    server = Server(0.001, GUNICORN)
    for number, rest in enumerate((1.05, 1.9, 0.7, 1.4)[: closes + 1]):
        server.idle(10 + 20 * number, rest)
    server.met(2.0, 0.0005, "R.", 100)
    assert lost(server, "client") == ([("keep-alive-race", "at-limit", "low")] if speaks else UNREAD)

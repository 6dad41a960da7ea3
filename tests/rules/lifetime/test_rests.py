"""Test learning an idle timeout from closes: invented idle times, and the limits of each way of learning."""

from __future__ import annotations

import pytest

from tests.rules.frames import MS, S
from wiredoctor.world.idle_defaults import usual_limits
from wiredoctor.world.learned_limits import ServerClose, Use, follow_requests, learn


def idle(*rests: int) -> list[ServerClose]:
    """Closes of connections that nobody used again, a minute apart."""
    return [
        ServerClose(number * 60 * S, rest, number, number * 60 * S + S, teaches=True, reset=False)
        for number, rest in enumerate(rests)
    ]


def met(*rests: int | None, reset: bool = True) -> list[ServerClose]:
    """Closes that met a request, later."""
    since = 7_200 * S
    return [
        ServerClose(since + number * 60 * S, rest, 1_000 + number, since + number * 60 * S, teaches=False, reset=reset)
        for number, rest in enumerate(rests)
    ]


def known(ends: list[ServerClose], *uses: Use) -> tuple[str, int, int, int] | None:
    limit = learn(ends, uses)
    return None if limit is None else (limit.how, limit.low, limit.high, limit.closes)


def test_nothing_is_learned_of_nothing() -> None:
    assert known([]) is None
    assert known(met(2 * S)) is None


def test_two_closes_that_are_alike_are_sharp() -> None:
    assert known(idle(5 * S, 5_010 * MS)) == ("sharp", 5 * S, 5_010 * MS, 2)


@pytest.mark.parametrize(("other", "how"), [(4_731 * MS, "sharp"), (4_729 * MS, None)])
def test_alike_is_within_5_percent_and_20_ms_of_the_median(other: int, how: str | None) -> None:
    """The median of two is the larger one: 5 s, less 270 ms."""
    limit = known(idle(other, 5 * S))
    assert (limit and limit[0]) == how


@pytest.mark.parametrize(("short", "how"), [(2, "sharp"), (3, None)])
def test_at_least_half_of_all_rests_are_alike(short: int, how: str | None) -> None:
    """Workers that end close after any rest."""
    limit = known(idle(*[300 * MS + n * 100 * MS for n in range(short)], 5 * S, 5 * S + MS))
    assert (limit and limit[0]) == how


def test_only_rests_of_almost_a_second_teach() -> None:
    assert known(idle(949 * MS, 948 * MS)) is None
    assert known(idle(950 * MS, 951 * MS)) == ("sharp", 950 * MS, 951 * MS, 2)


@pytest.mark.parametrize(("longest", "how"), [(10_020 * MS, "coarse"), (10_021 * MS, None)])
def test_a_coarse_limit_spans_twice_its_shortest_rest(longest: int, how: str | None) -> None:
    limit = known(idle(5 * S, 7 * S, longest))
    assert limit == (None if how is None else ("coarse", 5 * S, longest, 3))


def test_a_coarse_limit_needs_three_closes_and_no_short_one() -> None:
    assert known(idle(5 * S, 7 * S)) is None
    assert known(idle(5 * S, 7 * S, 9 * S, 900 * MS)) is None


CHECKS = idle(2_602 * MS, 2_727 * MS, 2_375 * MS)
"""Closes of a server that looks for idle connections once a second: two of them are alike."""

SEEMINGLY_SHARP = ("sharp", 2_602 * MS, 2_727 * MS, 2)
COARSE = ("coarse", 2_375 * MS, 2_727 * MS, 3)


def use(rest: int, time: int) -> Use:
    """A request that was answered."""
    return Use(rest * MS, time * MS, time * MS + S)


@pytest.mark.parametrize(("rest", "limit"), [(2_773, SEEMINGLY_SHARP), (2_774, COARSE)])
def test_an_exact_limit_that_a_request_outlived_may_be_a_coarse_one(rest: int, limit: tuple[str, int, int, int]) -> None:
    """It outlived it by more than 20 ms and 1 % of 2.602 s."""
    assert known(CHECKS, use(rest, 30_000)) == limit


@pytest.mark.parametrize(("other", "how"), [(2_648, "sharp"), (2_649, "coarse")])
def test_as_much_speaks_against_it_as_for_it(other: int, how: str) -> None:
    """Three closes are alike. One is not, one request outlived them all, and another came 20 ms and 1 % after the shortest."""
    limit = known(idle(2_602 * MS, 2_650 * MS, 2_727 * MS, 2_375 * MS), use(other, 30_000), use(2_900, 30_000))
    assert limit is not None
    assert limit[0] == how


def test_a_limit_that_no_request_outlived_stays_exact() -> None:
    assert known(idle(2_602 * MS, 2_727 * MS, 2_375 * MS, 2_376 * MS)) == SEEMINGLY_SHARP


def test_a_limit_that_explains_all_closes_stays_exact() -> None:
    """The process was busy when later requests came."""
    limit = known(idle(2_602 * MS, 2_650 * MS, 2_727 * MS), *[use(2_900, 30_000)] * 5)
    assert limit is not None
    assert limit[0] == "sharp"


@pytest.mark.parametrize(
    ("time", "limit"),
    [(60_049, COARSE), (60_050, SEEMINGLY_SHARP), (60_518, SEEMINGLY_SHARP), (60_519, COARSE)],
    ids=["during the check", "after the check", "due at the check", "not yet due"],
)
def test_a_check_spares_no_connection_that_is_due(time: int, limit: tuple[str, int, int, int]) -> None:
    """The server closed at 60 s. A connection was due if it had been idle for 2.375 s, 20 ms and 1 %, but was used after 2.937 s:
    other workers keep theirs when one worker ends."""
    assert known(CHECKS, use(2_937, time)) == limit


@pytest.mark.parametrize(("shortest", "how"), [(1_354, "coarse"), (1_353, "sharp"), (940, "sharp")])
def test_a_coarse_limit_that_does_not_explain_all_closes_is_none(shortest: int, how: str) -> None:
    """The longest close came after 2.727 s, which is more than twice 1.353 s and 20 ms."""
    limit = known(idle(2_602 * MS, 2_727 * MS, shortest * MS), use(2_937, 30_000))
    assert limit is not None
    assert limit[0] == how


def test_a_single_one() -> None:
    assert known(idle(5 * S)) == ("single", 5 * S, 5 * S, 1)
    assert known(idle(5 * S, 100 * MS, 400 * MS)) is None


def waiting(*times: tuple[int, int]) -> list[ServerClose]:
    """Closes that reset a request: the idle time at the close, and the time since the request came."""
    rests = met(*(rest for rest, _ in times))
    return [end._replace(waited=waited) for end, (_, waited) in zip(rests, times, strict=True)]


ASKED = [2 * S + n * 8 * MS for n in range(6)]
"""Idle times at which a client asks, every two seconds."""


def test_closes_of_a_handler_that_gives_up_follow_requests() -> None:
    """The handler resets 100 ms after its request, and up to 5 ms more."""
    assert follow_requests(waiting(*((rest + (100 + n) * MS, (100 + n) * MS) for n, rest in enumerate(ASKED))))


def test_closes_at_a_limit_do_not() -> None:
    """A limit of 2.1 s: the later the request, the shorter its wait."""
    assert not follow_requests(waiting(*((2_100 * MS, 2_100 * MS - rest) for rest in ASKED)))


def test_nor_do_closes_of_a_busy_server() -> None:
    """Waits of 10 to 60 ms, and timers that are late by that."""
    assert not follow_requests(waiting(*((rest + (10 + n * 10) * MS, (10 + n * 10) * MS) for n, rest in enumerate(ASKED))))


@pytest.mark.parametrize(("waited", "how"), [(5, True), (4, False)])
def test_a_short_wait_proves_nothing(waited: int, how: bool) -> None:
    """A request that comes in the last moment waits that long at any limit."""
    assert follow_requests(waiting(*((rest + waited * MS, waited * MS) for rest in ASKED))) is how


def test_two_closes_prove_nothing() -> None:
    assert not follow_requests(waiting(*((rest + 100 * MS, 100 * MS) for rest in ASKED[:2])))


def test_closes_at_one_moment_after_rests_that_are_alike_count_once() -> None:
    one = ServerClose(0, 5 * S, 1, S, teaches=True, reset=False)
    again = one._replace(time=20 * MS, connection=2)
    assert known([one, again]) == ("single", 5 * S, 5 * S, 1)
    assert known([one, again._replace(time=20 * MS + 1)]) == ("sharp", 5 * S, 5 * S, 2)
    assert known([one, again._replace(rest=5_290 * MS)]) is None


def test_a_server_that_closes_after_its_answers() -> None:
    assert known(idle(0, 20 * MS)) == ("soon", 0, 20 * MS, 2)
    assert known(idle(0, 21 * MS)) is None
    assert known(idle(0)) is None


def test_half_of_all_closes_follow_answers_those_that_met_a_request_included() -> None:
    assert known(idle(0, MS) + met(30 * MS, 40 * MS)) == ("soon", 0, 20 * MS, 2)
    assert known(idle(0, MS) + met(30 * MS, 40 * MS, 50 * MS)) is None
    assert known(idle(0, MS) + met(5 * MS, 30 * MS, 40 * MS)) == ("soon", 0, 20 * MS, 3)


def test_requests_that_met_it() -> None:
    assert known(met(2 * S, 2_010 * MS, 2_020 * MS)) == ("met", 2 * S, 2_020 * MS, 3)
    assert known(met(2 * S, 2_010 * MS)) is None
    assert known(met(2 * S, 2_010 * MS, 2_020 * MS, reset=False)) is None
    assert known(met(900 * MS, 2_010 * MS, 2_020 * MS)) is None


def test_they_are_all_alike_and_half_of_all_closes() -> None:
    """Workers that are killed at random are not."""
    assert known(met(2 * S, 2_010 * MS, 3 * S)) is None
    assert known(met(2 * S, 2 * S, 2 * S) + met(None, None, None, reset=False)) == ("met", 2 * S, 2 * S, 3)
    assert known(met(2 * S, 2 * S, 2 * S) + met(None, None, None, None, reset=False)) is None


def test_they_go_before_a_single_close_but_not_before_what_several_show() -> None:
    assert known(idle(5 * S) + met(2 * S, 2 * S, 2 * S)) == ("met", 2 * S, 2 * S, 3)
    assert known(idle(5 * S, 5 * S) + met(2 * S, 2 * S, 2 * S)) == ("sharp", 5 * S, 5 * S, 2)


@pytest.mark.parametrize(
    ("server", "limits"),
    [("uvicorn", [5]), ("nginx/1.22.1", [75]), ("Apache/2.4.57", [5]), ("our own", []), ("Jetty(12.0.1)", [30])],
)
def test_what_is_usual_is_that_of_the_software(server: str, limits: list[int]) -> None:
    assert usual_limits(server) == limits


def test_of_a_server_that_says_nothing_those_of_silent_software_are_usual() -> None:
    """Node, Bun, Tomcat, Jetty and Puma send no Server field; gunicorn, nginx, IIS, Caddy and Envoy always do."""
    assert {5, 10, 20, 30, 60, 65} <= {*usual_limits("")}
    assert not {2, 75, 120, 300, 3600} & {*usual_limits("")}

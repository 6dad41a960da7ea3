"""Test what the closes of a server show: which of them came at one moment, and which came together."""

from __future__ import annotations

import pytest

from tests.rules.frames import MS, S, server_of
from wiredoctor.world.learned_limits import TOGETHER, ServerClose
from wiredoctor.world.process_stops import STRAGGLERS
from wiredoctor.world.server import Server

NOON = 43_200 * S


def close(connection: int, time: int, rest: int | None, waited: int | None = None) -> ServerClose:
    """A close of a connection that was idle for `rest`, or whose request had waited."""
    sort = "idle" if waited is None else "met"
    return ServerClose(time, rest, connection, time + S, teaches=waited is None, reset=False, sort=sort, waited=waited)


def kind_of(server: Server, connection: int, time: int) -> str | None:
    """The kind of a candidate about this close: "once", or None if the server closed like this at another moment."""
    return None if server.is_repeated(connection, time) else "once"


@pytest.mark.parametrize("late", [0, 1, STRAGGLERS - 1, STRAGGLERS])
def test_a_straggler_belongs_to_the_moment_of_the_first_close(late: int) -> None:
    """It repeats a close of the day before, whether it is the first or the last of its moment."""
    first, straggler, before = close(1, NOON, 9 * S), close(2, NOON + late, 5 * S), close(3, NOON - 86_400 * S, 5 * S)
    assert kind_of(server_of(first, straggler, before), 2, straggler.time) is None
    assert kind_of(server_of(first, straggler), 2, straggler.time) == "once"


@pytest.mark.parametrize(("late", "kind"), [(STRAGGLERS, "once"), (STRAGGLERS + 1, None)])
def test_two_closes_after_equal_rests_repeat_each_other_at_two_moments_only(late: int, kind: str | None) -> None:
    server = server_of(close(1, NOON, 5 * S), close(2, NOON + late, 5 * S))
    assert kind_of(server, 2, NOON + late) == kind


@pytest.mark.parametrize(("other", "kind"), [(4_730, None), (5_270, None), (4_729, "once"), (5_271, "once")])
def test_a_rest_is_repeated_within_5_percent_and_20_ms(other: int, kind: str | None) -> None:
    server = server_of(close(1, NOON, 5 * S), close(2, NOON + 60 * S, other * MS))
    assert kind_of(server, 1, NOON) == kind


@pytest.mark.parametrize(("rest", "waited"), [(3 * S, None), (None, 3 * S), (3 * S, 10 * MS), (10 * MS, 3 * S)])
def test_a_connection_that_was_used_before_was_closed_together(rest: int | None, waited: int | None) -> None:
    """20 ms later the server closed another connection. The last that happened on it had been seconds before, whether it was
    idle or had a request waiting.
    """
    server = server_of(close(1, NOON, 5 * S), close(2, NOON + 20 * MS, rest, waited))
    assert server.closed_together(1, NOON) == [rest or 0]


@pytest.mark.parametrize(("rest", "found"), [(20 * MS, [20 * MS]), (20 * MS - 1, [])])
def test_a_connection_that_was_used_after_that_was_not(rest: int, found: list[int]) -> None:
    server = server_of(close(1, NOON, 5 * S), close(2, NOON + 20 * MS, rest))
    assert server.closed_together(1, NOON) == found


@pytest.mark.parametrize("late", [-TOGETHER - 1, -TOGETHER, TOGETHER, TOGETHER + 1])
def test_together_is_within_50_ms(late: int) -> None:
    server = server_of(close(1, NOON, 5 * S), close(2, NOON + late, 5 * S))
    assert server.closed_together(1, NOON) == ([5 * S] if abs(late) <= 50 * MS else [])


def test_a_connection_that_was_closed_before_this_one_began_was_not() -> None:
    server = server_of(close(1, NOON, 5 * S), close(2, NOON - 20 * MS, 5 * S))
    assert server.closed_together(1, NOON, since=NOON - 20 * MS) == [5 * S]
    assert server.closed_together(1, NOON, since=NOON - 20 * MS + 1) == []


def test_what_was_not_known_yet_does_not_count() -> None:
    """A row is final a second after its close."""
    closes = close(1, NOON, 5 * S), close(2, NOON + 20 * MS, 5 * S)
    assert server_of(*closes, until=NOON + S + 20 * MS).closed_together(1, NOON) == [5 * S]
    assert server_of(*closes, until=NOON + S + 20 * MS - 1).closed_together(1, NOON) == []

"""Test which responses of a server count as sent at about the time of a close."""

from __future__ import annotations

import pytest

from tests.rules.frames import S, followed, rows
from wiredoctor.world import CaptureTables
from wiredoctor.world.responses import Responses

CLOSED = 10 * S


def near(*starts: int, until: int | None = None, **changes: int) -> tuple[bool, bool]:
    """What is known of a close at 10 s, if endpoint 7 sent responses at these times, each known a second later."""
    answers = [
        followed(endpoint=7, connection=number, response_start=start, final_at=start + S) | changes
        for number, start in enumerate(starts)
    ]
    closes = rows("closes", *answers)
    wanted = rows("closes", followed(endpoint=7, server_close_time=CLOSED))
    tables = CaptureTables(closes.lazy(), rows("connections").lazy(), rows("exchanges").lazy)
    return Responses.build([wanted.select(Responses.NEEDS)], tables).near(7, CLOSED, until)


@pytest.mark.parametrize(
    ("start", "before", "after"),
    [
        (CLOSED - S - 1, False, False),
        (CLOSED - S, True, False),
        (CLOSED, True, False),
        (CLOSED + 1, False, True),
        (CLOSED + S, False, True),
        (CLOSED + S + 1, False, False),
    ],
)
def test_edges_of_the_second_before_and_after(start: int, before: bool, after: bool) -> None:
    assert near(start) == (before, after)


def test_of_another_server_it_does_not_count() -> None:
    assert near(CLOSED, CLOSED + 1) == (True, True)
    assert near(CLOSED, CLOSED + 1, endpoint=8) == (False, False)


def test_what_becomes_known_later_does_not_count() -> None:
    assert near(CLOSED, CLOSED + 1, until=CLOSED + S) == (True, False)
    assert near(CLOSED, CLOSED + 1, until=CLOSED + S + 1) == (True, True)

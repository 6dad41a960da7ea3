"""Which closes show that a client takes the answer of another endpoint, with times in ms."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from tests.rules.frames import MS
from wiredoctor.world.aborts import Aborts, Answer

WAITED = 200


def _aborts(late: dict[str, list[int]]) -> Aborts:
    """Return an index of closes, one each second, of one client at endpoints that it asks together.

    `late`: for each endpoint and each close, how long before it another endpoint had answered; -1: none is known.
    """
    names = sorted(late)
    closes = [(server, number, one) for number, server in enumerate(names) for one in late[server]]
    rows, answers = list[dict[str, Any]](), dict[tuple[int, int], Answer]()
    for exchange, (server, number, one) in enumerate(closes):
        time = (1000 * exchange + WAITED) * MS
        rows.append({"host": "10.0.0.1", "server": server, "time": time, "connection": exchange, "exchange": 0})
        other = names[(number + 1) % len(names)]
        if one >= 0:
            answers[exchange, 0] = Answer(time - one * MS, time - WAITED * MS, 1, 900, other, 200)
    frame = pl.DataFrame(rows).with_columns(waited=WAITED * MS + 7 * pl.col("connection") * MS, unanswered=True, program=0)
    return Aborts(frame, answers, begun=0)


def _meant(index: Aborts, connection: int) -> bool:
    asked = 1000 * connection * MS
    return index.elsewhere(connection, 0, asked, None) is not None


@pytest.mark.parametrize(
    ("late", "meant"),
    [
        pytest.param({"a": [1, 1, 1, 1], "b": [1, 1, 1]}, True, id="always"),
        pytest.param({"a": [1, 1, 90], "b": [1] * 10}, True, id="too busy once, among many"),
        pytest.param({"a": [1, 1, 90], "b": [1, 1]}, False, id="too busy once, among few"),
        pytest.param({"a": [90, 90, 1], "b": [1] * 40}, False, id="mostly late at this endpoint"),
        pytest.param({"a": [1, 1, 400], "b": [1]}, True, id="sent a request although it had the answer"),
        pytest.param({"a": [1, 1], "b": [90, 90]}, False, id="two closes"),
    ],
)
def test_the_endpoints_that_a_client_asks_together_count_together(late: dict[str, list[int]], meant: bool) -> None:
    assert _meant(_aborts(late), 0) is meant


def test_only_at_the_beginning_of_a_capture_may_the_answered_request_be_missing() -> None:
    index = _aborts({"a": [-1, *[1] * 20, -1], "b": [1]})
    assert [_meant(index, connection) for connection in (0, 21)] == [True, False]


def test_other_programs_behind_the_same_address_hide_no_limit() -> None:
    waits = [300, 301, 299, 90, 500, 700]
    rows = [
        {"host": "h", "server": "a", "time": (1000 * n + waited) * MS, "connection": n, "exchange": 0, "waited": waited * MS}
        for n, waited in enumerate(waits)
    ]
    frame = pl.DataFrame(rows).with_columns(unanswered=True, program=pl.col("connection") // 3)
    limits = [Aborts(frame, {}, begun=0).limit(n, waited * MS, None) for n, waited in enumerate(waits)]
    assert limits == [300 * MS, 300 * MS, 300 * MS, None, None, None]
    alone = Aborts(frame.with_columns(program=0), {}, begun=0)
    assert [alone.limit(n, waited * MS, None) for n, waited in enumerate(waits)] == [None] * 6

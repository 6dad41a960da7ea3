"""Test idle-cut: findings during and at the end of a capture, and the products whose default a timeout is."""

from __future__ import annotations

import random
from typing import Any

import polars as pl
import pytest

from tests.rules.frames import MS, S, followed, rows, words
from tests.support.sweeps import WHOLE, sweep
from wiredoctor.rule_engine import catalogue, decide
from wiredoctor.rule_engine.summary_columns import as_frame
from wiredoctor.rules.lifetime import idle_cut
from wiredoctor.testing import findings
from wiredoctor.world import CaptureTables
from wiredoctor.world.idle_defaults import limit_near, names_of_limit


def cut(number: int, rest: int, *, by: str = "server", at: int = 0, endpoint: int = 1) -> dict[str, Any]:
    """A row of `closes`: a WebSocket, closed by a side after a rest (ns), at a time; each number has its own frames."""
    end, frame = at or number * 20 * S + rest, 10 * number
    return followed(
        connection=number, exchange=0, endpoint=endpoint, upgraded=True, response_status=101, response_framing="none",
        response_upgrade="websocket", request_frame=frame + 1, response_frame=frame + 2, response_start=end - rest - S,
        last_payload_frame=frame + 3, last_payload_time=end - rest, last_payload_role=1 if by == "server" else 0,
        **{f"{by}_close_frame": frame + 4, f"{by}_close_time": end, f"{by}_close_rst": 0}, final_at=end + S,
    )  # fmt: skip


def candidates(*given: dict[str, Any]) -> pl.DataFrame:
    return idle_cut.find(rows("closes", *given).lazy()).collect()


def said(told: pl.DataFrame) -> dict[int, tuple[str, str]]:
    """Connection -> severity and confidence."""
    return {row["connection"]: (row["severity"], row["confidence"]) for row in told.to_dicts()}


ONLY = {"idle-cut": catalogue()["idle-cut"]}
TABLES = CaptureTables(rows("closes").lazy(), rows("connections").lazy(), pl.LazyFrame)


def as_they_come(found: pl.DataFrame, size: int = 1) -> dict[int, tuple[str, str]]:
    """What a live capture says of so many at a time."""
    told: dict[int, tuple[str, str]] = {}
    memory: dict[str, Any] = {}
    for part in found.sort("final_at").iter_slices(size):
        left, _ = decide(ONLY, {"idle-cut": part}, TABLES, live=True, memory=memory)
        told |= said(as_frame(left["idle-cut"])) if left else {}
    return told


def at_end(found: pl.DataFrame) -> pl.DataFrame:
    """What is left of all of them at the end of a capture."""
    left, _ = decide(ONLY, {"idle-cut": found}, TABLES)
    return as_frame(left.get("idle-cut", found.clear()))


def test_live_knows_those_before_and_the_end_knows_all() -> None:
    found = candidates(*(cut(n, 7 * S + n * 10 * MS) for n in range(3)))
    low, medium, high = ("note", "low"), ("warning", "medium"), ("warning", "high")
    assert as_they_come(found) == {0: low, 1: medium, 2: high}
    assert said(at_end(found)) == {0: high, 1: high, 2: high}


def test_the_timeout_is_the_whole_second_near_similar_idle_times() -> None:
    """HAProxy with `timeout tunnel 6s` closed after 6 s to 6.24 s."""
    found = at_end(candidates(cut(0, 6 * S), cut(1, 6 * S + 240 * MS), cut(2, 6 * S + 10 * MS)))
    assert [words(ONLY["idle-cut"], row)["limit"] for row in found.to_dicts()] == [6 * S] * 3


def test_a_common_limit_needs_no_others() -> None:
    found = candidates(cut(0, 60 * S))
    assert as_they_come(found) == said(at_end(found)) == {0: ("warning", "high")}


def test_a_common_limit_is_no_proof_among_other_idle_times_at_that_moment() -> None:
    """A server that stops: the five in the middle are alike, and the nearest closes of the third are, too."""
    rests = [31 * S, *(60 * S + n * 50 * MS for n in range(5)), 17 * S]
    stop = [cut(n, rest, at=900 * S + n * 5 * MS) for n, rest in enumerate(rests)]
    found = candidates(*stop, cut(7, 11 * S), cut(8, 23 * S))
    assert said(at_end(candidates(*stop[1:-1], cut(7, 11 * S), cut(8, 23 * S))))[3] == ("warning", "high")
    assert said(at_end(found)) == {7: ("note", "low"), 8: ("note", "low")}


def test_a_third_that_differs_takes_back_nothing_in_live_and_makes_notes_at_the_end() -> None:
    found = candidates(cut(0, 7 * S), cut(1, 7 * S), cut(2, 19 * S))
    low = ("note", "low")
    assert as_they_come(found)[1] == ("warning", "medium")
    assert said(at_end(found)) == {0: low, 1: low, 2: low}


def test_who_leaves_alone_is_not_told() -> None:
    found = candidates(cut(0, 60 * S, by="client"), cut(1, 9 * S, by="client"))
    assert found.height == 2
    assert as_they_come(found) == said(at_end(found)) == {}


def some(chance: random.Random) -> pl.DataFrame:
    """Rests of two servers, many of them alike, some closed at one moment."""
    of = [6 * S, 6 * S + 20 * MS, 6 * S - 250 * MS, 13 * S, 30 * S]
    given: list[dict[str, Any]] = []
    for number in range(chance.randint(1, 9)):
        rest = chance.choice(of) + chance.randrange(30) * MS
        at = 100 * S + chance.randrange(3) * 20 * MS if chance.random() < 0.2 else 0
        given.append(cut(number, rest, by=chance.choice(["server", "server", "client"]), at=at, endpoint=chance.randrange(2)))
    return candidates(*given)


@WHOLE
@pytest.mark.parametrize("seed", sweep(range(60), range(15).__contains__))
def test_the_newest_is_judged_as_at_the_end(seed: int) -> None:
    """When it closes, all others are known: then both say the same of it."""
    found = some(random.Random(seed)).sort("final_at", "frame")
    newest = found["connection"][-1]
    assert as_they_come(found).get(newest) == said(at_end(found)).get(newest)


@pytest.mark.parametrize("seed", sweep(range(20), range(5).__contains__))
def test_neither_batches_nor_order_matter(seed: int) -> None:
    chance = random.Random(seed)
    found = some(chance)
    together = as_they_come(found, found.height)
    assert as_they_come(found, 1) == as_they_come(found, 2) == together
    shuffled = found.sample(fraction=1, shuffle=True, seed=seed)
    assert said(at_end(shuffled)) == said(at_end(found))


@pytest.mark.parametrize(
    ("rest", "limit"),
    [
        *((60 * S, 60), (60 * S + 300 * MS, 60), (60 * S - 300 * MS, 60), (60 * S + 301 * MS, None), (61 * S, None)),
        *((6 * S, None), (240 * S - 1200 * MS, 240), (350 * S, 350), (600 * S, None)),
    ],
)
def test_limits_have_names(rest: int, limit: int | None) -> None:
    """Google Cloud forgets connections after 600 s, but closes none."""
    found = limit_near(rest)
    assert found == (None if limit is None else limit * S)
    assert found is None or names_of_limit(found)


SWITCHED = r"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: NAME\r\n\r\n"
  0.022  >  .
  60.030 <  F.
  60.030 >  F.
  60.041 <  .
"""


@pytest.mark.parametrize(
    ("name", "subject"), [("WebSocket", "A WebSocket"), ("WEBSOCKET", "A WebSocket"), ("other", "An upgraded connection")]
)
def test_names_of_protocols_are_case_insensitive(name: str, subject: str) -> None:
    [finding] = findings(SWITCHED.replace("NAME", name))
    assert finding.title.startswith(subject + " was closed")

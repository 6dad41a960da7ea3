"""Queues are found where workers are too few, whose number is known, and not where requests share a processor."""

from __future__ import annotations

import heapq
import random

import numpy as np
import pytest

from tests.rules.frames import answered, connection, found, rows
from wiredoctor.world.queues import Times, find_workers, open_before, shortest_times, usual_times

MS = 1_000_000
ITEM, REPORT = 20 * MS, 800 * MS


def in_turn(asked: list[int], took: list[int], workers: int) -> list[int]:
    """When requests are answered by workers that take them in the order in which they come."""
    free = [0] * workers
    ended: list[int] = []
    for at, work in zip(asked, took, strict=True):
        ended.append(max(at, heapq.heappop(free)) + work)
        heapq.heappush(free, ended[-1])
    return ended


def together(asked: list[int], took: list[int]) -> list[int]:
    """When requests are answered that share one processor equally."""
    now, ended = 0.0, [0] * len(asked)
    left: dict[int, float] = {}
    for number, at in [*enumerate(asked), (len(asked), 1 << 50)]:
        while left:
            least = min(left.values()) * len(left)
            if now + least > at:
                break
            now += least
            left = {one: work - least / len(left) for one, work in left.items()}
            for one in [one for one, work in left.items() if work < 1]:
                ended[one] = round(now)
                del left[one]
        left = {one: work - (at - now) / len(left) for one, work in left.items()}
        now = float(at)
        if number < len(took):
            left[number] = float(took[number])
    return ended


def a_day(chance: random.Random, workers: int) -> tuple[list[int], list[int]]:
    """When requests come, and how long they take: for items, and in the second half for reports, which occupy all workers."""
    asked = sorted(round(chance.uniform(0, 4_000)) * MS for _ in range(50 * workers))
    took = [REPORT if at > 2_000 * MS and chance.random() < 0.1 else ITEM for at in asked]
    return asked, [round(work * chance.uniform(0.9, 1.1)) for work in took]


def times(asked: list[int], ended: list[int], took: list[int]) -> Times:
    path = np.array([work > REPORT // 2 for work in took], int)
    return Times(np.array(asked), np.array(ended), np.array(ended), path)


@pytest.mark.parametrize("workers", [1, 2, 4, 9])
def test_the_number_of_workers(workers: int) -> None:
    asked, took = a_day(random.Random(workers), workers)
    found = find_workers(times(asked, in_turn(asked, took, workers), took), 3, 100 * MS)
    assert found is not None
    assert found.limit == workers
    assert found.late.sum() >= 10
    assert found.as_usual[found.late].mean() > 0.9


def test_a_processor_that_all_share_has_no_number_of_workers() -> None:
    chance = random.Random(1)
    asked = sorted(round(chance.uniform(0, 10_000)) * MS for _ in range(300))
    took = [round(30 * MS * chance.uniform(0.9, 1.1)) for _ in asked]
    found = find_workers(times(asked, together(asked, took), took), 3, 100 * MS)
    assert found is None or found.late.sum() < 10 or found.as_usual[found.late].mean() < 0.8


def test_enough_workers() -> None:
    asked, took = a_day(random.Random(3), 4)
    assert find_workers(times(asked, [at + work for at, work in zip(asked, took, strict=True)], took), 3, 100 * MS) is None


def test_requests_that_wait_in_vain_occupy_no_worker() -> None:
    chance, free = random.Random(2), [0] * 3
    calm = [number * 100 * MS for number in range(10)]
    asked = [*calm, *(1_000 * MS + number * 15 * MS for number in range(200))]
    exchanges: list[dict[str, object]] = []
    for number, at in enumerate(asked):
        begun, refused = max(at, free[0]), max(at, free[0]) - at > 300 * MS
        end = at + 300 * MS if refused else begun + round(60 * MS * chance.uniform(0.9, 1.1))
        if not refused:
            heapq.heapreplace(free, end)
        exchanges.append(
            answered(connection=number, request_start=at, request_end=at, response_start=end, response_end=end,
                     response_status=503 if refused else 200, endpoint=1)
        )  # fmt: skip
    ends = [
        connection(connection=number, client=f"10.0.0.1:{4000 + number}", client_host="10.0.0.1", server="10.0.0.2:80")
        for number in range(len(asked))
    ]
    queues = found("queued-requests", rows("exchanges", *exchanges), rows("closes"), rows("connections", *ends))
    assert [(one["kind"], one["at_most"]) for one in queues if one["kind"]] == [("workers", 3)]


def test_what_is_open_and_what_is_usual() -> None:
    assert open_before(np.array([0, 1, 5, 6]), np.array([4, 6, 8, 9])).tolist() == [0, 1, 1, 1]
    waits, path = np.array([5, 7, 9, 40, 3]), np.array([0, 0, 0, 0, 1])
    usual = usual_times(waits, path, np.array([True, True, True, False, True]))
    assert usual[:4].tolist() == [7] * 4
    assert np.isnan(usual[4])
    assert shortest_times(waits, path).tolist() == [9, 9, 9, 9, 3]

"""A request behind an announced close that its client soon repeats on another connection is answered, and is not listed."""

from __future__ import annotations

import multiprocessing
import random
import resource
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from tests.rules.frames import MS, S
from tests.support.analysis import analyze_bytes
from tests.support.sweeps import SLOW
from wiredoctor import rule_engine
from wiredoctor.tables import CONNECTIONS, STORED_EXCHANGES, Table
from wiredoctor.testing import capture

HOSTS = ("10.0.0.1", "10.0.0.2")
NOTHING = pl.DataFrame(schema={"connection": pl.Int64(), "explained": pl.List(pl.Int64())})
NOBODY = pl.DataFrame(schema={"client_host": pl.String(), "server": pl.String()})


class Request(NamedTuple):
    """A request, when it began (ns), and whether it was answered; the others are behind an announced close."""

    connection: int
    target: str
    start: int
    is_answered: bool


def frame(table: Table, **columns: Any) -> pl.DataFrame:
    """Rows of a table; other columns are null."""
    return pl.DataFrame(columns).select(
        pl.col(name).cast(dtype) if name in columns else pl.lit(None, dtype).alias(name) for name, dtype in table.schema.items()
    )


def exchanges(requests: list[Request]) -> pl.DataFrame:
    answered = [one.is_answered for one in requests]
    return frame(
        STORED_EXCHANGES,
        connection=[one.connection for one in requests],
        exchange=[*range(len(requests))],
        request_method=["GET"] * len(requests),
        request_target=[one.target for one in requests],
        request_start=[one.start for one in requests],
        request_end_reason=["complete"] * len(requests),
        has_response=answered,
        response_status=[200 if one else None for one in answered],
        response_end_reason=["complete" if one else None for one in answered],
        both_directions=[True] * len(requests),
        gap_before=[False] * len(requests),
        request_has_gap=[False] * len(requests),
        response_has_gap=[False] * len(requests),
        upgraded=[False] * len(requests),
        previous_announced_close=[not one for one in answered],
        server_close_frame=[1] * len(requests),
    )


def count_listed(requests: list[Request], hosts: list[str]) -> int:
    """Return how many requests are listed. `hosts`: the client of each connection."""
    connections = frame(
        CONNECTIONS,
        connection=[*range(len(hosts))],
        client_host=hosts,
        client=[f"{host}:4000" for host in hosts],
        server=["10.0.0.9:80"] * len(hosts),
        **{name: [0] * len(hosts) for name in ("client_unseen_bytes", "server_unseen_bytes")},
    )
    rows, hosts = exchanges(requests).lazy(), connections.lazy()
    explained = rule_engine.Explained(NOTHING, NOBODY)
    counts = (len(requests), connections.height)
    left = rule_engine.unjudged(
        rows, hosts, explained, answers=rows, hosts=hosts, counts=counts, latest=0, most=1, file="", first_time=0
    )
    assert {*left.counts} <= {"after-close-announced"}
    return sum(left.counts.values())


def is_repeated(one: Request, requests: list[Request], hosts: list[str]) -> bool:
    return any(
        other.is_answered
        and other.target == one.target
        and hosts[other.connection] == hosts[one.connection]
        and other.connection != one.connection
        and one.start < other.start <= one.start + 5 * S
        for other in requests
    )


@pytest.mark.parametrize("seed", range(20))
def test_of_a_few_requests(seed: int) -> None:
    chance = random.Random(seed)
    hosts = [chance.choice(HOSTS) for _ in range(4)]
    requests = [
        Request(chance.randrange(4), chance.choice("ab"), chance.randrange(20) * 1000 * MS, chance.random() < 0.6)
        for _ in range(16)
    ]
    expected = sum(not one.is_answered and not is_repeated(one, requests, hosts) for one in requests)
    assert count_listed(requests, hosts) == expected
    lost = sum(not one.is_answered for one in requests)
    assert 0 < expected <= lost


def count_many(_: int) -> tuple[int, int]:
    """Return how many of 1,500 requests are listed that are repeated among 100,000 equal ones, and the memory for that in MB."""
    hosts = ["10.0.0.1"] * 1000
    lost = [Request(n % 1000, "/", n * MS, is_answered=False) for n in range(1500)]
    again = [Request(n % 1000, "/", n * 10_000 + 1, is_answered=True) for n in range(100_000)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    listed = count_listed(lost + again, hosts)
    return listed, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10


@SLOW
def test_of_very_many_equal_requests() -> None:
    # all pairs would be 150 million rows, 3 GB; 500 requests begin later than the last of the equal ones
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        listed, megabytes = pool.apply(count_many, (0,))
    assert listed == 500
    assert megabytes < 500


def repeated(first: str, pause: float) -> str:
    """Two requests in a pipeline; the response to the first comes at `first` and announces the close. The second one is sent on
    another connection so many seconds later."""
    start = float(first) + pause
    return rf"""
connection 1, start 0
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
  0.012  >  P.   "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
  {first}  <  P.   "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
  {first}1 <  F.
  {first}2 >  F.
  {first}9 <  .
connection 2, start {start:.3f}, client 10.0.0.1:4002
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  0.030  >  F.
  0.041  <  F.
"""


@pytest.mark.parametrize(("first", "pause", "listed"), [("0.022", 0.1, []), ("20.022", 1.0, []), ("0.022", 60.0, ["/b"])])
def test_the_time_counts_from_the_response_that_announced_the_close(
    first: str, pause: float, listed: list[str], tmp_path: Path
) -> None:
    found = analyze_bytes(tmp_path / "a.pcap", capture(repeated(first, pause))).not_judged
    assert [(one.reason, one.request) for one in found] == [("after-close-announced", f"GET {target}") for target in listed]

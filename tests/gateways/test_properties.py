"""Test a simulated gateway whose clients send equal requests at the same time: every pair that counts as certain is right."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateways.made import BACK, CLIENT, FRONT, INSIDE, OTHER_BACK, OTHER_CLIENT, Traffic, attempts, pairs
from tests.support.sweeps import SLOW
from wiredoctor.gateways import Place
from wiredoctor.gateways.components import components

HOSTS = (CLIENT, OTHER_CLIENT, "10.0.0.3")
SERVERS = (BACK, OTHER_BACK)

LAG = st.sampled_from([0.1, 0.2, 0.5, 1.0])
"""What the gateway takes for each step, ms."""

REQUEST = st.fixed_dictionaries({
    "host": st.sampled_from(HOSTS),
    "at": st.integers(0, 60),
    "target": st.sampled_from(["/a", "/b?c=1"]),
    "agent": st.sampled_from(["curl/8", "Wget/1"]),
    "lags": st.lists(LAG, min_size=8, max_size=8),
    "tries": st.lists(
        st.tuples(st.sampled_from(["close", "refuse", "502"]), st.sampled_from(SERVERS), st.integers(1, 40)), max_size=2
    ),
    "ends": st.sampled_from(["200", "404", "502", "504", "close", "silence", "cache", "busy"]),
    "server": st.sampled_from(SERVERS),
    "took": st.integers(1, 80),
})  # fmt: skip
"""What a client asks for, which tries fail first, and how the last one ends; `cache`, `busy`: the gateway answers by itself."""


class Played:
    """Traffic, and which pairs and attempts are true."""

    def __init__(self, requests: list[dict[str, Any]], *, forwarded: bool) -> None:
        self.traffic = Traffic()
        self.pairs: set[tuple[Place, Place]] = set()
        self.attempts: set[tuple[Place, int]] = set()
        for request in requests:
            self._play(request, {"request_forwarded_for": request["host"], "request_forwarded": True} if forwarded else {})

    def _play(self, r: dict[str, Any], told: dict[str, Any]) -> None:
        lags = iter(r["lags"])
        asked = {"target": r["target"], "agent": r["agent"]}
        now = float(r["at"]) + next(lags)
        backs: list[Place] = []
        failed: list[int] = []
        for how, server, took in r["tries"]:
            if how == "refuse":
                failed.append(self.traffic.attempt(INSIDE, server, now))
            else:
                status = None if how == "close" else 502
                backs.append(self.traffic.once(INSIDE, server, now, now + took, status, **asked, **told))
                now += took
            now += next(lags)
        status, end = self._last(r, now, backs, asked | told)
        front = self.traffic.once(r["host"], FRONT, r["at"], end + next(lags), status, **asked)
        self.pairs |= {(front, back) for back in backs}
        self.attempts |= {(front, one) for one in failed}

    def _last(self, r: dict[str, Any], now: float, backs: list[Place], asked: dict[str, Any]) -> tuple[int | None, float]:
        """Status and time at the front."""
        ends, took = r["ends"], float(r["took"])
        if ends in ("cache", "busy"):
            return (200 if ends == "cache" else 503), now
        # the gateway gives up before a server that says nothing closes
        status = {"200": 200, "404": 404, "502": 502}.get(ends)
        own = {"504": 504, "close": 502, "silence": None}.get(ends, status)
        columns = {"client_close_time": round((now + took) * 1_000_000)} if ends == "504" else {}
        until = None if ends == "504" else now + took
        backs.append(self.traffic.once(INSIDE, r["server"], now, until, status, **asked, **columns))
        return own, now + took


@SLOW
@settings(max_examples=120)
@given(st.lists(REQUEST, min_size=1, max_size=12), st.booleans(), st.randoms(use_true_random=False))
def test_what_is_certain_is_true(requests: list[dict[str, Any]], forwarded: bool, chance: random.Random) -> None:
    played = Played(requests, forwarded=forwarded)
    known = played.traffic.found()
    told = pairs(known)
    assert {(front, back) for front, back, certain in told if certain} <= played.pairs
    assert not known.tries.filter(pl.col("exchange").is_not_null())["connection", "exchange"].is_duplicated().any()
    assert known.tries["connection"].len() == known.tries.select("connection", "exchange").n_unique()
    # a front has at most one try by order of time, and what is certain is in no doubt
    doubtful = {back for one in known.doubtful for back in one.backs}
    assert {back for _, back, certain in told if not certain} <= doubtful
    assert not {back for _, back, certain in told if certain} & doubtful

    def shuffled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return chance.sample(rows, len(rows))

    again = played.traffic.found(shuffled)
    assert pairs(again) == told
    assert attempts(again) == attempts(known)
    assert (again.doubtful, again.fronts, again.clients) == (known.doubtful, known.fronts, known.clients)


@SLOW
@settings(max_examples=50)
@given(st.lists(REQUEST, min_size=1, max_size=8))
def test_one_after_the_other_everything_is_told(requests: list[dict[str, Any]]) -> None:
    for n, request in enumerate(requests):
        request["at"] = 1000 * n
    played = Played(requests, forwarded=False)
    # so that the endpoints are known
    for n, server in enumerate(SERVERS):
        at = 1000.0 * (len(requests) + n)
        front = played.traffic.once(CLIENT, FRONT, at, at + 10)
        played.pairs.add((front, played.traffic.once(INSIDE, server, at + 1, at + 9)))
    known = played.traffic.found()
    assert pairs(known) == {(front, back, True) for front, back in played.pairs}
    assert attempts(known) == played.attempts


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), max_size=20))
def test_nodes_share_a_number_exactly_if_edges_connect_them(edges: list[tuple[int, int]]) -> None:
    one, other = np.array(edges, np.int64).reshape(-1, 2).T
    nodes, parts = components(one, other)
    assert nodes.tolist() == sorted({node for edge in edges for node in edge})
    connected = {node: {node} for node in nodes.tolist()}
    for a, b in edges:
        joined = connected[a] | connected[b]
        connected |= dict.fromkeys(joined, joined)
    numbers = dict(zip(nodes.tolist(), parts.tolist(), strict=True))
    assert all({b for b in numbers if numbers[b] == numbers[a]} == some for a, some in connected.items())

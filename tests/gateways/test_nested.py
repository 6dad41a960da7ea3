"""Test that a long capture, of which parts are read, gives the same gateways as one that is read at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateways.made import BACK, CLIENT, FRONT, INSIDE, OTHER_BACK, OTHER_CLIENT, Traffic
from wiredoctor import gateways
from wiredoctor.gateways import Gateways, finding, nested, pairs
from wiredoctor.gateways.order import Evidence
from wiredoctor.tables import MILLISECOND

REQUEST = st.fixed_dictionaries(
    {
        "client": st.sampled_from([CLIENT, OTHER_CLIENT]),
        "at": st.integers(0, 120),
        "took": st.integers(4, 60),
        "status": st.sampled_from([200, 200, 404, 502, None]),
        "target": st.sampled_from(["/a", "/api/b?c=1", "/api/d"]),
        "back": st.sampled_from([BACK, BACK, OTHER_BACK, None]),
        "rewritten": st.booleans(),
        "refused": st.booleans(),
        "open": st.booleans(),
        "again": st.booleans(),
    }
)
"""A client's request. `rewritten`: without the prefix /api. `open`: the gateway's request stays open. `again`: another comes."""


def traffic(requests: list[dict[str, Any]]) -> Traffic:
    made = Traffic()
    for r in requests:
        at, end = r["at"] + 0.5, r["at"] + 0.5 + r["took"]
        connection = made.connect(r["client"], FRONT, at)
        made.ask(connection, at, end, r["status"], r["target"])
        if r["again"]:
            made.ask(connection, end + 5, None, None, r["target"])
        if r["refused"]:
            made.attempt(INSIDE, OTHER_BACK, at + 1)
        if r["back"] is not None:
            target = r["target"].removeprefix("/api") if r["rewritten"] else r["target"]
            made.once(
                INSIDE, r["back"], at + 2, None if r["open"] else end - 1, None if r["open"] else r["status"], target=target
            )
    return made


def facts(known: Gateways) -> tuple[Any, ...]:
    return (*(rows.rows() for rows in (known.tries, known.possible)), known.fronts, known.doubtful, known.clients, known.crowded)


@settings(max_examples=25, deadline=None)
@given(st.lists(REQUEST, min_size=3, max_size=10))
def test_parts_of_a_capture_show_the_same_gateways(requests: list[dict[str, Any]]) -> None:
    made = traffic(requests)
    expected = made.found()
    small = (patch.object(finding, "FIRST", 2), patch.object(pairs, "FIRST", 2), patch.object(nested, "TOGETHER", 3))
    with small[0], small[1], small[2], patch.object(nested, "STEP", 5 * MILLISECOND):
        found = made.found()
    # the first two exchanges may show no gateway: then the others are not examined
    assert facts(found) == facts(expected) or (found.tries.is_empty() and not found.fronts)


def test_only_exchanges_that_may_be_related_are_kept() -> None:
    made = Traffic()
    front, back = made.passed(10, 20)
    made.once(CLIENT, FRONT, 30, 40)
    made.once(INSIDE, BACK, 50, 60)
    made.once(CLIENT, FRONT, 70, 80)
    made.once(INSIDE, BACK, 71, 79, target="/b")
    made.once(OTHER_CLIENT, FRONT, 72, 78)
    during = made.once(CLIENT, FRONT, 200, 210)
    asked, connections = made.tables()
    rows = nested.StoredExchanges(asked, connections).nested(np.array([205 * MILLISECOND]))
    kept = zip(rows.connection.tolist(), rows.exchange.tolist(), strict=True)
    assert [*kept] == [front, back, during]


@settings(max_examples=25, deadline=None)
@given(st.lists(REQUEST, min_size=3, max_size=10), st.lists(st.integers(0, 200), max_size=4))
def test_exchanges_that_are_added_when_they_are_answered_show_the_same_order(
    requests: list[dict[str, Any]], clocks: list[int]
) -> None:  # fmt: skip
    """Each exchange counts once, however often it is among the rows."""
    tables = traffic(requests).tables()
    at_once, added = Evidence(1_000), Evidence(1_000)
    gateways.find(*tables, evidence=at_once)
    for clock in (*sorted(clocks), 1_000):
        added.clock = clock * MILLISECOND
        gateways.find(*tables, evidence=added)
    assert (added.order, added.totals) == (at_once.order, at_once.totals)
    assert at_once.order.keys() >= {*_codes(gateways.find(*tables).fronts)}


def _codes(fronts: Mapping[str, Sequence[str]]) -> list[tuple[int, int]]:
    """Return the numbers by which an order names gateways and the servers behind them, except servers that got no request."""
    code = {name: pl.Series([name]).hash().reinterpret(signed=True)[0] for name in {*fronts}.union(*fronts.values())}
    return [(code[front], code[one]) for front, behind in fronts.items() for one in behind if one == BACK]

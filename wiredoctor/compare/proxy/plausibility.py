"""Whether two recordings are the two sides of a proxy at all: what contradicts it, and what chance alone could not have made."""

from __future__ import annotations

from dataclasses import replace
from math import log
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from wiredoctor.compare.proxy.rewriting import FORM, PATH
from wiredoctor.compare.two_points.pairing import pair
from wiredoctor.tables import SECOND, Array

if TYPE_CHECKING:
    from wiredoctor.compare.input import Recorded
    from wiredoctor.compare.proxy.result import Proxied
    from wiredoctor.compare.two_points.packet_columns import Point

LEAST_EXCHANGES = 3
"""Fewer of them prove nothing, however well their times agree."""

CHANCE = 1e-6
"""Two recordings of the same method and target are taken for a proxy only where chance makes such times so rarely."""


def parted(front: Recorded, back: Recorded, one: Point, two: Point) -> tuple[Recorded, Recorded] | None:
    """The same without the connections that both have, which passed two points of one wire and are on one side of a proxy. None
    where nothing else is left."""
    pairs = pair(one, two)
    if not len(pairs):
        return front, back
    ahead = _without(front, pairs.one)
    if ahead.exchanges.height:
        return ahead, back
    behind = _without(back, pairs.two)
    return (front, behind) if behind.exchanges.height else None


def _without(side: Recorded, connections: Array) -> Recorded:
    return replace(side, exchanges=side.exchanges.filter(~pl.col("connection").is_in(pl.Series(connections).implode())))


def impossible(front: pl.DataFrame, back: pl.DataFrame, owner: Array, shift: float, slack: float) -> Array:
    """Rows of the back that cannot be what became of a row at the front: passed on before they came. owner: row at the front of
    each, or -1. shift: what makes times at the back times at the front (ns)."""
    rows = np.flatnonzero(owner >= 0)
    here, there = front[owner[rows]], back[rows]
    before = (there["request_start"] + shift < here["request_start"] - slack).fill_null(value=False)
    # another status is another response, and a retry is answered once
    same = (here["response_status"] == there["response_status"]).fill_null(value=False)
    answered = (there["response_start"] + shift > here["response_start"] + slack).fill_null(value=False)
    return rows[(before | (answered & same)).to_numpy()]


def beyond_chance(told: Proxied, front: Recorded, back: Recorded) -> bool:
    """Whether these are surely two sides of a proxy, although nobody says so.

    A request of the same method and target is no proof, nor are times, if one clock may be set at will. So the clocks must agree
    as they are, and each exchange must lie within its own at the front: that happens to one of other traffic as often as the
    room that is left in it is part of the time between two requests at the front.
    """
    pairs = told.exchanges
    if told.offset != 0.0 or told.matched < LEAST_EXCHANGES or any(change.what in (FORM, PATH) for change in told.changes):
        return False
    begun = front.exchanges.filter("has_request")["request_start"].drop_nulls().to_numpy()
    span = float(begun.max() - begun.min()) / SECOND if len(begun) > 1 else 0.0
    if span <= 0:
        return False
    sides = (front.exchanges, back.exchanges)
    counts: tuple[dict[str, int], ...] = tuple(
        {f"{method} {target}": n for method, target, n in rows.group_by("request_method", "request_target").len().iter_rows()}
        for rows in sides
    )
    # each at the back could have been one of those that match
    tries = sum(n for request, n in counts[1].items() if request in counts[0])
    total = log(2.0) * tries * len(pairs) / told.matched
    for one in pairs:
        if one.in_proxy is None or one.request_lag is None or one.response_lag is None:
            continue
        room = max(one.in_proxy, 0.0) + 1e-6
        total += min(0.0, log(room * max(counts[0].values(), default=1) / span))
    return total < log(CHANCE)

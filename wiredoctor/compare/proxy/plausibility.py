"""Check whether two captures can come from the two sides of a proxy.

Their times must be possible for a proxy, and must agree better than chance alone would explain.
"""

from __future__ import annotations

from dataclasses import replace
from math import log
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from wiredoctor.compare.proxy.nesting import SLACK
from wiredoctor.compare.proxy.rewriting import FORM, PATH
from wiredoctor.compare.two_points.packet_columns import Point
from wiredoctor.compare.two_points.pairing import pair
from wiredoctor.tables import SECOND, Array

if TYPE_CHECKING:
    from wiredoctor.compare.input import ProxySide
    from wiredoctor.compare.proxy.result import Proxied

LEAST_EXCHANGES = 3
"""The minimum number of matched exchanges; with fewer, the agreement of their times could be chance."""

CHANCE = 1e-6
"""Two captures count as the sides of a proxy only if the probability that their times agree by chance is below this value."""


def without_shared_connections(front: ProxySide, back: ProxySide, one: Point, two: Point) -> tuple[ProxySide, ProxySide] | None:
    """Return both sides of a proxy without the connections that both captures have.

    Both capture points saw these connections, so they belong to one side only. They are removed from the front or, if the front
    has no other exchanges, from the back. Return None if neither side has other exchanges.
    """
    pairs = pair(one, two)
    if not len(pairs):
        return front, back
    ahead = _without_connections(front, pairs.one)
    if ahead.exchanges.height:
        return ahead, back
    behind = _without_connections(back, pairs.two)
    return (front, behind) if behind.exchanges.height else None


def _without_connections(side: ProxySide, connections: Array) -> ProxySide:
    return replace(side, exchanges=side.exchanges.filter(~pl.col("connection").is_in(pl.Series(connections).implode())))


def find_contradictions(front: pl.DataFrame, back: pl.DataFrame, owner: Array, shift: float) -> Array:
    """Return the indexes of wrongly matched exchanges at the back: the proxy would have forwarded a message before receiving it.

    `owner`: for each exchange at the back, the index of its match at the front, or -1. `shift`: the time (ns) to add to times at
    the back to get times at the front.
    """
    rows = np.flatnonzero(owner >= 0)
    here, there = front[owner[rows]], back[rows]
    before = (there["request_start"] + shift < here["request_start"] - SLACK).fill_null(value=False)
    # a different status is a different response, and only one attempt of a retry is answered
    same = (here["response_status"] == there["response_status"]).fill_null(value=False)
    answered = (there["response_start"] + shift > here["response_start"] + SLACK).fill_null(value=False)
    return rows[(before | (answered & same)).to_numpy()]


def is_significant(result: Proxied, front: ProxySide, back: ProxySide) -> bool:
    """Return whether two captures are certainly the two sides of a proxy, although the user did not say so.

    Equal methods and targets are not enough. Matching times are not enough either if they match only after one clock is shifted.
    Therefore the clocks must agree without a shift, and each exchange at the back must lie within its match at the front.

    The slack of an exchange at the back is the time by which the exchange could be moved without leaving its match. In unrelated
    traffic, the probability that an exchange lies within a match is the slack divided by the mean time between equal requests at
    the front.
    """
    pairs = result.exchanges
    if result.offset != 0.0 or result.matched < LEAST_EXCHANGES or any(change.what in (FORM, PATH) for change in result.changes):
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
    # any of these exchanges at the back could have matched by chance
    tries = sum(n for request, n in counts[1].items() if request in counts[0])
    total = log(2.0) * tries * len(pairs) / result.matched
    for one in pairs:
        if one.in_proxy is None or one.request_lag is None or one.response_lag is None:
            continue
        room = max(one.in_proxy, 0.0) + 1e-6
        total += min(0.0, log(room * max(counts[0].values(), default=1) / span))
    return total < log(CHANCE)

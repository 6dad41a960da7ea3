"""Pair the exchanges of two captures that were made at the front and at the back of one gateway, each with its own clock."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields, replace

import numpy as np
import polars as pl

from wiredoctor.gateways.exchange_columns import Rows, read
from wiredoctor.gateways.known import LATE
from wiredoctor.gateways.order import BehindGateway
from wiredoctor.gateways.pairs import pair_rows
from wiredoctor.tables import SECOND, Array

MAX_OF_A_KIND = 400
"""The clock difference is searched with at most this many exchanges with the same method and last path segment on each side, and
with at most this many such kinds.
"""

BIN = SECOND // 20
"""The width in ns of the bins in which time differences are counted."""

LEAST = 2
"""The minimum number of different targets that one rewriting of paths explains; three requests are enough, too. Fewer may be a
coincidence, because requests cannot be matched by time while the clock difference is unknown.
"""

_BEGINS, _ENDS = ("start", "head", "opened"), ("answered", "began", "left", "dropped", "gone", "over")

_FRONT, _BACK = 0, 1
"""The endpoint of all servers in one capture: behind which endpoint a server is follows from its capture."""


class TwoCaptures:
    """The exchanges of two captures: of a gateway's clients (`front`), and of the gateway with its servers (`back`).

    `apart`: the time (ns) of the first packet at the back minus that of the first packet at the front, each by its own clock.
    """

    def __init__(self, front: tuple[pl.DataFrame, pl.DataFrame], back: tuple[pl.DataFrame, pl.DataFrame], apart: int) -> None:
        self._asked = [exchanges.lazy().filter("has_request") for exchanges, _ in (front, back)]
        self._rows = [read(asked, side[1].lazy()) for asked, side in zip(self._asked, (front, back), strict=True)]
        self._apart = apart

    def rough_difference(self) -> float:
        """Return the most frequent time difference (ns, back minus front) between requests that may be the same.

        Their methods are equal, and their targets or, for targets of only one side, the last path segments. Differences are
        counted in bins of 50 ms. Return 0 if there are no such requests.
        """
        here, there = self._rows
        shared: Array = np.intersect1d(here.target, there.target)
        kinds: defaultdict[tuple[int, int], tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for side, rows in enumerate((here, there)):
            name = np.where(np.isin(rows.target, shared), rows.target, rows.tail)
            for method, target, start in zip(rows.method.tolist(), name.tolist(), rows.start.tolist(), strict=True):
                kinds[method, target][side].append(start)
        differences = [
            (np.array(later[:MAX_OF_A_KIND])[:, None] + self._apart - np.array(first[:MAX_OF_A_KIND])[None, :]).ravel()
            for first, later in [both for both in kinds.values() if all(both)][:MAX_OF_A_KIND]
        ]
        if not differences:
            return 0.0
        every = np.concatenate(differences)
        bins, counts = np.unique(every // BIN, return_counts=True)
        # of equally frequent differences take the smallest, because clocks are mostly right
        best = bins[counts == counts.max()]
        return float(every[every // BIN == best[np.abs(best).argmin()]].min())

    def pairs(self, ahead: float, slack: int) -> pl.DataFrame:
        """Return the pairs: the columns `front_connection`, `front_exchange`, `connection` and `exchange`.

        `ahead`: by how many ns the clock of the back capture is ahead. `slack`: the maximum error (ns) of `ahead`.
        """
        here, there = self._rows
        if not len(here) or not len(there):
            return _places(here, there, np.zeros(0, np.int64), np.zeros(0, np.int64))
        # only exchanges at the front are wider, so those at the back fit in although `ahead` has an error
        one = _moved(here, -slack, slack, _FRONT)
        other = _moved(there, moved := self._apart - round(ahead), moved, _BACK)
        both = Rows(*(np.concatenate([getattr(rows, field.name) for rows in (one, other)]) for field in fields(Rows)))
        place = np.argsort(both.start, kind="stable")
        ids = np.concatenate([here.connection, there.connection + int(here.connection.max()) + 1])
        rows = replace(both, connection=ids).select(place)
        targets = pl.concat([asked.select("request_target") for asked in self._asked])
        assigned, _ = pair_rows(targets, rows, {(_FRONT, _BACK): BehindGateway(frozenset({_BACK}))}, least=LEAST)
        return _places(here, there, place[assigned.front], place[assigned.back] - len(here))


def _moved(rows: Rows, begins: int, ends: int, endpoint: int) -> Rows:
    """Return exchanges with their beginnings and ends moved by some ns, all of them at one endpoint."""
    by = dict.fromkeys(_BEGINS, begins) | dict.fromkeys(_ENDS, ends)
    times = {name: np.where(getattr(rows, name) == LATE, LATE, getattr(rows, name) + ns) for name, ns in by.items()}
    same = np.full(len(rows), endpoint, np.int64)
    return replace(rows, server=same, client_host=same, **times)


def _places(here: Rows, there: Rows, front: Array, back: Array) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "front_connection": here.connection[front],
            "front_exchange": here.exchange[front].astype(np.int32),
            "connection": there.connection[back],
            "exchange": there.exchange[back].astype(np.int32),
        }
    )

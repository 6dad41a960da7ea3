"""Find the responses that servers sent at about the same time as they closed a connection."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import ClassVar

import polars as pl

from wiredoctor.tables import SECOND
from wiredoctor.world.world import CaptureTables, Index

c = pl.col


class Responses(Index):
    """The responses of the candidates' servers within a second of their closes."""

    NEEDS: ClassVar[tuple[str, ...]] = ("endpoint", "server_close_time")
    HELD: ClassVar[bool] = True

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> Responses:
        """Return the responses near the candidates' closes (see world.Index)."""
        places = pl.concat([rows.select(cls.NEEDS) for rows in wanted])
        second = places["server_close_time"] // SECOND
        seconds = pl.concat([second + by for by in (-1, 0, 1)]).unique()
        answered = c("has_response") & c("has_request") & c("endpoint").is_in(places["endpoint"].unique().implode())
        near = answered & (c("response_start") // SECOND).is_in(seconds.implode())
        rows = tables.closes.filter(near).select("endpoint", "response_start", "final_at").collect()
        return cls(rows.sort("response_start"))

    def __init__(self, responses: pl.DataFrame) -> None:
        self._known: dict[int, list[tuple[int, int]]] = {}
        for endpoint, start, known in responses.iter_rows():
            self._known.setdefault(endpoint, []).append((start, known))

    def near(self, endpoint: int, time: int, until: int | None) -> tuple[bool, bool]:
        """Return whether the endpoint sent a response in the second before `time` (ns), and in the second after it.

        `until`: use only what was known at this time (ns); None for everything.
        """
        answers = self._known.get(endpoint, [])
        first, last = bisect_left(answers, (time - SECOND,)), bisect_right(answers, (time + SECOND + 1,))
        came = [at for at, known in answers[first:last] if until is None or known <= until]
        return any(at <= time for at in came), any(at > time for at in came)

"""Find the responses that servers sent at about the same time as they closed a connection."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import partial
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
        rows = tables.closes.filter(near).select("endpoint", "response_start", "final_at", c("accepted_time").fill_null(-SECOND))
        return cls(rows.collect().sort("response_start"), places)

    def __init__(self, responses: pl.DataFrame, closes: pl.DataFrame) -> None:
        self._known: dict[int, list[tuple[int, int, int]]] = {}
        for endpoint, *row in responses.iter_rows():
            self._known.setdefault(endpoint, []).append((row[0], row[1], row[2]))
        times: dict[int, list[int]] = {}
        for endpoint, time in closes.drop_nulls().sort("server_close_time").iter_rows():
            times.setdefault(endpoint, []).append(time)
        self._living = frozenset(
            endpoint for endpoint, closed in times.items() if any(map(partial(self._lives, endpoint), closed))
        )

    def near(self, endpoint: int, time: int, until: int | None) -> tuple[bool, bool]:
        """Return whether the endpoint sent a response in the second before `time` (ns), and in the second after it.

        `until`: use only what was known at this time (ns); None for everything.
        """
        came = [at for at, _ in self._near(endpoint, time, until)]
        return any(at <= time for at in came), any(at > time for at in came)

    def goes_on(self, endpoint: int, time: int, until: int | None) -> bool:
        """Return whether the endpoint answered after a close on a connection that was open at that close, so its process lives.

        If this was seen at one close of the endpoint, it holds for all, unless `until` limits what is known.
        """
        return (until is None and endpoint in self._living) or self._lives(endpoint, time, until)

    def _lives(self, endpoint: int, time: int, until: int | None = None) -> bool:
        return any(at > time > opened for at, opened in self._near(endpoint, time, until))

    def _near(self, endpoint: int, time: int, until: int | None) -> list[tuple[int, int]]:
        """Return the times (ns) of responses within a second of `time`, and when their connections were opened."""
        answers = self._known.get(endpoint, [])
        first, last = bisect_left(answers, (time - SECOND,)), bisect_right(answers, (time + SECOND + 1,))
        return [(at, opened) for at, known, opened in answers[first:last] if until is None or known <= until]

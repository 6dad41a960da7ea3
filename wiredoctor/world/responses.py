"""Find the responses that servers sent at about the same time as they closed a connection."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
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
        self._closes: dict[int, list[int]] = {}
        for endpoint, time in closes.drop_nulls().iter_rows():
            self._closes.setdefault(endpoint, []).append(time)
        self._living: dict[int, bool] = {}

    def near(self, endpoint: int, time: int, until: int | None) -> tuple[bool, bool]:
        """Return whether the endpoint sent a response in the second before `time` (ns), and in the second after it.

        `until`: use only what was known at this time (ns); None for everything.
        """
        before = self._between(endpoint, time - SECOND, time, until)
        after = self._between(endpoint, time + 1, time + SECOND, until)
        return any(True for _ in before), any(True for _ in after)

    def goes_on(self, endpoint: int, time: int, until: int | None) -> bool:
        """Return whether the endpoint answered after a close on a connection that was open at that close, so its process lives.

        If this was seen at one close of the endpoint, it holds for all, unless `until` limits what is known.
        """
        if until is not None:
            return self._lives(endpoint, time, until)
        if endpoint not in self._living:
            self._living[endpoint] = any(self._lives(endpoint, closed) for closed in self._closes.get(endpoint, ()))
        return self._living[endpoint]

    def _lives(self, endpoint: int, time: int, until: int | None = None) -> bool:
        return any(opened < time for _, opened in self._between(endpoint, time + 1, time + SECOND, until))

    def _between(self, endpoint: int, since: int, by: int, until: int | None) -> Iterator[tuple[int, int]]:
        """Yield the times (ns) of responses from `since` to `by` (ns), and when their connections were opened."""
        answers = self._known.get(endpoint, [])
        for place in range(bisect_left(answers, (since,)), bisect_left(answers, (by + 1,))):
            at, known, opened = answers[place]
            if until is None or known <= until:
                yield at, opened

"""Find out which streamed answers a server ended, and which with an end mark of their API (protocols/http1/end_marks.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import polars as pl

from wiredoctor.findings import Threshold
from wiredoctor.tables import DONE_EVENT, ERROR_EVENT, MARKED_EVENT, MAYBE_ERROR_EVENT, OTHER_EVENT
from wiredoctor.world.connection_close import OPEN_STREAMS, streams
from wiredoctor.world.world import CaptureTables, Index

c = pl.col

LATER = Threshold("60 s", "the time after an answer within which another one may show how its API ends answers")
ENDPOINTS = Threshold("10000 endpoints", "the number of endpoints whose answers are remembered, which bounds the memory")

_Answered = tuple[int, str, int, int]
"""An endpoint, the path of its requests, how their answers end (DONE_EVENT, MARKED_EVENT, or OTHER_EVENT), and the shape of their
first events; ANY for all shapes.
"""
ANY = -1


class StreamAnswers(Index):
    """The answers that a server ended, by server and path: when the first of them was known."""

    NEEDS: ClassVar[tuple[str, ...]] = ("connection", "exchange", "endpoint")
    HELD: ClassVar[bool] = True

    @classmethod
    def build(cls, wanted: Sequence[pl.DataFrame], tables: CaptureTables) -> StreamAnswers:
        """Return the answers of the candidates' servers (see world.Index)."""
        own = pl.concat([rows.select(cls.NEEDS) for rows in wanted]).with_columns(c("exchange").cast(pl.Int64))
        asked = _paths(tables.exchanges()).join(own.lazy(), on=["connection", "exchange"], how="semi")
        paths = {row[:2]: row[2] for row in asked.select("connection", "exchange", "path").collect().iter_rows()}
        if tables.remembered is not None:
            return cls(tables.remembered[cls], paths)
        return cls(_first_answers(tables, own["endpoint"].unique()), paths)

    @classmethod
    def remember(cls, kept: dict[_Answered, int] | None, tables: CaptureTables) -> dict[_Answered, int]:
        """Return the first answers by server and path, at most those of the newest ENDPOINTS."""
        known = _first_answers(tables, None) | (kept or {})
        return dict([*known.items()][-ENDPOINTS.value :])

    def __init__(self, first: Mapping[_Answered, int], paths: Mapping[tuple[int, int], str]) -> None:
        """`paths`: the path that each candidate answers."""
        self._first, self._paths = first, paths

    def is_marked(self, endpoint: int, connection: int, exchange: int, *, shape: int, until: int) -> bool:
        """Return whether the server ended another answer of this shape for the same path with [DONE], before `until` (ns).

        `shape`: ANY if the answer has the format of an API with an end mark: any mark counts then.
        """
        ends = (DONE_EVENT, MARKED_EVENT) if shape == ANY else (DONE_EVENT,)
        return self._has(endpoint, connection, exchange, ends, shape, until)

    def is_ended(self, endpoint: int, connection: int, exchange: int, *, until: int) -> bool:
        """Return whether the server ended another answer for the same path in any way before `until` (ns)."""
        return self._has(endpoint, connection, exchange, (DONE_EVENT, MARKED_EVENT, OTHER_EVENT), ANY, until)

    def _has(self, endpoint: int, connection: int, exchange: int, ends: Sequence[int], shape: int, until: int) -> bool:
        path = self._paths.get((connection, exchange))
        times = (self._first.get((endpoint, path, end, shape)) for end in ends) if path is not None else ()
        return any(time is not None and time <= until for time in times)


def _paths(exchanges: pl.LazyFrame) -> pl.LazyFrame:
    """Return the path of each request, by connection and exchange."""
    path = c("request_target").cast(pl.String).str.split("?").list.first()
    return exchanges.select("connection", c("exchange").cast(pl.Int64), path.alias("path"))


def _first_answers(tables: CaptureTables, endpoints: pl.Series | None) -> dict[_Answered, int]:
    """Return when the first answer of each server, path and way to end was known (ns); `endpoints`: only of these servers."""
    last = c("response_last_event")
    marked = c("response_end_mark") & ~last.is_in([ERROR_EVENT, MAYBE_ERROR_EVENT])
    end = pl.when(last == DONE_EVENT).then(DONE_EVENT).when(marked).then(MARKED_EVENT).otherwise(OTHER_EVENT)
    shape = pl.concat_list(pl.lit(ANY, pl.Int64), c("response_first_shape"))
    whole = streams() & (c("response_end_reason") == "complete") & ~c("request_method").is_in(OPEN_STREAMS)
    ours = pl.lit(value=True) if endpoints is None else c("endpoint").is_in(endpoints.implode())
    rows = tables.closes.filter(whole & ours).select(
        "connection", c("exchange").cast(pl.Int64), "endpoint", end.alias("end"), "final_at", shape.alias("shape")
    )
    found = (
        rows.join(_paths(tables.exchanges()), on=["connection", "exchange"])
        .explode("shape")
        .group_by("endpoint", "path", "end", "shape")
    )
    first = found.agg(c("final_at").min()).sort("final_at").collect(engine="streaming")
    return {row[:4]: row[4] for row in first.iter_rows()}

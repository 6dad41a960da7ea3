"""How the bodies of responses arrived: their bursts, their chunks and their events, as columns of tables.EXCHANGES."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from wiredoctor.http.bursts import BurstState
from wiredoctor.http.pieces import Flight, Pieces
from wiredoctor.tables import NEVER, NONE, Array

_NUMBERS = ("median_chunk", "chunk_lines_alone", "chunks_end_lines", "early_chunks", "body_frame", "body_time",
            "events", "first_events", "held_bursts")  # fmt: skip
"""Of responses whose pieces are watched, in the order of `_numbers`."""
_NOTHING = (NONE, 0, 0, 0, NEVER, NEVER, NEVER, 0, 0)


def add_arrivals(columns: dict[str, Any], bursts: BurstState, kept: int) -> None:
    """Add the columns, and forget the pauses and pieces of these responses but for the first `kept`."""
    ids = columns["response_message"]
    columns["response_bursts"] = (columns["response_body_bytes"] > 0).astype(np.int32)
    _add_pauses(columns, ids, bursts)
    _add_pieces(columns, ids, bursts)
    over = ids[kept:]
    for i in {*_known(over, bursts.pauses), *_known(over, bursts.pieces)}:
        bursts.forget(int(over[i]))


def _add_pauses(columns: dict[str, Any], ids: Array, bursts: BurstState) -> None:
    n = len(ids)
    application, paused = np.zeros(n, dtype=np.int32), np.zeros(n, dtype=np.int64)
    frames: dict[int, list[int]] = {}
    times: dict[int, list[int]] = {}
    for i in _known(ids, bursts.pauses):
        found = bursts.pauses.get(int(ids[i]))
        if found is not None:
            columns["response_bursts"][i], application[i], paused[i] = found.bursts, found.application, found.paused
            frames[i], times[i] = found.frames, found.times
    columns["response_application_pauses"], columns["response_paused"] = application, paused
    columns["response_pause_frames"] = lists(frames, n, pl.Int64())
    columns["response_pause_times"] = lists(times, n, pl.Int64())


def _add_pieces(columns: dict[str, Any], ids: Array, bursts: BurstState) -> None:
    n = len(ids)
    numbers: Array = np.empty((len(_NUMBERS), n), dtype=np.int64)
    numbers[:] = np.array(_NOTHING)[:, None]
    held: dict[int, list[Flight]] = {}
    for i in _known(ids, bursts.pieces):
        found = bursts.pieces.get(int(ids[i]))
        if found is not None:
            found.settle(bursts.cutoffs.min_held_events, over=True)
            numbers[:, i] = _numbers(found)
            if found.shown:
                held[i] = found.shown
    columns |= {f"response_{name}": numbers[k] for k, name in enumerate(_NUMBERS)}
    columns["response_chunks_end_lines"] = columns["response_chunks_end_lines"] == 1
    frames = {i: [frame for f in some if f.pause for frame in (f.pause[0], f.frame)] for i, some in held.items()}
    times = {i: [time for f in some if f.pause for time in (f.pause[1], f.time)] for i, some in held.items()}
    columns["response_held_frames"] = lists(frames, n, pl.Int64())
    columns["response_held_times"] = lists(times, n, pl.Int64())


def _numbers(pieces: Pieces) -> tuple[int, ...]:
    first = pieces.first
    counted = pieces.counter is not None
    return (
        pieces.median, pieces.alone, pieces.lines and bool(pieces.sizes), pieces.early,
        NEVER if first is None else first.frame, NEVER if first is None else first.time,
        pieces.events if counted else NEVER, first.events if counted and first is not None else 0, pieces.held if counted else 0,
    )  # fmt: skip


def _known(ids: Array, some: dict[int, Any]) -> list[int]:
    """The rows whose id is among these."""
    return np.flatnonzero(np.isin(ids, list(some))).tolist() if some else []


def lists(some: dict[int, list[int]], rows: int, inner: pl.DataType) -> pl.Series:
    """A column of lists that are empty but for some rows: Polars makes lists from Python objects one by one, at 10 us each."""
    distinct = pl.Series([[], *some.values()], dtype=pl.List(inner))
    index = np.zeros(rows, dtype=np.int64)
    index[list(some)] = np.arange(1, len(some) + 1)
    return distinct.gather(pl.Series(index))

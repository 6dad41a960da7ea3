"""Choose the packets of a ladder while a capture is read, in bounded memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl

NEAR = 2
"""The number of neighboring packets shown before and after each packet of the evidence."""

REMARKABLE = 200
"""The maximum number of notable packets of a connection that are kept until the best of them are chosen."""


class Plan(NamedTuple):
    """The specification of the packets for a ladder.

    `wanted`: the frames of the evidence. `around`: other frames that explain the evidence. `frames`, `times` (ns): the range of
    packets to show, with both ends included; None for all. `most`: the maximum number of packets. `ends`: whether to prefer
    the first and the last packets to neighbors of the evidence if there are too many packets.
    """

    capture: str
    connection: int | None
    wanted: frozenset[int]
    around: frozenset[int]
    frames: tuple[int, int] | None
    times: tuple[int, int] | None
    most: int
    ends: bool = False


class Choice:
    """Chooses the rows for a plan while a capture is read.

    The choice keeps the first `most` rows (and the last `most`, if the plan has `ends`), the wanted frames with their neighbors,
    and some notable packets. `over`: true as soon as no further rows can be needed.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.over = False
        self._position = 0
        self._inside = 0
        self._remarkable = 0
        self._kept: list[pl.DataFrame] = []
        self._tail: pl.DataFrame | None = None
        self._held: pl.DataFrame | None = None

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows of the plan's connection (or of all connections, if the plan has none), in frame order."""
        if self.plan.connection is None:
            self._kept.append(
                rows.filter(pl.col("frame").is_in(list(self.plan.wanted))).with_columns(pl.lit(0).alias("position"))
            )
            self.over = not self.plan.wanted or rows["frame"][-1] >= max(self.plan.wanted)
            return
        rows = rows.with_columns(pl.int_range(self._position, self._position + rows.height).alias("position"))
        self._position += rows.height
        inside, self.over = self._within(rows)
        inside = inside.with_columns(pl.int_range(self._inside, self._inside + inside.height).alias("place"))
        self._inside += inside.height
        if self._held is not None:
            inside = pl.concat([self._held, inside])
        if not inside.height:
            return
        wanted = inside["frame"].is_in(list(self.plan.wanted | self.plan.around)).to_numpy()
        keep = np.convolve(wanted, np.ones(2 * NEAR + 1), "same")[: len(wanted)] > 0
        keep |= (inside["place"] < self.plan.most).to_numpy()
        remarkable = inside.select(_remarkable()).to_series().to_numpy()
        room = REMARKABLE - self._remarkable
        keep |= remarkable & (np.cumsum(remarkable) <= room)
        self._remarkable += min(int(remarkable.sum()), max(room, 0))
        self._kept.append(inside.filter(pl.Series(keep)))
        self._held = inside.tail(2 * NEAR)
        if self.plan.ends:
            self._tail = (inside if self._tail is None else pl.concat([self._tail, inside])).tail(self.plan.most)

    def _within(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, bool]:
        """Return the rows inside the requested range, and whether these rows reach the end of the range of frames."""
        frames, times = self.plan.frames, self.plan.times
        over = False
        if frames:
            over |= rows["frame"][-1] >= frames[1]
            rows = rows.filter(pl.col("frame").is_between(*frames))
        if times:
            rows = rows.filter(pl.col("time").is_between(*times))
        return rows, over

    def chosen(self) -> list[dict[str, Any]]:
        """Return the most important of the rows kept so far, at most `plan.most`, in frame order."""
        parts = [*self._kept, *([self._tail] if self._tail is not None else [])]
        if not parts:
            return []
        rows = pl.concat(parts, how="diagonal").unique("position" if self.plan.connection is not None else "frame").sort("frame")
        if self.plan.connection is None or rows.height <= self.plan.most:
            return rows.head(self.plan.most).to_dicts()
        best = rows.with_columns(_rank(self.plan, self._inside).alias("rank")).filter(pl.col("rank") < NOT_SHOWN)
        return best.sort("rank", "frame").head(self.plan.most).sort("frame").to_dicts()


def _remarkable() -> pl.Expr:
    names = ("retransmission", "fills_gap", "opens_gap", "zero_window", "keep_alive_probe")
    return pl.any_horizontal(*names, (pl.col("flags") & 0x07) != 0)


NOT_SHOWN = 4


def _rank(plan: Plan, inside: int) -> pl.Expr:
    """Return an expression for the rank of a row; if there are too many rows, those with the lowest ranks are shown.

    `inside`: the number of rows in the requested range.
    """
    wanted, around = pl.col("frame").is_in(list(plan.wanted)), pl.col("frame").is_in(list(plan.around))
    ends = pl.lit(value=False)
    if plan.ends:
        ends = (pl.col("place") < plan.most // 3) | (pl.col("place") >= inside - plan.most // 3)
    known = (wanted | around).cast(pl.UInt8)
    near = known.rolling_max(2 * NEAR + 1, min_samples=1, center=True) > 0
    return pl.when(wanted).then(0).when(around | ends).then(1).when(near).then(2).when(_remarkable()).then(3).otherwise(NOT_SHOWN)

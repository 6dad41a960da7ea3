"""Restrict summary rules, which compare connections, to the end of a long capture, so their memory is bounded.

This end of the capture is called the window; it has nothing to do with TCP's windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from wiredoctor import limits
from wiredoctor.limits import Limit, LimitsReached
from wiredoctor.rule_engine.catalogue import RuleModule
from wiredoctor.tables import SECOND

_OF_EXCHANGES = {"exchanges", "closes"}
"""The tables with one row per exchange."""


class SetBack(NamedTuple):
    """The first frame after the clock was set back from its latest time, and the time (ns) of the last packet."""

    frame: int
    last: int


class SummaryWindow(NamedTuple):
    """The time (ns since the first packet) from which on connections are compared, and the limit that requires this.

    If the clock was set back (`back`), the time of later frames is compared with that of the last packet instead.
    """

    since: int
    limit: Limit
    back: SetBack | None = None

    def has(self, time: str, frame: str) -> pl.Expr:
        """Return an expression that is true if a packet lies within the window; `time` and `frame` name its columns."""
        within = pl.col(time) >= self.since
        if self.back is None:
            return within
        return within | (pl.col(frame) >= self.back.frame) & (pl.col(time) >= self.back.last - limits.COMPARED_TIME.value)


def window(
    exchanges: pl.LazyFrame, count: int, earliest: int, latest: int, back: SetBack | None = None
) -> SummaryWindow | None:  # fmt: skip
    """Return the window that summary rules may use; None if they can use the whole capture.

    `exchanges`: the finished rows of the capture, `count` of them. The times of all packets are between `earliest` and `latest`
    (ns). `back`: see SummaryWindow.
    """
    since = latest - limits.COMPARED_TIME.value
    if count > limits.COMPARED_EXCHANGES.value:
        newest = _start_of_last(exchanges, limits.COMPARED_EXCHANGES.value, since)
        if newest is not None and newest > since:
            return SummaryWindow(newest, limits.COMPARED_EXCHANGES)
    return SummaryWindow(since, limits.COMPARED_TIME, back) if since > earliest else None


def _start_of_last(exchanges: pl.LazyFrame, count: int, since: int) -> int | None:
    """Return the start (ns) of the first of the last `count` exchanges; None if fewer began at or after `since`.

    Exchanges are counted per second, because there are few seconds; only the exchanges of one second are sorted.
    """
    start = pl.col("start")
    starts = exchanges.select(pl.coalesce("request_start", "response_start").alias("start")).filter(start >= since)
    seconds = starts.group_by((start // SECOND).alias("second")).len().collect(engine="streaming").sort("second", descending=True)
    so_many = seconds["len"].cast(pl.Int64).cum_sum().to_numpy()
    place = int(np.searchsorted(so_many, count))
    if place == len(so_many):
        return None
    within = starts.filter(start // SECOND == seconds["second"][place]).collect(engine="streaming")["start"].sort()
    return int(within[int(so_many[place]) - count])


def restrict_to_window(
    tables: Mapping[str, pl.LazyFrame],
    modules: Mapping[str, RuleModule],
    of: SummaryWindow,
    met: LimitsReached,
    forgotten: int = 0,
) -> list[tuple[dict[str, RuleModule], dict[str, pl.LazyFrame]]]:
    """Return the rules in two parts, each with the tables for its summaries, restricted to the window `of`.

    Rules about the capture get every connection with a packet in the window. The others get the connections that began in it with
    all of their exchanges, because a connection looks different without its first exchanges. `met` counts the omitted
    connections, including those that a live capture has `forgotten`, if a rule needed them.
    """
    about = {name: module for name, module in modules.items() if module.is_about_capture}
    others = {name: module for name, module in modules.items() if name not in about}
    begun, lasted = of.has("start", "first_frame"), of.has("end", "last_frame")
    parts = [(about, lasted, _summary_tables(about)), (others, begun, _summary_tables(others))]
    if kept := [which for _, which, names in parts if names & {"connections", *_OF_EXCHANGES}]:
        left_out = tables["connections"].select((~pl.all_horizontal(kept)).sum()).collect(engine="streaming").item()
        met.add(of.limit, left_out + forgotten)
    return [(some, _of_connections(tables, which, names)) for some, which, names in parts]


def _summary_tables(modules: Mapping[str, RuleModule]) -> set[str]:
    """Return the names of the tables that the summary rules in `modules` read."""
    return {name for module in modules.values() if module.rule.summary for name in module.tables}


def _of_connections(tables: Mapping[str, pl.LazyFrame], which: pl.Expr, names: set[str]) -> dict[str, pl.LazyFrame]:
    """Return the tables with only the connections that match `which`; tables of exchanges are restricted if `names` has them."""
    connections = tables["connections"].filter(which)
    if not names & _OF_EXCHANGES:
        return {**tables, "connections": connections}
    ids = connections.select("connection").collect(engine="streaming")["connection"].to_numpy()
    first = int(ids.min(initial=0 if not len(ids) else ids[0]))
    known = np.zeros(int(ids.max(initial=first)) - first + 3, bool)  # the first and the last element stand for all other ids
    known[ids - first + 1] = True
    theirs = pl.col("connection").map_batches(
        lambda numbers: pl.Series(known[np.clip(numbers.to_numpy() - first + 1, 0, len(known) - 1)]),
        return_dtype=pl.Boolean,
        is_elementwise=True,
    )
    theirs_only = {name: _filter_by(tables[name], theirs) for name in names & _OF_EXCHANGES}
    return {**tables, "connections": connections, **theirs_only}


def _filter_by(rows: pl.LazyFrame, holds: pl.Expr) -> pl.LazyFrame:
    """Return the rows for which an expression that calls Python is true.

    The expression is computed as a column first: Polars would pickle such a filter for the source of `View.lazy`, which needs
    cloudpickle.
    """
    return rows.with_columns(holds.alias("_holds")).filter("_holds").drop("_holds")

"""How much of a long capture the rules see that look across connections: the end of it, so that memory can be bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from wiredoctor import limits
from wiredoctor.limits import Limit, Met
from wiredoctor.rule_engine.catalogue import RuleModule
from wiredoctor.tables import SECOND

_OF_EXCHANGES = {"exchanges", "closes"}
"""Tables with a row per exchange."""


class Window(NamedTuple):
    """The time (ns since the first packet) from which on connections are compared, and the limit that says so."""

    since: int
    limit: Limit


def window(exchanges: pl.LazyFrame, count: int, earliest: int, latest: int) -> Window | None:
    """None of a capture that is compared as a whole.

    exchanges: its finished rows, `count` of them. earliest, latest: the times of its packets lie between these.
    """
    since = latest - limits.COMPARED_TIME.value
    if count > limits.COMPARED_EXCHANGES.value:
        newest = _start_of_last(exchanges, limits.COMPARED_EXCHANGES.value, since)
        if newest is not None and newest > since:
            return Window(newest, limits.COMPARED_EXCHANGES)
    return Window(since, limits.COMPARED_TIME) if since > earliest else None


def _start_of_last(exchanges: pl.LazyFrame, count: int, since: int) -> int | None:
    """When the first of the `count` exchanges began that began last; None where fewer began at `since` or later.

    They are counted by the second, because there are few of these, and only those of one second are put in order.
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


def seen(
    tables: Mapping[str, pl.LazyFrame], modules: Mapping[str, RuleModule], of: Window, met: Met, forgotten: int = 0
) -> list[tuple[dict[str, RuleModule], dict[str, pl.LazyFrame]]]:
    """The rules in two parts, each with the tables that its summaries may look at.

    Rules about the capture see every connection with a packet in the window; the others those that began in it, with all of
    their exchanges, because a connection without its first exchanges looks like another. `met` is told how many are not seen,
    with those that a live capture has `forgotten`, where one of the rules would have looked at them.
    """
    about = {name: module for name, module in modules.items() if module.family == "capture"}
    others = {name: module for name, module in modules.items() if name not in about}
    begun, lasted = pl.col("start") >= of.since, pl.col("end") >= of.since
    parts = [(about, lasted, _asked_for(about)), (others, begun, _asked_for(others))]
    if kept := [which for _, which, names in parts if names & {"connections", *_OF_EXCHANGES}]:
        left_out = tables["connections"].select((~pl.all_horizontal(kept)).sum()).collect(engine="streaming").item()
        met.add(of.limit, left_out + forgotten)
    return [(some, _of_connections(tables, which, names)) for some, which, names in parts]


def _asked_for(modules: Mapping[str, RuleModule]) -> set[str]:
    """The tables that summaries among these look at."""
    return {name for module in modules.values() if module.rule.summary for name in module.tables}


def _of_connections(tables: Mapping[str, pl.LazyFrame], which: pl.Expr, names: set[str]) -> dict[str, pl.LazyFrame]:
    """The tables with only these connections, and their exchanges where these are asked for."""
    connections = tables["connections"].filter(which)
    if not names & _OF_EXCHANGES:
        return {**tables, "connections": connections}
    ids = connections.select("connection").collect(engine="streaming")["connection"].to_numpy()
    first = int(ids.min(initial=0 if not len(ids) else ids[0]))
    known = np.zeros(int(ids.max(initial=first)) - first + 3, bool)  # the first and the last place stand for all others
    known[ids - first + 1] = True
    theirs = pl.col("connection").map_batches(
        lambda numbers: pl.Series(known[np.clip(numbers.to_numpy() - first + 1, 0, len(known) - 1)]),
        return_dtype=pl.Boolean,
        is_elementwise=True,
    )
    theirs_only = {name: _where(tables[name], theirs) for name in names & _OF_EXCHANGES}
    return {**tables, "connections": connections, **theirs_only}


def _where(rows: pl.LazyFrame, holds: pl.Expr) -> pl.LazyFrame:
    """The rows for which a function of Python says so.

    By way of a column: such a filter alone Polars would hand to the source of `View.lazy`, pickled, which needs cloudpickle.
    """
    return rows.with_columns(holds.alias("_holds")).filter("_holds").drop("_holds")

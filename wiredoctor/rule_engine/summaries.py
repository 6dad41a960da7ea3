"""Restrict summary rules, which compare connections, to the end of a very long capture, so their memory is bounded.

This end of the capture is called the window; it has nothing to do with TCP's windows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from wiredoctor import limits
from wiredoctor.rule_engine.rule_module import RuleModule

_OF_EXCHANGES = {"exchanges", "closes"}
"""The tables with one row per exchange."""

_FRAMES = 1 << 16
"""The number of frames in each of the ranges that are counted to find the start of the window."""

Parts = list[tuple[dict[str, RuleModule], dict[str, pl.LazyFrame]]]
"""Pairs of rules and the tables that they read."""


def window_start(connections: pl.LazyFrame, exchanges: pl.LazyFrame, counts: tuple[int, int]) -> int | None:
    """Return the number of the first frame of the window; None if all connections can be compared.

    `counts`: the number of rows of `connections` and of `exchanges`. Frame numbers are used instead of times, because a clock
    may be set back.
    """
    most = limits.COMPARED_ROWS.value
    firsts = ((connections, pl.col("first_frame")), (exchanges, _first_frame()))
    starts = (
        _start_of_last(rows.select(first.alias("frame")), most)
        for (rows, first), count in zip(firsts, counts, strict=True)
        if count > most
    )
    return max((start for start in starts if start is not None), default=None)


def _start_of_last(frames: pl.LazyFrame, count: int) -> int | None:
    """Return the lowest of the `count` highest numbers in the column `frame`; None if the column has at most `count` numbers.

    The numbers are counted in ranges first, so only the numbers in one range have to be sorted.
    """
    of_range = pl.col("frame") // _FRAMES
    ranges = frames.drop_nulls().group_by(of_range.alias("range")).len().collect(engine="streaming")
    ranges = ranges.sort("range", descending=True)
    so_many = ranges["len"].cast(pl.Int64).cum_sum().to_numpy()
    if not len(so_many) or so_many[-1] <= count:
        return None
    place = int(np.searchsorted(so_many, count))
    within = frames.filter(of_range == ranges["range"][place]).collect(engine="streaming")["frame"].sort()
    return int(within[int(so_many[place]) - count])


def restrict_to_window(
    tables: Mapping[str, pl.LazyFrame], modules: Mapping[str, RuleModule], start: int, forgotten: int = 0
) -> tuple[Parts, int]:
    """Restrict rules that compare connections to the last part of a long capture, the window, which begins with frame `start`.

    Return the rules in two groups, each with its tables, and the number of omitted connections. Rules about the capture get
    every connection with a packet in the window. The other rules get only connections that began in the window, with all their
    exchanges, because a connection looks different without its first exchanges. The number of omitted connections includes those
    that a live capture has `forgotten`; it is 0 if no rule needs connections.
    """
    about = {name: module for name, module in modules.items() if module.is_about_capture}
    others = {name: module for name, module in modules.items() if name not in about}
    begun, lasted = pl.col("first_frame") >= start, pl.col("last_frame") >= start
    parts = [(about, lasted, _summary_tables(about)), (others, begun, _summary_tables(others))]
    left_out = 0
    if kept := [which for _, which, names in parts if names & {"connections", *_OF_EXCHANGES}]:
        left_out = forgotten + tables["connections"].select((~pl.all_horizontal(kept)).sum()).collect(engine="streaming").item()
    return [(some, _of_connections(tables, which, names)) for some, which, names in parts], left_out


def newest_exchanges(exchanges: pl.LazyFrame, most: int) -> int | None:
    """Return the number of the first frame of the newest `most` exchanges; None if there are no more."""
    return _start_of_last(exchanges.select(_first_frame().alias("frame")), most)


def since_frame(tables: Mapping[str, pl.LazyFrame], start: int) -> dict[str, pl.LazyFrame]:
    """Return the tables with the exchanges that began with frame `start` or later, and connections that lasted until then."""
    begun = {name: tables[name].filter(_first_frame() >= start) for name in _OF_EXCHANGES & tables.keys()}
    return {**tables, **begun, "connections": tables["connections"].filter(pl.col("last_frame") >= start)}


def apart(parts: Parts, start: int, newest: Mapping[str, pl.LazyFrame]) -> Parts:
    """Divide each part: the rules about gateways read only the tables `since_frame`.

    `newest`: tables of exchanges with at least the rows since then, because reading all takes longer; {} if there are none.
    """
    made: Parts = []
    for modules, tables in parts:
        about = {name: module for name, module in modules.items() if not {"tries", "fronts"}.isdisjoint(module.tables)}
        others = {name: module for name, module in modules.items() if name not in about}
        made += [(others, tables), (about, since_frame({**tables, **newest}, start))]
    return made


def _first_frame() -> pl.Expr:
    return pl.coalesce("request_frame", "response_frame")


def _summary_tables(modules: Mapping[str, RuleModule]) -> set[str]:
    """Return the names of the tables that the summary rules in `modules` read."""
    return {name for module in modules.values() if module.rule.summary for name in module.tables}


def _of_connections(tables: Mapping[str, pl.LazyFrame], which: pl.Expr, names: set[str]) -> dict[str, pl.LazyFrame]:
    """Return the tables with only the connections for which `which` is true.

    Restricting a table of exchanges takes time, so it is done only for the tables in `names`.
    """
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

    The expression is computed as a column first. If it were a filter, Polars would pickle it for the source of `View.lazy`, which
    needs cloudpickle.
    """
    return rows.with_columns(holds.alias("_holds")).filter("_holds").drop("_holds")

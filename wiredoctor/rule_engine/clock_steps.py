"""Drop or weaken findings if the capture's clock was set back, or its packets were out of order.

A connection with packets before and after a clock step has no findings that depend on times between them. If packets were
sorted, times are right if the timestamps are: findings that depend on them have medium confidence at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from wiredoctor.rule_engine.catalogue import RuleModule
from wiredoctor.tables import Array


def without_times_across(
    found: Mapping[str, pl.DataFrame], modules: Mapping[str, RuleModule], steps: Sequence[int]
) -> dict[str, pl.DataFrame]:
    """Candidates of rules about connections (rule name -> rows) without those whose packets lie on both sides of a step.

    `steps`: frames that are stamped earlier than the packet before them, in order. What order alone proves stays.
    """
    frames = np.asarray(steps, dtype=np.int64)
    return {
        name: rows
        if _of_the_capture(modules[name]) or _is_raw(modules[name])
        else _unsure_since(rows.filter(_is_timeless(modules[name], rows) | ~_across(rows, frames)), frames)
        for name, rows in found.items()
    }


def _unsure_since(rows: pl.DataFrame, steps: Array) -> pl.DataFrame:
    """The same candidates, with low confidence where a step lies between `since_frame`, from which on their round trip was
    measured, and their first packet: the smallest sample may have been taken across it."""
    if "since_frame" not in rows.columns:
        return rows
    unsure = _steps_between(rows["since_frame"], _ends(rows)[0], steps)
    return rows.with_columns(pl.when(unsure).then(pl.lit("low")).otherwise("confidence").alias("confidence"))


def unsure_across(
    found: Mapping[str, pl.DataFrame], modules: Mapping[str, RuleModule], shuffled: Sequence[int]
) -> dict[str, pl.DataFrame]:
    """Limit candidates to medium confidence if they depend on times of packets that were out of order.

    `shuffled`: the frames that were sorted, ascending."""
    if not shuffled:
        return {**found}
    frames = np.asarray(shuffled, dtype=np.int64)
    less = {"high": "medium"}
    return {
        name: rows
        if _of_the_capture(modules[name]) or _is_raw(modules[name]) or rows.is_empty()
        else rows.with_columns(
            pl.when(~_is_timeless(modules[name], rows) & _around(rows, frames))
            .then(pl.col("confidence").replace(less))
            .otherwise("confidence")
            .alias("confidence")
        )
        for name, rows in found.items()
    }


def _is_timeless(module: RuleModule, rows: pl.DataFrame) -> pl.Series:
    """Return whether the order of packets alone proves each candidate."""
    kinds = module.rule.timeless
    if isinstance(kinds, bool):
        return pl.repeat(kinds, rows.height, dtype=pl.Boolean, eager=True)
    return rows["kind"].is_in(kinds).fill_null(value=False)


def unstepped(
    tables: Mapping[str, pl.LazyFrame], modules: Mapping[str, RuleModule], steps: Sequence[int]
) -> list[tuple[dict[str, RuleModule], dict[str, pl.LazyFrame]]]:
    """The summaries in two parts, each with the tables that they may look at: those about the capture see all; others no
    connection that went on across a step, because they count and compare times of many packets."""
    frames = np.asarray(steps, dtype=np.int64)
    spans = tables["connections"].select("connection", "first_frame", "last_frame").collect()
    whole = spans.filter(~_steps_between(spans["first_frame"], spans["last_frame"], frames)).lazy().select("connection")
    unstepped = {name: tables[name].join(whole, on="connection", how="semi") for name in ("connections", "exchanges", "closes")}
    other = {**tables, **unstepped}
    about = {name: module for name, module in modules.items() if _of_the_capture(module)}
    return [
        (about, dict(tables)),
        ({name: module for name, module in modules.items() if name not in about}, other),
    ]


def _is_raw(module: RuleModule) -> bool:
    """Return whether the rule makes its candidates later, from these rows and those of connections without a step."""
    return module.rule.summary and module.by_limits is not None


def _of_the_capture(module: RuleModule) -> bool:
    return module.family == "capture"


def _across(rows: pl.DataFrame, steps: Array) -> pl.Series:
    """Whether the packets of each candidate lie on both sides of a step."""
    first, newest = _ends(rows)
    return _steps_between(first, newest, steps)


def _around(rows: pl.DataFrame, frames: Array) -> pl.Series:
    """Return whether one of the frames lies within the packets of each candidate."""
    first, newest = _ends(rows)
    return _steps_between(first - 1, newest, frames)


def _ends(rows: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """Return the first and the last frame of each candidate."""
    frames = rows["evidence"].list.eval(pl.element().struct.field("frame"))
    last = rows["last_frame"] if "last_frame" in rows.columns else rows["frame"]
    first = pl.DataFrame([frames.list.min().alias("a"), rows["frame"].alias("b")]).min_horizontal()
    newest = pl.DataFrame([frames.list.max().alias("a"), rows["frame"].alias("b"), last.alias("c")]).max_horizontal()
    return first, newest


def _steps_between(first: pl.Series, last: pl.Series, steps: Array) -> pl.Series:
    """Whether a step lies behind `first` and not behind `last`."""
    ends = (pl.coalesce(pl.col("f"), pl.lit(0)), pl.coalesce(pl.col("l"), pl.lit(0)))
    known = pl.DataFrame({"f": first, "l": last}).select(ends[0], ends[1].alias("l"))
    passed = [np.searchsorted(steps, known[name].to_numpy(), side="right") for name in ("f", "l")]
    return pl.Series(passed[1] > passed[0])

"""Drop or weaken candidates whose times are not those at which the hosts sent the packets.

If a connection has packets before and after a step of the capture's clock, it gets no findings that depend on times. If packets
had to be sorted, their order is only as reliable as their timestamps: findings that depend on times then have at most medium
confidence.

In a replay, no finding depends on times. A host's TCP timestamps (TSval, RFC 7323) count the ticks of its clock, usually 1,000
per second. If the clocks of all hosts are slow to the same degree, the packets were sent faster than the capture says. Then no
time in the capture is a wait of a host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import polars as pl

from wiredoctor.rule_engine.plugins import enabled, run_guarded
from wiredoctor.rule_engine.rule_module import RuleModule
from wiredoctor.tables import SECOND, Array
from wiredoctor.world.numbers import DURATION

c = pl.col

FASTEST = 100
"""The rate in ticks per second that all clocks of a replay stay below. Slower clocks are rare."""
FEWEST_TICKS = 20
"""The minimum number of ticks of a host whose rate counts."""
FEWEST_HOSTS = 2
COMMON = (1, 2, 10, 100)
"""The rates in ticks per second of real clocks that are slow. RFC 7323 allows ticks of up to one second."""
NEAR = 20
"""The rate of a host counts as common if it differs by at most one part in this many."""
ALIKE = 1.15
"""The maximum ratio between the rates of two hosts in a replay."""
ROUNDED = 2
"""The number of ticks by which the count of a host with few ticks may be wrong."""
UNTIMED = ("framing", "gateways")
"""The families of rules whose findings do not depend on the times between packets."""


def drop_across_clock_steps(
    found: Mapping[str, pl.DataFrame], modules: Mapping[str, RuleModule], steps: Sequence[int]
) -> dict[str, pl.DataFrame]:
    """Return the candidates (rule name -> rows), except candidates with packets before and after a clock step.

    `steps`: the numbers of the frames whose time is earlier than that of the previous frame, in ascending order. Candidates that
    packet order alone proves are kept.
    """
    frames = np.asarray(steps, dtype=np.int64)

    def drop(module: RuleModule, rows: pl.DataFrame) -> pl.DataFrame:
        if module.is_about_capture or _is_raw(module):
            return rows
        kept = rows.filter(is_timeless(module, rows) | ~_steps_between(*_ends(module, rows), frames))
        return _unsure_since(kept, module, frames)

    return _of_each(found, modules, drop)


def _of_each(
    found: Mapping[str, pl.DataFrame], modules: Mapping[str, RuleModule], work: Callable[[RuleModule, pl.DataFrame], pl.DataFrame]
) -> dict[str, pl.DataFrame]:
    """Return the results of `work`, which calls `words`, for the candidates of each rule. Rules that have failed are omitted."""
    done = {n: run_guarded(modules[n], partial(work, modules[n], rows)) for n, rows in found.items() if enabled([modules[n]])}
    return {name: rows for name, rows in done.items() if rows is not None}


def _unsure_since(rows: pl.DataFrame, module: RuleModule, steps: Array) -> pl.DataFrame:
    """Set low confidence for candidates if a clock step lies between the frame `since_frame` and their first packet.

    The smallest round-trip time, on which the candidate relies, was measured between these two packets, so it may be wrong.
    """
    if "since_frame" not in rows.columns:
        return rows
    unsure = _steps_between(rows["since_frame"], _ends(module, rows)[0], steps)
    return rows.with_columns(pl.when(unsure).then(pl.lit("low")).otherwise("confidence").alias("confidence"))


def unsure_across(
    found: Mapping[str, pl.DataFrame], modules: Mapping[str, RuleModule], doubtful: Sequence[int]
) -> dict[str, pl.DataFrame]:
    """Return the candidates, with at most medium confidence if they depend on the times of packets that were out of order, or
    have packets before and after overwritten ones.

    `doubtful`: the frames of Analysis.doubtful_frames.
    """
    if not doubtful:
        return {**found}
    frames = np.asarray(doubtful, dtype=np.int64)

    def weaken(module: RuleModule, rows: pl.DataFrame) -> pl.DataFrame:
        if module.is_about_capture or _is_raw(module) or rows.is_empty():
            return rows
        unsure = ~is_timeless(module, rows) & _around(module, rows, frames)
        lower = pl.when(unsure).then(c("confidence").replace({"high": "medium"})).otherwise("confidence")
        return rows.with_columns(lower.alias("confidence"))

    return _of_each(found, modules, weaken)


def is_timeless(module: RuleModule, rows: pl.DataFrame) -> pl.Series:
    """Return, for each candidate, whether the order of packets alone proves it, without their times."""
    kinds = module.rule.timeless
    if isinstance(kinds, bool):
        return pl.repeat(kinds, rows.height, dtype=pl.Boolean, eager=True)
    return rows["kind"].is_in(kinds).fill_null(value=False)


def split_at_clock_steps(
    tables: Mapping[str, pl.LazyFrame], modules: Mapping[str, RuleModule], steps: Sequence[int]
) -> list[tuple[dict[str, RuleModule], dict[str, pl.LazyFrame]]]:
    """Return two pairs of rules and tables: the rules about the capture with all rows, and the other rules with fewer rows.

    The second pair lacks the connections with packets before and after a clock step, because its rules count packets and compare
    their times. `steps` is as in `drop_across_clock_steps`.
    """
    frames = np.asarray(steps, dtype=np.int64)
    spans = tables["connections"].select("connection", "first_frame", "last_frame").collect()
    whole = spans.filter(~_steps_between(spans["first_frame"], spans["last_frame"], frames)).lazy().select("connection")
    unstepped = {name: tables[name].join(whole, on="connection", how="semi") for name in ("connections", "exchanges", "closes")}
    other = {**tables, **unstepped}
    about = {name: module for name, module in modules.items() if module.is_about_capture}
    return [(about, dict(tables)), ({name: module for name, module in modules.items() if name not in about}, other)]


def _is_raw(module: RuleModule) -> bool:
    """Return whether a rule's candidates are preliminary, because they are judged later by what all connections show."""
    return module.rule.summary and module.is_held


def _around(module: RuleModule, rows: pl.DataFrame, frames: Array) -> pl.Series:
    """Return, for each candidate, whether one of the frames lies between its first and its last packet."""
    first, newest = _ends(module, rows)
    return _steps_between(first - 1, newest, frames)


def _ends(module: RuleModule, rows: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """Return two series: the first and the last frame number of each candidate."""
    facts = rows.select(module.fact_names).with_columns(pl.col(DURATION).cast(pl.Int64)).iter_rows(named=True)
    frames = pl.Series([[packet.frame for packet in module.words_of(row)["evidence"]] for row in facts], dtype=pl.List(pl.Int64))
    last = rows["last_frame"] if "last_frame" in rows.columns else rows["frame"]
    first = pl.DataFrame([frames.list.min().alias("a"), rows["frame"].alias("b")]).min_horizontal()
    newest = pl.DataFrame([frames.list.max().alias("a"), rows["frame"].alias("b"), last.alias("c")]).max_horizontal()
    return first, newest


def _steps_between(first: pl.Series, last: pl.Series, steps: Array) -> pl.Series:
    """Return, for each pair of frame numbers, whether a step comes after the frame `first` and not after the frame `last`."""
    before, until = (np.searchsorted(steps, frames.fill_null(0).to_numpy(), side="right") for frames in (first, last))
    return pl.Series(until > before)


def replay_rate(connections: pl.LazyFrame) -> float | None:
    """Return the mean rate in ticks per second of the hosts' clocks if the capture is a replay; otherwise None."""
    if not _may_be_replay(connections):
        return None
    hosts = pl.concat([_clocks(connections, side) for side in ("client", "server")])
    hosts = hosts.group_by("host").agg(c("ticks").sum(), c("time").sum()).collect()
    clear = c("ticks") >= FEWEST_TICKS
    rates: list[float] = hosts.filter(clear).select(c("ticks") * SECOND / c("time")).to_series().to_list()
    if len(rates) < FEWEST_HOSTS or max(rates) >= FASTEST or max(rates) > min(rates) * ALIKE:
        return None
    rate = sum(rates) / len(rates)
    expected = c("time") * rate / SECOND
    contradicts = hosts.filter(~clear & ((c("ticks") - expected).abs() > expected * (ALIKE - 1) + ROUNDED)).height
    is_common = any(abs(one - common) <= common / NEAR for one in rates for common in COMMON)
    return None if contradicts or is_common else rate


def _may_be_replay(connections: pl.LazyFrame) -> bool:
    """Return whether some clock is slow and none is fast; this check is cheap, and few captures pass it."""
    slow, fast = pl.lit(value=False), pl.lit(value=False)
    for side in ("client", "server"):
        is_fast = c(f"{side}_ticks") * SECOND >= FASTEST * c(f"{side}_tick_time")
        clear = c(f"{side}_ticks") >= FEWEST_TICKS
        fast |= (clear & is_fast).any()
        slow |= (c(f"{side}_ticks").is_not_null() & ~is_fast).any()
    return bool(connections.select(slow & ~fast).collect().item())


def _clocks(connections: pl.LazyFrame, side: str) -> pl.LazyFrame:
    """Return the ticks of one side of each connection, and the time in ns in which they passed, by host."""
    ticks, time = c(f"{side}_ticks").alias("ticks"), c(f"{side}_tick_time").alias("time")
    return connections.select(c(side).str.replace(r":\d+$", "").alias("host"), ticks, time).filter(c("ticks").is_not_null())


def drop_timed(found: Mapping[str, pl.DataFrame], modules: Mapping[str, RuleModule]) -> dict[str, pl.DataFrame]:
    """Return the candidates (rule name -> rows) that do not depend on times, without the time that they lost."""
    return {name: _untimed(modules[name], rows) for name, rows in found.items()}


def _untimed(module: RuleModule, rows: pl.DataFrame) -> pl.DataFrame:
    if module.is_about_capture:
        return rows
    kept = rows if module.family in UNTIMED else rows.filter(is_timeless(module, rows))
    if "delay" not in kept.columns:
        return kept
    return kept.with_columns(pl.lit(None, kept.schema["delay"]).alias("delay"))


def replay_text(rate: float) -> str:
    """Return the sentence that says why no finding depends on times."""
    return (
        f"the TCP timestamps of all hosts advance by only {rate:.0f} ticks in a second of the capture: it is a replay that is "
        "slower than the original connections, so no finding depends on times"
    )

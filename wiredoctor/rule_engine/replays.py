"""Recognize a replay: a capture whose times are not those at which the hosts sent its packets.

A host's TCP timestamps (TSval, RFC 7323) count the ticks of its clock, usually 1,000 per second. If the clocks of all hosts are
slow to the same degree, the packets were sent faster than the capture says. Then no time in the capture is a wait of a host.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from wiredoctor.rule_engine.clock_steps import is_timeless
from wiredoctor.rule_engine.rule_module import ABOUT_CAPTURE, RuleModule

SECOND = 1_000_000_000
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

c = pl.col


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
    if module.family == ABOUT_CAPTURE:
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

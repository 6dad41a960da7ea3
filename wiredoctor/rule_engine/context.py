"""Where a candidate belongs: what it says of itself, and what the time says that it covers."""

from __future__ import annotations

import polars as pl

from wiredoctor.tables import NEVER


def with_exchanges(core: pl.DataFrame, timed: pl.Expr, exchanges: pl.LazyFrame) -> pl.DataFrame:
    """Candidates of which `timed` says so, and that name none, get the exchange that waited in their time.

    That is the one whose request was first seen in that time (it had been lost before the capture point), else the first
    that had begun and was not over when the time began; none where there is no such.
    """
    open_ones = core.filter(timed, pl.col("exchange").is_null()).drop_nulls(["connection", "start", "end"])
    if open_ones.is_empty():
        return core
    asked = open_ones.select("id", "connection", "start", "end")
    known = _spans(exchanges, asked)
    late = asked.sort("end").join_asof(
        known.sort("begin"), left_on="end", right_on="begin", by="connection", check_sortedness=False
    )
    first = asked.sort("start").join_asof(
        known.sort("over"), left_on="start", right_on="over", by="connection", strategy="forward", check_sortedness=False
    )
    c = pl.col
    found = (
        asked.select("id")
        .join(late.select("id", late=pl.when(c("begin") > c("start")).then("index")), on="id", how="left")
        .join(first.select("id", first=pl.when(c("begin") <= c("end")).then("index")), on="id", how="left")
        .select("id", pl.coalesce("late", "first").alias("found"))
    )
    joined = core.join(found, on="id", how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce("exchange", "found").alias("exchange")).drop("found")


def _spans(exchanges: pl.LazyFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """`connection`, `index`, `begin` and `over` (ns; the last possible time while an answer is due) of the exchanges there."""
    c = pl.col
    over = pl.when(c("response_end_reason") == "complete").then("response_end").fill_null(-NEVER)
    return (
        exchanges.join(asked.lazy(), on="connection", how="semi")
        .select(
            "connection",
            c("exchange").alias("index"),
            pl.coalesce("request_start", "response_start").alias("begin"),
            over.alias("over"),
        )
        .drop_nulls("begin")
        .collect()
        .sort("connection", "index")
        .with_columns(c("over").cum_max().over("connection"))
    )

"""Assign candidates to exchanges by time."""

from __future__ import annotations

import polars as pl

from wiredoctor.tables import NEVER, of_connections

c = pl.col


def with_exchanges(core: pl.DataFrame, timed: pl.Expr, exchanges: pl.LazyFrame) -> pl.DataFrame:
    """Assign an exchange to those candidates that have none and for which `timed` is true.

    If requests of the connection were first captured between the start and the end of the candidate, assign the exchange of the
    last of them. That may be the delayed request, if its first copy was lost before the capture point. If no request was captured
    in that time, assign the first exchange that had begun and had not ended at the start of the candidate. If there is none
    either, the column stays null.
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
    found = (
        asked.select("id")
        .join(late.select("id", late=pl.when(c("begin") > c("start")).then("index")), on="id", how="left")
        .join(first.select("id", first=pl.when(c("begin") <= c("end")).then("index")), on="id", how="left")
        .select("id", pl.coalesce("late", "first").alias("found"))
    )
    joined = core.join(found, on="id", how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce("exchange", "found").alias("exchange")).drop("found")


def _spans(exchanges: pl.LazyFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """Return the exchanges on the connections of `asked`: `connection`, `index` (in the connection), `begin` and `over` (ns).

    `over`: the time by which this exchange and all earlier ones of its connection had ended. It is -NEVER (later than any packet)
    if one of their responses was still incomplete when the connection ended. But a response whose framing has missing or
    contradictory bytes ("hole", "error") counts as ended when reading stopped, because it is unknown which later packets
    belong to it. A missing response ended before the response to a later request, because a server responds in order.
    """
    is_read = c("response_end_reason").is_in(["complete", "hole", "error"])
    answers = pl.when(c("request_start").is_not_null()).then(c("response_start"))
    later = answers.shift(-1).cum_min(reverse=True).backward_fill().over("connection") - 1
    over = pl.when(c("response_start").is_null()).then(later).when(is_read).then("response_end").fill_null(-NEVER)
    return (
        of_connections(exchanges, asked)
        .sort("connection", "exchange")
        .select(
            "connection",
            c("exchange").alias("index"),
            pl.coalesce("request_start", "response_start").alias("begin"),
            over.alias("over"),
        )
        .drop_nulls("begin")
        .collect()
        .with_columns(c("over").cum_max().over("connection"))
    )

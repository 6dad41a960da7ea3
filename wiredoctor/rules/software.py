"""Which software the two sides of a candidate run, as their own header fields say: remedies are written for it."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

FIELDS = {"client_software": ("request_user_agent", "request_method"), "server_software": ("response_server", "response_status")}
"""Column of a candidate -> columns of tables.EXCHANGES: User-Agent or Server, and one that is there when the message is."""


def with_software(core: pl.DataFrame, connections: pl.LazyFrame, exchanges: pl.LazyFrame) -> pl.DataFrame:
    """Adds the columns of FIELDS, from the exchange at hand where it has the message.

    Else (the lost request has no answer) from the last exchange of the connection that says it, or, where a candidate is
    about an endpoint, from the last exchange of that server, and of that client with it. A message that keeps silent about
    it is taken at its word.
    """
    core = core.with_columns(pl.col(field).alias(name) for name, (field, _) in FIELDS.items())
    for name in FIELDS:
        core = _filled(core, name, ["connection"], exchanges)
    if core["connection"].null_count():
        sides = connections.select("connection", "server", pl.col("client_host").alias("client"))
        placed = exchanges.join(sides, on="connection", how="inner")
        core = _filled(core, "server_software", ["server"], placed)
        core = _filled(core, "client_software", ["client", "server"], placed)
    return core


def _filled(core: pl.DataFrame, name: str, keys: Sequence[str], exchanges: pl.LazyFrame) -> pl.DataFrame:
    """What is not known yet, from the last of the exchanges with the same keys that says it."""
    field, there = FIELDS[name]
    missing = pl.col(field).is_null() | (pl.col(there).cast(pl.String).fill_null("") == "")
    unknown = missing & (pl.col(name).fill_null("") == "")
    if "connection" not in keys:
        unknown &= pl.col("connection").is_null()
    places = core.filter(unknown).select(keys).drop_nulls().unique()
    if places.is_empty():
        return core
    said = (
        exchanges.filter(pl.col(field).fill_null("") != "")
        .join(places.lazy(), on=keys, how="semi")
        .group_by(keys)
        .agg(pl.col(field).sort_by("connection", "exchange").last().alias("said"))
        .collect()
    )
    filled = core.join(said, on=keys, how="left", maintain_order="left")
    return filled.with_columns(pl.when(unknown).then("said").otherwise(name).alias(name)).drop("said")

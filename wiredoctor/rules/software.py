"""Which software the two sides of a candidate run, as their own header fields say: remedies are written for it."""

from __future__ import annotations

import polars as pl

FIELDS = {"client_software": ("request_user_agent", "request_method"), "server_software": ("response_server", "response_status")}
"""Column of a candidate -> columns of tables.EXCHANGES: User-Agent or Server, and one that is there when the message is."""


def with_software(core: pl.DataFrame, connections: pl.LazyFrame, exchanges: pl.LazyFrame) -> pl.DataFrame:
    """Adds the columns of FIELDS, from the exchange at hand where it has the message.

    Else (the lost request has no answer) from the last exchange of the connection that says it, or, where a candidate is
    about an endpoint, from the last exchange of that server. A message that keeps silent about it is taken at its word.
    """
    core = core.with_columns(pl.col(field).alias(name) for name, (field, _) in FIELDS.items())
    core = _filled(core, "connection", exchanges)
    if core["connection"].null_count():
        core = _filled(core, "server", exchanges.join(connections.select("connection", "server"), on="connection"))
    return core


def _filled(core: pl.DataFrame, key: str, exchanges: pl.LazyFrame) -> pl.DataFrame:
    """What is not known yet, from the exchanges with the same `key`."""
    wanted = core.filter(pl.any_horizontal(_unknown(name) for name in FIELDS))
    if key == "server":
        wanted = wanted.filter(pl.col("connection").is_null())
    places = wanted.select(key).drop_nulls().unique()
    if places.is_empty():
        return core
    said = exchanges.join(places.lazy(), on=key, how="semi").group_by(key).agg(_last(name) for name in FIELDS).collect()
    filled = core.join(said, on=key, how="left", maintain_order="left")
    fresh = [pl.when(_unknown(name)).then(f"{name}_last").otherwise(name).alias(name) for name in FIELDS]
    return filled.with_columns(fresh).drop(f"{name}_last" for name in FIELDS)


def _unknown(name: str) -> pl.Expr:
    field, there = FIELDS[name]
    missing = pl.col(field).is_null() | (pl.col(there).cast(pl.String).fill_null("") == "")
    return missing & (pl.col(name).fill_null("") == "")


def _last(name: str) -> pl.Expr:
    """The last of a group that is there, in the order of exchanges."""
    field, said = pl.col(FIELDS[name][0]), pl.col(FIELDS[name][0]).fill_null("") != ""
    return field.filter(said).sort_by(pl.struct("connection", "exchange").filter(said)).last().alias(f"{name}_last")

"""Which software the two sides of a candidate run, as their own header fields say: remedies are written for it.

A gateway passes fields of others on: its requests carry the User-Agent of its client, and its responses may carry the Server of
the server behind it. Then neither tells what it runs itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from wiredoctor.gateways import Gateways

FIELDS = {
    "client_software": ("request_user_agent", "request_method"),
    "server_software": ("response_server", "response_status"),
}
"""Column of a candidate -> columns of tables.EXCHANGES: User-Agent or Server, and one that is there when the message is."""


def with_software(
    core: pl.DataFrame, connections: pl.LazyFrame, exchanges: pl.LazyFrame, known: Gateways | None = None,
    passed: pl.DataFrame | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Adds the columns of FIELDS, from the exchange at hand where it has the message; `client_is_gateway`, and
    `gateway_software`, which the client shows in fields of its own. `known`: the gateways of the capture; `passed`: what
    `passed_on` says of them, where these exchanges are not all.

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
    known = known or Gateways()
    marked = _with_gateways(core, connections, exchanges, known)
    at_front = marked.filter(pl.col("server").is_in([*known.fronts]))["server_software"].drop_nulls()
    if at_front.is_empty():
        return marked
    return _without_forwarded_servers(marked, passed_on(known, connections, exchanges, at_front) if passed is None else passed)


def _with_gateways(
    core: pl.DataFrame, connections: pl.LazyFrame, exchanges: pl.LazyFrame, known: Gateways
) -> pl.DataFrame:  # fmt: skip
    """Candidates whose client is a gateway are marked, and lose the User-Agent of its clients."""
    c = pl.col
    if not known.clients:
        return core.with_columns(pl.lit(value=False).alias("client_is_gateway"), pl.lit("").alias("gateway_software"))
    of_gateway = c("connection").is_in(pl.Series(sorted(known.clients), dtype=pl.Int64).implode())
    places = connections.filter(of_gateway).select("server", c("client_host").alias("client")).unique().collect()
    pair = pl.struct("server", "client")
    by_host = pair.is_in(places.select(pair).to_series().implode()) & c("connection").is_null()
    marked = core.with_columns((of_gateway | by_host).fill_null(value=False).alias("client_is_gateway"))
    ids = marked.filter("client_is_gateway")["connection"].drop_nulls().unique()
    httpd = (
        exchanges.filter(c("connection").is_in(ids.implode()) & c("request_forwarded_server"))
        .select(c("connection").unique())
        .collect()["connection"]
    )
    return marked.with_columns(
        pl.when(~c("client_is_gateway")).then("client_software").alias("client_software"),
        pl.when(c("connection").is_in(httpd.implode())).then(pl.lit("httpd")).otherwise(pl.lit("")).alias("gateway_software"),
    )


def passed_on(
    known: Gateways, connections: pl.LazyFrame, exchanges: pl.LazyFrame, some: pl.Series | None = None
) -> pl.DataFrame:  # fmt: skip
    """Fronts of gateways (`server`), each with a Server field that it passed on from the server behind it (`server_software`);
    of `some` of these fields only."""
    c = pl.col
    wanted = c("response_server").fill_null("") != "" if some is None else c("response_server").is_in(some.unique().implode())
    tries = known.tries.lazy().filter(c("certain") & c("exchange").is_not_null())
    said = exchanges.filter(wanted).select("connection", "exchange", "response_server")
    behind = tries.join(said, on=["connection", "exchange"])
    front = ["front_connection", "front_exchange"]
    pairs = behind.join(said, left_on=[*front, "response_server"], right_on=["connection", "exchange", "response_server"])
    return (
        pairs.join(connections.select("connection", "server"), left_on="front_connection", right_on="connection")
        .select("server", c("response_server").alias("server_software"))
        .unique()
        .collect()
    )


def _without_forwarded_servers(core: pl.DataFrame, passed: pl.DataFrame) -> pl.DataFrame:
    """Candidates at the front of a gateway lose a Server that it passed on from the server behind it."""
    pair = pl.struct("server", "server_software")
    is_passed = pair.is_in(passed.select(pair).to_series().implode())
    return core.with_columns(pl.when(~is_passed).then("server_software").alias("server_software"))


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

"""Determine the software on both sides of a candidate from header fields, because remedies depend on it.

A gateway forwards header fields: its requests have the User-Agent of its client, and its responses may have the Server field of
the server behind it. Such a field does not describe the gateway.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from wiredoctor.gateways import Gateways
from wiredoctor.gateways.known import FRONT, KEY
from wiredoctor.tables import of_connections

c = pl.col

FIELDS = {"client_software": ("request_user_agent", "request_method"), "server_software": ("response_server", "response_status")}
"""For each software column of a candidate, two columns of tables.EXCHANGES.

The first column holds the field: User-Agent of the request, or Server of the response. The second column has a value if that
request or response was captured.
"""


def with_software(
    core: pl.DataFrame, connections: pl.LazyFrame, exchanges: pl.LazyFrame, known: Gateways | None = None,
    passed: pl.DataFrame | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Add the columns of FIELDS to candidates (the software of client and server), and `client_is_mixed`, `client_is_gateway`,
    `gateway_software` and, if a Server field was forwarded, `server_is_forwarded`.

    The software is taken from the field (User-Agent or Server) of the message in the candidate's own exchange; it is unknown if
    that message lacks the field. If the message itself is missing (a lost request has no response), the field is taken from the
    last message on the connection that has it.
    If a candidate has no connection, the last exchange of its server is used for the Server field. The User-Agent is then taken
    from the candidate's column `user_agent` (empty: the client sends none). If that column is null, the User-Agent is known only
    if all exchanges between this client and this server have the same one; if they have several, `client_is_mixed` is true.
    `gateway_software` is known from the gateway's own requests. `known`: the gateways of the capture. `passed`: the result of
    `passed_on`, required if `exchanges` is not complete.
    """
    agent = c("user_agent") if "user_agent" in core.columns else pl.lit(None, pl.String).alias("user_agent")
    core = core.with_columns(
        pl.coalesce("request_user_agent", agent).alias("client_software"),
        c("response_server").alias("server_software"),
        agent,
        pl.lit(value=False).alias("client_is_mixed"),
    )
    for name in FIELDS:
        core = _fill_from_exchanges(core, name, ["connection"], exchanges)
    if core["connection"].null_count():
        sides = connections.select("connection", "server", pl.col("client_host").alias("client"))
        placed = exchanges.join(sides, on="connection", how="inner")
        core = _fill_from_exchanges(core, "server_software", ["server"], placed)
        core = _fill_from_exchanges(core, "client_software", ["client", "server"], placed)
    known = known or Gateways()
    marked = _with_gateways(core, connections, exchanges, known)
    at_front = marked.filter(pl.col("server").is_in([*known.fronts]))["server_software"].drop_nulls()
    if at_front.is_empty():
        return marked
    return _without_forwarded_servers(marked, passed_on(known, connections, exchanges, at_front) if passed is None else passed)


def _with_gateways(
    core: pl.DataFrame, connections: pl.LazyFrame, exchanges: pl.LazyFrame, known: Gateways
) -> pl.DataFrame:  # fmt: skip
    """Mark candidates whose client is a gateway, and remove their `client_software`, because a gateway forwards its clients'
    User-Agent.
    """
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
    """Return the Server fields that gateways forwarded from the servers behind them.

    The columns are `server`, the endpoint of the gateway, and `server_software`, a field that it forwarded. If `some` is given,
    only these values of the field are examined.
    """
    wanted = c("response_server").fill_null("") != "" if some is None else c("response_server").is_in(some.unique().implode())
    tries = known.tries.lazy().filter(c("certain") & c("exchange").is_not_null())
    said = exchanges.filter(wanted).select(*KEY, "response_server")
    behind = tries.join(said, on=KEY)
    pairs = behind.join(said, left_on=[*FRONT, "response_server"], right_on=[*KEY, "response_server"])
    return (
        pairs.join(connections.select("connection", "server"), left_on="front_connection", right_on="connection")
        .select("server", c("response_server").alias("server_software"))
        .unique()
        .collect()
    )


def _without_forwarded_servers(core: pl.DataFrame, passed: pl.DataFrame) -> pl.DataFrame:
    """Remove the Server field from candidates about a gateway's responses if the gateway forwarded that field from a server.

    `server_is_forwarded` marks these candidates. `passed`: the result of `passed_on`.
    """
    pair = pl.struct("server", "server_software")
    is_passed = pair.is_in(passed.select(pair).to_series().implode())
    return core.with_columns(
        pl.when(~is_passed).then("server_software").alias("server_software"),
        is_passed.fill_null(value=False).alias("server_is_forwarded"),
    )


def _fill_from_exchanges(core: pl.DataFrame, name: str, keys: Sequence[str], exchanges: pl.LazyFrame) -> pl.DataFrame:
    """Fill in unknown values of the column `name` from the last exchange with the same `keys` that has the field."""
    field, there = FIELDS[name]
    missing = pl.col(field).is_null() | (pl.col(there).cast(pl.String).fill_null("") == "")
    unknown = missing & (pl.col(name).fill_null("") == "")
    if "connection" not in keys:
        unknown &= pl.col("connection").is_null()
    if "client" in keys:
        unknown &= pl.col("user_agent").is_null()
    places = core.filter(unknown)
    if places.is_empty() or (places := places.select(keys).drop_nulls().unique()).is_empty():
        return core
    newest = pl.col(field).sort_by("connection", "exchange").last()
    several = pl.lit(value=False)
    if "client" in keys:  # a host may run several programs, and the finding may be about any of them
        several = pl.col(field).n_unique() > 1
        newest = pl.when(~several).then(newest)
    rows = of_connections(exchanges, places) if keys == ["connection"] else exchanges
    said = (
        rows.filter(pl.col(field).fill_null("") != "")
        .join(places.lazy(), on=keys, how="semi")
        .group_by(keys)
        .agg(newest.alias("said"), several.alias("several"))
        .collect()
    )
    filled = core.join(said, on=keys, how="left", maintain_order="left")
    mixed = c("client_is_mixed") | (unknown & c("several").fill_null(value=False))
    said_by = pl.when(unknown).then("said").otherwise(name)
    return filled.with_columns(said_by.alias(name), mixed.alias("client_is_mixed")).drop("said", "several")

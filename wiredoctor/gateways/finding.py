"""Find the exchanges at the front and at the back of gateways in one capture."""

from __future__ import annotations

import polars as pl

from wiredoctor.gateways.known import Gateways


def find(exchanges: pl.LazyFrame, connections: pl.LazyFrame, *, possible: bool = False) -> Gateways:
    """Pair the exchanges of a capture with one clock; the arguments are rows of tables.EXCHANGES and tables.CONNECTIONS.

    With `possible`, also return every pair that nothing contradicts. Most captures contain no gateway, so the pairing code is
    only imported if there may be one.
    """
    asked = exchanges.filter("has_request")
    seen = asked.select(
        pl.col("endpoint").min() != pl.col("endpoint").max(),
        pl.col("request_forwarded").any().alias("forwarded"),
        (pl.col("request_user_agent") != pl.col("request_user_agent").first()).any().alias("agents"),
    )
    several, forwarded, agents = seen.collect().row(0)
    if several is None:
        return Gateways()
    clients = _speak_for_several(asked) if forwarded or agents else frozenset[int]()
    from wiredoctor.gateways.attempts import attempts

    tried = attempts(connections)
    if not several and not tried:
        return Gateways(clients=clients)
    from wiredoctor.gateways.pairs import pairs

    return pairs(asked, connections, tried, clients, possible=possible)


def _speak_for_several(asked: pl.LazyFrame) -> frozenset[int]:
    """Return the connections whose requests show that their client forwards requests of others."""
    agent = pl.col("request_user_agent")
    several = (agent.filter(agent != "").n_unique() > 1) | pl.col("request_forwarded").any()
    of_each = asked.group_by("connection").agg(several.alias("several"))
    return frozenset(of_each.filter("several").collect()["connection"].to_list())

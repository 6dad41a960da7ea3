"""Pair the exchanges on the client side and on the server side of gateways in one capture."""

from __future__ import annotations

import polars as pl

from wiredoctor.gateways.known import Gateways


def find(exchanges: pl.LazyFrame, connections: pl.LazyFrame, *, possible: bool = False) -> Gateways:
    """Pair the exchanges of gateways' clients with the requests that the gateways made for them.

    The arguments are rows of tables.EXCHANGES and tables.CONNECTIONS of one capture, whose times come from one clock. With
    `possible`, also return every pair that nothing contradicts. Most captures contain no gateway, so the pairing code is only
    imported if there may be one.
    """
    asked = exchanges.filter("has_request")
    facts = asked.select(
        pl.col("endpoint").min() != pl.col("endpoint").max(),
        pl.col("request_forwarded").any().alias("forwarded"),
        (pl.col("request_user_agent") != pl.col("request_user_agent").first()).any().alias("agents"),
    )
    seen, failed = pl.collect_all([facts, _failed_attempts(connections)])
    several, forwarded, agents = seen.row(0)
    if several is None:
        return Gateways()
    clients = _forwarding_clients(asked) if forwarded or agents else frozenset[int]()
    if not several:
        # if there is a gateway, it is the only server that got requests; its attempts to connect went to other servers
        if not failed.is_empty():
            failed = failed.filter(~pl.col("server").is_in(_servers(connections).implode()))
        if failed.is_empty():
            return Gateways(clients=clients)
    from wiredoctor.gateways.attempts import attempts
    from wiredoctor.gateways.pairs import pairs

    return pairs(asked, connections, attempts(failed), clients, possible=possible)


def _failed_attempts(connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return the connections without data whose SYN was refused or never answered."""
    c = pl.col
    failed = c("refused_frame").is_not_null() | c("first_answer_frame").is_null()
    some = connections.filter(c("syn_time").is_not_null() & (c("exchanges") == 0) & (c("client_bytes") == 0) & failed)
    return some.select("connection", "server", "client_host", "syn_time", "last_syn_time", "refused_time")


def _servers(connections: pl.LazyFrame) -> pl.Series:
    """Return the servers that got requests."""
    return connections.filter(pl.col("exchanges") > 0).select("server").unique().collect()["server"]


def _forwarding_clients(asked: pl.LazyFrame) -> frozenset[int]:
    """Return the connections whose requests have several User-Agents or fields of proxies, so the client is a gateway."""
    agent = pl.col("request_user_agent")
    several = (agent.filter(agent != "").n_unique() > 1) | pl.col("request_forwarded").any()
    of_each = asked.group_by("connection").agg(several.alias("several"))
    return frozenset(of_each.filter("several").collect()["connection"].to_list())

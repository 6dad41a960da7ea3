"""Pair the exchanges on the client side and on the server side of gateways in one capture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from wiredoctor.gateways.equal_events import has_events, with_equal_events
from wiredoctor.gateways.known import FIRST, Gateways
from wiredoctor.tables import MILLISECOND
from wiredoctor.world.attempts import host_of

if TYPE_CHECKING:
    from polars._typing import EngineType

    from wiredoctor.gateways.order import Evidence

c = pl.col

OPENED_BY = 50 * MILLISECOND
"""The maximum time (ns, plus four round trips to the client) that a relay takes to connect to the server after its client has
connected to it.

The round trips are those of the TCP and TLS handshakes, which some relays complete first.
"""

CLOSED_BY = 5 * MILLISECOND
"""The maximum time (ns, plus two round trips to the client) between the closes of a relay's two connections."""

MAX_COMPARED = 1000
"""The maximum number of connections of each kind (a relay's to servers, and its clients' to it) that are compared."""


def find(
    exchanges: pl.LazyFrame, connections: pl.LazyFrame, *, possible: bool = False, gaps: Sequence[tuple[int, int]] = (),
    corrections: Sequence[int] = (), evidence: Evidence | None = None,
) -> Gateways:  # fmt: skip
    """Pair the exchanges of gateways' clients with the requests that the gateways made for them.

    The arguments are rows of tables.EXCHANGES and tables.CONNECTIONS of one capture, whose times come from one clock. With
    `possible`, also return every pair that nothing contradicts. `gaps`: the times (since, until, in ns) of which no packet was
    analyzed; no pair is certain if a client waited for its response then. `corrections`: the times (ns) by which the clocks of
    several hosts were corrected; a connection of a host to itself may still need any of these. `evidence`: the rows are only some
    of a capture that goes on; which endpoints are gateways is decided by what is added to this object. Most captures contain no
    gateway, so the pairing code is only imported if there may be one.
    """
    asked = exchanges.filter("has_request")
    facts = asked.select(
        pl.col("endpoint").min() != pl.col("endpoint").max(),
        pl.col("request_forwarded").any().alias("forwarded"),
        (pl.col("request_user_agent") != pl.col("request_user_agent").first()).any().alias("agents"),
        pl.col("request_start").bottom_k(FIRST).max().alias("begun"),
        has_events().sum().alias("streams"),
    )
    engine: EngineType = "streaming" if evidence is None else "in-memory"  # of a live capture, the rows are few
    seen, failed, *ends = pl.collect_all(
        [facts, _failed_attempts(connections), *_ends_of_relays(asked, connections)], engine=engine
    )
    several, forwarded, agents, begun, streams = seen.row(0)
    if several is None:
        return Gateways()
    clients = _forwarding_clients(asked, engine) if forwarded or agents else frozenset[int]()
    relayed = _relayed(*ends)
    clients |= relayed.keys()
    if not several and evidence is None:
        # if there is a gateway, it is the only server that got requests; its attempts to connect went to other servers
        if not failed.is_empty():
            failed = failed.filter(~pl.col("server").is_in(_servers(connections).implode()))
        if failed.is_empty():
            return Gateways(clients=clients, relayed=relayed)
    from wiredoctor.gateways.attempts import attempts
    from wiredoctor.gateways.pairs import pairs

    made = pairs(
        asked, connections, attempts(failed), clients, begun, possible=possible, gaps=gaps,
        corrections=corrections, evidence=evidence,
    )  # fmt: skip
    made = made._replace(relayed=relayed)
    return with_equal_events(made, asked, connections) if streams > 1 and not corrections else made


def _failed_attempts(connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return the connections without data whose SYN was refused or never answered."""
    failed = c("refused_frame").is_not_null() | c("first_answer_frame").is_null()
    some = connections.filter(c("syn_time").is_not_null() & (c("exchanges") == 0) & (c("client_bytes") == 0) & failed)
    return some.select("connection", "server", "client_host", "syn_time", "last_syn_time", "refused_time")


def _ends_of_relays(asked: pl.LazyFrame, connections: pl.LazyFrame) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Return the connections that may be those of a relay to servers, and those that may be its clients' connections to it.

    A relay for TCP or TLS opens a connection to the server for each connection of its clients, and closes both together. The
    client's connection is encrypted, or not HTTP/1. If the client closed it first, the relay only followed.
    """
    first = c("server_close_time").is_null() | (c("server_close_time") > c("client_close_time"))
    left = asked.filter(first, ~(c("has_response") & (c("response_end_reason") == "complete")).fill_null(value=False))
    closes = left.group_by("connection").agg(c("client_close_time").max().alias("closed")).drop_nulls()
    opened = connections.filter(c("syn_time").is_not_null())
    fronts = opened.filter(c("protocol").is_in(["tls", "http2", "unknown"]), c("closed_by").is_in(["server", "both"]))
    ends = ("connection", "client_host", "server", "syn_time", "client_bytes", "server_bytes")
    return (
        opened.select(ends).join(closes, on="connection").bottom_k(MAX_COMPARED, by=["closed", "connection"]),
        fronts.select(*ends, "end", "rtt_client").bottom_k(MAX_COMPARED, by=["end", "connection"]),
    )


def _relayed(backs: pl.DataFrame, outer: pl.DataFrame) -> dict[int, int]:
    """Return the connections that a relay closed before it had the response, each with the relay's connection to its client.

    `backs`, `outer`: the rows of `_ends_of_relays`.
    """
    if backs.is_empty() or outer.is_empty():
        return {}
    trip = c("rtt_client").fill_null(0)
    outer = outer.select(
        pl.all().name.prefix("outer_"),
        (c("syn_time") + OPENED_BY + 4 * trip).alias("opened_by"),
        (c("end") - CLOSED_BY - 2 * trip).alias("closed_from"),
        (c("end") + CLOSED_BY).alias("closed_to"),
    )
    both = backs.join_where(
        outer,
        c("outer_syn_time") <= c("syn_time"),
        c("syn_time") <= c("opened_by"),
        c("closed_from") <= c("closed"),
        c("closed") <= c("closed_to"),
    )
    # a relay passes on all bytes; TLS adds some
    fits = (c("client_bytes") <= c("outer_client_bytes")) & (c("server_bytes") <= c("outer_server_bytes"))
    server, relay = host_of("server"), host_of("outer_server")
    fits &= (c("client_host") != c("outer_client_host")) & ((server != relay) | (c("client_host") == relay))
    alone = (pl.len().over("connection") == 1) & (pl.len().over("outer_connection") == 1)
    return dict(both.filter(fits).filter(alone).select("connection", "outer_connection").iter_rows())


def _servers(connections: pl.LazyFrame) -> pl.Series:
    """Return the servers that got requests."""
    return connections.filter(pl.col("exchanges") > 0).select("server").unique().collect()["server"]


def _forwarding_clients(asked: pl.LazyFrame, engine: EngineType) -> frozenset[int]:
    """Return the connections whose requests have several User-Agents or fields of proxies, so the client is a gateway."""
    agent = pl.col("request_user_agent")
    several = (agent.filter(agent != "").n_unique() > 1) | pl.col("request_forwarded").any()
    of_each = asked.group_by("connection").agg(several.alias("several"))
    return frozenset(of_each.filter("several").collect(engine=engine)["connection"].to_list())

"""Find the connections that a gateway failed to open, and the requests of its clients for which it tried to open them.

A connection without a request does not show for which exchange it was made. The gateway's host, routes and times decide.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence, Set

import polars as pl

from wiredoctor.gateways.known import GATEWAY_ERRORS, LATE, LONE_SYN, SLACK, Place
from wiredoctor.gateways.tries import Front, Route
from wiredoctor.world.attempts import host_of
from wiredoctor.world.exchange import Attempt, Connection, Exchange

c = pl.col

CONNECTED_WITHIN = 25_000_000
"""The maximum time in ns from a request to the connection that a gateway opens for it.

It is also the maximum time from the failure of that connection to the gateway's response. The longest measured time is 21 ms.
"""
CONNECTED_LATE = 250_000_000
"""The same as CONNECTED_WITHIN, for busy machines. It applies if other requests show that the route leads to the server of the
attempt."""


def assign_attempts(
    fronts: Mapping[Place, Front], loose: Mapping[str, Sequence[Attempt]], routes: Mapping[Place, str],
    known: Mapping[Route, Set[str]] | None = None,
) -> dict[Place, Front]:  # fmt: skip
    """Return `fronts` (clients' exchanges with gateways), with attempts assigned to those exchanges that have no try.

    Tries are explained in gateways/tries.py. An attempt is a try without a request: a connection that the gateway only opened.
    `loose`: for each gateway, the attempts whose request is unknown. `routes`: for each exchange, the part of its request by
    which the gateway chooses a server. `known`: the servers to which a route has led.

    If there were fewer attempts than exchanges, the gateway forwarded some requests to no server. Then each attempt is assigned
    to one exchange, preferably to an exchange whose route leads to that server. If several exchanges are left, a refused attempt
    is assigned to the exchange whose response came soonest after the refusal. An attempt that was never refused is assigned to
    the newest exchange.
    """
    without = {key: front.exchange for key, front in fronts.items() if not front.tries}
    in_order = {server: _InOrder(attempts) for server, attempts in loose.items()}
    some = {key: _possible_attempts(one, in_order.get(one.server)) for key, one in without.items()}
    servers = _servers_of_routes(fronts, routes, some, known or {})
    some |= _late_attempts(without, some, in_order, {key: servers.get(_route(fronts, routes, key)) or set() for key in without})
    owners: dict[int, list[Place]] = {}
    attempts: dict[int, Attempt] = {}
    for key, maybe in some.items():
        for one in maybe:
            owners.setdefault(one.ends.connection, []).append(key)
            attempts[one.ends.connection] = one
    taken: set[Place] = set()
    for number, one in sorted(attempts.items(), key=lambda item: item[1].started):
        if free := [key for key in owners[number] if key not in taken]:
            taken.add(min(free, key=lambda key: _distance(fronts[key].exchange, one, servers.get(_route(fronts, routes, key)))))
    made = {**fronts}
    for key, maybe in some.items():
        rivals = {rival for one in maybe for rival in owners[one.ends.connection]}
        few = len(maybe) < len(rivals)
        if maybe and (not few or key in taken):
            made[key] = Front(fronts[key].exchange, maybe, certain=False, guessed=few)
        elif maybe:
            made[key] = fronts[key]._replace(guessed=True)
        elif _tried_later(fronts[key].exchange, loose.get(fronts[key].exchange.server, ())):
            made[key] = Front(fronts[key].exchange, (), certain=False)
    return made


def _route(fronts: Mapping[Place, Front], routes: Mapping[Place, str], key: Place) -> Route:
    return fronts[key].exchange.server, routes.get(key, "")


def _servers_of_routes(
    fronts: Mapping[Place, Front],
    routes: Mapping[Place, str],
    maybe: Mapping[Place, Sequence[Attempt]],
    known: Mapping[Route, Set[str]],
) -> dict[Route, set[str]]:
    """Return the servers to which each route is known to lead; an empty set if the gateway itself answered the requests of the
    route.

    A route is the endpoint of a gateway and the part of the request by which the gateway chooses a server. `maybe`: the attempts
    that may belong to each exchange. Exchanges with such attempts do not show where their route leads. `known`: servers of routes
    that are known already.
    """
    servers = {route: {*some} for route, some in known.items()}
    for key, front in fronts.items():
        if front.certain and not maybe.get(key):
            servers.setdefault(_route(fronts, routes, key), set()).update(one.server for one in front.tries)
    return servers


def _distance(front: Exchange, one: Attempt, servers: set[str] | None) -> tuple[int, int]:
    """Return a sort key: an attempt was probably made for the exchange with the lowest key.

    Exchanges whose route leads to the attempt's server come first, then those whose `servers` are unknown (None). Among these,
    the nearest in time comes first.
    """
    apart = 1 if servers is None else 0 if one.server in servers else 2
    return apart, front.answered - one.refused if one.refused < LATE else one.started - front.asked


def _tried_later(front: Exchange, some: Sequence[Attempt]) -> bool:
    """Return whether one of the gateway's late attempts may belong to this exchange.

    This is possible if the exchange waited long for its response, and the attempt began during this wait, long before the
    response.
    """
    slow = front.answered - front.asked >= LONE_SYN
    return slow and any(front.asked <= one.started <= front.answered - LONE_SYN for one in some)


def _late_attempts(
    without: Mapping[Place, Exchange],
    some: Mapping[Place, Sequence[Attempt]],
    loose: Mapping[str, _InOrder],
    servers: Mapping[Place, Set[str]],
) -> dict[Place, tuple[Attempt, ...]]:
    """Return the late attempts of a busy gateway, by exchange, for exchanges without attempts in `some`.

    These attempts went to a server of the exchange's route, and fit no other exchange. `servers`: for each exchange, the servers
    to which its route is known to lead.
    """
    taken = {one.ends.connection for maybe in some.values() for one in maybe}
    late: dict[Place, tuple[Attempt, ...]] = {}
    for key, front in without.items():
        if servers[key] and not some[key]:
            maybe = _possible_attempts(front, loose.get(front.server), CONNECTED_LATE)
            late[key] = tuple(one for one in maybe if one.server in servers[key] and one.ends.connection not in taken)
    return {key: maybe for key, maybe in late.items() if maybe}


class _InOrder:
    """Attempts to connect that are looked up by the time of their first SYN."""

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        self._attempts = attempts
        self._numbers = sorted(range(len(attempts)), key=lambda number: attempts[number].started)
        self._times = [attempts[number].started for number in self._numbers]

    def between(self, since: int, until: int) -> list[Attempt]:
        """Return the attempts that began between `since` and `until` (ns), in the order in which they were given."""
        first, last = bisect_left(self._times, since), bisect_right(self._times, until)
        return [self._attempts[number] for number in sorted(self._numbers[first:last])]


def _possible_attempts(front: Exchange, some: _InOrder | None, within: int = CONNECTED_WITHIN) -> tuple[Attempt, ...]:
    """Return the attempts to connect in `some` that may belong to this exchange, for which no request to a server is known.

    `within`: the time in ns in which a gateway opens a connection for a request, or responds after its failure.
    """
    if some is None or (front.begun and not front.is_error):
        return ()
    made: list[Attempt] = []
    for one in some.between(front.asked - SLACK, front.answered + SLACK):
        begun = one.started
        soon = begun <= front.asked + within
        if one.refused < LATE:
            fits = one.refused <= front.answered + SLACK and (soon or one.refused >= front.answered - within)
        else:
            fits = soon and front.answered - begun >= LONE_SYN
        if fits:
            made.append(one)
    return tuple(made)


def likely_fronts(told: pl.LazyFrame, vain: pl.LazyFrame, repeated: pl.LazyFrame) -> pl.LazyFrame:
    """Return exchanges that suggest that their server is a gateway.

    The server responded with a status that gateways use, and its host failed to open a connection. If client and server are one
    host, the client may be a known gateway, and its failed connections may belong to other requests. So an exchange of such a
    host does not count if it is in `repeated`: there the gateway got a good response in the end.
    """
    unknown = told.filter(c("known").is_null(), c("try_connection").is_null(), c("response_status").is_in(GATEWAY_ERRORS))
    elsewhere = unknown.filter(host_of("client") != host_of("server"))
    local = unknown.filter(host_of("client") == host_of("server")).join(repeated, on=["connection", "exchange"], how="anti")
    unknown = pl.concat([elsewhere, local])
    return unknown.with_columns(host_of("server").alias("client_host"), likely=pl.lit(value=True)).join(
        vain, on="client_host", how="semi"
    )


def failed_connections(tries: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    failed = (c("exchanges") == 0, c("client_bytes") == 0, c("syn_time").is_not_null(), c("first_answer_time").is_null())
    return connections.filter(*failed).join(tries, on="connection", how="anti")


def unassigned_attempts(
    tries: pl.LazyFrame, connections: pl.LazyFrame, vain: pl.LazyFrame, likely: pl.LazyFrame
) -> pl.LazyFrame:  # fmt: skip
    """Return a row for each failed connection (`vain`) of a host that is probably a gateway.

    It is unknown for which request the gateway opened the connection. `loose_of`: the gateway's address and port as a server.
    `likely`: exchanges with servers that are probably gateways.
    """
    hosts = hosts_of_gateways(tries, connections)
    hosts = pl.concat([hosts, likely.select("client_host", c("server").alias("loose_of"))]).unique()
    named = {name: f"try_{name}" for name in Connection._fields}
    return (
        vain.join(hosts, on="client_host")
        .filter(c("server") != c("loose_of"))
        .select("loose_of", *named)
        .rename(named)
        .sort("try_syn_time")
        .head(MAX_LOOSE)
    )


def hosts_of_gateways(tries: pl.LazyFrame, connections: pl.LazyFrame) -> pl.LazyFrame:
    """Return the host from which each gateway (`loose_of`: its address and port as a server) contacts servers."""
    sides = connections.select("connection", "client_host", "server")
    return (
        tries.filter("certain")
        .join(sides.select("connection", "client_host"), on="connection")
        .join(sides.select(c("connection").alias("front_connection"), c("server").alias("loose_of")), on="front_connection")
        .select("client_host", "loose_of")
    )


def asked_others(
    lone: pl.LazyFrame, tries: pl.LazyFrame, closes: pl.LazyFrame, connections: pl.LazyFrame
) -> pl.LazyFrame:  # fmt: skip
    """Return the exchanges of `lone` for which the gateway may have made another request, with `asked_others` = true.

    `lone`: clients' exchanges with gateways, without tries. The other request differs from the client's, so it is not a try: a
    subrequest to an authorization service, a call of an application, or a protocol other than HTTP. It began soon after the
    client's request, or it was the last to begin and the gateway failed soon after its end. Requests at other times may be health
    checks.
    """
    closed = pl.min_horizontal("client_close_time", "server_close_time")
    asked = pl.coalesce("request_end", "request_start")
    began = pl.when("has_response").then("response_start")
    waits = lone.select(
        *("connection", "exchange", "server"), asked.alias("asked"), pl.coalesce(began, closed, asked).alias("answered")
    )
    hosts = hosts_of_gateways(tries, connections).unique()
    hosts = hosts.join(waits.select(c("server").alias("loose_of")).unique(), on="loose_of", how="semi")
    of_host = connections.join(hosts, on="client_host").filter(c("server") != c("loose_of")).cache()
    requests = (
        closes.filter("has_request", c("request_start").is_not_null())
        .join(of_host.select("connection", "loose_of"), on="connection")
        .join(tries, on=["connection", "exchange"], how="anti")
        .select(
            c("loose_of").alias("server"), c("request_start").alias("start"), pl.coalesce("response_end", closed).alias("over")
        )
    )
    others = (
        of_host.filter(c("exchanges") == 0, c("client_bytes") > 0, c("syn_time").is_not_null())
        .join(tries, on="connection", how="anti")
        .select(c("loose_of").alias("server"), c("syn_time").alias("start"), c("end").alias("over"))
    )
    made = pl.concat([requests, others], how="vertical_relaxed").sort("start").cache()
    first = made.select("server", c("start").alias("first_start"))
    last = made.select("server", c("start").alias("last_start"), c("over").alias("last_over"))
    waits = waits.with_columns((c("asked") - SLACK).alias("after")).sort("after")
    waits = waits.join_asof(
        first, left_on="after", right_on="first_start", by="server", strategy="forward", check_sortedness=False, coalesce=False
    )
    waits = waits.with_columns((c("answered") + SLACK).alias("until")).sort("until")
    waits = waits.join_asof(last, left_on="until", right_on="last_start", by="server", check_sortedness=False, coalesce=False)
    soon = c("first_start") <= pl.min_horizontal(c("asked") + CONNECTED_WITHIN, c("answered") + SLACK)
    awaited = (c("last_start") >= c("asked") - SLACK) & (c("last_over") >= c("answered") - CONNECTED_WITHIN).fill_null(value=True)
    return waits.filter(soon | awaited).select("connection", "exchange", asked_others=pl.lit(value=True)).unique()


def failed_at_once(front: Front) -> bool:
    """Return whether one of the gateway's attempts to connect was never answered, or the gateway responded right after a refusal.

    If the response comes later, the supposed gateway is probably an application that did something else in between.
    """
    refused = [one.refused for one in front.tries if isinstance(one, Attempt)]
    return bool(refused) and (max(refused) == LATE or front.exchange.answered - max(refused) <= CONNECTED_WITHIN)


MAX_LOOSE = 10_000
"""The maximum number of connections of unknown purpose that are examined because a gateway may have opened them."""

"""Find failed connections that a gateway opened to serve an exchange of its client."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from wiredoctor.gateways.exchange_columns import NO_STATUS, Rows, host_code
from wiredoctor.gateways.known import GATEWAY_ERRORS, LATE, LONE_SYN, SERVER_ERROR, SLACK
from wiredoctor.tables import MILLISECOND, Array
from wiredoctor.world.attempts import host_of

MAX_OPEN = 400
"""The maximum number of exchanges, newest first, that are searched for the exchange that caused an attempt to connect."""

MAX_ATTEMPTS = 10_000
"""The maximum number of failed attempts to connect that are examined per capture."""

RELAY = 50 * MILLISECOND
"""The maximum time in ns between a client's connection to a TCP relay and the relay's connection to a server.

A relay connects before it gets a request. RELAY is also the maximum time from a refused connection to a gateway's response.
"""


class FailedConnection(NamedTuple):
    """An attempt to connect that failed: its SYN was refused or never answered, so the connection has no request.

    Hosts and endpoints are numbers, as in Rows. `time`, `last`: the times of the first and of the last SYN, in ns since the first
    packet. `refused`: the time of the RST that refused the SYN (ns); LATE if no RST came.
    """

    connection: int
    server: int
    server_host: int
    client_host: int
    time: int
    last: int
    refused: int


def attempts(failed: pl.DataFrame) -> list[FailedConnection]:
    """Return the first MAX_ATTEMPTS of these failed connections, in time order."""
    c = pl.col
    made = failed.sort("syn_time", "connection").head(MAX_ATTEMPTS).select(
        "connection",
        c("server").hash().reinterpret(signed=True),
        host_code(host_of("server")).reinterpret(signed=True).alias("server_host"),
        host_code(c("client_host")).reinterpret(signed=True).alias("client_host"),
        "syn_time",
        pl.coalesce("last_syn_time", "syn_time"),
        c("refused_time").fill_null(LATE),
    )  # fmt: skip
    return [FailedConnection(*row) for row in made.iter_rows()]


class Gateway(NamedTuple):
    """The facts about gateways that are known before failed attempts are assigned to exchanges.

    `front`: the rows of exchanges with the gateways' clients. `hosts`: for each endpoint of a gateway, the hosts from which it
    connects to servers. `tries`: for each row in `front`, the rows of the gateway's requests for it.
    """

    front: Array
    hosts: Mapping[int, frozenset[int]]
    tries: Mapping[int, Sequence[int]]


def owners(found: Sequence[FailedConnection], rows: Rows, gateway: Gateway) -> dict[int, int]:
    """Return for each attempt the row of the client's exchange for which the gateway made the attempt.

    Keys of the result are indexes into `found`. Attempts for which this exchange is uncertain are left out.
    """
    front = np.sort(gateway.front)
    starts, last = rows.start[front], np.maximum.accumulate(rows.answered[front])
    first = front[rows.opened[front] < LATE]
    first = first[np.argsort(rows.opened[first], kind="stable")]
    opened = rows.opened[first]
    made: dict[int, int] = {}
    for place, one in enumerate(found):
        begin, end = int(np.searchsorted(last, one.time - SLACK)), int(np.searchsorted(starts, one.time + SLACK, side="right"))
        open_ = front[max(begin, end - MAX_OPEN) : end]
        open_ = open_[(rows.head[open_] - SLACK <= one.time) & (one.time <= rows.answered[open_] + SLACK)]
        if some := _of_host(one, rows, open_, gateway.hosts):
            free = [row for row in some if _is_free(one, rows, gateway.tries.get(row, ()))]
            failed = [row for row in free if _is_failed(rows, row)]
            # if a front got a response, the gateway tried another server, or the attempt belongs to another front
            chosen = failed if len(failed) == 1 or len(free) > 1 else free
        else:
            begin, end = (int(n) for n in np.searchsorted(opened, (one.time - RELAY, one.time + 1)))
            some = _of_host(one, rows, first[begin:end], gateway.hosts)
            alone = len(some) == 1
            some = [row for row in some if rows.start[row] >= one.time]
            waited = [row for row in some if _waited(one, rows, gateway.tries.get(row, ()))]
            chosen = waited or ([row for row in some if _is_failed(rows, row)] if alone else [])
        # a server that is not a gateway connects to other servers for its own purposes
        if len(chosen) == 1 and (int(rows.server[chosen[0]]) in gateway.hosts or rows.status[chosen[0]] in GATEWAY_ERRORS):
            made[place] = chosen[0]
    # if nothing else shows a gateway, the response must come at once: an application may send a 502 for any reason
    ended: dict[int, int] = {}
    for place, row in made.items():
        ended[row] = max(ended.get(row, 0), found[place].refused)
    late = {row for row, refused in ended.items() if refused != LATE and rows.answered[row] - refused > RELAY}
    late = {row for row in late if int(rows.server[row]) not in gateway.hosts}
    return {place: row for place, row in made.items() if row not in late}


def other_addresses(
    found: Sequence[FailedConnection], rows: Rows, tries: Mapping[int, Sequence[int]], known: Collection[int]
) -> dict[int, set[int]]:
    """Return, for each endpoint of a gateway, other hosts (addresses) from which the gateway probably connects to servers.

    Only failed attempts were captured from these hosts. All attempts began while the endpoint had open requests that it later
    answered with 502, 503 or 504. Another host may fail to connect at the same time by chance. Therefore an attempt must have
    begun soon after one of these requests. The endpoint must have sent its response to this request soon after the same or a
    later attempt was refused, unless that attempt got no answer.

    A TCP relay sends no response of its own: it closes the connection. In this case, an attempt must have begun soon after the
    client's connection, and the endpoint must have closed soon after a refusal.

    `tries`: for each row of a client's exchange, the rows of the gateway's requests for it. If one of these was open, too, the
    attempt belongs to it. `known`: the hosts of all exchanges.
    """
    relayed = (rows.status == NO_STATUS) & (rows.silent != 0) & (rows.dropped < rows.left) & (rows.opened < LATE)
    failed = np.flatnonzero(np.isin(rows.status, GATEWAY_ERRORS) | relayed)
    since = np.where(relayed, rows.opened, rows.head)
    asked: set[int] = set()
    closed: set[int] = set()
    endpoints: dict[int, set[int]] = {}
    begun: dict[int, set[int]] = {}
    ended: dict[int, set[int]] = {}
    starts = rows.start[failed]
    has_tries = np.zeros(len(rows), bool)
    has_tries[[*tries]] = True
    for one in found:
        if one.client_host in known:
            continue
        # a relay connects before it gets the request
        end = int(np.searchsorted(starts, one.time + RELAY, side="right"))
        some = failed[max(end - MAX_OPEN, 0) : end]
        some = some[(since[some] - SLACK <= one.time) & (one.time <= rows.answered[some] + SLACK)]
        some = some[rows.server[some] != one.server]
        if outer := [row for row in some[has_tries[some]].tolist() if np.isin(tries[row], some).any()]:
            some = some[~np.isin(some, outer)]
        endpoints.setdefault(one.client_host, {*rows.server[some].tolist()}).intersection_update(rows.server[some].tolist())
        answered = (one.refused == LATE) | (rows.answered[some] - one.refused <= RELAY)
        soon = one.time - since[some] <= RELAY
        begun.setdefault(one.client_host, set()).update(some[soon & ~relayed[some]].tolist())
        ended.setdefault(one.client_host, set()).update(some[answered & ~relayed[some]].tolist())
        if (soon & relayed[some]).any():
            asked.add(one.client_host)
        if (answered & relayed[some]).any() and one.refused < LATE:
            closed.add(one.client_host)
    made: dict[int, set[int]] = {}
    prompt = {host for host, rows_begun in begun.items() if rows_begun & ended[host]}
    for host in prompt | (asked & closed):
        if len(endpoints[host]) == 1:
            made.setdefault(endpoints[host].pop(), set()).add(host)
    return made


def _of_host(one: FailedConnection, rows: Rows, some: Array, hosts: Mapping[int, frozenset[int]]) -> list[int]:
    """Return the rows in `some` of exchanges whose server may be the gateway that made this attempt.

    `hosts`: for each endpoint of a gateway, the hosts from which it connects to servers.
    """
    return [
        row
        for row in some.tolist()
        if (server := int(rows.server[row])) != one.server
        and (one.client_host in hosts.get(server, ()) or one.client_host == rows.server_host[row])
    ]


def _is_free(one: FailedConnection, rows: Rows, tries: Sequence[int]) -> bool:
    """Return whether none of the requests `tries` was open during an attempt to connect.

    For an exchange of its client, a gateway makes only one request or attempt at a time.
    """
    return not any(rows.start[b] <= one.last and one.time < rows.over[b] for b in tries)


def _waited(one: FailedConnection, rows: Rows, tries: Sequence[int]) -> bool:
    """Return whether a relay waited for an answer to this attempt before it connected for the earliest request in `tries`."""
    opened = min((rows.opened[b] for b in tries), default=LATE)
    return one.refused == LATE and one.last < opened < LATE and bool(opened - one.time >= LONE_SYN)


def _is_failed(rows: Rows, row: int) -> bool:
    return bool(rows.status[row] == NO_STATUS or rows.status[row] >= SERVER_ERROR)

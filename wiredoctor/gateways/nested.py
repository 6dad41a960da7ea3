"""Read only those exchanges of a long capture that a gateway may connect with others, some time at a time.

A gateway's request to a server begins while the exchange with the gateway's client is open, and its target ends like that of the
client. Most exchanges of most captures lie in no such exchange at another endpoint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import polars as pl

from wiredoctor.gateways.attempts import RELAY
from wiredoctor.gateways.exchange_columns import Rows, Totals, places_of, read_some, target_code, unended
from wiredoctor.gateways.known import LATE, SLACK
from wiredoctor.gateways.order import running_most
from wiredoctor.tables import MILLISECOND, Array, of_connections

c = pl.col

TOGETHER = 50_000
"""The number of exchanges that are in memory at a time, in addition to those that are open for longer, and to the result."""
STEP = 100 * MILLISECOND
"""The time in ns to which the limits between these parts are rounded."""


class StoredExchanges:
    """All exchanges with a request of a capture, as they are stored."""

    def __init__(self, asked: pl.LazyFrame, connections: pl.LazyFrame) -> None:
        self._asked, self._connections = asked, connections

    def totals(self) -> Totals:
        """Return the number of exchanges of each client host at each endpoint, and the hosts of the endpoints."""
        counts = self._asked.group_by("connection").agg(pl.len().alias("exchanges")).collect(engine="streaming")
        places = places_of(of_connections(self._connections, counts)).select("connection", "server", "client_host", "server_host")
        rows = counts.join(places.collect(), on="connection")
        of_each = rows.group_by("server", "client_host").agg(c("exchanges").sum())
        hosts = rows.group_by("server").agg(c("server_host").unique())
        return Totals(
            Counter({(_signed(server), _signed(host)): count for server, host, count in of_each.iter_rows()}),
            {_signed(server): frozenset(map(_signed, some)) for server, some in hosts.iter_rows()},
        )

    def targets(self, servers: Array) -> Array:
        """Return the distinct hashes of the targets at the endpoints `servers`."""
        places = places_of(self._connections).select("connection", c("server").reinterpret(signed=True))
        mine = places.filter(c("server").is_in(pl.Series(servers, dtype=pl.Int64).implode())).select("connection").collect()
        found = of_connections(self._asked, mine).select(target_code().alias("target")).unique().collect(engine="streaming")
        return np.unique(found["target"].to_numpy().view(np.int64))

    def nested(self, times: Array) -> Rows:
        """Return the exchanges that `may_be_related` selects. `times` (ns): when failed attempts to connect began, in order."""
        kept: list[Rows] = []
        carried, wanted = None, np.zeros(0, bool)
        for rows, end in self._parts():
            some = rows if carried is None else _join([carried, rows])
            related = may_be_related(some, times)
            related[: len(wanted)] |= wanted
            # later exchanges may lie in these, or begin just before they do
            open_ = np.maximum(some.answered, some.start) >= end - SLACK
            kept.append(some.select(np.flatnonzero(related & ~open_)))
            carried, wanted = some.select(np.flatnonzero(open_)), related[open_]
        if carried is not None:
            kept.append(carried.select(np.flatnonzero(wanted)))
        found = _join(kept)
        return found.select(np.lexsort((found.exchange, found.connection, found.start)))

    def _parts(self) -> Iterator[tuple[Rows, int]]:
        """Yield the exchanges in time order, and the time (ns) at which the following part begins."""
        following = unended(self._asked)
        start = c("request_start").fill_null(0)
        counts = self._asked.group_by((start // STEP).alias("step")).agg(pl.len().alias("rows")).collect(engine="streaming")
        begin, held = -LATE, 0
        limits: list[int] = []
        for step, rows in counts.sort("step").iter_rows():
            if held and held + rows > TOGETHER:
                limits.append(step * STEP)
                held = 0
            held += rows
        for end in (*limits, LATE):
            yield read_some(self._asked.filter((start >= begin) & (start < end)), self._connections, following), end
            begin = end


def may_be_related(rows: Rows, times: Array) -> Array:
    """Return for each exchange whether it may lie in an exchange at another endpoint, or such an exchange in it.

    `rows`: exchanges in time order, at least one. Only times and the ends of the targets are compared. Exchanges that were open
    near one of `times` (ns, in order) also count.
    """
    codes = np.unique(rows.tail, return_inverse=True)[1]
    place = np.argsort(codes, kind="stable")
    codes, start, answered, server = codes[place], rows.start[place], rows.answered[place], rows.server[place]
    # the times are in order, so this is faster than np.unique and than searching for them later
    known = rows.start[np.append(True, rows.start[1:] != rows.start[:-1])]
    earliest = np.searchsorted(known, rows.start - SLACK)[place]
    latest = np.searchsorted(known, rows.start + SLACK, side="right")[place]
    base = codes * (len(known) + 1)
    by_start = base + np.searchsorted(known, rows.start)[place]
    count = len(place)
    # for each exchange, the index of the next one at another endpoint or with another target
    same = (server[1:] == server[:-1]) & (codes[1:] == codes[:-1])
    ends = np.where(np.append(~same, True)[:count], np.arange(1, count + 1), count)
    others = np.minimum.accumulate(ends[::-1])[::-1]
    first = np.searchsorted(by_start, base + earliest)
    inner = np.where(server[first] == server, others[first], first)
    exists = inner < count
    inner = np.minimum(inner, count - 1)
    outside = exists & (codes[inner] == codes) & (start[inner] <= answered + SLACK)
    last = running_most(np.where(outside, answered, -LATE), codes)
    newest = np.searchsorted(by_start, base + latest) - 1
    related = np.zeros(count, bool)
    related[place] = outside | (last[newest] >= start - SLACK)
    return related | _is_any(times, rows.start - RELAY, rows.answered + SLACK) | _is_any(times, rows.opened, rows.opened + RELAY)


def _is_any(times: Array, first: Array, last: Array) -> Array:
    """Return for each pair of limits whether one of `times`, in ascending order, is between them."""
    return np.searchsorted(times, first) < np.searchsorted(times, last, side="right")


def _join(parts: list[Rows]) -> Rows:
    return Rows(*(np.concatenate([getattr(rows, one.name) for rows in parts]) for one in fields(Rows)))


def _signed(number: int) -> int:
    """Return an unsigned hash as the signed number with the same bits."""
    return number - (1 << 64) if number >= 1 << 63 else number

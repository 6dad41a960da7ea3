"""Find the possible pairs of an exchange on a gateway's client side (front) and an exchange on its server side (back).

A pair is possible if nothing contradicts it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from wiredoctor.gateways.exchange_columns import NO_STATUS, Rows
from wiredoctor.gateways.known import LATE, SERVER_ERROR, SLACK
from wiredoctor.gateways.order import Order, are_tied, names_client, running_most
from wiredoctor.tables import Array

MAX_OPEN = 400
"""The maximum number of clients' exchanges (fronts) with the same key that are compared with a request of a gateway."""

MAX_POSSIBLE = 64
"""The maximum number of client requests (fronts) that a gateway may have forwarded as one request (back); with more, the
right client request cannot be determined.
"""

MAX_EDGES = 300_000
"""The maximum number of possible pairs whose back (a gateway's request) has several possible fronts (clients' exchanges).

Later backs of this kind are paired by time order.
"""

PAIRS_AT_ONCE = 1_000_000
"""The number of pairs of exchanges that are compared at a time."""

FORWARDED = ("agent", "referer", "content_type", "credentials")
"""The request fields that a gateway either forwards unchanged or drops."""

_HEAD, _GET = pl.Series(["HEAD", "GET"]).hash().to_numpy().view(np.int64).tolist()


class Edges(NamedTuple):
    """The possible pairs as row numbers: a request that a gateway sent (`back`), and a client's exchange that may have caused it
    (`front`).

    `crowded`: the gateways' requests that have too many possible fronts, so they are left out of the pairs. `doubted`: for each
    row of Rows, whether its exchange may have caused one of the requests in `crowded`.
    """

    back: Array
    front: Array
    crowded: Array
    doubted: Array


class Fronts:
    """The exchanges on the client sides of gateways (fronts), sorted by key and then by time.

    A key is the hash of a target, or of its last path segment. An exchange whose path the gateway may rewrite has several keys.
    """

    def __init__(self, rows: Rows, key: Array, front: Array) -> None:
        place = np.lexsort((rows.start[front], key))
        self.key, self.front = key[place], front[place]
        self.known, codes = np.unique(self.key, return_inverse=True)
        starts, last = rows.start[self.front], running_most(rows.answered[self.front], codes)
        self._starts, self._ends = np.unique(starts), np.unique(last)
        self._by_start = codes * (len(self._starts) + 1) + np.searchsorted(self._starts, starts)
        self._by_end = codes * (len(self._ends) + 1) + np.searchsorted(self._ends, last)

    def around(self, rows: Rows, key: Array, back: Array) -> tuple[Array, Array]:
        """Return a range of indices into `self.front` for each exchange in `back`: two arrays, the starts and the ends.

        The range contains the exchanges with the same key that began earlier and may still be open, at most MAX_OPEN of them. It
        may be empty. `key`: the key of each exchange in `back`.
        """
        code = np.minimum(np.searchsorted(self.known, key), max(len(self.known) - 1, 0))
        exists = self.known[code] == key
        begun = np.searchsorted(self._starts, rows.start[back] + SLACK, side="right")
        ended = np.searchsorted(self._ends, rows.start[back] - SLACK)
        stop = np.searchsorted(self._by_start, code * (len(self._starts) + 1) + begun)
        first = np.searchsorted(self._by_end, code * (len(self._ends) + 1) + ended)
        return np.where(exists, np.maximum(first, stop - MAX_OPEN), 0), np.where(exists, stop, 0)


class Allowed:
    """The known triples: a gateway's endpoint, the endpoint of a server behind it, and a host from which the gateway connects."""

    def __init__(self, order: Order) -> None:
        triples = [(a, b, host) for (a, b), behind in order.items() for host in behind.hosts]
        self._known = [np.unique(np.array(column, np.int64)) for column in zip(*triples, strict=True)]
        self._triples = np.unique(self._code([np.array(column, np.int64) for column in zip(*triples, strict=True)])[0])
        tied = [(a, b, host) for (a, b), behind in order.items() if behind.tied for host in behind.hosts]
        self._tied = (
            np.unique(self._code([np.array(column, np.int64) for column in zip(*tied, strict=True)])[0]) if tied else None
        )

    def _code(self, columns: list[Array]) -> tuple[Array, Array]:
        code, exists = np.zeros(len(columns[0]), np.int64), np.ones(len(columns[0]), bool)
        for column, known in zip(columns, self._known, strict=True):
            place = np.minimum(np.searchsorted(known, column), len(known) - 1)
            exists &= known[place] == column
            code = code * len(known) + place
        return code, exists

    def among(self, rows: Rows, back: Array, front: Array) -> Array:
        """Return, for each pair of rows, whether the server of exchange `front` may be the gateway that sent the request `back`.

        This is true if a gateway at the server's endpoint is known to connect from the client host of `back` to the server of
        `back`.
        """
        code, exists = self._code([rows.server[front], rows.server[back], rows.client_host[back]])
        exists &= np.isin(code, self._triples)
        if self._tied is not None:
            exists &= ~np.isin(code, self._tied) | are_tied(rows, back, front)
        return exists


class ForwardedFor:
    """Decides which pairs of rows are contradicted by X-Forwarded-For or Forwarded in the gateway's request.

    If a gateway names its TCP clients in such a field, the field contradicts each pair with another client. But some gateways
    write another address, which they know from the PROXY protocol or from their configuration. To tell the two kinds of gateways
    apart, `count` counts for each gateway how often a pair names the client.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        servers, self._server = np.unique(rows.server, return_inverse=True)
        # the clients' exchanges at each server with a request behind it that names the client, minus those without one
        self._naming = np.zeros(len(servers), np.int64)

    def count(self, b: Array, f: Array) -> tuple[Array, Array]:
        """Count possible pairs, and return those of them that are not contradicted.

        All pairs of each request in `b` have to be counted at the same time.
        """
        names, differs = self._compare(b, f)
        left = ~(differs & np.isin(b, b[names]))
        named, others = np.unique(f[names]), np.unique(f[left & differs])
        np.add.at(self._naming, self._server[named], 1)
        np.subtract.at(self._naming, self._server[np.setdiff1d(others, named)], 1)
        left &= ~self.contradicts(b, f)
        return b[left], f[left]

    def contradicts(self, b: Array, f: Array) -> Array:
        """Return, for each pair of rows, whether the request `b` names another client at a gateway that names its clients."""
        return self._compare(b, f)[1] & (self._naming[self._server[f]] >= 0)

    def _compare(self, b: Array, f: Array) -> tuple[Array, Array]:
        """Return, for each pair of rows, whether the request `b` names the client of `f`, and whether it names another one."""
        r = self._rows
        exists = r.forwarded[b] != 0
        names = names_client(r, b, f) | (exists & (r.forwarded[b] == r.forwarded[f]))
        return names, exists & ~names


def edges(rows: Rows, fronts: Fronts, key: Array, back: Array, allowed: Allowed, named: ForwardedFor) -> Edges:
    """Return the possible pairs of a back (a gateway's request) and a front (its client's exchange).

    `key`: the key of each row in `back` (see Fronts).
    """
    ones: list[tuple[Array, Array]] = []
    crowded: list[Array] = [back[:0]]
    doubted = np.zeros(len(rows), bool)
    ambiguous = 0
    for b, f in possible_pairs(rows, fronts, key, back, allowed, named):
        distinct, place, counts = np.unique(b, return_inverse=True, return_counts=True)
        many = counts > (MAX_POSSIBLE if ambiguous < MAX_EDGES else 1)
        kept = ~many[place]
        doubted[f[~kept]] = True
        crowded.append(distinct[many])
        ambiguous += int(counts[~many & (counts > 1)].sum())
        ones.append((b[kept], f[kept]))
    b, f = (np.concatenate([*some, back[:0]]) for some in zip(*ones, strict=True)) if ones else (back[:0], back[:0])
    return Edges(b, f, np.concatenate(crowded), doubted)


def possible_pairs(
    rows: Rows, fronts: Fronts, key: Array, back: Array, allowed: Allowed, named: ForwardedFor
) -> Iterator[tuple[Array, Array]]:
    """Yield batches of possible pairs (see `possible` and ForwardedFor): the row numbers of backs, and those of their fronts.

    A back is an exchange on the server side of a gateway, a front an exchange on its client side. All pairs of a back are in the
    same batch. `key`: the key of each row in `back` (see Fronts).
    """
    first, stop = fronts.around(rows, key, back)
    counts = np.maximum(stop - first, 0)
    upto = np.cumsum(counts)
    at = 0
    while at < len(back):
        done = int(upto[at - 1]) if at else 0
        end = max(int(np.searchsorted(upto, done + PAIRS_AT_ONCE, side="right")), at + 1)
        some = counts[at:end]
        total = int(some.sum())
        within = np.arange(total) - np.repeat(np.cumsum(some) - some, some)
        b = np.repeat(back[at:end], some)
        f = fronts.front[np.repeat(first[at:end], some) + within]
        fits = allowed.among(rows, b, f)
        b, f = b[fits], f[fits]
        fits = possible(rows, b, f)
        b, f = np.divmod(np.unique(b[fits] * len(rows) + f[fits]), len(rows))
        yield named.count(b, f)
        at = end


def possible(r: Rows, b: Array, f: Array) -> Array:
    """Return, for each pair of rows, whether a gateway may have sent the request `b` for the client's request `f`.

    Targets, and the addresses in X-Forwarded-For or Forwarded, are not compared.
    """
    asked = (r.method[f] == r.method[b]) | ((r.method[f] == _HEAD) & (r.method[b] == _GET))
    inside = (r.head[f] - SLACK <= r.start[b]) & (r.start[b] <= r.answered[f] + SLACK)
    good = asked & inside & (r.connection[b] != r.connection[f])
    # a gateway does not forward a response that began after it had given up the request
    passed_on = (r.status[f] != NO_STATUS) & (r.status[f] == r.status[b]) & ~r.is_given_up[b]
    answered = passed_on & (r.status[f] < SERVER_ERROR)
    # two gateways in a row with equal timeouts each send their own response
    stayed = r.gone[f] > r.began[f]
    good &= ~(answered & (r.began[b] > r.began[f] + SLACK) & stayed)
    # a gateway that has responded no longer waits for the server
    closed = (r.silent[b] == 1) & (r.dropped[b] <= r.left[b]) & (r.dropped[b] < LATE)
    good &= ~(closed & (r.dropped[b] > r.answered[f] + SLACK))
    good &= ~_differ(r.length, b, f, -1)
    good &= ~(answered & stayed & (r.encoding[b] == r.encoding[f]) & (r.method[f] != _HEAD) & _differ(r.content, b, f, -1))
    for name in FORWARDED:
        good &= ~_differ(getattr(r, name), b, f, 0)
    # a gateway may replace the page of an error (nginx: auth_request, proxy_intercept_errors)
    return good & ~(answered & _differ(r.response_type, b, f, 0))


def _differ(values: Array, b: Array, f: Array, none: int) -> Array:
    one, other = values[b], values[f]
    return (one != none) & (other != none) & (one != other)

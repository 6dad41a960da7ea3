"""Which endpoint is before which: exchanges that lie in one another vote."""

from __future__ import annotations

from collections import Counter

import numpy as np

from wiredoctor.gateways.rows import LATE, NO_STATUS, SLACK, Rows, groups
from wiredoctor.tables import Array

MOST_OPEN = 400
"""Exchanges of one method and target before an exchange among which the one around it is looked for."""

SHARE = 10
"""A host that has less than one vote in so many of the busiest one is no gateway: it asks the server behind by itself."""

END_TO_END = ("agent", "referer", "content_type", "credentials")
"""Fields that gateways pass on, as far as tables.EXCHANGES has them."""

Order = dict[tuple[int, int], frozenset[int]]
"""Endpoint and the one behind it -> the hosts from which the gateway asks that."""

_Vote = tuple[int, int, int]
"""Endpoint, the one behind it, the client host of that."""


def order(rows: Rows) -> Order:
    """The endpoints of gateways and those behind them.

    Where paths are rewritten, only their ends are alike: these count for endpoints of which whole targets say nothing.
    """
    if len(np.unique(rows.server)) < 2:
        return {}
    votes, open_ = _votes(rows, groups(rows.method, rows.target))
    asked = Counter(zip(rows.server.tolist(), rows.client_host.tolist(), strict=True))
    elected = _elected(votes, asked)
    of_ends, _ = _votes(rows, groups(rows.method, rows.tail))
    ends = _elected(of_ends, asked)
    if elected:
        fronts, backs = {a for a, _ in elected}, {b for _, b in elected}
        most = _of_most(of_ends, rows)
        ends = Counter({(a, b): n for (a, b), n in ends.items() if a not in fronts and b not in backs and b in most})
    votes += Counter({vote: n for vote, n in of_ends.items() if vote[:2] in ends})
    elected |= ends
    asking = {(before, host) for before, behind, host in votes if (before, behind) in elected}
    more = Counter({vote: n for vote, n in open_.items() if (vote[0], vote[2]) in asking and vote[:2] not in elected})
    votes += more
    elected |= _elected(more, asked)
    direct = _without_chains(_without_siblings(elected))
    return {pair: _hosts(votes, pair) for pair in direct}


def _votes(rows: Rows, group: Array) -> tuple[Counter[_Vote], Counter[_Vote]]:
    """For each exchange the newest one of its group and of another endpoint in which it lies; apart from the others those of two
    that are both open when the capture ends, of which nobody knows how they go on."""
    place = np.argsort(group, kind="stable")
    r, group = rows.of(place), group[place]
    # when the last of all up to this one is over: what begins later lies in none of them
    last = running_most(r.answered, group)
    left = np.arange(len(r))
    votes: Counter[_Vote] = Counter()
    open_: Counter[_Vote] = Counter()
    for lag in range(1, MOST_OPEN + 1):
        left = left[left >= lag]
        around = left - lag
        same = (group[around] == group[left]) & (last[around] >= r.start[left] - SLACK)
        left, around = left[same], around[same]
        if not len(left):
            break
        lies = _lies_in(r, left, around)
        known = (r.answered[left] < LATE) | (r.answered[around] < LATE)
        for some, chosen in ((votes, lies & known), (open_, lies & ~known)):
            inside, outside = left[chosen], around[chosen]
            some.update(zip(r.server[outside].tolist(), r.server[inside].tolist(), r.client_host[inside].tolist(), strict=True))
        left = left[~lies]
    return votes, open_


def running_most(values: Array, group: Array) -> Array:
    """The largest value so far in each group; groups ascend."""
    known, codes = np.unique(values, return_inverse=True)
    base = group * len(known)
    return known[np.maximum.accumulate(base + codes) - base]


def _lies_in(r: Rows, x: Array, y: Array) -> Array:
    # a client that asks several servers for the same is no gateway
    hosts = (r.client_host[y] != r.client_host[x]) | (r.client_host[x] == r.server_host[y])
    opened = (r.head[y] - SLACK <= r.start[x]) & (r.start[x] <= r.answered[y] + SLACK)
    # two servers that were asked one after the other are no chain; a gateway may give up behind later than in front
    given_up = (r.status[x] == NO_STATUS) & (r.left[x] <= r.dropped[x])
    over = (r.answered[x] <= r.answered[y] + SLACK) | given_up
    sent, same = np.zeros(len(x), np.int64), np.zeros(len(x), np.int64)
    for name in END_TO_END:
        one, other = getattr(r, name)[y], getattr(r, name)[x]
        sent += one != 0
        same += (one != 0) & (one == other)
    return (r.server[x] != r.server[y]) & hosts & opened & over & (2 * same >= sent)


def _elected(votes: Counter[_Vote], asked: Counter[tuple[int, int]]) -> Counter[tuple[int, int]]:
    """Pairs of endpoints with their votes, in the order for which a larger share votes of those who could.

    Of several servers behind a busy gateway each has fewer exchanges than the front, and many of the front begin while it works.
    """
    total: Counter[tuple[int, int]] = Counter()
    could: Counter[tuple[int, int]] = Counter()
    for (before, behind, host), n in votes.items():
        total[before, behind] += n
        could[before, behind] += asked[behind, host]
    return Counter({(a, b): n for (a, b), n in total.items() if n * could.get((b, a), 1) > total.get((b, a), 0) * could[a, b]})


def _of_most(votes: Counter[_Vote], rows: Rows) -> set[int]:
    """Endpoints most of whose exchanges lie in others: what only ends alike may do so by chance."""
    servers, counts = np.unique(rows.server, return_counts=True)
    asked = dict(zip(servers.tolist(), counts.tolist(), strict=True))
    inside: Counter[int] = Counter()
    for (_, behind, _), n in votes.items():
        inside[behind] += n
    return {server for server, n in inside.items() if n >= 2 and 2 * n >= asked[server]}


SIBLINGS = 4
"""A server that has less than one vote in so many, compared with the gateway before both, is beside the other, not before it."""


def _without_siblings(elected: Counter[tuple[int, int]]) -> Counter[tuple[int, int]]:
    """A gateway that gives one server up for another asks the second while the first still works: that makes no chain of them."""
    return Counter(
        {
            (a, b): n
            for (a, b), n in elected.items()
            if not any(behind == a and SIBLINGS * n < elected.get((before, b), 0) for before, behind in elected)
        }
    )


def _without_chains(elected: Counter[tuple[int, int]]) -> list[tuple[int, int]]:
    """What is passed on by a third is not passed on directly."""
    behind: dict[int, list[int]] = {}
    for a, b in elected:
        behind.setdefault(a, []).append(b)
    return [
        (a, c) for (a, c), n in elected.items() if not any(elected.get((b, c), 0) >= n and elected[a, b] >= n for b in behind[a])
    ]


def _hosts(votes: Counter[_Vote], pair: tuple[int, int]) -> frozenset[int]:
    own = {host: n for (before, behind, host), n in votes.items() if (before, behind) == pair}
    return frozenset(host for host, n in own.items() if SHARE * n >= max(own.values()))

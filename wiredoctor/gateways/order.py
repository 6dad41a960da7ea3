"""Determine which endpoints are gateways, and for which other endpoints.

The exchanges of a gateway's clients often enclose the exchanges that the gateway has with a server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from wiredoctor.gateways.exchange_columns import NO_STATUS, Rows, Totals, groups
from wiredoctor.gateways.known import LATE, SERVER_ERROR, SLACK
from wiredoctor.tables import MESSAGE_BITS, MILLISECOND, SECOND, Array

MAX_OPEN = 400
"""The maximum number of earlier exchanges with the same method and target that are searched for the enclosing exchange."""

T = TypeVar("T")

SHARE = 10
"""A host counts as an address of the gateway if it has at least 1/SHARE of the votes (see _Vote) of the host with the most.

Hosts with fewer votes use the server directly.
"""

END_TO_END = ("agent", "referer", "content_type", "credentials")
"""The columns of Rows with request fields that gateways usually forward unchanged."""

KEPT = 30 * SECOND
"""The time in ns for which Evidence remembers that it has counted an exchange. Exchanges that are older are not counted."""

LEAST_TIED = 2
"""The minimum number of requests that prove that an endpoint forwards some of its requests to another one."""

FORWARDED_WITHIN = 50 * MILLISECOND
"""The maximum time (ns) after which a gateway forwards a response, once it has received all of it.

It is only compared on a single host, where addresses do not tell clients from gateways.
"""


LOCAL_SHARE = 0.75
"""The minimum share of an endpoint's exchanges with a host that lie within exchanges of the gateway there.

Of two siblings that are asked at the same time, and answer equally fast, one lies within the other in half of the cases. It is
compared on a single host, and where the responses show no gateway.
"""


class BehindGateway(NamedTuple):
    """An endpoint behind a gateway.

    `hosts`: the hosts from which the gateway connects to it. `tied`: only requests that show by themselves for which request
    they were made (see `are_tied`) are the gateway's, because the two endpoints also serve each other's clients.
    """

    hosts: frozenset[int]
    tied: bool = False


Order = dict[tuple[int, int], BehindGateway]
"""What is known of an endpoint behind a gateway, by (gateway's endpoint, endpoint behind it)."""

_Vote = tuple[int, int, int]
"""A vote: an exchange that lies within an exchange at another endpoint, which makes that endpoint look like a gateway.

It consists of the gateway's endpoint, the endpoint behind it, and the host that connected to the endpoint behind it.
"""


class Votes(NamedTuple):
    """Counted votes.

    `ended`: the votes; `open`: votes of exchanges that are both still open at the end of the capture, because their ends are
    unknown. The other counters count some of the votes again. `tied`: see `are_tied`. `named`: the inner request names the client
    of the outer one. `answered`: both exchanges were answered. `alike`: with what may be the same response, though perhaps in
    another outer exchange than that of the vote. `prompt`: the outer one at most FORWARDED_WITHIN later, too.
    """

    ended: Counter[_Vote]
    open: Counter[_Vote]
    tied: Counter[_Vote]
    named: Counter[_Vote]
    answered: Counter[_Vote]
    alike: Counter[_Vote]
    prompt: Counter[_Vote]

    @classmethod
    def none(cls) -> Votes:
        """Return counters without votes."""
        return cls(*(Counter[_Vote]() for _ in cls._fields))

    def plus(self, other: Votes) -> Votes:
        """Return the sums of the counts."""
        return Votes(*(one + more for one, more in zip(self, other, strict=True)))

    def credible(self, votes: Counter[_Vote], totals: Totals) -> Counter[_Vote]:
        """Return `votes` without those that more speaks against than for.

        Clients that ask several servers for the same target are no gateways, although some of their exchanges lie within others.
        """
        requests: Counter[int] = Counter()
        for (server, _), n in totals.asked.items():
            requests[server] += n
        forwarding = {(vote[0], vote[2]) for vote, n in self.answered.items() if 2 * self.alike[vote] >= n > 0}
        likely = Counter(
            {vote: n for vote, n in votes.items() if 2 * self.tied[vote] >= n or not self._is_doubtful(vote, totals, forwarding)}
        )
        few = {
            (before, behind)
            for (before, behind), n in _by_endpoints(likely).items()
            if SHARE * n < min(requests[before], requests[behind])
        }
        return Counter({vote: n for vote, n in likely.items() if vote[:2] not in few or vote[2] in totals.hosts.get(vote[0], ())})

    def _is_doubtful(self, vote: _Vote, totals: Totals, forwarding: set[tuple[int, int]]) -> bool:
        """`forwarding`: the endpoints that forward responses, each with the host that connects to the endpoint behind it."""
        before, behind, host = vote
        mostly = self.ended[vote] + self.open[vote] >= LOCAL_SHARE * totals.asked[behind, host]
        # a service that calls others for its responses is no gateway, although its exchanges enclose their exchanges; but a
        # gateway may also ask a server for permission (nginx: auth_request)
        if 2 * self.alike[vote] < self.answered[vote] and not (mostly and (before, host) in forwarding):
            return True
        if host not in totals.hosts.get(before, ()):
            return (before, host) in totals.asked
        # on a single host, each endpoint may be a client of each other one, and siblings are asked at the same time
        return host in totals.hosts.get(behind, ()) and (not mostly or 2 * self.prompt[vote] < self.answered[vote])

    def of_peers(self) -> Order:
        """Return the endpoints that forward requests to each other.

        Requests that name the client of another request prove this, and requests in both directions that have the same request ID
        as another one. In a chain of gateways, such requests all go in one direction.
        """
        tied, named = (_by_endpoints(some) for some in (self.tied, self.named))
        sure = {(a, b) for (a, b), n in tied.items() if named[a, b] >= LEAST_TIED or min(n, tied[b, a]) >= LEAST_TIED}
        hosts: dict[tuple[int, int], set[int]] = {}
        for a, b, host in self.tied:
            hosts.setdefault((a, b), set()).add(host)
        return {pair: BehindGateway(frozenset(hosts[pair]), tied=True) for pair in sorted(sure)}


def order(rows: Rows, totals: Totals | None = None) -> Order:
    """Return which endpoints are behind which gateway, and from which hosts the gateway connects to them (see Order).

    An endpoint is behind a gateway if its requests lie within the gateway's exchanges with the same target. If a gateway
    rewrites paths, only the last path segments are equal. These segments are compared only for endpoints for which the complete
    targets show no gateway. `totals`: the facts about all exchanges, if `rows` are only some of them.
    """
    if len(np.unique(rows.server)) < 2:
        return {}
    every = np.ones(len(rows), bool)
    of_targets, of_ends = (Votes.plus(*_votes(rows, groups(rows.method, column), every)) for column in (rows.target, rows.tail))
    return _elect(of_targets, of_ends, totals or Totals.of(rows))


class Evidence:
    """What exchanges show about which endpoints are gateways, in a capture that goes on.

    Exchanges are added a few at a time, and each is counted once, when it is answered. So the votes are those that all of them
    together would have. `clock`: the time (ns) up to which exchanges are known at the next addition. `order`: as of the function
    `order`, at the last addition. `totals`: the facts about all exchanges that were counted, or are open.
    """

    def __init__(self, most: int) -> None:
        """`most`: the maximum number of counts of each kind; beyond it, the lowest are dropped."""
        self._most = most
        self.clock = LATE
        self._since = -LATE
        self._counted, self._answered = np.zeros(0, np.int64), np.zeros(0, np.int64)
        """The exchanges that were counted and answered after `_since`, as numbers, and when (ns)."""
        self.order: Order = {}
        self._votes, self._of_ends = Votes.none(), Votes.none()
        self._asked: Counter[tuple[int, int]] = Counter()
        self._hosts: dict[int, set[int]] = {}
        self.totals = Totals(Counter(), {})

    def add(self, rows: Rows) -> Order:
        """Count exchanges that are answered now, and return the new order. `rows`: all that may be, as they are known now."""
        number = (rows.connection << MESSAGE_BITS) + rows.exchange
        over = rows.answered < LATE
        counted = over & (rows.answered > self._since) & ~np.isin(number, self._counted)
        new, now = (Totals.of(rows.select(np.flatnonzero(some))) for some in (counted, ~over))
        self._since = self.clock - KEPT
        numbers, times = [self._counted, number[counted]], [self._answered, rows.answered[counted]]
        recent = np.concatenate(times) > self._since
        self._counted, self._answered = (np.concatenate(some)[recent] for some in (numbers, times))
        self._asked += new.asked
        for server, some in new.hosts.items():
            self._hosts.setdefault(server, set()).update(some)
        open_, open_of_ends = Votes.none(), Votes.none()
        if len(np.unique(rows.server)) > 1:
            votes, open_ = _votes(rows, groups(rows.method, rows.target), counted)
            of_ends, open_of_ends = _votes(rows, groups(rows.method, rows.tail), counted)
            self._votes, self._of_ends = self._votes.plus(votes), self._of_ends.plus(of_ends)
        self._forget()
        hosts = {server: frozenset(some) for server, some in self._hosts.items()}
        self.totals = Totals(self._asked + now.asked, {**now.hosts, **hosts})
        self.order = _elect(self._votes.plus(open_), self._of_ends.plus(open_of_ends), self.totals)
        return self.order

    def _forget(self) -> None:
        """Drop the lowest counts if there are too many."""
        self._votes, self._of_ends = (Votes(*map(self._highest, some)) for some in (self._votes, self._of_ends))
        self._asked = self._highest(self._asked)
        if len(self._hosts) > self._most:
            self._hosts = {server: self._hosts[server] for server, _ in self._asked if server in self._hosts}

    def _highest(self, counts: Counter[T]) -> Counter[T]:
        return counts if len(counts) <= self._most else Counter(dict(counts.most_common(self._most // 2)))


def _elect(of_targets: Votes, of_ends: Votes, totals: Totals) -> Order:
    """Return the order for which these votes are.

    `of_targets`, `of_ends`: the votes of exchanges whose targets, or whose last path segments, are equal. `totals`: the facts
    about all exchanges.
    """
    asked = totals.asked
    votes, ends_votes = (some.credible(some.ended, totals) for some in (of_targets, of_ends))
    elected = _choose_orders(votes, asked)
    ends = _choose_orders(ends_votes, asked)
    if elected:
        fronts, backs = {a for a, _ in elected}, {b for _, b in elected}
        most = _of_most(ends_votes, asked)
        ends = Counter({(a, b): n for (a, b), n in ends.items() if a not in fronts and b not in backs and b in most})
    votes += Counter({vote: n for vote, n in ends_votes.items() if vote[:2] in ends})
    elected |= ends
    asking = {(before, host) for before, behind, host in votes if (before, behind) in elected}
    open_ = of_targets.credible(of_targets.open, totals)
    more = Counter({vote: n for vote, n in open_.items() if (vote[0], vote[2]) in asking and vote[:2] not in elected})
    votes += more
    elected |= _choose_orders(more, asked)
    direct = _without_chains(_without_siblings(elected))
    chosen = _without_loops({pair: _hosts(votes, pair) for pair in direct}, asked, totals.hosts)
    return of_targets.of_peers() | {pair: BehindGateway(hosts) for pair, hosts in chosen.items()}


def votes_of(rows: Rows, group: Array) -> Votes:
    """Count how often an exchange that ended lies within one at another endpoint, in the same group (see _votes)."""
    return _votes(rows, group, np.ones(len(rows), bool))[0]


def _votes(rows: Rows, group: Array, counted: Array) -> tuple[Votes, Votes]:
    """Count how often an exchange at one endpoint lies within an exchange at another endpoint, in the same group.

    `group`: a number for each row; only exchanges with equal numbers are compared. Each exchange is counted once, with the newest
    exchange that encloses it. Return the votes of exchanges that were answered, if they are in `counted`, and the votes of those
    that are still open at the end of the capture.
    """
    place = np.argsort(group, kind="stable")
    r, group, counted = rows.select(place), group[place], counted[place]
    # no earlier exchange can enclose an exchange that begins after `last`
    last = running_most(r.answered, group)
    left = np.flatnonzero(counted | (r.answered == LATE))
    voted = np.zeros(len(left), bool)
    votes = Votes.none(), Votes.none()
    for lag in range(1, MAX_OPEN + 1):
        around = np.maximum(left - lag, 0)
        same = (left >= lag) & (group[around] == group[left]) & (last[around] >= r.start[left] - SLACK)
        left, around, voted = left[same], around[same], voted[same]
        if not len(left):
            break
        lies = _lies_in(r, left, around)
        if not lies.any():
            continue
        over, alike = r.answered[left] < LATE, lies & _may_answer_alike(r, left, around)
        for some, chosen in zip(votes, (over, ~over), strict=True):
            _count(some, r, left[lies & ~voted & chosen], around[lies & ~voted & chosen])
            _count_alike(some, r, left[alike & chosen], around[alike & chosen])
        left, voted = left[~alike], (voted | lies)[~alike]
    return votes


def _count(votes: Votes, r: Rows, inside: Array, outside: Array) -> None:
    """Count the votes of the rows `inside`, which lie in the rows `outside`."""
    known = (r.answered[inside] < LATE) | (r.answered[outside] < LATE)
    kinds = {"tied": are_tied(r, inside, outside), "named": names_client(r, inside, outside)}
    kinds |= {"ended": known, "open": ~known, "answered": _both_answered(r, inside, outside)}
    for name, kept in kinds.items():
        _add(getattr(votes, name), r, inside[kept], outside[kept])


def _count_alike(votes: Votes, r: Rows, inside: Array, outside: Array) -> None:
    """Count the rows `inside` whose response may be that of the rows `outside`, in which they lie."""
    answered = _both_answered(r, inside, outside)
    prompt = answered & (r.began[outside] - r.over[inside] <= FORWARDED_WITHIN)
    _add(votes.alike, r, inside[answered], outside[answered])
    _add(votes.prompt, r, inside[prompt], outside[prompt])


def _both_answered(r: Rows, inside: Array, outside: Array) -> Array:
    return (r.status[inside] != NO_STATUS) & (r.status[outside] != NO_STATUS)


def _add(counts: Counter[_Vote], r: Rows, inside: Array, outside: Array) -> None:
    columns = r.server[outside], r.server[inside], r.client_host[inside]
    counts.update(zip(*(column.tolist() for column in columns), strict=True))


def are_tied(r: Rows, x: Array, y: Array) -> Array:
    """Return, for each pair of rows, whether the request `x` shows by itself that it was made for the request `y`.

    It names the client of `y` in X-Forwarded-For or Forwarded, or has the same request ID.
    """
    return names_client(r, x, y) | ((r.identifier[x] != 0) & (r.identifier[x] == r.identifier[y]))


def names_client(r: Rows, x: Array, y: Array) -> Array:
    """Return, for each pair of rows, whether the request `x` names the client of `y` in X-Forwarded-For or Forwarded."""
    port = (r.forwarded_end[x] == 0) | (r.forwarded_end[x] == r.seen_client[y])
    return (r.forwarded[x] != 0) & (r.forwarded_host[x] == r.seen_client_host[y]) & port


def _may_answer_alike(r: Rows, x: Array, y: Array) -> Array:
    """Return, for each pair of rows, whether one response may be the other one, forwarded. Errors are often replaced."""
    sizes = (r.content[x] >= 0) & (r.content[y] >= 0) & (r.encoding[x] == r.encoding[y])
    types = (r.response_type[x] != 0) & (r.response_type[y] != 0)
    differ = (sizes & (r.content[x] != r.content[y])) | (types & (r.response_type[x] != r.response_type[y]))
    return ~differ | (r.status[x] != r.status[y]) | (r.status[y] >= SERVER_ERROR)


def _by_endpoints(votes: Counter[_Vote]) -> Counter[tuple[int, int]]:
    total: Counter[tuple[int, int]] = Counter()
    for (before, behind, _), n in votes.items():
        total[before, behind] += n
    return total


def running_most(values: Array, group: Array) -> Array:
    """Return for each value the maximum of the values in its group up to and including its position.

    `group`: the number of the group of each value, in ascending order.
    """
    known, codes = np.unique(values, return_inverse=True)
    base = group * len(known)
    return known[np.maximum.accumulate(base + codes) - base]


def _lies_in(r: Rows, x: Array, y: Array) -> Array:
    start = r.start[x]
    # fields and lengths that are cut off contradict nothing
    lies = (r.server[x] != r.server[y]) & (r.heads_known[x] & r.heads_known[y]).astype(bool)
    lies &= (r.head[y] - SLACK <= start) & (start <= r.answered[y] + SLACK)
    some = np.flatnonzero(lies)
    if len(some):
        lies[some] = _fits_in(r, x[some], y[some])
    return lies


def _fits_in(r: Rows, x: Array, y: Array) -> Array:
    # a client that sends the same request to several servers is not a gateway
    hosts = (r.client_host[y] != r.client_host[x]) | (r.client_host[x] == r.server_host[y])
    # an exchange that is answered after the outer one does not lie in it, unless a gateway gave it up late
    given_up = ((r.status[x] == NO_STATUS) & (r.left[x] <= r.dropped[x])) | r.is_given_up[x]
    over = (r.answered[x] <= r.answered[y] + SLACK) | given_up
    sent, same = np.zeros(len(x), np.int64), np.zeros(len(x), np.int64)
    for name in END_TO_END:
        one, other = getattr(r, name)[y], getattr(r, name)[x]
        sent += one != 0
        same += (one != 0) & (one == other)
    return hosts & over & (2 * same >= sent)


def _choose_orders(votes: Counter[_Vote], asked: Counter[tuple[int, int]]) -> Counter[tuple[int, int]]:
    """Return pairs (gateway, endpoint behind it) with their votes.

    A vote is an exchange at one endpoint that lies within an exchange at the other. If there are votes in both directions, the
    direction with the larger ratio of votes to exchanges is chosen. The number of votes alone would mislead: a busy gateway
    has more exchanges than each of the servers behind it, so many of its exchanges happen to lie within an exchange of one of
    these servers. `asked`: the number of exchanges at each endpoint, by (endpoint, client host).
    """
    total: Counter[tuple[int, int]] = Counter()
    could: Counter[tuple[int, int]] = Counter()
    for (before, behind, host), n in votes.items():
        total[before, behind] += n
        could[before, behind] += asked[behind, host]
    return Counter({(a, b): n for (a, b), n in total.items() if n * could.get((b, a), 1) > total.get((b, a), 0) * could[a, b]})


def _of_most(votes: Counter[_Vote], asked: Counter[tuple[int, int]]) -> set[int]:
    """Return the endpoints of which at least two exchanges, and at least half, lie within exchanges at another endpoint.

    A few exchanges may lie within others by chance.
    """
    requests: Counter[int] = Counter()
    for (server, _), n in asked.items():
        requests[server] += n
    inside: Counter[int] = Counter()
    for (_, behind, _), n in votes.items():
        inside[behind] += n
    return {server for server, n in inside.items() if n >= 2 and 2 * n >= requests[server]}


SIBLINGS = 4
"""Two servers A and B behind one gateway are siblings, not a chain, if A has few votes as a gateway for B.

"Few" means less than 1/SIBLINGS of the votes that the gateway has as a gateway for B.
"""


def _without_siblings(elected: Counter[tuple[int, int]]) -> Counter[tuple[int, int]]:
    """Drop pairs of endpoints that are servers of the same gateway.

    Exchanges of these endpoints may enclose each other: a gateway that gives up on a server may send the request to a second
    server while the first server is still processing it. See SIBLINGS.
    """
    return Counter(
        {
            (a, b): n
            for (a, b), n in elected.items()
            if not any(behind == a and SIBLINGS * n < elected.get((before, b), 0) for before, behind in elected)
        }
    )


def _without_chains(elected: Counter[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the pairs (gateway, endpoint behind it), except pairs whose requests pass through a third endpoint in between."""
    behind: dict[int, list[int]] = {}
    for a, b in elected:
        behind.setdefault(a, []).append(b)
    return [
        (a, c) for (a, c), n in elected.items() if not any(elected.get((b, c), 0) >= n and elected[a, b] >= n for b in behind[a])
    ]


_Hosts = dict[tuple[int, int], frozenset[int]]


def _without_loops(order: _Hosts, asked: Counter[tuple[int, int]], of_server: Mapping[int, frozenset[int]]) -> _Hosts:
    """Drop hosts that are clients of a gateway in front of the endpoint for which they seem to send requests.

    If a client gives up while the gateway goes on waiting, the client's next request may lie within the gateway's request. Of
    captures of several hosts, merged, each host has its own loopback address, so an address does not tell these clients apart.
    """
    none: frozenset[int] = frozenset()

    def is_client(host: int, front: int, before: int, behind: int) -> bool:
        on_loopback = host in of_server.get(front, none) and host in of_server.get(behind, none)
        elsewhere = order[front, before].isdisjoint(of_server.get(before, none))
        return (front, host) in asked and host not in order[front, before] and not (on_loopback and elsewhere)

    fronts: dict[int, list[int]] = {}
    for front, back in order:
        fronts.setdefault(back, []).append(front)
    kept: _Hosts = {}
    for (before, behind), hosts in order.items():
        clients = {host for host in hosts if any(is_client(host, front, before, behind) for front in fronts.get(before, ()))}
        if clients:
            clients -= of_server.get(before, none)
        if left := hosts - clients:
            kept[before, behind] = left
    return kept


def _hosts(votes: Counter[_Vote], pair: tuple[int, int]) -> frozenset[int]:
    own = {host: n for (before, behind, host), n in votes.items() if (before, behind) == pair}
    return frozenset(host for host, n in own.items() if SHARE * n >= max(own.values()))

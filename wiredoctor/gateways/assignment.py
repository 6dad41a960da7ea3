"""Select the right pairs among the possible pairs of a front (exchange with a client) and a back (exchange with a server).

The pairs form a graph. Each connected part of it is solved separately.
"""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np

from wiredoctor.gateways.components import components
from wiredoctor.gateways.edges import Edges
from wiredoctor.gateways.exchange_columns import NO_STATUS, Rows
from wiredoctor.gateways.known import REPEATED, SERVER_ERROR, SLACK
from wiredoctor.tables import Array

MAX_COMPARED = 64
"""The maximum number of unassigned backs in a connected part of the graph. If there are more, the possible matchings are not
compared.
"""

Part = dict[int, list[int]]
"""The possible fronts (clients' exchanges) of each back (a gateway's request); both are in time order."""


class Pair(NamedTuple):
    """A pair, as row numbers: `front` is an exchange with a gateway's client, `back` the gateway's own request for it."""

    front: int
    back: int
    certain: bool


class Assigned(NamedTuple):
    """Pairs of an exchange on a gateway's client side (front) and an exchange on its server side (back), as row numbers.

    `certain`: for each pair, whether no other pairing is possible. `doubts`: sets (fronts, backs) of exchanges that are
    connected by possible pairs, but cannot be paired with certainty.
    """

    front: Array
    back: Array
    certain: Array
    doubts: list[tuple[list[int], list[int]]]


class _Edges(NamedTuple):
    pairs: list[Pair]
    doubts: list[tuple[list[int], list[int]]]


class _Times(NamedTuple):
    """Some columns of Rows as lists, because lists are faster than arrays if single elements are read.

    `given_up`: whether the client closed before a response began. `over` is then the time of that close: a response that comes
    later decides nothing.
    """

    start: list[int]
    began: list[int]
    over: list[int]
    status: list[int]
    given_up: list[bool]


def assign(rows: Rows, edges: Edges) -> Assigned:
    """Decide to which front (exchange of a gateway's client) each back (request of the gateway) belongs."""
    # fast path: most parts have one front and one back
    of_back, of_front = (np.bincount(some, minlength=len(rows)) for some in (edges.back, edges.front))
    alone = (of_back[edges.back] == 1) & (of_front[edges.front] == 1)
    front, back = edges.front[alone], edges.back[alone]
    certain = ~edges.doubted[front]
    made = _Edges([], [([f], [b]) for f, b in zip(front[~certain].tolist(), back[~certain].tolist(), strict=True)])
    parts = _parts(edges.back[~alone], edges.front[~alone])
    if parts:
        given_up = rows.is_given_up
        over = np.where(given_up, np.minimum(rows.gone, rows.over), rows.over)
        times = _Times(*(some.tolist() for some in (rows.start, rows.began, over, rows.status, given_up)))
        doubted = set(np.flatnonzero(edges.doubted).tolist())
        for part in parts:
            _assign_part(part, times, made, doubted)
    return with_pairs(Assigned(front, back, certain, made.doubts), made.pairs)


def with_pairs(assigned: Assigned, pairs: list[Pair]) -> Assigned:
    """Return `assigned` with `pairs` added."""
    more = np.array(pairs, np.int64).reshape(-1, 3)
    front, back = np.concatenate([assigned.front, more[:, 0]]), np.concatenate([assigned.back, more[:, 1]])
    return Assigned(front, back, np.concatenate([assigned.certain, more[:, 2].astype(bool)]), assigned.doubts)


def without_certainty(assigned: Assigned, front: Array) -> Assigned:
    """Return `assigned` with doubts instead of certain pairs of some fronts. `front`: for each row, whether it is one of them."""
    lost = assigned.certain & front[assigned.front]
    backs: dict[int, list[int]] = {}
    for one, other in zip(assigned.front[lost].tolist(), assigned.back[lost].tolist(), strict=True):
        backs.setdefault(one, []).append(other)
    doubts = [([one], some) for one, some in backs.items()]
    return assigned._replace(certain=assigned.certain & ~lost, doubts=assigned.doubts + doubts)


def _parts(back: Array, front: Array) -> list[Part]:
    """Return the connected parts of the graph with these edges."""
    # an exchange may be at the back of one gateway and at the front of the next
    nodes, part_of = components(back, -1 - front)
    order = np.argsort(back, kind="stable")
    backs, first = np.unique(back[order], return_index=True)
    fronts = np.split(front[order], first[1:])
    parts: dict[int, Part] = {}
    for part, b, some in zip(part_of[np.searchsorted(nodes, backs)].tolist(), backs.tolist(), fronts, strict=False):
        parts.setdefault(part, {})[b] = some.tolist()
    return list(parts.values())


def _assign_part(part: Part, times: _Times, made: _Edges, doubted: set[int]) -> None:
    fronts = {f for some in part.values() for f in some}
    if len(fronts) == 1:
        (f,) = fronts
        certain = f not in doubted and _one_after_the_other(f, list(part), times)
        made.pairs.extend(Pair(f, b, certain) for b in part)
        if not certain:
            made.doubts.append(([f], list(part)))
        return
    left = _Unassigned(part, times)
    left.assign_forced()
    sure = left.pairs
    if 0 < len(left.fronts) <= MAX_COMPARED and left.is_one_to_one():
        sure = sure + _common_matches(left.fronts)
    doubted = doubted | _contradicted_fronts(sure, times)
    known = {b for f, b in sure if f not in doubted}
    made.pairs.extend(Pair(f, b, certain=True) for f, b in sure if b in known)
    rest = {b: some for b, some in part.items() if b not in known}
    if not rest:
        return
    for b in rest:
        rest[b] = sorted(left.fronts.get(b, part[b]))
    taken = {f for f, b in sure if b in known and _answers(b, times)}
    made.pairs.extend(_by_order(rest, taken))
    made.doubts.extend(
        (sorted({f for some in one.values() for f in some}), list(one))
        for one in _parts(*np.array([(b, f) for b, some in rest.items() for f in some]).T)
    )


def _contradicted_fronts(sure: list[tuple[int, int]], t: _Times) -> set[int]:
    """Return the fronts (exchanges of a gateway's clients) whose backs (the gateway's requests for them) contradict each other.

    Backs of one front contradict each other if one of them began before the previous back had failed.
    """
    backs: dict[int, list[int]] = {}
    for f, b in sorted(sure):
        backs.setdefault(f, []).append(b)
    return {f for f, some in backs.items() if not all(_are_tries(one, other, t) for one, other in pairwise(some))}


def _one_after_the_other(f: int, tries: list[int], t: _Times) -> bool:
    """Return whether a gateway can have made the requests `tries` for the client's exchange `f`, one after the other.

    Each request except the last must have got no response, or must have been over before the next request began: the gateway may
    have given up the request, or may not have forwarded the response.
    """
    return all(
        t.status[b] == NO_STATUS or (t.over[b] <= t.start[after] + SLACK and (not _answers(b, t) or t.status[b] != t.status[f]))
        for b, after in pairwise(tries)
    )


def _answers(b: int, t: _Times) -> bool:
    """Return whether a gateway's request got a final status below 500, and not in REPEATED, before the gateway gave it up.

    The gateway forwards such a response, and does not try again.
    """
    return 0 <= t.status[b] < SERVER_ERROR and t.status[b] not in REPEATED and not t.given_up[b]


def _are_tries(one: int, other: int, t: _Times) -> bool:
    """Return whether a gateway can have made both exchanges for the same request of a client, because the first had failed before
    the second began.
    """
    first, second = (one, other) if one < other else (other, one)
    return not _answers(first, t) and t.over[first] <= t.start[second] + SLACK


class _Unassigned:
    """The exchanges in one connected part of the graph that are not paired yet, and the `pairs` assigned so far.

    A pair consists of a front (an exchange with a gateway's client) and a back (the gateway's own request for this exchange).
    """

    def __init__(self, part: Part, times: _Times) -> None:
        self.times = times
        self.pairs: list[tuple[int, int]] = []
        self.fronts = {b: set(some) for b, some in part.items()}
        self.backs: dict[int, set[int]] = {}
        for b, some in part.items():
            for f in some:
                self.backs.setdefault(f, set()).add(b)
        self._single = sorted(b for b, some in part.items() if len(some) == 1)
        self._changed = set(self.backs)
        self._done: set[int] = set()

    def assign_forced(self) -> None:
        """Pair each back that has only one possible front, and exclude pairs that contradict it, until nothing changes."""
        while self._single or self._changed:
            for b in self._single:
                self._pair_with_only_front(b)
            self._single = list[int]()
            self._exclude_by_responses()
            self._single.sort()

    def is_one_to_one(self) -> bool:
        """Return whether no exchange on a gateway's client side (front) can belong to two on its server side (backs)."""
        return not any(_are_tries(one, other, self.times) for some in self.backs.values() for one, other in combinations(some, 2))

    def _pair_with_only_front(self, b: int) -> None:
        """Pair a back (a gateway's request) with its only possible front (the client's exchange for which it was made).

        A gateway tries one server at a time. Therefore the front is no longer a possible one for other backs that were open at
        the same time.
        """
        if b not in self.fronts:
            return
        (f,) = self.fronts.pop(b)
        self.pairs.append((f, b))
        self.backs[f].discard(b)
        self._changed.add(f)
        if _answers(b, self.times):
            self._done.add(f)
        for other in sorted(self.backs[f]):
            if len(self.fronts[other]) > 1 and not _are_tries(b, other, self.times):
                self._drop(other, f)

    def _drop(self, b: int, f: int) -> None:
        self.fronts[b].discard(f)
        self.backs[f].discard(b)
        self._changed.add(f)
        if len(self.fronts[b]) == 1:
            self._single.append(b)

    def _exclude_by_responses(self) -> None:
        """Exclude wrong fronts (clients' exchanges) of a back (a gateway's request) by comparing the responses.

        If only one back can have delivered the final response of a front (status below 500), that back belongs to no other front.
        If two fronts claim the same back in this way, nothing is excluded.
        """
        t = self.times
        wanted: dict[int, list[int]] = {}
        for f in sorted(self._changed):
            if f in self._done or not 0 <= t.status[f] < SERVER_ERROR:
                continue
            gave = [b for b in self.backs[f] if t.status[b] == t.status[f] and t.began[b] <= t.began[f] + SLACK]
            if len(gave) == 1 and len(self.fronts[gave[0]]) > 1:
                wanted.setdefault(gave[0], []).append(f)
        self._changed.clear()
        for b, some in wanted.items():
            if len(some) == 1:
                for f in self.fronts[b] - {some[0]}:
                    self._drop(b, f)


def _common_matches(fronts: dict[int, set[int]]) -> list[tuple[int, int]]:
    """Return the pairs (front, back) that occur in every matching that assigns a front to each back.

    The result is empty if there is no such matching. A front is a client's exchange with a gateway, a back the gateway's own
    request. `fronts`: the possible fronts of each back.
    """
    owner: dict[int, int] = {}
    for b in fronts:
        if not _grow(b, fronts, owner, set()):
            return []
    sure: list[tuple[int, int]] = []
    for f, b in list(owner.items()):
        # a pair is in every matching if its back can have no other front
        trial = {one: other for one, other in owner.items() if one != f}
        if not _grow(b, {**fronts, b: fronts[b] - {f}}, trial, set()):
            sure.append((f, b))
    return sorted(sure)


def _grow(b: int, fronts: dict[int, set[int]], owner: dict[int, int], seen: set[int]) -> bool:
    """Assign a front to the back `b`. If necessary, give other backs different fronts (Berge's augmenting path).

    Return False if that is impossible. `fronts`: the possible fronts (clients' exchanges) of each back (a gateway's request).
    `owner`: the back to which each front is assigned; changed in place. `seen`: the fronts that were tried already.
    """
    for f in sorted(fronts[b]):
        if f not in seen:
            seen.add(f)
            if f not in owner or _grow(owner[f], fronts, owner, seen):
                owner[f] = b
                return True
    return False


def _by_order(rest: Part, taken: set[int]) -> list[Pair]:
    """Pair exchanges by time order: a gateway's request to a server belongs to the client's request that has waited longest.

    `rest`: for each back (exchange with a server), the possible fronts (exchanges with clients). `taken`: the fronts that are
    already paired.
    """
    pairs: list[Pair] = []
    used = set(taken)
    for b in sorted(rest):
        f = next((f for f in rest[b] if f not in used), None)
        if f is not None:
            used.add(f)
            pairs.append(Pair(f, b, certain=False))
    return pairs

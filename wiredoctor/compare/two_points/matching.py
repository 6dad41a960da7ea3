"""Which packets of one recording are those of another, of connections that are known to be the same.

Packets are told by what no router changes: sequence and acknowledgement number, flags, length; of several alike by the IP
identification, and then by when they came. Nothing of it needs addresses, and so a NAT between the points does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wiredoctor.compare.two_points.packet_columns import Point
from wiredoctor.compare.two_points.pairing import Pairs, mixed
from wiredoctor.tables import ACK, FIN, RST, SYN, Array

SHAPE = FIN | SYN | RST | ACK
"""Flags that stay as they are: PSH may move where segments are split or joined, and ECN is for routers to change."""

MOST_CELLS = 1 << 16
"""Two lists of packets that are all alike are matched at best up to this product of their lengths."""

NOBODY = -1


@dataclass
class Rows:
    """The packets of paired connections in one recording. `row`: in the Point. `pair`: in Pairs. seq and ack: as in the first
    recording. key: what a packet is told by. time: ns of its own clock. forward: it passes the first recording's point first."""

    row: Array
    pair: Array
    forward: Array
    time: Array
    seq: Array
    ack: Array
    key: Array
    sure: Array
    """`key` and the IP identification."""

    def __len__(self) -> int:
        return len(self.row)


def rows_of(point: Point, pairs: Pairs, second: bool) -> Rows:
    """The packets of the connections that were paired. `forward`, so far: it comes from the client."""
    ids = pairs.two if second else pairs.one
    p = point.packets
    place = np.full(max(int(p["connection"].max(initial=-1)), int(ids.max(initial=-1))) + 1, NOBODY, np.int64)
    place[ids] = np.arange(len(ids))
    row = np.flatnonzero(place[p["connection"]] != NOBODY) if len(place) else np.empty(0, np.int64)
    owner = place[p["connection"][row]] if len(place) else row
    from_client = p["from_client"][row]
    seq, ack = p["seq"][row], p["ack"][row]
    if second and pairs.shifts.any():
        side: Array = (~from_client).astype(np.int64)
        own, other = pairs.shifts[owner, side], pairs.shifts[owner, 1 - side]
        with np.errstate(over="ignore"):
            seq, ack = seq + own, np.where(p["flags"][row] & ACK, ack + other, ack)
    key = mixed(owner, seq, ack, p["length"][row], p["flags"][row] & SHAPE)
    return Rows(row, owner, from_client, p["time"][row], seq, ack, key, mixed(key.view(np.int64), p["ip_id"][row]))


def match_alone(one: Rows, two: Rows) -> Array:
    """Packets that are alone of their kind in both recordings: of each row of the first, its row in the second, or NOBODY.
    Nothing about time is assumed."""
    partner = np.full(len(one), NOBODY, np.int64)
    taken = np.zeros(len(two), bool)
    for keys_one, keys_two in ((one.sure, two.sure), (one.key, two.key)):
        a, b = _alone(keys_one), _alone(keys_two)
        _, at_one, at_two = np.intersect1d(keys_one[a], keys_two[b], assume_unique=True, return_indices=True)
        a, b = a[at_one], b[at_two]
        new = (partner[a] == NOBODY) & ~taken[b]
        partner[a[new]] = b[new]
        taken[b[new]] = True
    return partner


def _alone(keys: Array) -> Array:
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    return first[counts == 1]


def match_rest(one: Rows, two: Rows, partner: Array, expected: Array) -> None:
    """Packets of which there are several alike: each of the first finds the one of the second that came nearest to when it was
    expected. `partner`: of each row of the first, its row in the second, or NOBODY; is filled in. `expected`: when it would
    come to the other point, in ns of that clock."""
    for keys_one, keys_two in ((one.sure, two.sure), (one.key, two.key)):
        left = np.flatnonzero(partner == NOBODY)
        free = np.ones(len(two), bool)
        free[partner[partner != NOBODY]] = False
        right = np.flatnonzero(free)
        left = left[np.isin(keys_one[left], keys_two[right])]
        right = right[np.isin(keys_two[right], keys_one[left])]
        left = left[np.lexsort((expected[left], keys_one[left]))]
        right = right[np.lexsort((two.time[right], keys_two[right]))]
        starts_one, starts_two = _starts(keys_one[left]), _starts(keys_two[right])
        size_one, size_two = np.diff(np.append(starts_one, len(left))), np.diff(np.append(starts_two, len(right)))
        equal = size_one == size_two
        # as many as there: they came in the order in which they left
        partner[left[np.repeat(equal, size_one)]] = right[np.repeat(equal, size_two)]
        for group in np.flatnonzero(~equal).tolist():
            some = left[starts_one[group] : starts_one[group] + size_one[group]]
            others = right[starts_two[group] : starts_two[group] + size_two[group]]
            for a, b in _in_order(expected[some], two.time[others]):
                partner[some[a]] = others[b]


def _starts(keys: Array) -> Array:
    if not len(keys):
        return np.empty(0, np.int64)
    return np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))


def _in_order(expected: Array, seen: Array) -> list[tuple[int, int]]:
    """Of two sorted lists of times of which the shorter is a part of the longer: which part. The one of all in order whose times
    differ least; of very long lists each takes the nearest that is left."""
    short, long = (expected, seen) if len(expected) <= len(seen) else (seen, expected)
    made = (_nearest if len(short) * len(long) > MOST_CELLS else _least)(short, long)
    return made if len(expected) <= len(seen) else [(b, a) for a, b in made]


def _least(short: Array, long: Array) -> list[tuple[int, int]]:
    """Dynamic programming over how far each list has been used."""
    apart = np.abs(short[:, None].astype(np.float64) - long[None, :])
    cost = np.full((len(short) + 1, len(long) + 1), np.inf)
    cost[0] = 0
    for i in range(len(short)):
        with_this = cost[i, :-1] + apart[i]
        cost[i + 1, 1:] = np.minimum.accumulate(with_this)
    made: list[tuple[int, int]] = []
    j = len(long)
    for i in range(len(short), 0, -1):
        while cost[i, j] == cost[i, j - 1]:
            j -= 1
        made.append((i - 1, j - 1))
        j -= 1
    return made[::-1]


def _nearest(short: Array, long: Array) -> list[tuple[int, int]]:
    made: list[tuple[int, int]] = []
    at = 0
    for i, time in enumerate(short.tolist()):
        last = len(long) - (len(short) - i)
        while at < last and abs(int(long[at + 1]) - time) <= abs(int(long[at]) - time):
            at += 1
        made.append((i, at))
        at += 1
    return made

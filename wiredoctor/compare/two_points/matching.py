"""Match the packets of two captures within paired connections.

Packets are identified by fields that routers do not change: sequence number, acknowledgment number, flags and length. Packets
with equal values are told apart by their IP identification, and then by time. Addresses are not compared, so a NAT between the
points does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wiredoctor.compare.two_points.packet_columns import Point
from wiredoctor.compare.two_points.pairing import Pairs, hash_rows
from wiredoctor.tables import ACK, FIN, RST, SYN, Array

SHAPE = FIN | SYN | RST | ACK
"""The flags that must be equal. PSH may move when segments are split or joined, and routers may set the ECN flags."""

MAX_CELLS = 1 << 16
"""The maximum product of the lengths of two lists of identical packets that are matched optimally, not approximately."""

NOBODY = -1


@dataclass
class Rows:
    """The packets of paired connections in one capture.

    `row`: the packet's row in the Point. `pair`: the index of its connection in Pairs. `seq`, `ack`: its sequence and
    acknowledgment numbers, converted to those of the first capture. `key`: a hash of the fields that identify it. `time`: in ns,
    by the clock of this capture. `forward`: True if it passes the point of the first capture first.
    """

    row: Array
    pair: Array
    forward: Array
    time: Array
    seq: Array
    ack: Array
    key: Array
    sure: Array
    """A hash of `key` and the IP identification."""

    def __len__(self) -> int:
        return len(self.row)


def rows_of(point: Point, pairs: Pairs, second: bool) -> Rows:
    """Return the packets of the paired connections. `second`: whether they are from the second capture.

    The field `forward` is preliminary: True if the client sent the packet.
    """
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
    key = hash_rows(owner, seq, ack, p["length"][row], p["flags"][row] & SHAPE)
    return Rows(row, owner, from_client, p["time"][row], seq, ack, key, hash_rows(key.view(np.int64), p["ip_id"][row]))


def match_alone(one: Rows, two: Rows) -> Array:
    """Match packets that are unique in both captures, without using their times.

    Return the matching row of the second capture for each row of the first, or NOBODY.
    """
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
    """Match packets that have identical copies. Copies keep their order, and are as near to the expected times as possible.

    `partner` is filled in: for each row of the first capture, the matching row of the second, or NOBODY. `expected`: when each
    packet of the first capture should pass the other point, in ns of the clock there.
    """
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
        # if both captures have equally many copies, the copies arrived in the order in which they were sent
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
    """Match each time of the shorter of two sorted lists with a time of the longer one; return the pairs of indexes.

    The order is kept, and the sum of the differences is minimal. In very long lists, every element is matched with the nearest
    remaining element.
    """
    short, long = (expected, seen) if len(expected) <= len(seen) else (seen, expected)
    made = (_nearest if len(short) * len(long) > MAX_CELLS else _least)(short, long)
    return made if len(expected) <= len(seen) else [(b, a) for a, b in made]


def _least(short: Array, long: Array) -> list[tuple[int, int]]:
    """Match each time of `short` with one of `long` in order; return the index pairs with the smallest sum of differences.

    The algorithm is dynamic programming.
    """
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

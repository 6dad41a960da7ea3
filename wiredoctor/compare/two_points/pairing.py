"""Pair the connections of two captures by the sequence numbers that their packets have in common."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from wiredoctor.compare.two_points.packet_columns import Point
from wiredoctor.tables import FIN, RST, SYN, Array, Columns

MAX_ALIKE = 8
"""The maximum number of similar connections that are considered.

A packet is ignored if more than this many connections of a capture have an equal packet: in floods, sequence numbers are often
0. A connection is compared with at most this many connections that have the same addresses.
"""

ADDRESSES, NUMBERS, OFFSETS = 0, 1, 2
"""How a pair was found: by addresses and sequence numbers, by sequence numbers only, or by addresses and offsets from the SYN."""

_ODD = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)


def hash_rows(*columns: Array) -> Array:
    """Return a 64-bit hash of each row. Two of a million rows have the same hash with a probability of 1 in 37 million."""
    with np.errstate(over="ignore"):
        total = np.zeros(len(columns[0]), np.uint64)
        for column in columns:
            total = (total ^ column.astype(np.int64).astype(np.uint64)) * _ODD
            total = (total ^ (total >> np.uint64(29))) * _MIX
            total ^= total >> np.uint64(32)
    return total


@dataclass
class Pairs:
    """The pairs of matching connections: their ids in the first and in the second capture, and how each pair was found.

    `shifts`: for each pair and direction (client first), the number to add to sequence numbers of the second capture to get those
    of the first.
    """

    one: Array
    two: Array
    how: Array
    shifts: Array

    def __len__(self) -> int:
        return len(self.one)


def pair(one: Point, two: Point) -> Pairs:
    """Pair the connections of both captures; each connection is in at most one pair."""
    votes = _votes(_signatures(one.packets), one.packets["connection"], _signatures(two.packets), two.packets["connection"])
    same = _same_addresses(one, two)
    found = _best_partners(votes, same)
    pairs = [(a, b, ADDRESSES if (a, b) in same else NUMBERS) for a, b in found]
    taken_one, taken_two = {a for a, _ in found}, {b for _, b in found}
    left = {(a, b) for a, b in same if a not in taken_one and b not in taken_two}
    pairs += [(a, b, OFFSETS) for a, b in _by_offsets(one, two, left)]
    pairs.sort()
    columns = np.array(pairs, np.int64).reshape(-1, 3)
    made = Pairs(columns[:, 0], columns[:, 1], columns[:, 2], np.zeros((len(pairs), 2), np.uint32))
    _set_shifts(made, one, two)
    return made


def _signatures(p: Columns) -> Array:
    """Return a hash of each packet that packets of other connections are unlikely to share."""
    return hash_rows(p["seq"], p["ack"], p["flags"] & (SYN | FIN | RST))


def _votes(sign_one: Array, of_one: Array, sign_two: Array, of_two: Array) -> list[tuple[int, int, int]]:
    """Return (number of common packets, first id, second id) for each pair of connections with common packets.

    Pairs with more common packets come first.
    """
    a, b = _identifying_signatures(sign_one, of_one), _identifying_signatures(sign_two, of_two)
    starts, ends = np.searchsorted(b[0], a[0], side="left"), np.searchsorted(b[0], a[0], side="right")
    there = ends - starts
    found = there > 0
    rows = np.repeat(np.flatnonzero(found), there[found])
    within = np.arange(len(rows)) - np.repeat(np.cumsum(there[found]) - there[found], there[found])
    ones, twos = a[1][rows].astype(np.int64), b[1][starts[rows] + within].astype(np.int64)
    codes, counts = np.unique(ones << 32 | twos, return_counts=True)
    order = np.lexsort((codes, -counts))
    return [(int(counts[i]), int(codes[i] >> 32), int(codes[i] & 0xFFFFFFFF)) for i in order.tolist()]


def _identifying_signatures(signatures: Array, connections: Array) -> tuple[Array, Array]:
    """Return the sorted signatures and their connections, without signatures that too many connections share."""
    order = np.lexsort((connections, signatures))
    signs, owners = signatures[order], connections[order]
    new = np.ones(len(signs), bool)
    new[1:] = (signs[1:] != signs[:-1]) | (owners[1:] != owners[:-1])
    signs, owners = signs[new], owners[new]
    _, inverse, counts = np.unique(signs, return_inverse=True, return_counts=True)
    few = counts[inverse] <= MAX_ALIKE
    return signs[few], owners[few]


def _same_addresses(one: Point, two: Point) -> set[tuple[int, int]]:
    """Return pairs of connections with equal addresses and ports, at most MAX_ALIKE for each connection of the first capture."""
    known: dict[tuple[str, str], list[int]] = {}
    for number, client, server in two.connections.select("connection", "client", "server").iter_rows():
        known.setdefault((client, server), []).append(number)
    same: set[tuple[int, int]] = set()
    for number, client, server in one.connections.select("connection", "client", "server").iter_rows():
        for ends in ((client, server), (server, client)):
            same.update((number, other) for other in known.get(ends, ())[:MAX_ALIKE])
    return same


def _best_partners(votes: list[tuple[int, int, int]], same: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the best pairs of connections; each connection is in at most one pair.

    Two connections are paired if they have at least two packets in common; one packet is enough if their addresses are equal.
    """
    left, right, found = set[int](), set[int](), list[tuple[int, int]]()
    ranked = sorted(votes, key=lambda v: (-v[0], (v[1], v[2]) not in same, v[1], v[2]))
    for count, a, b in ranked:
        if a in left or b in right or (count < 2 and (a, b) not in same):
            continue
        left.add(a)
        right.add(b)
        found.append((a, b))
    return found


def _by_offsets(one: Point, two: Point, candidates: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Pair connections with equal addresses by packets with equal lengths and equal offsets from the SYN.

    This finds connections whose sequence numbers were rewritten between the points.
    """
    if not candidates:
        return []
    held = (defaultdict[int, set[int]](set), defaultdict[int, set[int]](set))
    for side, point in enumerate((one, two)):
        p = point.packets
        rows = np.isin(p["connection"], [pair[side] for pair in candidates]) & (p["length"] > 0)
        signs = hash_rows(p["offset"][rows], p["ack_offset"][rows], p["length"][rows], p["from_client"][rows])
        for owner, sign in zip(p["connection"][rows].tolist(), signs.tolist(), strict=True):
            held[side][owner].add(sign)
    votes = [(len(held[0][a] & held[1][b]), a, b) for a, b in candidates]
    return _best_partners([vote for vote in votes if vote[0]], candidates)


def _set_shifts(pairs: Pairs, one: Point, two: Point) -> None:
    """Set `shifts` for the pairs with rewritten sequence numbers: the difference of the sequence numbers at stream offset 0."""
    for row in np.flatnonzero(pairs.how == OFFSETS).tolist():
        for direction, from_client in enumerate((True, False)):
            bases = [_base(point.packets, int(ids[row]), from_client) for point, ids in ((one, pairs.one), (two, pairs.two))]
            if None not in bases:
                pairs.shifts[row, direction] = ((bases[0] or 0) - (bases[1] or 0)) & 0xFFFFFFFF


def _base(p: Columns, connection: int, from_client: bool) -> int | None:
    rows = np.flatnonzero((p["connection"] == connection) & (p["from_client"] == from_client) & (p["length"] > 0))
    if not len(rows):
        return None
    return (int(p["seq"][rows[0]]) - int(p["offset"][rows[0]])) & 0xFFFFFFFF

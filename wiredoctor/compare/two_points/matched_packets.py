"""Match the packets of two captures of one network path. All other comparisons of the two captures use these matches."""

from __future__ import annotations

import numpy as np

from wiredoctor.compare.two_points import clocks
from wiredoctor.compare.two_points.matching import NOBODY, Rows, match_alone, match_rest, rows_of
from wiredoctor.compare.two_points.packet_columns import Point, apart
from wiredoctor.compare.two_points.pairing import pair
from wiredoctor.compare.two_points.split_segments import match_ranges
from wiredoctor.compare.two_points.wire import Wire
from wiredoctor.tables import Array


def wire(one: Point, two: Point) -> Wire:
    """Match the connections and packets of two captures, and align the clocks."""
    pairs = pair(one, two)
    a, b = rows_of(one, pairs, second=False), rows_of(two, pairs, second=True)
    partner = match_alone(a, b)
    turned = _set_directions(a, b, partner, len(pairs))
    lines = _clock(a, b, partner, apart(one.first_time, two.first_time))
    parts = np.zeros(len(a), np.int8), np.zeros(len(b), np.int8)
    made = Wire(one, two, pairs, a, b, partner, np.empty(0, np.int64), *parts, lines, (0, 0), np.empty(0, np.int64), turned)
    ways = [made.delays(forward) for forward in (True, False)]
    there, back = (float(np.median(way)) if len(way) else 0.0 for way in ways)
    made.typical = there, back
    expected = made.on_second(a.time) + np.where(a.forward, made.typical[0], -made.typical[1])
    match_rest(a, b, partner, expected)
    made.back = _reverse(partner, len(b))
    made.shift = _shift(made)
    match_ranges(made, expected)
    return made


def _reverse(partner: Array, length: int) -> Array:
    back = np.full(length, NOBODY, np.int64)
    rows = np.flatnonzero(partner != NOBODY)
    back[partner[rows]] = rows
    return back


def _set_directions(a: Rows, b: Rows, partner: Array, pairs: int) -> Array:
    """Set `forward` of each packet: True if it passes the first point first. Return which pairs are turned (see Wire).

    Usually the client's packets pass the first point first. If the server's replies reach the first point before the second, the
    first point is nearer to the server. One pair of captures may contain both kinds of connection, because traffic from both
    sides of a proxy may pass the two points.
    """
    rows = np.flatnonzero(partner != NOBODY)
    there = partner[rows]
    differ = np.bincount(a.pair[rows], np.where(a.forward[rows] != b.forward[there], 1, -1), minlength=pairs)
    b.forward = b.forward ^ (differ[b.pair] > 0)
    order = np.lexsort((a.time[rows], a.pair[rows]))
    rows = rows[order]
    owner, way, ahead = a.pair[rows], a.forward[rows], b.time[partner[rows]] - a.time[rows]
    # for two successive packets of opposite directions, the difference is plus or minus a round trip between the points
    answers = np.flatnonzero((owner[1:] == owner[:-1]) & (way[1:] != way[:-1]))
    trips = np.where(way[answers], ahead[answers] - ahead[answers + 1], ahead[answers + 1] - ahead[answers])
    votes = np.where(trips < -clocks.QUANTUM, 1, np.where(trips > clocks.QUANTUM, -1, 0))
    turned = np.bincount(owner[answers], votes, minlength=pairs) > 0
    a.forward, b.forward = a.forward ^ turned[a.pair], b.forward ^ turned[b.pair]
    return turned


def _clock(a: Rows, b: Rows, partner: Array, begun: int) -> list[clocks.Line]:
    """Return lines that map one clock to the other. `begun`: the start of the second capture minus that of the first (ns).

    The lines are fitted to packets that are unique in both captures, because the matches of such packets are certain. If no line
    fits, return a line with the median difference and a `gap` of NaN.
    """
    rows = np.flatnonzero(partner != NOBODY)
    rows = rows[np.argsort(a.time[rows], kind="stable")]
    ahead = b.time[partner[rows]] - a.time[rows] + begun
    lines = clocks.fit_lines(clocks.Points(a.time[rows], ahead, a.forward[rows]))
    if lines or not len(rows):
        return lines
    # with one direction only, or without a fitting clock, use the timestamps as they are
    return [clocks.Line(0, float(np.median(ahead)), 0.0, float("nan"), None)]


def _shift(wire: Wire) -> Array:
    """Return the shift of each group (see Wire), measured on packets that are in both captures.

    If a group has no such packet, its shift is the difference of the sequence numbers, which is assumed to be less than half of
    their range.
    """
    bases: list[Array] = []
    for rows, packets in ((wire.a, wire.one.packets), (wire.b, wire.two.packets)):
        base = np.zeros(2 * len(wire.pairs), np.int64)
        base[rows.pair * 2 + rows.forward] = rows.seq.astype(np.int64) - packets["offset"][rows.row]
        bases.append(base)
    shift = (bases[1] - bases[0] + (1 << 31)) % (1 << 32) - (1 << 31)
    rows = np.flatnonzero(wire.partner != NOBODY)
    rows = rows[np.argsort(wire.one.packets["length"][wire.a.row[rows]] > 0, kind="stable")]
    there = wire.partner[rows]
    group = wire.a.pair[rows] * 2 + wire.a.forward[rows]
    # the last assignment counts, so packets with payload come last
    shift[group] = wire.one.packets["offset"][wire.a.row[rows]] - wire.two.packets["offset"][wire.b.row[there]]
    return shift

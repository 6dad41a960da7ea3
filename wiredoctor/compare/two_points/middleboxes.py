"""Find changes to packets between two points: addresses, options of the handshake, windows and other fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wiredoctor.compare.two_points.matching import NOBODY
from wiredoctor.compare.two_points.packet_columns import Options
from wiredoctor.compare.two_points.pairing import NUMBERS, OFFSETS
from wiredoctor.compare.two_points.result import Changed
from wiredoctor.tables import ACK, SYN, URG, Array

if TYPE_CHECKING:
    from wiredoctor.compare.two_points.wire import Wire

_NAMES = {
    2: "maximum segment size",
    3: "window scale",
    4: "SACK permitted",
    5: "SACK",
    8: "timestamps",
    19: "MD5 signature",
    28: "user timeout",
    29: "authentication",
    30: "multipath",
    34: "fast open cookie",
}
"""The names of TCP options, by kind (IANA)."""

_ECE, _CWR = 0x40, 0x80


class _One(NamedTuple):
    """A change to a packet between the points. `row`: the packet's row in the Rows of the first capture."""

    what: str
    sent: str
    received: str
    row: int


def changes(wire: Wire) -> list[Changed]:
    """Return each kind of change once: rewritten addresses and sequence numbers first, then the other kinds by frequency."""
    found: dict[tuple[str, bool, str, str], list[int]] = {}
    for one in (*_handshakes(wire), *_later(wire)):
        found.setdefault((one.what, bool(wire.a.forward[one.row]), one.sent, one.received), []).append(one.row)
    made = [_describe_change(wire, key, rows) for key, rows in found.items()]
    return [*_addresses(wire), *sorted(made, key=lambda c: (-c.packets, c.what, c.sent, c.received))]


def _describe_change(wire: Wire, key: tuple[str, bool, str, str], rows: list[int]) -> Changed:
    what, forward, sent, received = key
    first, there = rows[0], int(wire.partner[rows[0]])
    frames = int(wire.one.packets["frame"][wire.a.row[first]]), int(wire.two.packets["frame"][wire.b.row[there]])
    sender = "client" if forward else "server"
    return Changed(what, sender, sent, received, len(rows), len(np.unique(wire.a.pair[rows])), *frames)


def _handshakes(wire: Wire) -> Iterator[_One]:
    """Yield changes in the options of SYNs, and changes in the request for ECN (RFC 3168)."""
    for at, options in wire.one.syns.items():
        row = int(np.searchsorted(wire.a.row, at))
        if row >= len(wire.a) or wire.a.row[row] != at or wire.partner[row] == NOBODY:
            continue
        there = int(wire.b.row[wire.partner[row]])
        other = wire.two.syns.get(there)
        if other is None:
            continue
        forward = bool(wire.a.forward[row])
        sent, received = (options, other) if forward else (other, options)
        for what, one, two in _options(sent, received):
            yield _One(what, one, two, row)
        flags = [int(packets["flags"][place]) for packets, place in ((wire.one.packets, at), (wire.two.packets, there))]
        asked = [bool(f & (_ECE | _CWR)) for f in (flags if forward else flags[::-1])]
        if asked[0] != asked[1]:
            yield _One("ECN in the handshake", "requested" if asked[0] else "-", "requested" if asked[1] else "-", row)


def _options(sent: Options, received: Options) -> Iterator[tuple[str, str, str]]:
    one, two = dict(sent), dict(received)
    for kind in sorted(one.keys() | two.keys()):
        a, b = one.get(kind), two.get(kind)
        if a is None or b is None:
            yield _NAMES.get(kind, f"option {kind}"), _value(kind, a), _value(kind, b)
        elif a != b and kind in (2, 3):
            yield _NAMES[kind], _value(kind, a), _value(kind, b)


def _value(kind: int, value: bytes | None) -> str:
    if value is None:
        return "removed" if kind != 2 else "none"
    return str(int.from_bytes(value, "big")) if kind in (2, 3) and value else "there"


def _later(wire: Wire) -> Iterator[_One]:
    """Yield changes in packets after the handshake: timestamps, SACK blocks, windows and urgent data."""
    rows = np.flatnonzero(wire.partner != NOBODY)
    one, two = wire.a.row[rows], wire.b.row[wire.partner[rows]]
    p, q = wire.one.packets, wire.two.packets
    later = (p["flags"][one] & SYN) == 0
    forward = wire.a.forward[rows]
    for name, what in (("has_timestamps", "timestamps after the handshake"), ("sack", "SACK blocks")):
        differ = np.flatnonzero(later & (p[name][one] != q[name][two]))
        for i in differ.tolist():
            sent = bool(p[name][one[i]] if forward[i] else q[name][two[i]])
            yield _One(what, "there" if sent else "removed", "removed" if sent else "there", int(rows[i]))
    windows = np.flatnonzero(later & (p["flags"][one] & ACK > 0) & (p["window"][one] != q["window"][two]))
    for i in windows.tolist():
        wider = (q["window"][two[i]] > p["window"][one[i]]) == forward[i]
        yield _One("announced window", "as sent", "wider" if wider else "narrower", int(rows[i]))
    urgent = np.flatnonzero(later & ((p["flags"][one] ^ q["flags"][two]) & URG > 0))
    for i in urgent.tolist():
        yield _One("urgent data", "as sent", "changed", int(rows[i]))


def _addresses(wire: Wire) -> Iterator[Changed]:
    """Yield connections with rewritten addresses, ports or sequence numbers."""
    ends = [
        dict(zip(point.connections["connection"], point.connections.select("client", "server").iter_rows(), strict=True))
        for point in (wire.one, wire.two)
    ]
    found: dict[tuple[str, str, str], list[int]] = {}
    for number, (a, b, how) in enumerate(
        zip(wire.pairs.one.tolist(), wire.pairs.two.tolist(), wire.pairs.how.tolist(), strict=True)
    ):
        if how == OFFSETS:
            found.setdefault(("sequence numbers", "as sent", "others"), []).append(number)
        if how != NUMBERS:
            continue
        for side, what in enumerate(("address of the client", "address of the server")):
            here, there = ends[0][a][side], ends[1][b][side]
            host, other = here.rpartition(":")[0], there.rpartition(":")[0]
            if host != other:
                found.setdefault((what, host, other), []).append(number)
            elif here != there:
                found.setdefault((what.replace("address", "port"), f"of {host}", "another"), []).append(number)
    for (what, sent, received), pairs in found.items():
        rows = np.isin(wire.a.pair, pairs)
        first = int(np.flatnonzero(rows)[0])
        matched = np.flatnonzero(rows & (wire.partner != NOBODY))
        there = int(wire.b.row[wire.partner[matched[0]]]) if len(matched) else 0
        frames = int(wire.one.packets["frame"][wire.a.row[first]]), int(wire.two.packets["frame"][there])
        yield Changed(what, "client", sent, received, int(rows.sum()), len(pairs), *frames)


def hops(wire: Wire, forward: bool) -> tuple[int | None, int]:
    """Return by how much the time to live of most packets decreases between the points, and how many packets are exceptions.

    `forward`: the direction of packets that pass the first point first. Return (None, 0) if no packet of the direction passed
    both points.
    """
    rows = np.flatnonzero((wire.partner != NOBODY) & (wire.a.forward == forward))
    if not len(rows):
        return None, 0
    here, there = wire.one.packets["ttl"][wire.a.row[rows]], wire.two.packets["ttl"][wire.b.row[wire.partner[rows]]]
    less: Array = (here.astype(np.int64) - there) * (1 if forward else -1)
    values, counts = np.unique(less, return_counts=True)
    usual = int(values[counts.argmax()])
    return usual, int(counts.sum() - counts.max())

"""The packets of a recording as columns, which are all that is kept of it while it is held against another."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from wiredoctor.findings import Again
from wiredoctor.tables import NEVER, NONE, SYN, Array, Columns

MOST_SYNS = 20_000
"""SYNs of which the options are kept."""

MOST_APART = 1 << 60
"""36 years, in ns."""

KEPT = {
    "frame": ("segments", "i8"),
    "time": ("segments", "i8"),
    "offset": ("segments", "i8"),
    "ack_offset": ("segments", "i8"),
    "connection": ("segments", "i4"),
    "direction": ("segments", "i1"),
    "retransmission": ("segments", "?"),
    "keep_alive_probe": ("segments", "?"),
    "seq": ("packets", "u4"),
    "ack": ("packets", "u4"),
    "length": ("packets", "i4"),
    "ip_id": ("packets", "i4"),
    "mss": ("packets", "i4"),
    "window": ("packets", "u2"),
    "flags": ("packets", "u1"),
    "ttl": ("packets", "u1"),
    "window_shift": ("packets", "i1"),
    "options_hash": ("packets", "u8"),
    "has_timestamps": ("packets", "?"),
    "sack": ("packets", "?"),
}
"""Column -> the table that has it (as `ack` of segments is `ack_offset` here), and the type in which it is kept: 74 bytes a
packet."""

_READ = {
    "packets": [*(name for name, (table, _) in KEPT.items() if table == "packets"), "frame", "payload", "quoted"],
    "segments": ["ack", *(name for name, (table, _) in KEPT.items() if table == "segments" and name != "ack_offset")],
}

Options = tuple[tuple[int, bytes], ...]
"""TCP options as (kind, value), without padding."""


@dataclass
class Point:
    """What passed a point. `packets`: the columns of KEPT, and from_client, in order of frames; second copies are left out.

    first_time: ns since 1970 of its first packet. last: ns since then of its last. syns: row -> options.
    connections: rows of tables.CONNECTIONS by their id.
    """

    packets: Columns
    connections: pl.DataFrame
    first_time: int
    last: int
    syns: dict[int, Options]

    def __len__(self) -> int:
        return len(self.packets["frame"])


def apart(one: int, two: int) -> int:
    """Nanoseconds from a time to another, within what 64 bits hold: pcapng can say years that are too far away."""
    return max(-MOST_APART, min(MOST_APART, two - one))


def gather(again: Again, connections: pl.DataFrame, first_time: int, last: int) -> Point:
    """Reads a capture once more. `connections`: its rows of tables.CONNECTIONS."""
    parts: list[Columns] = []
    syns: dict[int, Options] = {}
    for portion in again.portions(_READ):
        part, payload = _joined(portion.tables["packets"], portion.tables["segments"])
        parts.append(part)
        for row in np.flatnonzero(part["flags"] & SYN)[: max(0, MOST_SYNS - len(syns))].tolist():
            found = _options(portion.read, int(payload[row]), int(part["seq"][row]), int(part["ack"][row]))
            if found is not None:
                syns[int(part["frame"][row])] = found
    packets = {name: np.concatenate([np.empty(0, kind), *(p[name] for p in parts)]) for name, (_, kind) in KEPT.items()}
    parts.clear()
    order = np.argsort(packets["frame"], kind="stable")
    packets = {name: column[order] for name, column in packets.items()}
    by_id = connections.sort("connection")
    ids, directions = by_id["connection"].to_numpy(), by_id["client_direction"].to_numpy()
    # a connection of which nothing but odd packets was seen has no row, and nothing is told of it
    clients = np.full(max(int(packets["connection"].max(initial=0)), int(ids.max(initial=0))) + 1, NONE, np.int8)
    clients[ids] = directions
    told = clients[packets["connection"]] != NONE
    packets = {name: column[told] for name, column in packets.items()}
    packets["from_client"] = packets["direction"] == clients[packets["connection"]]
    there = _present(packets["frame"], syns)
    syns = {frame: options for frame, options in syns.items() if frame in there}
    rows = np.searchsorted(packets["frame"], np.fromiter(syns, np.int64, len(syns)))
    return Point(packets, by_id, first_time, last, dict(zip(rows.tolist(), syns.values(), strict=True)))


def _present(frames: Array, wanted: Iterable[int]) -> set[int]:
    """Which of these frames there are."""
    numbers = np.fromiter(wanted, np.int64)
    return set(numbers[np.isin(numbers, frames)].tolist())


def _joined(packets: pl.DataFrame, segments: pl.DataFrame) -> tuple[Columns, Array]:
    """The columns of KEPT, and where the payload of each packet begins."""
    packets = packets.filter(~pl.col("quoted"))
    frames = packets["frame"].to_numpy()
    segments = segments.sort("frame")
    at = np.searchsorted(frames, segments["frame"].to_numpy())
    at = np.minimum(at, max(len(frames) - 1, 0))
    sources = {"packets": packets[at] if len(frames) else packets, "segments": segments}
    made: Columns = {}
    for name, (table, kind) in KEPT.items():
        column = sources[table][name.removesuffix("_offset") if name == "ack_offset" else name]
        if column.null_count():
            column = column.fill_null(NEVER if kind == "i8" else -1)
        made[name] = column.to_numpy().astype(kind)
    return made, sources["packets"]["payload"].to_numpy()


def _options(read: Callable[[int, int], bytes], payload: int, seq: int, ack: int) -> Options | None:
    """The options of the header before this payload; None where it is not there (a fragment, a header that was cut).

    How long the header is stands in it: of all lengths the one is right that finds its own numbers.
    """
    numbers = struct.pack("!II", seq, ack)
    before = read(max(payload - 60, 0), min(payload, 60))
    for words in range(5, 16):
        header = before[-4 * words :]
        if len(header) == 4 * words and header[12] >> 4 == words and header[4:12] == numbers:
            return _parsed(header[20:])
    return None


def _parsed(data: bytes) -> Options:
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data) and data[at] != 0:
        if data[at] == 1:
            at += 1
            continue
        length = data[at + 1] if at + 1 < len(data) else 0
        if length < 2 or at + length > len(data):
            break
        found.append((data[at], data[at + 2 : at + length]))
        at += length
    return tuple(found)

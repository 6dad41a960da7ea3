"""Store the columns of a capture's packets that a comparison needs."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from wiredoctor.findings import PacketAccess
from wiredoctor.tables import NEVER, NONE, SYN, Array, Columns

MAX_SYNS = 20_000
"""The maximum number of SYNs whose options are stored."""

MAX_APART = 1 << 60
"""The maximum time in ns between two captures: 36 years."""

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
"""The table and the type of each stored column, 74 bytes per packet in all. `ack_offset` is the column `ack` of segments."""

_READ = {
    "packets": [*(name for name, (table, _) in KEPT.items() if table == "packets"), "frame", "payload", "quoted"],
    "segments": ["ack", *(name for name, (table, _) in KEPT.items() if table == "segments" and name != "ack_offset")],
}

Options = tuple[tuple[int, bytes], ...]
"""TCP options as pairs (kind, value), without padding."""


@dataclass
class Point:
    """The packets captured at one point of the network path.

    `packets`: the columns of KEPT and `from_client`, in frame order, without duplicate copies. `first_time`: the time of the
    first packet, ns since 1970. `last`: the time of the last packet, ns since the first. `syns`: the TCP options of each SYN, by
    its row in `packets`. `connections`: rows of tables.CONNECTIONS.
    """

    packets: Columns
    connections: pl.DataFrame
    first_time: int
    last: int
    syns: dict[int, Options]

    def __len__(self) -> int:
        return len(self.packets["frame"])


def apart(one: int, two: int) -> int:
    """Return `two` minus `one` (ns), limited to plus or minus MAX_APART, because pcapng files may contain impossible years."""
    return max(-MAX_APART, min(MAX_APART, two - one))


def gather(access: PacketAccess, connections: pl.DataFrame, first_time: int, last: int) -> Point:
    """Read the packets of a capture again and return them.

    `connections`: the capture's rows of tables.CONNECTIONS. `first_time`, `last`: as in Point.
    """
    parts: list[Columns] = []
    syns: dict[int, Options] = {}
    for portion in access.portions(_READ):
        part, payload = _join_columns(portion.tables["packets"], portion.tables["segments"])
        parts.append(part)
        for row in np.flatnonzero(part["flags"] & SYN)[: max(0, MAX_SYNS - len(syns))].tolist():
            found = _options(portion.read, int(payload[row]), int(part["seq"][row]), int(part["ack"][row]))
            if found is not None:
                syns[int(part["frame"][row])] = found
    packets = {name: np.concatenate([np.empty(0, kind), *(p[name] for p in parts)]) for name, (_, kind) in KEPT.items()}
    parts.clear()
    order = np.argsort(packets["frame"], kind="stable")
    packets = {name: column[order] for name, column in packets.items()}
    by_id = connections.sort("connection")
    ids, directions = by_id["connection"].to_numpy(), by_id["client_direction"].to_numpy()
    # a connection that consists of invalid packets has no row and is left out
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
    """Return the frame numbers of `wanted` that are in `frames`."""
    numbers = np.fromiter(wanted, np.int64)
    return set(numbers[np.isin(numbers, frames)].tolist())


def _join_columns(packets: pl.DataFrame, segments: pl.DataFrame) -> tuple[Columns, Array]:
    """Return the columns of KEPT, and the position of each packet's payload in the capture."""
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
    """Return the TCP options of the header that ends where the payload begins; None for a fragment or a truncated header.

    `payload`: the position of the payload, as `read` expects it. The length of the header is not known, so each length is tried
    until the sequence numbers match.
    """
    numbers = struct.pack("!II", seq, ack)
    before = read(max(payload - 60, 0), min(payload, 60))
    for words in range(5, 16):
        header = before[-4 * words :]
        if len(header) == 4 * words and header[12] >> 4 == words and header[4:12] == numbers:
            return _parse_options(header[20:])
    return None


def _parse_options(data: bytes) -> Options:
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

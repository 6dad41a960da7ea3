"""Decodes with the core and, as a second opinion, with the general decoder alone; both must agree on everything."""

from __future__ import annotations

from collections import Counter
from functools import reduce
from typing import Any

import numpy as np

from tests.core.front import by_core
from tests.decode.packets import Record, capture
from wiredoctor import limits
from wiredoctor.decode.general import follow
from wiredoctor.decode.hashing import mix_one
from wiredoctor.decode.names import names_of
from wiredoctor.decode.packet import Packet
from wiredoctor.decode.rows import Row
from wiredoctor.decode.state import DecodeState
from wiredoctor.tables import PACKETS, SCRATCH, Columns

Oddities = list[tuple[int, str, str]]
Decoded = tuple[Columns, Oddities, DecodeState]


def both(data: np.ndarray[Any, Any], records: Columns) -> Decoded:
    """Decode these records; return their rows of tables.PACKETS, what is odd in them, and the general decoder's state."""
    rows, oddities, state = by_general(data, records)
    columns, front = by_core(data, records)
    assert list(columns) == list(rows)
    for name, column in rows.items():
        assert columns[name].tolist() == column, name
    assert front.facts() == {
        "not analyzed": +Counter(state.not_analysed),
        "encapsulations": +Counter(state.encapsulations),
        "longest cut": state.longest_cut,
        "scratch": bytes(state.scratch),
        "limits": state.limits,
        "oddities": oddities,
    }
    assert len(set(rows["frame"])) + sum(state.not_analysed.values()) == len(records["time"])
    assert (np.diff(columns["frame"]) > 0).all()
    return columns, oddities, state


def by_general(data: np.ndarray[Any, Any], records: Columns) -> tuple[dict[str, list[Any]], Oddities, DecodeState]:
    """The same by the general decoder alone."""
    state, buffer = DecodeState(), memoryview(data.tobytes())
    rows: dict[str, list[Any]] = {column.name: [] for column in PACKETS.columns}
    oddities: Oddities = []
    names = ("time", "interface", "link_type", "offset", "captured", "length")
    each = zip(*(records[name].tolist() for name in names), strict=True)
    for frame, (time, interface, link_type, at, captured, length) in enumerate(each, start=1):
        packet = Packet(state, buffer, 0, at, at + captured, at + max(captured, length), captured)
        row = follow(packet, link_type)
        if isinstance(row, str):
            state.not_analysed[row] += 1
            continue
        state.encapsulations.update(names_of(packet.names))
        if row.oddity is not None and len(oddities) < limits.ODDITIES.value:
            oddities.append((frame, "tcp", row.oddity))
        for name, value in (vars(row) | cells(row) | {"frame": frame, "time": time, "interface": interface}).items():
            if name in rows:
                rows[name].append(value)
    return rows, oddities, state


def cells(row: Row) -> dict[str, int]:
    """The cells of tables.PACKETS that a row has in another form."""
    low = (1 << 64) - 1
    return {
        "source_high": row.source >> 64,
        "source_low": row.source & low,
        "destination_high": row.destination >> 64,
        "destination_low": row.destination & low,
        "options_hash": options_hash(row.options),
    }


def options_hash(options: bytes) -> int:
    """The hash of the length and the words of 64 bits; 0 if there are no options."""
    words = [int.from_bytes(options[at : at + 8], "little") for at in range(0, 40 if len(options) > 16 else 16, 8)]
    return max(reduce(mix_one, words, len(options)), 1) if options else 0


def decoded(records: list[Record]) -> Decoded:
    """The rows of these records."""
    return both(*capture(records))


def payloads(records: list[Record], answer: Decoded) -> list[bytes]:
    """The captured payload of each row."""
    rows, _, state = answer
    file = capture(records)[0].tobytes()
    found = []
    for at, size in zip(rows["payload"].tolist(), rows["captured"].tolist(), strict=True):
        found.append(bytes(state.scratch[at - SCRATCH :][:size]) if at >= SCRATCH else file[at : at + size])
    return found

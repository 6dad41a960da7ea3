"""Rows that were found one by one become the same columns as those found all at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.decode.options import hash_options
from wiredoctor.tables import PACKETS

if TYPE_CHECKING:
    from wiredoctor.tables import Array, Columns

_SPACE = 40


@dataclass
class Row:
    """A TCP packet: names as in tables.PACKETS; `options` are the option bytes that were captured."""

    record: int
    frame: int
    ip_version: int
    source: int
    destination: int
    source_port: int
    destination_port: int
    ip_id: int
    ttl: int
    link_hash: int
    encapsulation: int
    seq: int
    ack: int
    flags: int
    window: int
    length: int
    captured: int
    payload: int
    quoted: bool
    options: bytes
    mss: int = -1
    window_shift: int = -1
    has_timestamps: bool = False
    sack: bool = False
    dsack: bool = False
    oddity: str | None = field(default=None, repr=False)


_HALF = (1 << 64) - 1
_COMPUTED = ("time", "interface", "source_high", "source_low", "destination_high", "destination_low", "options_hash")


def columns_of(rows: list[Row], records: Columns) -> Columns:
    """tables.PACKETS columns."""
    record = np.array([r.record for r in rows], np.int64)
    columns: Columns = {
        "time": records["time"][record],
        "interface": records["interface"][record],
        "source_high": np.array([r.source >> 64 for r in rows], np.uint64),
        "source_low": np.array([r.source & _HALF for r in rows], np.uint64),
        "destination_high": np.array([r.destination >> 64 for r in rows], np.uint64),
        "destination_low": np.array([r.destination & _HALF for r in rows], np.uint64),
        "options_hash": _option_hashes([r.options for r in rows]),
    }
    for column in PACKETS.columns:
        if column.name not in _COMPUTED:
            dtype = np.dtype(str(column.dtype).lower().replace("boolean", "bool"))
            columns[column.name] = np.array([getattr(r, column.name) for r in rows], dtype)
    return columns


def _option_hashes(options: list[bytes]) -> Array:
    if not options:
        return np.empty(0, np.uint64)
    words = np.frombuffer(b"".join(o.ljust(_SPACE, b"\0") for o in options), np.uint64).reshape(-1, 5)
    size = np.array([len(o) for o in options], np.int64)
    return np.where(size > 0, hash_options(words, size), np.uint64(0))

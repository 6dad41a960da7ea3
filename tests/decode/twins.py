"""Decodes with both paths and with the core, which must agree on everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import numpy as np

from tests.core import front
from tests.decode.packets import Record, capture
from wiredoctor.decode import DecodeState, decode, decoding
from wiredoctor.tables import PACKETS, SCRATCH, Columns

Decoded = tuple[Columns, list[tuple[int, str, str]], DecodeState]


def check_columns(columns: Columns) -> None:
    """Names, types and one length, as tables.PACKETS says."""
    assert list(columns) == [c.name for c in PACKETS.columns]
    for column in PACKETS.columns:
        assert columns[column.name].dtype == np.dtype(str(column.dtype).lower().replace("boolean", "bool")), column.name
        assert len(columns[column.name]) == len(columns["frame"])


def both(data: np.ndarray[Any, Any], epochs: Sequence[tuple[int, Columns]]) -> Decoded:
    """Decodes epoch by epoch on the fast and on the general path; returns the fast answer."""
    fast, general = DecodeState(), DecodeState()
    parts: list[Columns] = []
    oddities: list[tuple[int, str, str]] = []
    for first_frame, records in epochs:
        with patch.object(decoding, "FEW", 0):  # the paths for many decode a single packet too
            columns, odd = decode(data, first_frame, records, fast)
        twin, twin_odd = decode(data, first_frame, records, general, fast=False)
        check_columns(columns)
        check_columns(twin)
        for name, column in columns.items():
            assert column.tolist() == twin[name].tolist(), name
        assert odd == twin_odd
        parts.append(columns)
        oddities += odd
    assert fast.not_analysed == general.not_analysed
    assert fast.scratch == general.scratch
    assert fast.encapsulations == general.encapsulations
    assert fast.longest_cut == general.longest_cut
    rows = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    assert len(set(rows["frame"].tolist())) + sum(fast.not_analysed.values()) == sum(len(r["time"]) for _, r in epochs)
    assert (np.diff(rows["frame"]) > 0).all()
    front.check(data, [*epochs], rows, oddities, fast)
    return rows, oddities, fast


def decoded(records: list[Record], epoch: int = 1_000) -> Decoded:
    """The rows of these records."""
    data, columns = capture(records)
    starts = range(0, max(len(records), 1), epoch)
    return both(data, [(at + 1, {n: c[at : at + epoch] for n, c in columns.items()}) for at in starts])


def payloads(records: list[Record], answer: Decoded) -> list[bytes]:
    """The captured payload of each row."""
    rows, _, state = answer
    file = capture(records)[0].tobytes()
    found = []
    for at, size in zip(rows["payload"].tolist(), rows["captured"].tolist(), strict=True):
        found.append(bytes(state.scratch[at - SCRATCH :][:size]) if at >= SCRATCH else file[at : at + size])
    return found

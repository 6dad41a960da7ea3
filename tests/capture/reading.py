"""Reads a capture whole, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from wiredoctor.capture import Capture, open_capture
from wiredoctor.tables import RECORDS


def whole(capture: Capture, epoch: int = 128_000) -> dict[str, Any]:
    """All columns of all epochs; checks that frames count on without a gap, and that no epoch is too long."""
    parts: list[Any] = []
    frame = 1
    for records in capture.epochs(epoch):
        size = len(records.columns["time"])
        assert records.first_frame == frame
        assert 0 < size <= epoch
        frame += size
        parts.append(records.columns)
    assert capture.packets == frame - 1
    names = [c.name for c in RECORDS.columns]
    columns = {n: np.concatenate([p[n] for p in parts]) if parts else np.empty(0, np.int64) for n in names}
    for column in RECORDS.columns:
        assert not parts or columns[column.name].dtype == np.dtype(str(column.dtype).lower()), column.name
    return columns


def read(path: Path, content: bytes, epoch: int = 128_000, **options: Any) -> tuple[Capture, dict[str, Any]]:
    """Writes `content` to `path` and reads it."""
    path.write_bytes(content)
    capture = open_capture(path, **options)
    with capture:
        return capture, whole(capture, epoch)


def contents(capture: Capture, columns: dict[str, Any]) -> list[bytes]:
    """The bytes of each packet."""
    spans = zip(columns["offset"].tolist(), columns["captured"].tolist(), strict=True)
    return [capture.data[at : at + size].tobytes() for at, size in spans]

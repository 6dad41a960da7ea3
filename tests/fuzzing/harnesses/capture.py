"""Any bytes as a capture file, or as two that are merged: records lie in the file, and how it is read does not matter."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from tests.capture.reading import whole
from tests.fuzzing.guard import must
from tests.fuzzing.places import as_file
from wiredoctor.capture import CaptureError, lanes, longest_cut, open_capture, open_merged

SPOOL = 4 << 20
"""Bytes that a compressed input may come to."""

Answer = tuple[dict[str, list[Any]], str | None, int | None, list[str]]


def run(data: bytes) -> None:
    """Reads the bytes in several ways, which must agree."""
    choice = zlib.crc32(data)
    with as_file(data) as path:
        expected = answer(path, 1_000_000)
        other = answer(path, (1, 2, 7)[choice % 3] if len(data) < 20_000 else 501)
        must(other == expected, "records do not depend on epochs", _differ(expected, other))
        with mock.patch.multiple(lanes, FROM=8, LANES=4, WINDOW=512):
            other = answer(path, 1_000_000)
        must(other == expected, "records do not depend on how they are found", _differ(expected, other))
        if choice % 4 == 0 and not isinstance(expected, str):
            _merged(path, expected)


def answer(path: Path, epoch: int) -> Answer | str:
    """What is in a file, or why it cannot be read."""
    try:
        with open_capture(path, max_spool=SPOOL) as capture:
            records = whole(capture, epoch)
            ends = records["offset"] + records["captured"]
            must(
                ((records["offset"] >= 0) & (records["captured"] >= 0) & (ends <= capture.data.size)).all(),
                "records lie in the file",
            )
            must(capture.position <= capture.data.size, "reading ends with the file", capture.position)
            must((np.abs(records["time"]) < 1 << 62).all(), "times fit")
            must((records["length"] >= 0).all(), "packets have a length")
            must(capture.damage is None or capture.damage.isprintable(), "damage is told in a line", capture.damage)
            _cuts(records)
            return {n: c.tolist() for n, c in records.items()}, capture.damage, capture.first_time, capture.link_types
    except CaptureError as error:
        must(str(error).isprintable(), "a file that cannot be read is told in a line", str(error))
        return str(error)


def _cuts(records: dict[str, Any]) -> None:
    from wiredoctor.capture import Records

    if len(records["time"]):
        longest_cut(Records(1, records))


def _merged(path: Path, expected: Answer) -> None:
    """With itself: each packet is there twice."""
    twin = path.with_name("y")
    twin.write_bytes(path.read_bytes())
    said: list[str] = []
    with open_merged([str(path), str(twin)], "both", said.append, max_spool=SPOOL) as capture:
        records = whole(capture, 100)
    must(len(records["time"]) == 2 * len(expected[0]["time"]), "merging loses no packet", len(records["time"]))


def _differ(expected: Answer | str, other: Answer | str) -> object:
    if isinstance(expected, str) or isinstance(other, str):
        return expected, other
    names = [n for n in expected[0] if expected[0][n] != other[0][n]]
    return names, expected[1:], other[1:]

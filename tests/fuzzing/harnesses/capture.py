"""Any bytes as a capture file, or as two that are merged: records lie in the file, and how it is read does not matter."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tests.capture.reading import Opened, whole
from tests.fuzzing.guard import must
from tests.fuzzing.places import as_file
from wiredoctor.capture import CaptureError
from wiredoctor.tables import NEVER

SPOOL = 4 << 20
"""Bytes that a compressed input may come to."""

Answer = tuple[dict[str, list[Any]], str | None, int | None, list[str]]


def run(data: bytes) -> None:
    """Reads the bytes in several ways, which must agree."""
    choice = zlib.crc32(data)
    with as_file(data) as path:
        expected = answer(path)
        other = answer(path, (1, 2, 7, 50)[choice % 4] if len(data) < 20_000 else 5_000)
        must(other == expected, "records do not depend on blocks", _differ(expected, other))
        if choice % 4 == 0 and not isinstance(expected, str):
            _merged(path, expected)


def answer(path: Path, block: int | None = None) -> Answer | str:
    """What is in a file that is read in blocks of so many bytes, or why it cannot be read."""
    try:
        with Opened(path, max_spool=SPOOL, block=block) as capture:
            records, size = whole(capture), capture.files.members[0].open().size
            ends = records["offset"] + records["captured"]
            inside = (records["offset"] >= 0) & (records["captured"] >= 0) & (ends <= size)
            must(inside.all(), "records lie in the file")
            must(capture.records.position <= size, "reading ends with the file", capture.records.position)
            must((np.abs(records["time"]) < 1 << 62).all(), "times fit")
            must((records["length"] >= records["captured"]).all(), "no packet is shorter than what was captured of it")
            cut = records["captured"] < records["length"]
            longest = int(records["captured"][cut].max()) if cut.any() else NEVER
            must(capture.records.snap_length == longest, "the longest packet that was cut", capture.records.snap_length, longest)
            must(capture.damage is None or capture.damage.isprintable(), "damage is told in a line", capture.damage)
            return {n: c.tolist() for n, c in records.items()}, capture.damage, capture.first_time, capture.link_types
    except CaptureError as error:
        must(str(error).isprintable(), "a file that cannot be read is told in a line", str(error))
        return str(error)


def _merged(path: Path, expected: Answer) -> None:
    """With itself: each packet is there twice, unless the report says that a file was cut."""
    twin = path.with_name("y")
    twin.write_bytes(path.read_bytes())
    with Opened(path, twin, max_spool=SPOOL) as capture:
        packets = len(whole(capture)["time"])
        must(packets == 2 * len(expected[0]["time"]) or capture.files.incomplete, "merging loses no packet", packets)


def _differ(expected: Answer | str, other: Answer | str) -> object:
    if isinstance(expected, str) or isinstance(other, str):
        return expected, other
    names = [n for n in expected[0] if expected[0][n] != other[0][n]]
    return names, expected[1:], other[1:]

"""snoop files of known content are read back, whole and cut off."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.capture.reading import Opened, contents, read
from wiredoctor.capture import CaptureError

PACKETS = [(1_000_000_007 + i, 999_999 - i, bytes([i]) * (60 + i)) for i in range(9)]
HEAD = b"snoop\0\0\0" + struct.pack(">II", 2, 4)


def record(seconds: int, micros: int, data: bytes) -> bytes:
    """RFC 1761: padded to a multiple of four bytes."""
    padding = bytes(-len(data) % 4)
    return struct.pack(">6I", len(data) + 5, len(data), 24 + len(data) + len(padding), 0, seconds, micros) + data + padding


CONTENT = HEAD + b"".join(record(*p) for p in PACKETS)


@pytest.mark.parametrize("block", [1, 50, 1_000])
def test_round_trip(tmp_path: Path, block: int) -> None:
    capture, columns = read(tmp_path / "x", CONTENT, block=block)
    assert contents(capture, columns) == [data for _, _, data in PACKETS]
    times = [(s * 1_000_000 + us) * 1_000 for s, us, _ in PACKETS]
    assert (columns["time"] + (capture.first_time or 0)).tolist() == times
    assert columns["length"].tolist() == [len(data) + 5 for _, _, data in PACKETS]
    assert (capture.records.format, capture.link_types, capture.damage) == ("snoop", ["ETHERNET"], None)


def test_damage_ends_reading(tmp_path: Path) -> None:
    for tail in (
        record(*PACKETS[0])[:-30],
        b"abc",
        struct.pack(">6I", 1, 1 << 30, 24, 0, 0, 0),
        struct.pack(">6I", 9, 9, 24, 0, 0, 0),
    ):
        capture, columns = read(tmp_path / "x", CONTENT + tail)
        assert len(columns["time"]) == len(PACKETS)
        assert "packet 10" in (capture.damage or "")


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for head in (HEAD[:12], b"snoop\0\0\0" + struct.pack(">II", 1, 4), b"snoop\0\0\0" + struct.pack(">II", 2, 77)):
        (tmp_path / "x").write_bytes(head)
        with pytest.raises(CaptureError):
            Opened(tmp_path / "x")

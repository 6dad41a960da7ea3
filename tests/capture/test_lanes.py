"""Captures of many packets, whose record headers are found from many places at once: what was written is read back."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.capture import files
from tests.capture.files import MICRO, MODIFIED, NANO, Packet
from tests.capture.reading import read
from wiredoctor.capture import lanes

MANY = 3 * lanes.FROM


def packets(seed: int, longest: int = 1514, gap: int = 900, inside: bytes = b"") -> list[Packet]:
    """Packets of random lengths; `inside` lies in some of them. `gap`: microseconds between two."""
    chance, found = random.Random(seed), list[Packet]()
    for i in range(MANY):
        size = chance.choice((54, 66, 66, chance.randrange(60, longest)))
        data = chance.randbytes(size) if i % 7 else (inside * 40)[:size].ljust(size, b"\0")
        found.append(Packet(1_700_000_000_000_000 + i * gap, data, size + i % 3))
    return found


def places(some: list[Packet], header: int) -> list[int]:
    """Where the packets begin in the file, from how it was written."""
    sizes = np.array([header + len(p.data) for p in some])
    return (24 + np.cumsum(sizes) - sizes + header).tolist()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "header"), [(MICRO, 16), (NANO, 16), (MODIFIED, 24)])
def test_everything_is_found(tmp_path: Path, order: str, magic: int, header: int) -> None:
    some = packets(1)
    capture, columns = read(tmp_path / "x", files.pcap(some, order, magic))
    assert columns["offset"].tolist() == places(some, header)
    assert columns["captured"].tolist() == [len(p.data) for p in some]
    assert (capture.packets, capture.damage) == (MANY, None)


@pytest.mark.parametrize(
    ("longest", "gap"),
    [(1514, 3_000_000), (1514, 70_000_000), (60_000, 900), (62, 900)],
    ids=["slow", "days", "super-segments", "small"],
)
def test_captures_of_other_kinds(tmp_path: Path, longest: int, gap: int) -> None:
    some = packets(2, longest, gap)
    _, columns = read(tmp_path / "x", files.pcap(some))
    assert columns["offset"].tolist() == places(some, 16)


@pytest.mark.parametrize("epoch", [5_000, lanes.FROM, lanes.FROM + 1, MANY])
def test_the_size_of_epochs_changes_nothing(tmp_path: Path, epoch: int) -> None:
    some = packets(3)
    _, columns = read(tmp_path / "x", files.pcap(some), epoch)
    assert columns["offset"].tolist() == places(some, 16)


def test_headers_in_payload_lead_nowhere(tmp_path: Path) -> None:
    """A capture of a capture: the packets hold records that look right and are followed by others."""
    record = struct.pack("<IIII", 1_700_000_005, 1, 40, 40) + bytes(40)
    some = packets(4, inside=record)
    capture, columns = read(tmp_path / "x", files.pcap(some))
    assert columns["offset"].tolist() == places(some, 16)
    assert capture.damage is None


@pytest.mark.parametrize("length", [262_145 + 1_000_000, 0xFFFFFFFF, 0xFFFFFFF0])
def test_what_comes_before_a_wrong_length_is_read(tmp_path: Path, length: int) -> None:
    some = packets(5)
    content, at = bytearray(files.pcap(some)), places(some, 16)
    bad = MANY - 5_000
    struct.pack_into("<I", content, at[bad] - 8, length)
    capture, columns = read(tmp_path / "x", bytes(content))
    assert columns["offset"].tolist() == at[:bad]
    assert capture.damage is not None
    assert f"packet {bad + 1} announces {length} bytes" in capture.damage


@pytest.mark.parametrize("cut", [1, 20, 71])
def test_a_file_that_ends_early(tmp_path: Path, cut: int) -> None:
    some = packets(6)
    content = files.pcap(some)[:-cut]
    capture, columns = read(tmp_path / "x", content)
    at = places(some, 16)
    assert columns["offset"].tolist() == [a for a, p in zip(at, some, strict=True) if a + len(p.data) <= len(content)]
    assert capture.damage is not None


def test_most_is_found_from_many_places() -> None:
    """Not one after the other, which would be as right and slow."""
    some = packets(7)
    content = np.frombuffer(files.pcap(some), np.uint8)
    average = content.size // MANY
    offsets, end = lanes.follow(content, 24, MANY // 2, average, lanes.Layout("<", 16))
    assert MANY // 3 < len(offsets) < MANY
    expected = [a - 16 for a in places(some, 16)]
    assert offsets.tolist() == expected[: len(offsets)]
    assert end == expected[len(offsets)]

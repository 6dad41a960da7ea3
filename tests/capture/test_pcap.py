"""Classic pcap files of known content are read back, in every variant."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.capture import files
from tests.capture.files import MICRO, MODIFIED, NANO, Packet
from tests.capture.reading import Opened, contents, read
from wiredoctor.capture import CaptureError
from wiredoctor.core.capture.records import LATEST

PACKET = st.builds(
    lambda ticks, data, more: Packet(ticks, data, len(data) + more),
    st.integers(0, 4_000_000_000 * 1_000_000),
    st.binary(max_size=90),
    st.integers(0, 2_000),
)
THREE = [Packet(5_000_000 + i, bytes([i]) * (10 + i), 100) for i in range(3)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    packets=st.lists(PACKET, max_size=20),
    order=st.sampled_from("<>"),
    magic=st.sampled_from((MICRO, NANO, MODIFIED)),
    block=st.integers(1, 300),
)
def test_round_trip(tmp_path: Path, packets: list[Packet], order: str, magic: int, block: int) -> None:
    assume(not packets or packets[-1].ticks or packets[-1].length)  # nothing but zeros is what a power loss leaves
    capture, columns = read(tmp_path / "x", files.pcap(packets, order, magic), block=block)
    tick = 1 if magic == NANO else 1_000
    assert contents(capture, columns) == [p.data for p in packets]
    assert columns["length"].tolist() == [p.length for p in packets]
    times = [(p.ticks - packets[0].ticks) * tick for p in packets]
    assert columns["time"].tolist() == [min(max(time, -LATEST), LATEST) for time in times]
    assert set(columns["link_type"].tolist()) <= {1}
    assert capture.first_time == (packets[0].ticks * tick if packets else None)
    assert (capture.records.format, capture.damage, capture.link_types) == ("pcap", None, ["ETHERNET"])


@pytest.mark.parametrize("version", [(2, 2), (2, 3)])
def test_lengths_of_old_versions(tmp_path: Path, version: tuple[int, int]) -> None:
    """Before 2.3 the length on the wire came first; of 2.3 there are files of both kinds."""
    capture, columns = read(tmp_path / "x", files.pcap(THREE, version=version))
    assert contents(capture, columns) == [p.data for p in THREE]
    assert columns["length"].tolist() == [100, 100, 100]
    if version == (2, 3):
        swapped = files.pcap(THREE, version=(2, 2)).replace(struct.pack("<HH", 2, 2), struct.pack("<HH", 2, 3), 1)
        assert contents(*read(tmp_path / "y", swapped)) == [p.data for p in THREE]


@pytest.mark.parametrize("extra", [8, 12])
def test_longer_record_headers_are_recognised(tmp_path: Path, extra: int) -> None:
    """Under the standard magic number (8 more bytes) or the modified one (12) only the records themselves tell."""
    magic = MICRO if extra == 8 else MODIFIED
    out = files.pcap([], magic=magic)
    for p in THREE:
        out += struct.pack("<IIII", 900_000_000, p.ticks % 1_000_000, len(p.data), p.length) + struct.pack(
            "<IHBB", 2, 0x0800, 0, 0
        )
        out += bytes(extra - 8) + p.data
    capture, columns = read(tmp_path / "x", out)
    assert contents(capture, columns) == [p.data for p in THREE]
    assert capture.damage is None


def test_link_type_is_the_lower_16_bits(tmp_path: Path) -> None:
    capture, columns = read(tmp_path / "x", files.pcap(THREE, link_type=0x2400_0071))
    assert capture.link_types == ["LINUX_SLL"]
    assert columns["link_type"].tolist() == [113] * 3


@pytest.mark.parametrize("link_type", [64_000, 0x0001_0071])
def test_an_unknown_link_type_is_no_damage(tmp_path: Path, link_type: int) -> None:
    capture, columns = read(tmp_path / "x", files.pcap(THREE, link_type=link_type))
    assert columns["link_type"].tolist() == [link_type] * 3
    assert capture.damage is None


def test_every_cut(tmp_path: Path) -> None:
    """Cut anywhere, the packets before are read and the damage says so; on a border between packets there is none.

    (Cut 4 or 8 bytes behind the first packet, a file looks as if its record headers were that much longer.)
    """
    content = files.pcap(THREE)
    borders = [24]
    for p in THREE:
        borders.append(borders[-1] + 16 + len(p.data))
    for size in set(range(24, len(content) + 1)) - {borders[1] + 4, borders[1] + 8}:
        count = sum(b <= size for b in borders[1:])
        path = tmp_path / "x"
        if count == 0 and size not in borders:
            path.write_bytes(content[:size])
            with pytest.raises(CaptureError, match=f"{path}: no packet can be read: the file ends inside"):
                Opened(path)
            continue
        capture, columns = read(path, content[:size])
        assert len(columns["time"]) == count
        if size in borders:
            assert capture.damage is None
        else:
            assert f"packet {count + 1}" in (capture.damage or "")
            assert f"offset {borders[count]}" in (capture.damage or "")
            assert capture.records.position == borders[count]


def test_damage_names_the_bytes_there_are(tmp_path: Path) -> None:
    capture, _ = read(tmp_path / "x", files.pcap(THREE)[:-5])
    assert capture.damage == "the file ends inside packet 3 (offset 77: 12 bytes announced, 7 found)"


@pytest.mark.parametrize("size", [262_145, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_absurd_length_ends_reading(tmp_path: Path, size: int) -> None:
    content = files.pcap(THREE) + struct.pack("<IIII", 5, 9, size, size) + bytes(300_000)
    capture, columns = read(tmp_path / "x", content)
    assert len(columns["time"]) == 3
    assert f"packet 4 announces {size:,} bytes" in (capture.damage or "")


def test_times_of_1970_and_2042_fit(tmp_path: Path) -> None:
    last = 72 * 365 * 86_400 * 10**9 + 999_999_999
    capture, columns = read(tmp_path / "x", files.pcap([Packet(0, b"", 0), Packet(last, b"", 0), Packet(5, b"", 0)], magic=NANO))
    assert columns["time"].tolist() == [0, last, 5]
    assert capture.first_time == 0

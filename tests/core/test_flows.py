"""Connections, second copies and what is forgotten are those of the NumPy stages, however many records are read at a time."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from wiredoctor.scan import BUCKETS, bucket

from tests.benchmarks import wrapping
from tests.core.flow_feed import differences
from tests.core.test_records import CORPUS, RECORDINGS
from tests.ladders import to_pcap
from tests.tcp.test_crowds import crowd, few  # noqa: F401 - a fixture
from wiredoctor.capture.formats import is_capture
from wiredoctor.core import flows
from wiredoctor.core.packet import reverse


@pytest.mark.parametrize("path", RECORDINGS[::11], ids=lambda path: path.stem)
def test_recordings(path: Path) -> None:
    assert differences(path) == []


@pytest.mark.parametrize("path", CORPUS[::40], ids=lambda path: path.stem)
def test_corpus(path: Path) -> None:
    with path.open("rb") as file:
        if is_capture(file.read(64)) and path.stat().st_size < 5_000_000:
            assert differences(path) == []


@pytest.mark.parametrize("steps", [1, 7, 1_000_000])
def test_steps(steps: int) -> None:
    for path in RECORDINGS[5::170]:
        assert differences(path, steps) == []


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("seed", range(3))
def test_crowds(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(to_pcap(crowd(seed)))
    assert differences(path, 7) == []


def packets_of(path: Path) -> list[tuple[int, bytes, int]]:
    """Time (us), bytes and wire length of the packets of a little-endian pcap with microseconds."""
    content, at, found = path.read_bytes(), 24, list[tuple[int, bytes, int]]()
    while at < len(content):
        seconds, fraction, captured, length = struct.unpack_from("<IIII", content, at)
        found.append((seconds * 1_000_000 + fraction, content[at + 16 : at + 16 + captured], length))
        at += 16 + captured
    return found


def pcap_of(path: Path, packets: list[tuple[int, bytes, int]]) -> bytes:
    """A capture of these packets, with the file header of another."""
    records = (struct.pack("<IIII", *divmod(time, 1_000_000), len(data), length) + data for time, data, length in packets)
    return path.read_bytes()[:24] + b"".join(records)


PCAPS = [path for path in RECORDINGS if path.read_bytes()[:4] == b"\xd4\xc3\xb2\xa1" and path.stat().st_size < 300_000]


@pytest.mark.parametrize("seed", range(12))
def test_mutants(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    source, path = chance.choice(PCAPS), tmp_path / "x.pcap"
    packets = packets_of(source)
    for _ in range(60):
        number = chance.randrange(len(packets))
        time, data, length = packets[number]
        at = chance.randrange(min(len(data), 80))
        changed = data[:at] + bytes([chance.choice((0, 1, 0xFF, chance.randrange(256)))]) + data[at + 1 :]
        packets[number] = time, changed[: len(data) - chance.choice((0, 0, 0, chance.randrange(40)))], length
    path.write_bytes(pcap_of(source, packets))
    assert differences(path, 7) == []


def with_ttl(data: bytes) -> bytes:
    """The frame after one more hop."""
    return data[:22] + bytes([data[22] - 1]) + data[23:]


def with_tag(data: bytes) -> bytes:
    """The frame in a VLAN."""
    return data[:12] + b"\x81\0\0\5" + data[12:]


WAYS: list[Callable[[bytes], bytes]] = [with_ttl, with_tag, lambda data: b"\2" * 12 + data[12:], lambda data: data]


@pytest.mark.parametrize("delay_us", [1, 400, 5_000, 99_999])
@pytest.mark.parametrize("way", range(len(WAYS)))
def test_mirrored(tmp_path: Path, way: int, delay_us: int) -> None:
    """Every packet twice, the second copy delayed, so that they mix with later packets."""
    source, path = PCAPS[len(PCAPS) // 2 + delay_us % 7], tmp_path / "x.pcap"
    packets = packets_of(source)
    again = [(time + delay_us, WAYS[way](data), length) for time, data, length in packets]
    path.write_bytes(pcap_of(source, sorted(packets + again, key=lambda packet: packet[0])))
    assert differences(path, 7) == []


def test_a_copy_from_a_rare_tunnel(tmp_path: Path) -> None:
    """Once as it is, and once in a tunnel that only the general decoder reads: the options are the same."""
    source, path = PCAPS[40], tmp_path / "x.pcap"
    tunnel = wrapping.WAYS["L2TP"][1]
    packets: list[tuple[int, bytes, int]] = []
    for time, data, length in packets_of(source):
        wrapped = tunnel(data)
        packets += [(time, data, length), (time + 100, wrapped, max(length, len(wrapped)))]
    path.write_bytes(pcap_of(source, packets))
    assert differences(path) == []


def test_buckets() -> None:
    chance = random.Random(1)
    for size in (4, 16):
        for _ in range(500):
            key = chance.randbytes(2 * size + 4)
            expected = by_scan(key, size)
            assert flows.bucket(key) == flows.bucket(reverse(key)) == expected < BUCKETS == flows.BUCKETS


def by_scan(key: bytes, size: int) -> int:
    import numpy as np

    halves = [key[:size].rjust(16, b"\0"), key[size : 2 * size].rjust(16, b"\0")]
    words = [np.array([int.from_bytes(half[at : at + 8])], np.uint64) for half in halves for at in (0, 8)]
    ports = [np.array([int.from_bytes(key[at : at + 2])], np.uint16) for at in (2 * size, 2 * size + 2)]
    return int(bucket((words[0], words[1], words[2], words[3]), (ports[0], ports[1]))[0])

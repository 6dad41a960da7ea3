"""Connections and second copies in captures that were broken, mirrored or tunneled."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks import wrapping
from tests.core.feeding import CORPUS, tables
from tests.support.recordings import PATHS
from tests.support.sweeps import sweep
from wiredoctor import limits
from wiredoctor.capture import CaptureError
from wiredoctor.capture.formats import is_capture
from wiredoctor.core.capture.packet import Packet, reverse
from wiredoctor.core.capture.rare_tunnels import GRE_IN_UDP
from wiredoctor.core.tcp import flows
from wiredoctor.limits import LimitsReached


def assert_independent_of_steps(path: Path) -> None:
    """Read a capture at once, and a few packets at a time."""
    whole, parts = tables(path), tables(path, 7)
    for name, rows in whole.items():
        assert parts[name].equals(rows), name


@pytest.mark.parametrize("path", sweep(CORPUS[::40], CORPUS[::400].__contains__), ids=lambda path: path.stem)
def test_corpus(path: Path) -> None:
    with path.open("rb") as file:
        if not is_capture(file.read(64)) or path.stat().st_size > 5_000_000:
            pytest.skip("no small capture")
    try:
        assert_independent_of_steps(path)
    except CaptureError:
        pytest.skip("it cannot be read")


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


PCAPS = [path for path in PATHS if path.read_bytes()[:4] == b"\xd4\xc3\xb2\xa1" and path.stat().st_size < 300_000]
MAX_SNAP = 262_144
"""The snap length of tcpdump by default, in bytes."""
WHOLE = next(path for path in PCAPS if path.stem == "challenged-once-rtt-120-server")
"""Recorded without a snap length."""


@pytest.mark.parametrize("seed", range(12))
def test_mutants(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    source, path = chance.choice(PCAPS), tmp_path / "x.pcap"
    packets = packets_of(source)
    for _ in range(60):
        number = chance.randrange(len(packets))
        time, data, length = packets[number]
        if not data:
            continue  # all of it was cut off by now
        at = chance.randrange(min(len(data), 80))
        changed = data[:at] + bytes([chance.choice((0, 1, 0xFF, chance.randrange(256)))]) + data[at + 1 :]
        packets[number] = time, changed[: len(data) - chance.choice((0, 0, 0, chance.randrange(40)))], length
    path.write_bytes(pcap_of(source, packets))
    assert_independent_of_steps(path)


def with_ttl(data: bytes) -> bytes:
    """The frame after one more hop."""
    return data[:22] + bytes([data[22] - 1]) + data[23:]


def with_tag(data: bytes) -> bytes:
    """The frame in a VLAN."""
    return data[:12] + b"\x81\0\0\5" + data[12:]


WAYS: dict[str, Callable[[bytes], bytes]] = {
    "another hop": with_ttl,
    "a VLAN": with_tag,
    "other MAC addresses": lambda data: b"\2" * 12 + data[12:],
    "unchanged": lambda data: data,
}


def assert_equal_but_copies(path: Path, source: Path) -> int:
    """Compare what a capture and its source say of connections; return how many second copies there are."""
    found, expected = (tables(each)["connections"].sort("connection") for each in (path, source))
    for rows in (found, expected):
        assert rows.height
    left_out = [name for name in found.columns if name.endswith("frame") or name.startswith("duplicate")]
    left_out.append("final_at")  # the last copy ends a capture
    assert found.drop(left_out).to_dicts() == expected.drop(left_out).to_dicts()
    assert expected["duplicates"].sum() == 0
    return int(found["duplicates"].sum())


def can_be_mirrored(path: Path) -> bool:
    """Return whether all frames are IPv4 and TCP directly in Ethernet, which `WAYS` can change, and no two are identical."""
    frames = [data for _, data, _ in packets_of(path)]
    ethernet = path.read_bytes()[20:24] == b"\1\0\0\0"
    return ethernet and len({*frames}) == len(frames) and all(data[12:14] == b"\x08\0" and data[23] == 6 for data in frames)


def mirror(path: Path, source: Path, way: Callable[[bytes], bytes], delay_us: int) -> int:
    """Write a capture with every packet twice, the second copy delayed, with the snap length of the source; return how many
    packets the source has."""
    packets = packets_of(source)
    snapped = max((len(data) for _, data, length in packets if len(data) < length), default=MAX_SNAP)
    again = [(time + delay_us, way(data)[:snapped], length + len(way(data)) - len(data)) for time, data, length in packets]
    path.write_bytes(pcap_of(source, sorted(packets + again, key=lambda packet: packet[0])))
    return len(packets)


TO_MIRROR = [path for path in PCAPS if can_be_mirrored(path)]


@pytest.mark.parametrize("delay_us", [1, 400, 5_000, 99_999])
@pytest.mark.parametrize("way", WAYS)
def test_mirrored(tmp_path: Path, way: str, delay_us: int) -> None:
    """Copies that another hop changed mix with later packets. Late ones without a change are copies if they were acknowledged
    before they came, as where another clock captured them; a packet that nobody acknowledged may have been sent again.
    """
    source, path = random.Random(f"{way} {delay_us}").choice(TO_MIRROR), tmp_path / "x.pcap"
    packets = mirror(path, source, WAYS[way], delay_us)
    if way == "unchanged" and delay_us > 1_000:
        assert packets <= tables(path)["connections"]["packets"].sum() <= 2 * packets
    else:
        assert assert_equal_but_copies(path, source) == packets
    assert_independent_of_steps(path)


def test_a_copy_from_a_rare_tunnel(tmp_path: Path) -> None:
    """Once as it is, and once in a tunnel: the options are the same."""
    source, path = WHOLE, tmp_path / "x.pcap"
    packets: list[tuple[int, bytes, int]] = []
    for time, data, length in packets_of(source):
        wrapped = wrapping.udp(b"\0\0\x08\0" + data[wrapping.FRAME_HEADER :], GRE_IN_UDP)
        packets += [(time, data, length), (time + 100, wrapped, max(length, len(wrapped)))]
    path.write_bytes(pcap_of(source, packets))
    assert assert_equal_but_copies(path, source) == len(packets) // 2


def test_copies_with_cut_tcp_headers(tmp_path: Path) -> None:
    """Each packet twice, and of its TCP header only what is needed to find the connection."""
    source, path = WHOLE, tmp_path / "x.pcap"
    size = wrapping.FRAME_HEADER + 20 + 16
    packets = [(time + late, data[:size], length) for time, data, length in packets_of(source) for late in (0, 100)]
    path.write_bytes(pcap_of(source, packets))
    assert tables(path)["connections"].height
    assert_independent_of_steps(path)


def test_buckets() -> None:
    """Both directions of a connection are in one, and connections are spread over all."""
    chance = random.Random(1)
    for size in (4, 16):
        keys = [chance.randbytes(2 * size + 4) for _ in range(200 * flows.BUCKETS)]
        buckets = [flows.bucket(key) for key in keys]
        assert [flows.bucket(reverse(key)) for key in keys] == buckets
        counts = [buckets.count(number) for number in range(flows.BUCKETS)]
        assert sum(counts) == len(keys)
        assert 100 < min(counts) <= max(counts) < 300


def test_numbers_for_connections_that_never_open_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine SYNs were read ahead, each on ports of its own, and only the newest opens its connection."""
    monkeypatch.setattr(limits.PROMISED, "value", 4)
    met = LimitsReached()
    found, packet = flows.Flows(met), Packet()
    packet.key_at, packet.tcp = 0, 8
    for port in range(9):
        packet.block = bytes(11) + bytes([port])
        found.promise(packet)
    assert (found.promises, len(found.promised)) == (4, 4)
    assert met.messages() == [limits.PROMISED.describe(5)]
    assert found.open(packet).id == 8
    packet.block = bytes(12)
    assert found.open(packet).id == 9
    assert found.promises == 3


def test_the_oldest_number_of_ports_that_are_used_again_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.PROMISED, "value", 2)
    found, packet = flows.Flows(LimitsReached()), Packet()
    packet.key_at, packet.tcp, packet.block = 0, 8, bytes(12)
    for _ in range(5):
        found.promise(packet)
    assert list(found.promised.values()) == [[3, 4]]

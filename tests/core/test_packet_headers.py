"""Whatever bytes a packet has: reading it raises nothing and stays within the record."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.benchmarks.wrapping import WAYS as WRAPPED
from tests.core.front import Front, by_core
from tests.decode.decoding import decoded
from tests.decode.packets import Record, capture, ethernet, ipv4, ipv6, tcp
from tests.decode.test_headers import WAYS
from tests.support.sweeps import examples
from wiredoctor.core.capture.links import LINKS
from wiredoctor.core.capture.packet import Packet, place_of_payload
from wiredoctor.tables import SCRATCH

OPTIONS = b"\2\4\5\xb4\1\3\3\7\1\1\x08\x0a" + bytes(8) + b"\1\1\5\x0a" + bytes(8)
PLAIN = ethernet(ipv4(tcp(b"x" * 30, OPTIONS)))
FIELDS = ("sequence", "acknowledgment", "flags", "window", "length", "captured")


@pytest.mark.parametrize("way", WRAPPED)
def test_every_truncation(way: str) -> None:
    """Cut off at each byte: as captured, and as sent."""
    link_type, front = WRAPPED[way]
    whole = front(PLAIN)
    cuts = range(0, len(whole), 1 if len(whole) < 200 else 2)
    decoded([Record(whole[:size], link_type, len(whole)) for size in cuts])
    decoded([Record(whole[:size], link_type) for size in cuts])


@pytest.mark.parametrize("link_type", LINKS)
def test_ones_and_zeros(link_type: int) -> None:
    """Records of any length of nothing but ones, or zeros, of all link types."""
    records = [Record(bytes([value]) * size, link_type) for value in (0, 0xFF, 0x45, 0x60) for size in range(0, 120, 3)]
    decoded(records)


def test_numbers_of_all_ones() -> None:
    """No number is taken for negative, or for another one."""
    packet = ethernet(ipv4(tcp(b"", seq=0xFFFFFFFF, ack=0xFFFFFFFF, flags=0xFF, window=0xFFFF, sport=0xFFFF, dport=0xFFFF)))
    data, columns = capture([Record(packet)])
    rows, _ = by_core(data, columns)
    assert [int(rows[n][0]) for n in ("seq", "ack", "flags", "window")] == [0xFFFFFFFF, 0xFFFFFFFF, 0xFF, 0xFFFF]
    assert [int(rows[n][0]) for n in ("source_port", "destination_port")] == [0xFFFF, 0xFFFF]


@settings(deadline=None, max_examples=examples(200))
@given(st.sampled_from(list(LINKS)), st.binary(max_size=150))
def test_any_bytes(link_type: int, content: bytes) -> None:
    front, packet = Front(), Packet()
    packet.block, packet.at, packet.end = b"\xee" * 3 + content + b"\xee", 3, 3 + len(content)
    packet.link_type, packet.wire_length = link_type, len(content)
    if front.read(packet):
        assert packet.at <= packet.payload
        assert 0 <= packet.captured <= packet.length
        assert packet.payload + packet.captured <= max(packet.end, packet.payload)
        assert all(getattr(packet, name) >= 0 for name in FIELDS)


@settings(deadline=None, max_examples=examples(200))
@given(st.lists(st.sampled_from((0, 1, 2, 3, 4, 5, 8, 10, 18, 0xFF)), max_size=40), st.integers(0, 40), st.booleans())
def test_any_options(options: list[int], cut: int, is_ipv6: bool) -> None:
    segment = tcp(b"data", bytes(options))
    whole = ethernet(ipv6(segment), 0x86DD) if is_ipv6 else ethernet(ipv4(segment))
    decoded([Record(whole), Record(whole[: len(whole) - cut], length=len(whole))])


@pytest.mark.parametrize("way", WAYS)
def test_payload(way: str) -> None:
    """The payload lies in the block where `payload` says, and in the capture where `place` says."""
    link_type, record = WAYS[way]
    packet = Packet()
    packet.block, packet.at, packet.end = b"\xee" * 5 + record, 5, 5 + len(record)
    packet.link_type, packet.wire_length, packet.block_place = link_type, len(record), 1 << 40
    front = Front()
    assert front.read(packet)
    assert packet.block[packet.payload : packet.payload + packet.captured] == b"hello"
    if place_of_payload(packet) < SCRATCH:
        assert place_of_payload(packet) - packet.payload == 1 << 40
    else:
        assert front.datagrams.scratch[place_of_payload(packet) - SCRATCH :][: packet.captured] == b"hello"

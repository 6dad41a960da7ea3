"""Test which checksums are verified. The expected values come from dpkt, which computes them for wiredoctor.testing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wiredoctor.core.capture.checksums import SOUND, UNKNOWN, WRONG_IP, WRONG_TCP, WRONG_UDP, Checksums
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.capture.packet_headers import Headers
from wiredoctor.core.capture.places import Places
from wiredoctor.testing.notation import ladder_packets
from wiredoctor.testing.wire import ALTERED, DAMAGED, OFFLOADED, UNSUMMED, Peers, frame_bytes

IP_CHECKSUM, IP_LENGTH, TCP_CHECKSUM = 14 + 10, 14 + 2, 14 + 20 + 16
"""Offsets in a frame of a ladder."""
WHOLE = 262_144
FIRST = 100
"""Where the block of the packet begins in the capture."""


class _Bytes(Places):
    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, place: int, length: int) -> bytes:
        return self.content[place - FIRST : place - FIRST + length]


def read(frame: bytes, snap: int = WHOLE) -> tuple[Packet, Checksums]:
    """Return a frame as the core reads it, after two other bytes."""
    packet, headers = Packet(), Headers(None)
    packet.block, packet.at, packet.end = b"zz" + frame, 2, 2 + min(len(frame), snap)
    packet.block_place, packet.wire_length, packet.link_type = FIRST, len(frame), 1
    headers.read(packet)
    return packet, Checksums(headers.layers, _Bytes(packet.block))


def verdict(frame: bytes, snap: int = WHOLE, mss: int = 1460) -> int:
    packet, checksums = read(frame, snap)
    found = checksums.verify(packet, mss)
    if packet.length and packet.end == len(packet.block):  # the same packet, when its retransmission is the current one
        assert checksums.verify_earlier(packet, mss, FIRST + packet.payload, packet.length) == found
    return found


def frame_of(text: str, **fields: object) -> bytes:
    [packet] = ladder_packets(f"0.000 > P. {text}")
    return frame_bytes(replace(packet, **fields))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 7, 8, 9, 100, 1459, 1460])
@pytest.mark.parametrize("client", ["10.0.0.1:40001", "[fd00::1]:40001"])
def test_every_length(size: int, client: str) -> None:
    peers = Peers(client, "[fd00::2]:80" if "[" in client else "10.0.0.2:80", (1000, 5000))
    text = f"x*{size}" if size else ""
    assert verdict(frame_of(text, peers=peers)) == SOUND
    assert verdict(frame_of(text, peers=peers, checksum=ALTERED)) == WRONG_TCP


@pytest.mark.parametrize("word", [OFFLOADED, UNSUMMED])
def test_not_computed(word: str) -> None:
    assert verdict(frame_of('"hello"', checksum=word)) == UNKNOWN


def test_offloaded_without_the_length() -> None:
    """Windows' large send offload leaves the length out of the sum."""
    frame = bytearray(frame_of('"hello"', checksum=OFFLOADED))
    with_length = int.from_bytes(frame[TCP_CHECKSUM : TCP_CHECKSUM + 2], "big")
    frame[TCP_CHECKSUM : TCP_CHECKSUM + 2] = (with_length - 25).to_bytes(2, "big")
    assert verdict(bytes(frame)) == UNKNOWN


def test_ip_header() -> None:
    frame = bytearray(frame_of('"hello"'))
    frame[IP_CHECKSUM] ^= 1
    assert verdict(bytes(frame)) == WRONG_IP
    frame[IP_CHECKSUM : IP_CHECKSUM + 2] = b"\0\0"  # offloaded
    assert verdict(bytes(frame)) == SOUND
    frame[IP_LENGTH : IP_LENGTH + 2] = b"\0\0"  # segmentation offload
    assert verdict(bytes(frame)) == UNKNOWN


def test_tunnel() -> None:
    assert verdict(frame_of('"hello"', vxlan=True)) == SOUND
    assert verdict(frame_of('"hello"', vxlan=True, checksum=ALTERED)) == WRONG_TCP
    assert verdict(frame_of('"hello"', vxlan=True, checksum=DAMAGED)) == WRONG_UDP
    assert verdict(frame_of('"hello"', vxlan=True, checksum=OFFLOADED)) == UNKNOWN


def test_padding_of_ethernet_does_not_count() -> None:
    assert verdict(frame_of("") + b"\x55" * 6) == SOUND


def test_longer_than_the_mss_or_not_captured_completely() -> None:
    wrong = frame_of('"hello" ts', checksum=ALTERED)
    assert verdict(wrong, mss=4) == UNKNOWN
    assert [verdict(wrong, snap) for snap in range(54, len(wrong))] == [UNKNOWN] * (len(wrong) - 54)
    bare = frame_of("ts", checksum=ALTERED)
    assert [verdict(bare, snap) for snap in range(54, len(bare))] == [UNKNOWN] * (len(bare) - 54)


def test_an_earlier_packet_with_other_options() -> None:
    later, _ = read(frame_of('"hello"'))
    for word, expected in (("", SOUND), (ALTERED, WRONG_TCP), (OFFLOADED, UNKNOWN)):
        earlier, checksums = read(frame_of('"hello" ts sack 1:5', checksum=word))
        assert checksums.verify_earlier(later, 1460, FIRST + earlier.payload, 5) == expected
    assert checksums.verify_earlier(later, 1460, FIRST + earlier.payload - 1, 5) == UNKNOWN

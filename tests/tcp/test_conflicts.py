"""Bytes that were sent twice and differ."""

from __future__ import annotations

import struct

import pytest

from tests.tcp.seeing import HANDSHAKE, Seen, see, see_packets
from wiredoctor.testing.notation import ladder_packets
from wiredoctor.testing.wire import frame_bytes, to_pcap

FORGED = HANDSHAKE + '0.030 > P. "abcdefgh"\n0.060 > P. 1:9 "ABCDefgh"\n'
"""Frame 5 contradicts frame 4."""

TRANSPORT = 14 + 20
"""Bytes before the TCP header in a frame of a ladder."""


def conflict(seen: Seen) -> tuple[int, int | None, int | None]:
    c = seen.connection
    return c["conflicts"], c["conflict_frame"], c["conflict_first_frame"]


def spoiled(text: str, frame: int) -> bytes:
    """The capture with a wrong checksum in this frame."""
    packets = ladder_packets(text)
    capture = bytearray(to_pcap(packets))
    at = 24 + sum(16 + len(frame_bytes(p)) for p in packets[: frame - 1]) + 16
    (checksum,) = struct.unpack_from(">H", capture, at + TRANSPORT + 16)
    struct.pack_into(">H", capture, at + TRANSPORT + 16, checksum ^ 0x0101)
    return bytes(capture)


def test_the_same_place_with_other_bytes() -> None:
    assert conflict(see(FORGED)) == (1, 5, 4)


def test_the_same_bytes_again() -> None:
    assert conflict(see(HANDSHAKE + '0.030 > P. "abcdefgh"\n0.060 > P. 1:9 "abcdefgh"\n')) == (0, None, None)


def test_over_several_first_copies() -> None:
    first = "".join(f'0.03{i} > P. "{letter * 3}"\n' for i, letter in enumerate("abcdef"))
    again = '0.060 > P. 2:15 "aabbbcccdddee"\n'
    assert conflict(see(HANDSHAKE + first + again)) == (0, None, None)
    assert conflict(see(HANDSHAKE + first + again.replace("ddd", "dxy"))) == (1, 10, 7)


def test_of_a_hole_that_was_filled_the_first_copy_counts() -> None:
    text = HANDSHAKE + '0.030 > P. 1:4 "abc"\n0.031 > P. 7:10 "ghi"\n0.050 > P. 4:7 "def"\n0.060 > P. 4:10 "defgXX"\n'
    assert conflict(see(text)) == (1, 7, 5)


def test_acknowledged_bytes_too() -> None:
    text = HANDSHAKE + '0.030 > P. "abcdefgh"\n0.040 < . ack 9\n0.060 > P. 1:9 "ABCDefgh"\n'
    assert conflict(see(text)) == (1, 6, 4)


def test_each_packet_counts_once_and_the_first_is_named() -> None:
    text = FORGED + '0.070 > P. 1:9 "abXXefgh"\n0.080 > P. 1:9 "abcdefgh"\n'
    assert conflict(see(text)) == (2, 5, 4)


@pytest.mark.parametrize(("again", "conflicts"), [('8:9 "X"', 0), ('7:9 "gX"', 1), ('8:10 "hi"', 0), ('8:10 "Xi"', 0)])
def test_one_byte_may_be_a_probe(again: str, conflicts: int) -> None:
    """Of more than one byte at least two must be of the past."""
    text = HANDSHAKE + f'0.030 > P. "abcdefgh"\n0.040 < . ack 9\n9.000 > . {again}\n'
    assert conflict(see(text))[0] == conflicts


@pytest.mark.parametrize("frame", [4, 5])
def test_what_was_damaged_on_its_way_is_no_conflict(frame: int) -> None:
    assert conflict(see_packets(spoiled(FORGED, frame))) == (0, None, None)


@pytest.mark.parametrize("frame", [4, 5])
def test_what_was_cut_short_cannot_be_verified(frame: int) -> None:
    lines = FORGED.strip().splitlines()
    lines[frame - 1] += f" snap {TRANSPORT + 20 + 6}"
    assert conflict(see("\n".join(lines))) == (0, None, None)


def test_the_other_direction_says_something_else() -> None:
    text = HANDSHAKE + '0.030 > P. "abcdefgh"\n0.060 < P. 1:9 "ABCDefgh"\n'
    assert conflict(see(text)) == (0, None, None)


def test_ipv6() -> None:
    text = "connection 1, client [fd00::1]:4000, server [fd00::2]:80\n" + FORGED
    assert conflict(see(text)) == (1, 5, 4)


def test_with_options() -> None:
    assert conflict(see(FORGED.replace('"\n', '" ts\n'))) == (1, 5, 4)


def test_numbers_that_wrap() -> None:
    assert conflict(see("connection 1, isn 4294967290 4294967290\n" + FORGED)) == (1, 5, 4)

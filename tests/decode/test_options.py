"""TCP options: every layout."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decode.decoding import decoded
from tests.decode.packets import Record, ipv4, tcp
from wiredoctor.protocols.tcp.sack import sack_blocks

NOP, END = b"\1", b"\0"
MSS, SCALE, PERMITTED, TIMES = b"\2\4\5\xb4", b"\3\3\7", b"\4\2", b"\x08\x0a" + bytes(range(8))


def sack(*blocks: tuple[int, int]) -> bytes:
    return bytes((5, 2 + 8 * len(blocks))) + b"".join(struct.pack(">II", *b) for b in blocks)


def one(options: bytes, ack: int = 2) -> dict[str, object]:
    rows, _, _ = decoded([Record(ipv4(tcp(b"x", options=options, ack=ack)), 101)])
    return {name: rows[name][0].item() for name in ("mss", "window_shift", "has_timestamps", "sack", "dsack", "options_hash")}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (b"", (-1, -1, False, False)),
        (NOP + NOP + TIMES, (-1, -1, True, False)),
        (MSS + PERMITTED + TIMES + NOP + SCALE, (1460, 7, True, False)),
        (MSS + NOP + SCALE + NOP + NOP + PERMITTED, (1460, 7, False, False)),
        (NOP + NOP + TIMES + NOP + NOP + sack((5, 9)), (-1, -1, True, True)),
        (b"\3\3\x20", (-1, 14, False, False)),  # RFC 7323 section 2.3: more than 14 counts as 14
        (END + MSS, (-1, -1, False, False)),
        (MSS + b"\xfe\1" + SCALE, (1460, -1, False, False)),  # a length that cannot be ends the list
        (b"\xfe\4xx" + SCALE, (-1, 7, False, False)),
        (b"\2\3\5" + SCALE, (-1, 7, False, False)),  # MSS of the wrong length
        (MSS + b"\x08\x0a\0\0", (1460, -1, False, False)),  # reaches beyond the header
        (b"\x1e\x28" + bytes(38), (-1, -1, False, False)),  # one option that fills the space
    ],
)
def test_layouts(options: bytes, expected: tuple[int, int, bool, bool]) -> None:
    found = one(options)
    assert (found["mss"], found["window_shift"], found["has_timestamps"], found["sack"]) == expected
    assert (found["options_hash"] == 0) == (not options)


@pytest.mark.parametrize(
    ("blocks", "ack", "duplicate"),
    [
        ([(100, 200)], 200, True),  # below the ACK number
        ([(100, 201)], 200, False),
        ([(0xFFFFFF00, 16)], 16, True),  # across the wrap
        ([(300, 400)], 200, False),
        ([(300, 350), (300, 400)], 200, True),  # within the second block
        ([(300, 450), (300, 400)], 200, False),
        ([(250, 350), (300, 400)], 200, False),
    ],
)
def test_duplicates_by_sack(blocks: list[tuple[int, int]], ack: int, duplicate: bool) -> None:
    """RFC 2883 section 4."""
    assert one(NOP + NOP + sack(*blocks), ack)["dsack"] is duplicate


def test_sack_blocks_are_read_from_the_header() -> None:
    options = bytes([1, 1, 5, 18]) + (100).to_bytes(4, "big") + (200).to_bytes(4, "big") + bytes(4) + (50).to_bytes(4, "big")
    head = b"\x00\x50\x1f\x90" + bytes([0, 0, 0, 1]) + bytes([0, 0, 0, 2]) + bytes([(40 // 4) << 4, 16]) + bytes(6) + options
    packet = {"source_port": 0x50, "destination_port": 0x1F90, "seq": 1, "ack": 2, "payload": 100}
    frame = bytes(60) + head + b"payload"
    assert len(head) == 40
    assert sack_blocks(lambda place, length: frame[place : place + length], packet) == [(100, 200), (0, 50)]
    assert sack_blocks(lambda place, length: frame[place : place + length], packet | {"seq": 9}) == []
    for cut in (b"", head[:10], head[:22] + b"\x05\xff" + bytes(16)):
        sack_blocks(lambda place, length, cut=cut: cut.rjust(60, b"\0")[:length], packet)


@given(a=st.binary(min_size=1, max_size=40), b=st.binary(min_size=1, max_size=40))
def test_hash_tells_options_apart(a: bytes, b: bytes) -> None:
    padded = [x + bytes(-len(x) % 4) for x in (a, b)]
    rows, _, _ = decoded([Record(ipv4(tcp(b"x", options=x)), 101) for x in (a, b)])
    assert (rows["options_hash"][0] == rows["options_hash"][1]) == (padded[0] == padded[1])


PIECE = st.sampled_from((NOP, END, MSS, SCALE, PERMITTED, TIMES, sack((1, 2)), sack((9, 12), (5, 20))))


@settings(deadline=None)
@given(st.lists(st.lists(st.one_of(PIECE, st.binary(max_size=6))), max_size=30))
def test_any_options(layouts: list[list[bytes]]) -> None:
    options = [b"".join(pieces)[:40] for pieces in layouts]
    rows, _, _ = decoded([Record(ipv4(tcp(b"x", options=o)), 101) for o in options])
    assert len(rows["frame"]) == len(options)
    assert (rows["captured"] == 1).all()

"""Fragments in any order, of any size, twice or overlapping, give the segment that was sent."""

from __future__ import annotations

import itertools
import random
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decode.decoding import decoded, payloads
from tests.decode.packets import Record, ethernet, ipv4, ipv6, tcp
from wiredoctor import limits
from wiredoctor.protocols.ip.fragments import FragmentStore
from wiredoctor.tables import SCRATCH

PAYLOAD = bytes(range(256)) * 4


def fragments4(segment: bytes, cuts: list[int], ident: int = 7) -> list[bytes]:
    """cuts: in units of 8 bytes."""
    borders = [0, *sorted({c * 8 for c in cuts if 0 < c * 8 < len(segment)}), len(segment)]
    pieces = itertools.pairwise(borders)
    return [ipv4(segment[a:b], ident=ident, fragment=a // 8 | 0x2000 * (b < len(segment))) for a, b in pieces]


def fragments6(segment: bytes, cuts: list[int], ident: int = 7) -> list[bytes]:
    borders = [0, *sorted({c * 8 for c in cuts if 0 < c * 8 < len(segment)}), len(segment)]
    pieces = itertools.pairwise(borders)
    return [ipv6(struct.pack(">BBHI", 6, 0, a | (b < len(segment)), ident) + segment[a:b], 44) for a, b in pieces]


@settings(deadline=None)
@given(
    cuts=st.lists(st.integers(1, 130), min_size=1, max_size=12),
    order=st.randoms(use_true_random=False),
    six=st.booleans(),
)
def test_any_order(cuts: list[int], order: random.Random, six: bool) -> None:
    """The row belongs to the last fragment that came."""
    pieces = (fragments6 if six else fragments4)(tcp(PAYLOAD), cuts)
    order.shuffle(pieces)
    records = [Record(ethernet(p, 0x86DD if six else 0x0800)) for p in pieces]
    answer = decoded(records)
    rows, _, state = answer
    assert rows["frame"].tolist() == [len(pieces)]
    assert payloads(records, answer) == [PAYLOAD]
    assert rows["length"].tolist() == [len(PAYLOAD)]
    assert rows["ip_id"].tolist() == [-1 if six else 7]
    assert rows["payload"][0] >= SCRATCH or len(pieces) == 1
    assert sum(state.not_analysed.values()) == len(pieces) - 1


def test_two_datagrams_do_not_mix() -> None:
    one, two = fragments4(tcp(b"1" * 100), [5], ident=1), fragments4(tcp(b"2" * 100), [5], ident=2)
    records = [Record(p, 101) for p in (one[1], two[0], one[0], two[1])]
    answer = decoded(records)
    assert answer[0]["frame"].tolist() == [3, 4]
    assert payloads(records, answer) == [b"1" * 100, b"2" * 100]


def test_copies_and_overlaps() -> None:
    """A fragment seen twice changes nothing; where two overlap, the one that begins first counts."""
    segment = tcp(PAYLOAD)
    first, last = segment[:400], b"\xff" * 16 + segment[400:]
    pieces = [ipv4(first, fragment=0x2000), ipv4(first, fragment=0x2000), ipv4(last, fragment=(400 - 16) // 8)]
    records = [Record(p, 101) for p in pieces]
    answer = decoded(records)
    assert answer[0]["frame"].tolist() == [3]
    assert payloads(records, answer) == [PAYLOAD]


def test_cut_off_first_fragment_speaks_for_itself() -> None:
    """What was not captured in full cannot be put together; the first fragment has the header (as in Wireshark)."""
    first, last = fragments4(tcp(PAYLOAD), [50])
    rows, _, state = decoded([Record(first[:60], 101, len(first)), Record(last[:60], 101, len(last))])
    assert rows["frame"].tolist() == [1]
    assert rows["captured"].tolist() == [20]
    assert dict(state.not_analysed) == {"IP fragment cut short": 1}


def test_quoted_fragments_are_not_kept() -> None:
    first, last = fragments4(tcp(PAYLOAD), [50])
    quoted = ipv4(b"\3\1" + bytes(6) + last, 1)
    rows, _, _ = decoded([Record(quoted, 101), Record(first, 101)])
    assert len(rows["frame"]) == 0


def test_store_is_bounded() -> None:
    store = FragmentStore()
    for key in range(limits.DATAGRAMS.value * 2):
        assert store.add(key, 0, True, bytes(8)) is None
    assert store.add(0, 8, False, b"end") is None  # forgotten
    assert store.add(limits.DATAGRAMS.value * 2 - 1, 8, False, b"end") == bytes(8) + b"end"
    big = FragmentStore()
    for key in range(600):
        assert big.add(key, 0, True, bytes(60_000)) is None
    assert big.add(599, 60_000, False, b"end") is not None
    assert big.add(1, 60_000, False, b"end") is None
    assert big.add("long", 65_528, False, bytes(100)) is None

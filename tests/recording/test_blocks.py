"""The walk over blocks: however the stream is cut, the same blocks come out, whole, and nothing else does."""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recording.streams import CUSTOM, block, enhanced, interface, section, statistics
from wiredoctor.recording.blocks import Blocks, StreamError, complete_blocks, user_application
from wiredoctor.recording.files import ENDLESS

BODIES = st.one_of(
    st.binary(max_size=90).map(enhanced),
    st.integers(0, 1 << 40).map(statistics),
    st.binary(max_size=40).map(lambda body: block(CUSTOM, body)),
    st.just(section() + interface()),
)
STREAMS = st.lists(BODIES, max_size=12).map(lambda bodies: [section(), interface(), *bodies])


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[a:b] for a, b in itertools.pairwise(places)]


def walked(stream: bytes, cuts: list[int], packets: int = 1 << 40, room: int = ENDLESS) -> tuple[bytes, int, Blocks]:
    """All that is given out when the stream comes in these pieces; each piece given out is checked to end where a block ends."""
    blocks = Blocks()
    out, count = b"", 0
    for at, piece in enumerate(pieces(stream, cuts)):
        if at % 2:
            blocks.add(piece)
        else:
            blocks.space()[: len(piece)] = piece
            blocks.mark_filled(len(piece))
        while (taken := blocks.take(packets, room)).data:
            assert taken.packets <= packets
            assert len(taken.data) <= room
            assert complete_blocks(taken, len(taken.data)) == taken
            out += taken.data
            count += taken.packets
    return out, count, blocks


@given(STREAMS, st.lists(st.integers(0, 10_000), max_size=30))
def test_any_cut_gives_the_same(stream: list[bytes], cuts: list[int]) -> None:
    out, count, _ = walked(b"".join(stream), cuts)
    assert out == b"".join(stream)
    assert count == sum(b[:4] == struct.pack("=I", 6) for b in stream)


@given(STREAMS, st.lists(st.integers(0, 10_000), max_size=10), st.integers(0, 2000))
def test_a_torn_stream_gives_its_whole_blocks(stream: list[bytes], cuts: list[int], end: int) -> None:
    whole_stream = b"".join(stream)
    torn = whole_stream[: end % len(whole_stream)]
    out, _, _ = walked(torn, cuts)
    assert torn.startswith(out)
    ends = [0]
    for b in stream:
        ends += [ends[-1] + 28, ends[-1] + len(b)] if b.startswith(b"\n\r\r\n") and len(b) > 28 else [ends[-1] + len(b)]
    assert len(out) == max(e for e in ends if e <= len(torn))


@given(STREAMS, st.integers(1, 5), st.integers(150, 400))
def test_no_piece_is_larger_than_there_is_room_for(stream: list[bytes], packets: int, room: int) -> None:
    assert walked(b"".join(stream), [], packets, room)[0] == b"".join(stream)


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_hostile_bytes_are_refused_or_waited_for(data: bytes, cuts: list[int]) -> None:
    for begin in (b"", section() + interface(), section()[:20]):
        with contextlib.suppress(StreamError):
            out, _, _ = walked(begin + data, cuts)
            assert (begin + data).startswith(out)


@given(STREAMS, st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_breaks_no_file(stream: list[bytes], at: int, change: int) -> None:
    """What is given out before the damage is seen is whole blocks still."""
    data = bytearray(b"".join(stream))
    data[at % len(data)] ^= change
    with contextlib.suppress(StreamError):
        walked(bytes(data), [])


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders(order: str) -> None:
    stream = section(order) + interface(1, order) + enhanced(b"abc", 0, order) + statistics(5, 0, order)
    blocks = Blocks()
    blocks.add(stream)
    taken = blocks.take(10, ENDLESS)
    assert (bytes(taken.data), taken.packets, blocks.dropped) == (stream, 1, {0: 5})


def test_the_preamble_is_that_of_the_section_and_drops_never_shrink() -> None:
    blocks = Blocks()
    first = section() + interface(1) + interface(113)
    blocks.add(first + enhanced(b"") + statistics(7) + statistics(3) + statistics(2, 1))
    blocks.take(10, ENDLESS)
    assert (blocks.preamble, blocks.dropped) == (first, {0: 7, 1: 2})
    blocks.add(section() + interface(1))
    blocks.take(10, ENDLESS)
    assert (blocks.preamble, blocks.dropped) == (section() + interface(1), {})


def test_packets_over_the_limit_are_passed_over_and_statistics_are_not() -> None:
    blocks = Blocks()
    blocks.add(section() + interface() + enhanced(b"1") + enhanced(b"2") + enhanced(b"3") + statistics(1))
    assert blocks.take(1, ENDLESS).packets == 1
    assert not blocks.take(0, ENDLESS).data
    blocks.skip_packets()
    assert bytes(blocks.take(0, ENDLESS).data) == statistics(1)


def test_a_block_larger_than_the_buffer() -> None:
    large = enhanced(os.urandom(5 << 20))
    out, count, _ = walked(section() + interface() + large + enhanced(b"x"), list(range(0, 6 << 20, 700_001)))
    assert (out, count) == (section() + interface() + large + enhanced(b"x"), 2)


def test_who_wrote_a_section() -> None:
    options = struct.pack("=HH4sHH8sI", 2, 3, b"cpu\0", 4, 7, b"abc 1.2\0", 0)
    named = block(0x0A0D0D0A, struct.pack("=IHHq", 0x1A2B3C4D, 1, 0, -1) + options)
    assert user_application(named) == "abc 1.2"
    assert [user_application(named[:n]) for n in range(0, 50, 7)]
    assert user_application(section()) == ""


def test_a_packet_costs_well_below_a_microsecond() -> None:
    """Measured at 0.25 us; a busy machine may take longer, so the best of several counts."""
    stream = enhanced(bytes(90)) * 20_000
    best = 1.0
    for _ in range(5):
        blocks = Blocks()
        blocks.add(section() + interface())
        blocks.add(stream)
        begin = time.process_time()
        assert blocks.take(1 << 40, ENDLESS).packets == 20_000
        best = min(best, time.process_time() - begin)
    assert best / 20_000 < 0.8e-6

"""Sequence numbers become stream offsets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.core.tcp_talk import Talk
from wiredoctor.core.tcp.numbers import JUMP, unwrap
from wiredoctor.core.tcp.segment import NEVER

FAR = JUMP + 1


def test_the_first_byte_after_the_syn_is_0() -> None:
    talk = Talk()
    assert talk.client(0, "S", 1_000).offset == 0
    assert talk.client(1, ".", 1_001, 0, 5).offset == 0


def test_without_a_syn_the_first_byte_seen_is_0() -> None:
    talk = Talk()
    assert talk.client(0, ".", 500, 90, 5).offset == 0
    assert talk.client(1, ".", 490, 90, 5).offset == -10
    assert talk.segment.ack == 0
    # the client's ACK told where the server's stream begins
    assert talk.server(2, ".", 95, 510, 5).offset == 5


def test_numbers_wrap() -> None:
    talk = Talk()
    talk.client(0, "S", 0xFFFFFFFE)
    assert talk.client(1, ".", 0xFFFFFFFF, 0, 4).offset == 0
    assert talk.client(2, ".", 3, 0, 4).offset == 4


def test_a_jump_counts_once_the_next_packet_agrees() -> None:
    offset, newest, jump = unwrap(FAR + 1, 0, 0, NEVER, True)
    assert (offset, newest, jump) == (FAR, 0, FAR)
    assert unwrap(FAR + 11, 0, newest, jump, True) == (FAR + 10, FAR + 10, NEVER)


def test_a_jump_that_nothing_confirms_is_forgotten() -> None:
    _, newest, jump = unwrap(FAR + 1, 0, 0, NEVER, True)
    assert unwrap(6, 0, newest, jump, True) == (5, 5, NEVER)


def test_an_rst_does_not_move_its_side() -> None:
    assert unwrap(101, 0, 0, NEVER, False) == (100, 0, NEVER)
    assert unwrap(FAR + 1, 0, 0, NEVER, False) == (FAR, 0, NEVER)


def test_a_syn_after_nothing_but_an_rst_says_where_the_stream_begins() -> None:
    for number in (0, 5_000, 9_000):  # a kernel that refuses a SYN sends 0 (RFC 9293 section 3.10.7.1), a forger anything
        talk = Talk()
        talk.client(0, "S", 1_000)
        talk.server(1, "R.", number, 1_001)
        assert talk.server(2, "S.", 5_000, 1_001).offset == 0
        talk.client(3, ".", 1_001, 5_001)
        assert talk.server(4, ".", 5_001, 1_001, 3).offset == 0
        assert not talk.segment.opens_gap


@given(st.integers(0, 0xFFFFFFFF), st.lists(st.integers(-JUMP, JUMP), max_size=50))
def test_neighbors_less_than_a_window_apart_are_found_again(base: int, steps: list[int]) -> None:
    here = newest = 0
    for step in steps:
        here += step
        offset, newest, jump = unwrap((base + 1 + here) & 0xFFFFFFFF, base, newest, NEVER, True)
        assert (offset, newest, jump) == (here, here, NEVER)

"""Test full and small segments, the bytes in flight, and a path that carries less than the MSS."""

from __future__ import annotations

import pytest

from tests.core.tcp_talk import Talk, connection_row, open_talk
from wiredoctor.core.tcp.segment import NEVER
from wiredoctor.core.tcp.sizes import is_full_data, is_small_data, judge_size


@pytest.mark.parametrize(
    ("length", "full", "small", "small_start"),
    [(1_460, True, False, False), (1_459, False, True, True), (2_920, True, False, False), (2_000, True, True, False)],
)
def test_full_and_small(length: int, full: bool, small: bool, small_start: bool) -> None:
    """A super-segment that offload made is full at its beginning; its end may be small."""
    segment = open_talk().client(20, ".", 1_001, 5_001, length)
    assert (segment.full, segment.small, segment.small_start) == (full, small, small_start)


def test_what_fills_the_window_is_not_small() -> None:
    talk = open_talk(window=100)
    segment = talk.client(20, ".", 1_001, 5_001, 100)
    assert (segment.window_room, segment.small) == (100, False)


def test_what_is_in_flight() -> None:
    talk = open_talk()
    assert talk.client(20, ".", 1_001, 5_001, 100).in_flight_before == 0
    assert talk.client(21, ".", 1_101, 5_001, 100).in_flight_before == 100
    talk.server(30, ".", 5_001, 1_101, window=500)
    segment = talk.client(31, ".", 1_201, 5_001, 100)
    assert (segment.in_flight_before, segment.window_room) == (100, 400)


def test_no_window_is_known_without_the_syns() -> None:
    talk = Talk()
    talk.server(0, ".", 5_001, 1_001)
    assert talk.client(1, ".", 1_001, 5_001, 10).window_room == NEVER


def path_talk(segments: int, length: int = 1_400, **more: int) -> Talk:
    """So many segments of one length behind each other."""
    talk = open_talk()
    for i in range(segments):
        talk.client(20 + i / 10, ".", 1_001 + length * i, 5_001, length, **more)
    return talk


def is_full(talk: Talk) -> bool:
    """What is known of the last segment by now."""
    return judge_size(talk.connection.first, talk.packet, talk.segment)[1]


def test_a_size_that_the_path_cuts_is_full_from_its_third_occurrence_on() -> None:
    assert not is_full(path_talk(3))
    talk = path_talk(4)
    assert is_full(talk)
    assert judge_size(talk.connection.first, talk.packet, talk.segment) == (1_400, True, False, False)
    data = talk.connection.first.previous
    assert data is not None
    assert (is_full_data(data), is_small_data(data)) == (True, False)


@pytest.mark.parametrize("more", [{"ends_head": 1}, {"message": NEVER}, {"length": 535}])
def test_what_is_no_sign_of_a_path(more: dict[str, int]) -> None:
    """A write that ends a head, data that belongs to no message, and less than what every host takes."""
    assert not is_full(path_talk(8, **more))


def test_a_longer_segment_shows_that_the_path_carries_more() -> None:
    talk = path_talk(3)
    talk.client(21, ".", 1_001 + 4_200, 5_001, 1_450)
    talk.client(21.1, ".", 1_001 + 5_650, 5_001, 1_400)
    talk.client(21.2, ".", 1_001 + 7_050, 5_001, 1_400)
    assert not is_full(talk)


def test_segments_longer_than_their_receiver_takes_are_counted() -> None:
    talk = open_talk()
    talk.client(20, ".", 1_001, 5_001, 1_461)
    talk.client(21, ".", 1_001, 5_001, 1_461)
    talk.client(22, ".", 2_462, 5_001, 1_460)
    row = connection_row(talk.connection)
    assert (row["super_segments"], row["super_frame"], row["super_mss"]) == (2, 4, 1_460)

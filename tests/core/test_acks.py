"""Which data an ACK answers, its delay, round trips and windows."""

from __future__ import annotations

import pytest

from tests.core.tcp_talk import Talk, open_talk
from wiredoctor import limits
from wiredoctor.core.capture.records import LATEST
from wiredoctor.core.tcp.acks import add_round_trips
from wiredoctor.core.tcp.flight import forget_old
from wiredoctor.core.tcp.segment import MILLISECOND, NEVER

MS = MILLISECOND


def test_the_handshake_shows_the_round_trips() -> None:
    talk = open_talk()
    assert (talk.connection.first.rtt, talk.connection.second.rtt) == (1 * MS, 10 * MS)


def test_an_ack_is_delayed_by_what_it_takes_longer_than_a_round_trip() -> None:
    talk = open_talk()
    talk.client(20, ".", 1_001, 5_001, 100)
    segment = talk.server(70, ".", 5_001, 1_101)
    assert (segment.acked_bytes, segment.answered_time, segment.ack_delay) == (100, 20 * MS, 40 * MS)


def test_an_ack_answers_the_newest_segment_that_it_acknowledges() -> None:
    talk = open_talk()
    for i in range(3):
        talk.client(20 + i, ".", 1_001 + 100 * i, 5_001, 100)
    assert talk.server(40, ".", 5_001, 1_201).answered_time == 21 * MS
    # half of the third is acknowledged: no segment is answered
    assert talk.server(41, ".", 5_001, 1_251).answered_time == NEVER
    assert talk.server(42, ".", 5_001, 1_301).answered_time == 22 * MS


def test_data_that_was_captured_after_its_ack_is_not_answered_by_the_next_one() -> None:
    talk = Talk()
    talk.server(40, ".", 5_001, 1_101, 100)
    talk.client(41, ".", 1_001, 5_101, 100)
    # another 50 bytes were not captured
    assert talk.server(90, ".", 5_101, 1_151).answered_time == NEVER


def test_a_sum_of_round_trips_fits() -> None:
    longest = 2 * LATEST
    assert 0 < add_round_trips(longest, longest) < 1 << 62
    assert add_round_trips(NEVER, 5) == 5


def test_a_retransmission_is_not_answered() -> None:
    """The ACK may be of either copy; it is measured from the first."""
    talk = open_talk()
    talk.client(20, ".", 1_001, 5_001, 100)
    talk.client(220, ".", 1_001, 5_001, 100)
    assert talk.server(231, ".", 5_001, 1_101).answered_time == 20 * MS


def test_the_smallest_round_trip_counts() -> None:
    talk = open_talk()
    talk.client(20, ".", 1_001, 5_001, 100)
    talk.server(24, ".", 5_001, 1_101)
    talk.client(30, ".", 1_101, 5_001, 100)
    segment = talk.server(39, ".", 5_001, 1_201)
    assert segment.rtt_own == 4 * MS
    assert talk.connection.second.rtt == 4 * MS


def test_of_several_syns_the_newest_is_a_guess_until_data_shows_better() -> None:
    talk = Talk()
    talk.client(0, "S", 1_000)
    talk.client(1_000, "S", 1_000)
    talk.server(1_003, "S.", 5_000, 1_001)
    assert talk.connection.second.rtt == 3 * MS
    talk.client(1_004, ".", 1_001, 5_001, 10)
    talk.server(1_014, ".", 5_001, 1_011)
    assert talk.connection.second.rtt == 10 * MS


def test_only_so_many_segments_wait_for_their_ack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.UNACKNOWLEDGED, "value", 2)
    talk = open_talk()
    for i in range(4):
        talk.client(20 + i, ".", 1_001 + 100 * i, 5_001, 100)
    assert talk.server(40, ".", 5_001, 1_201).answered_time == NEVER
    assert talk.server(41, ".", 5_001, 1_301).answered_time == 22 * MS


def test_a_duplicate_ack_asks_for_what_is_in_flight() -> None:
    talk = open_talk()
    talk.client(20, ".", 1_001, 5_001, 100)
    assert talk.server(30, ".", 5_001, 1_001, window=60_000).duplicate_ack
    assert not talk.server(31, ".", 5_001, 1_001, window=50_000).duplicate_ack
    assert not talk.server(32, ".", 5_001, 1_101, window=50_000).duplicate_ack
    # nothing is in flight
    assert not talk.server(33, ".", 5_001, 1_101, window=50_000).duplicate_ack


def test_a_window_update_ends_a_lack_of_room() -> None:
    talk = open_talk()
    talk.client(20, ".", 1_001, 5_001, 1_000)
    segment = talk.server(30, ".", 5_001, 2_001, window=500)
    assert (segment.window_update, segment.widens_window) == (False, False)
    assert talk.connection.second.short_window_frame == 5
    segment = talk.server(40, ".", 5_001, 2_001, window=9_000)
    assert (segment.window_update, segment.widens_window) == (True, True)


def test_windows_are_scaled_if_both_syns_say_so() -> None:
    talk = Talk()
    talk.client(0, "S", 1_000, shift=3)
    assert talk.segment.window == 1_000
    talk.server(1, "S.", 5_000, 1_001, shift=15)
    assert talk.client(2, ".", 1_001, 5_001).window == 8_000
    # RFC 7323 section 2.3: more than 14 counts as 14
    assert talk.server(3, ".", 5_001, 1_001, window=1).window == 1 << 14


@pytest.mark.parametrize(("client", "server", "window"), [(3, -1, 1_000), (-1, 3, 1_000), (3, -2, NEVER)])
def test_windows_without_scale(client: int, server: int, window: int) -> None:
    """-2: the snap length cut the options off, and the scale is unknown."""
    talk = Talk()
    talk.client(0, "S", 1_000, shift=client)
    talk.server(1, "S.", 5_000, 1_001, shift=server)
    assert talk.client(2, ".", 1_001, 5_001).window == window


def test_first_copies_are_forgotten_once_they_are_acknowledged_and_old(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = open_talk()
    for i in range(3):
        talk.client(20 + i, ".", 1_001 + 100 * i, 5_001, 100)
    talk.server(30, ".", 5_001, 1_201)
    monkeypatch.setattr(limits.FIRST_COPIES, "value", 1)
    talk.server(31, ".", 5_001, 1_201)
    flight = talk.connection.first.flight
    assert flight is not None
    flights = forget_old(talk.tcp.new_flights, talk.packet.frame)
    assert flights == [flight]
    assert [sent.frame for sent in flight.segments] == [6]
    assert talk.server(41, ".", 5_001, 1_301).answered_time == 22 * MS
    talk.server(42, ".", 5_001, 1_301)
    assert forget_old(flights, talk.packet.frame) == []
    assert talk.connection.first.flight is None
    # new data is kept again
    talk.client(50, ".", 1_301, 5_001, 100)
    assert talk.tcp.new_flights[-1] is talk.connection.first.flight

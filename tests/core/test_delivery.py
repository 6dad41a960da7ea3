"""New bytes, gaps and retransmissions."""

from __future__ import annotations

import pytest

from tests.core.tcp_talk import Talk, open_talk
from wiredoctor import limits
from wiredoctor.core.tcp.segment import Segment


def gaps(talk: Talk) -> list[tuple[int, int, bool]]:
    """The gaps of the client's stream."""
    return [(gap.start, gap.end, gap.acknowledged) for gap in talk.connection.first.gaps or []]


def send(talk: Talk, offset: int, length: int, flags: str = ".") -> Segment:
    """Bytes of the client."""
    return talk.client(20, flags, 1_001 + offset, 5_001, length)


def acknowledge(talk: Talk, offset: int) -> Segment:
    """A pure ACK of the server."""
    return talk.server(30, ".", 5_001, 1_001 + offset)


def test_what_continues_the_stream_is_new() -> None:
    talk = open_talk()
    assert send(talk, 0, 100).new_bytes == 100
    segment = send(talk, 100, 50)
    assert (segment.new_start, segment.new_bytes, segment.opens_gap, segment.retransmission) == (100, 50, False, False)


def test_a_gap_ends_piece_by_piece() -> None:
    talk = open_talk()
    assert send(talk, 300, 100).opens_gap
    assert gaps(talk) == [(0, 300, False)]
    segment = send(talk, 100, 100)
    assert (segment.fills_gap, segment.new_start, segment.new_bytes) == (True, 100, 100)
    assert gaps(talk) == [(0, 100, False), (200, 300, False)]
    send(talk, 0, 100)
    send(talk, 200, 100)
    assert gaps(talk) == []
    assert talk.connection.first.bytes == 400


def test_a_segment_that_fills_two_gaps_says_where() -> None:
    talk = open_talk()
    send(talk, 100, 100)
    send(talk, 300, 100)
    segment = send(talk, 0, 500)
    pieces = segment.pieces or []
    assert [(piece.start, piece.end) for piece in pieces] == [(0, 100), (200, 300), (400, 500)]
    assert (segment.new_start, segment.new_bytes, segment.overlap, segment.fills_gap) == (0, 300, True, True)


def test_bytes_seen_before_are_a_retransmission() -> None:
    talk = open_talk()
    send(talk, 0, 100)
    segment = send(talk, 0, 100)
    assert (segment.retransmission, segment.new_bytes) == (True, 0)
    segment = send(talk, 50, 100)
    assert (segment.retransmission, segment.overlap, segment.new_bytes, segment.new_start) == (False, True, 50, 100)


def test_a_late_first_copy_is_no_retransmission() -> None:
    talk = open_talk()
    send(talk, 100, 100)
    assert not send(talk, 0, 100).retransmission
    assert send(talk, 0, 100).retransmission


@pytest.mark.parametrize(("length", "acknowledged", "is_probe"), [(0, 0, True), (1, 100, True), (1, 0, False), (2, 100, False)])
def test_a_keep_alive_probe_is_no_retransmission(length: int, acknowledged: int, is_probe: bool) -> None:
    """With one byte it is a probe only where nothing is in flight; just below the highest byte, in any case."""
    talk = open_talk()
    send(talk, 0, 100)
    if acknowledged:
        acknowledge(talk, acknowledged)
    segment = send(talk, 100 - max(length, 1), length)
    assert (segment.keep_alive_probe, segment.retransmission) == (is_probe, not is_probe)


def test_fin_and_syn_again() -> None:
    talk = Talk()
    assert not talk.client(0, "S", 1_000).retransmission
    assert talk.client(1_000, "S", 1_000).retransmission
    assert not talk.client(2_000, "F.", 1_001, 1).retransmission
    assert talk.client(3_000, "F.", 1_001, 1).retransmission


def test_an_ack_of_what_was_not_captured() -> None:
    talk = open_talk()
    send(talk, 0, 100)
    assert acknowledge(talk, 250).acked_unseen == 150
    assert gaps(talk) == [(100, 250, True)]
    assert talk.connection.first.unseen_bytes == 150
    # what comes late was captured after all
    segment = send(talk, 100, 50)
    assert (segment.fills_gap, segment.new_bytes, talk.connection.first.unseen_bytes) == (True, 50, 100)


def test_an_ack_within_a_gap_splits_it() -> None:
    talk = open_talk()
    send(talk, 300, 100)
    assert acknowledge(talk, 120).acked_unseen == 120
    assert acknowledge(talk, 200).acked_unseen == 80
    assert gaps(talk) == [(0, 200, True), (200, 300, False)]


def test_an_ack_up_to_the_end_of_a_gap_leaves_nothing_of_it() -> None:
    talk = open_talk()
    send(talk, 300, 100)
    assert acknowledge(talk, 300).acked_unseen == 300
    assert gaps(talk) == [(0, 300, True)]


def test_an_ack_more_than_a_window_ahead_is_not_believed() -> None:
    talk = open_talk()
    send(talk, 0, 100)
    segment = acknowledge(talk, 100 + (1 << 30) + 1)
    assert (segment.acked_unseen, segment.acked_bytes, talk.connection.first.highest) == (0, 0, 100)


def test_an_rst_brings_nothing() -> None:
    talk = open_talk()
    segment = talk.client(20, "R.", 1_101, 5_001, 10)
    assert (segment.new_bytes, segment.opens_gap, talk.connection.first.highest) == (0, False, 0)


def test_a_syn_does_not_move_a_side_that_has_sent_data() -> None:
    talk = open_talk()
    send(talk, 0, 100)
    talk.client(20, "S", 9_000)
    assert talk.connection.first.highest == 100


def test_the_first_gaps_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.HOLES, "value", 2)
    talk = open_talk()
    for i in range(1, 4):
        send(talk, 20 * i, 10)
    assert gaps(talk) == [(30, 40, False), (50, 60, False)]
    send(talk, 33, 3)
    assert gaps(talk) == [(36, 40, False), (50, 60, False)]
    assert talk.tcp.met.counts == {"holes": 2}


def test_pieces_are_those_of_the_packet_in_hand() -> None:
    talk = open_talk()
    send(talk, 100, 100)
    send(talk, 300, 100)
    assert send(talk, 0, 300).pieces is not None
    assert send(talk, 400, 100).pieces is None

"""What a packet brings: new bytes, copies, holes, overlaps, probes, and bytes that were acknowledged without being seen."""

from __future__ import annotations

from tests.tcp.seeing import HANDSHAKE, MS, see


def test_new_data() -> None:
    seen = see(HANDSHAKE + "0.030 > P. 1:101(100) ack 1\n0.031 > P. 101:151(50) ack 1\n0.045 < P. 1:31(30) ack 151")
    assert seen.column("offset") == [0, 0, 0, 0, 100, 0]
    assert seen.column("new_bytes") == [0, 0, 0, 100, 50, 30]
    assert seen.frames("retransmission") == seen.frames("overlap") == seen.frames("opens_hole") == []
    assert (seen.connection["client_bytes"], seen.connection["server_bytes"]) == (150, 30)


def test_retransmission() -> None:
    seen = see(HANDSHAKE + "0.030 > P. 1:101(100) ack 1\n0.330 > P. 1:101(100) ack 1")
    assert seen.last("new_bytes", "retransmission", "overlap", "fills_hole") == [0, True, False, False]
    assert seen.column("retransmission")[:-1] == [False] * 4
    assert seen.connection["client_bytes"] == 100
    assert "T" in seen.connection["history"]


def test_part_of_a_segment_sent_again() -> None:
    seen = see(HANDSHAKE + "0.030 > P. 1:101(100) ack 1\n0.330 > P. 41:61(20) ack 1")
    assert seen.last("offset", "new_bytes", "retransmission", "overlap") == [40, 0, True, False]


def test_reordered_segments() -> None:
    seen = see(HANDSHAKE + "0.030 > . 101:201(100) ack 1\n0.031 > . 1:101(100) ack 1\n0.032 > . 201:301(100) ack 1")
    # the handshake said where the stream begins, so that the first of them is known to be early
    assert seen.frames("opens_hole") == [4]
    assert seen.frames("fills_hole") == [5]
    assert seen.column("new_bytes") == [0, 0, 0, 100, 100, 100]
    assert seen.frames("retransmission") == []
    assert seen.connection["client_bytes"] == 300


def test_a_hole_filled_in_two_steps_and_again() -> None:
    seen = see(
        HANDSHAKE
        + """
        0.030 > . 1:101(100) ack 1
        0.031 > . 301:401(100) ack 1
        0.032 > . 201:301(100) ack 1
        0.033 > . 101:201(100) ack 1
        0.333 > . 101:201(100) ack 1
        """
    )
    assert seen.frames("opens_hole") == [5]
    assert seen.frames("fills_hole") == [6, 7]
    assert seen.frames("retransmission") == [8]
    assert seen.connection["client_bytes"] == 400


def test_overlap_with_the_end() -> None:
    seen = see(HANDSHAKE + "0.030 > . 1:101(100) ack 1\n0.031 > . 51:151(100) ack 1")
    assert seen.last("offset", "new_bytes", "overlap", "retransmission", "fills_hole") == [50, 50, True, False, False]


def test_one_segment_over_two_holes_and_the_end() -> None:
    seen = see(
        HANDSHAKE
        + """
        0.030 > . 1:11(10) ack 1
        0.031 > . 21:31(10) ack 1
        0.032 > . 41:51(10) ack 1
        0.033 > . 6:61(55) ack 1
        """
    )
    assert seen.frames("opens_hole") == [5, 6]
    # 11:21, 31:41 and 51:61
    assert seen.last("new_bytes", "fills_hole", "overlap", "retransmission") == [30, True, True, False]
    assert seen.connection["client_bytes"] == 60


def test_keep_alive_probes() -> None:
    for probe in ("100:100(0)", "100:101(1)"):
        seen = see(HANDSHAKE + f"0.030 > P. 1:101(100) ack 1\n0.040 < . ack 101\n9.000 > . {probe} ack 1\n9.010 < . ack 101")
        assert seen.frames("keep_alive_probe") == [6]
        assert seen.segments[5]["new_bytes"] == 0
        assert seen.frames("retransmission") == []
        assert seen.frames("pure_ack") == [3, 5, 7]
        assert seen.connection["client_bytes"] == 100


def test_one_byte_that_waits_for_its_ack_is_no_probe() -> None:
    seen = see(HANDSHAKE + "0.030 > P. 1:2(1) ack 1\n0.330 > P. 1:2(1) ack 1")
    assert seen.last("keep_alive_probe", "retransmission") == [False, True]


def test_syn_sent_again() -> None:
    seen = see("0.000 > S 0:0 mss 1460\n1.000 > S 0:0 mss 1460\n1.010 < S. 0:0 ack 1 mss 1460\n1.011 < S. 0:0 ack 1 mss 1460")
    assert seen.frames("retransmission") == [2, 4]
    assert seen.column("connection") == [0] * 4
    assert seen.connection["history"] == "STht"


def test_fin_sent_again() -> None:
    seen = see(HANDSHAKE + "0.030 > F. 1:1 ack 1\n0.330 > F. 1:1 ack 1")
    assert seen.frames("retransmission") == [5]


def test_fin_with_data_sent_again() -> None:
    seen = see(HANDSHAKE + "0.030 > FP. 1:11(10) ack 1\n0.330 > FP. 1:11(10) ack 1\n0.340 < . ack 12")
    assert seen.frames("retransmission") == [5]
    assert seen.frames("new_bytes") == [4]
    assert seen.connection["client_bytes"] == 10
    # the FIN takes a number
    assert seen.last("acked_bytes", "acks_unseen", "in_flight") == [11, 0, 0]


def test_data_in_a_syn() -> None:
    seen = see("0.000 > S 0:10(10) mss 1460\n0.010 < S. 0:0 ack 11 mss 1460\n0.020 > . ack 1\n0.021 > . 11:21(10) ack 1")
    assert seen.column("offset") == [0, 0, 10, 10]
    assert seen.column("new_bytes") == [10, 0, 0, 10]
    assert seen.frames("opens_hole") == seen.frames("acks_unseen") == []


def test_ack_of_data_that_was_not_captured() -> None:
    seen = see(
        HANDSHAKE
        + """
        0.030 > . 1:101(100) ack 1
        0.031 > . 101:201(100) ack 1 uncaptured
        0.045 < . ack 201
        0.050 > . 201:301(100) ack 1
        0.061 < . ack 301
        """
    )
    assert seen.column("acks_unseen") == [0, 0, 0, 0, 100, 0, 0]
    assert seen.column("acked_bytes") == [0, 0, 0, 0, 200, 0, 100]
    # that the other side has it shows that it was sent: what follows is no hole of the sender
    assert seen.frames("opens_hole") == []
    c = seen.connection
    assert (c["client_unseen_bytes"], c["server_unseen_bytes"], c["unseen_places"]) == (100, 0, 1)
    assert (c["unseen_frame"], c["unseen_time"]) == (5, 45 * MS)
    assert "g" in c["history"]


def test_ack_over_a_hole_that_was_not_captured() -> None:
    seen = see(
        HANDSHAKE
        + """
        0.030 > . 1:101(100) ack 1
        0.031 > . 101:201(100) ack 1 uncaptured
        0.032 > . 201:301(100) ack 1
        0.045 < . ack 101
        0.046 < . ack 301
        """
    )
    assert seen.frames("opens_hole") == [5]
    assert seen.column("acks_unseen") == [0, 0, 0, 0, 0, 0, 100]
    assert seen.connection["unseen_places"] == 1
    assert seen.connection["unseen_frame"] == 7


def test_a_hole_that_is_acknowledged_piece_by_piece() -> None:
    seen = see(
        HANDSHAKE
        + """
        0.030 > . 1:101(100) ack 1
        0.031 > . 101:301(200) ack 1 uncaptured
        0.032 > . 301:401(100) ack 1
        0.045 < . ack 201
        0.046 < . ack 401
        """
    )
    assert seen.column("acks_unseen") == [0, 0, 0, 0, 0, 100, 100]
    c = seen.connection
    assert (c["client_unseen_bytes"], c["unseen_places"], c["unseen_frame"]) == (200, 2, 6)


def test_a_hole_and_what_comes_behind_it_acknowledged_at_once() -> None:
    seen = see(
        HANDSHAKE
        + """
        0.030 > . 1:101(100) ack 1 uncaptured
        0.031 > . 101:201(100) ack 1
        0.032 > . 201:301(100) ack 1 uncaptured
        0.045 < . ack 301
        """
    )
    assert seen.last("acks_unseen") == [200]
    assert (seen.connection["client_unseen_bytes"], seen.connection["unseen_places"]) == (200, 1)


def test_two_places_in_both_directions() -> None:
    seen = see(
        HANDSHAKE
        + """
        0.030 > . 1:101(100) ack 1 uncaptured
        0.045 < . 1:51(50) ack 101
        0.046 < . 51:111(60) ack 101 uncaptured
        0.056 > . 101:201(100) ack 111
        """
    )
    c = seen.connection
    assert (c["client_unseen_bytes"], c["server_unseen_bytes"], c["unseen_places"], c["unseen_frame"]) == (100, 60, 2, 4)
    assert (c["client_bytes"], c["server_bytes"]) == (100, 50)


def test_data_captured_after_its_own_ack_is_not_missing() -> None:
    seen = see(
        HANDSHAKE
        + """
        0.030 > . 1:101(100) ack 1
        0.045 < . ack 301
        0.0451 > . 101:301(200) ack 1
        """
    )
    assert seen.segments[4]["acks_unseen"] == 200
    assert seen.last("new_bytes", "fills_hole", "retransmission") == [200, True, False]
    assert (seen.connection["client_unseen_bytes"], seen.connection["client_bytes"]) == (0, 300)


def test_part_of_it_captured_late() -> None:
    seen = see(HANDSHAKE + "0.030 > . 1:101(100) ack 1\n0.045 < . ack 301\n0.0451 > . 151:201(50) ack 1\n0.050 < . ack 301")
    assert seen.connection["client_unseen_bytes"] == 150
    assert seen.column("acks_unseen") == [0, 0, 0, 0, 200, 0, 0]


def test_an_absurd_ack_shows_nothing() -> None:
    seen = see(
        HANDSHAKE + "0.030 > . 1:101(100) ack 1\n0.045 < . ack 1900000101\n0.050 > . 101:201(100) ack 1\n0.060 < . ack 201"
    )
    c = seen.connection
    assert (c["client_unseen_bytes"], c["unseen_places"]) == (0, 0)
    assert seen.frames("opens_hole") == []
    assert seen.last("acked_bytes", "in_flight_before") == [200, 0]


def test_an_absurd_ack_does_not_tell_of_a_hole() -> None:
    seen = see(HANDSHAKE + "0.030 > . 1:101(100) ack 1\n0.031 > . 201:301(100) ack 1\n0.045 < . ack 1900000101")
    assert seen.column("acks_unseen") == [0] * 6
    assert seen.connection["client_unseen_bytes"] == 0


def test_what_was_before_the_capture_is_not_missing() -> None:
    seen = see("0.000 > . 1001:1101(100) ack 501\n0.010 < . 501:601(100) ack 1101")
    assert seen.column("offset") == [0, 0]
    assert seen.column("acks_unseen") == [0, 0]
    assert seen.connection["unseen_places"] == 0


def test_what_begins_below_the_first_byte_seen_has_a_negative_offset() -> None:
    seen = see("0.000 > . 1001:1101(100) ack 501\n0.001 > . 901:1001(100) ack 501")
    assert seen.column("offset") == [0, -100]

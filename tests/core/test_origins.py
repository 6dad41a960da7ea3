"""Test who sent a FIN or RST, with packets derived by hand; the ladders of foreign-reset test what reports make of it."""

from __future__ import annotations

import pytest

from tests.core.tcp_talk import CLIENT_ISN, SERVER_ISN, Talk, open_talk
from wiredoctor.core.tcp import origins
from wiredoctor.core.tcp.connection import Side
from wiredoctor.core.tcp.segment import NEVER

ONE, FIVE = CLIENT_ISN + 1, SERVER_ISN + 1


def server(talk: Talk) -> Side:
    return talk.connection.second


def origin(talk: Talk) -> str:
    """The name of who sent the server's first RST."""
    close = server(talk).close
    assert close is not None
    return origins.ORIGINS[origins.rst_origin(server(talk), close)]


def signs(talk: Talk) -> int:
    close = server(talk).close
    assert close is not None
    return origins.signs_of(server(talk), close.rst_ip, close.rst_signs)


def asked(*ids: int, ttl: int = 52) -> Talk:
    """A request of 100 bytes 1 s after the handshake, and ACKs of the server with these identifications."""
    talk = Talk()
    talk.client(0, "S", CLIENT_ISN, window=60_000, mss=1460, shift=0, ip_id=900)
    talk.server(10, "S.", SERVER_ISN, ONE, window=60_000, mss=1460, shift=0, ip_id=0, ttl=ttl)
    talk.client(11, ".", ONE, FIVE, window=60_000, ip_id=901)
    talk.client(1_000, "P.", ONE, FIVE, 100, window=60_000, ip_id=902)
    for number, ip_id in enumerate(ids):
        talk.server(1_020 + number, ".", FIVE, ONE + 100, window=60_000, ip_id=ip_id, ttl=ttl)
    return talk


def test_state_is_one_number_while_nothing_changes() -> None:
    talk = asked(7_001, 7_002, 7_002, 7_040)
    assert server(talk).path is None
    assert server(talk).ip == 7_041 | 52 << origins.ID_BITS


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        pytest.param((7_001, 7_002), origins.IP_ID, id="a SYN-ACK with 0 and two more"),
        pytest.param((7_001,), 0, id="two packets do not count"),
        pytest.param((65_535, 1), origins.IP_ID, id="it wraps around"),
        pytest.param((7_001, 9_000, 7_500), 0, id="random numbers"),
        pytest.param((7_001, 9_000, 9_001, 9_002), origins.IP_ID, id="after a jump it counts again"),
        pytest.param((7_001, 7_002, 0, 7_003), 0, id="0 occurs among them"),
        pytest.param((7_001, 7_003, 7_002), origins.IP_ID, id="two packets swapped"),
        pytest.param((0, 0, 0), 0, id="it is always 0"),
    ],
)
def test_identification_0_where_the_server_counts(ids: tuple[int, ...], found: int) -> None:
    talk = asked(*ids)
    talk.server(1_500, "R.", FIVE, ONE + 100, ip_id=0, ttl=52)
    assert signs(talk) == found


@pytest.mark.parametrize(
    ("ip_id", "found"),
    [(902, origins.IP_ID), (903, origins.IP_ID), (901, 0), (904, 0), (7_003, 0)],
)
def test_an_identification_that_is_copied_from_the_client(ip_id: int, found: int) -> None:
    talk = asked(7_001)
    talk.server(1_500, "R.", FIVE, ONE + 100, ip_id=ip_id, ttl=52)
    assert signs(talk) == found


@pytest.mark.parametrize(
    ("ids", "ip_id", "found"),
    [
        pytest.param((7_001, 7_002), 40_000, origins.IP_ID, id="far from a server that counts"),
        pytest.param((*range(7_001, 7_021), 7_022), 1_600, origins.IP_ID, id="far below all its packets"),
        pytest.param((7_001,), 40_000, 0, id="two packets do not count"),
        pytest.param((7_001, 9_000, 20_000), 40_000, 0, id="random numbers"),
        pytest.param((7_001, 7_002), 7_200, 0, id="packets to others in between"),
        pytest.param((7_001, 7_002), 7_000, 0, id="sent before"),
    ],
)
@pytest.mark.parametrize("flags", ["R", "R."])
def test_an_identification_far_from_those_of_the_server(flags: str, ids: tuple[int, ...], ip_id: int, found: int) -> None:
    talk = asked(*ids)
    talk.server(1_500, flags, FIVE, ONE + 100, ip_id=ip_id, ttl=52)
    assert signs(talk) == found


def test_each_segment_of_a_super_segment_has_an_identification() -> None:
    """After 20 of them with 45 segments each, an RST may have overtaken any of the 900."""
    talk = asked(7_001)
    for number in range(20):
        talk.server(
            1_030 + number, ".", FIVE + number * 64_800, ONE + 100, 64_800, window=60_000, ip_id=7_002 + number * 45, ttl=52
        )
    talk.server(1_500, "R.", FIVE + 20 * 64_800, ONE + 100, ip_id=7_010, ttl=52)
    assert signs(talk) == 0


def test_packets_that_were_not_captured_count_too() -> None:
    talk = asked(7_001, 7_002)
    talk.server(1_500, "R.", FIVE + 5_000, ONE + 100, ip_id=8_000, ttl=52)
    assert signs(talk) == origins.AHEAD


@pytest.mark.parametrize(
    ("flags", "millisecond", "ack", "found"),
    [
        pytest.param("R.", 1_501, 200, origins.GOES_ON, id="more than the RST acknowledges"),
        pytest.param("R.", 1_501, 100, 0, id="as much as the RST acknowledges"),
        pytest.param("R", 1_502, 200, origins.GOES_ON, id="an ACK that the RST did not overtake"),
        pytest.param("R", 1_501, 200, 0, id="an ACK that the RST may have overtaken"),
        pytest.param("R", 1_502, 100, 0, id="an ACK that advances nothing"),
    ],
)
def test_acks_after_a_reset(flags: str, millisecond: int, ack: int, found: int) -> None:
    talk = asked(7_001)
    talk.client(1_490, "P.", ONE + 100, FIVE, 100, window=60_000, ip_id=903)
    talk.server(1_500, flags, FIVE, ONE + 100, ip_id=0, ttl=52)
    talk.server(millisecond, ".", FIVE, ONE + ack, ip_id=7_003, ttl=52)
    assert signs(talk) == found


def test_both_sides_may_count_with_one_counter() -> None:
    talk = asked(800, 890)
    talk.server(1_500, "R.", FIVE, ONE + 100, ip_id=903, ttl=52)
    assert signs(talk) == 0


def test_ipv6_has_no_identification() -> None:
    talk = asked(-1, -1, -1)
    talk.server(1_500, "R.", FIVE, ONE + 100, ip_id=-1, ttl=52)
    assert (signs(talk), origin(talk)) == (0, "endpoint")


@pytest.mark.parametrize(("ttl", "found"), [(50, 0), (52, 0), (54, 0), (49, origins.TTL), (55, origins.TTL)])
def test_a_time_to_live_of_its_own(ttl: int, found: int) -> None:
    """A small difference is no sign, but it does not show the host, either."""
    talk = asked(7_001)
    talk.server(1_500, "R", FIVE, ip_id=0, ttl=ttl)
    assert signs(talk) == found
    assert origin(talk) == ("endpoint" if ttl == 52 else "doubtful")


@pytest.mark.parametrize(
    ("ip_id", "ahead", "found"),
    [
        pytest.param(0, 0, origins.IP_ID | origins.TTL, id="identification 0"),
        pytest.param(903, 0, origins.IP_ID | origins.TTL, id="the client's identification"),
        pytest.param(7_003, 10, origins.AHEAD, id="a new path avoids the capture point"),
    ],
)
def test_a_time_to_live_one_hop_away(ip_id: int, ahead: int, found: int) -> None:
    """It is a sign beside another one that a change of the path does not explain."""
    talk = asked(7_001, 7_002)
    talk.server(1_500, "R.", FIVE + ahead, ONE + 100, ip_id=ip_id, ttl=53)
    assert signs(talk) == found
    assert origin(talk) == ("between" if found & origins.TTL else "doubtful")


def test_later_packets_count_too() -> None:
    talk = asked(7_001)
    talk.server(1_500, "R", FIVE, ip_id=0, ttl=253)
    talk.server(1_501, "P.", FIVE - 100, ONE + 100, 100, ip_id=7_002, ttl=253)
    assert signs(talk) == 0


def test_a_reset_alone_cannot_be_compared() -> None:
    talk = Talk()
    talk.client(0, "S", CLIENT_ISN)
    talk.server(5, "R.", 0, ONE, ip_id=0)
    assert origin(talk) == ""


@pytest.mark.parametrize(
    ("time", "flags", "ack", "found"),
    [
        pytest.param(1_004.9, "R.", ONE + 100, origins.TOO_EARLY, id="less than half of 10 ms after the request"),
        pytest.param(1_005, "R.", ONE + 100, 0, id="half of 10 ms"),
        pytest.param(1_004.9, "R.", ONE, 0, id="it does not acknowledge the request"),
        pytest.param(1_004.9, "R", 0, 0, id="without ACK flag it may answer the handshake, less than 1 s before"),
    ],
)
def test_a_reset_that_came_too_early(time: float, flags: str, ack: int, found: int) -> None:
    talk = asked()
    talk.server(time, flags, FIVE, ack, ip_id=0, ttl=52)
    assert signs(talk) == found


@pytest.mark.parametrize(("rest", "found"), [(990, 0), (1_000, origins.TOO_EARLY)])
def test_without_ack_flag_after_a_rest(rest: int, found: int) -> None:
    talk = asked(7_001)
    talk.server(1_100, "P.", FIVE, ONE + 100, 50, ip_id=7_002, ttl=52)
    talk.client(1_101, ".", ONE + 100, FIVE + 50, ip_id=903)
    talk.client(1_101 + rest, "P.", ONE + 100, FIVE + 50, 100, ip_id=904)
    talk.server(1_103 + rest, "R", FIVE + 50, ip_id=0, ttl=52)
    assert signs(talk) == found


def test_a_sequence_number_ahead_of_the_next_byte() -> None:
    for ahead, found in ((0, 0), (1, origins.AHEAD), (60_000, origins.AHEAD), (60_001, 0)):
        talk = asked(7_001)
        talk.server(1_500, "R", FIVE + ahead, ip_id=0, ttl=52)
        assert signs(talk) == found, ahead


def test_a_side_that_goes_on() -> None:
    talk = asked(7_001)
    talk.server(1_500, "R", FIVE, ip_id=0, ttl=253)
    assert origin(talk) == "doubtful"
    talk.server(1_501, "P.", FIVE, ONE + 100, 10, ip_id=7_002, ttl=52)
    assert origin(talk) == "between"
    close = server(talk).close
    assert close is not None
    assert close.rst_signs is not None
    assert close.rst_signs.later_frame == talk.packet.frame
    assert talk.connection.closed


def test_a_reset_that_nobody_took_is_forgotten() -> None:
    talk = asked(7_001)
    talk.server(1_500, "R.", FIVE, ONE + 100, ip_id=0, ttl=253)
    talk.server(1_501, "P.", FIVE, ONE + 100, 10, ip_id=7_002, ttl=52)
    talk.client(1_502, ".", ONE + 100, FIVE + 10, ip_id=903)
    assert not talk.connection.closed
    close = server(talk).close
    assert close is not None
    assert (close.rst_frame, close.rst_signs) == (NEVER, None)


def test_a_peer_that_answers_with_resets_took_it() -> None:
    talk = open_talk()
    talk.server(100, "R", FIVE, ip_id=0, ttl=253)
    talk.server(101, "P.", FIVE, ONE, 10)
    talk.client(102, "R", FIVE + 10)
    assert talk.connection.closed

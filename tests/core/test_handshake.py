"""Test what SYNs negotiate, which side is the client, and how a connection was established and ended."""

from __future__ import annotations

import pytest

from tests.core.tcp_talk import Talk, connection_row, open_talk
from wiredoctor.core.tcp.closes import CLOSED_BY, CLOSES, who_closed
from wiredoctor.core.tcp.connection import Close
from wiredoctor.core.tcp.segment import NEVER


@pytest.mark.parametrize(
    ("client", "server", "sizes"),
    [(1_460, 1_400, (1_400, 1_400)), (-1, 1_400, (1_400, 536)), (-1, -1, (536, 536)), (1_460, -2, (1_460, 1_460))],
)
def test_the_mss_is_what_both_announce(client: int, server: int, sizes: tuple[int, int]) -> None:
    """Of client and server; -1: the SYN has no such option, -2: it was not captured."""
    talk = Talk()
    talk.client(0, "S", 1_000, mss=client)
    talk.server(1, "S.", 5_000, 1_001, mss=server)
    assert (talk.client(2, ".", 1_001, 5_001).mss, talk.server(3, ".", 5_001, 1_001).mss) == sizes


def test_time_stamps_take_12_bytes_of_each_segment() -> None:
    talk = Talk()
    talk.client(0, "S", 1_000, mss=1_460, ts=1)
    talk.server(1, "S.", 5_000, 1_001, mss=1_460, ts=1)
    assert talk.client(2, ".", 1_001, 5_001, 1_448, ts=1).full


def test_without_a_handshake_each_packet_tells_of_time_stamps() -> None:
    talk = Talk()
    assert talk.client(0, ".", 1_001, 5_001, 1_448, ts=1).full
    assert not talk.client(1, ".", 2_449, 5_001, 1_448).full


def test_the_sender_of_the_first_syn_is_the_client() -> None:
    talk = Talk()
    talk.server(0, "S.", 5_000, 1_001)
    assert (talk.connection.client, talk.connection.client_certainty) == (0, 2)
    talk.server(1, "S", 5_000)
    assert (talk.connection.client, talk.connection.client_certainty) == (1, 3)


def test_a_refused_syn_that_is_answered_later_closed_nothing() -> None:
    talk = Talk()
    talk.client(0, "S", 1_000)
    talk.server(1, "R.", 0, 1_001)
    row = connection_row(talk.connection)
    assert (row["refused_frame"], row["closed_by"], row["close"]) == (2, "server", "rst")
    assert talk.connection.closed
    talk.client(500, "S", 1_000)
    talk.server(501, "S.", 5_000, 1_001)
    row = connection_row(talk.connection)
    assert (row["syns"], row["answered_syn_frame"], row["closed_by"]) == (2, 3, "")
    assert not talk.connection.closed


def test_a_repeated_syn_forgets_what_the_former_connection_left_unseen() -> None:
    """The server still knows a former connection, and an ACK of the client covers bytes of it that were not captured."""
    talk = Talk()
    talk.client(0, "S", 1_000)
    talk.server(1, ".", 9_000, 700)
    talk.server(2, ".", 9_500, 700)
    assert talk.client(3, ".", 1_001, 9_500).acked_unseen == 500
    talk.client(1_000, "S", 1_000)
    talk.server(1_001, "S.", 5_000, 1_001)
    talk.client(1_002, ".", 1_001, 5_001)
    assert talk.server(1_003, ".", 5_001, 1_001, 100).new_bytes == 100
    again = talk.server(1_300, ".", 5_001, 1_001, 100)
    assert (again.new_bytes, again.retransmission) == (0, True)
    assert connection_row(talk.connection)["server_unseen_bytes"] == 0


def test_an_rst_that_acknowledges_more_refuses_no_syn() -> None:
    talk = Talk()
    talk.client(0, "S", 1_000)
    talk.server(1, "R.", 0, 1_101)
    assert connection_row(talk.connection)["refused_frame"] is None


def test_both_fins_close_a_connection() -> None:
    talk = open_talk()
    talk.client(20, "F.", 1_001, 5_001)
    assert not talk.connection.closed
    talk.server(30, "F.", 5_001, 1_002)
    assert talk.connection.closed
    assert connection_row(talk.connection)["closed_by"] == "client"


def test_an_rst_closes_a_connection_at_once() -> None:
    talk = open_talk()
    talk.server(20, "R", 5_001)
    assert talk.connection.closed
    row = connection_row(talk.connection)
    assert (row["closed_by"], row["close"], row["history"]) == ("server", "rst", "ShAr")


def close(kind: str, frame: int, offset: int, ack: int) -> Close:
    """A FIN or an RST."""
    closing = Close()
    if kind == "fin":
        closing.fin_frame, closing.fin_offset, closing.fin_ack = frame, offset, ack
    else:
        closing.rst_frame, closing.rst_offset, closing.rst_ack = frame, offset, ack
    return closing


@pytest.mark.parametrize(
    ("client", "server", "closed"),
    [
        (None, None, ("", "")),
        (close("fin", 5, 100, 200), None, ("client", "fin")),
        # the server acknowledged the client's FIN before it sent its own, whatever the capture's order
        (close("fin", 6, 100, 200), close("fin", 5, 200, 101), ("client", "fin")),
        (close("fin", 5, 100, 201), close("fin", 6, 200, 100), ("server", "fin")),
        (close("fin", 5, 100, 200), close("fin", 6, 200, 100), ("both", "fin")),
        # an RST without an ACK number answers what came before it
        (close("fin", 5, 100, 200), close("rst", 6, 200, NEVER), ("client", "fin")),
        (close("rst", 5, 100, 150), close("rst", 4, 200, NEVER), ("server", "rst")),
    ],
)
def test_ack_numbers_tell_who_closed_first(client: Close | None, server: Close | None, closed: tuple[str, str]) -> None:
    closer, way = who_closed(client, server)
    assert (CLOSED_BY[closer], CLOSES[way]) == closed


def test_the_history_has_each_kind_of_packet_once() -> None:
    talk = open_talk()
    talk.client(20, "P.", 1_001, 5_001, 100)
    talk.client(220, "P.", 1_001, 5_001, 100)
    talk.server(230, ".", 5_001, 1_301, window=0)
    talk.client(240, "F.", 1_301, 5_001, 5)
    assert connection_row(talk.connection)["history"] == "ShADTagwF"


def test_one_side_alone() -> None:
    talk = Talk()
    talk.client(0, ".", 1_001, 5_001, 10)
    talk.client(1, ".", 1_011, 5_001, 10)
    assert not connection_row(talk.connection)["one_sided"]
    talk.client(2, ".", 1_021, 5_001, 10)
    assert connection_row(talk.connection)["one_sided"]
    talk.server(3, ".", 5_001, 1_031)
    assert not connection_row(talk.connection)["one_sided"]


def test_a_long_history_keeps_its_order() -> None:
    talk = Talk()
    talk.client(0, "S", 1_000)
    talk.server(1, "S.", 5_000, 1_001)
    talk.client(2, ".", 1_001, 5_001)
    talk.server(3, ".", 5_001, 1_001)
    talk.client(4, "P.", 1_001, 5_001, 10)
    talk.server(5, "P.", 5_001, 1_011, 10)
    talk.client(6, "P.", 1_001, 5_001, 10)
    talk.server(7, "P.", 5_001, 1_011, 10)
    talk.client(8, ".", 1_011, 5_051, window=0)
    talk.server(9, ".", 5_051, 1_031, window=0)
    talk.client(10, "F.", 1_031, 5_051)
    talk.server(11, "F.", 5_051, 1_032)
    talk.client(12, "R", 1_032)
    talk.server(13, "R", 5_052)
    assert connection_row(talk.connection)["history"] == "ShAaDdTtGWgwFfRr"


def test_syns_after_the_handshake_are_not_counted() -> None:
    talk = open_talk()
    talk.client(1_000, "S", 1_000)
    talk.server(1_001, "R.", 0, 1_001)
    row = connection_row(talk.connection)
    assert (row["syns"], row["refused_frame"]) == (1, None)

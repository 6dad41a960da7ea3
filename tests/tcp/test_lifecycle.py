"""A connection as a whole: how it closed, who closed it, its history, and its counts."""

from __future__ import annotations

import pytest

from tests.tcp.seeing import HANDSHAKE, MS, see

FIN_CLIENT, FIN_SERVER = "0.030 > F. 1:1 ack 1\n", "0.030 < F. 1:1 ack 1\n"

CLOSES = {
    "open": ("", "", ""),
    "client first": (FIN_CLIENT + "0.040 < F. 1:1 ack 2\n0.050 > . 2:2 ack 2", "client", "fin"),
    "server first": (FIN_SERVER + "0.040 > F. 1:1 ack 2\n0.050 < . 2:2 ack 2", "server", "fin"),
    "half-close of the client": (
        FIN_CLIENT + "0.040 < . 1:1 ack 2\n0.500 < P. 1:101(100) ack 2\n0.510 > . 2:2 ack 101\n0.600 < F. 101:101 ack 2",
        "client",
        "fin",
    ),
    "client alone": (FIN_CLIENT, "client", "fin"),
    "server alone": (FIN_SERVER, "server", "fin"),
    "FINs that cross": ("0.030 > F. 1:1 ack 1\n0.031 < F. 1:1 ack 1\n0.041 < . 2:2 ack 2\n0.042 > . 2:2 ack 2", "both", "fin"),
    "FIN behind data, crossing": ("0.030 > FP. 1:11(10) ack 1\n0.031 < FP. 1:21(20) ack 1", "both", "fin"),
    "RST of the client": ("0.030 > R. 1:1 ack 1", "client", "rst"),
    "RST of the server": ("0.030 > P. 1:11(10) ack 1\n0.040 < R. 1:1 ack 11", "server", "rst"),
    "RST behind its own FIN": ("0.030 < F. 1:1 ack 1\n0.040 > P. 1:11(10) ack 2\n0.050 < R 2:2", "server", "fin"),
    "RST in answer to a FIN": ("0.030 < F. 1:1 ack 1\n0.040 > R. 1:1 ack 2", "server", "fin"),
    # acknowledgement numbers decide, not the order in the capture
    "FIN captured behind the answer": ("0.0300 < F. 1:1 ack 2\n0.0301 > F. 1:1 ack 1", "client", "fin"),
    "refused": (None, "server", "rst"),
}


@pytest.mark.parametrize("name", CLOSES)
def test_closes(name: str) -> None:
    text, by, how = CLOSES[name]
    c = see("0.000 > S 0:0\n0.010 < R. 0:0 ack 1" if text is None else HANDSHAKE + text).connection
    assert (c["closed_by"], c["close"]) == (by, how)


@pytest.mark.parametrize(
    ("reset", "numbers"),
    [
        ("0.041 < R. 16:16 ack 301\n0.042 < R. 1:1 ack 1", (15, 300)),
        ("0.041 < R 1:1", (0, None)),
        ("0.041 > R. 1:1 ack 1", (None, None)),
    ],
)
def test_numbers_in_the_first_rst_of_the_server(reset: str, numbers: tuple[int | None, int | None]) -> None:
    c = see(HANDSHAKE + reset).connection
    assert (c["server_rst_offset"], c["server_rst_ack"]) == numbers


def test_of_two_rsts_the_first_closed() -> None:
    for first, second, by in ((">", "<", "client"), ("<", ">", "server")):
        c = see(HANDSHAKE + f"0.030 {first} R. 1:1 ack 1\n0.031 {second} R. 1:1 ack 1").connection
        assert (c["closed_by"], c["close"]) == (by, "rst")


def test_rst_in_the_middle() -> None:
    seen = see(HANDSHAKE + "0.030 > P. 1:11(10) ack 1\n0.041 < R. 1:1 ack 11\n0.042 > P. 11:21(10) ack 1")
    # what comes later is still of this connection
    assert seen.column("connection") == [0] * 6
    assert seen.last("new_bytes") == [10]
    assert seen.connection["client_bytes"] == 20
    assert seen.frames("pure_ack") == [3]


@pytest.mark.parametrize(
    ("text", "history"),
    [
        (HANDSHAKE, "ShA"),
        (
            HANDSHAKE + "0.030 > P. 1:11(10) ack 1\n0.041 < P. 1:11(10) ack 11\n0.042 > F. 11:11 ack 11\n0.052 < F. 11:11 ack 12",
            "ShADdFf",
        ),
        (HANDSHAKE + "0.030 > P. 1:11(10) ack 1\n0.330 > P. 1:11(10) ack 1\n0.341 < . ack 11", "ShADTa"),
        (HANDSHAKE + "0.030 > P. 1:11(10) ack 1\n0.041 < . ack 11 win 0\n0.042 < R. 1:1 ack 11", "ShADawr"),
        (HANDSHAKE + "0.041 < . ack 11", "ShAag"),
        # one packet, several letters: D before F
        (HANDSHAKE + "0.030 > FP. 1:11(10) ack 1", "ShADF"),
        ("0.000 > S 0:0\n0.001 < S 0:0\n0.010 > S. 0:0 ack 1\n0.011 < S. 0:0 ack 1", "SsHTht"),
        ("0.000 > . 501:601(100) ack 301\n0.010 < . 301:301 ack 601", "Da"),
    ],
)
def test_history(text: str, history: str) -> None:
    assert see(text).connection["history"] == history


def test_counts_and_times() -> None:
    c = see("connection 1, start 5\n" + HANDSHAKE + "0.030 > P. 1:11(10) ack 1\n0.041 < . ack 11").connection
    assert (c["packets"], c["client_packets"], c["server_packets"]) == (5, 3, 2)
    assert (c["first_frame"], c["last_frame"]) == (1, 5)
    # times count from the capture's first packet
    assert (c["start"], c["end"]) == (0, 41 * MS)
    assert (c["protocol"], c["handshake"]) == ("unknown", True)


def test_the_capture_can_begin_in_the_middle() -> None:
    seen = see(
        "0.000 < P. 4001:4101(100) ack 701\n0.010 > . 701:701 ack 4101\n0.020 > F. 701:701 ack 4101\n0.030 < F. 4101:4101 ack 702"
    )
    c = seen.connection
    assert (c["handshake"], c["history"], c["closed_by"]) == (False, "dAFf", "client")
    assert (c["client"], c["server_bytes"], c["client_bytes"]) == ("10.0.0.1:40001", 100, 0)
    assert seen.column("handshake") == [False] * 4

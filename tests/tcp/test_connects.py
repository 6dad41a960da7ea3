"""Test SYNs and the replies to them."""

from __future__ import annotations

import pytest

from tests.tcp.seeing import MS, see


def test_which_syn_was_answered() -> None:
    c = see("""
    0.000 > S mss 1460
    1.000 > S mss 1460
    3.000 > S mss 1460
    3.010 < S. 0:0 mss 1460
    3.020 > .
    """).connection  # fmt: skip
    assert (c["syns"], c["syn_frame"], c["last_syn_frame"], c["answered_syn_frame"]) == (3, 1, 3, 3)
    assert (c["syn_time"], c["second_syn_time"], c["third_syn_time"]) == (0, 1000 * MS, 3000 * MS)
    assert (c["newest_answer_frame"], c["connected"], c["refused_frame"]) == (4, True, None)


def test_what_comes_after_the_handshake_does_not_count() -> None:
    c = see("""
    0.000 > S mss 1460
    0.010 < S. 0:0 mss 1460
    0.020 > .
    1.000 > S 0:0 mss 1460
    1.010 < S. 0:0 mss 1460
    1.020 < R. 1:1
    """).connection  # fmt: skip
    assert (c["syns"], c["newest_answer_frame"], c["refused_frame"]) == (1, 2, None)


def test_of_two_answers_the_one_before_the_acknowledgement() -> None:
    c = see("""
    0.000 > S mss 1460
    0.001 < S. 0:0 mss 1460
    1.000 > S 0:0 mss 1460
    1.001 < S. 0:0 mss 1460
    1.002 > .
    2.001 < S. 0:0 mss 1460
    """).connection  # fmt: skip
    assert (c["first_answer_frame"], c["newest_answer_frame"], c["answered_syn_frame"]) == (2, 4, 3)


def test_a_refusal_and_its_close() -> None:
    c = see("""
    0.000 > S mss 1460
    0.010 < R. ack 1
    """).connection  # fmt: skip
    assert (c["refused_frame"], c["closed_by"], c["close"]) == (2, "server", "rst")


def test_a_refusal_closes_nothing_that_comes_after_it() -> None:
    c = see("""
    0.000 > S mss 1460
    0.010 < R. ack 1
    0.500 > S 0:0 mss 1460
    0.510 < S. 0:0 mss 1460
    0.520 > .
    0.530 > P. "hello"
    0.540 < .
    """).connection  # fmt: skip
    assert (c["refused_frame"], c["closed_by"], c["close"], c["connected"]) == (2, "", "", True)


def test_a_reset_after_all_is_a_close() -> None:
    c = see("""
    0.000 > S mss 1460
    0.010 < R. ack 1
    0.500 > S 0:0 mss 1460
    0.510 < S. 0:0 mss 1460
    0.520 > .
    0.530 < R. 1:1
    """).connection  # fmt: skip
    assert (c["closed_by"], c["close"]) == ("server", "rst")


@pytest.mark.parametrize(("flags", "extras"), [("S", False), ("SEC", True), ('S "GET"', True)])
def test_what_a_syn_asks_for(flags: str, extras: bool) -> None:
    c = see(f"0.000 > {flags} mss 1460\n1.000 > S 0:0 mss 1460\n1.010 < S. 0:0 mss 1460").connection
    assert (c["syn_ecn_or_data"], c["answered_syn_ecn_or_data"]) == (extras, False)


@pytest.mark.parametrize(
    ("syns", "echo", "first"),
    [
        pytest.param(["0.000", "1.000"], "0.000", True, id="the answer is one to the first SYN"),
        pytest.param(["0.000", "1.000"], "1.000", False, id="the answer is one to the second SYN"),
        pytest.param(["0.000", "1.000", "3.000"], "1.000", False, id="the answer is one to the second of three"),
        pytest.param(["0.000", "0.0001"], "0.000", False, id="both have the same timestamp"),
        pytest.param(["0.000"], "0.000", False, id="there is one SYN"),
    ],
)
def test_which_syn_a_syn_ack_echoes(syns: list[str], echo: str, first: bool) -> None:
    lines = [f"{time} > S 0:0 mss 1460 ts" for time in syns]
    c = see("\n".join([*lines, f"3.010 < S. 0:0 mss 1460 ts echo {echo}", "3.011 > . ts"])).connection
    assert c["answer_echoes_first_syn"] is first


def test_round_trips_by_data() -> None:
    """The handshake would say 10 ms to the server, data say 700 ms."""
    c = see("""
    0.000 > S mss 1460
    0.700 > S 0:0 mss 1460
    0.710 < S. 0:0 mss 1460
    0.711 > .
    0.712 > P. "hello"
    1.412 < . ack 6
    1.413 < P. "hello"
    1.414 > . ack 6
    """).connection  # fmt: skip
    assert c["data_rtt"] == 701 * MS


def test_no_round_trip_by_data_where_the_syn_was_not_repeated() -> None:
    c = see('0 > S mss 1460\n0.010 < S. 0:0 mss 1460\n0.011 > .\n0.012 > P. "hello"\n0.022 < . ack 6').connection
    assert c["data_rtt"] is None


def test_no_round_trip_by_data_that_came_before_the_second_syn() -> None:
    """It is not known yet that one is needed."""
    c = see("""
    0.000 > S mss 1460
    0.001 > P 1:11(10)
    0.003 < . ack 11
    1.000 > S 0:0 mss 1460
    1.010 < S. 0:0 ack 1 mss 1460
    1.020 > . 11:11 ack 1
    1.021 > P. 11:21(10) ack 1
    1.051 < . 1:1 ack 21
    """).connection  # fmt: skip
    assert c["data_rtt"] == 30 * MS

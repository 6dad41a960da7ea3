"""`probe_frame`: a held-back segment that left by Linux' tail loss probe (rules.md, nagle-delayed-ack, probe-released)."""

from __future__ import annotations

import pytest

from tests.tcp.seeing import HANDSHAKE, see

D = "0.030 > P. 1:101(100) ack 1\n"
"""10 ms to each side of the capture: the round trip is 20 ms."""


def probes(text: str) -> list[tuple[int, int]]:
    """(frame of the ACK, frame of S)."""
    return [(row["frame"], row["probe_frame"]) for row in see(HANDSHAKE + text).segments if row["probe_frame"]]


def test_both_acknowledged_at_once() -> None:
    assert probes(D + "0.270 > P. 101:151(50) ack 1\n0.281 < . ack 151") == [(6, 5)]
    assert probes(D + "0.270 > P. 101:151(50) ack 1\n0.281 < P. 1:11(10) ack 151") == [(6, 5)]


def test_what_does_not_acknowledge_them_is_passed_over() -> None:
    assert probes(D + "0.270 > P. 101:151(50) ack 1\n0.275 < . ack 1 win 65000\n0.281 < . ack 151") == [(7, 5)]


@pytest.mark.parametrize(("at", "expected"), [(0.2499, []), (0.2501, [(6, 5)]), (0.5599, [(6, 5)]), (0.5601, [])])
def test_edges_of_the_wait(at: float, expected: list[tuple[int, int]]) -> None:
    assert probes(D + f"{at} > P. 101:151(50) ack 1\n0.580 < . ack 151") == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(D + "0.269 < . ack 101\n0.270 > P. 101:151(50) ack 1\n0.281 < . ack 151", id="D acknowledged before"),
        pytest.param(D + "0.270 > P. 101:151(50) ack 1\n0.279 < . ack 101\n0.281 < . ack 151", id="ACK of D alone on its way"),
        pytest.param(
            D + "0.270 > P. 101:151(50) ack 1\n0.290 > P. 1:101(100) ack 1\n0.301 < . ack 151", id="D was lost and sent again"
        ),
        pytest.param(
            "0.0295 > . 1:1461(1460) ack 1\n0.030 > P. 1461:1561(100) ack 1\n0.270 > P. 1561:1571(10) ack 1\n0.281 < . ack 1571",
            id="D not alone in flight",
        ),
        pytest.param("0.030 > P. 1:1461(1460) ack 1\n0.270 > P. 1461:1471(10) ack 1\n0.281 < . ack 1471", id="D is full"),
        pytest.param(D + "0.270 > P. 101:1561(1460) ack 1\n0.281 < . ack 1561", id="S is full"),
        pytest.param(D + "0.270 > P. 101:151(50) ack 1", id="never acknowledged"),
    ],
)
def test_no_probe(text: str) -> None:
    assert probes(text) == []

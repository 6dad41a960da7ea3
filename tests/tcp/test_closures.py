"""Windows that were closed, and who waited."""

from __future__ import annotations

from typing import Any

from tests.tcp.seeing import HANDSHAKE, see

COLUMNS = ("closed_frame", "closed_window", "window_probes", "window_probe_frame", "opened_frame")
FULL = '0.100 > . 1:1461 "\\x00"*1460\n'
"""Payload that looks like no protocol."""


def closures(text: str, before: str = HANDSHAKE) -> list[tuple[Any, ...]]:
    """(frame of the next segment, *COLUMNS) of each."""
    seen = see(before + text)
    return [(row["frame"], *(row[name] for name in COLUMNS)) for row in seen.segments if row["after_closed_window"]]


def test_a_zero_window() -> None:
    assert closures(FULL + "0.120 < . win 0\n0.320 < . win 5000\n0.340 > . 1461:1500") == [(7, 5, 0, 0, None, 6)]


def test_less_than_a_segment_holds_up_a_full_one() -> None:
    small = FULL + "0.120 < . win 1459\n0.320 < . win 5000\n"
    assert closures(small + "0.340 > . 1461:2921") == [(7, 5, 1459, 0, None, 6)]
    assert closures(small + "0.340 > . 1461:2920") == []
    assert closures(FULL + "0.120 < . win 1460\n0.320 < . win 5000\n0.340 > . 1461:2921") == []


def test_a_window_that_shrinks_to_nothing_was_closed_before() -> None:
    text = FULL + "0.120 < . win 900\n0.150 < . win 0\n0.320 < . win 900\n0.420 < . win 5000\n0.440 > . 1461:2921"
    assert closures(text) == [(9, 5, 900, 0, None, 8)]


def test_a_tiny_buffer_opens_with_what_it_has() -> None:
    assert closures(FULL + "0.120 < . win 0\n0.320 < . win 900\n0.340 > . 1461:2361") == [(7, 5, 0, 0, None, 6)]


def test_probes_of_no_byte_and_of_one() -> None:
    text = FULL + "0.120 < . win 0\n0.200 > . 1460:1460\n0.220 < . win 0\n0.300 > . 1461:1462 X\n0.320 < . win 0\n".replace(
        "X", FULL[17:23]
    )
    assert closures(text + "0.420 < . win 5000\n0.440 > . 1461:2921") == [(11, 5, 0, 2, 6, 10)]


def test_short_closures_are_not_told() -> None:
    assert closures(FULL + "0.120 < . win 0\n0.139 < . win 5000\n0.160 > . 1461:2921") == []
    assert len(closures(FULL + "0.120 < . win 0\n0.140 < . win 5000\n0.160 > . 1461:2921")) == 1


def test_a_window_that_closes_again_unused() -> None:
    text = FULL + "0.120 < . win 0\n0.320 < . win 5000\n0.420 < . win 0\n0.520 < . win 5000\n0.540 > . 1461:2921"
    assert closures(text) == [(9, 7, 0, 0, None, 8)]


def test_two_in_a_row() -> None:
    text = (
        FULL
        + "0.120 < . win 0\n0.320 < . win 1460\n0.340 > . 1461:2921\n0.360 < . win 0\n0.560 < . win 1460\n0.580 > . 2921:4381"
    )
    assert [c[0] for c in closures(text)] == [7, 10]


def test_only_the_first_segment_waited() -> None:
    text = FULL + "0.120 < . win 0\n0.320 < . win 5000\n0.340 > . 1461:2921\n0.341 > . 2921:4381"
    assert [c[0] for c in closures(text)] == [7]


def test_without_a_handshake_only_nothing_is_nothing() -> None:
    opened = "0.320 < . ack 1461 win 5000\n0.340 > . 1461:2921"
    assert len(closures("0.100 > . 1:1461\n0.120 < . ack 1461 win 0\n" + opened, before="")) == 1
    assert closures("0.100 > . 1:1461\n0.120 < . ack 1461 win 900\n" + opened, before="") == []


def test_the_client_closes_its_window_too() -> None:
    text = "0.100 < . 1:1461 ack 1\n0.120 > . win 0\n0.320 > . win 5000\n0.340 < . 1461:2921 ack 1"
    assert closures(text) == [(7, 5, 0, 0, None, 6)]

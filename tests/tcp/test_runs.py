"""Runs of small segments."""

from __future__ import annotations

from typing import Any

from tests.tcp.seeing import HANDSHAKE, see


def runs(text: str) -> list[tuple[Any, ...]]:
    """(frame, segments, bytes, first frame) of each segment that continues a run."""
    seen = see(HANDSHAKE + text)
    return [
        (row["frame"], row["small_run"], row["small_run_bytes"], row["small_run_frame"])
        for row in seen.segments
        if row["small_run"]
    ]


def test_segments_are_counted() -> None:
    text = "0.100 > P. 1:11\n0.101 > P. 11:31\n0.102 > P. 31:61\n0.103 > P. 61:101"
    assert runs(text) == [(5, 2, 30, 4), (6, 3, 60, 4), (7, 4, 100, 4)]


def test_twenty_milliseconds() -> None:
    assert [r[1] for r in runs("0.100 > P. 1:11\n0.120 > P. 11:31\n0.140001 > P. 31:61\n0.150 > P. 61:101")] == [2, 2]


def test_an_answer_ends_it_and_an_ack_does_not() -> None:
    assert [r[1] for r in runs("0.100 > P. 1:11\n0.101 > P. 11:31\n0.102 < . ack 1\n0.103 > P. 31:61")] == [2, 3]
    assert [r[1] for r in runs("0.100 > P. 1:11\n0.101 > P. 11:31\n0.102 < P. 1:5 ack 1\n0.103 > P. 31:61")] == [2]


def test_full_and_super_segments_end_it() -> None:
    assert [r[0] for r in runs("0.100 > P. 1:11\n0.101 > P. 11:1471\n0.102 > P. 1471:1481\n0.103 > P. 1481:1491")] == [7]
    assert [r[0] for r in runs("0.100 > P. 1:11\n0.101 > P. 11:2011\n0.102 > P. 2011:2021\n0.103 > P. 2021:2031")] == [7]


def test_both_sides_have_their_own() -> None:
    text = "0.100 > P. 1:11\n0.101 > P. 11:31\n0.130 < P. 1:6 ack 31\n0.131 < P. 6:12 ack 31\n0.132 < P. 12:19 ack 31"
    assert runs(text) == [(5, 2, 30, 4), (7, 2, 11, 6), (8, 3, 18, 6)]


def test_what_is_sent_again_is_no_part_of_it() -> None:
    assert runs("0.100 > P. 1:11\n0.101 > P. 11:31\n0.102 > P. 11:31\n0.103 > P. 31:41") == [(5, 2, 30, 4), (7, 3, 40, 4)]

"""The gaps between events: percentiles against sorted lists, comments that are no events, and bounded memory."""

from __future__ import annotations

import math
import random
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from tests.http.talk import exchanges
from wiredoctor.protocols.http1.event_gaps import EXACT, EventGaps, rounded
from wiredoctor.protocols.http1.event_streams import make_counter
from wiredoctor.protocols.http1.fields import Fields
from wiredoctor.tables import NEVER

PERCENTS = (5, 50, 95, 100)


def noted(gaps: list[int], together: int = 0) -> EventGaps:
    """Events with these gaps (ns), and `together` more in the last packet."""
    found, time = EventGaps(), 7
    found.note(1, 1, time)
    for number, gap in enumerate(gaps):
        time += gap
        found.note(1 + (together if number == len(gaps) - 1 else 0), number + 2, time)
    return found


def nearest_rank(gaps: list[int], percent: int) -> int:
    return sorted(gaps)[max(math.ceil(len(gaps) * percent / 100), 1) - 1]


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=60), st.integers(0, 9))
def test_few_gaps_are_exact(gaps: list[int], together: int) -> None:
    every = gaps + [0] * together
    assert noted(gaps, together).percentiles(PERCENTS) == [nearest_rank(every, percent) for percent in PERCENTS]


def test_many_gaps_are_rounded_by_less_than_one_percent() -> None:
    chance = random.Random(1)
    for spread in (5, 6, 7, 8, 10, 12):
        gaps = [int(10 ** chance.uniform(4, spread)) for _ in range(3 * EXACT + 100)]
        for percent, found in zip(PERCENTS, noted(gaps).percentiles(PERCENTS), strict=True):
            exact = nearest_rank(gaps, percent)
            assert abs(found - exact) <= max(66_000, exact / 128)
        assert noted(gaps).longest == max(gaps)


@given(st.integers(0, 1 << 62))
def test_a_gap_is_near_the_middle_of_its_bin(gap: int) -> None:
    assert abs(rounded(gap) - min(gap, 1 << 44)) <= max(1 << 16, min(gap, 1 << 44) >> 7)


def test_there_is_no_gap_before_the_second_event() -> None:
    assert EventGaps().first == (NEVER, NEVER)
    one = noted([])
    assert (one.first, one.percentiles((50,)), one.longest) == ((1, 7), [NEVER], NEVER)


def test_memory_is_bounded() -> None:
    chance = random.Random(2)
    tracemalloc.start()
    try:
        found, time = EventGaps(), 0
        for frame in range(20_000):
            time += int(10 ** chance.uniform(0, 14))
            found.note(1, frame, time)
        assert tracemalloc.get_traced_memory()[0] < 400_000
    finally:
        tracemalloc.stop()


def test_comments_and_retry_lines_are_no_events_with_data() -> None:
    counter = make_counter(Fields(0, content_type="text/event-stream"))
    assert counter is not None
    pieces = [b": ping\n\n", b"retry: 5\n\ndata: 1\n", b"\n", b"event: x\r\ndata: 2\r\n\r\n: p\n\ndata", b": 3\n\n", b"id: 1\n\n"]
    assert [(counter.count(piece), counter.with_data) for piece in pieces] == [(1, 0), (1, 0), (1, 1), (2, 1), (1, 1), (1, 0)]


STREAM = """
0.020 > P. "POST /v1 HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 0\\r\\n\\r\\n"
0.520 < P. "HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"
"""
TIMES = ("data_events", "first_data_frame", "first_data_time", "median_gap", "p95_gap", "longest_gap", "longest_gap_frame")


def times(text: str) -> list[int]:
    [row] = exchanges(STREAM + text)
    return [row[f"response_{name}"] for name in TIMES]


def test_an_event_ends_in_the_packet_with_its_last_byte() -> None:
    """The comment in frame 6 is a heartbeat; the second event ends in frame 9, the third with it."""
    assert times("""
        0.620 < P. "7\\r\\n: hey\\n\\n\\r\\n"
        0.720 < P. "9\\r\\ndata: 1\\n\\n\\r\\n"
        0.750 < P. "5\\r\\ndata:\\r\\n"
        0.820 < P. "e\\r\\n 2\\n\\ndata: 3\\n\\n\\r\\n"
        1.820 < P. "9\\r\\ndata: 4\\n\\n\\r\\n0\\r\\n\\r\\n"
    """) == [4, 7, 720_000_000, 100_000_000, 1_000_000_000, 1_000_000_000, 10]


def test_events_behind_a_lost_segment_arrive_with_it() -> None:
    """Frame 8 fills the gap before frame 7 (the head has 80 bytes, each event 14)."""
    assert times("""
        0.620 < P. "9\\r\\ndata: 1\\n\\n\\r\\n"
        0.720 < P. 109:123(14) "9\\r\\ndata: 3\\n\\n\\r\\n"
        0.920 < P. 95:109(14) "9\\r\\ndata: 2\\n\\n\\r\\n"
        1.020 < P. 123:142(19) "9\\r\\ndata: 4\\n\\n\\r\\n0\\r\\n\\r\\n"
    """) == [4, 6, 620_000_000, 100_000_000, 300_000_000, 300_000_000, 8]

"""Lines of logs, and the exchanges that they are about."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiredoctor.access_log.clock_offset import find_offset
from wiredoctor.access_log.log_line import LogLine
from wiredoctor.access_log.matching import CapturedExchange, ExchangeIndex, Matches, match_lines
from wiredoctor.report.terminal.log_text import line_text
from wiredoctor.text import redact
from wiredoctor.text.time_of_day import SECOND

DAY = 20_000 * 86_400 * SECOND
"""The moment at which captures of these tests begin, in ns since 1970."""

MS = SECOND // 1000


def seen(number: int, start: float, took: float | None = 0.01, **changes: Any) -> CapturedExchange:
    begin = DAY + round(start * SECOND)
    end = begin + round((took or 0) * SECOND)
    values: dict[str, Any] = {
        "capture": "a.pcap", "connection": number, "exchange": 0, "method": "GET", "target": "/a", "status": 502,
        "start": begin, "end": end, "has_end": took is not None, "frame": 10 * number, "client": f"10.0.0.1:{5000 + number}",
        "server": "10.0.0.2:80",
    }  # fmt: skip
    return CapturedExchange(**{**values, **changes})


def line(number: int, at: float, **changes: Any) -> LogLine:
    """A line of nginx: the second in which a request ended."""
    values: dict[str, Any] = {
        "number": number, "format": "combined", "method": "GET", "target": "/a", "status": 502,
        "time": DAY + math.floor(at) * SECOND, "unit": SECOND, "moment": "end", "duration": None, "client": "",
    }  # fmt: skip
    return LogLine(**{**values, **changes})


def connections(found: Matches) -> list[int | None]:
    return [None if one.exchange is None else one.exchange.connection for one in found.matches]


def test_a_line_finds_its_exchange_when_secrets_are_shown() -> None:
    secret = "/a?token=0123"
    with redact.showing_secrets(True):
        found = match_lines([line(1, 10, target=secret)], ExchangeIndex([seen(1, 10, target=secret)]), SECOND)
        assert "token=0123" in line_text(found.matches[0].line)
    assert connections(found) == [1]
    assert "0123" not in line_text(found.matches[0].line)


def test_each_line_gets_its_own_exchange() -> None:
    """Three equal requests, of which two end within one second."""
    exchanges = [seen(0, 10.2), seen(1, 10.7), seen(2, 15.5)]
    found = match_lines([line(1, 10), line(2, 10), line(3, 15)], ExchangeIndex(exchanges), SECOND)
    assert sorted(connections(found)[:2], key=str) == [0, 1]
    assert connections(found)[2] == 2


def test_only_errors_and_slow_lines_are_explained() -> None:
    lines = [line(1, 10, status=200), line(2, 10), line(3, 10, status=200, duration=SECOND), line(4, 10, status=404)]
    found = match_lines(lines, ExchangeIndex([]), SECOND)
    assert [one.line.number for one in found.matches] == [2, 3]


def test_end_and_start_are_told_apart() -> None:
    """A request from 10.5 to 13.5 beside one from 13.2 to 16.2: the first ended when the second had begun."""
    exchanges = [seen(0, 10.5, 3.0), seen(1, 13.2, 3.0)]
    ends = [line(1, 13, duration=3 * SECOND), line(2, 16, duration=3 * SECOND)]
    assert connections(match_lines(ends, ExchangeIndex(exchanges), SECOND)) == [0, 1]
    starts = [one._replace(moment="start", time=DAY + at * SECOND) for one, at in zip(ends, (10, 13), strict=True)]
    assert connections(match_lines(starts, ExchangeIndex(exchanges), SECOND)) == [0, 1]


def test_a_long_request_is_found_behind_short_ones() -> None:
    """A request that takes a minute, and equal ones that begin and end meanwhile."""
    exchanges = [seen(0, 10.0, 60.2), seen(1, 20.3), seen(2, 40.3)]
    found = match_lines([line(1, 20), line(2, 40), line(3, 70)], ExchangeIndex(exchanges), SECOND)
    assert connections(found) == [1, 2, 0]


def test_the_meaning_of_times_is_found_where_the_format_does_not_say_it() -> None:
    exchanges = [seen(i, 10.0 * i + i % 3, 2.0 + 0.7 * i) for i in range(6)]
    for moment in ("start", "end"):
        lines = [line(i, (one.at(moment) - DAY) / SECOND, moment="") for i, one in enumerate(exchanges)]
        found = match_lines(lines, ExchangeIndex(exchanges), SECOND)
        assert found.moment == moment
        assert connections(found) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("offset", [0, 3600, -37, 19_800, 2])
def test_the_offset_of_the_clock_is_found(offset: int) -> None:
    exchanges = [seen(i, 10.3 + 7.1 * i) for i in range(9)]
    lines = [line(i, (one.end - DAY) / SECOND + offset) for i, one in enumerate(exchanges)]
    found = match_lines(lines, ExchangeIndex(exchanges), SECOND)
    assert found.offset is not None
    assert found.offset.middle == pytest.approx(offset * SECOND, abs=SECOND // 2)
    assert found.offset.lines == 9
    assert connections(found) == [*range(9)]


def test_of_offsets_that_fit_equally_well_the_smallest_is_taken() -> None:
    """A health check every 10 s, in a log that goes on before and after the capture."""
    exchanges = [seen(i, 10.0 * i + 0.5) for i in range(5)]
    lines = [line(i, 10.0 * i - 300) for i in range(70)]
    found = match_lines(lines, ExchangeIndex(exchanges), SECOND)
    assert found.offset is not None
    assert found.offset.middle == 0
    assert [one.line.number for one in found.matches if one.exchange] == [30, 31, 32, 33, 34]
    assert [one.line.number for one in found.matches if not one.outside] == [30, 31, 32, 33, 34]


def test_one_line_far_away_is_no_evidence_of_another_clock() -> None:
    found = match_lines([line(1, 5000)], ExchangeIndex([seen(0, 10.0)]), SECOND)
    assert found.offset is None
    assert [(one.exchange, one.outside) for one in found.matches] == [(None, True)]


@pytest.mark.parametrize("hours", [1, -5, 5.5, 14])
def test_one_line_is_evidence_of_another_time_zone(hours: float) -> None:
    """Its time is read as local although it is not."""
    exchanges = [seen(0, 10.3), seen(1, 20.0, target="/b")]
    found = match_lines([line(1, 10 + 3600 * hours)], ExchangeIndex(exchanges), SECOND)
    assert connections(found) == [0]
    assert found.offset is not None
    assert round(found.offset.middle / SECOND) == pytest.approx(3600 * hours, abs=1)


@pytest.mark.parametrize(
    ("after", "starts"),
    [
        (3600, (10.3, 11.9)),  # the request repeats: either exchange would fit an hour
        (3700, (10.3,)),  # no time zone
        (15 * 3600, (10.3,)),  # no time zone either
    ],
)
def test_a_line_of_another_time_is_not_taken_for_one_of_another_zone(after: int, starts: tuple[float, ...]) -> None:
    exchanges = [seen(number, start) for number, start in enumerate(starts)]
    found = match_lines([line(1, 10 + after)], ExchangeIndex(exchanges), SECOND)
    assert connections(found) == [None]
    assert found.offset is None


def test_status_and_request_must_agree() -> None:
    exchanges = [seen(0, 10.0, status=200), seen(1, 10.0, method="POST"), seen(2, 10.0, target="/b")]
    assert connections(match_lines([line(1, 10)], ExchangeIndex(exchanges), SECOND)) == [None]


def test_a_response_that_was_not_captured_may_have_had_the_status() -> None:
    exchanges = [seen(0, 10.0, status=None, took=None)]
    assert connections(match_lines([line(1, 10)], ExchangeIndex(exchanges), SECOND)) == [0]
    exchanges.append(seen(1, 9.9))
    assert connections(match_lines([line(1, 10)], ExchangeIndex(exchanges), SECOND)) == [1]


def test_the_query_is_compared_redacted_and_may_be_missing_in_the_log() -> None:
    exchanges = [seen(0, 10.0, target="/a?token=(masked)")]
    for target in ("/a?token=secret", "/a", "http://host/a?token=secret"):
        assert connections(match_lines([line(1, 10, target=target)], ExchangeIndex(exchanges), SECOND)) == [0]
    assert connections(match_lines([line(1, 10, target="/a?other=1")], ExchangeIndex(exchanges), SECOND)) == [None]


def test_a_proxy_logs_its_front() -> None:
    """The request goes on to a server behind: the front begins before it and ends after it."""
    exchanges = [seen(1, 10.001, 1.200), seen(0, 10.0, 1.202)]
    found = match_lines([line(1, 11, duration=1202 * MS)], ExchangeIndex(exchanges), SECOND)
    assert connections(found) == [0]


def test_the_port_of_the_client_decides() -> None:
    exchanges = [seen(0, 10.0), seen(1, 10.0)]
    found = match_lines([line(1, 10, client="10.0.0.1:5001")], ExchangeIndex(exchanges), SECOND)
    assert connections(found) == [1]


@given(
    st.lists(st.floats(0, 5000), min_size=4, max_size=40, unique=True),
    st.integers(-50_000, 50_000),
    st.data(),
)
def test_the_most_frequent_difference_is_found_among_others(times: list[float], offset: int, data: st.DataObject) -> None:
    """All lines match at one offset; random pairs beside them."""
    ends = [round(time * SECOND) for time in times]
    written = [end // SECOND * SECOND + offset * SECOND for end in ends]
    pairs = [(number, line - end) for number, line in enumerate(written) for end in ends]
    order = data.draw(st.permutations(pairs))
    found = find_offset([number for number, _ in order], [difference for _, difference in order], SECOND)
    assert found is not None
    assert found.lines == len(times)


def test_a_line_of_a_load_balancer_is_about_the_start_of_a_response() -> None:
    """The second of two equal requests is answered at 11 s, and its long body ends when the line of another one is written."""
    exchanges = [seen(n, start, 20, answered=DAY + answered * SECOND) for n, start, answered in ((0, 3, 4), (1, 9, 11))]
    made = line(1, 11, moment="response", time=DAY + 11 * SECOND, unit=1000, client="10.0.0.1:5001", duration=2 * SECOND)
    found = match_lines([made], ExchangeIndex(exchanges), SECOND)
    assert (connections(found), found.matches[0].line) == ([1], made)


def test_a_load_balancer_may_answer_with_another_status_than_its_target() -> None:
    """The capture was made at the target, which sent 200."""
    exchanges = [seen(0, 10, status=200)]
    for status, connection in ((200, 0), (0, None)):
        found = match_lines([line(1, 10, target_status=status)], ExchangeIndex(exchanges), SECOND)
        assert connections(found) == [connection]


@given(st.lists(st.tuples(st.floats(0, 20), st.sampled_from("abc")), min_size=4, max_size=40, unique_by=lambda one: one[0]))
def test_repeated_requests_do_not_move_the_clock(requests: list[tuple[float, str]]) -> None:
    """One clock, lines cut off to seconds, three requests that repeat: an offset of 0 is never ruled out."""
    ends = [(round(time * SECOND), target) for time, target in requests]
    pairs = [
        (number, end // SECOND * SECOND - other)
        for number, (end, target) in enumerate(ends)
        for other, same in ends
        if same == target
    ]
    found = find_offset([number for number, _ in pairs], [difference for _, difference in pairs], SECOND)
    assert found is not None
    assert found.lines == len(requests)
    assert found.middle == 0


def test_requests_that_occur_once_bound_the_offset() -> None:
    """A log 10 s ahead: ends at .2 and .9 of a second leave 9.8 s to 10.1 s; the third request occurs three times."""
    ends = [(round(time * SECOND), target) for time, target in ((1.2, "a"), (1.9, "b"), (3.5, "c"), (4.2, "c"), (4.9, "c"))]
    pairs = [
        (number, end // SECOND * SECOND + 10 * SECOND - other)
        for number, (end, target) in enumerate(ends)
        for other, same in ends
        if same == target
    ]
    found = find_offset([number for number, _ in pairs], [difference for _, difference in pairs], SECOND)
    assert found is not None
    assert (found.least, found.most, found.lines) == (9_800 * MS, 10_100 * MS, 5)

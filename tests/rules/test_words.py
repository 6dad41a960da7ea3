"""Durations: notes, messages and bars say the same of the same time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiredoctor.report.words import duration as of_seconds
from wiredoctor.text.durations import duration_text

MAX_NUMBER = 10**17
"""Three years."""

times = st.one_of(
    st.integers(-MAX_NUMBER, MAX_NUMBER),
    st.builds(lambda digits, zeros: digits * 10**zeros, st.integers(-99_999, 99_999), st.integers(0, 10)),
)


@given(times)
def test_it_is_near_the_truth_and_three_digits_long(nanoseconds: int) -> None:
    units = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
    sign, words = (-1 if nanoseconds < 0 else 1), duration_text(nanoseconds).removeprefix("-").split()
    said = sum(float(number) * units[unit] for number, unit in zip(words[::2], words[1::2], strict=True))
    assert sign * said == pytest.approx(nanoseconds, rel=0.05 if len(words) > 2 or words[1] in ("min", "h", "d") else 0.005)
    if len(words) == 2:
        assert len(words[0].replace(".", "").lstrip("0")) <= 3


@given(st.integers(0, 10**14))
def test_reports_agree_with_rules(nanoseconds: int) -> None:
    assert of_seconds(nanoseconds / 1e9) == duration_text(nanoseconds)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ms"),
        (465_432, "465 us"),
        (464_500, "465 us"),
        (999_499, "999 us"),
        (999_500, "1 ms"),
        (47_971_000, "48 ms"),
        (42_249_999, "42.2 ms"),
        (42_250_000, "42.3 ms"),
        (1_005_000_000, "1.01 s"),
        (119_499_999_999, "119 s"),
        (119_500_000_000, "2 min"),
        (3_660 * 10**9, "1 h 1 min"),
        (3_659 * 10**9, "1 h"),
        (-200_400_000_000, "-3 min 20 s"),
    ],
)
def test_what_is_written(nanoseconds: int, text: str) -> None:
    assert duration_text(nanoseconds) == text

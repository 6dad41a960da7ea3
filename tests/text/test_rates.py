"""Test rates in sentences."""

from __future__ import annotations

import pytest

from wiredoctor.text.durations import SECOND
from wiredoctor.text.rates import rate_text


@pytest.mark.parametrize(
    ("size", "time", "text"),
    [
        (1, 3 * SECOND, "0.33 B/s"),
        (65, SECOND, "65 B/s"),
        (1_960, SECOND, "2.0 kB/s"),
        (64_000, SECOND, "64 kB/s"),
        (64_000, SECOND * 8 // 100, "0.8 MB/s"),
        (12_345_678, SECOND, "12 MB/s"),
    ],
)
def test_two_digits(size: int, time: int, text: str) -> None:
    assert rate_text(size, time) == text

"""Numbers and foreign text for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiredoctor.report.words import clean, count, duration, scale, shorten, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (1e-9, "1 ns"),
        (999.6e-9, "1 us"),
        (85e-6, "85 us"),
        (0.00123456, "1.23 ms"),
        (0.0441, "44.1 ms"),
        (0.2, "200 ms"),
        (0.99996, "1 s"),
        (7.92, "7.92 s"),
        (119.4, "119 s"),
        (119.94, "2 min"),
        (120, "2 min"),
        (200.4, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (90061, "1 d 1 h"),
        (-0.2, "-200 ms"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(min_value=1e-9, max_value=119))
def test_duration_is_near_the_truth(seconds: float) -> None:
    number, unit = duration(seconds).split()
    assert float(number) * {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1}[unit] == pytest.approx(seconds, rel=0.006, abs=0.5e-9)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (1460, "1.46 kB"), (999_999, "1 MB"), (34 * 10**6, "34 MB")]
)
def test_size(number: int, text: str) -> None:
    assert size(number) == text


def test_count() -> None:
    assert [count(n, "packet") for n in (0, 1, 1234)] == ["0 packets", "1 packet", "1,234 packets"]


@given(st.text(), st.integers(min_value=1, max_value=50))
def test_shorten_keeps_to_the_width_and_both_ends(text: str, width: int) -> None:
    short = shorten(text, width)
    assert len(short) == min(len(text), width)
    assert short[:1] == text[:1]
    if len(text) > width > 5:
        assert "..." in short
        assert short[-1] == text[-1]


@given(st.text(), st.sampled_from(["\x1b[2J", "\n", "\x9b31m", "\u202e", "\udc80", "\x7f", "\u2028"]))
def test_clean_leaves_nothing_that_a_terminal_obeys(text: str, danger: str) -> None:
    safe = clean(text + danger + text)
    assert safe.isprintable()
    safe.encode()


def test_clean_shows_what_was_there() -> None:
    assert clean("a\x1bb\u202ec é") == r"a\x1bb\u202ec é"


@given(st.floats(0, 1e9), st.floats(1e-9, 1e9), st.integers(1, 100))
def test_scale_stays_in_its_width(length: float, longest: float, width: int) -> None:
    drawn = scale(length, longest, width)
    assert 0 <= drawn <= width
    assert abs(drawn - min(1, length / longest) * width) <= 0.5

"""The time of day for people, and the times that logs write."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiredoctor.text.time_of_day import (
    DAY,
    SECOND,
    Clock,
    local,
    nanoseconds,
    nearest_on_day,
    parse_log_time,
    time_text,
    use_utc,
    zone_name,
    zone_suffix,
    zone_text,
)

pytestmark = pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone of a process cannot be changed here")

WINTER = int(datetime(2026, 1, 31, 9, 42, 16, tzinfo=UTC).timestamp()) * SECOND + 123_999_999
SUMMER = int(datetime(2026, 7, 31, 9, 42, 16, tzinfo=UTC).timestamp()) * SECOND


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield
    monkeypatch.undo()
    time.tzset()
    use_utc(False)


def zone(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("TZ", name)
    time.tzset()


@pytest.mark.parametrize(
    ("name", "text", "zoned", "suffix"),
    [
        ("Europe/Berlin", "10:42:16.123", "CET (UTC+01:00)", "+01:00"),
        ("America/Sao_Paulo", "06:42:16.123", "UTC-03:00", "-03:00"),
        ("Asia/Kolkata", "15:12:16.123", "IST (UTC+05:30)", "+05:30"),
        ("UTC", "09:42:16.123", "UTC", "Z"),
        ("Europe/London", "09:42:16.123", "GMT (UTC+00:00)", "Z"),
        ("Nowhere/City", "09:42:16.123", "UTC", "Z"),  # as the system has it, which names this zone Nowhere
    ],
)
def test_times_are_in_the_local_zone(monkeypatch: pytest.MonkeyPatch, name: str, text: str, zoned: str, suffix: str) -> None:
    zone(monkeypatch, name)
    assert (time_text(WINTER), zone_text(WINTER), zone_suffix(WINTER)) == (text, zoned, suffix)
    use_utc(True)
    assert (time_text(WINTER), zone_text(WINTER), zone_suffix(WINTER)) == ("09:42:16.123", "UTC", "Z")


def test_summer_time_is_that_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    zone(monkeypatch, "Europe/Berlin")
    assert (time_text(SUMMER, date=True), zone_name(SUMMER)) == ("2026-07-31 11:42:16.000", "CEST")


def test_a_clock_shows_dates_where_a_capture_spans_days_in_the_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    spans = [("2026-01-31T22:30:00.000000000Z", "2026-01-31T23:30:00.5Z"), (None, None)]
    assert not Clock.of(spans).dates
    zone(monkeypatch, "Europe/Berlin")
    clock = Clock.of(spans)
    assert (clock.dates, clock.width, clock.at(3600 * SECOND)) == (True, 23, "2026-02-01 00:30:00.000")
    assert len(clock.at(0)) == clock.width
    assert (Clock(None).width, Clock(None).at(5), clock.at(None)) == (0, "", "")


BERLIN = 9 * 3600 + 42 * 60 + 16


@pytest.mark.parametrize(
    ("text", "fraction", "unit", "zone_hours"),
    [
        ("31/Jan/2026:10:42:16 +0100", 0, SECOND, 1),  # nginx, Apache
        ("[31/Jan/2026:10:42:16 +0100]", 0, SECOND, 1),
        ("31/Jan/2026:10:42:16.123", 123, SECOND // 1000, None),  # haproxy
        ("2026/01/31 10:42:16", 0, SECOND, None),  # the error log of nginx
        ("Sat Jan 31 10:42:16.123456 2026", 123.456, 1000, None),  # that of Apache
        ("2026-01-31T09:42:16.123Z", 123, SECOND // 1000, 0),  # Envoy
        ("2026-01-31T09:42:16.123456Z", 123.456, 1000, 0),  # AWS ALB
        ("2026-01-31 10:42:16,123", 123, SECOND // 1000, None),  # Python's logging
        ("2026-01-31T10:42:16+01:00", 0, SECOND, 1),
        ("2026-01-31 10:42:16 +0100", 0, SECOND, 1),
        ("Sat, 31 Jan 2026 09:42:16 GMT", 0, SECOND, 0),  # RFC 9110
        ("2026-01-31 10:42:16", 0, SECOND, None),
    ],
)
def test_times_of_logs(monkeypatch: pytest.MonkeyPatch, text: str, fraction: float, unit: int, zone_hours: int | None) -> None:
    """All say 10:42:16 in Berlin, which those without a zone are in."""
    zone(monkeypatch, "Europe/Berlin")
    expected = nanoseconds("2026-01-31T09:42:16Z")
    assert expected is not None
    offset = None if zone_hours is None else zone_hours * 3600 * SECOND
    assert parse_log_time(text) == (expected + round(fraction * 1_000_000), unit, True, offset)


def test_a_time_without_a_zone_follows_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    zone(monkeypatch, "Europe/Berlin")
    use_utc(True)
    assert parse_log_time("2026-01-31 09:42:16").nanoseconds == nanoseconds("2026-01-31T09:42:16Z")


@pytest.mark.parametrize(
    ("text", "seconds", "unit"),
    [("09:42:16", BERLIN, SECOND), ("9:42:16", BERLIN, SECOND), ("09:42", BERLIN - 16, 60 * SECOND)],
)
def test_a_time_of_day_alone(text: str, seconds: int, unit: int) -> None:
    assert parse_log_time(text) == (seconds * SECOND, unit, False, None)


@pytest.mark.parametrize(
    ("text", "hours"),
    [("10:42:16 +0100", 1), ("10:42:16+01:00", 1), ("09:42:16Z", 0), ("9:42:16 UTC", 0), ("06:12:16 -0330", -3.5)],
)
def test_a_time_of_day_may_name_its_zone(monkeypatch: pytest.MonkeyPatch, text: str, hours: float) -> None:
    """All say 09:42:16 UTC, whatever the zone of the report is."""
    zone(monkeypatch, "Asia/Tokyo")
    time = parse_log_time(text)
    assert time.offset == hours * 3600 * SECOND
    near = nanoseconds("2026-01-31T02:00:00Z")
    assert near is not None
    assert nearest_on_day(time.nanoseconds, near, time.offset) == nanoseconds("2026-01-31T09:42:16Z")


@given(st.integers(0, DAY - 1), st.integers(0, 2**61), st.integers(-24, 28))
def test_the_nearest_time_of_day_in_a_zone(of_day: int, moment: int, half_hours: int) -> None:
    ahead = half_hours * 1800 * SECOND
    at = nearest_on_day(of_day, moment, ahead)
    assert (at + ahead) % DAY == of_day
    assert abs(at - moment) <= DAY // 2


@pytest.mark.parametrize("text", ["", "yesterday", "25:00", "10:61:00", "31/Foo/2026:10:42:16", "2026-13-01", "10:42:16x"])
def test_no_time(text: str) -> None:
    with pytest.raises(ValueError):
        parse_log_time(text)


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse_log_time(text)


@given(
    st.datetimes(min_value=datetime(1980, 1, 1), max_value=datetime(2100, 1, 1)),
    st.integers(-14 * 60, 14 * 60),
)
def test_what_nginx_writes_is_read(moment: datetime, minutes: int) -> None:
    aware = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    assert parse_log_time(aware.strftime("%d/%b/%Y:%H:%M:%S %z")).nanoseconds == round(aware.timestamp()) * SECOND


@given(st.integers(0, 4 * 10**18), st.integers(0, 86_400 * SECOND - 1))
def test_the_nearest_time_of_day_is_within_half_a_day(moment: int, of_day: int) -> None:
    use_utc(True)
    found = nearest_on_day(of_day, moment)
    assert abs(found - moment) <= 43_200 * SECOND
    assert found % (86_400 * SECOND) == of_day


@pytest.mark.parametrize("moment", [-(1 << 62), -(10**20), 253_402_300_799 * 10**9, 1 << 62, 10**20])
def test_times_that_no_calendar_of_python_has_are_cut(moment: int) -> None:
    assert 1 <= local(moment).year <= 9999
    assert time_text(moment, date=True)


def test_moments_for_programs_have_microseconds_and_stay_in_the_years_that_can_be_written() -> None:
    assert Clock(WINTER).rfc3339(1_001) == "2026-01-31T09:42:16.124001Z"
    assert Clock(WINTER).rfc3339(1_000_000.0) == "2026-01-31T09:42:16.124999Z"
    assert Clock(None).rfc3339(5.0) == ""
    year_10000, year_0 = 253_402_300_800 * SECOND, -62_135_596_801 * SECOND
    assert Clock(year_10000).rfc3339(SECOND) == "9999-12-31T23:59:59.999999Z"
    assert Clock(year_0).rfc3339(0) == "0001-01-01T00:00:00.000000Z"

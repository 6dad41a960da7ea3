"""Convert capture times to the time of day, in the local time zone (TZ) or in UTC, and parse the times in logs.

Capture times are nanoseconds since 1970. The time of day is truncated to milliseconds, not rounded, like the times in logs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from wiredoctor.text.durations import SECOND
from wiredoctor.text.regex import Regex

HOUR = 3600 * SECOND
DAY = 24 * HOUR

_UTC: ContextVar[bool] = ContextVar("times are in UTC", default=False)

_SECOND = timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WITHOUT_OFFSET = frozenset(("UTC", "GMT", "WET"))
"""The names of zones that equal UTC. The system treats an unknown TZ as UTC too, but names it differently: Nowhere/City becomes
"Nowhere".
"""
_FIRST, _LAST = ((one.replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=1) for one in (datetime.min, datetime.max))
"""The first and the last second that Python's datetime supports; 64-bit times in pcapng may be later."""


def use_utc(utc: bool) -> None:
    """Choose the time zone for all texts in this thread: UTC, or the local zone."""
    _UTC.set(utc)


def is_utc() -> bool:
    """Return whether `use_utc` chose UTC for the texts in this thread."""
    return _UTC.get()


def nanoseconds(time: str | None) -> int | None:
    """Convert a UTC time in RFC 3339, with any number of decimals, to nanoseconds since 1970. None stays None."""
    if time is None:
        return None
    whole, _, fraction = time.removesuffix("Z").partition(".")
    since = datetime.fromisoformat(whole) - datetime(1970, 1, 1)
    return (since.days * 86400 + since.seconds) * SECOND + int(fraction.ljust(9, "0")[:9] or 0)


def rfc3339(nanoseconds: int) -> str:
    """Return a time (ns since 1970) in RFC 3339 format, in UTC with nine decimals. A time outside of the years 1 to 9999 becomes
    the nearest time within them.
    """
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    try:
        moment = datetime(1970, 1, 1) + timedelta(seconds=seconds)
    except OverflowError:
        moment, rest = (datetime.max, 999_999_999) if seconds > 0 else (datetime.min, 0)
    return f"{moment.isoformat(timespec='seconds')}.{rest:09d}Z"


def local(moment: int) -> datetime:
    """Return a time (ns since 1970) in the report's time zone, truncated to seconds; in UTC if the system cannot convert it."""
    # not fromtimestamp: Windows refuses times before 1970
    seconds = min(max(moment // SECOND, _FIRST), _LAST)
    exact = _EPOCH + timedelta(seconds=seconds)
    if _UTC.get():
        return exact
    try:
        return exact.astimezone()
    except (OverflowError, OSError, ValueError):
        return exact


def time_text(moment: int, *, date: bool = False) -> str:
    """Format a time (ns since 1970) as "10:42:16.123" or, with `date`, as "2026-01-31 10:42:16.123"."""
    at = local(moment)
    day = f"{at.year:04}-{at.month:02}-{at.day:02} " if date else ""
    return f"{day}{at.hour:02}:{at.minute:02}:{at.second:02}.{moment // 1_000_000 % 1000:03}"


def zone_name(moment: int) -> str:
    """Return the name of the report's time zone at a time (ns since 1970): "CET", "UTC", or "UTC-03:00" if it has no name."""
    at = local(moment)
    name = at.tzname() or ""
    if name.isalpha() and not at.utcoffset() and name not in _WITHOUT_OFFSET:
        return "UTC"
    return name if name.isascii() and name.isalpha() else f"UTC{_offset(at)}" if at.utcoffset() else "UTC"


def zone_text(moment: int) -> str:
    """Return the report's time zone with its offset at a time (ns since 1970), such as "CET (UTC+01:00)"; for UTC, only "UTC"."""
    name, offset = zone_name(moment), f"UTC{_offset(local(moment))}"
    return name if name in ("UTC", offset) else f"{name} ({offset})"


def zone_suffix(moment: int) -> str:
    """Return the time zone suffix of ISO 8601 for a time (ns since 1970): "Z", or an offset such as "+01:00"."""
    at = local(moment)
    return _offset(at) if at.utcoffset() else "Z"


def offset(moment: int) -> int:
    """Return how far the report's time zone is ahead of UTC at a time (ns since 1970), in ns."""
    return (local(moment).utcoffset() or timedelta()) // _SECOND * SECOND


def offset_text(ahead: int) -> str:
    """Return a UTC offset (ns ahead of UTC) in the format of logs, such as "+0100"."""
    minutes = abs(ahead) // (60 * SECOND)
    return f"{'-' if ahead < 0 else '+'}{minutes // 60:02}{minutes % 60:02}"


def _offset(at: datetime) -> str:
    minutes = int((at.utcoffset() or timedelta()).total_seconds()) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


class Clock(NamedTuple):
    """Converts the times of a capture to the time of day.

    `first`: the time of the first packet (ns since 1970); None if the capture has no timestamps. `dates`: show dates, too.
    """

    first: int | None
    dates: bool = False

    @classmethod
    def of(cls, spans: Iterable[tuple[str | None, str | None]]) -> Clock:
        """Return a clock for some captures. Its `first` is the earliest time of all captures.

        `spans`: the first and the last time of each capture, in RFC 3339.
        """
        moments = [moment for span in spans for time in span if (moment := nanoseconds(time)) is not None]
        if not moments:
            return cls(None)
        return cls(min(moments), local(min(moments)).date() != local(max(moments)).date())

    @property
    def width(self) -> int:
        """The width of a column of times, in characters; 0 if there are no timestamps."""
        return 0 if self.first is None else 23 if self.dates else 12

    def at(self, elapsed: float | None) -> str:
        """Return the time of day of a packet, `elapsed` ns after the first packet; empty if the time is unknown."""
        return "" if self.first is None or elapsed is None else time_text(self.first + round(elapsed), date=self.dates)

    def rfc3339(self, elapsed: float) -> str:
        """Return the time of a packet in RFC 3339 (UTC, six decimals); empty if the time is unknown.

        `elapsed`: the time since the first packet, in ns.
        """
        return "" if self.first is None else f"{rfc3339(self.first + round(elapsed))[:-4]}Z"

    def heading(self) -> str:
        """Return the sentence at the top of a report: "Times are CET (UTC+01:00); ..."; empty if there are no timestamps."""
        if self.first is None:
            return ""
        return f"Times are {zone_text(self.first)}; the first packet is from {time_text(self.first, date=True)}."


class LogTime(NamedTuple):
    """A time from a log: nanoseconds since 1970, or since midnight if it has no date.

    `unit`: the precision of the time in ns. `offset`: how far its time zone is ahead of UTC (ns); None if the log names no zone.
    """

    nanoseconds: int
    unit: int
    has_date: bool = True
    offset: int | None = None


_FRACTION = Regex(r"(?<=:\d\d)[.,](\d{1,9})(?!\d)", re.ASCII)
_FORMATS = (
    "%d/%b/%Y:%H:%M:%S %z",  # nginx $time_local, Apache %t
    "%d/%b/%Y:%H:%M:%S",  # haproxy
    "%Y/%m/%d %H:%M:%S",  # error logs of nginx, Go's log
    "%a %b %d %H:%M:%S %Y",  # error logs of Apache, ctime
    "%a %b %d %H:%M:%S %Z %Y",  # date(1)
    "%a, %d %b %Y %H:%M:%S %Z",  # RFC 9110 section 5.6.7
    "%a, %d %b %Y %H:%M:%S %z",
    "%d %b %Y %H:%M:%S",
)
"""Formats other than ISO 8601, without fractional seconds."""

_OF_DAY = Regex(r"(\d\d?):(\d\d)(?::(\d\d))?(?:\s*(Z|UTC|GMT|[+-]\d\d:?\d\d))?", re.ASCII | re.IGNORECASE)
_GREENWICH = Regex(r" (?:GMT|UTC)\b")
_BLANK_BEFORE_ZONE = Regex(r"(?<=\d)\s+(?=(?:Z|[+-]\d\d:?\d\d)$)", re.IGNORECASE)


def parse_log_time(text: str) -> LogTime:
    """Parse the time in a line of a log.

    The known formats are those of nginx, Apache, haproxy, Envoy, AWS ALB, Python's logging and ISO 8601, and a time of day
    without a date. A time without a zone is in the zone of the report. Raise ValueError for any other text.
    """
    text = text.strip().strip("[]").strip()
    fraction = _FRACTION.search(text)
    unit = 10 ** (9 - len(fraction[1])) if fraction else SECOND
    rest = int(fraction[1].ljust(9, "0")) if fraction else 0
    whole = _FRACTION.sub("", text, count=1)
    if day := _OF_DAY.fullmatch(whole):
        hours, minutes, seconds = int(day[1]), int(day[2]), int(day[3] or 0)
        if hours > 23 or minutes > 59 or seconds > 60:
            raise ValueError(text)
        unit = unit if day[3] else 60 * SECOND
        offset = None if day[4] is None else _offset_of(day[4])
        return LogTime((hours * 3600 + minutes * 60 + seconds) * SECOND + rest, unit, has_date=False, offset=offset)
    moment = _parsed(whole)
    ahead = moment.utcoffset()
    return LogTime(_since_epoch(moment) + rest, unit, offset=None if ahead is None else ahead // _SECOND * SECOND)


def _offset_of(zone: str) -> int:
    """Return how far a zone such as "+0100" or "Z" is ahead of UTC, in ns."""
    if zone[0] not in "+-":
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[-2:])
    return (-minutes if zone[0] == "-" else minutes) * 60 * SECOND


def _parsed(text: str) -> datetime:
    with suppress(ValueError):
        return datetime.fromisoformat(_BLANK_BEFORE_ZONE.sub("", text))
    is_utc = _GREENWICH.search(text) is not None
    for form in _FORMATS:
        try:
            moment = datetime.strptime(text, form)
        except ValueError:
            continue
        if is_utc:
            return moment.replace(tzinfo=UTC)
        # strptime only knows the names of the local zone
        return moment.astimezone() if "%Z" in form else moment
    raise ValueError(text)


def _since_epoch(moment: datetime) -> int:
    """Return a time, truncated to seconds, as nanoseconds since 1970. Raise ValueError if it cannot be converted.

    A time without a zone is in the report's time zone.
    """
    try:
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC) if _UTC.get() else moment.astimezone(UTC)
        since = moment - _EPOCH
    except (OverflowError, OSError) as error:
        raise ValueError(str(moment)) from error
    return (since.days * 86400 + since.seconds) * SECOND


def nearest_on_day(of_day: int, moment: int, offset: int | None = None) -> int:
    """Return the time (ns since 1970) nearest to `moment` that has this time of day (ns since midnight).

    `offset`: how far the zone of the time of day is ahead of UTC (ns); None for the zone of the report.
    """
    if offset is not None:
        midnight_utc = (moment + offset) // DAY * DAY - offset
        return min((midnight_utc + of_day + days * DAY for days in (-1, 0, 1)), key=lambda at: abs(at - moment))
    midnight = local(moment).replace(hour=0, minute=0, second=0, tzinfo=None)
    found: list[int] = []
    for days in (-1, 0, 1):
        try:
            at = midnight + timedelta(days=days, seconds=of_day // SECOND)
        except OverflowError:
            continue
        found.append(_since_epoch(at) + of_day % SECOND)
    return min(found, key=lambda at: abs(at - moment))

"""Format times of day in reports: when a capture began, and when a finding began."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wiredoctor.text.time_of_day import DAY, SECOND, Clock, local, nanoseconds, time_text, zone_name, zone_suffix

if TYPE_CHECKING:
    from wiredoctor.findings import Finding, Report

WITHOUT_YEAR = 18
"""The length of a date and time without the year, such as "01-31 10:42:16.123"."""

WIDE = 120
"""The minimum width of a terminal on which lines of evidence and of a ladder show the time of day beside the seconds."""


def clocks(report: Report) -> dict[str, Clock]:
    """Return the clock of each capture, by name of the capture. If captures are from different days, all clocks show dates."""
    dates = overall(report).dates
    return {c.file: Clock(nanoseconds(c.first_time), dates) for c in report.captures}


def overall(report: Report) -> Clock:
    """Return a clock for all captures together, which starts at the earliest packet."""
    return Clock.of((c.first_time, c.last_time) for c in report.captures)


def zone_line(report: Report) -> str:
    """Return the sentence about the time zone at the top of a report; "" if no capture has times of day."""
    return overall(report).heading() if report.connection_count else ""


def has_times_of_day(report: Report) -> bool:
    """Return whether packets have times of day. The clock of a synthetic capture may begin at 0 instead."""
    first = overall(report).first
    return first is not None and first >= DAY


def capture_start(finding: Finding) -> int | None:
    """Return when the capture of a finding began, in ns since 1970; None if its packets have no times of day."""
    moment = nanoseconds(finding.time)
    return None if moment is None or moment < DAY else moment - round(finding.elapsed * SECOND)


def began(finding: Finding) -> str:
    """Return when a finding was first seen: "2026-01-31 10:42:16.123 CET"; empty if its packets have no time of day."""
    moment = nanoseconds(finding.first_seen_time)
    return f"{time_text(moment, date=True)} {zone_name(moment)}" if moment and moment >= DAY else ""


def began_now(finding: Finding, *, date: bool = False) -> str:
    """Return when a finding of a live capture began, with the offset of the zone: "10:42:16.123+01:00"."""
    moment = nanoseconds(finding.first_seen_time) or 0
    return time_text(moment, date=date) + zone_suffix(moment)


def other_day(finding: Finding, moment: int) -> bool:
    """Return whether a finding and `moment` (ns since 1970) are on different days in the time zone of the report."""
    return local(nanoseconds(finding.first_seen_time) or 0).date() != local(moment).date()

"""The data type for a line of an access log, and functions that parse its numbers and times."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from wiredoctor.text.regex import Regex
from wiredoctor.text.time_of_day import SECOND, LogTime, parse_log_time

Moment = Literal["start", "response", "end", ""]
"""The event to which the time of a line refers: start or end of the request, or start of the response; "" if unknown."""

LATEST = 1 << 62
"""A limit in ns for times since 1970 and for durations. The sum of two values below it fits in 64 bits."""


class LogLine(NamedTuple):
    """A request in a log. `number`: the line number, from 1. `time`: ns since 1970, precise to `unit` ns.

    `duration`: ns; None if the line does not contain it. `method` and `target` are empty if the request was not readable; the
    target is not redacted. `status` is 0 if there was no response. `target_status`: the status that the server behind a load
    balancer sent; 0 if it is unknown or equals `status`.
    """

    number: int
    format: str
    method: str
    target: str
    status: int
    time: int
    unit: int
    moment: Moment
    duration: int | None
    client: str
    target_status: int = 0


def read_time(text: str) -> LogTime | None:
    """Parse a time with a date. Return None if the text is not such a time, or if it does not fit into 64 bits as nanoseconds."""
    try:
        time = parse_log_time(text)
    except ValueError:
        return None
    return time if time.has_date and abs(time.nanoseconds) < LATEST else None


def read_epoch(number: float) -> LogTime | None:
    """Return the time that is `number` seconds, ms, us or ns after 1970, in the first unit that gives a plausible year.

    Return None if no unit does.
    """
    for per_second in (1, 1_000, 1_000_000, SECOND):
        if 1e8 <= number / per_second < 1e10:
            unit = SECOND // per_second
            whole = int(number)
            return LogTime(whole * unit, unit) if whole == number else LogTime(round(number * unit), max(unit // 1000, 1))
    return None


def read_number(text: str) -> int | None:
    """Parse a status; return None if the text is not a status."""
    return int(text) if text.isascii() and text.isdigit() and len(text) == 3 else None


QUOTED = r'"((?:[^"\\]|\\.)*+)"'
"""A pattern for a quoted part of a line. Its only group is the text between the quotation marks."""

_REQUEST = Regex(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}) (.*?)(?: HTTP/[0-9.]+)?")
_ESCAPE = Regex(r"\\(?:x([0-9A-Fa-f]{2})|(.))")
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v"}


class Request(NamedTuple):
    """The method and target of a request line; both are empty if a text is not a request line."""

    method: str
    target: str


def split_request(text: str) -> Request:
    """Parse a request line, in which special characters may be escaped."""
    found = _REQUEST.fullmatch(_ESCAPE.sub(_unescape, text))
    return Request(found[1], found[2]) if found else Request("", "")


def _unescape(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else _CONTROLS.get(found[2], found[2])

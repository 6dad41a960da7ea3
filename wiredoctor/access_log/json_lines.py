"""Read access logs in JSON lines, with the keys that nginx, Envoy, Caddy, Traefik and structured loggers use."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from wiredoctor.access_log.log_line import LATEST, LogLine, Moment, read_epoch, read_time
from wiredoctor.text.regex import Regex
from wiredoctor.text.time_of_day import SECOND, LogTime

ROLES: Mapping[str, tuple[str, ...]] = {
    "time": (
        *("time", "timestamp", "@timestamp", "ts", "time_local", "time_iso8601", "msec", "start_time", "startutc"),
        *("datetime", "date", "asctime"),
    ),
    "request": ("request", "request_line", "http.request_line"),
    "method": ("method", "request_method", "http.request.method", "request.method", "requestmethod", "http_method", "verb"),
    "target": (
        *("request_uri", "target", "url.original", "request.uri", "requestpath", "x-envoy-original-path", "path", "uri"),
        *("url", "url.path", "http.url", "http_path"),
    ),
    "status": (
        *("status", "status_code", "response_code", "http.response.status_code", "downstreamstatus", "code", "statuscode"),
        *("http_status", "response.status"),
    ),
    "duration": (
        *("request_time", "duration", "event.duration", "latency", "response_time", "elapsed", "took", "time_taken"),
        *("request_duration", "duration_ms", "latency_ms", "response_time_ms", "elapsed_ms", "duration_s", "duration_seconds"),
        *("latency_seconds", "duration_us", "duration_ns", "upstream_duration"),
    ),
    "client": ("remote_addr", "client", "client_ip", "clienthost", "client.address", "request.remote_ip", "remote_ip"),
}
"""For each role, such as time or status, the possible names of its key, the most reliable first.

All names are in lower case. The names of nested keys are joined by dots.
"""

_STARTS = frozenset(("start_time", "startutc"))
_ENDS = frozenset(("time_local", "time_iso8601", "msec"))
_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": SECOND, "seconds": SECOND, "m": 60 * SECOND}
_NANOSECONDS = frozenset(("event.duration",))
_SECONDS = frozenset(("request_time",))
_TEXT = Regex(r"(\d{1,12}(?:\.\d{1,12})?)\s*(ns|us|µs|ms|s|m)?")
_REQUEST = Regex(r"(\S{1,40}) (.*?)(?: HTTP/[0-9.]+)?")
DEEPEST = 3


def read_json(raw: bytes, number: int, keys: Mapping[str, str]) -> LogLine | None:
    """Parse a log line that is a JSON object. Return None if it has no time, or neither a status nor a request.

    `keys`: the configured key for each role, such as "time" or "status". For other roles, the keys in ROLES are tried.
    """
    try:
        found: dict[str, Any] | None = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    values = dict(_flatten(found, "", DEEPEST))
    names = {role: (keys[role].lower(),) if role in keys else some for role, some in ROLES.items()}
    when, time = _time(values, names["time"])
    method, target = _request(values, names)
    status = _status(_first(values, names["status"])[1])
    if time is None or (not method and not status):
        return None
    moment: Moment = "start" if when in _STARTS else "end" if when in _ENDS else ""
    client = _first(values, names["client"])[1]
    return LogLine(number, "json", method, target, status, time.nanoseconds, time.unit, moment,
                   _duration(*_first(values, names["duration"])), client if isinstance(client, str) else "")  # fmt: skip


def _flatten(values: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        key = f"{prefix}{name.lower()}"
        if isinstance(value, dict) and depth:
            yield from _flatten(value, f"{key}.", depth - 1)  # pyright: ignore[reportUnknownArgumentType]
        else:
            yield key, value


def _first(values: dict[str, Any], names: tuple[str, ...]) -> tuple[str, Any]:
    """Return the first of `names` that has a value, and this value; ("", None) if none of them has a value."""
    return next(((name, values[name]) for name in names if values.get(name) is not None), ("", None))


def _time(values: dict[str, Any], names: tuple[str, ...]) -> tuple[str, LogTime | None]:
    for name in names:
        value = values.get(name)
        number = _number(value)
        time = read_epoch(number) if number is not None else read_time(value) if isinstance(value, str) else None
        if time is not None:
            return name, time
    return "", None


def _request(values: dict[str, Any], names: Mapping[str, tuple[str, ...]]) -> tuple[str, str]:
    method, target = (_first(values, names[role])[1] for role in ("method", "target"))
    if isinstance(method, str) and isinstance(target, str) and method:
        return _latin(method), _latin(target)
    line = _first(values, names["request"])[1]
    parts = _REQUEST.fullmatch(line) if isinstance(line, str) else None
    return (_latin(parts[1]), _latin(parts[2])) if parts else ("", "")


def _latin(text: str) -> str:
    """Return a text with one character (Latin-1) for each byte of its UTF-8 encoding, as in the targets of captures."""
    return text.encode("utf-8", "replace").decode("latin-1")


def _status(value: Any) -> int:
    number = _number(value)
    return int(number) if number is not None and 100 <= number <= 999 else 0


def _duration(name: str, value: Any) -> int | None:
    """Return a duration in ns; None if the value is not a duration.

    The unit is taken from the text or from the name of the key. If neither has a unit, a whole number is in milliseconds, any
    other number in seconds.
    """
    text = value.strip() if isinstance(value, str) else ""
    if found := _TEXT.fullmatch(text) if text else None:
        unit, number = _UNITS.get(found[2] or "", 0), float(found[1])
        is_whole = "." not in found[1]
    elif text or (counted := _number(value)) is None:
        return None
    else:
        unit, number, is_whole = 0, counted, isinstance(value, int)
    last = name.rpartition("_")[2]
    if not unit:
        unit = 1 if name in _NANOSECONDS else SECOND if name in _SECONDS else _UNITS.get(last, 0) if "_" in name else 0
    nanoseconds = number * (unit or (1_000_000 if is_whole else SECOND))
    return round(nanoseconds) if 0 <= nanoseconds < LATEST else None


def _number(value: Any) -> float | None:
    """Return a finite number, or the number that a text contains; None for anything else. Whole numbers stay exact."""
    if isinstance(value, str):
        text = value.strip()
        is_number = text.isascii() and len(text) <= 30 and text.replace(".", "", 1).isdigit()
        value = (float(text) if "." in text else int(text)) if is_number else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) < 1e25 and math.isfinite(value) else None

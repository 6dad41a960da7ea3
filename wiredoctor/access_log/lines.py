"""Read the lines of access logs: combined (nginx, Apache), haproxy's httplog, Envoy's default, AWS ALB, and JSON.

The text is not trusted: no line raises an error, and the run time is linear in its length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from wiredoctor.access_log.balancer_lines import read_balancer
from wiredoctor.access_log.json_lines import read_json
from wiredoctor.access_log.log_line import QUOTED, LogLine, Moment, read_number, read_time, split_request
from wiredoctor.text.durations import SECOND
from wiredoctor.text.regex import Regex

LONGEST = 1 << 16
"""The maximum length of a line in characters; longer lines count as unknown."""

_COMBINED = Regex(rf"([^\[]*+)\[([^\]]{{8,40}})\] {QUOTED} (\d{{3}}|-) (\d+|-)(?: |$)")
_QUOTED_PART = Regex(r'"(?:[^"\\]|\\.)*+"?')
_HAPROXY = Regex(
    r"(\S{1,255}):(\d{1,5}) \[([^\]]{8,40})\] \S+ \S+/\S+ (?:[+-]?\d+/){4}([+-]?\d+) (-?\d+) [+-]?\d+ .{0,2000}?"
    r' [-\w]{4} (?:\+?\d+/){4}\+?\d+ \+?\d+/\+?\d+ (?:\{[^{}]*\} )*+"(.*)"'
)
"""A line in haproxy's HTTP log format: client, accept date, frontend, backend, five timers, status, bytes, cookies, flags,
counts, queues.
"""

_SECONDS = Regex(r"(?:[A-Za-z_]{1,30}[=:])?(\d{1,9}\.\d{1,6})")
_MICROSECONDS = Regex(r"\d{1,15}")

FORMATS: Mapping[str, str] = {
    "combined": "nginx or Apache combined",
    "haproxy": "haproxy HTTP log",
    "envoy": "Envoy",
    "alb": "AWS Application Load Balancer",
    "json": "JSON lines",
}
"""The names of log formats in reports for people, by LogLine.format."""


class ReadLog:
    """Reads a log, and counts its lines.

    `total`: the number of lines that are not blank. `unknown`: the number of these lines that are in no known format.
    """

    def __init__(self, keys: Mapping[str, str] | None = None) -> None:
        self._keys = keys or {}
        self.total = 0
        self.unknown = 0
        self.first_unknown: int | None = None

    def read(self, lines: Iterable[bytes]) -> Iterator[LogLine]:
        """Yield the lines that are in a known format."""
        for number, raw in enumerate(lines, 1):
            text = raw[: LONGEST + 2].rstrip(b"\r\n")
            if not text.strip():
                continue
            self.total += 1
            line = parse_line(text, number, self._keys) if len(text) <= LONGEST else None
            if line is None:
                self.unknown += 1
                self.first_unknown = self.first_unknown or number
            else:
                yield line


def parse_line(raw: bytes, number: int = 1, keys: Mapping[str, str] | None = None) -> LogLine | None:
    """Parse one line; return None if it is in no known format. `keys`: see `read_json`."""
    if raw.lstrip()[:1] == b"{":
        return read_json(raw, number, keys or {})
    text = raw.decode("latin-1")
    if line := read_balancer(text, number):  # before combined, because lines of Envoy could also be read as combined
        return line
    if found := _COMBINED.match(text):
        return _combined(number, text[found.end() :], *found.groups())
    if found := _HAPROXY.search(text):
        return _haproxy(number, *found.groups())
    return None


def _combined(number: int, rest: str, lead: str, when: str, request: str, status: str, _size: str) -> LogLine | None:
    time = read_time(when)
    if time is None:
        return None
    tail = _QUOTED_PART.sub(" ", rest).split()
    seconds = [float(found[1]) for part in tail if (found := _SECONDS.fullmatch(part))]
    moment: Moment = ""
    duration: int | None = None
    if seconds:
        # nginx: $request_time, perhaps followed by shorter upstream times; nginx logs when a request ends
        duration, moment = round(max(seconds) * SECOND), "end"
    elif tail and _MICROSECONDS.fullmatch(tail[-1]):
        # Apache: %D; its %t is the time of the request
        duration, moment = int(tail[-1]) * 1000, "start"
    client = lead.split()[-3:-2]  # in some logs, the name of the server precedes the client
    return LogLine(number, "combined", *split_request(request), read_number(status) or 0, time.nanoseconds, time.unit, moment,
                   duration, client[0] if client else "")  # fmt: skip


def _haproxy(number: int, host: str, port: str, when: str, total: str, status: str, request: str) -> LogLine | None:
    time = read_time(when)
    if time is None:
        return None
    took = int(total) if len(total) < 15 else -1
    return LogLine(number, "haproxy", *split_request(request), read_number(status) or 0, time.nanoseconds, time.unit, "start",
                   took * 1_000_000 if took >= 0 else None, f"{host}:{port}")  # fmt: skip

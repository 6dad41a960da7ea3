"""Parse log lines of Envoy and AWS Application Load Balancer, whose formats have more fields than the combined format."""

from __future__ import annotations

from wiredoctor.access_log.log_line import QUOTED, LogLine, Moment, read_number, read_time, split_request
from wiredoctor.text.regex import Regex

_UNREAD = r'"(?:[^"\\]|\\.)*+"'

_ENVOY = Regex(
    rf"\[([^\]]{{8,40}})\] {QUOTED} (\d{{1,3}}|-) [-A-Za-z,]{{1,80}} (?:\S{{1,200}} \S{{1,200}} {_UNREAD} )?"
    rf"(?:\d+|-) (?:\d+|-) (\d{{1,15}}|-) (?:\d+|-) {_UNREAD}"
)
"""A line in Envoy's default format ("Default format string" in its documentation), or in Istio's, which has more fields.

The fields are: start time, request, status, flags, bytes received and sent, duration in ms, and response time of the upstream
server in ms. Istio's format has three more after the flags: details of the response, details of the connection's end, and
why the upstream connection failed.
"""

_ALB = Regex(
    r"(?:https?|h2|grpcs|wss?) (\S{8,40}) \S{1,255} (\S{1,60}) \S{1,60} "
    rf"(-1|\d{{1,6}}\.\d{{1,6}}) (-1|\d{{1,6}}\.\d{{1,6}}) (-1|\d{{1,6}}\.\d{{1,6}}) (\d{{3}}|-) (\d{{3}}|-) \d+ \d+ {QUOTED}"
    rf"(?: {_UNREAD} \S+ \S+ \S+ {_UNREAD} {_UNREAD} {_UNREAD} \S+ (\S{{8,40}}))?"
)
"""A line of an Application Load Balancer, up to request_creation_time ("Access log entries" in its user guide).

The fields are: type, time, name, client, target, three durations in seconds, status of the load balancer and of the target, bytes
received and sent, request, and more.
"""


def read_balancer(text: str, number: int) -> LogLine | None:
    """Parse a log line of Envoy or AWS ALB. Return None for any other line, and for a connection without HTTP."""
    if found := _ENVOY.match(text):
        return _envoy(number, *found.groups())
    if found := _ALB.match(text):
        return _alb(number, *found.groups())
    return None


def _envoy(number: int, when: str, request: str, status: str, took: str) -> LogLine | None:
    time, (method, target) = read_time(when), split_request(request)
    if time is None or method == "-":  # a line of the TCP proxy
        return None
    duration = int(took) * 1_000_000 if took != "-" else None
    moment: Moment = "start"
    return LogLine(number, "envoy", method, target, read_number(status) or 0, time.nanoseconds, time.unit, moment, duration, "")


def _alb(
    number: int, when: str, client: str, received: str, waited: str, sent: str, status: str, behind: str, request: str,
    created: str | None,
) -> LogLine | None:  # fmt: skip
    time, (method, target) = read_time(when), split_request(request)
    if time is None:
        return None
    if method == "-":  # the request was malformed
        method = target = ""
    parts = [float(part) for part in (received, waited, sent)]
    begun = read_time(created) if created else None
    if min(parts) >= 0:
        duration = round(sum(parts) * 1_000_000_000)
    else:  # a part of the time is unknown, for example because the target did not answer
        duration = max(time.nanoseconds - begun.nanoseconds, 0) if begun else None
    moment: Moment = "response"
    return LogLine(number, "alb", method, target, read_number(status) or 0, time.nanoseconds, time.unit, moment, duration, client,
                   read_number(behind) or 0)  # fmt: skip

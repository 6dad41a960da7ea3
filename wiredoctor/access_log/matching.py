"""Match lines of an access log with the exchanges of captures: by method, target, status, time and duration."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from wiredoctor.access_log.clock_offset import Offset, find_offset
from wiredoctor.access_log.log_line import LogLine, Moment
from wiredoctor.text import redact
from wiredoctor.text.time_of_day import SECOND

SKEW = SECOND
"""The maximum difference in ns between the time of a log line and the time of its exchange."""

MAX_LINES = 1_000_000
"""The maximum number of lines from which the clock offset is determined.

This maximum does not limit how many lines are matched with exchanges.
"""

MAX_PAIRS = 200_000
MAX_PAIRS_IN_ALL = 4_000_000
"""The maximum numbers of pairs (line, exchange) that are used to find the clock offset: for each method and target, and in total.
"""

LATE = SECOND // 10
"""The tolerance in ns for lines that are written late: the time of a line may be this much later than its event."""

_MAX_OUTSIDE = SECOND // 10
"""The maximum time in ns from the start of a proxy's exchange with its client to the start of its exchange with the server.

The same maximum applies to the time from the end of the exchange with the server to the end of the exchange with the client.
"""

_CLIENT_CLOSED = (0, 499, 460)
"""The statuses in logs if the client closed before the response: 0 (haproxy, Envoy), 499 (nginx), 460 (AWS ALB)."""

MAX_OUTER = 50
"""The maximum number of earlier exchanges that are searched for the enclosing exchange of a forwarded request.

The enclosing exchange is the proxy's exchange with its client.
"""


class CapturedExchange(NamedTuple):
    """An exchange in a capture. Times are in ns since 1970.

    `status`: None if no response was captured. `frame`: the frame number of its first packet. `has_end`: whether the end of the
    response was captured. `answered`: the time at which the response began; None if that is unknown.
    """

    capture: str
    connection: int
    exchange: int
    method: str
    target: str
    status: int | None
    start: int
    end: int
    has_end: bool
    frame: int
    client: str
    server: str
    answered: int | None = None

    def at(self, moment: Moment) -> int:
        """Return when the exchange started, was answered or ended (ns since 1970), depending on `moment`."""
        if moment == "response" and self.answered is not None:
            return self.answered
        return self.start if moment == "start" else self.end


class Match(NamedTuple):
    """A line of a log, and the exchange that the line describes; None if no exchange matches.

    `outside`: true if the time of the line is before or after all captured exchanges.
    """

    line: LogLine
    exchange: CapturedExchange | None
    outside: bool


class Matches(NamedTuple):
    """The lines about failed or slow requests, in order, each with its exchange.

    `moment`: the event to which the times of lines refer (start or end of the exchange) if the log format does not define it.
    `offset`: the time by which the log's clock is ahead of the capture's clock; None if no line matches an exchange.
    """

    matches: list[Match]
    moment: Moment
    offset: Offset | None


class SameRequest:
    """Exchanges with the same method and target, sorted by start."""

    def __init__(self) -> None:
        self.exchanges: list[CapturedExchange] = []
        self._starts: list[int] = []
        self._longest = 0

    def add(self, one: CapturedExchange) -> None:
        """Add an exchange that starts no earlier than the previous ones."""
        self.exchanges.append(one)
        self._starts.append(one.start)
        self._longest = max(self._longest, one.end - one.start)

    def between(self, first: int, last: int) -> list[CapturedExchange]:
        """Return the exchanges that were active at some time between `first` and `last` (ns)."""
        places = bisect_left(self._starts, first - self._longest), bisect_right(self._starts, last)
        return [one for one in self.exchanges[slice(*places)] if one.end >= first]


NONE = SameRequest()


class ExchangeIndex:
    """Finds exchanges by method and target. Targets are redacted as in reports.

    Because some logs omit queries, a target without a query also finds exchanges whose targets have one.
    """

    def __init__(self, exchanges: Iterable[CapturedExchange]) -> None:
        self._by_request: dict[tuple[str, str], SameRequest] = {}
        self.first: int | None = None
        self.last: int | None = None
        for one in sorted(exchanges, key=lambda one: one.start):
            target = _origin_form(one.target)
            for key in {target, target.partition("?")[0] + "?"}:
                self._by_request.setdefault((one.method, key), SameRequest()).add(one)
            self.first = one.start if self.first is None else self.first
            self.last = one.end if self.last is None else max(self.last, one.end)

    def of_line(self, line: LogLine) -> SameRequest:
        """Return the exchanges with the same method and target as a line.

        If there are none and the line has no query, ignore the queries of the exchanges.
        """
        target = _origin_form(redact.target(line.target)) if line.target else ""
        known = self._by_request.get((line.method, target))
        return known or (NONE if "?" in target else self._by_request.get((line.method, f"{target}?"), NONE))


def _origin_form(target: str) -> str:
    """Return a target without scheme and host. Logs of proxies contain absolute targets."""
    scheme, separator, rest = target.partition("://")
    return target if not separator or not scheme.isalpha() else f"/{rest.partition('/')[2]}"


def match_lines(lines: Iterable[LogLine], index: ExchangeIndex, slow: int) -> Matches:
    """Find the exchanges that belong to lines with a status of 500 or above, or with a duration of at least `slow` ns."""
    chosen: list[LogLine] = []
    compared: list[LogLine] = []
    for line in lines:
        if line.status >= 500 or (line.duration is not None and line.duration >= slow):
            chosen.append(line)
        if len(compared) < MAX_LINES and index.of_line(line).exchanges:
            compared.append(line)
    moment, offset = _find_clock(compared, index)
    return Matches(_assign(chosen, index, moment, offset.middle if offset else 0), moment, offset)


def _find_clock(lines: Sequence[LogLine], index: ExchangeIndex) -> tuple[Moment, Offset | None]:
    """Return the event to which the times in the log refer (start or end of an exchange), and the offset of the log's clock.

    The event applies only to lines whose format does not define one. The offset is None if no line matches an exchange.
    """
    found: list[tuple[Moment, Offset]] = []
    for moment in ("end", "start"):
        numbers, differences, unit = list[int](), list[int](), 0
        left: dict[int, int] = {}
        for line in lines:
            own, some = line.moment or moment, index.of_line(line)
            left[id(some)] = left.get(id(some), MAX_PAIRS) - len(some.exchanges)
            if left[id(some)] < 0 or len(numbers) > MAX_PAIRS_IN_ALL:
                continue
            unit = max(unit, line.unit)
            for one in some.exchanges:
                if _status_difference(line, one) == 0 and (one.has_end or own == "start"):
                    numbers.append(line.number)
                    differences.append(line.time - one.at(own))
        if offset := find_offset(numbers, differences, unit):
            found.append((moment, offset))
    if not found:
        return "end", None
    return min(found, key=lambda one: (-one[1].lines, abs(one[1].middle)))


def _status_difference(line: LogLine, one: CapturedExchange) -> int | None:
    """Return 0 if the statuses are equal, 1 if the line or the exchange has no response, and None if the statuses differ."""
    if one.status is None or line.status in _CLIENT_CLOSED:
        return 1 if one.status is None or line.status == 0 else None
    return 0 if one.status in (line.status, line.target_status) else None


def _assign(lines: Sequence[LogLine], index: ExchangeIndex, moment: Moment, offset: int) -> list[Match]:
    """Assign to each line the exchange that fits it best. No exchange is assigned to two lines."""
    pairs: list[tuple[tuple[int, bool, bool, int], int, CapturedExchange]] = []
    for place, line in enumerate(lines):
        time = line.time - offset
        some = index.of_line(line).between(time - SKEW - LATE, time + line.unit + SKEW)
        for number, one in enumerate(some):
            if cost := _cost(line, one, time, line.moment or moment):
                status, is_other_client, beside = cost
                pairs.append(((status, is_other_client, _is_inner(some, number), beside), place, one))
    pairs.sort(key=lambda pair: pair[0])
    taken: set[tuple[str, int, int]] = set()
    given: dict[int, CapturedExchange] = {}
    for _, place, one in pairs:
        key = (one.capture, one.connection, one.exchange)
        if place not in given and key not in taken:
            given[place] = one
            taken.add(key)
    return [Match(line, given.get(place), _is_outside(line, index, offset)) for place, line in enumerate(lines)]


def _cost(line: LogLine, one: CapturedExchange, time: int, moment: Moment) -> tuple[int, bool, int] | None:
    """Return how badly an exchange fits a line, as a tuple that sorts the best exchange first.

    Return None if the line cannot be about this exchange.
    """
    status = _status_difference(line, one)
    ends = [one.at(moment)] if one.has_end else [one.start, one.end]
    # the log omits the last digits of the time, so the line may be from any time with the same leading digits
    beside = min(max(time - at - LATE, at - time - line.unit, 0) for at in ends)
    if status is None or beside > SKEW:
        return None
    if line.client.count(":") == 1 or "]:" in line.client:
        is_other_client = line.client != one.client
    else:
        is_other_client = line.client != one.client.rpartition(":")[0].strip("[]")
    longer = abs(line.duration - (one.end - one.start)) if line.duration is not None and one.has_end else 0
    return status, is_other_client, beside + longer


def _is_inner(some: Sequence[CapturedExchange], place: int) -> bool:
    """Return whether the exchange at index `place` is probably a proxy's exchange with a server.

    The result is true if an exchange on another connection encloses this exchange. A line in the proxy's log belongs to the
    enclosing exchange. `some`: the exchanges with the same request, sorted by start.
    """
    one = some[place]
    for other in reversed(some[max(place - MAX_OUTER, 0) : place]):
        if one.start - other.start > _MAX_OUTSIDE:
            return False
        if 0 <= other.end - one.end <= _MAX_OUTSIDE and other.connection != one.connection:
            return True
    return False


def _is_outside(line: LogLine, index: ExchangeIndex, offset: int) -> bool:
    if index.first is None or index.last is None:
        return True
    time = line.time - offset
    return time + line.unit + SKEW < index.first or time - SKEW - (line.duration or 0) > index.last

"""The parts of a report that a user can request: hosts, ports, connections, a time span, a confidence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from wiredoctor.text.durations import SECOND
from wiredoctor.text.regex import Regex
from wiredoctor.text.time_of_day import nearest_on_day, parse_log_time

if TYPE_CHECKING:
    from wiredoctor.findings import Confidence

FAR = 1e9
"""Numbers below this (31 years) mean seconds since the first packet; all other numbers mean seconds since 1970."""

TIME_SPAN = "the chosen time span"

_NUMBER = Regex(r"[+-]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})")
_HOST_NAME = Regex(r"([\w.~!$&'()*+,;=%-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?", re.ASCII)


class Moment(NamedTuple):
    """The beginning or the end of a time span, in ns since `base`: the first packet of a capture, 1970, or midnight.

    `unit`: the precision in ns, from the number of digits given; 0 for seconds since the first packet. `offset`: the UTC offset
    of the given time zone in ns; 0 for a number of seconds; None if no zone is given.
    """

    nanoseconds: int
    base: Literal["first packet", "1970", "midnight"]
    unit: int = 0
    offset: int | None = None

    @classmethod
    def parse(cls, text: str) -> Moment:
        """Parse "12.5" (seconds since the first packet), "1769856136.123" (since 1970), or a time in the format of a log.

        A time without a zone is in the time zone of the report. Raise ValueError for anything else.
        """
        if _NUMBER.fullmatch(text.strip()):
            from fractions import Fraction

            number = Fraction(text.strip())
            return cls(round(number * SECOND), "first packet" if number < FAR else "1970", offset=0)
        time = parse_log_time(text)
        return cls(time.nanoseconds, "1970" if time.has_date else "midnight", time.unit, time.offset)

    def since(self, first: int | None) -> int:
        """Return the ns from `first`, the time of a capture's first packet, to this moment.

        For a time of day without a date, the day is chosen so that the time is as near to `first` as possible.
        """
        if self.base == "first packet":
            return self.nanoseconds
        of_day = self.base == "midnight"
        moment = nearest_on_day(self.nanoseconds, first or 0, self.offset) if of_day else self.nanoseconds
        return moment - (first or 0)

    def around(self, skew: int) -> tuple[Moment, Moment]:
        """Return the earliest and the latest time that this moment can mean, given its precision.

        The earliest time is moved back, and the latest time forward, by `skew` ns.
        """
        first = self._replace(nanoseconds=self.nanoseconds - skew)
        return first, self._replace(nanoseconds=self.nanoseconds + self.unit + skew)


class Filter(NamedTuple):
    """The part of a report that was requested.

    Several hosts, ports or connections are alternatives; conditions of different kinds must all hold. `hosts` are IP addresses;
    `names` are Host fields or TLS server names in lower case, with or without a port, or addresses with a port. Hosts and names
    count as one kind of condition, so a match of either is enough.
    """

    hosts: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    connections: tuple[int, ...] = ()
    begin: Moment | None = None
    end: Moment | None = None
    confidence: Confidence = "low"
    request_id: str = ""
    """A text that the request ids of the requested exchanges contain; "" for any request id."""

    @property
    def places(self) -> bool:
        """True if the filter selects connections or exchanges by host, port, id, time or request id."""
        wanted = self.hosts or self.names or self.ports or self.connections or self.begin or self.end or self.request_id
        return bool(wanted)

    @property
    def by_clock(self) -> bool:
        """True if the beginning or the end of the time span is given, but not in seconds since the first packet."""
        return any(bound is not None and bound.base != "first packet" for bound in (self.begin, self.end))

    def __str__(self) -> str:
        """Describe the filter in words; return "" if it excludes nothing."""
        parts = [
            *(f"host {h}" for h in dict.fromkeys((*self.hosts, *self.names))),
            *(f"port {p}" for p in self.ports),
            *(f"connection {c}" for c in self.connections),
        ]
        if self.request_id:
            parts.append(f"request id {self.request_id}")
        if self.begin or self.end:
            parts.append(TIME_SPAN)
        if self.confidence != "low":
            parts.append(f"confidence {self.confidence}" + (" or higher" if self.confidence != "high" else ""))
        return ", ".join(parts)


def address(text: str) -> str:
    """Return an IP address in the form used in reports, without a zone (RFC 4007), because a zone is valid only on its own host.

    Raise ValueError for anything else; names are not resolved.
    """
    import ipaddress

    return ipaddress.ip_address(text.strip("[]").partition("%")[0]).compressed


def host_name(text: str) -> str:
    """Return a host name or an address, possibly with a port, in lower case.

    Raise ValueError if it cannot be a host (RFC 3986 section 3.2.2).
    """
    if not _HOST_NAME.fullmatch(text):
        raise ValueError(text)
    return text.lower()

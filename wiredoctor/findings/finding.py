"""A finding: a diagnosis with its evidence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, TypeVar

from wiredoctor.findings.levels import Confidence, Origin, Severity, Side
from wiredoctor.findings.rule import Reference
from wiredoctor.text.durations import SECOND
from wiredoctor.text.redact import identity_method, identity_target
from wiredoctor.text.time_of_day import nanoseconds, rfc3339


class Evidence(NamedTuple):
    """A packet that proves something: its frame number, its time in seconds since the first packet, and a note.

    If several files were read as one capture, `file` is the name of the packet's file, and `file_frame` the frame number in that
    file. Otherwise, both are None.
    """

    frame: int
    elapsed: float
    note: str
    file: str | None = None
    file_frame: int | None = None


class Cause(NamedTuple):
    """A reference to another finding of the same capture.

    It consists of the rule, the first frame of the evidence (0: none), the kind, the connection and the exchange of that finding.
    """

    rule: str
    frame: int
    kind: str | None = None
    connection: int | None = None
    exchange: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A diagnosis with its evidence. Each field has the name and meaning of a key of `findings` in the JSON report (schema 1)."""

    rule: str
    family: str
    kind: str | None
    side: Side | None
    severity: Severity
    confidence: Confidence
    title: str
    message: str
    client: str | None
    server: str | None
    capture: str
    connection: int | None
    exchange: int | None
    request: str | None
    status: int | None
    time: str
    elapsed: float
    delay: float | None
    count: int
    measures: dict[str, int | float]
    evidence: tuple[Evidence, ...]
    remedy: str
    references: tuple[Reference, ...]
    display_filter: str
    fingerprint: str
    client_software: str | None = None
    server_software: str | None = None
    caused_by: tuple[Cause, ...] = ()
    origin: Origin | None = None
    """The sender of the FIN or RST in the finding; None without a FIN or RST, or if the sender is unknown."""
    number: int | None = field(default=None, compare=False)
    """The number in the complete report, counted from 1 and not changed by filters; None during a live capture."""
    ignore_target: str = field(default="", compare=False, repr=False, metadata={"private": True})
    """The request target that `[[ignore]]` entries match. It is not shown, because it may contain a token that `request`
    masks.
    """
    front: int | None = field(default=None, compare=False, repr=False, metadata={"private": True})
    """The connection from a client to a gateway, if `connection` is the gateway's connection to a server; otherwise None.

    `total_delay` counts the delay on this connection, because the client waits on it.
    """
    began: float | None = field(default=None, compare=False, repr=False, metadata={"private": True})
    """The time at which the request of the finding's exchange began, in seconds since the first packet.

    Without a request, it is the time at which the fault began, if that is later than the first evidence; otherwise None.

    This is the time that server logs contain. The evidence may begin earlier (a FIN that crossed the request) or later (a stall
    in the response).
    """

    @property
    def rule_and_kind(self) -> str:
        """The rule, with the kind in parentheses if there is one: "client-abort (timeout)"."""
        return f"{self.rule} ({self.kind})" if self.kind else self.rule

    @property
    def first_seen(self) -> float:
        """The time of the finding's request or, without a request, of the fault, in seconds since the first packet.

        Evidence may be earlier than the fault: for example, a connection that the server accepted before it refused another one.
        """
        return self.elapsed if self.began is None else self.began

    @property
    def first_seen_time(self) -> str:
        """The time `first_seen` as a timestamp (RFC 3339)."""
        moment = None if self.began in (None, self.elapsed) else nanoseconds(self.time)
        return self.time if moment is None else rfc3339(moment + round((self.first_seen - self.elapsed) * SECOND))

    @property
    def place(self) -> tuple[str, Cause]:
        """The name of the capture, and the Cause by which another finding refers to this one in `caused_by`."""
        frame = self.evidence[0].frame if self.evidence else 0
        return self.capture, Cause(self.rule, frame, self.kind, self.connection, self.exchange)


T = TypeVar("T")


def causes_first(ordered: Sequence[T], findings: Callable[[T], Iterable[Finding]]) -> list[T]:
    """Return findings or groups of findings in the same order, except that each cause is moved before its first effect.

    `findings` returns the findings in one element of `ordered`.
    """
    effects = {number for number, one in enumerate(ordered) if any(finding.caused_by for finding in findings(one))}
    if not effects:
        return [*ordered]
    holders: dict[tuple[str, Cause], int] = {}
    for number, one in enumerate(ordered):
        for finding in findings(one):
            holders.setdefault(finding.place, number)
    done: dict[int, None] = {}
    for number in range(len(ordered)):
        if number not in effects:
            done.setdefault(number)
            continue
        waiting, behind = [number], set[int]()
        while waiting:
            last = waiting[-1]
            places = ((f.capture, cause) for f in findings(ordered[last]) for cause in f.caused_by)
            causes = [holders[place] for place in places if place in holders] if last not in behind else []
            behind.add(last)
            if ahead := [cause for cause in causes if cause not in done and cause not in behind]:
                waiting += reversed(ahead)
            else:
                done.setdefault(waiting.pop())
    return [ordered[number] for number in done]


def total_delay(findings: Iterable[Finding]) -> float:
    """Return the sum of all delays in seconds. Time that a client spent waiting counts once, even if several findings cover it.

    The client waits on the connection of the finding or, if a gateway is in between, on the connection `front`. On `front`, the
    wait ends with the gateway's error response, although the cause of the error may last longer.
    """
    delayed = [f for f in findings if f.delay]
    errors = {(f.capture, cause): _delay_end(f) for f in delayed for cause in f.caused_by}
    covered: dict[tuple[str, int | None], float] = {}
    total = 0.0
    for f in sorted(delayed, key=lambda f: (f.elapsed, -(f.delay or 0))):
        delay, place = f.delay or 0.0, (f.capture, f.connection if f.front is None else f.front)
        end = _delay_end(f)
        if f.front is not None:
            end = min(end, errors.get(f.place, end))
        free = end - max(f.elapsed, covered.get(place, f.elapsed)) if f.connection is not None else delay
        total += max(0.0, min(delay, free))
        covered[place] = max(end, covered.get(place, end))
    return round(total, 9)


def _delay_end(f: Finding) -> float:
    """Return the end of a finding's delay, in seconds since the first packet."""
    return max([f.elapsed + (f.delay or 0.0), *(e.elapsed for e in f.evidence)])


@lru_cache(maxsize=64)
def fingerprint(rule: str, kind: str | None, side: str | None, server: str | None, method: str | None, target: str | None) -> str:
    """Return 16 hexadecimal digits that are equal for the same problem in different captures.

    The result does not depend on the connection, the time, the query, or digits in the path. The target is first passed to
    `identity_target`, so the fingerprint cannot be used to guess passwords.
    """
    import hashlib  # imported only when needed, because it loads OpenSSL

    path = re.sub(r"[0-9]+", "", identity_target((target or "").partition("?")[0]))
    text = "\0".join(("1", rule, kind or "", side or "", server or "", identity_method(method or ""), path))
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def group_key(f: Finding) -> tuple[str | None, ...]:
    """Return a key for grouping. The same change would fix all findings with equal keys."""
    return f.capture, f.rule, f.kind, f.side, f.severity, host(f.client), f.server


def host(endpoint: str | None) -> str | None:
    """Return an endpoint without its port: "10.0.0.1:1234" -> "10.0.0.1", "[::1]:80" -> "::1"."""
    if endpoint is None or (endpoint.count(":") > 1 and not endpoint.startswith("[")):
        return endpoint
    return endpoint.rpartition(":")[0].strip("[]") or endpoint

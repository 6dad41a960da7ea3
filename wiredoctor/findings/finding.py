"""A finding: a diagnosis with its proof."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from wiredoctor.findings.levels import Confidence, Origin, Severity, Side
from wiredoctor.findings.rule import Reference
from wiredoctor.text.redact import identity_target, masked_method


class Evidence(NamedTuple):
    """A packet that proves something: its frame number, seconds since the capture's first packet, and what it shows.

    If several files were read as one capture: the file that it lies in, and its frame number there.
    """

    frame: int
    elapsed: float
    note: str
    file: str | None = None
    file_frame: int | None = None


class Cause(NamedTuple):
    """Another finding of the same capture: its rule, the first frame of its evidence (0: it has none), its kind, its place."""

    rule: str
    frame: int
    kind: str | None = None
    connection: int | None = None
    exchange: int | None = None


@dataclass(frozen=True)
class Finding:
    """A diagnosis with its proof; it stands on its own. Keys and meaning as `findings` of the JSON format, schema 1."""

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
    """Who sent the FIN or RST that it names; None if it names none, or if that cannot be told."""
    number: int | None = field(default=None, compare=False)
    """Place in the whole report, from 1: the same whatever the report is narrowed to. None before there is a report (live)."""
    ignore_target: str = field(default="", compare=False, repr=False, metadata={"private": True})
    """The request target that `[[ignore]]` entries match. No report shows it: it may hold a token that `request` masks."""
    front: int | None = field(default=None, compare=False, repr=False, metadata={"private": True})
    """The connection whose client waited, where that is another: this one is behind a gateway. Its delays count there."""

    @property
    def place(self) -> tuple[str, Cause]:
        """By what `caused_by` of another finding knows this one: its capture, its rule, its first frame, its kind and place."""
        frame = self.evidence[0].frame if self.evidence else 0
        return self.capture, Cause(self.rule, frame, self.kind, self.connection, self.exchange)


T = TypeVar("T")


def causes_first(ordered: Sequence[T], findings: Callable[[T], Iterable[Finding]]) -> list[T]:
    """Findings, or groups of them, in their order, but each cause before the first that it causes."""
    holders: dict[tuple[str, Cause], int] = {}
    for number, one in enumerate(ordered):
        for finding in findings(one):
            holders.setdefault(finding.place, number)
    done: dict[int, None] = {}
    for number in range(len(ordered)):
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
    """Seconds of all delays; where findings overlap in time for which one client waited, on its connection or behind a gateway on
    another, the first counts."""
    covered: dict[tuple[str, int | None], float] = {}
    total = 0.0
    for f in sorted((f for f in findings if f.delay), key=lambda f: (f.elapsed, -(f.delay or 0))):
        delay, place = f.delay or 0.0, (f.capture, f.connection if f.front is None else f.front)
        end = max([f.elapsed + delay, *(e.elapsed for e in f.evidence)])
        free = end - max(f.elapsed, covered.get(place, f.elapsed)) if f.connection is not None else delay
        total += max(0.0, min(delay, free))
        covered[place] = max(end, covered.get(place, end))
    return round(total, 9)


def fingerprint(rule: str, kind: str | None, side: str | None, server: str | None, method: str | None, target: str | None) -> str:
    """16 hexadecimal digits that stay the same between captures of one fault: path without digits, no connection, no time.

    They are made of `identity_target`: nobody can try passwords on them.
    """
    path = re.sub(r"[0-9]+", "", identity_target((target or "").partition("?")[0]))
    text = "\0".join(("1", rule, kind or "", side or "", server or "", masked_method(method or ""), path))
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def group_key(f: Finding) -> tuple[str | None, ...]:
    """The same for findings that one change would cure."""
    return f.capture, f.rule, f.kind, f.side, f.severity, host(f.client), f.server


def host(endpoint: str | None) -> str | None:
    """An endpoint without its port: "10.0.0.1:1234" -> "10.0.0.1", "[::1]:80" -> "::1"."""
    if endpoint is None or (endpoint.count(":") > 1 and not endpoint.startswith("[")):
        return endpoint
    return endpoint.rpartition(":")[0].strip("[]") or endpoint

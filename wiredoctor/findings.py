"""What a rule is, what a finding is, and what a report holds: the nouns between analysis and telling.

Rules and reports import this module, `masking` and `tables`, nothing else of the package but `durations`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, Protocol, TypeVar

from wiredoctor.masking import masked_method, masked_target

if TYPE_CHECKING:
    import polars as pl

Severity = Literal["error", "warning", "note"]
Confidence = Literal["high", "medium", "low"]
Side = Literal["client", "server"]

LeftOutBy = Literal["ignore", "baseline", "confidence"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Worst first."""

CONFIDENCES: tuple[Confidence, ...] = ("high", "medium", "low")
"""Surest first."""

LEFT_OUT_BY: tuple[LeftOutBy, ...] = ("ignore", "baseline", "confidence")

_UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}


_QUANTITY = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([a-zA-Z%].*)?")

_CONFIGURED: ContextVar[Mapping[int, str]] = ContextVar("configured thresholds", default=MappingProxyType({}))
"""id() of a Threshold -> its text in the running analysis."""


class Threshold(NamedTuple):
    """A limit of a rule: "30 ms" or "8 segments" or "25 %", and why it is that and no other.

    `value` is in nanoseconds for times (ns, us, ms, s), else the bare number. Within `configured` both it and `current`
    are what the user set; so `find` and `judge` ask when they run, and nothing keeps what was answered.
    Raises ValueError when the text is not a number and a unit.
    """

    text: str
    reason: str

    @property
    def current(self) -> str:
        """The limit as configured, in the form of `text`."""
        return _CONFIGURED.get().get(id(self), self.text)

    @property
    def value(self) -> int:
        """The limit as a whole number: nanoseconds for times, else in the unit of the text."""
        number, _, unit = self.current.partition(" ")
        return round(float(number) * _UNITS.get(unit, 1))

    def parse(self, text: str) -> str:
        """What a user wrote for this limit ("40ms", "3"), in the form of `text`; raises ValueError with what it must be."""
        unit = self.text.partition(" ")[2]
        quantity = _QUANTITY.fullmatch(text.strip())
        number, given = quantity.groups() if quantity else ("", "")
        if unit in _UNITS:
            if given in _UNITS:
                return f"{number} {given}"
            raise ValueError(f'{text!r} is not a time such as "{self.text}" (units: {", ".join(_UNITS)})')
        if number.isdecimal() and (not given or given.removesuffix("s") == unit.removesuffix("s")):
            return f"{number} {unit}".rstrip()
        raise ValueError(f'{text!r} is not a whole number such as "{self.text}"')


@contextmanager
def configured(thresholds: Mapping[int, str]) -> Generator[None]:
    """Within it the thresholds with these id()s have these texts instead of their own, in this thread."""
    token = _CONFIGURED.set(thresholds)
    try:
        yield
    finally:
        _CONFIGURED.reset(token)


class Reference(NamedTuple):
    """Where a claim of a rule can be read."""

    title: str
    url: str


class Advice(NamedTuple):
    """A sentence that a remedy ends with, where the side that has to change something is `side` and runs `software`.

    `software` is a regular expression, searched without regard to case in the response's Server (side server) or in
    the request's User-Agent (side client); "" always matches, "^$" where nothing is known. `where` may name a column of
    the candidates: the advice is given where that holds something (not null, 0, false or empty).
    """

    side: Side
    software: str
    text: str
    where: str = ""


class Rule(NamedTuple):
    """What a rule file declares as RULE. Texts are str.format templates over the columns of its candidates.

    Every text may also use client, server, side and peer (the two sides in words), request, status, server_software and
    client_software (as the Server and User-Agent fields say, else empty), frames (of the evidence, "5, 6, 7"), first_frame
    and last_frame. Columns of type Duration("ns"), and delay, are written as durations ("44.1 ms").

    severity, title, message and remedy may be one for all, or a mapping by kind (None: the rule has no kinds).
    explained_by: (rule or family, scope) pairs; a candidate gives way to a candidate of that rule that shares the
    scope: "time" (same connection, overlapping start..end), "exchange", "connection" or "endpoint" (the server).
    caused_by: the same, but the scope is not "time", and nothing gives way: both are reported, and the cause comes first.
    summary: one finding per endpoint or capture, said at the end; else an event, final once its evidence has passed.
    timeless: the order of packets and their numbers prove it alone, no time: it holds where the capture's clock was set back.
    any_order: what it says does not depend on the order of rows, neither of its tables nor of what `find` hands to `judge`, so
    that of a million they may come in any order, which takes less memory.
    """

    severity: Severity | Mapping[str | None, Severity]
    title: str | Mapping[str | None, str]
    message: str | Mapping[str | None, str]
    remedy: str | Mapping[str | None, str]
    display_filter: str
    references: tuple[Reference, ...] = ()
    explained_by: tuple[tuple[str, str], ...] = ()
    advice: tuple[Advice, ...] = ()
    summary: bool = False
    caused_by: tuple[tuple[str, str], ...] = ()
    timeless: bool = False
    any_order: bool = False


CANDIDATE_COLUMNS = {
    "connection": "id, or null for one that is about the capture",
    "exchange": "index in the connection, or null",
    "kind": "name of the kind, or null",
    "side": "client, server or null: who has to change something",
    "confidence": "high, medium or low",
    "frame": "where to look first; with rule and connection the key of the candidate",
    "start": "ns; with end the time that the candidate explains",
    "end": "ns",
    "delay": "ns, or null: what the user would have got back, at most",
    "evidence": "list of {frame, time, note}, in order of frames",
}
"""What every candidate has (at the latest when `judge` returns it), besides the names in the rule's texts.

Candidates of one rule with the same connection and frame are one, and the first that is not explained away is said.
Optional: `direction` (direction of the sender who has to change something: settling makes the side of it) and
`last_frame` (newest evidence; `judge` sees rows in its order, or in that of `frame` where there is none, unless the rule has
`any_order`)."""


class Evidence(NamedTuple):
    """A packet that proves something: its frame number, seconds since the capture's first packet, and what it shows."""

    frame: int
    elapsed: float
    note: str


class Cause(NamedTuple):
    """Another finding of the same capture: its rule, and the first frame of its evidence (0: it has none)."""

    rule: str
    frame: int


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
    number: int | None = field(default=None, compare=False)
    """Place in the whole report, from 1: the same whatever the report is narrowed to. None before there is a report (live)."""

    @property
    def place(self) -> tuple[str, Cause]:
        """By what `caused_by` of another finding knows this one: its capture, its rule and its first frame."""
        return self.capture, Cause(self.rule, self.evidence[0].frame if self.evidence else 0)


@dataclass(frozen=True)
class LeftOut:
    """Findings that were made and are not in the report, by their number and their rules.

    by: ignore (an entry of the configuration; `reason` is its reason), baseline (`reason` names the file), or confidence
    (less sure than was asked for; `reason` says how sure that is).
    """

    by: LeftOutBy
    reason: str
    findings: int
    rules: tuple[str, ...]


@dataclass(frozen=True)
class CaptureSummary:
    """A file that was read: what it is, what is in it, and what could not be analysed."""

    file: str
    format: str
    link_types: list[str]
    packets: int
    bytes: int
    first_time: str | None
    last_time: str | None
    """RFC 3339: the time stamp of the first packet, from which elapsed times count, and the latest one, which the last packet
    need not have; None where no packet has a time stamp."""
    not_analysed: dict[str, int]
    duplicates: int = 0
    damage: str | None = None
    files: tuple[str, ...] = ()
    """Where several files were read as one capture: these, in order."""
    encapsulations: dict[str, int] = field(default_factory=dict[str, int])
    """What TCP was in, beside IP and its link: name -> packets; a packet may be in several. VLAN tags do not count."""


class Checked(NamedTuple):
    """A rule: its family, and the table that it looks at first."""

    family: str
    table: str


class Portion(NamedTuple):
    """Rows of some tables, from an epoch of a capture. `read(place, length)` gives bytes of packets by their place
    (packets.payload, records.offset) until the next portion is asked for; `sack_blocks(row)` the blocks of the SACK option of a
    row of packets, as sequence numbers."""

    tables: dict[str, pl.DataFrame]
    read: Callable[[int, int], bytes]
    sack_blocks: Callable[[Mapping[str, Any]], list[tuple[int, int]]]


Names = Iterable[str] | Mapping[str, Collection[str]]
"""Tables; or, of each that is named, the columns that are wanted."""


class Again(Protocol):
    """A capture that was analysed and can be read again: for what draws, exports or copies packets."""

    def portions(
        self,
        names: Names,
        connections: Collection[int] | None = None,
        frames: Collection[int] | None = None,
    ) -> Iterator[Portion]:
        """The rows of these tables of tables.READ_AGAIN, epoch by epoch: of some connections, of some frames (of records,
        packets, segments and pieces), of both, or where neither is given all.

        What TCP tells alone (no column of tables.HEARD) comes many times as fast, and of frames there is nothing else. Ids and
        frames are those of the report, and texts are masked as in it.
        """
        ...

    def tables(
        self,
        names: Names,
        connections: Collection[int] | None = None,
        frames: Collection[int] | None = None,
    ) -> dict[str, pl.DataFrame]:
        """The same in memory, as a whole: for few connections."""
        ...

    def copy(
        self,
        out: BinaryIO,
        packets: int,
        about: str,
        comments: Iterable[tuple[int, Sequence[str]]],
        only: Sequence[int] | None = None,
    ) -> None:
        """Writes the capture as pcapng: its first `packets`, as many as can be read, or of these the frames `only` (ascending).

        comments: of frames, ascending; about: of the file as a whole. Bytes are copied as they are.
        """
        ...


@dataclass
class Report:
    """What an analysis found. `connections` and `exchanges` are Polars frames with the columns of tables.CONNECTIONS
    and tables.EXCHANGES, and `capture` (the file) in front.

    `checked`: the rules that were asked for, by name. `unasked`: the others. `left_out`: what was found and is not here.
    """

    version: str
    captures: list[CaptureSummary] = field(default_factory=list[CaptureSummary])
    findings: list[Finding] = field(default_factory=list[Finding])
    delay: float = 0.0
    connection_count: int = 0
    exchange_count: int = 0
    limits: list[str] = field(default_factory=list[str])
    checked: dict[str, Checked] = field(default_factory=dict[str, Checked])
    unasked: dict[str, Checked] = field(default_factory=dict[str, Checked])
    left_out: list[LeftOut] = field(default_factory=list[LeftOut])
    scan_connections: Callable[[], pl.LazyFrame] | None = None
    scan_exchanges: Callable[[], pl.LazyFrame] | None = None
    scan_captures: Callable[[], pl.LazyFrame] | None = None
    forgotten: dict[str, pl.DataFrame] = field(default_factory=dict[str, "pl.DataFrame"])
    """Of a live capture of hours: rows of "connections" and "exchanges" that are not kept, with the columns that are counted and
    `rows`, how many were alike."""
    resources: list[Any] = field(default_factory=list[Any], repr=False)
    secrets: bool = False
    """Nothing is masked: targets, names and payload are as they were sent."""
    again: dict[str, Again] = field(default_factory=dict[str, Again], repr=False)
    """By name, the captures that were kept to be read again."""

    @property
    def connections(self) -> pl.DataFrame:
        """A row per connection; columns of tables.CONNECTIONS."""
        return _collect(self.scan_connections, "connections")

    @property
    def exchanges(self) -> pl.DataFrame:
        """A row per exchange; columns of tables.EXCHANGES."""
        return _collect(self.scan_exchanges, "exchanges")


def _collect(scan: Callable[[], pl.LazyFrame] | None, table: str) -> pl.DataFrame:
    if scan is None:
        from wiredoctor.tables import TABLES

        return TABLES[table].empty()
    return scan().collect()


def rfc3339(nanoseconds: int) -> str:
    """Nanoseconds since 1970 -> RFC 3339 in UTC with nine decimals; years that RFC 3339 cannot write become its first or last."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    try:
        moment = datetime(1970, 1, 1) + timedelta(seconds=seconds)
    except OverflowError:
        moment, rest = (datetime.max, 999_999_999) if seconds > 0 else (datetime.min, 0)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z".rjust(30, "0")


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
    """Seconds of all delays; where findings of one connection overlap in time, the first counts."""
    covered: dict[tuple[str, int | None], float] = {}
    total = 0.0
    for f in sorted((f for f in findings if f.delay), key=lambda f: (f.elapsed, -(f.delay or 0))):
        delay, place = f.delay or 0.0, (f.capture, f.connection)
        end = max([f.elapsed + delay, *(e.elapsed for e in f.evidence)])
        free = end - max(f.elapsed, covered.get(place, f.elapsed)) if f.connection is not None else delay
        total += max(0.0, min(delay, free))
        covered[place] = max(end, covered.get(place, end))
    return round(total, 9)


def by_kind(text: Any, kind: str | None) -> Any:
    """The entry of a rule's severity, title, message or remedy for this kind."""
    return text if isinstance(text, str) else text[kind]


_ESCAPED = re.compile(r"[^\x20-\x7e]")


def printable(text: str) -> str:
    r"""Packet text as safe ASCII: everything else becomes \xNN (text from packets is Latin-1 decoded, a byte a sign), and what
    is no byte \uNNNN."""
    if text.isascii() and text.isprintable():
        return text
    return _ESCAPED.sub(_escape, text)


def _escape(sign: re.Match[str]) -> str:
    code = ord(sign[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shorten(text: str, width: int, mark: str = "...") -> str:
    """At most `width` characters: the middle gives way, because both ends of a target or an address tell it apart."""
    if len(text) <= width:
        return text
    if width <= len(mark) + 1:
        return text[:width]
    tail = (width - len(mark)) // 2
    head = width - len(mark) - tail
    return text[:head] + mark + text[len(text) - tail :]


def fingerprint(rule: str, kind: str | None, side: str | None, server: str | None, method: str | None, target: str | None) -> str:
    """16 hexadecimal digits that stay the same between captures of one fault: path without digits, no connection, no time.

    They are made of what is masked: nobody can try passwords on them.
    """
    path = re.sub(r"[0-9]+", "", masked_target((target or "").partition("?")[0]))
    text = "\0".join(("1", rule, kind or "", side or "", server or "", masked_method(method or ""), path))
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]

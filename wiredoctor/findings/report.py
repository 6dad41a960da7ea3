"""What a report holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from wiredoctor.findings.finding import Finding
from wiredoctor.findings.packets import Again

if TYPE_CHECKING:
    import polars as pl

    from wiredoctor.gateways import Gateways

LeftOutBy = Literal["ignore", "baseline", "confidence"]

LEFT_OUT_BY: tuple[LeftOutBy, ...] = ("ignore", "baseline", "confidence")


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


class Ending(NamedTuple):
    """How something ended, or did not: what it is about, and what reports say of all that ended so."""

    what: Literal["exchanges", "connections"]
    reason: str


UNJUDGED: dict[str, Ending] = {
    "closed": Ending("exchanges", "closed before an answer came, and no rule says why"),
    "cut-short": Ending("exchanges", "the response broke off, and no rule says why"),
    "request-cut-short": Ending("exchanges", "the client's request broke off, and no rule says why"),
    "unreadable": Ending("exchanges", "what the server sent is no response that can be read"),
    "request-unreadable": Ending("exchanges", "where the request ends cannot be read"),
    "reset": Ending("connections", "reset while something was under way, and no rule says why"),
    "closed-unanswered": Ending("connections", "closed by the server without a byte of an answer, and no rule says why"),
    "silence": Ending("connections", "data was never acknowledged, and no more packets came"),
    "refused": Ending("connections", "refused, and no rule says why"),
    "no-connection": Ending("connections", "the connection did not come about while it was captured"),
    "closed-unused": Ending("connections", "closed by the server as soon as it was open, before anything was sent"),
    "head-unfinished": Ending("exchanges", "a request head that never ended, and so no request"),
    "after-close-announced": Ending("exchanges", "sent behind an answer that announced the close, and to be repeated"),
    "no-answer": Ending("exchanges", "no answer yet when the capture ended"),
    "request-unfinished": Ending("exchanges", "the capture ended before the request did"),
    "response-unfinished": Ending("exchanges", "the capture ended before the response did"),
    "gap": Ending("exchanges", "not answered, or not to the end, as far as the capture has it: packets are missing"),
    "one-sided": Ending("exchanges", "only one direction was captured"),
}
"""Why something that did not end as it should is not judged, the worst first."""


@dataclass(frozen=True)
class Unjudged:
    """An exchange or a connection (`exchange` is None) that did not end as it should, and that no finding explains.

    reason: a key of UNJUDGED. message: what is seen of it, in a few words. frame: where to look, at the time `elapsed` (seconds
    since the first packet). waited: seconds from the last that was seen of it to the end of the capture, where it still waited.
    """

    capture: str
    connection: int
    exchange: int | None
    client: str
    server: str
    request: str | None
    reason: str
    message: str
    frame: int
    time: str
    elapsed: float
    waited: float | None = None


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
    dropped: int | None = None
    """Packets that the capture says were dropped before they could be captured; None if it says nothing of them."""
    dropped_of: int = 0
    """Packets that there would be if none had been dropped."""


class RuleTotal(NamedTuple):
    """What a rule found in all captures, also beyond limits.FINDINGS: how many findings, and the seconds that they cost."""

    findings: int
    delay: float


def sum_totals(parts: Iterable[Mapping[str, RuleTotal]]) -> dict[str, RuleTotal]:
    """Return what each rule found in all parts."""
    sums: dict[str, RuleTotal] = {}
    for part in parts:
        for rule, total in part.items():
            before = sums.get(rule, RuleTotal(0, 0.0))
            sums[rule] = RuleTotal(before.findings + total.findings, before.delay + total.delay)
    return sums


class Checked(NamedTuple):
    """A rule: its family, and the table that it looks at first."""

    family: str
    table: str


@dataclass
class Report:
    """What an analysis found. `connections` and `exchanges` are Polars frames with the columns of tables.CONNECTIONS
    and tables.EXCHANGES, and `capture` (the file) in front.

    `checked`: the rules that were asked for, by name. `unasked`: the others. `left_out`: what was found and is not here.
    `incomplete`: a sentence for each reason why the report does not cover all that was requested; every report begins with them.
    """

    version: str
    captures: list[CaptureSummary] = field(default_factory=list[CaptureSummary])
    findings: list[Finding] = field(default_factory=list[Finding])
    delay: float = 0.0
    connection_count: int = 0
    exchange_count: int = 0
    limits: list[str] = field(default_factory=list[str])
    not_judged: list[Unjudged] = field(default_factory=list[Unjudged])
    """What did not end as it should and is explained by no finding: of each capture the worst, limits.UNJUDGED of them."""
    not_judged_counts: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """Capture and reason -> how many there are in all."""
    checked: dict[str, Checked] = field(default_factory=dict[str, Checked])
    unasked: dict[str, Checked] = field(default_factory=dict[str, Checked])
    left_out: list[LeftOut] = field(default_factory=list[LeftOut])
    incomplete: list[str] = field(default_factory=list[str])
    scan_connections: Callable[[], pl.LazyFrame] | None = None
    scan_exchanges: Callable[[], pl.LazyFrame] | None = None
    scan_captures: Callable[[], pl.LazyFrame] | None = None
    forgotten: dict[str, pl.DataFrame] = field(default_factory=dict[str, "pl.DataFrame"])
    """Of a live capture of hours: rows of "connections" and "exchanges" that are not kept, with the columns that are counted and
    `rows`, how many were alike."""
    totals: dict[str, RuleTotal] = field(default_factory=dict[str, RuleTotal])
    """By rule, also of what a limit, a baseline or the configuration left out; lower bounds if limits.CANDIDATES was met."""
    gateways: dict[str, Gateways] = field(default_factory=dict[str, "Gateways"])
    """By capture, what is known of gateways in it."""
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

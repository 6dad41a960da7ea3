"""The data types for the contents of a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from wiredoctor.findings.finding import Finding
from wiredoctor.findings.packets import PacketAccess

if TYPE_CHECKING:
    import polars as pl

    from wiredoctor.gateways import Gateways

LeftOutBy = Literal["ignore", "baseline", "confidence"]

LEFT_OUT_BY: tuple[LeftOutBy, ...] = ("ignore", "baseline", "confidence")


class LeftOut(NamedTuple):
    """Findings that were left out of the report for one reason: their number and their rules.

    `by` is the kind of reason, and `reason` gives the details: for "ignore", an entry of the configuration; for "baseline", the
    name of the file; for "confidence", the required level. `failures`: the left-out findings about failed requests
    or connections.
    """

    by: LeftOutBy
    reason: str
    findings: int
    rules: tuple[str, ...]
    failures: tuple[Finding, ...] = ()


class Ending(NamedTuple):
    """A reason why exchanges or connections (`what`) did not end normally. `reason`: the text in reports."""

    what: Literal["exchanges", "connections"]
    reason: str


UNJUDGED: dict[str, Ending] = {
    "closed": Ending("exchanges", "closed before a response came, and no rule explains why"),
    "cut-short": Ending("exchanges", "the response broke off, and no rule explains why"),
    "websocket-cut": Ending("exchanges", "WebSockets closed by the server without a closing handshake, and no rule explains why"),
    "tunnel-unanswered": Ending("exchanges", "tunnels closed before any data from the server came through them"),
    "tunnel-reset": Ending("exchanges", "tunnels reset by the server, and no rule explains why"),
    "request-cut-short": Ending("exchanges", "the client's request broke off, and no rule explains why"),
    "reset-doubted": Ending("exchanges", "reset, but perhaps not by the host whose address is in the RST"),
    "unreadable": Ending("exchanges", "the server sent something that is not a readable response"),
    "request-unreadable": Ending("exchanges", "the end of the request cannot be determined"),
    "request-not-http": Ending(
        "exchanges",
        "the server rejected bytes that are not an HTTP/1.x request, such as TLS on a plain port, or a PROXY protocol header",
    ),
    "head-awaited": Ending("exchanges", "the server rejected a request whose head had not arrived completely in time"),
    "reset": Ending("connections", "reset while something was in progress, and no rule explains why"),
    "closed-unanswered": Ending("connections", "closed by the server without a byte of a response, and no rule explains why"),
    "hello-unanswered": Ending("connections", "the client's TLS ClientHello or HTTP/2 preface arrived, but got no answer"),
    "silence": Ending("connections", "data was never acknowledged, and no more packets came"),
    "refused": Ending("connections", "refused, and no rule explains why"),
    "syn-ack-lost": Ending(
        "connections",
        "the client repeated its SYN although the server had answered: the client got no SYN-ACK, or none that it accepts",
    ),
    "no-connection": Ending("connections", "the connection was not established while it was captured"),
    "probes-unanswered": Ending("connections", "established, but the server answered none of the client's probes"),
    "closed-unused": Ending("connections", "closed by the server as soon as it was open, and no data was captured"),
    "head-unfinished": Ending("exchanges", "the head of the request never ended"),
    "after-close-announced": Ending(
        "exchanges", "the request was sent after a response that announced the close, so the client has to repeat it"
    ),
    "no-answer": Ending("exchanges", "no answer yet when the capture ended"),
    "request-stopped": Ending(
        "exchanges",
        "the rest of the request never came: the client stopped sending, the server stopped reading, or the path loses full "
        "segments",
    ),
    "request-unfinished": Ending("exchanges", "the capture ended before the request did"),
    "response-unfinished": Ending("exchanges", "the capture ended before the response did"),
    "gap": Ending("exchanges", "not answered, or not completely, and packets were lost on the path or while capturing"),
    "snap-length": Ending("exchanges", "the snap length cut off parts of heads or of chunk framing"),
    "altered": Ending("exchanges", "the capture changed the bytes of packets, as their checksums show"),
    "one-sided": Ending("exchanges", "only one direction was captured"),
    "server-reset": Ending("connections", "reset by the server; in this protocol the packets do not show what was in progress"),
    "breaks-off": Ending("connections", "data was neither acknowledged nor sent again: packets are missing, or a host is gone"),
    "not-compared": Ending(
        "connections", "the capture is so long that rules such as gateway-error compare only the connections near its end"
    ),
}
"""The reasons why an exchange or a connection is not judged, worst first. For all reasons except the last one, the exchange
or connection did not end normally.
"""


class Unjudged(NamedTuple):
    """An exchange (or a connection, if `exchange` is None) that did not end normally and that no finding explains.

    `reason`: a key of UNJUDGED. `message`: a short description. `frame`: the frame number of the packet to look at; `elapsed`:
    its time in seconds since the first packet. `waited`: the time in seconds from the last packet to the end of the capture, if
    the exchange was still waiting. `idle`: the time in seconds without payload before the server cut a WebSocket, a tunnel or a
    response.
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
    idle: float | None = None


class CaptureSummary(NamedTuple):
    """The facts about one capture: its format, its contents, and what could not be analyzed."""

    file: str
    format: str
    link_types: list[str]
    packets: int
    bytes: int
    first_time: str | None
    last_time: str | None
    """The latest timestamp (RFC 3339), which need not belong to the last packet; None without any timestamp.

    `first_time` is the timestamp of the first packet, or an earlier timestamp of a later packet. Elapsed times count from it.
    """
    not_analysed: dict[str, int]
    duplicates: int = 0
    """The number of packets that were captured a second time, including those whose addresses were translated in between."""
    translations: Mapping[tuple[str, str], int] = {}
    """The number of connections that were captured both before and after address translation, by server.

    The key is the server's endpoint before and after the translation. If there were too many servers, one entry counts the rest;
    both of its endpoints are empty.
    """
    damage: str | None = None
    files: tuple[str, ...] = ()
    """The names of the files in order, if several files were read as one capture."""
    encapsulations: Mapping[str, int] = {}
    """The number of packets per protocol that carried TCP in a tunnel or with a label, such as GRE or MPLS.
    A packet may count for several protocols. VLAN tags do not count.
    """
    dropped: int | None = None
    """The number of packets that were dropped before they could be captured; None if the capture does not state it."""
    dropped_of: int = 0
    """The number of captured packets plus the number of dropped packets."""
    sorted: bool = False
    """True if the file was sorted because it is far from time order. Frame numbers are then those that reordercap(1)
    would give, unless there are `clock_steps`, too. Connection ids are those of the unsorted file.
    """
    clock_steps: int = 0
    """The number of times that the timestamps of an interface go backward. Packets that were sorted by time do not count."""


class RuleTotal(NamedTuple):
    """The number of findings of a rule in all captures, including those beyond limits.FINDINGS, and the sum of their delays in
    seconds.
    """

    findings: int
    delay: float


def sum_totals(parts: Iterable[Mapping[str, RuleTotal]]) -> dict[str, RuleTotal]:
    """Return the totals of each rule, summed over all parts."""
    sums: dict[str, RuleTotal] = {}
    for part in parts:
        for rule, total in part.items():
            before = sums.get(rule, RuleTotal(0, 0.0))
            sums[rule] = RuleTotal(before.findings + total.findings, before.delay + total.delay)
    return sums


class Checked(NamedTuple):
    """A rule that ran. `table`: the table that it reads first. `ends`: the rule reports requests or connections that failed."""

    family: str
    table: str
    ends: bool = False


def _empty_table(name: str) -> pl.LazyFrame:
    import polars as pl

    from wiredoctor.tables import TABLES

    return TABLES[name].empty().lazy().select(pl.lit("").alias("capture"), pl.exclude("capture"))


@dataclass(eq=False, repr=False)
class Report:
    """The result of an analysis.

    `connections` and `exchanges` are Polars data frames with the column `capture` (the file) and the columns of
    tables.CONNECTIONS or tables.EXCHANGES. `checked`: the requested rules, by name. `unasked`: the other rules. `left_out`:
    findings that are not in the report. `incomplete`: one sentence for each reason why the report does not cover everything that
    was requested; every report begins with these sentences.
    """

    version: str
    captures: list[CaptureSummary] = field(default_factory=list[CaptureSummary])
    findings: list[Finding] = field(default_factory=list[Finding])
    delay: float = 0.0
    connection_count: int = 0
    exchange_count: int = 0
    limits: list[str] = field(default_factory=list[str])
    not_judged: list[Unjudged] = field(default_factory=list[Unjudged])
    """Exchanges and connections that did not end normally and that no finding explains: the worst limits.UNJUDGED per capture."""
    not_judged_counts: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """For each (capture, reason), the number of exchanges and connections like those in `not_judged`, but without a limit.

    The reason "not-compared" counts the oldest connections of a long capture, which no rule compared with others.
    """
    checked: dict[str, Checked] = field(default_factory=dict[str, Checked])
    unasked: dict[str, Checked] = field(default_factory=dict[str, Checked])
    left_out: list[LeftOut] = field(default_factory=list[LeftOut])
    incomplete: list[str] = field(default_factory=list[str])
    scan_connections: Callable[[], pl.LazyFrame] = field(default=partial(_empty_table, "connections"))
    scan_exchanges: Callable[[], pl.LazyFrame] = field(default=partial(_empty_table, "exchanges"))
    scan_captures: Callable[[], pl.LazyFrame] = field(default=partial(_empty_table, "captures"))
    forgotten: dict[str, pl.DataFrame] = field(default_factory=dict[str, "pl.DataFrame"])
    """The rows of "connections" and "exchanges" that were dropped during a long live capture, counted in groups, by table.

    Each value is a data frame with one row per group of dropped rows: the values that the group has in common, and the number of
    dropped rows (column `rows`).
    """
    totals: dict[str, RuleTotal] = field(default_factory=dict[str, RuleTotal])
    """The totals by rule, including findings that are not in the report because of a limit, a baseline or the configuration.

    If limits.CANDIDATES was reached, the totals are lower bounds.
    """
    gateways: dict[str, Gateways] = field(default_factory=dict[str, "Gateways"])
    """The gateways of each capture."""
    resources: list[Any] = field(default_factory=list[Any], repr=False)
    secrets: bool = False
    """True if nothing is masked: targets, names and payload are shown as sent."""
    packets: dict[str, PacketAccess] = field(default_factory=dict[str, PacketAccess], repr=False)
    """The captures that can be read again, by name."""

    @property
    def connections(self) -> pl.DataFrame:
        """One row per connection, with the columns of tables.CONNECTIONS. Renamed columns are also present under their earlier
        names.
        """
        return _collect(self.scan_connections, "connections")

    @property
    def exchanges(self) -> pl.DataFrame:
        """One row per exchange, with the columns of tables.EXCHANGES. Renamed columns are also present under their earlier
        names.
        """
        return _collect(self.scan_exchanges, "exchanges")


def _collect(scan: Callable[[], pl.LazyFrame], table: str) -> pl.DataFrame:
    from wiredoctor.tables import with_old_names

    return with_old_names(table, scan().collect())

"""A report reduced to what was asked for: hosts, ports, connections, a time span, a least confidence.

Everything was read and analysed all the same: ids, frames and findings are those of the whole.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from wiredoctor.findings import CONFIDENCES, Finding, LeftOut, RuleTotal, sum_totals, total_delay

if TYPE_CHECKING:
    import polars as pl

    from wiredoctor.findings import CaptureSummary, Confidence, Report, Unjudged

_SECOND = 1_000_000_000
FAR = 1e9
"""Seconds from a capture's first packet, 31 years: no packet is farther away."""

_FRACTION = re.compile(r"[.,]([0-9]+)")


class Moment(NamedTuple):
    """A bound of a time span, in nanoseconds since the first packet of a capture or since 1970."""

    nanoseconds: int
    absolute: bool

    @classmethod
    def parse(cls, text: str) -> Moment:
        """ "12.5" (seconds) or "2026-01-31T12:00:00.5Z"; raises ValueError on anything else. Without a zone it is UTC."""
        try:
            return cls(round(float(text) * _SECOND), absolute=False)
        except (ValueError, OverflowError):
            pass
        fraction = _FRACTION.search(text)
        moment = datetime.fromisoformat(_FRACTION.sub("", text, count=1))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
        rest = int(fraction[1].ljust(9, "0")[:9]) if fraction else 0
        return cls((since.days * 86400 + since.seconds) * _SECOND + rest, absolute=True)

    def since(self, first: int | None) -> int:
        """Nanoseconds since `first`, the time of a capture's first packet."""
        return self.nanoseconds - (first or 0) if self.absolute else self.nanoseconds


class Wanted(NamedTuple):
    """What to show. Several hosts, ports or connections are alternatives; different conditions must all hold."""

    hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    connections: tuple[int, ...] = ()
    begin: Moment | None = None
    end: Moment | None = None
    confidence: Confidence = "low"

    @property
    def places(self) -> bool:
        """Whether connections are to be left out for where or when they are."""
        return bool(self.hosts or self.ports or self.connections or self.begin or self.end)

    def __str__(self) -> str:
        """In words, empty where all is wanted."""
        parts = [
            *(f"host {h}" for h in self.hosts),
            *(f"port {p}" for p in self.ports),
            *(f"connection {c}" for c in self.connections),
        ]
        if self.begin or self.end:
            parts.append("the chosen time span")
        if self.confidence != "low":
            parts.append(f"confidence {self.confidence}" + (" or higher" if self.confidence != "high" else ""))
        return ", ".join(parts)


def address(text: str) -> str:
    """An IP address as reports write it, without a zone (RFC 4007: only the host that has it knows it); raises ValueError on
    anything else (names are not resolved)."""
    import ipaddress

    return ipaddress.ip_address(text.strip("[]").partition("%")[0]).compressed


def narrow(report: Report, wanted: Wanted) -> Report:
    """The report with what is wanted only; its counts and its delay are those of what is left."""
    if not wanted.places:
        return _sure(report, wanted.confidence)
    spans = {c.file: _span(c, wanted) for c in report.captures}
    servers = _servers_of(report, wanted.connections)
    findings = [f for f in report.findings if _concerns(f, wanted, spans, servers)]
    totals = sum_totals({f.rule: RuleTotal(1, f.delay or 0.0)} for f in findings)
    left = [one for one in report.not_judged if _concerns(one, wanted, spans, servers)]
    counts = Counter((one.capture, one.reason) for one in left)
    narrowed = replace(
        report, findings=findings, delay=total_delay(findings), totals=totals, not_judged=left, not_judged_counts={**counts}
    )  # fmt: skip
    _narrow_tables(report, narrowed, wanted, spans)
    return _sure(narrowed, wanted.confidence)


def _sure(report: Report, least: Confidence) -> Report:
    """The report with what is at least this sure."""
    sure = CONFIDENCES[: CONFIDENCES.index(least) + 1]
    unsure = [f for f in report.findings if f.confidence not in sure]
    if not unsure:
        return report
    findings = [f for f in report.findings if f.confidence in sure]
    said = LeftOut("confidence", least, len(unsure), tuple(sorted({f.rule for f in unsure})))
    return replace(report, findings=findings, delay=total_delay(findings), left_out=[*report.left_out, said])


def _narrow_tables(report: Report, narrowed: Report, wanted: Wanted, spans: dict[str, Span]) -> None:
    """Sets the scans of `narrowed` and their counts."""
    import polars as pl

    from wiredoctor.report.columns import Filtered

    if report.scan_connections is not None:
        narrowed.scan_connections = Filtered(report.scan_connections, lambda t: t.filter(_connection_wanted(wanted, spans)))
        narrowed.connection_count = narrowed.scan_connections().select(pl.len()).collect().item()
    if report.scan_exchanges is not None:
        narrowed.scan_exchanges = Filtered(report.scan_exchanges, _exchange_filter(report, wanted, spans))
        narrowed.exchange_count = narrowed.scan_exchanges().select(pl.len()).collect().item()


Span = tuple[float, float]


def _span(capture: CaptureSummary, wanted: Wanted) -> Span:
    """The wanted time span in nanoseconds since the first packet of this capture."""
    first = nanoseconds(capture.first_time)
    begin = wanted.begin.since(first) if wanted.begin else float("-inf")
    end = wanted.end.since(first) if wanted.end else float("inf")
    return begin, end


def seconds_in(capture: CaptureSummary, wanted: Wanted) -> tuple[float, float] | None:
    """The wanted time span in seconds since the first packet of a capture; None where all of it is wanted."""
    if not wanted.begin and not wanted.end:
        return None
    begin, end = _span(capture, wanted)
    return max(begin / _SECOND, -FAR), min(end / _SECOND, FAR)


def nanoseconds(time: str | None) -> int | None:
    """RFC 3339 with nine decimals -> nanoseconds since 1970."""
    if time is None:
        return None
    whole, _, fraction = time.removesuffix("Z").partition(".")
    since = datetime.fromisoformat(whole) - datetime(1970, 1, 1)
    return (since.days * 86400 + since.seconds) * _SECOND + int(fraction.ljust(9, "0")[:9] or 0)


def _servers_of(report: Report, connections: tuple[int, ...]) -> set[str]:
    """Server endpoints of the wanted connections: findings about an endpoint concern them."""
    if not connections or report.scan_connections is None:
        return set()
    import polars as pl

    chosen = report.scan_connections().filter(pl.col("connection").is_in(list(connections)))
    return set(chosen.select("server").collect().to_series().to_list())


def _concerns(f: Finding | Unjudged, wanted: Wanted, spans: dict[str, Span], servers: set[str]) -> bool:
    """Whether a finding is about something wanted. One about the whole capture always is: it says how far to trust the rest."""
    if f.connection is None and f.client is None and f.server is None:
        return True
    begin, end = spans.get(f.capture, (float("-inf"), float("inf")))
    last = max([f.elapsed, *(e.elapsed for e in f.evidence)]) if isinstance(f, Finding) else f.elapsed
    if last * _SECOND < begin or f.elapsed * _SECOND > end:
        return False
    if wanted.connections and f.connection not in wanted.connections and (f.connection is not None or f.server not in servers):
        return False
    sides = [_split(e) for e in (f.client, f.server) if e]
    if wanted.hosts and not any(host in wanted.hosts for host, _ in sides):
        return False
    return not wanted.ports or any(port in wanted.ports for _, port in sides)


def _split(endpoint: str) -> tuple[str, int | None]:
    """ "10.0.0.1:80", "[2001:db8::1]:80", or an address alone."""
    if endpoint.count(":") > 1 and not endpoint.startswith("["):
        return endpoint, None
    host, _, port = endpoint.rpartition(":") if ":" in endpoint else (endpoint, "", "")
    return host.strip("[]"), int(port) if port.isdecimal() else None


def _within(spans: dict[str, Span], start: pl.Expr, end: pl.Expr) -> pl.Expr:
    import polars as pl

    wanted = pl.lit(value=False)
    for capture, (begin, finish) in spans.items():
        wanted |= (pl.col("capture") == capture) & (end >= begin) & (start <= finish)
    return wanted


def _connection_wanted(wanted: Wanted, spans: dict[str, Span]) -> pl.Expr:
    import polars as pl

    keep = pl.lit(value=True)
    if wanted.begin or wanted.end:
        keep &= _within(spans, pl.col("start"), pl.col("end"))
    if wanted.connections:
        keep &= pl.col("connection").is_in(list(wanted.connections))
    if wanted.hosts:
        hosts = [pl.col(side).str.replace(r":\d+$", "").str.strip_chars("[]") for side in ("client", "server")]
        keep &= pl.any_horizontal(host.is_in(list(wanted.hosts)) for host in hosts)
    if wanted.ports:
        ports = [pl.col(side).str.extract(r":(\d+)$").cast(pl.Int64, strict=False) for side in ("client", "server")]
        keep &= pl.any_horizontal(port.is_in(list(wanted.ports)) for port in ports)
    return keep


def _exchange_filter(report: Report, wanted: Wanted, spans: dict[str, Span]) -> Callable[[pl.LazyFrame], pl.LazyFrame]:
    import polars as pl

    keep = pl.lit(value=True)
    if wanted.begin or wanted.end:
        times = [pl.col(f"{side}_{bound}") for side in ("request", "response") for bound in ("start", "end")]
        keep &= _within(spans, pl.min_horizontal(times), pl.max_horizontal(times))
    if wanted.connections:
        keep &= pl.col("connection").is_in(list(wanted.connections))
    if not (wanted.hosts or wanted.ports) or report.scan_connections is None:
        return lambda exchanges: exchanges.filter(keep)
    place = wanted._replace(begin=None, end=None)
    chosen = report.scan_connections().filter(_connection_wanted(place, spans)).select("capture", "connection").collect()
    return lambda exchanges: exchanges.filter(keep).join(
        chosen.lazy(), on=["capture", "connection"], how="semi", maintain_order="left"
    )

"""Reduce a report to the requested hosts, ports, connections, time span and confidence.

The report is filtered after the analysis of the complete capture, so ids, frame numbers and findings stay the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import polars as pl

from wiredoctor.findings import (
    CONFIDENCES,
    CaptureSummary,
    Confidence,
    Finding,
    Report,
    RuleTotal,
    Unjudged,
    sum_totals,
    total_delay,
)
from wiredoctor.report.columns import Filtered
from wiredoctor.report.exclude import leave_out
from wiredoctor.report.filter import FAR, Filter
from wiredoctor.text.durations import SECOND
from wiredoctor.text.time_of_day import DAY, nanoseconds


def filter_report(report: Report, wanted: Filter) -> Report:
    """Return the requested part of a report, with counts and lost time that cover only this part."""
    if not wanted.places:
        return _filter_by_confidence(report, wanted.confidence)
    spans = {c.file: _span(c, wanted) for c in report.captures}
    servers = _servers_of(report, wanted.connections)
    named = _find_named(report, wanted)
    active = _active(report, wanted, spans, named)
    findings = [f for f in report.findings if _concerns(f, wanted, spans, servers, named, active)]
    left = [one for one in report.not_judged if _concerns(one, wanted, spans, servers, named, active)]
    counts = Counter((one.capture, one.reason) for one in left)
    narrowed = replace(report, not_judged=left, not_judged_counts={**counts})
    _narrow_tables(report, narrowed, wanted, spans, named)
    if any(_misses_bytes(f) for f in findings) and not _loses_bytes(narrowed):
        findings = [f for f in findings if not _misses_bytes(f)]
    narrowed.findings, narrowed.delay = findings, total_delay(findings)
    narrowed.totals = sum_totals({f.rule: RuleTotal(1, f.delay or 0.0)} for f in findings)
    return _filter_by_confidence(narrowed, wanted.confidence)


def _active(report: Report, wanted: Filter, spans: dict[str, Span], named: Named) -> frozenset[tuple[str, int, int | None]]:
    """Return the exchanges, as (capture, connection, exchange), that have a finding and are active in the requested time span."""
    places = {(f.capture, f.connection, f.exchange) for f in report.findings if f.exchange is not None}
    if not (wanted.begin or wanted.end) or not places:
        return frozenset()
    keys = {"capture": pl.String(), "connection": pl.Int64(), "exchange": pl.Int64()}
    within = _exchange_filter(report, Filter(begin=wanted.begin, end=wanted.end), spans, named)(report.scan_exchanges())
    found = within.select(pl.col(name).cast(dtype) for name, dtype in keys.items())
    return frozenset(found.join(pl.LazyFrame([*places], keys, orient="row"), on=[*keys], how="semi").collect().iter_rows())


def _misses_bytes(finding: Finding) -> bool:
    return finding.rule == "capture-loss" and finding.kind is None


def _loses_bytes(report: Report) -> bool:
    """Return whether the capture lacks bytes or the beginning of any connection in the report."""
    if not report.captures:
        return True
    lost = pl.col("client_unseen_bytes") + pl.col("server_unseen_bytes") > 0
    rows = report.scan_connections().select((lost | pl.col("reuse_frame").is_not_null()).any())
    return bool(rows.collect().item())


def _filter_by_confidence(report: Report, least: Confidence) -> Report:
    """Return the report without findings whose confidence is lower than `least`."""
    sure = CONFIDENCES[: CONFIDENCES.index(least) + 1]
    return leave_out(report, "confidence", least, lambda finding: finding.confidence not in sure)


def _narrow_tables(report: Report, narrowed: Report, wanted: Filter, spans: dict[str, Span], named: Named) -> None:
    """Store the filtered tables of `report` in `narrowed`, together with their numbers of rows."""
    narrowed.scan_connections = Filtered(report.scan_connections, lambda t: t.filter(_connection_wanted(wanted, spans, named)))
    narrowed.connection_count = narrowed.scan_connections().select(pl.len()).collect().item()
    narrowed.scan_exchanges = Filtered(report.scan_exchanges, _exchange_filter(report, wanted, spans, named))
    narrowed.exchange_count = narrowed.scan_exchanges().select(pl.len()).collect().item()


Span = tuple[float, float]


def _span(capture: CaptureSummary, wanted: Filter) -> Span:
    """Return the requested time span in ns since the first packet of this capture."""
    first = nanoseconds(capture.first_time)
    begin = wanted.begin.since(first) if wanted.begin else float("-inf")
    end = wanted.end.since(first) if wanted.end else float("inf")
    if wanted.end and wanted.end.base == "midnight" and end < begin:
        end += DAY
    return begin, end


def seconds_in(capture: CaptureSummary, wanted: Filter) -> tuple[float, float] | None:
    """Return the requested time span in seconds since the first packet of a capture, or None if no span was requested."""
    if not wanted.begin and not wanted.end:
        return None
    begin, end = _span(capture, wanted)
    return max(begin / SECOND, -FAR), min(end / SECOND, FAR)


def _servers_of(report: Report, connections: tuple[int, ...]) -> set[str]:
    """Return the servers of the requested connections, so that findings about these servers are kept, too."""
    if not connections:
        return set()
    chosen = report.scan_connections().filter(pl.col("connection").is_in(list(connections)))
    return set(chosen.select("server").collect().to_series().to_list())


class Named(NamedTuple):
    """The exchanges and connections selected by requested names, and by requested addresses and ports after address translation.

    `rows` and `exchanges` contain the same keys: capture, connection and exchange. For a connection selected by TLS server name
    or endpoint, the exchange is null (in `rows`) or None. `connections` and `servers`: the connections and servers of these keys.
    If no names were requested, `rows` is None and these fields are empty. `at_port`: connections selected by a translated port.
    """

    rows: pl.DataFrame | None
    exchanges: frozenset[tuple[str, int, int | None]] = frozenset()
    connections: frozenset[tuple[str, int]] = frozenset()
    servers: frozenset[str] = frozenset()
    at_port: frozenset[tuple[str, int]] = frozenset()

    def concerns(self, one: Finding | Unjudged) -> bool:
        """Return whether a finding is about one of the selected exchanges or connections, or about one of their servers."""
        if one.connection is None:
            return one.server in self.servers
        if one.exchange is None or (one.capture, one.connection, None) in self.exchanges:
            return (one.capture, one.connection) in self.connections
        return (one.capture, one.connection, one.exchange) in self.exchanges


def _find_named(report: Report, wanted: Filter) -> Named:
    key, names = ["capture", "connection", "exchange"], wanted.names
    translated = any(capture.translations for capture in report.captures)
    at_port = frozenset[tuple[str, int]]()
    if wanted.ports and translated:
        some = report.scan_connections().filter(_has_port(wanted.ports, _TRANSLATED)).select(key[:2]).collect()
        at_port = frozenset(some.iter_rows())
    if not names and not (wanted.hosts and translated):
        return Named(None, at_port=at_port)
    by_host = report.scan_exchanges().filter(_is_named("request_host", names)).select(key)
    at_endpoint = pl.any_horizontal(pl.col("client", "server").is_in(list(names)))
    at_endpoint |= _has_address(wanted.hosts, _TRANSLATED)
    by_end = report.scan_connections().filter(_is_named("server_name", names) | at_endpoint)
    rows = pl.concat([by_host, by_end.select(*key[:2], pl.lit(None, pl.Int32).alias("exchange"))]).collect()
    connections = rows.select(key[:2]).unique()
    servers = report.scan_connections().join(connections.lazy(), on=key[:2], how="semi").select("server").unique().collect()
    return Named(rows, frozenset(rows.iter_rows()), frozenset(connections.iter_rows()), frozenset(servers["server"]), at_port)


def _is_named(column: str, names: tuple[str, ...]) -> pl.Expr:
    name = pl.col(column).str.to_lowercase()
    return (name.is_in(list(names)) | name.str.replace(r":\d+$", "").is_in(list(names))).fill_null(value=False)


def _concerns(
    f: Finding | Unjudged, wanted: Filter, spans: dict[str, Span], servers: set[str], named: Named,
    active: frozenset[tuple[str, int, int | None]],
) -> bool:  # fmt: skip
    """Return whether a finding concerns the requested part of the report.

    The result is true for findings that name no connection, client or server. A finding about an exchange in `active` concerns
    the requested time span even if its packets are outside of that span.
    """
    if f.connection is None and f.client is None and f.server is None:
        return True
    begin, end = spans.get(f.capture, (float("-inf"), float("inf")))
    moments = [f.elapsed, f.first_seen, *(e.elapsed for e in f.evidence)] if isinstance(f, Finding) else [f.elapsed]
    outside = max(moments) * SECOND < begin or min(moments) * SECOND > end
    if outside and (f.connection is None or (f.capture, f.connection, f.exchange) not in active):
        return False
    if wanted.connections and f.connection not in wanted.connections and (f.connection is not None or f.server not in servers):
        return False
    sides = [_split(e) for e in (f.client, f.server) if e]
    if (wanted.hosts or wanted.names) and not any(host in wanted.hosts for host, _ in sides) and not named.concerns(f):
        return False
    return not wanted.ports or any(port in wanted.ports for _, port in sides) or (f.capture, f.connection) in named.at_port


def _split(endpoint: str) -> tuple[str, int | None]:
    """Split an endpoint, such as "10.0.0.1:80" or "[2001:db8::1]:80", into address and port.

    An address alone is accepted, too; its port is None.
    """
    if endpoint.count(":") > 1 and not endpoint.startswith("["):
        return endpoint, None
    host, _, port = endpoint.rpartition(":") if ":" in endpoint else (endpoint, "", "")
    return host.strip("[]"), int(port) if port.isdecimal() else None


def _within(spans: dict[str, Span], start: pl.Expr, end: pl.Expr) -> pl.Expr:
    wanted = pl.lit(value=False)
    for capture, (begin, finish) in spans.items():
        wanted |= (pl.col("capture") == capture) & (end >= begin) & (start <= finish)
    return wanted


def _connection_wanted(wanted: Filter, spans: dict[str, Span], named: Named) -> pl.Expr:
    keep = pl.lit(value=True)
    if wanted.begin or wanted.end:
        keep &= _within(spans, pl.col("start"), pl.col("end"))
    if wanted.connections:
        keep &= pl.col("connection").is_in(list(wanted.connections))
    if wanted.hosts or wanted.names:
        keep &= _has_address(wanted.hosts) | _is_among(named.rows, ["capture", "connection"])
    if wanted.ports:
        keep &= _has_port(wanted.ports) | _has_port(wanted.ports, _TRANSLATED)
    return keep


_ENDS = ("client", "server")
_TRANSLATED = ("translated_client", "translated_server")


def _has_address(hosts: tuple[str, ...], ends: tuple[str, str] = _ENDS) -> pl.Expr:
    sides = [pl.col(side).str.replace(r":\d+$", "").str.strip_chars("[]") for side in ends]
    return pl.any_horizontal(side.is_in(list(hosts)).fill_null(value=False) for side in sides)


def _has_port(ports: tuple[int, ...], ends: tuple[str, str] = _ENDS) -> pl.Expr:
    sides = [pl.col(side).str.extract(r":(\d+)$").cast(pl.Int64, strict=False) for side in ends]
    return pl.any_horizontal(side.is_in(list(ports)).fill_null(value=False) for side in sides)


def _is_among(rows: pl.DataFrame | None, keys: list[str]) -> pl.Expr:
    """Return an expression that is true for rows whose keys are in `rows`."""
    if rows is None or not rows.height:
        return pl.lit(value=False)
    return pl.struct(keys).is_in(rows.select(pl.struct(keys).alias("key"))["key"].unique().implode())


def _exchange_filter(
    report: Report, wanted: Filter, spans: dict[str, Span], named: Named
) -> Callable[[pl.LazyFrame], pl.LazyFrame]:
    keep = pl.lit(value=True)
    if wanted.begin or wanted.end:
        from wiredoctor.report.exchange_times import capture_ends, wait_end

        times = [pl.col(f"{side}_{bound}") for side in ("request", "response") for bound in ("start", "end")]
        last = pl.max_horizontal(*times, wait_end(capture_ends(report)))  # an exchange is active while its client waits
        keep &= _within(spans, pl.min_horizontal(times), last)
    if wanted.connections:
        keep &= pl.col("connection").is_in(list(wanted.connections))
    if wanted.request_id:
        keep &= pl.col("request_id").str.contains(wanted.request_id, literal=True)
    if not (wanted.hosts or wanted.names or wanted.ports):
        return lambda exchanges: exchanges.filter(keep)
    # a connection may carry requests for several hosts, so a Host field alone does not select the connection
    whole = named._replace(rows=None if named.rows is None else named.rows.filter(pl.col("exchange").is_null()))
    place = wanted._replace(begin=None, end=None)
    scan = report.scan_connections().select("capture", "connection", *_ENDS, *_TRANSLATED)
    chosen = scan.filter(_connection_wanted(place, spans, whole)).select("capture", "connection").collect()
    of_connection = _is_among(chosen, ["capture", "connection"])
    if named.rows is None:
        return lambda exchanges: exchanges.filter(keep).join(
            chosen.lazy(), on=["capture", "connection"], how="semi", maintain_order="left"
        )
    by_host = named.rows.filter(pl.col("exchange").is_not_null())
    if wanted.ports:
        at_port = scan.filter(_connection_wanted(place._replace(hosts=(), names=()), spans, named)).collect()
        by_host = by_host.join(at_port, on=["capture", "connection"], how="semi")
    return lambda exchanges: exchanges.filter(keep & (of_connection | _is_among(by_host, ["capture", "connection", "exchange"])))

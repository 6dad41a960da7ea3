"""How far a report reaches: which rules had something to look at and found nothing, what could not be judged and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import polars as pl

    from wiredoctor.findings import Report

_ABOUT_HTTP = ("exchanges", "messages", "bursts", "faults")
"""Tables that have rows only where HTTP was seen."""

Thing = Literal["connections", "exchanges", "rules"]


@dataclass(frozen=True)
class NotJudged:
    """Some of the connections, exchanges or rules, and why nothing, or less, can be said of them."""

    what: Thing
    count: int
    reason: str


_CONNECTIONS = {
    "tls": "TLS, not decrypted: whatever HTTP is in it is not read",
    "http2": "HTTP/2, which is not read",
    "unknown": "neither HTTP/1.x nor TLS: only the timing was looked at",
    "none": "carried no data",
    "one_sided": "only one direction was captured: nothing that needs both was judged",
    "unseen": "bytes are missing from the capture: findings that touch such a place have low confidence",
    "late": "began before the capture, without the handshake: round trips are less sure, and confidence is medium at most",
}
_EXCHANGES = {
    "unanswered": "no response in the capture",
    "unasked": "no request in the capture, which began later or lost it",
}


def healthy(report: Report) -> list[str]:
    """The rules that had something to look at and found nothing, by name, in the order of the rules."""
    found = {f.rule for f in report.findings}.union(*(left.rules for left in report.left_out))
    return [name for name, rule in report.checked.items() if name not in found and _had_rows(report, rule.table)]


def _had_rows(report: Report, table: str) -> bool:
    if table in _ABOUT_HTTP:
        return report.exchange_count > 0
    return report.connection_count > 0 or table == "captures"


def not_judged(report: Report) -> list[NotJudged]:
    """What could not be judged, or not fully: connections, then exchanges, then rules."""
    idle = sum(not _had_rows(report, rule.table) for rule in report.checked.values())
    why = "no HTTP exchange was seen" if report.connection_count else "no TCP connection was seen"
    places = _of_connections(report) + _of_exchanges(report)
    return [*places, NotJudged("rules", idle, f"{why}, so that there was nothing to check")] if idle else places


def _of_connections(report: Report) -> list[NotJudged]:
    if report.scan_connections is None or not report.connection_count:
        return []
    import polars as pl

    c = pl.col
    one_sided = (c("client_packets") == 0) | (c("server_packets") == 0)
    flags = {
        **{name: c("protocol") == name for name in ("tls", "http2", "unknown", "none")},
        "one_sided": one_sided & (c("protocol") != "none"),
        "unseen": ~one_sided & (c("client_unseen_bytes") + c("server_unseen_bytes") > 0),
        "late": ~one_sided & ~c("handshake") & (c("protocol") == "http"),
    }
    return _counted("connections", report.scan_connections(), flags, _CONNECTIONS)


def _of_exchanges(report: Report) -> list[NotJudged]:
    if report.scan_exchanges is None or not report.exchange_count:
        return []
    import polars as pl

    flags = {"unanswered": ~pl.col("has_response"), "unasked": ~pl.col("has_request")}
    return _counted("exchanges", report.scan_exchanges(), flags, _EXCHANGES)


def _counted(what: Thing, table: pl.LazyFrame, flags: dict[str, pl.Expr], reasons: dict[str, str]) -> list[NotJudged]:
    counts = table.select(flag.sum().alias(name) for name, flag in flags.items()).collect().row(0, named=True)
    return [NotJudged(what, counts[name], reason) for name, reason in reasons.items() if counts[name]]

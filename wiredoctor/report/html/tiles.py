"""Compute the numbers at the top of a page: requests, failures, server times, time lost by cause, and 5xx by server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from wiredoctor.report.failed_requests import knows_failures
from wiredoctor.report.server_statistics import ServerStatistics, overall_statistics, server_statistics
from wiredoctor.report.words import clean, duration

if TYPE_CHECKING:
    from wiredoctor.findings import Report

MOST_CAUSES, MOST_SERVERS, MOST_ROWS = 5, 4, 100


class Cause(NamedTuple):
    """A rule and the time lost by its findings. `percent`: of all time lost; `color`: of its part of the bar."""

    rule: str
    lost: str
    percent: float
    color: int


class ServerRow(NamedTuple):
    """A line of the table of servers."""

    name: str
    names: str
    cells: tuple[str, ...]
    is_failing: bool


@dataclass(frozen=True)
class Tiles:
    """The numbers as texts. `errors`: servers with responses of 500 and above."""

    requests: str
    failed: str
    percent: str
    is_failing: bool
    times: tuple[tuple[str, str], ...]
    lost: str
    causes: tuple[Cause, ...]
    errors: tuple[tuple[str, str], ...]
    more_errors: int
    servers: tuple[ServerRow, ...]
    more_servers: int


HEADINGS = ("Requests", "Failed", "4xx", "5xx", "p50", "p95", "p99", "Max", "Time lost", "Connections")
"""The headings of ServerRow.cells."""


def find_tiles(report: Report) -> Tiles | None:
    """Return the tiles; None without exchanges."""
    whole = overall_statistics(report) if report.exchange_count else None
    if whole is None:
        return None
    servers = server_statistics(report)
    failing = [one for one in servers if one.server_errors]
    failing.sort(key=lambda one: -one.server_errors)
    return Tiles(
        requests=f"{whole.requests:,}",
        failed=_failed(whole.failed, certain=knows_failures(report)),
        percent=_percent(whole.failed, whole.requests),
        is_failing=whole.failed > 0,
        times=(("p50", _time(whole.p50)), ("p95", _time(whole.p95)), ("p99", _time(whole.p99))),
        lost=duration(report.delay) if report.delay else "",
        causes=_causes(whole),
        errors=tuple((clean(one.key), f"{one.server_errors:,}") for one in failing[:MOST_SERVERS]),
        more_errors=max(0, len(failing) - MOST_SERVERS),
        servers=tuple(map(_row, servers[:MOST_ROWS])),
        more_servers=max(0, len(servers) - MOST_ROWS),
    )


def _failed(number: int, *, certain: bool) -> str:
    return f"{number:,}" if certain else f"≥ {number:,}" if number else "-"


def _percent(part: int, of: int) -> str:
    if not part or not of:
        return ""
    share = 100 * part / of
    return "<1 %" if share < 1 else f"{min(share, 99) if part < of else 100:.0f} %"


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)


def _causes(whole: ServerStatistics) -> tuple[Cause, ...]:
    """Return the costliest rules, and all others as one."""
    costs = [*whole.lost.items()]
    shown = costs[:MOST_CAUSES] if len(costs) > MOST_CAUSES + 1 else costs
    rest = sum(lost for _, lost in costs[len(shown) :])
    shown = [*shown, *([(f"{len(costs) - len(shown)} other rules", rest)] if rest else [])]
    total = sum(lost for _, lost in shown) or 1.0
    return tuple(Cause(rule, duration(lost), 100 * lost / total, color) for color, (rule, lost) in enumerate(shown))


def _row(one: ServerStatistics) -> ServerRow:
    def number(value: int) -> str:
        return f"{value:,}" if value else "-"

    cells = (
        *(f"{one.requests:,}", number(one.failed), number(one.client_errors), number(one.server_errors)),
        *(_time(value) for value in (one.p50, one.p95, one.p99, one.longest)),
        *(_time(one.time_lost or None), f"{one.connections:,}"),
    )
    return ServerRow(one.key or "(none)", ", ".join(one.names), cells, one.failed > 0)

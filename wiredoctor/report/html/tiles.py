"""Compute the numbers at the top of a page: requests, failures, server times, time lost by cause, and 5xx by server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from wiredoctor.findings import Report
from wiredoctor.report.failed_requests import knows_failures
from wiredoctor.report.server_statistics import FEWEST, ServerStatistics, overall_statistics, worth_listing
from wiredoctor.report.words import clean, count, duration, duration_or_dash

MAX_CAUSES, MAX_SERVERS, MAX_ROWS = 5, 4, 100


class Cause(NamedTuple):
    """A rule and the time that its findings cost. `percent`: the percentage of all time lost. `color`: the index of the rule's
    color.
    """

    rule: str
    lost: str
    percent: float
    color: int


class ServerRow(NamedTuple):
    """A row of the table of servers. `cells`: the text for each heading. `bad`: headings whose texts are shown as failures."""

    name: str
    names: str
    cells: Mapping[str, str]
    bad: frozenset[str]


@dataclass(frozen=True)
class Servers:
    """The table of servers. `headings`: the columns that have values, in order. `left_out`: the number of servers omitted."""

    headings: tuple[str, ...]
    rows: tuple[ServerRow, ...]
    left_out: int


@dataclass(frozen=True)
class Tiles:
    """The numbers at the top of a page, as texts.

    `requests`, `failed`: the number of all requests and of failed requests. `percent`: the percentage of failed requests.
    `times`: the names and values of server times. `lost`: the time lost. `causes`: the rules that cost the most time. `errors`:
    servers and their numbers of responses with a status of 500 or above. `more_errors`: the number of servers with such responses
    that are not in `errors`.
    """

    requests: str
    failed: str
    percent: str
    is_failing: bool
    times: tuple[tuple[str, str], ...]
    lost: str
    causes: tuple[Cause, ...]
    errors: tuple[tuple[str, str], ...]
    more_errors: int


NOT_USABLE = "No connection"
_ONLY_WITH_VALUES = (NOT_USABLE, "4xx", "5xx", "p50", "p95", "p99", "Max", "Time lost")


def find_servers(report: Report, servers: Sequence[ServerStatistics]) -> Servers | None:
    """Return the table of servers; None if there are neither exchanges nor failed connections."""
    if not report.exchange_count and not any(one.unusable_connections for one in servers):
        return None
    rows = tuple(map(_row, servers[:MAX_ROWS]))
    empty = {name for name in _ONLY_WITH_VALUES if all(row.cells[name] == "-" for row in rows)}
    return Servers(tuple(name for name in rows[0].cells if name not in empty), rows, max(0, len(servers) - MAX_ROWS))


def find_tiles(report: Report, servers: Sequence[ServerStatistics]) -> Tiles | None:
    """Return the tiles; None if there are no exchanges."""
    whole = overall_statistics(report) if report.exchange_count else None
    if whole is None:
        return None
    failing = [one for one in servers if one.server_errors]
    failing.sort(key=lambda one: -one.server_errors)
    return Tiles(
        requests=f"{whole.requests:,}",
        failed=_failed(whole.failed, certain=knows_failures(report)),
        percent=_percent(whole.failed, whole.requests),
        is_failing=whole.failed > 0,
        times=_times(whole),
        lost=duration(report.delay) if report.delay else "",
        causes=_causes(whole),
        errors=tuple((clean(one.key), f"{one.server_errors:,}") for one in failing[:MAX_SERVERS]),
        more_errors=max(0, len(failing) - MAX_SERVERS),
    )


def _times(one: ServerStatistics) -> tuple[tuple[str, str], ...]:
    """Return names and values: the percentiles for which there are enough server times, and the slowest time.

    If there are too few server times for a median, return the fastest and the slowest time. If there are fewer than two, return
    the number of responses and the slowest time.
    """
    if one.timed < 2:
        return ((count(one.timed, "response"), duration_or_dash(one.longest)),)
    if "p50" not in (shown := one.percentiles):
        return (("fastest", duration_or_dash(one.p50)), ("slowest", duration_or_dash(one.longest)))
    return (*((name, duration_or_dash(value)) for name, value in shown.items()), ("slowest", duration_or_dash(one.longest)))


def _failed(number: int, *, certain: bool) -> str:
    return f"{number:,}" if certain else f"≥ {number:,}" if number else "-"


def _percent(part: int, of: int) -> str:
    if not part or not of:
        return ""
    share = 100 * part / of
    return "<1 %" if share < 1 else f"{min(share, 99) if part < of else 100:.0f} %"


def _causes(whole: ServerStatistics) -> tuple[Cause, ...]:
    """Return the rules that cost the most time. The last element combines all other rules."""
    costs = [*worth_listing(whole.lost, whole.time_lost).items()]
    shown = costs[:MAX_CAUSES] if len(costs) > MAX_CAUSES + 1 else costs
    rest = sum(lost for _, lost in costs[len(shown) :])
    shown = [*shown, *([(f"{len(costs) - len(shown)} other rules", rest)] if rest else [])]
    total = sum(lost for _, lost in shown) or 1.0
    return tuple(Cause(rule, duration(lost), 100 * lost / total, color) for color, (rule, lost) in enumerate(shown))


def _row(one: ServerStatistics) -> ServerRow:
    def number(value: int) -> str:
        return f"{value:,}" if value else "-"

    cells = {
        "Requests": f"{one.requests:,}",
        "Failed": number(one.failed),
        NOT_USABLE: number(one.unusable_connections),
        "4xx": number(one.client_errors),
        "5xx": number(one.server_errors),
        **{name: duration_or_dash(one.percentiles.get(name)) for name in FEWEST},
        "Max": duration_or_dash(one.longest),
        "Time lost": duration_or_dash(one.time_lost or None),
        "Connections": f"{one.connections:,}",
    }
    bad = {"Failed": one.failed, NOT_USABLE: one.failed_connections, "5xx": one.server_errors}
    return ServerRow(one.key or "(none)", ", ".join(one.names), cells, frozenset(name for name, failed in bad.items() if failed))

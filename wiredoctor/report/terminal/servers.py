"""List servers, one per line: requests, failures, response times, and the causes of lost time."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from wiredoctor.findings import Report, host
from wiredoctor.report.fields import Field, footer, heading, no_room, paint, width
from wiredoctor.report.row_choice import Grouping, ServerOrder
from wiredoctor.report.server_statistics import (
    FEWEST,
    ServerStatistics,
    forwarded_requests,
    overall_statistics,
    unusable_connections,
    worth_listing,
)
from wiredoctor.report.terminal.lines import NARROWEST
from wiredoctor.report.terminal.sentences import SECRETS
from wiredoctor.report.words import clean, count, duration, duration_or_dash, shorten

if TYPE_CHECKING:
    from wiredoctor.report.terminal.terminal import Terminal

_STREAM_TIMES = {
    "event p50": "first_event_p50", "event p95": "first_event_p95", "gap p50": "gap_p50", "gap p95": "gap_p95",
}  # fmt: skip
"""The columns about event streams, and the fields of StreamStatistics that they show."""
_LEFT_OUT_FIRST = (
    "lost to",
    "req/conn",
    "conns",
    "gap p95",
    "event p95",
    "p99",
    "fail%",
    "4xx",
    "5xx",
    "gap p50",
    "event p50",
    "p95",
    "name",
    "p50",
)
_ONLY_WITH_VALUES = ("fail%", "no conn", "4xx", "5xx", "p50", "p95", "p99", "max", *_STREAM_TIMES, "lost to")
_LEAST_KEY = {Grouping.server: 21, Grouping.client: 21, Grouping.host: 28, Grouping.path: 32}
"""The minimum width of the first column in characters: enough for an IPv4 address with a port, or to recognize a host or path."""
_READABLE_NAME, _LEAST_NAME = 18, 10
"""Two minimum widths of the column `name`. The smaller one applies if leaving out other columns does not make enough room."""

_PAGE = 40
"""The maximum number of lines for all causes of lost time. If more are needed, each server gets one line with the causes that
fit.
"""

_TIED = "\xa0"

_FAILED = "failed: requests without a complete response, or with an error from a gateway itself (wiredoctor analyze says why)"
_TIMES = "p50 to max: from the end of a request to its response"
_EVENTS = "event, gap: of event streams, the time to the first event, and each stream's median gap between events"
_TOO_FEW = f"p50, p95 and p99 need {', '.join(map(str, [*FEWEST.values()][:-1]))} and {FEWEST['p99']} responses"
_NO_CONNECTION = "no conn: connections that were never established, or that failed before a request"
_NAMES = {Grouping.server: "host", Grouping.client: "server"}
_ORDERS = {
    ServerOrder.failed: "most failures first",
    ServerOrder.requests: "most requests first",
    ServerOrder.lost: "most time lost first",
    ServerOrder.names: "by name",
}


def write(
    report: Report, statistics: Sequence[ServerStatistics], out: TextIO, paper: Terminal,
    *, by: Grouping, top: int | None = None, order: ServerOrder = ServerOrder.failed,
) -> None:  # fmt: skip
    """Write the first `top` rows of the table, then a note about what was omitted.

    `order`: the order in which `statistics` is already sorted.
    """
    if report.secrets:
        out.write(f"{SECRETS}\n")
    if not statistics:
        out.write("No TCP connection was seen.\n")
        return
    whole = sum(one.time_lost for one in statistics)
    shown = statistics[:top]
    listed = [one._replace(lost=costs) for one in shown if (costs := worth_listing(one.lost, whole))]
    lines = [_cells(one) | {"lost to": _causes(worth_listing(one.lost, whole))} for one in shown]
    fields = _fields(lines, by, order, max(paper.width, NARROWEST))
    out.write(paint(heading(list(fields.values())), "bold", color=paper.color) + "\n")
    for one, cells in zip(shown, lines, strict=True):
        texts = cells | {"name": _fitting_names(one, fields["name"].width, paper)[0]} if "name" in fields else cells
        text = " ".join(field.pad(shorten(texts[name], field.width, paper.gap)) for name, field in fields.items()).rstrip()
        out.write(
            paint(text, "red" if one.failed or one.failed_connections or one.server_errors else "", color=paper.color) + "\n"
        )
    room = max(paper.width, NARROWEST)
    forwarded = forwarded_requests(report)
    totals = _totals(statistics, len(shown), by, forwarded, order, overall_statistics(report) if forwarded else None)
    if by in {Grouping.host, Grouping.path} and (unusable := sum(unusable_connections(report).values())):
        totals += f"; {count(unusable, 'connection')} failed before a request (for the servers, see wiredoctor servers)"
    more = max((_fitting_names(one, fields["name"].width, paper)[1] for one in shown), default=0) if "name" in fields else 0
    legends = (
        (_FAILED, any(one.failed for one in shown)),
        (_NO_CONNECTION, "no conn" in fields),
        (_TIMES, any(one.longest is not None for one in shown)),
        (_EVENTS, any(name in fields for name in _STREAM_TIMES)),
        (f"+{more}: {count(more, 'more name')}", more > 0),
        (_TOO_FEW, any(one.timed and len(one.percentiles) < len(FEWEST) for one in shown)),
    )
    out.write(footer([totals, "; ".join(text for text, needed in legends if needed)], room))
    if "lost to" not in fields and listed:
        out.write("Time lost:\n")
        causes = [line for one in listed for line in _all_causes(one, room, paper)]
        is_long = len(causes) > _PAGE
        if is_long:
            causes = [_fitting_causes(one, room, paper) for one in listed]
        out.writelines(f"{line}\n" for line in causes)
        if is_long:
            out.write(footer(["To see all causes, show fewer lines with --top, or use --format json."], room))
    there = {name for cells in lines for name, text in cells.items() if text}
    missing = [name for name in _LEFT_OUT_FIRST if name in there - {*fields, *_without_values(lines), "lost to"}]
    if missing:
        names = [_NAMES.get(by, name) if name == "name" else name for name in missing]
        out.write(footer([no_room(names)], room))


def _cells(one: ServerStatistics) -> dict[str, str]:
    return {
        "key": clean(one.key) or "(none)",
        "name": ", ".join(_names(one)),
        "requests": f"{one.requests:,}",
        "failed": f"{one.failed:,}" if one.failed else "-",
        "fail%": _share(one.failed, one.requests),
        "no conn": f"{one.unusable_connections:,}" if one.unusable_connections else "-",
        "4xx": f"{one.client_errors:,}" if one.client_errors else "-",
        "5xx": f"{one.server_errors:,}" if one.server_errors else "-",
        **{name: duration_or_dash(one.percentiles.get(name)) for name in FEWEST},
        "max": duration_or_dash(one.longest),
        **{name: _stream_time(one, field) for name, field in _STREAM_TIMES.items()},
        "lost": duration_or_dash(one.time_lost or None),
        "conns": f"{one.connections:,}",
        "req/conn": "-" if one.requests_per_connection is None else f"{one.requests_per_connection:.1f}",
    }


def _stream_time(one: ServerStatistics, field: str) -> str:
    has_enough = one.streams.streams >= FEWEST[field.rpartition("_")[2]]
    return duration_or_dash(getattr(one.streams, field) if has_enough else None)


def _names(one: ServerStatistics) -> list[str]:
    """Return the names of a server, except those that only repeat its address."""
    return [clean(name) for name in one.names if name != one.key and name.strip("[]") != host(one.key)]


def _fitting_names(one: ServerStatistics, room: int, paper: Terminal) -> tuple[str, int]:
    """Return a text with the names that fit and the number of omitted names ("a.example +2"), and that number separately.

    At least one name is returned, shortened if necessary. If there are none, return "" and 0.
    """
    names = _names(one)
    for number in range(len(names), 0, -1):
        left = len(names) - number
        more = f" +{left}" if left else ""
        text = ", ".join(names[:number])
        if len(text) + len(more) <= room or number == 1:
            return shorten(text, room - len(more), paper.gap) + more, left
    return "", 0


def _share(part: int, whole: int) -> str:
    """Format a share as a percentage: "-" for nothing, "<1%" for less than 1 %, and "100%" only for everything."""
    if not part or not whole:
        return "-"
    percent = 100 * part / whole
    if percent < 1:
        return "<1%"
    return f"{min(percent, 99) if part < whole else percent:.0f}%"


def _without_values(lines: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the names of the columns that are left out because they have no value in any line."""
    return [name for name in _ONLY_WITH_VALUES if all(cells[name] in ("", "-") for cells in lines)]


def _all_causes(one: ServerStatistics, room: int, paper: Terminal) -> list[str]:
    """Return wrapped lines with the time that each cause cost at one server, the costliest cause first."""
    causes = ", ".join(f"{rule} {duration(seconds)}".replace(" ", _TIED) for rule, seconds in one.lost.items())
    start = f"  {shorten(clean(one.key), room // 2, paper.gap)}: "
    lines = textwrap.wrap(causes, room, initial_indent=start, subsequent_indent=" " * 4, break_on_hyphens=False)
    return [line.replace(_TIED, " ") for line in lines]


def _fitting_causes(one: ServerStatistics, room: int, paper: Terminal) -> str:
    """Return a line with the costliest causes that fit, and the number of the others."""
    causes = [f"{rule} {duration(seconds)}" for rule, seconds in one.lost.items()]
    start = f"  {shorten(clean(one.key), room // 2, paper.gap)}: "
    for shown in range(len(causes), 0, -1):
        more = f", {len(causes) - shown} more" if shown < len(causes) else ""
        if len(line := start + ", ".join(causes[:shown]) + more) <= room:
            return line
    return f"{start}{len(causes)} rules"


def _causes(lost: Mapping[str, float]) -> str:
    return ", ".join(f"{rule} {duration(seconds)}" for rule, seconds in lost.items())


def _fields(lines: Sequence[Mapping[str, str]], by: Grouping, order: ServerOrder, room: int) -> dict[str, Field]:
    """Return the columns that fit in `room`. Texts are shortened first, down to a minimum; then columns are left out.

    The column by which the list is sorted is never left out.
    """
    left = {"key": by.value, "name": _NAMES.get(by, ""), "lost to": "lost to"}
    headings = {**left, "lost": "time lost"}
    widths = {name: max(len(headings.get(name, name)), *(len(cells[name]) for cells in lines)) for name in lines[0]}
    fields = {name: Field(headings.get(name, name), size, right=name not in left) for name, size in widths.items()}
    if by not in _NAMES or not any(cells["name"] for cells in lines):
        del fields["name"]
    for name in _without_values(lines):
        del fields[name]
    every = dict(fields)
    for name in _LEFT_OUT_FIRST:
        least = {"key": _LEAST_KEY[by], "name": _LEAST_NAME if name in ("name", "p50") else _READABLE_NAME}
        if width([*_shrunk(fields, room, least).values()]) > room and name in fields and name != order:
            del fields[name]
    least = {"key": _LEAST_KEY[by], "name": _READABLE_NAME}
    for name in reversed(_LEFT_OUT_FIRST):
        wider = {one: field for one, field in every.items() if one in fields or one == name}
        if width([*_shrunk(wider, room, least).values()]) <= room:
            fields = wider
    return _shrunk(fields, room, least | {"name": _LEAST_NAME})


def _shrunk(fields: Mapping[str, Field], room: int, least: Mapping[str, int]) -> dict[str, Field]:
    """Return the columns after making some of them narrower until all fit in `room` characters.

    `least`: the minimum widths of the columns that may become narrower.
    """
    fields = dict(fields)
    while (excess := width(list(fields.values())) - room) > 0:
        longer = [name for name in least if name in fields and fields[name].width > least[name]]
        if not longer:
            break
        name = max(longer, key=lambda name: fields[name].width)
        fields[name] = Field(fields[name].heading, max(least[name], fields[name].width - excess), right=False)
    return fields


def _totals(
    statistics: Sequence[ServerStatistics],
    shown: int,
    by: Grouping,
    forwarded: int,
    order: ServerOrder,
    of_clients: ServerStatistics | None,
) -> str:
    groups = count(len(statistics), by.value)
    if len(statistics) > 1:
        is_too_few = order in FEWEST and not any(order in one.percentiles for one in statistics)
        longest = f"longest max first (too few responses for {order})" if is_too_few else f"longest {order} first"
        groups += f", {_ORDERS.get(order, longest)}"
    more = f", {len(statistics) - shown:,} not shown" if shown < len(statistics) else ""
    requests, failed = sum(one.requests for one in statistics), sum(one.failed for one in statistics)
    errors = sum(one.server_errors for one in statistics)
    twice = f" ({forwarded:,} of them forwarded by a gateway, so counted twice)" if forwarded else ""
    failures = (f", {failed:,} failed" if failed else "") + (f"; {count(errors, 'response')} with 5xx" if errors else "")
    apart = ""
    if of_clients is not None:
        apart = (
            f"; {of_clients.failed:,} of {count(of_clients.requests, 'request')} failed "
            "if each request counts once, as in analyze"
        )
    return f"{groups}{more}; {count(requests, 'request')}{twice}{failures}{apart}"

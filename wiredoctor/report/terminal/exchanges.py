"""Every exchange on a line, with its waterfall: how long the request, the server and the response took, to scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import polars as pl

from wiredoctor.report import limited
from wiredoctor.report.columns import batches, escaped
from wiredoctor.report.fields import Field, heading, paint
from wiredoctor.report.ordered import Ordered, Spool, in_memory
from wiredoctor.report.terminal.lines import Encoded, add_titles
from wiredoctor.report.terminal.sentences import SECRETS
from wiredoctor.report.terminal.terminal import Paper
from wiredoctor.report.words import count, duration, shorten, size

if TYPE_CHECKING:
    from wiredoctor.findings import Report

_SECOND = 1e9
_PHASES: tuple[str, ...] = ("request", "server", "response")
_STYLES = {"request": "blue", "server": "yellow", "response": "green"}
_TIMES = [f"{phase}_time" for phase in _PHASES]
_COLUMNS = [
    *("capture", "connection", "exchange", "has_request", "has_response", "request_frame", "response_frame"),
    *("request_method", "request_target", "response_status", "response_body_bytes", *_TIMES, *limited.COLUMNS),
]
_LIMITED = Field("limited by", 16, right=False)
"""Its column is there if any response was long."""


@dataclass(frozen=True)
class _Layout:
    """Widths, and what one character of a bar is worth."""

    fields: tuple[Field, ...]
    bar: int
    step: float
    paper: Paper
    signs: dict[str, str]


def write(report: Report, out: TextIO, paper: Paper, *, spool: Spool = in_memory) -> None:
    """A line per exchange in the order of their first frames; `!` marks those that a finding speaks of."""
    if report.secrets:
        out.write(f"{SECRETS}\n")
    layout = _layout(report, paper)
    if layout is None:
        out.write("No HTTP exchange was seen.\n")
        return
    marked = {(f.capture, f.connection, f.exchange) for f in report.findings if f.exchange is not None}
    out.writelines(_legend(layout))
    lines = Ordered(spool)
    headings = heading([*layout.fields, Field("time", layout.bar, right=False)])
    places = add_titles(lines, report, paint(headings, "bold", color=paper.color))
    for batch in batches(report.scan_exchanges, _COLUMNS):
        _add(lines, batch, places, layout, marked)
    lines.write(Encoded(out))
    out.write(count(report.exchange_count, "HTTP exchange"))
    out.write(", ! = a finding speaks of it (wiredoctor analyze)\n" if marked else "\n")


def _layout(report: Report, paper: Paper) -> _Layout | None:
    """Column widths from the largest numbers there are; the scale from the longest exchange, outliers aside."""
    if report.scan_exchanges is None:
        return None
    total = pl.sum_horizontal(pl.col(_TIMES).fill_null(0))
    numbers = report.scan_exchanges().select(
        frame=pl.max_horizontal("request_frame", "response_frame").max(),
        connection=pl.col("connection").max(),
        exchange=pl.col("exchange").max(),
        longest=total.max(),
        limited=pl.col(limited.COLUMNS[-1]).is_not_null().any(),
        usual=pl.max_horizontal(4 * total.median(), 1.25 * total.quantile(0.9)),
    )
    frame, connection, exchange, longest, is_limited, usual = numbers.collect().row(0)
    if connection is None:
        return None
    fixed = [Field("frame", max(5, len(str(frame or 0)))), Field("exch", max(4, len(f"{connection}#{exchange}")))]
    rest = [Field("code", 4), Field("size", 6), *(Field(name, 6) for name in ("req.", "server", "resp."))]
    rest += [_LIMITED] if is_limited else []
    room = max(paper.width, 80) - sum(f.width + 1 for f in (*fixed, *rest)) - 3
    bar = max(10, min(40, room // 3))
    fields = (Field("", 1), *fixed, Field("request", max(12, room - bar - 1), right=False), *rest)
    full = min(longest, usual) if usual else longest
    signs = dict(zip(_PHASES, "▒░█" if paper.unicode else ">.#", strict=True))
    return _Layout(fields, bar, max(full, 1) / bar, paper, signs)


def _legend(layout: _Layout) -> Iterator[str]:
    signs = [f"{paint(layout.signs[p] * 3, _STYLES[p], color=layout.paper.color)} {p}" for p in _PHASES]
    yield f"{'  '.join(signs)}  (one sign = {duration(layout.step / _SECOND)}; + = longer)\n"


def _add(lines: Ordered, batch: pl.DataFrame, places: dict[str, int], layout: _Layout, marked: set[tuple[Any, ...]]) -> None:
    shown = batch.select(
        pl.col("capture").replace_strict(places, default=len(places), return_dtype=pl.Int64).alias("place"),
        pl.coalesce("request_frame", "response_frame", pl.lit(0)).alias("frame"),
        pl.col("exchange").cast(pl.Int64),
        pl.col("capture", "connection", "has_request", "has_response", "response_status", "response_body_bytes"),
        escaped("request_method") + " " + escaped("request_target"),
        *_TIMES,
        *limited.COLUMNS,
    ).sort("place", "frame", "exchange")
    text = "".join(_line(row, layout, marked) for row in shown.iter_rows())
    place, frame, exchange = (shown.get_column(c).to_numpy() for c in ("place", "frame", "exchange"))
    lines.add((place, frame, exchange), text.encode())


def _line(row: tuple[Any, ...], layout: _Layout, marked: set[tuple[Any, ...]]) -> str:
    _, frame, exchange, capture, connection, has_request, has_response, status, body, request, *rest = row
    times, limits = rest[: len(_TIMES)], rest[len(_TIMES) :]
    cells = (
        "!" if marked and (capture, connection, exchange) in marked else "",
        str(frame or "-"),
        f"{connection}#{exchange}",
        _short(request, layout) if has_request else "(no request)",
        str(status or "-") if has_response else "-",
        size(body or 0, "") if has_response else "-",
        *("-" if t is None else duration(t / _SECOND, "") for t in times),
        *([*limited.shares(limits, short=True), ""][:1] if _LIMITED in layout.fields else []),
    )
    text = " ".join(map(Field.fit, layout.fields, cells))
    return f"{text} {_bar(times, layout)}".rstrip() + "\n"


def _short(request: str, layout: _Layout) -> str:
    """The query goes first, then the middle of the path."""
    width, gap = layout.fields[3].width, layout.paper.gap
    if len(request) <= width:
        return request
    path, mark, _ = request.partition("?")
    return f"{path}?{gap}" if mark and len(path) + 1 + len(gap) <= width else shorten(path, width, gap)


def _bar(times: list[int | None], layout: _Layout) -> str:
    """Each phase ends where the sum so far ends, so that rounding never adds up; what is short of half a sign stays unseen."""
    pieces: list[str] = []
    drawn, so_far = 0, 0
    for phase, time in zip(_PHASES, times, strict=True):
        so_far += max(0, time or 0)
        end = min(layout.bar, round(so_far / layout.step))
        pieces.append(paint(layout.signs[phase] * (end - drawn), _STYLES[phase], color=layout.paper.color))
        drawn = end
    return "".join(pieces) + ("+" if so_far > layout.step * (layout.bar + 0.5) else "")

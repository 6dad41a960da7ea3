"""List exchanges, one per line, with a waterfall: bars for the times of request, server and response on a time axis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TextIO

import polars as pl

from wiredoctor.findings import Report
from wiredoctor.report import chosen_rows, exchange_times, limited
from wiredoctor.report.by_status import FINAL
from wiredoctor.report.capture_clocks import WITHOUT_YEAR, clocks, has_times_of_day
from wiredoctor.report.columns import batches, escape_column
from wiredoctor.report.fields import Field, fitting, footer, no_room, paint, squeeze, width
from wiredoctor.report.gatewayed import KEY, front_ids
from wiredoctor.report.row_choice import Order
from wiredoctor.report.row_order import Ordered, Spool, in_memory
from wiredoctor.report.terminal.lines import (
    LONG,
    MAX_ENDPOINT,
    NARROWEST,
    Encoded,
    add_titles,
    capture_field,
    clock,
    headings,
    names_of_captures,
    severity_sign,
    signs_explained,
    time_of_day_field,
    worst_severities,
    write_opening,
)
from wiredoctor.report.terminal.sentences import SECRETS
from wiredoctor.report.terminal.terminal import Terminal
from wiredoctor.report.terminal.time_axis import TimeAxis
from wiredoctor.report.words import SECOND, count, duration, shorten, size
from wiredoctor.text.time_of_day import Clock

_PHASES: tuple[str, ...] = ("request", "server", "response")
_REST = "rest"
"""The phase in which a client waited for the rest of a response that broke off."""
_STYLES = {"request": "blue", "server": "yellow", "response": "green", _REST: "red"}
_TIMES = [f"{phase}_time" for phase in _PHASES]
_COLUMNS = [
    *("capture", "connection", "exchange", "request_frame", "response_frame", "request_method", "request_target"),
    *("request_host", *exchange_times.EXCHANGE_COLUMNS, *_TIMES, *limited.COLUMNS),
]
_ENDPOINTS = ["capture", "connection", "client", "server"]

_LEAST_REQUEST, _LEAST_BAR, _READABLE_BAR, _MAX_BAR = 28, 16, 26, 80
_SQUEEZED = {"clock": WITHOUT_YEAR, "bar": 12, "request": 12, "capture": 10}
"""The minimum widths of the columns that become narrower if there is not enough room."""

_BAD, _FAILED = 400, 500
"""The lowest status codes of a client error and a server error (RFC 9110 section 15)."""

_NO_REQUEST = "(no request)"
_CLOSED = "x"


class _Facts(NamedTuple):
    """Facts about all exchanges that determine the layout.

    `spans`: for each capture, the start of the first exchange and the end of the last one (ns). `ends`: the time of each
    capture's last packet. `texts`: the maximum width of the texts in each column. `common`: texts that all lines have in common,
    by column. `longest`: the longest duration (ns). `usual`: a duration (ns) that only few exchanges exceed. Each of the flags is
    true if there is at least one exchange of its kind. `is_limited`: it is known what limited the speed of the response.
    `has_bad`: the response has status 4xx or 5xx. `has_rest`: the client waited for the rest of a response that broke off.
    `has_closed`: the connection closed before the response was complete. `has_waiting`: the client was still waiting at the end
    of the capture.
    """

    spans: Mapping[str, tuple[int, int]]
    ends: exchange_times.CaptureEnds
    texts: Mapping[str, int]
    common: Mapping[str, str]
    longest: int
    usual: float
    is_limited: bool
    has_bad: bool
    has_rest: bool
    has_closed: bool
    has_waiting: bool


@dataclass(frozen=True)
class _Layout:
    """The layout of the list.

    `fields`: the columns in order. `axes`, `clocks`, `ends`: the time axis, the clock and the time of the last packet of each
    capture. `relative`: whether all captures have the same axis, and each bar begins at the left end of the axis. `latest`: the
    latest time (ns). `signs`: the character of each phase in a bar. `names`: the text that names each capture. `has_doubt`:
    whether it is uncertain which request a gateway forwarded in an exchange.
    """

    fields: dict[str, Field]
    axes: Mapping[str, TimeAxis]
    clocks: Mapping[str, Clock]
    ends: exchange_times.CaptureEnds
    relative: bool
    latest: int
    paper: Terminal
    signs: Mapping[str, str]
    names: Mapping[str, str]
    has_doubt: bool

    @property
    def thin(self) -> str:
        """The character for a bar that is shorter than half a character."""
        return "▏" if self.paper.unicode else "'"


Row = Mapping[str, Any]
Cell = Callable[[Row, _Layout], str]
"""A function that returns the text of an exchange in one column of the list."""


def write(
    report: Report, out: TextIO, paper: Terminal, *, spool: Spool = in_memory, relative: bool = False,
    order: Order = Order.time, waiting_left_out: int = 0,
) -> None:  # fmt: skip
    """Write one line per exchange.

    If `order` is time, captures follow one another, each with its exchanges in order of first frames. Otherwise, the exchanges of
    all captures are sorted together. `relative`: draw each bar from the start of its exchange. Bars are also drawn like this if
    the exchanges of several captures are sorted together. `waiting_left_out`: the number of exchanges that --top leaves out only
    because they were still waiting for a response.
    """
    if report.secrets:
        out.write(f"{SECRETS}\n")
    facts = _facts(report)
    if facts is None:
        out.write("No HTTP exchange was seen.\n")
        return
    names = names_of_captures(report, order)
    fronts = front_ids(report)
    layout, missing = _layout(report, facts, paper, names, fronts, order, relative=relative or bool(names))
    worst, room = worst_severities(report, "exchanges"), max(paper.width, NARROWEST)
    write_opening(report, out, facts.common, _legend(layout), room)
    lines = Ordered(spool)
    titles = {name: headings(layout.fields, axis, color=paper.color) for name, axis in layout.axes.items()}
    places = add_titles(lines, report, titles, paper, together=bool(names))
    rank = pl.lit(0, pl.Int64)
    if order is not Order.time:
        rank = chosen_rows.rank("exchanges", order, layout.ends, chosen_rows.is_faulty(report))
    ends = None
    if {"client", "server"} & layout.fields.keys():
        ends = report.scan_connections().select(_ENDPOINTS).collect()
    for batch in batches(report.scan_exchanges, _COLUMNS):
        joined = batch if ends is None else batch.join(ends, on=["capture", "connection"], how="left", maintain_order="left")
        if fronts is not None:
            joined = joined.join(fronts, on=KEY, how="left", maintain_order="left")
        _add(lines, joined, places, layout, rank, worst)
    lines.write(Encoded(out))
    closing = [count(report.exchange_count, "HTTP exchange")]
    if waiting_left_out:
        closing.append(_left_out(waiting_left_out))
    closing.append("; ".join(_signs(facts, layout, worst.values(), order)))
    out.write(footer([*closing, *missing], room))


def _left_out(waiting: int) -> str:
    were = "were" if waiting > 1 else "was"
    return (
        f"{count(waiting, 'other request')} {were} still waiting for a complete response when the capture ended: "
        "the list without --top shows them."
    )


def _signs(facts: _Facts, layout: _Layout, severities: Iterable[str], order: Order) -> Iterator[str]:
    yield from signs_explained(severities)
    if facts.has_bad:
        yield "! = status 4xx or 5xx"
    if facts.has_rest:
        yield f"{layout.signs[_REST]} = waited for the rest of a response that broke off"
    if facts.has_closed:
        yield f"{_CLOSED} = closed before the response was complete; the time ends with the close"
    if facts.has_waiting:
        last = " (sorted last, unless it is part of an error or warning)" if order is Order.duration else ""
        yield f"> = the response was not complete when the capture ended{last}"
    if "front" in layout.fields:
        yield f"front: the exchange for which a gateway sent this request{' (? = probably)' if layout.has_doubt else ''}"
    yield "details of an exchange, such as 7#2: wiredoctor show FILE --connection 7#2"


def _facts(report: Report) -> _Facts | None:
    c, ends = pl.col, exchange_times.capture_ends(report)
    duration = exchange_times.time_taken("exchanges", ends)
    waits, still = exchange_times.wait_end(ends).is_not_null(), exchange_times.is_still_waiting(ends)
    request = pl.concat_str("request_method", "request_target", separator=" ", ignore_nulls=True).str.len_chars()
    bad = (c("response_status") >= _BAD).fill_null(value=False)
    rows = (
        report.scan_exchanges()
        .group_by("capture")
        .agg(
            begin=exchange_times.exchange_start().min(),
            end=exchange_times.drawn_until(ends).max(),
            request=request.max(),
            host=c("request_host").str.len_chars().max(),
            frame=pl.max_horizontal("request_frame", "response_frame").max().cast(pl.Int64),
            connection=c("connection").max(),
            exchange=c("exchange").max().cast(pl.Int64),
            longest=duration.max(),
            usual=pl.max_horizontal(4 * duration.median(), 1.25 * duration.quantile(0.9)),
            limited=c(limited.COLUMNS[-1]).is_not_null().any(),
            bad=(bad & c("has_response")).any(),
            rest=(waits & exchange_times.is_final()).any(),
            closed=(waits & ~still).any(),
            waiting=still.any(),
        )
        .collect()
    )
    if not rows.height:
        return None
    spans = {name: (begin, end) for name, begin, end in rows.select("capture", "begin", "end").iter_rows()}
    names = ("request", "host", "frame", "connection", "exchange")
    texts: dict[str, int] = rows.select(pl.col(names).max().fill_null(0)).to_dicts()[0]
    ((longest, usual),) = rows.select(pl.col("longest", "usual").max().fill_null(0)).iter_rows()
    flags = (bool(rows[name].any()) for name in ("limited", "bad", "rest", "closed", "waiting"))
    return _Facts(spans, ends, texts, _common_texts(report), longest, usual, *flags)


def _common_texts(report: Report) -> dict[str, str]:
    """Return the client, server and host that all lines have in common, by column; empty if there is only one line."""
    if report.exchange_count < 2:
        return {}
    ends = report.scan_connections().select(_ENDPOINTS)
    rows = report.scan_exchanges().select("capture", "connection", pl.col("request_host").alias("host"))
    joined = rows.join(ends, on=["capture", "connection"], how="left").select("client", "server", "host")
    counted = joined.select(pl.all().n_unique().name.suffix("_count"), pl.all().first()).collect().to_dicts()[0]
    return {name: counted[name] or "" for name in ("client", "server", "host") if counted[f"{name}_count"] == 1}


def _layout(
    report: Report, facts: _Facts, paper: Terminal, names: Mapping[str, str], fronts: pl.DataFrame | None, order: Order,
    *, relative: bool,
) -> tuple[_Layout, list[str]]:  # fmt: skip
    """Return the layout, and sentences about columns that do not fit. The column by which the list is sorted is always shown."""
    room, latest = max(paper.width, NARROWEST), max(end for _, end in facts.spans.values())
    least = min(_LEAST_REQUEST, max(facts.texts["request"], len(_NO_REQUEST)))
    took = (11 if facts.longest >= LONG else 7) + facts.has_waiting
    known, optional = clocks(report), _optional(report, facts, took)
    base = {
        "sign": Field("", 1),
        **capture_field(names),
        **({"clock": time_of_day_field(known)} if has_times_of_day(report) else {"time": optional.pop("time")}),
        "exchange": Field("exch", max(4, len(f"{facts.texts['connection']}#{facts.texts['exchange']}"))),
        **({} if fronts is None else {"front": Field("front", max(5, *fronts["front"].str.len_chars()))}),
        "request": Field("request", least, right=False),
        "status": Field("status", 6, right=False),
        "took": Field("took", took),
        **({"size": optional.pop("size")} if order is Order.size else {}),
        "bar": Field("bar", _LEAST_BAR, right=False),
    }
    squeeze(base, _SQUEEZED, room)
    if "front" in base and width([*base.values()]) > room:
        optional["front"] = base.pop("front")
    shown = _fitting(base, optional, room)
    if not {*_TIMES} <= {*shown}:
        shown = [name for name in shown if name not in _TIMES]
    fields = base | {name: optional[name] for name in shown}
    request, spare = base["request"].width, max(0, room - width([*fields.values()]))
    more = min(max(0, facts.texts["request"] - request), spare // 2)
    bar = min(base["bar"].width + spare - more, _MAX_BAR)
    fields["request"] = Field("request", request + more, right=False)
    fields["bar"] = Field("bar", bar, right=False)  # keep space for the character after a bar
    if relative:
        full = min(facts.longest, facts.usual) if facts.usual else facts.longest
        axes = dict.fromkeys(facts.spans, TimeAxis.spanning(0, round(full), bar - 1))
    else:
        axes = {name: TimeAxis.spanning(begin, end, bar - 1) for name, (begin, end) in facts.spans.items()}
    signs = dict(zip((*_PHASES, _REST), "▒░█╌" if paper.unicode else ">.#-", strict=True))
    has_doubt = fronts is not None and bool(fronts["front"].str.ends_with("?").any())
    left = [name for name in optional if name not in shown]
    missing = [no_room([optional[name].heading for name in left])] if left else []
    ordered = {name: fields[name] for name in _IN_ORDER if name in fields}
    return _Layout(ordered, axes, known, facts.ends, relative, latest, paper, signs, names, has_doubt), missing


def _fitting(base: Mapping[str, Field], optional: Mapping[str, Field], room: int) -> list[str]:
    """Return the names of the optional columns to show: as many as fit, in the order of `optional`.

    The column of servers is shown even if this shortens the bar to its minimum length. Other columns are shown only if a bar of
    _READABLE_BAR characters still fits.
    """
    server = [*optional][:1] if [*optional][:1] == ["server"] else []
    if len(fitting([*base.values()], [optional[name] for name in server], room)) < len(server):
        return []
    wide = [*base.values(), *(optional[name] for name in server), Field("", _READABLE_BAR - _LEAST_BAR - 1)]
    rest = [name for name in optional if name not in server]
    return server + rest[: len(fitting(wide, [optional[name] for name in rest], room))]


_IN_ORDER = (
    *("sign", "capture", "clock", "time", "exchange", "front", "frame", "client", "server", "host", "request", "status", "size"),
    *("took", "request_time", "server_time", "response_time", "limited", "bar"),
)
_TIME_HEADINGS = ("req time", "server time", "resp time")


def _optional(report: Report, facts: _Facts, took: int) -> dict[str, Field]:
    """Return the optional columns by name, the most important first. The list shows as many of them as fit.

    `took`: the width of a column of times.
    """
    lengths = report.scan_connections().select(pl.col("client", "server").str.len_chars().max()).collect().row(0)
    ends = [min(length or 0, MAX_ENDPOINT) for length in lengths]
    texts, latest = facts.texts, max(end for _, end in facts.spans.values())
    made = {
        "server": Field("server", max(6, ends[1]), right=False),
        "client": Field("client", max(6, ends[0]), right=False),
        "size": Field("size", 7),
        "host": Field("Host", min(max(4, texts["host"]), MAX_ENDPOINT), right=False),
        "time": Field("time (s)", max(8, len(clock(latest, latest)))),
        "frame": Field("frame", max(5, len(str(texts["frame"])))),
        **{name: Field(text, max(took, len(text))) for name, text in zip(_TIMES, _TIME_HEADINGS, strict=True)},
        "limited": Field("limited by", 16, right=False),
    }
    left = {*facts.common, *(["limited"] if not facts.is_limited else [])}
    return {name: one for name, one in made.items() if name not in left}


def _legend(layout: _Layout) -> str:
    color, step = layout.paper.color, duration(next(iter(layout.axes.values())).step / SECOND)
    signs = " ".join(f"{paint(layout.signs[phase], _STYLES[phase], color=color)} {phase}" for phase in _PHASES)
    several = len({axis.step for axis in layout.axes.values()}) > 1
    scale = "" if several else f"1 character = {step}, "
    cut = ", + cut off" if layout.relative else ""
    return f"{signs}  ({scale}{layout.thin} shorter{cut})\n"


def _add(
    lines: Ordered, batch: pl.DataFrame, places: dict[str, int], layout: _Layout, rank: pl.Expr,
    worst: Mapping[tuple[str, int, int], Any],
) -> None:  # fmt: skip
    shown = batch.select(
        pl.col("capture").replace_strict(places, default=len(places), return_dtype=pl.Int64).alias("place"),
        rank.alias("rank"),
        pl.coalesce("request_frame", "response_frame", pl.lit(0)).cast(pl.Int64).alias("frame"),
        pl.col("exchange").cast(pl.Int64),
        pl.col("capture", "connection", "has_request", "has_response", "response_status", "response_body_bytes"),
        (escape_column("request_method") + " " + escape_column("request_target")).alias("request"),
        escape_column("request_host").alias("host"),
        *(pl.col(name) if name in batch.columns else pl.lit("").alias(name) for name in ("client", "server", "front")),
        exchange_times.exchange_start().alias("start"),
        exchange_times.drawn_until(layout.ends).alias("end"),
        exchange_times.time_taken("exchanges", layout.ends).alias("took"),
        exchange_times.is_still_waiting(layout.ends).alias("waiting"),
        (exchange_times.wait_end(layout.ends).is_not_null() & ~exchange_times.is_still_waiting(layout.ends)).alias("closed"),
        pl.col("request_end", "response_start", "response_end"),
        *_TIMES,
        *limited.COLUMNS,
    ).sort("place", "rank", "frame", "exchange")
    text = "".join(_line(row, layout, worst) for row in shown.iter_rows(named=True))
    keys = tuple(shown.get_column(c).to_numpy() for c in ("place", "rank", "frame", "exchange"))
    lines.add(keys, text.encode("utf-8", "backslashreplace"))


def _line(row: Row, layout: _Layout, worst: Mapping[tuple[str, int, int], Any]) -> str:
    color, status = layout.paper.color, row["response_status"]
    parts: list[str] = []
    for name, field in layout.fields.items():
        if name == "sign":
            parts.append(severity_sign(worst.get((row["capture"], row["connection"], row["exchange"])), color=color))
        elif name == "bar":
            parts.append(_bar(row, layout))
        else:
            text = _CELLS[name](row, layout)
            text = text if len(text) <= field.width else shorten(text, field.width, layout.paper.gap)
            parts.append(paint(field.pad(text), _style(status), color=color) if name == "status" else field.pad(text))
    return " ".join(parts).rstrip() + "\n"


def _status(row: Row, _: _Layout) -> str:
    status = row["response_status"] if row["has_response"] else None
    return f"{status}!" if status and status >= _BAD else str(status or "-")


def _took(row: Row, _: _Layout) -> str:
    return "-" if row["took"] is None else f"{'>' if row['waiting'] else ''}{duration(row['took'] / SECOND)}"


def _request(row: Row, layout: _Layout) -> str:
    return _short(row["request"], layout.fields["request"].width, layout.paper.gap) if row["has_request"] else _NO_REQUEST


def _limited_by(row: Row, _: _Layout) -> str:
    return [*limited.shares([row[name] for name in limited.COLUMNS], short=True), ""][0]


def _phase(name: str) -> Cell:
    return lambda row, _: "-" if row[name] is None else duration(row[name] / SECOND)


_CELLS: Mapping[str, Cell] = {
    "capture": lambda row, layout: layout.names[row["capture"]],
    "time": lambda row, layout: clock(row["start"], layout.latest),
    "clock": lambda row, layout: layout.clocks[row["capture"]].at(row["start"])[-layout.fields["clock"].width :],
    "exchange": lambda row, _: f"{row['connection']}#{row['exchange']}",
    "front": lambda row, _: row["front"] or "",
    "frame": lambda row, _: str(row["frame"] or "-"),
    "client": lambda row, _: row["client"] or "",
    "server": lambda row, _: row["server"] or "",
    "host": lambda row, _: row["host"] or "",
    "request": _request,
    "status": _status,
    "size": lambda row, _: size(row["response_body_bytes"] or 0) if row["has_response"] else "-",
    "took": _took,
    **{name: _phase(name) for name in _TIMES},
    "limited": _limited_by,
}


def _style(status: int | None) -> str:
    if not status:
        return ""
    return "bold red" if status >= _FAILED else "bold yellow" if status >= _BAD else "green" if status < 300 else "cyan"


def _short(request: str, width: int, gap: str) -> str:
    """Shorten a request to `width` characters. The query is shortened first, then the middle of the path."""
    if len(request) <= width:
        return request
    path, mark, _ = request.partition("?")
    return f"{path}?{gap}" if mark and len(path) + 1 + len(gap) <= width else shorten(path, width, gap)


def _bar(row: Row, layout: _Layout) -> str:
    """Return the bar of an exchange.

    The bar ends with `x` if the connection closed before the response was complete, or with `+` if the bar is too long for the
    axis.
    """
    axis, color = layout.axes[row["capture"]], layout.paper.color
    start, end = row["start"], row["end"]
    sent = min(max(row["request_end"] if row["request_end"] is not None else start, start), end)
    begun = row["response_start"] if row["has_response"] and row["response_start"] is not None else end
    received = row["response_end"] if row["has_response"] and row["response_end"] is not None else end
    times = (sent, min(max(begun, sent), end), min(max(received, sent), end), end)
    offset = start if layout.relative else 0
    broke_off = row["has_response"] and (row["response_status"] or 0) >= FINAL
    phases = (*_PHASES, _REST if broke_off else "server")
    parts = [(time - offset, layout.signs[phase], _STYLES[phase]) for phase, time in zip(phases, times, strict=True)]
    drawn = axis.bar(start - offset, parts, layout.thin, color=color)
    if row["closed"]:
        return drawn + paint(_CLOSED, "bold red", color=color)
    is_cut = layout.relative and axis.at(end - offset) > axis.width + 0.5
    return drawn + (paint("+", "bold red", color=color) if is_cut else "")

"""List exchanges, one per line, with a waterfall: bars for the times of request, server and response on a time axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TextIO

import polars as pl

from wiredoctor.findings import Report
from wiredoctor.report import exchange_times, stream_times, transfer_limits
from wiredoctor.report.by_status import FINAL, is_final
from wiredoctor.report.capture_clocks import WITHOUT_YEAR
from wiredoctor.report.columns import escape_column
from wiredoctor.report.fields import paint
from wiredoctor.report.gateway_roles import front_ids
from wiredoctor.report.row_choice import Order
from wiredoctor.report.row_order import Spool, in_memory
from wiredoctor.report.terminal.lines import LONG, MAX_ENDPOINT
from wiredoctor.report.terminal.lists import CAPTURE, CLOCK, SIGN, TIME, Layout, ListColumn, Row, TextList, bar, endpoint
from wiredoctor.report.terminal.sentences import SECRETS
from wiredoctor.report.terminal.terminal import Terminal
from wiredoctor.report.words import SECOND, count, duration, shorten, size

c = pl.col

_PHASES: tuple[str, ...] = ("request", "server", "response")
_REST = "rest"
"""The phase in which a client waited for the rest of a response that broke off."""
_STYLES = {"request": "blue", "server": "yellow", "response": "green", _REST: "red"}

_LEAST_REQUEST = 28

_BAD, _FAILED = 400, 500
"""The lowest status codes of a client error and a server error (RFC 9110 section 15)."""

_NO_REQUEST = "(no request)"
_CLOSED = "x"


def write(
    report: Report, out: TextIO, paper: Terminal, *, spool: Spool = in_memory, relative: bool = False,
    order: Order = Order.time, waiting_left_out: int = 0, streams: bool = False,
) -> None:  # fmt: skip
    """Write one line per exchange, in order of first frames if `order` is time (see `TextList.write`).

    `waiting_left_out`: the number of exchanges that --top leaves out only because they were still waiting for a response.
    `streams`: all exchanges are event streams, so show the columns about these.
    """
    if report.secrets:
        out.write(f"{SECRETS}\n")
    notes = [_left_out(waiting_left_out)] if waiting_left_out else []
    shown = STREAMS if streams else EXCHANGES
    shown.write(report, out, paper, spool, order, relative=relative, notes=notes)


def _left_out(waiting: int) -> str:
    were = "were" if waiting > 1 else "was"
    return (
        f"{count(waiting, 'other request')} {were} still waiting for a complete response when the capture ended: "
        "the list without --top shows them."
    )


def _closing(layout: Layout, sentences: list[str]) -> list[str]:
    """Return one sentence that explains the characters of the list, and how to see more."""
    most, signs = layout.most, [*sentences]
    if most["is_bad"]:
        signs.append("! = status 4xx or 5xx")
    if most["has_rest"]:
        signs.append(f"{_signs(layout)[_REST]} = waited for the rest of a response that broke off")
    if most["is_closed"]:
        signs.append(f"{_CLOSED} = closed before the response was complete; the time ends with the close")
    if most["is_waiting"]:
        last = " (sorted last, unless it is part of an error or warning)" if layout.order is Order.duration else ""
        signs.append(f"> = the response was not complete when the capture ended{last}")
    if "front" in layout.fields:
        doubts = layout.lookups[1].select(pl.col("front").str.ends_with("?").any()).collect().item()
        signs.append(f"front: the exchange for which a gateway sent this request{' (? = probably)' if doubts else ''}")
    signs.append("details of an exchange, such as 7#2: wiredoctor show FILE --connection 7#2")
    return ["; ".join(signs)]


def _lookups(report: Report) -> Sequence[pl.LazyFrame]:
    """Return the endpoints of connections and, if there are gateways, the exchanges for which these sent requests."""
    fronts = front_ids(report)
    ends = report.scan_connections().select("capture", "connection", "client", "server")
    return [ends] if fronts is None else [ends, fronts.lazy()]


def _measures(ends: exchange_times.CaptureEnds) -> Mapping[str, pl.Expr]:
    took = exchange_times.time_taken("exchanges", ends)
    waits, is_waiting = exchange_times.wait_end(ends).is_not_null(), exchange_times.is_still_waiting(ends)
    request = pl.concat_str("request_method", "request_target", separator=" ", ignore_nulls=True)
    is_bad = (c("response_status") >= _BAD).fill_null(value=False)
    return {
        "begin": exchange_times.exchange_start().min(),
        "end": exchange_times.drawn_until(ends).max(),
        "request": request.str.len_chars().max(),
        "host": c("request_host").str.len_chars().max(),
        "frame": pl.max_horizontal("request_frame", "response_frame").max(),
        "connection": c("connection").max(),
        "exchange": c("exchange").max(),
        "longest": took.max(),
        "usual": pl.max_horizontal(4 * took.median(), 1.25 * took.quantile(0.9)),  # only few exchanges take longer
        "is_limited": c(transfer_limits.COLUMNS[-1]).is_not_null().any(),
        "is_bad": (is_bad & c("has_response")).any(),
        "has_rest": (waits & is_final()).any(),
        "is_closed": (waits & ~is_waiting).any(),
        "is_waiting": is_waiting.any(),
    }


def _derived(ends: exchange_times.CaptureEnds) -> Mapping[str, pl.Expr]:
    is_waiting = exchange_times.is_still_waiting(ends)
    return {
        "frame": pl.coalesce("request_frame", "response_frame", pl.lit(0)).cast(pl.Int64),
        "exchange": c("exchange").cast(pl.Int64),
        "request": escape_column("request_method") + " " + escape_column("request_target"),
        "host": escape_column("request_host"),
        "first_event": stream_times.first_event(),
        "stream_end": stream_times.stream_end(),
        "start": exchange_times.exchange_start(),
        "end": exchange_times.drawn_until(ends),
        "took": exchange_times.time_taken("exchanges", ends),
        "waiting": is_waiting,
        "closed": exchange_times.wait_end(ends).is_not_null() & ~is_waiting,
    }


def _axis(most: Mapping[str, Any]) -> int:
    return round(min(most["longest"], most["usual"])) if most["usual"] else most["longest"]


def _signs(layout: Layout) -> Mapping[str, str]:
    """Return the character of each phase in a bar."""
    return dict(zip((*_PHASES, _REST), "▒░█╌" if layout.paper.unicode else ">.#-", strict=True))


def _thin(layout: Layout) -> str:
    """Return the character for a bar that is shorter than half a character."""
    return "▏" if layout.paper.unicode else "'"


def _legend(layout: Layout) -> str:
    color, signs = layout.paper.color, _signs(layout)
    phases = " ".join(f"{paint(signs[phase], _STYLES[phase], color=color)} {phase}" for phase in _PHASES)
    scale = f"{layout.scale}, " if layout.scale else ""
    return f"{phases}  ({scale}{_thin(layout)} shorter{', + cut off' if layout.relative else ''})\n"


def _status(row: Row, _: Layout) -> str:
    status = row["response_status"] if row["has_response"] else None
    return f"{status}!" if status and status >= _BAD else str(status or "-")


def _style(row: Row) -> str:
    status = row["response_status"]
    if not status:
        return ""
    return "bold red" if status >= _FAILED else "bold yellow" if status >= _BAD else "green" if status < 300 else "cyan"


def _took(row: Row, _: Layout) -> str:
    return "-" if row["took"] is None else f"{'>' if row['waiting'] else ''}{duration(row['took'] / SECOND)}"


def _took_width(at: Layout) -> int:
    return (11 if at.most["longest"] >= LONG else 7) + at.most["is_waiting"]


def _request(row: Row, layout: Layout) -> str:
    return _short(row["request"], layout.fields["request"].width, layout.paper.gap) if row["has_request"] else _NO_REQUEST


def _short(request: str, width: int, gap: str) -> str:
    """Shorten a request to `width` characters. The query is shortened first, then the middle of the path."""
    if len(request) <= width:
        return request
    path, mark, _ = request.partition("?")
    return f"{path}?{gap}" if mark and len(path) + 1 + len(gap) <= width else shorten(path, width, gap)


def _limited_by(row: Row, _: Layout) -> str:
    return [*transfer_limits.shares([row[name] for name in transfer_limits.COLUMNS], short=True), ""][0]


def _phase(phase: str, heading: str, rank: int) -> ListColumn:
    name = f"{phase}_time"
    return ListColumn(
        name, lambda row, _: "-" if row[name] is None else duration(row[name] / SECOND),
        lambda at: max(_took_width(at), len(heading)), (name,), heading, rank=rank,
    )  # fmt: skip


def _bar(row: Row, layout: Layout, signs: Mapping[str, str]) -> str:
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
    parts = [(time - offset, signs[phase], _STYLES[phase]) for phase, time in zip(phases, times, strict=True)]
    drawn = axis.bar(start - offset, parts, _thin(layout), color=color)
    if row["closed"]:
        return drawn + paint(_CLOSED, "bold red", color=color)
    is_cut = layout.relative and axis.at(end - offset) > axis.width + 0.5
    return drawn + (paint("+", "bold red", color=color) if is_cut else "")


def _bars(_: Report, layout: Layout) -> Callable[[Row], str]:
    signs = _signs(layout)
    return lambda row: _bar(row, layout, signs)


EXCHANGES = TextList(
    "exchanges",
    "HTTP exchange",
    lambda report: report.scan_exchanges,
    lambda report: report.exchange_count,
    (
        SIGN,
        CAPTURE,
        CLOCK,
        TIME,
        ListColumn("exchange", lambda row, _: f"{row['connection']}#{row['exchange']}", 4, heading="exch", is_sized=True),
        ListColumn(
            "front", lambda row, _: row["front"] or "", lambda at: max(5, at.most["front"]) if "front" in at.most else 0,
            ("front",),
        ),
        ListColumn("frame", lambda row, _: str(row["frame"] or "-"), 5, rank=8, is_sized=True),
        endpoint("client", rank=2, common="client"),
        endpoint("server", rank=1, common="server"),
        ListColumn(
            "host", lambda row, _: row["host"] or "", lambda at: min(max(4, at.most["host"]), MAX_ENDPOINT), ("host",), "Host",
            right=False, rank=4, common="request_host",
        ),
        ListColumn(
            "request", _request, lambda at: min(_LEAST_REQUEST, max(at.most["request"], len(_NO_REQUEST))),
            ("request", "has_request"), right=False,
        ),
        ListColumn("status", _status, 6, ("response_status", "has_response"), right=False, style=_style),
        ListColumn(
            "size", lambda row, _: size(row["response_body_bytes"] or 0) if row["has_response"] else "-", 7,
            ("response_body_bytes", "has_response"), rank=3, order=Order.size,
        ),
        ListColumn("took", _took, _took_width, ("took", "waiting")),
        _phase("request", "req time", 9),
        _phase("server", "server time", 10),
        _phase("response", "resp time", 11),
        ListColumn(
            "limited", _limited_by, lambda at: 16 if at.most["is_limited"] else 0, (*transfer_limits.COLUMNS,), "limited by",
            right=False, rank=12,
        ),
        bar(16, "start", "end", "request_end", "has_response", "response_start", "response_end", "response_status", "closed"),
    ),
    bars=_bars,
    legend=_legend,
    measures=_measures,
    derived=_derived,
    keys=("frame", "exchange"),
    squeezed={"clock": WITHOUT_YEAR, "bar": 12, "request": 12, "capture": 10},
    given_up="front",
    lookups=_lookups,
    longer_bar=10,
    preferred="server",
    together=frozenset(f"{phase}_time" for phase in _PHASES),
    growing="request",
    axis=_axis,
    closing=_closing,
)  # fmt: skip
"""The list of exchanges."""


def _time(name: str, heading: str, *, rank: int = 0) -> ListColumn:
    return ListColumn(
        name, lambda row, _: "-" if row[name] is None else duration(row[name] / SECOND), 7, (name,), heading, rank=rank
    )  # fmt: skip


def _close_streams(layout: Layout, sentences: list[str]) -> list[str]:
    """Return one sentence that explains the columns of streams, and how to see more."""
    mark = "mark: yes = one of the last two events is one with which an API ends its answers"
    times = "head, first: from the end of the request to the head and to the first event with data"
    gaps = "median, p95, longest: gaps between events"
    return ["; ".join([times, gaps, mark, *_closing(layout, sentences)])]


STREAMS = replace(
    EXCHANGES,
    noun="event stream",
    columns=(
        *(column for column in EXCHANGES.columns if column.name not in {"size", "took", "limited", "bar", *EXCHANGES.together}),
        _time("server_time", "head", rank=4),
        _time("first_event", "first"),
        ListColumn(
            "events", lambda row, _: "-" if row["response_data_events"] is None else f"{row['response_data_events']:,}", 6,
            ("response_data_events",),
        ),
        _time("response_median_gap", "median"),
        _time("response_p95_gap", "p95", rank=3),
        _time("response_longest_gap", "longest", rank=1),
        ListColumn("end", lambda row, _: row["stream_end"], 13, ("stream_end",), right=False),
        ListColumn(
            "mark", lambda row, _: "yes" if row["response_end_mark"] else "-", 4, ("response_end_mark",), right=False,
            rank=2,
        ),
        replace(EXCHANGES.columns[-1], width=8),
    ),
    squeezed={**EXCHANGES.squeezed, "bar": 8},
    longer_bar=0,
    together=frozenset(),
    closing=_close_streams,
)  # fmt: skip
"""The list of event streams."""

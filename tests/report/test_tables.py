"""Exchanges and connections, a line each."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO
from itertools import product
from typing import Any

import polars as pl
import pytest

from tests.report.examples import MS, capture, connection, exchange, finding, report, without_request, without_response
from tests.support.sweeps import in_turn
from wiredoctor.findings import Report
from wiredoctor.gateways import TRIES, Gateways
from wiredoctor.report.chosen_rows import choose_rows
from wiredoctor.report.exchange_times import count_waiting
from wiredoctor.report.filter import Filter, Moment
from wiredoctor.report.filtered_report import filter_report
from wiredoctor.report.row_choice import Order, RowChoice, parse_statuses
from wiredoctor.report.terminal import connections, exchanges
from wiredoctor.report.terminal.terminal import Terminal
from wiredoctor.report.terminal.time_axis import TimeAxis

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
LONG = "/very/long/path/[bold]x[/bold]/\x9b31m/" + "a" * 200 + "/item.json?token=hunter2"
IPV6 = "[2001:db8:85a3:8d3:1319:8a2e:370:7348]:54321"


ZONE = "Times are UTC; the first packet is from 2026-01-31 12:00:00.000."


def table(module: Any, one: Report, width: int = 100, *, relative: bool = False, **paper: bool) -> list[str]:
    """Return the lines from the legend on, without the time zone and what all lines have in common."""
    out = StringIO()
    module.write(one, out, Terminal(width, **paper), relative=relative)
    lines = out.getvalue().splitlines()
    return [line for line in lines if line != ZONE and not line.startswith("The same in all lines: ")]


def test_exchanges_at_80_columns() -> None:
    """Exchange 1 was closed by its client 500 ms after it began, exchange 11 takes 170 ms."""
    rows = [
        exchange(11, 0, request_target="/a?b=c", request_end=1_130 * MS, response_start=1_180 * MS, response_end=1_270 * MS),
        exchange(1, **without_response(), client_close_time=600 * MS),
        exchange(2, **without_request(), response_status=503),
    ]
    lines = table(exchanges, report([finding(connection=1, exchange=0)], [connection(11)], rows), 80)
    assert lines[0].startswith("> request . server # response  (1 character = ")
    assert lines[1].split("|")[0].split() == ["time", "of", "day", "exch", "request", "status", "took"]
    assert lines[2].startswith("W 12:00:00.100  1#0 GET /items/1?")
    assert " -       500 ms " in lines[2]
    assert lines[2].endswith(".x")
    assert "(no request)" in lines[3]
    assert " 503! " in lines[3]
    assert " 12:00:01.100 11#0 GET /a?b=(masked)" in lines[4]
    assert " 170 ms " in lines[4]
    assert lines[5:7] == [
        "3 HTTP exchanges",
        "W = part of a warning (wiredoctor analyze explains it); ! = status 4xx or 5xx; x",
    ]
    assert lines[-2] == "No room for the columns server, client, size, Host, time (s), frame, req time,"


@pytest.mark.parametrize("module", [exchanges, connections])
@pytest.mark.parametrize("width", [80, 160])
def test_rows_of_several_captures_are_sorted_together(module: Any, width: int) -> None:
    """Of four rows, those of one capture take 400 and 10 ms, those of the other 900 and 20 ms."""
    milliseconds = [("a/one.pcap", 400), ("a/one.pcap", 10), ("a/two.pcap", 900), ("a/two.pcap", 20)]
    rows = [timed(n, 100 * n, 0, took, 0) | {"capture": file} for n, (file, took) in enumerate(milliseconds)]
    opened = [connection(n, capture=file, start=0, end=took * MS) for n, (file, took) in enumerate(milliseconds)]
    one = report([], opened, rows, captures=[capture(file="a/one.pcap"), capture(file="a/two.pcap")])
    out = StringIO()
    module.write(one, out, Terminal(width), order=Order.duration)
    lines = out.getvalue().splitlines()
    assert [found[0] for line in lines if (found := re.findall(r"(?:one|two)\.pcap .* (\d+ ms) ", line))] == [
        *("900 ms", "400 ms", "20 ms", "10 ms")
    ]
    assert sum("time of day" in line for line in lines) == 1
    assert max(map(len, lines)) <= width


def test_the_first_rows_of_several_captures_are_those_of_the_earlier_capture() -> None:
    """The exchange that begins sooner within its capture is the later one."""
    rows = [exchange(1, capture="late.pcap", request_start=1), exchange(1, capture="early.pcap", request_start=2)]
    days = {"late.pcap": "2026-01-31T12:00:00.000000000Z", "early.pcap": "2026-01-30T12:00:00.000000000Z"}
    captures = [capture(file=name, first_time=day, last_time=day) for name, day in days.items()]
    first = choose_rows(report([], [], rows, captures=captures), "exchanges", RowChoice(top=1))
    assert first.scan_exchanges().collect()["capture"].to_list() == ["early.pcap"]


def bars(lines: list[str]) -> list[str]:
    """The bars with the empty places before them."""
    at = lines[1].index("|")
    return [line[at:] for line in lines[2:] if re.match(r"[EWN ] +\d", line)]


def timed(number: int, start: int, *lasts: int) -> dict[str, Any]:
    """An exchange that starts at a time and has phases that last so long, in ms."""
    ends = [start + sum(lasts[:n]) for n in range(4)]
    return exchange(
        number, request_start=ends[0] * MS, request_end=ends[1] * MS, response_start=ends[2] * MS, response_end=ends[3] * MS,
        request_time=lasts[0] * MS, server_time=lasts[1] * MS, response_time=lasts[2] * MS,
    )  # fmt: skip


@pytest.mark.parametrize("width", [80, 120, 200])
def test_bars_stand_where_the_time_axis_says(width: int) -> None:
    """Ten exchanges from 0 to 10 s: each begins at its share of the axis, and its phases are in proportion."""
    rows = [timed(i, 1000 * i, 100, 200, 700) for i in range(10)]
    lines = table(exchanges, report([], [], rows), width)
    long = max(map(len, bars(lines)))
    for i, bar in enumerate(bars(lines)):
        assert abs(len(bar) - len(bar.lstrip()) - long * i / 10) <= 0.51
        assert abs(len(bar) - long * (i + 1) / 10) <= 0.51
        assert re.fullmatch(r" *>*\.*#+", bar)
    axis = lines[1][lines[1].index("|") :]
    assert axis.startswith("|0 s")
    for place, second in ((mark.start(), float(mark[1])) for mark in re.finditer(r"\|([\d.]+) s", axis)):
        assert abs(place - long * second / 10) <= 1


def test_bars_from_their_own_start_are_to_scale() -> None:
    rows = [timed(i, 5000 * i, i, 2 * i, 7 * i) for i in range(1, 9)]
    drawn = bars(table(exchanges, report([], [], rows), 160, relative=True))
    assert len(drawn) == 8
    for i, bar in enumerate(drawn, 1):
        assert abs(len(bar) - len(drawn[-1]) * i / 8) <= 0.51
        assert abs(bar.count(".") - len(bar) * 0.2) <= 1.01
        assert re.fullmatch(r">*\.*#*", bar)


def test_one_very_long_exchange_does_not_flatten_the_others() -> None:
    rows = [exchange(i, 0) for i in range(20)] + [timed(99, 9900, 1, 300_000, 13)]
    lines = bars(table(exchanges, report([], [], rows), relative=True))
    assert all("...#" in line for line in lines[:20])
    assert lines[-1].endswith("+")


def test_five_seconds_do_not_look_like_a_millisecond() -> None:
    lines = bars(table(exchanges, report([], [], [timed(0, 0, 0, 1, 0), timed(1, 1, 0, 5000, 0)])))
    assert lines[0] == "'"
    assert lines[1].count(".") >= 15


def test_order_is_that_of_the_first_frames() -> None:
    rows = [exchange(n, 0, request_frame=f) for n, f in [(5, 1), (1, 9), (3, 4)]]
    lines = table(exchanges, report([], [], rows), 200)
    at = lines[1].index("frame")
    assert [line[at : at + 5].strip() for line in lines[2:5]] == ["1", "4", "9"]


@pytest.mark.parametrize(
    ("order", "numbers"),
    [
        (Order.time, [0, 1, 2, 3]),
        (Order.duration, [2, 0, 3, 1]),
        (Order.status, [3, 2, 0, 1]),
        (Order.size, [1, 0, 2, 3]),
    ],
)
def test_orders(order: Order, numbers: list[int]) -> None:
    """Exchange 3 was closed after 200 ms without a response, which is the worst of all states."""
    rows = [
        timed(0, 0, 0, 300, 0) | {"response_status": 404},
        timed(1, 10, 0, 100, 0) | {"response_body_bytes": 9_000_000},
        timed(2, 20, 0, 900, 0) | {"response_status": 502, "response_body_bytes": 5},
        exchange(3, **without_response(), server_close_time=301 * MS + 200 * MS - MS),
    ]
    one = report([], [connection(i) for i in range(4)], rows)
    out = StringIO()
    exchanges.write(one, out, Terminal(120), order=order)
    assert [int(number) for number in re.findall(r" (\d)#0 ", out.getvalue())] == numbers
    for top in (1, 3, 9):
        chosen = choose_rows(one, "exchanges", RowChoice(top=top, order=order))
        assert sorted(chosen.exchanges["connection"]) == sorted(numbers[:top])
        assert chosen.exchange_count == min(top, 4)


@pytest.mark.parametrize(
    ("choice", "numbers"),
    [
        (RowChoice(("502",)), [2]),
        (RowChoice(("5xx",)), [1, 2]),
        (RowChoice(("4xx", "502")), [0, 2]),
        (RowChoice(("none",)), [3]),
        (RowChoice(("any",)), [0, 1, 2]),
        (RowChoice(("any", "none"), top=1), [0]),
        (RowChoice(slow=100 * MS), [1, 2, 3]),
        (RowChoice(("5xx",), slow=100 * MS + 1), [2]),
        (RowChoice(("5xx",), top=1, order=Order.duration), [2]),
        (RowChoice(("200",)), []),
    ],
)
def test_chosen_exchanges(choice: RowChoice, numbers: list[int]) -> None:
    rows = [
        timed(0, 0, 0, 99, 0) | {"response_status": 404},
        timed(1, 10, 0, 100, 0) | {"response_status": 500},
        timed(2, 20, 0, 900, 0) | {"response_status": 502},
        exchange(3, **without_response(), client_rst_time=9000 * MS),
    ]
    assert choose_rows(report([], [], rows), "exchanges", choice).exchanges["connection"].to_list() == numbers


def test_chosen_connections() -> None:
    rows = [connection(i, start=i * MS, end=(i + 1) ** 2 * MS, client_bytes=10 - i) for i in range(4)]
    one = report([], rows)
    assert choose_rows(one, "connections", RowChoice(slow=10 * MS)).connections["connection"].to_list() == [3]
    assert choose_rows(one, "connections", RowChoice(top=2, order=Order.duration)).connections["connection"].to_list() == [2, 3]
    out = StringIO()
    connections.write(one, out, Terminal(80), order=Order.size)
    assert re.findall(r"^   ?(\d) ", out.getvalue(), re.MULTILINE) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("start", [3, 5001])
def test_a_bar_has_all_exchanges_of_its_connection(start: int, relative: bool) -> None:
    ends = [connection(n, start=(start + n) * MS, end=(start + 1000) * MS) for n in (1, 2)]
    rows = [timed(1, start + 21 * n, 0, 0, 0) | {"exchange": n} for n in range(20)]

    def busy(some: list[dict[str, Any]]) -> set[int]:
        lines = table(connections, report([], ends, some), 200, relative=relative)
        line = next(line for line in lines if line.startswith("   1 "))
        return {place for place, sign in enumerate(line) if sign == "#"}

    assert busy(rows) == set().union(*(busy([row]) for row in rows))


@pytest.mark.parametrize("text", ["6xx", "50", "5x", "", "200-299", "5xx,", "\u0665xx"])
def test_no_statuses(text: str) -> None:
    with pytest.raises(ValueError):
        parse_statuses([text])


@pytest.mark.parametrize(("unicode", "relative", "width"), in_turn(product([False, True], repeat=2), [80, 100, 120, 160, 200]))
def test_lines_keep_to_the_width(unicode: bool, relative: bool, width: int) -> None:
    rows = [exchange(i, 0, request_target=LONG, response_end=i**8 * MS, response_status=503) for i in range(1, 40)]
    rows.append(exchange(40, **without_response(), client_close_time=40**8 * MS))
    ends = [connection(i, client=IPV6, server=IPV6, end=i**8 * MS) for i in range(41)]
    one = report([finding(connection=3, exchange=0)], ends, rows)
    for module in (exchanges, connections):
        plain, coloured = StringIO(), StringIO()
        module.write(one, plain, Terminal(width, unicode=unicode), relative=relative)
        module.write(one, coloured, Terminal(width, color=True, unicode=unicode), relative=relative)
        assert ESCAPE.sub("", coloured.getvalue()) == plain.getvalue()
        for line in plain.getvalue().splitlines():
            assert len(line) <= width
            assert line.isprintable()
            assert unicode or line.isascii()


def test_shortened_requests_keep_their_ends_and_no_secret() -> None:
    (line,) = table(exchanges, report([], [], [exchange(1, 0, request_target=LONG)]))[2:3]
    assert "GET /very/" in line
    assert "..." in line
    assert "item.json" in line
    assert "hunter2" not in line


def test_a_query_is_the_first_to_go() -> None:
    (line,) = table(exchanges, report([], [], [exchange(1, 0, request_target="/short?" + "a=b&" * 40)]))[2:3]
    assert "GET /short?..." in line


def test_colour_and_unicode() -> None:
    one = report([], [connection(1)], [exchange(1)])
    for module in (exchanges, connections):
        plain = table(module, one)
        assert [ESCAPE.sub("", line) for line in table(module, one, color=True)] == plain
        assert all(line.isascii() for line in plain)
    assert "▒ request ░ server █ response" in table(exchanges, one, unicode=True)[0]


@pytest.mark.parametrize(("severity", "sign"), [("error", "E"), ("warning", "W"), ("note", "N")])
def test_findings_have_a_sign_and_a_colour(severity: str, sign: str) -> None:
    """The worst of several findings counts."""
    found = [finding(connection=1, exchange=0, severity=one) for one in ("note", severity, "note")]
    one = report(found, [connection(1)], [exchange(1), exchange(2)])
    for module in (exchanges, connections):
        lines = [line for line in table(module, one) if re.match(r"[EWN ] +\d", line)]
        assert [line[0] for line in lines] == [sign, " "][: len(lines)]
        assert any(f"m{sign}\x1b[0m" in line for line in table(module, one, color=True))
        assert any(line.startswith(f"{sign} = part of a") for line in table(module, one))


def test_several_captures_are_apart() -> None:
    captures = [capture(file="b\x1b.pcap"), capture(file="a.pcap")]
    one = report(
        [],
        [connection(1, capture="a.pcap"), connection(2, capture="b\x1b.pcap")],
        [exchange(1, capture="a.pcap"), exchange(2, capture="b\x1b.pcap")],
        captures,
    )
    for module in (exchanges, connections):
        text = "\n".join(table(module, one))
        assert text.index(r"b\x1b.pcap") < text.index("a.pcap\n")
        assert text.count("time of day") == 2
    first = choose_rows(one, "exchanges", RowChoice(top=1))
    assert "b\\x1b.pcap" not in "\n".join(table(exchanges, first))


def test_connections_at_120_columns() -> None:
    """The second of two connections lasts from 100 ms to 200 ms; its exchange takes the second half of that."""
    rows = [
        connection(0, start=0, end=200 * MS, closed_by="", close="", rtt_client=None),
        connection(1, start=100 * MS, end=200 * MS, close="rst"),
    ]
    busy = [timed(1, 150, 0, 50, 0)]
    lines = table(connections, report([], rows, busy), 120)
    names = ["id", "time", "of", "day", "time", "(s)", "client", "exch", "sent", "received", "rtt", "lasted", "history"]
    assert lines[1].split("|")[0].split() == [*names, "closed", "by"]
    assert lines[2].split()[:8] == ["0", "12:00:00.000", "0.000000", "10.0.0.1:51000", "-", "120", "B", "4.32"]
    at = lines[1].index("|")
    long = len(lines[2][at:]) - 1
    assert re.fullmatch(r"-+>", lines[2][at:])
    open_, busy_ = re.fullmatch(r" +(-+)(#+)x", lines[3][at:]).groups()  # type: ignore[union-attr]
    assert abs(len(open_) - long / 4) <= 1
    assert abs(len(busy_) - long / 4) <= 1
    assert lines[4:7] == ["2 TCP connections", "exch: HTTP exchanges", "sent, received: payload bytes of client and server"]
    assert any(line.startswith("history: one letter for the first packet of each kind") for line in lines)


def test_what_has_no_room_is_named() -> None:
    ends = [connection(i, client=IPV6, server=IPV6[:-1] + str(i)) for i in range(2)]
    lines = table(connections, report([], ends), 80)
    assert "packets" not in lines[1]
    assert lines[-2] == "No room for the columns client, exch, sent, received, time (s), rtt, history,"
    shown = lines[2].split()[2]
    assert shown.startswith("[2001:")
    assert shown.endswith(":54320")


def test_nothing_to_list() -> None:
    assert table(exchanges, report()) == ["No HTTP exchange was seen."]
    assert table(connections, report()) == ["No TCP connection was seen."]


def days_apart(long: int) -> Report:
    """Return two exchanges on two connections, the second a day and a half later, each of `long` ms."""
    later = 36 * 3600 * 1000
    rows = [timed(100_000, 0, 0, long, 0) | {"request_target": LONG}, timed(100_001, later, 0, long, 0)]
    ends = [connection(100_000 + i, server=IPV6[:-1] + str(i), start=i * later * MS, end=2 * later * MS) for i in range(2)]
    return report([], ends, rows, [capture(last_time="2026-02-03T12:00:00.000000000Z")])


@pytest.mark.parametrize("module", [exchanges, connections])
@pytest.mark.parametrize(("width", "date"), [(80, "02-02 00:00:00.000"), (160, "2026-02-02 00:00:00.000")])
def test_times_have_a_date_where_they_span_days(module: Any, width: int, date: str) -> None:
    lines = table(module, days_apart(200_000), width)
    (line,) = (line for line in lines if re.match(r"  +100001 |.* 100001#0 ", line))
    assert f" {date} " in line
    assert all(len(one) <= width for one in lines)


def test_columns_with_the_same_text_in_all_lines_are_said_once() -> None:
    ends = [connection(i) for i in range(3)]
    rows = [exchange(i, request_host="shop.example") for i in range(3)]
    out = StringIO()
    exchanges.write(report([], ends, rows), out, Terminal(200))
    head, line = out.getvalue().splitlines()[1], out.getvalue().splitlines()[3]
    assert head == "The same in all lines: server 10.0.0.2:80, Host shop.example."
    assert "Host" not in line
    assert " client " in line
    out = StringIO()
    exchanges.write(report([], ends, [*rows, exchange(0, 1, request_host="other.example")]), out, Terminal(200))
    assert out.getvalue().splitlines()[1] == "The same in all lines: server 10.0.0.2:80."
    assert out.getvalue().count("other.example") == 1


def waiting(**end: Any) -> Report:
    """One exchange of 50 ms, and one whose request of the time 2 s gets no complete response; the capture ends at 12.5 s."""
    late = {"request_start": 2000 * MS, "request_end": 2001 * MS, "request_time": MS, "last_on_connection": True}
    return report([], [connection(0), connection(1)], [timed(0, 0, 0, 50, 0), exchange(1, **late | end)])


CUT = {"response_start": 2010 * MS, "response_end": 2020 * MS, "response_end_reason": "rst"}


@pytest.mark.parametrize(
    ("end", "took", "ends"),
    [
        (without_response(), ">10.5 s", "."),
        (without_response() | {"both_directions": False}, "-", "'"),
        (without_response() | {"last_on_connection": False}, "-", "'"),
        (without_response() | {"gap_before": True}, "-", "'"),
        (without_response() | {"gap_before": True, "client_close_time": 9500 * MS}, "7.5 s", ".x"),
        (without_response() | {"client_close_time": 9500 * MS, "server_rst_time": 9600 * MS}, "7.5 s", ".x"),
        (CUT | {"server_rst_time": 8000 * MS}, "6 s", "-x"),
        (CUT | {"response_end_reason": "capture-end"}, ">10.5 s", "-"),
        (CUT | {"response_end_reason": "capture-end", "response_endless": True}, "20 ms", "'"),
        (CUT | {"response_end_reason": "complete", "server_close_time": 8000 * MS}, "20 ms", "'"),
        (CUT | {"response_status": 100, "response_end_reason": "complete", "client_close_time": 9500 * MS}, "7.5 s", ".x"),
    ],
)
def test_an_exchange_without_a_complete_response_takes_as_long_as_its_client_waited(
    end: dict[str, Any], took: str, ends: str
) -> None:
    lines = table(exchanges, waiting(**end), 120)
    line = next(line for line in lines if " 1#0 " in line)
    assert f" {took} " in line
    assert line.endswith(ends)
    assert any("> = the response was not complete when the capture ended" in line for line in lines) == took.startswith(">")
    assert any("x = closed before the response was complete" in line for line in lines) == ends.endswith("x")
    assert any("- = waited for the rest of a response that broke off" in line for line in lines) == ends.startswith("-")


@pytest.mark.parametrize(("begin", "end", "numbers"), [("5", "6", [1]), ("0", "1", [0]), ("9.6", "11", [])])
def test_an_exchange_is_active_as_long_as_its_client_waits(begin: str, end: str, numbers: list[int]) -> None:
    one = waiting(**without_response() | {"client_close_time": 9500 * MS})
    chosen = filter_report(one, Filter(begin=Moment.parse(begin), end=Moment.parse(end)))
    assert chosen.exchanges["connection"].to_list() == numbers


@pytest.mark.parametrize(("order", "first"), [(Order.duration, [1, 0]), (Order.time, [0, 1])])
def test_a_hang_is_the_longest(order: Order, first: list[int]) -> None:
    one = waiting(**CUT | {"client_close_time": 9500 * MS})
    out = StringIO()
    exchanges.write(one, out, Terminal(120), order=order)
    assert [int(number) for number in re.findall(r" (\d)#0 ", out.getvalue())] == first
    assert choose_rows(one, "exchanges", RowChoice(slow=7500 * MS)).exchanges["connection"].to_list() == [1]
    assert choose_rows(one, "exchanges", RowChoice(slow=7500 * MS + 1)).exchanges.height == 0


def test_a_request_that_hangs_by_a_fault_comes_first() -> None:
    one = replace(waiting(**without_response()), findings=[finding(connection=1, exchange=0)])
    out = StringIO()
    exchanges.write(one, out, Terminal(120), order=Order.duration)
    assert [int(number) for number in re.findall(r" (\d)#0 ", out.getvalue())] == [1, 0]
    best = choose_rows(one, "exchanges", RowChoice(top=1, order=Order.duration))
    assert best.exchanges["connection"].to_list() == [1]


def test_an_unknown_duration_comes_after_all_known_ones() -> None:
    """Exchange 0 takes 50 ms; exchange 1 still waits when the capture ends, 10.5 s after it began."""
    one = waiting(**without_response())
    out = StringIO()
    exchanges.write(one, out, Terminal(200), order=Order.duration)
    assert [int(number) for number in re.findall(r" (\d)#0 ", out.getvalue())] == [0, 1]
    assert "complete when the capture ended (sorted last, unless it is part of an error or warning)" in out.getvalue()
    first = choose_rows(one, "exchanges", RowChoice(top=1, order=Order.duration))
    assert first.exchanges["connection"].to_list() == [0]
    assert (count_waiting(one), count_waiting(first)) == (1, 0)
    out = StringIO()
    exchanges.write(first, out, Terminal(200), waiting_left_out=1)
    assert "1 other request was still waiting for a complete response when the capture ended: " in out.getvalue()


@pytest.mark.parametrize("module", [exchanges, connections])
@pytest.mark.parametrize("order", [Order.duration, Order.size])
@pytest.mark.parametrize("several", [False, True])
def test_the_column_of_the_order_is_shown_in_80_columns(module: Any, order: Order, several: bool) -> None:
    names = [f"a/rather/long/name/{n}.pcap" if several else "trace.pcap" for n in range(2)]
    rows = [timed(n, 0, 0, 250, 0) | {"response_body_bytes": 7_654_321, "capture": names[n]} for n in range(2)]
    opened = [
        connection(n, capture=names[n], start=0, end=250 * MS, client_bytes=7_654_321, server=f"192.168.100.20{n}:50123")
        for n in range(2)
    ]
    captures = [capture(file=name) for name in dict.fromkeys(names)]
    out = StringIO()
    module.write(report([], opened, rows, captures=captures), out, Terminal(80), order=order)
    value = "250 ms" if order is Order.duration else "7.65 MB"
    assert sum(f" {value} " in line for line in out.getvalue().splitlines()) == 2
    assert max(map(len, out.getvalue().splitlines())) <= 80


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("numbers", [(1, 2, 3), (2_000_000_001, 2_000_000_002, 2_000_000_003)])
def test_an_exchange_of_a_gateway_names_the_exchange_of_its_client(width: int, numbers: tuple[int, int, int]) -> None:
    """Connection 2 certainly carries what the client asked on connection 1; whether connection 3 does is not certain."""
    front, sure, doubtful = numbers
    one = report([], [connection(i) for i in numbers], [exchange(i) for i in numbers])
    tries = [(front, 0, sure, 0, True, 0), (front, 0, doubtful, 0, False, 0), (front, 0, doubtful, None, True, 0)]
    one.gateways = {one.captures[0].file: Gateways(pl.DataFrame(tries, TRIES, orient="row"))}
    lines = table(exchanges, one, width)
    ids = [re.findall(r"\b\d+#0\??", line) for line in lines if "GET" in line]
    assert max(map(len, lines)) <= width
    if width == 80 and front > 1_000_000_000:
        assert "front: set COLUMNS" in " ".join(lines)
        assert ids == [[f"{front}#0"], [f"{sure}#0"], [f"{doubtful}#0"]]
        return
    assert ids == [[f"{front}#0"], [f"{sure}#0", f"{front}#0"], [f"{doubtful}#0", f"{front}#0?"]]
    assert "front: the exchange for which a gateway sent this request (? = probably)" in " ".join(lines)
    without = choose_rows(one, "exchanges", RowChoice(top=1))
    assert "front" not in " ".join(table(exchanges, without, width))


@pytest.mark.parametrize(
    ("first", "last", "unit"),
    [(0, 50, "ms"), (29_000, 29_050, "s"), (29_003, 29_003, "s"), (9_990, 10_040, "ms"), (0, 10_000, "s")],
)
def test_labels_of_the_axis_have_a_unit_that_suits_the_time(first: int, last: int, unit: str) -> None:
    """Each tick is where its label says, to the character."""
    axis = TimeAxis.spanning(first * MS, last * MS, 60)
    heading = axis.heading()
    labels = [(mark.start(), float(mark[1].replace(",", "")), mark[2]) for mark in re.finditer(r"\|([\d.,]+) (\w+)", heading)]
    assert labels
    assert heading.count("|") == len(labels)
    for place, number, name in labels:
        assert name == unit
        assert axis.cell(number * (1000 * MS if unit == "s" else MS)) == place

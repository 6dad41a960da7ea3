"""Exchanges and connections, a line each."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import pytest

from tests.report.examples import MS, capture, connection, exchange, finding, report, without_request, without_response
from wiredoctor.findings import Report
from wiredoctor.report.terminal import connections, exchanges
from wiredoctor.report.terminal.terminal import Paper

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
LONG = "/very/long/path/[bold]x[/bold]/\x9b31m/" + "a" * 200 + "/item.json?token=hunter2"
IPV6 = "[2001:db8:85a3:8d3:1319:8a2e:370:7348]:54321"


def table(module: Any, one: Report, width: int = 100, **paper: bool) -> list[str]:
    out = StringIO()
    module.write(one, out, Paper(width, **paper))
    return out.getvalue().splitlines()


def test_exchanges_at_100_columns() -> None:
    rows = [
        exchange(11, 0, request_target="/a?b=c", request_time=30 * MS, server_time=50 * MS, response_time=90 * MS),
        exchange(1, **without_response()),
        exchange(2, **without_request()),
    ]
    assert table(exchanges, report([finding(connection=1, exchange=0)], [], rows)) == [
        ">>> request  ... server  ### response  (one sign = 10 ms; + = longer)",
        "  frame exch request                             code   size   req. server  resp. time",
        "!    14  1#0 GET /items/1?id=*&token=*              -      -    1ms      -      -",
        "     26  2#0 (no request)                         200    4kB      -      - 13.1ms #",
        "    114 11#0 GET /a?b=*                           200    4kB   30ms   50ms   90ms >>>.....#########",
        "3 HTTP exchanges, ! = a finding speaks of it (wiredoctor analyze)",
    ]


def bar(line: str) -> str:
    return re.sub(r"^.*(ms|-|s) ", "", line)


def test_bars_are_to_scale_and_do_not_add_up_their_rounding() -> None:
    rows = [exchange(i, 0, request_time=i * MS, server_time=2 * i * MS, response_time=7 * i * MS) for i in range(1, 9)]
    lines = table(exchanges, report([], [], rows), 160)[2:-1]
    longest = len(bar(lines[-1]))
    for i, line in enumerate(lines, 1):
        drawn = bar(line)
        assert abs(len(drawn) - longest * i / 8) <= 0.51
        assert abs(drawn.count(".") - len(drawn) * 0.2) <= 1.01
        assert re.fullmatch(r">*\.*#*", drawn)


def test_one_very_long_exchange_does_not_flatten_the_others() -> None:
    rows = [exchange(i, 0) for i in range(20)] + [exchange(99, 0, server_time=300_000 * MS)]
    lines = table(exchanges, report([], [], rows))[2:-1]
    assert all("...#" in line for line in lines[:20])
    assert lines[-1].endswith("+")


def test_order_is_that_of_the_first_frames() -> None:
    rows = [exchange(n, 0, request_frame=f) for n, f in [(5, 1), (1, 9), (3, 4)]]
    assert [line.split()[0] for line in table(exchanges, report([], [], rows))[2:-1]] == ["1", "4", "9"]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_lines_keep_to_the_width(width: int) -> None:
    rows = [exchange(i, 0, request_target=LONG, server_time=i**8 * MS // 1000) for i in range(1, 40)]
    for line in table(exchanges, report([finding(connection=3, exchange=0)], [], rows), width):
        assert len(line) <= width
        assert line.isprintable()
    ends = [connection(i, client=IPV6, server=IPV6) for i in range(3)]
    for line in table(connections, report([], ends), width):
        assert len(line) <= width


def test_shortened_requests_keep_their_ends_and_no_secret() -> None:
    (line,) = table(exchanges, report([], [], [exchange(1, 0, request_target=LONG)]))[2:-1]
    assert "GET /very/" in line
    assert "..." in line
    assert "item.json" in line
    assert "hunter2" not in line


def test_a_query_is_the_first_to_go() -> None:
    (line,) = table(exchanges, report([], [], [exchange(1, 0, request_target="/short?" + "a=b&" * 40)]))[2:-1]
    assert "GET /short?..." in line


def test_colour_and_unicode() -> None:
    one = report([], [connection(1)], [exchange(1)])
    for module in (exchanges, connections):
        plain = table(module, one)
        assert [ESCAPE.sub("", line) for line in table(module, one, color=True)] == plain
        assert all(line.isascii() for line in plain)
    assert "▒▒▒ request  ░░░ server  ███ response" in table(exchanges, one, unicode=True)[0]


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
        assert text.count("client" if module is connections else "frame exch") >= 2


def test_connections_at_120_columns() -> None:
    rows = [connection(1234, closed_by="", close="", rtt_client=None, packets=123456), connection(0)]
    assert table(connections, report([], rows), 120) == [
        "  id client         server      packets   sent  recvd     rtt  lasted proto   history  closed by",
        "   0 10.0.0.1:51000 10.0.0.2:80      10   120B 4.32kB    10ms  44.1ms http    ShADadFf server fin",
        "1234 10.0.0.1:52234 10.0.0.2:80  123456   120B 4.32kB       -  44.1ms http    ShADadFf -",
        "2 TCP connections; sent and recvd: payload bytes of client and server",
    ]


def test_what_has_no_room_is_named() -> None:
    lines = table(connections, report([], [connection(i, client=IPV6, server=IPV6) for i in range(2)]), 80)
    assert "packets" not in lines[0]
    assert lines[-1] == "No room for packets, history, rtt (COLUMNS or --format json shows them)."
    assert all(len(line) <= 80 for line in lines[:-1])
    assert lines[1].split()[1].startswith("[2001:")
    assert lines[1].split()[1].endswith(":54321")


def test_nothing_to_list() -> None:
    assert table(exchanges, report()) == ["No HTTP exchange was seen."]
    assert table(connections, report()) == ["No TCP connection was seen."]

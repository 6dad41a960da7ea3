"""A list that is only declared: which columns it shows, and what it says once for all lines."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from typing import Any

import polars as pl

from tests.report.examples import MS, capture, connection, finding, report
from wiredoctor.report.row_choice import Order
from wiredoctor.report.row_order import in_memory
from wiredoctor.report.terminal.lists import CLOCK, SIGN, TIME, ListColumn, TextList, bar, endpoint
from wiredoctor.report.terminal.terminal import Terminal

PACKETS = TextList(
    "connections",
    "row",
    lambda report: report.scan_connections,
    lambda report: report.connection_count,
    (
        SIGN,
        CLOCK,
        TIME,
        endpoint("server", common="server"),
        ListColumn("packets", lambda row, _: f"{row['packets']:,}", 7, ("packets",), rank=2, legend="n", is_sized=True),
        ListColumn("double", lambda row, _: str(row["double"]), 6, ("double",), rank=8, order=Order.size),
        ListColumn("place", lambda row, _: row["place"] or "-", 35, ("place",), rank=3, right=False),
        bar(10, "start"),
    ),
    bars=lambda _, layout: lambda row: layout.paper.bar * (row["start"] // (100 * MS) + 1),
    legend=lambda _: "= start\n",
    measures=lambda _: {
        "begin": pl.col("start").min(),
        "end": pl.col("end").max(),
        "longest": (pl.col("end") - pl.col("start")).max(),
        "packets": pl.col("packets").max(),
        "server": pl.col("server").str.len_chars().max(),
    },
    derived=lambda _: {"exchange": pl.lit(-1), "double": pl.col("packets") * 2},
    keys=("connection", "exchange"),
    squeezed={"bar": 8},
    given_up="",
    lookups=lambda _: [pl.LazyFrame({"capture": ["trace.pcap"], "connection": [2], "place": ["somewhere"]})],
)  # fmt: skip


def lines(order: Order = Order.time, width: int = 80, *, count: int = 3, timed: bool = True, **changes: Any) -> list[str]:
    rows = [connection(i, packets=packets) for i, packets in ((2, 7), (1, 1_000), (0, 20))]
    one = report([finding(connection=1, exchange=None, severity="error")], rows[-count:])
    one.captures[:] = [capture() if timed else capture(first_time=None, last_time=None)]
    out = StringIO()
    replace(PACKETS, **changes).write(one, out, Terminal(width), in_memory, order, relative=False, notes=["A note."])
    return out.getvalue().splitlines()


def test_a_declared_list_has_a_line_per_row_in_order() -> None:
    _, common, legend, title, *rows = lines(width=120)
    assert common == "The same in all lines: server 10.0.0.2:80."
    assert legend == "= start"
    assert title.split()[:8] == ["time", "of", "day", "time", "(s)", "packets", "double", "place"]
    assert [row.split() for row in rows[:3]] == [
        ["12:00:00.000", "0.000000", "20", "40", "-", "="],
        ["E", "12:00:00.100", "0.100000", "1,000", "2000", "-", "=="],
        ["12:00:00.200", "0.200000", "7", "14", "somewhere", "==="],
    ]
    assert rows[3:] == ["3 rows", "A note.", "E = part of an error (wiredoctor analyze explains it)", "n"]


def test_columns_are_left_out_by_rank_unless_lines_are_sorted_by_them() -> None:
    """The columns need 85 characters; `double` has the highest rank, then comes `time`."""
    for order, name, shown in ((Order.time, "double", "time (s)"), (Order.size, "time (s)", "double")):
        _, _, _, title, *_, missing = lines(order)
        assert shown in title
        assert missing == f"No room for the column {name}: set COLUMNS or use --format json."


def test_columns_leave_room_for_a_longer_bar_and_stay_together() -> None:
    """Sign, time of day and bar need 25 of 80 characters; next are `packets` (8), `place` (36), `time` (9) and `double` (7)."""
    assert left_out(longer_bar=10) == "columns time (s), double"
    assert left_out(longer_bar=50) == "columns packets, place, time (s), double"
    assert left_out(longer_bar=50, preferred="packets") == "columns place, time (s), double"
    assert left_out(together=frozenset({"time", "double"})) == "columns time (s), double"


def left_out(**changes: Any) -> str:
    return " ".join(lines(**changes)).partition("No room for the ")[2].removesuffix(": set COLUMNS or use --format json.")


def test_a_growing_column_gets_half_of_the_spare_room() -> None:
    """All columns need 85 of 200 characters, so `packets` gets 57 more; 24 characters precede it."""
    title = lines(width=200, growing="packets")[3]
    assert title.index("packets") + len("packets") == 24 + 7 + 57


def test_seconds_are_always_shown_without_times_of_day() -> None:
    """Sign, seconds and bar need 21 of 80 characters, the longer bar 50, and `packets` 8."""
    text = lines(timed=False, longer_bar=50)
    assert text[2].startswith("  time (s) packets |")
    assert text[-1] == "No room for the columns place, double: set COLUMNS or use --format json."


def test_a_text_of_a_single_line_is_in_its_column() -> None:
    text = "\n".join(lines(count=1))
    assert "The same in all lines" not in text
    assert "10.0.0.2:80" in text

"""Test that a table without rows states which condition excludes all rows, and which values exist."""

from __future__ import annotations

from typing import Any

import pytest

import wiredoctor
from tests.report.examples import MS, capture, connection, exchange, report, without_response
from tests.support.recordings import find_recording
from wiredoctor.findings import Report
from wiredoctor.report.chosen_rows import choose_rows
from wiredoctor.report.filter import Filter, Moment
from wiredoctor.report.filtered_report import filter_report
from wiredoctor.report.no_rows import explain_no_rows
from wiredoctor.report.row_choice import RowChoice, TableName


def some() -> Report:
    """Return three connections to port 80 of 10.0.0.2, and four exchanges: 404 after 44 ms, 200, 200 and none."""
    ends = [connection(i, start=i * 100 * MS, end=(i * 100 + 90) * MS) for i in range(3)]
    rows = [
        exchange(0, request_host="a.example", response_status=404),
        exchange(1, request_host="b.example", request_id="id-7"),
        exchange(2, 0, request_host="b.example"),
        exchange(2, 1, request_host="b.example", both_directions=False, **without_response()),
    ]
    return report([], ends, rows)


SPAN = "The packets are from 2026-01-31 12:00:00.000 to 12:00:12.500 UTC."


@pytest.mark.parametrize(
    ("table", "wanted", "choice", "text"),
    [
        (
            "exchanges",
            {"names": ("c.example",)},
            RowChoice(),
            "None of 4 HTTP exchanges matches --host c.example. Servers: 10.0.0.2:80. Hosts: b.example, a.example.",
        ),
        (
            "connections",
            {"hosts": ("10.0.0.9",), "names": ("10.0.0.9",)},
            RowChoice(),
            "None of 3 TCP connections matches --host 10.0.0.9. Servers: 10.0.0.2:80. Hosts: b.example, a.example.",
        ),
        (
            "connections",
            {"ports": (81, 82)},
            RowChoice(),
            "None of 3 TCP connections matches --port 81, 82. Ports of servers: 80.",
        ),
        ("exchanges", {"request_id": "x"}, RowChoice(), "None of 4 HTTP exchanges matches --request-id x. Request ids: id-7."),
        ("exchanges", {}, RowChoice(("5xx", "301")), "None of 4 HTTP exchanges matches --status 5xx,301. Statuses: 200, 404."),
        ("exchanges", {}, RowChoice(slow=50 * MS), "None of 4 HTTP exchanges matches --slow 50 ms. The longest took 44.1 ms."),
        ("connections", {}, RowChoice(slow=91 * MS), "None of 3 TCP connections matches --slow 91 ms. The longest took 90 ms."),
        ("exchanges", {"begin": Moment.parse("60")}, RowChoice(), f"None of 4 HTTP exchanges matches the time span. {SPAN}"),
        (
            "exchanges",
            {"begin": Moment.parse("13:30:00"), "end": Moment.parse("13:30:00.1")},
            RowChoice(),
            f"None of 4 HTTP exchanges matches the time span. {SPAN}"
            " In the time zone +0130, 2 HTTP exchanges match. If you mean that zone, write it after the time.",
        ),
        (
            "exchanges",
            {"begin": Moment.parse("13:45:00"), "end": Moment.parse("13:45:01")},
            RowChoice(),
            f"None of 4 HTTP exchanges matches the time span. {SPAN}",
        ),
        (
            "exchanges",
            {"begin": Moment.parse("1769866200"), "end": Moment.parse("1769866200.1")},
            RowChoice(),
            f"None of 4 HTTP exchanges matches the time span. {SPAN}",
        ),
        (
            "exchanges",
            {"begin": Moment.parse("13:00:00 +0200"), "end": Moment.parse("13:00:00.1 +0200")},
            RowChoice(),
            f"None of 4 HTTP exchanges matches the time span. {SPAN}",
        ),
        (
            "exchanges",
            {"names": ("b.example",)},
            RowChoice(("404",)),
            "None of 4 HTTP exchanges matches all conditions: --host b.example (3), --status 404 (1).",
        ),
        (
            "exchanges",
            {"names": ("b.example",), "begin": Moment.parse("60")},
            RowChoice(("404", "none"), slow=MS, top=3),
            f"None of 4 HTTP exchanges matches the time span. {SPAN}",
        ),
    ],
)
def test_the_condition_that_excludes_all_rows_is_named(
    table: TableName, wanted: dict[str, Any], choice: RowChoice, text: str
) -> None:
    one = choose_rows(filter_report(some(), Filter(**wanted)), table, choice)
    assert not (one.exchange_count if table == "exchanges" else one.connection_count)
    assert explain_no_rows(one, table, Filter(**wanted), choice) == text


def test_without_times_a_time_span_says_how_long_the_capture_is() -> None:
    wanted = Filter(begin=Moment.parse("60"))
    captures = [capture(first_time="1970-01-01T00:00:00.000000000Z", last_time="1970-01-01T00:00:12.500000000Z")]
    one = filter_report(report([], [connection(0)], [], captures), wanted)
    assert explain_no_rows(one, "connections", wanted, RowChoice()).endswith("the time span. The packets span 12.5 s.")


def test_a_capture_without_exchanges_says_what_it_has() -> None:
    one = wiredoctor.analyze(find_recording("encrypted.pcap"))
    text = explain_no_rows(one, "exchanges", Filter(names=("a.example",)), RowChoice())
    assert text == "No HTTP exchange was seen. TCP connections by protocol: TLS (1)."

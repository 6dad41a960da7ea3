"""Test reducing a report to the requested part."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.examples import MS, capture, capture_loss, connection, exchange, finding, report
from wiredoctor.findings import Evidence, Report, total_delay
from wiredoctor.report.filter import Filter, Moment, address
from wiredoctor.report.filtered_report import filter_report

SECOND = 10**9
IN_200_MS, IN_500_MS = Moment(200 * MS, "first packet"), Moment(500 * MS, "first packet")


def whole() -> Report:
    """Three connections, a second apart, to two servers; a finding on each, one about an endpoint, one about the capture."""
    ends = [("10.0.0.1:51000", "10.0.0.2:80"), ("10.0.0.1:51001", "10.0.0.2:8080"), ("[2001:db8::1]:51002", "[2001:db8::2]:80")]
    return report(
        [
            *(
                finding(
                    connection=i,
                    exchange=0,
                    client=client,
                    server=server,
                    elapsed=float(i),
                    evidence=(Evidence(10 * i + 1, float(i), ""), Evidence(10 * i + 2, i + 0.2, "")),
                    confidence=("high", "medium", "low")[i],
                )
                for i, (client, server) in enumerate(ends)
            ),
            finding(
                rule="idle-close", connection=None, exchange=None, client=None, server="10.0.0.2:80", delay=None, elapsed=0.5
            ),
            capture_loss(elapsed=9.0, kind="dropped"),
        ],
        [
            connection(i, client=client, server=server, start=i * SECOND, end=i * SECOND + 300 * MS)
            for i, (client, server) in enumerate(ends)
        ],
        [
            exchange(
                i, request_start=i * SECOND, request_end=i * SECOND, response_start=i * SECOND, response_end=i * SECOND + 300 * MS
            )
            for i in range(3)
        ],
    )


def left(**wanted: Any) -> tuple[list[int], list[int], list[str]]:
    """Connections, connections of exchanges, and rules (with connection) that are left."""
    one = filter_report(whole(), Filter(**wanted))
    names = [f.rule if f.connection is None else str(f.connection) for f in one.findings]
    shown = one.connections["connection"].to_list(), one.exchanges["connection"].to_list()
    assert (one.connection_count, one.exchange_count) == (len(shown[0]), len(shown[1]))
    return shown[0], shown[1], names


ALL = (ANY := [0, 1, 2], ANY, ["0", "1", "2", "idle-close", "capture-loss"])


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ALL),
        ({"hosts": ("10.0.0.2",)}, ([0, 1], [0, 1], ["0", "1", "idle-close", "capture-loss"])),
        ({"hosts": ("2001:db8::1",)}, ([2], [2], ["2", "capture-loss"])),
        ({"hosts": ("10.0.0.9",)}, ([], [], ["capture-loss"])),
        ({"hosts": ("2001:db8::2", "10.0.0.1")}, (ANY, ANY, ["0", "1", "2", "capture-loss"])),
        ({"ports": (80,)}, ([0, 2], [0, 2], ["0", "2", "idle-close", "capture-loss"])),
        ({"ports": (51001,)}, ([1], [1], ["1", "capture-loss"])),
        ({"hosts": ("10.0.0.1",), "ports": (80,)}, ([0], [0], ["0", "capture-loss"])),
        ({"connections": (0,)}, ([0], [0], ["0", "idle-close", "capture-loss"])),
        ({"connections": (1, 2)}, ([1, 2], [1, 2], ["1", "2", "capture-loss"])),
        ({"begin": Moment(SECOND, "first packet")}, ([1, 2], [1, 2], ["1", "2", "capture-loss"])),
        ({"end": Moment(SECOND, "first packet")}, ([0, 1], [0, 1], ["0", "1", "idle-close", "capture-loss"])),
        ({"begin": IN_200_MS, "end": IN_500_MS}, ([0], [0], ["0", "idle-close", "capture-loss"])),
        ({"confidence": "medium"}, (ANY, ANY, ["0", "1", "idle-close", "capture-loss"])),
    ],
)  # fmt: skip
def test_narrow(wanted: dict[str, Any], expected: tuple[list[int], list[int], list[str]]) -> None:
    assert left(**wanted) == expected


def named() -> Report:
    """Connection 0 asks two Host fields, 1 has a TLS server name and no Host field, 2 asks a third Host field at a port."""
    rows = [
        exchange(0, 0, request_host="Shop.example"),
        exchange(0, 1, request_host="img.example"),
        exchange(1, 0, request_host=""),
        exchange(2, 0, request_host="api.example:8080"),
    ]
    ends = [connection(i, server=f"10.0.0.{2 + i}:80", server_name="shop.example" if i == 1 else "") for i in range(3)]
    found = [
        *(finding(connection=0, exchange=i, server="10.0.0.2:80", title=f"0#{i}") for i in range(2)),
        finding(connection=0, exchange=None, server="10.0.0.2:80", title="0"),
        finding(connection=None, exchange=None, server="10.0.0.4:80", title="server of 2"),
    ]
    return report(found, ends, rows)


@pytest.mark.parametrize(
    ("wanted", "connections", "exchanges", "titles"),
    [
        ({"names": ("shop.example",)}, [0, 1], ["0#0", "1#0"], ["0#0", "0"]),
        ({"names": ("img.example",)}, [0], ["0#1"], ["0#1", "0"]),
        ({"names": ("api.example",)}, [2], ["2#0"], ["server of 2"]),
        ({"names": ("api.example:8080",)}, [2], ["2#0"], ["server of 2"]),
        ({"names": ("api.example:80",)}, [], [], []),
        ({"names": ("example",)}, [], [], []),
        ({"names": ("10.0.0.4:80",)}, [2], ["2#0"], ["server of 2"]),
        ({"names": ("10.0.0.2:80",)}, [0], ["0#0", "0#1"], ["0#0", "0#1", "0"]),
        ({"names": ("10.0.0.2:81",)}, [], [], []),
        ({"names": ("img.example",), "hosts": ("10.0.0.4",)}, [0, 2], ["0#1", "2#0"], ["0#1", "0", "server of 2"]),
        ({"names": ("shop.example",), "connections": (0,)}, [0], ["0#0"], ["0#0", "0"]),
        ({"names": ("shop.example",), "ports": (81,)}, [], [], []),
        ({"names": ("shop.example",), "ports": (80,)}, [0, 1], ["0#0", "1#0"], ["0#0", "0"]),
    ],
)
def test_host_names(wanted: Any, connections: list[int], exchanges: list[str], titles: list[str]) -> None:
    one = filter_report(named(), Filter(**wanted))
    assert one.connections["connection"].to_list() == connections
    assert [f"{a}#{b}" for a, b in one.exchanges.select("connection", "exchange").iter_rows()] == exchanges
    assert [f.title for f in one.findings] == titles


def test_the_summary_is_that_of_what_is_left() -> None:
    one = filter_report(whole(), Filter(connections=(1,)))
    assert one.delay == pytest.approx(0.2)
    assert whole().delay == pytest.approx(0.6)


def test_times_of_day_are_those_of_each_capture() -> None:
    captures = [
        capture(file="a.pcap", first_time="2026-01-31T12:00:00.500000000Z"),
        capture(file="b.pcap", first_time="2026-01-31T12:00:10.000000000Z"),
        capture(file="empty.pcap", first_time=None, last_time=None),
    ]
    rows = [connection(i, capture=file, start=i * SECOND, end=i * SECOND) for file in ("a.pcap", "b.pcap") for i in range(3)]
    wanted = Filter(begin=Moment.parse("2026-01-31T12:00:02.5Z"), end=Moment.parse("2026-01-31T13:00:11+01:00"))
    shown = filter_report(report([], rows, [], captures), wanted).connections
    assert shown.select("capture", "connection").rows() == [("a.pcap", 2), ("b.pcap", 0), ("b.pcap", 1)]


@pytest.mark.parametrize(
    ("text", "nanoseconds", "base"),
    [
        ("12.5", 12_500_000_000, "first packet"),
        ("0.000000001", 1, "first packet"),
        ("1769856136.123456789", 1_769_856_136_123_456_789, "1970"),
        ("1970-01-01T00:00:01.000000001Z", SECOND + 1, "1970"),
        ("1970-01-01T01:00:00+01:00", 0, "1970"),
        ("1970-01-01 00:00:02", 2 * SECOND, "1970"),
        ("00:00:02.5", 2_500 * MS, "midnight"),
    ],
)
def test_moments(text: str, nanoseconds: int, base: str) -> None:
    assert Moment.parse(text)[:2] == (nanoseconds, base)


def test_a_time_of_day_is_the_nearest_one() -> None:
    """A capture that begins at 23:59:59 and goes on after midnight."""
    first = "2026-01-31T23:59:59.000000000Z"
    captures = [capture(first_time=first, last_time="2026-02-01T00:00:02.000000000Z")]
    rows = [connection(i, start=i * SECOND, end=i * SECOND) for i in range(4)]

    def shown(begin: str, end: str) -> list[int]:
        wanted = Filter(begin=Moment.parse(begin), end=Moment.parse(end))
        return filter_report(report([], rows, [], captures), wanted).connections["connection"].to_list()

    assert shown("23:59:59", "00:00:01") == [0, 1, 2]
    assert shown("00:00:01", "00:00:30") == [2, 3]
    assert shown("23:00", "23:59:59.999") == [0]


def test_around_a_moment_is_what_its_digits_leave_open_and_the_skew() -> None:
    first, last = Moment.parse("2026-01-31T12:00:00Z").around(SECOND)
    assert first == Moment.parse("2026-01-31T11:59:59Z")
    assert last == Moment.parse("2026-01-31T12:00:02Z")
    first, last = Moment.parse("5").around(SECOND)
    assert (first.nanoseconds, last.nanoseconds) == (4 * SECOND, 6 * SECOND)


@pytest.mark.parametrize("text", ["yesterday", "", "nan", "inf", "24:00", "2026-13-01T00:00:00Z"])
def test_no_moments(text: str) -> None:
    with pytest.raises(ValueError):
        Moment.parse(text)


@given(st.text())
def test_any_text_is_a_moment_or_a_value_error(text: str) -> None:
    try:
        Moment.parse(text)
    except ValueError:
        return


def test_addresses() -> None:
    assert [address(a) for a in ("10.0.0.1", "2001:DB8:0:0::1", "[::1]", "fe80::1%eth0")] == [
        *("10.0.0.1", "2001:db8::1", "::1", "fe80::1")
    ]
    for wrong in ("www.example.com", "10.0.0", "10.0.0.1:80", ""):
        with pytest.raises(ValueError):
            address(wrong)


def test_overlaps_count_once() -> None:
    def stall(start: float, delay: float, **more: Any) -> Any:
        return finding(elapsed=start, delay=delay, evidence=(Evidence(1, start, ""), Evidence(2, start + delay, "")), **more)

    assert total_delay([stall(0, 1), stall(2, 1)]) == 2
    assert total_delay([stall(0, 1), stall(0.5, 1)]) == 1.5
    assert total_delay([stall(0, 2), stall(0.5, 1)]) == 2
    assert total_delay([stall(0, 1), stall(0, 1, connection=4)]) == 2
    assert total_delay([stall(0, 1, connection=None), stall(0, 1, connection=None)]) == 2
    assert total_delay([finding(delay=None)]) == 0


def test_wanted_in_words() -> None:
    wanted = Filter(
        hosts=("10.0.0.1",), names=("a.b",), ports=(80,), connections=(3,), end=Moment(1, "first packet"), confidence="medium"
    )
    assert str(wanted) == "host 10.0.0.1, host a.b, port 80, connection 3, the chosen time span, confidence medium or higher"
    assert str(Filter()) == ""
    assert str(Filter(hosts=("10.0.0.9",), names=("10.0.0.9", "a.example"))) == "host 10.0.0.9, host a.example"


@pytest.mark.parametrize(("number", "rules"), [(0, []), (1, ["capture-loss"]), (2, ["capture-loss"])])
def test_lost_bytes_are_reported_only_for_connections_that_lack_some(number: int, rules: list[str]) -> None:
    lossy = [connection(0), connection(1, server_unseen_bytes=1448), connection(2, reuse_frame=9)]
    one = filter_report(report([capture_loss(elapsed=9.0)], lossy, []), Filter(connections=(number,)))
    assert [f.rule for f in one.findings] == rules


def test_a_finding_about_an_exchange_belongs_to_all_of_its_time() -> None:
    """The exchange lasts for 3 s; the finding is about its first 100 ms, the time span about its last second."""
    long = exchange(0, request_start=0, request_end=0, response_start=MS, response_end=3 * SECOND)
    late = exchange(1, request_start=0, request_end=0, response_start=MS, response_end=2 * MS)
    early = [finding(connection=i, exchange=0, elapsed=0.0, evidence=(Evidence(1, 0.1, ""),)) for i in range(2)]
    wanted = Filter(begin=Moment.parse("2"), end=Moment.parse("2.5"))
    one = filter_report(report(early, [connection(i, end=3 * SECOND) for i in range(2)], [long, late]), wanted)
    assert [f.connection for f in one.findings] == [0]

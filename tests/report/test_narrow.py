"""A report reduced to what was asked for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.examples import MS, capture, capture_loss, connection, exchange, finding, report
from wiredoctor.findings import Evidence, Report, total_delay
from wiredoctor.report.filter import Moment, Wanted, address, narrow

SECOND = 10**9
IN_200_MS, IN_500_MS = Moment(200 * MS, absolute=False), Moment(500 * MS, absolute=False)


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
            capture_loss(elapsed=9.0),
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
    one = narrow(whole(), Wanted(**wanted))
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
        ({"begin": Moment(SECOND, absolute=False)}, ([1, 2], [1, 2], ["1", "2", "capture-loss"])),
        ({"end": Moment(SECOND, absolute=False)}, ([0, 1], [0, 1], ["0", "1", "idle-close", "capture-loss"])),
        ({"begin": IN_200_MS, "end": IN_500_MS}, ([0], [0], ["0", "idle-close", "capture-loss"])),
        ({"confidence": "medium"}, (ANY, ANY, ["0", "1", "idle-close", "capture-loss"])),
    ],
)  # fmt: skip
def test_narrow(wanted: dict[str, Any], expected: tuple[list[int], list[int], list[str]]) -> None:
    assert left(**wanted) == expected


def test_the_summary_is_that_of_what_is_left() -> None:
    one = narrow(whole(), Wanted(connections=(1,)))
    assert one.delay == pytest.approx(0.2)
    assert whole().delay == pytest.approx(0.6)


def test_times_of_day_are_those_of_each_capture() -> None:
    captures = [
        capture(file="a.pcap", first_time="2026-01-31T12:00:00.500000000Z"),
        capture(file="b.pcap", first_time="2026-01-31T12:00:10.000000000Z"),
        capture(file="empty.pcap", first_time=None, last_time=None),
    ]
    rows = [connection(i, capture=file, start=i * SECOND, end=i * SECOND) for file in ("a.pcap", "b.pcap") for i in range(3)]
    wanted = Wanted(begin=Moment.parse("2026-01-31T12:00:02.5Z"), end=Moment.parse("2026-01-31T13:00:11+01:00"))
    shown = narrow(report([], rows, [], captures), wanted).connections
    assert shown.select("capture", "connection").rows() == [("a.pcap", 2), ("b.pcap", 0), ("b.pcap", 1)]


@pytest.mark.parametrize(
    ("text", "nanoseconds", "absolute"),
    [
        ("12.5", 12_500_000_000, False),
        ("0.000000001", 1, False),
        ("1970-01-01T00:00:01.000000001Z", SECOND + 1, True),
        ("1970-01-01T01:00:00+01:00", 0, True),
        ("1970-01-01 00:00:02", 2 * SECOND, True),
    ],
)
def test_moments(text: str, nanoseconds: int, absolute: bool) -> None:
    assert Moment.parse(text) == Moment(nanoseconds, absolute)


@pytest.mark.parametrize("text", ["yesterday", "", "nan", "inf", "12:00", "2026-13-01T00:00:00Z"])
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
    wanted = Wanted(hosts=("10.0.0.1",), ports=(80,), connections=(3,), end=Moment(1, absolute=False), confidence="medium")
    assert str(wanted) == "host 10.0.0.1, port 80, connection 3, the chosen time span, confidence medium or higher"
    assert str(Wanted()) == ""

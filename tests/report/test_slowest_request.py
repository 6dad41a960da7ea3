"""Test the sentence about the slowest request."""

from __future__ import annotations

from typing import Any

from tests.report.examples import connection, exchange, report
from wiredoctor.report.terminal.slowest_request import slowest_request

MS = 1_000_000


def _timed(number: int, server: int, **more: Any) -> dict[str, object]:
    """Return an exchange that begins after 5 ms, and of which all time but 2 ms is the server's."""
    times = {
        "request_start": 5 * MS, "request_end": 6 * MS, "response_start": (6 + server) * MS, "response_end": (7 + server) * MS,
        "request_time": MS, "server_time": server * MS, "response_time": MS, "exchange": number,
    }  # fmt: skip
    return exchange(1, **{**times, **more})


def test_the_slowest_is_named_with_its_phases() -> None:
    rows = [_timed(0, 3), _timed(1, 698, request_target="/slow"), _timed(2, 2)]
    line = slowest_request(report([], [connection(1, start=2 * MS)], rows))
    assert line.startswith("3 requests; the slowest took 700 ms (request 1 ms, server 698 ms, response 1 ms): ")
    assert "GET /slow (200), " in line


def test_a_first_request_shows_when_its_connection_was_opened() -> None:
    line = slowest_request(report([], [connection(1, start=2 * MS, handshake=True)], [_timed(0, 38)]))
    times = "request 1 ms, server 38 ms, response 1 ms; its connection was opened 3 ms earlier"
    assert line.startswith(f"1 request; it took 40 ms ({times}): ")


def test_without_requests_there_is_nothing_to_say() -> None:
    assert slowest_request(report([], [connection(1)], [])) == ""

"""Test no-connection-reuse with connections that are open at the end of the capture: the finding depends on how long they stay
open.
"""

from __future__ import annotations

import pytest

from wiredoctor.testing import POINTS, check

EXCHANGE = r"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.011  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
  0.022  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  0.022  >  .
"""


def left_open(*starts: float, until: float) -> str:
    """Connections on which one request is answered, and nothing follows; another client connects when the capture ends."""
    lines = [
        f"connection {n}, start {start:g}, client 10.0.0.1:{41000 + n}, server 10.0.0.2:80{EXCHANGE}"
        for n, start in enumerate(starts, 1)
    ]
    end = f"connection 99, start {until:g}, client 10.0.0.9:41099, server 10.0.0.2:80"
    return "\n".join(["speaks: it", *lines, end, *EXCHANGE.strip("\n").splitlines()[:3]])


@pytest.mark.parametrize("at", POINTS)
def test_eight_connections_kept_open_with_one_request_each_so_far_are_a_pool(at: str) -> None:
    check(left_open(*(0.5 * n for n in range(8)), until=3.6) + "\n  => nothing", at)


@pytest.mark.parametrize(("until", "found"), [(2.49, "nothing"), (2.54, "no-connection-reuse, side client, severity warning")])
def test_a_connection_is_abandoned_after_three_times_the_longest_gap(until: float, found: str) -> None:
    """Gaps of 0.5 s; the newest response ends at 1.022 s."""
    check(left_open(0, 0.5, 1.0, until=until) + f"\n  => {found}")


def test_a_leak_goes_on_while_the_capture_ends() -> None:
    """Of thirty the three newest have only just been used."""
    text = left_open(*(0.5 * n for n in range(30)), until=14.6)
    check(text + "\n  => no-connection-reuse, side client, severity warning")


def closed_each(count: int, apart: float) -> str:
    """The client closes each connection with its answer, and opens the next one `apart` seconds later."""
    lines = [
        f"connection {n}, start {n * (0.022 + apart):g}, client 10.0.0.1:{41000 + n}, server 10.0.0.2:80{EXCHANGE}"
        "  0.022  >  F.\n  0.032  <  F.\n  0.032  >  ."
        for n in range(count)
    ]
    return "\n".join(["speaks: it", *lines])


@pytest.mark.parametrize(
    ("count", "apart", "found"),
    [
        (4, 0.0610, "severity note, confidence medium"),
        (4, 0.0590, "severity warning, confidence high"),
        (9, 0.3, "severity note, confidence medium"),
        (10, 0.3, "severity warning, confidence medium"),
    ],
)
def test_processes_may_make_one_request_each_if_there_is_time_to_start_them(count: int, apart: float, found: str) -> None:
    """A process needs 50 ms; of the time between two connections 10 ms may be a round trip."""
    check(closed_each(count, apart) + f"\n  => no-connection-reuse, side client, {found}")

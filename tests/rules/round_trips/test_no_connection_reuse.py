"""Test no-connection-reuse with connections that are open at the end of the capture: the finding depends on how long they stay
open.
"""

from __future__ import annotations

import pytest

from wiredoctor.testing import POINTS, check, findings

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


CLOSE = "  0.022  >  F.\n  0.032  <  F.\n  0.032  >  ."


def used_once(count: int, apart: float, agent: str = "", first: int = 0, end: str = CLOSE) -> list[str]:
    """Connections with one exchange each, of which the next begins `apart` seconds after the response to the one before."""
    exchange = EXCHANGE.replace(r"Host: a\r\n", rf"Host: a\r\nUser-Agent: {agent}\r\n") if agent else EXCHANGE
    return [
        f"connection {n}, start {n * (0.022 + apart):g}, client 10.0.0.1:{41000 + n}, server 10.0.0.2:80{exchange}{end}"
        for n in range(first, first + count)
    ]


def closed_each(count: int, apart: float) -> str:
    """The client closes each connection with its answer, and opens the next one `apart` seconds later."""
    return "\n".join(["speaks: it", *used_once(count, apart)])


@pytest.mark.parametrize(
    ("count", "apart", "found"),
    [
        (4, 0.0510, "severity note, confidence medium"),
        (4, 0.0490, "severity warning, confidence high"),
        (9, 0.3, "severity note, confidence medium"),
        (10, 0.3, "severity warning, confidence medium"),
    ],
)
def test_processes_may_make_one_request_each_if_there_is_time_to_start_them(count: int, apart: float, found: str) -> None:
    """A process needs 50 ms."""
    check(closed_each(count, apart) + f"\n  => no-connection-reuse, side client, {found}")


def test_seen_at_the_server_a_round_trip_is_no_time_to_start() -> None:
    """The client opens the next connection 49 ms after the response has arrived, which is 59 ms later at the server."""
    check(closed_each(4, 0.049) + "\n  => no-connection-reuse, side client, severity warning, confidence high", "server")


@pytest.mark.parametrize(("pauses", "severity"), [((0.001, 0.060), "note"), ((0.001, 0.040), "warning")])
def test_one_of_two_connections_may_be_of_another_process(pauses: tuple[float, float], severity: str) -> None:
    starts = (0.0, 0.022 + pauses[0], 0.044 + sum(pauses))
    lines = [
        f"connection {n}, start {start:g}, client 10.0.0.1:{41000 + n}, server 10.0.0.2:80{EXCHANGE}{CLOSE}"
        for n, start in enumerate(starts)
    ]
    check("\n".join(["speaks: it", *lines]) + f"\n  => no-connection-reuse, side client, severity {severity}")


@pytest.mark.parametrize(
    ("agent", "end", "found"),
    [
        ("curl/8.5.0", CLOSE, "severity note, confidence medium"),
        ("curl/8.5.0", "  0.040  >  F.\n  0.050  <  F.\n  0.050  >  .", "severity warning, confidence high"),
        ("libdnf (Fedora Linux 41; server; Linux.x86_64)", CLOSE, "severity note, confidence medium"),
        ("htslib/1.16", CLOSE, "severity note, confidence medium"),
        ("okhttp/4.12.0", CLOSE, "severity warning, confidence high"),
    ],
)
@pytest.mark.parametrize("at", POINTS)
def test_commands_are_processes_that_close_their_connection(agent: str, end: str, found: str, at: str) -> None:
    """Twelve requests, 15 ms apart. Whoever closes a connection after the next was opened is one process."""
    check(
        "\n".join(["speaks: it", *used_once(12, 0.015, agent, end=end)]) + f"\n  => no-connection-reuse, side client, {found}", at
    )


def forwarded(count: int) -> str:
    """A gateway passes on the User-Agent of a curl command, and opens a connection for each of its requests."""
    front = ["connection 99, start 0, client 10.0.0.9:50000, server 10.0.0.1:8000", *EXCHANGE.strip("\n").splitlines()[:3]]
    behind: list[str] = []
    for n in range(count):
        head = rf"GET /{n} HTTP/1.1\r\nHost: a\r\nUser-Agent: curl/8.5.0\r\n\r\n"
        front += [
            f'  {0.1 * n + 0.020:.3f}  >  P.   "{head}"',
            rf'  {0.1 * n + 0.050:.3f}  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"',
        ]
        opened = f"connection {n}, start {0.1 * n + 0.021:g}, client 10.0.0.1:{41000 + n}, server 10.0.0.2:80"
        behind.append(opened + EXCHANGE.replace(r"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", head) + CLOSE)
    return "\n".join(["speaks: it", *front, *behind])


@pytest.mark.parametrize(("count", "severity"), [(6, "note"), (12, "warning")])
def test_a_gateway_is_no_command_although_it_passes_on_a_user_agent(count: int, severity: str) -> None:
    text = forwarded(count)
    check(f"{text}\n  => no-connection-reuse, side client, severity {severity}, confidence high", at="client")
    [found] = findings(text, at="client")
    assert "program that people and scripts run" not in found.message
    assert found.message.endswith("The client is a gateway, which forwards the requests of its own clients.")
    assert "nginx: keepalive in the upstream block" in found.remedy


@pytest.mark.parametrize("at", POINTS)
def test_programs_of_a_host_are_told_apart(at: str) -> None:
    programs = [*used_once(3, 0.02, "okhttp/4.12.0"), *used_once(4, 0.02, "reqwest/0.12", first=3)]
    check("\n".join(["speaks: it", *programs]) + "\n  => no-connection-reuse, severity warning, x 2", at)


AT_SERVER = r"""
  0.000  >  S    win 64240 mss 1460
  0.000  <  S.   win 64240 mss 1460
  0.030  >  .
  0.030  >  P.   "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
  0.032  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  0.062  >  F.
  0.062  <  F.
"""
"""The client is 30 ms away from the capture point; it gets the response 15 ms after 32 ms, and closes at once."""


@pytest.mark.parametrize(
    ("pause", "found"), [(0.033, "nothing"), (0.060, "nothing"), (0.062, "no-connection-reuse, side client, severity warning")]
)
def test_seen_at_the_server_a_syn_may_have_left_before_the_response_arrived(pause: float, found: str) -> None:
    """A SYN that the client sends as it gets the response passes the server 30 ms after the response."""
    lines = [f"connection {n}, start {pause * n:g}, client 10.0.0.1:{41000 + n}, server 10.0.0.2:80{AT_SERVER}" for n in range(3)]
    check("\n".join(["speaks: it", *lines, f"  => {found}"]))

"""Who is the client: by SYN, SYN-ACK, HTTP head, the higher port, the first packet (rules.md chapter 1)."""

from __future__ import annotations

import pytest

from tests.tcp.seeing import HANDSHAKE, see

PORTS = "connection 1, client 10.0.0.1:80, server 10.0.0.2:4000\n"
"""The client has the lower port."""
LATE = PORTS + "0.000 > . 1:1 ack 1\n0.001 < S. 0:0 ack 1\n0.010 > . ack 1"


def test_by_syn() -> None:
    seen = see(PORTS + HANDSHAKE)
    assert seen.connection["client"] == "10.0.0.1:80"
    assert seen.column("role") == [0, 1, 0]


def test_by_a_syn_that_comes_behind_its_answer() -> None:
    seen = see(PORTS + "0.000 < S. 0:0 ack 1\n0.001 > S 0:0\n0.010 > . ack 1")
    assert seen.connection["client"] == "10.0.0.1:80"
    assert seen.connection["client_direction"] == 1
    assert seen.column("role") == [1, 0, 0]


def test_by_syn_ack() -> None:
    seen = see(PORTS + "0.000 < S. 0:0 ack 1\n0.010 > . ack 1")
    assert seen.connection["client"] == "10.0.0.1:80"
    assert seen.column("role") == [1, 0]


def test_a_syn_ack_behind_other_packets_tells_from_there_on() -> None:
    seen = see(LATE)
    assert seen.column("role") == [None, 1, 0]


@pytest.mark.parametrize(
    ("head", "client"),
    [('> P. "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"', "10.0.0.1:80"), ('> P. "HTTP/1.1 204 OK\\r\\n\\r\\n"', "10.0.0.2:4000")],
)
def test_by_the_first_head(head: str, client: str) -> None:
    seen = see(PORTS + f"0.000 < . 1:1 ack 1\n0.010 {head}\n0.020 < . 1:1 ack 30")
    assert seen.connection["client"] == client
    assert seen.connection["protocol"] == "http"
    first = 0 if client.startswith("10.0.0.1") else 1
    assert seen.column("role") == [None, first, 1 - first]


def test_by_the_higher_port() -> None:
    seen = see(PORTS + "0.000 > . 1:11(10) ack 1\n0.010 < . 1:1 ack 11")
    assert seen.connection["client"] == "10.0.0.2:4000"
    assert seen.connection["client_direction"] == 1
    assert seen.column("role") == [None, None]
    assert (seen.connection["client_bytes"], seen.connection["server_bytes"]) == (0, 10)


def test_by_the_first_packet() -> None:
    seen = see("connection 1, client 10.0.0.1:4000, server 10.0.0.2:4000\n0.000 < . 1:11(10) ack 1\n0.010 > . 1:1 ack 11")
    assert seen.connection["client"] == "10.0.0.2:4000"
    assert seen.connection["client_host"] == "10.0.0.2"


def test_the_syn_speaks_where_both_sides_answered() -> None:
    # a simultaneous open whose SYNs were captured late: until then the first SYN-ACK tells
    text = PORTS + "0.000 > S. 0:0 ack 1\n0.001 < S. 0:0 ack 1\n0.002 > S 0:0\n0.003 < S 0:0\n0.010 > . ack 1"
    seen = see(text)
    assert seen.column("role") == [1, 0, 0, 1, 0]
    assert seen.connection["client"] == "10.0.0.1:80"


def test_one_server_is_one_endpoint() -> None:
    seen = see(HANDSHAKE + "connection 2, start 1\n" + HANDSHAKE + "connection 3, start 2, server 10.0.0.2:81\n" + HANDSHAKE)
    first, second, third = (set(seen.column("endpoint")[i : i + 3]) for i in (0, 3, 6))
    assert len(first) == len(third) == 1
    assert first == second
    assert first != third


def test_the_endpoint_is_as_sure_as_the_role() -> None:
    see(LATE)


def test_ipv6_endpoints_are_written_in_brackets() -> None:
    c = see("connection 1, client [2001:db8::1]:4000, server [2001:db8::2]:80\n" + HANDSHAKE).connection
    assert (c["client"], c["server"], c["client_host"]) == ("[2001:db8::1]:4000", "[2001:db8::2]:80", "2001:db8::1")

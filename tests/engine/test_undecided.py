"""Test which findings on a connection may still change, packet by packet. Times are in milliseconds; FAR means that none may
change.
"""

from __future__ import annotations

import tempfile

import pytest

from tests.core.talk import Core
from tests.ladders import ladder_packets, to_pcap
from wiredoctor.core.tcp.segment import FOREVER, NEVER
from wiredoctor.engine import open_exchanges

FAR = "far"

HANDSHAKE = """
0.000 > S  0:0 win 64240 mss 1460
0.010 < S. 0:0 ack 1 win 64240 mss 1460
0.010 > .  ack 1
"""

GET = """
0.011 > P. "GET /a HTTP/1.1\\r\\nHost: a\\r\\nUser-Agent: u\\r\\n\\r\\n"
"""


def core_after(text: str) -> Core:
    """Return the core after the packets of a ladder, which go on."""
    core = Core()
    with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
        file.write(to_pcap(ladder_packets(text)))
        file.flush()
        core.read(file.name)
    return core


def in_ms(time: int) -> object:
    return {FOREVER: FAR, NEVER: NEVER}.get(time, time / 1_000_000)


@pytest.mark.parametrize(
    ("text", "since", "unknown"),
    [
        pytest.param("", FAR, FAR, id="nothing was sent"),
        pytest.param(GET, 11, 11, id="no response"),
        pytest.param('0.011 > P. "GET / HTTP/1.1\\r\\n"', 11, 11, id="half a head"),
        pytest.param(GET + '0.1 < P. "HTTP/1.1 200 OK\\r\\nContent-Length: 9\\r\\n\\r\\n"', 11, FAR, id="the response has begun"),
        pytest.param(GET + '0.1 < P. "HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n"', FAR, FAR, id="the response is over"),
        pytest.param(
            GET.replace("User-Agent: u", "Content-Length: 1\\r\\nExpect: 100-continue")
            + '0.1 < P. "HTTP/1.1 417 No\\r\\nContent-Length: 9\\r\\n\\r\\n"',
            11,
            11,
            id="a 100 is expected",
        ),
        pytest.param('0.020 > P. 2:8(6) "aaaaaa"', 20, 20, id="bytes after a gap"),
    ],
)
def test_exchanges(text: str, since: object, unknown: object) -> None:
    (connection,) = core_after(HANDSHAKE + text).connections
    assert tuple(map(in_ms, open_exchanges.undecided_since(connection))) == (since, unknown)


def test_an_exchange_that_is_answered_is_described() -> None:
    text = HANDSHAKE + GET + '0.1 < P. "HTTP/1.1 404 No\\r\\nServer: s\\r\\nContent-Length: 9\\r\\n\\r\\nabc"'
    (connection,) = core_after(text).connections
    (row,) = open_exchanges.answered_exchanges([connection]).to_dicts()
    assert row == {
        "connection": 0, "exchange": 0, "request_method": "GET", "request_target": "/a", "request_user_agent": "u",
        "request_forwarded_server": False, "request_forwarded": False, "response_content_type": "",
        "response_offset": 0, "response_status": 404, "response_server": "s",
        "request_start": 11_000_000, "response_start": 100_000_000,
        "response_end": 100_000_000, "response_end_reason": "capture-end",
    }  # fmt: skip


CLOSED = (
    HANDSHAKE
    + """
0.020 < .  ack 1 win 0
"""
)


@pytest.mark.parametrize(
    ("text", "since"),
    [
        pytest.param("", 20, id="it is closed"),
        pytest.param("1.020 < . ack 1 win 64240", 20, id="it is open, and the sender has not gone on"),
        pytest.param('1.020 < . ack 1 win 64240\n1.021 > P. "GET / HTTP/1.1\\r\\n"', FAR, id="the sender has gone on"),
    ],
)
def test_closed_windows(text: str, since: object) -> None:
    (connection,) = core_after(CLOSED + text).connections
    assert in_ms(open_exchanges.window_closed_since(connection)) == since


@pytest.mark.parametrize(("text", "since"), [("", 11), ("0.9 < . ack 43", FAR)])
def test_a_stall_is_known_with_the_ack(text: str, since: object) -> None:
    again = GET.replace("0.011", "0.800").replace("P. ", "P. 1:43(42) ")
    (connection,) = core_after(HANDSHAKE + GET + again + text).connections
    assert in_ms(open_exchanges.stalled_since(connection)) == since


@pytest.mark.parametrize(
    ("text", "is_over"),
    [
        pytest.param("", False, id="open"),
        pytest.param("1.0 < F. 1:1 ack 43\n1.01 > F. 43:43 ack 2\n1.02 < . ack 44", False, id="the close waits for its time"),
        pytest.param(
            "1.0 < F. 1:1 ack 43\n1.01 > F. 43:43 ack 2\n1.02 < . 2:2 ack 44\n3.0 < . 2:2 ack 44", True, id="it has passed"
        ),
    ],
)
def test_a_connection_is_over_some_time_after_its_close(text: str, is_over: bool) -> None:
    (connection,) = core_after(HANDSHAKE + GET + text).connections
    assert open_exchanges.is_over(connection) == is_over
    assert open_exchanges.has_rows(connection) == is_over


def test_what_is_no_http() -> None:
    (silent,) = core_after(HANDSHAKE).connections
    (other,) = core_after(HANDSHAKE + '0.1 > P. "SSH-2.0-x\\r\\n"\n0.2 < P. "SSH-2.0-y\\r\\n"').connections
    (http,) = core_after(HANDSHAKE + GET).connections
    assert [open_exchanges.is_not_http(one) for one in (silent, other, http)] == [False, True, False]
    (middle,) = core_after('0.1 > P. 1:6 ack 1 "aaaaa"').connections
    assert [open_exchanges.client_is_known(one) for one in (silent, middle)] == [True, False]

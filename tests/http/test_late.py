"""What had to wait for the other side is not known when it comes: rows are the same in epochs of every size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.http.conversations import MILLISECOND, PEERS
from tests.pipeline.feeding import tables
from wiredoctor.testing import to_pcap
from wiredoctor.testing.wire import ACK, PSH, SYN, Packet

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 20\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"


def packet(side: int, time: float, seq: int, ack: int | None, data: bytes = b"", flags: int = PSH | ACK) -> Packet:
    """At `time` in milliseconds."""
    return Packet(PEERS, side, round(time * MILLISECOND), flags, seq, ack, data)


HANDSHAKE = [packet(0, 0, 0, None, flags=SYN), packet(1, 10, 0, 1, flags=SYN | ACK), packet(0, 20, 1, 1, flags=ACK)]


def everywhere(packets: list[Packet], folder: Path, *names: str) -> dict[str, pl.DataFrame]:
    """All tables, or those of these names; the same in epochs of every size."""
    path = folder / "late.pcap"
    path.write_bytes(to_pcap(packets))
    whole = tables(path, messages=False)
    for size in range(1, len(packets)):
        seen = tables(path, size, messages=False)
        for name in names or whole:
            one, other = (some[name].drop("said_at", strict=False) for some in (whole, seen))
            differ = [column for column in one.columns if not one[column].equals(other[column], null_equal=True)]
            assert not differ, f"{name} in epochs of {size}"
    return whole


def messages(seen: dict[str, pl.DataFrame], first: int) -> list[Any]:
    """Of the segments from this frame on."""
    return seen["segments"].filter(pl.col("frame") >= first)["message"].to_list()


def test_requests_behind_one_that_asks_for_a_tunnel(tmp_path: Path) -> None:
    """Whether they are HTTP is known with the answer, which refuses the tunnel."""
    connect = b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"
    refusal = b"HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno"
    size, past = 1 + len(connect), 1 + len(connect + GET)
    packets = [
        *HANDSHAKE,
        packet(0, 30, 1, 1, connect),
        packet(0, 31, size, 1, GET),
        packet(0, 32, past, 1, GET[:9]),
        packet(1, 45, 1, size, refusal[:20]),
        packet(1, 46, 21, size, refusal[20:]),
        packet(0, 60, past + 9, 1 + len(refusal), GET[9:]),
        packet(1, 80, 1 + len(refusal), past + len(GET), OK + OK),
    ]
    seen = everywhere(packets, tmp_path)
    assert messages(seen, 4) == [0, None, None, 1, 1, 4, 3]
    assert seen["exchanges"]["response_status"].to_list() == [407, 200, 200]


def test_a_response_that_was_captured_before_its_request(tmp_path: Path) -> None:
    packets = list(HANDSHAKE)
    for n in range(3):
        asked, answered = 1 + n * len(GET), 1 + n * len(OK)
        packets += [
            packet(1, 100 * n + 40, answered, asked + len(GET), OK[:25]),
            packet(1, 100 * n + 40.05, answered + 25, asked + len(GET), OK[25:]),
            packet(0, 100 * n + 40.1, asked, answered, GET),
        ]
    seen = everywhere(packets, tmp_path)
    assert seen["exchanges"].select("request_frame", "response_frame").rows() == [(6, 4), (9, 7), (12, 10)]
    # the head is not all there in the first packet: what begins with it is known
    assert messages(seen, 7) == [3, None, 2, 5, None, 4]


@pytest.mark.parametrize("behind", [b"", GET])
def test_the_protocol_does_not_change_inside_a_request(behind: bytes, tmp_path: Path) -> None:
    """RFC 9110 section 7.8: the client goes on with its request, whatever the server has said already."""
    size = 1 + len(POST)
    packets = [
        *HANDSHAKE,
        packet(0, 30, 1, 1, POST + b"b" * 5),
        packet(1, 50, 1, size + 5, SWITCH),
        packet(0, 51, size + 5, 1 + len(SWITCH), b"b" * 5),
        packet(0, 52, size + 10, 1 + len(SWITCH), b"b" * 10 + behind),
        packet(0, 53, size + 20 + len(behind), 1 + len(SWITCH), GET),
    ]
    seen = everywhere(packets, tmp_path)
    columns = "request_body_bytes", "request_end_reason", "response_status", "upgraded"
    assert seen["exchanges"].select(columns).rows() == [(20, "complete", 101, True)]


def test_a_request_that_a_tunnel_cuts_off_is_listed(tmp_path: Path) -> None:
    """Nobody had asked for another protocol, and the request that the server speaks into never ends."""
    head = POST.replace(b"Connection: upgrade\r\nUpgrade: x\r\n", b"")
    packets = [
        *HANDSHAKE,
        packet(0, 30, 1, 1, GET + head + b"b" * 5),
        packet(1, 50, 1, 1 + len(GET + head) + 5, SWITCH),
    ]
    seen = everywhere(packets, tmp_path)
    assert seen["exchanges"].select("request_method", "request_end_reason").rows() == [("GET", "complete"), ("POST", "error")]


def test_round_trips_of_an_exchange_whose_answer_was_passed_over(tmp_path: Path) -> None:
    """That the first request has no answer is known with the answer to the second, and until then round trips come."""
    asked, lost = 1 + 3 * len(GET), 1 + 2 * len(OK)
    packets = [
        packet(0, 0, 1, 1, GET),
        packet(1, 1, 1, 1 + len(GET), OK),
        packet(0, 2, 1 + len(GET), 1 + len(OK), GET),
        packet(0, 5, 1 + 2 * len(GET), 1 + len(OK), GET),
        packet(1, 30, lost, asked, OK),
        packet(0, 40, asked, lost + len(OK), flags=ACK),
        packet(0, 2000, asked, lost + len(OK), GET),
        packet(1, 2000.3, lost + len(OK), asked + len(GET), OK),
        packet(0, 2000.4, asked + len(GET), lost + 2 * len(OK), flags=ACK),
    ]
    seen = everywhere(packets, tmp_path, "exchanges", "connections")
    assert seen["exchanges"]["has_response"].to_list() == [True, False, True, True]


def test_a_syn_behind_data_does_not_say_where_it_began(tmp_path: Path) -> None:
    """The first byte of a side is where its first packet is, unless a SYN had said by then that there is one before it."""
    packets = [packet(0, 0, 1, 1, GET), packet(1, 10, 101, 1 + len(GET), OK), packet(1, 20, 501, 1 + len(GET), flags=SYN | ACK)]
    assert messages(everywhere(packets, tmp_path), 1) == [0, 1, None]

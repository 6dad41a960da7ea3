"""Test that rows do not depend on the number of packets per read, although some bytes wait for the peer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.http.conversations import MILLISECOND, PEERS
from tests.pipeline.feeding import tables
from wiredoctor.tables import AT_THE_CLOSE
from wiredoctor.testing import to_pcap
from wiredoctor.testing.wire import ACK, FIN, PSH, SYN, Packet

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 20\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"


def packet(side: int, time: float, seq: int, ack: int | None, data: bytes = b"", flags: int = PSH | ACK) -> Packet:
    """Return a segment sent at `time` (ms)."""
    return Packet(PEERS, side, round(time * MILLISECOND), flags, seq, ack, data)


HANDSHAKE = [packet(0, 0, 0, None, flags=SYN), packet(1, 10, 0, 1, flags=SYN | ACK), packet(0, 20, 1, 1, flags=ACK)]


def everywhere(packets: list[Packet], folder: Path, *names: str) -> dict[str, pl.DataFrame]:
    """Return all tables; check that these (all without names) are the same in steps of every size."""
    path = folder / "late.pcap"
    path.write_bytes(to_pcap(packets))
    whole = tables(path, messages=False)
    for size in range(1, len(packets)):
        seen = tables(path, size, messages=False)
        for name in names or whole:
            one, other = whole[name], seen[name]
            differ = [column for column in one.columns if not one[column].equals(other[column], null_equal=True)]
            assert not differ, f"{name} in steps of {size}"
    return whole


def messages(seen: dict[str, pl.DataFrame], first: int) -> list[Any]:
    """Return the messages of the segments from this frame on."""
    return seen["segments"].filter(pl.col("frame") >= first)["message"].to_list()


def test_requests_behind_one_that_asks_for_a_tunnel(tmp_path: Path) -> None:
    """The response refuses the tunnel; only then is it known that the bytes are HTTP."""
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
    """RFC 9110 section 7.8: the client finishes its request even if the server has already responded."""
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
    """The request is read at the end of the capture. It has no end, because the tunnel began before it."""
    connect = b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"
    head = POST.replace(b"Connection: upgrade\r\nUpgrade: x\r\n", b"")
    packets = [
        *HANDSHAKE,
        packet(0, 30, 1, 1, connect + head + b"b" * 5),
        packet(1, 50, 101, 1 + len(connect), b"HTTP/1.1 200 OK\r\n\r\n"),
    ]
    seen = everywhere(packets, tmp_path)
    assert seen["exchanges"].select("request_method", "request_end_reason").rows() == [("CONNECT", "complete"), ("POST", "error")]


def test_nobody_goes_over_to_a_protocol_that_was_not_asked_for(tmp_path: Path) -> None:
    """RFC 9110 section 7.8: the request must have named the protocol. What the client sends next is HTTP, whenever it arrives."""
    head = POST.replace(b"Connection: upgrade\r\nUpgrade: x\r\n", b"")
    asked = 1 + len(GET + head)
    packets = [
        *HANDSHAKE,
        packet(0, 30, 1, 1, GET + head + b"b" * 5),
        packet(1, 50, 1, asked + 5, SWITCH),
        packet(0, 70, asked + 5, 1 + len(SWITCH), b"b" * 15),
        packet(1, 90, 1 + len(SWITCH), asked + 20, OK),
        packet(0, 110, asked + 20, 1 + len(SWITCH + OK), GET),
    ]
    seen = everywhere(packets, tmp_path)
    assert seen["exchanges"].select("request_method", "request_end_reason", "response_status", "upgraded").rows() == [
        ("GET", "complete", 101, False),
        ("POST", "complete", 200, False),
        ("GET", "complete", None, False),
    ]


def test_a_protocol_that_was_agreed_on_in_bytes_that_are_not_there(tmp_path: Path) -> None:
    """The server uses the protocol from there on. The client's bytes are recognized by their content, before or after."""
    size = 1 + len(POST)
    packets = [
        *HANDSHAKE,
        packet(1, 50, 1, size, SWITCH),
        packet(1, 60, 1 + len(SWITCH), size, OK),
        packet(0, 2_070, size, 1 + len(SWITCH + OK), b"\x81\x05hello"),
        packet(0, 4_080, size + 7, 1 + len(SWITCH + OK), GET),
        packet(1, 6_000, 1 + len(SWITCH + OK), size + 7 + len(GET), flags=ACK),
    ]
    seen = everywhere(packets, tmp_path)
    assert seen["exchanges"]["response_status"].to_list()[0] == 101
    assert not seen["exchanges"]["response_status"].is_in([200]).any()


def test_round_trips_of_an_exchange_whose_answer_was_passed_over(tmp_path: Path) -> None:
    """The response to the second request shows that the first has none. Round trips are measured before that."""
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
    """A side's stream begins with its first packet, unless a SYN has already shown that there is an earlier byte."""
    packets = [packet(0, 0, 1, 1, GET), packet(1, 10, 101, 1 + len(GET), OK), packet(1, 20, 501, 1 + len(GET), flags=SYN | ACK)]
    assert messages(everywhere(packets, tmp_path), 1) == [0, 1, None]


def answered(time: float, number: int, size: int = len(GET)) -> list[Packet]:
    """Return a response to what the client had sent so far, in two packets 300 ms apart."""
    begin, ack = 1 + number * len(OK), 1 + (number + 1) * size
    return [packet(1, time, begin, ack, OK[:-1]), packet(1, time + 300, begin + len(OK) - 1, ack, OK[-1:])]


def test_a_hole_in_front_of_requests_is_given_up_after_a_second(tmp_path: Path) -> None:
    """A response without its request waits for it no longer than the gap is kept open; so does the next response."""
    packets = [
        *HANDSHAKE,
        *answered(50, 0),  # the request of this one is not in the capture
        packet(0, 520, 1 + len(GET), 1 + len(OK), GET),
        *answered(530, 1),
        packet(0, 1_100, 1 + 2 * len(GET), 1 + 2 * len(OK), GET),
        *answered(1_540, 2),
    ]
    seen = everywhere(packets, tmp_path)
    assert seen["exchanges"].select("request_frame", "response_frame").rows() == [(None, 4), (6, 7), (9, 10)]
    # 1.05 s: the first response waits no longer; 1.53 s: the hole is given up, and all that is behind it can be read
    assert messages(seen, 4) == [None, None, None, None, None, None, 5, 5]


def test_a_request_that_comes_when_its_response_has_waited_in_vain(tmp_path: Path) -> None:
    """A second after the response it is not taken for what that answers, wherever steps end; nor for what the next response
    answers, which acknowledges a request that is not in the capture."""
    packets = [*HANDSHAKE, *answered(50, 0), packet(0, 1_100, 1, 1, GET), *answered(1_400, 1, len(GET))]
    seen = everywhere(packets, tmp_path)
    assert seen["exchanges"].select("request_frame", "response_frame").rows() == [(None, 4), (6, None), (None, 7)]
    assert messages(seen, 4) == [None, None, 0, None, None]


def test_a_response_waits_for_a_second_where_nothing_of_the_client_comes(tmp_path: Path) -> None:
    first, rest = answered(2_000, 2)
    packets = [*HANDSHAKE, *answered(50, 0), *answered(900, 1), first, replace(rest, time=3_001 * MILLISECOND)]
    seen = everywhere(packets, tmp_path)
    assert seen["exchanges"].select("request_frame", "response_frame").rows() == [(None, 4), (None, 6), (None, 8)]
    assert messages(seen, 4) == [None, None, None, None, None, 5]


def test_how_many_exchanges_there_are_while_a_head_is_read(tmp_path: Path) -> None:
    """A response that nobody asked for comes between the two parts of a head: which exchange these are of is known with the
    second one."""
    packets = [
        *HANDSHAKE,
        packet(0, 30, 1, 1, GET[:2]),
        packet(1, 40, 1, 3, OK),
        packet(0, 60, 3, 1 + len(OK), GET[2:]),
    ]
    segments = everywhere(packets, tmp_path)["segments"].filter(pl.col("frame") > 3)
    assert segments.select("message", "exchange").rows() == [(0, None), (1, 0), (0, 1)]


def test_a_packet_whose_second_message_waits_holds_a_body(tmp_path: Path) -> None:
    """Bytes after a request for a tunnel are read with the response; the body of the request before it is read at once."""
    post = POST.replace(b"Connection: upgrade\r\nUpgrade: x\r\n", b"") + b"b" * 20
    connect = b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"
    size = 1 + len(post + connect)
    packets = [
        *HANDSHAKE,
        packet(0, 30, 1, 1, post + connect + GET),
        packet(1, 50, 1, size, OK),
        packet(1, 60, 1 + len(OK), size, b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"),
    ]
    segments = everywhere(packets, tmp_path)["segments"].filter(pl.col("frame") > 3)
    assert segments.select("message", "in_body", "ends_message").rows() == [(0, True, False), (1, True, True), (3, False, True)]


def test_a_head_that_was_none_answers_nothing(tmp_path: Path) -> None:
    """Bytes that only looked like a header section for a while do not decide whether the peer used HTTP."""
    packets = [
        *HANDSHAKE,
        packet(1, 30, 1, 1, b"HTTP/1."),
        packet(1, 31, 8, 1, b" 401 No\r\n\r\n"),
        packet(0, 50, 1, 20, GET + b"a=b&c=d"),
        packet(0, 70, 1 + len(GET) + 7, 20, b"more of it"),
    ]
    assert everywhere(packets, tmp_path)["faults"].height == 0


def test_what_was_seen_of_both_sides_when_an_exchange_was_over(tmp_path: Path) -> None:
    """Two responses in a packet: both end before a packet of the client was captured, and the second is the last."""
    packets = [packet(1, 0, 1, 1, OK + OK), packet(0, 10, 1, 1 + 2 * len(OK), flags=ACK)]
    seen = everywhere(packets, tmp_path)
    assert seen["finished"]["both_directions"].to_list() == [False, False]
    assert AT_THE_CLOSE.of(seen["exchanges"])["both_directions"].to_list() == [False, True]


def test_an_interim_response_begins_an_exchange(tmp_path: Path) -> None:
    """The row of the previous exchange contains nothing later, whatever follows the interim response."""
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    packets = [
        packet(1, 0, 1, 1, OK),
        packet(0, 10, 1, 1 + len(OK), flags=ACK),
        packet(1, 20, 1 + len(OK), 1, early),
        packet(0, 30, 1, 1 + len(OK + early), flags=FIN | ACK),
        packet(1, 40, 1 + len(OK + early), 2, OK),
    ]
    assert everywhere(packets, tmp_path)["exchanges"]["client_close_frame"].to_list() == [None, 4]


def test_a_head_of_which_no_line_had_come_is_not_answered(tmp_path: Path) -> None:
    """The server had acknowledged one byte of it, and no response shows which request it answers."""
    packets = [
        *HANDSHAKE,
        packet(0, 30, 1, 1, GET[:1]),
        packet(1, 40, 1, 2, OK),
        packet(1, 50, 1 + len(OK), 2, OK),
        packet(0, 70, 2, 1 + 2 * len(OK), GET[1:]),
        packet(1, 90, 1 + 2 * len(OK), 1 + len(GET), OK),
    ]
    seen = everywhere(packets, tmp_path)
    assert seen["exchanges"].select("request_frame", "response_frame").rows() == [(None, 5), (None, 6), (4, 8)]

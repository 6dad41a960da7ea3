"""Much of one thing: nothing is lost of it, and the work follows its amount."""

from __future__ import annotations

import dataclasses
import time
import tracemalloc

import pytest

from tests.http.talk import HANDSHAKE, analyzed, exchanges, rows
from tests.ladders import Packet, ladder_packets
from tests.support.sweeps import SLOW
from wiredoctor import limits
from wiredoctor.protocols.http1.head import HeadParser
from wiredoctor.testing.wire import ACK, SYN, Peers

INTERIM = r"HTTP/1.1 103 Early Hints\r\n\r\n"


def interim_responses(count: int) -> float:
    """CPU seconds for a response behind so many interim ones."""
    pieces = "\n".join(f'0.{30 + i // 40:03d} < P. "{INTERIM * 40}"' for i in range(0, count, 40))
    talk = f'0.020 > P. "GET /a HTTP/1.1\\r\\n\\r\\n"\n{pieces}\n0.900 < P. "HTTP/1.1 204 No Content\\r\\n\\r\\n"\n'
    packets = ladder_packets(HANDSHAKE + talk)
    began = time.process_time()
    report = analyzed(packets)
    took = time.process_time() - began
    [exchange] = rows(report)
    listed = min(count, limits.INTERIM.value)
    assert (exchange["interim"], exchange["response_status"]) == ([103] * listed, 204)
    assert report.limits == ([limits.INTERIM.describe(count - listed)] if count > listed else [])
    return took


def test_interim_responses_cost_the_same_each() -> None:
    """Each would cost as much as all before it if their list were copied: fifty times more of them, 2,500 times the work."""
    few, many = min(interim_responses(400) for _ in range(2)), interim_responses(20_000)
    assert many < 500 * few


def test_connections_that_are_open_at_the_end_are_all_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their rows are made in portions, here of fewer than connections are remembered at once."""
    monkeypatch.setattr(limits, "FINISHED_AT_ONCE", dataclasses.replace(limits.FINISHED_AT_ONCE, value=4_000))
    count = 2 * limits.FINISHED_AT_ONCE.value + 3
    clients = [f"10.1.{i >> 14}.1:{1024 + (i & 16383)}" for i in range(count)]
    report = analyzed([Packet(Peers(client, "10.0.0.2:80", (i, 0)), 0, i, SYN, 0) for i, client in enumerate(clients)])
    assert report.connections["client"].to_list() == clients
    ids = report.connections["connection"].to_list()
    assert (ids, report.connections["history"].unique().to_list()) == (list(range(count)), ["S"])


@SLOW
def test_a_head_in_small_segments_is_searched_once() -> None:
    """Searched from its beginning for each segment, a head of 240 kB in pieces of 10 bytes took 9 s."""
    assert head_in_pieces(16_000) < 80 * head_in_pieces(100)
    for ends in (r"\r\n\r\n", r"\n\n", r"\n\r\n", r"\r\n\n"):
        lines = rf"GET /a HTTP/1.1\r\nX: y{ends}"
        pieces = [lines[i : i + 2] if lines[i] == "\\" else lines[i] for i in range(len(lines)) if lines[i - 1 : i] != "\\"]
        talk = "\n".join(f'0.{20 + i:03d} > P. "{piece}"' for i, piece in enumerate(pieces))
        [exchange] = exchanges(talk + '\n0.900 < P. "HTTP/1.1 204 No Content\\r\\n\\r\\n"\n')
        assert (exchange["request_target"], exchange["request_head_bytes"]) == ("/a", len(pieces))
        assert (exchange["request_end_reason"], exchange["response_status"]) == ("complete", 204)


def head_in_pieces(count: int) -> float:
    """CPU seconds for a request head in so many pieces of 10 bytes."""
    peers, head = Peers("10.0.0.1:4000", "10.0.0.2:80", (0, 0)), b"GET /a HTTP/1.1\r\n" + b"X: 456789\n" * count
    pieces = [head[i : i + 10] for i in range(0, len(head), 10)]
    packets = [Packet(peers, 0, i, ACK, 1 + 10 * i, 1, piece) for i, piece in enumerate(pieces)]
    began = time.process_time()
    [exchange] = rows(analyzed(packets))
    took = time.process_time() - began
    assert exchange["request_end_reason"] == "capture-end"
    return took


@pytest.mark.parametrize("name", ["Host", "x"])
def test_heads_of_many_fields_cost_what_they_hold(name: str) -> None:
    """Where each line that was not met before costs a look at all others, four heads take minutes."""
    parser = HeadParser()
    began = time.process_time()
    for number in range(4):
        lines = b"".join(b"%s: %d\r\n" % (name.encode(), number * 20_000 + i) for i in range(20_000))
        parsed = parser.request(b"GET / HTTP/1.1\r\n" + lines + b"Connection: close\r\n\r\n")
        assert parsed is not None
        assert (parsed[1].connection_close, parsed[1].number) == (True, number)
        assert parsed[1].host == (str(number * 20_000) if name == "Host" else "")
    assert time.process_time() - began < 5


@SLOW
def test_what_is_remembered_of_heads_stays_small() -> None:
    """Neither long heads nor ever new lines are kept: a capture of 16 MB is no reason to hold a gigabyte."""
    parser = HeadParser()
    tracemalloc.start()
    for number in range(80):
        long = b"HTTP/1.1 200 %b\r\nVia: %d%b\r\n\r\n" % (b"r" * 100_000, number, b"v" * 100_000)
        parsed = parser.response(long)
        assert parsed is not None
        assert parsed[1].via == f"{number}{'v' * 100_000}"[: limits.TEXT.value]
    for number in range(3 * limits.REMEMBERED_HEADS.value):
        assert parser.fields([b"Host: %d" % number, b"Via: x"]).host == str(number)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 16_000_000

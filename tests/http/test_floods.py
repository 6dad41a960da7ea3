"""Much of one thing: nothing is lost of it, and the work follows its amount."""

from __future__ import annotations

import time

from tests.http.talk import HANDSHAKE, analyzed, rows
from tests.ladders import Packet, ladder_packets
from tests.ladders.wire import SYN, Peers
from wiredoctor import analysis

INTERIM = r"HTTP/1.1 103 Early Hints\r\n\r\n"


def interim_responses(count: int) -> float:
    """CPU seconds for a response behind so many interim ones."""
    pieces = "\n".join(f'0.{30 + i // 40:03d} < P. "{INTERIM * 40}"' for i in range(0, count, 40))
    talk = f'0.020 > P. "GET /a HTTP/1.1\\r\\n\\r\\n"\n{pieces}\n0.900 < P. "HTTP/1.1 204 No Content\\r\\n\\r\\n"\n'
    packets = ladder_packets(HANDSHAKE + talk)
    began = time.process_time()
    [exchange] = rows(analyzed(packets))
    took = time.process_time() - began
    assert (exchange["interim"], exchange["response_status"]) == ([103] * count, 204)
    return took


def test_interim_responses_cost_the_same_each() -> None:
    """Each would cost as much as all before it if their list were copied: fifty times more of them, 2,500 times the work."""
    few, many = min(interim_responses(400) for _ in range(2)), interim_responses(20_000)
    assert many < 500 * few


def test_connections_that_are_open_at_the_end_are_all_told() -> None:
    """Their rows are made in portions."""
    count = 2 * analysis.FINISHED_AT_ONCE + 3
    clients = [f"10.1.{i >> 14}.1:{1024 + (i & 16383)}" for i in range(count)]
    report = analyzed([Packet(Peers(client, "10.0.0.2:80", (i, 0)), 0, i, SYN, 0) for i, client in enumerate(clients)])
    assert report.connections["client"].to_list() == clients
    ids = report.connections["connection"].to_list()
    assert (ids, report.connections["history"].unique().to_list()) == (list(range(count)), ["S"])

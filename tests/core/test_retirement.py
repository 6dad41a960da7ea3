"""Test that nothing remains of connections that are over, and of rows that wait for a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.core.feeding import Memory
from tests.ladders import Packet, ladder_packets, to_pcap
from wiredoctor.core.capture.file_formats import open_records
from wiredoctor.core.cutoffs import Cutoffs
from wiredoctor.core.http1.alarms import FEWEST_ALARMS
from wiredoctor.core.http1.conversation import Conversation
from wiredoctor.core.loop import Core
from wiredoctor.core.tcp.connection import GONE
from wiredoctor.limits import LimitsReached

ONE = ladder_packets(r"""
    0 > S
    0 < S.
    0 > P. "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    0 < P. "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    0 < F.
""")  # fmt: skip


def analyzed(packets: list[Packet]) -> Core:
    """Return the core after these packets, while connections are open."""
    content = to_pcap(packets)
    core = Core(open_records(Memory(content, len(content)), "x"), Cutoffs(), LimitsReached(), False, False)
    core.run(len(packets))
    return core


def reused(times: int) -> list[Packet]:
    """Return the packets of connections one after the other on the same ports, all at the same time."""
    peers = ONE[0].peers
    return [replace(packet, peers=replace(peers, isn=(1_000 * i, 2_000 * i))) for i in range(1, times + 1) for packet in ONE]


def test_alarms_of_connections_that_are_over_are_forgotten() -> None:
    core = analyzed(reused(2 * FEWEST_ALARMS))
    assert core.flows.count == 1
    assert core.http.exchanges.rows.count == 2 * FEWEST_ALARMS
    alarms = core.http.alarms
    assert alarms.pending() <= FEWEST_ALARMS
    assert alarms.queue[-1].connection.number == 2 * FEWEST_ALARMS - 1


def test_a_connection_that_is_over_keeps_nothing_for_further_packets() -> None:
    content = to_pcap(reused(2))
    core = Core(open_records(Memory(content, len(content)), "x"), Cutoffs(), LimitsReached(), False, False)
    core.run(len(ONE))
    (connection,) = core.flows.open_connections()
    http = connection.http
    core.run(len(ONE))
    assert [len(flight.segments) for flight in core.tcp.new_flights] == [0, 0, 1, 1]
    assert isinstance(http, Conversation)
    assert connection.first is connection.second is GONE
    assert (http.queue.next_index, http.queue.oldest, http.first.message) == (1, None, None)


CLOSED = r"""
    0     > S
    0     < S.
    0     > P. "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    0     < PF. "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    0     > F.
    0     < .
    {late}
"""  # fmt: skip


@pytest.mark.parametrize(
    ("late", "is_over"),
    [
        ("1.1 > F.\n 3.3 > F.", True),
        ("0.9 > F.", False),
        ('1.1 > P. "bytes after the FIN"\n 3.3 > F.', True),
    ],
)
def test_what_http_knew_is_freed_a_second_after_both_fins(late: str, is_over: bool) -> None:
    core = analyzed(ladder_packets(CLOSED.format(late=late)))
    (connection,) = core.flows.open_connections()
    http = connection.http
    assert isinstance(http, Conversation)
    assert http.is_over == is_over
    assert core.http.closes.rows.count == is_over
    core.finish([connection], core.records.times.latest)
    assert (core.http.exchanges.rows.count, core.http.closes.rows.count, http.queue.next_index) == (1, 1, 1)

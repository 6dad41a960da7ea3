"""Many requests that wait for their responses: how many is bounded, and each segment knows its exchange."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

import pytest

from tests.http.talk import analyzed, rows
from tests.ladders import to_pcap
from tests.pipeline.feeding import WHOLE, tables
from tests.support.sweeps import SLOW
from wiredoctor import limits
from wiredoctor.testing.wire import ACK, SYN, Packet, Peers

GET, ANSWER = b"GET /%d HTTP/1.1\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"


def talk(*sent: tuple[int, bytes], size: int = 60) -> list[Packet]:
    """Return a handshake and what each direction sends, in segments, a millisecond apart."""
    peers, offsets = Peers("10.0.0.1:4000", "10.0.0.2:80", (0, 0)), [1, 1]
    packets = [
        Packet(peers, 0, 0, SYN, 0, mss=1460), Packet(peers, 1, 100, SYN | ACK, 0, 1, mss=1460), Packet(peers, 0, 200, ACK, 1, 1)
    ]  # fmt: skip
    for side, data in sent:
        for i in range(0, len(data), size):
            piece = data[i : i + size]
            packets.append(Packet(peers, side, len(packets) * 1_000_000, ACK, offsets[side], offsets[1 - side], piece))
            offsets[side] += len(piece)
    return packets


@SLOW
@pytest.mark.parametrize("step", [1, 7, WHOLE])
@pytest.mark.parametrize("size", [10, 300])
def test_a_segment_knows_its_exchange_however_many_it_holds(size: int, step: int, tmp_path: Path) -> None:
    """It is that of the message with its first byte, once the head is complete."""
    requests = [GET % i for i in range(90)]
    asked = b"".join(requests)
    sent = talk((0, asked[:1500]), (1, ANSWER * 40), (0, asked[1500:]), (1, ANSWER * 50), size=size)
    ends = ([*accumulate(map(len, requests))], [*accumulate([len(ANSWER)] * 90)])
    path = tmp_path / "pipelined.pcap"
    path.write_bytes(to_pcap(sent))
    segments = tables(path, step)["segments"].slice(3)
    expected: list[int | None] = []
    for packet in sent[3:]:
        exchange = bisect_right(ends[packet.side], packet.seq - 1)
        has_head = ends[packet.side][exchange] < packet.end
        expected.append(exchange if has_head else None)
    assert segments["exchange"].to_list() == expected
    assert segments["message"].null_count() == 0


@pytest.mark.parametrize("size", [20, 60, 10_000])
def test_requests_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """The fortieth request that waits is the last that is read, wherever steps end; no response is reported as missing."""
    monkeypatch.setattr(limits.PIPELINED, "value", 40)
    asked = b"".join(GET % i for i in range(200))
    at = asked.index(GET % 70)
    sent = talk((0, asked[:at]), (1, ANSWER * 10), (0, asked[at:]), (1, ANSWER * 190), size=size)
    reports = [analyzed(sent, epoch_packets=step) for step in (1, 7, 1000)]
    seen = [[(row["request_target"], row["has_response"], row["upgraded"]) for row in rows(report)] for report in reports]
    assert seen == [[(f"/{i}", False, True) for i in range(41)]] * 3
    assert [report.limits for report in reports] == [[limits.PIPELINED.describe(1)]] * 3
    again = talk((0, asked[: asked.index(GET % 40)]), (1, ANSWER * 10), (0, GET % 40), (1, ANSWER * 31), size=size)
    for step in (1, 7, 1000):
        report = analyzed(again, epoch_packets=step)
        assert (report.limits, [row["response_status"] for row in rows(report)]) == ([], [204] * 41)

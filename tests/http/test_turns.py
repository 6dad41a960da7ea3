"""What is read in turns, said early, or not read at all: memory is bounded, and where epochs end changes nothing."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest

from tests.http.conversations import conversation, packets, shuffled
from tests.http.talk import analyzed, rows
from wiredoctor import http, limits
from wiredoctor.http import spoken, walk
from wiredoctor.http.items import Items
from wiredoctor.http.turns import turns
from wiredoctor.testing.wire import ACK, SYN, Packet, Peers

GET, ANSWER = b"GET /%d HTTP/1.1\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.fixture
def tight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is only done with much is done at once."""
    monkeypatch.setattr(limits.TURN, "value", 100)
    monkeypatch.setattr(spoken, "EARLY", 2)
    monkeypatch.setattr(walk, "MANY_OPEN", 0)


def talk(*said: tuple[int, bytes], size: int = 60) -> list[Packet]:
    """A handshake and what each side says, in segments, a millisecond apart."""
    peers, sent = Peers("10.0.0.1:4000", "10.0.0.2:80", (0, 0)), [1, 1]
    packets = [
        Packet(peers, 0, 0, SYN, 0, mss=1460), Packet(peers, 1, 100, SYN | ACK, 0, 1, mss=1460), Packet(peers, 0, 200, ACK, 1, 1)
    ]  # fmt: skip
    for side, data in said:
        for i in range(0, len(data), size):
            piece = data[i : i + size]
            packets.append(Packet(peers, side, len(packets) * 1_000_000, ACK, sent[side], sent[1 - side], piece))
            sent[side] += len(piece)
    return packets


@pytest.mark.usefixtures("tight")
@pytest.mark.parametrize("seed", range(12))
def test_turns_change_nothing(seed: int) -> None:
    random = Random(seed)
    said, flights = conversation(random)
    sent = packets(flights)
    for some in (sent, shuffled(sent, random)):
        seen = rows(analyzed(some))
        assert [{name: row[name] for name in said[0].seen} for row in seen] == [s.seen for s in said]


def test_turns_end_where_the_other_side_is() -> None:
    """Each side is read up to the packets that came before the next turn's of either."""
    client = Items(start=[0, 100, 200], end=[100, 200, 300], at=[0] * 3, time=[0] * 3, frame=[1, 4, 9], ack=[0] * 3)
    server = Items(start=[0, 50, 60], end=[50, 60, 70], at=[0] * 3, time=[0] * 3, frame=[2, 3, 8], ack=[0] * 3)
    ranges = [(client, 0, 3), (server, 0, 3)]
    assert turns(ranges) == [(3, 3)]
    whole = limits.TURN.value
    try:
        limits.TURN.value = 100
        assert turns(ranges) == [(1, 0), (2, 2), (3, 3)]
        client.shuffled, client.frame = True, [4, 1, 9]
        assert turns(ranges) == [(2, 2), (3, 3)]
    finally:
        limits.TURN.value = whole


def segments_of(sent: list[Packet], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What HTTP says of each segment."""
    seen: list[dict[str, Any]] = []
    whole = http.lower
    monkeypatch.setattr(http, "lower", lambda s, *more: (seen.append({n: np.copy(v) for n, v in s.items()}), whole(s, *more))[1])
    analyzed(sent)
    monkeypatch.setattr(http, "lower", whole)
    [columns] = seen
    return columns


def test_a_segment_knows_its_message_however_many_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only messages that hold the first or the last byte of a packet are looked up; the others still count."""
    asked = b"".join(GET % i for i in range(90))
    sent = talk((0, asked[:1500]), (1, ANSWER * 40), (0, asked[1500:]), (1, ANSWER * 45), size=300)
    loose = segments_of(sent, monkeypatch)
    thinned: list[int] = []
    thin = walk.thin
    monkeypatch.setattr(walk, "thin", lambda *how: (thinned.append(1), thin(*how))[1])
    monkeypatch.setattr(walk, "MANY_OPEN", 0)
    dense = segments_of(sent, monkeypatch)
    assert thinned
    assert (loose["message"][3:] >= 0).all()
    for name, column in loose.items():
        assert column.tolist() == dense[name].tolist(), name


@pytest.mark.parametrize("size", [20, 60, 10_000])
def test_requests_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """The fortieth request that waits is the last that is read, wherever epochs end; nothing is said of a lost answer."""
    monkeypatch.setattr(limits.PIPELINED, "value", 40)
    asked = b"".join(GET % i for i in range(200))
    at = asked.index(GET % 70)
    sent = talk((0, asked[:at]), (1, ANSWER * 10), (0, asked[at:]), (1, ANSWER * 190), size=size)
    reports = [analyzed(sent, epoch_packets=epoch) for epoch in (1, 7, 1000)]
    seen = [[(row["request_target"], row["has_response"], row["upgraded"]) for row in rows(report)] for report in reports]
    assert seen == [[(f"/{i}", False, True) for i in range(41)]] * 3
    assert [report.limits for report in reports] == [[limits.PIPELINED.said(1)]] * 3
    again = talk((0, asked[: asked.index(GET % 40)]), (1, ANSWER * 10), (0, GET % 40), (1, ANSWER * 31), size=size)
    for epoch in (1, 7, 1000):
        report = analyzed(again, epoch_packets=epoch)
        assert (report.limits, [row["response_status"] for row in rows(report)]) == ([], [204] * 41)

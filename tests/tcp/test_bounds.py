"""Test that the TCP state of one connection is bounded: at the limit, the oldest entry is dropped."""

from __future__ import annotations

import pytest

from tests.http.talk import analyzed
from tests.ladders import Packet
from tests.tcp.seeing import see_packets
from wiredoctor import limits
from wiredoctor.testing.wire import ACK, Peers

PEERS = Peers("10.0.0.1:4000", "10.0.0.2:80", (0, 0))


def segment(time: int, seq: int, ip_id: int | None = None, ttl: int = 64) -> Packet:
    """Ten bytes of the client."""
    return Packet(PEERS, 0, time, ACK, seq, 1, b"0123456789", ip_id=ip_id, ttl=ttl)


def test_the_first_holes_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second segment is missing; what comes late is new, unless its hole was forgotten."""
    apart = [segment(i * 1_000_000, 1 + 20 * i) for i in range(8)]
    late = [segment(100_000_000 + i * 1_000_000, 11 + 20 * i) for i in range(7)]
    assert see_packets(apart + late).column("new_bytes") == [10] * 15
    monkeypatch.setattr(limits.HOLES, "value", 4)
    assert see_packets(apart + late).column("new_bytes") == [10] * 8 + [0] * 3 + [10] * 4
    assert analyzed(apart + late).limits == ["3 gaps were dropped because one direction had more than 4 gaps"]


@pytest.mark.parametrize(("between", "found"), [(1, 1), (2, 0)])
def test_copies_lie_within_a_number_of_packets(between: int, found: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All have one time stamp: by time alone each could be a copy."""
    monkeypatch.setattr(limits.COPIES, "value", 2)
    others = [segment(0, 100 + 10 * i) for i in range(between)]
    packets = [segment(0, 1, ip_id=7), *others, segment(0, 1, ip_id=7, ttl=63)]
    assert see_packets(packets).connection["duplicates"] == found

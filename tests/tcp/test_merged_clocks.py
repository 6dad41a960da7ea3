"""Captures of several hosts, merged into one: it has each packet between them twice, by two clocks (core/tcp/host_clocks.py)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import wiredoctor
from tests.ladders import Packet, ladder_packets, to_pcap
from tests.support.sweeps import WHOLE
from wiredoctor.core.tcp.host_clocks import ClockShifts, HostClocks
from wiredoctor.tables import MILLISECOND, SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wiredoctor.findings import Report

FRONT = r"""
  connection {front}, client 10.0.0.1:4000{number}, server 10.0.0.2:80
  0.0000  >  S    mss 1460 id 1 ts
  0.0001  <  S.   mss 1460 id 0 ts
  0.0004  >  .    id 2 ts
  0.0010  >  P.   "GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n" id 3 ts
  0.0170  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood" id 4 ts
  0.0175  >  F.   id 5 ts
  0.0176  <  F.   id 6 ts
  0.0179  >  .    id 7 ts
"""
BACK = r"""
  connection {back}, client 10.0.0.2:5000{number}, server 10.0.0.3:8001
  0.0020  >  S    mss 1460 id 1 ts
  0.0023  <  S.   mss 1460 id 0 ts
  0.0024  >  .    id 2 ts
  0.0026  >  P.   "GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n" id 3 ts
  0.0029  <  .    id 8 ts
  0.0160  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood" id 4 ts
  0.0161  >  .    id 4 ts
  0.0162  >  F.   id 5 ts
  0.0165  <  F.   id 9 ts
  0.0166  >  .    id 6 ts
"""
PATH_DELAY = MILLISECOND // 10
ALL = 2 * len(BACK.strip().splitlines()[1:])
"""The number of packets between the gateway and its server."""


def of_gateway() -> tuple[list[Packet], list[Packet]]:
    """The packets that a gateway captures: with its clients, and with its server."""
    packets: list[Packet] = []
    for number in (0, 1):
        text = FRONT.format(front=2 * number + 1, number=number) + BACK.format(back=2 * number + 2, number=number)
        packets += [late(replace(one, left=one.time), number * SECOND) for one in ladder_packets(text)]
    backs = [one for one in packets if one.peers.server.endswith(":8001")]
    return [one for one in packets if one not in backs], backs


def late(packet: Packet, by: int, **changes: Any) -> Packet:
    """The same packet, sent so many ns later."""
    return replace(packet, time=packet.time + by, left=(packet.left or 0) + by, **changes)


def at_server(packets: Sequence[Packet], ahead: int) -> list[Packet]:
    """The same packets as the server captures them, whose clock is ahead by this many ns."""
    return [replace(one, time=one.time + ahead + (-PATH_DELAY if one.side else PATH_DELAY)) for one in packets]


def analyzed(path: Path, packets: Sequence[Packet]) -> Report:
    path.write_bytes(to_pcap(sorted(packets, key=lambda one: one.time)))
    return wiredoctor.analyze(path)


def certain_pairs(report: Report) -> int:
    return sum(known.tries.filter("certain").height for known in report.gateways.values())


@WHOLE
@pytest.mark.parametrize("ahead", [-1_500, -300, -20, -3, -1, 1, 3, 20, 300, 1_500])
def test_clocks_that_are_apart(tmp_path: Path, ahead: int) -> None:
    fronts, backs = of_gateway()
    report = analyzed(tmp_path / "merged.pcap", [*fronts, *backs, *at_server(backs, ahead * MILLISECOND)])
    assert [one.rule for one in report.findings] == ["duplicate-packets"]
    assert report.captures[0].duplicates == ALL
    assert certain_pairs(report) == 2
    [limit] = report.limits
    amount = f"{abs(ahead)} ms" if abs(ahead) < 1_000 else f"{abs(ahead) / 1_000:g} s"
    assert f"whose clocks differ, by up to {amount}:" in limit.replace(".00 ", " ").replace(".0 ", " ").replace("50 s", "5 s")


@WHOLE
@pytest.mark.parametrize("ahead", [-300, 300])
@pytest.mark.parametrize(("wrong", "certain"), [(0, 4), (30, 2)])
def test_loopback_of_one_of_the_hosts(tmp_path: Path, wrong: int, certain: int, ahead: int) -> None:
    fronts, backs = of_gateway()
    text = "".join(BACK.format(back=number + 1, number=number) for number in (0, 1))
    for one, other in (("10.0.0.2:", "127.0.0.1:"), ("10.0.0.3:8001", "127.0.0.1:80"), ("0.016", "0.012"), ("0.002", "0.004")):
        text = text.replace(one, other)
    second = SECOND + wrong * MILLISECOND
    apps = [late(one, second if one.peers.client.endswith("1") else 0) for one in ladder_packets(text)]
    theirs = at_server([*backs, *apps], ahead * MILLISECOND)
    report = analyzed(tmp_path / "merged.pcap", [*fronts, *backs, *theirs])
    assert "differ, by up to 300 ms:" in report.limits[0]
    assert certain_pairs(report) == certain


def mirrored(packets: Sequence[Packet]) -> list[Packet]:
    return [replace(one, time=one.time + PATH_DELAY // 2) for one in packets]


def sent_again(packets: Sequence[Packet]) -> list[Packet]:
    """Retransmissions of all data, 300 ms after it: their ACKs were lost."""
    return [late(one, 300 * MILLISECOND, ip_id=(one.ip_id or 0) + 100) for one in packets if one.payload]


@pytest.mark.parametrize("again", [mirrored, sent_again, lambda packets: at_server(packets, 0)])
def test_copies_by_one_clock(tmp_path: Path, again: Callable[[Sequence[Packet]], list[Packet]]) -> None:
    fronts, backs = of_gateway()
    report = analyzed(tmp_path / "one.pcap", [*fronts, *backs, *again(backs)])
    assert report.limits == []
    assert certain_pairs(report) == 2


def test_a_router_that_holds_packets_back(tmp_path: Path) -> None:
    _, backs = of_gateway()
    wait = 30 * MILLISECOND
    before = [one if one.side else replace(one, time=one.time - wait) for one in backs]
    behind = [replace(one, time=one.time - PATH_DELAY if one.side else one.time, ttl=63) for one in backs]
    report = analyzed(tmp_path / "router.pcap", [*before, *behind])
    assert report.limits == []
    assert report.captures[0].duplicates == ALL


def key(one: int, other: int) -> bytes:
    return bytes([10, 0, 0, one, 10, 0, 0, other, 0, 80, 0, 81])


def test_three_clocks() -> None:
    clocks = HostClocks()
    for time in (0, 1):
        clocks.add(key(1, 2), 1_010, 990, time)  # 2 is ahead of 1 by 1,000
        clocks.add(key(2, 3), 290, 310, time)  # 3 is behind 2 by 300
    shifts = ClockShifts(clocks)
    assert [shifts.of(key(9, host), 0, 0) for host in (1, 2, 3)] == [1_000, 0, 300]
    assert [shifts.of(key(*both), 0, 0) for both in ((1, 2), (2, 1), (3, 2), (3, 1))] == [1_000, 1_000, 300, 1_000]
    assert shifts.of(key(8, 9), 0, 0) == 0
    assert shifts.longest == 1_000


def test_a_clock_that_drifts() -> None:
    clocks = HostClocks()
    for number in range(100):
        clocks.add(key(1, 2), 1_000_010 + 20 * number, 999_990 + 20 * number, number * MILLISECOND)
    shifts = ClockShifts(clocks)
    ahead = [shifts.of(key(9, 2), 0, number * MILLISECOND) for number in (10, 50, 90)]
    assert ahead == [(97 - number) * 20 for number in (10, 50, 90)]


@pytest.mark.parametrize(("apart", "of"), [([(20, 10)], 0), ([(20, 10), (10, 20)], 0), ([(20, 10), (20, 10)], 15)])
def test_what_is_needed(apart: list[tuple[int, int]], of: int) -> None:
    clocks = HostClocks()
    for first, second in apart:
        clocks.add(key(1, 2), first, second, 0)
    assert ClockShifts(clocks).longest == of


def test_interfaces_show_who_captured_on_a_loopback_address() -> None:
    clocks = HostClocks()
    for _ in range(2):
        clocks.add(key(1, 2), 1_010, 990, 0)
        clocks.place(key(1, 2), True, 5, 6)
    loopback = bytes([127, 0, 0, 1, 127, 0, 0, 1, 0, 80, 0, 81])
    shifts = ClockShifts(clocks)
    assert [shifts.of(loopback, interface, 0) for interface in (5, 6, 7)] == [1_000, 0, 0]

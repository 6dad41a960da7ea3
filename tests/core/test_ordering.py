"""Test records that are out of order: which are sorted, which count as a clock that was set back, and which stay unchanged."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

import wiredoctor
from tests.capture import files
from tests.core.feeding import Memory
from tests.ladders import ladder_packets, set_back, to_pcap
from tests.pipeline.feeding import tables
from wiredoctor import limits, rule_engine
from wiredoctor.core.capture.file_formats import open_records
from wiredoctor.core.capture.ordering import HeldPacket, order_of
from wiredoctor.core.capture.packet import Packet
from wiredoctor.core.loop import Core
from wiredoctor.engine.run import core_cutoffs
from wiredoctor.limits import LimitsReached

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MS = 1_000_000

TALK = r"""
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
  0.020  >  P.   "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
  0.040  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
  0.045  <  P.   "one"
  0.050  <  P.   "two"
  0.055  <  P.   "six"
  0.060  >  .
"""


def opened(content: bytes, *, grows: bool = False, written: int | None = None) -> Core:
    """A core that puts the records of a pcap file in order."""
    source = Memory(content, len(content) if written is None else written)
    core = Core(
        open_records(source, "x"), core_cutoffs(rule_engine.cutoffs(rule_engine.catalogue())), LimitsReached(), False, False
    )
    core.put_in_order(grows)
    return core


def read(core: Core) -> list[tuple[int, int]]:
    """Return (frame, time in us) of what is handed on. The watermark is that of what was."""
    assert core.ordering is not None
    packet, found = Packet(), list[tuple[int, int]]()
    while core.ordering.next(packet):
        found.append((packet.frame, packet.time // 1000))
        assert packet.clock // 1000 >= max(time for _, time in found)
    return found


def empty(times: Sequence[int]) -> bytes:
    """A pcap file of packets without content, at these times in us from its first."""
    return files.pcap([files.Packet(1_000_000 + time, b"", 0) for time in times])


def test_frames_stay_and_times_go_up() -> None:
    core = opened(empty([0, 3_000, 6_000, 4_000, 9_000, 70_000]))
    assert read(core) == [(1, 0), (2, 3_000), (4, 4_000), (3, 6_000), (5, 9_000), (6, 70_000)]
    [moved] = core.records.times.shuffled.first
    assert (moved.frame, moved.frame_before, moved.time_before - moved.time) == (4, 3, 2 * MS)
    assert core.records.times.steps.count == 0


@pytest.mark.parametrize(
    ("times", "steps", "moved"),
    [
        pytest.param([0, 2_000, 1_000, 3_000], 0, 0, id="1 ms is a little"),
        pytest.param([0, 2_001, 1_000, 3_000], 0, 1, id="more is out of order"),
        pytest.param([0, 60_000, 10_000, 70_000], 0, 1, id="50 ms"),
        pytest.param([0, 60_000, 9_999, 70_000], 1, 0, id="beyond it is a step"),
        pytest.param([0, 60_000, 50_000, 51_000, 52_000, 53_000, 70_000], 0, 4, id="four go on from the lower time"),
        pytest.param([0, 60_000, 50_000, 51_000, 52_000, 53_000, 54_000, 70_000], 1, 0, id="five are a clock"),
        pytest.param([0, 60_000, 40_000, 49_999, 70_000], 0, 2, id="a little less than 10 ms"),
        pytest.param([0, 60_000, 40_000, 50_000, 70_000], 1, 0, id="10 ms are a clock"),
    ],
)
def test_what_no_connection_explains(times: list[int], steps: int, moved: int) -> None:
    core = opened(empty(times))
    found = read(core)
    assert sorted(frame for frame, _ in found) == [*range(1, len(times) + 1)]
    assert (core.records.times.steps.count, core.records.times.shuffled.count) == (steps, moved)
    if steps:
        assert [frame for frame, _ in found] == [*range(1, len(times) + 1)]
    elif moved:
        assert [time for _, time in found] == sorted(times)


def in_file(text: str, order: Sequence[int], back: int = 0, behind: int = 0) -> bytes:
    """Return a file with the packets of a ladder in this order of numbers from 1. The clock is set back by `back` nanoseconds
    after `behind` of them."""
    packets = set_back(ladder_packets(text), behind, back)
    return to_pcap([packets[number - 1] for number in order])


@pytest.mark.parametrize("behind", [4, 5, 6, 7, 8])
@pytest.mark.parametrize("back", [7 * MS, 22 * MS, 49 * MS])
def test_who_acknowledges_a_segment_came_after_it(back: int, behind: int) -> None:
    """A clock that was set back by less than threads are behind: the connection shows that the order of the file is right."""
    packets = ladder_packets(TALK)
    core = opened(in_file(TALK, range(1, 10), back, behind))
    assert [frame for frame, _ in read(core)] == [*range(1, 10)]
    assert core.records.times.steps.count == (packets[behind].time - packets[behind - 1].time + MS < back)
    assert core.records.times.shuffled.count == 0


@pytest.mark.parametrize("order", [[1, 2, 3, 5, 4, 6, 7, 8, 9], [2, 1, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 5, 7, 8, 9, 6]])
def test_whose_segment_is_acknowledged_too_soon_stands_too_late(order: list[int]) -> None:
    core = opened(in_file(TALK, order))
    times = [time for _, time in read(core)]
    assert times == sorted(times)
    assert (core.records.times.steps.count, core.records.times.shuffled.count) == (0, 1)
    assert core.ordering is not None
    assert core.ordering.is_known


def test_threads_that_write_one_after_the_other() -> None:
    """One writes eight packets, which go on from a lower time: the connection shows that they are late."""
    text = TALK + "".join(f'  0.{number:03d}  <  P.   "abc"\n' for number in range(61, 69))
    core = opened(in_file(text, [*range(1, 5), *range(9, 18), *range(5, 9)]))
    times = [time for _, time in read(core)]
    assert times == sorted(times)
    assert (core.records.times.steps.count, core.records.times.shuffled.count) == (0, 4)


def test_connections_are_numbered_as_the_file_has_them() -> None:
    """The second connection of the file begins earlier by its stamps; Wireshark gives it the number 1 all the same."""
    talk = "  0.000  >  S\n  0.003  <  S.\n  0.003  >  .\n"
    later, earlier = (
        ladder_packets(f"connection 1, start {start}, client 10.0.0.1:{port}, server 10.0.0.2:80\n{talk}")
        for start, port in (("0.002", 4001), ("0.000", 4002))
    )
    core = opened(to_pcap([later[0], earlier[0], *sorted([*later[1:], *earlier[1:]], key=lambda packet: packet.time)]))
    core.run(100)
    assert [(one.id, one.key[8:10]) for one in core.flows.open_connections()] == [(0, b"\x0f\xa1"), (1, b"\x0f\xa2")]
    assert core.records.times.shuffled.count == 1


@pytest.mark.parametrize("late", [1, 5])
def test_connections_on_ports_used_again_are_numbered_as_the_file_has_them(late: int) -> None:
    """What stands in the file within 50 ms of the second connection on the ports is read ahead, and is of a later one."""
    talk = "  0.000  >  S\n  0.003  <  S.\n  0.003  >  .\n"
    first, again, other = (
        ladder_packets(f"connection 1, start {start}, client 10.0.0.1:{port}, server 10.0.0.2:80, isn {isn} {isn}\n{talk}")
        for start, port, isn in (("0.000", 4001, 1000), ("0.010", 4001, 900_000), ("0.020", 4002, 1000))
    )
    packets = [*first, *again[:1], *again, *other]
    packets.insert(late, packets.pop(late - 1))
    core = opened(to_pcap(packets))
    core.run(100)
    assert [(one.id, one.key[8:10]) for one in core.flows.open_connections()] == [(1, b"\x0f\xa1"), (2, b"\x0f\xa2")]
    assert core.records.times.shuffled.count == 1
    assert core.flows.next_id == 3


@pytest.mark.parametrize("seed", range(30))
def test_all_packets_go_on_once_and_in_order(seed: int) -> None:
    """Packets of threads that are up to 5 ms late: whatever the file looks like, none is lost, and a growing file gives the same
    from the first that is out of order on."""
    draw = random.Random(seed)
    times = sorted(draw.randrange(200_000) for _ in range(120))
    times[0] = 0
    late = sorted(times, key=lambda time: time + (draw.randrange(5_000) if draw.random() < 0.1 and time else 0))
    core = opened(empty(late))
    found = read(core)
    assert sorted(frame for frame, _ in found) == [*range(1, 121)]
    assert core.records.times.steps.count == 0
    behind = [later - time for (_, time), (_, later) in zip(found[1:], found, strict=False)]
    assert max(behind) <= 1_000  # what came before the first that was out of order, and less than 1 ms
    growing = opened(empty(late), grows=True)
    assert growing.ordering is not None
    some = read(growing)
    growing.ordering.silent_until = 1 << 50
    some += read(growing)
    assert sorted(frame for frame, _ in some) == [*range(1, 121)]
    assert growing.records.times.steps.count == 0


def test_a_growing_file_waits_for_what_may_come() -> None:
    content = empty([0, 3_000, 6_000, 4_000, 9_000, 70_000, 130_000])
    core = opened(content, grows=True, written=24 + 4 * 16)
    assert core.ordering is not None
    assert read(core) == [(1, 0), (2, 3_000), (3, 6_000)]
    assert core.ordering.due_at() == 56 * MS
    source = core.records.source
    assert isinstance(source, Memory)
    source.written += 2 * 16
    assert read(core) == [(4, 4_000), (5, 9_000)]
    source.written += 16
    assert read(core) == [(6, 70_000)]
    core.ordering.silent_until = 180 * MS
    assert read(core) == [(7, 130_000)]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for ten packets those go on sooner; nothing is lost."""
    monkeypatch.setattr(limits.REORDERED, "value", 10)
    times = [0, 5_000, 1_000, *range(5_001, 6_001)]
    core = opened(empty(times))
    assert core.ordering is not None
    packet, count = Packet(), 0
    while core.ordering.next(packet):
        count += 1
        assert len(core.ordering.queue) - core.ordering.gone <= 11
    assert count == len(times)


def held(sequence: int, acknowledgment: int, size: int, *, turned: bool) -> HeldPacket:
    one = HeldPacket()
    one.addresses, one.is_turned = 1, turned
    one.sequence, one.acknowledgment, one.size = sequence, acknowledgment, size
    return one


@pytest.mark.parametrize(
    ("first", "second", "order"),
    [
        pytest.param(held(10, 5, 3, turned=False), held(13, 5, 3, turned=False), 1, id="more data"),
        pytest.param(held(13, 5, 3, turned=False), held(10, 5, 3, turned=False), -1, id="data before it"),
        pytest.param(held(10, 5, 3, turned=False), held(10, 9, 0, turned=False), 1, id="acknowledges more"),
        pytest.param(held(10, 9, 3, turned=False), held(20, 5, 3, turned=False), -1, id="acknowledges less"),
        pytest.param(held(10, 5, 3, turned=False), held(5, 13, 0, turned=True), 1, id="acknowledges it"),
        pytest.param(held(5, 13, 0, turned=True), held(10, 5, 3, turned=False), -1, id="is acknowledged by it"),
        pytest.param(held(10, 5, 0, turned=False), held(10, 5, 0, turned=False), 0, id="twice the same"),
        pytest.param(held(10, 5, 3, turned=False), held(5, 10, 3, turned=True), 0, id="both speak"),
        pytest.param(held(0xFFFFFFFF, 5, 3, turned=False), held(2, 5, 3, turned=False), 1, id="around zero"),
    ],
)
def test_what_two_packets_show(first: HeldPacket, second: HeldPacket, order: int) -> None:
    assert order_of(first, second) == order


HURRIED = r"""
  0.00000  >  S    win 64240 mss 1460
  0.00002  <  S.   win 64240 mss 1460
  0.00003  >  .
  0.00005  >  P.   "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
  0.00070  <  P.   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
  0.00080  >  .
  0.10000  >  F.
"""


@pytest.mark.parametrize("order", [[3, 5, 6, 1, 2, 4, 7], [2, 1, 3, 4, 5, 6, 7]])
def test_a_handshake_that_comes_less_than_a_millisecond_too_late(order: list[int], tmp_path: Path) -> None:
    """Two threads wrote the first packets of a connection: its SYN comes after packets that were sent later."""
    path = tmp_path / "threads.pcap"
    path.write_bytes(in_file(HURRIED, order))
    found = tables(path, in_order=True)
    assert found["connections"]["handshake"].to_list() == [True]
    assert found["exchanges"]["response_status"].to_list() == [200]
    assert not wiredoctor.analyze(path).not_judged


def test_a_clock_that_steps_back_by_less_than_a_millisecond_changes_no_order() -> None:
    core = opened(in_file(HURRIED, range(1, 8), 600_000, 5))
    assert [frame for frame, _ in read(core)] == [*range(1, 8)]

"""Test two recordings of one path: the clock, each packet, and the lost packets agree with how the traffic was generated."""

from __future__ import annotations

import struct
from dataclasses import replace
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

import wiredoctor
from tests.compare.recordings import SECOND, Conversation, Packet, Segment, Wire, clock, read, shifted, write
from tests.support.recordings import find_recording
from wiredoctor.compare import collect_capture, two_points
from wiredoctor.compare.two_points.packet_columns import gather
from wiredoctor.compare.two_points.result import TwoPoints
from wiredoctor.report.terminal.document import Grid, write_text
from wiredoctor.report.terminal.terminal import Terminal

T0 = 1_700_000_000 * SECOND


def held(client: Path, server: Path) -> TwoPoints:
    """The comparison of two files."""
    return two_points(*(collect_capture(wiredoctor.analyze(str(path), keep=True)) for path in (client, server)), "0")


def recorded(folder: Path, client: list[Packet], server: list[Packet], offset: float = 3.0, drift: float = 50.0) -> TwoPoints:
    """The comparison of packets that were recorded at two points, the second with another clock."""
    start = client[0][0] if client else T0
    return held(write(folder / "client.pcap", client), write(folder / "server.pcap", shifted(server, offset, drift, start)))


def talk(loss: float = 0.0, exchanges: int = 40, connections: int = 3, **conditions: Any) -> Wire:
    """Conversations of half a minute over a wire with a round trip of 20 ms."""
    wire = Wire(Random(11), loss=loss, **conditions)
    for number in range(connections):
        one = Conversation(wire, 40_000 + number, T0 + number * SECOND)
        one.open()
        for exchange in range(exchanges):
            one.exchange(exchange)
            one.time += SECOND // 2
    return wire


def only(told: TwoPoints, recording: str, *kinds: str) -> list[int]:
    """Frames of packets that only this recording has, and that became one of these."""
    return sorted(one.frame for one in told.packets if one.recording == recording and one.kind in kinds)


def test_the_clock_every_packet_and_every_loss(tmp_path: Path) -> None:
    wire = talk(loss=0.06)
    client, server = wire.ordered()
    told = recorded(tmp_path, client, server)
    assert told.clock
    assert told.clock.offset == pytest.approx(3.0, abs=0.001)
    assert told.clock.drift == pytest.approx(50.0, abs=told.clock.drift_error)
    assert told.clock.drift_error is not None
    assert told.clock.drift_error < 5
    assert told.clock.round_trip == pytest.approx(0.020, abs=0.0005)
    # each packet that the wire carried is matched, and no other
    carried = len(client) + len(server) - len(wire.lost)
    assert sum(way.arrived for way in told.ways) * 2 == carried
    assert [way.hops for way in told.ways] == [3, 3]
    # each that it lost is found, at the point that it passed
    assert len(wire.lost) > 20
    places = {packet: frame for packets in (client, server) for frame, packet in enumerate(packets, start=1)}
    for at_client, recording in ((True, "client"), (False, "server")):
        lost = sorted(places[packet] for side, packet in wire.lost if side == at_client)
        assert only(told, recording, "lost", "lost-or-not-recorded") == lost
        # of data the first of the copies that were lost are told from those that may have been left out by the recording
        data = [places[packet] for side, packet in wire.lost if side == at_client and len(packet[1]) > 54]
        repeats = only(told, recording, "lost-or-not-recorded")
        assert set(only(told, recording, "lost")) == set(data) - set(repeats)
    assert {one.kind for one in told.packets} == {"lost", "lost-or-not-recorded"}
    # a retransmission is needless where what it repeats had arrived: its ACK was lost
    acks = {True: 0, False: 0}
    for at_client, packet in wire.lost:
        acks[at_client] += len(packet[1]) == 54
    for way in told.ways:
        assert way.ack_lost >= 1
        assert (way.ack_late, way.ack_not_sent) == (0, 0)
        assert way.needless == way.ack_lost
    assert sum(way.retransmissions for way in told.ways) == len(wire.lost)


@pytest.mark.parametrize("name", ["lost-response", "lost-segment-fast", "chromium-rtt-20", "haproxy-uvicorn-rtt-20", "go-rtt-20"])
def test_real_recordings_with_another_clock(name: str, tmp_path: Path) -> None:
    client, server = (read(find_recording(f"{name}-{point}.pcap")) for point in ("client", "server"))
    told = recorded(tmp_path, client, server)
    assert told.clock
    # both were stamped by one clock before, and the ways are equally long
    assert told.clock.offset == pytest.approx(3.0, abs=0.001)
    assert told.clock.drift is None or told.clock.drift == pytest.approx(50.0, abs=told.clock.drift_error)
    # of a frame that came to the other end nothing differs, as the wire has no router
    both = {data for _, data in client} & {data for _, data in server}
    assert sum(way.arrived for way in told.ways) == len(both)
    gone = [frame for frame, (_, data) in enumerate(server, start=1) if data not in both]
    assert only(told, "server", "lost") == gone
    assert len(gone) == name.startswith("lost-")
    assert only(told, "client", "lost", "lost-or-not-recorded", "not-recorded", "injected") == []


def test_what_a_recording_lacks_was_not_lost(tmp_path: Path) -> None:
    client, server = (read(find_recording(f"go-rtt-20-{point}.pcap")) for point in ("client", "server"))
    # of the client's recording every seventh packet with data is taken out, which the client had acknowledged all the same
    data = [n for n, (_, packet) in enumerate(client) if packet[14:15] == b"\x45" and len(packet) > 150]
    removed = [n for n in data[::7] if n not in (0, len(client) - 1)]
    assert len(removed) > 2
    told = recorded(tmp_path, [packet for n, packet in enumerate(client) if n not in removed], server)
    gone = {client[n][1] for n in removed}
    there = [frame for frame, (_, packet) in enumerate(server, start=1) if packet in gone]
    assert sorted(one.frame for one in told.packets if one.kind == "not-recorded") == there
    assert {one.kind for one in told.packets} == {"not-recorded"}
    assert sum(way.lost for way in told.ways) == 0


def test_the_order_in_which_they_are_named_does_not_matter(tmp_path: Path) -> None:
    client, server = talk(exchanges=5, loss=0.05).ordered()
    paths = write(tmp_path / "client.pcap", client), write(tmp_path / "server.pcap", server)
    right, wrong = held(*paths), held(*paths[::-1])
    assert (right.swapped, wrong.swapped) == (False, True)
    assert replace(wrong, swapped=False) == right


def test_a_nat_between_the_points(tmp_path: Path) -> None:
    client, server = talk(exchanges=5, nat="192.0.2.9").ordered()
    told = recorded(tmp_path, client, server)
    assert {pair.matched_by for pair in told.connections} == {"rewritten-addresses"}
    assert [(c.what, c.sent, c.received, c.connections) for c in told.changed] == [
        ("address of the client", "10.1.0.1", "192.0.2.9", 3)
    ]
    assert told.packets == []
    assert sum(way.arrived for way in told.ways) == len(client)


def edited(packets: list[Packet], change: object) -> list[Packet]:
    return [(time, change(data)) for time, data in packets]  # type: ignore[operator]


def test_options_that_are_changed_on_the_way(tmp_path: Path) -> None:
    client, server = talk(exchanges=3).ordered()

    def clamped(data: bytes) -> bytes:
        """MSS 1460 becomes 1380, SACK permitted is overwritten by padding."""
        return data.replace(b"\x02\x04\x05\xb4\x04\x02", b"\x02\x04\x05\x64\x01\x01")

    told = recorded(tmp_path, client, [p if p[1][34:36] == b"\0P" else (p[0], clamped(p[1])) for p in server])
    assert [(c.what, c.sender, c.sent, c.received, c.connections) for c in told.changed] == [
        ("SACK permitted", "client", "there", "removed", 3),
        ("maximum segment size", "client", "1460", "1380", 3),
    ]


def test_sequence_numbers_that_are_rewritten(tmp_path: Path) -> None:
    client, server = talk(exchanges=4, connections=1, loss=0.1).ordered()

    def rewritten(data: bytes) -> bytes:
        seq, ack = struct.unpack_from("!II", data, 38)
        reverse = data[34:36] == b"\0P"
        shifts = (0xF000_0000, 12_345)
        own, other = (shifts[1], shifts[0]) if reverse else shifts
        ack = (ack + other) % 2**32 if data[47] & 16 else ack
        return data[:38] + struct.pack("!II", (seq + own) % 2**32, ack) + data[46:]

    told = recorded(tmp_path, client, edited(server, rewritten))
    plain = recorded(tmp_path, client, server)
    assert [pair.matched_by for pair in told.connections] == ["rewritten-numbers"]
    assert told.packets == plain.packets
    assert told.ways == plain.ways


def joined(packets: list[Packet]) -> list[Packet]:
    """As a receiver's offload hands them up: data of one direction that came without anything in between, in one segment."""
    made: list[Packet] = []
    for time, data in packets:
        before = made[-1][1] if made else b""
        same = before[26:38] == data[26:38] and len(before) > 54 and len(data) > 54
        follows = same and struct.unpack_from("!I", data, 38)[0] == struct.unpack_from("!I", before, 38)[0] + len(before) - 54
        if follows and time - made[-1][0] < 400_000:
            whole = before + data[54:]
            made[-1] = (time, whole[:16] + struct.pack("!H", len(whole) - 14) + whole[18:])
        else:
            made.append((time, data))
    return made


def burst(folder: Path, lose: int | None = None) -> TwoPoints:
    """A response of twelve segments, one after the other, that the client's offload joins; one may be lost, and is sent again."""
    wire = Wire(Random(5), jitter=1e-9)
    one = Conversation(wire, 40_000, T0)
    one.open()
    one.exchange(0)
    one.time += SECOND
    at, numbers = one.time, dict(one.seq)
    for n in range(12):
        segment = Segment(one.port, True, numbers[True] + 1448 * n, numbers[False], 24, bytes(1448), 500 + n)
        if n == lose:
            wire.server.append((at + n * 10_000, segment.frame()))
        else:
            wire.carry(segment, at + n * 10_000)
    wire.carry(
        Segment(one.port, False, numbers[False], numbers[True] + 1448 * (12 if lose is None else lose), 16, b"", 900),
        at + SECOND // 20,
    )
    if lose is not None:
        wire.carry(Segment(one.port, True, numbers[True] + 1448 * lose, numbers[False], 24, bytes(1448), 700), at + SECOND // 10)
        wire.carry(Segment(one.port, False, numbers[False], numbers[True] + 1448 * 12, 16, b"", 901), at + SECOND // 5)
    client, server = wire.ordered()
    return recorded(folder, joined(client), server)


def test_segments_that_are_joined_by_offload(tmp_path: Path) -> None:
    told = burst(tmp_path)
    assert told.packets == []
    [to_client] = [way for way in told.ways if way.sender == "server"]
    assert to_client.resegmented == 12
    assert to_client.arrived == to_client.sent


def test_one_of_the_joined_segments_is_lost(tmp_path: Path) -> None:
    told = burst(tmp_path, lose=5)
    [lost] = told.packets
    assert (lost.recording, lost.kind, lost.what) == ("server", "lost", "1,448 bytes of data")
    [to_client] = [way for way in told.ways if way.sender == "server"]
    assert to_client.arrived == to_client.sent - 1


def test_a_reset_that_nobody_sent(tmp_path: Path) -> None:
    wire = talk(exchanges=6, connections=1)
    client, server = wire.ordered()
    middle = next(n for n in range(len(client) // 2, len(client)) if client[n][1][34:36] == b"\0P" and len(client[n][1]) > 54)
    time, data = client[middle]
    seq = struct.unpack_from("!I", data, 38)[0]
    for ttl in (200, 61):
        reset = Segment(40_000, True, seq, 0, 4, ttl=ttl).frame()
        told = recorded(tmp_path, [*client[:middle], (time - 1000, reset), *client[middle:]], server)
        [one] = told.packets
        assert (one.recording, one.frame, one.kind, one.what) == ("client", middle + 1, "injected", "RST"), ttl


def test_a_clock_that_was_set(tmp_path: Path) -> None:
    client, server = talk(exchanges=40, connections=1).ordered()
    middle = client[0][0] + 12 * SECOND
    server = [(time + (SECOND // 4 if time > middle else 0), data) for time, data in server]
    told = recorded(tmp_path, client, server, offset=-100.0, drift=0.0)
    assert told.clock
    assert told.clock.offset == pytest.approx(-100.0, abs=0.001)
    [step] = told.clock.steps
    assert step.by == pytest.approx(0.25, abs=0.001)
    assert step.elapsed == pytest.approx(12.0, abs=1.0)
    assert all(way.delays and way.delays.p95 < 0.02 for way in told.ways)


def test_packets_that_are_all_alike(tmp_path: Path) -> None:
    """IPv6 has no identification, and many stacks send 0: then copies are told apart by when they came."""
    wire = talk(loss=0.05, connections=2)
    client, server = wire.ordered()

    def plain(data: bytes) -> bytes:
        return data[:18] + b"\0\0" + data[20:]

    told = recorded(tmp_path, edited(client, plain), edited(server, plain))
    places = {packet: frame for packets in (client, server) for frame, packet in enumerate(packets, start=1)}
    for at_client, recording in ((True, "client"), (False, "server")):
        lost = sorted(places[packet] for side, packet in wire.lost if side == at_client)
        assert only(told, recording, "lost", "lost-or-not-recorded") == lost


def test_recordings_that_overlap_in_part(tmp_path: Path) -> None:
    client, server = talk(exchanges=20, connections=1).ordered()
    told = recorded(tmp_path, client[: len(client) * 3 // 4], server[len(server) // 4 :])
    assert {one.kind for one in told.packets} == {"outside"}
    assert all(way.lost == way.lost_or_not_recorded == 0 for way in told.ways)


def test_recordings_of_different_traffic(tmp_path: Path) -> None:
    one, other = talk(exchanges=2).ordered()[0], Wire(Random(3))
    conversation = Conversation(other, 1, T0)
    conversation.open()
    told = recorded(tmp_path, one, other.ordered()[1])
    assert told.clock is None
    assert (told.ways, told.connections) == ([], [])
    assert len(told.alone) == 4
    assert told.notes[0].startswith("no connection passed both points")
    nothing = recorded(tmp_path, [], [])
    assert (nothing.ways, nothing.alone, nothing.clock) == ([], [], None)


def test_time_that_passed_at_the_server_and_under_way(tmp_path: Path) -> None:
    wire = Wire(Random(1), delay=0.030, jitter=1e-6)
    one = Conversation(wire, 40_000, T0, think=0.250)
    one.open()
    for number in range(10):
        one.exchange(number)
    told = recorded(tmp_path, *wire.ordered())
    assert told.waiting
    assert told.waiting.exchanges == 10
    # the request is acknowledged before the server thinks: a round trip, and the tenths of a millisecond between
    assert told.waiting.beyond_server.median == pytest.approx(0.250 + 0.030, abs=0.002)
    assert told.waiting.between.median == pytest.approx(0.060, abs=0.002)
    assert told.waiting.seen_by_client.median == pytest.approx(0.340, abs=0.002)


def test_the_helper_keeps_its_clock() -> None:
    shown = clock(3.0, 50.0, T0)
    assert shown(T0) == T0 + 3 * SECOND
    assert shown(T0 + 1000 * SECOND) == T0 + 1003 * SECOND + 50_000_000


def test_a_connection_that_is_told_nothing_of(tmp_path: Path) -> None:
    """Of a connection with nothing but odd packets there are segments, and no row."""
    client, server = talk(exchanges=2, connections=2).ordered()
    paths = write(tmp_path / "client.pcap", client), write(tmp_path / "server.pcap", server)
    sides = [collect_capture(wiredoctor.analyze(str(path), keep=True)) for path in paths]
    for side in sides:
        for gone in (0, 1):
            rows = side.point.connections.filter(pl.col("connection") != gone)
            point = gather(side.packets, rows, side.point.first_time, side.point.last)
            assert set(point.packets["connection"].tolist()) == {1 - gone}
            assert len(point.syns) == 2


@pytest.mark.parametrize(
    "points",
    [
        ("lost-request", "client", "middle"),
        ("lost-response", "middle", "server"),
        ("lost-segment-fast", "middle", "server"),
        ("lost-twice", "middle", "server"),
    ],
)
def test_what_is_lost_beyond_the_second_point_is_not_sent_needlessly(points: tuple[str, str, str]) -> None:
    """The lab loses packets on one link; only where an ACK came past the far point is it known that their receiver had them."""
    name, *ends = points
    paths = [find_recording(f"{name}-{end}.pcap") for end in ends]
    told = held(*paths)
    # the lost request, or response, itself is repeated with reason: its sender alone repeats it where it is the only one
    lost = {"lost-request": "client"}.get(name, "server")
    [way] = [way for way in told.ways if way.sender == lost]
    assert way.retransmissions >= 1
    assert way.needless == 0


@pytest.mark.parametrize("cut", [60, 100, 140])
def test_a_recording_that_ends_early_or_begins_late_has_lost_nothing(cut: int, tmp_path: Path) -> None:
    # nothing was lost there, and packets wait in queues of different length
    client, server = (find_recording(f"slow-reader-snapped-{point}.pcap") for point in ("client", "server"))
    data = client.read_bytes()
    at, places = 24, [24]
    while at < len(data):
        at += 16 + struct.unpack_from("<I", data, at + 8)[0]
        places.append(at)
    for part in (data[: places[cut]], data[:24] + data[places[cut] :]):
        (tmp_path / "cut.pcap").write_bytes(part)
        told = held(tmp_path / "cut.pcap", server)
        assert {one.kind for one in told.packets} <= {"outside"}
        assert all(way.lost == way.lost_or_not_recorded == 0 for way in told.ways)


@pytest.mark.parametrize("removed", [{10}, {3, 10}], ids=str)
def test_silence_after_a_reset_proves_nothing(tmp_path: Path, removed: set[int]) -> None:
    """The last FIN of the client (10, from 0) passes a reset; the recording at the server is left without it, and without the
    first request (3), which the server acknowledged."""
    client, server = (read(find_recording(f"race-{point}.pcap")) for point in ("client", "server"))
    lacking = [p for n, p in enumerate(server) if n not in removed]
    missing = recorded(tmp_path, client, lacking, 0.0, 0.0).packets
    assert "lost" not in {p.kind for p in missing}
    assert len(missing) == len(removed)


def test_an_ack_that_is_lost_beyond_the_first_point() -> None:
    """The lab loses the response between the middle and the client, and with it the ACK of the request."""
    told = held(*(find_recording(f"lost-response-{point}.pcap") for point in ("middle", "server")))
    [way] = [way for way in told.ways if way.sender == "client"]
    assert (way.needless, way.ack_beyond, way.ack_late, way.ack_lost) == (1, 1, 0, 0)


def test_two_copies_of_one_recording() -> None:
    told = held(*[find_recording("lost-response-client.pcap")] * 2)
    assert told.notes[0].startswith("every packet has the same time in both")


@pytest.mark.parametrize("width", [30, 40, 60, 80, 160])
def test_a_table_is_no_wider_than_the_terminal(width: int) -> None:
    grid = Grid(
        ("endpoint", "before", "median", "after", "median", "difference", ""),
        (("10.9.0.2:8080 GET /late", "8", "80.4 ms", "8", "45.3 ms", "-35.1 ms", "faster"),),
    )
    out = StringIO()
    write_text([grid], out, Terminal(width=width, unicode=True))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    for cell in grid.rows[0][1:]:
        assert any(cell in line for line in lines)

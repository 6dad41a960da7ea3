"""What TCP may do to a conversation without changing what is said: split, repeat, shuffle; and captures that are cut anywhere."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

import wiredoctor
from tests.captures.papers import EACH_RULE, ONE_EACH, PATHS, read
from tests.ladders import to_pcap
from tests.pipeline import feeding
from tests.pipeline.ladders import FILES, no_gateways_between, together
from tests.support.sweeps import FORMS, sweep
from wiredoctor.pipeline import CaptureError
from wiredoctor.testing.wire import FIN, SYN, Packet, Peers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

EACH = pytest.mark.parametrize("file", sweep(FILES, FILES[1::18].__contains__), ids=lambda file: file.stem)

LOST = ("excess_body", "conflicting_framing", "invalid_chunk", "body_not_allowed", "malformed_head", "unframed_request_body",
        "unfinished_transfer_coding", "snap_length")  # fmt: skip
"""Ladders in which the end of a message is unknown: the next one is looked for where a packet begins like a head. And those of
cut packets: in smaller ones less is cut."""

FRAMED = [file for file in FILES if file.stem not in LOST]
EACH_FRAMED = pytest.mark.parametrize("file", sweep(FRAMED, FRAMED[2::24].__contains__), ids=lambda file: file.stem)

SAID = (
    *("connection", "exchange", "has_request", "has_response", "interim", "persistent", "upgraded"),
    *(f"request_{n}" for n in ("method", "target", "version", "host", "framing", "end_reason", "head_bytes", "body_bytes")),
    *(f"response_{n}" for n in ("status", "reason", "version", "framing", "end_reason", "head_bytes", "body_bytes", "chunks")),
)
"""Columns that tell what was said, whatever the packets were."""


def said(packets: Sequence[Packet], tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / "disturbed.pcap"
    path.write_bytes(to_pcap(packets))
    return feeding.tables(path, messages=False)["exchanges"].select(SAID).to_dicts()


EDGE = 200
"""Bytes at each end of a payload that are split: heads, and the beginning and the end of a long body."""
ALIKE = re.compile(rb"(.)\1{3}(\1+)\1{4}", re.DOTALL)
"""A run of equal bytes, as ladders have them for a body. The second group, all but four bytes at each end, is not split: one more
byte of the same says nothing new."""


def byte_by_byte(packet: Packet) -> list[Packet]:
    """The same payload in segments of one byte, at the same time; SYN goes with the first, FIN with the last."""
    size = len(packet.payload)
    if size < 2 or size > 3000:
        return [packet]
    parts: list[Packet] = []
    whole = {n for run in ALIKE.finditer(packet.payload) for n in range(run.start(2) + 1, run.end(2))}
    places = (*range(min(EDGE, size)), *range(max(EDGE, size - EDGE), size), size)
    for i, end in pairwise(place for place in places if place not in whole):
        flags = packet.flags & ~(SYN if i else 0) & ~(FIN if end < size else 0)
        seq = packet.seq + i + (bool(packet.flags & SYN) if i else 0)
        parts.append(replace(packet, seq=seq, payload=packet.payload[i:end], flags=flags))
    return parts


def uncut(packets: Sequence[Packet]) -> list[Packet]:
    """Return the packets of connections that were captured whole: the snap length cuts smaller packets less, and after a gap the
    next message is looked for where a packet begins like a head."""
    cut = {packet.peers for packet in packets if packet.snap is not None} | with_gaps(packets)
    return [packet for packet in packets if packet.peers not in cut]


def with_gaps(packets: Sequence[Packet]) -> set[Peers]:
    """Return the connections of which bytes are missing."""
    ends: dict[tuple[Peers, int], int] = {}
    found = set[Peers]()
    for packet in sorted(packets, key=lambda packet: packet.seq):
        side = (packet.peers, packet.side)
        if packet.payload and packet.seq > ends.get(side, packet.seq):
            found.add(packet.peers)
        ends[side] = max(ends.get(side, 0), packet.end)
    return found


NO_HEAD_IN_A_BYTE = {
    "slow_response": ("speaks: a 100 Continue comes first, and the request before was not captured",),
    "no_response": (
        "speaks: at-once, a server that does not expect a PROXY protocol header",
        "speaks: unread, a server that rejects a PROXY protocol header, and announces the close",
    ),
}
"""After a gap or bytes that are not HTTP, a message is recognized by the first four bytes of a packet; packets of one byte show
none."""


@FORMS
@EACH_FRAMED
def test_a_segment_per_byte(file: Path, tmp_path: Path) -> None:
    packets = uncut(together(file, NO_HEAD_IN_A_BYTE.get(file.stem, ())))
    split = [part for packet in packets for part in byte_by_byte(packet)]
    assert said(split, tmp_path) == said(packets, tmp_path)


@FORMS
@EACH
def test_every_packet_twice(file: Path, tmp_path: Path) -> None:
    """A mirror port that sees both directions: the second copy with another TTL. It is counted and goes no further."""
    packets = [replace(packet, ip_id=n + 1) for n, packet in enumerate(together(file))]
    twice = [copy for p in packets for copy in (p, replace(p, ttl=p.ttl - 1, time=p.time + 1000))]
    assert said(twice, tmp_path) == said(packets, tmp_path)
    connections = feeding.tables(tmp_path / "disturbed.pcap", messages=False)["connections"]
    assert connections["packets"].sum() == len(packets)


def shuffled(packets: Sequence[Packet], random: Random) -> list[Packet]:
    """Neighbours of one side that follow each other within a millisecond change places.

    Not those of a side without a SYN: what is below its first byte may have been sent before the capture began, and again.
    """
    result = list(packets)
    whole = {(packet.peers, packet.side) for packet in packets if packet.flags & SYN}
    for i, j in pairwise(range(len(result))):
        a, b = result[i], result[j]
        near = a.peers == b.peers and a.side == b.side and (a.peers, a.side) in whole and 0 <= b.time - a.time < 1_000_000
        if near and a.payload and b.payload and not (a.flags | b.flags) & SYN and random.random() < 0.5:
            result[i], result[j] = replace(b, time=a.time), replace(a, time=b.time)
    return result


@FORMS
@EACH_FRAMED
def test_shuffled_within_a_round_trip(file: Path, tmp_path: Path) -> None:
    packets = together(file)
    split = [part for packet in packets for part in in_pieces(packet)]
    expected = said(split, tmp_path)
    for seed in range(3):
        assert said(shuffled(split, Random(seed)), tmp_path) == expected


def in_pieces(packet: Packet) -> list[Packet]:
    """A segment in three, so that there is something to shuffle."""
    size = len(packet.payload)
    if size < 3 or packet.flags & (SYN | FIN):
        return [packet]
    edges = [0, size // 3, 2 * size // 3, size]
    return [
        replace(packet, seq=packet.seq + a, payload=packet.payload[a:b], time=packet.time + 1000 * n)
        for n, (a, b) in enumerate(pairwise(edges))
    ]


SEEDS = {"retransmission_stall": (1, 2), "zero_window_stall": (1, 4), "delayed_ack_stall": (1, 2, 3, 4, 5, 6)}
"""Where one is not enough: the last piece of a response fills a hole in its middle, and says nothing of its end."""

UNKNOWABLE = {
    # a chunk that is captured late joins the next one: then the stream came in two pieces, which other responses do, too
    "client_abort": ("speaks: stream, a response of any type that came in three pieces",),
    # a full segment in pieces, of which the last is captured first, looks like small ones that Nagle's algorithm held
    "delayed_ack_stall": (
        "speaks: both hosts on one machine",
        "silent: pipelined requests; the server needs 50 ms for each response, and the delayed ACK of the previous one comes "
        "before that",
        "silent: a client is busy for 44 ms between the head of its upload and the body; the delayed ACK of the head comes "
        "before that",
        "speaks: the second time it is no chance",
        "silent: twice the body leaves 0.7 ms after the ACK of the head; both may be chance",
        "speaks: the third time it is no chance",
        "silent: the capture cuts off the heads, and the client was busy once between head and body",
        "speaks: the second time it is no chance, though the heads are cut off",
        "speaks: the heads are cut off; the second time is on another connection",
        "silent: the heads are cut off, and twice the next segment leaves 0.7 ms after the ACK; both may be chance",
        "silent: payload that is not HTTP; the client was busy once before it wrote on",
        "speaks: payload that is not HTTP; the second time it is no chance",
        "speaks: the head goes alone, and so does each segment of the body",
    ),
    # a request in two pieces, of which the last is captured first, looks like one packet
    "malformed_head": (
        "speaks: speaks-first, an SSH server greets; curl has its answer before its request leaves, and closes",
        "speaks: speaks-first, a database greets, and closes when it does not understand",
        "speaks: speaks-first, a gRPC server sends its SETTINGS, and a GOAWAY after the request of HTTP/1.1",
        "speaks: speaks-first, the server has closed before the request came",
    ),
    "retransmission_stall": (
        # a piece that is captured earlier makes the wait as long as the least that counts
        "speaks: 150 ms are one",
    ),
    # the last segment that is captured is not the highest one, so the data before the close does not seem to lack room, and the
    # server seems to have stopped
    "zero_window_stall": ("speaks: a player that reads another part never opens the window of this one",),
}
"""Ladders that say something else in another order."""


@FORMS
@EACH
def test_shuffled_brings_no_new_error_or_warning(file: Path, tmp_path: Path) -> None:
    def serious(packets: Sequence[Packet]) -> Counter[str]:
        path = tmp_path / "serious.pcap"
        path.write_bytes(to_pcap(packets))
        with no_gateways_between():
            return Counter(f.rule for f in wiredoctor.analyze(path).findings if f.severity != "note")

    split = [part for packet in together(file, UNKNOWABLE.get(file.stem, ())) for part in in_pieces(packet)]
    expected = serious(split)
    for seed in SEEDS.get(file.stem, (1,)):
        found = serious(shuffled(split, Random(seed)))
        assert not found - expected
        assert found.total() <= expected.total()


@FORMS
@pytest.mark.parametrize("path", sweep(ONE_EACH, EACH_RULE[::8].__contains__), ids=lambda path: path.stem)
def test_truncated_anywhere(path: Path, tmp_path: Path) -> None:
    """No exception, wherever the file ends; what is whole before that is listed."""
    data = path.read_bytes()
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(data[: Random(path.stem).randrange(24, len(data))])
    try:
        report = wiredoctor.analyze(cut)
    except CaptureError:
        return
    assert report.exchanges.height <= len(read(path).exchanges)


@FORMS
@pytest.mark.parametrize("path", sweep(PATHS[::4], PATHS[::80].__contains__), ids=lambda path: path.stem)
def test_damaged_anywhere(path: Path, tmp_path: Path) -> None:
    """Bytes of packets that are something else: no exception, and the same result packet by packet."""
    data = bytearray(path.read_bytes()[:20_000])
    random = Random(path.stem)
    for _ in range(40):
        data[random.randrange(200, len(data))] = random.randrange(256)
    damaged = tmp_path / "damaged.pcap"
    damaged.write_bytes(data)
    try:
        report = wiredoctor.analyze(damaged)
    except CaptureError:
        return
    assert report.connection_count == report.connections.height

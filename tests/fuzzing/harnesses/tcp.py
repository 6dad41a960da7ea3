"""Mutated conversations of segments: bytes decide what each side does next, so that real states of TCP are reached and left."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.fuzzing.checks import check_tables, same_tables
from tests.fuzzing.choices import Choices
from tests.fuzzing.guard import must
from tests.fuzzing.places import as_file
from tests.pipeline.feeding import tables
from wiredoctor.testing import to_pcap
from wiredoctor.testing.wire import ACK, FIN, PSH, RST, SYN, Packet, Peers

if TYPE_CHECKING:
    import polars as pl

MAX_PACKETS = 80
"""Packets of an input."""

STEPS = (0, 1_000, 50_000, 1_000_000, 10_000_000, 40_000_000, 200_000_000, 1_000_000_000, 10_000_000_000, 61_000_000_000,
         121_000_000_000, -1_000, -5_000_000, -130_000_000_000)  # fmt: skip
"""Nanoseconds from a packet to the next."""

SIZES = (1, 2, 100, 536, 1_000, 1_448, 1_460)
JUMPS = (1, 5_000, 70_000, 1 << 20, 1 << 30, (1 << 31) - 1, 1 << 31, -1, -5_000, -(1 << 20), -(1 << 31), 1 << 16)


@dataclass
class Conversation:
    """A connection while it is being made up: what each side has sent at most, and what was in its segments."""

    peers: Peers
    sent: list[int] = field(default_factory=lambda: [0, 0])
    shapes: tuple[list[tuple[int, int]], list[tuple[int, int]]] = field(default_factory=lambda: ([], []))
    window: list[int] = field(default_factory=lambda: [64_240, 64_240])
    options: bool = False


def run(data: bytes) -> None:
    """Read the packets at once and in steps."""
    choices = Choices(data)
    step = choices.one((1, 2, 5, 13))
    packets = made(choices)
    if packets:
        check(packets, step)


def made(choices: Choices) -> list[Packet]:
    """What the bytes decide."""
    talks = [Conversation(peers(n, choices)) for n in range(1 + choices.below(3))]
    now, packets = 0, list[Packet]()
    while choices and len(packets) < MAX_PACKETS:
        talk, side = choices.one(talks), choices.below(2)
        now += choices.one(STEPS) + choices.byte()
        packets.append(_packet(talk, side, now, choices, packets))
    base = min((p.time for p in packets), default=0)
    return [Packet(**{**p.__dict__, "time": p.time - min(base, 0)}) for p in packets]


def peers(number: int, choices: Choices) -> Peers:
    """Ends and initial sequence numbers: some near the wrap, some ends shared by connections."""
    isn = choices.one(((1_000, 5_000), (0xFFFFFF00, 7), (0x7FFFFFF0, 0x80000000), (0, 0xFFFFFFFF)))
    ends = choices.one(
        (
            (f"10.0.0.1:{4000 + number}", "10.0.0.2:80"),
            ("10.0.0.1:4000", "10.0.0.2:80"),
            ("[2001:db8::1]:4000", "[2001:db8::2]:8080"),
            ("10.0.0.1:80", "10.0.0.1:80"),
        )
    )
    return Peers(*ends, isn)


def _packet(talk: Conversation, side: int, now: int, choices: Choices, before: list[Packet]) -> Packet:
    sent = talk.sent
    how = choices.below(16)
    seq, size, flags, ack = sent[side], 0, ACK, sent[1 - side]
    if how <= 4:
        size, flags = choices.one(SIZES), ACK | (PSH if choices.chance(2) else 0)
    elif how == 5:
        seq, flags, ack = 0, SYN | (ACK if side else 0), 1 if side else 0
    elif how == 6 and talk.shapes[side]:
        seq, size = choices.one(talk.shapes[side])  # sent again
    elif how == 7 and talk.shapes[side]:
        start, length = choices.one(talk.shapes[side])  # overlaps what was sent
        seq, size = start + choices.below(2 * length + 2) - length // 2, choices.one(SIZES)
    elif how == 8:
        seq, size = seq + choices.one(SIZES), choices.one(SIZES)  # leaves a hole
    elif how == 9:
        seq, size = max(seq - 1, 1), choices.below(2)  # a keep-alive probe
    elif how == 10:
        flags = FIN | ACK
    elif how == 11:
        flags = choices.one((RST, RST | ACK))
    elif how == 12:
        talk.window[side] = choices.one((0, 1, 1_460, 64_240, 65_535))
    elif how == 13:
        ack = max(ack - choices.one(SIZES), 0)
    elif how == 14:
        seq += choices.one(JUMPS)
        size = choices.below(20)
    elif how == 15:
        flags, ack, size = choices.byte(), ack + choices.one(JUMPS), choices.below(3)
    if before and choices.chance(9):
        again = choices.one(before[-4:])
        return Packet(**{**again.__dict__, "time": now, "ttl": again.ttl - choices.below(2)})
    return _sent(talk, side, now, seq, size, flags, ack, choices, len(before))


def _sent(
    talk: Conversation, side: int, now: int, seq: int, size: int, flags: int, ack: int, choices: Choices, number: int
) -> Packet:
    shape = choices.byte()
    end = seq + size + bool(flags & SYN) + bool(flags & FIN)
    if 0 <= end - talk.sent[side] < 1 << 20:
        talk.sent[side] = end
    if size:
        talk.shapes[side].append((seq, size))
    syn = bool(flags & SYN)
    return Packet(
        talk.peers, side, now, flags, seq, ack, _content(seq, size, lies=shape % 32 == 5), talk.window[side],
        mss=1_460 if syn and shape & 1 else None,
        wscale=choices.below(16) if syn and shape & 2 else None,
        timestamps=bool(shape & 4),
        sack=(ack + 1_000, ack + 2_000) if shape & 24 == 24 else None,
        ip_id=number if shape & 32 else 0,
        snap=choices.one((54, 60, 66, 80, 200)) if shape & 0xC0 == 0xC0 and choices.chance(4) else None,
    )  # fmt: skip


def _content(seq: int, size: int, *, lies: bool) -> bytes:
    """Bytes that belong to their place of the stream, or, when it lies, to none."""
    return bytes((seq + i) % 251 ^ (0x55 if lies else 0) for i in range(size))


def check(packets: list[Packet], step: int) -> None:
    """Steps do not matter; counts add up; nothing that was not there is new."""
    with as_file(to_pcap(packets)) as path:
        seen = tables(path, messages=False)
        check_tables(seen, len(packets))
        same_tables(seen, tables(path, step, messages=False), f"in steps of {step}")
        segments, connections = seen["segments"], seen["connections"]
    sent = connections["packets"].sum() + connections["duplicates"].sum()
    must(sent <= len(packets), "no packet is in two connections", sent, len(packets))
    if not any(p.peers.client == p.peers.server for p in packets):  # there both sides are one
        _check_places(segments)


FAR = 1 << 30
"""Sequence numbers are compared modulo 2**32 (RFC 9293 section 3.4): half as far apart, either may be the later one."""


def _check_places(segments: pl.DataFrame) -> None:
    """A side's new bytes are as many as its segments have places in the stream."""
    places: dict[tuple[int, int], set[int]] = {}
    new: dict[tuple[int, int], int] = {}
    offsets: dict[tuple[int, int], list[int]] = {}
    begins: dict[tuple[int, int], int] = {}
    controls: dict[tuple[int, int], int] = {}
    names = ("connection", "direction", "offset", "length", "new_bytes", "flags")
    for connection, direction, offset, length, fresh, flags in segments.select(names).iter_rows():
        key = connection, direction
        if flags & RST:
            continue  # what is in it is no part of the stream
        offsets.setdefault(key, []).append(offset)
        if flags & SYN or key not in begins:
            begins[key] = max(begins.get(key, 0), offset)
        controls[key] = controls.get(key, 0) + bool(flags & FIN) + bool(flags & SYN)
        places.setdefault(key, set()).update(range(offset, offset + length))
        new[key] = new.get(key, 0) + fresh
    for key, place in places.items():
        # SYN and FIN take the place of a byte, and what lies before the first byte that was seen, or before a SYN, may be old
        least = -controls.get(key, 0) + sum(at >= begins[key] for at in place)
        if max(offsets[key]) - min(offsets[key]) > FAR:  # two conversations between the same ends: one seems to repeat old bytes
            least = 0
        must(least <= new[key] <= len(place), "new bytes are the places that were filled", key, new[key], len(place))

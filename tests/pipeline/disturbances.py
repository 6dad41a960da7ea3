"""What may happen to a capture that is no fault of the hosts in it: packets that were not recorded, came twice, were cut, ...

A disturbance takes the packets of a capture and a random source, and returns what a worse capture of the same traffic would
have held; None where it does not apply.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from random import Random

from tests.ladders import set_back
from tests.pipeline.recording import FlowKey, Seen
from wiredoctor.tables import FIN, PSH, RST, SYN

Packets = Sequence[Seen]
Disturbance = Callable[[Packets, Random], list[Seen] | None]

MICROSECOND, MILLISECOND = 1_000, 1_000_000

SEGMENT = 1448
"""Payload of a full segment on Ethernet, with time stamps."""


# packets that were not recorded


def _lose_one(packets: Packets, random: Random) -> list[Seen]:
    gone = random.randrange(len(packets))
    return [p for i, p in enumerate(packets) if i != gone]


def _lose_share(packets: Packets, random: Random, share: float) -> list[Seen]:
    return [p for p in packets if random.random() >= share]


def _lose_data(packets: Packets, random: Random) -> list[Seen] | None:
    carrying = [i for i, p in enumerate(packets) if p.size]
    if not carrying:
        return None
    gone = random.choice(carrying)
    return [p for i, p in enumerate(packets) if i != gone]


def _lose_run(packets: Packets, random: Random) -> list[Seen]:
    count = random.randint(2, max(2, min(40, len(packets) // 4)))
    first = random.randrange(max(1, len(packets) - count))
    return [*packets[:first], *packets[first + count :]]


def _lose_window(packets: Packets, random: Random) -> list[Seen]:
    begin, end = packets[0].time, max(p.time for p in packets)
    width = (end - begin) * random.uniform(0.05, 0.4)
    first = begin + random.random() * (end - begin)
    return [p for p in packets if not first <= p.time < first + width]


def _begins_late(packets: Packets, random: Random) -> list[Seen]:
    return list(packets[random.randint(1, max(1, len(packets) - 2)) :])


def _begins_behind_the_handshake(packets: Packets, random: Random) -> list[Seen] | None:
    """The capture begins a few packets into its first connections."""
    skipped: dict[FlowKey | None, int] = defaultdict(int)
    most = random.randint(1, 6)
    left: list[Seen] = []
    for p in packets:
        skipped[p.flow] += 1
        if p.flow is None or skipped[p.flow] > most:
            left.append(p)
    return left


def _ends_early(packets: Packets, random: Random) -> list[Seen]:
    return list(packets[: random.randint(1, max(1, len(packets) - 1))])


def _middle(packets: Packets, random: Random) -> list[Seen]:
    a, b = sorted(random.sample(range(len(packets) + 1), 2))
    return list(packets[a:b])


def _drop_side(packets: Packets, random: Random, side: int) -> list[Seen]:
    return [p for p in packets if p.flow is None or p.side != side]


def _drop_acks(packets: Packets, random: Random, side: int) -> list[Seen]:
    """A capture filter such as tcp[tcpflags] & tcp-push != 0 leaves ACKs without payload out; here of one side."""
    shaken: set[tuple[FlowKey | None, int]] = set()
    kept: list[Seen] = []
    for p in packets:
        if p.pure_ack and p.side == side and (p.flow, side) in shaken:
            continue
        if p.pure_ack:
            shaken.add((p.flow, p.side))
        kept.append(p)
    return kept


def _drop_flow_side(packets: Packets, random: Random) -> list[Seen] | None:
    """Asymmetric routing: some connections are seen on one side only."""
    flows = sorted({p.flow for p in packets if p.flow})
    if not flows:
        return None
    sided = {flow: random.choice((0, 1, 2)) for flow in flows}
    sided[random.choice(flows)] = random.choice((0, 1))
    return [p for p in packets if p.flow is None or p.side != sided[p.flow]]


# packets that were recorded in part


def _snap(packets: Packets, random: Random, length: int) -> list[Seen]:
    return [replace(p, data=p.data[:length]) for p in packets]


# packets that were recorded twice


def _with_ttl(p: Seen) -> Seen:
    """As a router hands it on: time to live one less, other MAC addresses."""
    data = bytearray(p.data)
    if p.link_type == 1 and len(data) >= 34 and data[12:14] in (b"\x08\x00", b"\x86\xdd"):
        data[22 if data[12] == 8 else 21] = max(1, data[22 if data[12] == 8 else 21] - 1)
        data[0:6], data[6:12] = b"\x0a\0\0\0\0\x11", b"\x0a\0\0\0\0\x12"
    return replace(p, data=bytes(data))


def _mirror(packets: Packets, random: Random) -> list[Seen]:
    """A port that mirrors what comes in and what goes out: a copy microseconds later, between others now and then."""
    both = [(p.time, 0, p) for p in packets]
    for p in packets:
        later = p.time + random.choice((1, 3, 10, 60)) * MICROSECOND
        both.append((later, 1, replace(p, time=later)))
    return _by_time(both)


def _mirror_routed(packets: Packets, random: Random) -> list[Seen]:
    """Both sides of a router; which copy of a packet comes first depends on the queue."""
    both: list[tuple[int, int, Seen]] = []
    for p in packets:
        later = p.time + random.choice((5, 20, 80)) * MICROSECOND
        first, second = (p, _with_ttl(p)) if random.random() < 0.7 else (_with_ttl(p), p)
        both += [(p.time, 0, first), (later, 1, replace(second, time=later))]
    return _by_time(both)


def _two_points(packets: Packets, random: Random) -> list[Seen]:
    """Captured at two places with one clock, as far apart as the connections' answers leave time for, and merged."""
    way = int(_nearest(packets) * random.uniform(0.1, 0.45))
    both: list[tuple[int, int, Seen]] = []
    for p in packets:
        there = p.time + (way if p.side == 0 else -way)
        both += [(p.time, 0, p), (there, 1, replace(_with_ttl(p), time=there, interface=1))]
    return _by_time(both)


def _nearest(packets: Packets) -> int:
    """The shortest time (ns) in which side 1 answered side 0; 0 where none did."""
    asked: dict[FlowKey, int] = {}
    shortest = [20 * MILLISECOND]
    for p in packets:
        if p.flow is not None and p.side == 0:
            asked[p.flow] = p.time
        elif p.flow in asked:
            shortest.append(p.time - asked.pop(p.flow))
    return max(0, min(shortest))


def _by_time(packets: list[tuple[int, int, Seen]]) -> list[Seen]:
    return [p for _, _, p in sorted(packets, key=lambda item: item[:2])]


# order and time


def _shuffle_neighbours(packets: Packets, random: Random) -> list[Seen]:
    """Packets of one side that follow each other within a millisecond change places (the network reorders)."""
    result = list(packets)
    for i, j in pairwise(range(len(result))):
        a, b = result[i], result[j]
        near = a.flow is not None and a.flow == b.flow and a.side == b.side and 0 <= b.time - a.time < MILLISECOND
        if near and a.size and b.size and not (a.flags | b.flags) & (SYN | FIN | RST) and random.random() < 0.4:
            result[i], result[j] = replace(b, time=a.time), replace(a, time=b.time)
    return result


def _jitter(packets: Packets, random: Random, most: int) -> list[Seen]:
    """Several receive queues: a packet is stamped and recorded up to so much later than it came."""
    late = [(p.time + random.randrange(most), i, p) for i, p in enumerate(packets)]
    return [replace(p, time=time) for time, _, p in sorted(late, key=lambda item: item[:2])]


def _queues(packets: Packets, random: Random) -> list[Seen]:
    """Several receive queues: recorded a little out of order, with the times of arrival."""
    late = sorted((p.time + random.randrange(200) * MICROSECOND, i) for i, p in enumerate(packets))
    return [packets[i] for _, i in late]


def _round(packets: Packets, random: Random, unit: int) -> list[Seen]:
    return [replace(p, time=p.time // unit * unit) for p in packets]


def _two_interfaces(packets: Packets, random: Random) -> list[Seen]:
    """Each direction on an interface of its own (a tap), one of them with a clock that is off; put in order of time."""
    off = random.choice((-3, 3, -50, 50, 500)) * MILLISECOND
    moved = [replace(p, time=p.time + off * p.side, interface=p.side) for p in packets]
    return [p for _, _, p in sorted((p.time, i, p) for i, p in enumerate(moved))]


def _clock_step(packets: Packets, random: Random) -> list[Seen]:
    """The clock is set back, somewhere, while the capture runs."""
    at, back = random.randrange(len(packets)), random.choice((2, 100, 5_000)) * MILLISECOND
    return set_back(packets, at, back)


# offload


def _with_payload(p: Seen, payload: bytes, seq: int, flags: int) -> Seen | None:
    """The same packet with another payload; lengths are right, checksums are not. None where that is not plain."""
    if p.link_type != 1 or p.tcp < 34 or not p.whole or p.data[12:14] not in (b"\x08\x00", b"\x86\xdd"):
        return None
    head = bytearray(p.data[: p.payload])
    four = head[12:14] == b"\x08\x00"
    if four != (p.tcp - 14 == (head[14] & 15) * 4) or (not four and p.tcp != 54):
        return None
    total = len(head) - 14 + len(payload)
    if total > 0xFFFF:
        return None
    struct.pack_into(">H", head, 16 if four else 18, total if four else total - 40)
    struct.pack_into(">I", head, p.tcp + 4, seq & 0xFFFFFFFF)
    head[p.tcp + 13] = flags
    data = bytes(head) + payload
    return replace(p, data=data, length=len(data), size=len(payload), seq=seq, flags=flags)


def _coalesce(packets: Packets, random: Random) -> list[Seen]:
    """Generic receive offload: adjacent segments of one side that follow each other at once become one."""
    result: list[Seen] = []
    for p in packets:
        last = result[-1] if result else None
        joins = last is not None and _adjoin(last, p)
        joined = (
            _with_payload(last, last.data[last.payload :] + _content(p), last.seq, last.flags | p.flags)
            if joins and last
            else None
        )
        if joined is not None:
            result[-1] = joined
        else:
            result.append(p)
    return result


def _adjoin(a: Seen, b: Seen) -> bool:
    plain = (
        a.size
        and b.size
        and a.whole
        and b.whole
        and a.payload > 0
        and b.payload > 0
        and not (a.flags | b.flags) & (SYN | FIN | RST)
    )
    if not plain or a.flow is None or a.flow != b.flow or a.side != b.side or len(a.data) - a.payload < a.size:
        return False
    return b.seq == (a.seq + a.size) & 0xFFFFFFFF and 0 <= b.time - a.time < MILLISECOND and not a.flags & PSH


def _content(p: Seen) -> bytes:
    return p.data[p.payload : p.payload + p.size]


def _split(packets: Packets, random: Random) -> list[Seen]:
    """Captured behind the network card: what the host handed down in one piece is in pieces of a segment each."""
    result: list[Seen] = []
    for p in packets:
        parts = _parts(p) if p.size > SEGMENT and p.payload > 0 and not p.flags & (SYN | FIN | RST) else None
        result += parts or [p]
    return result


def _parts(p: Seen) -> list[Seen] | None:
    content = _content(p)
    if len(content) < p.size:
        return None
    pieces: list[Seen] = []
    for n, at in enumerate(range(0, p.size, SEGMENT)):
        last = at + SEGMENT >= p.size
        piece = _with_payload(p, content[at : at + SEGMENT], p.seq + at, p.flags if last else p.flags & ~PSH)
        if piece is None:
            return None
        pieces.append(replace(piece, time=p.time + MICROSECOND * n))
    return pieces


DISTURBANCES: dict[str, Disturbance] = {
    "lose-one": _lose_one,
    "lose-data": _lose_data,
    "lose-1%": partial(_lose_share, share=0.01),
    "lose-10%": partial(_lose_share, share=0.1),
    "lose-run": _lose_run,
    "lose-window": _lose_window,
    "begins-late": _begins_late,
    "no-handshake": _begins_behind_the_handshake,
    "ends-early": _ends_early,
    "middle": _middle,
    "drop-side-0": partial(_drop_side, side=0),
    "drop-side-1": partial(_drop_side, side=1),
    "drop-acks-0": partial(_drop_acks, side=0),
    "drop-acks-1": partial(_drop_acks, side=1),
    "drop-flow-sides": _drop_flow_side,
    "snap-54": partial(_snap, length=54),
    "snap-96": partial(_snap, length=96),
    "snap-128": partial(_snap, length=128),
    "snap-200": partial(_snap, length=200),
    "snap-1000": partial(_snap, length=1000),
    "mirror": _mirror,
    "mirror-routed": _mirror_routed,
    "two-points": _two_points,
    "shuffle": _shuffle_neighbours,
    "jitter": partial(_jitter, most=200 * MICROSECOND),
    "queues": _queues,
    "round-1ms": partial(_round, unit=MILLISECOND),
    "round-10ms": partial(_round, unit=10 * MILLISECOND),
    "two-interfaces": _two_interfaces,
    "clock-step": _clock_step,
    "coalesce": _coalesce,
    "split": _split,
}

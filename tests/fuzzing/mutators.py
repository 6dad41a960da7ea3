"""Changes of capture files: what a broken disk, a hostile sender or a careless program would make of them.

`mutate` takes the file, a seeded Random, and a second file to splice with. Changes of bytes work on any file; those of packets
on what `capturefile.read` understands, which is put together again, perhaps in another format.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

from tests.fuzzing import capturefile, packetmutators
from tests.fuzzing.capturefile import MAGICS, CaptureFile, Recorded

LARGEST = 4 << 20
"""Bytes of a mutant; a mutator that makes more is cut off."""

INTERESTING = (0, 1, 2, 3, 4, 7, 8, 15, 16, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x40000, 0x40001,
               0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)  # fmt: skip

LINK_TYPES = (0, 1, 6, 9, 12, 50, 51, 101, 104, 105, 107, 108, 109, 113, 117, 119, 127, 147, 163, 189, 192, 195, 201, 220, 228,
              229, 239, 252, 276, 999)  # fmt: skip

OfBytes = Callable[[bytearray, Random], None]
OfPackets = Callable[[CaptureFile, Random, CaptureFile | None], CaptureFile]


def mutate(data: bytes, random: Random, other: bytes = b"") -> tuple[bytes, list[str]]:
    """A mutant, and the names of the changes that made it."""
    made: list[str] = []
    file = capturefile.read(data) if random.random() < 0.8 else None
    if file is not None:
        second = capturefile.read(other) if other else None
        for _ in range(random.choice((1, 1, 2, 3, 5))):
            change = random.choice(OF_PACKETS)
            file = change(file, random, second)
            made.append(change.__name__)
        data = file.to_bytes()
    if file is None or random.random() < 0.35:
        changed = bytearray(data)
        for _ in range(random.choice((1, 1, 2, 4))):
            change_bytes = random.choice(OF_BYTES)
            if changed:
                change_bytes(changed, random)
                made.append(change_bytes.__name__)
        data = bytes(changed)
    if file is None and other and random.random() < 0.1:
        data = data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other)) :]
        made.append("splice_bytes")
    return data[:LARGEST], made


def bit_flips(data: bytearray, random: Random) -> None:
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def header_flips(data: bytearray, random: Random) -> None:
    """Bits of the file's own header, where all of its meaning is."""
    for _ in range(random.randrange(1, 4)):
        data[random.randrange(min(len(data), 64))] ^= 1 << random.randrange(8)


def numbers(data: bytearray, random: Random) -> None:
    """Numbers at which programs stumble, anywhere."""
    for _ in range(random.randrange(1, 5)):
        size, order = random.choice((1, 2, 4, 8)), random.choice(("little", "big"))
        at = random.randrange(len(data))
        data[at : at + size] = (random.choice(INTERESTING) % (1 << 8 * size)).to_bytes(size, order)[: len(data) - at]


def cut_end(data: bytearray, random: Random) -> None:
    del data[random.randrange(len(data)) if random.random() < 0.5 else max(len(data) - random.randrange(1, 80), 0) :]


def cut_within(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data))
    del data[at : at + random.choice((1, 2, 4, 16, 1000))]


def insert(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data) + 1)
    data[at:at] = random.choice((bytes(4), random.randbytes(random.randrange(1, 40)), bytes(data[at : at + 64])))


def swap_ranges(data: bytearray, random: Random) -> None:
    size = random.choice((4, 16, 64, 512))
    a, b = sorted((random.randrange(len(data)), random.randrange(len(data))))
    first, second = bytes(data[a : a + size]), bytes(data[b : b + size])
    if a + size <= b and len(second) == len(first):
        data[a : a + size], data[b : b + size] = second, first


def lying_blocks(data: bytearray, random: Random) -> None:
    """pcapng blocks, or pcap records, that are longer or shorter than they say, at either end."""
    places = [(at + 4, size) for at, _, size in capturefile.block_places(bytes(data))]
    places += [(at + size - 8, size) for at, size in places]
    places = places or [(at + random.choice((8, 12)), 60) for at in capturefile.record_places(bytes(data))]
    for at, size in random.sample(places, min(len(places), random.choice((1, 1, 3)))):
        lie = random.choice((size + 4, size - 4, size * 2, size + 1, 12, 8, 0, 16, 0xFFFFFFFC, 0x7FFFFFFC, 1 << 24))
        struct.pack_into(random.choice("<<<>") + "I", data, at, lie & 0xFFFFFFFF)


def swap_blocks(data: bytearray, random: Random) -> None:
    """Blocks or records of the file in another order, twice, or missing."""
    content = bytes(data)
    spans = [(at, at + size) for at, _, size in capturefile.block_places(content)]
    starts = capturefile.record_places(content)
    spans = spans or list(pairwise([*starts, len(content)]))
    if len(spans) < 2:
        return
    parts = [content[a:b] for a, b in spans]
    i, j = random.randrange(len(parts)), random.randrange(len(parts))
    how = random.randrange(3)
    if how == 0:
        parts[i], parts[j] = parts[j], parts[i]
    elif how == 1:
        parts.insert(i, parts[j])
    else:
        del parts[i]
    data[:] = content[: spans[0][0]] + b"".join(parts) + content[spans[-1][1] :]


def reorder(file: CaptureFile, random: Random, other: CaptureFile | None) -> CaptureFile:
    """Packets in another order, with their times or without."""
    packets = list(file.packets)
    for _ in range(random.choice((1, 3, len(packets)))):
        i = random.randrange(len(packets))
        j = min(i + random.choice((1, 1, 2, 5)), len(packets) - 1)
        a, b = packets[i], packets[j]
        keep = random.random() < 0.5
        packets[i], packets[j] = (replace(b, time=a.time), replace(a, time=b.time)) if keep else (b, a)
    return file.with_packets(packets)


def repeat(file: CaptureFile, random: Random, other: CaptureFile | None) -> CaptureFile:
    """Packets twice, at once or later."""
    packets = list(file.packets)
    for _ in range(random.choice((1, 2, 10))):
        i = random.randrange(len(packets))
        later = random.choice((0, 0, 1_000, 1_000_000, 300_000_000))
        at = min(i + random.choice((0, 1, 3)), len(packets))
        packets.insert(at, replace(packets[i], time=packets[i].time + later))
    return file.with_packets(packets)


def lose(file: CaptureFile, random: Random, other: CaptureFile | None) -> CaptureFile:
    """Packets missing: some, a run, or all that look like one of them (one direction of a connection)."""
    how, packets = random.randrange(3), file.packets
    if how == 0:
        part = random.choice((0.02, 0.1, 0.5))
        left = [p for p in packets if random.random() > part]
    elif how == 1:
        at = random.randrange(len(packets))
        left = packets[:at] + packets[at + random.choice((1, 2, 10)) :]
    else:
        one = packetmutators.direction(random.choice(packets))
        left = [p for p in packets if packetmutators.direction(p) != one]
    return file.with_packets(left or packets[:1])


def cut_packets(file: CaptureFile, random: Random, other: CaptureFile | None) -> CaptureFile:
    """A snap length, for all packets or a few."""
    snap, share = random.choice((0, 14, 34, 54, 60, 66, 68, 96, 128, 200)), random.choice((1.0, 0.2))
    return file.with_packets([replace(p, data=p.data[:snap]) if random.random() < share else p for p in file.packets])


def lying_records(file: CaptureFile, random: Random, other: CaptureFile | None) -> CaptureFile:
    """Records that lie about how much is captured or how long the packet was."""
    packets = list(file.packets)
    for _ in range(random.choice((1, 1, 4))):
        i = random.randrange(len(packets))
        size = len(packets[i].data)
        lie = random.choice((0, 1, size - 1, size + 1, size + 16, size * 2, size // 2, 65_536, 262_144, 262_145, 1 << 31, -1))
        packets[i] = (
            replace(packets[i], claims=max(lie, -1)) if random.random() < 0.5 else replace(packets[i], length=max(lie, -1))
        )
    return file.with_packets(packets)


def link_types(file: CaptureFile, random: Random, other: CaptureFile | None) -> CaptureFile:
    """Another link type for all packets or some."""
    link_type, share = random.choice(LINK_TYPES), random.choice((1.0, 1.0, 0.3))
    return file.with_packets([replace(p, link_type=link_type) if random.random() < share else p for p in file.packets])


def shape(file: CaptureFile, random: Random, other: CaptureFile | None) -> CaptureFile:
    """The same packets in another format, byte order, or version."""
    blocks = [(random.choice((0, 4, 5, 9, 10, 0xBAD, 0x80000001)), random.randbytes(random.randrange(40))) for _ in range(3)]
    return replace(
        file,
        order=random.choice("<>"),
        magic=random.choice(MAGICS),
        pcapng=random.random() < 0.5,
        snap_length=random.choice((0, 60, 65_535, 262_144, 0xFFFFFFFF)),
        version=random.choice(((2, 4), (2, 4), (2, 3), (2, 2), (2, 9), (543, 0))),
        blocks=blocks if random.random() < 0.3 else [],
    )


def times(file: CaptureFile, random: Random, other: CaptureFile | None) -> CaptureFile:
    """Clocks that are set, stand still, run backwards, or are in another century."""
    packets, how = list(file.packets), random.randrange(6)
    zero, at = packets[0].time, random.randrange(len(packets))
    if how == 0:
        step = random.choice((-1, 1)) * random.choice((1_000, 2_000_000, 10**9, 121 * 10**9, 10**15, 10**18))
        packets = packets[:at] + [replace(p, time=max(p.time + step, 0)) for p in packets[at:]]
    elif how == 1:
        packets = [replace(p, time=zero) for p in packets]
    elif how == 2:
        scale = random.choice((0.001, 0.1, 10, 1_000, 10**7))
        packets = [replace(p, time=max(zero + int((p.time - zero) * scale), 0)) for p in packets]
    elif how == 3:
        packets[at] = replace(packets[at], time=random.choice((0, 1, (1 << 32) * 10**9 - 1, (1 << 63) - 1, (1 << 64) - 1)))
    elif how == 4:
        packets = [replace(p, time=max(2 * zero - p.time, 0)) for p in packets]
    else:
        packets = [replace(p, time=max(p.time + random.randrange(-50_000_000, 50_000_000), 0)) for p in packets]
    return file.with_packets(packets)


def splice(file: CaptureFile, random: Random, other: CaptureFile | None) -> CaptureFile:
    """Two captures in one: one behind the other, or interleaved."""
    if other is None:
        return file
    a, b = file.packets, other.packets
    if random.random() < 0.5:
        return file.with_packets(a[: random.randrange(len(a) + 1)] + b[random.randrange(len(b)) :] or a)
    shift = a[0].time - b[0].time
    moved = [replace(p, time=max(p.time + shift, 0)) for p in b[:500]]
    return file.with_packets(sorted(a + moved, key=lambda p: p.time))


def headers(file: CaptureFile, random: Random, other: CaptureFile | None) -> CaptureFile:
    """IP and TCP headers of a few packets."""
    return _some(file, random, packetmutators.header)


def payloads(file: CaptureFile, random: Random, other: CaptureFile | None) -> CaptureFile:
    """What a few packets say."""
    return _some(file, random, packetmutators.payload)


def wraps(file: CaptureFile, random: Random, other: CaptureFile | None) -> CaptureFile:
    """Packets put into tags and tunnels."""
    wrap = random.choice(packetmutators.WRAPS)
    share = random.choice((1.0, 0.3))
    return file.with_packets([packetmutators.wrapped(p, wrap) if random.random() < share else p for p in file.packets])


def noise(file: CaptureFile, random: Random, other: CaptureFile | None) -> CaptureFile:
    """Bits of packets, anywhere in them."""
    return _some(file, random, packetmutators.noise)


def _some(file: CaptureFile, random: Random, change: Callable[[Recorded, Random], Recorded]) -> CaptureFile:
    packets = list(file.packets)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        i = random.randrange(len(packets))
        packets[i] = change(packets[i], random)
    return file.with_packets(packets)


OF_BYTES: Sequence[OfBytes] = (
    bit_flips, header_flips, numbers, cut_end, cut_within, insert, swap_ranges, lying_blocks, lying_blocks, swap_blocks,
)  # fmt: skip
OF_PACKETS: Sequence[OfPackets] = (
    reorder, repeat, lose, cut_packets, lying_records, link_types, shape, times, splice, headers, headers, headers,
    payloads, payloads, payloads, wraps, noise,
)  # fmt: skip

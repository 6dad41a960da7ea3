"""Change single packets: their header fields, their contents and their encapsulation."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import replace
from random import Random

from tests.fuzzing import tokens
from tests.fuzzing.capturefile import Recorded
from tests.fuzzing.layers import ETHERNET, Layers, find, repaired, resized

_LENGTH = re.compile(rb"content-length:[ \t]*([0-9]+)", re.IGNORECASE)
_CHUNK = re.compile(rb"(?:\r\n|\A)([0-9a-fA-F]{1,8})(?:;[^\r]*)?\r\n")
_WORDS = re.compile(rb"[A-Za-z][A-Za-z-]{2,}")

HeaderChange = Callable[[bytearray, Layers, Random], None]


def direction(packet: Recorded) -> bytes:
    """Addresses and ports in their order; empty for what is no TCP."""
    layers = find(packet.link_type, packet.data)
    if layers is None:
        return b""
    addresses = packet.data[layers.ip + (8 if layers.six else 12) : layers.ip + (40 if layers.six else 20)]
    return addresses + packet.data[layers.tcp : layers.tcp + 4]


def header(packet: Recorded, random: Random) -> Recorded:
    """One to three header fields are other than they were; the checksums fit, or do not."""
    layers = find(packet.link_type, packet.data)
    if layers is None:
        return noise(packet, random)
    data = bytearray(packet.data)
    for _ in range(random.choice((1, 1, 2, 3))):
        random.choice(HEADER_CHANGES)(data, layers, random)
    if random.random() < 0.5:
        repaired(data, layers)
    return replace(packet, data=bytes(data))


def payload(packet: Recorded, random: Random) -> Recorded:
    """Other words, lengths, chunk sizes and line ends; the packet becomes as long as they need."""
    layers = find(packet.link_type, packet.data)
    if layers is None:
        return noise(packet, random)
    said = bytearray(packet.data[layers.payload :])
    for _ in range(random.choice((1, 1, 2, 4))):
        random.choice((_word, _number, _number, _insert, _line_end, _cut))(said, random)
    data = bytearray(packet.data[: layers.payload]) + said[:60_000]
    if random.random() < 0.9:
        resized(data, layers)
    if random.random() < 0.5:
        repaired(data, layers)
    return replace(packet, data=bytes(data), length=packet.length + len(data) - len(packet.data))


def noise(packet: Recorded, random: Random) -> Recorded:
    """A few bytes, mostly of the headers."""
    data = bytearray(packet.data or b"\0")
    for _ in range(random.choice((1, 2, 8))):
        at = random.randrange(min(len(data), random.choice((20, 60, 1 << 20))))
        data[at] = random.choice((0, 1, 0xFF, 0x80, data[at] ^ 1 << random.randrange(8), random.randrange(256)))
    return replace(packet, data=bytes(data))


def _word(said: bytearray, random: Random) -> None:
    """A word is another."""
    words = list(_WORDS.finditer(said[:4_000]))
    if words:
        word = random.choice(words)
        said[word.start() : word.end()] = random.choice(tokens.EVERY)


def _number(said: bytearray, random: Random) -> None:
    """A Content-Length or a chunk size is another."""
    found = [*_LENGTH.finditer(said), *_CHUNK.finditer(said)]
    if not found:
        return _insert(said, random)
    match = random.choice(found)
    value = int(match[1], 16)
    lies = (
        b"%d" % (value + 1),
        b"%x" % max(value - 1, 0),
        b"0",
        b"",
        b"-5",
        b"9" * 40,
        b"5,5",
        b"0x10",
        b"%d" % (1 << 63),
        b"1e3",
        b"07",
    )
    said[match.start(1) : match.end(1)] = random.choice(lies)
    return None


def _insert(said: bytearray, random: Random) -> None:
    at = random.choice((0, len(said), random.randrange(len(said) + 1)))
    said[at:at] = random.choice(tokens.EVERY)


def _line_end(said: bytearray, random: Random) -> None:
    """A line ends otherwise."""
    ends = [m.span() for m in re.finditer(rb"\r\n", said[:4_000])]
    if ends:
        a, b = random.choice(ends)
        said[a:b] = random.choice(tokens.LINES)


def _cut(said: bytearray, random: Random) -> None:
    at = random.randrange(len(said) + 1)
    del said[at : at + random.choice((1, 2, 10, 1 << 20))]


def _total_length(data: bytearray, layers: Layers, random: Random) -> None:
    at = layers.ip + (4 if layers.six else 2)
    was = struct.unpack_from(">H", data, at)[0]
    struct.pack_into(">H", data, at, random.choice((0, 1, 20, 39, 40, was + 1, was - 1, was + 1460, 0xFFFF, was // 2)) & 0xFFFF)


def _ip_byte(data: bytearray, layers: Layers, random: Random) -> None:
    data[layers.ip + random.randrange(layers.tcp - layers.ip)] = random.choice(
        (0, 1, 0x20, 0x40, 0x45, 0x4F, 0x60, 0xFF, random.randrange(256))
    )


def _fragment(data: bytearray, layers: Layers, random: Random) -> None:
    if not layers.six:
        struct.pack_into(">H", data, layers.ip + 6, random.choice((0x2000, 0x2001, 0x0001, 0x00B9, 0x1FFF, 0x3FFF, 0x8000)))


def _data_offset(data: bytearray, layers: Layers, random: Random) -> None:
    data[layers.tcp + 12] = random.randrange(16) << 4


def _flags(data: bytearray, layers: Layers, random: Random) -> None:
    data[layers.tcp + 13] = random.choice(
        (0, 1, 2, 4, 0x10, 0x11, 0x12, 0x14, 0x18, 0x19, 0x3F, 0xFF, data[layers.tcp + 13] ^ 1 << random.randrange(8))
    )


def _sequence(data: bytearray, layers: Layers, random: Random) -> None:
    at = layers.tcp + random.choice((4, 8))
    was = struct.unpack_from(">I", data, at)[0]
    step = random.choice(
        (-1, 1, -1460, 1460, -10, 65_535, 1 << 20, 1 << 30, 1 << 31, (1 << 31) - 1, -(1 << 31) + 1, random.randrange(1 << 32))
    )
    struct.pack_into(">I", data, at, (was + step) & 0xFFFFFFFF)


def _window(data: bytearray, layers: Layers, random: Random) -> None:
    struct.pack_into(">H", data, layers.tcp + 14, random.choice((0, 1, 1460, 0x7FFF, 0xFFFF)))


def _ports(data: bytearray, layers: Layers, random: Random) -> None:
    struct.pack_into(">H", data, layers.tcp + random.choice((0, 2)), random.choice((0, 80, 443, 8080, 3128, 0xFFFF)))


def _options(data: bytearray, layers: Layers, random: Random) -> None:
    if layers.payload > layers.tcp + 20:
        at = random.randrange(layers.tcp + 20, layers.payload)
        data[at] = random.choice((0, 1, 2, 3, 4, 5, 8, 10, 34, 40, 253, 255))


HEADER_CHANGES: tuple[HeaderChange, ...] = (
    _total_length, _total_length, _ip_byte, _fragment, _data_offset, _flags, _flags, _sequence, _sequence, _sequence,
    _window, _ports, _options,
)  # fmt: skip


def wrapped(packet: Recorded, wrap: Callable[[bytes, bytes], bytes]) -> Recorded:
    """The packet in a tag or tunnel; what is no Ethernet stays as it is."""
    if packet.link_type != ETHERNET or len(packet.data) < 14:
        return packet
    data = wrap(packet.data[:12], packet.data[12:])
    return replace(packet, data=data, length=packet.length + len(data) - len(packet.data))


def _ip(protocol: int, content: bytes) -> bytes:
    return (
        struct.pack(">BBHHHBBH", 0x45, 0, (20 + len(content)) & 0xFFFF, 1, 0, 64, protocol, 0) + b"\x0a\0\0\1\x0a\0\0\2" + content
    )


def _udp(port: int, content: bytes) -> bytes:
    return b"\x08\0" + _ip(17, struct.pack(">HHHH", 50_000, port, (8 + len(content)) & 0xFFFF, 0) + content)


WRAPS: tuple[Callable[[bytes, bytes], bytes], ...] = (
    lambda macs, rest: macs + b"\x81\0\0\5" + rest,
    lambda macs, rest: macs + b"\x88\xa8\0\5\x81\0\0\6" + rest,
    lambda macs, rest: macs + b"\x88\x47\0\1\1\x40" + rest[2:],
    lambda macs, rest: macs + b"\x88\x64\x11\0\0\1" + struct.pack(">HH", len(rest) & 0xFFFF, 0x21) + rest[2:],
    lambda macs, rest: macs + b"\x08\0" + _ip(47, b"\0\0" + rest),
    lambda macs, rest: macs + b"\x08\0" + _ip(47, b"\x10\0\x88\xbe\0\0\0\1" + bytes(8) + macs + rest),
    lambda macs, rest: macs + b"\x08\0" + _ip(4, rest[2:]),
    lambda macs, rest: macs + b"\x08\0" + _ip(41, rest[2:]),
    lambda macs, rest: macs + _udp(4789, b"\x08\0\0\0\0\0\7\0" + macs + rest),
    lambda macs, rest: macs + _udp(6081, b"\0\0\x65\x58\0\0\7\0" + macs + rest),
    lambda macs, rest: macs + _udp(2152, b"\x30\xff" + struct.pack(">HI", (len(rest) - 2) & 0xFFFF, 1) + rest[2:]),
    lambda macs, rest: macs + struct.pack(">H", (len(rest) + 6) & 0x5FF) + b"\xaa\xaa\3\0\0\0" + rest,
)  # fmt: skip
"""Tags and tunnels: (both addresses, the frame behind them) -> frame."""

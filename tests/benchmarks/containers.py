"""Hostile pcapng files: time and memory at n, 2n and 4n, and whether the work stays in proportion.

python tests/benchmarks/containers.py [CASE ...]
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from flood_wire import packets
from hostile import main

FRAME = packets(1).tobytes()[16:]


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A pcapng block, padded."""
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def section(order: str = "<") -> bytes:
    """A Section Header Block."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(snaplen: int = 0, order: str = "<", options: bytes = b"") -> bytes:
    """An Interface Description Block: Ethernet."""
    return block(1, struct.pack(order + "HHI", 1, 0, snaplen) + options, order)


def packet(number: int, interface: int = 0, order: str = "<", ticks: int | None = None) -> bytes:
    """An Enhanced Packet Block: an ACK, a microsecond behind the one before unless its time stamp is given."""
    ticks = 1_700_000_000_000_000 + number if ticks is None else ticks
    fixed = struct.pack(order + "IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(FRAME), len(FRAME))
    return block(6, fixed + FRAME, order)


class Capture:
    """A pcapng file."""

    def __init__(self, path: Path) -> None:
        self._file, self.packets = path.open("wb"), 0

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def blocks(self, *blocks: bytes, packets: int = 0) -> None:
        """Adds blocks with so many packets in them."""
        self._file.write(b"".join(blocks))
        self.packets += packets


class Case(NamedTuple):
    """A hostile file: what there are `n` of, its smallest size, and what writes it."""

    name: str
    what: str
    size: int
    write: Callable[[Capture, int], None]


def _interfaces(capture: Capture, n: int) -> None:
    capture.blocks(section(), interface() * n)
    for k in range(n):
        capture.blocks(packet(k, k), packets=1)


def _interfaces_in_turns(capture: Capture, n: int) -> None:
    capture.blocks(section())
    for k in range(n):
        capture.blocks(interface(k), packet(k, k), packets=1)


def _sections(capture: Capture, n: int) -> None:
    capture.blocks(section() * n, interface(), packet(0), packets=1)


def _sections_in_turns(capture: Capture, n: int) -> None:
    for k in range(n):
        capture.blocks(section(), interface(), packet(k), packets=1)


def _byte_orders(capture: Capture, n: int) -> None:
    for k in range(n):
        order = "<>"[k & 1]
        capture.blocks(section(order), interface(0, order), packet(k, 0, order), packets=1)


def _unknown_blocks(capture: Capture, n: int) -> None:
    capture.blocks(section(), interface(), block(0x77, b"") * n, packet(0), packets=1)


def _options(capture: Capture, n: int) -> None:
    empty = struct.pack("<HH", 0x7FFF, 0) * 16_000
    for k in range(n):
        capture.blocks(section(), interface(k, options=empty), packet(k), packets=1)


def _times(capture: Capture, n: int) -> None:
    """By turns 1970, 2300, one that no clock holds and one that goes backwards, in all 256 resolutions."""
    every = (interface(options=struct.pack("<HHB3x", 9, 1, resolution)) for resolution in range(256))
    capture.blocks(section(), *every)
    stamps = (0, 10_413_792_000_000_000, (1 << 64) - 1, 1_700_000_000_000_000)
    for k in range(n):
        capture.blocks(packet(k, k // 4 % 256, ticks=abs(stamps[k % 4] - k)), packets=1)


def _lies(capture: Capture, n: int) -> None:
    """The first half is sound; then every block says that it is longer than it is, and where that leads is no block."""
    capture.blocks(section(), interface(), *(packet(k) for k in range(n // 2)), packets=n // 2)
    for k in range(n // 2):
        sound = packet(k)
        capture.blocks(sound[:4] + struct.pack("<I", len(sound) + 4 * (k % 1_000 + 1)) + sound[8:])


def _false_sizes(capture: Capture, n: int) -> None:
    """Packets that say they are larger than their block, each in a section of its own."""
    for k in range(n):
        sound = packet(k)
        capture.blocks(section(), interface(), packet(k), sound[:20] + struct.pack("<I", 1 << 17) + sound[24:], packets=2)


CASES = [
    Case("interfaces", "interfaces, then a packet of each", 50_000, _interfaces),
    Case("interfaces-in-turns", "interfaces, all different, with a packet each", 50_000, _interfaces_in_turns),
    Case("sections", "sections without anything in them", 250_000, _sections),
    Case("sections-in-turns", "sections of a packet each", 50_000, _sections_in_turns),
    Case("byte-orders", "sections of a packet each, in the two byte orders by turns", 12_500, _byte_orders),
    Case("unknown-blocks", "blocks that nobody knows", 500_000, _unknown_blocks),
    Case("options", "interfaces with 16,000 options each", 100, _options),
    Case("times", "packets of 1970, of 2300, and of no time that a clock holds, by turns", 100_000, _times),
    Case("lies", "packets, of which the second half lie about the length of their block", 200_000, _lies),
    Case("false-sizes", "sections with a packet that says it is larger than its block", 50_000, _false_sizes),
]

if __name__ == "__main__":
    sys.exit(main(CASES, Capture, __doc__))

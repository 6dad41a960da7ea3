"""Long captures of seven servers at once: recordings of the project, repeated with other addresses and times, interleaved.

    python tests/benchmarks/seven_servers.py [--gigabytes 0.5,2,6] [--faults 0.02]

Each capture is analyzed in one process; the memory that counts is what the process holds itself (RssAnon), not mapped files.
"""

from __future__ import annotations

import argparse
import struct
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import marks
import numpy as np
from marks import judge
from processes import peaks

CAPTURES = Path(__file__).resolve().parents[2] / "captures"
HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
RECORD, ETHERNET, IPV4 = 16, 14, b"\x08\x00"
SECOND = 1_000_000
"""Times are in microseconds."""
LONGEST = 20 * SECOND
TOGETHER = 8 << 20
"""Bytes that are interleaved at a time."""
BETWEEN = SECOND // 5
"""The mean time between the beginnings of two recordings."""
COMMON = (
    *("nginx-ab-keep-alive", "haproxy-download", "caddy-download", "node-upload", "nginx-requests", "wrk-rtt", "apache-requests"),
    "nginx-download",
)
"""Healthy recordings (beginnings of their names) that make up most of a capture."""


class Recording:
    """A recording whose addresses and times can be changed; ValueError if it is cut, or not IPv4 on Ethernet."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        if content[:4] != HEADER[:4] or struct.unpack_from("<I", content, 20)[0] != 1:
            raise ValueError("not a plain pcap file of Ethernet")
        self.content = np.frombuffer(content, np.uint8)[len(HEADER) :]
        self.numbers: dict[bytes, int] = {}
        self._servers: set[int] = set()
        clients: set[int] = set()
        offsets: list[int] = []
        times: list[int] = []
        places: list[tuple[int, int]] = []
        at = 0
        while at + RECORD <= len(self.content):
            seconds, micro, captured, _ = struct.unpack_from("<IIII", content, len(HEADER) + at)
            packet = content[len(HEADER) + at + RECORD :][:captured]
            if packet[12:14] == IPV4 and captured >= 54:
                ends = [self.numbers.setdefault(packet[place : place + 4], len(self.numbers)) for place in (26, 30)]
                places += zip((at + RECORD + 26, at + RECORD + 30), ends, strict=True)
                if packet[23] == 6 and packet[ETHERNET + (packet[14] & 15) * 4 + 13] & 0x12 == 2:
                    clients.add(ends[0])
                    self._servers.add(ends[1])
            elif packet[12:14] != b"\x08\x06":
                raise ValueError("not IPv4")
            offsets.append(at)
            times.append(seconds * SECOND + micro)
            at += RECORD + captured
            if at > len(self.content):
                raise ValueError("cut inside a packet")
        if not self._servers or self._servers & clients or len(self.numbers) > 40:
            raise ValueError("no SYN, or an address on both sides")
        self.offsets, self.times = np.array(offsets), np.array(times) - min(times)
        self._places, self._who = (np.array(column) for column in zip(*places, strict=True))

    def repeat(self, start: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the records, which begin at `start` with client addresses of this repetition, and their times."""
        records = self.content.copy()
        client = 0x0A000000 | (number & 0x3FFFF) << 6
        ends = [0xAC100000 | n & 15 if n in self._servers else client | n for n in self.numbers.values()]
        addresses = np.array(ends, ">u4")
        for byte in range(4):
            records[self._places + byte] = addresses.view(np.uint8).reshape(-1, 4)[self._who, byte]
        times = self.times + start
        stamps = np.stack([times // SECOND, times % SECOND], 1).astype("<u4").view(np.uint8).reshape(len(times), 8)
        for byte in range(8):
            records[self.offsets + byte] = stamps[:, byte]
        return records, times


def recordings() -> dict[str, Recording]:
    """Return the recordings that can be repeated, by name."""
    found: dict[str, Recording] = {}
    for path in sorted(CAPTURES.glob("*/*.pcap")):
        try:
            recording = Recording(path)
        except ValueError:
            continue
        if recording.times.max() < LONGEST:
            found[path.name] = recording
    return found


def write(path: Path, size: int, faults: float) -> None:
    """Write about `size` bytes; `faults`: the share of the bytes that are from all recordings."""
    every = recordings()
    common = [one for name, one in every.items() if name.startswith(COMMON) and "snapped" not in name]
    chance = np.random.default_rng(1)
    begin, number = 1_760_000_000 * SECOND, 0
    with path.open("wb") as out:
        out.write(HEADER)
        while out.tell() < size:
            start, bytes_now = begin, 0
            records: list[np.ndarray] = []
            times: list[np.ndarray] = []
            while bytes_now < TOGETHER:
                pool = [*every.values()] if chance.random() < faults else common
                recording = pool[int(chance.integers(len(pool)))]
                if pool is common or len(recording.content) < 200_000:
                    content, stamps = recording.repeat(start, number)
                    records += np.split(content, recording.offsets[1:])
                    times.append(stamps)
                    bytes_now += len(content)
                    start, number = start + int(chance.exponential(BETWEEN)), number + 1
            joined = np.concatenate(times)
            for place in np.argsort(joined, kind="stable").tolist():
                out.write(records[place])
            begin = int(joined.max()) + SECOND


def measure(gigabytes: list[float], faults: float) -> bool:
    """Measure captures of these sizes, and judge their memory."""
    found: list[float] = []
    kept = True
    for size in gigabytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "servers.pcap")
            write(path, int(size * 1e9), faults)
            found.append(peaks(path, "--jobs", "1", field="RssAnon")[0])
        kept &= judge(f"seven servers, {size:g} GB: RssAnon, MB", found[-1], marks.SERVERS)
    for one, other in pairwise(found):
        kept &= judge("RssAnon of the longer / the shorter", other / one, marks.LONG_GROWTH)
    return kept


def main() -> int:
    """Entry point; 1 when a mark is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", default="0.5,2,6")
    parser.add_argument("--faults", type=float, default=0.02)
    options = parser.parse_args()
    return 0 if measure([*map(float, options.gigabytes.split(","))], options.faults) else 1


if __name__ == "__main__":
    sys.exit(main())

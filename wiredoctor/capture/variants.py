"""Recognize the record headers of a classic pcap file with an ambiguous magic number.

Some systems of 1999 wrote longer record headers with the standard magic number, others wrote standard ones with the modified
magic number. As in Wireshark 4.0, the first three headers are parsed with each size, and the size with the fewest absurd values
is used.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from wiredoctor import limits

PLAIN, NOKIA, MODIFIED, OLDER_MODIFIED = 16, 20, 24, 28
"""The sizes of record headers in bytes. Modified ones add interface, protocol and packet type; Nokia's adds one word."""

_TRIED = 3
_MAX_LENGTH = 128 * 1024 * 1024


def record_header(read: Callable[[int, int], bytes], position: int, order: str, snaplen: int, candidates: tuple[int, ...]) -> int:
    """Return which of the `candidates`, sizes of a record header in bytes, best fits the records at `position`."""
    return min(candidates, key=lambda size: _absurdities(read, position, order, snaplen, size))


def _absurdities(read: Callable[[int, int], bytes], position: int, order: str, snaplen: int, size: int) -> int:
    for _ in range(_TRIED):
        header = read(position, size)
        if not header:
            return 0
        if len(header) < size:
            return 1
        _, fraction, captured, length = struct.unpack_from(order + "IIII", header)
        found = sum(
            (fraction >= 1_000_000, captured > limits.PACKET.value, captured > snaplen, length > _MAX_LENGTH, captured > length)
        )
        if found:
            return found
        position += size + captured
        if captured and not read(position - 1, 1):
            return 1
    return 0

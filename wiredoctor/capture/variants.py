"""Which record headers a classic pcap file has, where its magic number does not say.

Some systems of 1999 wrote longer record headers under the standard magic number, and others under the modified one.
As Wireshark 4.0 does, read the first three headers in each way and take the way with the fewest absurdities.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from wiredoctor import limits

PLAIN, NOKIA, MODIFIED, OLDER_MODIFIED = 16, 20, 24, 28
"""Bytes of a record header. The modified ones add interface, protocol and packet type; Nokia a word of its own."""

_TRIED = 3
_MAX_LENGTH = 128 * 1024 * 1024


def record_header(read: Callable[[int, int], bytes], position: int, order: str, snaplen: int, candidates: tuple[int, ...]) -> int:
    """Return the size of record header, among the candidates, that fits the records at `position` best."""
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

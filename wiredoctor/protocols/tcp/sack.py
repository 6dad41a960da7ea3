"""Parse the blocks of a SACK option (RFC 2018 section 3) for diagrams, from a packet's bytes before its payload."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_END, _NOP, _SACK = 0, 1, 5
"""The kinds of options (IANA, TCP Option Kind Numbers)."""

_LONGEST = 60
"""The maximum size of a TCP header in bytes."""


def sack_blocks(read: Callable[[int, int], bytes], packet: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return the SACK blocks of a row of tables.PACKETS as pairs of sequence numbers; empty if the header is not found.

    The TCP header ends where the payload begins (column `payload`). It begins where a header with the right length, ports,
    sequence number and acknowledgment number is found. `read(place, length)` returns bytes of the capture.
    """
    head = struct.pack(">HHII", packet["source_port"], packet["destination_port"], packet["seq"], packet["ack"])
    before = read(packet["payload"] - _LONGEST, _LONGEST)
    for length in range(20, len(before) + 1, 4):
        header = before[len(before) - length :]
        if header.startswith(head) and header[12] >> 4 == length // 4:
            return _of_options(header[20:])
    return []


def _of_options(options: bytes) -> list[tuple[int, int]]:
    for kind, value in _each_option(options):
        if kind == _SACK and value and not len(value) % 8:
            return [(low, high) for low, high in struct.iter_unpack(">II", value)]
    return []


def _each_option(options: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the kind and value of each option in a TCP header, up to the first invalid one."""
    at = 0
    while at < len(options) and options[at] != _END:
        if options[at] == _NOP:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2 or at + length > len(options):
            return
        yield options[at], options[at + 2 : at + length]
        at += length

"""The blocks of a SACK option (RFC 2018 section 3), found again in the bytes in front of a payload."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

_SACK, _END, _NOTHING = 5, 0, 1
_LONGEST = 60
"""Bytes of a TCP header."""


def blocks(packet: dict[str, Any], read: Callable[[int, int], bytes]) -> list[tuple[int, int]]:
    """The blocks as sequence numbers; none where the header is not where it should be.

    The header ends where the payload begins (packets.payload). Where it begins, its own length, ports and numbers say.
    """
    head = struct.pack(">HHII", packet["source_port"], packet["destination_port"], packet["seq"], packet["ack"])
    before = read(packet["payload"] - _LONGEST, _LONGEST)
    for length in range(20, len(before) + 1, 4):
        header = before[len(before) - length :]
        if header.startswith(head) and header[12] >> 4 == length // 4:
            return _of_options(header[20:])
    return []


def _of_options(options: bytes) -> list[tuple[int, int]]:
    at = 0
    while at < len(options) and options[at] != _END:
        if options[at] == _NOTHING:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2 or at + length > len(options):
            break
        if options[at] == _SACK and length % 8 == 2:
            return [(low, high) for low, high in struct.iter_unpack(">II", options[at + 2 : at + length])]
        at += length
    return []

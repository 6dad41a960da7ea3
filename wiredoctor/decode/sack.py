"""The blocks of a SACK option (RFC 2018 section 3), found again in the bytes in front of a payload: for what draws them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from wiredoctor.decode.general_transport import each_option
from wiredoctor.decode.protocol_numbers import SACK

_LONGEST = 60
"""Bytes of a TCP header."""


def sack_blocks(read: Callable[[int, int], bytes], packet: Mapping[str, Any]) -> list[tuple[int, int]]:
    """The blocks of a row of tables.PACKETS as sequence numbers; none where the header is not where it should be.

    The header ends where the payload begins (packets.payload). Where it begins, its own length, ports and numbers say.
    `read(place, length)` gives bytes of the capture.
    """
    head = struct.pack(">HHII", packet["source_port"], packet["destination_port"], packet["seq"], packet["ack"])
    before = read(packet["payload"] - _LONGEST, _LONGEST)
    for length in range(20, len(before) + 1, 4):
        header = before[len(before) - length :]
        if header.startswith(head) and header[12] >> 4 == length // 4:
            return _of_options(header[20:])
    return []


def _of_options(options: bytes) -> list[tuple[int, int]]:
    for kind, value in each_option(options):
        if kind == SACK and value and not len(value) % 8:
            return [(low, high) for low, high in struct.iter_unpack(">II", value)]
    return []

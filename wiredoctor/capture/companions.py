"""Blocks of pcapng that say something of all packets of a file: names, and secrets to decrypt with.

Where files are woven together, they go into the one section that comes of it, so that Wireshark goes on to show and decrypt.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from wiredoctor.capture.blocks import SECTION, block_damage, section_order

if TYPE_CHECKING:
    from wiredoctor.capture.capture import Capture

NAMES, SECRETS = 4, 10
"""Name Resolution Block, Decryption Secrets Block."""

_PIECE = 4 << 20
"""Bytes that are walked over before their memory is given back."""


def companions(capture: Capture) -> Iterator[bytes]:
    """These blocks of all files of a capture, in little-endian order; of each file as far as it is not damaged."""
    walked = [part.begin for part in capture.parts]
    for number, part in enumerate(capture.parts):
        if part.format == "pcapng":
            yield from _of_part(capture, number, walked)


def _of_part(capture: Capture, number: int, walked: list[int]) -> Iterator[bytes]:
    part = capture.parts[number]
    data = capture.data[part.begin : part.end]
    order, at, released = "<", 0, 0
    while at <= data.size - 12:
        (kind,) = struct.unpack_from(order + "I", data.data, at)
        if kind == SECTION:
            found = section_order(data, at)
            if found is None:
                return
            order = found
        (length,) = struct.unpack_from(order + "I", data.data, at + 4)
        if block_damage(data, at, length, order) is not None:
            return
        if kind in (NAMES, SECRETS) and (block := turned(data[at : at + (length + 3 & ~3)].tobytes(), order)):
            yield block
        at += length + 3 & ~3
        if at - released > _PIECE:
            released = at
            walked[number] = part.begin + at
            capture.release(tuple(walked), for_good=False)


def turned(block: bytes, order: str) -> bytes:
    """A block of names or secrets in little-endian order; empty where it is not laid out as one."""
    if order == "<":
        return block
    (kind,) = struct.unpack_from(">I", block)
    body = block[8:-4]
    made = _secrets(body) if kind == SECRETS else _entries(body)
    if made is None:
        return b""
    size = struct.pack("<I", len(made) + 12)
    return struct.pack("<I", kind) + size + made + size


def _secrets(body: bytes) -> bytes | None:
    """Kind and length of the secrets, these themselves, options."""
    if len(body) < 8:
        return None
    kind, length = struct.unpack_from(">II", body)
    end = 8 + (length + 3 & ~3)
    options = _entries(body[end:]) if end <= len(body) else None
    return None if options is None else struct.pack("<II", kind, length) + body[8:end] + options


def _entries(entries: bytes) -> bytes | None:
    """Kind and length of each entry and its value: records of names end as options do, which follow in the same form."""
    made: list[bytes] = []
    at = 0
    while at < len(entries):
        if at + 4 > len(entries):
            return None
        code, length = struct.unpack_from(">HH", entries, at)
        end = at + 4 + (length + 3 & ~3)
        if end > len(entries):
            return None
        made.append(struct.pack("<HH", code, length) + entries[at + 4 : end])
        at = end
    return b"".join(made)

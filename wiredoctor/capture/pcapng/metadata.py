"""Read the pcapng blocks that apply to all packets of a file: names and decryption secrets.

When files are merged, these blocks are copied to the single section of the result, so Wireshark still shows names and decrypts
TLS.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from wiredoctor import limits
from wiredoctor.capture.files import Content
from wiredoctor.capture.formats import section_order
from wiredoctor.capture.pcapng.blocks import SECTION

NAMES, SECRETS = 4, 10
"""The types of a Name Resolution Block and a Decryption Secrets Block."""

_PIECE = 1 << 18
"""The number of bytes per read."""
_SMALLEST = 12


class Blocks:
    """Reads the blocks of a pcapng file one by one.

    `kind` is the type of the current block, and `order` its byte order ("<" or ">"). The block lies between the offsets `at`
    and `end`.
    """

    def __init__(self, content: Content) -> None:
        self._content = content
        self._begin, self._piece = 0, b""
        self._length = 0
        self.at = self.end = self.kind = 0
        self.order = "<"

    def next(self) -> bool:
        """Go to the block at offset `at`, and read its type and length.

        Return False at the end of the file, or at a section header without byte-order magic.
        """
        head = self._bytes(self.at, _SMALLEST)
        if len(head) < _SMALLEST:
            return False
        (self.kind,) = struct.unpack_from(self.order + "I", head)
        if self.kind == SECTION:
            order = section_order(head)
            if order is None:
                return False
            self.order = order
        (self._length,) = struct.unpack_from(self.order + "I", head, 4)
        self.end = self.at + (self._length + 3 & ~3)
        return True

    def is_sound(self) -> bool:
        """Return whether the current block is complete and its two lengths are equal."""
        if not _SMALLEST <= self._length <= limits.BLOCK.value or self.end > self._content.size:
            return False
        (again,) = struct.unpack(self.order + "I", self._bytes(self.end - 4, 4))
        return again + 3 & ~3 == self.end - self.at  # the same comparison as in Wireshark

    def block(self) -> bytes:
        """Return the bytes of the current block."""
        return self._bytes(self.at, self.end - self.at)

    def pass_on(self) -> None:
        """Move on to the next block."""
        self.at = self.end

    def _bytes(self, at: int, size: int) -> bytes:
        if not self._begin <= at or at + size > self._begin + len(self._piece):
            self._begin, self._piece = at, self._content.read(at, max(size, _PIECE))
        return self._piece[at - self._begin : at - self._begin + size]


def companions(content: Content) -> Iterator[bytes]:
    """Yield the blocks of a pcapng file that contain names or secrets, in little-endian order, up to the first damage."""
    blocks = Blocks(content)
    while blocks.next() and blocks.is_sound():
        if blocks.kind in (NAMES, SECRETS) and (block := to_little_endian(blocks.block(), blocks.order)):
            yield block
        blocks.pass_on()


def to_little_endian(block: bytes, order: str) -> bytes:
    """Return a block of names or secrets in little-endian order; empty if its structure is invalid.

    `order`: the byte order of the block, "<" or ">".
    """
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
    """Return the body of a decryption secrets block, converted from big-endian to little-endian; None if it is malformed.

    The body consists of type, length, secrets and options.
    """
    if len(body) < 8:
        return None
    kind, length = struct.unpack_from(">II", body)
    end = 8 + (length + 3 & ~3)
    options = _entries(body[end:]) if end <= len(body) else None
    return None if options is None else struct.pack("<II", kind, length) + body[8:end] + options


def _entries(entries: bytes) -> bytes | None:
    """Convert big-endian name records or options to little-endian order (both consist of type, length and value).

    Return None if their structure is invalid.
    """
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

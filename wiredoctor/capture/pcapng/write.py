"""Write pcapng blocks (draft-ietf-opsawg-pcapng), or add options to them. Parameters named `order` are "<" or ">" (struct)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from wiredoctor.capture.model import Interface
from wiredoctor.capture.pcapng.blocks import ENHANCED, ENHANCED_FIXED, INTERFACE, PACKET, SECTION, SECTION_FIXED, STATISTICS

COMMENT = 1
"""The code of the option opt_comment."""

LONGEST_OPTION = 0xFFFF
"""The maximum size of an option in bytes: its length field has 16 bits."""

MAX_OPTIONS = 8 << 20
"""The maximum total size in bytes of the options added to a block, because Wireshark rejects blocks above 16 MiB."""

_NAME, _RESOLUTION, _OFFSET, _FCS_LENGTH = 2, 9, 14, 13
_RECEIVED, _DROPPED = 4, 5
_APPLICATION, _END = 4, 0
_MAGIC, _UNKNOWN_LENGTH = 0x1A2B3C4D, -1

_OPTIONS_AT = {SECTION: 24, INTERFACE: 16}

Option = tuple[int, bytes]


def comment(text: str) -> Option:
    """Return an opt_comment with this text. A text that is too long is cut between characters."""
    return COMMENT, text.encode("utf-8", "replace")[:LONGEST_OPTION].decode("utf-8", "ignore").encode()


def section(program: str, comments: Sequence[str] = ()) -> bytes:
    """Return a little-endian Section Header Block that names `program` as its writer."""
    fixed = struct.pack("<IHHq", _MAGIC, 1, 0, _UNKNOWN_LENGTH)
    return _block(SECTION, fixed + _options([(_APPLICATION, program.encode()), *map(comment, comments)]))


def interface(described: Interface, seconds: int = 0, fcs: int | None = None) -> bytes:
    """Return an Interface Description Block.

    `seconds`: the offset in seconds that is added to each timestamp; timestamps are in ns. `fcs`: the length in bits of the
    frame check sequence at the end of each packet, if known.
    """
    options: list[Option] = [(_RESOLUTION, b"\x09")]
    if described.name:
        options.insert(0, (_NAME, described.name.encode("utf-8", "replace")[:LONGEST_OPTION]))
    if fcs is not None:
        options.append((_FCS_LENGTH, bytes((fcs,))))
    if seconds:
        options.append((_OFFSET, struct.pack("<q", seconds)))
    fixed = struct.pack("<HHI", described.link_type & 0xFFFF, 0, described.snaplen & 0xFFFFFFFF)
    return _block(INTERFACE, fixed + _options(options))


def packet(number: int, ticks: int, data: bytes, length: int, options: bytes = b"") -> bytes:
    """Return an Enhanced Packet Block.

    `number`: the number of the interface. `ticks`: the timestamp in ns, without the offset of the interface.
    `length`: the length of the packet on the network in bytes. `options` are already encoded.
    """
    high, low, padding = ticks >> 32 & 0xFFFFFFFF, ticks & 0xFFFFFFFF, -len(data) & 3
    total = ENHANCED_FIXED + len(data) + padding + len(options)
    head = struct.pack("<IIIIIII", ENHANCED, total, number, high, low, len(data), length)
    return b"".join((head, data, bytes(padding), options, struct.pack("<I", total)))


def statistics(number: int, ticks: int, dropped: int, received: int, since: int | None, until: int) -> bytes:
    """Return an Interface Statistics Block that counts the packets dropped on an interface so far.

    `number`: the number of the interface. `ticks`: the timestamp, as in `packet`. `received`: the number of captured packets; 0
    if unknown. `since`, `until`: the times (ns since 1970) at which the previous total and this one were read; `since` is None if
    unknown.
    """
    after = "" if since is None else f"after {since} and "
    counts = [(_DROPPED, struct.pack("<Q", dropped))] + ([(_RECEIVED, struct.pack("<Q", received))] if received else [])
    options = _options([comment(f"dropped {after}until {until} ns since 1970"), *counts])
    return _block(STATISTICS, struct.pack("<III", number, ticks >> 32, ticks & 0xFFFFFFFF) + options)


def comments_alone(texts: Sequence[str]) -> bytes:
    """Return the encoded options of a block that has no options except these comments."""
    return _options(_bound_options([comment(text) for text in texts])) if texts else b""


def with_comments(block: bytes, order: str, kind: int, texts: Sequence[str]) -> bytes:
    """Return the block with comments appended to its options; unchanged if blocks of its type (`kind`) have no options."""
    at = find_options(block, order, kind)
    if at is None or not texts:
        return block
    end = _options_end(block, order, at)
    rest = block[end:-4] or struct.pack(order + "HH", _END, 0)
    more = _raw(order, _bound_options([comment(text) for text in texts]))
    total = len(block[:end]) + len(more) + len(rest) + 4
    size = struct.pack(order + "I", total)
    return b"".join((block[:4], size, block[8:end], more, rest, size))


def with_unknown_length(block: bytes, order: str) -> bytes:
    """Return a section header with its section length set to "unknown", because the copied section may have another length."""
    return block[:16] + struct.pack(order + "q", _UNKNOWN_LENGTH) + block[24:] if len(block) >= SECTION_FIXED else block


def find_options(block: bytes, order: str, kind: int) -> int | None:
    """Return the offset of a block's options; None if blocks of its type have no options."""
    if kind in (ENHANCED, PACKET) and len(block) >= ENHANCED_FIXED:
        (captured,) = struct.unpack_from(order + "I", block, 20)
        at = 28 + (captured + 3 & ~3)
        return at if at <= len(block) - 4 else None
    return _OPTIONS_AT.get(kind)


def _options_end(block: bytes, order: str, at: int) -> int:
    """Return the offset at which a block's options end, not counting opt_endofopt; `at` if they are malformed.

    `at`: the offset at which the options begin.
    """
    begin, last = at, len(block) - 4
    while at + 4 <= last:
        code, length = struct.unpack_from(order + "HH", block, at)
        if code == _END:
            return at
        at += 4 + (length + 3 & ~3)
    return at if at == last else begin


def _bound_options(options: Sequence[Option]) -> list[Option]:
    found: list[Option] = []
    room = MAX_OPTIONS
    for code, value in options:
        room -= len(value) + 8
        if room < 0:
            break
        found.append((code, value))
    return found


def _raw(order: str, options: Sequence[Option]) -> bytes:
    return b"".join(struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) & 3) for code, value in options)


def _options(options: Sequence[Option]) -> bytes:
    return _raw("<", options) + bytes(4)


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size

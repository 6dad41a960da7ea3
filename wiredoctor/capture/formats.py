"""Recognize the format of capture files and parse their headers."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from wiredoctor import limits
from wiredoctor.capture.model import CaptureError, Interface

_PLAIN, _NOKIA, _MODIFIED_HEADER, _OLDER_MODIFIED = 16, 20, 24, 28
"""The sizes in bytes of the record headers of pcap variants.

Modified headers add interface, protocol and packet type; Nokia's header adds one word.
"""

_TRIED = 3
_MAX_LENGTH = 128 * 1024 * 1024

_STANDARD, _NANOSECOND, _MODIFIED, _IXIA_NS, _IXIA_US = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34, 0x1C0001AC, 0x1C0001AB

_VARIANTS = {  # magic number -> (bytes between the file header and the first record, nanoseconds per tick)
    _STANDARD: (0, 1_000),
    _NANOSECOND: (0, 1),
    _MODIFIED: (0, 1_000),
    _IXIA_NS: (4, 1),
    _IXIA_US: (4, 1_000),
}
_HEADERS = {_STANDARD: (_PLAIN, _MODIFIED_HEADER, _NOKIA), _MODIFIED: (_MODIFIED_HEADER, _OLDER_MODIFIED)}
"""The possible record headers for each ambiguous magic number, the most likely one first. Other files have _PLAIN headers."""

_FILE_HEADER = 24
_FCS = 0xFC000000
"""The bits of the link type field with the length of the frame check sequence."""

_SNOOP = b"snoop\0\0\0"
SNOOP_HEADER = 16
_SNOOP_VERSION = 2
_SNOOP_LINK_TYPES = {0: 1, 2: 6, 4: 1, 8: 10}
"""The link type for each datalink type of a snoop file: IEEE 802.3, IEEE 802.5, Ethernet, FDDI."""

_PCAPNG = b"\x0a\x0d\x0d\x0a"
"""The type of a Section Header Block, with which a pcapng file begins; the same in both byte orders."""
_BYTE_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}

Read = Callable[[int, int], bytes]
"""A function that returns bytes of a file, given offset and size; at the end of the file, it returns fewer bytes."""


def detect_format(head: bytes) -> str | None:
    """Return the format of a file with these first bytes; None if it is not a capture."""
    if byte_order(head) is not None:
        return "pcap"
    if head.startswith(_PCAPNG) and section_order(head) is not None:
        return "pcapng"
    return "snoop" if head.startswith(_SNOOP) else None


def is_capture(head: bytes) -> bool:
    """Return whether a file with these first bytes is a pcap, pcapng or snoop file."""
    return detect_format(head) is not None


def byte_order(head: bytes) -> str | None:
    """Return "<" or ">" for the byte order of a pcap magic number; None for other bytes."""
    for order in "<>":
        if len(head) >= 4 and struct.unpack_from(order + "I", head)[0] in _VARIANTS:
            return order
    return None


def section_order(block: bytes) -> str | None:
    """Return "<" or ">" for the byte-order magic of a Section Header Block; None for other bytes."""
    return _BYTE_ORDERS.get(block[8:12])


class FileHeader(NamedTuple):
    """The header of a pcap file.

    `order`: the byte order, "<" or ">". `tick`: ns per unit of a timestamp's fraction of a second. `record_header`: the size of a
    record header in bytes. `first_record`: the offset of the first record. `exchanged`: True if each record has its original
    length before its captured length, contrary to the format. `perhaps_exchanged`: True if the order has to be checked for each
    record.
    """

    order: str
    tick: int
    record_header: int
    first_record: int
    exchanged: bool
    perhaps_exchanged: bool
    interface: Interface


def describe_pcap(read: Read, name: str) -> FileHeader:
    """Parse the header of a pcap file. Raise CaptureError if it is invalid; the error contains `name`."""
    head = read(0, _FILE_HEADER)
    order = byte_order(head) or "<"
    if len(head) < _FILE_HEADER:
        raise CaptureError(f"{name}: the file ends inside its header ({len(head)} bytes of {_FILE_HEADER})")
    magic, major, minor, _, _, snaplen, network = struct.unpack_from(order + "IHHIIII", head)
    if major < 2:
        raise CaptureError(f"{name}: pcap version {major}.{minor} is not supported")
    more, tick = _VARIANTS[magic]
    size = _PLAIN
    if magic in _HEADERS and not (major == 2 and minor < 4) and major != 543:
        size = _record_header(read, _FILE_HEADER, order, snaplen, _HEADERS[magic])
    # before version 2.3 the two lengths were in reverse order; in 2.3 the order depended on the program
    exchanged = (major, minor) < (2, 3) or major == 543
    interface = Interface(network & ~_FCS, snaplen=snaplen)
    return FileHeader(order, tick, size, _FILE_HEADER + more, exchanged, (major, minor) == (2, 3), interface)


def describe_snoop(head: bytes, name: str) -> Interface:
    """Return the interface of a snoop file with these first bytes. Raise CaptureError if its header is invalid."""
    if len(head) < SNOOP_HEADER:
        raise CaptureError(f"{name}: the file ends inside its header ({len(head)} bytes of {SNOOP_HEADER})")
    version, datalink = struct.unpack_from(">8x2I", head)
    if version != _SNOOP_VERSION:
        raise CaptureError(f"{name}: snoop version {version} is not supported")
    if datalink not in _SNOOP_LINK_TYPES:
        raise CaptureError(f"{name}: snoop datalink type {datalink} cannot be read")
    return Interface(_SNOOP_LINK_TYPES[datalink])


def _record_header(
    read: Callable[[int, int], bytes], position: int, order: str, snaplen: int, candidates: tuple[int, ...]
) -> int:
    """Return the record header size in bytes, out of `candidates`, that best fits the records at `position`.

    Some systems of 1999 wrote longer record headers with the standard magic number, others wrote standard ones with the modified
    magic number. As in Wireshark 4.0, the first three headers are parsed with each size. The size with the fewest implausible
    values is used.
    """
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

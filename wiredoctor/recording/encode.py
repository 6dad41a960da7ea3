"""Write pcapng blocks in native byte order, for backends that do not write pcapng themselves. Times are ns since 1970."""

from __future__ import annotations

import os
import struct
import time

from wiredoctor.recording.blocks import ENHANCED, INTERFACE, SECTION, STATISTICS
from wiredoctor.version import __version__

_MAGIC, _UNKNOWN_LENGTH = 0x1A2B3C4D, -1
_HARDWARE_SNAPLEN = 262_144
_COMMENT, _APPLICATION, _NAME, _RESOLUTION, _RECEIVED, _DROPPED = 1, 4, 2, 9, 4, 5
"""The codes of options: opt_comment, shb_userappl, if_name, if_tsresol, isb_ifrecv and isb_ifdrop."""

_head = struct.Struct("=IIIIIII").pack
_LENGTH = struct.Struct("=I")
_PADDING = [b"", b"\0\0\0", b"\0\0", b"\0"]
"""The padding bytes after a value, by the length of the value modulo 4."""


def section(program: str) -> bytes:
    """Return a Section Header Block; `program` is the capturing program."""
    fixed = struct.pack("=IHHq", _MAGIC, 1, 0, _UNKNOWN_LENGTH)
    return _block(SECTION, fixed + _options((_APPLICATION, f"wiredoctor {__version__} ({program})".encode())))


def interface(name: str, link_type: int, snaplen: int | None) -> bytes:
    """Return an Interface Description Block with timestamps in nanoseconds."""
    fixed = struct.pack("=HHI", link_type, 0, snaplen or _HARDWARE_SNAPLEN)
    return _block(INTERFACE, fixed + _options((_NAME, os.fsencode(name)), (_RESOLUTION, b"\x09")))


def packet(number: int, stamp: int, data: bytes, length: int) -> bytes:
    """Return an Enhanced Packet Block with the captured `data` of a packet of `length` bytes on interface `number`."""
    captured = len(data)
    total = captured + 35 & ~3
    high, low = stamp >> 32 & 0xFFFFFFFF, stamp & 0xFFFFFFFF
    return b"".join(
        (_head(ENHANCED, total, number, high, low, captured, length), data, _PADDING[captured & 3], _LENGTH.pack(total))
    )


def ending(until: int, packets: int) -> bytes:
    """Return an Interface Statistics Block with the time at which capturing ended (ns since 1970) and the number of packets.

    A reader can compare this number with the packets in the file. If they are equal, the file is complete, and no packet was
    captured between the last packet of the file and the end of capturing.
    """
    fixed = struct.pack("=III", 0, until >> 32, until & 0xFFFFFFFF)
    comment = f"captured until {until} ns since 1970: {packets} packets".encode()
    return _block(STATISTICS, fixed + _options((_COMMENT, comment)))


def statistics(
    number: int, received: int | None, dropped: int | None, *, is_live: bool = False, since: int | None = None
) -> bytes:
    """Return an Interface Statistics Block of interface `number` with the current time; a count of None is omitted.

    As in dumpcap's files, isb_ifrecv has `received`, which does not include dropped packets, and isb_ifdrop has `dropped`. While
    the capture is still running (`is_live`), a comment says when packets were dropped: after `since` (ns since 1970), if that is
    known, and until now.
    """
    stamp = time.time_ns()
    fixed = struct.pack("=III", number, stamp >> 32, stamp & 0xFFFFFFFF)
    counts = ((_RECEIVED, received), (_DROPPED, dropped))
    options = [(code, struct.pack("=Q", count)) for code, count in counts if count is not None]
    if is_live:
        after = "" if since is None else f"after {since} and "
        options.append((_COMMENT, f"dropped {after}until {stamp} ns since 1970".encode()))
    return _block(STATISTICS, fixed + _options(*options))


def _options(*options: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack("=HH", code, len(v)) + v + _PADDING[len(v) & 3] for code, v in options) + bytes(4)


def _block(kind: int, body: bytes) -> bytes:
    total = len(body) + 12
    return struct.pack("=II", kind, total) + body + struct.pack("=I", total)

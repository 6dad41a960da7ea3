"""Bytes of a stream that were sent twice, and differ: evasion, a broken middlebox, or two networks in one capture.

Only what comes again is compared, with the first copies among the last limits.FIRST_COPIES frames. A difference counts where the
checksums of both packets are right: what was damaged on the way, and what a network card had not finished when it was
captured, differs by itself.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable

import numpy as np

from wiredoctor import limits
from wiredoctor.tables import NEVER, RST, SYN, Array, Columns
from wiredoctor.tcp.state import TcpState

LEAST = 2
"""Bytes. A keep-alive or window probe may carry one byte of garbage (RFC 9293 section 3.8.4)."""

LONGEST_HEADER = 60
"""Bytes, with all options (RFC 9293 section 3.1)."""

_KEPT = ("side", "start", "end", "frame", "offset", "length", "captured", "payload")

Read = Callable[[int, int], bytes]


def find_conflicts(s: Columns, index: Array, pieces: list[tuple[int, int, int]], read: Read, state: TcpState) -> None:
    """Counts packets that contradict what was sent before, per connection, and remembers the first."""
    length = s["length"].astype(np.int64)
    side = 2 * index + s["direction"]
    plain = (s["flags"] & (SYN | RST)) == 0
    again = np.flatnonzero(plain & (length >= LEAST) & (s["new_bytes"] < length) & ~s["keep_alive_probe"])
    first = np.flatnonzero(plain & (s["new_bytes"] > 0))
    if pieces:
        # what fills several holes at once brings no single range
        first = first[~np.isin(first, [row for row, _, _ in pieces])]
    start = s["new_start"][first]
    fresh: Columns = {name: s[name][first] for name in _KEPT[3:]}
    fresh |= {"side": side[first], "start": start, "end": start + s["new_bytes"][first]}
    past = state.sent or {name: values[:0] for name, values in fresh.items()}
    if len(again):
        wanted = np.zeros(2 * state.used, dtype=bool)
        wanted[side[again]] = True
        known = {name: np.concatenate([part[name][wanted[part["side"]]] for part in (past, fresh)]) for name in _KEPT}
        if len(known["side"]):
            _compare(s, again, side, _FirstCopies(known), read, state)
    oldest = state.frame - limits.FIRST_COPIES.value
    state.sent = {name: np.concatenate([part[name][part["frame"] > oldest] for part in (past, fresh)]) for name in _KEPT}


class _FirstCopies:
    """First copies of bytes, of several sides, in the order of their streams."""

    def __init__(self, known: Columns) -> None:
        order = np.lexsort((known["start"], known["side"]))
        self.rows: dict[str, list[int]] = {name: known[name][order].tolist() for name in _KEPT}
        self._sides = known["side"][order]

    def of(self, side: int, start: int, end: int, frame: int) -> list[int]:
        """Those of [start, end) that were captured before this frame, and not too long before."""
        low, high = np.searchsorted(self._sides, (side, side + 1)).tolist()
        begin, frames = self.rows["start"], self.rows["frame"]
        i = max(bisect_right(begin, start, low, high) - 1, low)
        last = min(bisect_left(begin, end, low, high), i + limits.COMPARED.value)
        return [
            k for k in range(i, last) if frame - limits.FIRST_COPIES.value < frames[k] < frame and self.rows["end"][k] > start
        ]


def _compare(s: Columns, again: Array, side: Array, copies: _FirstCopies, read: Read, state: TcpState) -> None:
    c = state.connections
    names = ("frame", "offset", "length", "captured", "payload", "time")
    rows = zip(side[again].tolist(), *(s[name][again].tolist() for name in names), strict=True)
    first: dict[int, tuple[int, int, int]] = {}
    for own, frame, offset, length, captured, payload, time in rows:
        for k in copies.of(own, offset, offset + captured, frame):
            earlier = {name: values[k] for name, values in copies.rows.items()}
            begin = max(offset, earlier["start"])
            size = min(offset + captured, earlier["end"], earlier["offset"] + earlier["captured"]) - begin
            places = (payload + begin - offset, earlier["payload"] + begin - earlier["offset"])
            if size < LEAST or read(places[0], size) == read(places[1], size):
                continue
            if (
                captured == length
                and earlier["captured"] == earlier["length"]
                and all(
                    _is_sound(own, at, size, read, state)
                    for at, size in ((payload, length), (earlier["payload"], earlier["length"]))
                )
            ):
                c["conflicts"][own >> 1] += 1
                known = first.get(own >> 1)
                if known is None or frame < known[0]:
                    first[own >> 1] = (frame, time, earlier["frame"])
                break
    for slot, values in first.items():
        if c["conflict_frame"][slot] == NEVER:
            for name, value in zip(("frame", "time", "first_frame"), values, strict=True):
                c[f"conflict_{name}"][slot] = value


def _is_sound(side: int, payload: int, length: int, read: Read, state: TcpState) -> bool:
    """Whether the checksum of a packet that was captured whole is right (RFC 9293 section 3.1). Where its header begins is
    told by the ports, and by the data offset, which leads from there to the payload."""
    d = state.directions
    ports = struct.pack(">HH", int(d["port"][side]), int(d["port"][side ^ 1]))
    before = read(payload - LONGEST_HEADER, LONGEST_HEADER) if payload >= LONGEST_HEADER else b""
    for size in range(20, len(before) + 1, 4):
        header = before[-size:]
        if header.startswith(ports) and header[12] >> 4 == size // 4:
            return _sum(_pseudo_header(side, size + length, state) + header + read(payload, length)) == 0xFFFF
    return False


def _pseudo_header(side: int, size: int, state: TcpState) -> bytes:
    d = state.directions
    halves = [(int(d["address_high"][i]), int(d["address_low"][i])) for i in (side, side ^ 1)]
    if int(state.connections["ip_version"][side >> 1]) == 6:
        return b"".join(struct.pack(">QQ", *both) for both in halves) + struct.pack(">II", size, 6)
    return b"".join(struct.pack(">I", low) for _, low in halves) + struct.pack(">HH", 6, size)


def _sum(data: bytes) -> int:
    """The ones' complement sum of 16-bit words (RFC 1071)."""
    total = int(np.frombuffer(data + b"\0" * (len(data) % 2), dtype=">u2").sum(dtype=np.int64))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return total

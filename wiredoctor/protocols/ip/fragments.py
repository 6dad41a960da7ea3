"""Reassemble IP fragments (RFC 791 section 3.2, RFC 8200 section 4.5)."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable
from dataclasses import dataclass, field

from wiredoctor import limits
from wiredoctor.limits import LimitsReached

_MAX_DATAGRAM = 1 << 16


@dataclass
class _Datagram:
    pieces: list[tuple[int, int, bytes]] = field(default_factory=list[tuple[int, int, bytes]])
    """The fragments as sorted tuples: offset of the first byte, sequence number by arrival, content.

    Fragments with the same offset are in order of arrival.
    """
    spans: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """The ranges covered by fragments as (first offset, end offset), sorted and without overlaps."""
    size: int | None = None
    held: int = 0

    def cover(self, first: int, end: int) -> None:
        """Record that the bytes from `first` to before `end` were captured."""
        low = bisect_left(self.spans, (first, -1))
        if low and self.spans[low - 1][1] >= first:
            low -= 1
            first = self.spans[low][0]
        high = low
        while high < len(self.spans) and self.spans[high][0] <= end:
            end = max(end, self.spans[high][1])
            high += 1
        self.spans[low:high] = [(first, end)]

    def join(self) -> bytes | None:
        """Return the datagram if it is complete, or None. Overlapping bytes are taken from the fragment that begins first."""
        first, end = self.spans[0]
        if self.size is None or first or end < self.size:
            return None
        whole = bytearray()
        for at, _, content in self.pieces:
            whole += content[len(whole) - at :]
        return bytes(whole[: self.size])


class FragmentStore:
    """The incomplete datagrams, limited in number and bytes. Their keys are (addresses, identification, ...)."""

    def __init__(self, met: LimitsReached | None = None) -> None:
        self.met = LimitsReached() if met is None else met
        self._waiting: dict[Hashable, _Datagram] = {}
        self._held = 0
        self._arrivals = 0

    def add(self, key: Hashable, first: int, more: bool, content: bytes) -> bytes | None:
        """Add a fragment that begins at byte `first` of its datagram. Return the datagram if it is complete now, or None.

        `more`: further fragments follow.
        """
        if first + len(content) > _MAX_DATAGRAM:
            return None
        datagram = self._waiting.setdefault(key, _Datagram())
        self._arrivals += 1
        insort(datagram.pieces, (first, self._arrivals, content))
        datagram.cover(first, first + len(content))
        datagram.held += len(content)
        self._held += len(content)
        if not more and datagram.size is None:
            datagram.size = first + len(content)
        whole = datagram.join()
        if whole is not None or len(datagram.pieces) > _MAX_DATAGRAM // 8:
            self._forget(key)
        self._make_room()
        return whole

    def _forget(self, key: Hashable) -> None:
        self._held -= self._waiting.pop(key).held

    def _make_room(self) -> None:
        while len(self._waiting) > limits.DATAGRAMS.value or self._held > limits.DATAGRAM_BYTES.value:
            many = len(self._waiting) > limits.DATAGRAMS.value
            self.met.add(limits.DATAGRAMS if many else limits.DATAGRAM_BYTES)
            self._forget(next(iter(self._waiting)))

"""A packet on its way through the general decoder: where reading stands, and what was passed on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wiredoctor.decode.hashing import mix_one

if TYPE_CHECKING:
    from wiredoctor.decode.rows import Row
    from wiredoctor.decode.state import DecodeState

Step = Callable[["Packet"], "Step | Row | str"]
"""Reads one header at `at` and says what comes next: the next step, the finished row, or why there is none."""


@dataclass
class Packet:
    """Reading stands at `at` of `buffer`; `end` is where the captured bytes end, `limit` where the packet ended on the wire."""

    state: DecodeState
    buffer: memoryview
    base: int
    """Offset of the buffer's first byte in the file, or in the scratch buffer from tables.SCRATCH on."""
    at: int
    end: int
    limit: int
    captured: int = 0
    """Bytes of the record that are in the file."""
    link_hash: int = 0
    encapsulation: int = 0
    ip_version: int = 0
    source: int = 0
    destination: int = 0
    ip_id: int = -1
    ttl: int = 0
    quoted: bool = False
    routed: int = 0
    """IP headers passed so far."""
    names: int = 0
    """Bits of the encapsulations passed so far, see names.BIT."""
    mirrored: bool = False
    """A tunnel was passed that mirror ports use, which may cut packets: what is inside says how long it was."""

    def has(self, size: int) -> bool:
        """Whether so many bytes are there, captured and within the packet."""
        return self.at + size <= min(self.end, self.limit)

    def take(self, size: int) -> bytes:
        """The next bytes, which must be there; reading goes on behind them."""
        piece = bytes(self.buffer[self.at : self.at + size])
        self.at += size
        return piece

    def peek(self, size: int) -> bytes:
        """As many of the next bytes as are there."""
        return bytes(self.buffer[self.at : min(self.at + size, self.end, self.limit)])

    def passed(self, word: int) -> None:
        """Remembers an encapsulating header."""
        self.encapsulation = mix_one(self.encapsulation, word)

    def restrict(self, size: int) -> None:
        """The headers before say that the packet ends `size` bytes from here, unless it ends earlier."""
        self.limit = min(self.limit, self.at + size)

    def measure(self, size: int) -> None:
        """The IP header says that the packet ends `size` bytes from here: of a mirrored one that may have been cut off."""
        if self.mirrored and self.at + size > self.limit:
            self.end = min(self.end, self.limit)
            self.limit = self.at + size
            self.state.longest_cut = max(self.state.longest_cut, self.captured)
        self.restrict(size)

"""What decoding remembers from one epoch to the next."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from wiredoctor.decode.fragments import FragmentStore

Oddity = tuple[int, str, str]
"""frame, layer, what"""

MAX_ODDITIES = 1_000
"""Kept per call: a capture of nothing but broken packets must not become a report of as many lines."""

MAX_SCRATCH = 64 * 1024 * 1024
"""Bytes of reassembled fragments that are kept. Fragmented TCP is rare (path MTU discovery avoids it): real captures
need kilobytes, and memory must not follow the length of a hostile one."""

MAX_TUNNELS = 4_096
"""As many as fragments.MAX_DATAGRAMS wait to be put together."""


@dataclass
class DecodeState:
    """State of one capture's decoding.

    not_analysed: reason -> packets, for every packet that gave no row, each under one reason.
    scratch: reassembled fragments, append-only; `packets.payload` points into it from tables.SCRATCH on.
    An array made of it stays valid: while one exists, new content goes to a longer copy (read the attribute anew).
    tunnels: the last MAX_TUNNELS fragmented UDP datagrams (hash of addresses and identification) with a tunnel's port.
    share: of which share of the connections rows are given: number, and how many shares there are.
    limits: what was cut off by a bound of ours, in words.
    """

    not_analysed: Counter[str] = field(default_factory=Counter[str])
    share: tuple[int, int] = (0, 1)
    scratch: bytearray = field(default_factory=bytearray)
    fragments: FragmentStore = field(default_factory=FragmentStore)
    tunnels: dict[int, None] = field(default_factory=dict[int, None])
    limits: dict[str, str] = field(default_factory=dict[str, str])

    def keep(self, datagram: bytes) -> int | None:
        """Appends a reassembled datagram to scratch; where it begins there, None when scratch is full."""
        at = len(self.scratch)
        if at + len(datagram) > MAX_SCRATCH:
            self.limits["scratch"] = f"IP fragments were put together up to {MAX_SCRATCH} bytes; later ones were not"
            return None
        try:
            self.scratch += datagram
        except BufferError:  # somebody holds a view of it
            self.scratch = self.scratch + datagram
        return at

    def expect_tunnel(self, datagram: int) -> None:
        """The fragments that follow of this datagram are worth keeping."""
        self.tunnels[datagram] = None
        if len(self.tunnels) > MAX_TUNNELS:
            del self.tunnels[next(iter(self.tunnels))]

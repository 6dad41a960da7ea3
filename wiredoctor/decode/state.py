"""What the general decoder remembers from packet to packet."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from wiredoctor import limits
from wiredoctor.decode.fragments import FragmentStore
from wiredoctor.limits import Met


@dataclass
class DecodeState:
    """State of one capture's decoding.

    not_analysed: reason -> packets, for every packet that gave no row, each under one reason.
    scratch: reassembled fragments, append-only; `packets.payload` points into it from tables.SCRATCH on.
    An array made of it stays valid: while one exists, new content goes to a longer copy (read the attribute anew).
    tunnels: the last limits.TUNNELS fragmented UDP datagrams (hash of addresses and identification) with a tunnel's port.
    encapsulations: name -> packets with TCP in it; VLAN tags do not count.
    longest_cut: the longest record, in bytes, in which a mirror port has left a part of a packet only; -1 without any.
    limits: what was left out for another reason than a bound of ours, in words; met: which of our bounds were met.
    """

    not_analysed: Counter[str] = field(default_factory=Counter[str])
    scratch: bytearray = field(default_factory=bytearray)
    fragments: FragmentStore = field(default_factory=FragmentStore)
    tunnels: dict[int, None] = field(default_factory=dict[int, None])
    encapsulations: Counter[str] = field(default_factory=Counter[str])
    longest_cut: int = -1
    limits: dict[str, str] = field(default_factory=dict[str, str])
    met: Met = field(default_factory=Met)

    def keep(self, datagram: bytes) -> int | None:
        """Appends a reassembled datagram to scratch; where it begins there, None when scratch is full."""
        at = len(self.scratch)
        if at + len(datagram) > limits.SCRATCH.value:
            self.met.add(limits.SCRATCH)
            return None
        try:
            self.scratch += datagram
        except BufferError:  # somebody holds a view of it
            self.scratch = self.scratch + datagram
        return at

    def expect_tunnel(self, datagram: int) -> None:
        """The fragments that follow of this datagram are worth keeping."""
        self.tunnels[datagram] = None
        if len(self.tunnels) > limits.TUNNELS.value:
            del self.tunnels[next(iter(self.tunnels))]

"""Reassemble IP fragments into datagrams. The bytes of datagrams have positions from tables.SCRATCH on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.capture.layers import NO_ROOM, WAITING
from wiredoctor.core.capture.places import Places
from wiredoctor.core.capture.records import Source
from wiredoctor.limits import LimitsReached
from wiredoctor.tables import SCRATCH

if TYPE_CHECKING:
    from wiredoctor.protocols.ip.fragments import FragmentStore


class Datagrams:
    """Reassembles datagrams, and stores the fragments of incomplete datagrams."""

    def __init__(self) -> None:
        self.scratch: bytearray = bytearray()
        """A buffer with the addresses and the content of each datagram. Its first byte has the position tables.SCRATCH."""
        self.fragments: FragmentStore | None = None
        """The fragments of incomplete datagrams; None until the first fragment, so most captures do not load FragmentStore."""
        self.tunnels: dict[int, None] = {}
        """Fragmented UDP datagrams that belong to tunnels, by a hash of addresses and identification.

        Only the newest limits.TUNNELS datagrams are kept.
        """
        self.met: LimitsReached = LimitsReached()
        self.place: i64 = 0
        """The position in the capture of the newest datagram's first byte."""
        self.reason: i64 = 0
        """The reason why the newest fragment yielded no datagram: WAITING (for more fragments) or NO_ROOM (in `scratch`)."""

    def is_of_tunnel(self, datagram: int, is_first: bool) -> bool:
        """Return whether a fragment of this UDP datagram belongs to a tunnel.

        `datagram`: a hash of addresses and identification. `is_first`: this fragment contains the ports, and one of them is the
        port of a tunnel.
        """
        if is_first:
            self.tunnels[datagram] = None
            if len(self.tunnels) > limits.TUNNELS.value:
                del self.tunnels[next(iter(self.tunnels))]
        return datagram in self.tunnels

    def add(self, addresses: bytes, key: tuple[int, int, int], first: i64, more: bool, content: bytes) -> bytes | None:
        """Add a fragment that begins with byte `first` of its datagram; `more`: further fragments follow.

        `addresses` and `key` identify the datagram. If it is complete, return the addresses followed by the datagram. Otherwise
        set `reason` and return None.
        """
        if self.fragments is None:
            from wiredoctor.protocols.ip.fragments import FragmentStore

            self.fragments = FragmentStore(self.met)
        datagram = self.fragments.add((addresses, key), first, more, content)
        self.reason = WAITING
        if datagram is None:
            return None
        if len(self.scratch) + len(addresses) + len(datagram) > limits.SCRATCH.value:
            self.met.add(limits.SCRATCH)
            self.reason = NO_ROOM
            return None
        self.place = SCRATCH + len(self.scratch)
        whole = addresses + datagram
        self.scratch += whole
        return whole


class CapturePlaces(Places):
    """Reads bytes of a capture file, or of reassembled datagrams."""

    def __init__(self, source: Source, datagrams: Datagrams) -> None:
        self.source: Source = source
        self.datagrams: Datagrams = datagrams

    def read(self, place: i64, length: i64) -> bytes:
        """Return `length` bytes at a position, or fewer if the capture no longer contains all of them."""
        if place < SCRATCH:
            return self.source.read(place - self.source.place, length)
        return bytes(self.datagrams.scratch[place - SCRATCH : place - SCRATCH + length])

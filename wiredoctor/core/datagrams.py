"""IP fragments become datagrams again, in memory behind the capture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mypy_extensions import i64

from wiredoctor import limits
from wiredoctor.core.layers import NO_ROOM, WAITING
from wiredoctor.core.places import Places
from wiredoctor.core.records import Source
from wiredoctor.limits import Met
from wiredoctor.tables import SCRATCH

if TYPE_CHECKING:
    from wiredoctor.protocols.ip.fragments import FragmentStore


class Datagrams:
    """Datagrams that were put together, and fragments of others."""

    def __init__(self) -> None:
        self.scratch: bytearray = bytearray()
        """All datagrams, each after its addresses. In the capture they are at tables.SCRATCH and after."""
        self.fragments: FragmentStore | None = None
        """Its module is loaded when the first fragment needs it."""
        self.tunnels: dict[int, None] = {}
        """The last limits.TUNNELS fragmented UDP datagrams (hash of addresses and identification) with the port of a tunnel."""
        self.met: Met = Met()
        self.place: i64 = 0
        """Place in the capture of the first byte of the newest datagram."""
        self.reason: i64 = 0
        """Why there is none."""

    def is_of_tunnel(self, datagram: int, is_first: bool) -> bool:
        """Return whether a fragment of this UDP datagram is one of a tunnel. `is_first`: the port in the fragment says it."""
        if is_first:
            self.tunnels[datagram] = None
            if len(self.tunnels) > limits.TUNNELS.value:
                del self.tunnels[next(iter(self.tunnels))]
        return datagram in self.tunnels

    def add(self, addresses: bytes, key: tuple[int, int, int], first: i64, more: bool, content: bytes) -> bytes | None:
        """Take a fragment; return its datagram after these addresses once it is whole, else None."""
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
    """Reads bytes of a capture file, or of datagrams that were put together from fragments."""

    def __init__(self, source: Source, datagrams: Datagrams) -> None:
        self.source: Source = source
        self.datagrams: Datagrams = datagrams

    def read(self, place: i64, length: i64) -> bytes:
        """Return these bytes; fewer if the capture does not have them any more."""
        if place < SCRATCH:
            return self.source.read(place - self.source.place, length)
        return bytes(self.datagrams.scratch[place - SCRATCH : place - SCRATCH + length])

"""Simulate a wire: the delay of packets, lost packets, and delayed ACKs."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from packet import ACK, FIN, RST, SYN, Segment

if TYPE_CHECKING:
    from faults import Fault, Forged

SIDES = ("client", "server")
FULL = 1_220
"""The payload in bytes from which a segment counts as full: the smallest MSS that IPv6 allows."""


@dataclass(frozen=True)
class Loss:
    """Loses the packets of one kind and side that have these numbers, counted from 1 over all connections.

    Kinds: data (with payload), ack (pure ACKs), syn, fin, rst. Packets are lost at the receiver's end of the wire: the sender and
    the middle see them, the receiver does not.
    """

    side: str
    kind: str
    numbers: frozenset[int]

    @classmethod
    def of(cls, side: str, kind: str, *numbers: int) -> Loss:
        """Return a loss. `Loss.of("server", "data", 3, 4)` loses the third and fourth segment with data from the server."""
        if side not in SIDES or kind not in KINDS or not numbers or min(numbers) < 1:
            raise ValueError(f"no loss: side {side}, kind {kind}, numbers {numbers}")
        return cls(side, kind, frozenset(numbers))


KINDS = ("data", "ack", "syn", "fin", "rst")


def kinds(segment: Segment) -> set[str]:
    """Return the kinds of `Loss` to which a segment belongs."""
    flags = {name for name, flag in (("syn", SYN), ("fin", FIN), ("rst", RST)) if segment.flags & flag}
    return flags | ({"data"} if segment.payload else set[str]()) | ({"ack"} if segment.pure_ack else set[str]())


@dataclass(frozen=True)
class Conditions:
    """The conditions on a wire.

    `delay`: the time in seconds that a packet takes in one direction. `ack_delay`: for each side, the time in seconds by which it
    delays ACKs, unless its kernel delays them longer. `lose`: the packets that are lost. `rate`: the share of other packets that
    are lost at random, depending on `seed`. `hops`: the number of routers in each half of the wire. `faults`: the devices on the
    wire (faults.py). `stands`: pairs of a start and a duration in seconds; in these times the wire holds all packets, like a
    radio link.
    """

    delay: float = 0.0
    ack_delay: Mapping[str, float] = field(default_factory=dict[str, float])
    lose: tuple[Loss, ...] = ()
    rate: float = 0.0
    seed: int = 0
    hops: int = 0
    faults: tuple[Fault | Forged, ...] = ()
    stands: tuple[tuple[float, float], ...] = ()


class Losses:
    """Counts the packets of each kind, and decides which are lost."""

    def __init__(self, lose: tuple[Loss, ...], rate: float = 0.0, seed: int = 0) -> None:
        self._lose = lose
        self._rate = rate
        self._chance = random.Random(seed)
        self._seen: dict[tuple[str, str], int] = {}

    def lost(self, side: str, segment: Segment) -> bool:
        """Return whether this segment, sent by this side, is lost."""
        for kind in (of_it := kinds(segment)):
            self._seen[side, kind] = self._seen.get((side, kind), 0) + 1
        chosen = any(
            loss.side == side and loss.kind in of_it and self._seen[side, loss.kind] in loss.numbers for loss in self._lose
        )
        return chosen or self._chance.random() < self._rate


@dataclass
class _Owed:
    """Data that a receiver has not acknowledged on the wire yet: the deadline for its ACK, the number of full segments, and the
    held ACK.
    """

    deadline: float
    full: int = 0
    frame: bytes | None = None


class DelayedAcks:
    """A receiver's delayed-ACK timer (RFC 1122 4.2.3.2), simulated for a kernel whose own timer is shorter.

    The receiver's pure ACKs are held until the timer has run since the first data that they acknowledge, or until a second full
    segment has arrived. If the receiver sends data itself, that data carries the acknowledgment, and the held ACK is dropped.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._owed: dict[tuple[int, int], _Owed] = {}

    def delivered(self, segment: Segment, now: float) -> None:
        """Record that a segment reaches the receiver at the time `now`."""
        if not segment.payload:
            return
        owed = self._owed.setdefault((segment.ports[1], segment.ports[0]), _Owed(now + self._seconds))
        owed.full += segment.payload >= FULL
        if owed.full >= 2:
            owed.deadline = now

    def passes(self, segment: Segment, frame: bytes, now: float) -> bool:
        """Return whether a packet of the receiver may leave at once. If not, keep it until `released` returns it."""
        owed = self._owed.get(segment.ports)
        if owed and segment.pure_ack and now < owed.deadline:
            owed.frame = frame
            return False
        if owed and segment.flags & ACK:
            del self._owed[segment.ports]
        return True

    def next_release(self) -> float | None:
        """Return the time at which the next held ACK must be sent, or None."""
        return min((owed.deadline for owed in self._owed.values() if owed.frame), default=None)

    def released(self, now: float) -> list[bytes]:
        """Return the held ACKs that are due."""
        due = [ports for ports, owed in self._owed.items() if owed.frame and owed.deadline <= now]
        return [frame for ports in due if (frame := self._owed.pop(ports).frame)]

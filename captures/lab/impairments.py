"""What a wire does to the packets on it: how long they take, which are lost, and whose ACKs are held back."""

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
"""Bytes of payload from which a segment counts as full: the smallest MSS that IPv6 allows."""


@dataclass(frozen=True)
class Loss:
    """Loses the packets of one kind and side that have these numbers, counted from 1 and over all connections.

    Kinds: data (with payload), ack (pure ACKs), syn, fin, rst. Packets are lost at the far end of the wire: its
    sender and the middle see them, the receiver does not.
    """

    side: str
    kind: str
    numbers: frozenset[int]

    @classmethod
    def of(cls, side: str, kind: str, *numbers: int) -> Loss:
        """`Loss.of("server", "data", 3, 4)`: the third and fourth segment with data that the server sends."""
        if side not in SIDES or kind not in KINDS or not numbers or min(numbers) < 1:
            raise ValueError(f"no loss: side {side}, kind {kind}, numbers {numbers}")
        return cls(side, kind, frozenset(numbers))


KINDS = ("data", "ack", "syn", "fin", "rst")


def kinds(segment: Segment) -> set[str]:
    """The kinds of `Loss` that a segment is of."""
    flags = {name for name, flag in (("syn", SYN), ("fin", FIN), ("rst", RST)) if segment.flags & flag}
    return flags | ({"data"} if segment.payload else set[str]()) | ({"ack"} if segment.pure_ack else set[str]())


@dataclass(frozen=True)
class Conditions:
    """delay: seconds that a packet takes in one direction, half a round trip. ack_delay: side -> seconds for which it
    delays an ACK, as long as its kernel does not want longer. lose: what is lost, and rate: the share of packets that is lost
    besides, by chance (seed). hops: routers in each half of the wire. faults: what boxes on it do (faults.py). stands: times
    (seconds since the wire was strung, and how long) in which it stands still, as a radio link does: what is sent then waits."""

    delay: float = 0.0
    ack_delay: Mapping[str, float] = field(default_factory=dict[str, float])
    lose: tuple[Loss, ...] = ()
    rate: float = 0.0
    seed: int = 0
    hops: int = 0
    faults: tuple[Fault | Forged, ...] = ()
    stands: tuple[tuple[float, float], ...] = ()


class Losses:
    """Counts the packets of each kind and says which are lost."""

    def __init__(self, lose: tuple[Loss, ...], rate: float = 0.0, seed: int = 0) -> None:
        self._lose = lose
        self._rate = rate
        self._chance = random.Random(seed)
        self._seen: dict[tuple[str, str], int] = {}

    def lost(self, side: str, segment: Segment) -> bool:
        """Whether this segment, sent by this side, is lost."""
        for kind in (of_it := kinds(segment)):
            self._seen[side, kind] = self._seen.get((side, kind), 0) + 1
        chosen = any(
            loss.side == side and loss.kind in of_it and self._seen[side, loss.kind] in loss.numbers for loss in self._lose
        )
        return chosen or self._chance.random() < self._rate


@dataclass
class _Owed:
    """What a connection's receiver has not acknowledged on the wire yet: until when it may wait, full segments, its ACK."""

    deadline: float
    full: int = 0
    frame: bytes | None = None


class DelayedAcks:
    """A receiver's delayed-ACK timer (RFC 1122 4.2.3.2), put before a kernel whose own timer is shorter.

    Its pure ACKs wait until the timer has run since the first data that they acknowledge, or until a second full
    segment came. What the side sends itself carries the acknowledgement and makes the waiting ACK superfluous.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._owed: dict[tuple[int, int], _Owed] = {}

    def delivered(self, segment: Segment, now: float) -> None:
        """Notes a segment that reaches the receiver at this time."""
        if not segment.payload:
            return
        owed = self._owed.setdefault((segment.ports[1], segment.ports[0]), _Owed(now + self._seconds))
        owed.full += segment.payload >= FULL
        if owed.full >= 2:
            owed.deadline = now

    def passes(self, segment: Segment, frame: bytes, now: float) -> bool:
        """Whether a packet of the receiver may leave at once; else it is kept, and `released` has it later."""
        owed = self._owed.get(segment.ports)
        if owed and segment.pure_ack and now < owed.deadline:
            owed.frame = frame
            return False
        if owed and segment.flags & ACK:
            del self._owed[segment.ports]
        return True

    def next_release(self) -> float | None:
        """When the next ACK that waits has to go."""
        return min((owed.deadline for owed in self._owed.values() if owed.frame), default=None)

    def released(self, now: float) -> list[bytes]:
        """The frames whose time has come."""
        due = [ports for ports, owed in self._owed.items() if owed.frame and owed.deadline <= now]
        return [frame for ports in due if (frame := self._owed.pop(ports).frame)]

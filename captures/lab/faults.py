"""Simulate faults of a path: what a device on the wire drops, answers in another host's name, or adds, and when this begins.

The faults are a path that fails in one direction or both; a NAT or firewall that forgets idle connections; a link for small
packets only, with or without ICMP; a router that rejects packets; and resets that neither host sent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from forging import Icmp, Reset, icmp_error, reset
from impairments import SIDES, kinds
from packet import ACK, FIN, RST, SYN, Segment

OTHER = {"client": "server", "server": "client"}
WITH_ACK = Reset(ack=True)


@dataclass(frozen=True)
class Start:
    """The time at which a fault begins: at the first TCP packet or, if attributes are set, when the first of them is reached.

    `seconds`: the time since the first TCP packet. `packets`, `payload`: the number of TCP packets, and of bytes of new data in
    them. Both count all connections, but only packets of `side`; None counts both sides. `told`: true to begin when `Wire.tell`
    is called.
    """

    seconds: float | None = None
    packets: int | None = None
    payload: int | None = None
    side: str | None = None
    told: bool = False


@dataclass(frozen=True)
class Fault:
    """A fault that drops TCP packets of the given sides and, if `answer` is set, sends an answer to their sender.

    `kind`: drop only packets of this kind (impairments.KINDS). `above`: drop only IP packets larger than this many bytes.
    `rested`: drop only packets of connections that had no packet for this many seconds; they are dropped until the next SYN.
    `older`: drop only packets of connections that began before the fault. `lasts`: the duration in seconds. `place`: the half of
    the wire that contains the device, "client" or "server".
    """

    start: Start = Start()
    sides: tuple[str, ...] = SIDES
    kind: str = ""
    above: int = 0
    rested: float = 0.0
    older: bool = False
    lasts: float = math.inf
    answer: Icmp | Reset | None = None
    place: str = "server"


@dataclass(frozen=True)
class Forged:
    """Resets that are added once, to the connection whose packet reached `start`.

    Each side in `toward` gets `copies` resets in the name of the other side, with the sequence number that it expects next.
    """

    start: Start
    toward: tuple[str, ...] = SIDES
    reset: Reset = WITH_ACK
    copies: int = 1
    place: str = "server"


Flow = tuple[tuple[bytes, int], tuple[bytes, int]]


def flow(segment: Segment) -> Flow:
    """Return a key for the connection of a segment, the same for both directions."""
    one, other = zip(segment.hosts, segment.ports, strict=True)
    return (one, other) if one <= other else (other, one)


class Clock:
    """Determines whether a fault has begun. Pass each TCP packet to `saw` after the fault has judged it."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._first: float | None = None
        self._packets = self._payload = 0
        self._sent: dict[tuple[Flow, str], int] = {}
        self._at_once = start == Start(side=start.side)
        self.since: float | None = None

    def begun(self, now: float) -> bool:
        seconds, first = self._start.seconds, self._first
        if self.since is None and self._at_once:
            self.since = now
        if self.since is None and seconds is not None and first is not None and now >= first + seconds:
            self.since = first + seconds
        return self.since is not None

    def saw(self, side: str, segment: Segment, now: float) -> None:
        if self._first is None:
            self._first = now
        if self._start.side not in (None, side):
            return
        self._packets += 1
        self._payload += self._new(side, segment)
        full = [
            count >= wanted
            for count, wanted in ((self._packets, self._start.packets), (self._payload, self._start.payload))
            if wanted is not None
        ]
        if self.since is None and any(full):
            self.since = now

    def tell(self, now: float) -> None:
        if self._start.told and self.since is None:
            self.since = now

    def _new(self, side: str, segment: Segment) -> int:
        """Return the number of payload bytes above all that this side has sent on the connection."""
        end = segment.seq + segment.payload
        before = self._sent.get((flow(segment), side), segment.seq)
        new = (end - before) & 0xFFFFFFFF
        if new >= 0x80000000:
            return 0
        self._sent[flow(segment), side] = end & 0xFFFFFFFF
        return min(new, segment.payload)


Made = list[tuple[str, bytes]]
"""Frames that a device adds, each with the side that receives it."""


class Dropping:
    """A device that drops packets according to a `Fault`."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self.clock = Clock(fault.start)
        self._last: dict[Flow, float] = {}
        self._begun: dict[Flow, float] = {}
        self._forgotten: set[Flow] = set()

    def meets(self, side: str, frame: bytes, segment: Segment, now: float) -> tuple[bool, Made]:
        """Return whether a packet passes, and the frames that are sent instead if it does not."""
        struck = self.clock.begun(now) and self._strikes(side, segment, now)
        connection = flow(segment)
        if not struck:
            self._last[connection] = now
        self.clock.saw(side, segment, now)
        if not struck:
            return True, []
        return False, _answers(self._fault.answer, side, frame, segment)

    def _strikes(self, side: str, segment: Segment, now: float) -> bool:
        fault, connection = self._fault, flow(segment)
        self._remember(connection, segment, now)
        assert self.clock.since is not None
        return (
            side in fault.sides
            and now < self.clock.since + fault.lasts
            and segment.size > fault.above
            and (not fault.kind or fault.kind in kinds(segment))
            and (not fault.rested or connection in self._forgotten)
            and (not fault.older or connection not in self._begun)
        )

    def _remember(self, connection: Flow, segment: Segment, now: float) -> None:
        """Remember connections that began after the fault, and forget idle ones. This is called once the fault has begun."""
        if segment.flags & (SYN | ACK) == SYN and connection not in self._last:
            self._begun[connection] = now
        if segment.flags & SYN:
            self._forgotten.discard(connection)
        elif connection in self._last and now - self._last[connection] >= self._fault.rested > 0:
            self._forgotten.add(connection)


def _answers(answer: Icmp | Reset | None, side: str, frame: bytes, segment: Segment) -> Made:
    if isinstance(answer, Icmp):
        return [(side, icmp_error(frame, answer))]
    if answer is None or segment.flags & RST:
        return []
    if segment.flags & ACK:
        return [(side, reset(frame, answer, seq=segment.ack, ack=None))]
    taken = segment.seq + segment.payload + bool(segment.flags & SYN) + bool(segment.flags & FIN)
    return [(side, reset(frame, answer, seq=0, ack=taken))]


class Forging:
    """A device that adds `Forged` resets."""

    def __init__(self, forged: Forged) -> None:
        self._forged = forged
        self.clock = Clock(forged.start)
        self._next: dict[tuple[Flow, str], tuple[int, bytes]] = {}
        self._done = False

    def meets(self, side: str, frame: bytes, segment: Segment, now: float) -> tuple[bool, Made]:
        """Let every packet pass. Add the resets after the packet that reaches the start."""
        connection = flow(segment)
        end = segment.seq + segment.payload + bool(segment.flags & SYN) + bool(segment.flags & FIN) & 0xFFFFFFFF
        before = self._next.get((connection, side))
        if before is None or (end - before[0]) & 0xFFFFFFFF < 0x80000000:
            self._next[connection, side] = end, frame
        self.clock.saw(side, segment, now)
        if self._done or not self.clock.begun(now):
            return True, []
        self._done = True
        return True, [made for toward in self._forged.toward for made in self._resets(connection, toward)]

    def _resets(self, connection: Flow, toward: str) -> Made:
        own, others = self._next.get((connection, toward)), self._next.get((connection, OTHER[toward]))
        if own is None or others is None:
            return []
        ack = own[0] if self._forged.reset.ack else None
        return [(toward, reset(own[1], self._forged.reset, seq=others[0], ack=ack))] * self._forged.copies


Box = Dropping | Forging


def boxes(faults: tuple[Fault | Forged, ...], place: str) -> list[Box]:
    """Return the devices in one half of the wire, in order."""
    here = [fault for fault in faults if fault.place == place]
    return [Dropping(fault) if isinstance(fault, Fault) else Forging(fault) for fault in here]

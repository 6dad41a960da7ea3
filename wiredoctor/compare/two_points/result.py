"""The result of comparing two recordings of the same traffic: data types that reports can import.

The recording nearer to the client is `client` here, the other `server`, whatever else lies between them or beyond. Times are
seconds; those of a recording are since its first packet, by its own clock. Frames and connections have the numbers of their
recording.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from wiredoctor.findings import Severity

Where = Literal["client", "server"]
"""The recording nearer to the client, or to the server; of a packet's sender: that side."""

OneSidedKind = Literal["lost", "lost-or-not-recorded", "not-recorded", "injected", "outside"]
"""Why a packet is in one recording only.

lost: it passed the first point, and what followed shows that it did not come to the second. lost-or-not-recorded: nothing tells
the two apart (an ACK without data). not-recorded: it did pass the point whose recording lacks it. injected: its apparent sender
did not send it. outside: the other recording had not begun, or was over.
"""

HowMatched = Literal["addresses", "rewritten-addresses", "rewritten-numbers"]
"""By addresses, ports and sequence numbers; by sequence numbers alone; by addresses and by offsets from the SYN alone."""


@dataclass(frozen=True)
class Recording:
    """One of the two files."""

    name: str
    point: Where
    packets: int
    tcp_packets: int
    connections: int
    exchanges: int
    first_time: str | None
    last_time: str | None


@dataclass(frozen=True)
class Delays:
    """How long packets took from one point to the other."""

    count: int
    least: float
    median: float
    p95: float


@dataclass(frozen=True)
class Step:
    """From `elapsed` (clock of the client's recording) on the other clock is `by` further ahead than before."""

    elapsed: float
    by: float


@dataclass(frozen=True)
class Clock:
    """How the clock of the server's recording differs from that of the client's.

    offset: how far it is ahead at the first packet of the client's recording; half of `round_trip` is how wrong that can be,
    where the two ways take differently long. drift: by how many seconds more in each second, times a million (ppm), give or
    take `drift_error`; None where the recordings are too short, or too noisy, to tell it from none. round_trip: the shortest
    between the two points that was seen. packets: how many were compared.
    """

    offset: float
    round_trip: float
    drift: float | None
    drift_error: float | None
    steps: list[Step]
    packets: int


@dataclass(frozen=True)
class Way:
    """One direction: what passed the point where it comes first, and what of it came to the other.

    sent: without those that lie outside the other recording. retransmissions: of payload that had passed the first point before;
    `needless` of them repeated what their receiver had acknowledged, as the second point shows. Of those: the ACK was lost, or
    was late (came after the retransmission had left), or had not been sent, or had passed the first point and was lost or late
    beyond it (ack_beyond). hops: routers between the points, as the time to live tells; None where nothing passed.
    not_recorded_here: packets that the second point has and the first lacks.
    """

    sender: Where
    sent: int
    arrived: int
    lost: int
    lost_or_not_recorded: int
    not_recorded_here: int
    not_recorded_there: int
    injected: int
    outside: int
    resegmented: int
    hops: int | None
    delays: Delays | None
    retransmissions: int
    needless: int
    ack_lost: int
    ack_late: int
    ack_not_sent: int
    ack_beyond: int


@dataclass(frozen=True)
class OneSided:
    """A packet that is in one recording only."""

    recording: Where
    frame: int
    elapsed: float
    connection: int
    sender: Where
    kind: OneSidedKind
    what: str
    why: str


@dataclass(frozen=True)
class Pair:
    """A connection that passed both points."""

    client_id: int
    server_id: int
    client: str
    server: str
    client_there: str
    server_there: str
    matched_by: HowMatched
    packets: int
    only_client: int
    only_server: int


@dataclass(frozen=True)
class Alone:
    """A connection that only one recording has."""

    recording: Where
    connection: int
    client: str
    server: str
    packets: int
    frame: int
    why: str


@dataclass(frozen=True)
class Changed:
    """Something that is between the points changes what packets say: from `sent` at the one to `received` at the other."""

    what: str
    sender: Where
    sent: str
    received: str
    packets: int
    connections: int
    client_frame: int
    server_frame: int


@dataclass(frozen=True)
class Shares:
    """Where time passed: at or beyond the client's point, between the points, at or beyond the server's point."""

    client: float
    between: float
    server: float


@dataclass(frozen=True)
class SideFinding:
    """A finding, by which recordings have it. `connection`, `exchange` and `frames` are those of the first recording that does.

    shares: where the time from its first piece of evidence to its last passed, where both recordings have the packets.
    """

    rule: str
    kind: str | None
    severity: Severity
    title: str
    request: str | None
    seen: Literal["both", "client", "server"]
    connection: int | None
    exchange: int | None
    frames: list[int]
    delay: float | None
    delay_there: float | None
    shares: Shares | None
    lost: list[int]
    why: str


@dataclass(frozen=True)
class Waiting:
    """The time from the end of a request to the beginning of its response, over the exchanges that both recordings have: as the
    client's point sees it, what of it passed beyond the server's point, and the rest, between them."""

    exchanges: int
    seen_by_client: Delays
    beyond_server: Delays
    between: Delays


@dataclass(frozen=True)
class TwoPoints:
    """Two recordings of one wire."""

    version: str
    client: Recording
    server: Recording
    swapped: bool
    clock: Clock | None
    ways: list[Way] = field(default_factory=list[Way])
    waiting: Waiting | None = None
    findings: list[SideFinding] = field(default_factory=list[SideFinding])
    changed: list[Changed] = field(default_factory=list[Changed])
    packets: list[OneSided] = field(default_factory=list[OneSided])
    connections: list[Pair] = field(default_factory=list[Pair])
    alone: list[Alone] = field(default_factory=list[Alone])
    notes: list[str] = field(default_factory=list[str])

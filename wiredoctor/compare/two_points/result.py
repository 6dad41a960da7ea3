"""Data types for the result of comparing two captures of the same traffic.

The capture nearer to the client is called `client`, the other one `server`, even if neither was made on that host. Times are in
seconds since the first packet of their capture, by the clock of that capture. Frames and connections are numbered as in their own
capture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from wiredoctor.findings import Severity

Where = Literal["client", "server"]
"""The client or the server. A capture made nearer to the client is called the client's, the other one the server's."""

OneSidedKind = Literal["lost", "lost-or-not-recorded", "not-recorded", "injected", "outside"]
"""The reason why a packet is in only one of the captures.

`lost`: it passed the first point, and later packets show that it did not reach the second. `lost-or-not-recorded`: it was lost,
or it passed the second point and was not captured there. Later packets do not show which, for example if it is an ACK without
data. `not-recorded`: it passed the point whose capture does not have it. `injected`: its apparent sender did not send it.
`outside`: the other capture had not begun, or had ended.
"""

HowMatched = Literal["addresses", "rewritten-addresses", "rewritten-numbers"]
"""The values by which a pair of connections was matched.

`addresses`: addresses, ports and sequence numbers. `rewritten-addresses`: only sequence numbers. `rewritten-numbers`: only
addresses and offsets from the SYN.
"""


@dataclass(frozen=True)
class ComparedFile:
    """One of the two captures.

    `point`: the side of the path to which its capture point is nearer. `packets`: the number of all packets in the capture.
    """

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
    """A summary of times in seconds: how many there are, and their minimum, median and 95th percentile."""

    count: int
    least: float
    median: float
    p95: float


@dataclass(frozen=True)
class Step:
    """A step of one clock.

    `elapsed`: the time of the step, by the clock of the client's capture. `by`: the number of seconds by which the other clock
    is further ahead after the step.
    """

    elapsed: float
    by: float


@dataclass(frozen=True)
class Clock:
    """The clock of the server's capture relative to the clock of the client's.

    `offset`: by how much the server's clock is ahead at the first packet of the client's capture. The offset may be wrong by half
    of `round_trip` if the two directions take different times. `drift`: in ppm, plus or minus `drift_error`; None if the captures
    are too short or too noisy to distinguish the drift from 0. `round_trip`: the shortest round trip observed between the points.
    `packets`: the number of packets whose times were compared.
    """

    offset: float
    round_trip: float
    drift: float | None
    drift_error: float | None
    steps: list[Step]
    packets: int


@dataclass(frozen=True)
class Way:
    """One direction of the path: the packets that passed its first point, and those that arrived at its second point.

    `sent`: packets that passed the first point, except those that the capture at the second point does not cover in time.
    `not_recorded_here`, `not_recorded_there`: packets that passed the first or the second point but are missing from the capture
    made there. `hops`: the number of routers between the points, from the time to live; None if no packet passed both points.

    `retransmissions`: packets that repeat payload which had passed the first point before. `needless`: retransmissions whose
    payload the receiver had acknowledged before they could arrive. Each needless retransmission is counted in one of the last
    four fields. `ack_lost`: the ACK was lost between the points. `ack_late`: the ACK passed the first point after the
    retransmission. `ack_not_sent`: the retransmission was sent before the ACK. `ack_beyond`: the ACK passed the first point
    before the retransmission, and was lost or late after that.
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
    """A packet that only one capture has.

    `recording`: the capture with the packet. `sender`: the host that sent it. `kind`: the reason why the other capture lacks it.
    `what`: a short description of the packet. `why`: the facts that show this reason.
    """

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
    """A connection that passed both points.

    `client_id`, `server_id`: its id in the client's and in the server's capture. `client`, `server`: its endpoints in the
    client's capture. `client_there`, `server_there`: its endpoints in the server's capture. `packets`: the number of packets in
    both captures. `only_client`, `only_server`: the number of packets in one capture only.
    """

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
    """A connection that only one capture has.

    `recording`: the capture that has it. `frame`: its first packet. `why`: always empty.
    """

    recording: Where
    connection: int
    client: str
    server: str
    packets: int
    frame: int
    why: str


@dataclass(frozen=True)
class Changed:
    """A change made between the points: `sent` at one point became `received` at the other.

    `what`: the property that changed. `packets`, `connections`: the number of packets and of connections with this change.
    `client_frame`, `server_frame`: the first such packet in each capture.
    """

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
    """The time in seconds that was spent in each part of the path.

    `client`: at or beyond the client's point. `between`: between the points. `server`: at or beyond the server's point.
    """

    client: float
    between: float
    server: float


@dataclass(frozen=True)
class SideFinding:
    """A finding, and which captures have it.

    `seen`: the captures with the finding. `connection`, `exchange`, `frames`, `delay`: the values in the client's capture or, if
    only the server's capture has the finding, in the server's. `delay_there`: the delay in the server's capture, if both have the
    finding. `shares`: where the time from the first to the last packet of the evidence was spent; None unless both captures have
    these packets. `lost`: the frames of packets that were lost during the finding. `why`: the reason why the finding cannot be
    compared with the other capture; empty if it can.
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
    """The times from the end of a request to the start of its response, for the exchanges in both captures.

    `seen_by_client`: at the client's point. `beyond_server`: at the server's point, so without the path between the points.
    `between`: for each exchange, the difference of these two times.
    """

    exchanges: int
    seen_by_client: Delays
    beyond_server: Delays
    between: Delays


@dataclass(frozen=True)
class TwoPoints:
    """The result of comparing two captures of one network path.

    `swapped`: the capture that was given first is the server's. `clock`: None if the clocks cannot be compared. `ways`: both
    directions of the path. `changed`: changes to packets between the points. `packets`, `alone`: the packets and connections that
    only one capture has. `connections`: those that passed both points. `notes`: sentences about limitations.
    """

    version: str
    client: ComparedFile
    server: ComparedFile
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

"""Data types for the result of comparing captures from both sides of a proxy.

`front` is the side of the clients, `back` the side of the servers. Times are in seconds. Connections and exchanges are numbered
as in their own capture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from wiredoctor.compare.two_points.result import Delays

Fate = Literal["never-passed-on", "no-answer", "late-answer", "other-answer", "unfinished-answer"]
"""The reason why the client did not get the server's response, according to the capture at the back.

`never-passed-on`: the proxy sent no request. `no-answer`: no response came. `late-answer`: a response came after the proxy's own.
`other-answer`: the response had another status. `unfinished-answer`: the response was truncated.
"""

MAX_APART = 3600.0
"""The maximum clock difference in seconds. A larger difference usually means different time zones or times of capture."""


@dataclass(frozen=True)
class Side:
    """One side of the proxy: the name of its capture, and the connections, exchanges and servers on this side."""

    name: str
    point: Literal["front", "back"]
    connections: int
    exchanges: int
    servers: list[str]


@dataclass(frozen=True)
class Rewritten:
    """A kind of change that the proxy makes to messages.

    `what`: the property that changed. `received`, `passed_on`: its value before and after the change, in the first exchange with
    this change. `exchanges`: the number of exchanges with this change. The other fields are the ids of that first exchange on
    the client's and on the server's side of the proxy.
    """

    message: Literal["request", "response"]
    what: str
    received: str
    passed_on: str
    exchanges: int
    front_connection: int
    front_exchange: int
    back_connection: int
    back_exchange: int


@dataclass(frozen=True)
class OwnAnswer:
    """A response that the proxy generated, or that differs from the server's. `backend`: a text about what the server did."""

    connection: int
    exchange: int
    elapsed: float
    request: str
    status: int | None
    fate: Fate
    backend: str
    back_connection: int | None
    back_exchange: int | None


@dataclass(frozen=True)
class Passed:
    """An exchange that was captured on both sides.

    `request_lag`: the time from the first byte of the request at the front to its first byte at the back. `response_lag`: the
    time from the first byte of the response at the back to its first byte at the front. A lag is None if it is unknown;
    response_lag is also None if the proxy replaced the response. `in_proxy`: the sum of both lags, by which the proxy delayed the
    first byte of the response.

    `request_collected`, `response_collected`: the message took at least 50 ms to arrive, and the proxy forwarded its first byte
    only after its last byte had arrived. `reused`: the connection to the server had been used before.
    """

    request: str
    status: int | None
    front_connection: int
    front_exchange: int
    back_connection: int
    back_exchange: int
    request_lag: float | None
    response_lag: float | None
    in_proxy: float | None
    request_collected: bool
    response_collected: bool
    reused: bool


@dataclass(frozen=True)
class Proxied:
    """What a proxy did, according to the captures of both sides.

    `offset`: by how many seconds the clock of the back capture is ahead; None if one capture has both sides. `matched`: the
    number of exchanges that the proxy forwarded. `retried`: how many of them it forwarded more than once. `reused`: how many it
    forwarded on a connection that it had used before. `own`: the number of exchanges at the front that the proxy answered itself.
    `answers`: the errors among these answers, and forwarded exchanges whose client did not get the server's response.
    `unasked`: the number of exchanges at the back without a request at the front.

    `request_lag`, `response_lag`, `in_proxy`: see `Passed`. `connect`: the time that requests waited for the handshake with a
    server, which is a part of `in_proxy`.
    """

    version: str
    front: Side
    back: Side
    offset: float | None
    matched: int
    retried: int
    own: int
    unasked: int
    reused: int
    request_lag: Delays | None
    response_lag: Delays | None
    in_proxy: Delays | None
    connect: Delays | None
    server_time: Delays | None
    requests_collected: int
    responses_collected: int
    changes: list[Rewritten] = field(default_factory=list[Rewritten])
    answers: list[OwnAnswer] = field(default_factory=list[OwnAnswer])
    findings: list[tuple[Literal["front", "back"], str, int]] = field(
        default_factory=list[tuple[Literal["front", "back"], str, int]]
    )
    exchanges: list[Passed] = field(default_factory=list[Passed])
    notes: list[str] = field(default_factory=list[str])

    @property
    def apart(self) -> bool:
        """True if the clocks differ by more than an hour, as with different time zones or captures made at different times."""
        return abs(self.offset or 0.0) > MAX_APART

"""The result of comparing recordings of both sides of a proxy: data types that reports can import.

`front` is what clients see of the proxy, `back` what servers see of it. Times are seconds. Connections and exchanges have the
numbers of their recording.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from wiredoctor.compare.two_points.result import Delays

Fate = Literal["never-passed-on", "no-answer", "late-answer", "other-answer", "unfinished-answer"]
"""What was behind a response that the server did not send: nothing; a request that was not answered; an answer that came after
the proxy's own; an answer with another status; an answer that was cut short."""

MOST_APART = 3600.0
"""Seconds: a time zone that was taken for a time is the least of what sets clocks further apart."""


@dataclass(frozen=True)
class Side:
    """One side of the proxy: the recording, and what of it is on this side."""

    name: str
    point: Literal["front", "back"]
    connections: int
    exchanges: int
    servers: list[str]


@dataclass(frozen=True)
class Rewritten:
    """Something that the proxy changes in messages: as it was received, and as it was passed on."""

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
    """A response of the proxy's own, or another one than the server gave. `backend`: what that did, in words."""

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
    """An exchange on both sides. request_lag: until its first byte was passed on; response_lag: the same of the response.

    None where that is another one. in_proxy: the sum of the two, by which the first byte of the response comes later. collected:
    the whole message was received before its first byte was passed on, although it came over 50 ms or more.
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
    """A proxy, from both sides.

    offset: how far the clock of the back is ahead; None where both sides are in one capture. retried: requests that were passed
    on more than once. own: exchanges that the proxy answered itself, and those of them that are errors are in `answers`.
    unasked: exchanges at the back that no request at the front explains. reused: of those matched, how many went over a
    connection that had been used. connect: how long requests waited for the handshake with a server, which is part of the time in
    the proxy.
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
        """The clocks differ by more than those of machines do: perhaps the two were recorded at different times."""
        return abs(self.offset or 0.0) > MOST_APART

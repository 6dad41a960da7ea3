"""What the answers of mcp/answers.py hold, as types: the tools of `wiredoctor mcp` publish them as schemas.

pydantic reads them, which the command line has no use for: mcp/answers.py imports them for type checkers only. It also reads
TypedDict from typing_extensions only, below Python 3.12.
"""

from __future__ import annotations

from typing import Annotated, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from wiredoctor.findings import Confidence, Origin, Severity, Side

_whole = with_config(ConfigDict(extra="forbid"))
"""A key that a type does not name would be left out of what is structured, and be in the text beside it."""

Elapsed = Annotated[float, Field(description="seconds since the first packet of the capture")]
Seconds = Annotated[float, Field(description="seconds")]
Frame = Annotated[int, Field(description="frame.number", ge=0)]
Stream = Annotated[int, Field(description="tcp.stream", ge=0)]
Exchange = Annotated[int, Field(description="number of the exchange in its connection, from 0", ge=0)]
Number = Annotated[int, Field(description="number of a finding, which show_finding takes", ge=1)]
Endpoint = Annotated[str, Field(description="address:port, or the address where there are several ports")]


@_whole
class Capture(TypedDict):
    path: Annotated[str, Field(description="what the other tools take")]
    bytes: int
    changed: Annotated[int, Field(description="seconds since 1970")]


@_whole
class Paged(TypedDict):
    """A list in pieces."""

    total: Annotated[int, Field(description="rows in all, here and left out", ge=0)]
    next_offset: NotRequired[Annotated[int, Field(description="offset to go on from")]]
    left_out: NotRequired[Annotated[str, Field(description="what is not in this answer, and how to get it")]]


@_whole
class Answer(TypedDict):
    """What is known of a capture."""

    note: str
    incomplete: NotRequired[Annotated[list[str], Field(description="what was not read of the capture, and what it lacks")]]


@_whole
class Captures(Paged):
    captures: list[Capture]


@_whole
class Cause(TypedDict):
    """Findings that one change would cure together; texts, endpoints and numbers are those of the worst of them."""

    rule: str
    kind: str | None
    severity: Severity
    confidence: Confidence
    title: str
    message: str
    client: Endpoint | None
    server: Endpoint | None
    request: str | None
    status: int | None
    times: int
    seconds_lost: Seconds | None
    side_to_change: Side | None
    remedy: str
    worst_finding: Number | None
    finding_numbers: list[Number | None]
    more_finding_numbers: int


@_whole
class Diagnosis(Answer, Paged):
    verdict: str
    capture: str
    damage: str | None
    connections: int
    exchanges: int
    seconds_lost: Seconds
    findings: list[Cause]
    failed_responses: Annotated[list[str], Field(description="servers that answered with 500 or above, and why, as far as known")]
    not_judged: list[str]
    limits_reached: list[str]
    not_analysed: list[str]


@_whole
class FindingRow(TypedDict):
    number: Number | None
    rule: str
    kind: str | None
    severity: Severity
    confidence: Confidence
    title: str
    client: Endpoint | None
    server: Endpoint | None
    connection: Stream | None
    exchange: Exchange | None
    request: str | None
    status: int | None
    elapsed: Elapsed
    seconds_lost: Seconds | None


@_whole
class Findings(Answer, Paged):
    findings: list[FindingRow]


@_whole
class ExchangeRow(TypedDict):
    connection: Stream
    exchange: Exchange
    request_method: str | None
    request_target: str | None
    request_host: str | None
    request_frame: Frame | None
    request_body_bytes: int | None
    response_status: int | None
    response_frame: Frame | None
    response_last_frame: Frame | None
    response_body_bytes: int | None
    response_framing: str | None
    response_end_reason: str | None
    request_start_seconds: Elapsed | None
    took_seconds: Seconds | None
    request_time_seconds: Seconds | None
    server_time_seconds: Seconds | None
    response_time_seconds: Seconds | None


@_whole
class Exchanges(Answer, Paged):
    exchanges: list[ExchangeRow]


@_whole
class ConnectionFacts(TypedDict):
    id: Stream
    client: Endpoint
    server: Endpoint
    packets: int
    client_bytes: int
    server_bytes: int
    first_frame: Frame
    last_frame: Frame
    protocol: str
    exchanges: int
    closed_by: str | None
    close: str | None


@_whole
class Wait(TypedDict):
    """What lies between a packet and the one above it."""

    seconds: Seconds | None
    packets_not_shown: int | None
    of_finding: Annotated[bool, Field(description="the finding counts this time as lost")]
    waited_for: Annotated[Side | None, Field(description="who ended the wait by sending")]
    idle: Annotated[bool, Field(description="no exchange was open: nobody waited")]


@_whole
class Step(TypedDict):
    """A packet."""

    frame: Frame
    connection: Stream
    elapsed: Elapsed
    from_client: bool
    flags: str
    length: Annotated[int, Field(description="bytes of payload")]
    text: Annotated[str, Field(description="what it carries")]
    notes: Annotated[list[str], Field(description="what the proof says of it")]
    marks: Annotated[list[str], Field(description="what TCP says of it, as retransmission")]
    before: Wait
    evidence: bool


@_whole
class Ladder(TypedDict):
    client: str | None
    server: str | None
    connections: list[Stream]
    steps: list[Step]
    packets_after: int | None
    missing: Annotated[str | None, Field(description="why there are no steps")]


@_whole
class Head(TypedDict):
    message: Annotated[str, Field(description="request or response")]
    exchange: Exchange
    frame: Frame
    bytes: int
    lines: Annotated[list[str] | None, Field(description="masked; null: it is not whole in the capture")]
    more: Annotated[int, Field(description="lines left out")]


@_whole
class Beside(TypedDict):
    """Another finding on the same connection."""

    number: Number | None
    rule: str
    severity: Severity
    title: str


@_whole
class Shown(Answer):
    connection: ConnectionFacts | None
    ladder: Ladder
    heads: list[Head]
    more_heads: int
    also_found: list[Beside]
    left_out: NotRequired[Annotated[str, Field(description="what is not in this answer")]]


@_whole
class Evidence(TypedDict):
    frame: Frame
    elapsed: Elapsed
    note: str
    file: str | None
    file_frame: int | None


@_whole
class Reference(TypedDict):
    title: str
    url: str


@_whole
class CausedBy(TypedDict):
    """A finding of which this one is a consequence."""

    rule: str
    frame: Frame
    kind: str | None
    connection: Stream | None
    exchange: Exchange | None


@_whole
class WholeFinding(TypedDict):
    """A finding as in the JSON report, without its capture."""

    rule: str
    family: str
    kind: str | None
    side: Annotated[Side | None, Field(description="who has to change something")]
    severity: Severity
    confidence: Confidence
    title: str
    message: str
    client: Endpoint | None
    server: Endpoint | None
    connection: Stream | None
    exchange: Exchange | None
    request: str | None
    status: int | None
    time: Annotated[str, Field(description="RFC 3339, UTC")]
    elapsed: Elapsed
    delay: Seconds | None
    count: int
    measures: dict[str, float]
    evidence: list[Evidence]
    remedy: str
    references: list[Reference]
    display_filter: str
    fingerprint: str
    client_software: str | None
    server_software: str | None
    caused_by: list[CausedBy]
    origin: Origin | None
    number: Number | None


@_whole
class Proof(Shown):
    finding: WholeFinding


@_whole
class RuleName(TypedDict):
    name: str
    summary: str


@_whole
class Explained(TypedDict):
    """A rule's page; or, where the words do not name one, the rules that they may be about."""

    rule: NotRequired[str]
    page: NotRequired[str]
    rules: NotRequired[list[RuleName]]

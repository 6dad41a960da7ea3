"""The types of the answers in mcp/answers.py. `wiredoctor mcp` publishes these types as the output schemas of its tools.

Only pydantic reads these types. The command line works without pydantic, so mcp/answers.py imports them for type checkers only.
Below Python 3.12, pydantic requires TypedDict from typing_extensions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from wiredoctor.findings import Confidence, Severity, Side
from wiredoctor.findings.keys import KEYS, Key
from wiredoctor.report.data.json_keys import SERVER

_whole = with_config(ConfigDict(extra="forbid"))
"""A class decorator that makes pydantic reject keys that the type does not declare.

The MCP server sends every answer twice, as structured content and as text. Without the decorator, an undeclared key would be in
the text only.
"""

Elapsed = Annotated[float, Field(description="seconds since the first packet of the capture")]
Seconds = Annotated[float, Field(description="seconds")]
Frame = Annotated[int, Field(description="frame.number", ge=0)]
Stream = Annotated[int, Field(description="tcp.stream", ge=0)]
Exchange = Annotated[int, Field(description="number of the exchange in its connection, from 0", ge=0)]
Number = Annotated[int, Field(description="number of a finding, which show_finding takes", ge=1)]
Endpoint = Annotated[str, Field(description="address:port, or only the address if there are several ports")]


def _type(key: Key) -> Any:
    """Return the type for the values of a key of the JSON report."""
    match key.kind:
        case "whole":
            plain: Any = Annotated[int, Field(ge=key.least)]
        case "number" | "seconds":
            plain = float
        case "flag":
            plain = bool
        case "texts" | "packet texts":
            plain = list[str]
        case "choice":
            plain = Literal[key.choices]
        case "object":
            plain = _typed_dict(key.name, key.keys)
        case "objects":
            plain = list[_typed_dict(key.name, key.keys)]
        case "mapping":
            plain = dict[str, _type(key.keys[0])]
        case "numbers":
            plain = dict[str, float]
        case _:
            plain = str
    return Annotated[plain | None if key.nullable else plain, Field(description=key.meaning)]


def _typed_dict(name: str, keys: Iterable[Key]) -> Any:
    return _whole(TypedDict(name, {key.name: _type(key) for key in keys}))  # type: ignore[misc]


if TYPE_CHECKING:
    Server = WholeFinding = dict[str, Any]
else:
    Server = _typed_dict("Server", SERVER)
    """The statistics of a server, as in the JSON report."""
    WholeFinding = _typed_dict("WholeFinding", [key for key in KEYS if key.name != "capture"])
    """A finding as in the JSON report, without its capture."""


@_whole
class Capture(TypedDict):
    path: Annotated[str, Field(description="name of the capture; pass it to the other tools")]
    bytes: int
    changed: Annotated[int, Field(description="seconds since 1970")]


@_whole
class Paged(TypedDict):
    """The keys of every answer that contains one page of a long list, such as the offset of the next page."""

    total: Annotated[int, Field(description="total number of rows, including those left out", ge=0)]
    next_offset: NotRequired[Annotated[int, Field(description="offset of the next page")]]
    left_out: NotRequired[Annotated[str, Field(description="what is not in this answer, and how to get it")]]


@_whole
class Answer(TypedDict):
    """The keys that all answers about a capture have in common."""

    note: str
    incomplete: NotRequired[
        Annotated[list[str], Field(description="parts of the capture that were not read, and packets missing from the capture")]
    ]


@_whole
class Captures(Paged):
    captures: list[Capture]


@_whole
class Cause(TypedDict):
    """A problem: findings that one change would fix.

    Texts, endpoints and status come from the worst finding. `times` and `seconds_lost` count all findings.
    """

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
    servers: Annotated[list[Server], Field(description="requests, failures and response times of the worst servers")]
    failed_responses: Annotated[
        list[str], Field(description="responses with status 500 or above by server, and the known reasons")
    ]
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
class StreamFacts(TypedDict):
    events: int | None
    first_event: Seconds | None
    median_gap: Seconds | None
    p95_gap: Seconds | None
    longest_gap: Seconds | None
    longest_gap_frame: Frame | None
    end: str
    end_mark: bool


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
    stream: StreamFacts | None


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
    """The wait before a packet in a ladder."""

    seconds: Seconds | None
    packets_not_shown: int | None
    of_finding: Annotated[bool, Field(description="true if the finding counts this time as lost")]
    waited_for: Annotated[Side | None, Field(description="who ended the wait by sending")]
    idle: Annotated[bool, Field(description="true if no exchange was open, so neither side was waiting")]


@_whole
class Step(TypedDict):
    """A packet in a ladder."""

    frame: Frame
    connection: Stream
    elapsed: Elapsed
    from_client: bool
    flags: str
    length: Annotated[int, Field(description="bytes of payload")]
    text: Annotated[str, Field(description="what the packet carries")]
    notes: Annotated[list[str], Field(description="notes on the packet in the finding's evidence")]
    marks: Annotated[list[str], Field(description="marks from TCP analysis, such as retransmission")]
    before: Wait
    evidence: bool


@_whole
class Ladder(TypedDict):
    client: str | None
    server: str | None
    connections: list[Stream]
    steps: list[Step]
    packets_after: int | None
    missing: Annotated[str | None, Field(description="reason why there are no steps")]


@_whole
class Head(TypedDict):
    message: Annotated[str, Field(description="request or response")]
    exchange: Exchange
    frame: Frame
    bytes: int
    lines: Annotated[list[str] | None, Field(description="masked lines; null if the head was not captured completely")]
    more: Annotated[int, Field(description="number of omitted lines")]


@_whole
class OtherFinding(TypedDict):
    """Another finding on the same connection."""

    number: Number | None
    rule: str
    severity: Severity
    title: str


@_whole
class RelatedConnection(TypedDict):
    """A connection that a finding involves in addition to the finding's own connection."""

    connection: ConnectionFacts | None
    role: Annotated[
        str, Field(description="why the connection is shown, such as 'behind the gateway (exchange 0)' or 'of finding 2'")
    ]
    ladder: Ladder


@_whole
class ShowAnswer(Answer):
    connection: ConnectionFacts | None
    ladder: Ladder
    related: Annotated[
        list[RelatedConnection], Field(description="connections behind a gateway, and connections of the finding's causes")
    ]
    heads: list[Head]
    more_heads: int
    also_found: list[OtherFinding]
    left_out: NotRequired[Annotated[str, Field(description="what is not in this answer")]]


@_whole
class Proof(ShowAnswer):
    finding: WholeFinding


@_whole
class RuleName(TypedDict):
    name: str
    summary: str


@_whole
class Explained(TypedDict):
    """The manual page of a rule, or a list of possible rules if the words do not identify exactly one rule."""

    rule: NotRequired[str]
    page: NotRequired[str]
    rules: NotRequired[list[RuleName]]

"""Build the JSON Schema (draft 2020-12) of JSON reports, version 1, which `wiredoctor schema` prints."""

from __future__ import annotations

from typing import Any

from wiredoctor.findings import LEFT_OUT_BY, SEVERITIES, UNJUDGED
from wiredoctor.findings.keys import ENDPOINT, KEYS, UTC, Key
from wiredoctor.report.coverage import SUBJECTS
from wiredoctor.report.data.json import MAX_SERVERS, SCHEMA_VERSION
from wiredoctor.report.limited import LIMITS
from wiredoctor.tables import END_REASONS, FRAMINGS, PROTOCOLS

Schema = dict[str, Any]

_PRINTABLE = "^[ -~]*$"


def _text(meaning: str, **more: Any) -> Schema:
    return {"type": "string", "description": meaning, **more}


def _from_packet(meaning: str) -> Schema:
    return _text(meaning + r"; bytes that are not printable ASCII are shown as \xNN", pattern=_PRINTABLE)


def _integer(meaning: str, least: int = 0) -> Schema:
    return {"type": "integer", "minimum": least, "description": meaning}


def _seconds(meaning: str, *, least: float | None = None) -> Schema:
    bound = {} if least is None else {"minimum": least}
    return {"type": "number", "description": meaning + ", in seconds", **bound}


def _one_of(meaning: str, values: tuple[str, ...]) -> Schema:
    return {"enum": list(values), "description": meaning}


def _or_null(schema: Schema) -> Schema:
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _list(items: Schema, meaning: str) -> Schema:
    return {"type": "array", "items": items, "description": meaning}


def _object(meaning: str, optional: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "description": meaning,
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _of_keys(meaning: str, keys: tuple[Key, ...]) -> Schema:
    return _object(meaning, **{key.name: _or_null(_of_key(key)) if key.nullable else _of_key(key) for key in keys})


def _of_key(key: Key) -> Schema:
    match key.kind:
        case "text":
            return _text(key.meaning, **({"pattern": key.pattern} if key.pattern else {}))
        case "packet text":
            return _from_packet(key.meaning)
        case "whole":
            return _integer(key.meaning, key.least or 0)
        case "seconds":
            return _seconds(key.meaning, least=key.least)
        case "choice":
            return _one_of(key.meaning, key.choices)
        case "objects":
            return _list(_of_keys(key.item, key.keys), key.meaning)
        case "numbers":
            return {"type": "object", "description": key.meaning, "additionalProperties": {"type": "number"}}


CAPTURE = _object(
    "a capture file that was read",
    file=_text("name of the file as given, or a common name for several files that were read as one capture"),
    format=_text("pcap, pcapng or snoop"),
    link_types=_list(_text("name of a link type"), "link types of the capture's interfaces"),
    packets=_integer("packet records read"),
    bytes=_integer("size of the file in bytes"),
    first_time=_or_null(
        _text("timestamp of the earliest packet, at which `elapsed` is 0 (RFC 3339, UTC); null without packets", pattern=UTC)
    ),
    last_time=_or_null(_text("latest timestamp; the last packet may have an earlier one if the clock was set back", pattern=UTC)),
    encapsulations=_list(
        _object("packets in an encapsulation", name=_text("VXLAN, MPLS, ..."), packets=_integer("number of TCP packets", 1)),
        "encapsulations around TCP other than IP, the link layer and VLAN tags; a packet may have several",
    ),
    not_analysed=_list(
        _object("packets that were not analyzed", reason=_text("the reason"), packets=_integer("number of packets", 1)),
        "packets of the file that were not analyzed, by reason",
    ),
    files=_list(
        _text("name of a file, as given or found in a folder"), "the files that were read as one capture; empty for a single file"
    ),
    duplicates=_integer("duplicate packets, which were not analyzed"),
    translations=_list(
        _object(
            "connections to a server that were captured before and after address translation (NAT)",
            server=_text("endpoint of the server before the translation; empty for servers beyond the first 64"),
            translated_server=_text("endpoint of the server after the translation"),
            connections=_integer("number of connections", 1),
        ),
        "connections captured before and after address translation; only packets captured before the translation were analyzed",
    ),
    dropped=_or_null(
        _integer("packets dropped, as counted in the file, or overwritten by a ring; null if the file has no counter")
    ),
    sorted={
        "type": "boolean",
        "description": "true if the file was sorted because it is far from time order. If clock_steps is 0, frame numbers are "
        "those after reordercap; otherwise they differ, because packets are not sorted across a clock step. Connection numbers "
        "are always those of the file",
    },
    clock_steps=_integer("how often the timestamps of an interface go backward; packets that were sorted by time do not count"),
    damage=_or_null(_text("the part of the file that could not be read; null if all of it was read")),
)

FINDING = _of_keys("a diagnosis with its evidence", KEYS)

_NUMBERS: Schema = {"type": "object", "additionalProperties": _integer("how many", 1)}
ANSWERS = _object(
    "the final responses of a server",
    server=_or_null(_text("address and port; null for the servers that `live` could not count individually in a long capture")),
    classes=_NUMBERS | {"description": "number of responses by status class: 2xx, 3xx, ..."},
    failures=_list(
        _object(
            "the responses with a particular status of 500 or above",
            status=_integer("the status code"),
            count=_integer("number of responses", 1),
            own=_NUMBERS
            | {
                "description": "responses that a gateway generated itself, by the kind of their gateway-error finding; the kind "
                "shows the reason"
            },
            passed_on=_NUMBERS | {"description": "responses that a gateway forwarded, by the server that sent them"},
            repeated=_integer("responses that a gateway did not forward, because it sent the request again"),
            unexplained=_integer("responses without an explanation"),
        ),
        "responses with status 500 or above, by status",
    ),
)

_PERCENTILE = _or_null(_seconds("time from the end of a request to the start of its response; null without a response", least=0))
SERVER = _object(
    "the requests to a server, and the server's responses",
    by={"const": "server", "description": "what the requests are grouped by"},
    name=_from_packet("address and port of the server"),
    names=_list(
        _from_packet("a name"), "the server's most frequent Host fields or, without HTTP, its TLS server names; at most three"
    ),
    requests=_integer("captured requests"),
    failed=_integer("requests that failed according to the findings, as in the headline, including findings that were left out"),
    unanswered=_integer("requests without a final response"),
    incomplete=_integer("responses with a status below 500 that were cut off"),
    status_4xx=_integer("responses with a status of 400 to 499"),
    status_5xx=_integer("responses with a status of 500 or above"),
    server_time=_object(
        "percentiles (nearest rank) and maximum of the server's response time",
        p50=_PERCENTILE,
        p95=_PERCENTILE,
        p99=_PERCENTILE,
        max=_PERCENTILE,
    ),
    time_lost=_seconds("sum of the delays of the server's findings", least=0),
    time_lost_by_rule={
        "type": "object",
        "additionalProperties": _seconds("delay", least=0),
        "description": "sum of the delays of the server's findings by rule, the costliest rule first",
    },
    connections=_integer("connections to the server"),
    requests_per_connection=_or_null({"type": "number", "minimum": 0, "description": "requests per connection"}),
    failed_connections=_integer("connections to the server that failed without a request, according to the findings"),
    unusable_connections=_integer(
        "connections to the server that failed without a request or were never established, with or without a finding"
    ),
)

NOT_JUDGED = _object(
    "an exchange or a connection that ended abnormally and that no finding explains",
    capture=_text("name of the capture"),
    connection=_integer("connection id, equal to tcp.stream"),
    exchange=_or_null(_integer("index of the exchange in its connection; null if the entry concerns the connection")),
    client=_text("client endpoint, address:port", pattern=ENDPOINT),
    server=_text("server endpoint, address:port", pattern=ENDPOINT),
    request=_or_null(_from_packet("method and target of the request, with the values of the query masked")),
    reason=_one_of("the reason why it is not judged", tuple(UNJUDGED)),
    message=_text("what the capture shows about the exchange or connection"),
    frame=_integer("number of the packet to look at, equal to frame.number", 1),
    time=_text("time of the packet `frame`, RFC 3339 UTC", pattern=UTC),
    elapsed=_seconds("time of the packet `frame`, since the first packet of the capture"),
    waited=_or_null(
        _seconds("time from the last packet of the exchange or connection to the end of the capture; null if it had ended before")
    ),
    idle=_or_null(
        _seconds("time without data before the server cut a WebSocket, a tunnel or a response; otherwise null", least=0)
    ),
)

CONNECTION = _object(
    "a TCP connection",
    capture=_text("file"),
    id=_integer("connection id, equal to tcp.stream"),
    client=_text("client endpoint, address:port", pattern=ENDPOINT),
    server=_text("server endpoint, address:port", pattern=ENDPOINT),
    packets=_integer("packets of both directions, without duplicates"),
    client_bytes=_integer("payload bytes from the client, each counted once"),
    server_bytes=_integer("payload bytes from the server, each counted once"),
    first_frame=_integer("first packet", 1),
    last_frame=_integer("last packet", 1),
    start=_seconds("time of the first packet, since the first packet of the capture"),
    end=_seconds("time of the last packet, since the first packet of the capture"),
    rtt_client=_or_null(_seconds("round trip between capture point and client; null if unknown", least=0)),
    rtt_server=_or_null(_seconds("round trip between capture point and server; null if unknown", least=0)),
    protocol=_one_of("the protocol of the payload; none: no payload was captured", PROTOCOLS),
    history=_text(
        "a letter for the first packet of each kind, upper case from the client: S SYN, H SYN-ACK, A ACK, D data, "
        "F FIN, R RST, G gap, T retransmission, W zero window",
        pattern="^[A-Za-z]*$",
    ),
    closed_by=_or_null(
        _one_of(
            "the endpoint that closed first; both: each closed before the other's FIN or RST arrived; null while open",
            ("client", "server", "both"),
        )
    ),
    close=_or_null(_one_of("how the connection was closed", ("fin", "rst"))),
    connection=_integer("connection id, the same as `id`"),
    duration=_seconds("end - start"),
)


def _message(meaning: str, first: dict[str, Schema], last: dict[str, Schema]) -> Schema:
    return _object(
        meaning,
        **first,
        frame=_or_null(_integer("frame number of the packet with the message's first byte", 1)),
        last_frame=_or_null(_integer("frame number of the packet that supplied the message's last missing byte", 1)),
        start=_or_null(_seconds("time of the message's first byte, since the first packet of the capture")),
        end=_or_null(_seconds("time of the message's last missing byte, since the first packet of the capture")),
        head_bytes=_or_null(_integer("size of start line and header section in bytes, with the empty line")),
        body_bytes=_or_null(_integer("size of the captured content in bytes, without chunk framing")),
        framing=_one_of("how the end of the message is determined, RFC 9112 section 6.3", FRAMINGS),
        **last,
    )


_REQUEST = _message(
    "the request; null if it was not captured",
    {
        "method": _from_packet("method"),
        "target": _from_packet("request target, with the values of the query masked"),
        "host": _from_packet("Host field"),
        "version": _from_packet("HTTP version"),
    },
    {},
)

_RESPONSE = _message(
    "the final response; null if none was captured",
    {
        "status": _or_null(_integer("status code")),
        "reason": _from_packet("reason phrase"),
        "version": _from_packet("HTTP version"),
    },
    {
        "end_reason": _one_of("why the response ended, or why its end is unknown", END_REASONS),
        "persistent": {"type": "boolean", "description": "true if the exchange left the connection open, RFC 9112 section 9.3"},
        "interim": _list(_integer("status code"), "status codes of the preceding 1xx responses"),
    },
)

EXCHANGE = _object(
    "a request and its response",
    capture=_text("file"),
    connection=_integer("connection id"),
    index=_integer("index of the exchange in its connection, from 0"),
    request_id=_or_null(_text("value of X-Request-Id, X-Correlation-Id, X-Amzn-Trace-Id or traceparent, if it is well-formed")),
    request=_or_null(_REQUEST),
    response=_or_null(_RESPONSE),
    timing=_object(
        "parts of the time; null if the start or the end was not captured",
        request=_or_null(_seconds("request end - request start")),
        server=_or_null(_seconds("response start - request end, at least 0", least=0)),
        response=_or_null(_seconds("response end - response start")),
        stalled=_list(
            _object("a finding that delayed this exchange", rule=_text("rule"), delay=_seconds("delay of the finding", least=0)),
            "findings that delayed this exchange; their delays are included in `request`, `server` and `response`",
        ),
        limited=_list(
            _object(
                "a limit on the transfer of a long response",
                by=_one_of(
                    "the receiver's window; the sender's buffer; losses; the applications, which sent or read nothing; "
                    "or the path, which includes slow start, congestion control and all other causes",
                    tuple(LIMITS),
                ),
                time=_seconds("total time of this limit", least=0),
            ),
            "the limits on the transfer, each with its time; empty if the body took less than 1 s or has fewer than 40 segments",
        ),
    ),
    gateway=_or_null(
        _object(
            "role of the exchange at a gateway (reverse proxy); null unless the capture contains both sides of the gateway",
            role=_one_of(
                "front: between client and gateway; back: between gateway and server; both: between two gateways",
                ("front", "back", "both"),
            ),
            certain={
                "type": "boolean",
                "description": "true if no other pairing is possible; false if the pairing follows only from the order in time",
            },
            tries=_list(
                _object(
                    "an exchange between gateway and server, or a connection attempt without a request",
                    connection=_integer("connection id"),
                    exchange=_or_null(_integer("index of the exchange; null for a connection without a request")),
                ),
                "attempts of the gateway to forward this request, in order; empty if the role is back",
            ),
            front=_or_null(
                _object(
                    "the client's exchange for which the gateway sent this one; null if the role is front, or if unknown",
                    connection=_integer("connection id of the client's exchange"),
                    exchange=_integer("index of the client's exchange"),
                )
            ),
        )
    ),
    exchange=_integer("index of the exchange in its connection, the same as `index`"),
    client=_or_null(
        _text(
            "client endpoint, address:port; null if `live` has dropped the connection from memory in a long capture",
            pattern=ENDPOINT,
        )
    ),
    server=_or_null(
        _text(
            "server endpoint, address:port; null if `live` has dropped the connection from memory in a long capture",
            pattern=ENDPOINT,
        )
    ),
    request_time=_or_null(_seconds("the same as `timing.request`")),
    server_time=_or_null(_seconds("the same as `timing.server`", least=0)),
    response_time=_or_null(_seconds("the same as `timing.response`")),
    duration=_seconds(
        "time from the first byte of the exchange to its last one or, without a response, to the close that ended the client's "
        "wait",
        least=0,
    ),
    response_wait=_or_null(
        _seconds(
            "how long the client waited for a response that never came or broke off: from the first byte of the exchange to the "
            "FIN or RST of either side or, if the connection stayed open, to the end of the capture; null for other exchanges",
            least=0,
        )
    ),
)

_TOOL = _object("the program that wrote the report", name={"const": "wiredoctor"}, version=_text("version of the program"))

_SUMMARY = _object(
    "numbers of the whole report",
    headline=_text("the most important fact of the report in a sentence, as in every other format"),
    connections=_integer("TCP connections"),
    exchanges=_integer("HTTP exchanges"),
    problems=_object(
        "number of problems by severity: findings of one rule, kind, side, severity and server are one problem",
        **{s: _integer(f"problems that are {s}s") for s in SEVERITIES},
    ),
    findings=_object(
        "number of findings (occurrences of the problems) by severity",
        **{s: _integer(f"findings that are {s}s") for s in SEVERITIES},
    ),
    delay=_seconds("sum of all delays, overlaps counted once", least=0),
    checked=_list(
        _object(
            "connections of one kind, and the rules that checked them",
            what=_one_of(
                "what was checked: connections with this protocol (seen in both directions), or the captures themselves", SUBJECTS
            ),
            connections=_integer("number of connections"),
            exchanges=_integer("number of HTTP exchanges on these connections"),
            families=_list(_text("name of a family"), "families whose applicable rules all ran"),
            rules=_list(_text("name of a rule"), "rules that ran although their family did not run completely"),
        ),
        "what this report checked",
    ),
    healthy=_list(_text("name of a rule"), "rules that had data to check and found nothing"),
    not_judged=_list(
        _object(
            "something that was judged only in part, or not at all",
            what=_one_of("the unit of the count", ("connections", "exchanges", "rules")),
            count=_integer("number of units", 1),
            reason=_text("the reason"),
        ),
        "what was judged only in part, or not at all; for packets see not_analysed of each capture",
    ),
    requests=_object(
        "requests of the capture", count=_integer("number"), answered=_integer("number of requests with a final response")
    ),
    responses=_list(
        _object(
            "final responses", status_class=_text("status class of the responses: 2xx, 3xx, ..."), count=_integer("number", 1)
        ),
        "number of final responses by status class",
    ),
    server_errors=_list(
        _object("a status of 500 or above", status=_integer("the status code"), count=_integer("number of responses", 1)),
        "number of responses with a status of 500 or above, by status",
    ),
    left_out=_list(
        _object(
            "findings that are excluded from this report",
            by=_one_of("what excluded the findings: an entry of the configuration, a baseline, or --min-confidence", LEFT_OUT_BY),
            reason=_text("the reason in the entry, the file of the baseline, or the minimum confidence"),
            findings=_integer("number of findings", 1),
            rules=_list(_text("name of a rule"), "rules of these findings"),
        ),
        "excluded findings: known problems, or too low confidence",
    ),
    rules=_list(
        _object(
            "a rule that found something",
            rule=_text("name of the rule"),
            findings=_integer("number of findings", 1),
            delay=_seconds("sum of the delays of these findings, overlaps counted once"),
        ),
        "findings of each rule in all captures, before a limit, a baseline or the configuration excluded any",
    ),
    incomplete=_list(
        _text("a sentence"),
        "reasons why this report does not cover all that was requested, for example a capture that was not read to its end",
    ),
    shared_conversations=_integer(
        "TCP connections that several captures contain; their requests and findings count once per capture"
    ),
)


def schema() -> Schema:
    """Return the JSON Schema of a report as written by `analyze --format json`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "wiredoctor report",
        **_object(
            "the result of an analysis of packet captures",
            ("connections", "exchanges"),
            schema_version={
                "const": SCHEMA_VERSION,
                "description": "within a version, keys may be added and no key changes its meaning",
            },
            tool=_TOOL,
            secrets={
                "type": "boolean",
                "description": "true if targets, names and payload are shown as sent (--show-secrets); false if they are masked",
            },
            captures=_list(CAPTURE, "the files that were read"),
            summary=_SUMMARY,
            limits=_list(_text("what was omitted, and the limit"), "limits of wiredoctor that this analysis reached"),
            answers=_list(ANSWERS, "final responses by server, servers with most failures first"),
            servers=_list(SERVER, f"requests, failures and response times of the {MAX_SERVERS:,} worst servers, worst first"),
            not_judged=_list(
                NOT_JUDGED, "exchanges and connections that ended abnormally without a finding, the worst reasons first"
            ),
            findings=_list(FINDING, "all findings"),
            connections=_list(CONNECTION, "every connection, in order of capture and id; only with --full"),
            exchanges=_list(EXCHANGE, "every exchange, in order of capture, connection and index; only with --full"),
        ),
    }

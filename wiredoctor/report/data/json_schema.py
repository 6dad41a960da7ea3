"""JSON Schema (draft 2020-12) of the report's JSON, version 1: what `wiredoctor schema` prints."""

from __future__ import annotations

from typing import Any

from wiredoctor.findings import CONFIDENCES, LEFT_OUT_BY, SEVERITIES, UNJUDGED
from wiredoctor.report.coverage import SUBJECTS
from wiredoctor.report.data.json import SCHEMA_VERSION
from wiredoctor.report.limited import LIMITS
from wiredoctor.tables import END_REASONS, FRAMINGS, PROTOCOLS

Schema = dict[str, Any]

_PRINTABLE = "^[ -~]*$"


def _text(meaning: str, **more: Any) -> Schema:
    return {"type": "string", "description": meaning, **more}


def _from_packet(meaning: str) -> Schema:
    return _text(meaning + r"; bytes that are not printable ASCII are shown as \xNN", pattern=_PRINTABLE)


def _whole(meaning: str, least: int = 0) -> Schema:
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


_UTC = r"^[0-9]{4,}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z$"
_ENDPOINT = r"^(\[[0-9A-Fa-f:.%]+\]|[0-9.]+)(:[0-9]+)?$|^[0-9A-Fa-f:.]+$"

CAPTURE = _object(
    "a capture file that was read",
    file=_text("the file as it was named on the command line, or what stands for several that were read as one"),
    format=_text("pcap, pcapng or snoop"),
    link_types=_list(_text("name of a link type"), "link types of its interfaces"),
    packets=_whole("packet records read"),
    bytes=_whole("size of the file in bytes"),
    first_time=_or_null(
        _text("time stamp of the first packet, from which elapsed counts, RFC 3339 UTC; null without one", pattern=_UTC)
    ),
    last_time=_or_null(
        _text("the latest time stamp; the last packet may have an earlier one where the clock was set back", pattern=_UTC)
    ),
    encapsulations=_list(
        _object("packets in an encapsulation", name=_text("VXLAN, MPLS, ..."), packets=_whole("how many with TCP in it", 1)),
        "what TCP was in beside IP and its link; a packet may be in several; VLAN tags do not count",
    ),
    not_analysed=_list(
        _object("packets left out", reason=_text("why they could not be analysed"), packets=_whole("how many", 1)),
        "what is in the file and was not analysed, by reason",
    ),
    files=_list(_text("a file as it was named, or found in a folder"), "several files that were read as one capture; else empty"),
    duplicates=_whole("packets that were captured twice and left out"),
    dropped=_or_null(
        _whole("packets that were dropped before they could be captured, as the capture counts them; null where it counts none")
    ),
    damage=_or_null(_text("what of the file could not be read, and where; null when all could")),
)

FINDING = _object(
    "a diagnosis with its proof; it stands on its own",
    rule=_text("name of the rule", pattern="^[a-z0-9]+(-[a-z0-9]+)*$"),
    family=_text("family of the rule"),
    kind=_or_null(_text("which kind of the rule's fault; null where it has no kinds")),
    side=_or_null(_one_of("who has to change something; null where neither", ("client", "server"))),
    severity=_one_of("how bad", SEVERITIES),
    confidence=_one_of("how sure", CONFIDENCES),
    title=_text("one line"),
    message=_text("what happened here, with its numbers"),
    client=_or_null(_text("client endpoint; only the address in a finding about a client host", pattern=_ENDPOINT)),
    server=_or_null(_text("server endpoint", pattern=_ENDPOINT)),
    capture=_text("file that it was found in"),
    connection=_or_null(_whole("connection id, equal to tcp.stream; null where it is about more than one connection")),
    exchange=_or_null(_whole("index of the exchange in its connection")),
    request=_or_null(_from_packet("method and target of that exchange, values of the query masked")),
    status=_or_null(_whole("status code of its response")),
    time=_text("first evidence, RFC 3339 UTC", pattern=_UTC),
    elapsed=_seconds("first evidence, since the first packet of the capture"),
    delay=_or_null(_seconds("what the user would have got back without the fault, at most", least=0)),
    count=_whole("how many events this finding stands for", 1),
    measures={
        "type": "object",
        "description": "every number that the message names",
        "additionalProperties": {"type": "number"},
    },
    evidence=_list(
        _object(
            "a packet that proves something",
            frame=_whole("number of the packet, equal to frame.number", 1),
            elapsed=_seconds("its time, since the first packet of the capture"),
            note=_text("what it shows"),
            file=_or_null(_text("of a capture of several files, the one that it lies in; null where there is one file")),
            file_frame=_or_null(_whole("its number in that file", 1)),
        ),
        "the proof, in order of frames",
    ),
    remedy=_text("what to change"),
    references=_list(_object("where it can be read", title=_text("title"), url=_text("address")), "standards and manuals"),
    display_filter=_text("Wireshark display filter that shows it"),
    fingerprint=_text("the same for one fault in different captures", pattern="^[0-9a-f]{16}$"),
    client_software=_or_null(_from_packet("User-Agent of the client; null where it said nothing")),
    server_software=_or_null(_from_packet("Server field of the server; null where it said nothing")),
    caused_by=_list(
        _object(
            "another finding of the same capture",
            rule=_text("its rule"),
            frame=_whole("first frame of its evidence; 0 where it has none"),
            kind=_or_null(_text("its kind; null where its rule has none")),
            connection=_or_null(_whole("its connection; null where it is about more than one")),
            exchange=_or_null(_whole("its exchange; null where it is about none, or more than one")),
        ),
        "the findings of which this one is a consequence; they come before it",
    ),
    origin=_or_null(
        _one_of(
            "who sent the FIN or RST that it names: the host whose address that carries, or something between both ends; null if "
            "it names none, or if that cannot be told",
            ("endpoint", "between"),
        )
    ),
    number=_or_null(
        _whole("place in the whole report, whatever was left out of it: what `show --finding` takes; null in live JSON Lines", 1)
    ),
)

_NUMBERS: Schema = {"type": "object", "additionalProperties": _whole("how many", 1)}
ANSWERS = _object(
    "the final responses of a server",
    server=_or_null(_text("its address and port; null of a long live capture of too many servers")),
    classes=_NUMBERS | {"description": "by class of their status: 2xx, 3xx, ..."},
    failures=_list(
        _object(
            "those with a status of 500 or above",
            status=_whole("the status code"),
            count=_whole("how many", 1),
            own=_NUMBERS | {"description": "made by a gateway itself, by the kind of gateway-error that says why"},
            passed_on=_NUMBERS | {"description": "by the server behind a gateway that gave this status"},
            repeated=_whole("those of which a gateway sent the request to another server"),
            unexplained=_whole("those of which nothing says why"),
        ),
        "by status",
    ),
)

NOT_JUDGED = _object(
    "an exchange or a connection that did not end as it should, and that no finding explains",
    capture=_text("file that it is in"),
    connection=_whole("connection id, equal to tcp.stream"),
    exchange=_or_null(_whole("index of the exchange in its connection; null where it is about the connection")),
    client=_text("client endpoint, address:port", pattern=_ENDPOINT),
    server=_text("server endpoint, address:port", pattern=_ENDPOINT),
    request=_or_null(_from_packet("method and target of that exchange, values of the query masked")),
    reason=_one_of("why it is not judged", tuple(UNJUDGED)),
    message=_text("what is seen of it"),
    frame=_whole("where to look, equal to frame.number", 1),
    time=_text("when that was, RFC 3339 UTC", pattern=_UTC),
    elapsed=_seconds("the same, since the first packet of the capture"),
    waited=_or_null(_seconds("from the last that was seen of it to the end of the capture; null where it had ended")),
)

CONNECTION = _object(
    "a TCP connection",
    capture=_text("file"),
    id=_whole("connection id, equal to tcp.stream"),
    client=_text("client endpoint, address:port", pattern=_ENDPOINT),
    server=_text("server endpoint, address:port", pattern=_ENDPOINT),
    packets=_whole("packets of both directions, second copies left out"),
    client_bytes=_whole("payload bytes from the client, each counted once"),
    server_bytes=_whole("payload bytes from the server, each counted once"),
    first_frame=_whole("first packet", 1),
    last_frame=_whole("last packet", 1),
    start=_seconds("first packet, since the first packet of the capture"),
    end=_seconds("last packet, since the first packet of the capture"),
    rtt_client=_or_null(_seconds("round trip between capture point and client; null where unknown", least=0)),
    rtt_server=_or_null(_seconds("round trip between capture point and server; null where unknown", least=0)),
    protocol=_one_of("what it carried; none: no payload was seen", PROTOCOLS),
    history=_text(
        "a letter per kind of packet when it first happens, upper case from the client: S SYN, H SYN-ACK, A ACK, D data, "
        "F FIN, R RST, G gap, T retransmission, W zero window",
        pattern="^[A-Za-z]*$",
    ),
    closed_by=_or_null(
        _one_of("who closed; both: neither knew of the other's close; null while open", ("client", "server", "both"))
    ),
    close=_or_null(_one_of("how it was closed", ("fin", "rst"))),
)


def _message(meaning: str, first: dict[str, Schema], last: dict[str, Schema]) -> Schema:
    return _object(
        meaning,
        **first,
        frame=_or_null(_whole("packet with its first byte", 1)),
        last_frame=_or_null(_whole("packet in which its last missing byte was seen", 1)),
        start=_or_null(_seconds("when its first byte was seen")),
        end=_or_null(_seconds("when its last missing byte was seen")),
        head_bytes=_or_null(_whole("start line and header section with the empty line, in bytes")),
        body_bytes=_or_null(_whole("content seen, without chunk framing, in bytes")),
        framing=_one_of("how its end is found, RFC 9112 section 6.3", FRAMINGS),
        **last,
    )


_REQUEST = _message(
    "the request; null where it was not captured",
    {
        "method": _from_packet("method"),
        "target": _from_packet("request target, values of the query masked"),
        "host": _from_packet("Host field"),
        "version": _from_packet("HTTP version"),
    },
    {},
)

_RESPONSE = _message(
    "the final response; null where none was captured",
    {
        "status": _or_null(_whole("status code")),
        "reason": _from_packet("reason phrase"),
        "version": _from_packet("HTTP version"),
    },
    {
        "end_reason": _one_of("why it ended, or why its end is not known", END_REASONS),
        "persistent": {"type": "boolean", "description": "the exchange left the connection open, RFC 9112 section 9.3"},
        "interim": _list(_whole("status code"), "the 1xx responses before it"),
    },
)

EXCHANGE = _object(
    "a request and its response",
    capture=_text("file"),
    connection=_whole("connection id"),
    index=_whole("0-based, in its connection"),
    request=_or_null(_REQUEST),
    response=_or_null(_RESPONSE),
    timing=_object(
        "where the time went; null where a bound was not captured",
        request=_or_null(_seconds("request end - request start")),
        server=_or_null(_seconds("response start - request end, at least 0", least=0)),
        response=_or_null(_seconds("response end - response start")),
        stalled=_list(
            _object("a finding that cost this exchange time", rule=_text("rule"), delay=_seconds("its delay", least=0)),
            "contained in the three others",
        ),
        limited=_list(
            _object(
                "what limited the body of a long response",
                by=_one_of(
                    "the receiver's window; the sender's buffer; losses; the applications, which had nothing to send or did not "
                    "read; or the path, with slow start and congestion control, and whatever else is left",
                    tuple(LIMITS),
                ),
                time=_seconds("for how long", least=0),
            ),
            "of a body that took a second or more and 40 segments, its time divided by round trips; empty for others",
        ),
    ),
    gateway=_or_null(
        _object(
            "its part at a gateway (a reverse proxy) of which the capture holds both sides; null at no gateway",
            role=_one_of(
                "of a client with it, of it with a server behind, or both between two gateways", ("front", "back", "both")
            ),
            certain={
                "type": "boolean",
                "description": "no other pairing is possible; else they are paired by order of time only",
            },
            tries=_list(
                _object(
                    "an exchange at the back; or a connection that was begun and carried no request",
                    connection=_whole("its connection"),
                    exchange=_or_null(_whole("its index; null of a connection without a request")),
                ),
                "what the gateway did for it, in order; of a back empty",
            ),
            front=_or_null(
                _object(
                    "the exchange for which it was sent; null of a front, and where that is not known",
                    connection=_whole("its connection"),
                    exchange=_whole("its index"),
                )
            ),
        )
    ),
)

_TOOL = _object("what wrote this", name={"const": "wiredoctor"}, version=_text("its version"))

_SUMMARY = _object(
    "all of it in numbers",
    connections=_whole("TCP connections"),
    exchanges=_whole("HTTP exchanges"),
    findings=_object("how many of each severity", **{s: _whole(f"findings that are {s}s") for s in SEVERITIES}),
    delay=_seconds("all delays, overlaps counted once", least=0),
    checked=_list(
        _object(
            "what was looked at, and for what",
            what=_one_of("connections by what they carried, captured in both directions; or the captures themselves", SUBJECTS),
            connections=_whole("how many connections"),
            exchanges=_whole("with how many HTTP exchanges"),
            families=_list(_text("name of a family"), "families whose applicable rules were all requested"),
            rules=_list(_text("name of a rule"), "the rules of other families"),
        ),
        "how far this report reaches",
    ),
    healthy=_list(_text("name of a rule"), "rules that had something to look at and found nothing"),
    not_judged=_list(
        _object(
            "that cannot be judged, or only in part",
            what=_one_of("of what", ("connections", "exchanges", "rules")),
            count=_whole("of how many", 1),
            reason=_text("why"),
        ),
        "what could not be judged, or not fully; for packets see not_analysed of each capture",
    ),
    requests=_object("requests of the capture", count=_whole("how many"), answered=_whole("how many have a final response")),
    responses=_list(
        _object("final responses", status_class=_text("class of their status: 2xx, 3xx, ..."), count=_whole("how many", 1)),
        "how requests were answered",
    ),
    server_errors=_list(
        _object("a status of 500 or above", status=_whole("the status code"), count=_whole("of how many responses", 1)),
        "which there are",
    ),
    left_out=_list(
        _object(
            "findings that were made and are not in this report",
            by=_one_of("what left them out: an entry of the configuration, a baseline, or --min-confidence", LEFT_OUT_BY),
            reason=_text("the entry's reason, the baseline's file, or the least confidence"),
            findings=_whole("how many", 1),
            rules=_list(_text("name of a rule"), "their rules"),
        ),
        "what is known, or not sure enough",
    ),
    rules=_list(
        _object(
            "a rule that found something",
            rule=_text("its name"),
            findings=_whole("how many findings", 1),
            delay=_seconds("seconds that they cost, without overlaps"),
        ),
        "what each rule found in all captures, before a limit, a baseline or the configuration left any of it out",
    ),
    incomplete=_list(
        _text("a sentence"),
        "why this report does not cover all that was requested, such as a capture that was not read to its end; else empty",
    ),
)


def schema() -> Schema:
    """The JSON Schema of a report as `analyze --format json` writes it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "wiredoctor report",
        **_object(
            "what an analysis of packet captures found",
            ("connections", "exchanges"),
            schema_version={
                "const": SCHEMA_VERSION,
                "description": "keys may be added within a version, none changes its meaning",
            },
            tool=_TOOL,
            secrets={
                "type": "boolean",
                "description": "whether targets, names and payload are as they were sent (--show-secrets); else they are masked",
            },
            captures=_list(CAPTURE, "the files that were read"),
            summary=_SUMMARY,
            limits=_list(_text("what was cut off, and at which limit"), "limits of wiredoctor that this analysis met"),
            answers=_list(ANSWERS, "how each server answered, those with most failures first"),
            not_judged=_list(NOT_JUDGED, "what did not end as it should and is explained by no finding, the worst reasons first"),
            findings=_list(FINDING, "the diagnosis"),
            connections=_list(CONNECTION, "every connection, in order of capture and id; only with --full"),
            exchanges=_list(EXCHANGE, "every exchange, in order of capture, connection and index; only with --full"),
        ),
    }

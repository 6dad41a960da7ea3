"""Declare the keys of connections and exchanges in the JSON report, whose values come from the columns in json_rows."""

from __future__ import annotations

from wiredoctor.findings.keys import ENDPOINT, Key
from wiredoctor.report.stream_times import ENDS
from wiredoctor.report.transfer_limits import LIMITS
from wiredoctor.tables import END_REASONS, FRAMINGS, PROTOCOLS

CONNECTION = (
    Key("capture", "text", "file"),
    Key("id", "whole", "connection id, equal to tcp.stream"),
    *(Key(side, "text", f"{side} endpoint, address:port", pattern=ENDPOINT) for side in ("client", "server")),
    Key("packets", "whole", "packets of both directions, without duplicates"),
    Key("client_bytes", "whole", "payload bytes from the client, each counted once"),
    Key("server_bytes", "whole", "payload bytes from the server, each counted once"),
    Key("first_frame", "whole", "first packet", least=1),
    Key("last_frame", "whole", "last packet", least=1),
    Key("start", "seconds", "time of the first packet, since the first packet of the capture"),
    Key("end", "seconds", "time of the last packet, since the first packet of the capture"),
    Key("rtt_client", "seconds", "round trip between capture point and client; null if unknown", nullable=True, least=0),
    Key("rtt_server", "seconds", "round trip between capture point and server; null if unknown", nullable=True, least=0),
    Key("protocol", "choice", "the protocol of the payload; none: no payload was captured", choices=PROTOCOLS),
    Key(
        "history", "text",
        "a letter for the first packet of each kind, upper case from the client: S SYN, H SYN-ACK, A ACK, D data, F FIN, R RST, "
        "G gap, T retransmission, W zero window", pattern="^[A-Za-z]*$",
    ),
    Key(
        "closed_by", "choice",
        "the endpoint that closed first; both: each closed before the other's FIN or RST arrived; null while open", nullable=True,
        choices=("client", "server", "both"),
    ),
    Key("close", "choice", "how the connection was closed", nullable=True, choices=("fin", "rst")),
    Key("connection", "whole", "connection id, the same as `id`"),
    Key("duration", "seconds", "end - start"),
)  # fmt: skip

_MESSAGE = (
    Key("frame", "whole", "frame number of the packet with the message's first byte", nullable=True, least=1),
    Key(
        "last_frame", "whole", "frame number of the packet that supplied the message's last missing byte", nullable=True,
        least=1,
    ),
    Key("start", "seconds", "time of the message's first byte, since the first packet of the capture", nullable=True),
    Key(
        "end", "seconds", "time of the message's last missing byte, since the first packet of the capture", nullable=True,
    ),
    Key("head_bytes", "whole", "size of start line and header section in bytes, with the empty line", nullable=True),
    Key("body_bytes", "whole", "size of the captured content in bytes, without chunk framing", nullable=True),
    Key("framing", "choice", "how the end of the message is determined, RFC 9112 section 6.3", choices=FRAMINGS),
)  # fmt: skip

EXCHANGE = (
    Key("capture", "text", "file"),
    Key("connection", "whole", "connection id"),
    Key("index", "whole", "index of the exchange in its connection, from 0"),
    Key(
        "request_id", "text", "value of X-Request-Id, X-Correlation-Id, X-Amzn-Trace-Id or traceparent, if it is well-formed",
        nullable=True,
    ),
    Key(
        "request", "object", "the request; null if it was not captured", nullable=True,
        keys=(
            Key("method", "packet text", "method"),
            Key("target", "packet text", "request target, with the values of the query masked"),
            Key("host", "packet text", "Host field"),
            Key("version", "packet text", "HTTP version"),
            *_MESSAGE,
        ),
    ),
    Key(
        "response", "object", "the final response; null if none was captured", nullable=True,
        keys=(
            Key("status", "whole", "status code", nullable=True),
            Key("reason", "packet text", "reason phrase"),
            Key("version", "packet text", "HTTP version"),
            *_MESSAGE,
            Key("end_reason", "choice", "why the response ended, or why its end is unknown", choices=END_REASONS),
            Key("persistent", "flag", "true if the exchange left the connection open, RFC 9112 section 9.3"),
            Key("interim", "wholes", "status codes of the preceding 1xx responses", item="status code"),
        ),
    ),
    Key(
        "timing", "object", "parts of the time; null if the start or the end was not captured",
        keys=(
            Key("request", "seconds", "request end - request start", nullable=True),
            Key("server", "seconds", "response start - request end, at least 0", nullable=True, least=0),
            Key("response", "seconds", "response end - response start", nullable=True),
            Key(
                "stalled", "objects",
                "findings that delayed this exchange; their delays are included in `request`, `server` and `response`",
                item="a finding that delayed this exchange",
                keys=(Key("rule", "text", "rule"), Key("delay", "seconds", "delay of the finding", least=0)),
            ),
            Key(
                "limited", "objects",
                "the limits on the transfer, each with its time; empty if the body took less than 1 s or has fewer than 40 "
                "segments", item="a limit on the transfer of a long response",
                keys=(
                    Key(
                        "by", "choice",
                        "the receiver's window; the sender's buffer; losses; the applications, which sent or read nothing; or "
                        "the path, which includes slow start, congestion control and all other causes", choices=tuple(LIMITS),
                    ),
                    Key("time", "seconds", "total time of this limit", least=0),
                ),
            ),
        ),
    ),
    Key(
        "gateway", "object",
        "role of the exchange at a gateway (reverse proxy); null unless the capture contains both sides of the gateway",
        nullable=True,
        keys=(
            Key(
                "role", "choice",
                "front: between client and gateway; back: between gateway and server; both: between two gateways",
                choices=("front", "back", "both"),
            ),
            Key(
                "certain", "flag",
                "true if no other pairing is possible; false if the pairing follows only from the order in time",
            ),
            Key(
                "tries", "objects", "attempts of the gateway to forward this request, in order; empty if the role is back",
                item="an exchange between gateway and server, or a connection attempt without a request",
                keys=(
                    Key("connection", "whole", "connection id"),
                    Key("exchange", "whole", "index of the exchange; null for a connection without a request", nullable=True),
                ),
            ),
            Key(
                "front", "object",
                "the client's exchange for which the gateway sent this one; null if the role is front, or if unknown",
                nullable=True,
                keys=(
                    Key("connection", "whole", "connection id of the client's exchange"),
                    Key("exchange", "whole", "index of the client's exchange"),
                ),
            ),
        ),
    ),
    Key("exchange", "whole", "index of the exchange in its connection, the same as `index`"),
    *(
        Key(
            side, "text",
            f"{side} endpoint, address:port; null if `live` has dropped the connection from memory in a long capture",
            nullable=True, pattern=ENDPOINT,
        )
        for side in ("client", "server")
    ),
    Key("request_time", "seconds", "the same as `timing.request`", nullable=True),
    Key("server_time", "seconds", "the same as `timing.server`", nullable=True, least=0),
    Key("response_time", "seconds", "the same as `timing.response`", nullable=True),
    Key(
        "duration", "seconds",
        "time from the first byte of the exchange to its last one or, without a response, to the close that ended the client's "
        "wait", least=0,
    ),
    Key(
        "response_wait", "seconds",
        "how long the client waited for a response that never came or broke off: from the first byte of the exchange to the FIN "
        "or RST of either side or, if the connection stayed open, to the end of the capture; null for other exchanges",
        nullable=True, least=0,
    ),
    Key(
        "stream", "object",
        "the events of the response; null if it is not an event stream (text/event-stream, multipart/x-mixed-replace, or "
        "application/x-ndjson without a length)", nullable=True,
        keys=(
            Key(
                "events", "whole",
                "number of events with data, so without comments; null if bytes are missing or the coding cannot be decoded",
                nullable=True,
            ),
            Key("first_event", "seconds", "end of the first of these events - request end, at least 0", nullable=True, least=0),
            Key(
                "median_gap", "seconds",
                "median gap between the ends of these events; from 513 packets with events on, rounded by at most 0.8 %, or "
                "0.066 ms if that is more; null without two events", nullable=True, least=0,
            ),
            Key("p95_gap", "seconds", "95th percentile of these gaps (nearest rank), rounded likewise", nullable=True, least=0),
            Key("longest_gap", "seconds", "longest of these gaps", nullable=True, least=0),
            Key("longest_gap_frame", "whole", "packet that ended the longest gap", nullable=True, least=1),
            Key(
                "end", "choice", "how the stream ended; cut: it is unknown who closed first; open: it went on when the capture "
                "ended", choices=ENDS,
            ),
            Key("end_mark", "flag", "one of the last two events is one with which an API ends its answers, such as [DONE]"),
        ),
    ),
)  # fmt: skip

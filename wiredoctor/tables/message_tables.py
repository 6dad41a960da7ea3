"""The tables about HTTP messages: messages, bursts of their bodies, and faults."""

from __future__ import annotations

from wiredoctor.tables.table import I8, I32, I64, TEXT, Table
from wiredoctor.tables.table import flag as _flag
from wiredoctor.tables.table import nullable as _n
from wiredoctor.tables.table import required as _c

FRAMINGS = ("none", "content-length", "chunked", "close-delimited", "tunnel")
"""The ways in which the end of a message is determined (RFC 9112 section 6.3)."""

END_REASONS = ("complete", "fin", "rst", "error", "hole", "capture-end", "complete")
"""The reasons why a message ended, or why its end is not known. The last reason is for core.message.IN_TRAILER."""

MESSAGE_COLUMNS = (
    _n("frame", I64, "packet with the first byte of the message"),
    _n("last_frame", I64, "last packet that added bytes to the message"),
    _n("start", I64, "time of the first byte of the message", "ns"),
    _n("end", I64, "time of the last packet that added bytes to the message", "ns"),
    _n("head_bytes", I64, "length of the start line and header section with the empty line", "bytes"),
    _n("body_bytes", I64, "captured length of the content, without chunk framing", "bytes"),
    _n("body_due", I64, "Content-Length as announced, if it determines the body length", "bytes"),
    _c("framing", TEXT, "how the end of the message is determined: none, content-length, chunked, close-delimited or tunnel"),
    _c("end_reason", TEXT, "why the message ended: complete, fin, rst, error, hole or capture-end"),
    _c("version", TEXT, "HTTP version, as in the start line"),
    _n("last_body_time", I64, "time of the last body byte; null without a body", "ns"),
    _flag("has_gap", "bytes of the message were not captured"),
    _flag("connection_close", "the message has Connection: close"),
    _flag("connection_keep_alive", "the message has Connection: keep-alive"),
    _flag("has_content_length", "the message has a Content-Length field"),
    _flag("has_transfer_encoding", "the message has a Transfer-Encoding field (identity does not count)"),
    _c("content_type", TEXT, "media type in lower case without parameters"),
    _c("content_encoding", TEXT, "Content-Encoding in lower case; unknown words masked"),
    _flag(
        "endless",
        "the body never ends by itself: text/event-stream, multipart/x-mixed-replace, application/x-rtsp-tunnelled, "
        "application/vnd.amazon.eventstream, gnss/data, audio or video without Content-Length, or an icy-* field",
    ),
    _c("upgrade", TEXT, "Upgrade in lower case; unknown words masked"),
    _c("via", TEXT, "the field Via"),
    _n("websocket_version", I32, "Sec-WebSocket-Version (the first value if there are several)"),
    _n("chunks", I32, "number of data chunks so far, if the body is chunked"),
    _n("offset", I64, "stream offset of the first byte of the message", "bytes"),
    _n(
        "end_offset",
        I64,
        "stream offset after the last captured byte of the message; null until the message is complete",
        "bytes",
    ),
    _n(
        "ack",
        I64,
        "offset in the peer's stream up to which the packet with the end of the header section acknowledges data",
        "bytes",
    ),
)

REQUEST_COLUMNS = (
    _c("method", TEXT, "method, masked like the target"),
    _c("target", TEXT, "request target; masked except for wiredoctor's own rules (docs/pages/secrets.md)"),
    _c("host", TEXT, "Host, masked like the target"),
    _c("user_agent", TEXT, "the field User-Agent"),
    _c("referer", TEXT, "Referer, masked like the target"),
    _flag("expect_continue", "the request has Expect: 100-continue"),
    _flag("has_credentials", "the request has Authorization or Proxy-Authorization"),
    _c("credentials_scheme", TEXT, "authentication scheme in lower case; empty if it is unknown"),
    _n("credentials_user", I64, "checksum of the user name in the credentials; null except for Basic and Digest"),
    _flag("forwarded", "the request has X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Server, X-Real-IP, Forwarded or Via"),
    _c("forwarded_for", TEXT, 'addresses in X-Forwarded-For, or in Forwarded; "unknown" for other values'),
    _flag("forwarded_server", "the request has X-Forwarded-Server"),
    _flag("has_websocket_key", "the request has Sec-WebSocket-Key"),
    _flag("navigation", "the request is for a page: Accept begins with text/html, or Sec-Fetch-Mode is navigate"),
    _flag("accepts_events", "Accept names text/event-stream"),
    _flag("event_source", "Accept names text/event-stream alone, as clients do that ask again when a stream ends"),
    _flag("last_event_id", "the request has Last-Event-ID, so its client continues a stream that ended"),
    _n("range_start", I64, "first byte requested by Range: bytes=N-; null without a range", "bytes"),
    _n("retry_count", I32, "earlier tries of the same call, as the client says in X-Stainless-Retry-Count"),
)

RESPONSE_COLUMNS = (
    _n("status", I32, "status code"),
    _c("reason", TEXT, "reason phrase, masked like the target"),
    _c("server", TEXT, "the field Server"),
    _c("location", TEXT, "the field Location, masked like the target"),
    _n("keep_alive_timeout", I32, "timeout parameter of Keep-Alive", "s"),
    _n("keep_alive_max", I32, "max parameter of Keep-Alive"),
    _c("auth_scheme", TEXT, "scheme of WWW-Authenticate or Proxy-Authenticate in lower case; empty if it is unknown"),
    _flag("auth_token", "the challenge of `auth_scheme` has a token that does not reject the client"),
    _flag("auth_stale", "a challenge has stale=true: Digest needs a new nonce, not new credentials"),
    _flag("has_retry_after", "there is a field Retry-After"),
    _n("retry_after", I32, "value of Retry-After; null if there is none or it is a date", "s"),
    _c("accel_buffering", TEXT, "X-Accel-Buffering; unknown words masked"),
)

MESSAGES = Table(
    "messages",
    "the captured part of a request, a response or an interim response",
    (
        _c("connection", I64, "connection id"),
        _c("direction", I8, "direction in which the message was sent"),
        _c("role", I8, "role of the message's sender: 0 client (a request), 1 server (a response)"),
        _c("message", I64, "message id: unique in the capture, ascending within each direction"),
        _c("exchange", I32, "index of its exchange in its connection"),
        *MESSAGE_COLUMNS,
        *REQUEST_COLUMNS,
        *RESPONSE_COLUMNS,
    ),
    writer="core/rows/exchange_rows.py:MessageRows.write",
)

BURSTS = Table(
    "bursts",
    "a series of data segments of one message; the pauses between them are shorter than 10 ms or two round trips, whichever is "
    "longer. Only body bytes count",
    (
        _c("connection", I64, "connection id"),
        _c("direction", I8, "direction of the message"),
        _c("message", I64, "message id"),
        _c("exchange", I32, "index of the exchange in its connection"),
        _c("index", I32, "0-based number of the burst in its body"),
        _c("first_frame", I64, "first packet of the burst"),
        _c("last_frame", I64, "last packet of the burst so far"),
        _c("start", I64, "time of the first packet", "ns"),
        _c("end", I64, "time of the last packet so far", "ns"),
        _c("bytes", I64, "body bytes of the burst, including chunk framing", "bytes"),
        _c("segments", I32, "number of packets with new data"),
        _c("largest_segment", I32, "largest payload of a packet", "bytes"),
        _n("pause", I64, "time since the previous burst of the body; null for the first", "ns"),
        _n("pause_frame", I64, "last packet before the pause"),
        _flag(
            "pause_acknowledged",
            "all earlier data was acknowledged before the burst, or less than two full segments were in flight and the pause was "
            "shorter than 510 ms",
        ),
        _flag("pause_window_open", "the receiver's window had room for a full segment throughout the pause"),
        _flag("pause_clean", "nothing was retransmitted during the pause"),
        _flag("pause_emptied", "the previous segment was small or had PSH: there was no more data to send"),
        _flag(
            "pause_waited",
            "according to the timestamps (RFC 7323), the sender waited for at least half of the pause, minus a round trip, "
            "before it sent the segment after the pause; also true if the sender's clock is unknown",
        ),
        _flag("pause_application", "the application caused the pause: `pause_acknowledged` to `pause_waited` are true"),
        _n(
            "pause_late",
            I64,
            "how much longer the segment after the pause was in transit than the segment before the pause, by the sender's clock",
            "ns",
        ),
        _n("span", I64, "how far the sender's clock advanced from the first to the last packet of the burst", "ns"),
    ),
    writer="core/http1/bursts.py:write_burst",
)

FAULTS = Table(
    "faults",
    "a message that violates HTTP framing (RFC 9112 section 6) or the grammar of its header section. The row is "
    "written as soon as the fault is found. For each side of a connection there is at most one framing fault, preceded by at "
    "most one grammar fault of each kind",
    (
        _c("connection", I64, "connection id"),
        _c("exchange", I32, "index of the exchange in its connection"),
        _c("role", I8, "role of the message's sender: 0 client, 1 server"),
        _c(
            "fault",
            TEXT,
            "kind of fault. In framing: excess-body, conflicting-framing, invalid-chunk, body-not-allowed, "
            "chunked-to-http10, unframed-request-body, unfinished-transfer-coding. In grammar: bare-lf, space-before-colon, "
            "folding, control-byte, content-length, no-colon, empty-name, space-in-name, eight-bit-name, name-character, "
            "length-twice, length-list, identity-coding, status-digits, status-spacing, status-case, minor-version, "
            "major-version, empty-line. chunk-trailing-space, chunk-leading-space, chunk-empty-extension, chunk-bare-lf: a "
            "chunk size line that some recipients refuse. trailer-no-colon, trailer-name: a line of a trailer section that is no "
            "field. empty-line-after-body: an empty line after the body of a response "
            "(empty-line-accepted: the client read on). no-status-line: a response that is not HTTP (the message is "
            "its request). body-announced: a 204 or 1xx with the length of a body that it cannot have "
            "(body-announced-accepted: a 101 after which the client sent more). range-ends-early: the "
            "body of a 206 ended with its Content-Range, before its Content-Length. body-not-gzip, body-not-zstd: a body that "
            "does not begin like content in its content coding. unfinished-coding, wrong-checksum, broken-coding: a body that "
            "does not decode to its end. unknown-coding: a content coding that is none. cut-json: a document that ends inside "
            "a value. several-members: content of several gzip members. length-before-coding, length-too-long: content that is "
            "complete below Content-Length (there may be several of the faults from body-not-gzip on)",
        ),
        _c("frame", I64, "packet with the faulty bytes"),
        _c("time", I64, "time of `frame`", "ns"),
        _c(
            "offset",
            I64,
            "stream offset of the faulty bytes; for a fault in a header section, of the start of the message",
            "bytes",
        ),
        _c(
            "excerpt",
            TEXT,
            "at most 32 of the faulty bytes (with x for letters and digits); for a header section, the fields that determine "
            "the body length, or the name of the invalid field; for content, its coding, or what came of it",
        ),
        _c("message_frame", I64, "packet with the first byte of the message"),
        _c("message_time", I64, "time of `message_frame`", "ns"),
        _c("version", TEXT, "HTTP version of the message"),
        _n("status", I32, "status code of a response, possibly interim"),
        _n("body_due", I64, "Content-Length, if it determines the body length", "bytes"),
        _n("request_frame", I64, "packet with the first byte of the exchange's request; null if it was not captured"),
        _n("request_time", I64, "time of `request_frame`", "ns"),
        _c("request_method", TEXT, "method of the exchange's request"),
        _c("request_version", TEXT, "HTTP version of the exchange's request"),
        _flag("request_connection_close", "the exchange's request has Connection: close"),
        _flag("announces_close", "the message is a response after which the connection closes (RFC 9112 section 9.3)"),
        _flag("handshake", "SYN and SYN-ACK were captured"),
        _flag("data_in_both_directions", "for a response: its request was captured; for a request: the server has sent HTTP too"),
        _flag("after_gap", "bytes are missing in the message, or earlier on the connection"),
    ),
    at_packet=True,
    writer="core/rows/exchange_rows.py:FaultRows.write",
)

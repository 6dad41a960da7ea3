"""The tables about exchanges, in the forms that reports read, that rules read, and that are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import polars as pl

from wiredoctor.tables.event_tables import CLOSE_ORIGINS, LIMITED_COLUMNS
from wiredoctor.tables.message_tables import MESSAGE_COLUMNS, REQUEST_COLUMNS, RESPONSE_COLUMNS
from wiredoctor.tables.table import I8, I32, I64, LIST64, STATUSES, TEXT, Column, Rows, Table
from wiredoctor.tables.table import flag as _flag
from wiredoctor.tables.table import nullable as _n
from wiredoctor.tables.table import required as _c

_RESPONSE_BURSTS = (
    _c("bursts", I32, "number of bursts of the body (0 without a body); see the table bursts"),
    _c(
        "application_pauses",
        I32,
        "number of pauses of at least 50 ms (or a lower configured threshold) between bursts that the application caused",
    ),
    _c("pause_total", I64, "sum of the pauses that `response_application_pauses` counts", "ns"),
    _c(
        "pause_frames",
        LIST64,
        "last packet before and first packet after a pause, for at most four pauses: a pause of at least 1 s between head and "
        "body, then the first three pauses in the body",
    ),
    _c("pause_times", LIST64, "times of the packets in `response_pause_frames`", "ns"),
    _c(
        "pause_by_clock",
        LIST64,
        "for each pause in `response_pause_frames`: by how much the sender's clock advanced during the pause, according to the "
        "timestamps (RFC 7323); an element is null if that clock does not show the pause",
        "ns",
    ),
)

_RESPONSE_PIECES = (
    _n("body_frame", I64, "first packet with body bytes of a chunked response or an event stream, otherwise null"),
    _n("body_time", I64, "time of `response_body_frame`", "ns"),
    _n("median_chunk", I32, "median size of the data chunks, if the body is chunked; chunks above 1,024 count as 1,024", "bytes"),
    _c("chunk_lines_sent_separately", I32, "number of size lines of data chunks in packets without content"),
    _c("chunks_apart", I32, "number of data chunks that began 1.5 ms (in an HTML page: 5 ms) or more after the previous one"),
    _flag("chunks_ending_in_newline", "the body is chunked, and every data chunk ended with a newline"),
    _c("early_chunks", I32, "number of data chunks that began before the first pause of 10 ms in the body, at most 2"),
    _n(
        "events",
        I64,
        "number of events of text/event-stream, multipart/x-mixed-replace, or application/x-ndjson without a length; null "
        "for other types, after a gap, or if the coding cannot be decoded",
    ),
    _n("first_event_frame", I64, "packet in which the first of the events in `response_events` ended; null if none ended"),
    _n("first_event_time", I64, "time of `response_first_event_frame`", "ns"),
    _c(
        "first_events",
        I32,
        "number of events in the first lump (a group sent together), which ends before the first pause of 5 ms (waits for ACKs "
        "or for the window do not count) and within 20 ms; 0 if the events arrived more slowly",
    ),
    _n(
        "first_late",
        I64,
        "how much longer the first body packet of a chunked response or an event stream was in transit than the previous packet, "
        "by the sender's timestamps; null if the timestamps do not show it",
        "ns",
    ),
    _c(
        "held_bursts",
        I32,
        "number of lumps (groups of events that arrived together) of three events or more, each after a pause of at least 500 ms "
        "that the application caused",
    ),
    _c("held_events", I64, "number of events in the lumps that are counted in `response_held_bursts`"),
    _c("large_lumps", I32, "number of lumps in `response_held_bursts` that contain ten or more events"),
    _c("large_events", I64, "number of events in the lumps that `response_large_lumps` counts"),
    _c("cut_lumps", I32, "number of lumps in `response_held_bursts` that end inside an event and are followed by another lump"),
    _flag("first_cut", "the lump in `response_first_events` ends inside an event, and another lump follows"),
    _flag("one_flight", "event streams: all packets of the body arrived together, whatever the body contains"),
    _flag(
        "end_mark",
        "one of the last two of the events in `response_events` is one with which an API ends its answers, such as [DONE]",
    ),
    _flag(
        "api_format",
        "one of the first three of the events in `response_events` is of an API that ends its answers with an event of its own",
    ),
    _c(
        "last_event",
        I8,
        "what the last of the events in `response_events` is: 0 there is none with data, 1 [DONE], 2 another event with which an "
        "API ends its answers, 3 an event that says that it is an error (the only one), 4 one with a member `error` (the only "
        "one), 5 one with the name, type and members of an earlier one, 6 any other. If [DONE] follows an error, 3 or 4",
    ),
    _c(
        "first_shape",
        I64,
        "hash of the name, the type and the members of the first of the events in `response_events`; 0 if none",
    ),
    _c(
        "first_hash",
        I64,
        "hash of the content of the first three of the events in `response_events`; 0 if there are fewer, or if they have less "
        "than 64 bytes",
    ),
    _n(
        "longest_pause",
        I64,
        "event streams: longest time between two packets of the body; null after a gap or out of order",
        "ns",
    ),
    _flag(
        "event_lines",
        "the media type is another one, but all lines are those of text/event-stream, with three events or more; "
        "`response_events` counts them",
    ),
    _n(
        "data_events",
        I64,
        "number of the events in `response_events` that have data: comments, which servers send as heartbeats, have none; null "
        "as `response_events`",
    ),
    _n("first_data_frame", I64, "packet in which the first of the events in `response_data_events` ended"),
    _n("first_data_time", I64, "time of `response_first_data_frame`; if bytes before it arrived later, the time of these", "ns"),
    _n(
        "median_gap",
        I64,
        "median of the gaps between the ends of the events in `response_data_events` (nearest rank; 0 within a packet); from 513 "
        "packets with events on, the error is at most 0.8 %, or 0.066 ms if that is more",
        "ns",
    ),
    _n("p95_gap", I64, "95th percentile of these gaps, with the same error", "ns"),
    _n("longest_gap", I64, "longest of these gaps, exact", "ns"),
    _n("longest_gap_frame", I64, "packet that ended `response_longest_gap`"),
    _n("longest_gap_time", I64, "time of `response_longest_gap_frame`, as in `response_first_data_time`", "ns"),
    _c(
        "flights",
        I32,
        "event streams: number of groups of packets that arrived 5 ms or more after the previous group (waits for ACKs or "
        "for the window do not count)",
    ),
    _c(
        "held_frames",
        LIST64,
        "for the first three of the lumps in `response_held_bursts`: the last packet before the lump, and its first packet (at "
        "most 6 frames)",
    ),
    _c("held_times", LIST64, "times of the packets in `response_held_frames`", "ns"),
    _c("held_by_clock", LIST64, "as `response_pause_by_clock`, for the pause before each lump in `response_held_frames`", "ns"),
    _c(
        "moments",
        LIST64,
        "event streams: four numbers for each of the first 64 packets with content that came 5 ms or more after the one before: "
        "the packet, its time (ns), the number of content bytes before it, and for how long (ns) TCP could have sent it at once "
        "(all earlier data was acknowledged, and the window was open; 0 if not)",
    ),
)

_RESPONSE_LIMITED = tuple(
    Column(f"{c.name}_time", c.dtype, c.unit, f"for a long body: {c.name} as in the table transfers; null for other bodies", True)
    for c in LIMITED_COLUMNS
)


def _side(prefix: str, columns: tuple[Column, ...]) -> tuple[Column, ...]:
    return tuple(Column(f"{prefix}_{c.name}", c.dtype, c.unit, c.meaning, c.nullable) for c in columns)


_EXTENTS = (
    "0 only bytes before it, 1 nothing of it, 2 a part of its header section, 3 its header section, 4 all but its last byte, "
    "5 all of it, 6 bytes after it"
)

_ARRIVED = (
    _n("request_arrived", I8, f"how much of the request had arrived when the server closed: {_EXTENTS}"),
    _n(
        "request_arrived_at_response",
        I8,
        "as `request_arrived`, when the server sent its response; if the request was not captured, 6 if bytes of the client had "
        "arrived, otherwise 1",
    ),
    _n("response_arrived", I8, "how much of the response had arrived when the client closed, as in `request_arrived`"),
    _n("response_arrived_at_rst", I8, "how much of the response had arrived when the client sent its first RST"),
    _n("arrived_since_request", I8, "what the client's close acknowledges in addition to its request: 0 less, 1 nothing, 6 more"),
    _n("previous_response_arrived", I8, "1 if the request acknowledges all of the previous response, otherwise 0"),
    _n(
        "server_end_arrived",
        I8,
        "how much the client's close acknowledges: 0 a part of what the server sent before its FIN, 1 all data, 2 the FIN, too",
    ),
    _flag("server_fin_before_request", "the request acknowledges the server's FIN"),
    _flag(
        "server_rst_answers_request",
        "the server's close is an RST without ACK flag that answers the request, like one of a host without this connection",
    ),
    _flag("server_rst_answers_close", "the same, but the RST answers the client's close"),
    _n("server_sent_more", I8, "1 if the server had sent bytes that are not a known response when it closed, otherwise 0"),
    _n("client_received_more", I8, "1 if the client's close acknowledges such bytes, otherwise 0"),
    _flag("response_goes_on", "the response has bytes beyond the server's FIN or RST"),
    _c(
        "closed_first",
        TEXT,
        "the side that closed before it knew of the other's close: client, server, or empty (neither, or uncertain)",
    ),
)

EXCHANGES = Table(
    "exchanges",
    "a request and its final response. Rules read it without the columns about later events (see above)",
    (
        _c("connection", I64, "connection id"),
        _c("exchange", I32, "0-based index of the exchange in its connection"),
        _flag("has_request", "the request was captured; otherwise its columns are null or empty"),
        _flag("has_response", "a response was captured: the final one, or only an interim one"),
        *_side("request", (_n("message", I64, "message id"), *MESSAGE_COLUMNS, *REQUEST_COLUMNS)),
        *_side("response", (_n("message", I64, "message id"), *MESSAGE_COLUMNS, *RESPONSE_COLUMNS)),
        *_side("response", (*_RESPONSE_BURSTS, *_RESPONSE_PIECES, *_RESPONSE_LIMITED)),
        _n(
            "request_head_last_frame",
            I64,
            "packet that completed the header section of a request with a body; null without a body",
        ),
        _n("request_head_time", I64, "time of `request_head_last_frame`", "ns"),
        _n("request_body_frame", I64, "first packet with body bytes of the request"),
        _n("request_body_time", I64, "time of `request_body_frame`", "ns"),
        _n(
            "request_body_pause",
            I64,
            "the longest of the first three pauses (10 ms or more) between segments of the request's body; 0 if there are none",
            "ns",
        ),
        _n(
            "request_not_read_time",
            I64,
            "for a long request body: time during which the server did not read (its window was full, and smaller than "
            "before); null for other bodies",
            "ns",
        ),
        _flag("request_stops", "the body, of at most 1 KiB, names something that stops, cancels or aborts"),
        _c("interim", STATUSES, "status codes of the 1xx responses before the final one"),
        _c("interim_times", LIST64, "start time of each 1xx response", "ns"),
        _flag(
            "response_in_trailer",
            "the response ended with its last chunk: the connection closed before the empty line that must follow",
        ),
        _flag("persistent", "both messages leave the connection open (RFC 9112 section 9.3)"),
        _flag(
            "upgraded",
            "later bytes on the connection are not HTTP, after a 101, a 2xx to CONNECT, or a raw stream of Docker; or they "
            "were not read because too many requests were waiting",
        ),
        _flag(
            "pairing_assumed",
            "the response to the request, or its absence, is only assumed, because messages may be missing from the capture",
        ),
        _n("request_time", I64, "request end - request start", "ns"),
        _n("server_time", I64, "response start - request end, at least 0", "ns"),
        _n("response_time", I64, "response end - response start", "ns"),
        _c(
            "request_id",
            TEXT,
            "value of the first of X-Request-Id, X-Correlation-Id, X-Amzn-Trace-Id and traceparent in the request, else in the "
            "response; empty if it is not well-formed: 1 to 128 letters, digits and ._:/=;-",
        ),
        _n("previous_end", I64, "end of the previous exchange on the connection; null for the first", "ns"),
        _n(
            "previous_end_offset",
            I64,
            "offset in the server's stream just after the previous response; null if there was none",
            "bytes",
        ),
        _flag(
            "previous_announced_close",
            "the previous response on the connection announced the close: Connection: close, HTTP/1.0 without keep-alive, or "
            "a body that ends with the connection. Or the previous request did, and this request was sent before its response "
            "came",
        ),
        _c("endpoint", I64, "hash of the server's address and port, the same on all its connections"),
        # the connection, as of the time of the row
        _flag("last_on_connection", "no further request followed on the connection"),
        _flag("handshake", "SYN and SYN-ACK were captured"),
        _flag("both_directions", "packets of both directions were captured"),
        _flag(
            "gap_before",
            "bytes are missing on the connection so far (or the snap length cut off a header section or chunk framing)",
        ),
        _n("rtt_client", I64, "round trip from the capture point to the client", "ns"),
        _n("rtt_server", I64, "round trip from the capture point to the server", "ns"),
        _n("client_close_frame", I64, "first FIN of the client (its first RST if it sent no FIN)"),
        _n("client_close_time", I64, "time of `client_close_frame`", "ns"),
        _n("client_close_ack", I64, "offset in the server's stream up to which the client's close acknowledges data", "bytes"),
        _n("client_close_rst", I8, "1 if the client's close is an RST, 0 if it is a FIN"),
        _n("server_close_frame", I64, "first FIN of the server (its first RST if it sent no FIN)"),
        _n("server_close_time", I64, "time of `server_close_frame`", "ns"),
        _n("server_close_ack", I64, "offset in the client's stream up to which the server's close acknowledges data", "bytes"),
        _n("server_close_offset", I64, "offset of the server's close in the server's stream", "bytes"),
        _n("server_close_rst", I8, "1 if the server's close is an RST, 0 if it is a FIN"),
        _flag(
            "server_close_contradicted",
            "the server's stream continues after its FIN: the FIN was forged, or belongs to another connection",
        ),
        _n("server_rst_frame", I64, "first RST of the server, if it closed"),
        _n("server_rst_time", I64, "time of `server_rst_frame`", "ns"),
        _n(
            "server_rst_mac",
            I64,
            "MAC address, as a number, from which the server's RST without ACK flag came, if another machine than the sender of "
            "the SYN-ACK sent it",
        ),
        _n("client_rst_frame", I64, "first RST of the client, with or without a FIN before it"),
        _n("client_rst_time", I64, "time of `client_rst_frame`", "ns"),
        _n("client_rst_ack", I64, "offset in the server's stream up to which the client's RST acknowledges data", "bytes"),
        *_ARRIVED,
        _c("client_close_origin", TEXT, f"who sent the FIN or RST in client_close_frame: {CLOSE_ORIGINS}"),
        _c("server_close_origin", TEXT, f"who sent the FIN or RST in server_close_frame: {CLOSE_ORIGINS}"),
        _n("accepted_frame", I64, "the server's SYN-ACK; null if the SYN-ACK was repeated, or if the connection was not closed"),
        _n("accepted_time", I64, "time of the newest SYN-ACK; recorded only for closed connections, otherwise null", "ns"),
        _n(
            "last_payload_frame",
            I64,
            "newest payload of either side before the first FIN or RST; null if it was not acknowledged, or if the window had no "
            "room for more",
        ),
        _n("last_payload_time", I64, "time of `last_payload_frame`", "ns"),
        _n("last_payload_role", I8, "role of the sender of `last_payload_frame`: 0 client, 1 server"),
        _flag(
            "says_goodbye",
            "the connection was upgraded, and the last segment of the client or of the server ends with a WebSocket Close frame; "
            "the server's frame does not count if an RST followed it instead of a FIN",
        ),
        _c(
            "server_unanswered_probes",
            I32,
            "number of the server's keep-alive probes before its RST that the client has not answered; 0 if it sent no RST",
        ),
        _c("final_at", I64, "capture time of the state that the row describes", "ns"),
        _flag("at_capture_end", "the row was written only because the capture ended"),
    ),
    writer="core/rows/exchange_rows.py:ExchangeRows.write",
)

CLIENT_COLUMNS = (
    *("connection", "exchange", "request_frame", "request_start", "request_method", "request_host", "request_target"),
    *("request_user_agent", "request_forwarded", "request_forwarded_for", "request_navigation", "request_range_start"),
    *("request_event_source", "request_last_event_id", "request_stops"),
    "request_has_credentials",
    *("response_start", "response_status", "response_end", "response_end_reason", "response_body_due"),
)
"""The columns of EXCHANGES about the request, about when its response began and ended, and how long its body should be."""

_CLOSE = (
    *("last_on_connection", "client_close_frame", "client_close_time", "client_close_ack", "client_close_rst"),
    *("server_close_frame", "server_close_time", "server_close_ack", "server_close_offset", "server_close_rst"),
    *("server_close_contradicted", "server_rst_frame", "server_rst_time"),
    *("server_rst_mac", "client_rst_frame", "client_rst_time", "client_rst_ack", "client_close_origin", "server_close_origin"),
    *(c.name for c in _ARRIVED),
    *("accepted_frame", "accepted_time"),
    *("last_payload_frame", "last_payload_time", "last_payload_role", "says_goodbye"),
    *("server_unanswered_probes", "final_at", "at_capture_end"),
)
"""The columns of EXCHANGES about events after an exchange."""

STATE_COLUMNS = ("handshake", "both_directions", "gap_before", "rtt_client", "rtt_server")
"""The columns of EXCHANGES about the state of the connection.

STORED_EXCHANGES has each of them twice: as of the end of the exchange, and as of the close.
"""

_FINAL_AT = _c("final_at", I64, "capture time of the state that the row describes", "ns")

_AT_ITS_END = Table(
    "exchanges",
    "a request and its final response, as soon as the response is complete or can no longer become complete",
    (*(c for c in EXCHANGES.columns if c.name not in _CLOSE), _FINAL_AT),
)
_OF_CLOSES = {
    *("connection", "exchange", "has_request", "has_response", "persistent", "upgraded", "pairing_assumed", "endpoint"),
    *("previous_end", "previous_end_offset", "previous_announced_close", *STATE_COLUMNS, *_CLOSE),
    *("request_frame", "request_last_frame", "request_start", "request_end", "request_offset", "request_end_offset"),
    *("request_ack", "request_head_bytes", "request_body_bytes", "request_body_due", "request_end_reason", "request_has_gap"),
    *("request_method", "request_version", "request_connection_close", "request_expect_continue"),
    *("request_user_agent", "request_forwarded"),
    *("response_frame", "response_last_frame", "response_start", "response_end", "response_offset", "response_end_offset"),
    *("response_ack", "response_head_bytes", "response_body_bytes", "response_body_due", "response_end_reason"),
    *("response_has_gap", "response_last_body_time", "response_framing", "response_has_transfer_encoding"),
    *("response_status", "response_version", "response_content_type", "response_connection_close"),
    *("response_connection_keep_alive", "response_endless", "request_endless"),
    *("response_keep_alive_timeout", "response_keep_alive_max", "response_auth_scheme", "response_auth_token"),
    *("request_framing", "response_server", "response_upgrade", "response_application_pauses", "request_range_start"),
    *("response_chunks", "response_median_chunk", "response_in_trailer", "response_events", "response_end_mark"),
    *("response_api_format", "response_last_event", "response_first_shape", "response_longest_pause", "response_moments"),
    "request_accepts_events",
}

_AT_THE_CLOSE = Table(
    "closes",
    "an exchange with later events on its connection, written once these are known: at the next request, at a close, or at the "
    "end of the capture",
    tuple(c for c in EXCHANGES.columns if c.name in _OF_CLOSES),
)

STORED_EXCHANGES = Table(
    "exchanges",
    "a row of `exchanges` and its row of `closes` together",
    (
        *EXCHANGES.columns,
        replace(_FINAL_AT, name="finished_at"),
        *(replace(c, name=f"at_close_{c.name}") for c in EXCHANGES.columns if c.name in STATE_COLUMNS),
    ),
)
"""The stored row of an exchange. AT_ITS_END and AT_THE_CLOSE are its two views, which rules read."""


class ExchangeView(NamedTuple):
    """A view of STORED_EXCHANGES: its table, and the stored column for each column of the table."""

    table: Table
    columns: Mapping[str, str]

    def of(self, stored: Rows) -> Rows:
        """Return rows of STORED_EXCHANGES with only the columns of the view, under their names in the view."""
        if isinstance(stored, pl.LazyFrame):
            return stored.select(pl.col(name).alias(new) for new, name in self.columns.items())
        frame = stored[[*self.columns.values()]]  # for a few rows, a query takes longer than the work itself
        frame.columns = [*self.columns]
        return frame


AT_ITS_END = ExchangeView(_AT_ITS_END, {name: "finished_at" if name == "final_at" else name for name in _AT_ITS_END.schema})
"""The table `exchanges` of rules: each exchange as it was when it ended, or could no longer become complete."""

AT_THE_CLOSE = ExchangeView(
    _AT_THE_CLOSE, {name: f"at_close_{name}" if name in STATE_COLUMNS else name for name in _AT_THE_CLOSE.schema}
)
"""The table `closes` of rules: each exchange with what followed on its connection, up to the next request or the close."""

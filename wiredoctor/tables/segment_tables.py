"""The tables about segments and the bytes of streams: segments and pieces."""

from __future__ import annotations

from wiredoctor.tables.event_tables import CLOSURES, RECOVERIES
from wiredoctor.tables.table import I8, I32, I64, U8, U64, Table
from wiredoctor.tables.table import flag as _flag
from wiredoctor.tables.table import nullable as _n
from wiredoctor.tables.table import required as _c

SEGMENTS = Table(
    "segments",
    "a TCP packet, with facts from earlier packets of its connection; duplicate copies are left out",
    (
        _c("frame", I64, "number of the packet"),
        _c("time", I64, "timestamp", "ns"),
        _c("interface", I32, "index in the capture's list of interfaces"),
        _c("connection", I64, "connection id, equal to tcp.stream"),
        _c("direction", I8, "0: sent by the side that sent the connection's first packet; 1: the opposite direction"),
        _n("role", I8, "role of the sender: 0 client, 1 server; null while only ports and packet order suggest it"),
        _c("endpoint", I64, "hash of the server's address and port, equal on all its connections (as certain as `role`)"),
        _c("flags", U8, "control bits, FIN = 1 ... CWR = 128"),
        _c("offset", I64, "stream offset of the first payload byte (without payload: of the FIN)", "bytes"),
        _c("length", I32, "payload length on the network", "bytes"),
        _c("captured", I32, "payload length in the capture", "bytes"),
        _n("ack", I64, "offset in the peer's stream up to which data is acknowledged; null without the ACK flag", "bytes"),
        _n("window", I64, "announced window after scaling; null if the scale is unknown", "bytes"),
        _c("ip_id", I32, "IPv4 identification, -1 in IPv6"),
        _c("ttl", U8, "time to live or hop limit"),
        _c("link_hash", U64, "hash of the source and destination MAC address"),
        _c("encapsulation", U64, "hash of VLAN tags and tunnel headers"),
        _c("options_hash", U64, "hash of the option bytes"),
        _flag("has_timestamps", "the packet has the timestamps option"),
        _flag("sack", "the packet has SACK blocks"),
        _flag("dsack", "the packet reports by SACK that data arrived twice (D-SACK, RFC 2883)"),
        # kind
        _c("new_bytes", I32, "payload bytes that this side had not sent before", "bytes"),
        _flag("retransmission", "all of the payload (or SYN, FIN) was captured before, and the packet is not a keep-alive probe"),
        _flag(
            "fills_gap",
            "the packet has bytes that were missing below the highest byte captured: it is out of order, or a retransmission of "
            "a segment that was lost before the capture point",
        ),
        _flag("opens_gap", "the payload begins above the highest byte captured, so bytes are missing before it"),
        _flag("overlap", "part of the payload was captured before, part is new"),
        _flag(
            "keep_alive_probe",
            "keep-alive probe: 0 or 1 byte just below the highest sequence number sent (RFC 9293 section 3.8.4)",
        ),
        _flag("pure_ack", "pure ACK: no payload, SYN, FIN or RST"),
        _flag(
            "window_update",
            "window update: a pure ACK that acknowledges nothing new, or that makes room for a full segment again",
        ),
        _flag(
            "duplicate_ack",
            "duplicate ACK: a pure ACK that acknowledges nothing new and leaves the window unchanged, while data was in flight",
        ),
        _c("acked_bytes", I64, "number of bytes of the other direction that the packet newly acknowledges", "bytes"),
        _c(
            "acked_unseen",
            I64,
            "number of newly acknowledged bytes of the other direction that were not captured (ACKed unseen)",
            "bytes",
        ),
        _n(
            "ack_delay",
            I64,
            "time since the newest data that this ACK acknowledges, minus the round trip to the ACK's sender (may be negative)",
            "ns",
        ),
        _flag("zero_window", "the packet announces a window of 0 (not for SYN and RST)"),
        # sizes
        _c("mss", I32, "effective MSS of the sender before this segment", "bytes"),
        _flag("mss_announced", "the sender's SYN had the MSS option, or was not captured"),
        _flag("full", "full segment: the payload is at least the MSS"),
        _flag(
            "small",
            "payload below the MSS that does not fill the receiver's window; an offload super-segment counts if its end is small",
        ),
        _flag("small_start", "like `small`, but never true for an offload super-segment: its beginning is not small"),
        _c("in_flight_before", I64, "bytes sent by this side and not yet acknowledged, before this segment", "bytes"),
        _c("in_flight", I64, "bytes sent by this side and not yet acknowledged, after this segment", "bytes"),
        _n("window_room", I64, "room in the receiver's window before this segment; null while no window is known", "bytes"),
        # round trip as known before this packet
        _n("rtt_own", I64, "round trip from the capture point to this packet's sender, without this packet's own sample", "ns"),
        _n("rtt_peer", I64, "round trip from the capture point to this packet's receiver", "ns"),
        _flag("handshake", "SYN and SYN-ACK of the connection were captured earlier"),
        # the previous data segment of this side (D), and its pure ACK (K)
        _n("previous_data_frame", I64, "D, the previous data segment: the newest earlier segment with new data from this side"),
        _n("previous_data_time", I64, "time of the previous data segment", "ns"),
        _n("previous_data_end", I64, "stream offset after the previous data segment", "bytes"),
        _n("previous_data_length", I32, "payload length of the previous data segment", "bytes"),
        _flag("previous_data_full", "the previous data segment was full"),
        _flag("previous_data_small", "the previous data segment was small"),
        _flag("previous_data_push", "the previous data segment had PSH: its sender had no more data"),
        _flag("previous_data_last_in_flight", "the previous data segment ended at the highest byte that its side had sent"),
        _n("previous_data_room", I64, "room that the previous data segment left in the receiver's window", "bytes"),
        _n(
            "late",
            I64,
            "how much longer this packet was in transit than the previous data segment (D): the time between them, minus the "
            "advance of the sender's clock in their timestamps (RFC 7323), to within a tick; null if this clock is unknown",
            "ns",
        ),
        _n(
            "previous_ack_frame",
            I64,
            "K, the ACK of the previous data: the newest pure ACK of the peer since D that acknowledges new data and does "
            "not widen a short window",
        ),
        _n("previous_ack_time", I64, "time of the ACK K", "ns"),
        _n("previous_ack_ack", I64, "stream offset up to which the ACK K acknowledges data", "bytes"),
        _n("previous_ack_delay", I64, "delay of the ACK K: its `ack_delay`", "ns"),
        _n("previous_ack_bytes", I64, "`acked_bytes` of the ACK K: the bytes in flight when it arrived", "bytes"),
        _n(
            "previous_ack_interval",
            I64,
            "time to the ACK K from the previous pure ACK that acknowledged new data and did not widen a short window; null if "
            "K is the first of them",
            "ns",
        ),
        _flag("nothing_sent_since_ack", "this side sent nothing between the ACK K and this packet"),
        _flag("peer_data_since", "the peer sent payload between the previous data segment and this packet"),
        _flag("retransmission_since", "either side retransmitted between the previous data segment and this packet"),
        _flag(
            "window_short_since",
            "since the previous data segment, the receiver's window at some time had no room for a full segment",
        ),
        _flag("nagle_disabled", "packets up to this one prove that this side does not use Nagle's algorithm"),
        _c(
            "probe_frame",
            I64,
            "the peer's probe S that this packet newly acknowledges, together with the data segment D before it. Both are "
            "small, and D was alone in flight; S came at least 200 ms and a round trip after D, without retransmissions "
            "since. 0 for all other packets",
        ),
        # a time without progress (new data, or an ACK of new data) that a retransmission by the peer ended
        _flag(
            "ends_stall",
            "this is the first ACK of new data after R, a retransmission by the peer (or late first copy) of the missing "
            "segment; R came at least 50 ms after the last progress (or a lower configured threshold)",
        ),
        _n("stall_frame", I64, "packet with the last progress before the retransmission R"),
        *RECOVERIES.pick(
            *("stall_time", "retransmission_count", "stall_duplicate_acks", "first_retransmission_frame"),
            *("first_retransmission_time", "retransmitted_frame", "retransmitted_time", "retransmitted_bytes"),
            "retransmitted_late",
        ),
        # a closed window of the peer: 0, or less than one MSS if this is a full segment
        _flag(
            "after_closed_window",
            "this is the first new data of its side after the receiver opened a window that was closed for at least 20 ms "
            "(or a lower configured threshold)",
        ),
        *CLOSURES.pick("closed_frame", "closed_time", "closed_window"),
        _c("window_probes", I32, "number of probes of this side while the window was closed"),
        *CLOSURES.pick("window_probe_frame", "window_probe_time", "opened_frame", "opened_time"),
        # a run of small segments of its side, each within 20 ms of the previous one, without payload of the peer in between
        _c("small_run", I32, "position of this segment in its run of small segments; 0 if it does not continue a run"),
        _c("small_run_bytes", I64, "payload of the run of small segments up to this one", "bytes"),
        _n("small_run_frame", I64, "first segment of the run of small segments"),
        _n("small_run_time", I64, "time of `small_run_frame`", "ns"),
        # content
        _flag(
            "event_stream",
            "the packet has body bytes of a message that should arrive in parts: endless, or application/x-ndjson without a "
            "length",
        ),
        _flag("http", "the connection has carried HTTP so far"),
        _n("message", I64, "message of the first new byte; null if that byte is out of order or belongs to no message"),
        _n("exchange", I32, "index in the connection of the exchange of `message`; null until its head is complete"),
        _flag("in_body", "the new data includes bytes after the header section of its message"),
        _flag("ends_head", "the last byte of the packet is the last byte of a header section"),
        _flag("ends_message", "the last byte of the packet is the last byte of a message"),
        _n("previous_data_message", I64, "message of the last byte of the previous data segment"),
        _flag("previous_data_ends_head", "the previous data segment ended exactly at the end of a header section"),
        _flag("previous_data_ends_message", "the previous data segment ended exactly at the end of a message"),
        _flag(
            "message_incomplete", "when this packet was sent, its sender still had to send the rest of a message, or a response"
        ),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
    writer="core/rows/segment_rows.py:SegmentRecorder.write",
)

HTTP_COLUMNS = frozenset(
    {
        *("role", "endpoint", "mss", "full", "small", "small_start", "previous_data_full", "previous_data_small", "event_stream"),
        *("http", "message", "exchange", "in_body", "ends_head", "ends_message", "message_incomplete"),
        *("previous_data_message", "previous_data_ends_head", "previous_data_ends_message"),
    }
)
"""The columns of `segments` and `pieces` that need HTTP; TCP alone determines all others."""

PIECES = Table(
    "pieces",
    "bytes of a stream, from the packet in which they were first captured; joined in order of offset, all pieces are the "
    "stream that a side sent",
    (
        _c("connection", I64, "connection id"),
        _c("direction", I8, "direction in which the bytes were sent"),
        _n("role", I8, "role of the sender: 0 client, 1 server; null while only ports and packet order suggest it"),
        _c("frame", I64, "number of the packet"),
        _c("time", I64, "timestamp", "ns"),
        _c("offset", I64, "stream offset of the first byte", "bytes"),
        _c("length", I32, "number of bytes", "bytes"),
        _c("captured", I32, "number of bytes of the piece that were captured", "bytes"),
        _c("payload", I64, "position of the bytes, as in packets.payload", "bytes"),
    ),
    subject="segments",
    writer="core/rows/segment_rows.py:write_piece",
)

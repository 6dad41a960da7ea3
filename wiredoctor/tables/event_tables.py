"""The event tables, whose rows are limited by the cutoffs of rules: releases, recoveries, closures and others."""

from __future__ import annotations

from wiredoctor.tables.table import I8, I32, I64, TEXT, Table
from wiredoctor.tables.table import flag as _flag
from wiredoctor.tables.table import nullable as _n
from wiredoctor.tables.table import required as _c

_WHERE = (
    _c("connection", I64, "connection id, equal to tcp.stream"),
    _c("direction", I8, "direction of the packet: 0 if sent by the side that sent the connection's first packet, otherwise 1"),
)
_ROLE = _n("role", I8, "role of the packet's sender: 0 client, 1 server; null while only ports and packet order suggest it")
_EXCHANGE = _n(
    "exchange", I32, "index of the exchange in its connection; null until the header section of the message is complete"
)
_PACKET = (_c("frame", I64, "number of the packet"), _c("time", I64, "time of `frame`", "ns"))
_LENGTH = _c("length", I32, "payload length of the packet on the network", "bytes")
_HTTP = _flag("http", "the connection has carried HTTP so far")
_HANDSHAKE = _flag("handshake", "SYN and SYN-ACK of the connection were captured before the packet")
_MSS = _c("mss", I32, "effective MSS of the sender before the packet", "bytes")
_NAGLE = _flag("nagle_disabled", "earlier packets prove that the sender does not use Nagle's algorithm")
_RTT_OWN = _n("rtt_own", I64, "round trip from the capture point to the packet's sender, as known before the packet", "ns")
_RTT_PEER = _n("rtt_peer", I64, "round trip from the capture point to the packet's receiver, as known before the packet", "ns")
_OPENS_GAP = _flag("opens_gap", "the packet begins above the highest byte captured: bytes before it were not captured yet")

WRONG_CHECKSUMS = "2 that of an IP header, 3 that of TCP, 4 that of the UDP header of a tunnel; 0 none"
"""The values of columns that name a wrong checksum (core/capture/checksums.py)."""

RELEASES = Table(
    "releases",
    "a segment with new data (S) that may have waited for the ACK of earlier data or for a timer of its sender's TCP, or an ACK "
    "that shows that a timer sent a segment. D is the previous data segment of the sender of S, K the pure ACK of D",
    (
        *_WHERE,
        _ROLE,
        _c("endpoint", I64, "hash of the server's address and port, the same on all its connections"),
        _HTTP,
        _EXCHANGE,
        _n("message", I64, "message of the first new byte; null if that byte is out of order or belongs to no message"),
        _HANDSHAKE,
        _MSS,
        _flag("mss_announced", "the sender's SYN had the MSS option, or was not captured"),
        _c("first_frame", I64, "first packet of the connection; round trips were measured from this packet on"),
        _NAGLE,
        _n("previous_data_frame", I64, "D, the previous data segment of the sender of S"),
        _n("previous_data_time", I64, "time of `previous_data_frame`", "ns"),
        _n("previous_data_length", I32, "payload length of the previous data segment D", "bytes"),
        _flag("previous_data_full", "the previous data segment D was full"),
        _flag("previous_data_small", "the previous data segment D was small"),
        _n(
            "previous_data_room",
            I64,
            "room that the previous data segment D left in the receiver's window; null while no window is known",
            "bytes",
        ),
        _flag("previous_data_ends_head", "the previous data segment D ended exactly at the end of a header section"),
        _flag("previous_data_ends_message", "the previous data segment D ended exactly at the end of a message"),
        _n(
            "previous_ack_frame",
            I64,
            "K, the ACK of the previous data segment D; null if D was not acknowledged before this packet",
        ),
        _n("previous_ack_time", I64, "time of `previous_ack_frame`", "ns"),
        _n(
            "previous_ack_delay",
            I64,
            "delay of the ACK K: the time from the data segment D to K, minus the round trip to the sender of K",
            "ns",
        ),
        _n("previous_ack_bytes", I64, "number of bytes that the ACK K newly acknowledges: all bytes in flight", "bytes"),
        _n(
            "previous_ack_interval", I64, "time from the previous pure ACK of new data to the ACK K; null if K is the first", "ns"
        ),
        _flag("window_shrank", "in the ACK K or an earlier packet, the sender of K announced a smaller window than before"),
        *_PACKET,
        _LENGTH,
        _flag("unread", "the snap length cut off the bytes that show the packet's message and the message's end"),
        _flag("small_start", "as `small_start` in `segments`"),
        _flag("full", "full segment: the payload is at least the MSS"),
        _flag("ends_message", "the last byte of the packet is the last byte of a message"),
        _RTT_OWN,
        _RTT_PEER,
        _flag("event_stream", "the packet belongs to an event stream"),
        _flag("nagle_seen", "prompt ACKs released earlier small segments of the sender, so it uses Nagle's algorithm"),
        _n(
            "usual_gap",
            I64,
            "median of the recent times from a segment to the sender's next segment, if the first one was not held back and its "
            "ACK came promptly. Only times of 5 ms or more that are shorter than the time from the data segment D to S count; "
            "null if there are fewer than three, or if `nagle_seen`",
            "ns",
        ),
        _c(
            "probe_frame",
            I64,
            "the peer's probe, sent by a timer, that this packet newly acknowledges together with the peer's data segment "
            "before the probe; 0 if there is none",
        ),
        _c(
            "sort",
            TEXT,
            "how the segment S follows the ACK K: waited (immediately after a delayed K), prompt (immediately after a K without "
            "delay, so S shows how late such a segment is without waiting), probe (there is no K: a timer may have sent S), "
            "corked (S is the small end of a message, sent long after K: a timer may have sent S); or answers_probe (the packet "
            "only acknowledges the probe in probe_frame)",
        ),
        _c(
            "final_frame",
            I64,
            "packet that proves that the program that sent the segment S does not write at regular times; S itself if the data "
            "segment D is a header section or a full segment",
        ),
        _flag("pace_seen", "up to `final_frame`, no packets are missing that could show that data is sent at regular times"),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
    writer="core/tcp/releases.py:Releases.describe",
)

RECOVERIES = Table(
    "recoveries",
    "an ACK, or new data (see `acks_lost`), that shows that a retransmission (R) ended a time without progress. Progress is new "
    "data, or an ACK of new data",
    (
        *_WHERE,
        _ROLE,
        *_PACKET,
        _HTTP,
        _flag(
            "message_incomplete",
            "before the packet, its sender had to send the rest of a message, or a response; also true for payload that is "
            "not HTTP",
        ),
        _flag("dsack", "the packet reports by SACK that data arrived twice (D-SACK, RFC 2883)"),
        _c("new_bytes", I32, "number of payload bytes that were not captured before", "bytes"),
        _c("acked_unseen", I64, "number of newly acknowledged bytes of the peer that were not captured", "bytes"),
        _HANDSHAKE,
        _OPENS_GAP,
        _RTT_OWN,
        _RTT_PEER,
        _n(
            "stall_frame",
            I64,
            "packet with the last progress before the retransmission R; if the receiver discarded the data because its "
            "window was closed, the first copy after the window opened",
        ),
        _n("stall_time", I64, "time of `stall_frame`", "ns"),
        _c(
            "stall_duplicate_acks",
            I32,
            "number of duplicate ACKs from the last ACK of new data to the retransmission R (captured copies count once)",
        ),
        _c(
            "retransmission_count",
            I32,
            "number of retransmissions of the missing segment since the last progress, including the retransmission R",
        ),
        _n("first_retransmission_frame", I64, "first retransmission that `retransmission_count` counts"),
        _n("first_retransmission_time", I64, "time of `first_retransmission_frame`", "ns"),
        _n("retransmitted_frame", I64, "the retransmission R"),
        _n("retransmitted_time", I64, "time of `retransmitted_frame`", "ns"),
        _c("retransmitted_bytes", I32, "payload length of the retransmission R", "bytes"),
        _flag(
            "retransmitted_late",
            "the retransmission R is the first copy that was captured: an earlier copy was lost before the capture point",
        ),
        _flag(
            "spurious",
            "nothing was lost. Either the ACK's timestamps show that it answers the first copy, not a retransmission (RFC 3522). "
            "Or its D-SACK reports the first retransmission, and its sender had sent no data that was lost before the capture "
            "point",
        ),
        _flag("answers_retransmission", "timestamps show that the ACK was sent after the retransmission R had arrived"),
        _flag("syn_ack_again", "the server repeated its SYN-ACK during the stall, although the client had ACKed it"),
        _c(
            "lost_bytes",
            I32,
            "payload length of the largest retransmission before the retransmission R, not larger than the MSS; 0 if there is "
            "none",
            "bytes",
        ),
        _flag(
            "answer_lost",
            "the ACK begins above the highest byte captured: its sender sent an answer that was lost. False if the side that "
            "retransmitted had closed",
        ),
        _flag("peer_message_incomplete", "before the packet, its receiver had sent only the beginning of a message"),
        _flag(
            "acks_lost",
            "the packet is not an ACK, but new data of the side that retransmitted. The data that it had retransmitted had been "
            "acknowledged before, so the ACKs had not reached it until then",
        ),
        _n(
            "strange_sack_frame",
            I64,
            "the first packet of the sender with a SACK block outside the peer's stream: before its first byte, or beyond the "
            "window",
        ),
        _n("strange_sack_time", I64, "time of `strange_sack_frame`", "ns"),
        _c(
            "damaged_copies",
            I32,
            "number of copies of the missing data that arrived damaged: they have a wrong checksum, and the retransmission R has "
            "a correct one (or none, if those of the others are wrong in the UDP header of a tunnel)",
        ),
        _c("wrong_checksum", I8, f"which checksum of these copies is wrong: {WRONG_CHECKSUMS}"),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
    writer="core/rows/stall_rows.py:StallRows.write_recovery",
)

CLOSURES = Table(
    "closures",
    "the first segment with new data after its receiver's window was closed. Closed means that the window was 0, or "
    "that it was smaller than one MSS while this segment is full",
    (
        *_WHERE,
        _EXCHANGE,
        *_PACKET,
        _c("offset", I64, "stream offset of the first payload byte", "bytes"),
        _LENGTH,
        _HANDSHAKE,
        _HTTP,
        _flag("previous_data_ends_message", "the sender's previous data segment ended exactly at the end of a message"),
        _flag(
            "previous_data_last_in_flight",
            "the sender's previous data segment ended at the highest byte that the sender had sent",
        ),
        _flag("peer_data_since", "the receiver sent payload after the sender's previous data segment"),
        _OPENS_GAP,
        _flag("fills_gap", "the packet has bytes that were missing below the highest byte captured"),
        _RTT_OWN,
        _n("closed_frame", I64, "the receiver's packet that closed the window"),
        _n("closed_time", I64, "time of `closed_frame`", "ns"),
        _n("closed_window", I64, "window announced by `closed_frame`", "bytes"),
        _c("window_probes", I32, "number of probes of the sender while the window was closed"),
        _c("unanswered_probes", I32, "number of these probes after the receiver's last packet before `opened_frame`"),
        _n("window_probe_frame", I64, "first of the probes that `window_probes` counts"),
        _n("window_probe_time", I64, "time of `window_probe_frame`", "ns"),
        _n("opened_frame", I64, "the receiver's packet that opened the window"),
        _n("opened_time", I64, "time of `opened_frame`", "ns"),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
    writer="core/rows/stall_rows.py:StallRows.write_closure",
)

WINDOW_STALLS = Table(
    "window_stalls",
    "a window stall, or several in a row: a small or closed window stopped the sender, and no window update made it continue. "
    "The sender continued when its own timer expired, or never. Written when the sender continues without another stall, when "
    "the message ends, or when the connection or the capture ends",
    (
        *_WHERE,
        _c("frame", I64, "packet at which the stalls are known to have ended; otherwise the last packet of the connection"),
        _HTTP,
        _HANDSHAKE,
        _c(
            "sort",
            TEXT,
            "refused (the receiver discarded data and announced a window of 0, until a retransmission was acknowledged), "
            "timer (the window had no room for a full segment, until the sender's timer sent what fit), never_opened (the "
            "window was 0 when the connection or the capture ended)",
        ),
        _c("count", I32, "number of stalls that this row covers"),
        _c("waited", I64, "total time of the stalls", "ns"),
        _c("closed", I64, "part of `waited` with a window of 0", "ns"),
        _c("start_frame", I64, "the receiver's packet with which the first stall begins"),
        _c("start_time", I64, "time of `start_frame`", "ns"),
        _c("window", I64, "largest window during the stalls: 0, or less than one MSS", "bytes"),
        _c("window_probes", I32, "if `sort` is never_opened: number of the sender's probes of the closed window"),
        _n("window_probe_frame", I64, "first of the probes that `window_probes` counts"),
        _n("window_probe_time", I64, "time of `window_probe_frame`", "ns"),
        _c("copies", I32, "number of segments that were retransmitted while the window was closed"),
        _n("copy_frame", I64, "first retransmission while the window was closed, in the first stall"),
        _n("copy_time", I64, "time of `copy_frame`", "ns"),
        _n("opened_frame", I64, "packet that opened the window in the first stall"),
        _n("opened_time", I64, "time of `opened_frame`", "ns"),
        _n(
            "sent_frame",
            I64,
            "the segment with which the sender continued after the first stall: a retransmission, or one sent by its timer",
        ),
        _n("sent_time", I64, "time of `sent_frame`", "ns"),
        _c("sent_bytes", I32, "if `sort` is timer: payload length of `sent_frame`", "bytes"),
        _c("end_frame", I64, "packet that ends the last stall: an ACK, or a segment of the sender"),
        _c("end_time", I64, "time of `end_frame`", "ns"),
        _flag("message_complete", "the newest data of the sender ended exactly at the end of a message"),
        _n("sender_close_frame", I64, "first FIN or RST of the sender since the first stall began"),
        _n("sender_close_time", I64, "time of `sender_close_frame`", "ns"),
        _flag("sender_close_rst", "`sender_close_frame` is an RST"),
        _n(
            "unscaled_window",
            I64,
            "window of the receiver's SYN if it has no window scale option although the sender's SYN offers scaling; else null",
            "bytes",
        ),
        _n(
            "first_window",
            I64,
            "window of the receiver's first packet after its SYN, if that window has no room for a full segment; null if "
            "`unscaled_window` is null",
            "bytes",
        ),
        _n(
            "unscaled_flight",
            I64,
            "if `sort` is refused: the most bytes in flight while the window was 0, if the sender's SYN has no window scale "
            "option although the receiver's SYN offers scaling; else null",
            "bytes",
        ),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
    writer="core/tcp/window_stalls.py:WindowStalls.write",
)

RUNS = Table(
    "runs",
    "a small segment of a message that is one of many in a run, or that begins another message within a run. A run consists of "
    "small segments of one side, close to each other, without payload of the peer between them",
    (
        *_WHERE,
        _ROLE,
        _EXCHANGE,
        *_PACKET,
        _LENGTH,
        _HANDSHAKE,
        _MSS,
        _c("message", I64, "message of the first new byte; null if that byte is out of order or belongs to no message"),
        _n("previous_data_message", I64, "message in which the previous segment of the run ended"),
        _flag(
            "event_stream",
            "the packet has body bytes of a message that should arrive in parts, such as text/event-stream, or whose chunks were "
            "flushed on purpose so far",
        ),
        _NAGLE,
        _c("in_flight_before", I64, "number of bytes sent by this side and not yet acknowledged, before the packet", "bytes"),
        _RTT_OWN,
        _RTT_PEER,
        _c("small_run", I32, "number of segments of the run up to this one"),
        _c("small_run_bytes", I64, "payload of the segments of the run up to this one", "bytes"),
        _c("small_run_frame", I64, "first segment of the run"),
        _c("small_run_time", I64, "time of `small_run_frame`", "ns"),
        _c(
            "small_run_flushes",
            I32,
            "number of segments of the run that came 5 ms or more after the previous segment (after chunks of a body "
            "that is not an HTML page: 1.5 ms)",
        ),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
    writer="core/rows/stall_rows.py:StallRows.write_run",
)

CLOSE_ORIGINS = (
    "endpoint (the host in its source address), between (a device on the path), doubtful (its TTL suggests a device), or "
    "empty (unknown)"
)
"""The values of columns that say who sent a FIN or RST."""

UNACKNOWLEDGED = Table(
    "unacknowledged",
    "data, or a FIN, that its sender sent three times or more: the lowest unacknowledged data, or data that its sender repeated "
    "although it was acknowledged. Other rows are about missing data: neither a copy (`copies` is 0) nor an ACK was captured, "
    "but the sequence numbers of later packets show that the data was sent. Further rows are about keep-alive probes without an "
    "answer while a message was incomplete, or before their sender reset the connection, and about data that was answered with "
    "an RST for an unknown connection. Written when the data is acknowledged, or when the connection or the capture ends",
    (
        *_WHERE,
        _ROLE,
        _n("exchange", I32, "index of the exchange with the data; for a FIN or a probe, of the exchange that is unfinished"),
        _HTTP,
        _HANDSHAKE,
        _n("rtt_own", I64, "round trip from the capture point to the sender", "ns"),
        _n("rtt_peer", I64, "round trip from the capture point to the receiver", "ns"),
        _c(
            "length",
            I32,
            "payload length of the segment with the first copy; 0 for a FIN or a probe; without copies, all missing bytes",
            "bytes",
        ),
        _flag("fin", "a FIN without data is repeated"),
        _flag("keep_alive", "keep-alive probes (RFC 9293 section 3.8.4) that the receiver has not answered"),
        _flag("answers", "the newest payload before the first copy came from the receiver, so the data may answer it"),
        _flag("fin_follows", "a FIN of the sender follows directly after the data, in the same packet or a later one"),
        _flag("acknowledged_before", "an ACK of the data was captured before the second copy"),
        _c("copies", I32, "number of captured transmissions of the data, including the first; 0 if none"),
        _c("first_frame", I64, "packet with the first copy; without copies, the first packet that shows that the data was sent"),
        _c("first_time", I64, "time of `first_frame`", "ns"),
        _c("second_frame", I64, "packet with the second copy"),
        _c("second_time", I64, "time of `second_frame`", "ns"),
        _c("last_frame", I64, "packet with the last copy; without copies, the last packet that shows that the data was sent"),
        _c("last_time", I64, "time of `last_frame`", "ns"),
        _n(
            "acknowledged_frame",
            I64,
            "the ACK of the data; null if there is none, or if an ACK of the data was captured before the second copy",
        ),
        _c(
            "smallest_unacknowledged",
            I32,
            "length of the shortest segment of this direction that no ACK or SACK covers; without copies, the MSS",
            "bytes",
        ),
        _c(
            "largest_acknowledged",
            I32,
            "length of the longest segment of this direction that was acknowledged before (without copies: captured); 0 if "
            "there is none",
            "bytes",
        ),
        _n("sack_frame", I64, "the receiver's packet after the first copy whose SACK reports that later data arrived"),
        _n("sack_time", I64, "time of `sack_frame`", "ns"),
        _n("heard_frame", I64, "newest known packet of the receiver before the second copy"),
        _n("heard_time", I64, "time of `heard_frame`", "ns"),
        _n("peer_frame", I64, "newest packet of the receiver since the first copy; null if there is none"),
        _n("peer_time", I64, "time of `peer_frame`", "ns"),
        _flag("peer_unseen", "since the first copy, the sender acknowledged bytes of the receiver that were not captured"),
        _flag("peer_repeats", "the receiver, too, repeats acknowledged data, and goes on after a pure ACK of that data"),
        _flag("window_closed", "the last window announced by the receiver is 0"),
        _c(
            "rest",
            I64,
            "time without payload before the first copy, or before the message that the data answers. Without copies: before the "
            "receiver's close or, if it did not close, before the last packet that shows that the data was sent",
            "ns",
        ),
        _flag(
            "message_continued",
            "a part of the same message was acknowledged earlier, the receiver was in the middle of a message of its own, or "
            "the data is a FIN whose sender still had to receive the rest of a message",
        ),
        _flag("message_owed", "the data is a FIN or a probe whose sender still had to receive the rest of a message"),
        _n("own_close_frame", I64, "first FIN of the sender (its first RST if it sent no FIN)"),
        _n("own_close_time", I64, "time of `own_close_frame`", "ns"),
        _flag("own_close_rst", "`own_close_frame` is an RST"),
        _c("own_close_origin", TEXT, f"who sent `own_close_frame`: {CLOSE_ORIGINS}"),
        _n("peer_close_frame", I64, "first FIN of the receiver (its first RST if it sent no FIN)"),
        _n("peer_close_time", I64, "time of `peer_close_frame`", "ns"),
        _flag("peer_close_rst", "`peer_close_frame` is an RST"),
        _c("peer_close_origin", TEXT, f"who sent `peer_close_frame`: {CLOSE_ORIGINS}"),
        _flag(
            "peer_rst_unknown",
            "the receiver answered with an RST for an unknown connection: without ACK flag, with the sequence number that "
            "the copies acknowledge",
        ),
        _c(
            "bare",
            I32,
            "number of retransmissions or probes without the timestamps option, although both SYNs had it (RFC 7323 section 3.2)",
        ),
        _n(
            "reset_mac",
            I64,
            "MAC address, as a number, from which the receiver's RST without ACK flag came, if another machine than the sender "
            "of its SYN sent it",
        ),
        _n("icmp_frame", I64, "packet with an ICMP or ICMPv6 error that quotes the data, or later data from the same sender"),
        _n("icmp_time", I64, "time of `icmp_frame`", "ns"),
        _c("icmp_router", TEXT, "address of the sender of `icmp_frame`"),
        _c("icmp_type", I32, "type of the ICMP error"),
        _c("icmp_code", I32, "code of the ICMP error"),
        _n("icmp_mtu", I64, "MTU that the ICMP error reports", "bytes"),
        _c(
            "damaged_copies",
            I32,
            "number of copies if all of them arrived damaged: they have wrong checksums, and packets of the sender without "
            "payload have correct ones; otherwise 0",
        ),
        _c("wrong_checksum", I8, f"which checksum of the copies is wrong: {WRONG_CHECKSUMS}"),
        _c("frame", I64, "packet that ends the repetition: the ACK, or the last copy"),
        _c("time", I64, "capture time of the state that the row describes", "ns"),
    ),
    subject="segments",
    at_packet=True,
    exchange_by_time=True,
    writer="core/tcp/unacknowledged.py:Repetitions.write",
)

LIMITED_COLUMNS = (
    _n("receive_window", I64, "time limited by the receiver's window, which was full", "ns"),
    _n("send_buffer", I64, "time limited by the sender's buffer: the bytes in flight stayed at a ceiling below the window", "ns"),
    _n("loss", I64, "time limited by losses, until they were repaired", "ns"),
    _n(
        "application", I64, "time limited by the applications: the sender had nothing to send, or the receiver did not read", "ns"
    ),
    _n("not_read", I64, "part of the applications' time due to the receiver: its window was full, and smaller than before", "ns"),
    _n("path", I64, "remaining time: slow start, congestion control, bandwidth", "ns"),
)

TRANSFERS = Table(
    "transfers",
    "the last packet of a message body that took at least 1 s (or a lower configured threshold) and 40 segments. The row says "
    "what limited the transfer: its time, from the first to the last packet of the body, is divided into round trips, and each "
    "round trip is attributed entirely to one limit. All times are those at the sender",
    (
        *_WHERE,
        _ROLE,
        _EXCHANGE,
        *_PACKET,
        _c("length", I64, "length of the body, without chunk framing", "bytes"),
        _c("first_frame", I64, "first packet with body bytes"),
        _c("start", I64, "time of `first_frame`", "ns"),
        _HANDSHAKE,
        _flag("has_gap", "bytes of the body are missing in the capture"),
        _flag(
            "uncertain_way",
            "the round trip to the sender varies: it was more than a tenth shorter than measured, so it is uncertain which ACKs "
            "had reached the sender",
        ),
        *(c for c in LIMITED_COLUMNS if c.name != "not_read"),
        _c("rtt", I64, "round trip between the two ends of the connection", "ns"),
        _n(
            "ceiling", I64, "bytes in flight in most round trips; null if the size of the send buffer never limited them", "bytes"
        ),
        _c("in_flight", I64, "maximum of the bytes in flight", "bytes"),
        _c("in_flight_frame", I64, "segment at which the bytes in flight reached `in_flight`"),
        _c("in_flight_time", I64, "time of `in_flight_frame`", "ns"),
        _n("largest_window", I64, "largest window that the receiver announced; null while the scale is unknown", "bytes"),
        _n("window", I64, "largest window that was full; null if no window was", "bytes"),
        _n("window_frame", I64, "the ACK that announced the window in `window`; null if it came before the body was tracked"),
        _n("window_time", I64, "time of `window_frame`", "ns"),
        _n("filled_frame", I64, "the segment that filled the window in `window`"),
        _n("filled_time", I64, "time of `filled_frame`", "ns"),
        _n("scaling_own", I8, "1 if the SYN of the sender offers window scaling (RFC 7323), 0 if not; null if it is unknown"),
        _n("scaling_peer", I8, "1 if the SYN of the receiver offers window scaling (RFC 7323), 0 if not; null if it is unknown"),
        _n("syn_own_frame", I64, "packet with the SYN of the sender"),
        _n("syn_own_time", I64, "time of `syn_own_frame`", "ns"),
        _n("syn_peer_frame", I64, "packet with the SYN of the receiver"),
        _n("syn_peer_time", I64, "time of `syn_peer_frame`", "ns"),
    ),
    at_packet=True,
    writer="core/http1/transfers.py:write",
)

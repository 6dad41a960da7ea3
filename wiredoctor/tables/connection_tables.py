"""The tables about connections, about closes that may come from a device between the hosts, and about gateways."""

from __future__ import annotations

from wiredoctor.tables.event_tables import WRONG_CHECKSUMS
from wiredoctor.tables.table import I8, I32, I64, TEXT, Table
from wiredoctor.tables.table import flag as _flag
from wiredoctor.tables.table import nullable as _n
from wiredoctor.tables.table import required as _c

PROTOCOLS = ("none", "http", "tls", "http2", "unknown")
"""The protocols of a connection; "none" if no payload was captured."""

CONNECTIONS = Table(
    "connections",
    "a TCP connection; if its ports are used again with another initial sequence number, that is a new connection",
    (
        _c("connection", I64, "connection id, equal to tcp.stream"),
        _c("client", TEXT, "client endpoint, address:port"),
        _c("server", TEXT, "server endpoint, address:port"),
        _c("client_host", TEXT, "client address without the port"),
        _c("client_direction", I8, "direction in which the client sends, 0 or 1"),
        _c("packets", I64, "number of packets in both directions, without duplicate copies"),
        _c("duplicates", I64, "number of duplicate copies of packets, which were left out"),
        _n("duplicate_frame", I64, "first of the duplicate copies"),
        _n("duplicate_time", I64, "time of `duplicate_frame`", "ns"),
        _n("duplicate_first_frame", I64, "packet of which `duplicate_frame` is a copy"),
        _n(
            "duplicate_difference",
            I8,
            "how `duplicate_frame` differs from its original: 0 not at all, 1 interface, 2 link-layer addresses, "
            "3 time to live, 4 encapsulation, 5 the clock of another host",
        ),
        _n("translated_client", TEXT, "`client` after address translation (NAT), if the connection was captured there, too"),
        _n("translated_server", TEXT, "`server` after address translation (NAT), if the connection was captured there, too"),
        _n("translated_time", I64, "time of the first SYN captured after address translation, if timestamps identify it", "ns"),
        _c(
            "conflicts",
            I64,
            "number of packets whose bytes differ from those of an earlier packet with the same sequence numbers",
        ),
        _n("conflict_frame", I64, "first packet that `conflicts` counts"),
        _n("conflict_time", I64, "time of `conflict_frame`", "ns"),
        _n("conflict_first_frame", I64, "earlier packet that `conflict_frame` contradicts"),
        _c("client_packets", I64, "number of packets from the client"),
        _c("server_packets", I64, "number of packets from the server"),
        _c("client_bytes", I64, "payload bytes from the client, each counted once", "bytes"),
        _c("server_bytes", I64, "payload bytes from the server, each counted once", "bytes"),
        _c("first_frame", I64, "first packet of the connection"),
        _c("last_frame", I64, "last packet of the connection"),
        _c("start", I64, "time of the first packet", "ns"),
        _c("end", I64, "time of the last packet", "ns"),
        _flag("handshake", "SYN and SYN-ACK were captured"),
        _n("rtt_client", I64, "round trip from the capture point to the client", "ns"),
        _n("rtt_server", I64, "round trip from the capture point to the server", "ns"),
        _n(
            "client_ticks",
            I64,
            "number of ticks of the client's clock (TSval, RFC 7323) from its first to its newest data; null if there are no two "
            "timestamps at least 20 ms apart",
        ),
        _n("client_tick_time", I64, "time in the capture during which `client_ticks` passed", "ns"),
        _n("server_ticks", I64, "the same as `client_ticks`, for the server"),
        _n("server_tick_time", I64, "time in the capture during which `server_ticks` passed", "ns"),
        _c("syns", I32, "number of SYNs of the client until it acknowledged a SYN-ACK"),
        _n("syn_frame", I64, "first SYN of the client"),
        _n("syn_time", I64, "time of `syn_frame`", "ns"),
        _n("second_syn_time", I64, "time of the second SYN, which repeats the first", "ns"),
        _n("third_syn_time", I64, "time of the third SYN", "ns"),
        _n("last_syn_frame", I64, "last SYN of the client"),
        _n("last_syn_time", I64, "time of `last_syn_frame`", "ns"),
        _flag("syn_ecn_or_data", "the first SYN requested ECN or had data"),
        _n("first_answer_frame", I64, "the first SYN-ACK of the server"),
        _n("first_answer_time", I64, "time of `first_answer_frame`", "ns"),
        _n("newest_answer_frame", I64, "the last SYN-ACK before the client acknowledged a SYN-ACK"),
        _n("newest_answer_time", I64, "time of `newest_answer_frame`", "ns"),
        _n("answered_syn_frame", I64, "last SYN before `newest_answer_frame`"),
        _n("answered_syn_time", I64, "time of `answered_syn_frame`", "ns"),
        _flag("answered_syn_ecn_or_data", "`answered_syn_frame` requested ECN or had data"),
        _flag(
            "answer_echoes_first_syn",
            "`newest_answer_frame` echoes the timestamp (RFC 7323) of the first SYN, and not that of `answered_syn_frame`",
        ),
        _flag("connected", "the client acknowledged a packet from the server"),
        _n("refused_frame", I64, "the first RST in reply to a SYN, before any SYN-ACK"),
        _n("refused_time", I64, "time of `refused_frame`", "ns"),
        _n("answer_ttl", I32, "time to live of the packet in `first_answer_frame` or, without one, in `refused_frame`"),
        _n("syn_error_frame", I64, "the first ICMP error that quotes a SYN of the client (RFC 792, RFC 4443)"),
        _n("syn_error_time", I64, "time of `syn_error_frame`", "ns"),
        _n("syn_error_router", TEXT, "address of the sender of `syn_error_frame`: a router, or the server"),
        _n("syn_error_type", I32, "type of the ICMP error in `syn_error_frame`"),
        _n("syn_error_code", I32, "code of the ICMP error in `syn_error_frame`"),
        _n(
            "data_rtt",
            I64,
            "round trip between both ends measured from data, without the handshake; null unless the SYN was repeated",
            "ns",
        ),
        _c(
            "client_unseen_bytes",
            I64,
            "number of the client's bytes that the server acknowledged but that were not captured",
            "bytes",
        ),
        _c(
            "server_unseen_bytes",
            I64,
            "number of the server's bytes that the client acknowledged but that were not captured",
            "bytes",
        ),
        _c("client_unacknowledged", I64, "number of the client's payload bytes that the server has not acknowledged", "bytes"),
        _c("server_unacknowledged", I64, "number of the server's payload bytes that the client has not acknowledged", "bytes"),
        _c("acked_unseen_count", I64, "number of ACKs that were the first to acknowledge bytes that were not captured"),
        _n("unseen_frame", I64, "the first ACK that `acked_unseen_count` counts"),
        _n("unseen_time", I64, "time of `unseen_frame`", "ns"),
        _c(
            "unsent_bytes",
            I64,
            "number of bytes that were acknowledged but not captured, although a later ACK of their sender shows that they were "
            "never sent",
            "bytes",
        ),
        _n("unsent_frame", I64, "the ACK of the bytes in `unsent_bytes`"),
        _n("unsent_time", I64, "time of `unsent_frame`", "ns"),
        _n("unsent_later_frame", I64, "the later ACK, whose sequence number lies below the bytes in `unsent_bytes`"),
        _n("unsent_later_time", I64, "time of `unsent_later_frame`", "ns"),
        _n("reuse_frame", I64, "first packet of the connection, if its ports were used before and its SYN is missing"),
        _n("reuse_time", I64, "time of `reuse_frame`", "ns"),
        _n(
            "late_answer_frame",
            I64,
            "a SYN-ACK that came after the client had acknowledged another one: the last that came before any payload "
            "or, if none did, the first",
        ),
        _n("late_answer_time", I64, "time of `late_answer_frame`", "ns"),
        _n(
            "challenge_frame",
            I64,
            "the first ACK that answered a SYN of the client without acknowledging it, before any SYN-ACK: the server still knew "
            "an earlier connection on these ports (RFC 5961 section 4)",
        ),
        _n("challenge_time", I64, "time of `challenge_frame`", "ns"),
        _flag("client_checksums", "packets of the client without payload have correct checksums"),
        _c("damaged_syns", I32, "number of the client's SYNs with a wrong checksum"),
        _c("damaged_syn_acks", I32, "number of the server's SYN-ACKs with a wrong checksum"),
        _c("wrong_checksum", I8, f"which checksum of the newest of these SYNs and SYN-ACKs is wrong: {WRONG_CHECKSUMS}"),
        _c(
            "altered",
            I64,
            "number of packets that the capture changed: all payload of both sides has wrong checksums, although other packets "
            "of the same hosts have correct ones, and the payload was acknowledged; 0 if that is not so",
        ),
        _n("altered_frame", I64, "first packet with payload of a side whose first packets with payload have wrong checksums"),
        _n("altered_time", I64, "time of `altered_frame`", "ns"),
        _flag("one_sided", "only one side's packets were captured, although these acknowledge packets of the other side"),
        _c("super_segments", I64, "number of segments longer than the MSS that their receiver announced"),
        _n("super_frame", I64, "first segment that `super_segments` counts"),
        _n("super_time", I64, "time of `super_frame`", "ns"),
        _n("super_mss", I32, "MSS that the receiver of `super_frame` announced", "bytes"),
        _c("protocol", TEXT, "protocol: http, tls, http2, unknown (other payload) or none (no payload)"),
        _c(
            "history",
            TEXT,
            "one letter per kind of packet in order of first occurrence, upper case from the client: "
            "S SYN, H SYN-ACK, A ACK, D data, F FIN, R RST, G a gap, T retransmission, W zero window",
        ),
        _c(
            "closed_by",
            TEXT,
            "who closed first: client, server or both (neither had acknowledged the other's close); empty while open",
        ),
        _c(
            "close",
            TEXT,
            "how the connection was closed: fin, or rst (the side that closed sent an RST without a FIN before it); empty while "
            "open",
        ),
        _n("server_rst_offset", I64, "offset of the server's first RST in the server's stream", "bytes"),
        _n(
            "server_rst_ack",
            I64,
            "offset in the client's stream up to which the server's first RST acknowledges data; null without ACK flag",
            "bytes",
        ),
        _c("exchanges", I64, "number of exchanges on the connection"),
        _c("cut_heads", I64, "number of packets that the snap length cut off inside heads or chunk framing of HTTP"),
        _n("cut_frame", I64, "first packet that `cut_heads` counts"),
        _n("cut_time", I64, "time of `cut_frame`", "ns"),
        _c(
            "client_opening",
            TEXT,
            "protocol of the client's first bytes: http, tls, tls-alert, http2, proxy-header (PROXY protocol) or other; empty if "
            "they are not known",
        ),
        _n("client_opening_frame", I64, "packet with the client's first bytes"),
        _n("client_opening_time", I64, "time of `client_opening_frame`", "ns"),
        _c(
            "server_opening",
            TEXT,
            "as `client_opening`, for the server; http-rejects: a response with status 400, 501 or 505; https-expected: a 400 "
            "that says that the port expects TLS; html: a page of HTML without a status line",
        ),
        _n("server_opening_frame", I64, "packet with the server's first bytes"),
        _n("server_opening_time", I64, "time of `server_opening_frame`", "ns"),
        _c(
            "tls_version",
            TEXT,
            "TLS version that the server chose (without its hello, the highest version offered); empty without any hello",
        ),
        _c("server_name", TEXT, "server name in the ClientHello (SNI)"),
        _c("alpn_offered", TEXT, "protocols that the ClientHello offers (ALPN), separated by commas"),
        _c("alpn_chosen", TEXT, "the protocol in the ServerHello (up to TLS 1.2; later versions encrypt it)"),
        _c("cipher_suite", TEXT, "cipher suite that the server chose: its IANA name, or `0xNNNN`; empty if unknown"),
        _flag("resumed", "the server resumed an earlier TLS session"),
        _flag("encrypted_hello", "a part of the ClientHello is encrypted (ECH): the name may be just that of a front end"),
        _c("final_at", I64, "capture time of the state that the row describes", "ns"),
    ),
    subject="connections",
    writer="core/rows/connection_rows.py:ConnectionRows.write",
)

FOREIGN_CLOSES = Table(
    "foreign_closes",
    "a FIN or RST that, as at least two pieces of evidence show, was not sent by the host in its source address. The row is "
    "written when it is known what the packet ended. Only the first RST of a side counts, together with those within 20 ms "
    "that have the same time to live",
    (
        _c("connection", I64, "connection id"),
        _n("exchange", I32, "index of the exchange that the FIN or RST ended or followed; null on a connection without HTTP"),
        _c("sender", TEXT, "client or server: the host in the source address"),
        _flag("rst", "an RST, not a FIN"),
        _flag("ack_flag", "the FIN or RST has the ACK flag"),
        _c("frame", I64, "packet with the FIN or RST"),
        _c("time", I64, "time of `frame`", "ns"),
        _n("reached", I64, "highest stream offset that the side had sent before an RST", "bytes"),
        _n("ttl", I32, "time to live of the FIN or RST, if it differs by more than 2 from that of all other packets of its side"),
        _n("lowest_ttl", I32, "smallest time to live of the other packets of the side; null if `ttl` is null"),
        _n("highest_ttl", I32, "largest time to live of the other packets of the side; null if `ttl` is null"),
        _n(
            "ip_id",
            I32,
            "IP identification of the FIN or RST, if it does not fit the earlier packets of its side; otherwise null",
        ),
        _n("last_ip_id", I32, "previous IP identification of the side; null if `ip_id` is null"),
        _n("peer_ip_id", I32, "IP identification of the peer's last packet before the FIN or RST, if `ip_id` is not null"),
        _flag(
            "goes_on",
            "the side continues with data at or above the sequence number of the FIN or RST, with a SYN-ACK, or, a second or "
            "more after its RST, with any data or a FIN",
        ),
        _n("later_frame", I64, "first packet after an RST with which the side continues (see `goes_on`)"),
        _n("later_time", I64, "time of `later_frame`", "ns"),
        _n("trigger_time", I64, "time of the packet that triggered the FIN or RST, less than half of `rtt` earlier", "ns"),
        _n("rtt", I64, "round trip from the capture point to the host in the source address; null without `trigger_time`", "ns"),
        _flag("no_timestamps", "a FIN without the timestamps option that both SYNs negotiated"),
        _n("ahead", I64, "how far the packet's sequence number is above the next expected byte, inside the window", "bytes"),
        _n(
            "refusal_frame",
            I64,
            "the peer's ACK in response to an RST that is `ahead` (RFC 5961, challenge ACK); it does not cover the bytes before "
            "the RST, so these never arrived",
        ),
        _n("refusal_time", I64, "time of `refusal_frame`", "ns"),
        _c("client_bytes", I64, "payload of the client before the FIN or RST", "bytes"),
        _c("server_bytes", I64, "payload of the server before the FIN or RST", "bytes"),
    ),
    subject="connections",
    writer="core/tcp/origins.py:ForeignCloses.write",
)

HANDSHAKES = Table(
    "handshakes",
    "the TLS handshake of a connection whose first bytes are a ClientHello, written when the connection is over. Without keys, "
    "encrypted messages are known by the type, length and place of their records",
    (
        _c("connection", I64, "connection id"),
        _c("tls_version", TEXT, "as in `connections`"),
        _c("cipher_suite", TEXT, "as in `connections`"),
        _flag("resumed", "as in `connections`"),
        _c("server_name", TEXT, "server name in the ClientHello (SNI)"),
        _c("alpn_offered", TEXT, "protocols that the ClientHello offers (ALPN), separated by commas"),
        _c("versions_offered", TEXT, "TLS versions that the ClientHello offers, newest first, separated by commas"),
        _c("suites_offered", I32, "number of cipher suites that the ClientHello offers"),
        _flag("tunneled", "TLS begins after a successful CONNECT, so the other end is behind a proxy"),
        _flag("session_offered", "the ClientHello offers a session ticket or a pre-shared key"),
        _c("shares_offered", TEXT, "groups of the key shares in the ClientHello, separated by commas"),
        _n("retry_frame", I64, "packet with the end of a HelloRetryRequest"),
        _n("retry_time", I64, "time of `retry_frame`", "ns"),
        _c("retry_group", TEXT, "group that the HelloRetryRequest asks for; empty without one"),
        _n("second_hello_time", I64, "time of the end of the ClientHello after the HelloRetryRequest", "ns"),
        _n("client_hello_frame", I64, "packet with the end of the ClientHello"),
        _n("client_hello_time", I64, "time of `client_hello_frame`", "ns"),
        _c("hello_bytes", I64, "size of the ClientHello, with the headers of its records", "bytes"),
        _n(
            "client_acknowledged",
            I64,
            "number of bytes since TLS began up to which the server acknowledged data",
            "bytes",
        ),
        _n("server_hello_frame", I64, "packet with the end of the ServerHello, or of a HelloRetryRequest"),
        _n("server_hello_time", I64, "time of `server_hello_frame`", "ns"),
        _n("flight_frame", I64, "packet with the end of the server's newest handshake message"),
        _n("flight_time", I64, "time of `flight_frame`", "ns"),
        _n("answered_frame", I64, "packet with the end of the server's messages to which the client replied in `reply_frame`"),
        _n("answered_time", I64, "time of `answered_frame`", "ns"),
        _n(
            "reply_frame",
            I64,
            "packet with the end of the client's first record after that, except a ChangeCipherSpec",
        ),
        _n("reply_time", I64, "time of `reply_frame`", "ns"),
        _n("certificate_sha256", TEXT, "SHA-256 of the server's certificate, in hexadecimal; null if it is encrypted"),
        _n("valid_from", I64, "time from which the certificate and all intermediate certificates are valid", "ns"),
        _n("valid_until", I64, "time until which the certificate and all intermediate certificates are valid", "ns"),
        _n("certificate_issued", I64, "time from which the certificate itself is valid", "ns"),
        _n("certificate_names", TEXT, "up to three names in the certificate, separated by commas"),
        _n("certificate_name_count", I32, "number of names in the certificate"),
        _n("names_match", I8, "1: the certificate covers `server_name`, 0: it does not"),
        _n("certificate_issuer", TEXT, "issuer of the last certificate that the server sent"),
        _n("chain_length", I32, "number of certificates that the server sent"),
        _flag("self_signed", "the last of these certificates is self-signed"),
        _flag("ticket", "the server issued a session ticket; in TLS 1.3: two records of one length after the client's Finished"),
        _flag("client_changed", "the client sent a ChangeCipherSpec"),
        _n("client_finished_frame", I64, "packet with the client's Finished"),
        _n("client_finished_time", I64, "time of `client_finished_frame`", "ns"),
        _flag(
            "certificate_asked",
            "the server asked for a certificate of the client: its CertificateRequest or, in TLS 1.3, a record of the client "
            "before its Finished shows that",
        ),
        _flag(
            "complete",
            "both sides sent their Finished; in TLS 1.3 the client did and, if the server had asked for a certificate, the "
            "server then sent something else than an alert",
        ),
        _flag("client_content", "the client sent application data"),
        _flag(
            "server_content", "the server sent application data; in TLS 1.3: a record after that of the client, except an alert"
        ),
        _flag("lost", "the records could not be followed: bytes are missing, or their meaning is unknown"),
        _c("server_bytes", I64, "payload bytes from the server", "bytes"),
        _n("accepted_time", I64, "time of the server's SYN-ACK", "ns"),
        _flag("connected", "the client acknowledged a packet from the server"),
        _flag("one_sided", "as in `connections`"),
        _n("rtt_client", I64, "round trip from the capture point to the client", "ns"),
        _n("rtt_server", I64, "round trip from the capture point to the server", "ns"),
        _c("ended_by", TEXT, "client or server: the side of the first fatal alert, close_notify, FIN or RST; empty if none"),
        _c("ended_how", TEXT, "alert, close-notify, fin or rst; an alert that crossed the other side's close goes before it"),
        _n("alert", I32, "number of the alert; null if it is encrypted"),
        _n("ended_frame", I64, "packet with that alert or close"),
        _n("ended_time", I64, "time of `ended_frame`", "ns"),
        _n("ended_ack", I64, "offset in the peer's stream that the FIN or RST acknowledges", "bytes"),
        _c("final_at", I64, "capture time of the state that the row describes", "ns"),
    ),
    subject="connections",
    writer="core/rows/handshake_rows.py:HandshakeRows.write",
)

TRIES = Table(
    "tries",
    "an attempt by a gateway to serve a client's exchange, if the capture has both sides of the gateway: a request that it "
    "forwarded to a server, or an attempt to connect (a connection that it opened for the exchange and that carried no request)",
    (
        _c("front_connection", I64, "connection id of the client's exchange with the gateway"),
        _c("front_exchange", I32, "index of the client's exchange in its connection"),
        _c("connection", I64, "connection id of the gateway's connection to a server"),
        _n("exchange", I32, "index of the exchange with the server; null for an attempt to connect"),
        _flag(
            "certain",
            "it is certain that the attempt belongs to this exchange; otherwise the exchange is one of several possible ones",
        ),
        _c("started", I64, "start of the attempt: first byte of the request, or first SYN", "ns"),
    ),
)

FRONTS = Table(
    "fronts",
    "an endpoint of a gateway to which clients connect, together with one of the servers behind the gateway",
    (
        _c("server", TEXT, "endpoint of the gateway, address:port"),
        _c("behind", TEXT, "endpoint of the server behind the gateway, address:port"),
    ),
)

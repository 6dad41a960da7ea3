"""What users see of a fault that shows no message of its own, what it means on the wire, and the rules that explain it.

Words that belong to one rule alone, whatever else is said, are in searches.py.
"""

from __future__ import annotations

from typing import NamedTuple

GAP = "..."
"""Stands for hosts, ports and the like inside a message."""


class Message(NamedTuple):
    """Words of users and programs, what they mean on the wire, and the rules to look at, likeliest first; none where
    wiredoctor does not judge that."""

    said: tuple[str, ...]
    means: str
    rules: tuple[str, ...]


MESSAGES = (
    Message(
        ("Connection timed out", "ETIMEDOUT", "errno 110", "10060", "WSAETIMEDOUT"),
        "what was sent was never acknowledged, or the SYN not answered",
        ("unanswered", "connect-failed", "connect-retry", "retransmission-stall"),
    ),
    Message(
        ("context deadline exceeded", "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"),
        "no head of a response came in time",
        ("slow-response", "unanswered", "connect-failed", "client-abort"),
    ),
    Message(
        ("read timed out", "ReadTimeout", "SocketTimeoutException: Read timed out", "ESOCKETTIMEDOUT"),
        "the client gave up while a response was due",
        ("unanswered", "slow-response", "client-abort", "zero-window-stall"),
    ),
    Message(
        (
            *("connect timed out", "ConnectTimeout", "connection attempt timed out", "i/o timeout (dial tcp)"),
            *("dial tcp ... i/o timeout", "UND_ERR_CONNECT_TIMEOUT"),
        ),
        "the SYN was not answered",
        ("connect-failed", "connect-retry"),
    ),
    Message(
        (
            *("No route to host", "EHOSTUNREACH", "Network is unreachable", "ENETUNREACH", "Host unreachable"),
            "administratively prohibited",
        ),
        "an ICMP error quotes the SYN, or nobody answered to ARP",
        ("connect-failed",),
    ),
    Message(
        (
            *("hangs with large requests", "small requests work", "MTU", "PMTUD", "black hole", "fragmentation needed"),
            *("MSS clamping", "ping works but curl hangs"),
        ),
        "full segments are never acknowledged",
        ("unanswered",),
    ),
    Message(
        (
            *("NAT", "conntrack", "idle connection dropped", "firewall timeout", "works after reconnect"),
            *("first request after a pause fails", "350 seconds", "4 minutes"),
        ),
        "something on the way forgot the connection",
        ("unanswered", "keep-alive-race"),
    ),
    Message(
        (
            *("backlog", "accept queue", "listen overflows", "SYN dropped", "somaxconn"),
            *("1 second connect", "3 seconds connect", "7 seconds connect", "1 second, 3 seconds, 7 seconds connect"),
        ),
        "the SYN was sent more than once",
        ("connect-retry", "connect-failed"),
    ),
    Message(
        (
            *("WebSocket 1006", "1006", "abnormal closure", "websocket closes after 60 seconds", "SSE disconnects"),
            *("EventSource reconnects", "idle timeout", "proxy_read_timeout", "tunnel timeout"),
        ),
        "something that was open on purpose was closed after a rest",
        ("idle-cut", "truncated-response"),
    ),
    Message(
        ("reset by firewall", "who sent the RST", "injected reset", "IPS", "middlebox", "ERR_CONNECTION_RESET"),
        "an RST ended the connection; it may have been sent by something between client and server",
        ("foreign-reset", "keep-alive-race", "no-response", "reset-destroys-response", "truncated-response"),
    ),
    Message(
        (
            *("slow download", "throughput", "bandwidth-delay product", "window scaling", "receive buffer", "rmem"),
            *("SO_RCVBUF", "SO_SNDBUF"),
        ),
        "a window or a buffer limits how much is under way",
        ("limited-transfer", "zero-window-stall", "retransmission-stall"),
    ),
    Message(
        ("one server is slow", "intermittent slowness", "one pod", "uneven latency"),
        "one of several servers answers later than the others",
        ("slow-sibling", "slow-response"),
    ),
    Message(
        ("packets dropped by kernel", "dropped by interface", "ring buffer", "missing packets"),
        "the capture is incomplete",
        ("capture-loss",),
    ),
    Message(
        ("DNS", "getaddrinfo", "name resolution", "EAI_AGAIN", "5 seconds before the request"),
        "names are looked up before the first packet of TCP: wiredoctor does not judge that",
        (),
    ),
    Message(
        (
            *("GOAWAY", "RST_STREAM", "ENHANCE_YOUR_CALM", "too_many_pings", "stream error", "http2", "gRPC", "UNAVAILABLE"),
            "transport is closing",
        ),
        "HTTP/2 says so, which wiredoctor does not judge",
        (),
    ),
)
"""No words are in two rows."""

"""Record WebSockets, event streams and tunnels that are closed because no data passed, and healthy twins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from applications import websocket_frame
from impairments import Conditions
from scenario import Connection, Exchange, Find, apache, get, nginx, node, over_ipv6, raw_client, raw_server, raw_talk, recording

if TYPE_CHECKING:
    from scenario import Lab, Steps

PROXY = (
    "location / { proxy_pass http://127.0.0.1:8080; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
    'proxy_set_header Connection "upgrade"; proxy_buffering off; proxy_read_timeout %s; }'
)
HAPROXY = """\
global
    maxconn 100
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 6s
frontend web
    bind :::80 v4v6
    default_backend application
backend application
    server application 127.0.0.1:8080
"""
HTTPD = """\
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
Timeout 6
ProxyTimeout 6
ProxyPass /chat http://127.0.0.1:8080/chat upgrade=websocket
ProxyPass / http://127.0.0.1:8080/ flushpackets=on
"""
UPGRADE = (
    b"GET /chat HTTP/1.1\r\nHost: www\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
EVENTS = b"GET /events HTTP/1.1\r\nHost: www\r\nAccept: text/event-stream\r\n\r\n"
CONNECT = b"CONNECT 10.9.0.9:7777 HTTP/1.1\r\nHost: 10.9.0.9:7777\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"f\r\ndata: news...\n\n\r\n"
WAIT = {"do": "wait"}
CHAT = Exchange("GET", "/chat", 101, 0, "none")
CUT = "the stream rested, and that is said"


def _haproxy(lab: Lab) -> None:
    conf = lab.file("haproxy.cfg", HAPROXY)
    lab.server.serve(80, "haproxy", "-db", "-q", "-f", conf)


def _message(text: bytes) -> Steps:
    """Return the steps that send a WebSocket message, read its echo, and wait."""
    return [websocket_frame(1, text), 0.1]


@recording(
    title="nginx cuts three WebSockets after 6 s without a message, over a round trip of 20 ms",
    at=("client", "middle", "server"),
    software=("nginx", "node", "python"),
    connections=(Connection((CHAT,), closed_by="server", repeat=3),),
    finds=tuple(Find("idle-cut", None, "server", number) for number in range(3)),
    must_not={"premature-close": "after 101 it is no HTTP", "client-abort": "nginx closed first"},
    wire=Conditions(0.010),
)
def websockets_cut(lab: Lab) -> None:
    """nginx with `proxy_read_timeout 6s` in front of node. Each client sends up to three messages, which are echoed, and then
    waits. nginx does not reset a timer for changes below 300 ms, so it closes early by the time between the first and the last
    message."""
    node(lab, "node_app.js")
    nginx(lab, PROXY % "6s")
    raw_client(lab, [[UPGRADE, 0.2, *_message(b"one") * count, WAIT] for count in (1, 3, 2)], 80)


@over_ipv6(websockets_cut, at="client")
def websockets_cut_ipv6(lab: Lab) -> None:
    """Like websockets-cut, over IPv6."""
    node(lab, "node_app.js")
    nginx(lab, PROXY % "6s")
    raw_client(lab, [[UPGRADE, 0.2, *_message(b"one") * count, WAIT] for count in (1, 3, 2)], 80, address="fd00:9::2")


@recording(
    title="nginx cuts three WebSockets after 3 s without a message, which is shorter than any usual idle timeout",
    at="client",
    software=("nginx", "node", "python"),
    connections=(Connection((CHAT,), closed_by="server", repeat=3),),
    finds=tuple(Find("idle-cut", None, "server", number) for number in range(3)),
    must_not={"premature-close": "after 101 it is no HTTP"},
    wire=Conditions(0.010),
)
def websockets_cut_soon(lab: Lab) -> None:
    """Like websockets-cut, with `proxy_read_timeout 3s`. Users pause for longer than 3 s, too. The timeout is recognized because
    nginx sends no Close frame, and closes three WebSockets after the same idle time."""
    node(lab, "node_app.js")
    nginx(lab, PROXY % "3s")
    raw_client(lab, [[UPGRADE, 0.2, *_message(b"one") * count, WAIT] for count in (1, 3, 2)], 80)


@over_ipv6(websockets_cut_soon, at="server")
def websockets_cut_soon_ipv6(lab: Lab) -> None:
    """Like websockets-cut-soon, over IPv6, captured at the server."""
    node(lab, "node_app.js")
    nginx(lab, PROXY % "3s")
    raw_client(lab, [[UPGRADE, 0.2, *_message(b"one") * count, WAIT] for count in (1, 3, 2)], 80, address="fd00:9::2")


@recording(
    title="A WebSocket that pings every 2 s through a proxy with an idle timeout of 6 s, until its user leaves",
    at="server",
    software=("nginx", "node", "python"),
    connections=(Connection((CHAT,), closed_by=None),),
    must_not={"idle-cut": "pings are payload", "client-abort": "a tunnel has no other end"},
)
def websocket_pinged(lab: Lab) -> None:
    """The twin of websockets-cut: a ping every 2 s, five times, and then the client closes without a close frame."""
    node(lab, "node_app.js")
    nginx(lab, PROXY % "6s")
    _ping(lab, "10.9.0.2")


@over_ipv6(websocket_pinged)
def websocket_pinged_ipv6(lab: Lab) -> None:
    """The twin of websockets-cut-ipv6: as websocket-pinged."""
    node(lab, "node_app.js")
    nginx(lab, PROXY % "6s")
    _ping(lab, "fd00:9::2")


def _ping(lab: Lab, address: str) -> None:
    pings = [step for _ in range(5) for step in (websocket_frame(9, b"still"), 2.0)]
    raw_client(lab, [[UPGRADE, 0.2, *_message(b"one"), *pings]], 80, address=address)


@recording(
    title="A WebSocket is idle for 7 s and continues; a user leaves another one after 9 s; a third is closed with a Close frame",
    at="client",
    software=("python",),
    connections=(Connection((CHAT,), closed_by="client", repeat=3),),
    must_not={"idle-cut": "the user left, once by a close frame", "client-abort": "a tunnel has no other end"},
)
def websockets_left(lab: Lab) -> None:
    """There is no timeout, and a hand-written server sends nothing after 101 and one frame. Why a client closes after an idle
    time cannot be seen."""
    raw_server(lab, [[SWITCH + b"\x81\x05hello", 60.0]])
    first = [UPGRADE, {"read": ["GET"]}, 0.2, websocket_frame(1, b"one")]
    rests, left, closed = [7.0, websocket_frame(1, b"two"), 0.1], [9.0], [5.5, websocket_frame(8, b"\x03\xe8")]
    raw_client(lab, [[*first, *steps] for steps in (rests, left, closed)])


@recording(
    title="nginx cuts three event streams after 5 s without an event",
    at="client",
    software=("nginx", "python"),
    connections=(Connection((get("/events", None, response_framing="chunked"),), closed_by="server", repeat=3),),
    finds=tuple(Find("idle-cut", None, "server", number) for number in range(3)),
    must_not={"truncated-response": CUT, "client-abort": "nginx closed first"},
    whole=False,
)
def events_cut(lab: Lab) -> None:
    """nginx with `proxy_read_timeout 5200ms` in front of an application that sends two events, half a second apart, and then
    nothing."""
    raw_server(lab, [[STREAM + EVENT, 0.5, EVENT, 9.0]])
    nginx(lab, PROXY % "5200ms")
    raw_client(lab, [[EVENTS, WAIT]] * 3, 80)


@recording(
    title="Three users leave an event stream after 5.5 to 8 s without an event",
    at="server",
    software=("python",),
    connections=(Connection((get("/events", None, response_framing="chunked"),), closed_by="client", repeat=3),),
    must_not={"idle-cut": "users left", "client-abort": "an event stream has no other end"},
    whole=False,
)
def events_left(lab: Lab) -> None:
    """The twin of events-cut, without a timeout: the application sends nothing for a long time, and the clients close."""
    raw_talk(lab, [[STREAM + EVENT, 0.2, EVENT, 30.0]], [[EVENTS, 0.2 + rest] for rest in (5.5, 8.0, 6.3)])


@recording(
    title="HAProxy cuts three CONNECT tunnels after 6 s without a byte; IPv6",
    at="server",
    software=("haproxy", "python"),
    connections=(Connection((Exchange("CONNECT", "10.9.0.9:7777", 200, 0, "tunnel"),), closed_by="server", repeat=3),),
    finds=tuple(Find("idle-cut", None, "server", number) for number in range(3)),
    must_not={"client-abort": "HAProxy closed first", "close-delimited": "a tunnel is no body"},
)
def tunnels_cut(lab: Lab) -> None:
    """HAProxy in mode http with `timeout tunnel 6s`, in front of a proxy that answers CONNECT with 200 and a banner. The clients
    send nothing. Recorded over IPv6."""
    raw_server(lab, [[b"HTTP/1.1 200 OK\r\n\r\n", 0.1, b"ready\r\n", 9.0]])
    _haproxy(lab)
    raw_client(lab, [[CONNECT, 0.1 * number, WAIT] for number in range(3)], 80, address="fd00:9::2")


@recording(
    title="Apache httpd cuts three WebSockets after 6 s without a message",
    at="client",
    software=("apache2", "node", "python"),
    connections=(Connection((CHAT,), closed_by="server", repeat=3),),
    finds=tuple(Find("idle-cut", None, "server", number) for number in range(3)),
    must_not={"premature-close": "after 101 it is no HTTP", "client-abort": "httpd closed first"},
)
def websockets_cut_by_apache(lab: Lab) -> None:
    """httpd with `upgrade=websocket` in front of node. A tunnel of httpd waits for the longer of `Timeout` and `ProxyTimeout`:
    both are 6 s. Each client sends up to three messages, and then waits."""
    node(lab, "node_app.js")
    apache(lab, HTTPD)
    raw_client(lab, [[UPGRADE, 0.2, *_message(b"one") * count, WAIT] for count in (1, 3, 2)], 80)


@recording(
    title="Apache httpd cuts three event streams after 6 s without an event",
    at="client",
    software=("apache2", "python"),
    connections=(Connection((get("/events", None, response_framing="chunked"),), closed_by="server", repeat=3),),
    finds=tuple(Find("idle-cut", None, "server", number) for number in range(3)),
    must_not={"truncated-response": CUT, "client-abort": "httpd closed first"},
    whole=False,
)
def events_cut_by_apache(lab: Lab) -> None:
    """httpd with `ProxyTimeout 6` in front of an application that sends two events, half a second apart, and then nothing."""
    raw_server(lab, [[STREAM + EVENT, 0.5, EVENT, 9.0]])
    apache(lab, HTTPD)
    raw_client(lab, [[EVENTS, WAIT]] * 3, 80)

"""Record Nagle's algorithm with delayed ACKs: senders that write a message in several pieces on a persistent connection.

The first exchange of each connection does not stall, because Linux acknowledges at once until it has sent data for the first
time.
"""

from __future__ import annotations

import sys

from scenario import PEERS, Connection, Exchange, Find, Lab, get, node, raw_client, raw_talk, recording, site

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 300\r\n\r\n"
BODY = b"b" * 300
REQUEST = b"GET /report HTTP/1.1\r\nHost: 10.9.0.2:8080\r\n\r\n"
TEN_GETS = [[step for _ in range(10) for step in (REQUEST, {"read": ["GET"]}, 0.01)]]
REPORTS = (Connection((get("/report", 300, repeat=10),)),)
SPLIT_BY_SERVER = (Find("nagle-delayed-ack", "head-body-split", "server", 0, 9, measured=True),)
PIECES_BY_SERVER = (Find("nagle-delayed-ack", "write-write-read", "server", 0, 9, measured=True),)


@recording(
    title="A server sends head and body in two writes; captured at the server",
    at="server",
    software=("python",),
    connections=REPORTS,
    finds=SPLIT_BY_SERVER,
)
def server_head_body_split(lab: Lab) -> None:
    """A hand-written server answers ten GETs on one connection with two sends each, one for the head and one
    for the body of 300 bytes, and leaves Nagle's algorithm on. 10 ms lie between the exchanges."""
    raw_talk(lab, [[HEAD, BODY]], TEN_GETS)


@recording(
    title="A server sends head and body in two writes; recorded with a snap length of 68 bytes",
    at=("client", "server"),
    software=("python",),
    connections=(Connection(()),),
    finds=(Find("nagle-delayed-ack", "write-write-read", "server", 0, 9, measured=True, confidence="medium"),),
    must_not={
        "capture-loss": "nothing was lost, only cut",
        "delayed-ack-stall": "what was held back is a small segment",
        "slow-response": "no head was recorded",
    },
    options=("-s", "68"),
    whole=False,
)
def split_and_snapped(lab: Lab) -> None:
    """Like server-head-body-split: ten GETs, each answered with one send for the head and one for the body. tcpdump keeps 68
    bytes of each packet: the headers of IP and TCP, and two bytes of payload, which is enough to recognize the stalls."""
    raw_talk(lab, [[HEAD, BODY]], TEN_GETS)


@recording(
    title="A server sends head and body in two writes; captured at the client",
    at="client",
    software=("python",),
    connections=REPORTS,
    finds=SPLIT_BY_SERVER,
    suffix="pcapng",
)
def client_sees_head_body_split(lab: Lab) -> None:
    """Like server-head-body-split, recorded at the other end of the cable."""
    raw_talk(lab, [[HEAD, BODY]], TEN_GETS)


@recording(
    title="A server sends status line, header fields and body in separate writes",
    at="server",
    software=("python",),
    connections=REPORTS,
    finds=PIECES_BY_SERVER,
)
def server_three_writes(lab: Lab) -> None:
    """A hand-written server answers ten GETs on one connection with three sends each: the status line, the
    header fields, the body. The status line travels alone; the rest waits for its ACK."""
    line, fields = HEAD[:17], HEAD[17:]
    raw_talk(lab, [[line, fields, BODY]], TEN_GETS)


@recording(
    title="A server sends the head with the first piece of the body, and then three more pieces",
    at="client",
    software=("python",),
    connections=REPORTS,
    finds=PIECES_BY_SERVER,
)
def server_body_pieces(lab: Lab) -> None:
    """A hand-written server answers ten GETs on one connection: head and the first 60 bytes of the body in one send,
    then three sends of 80 bytes. The three wait together for the ACK of the first."""
    raw_talk(lab, [[HEAD + BODY[:60], BODY[60:140], BODY[140:220], BODY[220:]]], TEN_GETS)


@recording(
    title="A server sends the head, works for 10 ms, and sends the body",
    at="client",
    software=("python",),
    connections=REPORTS,
    finds=SPLIT_BY_SERVER,
)
def server_late_and_held(lab: Lab) -> None:
    """Like server-head-body-split, but the application writes the body 10 ms late, as the first exchange shows, which does not
    stall. The delays are shorter by this time, because without Nagle's algorithm the body would still have come 10 ms after the
    head."""
    raw_talk(lab, [[HEAD, 0.01, BODY]], TEN_GETS)


@recording(
    title="python -m http.server sends head and body in two writes",
    at="client",
    software=("python", "requests"),
    connections=(Connection((get("/page.txt", 900, repeat=10),)),),
    finds=SPLIT_BY_SERVER,
)
def python_http_server(lab: Lab) -> None:
    """`python -m http.server --protocol HTTP/1.1`, ten GETs of a requests.Session, 10 ms between them."""
    words = ["-m", "http.server", "--protocol", "HTTP/1.1", "--directory", str(site(lab, page=900)), "8080"]
    lab.server.serve(8080, sys.executable, *words, stderr=-3, stdout=-3)
    lab.client.run(sys.executable, str(PEERS / "session.py"), "0.01", *["http://10.9.0.2:8080/page.txt"] * 10)


@recording(
    title="Java's com.sun.net.httpserver sends head and body in two writes",
    at="server",
    software=("java", "requests"),
    connections=(Connection((get("/greeting", 400, repeat=10),)),),
    finds=SPLIT_BY_SERVER,
    suffix="pcapng",
)
def java_httpserver(lab: Lab) -> None:
    """The HTTP server of the JDK with its defaults, ten GETs of a requests.Session, 10 ms between them.
    `-Dsun.net.httpserver.nodelay=true` would fix it."""
    lab.server.serve(8080, "java", str(PEERS / "JavaServer.java"), "8080", "400")
    lab.client.run(sys.executable, str(PEERS / "session.py"), "0.01", *["http://10.9.0.2:8080/greeting"] * 10)


@recording(
    title="Perl's HTTP::Tiny posts head and body in two writes",
    at="client",
    software=("perl", "node"),
    connections=(Connection(tuple(Exchange("POST", f"/{number}", 200, 0, request_body=500) for number in range(1, 11))),),
    finds=(Find("nagle-delayed-ack", "head-body-split", "client", 0, 9, measured=True),),
)
def perl_http_tiny_post(lab: Lab) -> None:
    """Ten POSTs of 500 bytes on one connection to a node server, which has read them before it answers.
    HTTP::Tiny writes the head, then the body."""
    node(lab, "node_app.js")
    lab.client.run("perl", str(PEERS / "tiny_post.pl"), "http://10.9.0.2:8080", "10", "500")


@recording(
    title="A client sends the head and body of each POST in four writes",
    at="server",
    software=("python", "node"),
    connections=(Connection((Exchange("POST", "/order", 200, 0, request_body=400, repeat=10),)),),
    finds=(Find("nagle-delayed-ack", "write-write-read", "client", 0, 9, measured=True),),
)
def client_body_pieces(lab: Lab) -> None:
    """A hand-written client posts 400 bytes ten times on one connection: the head with the first 100 bytes in one
    send, then three sends of 100 bytes; the node server answers when it has all."""
    node(lab, "node_app.js")
    head = b"POST /order HTTP/1.1\r\nHost: 10.9.0.2:8080\r\nContent-Length: 400\r\n\r\n"
    post = [head + b"o" * 100, b"o" * 100, b"o" * 100, b"o" * 100, {"read": ["POST"]}, 0.01]
    raw_client(lab, [post * 10])

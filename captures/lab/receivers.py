"""Record Nagle's algorithm with receivers whose delayed-ACK timer is not Linux's 40 ms; a wire holds their ACKs back.

These receivers delay every ACK, so the first exchange stalls, too.
"""

from __future__ import annotations

from impairments import Conditions
from scenario import Connection, Exchange, Find, Lab, get, node, patient, raw_client, raw_talk, recording
from stalls import BODY, HEAD, REQUEST

BOTH_ENDS = ("client", "server")
GETS = [[step for _ in range(5) for step in (REQUEST, {"read": ["GET"]}, 0.01)]]
REPORTS = (Connection((get("/report", 300, repeat=5),)),)
SPLIT = (Find("nagle-delayed-ack", "head-body-split", "server", 0, 5, measured=True),)
POST = b"POST /order HTTP/1.1\r\nHost: 10.9.0.2:8080\r\nContent-Length: 400\r\n\r\n"
POSTS = [[step for _ in range(5) for step in (POST, b"o" * 400, {"read": ["POST"]}, 0.01)]]
ORDERS = (Connection((Exchange("POST", "/order", 200, 0, request_body=400, repeat=5),)),)


def _split(lab: Lab) -> None:
    patient(lab.server)
    raw_talk(lab, [[HEAD, BODY]], GETS)


@recording(
    title="Head and body in two writes, and a receiver that delays its ACKs by 200 ms",
    at=BOTH_ENDS,
    software=("python",),
    connections=REPORTS,
    finds=SPLIT,
    wire=Conditions(ack_delay={"client": 0.2}),
)
def receiver_200_ms(lab: Lab) -> None:
    """The second scenario of Microsoft's KB Q240146 with a receiver like Windows at that time: a hand-written server answers five
    GETs on one connection with two sends each, and a wire holds the client's ACKs back."""
    _split(lab)


@recording(
    title="Head and body in two writes, and a receiver that delays its ACKs by 100 ms",
    at="server",
    software=("python",),
    connections=REPORTS,
    finds=SPLIT,
    wire=Conditions(ack_delay={"client": 0.1}),
)
def receiver_100_ms(lab: Lab) -> None:
    """Like receiver-200-ms, with the timer of macOS and Solaris."""
    _split(lab)


@recording(
    title="Head and body in two writes, and a receiver that delays its ACKs by 500 ms",
    at="client",
    software=("python",),
    connections=REPORTS,
    finds=SPLIT,
    wire=Conditions(ack_delay={"client": 0.5}),
)
def receiver_500_ms(lab: Lab) -> None:
    """Like receiver-200-ms, with the longest delay that RFC 1122 allows."""
    _split(lab)


@recording(
    title="Head and body in two writes without Nagle's algorithm, and a receiver that delays its ACKs by 200 ms",
    at="server",
    software=("python",),
    connections=REPORTS,
    must_not={"nagle-delayed-ack": "TCP_NODELAY is set: the body does not wait", "tinygrams": "two pieces are no crumbs"},
    wire=Conditions(ack_delay={"client": 0.2}),
)
def receiver_200_ms_nodelay(lab: Lab) -> None:
    """The healthy twin of receiver-200-ms."""
    patient(lab.server)
    raw_talk(lab, [[HEAD, BODY]], GETS, nodelay=True)


@recording(
    title="A client posts head and body in two writes to a server that delays its ACKs by 200 ms",
    at=BOTH_ENDS,
    software=("python", "node"),
    connections=ORDERS,
    finds=(Find("nagle-delayed-ack", "head-body-split", "client", 0, 5, measured=True),),
    wire=Conditions(ack_delay={"server": 0.2}),
)
def client_split_200_ms(lab: Lab) -> None:
    """A hand-written client posts 400 bytes five times on one connection, in two sends each. A wire holds back the ACKs of the
    node server, which responds when it has the complete request."""
    patient(lab.client)
    node(lab, "node_app.js")
    raw_client(lab, POSTS)


@recording(
    title="A client posts head and body in two writes without Nagle's algorithm",
    at="client",
    software=("python", "node"),
    connections=ORDERS,
    must_not={"nagle-delayed-ack": "TCP_NODELAY is set"},
)
def client_two_sends_nodelay(lab: Lab) -> None:
    """Five POSTs of a hand-written client on one connection, two sends each, to node."""
    node(lab, "node_app.js")
    raw_client(lab, POSTS, nodelay=True)


@recording(
    title="The small end of a response waits for the ACK of a small head, which the receiver delays by 200 ms",
    at=BOTH_ENDS,
    software=("python",),
    connections=(Connection((get("/report", 1_748, repeat=5),)),),
    finds=(Find("nagle-delayed-ack", "tail", "server", 0, 5, measured=True),),
    wire=Conditions(ack_delay={"client": 0.2}),
)
def tail_200_ms(lab: Lab) -> None:
    """Three writes for each of five responses: the head, a full segment, and 300 bytes. Linux sends the full segment at once, but
    not the small one, because the small head is not acknowledged yet."""
    patient(lab.server)
    head = HEAD.replace(b" 300\r", b" 1748\r")
    raw_talk(lab, [[head, b"b" * 1_448, BODY]], GETS)


@recording(
    title="Head and body in two writes, a receiver that delays its ACKs by 500 ms, and a sender whose tail loss probe "
    "sends the body earlier",
    at=BOTH_ENDS,
    software=("python",),
    connections=(Connection((get("/report", 300, repeat=3),)),),
    finds=(Find("nagle-delayed-ack", "probe-released", "server", 0, 3),),
    must_not={"retransmission-stall": "nothing was sent twice"},
    wire=Conditions(ack_delay={"client": 0.5}),
)
def probe_released(lab: Lab) -> None:
    """Like receiver-500-ms, but the server is Linux with its defaults: after 200 ms its tail loss probe sends the body that
    Nagle's algorithm had held."""
    raw_talk(lab, [[HEAD, BODY]], [GETS[0][:9]])


@recording(
    title="An initial congestion window of one segment, and a receiver that delays its ACKs by 200 ms, twice",
    at=BOTH_ENDS,
    software=("python",),
    connections=(Connection((get("/report", 4_000),), repeat=2),),
    finds=tuple(Find("delayed-ack-stall", None, "server", number, measured=True) for number in range(2)),
    must_not={"nagle-delayed-ack": "what waited was a full segment", "retransmission-stall": "nothing was sent twice"},
    wire=Conditions(ack_delay={"client": 0.2}),
)
def one_segment_window(lab: Lab) -> None:
    """A server sends 4 kB in one write, but its route has initcwnd 1: one segment leaves, and the receiver waits for a second one
    before it acknowledges. Two GETs, each on a new connection, because the congestion window grows with the first."""
    patient(lab.server)
    route = ("10.9.0.0/24", "dev", "eth0", "proto", "kernel", "scope", "link", "src", "10.9.0.2", "initcwnd", "1")
    lab.server.run("ip", "route", "replace", *route)
    raw_talk(lab, [[HEAD.replace(b" 300\r", b" 4000\r") + b"b" * 4_000]], [[REQUEST, {"read": ["GET"]}]] * 2)

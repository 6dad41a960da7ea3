"""Record other waits: for a 100 that never comes, for a reader, for an application; and a body in many tiny segments."""

from __future__ import annotations

from impairments import Conditions
from scenario import Connection, Exchange, Find, Lab, curl, get, nginx, node, raw_client, raw_server, raw_talk, recording
from stalls import BODY, HEAD, REQUEST

FINE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nfine\n"


@recording(
    title="Expect: 100-continue, never answered: curl waits a second, twice",
    at="client",
    software=("python", "curl"),
    connections=(Connection((Exchange("POST", "/order", 200, 5, request_body=2_000, repeat=2),)),),
    finds=(Find("expect-continue-stall", None, "client", 0, 2, measured=True),),
    must_not={"slow-response": "the server had no body to answer", "nagle-delayed-ack": "the client waited for a 100"},
)
def expect_unanswered(lab: Lab) -> None:
    """Two POSTs by curl on one connection to a hand-written server that reads the body before it sends anything."""
    raw_server(lab, [[FINE]])
    post = ["-H", "Expect: 100-continue", "-d", "e" * 2_000, "http://10.9.0.2:8080/order"]
    curl(lab, *post, "--next", "-sS", "-o", "/dev/null", *post)


@recording(
    title="A client that does not read for 1.5 seconds; recorded with a snap length of 400 bytes",
    at=("client", "server"),
    software=("nginx", "python"),
    connections=(Connection((get("/large.txt", 200_000),)),),
    finds=(Find("zero-window-stall", None, "client", 0, measured=True),),
    must_not={
        "retransmission-stall": "nothing was lost",
        "slow-response": "the server had answered",
        "capture-loss": "only cut",
        "tinygrams": "segments are long",
    },
    options=("-s", "400"),
    whole=False,
)
def slow_reader_snapped(lab: Lab) -> None:
    """A GET of 200 kB from nginx by a hand-written client that waits 1.5 s before it reads: its receive buffer fills, and its
    window closes."""
    nginx(lab, large=200_000)
    raw_client(lab, [[b"GET /large.txt HTTP/1.1\r\nHost: 10.9.0.2\r\n\r\n", 1.5, {"read": ["GET"]}]], 80)


@recording(
    title="A server that does not read an upload for 1.5 seconds; recorded with a snap length of 400 bytes",
    at=("client", "server"),
    software=("node", "curl"),
    connections=(Connection((Exchange("POST", "/lazy/1500", 200, 0, request_body=400_000),)),),
    finds=(Find("zero-window-stall", None, "server", 0, measured=True),),
    must_not={"slow-response": "the server had no body to answer", "capture-loss": "only cut", "tinygrams": "segments are long"},
    options=("-s", "400"),
    whole=False,
)
def lazy_server_snapped(lab: Lab) -> None:
    """curl posts 400 kB to node, whose application begins to read after 1.5 s."""
    node(lab, "node_app.js")
    form = lab.file("form", b"u" * 400_000)
    curl(lab, "-H", "Expect:", "--data-binary", f"@{form}", "http://10.9.0.2:8080/lazy/1500")


@recording(
    title="A server works for 1.2 seconds before it responds",
    at="client",
    software=("python",),
    connections=(Connection((get("/report", 5, repeat=3),)),),
    finds=(Find("slow-response", None, "server", 0, measured=True, note=True),),
    must_not={"nagle-delayed-ack": "each message is one send", "retransmission-stall": "nothing was lost"},
)
def slow_answer(lab: Lab) -> None:
    """Three GETs on one connection; the second response is slow."""
    raw_talk(lab, [[FINE], [1.2, FINE], [FINE]], [[step for _ in range(3) for step in (REQUEST, {"read": ["GET"]}, 0.01)]])


@recording(
    title="Bodies in segments of 30 bytes, without Nagle's algorithm, over a round trip of 20 ms",
    at="server",
    software=("python",),
    connections=(Connection((get("/report", 600, repeat=3),)),),
    finds=(Find("tinygrams", None, "server", 0, 3),),
    must_not={"nagle-delayed-ack": "TCP_NODELAY is set"},
    wire=Conditions(0.010),
)
def crumbs(lab: Lab) -> None:
    """Three GETs on one connection; the hand-written server sends the head and then twenty pieces of 30 bytes, 1 ms
    apart, with TCP_NODELAY."""
    pieces = [step for _ in range(20) for step in (b"c" * 30, 0.001)]
    raw_talk(
        lab,
        [[b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 600\r\n\r\n", *pieces]],
        [[step for _ in range(3) for step in (REQUEST, {"read": ["GET"]}, 0.01)]],
        nodelay=True,
    )


@recording(
    title="A server that works for 80 ms between head and body, over a round trip of 20 ms",
    at=("client", "middle", "server"),
    software=("python",),
    connections=(Connection((get("/report", 300, repeat=6),)),),
    must_not={"nagle-delayed-ack": "the ACK comes long before the application writes its body"},
    wire=Conditions(0.010),
)
def thinking_rtt_20(lab: Lab) -> None:
    """Like thinking-server, at three points of a wire."""
    raw_talk(lab, [[HEAD, 0.08, BODY]], [[step for _ in range(6) for step in (REQUEST, {"read": ["GET"]}, 0.01)]])

"""Record waits, and messages in many tiny segments, at every capture point."""

from __future__ import annotations

from everywhere import everywhere
from far_streams import ASK, CHUNKED, CSV, HEAD, LAST, chunk
from framing import ROWS, SIZE
from lifetimes import CLOSE, FINE, READ, REQUEST, WAIT
from scenario import Connection, Exchange, Find, Lab, get, raw_client, raw_server, raw_talk
from stalls import BODY

SIX = (Connection((get("/report", 300, repeat=6),)),)
SIX_GETS = [[step for _ in range(6) for step in (REQUEST, READ, 0.01)]]
STATUS_LINE, FIELDS = b"HTTP/1.1 200 OK\r\n", b"Content-Type: text/plain\r\nContent-Length: 300\r\n\r\n"
ORDER = b"POST /order HTTP/1.1\r\nHost: 10.9.0.2:8080\r\nContent-Length: 300\r\n%s\r\n"


@everywhere(
    title="A server sends status line, header fields and body in separate writes",
    software=("python",),
    connections=SIX,
    finds=(Find("nagle-delayed-ack", "write-write-read", "server", 0, 5, measured=True),),
    must_not={"slow-response": "it took less than a second", "retransmission-stall": "nothing was lost"},
)
def three_writes(lab: Lab, _: float) -> None:
    """Like server-three-writes, six GETs on one connection."""
    raw_talk(lab, [[STATUS_LINE, FIELDS, BODY]], SIX_GETS)


@everywhere(
    title="A client sends the head and body of each POST in two writes",
    software=("python",),
    connections=(Connection((Exchange("POST", "/order", 200, 5, request_body=300, repeat=6),)),),
    finds=(Find("nagle-delayed-ack", "head-body-split", "client", 0, 5, measured=True),),
    must_not={"slow-response": "the server had no body to answer", "expect-continue-stall": "no 100 was asked for"},
)
def posted_apart(lab: Lab, _: float) -> None:
    """Six POSTs on one connection, head and body in two sends, Nagle's algorithm on. The first does not stall: Linux acknowledges
    at once until it has sent data."""
    raw_talk(lab, [[FINE]], [[step for _ in range(6) for step in (ORDER % b"", BODY, {"read": ["POST"]}, 0.01)]])


@everywhere(
    title="Expect: 100-continue, never answered: the client waits for one second",
    software=("python",),
    connections=(Connection((Exchange("POST", "/order", 200, 5, request_body=300, repeat=2),)),),
    finds=(Find("expect-continue-stall", None, "client", 0, 2, measured=True),),
    must_not={"slow-response": "the server had no body to answer", "nagle-delayed-ack": "the client waited for a 100"},
)
def not_continued(lab: Lab, _: float) -> None:
    """A hand-written client waits for a 100 for a second, as curl does, and then sends the body; twice."""
    raw_server(lab, [[FINE]])
    post = [ORDER % b"Expect: 100-continue\r\n", 1.0, BODY, {"read": ["POST"]}, 0.05]
    raw_client(lab, [post * 2])


@everywhere(
    title="A server works for 1.2 seconds before it responds",
    software=("python",),
    connections=(Connection((get("/report", 5, repeat=3),)),),
    finds=(Find("slow-response", None, "server", 0, measured=True, note=True),),
    must_not={"nagle-delayed-ack": "each message is one send", "retransmission-stall": "nothing was lost"},
)
def thinks(lab: Lab, _: float) -> None:
    """Like slow-answer: the second of three responses is slow."""
    raw_talk(lab, [[FINE], [1.2, FINE], [FINE]], [[step for _ in range(3) for step in (REQUEST, READ, 0.01)]])


@everywhere(
    title="A body in segments of 30 bytes, without Nagle's algorithm",
    rtts=(120,),
    software=("python",),
    connections=(Connection((get("/report", 600, repeat=2),)),),
    finds=(Find("tinygrams", None, "server", 0, 2),),
    must_not={"nagle-delayed-ack": "TCP_NODELAY is set"},
)
def in_crumbs(lab: Lab, _: float) -> None:
    """Like crumbs, twice."""
    pieces = [step for _ in range(20) for step in (b"c" * 30, 0.001)]
    raw_talk(
        lab,
        [[b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 600\r\n\r\n", *pieces]],
        [[step for _ in range(2) for step in (REQUEST, READ, 0.01)]],
        nodelay=True,
    )


@everywhere(
    title="A client's pool keeps idle connections longer than the server",
    software=("python",),
    connections=(Connection((get("/report", 5),), closed_by="server", repeat=2),),
    finds=(Find("idle-close", None, "server", note=True),),
    must_not={"premature-close": "it had been idle for 1.5 s", "no-connection-reuse": "the server closed"},
)
def kept_too_long(lab: Lab, rtt: float) -> None:
    """A server closes connections that were idle for 1.5 s; the client checks them for a close 1.3 s later, before it uses
    them."""
    raw_talk(lab, [[FINE, 1.5, CLOSE]], [[REQUEST, READ, 2.8 + rtt]] * 2)


PROMISING = FINE.replace(b"OK\r\n", b"OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n")


@everywhere(
    title="A server promises to keep an idle connection for 5 seconds, and closes after 2",
    software=("python",),
    connections=(Connection((get("/report", 5),), closed_by="server", repeat=2),),
    finds=tuple(Find("idle-timeout-broken-promise", None, "server", number) for number in range(2)),
    must_not={"idle-close": "the broken promise says more", "premature-close": "it had been idle for 2 s"},
)
def promise_broken(lab: Lab, _: float) -> None:
    """Keep-Alive: timeout=5, and a close after 2 s; the client closes when it receives the close."""
    raw_talk(lab, [[PROMISING, 2.0, CLOSE]], [[REQUEST, READ, WAIT]] * 2)


@everywhere(
    title="Lines in chunks that are buffered and arrive in one piece",
    software=("python",),
    connections=(Connection((get("/rows.csv", SIZE, response_framing="chunked"),)),),
    must_not={
        "buffered-stream": "a query that takes its time and then gives all its rows looks the same",
        "unchunked-streaming": "it is chunked",
    },
)
def lines_held(lab: Lab, _: float) -> None:
    """Five chunks with lines of a stream; something buffers them, and after 900 ms they arrive in one send."""
    raw_talk(lab, [[0.9, HEAD % (CSV, CHUNKED) + b"".join(map(chunk, ROWS)) + LAST]], [[ASK, READ, 0.02]])

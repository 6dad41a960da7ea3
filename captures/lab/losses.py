"""Record packets that a wire loses, and the silence until they are retransmitted."""

from __future__ import annotations

from impairments import Conditions, Loss
from scenario import Connection, Find, Lab, get, raw_talk, recording
from stalls import REQUEST

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
SMALL, LARGE = (RESPONSE % size + b"b" * size for size in (300, 12_000))
THREE_GETS = [[step for _ in range(3) for step in (REQUEST, {"read": ["GET"]}, 0.01)]]
TIMEOUT = (Find("retransmission-stall", "timeout", None, 0, measured=True),)
INNOCENT = {
    "nagle-delayed-ack": "each message is one send",
    "slow-response": "the server answered at once",
    "capture-loss": "the network lost it, not the recording",
}


@recording(
    title="A response is lost and retransmitted after a timeout",
    at=("client", "middle", "server"),
    software=("python",),
    connections=(Connection((get("/report", 300, repeat=3),)),),
    finds=TIMEOUT,
    must_not=INNOCENT,
    wire=Conditions(0.010, lose=(Loss.of("server", "data", 2),)),
)
def lost_response(lab: Lab) -> None:
    """Three GETs on one connection over a round trip of 20 ms. The second response is a single segment, and is lost before it
    reaches the client. No later packet reveals the loss, so a timer has to expire. The client's own timer runs, too, and it
    repeats its request; a capture at the client shows nothing else."""
    raw_talk(lab, [[SMALL]], THREE_GETS)


@recording(
    title="A response is lost twice",
    at=("middle", "server"),
    software=("python",),
    connections=(Connection((get("/report", 300, repeat=3),)),),
    finds=TIMEOUT,
    must_not=INNOCENT,
    wire=Conditions(0.010, lose=(Loss.of("server", "data", 2, 3),)),
)
def lost_twice(lab: Lab) -> None:
    """Like lost-response, but its first retransmission is lost as well: one gap, one silence."""
    raw_talk(lab, [[SMALL]], THREE_GETS)


@recording(
    title="A request is lost and retransmitted after a timeout",
    at=("client", "middle"),
    software=("python",),
    connections=(Connection((get("/report", 300, repeat=3),)),),
    finds=TIMEOUT,
    must_not=INNOCENT,
    wire=Conditions(0.010, lose=(Loss.of("client", "data", 2),)),
)
def lost_request(lab: Lab) -> None:
    """Like lost-response, but the second request is lost."""
    raw_talk(lab, [[SMALL]], THREE_GETS)


@recording(
    title="The first segment of a response is lost; duplicate ACKs cause a retransmission after a round trip of 200 ms",
    at=("client", "middle", "server"),
    software=("python",),
    connections=(Connection((get("/report", 12_000),)),),
    finds=(Find("retransmission-stall", "fast", None, 0, measured=True),),
    must_not=INNOCENT,
    wire=Conditions(0.100, lose=(Loss.of("server", "data", 1),)),
)
def lost_segment_fast(lab: Lab) -> None:
    """A GET of 12 kB over a round trip of 200 ms: nine segments leave at once, the first is lost, and the client acknowledges
    each of the others with a duplicate ACK."""
    raw_talk(lab, [[LARGE]], [[REQUEST, {"read": ["GET"]}]])

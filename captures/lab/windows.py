"""Record receivers whose windows delay their senders for longer than they are closed, and some whose windows do not."""

from __future__ import annotations

from impairments import Conditions
from scenario import Connection, Exchange, Find, Lab, get, raw_client, raw_talk, recording
from transfers import CUT, body, set_kernel

GET = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
NO_LOSS = {"retransmission-stall": "nothing was lost on the way", "capture-loss": "nothing was lost, only cut"}
NEAR = Conditions(delay=0.01)


@recording(
    title="A client that made its receive buffer smaller does not read for 0.7 s, and its kernel discards data",
    at=("client", "server"),
    software=("python",),
    connections=(Connection((get("/large", 40_000),)),),
    finds=(Find("zero-window-stall", None, "client", 0, 1),),
    must_not=NO_LOSS,
    wire=NEAR,
    options=CUT,
    whole=False,
)
def thrown_away(lab: Lab) -> None:
    """A GET of 40 kB by a client that sets SO_RCVBUF to 4096 when the connection is open, and reads 0.7 s after its request.
    There is no memory for the data that the server sends before it knows of the closed window, so the server retransmits it, at
    growing intervals."""
    raw_talk(lab, [[body(40_000)]], [[{"buffer": 4096}, GET, 0.7, {"read": ["GET"]}]])


@recording(
    title="A receive buffer of 2 kB, set after the connection is opened: the window never has room for a segment",
    at="client",
    software=("python",),
    connections=(Connection((get("/large", 30_000),)),),
    finds=(Find("zero-window-stall", None, "client", 0, 2),),
    must_not={"capture-loss": "nothing was lost, only cut"},
    wire=NEAR,
    options=CUT,
    whole=False,
)
def window_of_1440_bytes(lab: Lab) -> None:
    """A GET of 30 kB by a client that reads at once, without window scaling, and with SO_RCVBUF 1024 since the connection was
    opened. The window is 1440 bytes, 8 less than a segment. There is no memory for the data that the server had already sent; for
    the rest, the server waits for its timer before each segment."""
    set_kernel(lab.client, "net.ipv4.tcp_window_scaling=0")
    raw_talk(lab, [[body(30_000)]], [[{"buffer": 1024}, GET, {"read": ["GET"]}]])


@recording(
    title="A server that never reads, and a client that gives up after 3 s",
    at="client",
    software=("python",),
    connections=(Connection((Exchange("POST", "/large", None, None, "", request_body=10_333),)),),
    finds=(
        Find("zero-window-stall", None, "server", 0, 1),
        Find("unfinished-request", "canceled", "client", 0, note=True),
    ),
    must_not=NO_LOSS | {"unanswered": "a closed window is an answer"},
    wire=NEAR,
    options=CUT,
    whole=False,
)
def never_read(lab: Lab) -> None:
    """A POST of 10 MB to a server that accepts the connection and reads nothing, with a receive buffer of 16 kB. The client sends
    what fits (10,333 bytes), waits for 3 s and resets the connection."""
    set_kernel(lab.server, "net.ipv4.tcp_rmem=4096 16384 16384")
    lab.server.serve(8080, "python3", "-c", DEAF)
    head = b"POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n"
    raw_client(lab, [[{"do": "reset"}, head + b"b" * 40_000, 3.0]])


DEAF = """
import socket, time
listener = socket.create_server(("", 8080))
connection, _ = listener.accept()
time.sleep(30)
"""


@recording(
    title="A receive buffer of 2 kB, set before the connection is opened: no segment has to wait for a larger window",
    at="client",
    software=("python",),
    connections=(Connection((get("/large", 30_000),)),),
    must_not=NO_LOSS | {"zero-window-stall": "the server sends half a window at a time, and never waits"},
    wire=Conditions(delay=0.001),
    options=CUT,
    whole=False,
)
def window_of_2_kb_at_first(lab: Lab) -> None:
    """The healthy twin of window-of-1440-bytes: net.ipv4.tcp_rmem="4096 4096 4096" bounds the first window, too."""
    set_kernel(lab.client, "net.ipv4.tcp_rmem=4096 4096 4096")
    raw_talk(lab, [[body(30_000)]], [[GET, {"read": ["GET"]}]])

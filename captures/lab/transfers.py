"""Record long transfers over long round trips, limited by a window, by a buffer, or by a program, which is not reported."""

from __future__ import annotations

import sys

from impairments import Conditions
from network import Host
from scenario import PEERS, Connection, Exchange, Find, Lab, curl, get, over_ipv6, raw_client, raw_server, raw_talk, recording

POINTS = ("client", "server")
FAR = Conditions(delay=0.15)
"""A round trip of 300 ms, so even small transfers take long."""
CUT = ("-s", "144")
"""Options that capture 144 bytes of each packet; the heads are shorter."""
GET = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWER = [[GET, {"read": ["GET"]}]]
FINE = {"capture-loss": "nothing was lost, only cut", "zero-window-stall": "the window stays open"}


def set_kernel(host: Host, *settings: str) -> None:
    """Set kernel parameters in the namespace of a host."""
    host.run("sysctl", "-qw", *settings)


def body(size: int) -> bytes:
    """Return a response with a body of this size."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"b" * size


def _with_a_window_of_32_kb(lab: Lab, address: str = "10.9.0.2") -> None:
    set_kernel(lab.client, "net.ipv4.tcp_rmem=4096 32768 32768")
    raw_talk(lab, [[body(160_000)]], ANSWER, address=address)


@recording(
    title="A receive buffer of 32 kB over a round trip of 300 ms; recorded with a snap length of 144 bytes",
    at=POINTS,
    software=("python",),
    connections=(Connection((get("/large", 160_000),)),),
    finds=(Find("limited-transfer", "receive-window", "client", 0, note=True),),
    must_not=FINE,
    wire=FAR,
    options=CUT,
    whole=False,
)
def window_of_32_kb(lab: Lab) -> None:
    """A GET of 160 kB by a client with net.ipv4.tcp_rmem="4096 32768 32768": its window is always full, and one window of data is
    sent per round trip."""
    _with_a_window_of_32_kb(lab)


@recording(
    title="An upload to a server with a receive buffer of 32 kB, over 300 ms; recorded with a snap length of 144 bytes",
    at=POINTS,
    software=("python", "curl"),
    connections=(Connection((Exchange("POST", "/large", 200, 5, request_body=160_000),)),),
    finds=(Find("limited-transfer", "receive-window", "server", 0, note=True),),
    must_not=FINE,
    wire=FAR,
    options=CUT,
    whole=False,
)
def window_of_32_kb_upload(lab: Lab) -> None:
    """Like window-of-32-kb, the other way: a POST of 160 kB to a server with that net.ipv4.tcp_rmem."""
    set_kernel(lab.server, "net.ipv4.tcp_rmem=4096 32768 32768")
    raw_server(lab, [[b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfine\n"]])
    form = lab.file("form", b"b" * 160_000)
    short = [word for name in ("Expect", "User-Agent", "Accept", "Content-Type") for word in ("-H", f"{name}:")]
    curl(lab, *short, "--data-binary", f"@{form}", "http://10.9.0.2:8080/large")


@recording(
    title="No window scaling over a round trip of 300 ms; recorded with a snap length of 144 bytes",
    at="client",
    software=("python",),
    connections=(Connection((get("/large", 560_000),)),),
    finds=(Find("limited-transfer", "no-window-scaling", "client", 0, note=True),),
    must_not=FINE,
    wire=FAR,
    options=CUT,
    whole=False,
)
def no_window_scaling(lab: Lab) -> None:
    """A GET of 560 kB by a client with net.ipv4.tcp_window_scaling=0: after slow start, 65,535 bytes are sent per round trip."""
    set_kernel(lab.client, "net.ipv4.tcp_window_scaling=0")
    raw_talk(lab, [[body(560_000)]], ANSWER)


@over_ipv6(no_window_scaling)
def no_window_scaling_ipv6(lab: Lab) -> None:
    """Like no-window-scaling, over IPv6; the setting applies to both versions."""
    set_kernel(lab.client, "net.ipv4.tcp_window_scaling=0")
    raw_server(lab, [[body(560_000)]])
    raw_client(lab, ANSWER, address="fd00:9::2")


@recording(
    title="No window scaling over a round trip of 300 ms, at the server; recorded with a snap length of 112 bytes",
    at="server",
    software=("python",),
    connections=(Connection((get("/large", 360_000),)),),
    finds=(Find("limited-transfer", "no-window-scaling", "client", 0, note=True),),
    must_not=FINE,
    wire=FAR,
    options=("-s", "112"),
    whole=False,
)
def no_window_scaling_at_the_server(lab: Lab) -> None:
    """Like no-window-scaling, recorded at the server. It begins with 45 segments, so 360 kB are enough."""
    set_kernel(lab.client, "net.ipv4.tcp_window_scaling=0")
    lab.server.run("ip", "route", "change", "10.9.0.0/24", "dev", "eth0", "src", "10.9.0.2", "initcwnd", "45")
    raw_talk(lab, [[body(360_000)]], ANSWER)


@recording(
    title="A program that writes every 400 ms, over a round trip of 300 ms; recorded with a snap length of 144 bytes",
    at=POINTS,
    software=("python",),
    connections=(Connection((get("/large", 160_000),)),),
    must_not={**FINE, "limited-transfer": "the program writes no faster"},
    wire=FAR,
    options=CUT,
    whole=False,
)
def written_by_a_clock(lab: Lab) -> None:
    """A GET of 160 kB from a server that writes 20 kB of it every 400 ms. Neither a window nor a buffer is full."""
    whole = body(160_000)
    pieces = [whole[at : at + 20_000] for at in range(0, len(whole), 20_000)]
    raw_talk(lab, [[step for piece in pieces for step in (piece, 0.4)]], ANSWER)


@recording(
    title="A receive buffer of 32 kB over a round trip of 2 ms; recorded with a snap length of 144 bytes",
    at="client",
    software=("python",),
    connections=(Connection((get("/large", 160_000),)),),
    must_not={**FINE, "limited-transfer": "a window passes every 2 ms"},
    wire=Conditions(delay=0.001),
    options=CUT,
    whole=False,
)
def window_of_32_kb_rtt_2(lab: Lab) -> None:
    """Like window-of-32-kb, over a short round trip: the window is just as full, but it costs no time."""
    _with_a_window_of_32_kb(lab)


@over_ipv6(
    window_of_32_kb,
    title="A receive buffer of 32 kB over a round trip of 300 ms; IPv6; recorded with a snap length of 144 bytes",
    at="client",
)
def window_of_32_kb_ipv6(lab: Lab) -> None:
    """Like window-of-32-kb, over IPv6."""
    _with_a_window_of_32_kb(lab, "fd00:9::2")


BUFFER = "16384"
"""The value of SO_SNDBUF in bytes. Linux doubles it for its overhead, and allows one write of 64 kB to exceed it."""
WAY = Conditions(delay=0.04)
"""A round trip of 80 ms."""
HEADS = ("-s", "128")
BUFFERED = str(PEERS / "buffered.py")


def _with_a_send_buffer(lab: Lab, address: str = "10.9.0.2") -> None:
    lab.server.serve(8080, sys.executable, BUFFERED, "serve", "8080", "1100000", BUFFER)
    raw_client(lab, ANSWER, address=address)


@recording(
    title="A send buffer of 16 kB over a round trip of 80 ms; recorded with a snap length of 128 bytes",
    at=POINTS,
    software=("python",),
    connections=(Connection((get("/large", 1_100_000),)),),
    finds=(Find("limited-transfer", "send-buffer", "server", 0, note=True),),
    must_not=FINE,
    wire=WAY,
    options=HEADS,
    whole=False,
)
def send_buffer(lab: Lab) -> None:
    """A GET of 1.1 MB from a server that sets SO_SNDBUF to 16 kB: 68 kB are in flight in each round trip and hardly ever more,
    although the client's window grows far beyond that."""
    _with_a_send_buffer(lab)


@over_ipv6(
    send_buffer,
    title="A send buffer of 16 kB over a round trip of 80 ms; IPv6; recorded with a snap length of 132 bytes",
    at="server",
    options=("-s", "132"),
)
def send_buffer_ipv6(lab: Lab) -> None:
    """Like send-buffer, over IPv6."""
    _with_a_send_buffer(lab, "fd00:9::2")


@recording(
    title="An upload with a send buffer of 16 kB over a round trip of 80 ms; recorded with a snap length of 128 bytes",
    at=POINTS,
    software=("python",),
    connections=(Connection((Exchange("POST", "/large", 200, 5, request_body=1_100_000),)),),
    finds=(Find("limited-transfer", "send-buffer", "client", 0, note=True),),
    must_not=FINE,
    wire=WAY,
    options=HEADS,
    whole=False,
)
def send_buffer_upload(lab: Lab) -> None:
    """Like send-buffer, the other way: a POST of 1.1 MB by a client that sets SO_SNDBUF to 16 kB."""
    raw_server(lab, [[b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfine\n"]])
    lab.client.run(sys.executable, BUFFERED, "post", "10.9.0.2", "8080", "1100000", BUFFER)

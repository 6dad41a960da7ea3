"""Record healthy conversations that look like a fault, for docs/pages/healthy-traffic.md."""

from __future__ import annotations

import os
import signal
import sys
import time

from impairments import Conditions
from scenario import PEERS, Connection, Exchange, Find, Lab, get, nginx, raw_client, raw_server, recording, site, steps_as_json
from stalls import REQUEST

READ = {"read": ["GET"]}
SEARCH = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"hits": [1]}'


@recording(
    title="A program that writes 24 times a second, with TCP_NODELAY",
    at="server",
    software=("python",),
    connections=(Connection((), closed_by="server"),),
    must_not={
        "nagle-delayed-ack": "nothing was held back",
        "delayed-ack-stall": "the program waits for no ACK",
        "tinygrams": "each price is sent when it is known",
    },
)
def prices_by_a_clock(lab: Lab) -> None:
    """A client subscribes to prices, in a protocol that is not HTTP. The server writes a price every 41.7 ms; the client's
    delayed ACK of the previous one arrives just before that."""
    prices = [step for n in range(60) for step in (b"price %d\n" % (10_125 + n), 0.0417)]
    raw_server(lab, [[*prices, {"do": "close"}]], nodelay=True)
    raw_client(lab, [[b"subscribe prices\r\n\r\n", {"do": "wait"}]])


@recording(
    title="Responses whose delayed ACK nobody waits for",
    at="client",
    software=("python",),
    connections=(Connection((get("/report", 300, repeat=30),)),),
    must_not={"nagle-delayed-ack": "the response was complete", "delayed-ack-stall": "the response was complete"},
)
def acknowledged_late(lab: Lab) -> None:
    """A client requests the same page five times in a row, and again every 0.1 s. In between it has nothing to send, so its
    kernel acknowledges the fifth response 40 ms later."""
    raw_server(lab, [[b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n" + b"f" * 300]])
    raw_client(lab, [[step for pause in (0, 0, 0, 0, 0.1) * 6 for step in (REQUEST, READ, pause)]])


@recording(
    title="A player that reads a part of a film every half second; recorded with a snap length of 160 bytes",
    at="server",
    software=("python",),
    connections=(Connection((get("/film.mp4", 120_000),), closed_by=None),),
    finds=(Find("zero-window-stall", "own-pace", "client", 0, count=6, note=True),),
    must_not={"retransmission-stall": "a closed window is probed", "unanswered": "each probe has an answer"},
    options=("-s", "160"),
    whole=False,
)
def film_at_its_own_pace(lab: Lab) -> None:
    """A film of 120 kB. The player reads 16 kB of it, and the next 16 kB half a second later. Its receive buffer is small, so the
    window closes each time, because the player has enough data."""
    film = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 120000\r\n\r\n" + b"f" * 120_000
    raw_server(lab, [[film, {"do": "close"}]])
    lab.client.run(sys.executable, str(PEERS / "viewer.py"), "http://10.9.0.2:8080/film.mp4", "16000", "0.5")


@recording(
    title="The path stands still for half a second: a segment is sent twice, and both copies arrive",
    at=("client", "server"),
    software=("python",),
    connections=(Connection((get("/report", 300, repeat=20),)),),
    must_not={
        "retransmission-stall": "no segment was lost",
        "unanswered": "all was acknowledged in the end",
        "capture-loss": "all was captured",
    },
    wire=Conditions(0.010, stands=((3.0, 0.5), (4.5, 0.5), (6.0, 0.5))),
)
def late_not_lost(lab: Lab) -> None:
    """Twenty GETs over a round trip of 20 ms. Now and then the wire holds all packets for half a second, like a radio link, so a
    kernel retransmits packets that are still on their way."""
    raw_server(lab, [[b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n" + b"f" * 300]])
    raw_client(lab, [[step for _ in range(20) for step in (REQUEST, READ, 0.15)]])


@recording(
    title="curl asks localhost: ::1 refuses, and 127.0.0.1 answers",
    at="server",
    software=("nginx", "curl"),
    connections=(Connection((), closed_by="server"), Connection((get("/page.txt", 400),))),
    finds=(Find("connect-failed", "tried-next", "server", 0, note=True),),
    must_not={"no-response": "the request was answered"},
    interface="lo",
)
def localhost_over_ipv4(lab: Lab) -> None:
    """A server that listens on 127.0.0.1 only, and a client on the same host that tries the IPv6 address first."""
    root = site(lab, page=400)
    nginx(lab, besides=f"server {{ listen 127.0.0.1:8080; root {root}; }}")
    names = ("--resolve", "localhost:8080:[::1],127.0.0.1")
    lab.server.run("curl", "-sS", "--max-time", "5", *names, "http://localhost:8080/page.txt")


@recording(
    title="nginx is reloaded while four connections are idle",
    at="server",
    software=("nginx", "python"),
    connections=(Connection((get("/page.txt", 400),), closed_by="server", repeat=4),),
    finds=(Find("idle-close", "stop", "server", None, note=True),),
    must_not={
        "premature-close": "a process ended, no limit did",
        "idle-timeout-broken-promise": "a process that ends cannot keep its promise",
        "no-connection-reuse": "four clients",
    },
)
def deployment(lab: Lab) -> None:
    """Four clients have requested a page at different times from nginx, which announces that it keeps connections for 60 s. Then
    nginx is reloaded, so its old process ends, and closes its idle connections."""
    site(lab, page=400)
    nginx(lab, "keepalive_timeout 60s 60s;")
    for name in (b"red", b"green", b"blue", b"gray"):
        request = b"GET /page.txt HTTP/1.1\r\nHost: a\r\nUser-Agent: %s/1.0\r\n\r\n" % name
        steps = steps_as_json([[request, READ, {"do": "wait"}]])
        lab.client.start(sys.executable, str(PEERS / "raw_client.py"), "10.9.0.2", "80", steps)
        time.sleep(0.8)
    os.kill(int((lab.folder / "nginx.pid").read_text()), signal.SIGHUP)
    time.sleep(1)


@recording(
    title="A search field whose next question replaces the one before",
    at="client",
    software=("python", "node"),
    connections=tuple(Connection((get(f"/search?q={words}", 13),), closed_by=None) for words in ("", "t", "tr")),
    finds=(Find("client-abort", "superseded", "client", 1, note=True),),
    must_not={"no-response": "nobody wanted that response any more", "slow-response": "0.4 s"},
)
def next_question(lab: Lab) -> None:
    """A page sends a request at each key press, on a new connection. It cancels the request "t" when it sends the next one, "tr";
    the server needs 0.4 s for each."""
    raw_server(lab, [[0.4, SEARCH]])
    lab.client.run("node", str(PEERS / "typed.mjs"), "http://10.9.0.2:8080/search?q=")
    time.sleep(0.5)


@recording(
    title="A language model thinks for 0.9 s, and then answers at 500 events a second",
    at=("client", "server"),
    software=("python",),
    connections=(Connection((Exchange("GET", "/v1/messages", 200, 40 * 15, "chunked"),)),),
    must_not={"buffered-stream": "each event was sent when it was written", "tinygrams": "each event was flushed on purpose"},
    wire=Conditions(0.010),
)
def fast_tokens(lab: Lab) -> None:
    """40 events, each written separately, 1.8 ms apart, over a round trip of 20 ms."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    events = [step for n in range(40) for step in (b"f\r\ndata: token %d\n\n\r\n" % (n % 10), 0.0018)]
    raw_server(lab, [[0.9, head, *events, b"0\r\n\r\n"]], nodelay=True)
    raw_client(lab, [[b"GET /v1/messages HTTP/1.1\r\nHost: a\r\n\r\n", READ]])

"""Record round trips of 20 to 150 ms: faults that are the same at every capture point, and healthy traffic that is only slow."""

from __future__ import annotations

import sys

from closes import CLOSE, SILENT
from framing import ROWS, SIZE
from impairments import Conditions
from scenario import (
    PEERS,
    Connection,
    Exchange,
    Find,
    Lab,
    curl,
    get,
    nginx,
    node,
    raw_server,
    raw_talk,
    recording,
)
from stalls import BODY, HEAD, REQUEST
from static_servers import SIZES, URLS

EVERYWHERE = ("client", "middle", "server")
REPORTS = (Connection((get("/report", 300, repeat=6),)),)
SPLIT = (Find("nagle-delayed-ack", "head-body-split", "server", 0, 5, measured=True),)
PAGES = (*(get(f"/{name}.txt", size) for name, size in SIZES.items()), get("/e.txt", 40_000))
HEALTHY = {
    "nagle-delayed-ack": "these are round trips",
    "delayed-ack-stall": "these are round trips, and slow start",
    "slow-response": "these are round trips",
    "retransmission-stall": "nothing was lost",
}


def _split(lab: Lab) -> None:
    raw_talk(lab, [[HEAD, BODY]], [[step for _ in range(6) for step in (REQUEST, {"read": ["GET"]}, 0.01)]])


@recording(
    title="Head and body in two writes over a round trip of 20 ms",
    at=EVERYWHERE,
    software=("python",),
    connections=REPORTS,
    finds=SPLIT,
    wire=Conditions(0.010),
)
def split_rtt_20(lab: Lab) -> None:
    """Like server-head-body-split, six GETs over a wire with a delay of 10 ms in each direction; one conversation, captured at
    the client, in the middle and at the server."""
    _split(lab)


@recording(
    title="Head and body in two writes over a round trip of 120 ms",
    at=EVERYWHERE,
    software=("python",),
    connections=REPORTS,
    finds=SPLIT,
    wire=Conditions(0.060),
)
def split_rtt_120(lab: Lab) -> None:
    """Like split-rtt-20, with 60 ms in each direction."""
    _split(lab)


def _pages(lab: Lab) -> None:
    nginx(lab, **SIZES, e=40_000)
    urls = [*URLS, "http://10.9.0.2/e.txt"]
    lab.client.run(sys.executable, str(PEERS / "session.py"), "0.01", *urls)


@recording(
    title="nginx and requests over a round trip of 20 ms",
    at="client",
    software=("nginx", "requests"),
    connections=(Connection(PAGES),),
    must_not=HEALTHY,
    wire=Conditions(0.010),
)
def nginx_rtt_20(lab: Lab) -> None:
    """Five GETs of a Session, the last of 40 kB: slow start takes some round trips."""
    _pages(lab)


@recording(
    title="nginx and requests over a round trip of 150 ms",
    at=("client", "server"),
    software=("nginx", "requests"),
    connections=(Connection(PAGES),),
    must_not=HEALTHY,
    wire=Conditions(0.075),
)
def nginx_rtt_150(lab: Lab) -> None:
    """Like nginx-rtt-20, with 75 ms in each direction."""
    _pages(lab)


@recording(
    title="Uploads to node over a round trip of 120 ms, with and without Expect: 100-continue",
    at=EVERYWHERE,
    software=("node", "curl"),
    connections=(
        Connection(
            (
                Exchange("POST", "/announced", 200, 0, request_body=3_000, interim=(100,)),
                Exchange("POST", "/form", 200, 0, request_body=20_000),
                get("/stream/6/130", 6 * 40, response_framing="chunked"),
            )
        ),
    ),
    must_not={**HEALTHY, "expect-continue-stall": "the server answered 100 after one round trip"},
    wire=Conditions(0.060),
)
def node_rtt_120(lab: Lab) -> None:
    """curl posts 3,000 bytes with `Expect: 100-continue`, 20 kB without, and asks for six chunks that node writes
    130 ms apart, all on one connection."""
    node(lab, "node_app.js")
    form = lab.file("form", b"u" * 20_000)
    again = ["--next", "-sS", "-o", "/dev/null"]
    url = "http://10.9.0.2:8080"
    announced = ["-H", "Expect: 100-continue", "-d", "e" * 3_000, f"{url}/announced"]
    curl(lab, *announced, *again, "-H", "Expect:", "--data-binary", f"@{form}", f"{url}/form", *again, f"{url}/stream/6/130")


@recording(
    title="A 401 with an unannounced close, over a round trip of 120 ms",
    at=EVERYWHERE,
    software=("python", "requests"),
    connections=(Connection((Exchange("GET", "/report", 401, 25),), closed_by="server", repeat=2),),
    finds=tuple(Find("premature-close", None, "server", number) for number in range(2)),
    wire=Conditions(0.060),
)
def unauthorized_rtt_120(lab: Lab) -> None:
    """Like unauthorized-closes, over a wire, twice."""
    raw_server(lab, [[SILENT, CLOSE]])
    lab.client.run(sys.executable, str(PEERS / "session.py"), "0.3", *["http://10.9.0.2:8080/report"] * 2)


@recording(
    title="A stream without chunks, over a round trip of 120 ms",
    at=EVERYWHERE,
    software=("python", "curl"),
    connections=(Connection((get("/rows.csv", SIZE, response_framing="close-delimited"),), closed_by="server"),),
    finds=(Find("unchunked-streaming", None, "server", 0),),
    wire=Conditions(0.060),
)
def unchunked_rtt_120(lab: Lab) -> None:
    """Like unchunked-stream, with pauses of 600 ms between the pieces: longer than two round trips."""
    pieces = [step for rows in ROWS for step in (rows, 0.6)]
    raw_server(lab, [[b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nConnection: close\r\n\r\n", *pieces, CLOSE]])
    curl(lab, "http://10.9.0.2:8080/rows.csv")

"""Record clients and servers of a network of services: pools that leak, clients that repeat, servers that stand still."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from network import PROXY_FRONT
from scenario import PEERS, Connection, Exchange, Find, get, raw_client, raw_server, raw_talk, recording, steps_as_json

if TYPE_CHECKING:
    from scenario import Lab, Steps

ITEM = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{"stock": 3}'
REFUSED = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 5\r\n\r\nbusy\n"
READ = {"read": ["GET"]}
WAIT = {"do": "wait"}


def _get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode()


OPENED = 14
"""The number of connections, one every 0.2 s."""


def _open_one_after_the_other(lab: Lab, after: float) -> None:
    """Open connections for one request each, which the server closes after 1 s, and the client this long (s) after that."""
    raw_server(lab, [[ITEM.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=1\r\n\r\n"), 1.0, {"do": "close"}]], nodelay=True)
    connections: list[Steps] = [[0.2 * number, _get(f"/item/{number}"), READ, WAIT, after] for number in range(OPENED)]
    raw_client(lab, connections, together=True)


ONE_EACH = tuple(Connection((get(f"/item/{number}", 12),), "server") for number in range(OPENED))


@recording(
    title="The server closes idle connections, and the client never does",
    at=("client", "server"),
    software=("python",),
    connections=ONE_EACH,
    finds=(
        Find("unclosed-connections", None, "client"),
        Find("no-connection-reuse", "cheap", "client", note=True),
        Find("idle-close", None, "server", note=True),
    ),
)
def client_never_closes(lab: Lab) -> None:
    """A client opens a connection for each of 14 requests, one every 0.2 s. The server closes each of them after 1 s, and the
    client leaves it open for 5 s more."""
    _open_one_after_the_other(lab, 5.0)


@recording(
    title="The server closes idle connections, and the client closes, too",
    at="client",
    software=("python",),
    connections=ONE_EACH,
    finds=(Find("no-connection-reuse", "cheap", "client", note=True), Find("idle-close", None, "server", note=True)),
    must_not={"unclosed-connections": "the client closes each connection 50 ms after the server"},
)
def client_closes_too(lab: Lab) -> None:
    """The twin of client-never-closes: the client closes 50 ms after the server."""
    _open_one_after_the_other(lab, 0.05)


REFUSALS = 12


def _repeat(lab: Lab, after: float) -> None:
    """Send a request that the server refuses REFUSALS times, and repeat it each time after a pause (s)."""
    steps: Steps = [step for _ in range(REFUSALS) for step in (_get("/item/1"), READ, after)]
    raw_talk(lab, [[REFUSED]] * REFUSALS + [[ITEM]], [[*steps, _get("/item/1"), READ]], nodelay=True)


IN_VAIN = (Connection((Exchange("GET", "/item/1", 429, 5, repeat=REFUSALS), get("/item/1", 12))),)


@recording(
    title="The client repeats a request 30 ms after each 429, although Retry-After says 1 s",
    at=("client", "server"),
    software=("python",),
    connections=IN_VAIN,
    finds=(Find("retry-storm", None, "client"),),
)
def repeated_at_once(lab: Lab) -> None:
    """The server answers twelve times with 429 and Retry-After: 1. The client waits for 30 ms each time."""
    _repeat(lab, 0.03)


@recording(
    title="The client repeats a request 1.1 s after each 429, as Retry-After says",
    at="client",
    software=("python",),
    connections=IN_VAIN,
    must_not={"retry-storm": "the client waits for as long as the server says"},
)
def repeated_later(lab: Lab) -> None:
    """The twin of repeated-at-once: the client waits for 1.1 s each time."""
    _repeat(lab, 1.1)


USUAL = 6


def _while_a_report_is_made(lab: Lab, how: str) -> None:
    """Ask for /report on one connection, and meanwhile for other things on three others; `how` the server makes the report."""
    lab.server.serve(8080, sys.executable, str(PEERS / "blocking_server.py"), "8080", "0.9", how)
    usual = [[step for one in range(USUAL) for step in (_get(f"/item/{10 * number + one}"), READ, 0.03)] for number in range(3)]
    others: list[Steps] = [
        [0.01 * number, *steps, 1.0, _get(f"/item/{10 * number + 9}"), READ] for number, steps in enumerate(usual)
    ]
    raw_client(lab, [*others, [0.1, 1.05, _get("/report"), READ]], together=True)


ASKED = (
    *(
        Connection((*(get(f"/item/{10 * number + one}", 12) for one in range(USUAL)), get(f"/item/{10 * number + 9}", 12)))
        for number in range(3)
    ),
    Connection((get("/report", 12),)),
)


@recording(
    title="A request blocks the event loop of the server for 0.9 s, and three others wait",
    at=("client", "server"),
    software=("python",),
    connections=ASKED,
    finds=(Find("server-pause", None, "server"),),
)
def blocked_event_loop(lab: Lab) -> None:
    """A server with an event loop (asyncio), which blocks while it makes a report. Three other connections send a request
    meanwhile, and are answered together when the report is done."""
    _while_a_report_is_made(lab, "blocking")


@recording(
    title="A request takes 0.9 s, and three others are answered meanwhile",
    at="client",
    software=("python",),
    connections=ASKED,
    must_not={"server-pause": "the other requests are answered at once"},
)
def event_loop_goes_on(lab: Lab) -> None:
    """The twin of blocked-event-loop: the server waits for the report without blocking its event loop."""
    _while_a_report_is_made(lab, "waiting")


GAVE_UP, PAGES = 5, 12


@recording(
    title="A client gives up after 700 ms again and again, while another program on its host loads pages",
    at=("client", "server"),
    software=("python",),
    connections=(
        Connection(tuple(get(f"/page/{number}", 12) for number in range(PAGES))),
        *(Connection((get(f"/api/{number}", 12),)) for number in range(GAVE_UP)),
    ),
    finds=tuple(Find("client-abort", "timeout", "client", number) for number in range(1, GAVE_UP + 1)),
    must_not={"slow-response": "the server takes less than a second"},
)
def equal_client_timeouts(lab: Lab) -> None:
    """A server needs 0.9 s for five requests, one every 0.9 s. The client closes 700 ms after each, so the response comes too
    late. At the same time, somebody at the same address loads pages from another port."""
    raw_server(lab, [[0.9, ITEM]], nodelay=True)
    raw_server(lab, [[0.008, ITEM.replace(b"application/json", b"text/html")]], 8081, nodelay=True)
    page = b"GET /page/%d HTTP/1.1\r\nHost: shop.example\r\nAccept: text/html\r\n\r\n"
    pages: Steps = [step for number in range(PAGES) for step in (page % number, READ, 0.5)]
    gave_up: list[Steps] = [[0.6 + 0.9 * number, _get(f"/api/{number}"), 0.7] for number in range(GAVE_UP)]
    with ThreadPoolExecutor() as threads:
        threads.submit(raw_client, lab, [pages], 8081)
        raw_client(lab, gave_up, together=True)


HEDGED = 6


@recording(
    title="A client asks a second server after 30 ms, uses the first response, and closes the other connection",
    at=("client", "server"),
    software=("python",),
    connections=tuple(Connection((get(f"/item/{number}", 12),)) for number in range(HEDGED) for _ in range(2)),
    finds=(
        Find("client-abort", "superseded", "client", 0, note=True),
        Find("no-connection-reuse", "cheap", "client", note=True),
    ),
    must_not={"no-response": "the client got every response that it needed"},
)
def hedged_requests(lab: Lab) -> None:
    """The first server needs 300 ms for each of six requests, the second one 8 ms. No request failed."""
    raw_server(lab, [[0.3, ITEM]], 8081, nodelay=True)
    raw_server(lab, [[0.008, ITEM]], 8082, nodelay=True)
    words = [str(PEERS / "hedging_client.py"), "10.9.0.2", str(HEDGED), "0.03", "8081", "8082"]
    lab.client.run(sys.executable, *words)


EARLY, AT_ONCE = 4, 17


def _through_a_proxy(lab: Lab, sockets: int) -> None:
    """Ask a proxy with an http.Agent of this many sockets: EARLY times in a row, then on AT_ONCE connections together."""
    assert lab.user
    raw_server(lab, [[0.05, ITEM]], nodelay=True)
    lab.client.serve(80, "node", str(PEERS / "agent_proxy.js"), "80", "10.9.0.2", "8080", str(sockets))
    early = [step for number in range(EARLY) for step in (_get(f"/item/{number}"), READ, 0.02)]
    later: list[Steps] = [[0.6 + 0.002 * number, _get(f"/item/{EARLY + number}"), READ] for number in range(AT_ONCE)]
    words = [str(PEERS / "raw_client.py"), PROXY_FRONT, "80", steps_as_json([[0.0, *early], *later]), "together"]
    lab.user.run(sys.executable, *words)


ITEMS = (Connection(tuple(get(f"/item/{number}", 12) for number in range(EARLY + AT_ONCE))),)


@recording(
    title="A proxy has two connections to its server, and 15 of 17 requests wait in it for one of these",
    at="proxy",
    software=("node", "python"),
    connections=ITEMS,
    finds=(Find("queued-requests", "connections", "client"),),
    must_not={"slow-sibling": "there is one server"},
    interface="any",
    proxied=True,
    spread=True,
)
def two_sockets_to_the_server(lab: Lab) -> None:
    """Node's http.Agent with maxSockets: 2 in a proxy, and a server that needs 50 ms for each request. The last of 17 requests
    that come together waits for eight turns."""
    _through_a_proxy(lab, 2)


@recording(
    title="A proxy has as many connections to its server as it needs",
    at="proxy",
    software=("node", "python"),
    connections=ITEMS,
    must_not={"queued-requests": "the proxy opens 32 connections"},
    interface="any",
    proxied=True,
    spread=True,
)
def enough_sockets_to_the_server(lab: Lab) -> None:
    """The twin of two-sockets-to-the-server: maxSockets: 32."""
    _through_a_proxy(lab, 32)


REPORTS, OF_OTHERS = 2, 12


def _behind_reports(lab: Lab, workers: int) -> None:
    """Ask for /item four times, then for /report on two connections, and for /item on OF_OTHERS others meanwhile."""
    lab.server.serve(8080, sys.executable, str(PEERS / "worker_server.py"), "8080", str(workers), "0.02", "0.5")
    early = [step for number in range(EARLY) for step in (_get(f"/item/{number}"), READ, 0.01)]
    reports: list[Steps] = [[0.3, _get(f"/report/{number}"), READ] for number in range(REPORTS)]
    others: list[Steps] = [[0.35 + 0.01 * number, _get(f"/item/{10 + number}"), READ] for number in range(OF_OTHERS)]
    raw_client(lab, [[0.0, *early], *reports, *others], together=True)


MEANWHILE = (
    Connection(tuple(get(f"/item/{number}", 12) for number in range(EARLY))),
    *(Connection((get(f"/report/{number}", 12),)) for number in range(REPORTS)),
    *(Connection((get(f"/item/{10 + number}", 12),)) for number in range(OF_OTHERS)),
)


@recording(
    title="Two reports occupy both workers of a server for 0.5 s, and twelve quick requests wait",
    at="server",
    software=("python",),
    connections=MEANWHILE,
    finds=(Find("queued-requests", "workers", "server"),),
    must_not={"server-pause": "the requests are answered one after the other"},
    spread=True,
)
def two_busy_workers(lab: Lab) -> None:
    """A pool of two threads. A request for /item takes 20 ms, one for /report half a second."""
    _behind_reports(lab, 2)


@recording(
    title="Two reports take 0.5 s, and twelve quick requests are answered meanwhile",
    at="server",
    software=("python",),
    connections=MEANWHILE,
    must_not={"queued-requests": "other workers are free"},
    spread=True,
)
def enough_workers(lab: Lab) -> None:
    """The twin of two-busy-workers: 16 threads."""
    _behind_reports(lab, 16)


WAITING = 2


def _beside_a_spare_connection(lab: Lab, *options: str) -> None:
    """Open a connection without a request twice, and send a request on another one meanwhile."""
    lab.server.serve(8080, sys.executable, str(PEERS / "one_at_a_time.py"), "8080", *options)
    spare: list[Steps] = [[1.2 * number, 0.8] for number in range(WAITING)]
    asked: list[Steps] = [[0.05 + 1.2 * number, _get(f"/item/{number}"), READ] for number in range(WAITING)]
    raw_client(lab, [*spare, *asked], together=True)


BESIDE = (
    Connection((), repeat=WAITING),
    *(Connection((get(f"/item/{number}", 12),), closed_by=None) for number in range(WAITING)),
)


@recording(
    title="A server serves one connection at a time, and waits for a request on a spare one",
    at="client",
    software=("python",),
    connections=BESIDE,
    finds=(Find("queued-requests", "workers", "server"),),
    spread=True,
)
def behind_a_spare_connection(lab: Lab) -> None:
    """Python's http.server without threads. The client opens a connection that it does not use for 0.8 s, like a browser, and
    sends its request on another one; twice."""
    _beside_a_spare_connection(lab)


@recording(
    title="A server with threads answers although a spare connection is open",
    at="client",
    software=("python",),
    connections=BESIDE,
    must_not={"queued-requests": "each connection has a thread of its own"},
    spread=True,
)
def beside_a_spare_connection(lab: Lab) -> None:
    """The twin of behind-a-spare-connection: Python's http.server with threads."""
    _beside_a_spare_connection(lab, "threads")

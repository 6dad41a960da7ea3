"""Record several servers behind one name, of which one or none is slow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from impairments import Conditions
from scenario import Connection, Exchange, Find, get, raw_client, raw_server, raw_user, recording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scenario import Lab

NGINX = """\
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
  access_log off; server_tokens off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream shop {{ {servers} keepalive 6; }}
  server {{ listen 80; location / {{ proxy_pass http://shop; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
}}
"""
PORTS = (8081, 8082, 8083)
ROUNDS = 12
ITEM = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{"stock": 3}'
GETS = tuple(get(f"/item/{number}", 12) for number in range(ROUNDS * len(PORTS)))
BEHIND = tuple(Connection(GETS[first :: len(PORTS)], closed_by=None) for first in range(len(PORTS)))


def _go_round(lab: Lab, *pauses: float) -> None:
    """Start three servers with these response times, and nginx, which forwards a user's requests to them in turn."""
    for port, pause in zip(PORTS, pauses, strict=True):
        raw_server(lab, [[pause, ITEM]], port, nodelay=True)
    conf = lab.folder / "proxy.conf"
    servers = " ".join(f"server 10.9.0.2:{port};" for port in PORTS)
    conf.write_text(NGINX.format(folder=lab.folder, servers=servers))
    lab.client.serve(80, "nginx", "-c", str(conf))
    steps = [
        step
        for number in range(len(GETS))
        for step in (f"GET /item/{number} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode(), {"read": ["GET"]})
    ]
    raw_user(lab, *steps)


@recording(
    title="Behind nginx: one of three servers takes 180 ms, the others 8 ms",
    at="proxy",
    software=("nginx", "python"),
    connections=(Connection(GETS), *BEHIND),
    finds=(Find("slow-sibling", None, "server"),),
    must_not={"slow-response": "it takes less than a second"},
    interface="any",
    proxied=True,
)
def behind_nginx_slow_sibling(lab: Lab) -> None:
    """nginx forwards to three servers in turn, each of which answers twelve of 36 requests. The one on port 8082 is always
    slow."""
    _go_round(lab, 0.008, 0.180, 0.008)


@recording(
    title="Behind nginx: three servers, each of which is sometimes slow",
    at="proxy",
    software=("nginx", "python"),
    connections=(Connection(GETS), *BEHIND),
    must_not={"slow-sibling": "all are alike"},
    interface="any",
    proxied=True,
)
def behind_nginx_siblings(lab: Lab) -> None:
    """The twin of behind-nginx-slow-sibling: 8, 20 and 12 ms."""
    _go_round(lab, 0.008, 0.020, 0.012)


def _ask_each(lab: Lab, address: str, *pauses: float, last: Sequence[bytes] = (ITEM,)) -> None:
    """Run one client and three servers with these response times: one connection to each, with twelve requests.

    `last`: the responses of the last server, in turn.
    """
    for port, pause in zip(PORTS, pauses, strict=True):
        answers = [[pause, answer] for answer in (last if port == PORTS[-1] else (ITEM,))]
        raw_server(lab, answers * ROUNDS if len(answers) > 1 else answers, port, nodelay=True)
    for first, port in enumerate(PORTS):
        numbers = range(first, len(GETS), len(PORTS))
        ask = [f"GET /item/{number} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode() for number in numbers]
        raw_client(lab, [[step for request in ask for step in (request, {"read": ["GET"]})]], port, address=address)


@recording(
    title="One of three servers that a client uses directly takes 180 ms, the others 8 ms; IPv6",
    at=("client", "server"),
    software=("python",),
    connections=BEHIND,
    finds=(Find("slow-sibling", None, "server"),),
    must_not={"slow-response": "it takes less than a second"},
    wire=Conditions(0.020),
)
def slow_sibling_ipv6(lab: Lab) -> None:
    """Like behind-nginx-slow-sibling, without nginx: a client sends requests to three servers, over IPv6 and a round trip of 20
    ms."""
    _ask_each(lab, "fd00:9::2", 0.008, 0.180, 0.008)


BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nbusy\n"
ANSWERED = tuple(
    Connection(tuple(Exchange("GET", f"/item/{number}", *outcome) for number, outcome in answers), closed_by=None)
    for answers in (
        [(number, (503, 5) if port == 2 and number % 2 else (200, 12)) for number in range(port, len(GETS), len(PORTS))]
        for port in range(len(PORTS))
    )
)


@recording(
    title="One of three servers takes 180 ms, and another one answers six of twelve requests with 503",
    at=("client", "server"),
    software=("python",),
    connections=ANSWERED,
    finds=(Find("slow-sibling", None, "server"), Find("failing-sibling", None, "server")),
    must_not={"slow-response": "it takes less than a second", "gateway-error": "no gateway is in the capture"},
    wire=Conditions(0.020),
)
def slow_sibling_and_errors(lab: Lab) -> None:
    """Like slow-sibling-ipv6, over IPv4: the server on port 8082 is slow, and the one on port 8083 answers every other request
    with 503."""
    _ask_each(lab, "10.9.0.2", 0.008, 0.180, 0.008, last=(ITEM, BUSY))


@recording(
    title="Three servers that a client uses directly, each of which is sometimes slow; IPv6",
    at="client",
    software=("python",),
    connections=BEHIND,
    must_not={"slow-sibling": "all are alike"},
    wire=Conditions(0.020),
)
def siblings_ipv6(lab: Lab) -> None:
    """The twin of slow-sibling-ipv6: 8, 20 and 12 ms."""
    _ask_each(lab, "fd00:9::2", 0.008, 0.020, 0.012)


BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 5\r\n\r\noops\n"


def _failing(*failing: int) -> tuple[Connection, ...]:
    """Return the connections to the three servers, of which those in `failing` answer every other request with 500."""
    return tuple(
        Connection(
            tuple(
                Exchange("GET", f"/item/{number}", *((500, 5) if server in failing and place % 2 else (200, 12)))
                for place, number in enumerate(range(server, len(GETS), len(PORTS)))
            ),
            closed_by=None,
        )
        for server in range(len(PORTS))
    )


def _ask_failing(lab: Lab, *failing: int) -> None:
    for server, port in enumerate(PORTS):
        answers = [[0.008, ITEM], [0.008, BROKEN if server in failing else ITEM]]
        raw_server(lab, answers * ROUNDS, port, nodelay=True)
        ask = [f"GET /item/{number} HTTP/1.1\r\nHost: shop.example\r\n\r\n" for number in range(server, len(GETS), len(PORTS))]
        raw_client(lab, [[step for request in ask for step in (request, {"read": ["GET"]})]], port)


@recording(
    title="One of three servers answers six of twelve requests with 500, the others none",
    at=("client", "server"),
    software=("python",),
    connections=_failing(1),
    finds=(Find("failing-sibling", None, "server"),),
)
def failing_sibling(lab: Lab) -> None:
    """A client sends requests with the same paths to three servers. The one on port 8082 answers every other one with 500."""
    _ask_failing(lab, 1)


@recording(
    title="Three servers, of which each answers six of twelve requests with 500",
    at="client",
    software=("python",),
    connections=_failing(0, 1, 2),
    must_not={"failing-sibling": "all are alike"},
)
def failing_siblings(lab: Lab) -> None:
    """The twin of failing-sibling: all three servers answer every other request with 500."""
    _ask_failing(lab, 0, 1, 2)

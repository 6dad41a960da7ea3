"""Record more servers and clients over long round trips: pipelines, trailers, downloads, uploads without a length, TLS."""

from __future__ import annotations

import sys

from asynchronous import EVERYWHERE, MIXED, MIXED_PATHS, UPLOADED, UPLOADS
from impairments import Conditions
from others import NO_HTTP, TLS, redis
from scenario import PEERS, Connection, Exchange, Lab, curl, get, nginx, nginx_with_tls, recording
from small_servers import pipeline
from stacks import V4, V6, asgi, gets, go_server, haproxy, jetty, node_fetch, python_client, squid, tomcat
from static_servers import SIZES

TRAILED = (
    get("/trailers/2", 800, response_framing="chunked"),
    get("/bytes/300", 300),
    get("/trailers/5", 2_000, response_framing="chunked"),
    get("/bytes/0", 0),
    get("/chunks/3/20", 1_200, response_framing="chunked"),
)
ORDERLY = {"excess-body": "responses follow each other", "nagle-delayed-ack": "the application pauses between chunks"}


@recording(
    title="A pipeline to Go over a round trip of 20 ms: chunks with trailer fields, pages, slow chunks; IPv6",
    at=EVERYWHERE,
    software=("go", "python"),
    connections=(Connection(TRAILED),),
    must_not=ORDERLY,
    wire=Conditions(0.010),
)
def go_pipelined_rtt_20(lab: Lab) -> None:
    """A hand-written client writes five requests in one send and then reads the five responses. Recorded over IPv6."""
    go_server(lab)
    pipeline(lab, [f"{exchange.method} {exchange.target}" for exchange in TRAILED])


@recording(
    title="A pipeline to uvicorn over a round trip of 120 ms: pages and chunks; IPv6",
    at=("client", "server"),
    software=("uvicorn", "python"),
    connections=(Connection(MIXED),),
    must_not=ORDERLY,
    wire=Conditions(0.060),
)
def uvicorn_pipelined_rtt_120(lab: Lab) -> None:
    """Like go-pipelined-rtt-20, with five GETs: uvicorn reads the next request only when a response is finished. Recorded over
    IPv6."""
    asgi(lab, "uvicorn", address="[::]")
    pipeline(lab, [f"GET {path}" for path in MIXED_PATHS])


@recording(
    title="Jetty and node's fetch over a round trip of 20 ms: pages, chunks, uploads; IPv6",
    at=("client", "server"),
    software=("jetty", "undici"),
    connections=(Connection((*MIXED, *UPLOADED)),),
    wire=Conditions(0.010),
)
def jetty_fetch_rtt_20(lab: Lab) -> None:
    """Eight requests of node's fetch on one connection, one with a body of unknown length. Over IPv6."""
    jetty(lab)
    node_fetch(lab, [*gets(*MIXED_PATHS), *UPLOADS], V6)


@recording(
    title="Tomcat and Wget: a page, chunks, a page",
    at="server",
    software=("tomcat", "wget"),
    connections=(Connection((MIXED[0], MIXED[3], MIXED[4])),),
)
def tomcat_wget(lab: Lab) -> None:
    """One wget command with three URLs on one connection."""
    tomcat(lab)
    lab.client.run("wget", "-q", "-O", "/dev/null", *[V4 + path for path in (MIXED_PATHS[0], *MIXED_PATHS[3:])])


@recording(
    title="hypercorn and aiohttp over a round trip of 120 ms; IPv6",
    at="client",
    software=("hypercorn", "aiohttp"),
    connections=(Connection((*MIXED, *UPLOADED)),),
    wire=Conditions(0.060),
)
def hypercorn_rtt_120(lab: Lab) -> None:
    """Eight requests of one aiohttp.ClientSession. Recorded over IPv6."""
    asgi(lab, "hypercorn", address="[::]")
    python_client(lab, "aiohttp", [*gets(*MIXED_PATHS), *UPLOADS], V6)


@recording(
    title="HAProxy in front of nginx: a download through both over a round trip of 20 ms; with a snap length of 400 bytes",
    at="server",
    software=("haproxy", "nginx", "curl"),
    connections=(
        Connection((get("/a.txt", 300), get("/large.txt", 250_000))),
        Connection((get("/a.txt", 300), get("/large.txt", 250_000)), closed_by=""),
    ),
    wire=Conditions(0.010),
    options=("-s", "400"),
    whole=False,
)
def haproxy_download_rtt_20(lab: Lab) -> None:
    """nginx runs on the client's host, so HAProxy receives and forwards over the same wire, in opposite directions. Bodies are
    truncated in the recording."""
    nginx(lab.turned, "listen 8080;", **SIZES, large=250_000)
    haproxy(lab, "server one 10.9.0.1:8080")
    curl(lab, "http://10.9.0.2/a.txt", "http://10.9.0.2/large.txt")


@recording(
    title="TLS through Squid: CONNECT, and then an encrypted tunnel",
    at="server",
    software=("openssl", "squid", "nginx", "curl"),
    connections=(
        Connection((Exchange("CONNECT", "10.9.0.1:443", 200, 0, "tunnel"),)),
        Connection((), closed_by=None),
    ),
    finds=TLS,
    must_not={**NO_HTTP, "client-abort": "a tunnel", "premature-close": "a tunnel"},
    unassembled=True,
)
def squid_tls(lab: Lab) -> None:
    """Two GETs by curl over TLS through Squid from nginx, which runs on the client's host."""
    nginx_with_tls(lab.turned, **SIZES)
    squid(lab)
    pages = [f"https://10.9.0.1/{name}.txt" for name in ("a", "d")]
    curl(lab, "--insecure", "-x", "http://10.9.0.2:3128", *pages)


@recording(
    title="Redis and redis-py over a round trip of 20 ms: commands one by one, and a pipeline",
    at=EVERYWHERE,
    software=("redis-server", "redis"),
    connections=(Connection(()),),
    must_not={**NO_HTTP, "nagle-delayed-ack": "each command is one send", "delayed-ack-stall": "these are round trips"},
    wire=Conditions(0.010),
)
def redis_rtt_20(lab: Lab) -> None:
    """Like redis-py, over a wire."""
    redis(lab)
    lab.client.run(sys.executable, str(PEERS / "redis_client.py"), "10.9.0.2")

"""Record reverse and forward proxies (HAProxy, Varnish, nginx, Squid), with both of their sides in one recording."""

from __future__ import annotations

import sys

from asynchronous import MIXED, MIXED_PATHS, UPLOADED, UPLOADS
from impairments import Conditions
from scenario import PEERS, Connection, Exchange, Find, Lab, curl, get, nginx, node, recording
from stacks import asgi, gets, haproxy, lighttpd, python_app, python_client, squid, varnish
from static_servers import FOUR, SIZES, URLS
from threaded import WSGI, WSGI_PATHS

FRONT = "http://10.9.0.2"
LOOPBACK = "http://127.0.0.1"
FORWARDED = {"premature-close": "each side ends its connections by itself", "no-connection-reuse": "connections are kept"}


@recording(
    title="HAProxy in front of waitress, both sides; Linux cooked capture on any",
    at="any",
    software=("haproxy", "waitress", "requests"),
    connections=(
        Connection((WSGI[0], WSGI[2], WSGI[3], WSGI[0], WSGI[2], WSGI[3])),
        Connection((WSGI[0], WSGI[2], WSGI[3], WSGI[0], WSGI[2], WSGI[3]), closed_by=""),
    ),
    interface="any",
    must_not=FORWARDED,
)
def haproxy_waitress(lab: Lab) -> None:
    """Six GETs of a requests.Session over the cable to HAProxy, and by HAProxy over the loopback interface to waitress, on one
    connection each: HAProxy reuses the connection to its backend because the client's has not ended."""
    python_app(lab, "waitress", "127.0.0.1", "8080")
    haproxy(lab, "server one 127.0.0.1:8080")
    paths = [path for path in WSGI_PATHS if "chunks" not in path]
    lab.client.run(sys.executable, str(PEERS / "session.py"), "0.01", *[FRONT + path for path in paths * 2])


@recording(
    title="HAProxy in front of uvicorn: both sides, each with a round trip of 20 ms",
    at=("client", "middle", "server"),
    software=("haproxy", "uvicorn", "httpx"),
    connections=(Connection((*MIXED, *UPLOADED)), Connection((*MIXED, *UPLOADED), closed_by=None)),
    must_not=FORWARDED,
    wire=Conditions(0.010),
)
def haproxy_uvicorn_rtt_20(lab: Lab) -> None:
    """An httpx.Client asks HAProxy, which asks uvicorn on the client's host: both conversations travel over the same wire,
    in opposite directions."""
    asgi(lab.turned, "uvicorn", port=8081)
    haproxy(lab, "server one 10.9.0.1:8081")
    python_client(lab, "httpx", [*gets(*MIXED_PATHS), *UPLOADS], FRONT)


@recording(
    title="Varnish in front of lighttpd: four misses, then eight hits; Linux cooked capture on any",
    at="any",
    software=("varnish", "lighttpd", "curl"),
    connections=(Connection(FOUR * 3), Connection(FOUR, closed_by="")),
    interface="any",
    must_not={**FORWARDED, "one-sided": "lighttpd and Varnish keep their connection open"},
)
def varnish_lighttpd(lab: Lab) -> None:
    """One curl command with twelve URLs over the cable to Varnish, which requests what it does not have yet from lighttpd over
    the loopback interface, on one connection that it keeps."""
    lighttpd(lab, port=8080, **SIZES)
    varnish(lab, "127.0.0.1:8080")
    curl(lab, *URLS * 3)


@recording(
    title="Varnish in front of lighttpd, over a round trip of 120 ms",
    at=("client", "server"),
    software=("varnish", "lighttpd", "urllib3"),
    connections=(Connection((*FOUR, *FOUR, Exchange("HEAD", "/d.txt", 200, 0, "none"))),),
    must_not=FORWARDED,
    wire=Conditions(0.060),
)
def varnish_rtt_120(lab: Lab) -> None:
    """Like varnish-lighttpd, the client's side only: hits are as fast as misses, because the round trip takes most of the
    time."""
    lighttpd(lab, port=8080, **SIZES)
    varnish(lab, "127.0.0.1:8080")
    paths = [f"/{name}.txt" for name in SIZES]
    python_client(lab, "urllib3", [*gets(*paths * 2), ("HEAD", "", "/d.txt")], FRONT)


OLD_BACKEND = tuple(
    Connection((exchange,), closed_by=None)
    for exchange in (get("/bytes/2000", 2_000), get("/chunks/4/30", 1_600, response_framing="close-delimited"))
)


@recording(
    title="nginx with its defaults in front of uvicorn: HTTP/1.0 and a new connection per request behind it, chunks in front",
    at="any",
    software=("nginx", "uvicorn", "curl"),
    connections=(
        Connection((get("/bytes/2000", 2_000), get("/chunks/4/30", 1_600, response_framing="chunked"))),
        *OLD_BACKEND,
    ),
    interface="any",
    finds=(Find("close-delimited", None, "server", 2, note=True),),
    must_not={
        "keep-alive-disabled": "the requests are HTTP/1.0",
        "http10-downgrade": "the requests are HTTP/1.0",
        "unchunked-streaming": "the request is HTTP/1.0",
    },
)
def nginx_uvicorn(lab: Lab) -> None:
    """nginx sends requests to its backend in HTTP/1.0, which is its default. uvicorn cannot chunk in HTTP/1.0, and ends the body
    with the connection; nginx makes chunks of it."""
    asgi(lab, "uvicorn", address="127.0.0.1")
    nginx(lab, f"location / {{ proxy_pass {LOOPBACK}:8080; }}")
    curl(lab, f"{FRONT}/bytes/2000", f"{FRONT}/chunks/4/30")


KEPT = "proxy_http_version 1.1; proxy_set_header Connection '';"


@recording(
    title="nginx in front of uvicorn with HTTP/1.1 and connections that are kept alive, both sides",
    at="any",
    software=("nginx", "uvicorn", "httpx"),
    connections=(Connection((*MIXED, *UPLOADED)), Connection((*MIXED, *UPLOADED), closed_by=None)),
    interface="any",
    must_not=FORWARDED,
)
def nginx_uvicorn_kept(lab: Lab) -> None:
    """Like nginx-uvicorn, with `proxy_http_version 1.1` and a pool of connections to the backend: five pages and three uploads on
    one connection in front and one behind."""
    asgi(lab, "uvicorn", address="127.0.0.1")
    upstream = "upstream backend { server 127.0.0.1:8080; keepalive 4; }"
    nginx(lab, f"location / {{ proxy_pass http://backend; {KEPT} }}", upstream)
    python_client(lab, "httpx", [*gets(*MIXED_PATHS), *UPLOADS], FRONT)


VIA = "http://10.9.0.2:3128"
ORIGIN = "http://10.9.0.1:8080"


@recording(
    title="Squid as a forward proxy: requests in absolute form in front, in origin form behind",
    at="server",
    software=("squid", "node", "curl"),
    connections=(
        Connection((get(f"{ORIGIN}/bytes/3000", 3_000), get(f"{ORIGIN}/stream/3/20", 120, response_framing="chunked"))),
        Connection((get("/bytes/3000", 3_000), get("/stream/3/20", 120, response_framing="chunked")), closed_by=""),
    ),
    must_not=FORWARDED,
)
def squid_forward(lab: Lab) -> None:
    """curl requests two pages of node through Squid; node runs on the client's host, so both conversations are on the same
    cable."""
    node(lab.turned, "node_app.js")
    squid(lab)
    curl(lab, "-x", VIA, f"{ORIGIN}/bytes/3000", f"{ORIGIN}/stream/3/20")


@recording(
    title="CONNECT through Squid, over a round trip of 20 ms: a tunnel with HTTP in it",
    at=("client", "server"),
    software=("squid", "node", "curl"),
    connections=(
        Connection((Exchange("CONNECT", "10.9.0.1:8080", 200, 0, "tunnel"),)),
        Connection((get("/bytes/3000", 3_000), get("/bytes/200", 200))),
    ),
    must_not={**FORWARDED, "excess-body": "a tunnel", "no-response": "a tunnel", "client-abort": "a tunnel"},
    wire=Conditions(0.010),
)
def squid_connect_rtt_20(lab: Lab) -> None:
    """curl --proxytunnel asks Squid to CONNECT to node on the client's host, and then sends node two requests through the tunnel.
    The data in the tunnel is no exchange with Squid; behind Squid, it is an exchange with node."""
    node(lab.turned, "node_app.js")
    squid(lab)
    curl(lab, "-p", "-x", VIA, f"{ORIGIN}/bytes/3000", f"{ORIGIN}/bytes/200")

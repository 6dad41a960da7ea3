"""Record waitress, werkzeug, Jetty, Tomcat and Go: servers with a thread per request, and clients that keep connections."""

from __future__ import annotations

import sys

from asynchronous import EVERYWHERE, MIXED, MIXED_PATHS, UPLOADED, UPLOADS
from impairments import Conditions
from scenario import PEERS, Connection, Exchange, Find, Lab, curl, get, recording
from stacks import V4, V6, Wanted, gets, go_client, go_server, java_client, jetty, python_app, python_client, tomcat

AGAIN = ["--next", "-sS", "-o", "/dev/null"]
WSGI_PATHS = ("/bytes/2000", "/chunks/5", "/bytes/0", "/bytes/9000")
WSGI = (
    get("/bytes/2000", 2_000),
    get("/chunks/5", 2_000, response_framing="chunked"),
    get("/bytes/0", 0),
    get("/bytes/9000", 9_000),
)
ANNOUNCED = Exchange("POST", "/upload", 200, 21, request_body=20_000, interim=(100,))
PATIENT = {"expect-continue-stall": "the server answered 100"}


@recording(
    title="waitress and requests: twelve GETs of a Session",
    at="server",
    software=("waitress", "requests"),
    connections=(
        Connection(WSGI[:2], closed_by=None),
        Connection((*WSGI[2:], *WSGI[:2]), closed_by=None, repeat=2),
        Connection(WSGI[2:]),
    ),
    must_not={"premature-close": "the responses in chunks say Connection: close", "keep-alive-disabled": "the others keep it"},
)
def waitress_requests(lab: Lab) -> None:
    """A requests.Session, 10 ms between the exchanges; every fourth response has five chunks, after which waitress closes the
    connection, as announced."""
    python_app(lab, "waitress", "0.0.0.0", "8080")
    lab.client.run(sys.executable, str(PEERS / "session.py"), "0.01", *[V4 + path for path in WSGI_PATHS] * 3)


@recording(
    title="waitress and urllib3 over a round trip of 20 ms: uploads",
    at=EVERYWHERE,
    software=("waitress", "urllib3"),
    connections=(Connection((*UPLOADED, *WSGI[:2]), closed_by=None), Connection(WSGI[2:])),
    wire=Conditions(0.010),
)
def waitress_rtt_20(lab: Lab) -> None:
    """Three uploads, one of them in chunks, and four GETs; captured at the client, in the middle and at the server."""
    python_app(lab, "waitress", "0.0.0.0", "8080")
    python_client(lab, "urllib3", [*UPLOADS, *gets(*WSGI_PATHS)])


CLOSING = (get("/bytes/2000", 2_000), get("/chunks/5", 2_000, response_framing="chunked"))


@recording(
    title="werkzeug's development server and httpx: two pages",
    at="client",
    software=("werkzeug", "httpx"),
    connections=tuple(Connection((exchange,), closed_by=None) for exchange in CLOSING),
    must_not={"premature-close": "every response says Connection: close", "keep-alive-disabled": "two are too few to say so"},
)
def werkzeug_two_pages(lab: Lab) -> None:
    """werkzeug's development server, which Flask uses, sends `Connection: close` in every response, and closes."""
    python_app(lab, "werkzeug", "8080")
    python_client(lab, "httpx", gets("/bytes/2000", "/chunks/5"))


@recording(
    title="werkzeug's development server never keeps a connection",
    at="server",
    software=("werkzeug", "requests"),
    connections=tuple(Connection((exchange,), closed_by=None) for exchange in CLOSING * 3),
    finds=(Find("keep-alive-disabled", "cheap", "server", note=True),),
    must_not={"premature-close": "every response says so", "no-connection-reuse": "it is the server that closes"},
)
def werkzeug_never_keeps(lab: Lab) -> None:
    """Six GETs of a requests.Session, one after the other, each on a connection of its own."""
    python_app(lab, "werkzeug", "8080")
    lab.client.run(sys.executable, str(PEERS / "session.py"), "0.01", *[f"{V4}/bytes/2000", f"{V4}/chunks/5"] * 3)


@recording(
    title="Jetty and Java's HttpClient: pages, chunks, uploads; IPv6",
    at="client",
    software=("jetty", "java-client"),
    connections=(Connection((*MIXED, *UPLOADED, ANNOUNCED)),),
    must_not=PATIENT,
)
def jetty_java(lab: Lab) -> None:
    """Nine requests of one java.net.http.HttpClient, which asks for `Upgrade: h2c` each time and does not get it; the last
    upload expects 100 and gets it. Recorded over IPv6."""
    jetty(lab)
    java_client(lab, [*gets(*MIXED_PATHS), *UPLOADS, ("POST", "!20000", "/upload")], V6)


@recording(
    title="Jetty and ab -k: HTTP/1.0 with keep-alive",
    at="server",
    software=("jetty", "ab"),
    connections=(Connection((get("/bytes/1000", 1_000, repeat=12),), closed_by=None),),
)
def jetty_ab_keep_alive(lab: Lab) -> None:
    """ab -k sends twelve HTTP/1.0 requests with Connection: keep-alive on one connection."""
    jetty(lab)
    lab.client.run("ab", "-q", "-k", "-n", "12", "-c", "1", f"{V4}/bytes/1000")


@recording(
    title="Tomcat and Java's HttpClient over a round trip of 20 ms",
    at=EVERYWHERE,
    software=("tomcat", "java-client"),
    connections=(Connection((*MIXED, *UPLOADED)),),
    wire=Conditions(0.010),
)
def tomcat_rtt_20(lab: Lab) -> None:
    """Eight requests of one java.net.http.HttpClient; captured at the client, in the middle and at the server."""
    tomcat(lab)
    java_client(lab, [*gets(*MIXED_PATHS), *UPLOADS])


@recording(
    title="Tomcat and curl: uploads with Expect: 100-continue, over a round trip of 120 ms; IPv6",
    at=("client", "server"),
    software=("tomcat", "curl"),
    connections=(Connection((ANNOUNCED, ANNOUNCED, get("/bytes/500", 500))),),
    must_not=PATIENT,
    wire=Conditions(0.060),
)
def tomcat_expect_rtt_120(lab: Lab) -> None:
    """curl posts 20 kB twice with `Expect: 100-continue`, and asks for 500 bytes, all on one connection. Over IPv6."""
    tomcat(lab)
    form = lab.file("form", b"u" * 20_000)
    post = ["-H", "Expect: 100-continue", "--data-binary", f"@{form}", f"{V6}/upload", *AGAIN]
    curl(lab, *post, *post, f"{V6}/bytes/500")


def _received(size: int, trailer: str) -> int:
    return len(f'received {size} bytes, trailer "{trailer}"\n')


GO_UPLOADS: list[Wanted] = [("POST", "3000", "/upload"), ("PUT", "~5500", "/upload"), ("POST", "!20000", "/upload")]
GO_UPLOADED = (
    Exchange("POST", "/upload", 200, _received(3_000, ""), request_body=3_000),
    Exchange("PUT", "/upload", 200, _received(5_500, "00000000"), request_body=5_500),
    Exchange("POST", "/upload", 200, _received(20_000, ""), request_body=20_000, interim=(100,)),
)


@recording(
    title="Go and Go: chunks with trailer fields in both directions, 100 and 103; IPv6",
    at="server",
    software=("go",),
    connections=(
        Connection(
            (
                get("/trailers/3", 1_200, response_framing="chunked"),
                *GO_UPLOADED,
                Exchange("GET", "/hints/700", 200, 700, interim=(103,)),
                get("/trailers/8", 3_200, response_framing="chunked"),
            )
        ),
    ),
    must_not={**PATIENT, "malformed-head": "trailer fields are no head", "tiny-chunks": "400 bytes are not tiny"},
)
def go_trailers(lab: Lab) -> None:
    """Six requests of one http.Client to net/http: trailer fields behind the chunks of two responses and of one upload,
    an upload that expects 100, early hints before a response. Recorded over IPv6."""
    go_server(lab)
    go_client(lab, [*gets("/trailers/3"), *GO_UPLOADS, *gets("/hints/700", "/trailers/8")], V6)


@recording(
    title="Go and Go over a round trip of 20 ms",
    at=EVERYWHERE,
    software=("go",),
    connections=(Connection((*MIXED, *GO_UPLOADED, get("/trailers/4", 1_600, response_framing="chunked"))),),
    must_not=PATIENT,
    wire=Conditions(0.010),
)
def go_rtt_20(lab: Lab) -> None:
    """Nine requests of one http.Client to net/http; captured at the client, in the middle and at the server."""
    go_server(lab)
    go_client(lab, [*gets(*MIXED_PATHS), *GO_UPLOADS, *gets("/trailers/4")])


@recording(
    title="Go and curl: 103 before the response, and chunks with trailer fields",
    at="client",
    software=("go", "curl"),
    connections=(
        Connection(
            (
                Exchange("GET", "/hints/5000", 200, 5_000, "chunked", interim=(103,)),
                get("/trailers/2", 800, response_framing="chunked"),
                get("/bytes/30000", 30_000),
            )
        ),
    ),
)
def go_curl(lab: Lab) -> None:
    """One curl command with three URLs on one connection."""
    go_server(lab)
    curl(lab, f"{V4}/hints/5000", f"{V4}/trailers/2", f"{V4}/bytes/30000")

"""Record how connections end: idle connections, requests that are lost on them, truncated responses and requests."""

from __future__ import annotations

import sys
import time

from impairments import Conditions, Loss
from scenario import (
    PEERS,
    Connection,
    Find,
    Lab,
    apache,
    curl,
    get,
    nginx,
    node,
    raw_client,
    raw_server,
    raw_talk,
    recording,
    site,
    unanswered,
)

CLOSE, RESET, WAIT, READ = {"do": "close"}, {"do": "reset"}, {"do": "wait"}, {"read": ["GET"]}
FINE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nfine\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 50000\r\n\r\n"
REQUEST = b"GET /report HTTP/1.1\r\nHost: 10.9.0.2:8080\r\n\r\n"
PAGE = b"GET /a.txt HTTP/1.1\r\nHost: 10.9.0.2\r\n\r\n"
URL = "http://10.9.0.2:8080/report"
ANSWERED_AND_LOST = (get("/report", 5), unanswered("GET", "/report"))


@recording(
    title="nginx closes idle connections after 2 seconds, three times",
    at="server",
    software=("nginx", "python"),
    connections=(Connection((get("/a.txt", 300),), closed_by="server", repeat=3),),
    finds=(Find("idle-close", None, "server", note=True),),
    must_not={"premature-close": "the connection had been idle for 2 s", "keep-alive-race": "no request was lost"},
)
def idle_close(lab: Lab) -> None:
    """nginx with `keepalive_timeout 2s`; a hand-written client reads a response and then closes when the server does."""
    nginx(lab, "keepalive_timeout 2s;", a=300)
    raw_client(lab, [[PAGE, READ, WAIT]] * 3, 80)


@recording(
    title="Apache closes an idle connection after its timeout of 5 seconds",
    at="client",
    software=("apache2", "python"),
    connections=(Connection((get("/a.txt", 300, repeat=2),), closed_by="server"),),
    finds=(Find("idle-close", None, "server", note=True),),
    must_not={"idle-timeout-broken-promise": "nothing was promised", "premature-close": "it had been idle for 5 s"},
)
def apache_idle_close(lab: Lab) -> None:
    """Apache keeps an idle connection for 5 s by default, and announces this only to clients that ask for keep-alive. This client
    does not; it sends two requests and waits."""
    apache(lab, a=300)
    raw_client(lab, [[PAGE, READ, 0.1, PAGE, READ, WAIT]], 80)


KEPT = """
use Mojolicious::Lite;
get "/" => sub { $_[0]->render(text => "hello") };
app->log->level("fatal");
app->start("daemon", "-l", "http://10.9.0.2:8000", "-i", "5");
"""


@recording(
    title="ab -k and Mojolicious: the response does not say that the HTTP/1.0 connection stays open",
    at="client",
    software=("mojolicious", "ab"),
    connections=(Connection((get("/", 5),), closed_by="server"), Connection((get("/", 5),), closed_by="server")),
    finds=(
        Find("lingering-close", "http10", "server", 0),
        Find("lingering-close", "http10", "server", 1),
        Find("idle-close", None, "server", note=True),
    ),
    must_not={"idle-timeout-broken-promise": "nothing was promised", "premature-close": "it had been idle for 5 s"},
)
def http10_kept(lab: Lab) -> None:
    """ab asks for keep-alive twice, one request after the other. Mojolicious answers HTTP/1.1 without a Connection field and
    waits for the next request until its idle timeout of 5 s; ab waits for the close."""
    lab.server.serve(8000, "perl", "-e", KEPT)
    lab.client.run("ab", "-q", "-k", "-n", "2", "http://10.9.0.2:8000/", timeout=20)


@recording(
    title="A pool keeps idle connections longer than the server: nothing is lost yet",
    at="client",
    software=("nginx", "requests"),
    connections=(
        Connection((get("/a.txt", 300),), closed_by="server", repeat=3),
        Connection((get("/kept/a.txt", 300, repeat=2),)),
    ),
    finds=(Find("idle-close", "inverted", "client"),),
    must_not={"premature-close": "the connection had been idle for 1.5 s", "no-connection-reuse": "the server closed"},
)
def idle_close_inverted(lab: Lab) -> None:
    """nginx with `keepalive_timeout 1500ms`, and with its default below /kept/. A requests.Session sends a request every 3 s.
    Three times it finds its connection closed; once it reuses a connection after 3 s, so it keeps connections that long."""
    root = site(lab, a=300)
    (root / "kept").symlink_to(root)
    nginx(lab, "keepalive_timeout 1500ms; location /kept/ { keepalive_timeout 75s; }")
    urls = [f"http://10.9.0.2{path}" for path in ("/a.txt", "/a.txt", "/a.txt", "/kept/a.txt", "/kept/a.txt")]
    lab.client.run(sys.executable, str(PEERS / "session.py"), "3", *urls)


@recording(
    title="A request and the close of an idle connection cross each other",
    at=("client", "middle", "server"),
    software=("python",),
    connections=(Connection(ANSWERED_AND_LOST, closed_by=None),),
    finds=(Find("keep-alive-race", "race", "client", 0),),
    must_not={"premature-close": "it had been idle for 1.5 s", "no-response": "it was sent against a closed connection"},
    wire=Conditions(0.060),
)
def race(lab: Lab) -> None:
    """Over a round trip of 120 ms, a server closes 1.5 s after its response. The client sends its next request 20 ms later, 40 ms
    before the close arrives. The server's kernel resets the connection."""
    raw_talk(lab, [[FINE, 1.5, CLOSE]], [[REQUEST, READ, 1.46, REQUEST, WAIT]])


@recording(
    title="A pool that does not check its connections: a request on a connection that the server had closed, twice",
    at="client",
    software=("python",),
    connections=(Connection(ANSWERED_AND_LOST, closed_by="server", repeat=2),),
    finds=tuple(Find("keep-alive-race", "stale-pool", "client", number) for number in range(2)),
    must_not={"premature-close": "it had been idle for 1.5 s", "no-response": "it was sent against a closed connection"},
)
def stale_pool(lab: Lab) -> None:
    """A server closes 1.5 s after its response. The client sends its next request half a second later, without checking the
    connection, although its kernel had received the close."""
    raw_talk(lab, [[FINE, 1.5, CLOSE]], [[REQUEST, READ, 2.0, REQUEST, WAIT]] * 2)


@recording(
    title="The server no longer knows a connection: the next request is answered by a reset",
    at="client",
    software=("python",),
    connections=(Connection(ANSWERED_AND_LOST, closed_by=None),),
    finds=(Find("keep-alive-race", "forgotten", "client", 0),),
    must_not={"no-response": "the server no longer knew the connection", "premature-close": "it had been idle for 2 s"},
    wire=Conditions(0.001, lose=(Loss.of("server", "rst", 1),)),
)
def forgotten(lab: Lab) -> None:
    """A server gives an idle connection up after 1.5 s with a reset that never reaches the client, as a firewall does
    that forgets connections in silence. The client asks again after 2 s."""
    raw_talk(lab, [[FINE, 1.5, RESET]], [[REQUEST, READ, 2.0, REQUEST, WAIT]])


@recording(
    title="A server that dies in the middle of a body with a Content-Length, by FIN and by reset",
    at="client",
    software=("python", "curl"),
    connections=(
        Connection((get("/report", 20_000),), closed_by="server"),
        Connection((get("/report", 20_000),), closed_by="server"),
    ),
    finds=tuple(Find("truncated-response", None, "server", number) for number in range(2)),
    must_not={"premature-close": "the response was not complete", "client-abort": "the server closed"},
    unassembled=True,
)
def truncated(lab: Lab) -> None:
    """20,000 of 50,000 bytes arrive, then the hand-written server closes; a second one resets the connection."""
    for port, end in ((8080, CLOSE), (8081, RESET)):
        raw_server(lab, [[HEAD + b"t" * 20_000, 0.1, end]], port)
        curl(lab, f"http://10.9.0.2:{port}/report", check=False)


@recording(
    title="A server that dies between two chunks",
    at="server",
    software=("node", "curl"),
    connections=(Connection((get("/die/3", 3 * 40, response_framing="chunked"),), closed_by="server"),),
    finds=(Find("truncated-response", None, "server", 0),),
    must_not={"premature-close": "the response was not complete"},
    unassembled=True,
)
def truncated_chunks(lab: Lab) -> None:
    """node writes three chunks 50 ms apart, and then its process ends without the last chunk."""
    node(lab, "node_app.js")
    curl(lab, "http://10.9.0.2:8080/die/3", check=False)


@recording(
    title="A server that closes instead of answering, by FIN and by reset",
    at="client",
    software=("python", "curl"),
    connections=(
        Connection((unanswered("GET", "/report"),), closed_by="server"),
        Connection((unanswered("GET", "/report"),), closed_by="server"),
    ),
    finds=(Find("no-response", "later", "server", 0), Find("no-response", "unread", "server", 1)),
    must_not={"premature-close": "nothing was answered", "keep-alive-race": "the request came first"},
)
def no_response(lab: Lab) -> None:
    """A hand-written server reads the request, waits for 50 ms and closes; a second one resets the connection."""
    for port, end in ((8080, CLOSE), (8081, RESET)):
        raw_server(lab, [[0.05, end]], port)
        curl(lab, f"http://10.9.0.2:{port}/report", check=False)


@recording(
    title="curl --max-time 2 gives up on a slow server",
    at="client",
    software=("python", "curl"),
    connections=(Connection((get("/report", 5),)),),
    finds=(Find("client-abort", "timeout", "client", 0), Find("slow-response", None, "server", 0, measured=True, note=True)),
    must_not={"no-response": "the client closed first", "premature-close": "the client closed first"},
)
def client_gives_up(lab: Lab) -> None:
    """The server responds after 3 s, when the client has given up: the client's kernel resets the connection."""
    raw_server(lab, [[3.0, FINE]])
    curl(lab, "--max-time", "2", URL, check=False)
    time.sleep(1.5)


@recording(
    title="curl --max-time 2 gives up in the middle of a download",
    at="server",
    software=("node", "curl"),
    connections=(Connection((get("/stream/40/150", None, response_framing="chunked"),)),),
    finds=(Find("client-abort", "stream", "client", 0, note=True),),
    must_not={"truncated-response": "the client closed first"},
    whole=False,
)
def client_gives_up_download(lab: Lab) -> None:
    """node writes a chunk every 150 ms; after 2 s curl closes."""
    node(lab, "node_app.js")
    curl(lab, "--max-time", "2", "http://10.9.0.2:8080/stream/40/150", check=False)


@recording(
    title="A client closes before it has read half of a response, and its kernel resets the connection",
    at="server",
    software=("python",),
    connections=(Connection((get("/report", 20_000),)),),
    finds=(Find("client-abort", "gave-up", "client", 0),),
    must_not={"truncated-response": "the client closed first", "zero-window-stall": "the server had sent all that it had"},
    unassembled=True,
)
def client_resets(lab: Lab) -> None:
    """A hand-written server has sent 20,000 of 50,000 bytes when the client closes without having read any of them."""
    raw_talk(lab, [[HEAD + b"t" * 20_000, 2.0, b"t" * 30_000]], [[REQUEST, 0.5]])

"""Record connections that are not reused, not kept as announced, or reset during an upload, repeated challenges, and healthy
twins.
"""

from __future__ import annotations

import sys
from typing import Any

from scenario import PEERS, SEEN, Connection, Exchange, Find, Lab, curl, get, nginx, node, raw_client, recording, site

SMALL = {"a": 300, "b": 700, "c": 1_200, "d": 250}
PAGES = tuple(get(f"/{name}.txt", size) for name, size in SMALL.items())
URLS = [f"http://10.9.0.2/{name}.txt" for name in SMALL]


def _each_alone(closed_by: str | None) -> tuple[Connection, ...]:
    return tuple(Connection((page,), closed_by=closed_by) for page in PAGES)


def _gunicorn_sync(lab: Lab) -> None:
    """Start gunicorn with its default worker on port 8000."""
    words = ["-m", "gunicorn", "--chdir", str(PEERS), "--bind", f"{lab.server.address}:8000", "wsgi_app:application"]
    lab.server.serve(8000, sys.executable, *words, stderr=-3)


def _apart(lab: Lab, how: str, *urls: str) -> None:
    lab.client.run(sys.executable, str(PEERS / "apart.py"), how, "0.05", *urls)


@recording(
    title="gunicorn's sync worker closes after each response: four GETs of a requests.Session",
    at="client",
    software=("gunicorn", "requests"),
    connections=(Connection((get("/bytes/700", 700),), closed_by=None, repeat=4),),
    finds=(Find("keep-alive-disabled", "cheap", "server", measured=True, note=True),),
    must_not={
        "premature-close": "each close is announced",
        "no-connection-reuse": "the Session would use the connection again",
    },
)
def gunicorn_sync_closes(lab: Lab) -> None:
    """gunicorn with its default worker, which always sends Connection: close. 50 ms between the exchanges."""
    _gunicorn_sync(lab)
    lab.client.run(sys.executable, str(PEERS / "session.py"), "0.05", *["http://10.9.0.2:8000/bytes/700"] * 4)


def _upload(target: str, port: int, size: int) -> list[Any]:
    head = f"POST {target} HTTP/1.1\r\nHost: 10.9.0.2:{port}\r\nContent-Length: {size}\r\n\r\n"
    return [head.encode(), *[step for _ in range(size // 1_000) for step in (b"u" * 1_000, 0.025)]]


@recording(
    title="Python's http.server refuses an upload without reading it, and its reset may destroy the response",
    at="server",
    software=("python",),
    connections=(Connection((Exchange("POST", "/report", 501, SEEN, request_body=2_000),), closed_by="server"),),
    finds=(Find("reset-destroys-response", None, "server", 0),),
    must_not={"premature-close": "the close is announced", "client-abort": "the server ended it"},
    unassembled=True,
)
def http_server_refuses_upload(lab: Lab) -> None:
    """A client announces 40,000 bytes and sends 1,000 of them every 25 ms. python -m http.server --protocol HTTP/1.1 answers
    501 when it has read the head, and closes; its kernel answers the second piece with a reset."""
    words = ("-m", "http.server", "8080", "--protocol", "HTTP/1.1", "--directory", str(site(lab, **SMALL)))
    lab.server.serve(8080, sys.executable, *words, stderr=-3)
    raw_client(lab, [_upload("/report", 8080, 40_000)], nodelay=True)


@recording(
    title="gunicorn answers an upload that the application does not read, and reads the rest before it closes",
    at="server",
    software=("gunicorn", "python"),
    connections=(Connection((Exchange("POST", "/bytes/20", 200, 20, request_body=20_000),), closed_by="server"),),
    must_not={"reset-destroys-response": "the server sends its FIN and reads on", "premature-close": "the close is announced"},
    unassembled=True,
)
def gunicorn_sync_upload(lab: Lab) -> None:
    """The twin of http-server-refuses-upload: 20,000 bytes, 1,000 every 25 ms. The application responds at once; recent releases
    of gunicorn shut down their sending side and continue to read for up to two seconds (RFC 9112 section 9.6)."""
    _gunicorn_sync(lab)
    raw_client(lab, [_upload("/bytes/20", 8000, 20_000)], 8000, nodelay=True)


@recording(
    title="nginx announces an idle timeout of 30 seconds, and closes after 3, twice",
    at="client",
    software=("nginx", "python"),
    connections=(Connection((get("/a.txt", 300),), closed_by="server", repeat=2),),
    finds=tuple(Find("idle-timeout-broken-promise", None, "server", number) for number in range(2)),
    must_not={"idle-close": "the broken promise says more", "premature-close": "it had been idle for 3 s"},
)
def nginx_breaks_its_promise(lab: Lab) -> None:
    """nginx with keepalive_timeout 3s 30s: the second value is the one announced in Keep-Alive: timeout. A hand-written client
    sends a request on one connection and waits for the close, then on another."""
    nginx(lab, "keepalive_timeout 3s 30s;", **SMALL)
    raw_client(lab, [[_request("/a.txt"), {"read": ["GET"]}, {"do": "wait"}]] * 2, 80)


@recording(
    title="nginx announces an idle timeout of three seconds, and keeps to it",
    at="client",
    software=("nginx", "python"),
    connections=(Connection((get("/a.txt", 300),), closed_by="server"),),
    finds=(Find("idle-close", None, "server", note=True),),
    must_not={"idle-timeout-broken-promise": "it does as it says"},
)
def nginx_keeps_its_promise(lab: Lab) -> None:
    """The twin of nginx-breaks-its-promise: keepalive_timeout 3s 3s."""
    nginx(lab, "keepalive_timeout 3s 3s;", **SMALL)
    raw_client(lab, [[_request("/a.txt"), {"read": ["GET"]}, {"do": "wait"}]], 80)


def _request(target: str) -> bytes:
    return b"GET %s HTTP/1.1\r\nHost: 10.9.0.2\r\n\r\n" % target.encode()


@recording(
    title="Python's requests without a Session: a connection for each of four GETs",
    at="client",
    software=("nginx", "requests"),
    connections=_each_alone("client"),
    finds=(Find("no-connection-reuse", "cheap", "client", measured=True, note=True),),
    must_not={"keep-alive-disabled": "nginx leaves its connections open", "idle-close": "the client closes"},
)
def requests_without_session(lab: Lab) -> None:
    """Four times requests.get, 50 ms apart; nginx with its defaults."""
    nginx(lab, **SMALL)
    _apart(lab, "requests", *URLS)


@recording(
    title="Python's urllib.request sends Connection: close with each request",
    at="server",
    software=("nginx", "python"),
    connections=_each_alone(None),
    finds=(Find("no-connection-reuse", "asked", "client", note=True),),
    must_not={"keep-alive-disabled": "the client asks for the close", "premature-close": "the close is announced"},
)
def urllib_asks_to_close(lab: Lab) -> None:
    """Four times urllib.request.urlopen, 50 ms apart; nginx with its defaults closes as requested."""
    nginx(lab, **SMALL)
    _apart(lab, "urllib", *URLS)


@recording(
    title="curl opens four connections at once, one for each URL",
    at="client",
    software=("node", "curl"),
    connections=(Connection((get("/stream/8/60", 8 * 40, response_framing="chunked"),), repeat=4),),
    must_not={"no-connection-reuse": "the connections are side by side", "keep-alive-disabled": "node leaves them open"},
)
def curl_in_parallel(lab: Lab) -> None:
    """curl --parallel-immediate, like a browser; node writes each response in eight chunks 60 ms apart."""
    node(lab, "node_app.js")
    curl(lab, "--parallel", "--parallel-immediate", *["http://10.9.0.2:8080/stream/8/60"] * 4)


PROTECTED = 'auth_basic "reports"; auth_basic_user_file {folder}/users;'
REFUSED = 179
"""The number of bytes of nginx's page for a 401."""


def _protected(lab: Lab) -> None:
    site(lab, **SMALL)
    (lab.folder / "users").write_text("reader:{PLAIN}secret\n")
    nginx(lab, PROTECTED.format(folder=lab.folder))


@recording(
    title="curl --anyauth waits for a challenge each time",
    at="client",
    software=("nginx", "curl"),
    connections=(Connection(tuple(e for page in PAGES * 2 for e in (Exchange("GET", page.target, 401, REFUSED), page))),),
    finds=(Find("repeated-auth-challenge", None, "client", measured=True, note=True),),
    must_not={"premature-close": "the connection is kept"},
)
def curl_anyauth(lab: Lab) -> None:
    """Eight GETs of four pages on one connection. With --anyauth, curl first sends each without credentials, to learn from the
    401 what the server accepts (Basic)."""
    _protected(lab)
    curl(lab, "--anyauth", "--user", "reader:secret", *URLS * 2)


@recording(
    title="curl --basic logs in with each request",
    at="client",
    software=("nginx", "curl"),
    connections=(Connection(PAGES * 2),),
    must_not={"repeated-auth-challenge": "there is no challenge"},
)
def curl_basic(lab: Lab) -> None:
    """The twin of curl-anyauth: with --basic, curl sends its credentials at once."""
    _protected(lab)
    curl(lab, "--basic", "--user", "reader:secret", *URLS * 2)


@recording(
    title="python -m http.server answers in HTTP/1.0",
    at="client",
    software=("python", "curl"),
    connections=_each_alone("server"),
    finds=(Find("http10-downgrade", None, "server", note=True),),
    must_not={"keep-alive-disabled": "HTTP/1.0 keeps nothing", "no-connection-reuse": "nothing is left open"},
)
def python_http10(lab: Lab) -> None:
    """curl sends HTTP/1.1 requests for four pages of Python's http.server with its defaults."""
    words = ("-m", "http.server", "8080", "--directory", str(site(lab, **SMALL)))
    lab.server.serve(8080, sys.executable, *words, stderr=-3)
    curl(lab, *[f"http://10.9.0.2:8080/{name}.txt" for name in SMALL])

"""Record gateways that fail their clients because of a server behind them, on both sides of the gateway."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from gateways import DEAF, DROPPED, A, B, Gateway, start_servers
from network import PROXY_FRONT
from scenario import PEERS, SEEN, Connection, Exchange, Find, Lab, get, recording, unanswered

BOTH: dict[str, Any] = {"at": "proxy", "interface": "any", "proxied": True}
LOST = Find("no-response", "at-once", "server", 1)
"""The expected finding about the server behind the gateway, whose connection is the second one."""


TAKEN = 20_272 - 87
"""The number of bytes of the body that fit into the receive buffer (16 kB, doubled by Linux) of a server that never reads."""


def gateway(lab: Lab, maker: str, *ports: int, **options: Any) -> None:
    """Start servers, and a gateway in front of them."""
    start_servers(lab.server, lab.folder, *ports)
    Gateway(maker, **options).start(lab.client, lab.folder / maker)


def ask(lab: Lab, *requests: tuple[str, str] | tuple[str, str, int]) -> None:
    """Send requests one after the other on one connection: target, what the server has to do, and the size of the body."""
    assert lab.user
    plan: list[dict[str, Any]] = []
    for number, (target, deed, *body) in enumerate(requests):
        fields = {"User-Agent": "shop/1.0", **({"X-Do": deed} if deed else {})}
        method = {"method": "POST", "body": body[0]} if body else {"method": "GET"}
        plan.append({"at": 0.2 * number, "id": str(number), "target": target, "fields": fields, **method})
    path = lab.file("plan.json", json.dumps([plan]))
    lab.user.run(sys.executable, str(PEERS / "told_client.py"), PROXY_FRONT, "80", path)


@recording(
    title="Behind nginx: a server takes 1.2 s, on both sides of nginx",
    software=("nginx", "python"),
    connections=(Connection((get("/a/report", 40),)), Connection((get("/a/report", 40),), closed_by=None)),
    finds=(Find("slow-response", None, "server", 1, note=True),),
    **BOTH,
)
def behind_nginx_slow(lab: Lab) -> None:
    """The server behind nginx needs 1.2 s. nginx waits like its user: the wait in front is the wait behind."""
    gateway(lab, "nginx", A, read=5)
    ask(lab, ("/a/report", "late;for=1.2"))


CRASHED = Connection((get("/a/list", 40), unanswered("GET", "/a/order")), closed_by="server")


@recording(
    title="Behind HAProxy: the server dies, and HAProxy closes without an answer",
    software=("haproxy", "python"),
    connections=(CRASHED, CRASHED),
    finds=(Find("gateway-error", "closed", "server", 0), LOST),
    must_not={"keep-alive-race": "nothing had rested"},
    **BOTH,
)
def behind_haproxy_crash(lab: Lab) -> None:
    """The process that has the second request of a connection is killed. HAProxy sends a 502 only for the first request of a
    user's connection; here it closes the connection, so the user may try again."""
    gateway(lab, "haproxy", A)
    ask(lab, ("/a/list", ""), ("/a/order", "die"))


@recording(
    title="Behind Apache httpd: the server dies, and httpd closes without an answer",
    software=("apache2", "python"),
    connections=(CRASHED, CRASHED),
    finds=(Find("gateway-error", "closed", "server", 0), LOST),
    must_not={"keep-alive-race": "nothing had rested"},
    **BOTH,
)
def behind_apache_crash(lab: Lab) -> None:
    """Like behind-haproxy-crash: httpd also closes a connection that was used before."""
    gateway(lab, "httpd", A)
    ask(lab, ("/a/list", ""), ("/a/order", "die"))


@recording(
    title="Behind HAProxy: its timeout for the server expires before curl gives up",
    software=("haproxy", "curl", "python"),
    connections=(
        Connection((Exchange("GET", "/a/report", 504, 92),), closed_by=None),
        Connection((unanswered("GET", "/a/report"),)),
    ),
    finds=(Find("gateway-error", "timed-out", "server", 0),),
    must_not={"client-abort": "it was HAProxy that gave up, though it forwards curl's User-Agent"},
    **BOTH,
)
def behind_haproxy_timeout(lab: Lab) -> None:
    """The server behind HAProxy never responds. HAProxy has timeout server 2s, and sends a 504; its request has curl's
    User-Agent."""
    assert lab.user
    gateway(lab, "haproxy", A, read=2)
    lab.user.run("curl", "-sS", "-o", "/dev/null", "-H", "X-Do: never", f"http://{PROXY_FRONT}/a/report")


@recording(
    title="Behind Caddy: a traceback in place of a response",
    software=("caddy", "python"),
    connections=(
        Connection((get("/a/list", 40), Exchange("GET", "/a/order", 502, 0))),
        Connection((get("/a/list", 40), unanswered("GET", "/a/order")), closed_by="server"),
    ),
    finds=(Find("gateway-error", "rejected-response", "server", 0), Find("malformed-head", "no-status-line", "server", 1)),
    must_not={"excess-body": "the response before it was over, and a request was waiting"},
    whole=False,
    **BOTH,
)
def behind_caddy_traceback(lab: Lab) -> None:
    """The application behind Caddy writes a traceback instead of a status line, and closes. Caddy sends a 502."""
    gateway(lab, "caddy", A)
    ask(lab, ("/a/list", ""), ("/a/order", "garbage"))


@recording(
    title="Behind nginx: a traceback in place of a response, which nginx passes on",
    software=("nginx", "python"),
    connections=(
        Connection((get("/a/list", 40), unanswered("GET", "/a/order"))),
        Connection((get("/a/list", 40), unanswered("GET", "/a/order")), closed_by="server"),
    ),
    finds=(Find("malformed-head", "no-status-line", "server", 0), Find("malformed-head", "no-status-line", "server", 1)),
    must_not={"excess-body": "the response before it was over, and a request was waiting"},
    whole=False,
    **BOTH,
)
def behind_nginx_traceback(lab: Lab) -> None:
    """The application behind nginx writes a traceback instead of a status line, and closes. nginx treats it as an HTTP/0.9
    response and forwards it, so its user blames nginx."""
    gateway(lab, "nginx", A)
    ask(lab, ("/a/list", ""), ("/a/order", "garbage"))


@recording(
    title="Behind nginx: a server that never reads",
    software=("nginx", "python"),
    connections=(
        Connection((Exchange("POST", "/deaf/upload", 504, 167, request_body=30_000),)),
        Connection((Exchange("POST", "/deaf/upload", None, None, "", request_body=TAKEN),), closed_by=""),
    ),
    finds=(Find("gateway-error", "unsent", "server", 0), Find("zero-window-stall", None, "server", 1)),
    whole=False,
    **BOTH,
)
def behind_nginx_deaf(lab: Lab) -> None:
    """The server behind nginx accepts connections, but does not read; its window closes in the middle of the upload. nginx sends
    a 504 after 1.5 s."""
    gateway(lab, "nginx", A, DEAF)
    ask(lab, ("/deaf/upload", "", 30_000))


@recording(
    title="Behind nginx: the SYN to the server is never answered",
    software=("nginx", "python"),
    connections=(
        Connection((get("/a/list", 40), Exchange("GET", "/drop/list", 504, SEEN))),
        Connection((get("/a/list", 40),), closed_by=None),
        Connection((), closed_by=""),
    ),
    finds=(Find("gateway-error", "unreachable", None, 0), Find("connect-failed", "timed-out", None, 2)),
    must_not={"slow-response": "nginx waited for a connection"},
    **BOTH,
)
def behind_nginx_unreachable(lab: Lab) -> None:
    """A firewall in front of the server drops the SYNs of nginx, whose proxy_connect_timeout is 1.2 s: two SYNs are enough to
    detect it."""
    gateway(lab, "nginx", A, DROPPED)
    ask(lab, ("/a/list", ""), ("/drop/list", ""))


@recording(
    title="Behind nginx: a server dies, another one answers, and the user does not notice",
    software=("nginx", "python"),
    connections=(
        Connection((get("/two/list", 40),)),
        Connection((unanswered("GET", "/two/list"),), closed_by="server"),
        Connection((get("/two/list", 40),), closed_by=None),
    ),
    finds=(LOST,),
    must_not={"gateway-error": "the user got a 200"},
    **BOTH,
)
def behind_nginx_repeated(lab: Lab) -> None:
    """The process that has the request is killed; nginx sends the request to a second server (proxy_next_upstream) and forwards
    its 200."""
    gateway(lab, "nginx", A, B)
    ask(lab, ("/two/list", "die;of=A"))


@recording(
    title="Behind nginx: a server answers after nginx gave up its request and asked another server",
    software=("nginx", "python"),
    connections=(
        Connection((get("/two/list", 40),)),
        Connection((get("/two/list", 40),), closed_by="client"),
        Connection((get("/two/list", 40),), closed_by=None),
    ),
    finds=(Find("client-abort", "timeout", "server", 1), Find("slow-response", None, "server", 1, note=True)),
    must_not={"gateway-error": "the user got a 200"},
    **BOTH,
)
def behind_nginx_late(lab: Lab) -> None:
    """The first server needs 1.8 s. nginx gives up after 1 s, sends the request to a second server (proxy_next_upstream), and
    forwards its 200. The first server then answers 200 to nobody."""
    gateway(lab, "nginx", A, B, read=1)
    ask(lab, ("/two/list", "late;for=1.8;of=A"))
    time.sleep(1.2)


@recording(
    title="Two gateways in a row: the outer one forwards the 502 of the inner one",
    software=("nginx", "haproxy", "python"),
    connections=(
        Connection((get("/a/list", 40), Exchange("GET", "/a/order", 502, 107))),
        Connection((get("/a/list", 40),), closed_by=None),
        Connection((get("/a/list", 40),), closed_by=None),
        Connection((Exchange("GET", "/a/order", 502, 107),), closed_by=None),
        Connection((unanswered("GET", "/a/order"),), closed_by="server"),
    ),
    finds=(Find("gateway-error", "closed", "server", 0), Find("no-response", "at-once", "server", 4)),
    **BOTH,
)
def behind_two_gateways(lab: Lab) -> None:
    """nginx, HAProxy behind it on the same host, and a server whose process is killed. HAProxy, which got the request on a new
    connection, sends a 502, and nginx forwards it."""
    start_servers(lab.server, lab.folder, A)
    Gateway("haproxy", 8081, pooled=False).start(lab.client, lab.folder / "haproxy")
    Gateway("nginx", behind=8081, pooled=False).start(lab.client, lab.folder / "nginx")
    ask(lab, ("/a/list", ""), ("/a/order", "die"))


AUTHORIZING = """\
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log crit;
events {{ worker_connections 256; }}
http {{
  access_log off; server_tokens off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream application {{ server 10.9.0.2:{application}; keepalive 4; }}
  server {{
    listen 80; proxy_http_version 1.1; proxy_set_header Connection "";
    location / {{ auth_request /auth; proxy_pass http://application; }}
    location = /auth {{ internal; proxy_pass http://10.9.0.2:{authorization}$request_uri; }}
  }}
}}
"""


ONE_EACH = Find("no-connection-reuse", "cheap", "client", note=True)
"""nginx asks the authorization service on a new connection each time: it does not read the body of the response."""


def _authorized(lab: Lab, authorization: int, application: int) -> None:
    """Send three requests to nginx, which asks an authorization service first. The server A answers 201 and 500, B 200."""
    start_servers(lab.server, lab.folder, A, B)
    conf = AUTHORIZING.format(folder=lab.folder, authorization=authorization, application=application)
    lab.client.serve(80, "nginx", "-c", lab.file("proxy.conf", conf))
    ask(lab, ("/page/0", "201"), ("/page/1", "201"), ("/page/2", "500"))


def _pages(*statuses: int, size: int = 40, first: int = 0) -> Connection:
    pages = (Exchange("GET", f"/page/{n}", one, 40 if one < 300 else size) for n, one in enumerate(statuses, first))
    return Connection(tuple(pages), closed_by=None)


@recording(
    title="Behind nginx: the authorization service answers 500, and so does nginx, with a page of its own",
    software=("nginx", "python"),
    connections=(
        _pages(200, 200, 500, size=170),
        *(_pages(201), _pages(200, 200), _pages(201, first=1), _pages(500, first=2)),
    ),
    finds=(Find("gateway-error", "failed-call", "server", 0), ONE_EACH),
    **BOTH,
)
def behind_nginx_auth(lab: Lab) -> None:
    """nginx asks an authorization service (auth_request) before it forwards a request. For the third request, that service
    fails. nginx sends a 500 of its own, and the application gets nothing."""
    _authorized(lab, A, B)


@recording(
    title="Behind nginx: the application answers 500, and nginx forwards it; the authorization service answers 200",
    software=("nginx", "python"),
    connections=(
        _pages(201, 201, 500),
        *(_pages(200), _pages(201, 201, 500), _pages(200, first=1), _pages(200, first=2)),
    ),
    finds=(ONE_EACH,),
    must_not={"gateway-error": "nginx forwarded what the application sent"},
    **BOTH,
)
def behind_nginx_auth_fine(lab: Lab) -> None:
    """The twin of behind-nginx-auth: the application fails for the third request."""
    _authorized(lab, B, A)

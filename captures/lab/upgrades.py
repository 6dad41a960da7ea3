"""Record requests for a WebSocket: the upgrade is removed by a gateway, is not supported by a server, or succeeds."""

from __future__ import annotations

import sys

from gateway_failures import BOTH
from gateways import A, Gateway
from network import PROXY_FRONT
from scenario import PEERS, Connection, Exchange, Find, Lab, get, raw_client, raw_talk, recording, site, steps_as_json
from scenario import nginx as start_nginx
from stacks import python_app

CHAT = Exchange("GET", "/chat", 101, 0, "none")
NO_CHAT = Exchange("GET", "/chat", 400, 66)
PASSED_ON = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'


def upgrade(version: int = 13) -> bytes:
    """Return a request for a WebSocket."""
    fields = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: {version}\r\n"
    return f"GET /chat HTTP/1.1\r\nHost: www\r\n{fields}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()


def ask_gateway(lab: Lab) -> None:
    """Send a hand-written request for a WebSocket to the gateway, and read the response."""
    assert lab.user
    steps = steps_as_json([[upgrade(), {"read": ["GET"]}, 0.05]])
    lab.user.run(sys.executable, str(PEERS / "raw_client.py"), PROXY_FRONT, "80", steps)


def gateway(lab: Lab, maker: str, options: str = "", *, pooled: bool = True) -> None:
    """Start aiohttp, which has a WebSocket at /chat, and a gateway in front of it."""
    python_app(lab, "aiohttp", str(A))
    Gateway(maker, pooled=pooled, options=options).start(lab.client, lab.folder / maker)


@recording(
    title="Behind nginx: a WebSocket fails because nginx sends its requests in HTTP/1.0",
    software=("nginx", "aiohttp", "python"),
    connections=(Connection((NO_CHAT,)), Connection((NO_CHAT,), closed_by=None)),
    finds=(Find("websocket-failed", "dropped", "server"),),
    **BOTH,
)
def behind_nginx_no_websocket(lab: Lab) -> None:
    """nginx with a plain proxy_pass sends the request to aiohttp in HTTP/1.0 and without Upgrade; aiohttp has a WebSocket there,
    and answers 400."""
    gateway(lab, "nginx", pooled=False)
    ask_gateway(lab)


@recording(
    title="Behind nginx: a WebSocket whose upgrade is forwarded",
    software=("nginx", "aiohttp", "websockets"),
    connections=(Connection((CHAT,), closed_by=None), Connection((CHAT,), closed_by=None)),
    must_not={"websocket-failed": "it came", "premature-close": "after 101 it is no HTTP"},
    **BOTH,
)
def behind_nginx_websocket(lab: Lab) -> None:
    """The fix for behind-nginx-no-websocket: proxy_http_version 1.1, and Upgrade and Connection set for the server."""
    assert lab.user
    gateway(lab, "nginx", PASSED_ON)
    lab.user.run(sys.executable, str(PEERS / "talk.py"), f"ws://{PROXY_FRONT}/chat", "3")


@recording(
    title="Behind Apache httpd: a WebSocket fails because httpd is not configured to forward the upgrade",
    software=("apache2", "aiohttp", "python"),
    connections=(Connection((NO_CHAT,), closed_by=None), Connection((NO_CHAT,), closed_by=None)),
    finds=(Find("websocket-failed", "dropped", "server"),),
    **BOTH,
)
def behind_apache_no_websocket(lab: Lab) -> None:
    """httpd with ProxyPass and no WebSocket settings: it sends the request in HTTP/1.1, without Upgrade."""
    gateway(lab, "httpd")
    ask_gateway(lab)


@recording(
    title="A server that does not support WebSockets",
    at="client",
    software=("nginx", "python"),
    connections=(Connection((Exchange("GET", "/chat", 404, 153), get("/fox.txt", 300))),),
    finds=(Find("websocket-failed", "unsupported", "server"),),
)
def websocket_unsupported(lab: Lab) -> None:
    """nginx serves files, and gets a request for a WebSocket: 404. The next request on the connection succeeds."""
    site(lab, fox=300)
    start_nginx(lab)
    file = b"GET /fox.txt HTTP/1.1\r\nHost: www\r\n\r\n"
    raw_client(lab, [[upgrade(), {"read": ["GET"]}, 0.05, file, {"read": ["GET"]}, 0.05]], 80)


@recording(
    title="A WebSocket handshake with a protocol version that the server does not support",
    at="client",
    software=("python",),
    connections=(Connection((Exchange("GET", "/chat", 426, 0),)),),
    finds=(Find("websocket-failed", "version", "server"),),
)
def websocket_version(lab: Lab) -> None:
    """A client of 2011 requests version 8; the server answers 426 and names version 13. Both are hand-written."""
    raw_talk(
        lab,
        [[b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n"]],
        [[upgrade(8), {"read": ["GET"]}, 0.05]],
    )

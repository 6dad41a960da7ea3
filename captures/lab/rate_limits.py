"""Record nginx as it refuses requests itself: by a limit of the rate, and by a path that is out of service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenario import Connection, Exchange, Find, get, raw_server, raw_user, recording

if TYPE_CHECKING:
    from scenario import Lab

NGINX = """\
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log crit;
events {{ worker_connections 256; }}
http {{
  access_log off; server_tokens off; limit_req_zone $binary_remote_addr zone=slow:1m rate=10r/s;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream shop {{ server 10.9.0.2:8081; keepalive 4; }}
  server {{
    listen 80; proxy_http_version 1.1; proxy_set_header Connection "";
    location / {{ {limit} proxy_pass http://shop; }}
    location /item/old {{ return 503; }}
  }}
}}
"""
ITEM = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{"stock": 3}'
ROUNDS = 12
PAGE = 190
"""The size in bytes of nginx's own page for 503."""

STORM = Find("retry-storm", None, "client")
"""The user does not wait before it repeats a refused request."""


def _seen(refused: str) -> tuple[Connection, ...]:
    front = [one for _ in range(ROUNDS) for one in (get("/item/1", 12), *[Exchange("GET", refused, 503, PAGE)] * 2)]
    return Connection(tuple(front)), Connection((get("/item/1", 12),) * ROUNDS, closed_by=None)


def _ask(lab: Lab, refused: str, limit: str = "") -> None:
    """Send three requests in each 150 ms, of which nginx refuses the last two."""
    raw_server(lab, [[0.005, ITEM]], 8081, nodelay=True)
    lab.client.serve(80, "nginx", "-c", lab.file("proxy.conf", NGINX.format(folder=lab.folder, limit=limit)))
    paces = (("/item/1", 0.01), (refused, 0.01), (refused, 0.12))
    raw_user(
        lab,
        *(
            step
            for target, pause in paces * ROUNDS
            for step in (f"GET {target} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode(), {"read": ["GET"]}, pause)
        ),
    )


@recording(
    title="Behind nginx: nginx forwards ten requests a second, and answers the others with 503",
    at="proxy",
    software=("nginx", "python"),
    connections=_seen("/item/1"),
    finds=(Find("gateway-error", "rate-limit", "server", 0, count=2 * ROUNDS),),
    must_not={"retry-storm": "the user sends the same again after each response, refused or not"},
    interface="any",
    proxied=True,
)
def behind_nginx_rate_limit(lab: Lab) -> None:
    """A user sends three requests with the same target in each 150 ms. nginx's limit_req lets ten pass in a second, so it refuses
    two of three."""
    _ask(lab, "/item/1", "limit_req zone=slow;")


@recording(
    title="Behind nginx: nginx answers requests for another path with 503, as often as with a limit of the rate",
    at="proxy",
    software=("nginx", "python"),
    connections=_seen("/item/old"),
    finds=(Find("gateway-error", "not-passed-on", "server", 0, count=2 * ROUNDS), STORM),
    interface="any",
    proxied=True,
)
def behind_nginx_out_of_service(lab: Lab) -> None:
    """The twin of behind-nginx-rate-limit without a limit: two of three requests are for a path that is out of service."""
    _ask(lab, "/item/old")

"""Gateways of several makers, set up alike: the same routes to the same servers behind them, and the same limits.

| route | goes to | |
| --- | --- | --- |
| /a/, /chat | A | |
| /api/ | A | as /v1/ |
| /idle/ | IDLE | which closes a connection that has rested for REST seconds |
| /pair/ | CLOSED, then B | the gateway repeats what fails |
| /two/ | A, then B | likewise |
| /frail/ | FRAIL | which dies as a whole when it is told to |
| /refused/ | CLOSED | where nothing listens |
| /drop/ | DROPPED | where SYNs are dropped |
| /deaf/ | DEAF | which accepts and never reads |
| /nobody/ | NOBODY | an address without a host |
| /gone/ | nobody | the gateway's own answer |
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scenario import PEERS

if TYPE_CHECKING:
    from network import Host

A, B, CLOSED, FRAIL, IDLE, DROPPED, DEAF = 8001, 8002, 8003, 8004, 8005, 8009, 8010
NOBODY = "10.9.0.77:8001"
INNER = 8081
"""The port of a second gateway behind the first one."""

REST = 1.5
"""The time in seconds after which the server IDLE closes an idle connection."""

MAKERS = ("nginx", "haproxy", "httpd", "caddy", "go")
PLAIN = {
    "/a/": A,
    "/chat": A,
    "/idle/": IDLE,
    "/frail/": FRAIL,
    "/refused/": CLOSED,
    "/drop/": DROPPED,
    "/deaf/": DEAF,
}


HTTPD = (
    *("mpm_event", "authz_core", "rewrite", "slotmem_shm", "lbmethod_byrequests"),
    *("proxy", "proxy_http", "proxy_balancer"),
)
"""Modules of Apache httpd."""


@dataclass(frozen=True)
class Gateway:
    """A gateway: its maker, its port, the address of the servers behind it, its limits in seconds, and whether it reuses
    connections.

    `behind`: the port of another gateway on the same host, which then gets all requests; None for the servers.
    """

    maker: str
    port: int = 80
    servers: str = "10.9.0.2"
    connect: float = 1.2
    read: float = 1.5
    pooled: bool = True
    behind: int | None = None
    options: str = ""
    """For nginx: directives that replace those for HTTP/1.1. For httpd: parameters of ProxyPass."""

    def start(self, host: Host, folder: Path) -> None:
        """Start the gateway on a host, with its files in a folder, and wait until it listens."""
        folder.mkdir(exist_ok=True)
        words = STARTS[self.maker](self, folder)
        log = (folder / "log").open("w")
        host.serve(
            self.port, *words, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
        )

    def plain(self) -> dict[str, str]:
        """Return the routes that lead to a single server and do not change the path, with the address of the server."""
        if self.behind:
            return {"/": f"127.0.0.1:{self.behind}"}
        return {path: f"{self.servers}:{port}" for path, port in PLAIN.items()}


def _nginx(gateway: Gateway, folder: Path) -> list[str]:
    http11 = 'proxy_http_version 1.1; proxy_set_header Connection "";' if gateway.pooled else ""
    upstreams, routes = list[str](), list[str]()
    for path, address in gateway.plain().items():
        name = path.strip("/") or "all"
        upstreams.append(f"upstream {name} {{ server {address} max_fails=0; {'keepalive 8;' if gateway.pooled else ''} }}")
        routes.append(f"location {path} {{ proxy_pass http://{name}; }}")
    if not gateway.behind:
        for name, first in (("pair", CLOSED), ("two", A)):
            servers = f"server {gateway.servers}:{first} max_fails=0; server {gateway.servers}:{B} backup max_fails=0;"
            upstreams.append(f"upstream {name} {{ {servers} {'keepalive 8;' if gateway.pooled else ''} }}")
            more = "proxy_next_upstream error timeout invalid_header http_503;"
            routes.append(f"location /{name}/ {{ proxy_pass http://{name}; {more} }}")
        routes.append("location /api/ { proxy_pass http://a/v1/; }")
        routes.append(f"location /nobody/ {{ proxy_pass http://{NOBODY}; proxy_connect_timeout 5s; }}")
        routes.append("location /gone/ { return 503; }")
    temporary = " ".join(f"{name}_temp_path {folder}/{name};" for name in ("proxy", "fastcgi", "uwsgi", "scgi"))
    conf = folder / "nginx.conf"
    conf.write_text(f"""\
daemon off; user root; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path {folder}/body; {temporary}
  proxy_connect_timeout {round(1000 * gateway.connect)}ms;
  proxy_read_timeout {round(1000 * gateway.read)}ms; proxy_send_timeout {round(1000 * gateway.read)}ms;
  {gateway.options or http11}
  {" ".join(upstreams)}
  server {{ listen {gateway.port}; client_max_body_size 8m; {" ".join(routes)} }}
}}
""")
    return ["nginx", "-c", str(conf)]


def _haproxy(gateway: Gateway, folder: Path) -> list[str]:
    backends, uses = list[str](), list[str]()
    for path, address in gateway.plain().items():
        name = path.strip("/") or "all"
        backends.append(f"backend {name}\n    server one {address}")
        uses.append(f"    use_backend {name} if {{ path_beg {path} }}")
    if not gateway.behind:
        again = "    retries 3\n    option redispatch 1\n    retry-on all-retryable-errors\n    balance roundrobin"
        for name, first in (("pair", CLOSED), ("two", A)):
            servers = f"    server one {gateway.servers}:{first}\n    server two {gateway.servers}:{B}"
            backends.append(f"backend {name}\n{again}\n{servers}")
            uses.append(f"    use_backend {name} if {{ path_beg /{name}/ }}")
        backends.append(f"backend api\n    http-request replace-path /api/(.*) /v1/\\1\n    server one {gateway.servers}:{A}")
        backends.append(f"backend nobody\n    timeout connect 5s\n    retries 0\n    server one {NOBODY}")
        backends.append(f"backend gone\n    server one {gateway.servers}:{A} disabled")
        uses += [f"    use_backend {name} if {{ path_beg /{name}/ }}" for name in ("api", "nobody", "gone")]
    conf = folder / "haproxy.cfg"
    conf.write_text(
        f"""\
global
    maxconn 400
defaults
    mode http
    retries 1
    timeout connect {round(1000 * gateway.connect)}ms
    timeout client 30s
    timeout server {round(1000 * gateway.read)}ms
    {"" if gateway.pooled else "option httpclose"}
frontend web
    bind :{gateway.port}
"""
        + "\n".join([*uses, *backends])
        + "\n"
    )
    return ["haproxy", "-db", "-q", "-f", str(conf)]


def _httpd(gateway: Gateway, folder: Path) -> list[str]:
    limits = f"connectiontimeout={round(1000 * gateway.connect)}ms timeout={round(1000 * gateway.read)}ms retry=0"
    limits += f" {gateway.options}" if gateway.pooled else f" disablereuse=On {gateway.options}"
    routes = [f"ProxyPass {path} http://{address}{path} {limits}" for path, address in gateway.plain().items()]
    if not gateway.behind:
        for name, first in (("pair", CLOSED), ("two", A)):
            members = "\n".join(f"  BalancerMember http://{gateway.servers}:{port} {limits}" for port in (first, B))
            routes.insert(0, f"<Proxy balancer://{name}>\n{members}\n</Proxy>\nProxyPass /{name}/ balancer://{name}/{name}/")
        routes.insert(0, f"ProxyPass /api/ http://{gateway.servers}:{A}/v1/ {limits}")
        routes.insert(0, f"ProxyPass /nobody/ http://{NOBODY}/ connectiontimeout=5 retry=0")
        routes += ["RewriteEngine On", "RewriteRule ^/gone/ - [R=503]"]
    conf = folder / "httpd.conf"
    conf.write_text(
        f"""\
ServerRoot {folder}
ServerName www.example
PidFile {folder}/httpd.pid
Mutex file:{folder}
DefaultRuntimeDir {folder}
Listen {gateway.port}
ErrorLog {folder}/error.log
"""
        + "\n".join([*(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in HTTPD), *routes])
        + "\n"
    )
    return ["apache2", "-X", "-f", str(conf)]


def _caddy(gateway: Gateway, folder: Path) -> list[str]:
    transport = f"""transport http {{
      dial_timeout {round(1000 * gateway.connect)}ms
      response_header_timeout {round(1000 * gateway.read)}ms
      {"" if gateway.pooled else "keepalive off"}
    }}"""
    routes = [
        f"handle {path}* {{\n    reverse_proxy {address} {{\n {transport}\n }}\n }}" for path, address in gateway.plain().items()
    ]
    if not gateway.behind:
        for name, first in (("pair", CLOSED), ("two", A)):
            again = f"lb_policy first\n lb_try_duration 4s\n lb_try_interval 10ms\n fail_duration 1s\n {transport}"
            servers = f"{gateway.servers}:{first} {gateway.servers}:{B}"
            routes.append(f"handle /{name}/* {{\n reverse_proxy {servers} {{\n {again}\n }}\n }}")
        routes.append(
            f"handle_path /api/* {{\n rewrite * /v1{{uri}}\n reverse_proxy {gateway.servers}:{A} {{\n {transport}\n }}\n }}"
        )
        slow = "transport http {\n dial_timeout 5s\n }"
        routes.append(f"handle /nobody/* {{\n reverse_proxy {NOBODY} {{\n {slow}\n }}\n }}")
        routes.append("handle /gone/* {\n respond 503\n }")
    conf = folder / "Caddyfile"
    conf.write_text("{\n admin off\n auto_https off\n}\n" + f":{gateway.port} {{\n" + "\n".join(routes) + "\n}\n")
    return ["caddy", "run", "--config", str(conf), "--adapter", "caddyfile"]


def _go(gateway: Gateway, folder: Path) -> list[str]:
    program = folder / "go_proxy"
    environment = {**os.environ, "GOCACHE": "/tmp/wiredoctor-go", "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
    subprocess.run(["go", "build", "-o", str(program), str(PEERS / "go_proxy.go")], check=True, env=environment, timeout=300)
    routes = [f"{path}={address}" for path, address in gateway.plain().items()]
    if not gateway.behind:
        routes += [f"/api/>/v1/={gateway.servers}:{A}", f"/nobody/={NOBODY}"]
    limits = [str(round(1000 * seconds)) for seconds in (gateway.connect, gateway.read)]
    return [str(program), str(gateway.port), *limits, *routes]


STARTS = {"nginx": _nginx, "haproxy": _haproxy, "httpd": _httpd, "caddy": _caddy, "go": _go}


def start_servers(host: Host, folder: Path, *ports: int) -> None:
    """Start the servers behind a gateway that listen on these ports. Drop SYNs to DROPPED."""
    words = {
        A: ["A"],
        B: ["B", "obedient=no"],
        FRAIL: ["F", "frail"],
        IDLE: ["I", f"idle={REST}"],
        DEAF: ["D", "deaf"],
    }
    environment = {**os.environ, "TMPDIR": str(folder)}
    for port in ports:
        if port == DROPPED:
            host.run("iptables", "-A", "INPUT", "-p", "tcp", "--dport", str(port), "-j", "DROP")
            continue
        command = [sys.executable, str(PEERS / "told_server.py"), str(port), *words[port]]
        if port == FRAIL:
            command = ["sh", "-c", f"while :; do {' '.join(command)}; sleep 1; done"]
        host.serve(port, *command, env=environment, stderr=subprocess.DEVNULL)

"""nginx, Apache, haproxy and Envoy in front of one application on loopback, with access logs, while tcpdump captures."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SERVERS = {"nginx": ("nginx",), "apache": ("apache2",), "haproxy": ("haproxy",), "envoy": ("envoy",)}

NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{}}
http {{
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
  scgi_temp_path {folder};
  log_format timed '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
                   '"$http_referer" "$http_user_agent" $request_time';
  access_log {folder}/access.log timed;
  server {{
    listen 127.0.0.1:{port};
    location /dead {{ proxy_pass http://127.0.0.1:{closed}; }}
    location / {{ proxy_pass http://127.0.0.1:{app}; }}
  }}
}}
"""

APACHE = """
ServerRoot {folder}
ServerName 127.0.0.1
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
Listen 127.0.0.1:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
LogFormat "%h %l %u %t \\"%r\\" %>s %b \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\" %D" timed
CustomLog {folder}/access.log timed
ProxyPass /dead http://127.0.0.1:{closed}/dead
ProxyPass / http://127.0.0.1:{app}/
"""

HAPROXY = """
global
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  timeout connect 1s
  timeout client 10s
  timeout server 10s
frontend front
  bind 127.0.0.1:{port}
  use_backend dead if {{ path_beg /dead }}
  default_backend app
backend app
  server one 127.0.0.1:{app}
backend dead
  retries 0
  server two 127.0.0.1:{closed}
"""

ENVOY = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {folder}/access.log
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: /dead}}, route: {{cluster: dead}}}}, {{match: {{prefix: /}}, route: {{cluster: app}}}}]
  clusters:
  - name: app
    load_assignment: {{cluster_name: app, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address:
      {{address: 127.0.0.1, port_value: {app}}}}}}}}}]}}]}}
  - name: dead
    load_assignment: {{cluster_name: dead, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address:
      {{address: 127.0.0.1, port_value: {closed}}}}}}}}}]}}]}}
"""

PATHS = ("/a", "/slow", "/a", "/boom", "/dies", "/a?token=secret", "/dead")
"""What is requested, in this order.

The application answers /boom with 500, /slow after 1.3 s, and closes at /dies; nothing listens behind /dead, so that the server
in front makes an answer of its own.
"""


class _Application(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer as PATHS says."""
        if self.path == "/dies":
            self.close_connection = True
            return
        if self.path == "/slow":
            time.sleep(1.3)
        self.send_response(500 if self.path == "/boom" else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def handle(self) -> None:
        """Answer until the server in front resets the connection."""
        with contextlib.suppress(ConnectionResetError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        """Write no log."""


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def _running(words: list[str], **options: Any) -> Generator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(words, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def record(name: str, folder: Path) -> tuple[Path, Path, int]:
    """Request PATHS of a server; return its access log, the capture, and its port."""
    app = ThreadingHTTPServer(("127.0.0.1", 0), _Application)
    port, closed = free_port(), free_port()
    log, capture = folder / "access.log", folder / "trace.pcap"
    values = {"folder": folder, "port": port, "closed": closed, "app": app.server_port, "modules": "/usr/lib/apache2/modules"}
    with ExitStack() as stack:
        stack.callback(app.server_close)
        threading.Thread(target=app.serve_forever, daemon=True).start()
        stack.callback(app.shutdown)
        ports = " or ".join(f"port {one}" for one in (port, closed, app.server_port))
        tcpdump = stack.enter_context(
            _running(["tcpdump", "-U", "--immediate-mode", "-i", "lo", "-w", str(capture), ports], stderr=subprocess.PIPE)
        )
        assert tcpdump.stderr is not None
        assert any(b"listening" in line for line in tcpdump.stderr)
        configuration = folder / f"configuration{'.yaml' if name == 'envoy' else ''}"
        configuration.write_text({"nginx": NGINX, "apache": APACHE, "haproxy": HAPROXY, "envoy": ENVOY}[name].format(**values))
        words = {
            "nginx": ["nginx", "-p", str(folder), "-c", str(configuration)],
            "apache": ["apache2", "-DFOREGROUND", "-f", str(configuration)],
            "haproxy": ["haproxy", "-db", "-f", str(configuration)],
            "envoy": ["envoy", "-c", str(configuration), "--concurrency", "1", "--disable-hot-restart",
                      "--file-flush-interval-msec", "100"],
        }[name]  # fmt: skip
        with log.open("ab") as out:
            stack.enter_context(_running(words, stdout=out, stderr=subprocess.DEVNULL))
            _wait_for(port)
            for path in PATHS:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                connection.request("GET", path, headers={"User-Agent": "test"})
                connection.getresponse().read()
                connection.close()
                time.sleep(0.2)
            time.sleep(1.5)
    return log, capture, port


def _wait_for(port: int) -> None:
    for _ in range(100):
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nothing listens on port {port}")

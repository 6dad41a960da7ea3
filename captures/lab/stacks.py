"""Start servers and clients of many stacks, with their defaults unless something else is given."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from scenario import PEERS, site

if TYPE_CHECKING:
    from pathlib import Path

    from network import Host
    from scenario import Lab

PAUSE = "0.01"
"""The pause in seconds between the exchanges of a client."""

V4, V6 = "http://10.9.0.2:8080", "http://[fd00:9::2]:8080"
"""The addresses on which applications listen."""

Wanted = tuple[str, str, str]
"""Method, body and path of a request; the body is in the format of peers/requests_of.py."""


def gets(*paths: str) -> list[Wanted]:
    """Return a GET of each path."""
    return [("GET", "", path) for path in paths]


def words(base: str, wanted: list[Wanted]) -> list[str]:
    """Return the arguments for the clients in peers/."""
    return [PAUSE, *(word for method, body, path in wanted for word in (method, body, base + path))]


def python_client(lab: Lab, name: str, wanted: list[Wanted], base: str = V4) -> None:
    """Run peers/NAME_client.py."""
    lab.client.run(sys.executable, str(PEERS / f"{name}_client.py"), *words(base, wanted))


def node_fetch(lab: Lab, wanted: list[Wanted], base: str = V4) -> None:
    """Send the requests with node's fetch."""
    lab.client.run("node", str(PEERS / "fetch.mjs"), *words(base, wanted))


def java_client(lab: Lab, wanted: list[Wanted], base: str = V4) -> None:
    """Send the requests with java.net.http."""
    lab.client.run("java", str(PEERS / "HttpClientCaller.java"), *words(base, wanted))


def go_client(lab: Lab, wanted: list[Wanted], base: str = V4) -> None:
    """Send the requests with Go's net/http."""
    lab.client.run(str(_built(lab, "go_client")), *words(base, wanted))


def python_app(lab: Lab, name: str, *more: str) -> None:
    """Start peers/NAME_app.py on the server."""
    lab.server.serve(int(more[-1]), sys.executable, str(PEERS / f"{name}_app.py"), *more, stdout=-3, stderr=-3)


def asgi(lab: Lab, server: str, *more: str, address: str = "0.0.0.0", port: int = 8080) -> None:
    """Start uvicorn or hypercorn with peers/asgi_app.py."""
    where = ["--bind", f"{address}:{port}"] if server == "hypercorn" else ["--host", address.strip("[]"), "--port", str(port)]
    begin = [sys.executable, "-m", server, *where, *more, "asgi_app:application"]
    lab.server.serve(port, *begin, cwd=PEERS, stdout=-3, stderr=-3)


def jvm(lab: Lab, program: str, classes: str, *more: str) -> None:
    """Start a Java server of peers/ on port 8080 with these libraries, and send it one request over the loopback interface.

    The first request is slow, because classes are loaded.
    """
    environment = {**os.environ, "CATALINA_BASE": str(lab.folder)}
    command = ("java", "-cp", classes, str(PEERS / f"{program}.java"), "8080", *more)
    lab.server.serve(8080, *command, cwd=lab.folder, stdout=-3, stderr=-3, env=environment)
    expecting = ("-H", "Expect: 100-continue", "-d", "warm")
    for words in (expecting, ("-X", "GET")):
        lab.server.run("curl", "-sS", "-o", "/dev/null", "--max-time", "20", *words, "http://127.0.0.1:8080/upload")


def jetty(lab: Lab) -> None:
    """Start embedded Jetty."""
    jvm(lab, "JettyServer", "/usr/share/jetty9/lib/*")


def tomcat(lab: Lab) -> None:
    """Start embedded Tomcat."""
    jvm(lab, "TomcatServer", "/usr/share/tomcat10/lib/*:/usr/share/tomcat10/bin/tomcat-juli.jar", str(lab.folder))


def go_server(lab: Lab) -> None:
    """Start the application in Go."""
    lab.server.serve(8080, str(_built(lab, "go_server")), "8080")


def _built(lab: Lab, program: str) -> Path:
    binary = lab.folder / program
    environment = {**os.environ, "GOCACHE": str(lab.folder / "go-cache"), "CGO_ENABLED": "0"}
    lab.client.run("go", "build", "-o", str(binary), str(PEERS / f"{program}.go"), env=environment)
    return binary


def php(lab: Lab) -> None:
    """Start PHP's built-in server."""
    lab.server.serve(8080, "php", "-S", "0.0.0.0:8080", str(PEERS / "php_app.php"), stdout=-3, stderr=-3)


LIGHTTPD = """\
server.document-root = "{folder}/site"
server.bind = "0.0.0.0"
server.port = {port}
$SERVER["socket"] == "[::]:{port}" {{ }}
server.modules = ()
mimetype.assign = (".txt" => "text/plain", ".html" => "text/html")
index-file.names = ("index.txt")
{more}
"""


def lighttpd(lab: Lab, more: str = "", /, port: int = 80, **sizes: int) -> None:
    """Start lighttpd with pages of these sizes."""
    site(lab, **sizes)
    conf = lab.file("lighttpd.conf", LIGHTTPD.format(folder=lab.folder, more=more, port=port))
    lab.server.serve(port, "lighttpd", "-D", "-f", conf, stderr=-3)


CADDY = """\
{{
    admin off
    auto_https off
}}
:80 {{
    root * {folder}/site
    {more}
    file_server
}}
"""


def caddy(lab: Lab, more: str = "", /, **sizes: int) -> None:
    """Start Caddy with pages of these sizes."""
    site(lab, **sizes)
    conf = lab.file("Caddyfile", CADDY.format(folder=lab.folder, more=more))
    environment = {**os.environ, "HOME": str(lab.folder), "XDG_DATA_HOME": str(lab.folder), "XDG_CONFIG_HOME": str(lab.folder)}
    command = ("caddy", "run", "--config", conf, "--adapter", "caddyfile")
    lab.server.serve(80, *command, stdout=-3, stderr=-3, env=environment)


HAPROXY = """\
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend in
    bind :::80 v4v6
    default_backend application
backend application
    {backend}
"""


def haproxy(lab: Lab, backend: str) -> None:
    """Start HAProxy on port 80 in front of this backend."""
    conf = lab.file("haproxy.cfg", HAPROXY.format(backend=backend))
    lab.server.serve(80, "haproxy", "-db", "-q", "-f", conf)


def varnish(lab: Lab, backend: str) -> None:
    """Start Varnish on port 80 in front of a backend, given as HOST:PORT."""
    where = str(lab.folder / "varnish")
    lab.server.serve(80, "varnishd", "-F", "-n", where, "-a", ":80", "-b", backend, "-j", "none", stdout=-3, stderr=-3)


SQUID = """\
http_port 3128
http_access allow all
cache deny all
shutdown_lifetime 0 seconds
pid_filename none
access_log none
cache_log {folder}/squid.log
coredump_dir {folder}
logfile_rotate 0
visible_hostname proxy.lab
icp_port 0
pinger_enable off
"""


def squid(lab: Lab) -> None:
    """Start Squid as a forward proxy on port 3128."""
    conf = lab.file("squid.conf", SQUID.format(folder=lab.folder))
    lab.folder.chmod(0o777)
    lab.server.serve(3128, "squid", "-N", "-f", conf, stdout=-3, stderr=-3)


def chromium(host: Host, folder: Path, url: str, *more: str) -> None:
    """Load a page with headless Chromium until shortly after its load event, and close the browser."""
    switches = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
    quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions")
    profile = f"--user-data-dir={folder / 'chromium'}"
    environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
    host.run("chromium", *switches, *quiet, profile, *more, "--dump-dom", url, env=environment)

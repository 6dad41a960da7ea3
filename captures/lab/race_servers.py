"""Start servers with an idle timeout that a pool can meet, and whose processes can end. Each gets its idle timeout in seconds.

A starter returns the process whose children are the workers: a master, or the keeper that restarts a single process.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scenario import PEERS, site, steps_as_json

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from network import Host
    from scenario import Lab

PORT, FRONT = 8080, 8000


def _jars(*names: str) -> str:
    return ":".join(f"/usr/share/java/{name}.jar" for name in names)


LIBRARIES = {
    "MortalServer": "",
    "TomcatServer": "/usr/share/tomcat10/lib/*:/usr/share/tomcat10/bin/tomcat-juli.jar",
    "MortalJetty": "/usr/share/jetty9/lib/*",
    "OkHttpPool": _jars("okhttp", "okio"),
    "HttpClient4Pool": _jars("httpclient", "httpcore", "commons-logging"),
    "HttpClient5Pool": _jars("httpclient5", "httpcore5", "httpcore5-h2", "slf4j-api"),
}
"""The class path of each program in Java."""

DOTNET = {
    "runtimeOptions": {
        "framework": {"name": "Microsoft.NETCore.App", "version": "3.1.0"},
        "configProperties": {"System.Globalization.Invariant": True},
    }
}
DEVNULL = {"stdout": -3, "stderr": -3}


@dataclass(frozen=True)
class Server:
    """How a server is started (lab, binaries, idle timeout, workers, more options), and what is known about its idle timeout."""

    start: Callable[..., subprocess.Popen[bytes]]
    software: str
    spread: float = 0.002
    """The maximum distance in seconds of requests from the idle timeout; larger for servers that check for idle connections now
    and then.
    """

    stride: int = 1
    limits: tuple[float, ...] = (1.0, 2.0, 3.0)
    parent: str = "master"
    """The process whose children end: a master, or a keeper."""


def built(binaries: Path, host: Host, program: str) -> Path:
    """Compile a program of peers/ in Go, C# or Java, unless it is compiled already."""
    if program.endswith(".go"):
        binary = binaries / program[:-3]
        if not binary.exists():
            environment = {**os.environ, "GOCACHE": str(binaries / "go-cache"), "CGO_ENABLED": "0", "GO111MODULE": "off"}
            host.run("go", "build", "-o", str(binary), str(PEERS / program), env=environment, timeout=300)
        return binary
    if program.endswith(".cs"):
        binary = binaries / f"{program[:-3]}.exe"
        if not binary.exists():
            binary.with_suffix(".runtimeconfig.json").write_text(json.dumps(DOTNET))
            host.run("mcs", "-r:System.Net.Http.dll", f"-out:{binary}", str(PEERS / program), timeout=300)
        return binary
    if not (binaries / f"{program}.class").exists():
        path = f"{binaries}:{LIBRARIES.get(program, '')}"
        host.run("javac", "-d", str(binaries), "-cp", path, str(PEERS / f"{program}.java"), timeout=300)
    return binaries


def _kept(*words: str) -> list[str]:
    return [sys.executable, str(PEERS / "keeper.py"), *words]


def _gunicorn(kind: str) -> Callable[..., subprocess.Popen[bytes]]:
    def start(lab: Lab, _binaries: Path, limit: float, workers: int = 1, *more: str) -> subprocess.Popen[bytes]:
        words = ["-m", "gunicorn", "--keep-alive", str(int(limit)), "--workers", str(workers), "--worker-class", kind]
        threads = ["--threads", "8"] if kind == "gthread" else []
        bind = ["--bind", f"0.0.0.0:{PORT}", "--chdir", str(PEERS), "--worker-tmp-dir", "/dev/shm"]
        return lab.server.start(sys.executable, *words, *threads, *bind, *more, "mortal_app:wsgi", **DEVNULL)

    return start


def _uvicorn(lab: Lab, _binaries: Path, limit: float, workers: int = 1, *more: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "uvicorn", "--host", "0.0.0.0", "--port", str(PORT), "--no-access-log"]
    words += ["--timeout-keep-alive", str(int(limit)), *more]
    words += ["--workers", str(workers)] if workers > 1 else []
    words += ["mortal_app:asgi"]
    return lab.server.start(*(words if workers > 1 else _kept(*words)), cwd=PEERS, **DEVNULL)


def _node(announces: str) -> Callable[..., subprocess.Popen[bytes]]:
    def start(lab: Lab, _binaries: Path, limit: float, workers: int = 1, *_more: str) -> subprocess.Popen[bytes]:
        words = ["node", str(PEERS / "mortal.js"), str(PORT), str(int(limit * 1000))]
        if workers > 1:
            return lab.server.start(*words, str(workers), *([announces] if announces else []), **DEVNULL)
        return lab.server.start(*_kept(*words, "0", *([announces] if announces else [])), **DEVNULL)

    return start


def _go(lab: Lab, binaries: Path, limit: float, _workers: int = 1, *_more: str) -> subprocess.Popen[bytes]:
    return lab.server.start(*_kept(str(built(binaries, lab.server, "mortal.go")), str(PORT), str(int(limit * 1000))), **DEVNULL)


def _java(program: str) -> Callable[..., subprocess.Popen[bytes]]:
    def start(lab: Lab, binaries: Path, limit: float, _workers: int = 1, *_more: str) -> subprocess.Popen[bytes]:
        classes = f"{built(binaries, lab.server, program)}:{LIBRARIES[program]}"
        tick = [f"-Dsun.net.httpserver.idleInterval={int(limit)}", "-Dsun.net.httpserver.clockTick=1000"]
        arguments = {
            "MortalServer": [str(PORT)],
            "TomcatServer": [str(PORT), str(lab.folder), str(int(limit * 1000))],
            "MortalJetty": [str(PORT), str(int(limit * 1000))],
        }[program]
        light = ["-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:+UseSerialGC"]
        words = ["java", *light, *tick, "-Dsun.net.httpserver.nodelay=true", "-cp", classes, program, *arguments]
        environment = {**os.environ, "CATALINA_BASE": str(lab.folder)}
        return lab.server.start(*_kept(*words), cwd=lab.folder, env=environment, **DEVNULL)

    return start


NGINX = """\
daemon off; worker_processes {workers}; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 512; }}
http {{
  access_log off; default_type text/plain; keepalive_requests 100000;
  limit_req_zone all zone=slow:1m rate=60r/s;
  server {{
    listen {port}; keepalive_timeout {limit}ms; add_header X-Port $remote_port always;
    location /bytes/ {{ return 200 "twenty bytes or so.\\n"; }}
    location /slow/ {{ root {folder}/site; try_files /a.txt =404; limit_req zone=slow burst=100; }}
    location /hangup/ {{ return 444; }}
    {more}
  }}
}}
"""


def _nginx(lab: Lab, _binaries: Path, limit: float, workers: int = 1, *more: str) -> subprocess.Popen[bytes]:
    site(lab, a=20)
    conf = lab.folder / "nginx.conf"
    values = {"folder": lab.folder, "workers": workers, "port": PORT, "limit": int(limit * 1000), "more": " ".join(more)}
    conf.write_text(NGINX.format(**values))
    return lab.server.start("nginx", "-c", str(conf), **DEVNULL)


APACHE = """\
ServerRoot {folder}
ServerName 10.9.0.2
PidFile {folder}/apache2.pid
Mutex file:{folder}
Listen {port}
LoadModule mpm_{mpm}_module /usr/lib/apache2/modules/mod_mpm_{mpm}.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so
LoadModule headers_module /usr/lib/apache2/modules/mod_headers.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
TypesConfig /etc/mime.types
ErrorLog {folder}/error.log
DocumentRoot {folder}/site
AliasMatch "^/(bytes|slow)/" {folder}/site/a.txt
Header always set X-Port "expr=%{{REMOTE_PORT}}"
KeepAliveTimeout {limit}ms
MaxKeepAliveRequests 0
<Directory {folder}/site>
  Require all granted
</Directory>
{more}
"""


def _apache(mpm: str) -> Callable[..., subprocess.Popen[bytes]]:
    def start(lab: Lab, _binaries: Path, limit: float, _workers: int = 1, *more: str) -> subprocess.Popen[bytes]:
        site(lab, a=20)
        conf = lab.folder / "apache2.conf"
        pool = "StartServers 40\nMinSpareServers 20\nServerLimit 150" if mpm == "prefork" else ""
        values = {"folder": lab.folder, "mpm": mpm, "port": PORT, "limit": int(limit * 1000), "more": "\n".join((pool, *more))}
        conf.write_text(APACHE.format(**values))
        return lab.server.start("apache2", "-D", "FOREGROUND", "-f", str(conf), **DEVNULL)

    return start


FINE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nfine\n"


def _soon(lab: Lab, _binaries: Path, limit: float, _workers: int = 1, *_more: str) -> subprocess.Popen[bytes]:
    script = lab.file("answers.json", steps_as_json([[FINE, limit, {"do": "close"}]]))
    return lab.server.start(sys.executable, str(PEERS / "raw_server.py"), str(PORT), script, "nodelay", **DEVNULL)


SERVERS = {
    "gunicorn": Server(_gunicorn("gthread"), "gunicorn", limits=(1.0, 2.0)),
    "gunicorn-sync": Server(_gunicorn("sync"), "gunicorn"),
    "uvicorn": Server(_uvicorn, "uvicorn", parent="keeper"),
    "node": Server(_node(""), "node", limits=(1.0, 2.0), parent="keeper"),
    "node-silent": Server(_node("silent"), "node", parent="keeper"),
    "nginx": Server(_nginx, "nginx"),
    "apache": Server(_apache("event"), "apache2", spread=0.06, stride=10),
    "apache-prefork": Server(_apache("prefork"), "apache2"),
    "go": Server(_go, "go", parent="keeper"),
    "java": Server(_java("MortalServer"), "java", spread=0.3, stride=40, limits=(2.0,), parent="keeper"),
    "tomcat": Server(_java("TomcatServer"), "tomcat", spread=0.3, stride=40, limits=(1.0, 2.0), parent="keeper"),
    "jetty": Server(_java("MortalJetty"), "jetty", limits=(1.0, 2.0), parent="keeper"),
    "soon": Server(_soon, "python", limits=(0.0, 0.001, 0.003)),
}


PROXIES = {
    "nginx": (
        ("nginx", "-c"),
        "nginx.conf",
        """\
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 512; }}
http {{
  access_log off; keepalive_requests 100000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream application {{ server {back}; keepalive 64; }}
  server {{
    listen {front};
    location / {{ proxy_pass http://application; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
""",
    ),
    "haproxy": (
        ("haproxy", "-db", "-q", "-f"),
        "haproxy.cfg",
        """\
global
    maxconn 400
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
listen web
    bind :{front}
    server application {back} pool-purge-delay 60s
""",
    ),
    "apache": (
        ("apache2", "-D", "FOREGROUND", "-f"),
        "apache2.conf",
        """\
ServerRoot {folder}
ServerName front
PidFile {folder}/apache2.pid
Mutex file:{folder}
Listen {front}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
StartServers 1
ServerLimit 1
ThreadsPerChild 64
MaxRequestWorkers 64
KeepAliveTimeout 60
MaxKeepAliveRequests 0
ErrorLog {folder}/error.log
ProxyPass / http://{back}/ keepalive=On
""",
    ),
    "caddy": (
        ("caddy", "run", "--config"),
        "Caddyfile",
        """\
{{
    admin off
    auto_https off
}}
:{front} {{
    reverse_proxy {back} {{
        transport http {{
            keepalive 60s
            keepalive_idle_conns 100
            keepalive_idle_conns_per_host 100
        }}
    }}
}}
""",
    ),
}


def proxy(lab: Lab, name: str) -> int:
    """Start a proxy on the client that keeps its connections to the server; return its port."""
    folder = lab.folder / "proxy"
    folder.mkdir()
    lab.folder.chmod(0o777)
    words, conf, text = PROXIES[name]
    (folder / conf).write_text(text.format(folder=folder, front=FRONT, back=f"10.9.0.2:{PORT}"))
    more = ("--adapter", "caddyfile") if name == "caddy" else ()
    environment = {**os.environ, **dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(folder))}
    lab.client.serve(FRONT, *words, str(folder / conf), *more, **DEVNULL, env=environment)
    return FRONT

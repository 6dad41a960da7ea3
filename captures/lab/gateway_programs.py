"""Programs for programs.py that are gateways on their own host: their limits, queues, health checks and retries.

Programs with a `fault` fail their clients. The `fault` says what must be reported at which end of the recording.
"""

# ruff: noqa: E501, for the command lines and files of these programs

from __future__ import annotations

import sys

from gateways import HTTPD
from program import ALONE, GATEWAY, HERE, PORT, SERVER, Program, Serve, Words, command, shell
from scenario import Lab

ORIGIN = f"{SERVER}:{PORT}"

UNSEEN, NOT_PASSED, TIMED_OUT = "gateway-error unseen", "gateway-error not-passed-on", "gateway-error timed-out"

LEFT = {"client-abort": "what is not answered in time is given up", "slow-response": "the server is slow"}

REFUSED = {"connect-failed": "the server does not accept connections", "gateway-error refused": "so it was at first"}

NGINX = """daemon off; pid {folder}/g.pid; error_log {folder}/g.log; worker_processes 1; user root; MAIN
events { worker_connections 256; }
http { access_log off; limit_req_zone $binary_remote_addr zone=r:1m rate=2r/s; limit_conn_zone $binary_remote_addr zone=c:1m;
  upstream back { SERVERS keepalive 4; }
  server { listen 8080; client_max_body_size 50m; proxy_http_version 1.1; proxy_set_header Connection ""; LIMITS
    location / { proxy_pass http://back; } } }
"""

HAPROXY = """global
  maxconn 200
defaults
  mode http
  timeout connect 2s
  timeout client 20s
  timeout server 20s
  DEFAULTS
frontend front
  bind :8080
  default_backend back
  FRONT
backend back
  SERVERS
"""

HTTPD_CONF = """ServerRoot {folder}
ServerName lab
Listen 8080
User www-data
Group www-data
PidFile {folder}/g.pid
ErrorLog {folder}/g.log
Mutex file:{folder}
MODULES
CONF
"""

CADDY = """{
  auto_https off
  grace_period 1s
}
http://:8080 {
  reverse_proxy SERVER {
    MORE
  }
}
"""

NODE_PROXY = (
    "const proxy = require('{modules}/node_modules/http-proxy').createProxyServer({ target: 'http://10.9.0.2:8080', proxyTimeout: 2000, "
    "agent: new (require('http').Agent)({ keepAlive: true }) }); proxy.on('error', (error, ask, answer) => { if (!answer.headersSent) "
    "answer.writeHead(error.code == 'ECONNRESET' ? 504 : 502, { 'Content-Length': 0 }); answer.end(); }); "
    "require('http').createServer((ask, answer) => proxy.web(ask, answer)).listen(8080)"
)

UPGRADED = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"

RELOADED = "sh -c 'COMMAND & sleep 4; RELOAD; wait'"


def nginx(limits: str = "", servers: str = f"server {ORIGIN};", main: str = "") -> Serve:
    """Return nginx with these limits, in front of these servers."""
    conf = NGINX.replace("LIMITS", limits).replace("SERVERS", servers).replace("MAIN", main)
    reload = RELOADED.replace("COMMAND", "nginx -c {folder}/g.conf").replace("RELOAD", "kill -HUP $!")
    return command(reload if main else "nginx -c {folder}/g.conf", g_conf=conf)


def haproxy(defaults: str = "", servers: str = f"server one {ORIGIN}", front: str = "") -> Serve:
    """Return HAProxy with these lines (separated by semicolons) in its sections."""
    conf = HAPROXY.replace("DEFAULTS", defaults).replace("SERVERS", servers).replace("FRONT", front).replace("; ", "\n  ")
    return command("haproxy -db -f {folder}/g.cfg", g_cfg=conf)


def httpd(conf: str) -> Serve:
    """Return Apache httpd with these lines of configuration."""
    modules = (*HTTPD, "reqtimeout")
    lines = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in modules)
    return command("apache2 -DFOREGROUND -f {folder}/a.conf", a_conf=HTTPD_CONF.replace("MODULES", lines).replace("CONF", conf))


def caddy(more: str = "", server: str = ORIGIN, *, reloaded: bool = False) -> Serve:
    """Return Caddy with these options of reverse_proxy. If `reloaded`, it gets another configuration once."""
    run = "caddy run --adapter caddyfile --config {folder}/c.caddy"
    again = "sed s/8080/8081/ {folder}/c.caddy > {folder}/d.caddy; caddy reload --adapter caddyfile --config {folder}/d.caddy"
    words = RELOADED.replace("COMMAND", run).replace("RELOAD", again) if reloaded else run
    home = "env HOME={folder} XDG_DATA_HOME={folder} XDG_CONFIG_HOME={folder}"
    return command(f"{home} {words}", c_caddy=CADDY.replace("SERVER", server).replace("MORE", more))


def varnish(backend: str = "", more: str = "") -> Serve:
    """Return Varnish with these attributes of its backend, and this VCL."""
    vcl = f'vcl 4.1;\nbackend one {{ .host = "{SERVER}"; .port = "{PORT}"; {backend} }}\n{more}\n'
    return command("varnishd -F -n {folder}/varnish -a :8080 -f {folder}/v.vcl -s malloc,20m", v_vcl=vcl)


GO = command(
    "sh -c 'export GOCACHE=/tmp/wiredoctor-go GOFLAGS=-mod=mod CGO_ENABLED=0; go build -o g {programs}/../go_proxy.go && "
    f"exec ./g 8080 1000 2000 /={ORIGIN}'"
)

NODE = command("node {folder}/g.js", g_js=NODE_PROXY)


TOLD_SERVER = "{python} {programs}/../told_server.py"


def told(port: int = PORT, words: str = "A") -> Serve:
    """Return the server that does what each request tells it."""
    return command(f"{TOLD_SERVER} {port} {words}", port)


def both(*serves: Serve) -> Serve:
    """Return several servers as one."""

    def serve(lab: Lab) -> None:
        for one in serves:
            one(lab)

    return serve


def sockets(port: int = PORT) -> Serve:
    """Return the WebSocket server of peers/programs/sockets.py."""
    return command(f"{{python}} {{programs}}/sockets.py serve {port}", port)


TOLD, TWO = told(), both(told(), told(8081, "B"))

LATER = command(f"sh -c '(sleep 4; exec {TOLD_SERVER} {PORT} A) & exec {TOLD_SERVER} 8081 B'", 8081)
"""A server that starts only after the client has sent its request."""

DEAF = command(f"sh -c 'iptables -A INPUT -p tcp --dport 8081 -j DROP; exec {TOLD_SERVER} {PORT} A'")
"""A server that drops SYNs to port 8081."""


UVICORN = command(f"uvicorn --app-dir {{programs}} --host 0.0.0.0 --port {PORT} limits:asgi")

PAGES = command("{python} -m http.server 8080 -d {folder}/site")


def ask(target: str = "a", deed: str = "", more: str = "") -> str:
    """Return a curl request, with what it tells the server to do."""
    return f"curl -sS -m 8 -o /dev/null {more} {GATEWAY}/{target}" + (f" -H 'X-Do: {deed}'" if deed else "")


def upload(size: int, deed: str = "", more: str = "-H Expect:") -> str:
    """Return an upload with curl."""
    return f"head -c {size} /dev/zero | " + ask("upload", deed, f"--data-binary @- {more}")


def pauses(*seconds: float) -> str:
    """Return a WebSocket client that sends a message before each pause."""
    words = " ".join(str(one) for one in seconds)
    return f"{sys.executable} {HERE}/sockets.py use ws://{GATEWAY.removeprefix('http://')}/ws {words}"


def talk(*steps: str | float) -> str:
    """Return a client on one connection: texts are sent, numbers are waits in seconds, and everything received is discarded."""
    host, port = GATEWAY.removeprefix("http://").split(":")
    lines = [f"s.sendall({step.encode()!r})" if isinstance(step, str) else f"time.sleep({step})" for step in steps]
    script = "; ".join(
        ["import socket, time", f"s = socket.create_connection(('{host}', {port}))", *lines, "s.recv(4096)", "s.close()"]
    )
    return f'{sys.executable} -c "{script}"'


def stops(target: str, seconds: float) -> str:
    """Return a client with a small receive buffer that stops reading in the middle of a download."""
    host, port = GATEWAY.removeprefix("http://").split(":")
    opened = "import socket, time; s = socket.socket(); s.setsockopt(1, 8, 20000)"
    sent = f"s.connect(('{host}', {port})); s.sendall({request(target).encode()!r})"
    return f"{sys.executable} -c \"{opened}; {sent}; s.recv(9999); time.sleep({seconds}); [0 for _ in iter(lambda: s.recv(99999), b'')]\""


def request(target: str, more: str = "") -> str:
    """Return the head of a request."""
    return f"GET /{target} HTTP/1.1\r\nHost: lab\r\n{more}\r\n"


def program(
    name: str,
    title: str,
    through: Serve,
    *use: str,
    serve: Serve = TOLD,
    may: dict[str, str] | None = None,
    client: Words | None = None,
    gateway: Words | None = None,
    server: Words | None = None,
) -> Program:
    """Return a program whose client sends one request after the other. If it fails by itself, the fault says what must be
    reported.
    """
    maker = name.partition("-")[0]
    needs = {"httpd": "apache2", "varnish": "varnishd", "node": "/http-proxy"}.get(maker, maker)
    more: Words = ("websockets",) if any("sockets.py" in line for line in use) else ("uvicorn",) if serve is UVICORN else ()
    return Program(
        name,
        title,
        serve,
        (shell("; ".join(use)),),
        (needs, "curl", *more),
        may=ALONE | (may or {}),
        gateway=through,
        fault={end: rules for end, rules in (("client", client), ("gateway", gateway), ("server", server)) if rules is not None},
        seconds=20,
        snap=2_000,
    )


QUEUE = f"server one {ORIGIN} maxconn 1"

DRIPPING = ask("drip", "drip;for=6")

ENDLESS = ("gateway-error stream-timed-out", "truncated-response")
CUT = ("gateway-error truncated", "truncated-response")
CLIENT_CUT, GIVEN_UP = ("truncated-response",), ("client-abort",)

HEALTHY = (
    program(
        "nginx-next",
        "nginx before two servers, of which one answers 502: it asks the other",
        nginx("proxy_next_upstream error timeout http_502;", f"server {ORIGIN}; server {SERVER}:8081;"),
        *(ask(f"a{n}", "502;of=B") for n in range(4)),
        serve=TWO,
        may={UNSEEN: "a server says 502 itself"},
    ),
    program("nginx-slow-upload", "nginx; an upload of 40 kB in 4 s", nginx(), upload(40_000, more="--limit-rate 10k"), ask()),
    program(
        "nginx-streamed-upload",
        "nginx that buffers no request; an upload of 8 MB",
        nginx("proxy_request_buffering off;"),
        ask(),
        upload(8_000_000),
        ask(),
    ),
    program(
        "nginx-events",
        "nginx; events with pauses that are shorter than its limit",
        nginx("proxy_buffering off; proxy_read_timeout 3s;"),
        ask("events", "events;for=2"),
    ),
    program(
        "nginx-http10",
        "nginx that keeps connections, before a server of HTTP/1.0 that closes them",
        nginx(),
        *(ask(name) for name in ("small", "large", "small")),
        serve=PAGES,
    ),
    program(
        "haproxy-queue",
        "HAProxy lets one request at a time through; others wait shortly",
        haproxy("timeout queue 4s", QUEUE),
        f"{ask('a', 'late;for=0.5')} & sleep 0.1; {ask('b')} & {ask('c')} & wait",
    ),
    program(
        "haproxy-tunnel",
        "HAProxy; a WebSocket with pauses that are shorter than its limit",
        haproxy("timeout tunnel 4s"),
        pauses(1, 3, 3),
        serve=sockets(),
    ),
    program(
        "haproxy-preconnect",
        "HAProxy; a connection on which nothing is asked, as browsers open them, and an idle one",
        haproxy("timeout http-request 2s; timeout http-keep-alive 1s"),
        talk(),
        talk(request("a"), 3),
    ),
    program(
        "varnish-coalesces",
        "Varnish; two ask at once for what takes 3 s, and one later",
        varnish(more="sub vcl_backend_response { set beresp.ttl = 10s; }"),
        f"{ask('a', 'late;for=3')} & sleep 0.5; {ask('a')} & wait",
        ask("a"),
    ),
    program(
        "httpd-upload",
        "Apache httpd before uvicorn; an upload with Expect, which waits for 100",
        httpd(f"ProxyPass / http://{ORIGIN}/"),
        upload(2_500_000, more="-H 'Expect: 100-continue'"),
        ask(),
        serve=UVICORN,
    ),
    program(
        "go-proxy",
        "Go's ReverseProxy; an answer that takes 1.4 s of the 2 s that it has",
        GO,
        ask(),
        ask("b", "late;for=1.4"),
        ask(),
    ),
    program(
        "node-proxy",
        "node-http-proxy; an answer that takes 1.4 s of the 2 s that it has",
        NODE,
        ask(),
        ask("b", "late;for=1.4"),
        ask(),
    ),
    program(
        "caddy-reload",
        "Caddy is reloaded in a download, which goes on",
        caddy(reloaded=True),
        DRIPPING,
    ),
)

SECOND_TRIES = (
    program(
        "varnish-second",
        "Varnish asks a second server, as nothing listens at the port of the first",
        varnish(
            ".connect_timeout = 1s;",
            f'backend two {{ .host = "{SERVER}"; .port = "8081"; }} sub vcl_recv {{ return (pass); }} sub vcl_backend_error {{ return (retry); }} sub vcl_backend_fetch {{ if (bereq.retries > 0) {{ set bereq.backend = two; }} }}',
        ),
        ask(),
        ask("b"),
        serve=told(8081),
        gateway=("connect-failed refused",),
        server=("connect-failed refused",),
    ),
    program(
        "haproxy-restart",
        "HAProxy; the server is down for 2 s, and HAProxy tries again each second",
        haproxy("retries 4"),
        ask(),
        serve=LATER,
        may=LEFT,
        gateway=("connect-failed",),
        server=("connect-failed",),
    ),
    program(
        "caddy-restart",
        "Caddy; the server is down for 2 s, and Caddy tries again twice a second",
        caddy("lb_try_duration 6s\n lb_try_interval 500ms"),
        ask(),
        serve=LATER,
        may=LEFT,
        gateway=("connect-failed",),
        server=("connect-failed",),
    ),
    program(
        "nginx-second-silent",
        "nginx before two servers, of which one answers no SYN: every second request is 2 s late",
        nginx("proxy_connect_timeout 2s;", f"server {SERVER}:8081 max_fails=0; server {ORIGIN} max_fails=0;"),
        *(ask(f"a{n}") for n in range(4)),
        serve=DEAF,
        may=LEFT,
        gateway=("connect-failed timed-out",),
        server=("connect-failed timed-out",),
    ),
)

REFUSALS = (
    program(
        "haproxy-refused",
        "HAProxy; nothing listens at the server's port",
        haproxy("retries 3"),
        ask(),
        ask("b"),
        serve=told(8081),
        may=LEFT | REFUSED,
        client=(UNSEEN,),
        gateway=("gateway-error refused", UNSEEN),
        server=("connect-failed refused",),
    ),
    program(
        "nginx-none-left",
        "nginx before two ports where nothing listens: first it tries both, later none",
        nginx("", f"server {SERVER}:8082 max_fails=1 fail_timeout=5s; server {SERVER}:8083 max_fails=1 fail_timeout=5s;"),
        ask(),
        ask("b"),
        ask("c"),
        client=(UNSEEN,),
        gateway=("gateway-error refused",),
        server=("connect-failed refused",),
        may=REFUSED | {NOT_PASSED: "later it tries none"},
    ),
    program(
        "httpd-refused",
        "Apache httpd; the server is down at first",
        httpd(f"ProxyPass / http://{ORIGIN}/"),
        ask(),
        "sleep 4",
        ask("b"),
        serve=LATER,
        gateway=("gateway-error refused",),
        server=("connect-failed",),
        may=REFUSED,
    ),
    program(
        "caddy-silent",
        "Caddy; the server answers no SYN, and then is marked as down",
        caddy("fail_duration 20s\n transport http {\n dial_timeout 1s\n }", f"{SERVER}:8081"),
        ask(),
        ask("b"),
        serve=DEAF,
        client=(UNSEEN,),
        gateway=("gateway-error unreachable",),
        may=REFUSED | {NOT_PASSED: "the server is marked as down"},
    ),
    program(
        "nginx-nameless",
        "nginx cannot resolve the name of its server",
        nginx("resolver 10.9.0.2 valid=1s; resolver_timeout 2s; set $name lab.example; location /b { proxy_pass http://$name; }"),
        ask(),
        ask("b"),
        ask(),
        may=LEFT,
        client=(UNSEEN,),
        gateway=(NOT_PASSED,),
    ),
    program(
        "haproxy-queue-full",
        "HAProxy lets one request at a time through; others wait longer than its limit",
        haproxy("timeout queue 1s", QUEUE),
        f"{ask('a', 'late;for=3')} & sleep 0.3; {ask('b')} & {ask('c')} & wait",
        ask(),
        may=LEFT,
        client=(UNSEEN,),
        gateway=(NOT_PASSED,),
    ),
    program(
        "haproxy-queue-short",
        "HAProxy lets one request at a time through; another waits 50 ms",
        haproxy("timeout queue 50ms", QUEUE),
        f"{ask('a', 'late;for=3')} & sleep 0.3; {ask('b')} & wait",
        ask(),
        may=LEFT,
        client=(UNSEEN,),
        gateway=(NOT_PASSED,),
    ),
    program(
        "haproxy-left-queue",
        "HAProxy lets one request at a time through; clients that wait leave after 1 s",
        haproxy("option abortonclose", QUEUE),
        f"{ask('a', 'late;for=3')} & sleep 0.3; {ask('b', more='-m 1')}; {ask('c', more='-m 1')}; wait",
        ask(),
        may=LEFT,
        client=GIVEN_UP,
        gateway=GIVEN_UP,
    ),
    program(
        "varnish-connections",
        "Varnish may have one connection to its server; others get a 503",
        varnish(".max_connections = 1;", "sub vcl_recv { return (pass); }"),
        f"{ask('a', 'late;for=3')} & sleep 0.3; {ask('b')} & {ask('c')} & wait",
        may=LEFT,
        client=(UNSEEN,),
        gateway=(NOT_PASSED,),
    ),
    program(
        "nginx-connections",
        "nginx allows one request at a time, and answers 503 to others",
        nginx("limit_conn c 1;"),
        f"{ask('a', 'late;for=2')} & sleep 0.4; {ask('b')}; wait",
        ask(),
        may=LEFT,
        gateway=(NOT_PASSED,),
    ),
    program(
        "nginx-rate",
        "nginx answers 429 to more than two requests a second",
        nginx("limit_req zone=r; limit_req_status 429;"),
        *(ask() for _ in range(5)),
        client=(),
    ),
    program(
        "haproxy-check",
        "HAProxy's health check gets a 500, so that it asks no server",
        haproxy(
            "", f"option httpchk; http-check send meth GET uri /health hdr X-Do 500; server one {ORIGIN} check inter 500ms fall 2"
        ),
        "sleep 2",
        ask(),
        ask("b"),
        client=(UNSEEN,),
        gateway=(NOT_PASSED, UNSEEN),
    ),
    program(
        "varnish-check",
        "Varnish's health check times out, so that it asks no server",
        varnish(
            '.probe = { .request = "GET /check HTTP/1.1" "Host: lab" "X-Do: late;for=3" "Connection: close"; .timeout = 500ms; .interval = 1s; .window = 3; .threshold = 2; .initial = 0; }',
            "sub vcl_recv { return (pass); }",
        ),
        "sleep 2",
        ask(),
        ask("b"),
        may=LEFT,
        client=(UNSEEN,),
        gateway=(NOT_PASSED, UNSEEN),
        server=GIVEN_UP,
    ),
    program(
        "haproxy-tarpit",
        "HAProxy's tarpit answers 500 after 4 s",
        haproxy("timeout tarpit 4s", front="http-request tarpit if { path_beg /bad }"),
        ask(),
        ask("bad"),
        may=LEFT,
        client=(),
    ),
    program(
        "nginx-long-target",
        "nginx rejects a long target: 414",
        nginx("large_client_header_buffers 4 1k;"),
        ask(),
        ask("$(printf %02000d 1)"),
        client=("oversized-head",),
        gateway=("oversized-head",),
    ),
    program(
        "nginx-large-head",
        "nginx rejects a header section of 9 kB: 400",
        nginx(),
        ask(),
        ask("b", more='-H "X-Large: $(printf %09000d 1)"'),
        client=("oversized-head",),
        gateway=("oversized-head",),
    ),
)

CLIENTS = (
    program(
        "haproxy-slow-head",
        "HAProxy; a client sends its head more slowly than allowed: 408",
        haproxy("timeout http-request 2s"),
        talk(*(step for n in range(0, 40, 4) for step in (request("slowheadxxxxxxxxxxxx")[n : n + 4], 0.3))),
        client=(),
    ),
    program(
        "nginx-slow-head",
        "nginx; a client sends its head more slowly than allowed",
        nginx("client_header_timeout 2s;"),
        talk(*(step for n in range(0, 40, 4) for step in (request("slowheadxxxxxxxxxxxx")[n : n + 4], 0.3))),
        client=(),
    ),
    program(
        "nginx-upload-stops",
        "nginx; a client pauses in its upload for longer than allowed",
        nginx("client_body_timeout 2s;"),
        talk("POST /up HTTP/1.1\r\nHost: lab\r\nContent-Length: 5000\r\n\r\n" + "u" * 1000, 4),
        client=("no-response",),
        gateway=("no-response",),
    ),
    program(
        "haproxy-slow-reader",
        "HAProxy; a client does not read for longer than allowed",
        haproxy("timeout client 3s"),
        stops("huge", 7),
        serve=PAGES,
        client=("zero-window-stall", "truncated-response"),
        gateway=("gateway-error client-stalled",),
        server=("zero-window-stall", "client-abort"),
        may={
            "zero-window-stall": "the client does not read",
            "truncated-response": "HAProxy closes",
            "client-abort": "HAProxy closes",
        },
    ),
    program(
        "nginx-left",
        "nginx; the client gives up after 2 s, the server needs 5 s",
        nginx(),
        ask("a", "late;for=5", "-m 2"),
        ask("b", "late;for=5", "-m 2"),
        ask(),
        may=LEFT,
        client=GIVEN_UP,
        gateway=GIVEN_UP,
        server=GIVEN_UP,
    ),
    program(
        "go-proxy-left",
        "Go's ReverseProxy; the client gives up after 1 s, the server needs 1.6 s",
        GO,
        ask(),
        ask("b", "late;for=1.6", "-m 1"),
        "sleep 1",
        ask(),
        client=GIVEN_UP,
        gateway=GIVEN_UP,
        server=GIVEN_UP,
    ),
)

TIME_LIMITS = (
    *(
        program(
            f"{name}-events-cut",
            f"{name}; events with a pause of 6 s, which is longer than its limit of 3 s",
            gateway,
            ask("events", "events;for=6", "-m 14"),
            client=CLIENT_CUT,
            gateway=ENDLESS,
        )
        for name, gateway in (
            ("nginx", nginx("proxy_buffering off; proxy_read_timeout 3s;")),
            ("haproxy", haproxy("timeout server 3s")),
            ("httpd", httpd(f"ProxyTimeout 3\nProxyPass / http://{ORIGIN}/ flushpackets=on")),
        )
    ),
    program(
        "haproxy-tunnel-cut",
        "HAProxy; a WebSocket rests for longer than its limit of 6 s",
        haproxy("timeout tunnel 6s"),
        pauses(1, 9, 1),
        serve=sockets(),
        client=("idle-cut",),
        gateway=("idle-cut", "gateway-error stream-timed-out"),
    ),
    program(
        "nginx-tunnel-cut",
        "nginx; WebSockets rest for longer than its limit of 3 s",
        nginx(f"proxy_read_timeout 3s; {UPGRADED}"),
        f"({pauses(1, 5, 1)}) & ({pauses(0.5, 5, 1)}) & {pauses(2, 5, 1)}; wait",
        serve=sockets(),
        client=("idle-cut",),
        gateway=("idle-cut", "gateway-error stream-timed-out"),
    ),
    program(
        "nginx-no-upgrade",
        "nginx does not pass Upgrade on: no WebSocket",
        nginx(),
        pauses(1),
        serve=sockets(),
        client=("websocket-failed",),
        gateway=("websocket-failed",),
    ),
    program(
        "haproxy-relay-timeout",
        "HAProxy as a relay of TCP with a limit of 2 s; the server needs 5 s",
        haproxy("mode tcp; timeout client 2s; timeout server 2s"),
        ask(),
        ask("b", "late;for=5"),
        may=LEFT,
        client=("no-response",),
        gateway=(TIMED_OUT, "no-response"),
        server=GIVEN_UP,
    ),
    program(
        "haproxy-tries",
        "HAProxy asks three times, and each time waits 2 s for a server that needs 5 s",
        haproxy("retries 2; timeout server 2s", f"retry-on all-retryable-errors; server one {ORIGIN}"),
        ask("a", "late;for=5"),
        ask("b"),
        may=LEFT,
        client=(UNSEEN,),
        gateway=(TIMED_OUT,),
        server=GIVEN_UP,
    ),
    program(
        "nginx-tries",
        "nginx asks two servers, and each time waits 1.5 s; both need 4 s",
        nginx("proxy_read_timeout 1500ms;", f"server {ORIGIN} max_fails=0; server {SERVER}:8081 max_fails=0;"),
        ask("a", "late;for=4"),
        ask("b"),
        serve=TWO,
        may=LEFT,
        client=(UNSEEN,),
        gateway=(TIMED_OUT,),
        server=GIVEN_UP,
    ),
    *(
        program(
            f"{name}-waits",
            f"{name} waits 2 s; the server needs 4 s",
            gateway,
            ask(),
            ask("b", "late;for=4"),
            ask(),
            may=LEFT,
            client=(UNSEEN,),
            gateway=(TIMED_OUT,),
            server=GIVEN_UP,
        )
        for name, gateway in (("varnish", varnish(".first_byte_timeout = 2s;")), ("go", GO), ("node", NODE))
    ),
    program(
        "varnish-pause",
        "Varnish waits 1 s; the server pauses for 3 s in the body",
        varnish(".between_bytes_timeout = 1s;"),
        ask("a", "pause;for=3"),
        may=LEFT,
        client=CLIENT_CUT,
        gateway=CUT,
        server=GIVEN_UP,
    ),
    program(
        "nginx-reload",
        "nginx is reloaded in a download, and waits 1 s for its old worker",
        nginx(main="worker_shutdown_timeout 1s;"),
        DRIPPING,
        client=CLIENT_CUT,
        gateway=CUT,
        server=GIVEN_UP,
    ),
)

ANSWERS = tuple(
    program(
        f"{name}-{deed}",
        f"{name} before a server: {what}",
        gateway,
        ask(),
        ask("b", deed),
        ask(),
        client=client,
        gateway=(kind,),
        server=(rule,),
        may={rule: what},
    )
    for name, gateway in (("varnish", varnish()), ("node", NODE))
    for deed, what, client, kind, rule in (
        ("garbage", "it writes a traceback", (UNSEEN,), "gateway-error rejected-response", "malformed-head"),
        ("close", "it closes instead of an answer", (UNSEEN,), "gateway-error closed", "no-response"),
        ("cut", "it dies in a body", ("truncated-response", "client-abort"), "gateway-error truncated", "truncated-response"),
    )
)

UPLOADS = (
    program(
        "httpd-never-continued",
        "Apache httpd passes Expect on, and the server never answers 100",
        httpd(f"ProxyPass / http://{ORIGIN}/"),
        ask(),
        upload(2_500_000, more="-H 'Expect: 100-continue'"),
        serve=told(words="A small"),
        may={"client-abort": "curl gives up after 8 s", "zero-window-stall": "httpd does not read what it may not pass on"},
        client=("expect-continue-stall",),
        gateway=("expect-continue-stall",),
    ),
    program(
        "haproxy-slow-server",
        "HAProxy; the server reads an upload slowly",
        haproxy(),
        ask(),
        upload(2_500_000, "slowly"),
        ask(),
        serve=told(words="A small"),
        may=LEFT,
        client=("zero-window-stall",),
        gateway=("zero-window-stall",),
    ),
    program(
        "nginx-slow-server",
        "nginx that buffers no request; the server reads an upload slowly",
        nginx("proxy_request_buffering off;"),
        ask(),
        upload(2_500_000, "slowly"),
        ask(),
        serve=told(words="A small"),
        may=LEFT,
        client=("zero-window-stall",),
        gateway=("zero-window-stall",),
    ),
)

GATEWAYS = (*HEALTHY, *SECOND_TRIES, *REFUSALS, *CLIENTS, *TIME_LIMITS, *ANSWERS, *UPLOADS)

"""Programs for programs.py: servers with timeouts and other limits, and clients that give up, pause or abort.

Programs with a `fault` fail by themselves: the fault says what must be reported at which end of the recording.
"""

# ruff: noqa: E501, for the command lines and files of these programs

from __future__ import annotations

import sys

from gateway_programs import TOLD
from part_programs import NGINX
from program import ALONE, HELD, HERE, MODULES, NAGLE, PORT, URL, Program, Serve, Words, command, shell

GO_BUILD = "export GOCACHE=/tmp/wiredoctor-go GOFLAGS=-mod=mod CGO_ENABLED=0; go build -o t"

ABORT, SLOW = {"client-abort": "the client gives up"}, {"slow-response": "what is asked takes long"}


def gunicorn(options: str) -> Serve:
    """Return gunicorn with peers/programs/limits.py."""
    return command(f"gunicorn --chdir {{programs}} -b 0.0.0.0:{PORT} {options} limits:wsgi")


def uvicorn(options: str = "") -> Serve:
    """Return uvicorn with peers/programs/limits.py."""
    return command(f"uvicorn --app-dir {{programs}} --host 0.0.0.0 --port {PORT} {options} limits:asgi")


def go(limits: str, *, told_to_end: bool = False) -> Serve:
    """Return the server of peers/programs/timed.go, with limits for head, request, response, idle connections and its own end."""
    serve = f"./t serve {PORT} {limits}"
    run = f"({serve} & sleep 4; kill -TERM $!; wait)" if told_to_end else f"exec {serve}"
    return command(f"sh -c '{GO_BUILD} {{programs}}/timed.go && {run}'")


def node(settings: str, options: str = "") -> Serve:
    """Return node's server with these settings; /wait/SECONDS responds late."""
    script = (
        f"const server = require('http').createServer({{ {options} }}, (ask, answer) => {{ ask.resume(); ask.on('end', () => "
        "setTimeout(() => answer.end('done'), 1000 * (ask.url.split('/')[2] || 0))); }); "
        f"{settings}; server.listen({PORT})"
    )
    return command("node n.js", n_js=script)


def nginx(more: str, listen: str = "8080") -> Serve:
    """Return nginx with the pages of the lab."""
    conf = NGINX.replace("listen 8080;", f"listen {listen}; {more}").replace(
        "sendfile on", "default_type text/plain; sendfile on"
    )
    return command("nginx -c {folder}/n.conf", n_conf=conf)


WEBRICK = command(
    "ruby w.rb",
    w_rb="require 'webrick'\nserver = WEBrick::HTTPServer.new(Port: 8080, RequestTimeout: 2, AccessLog: [], Logger: WEBrick::Log.new(File::NULL))\n"
    "server.mount_proc('/') { |ask, answer| answer.body = 'done' }\nserver.start",
)

INETS = command(
    'erl -noinput -noshell -eval \'inets:start(), inets:start(httpd, [{port, 8080}, {server_name, "lab"}, {server_root, "{folder}"}, '
    '{document_root, "{folder}/site"}, {bind_address, any}, {keep_alive_timeout, 2}, {max_keep_alive_request, 3}]).\''
)

AIOHTTP = command(
    "{python} a.py",
    a_py="""import asyncio
from aiohttp import web
async def answer(ask):
    await asyncio.sleep(5)
    return web.Response(text="done")
app = web.Application()
app.router.add_get("/{path}", answer)
web.run_app(app, port=8080, handler_cancellation=True)
""",
)

LISTENER = """import socket, struct, time
server = socket.socket(); server.setsockopt(1, 2, 1); server.bind(('', 8080)); server.listen({backlog}); kept = []
time.sleep({asleep})
while True:
    one = server.accept()[0]; kept.append(one)
    if len(kept) > {most}: one.setsockopt(1, 13, struct.pack('ii', 1, 0)); one.close(); continue
    one.recv(9999); one.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok')
"""


def listener(backlog: int = 16, asleep: float = 0, most: int = 1_000) -> Serve:
    """Return a server that accepts no connections for a while, and has a maximum number of connections."""
    text = LISTENER.format(backlog=backlog, asleep=asleep, most=most)
    return command("{python} l.py", l_py=text)


def ask(path: str = "a", more: str = "") -> str:
    """Return a curl request for a path."""
    return f"curl -sS -m 8 -o /dev/null {more} {URL}/{path}"


def upload(size: int, more: str = "-H Expect:") -> str:
    """Return an upload with curl."""
    return f"head -c {size} /dev/zero | {ask('upload', f'--data-binary @- {more}')}"


def script(text: str) -> str:
    """Return a Python script with a socket `s` that is not connected."""
    lines = "import socket, struct, sys, time\nat = ('10.9.0.2', 8080)\ns = socket.socket()\n" + text
    return f"{sys.executable} - <<'END'\n{lines}\nEND\n:"


def javascript(text: str) -> str:
    """Return a script in JavaScript, with the modules of the lab."""
    return f"NODE_PATH={MODULES}/node_modules node - <<'END'\n{text}\nEND\n:"


def undici(head: int, body: int, *deeds: str) -> str:
    """Return an undici client with timeouts in milliseconds for head and body. It tells the server what to do."""
    return javascript(
        f"const {{ Agent, request }} = require('undici'); const dispatcher = new Agent({{ headersTimeout: {head}, bodyTimeout: {body}, connections: 1 }});\n"
        f"(async () => {{ for (const deed of {list(deeds)}) try {{ await (await request('{URL}/a', {{ dispatcher, headers: {{ 'X-Do': deed }} }})).body.text(); }} catch {{}}\n"
        "process.exit(); })();"
    )


ASK = b"GET /%s HTTP/1.1\r\nHost: lab\r\n%s\r\n"

LATER = b"X-Do: late;for=1\r\n"

DRIPPED = script(
    f"s.connect(at)\nfor byte in {ASK % (b'slowheadxxxxxxxxxx', b'')!r}[:40]: s.sendall(bytes([byte])); time.sleep(0.08)\n"
    "time.sleep(1)\ns.sendall(b'\\r\\n\\r\\n'); s.settimeout(5); s.recv(999)"
)


def get(path: bytes, more: bytes = b"") -> str:
    """Return a line of Python that sends a GET request on the socket."""
    return f"s.sendall({ASK % (path, more)!r})"


def stops(seconds: float) -> str:
    """Return a client with a small receive buffer that does not read for a while."""
    return script(
        f"s.setsockopt(1, 8, 20_000); s.connect(at); {get(b'huge')}; s.recv(9999); time.sleep({seconds}); n = 1\nwhile n:\n    try: n = len(s.recv(99_999)); s.settimeout(1)\n    except OSError: n = 0"
    )


def program(
    name: str,
    title: str,
    serve: Serve,
    needs: Words,
    *use: str,
    may: dict[str, str] | None = None,
    client: Words | None = None,
    server: Words | None = None,
) -> Program:
    """Return a program whose client performs one action after the other, with what must be reported at both ends, or only at the
    server.
    """
    both = {
        end: rules for end, rules in (("client", client), ("server", client if server is None else server)) if rules is not None
    }
    return Program(name, title, serve, (shell("\n".join(use)),), needs, may=ALONE | (may or {}), fault=both, snap=2_000)


HEALTHY = (
    program(
        "gunicorn-recycled",
        "Gunicorn replaces its worker after six requests; a session of requests",
        gunicorn("-w 1 --threads 4 --keep-alive 2 --max-requests 6"),
        ("gunicorn", "requests"),
        script(f"import requests\nsession = requests.Session()\nfor _ in range(20): session.get('{URL}/a'); time.sleep(0.15)"),
    ),
    program(
        "uvicorn-continued",
        "uvicorn answers 100 at once; uploads with Expect",
        uvicorn(),
        ("uvicorn",),
        *[upload(300_000, "-H 'Expect: 100-continue'")] * 3,
    ),
    program("uvicorn-slow-head", "uvicorn; a client that sends its head in 4 s", uvicorn(), ("uvicorn",), DRIPPED),
    program(
        "uvicorn-probes",
        "uvicorn answers after 6 s, and the client probes the connection each second",
        uvicorn(),
        ("uvicorn",),
        script(
            f"s.setsockopt(1, 9, 1); s.setsockopt(6, 4, 1); s.setsockopt(6, 5, 1); s.connect(at); {get(b'wait/6')}; s.recv(1); time.sleep(0.2); s.recv(9999)"
        ),
        may=SLOW,
    ),
    program(
        "half-closed",
        "A client that closes its half when it has asked; the response comes after 1 s",
        TOLD,
        ("curl",),
        script(f"s.connect(at); {get(b'a', LATER)}; s.shutdown(1)\nwhile s.recv(9999): pass"),
        may=SLOW,
    ),
    program(
        "uvicorn-port",
        "uvicorn; a client that resets each connection when it has the response, and uses the port again",
        uvicorn(),
        ("uvicorn",),
        script(
            "for _ in range(4):\n    s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(('', 45454)); s.connect(at)\n"
            f"    {get(b'a')}; time.sleep(0.2); s.recv(9999); s.setsockopt(1, 13, struct.pack('ii', 1, 0)); s.close()"
        ),
    ),
    program(
        "hypercorn-rest",
        "Hypercorn closes what rests for 2 s; httpx, which asks again after 3 s",
        command("sh -c 'cd {programs} && exec hypercorn --keep-alive 2 -b 0.0.0.0:8080 limits:asgi'"),
        ("hypercorn", "httpx"),
        script(f"import httpx\nwith httpx.Client() as client:\n    for _ in range(3): client.get('{URL}/a'); time.sleep(3)"),
    ),
    program(
        "node-requests",
        "Node's server announces the last of three requests; Python's http.client",
        node("server.maxRequestsPerSocket = 3"),
        ("node",),
        script(
            "import http.client\nc = http.client.HTTPConnection(*at)\nfor _ in range(7): c.request('GET', '/a'); c.getresponse().read()"
        ),
    ),
    program(
        "node-preconnect",
        "Node's server; a connection on which nothing is asked, as browsers open them",
        node(
            "server.headersTimeout = 2000; server.requestTimeout = 2500; server.keepAliveTimeout = 1500",
            "connectionsCheckingInterval: 200",
        ),
        ("node",),
        script("s.connect(at); s.settimeout(5); s.recv(999)"),
        ask(),
    ),
    program(
        "go-server",
        "Go's server within its limits, and its client with pauses",
        go("2s 2s 9s 1s 1s"),
        ("go",),
        ask("wait/2"),
        ask("drip/3"),
        f"{GO_BUILD} {HERE}/timed.go",
        f"./t use 9s 9s {URL}/a 2500ms {URL}/a {URL}/wait/1",
    ),
    program(
        "go-graceful",
        "Go's server ends when a download is over",
        go("9s 9s 9s 9s 9s", told_to_end=True),
        ("go",),
        f"{ask('drip/6')} & sleep 3.5; {ask()}; wait",
        may={"connect-failed": "it listens no more"},
    ),
    program(
        "inets-requests",
        "Erlang's httpd closes after three requests",
        INETS,
        ("erl",),
        f"curl -sS {URL}/small {URL}/small {URL}/small {URL}/small -o /dev/null -o /dev/null -o /dev/null -o /dev/null",
        may={NAGLE: HELD, "premature-close": "it does not announce the close"},
    ),
    program(
        "nginx-limited",
        "nginx sends 100 kB a second",
        nginx("limit_rate 100k;"),
        ("nginx",),
        ask("large"),
        may={"limited-transfer": "limit_rate"},
    ),
    program(
        "nginx-fast-open",
        "nginx and curl: TCP Fast Open, with a cookie that becomes invalid",
        command(
            "sh -c 'sysctl -qw net.ipv4.tcp_fastopen=3; (sleep 4; exec sysctl -qw net.ipv4.tcp_fastopen_key=1-2-3-4) & exec nginx -c {folder}/n.conf'",
            n_conf=NGINX.replace("listen 8080", "listen 8080 fastopen=16"),
        ),
        ("nginx",),
        "sysctl -qw net.ipv4.tcp_fastopen=3",
        *[f"{ask('small', '--tcp-fastopen')}; sleep 0.7"] * 8,
    ),
    program(
        "urllib3-retries",
        "A server that is busy once; urllib3, which asks again",
        TOLD,
        ("urllib3",),
        script(
            f"import urllib3\npool = urllib3.PoolManager(retries=urllib3.Retry(4, status_forcelist=[503], backoff_factor=0.5))\nfor n in range(3): pool.request('GET', '{URL}/a', headers={{'X-Do': f'503;once={{n}}'}})"
        ),
    ),
    program(
        "undici-patient",
        "undici waits through pauses of 5 s",
        TOLD,
        ("/undici",),
        undici(9000, 9000, "200", "pause;for=5", "200"),
    ),
    program(
        "reader-slow",
        "nginx; a client reads 100 kB a second",
        nginx(""),
        ("nginx",),
        script(
            f"s.setsockopt(1, 8, 4096); s.connect(at); {get(b'large')}; n = 0\nwhile n < 300000: n += len(s.recv(8000)); time.sleep(0.08)"
        ),
        may={"zero-window-stall": "the client does not read fast"},
    ),
)
"""Programs that do not fail their clients."""

SERVERS = (
    *(
        program(
            f"gunicorn-{name}",
            f"Gunicorn: {what}",
            gunicorn(options),
            ("gunicorn",),
            ask(),
            ask(path),
            "sleep 1",
            ask(),
            client=rules,
        )
        for name, what, options, path, rules in (
            ("timeout", "its limit of 2 s ends the worker", "-w 1 -t 2", "wait/5", ("slow-response", "no-response")),
            ("stream-timeout", "its limit of 2 s ends the worker in a stream", "-w 1 -t 2", "drip/5", ("truncated-response",)),
            ("died", "its worker is killed", "-w 1 --threads 4", "die", ("no-response",)),
            ("short", "the body is shorter than its Content-Length", "-w 1 --threads 4", "short", ("truncated-response",)),
            ("break", "the application breaks off", "-w 1 --threads 4", "break", ("truncated-response",)),
        )
    ),
    *(
        program(
            f"{name}-{path}",
            f"{name}: {what}",
            serve,
            (name if name != "waitress" else "waitress-serve",),
            ask(),
            ask(path),
            ask(),
            client=("truncated-response",),
        )
        for name, serve in (
            ("waitress", command(f"sh -c 'cd {{programs}} && exec waitress-serve --listen=0.0.0.0:{PORT} limits:wsgi'")),
            ("uvicorn", uvicorn()),
            ("hypercorn", command(f"sh -c 'cd {{programs}} && exec hypercorn -b 0.0.0.0:{PORT} limits:asgi'")),
        )
        for path, what in (("short", "the body is shorter than its Content-Length"), ("break", "the application breaks off"))
    ),
    program(
        "uvicorn-ended",
        "uvicorn is told to end, and after 1 s answers 500 to what takes longer",
        command(
            f"sh -c 'uvicorn --app-dir {{programs}} --host 0.0.0.0 --port {PORT} --timeout-graceful-shutdown 1 limits:asgi & sleep 4; kill -TERM $!; wait'"
        ),
        ("uvicorn",),
        ask("wait/7"),
        ask(),
        client=("connect-failed",),
        may=SLOW,
    ),
    *(
        program(f"go-{name}", f"Go's server: {what}", go("0 0 2s 0 0"), ("go",), ask(), ask(path), ask(), client=rules)
        for name, what, path, rules in (
            ("write", "its limit of 2 s for a response is over", "wait/4", ("no-response",)),
            ("write-stream", "its limit of 2 s for a response is over in a stream", "drip/4", ("truncated-response",)),
            ("panic", "its handler panics", "panic", ("no-response",)),
        )
    ),
    program(
        "go-shutdown",
        "Go's server ends, and waits 1 s for a download",
        go("0 0 0 0 1s", told_to_end=True),
        ("go",),
        ask("drip/7"),
        client=("truncated-response",),
    ),
    program(
        "go-read-header",
        "Go's server; a client sends its head more slowly than the limit of 2 s",
        go("2s 0 0 0 0"),
        ("go",),
        DRIPPED,
        client=(),
    ),
    program(
        "webrick-head",
        "WEBrick; a client sends its head more slowly than the limit of 2 s",
        WEBRICK,
        ("ruby",),
        DRIPPED,
        client=(),
    ),
    program(
        "node-head",
        "Node's server; a client sends its head more slowly than the limit of 2 s",
        node("server.headersTimeout = 2000", "connectionsCheckingInterval: 200"),
        ("node",),
        DRIPPED,
        client=(),
    ),
    program(
        "node-timeout",
        "Node's server closes after 1.5 s without a packet",
        node("server.timeout = 1500"),
        ("node",),
        ask(),
        ask("wait/4"),
        ask(),
        client=("no-response",),
    ),
    program(
        "never-continued",
        "A server that never answers 100; uploads with Expect",
        TOLD,
        ("curl",),
        *[upload(300_000, "-H 'Expect: 100-continue'")] * 3,
        client=("expect-continue-stall",),
    ),
    program(
        "backlog",
        "A server accepts nothing for 6 s, and its queue of two is full",
        listener(1, 6),
        ("curl",),
        f"for n in 1 2 3 4 5; do {ask()} & sleep 0.1; done; wait",
        may=SLOW,
        client=("connect-retry",),
    ),
    program(
        "most-connections",
        "A server resets a connection that it does not want",
        listener(most=2),
        ("curl",),
        script(
            f"kept = [socket.create_connection(at) for _ in range(5)]\ntime.sleep(0.3)\nfor s in kept:\n    try: {get(b'a')}; s.recv(999)\n    except OSError: pass"
        ),
        client=("no-response", "connect-failed"),
    ),
)
"""Programs whose server fails its clients."""

CLIENTS = (
    program(
        "httpx-timeout",
        "httpx waits 2 s; others wait in vain for its only connection",
        uvicorn(),
        ("uvicorn", "httpx"),
        script(
            f"import concurrent.futures, httpx\nclient = httpx.Client(limits=httpx.Limits(max_connections=1), timeout=httpx.Timeout(2, pool=1))\ndef get(path):\n    try: client.get('{URL}/' + path)\n    except httpx.HTTPError: pass\nwith concurrent.futures.ThreadPoolExecutor(4) as pool: list(pool.map(get, ['wait/1.8', 'a', 'b', 'c']))\nget('wait/5'); get('a')"
        ),
        may=SLOW,
        client=("client-abort",),
    ),
    program(
        "undici-head",
        "undici waits 1.5 s for a head",
        TOLD,
        ("/undici",),
        undici(1500, 3000, "late;for=6", "200", "late;for=6"),
        may=SLOW,
        client=("client-abort",),
    ),
    program(
        "undici-body",
        "undici waits 1 s in a body",
        TOLD,
        ("/undici",),
        undici(4000, 1000, "200", "pause;for=5", "200", "stall"),
        client=("client-abort",),
    ),
    program(
        "superagent-retries",
        "superagent waits 1.5 s, and tries again",
        TOLD,
        ("/superagent",),
        javascript(
            f"require('superagent').get('{URL}/a').set('X-Do', 'late;for=4').timeout({{ response: 1500 }}).retry(2).catch(() => 0);"
        ),
        may=SLOW,
        client=("client-abort",),
    ),
    program(
        "go-client",
        "Go's client waits 1.5 s for a response, and then for its head",
        go("0 0 0 0 0"),
        ("go",),
        f"{GO_BUILD} {HERE}/timed.go",
        f"./t use 1500ms 9s {URL}/a {URL}/wait/4 {URL}/drip/4 {URL}/a",
        f"./t use 9s 1500ms {URL}/wait/4 {URL}/a",
        may=SLOW,
        client=("client-abort",),
    ),
    program(
        "go-left",
        "Go's handler ends when its client is gone after 1 s",
        go("0 0 0 0 0"),
        ("go",),
        *[ask("left", "-m 1")] * 3,
        may=SLOW,
        client=("client-abort",),
    ),
    program(
        "aiohttp-left",
        "aiohttp's handler is canceled when its client is gone after 1 s",
        AIOHTTP,
        ("aiohttp",),
        *[ask("left", "-m 1")] * 3,
        may=SLOW,
        client=("client-abort",),
    ),
    program(
        "curl-limit",
        "nginx sends 40 kB a second, and curl gives up after 4 s",
        nginx("limit_rate 40k;"),
        ("nginx",),
        ask("large", "-m 4"),
        may={"limited-transfer": "limit_rate"},
        client=("client-abort",),
    ),
    program(
        "reader-stops",
        "nginx; a client does not read for 4 s",
        nginx(
            "",
        ),
        ("nginx",),
        stops(4),
        client=("zero-window-stall",),
    ),
    program(
        "reader-too-late",
        "nginx waits 2 s; a client does not read for 5 s",
        nginx("send_timeout 2s;"),
        ("nginx",),
        stops(5),
        may={"zero-window-stall": "the client does not read"},
        client=("truncated-response",),
    ),
)
"""Programs whose client leaves or stops."""

LIMITS = (*HEALTHY, *SERVERS, *CLIENTS)

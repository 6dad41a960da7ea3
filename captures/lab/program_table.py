"""The programs of programs.py: how each is served and used, and what may truly be said of it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from scenario import PEERS, Lab, site

HERE = PEERS / "programs"
MODULES = os.environ.get("MODULES", "")
PORT = 8080
SERVER, URL = "10.9.0.2", f"http://10.9.0.2:{PORT}"

Words = tuple[str, ...]
Serve = Callable[[Lab], None]

ALONE = {"no-connection-reuse": "each command asks on connections of its own"}
NAGLE = "nagle-delayed-ack"

WAITING = ("no-response", "truncated-response", "keep-alive-race", "connect-failed")
BROKEN: dict[str, Words] = {
    "killed": WAITING,
    "restarted": (*WAITING, "idle-close"),
    "paused": ("slow-response", "client-abort", "no-response"),
}
"""What must be reported of HTTP with one request after the other, whatever goes wrong."""


@dataclass(frozen=True)
class Program:
    """A program and how it is used.

    `use`: commands of the client, all at once. `needs`: commands, Python packages and, with a slash, node modules. `may`: rule ->
    why its warnings or errors are true of healthy use, too. `must`: way -> rules of which one has to be reported.
    """

    name: str
    title: str
    serve: Serve
    use: tuple[Words, ...]
    needs: Words
    may: dict[str, str] = field(default_factory=dict[str, str])
    must: dict[str, Words] = field(default_factory=dict[str, Words])
    seconds: float = 18.0
    snap: int = 70_000

    def installed(self) -> bool:
        """Return whether everything that it needs is there."""
        return all(
            (Path(MODULES) / "node_modules" / need[1:]).exists()
            if need.startswith("/")
            else shutil.which(need) or importlib.util.find_spec(need)
            for need in self.needs
        )


def user(way: str, port: int = PORT) -> Words:
    """A command: a way of peers/programs/user.py."""
    return (sys.executable, str(HERE / "user.py"), way, SERVER, str(port))


def http_client(library: str, port: int = PORT) -> Words:
    """A command: a client of peers/programs/http_clients.py."""
    return (sys.executable, str(HERE / "http_clients.py"), library, SERVER, str(port))


def node_user(library: str, port: int = PORT) -> Words:
    """A command: a library of peers/programs/user.mjs."""
    return ("node", str(HERE / "user.mjs"), library, f"http://{SERVER}:{port}", MODULES)


def command(words: str, port: int = PORT, **files: str) -> Serve:
    """Serve with a command line, and files of these names (`_` for `.`) and texts; {folder} and the like are replaced in all."""

    def serve(lab: Lab) -> None:
        places = {"{folder}": str(lab.folder), "{programs}": str(HERE), "{python}": sys.executable, "{modules}": MODULES}

        def placed(text: str) -> str:
            for name, place in places.items():
                text = text.replace(name, place)
            return text

        _pages(lab)
        for name, text in files.items():
            (lab.folder / name.replace("_", ".")).write_text(placed(text))
        lab.server.start("sh", "-c", f"exec {placed(words)}", stdout=-3, stderr=-3, stdin=-3, cwd=lab.folder)
        lab.server.wait_for_listener(port)

    return serve


def _pages(lab: Lab) -> None:
    root = site(lab, small=300, large=300_000, huge=4_000_000)
    for name in ("small", "large", "huge"):
        if not (root / name).exists():
            (root / name).symlink_to(f"{name}.txt")


def text_of(name: str) -> str:
    """The text of a file of peers/programs."""
    return (HERE / name).read_text()


def python(framework: str) -> Serve:
    """Serve with a framework of peers/programs/server.py."""
    return command(f"{{python}} {{programs}}/server.py {framework} {PORT}")


def node(framework: str) -> Serve:
    """Serve with a framework of peers/programs/server.mjs."""
    return command(f"node {{programs}}/server.mjs {framework} {PORT} {{modules}}")


def behind(origin: Serve, words: str, port: int, **files: str) -> Serve:
    """Serve with a proxy on this port, before an origin on the same host."""

    def serve(lab: Lab) -> None:
        origin(lab)
        command(words, port, **files)(lab)

    return serve


def through(port: int) -> Words:
    """A command: pages through a proxy of the server's host."""
    ask = f"curl -s -m 20 -x {SERVER}:{port} {URL}/small {URL}/large {URL}/none -o /dev/null -o /dev/null -o /dev/null"
    return ("sh", "-c", f"for n in 1 2 3 4 5; do {ask}; sleep 0.8; done")


def files(port: int = PORT) -> tuple[Words, ...]:
    """Commands that fetch files: curl, a download manager, a probe each second."""
    url = f"http://{SERVER}:{port}"
    return (
        ("sh", "-c", f"for n in 1 2 3 4 5; do curl -s {url}/small {url}/large -o /dev/null -o /dev/null; sleep 0.7; done"),
        download(port),
        ("httping", "-c", "6", "-i", "1", "-r", f"{url}/small"),
    )


def download(port: int = PORT) -> Words:
    """A command: aria2 fetches a file over two connections."""
    return ("aria2c", "-q", "-x", "2", "-s", "2", "--allow-overwrite", "-o", "fetched", f"http://{SERVER}:{port}/huge")


BROWSE, TICKS = http_client("niquests"), user("ticks")
FILES = ("aria2c", "httping", "curl")

H2O = command("h2o -c {folder}/h2o.conf", h2o_conf=text_of("h2o.conf"))
PSGI, RACKUP = text_of("app.psgi"), text_of("config.ru")

INETS = (
    'erl -noinput -noshell -eval \'inets:start(), inets:start(httpd, [{port, 8080}, {server_name, "lab"}, '
    '{server_root, "{folder}"}, {document_root, "{folder}/site"}, {bind_address, any}, {keep_alive_timeout, 4}]).\''
)

WEBDAV = "{python} -m wsgidav.server.server_cli --host 0.0.0.0 --port 8080 --auth anonymous -q --root {folder}"

CAMERA = (
    "gst-launch-1.0 -q videotestsrc is-live=true ! video/x-raw,width=64,height=32,framerate=25/1 ! jpegenc ! multipartmux "
    "! tcpserversink host=0.0.0.0 port=5000"
)

AUDIO = (
    "sh -c 'mkfifo fifo; (while :; do head -c 19200 /dev/zero; sleep 0.1; done > fifo) & "
    'exec snapserver --server.datadir={folder} --stream.source "pipe://{folder}/fifo?name=lab&codec=pcm&chunk_ms=20"\''
)

BROKERS = (
    Program(
        "mosquitto",
        "MQTT: sensors, a subscriber, keep-alive pings",
        command("mosquitto -c {folder}/m.conf", 1883, m_conf="listener 1883 0.0.0.0\nallow_anonymous true\n"),
        (user("mqtt", 1883),),
        ("mosquitto", "paho"),
        may={NAGLE: "mosquitto leaves Nagle's algorithm on"},
    ),
    Program(
        "memcached",
        "memcached and pymemcache",
        command("memcached -u nobody -p 11211", 11211),
        (user("memcached", 11211),),
        ("memcached", "pymemcache"),
    ),
    Program(
        "beanstalkd",
        "A queue: one who puts, one who waits",
        command("beanstalkd -p 11300", 11300),
        (user("beanstalkd", 11300),),
        ("beanstalkd", "greenstalk"),
    ),
    Program(
        "gearman",
        "A job server: a worker that waits, a client that asks",
        command("gearmand -l stderr -p 4730", 4730),
        (
            ("gearman", "-h", SERVER, "-p", "4730", "-w", "-f", "count", "--", "wc", "-c"),
            (
                "sh",
                "-c",
                f"sleep 0.5; for n in 1 2 3 4 5 6 7; do echo word | gearman -h {SERVER} -p 4730 -f count; sleep 0.6; done",
            ),
        ),
        ("gearmand", "gearman"),
        seconds=8,
    ),
    Program(
        "zeromq",
        "A feed of ZeroMQ, written every 25 ms",
        command("{python} {programs}/user.py zeromq_feed 0.0.0.0 5555", 5555),
        (user("zeromq", 5555),),
        ("zmq",),
    ),
    Program(
        "tarantool",
        "Tarantool's own protocol: pings one by one and many at once, an idle phase",
        command("tarantool {folder}/t.lua", 3301, t_lua=text_of("tarantool.lua")),
        (user("tarantool", 3301),),
        ("tarantool",),
    ),
    Program(
        "ngircd",
        "IRC: two users talk, a server pings",
        command("ngircd -n -f {folder}/i.conf", 6667, i_conf=text_of("ircd.conf")),
        (user("irc", 6667),),
        ("ngircd",),
        may={NAGLE: "neither side turns Nagle's algorithm off"},
    ),
    Program(
        "rsync",
        "rsync's daemon: a tree is copied twice",
        command(
            "rsync --daemon --no-detach --port=8730 --config={folder}/y.conf",
            8730,
            y_conf="use chroot = no\nuid = root\ngid = root\n[tree]\npath = /usr/share/common-licenses\n",
        ),
        (("sh", "-c", f"for n in 1 2; do rsync -aL rsync://{SERVER}:8730/tree got; sleep 2; done"),),
        ("rsync",),
        may={NAGLE: "rsync leaves Nagle's algorithm on"},
    ),
    Program(
        "zabbix-agent",
        "An agent of Zabbix, asked for values on a connection each",
        command(
            "zabbix_agentd -f -c {folder}/z.conf",
            10050,
            z_conf="Server=0.0.0.0/0\nListenPort=10050\nLogType=console\nStartAgents=2\n",
        ),
        (user("agent", 10050),),
        ("zabbix_agentd",),
    ),
)

MEDIA = (
    Program(
        "gstreamer",
        "A camera's picture over TCP, 25 times a second",
        command(CAMERA, 5000),
        (("gst-launch-1.0", "-q", "tcpclientsrc", f"host={SERVER}", "port=5000", "!", "fakesink"),),
        ("gst-launch-1.0",),
        seconds=7,
    ),
    Program(
        "snapcast",
        "Audio to a player, a chunk every 20 ms",
        command(AUDIO, 1704),
        (("snapclient", "-h", SERVER, "--player", "file:filename=/dev/null"),),
        ("snapserver", "snapclient"),
        seconds=9,
        snap=300,
    ),
    Program(
        "ffmpeg",
        "A film that ffmpeg reads in real time and leaves after 12 s",
        H2O,
        (("sh", "-c", f"exec ffmpeg -v error -f s16le -ar 48000 -ac 2 -readrate 1 -t 12 -i {URL}/huge -f null -"),),
        ("ffmpeg", "h2o"),
        seconds=16,
        snap=400,
    ),
)

APPLICATIONS = (
    Program(
        "tornado",
        "Tornado: pages, streams, a WebSocket",
        python("tornado"),
        (BROWSE, TICKS),
        ("tornado", "niquests", "websockets"),
        may={NAGLE: "Tornado leaves Nagle's algorithm on until a response ends"},
        must=BROKEN,
    ),
    Program("cheroot", "Cheroot and niquests", python("cheroot"), (BROWSE,), ("cheroot", "niquests"), must=BROKEN),
    Program("sanic", "Sanic and niquests", python("sanic"), (BROWSE,), ("sanic", "niquests"), must=BROKEN),
    Program(
        "granian",
        "Granian, niquests and a WebSocket",
        python("granian"),
        (BROWSE, TICKS),
        ("granian", "niquests", "websockets"),
        must=BROKEN,
    ),
    Program(
        "twisted", "Twisted's web server and axios", python("twisted"), (node_user("axios"),), ("twisted", "/axios"), must=BROKEN
    ),
    Program("fastify", "Fastify and undici", node("fastify"), (node_user("undici"),), ("/fastify", "/undici"), must=BROKEN),
    Program("koa", "Koa and got", node("koa"), (node_user("got"),), ("/koa", "/got"), must=BROKEN),
    Program(
        "socketio",
        "Socket.IO: polls, then a WebSocket",
        node("socketio"),
        (node_user("socketio"),),
        ("/socket.io", "/socket.io-client"),
    ),
    Program(
        "puma",
        "Puma and undici",
        command(
            f"puma -b tcp://0.0.0.0:{PORT} -C {{folder}}/puma.rb {{folder}}/config.ru",
            puma_rb="persistent_timeout 4\nthreads 1, 8\n",
            config_ru=RACKUP,
        ),
        (node_user("undici"),),
        ("puma", "/undici"),
        must=BROKEN,
    ),
    Program(
        "thin",
        "Thin and niquests",
        command(f"thin -a 0.0.0.0 -p {PORT} -R {{folder}}/config.ru start", config_ru=RACKUP),
        (BROWSE,),
        ("thin", "niquests"),
        may={"buffered-stream": "Thin sends nothing before the application has yielded everything"},
        must=BROKEN,
    ),
    Program(
        "starman",
        "Starman and axios",
        command(f"starman --port {PORT} --keepalive-timeout 4 {{folder}}/app.psgi", app_psgi=PSGI),
        (node_user("axios"),),
        ("starman", "/axios"),
        must=BROKEN,
    ),
    Program(
        "mojolicious",
        "Mojolicious, niquests and a WebSocket",
        command(f"perl {{folder}}/app.pl daemon -l http://0.0.0.0:{PORT} -k 4", app_pl=text_of("app.pl")),
        (BROWSE, TICKS),
        ("mojo", "niquests"),
        must=BROKEN,
    ),
    Program(
        "lua-http",
        "lua-http and got",
        command("lua5.1 {folder}/app.lua", app_lua=text_of("app.lua")),
        (node_user("got"),),
        ("lua5.1", "/got"),
        must=BROKEN,
    ),
    Program(
        "victoria-metrics",
        "VictoriaMetrics: samples pushed each second, and a dashboard",
        command(f"victoria-metrics -httpListenAddr=:{PORT} -storageDataPath={{folder}}/data"),
        (user("collect"),),
        ("victoria-metrics", "niquests"),
        must=BROKEN,
    ),
    Program(
        "transmission",
        "A download manager's RPC: a 409 with a session, then polls",
        command("transmission-daemon -f -g {folder}/t -a '*.*.*.*' -T -p 9091", 9091),
        (("sh", "-c", f"for n in 1 2 3 4 5 6; do transmission-remote {SERVER}:9091 -l; sleep 1; done"), user("poll_rpc", 9091)),
        ("transmission-daemon", "transmission-remote"),
        may=ALONE,
    ),
)

STATIC = (
    Program("inets", "Erlang's httpd; curl, aria2 and httping", command(INETS), files(), ("erl", *FILES), may=ALONE),
    Program("h2o", "H2O; curl, aria2 and httping", H2O, files(), ("h2o", *FILES), may=ALONE),
    Program(
        "webfsd",
        "webfsd; curl, aria2 and httping",
        command(f"webfsd -F -p {PORT} -r {{folder}}/site -l /dev/null"),
        files(),
        ("webfsd", *FILES),
        may=ALONE,
    ),
    Program(
        "mini-httpd",
        "mini-httpd; siege and aria2",
        command(f"mini_httpd -D -p {PORT} -d {{folder}}/site"),
        (download(), ("siege", "-q", "-c", "3", "-d", "0.5", "-t", "6S", f"{URL}/small")),
        ("mini_httpd", "siege", "aria2c"),
        may=ALONE,
    ),
    Program(
        "rclone",
        "rclone serves files; aria2, and a copy by rclone",
        command(f"rclone serve http --addr 0.0.0.0:{PORT} {{folder}}/site"),
        (download(), ("rclone", "copy", "--http-url", URL, ":http:", "copied", "--ignore-times")),
        ("rclone", "aria2c"),
    ),
    Program(
        "wsgidav",
        "WebDAV: a file manager, and rclone",
        command(f"{WEBDAV}/site"),
        (
            user("webdav"),
            ("rclone", "copy", "/usr/share/common-licenses", ":webdav:licenses", "--webdav-url", URL, "--copy-links"),
        ),
        ("wsgidav", "rclone", "niquests"),
    ),
    Program(
        "full-disk",
        "A disk of 1 MB behind WebDAV runs full",
        command(f"unshare -m sh -c 'mkdir -p full; mount -t tmpfs -o size=1m lab full; exec {WEBDAV}/full'"),
        (user("webdav"), ("sh", "-c", f"sleep 1; head -c 3000000 /dev/zero | curl -s -m 8 -T - {URL}/zeros")),
        ("wsgidav", "niquests"),
        must={"healthy": ("reset-destroys-response",)},
    ),
)

PROXIES = (
    Program(
        "tinyproxy",
        "tinyproxy before H2O; curl -x",
        behind(H2O, "tinyproxy -d -c {folder}/t.conf", 8888, t_conf="Port 8888\nListen 0.0.0.0\nTimeout 20\n"),
        (through(8888),),
        ("tinyproxy", "h2o"),
        may={
            "premature-close": "tinyproxy closes after each response and does not say so",
            "keep-alive-race": "tinyproxy closes after each response and does not say so",
        },
    ),
    Program(
        "privoxy",
        "Privoxy before H2O; curl -x",
        behind(
            H2O,
            "privoxy --no-daemon {folder}/p.conf",
            8118,
            p_conf="listen-address 0.0.0.0:8118\nconfdir {folder}\nlogdir {folder}\nkeep-alive-timeout 4\n",
        ),
        (through(8118),),
        ("privoxy", "h2o"),
    ),
    Program(
        "pen",
        "pen spreads connections to H2O; curl, aria2 and httping",
        behind(H2O, f"pen -f 0.0.0.0:8000 127.0.0.1:{PORT}", 8000),
        files(8000),
        ("pen", "h2o", *FILES),
        may=ALONE,
    ),
    Program(
        "sslh",
        "sslh before H2O; curl, aria2 and httping",
        behind(H2O, f"sslh-select -f -p 0.0.0.0:8000 --http 127.0.0.1:{PORT}", 8000),
        files(8000),
        ("sslh-select", "h2o", *FILES),
        may={**ALONE, NAGLE: "sslh leaves Nagle's algorithm on"},
    ),
    Program(
        "rinetd",
        "rinetd before Fastify; undici",
        behind(node("fastify"), "rinetd -f -c {folder}/r.conf", 8000, r_conf=f"0.0.0.0 8000 127.0.0.1 {PORT}\n"),
        (node_user("undici", 8000),),
        ("rinetd", "/fastify", "/undici"),
        must=BROKEN,
    ),
)

LOAD_TESTS = (
    Program(
        "locust",
        "locust and Twiggy: a load test that ends while requests wait",
        command(f"twiggy --port {PORT} {{folder}}/app.psgi", app_psgi=PSGI),
        (
            (
                sys.executable,
                "-m",
                "locust",
                *f"--headless -u 5 -r 5 -t 6s --only-summary --host {URL} -f {HERE}/locustfile.py".split(),
            ),
        ),
        ("twiggy", "locust"),
        may={"client-abort": "it ends while its last connection waits"},
        seconds=14,
    ),
    Program(
        "autocannon",
        "autocannon and Fastify: a load test that ends while requests wait",
        node("fastify"),
        (("node", f"{MODULES}/node_modules/autocannon/autocannon.js", "-c", "8", "-d", "4", f"{URL}/late"),),
        ("/fastify", "/autocannon"),
        snap=400,
    ),
    Program(
        "httperf",
        "httperf and Koa: calls in bursts",
        node("koa"),
        (tuple(f"httperf --server {SERVER} --port {PORT} --uri /small --num-conns 10 --num-calls 5 --rate 3".split()),),
        ("/koa", "httperf"),
    ),
)

PROGRAMS: dict[str, Program] = {
    program.name: program for program in (*BROKERS, *MEDIA, *APPLICATIONS, *STATIC, *PROXIES, *LOAD_TESTS)
}

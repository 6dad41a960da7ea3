"""The programs of programs.py: how each is served and used, and what may truly be said of it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from scenario import PEERS, Lab, site

HERE = PEERS / "programs"
MODULES = os.environ.get("MODULES", "")
PORT = 8080
SERVER, URL = "10.9.0.2", f"http://10.9.0.2:{PORT}"
WAITING = ("no-response", "truncated-response", "keep-alive-race", "connect-failed")

Words = tuple[str, ...]


@dataclass(frozen=True)
class Program:
    """A program and how it is used.

    `use`: commands of the client, all at once. `needs`: commands, Python packages and (after a slash) node modules. `may`: rule ->
    why its warnings or errors are true of healthy use, too. `must`: way -> rules of which one has to be reported.
    """

    name: str
    title: str
    serve: Callable[[Lab], None]
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


def node_user(library: str) -> Words:
    """A command: a library of peers/programs/user.mjs."""
    return ("node", str(HERE / "user.mjs"), library, URL, MODULES)


def command(*words: str, port: int = PORT) -> Callable[[Lab], None]:
    """Serve with a command; `{folder}` in its words is the lab's folder."""

    def serve(lab: Lab) -> None:
        site(lab, small=300, large=300_000, huge=4_000_000)
        for name in ("small", "large", "huge"):
            page = lab.folder / "site" / name
            if not page.exists():
                page.symlink_to(f"{name}.txt")
        filled = [word.format(folder=lab.folder) for word in words]
        lab.server.start(*filled, stdout=-3, stderr=-3, stdin=-3, cwd=lab.folder)
        lab.server.wait_for_listener(port)

    return serve


def python(framework: str) -> Callable[[Lab], None]:
    """Serve with a framework of peers/programs/server.py."""
    return command(sys.executable, str(HERE / "server.py"), framework, str(PORT))


def node(framework: str) -> Callable[[Lab], None]:
    """Serve with a framework of peers/programs/server.mjs."""
    return command("node", str(HERE / "server.mjs"), framework, str(PORT), MODULES)


def written(name: str, text: str, serve: Callable[[Lab], None]) -> Callable[[Lab], None]:
    """Write a file of configuration before serving."""

    def both(lab: Lab) -> None:
        (lab.folder / name).write_text(text.replace("{folder}", str(lab.folder)))
        serve(lab)

    return both


BROKEN: dict[str, Words] = {
    "killed": WAITING,
    "restarted": (*WAITING, "idle-close"),
    "paused": ("slow-response", "client-abort"),
}
"""HTTP with one request after the other: whatever is wrong is seen."""

RACKUP = """\
S, L = "s" * 300, "l" * 300_000
run lambda { |env|
  path = env["PATH_INFO"]
  case path
  when "/events", "/rows"
    n, pause, text = path == "/events" ? [20, 0.15, "data: event\\n\\n"] : [30, 0.04, "{}\\n"]
    type = path == "/events" ? "text/event-stream" : "application/x-ndjson"
    [200, { "Content-Type" => type }, Enumerator.new { |out| n.times { sleep pause; out << text } }]
  when "/empty" then [204, {}, []]
  when "/upload" then [200, { "Content-Type" => "text/plain" }, [env["rack.input"].read.size.to_s]]
  else
    sleep 0.7 if path == "/late"
    body = path == "/large" ? L : S
    [200, { "Content-Type" => "text/plain", "Content-Length" => body.size.to_s }, [body]]
  end
}
"""

PSGI = """\
use Time::HiRes 'sleep';
my ($s, $l) = ('s' x 300, 'l' x 300_000);
sub {
  my $path = $_[0]{PATH_INFO};
  if ($path =~ m{/(events|rows)}) {
    my ($n, $pause, $text, $type) =
      $1 eq 'events' ? (20, 0.15, "data: event\\n\\n", 'text/event-stream') : (30, 0.04, "{}\\n", 'application/x-ndjson');
    return sub {
      my $out = $_[0]->([200, ['Content-Type' => $type]]);
      for (1 .. $n) { sleep $pause; $out->write($text) }
      $out->close;
    };
  }
  return [204, [], []] if $path eq '/empty';
  if ($path eq '/upload') { my $size = 0; while (my $got = $_[0]{'psgi.input'}->read(my $some, 8192)) { $size += $got } $s = $size }
  sleep 0.7 if $path eq '/late';
  my $body = $path eq '/large' ? $l : $s;
  return [200, ['Content-Type' => 'text/plain', 'Content-Length' => length $body], [$body]];
};
"""

MOJO = """\
use Mojolicious::Lite -signatures;
sub pieces ($c, $type, $n, $pause, $text) {
  $c->res->headers->content_type($type);
  $c->inactivity_timeout(30);
  my $id; $id = Mojo::IOLoop->recurring($pause => sub { $c->write_chunk($n-- > 0 ? $text : ''); Mojo::IOLoop->remove($id) if $n < 0 });
  $c->on(finish => sub { Mojo::IOLoop->remove($id) });
  $c->write_chunk($text);
}
get '/events' => sub ($c) { pieces($c, 'text/event-stream', 20, 0.15, "data: event\\n\\n") };
get '/rows' => sub ($c) { pieces($c, 'application/x-ndjson', 30, 0.04, "{}\\n") };
get '/late' => sub ($c) { $c->render_later; Mojo::IOLoop->timer(0.7 => sub { $c->render(text => 's' x 300) }) };
get '/empty' => sub ($c) { $c->rendered(204) };
get '/large' => sub ($c) { $c->render(text => 'l' x 300_000) };
get '/small' => sub ($c) { $c->render(text => 's' x 300) };
post '/upload' => sub ($c) { $c->render(text => length $c->req->body) };
websocket '/ws' => sub ($c) {
  my $n = 60;
  my $id; $id = Mojo::IOLoop->recurring(0.045 => sub { $n-- > 0 ? $c->send("tick $n") : $c->finish });
  $c->on(message => sub ($c, $text) { $c->send($text) });
  $c->on(finish => sub { Mojo::IOLoop->remove($id) });
};
app->start;
"""

LUA = """\
local server, headers = require "http.server", require "http.headers"
local cqueues = require "cqueues"
local it = server.listen { host = "0.0.0.0", port = 8080, onstream = function(_, stream)
  local ask = assert(stream:get_headers())
  local path, answer = ask:get ":path", headers.new()
  answer:append(":status", path == "/empty" and "204" or "200")
  if path == "/upload" then stream:get_body_as_string() end
  if path == "/events" or path == "/rows" then
    answer:append("content-type", path == "/events" and "text/event-stream" or "application/x-ndjson")
    assert(stream:write_headers(answer, false))
    for _ = 1, path == "/events" and 20 or 30 do
      cqueues.sleep(path == "/events" and 0.15 or 0.04)
      stream:write_chunk(path == "/events" and "data: event\\n\\n" or "{}\\n", false)
    end
    stream:write_chunk("", true)
    return
  end
  if path == "/late" then cqueues.sleep(0.7) end
  if path == "/empty" then assert(stream:write_headers(answer, true)) return end
  local body = (path == "/large") and ("l"):rep(300000) or ("s"):rep(300)
  answer:append("content-length", tostring(#body))
  assert(stream:write_headers(answer, ask:get ":method" == "HEAD"))
  if ask:get ":method" ~= "HEAD" then stream:write_chunk(body, true) end
end }
assert(it:listen())
assert(it:loop())
"""

INETS = (
    "inets:start(), inets:start(httpd, [{port, 8080}, {server_name, \"lab\"}, {server_root, \"{folder}\"}, "
    "{document_root, \"{folder}/site\"}, {bind_address, any}, {keep_alive_timeout, 4}])."
)

H2O = """\
listen: 8080
http1-request-timeout: 4
num-threads: 1
hosts:
  default:
    paths:
      /:
        file.dir: {folder}/site
"""

YAWS = """\
logdir = {folder}
ebin_dir = {folder}
include_dir = {folder}
id = lab
keepalive_timeout = 4000
<server lab>
  port = 8080
  listen = 0.0.0.0
  docroot = {folder}/site
</server>
"""

PRIVOXY = "listen-address 0.0.0.0:8118\nconfdir {folder}\nlogdir {folder}\nkeep-alive-timeout 4\nsocket-timeout 30\n"

IRC = """\
[Global]
Name = irc.lab
Info = lab
Ports = 6667
[Limits]
PingTimeout = 3
PongTimeout = 3
[Options]
PAM = no
DNS = no
Ident = no
"""

TARANTOOL = """\
box.cfg { listen = 3301, memtx_dir = '{folder}', wal_mode = 'none', memtx_memory = 33554432, log_level = 1 }
box.schema.space.create('t', { if_not_exists = true }):create_index('p', { if_not_exists = true })
box.schema.user.grant('guest', 'read,write,execute', 'universe', nil, { if_not_exists = true })
"""

H2O_SERVES = written("h2o.conf", H2O, command("h2o", "-c", "{folder}/h2o.conf"))


def behind(origin: Callable[[Lab], None], *words: str, port: int) -> Callable[[Lab], None]:
    """Serve with a proxy on this port, before an origin on the same host."""

    def serve(lab: Lab) -> None:
        origin(lab)
        command(*words, port=port)(lab)

    return serve


def through(port: int) -> Words:
    """A command: pages through a proxy of the server's host, and a large one twice."""
    ask = f"curl -s -m 20 -x {SERVER}:{port} {URL}/small {URL}/large {URL}/none -o /dev/null -o /dev/null -o /dev/null"
    return ("sh", "-c", f"for n in 1 2 3 4 5; do {ask}; sleep 0.8; done")


def on_port(commands: tuple[Words, ...], port: int) -> tuple[Words, ...]:
    """The same commands for another port."""
    return tuple(tuple(word.replace(f":{PORT}", f":{port}") for word in words) for words in commands)


def on_small_disk(serve: Callable[[Lab], None]) -> Callable[[Lab], None]:
    """Serve from a file system of 1 MB, {folder}/small."""

    def both(lab: Lab) -> None:
        (lab.folder / "small").mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "lab", str(lab.folder / "small")], check=True)
        serve(lab)

    return both


_BROWSING = (user("browse"),)
_SITE = (
    ("sh", "-c", f"for n in 1 2 3 4 5; do curl -s {URL}/small {URL}/large -o /dev/null -o /dev/null; sleep 0.7; done"),
    ("aria2c", "-q", "-x", "2", "-s", "2", "--allow-overwrite", "-o", "fetched", f"{URL}/huge"),
    ("httping", "-c", "6", "-i", "1", "-r", f"{URL}/small"),
)
ALONE = {"no-connection-reuse": "each of these commands asks on a connection of its own"}

PROGRAMS: dict[str, Program] = {
    program.name: program
    for program in (
        Program("mosquitto", "MQTT: sensors, a subscriber, keep-alive pings",
                written("m.conf", "listener 1883 0.0.0.0\nallow_anonymous true\n", command("mosquitto", "-c", "{folder}/m.conf", port=1883)),
                (user("mqtt", 1883),), ("mosquitto", "paho"), may={"nagle-delayed-ack": "mosquitto leaves Nagle's algorithm on"}),
        Program("memcached", "memcached and pymemcache", command("memcached", "-u", "nobody", "-p", "11211", port=11211),
                (user("memcached", 11211),), ("memcached", "pymemcache")),
        Program("beanstalkd", "A queue: one who puts, one who waits", command("beanstalkd", "-p", "11300", port=11300),
                (user("beanstalkd", 11300),), ("beanstalkd", "greenstalk")),
        Program("zeromq", "A feed of ZeroMQ, written every 25 ms", command(sys.executable, str(HERE / "user.py"), "zeromq_feed", "", "5555", port=5555),
                (user("zeromq", 5555),), ("zmq",)),
        Program("tornado", "Tornado: pages, streams, a WebSocket", python("tornado"), (*_BROWSING, user("ticks")),
                ("tornado", "niquests", "websockets"), must=BROKEN),
        Program("cheroot", "Cheroot and niquests", python("cheroot"), _BROWSING, ("cheroot", "niquests"), must=BROKEN),
        Program("sanic", "Sanic and niquests", python("sanic"), _BROWSING, ("sanic", "niquests"), must=BROKEN),
        Program("granian", "Granian, niquests and a WebSocket", python("granian"), (*_BROWSING, user("ticks")),
                ("granian", "niquests", "websockets"), must=BROKEN),
        Program("twisted", "Twisted's web server and axios", python("twisted"), (node_user("axios"),), ("twisted", "/axios"), must=BROKEN),
        Program("fastify", "Fastify and undici", node("fastify"), (node_user("undici"),), ("/fastify", "/undici"), must=BROKEN),
        Program("koa", "Koa and got", node("koa"), (node_user("got"),), ("/koa", "/got"), must=BROKEN),
        Program("socketio", "Socket.IO: polls, then a WebSocket", node("socketio"), (node_user("socketio"),), ("/socket.io", "/socket.io-client")),
        Program("puma", "Puma and undici", written("puma.rb", "persistent_timeout 4\nthreads 1, 8\n", written("config.ru", RACKUP, command("puma", "-b", f"tcp://0.0.0.0:{PORT}", "-C", "{folder}/puma.rb", "{folder}/config.ru"))),
                (node_user("undici"),), ("puma", "/undici"), must=BROKEN),
        Program("thin", "Thin and niquests", written("config.ru", RACKUP, command("thin", "-a", "0.0.0.0", "-p", str(PORT), "-R", "{folder}/config.ru", "start")),
                _BROWSING, ("thin", "niquests"), may={"buffered-stream": "Thin sends nothing before the application has yielded everything"}, must=BROKEN),
        Program("starman", "Starman and axios", written("app.psgi", PSGI, command("starman", "--port", str(PORT), "--keepalive-timeout", "4", "{folder}/app.psgi")),
                (node_user("axios"),), ("starman", "/axios"), must=BROKEN),
        Program("mojolicious", "Mojolicious, niquests and a WebSocket", written("app.pl", MOJO, command("perl", "{folder}/app.pl", "daemon", "-l", f"http://0.0.0.0:{PORT}", "-k", "4")),
                (*_BROWSING, user("ticks")), ("mojo", "niquests"), must=BROKEN),
        Program("lua-http", "lua-http and got", written("app.lua", LUA, command("lua5.1", "{folder}/app.lua")), (node_user("got"),), ("lua5.1", "/got"), must=BROKEN),
        Program("inets", "Erlang's httpd; curl, aria2 and httping", command("erl", "-noinput", "-noshell", "-eval", INETS.replace("{", "{{").replace("}", "}}").replace("{{folder}}", "{folder}")),
                _SITE, ("erl", "aria2c", "httping"), may=ALONE),
        Program("h2o", "H2O; curl, aria2 and httping", written("h2o.conf", H2O, command("h2o", "-c", "{folder}/h2o.conf")), _SITE, ("h2o", "aria2c"), may=ALONE),
        Program("webfsd", "webfsd; curl, aria2 and httping", command("webfsd", "-F", "-p", str(PORT), "-r", "{folder}/site", "-l", "/dev/null"), _SITE, ("webfsd", "aria2c"), may=ALONE),
        Program("mini-httpd", "mini-httpd; siege and aria2", command("mini_httpd", "-D", "-p", str(PORT), "-d", "{folder}/site"),
                (_SITE[1], ("siege", "-q", "-c", "3", "-d", "0.5", "-t", "6S", f"{URL}/small")), ("mini_httpd", "siege"), may=ALONE),
        Program("rclone", "rclone serves files; aria2, and a copy by rclone", command("rclone", "serve", "http", "--addr", f"0.0.0.0:{PORT}", "{folder}/site"),
                (_SITE[1], ("rclone", "copy", "--http-url", URL, ":http:", "copied", "--ignore-times")), ("rclone", "aria2c")),
        Program("wsgidav", "WebDAV: a file manager, and rclone", command(sys.executable, "-m", "wsgidav.server.server_cli", "--host", "0.0.0.0", "--port", str(PORT), "--root", "{folder}/site", "--auth", "anonymous", "-q"),
                (user("webdav"), ("rclone", "copy", "/usr/share/common-licenses", ":webdav:licenses", "--webdav-url", URL, "--copy-links")),
                ("wsgidav", "rclone", "niquests")),
        Program("victoria-metrics", "VictoriaMetrics: samples pushed each second, and a dashboard",
                command("victoria-metrics", f"-httpListenAddr=:{PORT}", "-storageDataPath={folder}/data"), (user("collect"),), ("victoria-metrics", "niquests"), must=BROKEN),
        Program("zabbix-agent", "An agent of Zabbix, asked for values on a connection each",
                written("z.conf", "Server=0.0.0.0/0\nListenPort=10050\nLogType=console\nStartAgents=2\n", command("zabbix_agentd", "-f", "-c", "{folder}/z.conf", port=10050)),
                (user("agent", 10050),), ("zabbix_agentd",)),
        Program("gstreamer", "A camera's picture over TCP, 25 times a second",
                command("gst-launch-1.0", "-q", "videotestsrc", "is-live=true", "!", "video/x-raw,width=64,height=32,framerate=25/1", "!", "jpegenc", "!", "multipartmux", "!", "tcpserversink", "host=0.0.0.0", "port=5000", port=5000),
                (("gst-launch-1.0", "-q", "tcpclientsrc", f"host={SERVER}", "port=5000", "!", "fakesink"),), ("gst-launch-1.0",), seconds=7),
        Program("ffmpeg", "A film that ffmpeg reads in real time from H2O", written("h2o.conf", H2O, command("h2o", "-c", "{folder}/h2o.conf")),
                (("sh", "-c", f"ffmpeg -v error -f s16le -ar 48000 -ac 2 -readrate 1 -t 12 -i {URL}/huge -f null -"),), ("ffmpeg", "h2o"), seconds=16, snap=400),
        Program("tinyproxy", "tinyproxy before H2O; curl -x",
                written("t.conf", "Port 8888\nListen 0.0.0.0\nTimeout 20\n", behind(H2O_SERVES, "tinyproxy", "-d", "-c", "{folder}/t.conf", port=8888)),
                (through(8888),), ("tinyproxy", "h2o")),
        Program("privoxy", "Privoxy before H2O; curl -x", written("p.conf", PRIVOXY, behind(H2O_SERVES, "privoxy", "--no-daemon", "{folder}/p.conf", port=8118)),
                (through(8118),), ("privoxy", "h2o")),
        Program("pen", "pen spreads connections to H2O; curl and aria2", behind(H2O_SERVES, "pen", "-f", "0.0.0.0:8000", "127.0.0.1:8080", port=8000), on_port(_SITE, 8000), ("pen", "h2o", "aria2c"), may=ALONE),
        Program("sslh", "sslh before H2O and nothing else; curl and aria2", behind(H2O_SERVES, "sslh-select", "-f", "-p", "0.0.0.0:8000", "--http", "127.0.0.1:8080", port=8000), on_port(_SITE, 8000), ("sslh-select", "h2o"), may=ALONE),
        Program("rinetd", "rinetd before Fastify; undici", written("r.conf", "0.0.0.0 8000 127.0.0.1 8080\n", behind(node("fastify"), "rinetd", "-f", "-c", "{folder}/r.conf", port=8000)),
                (tuple(word.replace(":8080", ":8000") for word in node_user("undici")),), ("rinetd", "/fastify", "/undici"), must=BROKEN),
        Program("gearman", "A job server: a worker that waits, a client that asks", command("gearmand", "-l", "stderr", "-p", "4730", port=4730),
                (("gearman", "-h", SERVER, "-p", "4730", "-w", "-f", "count", "--", "wc", "-c"),
                 ("sh", "-c", f"sleep 0.5; for n in 1 2 3 4 5 6 7 8; do echo word $n | gearman -h {SERVER} -p 4730 -f count; sleep 0.6; done")), ("gearmand", "gearman"), seconds=8),
        Program("tarantool", "Tarantool's own protocol: selects, inserts, an idle phase", written("t.lua", TARANTOOL, command("tarantool", "{folder}/t.lua", port=3301)), (user("tarantool", 3301),), ("tarantool",)),
        Program("transmission", "A download manager's RPC: a 409 with a session, then polls", command("transmission-daemon", "-f", "-g", "{folder}/t", "-a", "*.*.*.*", "-T", "-p", "9091", port=9091),
                (("sh", "-c", f"for n in 1 2 3 4 5 6; do transmission-remote {SERVER}:9091 -l; sleep 1; done"), user("poll_rpc", 9091)), ("transmission-daemon", "transmission-remote"), may=ALONE),
        Program("snapcast", "Audio to a player, a chunk every 20 ms, and its control channel",
                command("sh", "-c", "mkfifo fifo; (while :; do head -c 19200 /dev/zero; sleep 0.1; done > fifo) & exec snapserver --server.datadir={folder} --stream.source 'pipe://{folder}/fifo?name=lab&codec=pcm&chunk_ms=20'", port=1704),
                (("snapclient", "-h", SERVER, "--player", "file:filename=/dev/null"),), ("snapserver", "snapclient"), seconds=9, snap=300),
        Program("ngircd", "IRC: two users talk, a server pings", written("i.conf", IRC, command("ngircd", "-n", "-f", "{folder}/i.conf", port=6667)), (user("irc", 6667),), ("ngircd",)),
        Program("rsync", "rsync's daemon: a tree is copied twice", written("y.conf", "use chroot = no\nuid = root\ngid = root\n[tree]\npath = /usr/share/common-licenses\n", command("rsync", "--daemon", "--no-detach", "--port=8730", "--config={folder}/y.conf", port=8730)),
                (("sh", "-c", f"for n in 1 2; do rsync -aL rsync://{SERVER}:8730/tree got; sleep 2; done"),), ("rsync",)),
        Program("twiggy", "Twiggy, locust and its users", written("app.psgi", PSGI.replace("sleep $pause", "sleep 0.001"), command("twiggy", "--port", str(PORT), "{folder}/app.psgi")),
                (("sh", "-c", f"{sys.executable} -m locust --headless -u 5 -r 5 -t 6s --host {URL} -f {HERE}/locustfile.py --only-summary"),), ("twiggy", "locust"), seconds=14),
        Program("autocannon", "A load test of Fastify that ends in the middle", node("fastify"),
                (("node", f"{MODULES}/node_modules/autocannon/autocannon.js", "-c", "8", "-d", "4", f"{URL}/late"),), ("/fastify", "/autocannon"), snap=400),
        Program("httperf", "httperf and Koa: calls in bursts", node("koa"),
                (("httperf", "--server", SERVER, "--port", str(PORT), "--uri", "/small", "--num-conns", "10", "--num-calls", "5", "--rate", "3"),), ("/koa", "httperf")),
        Program("yaws", "Yaws; curl, aria2 and httping", written("y.conf", YAWS, command("yaws", "--interactive", "--conf", "{folder}/y.conf")), _SITE, ("yaws", "aria2c"), may=ALONE),
        Program("full-disk", "A disk of 1 MB behind WebDAV runs full",
                on_small_disk(command(sys.executable, "-m", "wsgidav.server.server_cli", "--host", "0.0.0.0", "--port", str(PORT), "--root", "{folder}/small", "--auth", "anonymous", "-q")),
                (user("webdav"), ("sh", "-c", f"head -c 3000000 /dev/zero | curl -s -m 8 -T - {URL}/zeros")), ("wsgidav", "niquests"),
                may={"no-response": "the disk is full", "reset-destroys-response": "the disk is full"}),
    )
}  # fmt: skip

"""Programs for programs.py: file servers, programs that forward requests, and load tests."""

# ruff: noqa: E501, for the command lines and files of these programs

from __future__ import annotations

import sys

from program import (
    ALONE,
    BROKEN,
    H2O,
    HERE,
    KILLED,
    MODULES,
    NAGLE,
    PORT,
    PSGI,
    SERVER,
    URL,
    Program,
    Words,
    behind,
    command,
    download,
    files,
    http_client,
    node,
    script_user,
    shell,
    user,
)

FILES = ("aria2c", "httping", "curl")

INETS = (
    'erl -noinput -noshell -eval \'inets:start(), inets:start(httpd, [{port, 8080}, {server_name, "lab"}, '
    '{server_root, "{folder}"}, {document_root, "{folder}/site"}, {bind_address, any}, {keep_alive_timeout, 4}]).\''
)

WEBDAV = "{python} -m wsgidav.server.server_cli --host 0.0.0.0 --port 8080 --auth anonymous -q --root {folder}"


YAWS = """logdir = {folder}
<server lab>
  port = 8080
  listen = 0.0.0.0
  docroot = {folder}/site
</server>
"""

SQUID = """http_port 8000 accel defaultsite=lab
cache_peer 127.0.0.1 parent 8080 0 no-query originserver
http_access allow all
cache deny all
pid_filename none
access_log none
cache_log {folder}/cache.log
client_idle_pconn_timeout 4 seconds
shutdown_lifetime 1 seconds
"""

HAPROXY = """global
  maxconn 100
defaults
  mode http
  timeout connect 2s
  timeout client 5s
  timeout server 5s
  timeout http-keep-alive 4s
  http-reuse aggressive
listen lab
  bind :8000
  server one 127.0.0.1:8080
"""

PERLBAL = """CREATE POOL back
POOL back ADD 127.0.0.1:8080
CREATE SERVICE lab
SET listen = 0.0.0.0:8000
SET role = reverse_proxy
SET pool = back
SET persist_client = on
SET persist_backend = on
ENABLE lab
"""

RELAY = "socat TCP-LISTEN:8000,fork,reuseaddr TCP:127.0.0.1:8080"

TSUNG = """<?xml version="1.0"?><!DOCTYPE tsung SYSTEM "/usr/share/tsung/tsung-1.0.dtd"><tsung loglevel="emergency">
<clients><client host="localhost" use_controller_vm="true"/></clients><servers><server host="10.9.0.2" port="8080" type="tcp"/></servers>
<load><arrivalphase phase="1" duration="5" unit="second"><users interarrival="0.5" unit="second"/></arrivalphase></load>
<sessions><session name="s" probability="100" type="ts_http">
<for from="1" to="4" var="i"><request><http url="/small"/></request><thinktime value="1"/><request><http url="/late"/></request></for>
</session></sessions></tsung>
"""


def through(port: int) -> Words:
    """Return a command that requests pages through a proxy on the server's host."""
    ask = f"curl -s -m 20 -x {SERVER}:{port} {URL}/small {URL}/large {URL}/none -o /dev/null -o /dev/null -o /dev/null"
    return ("sh", "-c", f"for n in 1 2 3 4 5; do {ask}; sleep 0.8; done")


FILE_SERVERS = (
    Program("inets", "Erlang's httpd; curl, aria2 and httping", command(INETS), files(), ("erl", *FILES), may=ALONE),
    Program("h2o", "H2O; curl, aria2 and httping", H2O, files(), ("h2o", *FILES), may=ALONE),
    Program(
        "yaws",
        "Yaws (Erlang); curl, aria2 and httping",
        command("sh -c 'tail -f /dev/null | yaws -i --conf y.conf'", y_conf=YAWS),
        files(),
        ("yaws",),
        may=ALONE,
    ),
    Program(
        "webfsd",
        "webfsd; curl, aria2 and httping; axel, wget2 and lftp",
        command(f"webfsd -F -p {PORT} -r {{folder}}/site -l /dev/null"),
        (
            *files(),
            shell(f"axel -q -n 4 -o a {URL}/huge; wget2 -q {URL}/small {URL}/large {URL}/huge -O w"),
            shell(f"lftp -c 'open {URL}; pget -n 3 huge; cat small'"),
        ),
        ("webfsd", *FILES, "axel", "wget2", "lftp"),
        may=ALONE,
    ),
    Program(
        "mini-httpd",
        "mini-httpd; siege and aria2; w3m and lynx",
        command(f"mini_httpd -D -p {PORT} -d {{folder}}/site"),
        (
            download(),
            ("siege", "-q", "-c", "3", "-d", "0.5", "-t", "6S", f"{URL}/small"),
            shell(f"w3m -dump {URL}/small; lynx -dump {URL}/large"),
        ),
        ("mini_httpd", "siege", "aria2c", "w3m", "lynx"),
        may=ALONE,
    ),
    Program(
        "load-test-among-others",
        "webfsd; siege ends in the middle of its downloads, while curl goes on",
        command(f"webfsd -F -p {PORT} -r {{folder}}/site"),
        (
            ("siege", "-q", "-b", "-c", "3", "-t", "3S", f"{URL}/huge"),
            shell(f"for n in 1 2 3 4 5 6 7 8 9; do curl -s -o /dev/null {URL}/small; sleep 0.7; done"),
        ),
        ("webfsd", "siege"),
        may=ALONE | {"zero-window-stall": "siege reads more slowly than the server sends"},
    ),
    Program(
        "civetweb",
        "CivetWeb and libcurl",
        command(
            f"civetweb -listening_ports {PORT} -document_root {{folder}}/site -enable_keep_alive yes -keep_alive_timeout_ms 4000"
        ),
        (http_client("pycurl"), shell(f"axel -q -n 4 -o a {URL}/huge")),
        ("civetweb", "pycurl", "axel"),
        may=ALONE | {"zero-window-stall": "axel sleeps for 100 ms"},
    ),
    Program(
        "rclone",
        "rclone serves files; aria2, and copies by rclone",
        command(f"rclone serve http --addr 0.0.0.0:{PORT} {{folder}}/site"),
        (download(), ("rclone", "copy", "--http-url", URL, ":http:", "copied", "--ignore-times")),
        ("rclone", "aria2c"),
    ),
    Program(
        "rclone-webdav",
        "rclone serves WebDAV; rclone copies",
        command(f"rclone serve webdav --addr :{PORT} {{folder}}"),
        (
            shell(
                f"for n in 1 2 3; do rclone --webdav-url {URL} copy :webdav:site got$n; rclone --webdav-url {URL} lsf :webdav:; sleep 1; done"
            ),
        ),
        ("rclone",),
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
        (script_user("undici", 8000),),
        ("rinetd", "/fastify", "/undici"),
        must=BROKEN,
    ),
    Program(
        "squid",
        "Squid before Express; Node's fetch",
        behind(node("express", "frameworks.mjs"), "squid -N -f s.conf", 8000, s_conf=SQUID),
        (script_user("fetch", 8000),),
        ("squid", "/express"),
        must=KILLED,
    ),
    Program(
        "haproxy",
        "HAProxy that reuses connections, before Hono; needle",
        behind(node("hono", "frameworks.mjs"), "haproxy -f h.cfg", 8000, h_cfg=HAPROXY),
        (script_user("needle", 8000),),
        ("haproxy", "/hono", "/needle"),
        must=KILLED,
        may={NAGLE: "it corks what it passes on, without option http-no-delay"},
    ),
    Program(
        "perlbal",
        "Perlbal before hapi; superagent",
        behind(node("hapi", "frameworks.mjs"), "perlbal -c p.conf", 8000, p_conf=PERLBAL),
        (script_user("superagent", 8000),),
        ("perlbal", "/@hapi/hapi", "/superagent"),
        must=KILLED,
        may={"unchunked-streaming": "it passes streams on in HTTP/1.0"},
    ),
    Program(
        "http-proxy",
        "node-http-proxy before Polka; reqwest",
        behind(node("polka", "frameworks.mjs"), "node {programs}/frameworks.mjs proxy 8000 {modules}", 8000),
        (http_client("primp", 8000),),
        ("/http-proxy", "/polka", "primp"),
        must=KILLED,
    ),
    Program(
        "proxy-py",
        "proxy.py before H2O; curl -x",
        behind(H2O, "proxy --hostname 0.0.0.0 --port 8899", 8899),
        (
            shell(
                f"for n in 1 2 3 4 5; do curl -s -m 20 -x {SERVER}:8899 {URL}/small {URL}/large -o /dev/null -o /dev/null; sleep 0.8; done"
            ),
        ),
        ("proxy", "h2o"),
    ),
    Program(
        "socat",
        "socat relays connections to H2O; curl, aria2 and httping",
        behind(H2O, RELAY, 8000),
        files(8000),
        ("socat", "h2o"),
        may=ALONE | {"zero-window-stall": "aria2 allocates its file first"},
    ),
    Program(
        "dead-relay",
        "socat relays to a port on which nothing listens",
        command(RELAY, 8000),
        (shell(f"for n in 1 2 3; do curl -s http://{SERVER}:8000/small; sleep 0.5; done"),),
        ("socat",),
        must={"healthy": ("no-response",)},
        seconds=5,
    ),
    Program(
        "apt-cacher",
        "apt-cacher-ng before H2O; curl -x",
        behind(H2O, "apt-cacher-ng ForeGround=1 Port=3142 CacheDir=cache LogDir=log", 3142),
        (
            shell(
                f"for n in 1 2 3 4 5; do curl -s -m 20 -x {SERVER}:3142 {URL}/small.txt {URL}/large.txt {URL}/none -o /dev/null -o /dev/null -o /dev/null; sleep 0.8; done"
            ),
        ),
        ("apt-cacher-ng", "h2o"),
        may=ALONE,
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
    Program(
        "tsung",
        "tsung: users with pauses, against Hono",
        node("hono", "frameworks.mjs"),
        (shell(f"cat > t.xml <<'E'\n{TSUNG}E\nexec tsung -f t.xml -l log start"),),
        ("tsung", "/hono"),
        seconds=24,
    ),
)

DANTE = """logoutput: {folder}/d.log
internal: 0.0.0.0 port = 1080
external: eth0
socksmethod: none
clientmethod: none
user.privileged: root
user.unprivileged: root
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
"""
INSIDE = "http://127.0.0.1:8080"

LATER_PROXIES = (
    Program(
        "dante",
        "Dante before H2O; curl over SOCKS",
        behind(H2O, "danted -f d.conf", 1080, d_conf=DANTE),
        (
            shell(
                f"for n in 1 2 3 4 5; do curl -s -m 20 --socks5 {SERVER}:1080 {INSIDE}/small {INSIDE}/large -o /dev/null -o /dev/null; sleep 0.8; done"
            ),
        ),
        ("danted", "h2o"),
        may=ALONE,
    ),
    Program(
        "mitmproxy",
        "mitmproxy before Express; Node's fetch",
        behind(
            node("express", "frameworks.mjs"),
            "mitmdump -q --set confdir={folder}/m --mode reverse:http://127.0.0.1:8080 -p 8000",
            8000,
        ),
        (script_user("fetch", 8000),),
        ("mitmdump", "/express"),
        may={"buffered-stream": "it reads a response to its end before it passes it on"},
        must=KILLED,
    ),
)

"""More programs for programs.py: servers, gateways, stores and downloaders that came later."""

# ruff: noqa: E501, for the command lines and files of these programs

from __future__ import annotations

from dataclasses import replace

from program_table import (
    ALONE,
    H2O,
    HERE,
    MODULES,
    NAGLE,
    PORT,
    RACKUP,
    SERVER,
    URL,
    Program,
    Serve,
    Words,
    behind,
    command,
    http_client,
)


def script_user(library: str, port: int = PORT) -> Words:
    """A command: a client of peers/programs/http_clients.mjs."""
    return ("node", str(HERE / "http_clients.mjs"), library, f"http://{SERVER}:{port}", MODULES)


def python(server: str) -> Serve:
    """Serve with a server of peers/programs/http_servers.py."""
    return command(f"{{python}} {{programs}}/http_servers.py {server} {PORT}")


def node(framework: str) -> Serve:
    """Serve with a framework of peers/programs/frameworks.mjs."""
    return command(f"node {{programs}}/frameworks.mjs {framework} {PORT} {{modules}}")


def shell(words: str) -> Words:
    """A command line of the shell."""
    return ("sh", "-c", words)


UNDER_WAY = ("no-response", "truncated-response", "keep-alive-race", "connect-failed", "idle-close")
BROKEN: dict[str, Words] = {"killed": UNDER_WAY}
"""What must be reported: the moment comes in the middle of a stream, and a pause, or a restart that waits for it, harms nothing."""

ASGI = f"http_servers:app --app-dir {HERE}"
GET_ALL = f"{URL}/small {URL}/large {URL}/huge"

PHP = """<?php
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
while (ob_get_level()) ob_end_flush();
if ($path == '/events' || $path == '/rows') {
  header('Content-Type: ' . ($path == '/events' ? 'text/event-stream' : 'application/x-ndjson'));
  for ($n = 0; $n < ($path == '/events' ? 20 : 30); $n++) { usleep($path == '/events' ? 150000 : 40000); echo $path == '/events' ? "data: $n\\n\\n" : "{}\\n"; flush(); }
  exit;
}
if ($path == '/late') usleep(700000);
if ($path == '/empty') { http_response_code(204); exit; }
header('Content-Type: text/plain');
if ($path == '/upload') { echo strlen(file_get_contents('php://input')); exit; }
echo str_repeat('s', $path == '/large' ? 300000 : 300);
"""

LIGHTTPD = """server.document-root = "{folder}/site"
server.port = 8080
server.errorlog = "{folder}/errors"
server.max-keep-alive-idle = 4
server.stream-response-body = 1
server.modules += ("mod_fastcgi")
fastcgi.server = ("/" => (("socket" => "{folder}/fpm", "check-local" => "disable", "fix-root-scriptname" => "enable")))
"""

FPM = """[global]
error_log = {folder}/fpm.log
daemonize = no
[www]
listen = {folder}/fpm
security.limit_extensions =
user = root
group = root
pm = static
pm.max_children = 4
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

SCRAPE = """global:
  scrape_interval: 1s
scrape_configs:
  - job_name: lab
    static_configs:
      - targets: ['10.9.0.2:8080']
"""

REGISTRY = """version: 0.1
storage:
  filesystem:
    rootdirectory: {folder}/registry
http:
  addr: :8080
"""

WEBRICK = """require 'webrick'
app = WEBrick::HTTPServer.new(Port: 8080, BindAddress: '0.0.0.0', AccessLog: [], Logger: WEBrick::Log.new(File::NULL))
app.mount_proc('/') do |ask, answer|
  case ask.path
  when '/events', '/rows'
    n, pause, text = ask.path == '/events' ? [20, 0.15, "data: e\\n\\n"] : [30, 0.04, "{}\\n"]
    answer['Content-Type'] = ask.path == '/events' ? 'text/event-stream' : 'application/x-ndjson'
    answer.chunked = true
    answer.body = proc { |out| n.times { sleep pause; out.write(text) } }
  when '/empty' then answer.status = 204
  when '/upload' then answer.body = ask.body.size.to_s
  else
    sleep 0.7 if ask.path == '/late'
    answer.body = 's' * (ask.path == '/large' ? 300_000 : 300)
  end
end
app.start
"""

PROLOG = """:- use_module(library(http/thread_httpd)).
:- use_module(library(http/http_dispatch)).
:- http_handler(root(small), page(300), []).
:- http_handler(root(large), page(300000), []).
:- http_handler(root(empty), none, []).
:- http_handler(root(late), late, []).
:- http_handler(root(rows), rows, [chunked]).
page(N, _) :- format('Content-type: text/plain~n~n'), forall(between(1, N, _), put_char(s)).
none(_) :- format('Status: 204~n~n').
late(R) :- sleep(0.7), page(300, R).
rows(_) :- format('Content-type: application/x-ndjson~n~n'), forall(between(1, 30, _), (sleep(0.04), format('{}~n'), flush_output)).
:- initialization((http_server(http_dispatch, [port('0.0.0.0':8080), keep_alive_timeout(4), workers(4)]), thread_get_message(_))).
"""

CHURN = (
    f"hg init r; cd r; for n in 1 2 3 4; do seq $n 5000 > f$n; hg -q add f$n; hg -q -u lab ci -m $n; hg -q push {URL}/; "
    f"hg -q pull {URL}/; sleep 0.5; done; hg -q clone {URL}/ ../copy"
)
IMAGE = (
    'for n in 1 2 3; do head -c 900000 /dev/urandom > b; d=sha256:$(sha256sum b | cut -d" " -f1); '
    f'u=$(curl -s -X POST -i {URL}/v2/lab/blobs/uploads/ | tr -d "\\r" | sed -n "s/^Location: //p"); '
    f'curl -s -T b "$u&digest=$d" -H "Content-Type: application/octet-stream"; '
    f"curl -s -I {URL}/v2/lab/blobs/$d; curl -s {URL}/v2/lab/blobs/$d -o got; sleep 0.6; done"
)

APPLICATIONS = (
    Program(
        "fastwsgi", "FastWSGI and libcurl", python("fastwsgi"), (http_client("pycurl"),), ("fastwsgi", "pycurl"), must=BROKEN
    ),
    Program(
        "gevent",
        "Gevent's server and client",
        python("gevent"),
        (http_client("geventhttpclient"),),
        ("gevent", "geventhttpclient"),
        must=BROKEN,
    ),
    Program("eventlet", "Eventlet and reqwest", python("eventlet"), (http_client("primp"),), ("eventlet", "primp"), must=BROKEN),
    Program("cherrypy", "CherryPy and reqwest", python("cherrypy"), (http_client("primp"),), ("cherrypy", "primp"), must=BROKEN),
    Program(
        "socketify",
        "uWebSockets and libcurl",
        python("socketify"),
        (http_client("pycurl"),),
        ("socketify", "pycurl"),
        must=BROKEN,
    ),
    Program("robyn", "Robyn (Actix) and reqwest", python("robyn"), (http_client("primp"),), ("robyn", "primp"), must=BROKEN),
    Program(
        "daphne",
        "Daphne and needle",
        command(f"sh -c 'cd {HERE} && exec daphne -b 0.0.0.0 -p {PORT} http_servers:app'"),
        (script_user("needle"),),
        ("daphne", "/needle"),
        must=BROKEN,
    ),
    Program(
        "pyvoy",
        "Envoy with Python in it, and node-fetch",
        command(f"sh -c 'cd {HERE} && exec pyvoy http_servers:app --address 0.0.0.0 --port {PORT}'"),
        (script_user("nodefetch"),),
        ("pyvoy", "/node-fetch"),
        must=BROKEN,
    ),
    Program(
        "express",
        "Express and superagent",
        node("express"),
        (script_user("superagent"),),
        ("/express", "/superagent"),
        must=BROKEN,
    ),
    Program("hapi", "hapi and needle", node("hapi"), (script_user("needle"),), ("/@hapi/hapi", "/needle"), must=BROKEN),
    Program(
        "hono", "Hono and Node's own fetch", node("hono"), (script_user("fetch"),), ("/hono", "/@hono/node-server"), must=BROKEN
    ),
    Program(
        "bun",
        "Bun on both sides",
        command(f"bun {{programs}}/frameworks.mjs bun {PORT} {{modules}}"),
        (("bun", str(HERE / "http_clients.mjs"), "fetch", URL, MODULES),),
        ("bun",),
        must=BROKEN,
    ),
    Program(
        "deno",
        "Deno on both sides (hyper and reqwest)",
        command(f"deno run -A {{programs}}/frameworks.mjs deno {PORT} {{modules}}"),
        (("deno", "run", "-A", str(HERE / "http_clients.mjs"), "fetch", URL, MODULES),),
        ("deno",),
        must=BROKEN,
    ),
    Program(
        "php",
        "PHP's own server and Node's fetch",
        command(f"php -S 0.0.0.0:{PORT} app.php", app_php=PHP),
        (script_user("fetch"),),
        ("php",),
        must=BROKEN,
    ),
    Program(
        "lighttpd-fpm",
        "lighttpd before PHP-FPM, and superagent",
        behind(
            lambda _: None,
            "sh -c 'php-fpm8.2 -R -y fpm.conf -c /dev/null & exec lighttpd -D -f l.conf'",
            PORT,
            fpm_conf=FPM,
            l_conf=LIGHTTPD,
            app_php=PHP,
        ),
        (script_user("superagent"),),
        ("lighttpd", "php-fpm8.2", "/superagent"),
        must=BROKEN,
    ),
    Program(
        "unicorn",
        "Unicorn and libcurl",
        command(f"unicorn -l 0.0.0.0:{PORT} config.ru", config_ru=RACKUP),
        (http_client("pycurl"),),
        ("unicorn", "pycurl"),
        must=BROKEN,
    ),
    Program(
        "webrick",
        "WEBrick and needle",
        command("ruby w.rb", w_rb=WEBRICK),
        (script_user("needle"),),
        ("ruby", "/needle"),
        must=BROKEN,
    ),
    Program(
        "prolog",
        "SWI-Prolog's server and reqwest",
        command("swipl app.pl", app_pl=PROLOG),
        (http_client("primp"),),
        ("swipl", "primp"),
        must=BROKEN,
    ),
)

STORES = (
    Program(
        "rclone",
        "rclone serves S3's neighbor WebDAV; rclone copies",
        command(f"rclone serve webdav --addr :{PORT} {{folder}}"),
        (
            shell(
                f"for n in 1 2 3; do rclone --webdav-url {URL} copy :webdav:site got$n; rclone --webdav-url {URL} lsf :webdav:; sleep 1; done"
            ),
        ),
        ("rclone",),
    ),
    Program(
        "moto",
        "moto (S3) and boto3",
        command(f"moto_server -H 0.0.0.0 -p {PORT}"),
        (http_client("s3"),),
        ("moto_server", "boto3"),
        must=BROKEN,
    ),
    Program(
        "influxdb",
        "InfluxDB: lines written, means asked for",
        command(
            "influxd -config i.conf",
            i_conf='reporting-disabled = true\n[meta]\ndir = "{folder}/m"\n[data]\ndir = "{folder}/d"\nwal-dir = "{folder}/w"\n[http]\nbind-address = ":8080"\n'.replace(
                "bind-address", "bind-address"
            ),
        ),
        (http_client("metrics"),),
        ("influxd",),
        must=BROKEN,
    ),
    Program(
        "pushgateway",
        "Prometheus asks a push gateway, a shell pushes to it",
        command(f"prometheus-pushgateway --web.listen-address=:{PORT}"),
        (
            shell(
                f"printf '{SCRAPE}' > p.yml; exec prometheus --config.file=p.yml --storage.tsdb.path=tsdb --web.listen-address=127.0.0.1:9090"
            ),
            shell(f"for n in 1 2 3 4 5 6 7 8; do echo load $n | curl -s --data-binary @- {URL}/metrics/job/lab; sleep 0.7; done"),
        ),
        ("prometheus", "prometheus-pushgateway"),
        may=ALONE,
        seconds=12,
    ),
    Program(
        "registry",
        "An image registry: layers pushed and pulled",
        command("docker-registry serve r.yml", r_yml=REGISTRY),
        (shell(IMAGE),),
        ("docker-registry",),
        may=ALONE,
    ),
    Program(
        "mercurial",
        "hg serve; pushes, pulls, a clone",
        command(f"sh -c 'hg init repo && exec hg -R repo serve -p {PORT} --config web.push_ssl=no --config web.allow-push=*'"),
        (shell(CHURN),),
        ("hg",),
        may=ALONE,
    ),
)

STATIC = (
    Program(
        "webfs",
        "webfs; axel, wget2 and lftp",
        command(f"webfsd -F -p {PORT} -r {{folder}}/site"),
        (
            shell(f"axel -q -n 4 -o a {URL}/huge; wget2 -q {GET_ALL} -O w"),
            shell(f"lftp -c 'open {URL}; pget -n 3 huge; cat small'"),
        ),
        ("webfsd", "axel", "wget2", "lftp"),
        may=ALONE,
    ),
    Program(
        "mini-httpd",
        "mini_httpd; w3m, lynx and axel",
        command(f"mini_httpd -D -p {PORT} -d {{folder}}/site -u root"),
        (shell(f"w3m -dump {URL}/small; lynx -dump {URL}/large; axel -q -n 3 -o a {URL}/huge"),),
        ("mini_httpd", "w3m", "lynx", "axel"),
        may=ALONE,
    ),
    Program(
        "civetweb",
        "CivetWeb and libcurl",
        command(
            f"civetweb -listening_ports {PORT} -document_root {{folder}}/site -enable_keep_alive yes -keep_alive_timeout_ms 4000"
        ),
        (http_client("pycurl"), shell(f"axel -q -n 4 -o a {URL}/huge")),
        ("civetweb", "pycurl", "axel"),
        may=ALONE,
    ),
    Program(
        "mpv",
        "mpv plays from H2O, seeks and quits",
        H2O,
        (
            shell(
                f"exec mpv --really-quiet --vo=null --ao=null --no-cache-pause --demuxer=rawaudio --demuxer-rawaudio-rate=48000 --length=9 {URL}/huge"
            ),
        ),
        ("mpv", "h2o"),
        seconds=14,
        snap=400,
    ),
)

PROXIES = (
    Program(
        "squid",
        "Squid before Express; Node's fetch",
        behind(node("express"), "squid -N -f s.conf", 8000, s_conf=SQUID),
        (script_user("fetch", 8000),),
        ("squid", "/express"),
        must=BROKEN,
    ),
    Program(
        "haproxy",
        "HAProxy that reuses connections, before Hono; needle",
        behind(node("hono"), "haproxy -f h.cfg", 8000, h_cfg=HAPROXY),
        (script_user("needle", 8000),),
        ("haproxy", "/hono", "/needle"),
        must=BROKEN,
    ),
    Program(
        "perlbal",
        "Perlbal before hapi; superagent",
        behind(node("hapi"), "perlbal -c p.conf", 8000, p_conf=PERLBAL),
        (script_user("superagent", 8000),),
        ("perlbal", "/@hapi/hapi", "/superagent"),
        must=BROKEN,
    ),
    Program(
        "http-proxy",
        "node-http-proxy before Polka; reqwest",
        behind(node("polka"), "node {programs}/frameworks.mjs proxy 8000 {modules}", 8000),
        (http_client("primp", 8000),),
        ("/http-proxy", "/polka", "primp"),
        must=BROKEN,
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
)

NPMRC = f"npm_config_registry={URL}/ npm_config_cache=cache npm_config_fetch_retries=1"
PUBLISH = (
    "for n in 1 2 3; do mkdir -p p$n; cd p$n; head -c 200000 /dev/urandom > data; "
    'echo \'{"name":"lab","version":"1.0.\'$n\'"}\' > package.json; '
    f"{NPMRC} npm publish --//{SERVER}:{PORT}/:_authToken=a; cd ..; {NPMRC} npm view lab; sleep 0.5; done; "
    f"mkdir u; cd u; {NPMRC} npm install lab"
)
VERDACCIO = """storage: {folder}/storage
packages:
  "**":
    access: $all
    publish: $all
listen: 0.0.0.0:8080
"""
TSUNG = """<?xml version="1.0"?><!DOCTYPE tsung SYSTEM "/usr/share/tsung/tsung-1.0.dtd"><tsung loglevel="emergency">
<clients><client host="localhost" use_controller_vm="true"/></clients><servers><server host="10.9.0.2" port="8080" type="tcp"/></servers>
<load><arrivalphase phase="1" duration="5" unit="second"><users interarrival="0.5" unit="second"/></arrivalphase></load>
<sessions><session name="s" probability="100" type="ts_http">
<for from="1" to="4" var="i"><request><http url="/small"/></request><thinktime value="1"/><request><http url="/late"/></request></for>
</session></sessions></tsung>
"""
RUBY = (
    "require 'net/http'; Net::HTTP.start('10.9.0.2', 8080) { |h| h.keep_alive_timeout = 5; "
    "%w[small small late rows large].each { |p| begin; h.get('/' + p); sleep 0.3; rescue => e; warn e; end }; sleep 2.5; "
    "begin; h.get('/small'); h.get('/events'); rescue => e; warn e; end }"
)
PERL_USER = (
    "use HTTP::Tiny; my $h = HTTP::Tiny->new(timeout => 8); for my $p (qw(small small late rows large wait small events empty)) "
    "{ if ($p eq 'wait') { select undef, undef, undef, 2.5; next } my $r = $h->get(qq(http://10.9.0.2:8080/$p)); "
    "warn $r->{content} if $r->{status} == 599; select undef, undef, undef, 0.2 }"
)
TCL_USER = (
    "package require http; foreach p {small small late rows large small events empty} "
    "{ if {[catch {set t [::http::geturl http://10.9.0.2:8080/$p -keepalive 1 -timeout 8000]; ::http::cleanup $t} e]} {puts stderr $e}; after 300 }"
)

LATER = (
    Program(
        "verdaccio",
        "verdaccio: npm publishes, looks and installs",
        command("verdaccio -c v.yaml", v_yaml=VERDACCIO),
        (shell(PUBLISH),),
        ("verdaccio", "npm"),
        may=ALONE,
        seconds=25,
    ),
    Program(
        "litestar",
        "Litestar in uvicorn and Ruby's Net::HTTP",
        command(f"uvicorn {ASGI} --host 0.0.0.0 --port {PORT}"),
        (("ruby", "-e", RUBY),),
        ("uvicorn", "ruby"),
    ),
    Program(
        "uvicorn-perl",
        "uvicorn and HTTP::Tiny",
        command(f"uvicorn {ASGI} --host 0.0.0.0 --port {PORT}"),
        (shell(f"echo '{TCL_USER}' | tclsh"),),
        ("deno", "tclsh"),
    ),
    Program(
        "tsung",
        "tsung: users with pauses, against Hono",
        node("hono"),
        (shell(f"cat > t.xml <<'E'\n{TSUNG}E\nexec tsung -f t.xml -l log start"),),
        ("tsung", "/hono"),
        seconds=24,
    ),
    Program(
        "faye",
        "Faye: long polls, then WebSocket; two who talk",
        command("node {programs}/frameworks.mjs faye 8080 {modules}"),
        (script_user("faye"), script_user("faye-poll")),
        ("/faye",),
    ),
    Program(
        "sockjs",
        "SockJS: streaming over XHR",
        command("node {programs}/frameworks.mjs sockjs 8080 {modules}"),
        (script_user("sockjs"),),
        ("/sockjs", "/sockjs-client"),
    ),
    Program(
        "json-server",
        "json-server; wget2, lftp and axel",
        command("json-server --host 0.0.0.0 --port 8080 d.json", d_json='{"small": [{"id": "1"}], "rows": []}'),
        (
            shell(
                f"for n in 1 2 3 4 5 6; do wget2 -q -O- {URL}/small {URL}/rows; curl -s -d '{{}}' -H 'Content-Type: application/json' {URL}/rows; sleep 0.6; done"
            ),
        ),
        ("json-server", "wget2"),
        may=ALONE,
    ),
    Program(
        "httpx-fpm",
        "lighttpd before PHP-FPM, and httpx",
        behind(
            lambda _: None,
            "sh -c 'php-fpm8.2 -R -y fpm.conf -c /dev/null & exec lighttpd -D -f l.conf'",
            PORT,
            fpm_conf=FPM,
            l_conf=LIGHTTPD,
            app_php=PHP,
        ),
        (http_client("httpx"),),
        ("lighttpd", "php-fpm8.2", "httpx"),
    ),
    Program(
        "minidlna",
        "MiniDLNA: SOAP and ranges",
        command(
            "minidlnad -S -d -f m.conf -P {folder}/pid",
            8200,
            m_conf="port=8200\nmedia_dir={folder}/site\ndb_dir={folder}\nnetwork_interface=eth0\n",
        ),
        (
            shell(
                f"for n in 1 2 3 4 5 6; do curl -s {URL.replace('8080', '8200')}/rootDesc.xml {URL.replace('8080', '8200')}/none; sleep 0.8; done"
            ),
        ),
        ("minidlnad",),
        may=ALONE,
    ),
)

_HELD = "it leaves Nagle's algorithm on"
_ALSO_TRUE: dict[str, dict[str, str]] = {
    **{name: {NAGLE: _HELD} for name in ("gevent", "webrick", "mercurial", "eventlet")},
    "haproxy": {NAGLE: "it corks what it passes on, without option http-no-delay"},
    "socketify": {"no-response": "it closes on HEAD", "excess-body": "it sends more than its Content-Length"},
    "unicorn": {"body-not-allowed": "the application has no Rack::Head"},
    "perlbal": {"unchunked-streaming": "it passes streams on in HTTP/1.0"},
    "php": {"unchunked-streaming": "it ends each response with its connection"},
    "bun": {"premature-close": "its timer looks every 4 s, and takes what has just been used"},
    "pushgateway": {"client-abort": "a scrape has a time-out of 1 s"},
    "civetweb": {"zero-window-stall": "axel sleeps for 100 ms"},
}
MORE = tuple(
    replace(program, may=program.may | _ALSO_TRUE.get(program.name, {}))
    for program in (*APPLICATIONS, *STORES, *STATIC, *PROXIES, *LATER)
)
"""With what is true of their healthy use, too."""

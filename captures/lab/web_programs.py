"""Programs for programs.py that answer requests: frameworks and servers in many languages, and their clients."""

# ruff: noqa: E501, for the command lines and files of these programs

from __future__ import annotations

from typing import Any

from program import (
    ALONE,
    BROKEN,
    HELD,
    HERE,
    KILLED,
    MODULES,
    NAGLE,
    PORT,
    PSGI,
    RACKUP,
    SERVER,
    URL,
    Program,
    command,
    http_client,
    node,
    python,
    script_user,
    shell,
    text_of,
    user,
)

BROWSE, TICKS = http_client("niquests"), user("ticks")


ASGI = f"http_servers:app --app-dir {HERE}"

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

FPM_SERVER = command(
    "sh -c 'php-fpm8.2 -R -y fpm.conf -c /dev/null & exec lighttpd -D -f l.conf'", fpm_conf=FPM, l_conf=LIGHTTPD, app_php=PHP
)


def small_server(name: str, title: str, client: str, **more: Any) -> Program:
    """Return a server of peers/programs/http_servers.py with a client of http_clients.py."""
    return Program(name, title, python(name, "http_servers.py"), (http_client(client),), (name, client), must=KILLED, **more)


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
        "twisted",
        "Twisted's web server and axios",
        python("twisted"),
        (script_user("axios"),),
        ("twisted", "/axios"),
        must=BROKEN,
    ),
    Program("fastify", "Fastify and undici", node("fastify"), (script_user("undici"),), ("/fastify", "/undici"), must=BROKEN),
    Program("koa", "Koa and got", node("koa"), (script_user("got"),), ("/koa", "/got"), must=BROKEN),
    Program(
        "socketio",
        "Socket.IO: polls, then a WebSocket",
        node("socketio"),
        (script_user("socketio"),),
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
        (script_user("undici"),),
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
        (script_user("axios"),),
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
        (script_user("got"),),
        ("lua5.1", "/got"),
        must=BROKEN,
    ),
    small_server("fastwsgi", "FastWSGI and libcurl", "pycurl"),
    small_server("gevent", "Gevent's server and client", "geventhttpclient", may={NAGLE: HELD}),
    small_server("eventlet", "Eventlet and reqwest", "primp", may={NAGLE: HELD}),
    small_server("cherrypy", "CherryPy and reqwest", "primp"),
    small_server(
        "socketify",
        "uWebSockets and libcurl",
        "pycurl",
        may={"no-response": "it closes on HEAD", "excess-body": "it sends more than its Content-Length"},
    ),
    small_server("robyn", "Robyn (Actix) and reqwest", "primp"),
    Program(
        "daphne",
        "Daphne and needle",
        command(f"sh -c 'cd {HERE} && exec daphne -b 0.0.0.0 -p {PORT} http_servers:app'"),
        (script_user("needle"),),
        ("daphne", "/needle"),
        must=KILLED,
    ),
    Program(
        "pyvoy",
        "Envoy with Python in it, and node-fetch",
        command(f"sh -c 'cd {HERE} && exec pyvoy http_servers:app --address 0.0.0.0 --port {PORT}'"),
        (script_user("nodefetch"),),
        ("pyvoy", "/node-fetch"),
        must=KILLED,
    ),
    Program(
        "express",
        "Express and superagent",
        node("express", "frameworks.mjs"),
        (script_user("superagent"),),
        ("/express", "/superagent"),
        must=KILLED,
    ),
    Program(
        "hapi",
        "hapi and needle",
        node("hapi", "frameworks.mjs"),
        (script_user("needle"),),
        ("/@hapi/hapi", "/needle"),
        must=KILLED,
    ),
    Program(
        "hono",
        "Hono and Node's own fetch",
        node("hono", "frameworks.mjs"),
        (script_user("fetch"),),
        ("/hono", "/@hono/node-server"),
        must=KILLED,
    ),
    Program(
        "bun",
        "Bun on both sides",
        command(f"bun {{programs}}/frameworks.mjs bun {PORT} {{modules}}"),
        (("bun", str(HERE / "http_clients.mjs"), "fetch", URL, MODULES),),
        ("bun",),
        must=KILLED,
        may={"premature-close": "its timer looks every 4 s, and takes what has just been used"},
    ),
    Program(
        "deno",
        "Deno on both sides (hyper and reqwest)",
        command(f"deno run -A {{programs}}/frameworks.mjs deno {PORT} {{modules}}"),
        (("deno", "run", "-A", str(HERE / "http_clients.mjs"), "fetch", URL, MODULES),),
        ("deno",),
        must=KILLED,
    ),
    Program(
        "php",
        "PHP's own server and Node's fetch",
        command(f"php -S 0.0.0.0:{PORT} app.php", app_php=PHP),
        (script_user("fetch"),),
        ("php",),
        must=KILLED,
        may={"unchunked-streaming": "it ends each response with its connection"},
    ),
    Program(
        "lighttpd-fpm",
        "lighttpd before PHP-FPM, and superagent",
        FPM_SERVER,
        (script_user("superagent"),),
        ("lighttpd", "php-fpm8.2", "/superagent"),
        must=KILLED,
    ),
    Program(
        "httpx-fpm",
        "lighttpd before PHP-FPM, and httpx",
        FPM_SERVER,
        (http_client("httpx"),),
        ("lighttpd", "php-fpm8.2", "httpx"),
    ),
    Program(
        "unicorn",
        "Unicorn and libcurl",
        command(f"unicorn -l 0.0.0.0:{PORT} config.ru", config_ru=RACKUP),
        (http_client("pycurl"),),
        ("unicorn", "pycurl"),
        must=KILLED,
        may={"body-not-allowed": "the application has no Rack::Head"},
    ),
    Program(
        "webrick",
        "WEBrick and needle",
        command("ruby w.rb", w_rb=WEBRICK),
        (script_user("needle"),),
        ("ruby", "/needle"),
        must=KILLED,
        may={NAGLE: HELD},
    ),
    Program(
        "prolog",
        "SWI-Prolog's server and reqwest",
        command("swipl app.pl", app_pl=PROLOG),
        (http_client("primp"),),
        ("swipl", "primp"),
        must=KILLED,
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
        "uvicorn; Perl's HTTP::Tiny and Tcl's http",
        command(f"uvicorn {ASGI} --host 0.0.0.0 --port {PORT}"),
        (("perl", "-e", PERL_USER), shell(f"echo '{TCL_USER}' | tclsh")),
        ("uvicorn", "perl", "tclsh"),
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
)

GUILE = command("guile --no-auto-compile app.scm", app_scm=text_of("app.scm"))
DATASETTE = (
    'sh -c \'{python} -c "import sqlite3; c = sqlite3.connect(\\"d.db\\"); c.execute(\\"create table t(a, b)\\"); '
    'c.executemany(\\"insert into t values(?, ?)\\", [(n, \\"x\\" * 50) for n in range(3000)]); c.commit()" && '
    "exec datasette d.db -h 0.0.0.0 -p 8001'"
)
TABLE = f"http://{SERVER}:8001/d/t"

LONG_POLLS = (
    Program(
        "guile",
        "Guile's web server; curl, and Node's fetch",
        GUILE,
        (
            script_user("fetch"),
            shell(f"for n in 1 2 3 4 5; do curl -s {URL}/small {URL}/large -o /dev/null -o /dev/null; sleep 0.7; done"),
        ),
        ("guile",),
        may=ALONE,
        must=KILLED,
    ),
    Program(
        "pouchdb",
        "PouchDB keeps two databases in step by long polls whose response begins at once",
        command("node {programs}/pouch.mjs 8080 {modules}"),
        (("node", str(HERE / "sync.mjs"), URL, MODULES),),
        ("/pouchdb", "/pouchdb-adapter-memory", "/express-pouchdb"),
        must=KILLED,
        seconds=20,
    ),
    Program(
        "datasette",
        "Datasette: pages, JSON, and CSV that is streamed row by row",
        command(DATASETTE, 8001),
        (
            shell(
                f"for n in 1 2 3; do curl -s {TABLE} {TABLE}.json -o /dev/null -o /dev/null; curl -s '{TABLE}.csv?_stream=on' -o /dev/null; sleep 1; done"
            ),
        ),
        ("datasette",),
        may=ALONE | {"tinygrams": "each row leaves in a segment of its own"},
    ),
)

"""Programs for programs.py: desktop libraries, small servers, and brokers and databases that do not speak HTTP."""

# ruff: noqa: E501, for the command lines and files of these programs

from __future__ import annotations

from program import ALONE, H2O, HELD, KILLED, NAGLE, PORT, SERVER, URL, Program, behind, command, shell

LIGHTTPD = f"""server.document-root = "{{folder}}/site"
server.port = {PORT}
server.modules = ("mod_deflate")
deflate.allowed-encodings = ("gzip")
deflate.mimetypes = ("text/plain", "application/octet-stream")
"""

SOUP = f"""import gi, time
gi.require_version("Soup", "3.0")
from gi.repository import GLib, Soup
session, loop, left = Soup.Session(timeout=8), GLib.MainLoop(), [12]
ask = lambda path: Soup.Message.new("GET", "{URL}/" + path)
for _ in range(4):
    for path in ("small", "large", "none"):
        session.send_and_read(ask(path), None)
    time.sleep(0.7)
def done(_, result):
    session.send_and_read_finish(result)
    left[0] -= 1
    if not left[0]:
        loop.quit()
for n in range(12):
    session.send_and_read_async(ask("large" if n % 3 else "small"), 0, None, done)
loop.run()
"""

QT = f"""from PyQt5.QtCore import QCoreApplication, QTimer, QUrl
from PyQt5.QtNetwork import QNetworkAccessManager, QNetworkRequest
app, manager = QCoreApplication([]), QNetworkAccessManager()
manager.finished.connect(lambda reply: reply.readAll())
ask = lambda path: manager.get(QNetworkRequest(QUrl("{URL}/" + path)))
for n in range(5):
    QTimer.singleShot(900 * n, lambda: [ask(path) for path in ("small", "large", "small", "none", "small", "large", "small")])
QTimer.singleShot(4600, app.quit)
app.exec_()
"""

DAEMON = """use HTTP::Daemon; $SIG{CHLD} = "IGNORE";
my $d = HTTP::Daemon->new(LocalPort => 8080, ReuseAddr => 1, Listen => 20) || die;
while (my $c = $d->accept) { if (!fork) {
  while (my $r = $c->get_request) { my $p = $r->uri->path; my $n = 0;
    if ($p =~ /large/) { $c->send_file_response("site/large") }
    elsif ($p =~ /stream/) { $c->send_response(HTTP::Response->new(200, "OK", ["Content-Type", "text/plain"], sub { return $n++ < 8 ? do { select(undef, undef, undef, 0.12); "part $n\\n" x 5 } : "" })) }
    else { $c->send_response(HTTP::Response->new(200, "OK", ["Content-Type", "text/plain"], "a" x 200)) } }
  $c->close; exit } close $c }
"""

ASYNC = f"""use LWP::UserAgent; use HTTP::Async; my $a = LWP::UserAgent->new(keep_alive => 2, timeout => 8);
for (1 .. 4) {{ for my $p (qw(/small /large /stream)) {{ $a->get("{URL}$p") }} $a->post("{URL}/form", [a => 1, b => "x" x 3000]); select(undef, undef, undef, 0.3) }}
my $h = HTTP::Async->new(slots => 4); $h->add(HTTP::Request->new(GET => "{URL}/$_")) for 1 .. 8; while ($h->wait_for_next_response) {{}}
"""

RACK = """run lambda { |e|
  parts = Enumerator.new { |y| 8.times { |i| y << "part #{i}\\n" * 20; sleep 0.1 } }
  [200, {"content-type" => "text/plain"}, e["PATH_INFO"] == "/stream" ? parts : ["hello" * (e["PATH_INFO"] == "/large" ? 30_000 : 3)]] }
"""

PUMA = command("puma -q -b tcp://0.0.0.0:9000 config.ru", 9000, config_ru=RACK)

TORNADO = """import asyncio, tornado.web
class Page(tornado.web.RequestHandler):
    def get(self): self.write("h" * 3000)
    def post(self): self.write(str(len(self.request.body)))
async def main():
    tornado.web.Application([("/.*", Page)]).listen(8080)
    await asyncio.Event().wait()
asyncio.run(main())
"""

MARIADB = (
    "mysql_install_db --no-defaults --user=root --datadir={folder}/data --auth-root-authentication-method=normal >/dev/null; "
    "exec mysqld --no-defaults --user=root --datadir={folder}/data --socket={folder}/socket --port=3306 --bind-address=0.0.0.0 "
    "--skip-grant-tables --innodb-buffer-pool-size=32M"
)

QUERIES = (
    f"M='mysql --no-defaults --skip-ssl -h {SERVER} -u root'; "
    "$M -e \"create database d; use d; create table t (a int, b varchar(200)); insert into t values (1, repeat('x', 200)); "
    + "insert into t select * from t; "
    * 9
    + '"; (for n in 1 2 3 4 5 6; do echo "select sleep(0.2);"; sleep 0.4; echo "select count(*) from t;"; done) | $M d -n; '
    f"mysqldump --no-defaults --skip-ssl -h {SERVER} -u root d >/dev/null"
)

SUBJECTS = (
    r"""(printf 'CONNECT {"verbose":false}\r\nSUB a.> 1\r\nPING\r\n'; sleep 4) | ncat """
    + f"{SERVER} 4222 & sleep 0.3; "
    + r"""(printf 'CONNECT {"verbose":true}\r\n'; for n in $(seq 30); do printf 'PUB a.b 5\r\nhello\r\n'; sleep 0.1; done) | ncat """
    + f"{SERVER} 4222; wait"
)

CHECKS = """defaults
 mode http
 timeout connect 2s
 timeout client 9s
 timeout server 9s
frontend users
 bind :8080
 default_backend pages
backend pages
 option httpchk GET /small
 server one 127.0.0.1:9000 check inter 400
 server two 127.0.0.1:9000 check inter 700
"""

DESKTOPS = (
    Program(
        "soup",
        "lighttpd that compresses, and libsoup, one by one and all at once",
        command("lighttpd -D -f lighttpd.conf", lighttpd_conf=LIGHTTPD),
        (("/usr/bin/python3", "-c", SOUP),),
        ("lighttpd", "gi"),
        must=KILLED,
    ),
    Program(
        "qt",
        "H2O and Qt's QNetworkAccessManager, seven requests at once",
        H2O,
        (("/usr/bin/python3", "-c", QT),),
        ("h2o", "PyQt5"),
        must=KILLED,
    ),
    Program(
        "http-daemon",
        "Perl: HTTP::Daemon, LWP and HTTP::Async",
        command("perl daemon.pl", daemon_pl=DAEMON),
        (("perl", "-e", ASYNC),),
        ("perl",),
        may={NAGLE: HELD} | ALONE,
    ),
    Program(
        "nghttpx",
        "nghttpx before Puma; curl, and nghttp over HTTP/2",
        behind(PUMA, "nghttpx --conf=/dev/null -f'*,8080;no-tls' -b127.0.0.1,9000 --accesslog-file=/dev/null", PORT),
        (
            shell(f"for n in 1 2 3; do curl -s {URL}/small {URL}/stream {URL}/large {URL}/small; sleep 0.3; done"),
            shell(f"nghttp -n {URL}/small {URL}/large"),
        ),
        ("nghttpx", "puma"),
        must=KILLED,
    ),
    Program(
        "hey",
        "Tornado; hey with and without keep-alive, at a rate, and until its time is over",
        command("{python} pages.py", pages_py=TORNADO),
        (
            shell(
                f"hey -n 60 -c 6 {URL}/; hey -z 2s -c 4 -q 10 {URL}/; hey -n 10 -c 2 -disable-keepalive {URL}/; "
                f"hey -z 2s -c 8 {URL}/; hey -n 20 -c 2 -m POST -d {'u' * 500} {URL}/"
            ),
        ),
        ("tornado", "hey"),
        may=ALONE,
    ),
    Program(
        "checks",
        "HAProxy before Puma with two health checks; curl, and a check that only connects",
        behind(PUMA, "haproxy -db -f checks.cfg", PORT, checks_cfg=CHECKS),
        (
            shell(f"for n in 1 2 3 4 5; do curl -s {URL}/small; sleep 0.5; done"),
            shell(f"for n in 1 2 3 4 5 6 7 8; do ncat -z {SERVER} {PORT}; wget -q --spider {URL}/small; sleep 0.3; done"),
        ),
        ("haproxy", "puma", "ncat"),
    ),
    Program(
        "mariadb",
        "MariaDB: statements with pauses, a dump",
        command(f"sh -c '{MARIADB}'", 3306),
        (shell(QUERIES),),
        ("mysqld", "mysql"),
    ),
    Program(
        "nats",
        "NATS: a subscriber, and a publisher every 100 ms",
        command("nats-server -p 4222 -a 0.0.0.0", 4222),
        (shell(SUBJECTS),),
        ("nats-server", "ncat"),
    ),
)

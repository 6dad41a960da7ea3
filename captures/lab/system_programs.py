"""Programs for programs.py from a distribution: databases, monitors, sound, debuggers, routers, load tests, other languages."""

# ruff: noqa: E501, for the command lines and files of these programs

from __future__ import annotations

import sys

from call_programs import REDIS
from part_programs import nginx
from program import ALONE, HELD, NAGLE, SERVER, URL, Program, command, shell

POSTGRES = """cd {folder}; B=$(echo /usr/lib/postgresql/*/bin); mkdir s; $B/initdb -A trust -D d
echo 'host all,replication all 10.9.0.0/24 trust' >> d/pg_hba.conf
$B/pg_ctl -w -D d -o "-k {folder}/s -p 5440 -c listen_addresses=* -c wal_level=logical" start
exec $1 $2
"""

AS_POSTGRES = "sh -c 'chmod 777 .; exec runuser -u postgres -- sh {folder}/p.sh"

POOL = "[databases]\npostgres = host=10.9.0.2 port=5440 user=postgres\n[pgbouncer]\nlisten_addr = 0.0.0.0\nlisten_port = 6432\nauth_type = any\npool_mode = transaction\n"

POOLED = (
    f"P='-h {SERVER} -p 6432 -U postgres postgres'; pgbench -q -i -s 1 $P; pgbench -c 4 -R 60 -T 4 $P; pgbench -S -C -c 2 -T 1 $P; "
    f"timeout 4 psql $P -c 'select generate_series(1, 50)' -c '\\watch 0.05' >/dev/null"
)

REPLICATED = (
    f"export PGHOST={SERVER} PGPORT=5440 PGUSER=postgres; mkdir w; pgbench -q -i -s 1; "
    "timeout -s INT 8 pg_receivewal -D w -s 1 & "
    "timeout -s INT 8 pg_recvlogical -d postgres --slot l --create-slot --if-not-exists --start -f /dev/null -P test_decoding & "
    "(sleep 1; for n in $(seq 40); do echo \"notify c, '$n';\"; sleep 0.1; done) | psql -q & "
    "(echo 'listen c;'; for n in $(seq 60); do sleep 0.1; echo 'select 1;'; done) | psql -q >/dev/null & "
    "sleep 2; pgbench -c 2 -R 30 -T 4; pg_dump -f d.sql; psql -q -c 'copy pgbench_accounts to stdout' > c; wait"
)

REPLICA = (
    f"redis-server --port 6398 --save '' --replicaof {SERVER} 6399 --dir $PWD >/dev/null & R=$!; C='redis-cli -h {SERVER} -p 6399'; "
    "timeout 9 $C monitor >/dev/null & timeout 6 $C --latency >/dev/null & timeout 8 $C subscribe c >/dev/null & sleep 1; "
    "for n in $(seq 80); do echo SET k$n $(head -c $((n * 9)) /dev/zero | tr '\\0' x); echo PUBLISH c $n; sleep 0.04; done | $C >/dev/null; "
    "for n in $(seq 5000); do echo SET p$n v$n; done | $C --pipe >/dev/null; $C --bigkeys >/dev/null; sleep 2; kill $R"
)

UPS = "[lab]\n  driver = dummy-ups\n  port = lab.dev\n"

UPS_USERS = "[a]\n  password = a\n  upsmon primary\n"

UPS_SERVER = (
    "export NUT_CONFPATH={folder} NUT_STATEPATH={folder}; printf 'ups.status: OL\\nbattery.charge: 90\\nTIMER 1\\n' > lab.dev; chmod -R 777 .; "
    "echo 'LISTEN 0.0.0.0 3493' > upsd.conf; /lib/nut/dummy-ups -u root -a lab -s lab & sleep 1; exec upsd -F -u root"
)

UPS_USER = f"export NUT_STATEPATH=$PWD NUT_CONFPATH=$PWD; timeout 9 upslog -s lab@{SERVER} -l l -i 1 >/dev/null & for n in $(seq 20); do upsc lab@{SERVER} >/dev/null; upsc -l {SERVER} >/dev/null; sleep 0.3; done; wait"

SOUND = "pulseaudio -n --daemonize=no --exit-idle-time=-1 --use-pid-file=no --disable-shm=yes -L module-null-sink -L 'module-native-protocol-tcp auth-anonymous=1 port=4713'"

PLAYED = (
    f"export HOME=$PWD PULSE_SERVER=tcp:{SERVER}:4713; sox -q -n a.wav synth 7 sine 300; "
    "paplay --latency-msec=60 a.wav & paplay a.wav & timeout 6 parecord --latency-msec=40 -d 0 b.wav & "
    "for n in 1 2 3 4 5; do pactl list short sinks >/dev/null; pactl set-sink-volume 0 $((n * 10))%; sleep 0.7; done; wait"
)

SERIAL = "connection: &a\n  accepter: telnet(rfc2217),tcp,8080\n  connector: serialdev,{folder}/t,9600n81\n"

SERIAL_SERVER = "sh -c 'socat -d pty,link={folder}/t,raw,echo=0 SYSTEM:\"while sleep 0.04; do date +%N; done\" & sleep 0.5; exec ser2net -n -d -c {folder}/s.yaml'"

CONSOLE = "import socket, time; s = socket.create_connection(('10.9.0.2', PORT)); s.settimeout(0.2)\nfor n in range(40):\n    s.sendall(b'k'); time.sleep(0.1)\n    try: s.recv(4096)\n    except OSError: pass"

SOCKETS = (
    "import asyncio, websockets\n"
    "async def f():\n"
    "    async with websockets.connect('ws://10.9.0.2:8080/', subprotocols=['binary']) as s:\n"
    "        for n in range(120):\n"
    "            if n % 5 == 0: await s.send(b'key')\n"
    "            await s.recv()\n"
    "asyncio.run(f())"
)

CHECKS = "server_port=5666\nserver_address=0.0.0.0\nallowed_hosts=10.9.0.1\ncommand[late]=/bin/sh -c 'sleep 0.4; echo late'\ncommand[long]=/bin/sh -c 'seq 200'\npid_file={folder}/p\nnrpe_user=nobody\nnrpe_group=nogroup\n"

CHECK = f"for n in $(seq 12); do for c in late long; do /usr/lib/nagios/plugins/check_nrpe -n -2 -H {SERVER} -c $c; done; sleep 0.3; done"

NAMES = """setLocal('0.0.0.0:5300')
addAction(AllRule(), SpoofAction({'192.0.2.1', '192.0.2.2'}))
webserver('0.0.0.0:8080')
setWebserverConfig({password='a', apiKey='a', acl='0.0.0.0/0', statsRequireAuthentication=false})
setACL('0.0.0.0/0')
"""

LOOK_UP = (
    f"for n in $(seq 6); do dig +tcp +keepopen +noall +answer -p 5300 @{SERVER} a b c d e f g h >/dev/null; sleep 0.6; done & "
    f"for n in $(seq 8); do curl -s {URL}/metrics {URL}/jsonstat?command=stats -H 'X-API-Key: a' -o /dev/null -o /dev/null; sleep 0.8; done; wait"
)

DICTIONARY = "access {\n  allow *\n}\ndatabase lab {\n  data {folder}/lab.dict\n  index {folder}/lab.index\n}\n"

WORDS = f"for n in $(seq 12); do dict -h {SERVER} -p 2628 -P - w$n; dict -h {SERVER} -p 2628 -m w; dict -h {SERVER} -p 2628 -D; sleep 0.2; done >/dev/null 2>&1"

DEBUGGED = "#include <stdio.h>\nint s; int f(int n) { s += n; return s; }\nint main(void) { for (int n = 0; n < 1000; n++) f(n); return 0; }\n"

DEBUGGER = (
    f"gdb -q -batch -ex 'target remote {SERVER}:2345' -ex 'break f' -ex continue "
    + " ".join("-ex next -ex 'print s' -ex 'info registers' -ex continue" for _ in range(25))
    + " -ex kill p >/dev/null"
)

ROUTER = """router id 10.9.0.{n};
protocol device {{ }}
protocol static {{ ipv4; {routes} }}
protocol bgp lab {{ local 10.9.0.{n} as 6500{n}; neighbor 10.9.0.{other} as 6500{other}; hold time 3; keepalive time 1; connect retry time 1; passive {passive}; multihop; ipv4 {{ import all; export all; }}; }}
"""


def router(n: int) -> str:
    """Return the configuration of one of two routers with 500 routes."""
    routes = " ".join(f"route 172.{15 + n}.{i // 250}.{i % 250}/32 blackhole;" for i in range(500))
    return ROUTER.format(n=n, other=3 - n, routes=routes, passive="on" if n == 2 else "off")


ROUTES = "bird -f -c one.conf -s $PWD/1.ctl -P $PWD/1.pid & B=$!; sleep 5; for n in 1 2 3; do birdc -s $PWD/1.ctl disable static1; birdc -s $PWD/1.ctl enable static1; sleep 1; done >/dev/null; kill $B"

CVS = (
    f"export CVSROOT=:pserver:a:a@{SERVER}:2401{{folder}}/r; cvs -Q co m; cd m; "
    "for n in 1 2 3 4; do cp /usr/share/common-licenses/GPL-3 f$n; cvs -Q add f$n; cvs -Q ci -m $n; cvs -Q log >/dev/null; cvs -Q up; cvs -Q diff -r 1.1; sleep 0.5; done"
)

CVS_SERVER = (
    "sh -c 'cvs -d {folder}/r init; mkdir r/m; echo a:$(openssl passwd -1 a):root > r/CVSROOT/passwd; "
    'exec socat tcp-listen:2401,fork,reuseaddr exec:"cvs -f --allow-root={folder}/r pserver"\''
)

UNISON = (
    "export UNISON=$PWD/u; mkdir -p u a b; for n in 1 2 3; do cp /usr/share/common-licenses/* a; head -c 300000 /dev/urandom > a/r$n; "
    f"unison -batch -silent a socket://{SERVER}:5001/$PWD/b; sleep 0.5; done"
)

RUBY = (
    "require 'faraday'; require 'typhoeus'; require 'excon'; require 'httparty'; require 'httpclient'; url = 'http://10.9.0.2:8080'; "
    "faraday = Faraday.new(url); excon = Excon.new(url, persistent: true); client = HTTPClient.new; "
    "6.times { %w[/small /large /late /none].each { |path| faraday.get(path); Typhoeus.get(url + path); excon.get(path: path); HTTParty.get(url + path); client.get(url + path) }; "
    "client.post(url + '/upload', 'u' * 20000); excon.post(path: '/upload', body: 'u' * 20000); "
    "h = Typhoeus::Hydra.new(max_concurrency: 4); 8.times { h.queue(Typhoeus::Request.new(url + '/late')) }; h.run; sleep 0.5 }"
)

SINATRA = (
    "require 'sinatra/base'; class App < Sinatra::Base; set :port, 8080; set :bind, '0.0.0.0'; set :server, 'webrick'; set :host_authorization, { permitted_hosts: [] }; "
    "get('/small') { 's' * 300 }; get('/large') { 'l' * 300000 }; get('/late') { sleep 0.3; 'late' }; post('/upload') { request.body.read; 201 }; run!; end"
)

C_USER = (
    f"for n in 1 2 3 4; do curl -s {URL}/small {URL}/late {URL}/large {URL}/rows -o /dev/null -o /dev/null -o /dev/null -o /dev/null; "
    f"curl -s -d @/usr/share/common-licenses/GPL-3 {URL}/upload; sleep 0.5; done"
)

ANYEVENT = (
    "use AnyEvent; use AnyEvent::HTTP; my $all = AnyEvent->condvar; for my $n (1..40) { $all->begin; my $t; $t = AnyEvent->timer(after => $n * 0.15, cb => sub { undef $t; "
    "http_get('http://10.9.0.2:8080/' . ('small', 'late', 'large', 'rows')[$n % 4], persistent => 1, keepalive => 1, sub { $all->end }) }) } $all->recv"
)

STARLET = (
    "sub { my $e = shift; my $p = $e->{PATH_INFO}; if ($p eq '/rows') { return sub { my $w = shift->([200, ['Content-Type', 'application/x-ndjson']]); for (1..30) { $w->write(\"{}\\n\"); select(undef, undef, undef, 0.06) } $w->close } } "
    "select(undef, undef, undef, 0.3) if $p eq '/late'; [200, ['Content-Type', 'text/plain'], ['x' x ($p eq '/large' ? 300000 : 300)]] }"
)

LOGS = '@version: 3.38\nsource s { network(transport("tcp") port(5140) flags(no-parse)); syslog(port(6010)); };\ndestination d { file("{folder}/got"); };\nlog { source(s); destination(d); };\n'

LOGGERS = (
    f'for n in $(seq 100); do echo "<13>line $n $(date)"; sleep 0.05; done | socat -u - tcp:{SERVER}:5140,nodelay & '
    f'for n in $(seq 100); do echo "<13>line $n $(date)"; sleep 0.04; done | logger -T -n {SERVER} -P 6010 --octet-count & '
    f"yes '<13>a line of a program that says much' | head -c 3000000 | socat -u - tcp:{SERVER}:5140; wait"
)

CALLS = f"sipp -sn uac -t t1 -r 10 -m 60 -d 300 -i 10.9.0.1 -p 5070 {SERVER}:5060 >/dev/null & sipp -sn uac -t tn -max_socket 50 -r 5 -m 30 -i 10.9.0.1 -p 5080 {SERVER}:5060 >/dev/null; wait"

DARCS = "export HOME=$PWD; git config --global user.email a@example.com 2>/dev/null; mkdir site/r; cd site/r; darcs init; for n in $(seq 30); do echo $n > f$n; darcs add f$n; darcs record -a -A a -m $n; done"

DARCS_USER = (
    f"export HOME=$PWD; for n in 1 2 3; do darcs clone -q {URL}/r c$n; darcs clone -q --lazy {URL}/r l$n; sleep 0.7; done"
)

RMI = """import java.rmi.*; import java.rmi.registry.*; import java.rmi.server.*;
public class Call { public interface Echo extends Remote { String say(String what, int wait) throws Exception; }
  public static class Say implements Echo { public String say(String what, int wait) throws Exception { Thread.sleep(wait); return what; } }
  public static void main(String[] words) throws Exception {
    if (words[0].equals("serve")) { System.setProperty("java.rmi.server.hostname", "10.9.0.2"); var say = new Say();
      LocateRegistry.createRegistry(1099).rebind("e", UnicastRemoteObject.exportObject(say, 1100)); Thread.sleep(900000); }
    var echo = (Echo) LocateRegistry.getRegistry("10.9.0.2", 1099).lookup("e");
    for (int n = 0; n < 80; n++) { echo.say("x".repeat(n * 40), n % 10 == 0 ? 300 : 0); Thread.sleep(50); }
    System.exit(0); } }
"""

ERLANG = "erl -noshell -name {name} -setcookie lab -kernel inet_dist_listen_min 9100 inet_dist_listen_max 9100 -kernel net_ticktime 4 -eval '{eval}'"

ERLANG_USER = "export HOME=$PWD ERL_EPMD_PORT=4399; epmd -daemon; " + ERLANG.format(
    name="u@10.9.0.1",
    eval="[begin rpc:call('\"'s@10.9.0.2'\"', lists, seq, [1, N * 20]), timer:sleep(60) end || N <- lists:seq(1, 60)], timer:sleep(4000), init:stop().",
).replace("'\"'", "'\"'\"'")

RUBY_CALLS = (
    "require 'drb'; DRb.start_service('druby://10.9.0.1:0'); far = DRbObject.new_with_uri('druby://10.9.0.2:8787'); "
    "80.times { |n| far.say('x' * n * 60); sleep 0.05 }; far.each_slowly { |n| n }"
)

RUBY_ANSWERS = "require 'drb'; class Far; def say(what) = what * 2; def each_slowly = 40.times { |n| yield n; sleep 0.07 }; end; DRb.start_service('druby://10.9.0.2:8787', Far.new); DRb.thread.join"

TURN = "turnserver -n -L 10.9.0.2 -X 10.9.0.2 -p 3478 --no-auth --no-tls --no-dtls --no-cli --pidfile {folder}/p -l stdout --allow-loopback-peers --no-udp"

TCL = (
    "package require http; http::config -useragent lab; for {set n 0} {$n < 20} {incr n} { foreach p {small large} { "
    "set t [http::geturl http://10.9.0.2:8080/$p -keepalive 1]; http::cleanup $t }; after 200 }"
)

R_MIRROR = (
    'mkdir -p site/src/contrib; cd site/src/contrib; for n in 1 2 3 4 5; do mkdir lab$n; printf "Package: lab$n\\nVersion: 1.0\\nTitle: T\\nDescription: D.\\nLicense: GPL-3\\nAuthor: a\\nMaintainer: a <a@example.com>\\n" > lab$n/DESCRIPTION; touch lab$n/NAMESPACE; '
    "tar czf lab${n}_1.0.tar.gz lab$n; cat lab$n/DESCRIPTION >> PACKAGES; echo >> PACKAGES; done"
)

SYSTEMS = (
    Program(
        "pgbouncer",
        "PgBouncer before PostgreSQL",
        command(f"{AS_POSTGRES} pgbouncer p.ini'", 6432, p_sh=POSTGRES, p_ini=POOL),
        (shell(POOLED),),
        ("pgbouncer", "pgbench"),
        seconds=20,
    ),
    Program(
        "postgres-copies",
        "PostgreSQL: replication, NOTIFY, COPY, a dump",
        command(f"{AS_POSTGRES} sleep 900'", 5440, p_sh=POSTGRES),
        (shell(REPLICATED),),
        ("pg_receivewal", "pgbench"),
        seconds=20,
    ),
    Program("redis-replica", "Redis: a replica, MONITOR, latency, pipelines", REDIS, (shell(REPLICA),), ("redis-server",)),
    Program(
        "nut",
        "Network UPS Tools",
        command(f'sh -c "{UPS_SERVER}"', 3493, ups_conf=UPS, upsd_users=UPS_USERS),
        (shell(UPS_USER),),
        ("upsd", "upsc"),
    ),
    Program(
        "pulseaudio",
        "PulseAudio plays and records over TCP",
        command(f"sh -c 'export HOME={{folder}} XDG_RUNTIME_DIR={{folder}}; exec {SOUND.replace(chr(39), chr(34))}'", 4713),
        (shell(PLAYED),),
        ("pulseaudio", "paplay", "sox"),
    ),
    Program(
        "ser2net",
        "ser2net: a serial console that speaks every 40 ms",
        command(SERIAL_SERVER, s_yaml=SERIAL),
        ((sys.executable, "-c", CONSOLE.replace("PORT", "8080")),),
        ("ser2net", "socat"),
        may={NAGLE: HELD},
    ),
    Program(
        "websockify",
        "websockify before a console",
        command(
            "sh -c 'socat tcp-listen:7000,fork,reuseaddr SYSTEM:\"while sleep 0.05; do date; done\" & exec websockify 8080 127.0.0.1:7000'"
        ),
        ((sys.executable, "-c", SOCKETS), (sys.executable, "-c", SOCKETS)),
        ("websockify", "socat"),
    ),
    Program(
        "nrpe",
        "NRPE: checks, late and long",
        command("nrpe -n -f -c {folder}/n.cfg", 5666, n_cfg=CHECKS),
        (shell(CHECK),),
        ("nrpe",),
    ),
    Program(
        "siege",
        "siege at nginx, with and without keep-alive",
        nginx(),
        (
            shell(
                f"export HOME=$PWD; siege -q -c 8 -d 0.5 -t 5S {URL}/large >/dev/null 2>&1; printf 'connection = keep-alive\\n' > r; siege -q -R r -c 8 -t 3S {URL}/small >/dev/null 2>&1"
            ),
        ),
        ("siege", "nginx"),
        may=ALONE,
    ),
    Program(
        "dnsdist",
        "dnsdist: names over TCP, its statistics",
        command("dnsdist --supervised --disable-syslog -C {folder}/d.conf", 5300, d_conf=NAMES),
        (shell(LOOK_UP),),
        ("dnsdist", "dig"),
        may={**ALONE, "keep-alive-disabled": "it closes after each response, and says so"},
    ),
    Program(
        "dictd",
        "dictd and dict",
        command(
            "sh -c 'for n in $(seq 200); do echo :w$n:; seq $n; done | dictfmt -j lab; exec dictd -d nodetach -c {folder}/d.conf'",
            2628,
            d_conf=DICTIONARY,
        ),
        (shell(WORDS),),
        ("dictd", "dict"),
    ),
    Program(
        "gdbserver",
        "gdb steps through a program",
        command("sh -c 'gcc -g -O0 -o p p.c && exec gdbserver --multi 10.9.0.2:2345 ./p'", 2345, p_c=DEBUGGED),
        (shell(DEBUGGER),),
        ("gdbserver", "gdb", "gcc"),
    ),
    Program(
        "gophernicus",
        "Gophernicus behind socat",
        command("socat tcp-listen:7070,fork,reuseaddr exec:'gophernicus -r {folder}/site -h 10.9.0.2 -nv'", 7070),
        (
            shell(
                f"for n in $(seq 10); do curl -s gopher://{SERVER}:7070/ gopher://{SERVER}:7070/0/small.txt gopher://{SERVER}:7070/0/huge.txt -o /dev/null -o /dev/null -o /dev/null; sleep 0.3; done"
            ),
        ),
        ("gophernicus", "socat"),
    ),
    Program(
        "bird",
        "BIRD: BGP between two routers",
        command("bird -f -c {folder}/two.conf -s {folder}/2.ctl -P {folder}/2.pid", 179, one_conf=router(1), two_conf=router(2)),
        (shell(ROUTES),),
        ("bird", "birdc"),
    ),
    Program(
        "cvs",
        "CVS: pserver",
        command(CVS_SERVER, 2401),
        (shell(CVS.replace("{folder}", "$PWD")),),
        ("cvs", "socat"),
        may={NAGLE: HELD},
        seconds=25,
    ),
    Program(
        "unison", "Unison over a socket", command("unison -socket 5001", 5001), (shell(UNISON),), ("unison",), may={NAGLE: HELD}
    ),
    Program(
        "sinatra",
        "Sinatra on WEBrick; Faraday, Typhoeus, Excon, HTTParty, HTTPClient",
        command("ruby a.rb", a_rb=SINATRA),
        (("ruby", "-e", RUBY),),
        ("ruby",),
        may={**ALONE, NAGLE: HELD},
        seconds=30,
    ),
    Program(
        "evhttp",
        "libevent's server",
        command("sh -c 'gcc -o e {programs}/evhttp.c -levent && exec ./e 8080'"),
        (shell(C_USER), shell(C_USER)),
        ("gcc",),
        may={**ALONE, NAGLE: HELD},
    ),
    Program(
        "microhttpd",
        "GNU libmicrohttpd",
        command("sh -c 'gcc -o m {programs}/microhttpd.c -lmicrohttpd && exec ./m 8080'"),
        (shell(C_USER), shell(C_USER)),
        ("gcc",),
        may=ALONE,
    ),
    Program(
        "starlet",
        "Starlet, and AnyEvent::HTTP",
        command("plackup -s Starlet --port 8080 --max-workers 4 a.psgi", a_psgi=STARLET),
        (("perl", "-e", ANYEVENT), shell(C_USER)),
        ("plackup",),
        may={**ALONE, "keep-alive-disabled": "it closes after each response, and says so"},
    ),
    Program(
        "syslog-ng",
        "syslog-ng takes lines",
        command(
            "syslog-ng -F --no-caps -f {folder}/s.conf -R {folder}/s.persist -p {folder}/s.pid -c {folder}/s.ctl",
            5140,
            s_conf=LOGS,
        ),
        (shell(LOGGERS),),
        ("syslog-ng", "socat"),
    ),
    Program(
        "sipp",
        "SIPp calls over TCP",
        command("sipp -sn uas -t tn -i 10.9.0.2 -p 5060 -max_socket 100", 5060),
        (shell(CALLS),),
        ("sipp",),
        may={NAGLE: HELD},
    ),
    Program("darcs", "darcs clones from nginx", nginx(DARCS), (shell(DARCS_USER),), ("darcs", "nginx"), may=ALONE),
    Program(
        "rmi",
        "Java RMI",
        command("java -Xint {folder}/Call.java serve", 1099, Call_java=RMI),
        (shell("sleep 2; exec java Call.java use"),),
        ("java",),
        seconds=20,
    ),
    Program(
        "erlang-distribution",
        "two nodes of Erlang",
        command(
            'sh -c "export HOME={folder} ERL_EPMD_PORT=4399; epmd -daemon; exec '
            + ERLANG.format(name="s@10.9.0.2", eval="timer:sleep(900000)")
            + '"',
            9100,
        ),
        (shell(ERLANG_USER),),
        ("erl", "epmd"),
    ),
    Program(
        "drb",
        "Ruby's DRb, which calls back",
        command("ruby a.rb", 8787, a_rb=RUBY_ANSWERS),
        (("ruby", "-e", RUBY_CALLS),),
        ("ruby",),
    ),
    Program(
        "turn",
        "coturn relays media over TCP",
        command(TURN, 3478),
        (shell(f"timeout 8 turnutils_uclient -t -T -n 100 -m 2 -l 160 -e 10.9.0.2 -u a -w a {SERVER} >/dev/null"),),
        ("turnserver", "turnutils_uclient"),
        may={NAGLE: HELD},
    ),
    Program("tcl", "Tcl's http keeps connections", nginx(), (shell(f"echo '{TCL}' | tclsh"),), ("tclsh", "nginx")),
    Program(
        "r-packages",
        "R installs packages from a mirror",
        nginx(R_MIRROR),
        (
            shell(
                f'for n in 1 2 3; do mkdir l$n; Rscript -e \'r <- "{URL}"; available.packages(repos = r, method = "libcurl"); for (n in 1:3) download.packages(paste0("lab", 1:5), ".", repos = r, type = "source")\'; done'
            ),
        ),
        ("Rscript", "nginx"),
        may=ALONE,
    ),
)

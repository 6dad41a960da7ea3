"""Programs for programs.py: libraries, players and agents with remote calls, polls, pools and probes."""

# ruff: noqa: E501, for the command lines and files of these programs

from __future__ import annotations

import sys

from program import ALONE, HELD, HERE, KILLED, MODULES, NAGLE, PORT, SERVER, URL, Program, Serve, Words, command, shell
from service_programs import AUDIO


def library(name: str, port: int = PORT) -> Serve:
    """Return a server that uses a library of peers/programs/libraries.py."""
    return command(f"{{python}} {{programs}}/libraries.py serve {name} 0.0.0.0 {port}", port)


def library_user(name: str, port: int = PORT) -> Words:
    """Return the command of a client in peers/programs/libraries.py."""
    return (sys.executable, str(HERE / "libraries.py"), "use", name, SERVER, str(port))


JARS = ":".join(f"/usr/share/java/{name}.jar" for name in ("httpclient", "httpcore", "commons-logging", "commons-codec"))

HYDRA = (
    "require 'typhoeus'; 6.times { hydra = Typhoeus::Hydra.new(max_concurrency: 5); "
    f"%w[small late large rows small small small].each {{ |path| hydra.queue(Typhoeus::Request.new('{URL}/' + path, timeout: 8)) }}; hydra.run; sleep 1 }}"
)

LWP = (
    "use LWP::UserAgent; my $a = LWP::UserAgent->new(keep_alive => 3, timeout => 8); "
    f"for my $n (1..5) {{ for my $p (qw(small late large rows)) {{ $a->get('{URL}/' . $p); }} $a->post('{URL}/upload', Content => 'u' x 20000); sleep($n % 3 ? 1 : 3); }}"
)

HTTPARTY = f"require 'httparty'; 12.times {{ |n| %w[small late].each {{ |path| HTTParty.get('{URL}/' + path) }}; sleep 0.5 }}"

MPD = """music_directory "{folder}/music"
db_file "{folder}/db"
pid_file "{folder}/pid"
bind_to_address "0.0.0.0"
port "6600"
audio_output {
  type "httpd"
  name "lab"
  encoder "vorbis"
  port "8000"
  bitrate "128"
  format "44100:16:2"
}
"""

PLAYER = (
    "import socket, time; s = socket.create_connection(('10.9.0.2', 6600)); f = s.makefile('rw'); f.readline(); "
    "ask = lambda words: (f.write(words + chr(10)), f.flush(), [None for line in iter(f.readline, 'OK' + chr(10)) if line and not line.startswith('ACK')]); "
    "ask('update'); time.sleep(2); ask('add a.wav'); ask('repeat 1'); ask('play'); [(ask('status'), ask('currentsong'), time.sleep(0.1)) for _ in range(60)]"
)

COLLECTD = f"""Interval 0.5
BaseDir "."
PIDFile "pid"
LoadPlugin cpu
LoadPlugin memory
LoadPlugin load
LoadPlugin write_http
<Plugin write_http>
  <Node "lab">
    URL "{URL}/upload"
    Format "JSON"
    BufferSize 4096
  </Node>
</Plugin>
"""

TORRENT = (
    "import http.client, time, urllib.parse as u; c = http.client.HTTPConnection('10.9.0.2', 8080, timeout=8); "
    "ask = lambda m, p, b=None, h={}: (c.request(m, p, b, h), c.getresponse()); "
    "r = ask('POST', '/api/v2/auth/login', 'username=admin&password=adminadmin', {'Content-Type': 'application/x-www-form-urlencoded'})[1]; r.read(); "
    "cookie = (r.getheader('Set-Cookie') or '').split(';')[0]; "
    "[(lambda r: r.read())(ask('GET', '/api/v2/sync/maindata?rid=' + str(n), None, {'Cookie': cookie})[1]) or time.sleep(0.8) for n in range(12)]"
)

NETDATA = f"for n in $(seq 12); do curl -s {URL}/api/v1/info '{URL}/api/v1/data?chart=system.cpu&after=-5' {URL}/api/v1/allmetrics -o /dev/null -o /dev/null -o /dev/null; sleep 0.5; done"

PUBLISH = (
    "exec ffmpeg -v error -re -f lavfi -i testsrc=s=320x180:r=15 -t 12 -c:v mpeg4 -b:v 300k -g 15 -f hls -hls_time 1 -hls_list_size 3 "
    f"-hls_flags delete_segments -method PUT -http_persistent 0 {URL}/live/h.m3u8"
)

HOOKS = (
    f"for ($i = 0; $i < 20; $i++) {{ $s = fsockopen('{SERVER}', {PORT}); $b = json_encode(['i' => $i]); "
    'fwrite($s, \'POST /hook HTTP/1.1\'."\\r\\nHost: lab\\r\\nContent-Length: ".strlen($b)."\\r\\n\\r\\n".$b); fclose($s); usleep(300000); }'
)

LATE = (
    "require('http').createServer((asked, answer) => setTimeout(() => answer.end('ok'), 30 + 270 * Math.random())).listen(8080)"
)

HEDGE = (
    "const ask = (stop) => fetch('" + URL + "/late', { signal: stop.signal }).then((answer) => answer.text()); "
    "const wait = (ms) => new Promise((done) => setTimeout(done, ms)); "
    "(async () => { for (let n = 0; n < 20; n++) { const stops = [new AbortController(), new AbortController()]; "
    "const first = ask(stops[0]), second = wait(40).then(() => ask(stops[1])); "
    "await Promise.race([first.then(() => stops[1].abort()), second.then(() => stops[0].abort())]); "
    "await Promise.allSettled([first, second]); await wait(150); } process.exit(); })()"
)

TAKER = """daemon off; pid {folder}/n.pid; error_log {folder}/errors; worker_processes 1; user root;
events { worker_connections 256; }
http { access_log off; client_body_temp_path {folder}/b;
  server { listen 8080; root {folder}; location /live/ { dav_methods PUT DELETE; create_full_put_path on; } location /hook { return 204; } } }
"""

LIBRARIES = (
    Program(
        "cheroot",
        "Cheroot, which closes after 2 s; HttpClient of Apache, httplib2",
        library("cheroot"),
        (("java", "-cp", JARS, str(HERE / "PooledClient.java"), URL), library_user("httplib2")),
        ("cheroot", "httplib2", "java"),
        may={"keep-alive-race": "httplib2 does not look before it writes, and asks again"},
        must=KILLED,
        seconds=25,
    ),
    Program(
        "quart",
        "Hypercorn as Quart runs it; aiosonic",
        library("hypercorn"),
        (library_user("aiosonic"),),
        ("hypercorn", "aiosonic"),
        must=KILLED,
        seconds=30,
    ),
    Program(
        "sanic",
        "Sanic; Typhoeus, which asks for five pages at once, and Scrapy",
        library("sanic"),
        (("ruby", "-e", HYDRA), library_user("scrapy")),
        ("sanic", "scrapy", "ruby"),
        must=KILLED,
        seconds=25,
        may=ALONE,
    ),
    Program(
        "lwp",
        "Perl's LWP and HTTParty at Cheroot",
        library("cheroot"),
        (("perl", "-e", LWP), ("ruby", "-e", HTTPARTY)),
        ("cheroot", "perl", "ruby"),
        must=KILLED,
        may=ALONE,
        seconds=25,
    ),
    Program(
        "httpie",
        "HTTPie and BusyBox's wget at http-server",
        command(f"node {{modules}}/node_modules/http-server/bin/http-server site -p {PORT} -s"),
        (
            shell(
                f"for n in 1 2 3 4; do http --ignore-stdin -d GET {URL}/huge -o h; http --ignore-stdin {URL}/small.txt; busybox wget -q -O w {URL}/large; sleep 0.5; done"
            ),
        ),
        ("/http-server", "http", "busybox"),
        may=ALONE | {"zero-window-stall": "HTTPie reads as fast as it can write, which is slow"},
    ),
    Program(
        "loadtest",
        "loadtest, at a rate and as fast as it goes, at http-server",
        command(f"node {{modules}}/node_modules/http-server/bin/http-server site -p {PORT} -s"),
        (
            shell(
                f"node {MODULES}/node_modules/loadtest/bin/loadtest.js -t 3 -c 4 --rps 40 -k {URL}/small.txt; node {MODULES}/node_modules/loadtest/bin/loadtest.js -n 400 -c 8 {URL}/small.txt"
            ),
        ),
        ("/http-server", "/loadtest"),
        may=ALONE,
    ),
)

CALLS = (
    Program(
        "publisher",
        "ffmpeg publishes HLS at nginx, and closes with the end of each upload",
        command("nginx -c {folder}/n.conf", n_conf=TAKER),
        (shell(PUBLISH),),
        ("nginx", "ffmpeg"),
        seconds=15,
    ),
    Program(
        "hedge",
        "Node's fetch sends each request twice, 40 ms apart, and cancels one when the other is answered",
        command("node {folder}/late.js", late_js=LATE),
        (("node", "-e", HEDGE),),
        ("node",),
        seconds=10,
    ),
    Program(
        "hooks",
        "PHP calls a webhook of nginx, and does not wait for the response",
        command("nginx -c {folder}/n.conf", n_conf=TAKER),
        (("php", "-r", HOOKS),),
        ("nginx", "php"),
        may=ALONE | {"no-response": "a client that closes with its request looks half-closed"},
        seconds=10,
    ),
    Program(
        "modbus",
        "Modbus: registers polled every 40 and 100 ms",
        library("modbus", 5020),
        (library_user("modbus", 5020),),
        ("pymodbus",),
    ),
    Program("rpyc", "RPyC: calls that call back", library("rpyc", 18812), (library_user("rpyc", 18812),), ("rpyc",)),
    Program(
        "pyro",
        "Pyro: calls in a loop of 80 ms, a remote iterator",
        library("pyro", 9099),
        (library_user("pyro", 9099),),
        ("Pyro5",),
    ),
    Program(
        "dask",
        "Dask: tasks, scattered data, heartbeats",
        library("dask", 8786),
        (library_user("dask", 8786),),
        ("distributed",),
        seconds=25,
    ),
    Program(
        "aedes",
        "MQTT: Aedes and MQTT.js, QoS 0 every 30 ms and QoS 2 every 90 ms",
        command("node {programs}/broker.mjs serve 0.0.0.0 1883 {modules}", 1883),
        (("node", str(HERE / "broker.mjs"), "use", SERVER, "1883", MODULES),),
        ("/aedes", "/mqtt"),
        may={NAGLE: HELD},
    ),
    Program(
        "mpd",
        "MPD: music over HTTP, and a panel that asks for its state",
        command(
            "sh -c 'mkdir music; ffmpeg -v error -f lavfi -i sine=frequency=400:duration=20 music/a.wav; exec mpd --no-daemon --stderr {folder}/m.conf'",
            6600,
            m_conf=MPD,
        ),
        (("python3", "-c", PLAYER), shell("sleep 3.5; exec curl -s -m 7 -o /dev/null http://10.9.0.2:8000/")),
        ("mpd", "ffmpeg"),
        may={"client-abort": "curl -m ends the music"},
        seconds=14,
    ),
    Program(
        "snapcast-four",
        "Audio to four players, a chunk every 20 ms to each at once",
        command(AUDIO, 1704),
        tuple(("snapclient", "-h", SERVER, "--player", "file:filename=/dev/null", "-i", str(n)) for n in range(1, 5)),
        ("snapserver", "snapclient"),
        seconds=10,
        snap=300,
    ),
    Program(
        "netdata",
        "Netdata's API, polled",
        command(f"netdata -D -i 0.0.0.0 -p {PORT}"),
        (shell(NETDATA),),
        ("netdata",),
        may=ALONE | {"keep-alive-disabled": "Netdata closes after each response, and says so"},
    ),
    Program(
        "collectd",
        "collectd pushes JSON to Cheroot twice a second",
        library("cheroot"),
        (shell(f"printf '%s' '{COLLECTD}' > c.conf; exec collectd -f -C c.conf"),),
        ("collectd", "cheroot"),
        must=KILLED,
        seconds=10,
    ),
    Program(
        "qbittorrent",
        "The page of qBittorrent asks for what changed",
        command(
            f"sh -c 'mkdir -p c/qBittorrent/config; printf \"[LegalNotice]\\nAccepted=true\\n[Preferences]\\nWebUI\\\\\\\\Port={PORT}\\n\" > c/qBittorrent/config/qBittorrent.conf; exec qbittorrent-nox --profile=c --webui-port={PORT}'"
        ),
        (("python3", "-c", TORRENT),),
        ("qbittorrent-nox",),
    ),
)

SLOW = (
    Program(
        "slow-heads",
        "slowhttptest: heads that never end, at lighttpd",
        command(
            "lighttpd -D -f l.conf",
            l_conf=f'server.port = {PORT}\nserver.document-root = "{{folder}}/site"\nserver.max-read-idle = 4\n',
        ),
        (shell(f"slowhttptest -H -c 8 -r 4 -i 2 -l 10 -u {URL}/small; curl -s {URL}/small -o /dev/null"),),
        ("lighttpd", "slowhttptest"),
    ),
    Program(
        "slow-bodies",
        "slowhttptest: bodies that never end, at nginx",
        command(
            "nginx -c {folder}/n.conf",
            n_conf="daemon off; pid {folder}/n.pid; error_log {folder}/errors; worker_processes 1;\nevents { worker_connections 256; }\nhttp { access_log off; client_body_timeout 4; client_body_temp_path {folder}/b; server { listen 8080; root {folder}/site; location /up { client_max_body_size 9m; proxy_pass http://127.0.0.1:1; } } }\n",
        ),
        (shell(f"slowhttptest -B -c 6 -r 6 -i 6 -l 12 -s 9000 -u {URL}/up; curl -s {URL}/small -o /dev/null"),),
        ("nginx", "slowhttptest"),
        may={"gateway-error": "nothing listens behind nginx"},
        must={"healthy": ("no-response",)},
    ),
    Program(
        "slow-readers",
        "slowhttptest: readers that take 5 bytes at a time, at lighttpd",
        command(
            "lighttpd -D -f l.conf",
            l_conf=f'server.port = {PORT}\nserver.document-root = "{{folder}}/site"\nserver.max-write-idle = 5\n',
        ),
        (shell(f"slowhttptest -X -c 6 -r 6 -w 512 -y 1024 -n 1 -z 5 -k 1 -l 10 -u {URL}/huge"),),
        ("lighttpd", "slowhttptest"),
        may={"client-abort": "the attack ends with RST"},
        must={"healthy": ("zero-window-stall",)},
    ),
)

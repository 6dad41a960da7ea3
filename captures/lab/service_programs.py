"""Programs for programs.py that are services: brokers, databases, monitoring, media, and their clients."""

# ruff: noqa: E501, for the command lines and files of these programs

from __future__ import annotations

import sys

from program import (
    ALONE,
    BROKEN,
    H2O,
    HELD,
    HERE,
    KILLED,
    NAGLE,
    PORT,
    SERVER,
    URL,
    Program,
    Words,
    command,
    http_client,
    shell,
    text_of,
    user,
)

CAMERA = (
    "gst-launch-1.0 -q videotestsrc is-live=true ! video/x-raw,width=64,height=32,framerate=25/1 ! jpegenc ! multipartmux "
    "! tcpserversink host=0.0.0.0 port=5000"
)

AUDIO = (
    "sh -c 'mkfifo fifo; (while :; do head -c 19200 /dev/zero; sleep 0.1; done > fifo) & "
    'exec snapserver --server.datadir={folder} --stream.source "pipe://{folder}/fifo?name=lab&codec=pcm&chunk_ms=20"\''
)

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

VSFTPD = """listen=YES
background=NO
anonymous_enable=YES
anon_root={folder}/site
no_anon_password=YES
seccomp_sandbox=NO
secure_chroot_dir=/var/empty
allow_writeable_chroot=YES
"""

MONIT = """set daemon 1
set httpd port 2812
  allow 0.0.0.0/0
set pidfile {folder}/pid
set idfile {folder}/id
set statefile {folder}/state
"""

MUNIN = """host 0.0.0.0
port 4949
allow .*
background 0
setsid 0
pid_file {folder}/pid
log_file {folder}/log
"""

FTP = (
    f"mkdir -p got; for n in 1 2 3 4; do lftp -e 'set net:max-retries 1; ls; get -O got huge.txt; cls empty; bye' {SERVER}; "
    f"curl -s ftp://{SERVER}/none; curl -s ftp://{SERVER}/small.txt -o got/small; rm -f got/*; sleep 0.5; done"
)

KEYS = (
    f'for n in 1 2 3 4 5 6; do curl -s {URL}/v3/kv/put -d \'{{"key": "YQ==", "value": "YWI="}}\'; '
    f'curl -s {URL}/v3/kv/range -d \'{{"key": "YQ=="}}\'; curl -s {URL}/health {URL}/metrics -o /dev/null; sleep 0.7; done'
)

WATCH = f'exec curl -sN -m 6 {URL}/v3/watch -d \'{{"create_request": {{"key": "YQ=="}}}}\''

COMPILE = (
    "for n in 1 2 3 4 5 6 7 8; do (echo '#include <stdio.h>'; seq -f 'int f%.0f(int x) { return x; }' 2000) > f$n.c; "
    f"DISTCC_HOSTS={SERVER}:3632 DISTCC_FALLBACK=0 DISTCC_DIR=. distcc gcc -c f$n.c; sleep 0.4; done"
)

NODE_AGENT = (
    "import socket, sys, time; s = socket.create_connection(('10.9.0.2', 4949)); f = s.makefile('rw'); f.readline(); "
    "ask = lambda words: (f.write(words + '\\n'), f.flush()); ask('list'); names = f.readline().split()[:4]; "
    "[(ask('fetch ' + name), [None for line in iter(f.readline, '.\\n') if line], time.sleep(0.5)) for _ in range(3) for name in names]"
)


def poller(way: str, port: int) -> Words:
    """Return the command for a way of peers/programs/long_polls.py."""
    return (sys.executable, str(HERE / "long_polls.py"), way, SERVER, str(port))


SERVICES = (
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
    Program(
        "moto",
        "moto (S3) and boto3",
        command(f"moto_server -H 0.0.0.0 -p {PORT}"),
        (http_client("s3"),),
        ("moto_server", "boto3"),
        must=KILLED,
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
        must=KILLED,
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
        may=ALONE | {"client-abort": "a scrape has a time-out of 1 s"},
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
        may={NAGLE: HELD},
    ),
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
    Program(
        "vsftpd",
        "FTP: lists, also of an empty folder, and files",
        command("sh -c 'mkdir -p site/empty && chmod 755 site && exec vsftpd v.conf'", 21, v_conf=VSFTPD),
        (shell(FTP),),
        ("vsftpd", "lftp"),
    ),
    Program(
        "monit",
        "Monit's status pages",
        command("sh -c 'chmod 600 m.conf && exec monit -I -c m.conf'", 2812, m_conf=MONIT),
        (
            shell(
                f"for n in 1 2 3 4 5 6 7; do curl -s http://{SERVER}:2812/_status http://{SERVER}:2812/ -o /dev/null -o /dev/null; sleep 0.7; done"
            ),
        ),
        ("monit",),
        may=ALONE,
    ),
    Program(
        "munin",
        "Munin asks its node, line by line",
        command("munin-node --config {folder}/n.conf", 4949, n_conf=MUNIN),
        (("python3", "-c", NODE_AGENT),),
        ("munin-node",),
        seconds=12,
        may={NAGLE: "it writes line by line, and leaves Nagle's algorithm on"},
    ),
    Program(
        "distcc",
        "distcc compiles on another host",
        command("distccd --no-detach --daemon --allow 0.0.0.0/0 --user distccd -p 3632 --log-stderr", 3632),
        (shell(COMPILE),),
        ("distccd", "distcc", "gcc"),
    ),
    Program(
        "etcd",
        "etcd over its JSON gateway: keys written and read, one watched",
        command(
            f"etcd --data-dir e --listen-client-urls http://0.0.0.0:{PORT} --advertise-client-urls {URL} --listen-peer-urls http://127.0.0.1:2390"
        ),
        (shell(KEYS), shell(WATCH)),
        ("etcd",),
        may=ALONE | {"client-abort": "curl -m ends the watch"},
    ),
)

PROSODY = """daemonize = false
pidfile = "{folder}/p.pid"
data_path = "{folder}"
modules_enabled = { "bosh", "saslauth", "ping", "disco" }
modules_disabled = { "s2s" }
http_ports = { 5280 }
http_interfaces = { "0.0.0.0" }
consider_bosh_secure = true
c2s_require_encryption = false
VirtualHost "localhost"
  authentication = "anonymous"
"""
NCHAN = """load_module modules/ngx_nchan_module.so;
daemon off; pid {folder}/n.pid; error_log {folder}/errors; worker_processes 1;
events { worker_connections 256; }
http { access_log off; keepalive_timeout 4; client_body_temp_path {folder}/b;
  server { listen 8080;
    location /publish { nchan_publisher; nchan_channel_id lab; }
    location /news { nchan_subscriber; nchan_channel_id lab; nchan_subscriber_timeout 6; } } }
"""
RADICALE = "[server]\nhosts = 0.0.0.0:5232\n[auth]\ntype = none\n[storage]\nfilesystem_folder = {folder}/collections\n"
CALENDARS = """[general]
status_path = "status"
[pair lab]
a = "here"
b = "there"
collections = ["from b"]
[storage here]
type = "filesystem"
path = "calendars"
fileext = ".ics"
[storage there]
type = "caldav"
url = "http://10.9.0.2:5232/"
username = "lab"
password = "lab"
"""
EVENT = "BEGIN:VCALENDAR\\r\\nVERSION:2.0\\r\\nPRODID:lab\\r\\nBEGIN:VEVENT\\r\\nUID:e%s\\r\\nDTSTAMP:20260101T000000Z\\r\\nDTSTART:20260101T000000Z\\r\\nEND:VEVENT\\r\\nEND:VCALENDAR\\r\\n"
CALENDAR = (
    f"export VDIRSYNCER_CONFIG=v.conf; curl -s -u lab:lab -X MKCALENDAR http://{SERVER}:5232/lab/one/; yes | vdirsyncer discover; "
    f"for n in 1 2 3; do for m in 1 2 3 4; do printf '{EVENT}' $n$m > calendars/one/e$n$m.ics; done; vdirsyncer sync; sleep 1; done"
)

PUSHES = (
    Program(
        "prosody",
        "Prosody: XMPP over HTTP, a poll always open",
        command("prosody --config p.cfg.lua", 5280, p_cfg_lua=PROSODY),
        (poller("bosh", 5280),),
        ("prosody",),
        must=KILLED,
    ),
    Program(
        "nchan",
        "Nchan in nginx: news as an event stream, and as parts without an end",
        command("nginx -c {folder}/n.conf", n_conf=NCHAN),
        (
            shell(f"for n in $(seq 18); do curl -s -d news {URL}/publish -o /dev/null; sleep 0.5; done"),
            shell(f"exec curl -sN -m 8 -H 'Accept: text/event-stream' {URL}/news"),
            shell(f"exec curl -sN -m 8 -H 'Accept: multipart/mixed' {URL}/news"),
        ),
        ("nginx",),
        may=ALONE | {"unchunked-streaming": "its parts have neither a length nor chunks"},
        must=KILLED,
    ),
    Program(
        "shellinabox",
        "Shell In A Box: a terminal by long polls",
        command("shellinaboxd -t -p 4200 -s /:0:0:/:/bin/sh --no-beep --disable-peer-check", 4200),
        (poller("shell", 4200),),
        ("shellinaboxd",),
        must=KILLED,
        seconds=14,
    ),
    Program(
        "syncthing",
        "Syncthing's page: a poll for events, and its state now and then",
        command(
            "sh -c 'STGUIAPIKEY=lab exec syncthing -no-browser -no-restart -no-default-folder -gui-address=0.0.0.0:8384 -home={folder}/st'",
            8384,
        ),
        (poller("events", 8384),),
        ("syncthing",),
        must=KILLED,
        seconds=14,
    ),
    Program(
        "radicale",
        "Radicale and vdirsyncer: a calendar",
        command("radicale -C r.conf", 5232, r_conf=RADICALE, v_conf=CALENDARS),
        (shell(CALENDAR),),
        ("radicale", "vdirsyncer"),
        may=ALONE,
        seconds=25,
    ),
)

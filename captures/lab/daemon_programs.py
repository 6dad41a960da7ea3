"""Programs for programs.py: daemons of a distribution and their clients (radio, alerts, cache, video in pieces, repository)."""

from __future__ import annotations

from program import ALONE, PORT, URL, Program, command, shell

ICECAST = """<icecast>
<limits><clients>20</clients><sources>3</sources><burst-size>65535</burst-size></limits>
<authentication><source-password>a</source-password><admin-user>a</admin-user><admin-password>a</admin-password></authentication>
<hostname>10.9.0.2</hostname><listen-socket><port>8080</port></listen-socket>
<paths><basedir>/usr/share/icecast2</basedir><logdir>{folder}</logdir>
<webroot>/usr/share/icecast2/web</webroot><adminroot>/usr/share/icecast2/admin</adminroot></paths>
<logging><accesslog>accesses</accesslog><errorlog>errors</errorlog></logging>
<security><chroot>0</chroot><changeowner><user>nobody</user><group>nogroup</group></changeowner></security>
</icecast>
"""

EZSTREAM = """<ezstream>
<servers><server><protocol>HTTP</protocol><hostname>10.9.0.2</hostname><port>8080</port><password>a</password></server></servers>
<streams><stream><mountpoint>/live.ogg</mountpoint><format>Ogg</format><intake>i</intake></stream></streams>
<intakes><intake><name>i</name><type>file</type><filename>{folder}/a.ogg</filename></intake></intakes>
</ezstream>
"""

ALERTS = """route: {receiver: w, group_wait: 1s, group_interval: 2s, repeat_interval: 5s, group_by: [alertname]}
receivers: [{name: w, webhook_configs: [{url: 'http://10.9.0.1:9000/hook'}]}]
"""

RECEIVER = """from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

ThreadingHTTPServer(("", 9000), Receiver).serve_forever()
"""

ALERT = (
    "for n in $(seq 10); do "
    """curl -s -H 'Content-Type: application/json' -d '[{"labels":{"alertname":"a'$((n%4))'","i":"'$n'"}}]' """
    f"{URL}/api/v2/alerts; curl -s {URL}/api/v2/alerts {URL}/metrics {URL}/-/healthy -o /dev/null; sleep 1; done"
)

WEBDIS = """{"redis_host": "127.0.0.1", "redis_port": 6399, "http_host": "0.0.0.0", "http_port": 8080, "threads": 2,
"pool_size": 4, "daemonize": false, "websockets": true, "database": 0, "verbosity": 0, "logfile": "/dev/null"}
"""

KEYS = (
    f"for n in $(seq 20); do curl -s {URL}/SET/k$n/$n {URL}/GET/k$n {URL}/LPUSH/l/$n -o /dev/null; sleep 0.2; done; "
    f"head -c 500000 /dev/urandom | curl -s -T - {URL}/SET/big; curl -s {URL}/GET/big.bin -o /dev/null"
)

VIDEO = (
    "ffmpeg -v error -f lavfi -i testsrc=s=320x240:r=10 -t 20 -c:v mpeg2video -f hls -hls_time 2 -hls_list_size 0 site/s.m3u8; "
    f"exec webfsd -F -p {PORT} -r site"
)

REPOSITORY = (
    "git init -q m; cd m; git config user.email a@example.com; git config user.name a; "
    "for n in $(seq 20); do head -c 9000 /dev/urandom | base64 > f$n; git add .; git commit -qm $n; done; "
    "cd ..; exec lighttpd -D -f l.conf"
)

LIGHTTPD = """server.port = 8080
server.document-root = "{folder}/site"
server.modules = ("mod_cgi", "mod_setenv", "mod_alias")
cgi.assign = (".cgi" => "")
alias.url = ("/gitweb" => "/usr/share/gitweb/gitweb.cgi")
setenv.add-environment = ("GITWEB_CONFIG" => "{folder}/gitweb.conf")
"""

GITWEB = """$projectroot = "{folder}";
$feature{'snapshot'}{'default'} = ['tgz'];
"""

PAGES = "".join(f" '{URL}/gitweb?p=m/.git;a={action}' -o /dev/null" for action in ("summary", "tree", "snapshot;h=HEAD;sf=tgz"))

DAEMONS = (
    Program(
        "icecast",
        "ezstream (libshout) feeds Icecast with OPTIONS * first, and listeners come and go",
        command(
            "sh -c 'ffmpeg -v error -f lavfi -i sine=frequency=300 -t 30 -c:a libvorbis a.ogg; "
            "chmod 777 .; exec icecast2 -c i.xml'",
            i_xml=ICECAST,
            e_xml=EZSTREAM,
        ),
        (
            shell("exec ezstream -c e.xml"),
            shell(f"sleep 2; timeout 6 curl -s {URL}/live.ogg -o /dev/null"),
            shell(f"sleep 3; timeout 6 ffmpeg -v error -i {URL}/live.ogg -f null -"),
            shell(f"sleep 1; for n in 1 2 3 4; do curl -s {URL}/status-json.xsl -o /dev/null; sleep 1; done"),
        ),
        ("icecast2", "ezstream", "ffmpeg"),
        seconds=14,
    ),
    Program(
        "alertmanager",
        "Alertmanager takes alerts and calls a webhook",
        command(
            "prometheus-alertmanager --config.file=a.yml --storage.path={folder}/am --cluster.listen-address= "
            f"--web.listen-address=:{PORT}",
            a_yml=ALERTS,
            r_py=RECEIVER,
        ),
        (shell("timeout 16 python3 r.py"), shell(f"sleep 1; {ALERT}")),
        ("prometheus-alertmanager",),
        may={"connect-failed": "its webhook's receiver ends before it does"},
    ),
    Program(
        "webdis",
        "curl asks Redis through Webdis, subscribers too",
        command("sh -c 'redis-server --port 6399 --save \"\" > /dev/null & exec webdis w.json'", w_json=WEBDIS),
        (
            shell(KEYS),
            shell(f"timeout 8 curl -sN {URL}/SUBSCRIBE/c"),
            shell(f"for n in $(seq 12); do sleep 0.5; curl -s {URL}/PUBLISH/c/m$n; done"),
        ),
        ("webdis", "redis-server"),
        may=ALONE,
        seconds=12,
    ),
    Program(
        "streamlink",
        "streamlink and ffmpeg read a video in pieces from webfs",
        command(f"sh -c '{VIDEO}'"),
        (
            shell(f"exec streamlink -Q -O hls://{URL}/s.m3u8 best > s.ts"),
            shell(f"exec ffmpeg -v error -re -i {URL}/s.m3u8 -c copy -f null -"),
        ),
        ("webfsd", "streamlink", "ffmpeg"),
    ),
    Program(
        "gitweb",
        "curl reads pages and archives that gitweb makes in lighttpd",
        command(f"sh -c '{REPOSITORY}'", l_conf=LIGHTTPD, gitweb_conf=GITWEB),
        (shell(f"for n in 1 2 3; do curl -s{PAGES}; sleep 0.6; done"),),
        ("lighttpd", "git"),
        seconds=14,
    ),
)

"""Programs for programs.py that run on machines of a network: directories, mail, queues, proxies, dashboards, tests."""

# ruff: noqa: E501, for the command lines and files of these programs

from __future__ import annotations

import sys
from typing import Any

from program import (
    ALONE,
    HELD,
    KILLED,
    MODULES,
    NAGLE,
    URL,
    Program,
    Words,
    command,
    http_client,
    python,
    shell,
)
from scenario import PEERS

HERE = PEERS / "languages"
SESSIONS = f"{sys.executable} {HERE}/sessions.py"


def session(way: str) -> Words:
    """Return the command for a way of peers/languages/sessions.py."""
    return (sys.executable, str(HERE / "sessions.py"), way)


def web_framework(name: str, title: str, **more: Any) -> Program:
    """Return a web framework of peers/languages/sessions.py with three clients: two in Python, one in Lua."""
    use = (http_client("httpx"), http_client("httpx"), shell(f"lua5.3 {HERE}/client.lua"))
    return Program(name, title, command(f"{SESSIONS} web {name}"), use, (name,), must=KILLED, seconds=25, **more)


RSS = (
    '<?xml version="1.0"?><rss version="2.0"><channel><title>lab</title><link>http://lab/</link><description>lab</description>'
    + "".join(f"<item><title>item {n}</title><link>http://lab/{n}</link><guid>{n}</guid></item>" for n in range(40))
    + "</channel></rss>"
)

CADAVER = (
    "printf 'machine 10.9.0.2 login lab password lab\\n' > .netrc; head -c 300000 /dev/urandom > big; echo hi > small; "
    f"printf 'ls\\nmkcol docs\\ncd docs\\nput small\\nput big\\nls\\nget big got\\npropget small\\nmove small other\\ndelete other\\nls\\nquit\\n' | HOME=$PWD cadaver {URL}/"
)

APACHE_DAV = """ServerRoot {folder}
ServerName lab
PidFile {folder}/pid
Mutex file:{folder}
Listen 8080
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dav_module /usr/lib/apache2/modules/mod_dav.so
LoadModule dav_fs_module /usr/lib/apache2/modules/mod_dav_fs.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
ErrorLog {folder}/error.log
DavLockDB {folder}/locks
DocumentRoot {folder}/dav
<Directory {folder}/dav>
  DAV On
</Directory>
"""

SLAPD = """include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_monitor
pidfile {folder}/slapd.pid
database monitor
access to * by * read
"""

LDAPSEARCH = "for n in $(seq 15); do ldapsearch -x -LLL -H ldap://10.9.0.2:3890 -b cn=monitor '(objectClass=*)' '*' '+' >/dev/null; sleep 0.3; done"

DOVECOT = """base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/dovecot.log
ssl = no
disable_plaintext_auth = no
protocols = imap
listen = *
mail_location = maildir:{folder}/mail
default_internal_user = nobody
default_login_user = nobody
default_internal_group = nogroup
first_valid_uid = 0
mail_uid = root
mail_gid = root
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = static
  args = uid=65534 gid=65534 home={folder}/mail
}
service imap-login {
  chroot =
  inet_listener imap {
    port = 1430
  }
}
service anvil {
  chroot =
}
"""

ZONE = "$TTL 60\n@ SOA lab. lab. 1 60 60 60 60\n@ NS lab.\n@ A 10.9.0.2\n" + "".join(
    f'host{n} A 10.1.{n // 250}.{n % 250 + 1}\nhost{n} TXT "{"t" * 80}"\n' for n in range(3000)
)

NAMED = """options { directory "{folder}"; listen-on port 5300 { any; }; listen-on-v6 { none; }; recursion no; pid-file "{folder}/pid"; session-keyfile "{folder}/key"; allow-transfer { any; }; };
controls { };
zone "lab" { type primary; file "{folder}/lab.zone"; };
"""

DIG = (
    "for n in 1 2 3; do dig @10.9.0.2 -p 5300 lab AXFR >/dev/null; dig @10.9.0.2 -p 5300 +tcp +keepopen host1.lab host2.lab host3.lab TXT host4.lab TXT >/dev/null; "
    "for k in $(seq 10); do dig @10.9.0.2 -p 5300 +tcp host$k.lab TXT >/dev/null; done; sleep 1; done; "
    "seq 500 | sed 's/.*/host& .lab A/; s/ //' > q; head -400 q | sed 's/^/ /' > /dev/null; timeout 6 dig @10.9.0.2 -p 5300 +tcp +keepopen -f q >/dev/null"
)

SMB = """[global]
  smb ports = 4450
  server role = standalone
  map to guest = bad user
  guest account = root
  lock directory = {folder}
  state directory = {folder}
  cache directory = {folder}
  pid directory = {folder}
  private dir = {folder}
  ncalrpc dir = {folder}/rpc
  log file = {folder}/log
  disable netbios = yes
[lab]
  path = {folder}/share
  read only = no
  guest ok = yes
  force user = root
"""

SMBCLIENT = (
    "head -c 8000000 /dev/urandom > big; echo hi > small; for n in 1 2 3; do printf 'ls\\nput big\\nput small\\nget big got\\nls\\nallinfo big\\ndel small\\n' | "
    "smbclient -N -p 4450 //10.9.0.2/lab >/dev/null; sleep 1; done"
)

ZOO = "tickTime=2000\ndataDir={folder}/zoo\nclientPort=2181\nadmin.enableServer=false\n4lw.commands.whitelist=*\n"

THRIFT = "service Lab { string echo(1: string text), string late() }\n"

NODE_RED = (
    "[{'id':'t','type':'tab','label':'lab'},{'id':'a','type':'http in','z':'t','url':'/small','method':'get','wires':[['b']]},"
    "{'id':'b','type':'function','z':'t','func':\"msg.payload='small'; return msg;\",'outputs':1,'wires':[['c']]},{'id':'c','type':'http response','z':'t','wires':[]},"
    "{'id':'d','type':'http in','z':'t','url':'/upload','method':'post','wires':[['b']]},"
    "{'id':'e','type':'http in','z':'t','url':'/late','method':'get','wires':[['f']]},{'id':'f','type':'delay','z':'t','pauseType':'delay','timeout':'300','timeoutUnits':'milliseconds','wires':[['b']]}]"
)

RED_USER = f"for n in 1 2 3 4; do curl -s {URL}/ {URL}/settings {URL}/flows {URL}/red/main.min.js {URL}/vendor/vendor.js {URL}/nodes {URL}/icons -o /dev/null -o /dev/null -o /dev/null -o /dev/null -o /dev/null -o /dev/null -o /dev/null; sleep 0.7; done"

RED_COMMS = (
    "const { WebSocket } = require('{modules}/node_modules/ws'); const to = new WebSocket('ws://10.9.0.2:8080/comms'); "
    "to.on('open', () => to.send(JSON.stringify({ subscribe: 'notification/#' }))); setTimeout(() => process.exit(), 16000);"
).replace("{modules}", MODULES)

RESTIFY = (
    "const restify = require('{modules}/node_modules/restify'); const s = restify.createServer(); s.use(restify.plugins.gzipResponse()); s.use(restify.plugins.bodyParser()); "
    "s.get('/small', (q, r, n) => { r.send({ a: 1 }); n(); }); s.get('/late', (q, r, n) => setTimeout(() => { r.send('late'); n(); }, 300)); "
    "s.get('/large', (q, r, n) => { r.send('x'.repeat(300000)); n(); }); s.get('/none', (q, r, n) => { r.send(204); n(); }); s.post('/upload', (q, r, n) => { r.send(201); n(); }); s.listen(8080);"
)

ASK = (
    "const wait = (ms) => new Promise((done) => setTimeout(done, ms)); const url = '{url}'; "
    "const needle = require('{modules}/node_modules/needle'), superagent = require('{modules}/node_modules/superagent'), phin = require('{modules}/node_modules/phin'), follow = require('{modules}/node_modules/follow-redirects').http; "
    "const got = (path) => new Promise((done) => follow.get(url + path, (r) => { r.resume(); r.on('end', done); }).on('error', done)); "
    "(async () => { for (let n = 0; n < 8; n++) { for (const path of ['/small', '/late', '/large']) { await needle('get', url + path).catch(() => 0); await superagent.get(url + path).catch(() => 0); await phin(url + path).catch(() => 0); await got(path); } "
    "await superagent.post(url + '/upload').send({ text: 'u'.repeat(20000) }).catch(() => 0); await wait(n === 4 ? 5600 : 300); } process.exit(); })()"
)

KAMAILIO = """listen=tcp:10.9.0.2:5060
children=2
tcp_children=2
disable_tcp=no
loadmodule "sl.so"
loadmodule "textops.so"
loadmodule "pv.so"
loadmodule "tm.so"
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
request_route { sl_send_reply("200", "OK"); }
"""

SIP = (
    "import socket, time; s = socket.create_connection(('10.9.0.2', 5060)); s.settimeout(8); "
    "m = lambda n: ('OPTIONS sip:lab@10.9.0.2 SIP/2.0\\r\\nVia: SIP/2.0/TCP 10.9.0.1:5060;branch=z9hG4bK%d\\r\\nFrom: <sip:a@lab>;tag=1\\r\\nTo: <sip:lab@10.9.0.2>\\r\\nCall-ID: %d\\r\\nCSeq: %d OPTIONS\\r\\nMax-Forwards: 70\\r\\nContent-Length: 0\\r\\n\\r\\n' % (n, n, n)).encode(); "
    "[(s.sendall(m(n)), s.recv(4096), time.sleep(0.1), n % 20 or s.sendall(b'\\r\\n\\r\\n')) for n in range(1, 60)]"
)

NETWORK = (
    Program(
        "cadaver",
        "cadaver at Apache's WebDAV",
        command("sh -c 'mkdir -p dav; chmod 777 . dav; exec apache2 -DFOREGROUND -f {folder}/a.conf'", a_conf=APACHE_DAV),
        (shell(CADAVER),),
        ("apache2", "cadaver"),
        may=ALONE,
    ),
    Program(
        "rsstail",
        "rsstail polls a feed every second",
        command("{python} -m http.server 8080 -d {folder}", feed_xml=RSS),
        (shell(f"timeout 12 rsstail -i 1 -u {URL}/feed.xml"), shell(f"timeout 12 rsstail -i 2 -u {URL}/feed.xml")),
        ("rsstail",),
        may=ALONE,
    ),
    Program(
        "slapd",
        "OpenLDAP's slapd; ldapsearch and ldap3",
        command("slapd -d 0 -f {folder}/slapd.conf -h ldap://0.0.0.0:3890", 3890, slapd_conf=SLAPD),
        (shell(LDAPSEARCH), session("ldap")),
        ("slapd", "ldapsearch", "ldap3"),
    ),
    Program(
        "dovecot",
        "Dovecot: IMAP with IDLE",
        command("sh -c 'mkdir -p run mail; chmod -R 777 .; exec dovecot -F -c {folder}/d.conf'", 1430, d_conf=DOVECOT),
        (session("imap"), session("imap")),
        ("dovecot",),
    ),
    Program(
        "bind",
        "BIND: zone transfers and queries over TCP",
        command("named -g -c {folder}/n.conf", 5300, n_conf=NAMED, lab_zone=ZONE),
        (shell(DIG),),
        ("named", "dig"),
    ),
    Program(
        "samba",
        "Samba and smbclient",
        command("sh -c 'mkdir -p share rpc; exec smbd -F --no-process-group -s {folder}/smb.conf'", 4450, smb_conf=SMB),
        (shell(SMBCLIENT),),
        ("smbd", "smbclient"),
    ),
    Program(
        "zookeeper",
        "ZooKeeper: locks and heartbeats of Kazoo",
        command(
            "java -cp '/usr/share/java/zookeeper.jar:/usr/share/java/*' org.apache.zookeeper.server.ZooKeeperServerMain {folder}/z.cfg",
            2181,
            z_cfg=ZOO,
        ),
        (session("zookeeper"),),
        ("kazoo", "java"),
        seconds=26,
    ),
    Program(
        "activemq",
        "ActiveMQ: STOMP with heartbeats",
        command(
            'sh -c \'export ACTIVEMQ_BASE={folder}; exec java -cp "/usr/share/activemq/lib/*:/usr/share/java/*" org.apache.activemq.console.Main start "broker:(stomp://0.0.0.0:61613)?persistent=false&useJmx=false"\'',
            61613,
        ),
        (session("stomp"),),
        ("activemq", "stomp"),
        seconds=26,
        may={NAGLE: HELD},
    ),
    Program(
        "thrift",
        "thriftpy2: calls, some late",
        command(f"{SESSIONS} thrift-server", lab_thrift=THRIFT),
        (session("thrift"), session("thrift")),
        ("thriftpy2",),
        may={NAGLE: HELD},
    ),
    web_framework(
        "bottle",
        "Bottle on wsgiref",
        may={**ALONE, NAGLE: HELD, "unchunked-streaming": "wsgiref answers as HTTP/1.0"},
    ),
    web_framework("klein", "Klein on Twisted"),
    web_framework("pyramid", "Pyramid on waitress, which closes idle connections after 3 s"),
    Program(
        "node-red",
        "Node-RED: its editor, its socket, a flow that answers",
        command(
            "node {modules}/node_modules/node-red/red.js -p 8080 -u {folder} {folder}/flows.json",
            flows_json=NODE_RED.replace("'", '"')
            .replace('\\"', "'")
            .replace('"msg.payload="small"; return msg;"', "\"msg.payload='small'; return msg;\""),
        ),
        (shell(RED_USER), ("node", "-e", RED_COMMS), http_client("httpx")),
        ("node", "/node-red"),
        may=ALONE,
        must=KILLED,
        seconds=25,
    ),
    Program(
        "restify",
        "Restify; needle, superagent, phin and follow-redirects",
        command("node {folder}/r.js", r_js=RESTIFY),
        (("node", "-e", ASK.replace("{url}", URL).replace("{modules}", MODULES)),),
        ("node", "/restify", "/needle"),
        may=ALONE,
        must=KILLED,
        seconds=25,
    ),
    Program(
        "nmap",
        "nmap looks which service is there, and asks for titles and headers",
        python("twisted"),
        (shell("nmap -Pn -n -sT -sV -p 8080 --script http-title,http-headers,http-methods,http-robots.txt 10.9.0.2"),),
        ("nmap", "twisted"),
        may={**ALONE, "connect-failed": "a scan"},
        seconds=40,
    ),
    Program(
        "kamailio",
        "Kamailio: SIP over TCP with keep-alives",
        command("kamailio -DD -E -m 64 -M 4 -w {folder} -Y {folder} -f {folder}/k.cfg", 5060, k_cfg=KAMAILIO),
        ((sys.executable, "-c", SIP),),
        ("kamailio",),
    ),
)
"""Programs of networks."""

"""Programs for programs.py that build, install, archive, scan and measure."""

# ruff: noqa: E501, for the command lines and files of these programs

from __future__ import annotations

import sys

from program import ALONE, HERE, PORT, SERVER, URL, Program, Serve, command, shell

APT = (
    "mkdir -p apt/lists/partial apt/archives/partial; "
    f"echo 'deb [trusted=yes] {URL}/ ./' > sources.list; "
    'D=$PWD; touch status; OPTIONS="-o Dir::State=$D/apt -o Dir::State::status=$D/status -o Dir::Cache=$D/apt '
    '-o Dir::Etc::sourcelist=$D/sources.list -o Dir::Etc::sourceparts=/dev/null -o Debug::NoLocking=1 -o APT::Sandbox::User=root"; '
    "for n in 1 2 3; do apt-get $OPTIONS update; rm -f *.deb; apt-get $OPTIONS download lab0 lab1 lab2 lab3 lab4 lab5 lab6 lab7 lab8; sleep 1; done"
)

GO = (
    "export HOME=$PWD GOPROXY={url} GONOSUMDB='*' GONOSUMCHECK=1 GOFLAGS=-mod=mod GOTOOLCHAIN=local; mkdir app; cd app; "
    "(echo 'module app'; echo 'go 1.19'; for n in 0 1 2 3 4 5 6 7 8 9; do echo \"require example.com/lab$n v1.0.0\"; done) > go.mod; "
    "for n in 1 2 3; do GOMODCACHE=$PWD/cache$n GOSUMDB=off go mod download all; sleep 1; done"
).replace("{url}", URL)

CARGO = (
    "export CARGO_HOME=$PWD/home PATH=$PATH:/root/.cargo/bin RUSTUP_HOME=/root/.rustup; mkdir -p app/src home; cd app; touch src/lib.rs; "
    f'printf \'[source.crates-io]\\nreplace-with = "lab"\\n[source.lab]\\nregistry = "sparse+{URL}/index/"\\n\' > ../home/config.toml; '
    '(printf \'[package]\\nname = "app"\\nversion = "0.1.0"\\n[dependencies]\\n\'; for n in 0 1 2 3 4 5 6 7 8 9; do echo "labcrate$n = \\"0.1\\""; done) > Cargo.toml; '
    "for n in 1 2 3; do cargo fetch; rm -rf ../home/registry Cargo.lock; sleep 1; done"
)

PIP = (
    "for n in 1 2 3; do {python} -m pip -q --isolated download --trusted-host 10.9.0.2 --no-cache-dir --no-deps --index-url "
    f"{URL}/simple -d got$n lab0 lab1 lab2 lab3 lab4 lab5 lab6 lab7; sleep 1; done"
)

MAVEN = (
    "printf '<settings><localRepository>%s/m2</localRepository><mirrors><mirror><id>lab</id><mirrorOf>*</mirrorOf>"
    f"<url>{URL}/</url><blocked>false</blocked></mirror></mirrors></settings>' $PWD > s.xml; "
    "printf '<project><modelVersion>4.0.0</modelVersion><parent><groupId>lab</groupId><artifactId>lab0</artifactId><version>1</version>"
    "</parent><artifactId>app</artifactId></project>' > pom.xml; for n in 1 2 3; do mvn -B -q -s s.xml validate; rm -rf m2; sleep 1; done"
)

SVN = (
    f"svn -q co {URL}/svn/lab co; cd co; for n in 1 2 3 4; do mkdir d$n; cp /usr/share/common-licenses/GPL* d$n; svn -q add d$n; "
    f"svn -q --username lab ci -m $n; svn -q up; svn log -q; sleep 0.8; done; svn -q export {URL}/svn/lab ../exported"
)

SVN_SERVER = """ServerRoot {folder}
ServerName lab
PidFile {folder}/pid
Mutex file:{folder}
Listen 8080
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dav_module /usr/lib/apache2/modules/mod_dav.so
LoadModule dav_svn_module /usr/lib/apache2/modules/mod_dav_svn.so
ErrorLog {folder}/error.log
<Location /svn>
  DAV svn
  SVNParentPath {folder}/repos
</Location>
"""

RESTIC = (
    "export RESTIC_PASSWORD=lab RESTIC_CACHE_DIR=$PWD/cache; "
    f"R='restic -q -r rest:{URL}/lab'; $R init; for n in 1 2 3; do $R backup /usr/share/common-licenses /usr/share/doc/apt; $R snapshots; sleep 0.7; done; $R check"
)

FOSSIL = (
    f"export HOME=$PWD; fossil clone http://{SERVER}:{PORT}/ mine.fossil; mkdir co; cd co; fossil open ../mine.fossil; "
    "for n in 1 2 3 4; do cp /usr/share/common-licenses/GPL-3 f$n; fossil add f$n; fossil commit -m $n --no-warnings --user-override lab; fossil sync; sleep 0.8; done; "
    f"for n in 1 2 3; do curl -s {URL}/timeline {URL}/tree -o /dev/null -o /dev/null; done"
)

PIECES = f"for n in 1 2 3; do zsync -q -i old -o new {URL}/huge.zsync; rm -f new; sleep 1; done"

SCAN = "for n in $(seq 600); do echo word$n; done > words; echo small >> words; "

LISP = (
    'sbcl --noinform --non-interactive --eval "(require :asdf)" --eval "(asdf:load-system :hunchentoot)" '
    '--eval "(hunchentoot:start (make-instance (quote hunchentoot:easy-acceptor) :port 8080 :document-root (pathname \\"{folder}/site/\\")))" '
    '--eval "(sleep 3600)"'
)

LISP_USER = (
    'exec sbcl --noinform --non-interactive --eval "(require :asdf)" --eval "(asdf:load-system :drakma)" '
    f'--eval "(let ((s nil)) (dotimes (n 12) (multiple-value-bind (b c h u stream) (drakma:http-request \\"{URL}/small.txt\\" :close nil :stream s) '
    '(declare (ignore b c h u)) (setf s stream)) (sleep 0.3)))"'
)


def repository(sort: str, server: str) -> Serve:
    """Return a repository of this kind (peers/programs/repositories.py), served by a command line."""
    return command(f"sh -c 'python3 {{programs}}/repositories.py {sort} {{folder}}/site && exec {server}'")


CLOSES = ALONE | {"keep-alive-disabled": "BusyBox closes after each response, and says so"}

BUSYBOX = f"busybox httpd -f -p {PORT} -h {{folder}}/site"
CADDY = f"caddy file-server --listen :{PORT} --root {{folder}}/site"

PACKAGES = (
    Program("apt", "apt-get, which pipelines, at BusyBox", repository("apt", BUSYBOX), (shell(APT),), ("busybox",), may=CLOSES),
    Program("apt-caddy", "apt-get at Caddy", repository("apt", CADDY), (shell(APT),), ("caddy",), may=ALONE),
    Program(
        "go-modules", "go downloads modules from BusyBox", repository("go", BUSYBOX), (shell(GO),), ("go", "busybox"), may=CLOSES
    ),
    Program("cargo", "cargo and its sparse index at Caddy", repository("cargo", CADDY), (shell(CARGO),), ("caddy",), may=ALONE),
    Program(
        "pip",
        "pip downloads wheels from Caddy",
        repository("pip", CADDY),
        (shell(PIP.replace("{python}", sys.executable)),),
        ("caddy",),
        may=ALONE,
    ),
    Program(
        "maven",
        "Maven resolves a chain of poms, whose checksums are not there",
        repository("maven", CADDY),
        (shell(MAVEN),),
        ("mvn", "caddy"),
        seconds=30,
    ),
)

ARCHIVES = (
    Program(
        "subversion",
        "Subversion over Apache's DAV: checkout, commits, logs",
        command("sh -c 'mkdir repos && svnadmin create repos/lab && exec apache2 -X -f {folder}/a.conf'", a_conf=SVN_SERVER),
        (shell(SVN),),
        ("svn", "svnadmin", "apache2"),
        may=ALONE,
        seconds=25,
    ),
    Program(
        "restic",
        "restic backs up to rclone",
        command(f"rclone serve restic --addr :{PORT} {{folder}}/backups"),
        (shell(RESTIC),),
        ("restic", "rclone"),
        may=ALONE,
        seconds=30,
    ),
    Program(
        "fossil",
        "Fossil: a clone, commits, its pages",
        command(f"sh -c 'export HOME={{folder}}; fossil new -A lab r.fossil; exec fossil server --port {PORT} r.fossil'"),
        (shell(FOSSIL),),
        ("fossil", "curl"),
        may=ALONE,
        seconds=25,
    ),
    Program(
        "zsync",
        "zsync fetches the ranges that changed",
        command(f"sh -c 'cd site; zsyncmake -u huge huge; tail -c 2000000 huge.txt > ../old; exec {BUSYBOX}'"),
        (shell(PIECES),),
        ("zsync", "busybox"),
        may=CLOSES,
    ),
)

SCANS = (
    Program(
        "ffuf",
        "ffuf looks for pages, 40 at a time",
        command(BUSYBOX),
        (shell(f"{SCAN} ffuf -s -w words -u {URL}/FUZZ; sleep 1; gobuster -q dir -w words -u {URL}"),),
        ("ffuf", "gobuster", "busybox"),
        may=ALONE
        | {
            "connect-retry": "more clients than the listen queue holds",
            "retransmission-stall": "the server drops what its listen queue has no room for",
        },
    ),
    Program(
        "httrack",
        "HTTrack mirrors, elinks and newsboat read",
        command(CADDY),
        (shell(f"httrack -q {URL}/ -O mirror; elinks -dump {URL}/small; elinks -dump {URL}/large"),),
        ("httrack", "elinks", "caddy"),
        may=ALONE,
    ),
    Program(
        "hunchentoot", "Common Lisp: Hunchentoot and Drakma", command(LISP), (shell(LISP_USER),), ("sbcl",), may=ALONE, seconds=25
    ),
    Program(
        "iperf2",
        "iperf 2 and nuttcp, at a set rate and at full speed",
        command("sh -c 'nuttcp -S -P 5000 & exec iperf -s -p 5001'", 5001),
        (
            shell(
                f"iperf -c {SERVER} -p 5001 -t 3 -b 2m; nuttcp -P 5000 -p 5002 -T 2 -R 4m {SERVER}; iperf -c {SERVER} -p 5001 -n 3M -r"
            ),
        ),
        ("iperf", "nuttcp"),
        snap=200,
    ),
    Program(
        "rate-limits",
        "wget and curl limit their rate at BusyBox",
        command(BUSYBOX),
        (
            shell(
                f"wget -q --limit-rate=1M -O /dev/null {URL}/huge; curl -s --limit-rate 2M -o /dev/null {URL}/huge; "
                f"for rate in 50k 100k 200k; do curl -s --limit-rate $rate -o /dev/null {URL}/large; done"
            ),
        ),
        ("busybox", "wget"),
        may=CLOSES,
    ),
)

ROBYN = """from robyn import Robyn

app = Robyn(__file__)

@app.get("/")
async def page(asked):
    return "x" * 3000

app.start(host="0.0.0.0", port=8080)
"""

POLLING_PAGE = (
    """fetch('URL/browser-sync/socket.io/?EIO=4&transport=polling').then((r) => r.text()).then(async (text) => { """
    """const poll = 'URL/browser-sync/socket.io/?EIO=4&transport=polling&sid=' + JSON.parse(text.slice(1)).sid; """
    """await fetch(poll, { method: 'POST', body: '40/browser-sync,' }); """
    """for (let n = 0; n < 6; n++) await (await fetch(poll)).text(); process.exit(); })"""
).replace("URL", URL)

READERS = (
    Program(
        "small-buffers",
        "36 programs with small receive buffers read a little every 10 to 200 ms",
        command(CADDY),
        ((sys.executable, str(HERE / "small_buffers.py"), SERVER, str(PORT)),),
        ("caddy",),
        may={"zero-window-stall": "they read less than the server could send", "client-abort": "they end after 7 s"},
    ),
    Program(
        "robyn",
        "Robyn, which looks whether its port is free before it listens",
        command("{python} app.py", app_py=ROBYN),
        (shell(f"for n in $(seq 12); do curl -s {URL}/ {URL}/none -o /dev/null -o /dev/null; sleep 1; done"),),
        ("robyn", "curl"),
        may=ALONE,
    ),
    Program(
        "browser-sync",
        "Browsersync; a page that polls for changes, by Socket.IO without WebSocket",
        command("{modules}/node_modules/.bin/browser-sync start --server site --files site/*.txt --port 8080 --no-open --no-ui"),
        (
            ("node", "-e", POLLING_PAGE),
            shell(f"for n in $(seq 6); do sleep 1.5; touch site/small.txt; curl -s {URL}/small -o /dev/null; done"),
        ),
        ("node", "/browser-sync"),
        may=ALONE,
    ),
)

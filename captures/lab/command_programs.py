"""Programs for programs.py that are commands: rate-limited downloads, downloads into slow programs, network disks, clients of
daemons.
"""

from __future__ import annotations

from part_programs import nginx
from program import ALONE, HELD, NAGLE, PORT, SERVER, URL, Program, command, shell

LIMITS = (
    f"axel -q -n 1 -s 400000 -o a {URL}/huge & axel -q -n 2 -s 600000 -o b {URL}/huge & "
    f"lftp -c 'set net:limit-rate 500000; get {URL}/huge -o c' & rclone copyurl --bwlimit 700k {URL}/huge d & "
    f"trickle -s -d 500 curl -s -o /dev/null {URL}/huge & aria2c -q --max-download-limit=500K -o e {URL}/huge & wait"
)

SLOW_PIPES = (
    f"curl -s {URL}/huge | (sleep 1; gzip -9 > /dev/null); "
    f"curl -s {URL}/huge | python3 -c 'import sys, time\nwhile sys.stdin.buffer.read(300000): time.sleep(0.3)'; "
    f"wget -q -O - {URL}/huge | xz -2 > x"
)

DISK = f"qemu-img convert -O raw nbd://{SERVER}:{PORT} a; nbdcopy nbd://{SERVER}:{PORT} b; nbdinfo nbd://{SERVER}:{PORT}"

DISK_OVER_HTTP = (
    f"nbdkit -U - curl {URL}/huge --run 'qemu-img convert -O raw $nbd a'; "
    f"nbdkit -U - --filter=readahead curl {URL}/huge --run 'nbdcopy $nbd b'"
)

REPOSITORY = (
    "git init -q w; cd w; git config user.email a@example.com; git config user.name a; "
    f"git remote add o git://{SERVER}:{PORT}/r.git; "
    "for n in 1 2 3; do head -c 900000 /dev/urandom > f$n; git add .; git commit -qm $n; git push -q o HEAD:main; done; "
    f"cd ..; git clone -q git://{SERVER}:{PORT}/r.git c; cd c; git fetch -q"
)

COMPILER = (
    f"export CCACHE_DIR=$PWD/cc CCACHE_REMOTE_STORAGE={URL}/; "
    "for n in $(seq 8); do printf 'int f%s(){return %s;}' $n $n > f$n.c; ccache gcc -c f$n.c; done; "
    "ccache -C; for n in $(seq 8); do ccache gcc -c f$n.c; done"
)

SUPERVISOR = """[supervisord]
nodaemon = true
pidfile = {folder}/pid
logfile = {folder}/log
[inet_http_server]
port = 0.0.0.0:8080
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:clock]
command = sh -c "while :; do date; sleep 0.3; done"
stdout_logfile = {folder}/out
"""

FEDORA = (
    f"d='dnf -q --setopt=reposdir=/none --setopt=cachedir=/tmp/none --repofrompath=lab,{URL}/repo --repo=lab "
    "--installroot=/tmp/none --releasever=1 --nogpgcheck'; "
    "$d makecache; for n in 1 2 3; do $d repoquery --refresh; done"
)

MAKEFILE = "all: $(addprefix p,$(shell seq 40))\\np%%:\\n\\t@curl -s -o $@ $(URL)/large\\n"

COMMANDS = (
    Program(
        "limits",
        "axel, lftp, rclone, trickle and aria2 limit their rate",
        nginx(),
        (shell(LIMITS),),
        ("nginx", "axel", "lftp", "rclone", "trickle", "aria2c"),
        may=ALONE,
        seconds=25,
    ),
    Program(
        "slow-pipes", "curl and wget feed slow programs", nginx(), (shell(SLOW_PIPES),), ("nginx", "wget"), may=ALONE, seconds=25
    ),
    Program(
        "nbd",
        "qemu-img and nbdcopy copy a disk from nbdkit",
        command(f"nbdkit -f -p {PORT} file {{folder}}/site/huge.txt"),
        (shell(DISK),),
        ("nbdkit", "qemu-img", "nbdcopy"),
    ),
    Program(
        "nbd-over-http",
        "nbdkit reads a disk from nginx in ranges",
        nginx(),
        (shell(DISK_OVER_HTTP),),
        ("nginx", "nbdkit", "qemu-img", "nbdcopy"),
        may=ALONE,
    ),
    Program(
        "git-protocol",
        "git pushes, clones and fetches over its own protocol",
        command(
            f"sh -c 'git init -q --bare r.git; exec git daemon --base-path=. --export-all --enable=receive-pack --port={PORT}'"
        ),
        (shell(REPOSITORY),),
        ("git",),
        may={NAGLE: HELD},
    ),
    Program(
        "ccache",
        "ccache keeps objects on a WebDAV server, rclone",
        command("sh -c 'mkdir -p files && exec rclone serve webdav --addr :8080 files'"),
        (shell(COMPILER),),
        ("rclone", "ccache", "gcc"),
        may=ALONE | {NAGLE: HELD},
        seconds=25,
    ),
    Program(
        "supervisor",
        "supervisorctl follows a log and asks for the status",
        command("supervisord -c s.conf", s_conf=SUPERVISOR),
        (
            shell(f"timeout 6 supervisorctl -s {URL} tail -f clock"),
            shell(f"for n in 1 2 3 4 5; do supervisorctl -s {URL} status; sleep 0.6; done"),
        ),
        ("supervisord",),
        may=ALONE,
    ),
    Program(
        "parallel-make",
        "make runs three curls at a time",
        nginx(),
        (shell(f"printf '{MAKEFILE}' > Makefile; make -j3 URL={URL}"),),
        ("nginx", "make"),
    ),
    Program(
        "dnf",
        "dnf reads a repository, four times",
        nginx("mkdir site/repo && createrepo_c -q site/repo"),
        (shell(FEDORA),),
        ("nginx", "dnf", "createrepo_c"),
        seconds=25,
    ),
)

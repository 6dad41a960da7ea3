"""Record protocols other than HTTP/1: TLS, SSH, Redis, PostgreSQL, SMTP, HTTP/2; some are healthy, some have a Nagle stall."""

from __future__ import annotations

import os
import sys

from impairments import Conditions
from scenario import (
    PEERS,
    Connection,
    Exchange,
    Find,
    Lab,
    certificate,
    curl,
    nginx,
    nginx_with_tls,
    raw_client,
    recording,
    site,
    unanswered,
)
from static_servers import SIZES

NO_HTTP = {"malformed-head": "it is no HTTP", "no-response": "it is no HTTP", "excess-body": "it is no HTTP"}
TALK = {**NO_HTTP, "nagle-delayed-ack": "each message is one send", "tinygrams": "each message is answered"}
QUIET = (Connection(()),)
TLS = (Find("encrypted", note=True),)


@recording(
    title="TLS 1.2: curl and openssl s_server; IPv6",
    at="server",
    software=("openssl", "curl"),
    connections=(Connection((), closed_by=None, repeat=2),),
    finds=TLS,
    must_not={**NO_HTTP, "premature-close": "closes of TLS are not judged", "keep-alive-disabled": "nobody can see it"},
)
def tls_s_server(lab: Lab) -> None:
    """Two GETs by curl from openssl s_server -WWW, which ends each connection. Recorded over IPv6."""
    root = site(lab, **SIZES)
    key, public = certificate(lab)
    listen = ("-accept", "[::]:8443", "-6", "-key", key, "-cert", public, "-tls1_2", "-HTTP", "-quiet")
    for name in SIZES:
        page = root / f"{name}.txt"
        head = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n"
        page.write_bytes(head + page.read_bytes())
    lab.server.serve(8443, "openssl", "s_server", *listen, cwd=root, stdout=-3, stderr=-3)
    curl(lab, "--insecure", *[f"https://[fd00:9::2]:8443/{name}.txt" for name in ("a", "c")])


@recording(
    title="TLS 1.3 over a round trip of 120 ms: requests and nginx",
    at=("client", "middle", "server"),
    software=("openssl", "nginx", "curl"),
    connections=QUIET,
    finds=TLS,
    must_not={**NO_HTTP, "delayed-ack-stall": "these are round trips, and slow start"},
    wire=Conditions(0.060),
)
def tls_rtt_120(lab: Lab) -> None:
    """Five GETs by curl on one connection, the last of 40 kB."""
    nginx_with_tls(lab, **SIZES, e=40_000)
    curl(lab, "--insecure", *[f"https://10.9.0.2/{name}.txt" for name in (*SIZES, "e")])


@recording(
    title="HTTP/2 without TLS (prior knowledge): nginx and httpx",
    at="client",
    software=("nginx", "httpx"),
    connections=QUIET,
    must_not={**NO_HTTP, "truncated-response": "HTTP/2 is not read"},
)
def nginx_http2(lab: Lab) -> None:
    """Three GETs of an httpx.Client with HTTP/2 only, on one connection: its preface looks like a request, but is not one."""
    nginx(lab, "listen 8080 http2;", **SIZES)
    urls = [f"http://10.9.0.2:8080/{name}.txt" for name in ("a", "b", "d")]
    lab.client.run(sys.executable, str(PEERS / "http2_client.py"), *urls)


@recording(
    title="Plain HTTP to the port of nginx for TLS, twice",
    at="client",
    software=("nginx", "curl"),
    connections=(Connection((Exchange("GET", "/a.txt", 400, 255),), closed_by="server", repeat=2),),
    finds=tuple(Find("wrong-protocol", "plain-to-tls", "client", number, 1) for number in (0, 1)),
    must_not={"no-response": "the server answered", "premature-close": "a 400 closes"},
)
def http_to_tls_port(lab: Lab) -> None:
    """curl is used with http:// for port 443. nginx answers 400, with a page that says what is wrong."""
    nginx_with_tls(lab, **SIZES)
    for _ in range(2):
        curl(lab, "http://10.9.0.2:443/a.txt")


KEYS = tuple(
    Find("nagle-delayed-ack", "write-write-read", side, number, 1, measured=True, confidence="medium")
    for number in (0, 1)
    for side in ("client", "server")
)


@recording(
    title="SSH over a round trip of 20 ms: single keystrokes, and the small messages of the handshake",
    at=("client", "server"),
    software=("ssh",),
    connections=(Connection(()), Connection(())),
    finds=KEYS,
    must_not=NO_HTTP,
    wire=Conditions(0.010),
)
def ssh_rtt_20(lab: Lab) -> None:
    """One session runs a command with 20 kB of output; in another one, twelve lines are typed into `cat`, 70 ms apart. OpenSSH
    turns Nagle's algorithm off only when a session begins. Before that, each side once writes two small messages in a row (the
    client after its new keys, the server after the login), and the second message waits for the ACK of the first."""
    sshd(lab)
    _sessions(lab)


def _sessions(lab: Lab) -> None:
    ssh(lab, "head -c 20000 /dev/zero | tr '\\0' x")
    typed = f"for n in $(seq 12); do echo line $n; sleep 0.07; done | {' '.join(SSH)} -i {lab.folder}/key root@10.9.0.2 cat"
    lab.client.run("sh", "-c", typed)


SSH = (
    *("ssh", "-p", "2222", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"),
    *("-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", "-F", "/dev/null"),
)


def sshd(lab: Lab) -> None:
    """Start an SSH server on port 2222 with its own keys."""
    os.makedirs("/run/sshd", exist_ok=True)
    lab.folder.chmod(0o755)
    for name in ("host", "key"):
        lab.server.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(lab.folder / name))
    known = lab.folder / "key.pub"
    settings = {
        "Port": "2222",
        "HostKey": lab.folder / "host",
        "AuthorizedKeysFile": known,
        "StrictModes": "no",
        "UsePAM": "no",
        "PidFile": "none",
        "PermitRootLogin": "prohibit-password",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    lab.server.serve(2222, "/usr/sbin/sshd", "-D", "-f", "/dev/null", *options, stderr=-3)


def ssh(lab: Lab, command: str) -> None:
    """Run a command on the server through SSH."""
    lab.client.run(*SSH, "-i", str(lab.folder / "key"), "root@10.9.0.2", command)


def redis(lab: Lab) -> None:
    """Start Redis without persistence."""
    words = ("--port", "6379", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--dir", str(lab.folder))
    lab.server.serve(6379, "redis-server", *words, stdout=-3)


@recording(
    title="Redis and redis-py: commands one by one, and a pipeline",
    at="client",
    software=("redis-server", "redis"),
    connections=QUIET,
    must_not=TALK,
)
def redis_py(lab: Lab) -> None:
    """Twenty SETs and GETs, a value of 30 kB, and forty commands in one pipeline, on one connection."""
    redis(lab)
    lab.client.run(sys.executable, str(PEERS / "redis_client.py"), "10.9.0.2")


@recording(
    title="A Redis client that sends a command in two writes: Nagle's algorithm and a delayed ACK without HTTP",
    at=("client", "server"),
    software=("redis-server", "python"),
    connections=QUIET,
    finds=(Find("nagle-delayed-ack", "write-write-read", "client", 0, 9, measured=True, confidence="medium"),),
    must_not=NO_HTTP,
)
def redis_two_writes(lab: Lab) -> None:
    """A hand-written client sends ten SETs, each with the length of its value in one write and the value in the next, and waits
    for the response. Redis responds only then, and its kernel delays the ACK of the first write by 40 ms."""
    redis(lab)
    value = b"v" * 100
    command = [b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$100\r\n", value + b"\r\n"]
    raw_client(lab, [[step for _ in range(10) for step in (*command, 0.1)]], 6379)


@recording(
    title="PostgreSQL and pgbench: twenty transactions; IPv6",
    at="server",
    software=("postgres",),
    connections=(Connection((), closed_by=None, repeat=2),),
    must_not=TALK,
)
def postgres_pgbench(lab: Lab) -> None:
    """pgbench first queries the existing tables, and then makes twenty read-only transactions on a second connection. Recorded
    over IPv6."""
    postgres(lab)
    scale = ("-h", "fd00:9::2", "-U", "postgres", "-p", "5433")
    lab.server.run("pgbench", "-i", "-q", "-s", "1", "-h", str(lab.folder), *scale[2:], "postgres")
    lab.client.run("pgbench", "-n", "-S", "-c", "1", "-t", "20", *scale, "postgres")


def postgres(lab: Lab) -> None:
    """Start PostgreSQL on port 5433 with an empty database."""
    data = lab.folder / "data"
    lab.folder.chmod(0o777)
    user = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
    lab.server.run(*user, "initdb", "-A", "trust", "-U", "postgres", "-D", str(data), "--no-sync", timeout=60)
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all fd00:9::/64 trust\n")
    options = {"listen_addresses": "*", "port": "5433", "unix_socket_directories": str(lab.folder), "fsync": "off"}
    words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    lab.server.serve(5433, *user, "postgres", "-D", str(data), *words, stderr=-3)


MAIL = (Connection((), closed_by=None),)


@recording(
    title="SMTP: two messages from smtplib to aiosmtpd",
    at="client",
    software=("aiosmtpd", "python"),
    connections=MAIL,
    must_not=TALK,
)
def smtp_aiosmtpd(lab: Lab) -> None:
    """Two messages of 300 bytes and 6 kB on one connection. Their header sections look like those of HTTP, but are not."""
    _mail(lab, "-m", "aiosmtpd", "-n", "-l", "0.0.0.0:2525", "-c", "aiosmtpd.handlers.Sink")


@recording(
    title="SMTP: smtpd of Python's standard library sends a reply of several lines in several writes",
    at="server",
    software=("python",),
    connections=MAIL,
    finds=(Find("nagle-delayed-ack", "write-write-read", "server", 0, 1, measured=True, confidence="medium"),),
    must_not=NO_HTTP,
)
def smtp_smtpd(lab: Lab) -> None:
    """Like smtp-aiosmtpd, with the former server of Python: its asynchat writes each line of the answer to EHLO separately and
    leaves Nagle's algorithm on, so the second line waits for the client's delayed ACK of the first."""
    _mail(lab, "-W", "ignore", str(PEERS / "smtp_server.py"))


EARLY = """
import http.client, time
connection = http.client.HTTPConnection("10.9.0.2", 2525, timeout=5)
connection.connect()
time.sleep(0.1)
connection.request("GET", "/api/orders", headers={"User-Agent": "shop/1.0"})
try:
    connection.getresponse()
except http.client.BadStatusLine:
    connection.close()
"""


@recording(
    title="SMTP: an HTTP client is configured with the port of a mail server, which greets first",
    at="client",
    software=("python",),
    connections=(Connection((unanswered("GET", "/api/orders"),), closed_by="client"),),
    finds=(Find("malformed-head", "speaks-first", "client", 0),),
    must_not={"client-abort": "the client read the greeting as a response", "no-response": "the server did not close"},
    whole=False,
)
def smtp_greets_http(lab: Lab) -> None:
    """http.client connects, and sends its GET 0.1 s later, as a pool does that connects ahead. By then the greeting has come:
    220. The client fails with BadStatusLine."""
    lab.server.serve(2525, sys.executable, "-W", "ignore", str(PEERS / "smtp_server.py"), stderr=-3)
    lab.client.run(sys.executable, "-c", EARLY)


def _mail(lab: Lab, *server: str) -> None:
    lab.server.serve(2525, sys.executable, *server, stderr=-3)
    lab.client.run(sys.executable, str(PEERS / "smtp_client.py"), "10.9.0.2")

"""Describe a recording: the hosts, the capture points, and the content of its label.

A scenario is a function that makes the traffic; its decorator has the content of the label. The label says what was intended, and
evidence.py compares the recording with it, using tshark.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from network import PROXY_FRONT, RING, Host

if TYPE_CHECKING:
    import subprocess

    from impairments import Conditions

PEERS = Path(__file__).resolve().parent / "peers"


SEEN = -1
"""Stands for the size of a body that was compressed or generated on the way. tshark provides it for the label."""


LOST = -1
"""Stands for every connection whose last request was lost (see evidence.lost)."""

OTHERS = -2
"""Stands for every other connection that the server closed."""


@dataclass(frozen=True)
class Exchange:
    """A request and its response as intended; `repeat` stands for that many equal exchanges.

    Body sizes are in bytes of content, without chunk framing: None if the recording lacks a part of the body, SEEN if the script
    does not know the size. The status is None if there is no response.
    """

    method: str
    target: str
    status: int | None
    response_body: int | None = 0
    response_framing: str = "content-length"
    request_body: int = 0
    interim: tuple[int, ...] = ()
    repeat: int = 1


@dataclass(frozen=True)
class Connection:
    """A TCP connection, its exchanges, and who closed it first: client, server, both at once, or "" if it stayed open.

    None: either side may close first, for example after `Connection: close`. The label then names the side.
    """

    exchanges: tuple[Exchange, ...]
    closed_by: str | None = "client"
    repeat: int = 1


@dataclass(frozen=True)
class Find:
    """An expected finding. `measured`: its delays are measured with tshark, and there must be `count` of them.

    `connection` is None for a finding about the capture or an endpoint, and LOST or OTHERS if the packets determine the
    connections. `note`: the finding is a note.
    """

    rule: str
    kind: str | None = None
    side: str | None = None
    connection: int | None = None
    count: int = 1
    measured: bool = False
    note: bool = False
    confidence: str | None = None
    """The maximum confidence, if a part of the proof cannot be seen."""


@dataclass
class Lab:
    """The two hosts of a recording, and a folder for files of the servers."""

    client: Host
    server: Host
    folder: Path
    recorder: subprocess.Popen[bytes] | None
    """The process of tcpdump or dumpcap; None if only the wire records."""

    user: Host | None = None
    """The user in front of the client, if the client is a proxy."""

    @property
    def turned(self) -> Lab:
        """The same lab with client and server exchanged, to start a server on the client's host."""
        return replace(self, client=self.server, server=self.client)

    def file(self, name: str, content: str | bytes) -> str:
        """Write a file into the folder, and return its path."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)


@dataclass(frozen=True)
class Scenario:
    """A recording and its label."""

    name: str
    title: str
    story: str
    at: tuple[str, ...]
    software: tuple[str, ...]
    connections: tuple[Connection, ...]
    traffic: Callable[[Lab], None]
    finds: tuple[Find, ...] = ()
    must_not: dict[str, str] = field(default_factory=dict[str, str])
    suffix: str = "pcap"
    interface: str = "eth0"
    expression: str = "tcp"
    wire: Conditions | None = None
    """The conditions on the wire. None: a veth pair, which does not change packets."""

    proxied: bool = False
    """True if the client is a proxy with a user in front of it, recorded on both sides; `at` is then "proxy"."""

    offload: bool = False
    ring: tuple[str, ...] = RING
    loses: bool = False
    options: tuple[str, ...] = ()
    mend: Callable[[Path], None] | None = None
    lose: Callable[[Path], None] | None = None
    """A function that removes from the recording what tshark needs to distinguish connections; it is called after the checks."""

    spread: bool = False
    """True if the client decides about connections and the order of requests. The label then gets both from tshark.

    `connections` only names the exchanges that must occur, each any number of times, and no others may occur.
    """

    whole: bool = True
    """True if all bodies are complete in the recording."""

    unassembled: bool = False
    """True if tshark 4.0 must not reassemble bodies.

    Otherwise it gives the response to a pipelined HEAD the body of the next response, and misses a truncated response.
    """

    @property
    def captures(self) -> list[tuple[str, str]]:
        """The capture points, each with the name of its capture, which contains the point if there are several."""
        return [(point, self.name if len(self.at) == 1 else f"{self.name}-{point}") for point in self.at]


SCENARIOS: dict[str, Scenario] = {}


def recording(*, at: str | tuple[str, ...], **papers: Any) -> Callable[[Callable[[Lab], None]], Callable[[Lab], None]]:
    """Register a function that makes traffic. Its name and docstring become the capture's name and story."""

    def register(traffic: Callable[[Lab], None]) -> Callable[[Lab], None]:
        name = traffic.__name__.replace("_", "-")
        story = "\n".join(line.strip() for line in (traffic.__doc__ or "").strip().splitlines())
        points = (at,) if isinstance(at, str) else at
        SCENARIOS[name] = Scenario(name=name, story=story, traffic=traffic, at=points, **papers)
        return traffic

    return register


def over_ipv6(
    like: Callable[[Lab], None], *, at: str | tuple[str, ...] = (), **papers: Any
) -> Callable[[Callable[[Lab], None]], Callable[[Lab], None]]:
    """Register the traffic of a scenario over IPv6; only `papers` and the capture points differ from that scenario."""
    first = SCENARIOS[like.__name__.replace("_", "-")]
    own = {one.name: getattr(first, one.name) for one in fields(first) if one.name not in ("name", "story", "traffic", "at")}
    return recording(at=at or first.at, **{**own, "title": f"{first.title}; IPv6", **papers})


def get(target: str, body: int | None, **more: Any) -> Exchange:
    """Return a GET that is answered with 200."""
    return Exchange("GET", target, 200, body, **more)


def unanswered(method: str, target: str) -> Exchange:
    """Return a request without a response."""
    return Exchange(method, target, None, None, "")


LAST_YEAR = 1_750_000_000
"""The time of last change of the pages, old enough for a strong ETag."""


def site(lab: Lab, **sizes: int) -> Path:
    """Create a folder with text files of these names and sizes, for a server to serve."""
    root = lab.folder / "site"
    root.mkdir(exist_ok=True)
    lab.folder.chmod(0o755)
    line = b"The quick brown fox jumps over the lazy dog.\n"
    for name, size in sizes.items():
        page = root / f"{name}.txt"
        page.write_bytes((line * (size // len(line) + 1))[:size])
        os.utime(page, (LAST_YEAR, LAST_YEAR))
    return root


NGINX = """\
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
  access_log off; default_type text/plain;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {besides}
  server {{ listen 80; listen [::]:80; root {folder}/site; {more} }}
}}
"""

APACHE = """\
ServerRoot {folder}
ServerName 10.9.0.2
PidFile {folder}/apache2.pid
Mutex file:{folder}
Listen 80
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so
TypesConfig /etc/mime.types
ErrorLog {folder}/error.log
DocumentRoot {folder}/site
ErrorDocument 404 "There is no such page."
"""


def nginx(lab: Lab, more: str = "", besides: str = "", /, **sizes: int) -> None:
    """Start nginx on port 80 of the server, with pages of these sizes.

    `more`: directives inside its server block. `besides`: directives beside it.
    """
    site(lab, **sizes)
    conf = lab.file("nginx.conf", NGINX.format(folder=lab.folder, more=more, besides=besides))
    lab.server.serve(80, "nginx", "-c", conf)


def certificate(lab: Lab) -> tuple[str, str]:
    """Create a key and a certificate for the recording."""
    key, public = (str(lab.folder / name) for name in ("key.pem", "certificate.pem"))
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", public, "-days", "30", "-subj", "/CN=lab"]
    lab.server.run("openssl", "req", *made)
    return key, public


def nginx_with_tls(lab: Lab, **sizes: int) -> None:
    """Start nginx on ports 80 and 443 of the server, with pages of these sizes."""
    key, public = certificate(lab)
    nginx(lab, f"listen 443 ssl; ssl_certificate {public}; ssl_certificate_key {key};", **sizes)


def apache(lab: Lab, more: str = "", /, **sizes: int) -> None:
    """Start Apache httpd on port 80 of the server, with additional directives and pages of these sizes."""
    site(lab, **sizes)
    conf = lab.file("apache2.conf", APACHE.format(folder=lab.folder) + more)
    lab.server.serve(80, "apache2", "-X", "-f", conf)


def node(lab: Lab, program: str, port: int = 8080) -> None:
    """Start a server from peers/ with node."""
    lab.server.serve(port, "node", str(PEERS / program), str(port))


Steps = list[Any]
"""The steps of a hand-written peer: bytes are written in one send, a number is a pause in seconds, peers/ explains words."""


def steps_as_json(steps: Any) -> str:
    """Return steps as JSON, which peers/ read from the command line or a file."""
    return json.dumps(steps, default=lambda piece: piece.decode("latin-1"))


def gunicorn(lab: Lab, address: str) -> None:
    """Start gunicorn with threads and the application of peers/, on port 8000 of an address of the server."""
    words = ["-m", "gunicorn", "--worker-class", "gthread", "--threads", "4", "--chdir", str(PEERS), "--bind", f"{address}:8000"]
    lab.server.serve(8000, sys.executable, *words, "wsgi_app:application", stderr=-3)


def patient(host: Host) -> None:
    """Make a host wait a second for an ACK before it retransmits, without a tail loss probe.

    This is needed if ACKs are held back for longer than Linux's 200 ms.
    """
    host.run("sysctl", "-qw", "net.ipv4.tcp_rto_min_us=1000000", "net.ipv4.tcp_early_retrans=0")


def raw_server(lab: Lab, answers: list[Steps], port: int = 8080, *options: str, nodelay: bool = False) -> None:
    """Start peers/raw_server.py. It answers each request of a connection with the next item of `answers`, and repeats the last
    one.
    """
    script = lab.file(f"answers-{port}.json", steps_as_json(answers))
    words = [sys.executable, str(PEERS / "raw_server.py"), str(port), script]
    lab.server.serve(port, *words, *options, *(["nodelay"] if nodelay else []))


def raw_client(
    lab: Lab, connections: list[Steps], port: int = 8080, *, address: str = "10.9.0.2", nodelay: bool = False,
    together: bool = False,
) -> None:  # fmt: skip
    """Run peers/raw_client.py: one connection after the other, each with its steps.

    `together`: all connections at once, each opened after the pause (s) that is its first step.
    """
    words = [sys.executable, str(PEERS / "raw_client.py"), address, str(port), steps_as_json(connections)]
    lab.client.run(*words, *(["nodelay"] if nodelay else []), *(["together"] if together else []))


def raw_user(lab: Lab, *steps: object) -> None:
    """Run peers/raw_client.py as a user in front of the proxy, on one connection with these steps."""
    assert lab.user
    lab.user.run(sys.executable, str(PEERS / "raw_client.py"), PROXY_FRONT, "80", steps_as_json([steps]))


def raw_talk(
    lab: Lab, answers: list[Steps], connections: list[Steps], *, address: str = "10.9.0.2", nodelay: bool = False
) -> None:
    """Start peers/raw_server.py, with or without Nagle's algorithm, and run peers/raw_client.py against it."""
    raw_server(lab, answers, nodelay=nodelay)
    raw_client(lab, connections, address=address)


def curl(lab: Lab, *words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run curl on the client, and discard its output."""
    return lab.client.run("curl", "-sS", "--max-time", "20", *words, **options)

"""What the programs of programs.py have in common: how one is served, used, and judged."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from network import PROXY_FRONT
from scenario import PEERS, Lab, site

HERE = PEERS / "programs"

MODULES = os.environ.get("MODULES", "")

PORT = 8080

SERVER, URL = "10.9.0.2", f"http://10.9.0.2:{PORT}"
GATEWAY = f"http://{PROXY_FRONT}:{PORT}"

Words = tuple[str, ...]

Serve = Callable[[Lab], None]

ALONE = {"no-connection-reuse": "each command asks on connections of its own"}

NAGLE = "nagle-delayed-ack"

HELD = "it leaves Nagle's algorithm on"

WAITING = ("no-response", "truncated-response", "keep-alive-race", "connect-failed")

BROKEN: dict[str, Words] = {
    "killed": WAITING,
    "restarted": (*WAITING, "idle-close"),
    "paused": ("slow-response", "client-abort", "no-response"),
}
"""What must be reported of HTTP with one request after the other, whatever goes wrong."""

KILLED: dict[str, Words] = {"killed": (*WAITING, "idle-close")}
"""The same where a request takes long: the moment comes in the middle of a stream, and a pause, or a restart that waits for it,
harms nothing."""


@dataclass(frozen=True)
class Program:
    """A program and how it is used.

    `use`: commands of the client, all at once. `needs`: commands, Python packages and, with a slash, node modules. `may`: rule ->
    why its warnings or errors are true of healthy use, too. `must`: way -> rules of which one has to be reported. `gateway`: what
    passes requests on, on a host of its own between client and server. `fault`: where its use fails by itself, what has to be
    reported: end of the recording -> rules, or rules with their kinds, of which one has to be there, and no other rule.
    """

    name: str
    title: str
    serve: Serve
    use: tuple[Words, ...]
    needs: Words
    may: dict[str, str] = field(default_factory=dict[str, str])
    must: dict[str, Words] = field(default_factory=dict[str, Words])
    seconds: float = 18.0
    snap: int = 70_000
    gateway: Serve | None = None
    fault: dict[str, Words] = field(default_factory=dict[str, Words])

    def installed(self) -> bool:
        """Return whether everything that it needs is there."""
        return all(
            (Path(MODULES) / "node_modules" / need[1:]).exists()
            if need.startswith("/")
            else shutil.which(need) or (need.isidentifier() and importlib.util.find_spec(need))
            for need in self.needs
        )


def user(way: str, port: int = PORT) -> Words:
    """A command: a way of peers/programs/user.py."""
    return (sys.executable, str(HERE / "user.py"), way, SERVER, str(port))


def http_client(library: str, port: int = PORT) -> Words:
    """A command: a client of peers/programs/http_clients.py."""
    return (sys.executable, str(HERE / "http_clients.py"), library, SERVER, str(port))


def script_user(library: str, port: int = PORT) -> Words:
    """A command: a client of peers/programs/http_clients.mjs."""
    return ("node", str(HERE / "http_clients.mjs"), library, f"http://{SERVER}:{port}", MODULES)


def shell(words: str) -> Words:
    """A command line of the shell."""
    return ("sh", "-c", words)


def command(words: str, port: int = PORT, **files: str) -> Serve:
    """Serve with a command line, and files of these names (`_` for `.`) and texts; {folder} and the like are replaced in all."""

    def serve(lab: Lab) -> None:
        places = {"{folder}": str(lab.folder), "{programs}": str(HERE), "{python}": sys.executable, "{modules}": MODULES}

        def placed(text: str) -> str:
            for name, place in places.items():
                text = text.replace(name, place)
            return text

        _pages(lab)
        for name, text in files.items():
            (lab.folder / name.replace("_", ".")).write_text(placed(text))
        lab.server.serve(port, "sh", "-c", f"exec {placed(words)}", stdout=-3, stderr=-3, stdin=-3, cwd=lab.folder)

    return serve


def _pages(lab: Lab) -> None:
    root = site(lab, small=300, large=300_000, huge=4_000_000)
    for name in ("small", "large", "huge"):
        if not (root / name).exists():
            (root / name).symlink_to(f"{name}.txt")


def text_of(name: str) -> str:
    """The text of a file of peers/programs."""
    return (HERE / name).read_text()


def python(server: str, file: str = "server.py") -> Serve:
    """Serve with a server of this file in peers/programs."""
    return command(f"{{python}} {{programs}}/{file} {server} {PORT}")


def node(framework: str, file: str = "server.mjs") -> Serve:
    """Serve with a framework of this file in peers/programs."""
    return command(f"node {{programs}}/{file} {framework} {PORT} {{modules}}")


def behind(origin: Serve, words: str, port: int, **files: str) -> Serve:
    """Serve with a proxy on this port, before an origin on the same host."""

    def serve(lab: Lab) -> None:
        origin(lab)
        command(words, port, **files)(lab)

    return serve


def files(port: int = PORT) -> tuple[Words, ...]:
    """Commands that fetch files: curl, a download manager, a probe each second."""
    url = f"http://{SERVER}:{port}"
    return (
        ("sh", "-c", f"for n in 1 2 3 4 5; do curl -s {url}/small {url}/large -o /dev/null -o /dev/null; sleep 0.7; done"),
        download(port),
        ("httping", "-c", "6", "-i", "1", "-r", f"{url}/small"),
    )


def download(port: int = PORT) -> Words:
    """A command: aria2 fetches a file over two connections."""
    return ("aria2c", "-q", "-x", "2", "-s", "2", "--allow-overwrite", "-o", "fetched", f"http://{SERVER}:{port}/huge")


H2O = command("h2o -c {folder}/h2o.conf", h2o_conf=text_of("h2o.conf"))
PSGI, RACKUP = text_of("app.psgi"), text_of("config.ru")

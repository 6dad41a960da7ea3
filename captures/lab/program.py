"""Shared parts of the programs of programs.py: how they are served, used and judged."""

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
"""The rules of which one must report something, by way, if a client sends one HTTP request after the other."""

KILLED: dict[str, Words] = {"killed": (*WAITING, "idle-close")}
"""The same for requests that take long: the fault then occurs in the middle of a stream, in which a pause, or a restart that
waits for the stream, does no harm.
"""


@dataclass(frozen=True)
class Program:
    """A program and how it is used.

    `use`: commands of the client, all run at once. `needs`: commands, Python packages and, with a slash, node modules. `may`: for
    a rule, the reason why its warnings or errors are also true for healthy use. `must`: for a way, the rules of which at least
    one must report something. `gateway`: a program that forwards requests, on its own host between client and server. `fault`: if
    the use fails by itself, the rules (or rules with their kinds) for each end of the recording; one of them must report
    something, and no other rule may.
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
        """Return whether all that the program needs is installed."""
        return all(
            (Path(MODULES) / "node_modules" / need[1:]).exists()
            if need.startswith("/")
            else shutil.which(need) or (need.isidentifier() and importlib.util.find_spec(need))
            for need in self.needs
        )


def user(way: str, port: int = PORT) -> Words:
    """Return the command for a way of peers/programs/user.py."""
    return (sys.executable, str(HERE / "user.py"), way, SERVER, str(port))


def http_client(library: str, port: int = PORT) -> Words:
    """Return the command of a client in peers/programs/http_clients.py."""
    return (sys.executable, str(HERE / "http_clients.py"), library, SERVER, str(port))


def script_user(library: str, port: int = PORT) -> Words:
    """Return the command of a client in peers/programs/http_clients.mjs."""
    return ("node", str(HERE / "http_clients.mjs"), library, f"http://{SERVER}:{port}", MODULES)


def shell(words: str) -> Words:
    """Return a command line for the shell."""
    return ("sh", "-c", words)


def command(words: str, port: int = PORT, **files: str) -> Serve:
    """Return a server that is started by a command line, with files of these names (`_` for `.`) and texts.

    {folder} and similar names are replaced in the command line and in the files.
    """

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
    """Return the text of a file in peers/programs."""
    return (HERE / name).read_text()


def python(server: str, file: str = "server.py") -> Serve:
    """Return a server of this file in peers/programs."""
    return command(f"{{python}} {{programs}}/{file} {server} {PORT}")


def node(framework: str, file: str = "server.mjs") -> Serve:
    """Return a server with a framework of this file in peers/programs."""
    return command(f"node {{programs}}/{file} {framework} {PORT} {{modules}}")


def behind(origin: Serve, words: str, port: int, **files: str) -> Serve:
    """Return a server with a proxy on this port, in front of an origin on the same host."""

    def serve(lab: Lab) -> None:
        origin(lab)
        command(words, port, **files)(lab)

    return serve


def files(port: int = PORT) -> tuple[Words, ...]:
    """Return commands that fetch files: curl, a download manager, and a probe each second."""
    url = f"http://{SERVER}:{port}"
    return (
        ("sh", "-c", f"for n in 1 2 3 4 5; do curl -s {url}/small {url}/large -o /dev/null -o /dev/null; sleep 0.7; done"),
        download(port),
        ("httping", "-c", "6", "-i", "1", "-r", f"{url}/small"),
    )


def download(port: int = PORT) -> Words:
    """Return a command with which aria2 fetches a file over two connections."""
    return ("aria2c", "-q", "-x", "2", "-s", "2", "--allow-overwrite", "-o", "fetched", f"http://{SERVER}:{port}/huge")


H2O = command("h2o -c {folder}/h2o.conf", h2o_conf=text_of("h2o.conf"))
PSGI, RACKUP = text_of("app.psgi"), text_of("config.ru")

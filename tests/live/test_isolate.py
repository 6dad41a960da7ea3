"""`wiredoctor run --isolate`: a program and its servers in a network namespace of their own."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.live.capturing import PROMPTLY, ROOT, ask, capturing, server
from tests.support.needs import needs
from tests.support.sweeps import SLOW
from wiredoctor.live.namespace import refusal

REAL = capturing()
CURL = needs("curl")
COMMAND = [sys.executable, "-m", "wiredoctor", "run", *PROMPTLY, "--isolate"]


def isolated(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=90, **options)


SERVES_ITSELF = """
cd "$1"; "$2" -m http.server 18080 --bind 127.0.0.1 >/dev/null 2>&1 & server=$!
for _ in 1 2 3 4 5 6 7 8 9; do sleep 0.3; curl -s -o /dev/null http://127.0.0.1:18080/ && break; done
curl -s -o /dev/null -w '%{http_code} %{local_ip}\\n' http://127.0.0.1:18080/missing
kill $server; exit 3
"""


@REAL
@CURL
@SLOW
def test_what_a_program_and_its_servers_say(tmp_path: Path) -> None:
    """What others say on the loopback interface of this host is not seen."""
    path = tmp_path / "r.json"
    with server() as other:
        command = ["sh", "-c", SERVES_ITSELF, "sh", str(tmp_path), sys.executable]
        pipe = subprocess.PIPE
        process = subprocess.Popen([*COMMAND, "-o", str(path), "--", *command], cwd=ROOT, text=True, stdout=pipe, stderr=pipe)
        ask(other, 3)
        out, err = process.communicate(timeout=90)
    assert (process.returncode, out) == (3, "404 127.0.0.1\n")
    assert "reaches only servers that it starts itself" in " ".join(err.split())
    (found,) = json.loads(path.read_bytes())["servers"]
    assert (found["name"], found["status_4xx"]) == ("127.0.0.1:18080", 1)


@REAL
@CURL
@SLOW
def test_it_reaches_nothing_else() -> None:
    with server() as port:
        done = isolated("curl", "-s", "--max-time", "5", f"http://127.0.0.1:{port}/")
    assert done.returncode == 7  # curl: failed to connect
    assert f"127.0.0.1:{port}" in done.stderr
    done = isolated("-q", "curl", "-s", "--max-time", "5", "http://192.0.2.1/")
    assert done.returncode == 7
    assert "the program called connect (to 192.0.2.1:80)" in done.stderr
    assert "with --isolate, the program has only a loopback interface" in done.stderr


@REAL
@SLOW
def test_the_namespace_ends_with_the_program() -> None:
    own = os.readlink("/proc/self/ns/net")
    name = isolated("-q", "sh", "-c", "readlink /proc/self/ns/net").stdout.strip()
    assert name.startswith("net:[")
    assert name != own
    used: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            used.add(os.readlink(process / "ns" / "net"))
        except OSError:  # it has ended
            continue
    assert own in used
    assert name not in used


@REAL
def test_other_interfaces_are_refused() -> None:
    done = isolated("-i", "any", "true")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--isolate: the program's network namespace has only the interface lo" in done.stderr


GIVES_UP_RIGHTS = """
import os
from wiredoctor.live.namespace import enter_own_network, refusal
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    enter_own_network()
except OSError as error:
    print(refusal(error))
"""


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="needs root, to give it up")
def test_without_rights_it_says_so() -> None:
    done = subprocess.run([sys.executable, "-c", GIVES_UP_RIGHTS], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "a network namespace needs root (CAP_SYS_ADMIN): try sudo\n"


def test_other_reasons_are_named() -> None:
    assert refusal(OSError(errno.ENOSPC, "No space left on device")).endswith("no space left on device")

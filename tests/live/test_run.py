"""Test `wiredoctor run`: only the connections of the program are reported, and the program runs as if alone."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.live.capturing import PROMPTLY, ROOT, ask, ask_and_wait, capturing, closing, descendants, server
from tests.support.sweeps import SLOW

REAL = capturing()

CLIENT = """
import socket, sys
for _ in range(int(sys.argv[2])):
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
        print(connection.getsockname()[1], flush=True)
        connection.sendall(b"GET /own HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        while connection.recv(65536):
            pass
sys.exit(5)
"""
"""Opens so many connections, one after the other, and prints their ports."""

SERVER = """
import socket
with socket.create_server(("127.0.0.1", 0)) as listening:
    print(listening.getsockname()[1], flush=True)
    connection, _ = listening.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
"""


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "wiredoctor", "run", *PROMPTLY, "-i", "lo", *words]


def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), cwd=ROOT, capture_output=True, text=True, check=False, timeout=60, **options)


def begin(*words: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command(*words), cwd=ROOT, text=True, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)


def reported(path: Path) -> dict[str, Any]:
    return json.loads(path.read_bytes())


@REAL
@SLOW
def test_only_its_own_connections_are_reported(tmp_path: Path) -> None:
    """Short ones too, among those of somebody else to the same server."""
    path = tmp_path / "report.json"
    with closing() as port, server() as other:
        process = begin("-o", str(path), "--", "sh", "-c", '"$@"; code=$?; sleep 1; exit $code', "sh",
                        sys.executable, "-c", CLIENT, str(port), "20")  # fmt: skip
        assert process.stdout is not None
        ports = [process.stdout.readline().strip() for _ in range(20)]
        for _ in range(5):
            ask_and_wait(port)
        ask(other, 15)
        output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (5, "")
    one = reported(path)
    assert one["summary"]["connections"] == 20
    clients = {finding["client"] for finding in one["findings"] if finding["client"]}
    assert clients <= {f"127.0.0.1:{number}" for number in ports}
    assert f"127.0.0.1:{other}" not in {finding["server"] for finding in one["findings"]}


@REAL
@SLOW
@pytest.mark.parametrize(("options", "is_shown"), [([], False), (["--show-secrets"], True)])
def test_arguments_of_the_program_may_be_secret(options: list[str], is_shown: bool, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("report.json", "report.html", "report.md")]
    outputs = [word for path in paths for word in ("-o", str(path))]
    with closing() as port:
        done = run(*options, *outputs, "--", sys.executable, "-c", CLIENT, str(port), "1", "user:hunter2")
    for text in (done.stderr, *(path.read_text("utf-8") for path in paths)):
        assert ("user:hunter2" in text) == is_shown
    assert re.search(
        r"\n1 request; .*\. The packets were not kept\..* Next: wiredoctor exchanges FILE\.pcapng\n", _joined(done.stderr)
    )


def _joined(text: str) -> str:
    """The text without its line breaks, but for the first and the last of the last part."""
    part = text.rpartition("\n\n")[2].strip("\n")
    return "\n" + " ".join(part.split()) + "\n"


@REAL
@SLOW
def test_connections_that_it_accepts_are_its_own(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    process = begin("-o", str(path), sys.executable, "-c", SERVER)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    with server() as other:
        ask(other, 3)
    ask_and_wait(port)
    process.communicate(timeout=60)
    assert process.returncode == 0
    summary = reported(path)["summary"]
    assert (summary["connections"], summary["exchanges"]) == (1, 1)


@REAL
@SLOW
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["sh", "-c", "exit 7"], 7, "had no TCP connection"),
        (["sh", "-c", "kill -TERM $$"], 143, "had no TCP connection"),
        (["no-such-program"], 127, "no-such-program: no such file or directory"),
        (["/etc/passwd"], 126, "/etc/passwd: permission denied"),
    ],
)
def test_the_exit_code_is_that_of_the_program(words: list[str], code: int, said: str) -> None:
    done = run("--", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr.splitlines()[-1]


@pytest.mark.slow
@REAL
def test_the_program_gets_the_environment_of_the_user() -> None:
    """Not what wiredoctor sets for its own libraries."""
    unset = {"_RJEM_MALLOC_CONF", "POLARS_ENGINE_AFFINITY", "POLARS_MAX_THREADS"}
    environment = {name: value for name, value in os.environ.items() if name not in unset} | {"OPENBLAS_NUM_THREADS": "3"}
    code = f"import os; print(os.environ['OPENBLAS_NUM_THREADS'], {unset} & {{*os.environ}})"
    assert run("--", sys.executable, "-c", code, env=environment).stdout == "3 set()\n"


@REAL
@SLOW
def test_what_follows_the_program_is_for_it() -> None:
    done = run("cat", "-A", "-", input="a\tb\n")
    assert (done.returncode, done.stdout) == (0, "a^Ib$\n")


@REAL
@SLOW
def test_findings_fail_a_program_that_succeeded() -> None:
    with server() as port:
        code = f"from tests.live.capturing import ask; ask({port}, 15)"
        done = run("-q", "--fail-on", "warning", "--", sys.executable, "-c", code)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "held back the body" in done.stderr


@REAL
@SLOW
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_passed_on(number: signal.Signals) -> None:
    process = begin("--", "sleep", "60")
    end = time.monotonic() + 30
    while not descendants(process.pid, "sleep") and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == 128 + number


@REAL
@SLOW
@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("sleep 60", 143),
        ("trap 'exit 3' TERM; while :; do sleep 0.1; done", 3),
        ("trap '' TERM; while :; do sleep 0.1; done", 137),
    ],
)
def test_a_time_limit_ends_the_program(script: str, code: int) -> None:
    done = run("--duration", "300ms", "--", "sh", "-c", f"exec 2>/dev/null; {script}")
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("wiredoctor: sh was still running at its time limit, so it was ended (--duration 300ms)\n")


@REAL
@SLOW
def test_a_program_within_its_time_limit_is_not_ended() -> None:
    done = run("--duration", "1m", "--", "sh", "-c", "exit 4")
    assert (done.returncode, "--duration" in done.stderr) == (4, False)


def test_a_time_limit_that_is_none() -> None:
    done = run("--duration", "soon", "--", "true")
    assert (done.returncode, done.stderr) == (2, "wiredoctor: --duration: 'soon' is not a duration like 500ms, 30s, 2min or 1h\n")


@REAL
@SLOW
@pytest.mark.parametrize("more", [(), ("--filter", "host 127.0.0.1")])
def test_only_the_port_is_captured(more: tuple[str, ...], tmp_path: Path) -> None:
    path, port, other = tmp_path / "report.json", closed_port(), closed_port()
    script = "; ".join(f"bash -c '</dev/tcp/127.0.0.1/{one}' 2>/dev/null" for one in (port, other, port))
    run("-o", str(path), "--port", str(port), *more, "--", "sh", "-c", script)
    report = reported(path)
    assert report["summary"]["connections"] == 2
    assert {finding["server"] for finding in report["findings"]} == {f"127.0.0.1:{port}"}


@pytest.mark.slow
@REAL
def test_it_does_not_run_what_it_cannot_watch(tmp_path: Path) -> None:
    done = run("-i", "no-such-one", "--", "touch", str(tmp_path / "ran"))
    assert done.returncode == 2
    assert "no such interface: no-such-one" in done.stderr
    assert os.listdir(tmp_path) == []


REFUSED = """
import socket, sys
with socket.socket() as one:
    if sys.argv[2:]:
        one.bind(("0.0.0.0", 0))
    sys.exit(one.connect_ex(("127.0.0.1", int(sys.argv[1]))) != 111)
"""
"""Connects to a port at which nobody listens, perhaps from a port that it chose before."""


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


@REAL
@SLOW
@pytest.mark.parametrize("more", [(), ("bound",)])
def test_a_refused_connection_is_reported(more: tuple[str, ...], tmp_path: Path) -> None:
    """The RST takes the local port from the socket before anybody can ask for it. That of somebody else is not reported."""
    path, port, other = tmp_path / "report.json", closed_port(), closed_port()
    done = run("-o", str(path), "--", "sh", "-c", f'"$@" && bash -c "</dev/tcp/127.0.0.1/{other}" 2>/dev/null; exit 0', "sh",
               sys.executable, "-c", REFUSED, str(port), *more)  # fmt: skip
    assert done.returncode == 0
    one = reported(path)
    assert one["summary"]["connections"] == 2
    assert {finding["rule"] for finding in one["findings"]} == {"connect-failed"}


@REAL
@SLOW
def test_the_refused_connections_of_others_are_not_reported(tmp_path: Path) -> None:
    path, port, other = tmp_path / "report.json", closed_port(), closed_port()
    process = begin("-o", str(path), "--", "sh", "-c", 'echo; "$@"; sleep 1', "sh", sys.executable, "-c", REFUSED, str(port))
    assert process.stdout is not None
    process.stdout.readline()
    for _ in range(3):
        with socket.socket() as one:
            assert one.connect_ex(("127.0.0.1", other))
    process.communicate(timeout=60)
    assert reported(path)["summary"]["connections"] == 1


@REAL
@SLOW
def test_connections_that_were_not_captured_are_not_denied() -> None:
    done = run("--filter", "tcp port 1", "--", sys.executable, "-c", REFUSED, str(port := closed_port()))
    assert f"called connect (to 127.0.0.1:{port}), but none of its packets were captured" in done.stderr


@REAL
@SLOW
def test_a_process_left_behind_does_not_hold_the_streams() -> None:
    begun = time.monotonic()
    done = run("-q", "--", "sh", "-c", "setsid sleep 15 </dev/null >/dev/null 2>&1 & echo started")
    assert (done.returncode, done.stdout) == (0, "started\n")
    assert time.monotonic() - begun < 12  # run() reads until nobody can write any more


MANY = """
import socket, sys
for _ in range(2000):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
open(sys.argv[1], "w").close()
"""
"""Listens more often than a socket holds reports of, and leaves a file."""


@pytest.mark.skipif(sys.platform != "linux", reason="needs seccomp")
def test_the_program_does_not_wait_for_who_watches(tmp_path: Path) -> None:
    """Nobody reads the reports until the program has ended, and then all of them are there."""
    from wiredoctor.live.supervisor import Supervisor

    program, path, end = (
        Supervisor([sys.executable, "-c", MANY, str(tmp_path / "ended")]),
        tmp_path / "ended",
        time.monotonic() + 30,
    )
    with contextlib.closing(program):
        program.begin()
        while not path.exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert path.exists()
        program.wait()
    assert program.ended == 0
    assert len(program.servers) > 1000 or not program.is_supported


@REAL
@SLOW
@pytest.mark.parametrize(("code", "expected"), [(0, 2), (7, 7)])
def test_a_file_that_cannot_be_written_fails_a_program_that_succeeded(code: int, expected: int, tmp_path: Path) -> None:
    path = tmp_path / "gone" / "report.json"
    path.parent.mkdir()
    with server() as port:
        ask_once = f"import os, sys; from tests.live.capturing import ask; ask({port}, 1)"
        ends = f"os.rmdir({str(path.parent)!r}); sys.exit({code})"
        done = run("-q", "-o", str(path), "--", sys.executable, "-c", f"{ask_once}; {ends}")
    assert done.returncode == expected
    assert str(path) in done.stderr


@REAL
@SLOW
def test_the_files_are_written_without_a_connection(tmp_path: Path) -> None:
    path, page = tmp_path / "report.json", tmp_path / "report.html"
    done = run("-q", "-o", str(path), "-o", str(page), "--", "true")
    assert (done.returncode, done.stdout) == (0, "")
    assert "had no TCP connection" in done.stderr
    assert reported(path)["summary"]["connections"] == 0
    assert reported(path)["findings"] == []
    assert page.stat().st_size


def wait_for(process: subprocess.Popen[str], name: str) -> int:
    """Its process of this name, once it runs."""
    end = time.monotonic() + 30
    while not (found := descendants(process.pid, name)) and time.monotonic() < end:
        time.sleep(0.05)
    return found[0]


@REAL
@SLOW
def test_the_second_interrupt_is_passed_on() -> None:
    """The first one comes from the terminal to the program, too."""
    process = begin("-q", "--", "sleep", "20")
    wait_for(process, "sleep")
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=15)
    assert process.returncode == 128 + signal.SIGINT


@REAL
@SLOW
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_program_starts_ends_without_it(number: signal.Signals, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    given = [sys.executable, "-c", WAITS, "run", "-i", "lo", "--", "touch", str(ran)]
    with subprocess.Popen(given, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        process.send_signal(number)
        process.communicate(timeout=15)
    assert process.returncode == 128 + number
    assert not ran.exists()


WAITS = """
import time
from wiredoctor.cli import main
from wiredoctor.cli.commands import run_program
def begin(session):
    print("waits", flush=True)
    time.sleep(20)
run_program._begin = begin
main()
"""
"""Captures nothing yet, so the program is not started."""


FAILS = """
from pathlib import Path
from wiredoctor.cli import main
from wiredoctor.live.session import Session
from wiredoctor.live.recorder_client import RecorderError
def look(self, patience, real=Session.look):
    if Path("{started}").exists():
        raise {error}("out of order")
    return real(self, patience)
Session.look = look
main()
"""


@REAL
@SLOW
@pytest.mark.parametrize("error", ["RecorderError", "ValueError"])
@pytest.mark.parametrize(("own", "code"), [(7, 7), (0, None)])
def test_a_program_ends_although_the_capture_fails(error: str, own: int, code: int | None, tmp_path: Path) -> None:
    started, ran = tmp_path / "started", tmp_path / "ran"
    words = ["run", "-i", "lo", "--", "sh", "-c", f"touch {started}; sleep 2; touch {ran}; exit {own}"]
    given = [sys.executable, "-c", FAILS.format(error=error, started=started), *words]
    done = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ran.exists()
    assert done.returncode == (code or (2 if error == "RecorderError" else 3))
    assert ("out of order" if error == "RecorderError" else "internal error: ValueError") in done.stderr

"""`wiredoctor live` of packets that another program captures: standard input, ssh, kubectl; and the choice of an interface."""

from __future__ import annotations

import json
import os
import pty
import shlex
import struct
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.capturing import PROMPTLY, ROOT, ask, capturing, next_line, server
from tests.support.recordings import find_recording
from tests.support.sweeps import SLOW, sweep
from wiredoctor.cli.exit_codes import UsageError
from wiredoctor.cli.live_source import find_source, kubectl_command, ssh_command

REAL = capturing()
POSIX = pytest.mark.skipif(os.name != "posix", reason="live needs Linux or macOS")

PCAP = find_recording("server-head-body-split.pcap")
PCAPNG = find_recording("client-sees-head-body-split.pcapng")

KUBECTL = """#!/bin/sh
# attached only once a line has come: what is written before that is lost, as with the real one
printf '%s\\n' "$@" > "$NOTES"
read go && cat "$CAPTURE"
"""

SSH = """#!/bin/sh
printf '%s\\n' "$@" > "$NOTES"
export SSH_CONNECTION="127.0.0.1 $CLIENT_PORT 127.0.0.1 $SERVER_PORT"
shift
exec sh -c "$*"
"""


@contextmanager
def live(*words: str, path: Path | None = None, **more: str) -> Generator[subprocess.Popen[bytes]]:
    """Starts the command; `path`: a folder whose programs come first."""
    environment = {**os.environ, **more, "PATH": f"{path}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "wiredoctor", "live", *PROMPTLY, *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, bufsize=0) as process:
        yield process


def program(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, "utf-8")
    (folder / name).chmod(0o755)
    return folder


def analyzed(path: Path) -> list[tuple[str, float]]:
    done = subprocess.run(
        [sys.executable, "-m", "wiredoctor", "analyze", str(path), "--format", "jsonl"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    return told(done.stdout)


def told(output: bytes) -> list[tuple[str, float]]:
    """Rule and time of each finding in JSON Lines."""
    *findings, _ = map(json.loads, output.splitlines())
    return sorted((one["rule"], one["elapsed"]) for one in findings)


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("path", sweep([PCAP, PCAPNG], {PCAPNG}.__contains__), ids=["pcap", "pcapng"])
def test_standard_input_is_read_while_it_grows(path: Path) -> None:
    """All but the last bytes: what is final is told, and at the end the rest; the same as for a file."""
    data = path.read_bytes()
    with live("-", "--format", "jsonl") as process:
        assert process.stdin is not None
        for begin in range(0, len(data) - 100, 1000):
            process.stdin.write(data[begin : min(begin + 1000, len(data) - 100)])
            process.stdin.flush()
        first = next_line(process)  # type: ignore[arg-type]
        assert json.loads(first)["rule"] == "nagle-delayed-ack"
        output, errors = process.communicate(data[-100:], timeout=60)
    assert process.returncode == 0
    assert errors.startswith(b"wiredoctor: reading a capture from standard input\n")
    assert told(first + output) == analyzed(path)  # type: ignore[operator]


@SLOW
@POSIX
def test_silence_of_a_stream_is_no_silence_on_the_wire(tmp_path: Path) -> None:
    """A request, and no response in the next 5 s because the stream has stalled: the rest comes, and nothing was wrong."""
    data, at, records, half = PCAP.read_bytes(), 24, 0, 0
    now = time.time()
    first = struct.unpack_from("<I", data, at)[0]
    moved = bytearray(data)  # as if it was captured at this moment, or silence would not be believed anyway
    while at < len(data):
        seconds, _, captured = struct.unpack_from("<III", data, at)
        struct.pack_into("<I", moved, at, seconds - first + int(now))
        at += 16 + captured
        records += 1
        half = at if records == 4 else half  # SYN, SYN-ACK, ACK, request
    path = tmp_path / "now.pcap"
    path.write_bytes(moved)
    with live("-", "--format", "jsonl") as process:
        assert process.stdin is not None
        process.stdin.write(moved[:half])
        process.stdin.flush()
        time.sleep(5)
        output, _ = process.communicate(moved[half:], timeout=60)
    assert told(output) == analyzed(path)


@POSIX
@pytest.mark.parametrize(
    ("data", "reason"),
    sweep(
        [
            (b"", "ended before the header of a capture arrived"),
            (b"\xd4\xc3", "ended before the header of a capture arrived"),
            (b"hello", "neither a pcap nor a pcapng"),
        ],
        lambda case: case[0] == b"hello",
    ),
)
def test_what_is_no_capture_is_told(data: bytes, reason: str) -> None:
    with live("-") as process:
        output, errors = process.communicate(data, timeout=60)
    assert process.returncode == 2
    assert reason.encode() in errors
    assert output.startswith(b"The capture ended early: standard input ")


@POSIX
@SLOW
def test_a_pod_is_captured_in_an_ephemeral_container(tmp_path: Path) -> None:
    folder, notes = program(tmp_path / "bin", "kubectl", KUBECTL), tmp_path / "notes"
    words = ("--kubectl", "shop/web-1", "--filter", "tcp port 8080", "--format", "jsonl", "--duration", "1h")
    with live(*words, path=folder, NOTES=str(notes), CAPTURE=str(PCAP)) as process:
        output, errors = process.communicate(timeout=60)
    given = notes.read_text("utf-8").splitlines()
    said, shown = (line.removeprefix("wiredoctor: ") for line in errors.decode().splitlines()[:2])
    assert said == "running tcpdump in an ephemeral container of the pod shop/web-1, on all interfaces (-i chooses one):"
    assert shlex.split(shown) == ["kubectl", *given]
    assert b"the node may keep the captured packets" in errors
    assert given[:6] == ["debug", "-n", "shop", "web-1", "--quiet", "-i"]
    assert "--image=nicolaka/netshoot" in given
    assert given[-1] == "tcp port 8080"
    assert int(given[given.index("timeout") + 1]) >= 3600  # it ends there, too, if the connection is lost
    assert process.returncode == 0
    assert told(output) == analyzed(PCAP)


@REAL
@SLOW
def test_another_host_is_captured_without_the_connection_to_it(tmp_path: Path) -> None:
    """The capture runs on the loopback interface; one of its servers stands for sshd, and its connections are left out."""
    folder, notes, kept = program(tmp_path / "bin", "ssh", SSH), tmp_path / "notes", tmp_path / "kept.pcapng"
    with server() as port, server() as other:
        ports = {"CLIENT_PORT": "1-65535", "SERVER_PORT": str(other)}
        # tcpdump takes a range where the real variable has a port
        script = SSH.replace('exec sh -c "$*"', 'exec sh -c "$(printf %s "$*" | sed "s/tcp port/tcp portrange/")"')
        program(folder, "ssh", script)
        words = ("--ssh", "app1", "-i", "lo", "--filter", f"tcp portrange {port} or tcp portrange {other}", "--write", str(kept))
        with live(*words, "--format", "jsonl", path=folder, NOTES=str(notes), **ports) as process:
            assert process.stderr is not None
            said, shown = (process.stderr.readline().decode().removeprefix("wiredoctor: ") for _ in range(2))
            while b"listening on" not in process.stderr.readline():
                assert process.poll() is None
            time.sleep(0.3)
            ask(other, 20)
            ask(port, 20)
            found = json.loads(next_line(process))  # type: ignore[arg-type]
            process.terminate()
            process.communicate(timeout=60)
    assert said == "running tcpdump on app1, on interface lo, without the packets of this SSH connection:\n"
    assert shlex.split(shown) == ["ssh", *notes.read_text("utf-8").splitlines()]
    assert (found["rule"], found["server"]) == ("nagle-delayed-ack", f"127.0.0.1:{port}")
    assert process.returncode == 0
    captured = subprocess.run(["tcpdump", "-nr", str(kept)], capture_output=True, text=True, check=True).stdout
    assert f".{port}" in captured
    assert f".{other}" not in captured


@POSIX
def test_all_of_the_script_runs_below_sudo(tmp_path: Path) -> None:
    """Without its rights nothing could end tcpdump. sudo takes the variables away, as its default is."""
    notes, folder = tmp_path / "notes", tmp_path / "bin"
    program(folder, "sudo", '#!/bin/sh\n[ "$1 $2" = "-n env" ] || exit 9\nshift\nexec env -i PATH="$PATH" ROOT=1 "$@"\n')
    ends = f'trap "echo $ROOT ended >> {notes}; exit" TERM\nwhile :; do sleep 0.1; done\n'
    program(folder, "tcpdump", f'#!/bin/sh\nprintf "%s\\n" "$ROOT" "$@" > {notes}\n{ends}')
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "SSH_CONNECTION": "10.0.0.1 40000 10.0.0.2 2222"}
    _, _, *remote = ssh_command("app1", "eth0", "host 'a'", None, sudo=True)
    with subprocess.Popen(["sh", "-c", " ".join(remote)], env=environment, stdin=subprocess.PIPE) as process:
        end = time.monotonic() + 20
        while not notes.exists() and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.5)
        process.communicate(timeout=20)
    first, *words = notes.read_text("utf-8").splitlines()
    assert first == "1"
    assert words[-2] == "not (tcp port 40000 and tcp port 2222) and (host 'a')"
    assert words[-1].endswith("ended")


@pytest.mark.parametrize("text", ["tcp port 80", "host 'a' and \"b\"", "a$(touch x)`touch x`\\$HOME"])
def test_a_filter_reaches_tcpdump_as_it_was_given(text: str, tmp_path: Path) -> None:
    folder = program(tmp_path / "bin", "tcpdump", "#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "SSH_CONNECTION": "10.0.0.1 40000 10.0.0.2 2222"}
    _, _, *remote = ssh_command("app1", "eth0", text, 96, sudo=False)
    reader, writer = os.pipe()  # its end would end tcpdump
    command = ["sh", "-c", " ".join(remote)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, stdin=reader)
    os.close(writer)
    os.close(reader)
    own = "not (tcp port 40000 and tcp port 2222)"
    assert done.stdout.splitlines() == ["-i", "eth0", "-U", "-s", "96", "-w", "-", f"{own} and ({text})"]
    *command, last = kubectl_command("shop/web", "image", "eth0", text, None, 60)
    behind = command[command.index("--") + 1 :]
    behind.remove("timeout")
    behind.remove("60")
    done = subprocess.run([*behind, last], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True, input="\n")
    assert done.stdout.splitlines() == ["-i", "eth0", "-U", "-w", "-", text]
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


@pytest.mark.parametrize(
    ("given", "interfaces", "ssh", "kubectl", "image", "local", "reason"),
    [
        ("trace.pcap", None, None, None, None, [], "wiredoctor analyze trace.pcap"),
        ("-", ["lo"], None, None, None, [], "already a capture"),
        ("-", None, "app1", None, None, [], "cannot be combined"),
        (None, None, "app1", "web", None, [], "cannot be combined"),
        (None, None, "app1", None, "x", [], "--image needs --kubectl"),
        (None, None, "-oProxyCommand=x", None, None, [], "is not a host"),
        (None, None, None, "a/b/c", None, [], "is not NAMESPACE/POD"),
        (None, None, None, "--all", None, [], "is not NAMESPACE/POD"),
        (None, ["lo", "eth0"], "app1", None, None, [], "one interface"),
        (None, None, "app1", None, None, ["--backend"], "on this machine only"),
    ],
)
def test_sources_that_do_not_go_together(
    given: str | None, interfaces: list[str] | None, ssh: str | None, kubectl: str | None, image: str | None,
    local: list[str], reason: str,
) -> None:  # fmt: skip
    with pytest.raises(UsageError, match=reason):
        find_source(given, interfaces, ssh, kubectl, image, None, None, None, local, sudo=False)


@REAL
def test_without_an_interface_they_are_listed() -> None:
    with server() as port, live() as process:
        end = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < end:
            ask(port, 5)
        output, errors = process.communicate()
    assert (process.returncode, output) == (2, b"")
    lines = errors.decode().splitlines()
    assert lines[0] == "Traffic in the last 1 s:"
    assert lines[1].split()[:2] == ["0", "any"]
    assert "lo" in [line.split()[1] for line in lines[2:-1] if line.endswith(("packets", "packet"))]
    assert lines[-1] == "wiredoctor: live: name an interface, as in -i any"


@REAL
@SLOW
def test_on_a_terminal_it_asks() -> None:
    pid, file = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        command = [sys.executable, "-m", "wiredoctor", "live", "--duration", "0.5s"]
        os.execve(sys.executable, command, {**os.environ, "TERM": "dumb"})
    out = b""
    while b"Capture on which interface" not in out:
        out += os.read(file, 4096)
    os.write(file, b"lo\n")
    try:
        while piece := os.read(file, 4096):
            out += piece
    except OSError:
        pass
    os.close(file)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"capturing on lo with" in out

"""Run `wiredoctor live` in a network namespace, and observe it from outside: its output with times, and the resources that its
processes use.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from processes import as_installed
from record_http import DATA, Host, cable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator, Sequence

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "wiredoctor")
TICKS = os.sysconf("SC_CLK_TCK")
STARTED_WITHIN, ENDED_WITHIN = 30.0, 180.0
"""Seconds."""


def environment(folder: Path) -> dict[str, str]:
    """Temporary files go to a folder of ours: what is left there is seen."""
    path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    return as_installed() | {"TMPDIR": str(folder), "PYTHONPATH": path, "TERM": "xterm-256color"}


class Said(NamedTuple):
    """A line of standard output: nanoseconds since 1970 at which it was there to be read, and what it says."""

    time: int
    finding: dict[str, Any]


class Live:
    """`wiredoctor live` at work, its output on a pipe (jsonl) or on a terminal (text). `command`: what runs wiredoctor."""

    def __init__(
        self,
        host: Host,
        folder: Path,
        *words: str,
        terminal: bool = False,
        interface: str = "eth0",
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.host, self.folder = host, folder
        self.temporary = folder / "temporary"
        self.temporary.mkdir(exist_ok=True)
        self.others = set(self._running())
        self.said: list[Said] = []
        self.notes: list[str] = []
        self.screen = ""
        call = [*command, "live", "-i", interface, "--verbose", *words, *(() if terminal else ("--format", "jsonl"))]
        options: dict[str, Any] = {"cwd": folder, "env": environment(self.temporary), "stdin": subprocess.DEVNULL}
        if terminal:
            ours, theirs = pty.openpty()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 132, 0, 0))
            self.process = host.start(*call, stdout=theirs, stderr=subprocess.PIPE, **options)
            os.close(theirs)
            self._read(self._draw, ours)
        else:
            self.process = host.start(*call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
            self._read(self._hear, self.process.stdout)
        self._read(self._note, self.process.stderr)

    def _read(self, how: Any, source: Any) -> None:
        threading.Thread(target=how, args=(source,), daemon=True).start()

    def _hear(self, out: BinaryIO) -> None:
        for line in out:
            said = Said(time.time_ns(), json.loads(line))
            if "rule" in said.finding:  # other lines tell the lag, and the summary
                self.said.append(said)

    def _note(self, out: BinaryIO) -> None:
        for line in out:
            self.notes.append(line.decode(errors="replace").strip())

    def _draw(self, terminal: int) -> None:
        with contextlib.suppress(OSError):
            while piece := os.read(terminal, 1 << 16):
                self.screen = (self.screen + piece.decode(errors="replace"))[-20_000:]

    def until_begun(self) -> str:
        """Waits until it captures; the line that says with what."""
        deadline = time.monotonic() + STARTED_WITHIN
        while time.monotonic() < deadline and self.process.poll() is None:
            for line in (*self.notes, *self.screen.splitlines()):
                if "capturing on" in line:
                    return line[line.index("capturing on") :]
            time.sleep(0.02)
        raise RuntimeError(f"live has not begun: {self.notes} {self.screen}")

    def lag(self) -> str:
        """What the terminal says now of the analysis: up to date, or how far behind."""
        found = re.findall(r"analysis: ([^\x1b\r\n]*)", self.screen)
        return found[-1].strip() if found else "not shown"

    def stop(self) -> float:
        """Ends it as Ctrl-C does; seconds that it took."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(ENDED_WITHIN)
        took = time.monotonic() - begun
        time.sleep(0.3)  # what the pipes still hold is read
        if self.process.returncode not in (0, 130):  # 130: Ctrl-C
            raise RuntimeError("\n".join((f"live ended with {self.process.returncode}:", *self.notes)))
        return took

    def dropped(self) -> int:
        """Packets that the kernel dropped, as it was said at the end."""
        found = re.findall(r"the kernel dropped ([\d,]+) packets", " ".join((*self.notes, self.screen)))
        return int(found[-1].replace(",", "")) if found else 0

    def _running(self) -> list[int]:
        """The processes in the namespace. `ip netns pids` would do, but takes 20 s now and then on a busy machine."""
        space, found = os.stat(f"/run/netns/{self.host.name}"), list[int]()
        for path in Path("/proc").glob("[0-9]*/ns/net"):
            with contextlib.suppress(OSError):  # it has ended
                one = os.stat(path)
                if (one.st_dev, one.st_ino) == (space.st_dev, space.st_ino):
                    found.append(int(path.parts[2]))
        return found

    def processes(self) -> dict[int, str]:
        """All processes of it that run now, and what they are."""
        others = self.others | {traffic.pid for traffic in self.host.started if traffic is not self.process}
        return {one: what for one in self._running() if one not in others and (what := name_of(one))}

    def cpu(self) -> float:
        """Seconds of CPU that all its processes have taken, those included that have ended."""
        return sum(self.each_cpu().values())

    def each_cpu(self) -> dict[str, float]:
        """The same of each process."""
        return {what: _cpu(one) for one, what in self.processes().items()}

    def resident(self) -> dict[str, float]:
        """MB of each process now."""
        return {what: size_of(one) for one, what in self.processes().items()}


def delay(line: Said) -> float:
    """Seconds from the newest packet of the evidence to the line."""
    finding = line.finding
    begin = _nanoseconds(finding["time"]) - round(finding["elapsed"] * 1e9)
    last = max(piece["elapsed"] for piece in finding["evidence"])
    return (line.time - begin) / 1e9 - last


def _nanoseconds(text: str) -> int:
    """RFC 3339, UTC, with nanoseconds: nanoseconds since 1970."""
    whole, _, part = text.rstrip("Z").partition(".")
    seconds = time.strptime(whole, "%Y-%m-%dT%H:%M:%S")
    return int((time.mktime(seconds) - time.timezone) * 1e9) + int(part.ljust(9, "0")[:9])


def name_of(pid: int) -> str:
    """The analysis, the recorder, or the name of a program; empty where it runs no more."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""
    if state == "Z" or not words[0]:
        return ""
    known = {b"wiredoctor": "analysis", b"live_driver.py": "analysis", b"isolated.py": "recorder"}
    names = [os.path.basename(word) for word in words[:5]]
    return next((known[name] for name in names if name in known), os.path.basename(words[0]).decode())


def _cpu(pid: int) -> float:
    """proc(5): utime, stime, and both of the children that were waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / TICKS


def size_of(pid: int, field: str = "VmRSS") -> float:
    """MB of memory of a process: a field of /proc/PID/status. 0 for one that runs no more."""
    try:
        return int(Path(f"/proc/{pid}/status").read_text().split(f"{field}:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return 0.0


def waited(pid: int) -> float:
    """Seconds for which the main thread of a process has waited for a processor (/proc/PID/schedstat); 0 if that is unknown."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


@contextmanager
def lab() -> Generator[tuple[Host, Host, Path]]:
    """Client, server, and a folder, which is gone in the end. No IPv6: its kernel would send packets of its own."""
    DATA.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="live-", dir=DATA) as name, cable() as (client, server, _):
        Path(name).chmod(0o755)
        for host in (client, server):
            host.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
        yield client, server, Path(name)


def given(options: argparse.Namespace) -> tuple[str, ...]:
    """The options of `live` that were given to the benchmark."""
    return tuple(
        word
        for name, value in (("--backend", options.backend), ("--nice", options.nice))
        if value is not None
        for word in (name, str(value))
    )


def passed(host: Host, interface: str = "eth0") -> int:
    """Packets that have passed the interface so far, in both directions; those that its other end had no room for included."""
    for line in host.run("cat", "/proc/net/dev").stdout.decode().splitlines():
        name, _, counts = line.partition(":")
        if name.strip() == interface:
            fields = [int(field) for field in counts.split()]
            return fields[1] + fields[9] + fields[11]
    raise RuntimeError(f"no {interface}")


def in_file(path: Path) -> tuple[int, str]:
    """Packets in a capture file, as capinfos counts them, and what it complains of."""
    done = subprocess.run(("capinfos", "-M", "-c", str(path)), capture_output=True, timeout=600, check=False)
    counted = re.search(r"Number of packets: *(\d+)", done.stdout.decode())
    return int(counted[1]) if counted else -1, done.stderr.decode().strip()


def analyze(folder: Path, capture: str, output: str) -> dict[str, Any]:
    """`wiredoctor analyze` in this folder; the report, which is also in the file `output`."""
    words = (*COMMAND, "analyze", capture, "-o", output, "--quiet")
    subprocess.run(words, cwd=folder, env=environment(folder), check=True, capture_output=True, timeout=600)
    return json.loads((folder / output).read_bytes())

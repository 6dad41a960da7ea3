"""Create two network namespaces joined by a veth pair or by a simulated wire, with tcpdump at their ends.

Nothing leaves the machine: each namespace can only reach the other one. Offloads are off unless requested, so every segment is
captured as on a wire with an MTU of 1500.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from impairments import Conditions

OFFLOADS = ("tso", "gso", "gro", "tx", "rx", "sg")
PREFIX = "wd"
"""The beginning of the names of namespaces."""

STARTED_WITHIN = 20.0
"""The maximum time in seconds until a server, or tcpdump, is ready."""


@dataclass
class Host:
    """One end of the cable: a namespace with an interface `eth0`, an IPv4 address and an IPv6 address."""

    name: str
    address: str
    address6: str
    mac: str
    started: list[subprocess.Popen[Any]] = field(default_factory=list)

    def command(self, words: list[str]) -> list[str]:
        """Return the command line that runs `words` inside this namespace."""
        return ["ip", "netns", "exec", self.name, *words]

    def run(self, *words: str, timeout: float = 60, check: bool = True, **options: Any) -> subprocess.CompletedProcess[bytes]:
        """Run a command until it ends, and return its output. If it fails, show the output."""
        done = subprocess.run(self.command(list(words)), capture_output=True, timeout=timeout, check=False, **options)
        if check and done.returncode:
            message = f"{shlex.join(words)} ended with {done.returncode}\n"
            raise RuntimeError(message + done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace"))
        return done

    def start(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a command in its own process group, which ends with the lab."""
        process = subprocess.Popen(self.command(list(words)), start_new_session=True, **options)
        self.started.append(process)
        return process

    def wait_for_listener(self, port: int) -> None:
        """Wait until a program in the namespace listens on this TCP port. Raise TimeoutError after 20 s."""
        deadline = time.monotonic() + STARTED_WITHIN
        while time.monotonic() < deadline:
            listeners = self.run("ss", "-Hltn", f"sport = :{port}").stdout
            if listeners.strip():
                return
            time.sleep(0.05)
        raise TimeoutError(f"nothing listens on port {port} of {self.name}")

    def serve(self, port: int, *words: str, **options: Any) -> None:
        """Start a command as `start` does, and wait until a program listens on this TCP port."""
        self.start(*words, **options)
        self.wait_for_listener(port)

    def stop_all(self) -> None:
        for process in reversed(self.started):
            stop(process)
        self.started.clear()


def stop(process: subprocess.Popen[Any], by: signal.Signals = signal.SIGTERM, within: float = 5.0) -> None:
    """End a process group that `Host.start` started; kill it if the signal does not suffice."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, by)
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(within)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=20)


@contextmanager
def namespaces() -> Iterator[tuple[Host, Host]]:
    """Yield a client (10.9.0.1, fd00:9::1) and a server (10.9.0.2, fd00:9::2) that are not joined yet; remove them at the end."""
    tag = f"{PREFIX}{os.getpid()}"
    client = Host(f"{tag}c", "10.9.0.1", "fd00:9::1", "02:00:0a:09:00:01")
    server = Host(f"{tag}s", "10.9.0.2", "fd00:9::2", "02:00:0a:09:00:02")
    with ExitStack() as cleanup:
        for host in (client, server):
            _ip("netns", "add", host.name)
            cleanup.callback(_ip, "netns", "del", host.name)
            cleanup.callback(host.stop_all)
        yield client, server


@contextmanager
def cable(conditions: Conditions | None = None, *, offload: bool = False) -> Iterator[tuple[Host, Host, wire.Wire | None]]:
    """Yield client and server, joined by a veth pair or, under these conditions, by a wire, which is the third value."""
    with namespaces() as (client, server), ExitStack() as cleanup:
        strung = None
        if conditions:
            strung = cleanup.enter_context(wire.strung({"client": client.name, "server": server.name}, conditions))
        else:
            _ip("link", "add", "eth0", "netns", client.name, "type", "veth", "peer", "name", "eth0", "netns", server.name)
        for host, peer in ((client, server), (server, client)):
            _configure(host, peer, offload=offload)
        time.sleep(0.2)
        yield client, server, strung


PROXY_FRONT = "10.9.1.2"
"""The address at which a user in front of a proxy on the client can reach the proxy."""


@contextmanager
def user_before(proxy: Host) -> Iterator[Host]:
    """Yield a user (10.9.1.1) that is joined by its own veth pair to a proxy; remove the user at the end."""
    user = Host(f"wd{os.getpid()}u", "10.9.1.1", "fd00:9:1::1", "02:00:0a:09:01:01")
    front = Host(proxy.name, PROXY_FRONT, "fd00:9:1::2", "02:00:0a:09:01:02")
    with ExitStack() as cleanup:
        _ip("netns", "add", user.name)
        cleanup.callback(_ip, "netns", "del", user.name)
        cleanup.callback(user.stop_all)
        _ip("link", "add", "eth0", "netns", user.name, "type", "veth", "peer", "name", "eth1", "netns", proxy.name)
        _configure(user, front, offload=False)
        _configure(front, user, offload=False, interface="eth1")
        time.sleep(0.2)
        yield user


def _configure(host: Host, peer: Host, *, offload: bool, interface: str = "eth0") -> None:
    host.run("ip", "link", "set", "lo", "up")
    host.run("ip", "link", "set", interface, "address", host.mac)
    for feature in () if offload else OFFLOADS:
        host.run("ethtool", "-K", interface, feature, "off", check=False)
    host.run("ip", "link", "set", interface, "up")
    host.run("ip", "address", "add", f"{host.address}/24", "dev", interface)
    host.run("ip", "-6", "address", "add", f"{host.address6}/64", "dev", interface, "nodad")
    for address in (peer.address, peer.address6):
        host.run("ip", "neighbor", "replace", address, "lladdr", peer.mac, "dev", interface)


@dataclass
class Captured:
    """A running capture, and what tcpdump reports at its end."""

    process: subprocess.Popen[bytes]
    packets: int = 0
    dropped: int = 0


RING = ("-s", "70000", "-B", "32768", "--immediate-mode")
"""Options of tcpdump. With its default snap length, the ring of immediate mode would hold only eight packets."""


@contextmanager
def tcpdump(
    host: Host,
    path: Path,
    *,
    interface: str = "eth0",
    expression: str = "tcp",
    ring: tuple[str, ...] = RING,
    options: tuple[str, ...] = (),
    pcapng: bool = False,
    may_lose: bool = False,
) -> Iterator[Captured]:
    """Capture into `path` within the context, and then until no packet has arrived for half a second.

    With `pcapng`, dumpcap captures, with its own ring. Raise RuntimeError if the capture does not start, or if the kernel dropped
    packets although `may_lose` is false.
    """
    words = ["tcpdump", "-n", "-U", "-Z", "root", "-i", interface, *ring, *options, "-w", str(path), expression]
    if pcapng:
        words = ["dumpcap", "-q", "-i", interface, "-s", "70000", "-B", "32", "-f", expression, *options, "-w", str(path)]
    process = host.start(*words, stderr=subprocess.PIPE)
    said = _until_listening(process)
    captured = Captured(process)
    yield captured
    until_quiet(path)
    os.killpg(process.pid, signal.SIGINT)
    assert process.stderr
    said += process.stderr.read().decode()
    process.wait(20)
    captured.packets, captured.dropped = _counts(said)
    if captured.dropped and not may_lose:
        raise RuntimeError(f"the kernel dropped {captured.dropped} packets of {path.name}: record it again")


def _until_listening(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr
    said = ""
    while "listening on" not in said and "File: " not in said:
        line = process.stderr.readline().decode()
        if not line:
            raise RuntimeError(f"tcpdump did not start: {said}")
        said += line
    time.sleep(0.2)
    return said


def until_quiet(path: Path, seconds: float = 0.5, within: float = 30.0) -> None:
    """Wait until a growing file has not grown for `seconds`."""
    size, since, deadline = -1, time.monotonic(), time.monotonic() + within
    while time.monotonic() - since < seconds and time.monotonic() < deadline:
        now = path.stat().st_size if path.exists() else 0
        if now != size:
            size, since = now, time.monotonic()
        time.sleep(0.05)


def _counts(said: str) -> tuple[int, int]:
    """Return the numbers of captured and dropped packets from the last output of tcpdump or dumpcap."""
    captured, dropped = re.search(r"(\d+) packets? captured", said), re.search(r"(\d+) packets? dropped by kernel", said)
    if captured and dropped:
        return int(captured[1]), int(dropped[1])
    both = re.search(r"received/dropped on interface '.*': (\d+)/(\d+)", said)
    if not both:
        raise RuntimeError(f"no count of dropped packets: {said}")
    return int(both[1]), int(both[2])

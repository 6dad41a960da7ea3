"""Network namespaces with a virtual cable between them, which carries only what a test sends: neither ARP nor IPv6."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.recording.running import ROOT
from tests.support.needs import skip_without

FLOOD = """
import socket, sys, time
to, seconds, pause = (sys.argv[1], 9999), float(sys.argv[2]), float(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
number, end = 0, time.monotonic() + seconds
while time.monotonic() < end:
    for _ in range(50):
        s.sendto(number.to_bytes(8, "big") + bytes(56), to)
        number += 1
    time.sleep(pause)
print(number)
"""
"""50 datagrams, a pause, and so on; says how many they were."""

SINK = """
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 9999))
print(flush=True)
time.sleep(60)
"""
"""Takes them, so that nothing comes back."""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Cable:
    """Namespaces `here` and `there`; the interfaces are called wire0 and wire1, with 10.99.0.1 and 10.99.0.2."""

    def __init__(self, name: str) -> None:
        self.here, self.there = f"{name}-a", f"{name}-b"
        self._processes: list[subprocess.Popen[str]] = []
        ip("netns", "add", self.here)
        ip("netns", "add", self.there)
        ip("-n", self.there, "link", "set", "lo", "up")
        self.plug()

    def plug(self) -> None:
        ip("-n", self.here, "link", "add", "wire0", "type", "veth", "peer", "name", "wire1", "netns", self.there)
        for number, (space, interface) in enumerate([(self.here, "wire0"), (self.there, "wire1")], 1):
            ip("-n", space, "addr", "add", f"10.99.0.{number}/24", "dev", interface)
            ip("-n", space, "link", "set", interface, "address", f"02:00:00:00:00:0{number}", "addrgenmode", "none", "up")
            peer = 3 - number
            known = (f"10.99.0.{peer}", "lladdr", f"02:00:00:00:00:0{peer}", "nud", "permanent")
            ip("-n", space, "neigh", "add", *known, "dev", interface)

    def unplug(self) -> None:
        ip("-n", self.here, "link", "del", "wire0")

    def inside(self, space: str) -> list[str]:
        return ["ip", "netns", "exec", space]

    def run(self, space: str, code: str, *words: str) -> subprocess.Popen[str]:
        words_before = [*self.inside(space), sys.executable, "-c", code]
        process = subprocess.Popen([*words_before, *words], stdout=subprocess.PIPE, text=True)
        self._processes.append(process)
        return process

    def sink(self) -> None:
        """Until it takes datagrams in `there`."""
        process = self.run(self.there, SINK)
        assert process.stdout is not None
        process.stdout.readline()

    def flood(self, seconds: float, pause: float = 0.002) -> subprocess.Popen[str]:
        """Datagrams from `here` to `there`."""
        return self.run(self.here, FLOOD, "10.99.0.2", str(seconds), str(pause))

    def remove(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        for space in (self.here, self.there):
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)


@pytest.fixture
def cable() -> Iterator[Cable]:
    if not ROOT:
        pytest.skip("network namespaces need root")
    skip_without("ip")
    try:
        made = Cable(f"recording{os.getpid()}")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("network namespaces cannot be made here")
    yield made
    made.remove()

"""Run tcpdump as a backend: one process per interface, each of which writes classic pcap."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from wiredoctor.recording import encode
from wiredoctor.recording.blocks import Blocks
from wiredoctor.recording.convert import PcapStream
from wiredoctor.recording.privileges import KILL, NET_RAW, SETGID, SETUID, has
from wiredoctor.recording.process import Process
from wiredoctor.recording.source import NotThereError

if TYPE_CHECKING:
    from wiredoctor.recording.request import Request

_CHUNK = 1 << 20

_QUIET = 4096
"""SIGUSR1, which requests drop counts, is sent only while fewer bytes than this are unread in the pipe.

tcpdump is then not blocked in a write, which the signal could cut short.
"""

_LISTENS_AFTER = 0.9
"""The time in seconds from tcpdump's first bytes until its handler of SIGUSR1 is certainly installed.

Before that, the signal would end the process.
"""


_STARTS_WITH = frozenset((NET_RAW, SETGID, SETUID))
"""The capabilities that tcpdump needs until it has opened its socket and changed its user."""


class Tcpdump:
    """The tcpdump processes that capture. Packets of several interfaces are in order of arrival, which is nearly time order.

    tcpdump delivers packets in blocks, at most a second late. In immediate mode, it would deliver them at once, but its buffer
    reserves the size of the longest possible packet for each packet. A buffer of 64 MiB then holds only 256 packets: in a test
    with 50,000 packets/s, a fifth was lost.
    """

    backend = "tcpdump"
    notes: Sequence[str] = ()
    linger = 1.05
    capabilities = _STARTS_WITH | {KILL}

    def __init__(self, path: str, interfaces: Sequence[str], request: Request) -> None:
        self.interfaces = interfaces
        self.version = _version(path)
        self.begun = False
        self._ask_from = float("inf")
        words = [path, "-n", "-U", "--time-stamp-precision", "nano", "-B", str(request.buffer * 1024)]
        words += ["-s", str(request.snaplen)] if request.snaplen else []
        words += ["-Z", _user()] if os.geteuid() == 0 else []
        behind = ["--", request.filter] if request.filter else []
        self._streams = [PcapStream(number) for number in range(len(interfaces))]
        self._processes = [Process([*words, "-i", name, "-w", "-", *behind], _STARTS_WITH) for name in interfaces]
        self._by_file = {p.packets: (p, s) for p, s in zip(self._processes, self._streams, strict=True)}
        self._early = b""
        self._dropped: dict[int, int] = {}
        self.processes = [process.id for process in self._processes]

    @property
    def ended(self) -> bool:
        return all(process.packets not in process.open for process in self._processes)

    def files(self) -> list[int]:
        return [file for process in self._processes for file in process.open]

    def read(self, file: int, blocks: Blocks) -> int:
        if file not in self._by_file:
            for number, process in enumerate(self._processes):
                if process.words == file:
                    process.listen()
                    self._count_drops(number)
            return 0
        process, stream = self._by_file[file]
        try:
            data = os.read(file, _CHUNK)
        except BlockingIOError:
            return 0
        if not data:
            process.open.discard(file)
            self.stop()  # the recorder then restarts tcpdump on all interfaces that exist
        made = stream.feed(data)
        if self.begun:
            blocks.add(made)
            return len(data)
        self._early += made
        if all(stream.link_type is not None for stream in self._streams):
            self.begun = True
            self._ask_from = time.monotonic() + _LISTENS_AFTER
            blocks.add(self._preamble() + self._early)
            self._early = b""
        return len(data)

    def _preamble(self) -> bytes:
        described = [
            encode.interface(name, stream.link_type or 0, stream.snaplen)
            for name, stream in zip(self.interfaces, self._streams, strict=True)
        ]
        return encode.section(f"tcpdump {self.version}") + b"".join(described)

    @property
    def dropped(self) -> Mapping[int, int]:
        """The number of dropped packets by interface number, according to the last report of each process."""
        return self._dropped

    def _count_drops(self, number: int) -> int | None:
        if (dropped := _count(self._processes[number], "dropped by kernel")) is not None:
            self._dropped[number] = dropped
        return dropped

    def ask_for_drops(self) -> None:
        if time.monotonic() < self._ask_from:
            return
        for process in self._processes:
            with contextlib.suppress(OSError):
                (waiting,) = struct.unpack("i", fcntl.ioctl(process.packets, termios.FIONREAD, bytes(4)))
                if waiting < _QUIET:
                    process.signal(signal.SIGUSR1)

    def stop(self) -> None:
        for process in self._processes:
            process.signal(signal.SIGINT)

    def kill(self) -> None:
        for process in self._processes:
            process.signal(signal.SIGKILL)

    def close(self, blocks: Blocks) -> None:
        for number, process in enumerate(self._processes):
            process.end()
            dropped = self._count_drops(number)
            if self.begun:
                # the number received by the filter includes dropped packets, and those of the loopback interface twice
                blocks.add(encode.statistics(number, _count(process, "captured"), dropped))

    def complaint(self) -> str:
        return "\n".join(process.complaint() for process in self._processes)


def _count(process: Process, what: str) -> int | None:
    found = re.findall(rf"(\d+) packets? {what}", process.said)
    return int(found[-1]) if found else None


def _user() -> str:
    """Return the user to which a tcpdump started by root changes after opening its socket.

    This is the user "tcpdump" or, if there is no such user, the user "nobody". Without CAP_KILL, the user is root, because a
    process of another user could not be stopped. Raise NotThereError without CAP_SETUID or CAP_SETGID: tcpdump must be able to
    change its user, even to root.
    """
    import pwd

    if not has(SETUID) or not has(SETGID):
        raise NotThereError("tcpdump cannot be run by root without the capabilities CAP_SETUID and CAP_SETGID")
    if has(KILL):
        for name in ("tcpdump", "nobody"):
            with contextlib.suppress(KeyError):
                return pwd.getpwnam(name).pw_name
    return "root"


def _version(path: str) -> str:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    found = re.search(r"tcpdump version (\S+)", done.stdout + done.stderr)
    return found[1] if found else ""

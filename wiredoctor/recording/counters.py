"""What the kernel had to drop for a backend that does not tell before its end, read from the backend's own sockets.

Needs Linux 5.6 and the right to trace the backend (pidfd_getfd(2)); root has it. Elsewhere the drops are known at the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_PIDFD_GETFD = 438
"""The number of the system call, the same on all architectures but alpha."""

_SOL_PACKET, _STATISTICS = 263, 6


class Counters:
    """The drops of a process, by the numbers of its interfaces. To read a socket's counter sets it to zero: what is read here is
    lacking in what the process says later, and has to be added."""

    def __init__(self, process: int, interfaces: Sequence[str]) -> None:
        self.dropped: dict[int, int] = {}
        """Interface -> packets; without those that cannot be read."""
        self._process = process
        self._interfaces = list(interfaces)
        self._files: dict[int, int] | None = None  # file of the process -> interface

    def read(self) -> None:
        """Adds what was dropped since it was read last."""
        if sys.platform != "linux":
            return
        with contextlib.suppress(OSError):
            process = os.pidfd_open(self._process)
            try:
                if self._files is None:
                    self._files = self._sockets(process)
                for file, number in self._files.items():
                    with _taken(process, file) as tap:
                        self.dropped[number] = self.dropped.get(number, 0) + _drops(tap)
            finally:
                os.close(process)

    def _sockets(self, process: int) -> dict[int, int]:
        found: dict[int, int] = {}
        folder = f"/proc/{self._process}/fd"
        for name in os.listdir(folder):
            if not os.readlink(f"{folder}/{name}").startswith("socket:"):
                continue
            with _taken(process, int(name)) as tap:
                if tap.family == socket.AF_PACKET and (interface := tap.getsockname()[0] or "any") in self._interfaces:
                    found[int(name)] = self._interfaces.index(interface)
        return found


def _taken(process: int, file: int) -> socket.socket:
    """A copy of a socket of another process. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    copy = libc.syscall(_PIDFD_GETFD, process, file, 0)
    if copy < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return socket.socket(fileno=copy)


def _drops(tap: socket.socket) -> int:
    """tp_drops of struct tpacket_stats, or of its third version, which is longer."""
    return struct.unpack_from("=II", tap.getsockopt(_SOL_PACKET, _STATISTICS, 8))[1]

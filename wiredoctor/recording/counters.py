"""Read how many packets the kernel has dropped, for a backend that reports drops only when it ends.

The counters are read from the backend's sockets. This needs Linux 5.6 and permission to trace the backend (pidfd_getfd(2)), which
root has. Without it, drops are only known when the backend has ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import sys
from collections.abc import Sequence

_PIDFD_GETFD = 438
"""The number of the system call pidfd_getfd, the same on all architectures except alpha."""

_SOL_PACKET, _STATISTICS = 263, 6


class Counters:
    """Counts the packets that the kernel dropped before a backend process could read them.

    Reading a counter resets it, so the statistics that the backend writes do not include the drops counted here. The caller must
    add these drops.
    """

    def __init__(self, process: int, interfaces: Sequence[str]) -> None:
        self.dropped: dict[int, int] = {}
        """The number of dropped packets, by index in `interfaces`, for the interfaces whose sockets can be read."""
        self._process = process
        self._interfaces = list(interfaces)
        self._files: dict[int, int] | None = None  # interface by file descriptor of the process

    def read(self) -> None:
        """Add to `dropped` the packets dropped since the last call. Do nothing if this is not permitted or not supported."""
        if sys.platform != "linux":
            return
        with contextlib.suppress(OSError):
            process = os.pidfd_open(self._process)
            try:
                if self._files is None:
                    self._files = self._sockets(process)
                for file, number in self._files.items():
                    with _copy_socket(process, file) as tap:
                        self.dropped[number] = self.dropped.get(number, 0) + _drops(tap)
            finally:
                os.close(process)

    def _sockets(self, process: int) -> dict[int, int]:
        found: dict[int, int] = {}
        folder = f"/proc/{self._process}/fd"
        for name in os.listdir(folder):
            if not os.readlink(f"{folder}/{name}").startswith("socket:"):
                continue
            with _copy_socket(process, int(name)) as tap:
                if tap.family == socket.AF_PACKET and (interface := tap.getsockname()[0] or "any") in self._interfaces:
                    found[int(name)] = self._interfaces.index(interface)
        return found


def _copy_socket(process: int, file: int) -> socket.socket:
    """Duplicate a socket of another process. Raise OSError if that fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    copy = libc.syscall(_PIDFD_GETFD, process, file, 0)
    if copy < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return socket.socket(fileno=copy)


def _drops(tap: socket.socket) -> int:
    """Return the number of packets dropped on a socket since the last call (tp_drops of struct tpacket_stats)."""
    return struct.unpack_from("=II", tap.getsockopt(_SOL_PACKET, _STATISTICS, 8))[1]

"""Record the connect(2) and listen(2) calls of processes with a seccomp filter, and read the ports of their sockets.

The filter reports each call to the supervisor before the kernel executes it (seccomp_unotify(2)). The supervisor copies the
socket's descriptor, reads the destination, and lets the call continue unchanged. From the copy, it then reads the local address
and port that the kernel has assigned. Therefore even connections that last only a millisecond are recorded; a list of open
sockets would miss them. If a connection is refused at once, its socket has already lost its port. Such a connection is identified
by its destination and the time of the call.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import platform
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import NamedTuple


class _Machine(NamedTuple):
    """The numbers of system calls on one type of processor (asm/unistd.h), and its AUDIT_ARCH_* value `audit` (linux/audit.h)."""

    audit: int
    connect: int
    listen: int
    seccomp: int


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 42, 50, 317),
    "aarch64": _Machine(0xC00000B7, 203, 201, 277),
}

_PIDFD_GETFD = 438

_NO_NEW_PRIVILEGES = 38
"""PR_SET_NO_NEW_PRIVS, which a process without privileges needs for a filter. With this flag, the program cannot use sudo."""

_SET_FILTER, _NEW_LISTENER = 1, 8

_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06

_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000

_RECEIVE, _SEND = 0xC0502100, 0xC0182101
"""The ioctl requests SECCOMP_IOCTL_NOTIF_RECV and SECCOMP_IOCTL_NOTIF_SEND of linux/seccomp.h."""

_IS_VALID = 0x40082102
"""The ioctl request SECCOMP_IOCTL_NOTIF_ID_VALID of linux/seccomp.h."""

_CONTINUE = 1

_NOTICE = struct.Struct("=QII iIQ 6Q")
"""The layout of struct seccomp_notif: id, pid, flags, then the number, architecture, address and arguments of the call."""

_ANSWER = struct.Struct("=QqiI")

_PORT_WITHIN = 0.02
"""The maximum time in seconds to wait until the kernel assigns a port to a connecting socket. Usually there is no wait."""

_IN, _IN6 = 16, 28
"""Lengths of struct sockaddr_in and sockaddr_in6 in bytes. sockaddr_in6 may lack its last field, the zone."""


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("steps", ctypes.c_char_p)]


def install_filter() -> int | None:
    """Install the seccomp filter in this thread. Return the descriptor that reports the filtered calls, or None if the kernel
    does not support the filter.
    """
    machine = _MACHINES.get(platform.machine())
    if sys.platform != "linux" or machine is None or not hasattr(os, "pidfd_open"):
        return None
    steps = b"".join(
        struct.pack("=HBBI", *step)
        for step in (
            (_LOAD, 0, 0, 4), (_EQUAL, 0, 3, machine.audit),
            (_LOAD, 0, 0, 0), (_EQUAL, 2, 0, machine.connect), (_EQUAL, 1, 0, machine.listen),
            (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _NOTIFY),
        )
    )  # fmt: skip
    program = _Program(len(steps) // 8, steps)
    libc = ctypes.CDLL(None, use_errno=True)

    def install() -> int:
        return int(libc.syscall(machine.seccomp, _SET_FILTER, _NEW_LISTENER, ctypes.byref(program)))

    listener = install()
    if listener < 0:
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        listener = install()
    return listener if listener >= 0 else None


class SocketCall(NamedTuple):
    """A copy of a socket whose local port may not be known yet. `event`: "connect" or "listen".

    `destination`: the address and port given to connect(2), if known. `time`: the time of the call in ns since 1970. `until`:
    when to stop waiting for the port, in seconds of time.monotonic().
    """

    copy: socket.socket
    event: str
    destination: tuple[str, int] | None
    time: int
    until: float


def answer(listener: int) -> SocketCall | None:
    """Let one reported call continue. Return a copy of its socket, or None if it is not a TCP socket or cannot be copied."""
    buffer = bytearray(_NOTICE.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, buffer)
    except OSError:  # the process was killed in the meantime
        return None
    number, thread, _, call, *_, file, address, length, _, _, _ = _NOTICE.unpack(buffer)
    copy: socket.socket | None = None
    destination: tuple[str, int] | None = None
    connects = call == _MACHINES[platform.machine()].connect
    with contextlib.suppress(OSError, ValueError, StopIteration):
        copy = _copy(thread, file & 0xFFFFFFFF)
        if connects:
            destination = _destination(_memory(thread, address, min(length & 0xFFFFFFFF, _IN6)))
            fcntl.ioctl(listener, _IS_VALID, struct.pack("=Q", number))  # fails if the call has ended
    now = time.time_ns()
    with contextlib.suppress(OSError):  # the process was killed in the meantime
        fcntl.ioctl(listener, _SEND, bytearray(_ANSWER.pack(number, 0, 0, _CONTINUE)))
    if copy is None:
        return None
    if copy.family not in (socket.AF_INET, socket.AF_INET6) or copy.type != socket.SOCK_STREAM:
        copy.close()
        return None
    return SocketCall(copy, "connect" if connects else "listen", destination, now, time.monotonic() + _PORT_WITHIN)


def _memory(thread: int, address: int, length: int) -> bytes:
    """Return `length` bytes at `address` in the memory of a thread of another process.

    Raise OSError if the bytes cannot be read, and ValueError if the address is impossible.
    """
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(length)


def _destination(data: bytes) -> tuple[str, int] | None:
    """Return the address and port in a struct sockaddr_in or sockaddr_in6; None for any other struct.

    For the unspecified address, the loopback address is returned, because the kernel connects to it instead.
    """
    family = int.from_bytes(data[:2], sys.byteorder)
    if family == socket.AF_INET and len(data) >= _IN:
        packed, version = data[4:8], socket.AF_INET
    elif family == socket.AF_INET6 and len(data) >= _IN6 - 4:
        packed, version = data[8:24], socket.AF_INET6
    else:
        return None
    if not any(packed):  # the kernel connects to this host instead
        packed = b"\x7f\0\0\1" if version == socket.AF_INET else bytes(15) + b"\1"
    return _plain(socket.inet_ntop(version, packed)), int.from_bytes(data[2:4], "big")


def _plain(address: str) -> str:
    """Return an address in the form used in packets: without a zone, and an IPv4-mapped IPv6 address as the IPv4 address."""
    return address.partition("%")[0].removeprefix("::ffff:")


def _copy(thread: int, file: int) -> socket.socket:
    """Return a copy of a socket: the descriptor `file` of the process to which `thread` belongs. Raise OSError if that fails."""
    with open(f"/proc/{thread}/status", encoding="utf-8", errors="replace") as lines:
        process = next(int(line.split()[1]) for line in lines if line.startswith("Tgid:"))
    owner = os.pidfd_open(process)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        copied = int(libc.syscall(_PIDFD_GETFD, owner, file, 0))
        if copied < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        return socket.socket(fileno=copied)
    finally:
        os.close(owner)


def report_port(one: SocketCall, report: Callable[..., None]) -> bool:
    """Report the local port of a program's socket, or that it has none, and close our copy of the socket. Return True.

    If the socket has no port yet but may still get one, do nothing and return False.
    """
    address, port = "", 0
    with contextlib.suppress(OSError):
        address, port = one.copy.getsockname()[:2]
    is_known = port and (one.event == "listen" or address not in ("0.0.0.0", "::"))  # bound, not connected yet
    if not is_known and time.monotonic() < one.until:
        return False
    one.copy.close()
    if is_known:
        report(event=one.event, address=_plain(address), port=port)
    elif one.destination is not None:
        address, port = one.destination
        report(event="attempt", address=address, port=port, time=one.time)
    return True

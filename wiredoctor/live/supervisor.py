"""Run a program, and record the TCP connections and listening ports that its processes open.

A seccomp filter reports each connect(2) and listen(2) to the supervisor before the kernel executes the call (seccomp_unotify(2)).
The supervisor copies the socket's descriptor, reads the destination, and lets the call continue unchanged. From the copy, it then
reads the local address and port that the kernel has assigned. Therefore even connections that last only a millisecond are
recorded; a list of open sockets would miss them. If a connection is refused at once, its socket has already lost its port. It is
identified by its destination and the time of the call.

Not recorded: connections that were opened earlier and inherited, connections that another process (a daemon) opens on behalf of
the program, and connections opened with io_uring.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import json
import math
import os
import platform
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn


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
"""PR_SET_NO_NEW_PRIVS, which a process without privileges needs for a filter. With this flag, sudo fails in the program."""

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
"""The maximum time in seconds to wait until the kernel assigns a port to a connecting socket. Usually it does so at once."""

_LOOK_FOR_PORT = 0.0002
"""The time in seconds between two checks whether the kernel has assigned a port."""

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""The exit codes of a shell for a program that is not found, and for one that cannot be executed."""

UNSUPPORTED = "unsupported"
"""The name of the event that says that the kernel cannot report the calls.

No `connect`, `attempt` or `listen` event follows it.
"""


_IN, _IN6 = 16, 28
"""Lengths of struct sockaddr_in and sockaddr_in6 in bytes; the latter may lack its last field, the zone."""


class Attempt(NamedTuple):
    """A call of connect(2) whose local port is unknown: the destination's address and port, and the time in ns since 1970."""

    address: str
    port: int
    time: int


class Supervisor:
    """A process that runs the program on request, and reports over a socket. Start it before giving up any privileges.

    `limits`: pairs of a time in seconds and a signal, in order of time. If the program still runs after that time, the program
    and its descendants get the signal.
    """

    def __init__(self, command: Sequence[str], limits: Sequence[tuple[float, signal.Signals]] = ()) -> None:
        self.has_begun = False
        self.ended: int | None = None
        """The exit code of the program, or 128 plus its signal; None while it runs."""
        self.clients: set[tuple[str, int]] = set()
        """The local address and port of each connection that the program opened."""
        self.attempts: list[Attempt] = []
        """Calls of connect(2) after which the socket had no local port, because they were refused at once or had no route."""
        self.servers: set[int] = set()
        """The ports on which the program listened."""
        self.is_supported = True
        self.is_overdue = False
        """True if the program was still running at its time limit."""
        self.failure = ""
        """The reason why the program could not be started, or ""."""
        self._partial = b""
        self._socket, theirs = socket.socketpair()
        self.process = os.fork()
        if self.process == 0:
            self._socket.close()
            _supervise(theirs, command, limits)
        theirs.close()

    def begin(self) -> None:
        """Start the program."""
        self.has_begun = True
        self._send(b"begin\n")

    def forward(self, number: int) -> None:
        """Send a signal to the program."""
        self._send(b"%d\n" % number)

    def _send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendall(data)

    def look(self) -> None:
        """Update the attributes from the reports that have arrived since the last call, without waiting."""
        while self.ended is None and select.select([self._socket], [], [], 0)[0]:
            data = self._socket.recv(65536)
            if not data:
                self.ended = 128 + signal.SIGKILL  # the supervisor was killed
                return
            *lines, self._partial = (self._partial + data).split(b"\n")
            for line in lines:
                self._take(json.loads(line))

    def wait(self) -> None:
        """Wait until the program has ended."""
        while self.ended is None:
            select.select([self._socket], [], [])
            self.look()

    def _take(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "connect":
            self.clients.add((event["address"], event["port"]))
        elif kind == "attempt":
            self.attempts.append(Attempt(event["address"], event["port"], event["time"]))
        elif kind == "listen":
            self.servers.add(event["port"])
        elif kind == UNSUPPORTED:
            self.is_supported = False
        elif kind == "overdue":
            self.is_overdue = True
        elif kind == "ended":
            self.ended, self.failure = event["code"], event["text"]

    def close(self) -> None:
        """Close the socket to the supervisor. If the program was not started, the supervisor then ends."""
        self._socket.close()


def _supervise(control: socket.socket, command: Sequence[str], limits: Sequence[tuple[float, signal.Signals]]) -> NoReturn:
    """Run the supervisor in the forked process: wait for `begin`, then run the program."""
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGQUIT):  # signals of the terminal are for the program
            signal.signal(number, signal.SIG_IGN)
        if control.recv(6) == b"begin\n":
            _run(_Control(control), command, limits)
        code = 0
    finally:
        os._exit(code)


class _Control:
    """The supervisor's socket to the process that started it.

    Sending a report never blocks, because that would also delay the program.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._unsent = bytearray()

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def is_behind(self) -> bool:
        return bool(self._unsent)

    def report(self, **event: object) -> None:
        self._unsent += json.dumps(event).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Send as many bytes as the socket accepts; drop all unsent bytes if the other end is closed."""
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()

    def read(self) -> bytes | None:
        """Return the received bytes: empty if the other end is closed, None if nothing has arrived."""
        try:
            return self._socket.recv(4096)
        except BlockingIOError:
            return None
        except OSError:
            return b""


def _run(control: _Control, command: Sequence[str], limits: Sequence[tuple[float, signal.Signals]]) -> None:
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        _become(command, theirs)
    theirs.close()
    _leave_streams(keep=(control.fileno(), ours.fileno()))
    listener = _receive(ours)
    ours.settimeout(None)
    if listener is None:
        control.report(event=UNSUPPORTED)
    done = os.pidfd_open(child)
    watched = select.poll()
    for file in (done, listener):
        if file is not None:
            watched.register(file, select.POLLIN)
    pending: list[_Pending] = []
    is_asked = True
    begun = time.monotonic()
    ends = [(begun + seconds, number) for seconds, number in limits]
    while True:
        wanted = (select.POLLIN if is_asked else 0) | (select.POLLOUT if control.is_behind else 0)
        watched.register(control, wanted) if wanted else _forget(watched, control)
        ready = {file for file, _ in watched.poll(0 if pending else _milliseconds_until(ends[0][0]) if ends else None)}
        if listener is not None and listener in ready and (call := _answer(listener)):
            pending.append(call)
        pending = [one for one in pending if not _report_port(one, control)]
        if pending and not ready:
            time.sleep(_LOOK_FOR_PORT)
        if control.fileno() in ready:
            control.flush()
            is_asked = is_asked and _forward(control, child)
        if done in ready and not pending:
            break
        if ends and done not in ready and time.monotonic() >= ends[0][0]:
            _signal_all(child, ends.pop(0)[1])
            control.report(event="overdue")
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    control.report(event="ended", code=code if code >= 0 else 128 - code, text=_read_failure(ours))
    _stay(listener, control)


def _signal_all(child: int, number: signal.Signals) -> None:
    """Send a signal to the program and all its descendants: a shell does not forward SIGTERM to the programs that it runs."""
    processes = [child]
    for one in processes:  # the list grows by their children
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{thread}/children", encoding="ascii") as children:
                    processes += map(int, children.read().split())
    for one in processes:
        with contextlib.suppress(OSError):
            os.kill(one, number)  # it may have ended, or belong to another user


def _milliseconds_until(moment: float) -> int:
    """Return the time in ms until `moment` (of time.monotonic()), limited to the maximum that poll(2) accepts."""
    return min(max(0, math.ceil((moment - time.monotonic()) * 1000)), 2**31 - 1)


def _forget(watched: select.poll, control: _Control) -> None:
    with contextlib.suppress(KeyError):
        watched.unregister(control)


def _forward(control: _Control, child: int) -> bool:
    """Forward requested signals to the program. Return False if the requesting process has ended; the program continues then."""
    data = control.read()
    for word in (data or b"").split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, int(word))
    return data != b""


def _stay(listener: int | None, control: _Control) -> None:
    """Serve the processes that the program left running: let their reported calls continue until all of them have ended.

    Meanwhile, also send the reports that were not sent earlier.
    """
    while listener is not None or control.is_behind:
        watched = select.poll()
        if listener is not None:
            watched.register(listener, select.POLLIN)
        if control.is_behind:
            watched.register(control, select.POLLOUT)
        ready = dict(watched.poll())
        control.flush()
        if listener is not None and listener in ready:
            if ready[listener] & (select.POLLHUP | select.POLLERR):
                listener = None
            elif call := _answer(listener):
                call.copy.close()


def _leave_streams(keep: Sequence[int]) -> None:
    """Replace the standard streams with /dev/null, because their readers wait until every process has closed them.

    The supervisor runs as long as processes that the program left running, so it would keep the streams open. `keep`: descriptors
    that are not replaced.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in {0, 1, 2}.difference(keep):  # a socket may have the number of a stream that was closed
        os.dup2(nothing, number)
    if nothing > 2:
        os.close(nothing)


def _become(command: Sequence[str], parent: socket.socket) -> NoReturn:
    """Install the filter in this process, pass its descriptor to the supervisor, and execute the program."""
    code = NOT_FOUND
    try:
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        listener = _install()
        rights = [] if listener is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener]))]
        parent.sendmsg([b"."], rights)
        if listener is not None:
            os.close(listener)
        try:
            os.execvp(command[0], list(command))
        except OSError as error:
            code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
            parent.sendall((error.strerror or str(error)).encode())
    finally:
        os._exit(code)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("steps", ctypes.c_char_p)]


def _install() -> int | None:
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


def _receive(ours: socket.socket) -> int | None:
    """Wait for the program's process to send the filter's descriptor. Return None if the filter was not installed."""
    _, rights, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4), getattr(socket, "MSG_CMSG_CLOEXEC", 0))
    for level, kind, data in rights:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            return struct.unpack_from("i", data)[0]
    return None


def _read_failure(ours: socket.socket) -> str:
    with contextlib.suppress(OSError):
        ours.setblocking(False)
        return ours.recv(4096).decode("utf-8", "replace")
    return ""


class _Pending(NamedTuple):
    """A copy of a socket whose local port may not be known yet. `event`: "connect" or "listen".

    `destination`: the address and port given to connect(2), if known. `time`: the time of the call in ns since 1970. `until`:
    when to give up, in seconds of time.monotonic().
    """

    copy: socket.socket
    event: str
    destination: tuple[str, int] | None
    time: int
    until: float


def _answer(listener: int) -> _Pending | None:
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
            fcntl.ioctl(listener, _IS_VALID, struct.pack("=Q", number))  # or another thread has this number by now
    now = time.time_ns()
    with contextlib.suppress(OSError):  # the process was killed in the meantime
        fcntl.ioctl(listener, _SEND, bytearray(_ANSWER.pack(number, 0, 0, _CONTINUE)))
    if copy is None:
        return None
    if copy.family not in (socket.AF_INET, socket.AF_INET6) or copy.type != socket.SOCK_STREAM:
        copy.close()
        return None
    return _Pending(copy, "connect" if connects else "listen", destination, now, time.monotonic() + _PORT_WITHIN)


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


def _report_port(one: _Pending, control: _Control) -> bool:
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
        control.report(event=one.event, address=_plain(address), port=port)
    elif one.destination is not None:
        address, port = one.destination
        control.report(event="attempt", address=address, port=port, time=one.time)
    return True

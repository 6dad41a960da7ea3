"""Run a program, and record the TCP connections and listening ports that its processes open.

Not recorded: connections that were opened earlier and inherited, connections that another process (a daemon) opens on behalf of
the program, and connections opened with io_uring.
"""

from __future__ import annotations

import array
import contextlib
import json
import math
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from wiredoctor.live.socket_calls import SocketCall, answer, install_filter, report_port

_LOOK_FOR_PORT = 0.0002
"""The time in seconds between two checks whether the kernel has assigned a port."""

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""The exit codes of a shell for a program that is not found, and for one that cannot be executed."""

UNSUPPORTED = "unsupported"
"""The name of the event that is sent if the kernel cannot report the calls.

No `connect`, `attempt` or `listen` event follows it.
"""


class Attempt(NamedTuple):
    """A call of connect(2) whose local port is unknown: the destination's address and port, and the time in ns since 1970."""

    address: str
    port: int
    time: int


class Supervisor:
    """A process that runs the program on request, and reports over a socket. Start it before giving up any privileges.

    `limits`: pairs of a time in seconds and a signal, in order of time. If the program still runs after that time, the program
    and its descendants get the signal. `without`: the environment variables that the program does not get.
    """

    def __init__(
        self, command: Sequence[str], limits: Sequence[tuple[float, signal.Signals]] = (), without: Sequence[str] = ()
    ) -> None:
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
            for name in without:
                os.environ.pop(name, None)
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
    pending: list[SocketCall] = []
    is_asked = True
    begun = time.monotonic()
    ends = [(begun + seconds, number) for seconds, number in limits]
    while True:
        wanted = (select.POLLIN if is_asked else 0) | (select.POLLOUT if control.is_behind else 0)
        watched.register(control, wanted) if wanted else _forget(watched, control)
        ready = {file for file, _ in watched.poll(0 if pending else _milliseconds_until(ends[0][0]) if ends else None)}
        if listener is not None and listener in ready and (call := answer(listener)):
            pending.append(call)
        pending = [one for one in pending if not report_port(one, control.report)]
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
    for one in processes:  # the loop appends the children of each process
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{thread}/children", encoding="ascii") as children:
                    processes += map(int, children.read().split())
    for one in processes:
        with contextlib.suppress(OSError):
            os.kill(one, number)  # the process may have ended, or belong to another user


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
    """Serve the processes that the program left running: let their reported calls continue until all these processes have ended.

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
            elif call := answer(listener):
                call.copy.close()


def _leave_streams(keep: Sequence[int]) -> None:
    """Replace the standard streams with /dev/null, because their readers wait until every process has closed them.

    The supervisor runs until all processes that the program left behind have ended, so it would keep the streams open.
    `keep`: descriptors that are not replaced.
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
        listener = install_filter()
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

"""Control the recorder, a process that captures into files, reports events, and passes file descriptors.

The recorder is a separate program (`wiredoctor.recording`), which is executed, not only forked. It may have privileges that an
analysis of hostile bytes should not have, and it continues capturing while the analysis is slow. A socket connects it with the
analysis: if the analysis ends for any reason, the recorder stops cleanly.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from wiredoctor.interfaces import is_privileged, search_path

_PROGRAM = Path(__file__).resolve().parents[1] / "recording" / "isolated.py"
"""The path of the recorder in the package that contains this module."""

_KEPT_VARIABLES = ("LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ")
"""The environment variables passed to a recorder with privileges, besides a PATH of system folders."""

ENDING = 5.0
"""The maximum time in seconds from a request to stop until the recorder ends; after that time, the recorder is terminated."""

_ASK_AGAIN = 1_000_000_000
"""The time in ns after which an unanswered question is asked again."""

_DESCRIPTORS = 16
"""The maximum number of file descriptors received at once."""


class RecorderError(Exception):
    """Raised if capturing cannot begin. The text is the reason, on one line."""


@dataclass(frozen=True)
class Ring:
    """A ring of at most `files` files of at most `bytes` bytes each; when it is full, the oldest file is removed."""

    files: int
    bytes: int


TEMPORARY = Ring(8, 256 << 20)
"""The ring for packets that need not be kept: 2 GiB, which is about a minute of traffic on a busy gigabit link."""


@dataclass(frozen=True)
class Order:
    """A request to capture: the interfaces, and the destination of the packets.

    `filter`: a BPF filter. `filter_option`: the option that gave the filter; if it is empty, the filter is a default, without
    which raw sockets capture where it cannot be applied. `folder`: the private folder of the capture. `file`: the path of the
    capture file; None for a ring of files without names in that folder. `snaplen` (bytes), `duration` (seconds) and `packets` are
    limits; None means no limit. `buffer`: the kernel memory for packets in MiB per interface; None for the default. `backend`:
    dumpcap, tcpdump or raw; None for the first that works. `outputs`: pairs of a path and names. Without names, the path is a
    file that the recorder opens on request; otherwise it is a folder, and the names are files in it. `stream`: the descriptor of
    a capture that another program is writing and that is read instead of interfaces. `stream_name`: the name of the stream in
    messages.
    """

    interfaces: tuple[str, ...]
    folder: str
    filter: str = ""
    file: str | None = None
    ring: Ring | None = None
    snaplen: int | None = None
    duration: float | None = None
    packets: int | None = None
    buffer: int | None = None
    backend: str | None = None
    outputs: tuple[tuple[str, tuple[str, ...]], ...] = ()
    stream: int | None = None
    stream_name: str = ""
    filter_option: str = "--filter"


@dataclass
class Progress:
    """The state of the recorder according to its last event.

    `bytes`: the total size of the complete blocks written to all files. `packets`: the number of packets in these blocks.
    `dropped`: the number of packets dropped by the kernel; None if it is not known yet. `restarts`: how often the backend was
    restarted because it had ended unexpectedly. `delivered`: a time (ns since 1970): everything that the backend had passed on
    until then is in `bytes`; 0 if it is not known yet. `ended`: why capturing ended; None while it runs. `text`: a line that
    explains `ended`, or "".
    """

    bytes: int = 0
    packets: int = 0
    dropped: int | None = None
    restarts: int = 0
    delivered: int = 0
    backend: str = ""
    ended: str | None = None
    text: str = ""


Event = dict[str, Any]
"""An event of recording/events.py. In a `file` event, `descriptor` is a descriptor of the file, open for reading."""


class Recorder:
    """A running recorder process. At the end of the context, it is stopped, and terminated if it does not end in time.
    With `waits`, the recorder captures only after `begin`, runs until its socket is closed, and then removes `order.folder`.
    """

    def __init__(self, order: Order, *, waits: bool = False) -> None:
        if order.file is None and order.ring is None:
            order = replace(order, ring=TEMPORARY)
        self.order = order
        self.progress = Progress()
        request = json.dumps({**asdict(order), "waits": waits})
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", *(["-B"] if sys.dont_write_bytecode else []), str(_PROGRAM), request],
                stdin=theirs.fileno(), stdout=theirs.fileno(), env=_environment(), start_new_session=True,
                pass_fds=() if order.stream is None else (order.stream,),
            )  # fmt: skip
        self._partial = b""
        self._descriptors: deque[int] = deque()
        self._events: deque[Event] = deque()
        self._started = self._stopping = False
        self._asked_at = 0

    def begin(self) -> None:
        """Make a waiting recorder start capturing."""
        self._send(do="begin")

    def events(self, timeout: float) -> list[Event]:
        """Wait up to `timeout` seconds for events, and return those that arrived.

        Progress events are not returned; they only update `progress`. Raise RecorderError if capturing could not begin.
        """
        end, found = time.monotonic() + timeout, list[Event]()
        while not self.over and self._wait(max(end - time.monotonic(), 0)):
            if not self._receive():
                self._report_death()
                break
            while self._events and not self.over:
                event = self._apply(self._events.popleft())
                found += [] if event is None else [event]
            end = 0.0  # return without waiting any longer
        return found

    def refresh(self) -> None:
        """Update `progress` from the events that have arrived, without waiting. `events` returns the other events later."""
        while not self.over and select.select([self._socket], [], [], 0)[0] and self._read():
            pass
        for event in self._events:
            if event["event"] == "progress":
                self._apply(event)

    def ask_delivered(self) -> None:
        """Ask the recorder for a new value of `progress.delivered`, unless it was just asked. `events` wakes when it arrives."""
        now = time.time_ns()
        if self.progress.delivered >= self._asked_at or abs(now - self._asked_at) >= _ASK_AGAIN:
            self._asked_at = now
            self._send(do="delivered")

    @property
    def over(self) -> bool:
        """True if no more packets will come."""
        return self.progress.ended is not None

    def stop(self) -> None:
        """Send the recorder a request to end the capture cleanly. Events continue until the capture has ended."""
        self._stopping = True
        self._send(do="stop")

    def open_output(self, number: int, name: str = "") -> int:
        """Create a new file for an output, and return the file's descriptor. Raise OSError if the file cannot be created.

        `number`: the index of the output in `order.outputs`. `name`: the name of the file, if the output is a folder.
        `commit_output` moves the new file to the path of the output; `discard_output` deletes it.
        """
        return int(self._ask("open", number, name)["descriptor"])

    def commit_output(self, number: int, name: str = "") -> None:
        """Move the file that `open_output` created to the path of the output. Raise OSError if that fails."""
        self._ask("commit", number, name)

    def discard_output(self, number: int, name: str = "") -> None:
        """Delete the file that `open_output` created. Raise OSError if that fails."""
        self._ask("discard", number, name)

    def remove_output(self, number: int, name: str) -> None:
        """Remove the file `name` from the folder of output `number`, if it exists. Raise OSError if that fails."""
        self._ask("remove", number, name)

    def _ask(self, what: str, number: int, name: str) -> Event:
        path = os.path.join(self.order.outputs[number][0], name) if name else self.order.outputs[number][0]
        self._send(do=what, output=number, name=name)
        while True:
            while self._events:
                event = self._events.popleft()
                if event["event"] == "output":
                    if event.get("errno"):
                        raise OSError(event["errno"], event["text"], path)
                    return event
            if not self._receive():
                raise ConnectionResetError(errno.ECONNRESET, "the recorder, which opens this file, has ended", path)

    def _send(self, **message: object) -> None:
        with contextlib.suppress(OSError):  # the recorder may have ended
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def _wait(self, timeout: float) -> bool:
        return bool(self._events) or bool(select.select([self._socket], [], [], timeout)[0])

    def _receive(self) -> bool:
        """Wait for events, and queue them. Return False if the recorder has ended.

        Raise OSError if this process has too many open files to receive a descriptor.
        """
        return bool(self._events) or self._read()

    def _read(self) -> bool:
        """Wait for bytes from the recorder, and queue their events. Return False if the recorder has ended.

        Raise OSError as `_receive` does.
        """
        try:
            data, descriptors, flags, _ = socket.recv_fds(
                self._socket, 1 << 16, _DESCRIPTORS, getattr(socket, "MSG_CMSG_CLOEXEC", 0)
            )
        except OSError:
            return False
        if flags & socket.MSG_CTRUNC:
            raise OSError(errno.EMFILE, "too many open files: raise the limit (ulimit -n)")
        self._descriptors += descriptors
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            event: Event = json.loads(line)
            if event.pop("has_descriptor", False):
                event["descriptor"] = self._descriptors.popleft()
            self._events.append(event)
        return bool(data)

    def _apply(self, event: Event) -> Event | None:
        kind = event.get("event")
        if kind == "error":
            raise RecorderError(str(event["text"]))
        if kind in ("progress", "ended"):
            for name in ("bytes", "packets", "dropped", "restarts", "delivered"):
                if event.get(name) is not None:
                    setattr(self.progress, name, int(event[name]))
            if kind == "progress":
                return None
            reason = str(event["reason"])
            if reason == "signal" and self._stopping:  # systemd, for example, sends a signal to all processes
                reason = "stopped"
            self.progress.ended = reason
            self.progress.text = "" if reason == "stopped" else str(event.get("text") or "")
        if kind == "started":
            self._started, self.progress.backend = True, str(event["backend"])
        return event

    def _report_death(self) -> None:
        code = self._process.wait()
        if not self._started:
            raise RecorderError(f"the recorder ended before it began to capture (exit code {code})")
        self.progress.ended = "died"
        self.progress.text = f"the recorder ended unexpectedly ({_exit_text(code)})"

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._stopping:
            self.stop()  # without this request, the recorder would assume that this process was killed
        self._socket.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())
        try:
            self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(PermissionError, subprocess.TimeoutExpired):  # this process may have become another user
                self._process.terminate()
                self._process.wait(1)
            with contextlib.suppress(PermissionError, subprocess.TimeoutExpired):
                self._process.kill()
                self._process.wait(1)


def _exit_text(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _environment() -> dict[str, str]:
    if not is_privileged():
        return dict(os.environ)
    return {"PATH": search_path(), **{name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}}

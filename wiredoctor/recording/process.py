"""Run a backend as a process, with one pipe for packets and one for standard error."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Collection
from typing import IO

from wiredoctor.interfaces import find
from wiredoctor.recording.privileges import end_with_parent, keep_only

_F_SETPIPE_SZ = 1031
_PIPE = 1 << 20
"""The capacity of the pipe in bytes. It is the amount of output that a backend can write before anything is read."""

_SAID = 16_384
"""The maximum number of bytes of standard error that are kept."""


def program(name: str) -> str | None:
    """Return the path of a program; None if it is not installed or this process may not execute it."""
    path = find(name)
    return path if path is not None and os.access(path, os.X_OK) else None


class Process:
    """A program that writes to a pipe. It runs in its own session, so Ctrl-C in a terminal does not reach it.

    If root starts the program, the program has `capabilities` and no others.
    """

    def __init__(self, words: list[str], capabilities: Collection[int]) -> None:
        def prepare() -> None:
            end_with_parent(signal.SIGTERM)
            if os.geteuid() == 0:
                keep_only(capabilities)

        self._process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, bufsize=0,
            env={**os.environ, "LC_ALL": "C"},
            preexec_fn=prepare,  # noqa: PLW1509 - there are no threads here
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._pipes: list[IO[bytes]] = [self._process.stdout, self._process.stderr]
        self.packets, self.words = (pipe.fileno() for pipe in self._pipes)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.packets, _F_SETPIPE_SZ, _PIPE)
        for file in (self.packets, self.words):
            os.set_blocking(file, False)
        self.open = {self.packets, self.words}
        self.said = ""
        self._killed = ""

    @property
    def id(self) -> int:
        """The process id."""
        return self._process.pid

    def listen(self) -> None:
        """Append to `said` what the process has written to standard error."""
        try:
            said = os.read(self.words, _SAID)
        except BlockingIOError:
            return
        if not said:
            self.open.discard(self.words)
        self.said = (self.said + said.decode("utf-8", "replace"))[-_SAID:]

    def signal(self, number: int) -> None:
        """Send a signal; do nothing if the process has ended."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            self._process.send_signal(number)

    def end(self) -> int:
        """Wait up to 1 s for the process to end, then kill it, and close its pipes.

        Return its exit code, or minus the number of the signal that killed it.
        """
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            try:
                code = self._process.wait(timeout=1)
            except subprocess.TimeoutExpired:  # the process is blocked in the kernel
                code = -signal.SIGKILL
        while self.words in self.open:
            before = self.said
            self.listen()
            if self.said == before:
                break
        for pipe in self._pipes:
            pipe.close()
        self.open.clear()
        self._killed = f"killed by signal {-code}" if code < 0 else ""
        return code

    def complaint(self) -> str:
        """Return what the process wrote to standard error.

        If a signal killed the process, a line about the signal replaces an incomplete last line.
        """
        said = self.said.rpartition("\n")[0] if self._killed else self.said
        return f"{said}\n{self._killed}"

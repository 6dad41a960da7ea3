"""A backend as a process: its packets come by one pipe, what it says by another."""

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
"""Bytes that a backend may be ahead of us without waiting."""

_SAID = 16_384
"""Bytes of standard error that are kept, at most."""


def program(name: str) -> str | None:
    """Return the path of a program that this process may execute."""
    path = find(name)
    return path if path is not None and os.access(path, os.X_OK) else None


class Process:
    """A program that writes to a pipe, in a session of its own, so that a terminal's Ctrl-C does not reach it.

    Started by root, it has these `capabilities` and no others.
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
        """Its process id."""
        return self._process.pid

    def listen(self) -> None:
        """What it has said meanwhile."""
        try:
            said = os.read(self.words, _SAID)
        except BlockingIOError:
            return
        if not said:
            self.open.discard(self.words)
        self.said = (self.said + said.decode("utf-8", "replace"))[-_SAID:]

    def signal(self, number: int) -> None:
        """Sends a signal; nothing happens when it has ended already."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            self._process.send_signal(number)

    def end(self) -> int:
        """Waits for it, a moment; its exit code, negative for a signal."""
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            try:
                code = self._process.wait(timeout=1)
            except subprocess.TimeoutExpired:  # in the kernel's hands
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
        """What it has said, or how it came to its end. What it was saying when it was killed is left out."""
        said = self.said.rpartition("\n")[0] if self._killed else self.said
        return f"{said}\n{self._killed}"

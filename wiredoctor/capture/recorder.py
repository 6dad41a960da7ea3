"""The capturing part of a live capture, as the analysing part sees it: a process that writes files, and what it tells of them.

It is a program of its own (`wiredoctor.recording`) and executed, not forked: it may have rights that an analysis of hostile
bytes should not have, and it goes on when the analysis is slow. A pipe ties the two together: when the analysis is gone,
however that came, the recorder ends in order.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wiredoctor.capture.model import CaptureError

PACKAGES = Path(__file__).resolve().parents[2]
"""Where this package can be imported from."""

ENDING = 5.0
"""Seconds after which a recorder that was asked to end is ended."""


@dataclass(frozen=True)
class Ring:
    """At most so many files, of so many bytes each; then the oldest goes."""

    files: int
    bytes: int


@dataclass(frozen=True)
class Order:
    """What is to be captured, and where it is written.

    `file`: None for a ring in `folder`. That is the analysis's own: it removes it in the end, or, when it was killed, the
    recorder does. `duration` in seconds, `buffer` in MiB per interface; None where the recorder decides. `backend`: dumpcap,
    tcpdump or raw; None for the best that this machine has.
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


@dataclass
class Progress:
    """What the recorder has told so far. `bytes` of the stream are written in whole blocks; `dropped`: by the kernel, None
    where that is told at the end. `ended`: why, None while it goes on."""

    bytes: int = 0
    packets: int = 0
    dropped: int | None = None
    backend: str = ""
    ended: str | None = None
    text: str = ""


Event = dict[str, Any]


@dataclass
class Recorder:
    """A recorder at work. Use it as a context manager: behind it nothing runs any more."""

    order: Order
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(PACKAGES), os.environ.get("PYTHONPATH", "")))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "wiredoctor.recording", json.dumps(asdict(self.order))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=environment, start_new_session=True,
        )  # fmt: skip
        self._held = b""
        self._told = self._stopping = False

    def events(self, timeout: float) -> list[Event]:
        """What it tells within so many seconds, or as soon as it does; all but its progress, which is in `progress`.

        Raises CaptureError when capturing could not begin.
        """
        end, found = time.monotonic() + timeout, list[Event]()
        while not self.over:
            ready, _, _ = select.select([self._out], [], [], max(end - time.monotonic(), 0))
            if not ready:
                break
            piece = os.read(self._out, 1 << 16)
            if not piece:
                self._died()
                break
            *lines, self._held = (self._held + piece).split(b"\n")
            found += [event for line in lines if (event := self._hear(json.loads(line))) is not None]
            end = 0.0  # what else is there, and no more
        return found

    @property
    def over(self) -> bool:
        """Nothing more will be told."""
        return self.progress.ended is not None

    def stop(self) -> None:
        """Asks it to end in order. It goes on telling until it has."""
        self._stopping = True
        if self._process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self._process.stdin.write(b"stop\n")  # without a word it would take this process for dead, and clean up
                self._process.stdin.close()

    @property
    def _out(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def _hear(self, event: Event) -> Event | None:
        kind = event.get("event")
        if kind == "error":
            raise CaptureError(str(event["text"]))
        if kind in ("progress", "ended"):
            for name in ("bytes", "packets", "dropped"):
                if event.get(name) is not None:
                    setattr(self.progress, name, int(event[name]))
            if kind == "progress":
                return None
            self.progress.ended, self.progress.text = str(event["reason"]), str(event.get("text") or "")
        if kind == "started":
            self._told, self.progress.backend = True, str(event["backend"])
        return event

    def _died(self) -> None:
        code = self._process.wait()
        if not self._told:
            raise CaptureError(f"the recorder ended before it began (exit code {code})")
        self.progress.ended = "stopped" if self._stopping else "died"
        self.progress.text = "" if self._stopping else f"the recorder ended unexpectedly (exit code {code})"

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        try:
            self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

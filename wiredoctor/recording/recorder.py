"""The capture from beginning to end: starts the backend, passes on what it captures, and starts it again where it ends."""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING

from wiredoctor.recording.blocks import StreamError
from wiredoctor.recording.files import open_output
from wiredoctor.recording.guard import Guard
from wiredoctor.recording.links import Links
from wiredoctor.recording.privileges import KILL, NET_ADMIN, NET_RAW, SETGID, SETUID, give_up
from wiredoctor.recording.source import Trouble, trouble
from wiredoctor.recording.starting import BACKENDS, NotThereError, no_such_interface, not_permitted, not_up, start
from wiredoctor.recording.writing import Writing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wiredoctor.recording.events import Events
    from wiredoctor.recording.files import Output
    from wiredoctor.recording.request import Request
    from wiredoctor.recording.source import Source

_FIRST_WORD = 15.0
"""Seconds in which a backend must have begun."""

_GRACE = 0.6
"""Seconds that a backend has to end after it was asked to."""

_NAP, _LITTLE = 0.004, 128 << 10
"""Where so little came, so long is waited for more: a backend that writes packet by packet would otherwise wake us for each."""

_LOOK = 1.0
"""Seconds between two looks at drops, and at interfaces where the system does not tell of changes."""

_NEVER = float("inf")

_TRIES, _TRIES_WITHIN = 4, 60.0
"""A backend that ends so often within so many seconds, for no reason that can be seen, is not started again."""


class StoppedError(Exception):
    """It was told to stop."""


class Recorder:
    """One capture. `control`: files that are readable when it is to stop."""

    def __init__(self, request: Request, events: Events, control: Sequence[int]) -> None:
        self._request = request
        self._events = events
        self._control = control
        self._links = Links(request.interfaces)
        self._writing: Writing
        self._source: Source | None = None
        self._guard = Guard([])
        self._backend = ""
        self._reason = self._text = ""
        self._again = False  # to be started again because an interface has come back
        self._ends: list[float] = []
        self._stop_at = self._kill_at = _NEVER
        self._nap_until = self._look_at = 0.0
        self._end_at = _NEVER

    def run(self) -> int:
        """The exit code of the program."""
        try:
            output = open_output(self._request, self._events)
        except OSError as error:
            name = error.filename or self._request.file or self._request.folder
            return self._cannot(f"cannot write {name}: {(error.strerror or str(error)).lower()}")
        self._writing = Writing(output, self._events, self._request.packets)
        try:
            problem = self._start_first()
        except StoppedError:
            self._reason = "stopped"
            output.close(used=False)
            return self._over(output)
        if isinstance(problem, str):
            output.close(used=False)
            return self._cannot(problem)
        give_up({KILL, SETGID, SETUID, NET_ADMIN, NET_RAW}, self._folder())
        self._tell_begin(problem, output)
        try:
            while self._source is not None or not self._reason:
                self._step()
        except OSError as error:  # of the file: a disk that is gone
            self._reason, self._text = "full", f"cannot write any more: {(error.strerror or str(error)).lower()}"
            self._abandon()
        output.close(used=True)
        return self._over(output)

    def _folder(self) -> str:
        """Where files come and go while it runs; empty where there is only one."""
        if self._request.ring is None:
            return ""
        return self._request.folder if self._request.file is None else os.path.dirname(self._request.file) or "."

    def _cannot(self, text: str) -> int:
        self._events.tell("error", text=text)
        return 2

    def _over(self, output: Output) -> int:
        writing = self._writing
        self._events.tell(
            "ended", reason=self._reason, text=self._text, bytes=output.written, packets=writing.packets, dropped=writing.dropped
        )
        return 0

    # beginning

    def _start_first(self) -> Source | str:
        """Starts the first backend that captures; what to say when there is none."""
        if missing := self._links.missing():
            return no_such_interface(missing)
        if down := [name for name in self._request.interfaces if name not in self._links.usable()]:
            return not_up(down)
        troubles: list[Trouble] = []
        for backend in [self._request.backend] if self._request.backend else BACKENDS:
            found = self._start(backend, self._request.interfaces)
            if not isinstance(found, Trouble):
                self._backend = backend
                return found
            troubles.append(found)
            if found.kind in ("filter", "interface", "down"):
                return found.text
        if any(found.kind == "permission" for found in troubles):
            return not_permitted(self._request.interfaces)
        return "; ".join(found.text for found in troubles)

    def _start(self, backend: str, interfaces: Sequence[str]) -> Source | Trouble:
        """Starts a backend and waits until it has begun; else why it has not. Raises StoppedError."""
        try:
            source = start(backend, interfaces, self._request)
        except NotThereError as error:
            return Trouble("absent", str(error))
        except ValueError as error:
            return trouble(backend, str(error))
        except OSError as error:
            return trouble(backend, error.strerror or str(error))
        self._source, self._guard = source, Guard(source.processes)
        give_up = time.monotonic() + _FIRST_WORD
        while not source.begun and not source.ended and time.monotonic() < give_up:
            ready = _wait([*source.files(), *self._control], 0.5)
            if not ready.isdisjoint(self._control):
                self._abandon()
                raise StoppedError
            for file in ready:
                source.read(file, self._writing.blocks)
        if source.begun:
            return source
        ended = source.ended
        self._abandon()
        if not ended:
            return Trouble("other", f"{backend} has not begun within {_FIRST_WORD:.0f} seconds")
        found = trouble(backend, source.complaint())
        return found if found.kind != "other" else Trouble("other", f"{backend}: {found.text}")

    def _tell_begin(self, source: Source, output: Output) -> None:
        names = list(source.interfaces)
        by = f"raw sockets (scapy {source.version})" if source.backend == "raw" else f"{source.backend} {source.version}".rstrip()
        text = f"capturing on {', '.join(names)} with {by}"
        self._events.tell("started", backend=source.backend, version=source.version, text=text, interfaces=names)
        output.begin()
        if self._request.duration is not None:
            self._end_at = time.monotonic() + self._request.duration
        self._tell_changes()

    # while it runs

    def _step(self) -> None:
        """Waits for something to happen, and does what it asks for."""
        now = time.monotonic()
        source = self._source
        napping = now < self._nap_until
        files = [*source.files()] if source is not None and not napping else []
        watched = [self._links.file] if self._links.file >= 0 else []
        control = [*self._control] if not self._reason else []
        told = self._writing.tell()
        next_time = min(told, min(self._look_at, self._end_at, self._stop_at, self._kill_at) - now)
        if napping:
            next_time = min(next_time, self._nap_until - now)
        out = self._events.file if self._events.waiting else -1
        ready = _wait([*files, *watched, *control], max(0.0, next_time), out)
        self._events.send()
        if not ready.isdisjoint(control) or self._events.closed:
            self._stop("stopped")
        if source is not None:
            self._read(source, [file for file in files if file in ready])
        if not ready.isdisjoint(watched):
            self._tell_changes()
        self._by_the_clock(time.monotonic())

    def _read(self, source: Source, files: list[int]) -> None:
        try:
            came = sum(source.read(file, self._writing.blocks) for file in files)
            self._writing.write()
        except StreamError as error:
            self._events.tell("note", text=f"{source.backend} has written what cannot be read: {error}")
            source.kill()
            self._writing.section_over()
            self._ended(source)
            return
        if 0 < came < _LITTLE:
            self._nap_until = time.monotonic() + _NAP
        self._writing.live_drops(source.dropped)
        if self._writing.full:
            self._stop("full", self._writing.full)
        elif self._writing.enough:
            self._stop("packets")
        if source.ended:
            self._ended(source)

    def _by_the_clock(self, now: float) -> None:
        if now >= self._end_at:
            self._stop("duration")
        if now >= self._stop_at and self._source is not None:
            self._interrupt(self._source)
        if now >= self._kill_at and self._source is not None:
            self._source.kill()
            self._kill_at = now + _GRACE
        if now >= self._look_at:
            self._look_at = now + _LOOK
            self._tell_changes()
            if self._source is None and not self._reason:
                self._resume()
            elif self._source is not None and self._kill_at == _NEVER:
                self._source.ask_for_drops()

    def _tell_changes(self) -> None:
        """Tells of interfaces that went or came, and has the capture take in again those that came back."""
        for name, state in self._links.changes():
            self._events.tell("interface", name=name, state=state)
            capturing = self._source is not None and name in self._source.interfaces
            if self._source is not None and not self._reason and (state == "gone" if capturing else state == "up"):
                self._again = True
                self._interrupt(self._source)
            elif state == "up" and self._source is None:
                self._look_at = 0.0

    # ending, and beginning again

    def _stop(self, reason: str, text: str = "") -> None:
        """To end in order, for the first reason that was given."""
        if self._reason:
            return
        self._reason, self._text = reason, text
        self._end_at = _NEVER
        if self._source is not None and self._kill_at == _NEVER:
            more = reason in ("stopped", "duration")
            self._stop_at = time.monotonic() + (self._source.linger if more else 0)

    def _interrupt(self, source: Source) -> None:
        source.stop()
        self._stop_at, self._kill_at = _NEVER, time.monotonic() + _GRACE

    def _abandon(self) -> None:
        """Ends the backend at once; what it has not handed over is lost."""
        if self._source is not None:
            self._source.kill()
            self._source.close(self._writing.blocks)
            self._source = None
        self._guard.dismiss()
        self._writing.blocks.restart()

    def _ended(self, source: Source) -> None:
        """The stream is over: because it was asked to be, or of its own."""
        source.close(self._writing.blocks)
        self._guard.dismiss()
        self._writing.live_drops(source.dropped)
        self._writing.write()
        self._writing.section_over()
        self._source, self._stop_at, self._kill_at, self._nap_until = None, _NEVER, _NEVER, 0.0
        if self._reason:
            return
        if not self._again:
            self._unexpected(source)
        self._again = False
        if not self._reason:
            self._resume()

    def _unexpected(self, source: Source) -> None:
        """Tells that the backend has ended; it may have done so too often."""
        said = trouble(source.backend, source.complaint()).text
        self._tell_changes()
        if len(self._links.usable()) == len(self._request.interfaces):
            self._count_end(source.backend, said)
        else:
            self._events.tell("note", text=f"{source.backend} has ended ({said})")

    def _count_end(self, backend: str, said: str) -> None:
        now = time.monotonic()
        self._ends = [end for end in self._ends if now - end < _TRIES_WITHIN] + [now]
        if len(self._ends) >= _TRIES:
            self._stop("backend", f"{backend} has ended {len(self._ends)} times in a minute: {said}")
        else:
            self._events.tell("note", text=f"{backend} has ended ({said}), and is started again")

    def _resume(self) -> None:
        """Starts the backend again on the interfaces that are there; without any, there is nothing to do but wait."""
        interfaces = self._links.usable()
        if not interfaces:
            return
        try:
            found = self._start(self._backend, interfaces)
        except StoppedError:
            self._stop("stopped")
            return
        if not isinstance(found, Trouble):
            self._look_at = 0.0  # what it began with is written at once
        elif found.kind not in ("interface", "down"):  # those may have gone again this moment
            self._count_end(self._backend, found.text)


def _wait(files: Sequence[int], seconds: float, out: int = -1) -> set[int]:
    """Those of the files that can be read, as soon as there is one; `out` ends the waiting when it can be written."""
    poll = select.poll()
    for file in files:
        poll.register(file, select.POLLIN)
    if out >= 0:
        poll.register(out, select.POLLOUT)
    # at least as long as was asked for, or the same moment would be waited for again and again
    return {file for file, _ in poll.poll(min(seconds, 3600.0) * 1000 + (seconds > 0))}

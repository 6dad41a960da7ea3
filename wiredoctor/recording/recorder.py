"""Run a capture from beginning to end: write the packets of the backend to the output, and restart the backend if it fails."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from typing import TYPE_CHECKING

from wiredoctor.recording.backend import Backend, StoppedError
from wiredoctor.recording.blocks import Blocks, Piece, StreamError
from wiredoctor.recording.control import SIGNAL, Control, Message
from wiredoctor.recording.encode import ending
from wiredoctor.recording.files import Output, open_output
from wiredoctor.recording.folder import remove_tree
from wiredoctor.recording.links import Links
from wiredoctor.recording.opened import Outputs
from wiredoctor.recording.privileges import keep_only
from wiredoctor.recording.source import Source, trouble
from wiredoctor.recording.stream import Stream
from wiredoctor.recording.waiting import wait
from wiredoctor.recording.writing import Writing

if TYPE_CHECKING:
    from wiredoctor.recording.events import Events
    from wiredoctor.recording.request import Request

_GRACE = 1.5
"""The time in seconds to wait for the end of a backend: first after a stop request, then again after killing it.

Even a killed process may end late, because it can be blocked in the kernel.
"""

_NAP, _LITTLE = 0.004, 128 << 10
"""`_NAP`: the time in seconds to wait after a read of fewer than `_LITTLE` bytes.

Without this wait, a backend that writes each packet separately would wake this program for each packet.
"""

_LOOK = 1.0
"""The time in seconds between two checks of drops, and of interfaces if the system does not report changes."""

_ANSWERED = 3
"""The number of requests for drop counts after which the first of them has certainly been answered. tcpdump answers late."""

_NEVER = float("inf")


class Recorder:
    """Runs a capture, and handles the requests of the analysis until the analysis ends."""

    def __init__(self, request: Request, events: Events, control: Control) -> None:
        self._request = request
        self._events = events
        self._control = control
        self._links = Links(request.interfaces)
        blocks = Blocks()
        self._backend = Backend(request, self._links, blocks, control.files)
        self._writing = Writing(blocks, events, request.packets)
        self._reason = self._text = ""
        self._again = False  # restart because an interface has come back
        self._killed = False
        self._asked = False  # the analysis requested a stop
        self._asked_delivered = False  # the analysis waits for the time up to which all packets were delivered
        self._parent = os.getppid()
        self._restarts = 0
        self._sent_notes: set[str] = set()
        self._outputs = Outputs([])
        self._for_outputs: set[int] = set()
        self._until = 0  # time of the stop request, by the clock of the timestamps
        self._stop_at = self._kill_at = self._end_at = _NEVER
        self._nap_until = self._look_at = 0.0
        self._asked_for_drops: deque[int] = deque(maxlen=_ANSWERED)  # times of requests, ns since 1970

    def run(self) -> int:
        """Capture; return the exit code of the program: 0, or 2 if capturing could not begin."""
        try:
            return self._run() if self._may_begin() else 0
        finally:
            self._outputs.close()
            if self._request.folder and (self._request.waits or not self._asked):  # no other process removes the folder
                remove_tree(self._request.folder)

    def _may_begin(self) -> bool:
        """Wait until the analysis requests the start; return False if it requests a stop or has ended."""
        messages: list[Message] = []
        while self._request.waits and not messages and not self._control.closed:
            messages = self._control.messages(wait(self._control.open_files, _NEVER))
        begins = not self._request.waits or (bool(messages) and messages[0]["do"] == "begin")
        for message in messages[1:]:
            self._obey_one(message)
        return begins

    def _run(self) -> int:
        try:
            self._outputs = Outputs(self._request.outputs)
            output = open_output(self._request, self._events)
        except OSError as error:
            name = error.filename or self._request.file or self._request.folder
            return self._cannot(f"cannot write {name}: {(error.strerror or str(error)).lower()}")
        self._writing.output = output
        try:
            begun = self._backend.first()
        except StoppedError:
            self._reason = "stopped"
            output.close(used=False)
            return self._finish(output)
        if isinstance(begun, str):
            output.close(used=False)
            return self._cannot(begun)
        self._drop_rights(begun)
        self._report_begin(begun, output)
        if self._reason:  # a stop was requested before the start
            self._stop_at = 0.0
        try:
            while self._backend.source is not None or not self._reason:
                self._step()
        except OSError as error:  # an error of the output file, for example on a disk that was removed
            option = f"-w {self._request.file}: " if self._request.file else ""
            self._reason, self._text = "full", f"{option}can no longer write: {(error.strerror or str(error)).lower()}"
            self._backend.abandon()
        if self._until and not self._writing.full:
            with contextlib.suppress(OSError):  # for example on a disk that was removed; already reported
                output.write(Piece(memoryview(ending(self._until, self._writing.packets)), 0))
        output.close(used=True)
        self._check_end()
        self._finish(output)
        self._serve()
        return 0

    def _check_end(self) -> None:
        """Set the reason why capturing ended to "backend" if packets are missing at the end of the capture.

        Packets are missing if the backend had to be killed, or if an interface was gone or down.
        """
        gone = [name for name in self._request.interfaces if name not in self._links.usable()]
        if self._reason not in ("stopped", "duration", "packets", "signal"):
            return
        if self._killed:
            self._text = "the capturing program did not react and was killed; its last packets are lost"
        elif gone:
            self._text = f"{', '.join(gone)} disappeared or was brought down and did not come back"
        else:
            return
        self._reason = "backend"

    def _drop_rights(self, source: Source) -> None:
        """Keep only the capabilities that this backend and the output files need."""
        if os.geteuid() != 0:
            keep_only(source.capabilities, no_new_privileges=False)  # a backend may get its own capabilities from its file
            return
        folders = [self._request.folder] if self._request.folder else []
        if self._request.ring is not None and self._request.file is not None:
            folders.append(os.path.dirname(self._request.file) or ".")
        self._for_outputs = self._outputs.capabilities(source.capabilities, folders)
        refused = keep_only(source.capabilities | self._for_outputs)
        if refused:
            self._events.send_event("note", text=f"the recorder could not drop {' and '.join(refused)}")

    def _serve(self) -> None:
        """Handle requests to open, commit, discard or remove report files after the capture, until the analysis ends."""
        keep_only(self._for_outputs)
        while self._request.waits and not self._control.closed and os.getppid() == self._parent:
            out = self._events.file if self._events.waiting else -1
            # an analysis that does not read the replies may not send more requests
            ready = wait([] if self._events.waiting else self._control.open_files, _LOOK, out)
            self._events.send()
            self._obey(ready)

    def _cannot(self, text: str) -> int:
        self._events.send_event("error", text=text)
        return 2

    def _report_begin(self, source: Source, output: Output) -> None:
        names = list(source.interfaces)
        by = f"raw sockets (scapy {source.version})" if source.backend == "raw" else f"{source.backend} {source.version}".rstrip()
        text = f"capturing on {', '.join(names)} with {by}"
        if isinstance(source, Stream):
            text = f"reading a capture from {self._request.stream_name}"
        self._events.send_event("started", backend=source.backend, version=source.version, text=text, interfaces=names)
        self._send_notes(source)
        output.begin()
        if self._request.duration is not None:
            self._end_at = time.monotonic() + self._request.duration
        self._report_interface_changes()

    def _send_notes(self, source: Source) -> None:
        """Report what the backend captures in spite of the request, or does not capture: once, although it may be restarted."""
        for note in source.notes:
            if note not in self._sent_notes:
                self._sent_notes.add(note)
                self._events.send_event("note", text=note)

    def _finish(self, output: Output) -> int:
        packets, dropped = self._writing.packets, self._writing.dropped
        self._events.send_event(
            "ended", reason=self._reason, text=self._text, bytes=output.written, packets=packets, dropped=dropped,
            restarts=self._restarts,
        )  # fmt: skip
        return 0

    # methods that are called while the capture runs

    def _step(self) -> None:
        """Wait for packets, requests, changes of interfaces or the next due time; then handle what has happened."""
        now = time.monotonic()
        source = self._backend.source
        napping = now < self._nap_until
        asked = self._asked_delivered and not napping
        files = [*source.files()] if source is not None and not napping else []
        watched = [self._links.file] if self._links.file >= 0 else []
        control = [] if self._events.is_behind else self._control.open_files
        told = self._writing.report_progress()
        next_time = min(told, min(self._look_at, self._end_at, self._stop_at, self._kill_at) - now)
        if napping:
            next_time = min(next_time, self._nap_until - now)
        out = self._events.file if self._events.waiting else -1
        at = time.time_ns()  # before the poll: this process may be stopped after it
        ready = wait([*files, *watched, *control], 0.0 if asked else max(0.0, next_time), out)
        self._events.send()
        if not napping and ready.isdisjoint(files):
            self._report_delivered(at, asked=asked)
        self._obey(ready)
        if source is not None:
            self._read(source, [file for file in files if file in ready])
        if not ready.isdisjoint(watched):
            self._report_interface_changes()
        self._by_the_clock(time.monotonic())

    def _report_delivered(self, time: int, *, asked: bool) -> None:
        """Note that everything the backend had passed on until `time` (ns since 1970) is written; report it if `asked`."""
        self._writing.delivered = time
        if asked:
            self._asked_delivered = False
            self._writing.report_progress(at_once=True)

    def _obey(self, ready: set[int]) -> None:
        """Handle the requests and signals that have arrived on the descriptors `ready`; stop if the analysis has ended."""
        for message in self._control.messages(ready):
            self._obey_one(message)
        if self._control.closed or self._events.closed:
            self._stop("stopped")

    def _obey_one(self, message: Message) -> None:
        if message["do"] in ("open", "commit", "discard", "remove"):
            self._outputs.answer(message, self._events)
        elif message is SIGNAL:
            self._stop("signal", "a signal ended the recorder")
        elif message["do"] == "delivered":
            self._asked_delivered = True
        elif message["do"] == "stop":
            self._asked = True
            self._reason = "stopped" if self._reason == "signal" else self._reason
            self._stop("stopped")

    def _read(self, source: Source, files: list[int]) -> None:
        writing = self._writing
        try:
            came = sum(source.read(file, writing.blocks) for file in files)
            writing.write()
        except StreamError as error:
            if isinstance(source, Stream):
                self._stop("backend", f"{self._request.stream_name} cannot be read: {error}")
                source.kill()
                self._handle_end(source)
                return
            self._events.send_event("note", text=f"{source.backend} wrote output that cannot be read: {error}")
            source.kill()
            self._handle_end(source)
            return
        if 0 < came < _LITTLE:
            self._nap_until = time.monotonic() + _NAP
        self._note_drops(source)
        if writing.full:
            self._stop("full", writing.full)
        elif writing.enough:
            self._stop("packets")
        if source.ended:
            self._handle_end(source)

    def _note_drops(self, source: Source) -> None:
        asked = self._asked_for_drops
        self._writing.live_drops(source.dropped, asked[0] if len(asked) == _ANSWERED else None)

    def _by_the_clock(self, now: float) -> None:
        if now >= self._end_at:
            self._stop("duration")
        source = self._backend.source
        if now >= self._stop_at and source is not None:
            self._interrupt(source)
        if now >= self._kill_at and source is not None:
            if self._killed:
                self._handle_end(source)
            else:
                source.kill()
                self._killed, self._kill_at = True, now + _GRACE
        if now >= self._look_at:
            self._look_at = now + _LOOK
            if os.getppid() != self._parent:  # a child of the analysis may still hold its end of the socket
                self._stop("stopped")
            self._report_interface_changes()
            source = self._backend.source
            if source is None and not self._reason:
                self._resume()
            elif source is not None and self._kill_at == _NEVER:
                source.ask_for_drops()
                self._asked_for_drops.append(time.time_ns())

    def _report_interface_changes(self) -> None:
        """Report changes of interfaces. Stop the backend if one of its interfaces is gone, or if another interface came up.

        The backend is then restarted on the interfaces that are up.
        """
        for name, state in self._links.changes():
            self._events.send_event("interface", name=name, state=state)
            source = self._backend.source
            if source is not None and not self._reason and (state == "gone") == (name in source.interfaces) and state != "down":
                self._again = True
                self._interrupt(source)
            elif state == "up" and source is None:
                self._look_at = 0.0

    def _stop(self, reason: str, text: str = "") -> None:
        """Stop the capture cleanly for this reason, unless it is being stopped already."""
        if self._reason:
            return
        self._reason, self._text = reason, text
        by_clock = reason in ("stopped", "duration", "signal") and not isinstance(self._backend.source, Stream)
        if by_clock and self._backend.source is not None:
            self._until = time.time_ns()
        self._end_at = _NEVER
        source = self._backend.source
        if source is not None and self._kill_at == _NEVER:
            self._stop_at = time.monotonic() + (source.linger if reason in ("stopped", "duration", "signal") else 0)

    def _interrupt(self, source: Source) -> None:
        source.stop()
        self._stop_at, self._kill_at, self._killed = _NEVER, time.monotonic() + _GRACE, False

    def _handle_end(self, source: Source) -> None:
        """Write the last blocks of a backend that has ended. Restart the backend unless the capture is to end."""
        self._backend.clean_up()
        self._note_drops(source)
        self._writing.section_over()
        self._asked_for_drops.clear()
        self._stop_at, self._kill_at, self._nap_until = _NEVER, _NEVER, 0.0
        if isinstance(source, Stream) and not self._reason:
            early = f"{self._request.stream_name} ended before the header of a capture arrived"
            self._stop(*(("end", "") if source.has_header else ("backend", early)))
        if self._reason:
            return
        if not self._again:
            self._report_interface_changes()
            said = trouble(source.backend, source.complaint()).text
            gone = len(self._links.usable()) < len(self._request.interfaces)
            self._report_problem(f"{source.backend} has ended: {said}", counts=not gone)
        self._again = False
        if not self._reason:
            self._resume()

    def _report_problem(self, text: str, *, counts: bool) -> None:
        """Report why nothing is captured at the moment. With `counts`, count a failure, and stop after too many failures."""
        if counts and self._backend.ended_too_often():
            self._stop("backend", f"{text} (this happened repeatedly)")
        else:
            self._restarts += counts
            self._events.send_event("note", text=f"{text}; restarting it" if counts else text)

    def _resume(self) -> None:
        try:
            found = self._backend.restart()
        except StoppedError:
            self._stop("stopped")
            return
        if found is not None:  # an interface may have disappeared again in the meantime
            self._report_problem(found.text, counts=found.kind not in ("interface", "down"))
        elif self._backend.source is not None:
            self._send_notes(self._backend.source)
            self._look_at = 0.0  # write the first blocks at once

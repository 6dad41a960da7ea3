"""Run `python -m wiredoctor.recording REQUEST`: capture, and obey requests on standard input (`request.py`, `control.py`)."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from types import FrameType

from wiredoctor.interfaces import is_privileged, search_path
from wiredoctor.recording.control import Control
from wiredoctor.recording.events import Events
from wiredoctor.recording.folder import keep, remove_abandoned
from wiredoctor.recording.recorder import Recorder
from wiredoctor.recording.request import read_request

PRIORITY = -5
"""The nice value of this program and its backends. Busy machines lose packets, and these processes use little CPU time."""


def _nothing(number: int, frame: FrameType | None) -> None:
    """Handle a signal by doing nothing: Python writes a byte to the pipe of `_wake` for each signal that has a handler."""


def _wake() -> int:
    """Return a file descriptor that becomes readable when a signal requests a stop."""
    reader, writer = os.pipe()
    for file in (reader, writer):
        os.set_blocking(file, False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _nothing)
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # the kernel sends SIGIO to holders of leases (folder.py)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def main() -> int:
    """Capture until a stop is requested. Return the exit code: 2 if capturing could not begin."""
    events = Events(1)
    try:
        request = read_request(sys.argv[1])
    except (IndexError, ValueError, KeyError, TypeError) as error:
        events.send_event("error", text=f"this is not a valid recorder request: {error}")
        return 2
    woken = _wake()
    if is_privileged():
        os.environ["PATH"] = search_path()  # libraries also look for programs in PATH
    if request.folder:
        keep(request.folder)
    remove_abandoned(os.path.dirname(request.folder) or tempfile.gettempdir())
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, min(PRIORITY, os.getpriority(os.PRIO_PROCESS, 0)))
    code = Recorder(request, events, Control(0, woken)).run()
    events.finish(1)
    return code


if __name__ == "__main__":
    sys.exit(main())

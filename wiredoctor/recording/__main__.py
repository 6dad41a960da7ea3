"""python -m wiredoctor.recording REQUEST: see `request.py` and `control.py`; it stops when standard input ends."""

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
"""A busy machine is when packets are lost; and this program, and the backends that inherit this from it, take little of it."""


def _nothing(number: int, frame: FrameType | None) -> None:
    """A handler, so that the signal arrives as a byte in a pipe."""


def _wake() -> int:
    """A file that is readable once a signal has asked to stop."""
    reader, writer = os.pipe()
    for file in (reader, writer):
        os.set_blocking(file, False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _nothing)
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # see recording/folder.py
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def main() -> int:
    """Captures until it is told to stop; the exit code: 2 when it could not begin."""
    events = Events(1)
    try:
        request = read_request(sys.argv[1])
    except (IndexError, ValueError, KeyError, TypeError) as error:
        events.tell("error", text=f"this is no request for a recording: {error}")
        return 2
    woken = _wake()
    if is_privileged():
        os.environ["PATH"] = search_path()  # libraries execute programs, too
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

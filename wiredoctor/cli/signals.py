"""End the process on a signal at any time, with one line on standard error and exit code 128 plus the signal's number.

`watch` is called before any large import. While modules load, there is nothing to clean up, and the import could swallow an
exception, so the process ends immediately. While a command runs, a signal raises Interrupted, so temporary folders, files and
worker processes are removed.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from wiredoctor import system
from wiredoctor.system import STOPPING

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes a while to load
    from types import FrameType

PATIENCE = 2.0
"""Seconds for cleaning up after the first signal; after that, the next signal ends the process immediately."""

SAME_SIGNAL = 0.2
"""Seconds within which two equal signals count as one.

timeout, sudo and terminals may send a signal both to the process and to its process group.
"""


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class _State:
    """The state of signal handling.

    `is_running`: a command runs. `number`: the first signal that asked the command to end. `time`: when that signal came, in
    seconds of time.monotonic(). `is_reported`: the line that names the signal was written.
    """

    is_running = False
    number: int | None = None
    time = 0.0
    is_reported = False
    is_stopped = False
    """True if SIGINT ended only the reading of packets; the command continues with the packets that were read."""


class StopReading:
    """While packets are read, let the first SIGINT end only the reading, so a report can follow.

    A second SIGINT, or any other signal, ends the command. The code that reads packets calls this object, which returns whether
    to stop. SIGINT before the first call ends the command, too.
    """

    def __init__(self) -> None:
        self._reads = False
        self._came = 0.0
        self._before: object = None

    def __call__(self) -> bool:
        self._reads = True
        return _State.is_stopped

    def __enter__(self) -> StopReading:
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is stop:  # otherwise SIGINT is ignored, or the calling program handles SIGINT
            signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is stop:
            signal.signal(signal.SIGINT, stop)

    def _ask(self, number: int, frame: object) -> None:
        if _State.is_stopped and time.monotonic() - self._came < SAME_SIGNAL:
            return
        if not self._reads or _State.is_stopped:
            stop(number, frame)
        else:
            self._came = time.monotonic()
            # even after the last packet: the report is then complete, and only the exit code shows SIGINT
            _State.is_stopped = True


def watch() -> None:
    """From now on, end the process on a signal in STOPPING, except signals that are ignored (nohup)."""
    for one in STOPPING:
        if signal.getsignal(one) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(one, stop)


def stop(number: int, _frame: object = None) -> None:
    """Handle a signal. While a command runs, the first signal raises Interrupted; otherwise it ends the process.

    Later signals are ignored, because a second exception would interrupt the cleanup. If the command still runs PATIENCE seconds
    after the first signal, the exception was probably swallowed, and the next signal ends the process.
    """
    if not _State.is_running:
        end(number)
    now = time.monotonic()
    if _State.number is None:
        _State.number, _State.time = number, now
        sys.unraisablehook = _unraisable
        raise Interrupted(number)
    if now - _State.time > PATIENCE:
        end(_State.number)


def begin() -> None:
    """Declare that a command runs: from now on, signals raise Interrupted."""
    _State.is_running, _State.number, _State.is_reported, _State.is_stopped = True, None, False, False


def finish() -> None:
    """Record that no command is running anymore: from now on, signals end the process immediately."""
    # no call and no loop may come first, because Python checks for signals there
    _State.is_running = False


def number_of(error: BaseException | None) -> int | None:
    """Return the number of the signal that ended a command; None if no signal did. `error`: the exception that ended it."""
    if _State.number is not None:
        return _State.number
    return getattr(error, "number", int(signal.SIGINT)) if isinstance(error, KeyboardInterrupt) else None


def stopped_reading() -> bool:
    """Return whether SIGINT ended the reading of packets."""
    return _State.is_stopped


def report(number: int) -> None:
    """Write the line that names the signal, unless it was already written."""
    if not _State.is_reported and sys.__stderr__ is not None:  # if closed (2>&-), descriptor 2 may be another file
        try:  # noqa: SIM105 - contextlib would have to be loaded before the first signal is watched for
            os.write(2, f"wiredoctor: interrupted by {signal.Signals(number).name}\n".encode())
        except OSError:
            pass
    _State.is_reported = True


def end(number: int) -> None:
    """Name the signal on standard error, and end the process immediately with exit code 128 plus `number`."""
    report(number)
    os._exit(128 + number)


def _unraisable(what: sys.UnraisableHookArgs) -> None:
    """Raise Interrupted again after a moment, if Python discarded it because it was raised in a finalizer or a callback."""
    if not isinstance(what.exc_value, Interrupted):
        sys.__unraisablehook__(what)
    else:
        system.call_soon(_raise_again)


def _raise_again(_number: int, frame: FrameType | None) -> None:
    while frame is not None and frame.f_code is not _unraisable.__code__:
        frame = frame.f_back
    if frame is not None:  # Python would discard the exception again
        system.call_soon(_raise_again)
    elif _State.is_running and _State.number is not None:
        raise Interrupted(_State.number)

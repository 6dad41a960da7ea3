"""The end by a signal: one line on standard error and 128 plus its number as exit code, whatever the program is doing.

`watch` is called before anything large is imported. While modules are loaded there is nothing to clean up, and an exception
could be swallowed by the import: the process ends at once. While a command runs, a signal raises Stopped, so that temporary
folders, files and worker processes go.
"""

from __future__ import annotations

import os
import signal
import sys
import time

STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask for an end."""

PATIENCE = 2.0
"""Seconds of cleaning up after the first signal; the next signal then ends the process at once."""

_AGAIN = 0.01


class Stopped(KeyboardInterrupt):
    """A signal asks for an end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class _State:
    """`is_running`: a command runs. `number`: the first signal that asked for its end, at `time`."""

    is_running = False
    number: int | None = None
    time = 0.0
    is_reported = False


def watch() -> None:
    """End on the signals that ask for it; one that is ignored (nohup) stays so."""
    for one in STOPPING:
        if signal.getsignal(one) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(one, stop)


def stop(number: int, _frame: object = None) -> None:
    """Raise Stopped if a command runs, once: a second one would break off the cleaning up. Otherwise end the process.

    This is the handler of the signals. If the first one seems to have been lost, because somebody caught the exception, a
    later one ends the process, too.
    """
    if not _State.is_running:
        end(number)
    now = time.monotonic()
    if _State.number is None:
        _State.number, _State.time = number, now
        sys.unraisablehook = _unraisable
        raise Stopped(number)
    if now - _State.time > PATIENCE:
        end(_State.number)


def begin() -> None:
    """Raise Stopped from now on."""
    _State.is_running, _State.number, _State.is_reported = True, None, False


def finish() -> None:
    """End the process at once from now on."""
    # no call and no loop in here may come first: Python looks for signals there
    _State.is_running = False


def number_of(error: BaseException | None) -> int | None:
    """Return the signal that has ended a command, which failed with this error or not at all; None if none has."""
    if _State.number is not None:
        return _State.number
    return getattr(error, "number", int(signal.SIGINT)) if isinstance(error, KeyboardInterrupt) else None


def report(number: int) -> None:
    """Write the line that names the signal, once."""
    if not _State.is_reported and sys.__stderr__ is not None:  # if it was closed (2>&-), another file may have its number
        try:  # noqa: SIM105 - contextlib would have to be loaded before the first signal is watched for
            os.write(2, f"wiredoctor: interrupted by {signal.Signals(number).name}\n".encode())
        except OSError:
            pass
    _State.is_reported = True


def end(number: int) -> None:
    """End the process at once."""
    report(number)
    os._exit(128 + number)


def _unraisable(what: sys.UnraisableHookArgs) -> None:
    """Raise Stopped again if Python had to swallow it, as in a finalizer; nothing has been cleaned up then."""
    if not isinstance(what.exc_value, Stopped):
        sys.__unraisablehook__(what)
    elif hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _raise_again)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)


def _raise_again(_number: int, _frame: object) -> None:
    if _State.is_running and _State.number is not None:
        raise Stopped(_State.number)

"""Exit codes, and how each way of ending looks to the user: one line on standard error, a traceback only when asked for."""

from __future__ import annotations

import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from wiredoctor.masking import trace
from wiredoctor.replacement import FULL
from wiredoctor.report.words import clean


class Exit(IntEnum):
    """What the exit code of wiredoctor means."""

    DONE = 0
    FAILED_ON = 1
    """`--fail-on` was reached."""
    BAD_INPUT = 2
    """The command line was wrong, or some input could not be read, or some output not be written."""
    INTERNAL = 3
    """A fault of wiredoctor."""
    INTERRUPTED = 130
    """SIGINT; other signals that ask for an end give 128 and their number, as a shell reports them."""
    BROKEN_PIPE = 141
    """Nobody reads standard output any more; as a shell reports SIGPIPE."""


class Stopped(KeyboardInterrupt):
    """A signal asks for an end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask for an end."""


def stop_in_order() -> None:
    """From now on a signal that asks for an end raises Stopped, so that worker processes and temporary folders go too.

    Once: a second one would break off the cleaning up. What is ignored (nohup) stays so.
    """
    heard = [one for one in STOPPING if signal.getsignal(one) in (signal.SIG_DFL, signal.default_int_handler)]

    stopped = False

    def stop(number: int, _: object) -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            raise Stopped(number)

    for one in heard:
        signal.signal(one, stop)


def open_streams() -> None:
    """Gives a place to what is said where the shell closed a stream (>&-), for which Python has none."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  for as long as the process lives


class UsageError(Exception):
    """The command line asks for something that does not exist or makes no sense; the text says what, in one line."""


def reason(error: OSError, path: str = "") -> str:
    """Return what went wrong, and with which file if that is not the one at `path`."""
    text = error.strerror or str(error)
    file = "" if error.filename is None or error.filename == path else f": {error.filename}"
    return f"{text[:1].lower()}{text[1:]}{file}"


def say(line: str) -> None:
    """A message for the user, who reads standard output for the result only."""
    print(f"wiredoctor: {clean(line)}", file=sys.stderr)  # noqa: T201


def guarded(command: Callable[..., int]) -> Callable[..., None]:
    """A command that returns its exit code -> a command that ends in it, whatever happens."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        code = _run(command, args, options)
        if code:
            sys.exit(code)

    return run


def _run(command: Callable[..., int], args: tuple[Any, ...], options: dict[str, Any]) -> int:
    try:
        code = command(*args, **options)
        sys.stdout.flush()
    except Stopped as stopped:
        return 128 + stopped.number
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        _abandon_stdout()
        return Exit.BROKEN_PIPE
    except UsageError as error:
        say(str(error))
        return Exit.BAD_INPUT
    except OSError as error:
        # all other files that are written name themselves
        is_stdout = error.filename is None and error.errno in FULL
        say(f"{'standard output: ' if is_stdout else ''}{reason(error)}")
        _abandon_stdout()
        return Exit.BAD_INPUT
    except Exception as error:  # noqa: BLE001  the last resort: whatever it is, it is our fault, and the user gets one line
        if options.get("verbose"):
            _print_trace(error, whole=bool(options.get("show_secrets")))
        say(apology(error))
        return Exit.INTERNAL
    return code


def _print_trace(error: Exception, *, whole: bool) -> None:
    for line in trace(error, whole=whole).splitlines():
        print(clean(line), file=sys.stderr)  # noqa: T201


def apology(error: Exception) -> str:
    """Names the kind of error and the place, but not its text: that may hold bytes of the capture."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f"{os.sep}wiredoctor{os.sep}" in f.filename]
    place = f" in {os.path.basename(frames[-1].filename)}, line {frames[-1].lineno}" if frames else ""
    return f"internal error: {type(error).__name__}{place}; please report it (--verbose shows the traceback)"


def _abandon_stdout() -> None:
    """Lets the interpreter flush what is left into nothing."""
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
    except (OSError, ValueError):
        return

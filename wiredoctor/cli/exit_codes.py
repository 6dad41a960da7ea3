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

from wiredoctor.cli import signals
from wiredoctor.replacement import FULL
from wiredoctor.report.words import clean
from wiredoctor.text.redact import trace


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
    """SIGINT; other signals that ask for an end give 128 and their number, as a shell reports them. One line names the signal."""
    BROKEN_PIPE = 141
    """Nobody reads standard output any more; as a shell reports SIGPIPE."""


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
    """Turn a command that returns its exit code into one that ends with it; a signal ends it, too, in order."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        signals.begin()
        try:
            code = exit_code(command, *args, **options)
            signals.finish()
        except KeyboardInterrupt as error:  # while an error was reported
            signals.finish()
            code = _interrupted(signals.number_of(error) or signal.SIGINT)
        if code:
            sys.exit(code)

    return run


def exit_code(command: Callable[..., int], *args: Any, **options: Any) -> int:
    """Call a command and return its exit code, whatever happens."""
    try:
        code = command(*args, **options)
        sys.stdout.flush()
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001  the last resort: whatever it is, the user gets one line
        # what a signal has broken off fails in many ways: an import says that it failed
        number = signals.number_of(error)
        return _failed(error, options) if number is None else _interrupted(number)
    number = signals.number_of(None)
    return code if number is None else _interrupted(number)


def _interrupted(number: int) -> int:
    _abandon_stdout()
    signals.report(number)
    return 128 + number


def _failed(error: BaseException, options: dict[str, Any]) -> int:
    if isinstance(error, BrokenPipeError):
        _abandon_stdout()
        return Exit.BROKEN_PIPE
    if isinstance(error, UsageError):
        say(str(error))
        return Exit.BAD_INPUT
    if isinstance(error, OSError):
        # all other files that are written name themselves
        is_stdout = error.filename is None and error.errno in FULL
        say(f"{'standard output: ' if is_stdout else ''}{reason(error)}")
        _abandon_stdout()
        return Exit.BAD_INPUT
    if options.get("verbose"):
        _print_trace(error, whole=bool(options.get("show_secrets")))
    say(apology(error))
    return Exit.INTERNAL


def _print_trace(error: BaseException, *, whole: bool) -> None:
    for line in trace(error, whole=whole).splitlines():
        print(clean(line), file=sys.stderr)  # noqa: T201


def apology(error: BaseException) -> str:
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

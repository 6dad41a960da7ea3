"""Exit codes, and how each way of ending looks to the user: one line on standard error, a traceback only when asked for."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum
from typing import Any

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
    BROKEN_PIPE = 141
    """Nobody reads standard output any more; as a shell reports SIGPIPE."""


class UsageError(Exception):
    """The command line asks for something that does not exist or makes no sense; the text says what, in one line."""


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
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        _abandon_stdout()
        return Exit.BROKEN_PIPE
    except UsageError as error:
        say(str(error))
        return Exit.BAD_INPUT
    except OSError as error:
        say(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        _abandon_stdout()
        return Exit.BAD_INPUT
    except Exception as error:  # noqa: BLE001  the last resort: whatever it is, it is our fault, and the user gets one line
        if options.get("verbose"):
            traceback.print_exc()
        say(_apology(error))
        return Exit.INTERNAL
    return code


def _apology(error: Exception) -> str:
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

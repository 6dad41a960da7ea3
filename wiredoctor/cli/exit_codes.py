"""Exit codes and error messages: one line on standard error, with a traceback only on request.

`report_exit` in running.py decides which exit code a report gets.
"""

from __future__ import annotations

import functools
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum
from typing import Any, cast

from wiredoctor import system
from wiredoctor.cli import signals
from wiredoctor.report.words import clean
from wiredoctor.storage.replacement import FULL
from wiredoctor.text.redact import safe_traceback


class Exit(IntEnum):
    """The exit codes of wiredoctor."""

    OK = 0
    FINDINGS = 1
    """A finding matches `--fail-on`; report/fail_on.py decides this."""
    BAD_INPUT = 2
    """The usage is wrong, an input could not be read, or an output could not be written."""
    INTERNAL = 3
    """An internal error."""
    INTERRUPTED = 130
    """SIGINT ended the command. For other signals, the exit code is 128 plus the number of the signal, as in a shell."""
    BROKEN_PIPE = 141
    """Standard output was closed; a shell reports SIGPIPE with the same code."""


def open_streams() -> None:
    """Make standard output and standard error usable.

    A stream that the shell closed (>&-) is replaced by /dev/null. A write to any other stream waits while its pipe is full.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  for as long as the process lives
        elif isinstance(stream, io.TextIOWrapper):
            setattr(sys, name, system.output_stream(cast("io.TextIOWrapper[Any]", stream)))


class UsageError(Exception):
    """The command line is invalid. The text of the error is one line with the reason."""


def check_captures(command: str) -> None:
    """Raise UsageError, with a line that says what to do instead, if a command that captures does not work on this system."""
    if command not in system.CAPTURING:
        raise UsageError(
            f"{command} needs Linux; on this system, capture with dumpcap -i N -w FILE.pcapng (dumpcap -D lists the interfaces), "
            "then run wiredoctor analyze FILE.pcapng"
        )


def reason(error: OSError, path: str = "") -> str:
    """Return the text of an error. Append the name of the file that the error concerns, unless that file is `path`."""
    text = error.strerror or str(error)
    if isinstance(error, FileNotFoundError):
        text = system.explain_missing(os.fsdecode(error.filename or path), text)
    file = "" if error.filename is None or error.filename == path else f": {error.filename}"
    return f"{text[:1].lower()}{text[1:]}{file}"


def print_message(line: str) -> None:
    """Print a message for the user to standard error; standard output is for results only."""
    print(f"wiredoctor: {clean(line)}", file=sys.stderr)  # noqa: T201 - to standard error


def run_command(command: Callable[..., int]) -> Callable[..., None]:
    """Return a function that runs a command and then exits, with the exit code of the command or of the signal that ended it."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        signals.begin()
        try:
            code = exit_code(command, *args, **options)
            signals.finish()
        except KeyboardInterrupt as error:  # the signal came while an error was reported
            signals.finish()
            code = _end_by_signal(signals.number_of(error) or signal.SIGINT)
        if code:
            sys.exit(code)

    return run


def exit_code(command: Callable[..., int], /, *args: Any, **options: Any) -> int:
    """Call a command and return its exit code. For an error or a signal, print one line and return the exit code for it."""
    try:
        code = command(*args, **options)
        sys.stdout.flush()
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001  the last resort: the user gets one line for any error
        # a signal may cause other exceptions than Interrupted: an interrupted import raises ImportError, for example
        number = signals.number_of(error)
        return _report_failure(error, options) if number is None else _end_by_signal(number)
    number = signals.number_of(None)
    if number is None and signals.stopped_reading():
        signals.report(signal.SIGINT)
        return Exit.INTERRUPTED
    return code if number is None else _end_by_signal(number)


def exit_on_broken_pipe(call: Callable[[], Any]) -> Any:
    """Return the result of the call. If standard output is closed, exit with the code of SIGPIPE; Typer would exit with 1."""
    try:
        return call()
    except BrokenPipeError:
        _abandon_stdout()
        sys.exit(Exit.BROKEN_PIPE)


def _end_by_signal(number: int) -> int:
    _abandon_stdout()
    signals.report(number)
    return 128 + number


def _report_failure(error: BaseException, options: dict[str, Any]) -> int:
    if isinstance(error, BrokenPipeError):
        _abandon_stdout()
        return Exit.BROKEN_PIPE
    if isinstance(error, UsageError):
        print_message(str(error))
        return Exit.BAD_INPUT
    if isinstance(error, OSError):
        # errors of all other outputs name the file
        is_stdout = error.filename is None and error.errno in FULL
        print_message(f"{'standard output: ' if is_stdout else ''}{reason(error)}")
        _abandon_stdout()
        return Exit.BAD_INPUT
    if options.get("verbose"):
        _print_trace(error, whole=bool(options.get("show_secrets")))
    print_message(apology(error))
    return Exit.INTERNAL


def _print_trace(error: BaseException, *, whole: bool) -> None:
    for line in safe_traceback(error, whole=whole).splitlines():
        print(clean(line), file=sys.stderr)  # noqa: T201 - to standard error


def apology(error: BaseException) -> str:
    """Describe an internal error by its type and source line, not by its text, which may contain bytes of the capture."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f"{os.sep}wiredoctor{os.sep}" in f.filename]
    place = f" in {os.path.basename(frames[-1].filename)}, line {frames[-1].lineno}" if frames else ""
    return f"internal error: {type(error).__name__}{place}; please report it (--verbose shows the traceback)"


def _abandon_stdout() -> None:
    """Redirect standard output to /dev/null, so the interpreter can flush the buffer at exit without another error."""
    try:
        nothing = os.open(os.devnull, os.O_WRONLY | system.BINARY)
        os.dup2(nothing, sys.stdout.fileno())
    except (OSError, ValueError):
        return

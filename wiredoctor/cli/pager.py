"""Show output on a terminal through a pager, like git.

The pager is named by WIREDOCTOR_PAGER or PAGER. The default is less, which exits at once if the output fits on one screen.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import sys
from collections.abc import Generator
from types import FrameType
from typing import BinaryIO, cast

from wiredoctor import system

DEFAULT = "less"

OPTION = "--no-pager"

LESS = "FRX"
_OPTIONS = {"LESS": LESS, "LV": "-c"}
"""Settings for pagers, applied unless the user has set them.

With them, the pager exits if one screen is enough, passes colors on, and does not clear the screen.
"""


class _State:
    """The state of this module. `is_off`: --no-pager was given."""

    is_off = False


def turn_off() -> None:
    """Use no pager in this process."""
    _State.is_off = True


def command() -> str:
    """Return the command line of the pager; empty if no pager is to be used."""
    if _State.is_off or not system.HAS_PAGER or not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return ""
    chosen = os.environ.get("WIREDOCTOR_PAGER", os.environ.get("PAGER", DEFAULT)).strip()
    words = chosen.split()
    return "" if chosen == "cat" or not words or shutil.which(words[0]) is None else chosen


@contextlib.contextmanager
def standard_output() -> Generator[BinaryIO]:
    """Yield standard output as a binary stream.

    A program that calls the command line may have replaced sys.stdout by a text stream without a binary buffer, such as
    io.StringIO. The bytes are then written to that stream at the end.
    """
    buffer: BinaryIO | None = getattr(sys.stdout, "buffer", None)
    if buffer is not None:
        yield buffer
        return
    kept = io.BytesIO()
    yield kept
    sys.stdout.write(kept.getvalue().decode("utf-8", "backslashreplace"))


def _ignore(number: int, frame: FrameType | None) -> None:
    """Handle a signal by doing nothing.

    SIG_IGN is not used, because the pager, a child process, would inherit it.
    """


@contextlib.contextmanager
def paged() -> Generator[BinaryIO]:
    """Yield a stream to write to: the pager if there is one, otherwise standard output. At the end, wait for the pager."""
    called = command()
    if not called:
        with standard_output() as out:
            yield out
        return
    import subprocess

    sys.stdout.flush()
    before = signal.signal(signal.SIGINT, _ignore)  # Ctrl-C is for the pager, which gets the default handler
    process: subprocess.Popen[bytes] | None = None
    try:
        environment = {**_OPTIONS, **os.environ}
        if system.effective_user() == 0:  # less could start other programs and write files as root
            environment["LESSSECURE"] = "1"
        process = subprocess.Popen(called, shell=True, stdin=subprocess.PIPE, env=environment)
        with contextlib.suppress(BrokenPipeError):  # the user closed the pager
            yield cast("BinaryIO", process.stdin)
    finally:
        if process is not None:
            with contextlib.suppress(BrokenPipeError):
                cast("BinaryIO", process.stdin).close()
            process.wait()
        signal.signal(signal.SIGINT, before)

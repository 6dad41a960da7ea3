"""What the analysis asks of the recorder while it runs, in lines of JSON on standard input.

The end of standard input means that the analysis is gone.
"""

from __future__ import annotations

import json
import os
from typing import Any

Message = dict[str, Any]
"""`do` is begin, stop, open, commit, discard or remove; the last four with `output` (its number in the request) and `name`."""

_LONGEST = 4096
"""Bytes of a message."""

STOP: Message = {"do": "stop"}

SIGNAL: Message = {"do": "stop"}
"""A signal asked to stop, and not the analysis."""


class Control:
    """Reads messages from `file`. `woken` becomes readable when a signal asks to stop."""

    def __init__(self, file: int, woken: int) -> None:
        self.files = (file, woken)
        self.closed = False
        """Nobody will ask for anything any more."""
        self._file, self._woken = file, woken
        self._partial = b""

    def messages(self, ready: set[int]) -> list[Message]:
        """Return the messages that have come by these files; whatever is no message means to stop."""
        found: list[Message] = []
        if self._woken in ready:
            os.read(self._woken, 4096)
            found.append(SIGNAL)
        if self._file in ready and not self.closed:
            try:
                data = os.read(self._file, 1 << 16)
            except BlockingIOError:
                return found
            except OSError:
                data = b""
            self.closed = not data
            *lines, self._partial = (self._partial + data).split(b"\n")
            if len(self._partial) > _LONGEST:
                lines, self._partial = [*lines, b""], b""
            found += [_message(line) for line in lines]
        return found

    @property
    def open_files(self) -> list[int]:
        """The files to wait for: an end of input is reported once."""
        return [self._woken] if self.closed else [*self.files]


def _message(line: bytes) -> Message:
    try:
        message: Message = json.loads(line)
        return message if message["do"] else STOP
    except (ValueError, KeyError, TypeError, RecursionError):
        return STOP

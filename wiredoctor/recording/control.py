"""Read requests of the analysis from standard input, one JSON object per line, while the recorder runs.

The end of standard input means that the analysis has ended.
"""

from __future__ import annotations

import json
import os
from typing import Any

Message = dict[str, Any]
"""A request. `do` is begin, stop, delivered, open, commit, discard or remove.

Delivered asks for a progress event with the time up to which all packets were delivered.
Open, commit, discard and remove also have `output`, an index into `outputs` of the Request, and `name`, which is a file in the
output if the output is a folder.
"""

_LONGEST = 4096
"""The maximum size of a message in bytes."""

STOP: Message = {"do": "stop"}

SIGNAL: Message = {"do": "stop"}
"""The stop request that is used if a signal, not the analysis, requests the stop."""


class Control:
    """Reads messages from `file`. `woken` becomes readable when a signal requests a stop."""

    def __init__(self, file: int, woken: int) -> None:
        self.files = (file, woken)
        self.closed = False
        """True if no more requests can come."""
        self._file, self._woken = file, woken
        self._partial = b""

    def messages(self, ready: set[int]) -> list[Message]:
        """Read and return the requests that have arrived. `ready`: the descriptors that can be read.

        A signal or invalid input counts as a stop request.
        """
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
        """The descriptors to wait for: `woken` and, until the end of `file`, `file`."""
        return [self._woken] if self.closed else [*self.files]


def _message(line: bytes) -> Message:
    try:
        message: Message = json.loads(line)
        return message if message["do"] else STOP
    except (ValueError, KeyError, TypeError, RecursionError):
        return STOP

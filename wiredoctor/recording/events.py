"""What happens, told on standard output: a JSON object a line. A reader that does not read never holds the capture up."""

from __future__ import annotations

import json
import os
import select
import stat
import time


class Events:
    """Writes events to `file`. Of progress only the latest waits for a full pipe; everything else waits until it can be sent."""

    def __init__(self, file: int) -> None:
        self.file = file
        self.closed = False
        """Nobody will ever read again."""
        self._waiting = bytearray()
        self._progress = b""
        mode = os.fstat(file).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):  # a terminal is shared with others
            os.set_blocking(file, False)

    @property
    def waiting(self) -> bool:
        """Whether something could not be sent yet."""
        return not self.closed and bool(self._waiting or self._progress)

    def tell(self, event: str, **what: object) -> None:
        """An event that must arrive."""
        self._progress = b""  # this one is sent behind it, and the next progress says more
        self._waiting += _line(event, what)
        self.send()

    def progress(self, **what: object) -> None:
        """How far the capture has come; forgotten when the next is told before this one could be sent."""
        self._progress = _line("progress", what)
        self.send()

    def send(self) -> None:
        """As much as the pipe takes."""
        while self.waiting:
            if not self._waiting:
                self._waiting += self._progress
                self._progress = b""
            try:
                del self._waiting[: os.write(self.file, self._waiting)]
            except BlockingIOError:
                return
            except OSError:
                self.closed = True

    def finish(self, seconds: float) -> None:
        """Waits for the reader to take what is left, at most so long."""
        end = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.file, select.POLLOUT)
        while self.waiting and (left := end - time.monotonic()) > 0:
            poll.poll(left * 1000)
            self.send()


def _line(event: str, what: dict[str, object]) -> bytes:
    return json.dumps({"event": event, **what}, separators=(",", ":")).encode() + b"\n"

"""Write events to standard output, one JSON object per line, without ever waiting for the reader."""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import stat
import time
from collections import deque
from typing import NamedTuple

_NAP = 0.01
"""The time in seconds before another attempt to send a descriptor, because the socket does not report when that is possible."""


_MAX_UNSENT = 256
"""The number of unsent events above which no more requests are read."""


class _Piece(NamedTuple):
    """Bytes to send, and a descriptor that is sent with the first byte."""

    data: bytes
    descriptor: int | None = None


class Events:
    """Writes events to `file`. While the pipe is full, events are queued. Of queued progress events, only the newest is kept.

    If `file` is a Unix socket, an event can include a descriptor.
    """

    def __init__(self, file: int) -> None:
        self.file = file
        self.closed = False
        """True if the reader has closed its end."""
        self._waiting: deque[_Piece] = deque()
        self._progress = b""
        mode = os.fstat(file).st_mode
        self._socket = socket.socket(fileno=os.dup(file)) if stat.S_ISSOCK(mode) else None
        if stat.S_ISFIFO(mode) or self._socket is not None:  # a terminal is shared with other processes
            os.set_blocking(file, False)

    @property
    def waiting(self) -> bool:
        """True if an event could not be sent yet."""
        return not self.closed and bool(self._waiting or self._progress)

    @property
    def is_behind(self) -> bool:
        """True if more than _MAX_UNSENT events are queued, so the reader has probably stopped reading."""
        return len(self._waiting) > _MAX_UNSENT

    def send_event(self, event: str, *, descriptor: int | None = None, **what: object) -> None:
        """Queue an event that must not be lost, and send what the pipe accepts.

        `what`: the other keys of the event's JSON object. `descriptor`: a descriptor that is sent with the event and then closed;
        if the reader cannot receive descriptors, it is closed without being sent.
        """
        self._progress = b""  # drop pending progress, which would be sent after this event although it is older
        if descriptor is not None and self._socket is None:
            os.close(descriptor)
            descriptor = None
        if descriptor is not None:
            what["has_descriptor"] = True
        self._waiting.append(_Piece(_line(event, what), descriptor))
        self.send()

    def progress(self, **what: object) -> None:
        """Send a progress event with these keys. If it cannot be sent yet, the next progress event replaces it."""
        self._progress = _line("progress", what)
        self.send()

    def send(self) -> None:
        """Send as many of the queued events as the pipe accepts."""
        while self.waiting:
            if not self._waiting:
                self._waiting.append(_Piece(self._progress))
                self._progress = b""
            piece = self._waiting[0]
            try:
                sent = self._write(piece)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ETOOMANYREFS:  # too many descriptors are in flight (unix(7))
                    time.sleep(_NAP)
                    return
                self.closed = True
                return
            if piece.descriptor is not None:
                os.close(piece.descriptor)
            if sent < len(piece.data):
                self._waiting[0] = _Piece(piece.data[sent:])
            else:
                self._waiting.popleft()

    def _write(self, piece: _Piece) -> int:
        if piece.descriptor is None or self._socket is None:
            return os.write(self.file, piece.data)
        return socket.send_fds(self._socket, [piece.data], [piece.descriptor])

    def finish(self, seconds: float) -> None:
        """Wait up to `seconds` for the reader to take the remaining events."""
        end = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.file, select.POLLOUT)
        while self.waiting and (left := end - time.monotonic()) > 0:
            poll.poll(left * 1000)
            self.send()


def _line(event: str, what: dict[str, object]) -> bytes:
    return json.dumps({"event": event, **what}, separators=(",", ":")).encode() + b"\n"

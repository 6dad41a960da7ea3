"""Run dumpcap as a backend: one process captures on all interfaces and writes pcapng."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from wiredoctor.interfaces import required_capabilities
from wiredoctor.recording.blocks import Blocks, user_application
from wiredoctor.recording.counters import Counters
from wiredoctor.recording.privileges import NET_ADMIN, NET_RAW
from wiredoctor.recording.process import Process

if TYPE_CHECKING:
    from wiredoctor.recording.request import Request


class Dumpcap:
    """A running dumpcap. It delivers packets at least every 250 ms, and writes statistics blocks when it is stopped."""

    backend = "dumpcap"
    notes: Sequence[str] = ()
    linger = 0.26

    def __init__(self, path: str, interfaces: Sequence[str], request: Request) -> None:
        self.interfaces = interfaces
        self.version = ""
        self.begun = self.ended = False
        words = [path, "-q", "-B", str(request.buffer)]
        words += ["-s", str(request.snaplen)] if request.snaplen else []
        words += ["-f", request.filter] if request.filter else []
        for name in interfaces:
            words += ["-i", name]
        self.capabilities = _needed_capabilities(path)
        self._process = Process([*words, "-w", "-"], self.capabilities)
        self.processes = [self._process.id]
        self._counters = Counters(self._process.id, interfaces)

    def files(self) -> list[int]:
        return sorted(self._process.open)

    def read(self, file: int, blocks: Blocks) -> int:
        if file == self._process.words:
            self._process.listen()
            return 0
        space = blocks.space()
        try:
            count = os.readv(file, [space])
        except BlockingIOError:
            return 0
        if not count:
            self._process.open.discard(file)
            self.ended = True
        elif not self.begun:
            self.begun = True
            found = re.search(r"\d+(\.\d+)+", user_application(bytes(space[: min(count, 4096)])))
            self.version = found[0] if found else ""
        blocks.mark_filled(count)
        blocks.dropped_before = dict(self._counters.dropped)
        return count

    @property
    def dropped(self) -> Mapping[int, int]:
        """The number of packets dropped up to the last `ask_for_drops`, by interface number.

        Later drops are reported in the last blocks of dumpcap.
        """
        return self._counters.dropped

    def ask_for_drops(self) -> None:
        if self.begun:
            self._counters.read()

    def stop(self) -> None:
        self._process.signal(signal.SIGINT)

    def kill(self) -> None:
        self._process.signal(signal.SIGKILL)

    def close(self, blocks: Blocks) -> None:  # noqa: ARG002 - its last blocks are there already
        self._process.end()

    def complaint(self) -> str:
        return self._process.complaint()


def _needed_capabilities(path: str) -> frozenset[int]:
    """Return the capabilities that dumpcap needs: NET_RAW, and NET_ADMIN if the kernel does not execute the file without it."""
    return frozenset((NET_RAW, NET_ADMIN) if required_capabilities(path) >> NET_ADMIN & 1 else (NET_RAW,))

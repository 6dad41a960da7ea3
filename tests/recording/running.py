"""Run the recorder as a process, as the analysis does."""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.needs import skip_without

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def _may_capture() -> bool:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except (OSError, AttributeError):
        return False
    return ROOT


needs_root = pytest.mark.skipif(not _may_capture(), reason="needs root, and to be allowed to capture")


NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
"""Runs what follows without any right; it must be the program itself, as setpriv passes over folders that are root's alone."""


def nobody() -> list[str]:
    """Return NOBODY; skip if that user cannot run this Python or read this project."""
    words = [*NOBODY, sys.executable, "-c", "import wiredoctor.recording.__main__, scapy"]
    skip_without("setpriv")
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("a user without rights cannot run the program here")
    return NOBODY


class Recording:
    """The process `python -m wiredoctor.recording`, with its events; it ends when its standard input does."""

    def __init__(self, before: list[str] | None = None, **asked: Any) -> None:
        words = [*(before or []), sys.executable, "-m", "wiredoctor.recording", json.dumps(asked)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self.events: list[dict[str, Any]] = []
        self._coming: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._coming.put(json.loads(line))
        self._coming.put(None)

    def until(self, event: str, seconds: float = 8, **values: Any) -> dict[str, Any]:
        """Return the next event of this kind; for packets and times, the next with at least this value."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                got = self._coming.get(timeout=left)
            except queue.Empty:
                break
            if got is None:
                break
            self.events.append(got)
            at_least = ("packets", "delivered")
            same = all(got[k] >= v if k in at_least else got[k] == v for k, v in values.items() if got["event"] == event)
            if got["event"] == event and same:
                return got
        raise AssertionError(f"no event {event} {values} after {self.events[-5:]}")

    def all(self, event: str) -> list[dict[str, Any]]:
        return [e for e in self.events if e["event"] == event]

    def last(self, name: str) -> int:
        """Return a value of the last progress event, or 0 if there was none."""
        progress = self.all("progress")
        return (progress[-1][name] or 0) if progress else 0

    def ask(self, what: str) -> None:
        """Send a request without further values."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": what}).encode() + b"\n")
        self.process.stdin.flush()

    def stop(self) -> dict[str, Any]:
        """Close its standard input, and return the event that summarizes the capture."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        ended = self.until("ended")
        assert self.process.wait(5) == 0
        return ended

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()


def send(count: int, size: int = 100, port: int = 9) -> None:
    """Send this many datagrams to the loopback interface; none of them is answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        there.bind(("127.0.0.1", 0))
        for number in range(count):
            here.sendto(number.to_bytes(4, "big") + bytes(size - 4), there.getsockname())


def kinds(data: bytes) -> list[int]:
    """Return the block types of a pcapng file in this machine's byte order; the file must be complete."""
    found: list[int] = []
    at = 0
    while at < len(data):
        kind, length = (int.from_bytes(data[at + i : at + i + 4], sys.byteorder) for i in (0, 4))
        assert length >= 12, at
        assert at + length <= len(data), "the last block is cut"
        assert data[at + length - 4 : at + length] == data[at + 4 : at + 8]
        found.append(kind)
        at += length
    return found


def packets(*paths: Path | str) -> int:
    """Return the number of packets in pcapng files, which must be complete."""
    return sum(kinds(Path(path).read_bytes()).count(6) for path in paths)


def places(data: bytes, kind: int) -> list[int]:
    """Return the offsets of the blocks of a type."""
    places: list[int] = []
    at = 0
    for found in kinds(data):
        places += [at] if found == kind else []
        at += int.from_bytes(data[at + 4 : at + 8], sys.byteorder)
    return places

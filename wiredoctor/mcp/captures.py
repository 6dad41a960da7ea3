"""The captures that a server may read, those in the folders that it was started with, and reports of the last few."""

from __future__ import annotations

import os
import re
import stat
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wiredoctor.report.words import clean

if TYPE_CHECKING:
    from wiredoctor import Report
    from wiredoctor.pipeline import Budget

NAMED = re.compile(r"\.(?:pcap|pcapng|cap|snoop|dmp)\d*(?:\.(?:gz|bz2|xz|zst|lz4))?\Z|\.pcap\d+\Z", re.IGNORECASE)
"""How captures are called."""

MOST_FILES = 5_000
MOST_DEPTH = 6
MOST_KEPT = 4
"""Reports that are kept; a kept capture stays open."""


class Refused(ValueError):
    """A question that is not answered; the text says why in a line, and nothing of what is outside of the folders."""


class Bounds(NamedTuple):
    """What a capture may take: bytes of the file, and seconds of the analysis."""

    bytes: int
    seconds: float


class Listed(NamedTuple):
    """A capture: its name, as it is asked for, its size, and when it was last changed (seconds since 1970)."""

    name: str
    bytes: int
    changed: float


class Archive:
    """Captures in folders. Names are relative to the folder; of several folders, with its number in front: `2/a.pcap`."""

    def __init__(self, folders: Sequence[str], bounds: Bounds) -> None:
        self.roots = [os.path.realpath(folder) for folder in folders]
        self.bounds = bounds
        self._kept: OrderedDict[tuple[object, ...], Report] = OrderedDict()
        self._budget: Budget | None = None

    def captures(self) -> list[Listed]:
        """What there is, by name."""
        found: list[Listed] = []
        for number, root in enumerate(self.roots, 1):
            for path in _walk(root):
                if len(found) >= MOST_FILES:
                    return sorted(found)
                with_number = f"{number}/" if len(self.roots) > 1 else ""
                try:
                    real = self._inside(path)
                    state = os.stat(real)
                except (OSError, Refused, ValueError):
                    continue
                if not stat.S_ISREG(state.st_mode):
                    continue
                found.append(Listed(f"{with_number}{Path(path).relative_to(root)}", state.st_size, state.st_mtime))
        return sorted(found)

    def find(self, name: str) -> str:
        """The file of this name; raises Refused, with the same words for what is not there and what is outside."""
        refusal = Refused("there is no such capture in the folders of this server (list_captures names them)")
        if "\0" in name or len(name) > 4096:
            raise refusal
        for path in self._candidates(name):
            try:
                real = self._inside(path)
                if stat.S_ISREG(os.stat(real).st_mode) and os.access(real, os.R_OK):
                    return real
            except (OSError, Refused, ValueError):
                continue
        # a name that holds what a terminal obeys is listed escaped, and asked for so
        unusual = [one.name for one in self.captures() if clean(one.name) == name != one.name] if "\\" in name else []
        if unusual:
            return self.find(unusual[0])
        raise refusal

    def _candidates(self, name: str) -> Iterator[str]:
        number, slash, rest = name.partition("/")
        if len(self.roots) > 1 and slash and number.isascii() and number.isdecimal() and 0 < int(number[:4]) <= len(self.roots):
            yield os.path.join(self.roots[int(number[:4]) - 1], rest)
        for root in self.roots:
            yield os.path.join(root, name)

    def _inside(self, path: str) -> str:
        real = os.path.realpath(path)
        if any(os.path.commonpath((root, real)) == root for root in self.roots):
            return real
        raise Refused("outside")

    def report(self, name: str, select: Sequence[str] = (), ignore: Sequence[str] = ()) -> Report:
        """The report of a capture, which can be read again; raises Refused."""
        path = self.find(name)
        state = os.stat(path)
        if state.st_size > self.bounds.bytes:
            raise Refused(f"the capture has {state.st_size:,} bytes: this server reads up to {self.bounds.bytes:,} (--max-size)")
        key = (path, state.st_mtime_ns, state.st_size, tuple(select), tuple(ignore))
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        # an older one of the same file reads what is not there any more
        for old in [one for one in self._kept if one[0] == path and one[1:3] != key[1:3]]:
            del self._kept[old]
        while len(self._kept) >= MOST_KEPT:
            self._kept.popitem(last=False)
        report = self._kept[key] = self._analysed(path, name, select, ignore)
        return report

    def _analysed(self, path: str, name: str, select: Sequence[str], ignore: Sequence[str]) -> Report:
        from wiredoctor.pipeline import Budget, CaptureError, NoRoom, analyze

        budget = self._budget = self._budget or Budget(self.bounds.bytes)
        end = time.monotonic() + self.bounds.seconds

        def progress(_: float) -> None:
            if time.monotonic() > end:
                raise Refused(f"the analysis took longer than {self.bounds.seconds:g} s, and was given up (--max-time)")

        def said(line: str, file: str) -> str:
            return line.replace(file, clean(name)).replace("--max-spool", "--max-size")

        while True:
            try:
                report = analyze(path, select=select, ignore=ignore, keep=True, max_spool=budget, progress=progress)
            except CaptureError as error:
                if not (isinstance(error, NoRoom) and self._kept):
                    # what a file begins with that is no capture is nobody's business
                    raise Refused(said(str(error), path).partition(" (begins with")[0]) from None
            else:
                if not (report.incomplete and self._kept):
                    report.incomplete = [said(line, report.captures[0].file) for line in report.incomplete]
                    return report
                del report
            # captures that are kept take room, too
            self._kept.clear()


def _walk(root: str) -> Iterator[str]:
    """Files that are called like captures, in a folder and those below it."""
    for folder, below, files in os.walk(root):
        below.sort()
        if folder.removeprefix(root).count(os.sep) >= MOST_DEPTH:
            below.clear()
        yield from (os.path.join(folder, file) for file in sorted(files) if NAMED.search(file))

"""Find captures in the folders of the server, and keep the newest reports."""

from __future__ import annotations

import os
import re
import stat
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wiredoctor import Report
from wiredoctor.report.words import clean

if TYPE_CHECKING:
    from wiredoctor.pipeline import Budget

NAMED = re.compile(r"\.(?:pcap|pcapng|cap|snoop|dmp)\d*(?:\.(?:gz|bz2|xz|zst|lz4))?\Z|\.pcap\d+\Z", re.IGNORECASE)
"""A pattern for the file names of captures."""

MAX_FILES = 5_000
MAX_DEPTH = 6
MAX_KEPT = 4
"""The maximum number of reports that are kept; their captures stay open."""


class Refused(ValueError):
    """Raised if a request is refused. The text is one line and reveals nothing outside the folders."""


class Bounds(NamedTuple):
    """The limits for a capture: the size of its file in bytes, and the time for its analysis in seconds."""

    bytes: int
    seconds: float


class Listed(NamedTuple):
    """A capture: its name in requests, its size in bytes, and the time of its last change in seconds since 1970."""

    name: str
    bytes: int
    changed: float


class Archive:
    """The captures in the folders of the server.

    Names are relative to their folder. If there are several folders, the number of the folder comes first: `2/a.pcap`.
    """

    def __init__(self, folders: Sequence[str], bounds: Bounds) -> None:
        self.roots = [os.path.realpath(folder) for folder in folders]
        self.bounds = bounds
        self._kept: OrderedDict[tuple[object, ...], Report] = OrderedDict()
        self._budget: Budget | None = None

    def captures(self) -> list[Listed]:
        """Return the captures sorted by name, at most MAX_FILES."""
        found: list[Listed] = []
        for number, root in enumerate(self.roots, 1):
            for path in _walk(root):
                if len(found) >= MAX_FILES:
                    return sorted(found)
                with_number = f"{number}/" if len(self.roots) > 1 else ""
                try:
                    real = self._inside(path)
                    state = os.stat(real)
                except (OSError, Refused, ValueError):
                    continue
                if not stat.S_ISREG(state.st_mode):
                    continue
                found.append(Listed(f"{with_number}{Path(path).relative_to(root).as_posix()}", state.st_size, state.st_mtime))
        return sorted(found)

    def find(self, name: str) -> str:
        """Return the path of a capture. Raise Refused, with the same text for missing files and files outside the folders."""
        refusal = Refused("there is no such capture in the folders of this server; list_captures lists the captures")
        if "\0" in name or len(name) > 4096:
            raise refusal
        for path in self._candidates(name):
            try:
                real = self._inside(path)
                if stat.S_ISREG(os.stat(real).st_mode) and os.access(real, os.R_OK):
                    return real
            except (OSError, Refused, ValueError):
                continue
        # names with control characters are listed, and requested, in escaped form
        unusual = [one.name for one in self.captures() if clean(one.name) == name != one.name] if "\\" in name else []
        if unusual:
            return self.find(unusual[0])
        raise refusal

    def _candidates(self, name: str) -> Iterator[str]:
        number, slash, rest = name.partition("/")
        pairs = [(root, name) for root in self.roots]
        if len(self.roots) > 1 and slash and number.isascii() and number.isdecimal() and 0 < int(number[:4]) <= len(self.roots):
            pairs.insert(0, (self.roots[int(number[:4]) - 1], rest))
        for root, inside in pairs:
            path = os.path.join(root, inside)
            # on Windows, a name may be that of another host, to which even a look at the path would send credentials
            if os.path.splitdrive(path)[0].lower() == os.path.splitdrive(root)[0].lower():
                yield path

    def _inside(self, path: str) -> str:
        real = os.path.realpath(path)
        if any(os.path.commonpath((root, real)) == root for root in self.roots):
            return real
        raise Refused("outside")

    def report(self, name: str, select: Sequence[str] = (), ignore: Sequence[str] = ()) -> Report:
        """Return the report on a capture, whose packets can be read again. Raise Refused if the capture cannot be analyzed."""
        path = self.find(name)
        state = os.stat(path)
        if state.st_size > self.bounds.bytes:
            raise Refused(f"the capture has {state.st_size:,} bytes; this server reads up to {self.bounds.bytes:,} (--max-size)")
        key = (path, state.st_mtime_ns, state.st_size, tuple(select), tuple(ignore))
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        # an older report on the same path would read a file that no longer exists
        for old in [one for one in self._kept if one[0] == path and one[1:3] != key[1:3]]:
            del self._kept[old]
        while len(self._kept) >= MAX_KEPT:
            self._kept.popitem(last=False)
        report = self._kept[key] = self._analyze(path, name, select, ignore)
        return report

    def _analyze(self, path: str, name: str, select: Sequence[str], ignore: Sequence[str]) -> Report:
        from wiredoctor.pipeline import Budget, CaptureError, NoRoom, Settings, run

        budget = self._budget = self._budget or Budget(self.bounds.bytes)
        end = time.monotonic() + self.bounds.seconds

        def progress(_: float) -> None:
            if time.monotonic() > end:
                raise Refused(f"the analysis took longer than {self.bounds.seconds:g} s and was stopped (--max-time)")

        def with_own_names(line: str, file: str) -> str:
            return line.replace(file, clean(name)).replace("--max-spool", "--max-size")

        while True:
            try:
                report = run([path], Settings(select=select, ignore=ignore, keep=True), budget=budget, progress=progress)
            except CaptureError as error:
                if not (isinstance(error, NoRoom) and self._kept):
                    # do not reveal the first bytes of a file that is not a capture
                    raise Refused(with_own_names(str(error), path).partition(" (begins with")[0]) from None
            else:
                if not (report.incomplete and self._kept):
                    report.incomplete = [with_own_names(line, report.captures[0].file) for line in report.incomplete]
                    return report
                del report
            # free the disk space of the kept captures, then try again
            self._kept.clear()


def _walk(root: str) -> Iterator[str]:
    """Yield the paths of files that are named like captures (NAMED), in a folder and its subfolders down to MAX_DEPTH levels."""
    for folder, below, files in os.walk(root):
        below.sort()
        if folder.removeprefix(root).count(os.sep) >= MAX_DEPTH:
            below.clear()
        yield from (os.path.join(folder, file) for file in sorted(files) if NAMED.search(file))

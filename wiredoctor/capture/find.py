"""Find the captures that the user named: single files, the files in folders, and sets of rotated files."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from wiredoctor import limits, system
from wiredoctor.capture.model import CaptureError
from wiredoctor.text.regex import Regex

_COMPRESSED = r"(?:\.(?:gz|bz2|xz|zst|lz4))?"
_NAME = Regex(rf"(?P<stem>.+?)(?:(?P<suffix>\.(?:pcapng|pcap|cap|dmp|dump))(?P<number>\d*))?{_COMPRESSED}", re.DOTALL)
"""A pattern for the parts of a file name.

tcpdump -C appends a number to the suffix, as in trace.pcap, trace.pcap1, trace.pcap2. With -W, the first file is trace.pcap0 or
trace.pcap00 (tcpdump(1)).
"""

_DATE = r"20\d\d-?[01]\d-?[0-3]\d"
_TIME = r"[0-2]\d[-:.]?[0-5]\d[-:.]?[0-6]\d"
_RING = r"(?P<counter>\d{5})_(?P<ring>\d{14})"
_WHEN = rf"(?P<time>{_DATE}(?:[-_T. ]?{_TIME})?|1\d{{9}})"
_VARYING = Regex(rf"(?<!\d)(?:{_RING}|{_WHEN}|(?P<long>\d{{5,9}}))(?!\d)")
"""A pattern for the part that differs between the names of rotated files. _NAME already matches a number after the suffix.

The pattern matches the counter and start time of dumpcap -b (trace_00001_20240131235959.pcapng, dumpcap(1)). It also matches a
date, a date with a time, or seconds since 1970, as tcpdump -G writes them (strftime(3)), and a counter of five digits or more.
Other digits belong to the name, as in eth0 or run2.
"""


class Input(NamedTuple):
    """A capture to read: its name in reports, and the names of its files.

    `rotation`: one program wrote the files one after the other. If `rotation` is false, several files are separate captures to be
    merged.
    """

    name: str
    files: tuple[str, ...]
    rotation: bool = False


def find_inputs(
    paths: Sequence[str | os.PathLike[str]],
    on_error: Callable[[str], None],
    *,
    merge: bool = False,
    on_note: Callable[[str], None] = lambda _: None,
) -> list[Input]:
    """Return the captures that these paths name, in order.

    A folder stands for the captures in it and its subfolders. Files whose names differ only in the number, date or time of a
    rotation by tcpdump or dumpcap are one capture; with `merge`, all files are one. `on_error` is called with one line for each
    folder, or file in a folder, that cannot be used. `on_note` is called with one line for each folder that contains files other
    than captures.
    """
    files = list(_files(paths, on_error, on_note))
    if merge or len(files) == 1:
        return [_together(files)] if files else []
    sets: dict[tuple[str, ...], list[str]] = {}
    for file in files:
        folder, name = os.path.split(file)
        sets.setdefault((folder, *_split(name).template), []).append(file)
    together: list[Input] = []
    for members in sets.values():
        whole = _is_rotation(members)
        together += [_together(members)._replace(rotation=len(members) > 1)] if whole else [_together([file]) for file in members]
    return together


class _Name(NamedTuple):
    """A file name split into `template`, which all files of a rotation have in common, and the times and counters that differ."""

    template: tuple[str, ...]
    times: tuple[str, ...]
    counters: tuple[int, ...]
    number: str


def _split(name: str) -> _Name:
    match = _NAME.fullmatch(name)
    if match is None:
        return _Name(("alone", name), (), (), "")
    times: list[str] = []
    counters: list[int] = []
    for found in _VARYING.finditer(match["stem"]):
        if time := found["time"] or found["ring"]:
            times.append(time)
        if counter := found["counter"] or found["long"]:
            counters.append(int(counter))
    if match["suffix"] is None and not times and not counters:
        return _Name(("alone", name), (), (), "")
    template = _VARYING.sub("*", match["stem"]), match["suffix"] or ""
    return _Name(template, tuple(times), tuple(counters), match["number"] or "")


def _is_rotation(members: Sequence[str]) -> bool:
    """Return whether files with the same name template are the files of one rotation.

    Return False if a file is named twice, or together with its compressed copy. If names have a counter of five digits or more
    and no time, also return False if the counters are not consecutive.
    """
    names = [_split(os.path.basename(file)) for file in members]
    if len({(one.times, one.counters, one.number) for one in names}) < len(names):
        return False
    numbers = sorted({one.counters for one in names if not one.times})
    steps = pairwise(numbers)
    return all(before[:-1] == after[:-1] and after[-1] - before[-1] == 1 for before, after in steps if before)


def _together(files: list[str]) -> Input:
    if len(files) == 1:
        return Input(files[0], (files[0],))
    if len(files) == 2:
        return Input(f"{files[0]} + {files[1]}", tuple(files))
    return Input(f"{files[0]} ... {files[-1]} ({len(files)} files)", tuple(files))


def _order(name: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...], int, str]:
    """Return a key to sort files by template, then by time and counter, so trace.pcap9 comes before trace.pcap10."""
    one = _split(name)
    return one.template, one.times, one.counters, int(one.number or 0), name


def _files(
    paths: Sequence[str | os.PathLike[str]], on_error: Callable[[str], None], on_note: Callable[[str], None]
) -> Iterator[str]:
    for named in paths:
        path = os.fspath(named)
        if not os.path.isdir(path):
            yield path
            continue
        found = _search(path, on_error)
        captures = [file for file in found if _may_be_capture(file, on_error)]
        if skipped := len(found) - len(captures):
            on_note(
                f"{path}: skipped {skipped:,} {'files that are not captures' if skipped > 1 else 'file that is not a capture'}"
            )
        if not captures:
            on_error(f"{path}: no capture file in this folder or its subfolders")
        yield from captures


def _search(top: str, on_error: Callable[[str], None]) -> list[str]:
    """Return the files in a folder and its subfolders. The files of a folder precede those of its subfolders.

    Hidden files, hidden folders and links to folders are left out. A link to a file is left out if the file itself is found.
    """
    files: list[tuple[os.DirEntry[str], tuple[int, int]]] = []
    folders, seen = [top], 0
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as scan:
                entries = sorted(
                    (entry for entry in scan if not entry.name.startswith(".")), key=lambda entry: _order(entry.name)
                )
        except OSError as error:
            on_error(f"{folder}: {(error.strerror or str(error)).lower()}")
            continue
        seen += len(entries)
        if seen > limits.FOLDER_ENTRIES.value:
            on_error(f"{folder}: not searched, like all folders after it: {top} has more than {limits.FOLDER_ENTRIES.text}")
            break
        files += [(entry, number) for entry in entries if (number := _inode(entry)) is not None]
        inside = [entry for entry in reversed(entries) if entry.is_dir(follow_symlinks=False)]
        folders += [entry.path for entry in inside if not system.is_junction(entry)]
    present = {number for entry, number in files if not entry.is_symlink()}
    return [entry.path for entry, number in files if number not in present or not entry.is_symlink()]


def _inode(entry: os.DirEntry[str]) -> tuple[int, int] | None:
    """Return device and inode of a file, or of the file that a link leads to; None if it is not a regular file."""
    try:
        found = os.stat(entry.path)  # entry.stat() has no inode on Windows
    except OSError:  # a link leads to itself, or the file is gone; a path too long for Windows is reported when it is opened
        is_too_long = system.explain_missing(entry.path, "") and not entry.is_symlink() and entry.is_file()
        return (0, 0) if is_too_long else None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _may_be_capture(path: str, on_error: Callable[[str], None]) -> bool:
    """Return whether a file begins like a capture, compressed or not. Call `on_error` with one line if it cannot be read."""
    from wiredoctor.capture.formats import is_capture
    from wiredoctor.capture.spool import decompressed_head

    try:
        with open(path, "rb", buffering=0) as file:
            return is_capture(decompressed_head(file)[0])
    except OSError as error:
        text = (error.strerror or str(error)).lower()
        on_error(f"{path}: {system.explain_missing(path, text) if isinstance(error, FileNotFoundError) else text}")
    except CaptureError:
        pass
    return False

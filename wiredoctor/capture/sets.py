"""What the user named -> captures: folders are looked into, and the files of a rotation belong together."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from wiredoctor.capture.model import CaptureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_COMPRESSED = r"(?:\.(?:gz|bz2|xz|zst|lz4))?"
_COUNTED = rf"(?P<set>.+\.(?:pcapng|pcap|cap|dmp|dump))(?P<number>\d*){_COMPRESSED}"
"""tcpdump -C: trace.pcap, trace.pcap1, trace.pcap2; with -W: trace.pcap0 or trace.pcap00 and so on (tcpdump(1))."""

_RING = rf"(?P<set>.+)_(?P<number>\d{{5}})_(?P<stamp>\d{{14}})(?P<suffix>\.\w+)?{_COMPRESSED}"
"""dumpcap -b: trace_00001_20240131235959.pcapng (dumpcap(1)). The number starts again at 1 behind 99999."""


class Input(NamedTuple):
    """A capture to be read: what reports call it, and its files, of which there are several where they are read as one."""

    name: str
    files: tuple[str, ...]


def inputs(paths: Sequence[str | os.PathLike[str]], on_error: Callable[[str], None], *, merge: bool = False) -> list[Input]:
    """The captures that these paths stand for, in their order.

    A folder stands for the captures in it (not below it). Files whose names differ in the number that tcpdump or dumpcap
    gives to the files of a rotation are one capture, when there are at least two of them; with `merge` all files are.
    What is wrong with a folder is told to `on_error` in one line.
    """
    files = list(_files(paths, on_error))
    if merge or len(files) == 1:
        return [_together(files)] if files else []
    sets: dict[tuple[str, ...], list[str]] = {}
    for file in files:
        sets.setdefault(_set(file), []).append(file)
    together: list[Input] = []
    for members in sets.values():
        # a file named twice, or beside its compressed copy, is no rotation
        apart = len({_number(os.path.basename(file)) for file in members}) < len(members)
        together += [_together([file]) for file in members] if apart else [_together(members)]
    return together


def _together(files: list[str]) -> Input:
    if len(files) == 1:
        return Input(files[0], (files[0],))
    if len(files) == 2:
        return Input(f"{files[0]} + {files[1]}", tuple(files))
    return Input(f"{files[0]} ... {files[-1]} ({len(files)} files)", tuple(files))


def _set(file: str) -> tuple[str, ...]:
    """The same for all files of a rotation, and only for them."""
    folder, name = os.path.split(file)
    if match := re.fullmatch(_RING, name):
        return folder, "ring", match["set"], match["suffix"] or ""
    if match := re.fullmatch(_COUNTED, name):
        return folder, "counted", match["set"]
    return folder, "alone", name


def _match(name: str) -> re.Match[str] | None:
    return re.fullmatch(_RING, name) or re.fullmatch(_COUNTED, name)


def _number(name: str) -> str:
    """What tells a file from the others of its rotation: its number, which in a ring starts again, so with the time."""
    match = _match(name)
    return "" if match is None else name[match.start("number") : match.end("stamp" if "stamp" in match.groupdict() else "number")]


def _order(name: str) -> tuple[str, int, str]:
    """trace.pcap9 stands before trace.pcap10."""
    match = _match(name)
    return (match["set"], int(match["number"] or 0), name) if match else (name, 0, name)


def _files(paths: Sequence[str | os.PathLike[str]], on_error: Callable[[str], None]) -> Iterator[str]:
    for named in paths:
        path = os.fspath(named)
        if not os.path.isdir(path):
            yield path
            continue
        try:
            names = sorted((name for name in os.listdir(path) if not name.startswith(".")), key=_order)
        except OSError as error:
            on_error(f"{path}: {(error.strerror or str(error)).lower()}")
            continue
        inside = [file for name in names if _may_be_capture(file := os.path.join(path, name))]
        if not inside:
            on_error(f"{path}: no capture file in this folder")
        yield from inside


def _may_be_capture(path: str) -> bool:
    """Whether a file of a folder begins like a capture, compressed or not; what does not is passed over in silence."""
    from wiredoctor.capture.capture import is_capture
    from wiredoctor.capture.spool import decompressed_head

    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            return is_capture(decompressed_head(file))
    except (OSError, CaptureError):
        return False

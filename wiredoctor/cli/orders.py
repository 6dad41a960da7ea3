"""What `wiredoctor live` is asked to capture, out of the words of its options."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from wiredoctor.cli.exit_codes import UsageError
from wiredoctor.cli.options import Format, size

if TYPE_CHECKING:
    from wiredoctor.cli.outputs import Output
    from wiredoctor.live import Order, Ring

LEAST_RING = 1 << 20
"""Bytes of a file of a ring: a packet may have 256 KiB."""


class Backend(StrEnum):
    """What captures."""

    dumpcap = "dumpcap"
    tcpdump = "tcpdump"
    raw = "raw"


def ordered(
    interfaces: Sequence[str], filter: str | None, write: str | None, ring: str | None, duration: str | None,
    packets: int | None, snaplen: int | None, buffer: int | None, backend: Backend | None, outputs: Sequence[Output],
) -> Order:  # fmt: skip
    """Return the order that the command line describes; raises UsageError."""
    from wiredoctor.live import Order

    if doubled := [name for name in interfaces if interfaces.count(name) > 1]:
        raise UsageError(f"-i {doubled[0]} is given twice")
    if write is not None:
        _writable(write)
    return Order(
        interfaces=tuple(interfaces), folder="", filter=filter or "", file=None if write is None else os.path.abspath(write),
        ring=None if ring is None else _ring(ring), snaplen=snaplen, duration=_seconds(duration), packets=packets,
        buffer=buffer, backend=None if backend is None else backend.value, outputs=tuple(map(_output, outputs)),
    )  # fmt: skip


def _output(output: Output) -> tuple[str, tuple[str, ...]]:
    """Return the path and, of a folder, the names of the files in it."""
    return os.path.abspath(output.path), _TABLE_FILES if output.format == Format.tables else ()


_TABLES = (
    "captures", "records", "packets", "oddities", "segments", "pieces", "bursts", "messages", "faults", "icmp_errors",
    "exchanges", "connections", "findings",
)  # fmt: skip
"""The keys of report.exported.TABLES, which loads Polars: too early here, as it starts threads."""

_TABLE_FILES = tuple(f"{name}.{form}" for name in _TABLES for form in ("parquet", "arrow"))


def _writable(write: str) -> None:
    path = Path(write)
    if write == "-":
        raise UsageError("--write -: packets go into a file, which is read while it grows; standard output has the diagnosis")
    if path.is_dir():
        raise UsageError(f"--write {write}: is a directory")
    if path.exists() and not path.is_file():
        raise UsageError(f"--write {write}: is a pipe or a device; packets go into a file, which is read while it grows")
    if path.suffix in (".pcap", ".cap"):
        raise UsageError(f"--write {write}: packets are written as pcapng; name the file .pcapng")
    if not path.parent.is_dir():
        raise UsageError(f"--write {write}: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"--write {write}: no permission to write")


def _ring(text: str) -> Ring:
    from wiredoctor.live import Ring

    files, _, each = text.partition(":")
    if not files.isascii() or not files.isdecimal() or not each or int(files) < 2:
        raise UsageError(f"--ring: {text!r} is not FILES:SIZE, two files or more, as in 10:200MB")
    room = size("--ring", each) or 0
    if room < LEAST_RING:
        raise UsageError(f"--ring: files of a ring have 1 MiB or more, not {each}")
    return Ring(int(files), room)


_UNITS = {"": 1, "ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|min|h|d)?\s*", text, re.ASCII)
    seconds = float(match[1]) * _UNITS[match[2] or ""] if match else 0.0
    if seconds <= 0:
        raise UsageError(f"--duration: {text!r} is not a time like 90, 30s, 10m or 2h")
    return seconds

"""Turn the options of `wiredoctor live` into instructions (Order) for the recorder, the process that captures."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wiredoctor.cli.exit_codes import UsageError
from wiredoctor.cli.options import parse_duration, parse_size
from wiredoctor.cli.outputs import TABLE_FILES
from wiredoctor.text.durations import SECOND

if TYPE_CHECKING:
    from wiredoctor.cli.outputs import Output
    from wiredoctor.live import Order, Ring

LEAST_RING = 1 << 20
"""The minimum size in bytes of each file in a ring. This leaves room for several packets of up to 256 KiB."""


class Backend(StrEnum):
    """The values of --backend: the programs or sockets that can capture."""

    dumpcap = "dumpcap"
    tcpdump = "tcpdump"
    raw = "raw"


class CaptureFilter(NamedTuple):
    """A BPF filter, and the option that gave it; if no option did, the filter is a default, and `option` is empty."""

    expression: str = ""
    option: str = ""

    @classmethod
    def of(cls, filter: str | None, ports: Sequence[int] | None, default: str = "") -> CaptureFilter:
        """Return the filter for packets that match `filter` and either use one of these TCP ports or are ICMP.

        ICMP errors may explain why a connection failed.
        """
        if not ports:
            return cls(filter, "--filter") if filter else cls(default)
        of_ports = " or ".join((*(f"tcp port {port}" for port in ports), "icmp", "icmp6"))
        return cls(f"({of_ports}) and ({filter})", "--filter and --port") if filter else cls(of_ports, "--port")


def check_filter(filter: CaptureFilter, backend: Backend | None = None) -> None:
    """Raise UsageError if an option gave a filter, and what may capture on this machine cannot apply it.

    dumpcap and tcpdump contain libpcap, which compiles filters; raw sockets need it as a library.
    """
    from wiredoctor.interfaces import FILTER_NEEDS_LIBPCAP, load_libpcap, permission

    if not filter.option or sys.platform != "linux" or backend not in (None, Backend.raw):
        return
    able = {one.name for one in permission().backends if one.permitted and backend in (None, one.name)}
    if able == {"raw"} and load_libpcap() is None:
        raise UsageError(f"{filter.option}: {FILTER_NEEDS_LIBPCAP}, or omit {filter.option}")


def capture_order(
    interfaces: Sequence[str], filter: CaptureFilter, write: str | None, outputs: Sequence[Output],
    *, ring: str | None = None, duration: str | None = None, packets: int | None = None, snaplen: int | None = None,
    buffer: int | None = None, backend: Backend | None = None,
) -> Order:  # fmt: skip
    """Convert the options of the command line to instructions for the recorder; raise UsageError if an option is invalid."""
    from wiredoctor.live import Order

    if doubled := [name for name in interfaces if interfaces.count(name) > 1]:
        raise UsageError(f"-i {doubled[0]} is given twice")
    if write is not None:
        _writable(write)
    return Order(
        interfaces=tuple(interfaces), folder="", filter=filter.expression, filter_option=filter.option,
        file=None if write is None else os.path.abspath(write),
        ring=None if ring is None else _ring(ring), snaplen=snaplen, duration=parse_time_limit(duration), packets=packets,
        buffer=buffer, backend=None if backend is None else backend.value, outputs=tuple(map(_output, outputs)),
    )  # fmt: skip


def _output(output: Output) -> tuple[str, tuple[str, ...]]:
    """Return the absolute path of an output and, if it is a folder of tables, the names of all files that it may contain."""
    return os.path.abspath(output.path), TABLE_FILES if output.format == "tables" else ()


def _writable(write: str) -> None:
    path = Path(write)
    if write == "-":
        raise UsageError(
            "--write -: packets must go to a file that can be read while it grows; standard output is for the diagnosis"
        )
    if path.is_dir():
        raise UsageError(f"--write {write}: is a directory")
    if path.exists() and not path.is_file():
        raise UsageError(f"--write {write}: is a pipe or a device; packets must go to a file that can be read while it grows")
    if path.suffix in (".pcap", ".cap"):
        raise UsageError(f"--write {write}: packets are written as pcapng, so the name must end in .pcapng")
    if not path.parent.is_dir():
        raise UsageError(f"--write {write}: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"--write {write}: no permission to write")


def _ring(text: str) -> Ring:
    from wiredoctor.live import Ring

    files, _, each = text.partition(":")
    if not files.isascii() or not files.isdecimal() or not each or int(files) < 2:
        raise UsageError(f"--ring: {text!r} is not FILES:SIZE with at least two files, as in 10:200MB")
    room = parse_size("--ring", each) or 0
    if room < LEAST_RING:
        raise UsageError(f"--ring: files of a ring need at least 1 MiB, not {each}")
    return Ring(int(files), room)


def parse_time_limit(text: str | None) -> float | None:
    """Convert the value of --duration to seconds. None stays None. Raise UsageError if the value is not a duration above 0."""
    nanoseconds = parse_duration("--duration", text)
    if nanoseconds == 0:
        raise UsageError("--duration: must be more than 0 seconds")
    return None if nanoseconds is None else nanoseconds / SECOND

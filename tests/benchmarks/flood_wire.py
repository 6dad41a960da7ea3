"""Writes floods of TCP packets quickly: columns of numbers become a pcap file, many packets at once."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Numbers = Array | int

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
CLIENT, SERVER = 0x0B000000, 0x0A000002
"""Addresses: clients count from the first."""

PART = 250_000
"""Packets that are made at once."""

_FIXED = (
    ("seconds", ">u4"), ("nanoseconds", ">u4"), ("captured", ">u4"), ("wire", ">u4"),
    ("macs", "V12"), ("type", ">u2"),
    ("version", "u1"), ("service", "u1"), ("total", ">u2"), ("id", ">u2"), ("fragment", ">u2"), ("ttl", "u1"), ("protocol", "u1"),
    ("ip_sum", ">u2"), ("source", ">u4"), ("target", ">u4"),
    ("source_port", ">u2"), ("target_port", ">u2"), ("seq", ">u4"), ("ack", ">u4"), ("size", "u1"), ("flags", "u1"),
    ("window", ">u2"), ("sum", ">u2"), ("urgent", ">u2"),
)  # fmt: skip
_HEADERS = 54
_START = 1_700_000_000 * 10**9


def packets(count: int, payload: bytes | Array = b"", options: bytes | Array = b"", **columns: Numbers) -> Array:
    """So many packets of one layout (count,): columns by the names of the header fields; `time` in ns, `step` between them.

    payload, options: the same bytes for all, or an array (count, length) of uint8.
    """
    data, extra = (_rows(count, x) for x in (payload, options))
    layout = np.dtype([*_FIXED, ("options", "u1", extra.shape[1]), ("payload", "u1", data.shape[1])])
    made = np.zeros(count, dtype=layout)
    length = extra.shape[1] + data.shape[1]
    time = _START + np.asarray(columns.pop("time", 0)).astype(np.int64)
    made["seconds"], made["nanoseconds"] = time // 10**9, time % 10**9
    made["captured"] = made["wire"] = _HEADERS + length
    made["type"], made["version"], made["total"] = 0x0800, 0x45, 40 + length
    made["id"], made["ttl"], made["protocol"] = np.arange(count) & 0xFFFF, 64, 6
    made["size"], made["window"], made["flags"] = (20 + extra.shape[1]) << 2, 65535, ACK
    made["source"], made["target"], made["source_port"], made["target_port"] = CLIENT, SERVER, 40_000, 80
    made["options"], made["payload"] = extra, data
    for name, values in columns.items():
        made[name] = values if np.isscalar(values) else np.asarray(values).astype(made.dtype[name])
    return made


def answers(asked: Array, **columns: Numbers) -> Array:
    """Packets without payload that go the other way."""
    made = packets(len(asked), **columns)
    for suffix in ("", "_port"):
        made[f"source{suffix}"], made[f"target{suffix}"] = asked[f"target{suffix}"], asked[f"source{suffix}"]
    return made


def _rows(count: int, data: bytes | Array) -> Array:
    if isinstance(data, bytes):
        return np.broadcast_to(np.frombuffer(data, dtype=np.uint8), (count, len(data)))
    return data


def interleaved(*layouts: Array) -> bytes:
    """The first packet of each, then the second of each, ..."""
    widths = [layout.dtype.itemsize for layout in layouts]
    together = np.empty((len(layouts[0]), sum(widths)), dtype=np.uint8)
    at = 0
    for layout, width in zip(layouts, widths, strict=True):
        together[:, at : at + width] = layout.view(np.uint8).reshape(len(layout), width)
        at += width
    return together.tobytes()


class Capture:
    """A pcap file with time stamps in nanoseconds."""

    def __init__(self, path: Path) -> None:
        self._file, self.packets = path.open("wb"), 0
        self._file.write(bytes.fromhex("a1b23c4d00020004000000000000000000040000 00000001"))

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def write(self, *layouts: Array) -> None:
        """Adds packets, those of several layouts in turns."""
        self.packets += sum(len(layout) for layout in layouts)
        self._file.write(layouts[0].tobytes() if len(layouts) == 1 else interleaved(*layouts))


def parts(n: int) -> list[Array]:
    """The numbers 0 .. n - 1 in parts."""
    return [np.arange(first, min(first + PART, n)) for first in range(0, n, PART)]

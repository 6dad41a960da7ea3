"""TCP headers, all packets at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wiredoctor import limits
from wiredoctor.decode.layouts import TCP, gather
from wiredoctor.decode.options import STAMPED, parse_options
from wiredoctor.decode.state import Oddity
from wiredoctor.tables import NONE, NOT_CAPTURED

if TYPE_CHECKING:
    from wiredoctor.decode.link import Link
    from wiredoctor.decode.network import Network
    from wiredoctor.tables import Array, Columns


LEAST = 16
"""Bytes, up to the window: a segment with fewer has no stream in Wireshark, one with as many has."""


def tcp(
    data: Array, first_frame: int, records: Columns, link: Link, network: Network
) -> tuple[Columns, Array, int, list[Oddity]]:
    """tables.PACKETS columns; the records whose header is cut off behind the window, which go to the general path; how many
    were cut off before (these give no row); and oddities."""
    room = np.minimum(network.end, network.limit) - network.transport
    whole = room >= TCP.itemsize
    part = network.row[~whole & (room >= LEAST)]
    cut = len(whole) - int(whole.sum()) - len(part)
    row = network.row[whole]
    columns: Columns = {
        "frame": first_frame + row,
        "time": records["time"][row],
        "interface": records["interface"][row],
        "link_hash": link.link_hash[row],
        "encapsulation": link.encapsulation[row],
        "quoted": np.zeros(len(row), bool),
    }
    for name in _FROM_NETWORK:
        columns[name] = getattr(network, name)[whole]
    oddities = _segments(data, columns, network.transport[whole], network.limit[whole], network.end[whole])
    return columns, part, cut, oddities


def _segments(data: Array, columns: Columns, at: Array, limit: Array, end: Array) -> list[Oddity]:
    """Adds the columns of the TCP headers at `at`; the packets end at `limit` on the wire and at `end` in the file."""
    header = gather(data, at, TCP)
    size = (header["data_offset"] >> 4).astype(np.int64) * 4
    impossible = (size < TCP.itemsize) | (size > limit - at)
    payload = at + np.maximum(size, TCP.itemsize)
    length = np.where(impossible, 0, limit - payload)
    columns["payload"] = payload
    columns["length"] = length.astype(np.int32)
    columns["captured"] = np.clip(np.minimum(end, limit) - payload, 0, length).astype(np.int32)
    for name, dtype in _FROM_HEADER.items():
        columns[name] = header[name].astype(dtype)
    options = np.where(impossible, 0, np.minimum(payload, end) - at - TCP.itemsize)
    columns |= parse_options(data, at + TCP.itemsize, options, columns["ack"])
    cut = np.flatnonzero(~impossible & (payload > end))
    if len(cut):
        _without_all_options(columns, cut, size[cut])
    return [
        (int(columns["frame"][i]), "tcp", impossible_offset(int(size[i]), int(limit[i] - at[i])))
        for i in np.flatnonzero(impossible)[: limits.ODDITIES.value].tolist()
    ]


def _without_all_options(columns: Columns, cut: Array, size: Array) -> None:
    """Of packets `cut` in their options it is not known which they had. Data whose header is so long (`size`) has time stamps:
    nothing else comes with data."""
    for name in ("mss", "window_shift"):
        values = columns[name]
        values[cut[values[cut] == NONE]] = NOT_CAPTURED
    columns["has_timestamps"][cut[(size >= STAMPED) & (columns["length"][cut] > 0)]] = True


def impossible_offset(size: int, segment: int) -> str:
    """The words for a data offset that cannot be."""
    return f"data offset of {size} bytes: at least {TCP.itemsize} expected, at most the segment's {segment} (by the IP length)"


_FROM_NETWORK = (
    "ip_version",
    "source_high",
    "source_low",
    "destination_high",
    "destination_low",
    "ip_id",
    "ttl",
)

_FROM_HEADER = {
    "source_port": np.uint16,
    "destination_port": np.uint16,
    "seq": np.uint32,
    "ack": np.uint32,
    "flags": np.uint8,
    "window": np.uint16,
}

"""TCP headers, all packets at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wiredoctor.decode.layouts import TCP, gather
from wiredoctor.decode.options import parse_options
from wiredoctor.decode.shares import in_share
from wiredoctor.decode.state import MAX_ODDITIES, Oddity

if TYPE_CHECKING:
    from wiredoctor.decode.link import Link
    from wiredoctor.decode.network import Network
    from wiredoctor.tables import Array, Columns


LEAST = 16
"""Bytes, up to the window: a segment with fewer has no stream in Wireshark, one with as many has."""


def tcp(
    data: Array, first_frame: int, records: Columns, link: Link, network: Network, share: tuple[int, int] = (0, 1)
) -> tuple[Columns, Array, int, list[Oddity]]:
    """tables.PACKETS columns of a share of the connections; the records whose header is cut off behind the window, which
    go to the general path; how many were cut off before (these give no row); and oddities."""
    end = records["offset"] + records["captured"]
    room = np.minimum(end[network.row], network.limit) - network.transport
    whole = room >= TCP.itemsize
    part = network.row[~whole & (room >= LEAST)]
    cut = len(whole) - int(whole.sum()) - len(part)
    if share[1] > 1:
        whole &= _of_share(data, network, whole, share)
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
    oddities = _segments(data, columns, network.transport[whole], network.limit[whole], end[row])
    return columns, part, cut, oddities


def _of_share(data: Array, network: Network, whole: Array, share: tuple[int, int]) -> Array:
    """Whether the packets are of the share; their ports are read ahead of the rest of the header."""
    at = np.where(whole, network.transport, 0)
    ports = [data[at + i].astype(np.uint64) * np.uint64(256) + data[at + i + 1] for i in (0, 2)]
    addresses = (network.source_high, network.source_low, network.destination_high, network.destination_low)
    return in_share(share, addresses, (ports[0], ports[1]))


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
    return [
        (int(columns["frame"][i]), "tcp", impossible_offset(int(size[i]), int(limit[i] - at[i])))
        for i in np.flatnonzero(impossible)[:MAX_ODDITIES].tolist()
    ]


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

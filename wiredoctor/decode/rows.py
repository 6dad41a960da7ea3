"""A packet that was decoded by itself."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Row:
    """A TCP packet: names as in tables.PACKETS; `options` are the option bytes that were captured."""

    ip_version: int
    source: int
    destination: int
    source_port: int
    destination_port: int
    ip_id: int
    ttl: int
    link_hash: int
    encapsulation: int
    seq: int
    ack: int
    flags: int
    window: int
    length: int
    captured: int
    payload: int
    quoted: bool
    options: bytes
    mss: int = -1
    window_shift: int = -1
    has_timestamps: bool = False
    sack: bool = False
    dsack: bool = False
    oddity: str | None = field(default=None, repr=False)

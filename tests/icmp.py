"""Ladders with ICMP errors that quote their packets."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address

from wiredoctor.testing import ladder_packets
from wiredoctor.testing.wire import frame_bytes

ROUTER4, ROUTER6 = "10.9.9.9", "fd09::9"

CONNECT = """
  0.000  >  S    win 64240 mss 1460
  0.010  <  S.   win 64240 mss 1460
  0.010  >  .
"""

CONNECT6 = "connection 1, client [fd00::1]:40001, server [fd00::2]:80\n" + CONNECT


@dataclass(frozen=True)
class Error:
    """An ICMP error: when it passed (s), and which packet of the ladder it quotes, counted from 1.

    `kept`: bytes of TCP that are quoted (None: all); `source`: what NAT made of the sender of the packet, None: nothing.
    """

    time: float
    quotes: int
    type: int
    code: int
    mtu: int = 0
    kept: int | None = None
    router: str = ""
    source: str | None = None


def records(ladder: str, *errors: Error) -> list[tuple[int, bytes]]:
    """Return times (ns) and Ethernet frames of a ladder with errors, in the order of time."""
    packets = ladder_packets(ladder)
    frames = [frame_bytes(packet, number) for number, packet in enumerate(packets)]
    found = [(packet.time, frame) for packet, frame in zip(packets, frames, strict=True)]
    found += [(round(error.time * 1e9), error_frame(frames[error.quotes - 1], error)) for error in errors]
    return sorted(found, key=lambda record: record[0])


def capture(ladder: str, *errors: Error) -> bytes:
    """Return a capture of them."""
    return pcap(records(ladder, *errors))


def pcap(frames: list[tuple[int, bytes]]) -> bytes:
    """Return a capture of these times (ns) and frames."""
    out = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)]
    for time, frame in frames:
        out += [struct.pack("<IIII", 1_700_000_000 + time // 10**9, time % 10**9, len(frame), len(frame)), frame]
    return b"".join(out)


def error_frame(quoted: bytes, error: Error) -> bytes:
    """Return the Ethernet frame of an error about another frame, which goes back to its sender (RFC 792, RFC 4443)."""
    datagram = quoted[14:]
    is_six = datagram[0] >> 4 == 6
    at, size, header = (8, 16, 40) if is_six else (12, 4, 20)
    sender = datagram[at : at + size]
    if error.source is not None:
        datagram = datagram[:at] + ip_address(error.source).packed + datagram[at + size :]
    quote = datagram if error.kept is None else datagram[: header + error.kept]
    router = ip_address(error.router or (ROUTER6 if is_six else ROUTER4)).packed
    if is_six:
        message = struct.pack(">BBHI", error.type, error.code, 0, error.mtu) + quote
        inside = struct.pack(">IHBB", 6 << 28, len(message), 58, 63) + router + sender + message
    else:
        message = struct.pack(">BBHHH", error.type, error.code, 0, 0, error.mtu) + quote
        inside = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(message), 9, 0, 63, 1, 0) + router + sender + message
    return quoted[6:12] + quoted[:6] + quoted[12:14] + inside

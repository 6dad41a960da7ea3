"""Encode the packets of a ladder as a pcap file with times in nanoseconds: TCP over IPv4 or IPv6 over Ethernet."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

TCP = 6
"""The number of TCP in the IP header."""
UDP = 17
VXLAN = 4789
"""The UDP port of VXLAN (RFC 7348)."""
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128
DAMAGED, ALTERED, REWRITTEN, OFFLOADED, UNSUMMED = CHECKSUMS = ("damaged", "altered", "rewritten", "offloaded", "unsummed")
"""What may be wrong with the checksum of a packet (see the notation in wiredoctor.testing)."""
SHIFT = 0x1357
"""By how much the checksums of packets are wrong if a device rewrote the packets without updating them."""
FLAGS = {"F": FIN, "S": SYN, "R": RST, "P": PSH, ".": ACK, "U": URG, "E": ECE, "C": CWR}


@dataclass(frozen=True)
class Peers:
    """Both ends of a connection: the address:port and the initial sequence number of each, the client's first."""

    client: str
    server: str
    isn: tuple[int, ...]
    ticks: tuple[int, ...] = (1_000_000, 1_000_000)
    """The nanoseconds per tick of each side's timestamp clock."""
    stamps: tuple[int, ...] = (0, 0)
    """The value of each side's timestamp clock at time 0."""

    def clock(self, side: int, time: int) -> int:
        """Return the value of a side's timestamp clock at a time (ns)."""
        return (self.stamps[side] + time // self.ticks[side]) & 0xFFFFFFFF


@dataclass(frozen=True)
class Packet:
    """A packet as captured. Sequence and acknowledgment numbers are relative to the SYN of their side, which has the number 0.

    `time`: in ns. `side`: 0 if the client sent the packet, 1 if the server did. `window`: as in the TCP header. `snap`: the
    number of captured bytes; None for all. `mac`: the last byte of the sender's MAC address, if it is not that of its side.
    `row`: the number of the packet's line in the ladder; 0 if it has none. `left`: the sender's time (ns) that TSval shows;
    None for `time`. `echo`: the peer's time (ns) that TSecr shows; None if nothing is echoed. `checksum`: one of CHECKSUMS, or
    "" if it is correct. `vxlan`: the packet is in a VXLAN tunnel.
    """

    peers: Peers
    side: int
    time: int
    flags: int
    seq: int
    ack: int | None = None
    payload: bytes = b""
    window: int = 64240
    mss: int | None = None
    wscale: int | None = None
    timestamps: bool = False
    left: int | None = None
    echo: int | None = None
    sack: tuple[int, int] | None = None
    ttl: int = 64
    ip_id: int | None = None
    snap: int | None = None
    mac: int | None = None
    uncaptured: bool = False
    vxlan: bool = False
    checksum: str = ""
    row: int = 0

    @property
    def end(self) -> int:
        """The sequence number that follows the packet; SYN and FIN count as one each."""
        return self.seq + len(self.payload) + bool(self.flags & SYN) + bool(self.flags & FIN)


def to_pcap(packets: Sequence[Packet], first_time: int = 1_700_000_000) -> bytes:
    """Return a pcap file with these packets. The times of the packets are added to `first_time` (s since 1970)."""
    records = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)]
    for number, packet in enumerate(packets):
        frame = frame_bytes(packet, number)
        seconds, rest = divmod(first_time * 1_000_000_000 + packet.time, 1_000_000_000)
        kept = frame[: packet.snap]
        records.append(struct.pack("<IIII", seconds, rest, len(kept), len(frame)) + kept)
    return b"".join(records)


def frame_bytes(packet: Packet, number: int = 0) -> bytes:
    """Return a packet as an Ethernet frame. `number`: its IPv4 identification, unless the ladder sets one."""
    ends = [_end(packet.peers.client), _end(packet.peers.server)]
    macs = [b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"]
    if packet.mac is not None:
        macs[packet.side] = b"\x02\0\0\0\0" + bytes([packet.mac])
    (source, source_port), (destination, destination_port) = ends if packet.side == 0 else reversed(ends)
    segment = _tcp(packet, source_port, destination_port)
    pseudo_header = source + destination + struct.pack(">II", len(segment), TCP)
    right = _in_cksum(pseudo_header + segment)
    if not (packet.vxlan and packet.checksum == DAMAGED):
        right = _checksum(packet, right, _in_cksum(pseudo_header) ^ 0xFFFF)
    segment = _with_checksum(segment, 16, right)
    if len(source) == 16:
        kind = 0x86DD
        header = struct.pack(">IHBB", 0x60000000, len(segment), TCP, packet.ttl) + source + destination
    else:
        kind = 0x0800
        ip_id = number & 0xFFFF if packet.ip_id is None else packet.ip_id
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), ip_id, 0x4000, packet.ttl, TCP, 0) + source + destination
        header = _with_checksum(header, 10, _in_cksum(header))
    frame = macs[1 - packet.side] + macs[packet.side] + struct.pack(">H", kind) + header + segment
    return _in_vxlan(packet, frame) if packet.vxlan else frame


def _in_vxlan(packet: Packet, frame: bytes) -> bytes:
    """Return an Ethernet frame in a VXLAN tunnel between two other hosts (RFC 7348). Its UDP checksum is 0, or wrong."""
    ends = [ip_address("172.16.0.1").packed, ip_address("172.16.0.2").packed]
    addresses = ends[packet.side] + ends[1 - packet.side]
    size = 16 + len(frame)
    wrong = packet.row + 1 if packet.checksum == DAMAGED else 0
    udp = struct.pack(">HHHHII", 50000, VXLAN, size, wrong, 0x08000000, 7 << 8) + frame
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + size, 0, 0x4000, 64, UDP, 0) + addresses
    return frame[:12] + b"\x08\0" + _with_checksum(header, 10, _in_cksum(header)) + udp


def _checksum(packet: Packet, right: int, pseudo: int) -> int:
    """Return the checksum that a packet is captured with. `right`: the correct one. `pseudo`: the sum of the pseudo header."""
    wrong = (right + 1 + 257 * (packet.row + 1)) & 0xFFFF  # differs from `right` by another number in each packet
    known = {"": right, REWRITTEN: (right + SHIFT) % 0xFFFF, OFFLOADED: pseudo, UNSUMMED: 0}
    return known.get(packet.checksum, wrong)


@lru_cache(maxsize=4096)
def _end(text: str) -> tuple[bytes, int]:
    """Return the address, as in a packet, and the port of an end such as "10.0.0.1:80" or "[fd00::1]:80"."""
    host, _, port = text.rpartition(":")
    return ip_address(host.strip("[]")).packed, int(port)


def _with_checksum(header: bytes, place: int, checksum: int) -> bytes:
    return header[:place] + struct.pack(">H", checksum) + header[place + 2 :]


def _in_cksum(data: bytes) -> int:
    """Return the Internet checksum of bytes (RFC 1071)."""
    from dpkt.dpkt import in_cksum  # pyright: ignore[reportUnknownVariableType]  dpkt has no types

    return in_cksum(data)


def _tcp(packet: Packet, source_port: int, destination_port: int) -> bytes:
    """Return the TCP segment of a packet, with 0 as its checksum (RFC 9293 section 3.1)."""
    options = _options(packet)
    mine, other = packet.peers.isn[packet.side], packet.peers.isn[1 - packet.side]
    ack = (packet.ack or 0) + other if packet.flags & ACK else 0
    numbers = (packet.seq + mine) & 0xFFFFFFFF, ack & 0xFFFFFFFF
    words = (20 + len(options)) // 4
    header = struct.pack(">HHIIBBHHH", source_port, destination_port, *numbers, words << 4, packet.flags, packet.window, 0, 0)
    return header + options + packet.payload


def _options(packet: Packet) -> bytes:
    options = b""
    if packet.mss is not None:
        options += struct.pack(">BBH", 2, 4, packet.mss)
    if packet.wscale is not None:
        options += struct.pack(">BBBB", 1, 3, 3, packet.wscale)
    if packet.timestamps:
        left = packet.peers.clock(packet.side, packet.time if packet.left is None else packet.left)
        echo = 0 if packet.echo is None else packet.peers.clock(1 - packet.side, packet.echo)
        options += struct.pack(">BBBBII", 1, 1, 8, 10, left, echo)
    if packet.sack is not None:
        edges = [(number + packet.peers.isn[1 - packet.side]) & 0xFFFFFFFF for number in packet.sack]
        options += struct.pack(">BBBBII", 1, 1, 5, 10, *edges)
    return options

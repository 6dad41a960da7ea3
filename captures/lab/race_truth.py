"""Determine from packets alone which requests of a capture got no response, and how their connections ended.

Clients must send each head in one segment and wait for the response, and no packet may be lost. Written for races.py.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from packet import ACK, ETHERNET, FIN, RST, SYN, segment

if TYPE_CHECKING:
    from pathlib import Path

METHODS = (b"GET ", b"POST ")
TIMES = 1 << 31


@dataclass
class Stream:
    """A connection, with its requests as [time, first sequence number, end, head]."""

    client: str
    server: str
    requests: list[list[Any]] = field(default_factory=list[list[Any]])
    responses: int = 0
    last_byte: float = 0.0
    sent: int | None = None
    """The sequence number after the last captured byte of the client."""

    got: int | None = None
    ends: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The FINs and RSTs of both sides, in capture order."""


def streams(path: Path, port: int) -> list[Stream]:
    """Return the connections to a port in a pcap file with Ethernet frames and microseconds."""
    data = path.read_bytes()
    at = 24
    current: dict[tuple[bytes, int], Stream] = {}
    known: list[Stream] = []
    while at + 16 <= len(data):
        seconds, micros, size, _ = struct.unpack_from("<IIII", data, at)
        frame = data[at + 16 : at + 16 + size]
        at += 16 + size
        seen = segment(frame)
        if not seen or port not in seen.ports:
            continue
        upwards = seen.ports[1] == port
        end, other = (0, 1) if upwards else (1, 0)
        key = seen.hosts[end], seen.ports[end]
        if seen.flags & (SYN | ACK) == SYN or key not in current:
            names = [f"{'.'.join(map(str, seen.hosts[i]))}:{seen.ports[i]}" for i in (end, other)]
            if key in current and seen.flags & SYN and not current[key].ends and not current[key].requests:
                continue
            current[key] = Stream(*names)
            known.append(current[key])
        payload = frame[ETHERNET + seen.size - seen.payload : ETHERNET + seen.size]
        _add(current[key], seconds + micros / 1e6, seen, payload, upwards)
    return known


def _add(stream: Stream, when: float, seen: Any, payload: bytes, upwards: bool) -> None:
    if seen.flags & (FIN | RST):
        kind = "rst" if seen.flags & RST else "fin"
        if kind == "rst" and not seen.flags & ACK:
            kind = "rst-without-ack"
        who = "client" if upwards else "server"
        stream.ends.append({"time": when, "who": who, "kind": kind, "ack": seen.ack, "seq": seen.seq})
    if not payload:
        return
    known = stream.sent if upwards else stream.got
    if known is not None and (seen.seq + len(payload) - known) % (1 << 32) - 1 >= TIMES:
        return
    after = (seen.seq + len(payload)) % (1 << 32)
    if upwards:
        stream.sent = after
        if payload.startswith(METHODS):
            stream.requests.append([when, seen.seq, after, payload])
        elif stream.requests:
            stream.requests[-1][0:3:2] = [when, after]
    else:
        stream.got = after
        stream.last_byte = when
        stream.responses += payload.startswith(b"HTTP/1.")


def lost(stream: Stream) -> dict[str, Any] | None:
    """Return the first request without a response whose connection the server ended, and how it ended; None if there is none."""
    if stream.responses >= len(stream.requests):
        return None
    closes = [end for end in stream.ends if end["who"] == "server"]
    if not closes:
        return None
    first = next((end for end in closes if end["kind"] == "fin"), closes[0])
    index = stream.responses
    when, begin, after, head = stream.requests[index]
    client = next((end for end in stream.ends if end["who"] == "client"), None)
    covered = (first["ack"] - begin) % (1 << 32) if first["kind"] != "rst-without-ack" else 0
    whole = (after - begin) % (1 << 32)
    acknowledged = "whole" if whole <= covered < TIMES else "part" if 0 < covered < whole else "none"
    return {
        "client": stream.client,
        "server": stream.server,
        "request": index,
        "time": round(when, 6),
        "target": head.split(b" ")[1].decode(),
        "method": head.split(b" ")[0].decode(),
        "closed_by": first["kind"],
        "close": round(first["time"], 6),
        "acknowledged": acknowledged,
        "client_first": bool(client and client["time"] < first["time"]),
        "wait": round(first["time"] - when, 6),
        "rest": round(first["time"] - stream.last_byte, 6) if stream.last_byte else None,
    }


def idle_close(stream: Stream) -> float | None:
    """Return the idle time (s) after which the server closed a connection with all requests answered; otherwise None."""
    if not stream.requests or stream.responses < len(stream.requests) or not stream.ends or stream.ends[0]["who"] != "server":
        return None
    return round(stream.ends[0]["time"] - stream.last_byte, 4)
